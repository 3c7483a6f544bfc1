//! One verdict and one sentence on a setting's value, whichever front end it comes through; and what is generated
//! from the table of settings is what is committed.

use kandinsky::internal::limits;
use kandinsky::internal::request::keys;
use kandinsky::internal::request::settings::{SETTINGS, Setting, Shape, reference, schema};
use kandinsky::{Compositing, Frame, Kind, Part, Request, Result, Size};
use kandinsky_testing::settings::cases;
use serde_json::{Map, Value, json};

/// The sentence of a refusal, or nothing.
fn said(outcome: Result<Request>) -> Option<String> {
    outcome.err().map(|error| {
        assert!([Kind::BadRequest, Kind::BadPrompt].contains(&error.kind()), "{error}");
        error.to_string()
    })
}

fn by_key(mut request: Map<String, Value>, key: &str, typed: &str) -> Result<Request> {
    keys::set(&mut request, key, typed)?;
    Request::from_object(&request)
}

/// A request that a caller in Rust makes, for the types that Rust lets out of their range.
fn in_rust(name: &str, value: &Value) -> Option<Request> {
    let number = || match value {
        Value::String(text) => text.parse().ok().filter(|x: &f64| !x.is_finite()),
        value => value.as_f64(),
    };
    let whole = || value.as_u64().and_then(|n| usize::try_from(n).ok());
    let side = |name: &str| value.get(name)?.as_u64().and_then(|n| usize::try_from(n).ok());
    let request = Request::default();
    let edited = |strength| request.clone().edit("a.png", strength);
    let seam = |feather| Compositing { decoded: false, feather };
    Some(match name {
        "count" => request.count(whole()?),
        "steps" => request.steps(whole()?),
        "prior_steps" => request.prior_steps(whole()?),
        "deep_cache" => request.deep_cache(whole()?),
        "guidance" => request.guidance(number()?),
        "prior_guidance" => request.prior_guidance(number()?),
        "size" => request.size(side("width")?, side("height")?),
        "sampler" => request.sampler(value.as_str()?),
        "prior_sampler" => request.prior_sampler(value.as_str()?),
        "aspect" => Request { aspect: Some(value.as_str()?.to_owned()), ..request },
        "negative" => request.negative(value.as_str()?),
        "prompt" => request.prompt(value.as_str()?),
        "start.strength" => edited(number()?),
        "start.feather" => request.inpaint("a.png", "b.png").seam(seam(whole()?)),
        "start.frame.extend.left" => {
            request.outpaint("a.png", Frame::Extend { left: whole()?, top: 0, right: 0, bottom: 0 })
        }
        "mix.*.weight" => Request { mix: vec![Part::text("a", number()?)], ..request },
        _ => return None,
    })
}

#[test]
fn every_front_end_has_the_same_verdict_and_the_same_sentence() {
    let (mut tried, mut refused, mut in_rust_too) = (0, 0, 0);
    for setting in SETTINGS {
        for case in cases(&setting.shape) {
            let name = setting.name;
            let sentence = setting.shape.check(name, &case.json).err().map(|error| error.to_string());
            assert_eq!(sentence.is_none(), case.passes, "{name} {:?}: {sentence:?}", case.typed);
            let json = json!({ name: case.json }).to_string();
            if !matches!(setting.shape, Shape::Start) {
                assert_eq!(said(Request::from_json(&json)), sentence, "{json}");
            }
            if let Some(typed) = case.typed.filter(|_| setting.shape.members().is_empty()) {
                assert_eq!(said(by_key(Map::new(), name, &typed)), sentence, "{name} {typed}");
            }
            if let Some(request) = in_rust(name, &case.json) {
                assert_eq!(said(request.check().map(|()| request)), sentence, "{name} {}", case.json);
                in_rust_too += 1;
            }
            if let Some(sentence) = sentence {
                assert!(sentence.len() <= 400 && !sentence.contains('\n'), "{sentence}");
                refused += 1;
            }
            tried += 1;
        }
    }
    assert!(tried > 200 && refused > 120 && in_rust_too > 60, "{tried} {refused} {in_rust_too}");
}

/// A request in which a member of a mix or a start stands in its place.
fn around(setting: &Setting, kinds: &[&str], path: &str) -> Map<String, Value> {
    let mut request = Map::new();
    let mut set = |key: &str, text: &str| keys::set(&mut request, key, text).unwrap();
    if setting.name == "mix" {
        set("mix.0.text", "a");
        return request;
    }
    let kind = kinds.first().copied().unwrap_or("noise");
    set("start.kind", kind);
    if kind != "noise" {
        set("start.picture", "a.png");
    }
    match kind {
        "edit" => set("start.strength", "0.5"),
        "outpaint" if path.starts_with("frame.window") => {
            ["x", "y"].iter().for_each(|side| set(&format!("start.frame.window.{side}"), "0"));
            set("start.frame.window.size", "64x64");
        }
        "outpaint" => ["left", "top", "right", "bottom"]
            .iter()
            .for_each(|side| set(&format!("start.frame.extend.{side}"), "0")),
        _ => {}
    }
    request
}

#[test]
fn so_it_is_for_what_a_mix_and_a_start_hold() {
    for setting in SETTINGS {
        for member in setting.shape.members().iter().filter(|member| member.path != "kind") {
            // A feather is an inpainting's as well, whose context is shorter.
            let request = around(setting, member.kinds, member.path);
            for case in cases(&member.shape) {
                let key = format!("{}.{}", setting.name, member.path);
                let sentence =
                    member.shape.check(member.name(), &case.json).err().map(|error| error.to_string());
                assert_eq!(sentence.is_none(), case.passes, "{key} {:?}: {sentence:?}", case.typed);
                if let Some(typed) = &case.typed {
                    assert_eq!(
                        said(by_key(request.clone(), &key.replace('*', "0"), typed)),
                        sentence,
                        "{key} {typed}"
                    );
                }
                if let Some(request) = in_rust(&key, &case.json) {
                    assert_eq!(said(request.check().map(|()| request)), sentence, "{key} {}", case.json);
                }
                let mut whole = Value::Object(request.clone());
                *place(&mut whole, &key) = case.json;
                if key != "mix.*.picture" {
                    assert_eq!(said(Request::from_json(&whole.to_string())), sentence, "{whole}");
                }
            }
        }
    }
}

