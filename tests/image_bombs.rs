//! Pictures that claim or unpack to far more than they weigh: refused, or passed over, at next to no cost.
//!
//! Each is opened by a process of its own, which measures the time and the peak of its memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

use kandinsky::Picture;
use kandinsky::internal::image::read_metadata;
use kandinsky_testing::pictures::{file, pattern};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// What a refusal may cost.
const MILLISECONDS: u128 = 50;
const KIB: usize = 32 << 10;

/// A field of /proc/self/status in KiB.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "the other half of the tests here"]
fn opens_what_it_is_told() {
    let path = std::env::var_os("BOMB").expect("BOMB names the file");
    // Sets the peak back to what is in use.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, start) = (status("VmHWM"), Instant::now());
    let opened = Picture::open(&path).map(|picture| picture.size().to_string());
    let read = read_metadata(&path).map(|metadata| metadata.is_some().to_string());
    let (time, peak) = (start.elapsed().as_millis(), status("VmHWM"));
    println!("\nBOMB|{time}|{}|{opened:?}|{read:?}|", peak - before);
}

/// Opens a file in a process of its own, within the limits; says how that ended. On a busy machine a process may
/// have to wait, so the best of three counts.
fn cost(path: &Path) -> String {
    let costs: Vec<_> = (0..3).map(|_| measured(path)).collect();
    let (time, memory, end) = costs.iter().min().unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    println!("{name}: {time} ms, {memory} KiB, {end}");
    assert!(*time <= MILLISECONDS && *memory <= KIB, "{name} took {time} ms and {memory} KiB: {end}");
    end.clone()
}

fn measured(path: &Path) -> (u128, usize, String) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opens_what_it_is_told", "--ignored", "--nocapture", "--test-threads=1"])
        .env("BOMB", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("BOMB|"));
    let fields: Vec<&str> = line.unwrap_or_else(|| panic!("{}: {text}", path.display())).split('|').collect();
    (fields[1].parse().unwrap(), fields[2].parse().unwrap(), fields[3].to_owned())
}

fn refused(path: &Path, reason: &str) {
    let end = cost(path);
    assert!(
        end.starts_with("Err") && end.contains("BadImage") && end.contains(reason),
        "{}: {end}",
        path.display()
    );
}

/// A whole PNG of zeros.
fn zeros(path: &Path, (width, height): (u32, u32), colour: png::ColorType, depth: png::BitDepth) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fastest);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    let row = vec![0; (width as usize * colour.samples() * depth as usize).div_ceil(8)];
    (0..height).for_each(|_| stream.write_all(&row).unwrap());
    stream.finish().unwrap();
}

/// Name, body and checksum of a PNG chunk.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [name, body].concat();
    let mut crc = u32::MAX;
    for byte in &named {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 });
    }
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &named, &(!crc).to_be_bytes()].concat()
}

