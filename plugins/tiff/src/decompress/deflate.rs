//! Deflate with the zlib frame (Adobe TIFF Technical Note, RFC 1950).

use iiphost_plugin_api::DecodeError;
use libdeflater::{DecompressionError, Decompressor};

use super::too_short;

/// Some writers fill up a last strip; more than twice the expected size is not that.
const MAX_EXCESS: usize = 2;

/// A decompressor used again for each block.
pub(super) struct Deflate(Decompressor);

impl Default for Deflate {
    fn default() -> Self {
        Self(Decompressor::new())
    }
}

impl Deflate {
    pub(super) fn decompress(&mut self, encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
        match self.0.zlib_decompress(encoded, stored) {
            Ok(count) if count == stored.len() => Ok(()),
            Ok(count) => Err(too_short(count, stored.len())),
            Err(DecompressionError::InsufficientSpace) => self.decompress_longer(encoded, stored),
            Err(DecompressionError::BadData) => Err(DecodeError::format("corrupt deflate data")),
        }
    }

    /// Fills the start of `out` with as many bytes as there are, and gives their number.
    pub(super) fn decompress_up_to(&mut self, encoded: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        self.0.zlib_decompress(encoded, out).map_err(|error| match error {
            DecompressionError::InsufficientSpace => {
                DecodeError::format(format!("deflate data expands to more than {} bytes", out.len()))
            }
            DecompressionError::BadData => DecodeError::format("corrupt deflate data"),
        })
    }

    /// The data holds more rows than the block has: keep the first ones.
    fn decompress_longer(&mut self, encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
        let len = stored.len().saturating_mul(MAX_EXCESS).saturating_add(1 << 16);
        let mut longer = Vec::new();
        longer
            .try_reserve_exact(len)
            .map_err(|_| DecodeError::limit(format!("no memory for {len} bytes")))?;
        longer.resize(len, 0);
        match self.0.zlib_decompress(encoded, &mut longer) {
            Ok(count) if count >= stored.len() => {
                stored.copy_from_slice(&longer[..stored.len()]);
                Ok(())
            }
            _ => Err(DecodeError::format(format!(
                "deflate data expands to more than {len} bytes, expected {}",
                stored.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
        let len = compressor.zlib_compress(bytes, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn a_few_rows_too_many_are_cut_and_a_bomb_is_refused() {
        let mut stored = [0; 1000];
        let mut codec = Deflate::default();
        codec.decompress(&compressed(&[7; 1800]), &mut stored).unwrap();
        assert_eq!(stored, [7; 1000]);
        let bomb = compressed(&vec![0; 10 << 20]);
        assert!(codec.decompress(&bomb, &mut stored).is_err());
    }

    #[test]
    fn too_few_bytes_are_an_error_that_says_so() {
        let mut stored = [0; 1000];
        let error = Deflate::default()
            .decompress(&compressed(&[7; 999]), &mut stored)
            .unwrap_err();
        assert_eq!(error.message(), "999 bytes after decompression, expected 1000");
    }
}
