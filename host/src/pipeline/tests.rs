use super::*;
use crate::view::{ColorMap, RangeOverride, Shade};
use proptest::prelude::*;

const MAX: u64 = 1 << 28;
static NONE: Processing = Processing::NONE;

/// A picture of one row unless `width` says otherwise.
fn picture(width: u32, bands: u32, samples: Samples) -> Raster {
    let height = samples.len() as u32 / bands / width;
    let mut raster = Raster::zeros(Size::new(width, height), bands, samples.format(), MAX).unwrap();
    raster.samples = samples;
    if !matches!(bands, 1 | 3) {
        raster.color_model = ColorModel::Multiband;
    }
    raster
}

fn grey(bytes: &[u8]) -> Raster {
    picture(bytes.len() as u32, 1, Samples::U8(bytes.to_vec()))
}

fn rgb(pixels: &[[u8; 3]]) -> Raster {
    picture(pixels.len() as u32, 3, Samples::U8(pixels.concat()))
}

fn work<'a>(raster: &Raster, processing: &'a Processing) -> Work<'a> {
    Work {
        processing,
        ranges: Vec::new(),
        statistics: None,
        inner: Region::new(0, 0, raster.size.width, raster.size.height),
        padded: raster.size,
        size: raster.size,
        interpolation: Interpolation::Bilinear,
        turn: Turn::NONE,
        alpha: AlphaOut::Keep,
        bands: BandsOut::GreyOrRgb,
        depth: OutputDepth::Eight,
        inks: None,
        to_srgb: None,
        max_bytes: MAX,
        deadline: None,
    }
}

/// Runs a processing with the statistics of the picture itself.
fn processed(raster: &Raster, processing: &Processing) -> Raster {
    let statistics = statistics(raster, &[], processing).unwrap();
    let mut work = work(raster, processing);
    work.statistics = Some(&statistics);
    run(raster.clone(), &work).unwrap()
}

fn bytes(raster: &Raster, processing: &Processing) -> Vec<u8> {
    processed(raster, processing).as_u8().unwrap().to_vec()
}

fn with(change: impl FnOnce(&mut Processing)) -> Processing {
    let mut processing = Processing::NONE;
    change(&mut processing);
    processing
}

fn minmax(min: f64, max: f64) -> Processing {
    with(|p| {
        p.ranges.push(RangeOverride {
            band: Some(0),
            min,
            max,
        })
    })
}

fn gamma(gamma: Gamma) -> Processing {
    with(|p| p.gamma = gamma)
}

fn contrast(contrast: Contrast) -> Processing {
    with(|p| p.contrast = contrast)
}

fn mapped(map: ColorMap) -> Processing {
    with(|p| p.color_map = Some(map))
}

fn twisted(rows: &[&[f64]]) -> Processing {
    with(|p| p.twist = Some(rows.iter().map(|row| row.to_vec()).collect()))
}

fn convolved(kernel: &[f64]) -> Processing {
    with(|p| p.kernel = Some(kernel.to_vec()))
}

