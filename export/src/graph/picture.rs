//! Pictures in the layout of the target: (B, C, H, W), or (B, H, W, C) for CUDA.

use super::{Scope, Value};
use crate::Result;

impl Scope<'_> {
    /// Whether channels are the last axis of pictures.
    pub fn channels_last(&self) -> bool {
        self.target().channels_last
    }

    /// The axis of a picture's channels.
    pub fn channel_axis(&self) -> usize {
        if self.channels_last() { 3 } else { 1 }
    }

    /// A picture's channels.
    pub fn channels(&self, x: &Value) -> Result<usize> {
        self.known(x, self.channel_axis())
    }

    /// A picture (B, C, H, W) in the target's layout.
    pub fn from_nchw(&self, x: &Value) -> Result<Value> {
        if self.channels_last() { self.transpose(x, &[0, 2, 3, 1]) } else { Ok(x.clone()) }
    }

    /// A picture of the target's layout as (B, C, H, W).
    pub fn to_nchw(&self, x: &Value) -> Result<Value> {
        if self.channels_last() { self.transpose(x, &[0, 3, 1, 2]) } else { Ok(x.clone()) }
    }

    /// Rows (B, C) as pictures of one pixel.
    pub fn one_pixel(&self, x: &Value) -> Result<Value> {
        self.unsqueeze(x, if self.channels_last() { &[1, 2] } else { &[2, 3] })
    }

    /// A picture's pixels as rows (B, H·W, C).
    pub fn flatten_hw(&self, x: &Value) -> Result<Value> {
        let channels = self.channels(x)?;
        if self.channels_last() {
            return self.reshape(x, &[0, -1, i64::try_from(channels).map_err(|e| self.wrong(e))?]);
        }
        let rows = self.reshape(x, &[0, 0, -1])?; // (B, C, H·W)
        self.transpose(&rows, &[0, 2, 1])
    }

    /// Rows (B, H·W, C) as a picture of the size of `like`.
    pub fn unflatten_hw(&self, x: &Value, like: &Value) -> Result<Value> {
        if self.channels_last() {
            return Ok(self.reshape_like(x, like));
        }
        Ok(self.reshape_like(&self.transpose(x, &[0, 2, 1])?, like))
    }
}
