//! The library that C links: its symbols, its header under every compiler and standard, every null and every bad handle
//! of every function, random sequences, the examples, and the installed package.
//!
//! Needs gcc, clang, cmake, pkg-config, valgrind and python3, which `scripts/test.sh` installs; what is missing fails.

use crate::common::c_header;
use crate::common::c_header::{Function, Interface, root};
use kandinsky_testing::model;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The installed package and what is built against it.
struct Installed {
    folder: PathBuf,
    prefix: PathBuf,
}

static INSTALLED: LazyLock<Installed> = LazyLock::new(|| {
    let folder = model::scratch("installed");
    std::fs::create_dir_all(&folder).unwrap();
    let prefix = folder.join("prefix");
    run(Command::new(root().join("scripts/install.sh"))
        .arg(&prefix)
        .env("KANDINSKY_PACKAGES", "--workspace"));
    Installed { folder, prefix }
});

impl Installed {
    fn library(&self) -> PathBuf {
        self.prefix.join("lib/libkandinsky.so")
    }

    /// Compiles a program against the package and gives its path.
    fn program(&self, name: &str, compiler: &str, arguments: &[&str]) -> PathBuf {
        let program = self.folder.join(name);
        let mut command = Command::new(compiler);
        command.args(WARNINGS).args(["-g", "-O1"]).args(arguments).arg("-o").arg(&program);
        run(command.args(self.flags(&["--cflags", "--libs"])).arg("-pthread"));
        program
    }

    fn flags(&self, ask: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"));
        let said = run(command.args(ask).arg("kandinsky"));
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// A command that finds the library, and the model of the tree.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_LIBRARY_PATH", self.prefix.join("lib"))
            .env("KANDINSKY_MODEL", root().join("models/emoji"));
        command
    }
}

/// Runs a command that must succeed, and gives what it printed.
fn run(command: &mut Command) -> String {
    let name = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{name} cannot be run ({e}); scripts/test.sh installs it"));
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{said}\n{told}", output.status);
    said.into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn only_the_names_of_the_header_are_exported() {
    let said = run(Command::new("nm").args(["-D", "--defined-only"]).arg(INSTALLED.library()));
    let exported: BTreeSet<_> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let interface = Interface::read();
    let declared: BTreeSet<_> = interface.functions().map(|function| function.name.as_str()).collect();
    assert_eq!(exported, declared);
    let dynamic = run(Command::new("readelf").arg("-d").arg(INSTALLED.library()));
    assert!(dynamic.contains("soname: [libkandinsky.so.0]"), "{dynamic}");
    // Of the static library, kd_ are the only names that are not Rust's or a crate's own.
    let members = run(Command::new("nm")
        .args(["-g", "--defined-only"])
        .arg(INSTALLED.prefix.join("lib/libkandinsky.a")));
    let ours: BTreeSet<_> = members
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|n| n.starts_with("kd_"))
        .collect();
    assert_eq!(ours, declared);
}

#[test]
fn headers_compile_under_every_standard() {
    let folder = tempfile::tempdir().unwrap();
    let include = format!("-I{}", path(&root().join("capi/include")));
    let compile = |compiler: &str, standard: &str, file: &Path| {
        let mut command = Command::new(compiler);
        command.arg(format!("-std={standard}")).args(WARNINGS).arg(&include).arg("-c").arg(file);
        run(command.arg("-o").arg(folder.path().join("out.o")));
    };
    let alone = folder.path().join("alone.c");
    std::fs::write(&alone, "#include <kandinsky.h>\nint main(void) { return KD_OK; }\n").unwrap();
    // C23 is c2x to compilers of before 2024.
    for compiler in ["gcc", "clang"] {
        for standard in ["c99", "c11", "c17", "c2x"] {
            let files = ["capi/examples/c/draw.c", "capi/examples/c/full.c"].map(|file| root().join(file));
            files.iter().chain([&alone]).for_each(|file| compile(compiler, standard, file));
        }
    }
    let [plus, face] = ["kandinsky.h", "kandinsky.hpp"].map(|header| {
        let file = folder.path().join(format!("{header}.cpp"));
        std::fs::write(&file, format!("#include <{header}>\nint main() {{ return KD_OK; }}\n")).unwrap();
        file
    });
    for compiler in ["g++", "clang++"] {
        for standard in ["c++11", "c++17", "c++20"] {
            compile(compiler, standard, &plus);
        }
        for standard in ["c++17", "c++20"] {
            compile(compiler, standard, &face);
            compile(compiler, standard, &root().join("capi/examples/cpp/full.cpp"));
        }
    }
}

