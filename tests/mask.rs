//! Masks, and pictures as MoVQ sees them: against the reference's pipelines and against Pillow.

use kandinsky::internal::image::movq;
use kandinsky::{Kind, Mask, Picture, Size};
use kandinsky_models::hash;
use kandinsky_testing::image as goldens;
use kandinsky_testing::pictures::pattern;
use proptest::prelude::*;
use std::path::PathBuf;

fn data() -> PathBuf {
    let named = std::env::var_os("KANDINSKY_REFERENCE").filter(|v| !v.is_empty());
    let own = || kandinsky_testing::root().join("tests/reference");
    named.map_or_else(own, PathBuf::from).join("data")
}

const fn size(width: usize, height: usize) -> Size {
    Size { width, height }
}

/// Repaints a rectangle.
fn rectangle(whole: Size, left: usize, top: usize, inner: Size) -> Mask {
    let inside = |x: usize, y: usize| {
        (left..left + inner.width).contains(&x) && (top..top + inner.height).contains(&y)
    };
    let plane = (0..whole.height).flat_map(|y| (0..whole.width).map(move |x| u8::from(inside(x, y)) * 255));
    Mask::new(whole, plane.collect()).unwrap()
}

#[test]
fn movq_sees_what_the_reference_shows_it() {
    let cases = [
        ("i2i_s03", "i2i_64", size(64, 64)),
        ("i2i_resize", "i2i_200x150", size(64, 64)),
        ("inpaint_pilmask", "i2i_64", size(64, 64)),
        ("inpaint_nonsquare", "i2i_200x150", size(128, 64)),
        ("inpaint_seeded_batch", "i2i_64", size(64, 64)),
    ];
    for (golden, image, size) in cases {
        let golden = data().join(format!("pipeline/{golden}.safetensors"));
        goldens::check_movq_pixels(&golden, &data().join(format!("images/{image}.png")), size);
    }
}

#[test]
fn masks_reach_the_unet_as_the_reference_s() {
    let cases = [
        ("inpaint_pilmask", "mask_64", size(64, 64)),
        ("inpaint_npmask", "mask_64", size(64, 64)),
        ("inpaint_nonsquare", "mask_200x150", size(128, 64)),
        ("inpaint_seeded_batch", "mask_64", size(64, 64)),
    ];
    for (golden, mask, size) in cases {
        let golden = data().join(format!("pipeline/{golden}.safetensors"));
        goldens::check_known(&golden, &data().join(format!("images/{mask}.png")), size);
    }
}

/// Hashes of what Pillow 13.0.0's `resize` gives for [`pattern`] with a `reducing_gap` of 1.
#[test]
fn resizing_in_two_steps_is_pillow_s() {
    let cases = [
        ((90, 61), (31, 100), "0a6c09601d2e15cf62e502dbdc49ce60c9292ae105816a81880203f930c1a596"),
        ((90, 61), (20, 7), "6063a1567f0c7627f7f240f110a791895efec806b6528b6826d7e505a5004b54"),
        ((501, 225), (64, 64), "aea582e473f01c56e46edb1557f7a4843a3eb701cb73f30f6cbc228a68247799"),
        ((225, 501), (128, 64), "fe559ccd921a4d5ff8918c4219efccf06d862fe03a5485563b88265337f21a4e"),
        ((640, 480), (64, 128), "f6afb3b208eb5fffe746771c9afa729ee9c64584d0c687dd65cb330ee59acea9"),
        ((17, 1000), (16, 3), "b4566263ba7fe6c800e90c584be4acee9f5d6aed7192251484d8803a49f7d955"),
        ((200, 150), (200, 40), "3e9d9c0c9d023c2063987c3ffad73ea16905c89f0823007be7d5cba615a4bc3d"),
        ((1000, 17), (9, 5), "e967ae20c32625877f87cd889d92c3544f642191e443968aedaca761008bd774"),
        ((64, 64), (224, 224), "2f5f041d6ce26fd50bb1e97fbbd3121dcdf791bb1aba247b751c8313e67ea6cd"),
        ((90, 61), (1, 1), "a2ebd0f6d8a10ecae38a72d6747797d88cad00384b4b3e35f2a4172ed0860640"),
        ((1023, 769), (100, 75), "af7abfe029604d3fc9bf93c88a9fb8eae2a90e7323c8c3adab727fb0cdefaf54"),
        ((333, 222), (111, 111), "1a2f555eed11a438cdafbce0d816cbf84da6b7818b81db729f62941517da543f"),
    ];
    for (from, to, sha256) in cases {
        let resized = pattern(from.0, from.1).resized(size(to.0, to.1)).unwrap();
        assert_eq!(hash::of_bytes(resized.bytes()), sha256, "{from:?} to {to:?}");
    }
    let picture = pattern(20, 10);
    assert_eq!(picture.resized(picture.size()).unwrap(), picture);
    assert!(picture.resized(size(0, 5)).is_err() && picture.resized(size(5, 0)).is_err());
}

