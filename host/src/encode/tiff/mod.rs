//! TIFF files: one picture at a time ([`encode`]) and tiled pyramids of any size ([`PyramidWriter`]).
//!
//! Follows TIFF 6.0 and, above 4 GiB, the BigTIFF layout of libtiff; little-endian, interleaved. Nothing
//! here knows levels, averaging or files: blocks of pixels come in, bytes go out.

mod compress;
mod directory;
mod encode;
mod metadata;
mod stream;

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

pub use compress::{BlockEncoder, Compression, JpegColor};
pub use encode::{TiffEncoder, compression_for, encode};
pub use metadata::Metadata;
pub use stream::{PyramidWriter, Written};

/// What every sample of a file has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelLayout {
    /// Meaning of the color bands.
    pub color_model: ColorModel,
    /// Bands that carry color.
    pub color_band_count: u32,
    /// Bands of a pixel, alpha and extra bands included.
    pub band_count: u32,
    /// Whether the band after the color bands is opacity.
    pub alpha: AlphaMode,
    /// How a sample is stored.
    pub sample_format: SampleFormat,
    /// Samples are signed in the file (they are delivered in two's complement).
    pub signed: bool,
}

impl PixelLayout {
    /// Unsigned samples, color bands and at most one alpha band after them.
    #[must_use]
    pub fn new(color_model: ColorModel, alpha: AlphaMode, sample_format: SampleFormat) -> Self {
        let color_band_count = match color_model {
            ColorModel::Rgb | ColorModel::CieLab => 3,
            ColorModel::Cmyk => 4,
            _ => 1,
        };
        Self {
            color_model,
            color_band_count,
            band_count: color_band_count + u32::from(alpha != AlphaMode::None),
            alpha,
            sample_format,
            signed: false,
        }
    }

    /// Bytes of one pixel.
    #[must_use]
    pub fn pixel_bytes(&self) -> usize {
        self.band_count as usize * self.sample_format.bytes()
    }
}

/// Why a TIFF could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TiffError {
    /// The file could not be written.
    #[error("writing TIFF failed")]
    Io {
        /// What the system said.
        #[from]
        source: std::io::Error,
    },
    /// The compression cannot hold these samples, or this build lacks it.
    #[error("{reason}")]
    Unsupported {
        /// What does not go together.
        reason: String,
    },
    /// A compressor refused its input.
    #[error("{compression} compression failed: {reason}")]
    Compression {
        /// Name of the compression.
        compression: &'static str,
        /// What it said.
        reason: String,
    },
    /// Tile size, picture size or a tile's place breaks the rules of the format.
    #[error("{reason}")]
    Usage {
        /// What is wrong.
        reason: String,
    },
}

impl TiffError {
    fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported {
            reason: reason.into(),
        }
    }

    fn usage(reason: impl Into<String>) -> Self {
        Self::Usage {
            reason: reason.into(),
        }
    }
}