#[test]
fn every_null_and_every_bad_handle_of_every_function_is_a_status() {
    let source = INSTALLED.folder.join("refused.c");
    let (text, calls) = refused(&Interface::read());
    std::fs::write(&source, text).unwrap();
    let program = INSTALLED.program("refused", "gcc", &["-std=c11", "-fsanitize=address", path(&source)]);
    asan_is_in(&program);
    let said = run(INSTALLED.command(&program).arg(&*model::TINY).env("ASAN_OPTIONS", "detect_leaks=0"));
    assert_eq!(said.trim(), format!("{calls} calls"));
    assert!(calls > 300, "{calls}");
}

fn asan_is_in(program: &Path) {
    let names = run(Command::new("nm").arg("-D").arg(program));
    assert!(names.contains("__asan_init"), "{} runs without AddressSanitizer", program.display());
}

/// A program that calls every function with every null pointer, alone and all together, and every bad handle in turn.
fn refused(interface: &Interface) -> (String, usize) {
    let mut text = String::from(
        "#include <kandinsky.h>\n#include <stdio.h>\n#include <stdlib.h>\n\n\
         static kd_engine engine_; static kd_request request_; static kd_picture picture_; static kd_job job_; static kd_error error_;\n\
         static uint64_t stale_;\n\
         static void expect(const char *what, kd_status status, kd_status expected) {\n\
         if (status != expected) { printf(\"%s: %u, not %u\\n\", what, (unsigned)status, (unsigned)expected); exit(1); }\n}\n\n\
         int main(int count, char **arguments) {\n\
         static uint64_t out[8]; static char buffer[256]; static unsigned char bytes[256]; unsigned calls = 0;\n\
         if (count != 2) return 2;\n\
         if (kd_engine_open(KD_TEXT(arguments[1]), NULL, 0, &engine_, &error_) != KD_OK) return 3;\n\
         kd_request_new(&request_, NULL); kd_request_new(&stale_, NULL); kd_request_free(stale_);\n\
         kd_picture_from_pixels(bytes, 12, 2, 2, 3, 6, &picture_, NULL);\n\
         kd_job_new(engine_, request_, &job_, NULL); kd_engine_run(0, 0, out, &error_);\n\
         if (!engine_ || !request_ || !picture_ || !job_ || !error_) return 4;\n",
    );
    let mut calls = 0;
    let mut call = |what: String, function: &Function, arguments: &[String], status: &str| {
        calls += 1;
        let list = arguments.join(", ");
        writeln!(text, "expect(\"{what}\", {}({list}), {status}); calls++;", function.name).unwrap();
    };
    for function in interface.functions() {
        let good: Vec<String> = function.parameters.iter().map(good).collect();
        let places = || function.parameters.iter().enumerate();
        let required: Vec<usize> =
            places().filter(|(_, p)| p.c.ends_with('*') && !p.nullable).map(|(at, _)| at).collect();
        let handles: Vec<usize> = places().filter(|(_, p)| is_handle(&p.c)).map(|(at, _)| at).collect();
        let with = |at: usize, value: &str| {
            let mut arguments = good.clone();
            arguments[at] = value.to_owned();
            arguments
        };
        let name = |at: usize| format!("{} {}", function.name, function.parameters[at].name);
        for at in &required {
            call(format!("{} null", name(*at)), function, &with(*at, "NULL"), "KD_NULL_ARGUMENT");
        }
        if !required.is_empty() {
            // Also with every optional pointer null and every handle bad.
            let mut all = good.clone();
            places().filter(|(_, p)| p.nullable).for_each(|(at, _)| all[at] = "NULL".to_owned());
            required.iter().for_each(|at| all[*at] = "NULL".to_owned());
            handles.iter().for_each(|at| all[*at] = "0".to_owned());
            call(format!("{} all null", function.name), function, &all, "KD_NULL_ARGUMENT");
        }
        for at in &handles {
            let kind = function.parameters[*at].c.trim();
            let own = format!("{}_", kind.trim_start_matches("kd_"));
            let others = ["engine_", "request_", "picture_", "job_", "error_"]
                .into_iter()
                .filter(|other| *other != own);
            let forged = [format!("{own} ^ 1"), format!("{own} ^ ((uint64_t)1 << 40)"), format!("~{own}")];
            let bad =
                ["0", "stale_", "1", "UINT64_MAX"].into_iter().chain(others).map(str::to_owned).chain(forged);
            for bad in bad {
                call(format!("{} {bad}", name(*at)), function, &with(*at, &bad), "KD_INVALID_HANDLE");
            }
        }
    }
    text +=
        "printf(\"%u calls\\n\", calls);\nkd_job_free(job_, NULL), kd_engine_free(engine_);\nreturn 0;\n}\n";
    (text, calls)
}

