//! What saves work: the guidance interval, kept encodings, constants. What is exact changes no byte, and what is
//! not computed is counted.

use kandinsky::internal::component::call_statistics::CallStatistics;
use kandinsky::{Engine, Interval, Observer, Outcome, Part, Request, RuntimeOptions};
use kandinsky_models::Component;
use kandinsky_testing::EMOJI;
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::model;

fn options(runtime: &str) -> RuntimeOptions {
    RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() }
}

fn engine(options: &RuntimeOptions) -> Engine {
    Engine::open_with(EMOJI, options).unwrap_or_else(|e| panic!("{options:?}: {e}"))
}

/// 10 steps of DDIM at 901, 801, …, 1 of 1000.
fn request() -> Request {
    Request::text_to_image("red apple").seed(5).size(64, 64).sampler("ddim").steps(10).prior_steps(2)
}

/// Draws a request; what came of it and which graphs ran.
fn draw(engine: &Engine, request: &Request) -> (Outcome, CallStatistics) {
    engine.with_networks(|networks| Ok(networks.take_call_statistics())).unwrap();
    let outcome = engine.run_all(request, &mut Observer::default()).unwrap();
    (outcome, engine.with_networks(|networks| Ok(networks.take_call_statistics())).unwrap())
}

fn interval(text: &str) -> Interval {
    text.parse().unwrap()
}

fn unet_rows(calls: &CallStatistics) -> u64 {
    calls.rows(Component::UnetStep, "sample")
}

#[test]
fn guidance_everywhere_is_the_default_byte_for_byte() {
    for runtime in RUNTIMES {
        let engine = engine(&options(runtime));
        let (plain, calls) = draw(&engine, &request());
        let (whole, same) = draw(&engine, &request().guidance_interval(interval("0..1")));
        assert!(plain.latents == whole.latents && plain.pictures[0].bytes() == whole.pictures[0].bytes());
        assert_eq!((unet_rows(&calls), unet_rows(&same)), (20, 20), "{runtime}");
        let said = serde_json::to_string(&whole.resolved).unwrap();
        assert_eq!(said, serde_json::to_string(&plain.resolved).unwrap());
        assert!(!said.contains("guidance_interval"));
        // An interval that happens to hold every step takes the other way through and gives the same.
        let (all, _) = draw(&engine, &request().guidance_interval(interval("0..0.9999")));
        assert!(all.latents == plain.latents, "{runtime}");
    }
}

#[test]
fn outside_the_interval_the_unconditional_rows_are_not_run() {
    let engine = engine(&options("ort"));
    let (plain, _) = draw(&engine, &request());
    // Shares of the way of the ten steps: 0.098, 0.198, …, 0.999.
    for (text, guided) in [("0.15..0.75", 6), ("0..0.5", 5), ("0.9..1", 1), ("0.2..0.25", 0)] {
        let (outcome, calls) = draw(&engine, &request().guidance_interval(interval(text)));
        assert_eq!(unet_rows(&calls), 10 + guided, "{text}");
        assert!(outcome.latents != plain.latents, "{text}");
        let written = serde_json::to_value(&outcome.resolved).unwrap();
        assert_eq!(written["guidance_interval"], text);
        let again: Request = serde_json::from_value(written).unwrap();
        assert!(draw(&engine, &again).0.latents == outcome.latents, "{text}");
    }
    let unguided = draw(&engine, &request().guidance(1.0)).0;
    let never = draw(&engine, &request().guidance_interval(interval("0.2..0.25"))).0;
    assert!(unguided.latents == never.latents, "no step lies in it, so none is guided");
}

#[test]
fn an_interval_goes_with_several_pictures_and_learned_variance() {
    let engine = engine(&options("ort"));
    for sampler in ["ddpm", "dpmpp_2m_karras"] {
        let request = request().sampler(sampler).guidance_interval(interval("0.3..0.7"));
        let (both, _) = draw(&engine, &request.clone().count(2));
        let (first, _) = draw(&engine, &request);
        let pairs = both.latents.iter().zip(&first.latents);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{sampler}: {worst}");
    }
}

