//! Whole requests: from the text of a query to its answer.

use std::sync::Arc;

use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit, SampleFormat};
use proptest::prelude::*;

use super::testing::{FakeImage, FakeImages, grey_page, page};
use super::*;
use crate::image_info::Page;
use crate::limits::Size;
use crate::protocol::{OpenedImage, Picture, PictureKind, SampleDocument, SampleQuery};
use crate::server::Response;
use crate::view::*;

type FakeAnswer = Answer<Arc<FakeImage>>;

/// A page named as a band of a stack.
fn band(name: &str, scale: f64) -> Page {
    Page {
        name: name.to_owned(),
        scale,
        ..grey_page(600, 400, 2)
    }
}

/// The images the tests speak of.
fn images() -> FakeImages {
    let mut uneven = page(1025, 769, 3);
    for (level, (width, height)) in uneven
        .levels
        .iter_mut()
        .zip([(1025, 769), (512, 384), (256, 192)])
    {
        level.size = Size::new(width, height);
    }
    let resolution = |x, unit| Some(Resolution { x, y: x, unit });
    let lab = Page {
        color_model: ColorModel::CieLab,
        ..page(300, 300, 2)
    };
    let rgba = Page {
        band_count: 4,
        alpha: AlphaMode::Unassociated,
        ranges: vec![(0.0, 255.0); 4],
        ..page(300, 300, 2)
    };
    let twelve = Page {
        sample_format: SampleFormat::U16,
        bit_depth: 12,
        ranges: vec![(0.0, 4095.0)],
        ..grey_page(300, 300, 2)
    };
    let float = Page {
        sample_format: SampleFormat::F32,
        bit_depth: 32,
        ranges: vec![(-1.9, 0.1)],
        ..grey_page(300, 300, 2)
    };
    let signed = Page {
        signed: true,
        bit_depth: 16,
        sample_format: SampleFormat::U16,
        ranges: Vec::new(),
        ..grey_page(300, 300, 2)
    };
    let texts: &[(&str, &[u8])] = &[
        ("title", b"The Title"),
        ("creator", b"An Artist"),
        ("date", b"2020:01:02 03:04:05"),
        ("title", b"Another"),
        ("make", b""),
        ("icc", b"\x00\x01"),
    ];
    let mut xmp = FakeImage::new("xmp.tif", vec![page(100, 100, 1)]);
    xmp.xmp = Some(Arc::from(&b"<x:xmpmeta/>"[..]));
    FakeImages(
        [
            FakeImage::new("rgb.tif", vec![page(1000, 700, 3)]),
            FakeImage::new("grey.tif", vec![grey_page(1000, 700, 3)]),
            FakeImage::new("s1025x769.tif", vec![uneven]),
            FakeImage::new("a b+c&d=e.tif", vec![page(100, 100, 1)]),
            FakeImage::new("lab.tif", vec![lab]),
            FakeImage::new("rgba.tif", vec![rgba]),
            FakeImage::new("twelve.tif", vec![twelve]),
            FakeImage::new("float.tif", vec![float]),
            FakeImage::new("signed.tif", vec![signed]),
            FakeImage::new(
                "meta.tif",
                vec![Page {
                    resolution: resolution(300.0, ResolutionUnit::Inch),
                    ..page(100, 100, 1)
                }],
            )
            .with_text(texts),
            FakeImage::new(
                "odd-meta.tif",
                vec![Page {
                    resolution: resolution(10.0, ResolutionUnit::Centimeter),
                    ..page(100, 100, 1)
                }],
            )
            .with_text(&[("rights", b"\"\xa9\"\n\x01"), ("description", b"a\\b")]),
            xmp,
            FakeImage::new(
                "stack.tif",
                vec![band("b450", 0.5), band("b\"550", 1.0), band("", 1.0 / 3.0)],
            ),
            FakeImage::sequence(
                "seq/obj",
                &[(0, 90), (10, 90), (200, 90), (0, 45), (10, 45)],
                &page(600, 400, 2),
            ),
            FakeImage::sequence("seq/odd", &[(0, 0), (0, 90), (1, 90)], &page(600, 400, 2)),
        ]
        .map(Arc::new)
        .into(),
    )
}

/// No other protocol is expected.
fn nobody(protocol: Foreign, _: &[u8], _: &Base) -> Result<FakeAnswer, Error> {
    panic!("{protocol:?} was called")
}

const ALL: Settings = Settings {
    webp: true,
    avif: true,
};