/// Every step on four grey values; where the exact value is a half either neighbor would do.
#[test]
fn grey_worked_examples() {
    let values = [0, 64, 128, 255];
    let inverted = |p: &mut Processing| p.invert = true;
    let cases: Vec<(&str, Processing, Vec<u8>)> = vec![
        ("identity", Processing::NONE, vec![0, 64, 128, 255]),
        ("range", minmax(64.0, 192.0), vec![0, 0, 128, 255]),
        ("reversed range", minmax(192.0, 64.0), vec![255, 255, 128, 0]),
        ("empty range", minmax(64.0, 64.0), vec![0, 0, 255, 255]),
        (
            "contrast 2",
            contrast(Contrast::Factor(2.0)),
            vec![0, 128, 255, 255],
        ),
        (
            "contrast 0.5",
            contrast(Contrast::Factor(0.5)),
            vec![0, 32, 64, 128],
        ),
        ("contrast 0", contrast(Contrast::Factor(0.0)), vec![0; 4]),
        ("contrast -2", contrast(Contrast::Factor(-2.0)), vec![0; 4]),
        ("gamma 2", gamma(Gamma::Power(2.0)), vec![0, 16, 64, 255]),
        ("gamma 0.5", gamma(Gamma::Power(0.5)), vec![0, 128, 181, 255]),
        ("gamma 2.2", gamma(Gamma::Power(2.2)), vec![0, 12, 56, 255]),
        ("gamma 0", gamma(Gamma::Power(0.0)), vec![255; 4]),
        ("gamma -2", gamma(Gamma::Power(-2.0)), vec![255; 4]),
        ("logarithm", gamma(Gamma::Log), vec![0, 192, 223, 255]),
        (
            "gamma and contrast",
            with(|p| {
                p.gamma = Gamma::Power(0.5);
                p.contrast = Contrast::Factor(2.0);
            }),
            vec![0, 255, 255, 255],
        ),
        ("inversion", with(inverted), vec![255, 191, 127, 0]),
        (
            "gamma before inversion",
            with(|p| {
                p.gamma = Gamma::Power(2.0);
                p.invert = true;
            }),
            vec![255, 239, 191, 0],
        ),
        (
            "hot",
            mapped(ColorMap::Hot),
            vec![0, 0, 0, 192, 0, 0, 255, 129, 0, 255, 255, 255],
        ),
        (
            "cold",
            mapped(ColorMap::Cold),
            vec![0, 0, 0, 0, 0, 192, 0, 129, 255, 255, 255, 255],
        ),
        (
            "jet",
            mapped(ColorMap::Jet),
            vec![0, 0, 128, 0, 129, 255, 130, 255, 126, 128, 0, 0],
        ),
        (
            "red",
            mapped(ColorMap::Red),
            vec![0, 0, 0, 64, 0, 0, 128, 0, 0, 255, 0, 0],
        ),
        (
            "blue",
            mapped(ColorMap::Blue),
            vec![0, 0, 0, 0, 0, 64, 0, 0, 128, 0, 0, 255],
        ),
        ("half", twisted(&[&[0.5]]), vec![0, 32, 64, 128]),
        (
            "grey to three bands",
            twisted(&[&[1.0], &[0.5], &[0.25]]),
            vec![0, 0, 0, 64, 32, 16, 128, 64, 32, 255, 128, 64],
        ),
        (
            "equalization",
            contrast(Contrast::Equalize),
            vec![0, 85, 170, 255],
        ),
        (
            "bilevel",
            with(|p| p.color_mode = ColorMode::Bilevel),
            vec![0, 0, 0, 255],
        ),
        (
            "grey of grey",
            with(|p| p.color_mode = ColorMode::Grey),
            vec![0, 64, 128, 255],
        ),
    ];
    for (name, processing, want) in cases {
        assert_eq!(bytes(&grey(&values), &processing), want, "{name}");
    }
}

#[test]
fn statistics_worked_examples() {
    let bilevel = with(|p| p.color_mode = ColorMode::Bilevel);
    let stretch = contrast(Contrast::Stretch);
    let equalize = contrast(Contrast::Equalize);
    let cases: [(&str, &Processing, &[u8], &[u8]); 6] = [
        ("bilevel", &bilevel, &[10, 64, 128, 200], &[0, 0, 255, 255]),
        ("bilevel", &bilevel, &[50, 100, 150, 200], &[0, 0, 255, 255]),
        ("stretch", &stretch, &[10, 64, 128, 200], &[0, 72, 158, 255]),
        (
            "equalization",
            &equalize,
            &[0, 0, 0, 50, 50, 100, 200, 255],
            &[0, 0, 0, 102, 102, 153, 204, 255],
        ),
        ("equalization of one value", &equalize, &[77, 77], &[77, 77]),
        ("bilevel of one value", &bilevel, &[0, 0], &[0, 0]),
    ];
    for (name, processing, source, want) in cases {
        assert_eq!(bytes(&grey(source), processing), want, "{name} of {source:?}");
    }
    let deep = picture(4, 1, Samples::U16(vec![12_800, 25_600, 38_400, 51_455]));
    assert_eq!(bytes(&deep, &stretch), [0, 84, 169, 255]);
    let float = picture(4, 1, Samples::F32(vec![0.1, 0.2, 0.3, 0.4]));
    assert_eq!(bytes(&float, &stretch), [0, 85, 170, 255]);
}

#[test]
fn statistics_look_at_means_of_colors_only() {
    let mut raster = picture(2, 4, Samples::U8(vec![10, 20, 30, 0, 100, 110, 121, 255]));
    raster.color_model = ColorModel::Rgb;
    raster.alpha = AlphaMode::Unassociated;
    let found = statistics(&raster, &[], &NONE).unwrap();
    assert_eq!((found.histogram()[20], found.histogram()[110]), (1, 1));
    assert_eq!(found.histogram().iter().sum::<u64>(), 2);
    let (min, max) = found.range();
    assert!((min * 255.0 - 20.0).abs() < 1e-9 && (max * 255.0 - 331.0 / 3.0).abs() < 1e-9);
}

