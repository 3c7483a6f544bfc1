//! How a picture was made, as its file says it.

/// How a picture was made, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// For people and common viewers: the prompt, `Negative prompt: …`, `Steps: …, Sampler: …, …`.
    pub parameters: String,
    /// For programs: JSON with `program`, `model` and `request`.
    pub exact: String,
}
