//! Which graphs are in memory when: a request's phases, what graphs take and a budget in, a plan out. Pure numbers.
//!
//! A phase is a part of a request whose graphs run side by side. A graph is held through the whole request where the budget
//! allows it, the largest first, since those take the longest to open again; the others are opened at their phase
//! and closed after it.

use crate::error::{Error, Kind, Result};
use crate::progress::Stage;
use kandinsky_models::Component;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a graph takes of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// While it is open.
    pub resident: u64,
    /// Beside that, while it is being opened.
    pub opening: u64,
    /// Beside `resident`, once it has run: runtimes keep what a run needed for the next one.
    pub running: u64,
}

/// What a runtime makes of a graph's weights and feature maps: its row of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Memory of an open graph, in hundredths of its weights.
    pub weights: u64,
    /// The same of a graph of convolutions, whose weights are laid out anew.
    pub convolutions: u64,
    /// Memory of an open graph for each byte of its text.
    pub text: u64,
    /// Memory while a graph is opened beside the above, in hundredths of its weights.
    pub opening: u64,
    /// The same for each byte of its text.
    pub opening_text: u64,
    /// Widest feature maps that the UNet holds at once.
    pub unet_maps: u64,
    /// Widest feature maps that MoVQ holds at once.
    pub movq_maps: u64,
    /// Times that the scores of an attention are held at once.
    pub scores: u64,
}

/// Graphs that run side by side in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// The stage.
    pub stage: Stage,
    /// The graphs.
    pub graphs: BTreeSet<Component>,
}

/// A phase with what is open in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The stage.
    #[serde(serialize_with = "stage_name")]
    pub stage: Stage,
    /// The graphs that run.
    #[serde(serialize_with = "graph_names")]
    pub runs: BTreeSet<Component>,
    /// All graphs that are open at its end.
    #[serde(serialize_with = "graph_names")]
    pub open: BTreeSet<Component>,
    /// Most memory that the process will hold in it, in bytes.
    pub bytes: u64,
}

/// When a request's graphs are open, and the memory that takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The phases in order.
    pub steps: Vec<Step>,
    /// Memory of the process without graphs, in bytes.
    pub base_bytes: u64,
    /// Most memory of all, in bytes.
    pub peak_bytes: u64,
    /// The budget in bytes, where there is one.
    pub budget_bytes: Option<u64>,
}

/// Plans `phases` for a process that takes `base` bytes without graphs. `before` are graphs that are open already;
/// those that no phase needs stay while there is room.
///
/// # Errors
/// [`Kind::OutOfMemory`] where the graphs of one phase alone do not fit, with the need and the limit.
pub fn plan(
    phases: &[Phase],
    footprints: &BTreeMap<Component, Footprint>,
    before: &BTreeSet<Component>,
    base: u64,
    budget: Option<u64>,
) -> Result<Plan> {
    let fits = |kept: &BTreeSet<Component>| {
        let peak = phases.iter().map(|phase| need(phase, kept, footprints, base)).max().unwrap_or(base);
        budget.is_none_or(|budget| peak <= budget)
    };
    if let Some(phase) = phases.iter().find(|phase| {
        let alone = need(phase, &BTreeSet::new(), footprints, base);
        budget.is_some_and(|budget| alone > budget)
    }) {
        return Err(refusal(phase, footprints, base, budget));
    }
    let mut kept = BTreeSet::new();
    for component in by_size(phases, footprints, before) {
        kept.insert(component);
        if !fits(&kept) {
            kept.remove(&component);
        }
    }
    let steps = (0..phases.len()).map(|at| step(phases, at, (&kept, before), footprints, base));
    let steps: Vec<Step> = steps.collect();
    let peak_bytes = steps.iter().map(|step| step.bytes).max().unwrap_or(base);
    Ok(Plan { steps, base_bytes: base, peak_bytes, budget_bytes: budget })
}

/// The least budget that [`plan`] takes: what the phase that needs the most takes alone.
pub fn least(phases: &[Phase], footprints: &BTreeMap<Component, Footprint>, base: u64) -> u64 {
    phases.iter().map(|phase| need(phase, &BTreeSet::new(), footprints, base)).max().unwrap_or(base)
}

impl Plan {
    /// Whether every graph of the request stays open once it is.
    pub fn holds_all(&self) -> bool {
        let needed = self.steps.iter().flat_map(|step| &step.runs);
        self.steps.last().is_none_or(|last| needed.into_iter().all(|graph| last.open.contains(graph)))
    }
}

