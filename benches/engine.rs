//! The engine's own parts, one by one: `cargo bench`, or `cargo bench -- samplers` for some.
//!
//! Whole stages of a picture at any size are measured by `kandinsky bench`; comparisons with diffusers are the scripts
//! beside this file.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use divan::{Bencher, black_box};
use kandinsky::internal::image::clip;
use kandinsky::internal::rng::{Normals, TorchCpu, TorchCuda};
use kandinsky::internal::sampler::{self, Choice, Denoiser, Role, SAMPLERS, Shared, Step};
use kandinsky::{Engine, Picture, Profile, Request, Result, RuntimeOptions, Size, Tensor};
use std::sync::LazyLock;

const EMOJI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/emoji");
const PROMPT: &str = "синее сердце на жёлтом фоне, 3D-рендер";
/// Latents of a 512x512 picture.
const LATENTS: [usize; 4] = [1, 4, 64, 64];

static ENGINE: LazyLock<Engine> = LazyLock::new(|| open("auto"));

fn main() {
    divan::main();
}

fn open(runtime: &str) -> Engine {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..RuntimeOptions::default() };
    Engine::open_with(EMOJI, &options).unwrap()
}

fn photograph(size: Size) -> Picture {
    let byte = |n: usize| u8::try_from(n % 256).unwrap();
    let pixel = |i: usize| [byte(i * 7), byte(i / size.width * 3), byte(i % size.width * 5 + i / 97)];
    Picture::new(size, (0..size.width * size.height).map(pixel).collect()).unwrap()
}

mod text {
    use super::*;

    #[divan::bench]
    fn clip_tokens() {
        black_box(ENGINE.tokenizers().clip(black_box(PROMPT)).unwrap());
    }

    #[divan::bench]
    fn multilingual_tokens() {
        black_box(ENGINE.tokenizers().multilingual(black_box(PROMPT)).unwrap());
    }
}

mod noise {
    use super::*;

    #[divan::bench]
    fn torch_cpu() -> Tensor {
        TorchCpu::new(7).normal(&LATENTS).unwrap()
    }

    #[divan::bench]
    fn torch_cuda() -> Tensor {
        TorchCuda::new(7).normal(&LATENTS).unwrap()
    }
}

mod samplers {
    use super::*;

    /// A network that predicts no noise at no cost, so that the sampler's own work is left.
    struct Free {
        channels: usize,
    }

    impl Denoiser for Free {
        fn predict(&mut self, x: &Tensor, _: &Step) -> Result<Tensor> {
            let mut shape = x.shape().to_vec();
            shape.iter_mut().skip(1).take(1).for_each(|channels| *channels *= self.channels);
            Ok(Tensor::zeros(shape))
        }

        fn done(&mut self, _: &Step, _: &Tensor, _: &Tensor) -> Result<()> {
            Ok(())
        }
    }

    fn names() -> impl Iterator<Item = &'static str> {
        SAMPLERS.iter().filter(|s| s.role == Role::Decoder && s.profile == Profile::Diffusers).map(|s| s.name)
    }

    #[divan::bench(args = names())]
    fn twenty_steps(bencher: Bencher<'_, '_>, name: &str) {
        let settings = &ENGINE.manifest().schedulers;
        let noise = TorchCpu::new(0).normal(&LATENTS).unwrap();
        bencher.bench(|| {
            let sampler = sampler::build(&Choice::new(name, Role::Decoder, 20), settings).unwrap();
            let mut network = Free { channels: if sampler.uses_variance() { 2 } else { 1 } };
            let start = &noise * sampler.init_sigma();
            sampler.sample(&mut network, start, &mut Shared::new(TorchCpu::new(0))).unwrap()
        });
    }
}

mod pictures {
    use super::*;

    const LARGE: Size = Size { width: 1024, height: 768 };

    #[divan::bench]
    fn prepare_for_clip(bencher: Bencher<'_, '_>) {
        let (picture, settings) = (photograph(LARGE), &ENGINE.manifest().clip_image);
        bencher.bench(|| clip::prepare(&picture, settings).unwrap());
    }

    #[divan::bench]
    fn encode_png(bencher: Bencher<'_, '_>) {
        let picture = photograph(LARGE);
        bencher.bench(|| picture.to_png().unwrap());
    }

    #[divan::bench]
    fn decode_png(bencher: Bencher<'_, '_>) {
        let bytes = photograph(LARGE).to_png().unwrap();
        bencher.bench(|| Picture::decode(&bytes).unwrap());
    }
}

mod engine {
    use super::*;

    #[divan::bench(sample_count = 10)]
    fn open_the_bundled_model() -> Engine {
        open("auto")
    }

    /// The least picture there is: two steps of the prior, and so many of the UNet.
    #[divan::bench(args = [1, 2, 16], sample_count = 10)]
    fn draw_in_steps(steps: usize) -> Picture {
        let request = Request::text_to_image(PROMPT).seed(7).prior_steps(2);
        ENGINE.run(request.sampler("ddim").steps(steps)).unwrap()
    }
}
