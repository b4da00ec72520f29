//! Inks shown on a screen.

use iiphost_plugin_api::{ColorModel, SampleFormat};

use super::depth::{expand, map_depths};
use super::premultiply::unassociate;
use crate::color::Transform;
use crate::error::Error;
use crate::raster::{Raster, Samples, sample_count};

/// Inks as red, green and blue: by their profile, or as `(1 − ink)·(1 − black)`; bands after them stay. Inks that
/// are multiplied by opacity are divided by it first. A picture that is not CMYK is left alone.
///
/// # Errors
/// 400 when the result would be over `max_bytes`.
pub fn to_rgb(raster: Raster, inks: Option<&Transform>, max_bytes: u64) -> Result<Raster, Error> {
    if raster.color_model != ColorModel::Cmyk || raster.band_count < 4 {
        return Ok(raster);
    }
    let raster = at_most_16_bits(unassociate(raster)?, max_bytes)?;
    if let Some(inks) = inks {
        let format = raster.samples.format();
        return inks.apply(expand(raster, format)?, max_bytes);
    }
    let all = raster.band_count as usize;
    sample_count(
        raster.size,
        raster.band_count - 1,
        raster.samples.format(),
        max_bytes,
    )?;
    let top = u64::from(u32::MAX >> (32 - raster.bit_depth.clamp(1, 32)));
    let samples: Samples = map_depths!(raster, v => v
        .chunks_exact(all)
        .flat_map(|pixel| {
            let light = |ink: usize| top.saturating_sub(u64::from(pixel[ink]));
            let black = light(3);
            let color = move |ink: usize| (light(ink) * black + top / 2) / top;
            [color(0), color(1), color(2)]
                .map(|c| c.try_into().unwrap_or_default())
                .into_iter()
                .chain(pixel[4..].iter().copied())
        })
        .collect())?;
    let mut rgb = raster.with(raster.size, raster.band_count - 1, samples)?;
    rgb.color_model = ColorModel::Rgb;
    Ok(rgb)
}

/// Inks of more than 16 bits in 16: more is never shown. Floating-point inks go from 0 to 1; what is no
/// number is no ink.
fn at_most_16_bits(mut raster: Raster, max_bytes: u64) -> Result<Raster, Error> {
    let top = f64::from(u16::MAX);
    let scaled: Vec<u16> = match &raster.samples {
        Samples::U8(_) | Samples::U16(_) => return Ok(raster),
        Samples::U32(v) => {
            sample_count(raster.size, raster.band_count, SampleFormat::U16, max_bytes)?;
            let shift = raster.bit_depth.clamp(16, 32) - 16;
            // The shift leaves 16 bits.
            v.iter().map(|&v| (v >> shift) as u16).collect()
        }
        Samples::F32(v) => {
            sample_count(raster.size, raster.band_count, SampleFormat::U16, max_bytes)?;
            // Casting NaN gives 0.
            v.iter()
                .map(|&v| (f64::from(v) * top).round().clamp(0.0, top) as u16)
                .collect()
        }
    };
    raster.samples = Samples::U16(scaled);
    raster.bit_depth = 16;
    Ok(raster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Size;
    use iiphost_plugin_api::AlphaMode;

    #[test]
    fn no_ink_is_white_and_black_ink_covers_all() {
        let mut raster = Raster::zeros(Size::new(3, 1), 4, SampleFormat::U8, 100).unwrap();
        raster.color_model = ColorModel::Cmyk;
        raster.samples = Samples::U8(vec![0, 0, 0, 0, 10, 20, 30, 255, 255, 0, 128, 0]);
        let rgb = to_rgb(raster, None, 100).unwrap();
        assert_eq!(
            rgb.samples,
            Samples::U8(vec![255, 255, 255, 0, 0, 0, 0, 255, 127])
        );
        assert_eq!(rgb.color_model, ColorModel::Rgb);
    }

    #[test]
    fn inks_are_freed_from_the_opacity_they_were_multiplied_by() {
        let mut raster = Raster::zeros(Size::new(2, 1), 5, SampleFormat::U8, 100).unwrap();
        raster.color_model = ColorModel::Cmyk;
        raster.alpha = AlphaMode::Associated;
        // All of cyan at half the opacity, and none.
        raster.samples = Samples::U8(vec![128, 0, 0, 0, 128, 0, 0, 0, 0, 0]);
        let rgb = to_rgb(raster, None, 100).unwrap();
        assert_eq!(rgb.samples, Samples::U8(vec![0, 255, 255, 128, 255, 255, 255, 0]));
        assert_eq!(rgb.alpha, AlphaMode::Unassociated);
    }

    #[test]
    fn inks_of_any_depth_are_shown() {
        let inks = [0.0f32, 1.0, 0.5, 0.0, f32::NAN, f32::INFINITY, -1.0, 0.0];
        let mut raster = Raster::zeros(Size::new(2, 1), 4, SampleFormat::F32, 100).unwrap();
        raster.color_model = ColorModel::Cmyk;
        raster.samples = Samples::F32(inks.to_vec());
        let rgb = to_rgb(raster, None, 100).unwrap();
        assert_eq!(
            rgb.samples,
            Samples::U16(vec![65_535, 0, 32_767, 65_535, 0, 65_535])
        );
        let mut raster = Raster::zeros(Size::new(1, 1), 4, SampleFormat::U32, 100).unwrap();
        raster.color_model = ColorModel::Cmyk;
        raster.samples = Samples::U32(vec![0, u32::MAX, 0, 0]);
        let rgb = to_rgb(raster, None, 100).unwrap();
        assert_eq!(rgb.samples, Samples::U16(vec![65_535, 0, 65_535]));
    }
}
