//! Rows shared out to the threads of the render pool.

use rayon::prelude::*;

/// Work below this many samples is done where it is: sharing it out costs more than it gains, and many
/// tiles are rendered side by side anyway.
const SHARED: u64 = 1 << 20;

/// Fills `out` row by row: `fill` gets the number of the first row and the rows from there on.
/// `samples` is the number of samples touched, source or result, whatever is more.
pub(super) fn fill<T: Send>(
    out: &mut [T],
    row_len: usize,
    samples: u64,
    fill: impl Fn(usize, &mut [T]) + Sync,
) {
    let rows = out.len() / row_len.max(1);
    let threads = rayon::current_num_threads();
    if samples < SHARED || threads < 2 || rows < 2 {
        fill(0, out);
        return;
    }
    // Four parts a thread even out parts of unequal cost; each part reads a few rows of its neighbor.
    let part = rows.div_ceil(4 * threads).max(8);
    out.par_chunks_mut(part * row_len)
        .enumerate()
        .for_each(|(i, rows)| fill(i * part, rows));
}
