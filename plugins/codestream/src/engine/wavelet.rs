//! Inverse wavelet transforms of a part of a resolution (ISO/IEC 15444-1 Annex F).
//!
//! Even places of a resolution hold samples of the low band, odd ones of the high band. What lies outside the resolution
//! is mirrored at its edges; at the other edges of a part there is a margin that the filter's reach cannot cross, so it
//! does not matter what is computed there.
//!
//! The 9-7 filter scales like OpenJPEG's: its high bands are quantized without their gain (E-4) and weighted with
//! `2/K` instead of `1/K`. All numbers are `f32`, each operation rounds by itself.

use std::ops::Range;

/// A wavelet filter of whole samples.
pub(crate) trait Filter {
    /// Samples of a band.
    type Sample: Copy + Default + Send + Sync;

    /// Places to each side that a sample depends on.
    const REACH: u32;

    /// Brings bands to the scale of the lifting steps.
    fn scale(low: &mut [Self::Sample], high: &mut [Self::Sample]);

    /// The lifting steps: whether the low band is changed, by the high one, or the other way round.
    const STEPS: &'static [(bool, Step)];

    /// One step for one sample: itself, and the samples of the other band before and behind it.
    fn lift(step: Step, own: Self::Sample, before: Self::Sample, behind: Self::Sample) -> Self::Sample;

    /// A sample that stands alone in a resolution, at an odd place.
    fn alone(sample: Self::Sample) -> Self::Sample;
}

/// The factor of a step; the filter of whole numbers only tells its two steps apart.
pub(crate) type Step = f32;

/// The reversible 5-3 filter (F.3.8.1, equations F-5, F-6).
#[derive(Debug)]
pub(crate) struct Reversible;

impl Filter for Reversible {
    type Sample = i32;

    const REACH: u32 = 2;
    const STEPS: &'static [(bool, Step)] = &[(true, 0.25), (false, 0.5)];

    fn scale(_: &mut [i32], _: &mut [i32]) {}

    #[inline(always)]
    fn lift(step: Step, own: i32, before: i32, behind: i32) -> i32 {
        let sum = before.wrapping_add(behind);
        if step < 0.5 {
            own.wrapping_sub(sum.wrapping_add(2) >> 2)
        } else {
            own.wrapping_add(sum >> 1)
        }
    }

    fn alone(sample: i32) -> i32 {
        sample / 2
    }
}

/// The irreversible 9-7 filter (F.3.8.2, Table F.4).
#[derive(Debug)]
pub(crate) struct Irreversible;

/// The factors of Table F.4, with the digits that decide which number of 32 bits is nearest.
#[allow(clippy::excessive_precision)]
mod factors {
    pub(super) const ALPHA: f32 = -1.586_134_342;
    pub(super) const BETA: f32 = -0.052_980_118;
    pub(super) const GAMMA: f32 = 0.882_911_075;
    pub(super) const DELTA: f32 = 0.443_506_852;
    pub(super) const K: f32 = 1.230_174_105;
    pub(super) const TWO_OVER_K: f32 = 1.625_732_422;
}
use factors::{ALPHA, BETA, DELTA, GAMMA, K, TWO_OVER_K};

impl Filter for Irreversible {
    type Sample = f32;

    const REACH: u32 = 4;
    const STEPS: &'static [(bool, Step)] = &[(true, -DELTA), (false, -GAMMA), (true, -BETA), (false, -ALPHA)];

    fn scale(low: &mut [f32], high: &mut [f32]) {
        low.iter_mut().for_each(|sample| *sample *= K);
        high.iter_mut().for_each(|sample| *sample *= TWO_OVER_K);
    }

    #[inline(always)]
    fn lift(step: Step, own: f32, before: f32, behind: f32) -> f32 {
        own + (before + behind) * step
    }

    fn alone(sample: f32) -> f32 {
        sample
    }
}

/// A rectangle of samples at its place in a band or resolution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part<T> {
    /// Left, top, right, bottom edge.
    pub(crate) edges: [u32; 4],
    /// Row by row.
    pub(crate) samples: Vec<T>,
}

impl<T: Copy + Default> Part<T> {
    /// Zeros.
    pub(crate) fn zeros(edges: [u32; 4]) -> Self {
        let [x0, y0, x1, y1] = edges;
        Self {
            edges,
            samples: vec![T::default(); (x1 - x0) as usize * (y1 - y0) as usize],
        }
    }

