//! Golden pictures: CLIP's preparation, MoVQ's input and masks.

use kandinsky::internal::image::{clip, mask, movq};
use kandinsky::{Mask, Picture, Size, Tensor};
use kandinsky_models::manifest::ClipImage;
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// Compares the preparation of `image` with `out.pil_u8` and `out.pixel_values` of the golden file: bit for
/// bit. (`out.torchvision_u8` is another resampler's and none of ours.)
pub fn check_clip_preprocess(golden: &Path, image: &Path, settings: &ClipImage) {
    let bytes = std::fs::read(golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let name = golden.display();
    let picture = Picture::open(image).unwrap();
    let ours = clip::crop(&picture, settings.size).unwrap();
    let theirs = file.tensor("out.pil_u8").unwrap();
    assert_eq!(theirs.shape(), [3, settings.size, settings.size], "{name}");
    for (channel, plane) in theirs.data().chunks_exact(ours.len()).enumerate() {
        let differ = ours.iter().zip(plane).filter(|(pixel, golden)| pixel[channel] != **golden).count();
        assert_eq!(differ, 0, "{name}: channel {channel} differs in {differ} pixels");
    }
    let ours = clip::prepare(&picture, settings).unwrap();
    let theirs = floats(&file, "out.pixel_values");
    assert_eq!(ours.shape(), [1, 3, settings.size, settings.size], "{name}");
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    assert_eq!((ours.len(), differ), (theirs.len(), 0), "{name}: {differ} values differ");
}

/// Compares `prepare_mask` with the golden file: exactly.
pub fn check_prepare_mask(golden: &Path) {
    let bytes = std::fs::read(golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ours = mask::prepare_mask(&floats(&file, "in.mask")).unwrap();
    assert_eq!(ours, floats(&file, "out.mask"), "{}", golden.display());
}

/// Compares MoVQ's input of `image` at `size` with `x.movq_encode_in` of a pipeline's golden file: exactly.
pub fn check_movq_pixels(golden: &Path, image: &Path, size: Size) {
    let bytes = std::fs::read(golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ours = movq::pixels(&Picture::open(image).unwrap(), size, size).unwrap();
    let theirs = floats(&file, "x.movq_encode_in");
    assert_eq!(ours.shape(), theirs.shape(), "{}", golden.display());
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    assert_eq!(differ, 0, "{}: {differ} values differ", golden.display());
}

/// Compares the mask at latent size with the last channel of the UNet's input, and the encoded picture that
/// it leaves with the channels before: exactly.
pub fn check_known(golden: &Path, mask: &Path, size: Size) {
    let bytes = std::fs::read(golden).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let known = Mask::open(mask).unwrap().latents(size, size, 8).unwrap();
    let sample = floats(&file, "x.unet0.sample");
    let kept = floats(&file, "x.movq_encode_out") * &known;
    for row in sample.outer_iter() {
        let part = |from, to| {
            row.slice_axis(ndarray::Axis(0), ndarray::Slice::from(from..to)).insert_axis(ndarray::Axis(0))
        };
        assert_eq!(part(8, 9), known, "{}", golden.display());
        assert_eq!(part(4, 8), kept, "{}", golden.display());
    }
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Tensor {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    ArrayD::from_shape_vec(IxDyn(view.shape()), values).unwrap()
}
