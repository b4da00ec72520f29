//! From commands to pictures, tiles and other protocols.

use super::*;

#[test]
fn tile_commands_name_format_level_and_cell() {
    for (query, format, frame) in [
        ("FIF=rgb.tif&JTL=0,0", OutputFormat::Jpeg, tile(2, 0, 0)),
        ("FIF=rgb.tif&JTL=2,11", OutputFormat::Jpeg, tile(0, 3, 2)),
        ("FIF=rgb.tif&JTL=1", OutputFormat::Jpeg, tile(1, 1, 0)),
        ("FIF=rgb.tif&JTL=2%2C4", OutputFormat::Jpeg, tile(0, 0, 1)),
        (
            "FIF=rgb.tif&JTL=2,4?1700000000",
            OutputFormat::Jpeg,
            tile(0, 0, 1),
        ),
        ("FIF=rgb.tif&jtl=2,5,junk", OutputFormat::Jpeg, tile(0, 1, 1)),
        ("FIF=rgb.tif&PTL=2,5", OutputFormat::Png, tile(0, 1, 1)),
        ("FIF=rgb.tif&WTL=2,5", OutputFormat::WebP, tile(0, 1, 1)),
        ("FIF=rgb.tif&ATL=2,5", OutputFormat::Avif, tile(0, 1, 1)),
        ("FIF=rgb.tif&TTL=2,5", OutputFormat::Tiff, tile(0, 1, 1)),
        ("FIF=rgb.tif&ROT=180&JTL=2,0", OutputFormat::Jpeg, tile(0, 3, 2)),
        ("FIF=rgb.tif&ROT=-180&JTL=2,11", OutputFormat::Jpeg, tile(0, 0, 0)),
        ("FIF=rgb.tif&ROT=90&JTL=2,1", OutputFormat::Jpeg, tile(0, 1, 0)),
        ("FIF=rgb.tif&ROT=270&JTL=2,1", OutputFormat::Jpeg, tile(0, 1, 0)),
        ("FIF=rgb.tif&ROT=!180&JTL=2,1", OutputFormat::Jpeg, tile(0, 1, 0)),
        ("FIF=rgb.tif&ROT=!0&JTL=2,1", OutputFormat::Jpeg, tile(0, 1, 0)),
    ] {
        let picture = picture(query);
        assert_eq!(picture.kind, PictureKind::Tile, "{query}");
        assert_eq!(
            (picture.view.output.format, picture.view.frame),
            (format, frame),
            "{query}"
        );
    }
}

#[test]
fn exports_name_region_size_and_format() {
    let part = |x, y, width, height| RegionSpec::Fraction { x, y, width, height };
    for (settings, region, size) in [
        ("", RegionSpec::Full, SizeSpec::Natural),
        ("WID=200&", RegionSpec::Full, SizeSpec::Width(200)),
        ("HEI=200&", RegionSpec::Full, SizeSpec::Height(200)),
        ("WID=400&HEI=100&", RegionSpec::Full, SizeSpec::Within(400, 100)),
        ("WID=400&WID=0&", RegionSpec::Full, SizeSpec::Natural),
        ("WID=312.5&", RegionSpec::Full, SizeSpec::Width(312)),
        (
            "RGN=0.25,0.25,0.5,0.5&",
            part(0.25, 0.25, 0.5, 0.5),
            SizeSpec::Natural,
        ),
        (
            "RGN=0%2C0%2C0.5%2C0.5&",
            part(0.0, 0.0, 0.5, 0.5),
            SizeSpec::Natural,
        ),
        (
            "RGN=0,0,0.5,0.5&RGN=0,0,0,0&",
            part(0.0, 0.0, 0.5, 0.5),
            SizeSpec::Natural,
        ),
        ("RGN=0.1,0.1,0.5&WID=7&", RegionSpec::Full, SizeSpec::Width(7)),
    ] {
        let query = format!("FIF=rgb.tif&{settings}CVT=jpeg&WID=1");
        let picture = picture(&query);
        assert_eq!(picture.kind, PictureKind::Export { attachment: false }, "{query}");
        let rules = SizeRules {
            upscaling: Upscaling::IfAllowed,
            over_limit: OverLimit::Shrink,
            match_tiles: false,
        };
        assert_eq!(
            picture.view.frame,
            Frame::Export { region, size, rules },
            "{query}"
        );
    }
    for (word, format) in [
        ("jpeg", OutputFormat::Jpeg),
        ("JPG", OutputFormat::Jpeg),
        ("Png", OutputFormat::Png),
        ("webp", OutputFormat::WebP),
        ("avif", OutputFormat::Avif),
        ("tiff", OutputFormat::Tiff),
        ("tif", OutputFormat::Jpeg),
        ("gif", OutputFormat::Jpeg),
    ] {
        assert_eq!(
            picture(&format!("FIF=rgb.tif&CVT={word}")).view.output.format,
            format,
            "{word}"
        );
    }
    assert_eq!(picture("FIF=rgb.tif&CVT").view.output.format, OutputFormat::Jpeg);
}

