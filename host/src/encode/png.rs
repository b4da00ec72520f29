//! PNG: 8 or 16 bit, grey or RGB, with or without alpha; never interlaced, never a palette.
//!
//! Level 1, the default, is the deflate coder made for PNG: on a photograph five times as fast as zlib's
//! level 1 and a tenth smaller, on drawings and text faster still but up to twice the size. Higher levels
//! go to libdeflate. Rows are filtered by `Sub` alone: choosing a filter for each row of a photograph halved
//! the speed for three percent of the size.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;

use iiphost_plugin_api::{ResolutionUnit, SampleFormat};
use libdeflater::{CompressionLvl, Compressor};
use png::chunk::{ChunkType, IDAT, eXIf, iCCP, iTXt, pHYs, sBIT, tEXt};
use png::{BitDepth, ColorType, DeflateCompression, Filter};

use super::metadata::{per_meter, whole};
use super::rows::{AtOnce, for_each};
use super::{
    Control, Encoded, Encoder, Metadata, PRODUCT, RowEncoder, Rows, Settings, Shape, fault,
    rows_between_questions,
};
use crate::error::Error;
use crate::raster::{Raster, Samples};

/// Writes PNG.
pub(super) struct PngEncoder;

impl Encoder for PngEncoder {
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error> {
        let mut bytes = Vec::new();
        let mut rows = AtOnce::new(&raster);
        let left_out = self.encode_rows(
            &Shape::of(&raster),
            &mut rows,
            settings,
            metadata,
            control,
            &mut bytes,
        )?;
        Ok(Encoded { bytes, left_out })
    }
}

impl RowEncoder for PngEncoder {
    fn encode_rows(
        &self,
        shape: &Shape,
        rows: &mut dyn Rows,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
        out: &mut dyn Write,
    ) -> Result<Vec<String>, Error> {
        let &Settings::Png { level } = settings else {
            return Err(fault(format!("{settings:?} for a PNG")));
        };
        let png = |error: png::EncodingError| fault(format!("png: {error}"));
        let mut left_out = Vec::new();
        let mut encoder = png::Encoder::new(out, shape.size.width, shape.size.height);
        encoder.set_color(match shape.band_count {
            1 => ColorType::Grayscale,
            2 => ColorType::GrayscaleAlpha,
            3 => ColorType::Rgb,
            _ => ColorType::Rgba,
        });
        encoder.set_depth(match shape.format {
            SampleFormat::U8 => BitDepth::Eight,
            _ => BitDepth::Sixteen,
        });
        encoder.set_filter(Filter::Sub);
        let large = shape.bytes() > MAX_AT_ONCE;
        encoder.set_deflate_compression(match level {
            0 => DeflateCompression::NoCompression,
            2.. if large => DeflateCompression::Level(level),
            _ => DeflateCompression::FdeflateUltraFast,
        });
        let mut writer = encoder.write_header().map_err(png)?;
        for (name, data) in chunks(shape, metadata, &mut left_out)? {
            writer.write_chunk(name, &data).map_err(png)?;
        }
        if level < 2 || large {
            let io = |error: std::io::Error| fault(format!("png: {error}"));
            let mut stream = writer.stream_writer_with_size(STREAM_CHUNK).map_err(png)?;
            for_each(rows, shape, |raster| {
                for part in parts(raster) {
                    control.between_parts()?;
                    stream.write_all(&samples(raster, part)?).map_err(io)?;
                }
                Ok(())
            })?;
            stream.finish().map_err(png)?;
        } else {
            let pixel = shape.band_count as usize * shape.format.bytes();
            let mut filtered = Vec::with_capacity(shape.bytes() + shape.size.height as usize);
            for_each(rows, shape, |raster| {
                for part in parts(raster) {
                    control.between_parts()?;
                    filter_sub(&samples(raster, part)?, shape.row_bytes(), pixel, &mut filtered);
                }
                Ok(())
            })?;
            for part in zlib(&filtered, level)?.chunks(MAX_CHUNK) {
                writer.write_chunk(IDAT, part).map_err(png)?;
            }
        }
        writer.finish().map_err(png)?;
        Ok(left_out)
    }
}

/// Samples of more bytes than this are compressed as a stream at every level: libdeflate, which is faster,
/// takes them at once and cannot be stopped.
const MAX_AT_ONCE: usize = 64 << 20;

