//! Shapes as contracts write them (`batch`, `8*h`, `tokens+10`): solved from inputs, and as ranges for
//! engines that are built ahead.

use crate::error::{Error, Kind, Result};
use kandinsky_models::manifest::Port;
use kandinsky_models::{Component, GraphSpec, KANDINSKY_2_1};
use std::collections::BTreeMap;

/// Most rows of a call to a graph: four guided pictures.
const ROWS: usize = 8;
/// Tokens of the longest prompt.
const TOKENS: usize = KANDINSKY_2_1.prompt_tokens;
/// Steps of the longest run.
const STEPS: usize = 1000;

/// A side: `times`·symbol + `plus`, or a number alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side<'a> {
    Number(usize),
    Symbol { name: &'a str, times: usize, plus: usize },
}

impl<'a> Side<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let bad = || Error::new(Kind::BadModel, format!("the side {text:?} of a contract is not understood"));
        let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
        let symbol = |name: &'a str, times, plus| {
            let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            if word { Ok(Self::Symbol { name, times, plus }) } else { Err(bad()) }
        };
        match (text.split_once('*'), text.split_once('+')) {
            (Some((times, name)), None) => symbol(name, number(times)?, 0),
            (None, Some((name, plus))) => symbol(name, 1, number(plus)?),
            (None, None) if text.starts_with(|c: char| c.is_ascii_digit()) => Ok(Self::Number(number(text)?)),
            (None, None) => symbol(text, 1, 0),
            (Some(_), Some(_)) => Err(bad()),
        }
    }
}

/// What symbols stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols(BTreeMap<String, usize>);