#[test]
fn processing_commands_reach_the_picture() {
    let view = picture(
        "FIF=rgb.tif&CNT=2&GAM=0.5&INV&CMP=jet&SHD=90,45&CTW=[1,0;0,1]&CTW=[2]&CNV=[sharpen]&COL=grey\
         &MINMAX=1:10,20&MINMAX=7:0,1&ROT=!90&LYR=20&QLT=lzw:99&ICC=1&SQL=99&TTL=0,0",
    )
    .view;
    let expected = Processing {
        ranges: vec![RangeOverride {
            band: Some(1),
            min: 10.0,
            max: 20.0,
        }],
        shade: Some(Shade {
            azimuth: 90,
            elevation: 45,
        }),
        twist: Some(vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![2.0]]),
        gamma: Gamma::Power(0.5),
        invert: true,
        color_map: Some(ColorMap::Jet),
        kernel: Some(vec![0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0]),
        contrast: Contrast::Factor(2.0),
        color_mode: ColorMode::Grey,
    };
    assert_eq!(view.processing, expected);
    assert_eq!(
        view.turn,
        Turn {
            mirror: true,
            degrees: 90.0
        }
    );
    assert_eq!(view.quality_layers, 20);
    assert_eq!(
        view.output,
        Output {
            format: OutputFormat::Tiff,
            quality: Some(99),
            tiff_compression: Some(TiffCompression::Lzw)
        }
    );
}

#[test]
fn words_without_meaning_change_nothing_or_switch_off() {
    let same = "FIF=rgb.tif&SHD=1,2&CNV=sobel&COL=binary";
    let with = |more: &str| picture(&format!("{same}{more}&JTL=0,0")).view.processing;
    let plain = with("");
    assert_eq!(plain.color_mode, ColorMode::Bilevel);
    for more in [
        "&SHD=5",
        "&CNV=blur",
        "&CNV=1,2",
        "&COL=sepia",
        "&INV=",
        "&CTW=[]",
        "&CMP=none",
        "&CMP=hot&CMP=x",
    ] {
        assert_eq!(with(more), plain, "{more}");
    }
}

#[test]
fn settings_count_only_before_the_answer_and_for_every_image() {
    assert_eq!(
        picture("FIF=rgb.tif&JTL=0,0&INV").view.processing,
        Processing::NONE
    );
    assert_eq!(
        picture("WID=9&FIF=rgb.tif&CVT=jpeg").view,
        picture("FIF=rgb.tif&WID=9&CVT=jpeg").view
    );
    let second = picture("FIF=rgb.tif&MINMAX=0:1,2&INV&FIF=grey.tif&JTL=0,0");
    assert_eq!(second.image.identifier(), b"grey.tif");
    assert!(second.view.processing.invert);
    assert_eq!(second.view.processing.ranges, []);
}

#[test]
fn the_first_picture_or_document_is_the_whole_answer() {
    for query in [
        "FIF=rgb.tif&JTL=0,0&JTL=9,9",
        "FIF=rgb.tif&OBJ=Max-size&OBJ=foo&bar=1&JTL=0,0&CVT=jpeg",
        "FIF=rgb.tif&SQL=99&JTL=0,0&WID=abc&FIF=missing",
    ] {
        assert_eq!(picture(query).view.frame, tile(2, 0, 0), "{query}");
    }
}

