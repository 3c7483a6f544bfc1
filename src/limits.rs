//! Every ceiling in the system, one table, each with its reason.

use crate::error::{Error, Kind, Result};

/// A number that a caller may choose, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit<T> {
    /// The option's name, the same at every front end.
    pub name: &'static str,
    /// The least that is allowed.
    pub min: T,
    /// The most that is allowed.
    pub max: T,
    /// Why not less and not more.
    pub reason: &'static str,
}

impl<T: PartialOrd + std::fmt::Display> Limit<T> {
    /// Passes a value within the limit; what compares with nothing, such as NaN, is outside.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names the option, the value and the limit.
    pub fn check(&self, value: T) -> Result<()> {
        if self.min <= value && value <= self.max {
            return Ok(());
        }
        Err(self.refusal(value))
    }

    /// The refusal of a value, which may be too large for the type.
    pub fn refusal(&self, value: impl std::fmt::Display) -> Error {
        let Self { name, min, max, .. } = self;
        Error::new(Kind::BadRequest, format!("{name} is {value}; the limit is {min} to {max}"))
    }
}

impl<T: Copy> Limit<T> {
    /// The same limit of another option.
    #[must_use]
    pub const fn named(&self, name: &'static str) -> Self {
        Self { name, ..*self }
    }
}

/// Decoder steps.
pub const STEPS: Limit<usize> = Limit {
    name: "steps",
    min: 1,
    max: 1000,
    reason: "the schedule has 1,000 timesteps, so more steps would repeat some",
};

/// Prior steps.
pub const PRIOR_STEPS: Limit<usize> = Limit {
    name: "prior_steps",
    min: 2,
    max: 1000,
    reason: "the reference divides by steps - 1, and the schedule has 1,000 timesteps",
};

/// Pictures of a request.
pub const COUNT: Limit<usize> = Limit {
    name: "count",
    min: 1,
    max: 10,
    reason: "all pictures of a request are held in memory until the last is drawn",
};

/// Decoder guidance.
pub const GUIDANCE: Limit<f64> = Limit {
    name: "guidance",
    min: 0.0,
    max: 30.0,
    reason: "guidance extrapolates; far beyond the usual 4 pictures saturate, below 0 they flee the prompt",
};

/// Prior guidance.
pub const PRIOR_GUIDANCE: Limit<f64> = Limit { name: "prior_guidance", ..GUIDANCE };

/// How far image to image goes from its picture; 0 is refused apart, since nothing would be drawn.
pub const STRENGTH: Limit<f64> =
    Limit { name: "strength", min: 0.0, max: 1.0, reason: "it is the share of the steps that is run" };

/// Passes how far image to image goes.
///
/// # Errors
/// [`Kind::BadRequest`] outside [`STRENGTH`], and for 0.
pub fn check_strength(strength: f64) -> Result<()> {
    STRENGTH.check(strength)?;
    if strength > STRENGTH.min {
        return Ok(());
    }
    let Limit { name, min, max, .. } = STRENGTH;
    Err(Error::new(Kind::BadRequest, format!("{name} is {min}; it is above {min} and at most {max}")))
}

/// The state of a generator.
pub const SEED: Limit<u64> =
    Limit { name: "seed", min: 0, max: u64::MAX, reason: "a generator is seeded with 64 bits" };

/// A timestep of the schedule.
pub const TIMESTEP: Limit<usize> =
    Limit { name: "timesteps", min: 0, max: 999, reason: "the schedule has 1,000 timesteps" };

/// Pixels that are painted beyond a side of a picture.
pub const MARGIN: Limit<usize> =
    Limit { name: "margin", min: 0, max: WIDTH.max, reason: "the picture that is drawn has no longer side" };

/// Where a window over a picture begins.
pub const OFFSET: Limit<i64> = Limit {
    name: "offset",
    min: -8192,
    max: 8192,
    reason: "a picture has at most 8,192 pixels a side, so a window farther off shows nothing of it",
};

/// The weight of a part of a mix.
pub const MIX_WEIGHT: Limit<f64> = Limit {
    name: "weight",
    min: -10.0,
    max: 10.0,
    reason: "embeddings far longer than any that was trained on saturate the picture",
};

/// Parts of a mix.
pub const MIX_PARTS: Limit<usize> = Limit {
    name: "mix",
    min: 1,
    max: 16,
    reason: "each text takes a run of the prior; beyond a few parts none is recognisable",
};

