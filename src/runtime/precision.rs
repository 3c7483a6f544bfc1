//! What the networks compute in, and the features of a processor on which that depends.

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

/// Features of a processor that bfloat16 products run on, by the kernel's names.
pub const BF16_FEATURES: [&str; 2] = ["amx_bf16", "avx512_bf16"];

/// The best of them that this processor has.
pub fn bf16_feature() -> Option<&'static str> {
    let features = cpu_features();
    BF16_FEATURES.into_iter().find(|feature| features.iter().any(|f| f == feature))
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
