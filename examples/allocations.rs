//! What a denoising step allocates: the table of `benches/results/allocations.md`.
//!
//! `cargo run --release --example allocations` draws with the bundled model in more and in fewer steps on each runtime, and
//! divides what the longer run allocated beyond the shorter by the steps between. Allocations of ONNX Runtime's own library
//! are not among them: it does not ask Rust's allocator.

use kandinsky::{Engine, Request, Result, RuntimeOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps of the two runs.
const STEPS: [usize; 2] = [10, 30];
/// What counts as the copy of a tensor rather than a name or a shape.
const LARGE: usize = 4096;

static COUNT: AtomicU64 = AtomicU64::new(0);
static LARGE_COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn note(bytes: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    LARGE_COUNT.fetch_add(u64::from(bytes >= LARGE), Ordering::Relaxed);
    BYTES.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "a global allocator that counts is asked for by raw pointers")]
// SAFETY: every call is passed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<()> {
    println!("| runtime | allocations | of {LARGE} bytes and more | bytes |");
    println!("| --- | ---: | ---: | ---: |");
    for name in ["ort", "tract"] {
        let options = RuntimeOptions { runtime: name.to_owned(), threads: Some(1), ..Default::default() };
        let engine = Engine::open_with("models/emoji", &options)?;
        let [fewer, more] = STEPS;
        // Graphs are opened and planned for, and encodings are known, before anything is counted.
        counted(&engine, fewer)?;
        let (short, long) = (counted(&engine, fewer)?, counted(&engine, more)?);
        let steps = u64::try_from(more - fewer).unwrap_or(1);
        let [count, large, bytes] =
            [0, 1, 2].map(|place| Some(long.get(place)?.saturating_sub(*short.get(place)?) / steps));
        let told = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
        println!("| {name} | {} | {} | {} |", told(count), told(large), told(bytes));
    }
    Ok(())
}

/// Allocations of a picture in so many steps: all, the large ones, and their bytes.
fn counted(engine: &Engine, steps: usize) -> Result<[u64; 3]> {
    let request = Request::text_to_image("red apple").seed(1).sampler("euler").steps(steps).prior_steps(2);
    let now = || [&COUNT, &LARGE_COUNT, &BYTES].map(|counter| counter.load(Ordering::Relaxed));
    let before = now();
    engine.run(request)?;
    let after = now();
    let [count, large, bytes] = after;
    let [count_before, large_before, bytes_before] = before;
    Ok([count - count_before, large - large_before, bytes - bytes_before])
}
