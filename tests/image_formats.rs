//! Pictures as people have them: every kind of PNG, JPEG and WebP, and what is refused.

use kandinsky::internal::image::read_metadata;
use kandinsky::{Kind, Picture};
use kandinsky_testing::pictures::{check, file, names, open, pattern};
use std::path::Path;

/// The message of a file of these bytes that is refused.
fn refused(folder: &Path, bytes: &[u8]) -> String {
    let error = open(folder, bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::BadImage, "{error}");
    error.to_string()
}

#[test]
fn grey_png_of_every_depth() {
    for depth in [1, 2, 4, 8, 16] {
        check(&format!("grey{depth}.png"), &format!("grey{depth}.png"), 0);
        check(&format!("grey{depth}_trns.png"), &format!("grey{depth}_trns.png"), 0);
    }
}

#[test]
fn grey_and_colour_png_with_alpha_lie_over_white() {
    for name in ["la8.png", "la16.png", "rgba8.png", "rgba16.png"] {
        check(name, name, 0);
    }
}

#[test]
fn colour_png_of_both_depths() {
    for name in ["rgb8.png", "rgb16.png", "rgb8_trns.png", "rgb16_trns.png"] {
        check(name, name, 0);
    }
}

#[test]
fn palette_png_of_every_depth() {
    for depth in [1, 2, 4, 8] {
        check(&format!("palette{depth}.png"), &format!("palette{depth}.png"), 0);
        check(&format!("palette{depth}_trns.png"), &format!("palette{depth}_trns.png"), 0);
    }
}

#[test]
fn interlaced_png() {
    check("interlaced.png", "interlaced.png", 0);
    check("interlaced1.png", "interlaced1.png", 0);
}

#[test]
fn jpeg_of_every_kind() {
    for name in ["grey.jpg", "444.jpg", "422.jpg", "odd.jpg"] {
        check(name, name, 2);
    }
    // Decoders interpolate halved colours each in its own way.
    for name in ["420.jpg", "progressive.jpg", "restart.jpg"] {
        check(name, name, 4);
    }
}

#[test]
fn jpeg_of_rgb_cmyk_and_ycck() {
    for name in ["rgb.jpg", "cmyk.jpg", "cmyk_progressive.jpg", "ycck.jpg"] {
        check(name, name, 2);
    }
}

#[test]
fn webp_of_every_kind() {
    for name in ["lossless.webp", "lossless_alpha.webp", "lossy.webp", "lossy_alpha.webp"] {
        check(name, name, 0);
    }
}

#[test]
fn a_single_pixel() {
    for name in ["one.png", "one.webp"] {
        check(name, name, 0);
    }
    check("one.jpg", "one.jpg", 2);
}

#[test]
fn all_eight_orientations_of_all_formats() {
    for orientation in 1..=8 {
        check(&format!("turned{orientation}.png"), "upright", 0);
        check(&format!("turned{orientation}.webp"), "upright", 0);
        check(&format!("turned{orientation}.jpg"), "upright", 4);
    }
}

#[test]
fn what_a_camera_noted_stays_behind() {
    let folder = tempfile::tempdir().unwrap();
    for from in ["png", "webp", "jpg"] {
        let picture = Picture::open(file(&format!("turned6.{from}"))).unwrap();
        assert_eq!(picture.metadata(), None);
        for to in ["png", "webp", "jpg"] {
            let path = folder.path().join(format!("{from}.{to}"));
            picture.save(&path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let carried = [&b"Exif"[..], b"EXIF", b"eXIf", b"XMP ", b"MM\0*", b"II*\0"];
            assert!(carried.iter().all(|name| !bytes.windows(4).any(|four| four == *name)), "{from} to {to}");
            assert_eq!(Picture::open(&path).unwrap().size(), picture.size());
            assert_eq!(read_metadata(&path).unwrap(), None);
        }
    }
}

#[test]
fn the_content_counts_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, disguise) in
        [("rgb8.png", "a.jpg"), ("444.jpg", "a.webp"), ("lossless.webp", "a"), ("444.jpg", "a.txt")]
    {
        let path = folder.path().join(disguise);
        std::fs::copy(file(name), &path).unwrap();
        let (disguised, plain) = (Picture::open(&path).unwrap(), Picture::open(file(name)).unwrap());
        assert_eq!(disguised, plain, "{name}");
    }
    let page = [&std::fs::read(file("rgb8.png")).unwrap()[..], b"<html><script>"].concat();
    std::fs::write(folder.path().join("b.png"), page).unwrap();
    let polyglot = Picture::open(folder.path().join("b.png")).unwrap();
    assert_eq!(polyglot, Picture::open(file("rgb8.png")).unwrap());
}

#[test]
fn other_formats_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        ("gif", "GIF"),
        ("tiff", "TIFF"),
        ("bmp", "BMP"),
        ("ico", "ICO"),
        ("avif", "AVIF"),
        ("jp2", "JPEG 2000"),
    ];
    for (extension, name) in kinds {
        let message = refused(folder.path(), &std::fs::read(file(&format!("unread.{extension}"))).unwrap());
        assert!(
            message.ends_with(&format!("its format is {name}; PNG, JPEG and WebP pictures are read")),
            "{message}"
        );
    }
    let heads: [(&[u8], &str); 10] = [
        (b"GIF87a\x01\0\x01\0", "GIF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"<?xml version='1.0'?>\n<!-- a --><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n <svg/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"\xff\x0a\xff\x00", "JPEG XL"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
    ];
    for (head, name) in heads {
        let message = refused(folder.path(), head);
        assert!(message.contains(&format!("its format is {name};")), "{message}");
    }
    assert!(refused(folder.path(), b"").contains("it is empty"));
    assert!(refused(folder.path(), b"hello").contains("no picture of a known format"));
    assert!(
        refused(folder.path(), b"<html><body>svg</body></html>").contains("no picture of a known format")
    );
}

