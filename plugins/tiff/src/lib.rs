//! TIFF decoder module of iiphost.
//!
//! `probe` claims a file by its header; `ifd` reads directories; `layout` says how one directory stores its
//! pixels and `shape` what comes out of it; `pyramid` sorts directories into pages and levels; `picture`
//! reads regions of one level, `block` one tile or strip of it: positional read, `decompress`, `predictor`,
//! `samples`, `color`. `tables`, `strip_cache` and `strip_stream` are what is kept between calls.
//!
//! Not done: editing, writing, old-style JPEG, JBIG.

mod block;
mod color;
#[cfg(test)]
mod combinations;
mod compression;
mod decoder;
mod decompress;
mod encoded;
mod exif;
mod ifd;
mod jpeg_crop;
mod jpeg_markers;
mod layout;
mod metadata;
mod ome;
mod photometric;
mod picture;
mod predictor;
mod probe;
mod pyramid;
mod reader;
mod samples;
mod scratch;
mod shape;
mod strip_cache;
mod strip_stream;
mod sums;
mod tables;
#[cfg(test)]
mod test_file;

pub use decoder::TiffDecoder;

iiphost_plugin_api::export_decoder!(TiffDecoder::default());
