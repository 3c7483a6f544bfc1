//! The options of a picture's settings, made of the table of settings: this file names none of them.

use anyhow::Result;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use kandinsky::internal::request::keys;
use kandinsky::internal::request::settings::{Flag, SETTINGS, Setting, Shape};
use kandinsky::{Error, Kind, Request, Start};
use std::ffi::OsStr;
use std::path::Path;

/// Settings that the command line gives, as they were typed.
#[derive(Clone)]
pub struct SettingsArgs(Vec<(&'static Setting, Vec<String>)>);

impl SettingsArgs {
    /// Sets a request to what was given.
    pub fn apply(&self, request: &mut Request) -> Result<()> {
        self.0.iter().try_for_each(|(setting, texts)| set_to(setting, request, texts))
    }
}

/// Sets the setting of that name to what an argument of a command says.
pub fn set(name: &str, request: &mut Request, texts: &[String]) -> Result<()> {
    let unknown = || Error::new(Kind::Internal, format!("there is no setting {name:?}"));
    set_to(Setting::find(name).ok_or_else(unknown)?, request, texts)
}

/// The start of a kind from `picture`, and what was typed for what it holds.
pub fn start(kind: &str, picture: &Path, typed: &[(&str, &str)]) -> Result<Start> {
    let no_text = || Error::new(Kind::BadRequest, format!("the path {} is not UTF-8", picture.display()));
    let mut json = serde_json::Map::new();
    let first = [("kind", kind), ("picture", picture.to_str().ok_or_else(no_text)?)];
    first
        .iter()
        .chain(typed)
        .try_for_each(|(path, text)| keys::set(&mut json, &format!("start.{path}"), text))?;
    Ok(Request::from_object(&json).map(|request| request.start)?)
}

/// The help of what a start holds, with its range.
pub fn ranged(path: &str, about: &str, details: &str) -> String {
    let (setting, below) = path.split_once('.').unwrap_or((path, ""));
    let members = Setting::find(setting).map(|setting| setting.shape.members()).unwrap_or_default();
    let member = members.iter().find(|member| member.path == below);
    let range = member.and_then(|member| member.shape.range()).unwrap_or_default();
    format!("{about}, {range}: {details}")
}

/// Sets a setting to what was typed for it. Lists may be given bit by bit, everything else once.
fn set_to(setting: &Setting, request: &mut Request, texts: &[String]) -> Result<()> {
    match (texts, setting.flag(), &setting.shape) {
        (_, Flag::Several(_), shape) => {
            let parts = texts.iter().map(|text| {
                let typed = shape.typed(text);
                shape.check(setting.name, &typed).map(|()| typed)
            });
            let parts: Vec<_> = parts.collect::<kandinsky::Result<_>>()?;
            let parts = parts.iter().filter_map(|part| part.as_array()).flatten().cloned();
            // What the command itself takes stands first.
            let first = setting.get(request);
            let all = first.as_array().into_iter().flatten().cloned().chain(parts);
            Ok(setting.set(request, &all.collect())?)
        }
        (_, _, Shape::Seeds | Shape::Timesteps) => Ok(setting.set_typed(request, &texts.join(","))?),
        ([text], ..) => Ok(setting.set_typed(request, text)?),
        _ => {
            Err(Error::new(Kind::BadRequest, format!("{} is given twice; give it once", setting.name)).into())
        }
    }
}

impl clap::Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter_map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut given = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.flag() != Flag::None) {
            if matches.value_source(setting.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let texts = match setting.flag() {
                Flag::Switch => vec!["true".to_owned()],
                Flag::SwitchTo(word) => vec![word.to_owned()],
                _ => matches.get_many::<String>(setting.name).into_iter().flatten().cloned().collect(),
            };
            given.push((setting, texts));
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The option of a setting, where it has one.
fn option(setting: &'static Setting) -> Option<Arg> {
    let arg = Arg::new(setting.name).help(setting.help()).help_heading(setting.heading);
    let long = setting.name.replace('_', "-");
    match setting.flag() {
        Flag::None => None,
        Flag::Switch => Some(arg.long(long).action(ArgAction::SetTrue)),
        Flag::SwitchTo(word) => Some(arg.long(word).action(ArgAction::SetTrue)),
        Flag::Several(value) => Some(arg.long(long).value_name(value).action(ArgAction::Append)),
        Flag::Value(value) => {
            // Once is checked where it is set, so that the sentence is every front end's.
            let arg = arg.long(long).value_name(value).action(ArgAction::Append).value_parser(Text(setting));
            let arg = arg.allow_negative_numbers(matches!(value, "N" | "X"));
            Some(match default(setting) {
                Some(text) => arg.default_value(text),
                None => arg,
            })
        }
    }
}

/// What the help shows as the default, where that is not up to the model.
fn default(setting: &Setting) -> Option<String> {
    match setting.default() {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes any text, and knows the words of a choice for help and completions.
#[derive(Clone)]
struct Text(&'static Setting);

impl TypedValueParser for Text {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> std::result::Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match &self.0.shape {
            Shape::Word(words) if words.listed => {
                Some(Box::new(words.all().into_iter().map(PossibleValue::new)))
            }
            _ => None,
        }
    }
}
