//! Reading a model folder: the manifest, the files, the checks.

use crate::manifest::{FILE_NAME, FORMAT};
use crate::onnx::{AttributeProto, GraphProto, ModelProto, TensorProto};
use crate::{Component, Error, FileEntry, GraphSpec, Manifest, Result, hash, path};
use prost::Message;
use std::path::{Path, PathBuf};

/// Largest manifest that is read.
const MAX_MANIFEST: u64 = 8 << 20;
/// Largest graph text that is read; weights lie beside it.
const MAX_GRAPH: u64 = 64 << 20;

/// A model folder whose manifest has been read and checked.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    manifest: Manifest,
}

impl Folder {
    /// Reads `root/model.json`.
    ///
    /// # Errors
    /// When there is no manifest, it cannot be understood, has another format, or names a file
    /// outside the folder.
    pub fn open(root: &Path) -> Result<Self> {
        let file = root.join(FILE_NAME);
        let size = match file.metadata() {
            Ok(meta) if meta.is_file() => meta.len(),
            _ => return Err(Error::NotAModel(root.to_owned())),
        };
        if size > MAX_MANIFEST {
            return Err(Error::BadManifest(format!("it has {size} bytes; the limit is {MAX_MANIFEST}")));
        }
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io(&file, "read", e))?;
        let manifest = parse(&text)?;
        for entry in entries(&manifest) {
            path::check_name(&entry.path)?;
        }
        Ok(Self { root: root.to_owned(), manifest })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files and contract of a component.
    ///
    /// # Errors
    /// When the model has no such component.
    pub fn graph(&self, component: Component) -> Result<&GraphSpec> {
        let name = component.name();
        self.manifest.components.get(name).ok_or_else(|| Error::NoComponent(name.to_owned()))
    }

    /// Whether the model has a component.
    pub fn has(&self, component: Component) -> bool {
        self.manifest.components.contains_key(component.name())
    }

    /// The file with a role, such as `clip_tokenizer`.
    ///
    /// # Errors
    /// When the manifest names no such file.
    pub fn file(&self, role: &str) -> Result<&FileEntry> {
        self.manifest
            .files
            .get(role)
            .ok_or_else(|| Error::BadManifest(format!("it names no file for {role}")))
    }

    /// Every file that the manifest names.
    pub fn entries(&self) -> Vec<&FileEntry> {
        entries(&self.manifest)
    }

    /// Where a file lies, after links; its size is that of the manifest.
    ///
    /// # Errors
    /// When it is missing, outside the folder, or of another size.
    pub fn locate(&self, entry: &FileEntry) -> Result<PathBuf> {
        let path = path::resolve(&self.root, &entry.path)?;
        let found = path.metadata().map_err(|e| Error::io(&path, "read", e))?.len();
        if found != entry.bytes {
            let file = entry.path.clone();
            return Err(Error::Size { file, found, expected: entry.bytes });
        }
        Ok(path)
    }

    /// Reads every byte of a file and compares its hash with the manifest's.
    ///
    /// # Errors
    /// When it differs, or cannot be read.
    pub fn verify(&self, entry: &FileEntry) -> Result<PathBuf> {
        let path = self.locate(entry)?;
        let (found, _) = hash::of_file(&path)?;
        if found != entry.sha256 {
            let file = entry.path.clone();
            return Err(Error::Hash { file, found, expected: entry.sha256.clone() });
        }
        Ok(path)
    }

    /// Reads a graph's text and checks it against its contract: names, types and shapes of inputs and
    /// outputs, and external data only in the file that the manifest names.
    ///
    /// # Errors
    /// When it is damaged or breaks the contract.
    pub fn check_graph(&self, spec: &GraphSpec) -> Result<ModelProto> {
        let file = spec.graph.path.as_str();
        let bad = |reason: String| Error::BadGraph { file: file.to_owned(), reason };
        if spec.graph.bytes > MAX_GRAPH {
            return Err(bad(format!("it has {} bytes; the limit is {MAX_GRAPH}", spec.graph.bytes)));
        }
        let path = self.locate(&spec.graph)?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
        let model = ModelProto::decode(bytes.as_slice()).map_err(|e| bad(e.to_string()))?;
        let graph = model.graph.as_ref().ok_or_else(|| bad("it holds no graph".to_owned()))?;
        check_plain(&model, graph).map_err(&bad)?;
        check_data(spec, graph).map_err(&bad)?;
        check_ports(&spec.inputs, &graph.input, "inputs").map_err(&bad)?;
        check_ports(&spec.outputs, &graph.output, "outputs").map_err(&bad)?;
        Ok(model)
    }
}