impl Symbols {
    /// What the symbols of `ports` stand for when those have the sides `shapes`.
    ///
    /// # Errors
    /// When two sides contradict each other.
    pub fn solve<'a>(pairs: impl IntoIterator<Item = (&'a Port, &'a [usize])>) -> Result<Self> {
        let mut found = Self::default();
        for (port, shape) in pairs {
            let sides = port.shape.iter().zip(shape);
            sides.into_iter().try_for_each(|(side, size)| found.learn(port, side, *size))?;
        }
        Ok(found)
    }

    fn learn(&mut self, port: &Port, side: &str, size: usize) -> Result<()> {
        let wrong = || {
            let message = format!("the side {side} of {} cannot be {size}", port.name);
            Error::new(Kind::Internal, message)
        };
        match Side::read(side)? {
            Side::Number(number) if number != size => Err(wrong()),
            Side::Number(_) => Ok(()),
            Side::Symbol { name, times, plus } => {
                let rest = size.checked_sub(plus).filter(|rest| rest.is_multiple_of(times.max(1)));
                let value = rest.ok_or_else(wrong)? / times.max(1);
                match self.0.insert(name.to_owned(), value) {
                    Some(before) if before != value => Err(wrong()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// A port's sides.
    ///
    /// # Errors
    /// When a symbol is not known.
    pub fn shape(&self, port: &Port) -> Result<Vec<usize>> {
        port.shape.iter().map(|side| self.side(side)).collect()
    }

    fn side(&self, side: &str) -> Result<usize> {
        match Side::read(side)? {
            Side::Number(number) => Ok(number),
            Side::Symbol { name, times, plus } => {
                let value = self.0.get(name).copied();
                let unknown = || Error::new(Kind::Internal, format!("no input tells what {name} is"));
                Ok(value.ok_or_else(unknown)?.saturating_mul(times).saturating_add(plus))
            }
        }
    }
}

/// What requests may ask: pictures of these sizes, up to so many rows, tokens and steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shapes {
    /// Heights and widths of latents; engines are fastest at the first.
    sizes: Vec<[usize; 2]>,
}

impl Shapes {
    /// For latents of these heights and widths, the one to be fastest at first.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(sizes: Vec<[usize; 2]>) -> Result<Self> {
        if sizes.is_empty() {
            return Err(Error::new(Kind::Internal, "a profile of no sizes"));
        }
        Ok(Self { sizes })
    }

    /// The smallest, the best and the largest value of every symbol of a graph.
    fn ranges(&self, component: Component, spec: &GraphSpec) -> [Symbols; 3] {
        let unet = component.name().starts_with("unet") || component.name().starts_with("inpaint");
        // The UNet's contract counts latents in multiples; MoVQ's counts them one by one.
        let multiple = if unet { multiple(spec) } else { 1 };
        let side = |axis: usize| {
            let sides = || self.sizes.iter().filter_map(|size| size.get(axis)).map(|side| side / multiple);
            [sides().min(), sides().next(), sides().max()].map(Option::unwrap_or_default)
        };
        let prompt = if unet { TOKENS } else { 16 };
        let all = [
            ("batch", [1, 2, ROWS]),
            ("tokens", [1, prompt, TOKENS]),
            ("steps", [1, 50, STEPS]),
            ("h", side(0)),
            ("w", side(1)),
        ];
        let at = |which: fn(&[usize; 3]) -> usize| {
            Symbols(all.iter().map(|(name, range)| ((*name).to_owned(), which(range))).collect())
        };
        [at(|[min, _, _]| *min), at(|[_, opt, _]| *opt), at(|[_, _, max]| *max)]
    }

    /// Smallest, best and largest shapes of a graph's inputs, each as `name:1x4x64x64,name:…`.
    ///
    /// # Errors
    /// When the contract is not understood.
    pub fn profile(&self, component: Component, spec: &GraphSpec) -> Result<[String; 3]> {
        let [min, opt, max] = self.ranges(component, spec);
        Ok([written(&min, spec)?, written(&opt, spec)?, written(&max, spec)?])
    }

    /// Whether an input of a graph lies within its range.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] with the ranges.
    pub fn check(&self, component: Component, spec: &GraphSpec, name: &str, shape: &[usize]) -> Result<()> {
        let Some(port) = spec.inputs.iter().find(|port| port.name == name) else { return Ok(()) };
        let [min, _, max] = self.ranges(component, spec);
        let (min, max) = (min.shape(port)?, max.shape(port)?);
        let within =
            shape.iter().zip(min.iter().zip(&max)).all(|(side, (min, max))| (min..=max).contains(&side));
        if within {
            return Ok(());
        }
        let sizes: Vec<String> = self.sizes.iter().map(|[h, w]| format!("{w}x{h}")).collect();
        let message = format!(
            "{component} was prepared for {name} of {} to {}, and {} was asked for; latents of {} and up to {ROWS} \
             rows are within",
            crossed(&min),
            crossed(&max),
            crossed(shape),
            sizes.join(", ")
        );
        Err(Error::new(Kind::BadRequest, message))
    }
}

/// In how many pixels a UNet's contract counts the sides of latents.
fn multiple(spec: &GraphSpec) -> usize {
    let sides = spec.inputs.iter().flat_map(|port| &port.shape);
    let times = sides.filter_map(|side| match Side::read(side) {
        Ok(Side::Symbol { name: "h", times, .. }) => Some(times),
        _ => None,
    });
    times.max().unwrap_or(1).max(1)
}

fn written(symbols: &Symbols, spec: &GraphSpec) -> Result<String> {
    let one = |port: &Port| Ok(format!("{}:{}", port.name, crossed(&symbols.shape(port)?)));
    Ok(spec.inputs.iter().map(one).collect::<Result<Vec<_>>>()?.join(","))
}

fn crossed(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use kandinsky_models::FileEntry;
    use kandinsky_models::manifest::Dtype;

    fn port(name: &str, shape: &str) -> Port {
        let shape = shape.split(',').map(|side| side.trim().to_owned()).collect();
        Port { name: name.to_owned(), dtype: Dtype::F32, shape }
    }

    fn spec(inputs: &[(&str, &str)]) -> GraphSpec {
        let graph = FileEntry { path: String::new(), bytes: 0, sha256: String::new() };
        let inputs = inputs.iter().map(|(name, shape)| port(name, shape)).collect();
        GraphSpec { graph, data: None, parameters: 0, inputs, outputs: vec![] }
    }

    #[test]
    fn symbols_are_solved_and_put_back() {
        let (a, b) = (port("a", "batch, 4, 8*h, 8*w"), port("k", "batch, tokens+10, 64"));
        let symbols = Symbols::solve([(&a, &[2, 4, 64, 96][..]), (&b, &[2, 87, 64][..])]).unwrap();
        assert_eq!(symbols.shape(&port("out", "batch, 8, 8*h, 8*w")).unwrap(), [2, 8, 64, 96]);
        assert_eq!(symbols.shape(&port("out", "tokens, h, w")).unwrap(), [77, 8, 12]);
        assert!(symbols.shape(&port("out", "steps")).is_err());
        for wrong in [[2, 5, 64, 96], [2, 4, 65, 96]] {
            assert!(Symbols::solve([(&a, &wrong[..])]).is_err());
        }
        assert!(Symbols::solve([(&a, &[2, 4, 64, 96][..]), (&b, &[3, 87, 64][..])]).is_err());
        assert!(Symbols::solve([(&b, &[2, 9, 64][..])]).is_err());
        for text in ["", "8*", "*h", "8*h+1", "h*w", "tokens+x", "8h"] {
            assert!(Side::read(text).is_err(), "{text}");
        }
    }

    /// 512x512, 640x416, 416x640, 384x688 and 688x384 pixels at 8 a latent.
    fn shapes() -> Shapes {
        Shapes::new(vec![[64, 64], [52, 80], [80, 52], [48, 86], [86, 48]]).unwrap()
    }

    #[test]
    fn profiles_cover_every_input_of_every_graph() {
        let step = spec(&[
            ("sample", "batch, 4, 2*h, 2*w"),
            ("film", "batch, 100"),
            ("k", "batch, 6, tokens+10, 64"),
        ]);
        let [min, opt, max] = shapes().profile(Component::UnetStep, &step).unwrap();
        assert_eq!(min, "sample:1x4x48x48,film:1x100,k:1x6x11x64");
        assert_eq!(opt, "sample:2x4x64x64,film:2x100,k:2x6x87x64");
        assert_eq!(max, "sample:8x4x86x86,film:8x100,k:8x6x87x64");
        let decoder = spec(&[("latents", "batch, 4, h, w")]);
        let [min, opt, max] = shapes().profile(Component::MovqDecoder, &decoder).unwrap();
        assert_eq!(
            [min.as_str(), &opt, &max],
            ["latents:1x4x48x48", "latents:2x4x64x64", "latents:8x4x86x86"]
        );
        let encoder = spec(&[("pixels", "batch, 3, 8*h, 8*w")]);
        let [_, opt, _] = shapes().profile(Component::MovqEncoder, &encoder).unwrap();
        assert_eq!(opt, "pixels:2x3x512x512");
        let film = spec(&[("t", "steps"), ("aug", "batch, 1536")]);
        let [min, opt, max] = shapes().profile(Component::UnetFilm, &film).unwrap();
        assert_eq!([min.as_str(), &opt, &max], ["t:1,aug:1x1536", "t:50,aug:2x1536", "t:1000,aug:8x1536"]);
        let text = spec(&[("ids", "batch, tokens")]);
        let [min, opt, max] = shapes().profile(Component::TextEncoder, &text).unwrap();
        assert_eq!([min.as_str(), &opt, &max], ["ids:1x1", "ids:2x16", "ids:8x77"]);
        assert!(shapes().profile(Component::UnetStep, &spec(&[("x", "what*h")])).is_err());
        assert!(Shapes::new(vec![]).is_err());
    }

    #[test]
    fn what_has_no_profile_is_refused_with_the_list() {
        let step = spec(&[("sample", "batch, 4, 2*h, 2*w")]);
        let check = |shape: &[usize]| shapes().check(Component::UnetStep, &step, "sample", shape);
        for good in [[1, 4, 64, 64], [8, 4, 48, 86], [2, 4, 86, 48], [2, 4, 60, 60]] {
            check(&good).unwrap();
        }
        for bad in [[9, 4, 64, 64], [2, 4, 46, 64], [2, 4, 64, 88]] {
            let error = check(&bad).unwrap_err();
            assert_eq!(error.kind(), Kind::BadRequest);
            assert!(error.to_string().contains("1x4x48x48 to 8x4x86x86"), "{error}");
            assert!(error.to_string().contains("64x64, 80x52, 52x80, 86x48, 48x86"), "{error}");
        }
    }
}
