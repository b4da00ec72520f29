//! Whole requests: from the text of a query to its answer.

mod failures;
mod laws;
mod objects;
mod pictures;
mod samples;

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
    let stated = Page {
        stated_ranges: vec![(10.0, 3000.0)],
        ..twelve.clone()
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
            FakeImage::new("stated.tif", vec![stated]),
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
