//! The wanted region of a raster.

use iiphost_plugin_api::Region;

use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, map_samples};

/// The pixels of `region`, which lies inside the raster.
pub(super) fn crop(raster: Raster, region: Region) -> Result<Raster, Error> {
    let size = Size::new(region.width, region.height);
    if size == raster.size {
        return Ok(raster);
    }
    let samples =
        map_samples!(&raster.samples, v => cut(v, raster.row_len(), raster.band_count as usize, region));
    raster.with(size, raster.band_count, samples)
}

fn cut<T: Copy>(source: &[T], row_len: usize, bands: usize, region: Region) -> Vec<T> {
    let (start, len) = (region.x as usize * bands, region.width as usize * bands);
    let mut out = Vec::with_capacity(len * region.height as usize);
    for row in source
        .chunks_exact(row_len)
        .skip(region.y as usize)
        .take(region.height as usize)
    {
        out.extend_from_slice(&row[start..start + len]);
    }
    out
}
