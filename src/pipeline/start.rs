//! What the latents start from: noise, a picture, or a picture with a hole.

use super::{RunContext, Sides};
use crate::component::unet::UnetVariant;
use crate::component::{Networks, movq};
use crate::error::{Error, Kind, Result};
use crate::image::{Canvas, Mask, Picture, Sides as Margins, View, composite, movq as pixels};
use crate::math::{count, nearest};
use crate::profile::Profile;
use crate::progress::{Observer, Stage};
use crate::request::{Compositing, Frame, Input, ResolvedRequest, Start};
use crate::sampler::{Noise, Sampler};
use crate::schedule::Schedule;
use crate::stage::denoise::Known;
use crate::tensor::{Tensor, repeat};
use kandinsky_models::{Component, Folder};

/// A start, its pictures encoded.
pub struct Begin {
    /// UnetVariant UNet runs.
    pub unet: UnetVariant,
    /// Latents f32\[1,4,h,w\] of the picture that is noised.
    clean: Option<Tensor>,
    /// What a UNet of 9 channels sees of the picture, one row.
    known: Option<Known>,
    /// What the result is joined with.
    join: Option<Join>,
}

/// The input's own pixels, which stay outside the hole.
struct Join {
    picture: Picture,
    mask: Mask,
    feather: usize,
}

/// Encodes what a request starts from.
///
/// # Errors
/// When a picture or a mask cannot be used, the model has no UNet for it, a network fails or the caller cancels.
pub fn begin(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    sides: &Sides,
    observer: &mut Observer<'_>,
) -> Result<Begin> {
    let unet = which(cx.networks.folder(), &resolved.start)?;
    let sees = channels(cx.networks.folder(), unet) > sides.channels;
    let known = sees.then(|| Known::nothing(1, sides.height, sides.width, sides.channels));
    let plain = Begin { unet, clean: None, known, join: None };
    if resolved.start == Start::Noise {
        return Ok(plain);
    }
    cx.timed(Stage::EncodeImages, |cx| {
        let begin = match &resolved.start {
            Start::Noise => plain,
            Start::Edit { picture, .. } => {
                let pixels = pixels::pixels(picture.picture()?, resolved.size, sides.rounded)?;
                Begin { clean: Some(movq::encode(cx.networks, &pixels)?), ..plain }
            }
            Start::Inpaint { picture, mask, invert, seam } => {
                let hole = hole(picture, mask.as_ref(), *invert)?;
                let picture = picture.picture()?.resized(resolved.size)?;
                with_hole(cx.networks, plain, (picture, hole.resized(resolved.size)?), *seam, sides)?
            }
            Start::Outpaint { picture, frame, seam } => {
                let canvas = framed(picture.picture()?, *frame)?;
                with_hole(cx.networks, plain, (canvas.picture, canvas.mask), *seam, sides)?
            }
        };
        observer.step(Stage::EncodeImages, 1, 1)?;
        Ok(begin)
    })
}

/// UnetVariant UNet a start needs.
///
/// # Errors
/// When the model has none that inpaints.
pub fn which(folder: &Folder, start: &Start) -> Result<UnetVariant> {
    if !start.has_hole() {
        return Ok(UnetVariant::Draw);
    }
    let latent = &folder.manifest().latent;
    if folder.has(Component::InpaintStep) {
        Ok(UnetVariant::Inpaint)
    } else if latent.unet_channels > latent.channels {
        Ok(UnetVariant::Draw)
    } else {
        let message = "the model has no UNet that inpaints; export it again with --inpaint";
        Err(Error::new(Kind::BadModel, message))
    }
}

/// Input channels of a UNet.
fn channels(folder: &Folder, unet: UnetVariant) -> usize {
    let latent = &folder.manifest().latent;
    match unet {
        UnetVariant::Draw => latent.unet_channels,
        UnetVariant::Inpaint => 2 * latent.channels + 1,
    }
}

/// What of a picture is repainted.
fn hole(picture: &Input, mask: Option<&Input>, invert: bool) -> Result<Mask> {
    let mask = match mask {
        Some(mask) => Mask::from_picture(mask.picture()?)?,
        None => picture.transparent()?.cloned().ok_or_else(|| {
            let message = format!("{} has no transparent pixels, and no mask was given", picture.name());
            Error::new(Kind::BadImage, message)
        })?,
    };
    let mask = if invert { mask.inverted()? } else { mask };
    mask.check(picture.picture()?)?;
    Ok(mask)
}

