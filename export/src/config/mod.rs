//! What `config.json` of each component says, read field by field.
//!
//! Every number that shapes a drawing must be there. Fields that choose between ways of drawing may be
//! absent where old versions did not write them; a choice that is not drawn here is refused by name.

mod encoders;
mod fields;
mod movq;
mod prior;
mod unet;

pub use encoders::{ImageEncoder, MultilingualEncoder, Pooling, TextEncoder};
use fields::Fields;
pub use movq::Movq;
pub use prior::Prior;
pub use unet::Unet;
