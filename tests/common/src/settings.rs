//! Values on and beyond the limits of a setting, made of what it takes, for tests of every front end.

use kandinsky::internal::limits::{self, Limit};
use kandinsky::internal::request::settings::Shape;
use serde_json::{Value, json};

/// A value of a setting and the verdict on it.
pub struct Case {
    /// As JSON has it.
    pub json: Value,
    /// As people type it, where they can.
    pub typed: Option<String>,
    /// Whether it is taken.
    pub passes: bool,
}

fn typed(json: Value, text: impl Into<String>, passes: bool) -> Case {
    Case { json, typed: Some(text.into()), passes }
}

fn same(json: Value, passes: bool) -> Case {
    let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    typed(json, text, passes)
}

/// JSON of a type that nobody can type.
fn untyped(json: Value) -> Case {
    Case { json, typed: None, passes: false }
}

fn whole<T: Into<i128> + Copy>(limit: &Limit<T>) -> Vec<Case> {
    let (min, max) = (limit.min.into(), limit.max.into());
    let of = |number: i128| serde_json::from_str::<Value>(&number.to_string()).unwrap();
    let mut cases = vec![same(of(min), true), same(of(max), true), same(of(min - 1), false)];
    // One above 64 bits is a number of JSON that only floating point holds.
    cases.extend([typed(of(max + 1), (max + 1).to_string(), false)]);
    cases.extend(["NaN", "inf", "many", "", "null"].map(|text| same(json!(text), false)));
    cases.extend([same(json!(2.5), false), untyped(json!([1])), untyped(json!({}))]);
    cases
}

fn real(min: f64, max: f64, open: bool) -> Vec<Case> {
    let mut cases =
        vec![same(json!(min), !open), same(json!(max), true), same(json!((min + max) / 2.0), true)];
    cases.extend([min - 1.0, min - 1e-9, max + 1e-6, 1e300].map(|beyond| same(json!(beyond), false)));
    cases.extend(["NaN", "inf", "-inf", "much", "", "null"].map(|text| same(json!(text), false)));
    cases.extend([untyped(json!([1])), untyped(json!(true))]);
    cases
}

fn texts(most: usize) -> Vec<Case> {
    let mut cases = vec![same(json!("null"), true), same(json!("a".repeat(most)), true)];
    cases.extend([same(json!("a".repeat(most + 1)), false), untyped(json!(3)), untyped(json!({}))]);
    cases
}

fn lists(least: u64, most: u64) -> Vec<Case> {
    let mut cases = vec![typed(json!([most, least]), format!("{most},{least}"), true)];
    let beyond = serde_json::from_str::<Value>(&format!("[{}]", u128::from(most) + 1)).unwrap();
    cases.push(typed(beyond, format!("{}", u128::from(most) + 1), false));
    cases.push(typed(json!([-1]), "[-1]", false));
    cases.push(typed(json!([0.5]), "[0.5]", false));
    cases.extend([
        same(json!("many"), false),
        untyped(json!({})),
        untyped(json!(["1"])),
        untyped(json!([null])),
    ]);
    cases
}

fn size(width: i64, height: i64, passes: bool) -> Case {
    typed(json!({ "width": width, "height": height }), format!("{width}x{height}"), passes)
}

/// The minimum, the maximum, one below, one above, what is not a number, and values of another type.
pub fn cases(shape: &Shape) -> Vec<Case> {
    let counted = |limit: &Limit<usize>| {
        let [min, max] = [limit.min, limit.max].map(|n| i64::try_from(n).unwrap());
        whole(&Limit { name: limit.name, min, max, reason: "" })
    };
    match shape {
        Shape::Text(_) | Shape::Prompts => texts(limits::PROMPT_BYTES),
        Shape::Path => texts(limits::PATH_BYTES),
        Shape::Word(words) => {
            let known = words.all().into_iter().map(|word| same(json!(word), true));
            let others = ["", "NaN", "magic", "null"].into_iter().filter(|word| !words.all().contains(word));
            let others = others.map(|word| same(json!(word), false));
            known.chain(others).chain([untyped(json!(1)), untyped(json!([]))]).collect()
        }
        Shape::Whole(limit) => counted(limit),
        Shape::Seed => whole(&limits::SEED),
        Shape::Offset => whole(&limits::OFFSET),
        Shape::Real(limit) => real(limit.min, limit.max, false),
        Shape::Strength => real(limits::STRENGTH.min, limits::STRENGTH.max, true),
        Shape::Switch => {
            let mut cases = vec![same(json!(true), true), same(json!(false), true)];
            cases.extend(["", "yes", "NaN", "null"].map(|text| same(json!(text), false)));
            cases.extend([untyped(json!([])), untyped(json!({}))]);
            cases
        }
        Shape::Seeds => lists(limits::SEED.min, limits::SEED.max),
        Shape::Timesteps => lists(0, u64::try_from(limits::TIMESTEP.max).unwrap()),
        Shape::Picture => {
            vec![typed(json!({ "path": "a.png" }), "a.png", true), untyped(json!(3)), untyped(json!([]))]
        }
        Shape::Size => {
            let taken = [size(64, 64, true), size(2048, 512, true)];
            let beyond = [(63, 64), (64, 63), (2049, 64), (64, 2049), (2048, 2048)];
            let beyond = beyond.map(|(width, height)| size(width, height, false));
            let odd = ["", "64", "NaNx64", "big", "null"].map(|text| same(json!(text), false));
            taken.into_iter().chain(beyond).chain(odd).chain([untyped(json!([64, 64]))]).collect()
        }
        Shape::Interval => {
            let taken = ["0..1", "0.2..0.8"].map(|text| same(json!(text), true));
            let refused = ["-0.1..1", "0..1.1", "0.5..0.5", "NaN..1", "half", "", "null"];
            let refused = refused.map(|text| same(json!(text), false));
            taken.into_iter().chain(refused).chain([untyped(json!(1)), untyped(json!([]))]).collect()
        }
        Shape::Mix | Shape::Start => vec![untyped(json!(3)), untyped(json!("a")), untyped(json!(true))],
    }
}
