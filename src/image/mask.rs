//! Masks of inpainting: 1 keeps a point, 0 draws it anew.

use crate::error::{Error, Kind, Result};
use crate::tensor::Tensor;
use ndarray::{Array2, ArrayView2, Axis, Ix4};

/// Neighbours that a point to be drawn anew takes with it: rows down, columns right. Not the two of the other
/// diagonal; that is the reference's own omission (diffusers `prepare_mask`, and the original repository's).
const NEIGHBOURS: [(isize, isize); 6] = [(-1, 0), (0, -1), (-1, -1), (1, 0), (0, 1), (1, 1)];

/// Grows what is drawn anew by a point, so that the seam lies in new pixels: f32\[B,C,h,w\] to the same
/// shape. A point that is not exactly 1 counts as to be drawn anew and keeps its own value.
///
/// # Errors
/// When the mask has not four axes.
pub fn prepare_mask(mask: &Tensor) -> Result<Tensor> {
    let shape = mask.shape().to_vec();
    let view = mask.view().into_dimensionality::<Ix4>().map_err(|_| {
        Error::new(Kind::BadImage, format!("a mask has the shape {shape:?}; it needs 4 axes"))
    })?;
    let mut grown = mask.clone();
    for (old, mut new) in view.outer_iter().zip(grown.axis_iter_mut(Axis(0))) {
        for (old, mut new) in old.outer_iter().zip(new.axis_iter_mut(Axis(0))) {
            new.assign(&grow(old));
        }
    }
    Ok(grown)
}

fn grow(old: ArrayView2<'_, f32>) -> Array2<f32> {
    Array2::from_shape_fn(old.dim(), |(row, column)| {
        let hit = |(down, right): &(isize, isize)| {
            // The neighbour whose growth reaches this point lies the other way.
            let place = row.checked_add_signed(-down).zip(column.checked_add_signed(-right));
            place.and_then(|at| old.get(at)).is_some_and(|value| *value != 1.0)
        };
        let own = old.get((row, column)).copied().unwrap_or_default();
        if NEIGHBOURS.iter().any(hit) { 0.0 } else { own }
    })
}
