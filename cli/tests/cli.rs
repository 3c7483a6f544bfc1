//! The program as a user runs it: what it says, what it writes, how it refuses.

use kandinsky_testing::EMOJI;
use kandinsky_testing::skips::skipped;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program with a cache of its own and no settings from outside but the library's place.
fn kandinsky(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
    command.current_dir(folder).env_remove("KANDINSKY_MODEL").env("KANDINSKY_CACHE", folder.join("cache"));
    command
}

/// The quickest picture there is: on tract, so that it does not depend on what is installed.
fn quick(folder: &Path, extra: &[&str]) -> Command {
    let mut command = kandinsky(folder);
    command.args(["generate", "red apple", "--model", EMOJI, "--runtime", "tract", "--seed", "7"]);
    command.args(["--steps", "2", "--prior-steps", "2", "--size", "64x64"]).args(extra);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(mut command: Command) -> Output {
    command.output().expect("the program starts")
}

/// Runs it, expects `code`, one line on standard error that holds every one of `words`, and no file.
fn refused(command: Command, code: i32, words: &[&str]) {
    let output = run(command);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(last.len() <= 400, "{last}");
    assert!(!said.contains("panicked"), "{said}");
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().all(|e| e.unwrap().file_name() == "cache")
}

#[test]
fn it_draws_says_what_it_did_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(quick(folder.path(), &["-o", "apple.png"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout) + &text(&output.stderr);
    for word in ["tract", "encode", "prior", "denoise", "decode", "seed     7", "apple.png"] {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    let first = std::fs::read(folder.path().join("apple.png")).unwrap();
    refused(quick(folder.path(), &["-o", "apple.png"]), 11, &["apple.png", "--force"]);
    assert_eq!(std::fs::read(folder.path().join("apple.png")).unwrap(), first);
    let again = run(quick(folder.path(), &["-o", "apple.png", "--force", "--json"]));
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(report["job"]["seed"], 7);
    assert!(report["seconds"]["denoise"].as_f64().unwrap() > 0.0);
    assert_eq!(
        std::fs::read(folder.path().join("apple.png")).unwrap(),
        first,
        "the same request, other bytes"
    );
}

#[test]
fn what_was_computed_can_be_written_and_the_first_step_is_dated() {
    let folder = tempfile::tempdir().unwrap();
    let before = seconds_now();
    let output = run(quick(folder.path(), &["-o", "a.png", "--tensors", "a.safetensors", "--json"]));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let began = report["denoising_began"].as_f64().unwrap();
    let latest = seconds_now() - report["seconds"]["decode"].as_f64().unwrap();
    assert!((before..latest).contains(&began), "{began} is not within {before} and {latest}");
    let bytes = std::fs::read(folder.path().join("a.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("latents"), [1, 4, 8, 8]);
    assert_eq!([shape("image_embeds"), shape("negative_image_embeds")], [[1, 192], [1, 192]]);
    refused(quick(folder.path(), &["-o", "b.png", "--tensors", "a.safetensors"]), 11, &["a.safetensors"]);
}

fn seconds_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn several_pictures_are_numbered_and_each_is_the_one_its_seed_draws_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(quick(folder.path(), &["-o", "a.png", "--count", "2"])).status.success());
    assert!(
        run(quick(folder.path(), &["-o", "b.png", "--seed", "8"])).status.code() == Some(2),
        "seed twice"
    );
    let mut alone = kandinsky(folder.path());
    alone.args([
        "generate",
        "red apple",
        "--model",
        EMOJI,
        "--runtime",
        "tract",
        "--seed",
        "8",
        "-o",
        "b.png",
    ]);
    alone.args(["--steps", "2", "--prior-steps", "2", "--size", "64x64"]);
    assert!(run(alone).status.success());
    let decode = |name: &str| image::open(folder.path().join(name)).unwrap().to_rgb8().into_raw();
    let (second, alone) = (decode("a-2.png"), decode("b.png"));
    let worst = second.iter().zip(&alone).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 1, "{worst}");
}

#[test]
fn numbers_out_of_range_are_refused_by_name_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["--size", "63x64"], "63"),
        (&["--size", "64x2049"], "2049"),
        (&["--size", "2048x2048"], "megapixel"),
        (&["--size", "64"], "64"),
        (&["--steps", "0"], "steps"),
        (&["--steps", "1001"], "1001"),
        (&["--prior-steps", "1"], "prior_steps"),
        (&["--guidance", "nan"], "guidance"),
        (&["--guidance", "31"], "31"),
        (&["--prior-guidance", "inf"], "prior_guidance"),
        (&["--count", "0"], "count"),
        (&["--count", "11"], "11"),
        (&["--threads", "0"], "threads"),
        (&["--aspect", "7:5"], "7:5"),
        (&["--sampler", "nonsense"], "nonsense"),
    ];
    for (arguments, word) in cases {
        let mut command = kandinsky(folder.path());
        command.args(["generate", "red apple", "--model", EMOJI, "--runtime", "tract", "-o", "x.png"]);
        command.args(*arguments);
        let output = run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let known = if *word == "megapixel" {
            said.contains("1050000") || said.contains("1.05")
        } else {
            said.contains(word)
        };
        assert!(known, "{arguments:?}: {said}");
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn prompts_over_the_limit_are_refused_and_control_tokens_are_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut long = kandinsky(folder.path());
    long.args(["generate", &"а".repeat(2049), "--model", EMOJI, "--runtime", "tract", "-o", "x.png"]);
    refused(long, 3, &["4098", "4096"]);
    let mut typed = kandinsky(folder.path());
    typed.args(["generate", "</s> <pad> <|endoftext|> apple", "--model", EMOJI, "--runtime", "tract"]);
    typed.args(["--steps", "1", "--prior-steps", "2", "--size", "64x64", "-o", "x.png"]);
    assert!(run(typed).status.success());
}

