//! Pictures written as PNG, JPEG and WebP, each with its request.

use kandinsky::internal::image::{check_target, read_metadata};
use kandinsky::internal::metadata;
use kandinsky::{Format, Kind, Metadata, Picture, Request, ResolvedRequest, Size};
use kandinsky_testing::pictures;
use kandinsky_testing::pictures::{distance, expected, names, pattern, resolved};
use proptest::prelude::*;
use std::path::Path;

const NAMES: [&str; 4] = ["a.png", "a.jpg", "a.jpeg", "a.webp"];

fn photo() -> Picture {
    let (size, pixels) = expected("lossless.webp");
    Picture::new(size, pixels).unwrap()
}

fn described(resolved: &ResolvedRequest) -> Picture {
    let mut picture = photo();
    picture.describe(metadata::describe("emoji", resolved).unwrap());
    picture
}

/// Where `part` is in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[test]
fn the_ending_of_a_name_is_its_format() {
    let cases = [
        ("a.png", Format::Png),
        ("b.PNG", Format::Png),
        ("noending", Format::Png),
        ("a.jpg", Format::Jpeg { quality: 95 }),
        ("a.b.JPEG", Format::Jpeg { quality: 95 }),
        ("c.WebP", Format::WebP),
    ];
    for (name, format) in cases {
        assert_eq!(Format::of(Path::new(name)).unwrap(), format);
    }
    for name in ["a.gif", "a.png.txt", "a.tiff", "a.avif"] {
        let error = Format::of(Path::new(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
        let message = format!(
            "{name} is no name for a picture: PNG (.png), JPEG (.jpg, .jpeg) and WebP (.webp) are written"
        );
        assert_eq!(error.to_string(), message);
        assert_eq!(check_target(Path::new(name), true).unwrap_err(), error);
    }
}

#[test]
fn files_are_of_the_format_of_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let heads: [&[u8]; 4] = [b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0", b"RIFF"];
    for (name, head) in NAMES.into_iter().zip(heads) {
        let path = folder.path().join(name);
        check_target(&path, false).unwrap();
        photo().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(head), "{name}");
        assert_eq!(
            bytes,
            photo().encode(Format::of(&path).unwrap()).unwrap(),
            "equal pictures give equal bytes"
        );
        let again = Picture::open(&path).unwrap();
        assert_eq!(again.size(), photo().size());
        let tolerance = if name.contains(".j") { 12 } else { 0 };
        assert!(distance(again.pixels(), photo().pixels()) <= tolerance, "{name}");
        assert_eq!(photo().save(&path).unwrap_err().kind(), Kind::Exists);
        photo().replace(&path).unwrap();
    }
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected, "nothing else is left");
}

#[test]
fn quality_is_for_jpeg_and_counts() {
    let size = |quality| photo().encode(Format::Jpeg { quality }).unwrap().len();
    assert!(size(20) < size(75) && size(75) < size(95) && size(95) < size(100));
    let jpeg = Format::of(Path::new("a.jpg")).unwrap();
    assert_eq!(jpeg.with_quality(70).unwrap(), Format::Jpeg { quality: 70 });
    for quality in [0, 101, usize::MAX] {
        let error = jpeg.with_quality(quality).unwrap_err();
        assert_eq!(error.to_string(), format!("quality is {quality}; the limit is 1 to 100"));
    }
    for format in [Format::Png, Format::WebP] {
        assert!(format.with_quality(70).unwrap_err().to_string().contains("for JPEG only"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    photo().write(&path, jpeg.with_quality(20).unwrap(), false).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), size(20));
    let error = photo().write(&path, Format::WebP, true).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest, "{error}");
}

#[test]
fn every_format_carries_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = [
        "a red cat, 4k photo",
        "красное яблоко, \"4k\"\nphoto",
        "\u{1f408}\u{200d}\u{2b1b} 猫 \u{301}e <b>&amp;</b> \\u0041 \u{1}\t",
        "z",
    ];
    for (count, (name, prompt)) in
        NAMES.into_iter().flat_map(|name| prompts.map(|prompt| (name, prompt))).enumerate()
    {
        let resolved = ResolvedRequest { prompt: vec![prompt.to_owned()], ..resolved() };
        let picture = described(&resolved);
        let path = folder.path().join(format!("{count}{name}"));
        picture.save(&path).unwrap();
        let metadata = read_metadata(&path).unwrap().unwrap();
        assert_eq!(Some(&metadata), picture.metadata(), "{name}");
        assert!(metadata.parameters.starts_with(prompt));
        let (request, _) = metadata::request(&metadata).unwrap();
        assert_eq!(request, Request { prompt: vec![prompt.to_owned()], ..request.clone() });
        assert_eq!((request.seed, request.sampler.as_deref()), (Some(u64::MAX), Some("ddim")));
        // The texts change no pixel.
        let plain = folder.path().join(format!("plain{count}{name}"));
        photo().save(&plain).unwrap();
        assert_eq!(Picture::open(&path).unwrap(), Picture::open(&plain).unwrap());
        assert_eq!(read_metadata(&plain).unwrap(), None);
    }
}