    /// Samples of a row.
    pub(crate) fn width(&self) -> usize {
        (self.edges[2] - self.edges[0]) as usize
    }

    /// Rows.
    pub(crate) fn height(&self) -> usize {
        (self.edges[3] - self.edges[1]) as usize
    }

    fn row(&self, y: usize) -> &[T] {
        let width = self.width();
        &self.samples[y * width..(y + 1) * width]
    }
}

/// Places of the low and the high band that lie in a range of places of a resolution.
pub(crate) fn halves(range: &Range<u32>) -> [Range<u32>; 2] {
    [
        range.start.div_ceil(2)..range.end.div_ceil(2),
        range.start / 2..range.end / 2,
    ]
}

/// What of a resolution has to be there for a range of it: the range and the reach of the filter around it.
pub(crate) fn with_reach(range: &Range<u32>, reach: u32, whole: &Range<u32>) -> Range<u32> {
    range.start.saturating_sub(reach).max(whole.start)..range.end.saturating_add(reach).min(whole.end)
}

/// Samples of a resolution out of those of the next smaller one and of its own three bands (2D_SR, F.3.2).
///
/// `bands` are LL, HL, LH, HH, each with what [`halves`] gives for `wanted` [`with_reach`]; `whole` are the edges of the
/// resolution.
pub(crate) fn combine<F: Filter>(
    bands: [Part<F::Sample>; 4],
    wanted: [u32; 4],
    whole: [u32; 4],
) -> Part<F::Sample> {
    let [ll, hl, lh, hh] = bands;
    let across = with_reach(&(wanted[0]..wanted[2]), F::REACH, &(whole[0]..whole[2]));
    let down = with_reach(&(wanted[1]..wanted[3]), F::REACH, &(whole[1]..whole[3]));
    let width = (wanted[2] - wanted[0]) as usize;
    let left = (wanted[0] - across.start) as usize;
    let is_alone = whole[2] - whole[0] == 1;
    let mut line = Line::<F>::new(&across);
    let mut rows = |low: &Part<F::Sample>, high: &Part<F::Sample>| {
        let height = low.height().max(high.height());
        let mut out = vec![F::Sample::default(); width * height];
        for (y, to) in out.chunks_exact_mut(width.max(1)).enumerate() {
            line.combine(low, high, y, is_alone);
            to.copy_from_slice(&line.woven[left..left + width]);
        }
        out
    };
    let mut low = rows(&ll, &hl);
    let mut high = rows(&lh, &hh);
    drop((ll, hl, lh, hh));
    let first_is_high = down.start % 2;
    if whole[3] - whole[1] == 1 {
        if first_is_high == 1 {
            high.iter_mut().for_each(|sample| *sample = F::alone(*sample));
        }
    } else {
        lift_rows::<F>(&mut low, &mut high, width, first_is_high == 1);
    }
    let mut part = Part {
        edges: wanted,
        samples: Vec::with_capacity(width * (wanted[3] - wanted[1]) as usize),
    };
    let [low_rows, high_rows] = halves(&down);
    for y in wanted[1]..wanted[3] {
        let (rows, at) = if y % 2 == 0 {
            (&low, y / 2 - low_rows.start)
        } else {
            (&high, y / 2 - high_rows.start)
        };
        let at = at as usize * width;
        part.samples.extend_from_slice(&rows[at..at + width]);
    }
    part
}

/// Memory for one row.
struct Line<F: Filter> {
    first_is_high: bool,
    low: Vec<F::Sample>,
    high: Vec<F::Sample>,
    /// The row of the resolution, bands woven together.
    woven: Vec<F::Sample>,
}

impl<F: Filter> Line<F> {
    fn new(range: &Range<u32>) -> Self {
        let [low, high] = halves(range).map(|half| vec![F::Sample::default(); half.len()]);
        Self {
            first_is_high: range.start % 2 == 1,
            low,
            high,
            woven: vec![F::Sample::default(); range.len()],
        }
    }

