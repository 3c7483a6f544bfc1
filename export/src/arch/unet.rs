//! The UNet, in the three parts of its contract: what depends on the prompt ([`context`]), on the time
//! ([`film`]) and on the picture ([`step`]).
//!
//! One [`plan`] lists its blocks in the order in which they run; each part walks it and draws what
//! concerns it. diffusers: `UNet2DConditionModel` with simple cross-attention blocks.

use crate::Result;
use crate::block::{
    Film, Norm, Resample, conv, film_resnet, group_norm, heads, layer_norm, linear, silu, spatial_attention,
    time_embed,
};
use crate::config::Unet;
use crate::graph::{Scope, Value};
use crate::rewrites::Rewrite;
use kandinsky_models::manifest::Dtype::F32;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Tokens that an image embedding becomes in the context (diffusers' `TextImageProjection`).
const IMAGE_TOKENS: usize = 10;
/// Epsilon of the added embedding's layer normalisation (fixed in the reference).
const EPSILON: f32 = 1e-5;

/// One thing that happens to the picture on its way through.
enum Stage {
    /// A residual block: its place, its channels, and what it does to the size.
    Res(String, usize, Resample),
    /// An attention block: its place and channels.
    Attend(String, usize),
    /// The picture is kept for the way up.
    Keep,
    /// The picture kept last is put beside the one at hand.
    Join,
}

/// The blocks in the order in which they run.
fn plan(c: &Unet) -> Vec<Stage> {
    let mut plan = vec![Stage::Keep];
    for (i, (channels, attention)) in c.channels.iter().zip(&c.attention_down).enumerate() {
        let at = format!("down_blocks.{i}");
        for j in 0..c.layers {
            plan.push(Stage::Res(format!("{at}.resnets.{j}"), *channels, Resample::Keep));
            plan.extend(attention.then(|| Stage::Attend(format!("{at}.attentions.{j}"), *channels)));
            plan.push(Stage::Keep);
        }
        if i + 1 < c.channels.len() {
            plan.push(Stage::Res(format!("{at}.downsamplers.0"), *channels, Resample::Halve));
            plan.push(Stage::Keep);
        }
    }
    plan.push(Stage::Res("mid_block.resnets.0".to_owned(), c.innermost(), Resample::Keep));
    plan.push(Stage::Attend("mid_block.attentions.0".to_owned(), c.innermost()));
    plan.push(Stage::Res("mid_block.resnets.1".to_owned(), c.innermost(), Resample::Keep));
    for (i, (channels, attention)) in c.channels.iter().rev().zip(&c.attention_up).enumerate() {
        let at = format!("up_blocks.{i}");
        for j in 0..=c.layers {
            plan.push(Stage::Join);
            plan.push(Stage::Res(format!("{at}.resnets.{j}"), *channels, Resample::Keep));
            plan.extend(attention.then(|| Stage::Attend(format!("{at}.attentions.{j}"), *channels)));
        }
        if i + 1 < c.channels.len() {
            plan.push(Stage::Res(format!("{at}.upsamplers.0"), *channels, Resample::Double));
        }
    }
    plan
}

/// Heads of every attention block, in order.
fn block_heads(c: &Unet) -> Vec<usize> {
    let heads = |stage| if let Stage::Attend(_, channels) = stage { Some(channels / c.head) } else { None };
    plan(c).into_iter().filter_map(heads).collect()
}

/// Place and channels of every residual block, in order.
fn block_channels(c: &Unet) -> Vec<(String, usize)> {
    let block = |stage| if let Stage::Res(at, channels, _) = stage { Some((at, channels)) } else { None };
    plan(c).into_iter().filter_map(block).collect()
}

/// Text and image to the keys and values of every attention block, and to what is added to the time.
pub fn context(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let (tokens, aug) = prompt(w, c)?;
    let (mut k, mut v) = (Vec::new(), Vec::new());
    for stage in plan(c) {
        if let Stage::Attend(at, channels) = stage {
            let [block_k, block_v] = context_of(&w.at(at), c, &tokens, channels)?;
            k.push(block_k);
            v.push(block_v);
        }
    }
    let shape = format!("batch, {}, tokens+{IMAGE_TOKENS}, {}", block_heads(c).iter().sum::<usize>(), c.head);
    w.output("k", &w.concat(&k.iter().collect::<Vec<_>>(), 1)?, &shape)?;
    w.output("v", &w.concat(&v.iter().collect::<Vec<_>>(), 1)?, &shape)?;
    w.output("aug", &aug, &format!("batch, {}", c.time()))
}

/// Times and what the prompt adds to them, to scale and shift of every residual block.
pub fn film(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let t = w.wide().input("t", F32, "steps")?;
    let aug = w.input("aug", F32, &format!("batch, {}", c.time()))?;
    let time = time_embed(&w.at("time_embedding"), (&t, "steps"), c.outermost(), c.time())?; // (T, E)
    let emb = w.add(&w.unsqueeze(&time, &[1])?, &w.unsqueeze(&aug, &[0])?)?; // (T, B, E)
    let emb = w.reshape(&silu(w, &emb)?, &[-1, i64::try_from(c.time()).map_err(|e| w.wrong(e))?])?; // (T·B, E)
    let [weight, bias] = film_weights(w, c)?;
    let total = block_channels(c).iter().map(|(_, channels)| 2 * channels).sum();
    let film = w.gemm_transposed(&emb, &weight, Some(&bias))?; // (T·B, C)
    let shape = w.concat(&[&w.side(&t, 0), &w.side(&aug, 0), &w.ints(&[-1])?], 0)?;
    let film = w.reshape_to(&film, &shape, vec![None, None, Some(total)]);
    w.output("film", &film, &format!("steps, batch, {total}"))
}

/// What makes scales and shifts, row by row, of an embedding.
fn film_weights(w: &Scope<'_>, c: &Unet) -> Result<[Value; 2]> {
    let blocks = block_channels(c);
    if w.has(Rewrite::FoldFilm) {
        return w.folded_film(&blocks, c.time());
    }
    let part = |(at, channels): &(String, usize)| (format!("{at}.time_emb_proj"), 2 * channels);
    let parts: Vec<(String, usize)> = blocks.iter().map(part).collect();
    Ok([w.stacked("weight", &parts, &[c.time()])?, w.stacked("bias", &parts, &[])?])
}

/// A noisy picture, its rows of [`film`] and the [`context`] to the network's answer, and to what [`shallow`]
/// takes from the deep levels where that is drawn.
pub fn step(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let sample = sample(w, c)?;
    let inputs = Inputs { films: films(w, c)?, contexts: contexts(w, c)? };
    let (out, deep) = walk(w, c, sample, None, &inputs)?;
    output(w, c, &out)?;
    match deep.filter(|_| w.has(Rewrite::DeepCache)) {
        Some((deep, channels)) => w.output("deep", &w.to_nchw(&deep)?, &deep_shape(c, channels)),
        None => Ok(()),
    }
}

/// As [`step`], with what the deep levels gave at an earlier step: the outermost level alone runs.
pub fn shallow(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let sample = sample(w, c)?;
    let (_, channels) =
        deep_stages(&plan(c)).ok_or_else(|| w.wrong("a network of one level has no deep ones"))?;
    let films = films(w, c)?;
    let attends = c.attention_down.first() == Some(&true);
    let contexts = if attends { contexts(w, c)? } else { BTreeMap::new() };
    let deep = w.from_nchw(&w.input("deep", F32, &deep_shape(c, channels))?)?;
    let (out, _) = walk(w, c, sample, Some(&deep), &Inputs { films, contexts })?;
    output(w, c, &out)
}

fn deep_shape(c: &Unet, channels: usize) -> String {
    format!("batch, {channels}, {}", sides(c))
}

/// The input `film`, by block.
fn films(w: &Scope<'_>, c: &Unet) -> Result<BTreeMap<String, Film>> {
    let blocks = block_channels(c);
    let channels: Vec<usize> = blocks.iter().flat_map(|(_, channels)| [*channels; 2]).collect();
    let film = w.input("film", F32, &format!("batch, {}", channels.iter().sum::<usize>()))?;
    let mut parts = w.split(&w.one_pixel(&film)?, w.channel_axis(), &channels)?.into_iter();
    let mut part = || parts.next().ok_or_else(|| w.wrong("more blocks than planned"));
    blocks.into_iter().map(|(at, _)| Ok((at, Film { scale: part()?, shift: part()? }))).collect()
}

/// The inputs `k` and `v` (B, heads, 10 + S, head), by block.
fn contexts(w: &Scope<'_>, c: &Unet) -> Result<BTreeMap<String, [Value; 2]>> {
    let heads = block_heads(c);
    let shape = format!("batch, {}, tokens+{IMAGE_TOKENS}, {}", heads.iter().sum::<usize>(), c.head);
    let k = w.split(&w.input("k", F32, &shape)?, 1, &heads)?;
    let v = w.split(&w.input("v", F32, &shape)?, 1, &heads)?;
    let place = |stage| if let Stage::Attend(at, _) = stage { Some(at) } else { None };
    let pairs = k.into_iter().zip(v).map(|(k, v)| [k, v]);
    Ok(plan(c).into_iter().filter_map(place).zip(pairs).collect())
}

/// The whole network at once, every block computing its own film and context: what the parts are
/// compared with.
pub fn unsplit(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let sample = sample(w, c)?;
    let t = w.wide().input("t", F32, "batch")?;
    let (tokens, aug) = prompt(w, c)?;
    let time = time_embed(&w.at("time_embedding"), (&t, "batch"), c.outermost(), c.time())?;
    let emb = silu(w, &w.add(&time, &aug)?)?; // (B, E)
    let (out, _) = walk(w, c, sample, None, &Computed { c, emb, tokens })?;
    output(w, c, &out)
}

/// Where a block gets what does not depend on the picture.
trait Source {
    /// FiLM of the residual block at `at`, whose scope is `w`.
    fn film(&self, w: &Scope<'_>, at: &str, channels: usize) -> Result<Film>;
    /// Keys and values of the attention block at `at`, whose scope is `w`.
    fn context(&self, w: &Scope<'_>, at: &str, channels: usize) -> Result<[Value; 2]>;
}

/// From the graph's inputs.
struct Inputs {
    films: BTreeMap<String, Film>,
    contexts: BTreeMap<String, [Value; 2]>,
}

impl Source for Inputs {
    fn film(&self, w: &Scope<'_>, at: &str, _: usize) -> Result<Film> {
        self.films.get(at).cloned().ok_or_else(|| w.wrong("a block without a film"))
    }

    fn context(&self, w: &Scope<'_>, at: &str, _: usize) -> Result<[Value; 2]> {
        self.contexts.get(at).cloned().ok_or_else(|| w.wrong("a block without a context"))
    }
}

/// Computed on the spot.
struct Computed<'c> {
    c: &'c Unet,
    emb: Value,
    tokens: Value,
}

impl Source for Computed<'_> {
    fn film(&self, w: &Scope<'_>, _: &str, channels: usize) -> Result<Film> {
        let film = linear(&w.at("time_emb_proj"), &self.emb, 2 * channels)?;
        let mut film = w.split(&w.one_pixel(&film)?, w.channel_axis(), &[channels; 2])?.into_iter();
        let mut half = || film.next().ok_or_else(|| w.wrong("half a film"));
        Ok(Film { scale: half()?, shift: half()? })
    }

    fn context(&self, w: &Scope<'_>, _: &str, channels: usize) -> Result<[Value; 2]> {
        context_of(w, self.c, &self.tokens, channels)
    }
}

/// The stages below the outermost level, from the first halving to the last doubling, and the channels of what
/// they give; none where there is one level.
fn deep_stages(stages: &[Stage]) -> Option<(RangeInclusive<usize>, usize)> {
    let resamples = |stage: &Stage, wanted| matches!(stage, Stage::Res(_, _, found) if *found == wanted);
    let first = stages.iter().position(|stage| resamples(stage, Resample::Halve))?;
    let last = stages.iter().rposition(|stage| resamples(stage, Resample::Double))?;
    match stages.get(last) {
        Some(Stage::Res(_, channels, _)) => Some((first..=last, *channels)),
        _ => None,
    }
}

/// The picture's way through all blocks, or past the deep ones where what they give is `given`; beside the
/// answer, what the deep ones gave, and its channels.
fn walk(
    w: &Scope<'_>,
    c: &Unet,
    sample: Value,
    given: Option<&Value>,
    source: &dyn Source,
) -> Result<(Value, Option<(Value, usize)>)> {
    let w = &w.sides(multiple(c));
    let mut h = conv(&w.at("conv_in"), &sample, c.outermost(), 3)?; // (B, C, H, W)
    let (mut kept, mut sides, mut deep) = (Vec::new(), multiple(c), None);
    let stages = plan(c);
    let below = deep_stages(&stages);
    let is_deep = |i: usize| below.as_ref().is_some_and(|(stages, _)| stages.contains(&i));
    for (i, stage) in stages.into_iter().enumerate() {
        if let Some(given) = given.filter(|_| is_deep(i)) {
            h = given.clone();
            continue;
        }
        h = match stage {
            Stage::Res(at, channels, resample) => {
                let w = w.at(&at).sides(sides);
                sides = resample.sides(sides);
                film_resnet(&w, &h, channels, &source.film(&w, &at, channels)?, (c.groups, resample))?
            }
            Stage::Attend(at, channels) => {
                let w = w.at(&at);
                let [k, v] = source.context(&w, &at, channels)?;
                spatial_attention(&w, &h, c.head, Some([&k, &v]), Norm::Group(c.groups))?
            }
            Stage::Keep => {
                kept.push(h.clone());
                h
            }
            Stage::Join => {
                let before = kept.pop().ok_or_else(|| w.wrong("nothing was kept"))?;
                w.concat(&[&h, &before], w.channel_axis())?
            }
        };
        if let Some((_, channels)) = below.as_ref().filter(|(stages, _)| *stages.end() == i) {
            deep = Some((h.clone(), *channels));
        }
    }
    let h = silu(w, &group_norm(&w.at("conv_norm_out"), &h, c.groups)?)?;
    Ok((conv(&w.at("conv_out"), &h, c.outputs, 3)?, deep)) // (B, 8, H, W)
}

/// The inputs that come from the prompt, to context tokens (B, 10 + S, cross) and added embedding (B, E).
fn prompt(w: &Scope<'_>, c: &Unet) -> Result<(Value, Value)> {
    let text_hidden = w.input("text_hidden", F32, &format!("batch, tokens, {}", c.text))?;
    let text_pooled = w.input("text_pooled", F32, &format!("batch, {}", c.cross))?;
    let image_embed = w.input("image_embed", F32, &format!("batch, {}", c.cross))?;
    let proj = w.at("encoder_hid_proj");
    let image = linear(&proj.at("image_embeds"), &image_embed, IMAGE_TOKENS * c.cross)?; // (B, 10·cross)
    let count = i64::try_from(IMAGE_TOKENS).map_err(|e| w.wrong(e))?;
    let image = w.reshape(&image, &[0, count, -1])?; // (B, 10, cross)
    let text = linear(&proj.at("text_proj"), &text_hidden, c.cross)?; // (B, S, cross)
    let tokens = w.concat(&[&image, &text], 1)?; // (B, 10 + S, cross)
    let add = w.at("add_embedding");
    let text = linear(&add.at("text_proj"), &text_pooled, c.time())?; // (B, E)
    let text = layer_norm(&add.at("text_norm"), &text, EPSILON)?;
    let aug = add.add(&linear(&add.at("image_proj"), &image_embed, c.time())?, &text)?; // (B, E)
    Ok((tokens, aug))
}

/// Keys and values (B, heads, 10 + S, head) of one attention block.
fn context_of(w: &Scope<'_>, c: &Unet, tokens: &Value, channels: usize) -> Result<[Value; 2]> {
    let projected = |name: &str| heads(w, &linear(&w.at(name), tokens, channels)?, channels / c.head);
    Ok([projected("add_k_proj")?, projected("add_v_proj")?])
}

fn sample(w: &Scope<'_>, c: &Unet) -> Result<Value> {
    w.from_nchw(&w.input("sample", F32, &format!("batch, {}, {}", c.inputs, sides(c)))?)
}

fn output(w: &Scope<'_>, c: &Unet, out: &Value) -> Result<()> {
    w.output("out", &w.to_nchw(out)?, &format!("batch, {}, {}", c.outputs, sides(c)))
}

/// Height and width of a latent: multiples of 2 to the number of halvings.
fn sides(c: &Unet) -> String {
    let multiple = multiple(c);
    format!("{multiple}*h, {multiple}*w")
}

/// What sides of a latent are multiples of.
fn multiple(c: &Unet) -> usize {
    1 << c.channels.len().saturating_sub(1).min(16)
}
