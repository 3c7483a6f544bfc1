//! Every regime with every setting, on the tiny model: no failure, a picture in a batch is the one that it is
//! alone, and whatever a caller asks ends in a picture or a named refusal.

use kandinsky::internal::sampler::{self, Role};
use kandinsky::internal::tensor::rows;
use kandinsky::{
    Blend, Compositing, Engine, Frame, Generator, Kind, Observer, Outcome, Part, Picture, Profile, Request,
    RuntimeOptions, Size,
};
use kandinsky_testing::EMOJI;
use kandinsky_testing::golden::{close, directory};
use kandinsky_testing::model;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Of the maximum, between a picture in a batch and alone.
const BATCH: f32 = 1e-5;
/// Latents beyond this, which made-up weights give and trained ones do not, are so far from MoVQ's codebook that
/// its attention chooses between near ties: the last bits of a latent then move a picture by several levels.
const CALM: f32 = 12.0;

fn engine(model: &Path, runtime: &str) -> Engine {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    Engine::open_with(model, &options).unwrap()
}

/// The tiny model, exported once a process.
fn tiny() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        model::export(&directory(), &folder.path().join("tiny"));
        folder
    });
    folder.path().join("tiny")
}

/// A picture of coloured squares.
fn squares(width: usize, height: usize) -> Picture {
    let byte = |n: usize| u8::try_from(n % 256).unwrap();
    let at = |i: usize| {
        let (x, y) = (i % width / 8, i / width / 8);
        [byte(x * 37 + y * 11), byte(x * 5 + y * 90), byte(x * y * 23)]
    };
    Picture::new(Size { width, height }, (0..width * height).map(at).collect()).unwrap()
}

/// A mask whose right half is white.
fn right_half(width: usize, height: usize) -> Picture {
    let at = |i: usize| if i % width >= width / 2 { [255; 3] } else { [0; 3] };
    Picture::new(Size { width, height }, (0..width * height).map(at).collect()).unwrap()
}

type Regime = (&'static str, fn() -> Request);

/// The regimes of the paper, all at 64x64.
const REGIMES: [Regime; 7] = [
    ("text to image", || Request::text_to_image("").size(64, 64)),
    ("variation", || Request::variation(squares(90, 70)).size(64, 64)),
    ("fusion", || {
        Request::mix([Part::picture(squares(64, 64), 0.4), Part::text("a red cat", 0.6)]).size(64, 64)
    }),
    ("text and image fusion", || {
        Request::mix([Part::picture(squares(64, 64), 1.0)]).prompt("a hat").size(64, 64)
    }),
    ("image to image", || Request::text_to_image("").edit(squares(64, 64), 0.7)),
    ("inpainting", || Request::text_to_image("").inpaint(squares(64, 64), right_half(64, 64))),
    ("outpainting", || {
        let frame = Frame::Extend { left: 0, top: 0, right: 16, bottom: 8 };
        Request::text_to_image("").outpaint(squares(48, 56), frame)
    }),
];

fn run(engine: &Engine, request: &Request) -> Outcome {
    engine.run_all(request, &mut Observer::default()).unwrap_or_else(|e| panic!("{e}: {request:?}"))
}

/// A picture of a batch is the one that its prompt and seed draw alone: its latents, and, where they are calm,
/// its pixels.
fn assert_alone(engine: &Engine, request: &Request, together: &Outcome, index: usize) {
    let resolved = together.resolved.picture(index);
    let alone = Request {
        prompt: resolved.prompt.clone(),
        seed: Some(resolved.seed),
        seeds: Vec::new(),
        count: 1,
        ..request.clone()
    };
    let alone = run(engine, &alone);
    let own = rows(&together.latents, index, index + 1).unwrap();
    close(&format!("latents of picture {index} of {request:?}"), &own, &alone.latents, BATCH).unwrap();
    if own.iter().any(|x| x.abs() > CALM) {
        return;
    }
    let pairs = together.pictures[index].bytes().iter().zip(alone.pictures[0].bytes());
    let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 1, "picture {index} of {request:?} differs by {worst}");
}

