//! What a running request tells: progress, previews, and how it is stopped; on both runtimes.

use kandinsky::internal::rng::TorchCpu;
use kandinsky::{
    CancelToken, Engine, Kind, Observer, Outcome, Picture, Preview, PreviewKind, Previews, Progress, Request,
    Result, RuntimeOptions, Stage,
};
use kandinsky_export::{Checkpoint, WeightSource};
use kandinsky_models::hash;
use kandinsky_testing::EMOJI;
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::model;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Model folders that all tests share; they go with the process.
struct Models {
    _keep: tempfile::TempDir,
    tiny: PathBuf,
    /// The tiny model whose DDIM ends at a clean picture.
    to_one: PathBuf,
    /// The tiny model without what [`kandinsky::prepare`] adds.
    bare: PathBuf,
}

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let keep = tempfile::tempdir().unwrap();
    let [tiny, to_one, bare] = ["tiny", "to_one", "bare"].map(|name| keep.path().join(name));
    let reference = kandinsky_testing::root().join("tests/reference");
    model::export(&reference, &tiny);
    copy(&tiny, &to_one);
    let manifest = to_one.join("model.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    json["schedulers"]["ddim"]["set_alpha_to_one"] = Value::Bool(true);
    std::fs::write(&manifest, json.to_string()).unwrap();
    let mut request =
        kandinsky_export::Request::new(Checkpoint::find(&reference.join("configs")).unwrap(), &bare);
    request.origin = WeightSource::Synthetic(model::SEED);
    kandinsky_export::export(&request, &mut |_| Ok(())).unwrap();
    Models { _keep: keep, tiny, to_one, bare }
});

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() {
            std::fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
        }
    }
}

fn engine(model: &Path, runtime: &str) -> Engine {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    Engine::open_with(model, &options).unwrap_or_else(|e| panic!("{runtime}: {e}"))
}

fn request() -> Request {
    Request::text_to_image("a red cat").seed(3).steps(7).prior_steps(3).size(64, 64)
}

/// Runs a request and keeps all that it tells.
fn watched(
    engine: &Engine,
    request: &Request,
    previews: Option<(usize, PreviewKind)>,
) -> (Result<Outcome>, Vec<Progress>, Vec<Preview>) {
    let (mut told, mut shown) = (Vec::new(), Vec::new());
    let mut observer = Observer {
        on_progress: Some(Box::new(|progress| told.push(progress))),
        previews: previews.map(|(every, kind)| Previews {
            every,
            kind,
            show: Box::new(|preview| shown.push(preview)),
        }),
        ..Observer::default()
    };
    let outcome = engine.run_all(request, &mut observer);
    drop(observer);
    (outcome, told, shown)
}

#[test]
fn every_stage_counts_to_its_total() {
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        // The first fits one batch, the second is two of one picture each; those are slow on tract.
        let sizes = if runtime == "ort" { vec![(64, 1), (384, 2)] } else { vec![(64, 1)] };
        for (size, batches) in sizes {
            let request = request().steps(3).size(size, size).count(2);
            let (outcome, told, _) = watched(&engine, &request, None);
            outcome.unwrap();
            let steps = 3 * batches;
            let totals = [
                (Stage::Load, 8),
                (Stage::EncodeImages, 0),
                // The prompt and the empty prompt, for the prior and for the UNet.
                (Stage::Encode, 4),
                (Stage::Prior, steps),
                (Stage::Denoise, steps),
                (Stage::Decode, 2),
                (Stage::Fit, 0),
            ];
            assert!(totals.iter().map(|(stage, _)| *stage).eq(Stage::ALL));
            for (stage, total) in totals {
                let steps = told.iter().filter(|progress| progress.stage == stage);
                let steps: Vec<_> = steps.map(|progress| (progress.step, progress.total)).collect();
                let expected: Vec<_> = (1..=total).map(|step| (step, total)).collect();
                assert_eq!(steps, expected, "{runtime}: {}", stage.name());
            }
        }
    }
}

#[test]
fn previews_come_after_the_steps_promised() {
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        let plain = watched(&engine, &request().count(2), None).0.unwrap();
        for kind in PreviewKind::ALL {
            for (every, steps) in [(1, vec![1, 2, 3, 4, 5, 6, 7]), (3, vec![3, 6]), (7, vec![7]), (8, vec![])]
            {
                let (outcome, _, shown) = watched(&engine, &request().count(2), Some((every, kind)));
                let outcome = outcome.unwrap();
                let expected = steps.iter().flat_map(|step| [(*step, 7, 0), (*step, 7, 1)]);
                assert!(shown.iter().map(|p| (p.step, p.total, p.picture)).eq(expected), "{shown:?}");
                assert!(shown.iter().all(|p| p.image.size() == outcome.pictures[0].size()));
                assert_eq!(outcome.latents, plain.latents, "watching moved the picture");
                assert_eq!(bytes(&outcome.pictures), bytes(&plain.pictures));
            }
        }
    }
}

