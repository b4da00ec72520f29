//! The steps of one request with their numbers resolved for one raster.

use iiphost_plugin_api::ColorModel;

use super::Work;
use super::bands::shown_count;
use super::shade::Light;
use super::tone::Tone;
use crate::error::Error;
use crate::raster::{Raster, Samples};
use crate::view::{ColorMap, Contrast, Processing};

/// A linear map to the nominal range 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    min: f64,
    factor: f64,
}

impl Scale {
    /// From `min..max` to `0..1`; an empty range divides by almost nothing.
    pub(super) fn new(min: f64, max: f64) -> Self {
        let width = max - min;
        let factor = if width.abs() <= 1e-30 { 1e30 } else { 1.0 / width };
        Self { min, factor }
    }

    /// Values that are no numbers have a defined result: black.
    #[inline(always)]
    pub(super) fn apply(self, value: f64) -> f64 {
        if value.is_finite() {
            (value - self.min) * self.factor
        } else {
            0.0
        }
    }
}

/// Scales of the bands of a raster: stored values to the nominal range, `MINMAX` applied to all bands but
/// opacity. Later overrides win, those of bands that do not exist are ignored.
///
/// Samples are in offset form when signed; the scale takes samples as they are in the raster.
pub(super) fn scales(raster: &Raster, ranges: &[(f64, f64)], processing: &Processing) -> Vec<Scale> {
    let alpha = raster.alpha_band();
    let offset = if raster.signed {
        2f64.powi(raster.bit_depth as i32 - 1)
    } else {
        0.0
    };
    let (low, high) = match raster.samples {
        Samples::F32(_) => (0.0, 1.0),
        _ => (-offset, 2f64.powi(raster.bit_depth as i32) - 1.0 - offset),
    };
    let lab = raster.color_model == ColorModel::CieLab;
    (0..raster.band_count as usize)
        .map(|band| {
            let mut range = ranges.get(band).copied().unwrap_or((low, high));
            if Some(band) == alpha {
                range = (low, high);
            } else if !lab {
                let named = |b: Option<u32>| b.is_none_or(|b| b as usize == band);
                if let Some(last) = processing.ranges.iter().rfind(|r| named(r.band)) {
                    range = (last.min, last.max);
                }
            }
            match raster.samples {
                Samples::F32(_) => Scale::new(range.0, range.1),
                _ => Scale::new(range.0 + offset, range.1 + offset),
            }
        })
        .collect()
}

/// What happens to the samples before resizing.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// A scale for each band of the raster.
    scales: Vec<Scale>,
    /// Stretch of normalized colors.
    stretch: Option<Scale>,
    pub(super) light: Option<Light>,
    /// Rows of the color twist; none of them empty of meaning: at least one.
    pub(super) twist: Option<Vec<Vec<f32>>>,
    pub(super) tone: Tone,
    pub(super) color_map: Option<ColorMap>,
    /// Side 1, 3 or 5, divided by its sum if that is positive.
    pub(super) kernel: Option<Vec<f32>>,
    pub(super) contrast: f64,
    lab: bool,
    changes: bool,
}

impl Recipe {
    /// # Errors
    /// 400 when shading meets other than three bands or the kernel is no square of side 1, 3 or 5.
    pub(super) fn new(raster: &Raster, work: &Work<'_>) -> Result<Self, Error> {
        let processing = work.processing;
        let light = match processing.shade {
            Some(_) if raster.color_band_count() != 3 => {
                return Err(Error::bad_request(format!(
                    "hill shading needs the three bands of a normal map, the image has {}",
                    raster.color_band_count()
                )));
            }
            shade => shade.map(Light::new),
        };
        let (stretch, contrast) = match processing.contrast {
            Contrast::Factor(factor) => (None, factor),
            Contrast::Equalize => (None, 1.0),
            Contrast::Stretch => {
                let (min, max) = super::wanted_statistics(work)?.range();
                (Some(Scale::new(min, max)), 1.0)
            }
        };
        let twist = processing
            .twist
            .as_ref()
            .filter(|rows| !rows.is_empty())
            .map(|rows| {
                // Rows nobody sees cost nothing, however many a client sends.
                let seen = match processing.color_map {
                    Some(_) => 1,
                    None => shown_count(rows.len(), work.bands),
                };
                rows.iter()
                    .take(seen)
                    .map(|row| row.iter().map(|m| *m as f32).collect())
                    .collect()
            });
        Ok(Self {
            scales: scales(raster, &work.ranges, processing),
            stretch,
            light,
            twist,
            tone: Tone {
                gamma: processing.gamma,
                invert: processing.invert,
            },
            color_map: processing.color_map,
            kernel: processing
                .kernel
                .as_deref()
                .map(super::convolve::weights)
                .transpose()?,
            contrast,
            lab: raster.color_model == ColorModel::CieLab,
            changes: super::changes_samples(processing),
        })
    }

    /// Whether any step before the bit depth is asked for.
    pub(super) fn changes_colors(&self) -> bool {
        self.changes
    }

    /// Whether colors are CIELAB.
    pub(super) fn is_lab(&self) -> bool {
        self.lab
    }

    /// Whether bands or pixels are mixed, so that no table of single samples can do the work.
    pub(super) fn mixes(&self) -> bool {
        self.lab || self.blends_bands() || self.kernel.is_some()
    }

    /// Whether a step before the tone curve mixes bands.
    pub(super) fn blends_bands(&self) -> bool {
        self.light.is_some() || self.twist.is_some()
    }

    /// The scale of a band, if normalizing its samples takes nothing else.
    pub(super) fn only_scale(&self, band: usize) -> Option<Scale> {
        self.stretch.is_none().then(|| self.scales[band])
    }

    /// A sample of a color band, normalized and stretched.
    #[inline(always)]
    pub(super) fn normalize(&self, band: usize, sample: f64) -> f64 {
        self.stretched(self.scales[band].apply(sample))
    }

    /// A normalized color, stretched if the request says so.
    #[inline(always)]
    pub(super) fn stretched(&self, n: f64) -> f64 {
        match self.stretch {
            Some(stretch) => stretch.apply(n),
            None => n,
        }
    }

    /// A sample of a band that is no color, normalized.
    pub(super) fn plain(&self, band: usize, sample: f64) -> f64 {
        self.scales[band].apply(sample)
    }

    /// Whether two bands have the same scale.
    pub(super) fn same_scale(&self, a: usize, b: usize) -> bool {
        self.scales[a] == self.scales[b]
    }
}