#[test]
fn a_posted_query_is_to_be_saved() {
    let query = Query {
        text: b"FIF=rgb.tif&WID=20&CVT=png",
        post: true,
        from_path: false,
    };
    match answer(&query, &images(), &ALL, &mut nobody) {
        Ok(Answer::Picture(picture)) => {
            assert_eq!(picture.kind, PictureKind::Export { attachment: true });
            assert_eq!(picture.view.output.format, OutputFormat::Png);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn identifiers_are_decoded_once_and_plus_may_be_a_space() {
    let query = "FIF=a%20b%2Bc%26d%3De.tif&JTL=0,0";
    assert_eq!(picture(query).image.identifier(), b"a b+c&d=e.tif");
    assert_eq!(status("FIF=a+b%2Bc%26d%3De.tif&JTL=0,0"), 200);
    assert_eq!(status("FIF=a%2520b%2Bc%26d%3De.tif&JTL=0,0"), 404);
    assert_eq!(status("FIF=rgb.tif?x&JTL=0,0"), 404);
    let from_path = Query {
        text: b"FIF=a+b%2Bc%26d%3De.tif&JTL=0,0",
        post: false,
        from_path: true,
    };
    let error = answer(&from_path, &images(), &ALL, &mut nobody).unwrap_err();
    assert_eq!(error.status(), 404);
}

#[test]
fn formats_the_server_cannot_make_are_unknown_commands_and_exported_as_jpeg() {
    let none = Settings {
        webp: false,
        avif: false,
    };
    for (query, body) in [
        ("FIF=rgb.tif&WTL=0,0", "Error/7:2 2 WTL\r\n"),
        ("FIF=rgb.tif&atl=0,0", "Error/7:2 2 atl\r\n"),
    ] {
        match answer(&get(query.as_bytes()), &images(), &none, &mut nobody) {
            Ok(Answer::Reply(reply)) => assert_eq!(reply.body, body),
            other => panic!("{query}: {other:?}"),
        }
    }
    for query in ["FIF=rgb.tif&CVT=webp", "FIF=rgb.tif&CVT=avif"] {
        match answer(&get(query.as_bytes()), &images(), &none, &mut nobody) {
            Ok(Answer::Picture(picture)) => assert_eq!(picture.view.output.format, OutputFormat::Jpeg),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn views_are_files_of_a_sequence_or_pages_of_a_stack() {
    for (query, identifier, page) in [
        ("FIF=seq/obj&SDS=10,90&JTL=0,0", "seq/obj_pyr_010_090.tif", 0),
        ("SDS=10,45&FIF=seq/obj&JTL=0,0", "seq/obj_pyr_010_045.tif", 0),
        ("FIF=seq/obj&SDS=10&JTL=0,0", "seq/obj_pyr_010_090.tif", 0),
        ("FIF=seq/odd&SDS=0&JTL=0,0", "seq/odd_pyr_000_000.tif", 0),
        ("FIF=seq/odd&SDS=1&JTL=0,0", "seq/odd_pyr_001_090.tif", 0),
        ("FIF=seq/obj&JTLS=200,1,0,90", "seq/obj_pyr_200_090.tif", 0),
        ("FIF=seq/obj&JTL=0,0", "seq/obj", 0),
        ("FIF=stack.tif&SDS=2&JTL=0,0", "stack.tif", 2),
        ("FIF=stack.tif&SDS=1,17&CVT=jpeg", "stack.tif", 1),
        ("FIF=stack.tif&JTLS=1,0,0,0", "stack.tif", 1),
        ("FIF=rgb.tif&SDS=7,7&JTL=0,0", "rgb.tif", 0),
    ] {
        let picture = picture(query);
        assert_eq!(picture.image.identifier(), identifier.as_bytes(), "{query}");
        assert_eq!(picture.view.page, page, "{query}");
    }
}

#[test]
fn other_protocols_get_their_raw_value_and_the_settings_so_far() {
    let query = b"foo=1&ROT=180&CNT=0&SDS=3&LYR=2&FIF=rgb.tif&MINMAX=0:1,2&QLT=9&deepzoom=a%20b.tif_files/8/0_0.jpg?17&INV";
    let mut seen = None;
    let mut others = |protocol, raw: &[u8], base: &Base| {
        seen = Some((protocol, raw.to_vec(), base.clone()));
        Ok(Answer::Reply(Response::new(204)))
    };
    let answer = answer(&get(query), &images(), &ALL, &mut others).unwrap();
    assert!(matches!(answer, Answer::Reply(reply) if reply.status == 204));
    let (protocol, raw, base) = seen.unwrap();
    assert_eq!(protocol, Foreign::DeepZoom);
    assert_eq!(raw, b"a%20b.tif_files/8/0_0.jpg");
    let expected = Base {
        processing: Processing {
            contrast: Contrast::Factor(0.0),
            ..Processing::NONE
        },
        turn: Turn {
            mirror: false,
            degrees: 180.0,
        },
        reverse_tiles: true,
        output: Output {
            quality: Some(9),
            ..Output::new(OutputFormat::Jpeg)
        },
        quality_layers: 2,
        views: Some((3, None)),
        attachment: false,
    };
    assert_eq!(base, expected);
}

#[test]
fn tile_ranges_carry_quality_and_layers() {
    match ask("FIF=rgb.tif&QLT=50&LYR=2&INV&TIL=1,0-1") {
        Ok(Answer::Tiles(range)) => {
            assert_eq!(range.tiles, [(0, 0, 0), (1, 1, 0)]);
            assert_eq!((range.level, range.resolution, range.page), (1, 1, 0));
            assert_eq!((range.quality, range.quality_layers), (Some(50), 2));
        }
        other => panic!("{other:?}"),
    }
}
