//! JPEG 2000 codestreams (ISO/IEC 15444-1, 15444-15) read from a [`ByteSource`], for decoder modules.
//!
//! A library of modules, not a module: it knows codestreams and nothing of the files around them.
//! [`Codestream::open`] reads the main header; [`Codestream::decode`] gives the samples of an area at a
//! reduction, component by component, out of the tile-parts it needs; [`Codestream::memory`] tells
//! beforehand what that takes. Two calls never disturb each other.
//!
//! ```no_run
//! # use iiphost_openjpeg::{Codestream, Wanted};
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
//! The codec is OpenJPEG through `openjpeg-sys`; `codec` is the only file that talks to C. The safe wrapper
//! `jpeg2k` reads from whole byte slices or paths only; here bytes come from the host, piece by piece, and
//! a call can be ended from within a read.
//!
//! [`ByteSource`]: iiphost_plugin_api::ByteSource

mod bytes;
mod codec;
mod codestream;
mod header;
mod splice;
#[cfg(any(test, feature = "test-encoder"))]
pub mod test_encoder;
mod tile_index;
mod tile_parts;

pub use bytes::{Cursor, Fields};
pub use codec::{Decoded, Job, Plane, decode};
pub use codestream::{Codestream, Wanted};
pub use header::{Component, MainHeader, Partition, Size};
pub use splice::Splice;