/// Hashes of Pillow 13.0.0's `convert("L")`, then `resize` by Lanczos, of which half of white and more is taken.
#[test]
fn masks_are_resized_as_pillow_does() {
    let cases = [
        ((90, 61), (31, 100), "cae8cf5d17ee49d9598db91c736348ee629a09ebc1de940dd11689c284c891eb"),
        ((200, 150), (128, 64), "b908c067cf9245eaa98ce417f78a2ec3f05aeeb30a60acd80f74490ddee60215"),
    ];
    for (from, to, sha256) in cases {
        let mask = Mask::from_picture(&pattern(from.0, from.1)).unwrap();
        let resized = mask.resized(size(to.0, to.1)).unwrap();
        let repaints: Vec<u8> = resized.repaints().map(u8::from).collect();
        assert_eq!(hash::of_bytes(&repaints), sha256, "{from:?} to {to:?}");
    }
}

#[test]
fn width_and_height_keep_their_places() {
    let pixels = movq::pixels(&pattern(30, 20), size(128, 64), size(128, 64)).unwrap();
    assert_eq!(pixels.shape(), [1, 3, 64, 128]);
    let known =
        rectangle(size(30, 20), 20, 0, size(10, 20)).latents(size(128, 64), size(128, 64), 8).unwrap();
    assert_eq!(known.shape(), [1, 1, 8, 16]);
    // The right third is drawn, all the way down, and so is the column left of it.
    let row: Vec<f32> = known.iter().copied().take(16).collect();
    assert_eq!(row, [1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0., 0., 0.]);
    assert!(known.iter().zip(row.iter().cycle()).all(|(ours, first)| ours == first));
}

