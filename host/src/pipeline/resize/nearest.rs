//! Nearest neighbor.

use super::sampled::Shape;
use crate::limits::Size;
use crate::pipeline::rows;

/// Source index of output index `i`: `⌊(i + ½)·from/to⌋`, in whole numbers.
fn place(i: u32, from: u32, to: u32) -> usize {
    // Below 2⁶⁵ / 2: (2i + 1) < 2³³ and from < 2³² would overflow together, so 128 bits.
    ((2 * u128::from(i) + 1) * u128::from(from) / (2 * u128::from(to))) as usize
}

/// One source pixel for every output pixel.
pub(super) fn nearest<T: Copy + Default + Send + Sync>(
    source: &[T],
    shape: &Shape,
    size: Size,
    count: usize,
) -> Vec<T> {
    let bands = shape.bands;
    let cols: Vec<usize> = (0..size.width)
        .map(|i| place(i, shape.size.width, size.width))
        .collect();
    let row_len = size.width as usize * bands;
    let mut out = vec![T::default(); count];
    rows::fill(&mut out, row_len, count as u64, |first_row, out| {
        for (row, out) in out.chunks_exact_mut(row_len).enumerate() {
            let y = place((first_row + row) as u32, shape.size.height, size.height);
            let line = &source[y * shape.row_len()..][..shape.row_len()];
            match bands {
                1 => pick::<T, 1>(line, &cols, out),
                3 => pick::<T, 3>(line, &cols, out),
                4 => pick::<T, 4>(line, &cols, out),
                _ => {
                    for (o, col) in out.chunks_exact_mut(bands).zip(&cols) {
                        o.copy_from_slice(&line[col * bands..][..bands]);
                    }
                }
            }
        }
    });
    out
}

fn pick<T: Copy, const B: usize>(line: &[T], cols: &[usize], out: &mut [T]) {
    let pixels = line.as_chunks::<B>().0;
    for (o, col) in out.as_chunks_mut::<B>().0.iter_mut().zip(cols) {
        *o = pixels[*col];
    }
}