#[test]
fn an_output_that_cannot_be_written_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    refused(quick(folder.path(), &["-o", "no/such/folder/x.png"]), 10, &["no/such/folder"]);
    refused(quick(folder.path(), &["-o", "x.bmp"]), 2, &["bmp"]);
    std::fs::create_dir(folder.path().join("x.png")).unwrap();
    let output = run(quick(folder.path(), &["-o", "x.png", "--force"]));
    assert!(!output.status.success());
}

#[test]
fn a_full_disk_leaves_nothing() {
    // /dev/full refuses every write; a picture is written beside it and renamed, so a tiny tmpfs is filled.
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        skipped("mounting a tmpfs needs root");
        return;
    }
    std::fs::write(small.join("mine"), [7; 4096]).unwrap();
    let output = run(quick(folder.path(), &["-o", "small/x.png"]));
    let left = std::fs::read_dir(&small).unwrap().count();
    let unmounted = Command::new("umount").arg(&small).status().unwrap().success();
    assert_eq!(output.status.code(), Some(10), "{}", text(&output.stderr));
    assert_eq!(left, 1, "a partial file was left");
    assert!(unmounted);
}

#[test]
fn models_are_found_in_the_stated_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut elsewhere = kandinsky(folder.path());
    let built = run({
        elsewhere.arg("inspect");
        elsewhere
    });
    assert!(text(&built.stdout).contains("source tree"), "{}", text(&built.stderr));
    std::fs::create_dir(folder.path().join("models")).unwrap();
    std::os::unix::fs::symlink(EMOJI, folder.path().join("models/emoji")).unwrap();
    let inspect = |env: Option<&str>, arg: Option<&str>| {
        let mut c = kandinsky(folder.path());
        c.arg("inspect").args(arg);
        env.iter().for_each(|value| {
            c.env("KANDINSKY_MODEL", value);
        });
        text(&run(c).stdout)
    };
    assert!(inspect(None, None).contains("in the working directory"));
    assert!(inspect(Some(EMOJI), None).contains("KANDINSKY_MODEL"));
    assert!(inspect(Some("/nowhere"), Some(EMOJI)).contains("named"));
    let mut wrong = kandinsky(folder.path());
    wrong.args(["inspect", "."]);
    refused(wrong, 5, &["model.json"]);
}

