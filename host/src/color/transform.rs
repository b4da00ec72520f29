//! One profile's way to sRGB.

use std::sync::Arc;

use moxcms::{
    BarycentricWeightScale, CmsError, ColorProfile, DataColorSpace, InterpolationMethod, Layout,
    RenderingIntent, Transform8BitExecutor, Transform16BitExecutor, TransformExecutor, TransformOptions,
};
use rayon::prelude::*;

use super::{Bands, ProfileError};
use crate::error::Error;
use crate::raster::{Raster, Samples, sample_count};

/// From the colors of a profile to sRGB, in 8 and 16 bits.
pub struct Transform {
    bands: Bands,
    kind: Kind,
}

enum Kind {
    /// The colors are sRGB already.
    Same,
    /// A value for each value of a single band.
    Table { bytes: Box<[u8; 256]>, deep: Vec<u16> },
    /// Whole pixels.
    Pixels {
        bytes: Arc<Transform8BitExecutor>,
        deep: Arc<Transform16BitExecutor>,
    },
}

/// Pixels converted at a time.
const BLOCK: usize = 4096;

impl Transform {
    /// The transform of a profile.
    ///
    /// # Errors
    /// When the profile is broken or not for these bands.
    pub fn to_srgb(icc: &[u8], bands: Bands) -> Result<Self, ProfileError> {
        let unusable = |reason: String| ProfileError::Unusable {
            bytes: icc.len(),
            reason,
        };
        let failed = |error: CmsError| unusable(format!("{error:?}"));
        let profile = ColorProfile::new_from_slice(icc).map_err(failed)?;
        let (expected, layout) = match bands {
            Bands::Grey => (DataColorSpace::Gray, Layout::Gray),
            Bands::Rgb => (DataColorSpace::Rgb, Layout::Rgb),
            // Four bands are four bands to the library.
            Bands::Cmyk => (DataColorSpace::Cmyk, Layout::Rgba),
        };
        if profile.color_space != expected {
            return Err(ProfileError::OtherBands {
                found: format!("{:?}", profile.color_space),
                expected: bands,
            });
        }
        let srgb = ColorProfile::new_srgb();
        let options = TransformOptions {
            rendering_intent: RenderingIntent::Perceptual,
            prefer_fixed_point: true,
            interpolation_method: InterpolationMethod::Tetrahedral,
            barycentric_weight_scale: BarycentricWeightScale::High,
            ..TransformOptions::default()
        };
        let bytes = profile
            .create_transform_8bit(layout, &srgb, Layout::Rgb, options)
            .map_err(failed)?;
        let deep = profile
            .create_transform_16bit(layout, &srgb, Layout::Rgb, options)
            .map_err(failed)?;
        let kind = match bands {
            Bands::Grey => table(&*bytes, &*deep).map_err(failed)?,
            Bands::Rgb if is_identity(&*bytes).map_err(failed)? => Kind::Same,
            _ => Kind::Pixels { bytes, deep },
        };
        Ok(Self { bands, kind })
    }

