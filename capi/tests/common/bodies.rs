//! What every door to the engine must do, written once and a module of each door: `Door` and `Asked` are those of
//! the Rust API there and those of the C API here. Every body gives the pixels that it saw.

use super::{Asked, Door};

/// Pixels of a picture: RGB, or RGBA where there are four bytes a pixel.
pub type Pixels = Vec<u8>;

/// Steps by stage with their totals, previews, pictures.
pub type Watched = (Vec<(String, u64, u64)>, Vec<Pixels>, Vec<Pixels>);

/// A test of a door.
type Body = fn(&Door) -> Vec<Pixels>;

pub const BODIES: &[(&str, Body)] = &[
    ("text to image in two languages", text_to_image),
    ("several pictures", several_pictures),
    ("variation", variation),
    ("a mix of a picture and texts", mix),
    ("image to image", edit),
    ("inpainting by a mask", inpaint),
    ("inpainting of what is transparent", inpaint_transparent),
    ("outpainting", outpaint),
    ("settings", settings),
    ("replay", replay),
    ("progress and previews", watched),
    ("refusals", refusals),
];

/// A picture of two gradients, `width` by 64, of 3 or 4 channels; with 4 its left half is transparent.
fn scene(width: usize, channels: usize) -> Pixels {
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        let alpha = if x < width / 2 { 0 } else { 255 };
        [(x * 3) as u8, (y * 3) as u8, 120, alpha].into_iter().take(channels)
    };
    (0..width * 64).flat_map(pixel).collect()
}

/// A mask, 64 by 64, whose left half is white.
fn mask() -> Pixels {
    (0..64 * 64).flat_map(|i| if i % 64 < 32 { [255; 3] } else { [0; 3] }).collect()
}

fn quick(asked: Asked) -> Asked {
    asked.number("steps", 3.0).number("prior_steps", 2.0).number("seed", 7.0)
}

fn text_to_image(door: &Door) -> Vec<Pixels> {
    let draw =
        |prompt: &str| door.draw(quick(Asked::new().text("prompt", prompt)).size(64, 96)).unwrap().remove(0);
    let (english, russian) = (draw("a red apple"), draw("красное яблоко"));
    assert_eq!(english.len(), 64 * 96 * 3);
    assert_ne!(english, russian);
    vec![english, russian]
}

fn several_pictures(door: &Door) -> Vec<Pixels> {
    let asked = || quick(Asked::new().text("prompt", "an owl")).size(64, 64);
    let drawn = door.draw(asked().number("count", 3.0)).unwrap();
    let alone = door.draw(asked().number("seed", 9.0)).unwrap();
    assert_eq!(drawn.len(), 3);
    assert_eq!(drawn[2], alone[0], "picture 2 has seed + 2");
    drawn
}

fn variation(door: &Door) -> Vec<Pixels> {
    let seen = quick(Asked::new().picture("mix.0.picture", 64, scene(64, 3))).size(64, 64);
    door.draw(seen).unwrap()
}

fn mix(door: &Door) -> Vec<Pixels> {
    let parts = || {
        let parts = Asked::new().picture("mix.0.picture", 64, scene(64, 3)).number("mix.0.weight", 0.6);
        quick(parts.text("mix.1.text", "a cat").number("mix.1.weight", 0.4)).size(64, 64)
    };
    let (sum, sphere) = (door.draw(parts()).unwrap(), door.draw(parts().text("blend", "spherical")).unwrap());
    assert_ne!(sum, sphere);
    [sum, sphere].concat()
}

fn edit(door: &Door) -> Vec<Pixels> {
    let asked = Asked::new().text("start.kind", "edit").picture("start.picture", 96, scene(96, 3));
    let drawn = door.draw(quick(asked.number("start.strength", 0.7).text("prompt", "a fox"))).unwrap();
    assert_eq!(drawn[0].len(), 96 * 64 * 3, "the size is the picture's");
    drawn
}