fn framed(picture: &Picture, frame: Frame) -> Result<Canvas> {
    match frame {
        Frame::Extend { left, top, right, bottom } => {
            Canvas::extend(picture, Margins { left, top, right, bottom })
        }
        Frame::Window { x, y, size } => Canvas::view(picture, View { x, y, size }),
    }
}

/// A start from a picture, both of the request's size, part of which is repainted.
fn with_hole(
    networks: &mut Networks,
    plain: Begin,
    (picture, mask): (Picture, Mask),
    seam: Compositing,
    sides: &Sides,
) -> Result<Begin> {
    let factor = networks.folder().manifest().latent.factor;
    let known = mask.latents(picture.size(), sides.rounded, factor)?; // (1, 1, h, w)
    let pixels = pixels::pixels(&picture, picture.size(), sides.rounded)?;
    let latents = movq::encode(networks, &pixels)? * &known; // (1, 4, h, w)
    let join = (!seam.decoded).then_some(Join { picture, mask, feather: seam.feather });
    if join.as_ref().is_some_and(|join| sides.output != join.picture.size()) {
        let message = "a picture of the rounded size cannot keep the input's pixels; ask for it as decoded";
        return Err(Error::new(Kind::BadRequest, message));
    }
    Ok(Begin { known: Some(Known { latents, mask: known }), join, ..plain })
}

impl Begin {
    /// The latents f32\[B,4,h,w\] that the sampler starts from.
    ///
    /// # Errors
    /// When the noise cannot be drawn.
    pub fn latents(
        &self,
        resolved: &ResolvedRequest,
        sides: &Sides,
        sampler: &dyn Sampler,
        (pictures, noise): (usize, &mut dyn Noise),
    ) -> Result<Tensor> {
        let drawn = noise.draw(&[pictures, sides.channels, sides.height, sides.width])?;
        match (&self.clean, &resolved.start) {
            (Some(clean), Start::Edit { strength, .. }) => {
                let clean = repeat(clean, pictures)?;
                add_noise(resolved, &clean, &drawn, (*strength, sampler))
            }
            _ => Ok(drawn * sampler.init_sigma()),
        }
    }

    /// What the UNet sees of the picture, a row a picture.
    ///
    /// # Errors
    /// When there are no pictures.
    pub fn known(&self, pictures: usize) -> Result<Option<Known>> {
        let repeated = |known: &Known| {
            Ok(Known { latents: repeat(&known.latents, pictures)?, mask: repeat(&known.mask, pictures)? })
        };
        self.known.as_ref().map(repeated).transpose()
    }

    /// The result with the input's own pixels where it has any.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn joined(&self, drawn: Picture) -> Result<Picture> {
        match &self.join {
            None => Ok(drawn),
            Some(Join { picture, mask, feather }) => composite(picture, &drawn, mask, *feather),
        }
    }
}

/// How many of the decoder's first steps image to image leaves out: it runs the share that the strength says.
///
/// # Errors
/// When that is none.
pub fn skipped(resolved: &ResolvedRequest) -> Result<usize> {
    let Start::Edit { strength, .. } = &resolved.start else { return Ok(0) };
    let run =
        usize::try_from(nearest((count(resolved.steps) * strength).floor())).unwrap_or(0).min(resolved.steps);
    if run == 0 {
        let least = 1.0 / count(resolved.steps);
        let message =
            format!("strength {strength} of {} steps runs none; the least is {least}", resolved.steps);
        return Err(Error::new(Kind::BadRequest, message));
    }
    Ok(resolved.steps - run)
}

/// A picture's latents under noise, both f32\[B,4,h,w\], as the first step that is run expects them.
///
/// For the samplers that the two code bases have, their own ways: both noise by betas that are not training's;
/// diffusers (`KandinskyImg2ImgPipeline`) to two timesteps less than the strength says, the original to the first
/// timestep that is run. Every other sampler noises to where it starts.
fn add_noise(
    resolved: &ResolvedRequest,
    clean: &Tensor,
    noise: &Tensor,
    (strength, sampler): (f64, &dyn Sampler),
) -> Result<Tensor> {
    let schedule = Schedule::image_to_image();
    let timestep = match (resolved.profile, resolved.sampler.as_str()) {
        (Profile::Diffusers, "ddim" | "ddpm") => nearest((count(schedule.len()) * strength).floor()) - 2,
        (Profile::Original, _) => sampler.timesteps().first().map_or(0, |t| nearest(f64::from(*t))),
        (Profile::Diffusers, _) => return sampler.add_noise(clean, noise),
    };
    schedule.add_noise(clean, noise, &[timestep.max(0)])
}
