//! Compiled graphs: the same pictures, one winner of a race, damage and age noticed, removed when asked.

use kandinsky_testing::EMOJI;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A copy of the bundled model without compiled graphs, and a cache folder of its own.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let source = PathBuf::from(EMOJI);
        for entry in std::fs::read_dir(source).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
        command.current_dir(self.folder.path()).env("KANDINSKY_CACHE", self.path("user")).args(arguments);
        command.args(["--model", "model", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn drawing(&self, cache: &str, output: &str) -> Command {
        let common =
            ["generate", "red apple", "--seed", "1", "--steps", "2", "--prior-steps", "2", "--force"];
        self.command(&[&common[..], &["--runtime", "ort", "--cache", cache, "-o", output]].concat())
    }

    /// Draws with every graph kept compiled; gives the picture and the notes.
    fn draw(&self, cache: &str) -> (Vec<u8>, String) {
        let report = succeeded(self.drawing(cache, "a.png").output().unwrap());
        (std::fs::read(self.path("a.png")).unwrap(), report["notes"].to_string())
    }

    fn list(&self) -> Vec<(String, String, PathBuf)> {
        let report = succeeded(self.command(&["cache", "list"]).output().unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let entries = report["entries"].as_array().unwrap();
        entries.iter().map(|e| (text(&e["component"]), text(&e["state"]), text(&e["path"]).into())).collect()
    }

    fn entry(&self, component: &str) -> PathBuf {
        self.list().into_iter().find(|(name, ..)| name == component).unwrap().2
    }

    fn all_ready(&self) {
        let listed = self.list();
        assert!(listed.len() == 8 && listed.iter().all(|(_, state, _)| state == "ready"), "{listed:?}");
    }
}

fn succeeded(output: Output) -> serde_json::Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn cold_and_warm_draw_the_same_bytes_and_small_graphs_are_not_kept_unasked() {
    let scene = Scene::new();
    let (plain, _) = scene.draw("off");
    assert!(scene.draw("auto").0 == plain && scene.list().is_empty());
    let (cold, made) = scene.draw("all");
    assert!(made.contains("unet_step is kept compiled"), "{made}");
    scene.all_ready();
    let (warm, notes) = scene.draw("all");
    assert_eq!(notes, "[]");
    assert!(plain == cold && cold == warm, "the pictures differ");
}

#[test]
fn two_processes_race_and_both_draw() {
    let scene = Scene::new();
    let racers: Vec<_> = ["b.png", "c.png"].map(|name| scene.drawing("all", name).spawn().unwrap()).into();
    for racer in racers {
        succeeded(racer.wait_with_output().unwrap());
    }
    let read = |name| std::fs::read(scene.path(name)).unwrap();
    assert!(read("b.png") == read("c.png"));
    scene.all_ready();
    let left =
        std::fs::read_dir(scene.path("model/.kandinsky-cache")).unwrap().map(|e| e.unwrap().file_name());
    assert!(
        !left.into_iter().any(|name| name.to_string_lossy().starts_with(".making")),
        "something was left"
    );
}

#[test]
fn damage_is_noticed_and_made_good() {
    let scene = Scene::new();
    let (expected, _) = scene.draw("all");
    let damages: [(&str, &str, Damage); 6] = [
        ("unet_step", "graph.data", flip),
        ("movq_decoder", "graph.onnx", flip),
        ("prior_step", "graph.data", cut),
        ("text_encoder", "graph.data", remove),
        ("prior_prefix", "note.json", cut),
        ("unet_film", "note.json", remove),
    ];
    let entries = damages.map(|(component, file, _)| scene.entry(component).join(file));
    for ((component, _, damage), path) in damages.iter().zip(&entries) {
        damage(path);
        let states = scene.list();
        let damaged = states.iter().find(|(_, _, entry)| path.starts_with(entry)).unwrap();
        assert_eq!(damaged.1, "damaged", "{component}");
        let (picture, notes) = scene.draw("all");
        assert!(picture == expected, "{component}");
        assert!(notes.contains(&format!("{component} is kept compiled")), "{component}: {notes}");
        scene.all_ready();
    }
}

type Damage = fn(&Path);

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn what_another_library_made_is_stale_and_pruned() {
    let scene = Scene::new();
    scene.draw("all");
    let entry = scene.entry("unet_step");
    let note = entry.join("note.json");
    let text = std::fs::read_to_string(&note).unwrap();
    std::fs::write(&note, text.replace("onnxruntime 1.", "onnxruntime 1.0")).unwrap();
    let stale: Vec<_> = scene.list().into_iter().filter(|(_, state, _)| state == "stale").collect();
    assert_eq!(stale.len(), 1);
    std::fs::create_dir(entry.with_file_name(".making-unet_step-1-abc")).unwrap();
    succeeded(scene.command(&["cache", "prune", "--stale"]).output().unwrap());
    assert!(!entry.exists() && scene.list().len() == 7);
    let (_, notes) = scene.draw("all");
    assert!(notes.contains("unet_step is kept compiled") && !notes.contains("movq"), "{notes}");
    scene.all_ready();
    succeeded(scene.command(&["cache", "prune"]).output().unwrap());
    assert!(scene.list().is_empty() && !scene.path("model/.kandinsky-cache").exists());
}

#[test]
fn a_model_that_cannot_be_written_beside_is_kept_in_the_cache_folder() {
    let scene = Scene::new();
    // A file stands where the folder would: that refuses the superuser as well.
    std::fs::write(scene.path("model/.kandinsky-cache"), "").unwrap();
    let (cold, _) = scene.draw("all");
    scene.all_ready();
    assert!(scene.list().iter().all(|(_, _, path)| path.starts_with(scene.path("user"))));
    assert!(scene.draw("all").0 == cold);
    // Nowhere at all: the graphs are opened as they are, and a note says so.
    succeeded(scene.command(&["cache", "prune"]).output().unwrap());
    std::fs::write(scene.path("user/graphs"), "").unwrap();
    let (picture, notes) = scene.draw("all");
    assert!(picture == cold && notes.contains("is not kept compiled"), "{notes}");
}
