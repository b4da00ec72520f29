//! JPEG 2000 decoder module of iiphost: JP2, JPX (first codestream), JPH and bare codestreams.
//!
//! `probe` claims a file by its first bytes. Opening reads headers alone: `boxes` takes the file apart,
//! `codestream` reads the main header, `color` works out which bands come out of it, `levels` which sizes.
//! `picture` reads a region of a level: `tile_index` and `splice` give the codec the pieces of the codestream
//! it needs, `codec` decodes, `unpack` makes pixels of the page, `average` makes sizes the codestream does not
//! have. `store` keeps decoded tiles and joins bursts of neighbors into one decode.
//!
//! The codec is OpenJPEG through `openjpeg-sys`. The safe wrapper `jpeg2k` reads from whole byte slices or
//! paths only; here bytes come from the host, piece by piece, and a call can be ended from within a read.
//!
//! Not done: writing, codestreams in fragments or in other files, compositing and further codestreams of
//! JPX, JPM, Motion JPEG 2000.

mod average;
mod boxes;
mod bytes;
mod codec;
mod codestream;
mod color;
mod decoder;
mod levels;
mod picture;
mod pixels;
mod probe;
mod reader;
mod splice;
mod store;
#[cfg(test)]
mod test_encoder;
mod tile_index;
mod unpack;

pub use decoder::Jpeg2000Decoder;

iiphost_plugin_api::export_decoder!(Jpeg2000Decoder::default());