#[test]
fn every_regime_with_every_setting_draws() {
    let engine = engine(&tiny(), "ort");
    let samplers: Vec<&str> = sampler::names(Role::Decoder, Profile::Diffusers).collect();
    let mut drawn = 0;
    for (name, regime) in REGIMES {
        for (i, sampler) in samplers.iter().enumerate() {
            for setting in 0..16_usize {
                let [guided, three, two, quantize] = [1, 2, 4, 8].map(|bit| setting & bit != 0);
                let prompts = ["a red cat", "", "красный кот в шляпе"];
                let mut request =
                    regime().seed(7).steps(4).prior_steps(2).sampler(*sampler).quantize(quantize);
                request.guidance = Some(if guided { 3.0 } else { 1.0 });
                request.count = if two { 2 } else { 1 };
                request.prompt =
                    prompts.iter().take(if three { 3 } else { 1 }).map(|p| (*p).to_owned()).collect();
                let pictures = request.prompt.len() * request.count;
                let outcome = run(&engine, &request);
                assert_eq!(outcome.pictures.len(), pictures, "{name}");
                assert_eq!(outcome.latents.shape(), [pictures, 4, 8, 8], "{name}");
                assert!(outcome.pictures.iter().all(|p| p.size() == outcome.resolved.size), "{name}");
                // UnetVariant picture is drawn alone goes round.
                if pictures > 1 && (i + setting) % 4 == 0 {
                    assert_alone(&engine, &request, &outcome, (i + setting / 4) % pictures);
                }
                drawn += pictures;
            }
        }
    }
    println!("{drawn} pictures, {} samplers", samplers.len());
}

#[test]
fn a_batch_is_its_pictures_alone_on_both_runtimes() {
    for runtime in ["ort", "tract"] {
        let engine = engine(&tiny(), runtime);
        for (_, regime) in REGIMES {
            for sampler in ["ddim", "ddpm"] {
                let request = regime().seed(3).steps(3).prior_steps(2).sampler(sampler).negative("ugly");
                let request = request.prompts(["a cat", "кот"]).count(2);
                let outcome = run(&engine, &request);
                (0..4).for_each(|index| assert_alone(&engine, &request, &outcome, index));
            }
        }
    }
}

#[test]
fn a_batch_of_the_bundled_model_is_its_pictures_alone_with_every_sampler() {
    let engine = engine(Path::new(EMOJI), "ort");
    for profile in [Profile::Diffusers, Profile::Original] {
        for sampler in sampler::names(Role::Decoder, profile) {
            let request =
                Request::default().prompts(["red apple", "лиса"]).size(64, 64).seed(5).profile(profile);
            let request = request.steps(4).prior_steps(2).sampler(sampler);
            let outcome = run(&engine, &request);
            let calm = outcome.latents.iter().all(|x| x.abs() < CALM);
            assert!(calm, "{sampler}: latents of a trained model");
            (0..2).for_each(|index| assert_alone(&engine, &request, &outcome, index));
        }
    }
}

#[test]
fn a_list_of_seeds_is_each_seed_alone() {
    let engine = engine(&tiny(), "tract");
    let request = Request::text_to_image("a cat").size(64, 64).seeds([9, 2, u64::MAX]).count(3);
    let request = request.steps(3).prior_steps(2);
    let outcome = run(&engine, &request);
    (0..3).for_each(|index| assert_alone(&engine, &request, &outcome, index));
    assert_eq!(outcome.resolved.picture(2).seed, u64::MAX);
}

#[test]
fn the_bundled_model_serves_every_regime_with_its_one_unet() {
    let engine = engine(Path::new(EMOJI), "tract");
    for (name, regime) in REGIMES {
        let request = regime().seed(1).steps(2).prior_steps(2);
        let outcome = run(&engine, &request);
        assert_eq!(outcome.pictures[0].size(), outcome.resolved.size, "{name}");
    }
}

#[test]
fn whatever_makes_sense_composes() {
    let engine = engine(&tiny(), "ort");
    let base = || Request::text_to_image("a red cat").seed(4).steps(3).prior_steps(2);
    let parts = || [Part::picture(squares(64, 64), 0.7), Part::text("snow", 0.5), Part::text("rain", -0.2)];
    let plain = run(&engine, &base().size(64, 64));
    let inpainted = || base().inpaint(squares(64, 64), right_half(64, 64));
    let composed = [
        ("a mix conditions an inpainting", inpainted().mixed(parts(), Blend::Linear)),
        ("an edit of a mix", base().edit(squares(64, 64), 0.6).mixed(parts(), Blend::Linear)),
        ("a negative prompt", base().size(64, 64).negative("ugly")),
        ("for the prior alone", base().size(64, 64).negative_prior("ugly")),
        ("for the decoder alone", base().size(64, 64).negative_decoder("ugly")),
        ("a negative picture", base().size(64, 64).negative_picture(squares(64, 64))),
        (
            "with a mix",
            base().size(64, 64).mixed(parts(), Blend::Linear).negative("ugly").negative_prior("bad"),
        ),
    ];
    let mut seen = vec![plain.pictures[0].clone()];
    for (what, request) in composed {
        let picture = run(&engine, &request).pictures[0].clone();
        assert!(seen.iter().all(|other| other.pixels() != picture.pixels()), "{what} changes nothing");
        seen.push(picture);
    }
}

