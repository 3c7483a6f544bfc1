//! What settings take and how what was given is written: for keys, messages and JSON.

use serde::Serializer;

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A text, as it is.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Real,
    /// `true` or `false`.
    Switch,
    /// A list of whole numbers, such as `[1,2]`.
    List,
    /// A picture: the path of its file.
    Picture,
    /// Width and height, such as `512x768`.
    Size,
}

impl Form {
    /// What it takes, for messages and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Real => "a number",
            Self::Switch => "true or false",
            Self::List => "a list of whole numbers such as [1,2]",
            Self::Picture => "a picture: the path of its file",
            Self::Size => "a size such as 512x768",
        }
    }
}

/// Letters of a name or a value that a message shows.
pub const SHOWN: usize = 40;

/// For fields of what a mix and a start hold.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub fn finite_or_named<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if x.is_finite() { serializer.serialize_f64(*x) } else { serializer.serialize_str(&x.to_string()) }
}
