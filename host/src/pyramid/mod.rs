//! Tiled pyramid TIFFs from pictures of any size, in one pass.
//!
//! Rows come from a [`RowSource`], top to bottom. Every level holds one row of tiles in memory; when it is
//! full its tiles are compressed in parallel and appended to the file, and its rows, averaged two by two,
//! go to the next level. Memory is therefore one row of tiles per level whatever the height: about
//! 4 × width × tile size pixels in all, compressed tiles of one row besides.
//!
//! The file appears under its name only when it is complete.

mod build;
mod command;
mod interrupt;
#[cfg(feature = "mozjpeg")]
mod jpeg;
mod levels;
mod output;
mod png;
mod progress;
mod reader;
mod reduce;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use build::build;
pub(crate) use command::describe;
pub use command::{Args, BoxError, run};
pub use interrupt::Interrupt;
pub use levels::level_sizes;
pub use progress::{ConsoleProgress, Progress, Silent};
pub use reader::ReaderSource;
pub use source::{RowSource, SourceError, SourceInfo};

use crate::encode::tiff::{Compression, JpegColor, PixelLayout, TiffError};
use crate::limits::Size;

/// A flag that stops a build from outside; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the build to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a pyramid is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Side of the square tiles in pixels, a multiple of 16.
    pub tile_size: u32,
    /// Compression of the tiles; `None` = [`default_compression`] of the picture.
    pub compression: Option<Compression>,
    /// Threads that compress; `None` = one a core.
    pub threads: Option<usize>,
    /// Replace an existing file.
    pub force: bool,
    /// Stops the build; the partial file is removed.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tile_size: 256,
            compression: None,
            threads: None,
            force: false,
            cancel: Cancel::default(),
        }
    }
}

/// Quality of JPEG tiles where none is asked for: hardly visible loss, about a tenth of the size.
pub const DEFAULT_QUALITY: u8 = 85;

/// JPEG as photographs are stored: chroma at half size below quality 90.
#[must_use]
pub fn jpeg_compression(quality: u8) -> Compression {
    Compression::Jpeg {
        quality,
        color: if quality < 90 {
            JpegColor::YCbCr420
        } else {
            JpegColor::YCbCr444
        },
    }
}

/// JPEG where it can hold the picture (8 bits, no opacity), else deflate.
#[must_use]
pub fn default_compression(layout: &PixelLayout) -> Compression {
    if layout.sample_format.bytes() == 1 && matches!(layout.band_count, 1 | 3) {
        jpeg_compression(DEFAULT_QUALITY)
    } else {
        Compression::Deflate { level: 6 }
    }
}

/// A finished pyramid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Full size.
    pub size: Size,
    /// Levels, the full size included.
    pub levels: usize,
    /// Tiles of all levels.
    pub tiles: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// The compression used.
    pub compression: Compression,
    /// Time it took.
    pub elapsed: Duration,
}

/// Why there is no pyramid. No partial file is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PyramidError {
    /// The output exists and may not be replaced.
    #[error("{} exists, --force replaces it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The device of the output is full.
    #[error("no space left on the device of {}", path.display())]
    DiskFull {
        /// The output.
        path: PathBuf,
    },
    /// The output could not be written.
    #[error("{} could not be written", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The picture could not be read.
    #[error("the picture could not be read")]
    Source {
        /// Why.
        #[from]
        source: SourceError,
    },
    /// The file format cannot hold what was asked for.
    #[error("{reason}")]
    Usage {
        /// What does not go together.
        reason: String,
    },
    /// A tile could not be compressed.
    #[error("a tile could not be compressed")]
    Compression {
        /// Why.
        source: TiffError,
    },
    /// Stopped from outside (Ctrl-C).
    #[error("stopped")]
    Cancelled,
}
