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

/// Side of the squares of the result worked on at a time: whole rows would read from so many rows of a
/// large source that the processor forgets where their memory pages are.
const BLOCK: usize = 64;

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
    fn run<T: Between>(&self, source: &[T], count: usize, colors: usize, bands: usize) -> Vec<T> {
        let blank = if self.keep { 0.0 } else { T::FULL };
        let mut out = vec![T::from_f32(blank); count];
        let touched = self.size.pixels() * 4;
        let width = self.size.width as usize;
        let row_len = width * bands;
        rows::fill(&mut out, row_len, touched, |first_row, out| {
            for (block, rows) in out.chunks_mut(BLOCK * row_len).enumerate() {
                for x in (0..width).step_by(BLOCK) {
                    let part = x * bands..(x + BLOCK).min(width) * bands;
                    for (row, out) in rows.chunks_exact_mut(row_len).enumerate() {
                        let y = first_row + block * BLOCK + row;
                        self.part(source, x, y, &mut out[part.clone()], colors, bands);
                    }
                }
            }
        });
        out
    }

    /// Row `y` from column `x` on: every pixel center is turned back into the source. `out` is blank.
    #[inline(always)]
    fn part<T: Between>(&self, source: &[T], x: usize, y: usize, out: &mut [T], colors: usize, bands: usize) {
        // Positions in 32.32 fixed point: their whole part is a shift away (rounding down a float is a
        // call on the common processors), and a part's steps stay within 2⁻²⁶ pixels.
        let fixed = |v: f64| (v * ONE).round() as i64;
        let across = x as f64 + 0.5 - f64::from(self.size.width) / 2.0;
        let down = y as f64 + 0.5 - f64::from(self.size.height) / 2.0;
        let half = |side: u32| f64::from(side) / 2.0 - 0.5;
        let mut source_x = fixed(across * self.cos + down * self.sin + half(self.source.width));
        let mut source_y = fixed(down * self.cos - across * self.sin + half(self.source.height));
        let (step_x, step_y) = (fixed(self.cos), fixed(-self.sin));
        let (last_x, last_y) = (
            i64::from(self.source.width) - 1,
            i64::from(self.source.height) - 1,
        );
        let steps = (out.len() / bands) as i64;
        let misses = |first: i64, step: i64, last: i64| {
            let end = first + steps * step;
            first.max(end) >> 32 < -1 || first.min(end) >> 32 > last
        };
        if misses(source_x, step_x, last_x) || misses(source_y, step_y, last_y) {
            return;
        }
        let row_len = self.source.width as usize * self.source_bands;
        let inside = |x: i64, y: i64| {
            let within = |v: i64, last: i64| (0..last).contains(&(v >> 32));
            self.source_alpha.is_none() && within(x, last_x) && within(y, last_y)
        };
        // A straight line leaves a rectangle once.
        let end = |first: i64, step: i64| first + (steps - 1) * step;
        let all_inside = inside(source_x, source_y) && inside(end(source_x, step_x), end(source_y, step_y));
        for out in out.chunks_exact_mut(bands) {
            let (x, y) = (source_x, source_y);
            source_x += step_x;
            source_y += step_y;
            let (left, top) = (x >> 32, y >> 32);
            // The low half is the fraction.
            let (fx, fy) = (x as u32, y as u32);
            if all_inside || inside(x, y) {
                let upper = top as usize * row_len + left as usize * self.source_bands;
                let (upper, lower) = (&source[upper..], &source[upper + row_len..]);
                if colors == 3 && self.source_bands == 3 {
                    let color = T::between_pixels(two_pixels(upper), two_pixels(lower), fx, fy);
                    out[..3].copy_from_slice(&color);
                } else {
                    for band in 0..colors {
                        let next = band + self.source_bands;
                        out[band] =
                            T::between([upper[band], upper[next]], [lower[band], lower[next]], fx, fy);
                    }
                }
                if self.keep {
                    out[colors] = T::from_f32(T::FULL);
                }
            } else if left >= -1 && top >= -1 && left <= last_x && top <= last_y {
                self.edge(source, (left, top), (unit(fx), unit(fy)), out, colors);
            }
        }
    }

    /// A pixel of which some neighbors are outside, or whose opacity varies: weighs what there is.
    fn edge<T: Sample>(
        &self,
        source: &[T],
        (left, top): (i64, i64),
        (fx, fy): (f32, f32),
        out: &mut [T],
        colors: usize,
    ) {
        let (width, height) = (i64::from(self.source.width), i64::from(self.source.height));
        let row_len = self.source.width as usize * self.source_bands;
        let mut neighbors = [(0f32, &source[..0]); 4];
        let places = [
            (0, 0, (1.0 - fx) * (1.0 - fy)),
            (1, 0, fx * (1.0 - fy)),
            (0, 1, (1.0 - fx) * fy),
            (1, 1, fx * fy),
        ];
        for (neighbor, (dx, dy, weight)) in neighbors.iter_mut().zip(places) {
            let (x, y) = (left + dx, top + dy);
            if x < 0 || y < 0 || x >= width || y >= height {
                continue;
            }
            let pixel = &source[y as usize * row_len + x as usize * self.source_bands..][..self.source_bands];
            let weight = match self.source_alpha {
                Some(alpha) => weight * pixel[alpha].to_f32() / T::FULL,
                None => weight,
            };
            *neighbor = (weight, pixel);
        }
        let covered: f32 = neighbors.iter().map(|(weight, _)| weight).sum();
        for (band, o) in out[..colors].iter_mut().enumerate() {
            let seen = neighbors.iter().filter(|(weight, _)| *weight > 0.0);
            let sum: f32 = seen.map(|(weight, pixel)| weight * pixel[band].to_f32()).sum();
            *o = T::from_f32(if !self.keep {
                sum + (1.0 - covered) * T::FULL
            } else if covered > 0.0 {
                sum / covered
            } else {
                0.0
            });
        }
        if self.keep {
            out[colors] = T::from_f32(covered * T::FULL);
        }
    }
}

