//! The two traits a module implements.

use std::sync::Arc;

use crate::buffer::PixelBuffer;
use crate::context::{OpenContext, ReadContext};
use crate::error::DecodeError;
use crate::info::{EncodedFormat, ImageInfo, MetadataKind};
use crate::module::{ModuleInfo, Options};
use crate::probe::Claim;
use crate::region::{Cost, ReadRequest, TileId};
use crate::source::{ByteSource, FileHead};

/// A decoder for one family of formats; one per module, made when the module is loaded.
///
/// Order of calls: `describe`, then `configure` once before anything else, then `probe` and `open` from
/// any thread (as [`Threading`](crate::Threading) declares).
pub trait ImageDecoder: Send + Sync {
    /// What the module is and can do. Cheap, always the same answer.
    fn describe(&self) -> ModuleInfo;

    /// Takes the operator's settings, once, before the first `probe` or `open`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a value it cannot work with, naming the option;
    /// the host then does not start.
    fn configure(&mut self, options: &Options) -> Result<(), DecodeError>;

    /// How well a file fits, judged by its first bytes alone. Fast and without side effects.
    fn probe(&self, head: &FileHead<'_>) -> Claim;

    /// Opens an image: reads what is needed to know its shape, no pixels.
    ///
    /// # Errors
    /// `Format` for a broken file, `Unsupported` naming the feature that is missing, `Io`,
    /// `LimitExceeded`, `Cancelled`, `DeadlineExceeded`.
    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError>;
}

/// One open image. The host keeps it for many requests and drops it at any time no call runs.
pub trait ImageReader: Send + Sync {
    /// The shape of the image; the same answer for the life of the reader.
    fn info(&self) -> &ImageInfo;

    /// Fills `out` with the pixels of `request`.
    ///
    /// `out` has the size of the region, the bands and samples of the page. The host clears it first.
    ///
    /// # Errors
    /// As for [`ImageDecoder::open`]; what `out` holds then is not used.
    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError>;

    /// A stored tile as a complete file of its own (JPEG, WebP), without decoding it; `None` if this
    /// tile is stored in another way or would not be shown right like that.
    ///
    /// Where the cell of the tile grid reaches over the edge of the level, the picture has the size of the cell
    /// or of its part inside the level. The host hands it on where it has the size that was asked for.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn encoded_tile(&self, tile: TileId, ctx: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        let _ = (tile, ctx);
        Ok(None)
    }

    /// A block of metadata of the image, `None` if it has none of that kind.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let _ = (kind, ctx);
        Ok(None)
    }

    /// What a read will cost.
    fn estimate(&self, request: &ReadRequest) -> Cost;
}

/// A stored tile as a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedTile {
    /// Encoding of the bytes.
    pub format: EncodedFormat,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// The file: for JPEG from SOI to EOI with all tables and an Adobe marker where the colors need one.
    pub bytes: Vec<u8>,
}
