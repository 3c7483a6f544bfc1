//! Whatever a caller asks ends in the pictures asked for or in a named refusal, and never in a panic.

use kandinsky::internal::sampler::SAMPLERS;
use kandinsky::{
    Blend, Compositing, Engine, Frame, Generator, Input, Interval, Kind, Observer, Part, Picture, PriorKind,
    Profile, Request, RuntimeOptions, Size, Start,
};
use kandinsky_testing::model;
use proptest::prelude::*;
use proptest::sample::select;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Requests that are tried.
const CASES: u32 = 2000;

fn picture(width: usize, height: usize) -> Input {
    let at = |i: usize| [(i * 7 % 256) as u8, (i / width * 11 % 256) as u8, 90];
    Picture::new(Size { width, height }, (0..width * height).map(at).collect()).unwrap().into()
}

/// Pictures of all kinds, some of which are not there.
fn pictures() -> impl Strategy<Value = Input> {
    prop_oneof![
        60 => select(vec![(64, 64), (96, 64), (70, 65), (64, 128)]).prop_map(|(w, h)| picture(w, h)),
        1 => select(vec![(1, 1), (1, 300), (63, 64)]).prop_map(|(w, h)| picture(w, h)),
        1 => Just(Input::file("no/such/picture.png")),
    ]
}

/// Masks: the left columns white, of many widths.
fn masks() -> impl Strategy<Value = Input> {
    (select(vec![(64, 64), (96, 64), (70, 65), (64, 128)]), 0_usize..60).prop_map(
        |((width, height), white)| {
            let at = |i: usize| if i % width < white { [255; 3] } else { [0; 3] };
            Picture::new(Size { width, height }, (0..width * height).map(at).collect()).unwrap().into()
        },
    )
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        60 => select(vec!["", "a red cat", "красный кот", "(a cat:1.4) \\(b\\)", "</s> <pad>"]).prop_map(str::to_owned),
        1 => "\\PC{0,40}",
        1 => select(vec!["a\0b".to_owned(), "я".repeat(2100), "(((a".to_owned(), "cat ".repeat(200)]),
    ]
}

fn weights() -> impl Strategy<Value = f64> {
    prop_oneof![40 => 0.1_f64..2.0, 4 => -0.3_f64..0.0, 1 => select(vec![0.0, f64::NAN, f64::INFINITY, 11.0, -0.0])]
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        (texts(), weights()).prop_map(|(text, weight)| Part::text(text, weight)),
        (pictures(), weights()).prop_map(|(picture, weight)| Part::picture(picture, weight)),
    ];
    prop_oneof![3 => Just(Vec::new()), 3 => prop::collection::vec(part, 1..4)]
}

fn starts() -> impl Strategy<Value = Start> {
    let seam = (any::<bool>(), select(vec![0_usize, 3, 256, 257]))
        .prop_map(|(decoded, feather)| Compositing { decoded, feather });
    let strength = prop_oneof![40 => 0.5_f64..=1.0, 1 => select(vec![0.0, -1.0, 1.1, f64::NAN, 0.01])];
    let frame = prop_oneof![
        20 => (0_usize..20, 0_usize..20, 0_usize..20, 0_usize..20)
            .prop_map(|(left, top, right, bottom)| Frame::Extend { left, top, right, bottom }),
        1 => Just(Frame::Extend { left: usize::MAX, top: 1, right: usize::MAX, bottom: 0 }),
        20 => (-40_i64..40, -40_i64..40)
            .prop_map(|(x, y)| Frame::Window { x, y, size: Size { width: 64, height: 64 } }),
        1 => select(vec![i64::MIN, i64::MAX])
            .prop_map(|x| Frame::Window { x, y: 0, size: Size { width: 64, height: 64 } }),
    ];
    let mask = prop_oneof![20 => masks().prop_map(Some), 1 => Just(None)];
    prop_oneof![
        Just(Start::Noise),
        (pictures(), strength).prop_map(|(picture, strength)| Start::Edit { picture, strength }),
        (pictures(), mask, any::<bool>(), seam.clone())
            .prop_map(|(picture, mask, invert, seam)| Start::Inpaint { picture, mask, invert, seam }),
        (pictures(), frame, seam).prop_map(|(picture, frame, seam)| Start::Outpaint { picture, frame, seam }),
    ]
}

/// A value that is mostly left to the model.
fn maybe<T: Clone + std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop_oneof![2 => Just(None), 1 => of.prop_map(Some)]
}

fn guidances() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        40 => select(vec![None, Some(1.0), Some(0.0), Some(4.0)]),
        1 => select(vec![f64::NAN, -1.0, 30.1, f64::NEG_INFINITY]).prop_map(Some),
    ]
}

