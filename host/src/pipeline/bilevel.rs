//! Black and white by a threshold.

use super::Statistics;
use crate::error::Error;
use crate::raster::{Raster, Samples};

/// Samples up to Otsu's threshold of the picture become 0, others 255. The picture is grey; opacity stays.
pub(super) fn bilevel(mut raster: Raster, statistics: &Statistics) -> Result<Raster, Error> {
    let threshold = statistics.threshold();
    let alpha = raster.alpha_band();
    let all = raster.band_count as usize;
    let Samples::U8(samples) = &mut raster.samples else {
        return Err(Error::fault("pipeline", "bilevel of deep samples"));
    };
    let cut = |s: &mut u8| *s = if *s <= threshold { 0 } else { 255 };
    match alpha {
        None => samples.iter_mut().for_each(cut),
        Some(_) => samples.chunks_exact_mut(all).for_each(|pixel| cut(&mut pixel[0])),
    }
    Ok(raster)
}
