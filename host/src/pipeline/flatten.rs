//! Pictures with opacity laid over white, for encoders without opacity.

use iiphost_plugin_api::AlphaMode;

use super::depth::{Depth, map_depths};
use crate::error::Error;
use crate::raster::Raster;

/// `c·a + white·(1 − a)`, rounded; the opacity band is dropped.
pub(super) fn over_white(raster: Raster) -> Result<Raster, Error> {
    let Some(colors) = raster.alpha_band() else {
        return Ok(Raster {
            alpha: AlphaMode::None,
            ..raster
        });
    };
    let all = raster.band_count as usize;
    let associated = raster.alpha == AlphaMode::Associated;
    let samples = map_depths!(raster, v => flatten(v, colors, all, associated))?;
    let mut flat = raster.with(raster.size, colors as u32, samples)?;
    flat.alpha = AlphaMode::None;
    Ok(flat)
}

fn flatten<T: Depth>(source: &[T], colors: usize, all: usize, associated: bool) -> Vec<T> {
    let mut out = vec![T::default(); source.len() / all * colors];
    match (colors, all) {
        (1, 2) => lay(source, &mut out, 1, 2, associated),
        (3, 4) => lay(source, &mut out, 3, 4, associated),
        _ => lay(source, &mut out, colors, all, associated),
    }
    out
}

#[inline(always)]
fn lay<T: Depth>(source: &[T], out: &mut [T], colors: usize, all: usize, associated: bool) {
    let top = T::TOP as u32;
    for (pixel, out) in source.chunks_exact(all).zip(out.chunks_exact_mut(colors)) {
        let alpha = pixel[colors].to_bits();
        for (sample, out) in pixel[..colors].iter().zip(out) {
            let color = sample.to_bits();
            *out = T::from_bits(if associated {
                (color + (top - alpha)).min(top)
            } else {
                // At most top² + top/2, which fits 32 bits for 16-bit samples too.
                (color * alpha + top * (top - alpha) + top / 2) / top
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opacity_mixes_with_white() {
        let pixels = [0, 255, 0, 0, 0, 128, 200, 128, 255, 1];
        assert_eq!(flatten::<u8>(&pixels, 1, 2, false), [0, 255, 127, 227, 255]);
        assert_eq!(
            flatten::<u16>(&[65_535, 65_535, 0, 65_535, 0, 0], 1, 2, false),
            [65_535, 0, 65_535]
        );
    }

    #[test]
    fn associated_colors_are_not_multiplied_again() {
        assert_eq!(flatten::<u8>(&[100, 50, 0, 128], 3, 4, true), [227, 177, 127]);
    }
}