/// A fraction of 32 bits as a number below 1.
#[inline(always)]
fn unit(fraction: u32) -> f32 {
    (fraction >> 8) as f32 / (1 << 24) as f32
}

/// The two pixels of three samples that a row begins with, and what follows.
#[inline(always)]
fn two_pixels<T: Sample>(row: &[T]) -> [T; 8] {
    if let Some(pixels) = row.first_chunk() {
        return *pixels;
    }
    let mut pixels = [T::default(); 8];
    pixels[..6].copy_from_slice(&row[..6]);
    pixels
}

/// Samples between four neighbors, the fractions in units of 2⁻³².
trait Between: Sample {
    /// Between two samples of one row and two of the next.
    fn between(upper: [Self; 2], lower: [Self; 2], fx: u32, fy: u32) -> Self;
    /// Between the first two pixels, of three samples, of one row and of the next.
    fn between_pixels(upper: [Self; 8], lower: [Self; 8], fx: u32, fy: u32) -> [Self; 3];
}

/// Bits of a weight of the four neighbors; so many that their sum of products with 8-bit samples, and a
/// half to round with, fits [`LANE`] bits.
const WEIGHT: u32 = 13;

/// Three of these fit a machine word: its one multiplication is one for each sample of a pixel.
const LANE: u32 = 21;

/// Weights of upper left, upper right, lower left and lower right; their sum is `1 << WEIGHT`.
#[inline(always)]
fn weights(fx: u32, fy: u32) -> [u64; 4] {
    let (x, y) = (fx >> (32 - WEIGHT), fy >> (32 - WEIGHT));
    let both = (x * y + (1 << (WEIGHT - 1))) >> WEIGHT;
    [(1 << WEIGHT) + both - x - y, x - both, y - both, both].map(u64::from)
}

impl Between for u8 {
    #[inline(always)]
    fn between(upper: [u8; 2], lower: [u8; 2], fx: u32, fy: u32) -> u8 {
        let [a, b, c, d] = weights(fx, fy);
        let sum = a * u64::from(upper[0]) + b * u64::from(upper[1]);
        let sum = sum + c * u64::from(lower[0]) + d * u64::from(lower[1]);
        ((sum + (1 << (WEIGHT - 1))) >> WEIGHT) as u8
    }

