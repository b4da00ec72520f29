//! One picture as a TIFF file in memory.

use iiphost_plugin_api::SampleFormat;
use rayon::prelude::*;

use super::compress::{BlockEncoder, Compression, JpegColor};
use super::directory::{Directory, Flavor, tag};
use super::metadata::{Metadata, add_resolution, describe_pixels};
use super::{PixelLayout, TiffError};
use crate::encode::{Control, Encoded, Encoder, Settings, exif};
use crate::error::Error;
use crate::raster::Raster;
use crate::view::TiffCompression;

/// Bytes of pixels a strip has about: enough to compress well, small enough to share among threads.
const STRIP_BYTES: usize = 256 << 10;

/// JPEG_MAX_DIMENSION of libjpeg: 65,535 less room for rounding up to blocks.
const MAX_JPEG_SIDE: u32 = 65_500;

/// The compression and its strength from what a client or the operator asked for; `None` = the
/// compression's own default.
///
/// # Errors
/// 400 for a compression this build does not have.
pub fn compression_for(kind: TiffCompression, strength: Option<i32>) -> Result<Compression, Error> {
    let within = |default: u8, min: u8, max: u8| {
        strength.map_or(default, |s| s.clamp(i32::from(min), i32::from(max)) as u8)
    };
    Ok(match kind {
        TiffCompression::None => Compression::None,
        TiffCompression::Lzw => Compression::Lzw,
        TiffCompression::Deflate => Compression::Deflate {
            level: within(1, 0, 9),
        },
        TiffCompression::Jpeg => Compression::Jpeg {
            quality: within(75, 1, 100),
            color: JpegColor::Stored,
        },
        TiffCompression::Zstandard => Compression::Zstandard {
            level: within(3, 1, 19),
        },
        TiffCompression::WebP if cfg!(feature = "webp") => Compression::WebP {
            // No strength asked for is the default of the encoder, a negative one lossless.
            quality: match strength {
                Some(..0) => None,
                _ => Some(within(50, 0, 100)),
            },
        },
        TiffCompression::WebP => {
            return Err(Error::bad_request(
                "TIFF with WebP compression is not in this build: ask for deflate, LZW, JPEG or Zstandard",
            ));
        }
    })
}

/// [`Encoder`] for single TIFF pictures.
#[derive(Clone, Copy, Debug)]
pub struct TiffEncoder;

impl Encoder for TiffEncoder {
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &crate::encode::Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error> {
        let Settings::Tiff { compression, quality } = *settings else {
            return Err(Error::fault("encode", "settings of another format for a TIFF"));
        };
        let strength = quality.map_or(-1, i32::from);
        let compression = compression_for(compression, Some(strength))?;
        let mut left_out = Vec::new();
        let exif = metadata.exif.as_deref().and_then(|block| {
            exif::for_tiff(block)
                .map_err(|reason| left_out.push(format!("EXIF: {reason}")))
                .ok()
        });
        let mut text = metadata.text.clone();
        if let Some(rights) = &metadata.rights {
            text.retain(|(name, _)| name != "rights");
            text.push(("rights".into(), rights.clone()));
        }
        let metadata = Metadata {
            icc: metadata.icc.as_deref().map(<[u8]>::to_vec),
            xmp: metadata.xmp.as_deref().map(<[u8]>::to_vec),
            resolution: metadata.resolution,
            text,
        };
        let (bytes, exif_left_out) = refused(write(&raster, compression, &metadata, exif.as_ref(), control))?;
        left_out.extend(exif_left_out);
        Ok(Encoded { bytes, left_out })
    }
}

/// A TIFF file of one picture, in strips that are compressed in parallel.
///
/// # Errors
/// 400 when the compression cannot hold such samples or the file would pass 4 GiB, 500 when a
/// compressor fails.
pub fn encode(raster: &Raster, compression: Compression, metadata: &Metadata) -> Result<Vec<u8>, Error> {
    refused(write(raster, compression, metadata, None, Control::NONE)).map(|(bytes, _)| bytes)
}

/// The reply for a TIFF that was not written.
fn refused<T>(result: Result<T, Stopped>) -> Result<T, Error> {
    result.map_err(|stopped| match stopped {
        Stopped::By(error) => error,
        Stopped::Tiff(TiffError::Unsupported { reason } | TiffError::Usage { reason }) => {
            Error::bad_request(reason)
        }
        Stopped::Tiff(other) => Error::fault("encode", other.to_string()),
    })
}

/// Why a picture was not written to its end.
enum Stopped {
    Tiff(TiffError),
    /// The control said so.
    By(Error),
}

impl From<TiffError> for Stopped {
    fn from(error: TiffError) -> Self {
        Self::Tiff(error)
    }
}

/// Bytes before the first strip: the longer of the two headers.
const HEADER_LEN: usize = 16;

