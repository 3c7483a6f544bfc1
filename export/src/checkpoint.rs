//! How a checkpoint lies on disk: three repositories, a folder a component, JSON beside the weights.
//!
//! `prior/` of the first repository is the diffusion prior, `text_encoder/` and `image_encoder/` the two
//! halves of CLIP; `unet/`, `movq/` and `text_encoder/` of the second the UNet, the MoVQ and the
//! multilingual encoder; of the third, which is there for inpainting, only `unet/` differs and is read.

use crate::arch::{self, Network};
use crate::read;
use crate::synthetic::Synthetic;
use crate::weights::Weights;
use crate::{Error, Result};
use kandinsky_models::KANDINSKY_2_1;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Largest JSON or text file of a checkpoint that is read whole.
const MAX_TEXT: u64 = 64 << 20;
/// Tensors that some checkpoints carry and no graph of ours reads, by the ends of their names.
const IDLE: [&str; 3] = ["position_ids", "clip_mean", "clip_std"];

/// The folders of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// As `kandinsky-community/kandinsky-2-1-prior`.
    pub prior: PathBuf,
    /// As `kandinsky-community/kandinsky-2-1`, or `-2-1-inpaint` where it is the only one.
    pub decoder: PathBuf,
    /// As `kandinsky-community/kandinsky-2-1-inpaint`.
    pub inpaint: Option<PathBuf>,
}

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightSource {
    /// The checkpoint's files.
    Files,
    /// The rule of [`crate::synthetic`] under this seed; the checkpoint need hold configs alone. The
    /// inpainting UNet takes the next seed.
    Synthetic(u64),
}

/// One network of a checkpoint.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub kind: Network,
    /// `prior`, `decoder` or `inpaint`.
    pub repository: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// Its `config.json`.
    pub config: Config,
}

/// A JSON file of a checkpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it lies.
    pub path: PathBuf,
    /// Its content, an object.
    pub value: Value,
}

impl Checkpoint {
    /// Finds the repositories below `root` by the names that they have on the hub, or by `prior`,
    /// `decoder` and `inpaint`.
    ///
    /// # Errors
    /// When there is no prior or no decoder.
    pub fn find(root: &Path) -> Result<Self> {
        let named = |names: [&str; 2]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
        let needed =
            |names: [&str; 2]| named(names).ok_or_else(|| Error::MissingFile(root.join(names.join(" or "))));
        let hub = &KANDINSKY_2_1.repositories;
        Ok(Self {
            prior: needed([hub.prior, "prior"])?,
            decoder: needed([hub.decoder, "decoder"])?,
            inpaint: named([hub.inpaint, "inpaint"]),
        })
    }

    /// The networks that a model folder is made of, in the order in which a picture passes through them,
    /// their configs read.
    ///
    /// # Errors
    /// When a config is missing or is no JSON object.
    pub fn parts(&self) -> Result<Vec<Part>> {
        let mut parts = vec![
            Part::open(Network::TextEncoder, "prior", &self.prior)?,
            Part::open(Network::MultilingualEncoder, "decoder", &self.decoder)?,
            Part::open(Network::ImageEncoder, "prior", &self.prior)?,
            Part::open(Network::Prior, "prior", &self.prior)?,
            Part::open(Network::Unet, "decoder", &self.decoder)?,
        ];
        if let Some(inpaint) = &self.inpaint {
            parts.push(Part::open(Network::InpaintUnet, "inpaint", inpaint)?);
        }
        parts.push(Part::open(Network::Movq, "decoder", &self.decoder)?);
        Ok(parts)
    }
}

impl Part {
    /// The network `kind` of the repository in `folder`.
    ///
    /// # Errors
    /// When its config is missing or is no JSON object.
    pub fn open(kind: Network, repository: &'static str, folder: &Path) -> Result<Self> {
        let folder = folder.join(folder_name(kind));
        let config = Config::read(&folder.join("config.json"))?;
        check_class(kind, &config)?;
        Ok(Self { kind, repository, folder, config })
    }

