//! Vectors of IIP geometry, IIIF sizes and tile grids.

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};
use proptest::prelude::*;

use super::*;
use crate::image_info::Level;
use crate::view::*;

fn page_of(sizes: &[(u32, u32)]) -> Page {
    Page {
        name: String::new(),
        scale: 1.0,
        levels: sizes
            .iter()
            .enumerate()
            .map(|(i, &(w, h))| Level {
                size: Size::new(w, h),
                decoder_level: i as u32,
                halvings: 0,
                stored_tile: Size::new(256, 256),
                encoded: None,
            })
            .collect(),
        tile_size: Size::new(256, 256),
        band_count: 3,
        color_band_count: 3,
        sample_format: SampleFormat::U8,
        bit_depth: 8,
        signed: false,
        color_model: ColorModel::Rgb,
        alpha: AlphaMode::None,
        ranges: vec![(0.0, 255.0); 3],
        stated_ranges: Vec::new(),
        resolution: None,
        quality_layers: 1,
    }
}

/// A pyramid halved with floor until it fits a tile.
fn pyramid(width: u32, height: u32) -> Page {
    let mut sizes = vec![(width, height)];
    while let Some(&(w, h)) = sizes.last() {
        if w <= 256 && h <= 256 {
            break;
        }
        sizes.push(((w / 2).max(1), (h / 2).max(1)));
    }
    page_of(&sizes)
}

fn view(frame: Frame) -> View {
    View {
        page: 0,
        frame,
        turn: Turn::NONE,
        processing: Processing::NONE,
        output: Output::new(OutputFormat::Jpeg),
        quality_layers: 0,
    }
}

const IIP: SizeRules = SizeRules {
    upscaling: Upscaling::IfAllowed,
    over_limit: OverLimit::Shrink,
    match_tiles: false,
};
const IIIF3: SizeRules = SizeRules {
    upscaling: Upscaling::Refused,
    over_limit: OverLimit::Refuse,
    match_tiles: true,
};
const IIIF3_UP: SizeRules = SizeRules {
    upscaling: Upscaling::Requested,
    over_limit: OverLimit::Refuse,
    match_tiles: true,
};

fn iip_size(wid: u64, hei: u64) -> SizeSpec {
    match (wid, hei) {
        (0, 0) => SizeSpec::Natural,
        (w, 0) => SizeSpec::Width(w),
        (0, h) => SizeSpec::Height(h),
        (w, h) => SizeSpec::Within(w, h),
    }
}

fn limits(max: i64, upscaling: bool) -> Limits {
    Limits {
        max_export_side: u32::try_from(max).ok(),
        allow_upscaling: upscaling,
        ..Limits::default()
    }
}