/// Bodies of all `IDAT` chunks.
fn data(png: &[u8]) -> Vec<u8> {
    let mut at = 8;
    let mut data = Vec::new();
    while at < png.len() {
        let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        if &png[at + 4..at + 8] == b"IDAT" {
            data.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    data
}

#[test]
fn png_of_hundreds_of_megapixels() {
    use png::{BitDepth, ColorType};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20000x20000.png");
    zeros(&path, (20_000, 20_000), ColorType::Grayscale, BitDepth::Eight);
    refused(&path, "20000x20000");
    let path = folder.path().join("13300x13300.png");
    zeros(&path, (13_300, 13_300), ColorType::Rgb, BitDepth::Eight);
    refused(&path, "13300x13300");
    let path = folder.path().join("60000x60000.png");
    zeros(&path, (60_000, 60_000), ColorType::Grayscale, BitDepth::One);
    refused(&path, "60000x60000");
    let path = folder.path().join("65535x1.png");
    zeros(&path, (65_535, 1), ColorType::Rgba, BitDepth::Sixteen);
    refused(&path, "65535x1");
}

/// 530 MB of zeros in a profile, in texts before and after the pixels, and in EXIF that is none.
#[test]
fn png_whose_texts_and_profile_are_bombs() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.png");
    zeros(&large, (13_300, 13_300), png::ColorType::Rgb, png::BitDepth::Eight);
    let packed = data(&std::fs::read(&large).unwrap());
    let small = pattern(4, 4).to_png().unwrap();
    let with = |name: &[u8; 4], head: &[u8], at: usize| {
        [&small[..at], &chunk(name, &[head, &packed].concat()), &small[at..]].concat()
    };
    let (first, last) = (33, small.len() - 12);
    for (name, bytes) in [
        ("iccp", with(b"iCCP", b"profile\0\0", first)),
        ("ztxt", with(b"zTXt", b"parameters\0\0", first)),
        ("itxt", with(b"iTXt", b"parameters\0\x01\0\0\0", first)),
        ("exact", with(b"iTXt", b"kandinsky\0\x01\0\0\0", first)),
        ("after", with(b"zTXt", b"Comment\0\0", last)),
        ("exif", with(b"eXIf", b"MM\0*", first)),
    ] {
        let path = folder.path().join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(cost(&path), "Ok(\"4x4\")", "{name}: what is not needed is not unpacked");
    }
}

#[test]
fn animations_of_ten_thousand_frames() {
    let folder = tempfile::tempdir().unwrap();
    let mut png = std::fs::read(file("animated.png")).unwrap();
    let control = png.windows(4).position(|name| name == b"acTL").unwrap();
    let claimed = chunk(b"acTL", &[10_000_u32.to_be_bytes(), [0; 4]].concat());
    png.splice(control - 4..control + 16, claimed);
    let path = folder.path().join("animated.png");
    std::fs::write(&path, png).unwrap();
    refused(&path, "it is an animated PNG");

    let webp = std::fs::read(file("animated.webp")).unwrap();
    let frame = webp.windows(4).rposition(|name| name == b"ANMF").unwrap();
    let mut many = [&webp[..frame], &webp[frame..].repeat(10_000)].concat();
    let length = u32::try_from(many.len() - 8).unwrap();
    many[4..8].copy_from_slice(&length.to_le_bytes());
    let path = folder.path().join("animated.webp");
    std::fs::write(&path, many).unwrap();
    refused(&path, "it is an animated WebP");
}

#[test]
fn jpeg_and_webp_that_claim_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let jpeg = std::fs::read(file("progressive.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc2]).unwrap() + 5;
    for (width, height) in [(65_535_u16, 1_u16), (1, 65_535), (65_535, 65_535), (8192, 2049)] {
        let mut bomb = jpeg.clone();
        bomb[frame..frame + 4].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        let path = folder.path().join(format!("{width}x{height}.jpg"));
        std::fs::write(&path, bomb).unwrap();
        refused(&path, &format!("{width}x{height}"));
    }
    // A second frame behind the first.
    let mut bomb = jpeg.clone();
    let second = [0xff, 0xc2, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    bomb.splice(frame + 14..frame + 14, second);
    let path = folder.path().join("second.jpg");
    std::fs::write(&path, bomb).unwrap();
    refused(&path, "65535x65535");

    let lossless = std::fs::read(file("lossless.webp")).unwrap();
    let header = lossless.windows(4).position(|name| name == b"VP8L").unwrap() + 9;
    let mut bomb = lossless.clone();
    bomb[header..header + 4].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    let path = folder.path().join("lossless.webp");
    std::fs::write(&path, bomb).unwrap();
    refused(&path, "16384x16384");

    let mut canvas = std::fs::read(file("lossy_alpha.webp")).unwrap();
    canvas[24..30].copy_from_slice(&[0xff; 6]);
    let path = folder.path().join("canvas.webp");
    std::fs::write(&path, canvas).unwrap();
    refused(&path, "16777216x16777216");
}

/// Nothing is read of files that are too long, of what is no file, and of a bomb that a long file carries.
#[test]
fn long_and_endless_files() {
    let folder = tempfile::tempdir().unwrap();
    let small = pattern(4, 4).to_png().unwrap();
    let sparse = |name: &str, bytes: &[u8], length: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(length).unwrap();
        path
    };
    refused(&sparse("long.png", &small, 1 << 40), "the file has more than 134217728 bytes");
    refused(&sparse("zeros.png", b"", 100 << 20), "no picture of a known format");
    let mut claims = small.clone();
    claims[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    refused(&sparse("claims.png", &claims, 100 << 20), "20000x4");
    refused(Path::new("/dev/zero"), "is not a file");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(&pipe, "is not a file");
}
