//! Laws that hold for every query.

use super::*;

/// A query that asks for a view as it stands.
fn printed(view: &View) -> String {
    let mut query = String::from("FIF=rgb.tif");
    let numbers = |list: &[f64]| {
        list.iter()
            .map(|n| format!("{n:?}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut push = |text: String| query.push_str(&text);
    let p = &view.processing;
    for range in &p.ranges {
        let band = range.band.map_or("-".to_owned(), |band| band.to_string());
        push(format!("&MINMAX={band}:{}", numbers(&[range.min, range.max])));
    }
    if let Some(shade) = p.shade {
        push(format!("&SHD={},{}", shade.azimuth, shade.elevation));
    }
    if let Some(rows) = &p.twist {
        let rows: Vec<String> = rows.iter().map(|row| numbers(row)).collect();
        push(format!("&CTW=[{}]", rows.join(";")));
    }
    match p.gamma {
        Gamma::Power(exponent) => push(format!("&GAM={exponent:?}")),
        Gamma::Log => push("&GAM=log".to_owned()),
    }
    if p.invert {
        push("&INV".to_owned());
    }
    if let Some(map) = p.color_map {
        push(format!("&CMP={map:?}"));
    }
    if let Some(kernel) = &p.kernel {
        push(format!("&CNV=[{}]", numbers(kernel)));
    }
    match p.contrast {
        Contrast::Factor(factor) => push(format!("&CNT={factor:?}")),
        Contrast::Stretch => push("&CNT=stretch".to_owned()),
        Contrast::Equalize => push("&CNT=eq".to_owned()),
    }
    match p.color_mode {
        ColorMode::Native => {}
        ColorMode::Grey => push("&COL=grey".to_owned()),
        ColorMode::Bilevel => push("&COL=binary".to_owned()),
    }
    let mirror = if view.turn.mirror { "!" } else { "" };
    push(format!("&ROT={mirror}{:?}", view.turn.degrees));
    push(format!("&LYR={}", view.quality_layers));
    if let Some(quality) = view.output.quality {
        let scheme = match view.output.tiff_compression {
            None => "",
            Some(TiffCompression::None) => "none:",
            Some(TiffCompression::Lzw) => "lzw:",
            Some(TiffCompression::Deflate) => "deflate:",
            Some(TiffCompression::Jpeg) => "jpeg:",
            Some(TiffCompression::WebP) => "webp:",
            Some(TiffCompression::Zstandard) => "zstd:",
        };
        push(format!("&QLT={scheme}{quality}"));
    }
    if let Frame::Export { region, size, .. } = view.frame {
        if let RegionSpec::Fraction { x, y, width, height } = region {
            push(format!("&RGN={}", numbers(&[x, y, width, height])));
        }
        match size {
            SizeSpec::Width(width) => push(format!("&WID={width}")),
            SizeSpec::Height(height) => push(format!("&HEI={height}")),
            SizeSpec::Within(width, height) => push(format!("&WID={width}&HEI={height}")),
            _ => {}
        }
        push(format!(
            "&CVT={}",
            view.output.format.media_type().trim_start_matches("image/")
        ));
    }
    query
}

/// Finite numbers a client may send; -1 is a word of its own in `CNT` and `GAM`.
fn number() -> impl Strategy<Value = f64> {
    (-1e6..1e6f64).prop_filter("-1 is a word", |n| *n != -1.0)
}

prop_compose! {
    fn processing()(
        bands in prop::collection::btree_map(0u32..3, (number(), number()), 0..3),
        shade in prop::option::of((any::<i16>(), any::<i16>())),
        twist in prop::option::of(prop::collection::vec(prop::collection::vec(number(), 1..5), 1..5)),
        gamma in prop_oneof![Just(Gamma::Log), number().prop_map(Gamma::Power)],
        invert: bool,
        color_map in prop::option::of(prop::sample::select(vec![
            ColorMap::Hot, ColorMap::Cold, ColorMap::Jet, ColorMap::Red, ColorMap::Green, ColorMap::Blue,
        ])),
        kernel in prop::option::of(prop_oneof![
            prop::collection::vec(number(), 1),
            prop::collection::vec(number(), 9),
            prop::collection::vec(number(), 25),
        ]),
        contrast in prop_oneof![Just(Contrast::Stretch), Just(Contrast::Equalize), number().prop_map(Contrast::Factor)],
        color_mode in prop::sample::select(vec![ColorMode::Native, ColorMode::Grey, ColorMode::Bilevel]),
    ) -> Processing {
        Processing {
            ranges: bands.into_iter().map(|(band, (min, max))| RangeOverride { band: Some(band), min, max }).collect(),
            shade: shade.map(|(azimuth, elevation)| Shade { azimuth: azimuth.into(), elevation: elevation.into() }),
            twist, gamma, invert, color_map, kernel, contrast, color_mode,
        }
    }
}

prop_compose! {
    fn view()(
        processing in processing(),
        region in prop_oneof![
            Just(RegionSpec::Full),
            (0.0..0.9f64, 0.0..0.9f64, 0.001..0.1f64, 0.001..0.1f64)
                .prop_map(|(x, y, width, height)| RegionSpec::Fraction { x, y, width, height }),
        ],
        size in prop_oneof![
            Just(SizeSpec::Natural),
            (1u64..100_000).prop_map(SizeSpec::Width),
            (1u64..100_000).prop_map(SizeSpec::Height),
            (1u64..100_000, 1u64..100_000).prop_map(|(w, h)| SizeSpec::Within(w, h)),
        ],
        mirror: bool,
        degrees in prop::sample::select(vec![0.0, 90.0, 180.0, 270.0]),
        quality_layers in -3i64..40,
        quality in prop::option::of((any::<i16>(), prop::option::of(prop::sample::select(vec![
            TiffCompression::None, TiffCompression::Lzw, TiffCompression::Deflate,
            TiffCompression::Jpeg, TiffCompression::WebP, TiffCompression::Zstandard,
        ])))),
        format in prop::sample::select(vec![
            OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::WebP, OutputFormat::Avif, OutputFormat::Tiff,
        ]),
    ) -> View {
        View {
            page: 0,
            frame: Frame::Export {
                region,
                size,
                rules: SizeRules { upscaling: Upscaling::IfAllowed, over_limit: OverLimit::Shrink, match_tiles: false },
            },
            turn: Turn { mirror, degrees },
            processing,
            output: Output {
                format,
                quality: quality.map(|(quality, _)| quality.into()),
                tiff_compression: quality.and_then(|(_, compression)| compression),
            },
            quality_layers,
        }
    }
}

proptest! {
    #[test]
    fn a_view_printed_as_a_query_is_parsed_again(view in view()) {
        let query = printed(&view);
        prop_assert_eq!(picture(&query).view, view, "{}", query);
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300), post: bool, from_path: bool) {
        let query = Query { text: &bytes, post, from_path };
        let mut others = |_, _: &[u8], _: &Base| Ok(Answer::Reply(Response::new(200)));
        let _ = answer(&query, &images(), &ALL, &mut others);
    }

    #[test]
    fn any_values_of_known_commands_get_an_answer(
        commands in prop::collection::vec((
            prop::sample::select(vec![
                "SDS", "CNT", "GAM", "MINMAX", "INV", "CMP", "SHD", "CTW", "CNV", "COL", "ROT", "WID", "HEI",
                "RGN", "QLT", "LYR", "OBJ", "JTL", "JTLS", "TIL", "PFL", "SPECTRA", "CVT", "FIF",
            ]),
            "[0-9.,:;!?\\[\\]+e -]{0,24}|-?[0-9]{1,12}(,-?[0-9]{1,12}){0,4}|[0-2]:[0-9]{1,3},[0-9]{1,3}-[0-9]{1,3},[0-9]{1,3}",
        ), 0..6),
    ) {
        let mut query = String::from("FIF=rgb.tif");
        for (name, value) in &commands {
            query.push_str(&format!("&{name}={value}"));
        }
        prop_assert!([200, 400, 404].contains(&status(&query)), "{}", query);
    }
}