/// `UserComment` stands where EXIF says: after its code, in UTF-16 with the high byte first.
#[test]
fn viewers_find_the_parameters_in_exif() {
    let picture = described(&resolved());
    let parameters = &picture.metadata().unwrap().parameters;
    for format in [Format::Jpeg { quality: 95 }, Format::WebP] {
        let bytes = picture.encode(format).unwrap();
        let tiff = find(&bytes, b"MM\0*").unwrap();
        let exif = &bytes[tiff..];
        let length = match format {
            Format::WebP => {
                assert_eq!(&bytes[tiff - 8..tiff - 4], b"EXIF");
                u32::from_le_bytes(bytes[tiff - 4..tiff].try_into().unwrap()) as usize
            }
            _ => {
                assert_eq!(bytes[tiff - 10..tiff - 8], [0xff, 0xe1]);
                assert_eq!(&bytes[tiff - 6..tiff], b"Exif\0\0");
                usize::from(u16::from_be_bytes([bytes[tiff - 8], bytes[tiff - 7]])) - 8
            }
        };
        let number = |at: usize| u32::from_be_bytes(exif[at..at + 4].try_into().unwrap()) as usize;
        let first = number(4);
        assert_eq!(exif[first..first + 8], [0, 1, 0x87, 0x69, 0, 4, 0, 0], "one field: the EXIF directory");
        let second = number(first + 10);
        assert_eq!(exif[second..second + 6], [0, 1, 0x92, 0x86, 0, 7], "one field: the user comment");
        let (count, start) = (number(second + 6), number(second + 10));
        assert_eq!(start + count, length);
        let comment = exif[start..start + count].strip_prefix(b"UNICODE\0").unwrap();
        let units: Vec<u16> = comment.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
        assert_eq!(&String::from_utf16(&units).unwrap(), parameters);
    }
}

#[test]
fn the_longest_prompts_fit() {
    let folder = tempfile::tempdir().unwrap();
    // Every byte of these is six in JSON.
    let long = "\u{1}".repeat(4096);
    let picture =
        described(&ResolvedRequest { prompt: vec![long.clone()], negative: Some(long), ..resolved() });
    for name in NAMES {
        let path = folder.path().join(name);
        picture.save(&path).unwrap();
        assert_eq!(read_metadata(&path).unwrap().as_ref(), picture.metadata(), "{name}");
        assert_eq!(Picture::open(&path).unwrap().size(), picture.size());
    }
}

/// More than a segment of a JPEG holds: what viewers see is cut, what draws the picture again is not.
#[test]
fn a_jpeg_s_request_may_be_longer_than_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let picture = described(&ResolvedRequest { prompt: vec!["\u{1f408}я".repeat(60_000)], ..resolved() });
    picture.save(&path).unwrap();
    let (read, own) = (read_metadata(&path).unwrap().unwrap(), picture.metadata().unwrap());
    assert_eq!(read.exact, own.exact);
    assert!(own.parameters.starts_with(&read.parameters) && read.parameters.encode_utf16().count() > 32_000);
    assert_eq!(Picture::open(&path).unwrap().size(), picture.size());
    // Beyond what is read back, the file says so.
    let picture = described(&ResolvedRequest { prompt: vec!["я".repeat(1 << 19)], ..resolved() });
    for name in ["b.jpg", "b.webp"] {
        picture.save(folder.path().join(name)).unwrap();
        let error = read_metadata(folder.path().join(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::BadImage, "{error}");
    }
}

#[test]
fn files_of_others_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["turned6.jpg", "turned6.webp", "turned6.png", "444.jpg", "lossy.webp", "rgb8.png"] {
        assert_eq!(read_metadata(pictures::file(name)).unwrap(), None, "{name}");
    }
    for name in NAMES {
        let path = folder.path().join(name);
        std::fs::write(&path, b"no picture").unwrap();
        assert_eq!(read_metadata(&path).unwrap_err().kind(), Kind::BadImage);
    }
}

#[test]
fn a_picture_too_large_for_its_format_is_refused() {
    let wide = Picture::new(Size { width: 16_385, height: 1 }, vec![[0; 3]; 16_385]).unwrap();
    assert!(wide.encode(Format::WebP).unwrap_err().to_string().contains("WebP cannot be written"));
    assert!(wide.encode(Format::Png).is_ok());
    let wide = Picture::new(Size { width: 65_536, height: 1 }, vec![[0; 3]; 65_536]).unwrap();
    assert!(
        wide.encode(Format::Jpeg { quality: 95 }).unwrap_err().to_string().contains("JPEG cannot be written")
    );
}

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..60)
        .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read(
        (width, height) in (1_usize..50, 1_usize..50),
        (prompt, negative) in (texts(), texts()),
        (seed, guidance) in (any::<u64>(), 0.0_f64..30.0),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut picture = pattern(width, height);
        let resolved = ResolvedRequest { prompt: vec![prompt], negative: Some(negative), seed, guidance, ..resolved() };
        picture.describe(metadata::describe("emoji", &resolved).unwrap());
        let metadata: Metadata = picture.metadata().unwrap().clone();
        for name in ["a.png", "a.webp", "a.jpg"] {
            let path = folder.path().join(name);
            picture.save(&path).unwrap();
            let read = Picture::open(&path).unwrap();
            prop_assert_eq!(read.size(), picture.size());
            prop_assert!(name == "a.jpg" || read.pixels() == picture.pixels());
            let again = read_metadata(&path).unwrap();
            prop_assert_eq!(again.as_ref(), Some(&metadata), "{}", name);
            let (request, _) = metadata::request(&metadata).unwrap();
            prop_assert_eq!(request.prompt, resolved.prompt.clone());
            prop_assert_eq!((request.seed, request.guidance), (Some(seed), Some(guidance)));
        }
    }
}
