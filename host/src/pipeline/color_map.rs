//! False colors of one normalized value.

use crate::view::ColorMap;

/// Red, green and blue of `n`; not limited to 0 to 1 for the plain colors. NaN is black.
pub(super) fn colors(map: ColorMap, n: f32) -> [f32; 3] {
    if n.is_nan() {
        return [0.0; 3];
    }
    match map {
        ColorMap::Hot => ramp(n),
        ColorMap::Cold => {
            let [first, second, third] = ramp(n);
            [third, second, first]
        }
        ColorMap::Jet => jet(n),
        ColorMap::Red => [n, 0.0, 0.0],
        ColorMap::Green => [0.0, n, 0.0],
        ColorMap::Blue => [0.0, 0.0, n],
    }
}

/// Black to white, one band after the other.
fn ramp(n: f32) -> [f32; 3] {
    let n = 3.0 * n;
    [n, n - 1.0, n - 2.0].map(|v| v.clamp(0.0, 1.0))
}

fn jet(n: f32) -> [f32; 3] {
    if n < 0.0 {
        return [0.0; 3];
    }
    if n >= 1.0 {
        return [0.5, 0.0, 0.0];
    }
    let n = 4.0 * n;
    [
        (n - 1.5).min(4.5 - n),
        (n - 0.5).min(3.5 - n),
        (n + 0.5).min(2.5 - n),
    ]
    .map(|v| v.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jet_passes_its_control_points() {
        let points = [
            (-0.1, [0.0, 0.0, 0.0]),
            (0.0, [0.0, 0.0, 0.5]),
            (0.125, [0.0, 0.0, 1.0]),
            (0.25, [0.0, 0.5, 1.0]),
            (0.375, [0.0, 1.0, 1.0]),
            (0.5, [0.5, 1.0, 0.5]),
            (0.625, [1.0, 1.0, 0.0]),
            (0.875, [1.0, 0.0, 0.0]),
            (1.0, [0.5, 0.0, 0.0]),
            (7.0, [0.5, 0.0, 0.0]),
        ];
        for (n, want) in points {
            assert_eq!(colors(ColorMap::Jet, n), want, "{n}");
        }
    }

    #[test]
    fn hot_and_cold_fill_one_band_after_the_other() {
        assert_eq!(colors(ColorMap::Hot, 0.5), [1.0, 0.5, 0.0]);
        assert_eq!(colors(ColorMap::Cold, 0.5), [0.0, 0.5, 1.0]);
        for map in [ColorMap::Hot, ColorMap::Cold] {
            assert_eq!(colors(map, -1.0), [0.0; 3]);
            assert_eq!(colors(map, 2.0), [1.0; 3]);
        }
    }
}