fn get(text: &[u8]) -> Query<'_> {
    Query {
        text,
        post: false,
        from_path: false,
    }
}

fn ask(query: &str) -> Result<FakeAnswer, Error> {
    answer(&get(query.as_bytes()), &images(), &ALL, &mut nobody)
}

fn picture(query: &str) -> Picture<Arc<FakeImage>> {
    match ask(query) {
        Ok(Answer::Picture(picture)) => *picture,
        other => panic!("{query}: {other:?}"),
    }
}

fn document(query: &str) -> Response {
    match ask(query) {
        Ok(Answer::Document { response, .. }) => response,
        other => panic!("{query}: {other:?}"),
    }
}

fn reply(query: &str) -> Response {
    match ask(query) {
        Ok(Answer::Reply(response)) => response,
        other => panic!("{query}: {other:?}"),
    }
}

fn samples(query: &str) -> SampleQuery<Arc<FakeImage>> {
    match ask(query) {
        Ok(Answer::Samples(samples)) => *samples,
        other => panic!("{query}: {other:?}"),
    }
}

fn status(query: &str) -> u16 {
    match ask(query) {
        Ok(Answer::Reply(response)) => response.status,
        Ok(_) => 200,
        Err(error) => error.status(),
    }
}

fn tile(level: usize, tile_col: u32, tile_row: u32) -> Frame {
    Frame::Tile {
        level,
        tile_col,
        tile_row,
    }
}

#[test]
fn objects_answer_in_the_order_asked() {
    for (query, body) in [
        (
            "FIF=rgb.tif&OBJ=IIP,1.0&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number",
            "IIP:1.3\r\nMax-size:1000 700\r\nTile-size:256 256\r\nResolution-number:3\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Basic-Info",
            "IIP-server:3.65\r\nMax-size:1000 700\r\nResolution-number:3\r\nColorspace,0-2,0:0 0 3 3 0 1 2\r\n",
        ),
        ("FIF=grey.tif&OBJ=colorspace,*", "Colorspace,0-2,0:0 0 1 1 0\r\n"),
        (
            "FIF=lab.tif&OBJ=Colorspace,*,*",
            "Colorspace,0-1,0:1 0 4 3 0 1 2\r\n",
        ),
        (
            "FIF=rgba.tif&OBJ=colorspace",
            "Colorspace,0-1,0:0 0 3 3 0 1 2\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: 0  255  0  255  0  255\r\n",
        ),
        (
            "FIF=twelve.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: 0  4095\r\n",
        ),
        (
            "FIF=float.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: -1.9  0.1\r\n",
        ),
        (
            "FIF=signed.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: -32768  32767\r\n",
        ),
        (
            "FIF=s1025x769.tif&OBJ=Resolutions",
            "Resolutions:256 192,512 384,1025 769\r\n",
        ),
        ("FIF=meta.tif&OBJ=dpi", "DPI:11811.023438 11811.023438\r\n"),
        ("FIF=odd-meta.tif&OBJ=DPI", "DPI:1000.000000 1000.000000\r\n"),
        (
            "FIF=rgb.tif&OBJ=Max-size&FIF=grey.tif&OBJ=Colorspace",
            "Max-size:1000 700\r\nColorspace,0-2,0:0 0 1 1 0\r\n",
        ),
        ("FIF=twelve.tif&OBJ=Bits-per-channel", "Bits-per-channel:12\r\n"),
        (
            "FIF=seq/obj&OBJ=Horizontal-views",
            "Horizontal-views:0 10 200\r\n",
        ),
        ("FIF=seq/obj&OBJ=Vertical-views", "Vertical-views:45 90\r\n"),
        (
            "FIF=rgb.tif&OBJ=Horizontal-views&OBJ=Vertical-views",
            "Horizontal-views:0\r\nVertical-views:90\r\n",
        ),
        ("FIF=stack.tif&OBJ=Horizontal-views", "Horizontal-views:0 1 2\r\n"),
        (
            "FIF=rgb.tif&ROT=90&OBJ=Max-size&OBJ=Resolutions",
            "Max-size:700 1000\r\nResolutions:250 175,500 350,1000 700\r\n",
        ),
        (
            "FIF=rgb.tif&ROT=-90&OBJ=Basic-info",
            "IIP-server:3.65\r\nMax-size:700 1000\r\nResolution-number:3\r\nColorspace,0-2,0:0 0 3 3 0 1 2\r\n",
        ),
        ("FIF=rgb.tif&ROT=180&OBJ=Max-size", "Max-size:1000 700\r\n"),
        ("FIF=rgb.tif&OBJ=Max-size&ROT=90", "Max-size:1000 700\r\n"),
        ("FIF=rgb.tif&OBJ=Max%2Dsize", "Max-size:1000 700\r\n"),
        ("fif=rgb.tif&obj=max-SIZE", "Max-size:1000 700\r\n"),
        ("FIF=meta.tif&OBJ=title", "The Title\r\n"),
        (
            "FIF=meta.tif&OBJ=Summary-info",
            "An Artist\r\n2020:01:02 03:04:05\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Max-size&obj=subject&OBJ=app-name&OBJ=dpi&OBJ=stack",
            "Max-size:1000 700\r\n",
        ),
        ("FIF=xmp.tif&OBJ=xmp", "<x:xmpmeta/>\r\n"),
        (
            "FIF=meta.tif&OBJ=metadata",
            "{ \n\t\"creator\": \"An Artist\",\n\t\"date\": \"2020:01:02 03:04:05\",\n\t\"title\": \"The Title\"\n}\r\n",
        ),
        (
            "FIF=odd-meta.tif&OBJ=metadata",
            "{ \n\t\"description\": \"a\\\\b\",\n\t\"rights\": \"\\\"\u{a9}\\\"\\n\\u0001\"\n}\r\n",
        ),
        ("FIF=rgb.tif&OBJ=metadata", "{\n}\r\n"),
        (
            "FIF=stack.tif&OBJ=stack",
            "[ \n\t{\n\t\t\"id\": 0,\n\t\t\"name\": \"b450\",\n\t\t\"scale\": 0.5\n\t},\
             \n\t{\n\t\t\"id\": 1,\n\t\t\"name\": \"b\\\"550\",\n\t\t\"scale\": 1\n\t},\
             \n\t{\n\t\t\"id\": 2,\n\t\t\"name\": \"\",\n\t\t\"scale\": 0.333333333\n\t}\n]\r\n",
        ),
    ] {
        let document = document(query);
        assert_eq!(document.status, 200, "{query}");
        assert_eq!(String::from_utf8_lossy(&document.body), body, "{query}");
    }
}

