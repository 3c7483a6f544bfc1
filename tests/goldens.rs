//! Every golden value of the reference, on both runtimes, in one process.
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

use kandinsky::Engine;
use kandinsky::runtime::RuntimeOptions;
use kandinsky_testing::golden::{Case, cases, directory};
use kandinsky_testing::pipeline::Sort;
use kandinsky_testing::{component, image, model, pipeline, scheduler, tokenizer};
use std::path::Path;

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

const RUNTIMES: [&str; 2] = ["ort", "tract"];

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

#[test]
fn every_golden_case_is_the_references_on_both_runtimes() {
    let reference = directory();
    let folder = tempfile::tempdir().unwrap();
    let tiny = folder.path().join("tiny");
    model::export(&reference, &tiny);
    let all = cases(&reference);
    let first_eos = if all.iter().any(|case| case.has("in.input_ids_2")) {
        let other = folder.path().join("first-eos");
        let configs = model::changed_configs(
            &reference,
            &folder.path().join("configs"),
            "kandinsky-2-1-prior/text_encoder/config.json",
            "eos_token_id",
            49407.into(),
        );
        model::export_from(&configs, kandinsky_export::Origin::Synthetic(model::SEED), &other);
        RUNTIMES.map(|runtime| engine(&other, runtime)).into()
    } else {
        Vec::new()
    };
    let engines = RUNTIMES.map(|runtime| engine(&tiny, runtime)).into();
    let bench = Bench { reference, engines, first_eos };
    let (mut checked, mut values, mut out, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for case in &all {
        let outcomes: Vec<Result<usize, String>> = match check_of(case) {
            None => vec![Err("no check knows this case, and no list leaves it out".to_owned())],
            Some(Check::Out(why)) => {
                out.push(format!("{} ({why})", case.id));
                continue;
            }
            Some(Check::Plain(check)) => vec![check(case, &bench)],
            Some(Check::Run(check)) => bench.engines.iter().map(|engine| check(engine, case)).collect(),
        };
        checked += 1;
        for outcome in outcomes {
            match outcome {
                Ok(n) => values += n,
                Err(reason) => wrong.push(format!("{}: {reason}", case.id)),
            }
        }
    }
    println!("checked {checked} cases ({values} tensors), left out {}:\n  {}", out.len(), out.join("\n  "));
    assert!(checked > 0, "no case was checked");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The two runtimes against each other on the whole of text to image.
#[test]
fn the_runtimes_agree() {
    use kandinsky::Request;
    use kandinsky::progress::Observer;
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
