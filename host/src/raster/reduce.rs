//! Smaller copies by averaging, for levels a file does not store.

use iiphost_plugin_api::{AlphaMode, ColorModel};

use super::{Raster, Sample, Samples, map_samples};
use crate::error::Error;
use crate::limits::Size;

/// Half the size by averaging 2×2 pixels: sides are rounded down, at least 1, so an odd last column or
/// row is left out.
///
/// # Errors
/// A fault if the samples do not fit the size.
pub fn halve(raster: &Raster) -> Result<Raster, Error> {
    reduce_by_blocks(raster, 2)
}

/// `1/factor` of the size by averaging blocks of `factor × factor` pixels, rounded; sides are rounded
/// down, at least 1. A side shorter than `factor` is averaged whole.
///
/// Colors with unassociated opacity are weighted by it. CIELAB a and b are averaged as signed values.
///
/// # Errors
/// A fault if the samples do not fit the size.
pub fn reduce_by_blocks(raster: &Raster, factor: u32) -> Result<Raster, Error> {
    raster.check()?;
    let factor = factor.max(1);
    if factor == 1 {
        return Ok(raster.clone());
    }
    let size = Size::new(
        (raster.size.width / factor).max(1),
        (raster.size.height / factor).max(1),
    );
    let block = Size::new(factor.min(raster.size.width), factor.min(raster.size.height));
    if raster.color_model == ColorModel::CieLab && !matches!(raster.samples, Samples::F32(_)) {
        let mut offset = raster.clone();
        toggle_sign(&mut offset);
        let mut made = average(&offset, size, block)?;
        toggle_sign(&mut made);
        return Ok(made);
    }
    average(raster, size, block)
}

/// Two's complement a and b to offset form and back.
fn toggle_sign(raster: &mut Raster) {
    let bands = raster.band_count as usize;
    match &mut raster.samples {
        Samples::U8(v) => v
            .chunks_exact_mut(bands)
            .for_each(|p| p[1..3].iter_mut().for_each(|s| *s ^= 0x80)),
        Samples::U16(v) => v
            .chunks_exact_mut(bands)
            .for_each(|p| p[1..3].iter_mut().for_each(|s| *s ^= 0x8000)),
        Samples::U32(_) | Samples::F32(_) => {}
    }
}

fn average(raster: &Raster, size: Size, block: Size) -> Result<Raster, Error> {
    let bands = raster.band_count as usize;
    let weighted = (raster.alpha == AlphaMode::Unassociated)
        .then(|| raster.alpha_band())
        .flatten();
    let quarters = block == Size::new(2, 2) && weighted.is_none();
    let samples = match &raster.samples {
        Samples::U8(v) if quarters => Samples::U8(quarter_sums(v, raster.row_len(), size, bands)),
        Samples::U16(v) if quarters => Samples::U16(quarter_sums(v, raster.row_len(), size, bands)),
        samples => map_samples!(samples, v => blocks(v, raster.row_len(), size, block, bands, weighted)),
    };
    raster.with(size, raster.band_count, samples)
}

/// The case every virtual level of an 8 or 16-bit picture without opacity meets.
fn quarter_sums<T>(source: &[T], row_len: usize, size: Size, bands: usize) -> Vec<T>
where
    T: Sample + TryFrom<u32>,
    u32: From<T>,
{
    let mut out = vec![T::default(); size.width as usize * size.height as usize * bands];
    let out_rows = out.chunks_exact_mut(size.width as usize * bands);
    for (two_rows, out_row) in source.chunks_exact(2 * row_len).zip(out_rows) {
        let (upper, lower) = two_rows.split_at(row_len);
        match bands {
            1 => halve_row(upper, lower, out_row, 1),
            3 => halve_row(upper, lower, out_row, 3),
            4 => halve_row(upper, lower, out_row, 4),
            n => halve_row(upper, lower, out_row, n),
        }
    }
    out
}

#[inline(always)]
fn halve_row<T>(upper: &[T], lower: &[T], out: &mut [T], bands: usize)
where
    T: Sample + TryFrom<u32>,
    u32: From<T>,
{
    let pairs = upper.chunks_exact(2 * bands).zip(lower.chunks_exact(2 * bands));
    for ((a, b), pixel) in pairs.zip(out.chunks_exact_mut(bands)) {
        for (band, sample) in pixel.iter_mut().enumerate() {
            let sum = u32::from(a[band])
                + u32::from(a[bands + band])
                + u32::from(b[band])
                + u32::from(b[bands + band]);
            // The average of four samples is one of their type.
            *sample = T::try_from((sum + 2) >> 2).unwrap_or_default();
        }
    }
}

