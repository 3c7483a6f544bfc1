//! What the networks compute in: tiers chosen by name, or by what the machine has.

use super::{RuntimeOptions, library};
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// What the networks compute in. Pictures, schedules and guidance are computed in f32 in every tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats: the reference's numbers.
    #[default]
    F32,
    /// bfloat16 products of weights that are stored as f32: OpenVINO, on processors with AMX or AVX512-BF16.
    Bf16,
    /// 16-bit floats: graphs exported for CUDA or TensorRT.
    F16,
    /// The quickest of them that this machine has.
    Auto,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::F16, Self::Auto];

    /// The name that `--precision` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Kind::BadRequest, format!("there is no precision {name:?}; {names} are known"))
        })
    }
}

/// A settled precision, and why it was taken where the caller left the choice.
pub(super) struct Choice {
    pub precision: Precision,
    pub note: Option<String>,
}

/// Settles the precision for the runtime asked for and for the model's graphs.
pub(super) fn choose(options: &RuntimeOptions) -> Result<Choice> {
    for_graphs(here(options)?, options)
}

/// f32 in place of bf16 for graphs that are for f32 alone, where the caller left the choice.
fn for_graphs(choice: Choice, options: &RuntimeOptions) -> Result<Choice> {
    let Some(rewrite) = options.f32_only.as_deref().filter(|_| choice.precision == Precision::Bf16) else {
        return Ok(choice);
    };
    if options.precision == Precision::Auto {
        let note = format!("f32: the model was exported with {rewrite}, which is for f32 alone");
        return Ok(Choice { precision: Precision::F32, note: Some(note) });
    }
    let message = format!(
        "the model was exported with {rewrite}, which is for f32 alone, and bf16 was asked for; export it without, or \
         say --precision f32"
    );
    Err(Error::new(Kind::BadModel, message))
}

/// What this machine computes in on the runtime asked for.
fn here(options: &RuntimeOptions) -> Result<Choice> {
    let runtime = options.runtime.as_str();
    let named = |precision| Ok(Choice { precision, note: None });
    let refused = |message: String| Err(Error::new(Kind::NoRuntime, message));
    match (options.precision, runtime) {
        (Precision::F32, _) => named(Precision::F32),
        (Precision::Bf16, "" | "auto" | "openvino") => match bf16_feature() {
            Some(_) => named(Precision::Bf16),
            None => refused(format!("bf16 needs a processor with {}; f32 runs here", BF16.join(", "))),
        },
        (Precision::F16, "cuda" | "tensorrt") => named(Precision::F16),
        (Precision::Bf16, other) => refused(format!("{other} does not compute in bf16; openvino does")),
        (Precision::F16, _) => refused("f16 is for the runtimes cuda and tensorrt".to_owned()),
        (Precision::Auto, "" | "auto" | "openvino") => Ok(automatic(options)),
        (Precision::Auto, "cuda" | "tensorrt") => named(Precision::F16),
        (Precision::Auto, other) => Ok(Choice {
            precision: Precision::F32,
            note: Some(format!("f32: {other} computes in nothing else")),
        }),
    }
}

/// bf16 where the processor and the library for it are there, f32 elsewhere.
fn automatic(options: &RuntimeOptions) -> Choice {
    let f32 = |reason: String| Choice { precision: Precision::F32, note: Some(format!("f32: {reason}")) };
    let Some(feature) = bf16_feature() else {
        return f32(format!("the processor has none of {}", BF16.join(", ")));
    };
    match library::find(&library::OPENVINO, options.openvino.as_deref()) {
        Ok(_) => Choice {
            precision: Precision::Bf16,
            note: Some(format!("bf16: the processor has {feature}, and openvino computes in it")),
        },
        Err(reason) => f32(format!("the processor has {feature}, and {reason}")),
    }
}

/// Features of a processor that bfloat16 products run on, by the kernel's names.
pub const BF16: [&str; 2] = ["amx_bf16", "avx512_bf16"];

/// The best of them that this processor has.
pub fn bf16_feature() -> Option<&'static str> {
    let features = cpu_features();
    BF16.into_iter().find(|feature| features.iter().any(|f| f == feature))
}

/// Features of the processor that matter to the runtimes, by the kernel's names.
pub fn cpu_features() -> Vec<String> {
    const WANTED: [&str; 10] = [
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
        "asimd",
        "bf16",
    ];
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or_default();
    let has = |name: &&str| line.split_whitespace().any(|word| word == *name);
    WANTED.into_iter().filter(has).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_a_model_with(rewrite: Option<&str>, asked: Precision, found: Precision) -> Result<Choice> {
        let f32_only = rewrite.map(str::to_owned);
        let options = RuntimeOptions { precision: asked, f32_only, ..Default::default() };
        for_graphs(Choice { precision: found, note: None }, &options)
    }

    #[test]
    fn graphs_for_f32_alone_are_not_computed_in_bf16() {
        let chosen = for_a_model_with(Some("winograd"), Precision::Auto, Precision::Bf16).unwrap();
        assert_eq!(chosen.precision, Precision::F32);
        assert!(chosen.note.unwrap().contains("f32: the model was exported with winograd"));
        let refused = for_a_model_with(Some("winograd"), Precision::Bf16, Precision::Bf16).err().unwrap();
        assert_eq!(refused.kind(), Kind::BadModel);
        assert!(refused.to_string().contains("export it without"), "{refused}");
        for precision in [Precision::F32, Precision::F16] {
            let chosen = for_a_model_with(Some("winograd"), precision, precision).unwrap();
            assert_eq!(chosen.precision, precision);
        }
        let chosen = for_a_model_with(None, Precision::Bf16, Precision::Bf16).unwrap();
        assert_eq!(chosen.precision, Precision::Bf16);
    }
}