/// The request's graphs, the largest first, then those that are open beside them.
fn by_size(
    phases: &[Phase],
    footprints: &BTreeMap<Component, Footprint>,
    before: &BTreeSet<Component>,
) -> Vec<Component> {
    let size = |component: &Component| {
        std::cmp::Reverse(footprints.get(component).map_or(0, |footprint| footprint.resident))
    };
    let mut needed: Vec<Component> = needed(phases).into_iter().collect();
    needed.sort_by_key(size);
    let mut spare: Vec<Component> = before.iter().filter(|open| !needed.contains(open)).copied().collect();
    spare.sort_by_key(size);
    needed.into_iter().chain(spare).collect()
}

fn needed(phases: &[Phase]) -> BTreeSet<Component> {
    phases.iter().flat_map(|phase| phase.graphs.iter().copied()).collect()
}

/// Most memory in a phase beside which `kept` graphs are open and have run.
fn need(
    phase: &Phase,
    kept: &BTreeSet<Component>,
    footprints: &BTreeMap<Component, Footprint>,
    base: u64,
) -> u64 {
    let open: BTreeSet<Component> = phase.graphs.union(kept).copied().collect();
    let of = |component: &Component| footprints.get(component).copied().unwrap_or_default();
    let held: u64 = open.iter().map(|component| of(component).resident + of(component).running).sum();
    // Of the graph that is opened last nothing has run yet.
    let opening = phase.graphs.iter().map(|c| of(c).opening.saturating_sub(of(c).running)).max().unwrap_or(0);
    base + held + opening
}

/// Graphs open during a phase: those it runs, plus resident ones opened so far.
fn step(
    phases: &[Phase],
    at: usize,
    (kept, before): (&BTreeSet<Component>, &BTreeSet<Component>),
    footprints: &BTreeMap<Component, Footprint>,
    base: u64,
) -> Step {
    let later = needed(phases.get(at + 1..).unwrap_or_default());
    let so_far = needed(phases.get(..=at).unwrap_or_default());
    let known = |component: &Component| so_far.contains(component) || before.contains(component);
    let yet_to_come = |component: &Component| later.contains(component) && !known(component);
    let held: BTreeSet<Component> = kept.iter().filter(|c| !yet_to_come(c)).copied().collect();
    let empty = Phase { stage: Stage::Load, graphs: BTreeSet::new() };
    let phase = phases.get(at).unwrap_or(&empty);
    let bytes = need(phase, &held, footprints, base);
    let open = phase.graphs.union(&held).copied().collect();
    Step { stage: phase.stage, runs: phase.graphs.clone(), open, bytes }
}

fn refusal(
    phase: &Phase,
    footprints: &BTreeMap<Component, Footprint>,
    base: u64,
    budget: Option<u64>,
) -> Error {
    let names = names(&phase.graphs).join(", ");
    let (need, limit) = (need(phase, &BTreeSet::new(), footprints, base), budget.unwrap_or(u64::MAX));
    let message = format!(
        "the stage {} ({names}) needs about {} MB of memory; the limit is {} MB",
        phase.stage.name(),
        need.div_ceil(MEGA),
        limit / MEGA
    );
    Error::new(Kind::OutOfMemory, message)
}

/// Bytes of a megabyte, as people count.
const MEGA: u64 = 1_000_000;

fn names(graphs: &BTreeSet<Component>) -> Vec<&'static str> {
    graphs.iter().map(|component| component.name()).collect()
}

fn graph_names<S: Serializer>(graphs: &BTreeSet<Component>, out: S) -> std::result::Result<S::Ok, S::Error> {
    names(graphs).serialize(out)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form of a serialiser")]
fn stage_name<S: Serializer>(stage: &Stage, out: S) -> std::result::Result<S::Ok, S::Error> {
    stage.name().serialize(out)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<8} {:>8}  open, * where it runs", "stage", "MB")?;
        for step in &self.steps {
            let mark = |c: &Component| if step.runs.contains(c) { format!("*{c}") } else { c.to_string() };
            let open: Vec<String> = step.open.iter().map(mark).collect();
            writeln!(f, "{:<8} {:>8}  {}", step.stage.name(), step.bytes / MEGA, open.join(" "))?;
        }
        write!(
            f,
            "{:<8} {:>8}  of which {} MB are no graphs",
            "peak",
            self.peak_bytes / MEGA,
            self.base_bytes / MEGA
        )?;
        match self.budget_bytes {
            Some(budget) => writeln!(f, "; the limit is {} MB", budget / MEGA),
            None => writeln!(f),
        }
    }
}