#[test]
fn objects_about_the_server_need_no_image() {
    for (query, body) in [
        ("OBJ=IIP,1.0", "IIP:1.3\r\n"),
        ("OBJ=IIP-server", "IIP-server:3.65\r\n"),
        (
            "OBJ=IIP-opt-comm",
            "IIP-opt-comm:CVT CNT QLT JTL JTLS WID HEI RGN MINMAX SHD CMP INV CTW\r\n",
        ),
        (
            "obj=iip-opt-obj",
            "IIP-opt-obj:Horizontal-views Vertical-views Tile-size Bits-per-channel Min-Max-sample-values Resolutions\r\n",
        ),
    ] {
        let reply = reply(query);
        assert_eq!((reply.status, &reply.body[..]), (200, body.as_bytes()), "{query}");
        assert_eq!(reply.header("Content-Type"), Some("application/vnd.netfpx"));
        assert_eq!(reply.header("IIP").is_some(), query == "OBJ=IIP,1.0");
    }
}

#[test]
fn errors_of_iip_are_lines_of_their_own_reply() {
    for (query, body) in [
        (
            "FIF=rgb.tif&OBJ=Max-size&OBJ=foo&OBJ=bar&baz=1",
            "Error/7:3 2 foo\r\nError/7:3 2 bar\r\nError/7:2 2 baz\r\n",
        ),
        ("OBJ=Max-size", "Error/12:1 3 max-size\r\n"),
        ("OBJ=metadata", "Error/12:1 3 metadata\r\n"),
        (
            "foo=1&OBJ=Max-size&bar=1",
            "Error/7:2 2 foo\r\nError/12:1 3 max-size\r\n",
        ),
        ("JTL=0,0", "Error/4:1 3 \r\n"),
        ("JTL=x", "Error/4:1 3 \r\n"),
        ("PTL=0,0", "Error/4:1 3 \r\n"),
        ("JTLS=0,0,0,90", "Error/4:1 3 \r\n"),
        ("CVT=jpeg", "Error/4:1 3 \r\n"),
        ("TIL=0,0", "Error/4:1 3 \r\n"),
        ("PFL=0:0,0", "Error/4:1 3 \r\n"),
        ("SPECTRA=0,0,0,0", "Error/4:1 3 \r\n"),
        ("MINMAX=0:0,100", "Error/4:1 3 \r\n"),
        ("foo=1", "Error/7:2 2 foo\r\n"),
        ("Foo%20=1", "Error/10:2 2 Foo%20\r\n"),
        ("& OBJ=IIP,1", "Error/8:2 2  OBJ\r\n"),
        ("FIF=rgb.tif", "Error/15:2 1 FIF=rgb.tif\r\n"),
        ("FIF=rgb.tif&OBJ=title", "Error/25:2 1 FIF=rgb.tif&OBJ=title\r\n"),
        (
            "FIF=rgb.tif&OBJ=subject",
            "Error/27:2 1 FIF=rgb.tif&OBJ=subject\r\n",
        ),
        (
            "FIF=rgb.tif&INV&WID=20",
            "Error/26:2 1 FIF=rgb.tif&INV&WID=20\r\n",
        ),
        (
            "FIF=rgb.tif&JTLS=0,0,0",
            "Error/26:2 1 FIF=rgb.tif&JTLS=0,0,0\r\n",
        ),
        ("OBJ", "Error/7:3 2 obj\r\n"),
        ("FIF=rgb.tif&OBJ", "Error/7:3 2 obj\r\n"),
        ("OBJ=IIP", "Error/7:3 2 iip\r\n"),
        ("OBJ=%0D%0AFoo", "Error/7:3 2 foo\r\n"),
        ("&&&", "Error/7:2 1 &&&\r\n"),
        ("INV=", "Error/8:2 1 INV=\r\n"),
        (
            "FIF=rgb.tif&FTR=0&RAR=1",
            "Error/7:2 2 FTR\r\nError/7:2 2 RAR\r\n",
        ),
    ] {
        let reply = reply(query);
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(String::from_utf8_lossy(&reply.body), body, "{query}");
        assert_eq!(
            reply.header("Content-Type"),
            Some("application/vnd.netfpx"),
            "{query}"
        );
        assert_eq!(reply.header("Cache-Control"), Some("no-cache"), "{query}");
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"), "{query}");
        assert_eq!(reply.header("Content-Disposition"), None, "{query}");
    }
}