#[test]
fn previews_of_later_batches_name_their_pictures() {
    let engine = engine(&MODELS.tiny, "ort");
    let request = request().steps(2).size(384, 384).count(2);
    let (outcome, _, shown) = watched(&engine, &request, Some((1, PreviewKind::Linear)));
    outcome.unwrap();
    let places: Vec<_> = shown.iter().map(|p| (p.step, p.total, p.picture)).collect();
    assert_eq!(places, [(1, 2, 0), (2, 2, 0), (1, 2, 1), (2, 2, 1)]);
}

fn bytes(pictures: &[Picture]) -> Vec<&[u8]> {
    pictures.iter().map(Picture::bytes).collect()
}

fn mean_difference(a: &Picture, b: &Picture) -> f64 {
    let difference: f64 = a.bytes().iter().zip(b.bytes()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    difference / a.bytes().len() as f64
}

/// Previews are of x0. DDIM ends at the last x0 where its schedule ends at a clean picture
/// (`set_alpha_to_one`), and the last preview is then the picture, bit for bit. The released schedule keeps
/// 0.085% of noise instead (1 less alpha of the first timestep), which the network predicted and the picture
/// has: there the last preview is near the picture.
#[test]
fn the_last_decoded_preview_is_the_picture() {
    for runtime in RUNTIMES {
        for (model, same) in [(&MODELS.to_one, true), (&MODELS.tiny, false)] {
            let engine = engine(model, runtime);
            let decoded = Some((7, PreviewKind::Decode));
            let (outcome, _, shown) = watched(&engine, &request().count(2).size(70, 66), decoded);
            let pictures = outcome.unwrap().pictures;
            for (preview, picture) in shown.iter().zip(&pictures) {
                let difference = mean_difference(&preview.image, picture);
                println!(
                    "{runtime}, set_alpha_to_one {same}: the last preview differs by {difference} of 255"
                );
                assert_eq!(preview.image.bytes() == picture.bytes(), same);
                assert!(difference < 1.0);
            }
            assert_eq!(shown.len(), 2);
        }
    }
}

/// The coefficient of determination of `ours` for `theirs`, whose rows have 3 colours.
fn r_squared(ours: &[[f64; 3]], theirs: &[[f64; 3]]) -> f64 {
    let mean = |k: usize| theirs.iter().map(|c| c[k]).sum::<f64>() / theirs.len() as f64;
    let means = [0, 1, 2].map(mean);
    let sum = |f: &dyn Fn(usize, usize) -> f64| -> f64 {
        (0..theirs.len()).flat_map(|i| [0, 1, 2].map(|k| f(i, k).powi(2))).sum()
    };
    1.0 - sum(&|i, k| ours[i][k] - theirs[i][k]) / sum(&|i, k| theirs[i][k] - means[k])
}

/// Colours of squares of 8 pixels.
fn pooled(picture: &Picture) -> Vec<[f64; 3]> {
    let (width, height) = (picture.size().width, picture.size().height);
    let square = |row: usize, column: usize, k: usize| {
        let pixels = (0..64).map(|i| picture.pixels()[(row * 8 + i / 8) * width + column * 8 + i % 8][k]);
        pixels.map(f64::from).sum::<f64>() / 64.0
    };
    let places = (0..height / 8).flat_map(|row| (0..width / 8).map(move |column| (row, column)));
    places.map(|(row, column)| [0, 1, 2].map(|k| square(row, column, k))).collect()
}

#[test]
fn linear_previews_have_the_pictures_colours() {
    let folder = tempfile::tempdir().unwrap();
    copy(&PathBuf::from(EMOJI), folder.path());
    let constants = || {
        let start = Instant::now();
        let constants = kandinsky::internal::bake::constants(folder.path()).unwrap();
        println!("constants in {:?}", start.elapsed());
        kandinsky_export::add_constants(folder.path(), &constants).unwrap();
        hash::of_bytes(&std::fs::read(folder.path().join("constants.safetensors")).unwrap())
    };
    assert_eq!(constants(), constants(), "the same weights gave other constants");
    for runtime in RUNTIMES {
        let engine = engine(folder.path(), runtime);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for prompt in ["red apple", "зелёное дерево", "a yellow car", "синяя рыба"] {
            let request = Request::text_to_image(prompt).seed(1).steps(12).prior_steps(5);
            let (outcome, _, shown) = watched(&engine, &request, Some((6, PreviewKind::Linear)));
            ours.extend(pooled(&shown[1].image));
            theirs.extend(pooled(&outcome.unwrap().pictures[0]));
            let half = r_squared(&pooled(&shown[0].image), &theirs[theirs.len() - 256..]);
            println!("{runtime}, {prompt}: R² {half:.3} after half of the steps");
        }
        let fit = r_squared(&ours, &theirs);
        println!("{runtime}: R² {fit:.4} at the end");
        assert!(fit > 0.95, "{runtime}: {fit}");
    }
}

#[test]
fn previews_that_cannot_be_given_are_refused_before_anything_runs() {
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.bare, runtime);
        let refusal = |every, kind| {
            let (outcome, told, _) = watched(&engine, &request(), Some((every, kind)));
            let error = outcome.unwrap_err();
            assert!(error.kind() == Kind::BadRequest && told.is_empty() && engine.opened().is_empty());
            error.to_string()
        };
        assert!(refusal(1, PreviewKind::Linear).contains("no map for linear previews"));
        assert!(refusal(0, PreviewKind::Decode).contains("every 0 steps"));
        let (outcome, _, shown) = watched(&engine, &request(), Some((7, PreviewKind::Decode)));
        outcome.unwrap();
        assert_eq!(shown.len(), 1);
    }
}