/// `image; wid hei; region or -; max; upscaling; level size; region on it; output`.
const IIP_VECTORS: &str = "
1000x700; 500 0; -; 5000; 1; 500x350; 0,0 500x350; 500x350
1000x700; 501 0; -; 5000; 1; 1000x700; 0,0 1000x700; 501x351
1000x700; 0 500; -; 5000; 1; 1000x700; 0,0 1000x700; 714x500
1000x700; 500 500; -; 5000; 1; 500x350; 0,0 500x350; 500x350
1000x700; 100 300; -; 5000; 1; 250x175; 0,0 250x175; 100x70
1000x700; 1 0; -; 5000; 1; 250x175; 0,0 250x175; 1x1
1000x700; 2000 0; -; 5000; 1; 1000x700; 0,0 1000x700; 2000x1400
1000x700; 2000 0; -; 5000; 0; 1000x700; 0,0 1000x700; 1000x700
1000x700; 6000 0; -; 5000; 1; 1000x700; 0,0 1000x700; 5000x3500
1000x700; 200 0; 0.1,0.2,0.5,0.5; 5000; 1; 500x350; 50,70 250x175; 200x140
1000x700; 0 90; 0.1,0.2,0.5,0.5; 5000; 1; 500x350; 50,70 250x175; 129x90
1000x700; 400 100; 0.25,0.25,0.5,0.5; 5000; 1; 500x350; 125,88 250x175; 143x100
1000x700; 100 0; 0.001,0.001,0.0001,0.0001; 5000; 1; 1000x700; 1,1 1x1; 100x70
1000x700; 300 0; 0.5,0.5,0.5,0.5; 300; 1; 1000x700; 500,350 500x350; 300x210
1025x769; 256 0; -; 5000; 1; 256x192; 0,0 256x192; 256x192
1025x769; 257 0; -; 5000; 1; 512x384; 0,0 512x384; 257x193
1025x769; 513 0; -; 5000; 1; 1025x769; 0,0 1025x769; 513x385
1025x769; 0 192; -; 5000; 1; 256x192; 0,0 256x192; 256x192
1025x769; 300 0; 0.333,0.333,0.333,0.333; 5000; 1; 1025x769; 341,256 341x256; 300x225
1025x769; 100 100; 0.5,0.25,0.25,0.5; 5000; 1; 512x384; 256,96 128x192; 67x100
1023x767; 255 0; -; 5000; 1; 255x191; 0,0 255x191; 255x191
1023x767; 256 0; -; 5000; 1; 511x383; 0,0 511x383; 256x192
1023x767; 512 0; -; 5000; 1; 1023x767; 0,0 1023x767; 512x384
1023x767; 128 0; 0.5,0.5,0.5,0.5; 5000; 1; 511x383; 256,192 255x191; 128x96
1023x767; 127 0; 0.5,0.5,0.5,0.5; 5000; 1; 255x191; 128,96 127x95; 127x95
257x511; 128 0; -; 5000; 1; 128x255; 0,0 128x255; 128x255
257x511; 129 0; -; 5000; 1; 257x511; 0,0 257x511; 129x256
257x511; 64 0; 0,0,0.5,0.5; 5000; 1; 128x255; 0,0 64x128; 64x127
1000x700; 0 0; -; 5000; 1; 1000x700; 0,0 1000x700; 1000x700
1000x700; 0 0; 0,0,0.5,0.5; 5000; 1; 1000x700; 0,0 500x350; 500x350
1000x700; 0 0; 0,0,0.1,1; 300; 1; 500x350; 0,0 50x350; 43x300
1000x700; 1000 0; -; 300; 1; 500x350; 0,0 500x350; 300x210
1000x700; 1000 1000; 0,0,0.1,1; 300; 1; 500x350; 0,0 50x350; 43x300
1000x700; 1000 0; 0.5,0.5,0.5,0.5; 300; 1; 1000x700; 500,350 500x350; 300x210
1000x700; 200 0; 0.9,0,0.5,1; 5000; 1; 1000x700; 900,0 100x700; 200x1400
1000x700; 2000 0; 0,0,0.5,0.5; 5000; 0; 1000x700; 0,0 500x350; 500x350
";

fn pair(text: &str) -> (u32, u32) {
    let (a, b) = text.split_once('x').unwrap();
    (a.parse().unwrap(), b.parse().unwrap())
}

#[test]
fn iip_exports_have_the_specified_level_region_and_size() {
    for line in IIP_VECTORS.lines().filter(|l| !l.is_empty()) {
        let fields: Vec<&str> = line.split(';').map(str::trim).collect();
        let (w, h) = pair(fields[0]);
        let sizes: Vec<u64> = fields[1].split(' ').map(|n| n.parse().unwrap()).collect();
        let region = if fields[2] == "-" {
            RegionSpec::Full
        } else {
            let f: Vec<f64> = fields[2].split(',').map(|n| n.parse().unwrap()).collect();
            RegionSpec::Fraction {
                x: f[0],
                y: f[1],
                width: f[2],
                height: f[3],
            }
        };
        let frame = Frame::Export {
            region,
            size: iip_size(sizes[0], sizes[1]),
            rules: IIP,
        };
        let page = pyramid(w, h);
        let plan = plan(
            &view(frame),
            &page,
            &limits(fields[3].parse().unwrap(), fields[4] == "1"),
        )
        .unwrap();
        let got = format!(
            "{}; {},{} {}x{}; {}",
            page.levels[plan.level].size,
            plan.source.x,
            plan.source.y,
            plan.source.width,
            plan.source.height,
            plan.size
        );
        assert_eq!(got, fields[5..].join("; "), "{line}");
    }
}

