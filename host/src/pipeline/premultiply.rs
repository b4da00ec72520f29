//! Colors freed from the opacity they were multiplied by in the file.

use iiphost_plugin_api::AlphaMode;

use crate::error::Error;
use crate::raster::{Raster, Sample, Samples};

/// Colors divided by opacity, rounded, where the file stores them multiplied; else the same picture.
pub(super) fn unassociate(mut raster: Raster) -> Result<Raster, Error> {
    let (Some(alpha), AlphaMode::Associated) = (raster.alpha_band(), raster.alpha) else {
        return Ok(raster);
    };
    let all = raster.band_count as usize;
    let top = u64::from(u32::MAX >> (32 - raster.bit_depth.clamp(1, 32)));
    match &mut raster.samples {
        Samples::U8(v) => divide(v, alpha, all, top),
        Samples::U16(v) => divide(v, alpha, all, top),
        Samples::U32(v) => divide(v, alpha, all, top),
        Samples::F32(v) => {
            for pixel in v.chunks_exact_mut(all) {
                let (colors, rest) = pixel.split_at_mut(alpha);
                if rest[0] > 0.0 {
                    colors.iter_mut().for_each(|c| *c /= rest[0]);
                }
            }
        }
    }
    raster.alpha = AlphaMode::Unassociated;
    Ok(raster)
}

fn divide<T: Sample + TryFrom<u64>>(samples: &mut [T], alpha: usize, all: usize, top: u64)
where
    u64: From<T>,
{
    for pixel in samples.chunks_exact_mut(all) {
        let (colors, rest) = pixel.split_at_mut(alpha);
        let alpha = u64::from(rest[0]);
        if alpha == 0 || alpha == top {
            continue;
        }
        for color in colors {
            let value = (u64::from(*color) * top + alpha / 2) / alpha;
            // `top` is a value of the type.
            *color = T::try_from(value.min(top)).unwrap_or(*color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Size;
    use iiphost_plugin_api::SampleFormat;

    #[test]
    fn colors_are_divided_once() {
        let mut raster = Raster::zeros(Size::new(3, 1), 2, SampleFormat::U8, 100).unwrap();
        raster.alpha = AlphaMode::Associated;
        raster.samples = Samples::U8(vec![64, 128, 9, 0, 200, 255]);
        let free = unassociate(raster).unwrap();
        assert_eq!(free.samples, Samples::U8(vec![128, 128, 9, 0, 200, 255]));
        assert_eq!(unassociate(free.clone()).unwrap(), free);
    }
}
