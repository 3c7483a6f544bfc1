//! Named tensors of one component of a checkpoint, however they are stored.

use crate::Result;

/// The weights of one component.
pub trait Weights {
    /// The component's folder in the checkpoint, for messages.
    fn component(&self) -> &str;

    /// Every tensor's name, sorted.
    fn names(&self) -> Vec<&str>;

    /// A tensor's shape.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// Feeds a tensor's elements to `sink` as f32, row-major, in pieces of at most a few MB: memory
    /// must not grow with the tensor.
    ///
    /// # Errors
    /// When there is no such tensor, it cannot be read, or `sink` fails.
    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()>;

    /// A whole tensor.
    ///
    /// # Errors
    /// As [`Weights::stream`].
    fn read(&self, name: &str) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        self.stream(name, &mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(all)
    }
}
