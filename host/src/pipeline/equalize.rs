//! Histogram equalization.

use super::Statistics;
use crate::error::Error;
use crate::raster::{Raster, Samples};

/// Every color sample mapped through the cumulative histogram of the picture; opacity stays.
pub(super) fn equalize(mut raster: Raster, statistics: &Statistics) -> Result<Raster, Error> {
    let table = statistics.equalizing_table();
    let colors = match raster.alpha_band() {
        Some(alpha) => alpha,
        None => raster.band_count as usize,
    };
    let all = raster.band_count as usize;
    match &mut raster.samples {
        Samples::U8(v) => map(v, colors, all, |s| table[usize::from(s)]),
        Samples::U16(v) => map(v, colors, all, |s| between(&table, s)),
        other => {
            return Err(Error::fault(
                "pipeline",
                format!("equalization of {:?}", other.format()),
            ));
        }
    }
    Ok(raster)
}

fn map<T: Copy>(samples: &mut [T], colors: usize, all: usize, f: impl Fn(T) -> T) {
    if colors == all {
        samples.iter_mut().for_each(|s| *s = f(*s));
        return;
    }
    for pixel in samples.chunks_exact_mut(all) {
        pixel[..colors].iter_mut().for_each(|s| *s = f(*s));
    }
}

/// The table at 16 bits: straight lines between its 256 points.
fn between(table: &[u8; 256], sample: u16) -> u16 {
    let (low, rest) = (sample / 257, u32::from(sample % 257));
    let low = usize::from(low);
    let (a, b) = (u32::from(table[low]), u32::from(table[(low + 1).min(255)]));
    // At most 257·255.
    ((a * (257 - rest)) + b * rest) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_samples_follow_the_same_curve() {
        let mut table = [0; 256];
        for (i, t) in table.iter_mut().enumerate() {
            *t = i as u8;
        }
        for sample in [0, 1, 256, 257, 30_000, 65_535] {
            assert_eq!(between(&table, sample), sample);
        }
    }
}