#[test]
fn inspect_and_doctor_and_completions_answer() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |arguments: &[&str]| {
        let mut c = kandinsky(folder.path());
        c.args(arguments);
        let output = run(c);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let shown = answer(&["inspect", EMOJI]);
    for word in ["unet_step", "text_encoder", "movq_decoder", "parameters", "film", "total"] {
        assert!(shown.contains(word), "{shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&answer(&["inspect", EMOJI, "--json"])).unwrap();
    assert_eq!(json["family"], "kandinsky-2.1");
    assert!(answer(&["samplers"]).contains("dpmpp_2m_karras"));
    let found = answer(&["doctor"]);
    assert!(found.contains("tract") && found.contains("auto       the runtime "), "{found}");
    serde_json::from_str::<serde_json::Value>(&answer(&["doctor", "--json"])).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(answer(&["completions", shell]).contains("generate"));
    }
    assert!(answer(&["--help"]).contains("Exit codes"));
    assert!(answer(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    assert!(answer(&["generate", "--help"]).contains("Reaches both stages"));
}

/// A copy of the bundled model whose files can be changed. (Hard links would change the times of the model's own
/// files, by which the program knows them.)
fn copied_model(folder: &Path) -> PathBuf {
    let copy = folder.join("model");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(EMOJI).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let to = copy.join(path.file_name().unwrap());
            std::fs::copy(&path, &to).unwrap();
        }
    }
    copy
}

/// Changes a file.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_fails_verification_and_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(EMOJI).join("model.json")).unwrap()).unwrap();
    let mut files: Vec<String> = Vec::new();
    for spec in manifest["components"].as_object().unwrap().values() {
        files.push(spec["graph"]["path"].as_str().unwrap().to_owned());
        files.extend(spec["data"]["path"].as_str().map(str::to_owned));
    }
    files.extend(
        manifest["files"].as_object().unwrap().values().map(|f| f["path"].as_str().unwrap().to_owned()),
    );
    let model = copied_model(folder.path());
    for (i, file) in files.iter().enumerate() {
        let path = model.join(file);
        let good = std::fs::read(&path).unwrap();
        let place = (i * 7919 + 13) % good.len();
        rewrite(&path, |bytes| bytes[place] ^= 1 << (i % 8));
        let folder = kandinsky_models::Folder::open(&model).unwrap();
        let found: Vec<_> = folder.entries().into_iter().filter(|e| folder.verify(e).is_err()).collect();
        assert_eq!(found.len(), 1, "{file}");
        assert_eq!(&found[0].path, file);
        rewrite(&path, |bytes| *bytes = good);
    }
    rewrite(&model.join("unet_film.onnx"), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
    let mut verify = kandinsky(folder.path());
    verify.args(["verify", "model", "--runtime", "tract"]);
    let output = run(verify);
    assert_eq!(output.status.code(), Some(6));
    assert!(text(&output.stdout).contains("unet_film.onnx"), "{}", text(&output.stdout));
    let mut draw = kandinsky(folder.path());
    draw.args(["generate", "x", "--model", "model", "--runtime", "tract", "-o", "x.png"]);
    refused(draw, 6, &["unet_film.onnx", "sha-256"]);
    assert!(!folder.path().join("x.png").exists());
}

#[test]
fn the_bundled_model_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = kandinsky(folder.path());
    verify.args(["verify", EMOJI, "--runtime", "tract", "--json"]);
    let output = run(verify);
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn damaged_manifests_and_paths_that_leave_the_folder_are_refused() {
    let cases: &[(&str, &str, i32, &str)] = &[
        ("unet_step.onnx", "../unet_step.onnx", 6, "leaves the model folder"),
        ("unet_step.onnx", "/etc/passwd", 6, "leaves the model folder"),
        ("unet_step.onnx", "other.onnx", 6, "other.onnx"),
        ("\"format\": 1", "\"format\": 2", 6, "format 2"),
        ("kandinsky-2.1\"", "kandinsky-3\"", 6, "kandinsky-3"),
        ("\"family\"", "\"famine\"", 6, "famine"),
    ];
    for (from, to, code, word) in cases {
        let folder = tempfile::tempdir().unwrap();
        let model = copied_model(folder.path());
        rewrite(&model.join("model.json"), |bytes| {
            let changed = String::from_utf8(bytes.clone()).unwrap().replace(from, to);
            assert!(changed.as_bytes() != bytes.as_slice(), "{from} is not in the manifest");
            *bytes = changed.into_bytes();
        });
        let mut draw = kandinsky(folder.path());
        draw.args(["generate", "x", "--model", "model", "--runtime", "tract", "-o", "x.png"]);
        refused(draw, *code, &[word]);
    }
}

#[test]
fn a_graph_that_names_data_elsewhere_is_refused() {
    use prost::Message;
    let folder = tempfile::tempdir().unwrap();
    let model = copied_model(folder.path());
    std::fs::write(folder.path().join("secret"), "do not read me").unwrap();
    for place in ["../secret", "/etc/passwd", "a/../../secret", "other.data"] {
        let path = model.join("unet_film.onnx");
        let good = std::fs::read(&path).unwrap();
        let mut graph = kandinsky_models::onnx::ModelProto::decode(good.as_slice()).unwrap();
        let tensors = &mut graph.graph.as_mut().unwrap().initializer;
        let external = tensors.iter_mut().find(|t| !t.external_data.is_empty()).expect("external data");
        external.external_data[0].value = Some(place.to_owned());
        rewrite(&path, |bytes| *bytes = graph.encode_to_vec());
        let parsed = kandinsky_models::Folder::open(&model).unwrap();
        let mut spec = parsed.graph(kandinsky_models::Component::UnetFilm).unwrap().clone();
        let (sha256, bytes) = kandinsky_models::hash::of_file(&path).unwrap();
        (spec.graph.sha256, spec.graph.bytes) = (sha256, bytes);
        let error = parsed.check_graph(&spec).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
        rewrite(&path, |bytes| *bytes = good);
    }
}

#[test]
fn the_same_request_gives_the_same_bytes_with_any_number_of_threads() {
    for runtime in ["tract", "ort"] {
        let folder = tempfile::tempdir().unwrap();
        let mut pictures = Vec::new();
        for threads in ["1", "2", "4"] {
            let name = format!("{threads}.png");
            let mut c = kandinsky(folder.path());
            c.args(["generate", "лиса", "--model", EMOJI, "--runtime", runtime, "--seed", "3"]);
            c.args(["--steps", "3", "--prior-steps", "2", "--threads", threads, "-o", &name]);
            let output = run(c);
            assert!(output.status.success(), "{runtime}: {}", text(&output.stderr));
            pictures.push(std::fs::read(folder.path().join(name)).unwrap());
        }
        assert!(pictures.iter().all(|p| *p == pictures[0]), "{runtime}: threads change the picture");
    }
}

#[test]
fn an_interrupt_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut c = kandinsky(folder.path());
    c.args([
        "generate",
        "red apple",
        "--model",
        EMOJI,
        "--runtime",
        "tract",
        "--steps",
        "900",
        "-o",
        "x.png",
    ]);
    let mut child =
        c.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(is_empty(folder.path()));
}

