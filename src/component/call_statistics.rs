//! Which graphs ran on which sizes and how often: what operations are counted from.

use crate::tensor::Input;
use kandinsky_models::Component;
use std::collections::BTreeMap;

/// The sides of each input of a call, by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// How often each graph ran on each combination of sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallStatistics(BTreeMap<(Component, Shapes), u64>);

impl CallStatistics {
    /// Notes a call.
    pub fn note(&mut self, component: Component, inputs: &[(&str, Input<'_>)]) {
        // Steps of a loop have the same sizes: they are counted without a key of their own.
        let known =
            self.0.iter_mut().find(|((called, shapes), _)| *called == component && same(shapes, inputs));
        if let Some((_, times)) = known {
            *times += 1;
            return;
        }
        let shapes = inputs.iter().map(|(name, value)| ((*name).to_owned(), value.shape().to_vec()));
        self.0.insert((component, shapes.collect()), 1);
    }

    /// Every graph with the sizes that it ran on and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Component, &Shapes, u64)> {
        self.0.iter().map(|((component, shapes), times)| (*component, shapes, *times))
    }

    /// Rows of `input` that a graph was given in all calls.
    pub fn rows(&self, component: Component, input: &str) -> u64 {
        let own = self.iter().filter(|(called, ..)| *called == component);
        own.map(|(_, shapes, times)| {
            let rows = shapes.get(input).and_then(|sides| sides.first()).copied().unwrap_or(0);
            times * u64::try_from(rows).unwrap_or(u64::MAX)
        })
        .sum()
    }
}

fn same(shapes: &Shapes, inputs: &[(&str, Input<'_>)]) -> bool {
    let noted = |(name, input): &(&str, Input<'_>)| {
        shapes.get(*name).is_some_and(|sides| sides.as_slice() == input.shape())
    };
    shapes.len() == inputs.len() && inputs.iter().all(noted)
}