/// Any block, any sample: `weighted` is the band colors are weighted by.
fn blocks<T: Sample>(
    source: &[T],
    row_len: usize,
    size: Size,
    block: Size,
    bands: usize,
    weighted: Option<usize>,
) -> Vec<T> {
    let one = T::count(1);
    let none = T::Sum::default();
    let count = T::count(block.width.saturating_mul(block.height));
    let block_len = block.width as usize * bands;
    let mut out = vec![T::default(); size.width as usize * size.height as usize * bands];
    let mut sums = vec![none; bands];
    let out_rows = out.chunks_exact_mut(size.width as usize * bands);
    for (rows, out_row) in source.chunks_exact(block.height as usize * row_len).zip(out_rows) {
        for (col, pixel) in out_row.chunks_exact_mut(bands).enumerate() {
            let start = col * block_len;
            sums.fill(none);
            let weighted = weighted.filter(|&alpha| {
                // Where opacity does not vary it has no effect: the division below is the cost.
                let opacity = rows[start + alpha];
                opacity == T::default()
                    || !rows.chunks_exact(row_len).all(|row| {
                        let pixels = row[start..start + block_len].chunks_exact(bands);
                        pixels.clone().all(|pixel| pixel[alpha] == opacity)
                    })
            });
            for row in rows.chunks_exact(row_len) {
                for source in row[start..start + block_len].chunks_exact(bands) {
                    for (band, (sum, sample)) in sums.iter_mut().zip(source).enumerate() {
                        let weight = match weighted {
                            Some(alpha) if band != alpha => source[alpha].weight(),
                            _ => one,
                        };
                        *sum = sample.add(*sum, weight);
                    }
                }
            }
            for (band, sample) in pixel.iter_mut().enumerate() {
                let weight = match weighted {
                    Some(alpha) if band != alpha => sums[alpha],
                    _ => count,
                };
                if weight != none {
                    *sample = T::divide(sums[band], weight);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_plugin_api::SampleFormat;

    fn grey(width: u32, height: u32, samples: Samples) -> Raster {
        let mut raster = Raster::zeros(Size::new(width, height), 1, samples.format(), 1 << 20).unwrap();
        raster.samples = samples;
        raster
    }

    #[test]
    fn odd_last_columns_and_rows_are_left_out() {
        let raster = grey(3, 3, Samples::U8(vec![1, 2, 99, 3, 5, 99, 99, 99, 99]));
        let half = halve(&raster).unwrap();
        assert_eq!((half.size, half.samples), (Size::new(1, 1), Samples::U8(vec![3])));
    }

    #[test]
    fn a_side_of_one_pixel_stays() {
        let raster = grey(1, 4, Samples::U16(vec![1, 2, 60_000, 60_001]));
        let half = halve(&raster).unwrap();
        assert_eq!(
            (half.size, half.samples),
            (Size::new(1, 2), Samples::U16(vec![2, 60_001]))
        );
    }

    #[test]
    fn transparent_colors_have_no_weight() {
        let mut raster = Raster::zeros(Size::new(2, 2), 2, SampleFormat::U8, 1 << 20).unwrap();
        raster.alpha = AlphaMode::Unassociated;
        raster.samples = Samples::U8(vec![100, 255, 9, 0, 200, 255, 77, 0]);
        assert_eq!(halve(&raster).unwrap().samples, Samples::U8(vec![150, 128]));
    }

    #[test]
    fn lab_averages_signed_values() {
        let mut raster = Raster::zeros(Size::new(2, 2), 3, SampleFormat::U8, 1 << 20).unwrap();
        raster.color_model = ColorModel::CieLab;
        raster.samples = Samples::U8(
            [[10, 255, 1]; 2]
                .into_iter()
                .chain([[20, 1, 255]; 2])
                .flatten()
                .collect(),
        );
        assert_eq!(halve(&raster).unwrap().samples, Samples::U8(vec![15, 0, 0]));
    }

    #[test]
    fn fast_and_general_averages_agree() {
        let bytes: Vec<u8> = (0..7 * 6 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let fast = quarter_sums(&bytes, 21, Size::new(3, 3), 3);
        assert_eq!(
            fast,
            blocks(&bytes, 21, Size::new(3, 3), Size::new(2, 2), 3, None)
        );
    }

    #[test]
    fn blocks_of_three() {
        let raster = grey(4, 3, Samples::F32((0..12).map(|v| v as f32).collect()));
        let third = reduce_by_blocks(&raster, 3).unwrap();
        assert_eq!(third.samples, Samples::F32(vec![5.0]));
    }
}