    /// One row out of one of each band.
    fn combine(&mut self, low: &Part<F::Sample>, high: &Part<F::Sample>, y: usize, is_alone: bool) {
        self.low.copy_from_slice(low.row(y));
        self.high.copy_from_slice(high.row(y));
        if is_alone {
            if self.first_is_high {
                self.high
                    .iter_mut()
                    .for_each(|sample| *sample = F::alone(*sample));
            }
        } else {
            F::scale(&mut self.low, &mut self.high);
            for &(changes_low, step) in F::STEPS {
                if changes_low {
                    lift::<F>(step, &mut self.low, &self.high, self.first_is_high);
                } else {
                    lift::<F>(step, &mut self.high, &self.low, !self.first_is_high);
                }
            }
        }
        let (even, odd) = if self.first_is_high {
            (&self.high, &self.low)
        } else {
            (&self.low, &self.high)
        };
        let (pairs, rest) = self.woven.as_chunks_mut::<2>();
        for ((pair, first), second) in pairs.iter_mut().zip(even).zip(odd) {
            *pair = [*first, *second];
        }
        if let (Some(last), Some(sample)) = (rest.first_mut(), even.last()) {
            *last = *sample;
        }
    }
}

/// One step along a row. `other_is_first`: the first sample of `other` lies before the first of `own`.
fn lift<F: Filter>(step: Step, own: &mut [F::Sample], other: &[F::Sample], other_is_first: bool) {
    let Some(last) = other.len().checked_sub(1).filter(|_| !own.is_empty()) else {
        return;
    };
    // The sample before the one of a number has that number, or the one before it.
    let before = |at: usize| if other_is_first { at } else { at.saturating_sub(1) };
    let behind = |at: usize| if other_is_first { at + 1 } else { at };
    let (mut start, end) = (0, own.len());
    if !other_is_first {
        own[0] = F::lift(step, own[0], other[0], other[0]);
        start = 1;
    }
    let middle = end.min(other.len() - usize::from(other_is_first)).max(start);
    let shift = usize::from(!other_is_first);
    let inner = own[start..middle].iter_mut();
    let neighbors = other[start - shift..].iter().zip(&other[start - shift + 1..]);
    for (sample, (before, behind)) in inner.zip(neighbors) {
        *sample = F::lift(step, *sample, *before, *behind);
    }
    for (at, sample) in own.iter_mut().enumerate().skip(middle) {
        let (first, second) = (before(at).min(last), behind(at));
        // Mirrored at the end.
        let second = if second > last { first } else { second };
        *sample = F::lift(step, *sample, other[first], other[second]);
    }
}

