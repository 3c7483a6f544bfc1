//! Pictures of tests: made here, or files of `tests/pictures` and what they must decode to.

use kandinsky::internal::image::Rgb;
use kandinsky::{Picture, Request, ResolvedRequest, Result, Size};
use std::path::{Path, PathBuf};

/// A picture of many edges, the same everywhere.
pub fn pattern(width: usize, height: usize) -> Picture {
    let pixel = |x: usize, y: usize| {
        let hash = (x * 73 + y * 151 + x * y * 7) % 256;
        [hash as u8, if (x / 3 + y / 5).is_multiple_of(2) { 255 } else { 0 }, (x * 255 / width) as u8]
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y))).collect();
    Picture::new(Size { width, height }, pixels).unwrap()
}

/// A request whose prompts are in two scripts.
pub fn resolved() -> ResolvedRequest {
    let model = kandinsky_models::Folder::open(crate::EMOJI.as_ref()).unwrap();
    let asked =
        Request::text_to_image("красное яблоко, \"4k\"\nphoto").negative("low quality").seed(u64::MAX);
    let asked =
        asked.steps(50).guidance(4.5).sampler("ddim").prior_steps(25).prior_guidance(4.0).size(64, 96);
    asked.resolve(model.manifest()).unwrap()
}

/// A file of `tests/pictures`.
pub fn file(name: &str) -> PathBuf {
    crate::root().join("tests/pictures").join(name)
}

/// What `name.ppm` holds.
pub fn expected(name: &str) -> (Size, Vec<Rgb>) {
    let bytes = std::fs::read(file(&format!("{name}.ppm"))).unwrap();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let header: Vec<&str> = std::str::from_utf8(&bytes[..end]).unwrap().split(' ').collect();
    let ["P6", width, height, "255"] = header[..] else { panic!("{name}: {header:?}") };
    let size = Size { width: width.parse().unwrap(), height: height.parse().unwrap() };
    let pixels = bytes[end + 1..].as_chunks::<3>().0.to_vec();
    assert_eq!(pixels.len(), size.width * size.height, "{name}");
    (size, pixels)
}

/// Opens a file of these bytes, which is new every time: overwriting waits for the disk.
pub fn open(folder: &Path, bytes: &[u8]) -> Result<Picture> {
    let path = folder.join("bytes");
    std::fs::write(&path, bytes).unwrap();
    let picture = Picture::open(&path);
    std::fs::remove_file(&path).unwrap();
    picture
}

/// The largest difference of any byte.
pub fn distance(ours: &[Rgb], theirs: &[Rgb]) -> u8 {
    assert_eq!(ours.len(), theirs.len());
    let bytes = ours.as_flattened().iter().zip(theirs.as_flattened());
    bytes.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// Opens the file `name` of `tests/pictures` and compares it with `expected`, to within `tolerance` levels.
pub fn check(name: &str, wanted: &str, tolerance: u8) {
    let picture = Picture::open(file(name)).unwrap_or_else(|e| panic!("{e}"));
    let (size, pixels) = expected(wanted);
    assert_eq!(picture.size(), size, "{name}");
    let worst = distance(picture.pixels(), &pixels);
    assert!(worst <= tolerance, "{name} is off by {worst} levels; {tolerance} are allowed");
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
