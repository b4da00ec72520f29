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

/// sRGB of L*, a*, b*, 0 to 1. What is no number is black.
#[inline]
pub(super) fn to_srgb([l, a, b]: [f32; 3]) -> [f32; 3] {
    if !(l.is_finite() && a.is_finite() && b.is_finite()) {
        return [0.0; 3];
    }
    // Both sides of every choice are cheap: a choice of values, not of ways.
    let (dark_y, f) = (l * (1.0 / 903.3), (l + 16.0) * (1.0 / 116.0));
    let (y, f) = if l < 8.0 {
        (dark_y, 7.787 * dark_y + 16.0 / 116.0)
    } else {
        (f * f * f, f)
    };
    let inverse = |t: f32| {
        let (line, cube) = ((t - 0.13793) * (1.0 / 7.787), t * t * t);
        if t < 0.2069 { line } else { cube }
    };
    let table = COMPANDED.as_slice();
    let xyz = [
        WHITE[0] * inverse(f + a * (1.0 / 500.0)),
        y,
        WHITE[1] * inverse(f - b * (1.0 / 200.0)),
    ];
    TO_RGB.map(|row| compand(table, row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2]))
}

/// Steps of the companding table: straight lines between them are within 1/1000 of an 8-bit step, and the
/// table stays in the second-level cache.
const STEPS: usize = 16_384;

static COMPANDED: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=STEPS)
        .map(|i| companding(i as f64 / STEPS as f64) as f32)
        .collect()
});

/// The transfer function of IEC 61966-2-1.
fn companding(linear: f64) -> f64 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

#[inline(always)]
fn compand(table: &[f32], linear: f32) -> f32 {
    let place = linear.clamp(0.0, 1.0) * STEPS as f32;
    let low = (place as usize).min(STEPS - 1);
    let rest = place - low as f32;
    match table.get(low..low + 2) {
        Some(&[a, b]) => a + (b - a) * rest,
        _ => linear,
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
        assert_eq!(to_srgb([f32::NAN, 0.0, 0.0]), [0.0; 3]);
    }

    #[test]
    fn the_companding_table_follows_the_formula() {
        for i in 0..100_003 {
            let linear = i as f32 / 100_003.0;
            let error = f64::from(compand(&COMPANDED, linear)) - companding(f64::from(linear));
            assert!(error.abs() * 255.0 < 1e-3, "{linear}: {error}");
        }
    }

    #[test]
    fn stored_samples_are_signed() {
        assert_eq!(from_u8([255, 255, 128]), [100.0, -1.0, -128.0]);
        assert_eq!(from_u16([0, 0xff80, 256]), [0.0, -0.5, 1.0]);
        assert!((from_u16([65_535, 0, 0])[0] - 100.0).abs() < 1e-4);
    }
}