fn iiif(page: &Page, region: RegionSpec, size: SizeSpec, rules: SizeRules, max: i64) -> Result<Plan, Error> {
    plan(
        &view(Frame::Export { region, size, rules }),
        page,
        &limits(max, true),
    )
}

#[test]
fn iiif_sizes_follow_the_rules_of_version_3() {
    let page = pyramid(1000, 700);
    let full = RegionSpec::Full;
    let size = |region, spec, rules, max| {
        iiif(&page, region, spec, rules, max).map(|p| (p.size.width, p.size.height))
    };
    assert_eq!(
        size(full, SizeSpec::Max { upscale: false }, IIIF3, 5000).unwrap(),
        (1000, 700)
    );
    assert_eq!(
        size(full, SizeSpec::Max { upscale: true }, IIIF3_UP, 5000).unwrap(),
        (5000, 3500)
    );
    assert_eq!(
        size(full, SizeSpec::Max { upscale: false }, IIIF3, 300).unwrap(),
        (300, 210)
    );
    assert_eq!(
        size(full, SizeSpec::Width(2000), IIIF3, 5000)
            .unwrap_err()
            .status(),
        400
    );
    assert_eq!(
        size(full, SizeSpec::Width(2000), IIIF3_UP, 5000).unwrap(),
        (2000, 1400)
    );
    assert_eq!(
        size(full, SizeSpec::Within(2000, 2000), IIIF3, 5000).unwrap(),
        (1000, 700)
    );
    assert_eq!(
        size(full, SizeSpec::Within(6000, 6000), IIIF3_UP, 5000).unwrap(),
        (5000, 3500)
    );
    assert_eq!(
        size(full, SizeSpec::Exact(6000, 100), IIIF3_UP, 5000)
            .unwrap_err()
            .status(),
        400
    );
    assert_eq!(
        size(full, SizeSpec::Percent(33.3), IIIF3, 5000).unwrap(),
        (333, 233)
    );
    assert_eq!(
        size(full, SizeSpec::Percent(0.01), IIIF3, 5000)
            .unwrap_err()
            .status(),
        400
    );
    assert_eq!(size(full, SizeSpec::Width(1), IIIF3, 5000).unwrap(), (1, 1));
    let tall = RegionSpec::Pixels {
        x: 0,
        y: 0,
        width: 200,
        height: 700,
    };
    assert_eq!(
        size(tall, SizeSpec::Max { upscale: false }, IIIF3, 300).unwrap(),
        (86, 300)
    );
    let corner = RegionSpec::Pixels {
        x: 999,
        y: 699,
        width: 50,
        height: 50,
    };
    assert_eq!(
        size(corner, SizeSpec::Max { upscale: false }, IIIF3, 5000).unwrap(),
        (1, 1)
    );
    let outside = RegionSpec::Pixels {
        x: 1000,
        y: 0,
        width: 10,
        height: 10,
    };
    assert_eq!(
        size(outside, SizeSpec::Max { upscale: false }, IIIF3, 5000)
            .unwrap_err()
            .status(),
        400
    );
    let square = iiif(
        &page,
        RegionSpec::Square,
        SizeSpec::Max { upscale: false },
        IIIF3,
        5000,
    )
    .unwrap();
    assert_eq!(square.source, Region::new(150, 0, 700, 700));
}

#[test]
fn percentages_round_as_decimals_do() {
    let page = pyramid(3000, 2000);
    let percent = |n| {
        let plan = iiif(&page, RegionSpec::Full, SizeSpec::Percent(n), IIIF3, 5000).unwrap();
        (plan.size.width, plan.size.height)
    };
    // 283.5 and 282.5, although 9.45 and 14.125 times these sides are less in binary.
    assert_eq!(percent(9.45), (284, 189));
    assert_eq!(percent(14.125), (424, 283));
    let region = RegionSpec::Percent {
        x: 9.45,
        y: 0.0,
        width: 10.0,
        height: 100.0,
    };
    let plan = iiif(&page, region, SizeSpec::Max { upscale: false }, IIIF3, 5000).unwrap();
    assert_eq!(plan.full_region, Region::new(284, 0, 300, 2000));
}