fn is_handle(c: &str) -> bool {
    ["kd_engine ", "kd_request ", "kd_picture ", "kd_job ", "kd_error "].contains(&c)
}

/// An argument that no call refuses by itself.
fn good(parameter: &c_header::Parameter) -> String {
    let c = parameter.c.as_str();
    match c {
        _ if is_handle(c) => format!("{}_", c.trim().trim_start_matches("kd_")),
        "char *" | "const char *" => "buffer".to_owned(),
        "uint8_t *" | "const uint8_t *" => "bytes".to_owned(),
        "void *" => "NULL".to_owned(),
        _ if c.ends_with("callback ") => "NULL".to_owned(),
        // The answers' places are large enough for any.
        _ if c.ends_with('*') && parameter.name == "error" => "NULL".to_owned(),
        _ if c.ends_with('*') => format!("({c})(void *)out"),
        _ => "0".to_owned(),
    }
}

#[test]
fn random_sequences_are_what_the_model_says() {
    let source = root().join("capi/tests/c/fuzz.c");
    let program = INSTALLED.program("fuzz", "gcc", &["-std=c11", "-fsanitize=address", path(&source)]);
    asan_is_in(&program);
    let sequences = std::env::var("KANDINSKY_C_SEQUENCES").unwrap_or_else(|_| "20000".to_owned());
    let said = run(INSTALLED
        .command(&program)
        .arg(&*model::TINY)
        .args([&sequences, "7"])
        .env("ASAN_OPTIONS", "detect_leaks=0"));
    println!("{said}");
    assert!(said.starts_with(&format!("{sequences} sequences")), "{said}");
}

#[test]
fn the_examples_draw() {
    let installed = &*INSTALLED;
    let here = tempfile::tempdir().unwrap();
    let draw = installed.program("draw", "gcc", &["-std=c99", path(&root().join("capi/examples/c/draw.c"))]);
    assert_eq!(run(installed.command(&draw).current_dir(&here)).trim(), "apple.png is drawn");
    let apple = kandinsky::Picture::open(here.path().join("apple.png")).unwrap();
    assert_eq!(apple.size().to_string(), "128x128");
    // A second time the file exists: the example says so and fails.
    let again = installed.command(&draw).current_dir(&here).output().unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stdout).contains("exists"));
    let emoji = root().join("models/emoji");
    let full =
        installed.program("full", "clang", &["-std=c11", path(&root().join("capi/examples/c/full.c"))]);
    let face =
        installed.program("face", "g++", &["-std=c++17", path(&root().join("capi/examples/cpp/full.cpp"))]);
    for (program, name) in [(full, "c.png"), (face, "cpp.png")] {
        let file = here.path().join(name);
        let output = installed.command(&program).arg(&emoji).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("128x128"), "{said}");
        assert!(output.stderr.is_empty(), "the library prints nothing unasked");
        assert!(file.exists());
    }
    let file = here.path().join("python.png");
    let mut python = installed.command(Path::new("python3"));
    python.arg(root().join("capi/examples/python/draw.py")).arg(installed.library()).arg(&emoji).arg(&file);
    let said = run(&mut python);
    assert!(said.contains("128x128") && said.contains("a request has no key"), "{said}");
    assert!(file.exists());
}