/// The place of a path in a request's JSON.
fn place<'v>(whole: &'v mut Value, path: &str) -> &'v mut Value {
    path.split('.').fold(whole, |value, name| match name {
        "*" => &mut value[0],
        name => &mut value[name],
    })
}

#[test]
fn null_is_as_if_it_were_not_given() {
    for setting in SETTINGS {
        let read = Request::from_json(&json!({ setting.name: null }).to_string()).unwrap();
        assert_eq!(read, Request::default(), "{}", setting.name);
    }
    let start = json!({ "kind": "inpaint", "picture": { "path": "a", "sha256": null }, "mask": null, "strength": null });
    let read = Request::from_json(&json!({ "start": start }).to_string()).unwrap();
    assert_eq!(read, Request::default().inpaint_transparent("a"));
    assert_eq!(Request::from_json("{}").unwrap(), Request::default());
}

#[test]
fn a_name_that_is_mistyped_is_answered_with_the_nearest() {
    for setting in SETTINGS {
        let name = format!("{}q", setting.name);
        let sentence = format!("a request has no key {name:?}; did you mean {:?}?", setting.name);
        assert_eq!(said(Request::from_json(&json!({ &name: 1 }).to_string())), Some(sentence.clone()));
        assert_eq!(said(by_key(Map::new(), &name, "1")), Some(sentence));
    }
    let far = said(Request::from_json(r#"{"colour":1}"#)).unwrap();
    assert!(far.contains("\"colour\"; known are prompt, negative"), "{far}");
    let below = said(Request::from_json(r#"{"start":{"kind":"noise","masc":{}}}"#)).unwrap();
    assert!(below.contains("\"start.masc\"; did you mean \"mask\"?"), "{below}");
}

#[test]
fn what_stands_twice_is_refused() {
    for setting in SETTINGS {
        let name = setting.name;
        for json in [
            format!(r#"{{"{name}":null,"{name}":null}}"#),
            format!(r#"{{"request":{{"{name}":1,"{name}":2}}}}"#),
        ] {
            assert_eq!(said(Request::from_json(&json)), Some(format!("{name} is given twice; give it once")));
        }
    }
    let below = r#"{"mix":[{"text":"a","weight":1,"weight":2}]}"#;
    assert_eq!(said(Request::from_json(below)).unwrap(), "weight is given twice; give it once");
    let read = serde_json::from_str::<Request>(r#"{"steps":2,"steps":3}"#).unwrap_err().to_string();
    assert!(read.starts_with("steps is given twice; give it once"), "{read}");
}

/// NaN is no JSON, so a text of it is refused before any setting is read.
#[test]
fn not_a_number_is_no_json() {
    for text in [r#"{"guidance":NaN}"#, r#"{"guidance":-Infinity}"#, r#"{"guidance":1e999}"#] {
        assert!(said(Request::from_json(text)).unwrap().starts_with("the request is no JSON"), "{text}");
    }
}

#[test]
fn what_was_settled_is_a_request_that_settles_to_the_same() {
    let folder = kandinsky_models::Folder::open(kandinsky_testing::EMOJI.as_ref()).unwrap();
    let asked = Request::text_to_image("a").seed(3).prior_steps(4);
    for asked in
        [asked.clone(), asked.clone().timesteps([900, 500, 1]), asked.clone().seeds([4]), asked.size(64, 96)]
    {
        let asked = if asked.seeds.is_empty() { asked } else { Request { seed: None, ..asked } };
        let settled = asked.resolve(folder.manifest()).unwrap();
        let json = serde_json::to_string(&settled.picture(0)).unwrap();
        let again = Request::from_json(&json).unwrap().resolve(folder.manifest()).unwrap();
        assert_eq!(again, settled.picture(0), "{json}");
    }
    let disagreeing = Request::default().timesteps([900, 1]).steps(3);
    assert!(disagreeing.check().unwrap_err().to_string().contains("exclude each other"));
    let square = Request { aspect: Some("1:1".to_owned()), ..Request::default() };
    assert_eq!(square.resolve(folder.manifest()).unwrap().size, Size { width: 128, height: 128 });
}

#[test]
fn help_says_what_limits_say() {
    let [weighted, sampler] = ["weighted", "steps"].map(|name| Setting::find(name).unwrap());
    let limit = limits::PROMPT_WEIGHT;
    assert!(weighted.help().contains(&format!("{} to {}", limit.min, limit.max)), "{}", weighted.help());
    assert_eq!(sampler.about(), "Decoder steps");
    for setting in SETTINGS {
        assert!(setting.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        assert!(!setting.about().is_empty() && !setting.help().ends_with('.'), "{}", setting.name);
    }
}

#[test]
fn the_schema_and_the_page_are_those_of_the_table() {
    compare("docs/request.schema.json", &format!("{:#}\n", schema::schema()));
    compare("docs/settings.md", &reference::page());
}

fn compare(name: &str, expected: &str) {
    let file = kandinsky_testing::root().join(name);
    if std::env::var_os("KANDINSKY_BLESS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is stale: run KANDINSKY_BLESS=1 cargo test --release --workspace --test engine settings"
    );
}