#[test]
fn a_read_only_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(locked.join("probe"), "x").is_ok() {
        skipped("root writes to read-only folders; it needs another user");
        return;
    }
    refused(quick(folder.path(), &["-o", "locked/x.png"]), 10, &["locked"]);
}

/// The quickest picture of a command that takes a picture.
fn from_picture(folder: &Path, command: &str, extra: &[&str]) -> Command {
    let mut c = kandinsky(folder);
    c.args([command, "in.png", "--model", EMOJI, "--runtime", "tract", "--seed", "7"]);
    c.args(["--steps", "3", "--prior-steps", "2"]).args(extra);
    c
}

/// A picture and a mask to begin from.
fn furnish(folder: &Path) {
    let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * 4) as u8, (y * 4) as u8, 90]));
    picture.save(folder.join("in.png")).unwrap();
    let mask = image::GrayImage::from_fn(64, 64, |x, _| image::Luma([if x > 40 { 255 } else { 0 }]));
    mask.save(folder.join("mask.png")).unwrap();
}

#[test]
fn every_regime_is_a_command_and_its_picture_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let cases: &[(&str, &[&str], &str)] = &[
        ("vary", &["--size", "64x64"], "variation"),
        ("edit", &["red apple", "--strength", "0.7"], "image to image"),
        ("inpaint", &["--mask", "mask.png"], "inpainting"),
        (
            "inpaint",
            &["red apple", "--mask", "mask.png", "--mix", "@in.png", "--profile", "original"],
            "inpainting",
        ),
        ("outpaint", &["--left", "16"], "outpainting"),
        ("outpaint", &["--window", "64x64+16-8"], "outpainting"),
    ];
    for (i, (command, extra, regime)) in cases.iter().enumerate() {
        let (first, second) = (format!("{i}.png"), format!("{i}-again.png"));
        let mut c = from_picture(folder.path(), command, extra);
        let output = run({
            c.args(["-o", &first, "--json"]);
            c
        });
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["regime"], *regime);
        let mut again = kandinsky(folder.path());
        again.args(["replay", &first, "--model", EMOJI, "--runtime", "tract", "-o", &second, "--json"]);
        let output = run(again);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["same"], true, "{command}: {report}");
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(bytes(&first), bytes(&second), "{command}");
    }
}

