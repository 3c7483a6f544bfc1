//! Pictures: Pillow's resampling, CLIP's preparation, masks, files in and out.

use kandinsky::internal::image::resize::{Filter, Source, Window, resize, window};
use kandinsky::internal::image::{Rgb, check_target, clip, mask, read_metadata};
use kandinsky::internal::metadata;
use kandinsky::internal::tensor::tensor;
use kandinsky::{Kind, Picture, Profile, Request, ResolvedRequest, Size, Tensor};
use kandinsky_models::hash;
use kandinsky_models::manifest::ClipImage;
use kandinsky_testing::image as goldens;
use kandinsky_testing::pictures::{names, pattern, resolved};
use std::path::PathBuf;

fn reference() -> PathBuf {
    let named = std::env::var_os("KANDINSKY_REFERENCE").filter(|v| !v.is_empty());
    named.map_or_else(|| kandinsky_testing::root().join("tests/reference"), PathBuf::from)
}

fn settings(size: usize) -> ClipImage {
    ClipImage { size, mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] }
}

#[test]
fn clip_preparation_is_the_reference_s() {
    for size in ["224x224", "225x501", "300x200", "64x64"] {
        let data = reference().join("data");
        let golden = data.join(format!("clip_preprocess_{size}.safetensors"));
        let image = data.join(format!("images/clip_in_{size}.png"));
        goldens::check_clip_preprocess(&golden, &image, &settings(224));
    }
}

#[test]
fn masks_grow_as_the_reference_s() {
    goldens::check_prepare_mask(&reference().join("data/inpaint_prepare_mask.safetensors"));
}

#[test]
fn a_masked_point_takes_six_neighbours_with_it() {
    let mut values = vec![1.0; 25];
    values[12] = 0.0;
    let grown = mask::prepare_mask(&tensor(&[1, 1, 5, 5], values).unwrap()).unwrap();
    #[rustfmt::skip]
    let expected = vec![
        1.0, 1.0, 1.0, 1.0, 1.0,
        1.0, 0.0, 0.0, 1.0, 1.0,
        1.0, 0.0, 0.0, 0.0, 1.0,
        1.0, 1.0, 0.0, 0.0, 1.0,
        1.0, 1.0, 1.0, 1.0, 1.0,
    ];
    assert_eq!(grown.into_raw_vec_and_offset().0, expected);
    assert_eq!(mask::prepare_mask(&Tensor::zeros(vec![2, 2])).unwrap_err().kind(), Kind::BadImage);
}

/// Hashes of what Pillow 13.0.0 gives for [`pattern`].
#[test]
fn resampling_is_pillow_s() {
    let cases = [
        (
            (90, 61),
            (31, 100),
            Filter::Bicubic,
            "a70dd455b8e38483a62124dfe7a572f5c08d1b3f08ce06aa06becc3047719195",
        ),
        (
            (90, 61),
            (31, 100),
            Filter::Lanczos,
            "acb856414151a98d913f295057fdeecbca942337ead24bf8177ad2ea24c083d8",
        ),
        (
            (90, 61),
            (90, 20),
            Filter::Bicubic,
            "d33fd6a096573acdec2d49004ab86405bc5ee8bdd041e7e9a7e64ba708a61bbb",
        ),
        (
            (90, 61),
            (90, 20),
            Filter::Lanczos,
            "e44b232d97b031ef964d98813fd79344c4cc1bb18581d05e1900e70d83f4690d",
        ),
        (
            (90, 61),
            (200, 61),
            Filter::Bicubic,
            "9c19ef2ea0e59694833f4bba44cad408ca6381dba8fd476b441dab0ec9ab5440",
        ),
        (
            (90, 61),
            (200, 61),
            Filter::Lanczos,
            "06df1e75a2012475099dfc72a3d3eca3ad6f6bb86e9fedf1dfd658fb5ebf5029",
        ),
        (
            (501, 225),
            (224, 100),
            Filter::Bicubic,
            "e0a7dd6a02ea91d02eb3cd52a025e9f17b5d6c03e5900ac35e7f78869a79c62f",
        ),
        (
            (501, 225),
            (224, 100),
            Filter::Lanczos,
            "5ffcc6038442c29151707729d0159b73ce226852defb3bac42cdd600a8f51a07",
        ),
        (
            (64, 64),
            (224, 224),
            Filter::Bicubic,
            "2f5f041d6ce26fd50bb1e97fbbd3121dcdf791bb1aba247b751c8313e67ea6cd",
        ),
        (
            (64, 64),
            (224, 224),
            Filter::Lanczos,
            "7b9e72adc2b4e7b429e6b95542eeaff5dfd126c74be2691d824281dd10bfb1ce",
        ),
        ((1, 1), (7, 5), Filter::Bicubic, "12447cf51a3e07f7535d4c526d30a1d02193925c760c5c866f066d331fdb150a"),
        ((1, 1), (7, 5), Filter::Lanczos, "12447cf51a3e07f7535d4c526d30a1d02193925c760c5c866f066d331fdb150a"),
        (
            (17, 1000),
            (16, 3),
            Filter::Bicubic,
            "49322210e391e832e1da9998435734e9f6600dd8c69a189443cd3ac5dde176cb",
        ),
        (
            (17, 1000),
            (16, 3),
            Filter::Lanczos,
            "72d1e226424e46b08a011687384ed3819de7970ef42df3ad152cf4b211d2ebd6",
        ),
        (
            (640, 480),
            (64, 64),
            Filter::Bicubic,
            "193409f0fb5573c736a0486e664055957530354ee150062f62636374daa6da5e",
        ),
        (
            (640, 480),
            (64, 64),
            Filter::Lanczos,
            "92f705fa19be9c759e620478d5a47e36250091e525c17bcd39273a3fa0682499",
        ),
    ];
    for (from, to, filter, sha256) in cases {
        let picture = pattern(from.0, from.1);
        let source = Source { pixels: picture.pixels(), size: picture.size() };
        let resized = resize(source, Size { width: to.0, height: to.1 }, filter).unwrap();
        assert_eq!(hash::of_bytes(resized.as_flattened()), sha256, "{from:?} to {to:?} by {filter:?}");
    }
}

