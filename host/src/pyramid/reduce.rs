//! Rows averaged two by two.

use iiphost_plugin_api::{AlphaMode, SampleFormat};
use rayon::prelude::*;

use crate::encode::tiff::PixelLayout;

/// Rows the next level gets from `rows` rows of a level: pairs, the odd last one is dropped (floor
/// sizes); a level of one row keeps it.
pub(super) fn reduced_rows(rows: u32, level_height: u32) -> u32 {
    if level_height == 1 { rows } else { rows / 2 }
}

/// Fills `out` with the rows of the next level: each sample the rounded mean of 2×2, colors with
/// unassociated alpha weighted by it (what is invisible has no color to give).
///
/// `rows` holds whole rows of `width` pixels, `out` whole rows of `max(1, width / 2)`; row `r` of `out` is
/// made from rows `2r` and `2r + 1`, or from row `r` twice where the level has only one.
pub(super) fn reduce(rows: &[u8], width: u32, layout: &PixelLayout, out: &mut [u8]) {
    let row_bytes = width as usize * layout.pixel_bytes();
    let out_row_bytes = (width as usize / 2).max(1) * layout.pixel_bytes();
    out.par_chunks_exact_mut(out_row_bytes)
        .enumerate()
        .for_each(|(row, out)| {
            let upper = rows.get(2 * row * row_bytes..(2 * row + 1) * row_bytes);
            let lower = rows.get((2 * row + 1) * row_bytes..(2 * row + 2) * row_bytes);
            if let Some(upper) = upper {
                reduce_row(upper, lower.unwrap_or(upper), layout, out);
            }
        });
}

fn reduce_row(upper: &[u8], lower: &[u8], layout: &PixelLayout, out: &mut [u8]) {
    let bands = layout.band_count as usize;
    let alpha = (layout.alpha == AlphaMode::Unassociated).then_some(layout.color_band_count as usize);
    match (layout.sample_format, alpha) {
        (SampleFormat::U8, None) => match bands {
            1 => average::<1>(upper, lower, out),
            3 => average::<3>(upper, lower, out),
            4 => average::<4>(upper, lower, out),
            _ => quads::<u8>(upper, lower, bands, None, out),
        },
        (SampleFormat::U8, alpha) => quads::<u8>(upper, lower, bands, alpha, out),
        (_, alpha) => quads::<u16>(upper, lower, bands, alpha, out),
    }
}

/// The common case with the band count known to the compiler.
fn average<const BANDS: usize>(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    if upper.len() == BANDS {
        quads::<u8>(upper, lower, BANDS, None, out);
        return;
    }
    let pairs = upper.chunks_exact(2 * BANDS).zip(lower.chunks_exact(2 * BANDS));
    for (out, (upper, lower)) in out.chunks_exact_mut(BANDS).zip(pairs) {
        for band in 0..BANDS {
            let sum = u16::from(upper[band])
                + u16::from(upper[band + BANDS])
                + u16::from(lower[band])
                + u16::from(lower[band + BANDS]);
            out[band] = ((sum + 2) >> 2) as u8;
        }
    }
}

/// A sample of at most 16 bits.
trait Sample: bytemuck::Pod {
    fn widen(self) -> u64;
    fn narrow(value: u64) -> Self;
}

impl Sample for u8 {
    fn widen(self) -> u64 {
        u64::from(self)
    }
    fn narrow(value: u64) -> Self {
        value as Self
    }
}

impl Sample for u16 {
    fn widen(self) -> u64 {
        u64::from(self)
    }
    fn narrow(value: u64) -> Self {
        value as Self
    }
}