#[test]
fn spherical_mixes_keep_the_length_and_linear_ones_the_sum() {
    let engine = engine(&tiny(), "tract");
    let embeds =
        |request: Request| run(&engine, &request.seed(1).steps(1).prior_steps(2).size(64, 64)).image_embeds;
    let length = |t: &kandinsky::Tensor| t.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let (a, b) = (squares(64, 64), right_half(64, 64));
    let (of_a, of_b) = (embeds(Request::variation(a.clone())), embeds(Request::variation(b.clone())));
    let both = |blend| {
        let parts = [Part::picture(a.clone(), 0.5), Part::picture(b.clone(), 0.5)];
        embeds(Request::default().mixed(parts, blend))
    };
    close("linear", &both(Blend::Linear), &(&of_a * 0.5 + &of_b * 0.5), 1e-6).unwrap();
    let spherical = both(Blend::Spherical);
    let expected = (length(&of_a) + length(&of_b)) / 2.0;
    assert!((length(&spherical) - expected).abs() < 1e-4 * expected);
    // Half way is as far from the one as from the other.
    let cos = |x: &kandinsky::Tensor| {
        (x * &spherical).iter().map(|x| f64::from(*x)).sum::<f64>() / length(x) / length(&spherical)
    };
    assert!((cos(&of_a) - cos(&of_b)).abs() < 1e-5);
}

#[test]
fn aspect_ratios_and_sizes_are_exactly_what_was_asked_for() {
    let engine = engine(&tiny(), "ort");
    let draw = |request: Request| run(&engine, &request.seed(5).steps(1).prior_steps(2)).pictures[0].clone();
    let aspects = [
        ("1:1", "512x512"),
        ("2:3", "448x640"),
        ("3:2", "640x448"),
        ("9:16", "384x704"),
        ("16:9", "704x384"),
    ];
    for (name, size) in aspects {
        let request = Request { aspect: Some(name.to_owned()), ..Request::text_to_image("a cat") };
        assert_eq!(draw(request).size().to_string(), size, "{name}");
    }
    for (width, height) in [(64, 64), (65, 127), (100, 333), (72, 136)] {
        let picture = draw(Request::text_to_image("a cat").size(width, height));
        assert_eq!(picture.size(), Size { width, height });
        let rounded = Request { rounded: true, ..Request::text_to_image("a cat").size(width, height) };
        let whole = draw(rounded);
        let up = |side: usize| side.div_ceil(64) * 64;
        assert_eq!(whole.size(), Size { width: up(width), height: up(height) });
        // The one is the upper left of the other.
        let part = whole.pixels().chunks(up(width)).take(height).flat_map(|row| &row[..width]);
        assert!(part.eq(picture.pixels()), "{width}x{height}");
    }
}