#[test]
fn a_replay_wants_the_very_pictures_that_were_read() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let mut c = from_picture(folder.path(), "vary", &["--size", "64x64", "-o", "a.png"]);
    assert!(c.output().unwrap().status.success());
    std::fs::copy(folder.path().join("mask.png"), folder.path().join("in.png")).unwrap();
    let mut again = kandinsky(folder.path());
    again.args(["replay", "a.png", "--model", EMOJI, "--runtime", "tract", "-o", "b.png"]);
    refused(again, 4, &["in.png", "another picture"]);
    let mut plain = kandinsky(folder.path());
    plain.args(["replay", "mask.png", "--model", EMOJI, "-o", "b.png"]);
    refused(plain, 4, &["mask.png", "no request"]);
}

#[test]
fn mixes_read_weights_texts_and_files() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let mix = |parts: &[&str]| {
        let mut c = kandinsky(folder.path());
        c.args(["mix", "--model", EMOJI, "--runtime", "tract", "--seed", "1", "--size", "64x64", "--force"]);
        c.args(["--steps", "1", "--prior-steps", "2", "--json", "-o", "m.png", "--"]).args(parts);
        c
    };
    let output = run(mix(&["0.5=@in.png", "0.7=red apple", "-0.2=rain", "a=b"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let weights: Vec<_> =
        report["job"]["mix"].as_array().unwrap().iter().map(|p| p["weight"].as_f64().unwrap()).collect();
    assert_eq!(weights, [0.5, 0.7, -0.2, 1.0]);
    assert_eq!(report["job"]["mix"][0]["picture"]["path"], "in.png");
    assert_eq!(report["job"]["mix"][3]["text"], "a=b");
    assert_eq!(run(mix(&["1=a", "-1=b"])).status.code(), Some(2));
    assert_eq!(run(mix(&["@missing.png"])).status.code(), Some(10));
    assert_eq!(run(mix(&["1=@"])).status.code(), Some(2));
}

#[test]
fn previews_are_shown_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut c = kandinsky(folder.path());
    c.args(["generate", "red apple", "--model", EMOJI, "--runtime", "tract", "--steps", "60", "-o", "x.png"]);
    let mut child =
        c.args(["--preview-every", "1", "--seed", "1"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let preview = folder.path().join("x.preview.png");
    let mut seen = None;
    while child.try_wait().unwrap().is_none() {
        if let Ok(bytes) = std::fs::read(&preview) {
            seen = Some(bytes);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    let shown = image::load_from_memory(&seen.expect("a preview was there")).unwrap();
    assert_eq!((shown.width(), shown.height()), (128, 128));
    assert!(!preview.exists() && folder.path().join("x.png").exists());
}

#[test]
fn bad_pictures_and_masks_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    std::fs::write(folder.path().join("text.png"), "no picture at all").unwrap();
    let black = image::GrayImage::new(64, 64);
    black.save(folder.path().join("black.png")).unwrap();
    image::GrayImage::new(64, 63).save(folder.path().join("small.png")).unwrap();
    let cases: &[(&str, &[&str], i32, &str)] = &[
        ("inpaint", &["--mask", "black.png"], 4, "repaints nothing"),
        ("inpaint", &["--mask", "text.png"], 4, "text.png"),
        ("inpaint", &["--mask", "nowhere.png"], 10, "nowhere.png"),
        ("inpaint", &[], 4, "transparent"),
        ("outpaint", &[], 2, ""),
        ("outpaint", &["--window", "64x64"], 2, "not a window"),
        ("edit", &["a", "--strength", "0"], 2, "strength"),
        ("vary", &["--sampler", "magic"], 2, "magic"),
        ("vary", &["--prior", "linear"], 2, "linear"),
        ("vary", &["--quality", "90"], 2, "quality"),
    ];
    for (command, extra, code, words) in cases {
        let mut c = from_picture(folder.path(), command, extra);
        c.args(["-o", "x.png"]);
        refused(c, *code, &[words]);
        assert!(!folder.path().join("x.png").exists());
    }
}