#[test]
fn a_prompt_that_comes_again_is_not_encoded_again() {
    let once = [
        Component::TextEncoder,
        Component::MultilingualEncoder,
        Component::PriorPrefix,
        Component::UnetContext,
    ];
    for runtime in RUNTIMES {
        let keeps = engine(&options(runtime));
        let anew = engine(&RuntimeOptions { no_encoding_cache: true, ..options(runtime) });
        let request = request().negative("blue");
        let (first, calls) = draw(&keeps, &request);
        let (second, again) = draw(&keeps, &request);
        let (without, every) = draw(&anew, &request);
        let (_, every_again) = draw(&anew, &request);
        for outcome in [&second, &without] {
            assert!(outcome.latents == first.latents, "{runtime}");
            assert!(outcome.pictures[0].bytes() == first.pictures[0].bytes(), "{runtime}");
        }
        let count = |calls: &CallStatistics, part| {
            calls.iter().filter(|call| call.0 == part).map(|call| call.2).sum()
        };
        for part in once {
            let times: u64 = count(&calls, part);
            assert!(times > 0 && count(&again, part) == 0, "{runtime}: {part}");
            assert_eq!([count(&every, part), count(&every_again, part)], [times; 2], "{runtime}: {part}");
        }
        assert_eq!(unet_rows(&again), unet_rows(&calls), "{runtime}");
        // Another seed has another image embedding, and the same texts.
        let (_, other) = draw(&keeps, &request.seed(6));
        let times = once.map(|part| count(&other, part));
        assert_eq!(times, [0, 0, 0, 1], "{runtime}");
    }
}

#[test]
fn the_empty_prompt_is_computed_once_an_engine_for_all_prompts() {
    let engine = engine(&options("ort"));
    let prefixes = |text: &str| {
        let (_, calls) = draw(&engine, &Request { prompt: vec![text.to_owned()], ..request() });
        calls.rows(Component::PriorPrefix, "hidden")
    };
    assert_eq!([prefixes("red apple"), prefixes("green pear"), prefixes("red apple")], [2, 1, 0]);
}

#[test]
fn a_picture_that_comes_again_is_not_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apple.png");
    let keeps = engine(&options("ort"));
    draw(&keeps, &request()).0.pictures[0].save(&path).unwrap();
    let vary = Request { mix: vec![Part::picture(path.clone(), 1.0)], ..request() }.edit(path, 0.5);
    let (first, calls) = draw(&keeps, &vary);
    let (second, again) = draw(&keeps, &vary);
    let (without, _) = draw(&engine(&RuntimeOptions { no_encoding_cache: true, ..options("ort") }), &vary);
    for (part, input) in [(Component::ImageEncoder, "pixels"), (Component::MovqEncoder, "pixels")] {
        assert_eq!((calls.rows(part, input), again.rows(part, input)), (1, 0), "{part}");
    }
    assert!(first.latents == second.latents && first.latents == without.latents);
}

/// The constants are computed on tract at export, so on tract and on this processor they are what the engine computes.
#[test]
fn the_constants_of_a_model_exported_here_are_the_same_to_the_bit() {
    let open = |options: &RuntimeOptions| Engine::open_with(&*model::TINY, options).unwrap();
    let (with, _) = draw(&open(&options("tract")), &request());
    let without = RuntimeOptions { no_constants: true, ..options("tract") };
    let (computed, _) = draw(&open(&without), &request());
    assert!(with.negative_image_embeds == computed.negative_image_embeds, "the picture of zeros is the same");
}

/// The bundled model's constants were computed on tract at export, on a processor whose products may round otherwise than those here;
/// padding that the constants lack moves rounding alone, too.
#[test]
fn the_constants_of_the_model_are_what_is_computed_without_them() {
    let (with, calls) = draw(&engine(&options("tract")), &request());
    let without = engine(&RuntimeOptions { no_constants: true, ..options("tract") });
    let (computed, more) = draw(&without, &request());
    let worst = with.pictures[0].bytes().iter().zip(computed.pictures[0].bytes());
    let worst = worst.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 1, "{worst}");
    let (zeros, ours) = (&with.negative_image_embeds, &computed.negative_image_embeds);
    let size = zeros.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let distance = zeros.iter().zip(ours).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / size;
    assert!(distance <= 1e-5, "the picture of zeros differs by {distance}");
    for (part, input) in [
        (Component::TextEncoder, "ids"),
        (Component::MultilingualEncoder, "ids"),
        (Component::ImageEncoder, "pixels"),
    ] {
        assert_eq!(more.rows(part, input), calls.rows(part, input) + 1, "{part}");
    }
}
