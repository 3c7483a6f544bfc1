//! The UNet, in the three parts of its contract: what depends on the prompt ([`context`]), on the time
//! ([`film`]) and on the picture ([`step`]).
//!
//! One [`plan`] lists its blocks in the order in which they run; each part walks it and draws what
//! concerns it. diffusers: `UNet2DConditionModel` with simple cross-attention blocks.

use crate::Result;
use crate::block::{
    Film, Resample, attention_norm, conv, film_resnet, group_norm, heads, layer_norm, linear, silu,
    spatial_attention, time_embed,
};
use crate::config::Unet;
use crate::graph::{Scope, Value};
use kandinsky_models::manifest::Dtype::F32;

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
    let time = time_embed(&w.at("time_embedding"), &t, c.outermost(), c.time())?; // (T, E)
    let emb = w.add(&w.unsqueeze(&time, &[1])?, &w.unsqueeze(&aug, &[0])?)?; // (T, B, E)
    let emb = w.reshape(&silu(w, &emb)?, &[-1, i64::try_from(c.time()).map_err(|e| w.wrong(e))?])?; // (T·B, E)
    let blocks = block_channels(c);
    let parts: Vec<(String, usize)> =
        blocks.iter().map(|(at, channels)| (format!("{at}.time_emb_proj"), 2 * channels)).collect();
    let total: usize = parts.iter().map(|(_, rows)| rows).sum();
    let weight = w.stacked("weight", &parts, &[c.time()])?;
    let bias = w.stacked("bias", &parts, &[])?;
    let film = w.gemm_transposed(&emb, &weight, &bias)?; // (T·B, C)
    let shape = w.concat(&[&w.side(&t, 0), &w.side(&aug, 0), &w.ints(&[-1])?], 0)?;
    let film = w.reshape_to(&film, &shape, vec![None, None, Some(total)]);
    w.output("film", &film, &format!("steps, batch, {total}"))
}

/// A noisy picture, its rows of [`film`] and the [`context`] to the network's answer.
pub fn step(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let sample = sample(w, c)?;
    let channels: Vec<usize> =
        block_channels(c).into_iter().flat_map(|(_, channels)| [channels; 2]).collect();
    let film = w.input("film", F32, &format!("batch, {}", channels.iter().sum::<usize>()))?;
    let film = w.split(&w.one_pixel(&film)?, w.channel_axis(), &channels)?;
    let mut films = film.chunks_exact(2);
    let heads = block_heads(c);
    let shape = format!("batch, {}, tokens+{IMAGE_TOKENS}, {}", heads.iter().sum::<usize>(), c.head);
    let mut k = w.split(&w.input("k", F32, &shape)?, 1, &heads)?.into_iter(); // (B, heads, 10 + S, head) each
    let mut v = w.split(&w.input("v", F32, &shape)?, 1, &heads)?.into_iter();
    let missing = || w.wrong("more blocks than planned");
    let out = walk(
        w,
        c,
        sample,
        &mut |_, _| match films.next() {
            Some([scale, shift]) => Ok(Film { scale: scale.clone(), shift: shift.clone() }),
            _ => Err(missing()),
        },
        &mut |_, _| Ok([k.next().ok_or_else(missing)?, v.next().ok_or_else(missing)?]),
    )?;
    output(w, c, &out)
}

/// The whole network at once, every block computing its own film and context: what the parts are
/// compared with.
pub fn unsplit(w: &Scope<'_>, c: &Unet) -> Result<()> {
    let sample = sample(w, c)?;
    let t = w.wide().input("t", F32, "batch")?;
    let (tokens, aug) = prompt(w, c)?;
    let time = time_embed(&w.at("time_embedding"), &t, c.outermost(), c.time())?;
    let emb = silu(w, &w.add(&time, &aug)?)?; // (B, E)
    let out = walk(
        w,
        c,
        sample,
        &mut |w, channels| {
            let film = linear(&w.at("time_emb_proj"), &emb, 2 * channels)?;
            let mut film = w.split(&w.one_pixel(&film)?, w.channel_axis(), &[channels; 2])?.into_iter();
            let mut half = || film.next().ok_or_else(|| w.wrong("half a film"));
            Ok(Film { scale: half()?, shift: half()? })
        },
        &mut |w, channels| context_of(w, c, &tokens, channels),
    )?;
    output(w, c, &out)
}

/// Where a block gets something that does not depend on the picture.
type Source<'s, T> = &'s mut dyn FnMut(&Scope<'_>, usize) -> Result<T>;

/// The picture's way through all blocks.
fn walk(
    w: &Scope<'_>,
    c: &Unet,
    sample: Value,
    film: Source<'_, Film>,
    context: Source<'_, [Value; 2]>,
) -> Result<Value> {
    let mut h = conv(&w.at("conv_in"), &sample, c.outermost(), 3)?; // (B, C, H, W)
    let mut kept = Vec::new();
    for stage in plan(c) {
        h = match stage {
            Stage::Res(at, channels, resample) => {
                let w = w.at(at);
                film_resnet(&w, &h, channels, &film(&w, channels)?, (c.groups, resample))?
            }
            Stage::Attend(at, channels) => {
                let w = w.at(at);
                let [k, v] = context(&w, channels)?;
                spatial_attention(&w, &h, c.head, Some([&k, &v]), attention_norm(c.groups))?
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
    }
    let h = silu(w, &group_norm(&w.at("conv_norm_out"), &h, c.groups)?)?;
    conv(&w.at("conv_out"), &h, c.outputs, 3) // (B, 8, H, W)
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
    w.picture(&w.input("sample", F32, &format!("batch, {}, {}", c.inputs, sides(c)))?)
}

fn output(w: &Scope<'_>, c: &Unet, out: &Value) -> Result<()> {
    w.output("out", &w.planes(out)?, &format!("batch, {}, {}", c.outputs, sides(c)))
}

/// Height and width of a latent: multiples of 2 to the number of halvings.
fn sides(c: &Unet) -> String {
    let multiple = 1_u32 << c.channels.len().saturating_sub(1).min(16);
    format!("{multiple}*h, {multiple}*w")
}
