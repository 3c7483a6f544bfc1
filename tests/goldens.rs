//! Every golden value of the reference, on both runtimes, in one process; each case is a test of its own.
//!
//! `KANDINSKY_REFERENCE` names a directory with `data/index.json` and `checkpoint/` (any sizes, any case
//! names); else the repository's own copy is read, whose checkpoint is synthesised.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

use kandinsky::{Engine, RuntimeOptions};
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::golden::{Case, cases, directory};
use kandinsky_testing::pipeline::Sort;
use kandinsky_testing::{component, image, model, pipeline, scheduler, tokenizer};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

/// Who checks a case.
enum Check {
    /// Numbers alone.
    Plain(fn(&Case, &Bench) -> Result<usize, String>),
    /// A graph or a loop, on every runtime.
    Run(fn(&Engine, &Case) -> Result<usize, String>),
    /// Left out, and why.
    Out(&'static str),
}

/// What the checks work with.
struct Bench {
    reference: std::path::PathBuf,
    engines: Vec<Engine>,
    /// The same checkpoint, whose CLIP text encoder pools at the first end of text.
    first_eos: Vec<Engine>,
}

fn engine(model: &Path, runtime: &str) -> Engine {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    Engine::open_with(model, &options).unwrap_or_else(|e| panic!("{runtime}: {e}"))
}

fn check_of(case: &Case) -> Option<Check> {
    let name = case.id.rsplit('/').next().unwrap_or("");
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if case.error.is_some() {
        return Some(Check::Out("the reference itself raises"));
    }
    Some(match case.kind.as_str() {
        "tokenizer" => Check::Plain(|_, bench| {
            let folder = bench.engines[0].with_networks(|n| Ok(n.folder().clone())).unwrap();
            let checked = tokenizer::check_tokenizers(&bench.reference, &folder);
            println!("  {checked:?}");
            Ok(checked.equal)
        }),
        "rng" if case.call.contains("CUDA") || starts(&["cuda"]) => {
            Check::Plain(|case, _| scheduler::cuda(case))
        }
        "rng" => Check::Plain(|case, _| scheduler::rng(case)),
        "original" => Check::Plain(|case, _| scheduler::original(case)),
        "scheduler" if case.has("in.original") => Check::Plain(|case, _| scheduler::add_noise(case)),
        "scheduler" => Check::Plain(|case, _| scheduler::trajectory(case)),
        "component" if case.has("in.proj_embedding") && !case.has("in.attention_mask") => {
            Check::Out("the reference drops the causal mask with the mask")
        }
        "component" if case.has("in.input_ids_2") || case.call.contains("first end-of-text") => {
            Check::Plain(|case, bench| {
                bench.first_eos.iter().map(|engine| component::check(engine, case)).sum()
            })
        }
        "component" if case.has("out.pixel_values") => Check::Plain(|case, bench| {
            let picture = case.folder.join(case.params["image"].as_str().unwrap());
            image::check_clip_preprocess(&case.file, &picture, &bench.engines[0].manifest().clip_image);
            Ok(2)
        }),
        "component" if case.has("in.mask") => Check::Plain(|case, _| {
            image::check_prepare_mask(&case.file);
            Ok(1)
        }),
        "component" => Check::Run(component::check),
        "pipeline" if unscaled(case) => Check::Out("the reference forgets to scale"),
        "pipeline" => Check::Run(match pipeline::sort_of(case) {
            Sort::Prior => pipeline::prior,
            Sort::Interpolate => pipeline::interpolate,
            Sort::ImageEmbeds => pipeline::image_embeds,
            Sort::Seeds => pipeline::seeds,
            Sort::Draw | Sort::Edit | Sort::Inpaint => pipeline::decoder,
        }),
        _ => return None,
    })
}

/// A sampler whose input wants scaling, in a pipeline that never scales.
fn unscaled(case: &Case) -> bool {
    let class = case.params["scheduler"].as_str().unwrap_or("");
    ["Euler", "Heun", "LMS"].iter().any(|start| class.starts_with(start))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let reference = directory();
    let all = cases(&reference);
    assert!(!all.is_empty(), "{} has no case", reference.display());
    let bench = Arc::new(LazyLock::new(Bench::new as fn() -> Bench));
    let mut trials: Vec<Trial> = all.into_iter().map(|case| trial(case, &bench)).collect();
    trials.push(Trial::test("the_runtimes_agree", || {
        the_runtimes_agree();
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case as a test of its own; one that is left out is an ignored test, with the reason beside its name.
fn trial(case: Case, bench: &Arc<LazyLock<Bench>>) -> Trial {
    let bench = Arc::clone(bench);
    match check_of(&case) {
        Some(Check::Out(why)) => Trial::test(&case.id, || Ok(())).with_kind(why).with_ignored_flag(true),
        Some(Check::Plain(check)) => {
            Trial::test(case.id.clone(), move || checked(check(&case, &bench), "numbers alone"))
        }
        Some(Check::Run(check)) => Trial::test(case.id.clone(), move || {
            let mut pairs = bench.engines.iter().zip(RUNTIMES);
            pairs.try_for_each(|(engine, runtime)| checked(check(engine, &case), runtime))
        }),
        None => {
            let unknown = "no check knows this case, and no list leaves it out";
            Trial::test(&case.id, move || Err(unknown.into()))
        }
    }
}

/// A case that compared nothing is a failure too.
fn checked(outcome: Result<usize, String>, how: &str) -> Result<(), Failed> {
    match outcome {
        Ok(0) => Err(format!("{how}: no tensor was compared").into()),
        Ok(_) => Ok(()),
        Err(reason) => Err(format!("{how}: {reason}").into()),
    }
}

impl Bench {
    fn new() -> Self {
        let reference = directory();
        let tiny = model::scratch("tiny");
        model::export(&reference, &tiny);
        let first_eos = if cases(&reference).iter().any(|case| case.has("in.input_ids_2")) {
            let other = model::scratch("first-eos");
            let configs = model::changed_configs(
                &reference,
                &model::scratch("configs"),
                "kandinsky-2-1-prior/text_encoder/config.json",
                "eos_token_id",
                49407.into(),
            );
            model::export_from(&configs, kandinsky_export::WeightSource::Synthetic(model::SEED), &other);
            RUNTIMES.map(|runtime| engine(&other, runtime)).into()
        } else {
            Vec::new()
        };
        let engines = RUNTIMES.map(|runtime| engine(&tiny, runtime)).into();
        Self { reference, engines, first_eos }
    }
}

/// The two runtimes against each other on the whole of text to image.
fn the_runtimes_agree() {
    use kandinsky::Observer;
    use kandinsky::Request;
    let folder = tempfile::tempdir().unwrap();
    let tiny = folder.path().join("tiny");
    model::export(&directory(), &tiny);
    let request =
        Request::text_to_image("красный кот, 4k").negative("low quality").seed(11).steps(4).prior_steps(3);
    let request = request.size(128, 64).count(2);
    let [ort, tract] = RUNTIMES.map(|runtime| {
        let engine = engine(&tiny, runtime);
        let outcome = engine.run_all(&request, &mut Observer::default()).unwrap();
        assert!(
            !engine.opened().contains(&kandinsky_models::Component::ImageEncoder),
            "text to image opened the image encoder"
        );
        outcome
    });
    kandinsky_testing::golden::close("embeds", &ort.image_embeds, &tract.image_embeds, 1e-4).unwrap();
    kandinsky_testing::golden::close("latents", &ort.latents, &tract.latents, 1e-4).unwrap();
}