/// Any band count; a row of one pixel is averaged with itself.
fn quads<S: Sample>(upper: &[u8], lower: &[u8], bands: usize, alpha: Option<usize>, out: &mut [u8]) {
    let step = bands * size_of::<S>();
    let width = upper.len() / step;
    let sample = |row: &[u8], x: usize, band: usize| -> u64 {
        let at = x * step + band * size_of::<S>();
        row.get(at..at + size_of::<S>())
            .map_or(0, |bytes| bytemuck::pod_read_unaligned::<S>(bytes).widen())
    };
    for (x, pixel) in out.chunks_exact_mut(step).enumerate() {
        let (left, right) = (2 * x, (2 * x + 1).min(width.saturating_sub(1)));
        let four = |band| {
            [
                sample(upper, left, band),
                sample(upper, right, band),
                sample(lower, left, band),
                sample(lower, right, band),
            ]
        };
        let weights = alpha.map(four).filter(|w| w.iter().any(|&w| w > 0));
        for (band, out) in pixel.chunks_exact_mut(size_of::<S>()).enumerate() {
            let values = four(band);
            let mean = match weights {
                Some(weights) if alpha.is_some_and(|a| band < a) => {
                    let total: u64 = weights.iter().sum();
                    let sum: u64 = values.iter().zip(&weights).map(|(v, w)| v * w).sum();
                    (sum + total / 2) / total
                }
                _ => (values.iter().sum::<u64>() + 2) / 4,
            };
            out.copy_from_slice(bytemuck::bytes_of(&S::narrow(mean)));
        }
    }
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::ColorModel;

    use super::*;

    fn layout(color: ColorModel, alpha: AlphaMode, format: SampleFormat) -> PixelLayout {
        PixelLayout::new(color, alpha, format)
    }

    #[test]
    fn means_are_rounded_and_odd_columns_and_rows_dropped() {
        let grey = layout(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        let rows = [
            0, 1, 10, 10, 99, //
            1, 0, 10, 11, 99, //
            77, 77, 77, 77, 77,
        ];
        let mut out = [9; 2];
        assert_eq!(reduced_rows(3, 3), 1);
        reduce(&rows, 5, &grey, &mut out);
        // 2/4 rounds up, 41/4 rounds down.
        assert_eq!(out, [1, 10]);
    }

    #[test]
    fn a_single_column_and_a_single_row_are_kept() {
        let grey = layout(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        let mut out = [0; 1];
        reduce(&[10, 20], 1, &grey, &mut out);
        assert_eq!(out, [15]);
        let mut out = [0; 2];
        assert_eq!(reduced_rows(1, 1), 1);
        reduce(&[10, 20, 30, 40], 4, &grey, &mut out);
        assert_eq!(out, [15, 35]);
    }

    #[test]
    fn sixteen_bit_samples_do_not_overflow() {
        let rgb = layout(ColorModel::Rgb, AlphaMode::None, SampleFormat::U16);
        let rows = [65535_u16; 2 * 2 * 3];
        let mut out = [0_u16; 3];
        reduce(
            bytemuck::cast_slice(&rows),
            2,
            &rgb,
            bytemuck::cast_slice_mut(&mut out),
        );
        assert_eq!(out, [65535; 3]);
    }

    #[test]
    fn invisible_pixels_give_no_color() {
        let grey = layout(ColorModel::Grey, AlphaMode::Unassociated, SampleFormat::U8);
        let mut out = [0; 2];
        reduce(&[200, 255, 0, 0, 0, 0, 0, 0], 2, &grey, &mut out);
        assert_eq!(out, [200, 64]);
        reduce(&[8, 0, 4, 0, 8, 0, 4, 0], 2, &grey, &mut out);
        assert_eq!(out, [6, 0]);
    }

    #[test]
    fn the_fast_path_and_the_general_one_agree() {
        let row: Vec<u8> = (0..2 * 14 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let (upper, lower) = row.split_at(14 * 3);
        let (mut fast, mut general) = (vec![0; 7 * 3], vec![0; 7 * 3]);
        average::<3>(upper, lower, &mut fast);
        quads::<u8>(upper, lower, 3, None, &mut general);
        assert_eq!(fast, general);
    }
}
