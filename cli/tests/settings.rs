//! The command line has the verdicts and the sentences that every front end has on a setting's value.

use kandinsky::internal::request::settings::{Flag, SETTINGS, Setting, Shape};
use kandinsky_testing::settings::cases;
use std::process::Command;

/// What the program says of these arguments, and its exit code. There is no model, so nothing is drawn.
fn said(command: &[&str], arguments: &[String]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
    program.current_dir(folder.path()).args(command).args(arguments);
    let output = program.args(["--model", "/no/such/model", "-o", "x.png"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert!(!said.contains("panicked"), "{said}");
    (said, output.status.code())
}

fn generate(arguments: &[String]) -> (String, Option<i32>) {
    said(&["generate", "a"], arguments)
}

fn option(setting: &Setting) -> String {
    format!("--{}", setting.name.replace('_', "-"))
}

/// Settings whose option takes a value.
fn with_value() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| matches!(setting.flag(), Flag::Value(_)))
}

#[test]
fn the_command_line_has_every_front_ends_verdict_and_sentence() {
    let (mut taken, mut refused) = (0, 0);
    for setting in with_value() {
        for case in cases(&setting.shape) {
            let Some(typed) = case.typed else { continue };
            let (said, code) = generate(&[format!("{}={typed}", option(setting))]);
            match setting.shape.check(setting.name, &case.json) {
                // No model is there, or another setting would have to be set as well.
                Ok(()) => {
                    assert!(code == Some(5) || code == Some(2), "{said}");
                    assert!(!said.contains(&format!("kandinsky: {} ", setting.name)), "{typed}: {said}");
                    taken += 1;
                }
                Err(error) => {
                    assert_eq!(said, format!("kandinsky: {error}"), "{} {typed}", setting.name);
                    assert_eq!(code, Some(error.kind().exit_code().into()), "{said}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 60 && refused > 80, "{taken} {refused}");
}

#[test]
fn what_is_given_twice_is_refused() {
    for setting in with_value().filter(|setting| !matches!(setting.shape, Shape::Seeds | Shape::Timesteps)) {
        let typed =
            cases(&setting.shape).into_iter().find(|case| case.passes).and_then(|case| case.typed).unwrap();
        let once = format!("{}={typed}", option(setting));
        let (said, code) = generate(&[once.clone(), once]);
        assert_eq!(said, format!("kandinsky: {} is given twice; give it once", setting.name));
        assert_eq!(code, Some(2));
    }
    let (said, code) = generate(&["--weighted", "--weighted"].map(str::to_owned));
    assert!(code == Some(2) && said.contains("--weighted"), "{said}");
}

#[test]
fn what_is_missing_or_unknown_is_refused() {
    for setting in with_value() {
        let (said, code) = generate(&[option(setting)]);
        assert!(code == Some(2) && said.contains(&option(setting)), "{said}");
        let (said, code) = generate(&[format!("{}q=1", option(setting))]);
        assert!(code == Some(2) && said.contains(&option(setting)), "the nearest is not named: {said}");
    }
}

#[test]
fn what_a_start_holds_is_judged_alike() {
    let start = Setting::find("start").unwrap();
    let places = [
        ("strength", &["edit", "a.png", "a"] as &[&str]),
        ("feather", &["inpaint", "a.png"]),
        ("frame.extend.left", &["outpaint", "a.png"]),
    ];
    for (path, command) in places {
        let member = start.shape.members().iter().find(|member| member.path == path).unwrap();
        for case in cases(&member.shape) {
            let Some(typed) = case.typed else { continue };
            let (said, code) = said(command, &[format!("--{}={typed}", member.name())]);
            match member.shape.check(member.name(), &case.json) {
                Ok(()) => assert_eq!(code, Some(5), "{said}"),
                Err(error) => assert_eq!((said, code), (format!("kandinsky: {error}"), Some(2))),
            }
        }
    }
}

#[test]
fn the_help_has_every_option_with_its_range() {
    let output = Command::new(env!("CARGO_BIN_EXE_kandinsky")).args(["generate", "--help"]).output().unwrap();
    let help: String =
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS.iter().filter(|setting| setting.flag() != Flag::None) {
        assert!(help.contains(&setting.help()), "{}: {}", setting.name, setting.help());
        if let Some(range) = setting.shape.range() {
            assert!(setting.help().contains(&range), "{}", setting.help());
        }
    }
}
