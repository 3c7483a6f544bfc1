//! The page of the docs on settings, `docs/settings.md`.

use super::shape::Shape;
use super::shape::members::Member;
use super::{Flag, SETTINGS, Setting};
use std::fmt::Write;

/// The page.
pub fn page() -> String {
    let mut page = String::from(
        "# Settings of a request\n\nGenerated from `src/request/settings/`. One name serves Rust (the fields and methods \
         of `Request`), JSON (`docs/request.schema.json`) and the keys of the C library; the command line writes `-` for \
         `_`. A value that is refused is refused everywhere with the same sentence, when it is set.\n\n\
         | setting | takes | default | command line | what it is |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let takes = taken(&setting.shape);
        let default = setting.default();
        let default = if default.is_null() { "–".to_owned() } else { format!("`{default}`") };
        let (name, help) = (setting.name, cell(&setting.help()));
        let flag = flag(setting);
        let _ = writeln!(page, "| `{name}` | {takes} | {default} | {flag} | {help} |");
    }
    for setting in SETTINGS.iter().filter(|setting| !setting.shape.members().is_empty()) {
        let _ = write!(
            page,
            "\n## Below `{}`\n\n| path | takes | for | what it is |\n| --- | --- | --- | --- |\n",
            setting.name
        );
        for member in setting.shape.members() {
            let Member { path, shape, about, kinds } = member;
            let (name, takes, kinds) = (setting.name, taken(shape), kinds.join(", "));
            let _ = writeln!(page, "| `{name}.{path}` | {takes} | {kinds} | {} |", cell(about));
        }
    }
    page += "\n## Why the ranges are not wider\n\n| setting | range | reason |\n| --- | --- | --- |\n";
    let members = SETTINGS.iter().flat_map(|setting| {
        setting
            .shape
            .members()
            .iter()
            .map(move |member| (format!("{}.{}", setting.name, member.path), &member.shape))
    });
    let whole = SETTINGS.iter().map(|setting| (setting.name.to_owned(), &setting.shape));
    for (name, shape) in whole.chain(members) {
        if let (Some(range), Some(reason)) = (shape.range(), shape.reason()) {
            let _ = writeln!(page, "| `{name}` | {range} | {reason} |");
        }
    }
    page
}

fn taken(shape: &Shape) -> String {
    match shape.range() {
        Some(range) => format!("{}, {range}", shape.takes()),
        None => shape.takes(),
    }
}

fn flag(setting: &Setting) -> String {
    let name = setting.name.replace('_', "-");
    match setting.flag() {
        Flag::None => "an argument of the command".to_owned(),
        Flag::Switch => format!("`--{name}`"),
        Flag::SwitchTo(word) => format!("`--{word}`"),
        Flag::Value(value) | Flag::Several(value) => format!("`--{name} {value}`"),
    }
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
