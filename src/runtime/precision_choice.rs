//! Settles the precision: the one asked for by name, or the quickest that the machine, the runtimes and the model allow.

use super::entry::{RuntimeEntry, Tier};
use super::precision::Precision;
use super::{AUTO, RUNTIMES, RuntimeOptions};
use crate::error::{Error, Kind, Result};

/// A settled precision, and why it was taken where the caller left the choice.
pub(super) struct Choice {
    pub precision: Precision,
    pub note: Option<String>,
}

/// Settles the precision for the runtime asked for, or for any where the choice is left, and for the model's graphs.
pub(super) fn choose(named: Option<&'static RuntimeEntry>, options: &RuntimeOptions) -> Result<Choice> {
    let choice = match options.precision {
        Precision::F32 => Choice { precision: Precision::F32, note: None },
        Precision::Auto => quickest(named, options),
        asked => Choice { precision: computed(named, asked)?, note: None },
    };
    for_graphs(choice, options)
}

/// f32 in place of bf16 for graphs that are for f32 alone, where the caller left the choice.
fn for_graphs(choice: Choice, options: &RuntimeOptions) -> Result<Choice> {
    let Some(rewrite) = options.f32_only.as_deref().filter(|_| choice.precision == Precision::Bf16) else {
        return Ok(choice);
    };
    if options.precision == Precision::Auto {
        let note = format!("f32: the model was exported with {rewrite}, which is for f32 alone");
        return Ok(Choice { precision: Precision::F32, note: Some(note) });
    }
    let message = format!(
        "the model was exported with {rewrite}, which is for f32 alone, and bf16 was asked for; export it without, or \
         say --precision f32"
    );
    Err(Error::new(Kind::BadModel, message))
}

/// A precision asked for by name, where the runtime computes in it and the machine has what that needs.
fn computed(named: Option<&'static RuntimeEntry>, asked: Precision) -> Result<Precision> {
    let refused = |message: String| Err(Error::new(Kind::NoRuntime, message));
    let mut able = candidates(named).filter(|entry| named.is_some() || entry.automatic.contains(&asked));
    let Some(tier) = able.find_map(|entry| entry.tier(asked)) else {
        let runtime = named.map_or(AUTO, |entry| entry.name);
        let others = RUNTIMES.iter().copied().filter(|entry| entry.tier(asked).is_some());
        let others: Vec<&str> = others.map(|entry| entry.name).collect();
        let verb = if others.len() == 1 { "does" } else { "do" };
        return refused(format!("{runtime} does not compute in {asked}; {} {verb}", others.join(" and ")));
    };
    match (tier.here)() {
        Ok(_) => Ok(asked),
        Err(_) => refused(format!("{asked} needs {}; f32 runs here", tier.needs)),
    }
}

/// The quickest precision of the runtimes that may be to_value, with the reason; f32 where there is no quicker one.
fn quickest(named: Option<&'static RuntimeEntry>, options: &RuntimeOptions) -> Choice {
    let mut reasons = Vec::new();
    for entry in candidates(named) {
        let quicker = entry.precisions.iter().filter(|tier| tier.precision != Precision::F32);
        let considered = |tier: &&Tier| named.is_some() || entry.automatic.contains(&tier.precision);
        for tier in quicker.filter(considered) {
            let here = match (tier.here)() {
                Ok(here) => here,
                Err(lacking) => {
                    reasons.push(lacking);
                    continue;
                }
            };
            let found = (entry.check)(options);
            if found.works {
                let (precision, name) = (tier.precision, entry.name);
                let note = format!("{precision}: {here}, and {name} computes in it");
                return Choice { precision, note: Some(note) };
            }
            reasons.push(format!("{here}, and {}", found.found));
        }
    }
    if reasons.is_empty() {
        let runtime = named.map_or(AUTO, |entry| entry.name);
        reasons.push(format!("{runtime} computes in nothing else"));
    }
    Choice { precision: Precision::F32, note: Some(format!("f32: {}", reasons.join("; "))) }
}

/// The runtime asked for, or all where the choice is left.
fn candidates(named: Option<&'static RuntimeEntry>) -> impl Iterator<Item = &'static RuntimeEntry> {
    RUNTIMES.iter().copied().filter(move |entry| named.is_none_or(|named| named.name == entry.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_a_model_with(rewrite: Option<&str>, asked: Precision, found: Precision) -> Result<Choice> {
        let f32_only = rewrite.map(str::to_owned);
        let options = RuntimeOptions { precision: asked, f32_only, ..Default::default() };
        for_graphs(Choice { precision: found, note: None }, &options)
    }

    #[test]
    fn graphs_for_f32_alone_are_not_computed_in_bf16() {
        let chosen = for_a_model_with(Some("winograd"), Precision::Auto, Precision::Bf16).unwrap();
        assert_eq!(chosen.precision, Precision::F32);
        assert!(chosen.note.unwrap().contains("f32: the model was exported with winograd"));
        let refused = for_a_model_with(Some("winograd"), Precision::Bf16, Precision::Bf16).err().unwrap();
        assert_eq!(refused.kind(), Kind::BadModel);
        assert!(refused.to_string().contains("export it without"), "{refused}");
        for precision in [Precision::F32, Precision::F16] {
            let chosen = for_a_model_with(Some("winograd"), precision, precision).unwrap();
            assert_eq!(chosen.precision, precision);
        }
        let chosen = for_a_model_with(None, Precision::Bf16, Precision::Bf16).unwrap();
        assert_eq!(chosen.precision, Precision::Bf16);
    }
}