fn inpaint(door: &Door) -> Vec<Pixels> {
    let asked = Asked::new().text("start.kind", "inpaint").picture("start.picture", 64, scene(64, 3));
    let drawn = door.draw(quick(asked.picture("start.mask", 64, mask()).text("prompt", "a fox"))).unwrap();
    let right = |pixels: &Pixels| -> Vec<u8> {
        pixels.chunks(64 * 3).flat_map(|row| row[32 * 3..].to_vec()).collect()
    };
    assert_eq!(right(&drawn[0]), right(&scene(64, 3)), "what is kept is kept to the bit");
    assert_ne!(drawn[0], scene(64, 3));
    drawn
}

fn inpaint_transparent(door: &Door) -> Vec<Pixels> {
    let asked = Asked::new().text("start.kind", "inpaint").picture("start.picture", 64, scene(64, 4));
    door.draw(quick(asked.text("prompt", "a fox"))).unwrap()
}

fn outpaint(door: &Door) -> Vec<Pixels> {
    let sides = ["left", "top", "right", "bottom"].iter().zip([16.0, 0.0, 0.0, 8.0]);
    let begun = Asked::new().text("start.kind", "outpaint").picture("start.picture", 64, scene(64, 3));
    let asked = sides.fold(begun, |asked, (side, n)| asked.number(&format!("start.frame.extend.{side}"), n));
    let drawn = door.draw(quick(asked)).unwrap();
    assert_eq!(drawn[0].len(), (64 + 16) * (64 + 8) * 3);
    drawn
}

fn settings(door: &Door) -> Vec<Pixels> {
    let asked = || quick(Asked::new().text("prompt", "a (blue:1.3) heart")).size(64, 64);
    let plain = door.draw(asked()).unwrap();
    let others = [
        asked().text("sampler", "unipc"),
        asked().text("negative", "red").number("guidance", 7.5),
        asked().switch("weighted", true),
        asked().switch("quantize", true),
        asked().text("profile", "original"),
        asked().text("generator", "torch-cuda"),
        asked().text("prior", "none"),
        asked().picture("negative_picture", 64, scene(64, 3)),
        asked().number("prior_guidance", 2.0).text("prior_sampler", "ddim"),
    ];
    let others = others.map(|asked| door.draw(asked).unwrap().remove(0));
    let idle: Vec<_> = (0..others.len()).filter(|at| others[*at] == plain[0]).collect();
    assert!(idle.is_empty(), "settings {idle:?} tell nothing");
    others.into_iter().chain(plain).collect()
}

fn replay(door: &Door) -> Vec<Pixels> {
    let asked = Asked::new().picture("mix.0.picture", 64, scene(64, 3)).text("prompt", "лиса");
    let (before, after) = door.replay(quick(asked).size(64, 64), (64, scene(64, 3)));
    assert_eq!(before, after);
    vec![before, after]
}

fn watched(door: &Door) -> Vec<Pixels> {
    let (steps, previews, pictures) = door.watch(quick(Asked::new().text("prompt", "a fox")).size(64, 64), 2);
    let last: Vec<_> = steps.iter().filter(|(stage, ..)| stage == "denoise").collect();
    assert_eq!(last.last().map(|(_, step, total)| (*step, *total)), Some((3, 3)));
    assert_eq!(previews.len(), 1, "one preview after 2 of 3 steps");
    let steps: String =
        steps.iter().map(|(stage, step, total)| format!("{stage} {step}/{total}\n")).collect();
    [vec![steps.into_bytes()], previews, pictures].concat()
}

/// Kinds and messages of refusals are the same, too.
fn refusals(door: &Door) -> Vec<Pixels> {
    let asked = || quick(Asked::new().text("prompt", "a fox")).size(64, 64);
    let refused = [
        asked().number("steps", 1001.0),
        asked().number("guidance", 31.0),
        asked().size(63, 64),
        asked().text("sampler", "magic"),
        asked().text("aspect", "1:1"),
        asked().text("prompt", &"я".repeat(2100)),
        asked().number("count", 11.0),
        Asked::new()
            .text("start.kind", "edit")
            .picture("start.picture", 64, scene(64, 3))
            .number("start.strength", 0.0),
        Asked::new().text("start.kind", "inpaint").picture("start.picture", 64, scene(64, 3)),
        asked().text("mix.0.text", "a").number("mix.0.weight", 0.0),
    ];
    refused.map(|asked| door.draw(asked).unwrap_err().into_bytes()).into()
}