/// Bytes of the data chunks of a stream.
const STREAM_CHUNK: usize = 1 << 18;

/// Samples of whole rows, a part of the picture after the other.
fn parts(raster: &Raster) -> impl Iterator<Item = Range<usize>> {
    let all = raster.samples.len();
    let part = (rows_between_questions(raster.size) * raster.row_len()).max(1);
    (0..all)
        .step_by(part)
        .map(move |start| start..(start + part).min(all))
}

/// PNG 3rd edition, 5.3: the longest chunk.
const MAX_CHUNK: usize = i32::MAX as usize;

/// The chunks between header and pixels, in order.
fn chunks(
    shape: &Shape,
    metadata: &Metadata,
    left_out: &mut Vec<String>,
) -> Result<Vec<(ChunkType, Vec<u8>)>, Error> {
    let mut chunks = Vec::new();
    if let Some(icc) = &metadata.icc {
        // 11.3.2.3: name, compression method 0, compressed profile.
        let mut data = b"ICC\0\0".to_vec();
        data.extend(zlib(icc, 6)?);
        chunks.push((iCCP, data));
    }
    if let (SampleFormat::U16, Ok(depth @ 1..16)) = (shape.format, u8::try_from(shape.bit_depth)) {
        chunks.push((sBIT, vec![depth; shape.band_count as usize]));
    }
    if let Some(data) = physical(metadata) {
        chunks.push((pHYs, data));
    }
    chunks.push((tEXt, [b"Software\0", PRODUCT.as_bytes()].concat()));
    for (keyword, text) in [
        ("Title", metadata.text("title")),
        ("Author", metadata.text("creator")),
        ("Description", metadata.text("description")),
        ("Copyright", metadata.rights()),
    ] {
        if let Some(text) = text {
            chunks.push((iTXt, international_text(keyword, &text)));
        }
    }
    if let Some(date) = metadata.text("date") {
        // Latin-1 by 11.3.3.2, which dates are; others need iTXt.
        match date.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>() {
            Ok(latin1) => chunks.push((tEXt, [b"Creation Time\0", latin1.as_slice()].concat())),
            Err(_) => chunks.push((iTXt, international_text("Creation Time", &date))),
        }
    }
    if let Some(xmp) = &metadata.xmp {
        let end = xmp.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        match std::str::from_utf8(xmp.get(..end).unwrap_or_default()) {
            Ok(text) if !text.contains('\0') => {
                chunks.push((iTXt, international_text("XML:com.adobe.xmp", text)));
            }
            _ => left_out.push("XMP is not UTF-8 text, which PNG requires".into()),
        }
    }
    if let Some(exif) = &metadata.exif {
        chunks.push((eXIf, exif.to_vec()));
    }
    chunks.retain(|(_, data)| {
        let fits = data.len() <= MAX_CHUNK;
        if !fits {
            left_out.push(format!(
                "block of {} bytes, a PNG chunk holds {MAX_CHUNK}",
                data.len()
            ));
        }
        fits
    });
    Ok(chunks)
}

/// 11.3.4.3: pixels a meter, or their ratio.
fn physical(metadata: &Metadata) -> Option<Vec<u8>> {
    let resolution = metadata.resolution?;
    let (unit, (x, y)) = match per_meter(resolution) {
        Some(resolution) => (1, resolution),
        None => (0, (resolution.x, resolution.y)),
    };
    let (x, y) = whole(x, y, f64::from(i32::MAX))?;
    // A ratio of 1 says nothing.
    if resolution.unit == ResolutionUnit::None && x == y {
        return None;
    }
    Some([&x.to_be_bytes()[..], &y.to_be_bytes(), &[unit]].concat())
}

/// 11.3.3.4, uncompressed, without a language.
fn international_text(keyword: &str, text: &str) -> Vec<u8> {
    [keyword.as_bytes(), b"\0\0\0\0\0", text.as_bytes()].concat()
}

