//! Rotation by any angle.

use iiphost_plugin_api::AlphaMode;

use super::depth::map_depths;
use super::{AlphaOut, rows};
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, Sample, sample_count};

/// The picture turned clockwise by `degrees` on the smallest upright rectangle around it: sides
/// `|w·cos| + |h·sin|` and `|h·cos| + |w·sin|`, rounded, at least 1.
///
/// Bilinear, colors weighted by opacity. What the picture does not cover is transparent, opacity being
/// added if there is none, or white when opacity is not kept. The picture has no bands beyond color and
/// opacity.
pub(super) fn rotate(raster: Raster, degrees: f64, alpha: AlphaOut, max_bytes: u64) -> Result<Raster, Error> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (width, height) = (f64::from(raster.size.width), f64::from(raster.size.height));
    let side = |a: f64, b: f64| (a.abs() + b.abs()).round().max(1.0) as u32;
    let size = Size::new(side(width * cos, height * sin), side(height * cos, width * sin));
    let source_alpha = raster.alpha_band();
    let colors = match source_alpha {
        Some(alpha) => alpha,
        None => raster.band_count as usize,
    };
    let keep = alpha == AlphaOut::Keep;
    let bands = raster.band_count + u32::from(keep && source_alpha.is_none());
    let count = sample_count(size, bands, raster.samples.format(), max_bytes)?;
    let turn = Rotation {
        source: raster.size,
        size,
        sin,
        cos,
        source_bands: raster.band_count as usize,
        source_alpha,
        keep,
    };
    let samples = map_depths!(raster, v => match (colors, bands) {
        (1, 1) => turn.run(v, count, 1, 1),
        (3, 3) => turn.run(v, count, 3, 3),
        (1, 2) => turn.run(v, count, 1, 2),
        (3, 4) => turn.run(v, count, 3, 4),
        (colors, bands) => turn.run(v, count, colors, bands as usize),
    })?;
    let mut turned = Raster {
        size,
        band_count: bands,
        samples,
        ..raster
    };
    if keep {
        turned.alpha = AlphaMode::Unassociated;
    }
    turned.check()?;
    Ok(turned)
}

/// 1 in 32.32 fixed point.
const ONE: f64 = 4_294_967_296.0;

struct Rotation {
    source: Size,
    size: Size,
    sin: f64,
    cos: f64,
    source_bands: usize,
    source_alpha: Option<usize>,
    keep: bool,
}

impl Rotation {
    #[inline(always)]
    fn run<T: Sample>(&self, source: &[T], count: usize, colors: usize, bands: usize) -> Vec<T> {
        let mut out = vec![T::default(); count];
        let touched = self.size.pixels() * 4;
        rows::fill(
            &mut out,
            self.size.width as usize * bands,
            touched,
            |first_row, out| {
                for (row, out) in out.chunks_exact_mut(self.size.width as usize * bands).enumerate() {
                    self.row(source, first_row + row, out, colors, bands);
                }
            },
        );
        out
    }

