//! Where image embeddings come from: the prior, the CLIP image encoder, or a mix of both.

use super::RunContext;
use super::diffusion::Diffusion;
use super::fitted::Fitted;
use super::text_prior::TextPrior;
use super::texts::Texts;
use crate::component::{Networks, image_encoder};
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::image::clip;
use crate::progress::{Observer, Stage};
use crate::request::{Blend, Input, ResolvedRequest, Subject};
use crate::sampler::{self, Choice, Role};
use crate::stage::noise::PictureNoise;
use crate::tensor::{Tensor, repeat};
use std::ops::Range;

/// Image embeddings of pictures f32\[B,D\], and of what they shall not be.
pub struct Embeds {
    /// What they shall be.
    pub positive: Tensor,
    /// What they shall not be.
    pub negative: Tensor,
}

/// Image embeddings f32\[1,D\] of the pictures that a request reads.
pub struct ImageEmbeds {
    mixed: Vec<Tensor>,
    negative: Option<Tensor>,
}

/// Encodes the pictures of a mix and the negative picture.
pub fn encode_images(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    observer: &mut Observer<'_>,
) -> Result<ImageEmbeds> {
    let mixed: Vec<&Input> = resolved.mix.iter().filter_map(|part| part.what.picture()).collect();
    let total = mixed.len() + usize::from(resolved.negative_picture.is_some());
    if total == 0 {
        return Ok(ImageEmbeds { mixed: Vec::new(), negative: None });
    }
    cx.timed(Stage::EncodeImages, |cx| {
        let mut embeds = Vec::with_capacity(total);
        for input in mixed.iter().copied().chain(&resolved.negative_picture) {
            embeds.push(embed(cx.networks, input)?);
            observer.step(Stage::EncodeImages, embeds.len(), total)?;
        }
        let negative = if resolved.negative_picture.is_some() { embeds.pop() } else { None };
        Ok(ImageEmbeds { mixed: embeds, negative })
    })
}

/// The CLIP embedding f32\[1,D\] of a picture.
fn embed(networks: &mut Networks, input: &Input) -> Result<Tensor> {
    let pixels = clip::prepare(input.picture()?, &networks.folder().manifest().clip_image)?;
    image_encoder::encode(networks, &pixels)
}

/// Image embeddings of the pictures of a part.
pub fn of(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    (texts, seen): (&Texts, &ImageEmbeds),
    (part, noise): (&Range<usize>, &mut PictureNoise),
    observer: &mut Observer<'_>,
) -> Result<Embeds> {
    cx.timed(Stage::Prior, |cx| {
        let zero = cx.encoder.zero_image(cx.networks)?;
        let Some(texts) = &texts.prior else {
            return through(&mut Fitted { cx, resolved, observer }, resolved, seen, (part, &zero));
        };
        let mut noise = noise.part(part.start, part.end);
        let manifest = cx.networks.folder().manifest();
        let choice = Choice::new(&resolved.prior_sampler, Role::Prior, resolved.prior_steps);
        let choice = Choice { profile: resolved.profile, ..choice };
        let sampler = sampler::build(&choice, &manifest.schedulers)?;
        let (guidance, sampler, noise) =
            (Guidance::new(resolved.prior_guidance), sampler.as_ref(), &mut noise);
        let mix_has_negative = resolved.negative.as_ref().is_some_and(|text| !text.is_empty());
        let mut prior = Diffusion { cx, texts, sampler, guidance, noise, observer, mix_has_negative };
        through(&mut prior, resolved, seen, (part, &zero))
    })
}