#[test]
fn animations_are_refused_by_name() {
    for (name, format) in [("animated.png", "PNG"), ("animated.webp", "WebP")] {
        let error = Picture::open(file(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::BadImage);
        assert!(error.to_string().contains(&format!("it is an animated {format}")), "{error}");
    }
    // An animation that does not say so in its header.
    let folder = tempfile::tempdir().unwrap();
    let mut webp = std::fs::read(file("animated.webp")).unwrap();
    webp[20] &= !2;
    assert!(refused(folder.path(), &webp).contains("animated WebP"));
}

/// Where a chunk or segment begins, found by its first bytes.
fn marks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    const NAMES: [&[u8]; 10] = [
        b"\xff\xda",
        b"\xff\xdb",
        b"\xff\xc4",
        b"\xff\xc0",
        b"\xff\xd9",
        b"IDAT",
        b"IEND",
        b"VP8 ",
        b"VP8L",
        b"ALPH",
    ];
    (0..bytes.len()).filter(|at| NAMES.iter().any(|name| bytes[*at..].starts_with(name)))
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut cuts = 0;
    let whole = names(&file(""));
    let whole = whole.iter().filter(|name| {
        [".png", ".jpg", ".webp"].iter().any(|end| name.ends_with(end)) && !name.starts_with("animated")
    });
    for name in whole {
        let bytes = std::fs::read(file(name)).unwrap();
        assert!(Picture::open(file(name)).is_ok(), "{name}");
        let last = [bytes.len() - 1, bytes.len() - 2, bytes.len() - 4];
        // A WebP's last byte may be one that fills up.
        let last = last.into_iter().skip(usize::from(name.ends_with(".webp")));
        for end in (0..bytes.len() - 1).step_by(37).chain(marks(&bytes)).chain(last) {
            let result = open(folder.path(), &bytes[..end]);
            assert!(
                result.as_ref().is_err_and(|e| e.kind() == Kind::BadImage),
                "{name}: {end} of {} bytes pass",
                bytes.len()
            );
            cuts += 1;
        }
    }
    assert!(cuts > 1000, "only {cuts} cuts");
}

#[test]
fn damage_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let whole = [
        "rgba8.png",
        "palette4_trns.png",
        "progressive.jpg",
        "ycck.jpg",
        "lossy_alpha.webp",
        "lossless.webp",
    ];
    for name in whole.into_iter().chain(["turned6.png", "turned6.jpg", "turned6.webp"]) {
        let bytes = std::fs::read(file(name)).unwrap();
        let mut state = 1_u32;
        for _ in 0..300 {
            let mut broken = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % broken.len();
                broken[at] = (state >> 3) as u8;
            }
            if let Err(error) = open(folder.path(), &broken) {
                assert_eq!(error.kind(), Kind::BadImage, "{name}: {error}");
            }
        }
    }
}

#[test]
fn jpeg_of_kinds_that_no_one_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = std::fs::read(file("444.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    // Lossless, hierarchical and arithmetic frames, and one of 12 bits.
    for (at, value) in [(1, 0xc3), (1, 0xc5), (1, 0xc9), (4, 12)] {
        let mut odd = jpeg.clone();
        odd[frame + at] = value;
        refused(folder.path(), &odd);
    }
}

#[test]
fn a_jpeg_of_too_many_scans_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file("progressive.jpg")).unwrap();
    let scan = bytes.windows(2).rposition(|two| two == [0xff, 0xda]).unwrap();
    let (last, end) = (&bytes[scan..bytes.len() - 2], &bytes[bytes.len() - 2..]);
    let many = [&bytes[..scan], &last.repeat(200), end].concat();
    let message = refused(folder.path(), &many);
    assert!(message.contains("scans; the limit is 100"), "{message}");
}

/// A small canvas around a frame that claims 16,383 x 16,383: the decoder would unpack the frame first.
#[test]
fn a_webp_frame_is_no_larger_than_its_canvas() {
    let folder = tempfile::tempdir().unwrap();
    let mut webp = std::fs::read(file("lossy_alpha.webp")).unwrap();
    let frame = webp.windows(4).position(|name| name == b"VP8 ").unwrap() + 8 + 6;
    webp[frame..frame + 4].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    assert!(refused(folder.path(), &webp).contains("another size than its canvas"));
}

#[test]
fn a_picture_followed_by_another_is_the_first() {
    // As phones append previews and gain maps to their JPEGs.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let first = std::fs::read(file("444.jpg")).unwrap();
    let second = std::fs::read(file("one.jpg")).unwrap();
    std::fs::write(&path, [&first[..], &second[..second.len() / 2]].concat()).unwrap();
    assert_eq!(Picture::open(&path).unwrap(), Picture::open(file("444.jpg")).unwrap());
}

#[test]
fn any_size_survives_every_lossless_format() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [(1, 1), (1, 8192), (8192, 1), (3, 3), (63, 65), (257, 31)] {
        let picture = pattern(width, height);
        for extension in ["png", "webp"] {
            let path = folder.path().join(format!("{width}x{height}.{extension}"));
            picture.save(&path).unwrap();
            assert_eq!(Picture::open(&path).unwrap(), picture, "{}", path.display());
        }
        let path = folder.path().join(format!("{width}x{height}.jpg"));
        picture.save(&path).unwrap();
        assert_eq!(Picture::open(&path).unwrap().size(), picture.size());
    }
}
