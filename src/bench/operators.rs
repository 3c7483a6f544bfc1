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
    let mut sums: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.get("cat").and_then(Value::as_str) == Some("Node")) {
        let named = event.get("name").and_then(Value::as_str).unwrap_or_default();
        let operator = event.pointer("/args/op_name").and_then(Value::as_str);
        let took = event.get("dur").and_then(Value::as_f64);
        let (Some(operator), Some(took)) = (operator, took) else { continue };
        if named.ends_with("_kernel_time") {
            let sum = sums.entry(operator).or_default();
            *sum = (sum.0 + 1, sum.1 + took / 1e6);
        }
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
    Ok(Operators { stage: stage.to_owned(), graph, seconds, operators })
}

/// A share in per cent.
pub fn percent(share: f64) -> f64 {
    share * count(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_summed_by_operator_the_longest_first() {
        let kernel = |name: &str, operator: &str, dur: u64| serde_json::json!({ "cat": "Node", "name": name, "dur": dur, "args": { "op_name": operator } });
        let text = serde_json::json!([
            { "cat": "Session", "name": "model_run", "dur": 900 },
            kernel("a_kernel_time", "Conv", 300_000),
            kernel("b_kernel_time", "MatMul", 400_000),
            kernel("a_fence_before", "Conv", 5_000_000),
            kernel("a_kernel_time", "Conv", 300_000),
        ]);
        let found = parse(&text.to_string(), "unet.step", "unet_step".to_owned()).unwrap();
        let rows: Vec<_> =
            found.operators.iter().map(|o| (o.operator.as_str(), o.calls, o.seconds)).collect();
        assert_eq!(rows, [("Conv", 2, 0.6), ("MatMul", 1, 0.4)]);
        assert!(
            (found.seconds - 1.0).abs() < 1e-12 && (percent(found.operators[0].share) - 60.0).abs() < 1e-9
        );
        assert!(parse("[]", "x", "y".to_owned()).unwrap_err().to_string().contains("no operator"));
        assert!(parse("{", "x", "y".to_owned()).unwrap_err().to_string().contains("no JSON"));
    }
}
