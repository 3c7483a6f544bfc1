//! Canvases of outpainting, and what was drawn laid back into its picture.

use kandinsky::internal::image::resize::Window;
use kandinsky::internal::image::{Canvas, Rgb, Sides, View, composite};
use kandinsky::{Kind, Mask, Picture, Size};
use kandinsky_testing::pictures::{pattern, resolved};
use proptest::prelude::*;

const fn size(width: usize, height: usize) -> Size {
    Size { width, height }
}

fn flat(size: Size, colour: Rgb) -> Picture {
    Picture::new(size, vec![colour; size.width * size.height]).unwrap()
}

fn at(picture: &Picture, x: usize, y: usize) -> Rgb {
    picture.pixels()[y * picture.size().width + x]
}

/// The canvas shows the picture's own pixels where it says so, and repaints all others.
fn check(canvas: &Canvas, picture: &Picture, view: View) {
    let Canvas { picture: shown, mask, known } = canvas;
    assert_eq!((shown.size(), mask.size()), (view.size, view.size));
    let Window { left, top, size: inner } = *known;
    for (place, repaints) in mask.repaints().enumerate() {
        let (x, y) = (place % view.size.width, place / view.size.width);
        let source = (view.x + x as i64, view.y + y as i64);
        let whole = picture.size();
        let inside =
            (0..whole.width as i64).contains(&source.0) && (0..whole.height as i64).contains(&source.1);
        assert_eq!(repaints, !inside, "{x},{y}");
        assert_eq!(inside, (left..left + inner.width).contains(&x) && (top..top + inner.height).contains(&y));
        let nearest = (source.0.clamp(0, whole.width as i64 - 1), source.1.clamp(0, whole.height as i64 - 1));
        assert_eq!(at(shown, x, y), at(picture, nearest.0 as usize, nearest.1 as usize), "{x},{y}");
    }
}

#[test]
fn a_picture_grows_on_each_side() {
    let picture = pattern(70, 80);
    let canvas = Canvas::extend(&picture, Sides { left: 3, top: 0, right: 20, bottom: 7 }).unwrap();
    assert_eq!(canvas.known, Window { left: 3, top: 0, size: size(70, 80) });
    check(&canvas, &picture, View { x: -3, y: 0, size: size(93, 87) });
}

#[test]
fn a_frame_may_cut_the_picture() {
    let picture = pattern(100, 100);
    let view = View { x: 60, y: -30, size: size(64, 96) };
    let canvas = Canvas::view(&picture, view).unwrap();
    assert_eq!(canvas.known, Window { left: 0, top: 30, size: size(40, 66) });
    check(&canvas, &picture, view);
    let corner = View { x: 99, y: 99, size: size(64, 64) };
    let canvas = Canvas::view(&picture, corner).unwrap();
    assert_eq!(canvas.known, Window { left: 0, top: 0, size: size(1, 1) });
    check(&canvas, &picture, corner);
}

#[test]
fn canvases_that_make_no_sense_are_refused_by_name() {
    let picture = pattern(100, 80);
    let view = |x, y, width, height| Canvas::view(&picture, View { x, y, size: size(width, height) });
    for (x, y) in [(100, 0), (-64, 0), (0, 80), (0, -64), (i64::MAX, 0), (i64::MIN, 0), (0, i64::MIN)] {
        let error = view(x, y, 64, 64).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
        assert!(error.to_string().contains("shows nothing of it"), "{error}");
        assert!(error.to_string().contains(&format!("64x64 at {x},{y} over a picture of 100x80")), "{error}");
    }
    for (x, y, width, height) in [(0, 0, 100, 80), (10, 5, 64, 64), (36, 16, 64, 64)] {
        let error = view(x, y, width, height).unwrap_err();
        assert!(error.to_string().contains("leaves nothing to draw"), "{error}");
    }
    assert!(
        Canvas::extend(&picture, Sides::default())
            .unwrap_err()
            .to_string()
            .contains("leaves nothing to draw")
    );
    for sides in [
        Sides { left: 1949, ..Sides::default() },
        Sides { bottom: usize::MAX, ..Sides::default() },
        Sides { left: usize::MAX, right: usize::MAX, ..Sides::default() },
        Sides { right: 1000, bottom: 1000, ..Sides::default() },
    ] {
        let error = Canvas::extend(&picture, sides).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
        assert!(error.to_string().contains("the limit is"), "{error}");
    }
    assert!(view(-1, 0, 63, 64).unwrap_err().to_string().contains("width is 63; the limit is 64 to 2048"));
}

#[test]
fn what_is_kept_stays_bit_for_bit() {
    let original = pattern(20, 10);
    let mut drawn = flat(size(20, 10), [1, 2, 3]);
    drawn.describe(kandinsky::internal::metadata::describe("emoji", &resolved()).unwrap());
    let plane = (0..200).map(|at| if (5..9).contains(&(at % 20)) { 255 } else { 127 }).collect();
    let mask = Mask::new(size(20, 10), plane).unwrap();
    for feather in [0, 1, 3, 256] {
        let joined = composite(&original, &drawn, &mask, feather).unwrap();
        assert_eq!(joined.metadata(), drawn.metadata());
        for (place, repaints) in mask.repaints().enumerate() {
            let (ours, kept) = (joined.pixels()[place], original.pixels()[place]);
            assert!(repaints || ours == kept, "{place} with a feather of {feather}");
            assert!(!repaints || feather > 0 || ours == [1, 2, 3], "{place} is not the drawn pixel");
        }
    }
}

