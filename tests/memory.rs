//! A cancelled request gives its memory back. Alone in its file, and so in its process, whose memory it reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use kandinsky::error::Kind;
use kandinsky::progress::Watch;
use kandinsky::runtime::RuntimeOptions;
use kandinsky::{Engine, Request};

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
    let mut watch = Watch::default();
    let token = watch.cancel.clone();
    let mut told = 0;
    watch.on_progress = Some(Box::new(move |_| {
        told += 1;
        if told == at {
            token.cancel();
        }
    }));
    assert_eq!(engine.run_all(&request, &mut watch).unwrap_err().kind(), Kind::Cancelled);
}

#[test]
fn cancelled_requests_give_their_memory_back() {
    for runtime in ["ort", "tract"] {
        let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/emoji");
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
