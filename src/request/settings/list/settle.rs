//! Values of settings that were not asked for, each by the setting's name: from the model, or from what else was asked.

use super::Request;
use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::request::{Size, Start, aspect_size};
use crate::sampler::{self, Role};
use kandinsky_models::{KANDINSKY_2_1, Manifest};

/// The prior's own sampler.
const PRIOR_SAMPLER: &str = KANDINSKY_2_1.samplers.prior;
/// The sampler of the profile `original` where none is asked for: the original repository's default.
const ORIGINAL_SAMPLER: &str = KANDINSKY_2_1.samplers.original;

pub fn seed(request: &Request, _: &Manifest) -> Result<u64> {
    Ok(request.seeds.first().copied().or(request.seed).unwrap_or_else(drawn_seed))
}

/// The size asked for, else that of the picture that it starts from, else the model's.
pub fn size(request: &Request, model: &Manifest) -> Result<Size> {
    let own = Size { width: model.defaults.width, height: model.defaults.height };
    if let Start::Outpaint { picture, frame, .. } = &request.start {
        let framed = frame.size(picture.size()?)?;
        return match (request.size.unwrap_or(framed) == framed, &request.aspect) {
            (true, None) => Ok(framed),
            _ => {
                let message = format!("the size of an outpainting is its frame's, here {framed}");
                Err(Error::new(Kind::BadRequest, message))
            }
        };
    }
    match (request.size, &request.aspect, request.start.picture()) {
        (Some(size), _, _) => Ok(size),
        (None, Some(name), _) => {
            aspect_size(name, own.width * own.height, model.latent.factor * model.latent.multiple)
        }
        (None, None, Some(picture)) => picture.size(),
        (None, None, None) => Ok(own),
    }
}

/// None: the size says what it came to.
pub fn aspect(_: &Request, _: &Manifest) -> Result<Option<String>> {
    Ok(None)
}

pub fn sampler(request: &Request, model: &Manifest) -> Result<String> {
    let default = match request.profile {
        Profile::Diffusers => &model.defaults.sampler,
        Profile::Original => ORIGINAL_SAMPLER,
    };
    Ok(request.sampler.as_deref().unwrap_or(default).to_owned())
}

/// The steps asked for; else the model's for its own sampler, and those of the study for others.
pub fn steps(request: &Request, model: &Manifest) -> Result<usize> {
    if !request.timesteps.is_empty() {
        return Ok(request.timesteps.len());
    }
    let sampler = sampler(request, model)?;
    let own = request.profile == Profile::Diffusers && sampler == model.defaults.sampler;
    let studied = || sampler::default_steps(&sampler, Role::Decoder, request.profile);
    Ok(request.steps.or_else(|| if own { None } else { studied() }).unwrap_or(model.defaults.steps))
}

pub fn guidance(request: &Request, model: &Manifest) -> Result<f64> {
    Ok(request.guidance.unwrap_or(model.defaults.guidance))
}

pub fn prior_sampler(request: &Request, _: &Manifest) -> Result<String> {
    Ok(request.prior_sampler.as_deref().unwrap_or(PRIOR_SAMPLER).to_owned())
}

pub fn prior_steps(request: &Request, model: &Manifest) -> Result<usize> {
    let sampler = prior_sampler(request, model)?;
    let own = sampler == PRIOR_SAMPLER;
    let studied = || sampler::default_steps(&sampler, Role::Prior, request.profile);
    let asked = request.prior_steps.or_else(|| if own { None } else { studied() });
    Ok(asked.unwrap_or(model.defaults.prior_steps))
}

pub fn prior_guidance(request: &Request, model: &Manifest) -> Result<f64> {
    Ok(request.prior_guidance.unwrap_or(model.defaults.prior_guidance))
}

/// A seed that people can retype: 32 bits from the process's random hash keys and the clock.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) & 0xffff_ffff
}
