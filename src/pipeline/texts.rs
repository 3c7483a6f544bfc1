//! The texts of a request, encoded once each.

use super::RunContext;
use crate::component::prior::Prefix;
use crate::component::text::MultilingualText;
use crate::error::{Error, Kind, Result};
use crate::priors::PriorKind;
use crate::progress::{Observer, Stage};
use crate::request::ResolvedRequest;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the UNet reads of a request's texts, and the diffusion prior where it is the one that runs.
pub struct Texts {
    /// What the diffusion prior reads.
    pub prior: Option<PriorTexts>,
    /// The UNet's view of what it is steered away from, one row.
    pub unet_negative: MultilingualText,
    unet: Vec<MultilingualText>,
    /// Pictures of each prompt.
    count: usize,
}

/// What the diffusion prior reads of a request's texts, a row each.
pub struct PriorTexts {
    /// The mix's texts, in order.
    pub mixed: Vec<Prefix>,
    /// What it is steered away from.
    pub negative: Option<Prefix>,
    /// The text whose embedding a mix is steered away from, where it is from one.
    pub mix_negative: Option<Prefix>,
    /// The empty prompt, where the prior is steered away from no text.
    pub empty: Option<Prefix>,
    /// The prompts; none where a mix stands in for them.
    prompts: Vec<Prefix>,
    /// Pictures of each prompt.
    count: usize,
}

impl Texts {
    /// The UNet's view of the prompts of pictures, a row each.
    pub fn unet(&self, part: &Range<usize>) -> Result<MultilingualText> {
        MultilingualText::concat(&of(part, self.count, &self.unet).cloned().collect::<Vec<_>>())
    }
}

impl PriorTexts {
    /// The prior's view of the prompts of pictures, a row each.
    pub fn prompts(&self, part: &Range<usize>) -> Result<Prefix> {
        let mut rows = of(part, self.count, &self.prompts);
        let first = rows.next().ok_or_else(|| Error::new(Kind::Internal, "no prompt was given"))?.clone();
        rows.try_fold(first, |joined, row| joined.joined(row))
    }
}

/// What belongs to each of some pictures, of what belongs to each prompt.
fn of<'a, T>(part: &Range<usize>, count: usize, prompts: &'a [T]) -> impl Iterator<Item = &'a T> {
    part.clone().filter_map(move |picture| prompts.get(picture.checked_div(count)?))
}

/// Encodes every text of a request.
pub fn encode(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    observer: &mut Observer<'_>,
) -> Result<Texts> {
    cx.timed(Stage::Encode, |cx| {
        let total = 1 + resolved.prompt.len();
        let mut read = Reader { cx, observer, done: 0, total, prefixes: BTreeMap::new() };
        let prior = match resolved.prior {
            PriorKind::Diffusion => Some(prior_texts(&mut read, resolved)?),
            PriorKind::Linear | PriorKind::Residual | PriorKind::None => None,
        };
        Ok(Texts {
            prior,
            unet_negative: read.unet(resolved.decoder_negative())?,
            unet: resolved.prompt.iter().map(|text| read.unet(text)).collect::<Result<_>>()?,
            count: resolved.count,
        })
    })
}

fn prior_texts(read: &mut Reader<'_, '_, '_>, resolved: &ResolvedRequest) -> Result<PriorTexts> {
    let mixed: Vec<&str> = resolved.mix.iter().filter_map(|part| part.what.text()).collect();
    let prompts = if resolved.mix.is_empty() { resolved.prompt.as_slice() } else { &[] };
    let negative = resolved.prior_negative();
    let empty = negative.is_none().then_some("");
    let mix_steered = !resolved.mix.is_empty() && negative.is_some();
    let mix_negative = mix_steered.then(|| resolved.negative.as_deref().unwrap_or(""));
    read.total += prompts.len() + mixed.len() + 1 + usize::from(mix_steered);
    Ok(PriorTexts {
        mixed: mixed.iter().map(|text| read.prior(text)).collect::<Result<_>>()?,
        negative: negative.map(|text| read.prior(text)).transpose()?,
        mix_negative: mix_negative.map(|text| read.prior(text)).transpose()?,
        empty: empty.map(|text| read.prior(text)).transpose()?,
        prompts: prompts.iter().map(|text| read.prior(text)).collect::<Result<_>>()?,
        count: resolved.count,
    })
}

/// Encodes texts and tells how far it is.
struct Reader<'a, 't, 'w> {
    cx: &'a mut RunContext<'t>,
    observer: &'a mut Observer<'w>,
    done: usize,
    total: usize,
    /// What the prior reads of the texts so far: a mix may be steered away from one twice over.
    prefixes: BTreeMap<String, Prefix>,
}

impl Reader<'_, '_, '_> {
    fn prior(&mut self, text: &str) -> Result<Prefix> {
        let prefix = match self.prefixes.get(text) {
            Some(known) => known.clone(),
            None => self.cx.encoder.prior_text(self.cx.networks, &[text])?,
        };
        self.prefixes.insert(text.to_owned(), prefix.clone());
        self.step().map(|()| prefix)
    }

    fn unet(&mut self, text: &str) -> Result<MultilingualText> {
        let states = self.cx.encoder.unet_text(self.cx.networks, &[text])?;
        self.step().map(|()| states)
    }

    fn step(&mut self) -> Result<()> {
        self.done += 1;
        self.observer.step(Stage::Encode, self.done, self.total)
    }
}
