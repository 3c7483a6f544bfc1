//! What operators took, from the profiles that ONNX Runtime writes (Chrome's trace format).

use super::report::{Operator, Operators};
use crate::error::{Error, Kind, Result};
use crate::math::count;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Operators that are listed a graph.
const LISTED: usize = 20;

/// Reads every profile of a folder; each is named by its graph.
///
/// # Errors
/// When a profile cannot be read or is none.
pub fn read(folder: &Path, stage: &str) -> Result<Vec<Operators>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "read", &e))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let read = files.iter().map(|file| {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, "read", &e))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let graph = kandinsky_models::Component::ALL
            .into_iter()
            .find(|graph| name.strip_prefix(graph.name()).is_some_and(|rest| rest.starts_with(['_', '.'])));
        let graph = graph.map_or_else(|| name.to_string(), |graph| graph.name().to_owned());
        parse(&text, stage, graph)
    });
    read.collect()
}

/// Sums a profile's kernels by operator, the longest first.
fn parse(text: &str, stage: &str, graph: String) -> Result<Operators> {
    let bad = |what: &str| Error::new(Kind::RuntimeFault, format!("the profile of {graph} {what}"));
    let events: Vec<Value> = serde_json::from_str(text).map_err(|e| bad(&format!("is no JSON: {e}")))?;
    let ends: Vec<f64> = events.iter().filter_map(run_end).collect();
    let (first, runs) = match ends.as_slice() {
        [first, _, ..] => (*first, ends.len() - 1),
        _ => (f64::NEG_INFINITY, 1),
    };
    let mut sums: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for (operator, took) in events.iter().filter_map(|event| kernel(event, first)) {
        let sum = sums.entry(operator).or_default();
        *sum = (sum.0 + 1, sum.1 + took / count(runs));
    }
    if sums.is_empty() {
        return Err(bad("tells of no operator"));
    }
    let seconds: f64 = sums.values().map(|(_, seconds)| seconds).sum();
    let of = |(name, (calls, took)): (&str, (u64, f64))| Operator {
        operator: name.to_owned(),
        calls,
        seconds: took,
        share: if seconds > 0.0 { took / seconds } else { 0.0 },
    };
    let mut operators: Vec<_> = sums.into_iter().map(of).collect();
    operators.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    operators.truncate(LISTED);
    let runs = u64::try_from(runs).unwrap_or(u64::MAX);
    Ok(Operators { stage: stage.to_owned(), graph, runs, seconds, operators })
}

/// When a run of the graph ended, in microseconds.
fn run_end(event: &Value) -> Option<f64> {
    let is_run = event.get("name").and_then(Value::as_str) == Some("model_run");
    let number = |name: &str| event.get(name).and_then(Value::as_f64);
    number("ts").zip(number("dur")).filter(|_| is_run).map(|(start, took)| start + took)
}

/// The operator of a kernel that began at `after` or later, and its seconds.
fn kernel(event: &Value, after: f64) -> Option<(&str, f64)> {
    let is_kernel =
        event.get("cat")?.as_str()? == "Node" && event.get("name")?.as_str()?.ends_with("_kernel_time");
    let counts = is_kernel && event.get("ts")?.as_f64()? >= after;
    let took = event.get("dur")?.as_f64()? / 1e6;
    counts.then_some((event.pointer("/args/op_name")?.as_str()?, took))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::percent;

    #[test]
    fn kernels_are_summed_by_operator_the_longest_first() {
        let kernel = |ts: u64, name: &str, operator: &str, dur: u64| {
            let arguments = serde_json::json!({ "op_name": operator });
            serde_json::json!({ "cat": "Node", "ts": ts, "name": name, "dur": dur, "args": arguments })
        };
        let run = |ts: u64, dur: u64| serde_json::json!({ "cat": "Session", "ts": ts, "name": "model_run", "dur": dur });
        let text = serde_json::json!([
            kernel(1, "a_kernel_time", "Conv", 9_000_000),
            run(0, 1000),
            kernel(2000, "a_kernel_time", "Conv", 300_000),
            kernel(2001, "b_kernel_time", "MatMul", 800_000),
            kernel(2002, "a_fence_before", "Conv", 5_000_000),
            run(2000, 900),
            kernel(3000, "a_kernel_time", "Conv", 900_000),
            run(3000, 900),
        ]);
        let found = parse(&text.to_string(), "unet.step", "unet_step".to_owned()).unwrap();
        let rows: Vec<_> =
            found.operators.iter().map(|o| (o.operator.as_str(), o.calls, o.seconds)).collect();
        assert_eq!((rows, found.runs), (vec![("Conv", 2, 0.6), ("MatMul", 1, 0.4)], 2));
        assert!(
            (found.seconds - 1.0).abs() < 1e-12 && (percent(found.operators[0].share) - 60.0).abs() < 1e-9
        );
        assert!(parse("[]", "x", "y".to_owned()).unwrap_err().to_string().contains("no operator"));
        assert!(parse("{", "x", "y".to_owned()).unwrap_err().to_string().contains("no JSON"));
    }
}