/// Samples as PNG stores them: big endian, values of fewer than 16 bits spread over all 16 (12.4); `sBIT` tells
/// how to get the stored ones back.
fn samples(raster: &Raster, part: Range<usize>) -> Result<Cow<'_, [u8]>, Error> {
    match &raster.samples {
        Samples::U8(v) => Ok(Cow::Borrowed(v.get(part).unwrap_or_default())),
        Samples::U16(v) => {
            let max = match raster.bit_depth {
                depth @ 1..16 => (1_u32 << depth) - 1,
                _ => u32::from(u16::MAX),
            };
            let spread = |v: u16| match max {
                0xffff => v,
                _ => ((u32::from(v).min(max) * 0xffff + max / 2) / max) as u16,
            };
            let part = v.get(part).unwrap_or_default();
            Ok(Cow::Owned(
                part.iter().flat_map(|&v| spread(v).to_be_bytes()).collect(),
            ))
        }
        other => Err(fault(format!("{:?} samples for a PNG", other.format()))),
    }
}

/// Rows with filter type 1 (9.2): each byte less the one a pixel before it.
fn filter_sub(samples: &[u8], row_stride: usize, pixel: usize, out: &mut Vec<u8>) {
    for row in samples.chunks_exact(row_stride.max(1)) {
        out.push(1);
        let (first, rest) = row.split_at(pixel.min(row.len()));
        out.extend_from_slice(first);
        out.extend(
            rest.iter()
                .zip(row)
                .map(|(now, before)| now.wrapping_sub(*before)),
        );
    }
}

