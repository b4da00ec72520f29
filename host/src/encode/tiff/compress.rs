//! Blocks of pixels, tiles or strips, into bytes.

use iiphost_plugin_api::{ColorModel, SampleFormat};

use super::{PixelLayout, TiffError};
#[cfg(feature = "webp")]
use crate::limits::Size;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZW (TIFF 6.0 section 13), horizontal differencing for integers.
    Lzw,
    /// Deflate (TIFF Technical Note of Adobe Photoshop, code 8), horizontal differencing for integers.
    Deflate {
        /// 0 (stored) to 12 (smallest).
        level: u8,
    },
    /// JPEG (TIFF Technical Note 2, code 7); 8 bits, 1, 3 or 4 bands.
    Jpeg {
        /// 1 to 100.
        quality: u8,
        /// How colors are stored.
        color: JpegColor,
    },
    /// WebP (code 50001 of libtiff); 8 bits, 3 or 4 bands.
    WebP {
        /// 0 to 100; `None` is lossless.
        quality: Option<u8>,
    },
    /// Zstandard (code 50000 of libtiff), horizontal differencing for integers.
    Zstandard {
        /// 1 to 19.
        level: u8,
    },
}

/// How a JPEG block stores its bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JpegColor {
    /// As they are, each at full size: RGB stays RGB.
    Stored,
    /// Red, green, blue as luma and chroma at full size.
    YCbCr444,
    /// Red, green, blue as luma and chroma of half width and height.
    YCbCr420,
}

impl Compression {
    /// Value of the Compression tag.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::None => 1,
            Self::Lzw => 5,
            Self::Jpeg { .. } => 7,
            Self::Deflate { .. } => 8,
            Self::Zstandard { .. } => 50000,
            Self::WebP { .. } => 50001,
        }
    }

    /// Name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lzw => "LZW",
            Self::Jpeg { .. } => "JPEG",
            Self::Deflate { .. } => "deflate",
            Self::Zstandard { .. } => "Zstandard",
            Self::WebP { .. } => "WebP",
        }
    }

    /// Whether rows are differenced first (TIFF 6.0 section 14, predictor 2). Differences of floating
    /// point bit patterns compress no better than the patterns.
    #[must_use]
    pub(super) fn predictor(&self, format: SampleFormat) -> bool {
        format != SampleFormat::F32
            && matches!(self, Self::Lzw | Self::Deflate { .. } | Self::Zstandard { .. })
    }

    fn failed(&self, reason: impl std::fmt::Display) -> TiffError {
        TiffError::Compression {
            compression: self.name(),
            reason: reason.to_string(),
        }
    }
}

/// Compresses the blocks of one file; shared by threads.
#[derive(Debug)]
pub struct BlockEncoder {
    compression: Compression,
    layout: PixelLayout,
    jpeg_tables: Option<JpegTables>,
}

/// Quantization and Huffman tables that all blocks share.
#[derive(Debug)]
struct JpegTables {
    /// The table segments of a stream, one after the other.
    segments: Vec<u8>,
    /// Value of the JPEGTables tag: the segments between SOI and EOI.
    stream: Vec<u8>,
}

impl BlockEncoder {
    /// An encoder for blocks of `layout`.
    ///
    /// # Errors
    /// `Unsupported` when the compression cannot hold such samples.
    pub fn new(compression: Compression, layout: PixelLayout) -> Result<Self, TiffError> {
        let mut encoder = Self {
            compression,
            layout,
            jpeg_tables: None,
        };
        if let Compression::Jpeg { color, .. } = compression {
            if layout.sample_format != SampleFormat::U8
                || layout.signed
                || !matches!(layout.band_count, 1 | 3 | 4)
            {
                return Err(TiffError::unsupported(format!(
                    "JPEG in TIFF holds 1, 3 or 4 bands of unsigned 8 bits, the picture has {} of {}: \
                     choose deflate, LZW or Zstandard",
                    layout.band_count,
                    8 * layout.sample_format.bytes()
                )));
            }
            if color != JpegColor::Stored && layout.color_model != ColorModel::Rgb && layout.band_count > 1 {
                return Err(TiffError::unsupported("luma and chroma need red, green and blue"));
            }
            // Any block has the same tables: they follow from quality and bands alone.
            let pixels = vec![128; 16 * 16 * layout.pixel_bytes()];
            let (segments, _) = split_tables(&encoder.jpeg(&pixels, 16, 16)?)
                .ok_or_else(|| compression.failed("the encoder wrote no JPEG stream"))?;
            let mut stream = vec![0xFF, 0xD8];
            stream.extend_from_slice(&segments);
            stream.extend_from_slice(&[0xFF, 0xD9]);
            encoder.jpeg_tables = Some(JpegTables { segments, stream });
        }
        if matches!(compression, Compression::WebP { .. }) {
            let fits = layout.sample_format == SampleFormat::U8
                && !layout.signed
                && matches!(layout.band_count, 3 | 4)
                && cfg!(feature = "webp");
            if !fits {
                return Err(TiffError::unsupported(format!(
                    "WebP in TIFF holds 3 or 4 bands of unsigned 8 bits, the picture has {} of {}: \
                     choose deflate, LZW or Zstandard",
                    layout.band_count,
                    8 * layout.sample_format.bytes()
                )));
            }
        }
        Ok(encoder)
    }