#[test]
fn quantised_pictures_are_others_and_the_default_is_the_released_code_s() {
    let engine = engine(Path::new(EMOJI), "tract");
    let base = || Request::text_to_image("red apple").seed(7).steps(4).prior_steps(3);
    let plain = run(&engine, &base());
    let off = run(&engine, &base().quantize(false));
    let on = run(&engine, &base().quantize(true));
    assert_eq!(plain.pictures[0].pixels(), off.pictures[0].pixels());
    assert_eq!(plain.latents, on.latents, "quantising is a matter of the decoder alone");
    let difference = |a: &Picture, b: &Picture| {
        a.bytes().iter().zip(b.bytes()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>()
            / a.bytes().len() as f64
    };
    let changed = difference(&plain.pictures[0], &on.pictures[0]);
    assert!(changed > 0.1 && changed < 40.0, "{changed}");
}

#[test]
fn pixels_outside_the_mask_are_the_input_s_own() {
    let engine = engine(&tiny(), "ort");
    let (picture, mask) = (squares(100, 75), right_half(100, 75));
    let request = Request::text_to_image("a cat")
        .inpaint(picture.clone(), mask.clone())
        .seed(1)
        .steps(2)
        .prior_steps(2);
    let drawn = run(&engine, &request).pictures[0].clone();
    let known = |i: usize| mask.pixels()[i] == [0; 3];
    let kept = |drawn: &Picture| {
        (0..100 * 75).filter(|i| known(*i)).all(|i| drawn.pixels()[i] == picture.pixels()[i])
    };
    assert!(kept(&drawn));
    assert!(drawn.pixels() != picture.pixels());
    let feathered =
        run(&engine, &request.clone().seam(Compositing { feather: 9, decoded: false })).pictures[0].clone();
    assert!(kept(&feathered) && feathered.pixels() != drawn.pixels());
    let decoded = run(&engine, &request.seam(Compositing { feather: 0, decoded: true })).pictures[0].clone();
    assert!(!kept(&decoded), "the reference decodes everything");
}

/// A photograph that is edited 200 times: holes and frames in turn, of which none touches its centre.
#[test]
fn two_hundred_edits_leave_what_they_do_not_touch() {
    let photo = Picture::open(kandinsky_testing::root().join("tests/pictures/photo.png")).unwrap();
    let size = photo.size();
    let centre: Vec<(usize, usize)> = (0..size.width * size.height)
        .map(|i| (i % size.width, i / size.width))
        .filter(|(x, y)| {
            x.abs_diff(size.width / 2) < size.width / 6 && y.abs_diff(size.height / 2) < size.height / 6
        })
        .collect();
    let engine = engine(&tiny(), "ort");
    let mut current = photo.clone();
    // Where the photograph's own left side lies now.
    let mut left = 0_i64;
    for turn in 0..200_usize {
        let base = Request::text_to_image("a cat").seed(turn as u64).steps(1).prior_steps(2);
        let request = if turn % 4 == 3 {
            let x = if turn % 8 == 3 { 8 } else { -8 };
            left -= x;
            base.outpaint(current.clone(), Frame::Window { x, y: 0, size })
        } else {
            base.inpaint(current.clone(), spot(size, turn, left))
        };
        current = run(&engine, &request).pictures[0].clone();
    }
    let at = |picture: &Picture, x: usize, y: usize| picture.pixels()[y * size.width + x];
    let moved = |x: usize| usize::try_from(x as i64 + left).unwrap();
    assert!(centre.iter().all(|(x, y)| at(&current, moved(*x), *y) == at(&photo, *x, *y)));
    assert!(centre.len() > 500 && current.pixels() != photo.pixels());
}

/// A white spot that moves from turn to turn along the upper and lower edges.
fn spot(size: Size, turn: usize, left: i64) -> Picture {
    let side = 24;
    let x = (turn * 31) % (size.width - side);
    let y = if turn.is_multiple_of(2) { 0 } else { size.height - side };
    assert!(left.abs() <= 8, "the centre stays in the frame");
    let inside =
        |i: usize| (x..x + side).contains(&(i % size.width)) && (y..y + side).contains(&(i / size.width));
    let level = |i| if inside(i) { [255; 3] } else { [0; 3] };
    Picture::new(size, (0..size.width * size.height).map(level).collect()).unwrap()
}

#[test]
fn bad_requests_are_refused_by_name() {
    let engine = engine(&tiny(), "tract");
    let picture = || squares(64, 64);
    let base = || Request::text_to_image("a cat").seed(1);
    let mix = |parts: Vec<Part>| Request::mix(parts).seed(1);
    let black = || Picture::new(Size { width: 64, height: 64 }, vec![[0; 3]; 64 * 64]).unwrap();
    let frame = |left| Frame::Extend { left, top: 0, right: 0, bottom: 0 };
    let window = |x, y| Frame::Window { x, y, size: Size { width: 64, height: 64 } };
    let cases: Vec<(Request, Kind, &str)> = vec![
        (base().inpaint(picture(), right_half(64, 63)), Kind::BadImage, "64x63"),
        (base().inpaint(picture(), black()), Kind::BadImage, "repaints nothing"),
        (base().inpaint_transparent(picture()), Kind::BadImage, "transparent"),
        (base().edit(picture(), 0.0), Kind::BadRequest, "strength"),
        (base().edit(picture(), 1.5), Kind::BadRequest, "strength"),
        (base().edit(picture(), f64::NAN), Kind::BadRequest, "strength"),
        (base().edit(picture(), 0.01).steps(10), Kind::BadRequest, "strength"),
        (base().edit(squares(1, 1), 0.5), Kind::BadRequest, "width is 1"),
        (base().edit("no/such/file.png", 0.5), Kind::Io, "no/such/file.png"),
        (base().sampler("magic"), Kind::BadRequest, "magic"),
        (Request { prior_sampler: Some("magic".to_owned()), ..base() }, Kind::BadRequest, "magic"),
        (mix(vec![Part::text("a", 1.0), Part::text("b", -1.0)]), Kind::BadRequest, "sum to 0"),
        (mix(vec![Part::text("a", f64::NAN)]), Kind::BadRequest, "weight"),
        (mix(vec![Part::text("a", 11.0)]), Kind::BadRequest, "weight is 11"),
        (mix(vec![Part::text("a", 1.0); 17]), Kind::BadRequest, "mix is 17"),
        (
            base().mixed([Part::text("a", 1.0), Part::text("b", -0.5)], Blend::Spherical),
            Kind::BadRequest,
            "-0.5",
        ),
        (base().outpaint(picture(), frame(0)), Kind::BadRequest, ""),
        (base().outpaint(picture(), frame(usize::MAX)), Kind::BadRequest, ""),
        (base().outpaint(picture(), window(64, 0)), Kind::BadRequest, ""),
        (base().outpaint(picture(), window(0, 0)), Kind::BadRequest, ""),
        (base().outpaint(picture(), frame(64)).size(64, 64), Kind::BadRequest, "frame"),
        (base().seeds([1, 2]), Kind::BadRequest, "exclude"),
        (Request::text_to_image("a").seeds([1, 2]).count(3), Kind::BadRequest, "2 seeds"),
        (base().prompts(["a"; 6]).count(2), Kind::BadRequest, "12 pictures"),
        (base().prompts(Vec::<String>::new()), Kind::BadRequest, "no prompt"),
        (base().steps(3).timesteps([5, 1]), Kind::BadRequest, "exclude"),
        (base().prompt("a\0b"), Kind::BadPrompt, "NUL"),
    ];
    for (request, kind, words) in cases {
        let error = match engine.run_all(&request, &mut Observer::default()) {
            Err(error) => error,
            Ok(_) => panic!("{request:?} was drawn"),
        };
        assert_eq!(error.kind(), kind, "{error}: {request:?}");
        let said = error.to_string();
        assert!(said.contains(words) && said.len() <= 300, "{said:?} lacks {words:?}");
    }
    // Nothing of this has changed what is drawn.
    let again = || run(&engine, &base().size(64, 64).steps(2).prior_steps(2)).pictures[0].clone();
    assert_eq!(again(), again());
}

/// Relative L2.
fn distance(a: &kandinsky::Tensor, b: &kandinsky::Tensor) -> f64 {
    let norm = |t: &kandinsky::Tensor| t.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    norm(&(a - b)) / norm(b)
}

/// The goldens `t2i_pndm` and `t2i_unipc`: the reference hands its generator to a step that takes none, and raises.
#[test]
fn pndm_and_unipc_draw_where_the_reference_raises() {
    let engine = engine(Path::new(EMOJI), "tract");
    let draw = |sampler: &str, steps| {
        let request = Request::text_to_image("red apple").size(64, 64).seed(3).prior_steps(4);
        run(&engine, &request.steps(steps).sampler(sampler)).latents
    };
    let solution = draw("ddim", 100);
    for sampler in ["pndm", "plms", "unipc"] {
        let off = distance(&draw(sampler, 50), &solution);
        assert!(off < 0.1, "{sampler} is {off} from the picture that all deterministic samplers approach");
    }
}

/// The golden `i2i_nonsquare`: the reference swaps width and height, and raises.
#[test]
fn a_picture_that_is_not_square_is_edited_with_its_sides_as_they_are() {
    let engine = engine(Path::new(EMOJI), "tract");
    let wide = squares(128, 64);
    let request = Request::text_to_image("red apple").edit(wide.clone(), 0.12).seed(1).prior_steps(2);
    let edited = run(&engine, &request.steps(25)).pictures[0].clone();
    assert_eq!(edited.size(), wide.size());
    let pairs = edited.bytes().iter().zip(wide.bytes());
    let mean = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / edited.bytes().len() as f64;
    assert!(mean < 45.0, "a small strength leaves the picture recognisable: {mean} of 255");
}

#[test]
fn every_generator_draws_its_own_picture_again_and_again() {
    let engine = engine(&tiny(), "tract");
    let draw = |generator| {
        let request = Request::text_to_image("a cat").size(64, 64).seed(8).steps(2).prior_steps(2);
        run(&engine, &request.generator(generator)).pictures[0].clone()
    };
    let drawn: Vec<Picture> = Generator::ALL.into_iter().map(draw).collect();
    assert!(drawn[0].pixels() != drawn[1].pixels());
    assert!(Generator::ALL.into_iter().zip(&drawn).all(|(generator, first)| draw(generator) == *first));
}

#[test]
fn timesteps_of_the_caller_s_own_are_visited() {
    let engine = engine(&tiny(), "tract");
    let base = || Request::text_to_image("a cat").size(64, 64).seed(8).prior_steps(2);
    let own = run(&engine, &base().timesteps([751, 501, 251, 1]));
    let counted = run(&engine, &base().steps(4));
    close("latents", &own.latents, &counted.latents, 1e-6).unwrap();
    let other = run(&engine, &base().timesteps([900, 300, 20]));
    assert_eq!(other.resolved.steps, 3);
    assert!(other.pictures[0].pixels() != own.pictures[0].pixels());
}

#[test]
fn steps_that_nobody_gives_are_the_model_s_or_the_study_s() {
    let engine = engine(Path::new(EMOJI), "tract");
    let defaults = engine.manifest().defaults.clone();
    let resolved = |request: Request| request.resolve(engine.manifest()).unwrap();
    let own = resolved(Request::text_to_image("a"));
    assert_eq!((own.steps, own.prior_steps), (defaults.steps, defaults.prior_steps));
    for entry in sampler::SAMPLERS {
        let request = Request::text_to_image("a").profile(entry.profile);
        let (found, expected) = match entry.role {
            Role::Decoder if entry.profile == Profile::Diffusers && entry.name == defaults.sampler => {
                continue;
            }
            Role::Prior if entry.name == "unclip" => continue,
            Role::Decoder => (resolved(request.sampler(entry.name)).steps, entry.steps),
            Role::Prior => (resolved(request.prior_sampler(entry.name)).prior_steps, entry.steps),
        };
        assert_eq!(found, expected, "{}", entry.name);
    }
    let original = resolved(Request::text_to_image("a").profile(Profile::Original));
    assert_eq!((original.sampler.as_str(), original.steps), ("ddpm", 100));
    assert_eq!(resolved(Request::text_to_image("a").sampler("lms").steps(3)).steps, 3);
}

#[test]
fn pictures_of_one_pixel_can_be_looked_at() {
    let engine = engine(&tiny(), "tract");
    let request = Request::variation(squares(1, 1)).size(64, 64).steps(1).seed(1);
    assert_eq!(run(&engine, &request).pictures.len(), 1);
}

#[test]
fn a_request_is_the_same_after_json() {
    let engine = engine(&tiny(), "tract");
    for (_, regime) in REGIMES {
        let request = regime().seed(3).steps(2).profile(Profile::Original);
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
        let resolved = request.loaded().unwrap().resolve(engine.manifest()).unwrap();
        let again: Request = serde_json::from_str(&serde_json::to_string(&resolved).unwrap()).unwrap();
        assert_eq!(again.start, resolved.start);
        assert_eq!((again.seed, again.steps, again.mix), (Some(3), Some(2), resolved.mix));
    }
    assert!(serde_json::from_str::<Request>(r#"{"prompt": "a", "colour": "red"}"#).is_err());
}

/// Latents of the bundled model exceed 1: bounded to it, its pictures would be washed out.
#[test]
fn every_profile_and_ddpm_draw_the_bundled_models_colours() {
    let engine = engine(Path::new(EMOJI), "ort");
    let apple = || Request::text_to_image("red apple").seed(1);
    for request in [apple().sampler("ddpm").steps(50), apple().profile(Profile::Original).steps(50)] {
        let picture = engine.run(request).unwrap();
        let ground =
            picture.pixels()[..8].as_flattened().iter().map(|level| u32::from(*level)).sum::<u32>() / 24;
        let colour = picture.pixels().iter().map(|p| p.iter().max().unwrap() - p.iter().min().unwrap()).max();
        assert!(ground > 240, "the white ground has the level {ground}");
        assert!(colour.unwrap() > 180, "the strongest colour spans {colour:?}");
    }
}
