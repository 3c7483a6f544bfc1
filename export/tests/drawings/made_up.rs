//! Weights that exist only as names, shapes and a rule for their elements.

use kandinsky_export::arch::{self, Network};
use kandinsky_export::weights::Weights;
use kandinsky_export::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// Elements of a piece; small, so that every tensor comes in several.
const PIECE: usize = 100;

/// Made-up weights: [`MadeUp::elements`], except for what was planted.
pub struct MadeUp {
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Elements that are something else: tensor, index, value.
    pub planted: Vec<(String, usize, f32)>,
    /// Tensors that were asked for whole.
    pub read_whole: RefCell<Vec<String>>,
}

impl MadeUp {
    /// All tensors of a network.
    pub fn of(kind: Network, config: &serde_json::Value) -> Self {
        let shapes = arch::tensors(kind, config, Path::new("config.json")).unwrap().into_iter().collect();
        Self { shapes, planted: vec![], read_whole: RefCell::default() }
    }

    /// A tensor's elements: exact in f16, and another for each place nearby.
    pub fn elements(&self, name: &str) -> Vec<f32> {
        let seed = name.bytes().fold(0, |hash, byte| (hash * 33 + usize::from(byte)) % 65_521);
        (0..self.count(name)).map(|i| ((seed + i * 31) % 2001) as f32 / 1024.0 - 1.0).collect()
    }

    pub fn count(&self, name: &str) -> usize {
        self.shapes[name].iter().product()
    }
}

impl Weights for MadeUp {
    fn component(&self) -> &str {
        "made-up"
    }

    fn names(&self) -> Vec<&str> {
        self.shapes.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        if !self.shapes.contains_key(name) {
            return Err(Error::MissingTensor { component: "made-up".into(), name: name.into() });
        }
        let mut elements = self.elements(name);
        for (_, index, value) in self.planted.iter().filter(|(planted, _, _)| planted == name) {
            elements[*index] = *value;
        }
        elements.chunks(PIECE).try_for_each(sink)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>> {
        self.read_whole.borrow_mut().push(name.to_owned());
        Ok(self.elements(name))
    }
}
