//! Where the rows of a picture come from.

use crate::encode::tiff::{Metadata, PixelLayout};
use crate::limits::Size;

/// A picture that is read once, row by row from the top.
pub trait RowSource {
    /// Size and samples.
    fn info(&self) -> &SourceInfo;

    /// Fills `rows` with the next rows, without gaps, samples interleaved in native byte order. The
    /// length is a multiple of [`SourceInfo::row_bytes`] and never reaches past the last row.
    ///
    /// # Errors
    /// `Format` for a broken or truncated file, `Io`, `Cancelled`.
    fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError>;

    /// Metadata; asked for after the last row, since formats may keep some behind the pixels.
    ///
    /// # Errors
    /// As for [`read_rows`](Self::read_rows).
    fn metadata(&mut self) -> Result<Metadata, SourceError>;
}

/// Size and samples of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Size in pixels.
    pub size: Size,
    /// Grey or RGB with or without alpha, 8 or 16 bits.
    pub layout: PixelLayout,
}

impl SourceInfo {
    /// Bytes of one row, `None` if no memory could hold it.
    #[must_use]
    pub fn row_bytes(&self) -> Option<usize> {
        (self.size.width as usize).checked_mul(self.layout.pixel_bytes())
    }
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file could not be opened or read.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file breaks the rules of its format.
    #[error("broken {format} file: {reason}")]
    Format {
        /// Name of the format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file is valid, but pyramids cannot be made from its kind.
    #[error("{reason}")]
    Unsupported {
        /// What was found and what could be done.
        reason: String,
    },
    /// A decoder module failed.
    #[error("the decoder failed: {source}")]
    Decoder {
        /// Why.
        #[from]
        source: iiphost_plugin_api::DecodeError,
    },
}

impl SourceError {
    pub(super) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported {
            reason: reason.into(),
        }
    }
}
