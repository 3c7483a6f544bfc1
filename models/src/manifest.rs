//! `model.json`: every file, graph and number of a model folder.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this crate reads and writes.
pub const FORMAT: u32 = 1;
/// The manifest's file name.
pub const FILE_NAME: &str = "model.json";
/// Rewrites whose graphs keep to the reference in f32 alone: their sums and differences of neighbours would cost a
/// narrower type most of its digits.
pub const F32_REWRITES: [&str; 1] = ["winograd"];
/// An output of graphs that take times: the cosines and sines of the time embedding, for precision alone.
pub const WAVES: &str = "waves";

/// Everything that a model folder says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// `kandinsky-2.1`.
    pub family: String,
    /// What to call the model, such as `emoji`.
    pub name: String,
    /// How weights are stored.
    pub precision: Precision,
    /// What the graphs were drawn for.
    #[serde(default, skip_serializing_if = "Target::is_portable")]
    pub target: Target,
    /// Names of the rewrites that its graphs were drawn with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<String>,
    /// Where the weights came from.
    pub source: Source,
    /// The graphs by component name.
    pub components: BTreeMap<String, GraphSpec>,
    /// Every other file by its role: `clip_tokenizer`, `multilingual_tokenizer`, `constants`.
    pub files: BTreeMap<String, FileEntry>,
    /// Tokenisers' settings.
    pub text: Text,
    /// Picture inputs of the CLIP image encoder.
    pub clip_image: ClipImage,
    /// Latent space.
    pub latent: Latent,
    /// Schedulers by role: `prior`, `ddim`, `ddpm`, each the checkpoint's `scheduler_config.json`.
    pub schedulers: BTreeMap<String, serde_json::Value>,
    /// What a request gets that does not say otherwise.
    pub defaults: Defaults,
}

/// The graphs that a Kandinsky 2.1 folder can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// CLIP text encoder: ids i64\[B,S\] → hidden f32\[B,S,D\], pooled f32\[B,D\].
    TextEncoder,
    /// Multilingual encoder (XLM-R and projection): ids i64\[B,S\], mask f32\[B,S\] → hidden f32\[B,S,W\],
    /// pooled f32\[B,D\].
    MultilingualEncoder,
    /// CLIP image encoder: pixels f32\[B,3,I,I\] → embed f32\[B,D\], hidden f32\[B,P,V\].
    ImageEncoder,
    /// Prior over the prompt: hidden f32\[B,S,D\], pooled f32\[B,D\], mask f32\[B,S\] → k, v
    /// f32\[B,L·heads,S+1,head\].
    PriorPrefix,
    /// Prior over time, x and the answer: x f32\[B,D\], t f32\[B\], k, v, mask f32\[B,S\] → x0 f32\[B,D\] (and [`WAVES`]).
    PriorStep,
    /// What the UNet's attention sees of the prompt: text_hidden f32\[B,77,W\], text_pooled f32\[B,D\],
    /// image_embed f32\[B,D\] → k, v f32\[B,Σheads,87,head\], aug f32\[B,E\].
    UnetContext,
    /// Scale and shift of every residual block: t f32\[T\], aug f32\[B,E\] → film f32\[T,B,C\] (and [`WAVES`]).
    UnetFilm,
    /// One denoising step: sample f32\[B,4 or 9,h,w\], film f32\[B,C\], k, v → out f32\[B,8,h,w\].
    UnetStep,
    /// One denoising step of the outermost level alone, the deep ones' part from an earlier step, where
    /// [`Component::UnetStep`] has it for an output: sample, film, deep f32\[B,C',h,w\] → out f32\[B,8,h,w\].
    UnetShallow,
    /// As [`Component::UnetContext`], of the inpainting UNet.
    InpaintContext,
    /// As [`Component::UnetFilm`], of the inpainting UNet.
    InpaintFilm,
    /// As [`Component::UnetStep`] with 9 channels, of the inpainting UNet.
    InpaintStep,
    /// As [`Component::UnetShallow`], of the inpainting UNet.
    InpaintShallow,
    /// pixels f32\[B,3,f·h,f·w\] in \[-1,1\] → latents f32\[B,4,h,w\].
    MovqEncoder,
    /// latents f32\[B,4,h,w\] → quantized f32\[B,4,h,w\], indices i64\[B,h,w\].
    MovqQuantize,
    /// latents f32\[B,4,h,w\] → pixels f32\[B,3,f·h,f·w\] in \[-1,1\].
    MovqDecoder,
}

