//! Edge tiles completed to the size their protocol computes.

use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, map_samples, sample_count};

/// Repeats the last column and the last row until the picture has `size`.
pub(super) fn pad(raster: Raster, size: Size, max_bytes: u64) -> Result<Raster, Error> {
    if size.width <= raster.size.width && size.height <= raster.size.height {
        return Ok(raster);
    }
    let size = Size::new(
        size.width.max(raster.size.width),
        size.height.max(raster.size.height),
    );
    let count = sample_count(size, raster.band_count, raster.samples.format(), max_bytes)?;
    let bands = raster.band_count as usize;
    let samples = map_samples!(&raster.samples, v => repeat(v, raster.row_len(), bands, size, count));
    raster.with(size, raster.band_count, samples)
}

fn repeat<T: Copy>(source: &[T], row_len: usize, bands: usize, size: Size, count: usize) -> Vec<T> {
    let new_row_len = size.width as usize * bands;
    let mut out = Vec::with_capacity(count);
    for row in source.chunks_exact(row_len) {
        out.extend_from_slice(row);
        for _ in row_len / bands..size.width as usize {
            out.extend_from_slice(&row[row_len - bands..]);
        }
    }
    while out.len() < count {
        out.extend_from_within(out.len() - new_row_len..);
    }
    out
}
