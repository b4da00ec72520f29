//! CIELAB to sRGB, white point D65 without adaptation.

use std::sync::LazyLock;

/// Linear parts of X, Y and Z in red, green and blue (IEC 61966-2-1).
const TO_RGB: [[f32; 3]; 3] = [
    [3.240_625_5, -1.537_208, -0.498_628_6],
    [-0.968_930_7, 1.875_756_1, 0.041_517_5],
    [0.055_710_1, -0.204_021_1, 1.056_995_9],
];
/// X and Z of the white, Y being 1.
const WHITE: [f32; 2] = [0.950_470, 1.088_827];

/// Samples of 8-bit L*, a*, b* as numbers: a and b are signed bytes (TIFF 6.0 section 23).
#[inline]
pub(super) fn from_u8(pixel: [u8; 3]) -> [f32; 3] {
    let [l, a, b] = pixel;
    [f32::from(l) / 2.55, f32::from(a as i8), f32::from(b as i8)]
}

/// Samples of 16-bit L*, a*, b* as numbers: a and b are signed, times 256.
#[inline]
pub(super) fn from_u16(pixel: [u16; 3]) -> [f32; 3] {
    let [l, a, b] = pixel;
    let signed = |v: u16| f32::from(v as i16) / 256.0;
    [f32::from(l >> 1) / 327.67, signed(a), signed(b)]
}

/// Pixels worked on at a time: few enough for the first-level cache.
const BLOCK: usize = 64;

/// sRGB, 0 to 1, of every `bands` samples of `source` into the first three of every `step` samples of
/// `out`. What is no number is black.
///
/// Bands are taken apart, so that the processor works on several pixels with each instruction.
#[inline(always)]
pub(super) fn convert<S: Copy>(
    source: &[S],
    bands: usize,
    number: impl Fn([S; 3]) -> [f32; 3],
    out: &mut [f32],
    step: usize,
) {
    let table: &Table = &COMPANDED;
    let [mut first, mut second, mut third] = [[0f32; BLOCK]; 3];
    for (source, out) in source.chunks(BLOCK * bands).zip(out.chunks_mut(BLOCK * step)) {
        let lanes = first.iter_mut().zip(&mut second).zip(&mut third);
        for (p, ((l, a), b)) in source.chunks_exact(bands).zip(lanes) {
            [*l, *a, *b] = number([p[0], p[1], p[2]]);
        }
        for ((l, a), b) in first.iter_mut().zip(&mut second).zip(&mut third) {
            [*l, *a, *b] = linear([*l, *a, *b]);
        }
        for band in [&mut first, &mut second, &mut third] {
            compand(table, band);
        }
        let lanes = first.iter().zip(&second).zip(&third);
        for (o, ((red, green), blue)) in out.chunks_exact_mut(step).zip(lanes) {
            o[..3].copy_from_slice(&[*red, *green, *blue]);
        }
    }
}

/// sRGB of one color, 0 to 1.
pub(super) fn to_srgb(lab: [f32; 3]) -> [f32; 3] {
    let mut rgb = linear(lab);
    compand(&COMPANDED, &mut rgb);
    rgb
}

/// Linear red, green and blue, not limited to 0 to 1. No number where any of the three is none.
#[inline(always)]
fn linear([l, a, b]: [f32; 3]) -> [f32; 3] {
    // Both sides of every choice are cheap: a choice of values, not of ways.
    let (dark_y, f) = (l * (1.0 / 903.3), (l + 16.0) * (1.0 / 116.0));
    let dark = l < 8.0;
    let y = if dark { dark_y } else { f * f * f };
    let f = if dark { 7.787 * dark_y + 16.0 / 116.0 } else { f };
    let inverse = |t: f32| {
        let (line, cube) = ((t - 0.13793) * (1.0 / 7.787), t * t * t);
        if t < 0.2069 { line } else { cube }
    };
    let x = WHITE[0] * inverse(f + a * (1.0 / 500.0));
    let z = WHITE[1] * inverse(f - b * (1.0 / 200.0));
    // 0, or no number if one of the three is infinite or none.
    let nothing = 0.0 * (l + a + b);
    TO_RGB.map(|row| row[0] * x + row[1] * y + row[2] * z + nothing)
}