#[test]
fn a_window_is_a_part_of_the_whole() {
    let picture = pattern(90, 61);
    let source = Source { pixels: picture.pixels(), size: picture.size() };
    for (width, height) in [(90, 61), (31, 100), (88, 52)] {
        let target = Size { width, height };
        let whole = resize(source, target, Filter::Bicubic).unwrap();
        let part = Window { left: 7, top: 20, size: Size { width: 11, height: 30 } };
        let cut: Vec<Rgb> = (20..50).flat_map(|y| whole[y * target.width + 7..][..11].to_vec()).collect();
        assert_eq!(window(source, target, part, Filter::Bicubic).unwrap(), cut);
    }
    let whole = resize(source, picture.size(), Filter::Lanczos).unwrap();
    assert_eq!(whole, picture.pixels(), "the same size changes nothing");
    let beyond = Window { left: 80, top: 0, size: Size { width: 11, height: 1 } };
    assert!(window(source, picture.size(), beyond, Filter::Bicubic).is_err());
    assert!(resize(source, Size { width: 0, height: 5 }, Filter::Bicubic).is_err());
}

#[test]
fn clip_sees_the_middle_of_extreme_pictures() {
    for (width, height) in [(1, 1), (1, 8192), (8192, 1), (3, 3), (63, 65)] {
        let pixels = clip::prepare(&pattern(width, height), &settings(64)).unwrap();
        assert_eq!(pixels.shape(), [1, 3, 64, 64]);
    }
    assert!(clip::prepare(&pattern(3, 3), &settings(0)).is_err());
}

#[test]
fn pixels_are_rounded_as_numpy_to_pil_does() {
    // 0.5 and 2.5 of 255 lie halfway; so does 253.5.
    let level = |value: f32| value / 255.0 * 2.0 - 1.0;
    let values = [-3.0, -1.0, level(0.4), level(0.6), level(100.0), 0.0, 1.0, 7.0, level(254.0)];
    let planes: Vec<f32> = values.iter().cycle().take(27).copied().collect();
    let pixels = tensor(&[1, 3, 3, 3], planes).unwrap();
    let picture = Picture::from_pixels(&pixels, Size { width: 3, height: 3 }, Profile::Diffusers).unwrap();
    let red: Vec<u8> = picture.pixels().iter().map(|pixel| pixel[0]).collect();
    // 0.0 is 127.5, which goes to the even 128.
    assert_eq!(red, [0, 0, 0, 1, 100, 128, 255, 255, 254]);
    let original = Picture::from_pixels(&pixels, Size { width: 3, height: 3 }, Profile::Original).unwrap();
    assert_eq!(
        original.pixels(),
        picture.pixels(),
        "the two roundings differ in the last place of a float only"
    );
    let cropped = Picture::from_pixels(&pixels, Size { width: 2, height: 1 }, Profile::Diffusers).unwrap();
    assert_eq!(cropped.pixels(), &picture.pixels()[..2]);
    assert!(Picture::from_pixels(&pixels, Size { width: 4, height: 1 }, Profile::Diffusers).is_err());
    let broken = tensor(&[3, 1, 1], vec![0.0, f32::NAN, 0.0]).unwrap();
    let error = Picture::from_pixels(&broken, Size { width: 1, height: 1 }, Profile::Diffusers).unwrap_err();
    assert_eq!(error.kind(), Kind::RuntimeFault);
}

