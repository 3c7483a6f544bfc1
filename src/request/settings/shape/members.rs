//! What a mix and a start hold: settings below a setting, each spelt once.

use super::{Shape, Words};
use crate::limits;
use crate::text::Prompt;

/// A setting below another one.
#[derive(Debug)]
pub struct Member {
    /// Its path below; `*` is a place in a list.
    pub path: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// What it is.
    pub about: &'static str,
    /// The kinds of start that have it; none where it belongs to all.
    pub kinds: &'static [&'static str],
}

impl Member {
    /// Its name in messages: the end of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether a start of its kind is none without it.
    pub fn is_required(&self) -> bool {
        matches!((self.path, &self.shape), ("picture", _) | (_, Shape::Strength))
    }
}

const fn member(
    path: &'static str,
    shape: Shape,
    kinds: &'static [&'static str],
    about: &'static str,
) -> Member {
    Member { path, shape, about, kinds }
}

const fn pixels() -> Shape {
    Shape::Whole(limits::MARGIN)
}

/// Parts of a mix.
#[rustfmt::skip]
pub static MIX: &[Member] = &[
    member("*.text", Shape::Text(Prompt::Mix), &[], "a part of a mix that is a text"),
    member("*.picture", Shape::Picture, &[], "a part of a mix that is a picture"),
    member("*.weight", Shape::Real(limits::MIX_WEIGHT), &[], "the part's share; 1 when it is not set"),
];

const EDIT: &[&str] = &["edit"];
const INPAINT: &[&str] = &["inpaint"];
const OUTPAINT: &[&str] = &["outpaint"];
const HOLE: &[&str] = &["inpaint", "outpaint"];

/// What the kinds of start take.
#[rustfmt::skip]
pub static START: &[Member] = &[
    member("kind", Shape::Word(Words::of(|| vec!["noise", "edit", "inpaint", "outpaint"])), &[], "what the latents start from"),
    member("picture", Shape::Picture, &["edit", "inpaint", "outpaint"], "the picture that is edited, inpainted or extended"),
    member("strength", Shape::Strength, EDIT, "how far from the picture"),
    member("mask", Shape::Picture, INPAINT, "white is painted anew; the transparent pixels when it is not set"),
    member("invert", Shape::Switch, INPAINT, "black is painted anew instead"),
    member("decoded", Shape::Switch, HOLE, "also what is kept comes from the decoder"),
    member("feather", Shape::Whole(limits::FEATHER), HOLE, "pixels over which the painted part fades in"),
    member("frame.extend.left", pixels(), OUTPAINT, "pixels to the left"),
    member("frame.extend.top", pixels(), OUTPAINT, "pixels above"),
    member("frame.extend.right", pixels(), OUTPAINT, "pixels to the right"),
    member("frame.extend.bottom", pixels(), OUTPAINT, "pixels below"),
    member("frame.window.x", Shape::Offset, OUTPAINT, "the left side of a window over the picture"),
    member("frame.window.y", Shape::Offset, OUTPAINT, "its upper side"),
    member("frame.window.size", Shape::Size, OUTPAINT, "its size"),
];
