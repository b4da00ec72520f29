//! JPEG 2000 decoder module of iiphost: JP2, JPX (first codestream), JPH and bare codestreams.
//!
//! `probe` claims a file by its first bytes. Opening reads headers alone: `boxes` takes the file apart,
//! `color` works out which bands come out of its codestream, `levels` which sizes, `exif` how they are to be turned. `picture` reads a region of
//! a level: `iiphost_codestream` decodes, `unpack` makes pixels of the page, `average` makes sizes the codestream
//! does not have. Nothing decoded is kept: the estimate of a read says that neighbors cost less together,
//! and the host joins them.
//!
//! Not done: writing, codestreams in fragments or in other files, compositing and further codestreams of
//! JPX, JPM, Motion JPEG 2000.

mod average;
mod boxes;
mod color;
mod decoder;
mod exif;
mod levels;
mod picture;
mod pixels;
mod probe;
mod reader;
mod unpack;

pub use decoder::Jpeg2000Decoder;

iiphost_plugin_api::export_decoder!(Jpeg2000Decoder::default());