    /// Its name in messages, such as `decoder/unet`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.repository, folder_name(self.kind))
    }

    /// Its tensors by the config, sorted by name.
    ///
    /// # Errors
    /// When the config lacks a field or asks for something unknown.
    pub fn tensors(&self) -> Result<Vec<(String, Vec<usize>)>> {
        arch::tensors(self.kind, &self.config.value, &self.config.path)
    }

    /// Its weights; headers are read, weights are not.
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn weights(&self, origin: WeightSource) -> Result<Box<dyn Weights>> {
        match origin {
            WeightSource::Files => read::open(&self.folder, &self.name()),
            WeightSource::Synthetic(seed) => {
                let seed = if self.kind == Network::InpaintUnet { seed.wrapping_add(1) } else { seed };
                Ok(Box::new(Synthetic::new(&self.name(), seed, self.tensors()?)))
            }
        }
    }

    /// Refuses weights that hold tensors which the architecture does not know.
    ///
    /// # Errors
    /// With the first of them and their number.
    pub fn check_extra(&self, weights: &dyn Weights) -> Result<()> {
        let tensors = self.tensors()?;
        let known = |name: &str| tensors.binary_search_by(|(tensor, _)| tensor.as_str().cmp(name)).is_ok();
        let names = weights.names();
        let idle = |name: &str| IDLE.iter().any(|end| name.ends_with(end));
        let extra: Vec<_> = names.iter().filter(|name| !known(name) && !idle(name)).collect();
        match extra.first() {
            None => Ok(()),
            Some(name) => Err(Error::ExtraTensor {
                component: self.name(),
                name: (**name).to_string(),
                count: extra.len(),
            }),
        }
    }
}

/// The folder of a network in its repository.
pub const fn folder_name(kind: Network) -> &'static str {
    match kind {
        Network::TextEncoder | Network::MultilingualEncoder => "text_encoder",
        Network::ImageEncoder => "image_encoder",
        Network::Prior => "prior",
        Network::Unet | Network::InpaintUnet => "unet",
        Network::Movq => "movq",
    }
}

/// The class that a config names must be the one that is drawn; a config that names none is believed to be
/// of it.
fn check_class(kind: Network, config: &Config) -> Result<()> {
    let known = match kind {
        Network::TextEncoder => "CLIPTextModelWithProjection",
        Network::ImageEncoder => "CLIPVisionModelWithProjection",
        Network::MultilingualEncoder => "MultilingualCLIP",
        Network::Prior => "PriorTransformer",
        Network::Unet | Network::InpaintUnet => "UNet2DConditionModel",
        Network::Movq => "VQModel",
    };
    let first_architecture = || config.field("architectures").and_then(|list| list.get(0)?.as_str());
    let named = config.field("_class_name").and_then(Value::as_str).or_else(first_architecture);
    let found = named.unwrap_or(known);
    if found == known {
        return Ok(());
    }
    let what = format!("the network of {}", config.path.display());
    Err(Error::Unknown { what, found: found.to_owned(), known: known.to_owned() })
}

impl Config {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// When the file is missing, too large, or no JSON object.
    pub fn read(path: &Path) -> Result<Self> {
        let value: Value =
            serde_json::from_str(&read_text(path)?).map_err(|e| bad_config(path, e.to_string()))?;
        if !value.is_object() {
            return Err(bad_config(path, "it is not a JSON object"));
        }
        Ok(Self { path: path.to_owned(), value })
    }

    /// A field, where it is there and not null.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn whole(&self, name: &str) -> Result<usize> {
        let number = self.need(name)?.as_u64().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.bad(format!("{name} is not a whole number")))
    }

    /// A text.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.need(name)?.as_str().ok_or_else(|| self.bad(format!("{name} is not a text")))
    }

    /// A list.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn list(&self, name: &str) -> Result<&[Value]> {
        let list = self.need(name)?.as_array();
        list.map(Vec::as_slice).ok_or_else(|| self.bad(format!("{name} is not a list")))
    }

    /// A field of any type.
    ///
    /// # Errors
    /// When it is missing or null.
    pub fn need(&self, name: &str) -> Result<&Value> {
        self.field(name).ok_or_else(|| self.bad(format!("it lacks {name}")))
    }

    /// An error about this file.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        bad_config(&self.path, reason)
    }
}

/// An error about the config file at `path`.
pub fn bad_config(path: &Path, reason: impl Into<String>) -> Error {
    Error::BadConfig { path: path.to_owned(), reason: reason.into() }
}

/// Reads a text file of at most 64 MiB.
///
/// # Errors
/// When it is missing, too large, or not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let size = match path.metadata() {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => return Err(Error::MissingFile(path.to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::MissingFile(path.to_owned()));
        }
        Err(e) => return Err(Error::io(path, "read", e)),
    };
    if size > MAX_TEXT {
        return Err(bad_config(path, format!("it has {size} bytes; the limit is {MAX_TEXT}")));
    }
    std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))
}