    /// Whether the colors are sRGB already, within one step of 8 bits.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        matches!(self.kind, Kind::Same)
    }

    /// The bands it is for.
    #[must_use]
    pub fn bands(&self) -> Bands {
        self.bands
    }

    /// Converts the color bands of a picture of `U8` or `U16` at full scale; bands after them stay. Large
    /// pictures are converted on the threads of the current rayon pool.
    ///
    /// # Errors
    /// A fault when the picture is of another kind, 400 when the result would be over `max_bytes`.
    pub fn apply(&self, raster: Raster, max_bytes: u64) -> Result<Raster, Error> {
        let fault = |reason: String| Error::fault("color", reason);
        let (colors, all) = (self.bands.count(), raster.band_count as usize);
        if raster.color_band_count() as usize != colors {
            return Err(fault(format!(
                "{} color bands for a transform of {colors}",
                raster.color_band_count()
            )));
        }
        let shown = self.bands.shown();
        let bands = all - colors + shown;
        if !self.is_identity() {
            sample_count(raster.size, bands as u32, raster.samples.format(), max_bytes)?;
        }
        let shape = Shape { colors, all, shown };
        let samples = match (&self.kind, &raster.samples) {
            (Kind::Same, _) => return Ok(raster),
            (Kind::Table { bytes, .. }, Samples::U8(v)) => Samples::U8(mapped(v, all, |s| {
                bytes.get(usize::from(s)).copied().unwrap_or(s)
            })),
            (Kind::Table { deep, .. }, Samples::U16(v)) => {
                Samples::U16(mapped(v, all, |s| deep.get(usize::from(s)).copied().unwrap_or(s)))
            }
            (Kind::Pixels { bytes, .. }, Samples::U8(v)) => {
                Samples::U8(shape.convert(v, &**bytes).map_err(fault)?)
            }
            (Kind::Pixels { deep, .. }, Samples::U16(v)) => {
                Samples::U16(shape.convert(v, &**deep).map_err(fault)?)
            }
            (_, other) => return Err(fault(format!("{:?} samples", other.format()))),
        };
        let mut converted = raster.with(raster.size, bands as u32, samples)?;
        if self.bands == Bands::Cmyk {
            converted.color_model = iiphost_plugin_api::ColorModel::Rgb;
        }
        Ok(converted)
    }
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transform")
            .field("bands", &self.bands)
            .field("is_identity", &self.is_identity())
            .finish_non_exhaustive()
    }
}

/// Bands of a picture before and after.
#[derive(Clone, Copy)]
struct Shape {
    colors: usize,
    all: usize,
    shown: usize,
}

impl Shape {
    fn convert<T>(
        self,
        source: &[T],
        executor: &(dyn TransformExecutor<T> + Send + Sync),
    ) -> Result<Vec<T>, String>
    where
        T: Copy + Default + Send + Sync,
    {
        let Self { colors, all, shown } = self;
        let step = all - colors + shown;
        let mut out = vec![T::default(); source.len() / all * step];
        source
            .par_chunks(BLOCK * all)
            .zip(out.par_chunks_mut(BLOCK * step))
            .try_for_each(|(source, out)| {
                if all == colors {
                    return executor.transform(source, out);
                }
                let pixels = source.len() / all;
                let mut before = Vec::with_capacity(pixels * colors);
                for pixel in source.chunks_exact(all) {
                    before.extend_from_slice(&pixel[..colors]);
                }
                let mut after = vec![T::default(); pixels * shown];
                executor.transform(&before, &mut after)?;
                for ((out, source), after) in out
                    .chunks_exact_mut(step)
                    .zip(source.chunks_exact(all))
                    .zip(after.chunks_exact(shown))
                {
                    out[..shown].copy_from_slice(after);
                    out[shown..].copy_from_slice(&source[colors..]);
                }
                Ok(())
            })
            .map_err(|error| format!("{error:?}"))?;
        Ok(out)
    }
}

/// The first of every `all` samples through a function.
fn mapped<T: Copy>(source: &[T], all: usize, value: impl Fn(T) -> T) -> Vec<T> {
    let mut out = source.to_vec();
    for sample in out.iter_mut().step_by(all.max(1)) {
        *sample = value(*sample);
    }
    out
}

/// A transform of one band, value by value. What it gives has three equal bands.
fn table(bytes: &Transform8BitExecutor, deep: &Transform16BitExecutor) -> Result<Kind, CmsError> {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let mut rgb = vec![0; 3 * 256];
    bytes.transform(&all, &mut rgb)?;
    let mut table = Box::new([0; 256]);
    for (value, pixel) in table.iter_mut().zip(rgb.as_chunks::<3>().0) {
        *value = pixel[1];
    }
    if all.iter().zip(table.iter()).all(|(a, b)| a.abs_diff(*b) <= 1) {
        return Ok(Kind::Same);
    }
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let mut rgb = vec![0; 3 * all.len()];
    deep.transform(&all, &mut rgb)?;
    Ok(Kind::Table {
        bytes: table,
        deep: rgb.as_chunks::<3>().0.iter().map(|pixel| pixel[1]).collect(),
    })
}

