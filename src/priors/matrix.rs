//! Products of matrices with the same bits on every machine: sums run in one fixed order, row by row, with no
//! fused multiply-add. (ndarray's own product chooses its kernel by the processor.)

use ndarray::{Array1, Array2, Axis, LinalgScalar};

/// Rows that are added at once; the sum's order is as if one by one.
const TOGETHER: usize = 4;

/// `a` · `b`: \[m,k\] · \[k,n\] → \[m,n\].
pub fn product<T: LinalgScalar>(a: &Array2<T>, b: &Array2<T>) -> Array2<T> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let (a, b) = (a.as_standard_layout(), b.as_standard_layout());
    let numbers = b.as_slice().unwrap_or_default();
    for (factors, mut sum) in a.rows().into_iter().zip(out.rows_mut()) {
        if let (Some(factors), Some(sum)) = (factors.as_slice(), sum.as_slice_mut()) {
            add_rows(sum, factors, numbers);
        }
    }
    out
}

/// Adds each row of `rows`, as long as `sum`, times its factor.
fn add_rows<T: LinalgScalar>(sum: &mut [T], factors: &[T], rows: &[T]) {
    let width = sum.len();
    if width == 0 {
        return;
    }
    let (fours, others) = factors.as_chunks::<TOGETHER>();
    let mut blocks = rows.chunks_exact(TOGETHER * width);
    for ([f, g, h, i], block) in fours.iter().zip(&mut blocks) {
        let (left, right) = block.split_at(2 * width);
        let ((x, y), (z, w)) = (left.split_at(width), right.split_at(width));
        let numbers = x.iter().zip(y).zip(z).zip(w);
        for (sum, (((x, y), z), w)) in sum.iter_mut().zip(numbers) {
            *sum = *sum + *f * *x + *g * *y + *h * *z + *i * *w;
        }
    }
    for (factor, row) in others.iter().zip(blocks.remainder().chunks_exact(width)) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum = *sum + *factor * *x);
    }
}

/// `a`ᵀ · `b`: \[m,k\]ᵀ · \[m,n\] → \[k,n\].
pub fn transposed_product<T: LinalgScalar>(a: &Array2<T>, b: &Array2<T>) -> Array2<T> {
    product(&a.t().as_standard_layout().into_owned(), b)
}

/// `a` · `b`ᵀ: \[m,k\] · \[n,k\]ᵀ → \[m,n\].
pub fn product_transposed<T: LinalgScalar>(a: &Array2<T>, b: &Array2<T>) -> Array2<T> {
    product(a, &b.t().as_standard_layout().into_owned())
}

/// W of `a` · W = `b` for a symmetric positive `a` f64\[n,n\] and `b` f64\[n,m\], by Cholesky's
/// factorisation; `None` where `a` is not positive.
pub fn solve(a: Array2<f64>, mut b: Array2<f64>) -> Option<Array2<f64>> {
    let upper = cholesky(a)?;
    let pivots = upper.diag().to_owned();
    forward(&upper, &pivots, &mut b);
    backward(&upper, &pivots, &mut b);
    Some(b)
}

/// The upper factor U of `a` = Uᵀ · U.
fn cholesky(mut a: Array2<f64>) -> Option<Array2<f64>> {
    for k in 0..a.nrows() {
        let (mut upper, mut rest) = a.view_mut().split_at(Axis(0), k + 1);
        let mut row = upper.index_axis_mut(Axis(0), k);
        let square = row.get(k).copied().filter(|square| *square > 0.0)?;
        row.mapv_inplace(|x| x / square.sqrt());
        row.iter_mut().take(k).for_each(|below| *below = 0.0);
        for (factor, mut other) in row.iter().skip(k + 1).zip(rest.rows_mut()) {
            other.scaled_add(-*factor, &row);
        }
    }
    Some(a)
}

/// Uᵀ · Y = `b`, in place.
fn forward(upper: &Array2<f64>, pivots: &Array1<f64>, b: &mut Array2<f64>) {
    for (k, (factors, pivot)) in upper.rows().into_iter().zip(pivots).enumerate() {
        let (mut done, mut rest) = b.view_mut().split_at(Axis(0), k + 1);
        let mut row = done.index_axis_mut(Axis(0), k);
        row.mapv_inplace(|x| x / *pivot);
        for (factor, mut other) in factors.iter().skip(k + 1).zip(rest.rows_mut()) {
            other.scaled_add(-*factor, &row);
        }
    }
}

/// U · W = `b`, in place.
fn backward(upper: &Array2<f64>, pivots: &Array1<f64>, b: &mut Array2<f64>) {
    for (k, pivot) in pivots.iter().enumerate().rev() {
        let (mut rest, mut done) = b.view_mut().split_at(Axis(0), k);
        let mut row = done.index_axis_mut(Axis(0), 0);
        row.mapv_inplace(|x| x / *pivot);
        for (factor, mut other) in upper.column(k).iter().zip(rest.rows_mut()) {
            other.scaled_add(-*factor, &row);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::rng::{Normals, TorchCpu};

    fn random(rows: usize, columns: usize) -> Array2<f64> {
        let drawn = TorchCpu::new(1).normal(&[rows, columns]).unwrap();
        drawn.mapv(f64::from).into_dimensionality().unwrap()
    }

    fn worst(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |most, x| x.abs().max(most))
    }

    #[test]
    fn products_are_those_of_ndarray() {
        let (a, b) = (random(7, 5), random(5, 9));
        assert!(worst(&product(&a, &b), &a.dot(&b)) < 1e-12);
        assert!(worst(&transposed_product(&a, &random(7, 3)), &a.t().dot(&random(7, 3))) < 1e-12);
        assert!(worst(&product_transposed(&a, &random(4, 5)), &a.dot(&random(4, 5).t())) < 1e-12);
    }

    #[test]
    fn solutions_solve_and_singular_matrices_are_refused() {
        let x = random(40, 12);
        let a = x.t().dot(&x);
        let b = random(12, 5);
        let w = solve(a.clone(), b.clone()).unwrap();
        assert!(worst(&a.dot(&w), &b) < 1e-9);
        assert!(solve(Array2::zeros((3, 3)), random(3, 2)).is_none());
        assert!(solve(-a, b).is_none());
    }
}