#[test]
fn twist_worked_examples() {
    let source = rgb(&[[10, 20, 30]]);
    let cases: [(&[&[f64]], &[u8]); 4] = [
        (
            &[&[0.0, 0.0, 1.0], &[0.0, 1.0, 0.0], &[1.0, 0.0, 0.0]],
            &[30, 20, 10],
        ),
        (&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]], &[10]),
        (
            &[&[1.0], &[0.0, 1.0, 0.0, 7.0, 7.0], &[], &[1.0], &[1.0]],
            &[10, 20, 0],
        ),
        (&[&[0.0, 0.0, 1.0]], &[30]),
    ];
    for (rows, want) in cases {
        assert_eq!(bytes(&source, &twisted(rows)), want, "{rows:?}");
    }
    let processing = twisted(&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0]]);
    let mut all = work(&source, &processing);
    all.bands = BandsOut::Any;
    assert_eq!(run(source.clone(), &all).unwrap().as_u8().unwrap(), [10, 20]);
}

#[test]
fn the_twist_reads_opacity_and_leaves_it() {
    let mut raster = picture(1, 4, Samples::U8(vec![10, 20, 30, 40]));
    raster.color_model = ColorModel::Rgb;
    raster.alpha = AlphaMode::Unassociated;
    let out = processed(&raster, &twisted(&[&[0.0, 0.0, 0.0, 1.0]]));
    assert_eq!(
        (out.as_u8().unwrap(), out.alpha),
        (&[40, 40][..], AlphaMode::Unassociated)
    );
}

#[test]
fn shading_worked_examples() {
    let normals = [
        [128, 128, 255],
        [255, 128, 128],
        [0, 128, 128],
        [128, 255, 128],
        [0, 0, 0],
    ];
    let cases = [
        (90, 0, [0, 0, 255, 0, 0]),
        (0, 90, [255, 1, 1, 1, 0]),
        (45, 45, [179, 0, 128, 0, 0]),
    ];
    for (azimuth, elevation, want) in cases {
        let processing = with(|p| p.shade = Some(Shade { azimuth, elevation }));
        let got = bytes(&rgb(&normals), &processing);
        // 127.5 may go either way.
        let near = got
            .iter()
            .zip(want)
            .all(|(g, w)| *g == w || (w == 128 && *g == 127));
        assert!(
            near && got.len() == 5,
            "{azimuth},{elevation}: {got:?}, expected {want:?}"
        );
    }
}

#[test]
fn shading_needs_three_bands() {
    let processing = with(|p| {
        p.shade = Some(Shade {
            azimuth: 0,
            elevation: 0,
        })
    });
    let raster = grey(&[1, 2]);
    let error = run(raster.clone(), &work(&raster, &processing)).unwrap_err();
    assert_eq!(error.status(), 400);
}

#[test]
fn convolution_worked_examples() {
    let source = picture(3, 1, Samples::U8((1..10).map(|v| v * 10).collect()));
    let cases: [(&str, &[f64], [f64; 9]); 5] = [
        (
            "gaussian",
            &[1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0],
            [20.0, 27.5, 35.0, 42.5, 50.0, 57.5, 65.0, 72.5, 80.0],
        ),
        (
            "box",
            &[1.0; 9],
            [23.33, 30.0, 36.67, 43.33, 50.0, 56.67, 63.33, 70.0, 76.67],
        ),
        (
            "sobel",
            &[-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0],
            [40.0, 80.0, 40.0, 40.0, 80.0, 40.0, 40.0, 80.0, 40.0],
        ),
        (
            "sharpen",
            &[0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0],
            [0.0, 0.0, 10.0, 30.0, 50.0, 70.0, 90.0, 110.0, 130.0],
        ),
        (
            "left neighbor",
            &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [10.0, 10.0, 20.0, 40.0, 40.0, 50.0, 70.0, 70.0, 80.0],
        ),
    ];
    for (name, kernel, want) in cases {
        for (got, want) in bytes(&source, &convolved(kernel)).iter().zip(want) {
            assert!(
                (f64::from(*got) - want).abs() <= 0.5,
                "{name}: {got}, expected {want}"
            );
        }
    }
    assert_eq!(bytes(&grey(&[1, 2, 3]), &convolved(&[5.0])), [1, 2, 3]);
    let six = Processing {
        kernel: Some(vec![1.0; 6]),
        ..Processing::NONE
    };
    assert_eq!(
        run(source.clone(), &work(&source, &six)).unwrap_err().status(),
        400
    );
}