/// Whether a grid of colors comes out as it went in.
fn is_identity(bytes: &Transform8BitExecutor) -> Result<bool, CmsError> {
    let steps = || (0..=u8::MAX).step_by(17);
    let grid: Vec<u8> = steps()
        .flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b])))
        .collect();
    let mut out = vec![0; grid.len()];
    bytes.transform(&grid, &mut out)?;
    Ok(grid.iter().zip(&out).all(|(a, b)| a.abs_diff(*b) <= 1))
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::{AlphaMode, SampleFormat};

    use super::*;
    use crate::limits::Size;

    fn raster(bands: u32, samples: Samples) -> Raster {
        let width = samples.len() as u32 / bands;
        let mut raster = Raster::zeros(Size::new(width, 1), bands, samples.format(), 1 << 20).unwrap();
        raster.samples = samples;
        if matches!(bands, 2 | 4) {
            raster.alpha = AlphaMode::Unassociated;
        }
        raster
    }

    fn of(profile: &ColorProfile, bands: Bands) -> Transform {
        Transform::to_srgb(&profile.encode().unwrap(), bands).unwrap()
    }

    #[test]
    fn srgb_is_left_alone() {
        let transform = of(&ColorProfile::new_srgb(), Bands::Rgb);
        assert!(transform.is_identity());
        let picture = raster(3, Samples::U8(vec![1, 2, 3]));
        assert_eq!(transform.apply(picture.clone(), 0).unwrap(), picture);
    }

    #[test]
    fn wide_colors_are_brought_into_srgb_and_opacity_stays() {
        let transform = of(&ColorProfile::new_display_p3(), Bands::Rgb);
        // Grey is grey in both; a red of Display P3 is beyond sRGB, its green and blue end at 0.
        let pixels = vec![128, 128, 128, 7, 255, 255, 255, 9, 200, 60, 60, 11];
        let shown = transform.apply(raster(4, Samples::U8(pixels)), 1 << 20).unwrap();
        let shown = shown.as_u8().unwrap();
        assert_eq!((shown[3], shown[7], shown[11]), (7, 9, 11));
        assert!(shown[..3].iter().all(|v| v.abs_diff(128) <= 1), "{shown:?}");
        assert_eq!(shown[4..7], [255, 255, 255]);
        assert!(shown[8] > 208 && shown[9] < 55 && shown[10] < 58, "{shown:?}");
    }

    #[test]
    fn deep_samples_agree_with_bytes() {
        let transform = of(&ColorProfile::new_adobe_rgb(), Bands::Rgb);
        let bytes: Vec<u8> = (0..300).map(|i| (i * 37 % 256) as u8).collect();
        let deep = bytes.iter().map(|&b| u16::from(b) * 257).collect();
        let shown = transform.apply(raster(3, Samples::U8(bytes)), 1 << 20).unwrap();
        let Samples::U16(deep) = transform
            .apply(raster(3, Samples::U16(deep)), 1 << 20)
            .unwrap()
            .samples
        else {
            panic!("16 bits expected");
        };
        for (byte, deep) in shown.as_u8().unwrap().iter().zip(deep) {
            assert!((f64::from(*byte) - f64::from(deep) / 257.0).abs() <= 1.5);
        }
    }

    #[test]
    fn grey_goes_through_a_table() {
        let transform = of(&ColorProfile::new_gray_with_gamma(1.0), Bands::Grey);
        let shown = transform
            .apply(raster(2, Samples::U8(vec![0, 1, 55, 2, 255, 3])), 1 << 20)
            .unwrap();
        let shown = shown.as_u8().unwrap();
        assert_eq!((shown[0], shown[1], shown[3], shown[5]), (0, 1, 2, 3));
        // 55/255 of the light is half the way up the sRGB curve.
        assert!(shown[2].abs_diff(128) <= 1 && shown[4] >= 254, "{shown:?}");
    }

    #[test]
    fn other_bands_and_other_samples_are_faults() {
        let transform = of(&ColorProfile::new_display_p3(), Bands::Rgb);
        assert!(transform.apply(raster(1, Samples::U8(vec![1])), 99).is_err());
        assert!(
            transform
                .apply(raster(3, Samples::zeros(SampleFormat::F32, 3)), 99)
                .is_err()
        );
    }
}
