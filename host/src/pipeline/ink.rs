//! Inks shown on a screen: CMYK without a profile.

use iiphost_plugin_api::ColorModel;

use super::depth::map_depths;
use crate::error::Error;
use crate::raster::{Raster, Samples, sample_count};

/// `(1 − ink)·(1 − black)` for red, green and blue; bands after the inks stay.
pub(super) fn to_rgb(raster: Raster, max_bytes: u64) -> Result<Raster, Error> {
    if raster.color_model != ColorModel::Cmyk || raster.band_count < 4 {
        return Ok(raster);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Size;
    use iiphost_plugin_api::SampleFormat;

    #[test]
    fn no_ink_is_white_and_black_ink_covers_all() {
        let mut raster = Raster::zeros(Size::new(3, 1), 4, SampleFormat::U8, 100).unwrap();
        raster.color_model = ColorModel::Cmyk;
        raster.samples = Samples::U8(vec![0, 0, 0, 0, 10, 20, 30, 255, 255, 0, 128, 0]);
        let rgb = to_rgb(raster, 100).unwrap();
        assert_eq!(
            rgb.samples,
            Samples::U8(vec![255, 255, 255, 0, 0, 0, 0, 255, 127])
        );
        assert_eq!(rgb.color_model, ColorModel::Rgb);
    }
}
