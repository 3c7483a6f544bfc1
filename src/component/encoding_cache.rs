//! Encodings that are asked for again: what graphs answered whose inputs are a prompt or a picture.
//!
//! A graph answers equal inputs with equal outputs, so the answer to the very same bits can be kept. That saves
//! encoding a repeated prompt, and the empty prompt's share of the prior, which no file of the model holds.

use crate::tensor::{Input, Value};
use kandinsky_models::Component;

/// Bytes that are kept: two prompts with all that follows from them in the full model, hundreds in a small one.
const BYTES: usize = 64 << 20;

/// Graphs that run once a prompt or a picture; those that run each step never see the same inputs again.
const KEPT: [Component; 7] = [
    Component::TextEncoder,
    Component::MultilingualEncoder,
    Component::ImageEncoder,
    Component::PriorPrefix,
    Component::UnetContext,
    Component::InpaintContext,
    Component::MovqEncoder,
];

/// Values by name.
pub type Named = Vec<(String, Value)>;

/// The last answers, bounded by their bytes.
#[derive(Default)]
pub struct EncodingCache {
    /// Whether answers are kept at all.
    on: bool,
    /// Most recently used last.
    entries: Vec<Entry>,
}

struct Entry {
    component: Component,
    inputs: Named,
    outputs: Named,
    bytes: usize,
}

impl EncodingCache {
    /// Keeps answers from now on, or forgets all and keeps none.
    pub fn switch(&mut self, on: bool) {
        *self = Self { on, entries: Vec::new() };
    }

    /// Forgets all answers.
    pub fn forget(&mut self) {
        self.entries.clear();
    }

    /// The outputs for these inputs, where they are known.
    pub fn find(&mut self, component: Component, inputs: &[(&str, Input<'_>)]) -> Option<Named> {
        let same = |entry: &Entry| entry.component == component && all_same(&entry.inputs, inputs);
        let place = self.entries.iter().position(same)?;
        let entry = self.entries.remove(place);
        let outputs = entry.outputs.clone();
        self.entries.push(entry);
        Some(outputs)
    }

    /// Keeps an answer, and lets go of the oldest until all fit.
    pub fn keep(&mut self, component: Component, inputs: &[(&str, Input<'_>)], outputs: &Named) {
        if !self.on || !KEPT.contains(&component) {
            return;
        }
        let inputs: Named =
            inputs.iter().map(|(name, input)| ((*name).to_owned(), input.to_value())).collect();
        let bytes = inputs.iter().chain(outputs).map(|(_, value)| value.bytes()).sum();
        if bytes > BYTES {
            return;
        }
        self.entries.push(Entry { component, inputs, outputs: outputs.clone(), bytes });
        while self.entries.iter().map(|entry| entry.bytes).sum::<usize>() > BYTES {
            self.entries.remove(0);
        }
    }
}

fn all_same(known: &Named, asked: &[(&str, Input<'_>)]) -> bool {
    let same = |((a, x), (b, y)): (&(String, Value), &(&str, Input<'_>))| a == b && x.same_bits(y);
    known.len() == asked.len() && known.iter().zip(asked).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::tensor;

    fn value(number: f32, count: usize) -> Value {
        tensor(&[count], vec![number; count]).unwrap().into()
    }

    fn named(number: f32, count: usize) -> Named {
        vec![("y".to_owned(), value(number, count))]
    }

    #[test]
    fn the_same_bits_find_their_answer() {
        let mut encodings = EncodingCache::default();
        encodings.switch(true);
        encodings.keep(Component::TextEncoder, &[("x", (&value(0.0, 1)).into())], &named(7.0, 1));
        assert!(
            encodings.find(Component::TextEncoder, &[("x", (&value(0.0, 1)).into())]).unwrap()
                == named(7.0, 1)
        );
        assert!(encodings.find(Component::TextEncoder, &[("x", (&value(-0.0, 1)).into())]).is_none());
        assert!(encodings.find(Component::TextEncoder, &[("x", (&value(0.0, 2)).into())]).is_none());
        assert!(encodings.find(Component::PriorPrefix, &[("x", (&value(0.0, 1)).into())]).is_none());
        encodings.forget();
        assert!(encodings.find(Component::TextEncoder, &[("x", (&value(0.0, 1)).into())]).is_none());
    }

    #[test]
    fn the_oldest_goes_when_the_room_is_full() {
        let mut encodings = EncodingCache::default();
        encodings.switch(true);
        let share = BYTES / 4 / 3 - 1; // numbers of a third of the room, with their input
        let asked = [1.0, 2.0, 3.0, 4.0, 5.0].map(|number| value(number, 1));
        let [first, second, third, fourth, fifth] = asked.each_ref().map(|value| [("x", value.into())]);
        for (inputs, number) in [(&first, 1.0), (&second, 2.0), (&third, 3.0)] {
            encodings.keep(Component::TextEncoder, inputs, &named(number, share));
        }
        assert!(encodings.find(Component::TextEncoder, &first).is_some(), "now it is the youngest");
        encodings.keep(Component::TextEncoder, &fourth, &named(4.0, share));
        let there = [&first, &second, &third, &fourth]
            .map(|inputs| encodings.find(Component::TextEncoder, inputs).is_some());
        assert_eq!(there, [true, false, true, true]);
        encodings.keep(Component::TextEncoder, &fifth, &named(5.0, BYTES));
        assert!(encodings.find(Component::TextEncoder, &fifth).is_none(), "it is larger than the room");
        assert_eq!(encodings.entries.len(), 3);
    }

    #[test]
    fn nothing_is_kept_where_it_is_off_or_for_a_step() {
        let mut encodings = EncodingCache::default();
        encodings.keep(Component::TextEncoder, &[("x", (&value(0.0, 1)).into())], &named(7.0, 1));
        encodings.switch(true);
        encodings.keep(Component::UnetStep, &[("x", (&value(0.0, 1)).into())], &named(7.0, 1));
        assert!(encodings.entries.is_empty());
    }
}