#[test]
fn a_file_carries_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("яблоко.png");
    let mut picture = pattern(20, 10);
    picture.describe(metadata::describe("emoji", &resolved()).unwrap());
    picture.save(&path).unwrap();
    let metadata = read_metadata(&path).unwrap().unwrap();
    assert_eq!(
        metadata.parameters,
        "красное яблоко, \"4k\"\nphoto\nNegative prompt: low quality\nSteps: 50, Sampler: ddim, CFG scale: 4.5, \
         Seed: 18446744073709551615, Size: 64x96, Model: emoji, Regime: text to image, Prior steps: 25, \
         Prior CFG scale: 4"
    );
    assert_eq!(Some(&metadata), picture.metadata());
    let (request, model) = metadata::request(&metadata).unwrap();
    assert_eq!(model, "emoji");
    let expected = Request::text_to_image(resolved().prompt_of(0))
        .negative("low quality")
        .seed(u64::MAX)
        .steps(50)
        .guidance(4.5)
        .prior_steps(25)
        .prior_guidance(4.0)
        .prior_sampler("unclip")
        .size(64, 96)
        .sampler("ddim");
    assert_eq!(request, expected);
    let again = Picture::open(&path).unwrap();
    assert_eq!((again.size(), again.pixels()), (picture.size(), picture.pixels()));
}

#[test]
fn text_is_latin_where_it_can_be_and_unicode_where_it_must() {
    let count = |bytes: &[u8], name: &[u8]| bytes.windows(4).filter(|chunk| *chunk == name).count();
    let mut picture = pattern(4, 4);
    let plain = picture.to_png().unwrap();
    assert_eq!((count(&plain, b"tEXt"), count(&plain, b"iTXt")), (0, 0));
    picture.describe(metadata::describe("emoji", &resolved()).unwrap());
    let russian = picture.to_png().unwrap();
    assert_eq!((count(&russian, b"tEXt"), count(&russian, b"iTXt")), (0, 2));
    let english = ResolvedRequest { prompt: vec!["a cat".to_owned()], negative: None, ..resolved() };
    picture.describe(metadata::describe("emoji", &english).unwrap());
    let english = picture.to_png().unwrap();
    assert_eq!((count(&english, b"tEXt"), count(&english, b"iTXt")), (2, 0));
    assert_eq!(english, picture.to_png().unwrap(), "equal pictures give equal bytes");
}

#[test]
fn a_picture_without_a_request_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    pattern(4, 4).save(&path).unwrap();
    assert_eq!(read_metadata(&path).unwrap(), None);
    std::fs::write(&path, b"no picture").unwrap();
    assert_eq!(read_metadata(&path).unwrap_err().kind(), Kind::BadImage);
    assert_eq!(read_metadata(folder.path().join("b.png")).unwrap_err().kind(), Kind::Io);
}

#[test]
fn files_are_replaced_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, "mine").unwrap();
    let error = pattern(4, 4).save(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    assert!(error.to_string().contains("a.png"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    pattern(4, 4).replace(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), pattern(4, 4).to_png().unwrap());
    assert_eq!(names(folder.path()), ["a.png"]);
}

#[test]
fn targets_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/a.png");
    let error = pattern(4, 4).save(&missing).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("no/such"), "{error}");
    std::fs::create_dir(folder.path().join("b.png")).unwrap();
    for replace in [false, true] {
        let error = check_target(&folder.path().join("b.png"), replace).unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{error}");
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = pattern(4, 4).save(folder.path().join("file/a.png")).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    for name in ["a.gif", "..", "a.png.txt"] {
        let error = check_target(&folder.path().join(name), false).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest, "{error}");
    }
    assert_eq!(names(folder.path()), ["b.png", "file"]);
}

