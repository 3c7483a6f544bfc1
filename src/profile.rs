//! Whose numbers are wanted where the two code bases of Kandinsky 2.1 differ.

use serde::{Deserialize, Serialize};

/// A code base whose behaviour is reproduced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// huggingface/diffusers, the pipelines of Kandinsky 2.1.
    #[default]
    Diffusers,
    /// ai-forever/Kandinsky-2, the authors' own repository.
    Original,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::Diffusers, Self::Original];

    /// The name at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::Original => "original",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for profile in Profile::ALL {
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
    }
}
