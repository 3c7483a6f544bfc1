//! Memory: plans are kept, pictures do not let it grow, cancelled requests give it back. What reads the memory of this
//! process is one test, so that no other is in it; the plans are measured in children.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use kandinsky::{Engine, Kind, Observer, Request, RuntimeOptions};
use kandinsky_testing::EMOJI;

/// Requests that are cancelled.
const CANCELLED: usize = 60;
/// Growth that is no leak: what one request needs beyond its networks is several times this.
const SLACK: u64 = 12 << 20;

/// Memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs a request that is cancelled after so many steps of any stage.
fn cancelled(engine: &Engine, at: usize) {
    let request = Request::text_to_image("red apple").seed(1).steps(6).prior_steps(4).count(2);
    let mut observer = Observer::default();
    let token = observer.cancel.clone();
    let mut told = 0;
    observer.on_progress = Some(Box::new(move |_| {
        told += 1;
        if told == at {
            token.cancel();
        }
    }));
    assert_eq!(engine.run_all(&request, &mut observer).unwrap_err().kind(), Kind::Cancelled);
}

/// Runs the program on the bundled model and gives its JSON.
fn program(arguments: &[&str]) -> serde_json::Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kandinsky"))
        .args([
            "generate",
            "red apple",
            "--json",
            "--seed",
            "1",
            "--steps",
            "2",
            "--prior-steps",
            "2",
            "--force",
        ])
        .args(arguments)
        .args(["--model", EMOJI])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn plans_are_within_a_tenth_of_what_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    for (runtime, size, budgets) in [
        ("ort", "128x128", ["100G", "150M"]),
        ("tract", "128x128", ["100G", "180M"]),
        ("ort", "256x256", ["100G", "350M"]),
    ] {
        let mut pictures = Vec::new();
        let mut peaks = Vec::new();
        for budget in budgets {
            let file = folder.path().join(format!("{runtime}-{size}-{budget}.png"));
            let how =
                ["--runtime", runtime, "--size", size, "--memory", budget, "-o", file.to_str().unwrap()];
            let plan = program(&[&how[..], &["--plan"]].concat());
            assert!(!file.exists(), "a plan drew");
            let (expected, limit) =
                (plan["peak_bytes"].as_u64().unwrap(), plan["budget_bytes"].as_u64().unwrap());
            let measured = program(&how)["peak_bytes"].as_u64().unwrap();
            println!(
                "{runtime} {size} {budget}: {} MB planned, {} MB",
                expected / 1_000_000,
                measured / 1_000_000
            );
            assert!(expected <= limit);
            assert!(
                expected.abs_diff(measured) * 10 <= expected,
                "{runtime} {size} {budget}: {expected}, {measured}"
            );
            peaks.push(measured);
            pictures.push(std::fs::read(file).unwrap());
        }
        assert!(peaks[1] * 100 < peaks[0] * 95, "{runtime}: graphs were not closed: {peaks:?}");
        assert!(pictures[0] == pictures[1], "{runtime}: the picture depends on the budget");
    }
}

#[test]
fn memory_is_flat_and_given_back() {
    cancelled_requests_give_their_memory_back();
    twenty_pictures_take_no_more_than_three();
    a_budget_too_small_is_refused_by_name();
}

/// Two-step pictures in one engine, with everything open and with graphs that come and go.
fn twenty_pictures_take_no_more_than_three() {
    let model = EMOJI;
    let request = Request::text_to_image("red apple").seed(1).steps(2).prior_steps(2);
    for share in [100, 70] {
        let mut options = RuntimeOptions { runtime: "ort".to_owned(), ..Default::default() };
        let plan = Engine::open_with(model, &options).unwrap().plan(&request).unwrap();
        let graphs = (plan.peak_bytes - plan.base_bytes) * share / 100;
        options.memory = (share < 100).then_some(plan.base_bytes + graphs);
        let engine = Engine::open_with(model, &options).unwrap();
        let draw = || engine.run(request.clone()).unwrap();
        (0..3).for_each(|_| drop(draw()));
        let before = resident();
        (3..20).for_each(|_| drop(draw()));
        let grown = resident().saturating_sub(before);
        println!(
            "{share} %: {} KiB more after 17 pictures, {} graphs open",
            grown >> 10,
            engine.opened().len()
        );
        assert!(grown < SLACK, "{share} %: {grown} bytes more");
        assert_eq!(engine.opened().len() == 8, share == 100, "{:?}", engine.opened());
    }
}

fn a_budget_too_small_is_refused_by_name() {
    let options =
        RuntimeOptions { runtime: "tract".to_owned(), memory: Some(64_000_000), ..Default::default() };
    let engine = Engine::open_with(EMOJI, &options).unwrap();
    let error = engine.run(Request::text_to_image("red apple").seed(1)).unwrap_err();
    let text = error.to_string();
    assert!(error.kind() == Kind::OutOfMemory && text.contains("the limit is 64 MB"), "{text}");
    assert!(engine.opened().is_empty());
}

fn cancelled_requests_give_their_memory_back() {
    for runtime in ["ort", "tract"] {
        let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
        let model = EMOJI;
        let engine = Engine::open_with(model, &options).unwrap();
        // Networks are opened, plans made, and the allocator has seen every size.
        (9..25).for_each(|at| cancelled(&engine, at));
        let before = resident();
        (0..CANCELLED).for_each(|turn| cancelled(&engine, 9 + turn % 16));
        let grown = resident().saturating_sub(before);
        println!("{runtime}: {} KiB more after {CANCELLED} cancelled requests", grown >> 10);
        assert!(grown < SLACK, "{runtime}: {grown} bytes more");
    }
}
