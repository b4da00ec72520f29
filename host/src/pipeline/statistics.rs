//! What contrast stretch, equalization and threshold know of the whole picture.
//!
//! They are taken from the whole smallest level, so that every tile and every size of a picture is treated
//! alike, and may be kept with the image for one page and one set of ranges.

use iiphost_plugin_api::ColorModel;

use super::lab;
use super::recipe::{Scale, scales};
use crate::error::Error;
use crate::raster::{Raster, Samples};
use crate::view::Processing;

/// Distribution of the per-pixel mean of the normalized color bands.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    histogram: Box<[u64; 256]>,
    /// Smallest and largest mean, in units of the normalized range.
    range: (f64, f64),
}

/// Statistics of a picture, normally the smallest level of a page.
///
/// `ranges` are those of the page; `MINMAX` of `processing` is applied to them, no other step is. A value
/// that is no number counts as 0.
///
/// # Errors
/// A fault if the raster is inconsistent.
pub fn statistics(
    raster: &Raster,
    ranges: &[(f64, f64)],
    processing: &Processing,
) -> Result<Statistics, Error> {
    raster.check()?;
    let scales = scales(raster, ranges, processing);
    let colors = raster.color_band_count() as usize;
    let mut made = Statistics {
        histogram: Box::new([0; 256]),
        range: (f64::INFINITY, f64::NEG_INFINITY),
    };
    let lab = raster.color_model == ColorModel::CieLab;
    match &raster.samples {
        Samples::U8(v) if lab => made.count(raster, v, |p| lab_mean(lab::from_u8([p[0], p[1], p[2]]))),
        Samples::U16(v) if lab => made.count(raster, v, |p| lab_mean(lab::from_u16([p[0], p[1], p[2]]))),
        Samples::F32(v) if lab => made.count(raster, v, |p| lab_mean([p[0], p[1], p[2]])),
        Samples::U8(v) => made.count(raster, v, |p| mean(&scales, &p[..colors])),
        Samples::U16(v) => made.count(raster, v, |p| mean(&scales, &p[..colors])),
        Samples::U32(v) => made.count(raster, v, |p| mean(&scales, &p[..colors])),
        Samples::F32(v) => made.count(raster, v, |p| mean(&scales, &p[..colors])),
    }
    Ok(made)
}

fn mean<S: Copy + Into<f64>>(scales: &[Scale], pixel: &[S]) -> f64 {
    let sum: f64 = scales
        .iter()
        .zip(pixel)
        .map(|(scale, s)| scale.apply((*s).into()))
        .sum();
    sum / pixel.len() as f64
}

fn lab_mean(lab: [f32; 3]) -> f64 {
    lab::to_srgb(lab).iter().map(|v| f64::from(*v)).sum::<f64>() / 3.0
}

impl Statistics {
    fn count<S>(&mut self, raster: &Raster, samples: &[S], mean: impl Fn(&[S]) -> f64) {
        for pixel in samples.chunks_exact(raster.band_count as usize) {
            let mean = mean(pixel);
            self.range = (self.range.0.min(mean), self.range.1.max(mean));
            // Exact means on a half may come out a few ulp short of it.
            let bin = (mean * 255.0 + 0.5 + 1e-9).clamp(0.0, 255.0);
            self.histogram[bin as usize] += 1;
        }
    }

    /// Smallest and largest mean, where 0 and 1 are the ends of the range in force.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// Pixels by rounded mean.
    #[must_use]
    pub fn histogram(&self) -> &[u64; 256] {
        &self.histogram
    }

    /// Otsu's threshold: the smallest `t` for which the classes `≤ t` and `> t` differ most,
    /// `w_b·w_f·(m_b − m_f)²`. A picture of one value has no two classes: the middle.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        let total: u64 = self.histogram.iter().sum();
        let moment = |(value, count): (usize, &u64)| value as f64 * *count as f64;
        let sum: f64 = self.histogram.iter().enumerate().map(moment).sum();
        let (mut best, mut found) = (0.0, 127);
        let (mut below, mut below_sum) = (0u64, 0.0);
        for (bin, (value, count)) in (0u8..=255).zip(self.histogram.iter().enumerate()) {
            below += count;
            below_sum += moment((value, count));
            let above = total - below;
            if below == 0 || above == 0 {
                continue;
            }
            let (below, above) = (below as f64, above as f64);
            let apart = below_sum / below - (sum - below_sum) / above;
            let score = below * above * apart * apart;
            if score > best {
                (best, found) = (score, bin);
            }
        }
        found
    }

    /// `255·(C(i) − C(n0))/(T − C(n0))`, rounded, for the cumulative histogram `C` with first used bin `n0`
    /// and total `T`. A picture of one value stays as it is.
    #[must_use]
    pub fn equalizing_table(&self) -> [u8; 256] {
        let total: u64 = self.histogram.iter().sum();
        let first = self.histogram.iter().find(|n| **n > 0).copied().unwrap_or(0);
        let mut table = [0; 256];
        let mut cumulated = 0;
        for ((value, entry), count) in (0u8..=255).zip(&mut table).zip(self.histogram.iter()) {
            cumulated += count;
            *entry = match total - first {
                0 => value,
                // At most 255, because `cumulated` is at most `total`.
                rest => {
                    ((510 * u128::from(cumulated.saturating_sub(first)) + u128::from(rest))
                        / (2 * u128::from(rest))) as u8
                }
            };
        }
        table
    }
}
