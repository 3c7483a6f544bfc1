//! What a setting takes: its type with its range.

pub mod members;

use crate::limits::{self, Limit};
use crate::request::form::Form;
use crate::text::Prompt;
use members::{MIX, Member, START};

/// What a setting takes.
#[derive(Debug)]
pub enum Shape {
    /// One prompt, or several.
    Prompts,
    /// A text that an encoder reads.
    Text(Prompt),
    /// The path of a file.
    Path,
    /// One of several words.
    Word(Words),
    /// A whole number.
    Whole(Limit<usize>),
    /// A number.
    Real(Limit<f64>),
    /// How far image to image goes: a number above 0.
    Strength,
    /// `true` or `false`.
    Switch,
    /// The state of a generator: any whole number of 64 bits.
    Seed,
    /// Seeds.
    Seeds,
    /// Timesteps of the schedule.
    Timesteps,
    /// A place beside a picture, in pixels; negative to the left of it and above it.
    Offset,
    /// A picture: the path of its file, or its hash.
    Picture,
    /// Width and height.
    Size,
    /// A part of the way from noise to picture.
    Interval,
    /// Parts of a mix.
    Mix,
    /// What the latents start from.
    Start,
}

/// The words of a choice.
#[derive(Debug)]
pub struct Words {
    all: fn() -> Vec<&'static str>,
    /// What stands for the word in a help text.
    pub value_name: &'static str,
    /// Whether descriptions list the words.
    pub listed: bool,
    /// The word that a switch of the command line stands for, where it has one instead of a value.
    pub switch: Option<&'static str>,
}

impl Words {
    /// A choice of these.
    pub const fn of(all: fn() -> Vec<&'static str>) -> Self {
        Self { all, value_name: "NAME", listed: true, switch: None }
    }

    /// The same, with another value name.
    pub const fn named(self, value_name: &'static str) -> Self {
        Self { value_name, ..self }
    }

    /// The same, where descriptions point elsewhere for the words.
    pub const fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    /// The same, chosen on the command line by a switch of that word.
    pub const fn switched(self, word: &'static str) -> Self {
        Self { switch: Some(word), ..self }
    }

    /// All of them.
    pub fn all(&self) -> Vec<&'static str> {
        (self.all)()
    }

    /// All of them in a sentence: `a, b or c`.
    pub fn in_words(&self) -> String {
        match self.all().as_slice() {
            [before, last] => format!("{before} or {last}"),
            [first @ .., before, last] => format!("{}, {before} or {last}", first.join(", ")),
            few => few.concat(),
        }
    }
}

impl Shape {
    /// Its form where a setting is one text, as for the keys of the C library.
    pub const fn form(&self) -> Form {
        match self {
            Self::Prompts | Self::Text(_) | Self::Path | Self::Word(_) | Self::Interval => Form::Text,
            Self::Mix | Self::Start => Form::Text,
            Self::Whole(_) | Self::Seed | Self::Offset => Form::Whole,
            Self::Real(_) | Self::Strength => Form::Real,
            Self::Switch => Form::Switch,
            Self::Seeds | Self::Timesteps => Form::List,
            Self::Picture => Form::Picture,
            Self::Size => Form::Size,
        }
    }

    /// What it takes, for messages.
    pub fn takes(&self) -> String {
        match self {
            Self::Word(words) => words.in_words(),
            Self::Mix => "parts such as 0.6=@cat.png or 0.4=a starry night".to_owned(),
            Self::Start => "an object with a kind".to_owned(),
            Self::Interval => "a part of the way such as 0.2..0.8".to_owned(),
            Self::Path => "the path of a file".to_owned(),
            other => other.form().name().to_owned(),
        }
    }

    /// The range of its numbers in words, where it has one that a reader wants to know.
    pub fn range(&self) -> Option<String> {
        let between = |limit: &Limit<usize>| format!("{} to {}", limit.min, limit.max);
        match self {
            Self::Whole(limit) => Some(between(limit)),
            Self::Real(limit) => Some(format!("{} to {}", limit.min, limit.max)),
            Self::Strength => {
                Some(format!("above {} and at most {}", limits::STRENGTH.min, limits::STRENGTH.max))
            }
            Self::Size => Some(format!("{} pixels a side", between(&limits::WIDTH))),
            Self::Timesteps => Some(format!("{} to {}", limits::TIMESTEP.min, limits::TIMESTEP.max)),
            Self::Offset => Some(format!("{} to {}", limits::OFFSET.min, limits::OFFSET.max)),
            _ => None,
        }
    }

    /// Why its range is not wider.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Whole(limit) => Some(limit.reason),
            Self::Real(limit) => Some(limit.reason),
            Self::Strength => Some(limits::STRENGTH.reason),
            Self::Size => Some(limits::WIDTH.reason),
            Self::Timesteps => Some(limits::TIMESTEP.reason),
            Self::Offset => Some(limits::OFFSET.reason),
            _ => None,
        }
    }

    /// What its value holds by name in JSON, `*` being any place of a list: a shape and its name in messages.
    pub const fn parts(&self) -> &'static [(&'static str, &'static str, Self)] {
        match self {
            Self::Picture => &[("path", "path", Self::Path), ("sha256", "sha256", Self::Path)],
            Self::Size => &[
                ("width", "width", Self::Whole(limits::WIDTH)),
                ("height", "height", Self::Whole(limits::HEIGHT)),
            ],
            Self::Seeds => &[("*", "seeds", Self::Seed)],
            Self::Timesteps => &[("*", "timesteps", Self::Whole(limits::TIMESTEP))],
            _ => &[],
        }
    }

    /// The settings below it.
    pub fn members(&self) -> &'static [Member] {
        match self {
            Self::Mix => MIX,
            Self::Start => START,
            _ => &[],
        }
    }
}