/// The least sum of a mix's weights, without its sign.
pub const LEAST_MIX: f64 = 1e-6;

/// Threads of a runtime.
pub const THREADS: Limit<usize> = Limit {
    name: "threads",
    min: 1,
    max: 1024,
    reason: "more than the largest machines have; a typing error shall not start a million threads",
};

/// Timed runs of a stage that is measured.
pub const REPEAT: Limit<usize> = Limit {
    name: "repeat",
    min: 1,
    max: 1000,
    reason: "the median of a few is as good; a typing error shall not run for days",
};

/// Megabytes that the process may take.
pub const MEMORY: Limit<u64> = Limit {
    name: "memory in MB",
    min: 64,
    max: 64_000_000,
    reason: "the program alone takes about 64 MB; more than the largest machines have is a typing error",
};

/// Quality of a JPEG that is written.
pub const QUALITY: Limit<usize> =
    Limit { name: "quality", min: 1, max: 100, reason: "the scale of libjpeg, which everyone uses" };

/// Pixels over which a repainted area fades into what is kept.
pub const FEATHER: Limit<usize> = Limit {
    name: "feather",
    min: 0,
    max: 256,
    reason: "a wider seam would leave nothing of most repainted areas, and its time grows with it",
};

/// Every how many calls the UNet's deep levels run.
pub const DEEP_CACHE: Limit<usize> = Limit {
    name: "deep_cache",
    min: 1,
    max: 20,
    reason: "1 runs all levels at every step; far beyond a few the deep levels' part is of another picture",
};

/// Width of an output picture in pixels.
pub const WIDTH: Limit<usize> = Limit {
    name: "width",
    min: 64,
    max: 2048,
    reason: "the full model's latents halve three times from 1/8 of a picture, so 64 px are its smallest \
             unit; a longer side than 2,048 px is far from what it was trained on",
};

/// Height of an output picture in pixels.
pub const HEIGHT: Limit<usize> = Limit { name: "height", ..WIDTH };

/// Pixels of an output picture: 1.05 megapixels, 1024x1024 and a little. The memory of decomposed attention
/// grows with the square of them.
pub const OUTPUT_PIXELS: usize = 1_050_000;

/// Bytes of a prompt: the encoders read 77 tokens, which 4,096 bytes hold in every script, and tokenising
/// time is bounded before it starts.
pub const PROMPT_BYTES: usize = 4096;

/// Weight of a part of a prompt.
pub const PROMPT_WEIGHT: Limit<f32> = Limit {
    name: "prompt weight",
    min: 0.0,
    max: 2.0,
    reason: "at 0 a word is not read any more; states of twice their length are far from what the prior and \
             the decoder were trained on",
};

/// Side of an input picture in pixels: headers that claim more are refused before anything is allocated.
pub const PICTURE_SIDE: u32 = 8192;

/// Pixels of an input picture: 4096x4096; its 8-bit RGB is then 48 MiB.
pub const PICTURE_PIXELS: u64 = 4096 * 4096;

/// Bytes of a chunk of a PNG beside its pixels: EXIF takes at most 64 KiB in cameras' files, a thumbnail more.
pub const PICTURE_CHUNK_BYTES: usize = 16 << 20;

/// Scans of a JPEG: encoders write about ten, and each walks through the whole picture, however short it is.
pub const PICTURE_SCANS: usize = 100;

/// Bytes of an input picture's file: more than any 16.8-megapixel picture needs.
pub const PICTURE_FILE_BYTES: u64 = 128 << 20;

/// Bytes of the texts that are read back from a picture: several prompts and their JSON, escaped.
pub const PICTURE_TEXT_BYTES: usize = 1 << 20;

/// Places of a list that is set one by one: more than any list of a request may have.
pub const LIST_LENGTH: usize = 1000;

/// Pictures in memory that a request holds: those of a mix and a few more.
pub const REQUEST_PICTURES: usize = 64;

/// Bytes of the name of a setting.
pub const KEY_BYTES: usize = 256;

/// Bytes of a path, as Linux has it.
pub const PATH_BYTES: usize = 4096;

/// Bytes of a tokeniser's file: the largest vocabulary (250,002 pieces) takes 17 MB.
pub const TOKENIZER_BYTES: u64 = 64 << 20;

/// Width of CLIP's embeddings that a fitted prior may claim: the largest published CLIP has 1,280.
pub const EMBED_WIDTH: usize = 4096;