#[test]
fn half_a_pixel_of_a_derived_side_rounds_up() {
    let page = pyramid(3000, 2000);
    let size = |width, height, spec| {
        let region = RegionSpec::Pixels {
            x: 0,
            y: 0,
            width,
            height,
        };
        let plan = iiif(&page, region, spec, IIIF3, 5000).unwrap();
        (plan.size.width, plan.size.height)
    };
    assert_eq!(size(870, 373, SizeSpec::Width(435)), (435, 187));
    assert_eq!(size(373, 870, SizeSpec::Height(435)), (187, 435));
    assert_eq!(size(870, 373, SizeSpec::Within(435, 300)), (435, 187));
    // Laws for every region that is halved and has an odd side.
    for odd in (1..1999).step_by(2) {
        assert_eq!(
            size(870, odd, SizeSpec::Width(435)),
            (435, odd as u32 / 2 + 1),
            "{odd}"
        );
    }
}

#[test]
fn a_region_of_one_pixel_is_that_pixel() {
    let page = pyramid(1, 20_000);
    let pixel = RegionSpec::Pixels {
        x: 0,
        y: 9999,
        width: 1,
        height: 1,
    };
    for size in [
        SizeSpec::Width(1),
        SizeSpec::Height(1),
        SizeSpec::Exact(1, 1),
        SizeSpec::Max { upscale: false },
    ] {
        let plan = iiif(&page, pixel, size, IIIF3, 5000).unwrap();
        assert_eq!(
            (plan.level, plan.source),
            (0, Region::new(0, 9999, 1, 1)),
            "{size:?}"
        );
    }
}

#[test]
fn enlarging_that_is_switched_off_is_501_or_the_own_size() {
    let page = pyramid(1000, 700);
    let limits = limits(5000, false);
    let run = |spec, rules| {
        plan(
            &view(Frame::Export {
                region: RegionSpec::Full,
                size: spec,
                rules,
            }),
            &page,
            &limits,
        )
    };
    assert_eq!(run(SizeSpec::Width(2000), IIIF3_UP).unwrap_err().status(), 501);
    assert_eq!(
        run(SizeSpec::Max { upscale: true }, IIIF3_UP)
            .unwrap_err()
            .status(),
        501
    );
    assert_eq!(
        run(SizeSpec::Width(2000), IIP).unwrap().size,
        Size::new(1000, 700)
    );
    assert_eq!(
        run(SizeSpec::Exact(2000, 100), IIP).unwrap().size,
        Size::new(1000, 100)
    );
}

#[test]
fn a_negative_max_cvt_keeps_whole_pictures_and_stays_finite() {
    let page = pyramid(9000, 700);
    let run = |spec| {
        plan(
            &view(Frame::Export {
                region: RegionSpec::Full,
                size: spec,
                rules: IIP,
            }),
            &page,
            &limits(-1, true),
        )
        .unwrap()
        .size
    };
    assert_eq!(run(SizeSpec::Natural), Size::new(9000, 700));
    assert_eq!(run(SizeSpec::Width(90_000)), Size::new(9000, 700));
}

#[test]
fn the_pixel_limit_shrinks_or_refuses() {
    let page = pyramid(1000, 700);
    let limits = Limits {
        max_output_pixels: 10_000,
        ..Limits::default()
    };
    let run = |spec, rules| {
        plan(
            &view(Frame::Export {
                region: RegionSpec::Full,
                size: spec,
                rules,
            }),
            &page,
            &limits,
        )
    };
    let size = run(SizeSpec::Natural, IIP).unwrap().size;
    assert!(size.pixels() <= 10_000 && size.pixels() > 9_700, "{size}");
    assert_eq!(run(SizeSpec::Width(500), IIIF3).unwrap_err().status(), 400);
}