/// All steps down the columns, whole rows at a time.
fn lift_rows<F: Filter>(low: &mut [F::Sample], high: &mut [F::Sample], width: usize, first_is_high: bool) {
    if width == 0 {
        return;
    }
    F::scale(low, high);
    for &(changes_low, step) in F::STEPS {
        let (own, other, other_is_first) = if changes_low {
            (&mut *low, &*high, first_is_high)
        } else {
            (&mut *high, &*low, !first_is_high)
        };
        let Some(last) = (other.len() / width).checked_sub(1) else {
            continue;
        };
        for (at, row) in own.chunks_exact_mut(width).enumerate() {
            let (before, behind) = if other_is_first {
                (at.min(last), if at < last { at + 1 } else { at.min(last) })
            } else {
                let before = at.saturating_sub(1);
                (
                    if at == 0 { 0 } else { before },
                    if at > last { before } else { at },
                )
            };
            let before = &other[before * width..][..width];
            let behind = &other[behind * width..][..width];
            for ((sample, before), behind) in row.iter_mut().zip(before).zip(behind) {
                *sample = F::lift(step, *sample, *before, *behind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: samples mirrored at both edges, one step after the other (F.3.6, F.3.7).
    fn line<F: Filter>(samples: &[F::Sample], start: u32) -> Vec<F::Sample> {
        let len = samples.len() as i64;
        if len == 1 {
            let odd = start % 2 == 1;
            return vec![if odd { F::alone(samples[0]) } else { samples[0] }];
        }
        let mut own = samples.to_vec();
        let mirrored = |at: i64| {
            let at = at.rem_euclid(2 * (len - 1));
            at.min(2 * (len - 1) - at) as usize
        };
        let is_low = |at: usize| (start as usize + at).is_multiple_of(2);
        for (at, sample) in own.iter_mut().enumerate() {
            let (mut low, mut high) = ([*sample], [*sample]);
            F::scale(&mut low, &mut high);
            *sample = if is_low(at) { low[0] } else { high[0] };
        }
        for &(changes_low, step) in F::STEPS {
            for at in (0..own.len()).filter(|&at| is_low(at) == changes_low) {
                let [before, behind] = [-1, 1].map(|by| own[mirrored(at as i64 + by)]);
                own[at] = F::lift(step, own[at], before, behind);
            }
        }
        own
    }

    /// A whole resolution, woven: `samples` by place.
    fn whole<F: Filter>(samples: &[F::Sample], edges: [u32; 4]) -> Vec<F::Sample> {
        let (width, height) = ((edges[2] - edges[0]) as usize, (edges[3] - edges[1]) as usize);
        let rows: Vec<F::Sample> = samples
            .chunks(width)
            .flat_map(|row| line::<F>(row, edges[0]))
            .collect();
        let mut out = rows.clone();
        for x in 0..width {
            let column: Vec<F::Sample> = rows.iter().skip(x).step_by(width).copied().collect();
            let made = line::<F>(&column, edges[1]);
            (0..height).for_each(|y| out[y * width + x] = made[y]);
        }
        out
    }

    /// The part of a band that is needed, taken from the woven samples.
    fn band<T: Copy>(samples: &[T], edges: [u32; 4], needed: [u32; 4], high: [bool; 2]) -> Part<T> {
        let [cols, rows] =
            [0, 1].map(|axis| halves(&(needed[axis]..needed[axis + 2]))[usize::from(high[axis])].clone());
        let width = edges[2] - edges[0];
        let place = |at: u32, high: bool| 2 * at + u32::from(high);
        let samples = rows
            .clone()
            .flat_map(|y| cols.clone().map(move |x| (x, y)))
            .map(|(x, y)| {
                let (x, y) = (place(x, high[0]) - edges[0], place(y, high[1]) - edges[1]);
                samples[(y * width + x) as usize]
            });
        Part {
            samples: samples.collect(),
            edges: [cols.start, rows.start, cols.end, rows.end],
        }
    }

    fn check<F: Filter>(edges: [u32; 4], wanted: [u32; 4], value: impl Fn(u32) -> F::Sample)
    where
        F::Sample: PartialEq + std::fmt::Debug,
    {
        let count = (edges[2] - edges[0]) * (edges[3] - edges[1]);
        let samples: Vec<F::Sample> = (0..count).map(value).collect();
        let expected = whole::<F>(&samples, edges);
        let mut needed = [0; 4];
        for axis in 0..2 {
            let range = with_reach(
                &(wanted[axis]..wanted[axis + 2]),
                F::REACH,
                &(edges[axis]..edges[axis + 2]),
            );
            (needed[axis], needed[axis + 2]) = (range.start, range.end);
        }
        let bands = [[false, false], [true, false], [false, true], [true, true]]
            .map(|high| band(&samples, edges, needed, high));
        let part = combine::<F>(bands, wanted, edges);
        let width = edges[2] - edges[0];
        let mut found = part.samples.iter();
        for y in wanted[1]..wanted[3] {
            for x in wanted[0]..wanted[2] {
                let at = (y - edges[1]) * width + x - edges[0];
                assert_eq!(
                    found.next(),
                    Some(&expected[at as usize]),
                    "{x}, {y} of {edges:?}, {wanted:?} wanted"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn a_part_is_that_part_of_the_whole(
            x0 in 0u32..5, y0 in 0u32..5, width in 1u32..24, height in 1u32..24,
            cut in [0.0..1.0f64, 0.0..1.0, 0.0..1.0, 0.0..1.0],
        ) {
            let edges = [x0, y0, x0 + width, y0 + height];
            let along = |start: u32, len: u32, a: f64, b: f64| {
                let first = (a * f64::from(len)) as u32;
                (start + first, start + first + 1 + (b * f64::from(len - first)) as u32)
            };
            let (left, right) = along(x0, width, cut[0], cut[1]);
            let (top, bottom) = along(y0, height, cut[2], cut[3]);
            let wanted = [left, top, right.min(x0 + width), bottom.min(y0 + height)];
            check::<Reversible>(edges, wanted, |at| (at * 7919 % 511) as i32 - 255);
            check::<Irreversible>(edges, wanted, |at| (at * 7919 % 511) as f32 / 3.0 - 85.0);
        }
    }
}