    #[inline(always)]
    fn between_pixels(upper: [u8; 8], lower: [u8; 8], fx: u32, fy: u32) -> [u8; 3] {
        let [a, b, c, d] = weights(fx, fy);
        let (upper, lower) = (u64::from_le_bytes(upper), u64::from_le_bytes(lower));
        // Bits 0 to 7, 8 to 15 and 16 to 23 to the beginnings of three lanes.
        let lanes = |p: u64| (p & 0xff) | (p & 0xff00) << (LANE - 8) | (p & 0xff_0000) << (2 * LANE - 16);
        let half = 1u64 << (WEIGHT - 1);
        let halves = half | half << LANE | half << (2 * LANE);
        let sum = a * lanes(upper) + b * lanes(upper >> 24) + halves;
        let sum = (sum + c * lanes(lower) + d * lanes(lower >> 24)) >> WEIGHT;
        [sum as u8, (sum >> LANE) as u8, (sum >> (2 * LANE)) as u8]
    }
}

impl Between for u16 {
    #[inline(always)]
    fn between(upper: [u16; 2], lower: [u16; 2], fx: u32, fy: u32) -> u16 {
        let (fx, fy) = (unit(fx), unit(fy));
        let [a, b] = upper.map(f32::from);
        let [c, d] = lower.map(f32::from);
        let (a, c) = (a + (b - a) * fx, c + (d - c) * fx);
        Self::from_f32(a + (c - a) * fy)
    }

    #[inline(always)]
    fn between_pixels(upper: [u16; 8], lower: [u16; 8], fx: u32, fy: u32) -> [u16; 3] {
        [0, 1, 2].map(|i| Self::between([upper[i], upper[i + 3]], [lower[i], lower[i + 3]], fx, fy))
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
    fn the_way_of_working_does_not_show() {
        // Grey is worked on sample by sample, three bands as one vector, in parts: the same numbers.
        let (width, height) = (150u32, 97u32);
        let grey: Vec<u8> = (0..width * height).map(|i| (i * 7919 % 251) as u8).collect();
        let picture = |bands: u32| {
            let mut raster =
                Raster::zeros(Size::new(width, height), bands, SampleFormat::U8, 1 << 20).unwrap();
            let samples = grey.iter().flat_map(|s| vec![*s; bands as usize]).collect();
            raster.samples = Samples::U8(samples);
            raster
        };
        for degrees in [0.5, 33.0, 45.0, 91.0, 200.3, 359.0] {
            let one = rotate(picture(1), degrees, AlphaOut::FlattenWhite, 1 << 24).unwrap();
            for bands in [3, 5] {
                let many = rotate(picture(bands), degrees, AlphaOut::FlattenWhite, 1 << 24).unwrap();
                assert_eq!(many.size, one.size);
                for (pixel, sample) in many
                    .as_u8()
                    .unwrap()
                    .chunks_exact(bands as usize)
                    .zip(one.as_u8().unwrap())
                {
                    assert!(pixel.iter().all(|s| s == sample), "{degrees}: {pixel:?} {sample}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_weighted_as_by_the_formula() {
        let samples = [0u8, 1, 37, 128, 200, 254, 255];
        let fractions = [0, 1, 1 << 18, 1 << 30, 1 << 31, u32::MAX - (1 << 28), u32::MAX];
        for (fx, fy) in fractions.iter().flat_map(|x| fractions.map(|y| (*x, y))) {
            for (i, a) in samples.iter().enumerate() {
                let of = |n: usize| samples[(i * n + n) % samples.len()];
                let (upper, lower) = ([*a, of(1)], [of(2), of(3)]);
                let (x, y) = (f64::from(fx) / ONE, f64::from(fy) / ONE);
                let mean = |row: [u8; 2]| f64::from(row[0]) * (1.0 - x) + f64::from(row[1]) * x;
                let exact = mean(upper) * (1.0 - y) + mean(lower) * y;
                let got = u8::between(upper, lower, fx, fy);
                assert!((f64::from(got) - exact).abs() <= 0.6, "{got}, {exact}");
                let pair = |[l, r]: [u8; 2]| [l, 255, 0, r, 255, 0, 99, 99];
                assert_eq!(
                    u8::between_pixels(pair(upper), pair(lower), fx, fy),
                    [got, 255, 0]
                );
            }
        }
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
