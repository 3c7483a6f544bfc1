//! The door of the shared bodies that leads through the Rust API.

use kandinsky::internal::metadata;
use kandinsky::{
    Blend, Compositing, Engine, Error, Frame, Generator, Input, Observer, Part, Picture, PreviewKind,
    Previews, PriorKind, Profile, Request, RuntimeOptions, Size, Start, Subject,
};

#[allow(clippy::duplicate_mod, reason = "the bodies are run through each door")]
#[path = "bodies.rs"]
mod bodies;

pub use bodies::BODIES;
use bodies::{Pixels, Watched};

pub struct Door(Engine);

pub struct Asked(Request);

fn input(width: usize, pixels: &[u8]) -> Input {
    let size = Size { width, height: 64 };
    match pixels.len() / (width * 64) {
        3 => Picture::new(size, pixels.as_chunks::<3>().0.to_vec()).unwrap().into(),
        _ => {
            let (picture, hole) = Picture::from_rgba(size, pixels.as_chunks::<4>().0).unwrap();
            Input::pixels(picture, hole)
        }
    }
}

impl Asked {
    pub fn new() -> Self {
        Self(Request::default())
    }

    fn part(&mut self, key: &str) -> Option<(&mut Part, String)> {
        let (index, field) = key.strip_prefix("mix.")?.split_once('.')?;
        let index: usize = index.parse().unwrap();
        if index == self.0.mix.len() {
            self.0.mix.push(Part::text("", 1.0));
        }
        Some((&mut self.0.mix[index], field.to_owned()))
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        if let Some((part, _)) = self.part(key) {
            part.what = Subject::Text(value.to_owned());
            return self;
        }
        let request = self.0;
        Self(match (key, value) {
            ("prompt", text) => request.prompt(text),
            ("negative", text) => request.negative(text),
            ("blend", _) => Request { blend: Blend::Spherical, ..request },
            ("start.kind", "edit") => request.edit("", 1.0),
            ("start.kind", "inpaint") => request.inpaint_transparent(""),
            ("start.kind", "outpaint") => {
                request.outpaint("", Frame::Extend { left: 0, top: 0, right: 0, bottom: 0 })
            }
            ("sampler", name) => request.sampler(name),
            ("prior_sampler", name) => request.prior_sampler(name),
            ("profile", _) => request.profile(Profile::Original),
            ("generator", _) => request.generator(Generator::TorchCuda),
            ("prior", _) => request.prior(PriorKind::None, None),
            ("aspect", name) => Request { aspect: Some(name.to_owned()), ..request },
            other => panic!("{other:?}"),
        })
    }

    pub fn number(mut self, key: &str, value: f64) -> Self {
        if let Some((part, _)) = self.part(key) {
            part.weight = value;
            return self;
        }
        let mut request = self.0;
        match (key, &mut request.start) {
            ("steps", _) => request.steps = Some(value as usize),
            ("prior_steps", _) => request.prior_steps = Some(value as usize),
            ("seed", _) => request.seed = Some(value as u64),
            ("count", _) => request.count = value as usize,
            ("guidance", _) => request.guidance = Some(value),
            ("prior_guidance", _) => request.prior_guidance = Some(value),
            ("start.strength", Start::Edit { strength, .. }) => *strength = value,
            (side, Start::Outpaint { frame: Frame::Extend { left, top, right, bottom }, seam, .. }) => {
                *seam = Compositing::default();
                *match side.rsplit('.').next().unwrap() {
                    "left" => left,
                    "top" => top,
                    "right" => right,
                    _ => bottom,
                } = value as usize;
            }
            other => panic!("{other:?}"),
        }
        Self(request)
    }

    pub fn switch(self, key: &str, on: bool) -> Self {
        Self(if key == "weighted" { self.0.weighted(on) } else { self.0.quantize(on) })
    }

    pub fn size(self, width: usize, height: usize) -> Self {
        Self(self.0.size(width, height))
    }

    pub fn picture(mut self, key: &str, width: usize, pixels: Pixels) -> Self {
        let input = input(width, &pixels);
        if let Some((part, _)) = self.part(key) {
            part.what = Subject::Picture(input);
            return self;
        }
        match (key, &mut self.0.start) {
            ("negative_picture", _) => self.0.negative_picture = Some(input),
            ("start.mask", Start::Inpaint { mask, .. }) => *mask = Some(input),
            (
                _,
                Start::Edit { picture, .. }
                | Start::Inpaint { picture, .. }
                | Start::Outpaint { picture, .. },
            ) => *picture = input,
            other => panic!("{other:?}"),
        }
        self
    }
}

fn said(error: &Error) -> String {
    format!("{} {error}", error.kind().name())
}

impl Door {
    pub fn open(model: &std::path::Path) -> Self {
        let options = RuntimeOptions { runtime: "ort".to_owned(), threads: Some(1), ..Default::default() };
        Self(Engine::open_with(model, &options).unwrap())
    }

    pub fn draw(&self, asked: Asked) -> Result<Vec<Pixels>, String> {
        let outcome = self.0.run_all(&asked.0, &mut Observer::default()).map_err(|e| said(&e))?;
        Ok(outcome.pictures.iter().map(|picture| picture.bytes().to_vec()).collect())
    }

    pub fn replay(&self, asked: Asked, (width, scene): (usize, Pixels)) -> (Pixels, Pixels) {
        let before = self.0.run(asked.0).unwrap();
        let carried = before.metadata().unwrap().exact.clone();
        let request = Request::from_json(&carried).unwrap().with_pictures(&[input(width, &scene)]);
        assert_eq!(metadata::request(before.metadata().unwrap()).unwrap().0, request);
        (before.bytes().to_vec(), self.0.run(request).unwrap().bytes().to_vec())
    }

    pub fn watch(&self, asked: Asked, every: usize) -> Watched {
        let (mut steps, mut previews) = (Vec::new(), Vec::new());
        let mut watch = Observer {
            on_progress: Some(Box::new(|at| {
                steps.push((at.stage.name().to_owned(), at.step as u64, at.total as u64));
            })),
            previews: Some(Previews {
                every,
                kind: PreviewKind::Linear,
                show: Box::new(|preview| previews.push(preview.image.bytes().to_vec())),
            }),
            ..Observer::default()
        };
        let outcome = self.0.run_all(&asked.0, &mut watch).unwrap();
        drop(watch);
        (steps, previews, outcome.pictures.iter().map(|picture| picture.bytes().to_vec()).collect())
    }
}
