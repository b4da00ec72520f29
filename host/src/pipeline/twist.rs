//! Color twist: bands recombined by a matrix.

/// `out[k] = Σ m[k][j]·in[j]` for every pixel: missing columns count as 0, surplus ones are ignored.
pub(super) fn twist(rows: &[Vec<f32>], source: &[f32], bands: usize, out: &mut [f32]) {
    match (rows, bands) {
        ([red, green, blue], 3) => {
            let m = [red, green, blue].map(|row| [0, 1, 2].map(|j| row.get(j).copied().unwrap_or(0.0)));
            for (p, o) in source.as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0) {
                *o = m.map(|row| row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
            }
        }
        _ => {
            for (p, o) in source.chunks_exact(bands).zip(out.chunks_exact_mut(rows.len())) {
                for (row, o) in rows.iter().zip(o) {
                    *o = row.iter().zip(p).map(|(m, v)| m * v).sum();
                }
            }
        }
    }
}