/// The prompts, or the mix, through a prior. What is steered away from is a picture where one was given, else a
/// text, else the picture of zeros.
fn through(
    prior: &mut dyn TextPrior,
    resolved: &ResolvedRequest,
    seen: &ImageEmbeds,
    (part, zero): (&Range<usize>, &Tensor),
) -> Result<Embeds> {
    let (positive, text) = match resolved.mix.is_empty() {
        true => prior.of_prompts(part)?,
        false => {
            let mixed = mixed(prior, resolved, seen, part.len())?;
            let negative = prior.of_mix_negative(&mixed)?;
            (mixed, negative)
        }
    };
    let negative = match (&seen.negative, text) {
        (Some(picture), _) => repeat(picture, part.len())?,
        (None, Some(text)) => text,
        (None, None) => repeat(zero, part.len())?,
    };
    Ok(Embeds { positive, negative })
}

/// The parts of a mix, blended, a row a picture.
fn mixed(
    prior: &mut dyn TextPrior,
    resolved: &ResolvedRequest,
    seen: &ImageEmbeds,
    count: usize,
) -> Result<Tensor> {
    let (mut pictures, mut texts) = (seen.mixed.iter(), 0);
    let mut parts = Vec::with_capacity(resolved.mix.len());
    for part in &resolved.mix {
        let embed = match &part.what {
            Subject::Picture(_) => repeat(pictures.next().ok_or_else(lost)?, count)?,
            Subject::Text(_) => {
                texts += 1;
                prior.of_mixed(texts - 1, count)?
            }
        };
        parts.push((part.weight, embed));
    }
    blend(resolved.blend, &parts)
}

fn lost() -> Error {
    Error::new(Kind::Internal, "a part of the mix has no embedding")
}

/// Weighted embeddings f32\[B,D\] to one.
///
/// # Errors
/// When there are none.
pub fn blend(how: Blend, parts: &[(f64, Tensor)]) -> Result<Tensor> {
    let (first, rest) = parts.split_first().ok_or_else(lost)?;
    let narrow = crate::math::narrow;
    match how {
        Blend::Linear => {
            let sum = |sum: Tensor, (weight, embed): &(f64, Tensor)| sum + embed * narrow(*weight);
            Ok(rest.iter().fold(&first.1 * narrow(first.0), sum))
        }
        // Each next part is reached along the arc from what the parts before it make.
        Blend::Spherical => {
            let (mut weight, mut blended) = (first.0, first.1.clone());
            for (more, embed) in rest {
                weight += more;
                let share = if weight > 0.0 { more / weight } else { 0.0 };
                blended = along_arc(&blended, embed, share)?;
            }
            Ok(blended)
        }
    }
}

/// Each row of `a` turned towards that of `b` by a share of the angle between them, its length likewise between
/// theirs (Shoemake, "Animating rotation with quaternion curves").
fn along_arc(a: &Tensor, b: &Tensor, share: f64) -> Result<Tensor> {
    let mut turned = Vec::with_capacity(a.len());
    for (a, b) in a.rows().into_iter().zip(b.rows()) {
        let dot = |x: &ndarray::ArrayView1<'_, f32>, y: &ndarray::ArrayView1<'_, f32>| -> f64 {
            x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let (long, wide) = (dot(&a, &a).sqrt(), dot(&b, &b).sqrt());
        let cos = if long * wide > 0.0 { (dot(&a, &b) / (long * wide)).clamp(-1.0, 1.0) } else { 1.0 };
        let sin = (1.0 - cos * cos).sqrt();
        let length = long + (wide - long) * share;
        // Nearly the same way, or opposite ways, between which there is no one arc: straight across.
        let (of_a, of_b) = if sin < 1e-4 {
            (1.0 - share, share)
        } else {
            let angle = crate::math::angle(sin, cos);
            let (first, _) = crate::math::sin_cos((1.0 - share) * angle);
            let (second, _) = crate::math::sin_cos(share * angle);
            (length * first / sin / long, length * second / sin / wide)
        };
        let row =
            a.iter().zip(&b).map(|(a, b)| crate::math::narrow(of_a * f64::from(*a) + of_b * f64::from(*b)));
        turned.extend(row);
    }
    crate::tensor::tensor(a.shape(), turned)
}
