//! One way to a graph that may be opened: its files hold the bytes of the manifest, and its text keeps the contract.
//!
//! A graph's text is decoded once. What is needed of it later is a few numbers, which are kept ([`GraphFacts`]).

use crate::error::{Error, Kind, Result};
use crate::runtime::GraphSource;
use crate::verification::Verified;
use kandinsky_models::onnx::{GraphProto, NodeProto};
use kandinsky_models::{Component, Folder, GraphSpec};
use std::collections::BTreeMap;

/// Numbers of a graph that its memory is estimated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphFacts {
    /// Channels of its maps at full size, where it has convolutions.
    channels: Option<u64>,
    /// Numbers of a head of its attention, where it is given keys.
    pub head: Option<u64>,
}

/// A graph whose text is the manifest's and keeps its contract.
pub struct CheckedGraph {
    /// What a runtime opens.
    pub source: GraphSource,
    /// Numbers of it.
    pub facts: GraphFacts,
}

/// The graphs of a model folder, each checked before it is handed out.
pub struct VerifiedGraphs {
    folder: Folder,
    verified: Verified,
    checked: BTreeMap<Component, CheckedGraph>,
    decoded: u64,
}

impl VerifiedGraphs {
    /// Graphs of `folder`; files whose bytes were checked before are known by their identity.
    pub fn new(folder: Folder) -> Self {
        Self::checked_by(folder, Verified::new())
    }

    /// As [`VerifiedGraphs::new`], except that every byte is read.
    pub fn reading_every_byte(folder: Folder) -> Self {
        Self::checked_by(folder, Verified::reading_every_byte())
    }

    const fn checked_by(folder: Folder, verified: Verified) -> Self {
        Self { folder, verified, checked: BTreeMap::new(), decoded: 0 }
    }

    /// The model folder.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How many graphs have been decoded so far.
    pub const fn decoded(&self) -> u64 {
        self.decoded
    }

    /// A graph as its text says, its weights unread. The text is read and decoded at the first call.
    ///
    /// # Errors
    /// When the folder has no such graph, its text is not the manifest's, or it breaks the contract.
    pub fn checked(&mut self, component: Component) -> Result<&CheckedGraph> {
        if !self.checked.contains_key(&component) {
            let graph = self.decode(component)?;
            self.checked.insert(component, graph);
        }
        let missing = || Error::new(Kind::Internal, format!("{component} was checked and is not known"));
        self.checked.get(&component).ok_or_else(missing)
    }

    fn decode(&mut self, component: Component) -> Result<CheckedGraph> {
        let spec = self.folder.graph(component)?.clone();
        let path = self.verified.check(&self.folder, &spec.graph)?;
        let model = self.folder.check_graph(&spec)?;
        self.decoded += 1;
        let facts = GraphFacts::of(component, &spec, model.graph.as_ref());
        Ok(CheckedGraph { source: GraphSource { component, path, spec }, facts })
    }

    /// A graph to open now. Its text and its weights are the manifest's at this moment, though they were checked before.
    ///
    /// # Errors
    /// As [`VerifiedGraphs::checked`], and when its weights are not the manifest's.
    pub fn source(&mut self, component: Component) -> Result<GraphSource> {
        let known = self.checked.contains_key(&component);
        let source = self.checked(component)?.source.clone();
        if known {
            self.verified.check(&self.folder, &source.spec.graph)?;
        }
        if let Some(data) = &source.spec.data {
            self.verified.check(&self.folder, data)?;
        }
        Ok(source)
    }
}

impl GraphFacts {
    fn of(component: Component, spec: &GraphSpec, graph: Option<&GraphProto>) -> Self {
        let keys = spec.inputs.iter().find(|port| port.name == "k");
        let head = keys.and_then(|port| port.fixed(3)).and_then(|side| u64::try_from(side).ok());
        Self { channels: graph.and_then(|graph| channels(graph, component)), head }
    }

    /// Channels of the maps of `component` at full size.
    ///
    /// # Errors
    /// When the graph has no convolution whose weights tell them.
    pub fn channels(&self, component: Component) -> Result<u64> {
        self.channels.ok_or_else(|| {
            let message =
                format!("{component} has no convolution that tells its channels; export the model again");
            Error::new(Kind::BadModel, message)
        })
    }
}

/// Channels between a graph's last convolution and the one before, or, in an encoder, behind its first.
fn channels(graph: &GraphProto, component: Component) -> Option<u64> {
    let mut convolutions = graph.node.iter().filter(|node| node.op_type.as_deref() == Some("Conv"));
    match component {
        Component::MovqEncoder => side(graph, convolutions.next()?, 0),
        _ => side(graph, convolutions.next_back()?, 1),
    }
}

/// A side of a convolution's weights, which may pass through a cast first.
fn side(graph: &GraphProto, node: &NodeProto, axis: usize) -> Option<u64> {
    let name = node.input.get(1)?;
    let cast = graph.node.iter().find(|node| node.output.first() == Some(name));
    let name = cast.map_or(Some(name), |cast| cast.input.first())?;
    let weights = graph.initializer.iter().find(|tensor| tensor.name.as_ref() == Some(name));
    u64::try_from(*weights?.dims.get(axis)?).ok()
}