/// Steps of the companding table: straight lines between them are within 1/1000 of an 8-bit step, and the
/// table stays in the second-level cache.
const STEPS: usize = 16_383;

/// The value at each step and how far it is to the next.
type Table = [[f32; 2]; STEPS + 1];

static COMPANDED: LazyLock<Box<Table>> = LazyLock::new(|| {
    let value = |i: usize| companding(i as f64 / STEPS as f64);
    let mut table = Box::new([[0.0; 2]; STEPS + 1]);
    for (i, entry) in table.iter_mut().enumerate() {
        *entry = [value(i) as f32, (value((i + 1).min(STEPS)) - value(i)) as f32];
    }
    table
});

/// The transfer function of IEC 61966-2-1.
fn companding(linear: f64) -> f64 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

/// 1.5·2²³: in the sum with a small number, the low bits are that number, rounded.
const INTEGER: f32 = 12_582_912.0;

/// The transfer function of many values limited to 0 to 1, NaN being 0.
#[inline(always)]
#[allow(clippy::manual_clamp, reason = "max turns NaN into 0, clamp does not")]
fn compand<const N: usize>(table: &Table, values: &mut [f32; N]) {
    let mut steps = [0u32; N];
    for (value, step) in values.iter_mut().zip(&mut steps) {
        let place = value.max(0.0).min(1.0) * STEPS as f32;
        // Half a step less, rounded, is the step below; at a step itself either neighbor will do.
        let below = place - 0.5 + INTEGER;
        *step = below.to_bits();
        *value = place - (below - INTEGER);
    }
    for (value, step) in values.iter_mut().zip(&steps) {
        let [start, rise] = table[*step as usize & STEPS];
        *value = start + rise * *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colors() {
        let cases = [
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ([50.0, 0.0, 0.0], [118.9, 118.9, 118.9]),
            ([100.0, 0.0, 0.0], [254.999, 255.0, 254.98]),
            ([53.0, 80.0, 67.0], [254.06, 0.0, 0.07]),
            ([50.0, -60.0, 40.0], [0.0, 140.53, 43.84]),
            ([5.0, 0.0, 0.0], [16.84, 16.84, 16.84]),
            ([75.0, 20.0, -50.0], [166.35, 176.97, 255.0]),
        ];
        for (lab, want) in cases {
            let got = to_srgb(lab).map(|v| v * 255.0);
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() < 0.05, "{lab:?}: {got:?}, expected {want:?}");
            }
        }
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(to_srgb([odd, 0.0, 0.0]), [0.0; 3]);
            assert_eq!(to_srgb([50.0, odd, 0.0]), [0.0; 3]);
            assert_eq!(to_srgb([50.0, 0.0, odd]), [0.0; 3]);
        }
    }

    #[test]
    fn many_pixels_are_converted_as_one() {
        let bands = 4;
        let source: Vec<u8> = (0..(2 * BLOCK + 5) * bands)
            .map(|i| (i * 37 % 256) as u8)
            .collect();
        let mut out = vec![-1.0; source.len()];
        convert(&source, bands, from_u8, &mut out, bands);
        for (p, o) in source.chunks_exact(bands).zip(out.chunks_exact(bands)) {
            assert_eq!(o[..3], to_srgb(from_u8([p[0], p[1], p[2]])));
            assert_eq!(o[3], -1.0);
        }
    }

    #[test]
    fn the_companding_table_follows_the_formula() {
        for i in 0..100_003 {
            let linear = i as f32 / 100_003.0;
            let mut value = [linear];
            compand(&COMPANDED, &mut value);
            let error = f64::from(value[0]) - companding(f64::from(linear));
            assert!(error.abs() * 255.0 < 1e-3, "{linear}: {error}");
        }
        let mut ends = [0.0, 1.0, -3.0, 7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        compand(&COMPANDED, &mut ends);
        for (value, want) in ends.into_iter().zip([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]) {
            assert!((value - want).abs() < 1e-6, "{ends:?}");
        }
    }

    #[test]
    fn stored_samples_are_signed() {
        assert_eq!(from_u8([255, 255, 128]), [100.0, -1.0, -128.0]);
        assert_eq!(from_u16([0, 0xff80, 256]), [0.0, -0.5, 1.0]);
        assert!((from_u16([65_535, 0, 0])[0] - 100.0).abs() < 1e-4);
    }
}