#[test]
fn a_viewers_edge_tile_uses_the_stored_tile_although_it_rounds_up() {
    let page = pyramid(999, 699);
    let region = RegionSpec::Pixels {
        x: 512,
        y: 0,
        width: 487,
        height: 512,
    };
    let plan = iiif(&page, region, SizeSpec::Exact(244, 256), IIIF3, 5000).unwrap();
    assert_eq!((plan.level, plan.source), (1, Region::new(256, 0, 243, 256)));
    assert_eq!(plan.tile, None);
    let region = RegionSpec::Pixels {
        x: 0,
        y: 0,
        width: 512,
        height: 512,
    };
    let plan = iiif(&page, region, SizeSpec::Exact(256, 256), IIIF3, 5000).unwrap();
    assert_eq!((plan.level, plan.tile), (1, Some((0, 0))));
}

#[test]
fn deep_zoom_edge_tiles_are_completed_to_the_exact_size() {
    let page = pyramid(513, 300);
    // Level of ceil size 257x150: the stored level is 256x150, its second tile column is missing.
    let whole = Size::new(257, 150);
    let tile = plan(
        &view(Frame::Scaled {
            size: whole,
            region: Region::new(256, 0, 1, 150),
        }),
        &page,
        &limits(5000, true),
    )
    .unwrap();
    assert_eq!(
        (tile.source, tile.padded, tile.size),
        (Region::new(255, 0, 1, 150), Size::new(1, 150), Size::new(1, 150))
    );
    let native = plan(
        &view(Frame::Scaled {
            size: whole,
            region: Region::new(0, 0, 256, 150),
        }),
        &page,
        &limits(5000, true),
    )
    .unwrap();
    assert_eq!((native.level, native.tile), (1, Some((0, 0))));
    let outside = Frame::Scaled {
        size: whole,
        region: Region::new(257, 0, 1, 1),
    };
    assert_eq!(
        plan(&view(outside), &page, &limits(5000, true))
            .unwrap_err()
            .status(),
        404
    );
}

#[test]
fn tiny_levels_are_reduced_and_not_cut() {
    let page = page_of(&[(3, 3)]);
    let whole = Size::new(2, 2);
    let frame = Frame::Scaled {
        size: whole,
        region: Region::new(0, 0, 2, 2),
    };
    let plan = plan(&view(frame), &page, &limits(5000, true)).unwrap();
    assert_eq!((plan.source, plan.size), (Region::new(0, 0, 3, 3), whole));
}

#[test]
fn pyramids_of_other_steps_use_their_true_ratio() {
    let page = page_of(&[(1000, 700), (250, 175)]);
    let left = RegionSpec::Fraction {
        x: 0.0,
        y: 0.0,
        width: 0.5,
        height: 1.0,
    };
    let frame = Frame::Export {
        region: left,
        size: SizeSpec::Width(100),
        rules: IIP,
    };
    let plan = plan(&view(frame), &page, &limits(5000, true)).unwrap();
    assert_eq!((plan.level, plan.source), (1, Region::new(0, 0, 125, 175)));
}

#[test]
fn layers_follow_max_layers() {
    let cases = [
        // asked, available, max, decoded (0 = all)
        (0, 4, 0, 2),
        (0, 5, 0, 3),
        (0, 1, 0, 0),
        (3, 4, 0, 3),
        (9, 4, 0, 0),
        (0, 4, 3, 3),
        (2, 4, 3, 2),
        (9, 4, 3, 3),
        (0, 4, -1, 0),
        (1, 4, -1, 1),
        (-5, 4, 0, 0),
    ];
    for (asked, available, max, decoded) in cases {
        assert_eq!(
            quality_layers(asked, available, max),
            decoded,
            "LYR={asked} of {available}, MAX_LAYERS={max}"
        );
    }
}

#[test]
fn work_over_a_limit_is_refused_by_its_name() {
    let page = pyramid(100_000, 100_000);
    let limits = Limits {
        max_decoded_pixels: 1_000_000,
        ..Limits::default()
    };
    let mut view = view(Frame::Export {
        region: RegionSpec::Full,
        size: SizeSpec::Natural,
        rules: IIP,
    });
    view.processing.kernel = Some(vec![1.0; 25]);
    let message = plan(&view, &page, &limits).unwrap_err().public_message();
    assert!(message.contains("MAX_DECODED_PIXELS"), "{message}");
}

