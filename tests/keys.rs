//! A request is the same whether it is set by keys, read from JSON or made in Rust.

use kandinsky::internal::limits;
use kandinsky::internal::request::keys;
use kandinsky::{
    Blend, Compositing, Frame, Generator, Input, Interval, Kind, Part, PriorKind, Profile, Request, Size,
    Start,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Requests in which together every setting is set.
fn full() -> Vec<Request> {
    let seam = Compositing { decoded: true, feather: 3 };
    let window = Frame::Window { x: -1, y: 2, size: Size { width: 64, height: 64 } };
    let extend = Frame::Extend { left: 1, top: 2, right: 3, bottom: 4 };
    let all = Request {
        prompt: vec!["a".to_owned(), "b".to_owned()],
        negative: Some("n".to_owned()),
        negative_prior: Some("n".to_owned()),
        negative_decoder: Some("n".to_owned()),
        negative_picture: Some(Input::file("n.png")),
        mix: vec![Part::text("t", 0.5), Part::picture("p.png", 0.5)],
        blend: Blend::Spherical,
        start: Start::Edit { picture: "e.png".into(), strength: 0.5 },
        count: 2,
        seed: Some(1),
        seeds: vec![1],
        generator: Generator::TorchCuda,
        size: Some(Size { width: 64, height: 64 }),
        aspect: Some("1:1".to_owned()),
        rounded: true,
        steps: Some(1),
        guidance: Some(1.0),
        sampler: Some("ddim".to_owned()),
        timesteps: vec![1],
        prior_steps: Some(2),
        prior_guidance: Some(1.0),
        prior_sampler: Some("ddim".to_owned()),
        prior: PriorKind::None,
        prior_file: Some("f".into()),
        weighted: true,
        quantize: true,
        profile: Profile::Original,
        guidance_interval: Interval::new(0.25, 0.75).unwrap(),
        ..Request::default().deep_cache(2)
    };
    let inpaint = Start::Inpaint { picture: "i.png".into(), mask: Some("m.png".into()), invert: true, seam };
    let outpaint = |frame| Start::Outpaint { picture: "o.png".into(), frame, seam };
    let starts = [all.start.clone(), inpaint, outpaint(window), outpaint(extend)];
    let one = Request { prompt: vec!["a".to_owned()], ..all.clone() };
    starts.into_iter().map(|start| Request { start, ..all.clone() }).chain([one]).collect()
}

fn object(request: &Request) -> Map<String, Value> {
    match serde_json::to_value(request).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

#[test]
fn a_request_that_is_set_by_keys_is_the_one_that_was_written() {
    for request in full() {
        let mut found = BTreeSet::new();
        let written = Value::Object(object(&request));
        places(&written, "", &mut found);
        let mut set_by_keys = Map::new();
        for (path, text) in found {
            keys::set(&mut set_by_keys, &path, &text).unwrap();
        }
        assert_eq!(Request::from_object(&set_by_keys).unwrap(), request);
    }
}

/// Every leaf's path with its value as a text.
fn places(value: &Value, at: &str, found: &mut BTreeSet<(String, String)>) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| places(value, &below(name), found)),
        Value::Array(list) if ["seeds", "timesteps"].contains(&at) => {
            found.insert((at.to_owned(), Value::Array(list.clone()).to_string()));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| places(value, &below(&i.to_string()), found));
        }
        Value::String(text) => {
            found.insert((at.to_owned(), text.clone()));
        }
        other => {
            found.insert((at.to_owned(), other.to_string()));
        }
    }
}

#[test]
fn what_no_request_has_is_refused_by_name() {
    let refused = |json: &str| Request::from_json(json).unwrap_err().to_string();
    for (json, named) in [
        (r#"{"colour":1}"#, "\"colour\"; known are prompt, negative"),
        (r#"{"start":{"kind":"edit","picture":{"path":"a"},"strength":1,"masc":{}}}"#, "\"start.masc\""),
        (r#"{"mix":[{"text":"a","weight":1,"junk":2}]}"#, "\"mix.*.junk\""),
        (r#"{"mix":[{"text":"a","picture":{"path":"b"},"weight":1}]}"#, "one is both"),
        (r#"{"start":{"kind":"edit","picture":{"path":"a"},"strength":1,"mask":{"path":"m"}}}"#, "`mask`"),
        (r#"{"start":{"kind":"inpaint","picture":{"path":"a"},"strength":0.5}}"#, "strength"),
        (r#"{"steps":"many"}"#, "steps is \"many\"; it takes a whole number"),
        (r#"{"start":{"kind":"edit"}}"#, "start: missing field"),
        ("[1]", "no object"),
        ("{", "no JSON"),
        (r#"{"*":1}"#, "no key"),
    ] {
        assert!(refused(json).contains(named), "{json}: {}", refused(json));
    }
    assert!(refused(&" ".repeat(limits::PICTURE_TEXT_BYTES + 1)).contains("the limit is"));
    let carried = r#"{"program":"p","model":"m","request":{"prompt":"a fox","steps":3}}"#;
    assert_eq!(Request::from_json(carried).unwrap(), Request::text_to_image("a fox").steps(3));
}

#[test]
fn texts_of_another_form_are_refused() {
    let mut json = Map::new();
    for (path, text) in [
        ("steps", "2.5"),
        ("steps", "many"),
        ("guidance", "x"),
        ("weighted", "1"),
        ("seeds", "[1,\"a\"]"),
        ("size", "big"),
        ("mix", "a"),
        ("mix.0.weight", "11"),
        ("start.strength", "0"),
        ("size", "63x64"),
        ("mix.*.text", "a"),
        ("mix.1.text", "a"),
        ("start.frame", "x"),
        ("", "x"),
        ("prompt.x", "a"),
    ] {
        assert_eq!(keys::set(&mut json, path, text).unwrap_err().kind(), Kind::BadRequest, "{path}");
    }
    assert!(keys::set_picture(&mut json, "steps", "0").is_err());
    keys::set(&mut json, "mix.0.text", "a").unwrap();
    keys::set(&mut json, "mix.0.picture", "b.png").unwrap();
    let read = Request::from_object(&json).unwrap();
    assert_eq!(read.mix, [Part::picture("b.png", 1.0)], "the last of text and picture counts");
}
