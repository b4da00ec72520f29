//! JPEG decoder module of iiphost (ITU-T T.81, JFIF, EXIF).
//!
//! A JPEG has no tiles: to find the pixels in its middle, everything before them has to be read. This module
//! therefore splits the work in two. The entropy-coded data is read by code of its own (`bits`, `huffman`,
//! `sequential`), which notes where the data of every few blocks begins (`index`). A region is then an
//! `excerpt`: a small JPEG made of just the blocks around it, whose coefficients are those of the file. The
//! excerpt is decoded by libjpeg-turbo (`codec`), so every step that computes a sample (dequantization, inverse
//! DCT, upsampling, color conversion) is the library's, and a region equals that part of the whole picture.
//!
//! Files of several scans, progressive ones above all, are first turned into one scan held in memory
//! (`coefficients`), without loss; from there they are like the others.
//!
//! Not done: 12-bit, lossless, hierarchical and arithmetic-coded files, files of two components.

mod average;
mod bits;
mod codec;
mod coefficients;
mod decoder;
mod excerpt;
mod exif;
mod frame;
mod header;
mod huffman;
mod index;
mod kept;
mod metadata;
mod once;
mod picture;
mod reader;
mod segments;
mod sequential;
mod tables;
#[cfg(test)]
mod test_file;
mod writer;

pub use decoder::JpegDecoder;

iiphost_plugin_api::export_decoder!(JpegDecoder::default());