    /// The compression.
    #[must_use]
    pub fn compression(&self) -> &Compression {
        &self.compression
    }

    /// The samples.
    #[must_use]
    pub fn layout(&self) -> &PixelLayout {
        &self.layout
    }

    pub(super) fn jpeg_tables(&self) -> Option<&[u8]> {
        self.jpeg_tables.as_ref().map(|t| t.stream.as_slice())
    }

    /// Compresses one block: `height` rows of `width` pixels without gaps, native byte order. `pixels`
    /// is used as scratch space.
    ///
    /// # Errors
    /// `Usage` when `pixels` has another length, `Compression` when the compressor fails.
    pub fn encode(&self, pixels: &mut [u8], width: u32, height: u32) -> Result<Vec<u8>, TiffError> {
        let row_bytes = (width as usize).checked_mul(self.layout.pixel_bytes());
        let expected = row_bytes.and_then(|r| r.checked_mul(height as usize));
        let row_bytes = match (row_bytes, expected) {
            (Some(row), Some(len)) if len == pixels.len() && len > 0 => row,
            _ => {
                return Err(TiffError::usage(format!(
                    "{} bytes for a block of {width}x{height} pixels of {} bytes",
                    pixels.len(),
                    self.layout.pixel_bytes()
                )));
            }
        };
        if self.compression.predictor(self.layout.sample_format) {
            for row in pixels.chunks_exact_mut(row_bytes) {
                difference(row, self.layout.band_count as usize, self.layout.sample_format);
            }
        }
        if cfg!(target_endian = "big") {
            for sample in pixels.chunks_exact_mut(self.layout.sample_format.bytes()) {
                sample.reverse();
            }
        }
        match self.compression {
            Compression::None => Ok(pixels.to_vec()),
            Compression::Lzw => weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                .encode(pixels)
                .map_err(|e| self.compression.failed(e)),
            Compression::Deflate { level } => self.deflate(pixels, level),
            Compression::Zstandard { level } => {
                zstd::bulk::compress(pixels, i32::from(level)).map_err(|e| self.compression.failed(e))
            }
            #[cfg(feature = "webp")]
            Compression::WebP { quality } => self.webp(pixels, width, height, quality),
            #[cfg(not(feature = "webp"))]
            Compression::WebP { .. } => Err(self.compression.failed("not in this build")),
            Compression::Jpeg { .. } => {
                let jpeg = self.jpeg(pixels, width, height)?;
                // A stream with tables of its own is valid as well, so an encoder that chose others
                // costs some bytes, nothing else.
                match (split_tables(&jpeg), &self.jpeg_tables) {
                    (Some((segments, rest)), Some(tables)) if segments == tables.segments => Ok(rest),
                    _ => Ok(jpeg),
                }
            }
        }
    }

    #[cfg(feature = "webp")]
    fn webp(
        &self,
        pixels: &[u8],
        width: u32,
        height: u32,
        quality: Option<u8>,
    ) -> Result<Vec<u8>, TiffError> {
        let layout = match self.layout.band_count {
            3 => webp::PixelLayout::Rgb,
            _ => webp::PixelLayout::Rgba,
        };
        crate::encode::webp::compress(pixels, layout, Size::new(width, height), quality)
            .map_err(|e| self.compression.failed(e))
    }