    /// Row `y`: every pixel center is turned back into the source.
    #[inline(always)]
    fn row<T: Sample>(&self, source: &[T], y: usize, out: &mut [T], colors: usize, bands: usize) {
        // Positions in 32.32 fixed point: their whole part is a shift away (rounding down a float is a
        // call on the common processors), and 2¹⁶ steps stay within 2⁻¹⁷ pixels.
        let fixed = |v: f64| (v * ONE).round() as i64;
        let across = 0.5 - f64::from(self.size.width) / 2.0;
        let down = y as f64 + 0.5 - f64::from(self.size.height) / 2.0;
        let half = |side: u32| f64::from(side) / 2.0 - 0.5;
        let mut source_x = fixed(across * self.cos + down * self.sin + half(self.source.width));
        let mut source_y = fixed(down * self.cos - across * self.sin + half(self.source.height));
        let (step_x, step_y) = (fixed(self.cos), fixed(-self.sin));
        let fraction = |v: i64| (v as u32 >> 8) as f32 / (1 << 24) as f32;
        let (last_x, last_y) = (
            i64::from(self.source.width) - 1,
            i64::from(self.source.height) - 1,
        );
        let row_len = self.source.width as usize * self.source_bands;
        let mut color = vec![0f32; colors];
        for out in out.chunks_exact_mut(bands) {
            let (left, top) = (source_x >> 32, source_y >> 32);
            let (fx, fy) = (fraction(source_x), fraction(source_y));
            source_x += step_x;
            source_y += step_y;
            if left >= 0 && top >= 0 && left < last_x && top < last_y && self.source_alpha.is_none() {
                let upper = top as usize * row_len + left as usize * self.source_bands;
                let upper = &source[upper..][..row_len + 2 * self.source_bands];
                let lower = &upper[row_len..];
                for band in 0..colors {
                    let next = band + self.source_bands;
                    let (a, b) = (upper[band].to_f32(), upper[next].to_f32());
                    let (c, d) = (lower[band].to_f32(), lower[next].to_f32());
                    let (a, c) = (a + (b - a) * fx, c + (d - c) * fx);
                    out[band] = T::from_f32(a + (c - a) * fy);
                }
                if self.keep {
                    out[colors] = T::from_f32(T::FULL);
                }
                continue;
            }
            if left < -1 || top < -1 || left > last_x || top > last_y {
                let blank = if self.keep { 0.0 } else { T::FULL };
                out.fill(T::from_f32(blank));
                continue;
            }
            // Some neighbors are outside, or opacity varies: weigh what there is.
            color.fill(0.0);
            let mut covered = 0.0;
            for (dx, dy, weight) in [
                (0, 0, (1.0 - fx) * (1.0 - fy)),
                (1, 0, fx * (1.0 - fy)),
                (0, 1, (1.0 - fx) * fy),
                (1, 1, fx * fy),
            ] {
                let (x, y) = (left + dx, top + dy);
                if x < 0 || y < 0 || x > last_x || y > last_y {
                    continue;
                }
                let pixel =
                    &source[y as usize * row_len + x as usize * self.source_bands..][..self.source_bands];
                let weight = match self.source_alpha {
                    Some(alpha) => weight * pixel[alpha].to_f32() / T::FULL,
                    None => weight,
                };
                covered += weight;
                for (c, s) in color.iter_mut().zip(pixel) {
                    *c += weight * s.to_f32();
                }
            }
            for (o, c) in out.iter_mut().zip(&color) {
                *o = T::from_f32(if !self.keep {
                    c + (1.0 - covered) * T::FULL
                } else if covered > 0.0 {
                    c / covered
                } else {
                    0.0
                });
            }
            if self.keep {
                out[colors] = T::from_f32(covered * T::FULL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Samples;
    use iiphost_plugin_api::{ColorModel, SampleFormat};

    fn white(width: u32, height: u32) -> Raster {
        let mut raster = Raster::zeros(Size::new(width, height), 3, SampleFormat::U8, 1 << 20).unwrap();
        raster.samples = Samples::U8(vec![200; raster.samples.len()]);
        raster
    }

    #[test]
    fn corners_are_white_without_opacity() {
        let turned = rotate(white(200, 140), 45.0, AlphaOut::FlattenWhite, 1 << 20).unwrap();
        assert_eq!(turned.size, Size::new(240, 240));
        let bytes = turned.as_u8().unwrap();
        assert_eq!(bytes[..3], [255; 3]);
        let center = (120 * 240 + 120) * 3;
        assert_eq!(bytes[center..center + 3], [200; 3]);
    }

    #[test]
    fn corners_are_transparent_with_opacity() {
        let turned = rotate(white(20, 10), 30.0, AlphaOut::Keep, 1 << 20).unwrap();
        assert_eq!((turned.band_count, turned.alpha), (4, AlphaMode::Unassociated));
        assert_eq!(turned.color_model, ColorModel::Rgb);
        let bytes = turned.as_u8().unwrap();
        assert_eq!(bytes[..4], [0; 4]);
        for pixel in bytes.as_chunks::<4>().0 {
            assert!(pixel[3] == 0 || pixel[..3] == [200; 3], "{pixel:?}");
        }
        let middle = (turned.size.height / 2 * turned.size.width + turned.size.width / 2) as usize * 4;
        assert_eq!(bytes[middle + 3], 255);
    }

    #[test]
    fn the_direction_is_clockwise() {
        // A bright pixel at the top turns to the right at (almost) 90 degrees.
        let mut raster = Raster::zeros(Size::new(9, 9), 1, SampleFormat::U8, 1 << 20).unwrap();
        let mut samples = vec![0; 81];
        samples[4] = 255;
        raster.samples = Samples::U8(samples);
        let turned = rotate(raster, 90.0 - 1e-9, AlphaOut::FlattenWhite, 1 << 20).unwrap();
        assert_eq!(turned.size, Size::new(9, 9));
        assert_eq!(turned.as_u8().unwrap()[4 * 9 + 8], 255);
        assert_eq!(turned.as_u8().unwrap()[4], 0);
    }
}
