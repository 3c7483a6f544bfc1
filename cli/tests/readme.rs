//! Every command of the README runs, in a folder as a reader would have it: the tiny checkpoint stands in place
//! of the real one, the bundled model and small pictures where the README has them.

use kandinsky_export::{StoredDtype, SyntheticCheckpoint, synthetic, write_checkpoint};
use kandinsky_testing::root;
use std::path::Path;
use std::process::Command;

/// Commands that are not run here, and who runs them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("scripts/test.sh", "it runs this test"),
    (
        "cargo install --path cli",
        "it builds the program again; what is installed is the program that runs here",
    ),
    ("cargo doc --open", "scripts/test.sh runs cargo doc; nobody is here to look"),
    ("cargo run --release --example", "scripts/test.sh builds the examples"),
    ("scripts/install.sh", "capi/tests/c_library.rs installs to a folder of its own"),
    ("cc capi/examples/c/draw.c", "capi/tests/c_library.rs compiles it against the installed package"),
    ("kandinsky-2.1", "the real weights are not here"),
];

/// The README's lines in blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut lines = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), Some(_)) => inside = None,
            (Some(name), None) => inside = Some(name == language),
            (None, Some(true)) => lines.push(line.to_owned()),
            (None, _) => {}
        }
    }
    lines
}

/// What a reader has: the bundled model, the published repositories side by side, some pictures.
fn furnish(folder: &Path) {
    std::fs::create_dir(folder.join("models")).unwrap();
    std::os::unix::fs::symlink(root().join("models/emoji"), folder.join("models/emoji")).unwrap();
    let mirror = SyntheticCheckpoint {
        configs: root().join("tests/reference/configs"),
        seed: synthetic::SEED,
        out: folder.join("checkpoint"),
        shard_limit: None,
        stored: StoredDtype::F32,
    };
    write_checkpoint(&mirror, &mut |_| Ok(())).unwrap();
    for entry in std::fs::read_dir(folder.join("checkpoint")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::rename(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let picture = |name: &str, paint: fn(u32, u32) -> [u8; 3]| {
        let picture = image::RgbImage::from_fn(128, 128, |x, y| image::Rgb(paint(x, y)));
        picture.save(folder.join(name)).unwrap();
    };
    for name in ["photo.png", "cat.png", "dog.png"] {
        picture(name, |x, y| if (x / 32 + y / 32) % 2 == 0 { [250, 200, 40] } else { [40, 90, 200] });
    }
    picture("mask.png", |x, _| if x > 80 { [255; 3] } else { [0; 3] });
}

#[test]
fn every_command_of_the_readme_runs() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let program = env!("CARGO_BIN_EXE_kandinsky");
    let (mut ran, mut elsewhere) = (0, 0);
    for line in blocks("sh") {
        let command = line.trim();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        if ELSEWHERE.iter().any(|(part, _)| command.contains(part)) {
            elsewhere += 1;
            continue;
        }
        let words = command.replace("cargo run --release --", "kandinsky");
        assert!(words.starts_with("kandinsky "), "no test knows how to run {command:?}");
        let shell = format!("kandinsky() {{ \"$PROGRAM\" \"$@\"; }}; {words}");
        let output = Command::new("sh")
            .args(["-c", &shell])
            .current_dir(folder.path())
            .env("PROGRAM", program)
            .env("KANDINSKY_CACHE", folder.path().join("cache"))
            .env_remove("KANDINSKY_MODEL")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        ran += 1;
    }
    println!("{ran} commands ran, {elsewhere} run elsewhere");
    assert!(ran >= 5, "{ran}");
}

#[test]
fn the_readme_s_rust_is_that_of_the_crate_s_documentation() {
    let tour = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let tour: Vec<&str> = tour.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let rust = blocks("rust");
    assert!(!rust.is_empty());
    for line in rust.iter().filter(|line| !line.is_empty()) {
        let known = tour.iter().any(|tested| tested.starts_with(line.as_str()));
        assert!(known, "{line:?} of the README is in no tested example of src/lib.rs");
    }
}

#[test]
fn everything_that_the_readme_names_is_there() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        assert!(root().join(link).exists(), "{link} is not there");
    }
}