#[test]
fn floating_samples_have_defined_results() {
    let plain = [
        0.0,
        0.25,
        0.5,
        1.0,
        2.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let want = [0, 64, 128, 255, 255, 0, 0, 0, 0];
    let raster = picture(9, 1, Samples::F32(plain.to_vec()));
    assert_eq!(bytes(&raster, &NONE), want);
    let hundred = picture(9, 1, Samples::F32(plain.map(|v| v * 100.0).to_vec()));
    let mut work = work(&hundred, &NONE);
    work.ranges = vec![(0.0, 100.0)];
    assert_eq!(run(hundred.clone(), &work).unwrap().as_u8().unwrap(), want);
    let got = bytes(&raster, &gamma(Gamma::Log));
    assert_eq!(got[4..], [255, 0, 0, 0, 0], "no NaN out of negative values");
}

#[test]
fn integers_of_any_depth() {
    let deep = picture(3, 1, Samples::U16(vec![0, 0x12ff, 0xffff]));
    assert_eq!(bytes(&deep, &NONE), [0, 0x12, 255]);
    let mut twelve = picture(3, 1, Samples::U16(vec![0, 2048, 4095]));
    twelve.bit_depth = 12;
    assert_eq!(bytes(&twelve, &NONE), [0, 128, 255]);
    assert_eq!(bytes(&twelve, &with(|p| p.invert = true)), [255, 127, 0]);
    assert_eq!(bytes(&twelve, &minmax(0.0, 2048.0)), [0, 255, 255]);
    let wide = picture(2, 1, Samples::U32(vec![0x1234_5678, u32::MAX]));
    assert_eq!(bytes(&wide, &NONE), [0x12, 255]);
    assert_eq!(bytes(&wide, &with(|p| p.invert = true)), [237, 0]);
    let mut signed = picture(3, 1, Samples::U16(vec![0, 32_768, 65_535]));
    signed.signed = true;
    assert_eq!(bytes(&signed, &NONE), [0, 128, 255]);
    assert_eq!(bytes(&signed, &minmax(0.0, 32_767.0)), [0, 0, 255]);
}

#[test]
fn sources_of_16_bits_stay_so_on_demand() {
    let deep = picture(3, 1, Samples::U16(vec![0, 4660, 65_535]));
    let inverted = with(|p| p.invert = true);
    let mut work = work(&deep, &inverted);
    work.depth = OutputDepth::Source;
    assert_eq!(
        run(deep.clone(), &work).unwrap().samples,
        Samples::U16(vec![65_535, 60_875, 0])
    );
    work.processing = &NONE;
    assert_eq!(run(deep.clone(), &work).unwrap().samples, deep.samples);
    let bilevel = with(|p| p.color_mode = ColorMode::Bilevel);
    let found = statistics(&deep, &[], &bilevel).unwrap();
    work.processing = &bilevel;
    work.statistics = Some(&found);
    assert_eq!(run(deep, &work).unwrap().samples, Samples::U8(vec![0, 0, 255]));
}

#[test]
fn lab_becomes_srgb() {
    let mut raster = rgb(&[
        [0, 0, 0],
        [128, 0, 0],
        [255, 0, 0],
        [128, 196, 40],
        [13, 0, 0],
        [191, 20, 206],
    ]);
    raster.color_model = ColorModel::CieLab;
    let out = processed(&raster, &minmax(0.0, 10.0));
    assert_eq!(out.color_model, ColorModel::Rgb);
    let want = [
        [0, 0, 0],
        [119, 119, 119],
        [255, 255, 255],
        [0, 141, 44],
        [17, 17, 17],
        [166, 177, 255],
    ];
    for (g, w) in out.as_u8().unwrap().iter().zip(want.as_flattened()) {
        assert!(g.abs_diff(*w) <= 1, "{:?}, expected {want:?}", out.samples);
    }
    assert_eq!(bytes(&raster, &with(|p| p.invert = true))[..3], [255; 3]);
    // A color map shows the red of sRGB.
    let red = bytes(&raster, &mapped(ColorMap::Red));
    let plain = bytes(&raster, &NONE);
    for (map, color) in red.chunks_exact(3).zip(plain.chunks_exact(3)) {
        assert_eq!(map, [color[0], 0, 0]);
    }
}

#[test]
fn no_step_touches_opacity() {
    let mut raster = picture(2, 2, Samples::U8(vec![10, 77, 200, 3]));
    raster.color_model = ColorModel::Grey;
    raster.alpha = AlphaMode::Unassociated;
    let steps = [
        with(|p| p.invert = true),
        gamma(Gamma::Log),
        contrast(Contrast::Factor(0.0)),
        contrast(Contrast::Stretch),
        contrast(Contrast::Equalize),
        mapped(ColorMap::Jet),
        twisted(&[&[1.0], &[1.0], &[1.0]]),
        convolved(&[1.0; 9]),
        with(|p| p.color_mode = ColorMode::Grey),
        with(|p| p.color_mode = ColorMode::Bilevel),
        with(|p| {
            p.ranges.push(RangeOverride {
                band: None,
                min: 0.0,
                max: 9.0,
            })
        }),
    ];
    for step in steps {
        let out = processed(&raster, &step);
        let bands = out.band_count as usize;
        let opacity: Vec<u8> = out
            .as_u8()
            .unwrap()
            .iter()
            .skip(bands - 1)
            .step_by(bands)
            .copied()
            .collect();
        assert_eq!(
            (opacity, out.alpha),
            (vec![77, 3], AlphaMode::Unassociated),
            "{step:?}"
        );
    }
}

#[test]
fn encoders_get_the_bands_they_take() {
    let cases: [(u32, AlphaMode, BandsOut, AlphaOut, u32); 8] = [
        (2, AlphaMode::None, BandsOut::GreyOrRgb, AlphaOut::Keep, 1),
        (5, AlphaMode::None, BandsOut::GreyOrRgb, AlphaOut::Keep, 3),
        (5, AlphaMode::None, BandsOut::Any, AlphaOut::Keep, 5),
        (4, AlphaMode::Unassociated, BandsOut::GreyOrRgb, AlphaOut::Keep, 4),
        (
            4,
            AlphaMode::Unassociated,
            BandsOut::GreyOrRgb,
            AlphaOut::FlattenWhite,
            3,
        ),
        (2, AlphaMode::Unassociated, BandsOut::Rgb, AlphaOut::Keep, 4),
        (1, AlphaMode::None, BandsOut::Rgb, AlphaOut::Keep, 3),
        (
            7,
            AlphaMode::Unassociated,
            BandsOut::GreyOrRgb,
            AlphaOut::FlattenWhite,
            3,
        ),
    ];
    for (bands, alpha, out, keep, want) in cases {
        let mut raster = picture(1, bands, Samples::U8((0..bands as u8).collect()));
        raster.alpha = alpha;
        let mut work = work(&raster, &NONE);
        work.bands = out;
        work.alpha = keep;
        let got = run(raster, &work).unwrap();
        assert_eq!(got.band_count, want, "{bands} {alpha:?} {out:?} {keep:?}");
        assert_eq!(
            got.alpha == AlphaMode::None,
            alpha == AlphaMode::None || keep == AlphaOut::FlattenWhite
        );
    }
}

#[test]
fn free_rotation_leaves_extra_bands_out() {
    let mut raster = picture(5, 5, Samples::U8(vec![200; 125]));
    raster.color_model = ColorModel::Rgb;
    raster.alpha = AlphaMode::Unassociated;
    let mut work = work(&raster, &NONE);
    work.bands = BandsOut::Any;
    work.turn.degrees = 30.0;
    let turned = run(raster, &work).unwrap();
    assert_eq!((turned.size, turned.band_count), (Size::new(7, 7), 4));
    let middle = &turned.as_u8().unwrap()[(3 * 7 + 3) * 4..][..4];
    assert_eq!(middle, [200; 4]);
}

#[test]
fn thousands_of_twist_rows_cost_nothing_unless_stored() {
    let rows = vec![vec![1.0]; 30_000];
    let processing = with(|p| p.twist = Some(rows));
    let raster = grey(&[5; 4096]);
    let mut work = work(&raster, &processing);
    assert_eq!(run(raster.clone(), &work).unwrap().band_count, 3);
    work.bands = BandsOut::Any;
    work.max_bytes = 1 << 20;
    assert_eq!(run(raster, &work).unwrap_err().status(), 400);
}

#[test]
fn grey_of_colors_keeps_opacity() {
    let mut raster = picture(1, 4, Samples::U8(vec![255, 0, 0, 9]));
    raster.color_model = ColorModel::Rgb;
    raster.alpha = AlphaMode::Unassociated;
    assert_eq!(bytes(&raster, &with(|p| p.color_mode = ColorMode::Grey)), [76, 9]);
}

#[test]
fn edges_are_completed_before_resizing() {
    let raster = picture(2, 1, Samples::U8(vec![1, 2, 3, 4]));
    let mut work = work(&raster, &NONE);
    work.padded = Size::new(4, 3);
    work.size = work.padded;
    let out = run(raster, &work).unwrap();
    assert_eq!(out.as_u8().unwrap(), [1, 2, 2, 2, 3, 4, 4, 4, 3, 4, 4, 4]);
}

#[test]
fn a_passed_deadline_ends_the_work() {
    let raster = grey(&[1]);
    let mut work = work(&raster, &NONE);
    work.deadline = Instant::now().checked_sub(Duration::from_millis(1));
    assert_eq!(run(raster, &work).unwrap_err().status(), 503);
}

#[test]
fn plain_tiles_need_no_pixels() {
    assert!(is_plain(&NONE, &Turn::NONE, false));
    let grey = with(|p| p.color_mode = ColorMode::Grey);
    assert!(is_plain(&grey, &Turn::NONE, true) && !is_plain(&grey, &Turn::NONE, false));
    let mirrored = Turn {
        mirror: true,
        degrees: 0.0,
    };
    assert!(!is_plain(&NONE, &mirrored, false));
    for step in [
        contrast(Contrast::Equalize),
        contrast(Contrast::Stretch),
        minmax(0.0, 255.0),
    ] {
        assert!(!is_plain(&step, &Turn::NONE, true), "{step:?}");
    }
}

/// Processings of single samples, for the law below.
fn point_steps() -> Vec<Processing> {
    let mut steps = vec![
        minmax(64.0, 192.0),
        minmax(200.0, 10.0),
        minmax(7.0, 7.0),
        with(|p| p.invert = true),
        contrast(Contrast::Stretch),
        with(|p| {
            p.gamma = Gamma::Power(0.7);
            p.invert = true;
            p.contrast = Contrast::Factor(1.3);
        }),
    ];
    steps.extend([0.0, 0.5, 1.7, -3.0].map(|c| contrast(Contrast::Factor(c))));
    steps.extend([0.0, 0.45, 2.2, -0.5].map(|g| gamma(Gamma::Power(g))));
    steps.push(gamma(Gamma::Log));
    steps.extend(
        [
            ColorMap::Hot,
            ColorMap::Cold,
            ColorMap::Jet,
            ColorMap::Red,
            ColorMap::Green,
            ColorMap::Blue,
        ]
        .map(mapped),
    );
    steps
}

#[test]
fn tables_and_formulas_agree_on_every_byte() {
    let all: Vec<u8> = (0..=255).collect();
    let table = grey(&all);
    let formula = picture(256, 1, Samples::F32(all.iter().map(|v| f32::from(*v)).collect()));
    for step in point_steps() {
        let found = statistics(&table, &[], &step).unwrap();
        let ranges = vec![(0.0, 255.0)];
        let mut work = work(&table, &step);
        work.ranges = ranges;
        work.statistics = Some(&found);
        let by_table = run(table.clone(), &work).unwrap();
        let by_formula = run(formula.clone(), &work).unwrap();
        assert_eq!(by_table.samples, by_formula.samples, "{step:?}");
        let deep = picture(256, 1, Samples::U16(all.iter().map(|v| u16::from(*v)).collect()));
        work.ranges = vec![(0.0, 255.0)];
        assert_eq!(
            run(deep, &work).unwrap().samples,
            by_table.samples,
            "{step:?} from 16 bits"
        );
    }
}

fn noise(width: u32, height: u32, bands: u32, seed: u32) -> Raster {
    let samples = (0..width * height * bands)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    picture(width, bands, Samples::U8(samples))
}

proptest! {
    #[test]
    fn a_tile_with_its_margin_is_the_crop_of_the_whole(
        (width, height) in (1u32..40, 1u32..40),
        (fx, fy, fw, fh) in (0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0, 0.0f64..1.0),
        bands in prop::sample::select(vec![1u32, 3]),
        large in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let side = if large { 25 } else { 9 };
        let processing = Processing {
            invert: true,
            kernel: Some((0..side).map(|i| f64::from(i * 7 % 5) - 1.0).collect()),
            ..Processing::NONE
        };
        let whole = noise(width, height, bands, seed);
        let x = (fx * f64::from(width)) as u32;
        let y = (fy * f64::from(height)) as u32;
        let region = Region::new(x, y, 1 + (fw * f64::from(width - x - 1)) as u32, 1 + (fh * f64::from(height - y - 1)) as u32);
        let reach = margin(&processing);
        let (left, top) = (x.saturating_sub(reach), y.saturating_sub(reach));
        let right = (x + region.width + reach).min(width);
        let bottom = (y + region.height + reach).min(height);
        let around = Region::new(left, top, right - left, bottom - top);
        let expected = crop::crop(run(whole.clone(), &work(&whole, &processing)).unwrap(), region).unwrap();
        let tile = crop::crop(whole, around).unwrap();
        let mut on_tile = work(&tile, &processing);
        on_tile.inner = Region::new(x - left, y - top, region.width, region.height);
        on_tile.size = Size::new(region.width, region.height);
        on_tile.padded = on_tile.size;
        prop_assert_eq!(run(tile, &on_tile).unwrap(), expected);
    }

    #[test]
    fn neutral_work_is_identity(width in 1u32..30, height in 1u32..30, bands in prop::sample::select(vec![1u32, 3]), seed in any::<u32>()) {
        let raster = noise(width, height, bands, seed);
        let neutral = [
            Processing::NONE,
            contrast(Contrast::Factor(1.0)),
            with(|p| p.ranges.push(RangeOverride { band: None, min: 0.0, max: 255.0 })),
            convolved(&[1.0]),
            twisted(&[&[1.0][..], &[0.0, 1.0], &[0.0, 0.0, 1.0]][..bands as usize]),
        ];
        for processing in neutral {
            prop_assert_eq!(&run(raster.clone(), &work(&raster, &processing)).unwrap().samples, &raster.samples);
        }
    }

    #[test]
    fn inverting_twice_is_identity(bytes_in in prop::collection::vec(any::<u8>(), 1..200)) {
        let inverted = with(|p| p.invert = true);
        let once = bytes(&grey(&bytes_in), &inverted);
        prop_assert_eq!(bytes(&grey(&once), &inverted), bytes_in);
    }
}

/// Large pictures are shared out to threads: the result is the same.
#[test]
fn work_in_parallel_gives_the_same_pixels() {
    let raster = noise(900, 500, 3, 7);
    let processing = Processing {
        gamma: Gamma::Power(0.8),
        kernel: Some(vec![0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0]),
        ..Processing::NONE
    };
    let mut work = work(&raster, &processing);
    work.size = Size::new(651, 333);
    let threads = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let one = threads(1).install(|| run(raster.clone(), &work).unwrap());
    let three = threads(3).install(|| run(raster.clone(), &work).unwrap());
    assert_eq!(one, three);
}

#[test]
fn every_way_of_painting_gives_the_same_colors() {
    // The kernel that changes nothing makes the mixer work row by row; floating point always does.
    let samples: Vec<u8> = (0..40u8 * 5).collect();
    let floats = samples.iter().map(|s| f32::from(*s) / 255.0).collect();
    let two_bands = samples.iter().flat_map(|s| [*s, 255 - *s]).collect();
    for map in [
        ColorMap::Hot,
        ColorMap::Cold,
        ColorMap::Jet,
        ColorMap::Red,
        ColorMap::Blue,
    ] {
        let painted = bytes(&picture(40, 1, Samples::U8(samples.clone())), &mapped(map));
        assert_eq!(
            bytes(&picture(40, 1, Samples::F32(Vec::clone(&floats))), &mapped(map)),
            painted
        );
        let filtered = with(|p| {
            p.color_map = Some(map);
            p.kernel = Some(vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        });
        for (bands, samples) in [(1, samples.clone()), (2, Vec::clone(&two_bands))] {
            assert_eq!(
                bytes(&picture(40, bands, Samples::U8(samples)), &filtered),
                painted
            );
        }
    }
}
