use super::*;
use crate::raster::Samples;
use iiphost_plugin_api::{AlphaMode, SampleFormat};
use proptest::prelude::*;

const MAX: u64 = 1 << 26;

fn picture(width: u32, height: u32, bands: u32, bytes: Vec<u8>) -> Raster {
    let mut raster = Raster::zeros(Size::new(width, height), bands, SampleFormat::U8, MAX).unwrap();
    raster.samples = Samples::U8(bytes);
    raster
}

fn sized(raster: &Raster, width: u32, height: u32, how: Interpolation) -> Vec<u8> {
    let out = resize(raster.clone(), Size::new(width, height), how, MAX).unwrap();
    out.as_u8().unwrap().to_vec()
}

#[test]
fn worked_examples() {
    use Interpolation::{Bilinear, Nearest};
    let row = picture(4, 1, 1, vec![0, 64, 128, 255]);
    let ramp = picture(4, 4, 1, (0..16).map(|i| i * 10).collect());
    let square = picture(2, 2, 1, vec![0, 100, 200, 40]);
    type Case<'a> = (&'a Raster, (u32, u32), Interpolation, &'a [u8]);
    let cases: [Case<'_>; 9] = [
        (&row, (8, 1), Bilinear, &[0, 16, 48, 80, 112, 160, 223, 255]),
        (&row, (2, 1), Bilinear, &[32, 192]),
        (&row, (3, 1), Bilinear, &[11, 96, 234]),
        (&ramp, (3, 3), Bilinear, &[8, 22, 35, 62, 75, 88, 115, 128, 142]),
        (
            &square,
            (4, 4),
            Bilinear,
            &[0, 25, 75, 100, 50, 59, 76, 85, 150, 126, 79, 55, 200, 160, 80, 40],
        ),
        (&row, (8, 1), Nearest, &[0, 0, 64, 64, 128, 128, 255, 255]),
        (&row, (2, 1), Nearest, &[64, 255]),
        (&row, (3, 1), Nearest, &[0, 128, 255]),
        (&ramp, (3, 3), Nearest, &[0, 20, 30, 80, 100, 110, 120, 140, 150]),
    ];
    for (source, (width, height), how, want) in cases {
        let got = sized(source, width, height, how);
        // 191.5 and 61.67 have one right neighbor each but halves have two.
        let near = got
            .iter()
            .zip(want)
            .all(|(g, w)| g == w || (how == Bilinear && g.abs_diff(*w) == 1 && *w == 192));
        assert!(
            near && got.len() == want.len(),
            "{width}x{height} {how:?}: {got:?}, expected {want:?}"
        );
    }
}

#[test]
fn large_reductions_average() {
    // Nine samples to two: blocks of four, one left over.
    let row = picture(9, 1, 1, vec![0, 40, 80, 120, 100, 100, 100, 100, 250]);
    // Blocks 60, 100, 250; positions 0.0625 and 1.1875.
    assert_eq!(sized(&row, 2, 1, Interpolation::Bilinear), [63, 128]);
    let column = picture(1, 6, 1, vec![0, 10, 20, 100, 110, 120]);
    assert_eq!(sized(&column, 1, 2, Interpolation::Bilinear), [10, 110]);
}

#[test]
fn transparent_colors_do_not_bleed() {
    let mut raster = picture(2, 1, 4, vec![200, 100, 50, 255, 9, 9, 9, 0]);
    raster.alpha = AlphaMode::Unassociated;
    for how in [Interpolation::Bilinear, Interpolation::Lanczos] {
        let bytes = sized(&raster, 4, 1, how);
        for pixel in bytes.as_chunks::<4>().0 {
            assert!(
                pixel[3] == 0 || pixel[..3] == [200, 100, 50],
                "{how:?}: {pixel:?}"
            );
        }
    }
}