#[test]
fn failures_without_a_code_of_iip_have_a_status() {
    for (query, expected) in [
        ("FIF=missing.tif&OBJ=Max-size", 404),
        ("FIF=a%00b.tif&OBJ=Max-size", 400),
        ("foo=1&FIF=missing.tif", 404),
        ("FIF=rgb.tif&JTL=2,12", 404),
        ("FIF=rgb.tif&JTL=3,0", 404),
        ("FIF=rgb.tif&JTL=-1,0", 404),
        ("FIF=rgb.tif&JTL=0,-1", 404),
        ("FIF=rgb.tif&JTL", 400),
        ("FIF=rgb.tif&JTL=a,b", 400),
        ("FIF=rgb.tif&JTL=?1", 400),
        ("FIF=rgb.tif&TIL=3,0", 404),
        ("FIF=rgb.tif&TIL=2,12", 404),
        ("FIF=rgb.tif&TIL=2,0-12", 404),
        ("FIF=rgb.tif&SPECTRA=3,0,0,0", 404),
        ("FIF=rgb.tif&SPECTRA=0,1,0,0", 404),
        ("FIF=rgb.tif&SPECTRA=0,0,256,0", 400),
        ("FIF=rgb.tif&SPECTRA=0,0,0,-1", 400),
        ("FIF=rgb.tif&SPECTRA=0,0,0", 400),
        ("FIF=rgb.tif&PFL=3:0,0", 400),
        ("FIF=rgb.tif&PFL=-1:0,0", 400),
        ("FIF=rgb.tif&PFL=0:250,0", 400),
        ("FIF=rgb.tif&PFL=0:0,175", 400),
        ("FIF=rgb.tif&PFL=0:0,0-251,0", 400),
        ("FIF=rgb.tif&PFL=0:0,0-0,176", 400),
        ("FIF=rgb.tif&PFL=0:-1,0", 400),
        ("FIF=rgb.tif&PFL=0,0", 400),
        ("FIF=rgb.tif&PFL=0:0", 400),
        ("FIF=rgb.tif&PFL", 400),
        ("FIF=stack.tif&SDS=3,0&JTL=0,0", 404),
        ("FIF=stack.tif&SDS=-1&OBJ=Max-size", 404),
        ("FIF=seq/obj&SDS=20,90&CVT=jpeg", 404),
        ("FIF=seq/obj&SDS=200,45&JTL=0,0", 404),
        ("FIF=seq/obj&JTLS=5,0,0,90", 404),
        ("FIF=seq/obj&SDS=0,45&PFL=0:0,0", 404),
        ("FIF=rgb.tif&SDS=a&JTL=0,0", 400),
        ("FIF=rgb.tif&WID=-1&CVT=jpeg", 400),
        ("FIF=rgb.tif&HEI=abc&CVT=jpeg", 400),
        ("FIF=rgb.tif&CNT=abc&JTL=0,0", 400),
        ("FIF=rgb.tif&CNT=nan&JTL=0,0", 400),
        ("FIF=rgb.tif&GAM=inf&JTL=0,0", 400),
        ("FIF=rgb.tif&GAM=0x2&JTL=0,0", 400),
        ("FIF=rgb.tif&RGN=1,0,0.5,0.5&CVT=jpeg", 400),
        ("FIF=rgb.tif&RGN=nan,0,1,1&CVT=jpeg", 400),
        ("FIF=rgb.tif&ROT=left&JTL=0,0", 400),
        ("FIF=rgb.tif&QLT=high&JTL=0,0", 400),
        ("FIF=rgb.tif&LYR=x&JTL=0,0", 400),
        ("FIF=rgb.tif&LYR=3000000000&JTL=0,0", 400),
        ("FIF=rgb.tif&SHD=a,b&JTL=0,0", 400),
        ("FIF=rgb.tif&CTW=[1,x]&JTL=0,0", 400),
        ("FIF=rgb.tif&MINMAX=0:a,b&JTL=0,0", 400),
    ] {
        let error = ask(query).expect_err(query);
        assert_eq!(error.status(), expected, "{query}: {error}");
    }
}

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
fn a_posted_query_is_saved_and_its_line_end_dropped() {
    let images = images();
    let post = |text: &'static [u8]| {
        let query = Query {
            text,
            post: true,
            from_path: false,
        };
        answer(&query, &images, &ALL, &mut nobody)
    };
    match post(b"FIF=rgb.tif&WID=20&CVT=png\r\n") {
        Ok(Answer::Picture(picture)) => {
            assert_eq!(picture.kind, PictureKind::Export { attachment: true });
            assert_eq!(picture.view.output.format, OutputFormat::Png);
        }
        other => panic!("{other:?}"),
    }
    match post(b"FIF=rgb.tif\n") {
        Ok(Answer::Reply(reply)) => assert_eq!(reply.body, "Error/15:2 1 FIF=rgb.tif\r\n"),
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
fn profiles_are_rows_columns_or_points_of_every_view() {
    for (query, x, y, width, height, level) in [
        ("FIF=grey.tif&PFL=2:10,20-15,20", 10, 20, 5, 1, 0),
        ("FIF=grey.tif&PFL=1:10,20-10,25", 10, 20, 1, 5, 1),
        ("FIF=grey.tif&PFL=0:10,20", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-10,20", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-5,5", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-30,99", 10, 20, 20, 1, 2),
        ("FIF=grey.tif&PFL=2:0,699-1000,699", 0, 699, 1000, 1, 0),
        ("FIF=grey.tif&PFL=2:999,0-999,700", 999, 0, 1, 700, 0),
    ] {
        let samples = samples(query);
        assert_eq!(
            (samples.x, samples.y, samples.width, samples.height, samples.level),
            (x, y, width, height, level),
            "{query}"
        );
        assert_eq!(samples.document, SampleDocument::Profile);
    }
    let names = |query: &str| -> Vec<(String, usize, String)> {
        let named = |(image, page, name): (Arc<FakeImage>, usize, String)| {
            (
                String::from_utf8_lossy(image.identifier()).into_owned(),
                page,
                name,
            )
        };
        samples(query).views.into_iter().map(named).collect()
    };
    let view = |file: &str, page, name: &str| (file.to_owned(), page, name.to_owned());
    assert_eq!(
        names("FIF=seq/obj&PFL=0:0,0"),
        [
            view("seq/obj_pyr_000_090.tif", 0, "0"),
            view("seq/obj_pyr_010_090.tif", 0, "10"),
            view("seq/obj_pyr_200_090.tif", 0, "200")
        ]
    );
    assert_eq!(
        names("FIF=stack.tif&SDS=1,90&SPECTRA=0,0,0,0"),
        [
            view("stack.tif", 0, "b450"),
            view("stack.tif", 1, "b\"550"),
            view("stack.tif", 2, "2")
        ]
    );
}

#[test]
fn a_spectrum_is_taken_at_a_pixel_of_a_tile() {
    let samples = samples("FIF=rgb.tif&LYR=3&SPECTRA=2,11,231,187");
    assert_eq!(
        (samples.x, samples.y, samples.width, samples.height),
        (999, 699, 1, 1)
    );
    assert_eq!((samples.level, samples.quality_layers), (0, 3));
    assert_eq!(samples.document, SampleDocument::Spectrum);
    for query in ["FIF=rgb.tif&SPECTRA=2,11,232,0", "FIF=rgb.tif&SPECTRA=2,11,0,188"] {
        let document = document(query);
        assert_eq!(document.header("Content-Type"), Some("application/xml"));
        assert_eq!(
            document.body,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n</spectra>"
        );
    }
}

#[test]
fn profiles_too_long_and_views_of_different_sizes_are_refused() {
    let wide = FakeImages(vec![
        Arc::new(FakeImage::new("wide.tif", vec![page(2_000_000, 10, 1)])),
        Arc::new(FakeImage::new(
            "mixed.tif",
            vec![page(100, 10, 1), page(50, 10, 1)],
        )),
    ]);
    let error = |query: &str| answer(&get(query.as_bytes()), &wide, &ALL, &mut nobody).unwrap_err();
    assert_eq!(
        error("FIF=wide.tif&PFL=0:0,0-2000000,0").public_message(),
        "PFL: 6000000 values asked for, the limit is 4000000"
    );
    assert_eq!(error("FIF=mixed.tif&PFL=0:0,0").status(), 400);
    assert_eq!(error("FIF=mixed.tif&SPECTRA=0,0,0,0").status(), 400);
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

#[test]
fn limits_of_a_request_are_named() {
    for (query, message) in [
        ("INV&".repeat(513), "more than 512 commands"),
        ("FIF=rgb.tif&".repeat(17), "FIF: more than 16 images"),
        (format!("CTW={}", "1;".repeat(65)), "CTW: more than 64 rows"),
        (
            format!("CTW={}", format!("{};", "1,".repeat(100)).repeat(50)),
            "CTW: more than 4096 coefficients",
        ),
    ] {
        let error = ask(&query).unwrap_err();
        assert_eq!((error.status(), error.public_message().as_str()), (400, message));
    }
    assert_eq!(
        status(&format!(
            "{}FIF=rgb.tif&JTL=0,0&{}",
            "INV&".repeat(510),
            "INV&".repeat(9999)
        )),
        200
    );
    assert_eq!(
        status(&format!("{}FIF=rgb.tif&JTL=0,0", "&=&INV=&".repeat(9999))),
        200
    );
}

#[test]
fn hostile_queries_get_an_answer() {
    let long = 64 << 10;
    for query in [
        "&".repeat(long),
        "=".repeat(long),
        "%".repeat(long),
        "x&".repeat(30_000),
        format!("FIF={}&JTL=0,0", "a".repeat(long)),
        format!("FIF=rgb.tif&WID={}&CVT=jpeg", "9".repeat(long)),
        format!("FIF=rgb.tif&CNV={}&JTL=0,0", "1,".repeat(long / 2)),
        format!("FIF=rgb.tif&RGN={}&CVT=jpeg", ",".repeat(long)),
        format!("FIF=rgb.tif&JTL={}", ",".repeat(long)),
        format!("FIF=rgb.tif&CTW=[{}]&JTL=0,0", ";".repeat(long)),
        format!("FIF=rgb.tif&CTW=[{}&JTL=0,0", "[".repeat(long)),
        format!("FIF=rgb.tif&OBJ={}", "colorspac".repeat(long / 9)),
        "FIF=rgb.tif&CTW=[]&JTL=0,0".to_owned(),
        "FIF=rgb.tif&JTL=2147483647,2147483647".to_owned(),
        "FIF=rgb.tif&TIL=0,2147483647-2147483647".to_owned(),
        "FIF=rgb.tif&MINMAX=2147483647:1e308,-1e308&JTL=0,0".to_owned(),
        "FIF=rgb.tif&SPECTRA=0,0,2147483647,2147483647".to_owned(),
        "FIF=rgb.tif&ROT=-2147483647&JTL=0,0".to_owned(),
        "FIF=rgb.tif&SDS=-2147483647,2147483647&JTL=0,0".to_owned(),
    ] {
        assert!([200, 400, 404].contains(&status(&query)), "{}", &query[..60]);
    }
}

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
                rules: SizeRules { upscaling: Upscaling::IfAllowed, over_limit: OverLimit::Shrink },
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
