//! Smooth random fields: lattices of hashed values joined by uniform cubic B-splines.
//!
//! B-splines have a continuous curvature, so that slopes (hill shading) and level lines (contours) of a
//! field show no seams at the lattice. Whole rows are cheap: the lattice is first blended down the row,
//! then each cell is one cubic polynomial.

/// One lattice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octave {
    /// Distance of lattice points in pixels.
    pub(super) cell: u32,
    /// Factor of the values, which lie between -1 and 1.
    pub(super) amplitude: f32,
    /// Which random field.
    pub(super) seed: u32,
}

/// Integer to float in -1 to 1 by the finalizer of MurmurHash3.
pub(super) fn hash(x: u32, y: u32, seed: u32) -> u32 {
    let mut h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    h ^= h >> 16;
    h = h.wrapping_mul(0x85EB_CA6B);
    h ^= h >> 13;
    h = h.wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

/// A random number from 0 to 1.
pub(super) fn unit(x: u32, y: u32, seed: u32) -> f32 {
    (hash(x, y, seed) >> 8) as f32 / 16_777_216.0
}

fn weights(t: f32) -> [f32; 4] {
    let s = 1.0 - t;
    [
        s * s * s / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0,
        t * t * t / 6.0,
    ]
}

impl Octave {
    pub(super) const fn new(cell: u32, amplitude: f32, seed: u32) -> Self {
        Self {
            cell,
            amplitude,
            seed,
        }
    }

    fn lattice(&self, x: u32, y: u32) -> f32 {
        unit(x, y, self.seed) * 2.0 - 1.0
    }

    /// Adds the field along row `y` to `out`, from column 0 on; `column` is scratch space.
    pub(super) fn add_row(&self, y: u32, out: &mut [f32], column: &mut Vec<f32>) {
        let cell = self.cell as usize;
        let row = y / self.cell;
        let down = weights((y % self.cell) as f32 / self.cell as f32);
        column.clear();
        column.extend((0..(out.len().div_ceil(cell) + 3) as u32).map(|x| {
            (row..)
                .zip(down)
                .map(|(y, w)| w * self.lattice(x, y))
                .sum::<f32>()
                * self.amplitude
        }));
        let step = 1.0 / cell as f32;
        for (cell, points) in out.chunks_mut(cell).zip(column.windows(4)) {
            let &[a, b, c, d] = points else { continue };
            let constant = (a + 4.0 * b + c) / 6.0;
            let linear = (c - a) / 2.0;
            let square = (a - 2.0 * b + c) / 2.0;
            let cubic = (d - a + 3.0 * (b - c)) / 6.0;
            for (i, value) in cell.iter_mut().enumerate() {
                let t = i as f32 * step;
                *value += ((cubic * t + square) * t + linear) * t + constant;
            }
        }
    }

    /// The field at one place.
    pub(super) fn at(&self, x: u32, y: u32) -> f32 {
        let across = weights((x % self.cell) as f32 / self.cell as f32);
        let down = weights((y % self.cell) as f32 / self.cell as f32);
        let mut sum = 0.0;
        for (j, wy) in (y / self.cell..).zip(down) {
            for (i, wx) in (x / self.cell..).zip(across) {
                sum += wx * wy * self.lattice(i, j);
            }
        }
        sum * self.amplitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_a_place_give_the_same_field() {
        let octave = Octave::new(37, 2.0, 5);
        for y in [0, 36, 37, 500] {
            let mut row = vec![0.0; 200];
            octave.add_row(y, &mut row, &mut Vec::new());
            for x in [0, 1, 36, 37, 199] {
                assert!((row[x as usize] - octave.at(x, y)).abs() < 1e-4, "{x}, {y}");
            }
        }
    }

    #[test]
    fn the_field_is_smooth_where_cells_meet() {
        let octave = Octave::new(16, 1.0, 9);
        let mut row = vec![0.0; 160];
        octave.add_row(3, &mut row, &mut Vec::new());
        let largest = row.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(largest < 0.15, "{largest}");
    }
}