/// The twenty lines; with `KANDINSKY_C_LONG=1` the other examples, too, at more than a minute each.
#[test]
fn the_examples_are_clean_under_valgrind() {
    let installed = &*INSTALLED;
    let here = tempfile::tempdir().unwrap();
    let model = quick_model(installed);
    let arguments = [model.clone(), here.path().join("picture.png")];
    let compile = |name, compiler, standard, file| {
        installed.program(name, compiler, &[standard, path(&root().join("capi/examples").join(file))])
    };
    let mut programs = vec![(compile("draw_v", "gcc", "-std=c99", "c/draw.c"), &[][..])];
    if std::env::var_os("KANDINSKY_C_LONG").is_some() {
        programs.push((compile("full_v", "gcc", "-std=c99", "c/full.c"), &arguments[..]));
        programs.push((compile("face_v", "g++", "-std=c++17", "cpp/full.cpp"), &arguments[..]));
    }
    for (program, arguments) in programs {
        let mut command = installed.command(Path::new("valgrind"));
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite"]);
        command.arg("--errors-for-leak-kinds=definite");
        command.arg(format!("--suppressions={}", path(&root().join("capi/tests/c/valgrind.supp"))));
        // The twenty lines draw with the model that is found.
        command.env("KANDINSKY_MODEL", &model).current_dir(&here).arg(program).args(arguments);
        run(&mut command);
    }
}

/// The tiny model whose own pictures are small and take few steps: Valgrind is fifty times slower.
fn quick_model(installed: &Installed) -> PathBuf {
    let quick = installed.folder.join("quick");
    std::fs::create_dir_all(&quick).unwrap();
    for entry in std::fs::read_dir(&*model::TINY).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&entry, quick.join(entry.file_name().unwrap())).unwrap();
    }
    let manifest = quick.join("model.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    for (name, value) in [("width", 64), ("height", 64), ("steps", 2), ("prior_steps", 2)] {
        assert!(json["defaults"][name].is_u64(), "{name}");
        json["defaults"][name] = value.into();
    }
    std::fs::write(&manifest, json.to_string()).unwrap();
    quick
}

#[test]
fn cmake_finds_the_installed_package() {
    let installed = &*INSTALLED;
    let build = installed.folder.join("cmake");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(root().join("capi/examples/cmake")).arg("-B").arg(&build);
    run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", path(&installed.prefix))));
    run(Command::new("cmake").arg("--build").arg(&build));
    for name in ["full_c", "full_cpp", "full_static"] {
        // CMake has written where the library is into the program.
        let mut command = Command::new(build.join(name));
        run(command.arg(root().join("models/emoji")).arg(build.join(format!("{name}.png"))));
    }
    let [c, fixed] =
        ["full_c", "full_static"].map(|name| std::fs::read(build.join(format!("{name}.png"))).unwrap());
    assert!(c == fixed, "the static library draws the same");
    // A version that is not there is not found.
    let wanted = installed.folder.join("wanted");
    std::fs::create_dir_all(&wanted).unwrap();
    let lists =
        "cmake_minimum_required(VERSION 3.16)\nproject(x NONE)\nfind_package(kandinsky 9.0 REQUIRED)\n";
    std::fs::write(wanted.join("CMakeLists.txt"), lists).unwrap();
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(&wanted).arg("-B").arg(wanted.join("build"));
    let output = configure.arg(format!("-DCMAKE_PREFIX_PATH={}", path(&installed.prefix))).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_package_has_every_file_and_its_version() {
    let installed = &*INSTALLED;
    let lib = installed.prefix.join("lib");
    assert_eq!(std::fs::read_link(lib.join("libkandinsky.so")).unwrap(), Path::new("libkandinsky.so.0"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(lib.join(format!("libkandinsky.so.{version}")).is_file() && lib.join("libkandinsky.a").is_file());
    assert_eq!(installed.flags(&["--modversion"]), [version]);
    for header in ["kandinsky.h", "kandinsky.hpp"] {
        let same = std::fs::read(installed.prefix.join("include").join(header)).unwrap();
        assert!(same == std::fs::read(root().join("capi/include").join(header)).unwrap());
    }
}