impl Component {
    /// All components in the order in which a picture passes through them.
    pub const ALL: [Self; 16] = [
        Self::TextEncoder,
        Self::MultilingualEncoder,
        Self::ImageEncoder,
        Self::PriorPrefix,
        Self::PriorStep,
        Self::UnetContext,
        Self::UnetFilm,
        Self::UnetStep,
        Self::UnetShallow,
        Self::InpaintContext,
        Self::InpaintFilm,
        Self::InpaintStep,
        Self::InpaintShallow,
        Self::MovqEncoder,
        Self::MovqQuantize,
        Self::MovqDecoder,
    ];

    /// The name in the manifest and in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::MultilingualEncoder => "multilingual_encoder",
            Self::ImageEncoder => "image_encoder",
            Self::PriorPrefix => "prior_prefix",
            Self::PriorStep => "prior_step",
            Self::UnetContext => "unet_context",
            Self::UnetFilm => "unet_film",
            Self::UnetStep => "unet_step",
            Self::UnetShallow => "unet_shallow",
            Self::InpaintContext => "inpaint_context",
            Self::InpaintFilm => "inpaint_film",
            Self::InpaintStep => "inpaint_step",
            Self::InpaintShallow => "inpaint_shallow",
            Self::MovqEncoder => "movq_encoder",
            Self::MovqQuantize => "movq_quantize",
            Self::MovqDecoder => "movq_decoder",
        }
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How weights are stored; the arithmetic of portable graphs is f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, widened to 32 bits when a graph is opened.
    F16,
}

/// What graphs are drawn for: the operators, the layout and the arithmetic that suit it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Every runtime: standard operators, f32 arithmetic.
    #[default]
    Portable,
    /// ONNX Runtime's CUDA provider: f16, channels last, its own operators.
    Cuda,
    /// ONNX Runtime's TensorRT provider: strongly typed f16, standard operators.
    TensorRt,
}

impl Target {
    /// All targets.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Cuda, Self::TensorRt];

    /// The name in the manifest and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Whether every runtime runs it.
    pub fn is_portable(&self) -> bool {
        *self == Self::Portable
    }
}

/// Where the weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is, in words.
    pub description: String,
    /// SPDX expression of the weights' licence, where it is known.
    pub licence: Option<String>,
    /// The checkpoint's files, `repository/path` to SHA-256.
    pub files: BTreeMap<String, String>,
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path relative to the folder, with forward slashes.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Hash in lower-case hexadecimal.
    pub sha256: String,
}

/// One graph: its files and its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphSpec {
    /// The ONNX file.
    pub graph: FileEntry,
    /// The external data, where there is any.
    pub data: Option<FileEntry>,
    /// Weights, as numbers.
    pub parameters: u64,
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
}

impl GraphSpec {
    /// Bytes of its data file; 0 where it has none.
    pub fn data_bytes(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.bytes)
    }
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// `f32` or `i64`.
    pub dtype: Dtype,
    /// Each side: a number, or an expression such as `batch` or `8*h`.
    pub shape: Vec<String>,
}

impl Port {
    /// The side at `axis` where it is a number.
    pub fn fixed(&self, axis: usize) -> Option<usize> {
        self.shape.get(axis)?.parse().ok()
    }
}

/// Element types that cross a graph's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit integer.
    I64,
}

/// Tokenisers' settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// CLIP's tokeniser.
    pub clip: Tokenizer,
    /// The multilingual tokeniser.
    pub multilingual: Tokenizer,
}

/// What surrounds the ids of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenizer {
    /// Id put first.
    pub bos: u32,
    /// Id put last.
    pub eos: u32,
    /// Id of padding.
    pub pad: u32,
    /// Tokens of a prompt with both ends.
    pub max_tokens: usize,
}

/// How a picture becomes the CLIP image encoder's input (PIL's bicubic filter, centre crop).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipImage {
    /// Side of the square.
    pub size: usize,
    /// Mean a channel, of values in \[0,1\].
    pub mean: [f64; 3],
    /// Standard deviation a channel.
    pub std: [f64; 3],
}

/// The latent space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latent {
    /// Channels of a latent.
    pub channels: usize,
    /// Pixels a latent's side.
    pub factor: usize,
    /// Latent sides are multiples of this: 2 to the number of the UNet's halvings.
    pub multiple: usize,
    /// Width of the image embedding.
    pub embed: usize,
    /// Input channels of the UNet: 4, or 9 where it inpaints and draws alike.
    pub unet_channels: usize,
}

/// What a request gets that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Decoder steps.
    pub steps: usize,
    /// Decoder guidance.
    pub guidance: f64,
    /// Prior steps.
    pub prior_steps: usize,
    /// Prior guidance.
    pub prior_guidance: f64,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The decoder's sampler.
    pub sampler: String,
}
