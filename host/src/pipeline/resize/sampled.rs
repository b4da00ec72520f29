//! Weighted sums of neighbors, rows first, then columns.

use iiphost_plugin_api::AlphaMode;

use super::filter::Filter;
use crate::limits::Size;
use crate::pipeline::rows;
use crate::raster::{Raster, Sample};

/// Layout of the source.
pub(super) struct Shape {
    pub(super) size: Size,
    pub(super) bands: usize,
    /// The opacity colors are weighted by.
    weighted: Option<usize>,
}

impl Shape {
    pub(super) fn new(raster: &Raster) -> Self {
        let weighted = raster
            .alpha_band()
            .filter(|_| raster.alpha == AlphaMode::Unassociated);
        Self {
            size: raster.size,
            bands: raster.band_count as usize,
            weighted,
        }
    }

    pub(super) fn row_len(&self) -> usize {
        self.size.width as usize * self.bands
    }
}

/// Every output sample as the sum of its neighbors, in `f32`, rounded once.
pub(super) fn resample<T: Sample>(
    source: &[T],
    shape: &Shape,
    across: &Filter,
    down: &Filter,
    count: usize,
) -> Vec<T> {
    let bands = shape.bands;
    let row_len = across.first.len() * bands;
    let touched = source.len().max(count) as u64;
    let mut out = vec![T::default(); count];
    rows::fill(&mut out, row_len, touched, |first_row, out| {
        let mut lines = Lines::new(source, shape, across.block, down);
        let mut blended = vec![0.0; lines.len];
        let mut row_out = vec![0.0; row_len];
        for (row, out) in out.chunks_exact_mut(row_len).enumerate() {
            lines.blend(first_row + row, down, &mut blended);
            match (bands, across.taps) {
                (1, 2) => pairs::<1>(&blended, across, &mut row_out),
                (3, 2) => pairs::<3>(&blended, across, &mut row_out),
                (4, 2) => pairs::<4>(&blended, across, &mut row_out),
                (1, _) => sums::<1>(&blended, across, &mut row_out),
                (2, _) => sums::<2>(&blended, across, &mut row_out),
                (3, _) => sums::<3>(&blended, across, &mut row_out),
                (4, _) => sums::<4>(&blended, across, &mut row_out),
                _ => sums_of(&blended, across, bands, &mut row_out),
            }
            match shape.weighted {
                None => {
                    for (o, v) in out.iter_mut().zip(&row_out) {
                        *o = T::from_f32(*v);
                    }
                }
                Some(alpha) => {
                    for (o, v) in out.chunks_exact_mut(bands).zip(row_out.chunks_exact(bands)) {
                        let opacity = v[alpha];
                        for (band, (o, v)) in o.iter_mut().zip(v).enumerate() {
                            let free = band == alpha || opacity <= 0.0;
                            *o = T::from_f32(if free { *v } else { v / opacity });
                        }
                    }
                }
            }
        }
    });
    out
}

/// Rows of the source in `f32`, blocks averaged, colors multiplied by opacity; the last few are kept.
struct Lines<'a, T> {
    source: &'a [T],
    shape: &'a Shape,
    block: Block,
    /// Samples of a line.
    len: usize,
    /// Line `y` in slot `y % taps`.
    kept: Vec<(Option<usize>, Vec<f32>)>,
    sums: Vec<f32>,
}

/// Samples of a block across and down.
#[derive(Clone, Copy)]
struct Block {
    across: usize,
    down: usize,
}

impl<'a, T: Sample> Lines<'a, T> {
    fn new(source: &'a [T], shape: &'a Shape, across: usize, down: &Filter) -> Self {
        let len = (shape.size.width as usize).div_ceil(across) * shape.bands;
        Self {
            source,
            shape,
            block: Block {
                across,
                down: down.block,
            },
            len,
            kept: vec![(None, vec![0.0; len]); down.taps],
            sums: vec![0.0; shape.row_len()],
        }
    }

    /// Output row `i` before its columns are summed.
    fn blend(&mut self, i: usize, down: &Filter, out: &mut [f32]) {
        let first = down.first[i];
        let taps = down.taps;
        let weights = down.weights(i);
        for line in first..first + taps {
            if self.kept[line % taps].0 != Some(line) {
                let (_, mut kept) = std::mem::take(&mut self.kept[line % taps]);
                self.load(line, &mut kept);
                self.kept[line % taps] = (Some(line), kept);
            }
        }
        let line = |k: usize| self.kept[(first + k) % taps].1.as_slice();
        if let &[w0, w1] = weights {
            for ((o, a), b) in out.iter_mut().zip(line(0)).zip(line(1)) {
                *o = a * w0 + b * w1;
            }
            return;
        }
        out.fill(0.0);
        for (k, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            for (o, v) in out.iter_mut().zip(line(k)) {
                *o += v * weight;
            }
        }
    }