    fn deflate(&self, bytes: &[u8], level: u8) -> Result<Vec<u8>, TiffError> {
        let level = libdeflater::CompressionLvl::new(i32::from(level))
            .map_err(|_| TiffError::usage(format!("deflate level {level}, expected 0 to 12")))?;
        let mut compressor = libdeflater::Compressor::new(level);
        let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
        let len = compressor
            .zlib_compress(bytes, &mut out)
            .map_err(|e| self.compression.failed(e))?;
        out.truncate(len);
        Ok(out)
    }

    #[cfg(feature = "mozjpeg")]
    fn jpeg(&self, pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, TiffError> {
        use mozjpeg::ColorSpace;

        let Compression::Jpeg { quality, color } = self.compression else {
            return Err(self.compression.failed("not JPEG"));
        };
        let bands = self.layout.band_count;
        let encode = || -> std::io::Result<Vec<u8>> {
            let stored = match bands {
                1 => ColorSpace::JCS_GRAYSCALE,
                3 => ColorSpace::JCS_RGB,
                _ => ColorSpace::JCS_CMYK,
            };
            let mut jpeg = mozjpeg::Compress::new(stored);
            jpeg.set_size(width as usize, height as usize);
            jpeg.set_fastest_defaults();
            if bands == 3 && color != JpegColor::Stored {
                jpeg.set_color_space(ColorSpace::JCS_YCbCr);
            } else {
                jpeg.set_color_space(stored);
            }
            jpeg.set_quality(f32::from(quality));
            if bands == 3 && color != JpegColor::Stored {
                let cell = if color == JpegColor::YCbCr420 {
                    (2, 2)
                } else {
                    (1, 1)
                };
                jpeg.set_chroma_sampling_pixel_sizes(cell, cell);
            }
            let mut started = jpeg.start_compress(Vec::with_capacity(pixels.len() / 8))?;
            started.write_scanlines(pixels)?;
            started.finish()
        };
        // libjpeg reports errors by unwinding.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(encode)) {
            Ok(result) => result.map_err(|e| self.compression.failed(e)),
            Err(cause) => Err(self.compression.failed(
                cause
                    .downcast_ref::<String>()
                    .map_or("the encoder gave up", String::as_str),
            )),
        }
    }

    #[cfg(not(feature = "mozjpeg"))]
    fn jpeg(&self, pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, TiffError> {
        use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

        let Compression::Jpeg { quality, color } = self.compression else {
            return Err(self.compression.failed("not JPEG"));
        };
        let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
            return Err(TiffError::usage(format!(
                "a JPEG block of {width}x{height} pixels"
            )));
        };
        let color_type = match (self.layout.band_count, color) {
            (1, _) => ColorType::Luma,
            // Three bands taken as they are, whatever the encoder calls them.
            (3, JpegColor::Stored) => ColorType::Ycbcr,
            (3, _) => ColorType::Rgb,
            _ => {
                return Err(TiffError::unsupported(
                    "this build writes JPEG with 1 or 3 bands only",
                ));
            }
        };
        let mut out = Vec::with_capacity(pixels.len() / 8);
        let mut encoder = Encoder::new(&mut out, quality);
        encoder.set_optimized_huffman_tables(false);
        encoder.set_sampling_factor(match color {
            JpegColor::YCbCr420 => SamplingFactor::F_2_2,
            _ => SamplingFactor::F_1_1,
        });
        encoder
            .encode(pixels, width, height, color_type)
            .map_err(|e| self.compression.failed(e))?;
        Ok(out)
    }
}

/// Replaces each sample but the first of a row by its difference to the one of the same band before it.
fn difference(row: &mut [u8], band_count: usize, format: SampleFormat) {
    fn run<T: bytemuck::Pod>(row: &mut [u8], bands: usize, subtract: impl Fn(T, T) -> T) {
        // Rows of a block are aligned to their samples only by chance.
        if let Ok(samples) = bytemuck::try_cast_slice_mut::<u8, T>(row) {
            for i in (bands..samples.len()).rev() {
                samples[i] = subtract(samples[i], samples[i - bands]);
            }
            return;
        }
        let step = size_of::<T>();
        for at in (bands * step..row.len())
            .step_by(step)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let before: T = bytemuck::pod_read_unaligned(&row[at - bands * step..at - bands * step + step]);
            let value: T = bytemuck::pod_read_unaligned(&row[at..at + step]);
            row[at..at + step].copy_from_slice(bytemuck::bytes_of(&subtract(value, before)));
        }
    }
    match format {
        SampleFormat::U8 => run(row, band_count, u8::wrapping_sub),
        SampleFormat::U16 => run(row, band_count, u16::wrapping_sub),
        SampleFormat::U32 => run(row, band_count, u32::wrapping_sub),
        SampleFormat::F32 => {}
    }
}

