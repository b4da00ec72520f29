//! The interface between iiphost and its decoder modules.
//!
//! A module is a `cdylib` that implements two traits and names its decoder once:
//!
//! * [`ImageDecoder`], one object per module: what it is, whether a file is its own, open an image;
//! * [`ImageReader`], one object per open image: its shape, its pixels, its metadata;
//! * [`export_decoder!`] with an expression that makes the decoder.
//!
//! Both sides see plain Rust. What really crosses the library boundary is hidden in this crate, so that a
//! module goes on working with later hosts, and with hosts built by another compiler.
//!
//! # Life cycle
//! The host loads the library and keeps it for the life of the process. It checks what the module says in
//! its header, then has it make its decoder and calls
//!
//! 1. [`describe`](ImageDecoder::describe), once;
//! 2. [`configure`](ImageDecoder::configure), once, with the operator's settings;
//! 3. [`probe`](ImageDecoder::probe) and [`open`](ImageDecoder::open), any number of times;
//! 4. on each reader [`info`](ImageReader::info), once, then the others in any order, until it drops the
//!    reader. A reader may live longer than the decoder that made it.
//!
//! # Threads
//! Calls come from any thread of the host. Which of them may overlap is what the module declares
//! ([`Threading`]); the host keeps the others apart. A call may use up to [`Limits::max_threads`] threads of
//! its own; it has ended them, or at least no longer uses what it was lent, when it returns.
//!
//! # Who owns what
//! The host owns pixels and input. It lends the output buffer ([`PixelBuffer`]) and the call's context
//! ([`CallContext`]) for the length of one call. The [`ByteSource`] of an image is shared: a reader may keep
//! it for as long as it lives. What a module returns belongs to the host from then on; each side frees
//! what it has allocated.
//!
//! # Failures
//! A failure is a [`DecodeError`]: a kind that decides what the host answers, and a sentence. A panic in
//! any call is caught at the boundary and becomes [`ErrorKind::Panicked`]; the host counts it and drops the
//! reader. That needs unwinding: a module built with `panic = "abort"` is refused. A panic while another
//! one unwinds, a stack overflow or a crash in C code cannot be caught and ends the process. The host
//! believes no number of a module: an impossible shape or a tile above the limits is an error of the kind
//! [`ErrorKind::Internal`] that names the field.
//!
//! # Limits, deadline, cancellation
//! Check sizes from a file against the [`Limits`] of the call before allocating, and call
//! [`CallContext::checkpoint`] between tiles or blocks.
//!
//! # Versions
//! The ABI has a version of its own ([`ABI_MAJOR`], [`ABI_MINOR`]), apart from that of this crate. Within one
//! major version it only grows: functions are added at the end of their tables, and what is missing on the
//! older side falls back to the default method of the trait; numbers without a known meaning are ignored or
//! read in the most careful way. A host accepts modules of its own major version and of any minor version up
//! to its own, so a module outlives the host it was built for. A module newer than the host is refused with a
//! sentence that says so.
//!
//! # A whole decoder
//! One grey level of 8-bit samples: four magic bytes, width and height in little-endian order, rows.
//!
//! ```
//! use std::sync::Arc;
//!
//! use iiphost_plugin_api::*;
//!
//! struct ToyDecoder;
//!
//! impl ImageDecoder for ToyDecoder {
//!     fn describe(&self) -> ModuleInfo {
//!         ModuleInfo {
//!             id: "toy".into(),
//!             name: "Toy pictures".into(),
//!             version: env!("CARGO_PKG_VERSION").into(),
//!             license: "MIT".into(),
//!             formats: vec![FormatInfo::new("Toy", "image/x-toy", &["toy"])],
//!             capabilities: vec![capability::REGIONS],
//!             options: vec![],
//!             threading: Threading::Reentrant,
//!         }
//!     }
//!
//!     fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
//!         Ok(())
//!     }
//!
//!     fn probe(&self, head: &FileHead<'_>) -> Claim {
//!         if head.bytes.starts_with(b"TOY1") {
//!             Claim::new(ClaimLevel::Exact, "TOY1 at the start")
//!         } else {
//!             Claim::none("no TOY1 at the start")
//!         }
//!     }
//!
//!     fn open(
//!         &self,
//!         source: Arc<dyn ByteSource>,
//!         _ctx: &OpenContext<'_>,
//!     ) -> Result<Box<dyn ImageReader>, DecodeError> {
//!         let mut head = [0; 12];
//!         source.read_exact_at(0, &mut head)?;
//!         let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
//!         let (width, height) = (number(4), number(8));
//!         if width == 0 || height == 0 {
//!             return Err(DecodeError::format(format!("the picture is {width}x{height}")));
//!         }
//!         Ok(Box::new(ToyReader { source, info: shape(width, height) }))
//!     }
//! }
//!
//! struct ToyReader {
//!     source: Arc<dyn ByteSource>,
//!     info: ImageInfo,
//! }
//!
//! impl ImageReader for ToyReader {
//!     fn info(&self) -> &ImageInfo {
//!         &self.info
//!     }
//!
//!     fn read(
//!         &self,
//!         request: &ReadRequest,
//!         out: &mut PixelBuffer<'_>,
//!         ctx: &ReadContext<'_>,
//!     ) -> Result<(), DecodeError> {
//!         let (page, level) = request.resolve(&self.info)?;
//!         let region = request.region;
//!         out.check(page, &region)?;
//!         for row in 0..region.height {
//!             ctx.checkpoint()?;
//!             let start = (u64::from(region.y) + u64::from(row)) * u64::from(level.width) + u64::from(region.x);
//!             self.source.read_exact_at(12 + start, out.row_mut(row))?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn estimate(&self, request: &ReadRequest) -> Cost {
//!         let pixels = request.region.pixels();
//!         Cost { bytes_read: pixels, pixels_decoded: pixels, memory_bytes: 0 }
//!     }
//! }
//!
//! fn shape(width: u32, height: u32) -> ImageInfo {
//!     let level = LevelInfo { width, height, tile_width: 256, tile_height: 256, encoded: None, computed: false };
//!     let page = PageInfo {
//!         name: String::new(),
//!         scale: 1.0,
//!         listed: true,
//!         levels: vec![level],
//!         band_count: 1,
//!         sample_format: SampleFormat::U8,
//!         bit_depth: 8,
//!         signed: false,
//!         color_model: ColorModel::Grey,
//!         alpha: AlphaMode::None,
//!         ranges: vec![],
//!         resolution: None,
//!         quality_layers: 1,
//!     };
//!     ImageInfo { format: "Toy".into(), pages: vec![page], text: vec![], warnings: vec![] }
//! }
//!
//! // In the module this line stands alone; the rest of this example does what a host does.
//! export_decoder!(ToyDecoder);
//!
//! # fn main() -> Result<(), DecodeError> {
//! let file = b"TOY1\x03\0\0\0\x02\0\0\0abcdef".to_vec();
//! let services = PlainServices::default();
//! let ctx = CallContext::new(Limits::default(), &services);
//! let reader = ToyDecoder.open(Arc::new(file), &ctx)?;
//! let request = ReadRequest { page: 0, level: 0, region: Region::new(1, 0, 2, 2), quality_layers: 0 };
//! let mut pixels = [0; 4];
//! let mut buffer = PixelBuffer::new(&mut pixels, 2, 2, 1, SampleFormat::U8, 2)?;
//! reader.read(&request, &mut buffer, &ctx)?;
//! assert_eq!(&pixels, b"bcef");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod abi;
mod buffer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod decoder;
mod error;
mod export;
#[cfg(feature = "host")]
pub mod host;
mod info;
mod module;
mod probe;
mod region;
mod source;

pub use abi::{ABI_MAJOR, ABI_MINOR};
pub use buffer::{PixelBuffer, row_bytes};
pub use context::{CallContext, HostServices, Limits, LogLevel, OpenContext, PlainServices, ReadContext};
pub use decoder::{EncodedTile, ImageDecoder, ImageReader};
pub use error::{DecodeError, ErrorKind};
pub use info::{
    AlphaMode, ColorModel, EncodedFormat, ImageInfo, LevelInfo, MetadataKind, PageInfo, Resolution,
    ResolutionUnit, SampleFormat,
};
pub use module::{FormatInfo, ModuleInfo, OptionKind, OptionSpec, Options, Threading, capability};
pub use probe::{Claim, ClaimLevel};
pub use region::{Cost, ReadRequest, Region, TileId};
pub use source::{ByteSource, FileHead};

/// What [`export_decoder!`] needs; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::{Factory, LibHeader, ModuleHeader, library_header};
}