#[test]
fn what_lies_beyond_the_size_repeats_the_edge() {
    let picture = pattern(5, 3);
    let pixels = movq::pixels(&picture, picture.size(), size(8, 8)).unwrap();
    assert_eq!(pixels.shape(), [1, 3, 8, 8]);
    for ((y, x), value) in pixels.iter().take(64).enumerate().map(|(at, value)| ((at / 8, at % 8), value)) {
        let red = picture.pixels()[y.min(2) * 5 + x.min(4)][0];
        assert_eq!(*value, f32::from(red) / 127.5 - 1.0, "{x},{y}");
    }
    assert!(movq::pixels(&picture, size(8, 3), size(7, 3)).is_err());
    // The last column is repainted, with it all beyond, and by growth the latent before.
    let known = rectangle(size(72, 64), 71, 0, size(1, 64)).latents(size(72, 64), size(128, 64), 8).unwrap();
    assert_eq!(
        known.iter().take(16).map(|known| *known as u8).collect::<Vec<_>>(),
        [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn half_of_white_and_more_is_repainted() {
    let mask = Mask::new(size(4, 1), vec![0, 127, 128, 255]).unwrap();
    assert_eq!(mask.repaints().collect::<Vec<_>>(), [false, false, true, true]);
    let inverted = mask.inverted().unwrap();
    assert_eq!(inverted.repaints().collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(inverted.inverted().unwrap(), mask);
    let colours = Picture::new(size(3, 1), vec![[255, 0, 0], [0, 255, 0], [0, 0, 255]]).unwrap();
    let of_colours = Mask::from_picture(&colours).unwrap();
    assert_eq!(of_colours.repaints().collect::<Vec<_>>(), [false, true, false], "green alone is light");
}

#[test]
fn masks_that_do_not_fit_are_refused_by_name() {
    let nothing = Mask::new(size(3, 2), vec![127; 6]).unwrap_err();
    assert_eq!(nothing.kind(), Kind::BadImage);
    assert_eq!(nothing.to_string(), "the mask of 3x2 repaints nothing: no pixel is lighter than half");
    assert!(Mask::new(size(3, 2), vec![255; 5]).is_err() && Mask::new(size(0, 0), Vec::new()).is_err());
    let mask = Mask::new(size(3, 2), vec![255; 6]).unwrap();
    assert!(mask.inverted().unwrap_err().to_string().contains("repaints nothing"));
    mask.check(&pattern(3, 2)).unwrap();
    let other = mask.check(&pattern(2, 3)).unwrap_err();
    assert_eq!(
        (other.kind(), other.to_string().as_str()),
        (Kind::BadImage, "the mask is of 3x2, but its picture of 2x3")
    );
    let fine = rectangle(size(64, 64), 33, 33, size(4, 4));
    let error = fine.latents(size(64, 64), size(64, 64), 8).unwrap_err();
    assert!(error.to_string().contains("finer than the 8 pixels of a latent"), "{error}");
    assert!(fine.latents(size(64, 64), size(64, 64), 0).is_err());
}

#[test]
fn a_mask_that_repaints_everything_knows_nothing() {
    let all = Mask::new(size(10, 10), vec![255; 100]).unwrap();
    let known = all.latents(size(64, 64), size(64, 64), 8).unwrap();
    assert!(known.iter().all(|known| *known == 0.0));
}

#[test]
fn masks_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    image::GrayImage::from_raw(2, 2, vec![0, 255, 100, 200]).unwrap().save(&path).unwrap();
    let mask = Mask::open(&path).unwrap();
    assert_eq!(
        (mask.size(), mask.repaints().collect::<Vec<_>>()),
        (size(2, 2), vec![false, true, false, true])
    );
    // What is transparent does not count: white on nothing is white, black on nothing is black.
    let rgba = vec![255, 255, 255, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255];
    image::RgbaImage::from_raw(2, 2, rgba).unwrap().save(&path).unwrap();
    assert_eq!(Mask::open(&path).unwrap().repaints().collect::<Vec<_>>(), [true, false, true, false]);
    image::GrayImage::from_raw(2, 1, vec![0, 127]).unwrap().save(&path).unwrap();
    assert!(Mask::open(&path).unwrap_err().to_string().contains("repaints nothing"));
    assert_eq!(Mask::open(folder.path().join("none.png")).unwrap_err().kind(), Kind::Io);
}

#[test]
fn what_is_transparent_is_repainted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let rgba = vec![9, 8, 7, 255, 9, 8, 7, 128, 9, 8, 7, 127, 9, 8, 7, 0];
    image::RgbaImage::from_raw(4, 1, rgba).unwrap().save(&path).unwrap();
    let (picture, mask) = Picture::open_with_alpha(&path).unwrap();
    assert_eq!(picture, Picture::open(&path).unwrap());
    assert_eq!(picture.pixels()[3], [255; 3]);
    assert_eq!(mask.unwrap().repaints().collect::<Vec<_>>(), [false, false, true, true]);
    // Opaque, with and without an alpha channel.
    image::RgbaImage::from_raw(1, 1, vec![9, 8, 7, 255]).unwrap().save(&path).unwrap();
    assert_eq!(Picture::open_with_alpha(&path).unwrap().1, None);
    pattern(3, 3).replace(&path).unwrap();
    assert_eq!(Picture::open_with_alpha(&path).unwrap(), (pattern(3, 3), None));
}

#[test]
fn transparency_turns_with_its_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webp");
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    // EXIF that says: turn clockwise.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
    encoder.encode(&[1, 1, 1, 0, 2, 2, 2, 255, 3, 3, 3, 255], 3, 1, image::ExtendedColorType::Rgba8).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let (picture, mask) = Picture::open_with_alpha(&path).unwrap();
    assert_eq!((picture.size(), picture.pixels()), (size(1, 3), &[[255; 3], [2; 3], [3; 3]][..]));
    assert_eq!(mask.unwrap().repaints().collect::<Vec<_>>(), [true, false, false]);
}

fn sides(most: usize) -> impl Strategy<Value = Size> {
    (1..=most, 1..=most).prop_map(|(width, height)| size(width, height))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_picture_reaches_any_size(from in sides(90), to in sides(90), more in sides(40)) {
        let padded = size(to.width + more.width, to.height + more.height);
        let picture = pattern(from.width, from.height);
        let pixels = movq::pixels(&picture, to, padded).unwrap();
        prop_assert_eq!(pixels.shape(), [1, 3, padded.height, padded.width]);
        prop_assert!(pixels.iter().all(|value| (-1.0..=1.0).contains(value)));
        prop_assert_eq!(picture.resized(to).unwrap().size(), to);
    }

    #[test]
    fn one_colour_stays_one_colour(from in sides(300), to in sides(40), level: u8) {
        let flat = Picture::new(from, vec![[level; 3]; from.width * from.height]).unwrap();
        // The reference's averages lose a level now and then.
        let resized = flat.resized(to).unwrap();
        let worst = resized.bytes().iter().map(|byte| byte.abs_diff(level)).max();
        prop_assert!(worst <= Some(1), "{:?}", worst);
    }

    #[test]
    fn any_mask_reaches_the_latents(from in sides(90), cells in sides(6), seed: u8) {
        let to = size(cells.width * 64, cells.height * 64);
        let plane = (0..from.width * from.height).map(|at| ((at * 37) % 251) as u8 ^ seed).collect();
        let Ok(mask) = Mask::new(from, plane) else { return Ok(()) };
        match mask.latents(to, to, 8) {
            Ok(known) => {
                prop_assert_eq!(known.shape(), [1, 1, to.height / 8, to.width / 8]);
                prop_assert!(known.iter().all(|known| [0.0, 1.0].contains(known)));
                prop_assert!(known.iter().any(|known| *known == 0.0));
            }
            Err(error) => prop_assert_eq!(error.kind(), Kind::BadImage),
        }
    }
}