/// Splits a JPEG stream into its table segments (DQT, DHT) and the stream without them and without
/// JFIF header and comments (ITU-T T.81 annex B.2.4, B.5). `None` if it is not a JPEG stream.
fn split_tables(jpeg: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut tables = Vec::new();
    let mut rest = Vec::with_capacity(jpeg.len());
    if jpeg.get(..2)? != [0xFF, 0xD8] {
        return None;
    }
    rest.extend_from_slice(&[0xFF, 0xD8]);
    let mut at = 2;
    loop {
        let (&[0xFF, marker], length) = (jpeg.get(at..at + 2)?, jpeg.get(at + 2..at + 4)?) else {
            return None;
        };
        let end = at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let segment = jpeg.get(at..end)?;
        match marker {
            0xDB | 0xC4 => tables.extend_from_slice(segment),
            0xE0 | 0xFE => {}
            0xDA => {
                rest.extend_from_slice(jpeg.get(at..)?);
                return Some((tables, rest));
            }
            _ => rest.extend_from_slice(segment),
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::AlphaMode;

    use super::*;

    #[test]
    fn differences_add_up_to_the_row_again_at_any_alignment() {
        let samples: Vec<u16> = vec![10, 65535, 3, 7, 0, 40000];
        let mut aligned: Vec<u8> = bytemuck::cast_slice(&samples).to_vec();
        difference(&mut aligned, 2, SampleFormat::U16);
        let mut shifted = vec![0_u8];
        shifted.extend_from_slice(bytemuck::cast_slice(&samples));
        difference(&mut shifted[1..], 2, SampleFormat::U16);
        assert_eq!(aligned, shifted[1..]);
        let mut sums: Vec<u16> = aligned
            .chunks(2)
            .map(|b| u16::from_ne_bytes([b[0], b[1]]))
            .collect();
        for i in 2..sums.len() {
            sums[i] = sums[i].wrapping_add(sums[i - 2]);
        }
        assert_eq!(sums, samples);
    }

    #[test]
    fn jpeg_blocks_hold_no_tables_of_their_own() {
        let layout = PixelLayout::new(ColorModel::Rgb, AlphaMode::None, SampleFormat::U8);
        let compression = Compression::Jpeg {
            quality: 80,
            color: JpegColor::YCbCr420,
        };
        let encoder = BlockEncoder::new(compression, layout).unwrap();
        let mut pixels: Vec<u8> = (0..64 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let block = encoder.encode(&mut pixels, 64, 64).unwrap();
        let (tables, _) = split_tables(&block).unwrap();
        assert!(tables.is_empty());
        let shared = encoder.jpeg_tables().unwrap();
        assert_eq!(shared[..2], [0xFF, 0xD8]);
        assert_eq!(shared[shared.len() - 2..], [0xFF, 0xD9]);
        assert!(shared.windows(2).any(|w| w == [0xFF, 0xDB]) && shared.windows(2).any(|w| w == [0xFF, 0xC4]));
    }

    #[test]
    fn jpeg_of_deep_samples_is_refused_with_the_alternatives() {
        let layout = PixelLayout::new(ColorModel::Rgb, AlphaMode::None, SampleFormat::U16);
        let compression = Compression::Jpeg {
            quality: 80,
            color: JpegColor::Stored,
        };
        let error = BlockEncoder::new(compression, layout).unwrap_err().to_string();
        assert!(error.contains("deflate"), "{error}");
    }

    #[test]
    fn a_block_of_the_wrong_length_is_refused() {
        let layout = PixelLayout::new(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        let encoder = BlockEncoder::new(Compression::None, layout).unwrap();
        assert!(encoder.encode(&mut [0; 15], 4, 4).is_err());
        assert!(encoder.encode(&mut [], 0, 0).is_err());
    }
}