#[test]
fn a_seam_fades_inside_what_is_drawn() {
    // Kept: the left ten columns. Black fades to white over three pixels: 1/4, 2/4, 3/4, then all.
    let whole = size(20, 8);
    let plane = (0..160).map(|at| if at % 20 < 10 { 0 } else { 255 }).collect();
    let mask = Mask::new(whole, plane).unwrap();
    let joined = composite(&flat(whole, [0; 3]), &flat(whole, [255; 3]), &mask, 3).unwrap();
    for row in joined.pixels().chunks(20) {
        let levels: Vec<u8> = row.iter().map(|pixel| pixel[0]).collect();
        assert_eq!(levels[..10], [0; 10]);
        assert_eq!(levels[10..], [64, 128, 191, 255, 255, 255, 255, 255, 255, 255]);
    }
    // Distance goes every way: around a single kept pixel it is round.
    let whole = size(9, 9);
    let plane = (0..81).map(|at| if at == 40 { 0 } else { 255 }).collect();
    let mask = Mask::new(whole, plane).unwrap();
    let joined = composite(&flat(whole, [0; 3]), &flat(whole, [255; 3]), &mask, 3).unwrap();
    for (place, pixel) in joined.pixels().iter().enumerate() {
        let (dx, dy) = ((place % 9) as f64 - 4.0, (place / 9) as f64 - 4.0);
        let weight = (dx.hypot(dy) / 4.0).min(1.0);
        assert!((f64::from(pixel[0]) - 255.0 * weight).abs() <= 0.51, "{place}: {pixel:?} for {weight}");
    }
}

#[test]
fn an_outpainted_canvas_gives_the_picture_back() {
    let picture = pattern(70, 66);
    let canvas = Canvas::extend(&picture, Sides { left: 30, top: 10, right: 28, bottom: 52 }).unwrap();
    let drawn = flat(canvas.picture.size(), [200, 0, 0]);
    let joined = composite(&canvas.picture, &drawn, &canvas.mask, 8).unwrap();
    for y in 0..66 {
        let row = &joined.pixels()[(y + 10) * 128 + 30..][..70];
        assert_eq!(row, &picture.pixels()[y * 70..][..70]);
    }
    assert_eq!((at(&joined, 0, 127), at(&joined, 127, 0)), ([200, 0, 0], [200, 0, 0]));
}

#[test]
fn pictures_of_different_sizes_are_not_joined() {
    let mask = Mask::new(size(4, 4), vec![255; 16]).unwrap();
    let drawn = composite(&pattern(4, 4), &pattern(4, 5), &mask, 0).unwrap_err();
    assert_eq!(drawn.to_string(), "4x5 was drawn for a picture of 4x4");
    let original = composite(&pattern(4, 5), &pattern(4, 5), &mask, 0).unwrap_err();
    assert_eq!(original.to_string(), "the mask is of 4x4, but its picture of 4x5");
    let feather = composite(&pattern(4, 4), &pattern(4, 4), &mask, 257).unwrap_err();
    assert_eq!(feather.to_string(), "feather is 257; the limit is 0 to 256");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_frame_is_a_canvas_or_refused(
        (width, height) in (1_usize..90, 1_usize..90),
        (x, y) in (-200_i64..200, -200_i64..200),
        (wide, high) in (64_usize..150, 64_usize..150),
    ) {
        let picture = pattern(width, height);
        let view = View { x, y, size: size(wide, high) };
        match Canvas::view(&picture, view) {
            Ok(canvas) => check(&canvas, &picture, view),
            Err(error) => prop_assert_eq!(error.kind(), Kind::BadRequest),
        }
    }

    #[test]
    fn any_sides_make_a_canvas((left, top, right, bottom) in (0_usize..99, 0_usize..99, 0_usize..99, 0_usize..99)) {
        let picture = pattern(64, 64);
        match Canvas::extend(&picture, Sides { left, top, right, bottom }) {
            Ok(canvas) => {
                let whole = size(64 + left + right, 64 + top + bottom);
                check(&canvas, &picture, View { x: -(left as i64), y: -(top as i64), size: whole });
            }
            Err(_) => prop_assert_eq!(left + top + right + bottom, 0),
        }
    }

    #[test]
    fn a_composite_lies_between_its_pictures(
        (width, height) in (1_usize..40, 1_usize..40),
        feather in 0_usize..20,
        seed in 0_usize..1000,
    ) {
        let whole = size(width, height);
        let plane: Vec<u8> = (0..width * height).map(|at| ((at * 31 + seed) % 7) as u8 * 42).collect();
        let Ok(mask) = Mask::new(whole, plane) else { return Ok(()) };
        let (original, drawn) = (pattern(width, height), flat(whole, [250, 3, 99]));
        let joined = composite(&original, &drawn, &mask, feather).unwrap();
        prop_assert_eq!(joined.size(), whole);
        for ((ours, repaints), (old, new)) in
            joined.pixels().iter().zip(mask.repaints()).zip(original.pixels().iter().zip(drawn.pixels()))
        {
            for channel in 0..3 {
                let (low, high) = (old[channel].min(new[channel]), old[channel].max(new[channel]));
                prop_assert!((low..=high).contains(&ours[channel]));
                prop_assert!(repaints || ours[channel] == old[channel]);
            }
        }
    }
}