fn samplers() -> impl Strategy<Value = Option<String>> {
    let names: Vec<String> = SAMPLERS.iter().map(|entry| entry.name.to_owned()).collect();
    prop_oneof![30 => Just(None), 30 => select(names).prop_map(Some), 1 => Just(Some("magic".to_owned()))]
}

fn requests() -> impl Strategy<Value = Request> {
    let texts_and_pictures = (
        prop_oneof![50 => prop::collection::vec(texts(), 1..3), 1 => Just(Vec::new())],
        (maybe(texts()), maybe(texts()), maybe(texts()), maybe(pictures())),
        (parts(), any::<bool>(), starts()),
    );
    let steps = prop_oneof![40 => 2_usize..5, 1 => Just(1), 1 => select(vec![0, 1001])];
    let numbers = (
        (prop_oneof![50 => 1_usize..3, 1 => select(vec![0, 11])], maybe(any::<u64>())),
        prop_oneof![20 => Just(Vec::new()), 1 => prop::collection::vec(any::<u64>(), 0..4)],
        (steps, guidances(), samplers()),
        prop_oneof![20 => Just(Vec::new()), 1 => select(vec![vec![900, 500, 1], vec![1, 2], vec![1000], vec![-1]])],
        (prop_oneof![50 => 2_usize..4, 1 => select(vec![0, 1, 1001])], guidances(), samplers()),
        prop_oneof![
            40 => select(vec![(64, 64), (65, 64), (128, 64)]),
            1 => select(vec![(63, 64), (2049, 64)])
        ],
    );
    let switches = (
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        prop_oneof![
            30 => select(vec![PriorKind::Diffusion, PriorKind::None]),
            1 => select(vec![PriorKind::Linear, PriorKind::Residual])
        ],
        any::<bool>(),
    );
    (texts_and_pictures, numbers, switches).prop_map(|(what, numbers, switches)| {
        let (prompt, (negative, negative_prior, negative_decoder, negative_picture), (mix, round, start)) =
            what;
        let ((count, seed), seeds, (steps, guidance, sampler), timesteps, prior, (width, height)) = numbers;
        let ((rounded, quantize, weighted, original), kind, cuda) = switches;
        // Without a picture to take it from, the model's own size would take seconds.
        let own_size = start != Start::Noise && seeds.is_empty();
        Request {
            prompt,
            negative,
            negative_prior,
            negative_decoder,
            negative_picture,
            mix,
            blend: if round { Blend::Spherical } else { Blend::Linear },
            start,
            count,
            seed,
            seeds,
            generator: if cuda { Generator::TorchCuda } else { Generator::TorchCpu },
            size: (!own_size).then_some(Size { width, height }),
            rounded,
            steps: if timesteps.is_empty() { Some(steps) } else { None },
            guidance,
            sampler,
            timesteps,
            prior_steps: Some(prior.0),
            prior_guidance: prior.1,
            prior_sampler: prior.2,
            prior: kind,
            weighted,
            quantize,
            profile: if original { Profile::Original } else { Profile::Diffusers },
            guidance_interval: if quantize { Interval::new(0.3, 0.7).unwrap() } else { Interval::WHOLE },
            deep_cache: if quantize && weighted && original { 3 } else { 1 },
            ..Request::default()
        }
    })
}

/// What a caller's mistake may end in; anything else would be a defect of ours.
const REFUSALS: [Kind; 4] = [Kind::BadRequest, Kind::BadPrompt, Kind::BadImage, Kind::Io];

#[test]
fn whatever_is_asked_ends_in_pictures_or_in_a_named_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    model::export(&kandinsky_testing::root().join("tests/reference"), &path);
    let options = RuntimeOptions { runtime: "ort".to_owned(), ..Default::default() };
    let engine = Engine::open_with(&path, &options).unwrap();
    let outcomes = RefCell::new(BTreeMap::<String, usize>::new());
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&requests(), |request| {
            let outcome = engine.run_all(&request, &mut Observer::default());
            let name = match outcome {
                Ok(outcome) => {
                    prop_assert_eq!(outcome.pictures.len(), request.prompt.len() * request.count);
                    prop_assert!(outcome.latents.iter().all(|x| x.is_finite()));
                    "pictures".to_owned()
                }
                Err(error) => {
                    let said = error.to_string();
                    prop_assert!(REFUSALS.contains(&error.kind()), "{:?}: {}", error.kind(), said);
                    prop_assert!(said.len() <= 300 && !said.contains('\n'), "{}", said);
                    error.kind().name().to_owned()
                }
            };
            *outcomes.borrow_mut().entry(name).or_default() += 1;
            Ok(())
        })
        .unwrap();
    let outcomes = outcomes.into_inner();
    println!("{outcomes:?}");
    // The generator must not refuse everything, nor be too tame.
    assert!(outcomes["pictures"] > CASES as usize / 5, "{outcomes:?}");
    assert!(REFUSALS.iter().all(|kind| outcomes.contains_key(kind.name())), "{outcomes:?}");
}
