//! JPEG: baseline, 8 bit, grey or YCbCr with colors at half resolution below quality 90.
//!
//! The feature `mozjpeg` selects libjpeg-turbo's code as mozjpeg carries it, with mozjpeg's own searches for
//! smaller files switched off: they cost several times the encoding. Without the feature a pure Rust
//! encoder writes the same tables. Either writes only what follows the header; that is ours.

use std::io::{self, Write};

use super::rows::AtOnce;
use super::{Control, Encoded, Encoder, Metadata, RowEncoder, Rows, Settings, Shape, fault, jpeg_markers};
use crate::error::Error;
use crate::raster::Raster;

/// Writes JPEG.
pub(super) struct JpegEncoder;

impl Encoder for JpegEncoder {
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error> {
        let shape = Shape::of(&raster);
        // An eighth of the samples is a usual size at the default quality; more is grown.
        let mut bytes = Vec::with_capacity((shape.bytes() / 8).min(1 << 24) + 4096);
        let left_out = self.encode_rows(
            &shape,
            &mut AtOnce::new(&raster),
            settings,
            metadata,
            control,
            &mut bytes,
        )?;
        Ok(Encoded { bytes, left_out })
    }
}

impl RowEncoder for JpegEncoder {
    fn encode_rows(
        &self,
        shape: &Shape,
        rows: &mut dyn Rows,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
        out: &mut dyn Write,
    ) -> Result<Vec<String>, Error> {
        let &Settings::Jpeg { quality } = settings else {
            return Err(fault(format!("{settings:?} for a JPEG")));
        };
        let mut left_out = Vec::new();
        let header = jpeg_markers::header(metadata, &mut left_out);
        out.write_all(&header).map_err(|e| fault(format!("jpeg: {e}")))?;
        let body = AfterHeader::new(out);
        #[cfg(feature = "mozjpeg")]
        turbo::compress(shape, rows, quality, body, control)?;
        #[cfg(not(feature = "mozjpeg"))]
        pure::compress(shape, rows, quality, body, control)?;
        Ok(left_out)
    }
}

/// From this quality on colors keep their full resolution.
const FULL_CHROMA_QUALITY: u8 = 90;

/// SOI and a JFIF segment without a thumbnail, as every libjpeg starts a file.
const ENCODER_HEADER: usize = 20;

/// Takes what an encoder writes after its own SOI and JFIF segment.
struct AfterHeader<'a> {
    out: &'a mut dyn Write,
    skip: usize,
}

impl<'a> AfterHeader<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            skip: ENCODER_HEADER,
        }
    }
}

impl Write for AfterHeader<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = self.skip.min(bytes.len());
        self.out.write_all(bytes.get(skipped..).unwrap_or_default())?;
        self.skip -= skipped;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// libjpeg-turbo through the `mozjpeg` crate.
#[cfg(feature = "mozjpeg")]
mod turbo {
    use mozjpeg::qtable::{AnnexK_Chroma, AnnexK_Luma};
    use mozjpeg::{ColorSpace, Compress};

    use super::{AfterHeader, FULL_CHROMA_QUALITY};
    use crate::encode::rows::for_each;
    use crate::encode::{Control, Rows, Shape, bytes_of, contained, fault, rows_between_questions};
    use crate::error::Error;

    pub(super) fn compress(
        shape: &Shape,
        rows: &mut dyn Rows,
        quality: u8,
        body: AfterHeader<'_>,
        control: Control<'_>,
    ) -> Result<(), Error> {
        // The crate turns errors of the C library into unwinding.
        contained("jpeg", || compress_or_unwind(shape, rows, quality, body, control))
    }

    fn compress_or_unwind(
        shape: &Shape,
        rows: &mut dyn Rows,
        quality: u8,
        body: AfterHeader<'_>,
        control: Control<'_>,
    ) -> Result<(), Error> {
        let quality = quality.clamp(1, 100);
        let io = |error: std::io::Error| fault(format!("jpeg: {error}"));
        let mut compress = Compress::new(match shape.band_count {
            1 => ColorSpace::JCS_GRAYSCALE,
            _ => ColorSpace::JCS_RGB,
        });
        compress.set_fastest_defaults();
        compress.set_size(shape.size.width as usize, shape.size.height as usize);
        compress.set_quality(f32::from(quality));
        if quality < 25 {
            // The crate lets steps grow past 255, which is no longer baseline; these tables end there. The
            // scale is that of libjpeg, 5000 / quality in whole percent, and a little more, so that
            // halves are rounded up as there.
            let quality = 4999.9 / f32::from(5000 / u16::from(quality));
            compress.set_luma_qtable(&AnnexK_Luma.scaled(quality, quality));
            compress.set_chroma_qtable(&AnnexK_Chroma.scaled(quality, quality));
        }
        if shape.band_count == 3 {
            let chroma = if quality < FULL_CHROMA_QUALITY {
                (2, 2)
            } else {
                (1, 1)
            };
            compress.set_chroma_sampling_pixel_sizes(chroma, chroma);
        }
        let mut started = compress.start_compress(body).map_err(io)?;
        let part = rows_between_questions(shape.size) * shape.row_bytes();
        let mut is_first = true;
        for_each(rows, shape, |rows| {
            for rows in bytes_of(rows)?.chunks(part.max(1)) {
                if !std::mem::take(&mut is_first) {
                    control.between_parts()?;
                }
                started.write_scanlines(rows).map_err(io)?;
            }
            Ok(())
        })?;
        started.finish().map_err(io)?;
        Ok(())
    }
}

