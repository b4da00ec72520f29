//! Resizing: nearest neighbor, bilinear, Lanczos.
//!
//! Pixels are little squares: output pixel `i` has its center at `(i + ½)·s` of the source, `s` being the
//! ratio of the sides. The border is repeated. Colors with unassociated opacity are weighted by it.

mod filter;
mod nearest;
mod sampled;

use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, map_samples, sample_count};

/// How pictures are resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The source pixel at `⌊(i + ½)·s⌋`.
    Nearest,
    /// Two neighbors an axis; a reduction by more than 2 first averages blocks of `⌊s⌋` pixels.
    #[default]
    Bilinear,
    /// The Lanczos kernel of three lobes, widened when reducing.
    Lanczos,
}

/// The picture at `size`.
///
/// # Errors
/// 400 when the result is larger than `max_bytes`, a fault if the raster is inconsistent.
pub fn resize(
    raster: Raster,
    size: Size,
    interpolation: Interpolation,
    max_bytes: u64,
) -> Result<Raster, Error> {
    raster.check()?;
    if size == raster.size {
        return Ok(raster);
    }
    let count = sample_count(size, raster.band_count, raster.samples.format(), max_bytes)?;
    let shape = sampled::Shape::new(&raster);
    let samples = match interpolation {
        Interpolation::Nearest => {
            map_samples!(&raster.samples, v => nearest::nearest(v, &shape, size, count))
        }
        Interpolation::Bilinear => {
            let across = filter::bilinear(raster.size.width, size.width);
            let down = filter::bilinear(raster.size.height, size.height);
            map_samples!(&raster.samples, v => sampled::resample(v, &shape, &across, &down, count))
        }
        Interpolation::Lanczos => {
            let across = filter::lanczos(raster.size.width, size.width);
            let down = filter::lanczos(raster.size.height, size.height);
            map_samples!(&raster.samples, v => sampled::resample(v, &shape, &across, &down, count))
        }
    };
    raster.with(size, raster.band_count, samples)
}

#[cfg(test)]
mod tests;