/// Reads a manifest's text.
///
/// # Errors
/// When it is not JSON of the form of [`Manifest`], or of another format version.
pub fn parse(text: &str) -> Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let bad = |e: serde_json::Error| Error::BadManifest(e.to_string());
    let Version { format } = serde_json::from_str(text).map_err(bad)?;
    if format != FORMAT {
        return Err(Error::Format { found: format, expected: FORMAT });
    }
    serde_json::from_str(text).map_err(bad)
}

fn entries(manifest: &Manifest) -> Vec<&FileEntry> {
    let graphs = manifest.components.values();
    graphs
        .flat_map(|spec| std::iter::once(&spec.graph).chain(&spec.data))
        .chain(manifest.files.values())
        .collect()
}

/// No functions, no subgraphs, no sparse weights: places where paths could hide.
fn check_plain(model: &ModelProto, graph: &GraphProto) -> std::result::Result<(), String> {
    if !model.functions.is_empty() || !graph.sparse_initializer.is_empty() {
        return Err("it has functions or sparse weights, which our graphs never have".to_owned());
    }
    let nested =
        |a: &AttributeProto| a.g.is_some() || a.t.is_some() || !a.graphs.is_empty() || !a.tensors.is_empty();
    match graph.node.iter().find(|node| node.attribute.iter().any(nested)) {
        Some(node) => {
            Err(format!("its node {} holds a graph or a tensor", node.name.as_deref().unwrap_or("?")))
        }
        None => Ok(()),
    }
}

fn check_data(spec: &GraphSpec, graph: &GraphProto) -> std::result::Result<(), String> {
    graph.initializer.iter().try_for_each(|tensor| check_external(spec, tensor))
}

fn check_external(spec: &GraphSpec, tensor: &TensorProto) -> std::result::Result<(), String> {
    if tensor.external_data.is_empty() && tensor.data_location.unwrap_or(0) == 0 {
        return Ok(());
    }
    let field = |key: &str| {
        let entry = tensor.external_data.iter().find(|e| e.key.as_deref() == Some(key));
        entry.and_then(|e| e.value.as_deref())
    };
    let name = tensor.name.as_deref().unwrap_or("?");
    let location = field("location").unwrap_or("");
    path::check_name(location).map_err(|e| e.to_string())?;
    let data = match &spec.data {
        // The graph and its data lie in one folder, so the location is the data file's last part.
        Some(data) if data.path.rsplit('/').next() == Some(location) => data,
        _ => return Err(format!("its tensor {name} lies in {location:?}, which the manifest does not name")),
    };
    let number = |key: &str| field(key).map_or(Ok(0), str::parse::<u64>).map_err(|e| format!("{name}: {e}"));
    match number("offset")?.checked_add(number("length")?) {
        Some(end) if end <= data.bytes => Ok(()),
        _ => Err(format!("its tensor {name} ends beyond the {} bytes of {}", data.bytes, data.path)),
    }
}

fn check_ports(
    ports: &[crate::manifest::Port],
    found: &[crate::onnx::ValueInfoProto],
    what: &str,
) -> std::result::Result<(), String> {
    let names = |list: &[String]| list.join(", ");
    let expected: Vec<String> = ports.iter().map(describe_port).collect();
    let actual: Vec<String> = found.iter().map(describe_value).collect();
    if expected == actual {
        return Ok(());
    }
    Err(format!("its {what} are {}, and the manifest says {}", names(&actual), names(&expected)))
}

fn describe_port(port: &crate::manifest::Port) -> String {
    let dtype = match port.dtype {
        crate::manifest::Dtype::F32 => "f32",
        crate::manifest::Dtype::I64 => "i64",
    };
    format!("{} {dtype}[{}]", port.name, port.shape.join(","))
}

fn describe_value(value: &crate::onnx::ValueInfoProto) -> String {
    let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let dtype = match tensor.and_then(|t| t.elem_type) {
        Some(crate::onnx::data_type::FLOAT) => "f32",
        Some(crate::onnx::data_type::INT64) => "i64",
        _ => "?",
    };
    let sides = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dim);
    let side = |d: &crate::onnx::Dimension| match (d.dim_value, &d.dim_param) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "?".to_owned(),
    };
    let shape: Vec<String> = sides.iter().map(side).collect();
    format!("{} {dtype}[{}]", value.name.as_deref().unwrap_or("?"), shape.join(","))
}
