//! The interface between iiphost and its decoder modules.
//!
//! A module is a `cdylib` that implements two traits: [`ImageDecoder`], one per module, and
//! [`ImageReader`], one per open image. Both sides see plain Rust; what crosses the library boundary is
//! hidden in this crate.

mod buffer;
mod context;
mod decoder;
mod error;
mod info;
mod module;
mod probe;
mod region;
mod source;

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