    /// Line `y`: one source row, or the average of a row of blocks.
    fn load(&mut self, y: usize, out: &mut [f32]) {
        let row_len = self.shape.row_len();
        let top = y * self.block.down;
        let count = self.block.down.min(self.shape.size.height as usize - top);
        let rows = self.source[top * row_len..][..count * row_len].chunks_exact(row_len);
        if count == 1 && self.block.across == 1 {
            rows.for_each(|row| self.shape.add(row, out, true));
            return;
        }
        let mut sums = std::mem::take(&mut self.sums);
        for (i, row) in rows.enumerate() {
            self.shape.add(row, &mut sums, i == 0);
        }
        let bands = self.shape.bands;
        for (pixels, out) in sums
            .chunks(self.block.across * bands)
            .zip(out.chunks_exact_mut(bands))
        {
            let share = 1.0 / (count * (pixels.len() / bands)) as f32;
            out.fill(0.0);
            for pixel in pixels.chunks_exact(bands) {
                out.iter_mut().zip(pixel).for_each(|(o, v)| *o += v);
            }
            out.iter_mut().for_each(|o| *o *= share);
        }
        self.sums = sums;
    }
}

impl Shape {
    /// Adds a row to `out`, or overwrites it with the first one.
    fn add<T: Sample>(&self, row: &[T], out: &mut [f32], first: bool) {
        match (self.weighted, self.bands) {
            (None, _) if first => out.iter_mut().zip(row).for_each(|(o, s)| *o = s.to_f32()),
            (None, _) => out.iter_mut().zip(row).for_each(|(o, s)| *o += s.to_f32()),
            (Some(3), 4) => add_weighted(row, out, 3, 4, first),
            (Some(alpha), bands) => add_weighted(row, out, alpha, bands, first),
        }
    }
}

#[inline(always)]
fn add_weighted<T: Sample>(row: &[T], out: &mut [f32], alpha: usize, bands: usize, first: bool) {
    for (o, s) in out.chunks_exact_mut(bands).zip(row.chunks_exact(bands)) {
        let opacity = s[alpha].to_f32();
        for band in 0..bands {
            let weight = if band == alpha { 1.0 } else { opacity };
            let before = if first { 0.0 } else { o[band] };
            o[band] = before + s[band].to_f32() * weight;
        }
    }
}

/// Two neighbors a pixel.
fn pairs<const B: usize>(line: &[f32], filter: &Filter, out: &mut [f32]) {
    let pixels = line.as_chunks::<B>().0;
    let weights = filter.weights.as_chunks::<2>().0;
    let out = out.as_chunks_mut::<B>().0;
    for ((o, first), [w0, w1]) in out.iter_mut().zip(&filter.first).zip(weights) {
        let [a, b] = [pixels[*first], pixels[*first + 1]];
        for band in 0..B {
            o[band] = a[band] * w0 + b[band] * w1;
        }
    }
}

/// Any number of neighbors.
fn sums<const B: usize>(line: &[f32], filter: &Filter, out: &mut [f32]) {
    let pixels = line.as_chunks::<B>().0;
    for (i, o) in out.as_chunks_mut::<B>().0.iter_mut().enumerate() {
        let mut sum = [0f32; B];
        let neighbors = &pixels[filter.first[i]..][..filter.taps];
        for (pixel, weight) in neighbors.iter().zip(filter.weights(i)) {
            for band in 0..B {
                sum[band] += pixel[band] * weight;
            }
        }
        *o = sum;
    }
}

/// Any number of neighbors and bands.
fn sums_of(line: &[f32], filter: &Filter, bands: usize, out: &mut [f32]) {
    for (i, o) in out.chunks_exact_mut(bands).enumerate() {
        o.fill(0.0);
        let neighbors = line[filter.first[i] * bands..].chunks_exact(bands);
        for (pixel, weight) in neighbors.zip(filter.weights(i)) {
            o.iter_mut().zip(pixel).for_each(|(o, v)| *o += v * weight);
        }
    }
}