/// Bytes of a fitted prior's file: a residual prior of embeddings of 1,280 numbers takes 66 MB.
pub const PRIOR_FILE_BYTES: u64 = 256 << 20;

/// Bytes of that file's header: its 114 tensors take 12 KB.
pub const PRIOR_HEADER_BYTES: u64 = 256 << 10;

/// Pictures that a prior is fitted on: fewer cannot be split into a fit and a check; the embeddings of more
/// would not be held in memory beside those of their captions.
pub const FIT_PICTURES: Limit<usize> = Limit {
    name: "pictures",
    min: 8,
    max: 200_000,
    reason: "some are held out to check the fit, and all embeddings are held in memory",
};

/// Captions of all pictures together.
pub const FIT_CAPTIONS: Limit<usize> = Limit { name: "captions", max: 1_000_000, ..FIT_PICTURES };

/// Bytes of a file of captions.
pub const CAPTION_FILE_BYTES: u64 = 256 << 20;

/// Passes how many of something an option holds.
///
/// # Errors
/// [`Kind::BadRequest`] for more than `most`.
pub fn at_most(name: &str, of: &str, count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::new(Kind::BadRequest, format!("{name} has {count} {of}; the limit is {most}")))
}

/// Passes the size of an output picture.
///
/// # Errors
/// [`Kind::BadRequest`] for a side outside [`WIDTH`] or [`HEIGHT`], or for more than [`OUTPUT_PIXELS`]; that
/// one also says how much memory attention would take.
pub fn check_size(width: usize, height: usize) -> Result<()> {
    WIDTH.check(width)?;
    HEIGHT.check(height)?;
    let pixels = width.saturating_mul(height);
    if pixels <= OUTPUT_PIXELS {
        return Ok(());
    }
    let gib = attention_bytes(pixels) >> 30;
    let message = format!(
        "size {width}x{height} has {pixels} pixels; the limit is {OUTPUT_PIXELS}, because attention alone would \
         take about {gib} GiB in the full model"
    );
    Err(Error::new(Kind::BadRequest, message))
}

/// Memory of the full model's widest attention in bytes: 2 guided rows of 12 heads, f32 scores and their
/// softmax, between all points of a grid of a sixteenth of the sides.
const fn attention_bytes(pixels: usize) -> usize {
    let points = pixels / (16 * 16);
    2 * 12 * 2 * 4 * points.saturating_mul(points)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const COUNTS: [Limit<usize>; 10] =
        [STEPS, PRIOR_STEPS, COUNT, MIX_PARTS, THREADS, QUALITY, FEATHER, WIDTH, HEIGHT, DEEP_CACHE];
    const REALS: [Limit<f64>; 4] = [GUIDANCE, PRIOR_GUIDANCE, STRENGTH, MIX_WEIGHT];

    #[test]
    fn the_limit_passes_and_one_beyond_does_not() {
        for limit in COUNTS {
            limit.check(limit.min).unwrap();
            limit.check(limit.max).unwrap();
            for beyond in limit.min.checked_sub(1).into_iter().chain([limit.max + 1, usize::MAX]) {
                let error = limit.check(beyond).unwrap_err();
                assert_eq!(error.kind(), Kind::BadRequest);
                assert_eq!(
                    error.to_string(),
                    format!("{} is {beyond}; the limit is {} to {}", limit.name, limit.min, limit.max)
                );
            }
        }
        for limit in REALS {
            limit.check(limit.min).unwrap();
            limit.check(-0.0).unwrap();
            limit.check(limit.max).unwrap();
            let (below, above) = (limit.min - 1e-9, limit.max + 1e-6);
            for beyond in [below, above, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(limit.check(beyond).unwrap_err().kind(), Kind::BadRequest);
            }
        }
    }

    #[test]
    fn sizes_are_bound_by_side_and_by_area() {
        for (width, height) in [(64, 64), (1024, 1024), (2048, 512), (63 + 1, 2048), (100, 333)] {
            check_size(width, height).unwrap();
        }
        for (width, height) in [(63, 64), (64, 63), (2049, 64), (64, 2049), (0, 0), (1025, 1025), (2048, 513)]
        {
            assert_eq!(check_size(width, height).unwrap_err().kind(), Kind::BadRequest);
        }
        let message = check_size(2048, 2048).unwrap_err().to_string();
        assert!(message.contains("2048x2048") && message.contains("1050000"), "{message}");
        assert!(message.contains("48 GiB"), "{message}");
    }
}