/// The encoder for builds without a C compiler.
#[cfg(any(test, not(feature = "mozjpeg")))]
mod pure {
    use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

    use super::{AfterHeader, FULL_CHROMA_QUALITY};
    use crate::encode::rows::for_each;
    use crate::encode::{Control, Rows, Shape, bytes_of, fault};
    use crate::error::Error;

    pub(super) fn compress(
        shape: &Shape,
        rows: &mut dyn Rows,
        quality: u8,
        mut body: AfterHeader<'_>,
        control: Control<'_>,
    ) -> Result<(), Error> {
        // This encoder takes a picture whole.
        let mut samples = Vec::with_capacity(shape.bytes());
        for_each(rows, shape, |rows| {
            samples.extend_from_slice(bytes_of(rows)?);
            Ok(())
        })?;
        control.between_parts()?;
        let side = |side: u32| u16::try_from(side).map_err(|_| fault(format!("JPEG of {}", shape.size)));
        let (width, height) = (side(shape.size.width)?, side(shape.size.height)?);
        let mut encoder = Encoder::new(&mut body, quality.clamp(1, 100));
        encoder.set_sampling_factor(if quality < FULL_CHROMA_QUALITY {
            SamplingFactor::F_2_2
        } else {
            SamplingFactor::F_1_1
        });
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        let color_type = match shape.band_count {
            1 => ColorType::Luma,
            _ => ColorType::Rgb,
        };
        encoder
            .encode(&samples, width, height, color_type)
            .map_err(|error| fault(format!("jpeg: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "mozjpeg")]
    use crate::encode::test_pictures::psnr;
    use crate::encode::test_pictures::{grey, icc_profile, jpeg_segments, picture, rgb};

    type Compress = fn(&Shape, &mut dyn Rows, u8, AfterHeader<'_>, Control<'_>) -> Result<(), Error>;

    const ENCODERS: &[(&str, Compress)] = &[
        #[cfg(feature = "mozjpeg")]
        ("turbo", turbo::compress),
        ("pure", pure::compress),
    ];

    fn file(compress: Compress, raster: &Raster, quality: u8) -> Vec<u8> {
        let mut file = jpeg_markers::header(&Metadata::default(), &mut Vec::new());
        let (shape, mut rows) = (Shape::of(raster), AtOnce::new(raster));
        compress(
            &shape,
            &mut rows,
            quality,
            AfterHeader::new(&mut file),
            Control::NONE,
        )
        .unwrap();
        file
    }

    /// ITU-T T.81 table K.1 and K.2, in rows.
    const LUMA: [u32; 64] = [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14,
        17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49,
        64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ];
    const CHROMA_START: [u32; 24] = [
        17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    ];
    const ZIGZAG: [usize; 64] = [
        0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
        6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38,
        31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    ];

    #[test]
    fn files_are_baseline_with_the_standard_tables_of_their_quality() {
        let mut chroma = [99; 64];
        chroma[..24].copy_from_slice(&CHROMA_START);
        (chroma[24], chroma[25]) = (47, 66);
        for &(name, compress) in ENCODERS {
            for quality in 0..=100 {
                let file = file(compress, &rgb(16, 16), quality);
                let found = jpeg_segments(&file);
                let percent = match u32::from(quality.max(1)) {
                    low @ ..50 => 5000 / low,
                    high => 200 - 2 * high,
                };
                let scaled = |base: &[u32; 64]| -> Vec<u8> {
                    let step = |v: u32| ((v * percent + 50) / 100).clamp(1, 255) as u8;
                    ZIGZAG.iter().map(|&at| step(base[at])).collect()
                };
                let tables: Vec<_> = found.iter().filter(|(m, _)| *m == 0xdb).collect();
                assert_eq!(tables.len(), 2, "{name}");
                assert_eq!(tables[0].1[0], 0, "8-bit table 0");
                assert_eq!(tables[0].1[1..], scaled(&LUMA), "{name} {quality}");
                assert_eq!(tables[1].1[0], 1, "8-bit table 1");
                assert_eq!(tables[1].1[1..], scaled(&chroma), "{name} {quality}");
                let frame = found.iter().find(|(m, _)| *m == 0xc0).expect("baseline frame");
                let sampling = if quality < 90 { 0x22 } else { 0x11 };
                assert_eq!(
                    frame.1,
                    [
                        8,
                        0,
                        16,
                        0,
                        16,
                        3,
                        frame.1[6],
                        sampling,
                        0,
                        frame.1[9],
                        0x11,
                        1,
                        frame.1[12],
                        0x11,
                        1
                    ]
                );
            }
        }
    }

    #[test]
    fn huffman_tables_are_the_standard_ones_and_there_is_one_scan() {
        for &(name, compress) in ENCODERS {
            let colors = file(compress, &rgb(40, 24), 75);
            let tables: Vec<_> = jpeg_segments(&colors)
                .into_iter()
                .filter(|(m, _)| *m == 0xc4)
                .collect();
            // ITU-T T.81 K.3.1: code counts of the four tables.
            let counts: [&[u8]; 4] = [
                &[0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
                &[0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
                &[0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
                &[0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
            ];
            assert_eq!(tables.len(), 4, "{name}");
            for (table, counts) in tables.iter().zip(counts) {
                assert_eq!(&table.1[..17], counts, "{name}");
            }
            let scans = colors.windows(2).filter(|w| *w == [0xff, 0xda]).count();
            assert_eq!(scans, 1, "{name}");
            assert!(colors.ends_with(&[0xff, 0xd9]));
            let grey = file(compress, &grey(40, 24), 75);
            let frame = jpeg_segments(&grey)
                .into_iter()
                .find(|(m, _)| *m == 0xc0)
                .unwrap();
            assert_eq!(frame.1[5], 1, "{name}");
        }
    }

    #[test]
    fn the_whole_marker_order_is_fixed() {
        let metadata = Metadata {
            icc: Some(icc_profile(b"RGB ", 70_000).into()),
            xmp: Some(b"<x:xmpmeta/>".to_vec().into()),
            exif: Some(b"II*\0".to_vec().into()),
            ..Metadata::default()
        };
        let encoded = JpegEncoder
            .encode(
                rgb(16, 16),
                &Settings::Jpeg { quality: 75 },
                &metadata,
                Control::NONE,
            )
            .unwrap();
        let mut markers: Vec<u8> = jpeg_segments(&encoded.bytes).iter().map(|(m, _)| *m).collect();
        let tables = markers.split_off(6);
        assert_eq!(markers, [0xe0, 0xfe, 0xe2, 0xe2, 0xe1, 0xe1]);
        #[cfg(feature = "mozjpeg")]
        assert_eq!(tables, [0xdb, 0xdb, 0xc0, 0xc4, 0xc4, 0xc4, 0xc4, 0xda]);
        #[cfg(not(feature = "mozjpeg"))]
        assert_eq!(tables, [0xc0, 0xdb, 0xdb, 0xc4, 0xc4, 0xc4, 0xc4, 0xda]);
    }

    #[test]
    fn odd_sizes_are_complete() {
        for &(name, compress) in ENCODERS {
            for (width, height) in [(1, 1), (1, 40), (17, 1), (33, 47)] {
                for bands in [1, 3] {
                    let file = file(compress, &picture(width, height, bands), 75);
                    let frame = jpeg_segments(&file)
                        .into_iter()
                        .find(|(m, _)| *m == 0xc0)
                        .unwrap();
                    let expected = [0, height as u8, 0, width as u8, bands as u8];
                    assert_eq!(frame.1[1..6], expected, "{name}");
                }
            }
        }
    }

    #[test]
    fn wrong_settings_are_a_fault() {
        let error = JpegEncoder.encode(
            rgb(4, 4),
            &Settings::Png { level: 1 },
            &Metadata::default(),
            Control::NONE,
        );
        assert_eq!(error.unwrap_err().status(), 500);
    }

    #[cfg(feature = "mozjpeg")]
    #[test]
    fn errors_of_the_library_become_faults() {
        let mut raster = grey(1, 1);
        raster.size.width = 70_000;
        raster.samples = crate::raster::Samples::U8(vec![0; 70_000]);
        let error = JpegEncoder.encode(
            raster,
            &Settings::Jpeg { quality: 75 },
            &Metadata::default(),
            Control::NONE,
        );
        let error = error.unwrap_err();
        assert_eq!(error.status(), 500);
        assert!(error.to_string().contains("65500"), "{error}");
    }

    #[cfg(feature = "mozjpeg")]
    #[test]
    fn decoded_pictures_are_near_the_original() {
        let decode = |file: &[u8], bands: u32| -> Vec<u8> {
            let decoder = mozjpeg::Decompress::new_mem(file).unwrap();
            if bands == 1 {
                decoder.grayscale().unwrap().read_scanlines().unwrap()
            } else {
                decoder.rgb().unwrap().read_scanlines().unwrap()
            }
        };
        for &(name, compress) in ENCODERS {
            for (bands, quality, bound) in [
                (1, 75, 36.0),
                (1, 100, 52.0),
                (3, 75, 30.0),
                (3, 90, 38.0),
                (3, 100, 44.0),
            ] {
                let raster = picture(150, 131, bands);
                let decoded = decode(&file(compress, &raster, quality), bands);
                let found = psnr(raster.as_u8().unwrap(), &decoded);
                assert!(found > bound, "{name} {bands} bands at {quality}: {found:.1} dB");
            }
        }
    }
}
