//! JPEG 2000 codestreams (ISO/IEC 15444-1, 15444-15) read from a [`ByteSource`], for decoder modules.
//!
//! A library of modules, not a module: it knows codestreams and nothing of the files around them.
//! [`Codestream::open`] reads the main header; [`Codestream::decode`] gives the samples of an area at a
//! reduction, component by component, out of the tile-parts it needs; [`Codestream::memory`] tells
//! beforehand what that takes. Two calls never disturb each other.
//!
//! ```no_run
//! # use iiphost_codestream::{Codestream, Wanted};
//! # fn example(bytes: Vec<u8>, ctx: &iiphost_plugin_api::CallContext<'_>) -> Result<(), iiphost_plugin_api::DecodeError> {
//! let codestream = Codestream::open(&bytes, 0..bytes.len() as u64, ctx)?;
//! let wanted = Wanted { reduction: 0, layers: 0, area: codestream.header().size.image };
//! ctx.limits.check_bytes(codestream.memory(&wanted))?;
//! if let Some(decoded) = codestream.decode(&bytes, &wanted, ctx)? {
//!     let first = decoded.plane(0).map(|plane| plane.samples);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Sound codestreams of Part 1 are decoded by the engine here, which reads packet headers once and keeps decoded
//! code-blocks in a [`Store`]; all others by OpenJPEG through `openjpeg-sys`, with the same samples where both can
//! (`openjpeg` is the only file that talks to C). The safe wrapper `jpeg2k` reads from whole byte slices or paths only;
//! here bytes come from the host, piece by piece, and a call can be ended from within a read.
//!
//! [`ByteSource`]: iiphost_plugin_api::ByteSource

mod bytes;
mod codestream;
mod decoded;
mod engine;
mod header;
mod openjpeg;
mod splice;
mod store;
#[cfg(any(test, feature = "test-encoder"))]
pub mod test_encoder;
mod tile_index;
mod tile_parts;

pub use bytes::{Cursor, Fields};
pub use codestream::{Codestream, Wanted};
pub use decoded::{Decoded, Plane};
pub use header::{Component, MainHeader, Partition, Size};
pub use openjpeg::{Job, decode};
pub use splice::Splice;
pub use store::Store;