fn zlib(data: &[u8], level: u8) -> Result<Vec<u8>, Error> {
    let level = CompressionLvl::new(i32::from(level)).map_err(|e| fault(format!("deflate: {e:?}")))?;
    let mut compressor = Compressor::new(level);
    let mut out = vec![0; compressor.zlib_compress_bound(data.len())];
    let len = compressor
        .zlib_compress(data, &mut out)
        .map_err(|e| fault(format!("deflate: {e:?}")))?;
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{icc_profile, picture, rgb};
    use iiphost_plugin_api::Resolution;
    use proptest::prelude::*;

    fn file(raster: &Raster, level: u8, metadata: &Metadata) -> (Vec<u8>, Vec<String>) {
        let encoded = PngEncoder
            .encode(raster.clone(), &Settings::Png { level }, metadata, Control::NONE)
            .unwrap();
        (encoded.bytes, encoded.left_out)
    }

    fn decode(file: &[u8]) -> (png::OutputInfo, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut samples = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut samples).unwrap();
        (info, samples)
    }

    /// Names and data of all chunks, their sums checked.
    fn chunks_of(file: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
        let mut rest = &file[8..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let sum = u32::from_be_bytes(rest[8 + len..12 + len].try_into().unwrap());
            assert_eq!(libdeflater::crc32(&rest[4..8 + len]), sum);
            found.push((rest[4..8].try_into().unwrap(), rest[8..8 + len].to_vec()));
            rest = &rest[12 + len..];
        }
        found
    }

    proptest! {
        #[test]
        fn pixels_come_back_exactly(width in 1..80_u32, height in 1..60_u32, bands in 1..5_u32, level in 0..10_u8) {
            let raster = picture(width, height, bands);
            let (info, samples) = decode(&file(&raster, level, &Metadata::default()).0);
            prop_assert_eq!((info.width, info.height), (width, height));
            prop_assert_eq!(info.color_type.samples() as u32, bands);
            prop_assert_eq!(samples.as_slice(), raster.as_u8().unwrap());
        }

        #[test]
        fn deep_samples_come_back_exactly(
            values in proptest::collection::vec(any::<u16>(), 24), depth in 1..17_u32, level in 0..4_u8,
        ) {
            let mut raster = picture(4, 2, 3);
            let max = ((1_u32 << depth) - 1) as u16;
            let values: Vec<u16> = values.iter().map(|v| v & max).collect();
            raster.samples = Samples::U16(values.clone());
            raster.bit_depth = depth;
            let (bytes, _) = file(&raster, level, &Metadata::default());
            let (info, samples) = decode(&bytes);
            prop_assert_eq!(info.bit_depth, BitDepth::Sixteen);
            let sbit = chunks_of(&bytes).into_iter().find(|(name, _)| name == b"sBIT");
            prop_assert_eq!(sbit.map(|(_, data)| data), (depth < 16).then(|| vec![depth as u8; 3]));
            let stored: Vec<u16> = samples
                .chunks_exact(2)
                .map(|b| {
                    let full = f64::from(u16::from_be_bytes([b[0], b[1]]));
                    (full * f64::from(max) / 65_535.0).round() as u16
                })
                .collect();
            prop_assert_eq!(stored, values);
        }
    }

    #[test]
    fn full_scale_stays_full_scale() {
        let mut raster = picture(1, 1, 3);
        raster.samples = Samples::U16(vec![0, 4095, 2048]);
        raster.bit_depth = 12;
        let (_, samples) = decode(&file(&raster, 1, &Metadata::default()).0);
        assert_eq!(samples, [0, 0, 255, 255, 128, 8]);
    }

    #[test]
    fn chunks_follow_in_order_and_hold_what_was_given() {
        let icc = icc_profile(b"RGB ", 300_000);
        let metadata = Metadata {
            icc: Some(icc.clone().into()),
            xmp: Some(b"<x:xmpmeta/>\0\0".to_vec().into()),
            exif: Some(b"II*\0".to_vec().into()),
            resolution: Some(Resolution {
                x: 300.0,
                y: 150.0,
                unit: ResolutionUnit::Inch,
            }),
            text: vec![
                ("date".into(), b"2024:01:02 03:04:05".to_vec()),
                ("title".into(), "Zürich".into()),
                ("creator".into(), b"M\xfcller".to_vec()),
                ("description".into(), b"a view".to_vec()),
            ],
            rights: Some("©".into()),
        };
        let (bytes, left_out) = file(&rgb(3, 3), 1, &metadata);
        assert!(left_out.is_empty());
        let mut found = chunks_of(&bytes);
        let profile = found.remove(1);
        assert_eq!(profile.1[..5], *b"ICC\0\0");
        let mut back = vec![0; icc.len()];
        let mut inflate = libdeflater::Decompressor::new();
        assert_eq!(
            inflate.zlib_decompress(&profile.1[5..], &mut back).unwrap(),
            icc.len()
        );
        assert_eq!(back, icc);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "|");
        let names: Vec<String> = found.iter().map(|(name, _)| text(name)).collect();
        assert_eq!(
            names,
            [
                "IHDR", "pHYs", "tEXt", "iTXt", "iTXt", "iTXt", "iTXt", "tEXt", "iTXt", "eXIf", "IDAT",
                "IEND"
            ]
        );
        assert_eq!(
            found[1].1,
            [0, 0, 0x2e, 0x23, 0, 0, 0x17, 0x12, 1],
            "11811 and 5906 a meter"
        );
        let texts: Vec<String> = found[2..9].iter().map(|(_, data)| text(data)).collect();
        assert_eq!(
            texts,
            [
                format!("Software|{PRODUCT}"),
                "Title|||||Zürich".into(),
                "Author|||||Müller".into(),
                "Description|||||a view".into(),
                "Copyright|||||©".into(),
                "Creation Time|2024:01:02 03:04:05".into(),
                "XML:com.adobe.xmp|||||<x:xmpmeta/>".into(),
            ]
        );
        assert_eq!(found[9].1, b"II*\0");
        assert_eq!(decode(&bytes).1, rgb(3, 3).as_u8().unwrap());
    }

    #[test]
    fn xmp_that_is_not_text_is_left_out_with_the_reason() {
        for xmp in [b"a\0b".to_vec(), vec![0xff, 0xfe]] {
            let metadata = Metadata {
                xmp: Some(xmp.into()),
                ..Metadata::default()
            };
            let (bytes, left_out) = file(&rgb(3, 3), 1, &metadata);
            assert_eq!(left_out.len(), 1);
            assert!(!chunks_of(&bytes).iter().any(|(name, _)| name == b"iTXt"));
        }
    }

    #[test]
    fn resolution_is_in_meters_or_a_ratio() {
        let at = |x, y, unit| {
            physical(&Metadata {
                resolution: Some(Resolution { x, y, unit }),
                ..Metadata::default()
            })
        };
        let bytes = |x: u32, y: u32, unit| Some([&x.to_be_bytes()[..], &y.to_be_bytes(), &[unit]].concat());
        assert_eq!(
            at(118.11, 118.11, ResolutionUnit::Centimeter),
            bytes(11_811, 11_811, 1)
        );
        assert_eq!(at(4.0, 3.0, ResolutionUnit::None), bytes(4, 3, 0));
        assert_eq!(at(1.0, 1.0, ResolutionUnit::None), None);
        assert_eq!(at(f64::NAN, 1.0, ResolutionUnit::Inch), None);
        assert_eq!(at(1e12, 1.0, ResolutionUnit::Inch), None);
    }
}
