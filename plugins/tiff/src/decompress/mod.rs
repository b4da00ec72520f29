//! From the bytes of a block in the file to its samples as stored, one codec per file.
//!
//! Every codec fills exactly the buffer it is given or fails: what a block expands to is bounded by the
//! size of the block, whatever its bytes say.

mod deflate;
mod fax;
pub(crate) mod jpeg;
pub(crate) mod jpeg2000;
mod lerc;
pub(crate) mod lzma;
pub(crate) mod lzw;
mod packbits;
mod sgi_log;
mod webp;
mod zstandard;

use iiphost_plugin_api::DecodeError;

use crate::compression::Compression;
use crate::layout::{BlockSize, Layout};

/// Decompressors that keep tables worth using again.
#[derive(Default)]
pub(crate) struct Codecs {
    deflate: deflate::Deflate,
    lzw: lzw::Lzw,
    sgi_log: sgi_log::SgiLog,
    zstd: zstandard::Zstandard,
}

impl Codecs {
    /// Fills `stored` with the samples of a block of this size.
    ///
    /// `stored` has [`Layout::stored_bytes`] bytes; `encoded` has the bits of its bytes in normal order.
    pub(crate) fn decompress(
        &mut self,
        layout: &Layout,
        encoded: &[u8],
        stored: &mut [u8],
        size: BlockSize,
    ) -> Result<(), DecodeError> {
        match layout.compression {
            Compression::None => match encoded.get(..stored.len()) {
                Some(bytes) => {
                    stored.copy_from_slice(bytes);
                    Ok(())
                }
                None => Err(too_short(encoded.len(), stored.len())),
            },
            Compression::Lzw => self.lzw.decompress(encoded, stored),
            Compression::Deflate => self.deflate.decompress(encoded, stored),
            Compression::Zstd => self.zstd.decompress(encoded, stored),
            Compression::Lzma => lzma::decompress(encoded, stored),
            Compression::SgiLog | Compression::SgiLog24 => {
                self.sgi_log.decompress(layout, encoded, stored, size)
            }
            Compression::Lerc => lerc::decompress(layout, encoded, stored, size),
            Compression::WebP => webp::decompress(layout, encoded, stored, size),
            Compression::PackBits => packbits::decompress(encoded, stored),
            Compression::Jpeg => jpeg::decompress(layout, encoded, stored, size),
            // Reads the file itself, and memory is its concern, too.
            Compression::Jpeg2000 | Compression::Jpeg2000Ycbcr | Compression::Jpeg2000Rgb => {
                Err(DecodeError::usage("JPEG 2000 is not decompressed from bytes"))
            }
            Compression::FaxRle | Compression::Fax3 | Compression::Fax4 => {
                fax::decompress(layout, encoded, stored, size)
            }
        }
    }
}

/// A block gave fewer bytes than its pixels need.
pub(crate) fn too_short(found: usize, expected: usize) -> DecodeError {
    DecodeError::format(format!("{found} bytes after decompression, expected {expected}"))
}