/// Runs a request that is cancelled when progress has been told for the `at`th time; gives how often it was
/// told.
fn cancelled_at(engine: &Engine, at: usize) -> (Result<Outcome>, usize) {
    let cancel = CancelToken::default();
    let (token, mut told) = (cancel.clone(), 0);
    let tell = |_| {
        told += 1;
        if told == at {
            token.cancel();
        }
    };
    let mut observer = Observer { on_progress: Some(Box::new(tell)), cancel, ..Observer::default() };
    let outcome = engine.run_all(&request(), &mut observer);
    drop(observer);
    (outcome, told)
}

#[test]
fn a_callback_cancels_at_once() {
    let mut random = TorchCpu::new(11);
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        let (whole, told, _) = watched(&engine, &request(), None);
        let whole = whole.unwrap();
        let some = (0..8).map(|_| 1 + random.next_u32() as usize % told.len());
        for at in some.chain([1, told.len()]) {
            let (outcome, count) = cancelled_at(&engine, at);
            assert_eq!(outcome.unwrap_err().kind(), Kind::Cancelled);
            assert_eq!(count, at, "{runtime}: it went on");
            let again = watched(&engine, &request(), None).0.unwrap();
            assert_eq!(again.latents, whole.latents, "{runtime}: another picture after step {at}");
            assert_eq!(bytes(&again.pictures), bytes(&whole.pictures));
        }
    }
}

#[test]
fn another_thread_cancels_within_a_call() {
    let mut random = TorchCpu::new(12);
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        let start = Instant::now();
        let whole = watched(&engine, &request(), None).0.unwrap();
        let longest = start.elapsed();
        let start = Instant::now();
        watched(&engine, &request(), None).0.unwrap();
        let warm = start.elapsed();
        let mut cancelled = 0;
        for _ in 0..10 {
            let token = CancelToken::default();
            let mut late = 0;
            let tell = |_| late += usize::from(token.is_cancelled());
            let wait = warm.mul_f32(random.uniform() * 0.9);
            let mut observer =
                Observer { on_progress: Some(Box::new(tell)), cancel: token.clone(), ..Observer::default() };
            let (outcome, after) = std::thread::scope(|scope| {
                let canceller = scope.spawn(|| {
                    std::thread::sleep(wait);
                    token.cancel();
                    Instant::now()
                });
                let outcome = engine.run_all(&request(), &mut observer);
                let end = Instant::now();
                (outcome, end.saturating_duration_since(canceller.join().unwrap()))
            });
            drop(observer);
            if let Err(error) = outcome {
                assert_eq!(error.kind(), Kind::Cancelled);
                // The call that was running when the token was used may still report its step.
                assert!(late <= 1, "{runtime}: {late} steps were told after the request was cancelled");
                assert!(after < longest.max(Duration::from_secs(1)), "{runtime}: {after:?}");
                cancelled += 1;
            }
        }
        assert!(cancelled > 0, "{runtime}: every request was over before it could be cancelled");
        println!("{runtime}: {cancelled} of 10 were cancelled");
        let again = watched(&engine, &request(), None).0.unwrap();
        assert_eq!(again.latents, whole.latents);
    }
}

#[test]
fn cancelling_reaches_every_network_call() {
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        let cancel = CancelToken::default();
        cancel.cancel();
        let mut observer = Observer { cancel: cancel.clone(), ..Observer::default() };
        assert_eq!(engine.run_all(&request(), &mut observer).unwrap_err().kind(), Kind::Cancelled);
        assert!(engine.opened().is_empty(), "a graph was opened for a request that was cancelled before");
        // Between two calls that tell nothing, the graphs themselves look at the token.
        let refused = engine.with_networks(|networks| {
            networks.cancel_with(cancel.clone());
            kandinsky::internal::component::image_encoder::encode_zeros(networks)
        });
        assert_eq!(refused.unwrap_err().kind(), Kind::Cancelled);
        engine.with_networks(kandinsky::internal::component::image_encoder::encode_zeros).unwrap();
    }
}

#[test]
fn a_preview_cancels_as_well() {
    for runtime in RUNTIMES {
        let engine = engine(&MODELS.tiny, runtime);
        let cancel = CancelToken::default();
        let (token, mut shown) = (cancel.clone(), Vec::new());
        let show = |preview: Preview| {
            shown.push((preview.step, preview.picture));
            token.cancel();
        };
        let previews = Some(Previews { every: 2, kind: PreviewKind::Linear, show: Box::new(show) });
        let mut observer = Observer { previews, cancel, ..Observer::default() };
        let outcome = engine.run_all(&request().count(2), &mut observer);
        drop(observer);
        assert_eq!(outcome.unwrap_err().kind(), Kind::Cancelled);
        assert_eq!(shown, [(2, 0)]);
    }
}