/// What a runtime's rates and a graph's numbers come to.
impl Footprint {
    /// Of a graph of `weights` bytes as f32 and `text` bytes of text, whose run takes `running` bytes.
    pub fn new(
        rates: &Coefficients,
        component: Component,
        (weights, text): (u64, u64),
        running: u64,
    ) -> Self {
        let share = if is_convolutional(component) { rates.convolutions } else { rates.weights };
        let of = |hundredths: u64| weights.saturating_mul(hundredths) / 100;
        Self {
            resident: of(share) + text.saturating_mul(rates.text),
            opening: of(rates.opening) + text.saturating_mul(rates.opening_text),
            running,
        }
    }
}

/// Whether most of a graph's weights are those of convolutions.
pub const fn is_convolutional(component: Component) -> bool {
    matches!(
        component,
        Component::UnetStep | Component::InpaintStep | Component::MovqEncoder | Component::MovqDecoder
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use Component::{ImageEncoder, MovqDecoder, PriorStep, TextEncoder, UnetStep};

    fn phase(stage: Stage, graphs: &[Component]) -> Phase {
        Phase { stage, graphs: graphs.iter().copied().collect() }
    }

    fn phases() -> [Phase; 4] {
        [
            phase(Stage::Encode, &[TextEncoder]),
            phase(Stage::Prior, &[PriorStep]),
            phase(Stage::Denoise, &[UnetStep]),
            phase(Stage::Decode, &[MovqDecoder]),
        ]
    }

    fn footprints() -> BTreeMap<Component, Footprint> {
        let footprint = |resident, running| Footprint { resident, opening: 0, running };
        [
            (TextEncoder, footprint(10, 0)),
            (PriorStep, footprint(40, 1)),
            (UnetStep, footprint(45, 5)),
            (MovqDecoder, footprint(2, 12)),
            (ImageEncoder, footprint(12, 0)),
        ]
        .into()
    }

    fn open(plan: &Plan, at: usize) -> Vec<Component> {
        plan.steps[at].open.iter().copied().collect()
    }

    #[test]
    fn with_room_for_all_nothing_is_closed() {
        for budget in [None, Some(200), Some(120)] {
            let plan = plan(&phases(), &footprints(), &BTreeSet::new(), 5, budget).unwrap();
            assert_eq!(plan.peak_bytes, 5 + 10 + 41 + 50 + 14);
            assert_eq!(open(&plan, 0), [TextEncoder]);
            assert_eq!(open(&plan, 3), [TextEncoder, PriorStep, UnetStep, MovqDecoder]);
        }
    }

    #[test]
    fn the_largest_stays_and_the_rest_come_and_go() {
        let plan = plan(&phases(), &footprints(), &BTreeSet::new(), 5, Some(98)).unwrap();
        assert_eq!(open(&plan, 1), [PriorStep], "the text encoder is closed after its phase");
        assert_eq!(open(&plan, 2), [UnetStep], "beside both, MoVQ would not fit");
        assert_eq!(open(&plan, 3), [UnetStep, MovqDecoder]);
        assert_eq!(plan.peak_bytes, 5 + 50 + 14);
    }

    #[test]
    fn with_room_for_one_each_is_alone_at_its_turn() {
        let plan = plan(&phases(), &footprints(), &BTreeSet::new(), 5, Some(55)).unwrap();
        assert_eq!(open(&plan, 1), [PriorStep]);
        assert_eq!(open(&plan, 2), [UnetStep]);
        assert_eq!(plan.peak_bytes, 55);
    }

    #[test]
    fn what_does_not_fit_at_all_is_refused_with_need_and_limit() {
        let error = plan(&phases(), &footprints(), &BTreeSet::new(), 5 * MEGA, Some(4_999_999)).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        let text = error.to_string();
        assert!(text.contains("text_encoder") && text.contains("6 MB") && text.contains("4 MB"), "{text}");
    }

    #[test]
    fn graphs_of_a_job_before_give_way_first() {
        let before = [ImageEncoder].into();
        let roomy = plan(&phases(), &footprints(), &before, 5, Some(132)).unwrap();
        assert!(roomy.steps.iter().all(|step| step.open.contains(&ImageEncoder)));
        let tight = plan(&phases(), &footprints(), &before, 5, Some(131)).unwrap();
        assert!(tight.steps.iter().all(|step| !step.open.contains(&ImageEncoder)));
    }

    #[test]
    fn opening_counts_where_it_takes_more_than_running() {
        let footprints = [(UnetStep, Footprint { resident: 40, opening: 30, running: 10 })].into();
        let phases = [phase(Stage::Denoise, &[UnetStep])];
        let plan = plan(&phases, &footprints, &BTreeSet::new(), 0, None).unwrap();
        assert_eq!(plan.peak_bytes, 70);
    }
}