#[test]
fn deep_and_floating_samples() {
    let mut raster = Raster::zeros(Size::new(2, 1), 1, SampleFormat::U16, MAX).unwrap();
    raster.samples = Samples::U16(vec![0, 60_000]);
    let wide = resize(raster.clone(), Size::new(4, 1), Interpolation::Bilinear, MAX).unwrap();
    assert_eq!(wide.samples, Samples::U16(vec![0, 15_000, 45_000, 60_000]));
    raster.samples = Samples::F32(vec![-1.0, 1.0]);
    let wide = resize(raster, Size::new(4, 1), Interpolation::Bilinear, MAX).unwrap();
    assert_eq!(wide.samples, Samples::F32(vec![-1.0, -0.5, 0.5, 1.0]));
}

#[test]
fn results_over_the_limit_are_refused() {
    let raster = picture(2, 1, 1, vec![0, 1]);
    let error = resize(raster, Size::new(1000, 1000), Interpolation::Bilinear, 999_999).unwrap_err();
    assert_eq!(error.status(), 400);
}

/// The definition, a sample at a time in `f64`.
fn slow_bilinear(source: &[u8], (w, h): (u32, u32), (to_w, to_h): (u32, u32)) -> Vec<f64> {
    let axis = |i: u32, from: u32, to: u32| {
        let s = f64::from(from) / f64::from(to);
        let f = if s > 2.0 { from / to } else { 1 };
        let position = (f64::from(i) + 0.5) * s / f64::from(f) - 0.5;
        (position, f)
    };
    let block = |x: i64, y: i64, fx: u32, fy: u32| {
        let last = |n: u32, f: u32| i64::from(n.div_ceil(f)) - 1;
        let (x, y) = (x.clamp(0, last(w, fx)) as u32, y.clamp(0, last(h, fy)) as u32);
        let (mut sum, mut count) = (0.0, 0.0);
        for row in y * fy..((y + 1) * fy).min(h) {
            for col in x * fx..((x + 1) * fx).min(w) {
                sum += f64::from(source[(row * w + col) as usize]);
                count += 1.0;
            }
        }
        sum / count
    };
    let mut out = Vec::new();
    for j in 0..to_h {
        for i in 0..to_w {
            let ((x, fx), (y, fy)) = (axis(i, w, to_w), axis(j, h, to_h));
            let (left, top) = (x.floor(), y.floor());
            let (u, v) = (x - left, y - top);
            let at = |dx, dy| block(left as i64 + dx, top as i64 + dy, fx, fy);
            out.push(
                (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v,
            );
        }
    }
    out
}

proptest! {
    #[test]
    fn resizing_to_the_same_size_is_identity(
        width in 1u32..20, height in 1u32..20, bands in 1u32..6, seed in any::<u8>(),
    ) {
        let bytes: Vec<u8> = (0..width * height * bands).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
        let raster = picture(width, height, bands, bytes.clone());
        for how in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Lanczos] {
            prop_assert_eq!(sized(&raster, width, height, how), bytes.clone());
        }
    }

    #[test]
    fn bilinear_follows_its_definition(
        from in (1u32..24, 1u32..24), to in (1u32..24, 1u32..24), seed in any::<u32>(),
    ) {
        let bytes: Vec<u8> = (0..from.0 * from.1)
            .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let got = sized(&picture(from.0, from.1, 1, bytes.clone()), to.0, to.1, Interpolation::Bilinear);
        if from != to {
            for (g, w) in got.iter().zip(slow_bilinear(&bytes, from, to)) {
                prop_assert!((f64::from(*g) - w).abs() < 0.501, "{} for {}", g, w);
            }
        }
    }

    #[test]
    fn one_color_stays_one_color(
        from in (1u32..40, 1u32..40), to in (1u32..40, 1u32..40), value in any::<u8>(), bands in 1u32..5,
    ) {
        let raster = picture(from.0, from.1, bands, vec![value; (from.0 * from.1 * bands) as usize]);
        for how in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Lanczos] {
            prop_assert!(sized(&raster, to.0, to.1, how).iter().all(|v| *v == value), "{:?}", how);
        }
    }
}