proptest! {
    #[test]
    fn plans_stay_inside_their_level_and_limits(
        w in 1u32..5000, h in 1u32..5000,
        x in 0.0f64..1.2, y in 0.0f64..1.2, fw in 0.0f64..1.5, fh in 0.0f64..1.5,
        wid in 0u64..20_000, hei in 0u64..20_000, max in -1i64..6000,
    ) {
        let page = pyramid(w, h);
        let max = if max == 0 { 1 } else { max };
        let frame = Frame::Export {
            region: RegionSpec::Fraction { x, y, width: fw, height: fh },
            size: iip_size(wid, hei),
            rules: IIP,
        };
        match plan(&view(frame), &page, &limits(max, true)) {
            Ok(plan) => {
                let level = page.levels[plan.level].size;
                prop_assert!(plan.source.right() <= u64::from(level.width));
                prop_assert!(plan.source.bottom() <= u64::from(level.height));
                prop_assert!(plan.source.width >= 1 && plan.source.height >= 1);
                prop_assert!(plan.size.width >= 1 && plan.size.height >= 1);
                if max > 0 {
                    prop_assert!(i64::from(plan.size.longer()) <= max);
                }
            }
            Err(error) => prop_assert_eq!(error.status(), 400),
        }
    }

    #[test]
    fn tiles_cover_a_level_once(w in 1u32..3000, h in 1u32..3000) {
        let page = pyramid(w, h);
        for (index, level) in page.levels.iter().enumerate() {
            let grid = page.tile_grid(index);
            let mut area = 0;
            for tile_row in 0..grid.height {
                for tile_col in 0..grid.width {
                    let tile = plan(&view(Frame::Tile { level: index, tile_col, tile_row }), &page, &Limits::default()).unwrap();
                    prop_assert_eq!(tile.tile, Some((tile_col, tile_row)));
                    area += tile.source.pixels();
                }
            }
            prop_assert_eq!(area, level.size.pixels());
            let outside = view(Frame::Tile { level: index, tile_col: grid.width, tile_row: 0 });
            prop_assert!(plan(&outside, &page, &Limits::default()).is_err());
        }
    }

    #[test]
    fn different_plans_have_different_keys(a in 0u32..4, b in 0u32..4, gamma in 0usize..3, invert: bool, other_gamma in 0usize..3, other_invert: bool) {
        let page = pyramid(2000, 2000);
        let gammas = [Gamma::Power(1.0), Gamma::Power(2.0), Gamma::Log];
        let key = |col, gamma: usize, invert| {
            let mut view = view(Frame::Tile { level: 0, tile_col: col, tile_row: 0 });
            view.processing.gamma = gammas[gamma];
            view.processing.invert = invert;
            let mut key = Vec::new();
            plan(&view, &page, &Limits::default()).unwrap().write_key(&mut key);
            key
        };
        let same = (a, gamma, invert) == (b, other_gamma, other_invert);
        prop_assert_eq!(key(a, gamma, invert) == key(b, other_gamma, other_invert), same);
    }
}

#[test]
fn a_virtual_level_of_a_long_thin_picture_costs_no_more_than_the_picture() {
    let mut page = page_of(&[(1_000_000, 3)]);
    let full = page.levels[0];
    for halvings in 1..=12 {
        page.levels.push(Level {
            size: Size::new(1_000_000 >> halvings, (3u32 >> halvings).max(1)),
            halvings,
            ..full
        });
    }
    let smallest = view(Frame::Tile {
        level: 12,
        tile_col: 0,
        tile_row: 0,
    });
    let limits = |max_decoded_pixels| Limits {
        max_decoded_pixels,
        ..Limits::default()
    };
    assert!(plan(&smallest, &page, &limits(3_000_000)).is_ok());
    let refused = plan(&smallest, &page, &limits(2_900_000)).unwrap_err();
    assert_eq!(refused.status(), 400);
}