/// The file, and why it holds no EXIF although some was given.
fn write(
    raster: &Raster,
    compression: Compression,
    metadata: &Metadata,
    exif: Option<&exif::ForTiff>,
    control: Control<'_>,
) -> Result<(Vec<u8>, Option<String>), Stopped> {
    let format = raster.samples.format();
    let layout = PixelLayout {
        color_model: raster.color_model,
        color_band_count: raster.color_band_count(),
        band_count: raster.band_count,
        alpha: raster.alpha,
        sample_format: format,
        signed: raster.signed && format != SampleFormat::F32,
    };
    let encoder = BlockEncoder::new(compression, layout)?;
    let stride = raster.row_stride();
    let bytes = raster.samples.bytes();
    if stride == 0 || bytes.len() != stride.saturating_mul(raster.size.height as usize) || bytes.is_empty() {
        return Err(TiffError::usage(format!(
            "{} bytes of samples for a picture of {} pixels",
            bytes.len(),
            raster.size
        ))
        .into());
    }
    if matches!(compression, Compression::Jpeg { .. }) && raster.size.width > MAX_JPEG_SIDE {
        return Err(TiffError::usage(format!(
            "TIFF with JPEG compression is limited to {MAX_JPEG_SIDE} pixels across"
        ))
        .into());
    }
    // Whole MCU rows, so that no JPEG strip but the last is padded.
    let rows_per_strip = (STRIP_BYTES / stride).next_multiple_of(16).clamp(16, 65_520);
    let strips: Vec<Vec<u8>> = bytes
        .par_chunks(rows_per_strip * stride)
        .map(|strip| {
            control.between_parts().map_err(Stopped::By)?;
            let mut pixels = strip.to_vec();
            if layout.signed {
                to_twos_complement(&mut pixels, format, raster.bit_depth);
            }
            Ok(encoder.encode(&mut pixels, raster.size.width, (strip.len() / stride) as u32)?)
        })
        .collect::<Result<_, Stopped>>()?;

    // EXIF stands at the very start, so that the offsets in it stay right; a header of 64-bit offsets would
    // reach into it.
    let data: u64 = strips.iter().map(|s| s.len() as u64 + 1).sum();
    let block = exif.map_or(0, |e| e.block.len()) as u64;
    let is_small = data + block + u64::from(MAX_DIRECTORY) < u64::from(u32::MAX);
    let (exif, left_out) = match exif {
        Some(_) if !is_small => (None, Some("EXIF: the file is larger than 4 GiB".to_owned())),
        exif => (exif, None),
    };
    let start = exif
        .map_or(HEADER_LEN, |e| e.block.len().max(HEADER_LEN))
        .next_multiple_of(8);
    let mut offsets = Vec::with_capacity(strips.len());
    let mut lengths = Vec::with_capacity(strips.len());
    let mut position = start as u64;
    for strip in &strips {
        offsets.push(position);
        lengths.push(strip.len() as u64);
        position += (strip.len() as u64).next_multiple_of(2);
    }
    let position = position.next_multiple_of(8);
    let mut directory = Directory::default();
    describe_pixels(
        &mut directory,
        raster.size,
        &layout,
        &compression,
        encoder.jpeg_tables(),
    )?;
    directory.long(tag::NEW_SUBFILE_TYPE, 0);
    directory.long(
        tag::ROWS_PER_STRIP,
        (rows_per_strip as u32).min(raster.size.height),
    );
    directory.offsets(tag::STRIP_OFFSETS, offsets);
    directory.offsets(tag::STRIP_BYTE_COUNTS, lengths);
    if !layout.signed && matches!(format, SampleFormat::U8 | SampleFormat::U16) {
        let bits = raster.bit_depth;
        if bits > 0 && bits < 8 * format.bytes() as u32 {
            // 12-bit values in 16-bit samples: say where white is.
            let white = ((1_u32 << bits) - 1) as u16;
            directory.shorts(tag::MAX_SAMPLE_VALUE, &vec![white; raster.band_count as usize]);
        }
    }
    add_resolution(&mut directory, metadata.resolution.as_ref(), (1.0, 1.0));
    metadata.add_to(&mut directory);
    for field in exif.map_or(&[][..], |e| &e.fields) {
        directory.add(field.tag, field.field_type, field.count, &field.value);
    }

    let flavor = if position + directory.len(Flavor::Classic) <= u64::from(u32::MAX) {
        Flavor::Classic
    } else {
        Flavor::Big
    };
    let total = usize::try_from(position + directory.len(flavor))
        .map_err(|_| TiffError::usage("a TIFF larger than memory"))?;
    let mut out = Vec::with_capacity(total);
    let header = flavor.header(position)?;
    out.extend_from_slice(&header);
    if let Some(behind) = exif.and_then(|e| e.block.get(header.len()..)) {
        out.extend_from_slice(behind);
    }
    out.resize(start, 0);
    for strip in strips {
        out.extend_from_slice(&strip);
        out.resize(out.len().next_multiple_of(2), 0);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend_from_slice(&directory.write(flavor, position, 0)?);
    Ok((out, left_out))
}

/// More than any directory takes, its blocks of metadata and tables of strips included.
const MAX_DIRECTORY: u32 = 512 << 20;

/// From offset form `v + 2^(bits-1)` to two's complement in the width of the sample.
fn to_twos_complement(pixels: &mut [u8], format: SampleFormat, bit_depth: u32) {
    let zero = 1_u32 << bit_depth.clamp(1, 32).saturating_sub(1);
    for sample in pixels.chunks_exact_mut(format.bytes()) {
        match sample {
            [b] => *b = b.wrapping_sub(zero as u8),
            [a, b] => {
                [*a, *b] = u16::from_ne_bytes([*a, *b])
                    .wrapping_sub(zero as u16)
                    .to_ne_bytes();
            }
            [a, b, c, d] => {
                [*a, *b, *c, *d] = u32::from_ne_bytes([*a, *b, *c, *d])
                    .wrapping_sub(zero)
                    .to_ne_bytes();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit};
    use tiff::decoder::{Decoder, DecodingResult};
    use tiff::tags::Tag;

    use super::*;
    use crate::limits::Size;
    use crate::raster::Samples;

    fn raster(bands: u32, alpha: AlphaMode, format: SampleFormat) -> Raster {
        let size = Size::new(123, 77);
        let mut raster = Raster::zeros(size, bands, format, 1 << 30).unwrap();
        raster.alpha = alpha;
        let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 7;
        match &mut raster.samples {
            Samples::U8(v) => v.iter_mut().enumerate().for_each(|(i, s)| *s = noise(i) as u8),
            Samples::U16(v) => v.iter_mut().enumerate().for_each(|(i, s)| *s = noise(i) as u16),
            Samples::U32(v) => v.iter_mut().enumerate().for_each(|(i, s)| *s = noise(i) << 5),
            Samples::F32(v) => v
                .iter_mut()
                .enumerate()
                .for_each(|(i, s)| *s = noise(i) as f32 - 1e6),
        }
        raster
    }

    fn samples(result: DecodingResult) -> Samples {
        match result {
            DecodingResult::U8(v) => Samples::U8(v),
            DecodingResult::U16(v) => Samples::U16(v),
            DecodingResult::U32(v) => Samples::U32(v),
            DecodingResult::F32(v) => Samples::F32(v),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_depth_band_count_and_lossless_compression_reads_back_exactly() {
        let formats = [
            SampleFormat::U8,
            SampleFormat::U16,
            SampleFormat::U32,
            SampleFormat::F32,
        ];
        let kinds = [
            TiffCompression::None,
            TiffCompression::Lzw,
            TiffCompression::Deflate,
            TiffCompression::Zstandard,
        ];
        for format in formats {
            for (bands, alpha) in [1, 2, 3, 4, 5, 7].into_iter().flat_map(|bands| {
                let with_alpha = (bands > 1).then_some((bands, AlphaMode::Unassociated));
                [(bands, AlphaMode::None)].into_iter().chain(with_alpha)
            }) {
                for kind in kinds {
                    let mut raster = raster(bands, alpha, format);
                    let colors = bands - u32::from(alpha != AlphaMode::None);
                    raster.color_model = match colors {
                        1 => ColorModel::Grey,
                        3 => ColorModel::Rgb,
                        _ => ColorModel::Multiband,
                    };
                    let compression = compression_for(kind, None).unwrap();
                    let file = encode(&raster, compression, &Metadata::default()).unwrap();
                    let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
                    assert_eq!(decoder.dimensions().unwrap(), (123, 77));
                    let photometric = decoder.get_tag_u32(Tag::PhotometricInterpretation).unwrap();
                    assert_eq!(photometric, if colors == 3 { 2 } else { 1 });
                    let extra = decoder.find_tag(Tag::ExtraSamples).unwrap();
                    let has_alpha = extra.is_some_and(|e| e.into_u32_vec().unwrap().contains(&2));
                    assert_eq!(
                        has_alpha,
                        alpha != AlphaMode::None,
                        "{bands} bands, {colors} colors"
                    );
                    let read = samples(decoder.read_image().unwrap());
                    assert!(
                        read == raster.samples,
                        "{format:?}, {bands} bands, {alpha:?}, {kind:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn many_bands_are_one_grey_band_and_declared_extra_ones() {
        let raster = raster(7, AlphaMode::None, SampleFormat::U16);
        let file = encode(&raster, Compression::Lzw, &Metadata::default()).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        assert_eq!(decoder.get_tag_u32(Tag::PhotometricInterpretation).unwrap(), 1);
        assert_eq!(decoder.get_tag_u32_vec(Tag::ExtraSamples).unwrap(), [0; 6]);
    }

    #[test]
    fn resolution_keeps_its_unit_and_unknown_text_is_left_out() {
        let metadata = Metadata {
            resolution: Some(Resolution {
                x: 118.11,
                y: 72.0,
                unit: ResolutionUnit::Centimeter,
            }),
            text: vec![
                ("rights".into(), "© somebody".into()),
                ("date".into(), b"yesterday".to_vec()),
            ],
            ..Metadata::default()
        };
        let raster = raster(1, AlphaMode::None, SampleFormat::U8);
        let file = encode(&raster, Compression::None, &metadata).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        assert_eq!(
            decoder.get_tag_u32_vec(Tag::XResolution).unwrap(),
            [118_110_000, 1_000_000]
        );
        assert_eq!(decoder.get_tag_u32(Tag::ResolutionUnit).unwrap(), 3);
        assert!(decoder.find_tag(Tag::DateTime).unwrap().is_none());
        assert!(decoder.find_tag(Tag::Copyright).unwrap().is_some());
    }

    #[test]
    fn jpeg_at_quality_100_is_off_by_little_and_keeps_rgb() {
        let mut raster = raster(3, AlphaMode::None, SampleFormat::U8);
        if let Samples::U8(v) = &mut raster.samples {
            v.iter_mut()
                .enumerate()
                .for_each(|(i, s)| *s = (i / 40 % 256) as u8);
        }
        let compression = compression_for(TiffCompression::Jpeg, Some(100)).unwrap();
        let file = encode(&raster, compression, &Metadata::default()).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        assert_eq!(decoder.get_tag_u32(Tag::PhotometricInterpretation).unwrap(), 2);
        let Samples::U8(read) = samples(decoder.read_image().unwrap()) else {
            panic!("not 8 bits");
        };
        let worst = read
            .iter()
            .zip(raster.as_u8().unwrap())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst <= Some(2), "{worst:?}");
    }

    #[test]
    fn settings_and_metadata_of_any_output_reach_the_file() {
        let raster = raster(3, AlphaMode::None, SampleFormat::U8);
        let settings = Settings::Tiff {
            compression: TiffCompression::Zstandard,
            quality: Some(0),
        };
        let metadata = crate::encode::Metadata {
            rights: Some(b"Somebody".to_vec()),
            text: vec![("title".into(), b"Something".to_vec())],
            ..Default::default()
        };
        let file = TiffEncoder
            .encode(raster.clone(), &settings, &metadata, Control::NONE)
            .unwrap();
        assert!(file.left_out.is_empty());
        let mut decoder = Decoder::new(Cursor::new(&file.bytes)).unwrap();
        assert_eq!(decoder.get_tag_u32(Tag::Compression).unwrap(), 50000);
        assert_eq!(decoder.get_tag_ascii_string(Tag::Copyright).unwrap(), "Somebody");
        assert_eq!(
            decoder.get_tag_ascii_string(Tag::Unknown(269)).unwrap(),
            "Something"
        );
    }

    #[test]
    fn a_stop_between_strips_is_the_error_of_the_one_who_asked_for_it() {
        let raster = raster(3, AlphaMode::None, SampleFormat::U8);
        let settings = Settings::Tiff {
            compression: TiffCompression::Deflate,
            quality: Some(1),
        };
        let (check, give_way) = (|| Err(Error::Cancelled), || ());
        let control = Control::new(&check, &give_way);
        let stopped = TiffEncoder.encode(raster, &settings, &Default::default(), control);
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }

    #[test]
    fn signed_samples_are_written_in_twos_complement() {
        let mut raster = raster(1, AlphaMode::None, SampleFormat::U16);
        raster.signed = true;
        raster.samples = Samples::U16(vec![32768 - 5; 123 * 77]);
        let file = encode(&raster, Compression::Deflate { level: 1 }, &Metadata::default()).unwrap();
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        match decoder.read_image().unwrap() {
            DecodingResult::I16(v) => assert!(v.iter().all(|&s| s == -5)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn webp_and_jpeg_of_deep_samples_are_refused_as_the_clients_choice() {
        let raster = raster(3, AlphaMode::None, SampleFormat::U16);
        for kind in [TiffCompression::Jpeg, TiffCompression::WebP] {
            let compression = compression_for(kind, None);
            if kind == TiffCompression::WebP && !cfg!(feature = "webp") {
                assert_eq!(compression.unwrap_err().status(), 400);
                continue;
            }
            let error = encode(&raster, compression.unwrap(), &Metadata::default()).unwrap_err();
            assert_eq!(error.status(), 400, "{kind:?}");
        }
    }
}
