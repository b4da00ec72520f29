//! Neighborhood filters on rows of floating point.

use crate::error::Error;

/// A kernel of side 1, 3 or 5, row by row, divided by its sum if that is positive.
///
/// # Errors
/// 400 for any other number of weights.
pub(super) fn weights(kernel: &[f64]) -> Result<Vec<f32>, Error> {
    if !matches!(kernel.len(), 1 | 9 | 25) {
        return Err(Error::bad_request(format!(
            "a kernel has 1, 9 or 25 numbers, not {}",
            kernel.len()
        )));
    }
    let sum: f64 = kernel.iter().sum();
    let divisor = if sum > 0.0 { sum } else { 1.0 };
    Ok(kernel.iter().map(|w| (w / divisor) as f32).collect())
}

/// Side of a kernel made by [`weights`].
pub(super) fn side(kernel: &[f32]) -> usize {
    match kernel.len() {
        25 => 5,
        9 => 3,
        _ => 1,
    }
}

/// Correlation of `side` rows with the kernel, not mirrored: row `r` of the window is `rows[r]`, and
/// every row has `side / 2` pixels of `bands` samples more than `out` on either end.
pub(super) fn correlate(kernel: &[f32], rows: &[&[f32]], bands: usize, out: &mut [f32]) {
    /// Samples worked on at a time: the sums stay in the first-level cache over all weights.
    const PART: usize = 1024;
    let side = side(kernel);
    for (part, out) in out.chunks_mut(PART).enumerate() {
        out.fill(0.0);
        for (row, weights) in rows.iter().zip(kernel.chunks_exact(side)) {
            // Corners of round kernels are zeros: half of all weights.
            let ends = weights.iter().zip(weights.iter().rev());
            let skipped = ends
                .take_while(|(left, right)| **left == 0.0 && **right == 0.0)
                .count();
            let Some(weights) = weights.get(skipped..side - skipped.min(side)) else {
                continue;
            };
            let row = &row[skipped * bands..];
            match weights {
                &[a, b, c] => {
                    let at = |col: usize| &row[part * PART + col * bands..][..out.len()];
                    let (left, middle, right) = (at(0), at(1), at(2));
                    for (i, o) in out.iter_mut().enumerate() {
                        *o += a * left[i] + b * middle[i] + c * right[i];
                    }
                }
                &[a, b, c, d, e] => {
                    let at = |col: usize| &row[part * PART + col * bands..][..out.len()];
                    let (first, second, third, fourth, fifth) = (at(0), at(1), at(2), at(3), at(4));
                    for (i, o) in out.iter_mut().enumerate() {
                        *o += (a * first[i] + b * second[i]) + (c * third[i] + d * fourth[i]) + e * fifth[i];
                    }
                }
                weights => {
                    for (col, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                        let source = &row[part * PART + col * bands..][..out.len()];
                        for (o, s) in out.iter_mut().zip(source) {
                            *o += weight * s;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_ends_of_rows_change_nothing() {
        // Against the sum of all products; one weight of a row after the other is left.
        let samples: Vec<f32> = (0..5 * 40).map(|i| (i * 37 % 64) as f32).collect();
        let rows: Vec<&[f32]> = samples.chunks_exact(40).collect();
        for used in 0..32u32 {
            let kernel: Vec<f32> = (0..25)
                .map(|i| {
                    if used >> (i % 5) & 1 == 1 {
                        (i + 1) as f32
                    } else {
                        0.0
                    }
                })
                .collect();
            let mut out = vec![0.0; 40 - 4 * 3];
            correlate(&kernel, &rows, 3, &mut out);
            for (i, o) in out.iter().enumerate() {
                let product = |k: usize| kernel[k] * rows[k / 5][i + k % 5 * 3];
                assert_eq!(*o, (0..25).map(product).sum::<f32>(), "{used:05b} at {i}");
            }
        }
    }
}
