//! DeepCache: which steps are full is counted, every step full is the default byte for byte, and how far pictures go
//! from the full run is told.

use kandinsky::internal::component::call_statistics::CallStatistics;
use kandinsky::{Engine, Interval, Kind, Observer, Outcome, Request, RuntimeOptions};
use kandinsky_export::{Checkpoint, Rewrite, Rewrites, WeightSource};
use kandinsky_models::Component;
use kandinsky_testing::EMOJI;
use kandinsky_testing::{golden, model};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The tiny checkpoint with the graphs of DeepCache.
fn folder() -> &'static Path {
    static ROOT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &ROOT
        .get_or_init(|| {
            let root = tempfile::tempdir().unwrap();
            let out = root.path().join("model");
            let checkpoint = Checkpoint::find(&golden::directory().join("configs")).unwrap();
            let mut request = kandinsky_export::Request::new(checkpoint, &out);
            request.origin = WeightSource::Synthetic(model::SEED);
            request.rewrites = Rewrites::default().with(Rewrite::DeepCache);
            model::export_baked(&request);
            (root, out)
        })
        .1
}

fn engine(runtime: &str) -> Engine {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    Engine::open_with(folder(), &options).unwrap()
}

fn request() -> Request {
    Request::text_to_image("red apple").seed(5).size(64, 64).sampler("ddim").steps(10).prior_steps(2)
}

/// Draws a request; what came of it, and how many rows the full and the shallow graph ran.
fn draw(engine: &Engine, request: &Request) -> (Outcome, [u64; 2]) {
    engine.with_networks(|networks| Ok(networks.take_call_statistics())).unwrap();
    let outcome = engine.run_all(request, &mut Observer::default()).unwrap();
    let calls: CallStatistics = engine.with_networks(|networks| Ok(networks.take_call_statistics())).unwrap();
    let rows = [Component::UnetStep, Component::UnetShallow].map(|part| calls.rows(part, "sample"));
    (outcome, rows)
}

/// Relative L2 of latents.
fn distance(found: &Outcome, full: &Outcome) -> f64 {
    let square = |x: f64| x * x;
    let pairs = found.latents.iter().zip(&full.latents);
    let error: f64 = pairs.map(|(a, b)| square(f64::from(a - b))).sum();
    (error / full.latents.iter().map(|b| square(f64::from(*b))).sum::<f64>()).sqrt()
}

#[test]
fn every_step_full_is_the_default_byte_for_byte_and_others_are_counted() {
    for runtime in ["ort", "tract"] {
        let engine = engine(runtime);
        let (plain, rows) = draw(&engine, &request());
        let (one, same) = draw(&engine, &request().deep_cache(1));
        assert!(plain.latents == one.latents && plain.pictures[0].bytes() == one.pictures[0].bytes());
        assert_eq!((rows, same), ([20, 0], [20, 0]), "{runtime}");
        assert!(!serde_json::to_string(&one.resolved).unwrap().contains("deep_cache"));
        for (every, full) in [(2, 5), (3, 4), (5, 2), (20, 1)] {
            let (outcome, rows) = draw(&engine, &request().deep_cache(every));
            assert_eq!(rows, [2 * full, 2 * (10 - full)], "{runtime}, every {every}");
            let away = distance(&outcome, &plain);
            println!("{runtime}, every {every}: {away:.2e}");
            assert!(away > 0.0 && away < 0.5, "{runtime}, every {every}: {away}");
        }
    }
}

#[test]
fn a_picture_says_so_and_is_drawn_again() {
    let engine = engine("ort");
    let (outcome, _) = draw(&engine, &request().deep_cache(3));
    let written = serde_json::to_value(&outcome.resolved).unwrap();
    assert_eq!(written["deep_cache"], 3);
    let again: Request = serde_json::from_value(written).unwrap();
    assert!(draw(&engine, &again).0.latents == outcome.latents);
}

#[test]
fn steps_that_are_not_guided_take_the_text_s_half() {
    let engine = engine("ort");
    let interval: Interval = "0..0.45".parse().unwrap();
    let (_, rows) = draw(&engine, &request().guidance_interval(interval).deep_cache(3));
    // CallStatistics 0, 3, 6 and 9 are full; 0 to 3 are guided, of two rows each.
    assert_eq!(rows, [2 + 2 + 1 + 1, 2 + 2 + 1 + 1 + 1 + 1]);
    let interval: Interval = "0.55..1".parse().unwrap();
    // Call 5 is the first guided one: what is kept lacks its unconditional row, so that it is full.
    let (_, rows) = draw(&engine, &request().guidance_interval(interval).deep_cache(4));
    assert_eq!(rows[0] + rows[1], 5 + 2 * 5);
    assert_eq!(rows[0], 1 + 1 + 2 + 2);
}

#[test]
fn a_model_without_the_graphs_refuses_by_name() {
    let error = Engine::open(EMOJI).unwrap().run(request().deep_cache(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest);
    let said = error.to_string();
    assert!(
        said.contains("deep_cache is 2") && said.contains("emoji") && said.contains("--with deep-cache"),
        "{said}"
    );
    for wrong in [0, 21] {
        let said = engine("ort").run(request().deep_cache(wrong)).unwrap_err().to_string();
        assert!(said.contains(&format!("deep_cache is {wrong}; the limit is 1 to 20")), "{said}");
    }
}