/// A disk that is full, played by the limit on the size of files of a process of its own.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = ["mine.jpg", "mine.png", "mine.webp"];
    old.iter().for_each(|name| std::fs::write(folder.path().join(name), "mine").unwrap());
    for name in old.into_iter().chain(["new.jpg", "new.png", "new.webp"]) {
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact image::writes_where_told --ignored"])
            .arg(std::env::current_exe().unwrap())
            .env("TARGET", folder.path().join(name))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("refused Io") && !output.status.success(), "{text}");
    }
    assert_eq!(names(folder.path()), old);
    for name in old {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"mine");
    }
}

#[test]
#[ignore = "the other half of a_full_disk_leaves_nothing"]
fn writes_where_told() {
    let path = std::env::var_os("TARGET").expect("TARGET names the file");
    let noise: Vec<Rgb> = (0..4096_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .map(|b| [b[1], b[2], b[3]])
        .collect();
    let picture = Picture::new(Size { width: 64, height: 64 }, noise).unwrap();
    if let Err(error) = picture.replace(path) {
        panic!("refused {:?}: {error}", error.kind());
    }
}

#[test]
#[cfg(unix)]
fn files_are_as_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other"), "").unwrap();
    pattern(4, 4).save(folder.path().join("a.png")).unwrap();
    let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
    assert_eq!(mode("a.png"), mode("other"));
}

#[test]
fn damaged_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let picture = pattern(64, 48);
    let image = image::RgbImage::from_raw(64, 48, picture.bytes().to_vec()).unwrap();
    for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::WebP] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        let bytes = bytes.into_inner();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Picture::open(&path).unwrap().size(), picture.size(), "{format:?}");
        for part in [0, 1, 10, 30, bytes.len() / 2, bytes.len() * 9 / 10] {
            std::fs::write(&path, &bytes[..part]).unwrap();
            let error = Picture::open(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::BadImage, "{format:?} of {part} bytes");
        }
    }
    assert_eq!(Picture::open(folder.path().join("none.png")).unwrap_err().kind(), Kind::Io);
    assert_eq!(Picture::open(folder.path()).unwrap_err().kind(), Kind::BadImage);
}

#[test]
fn a_jpeg_that_is_cut_off_is_refused_although_its_preview_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let jpeg = |picture: &Picture| {
        let size = picture.size();
        let (width, height) = (size.width as u32, size.height as u32);
        let image = image::RgbImage::from_raw(width, height, picture.bytes().to_vec()).unwrap();
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    };
    let (whole, preview) = (jpeg(&pattern(64, 48)), jpeg(&pattern(8, 8)));
    let length = u16::try_from(preview.len() + 2).unwrap().to_be_bytes();
    let with = [&whole[..2], &[0xff, 0xef], &length, &preview, &whole[2..]].concat();
    std::fs::write(&path, &with).unwrap();
    assert_eq!(Picture::open(&path).unwrap().size(), pattern(64, 48).size());
    for missing in [2, 3, 100, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &with[..with.len() - missing]).unwrap();
        assert_eq!(Picture::open(&path).unwrap_err().kind(), Kind::BadImage, "{missing} bytes are missing");
    }
}

#[test]
fn sizes_are_checked_before_anything_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    for (width, height, allowed) in
        [(8192, 2048, true), (8193, 1, false), (1, 8193, false), (8192, 2049, false), (4096, 4097, false)]
    {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        // One byte of data: were it decoded, the error would be of the data.
        writer.write_chunk(png::chunk::IDAT, &[0x78]).unwrap();
        drop(writer);
        std::fs::write(&path, &bytes).unwrap();
        let error = Picture::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::BadImage);
        let of_size = error.to_string().contains("imit") || error.to_string().contains("imension");
        assert_eq!(of_size, !allowed, "{width}x{height}: {error}");
    }
}

#[test]
fn transparency_is_laid_over_white() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128], [0, 0, 0, 1]];
    image::RgbaImage::from_raw(4, 1, pixels.concat()).unwrap().save(&path).unwrap();
    let picture = Picture::open(&path).unwrap();
    assert_eq!(picture.pixels(), [[10, 20, 30], [255, 255, 255], [127, 177, 227], [254, 254, 254]]);
}
