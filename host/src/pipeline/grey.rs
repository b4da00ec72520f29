//! One grey band from three.

use iiphost_plugin_api::ColorModel;

use super::depth::{Depth, map_depths};
use crate::error::Error;
use crate::raster::Raster;

/// Luma of ITU-R BT.601 in 22-bit fractions, cut off: 0.299 R + 0.587 G + 0.114 B.
///
/// Of two color bands the first is grey, of more than three the first three are red, green and blue.
/// Opacity stays.
pub(super) fn grey(raster: Raster) -> Result<Raster, Error> {
    let colors = raster.color_band_count() as usize;
    let all = raster.band_count as usize;
    if all == 1 || (colors == 1 && raster.alpha_band().is_some() && all == 2) {
        return Ok(raster);
    }
    let alpha = raster.alpha_band();
    let samples = map_depths!(raster, v => match (colors, all, alpha) {
        (3, 3, None) => v.as_chunks::<3>().0.iter().map(|p| luma(p)).collect(),
        (0..=2, _, None) => v.chunks_exact(all).map(|p| p[0]).collect(),
        (0..=2, _, Some(a)) => v.chunks_exact(all).flat_map(|p| [p[0], p[a]]).collect(),
        (_, _, None) => v.chunks_exact(all).map(luma).collect(),
        (_, _, Some(a)) => v.chunks_exact(all).flat_map(|p| [luma(p), p[a]]).collect(),
    })?;
    let bands = 1 + u32::from(alpha.is_some());
    let mut grey = raster.with(raster.size, bands, samples)?;
    grey.color_model = ColorModel::Grey;
    Ok(grey)
}

#[inline(always)]
fn luma<T: Depth>(pixel: &[T]) -> T {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(|s| u64::from(s.to_bits()));
    // The factors add up to 2²².
    T::from_bits(((1_254_097 * red + 2_462_056 * green + 478_151 * blue) >> 22) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_cut_off() {
        let cases: [([u8; 3], u8); 6] = [
            ([255, 0, 0], 76),
            ([0, 255, 0], 149),
            ([0, 0, 255], 29),
            ([10, 20, 30], 18),
            ([200, 100, 50], 124),
            ([255, 255, 255], 255),
        ];
        for (pixel, want) in cases {
            assert_eq!(luma(&pixel), want, "{pixel:?}");
        }
        assert_eq!(luma(&[65_535u16; 3]), 65_535);
    }
}
