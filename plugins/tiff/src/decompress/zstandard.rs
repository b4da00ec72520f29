//! Zstandard (RFC 8878), one frame per block.

use iiphost_plugin_api::DecodeError;
use zstd::bulk::Decompressor;

use super::too_short;

/// A decompressor used again for each block, made at the first one.
#[derive(Default)]
pub(super) struct Zstandard(Option<Decompressor<'static>>);

impl Zstandard {
    pub(super) fn decompress(&mut self, encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(
                Decompressor::new()
                    .map_err(|error| DecodeError::limit(format!("no Zstandard decompressor: {error}")))?,
            ),
        };
        match decompressor.decompress_to_buffer(encoded, stored) {
            Ok(count) if count == stored.len() => Ok(()),
            Ok(count) => Err(too_short(count, stored.len())),
            Err(error) => Err(DecodeError::format(format!("Zstandard data: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_filled_exactly_or_refused() {
        let encoded = zstd::bulk::compress(&[9; 5000], 3).unwrap();
        let mut codec = Zstandard::default();
        let mut stored = [0; 5000];
        codec.decompress(&encoded, &mut stored).unwrap();
        assert_eq!(stored, [9; 5000]);
        assert!(codec.decompress(&encoded, &mut [0; 4999]).is_err());
        assert!(codec.decompress(&encoded, &mut [0; 5001]).is_err());
        assert!(codec.decompress(&encoded[..10], &mut stored).is_err());
        assert!(codec.decompress(&[], &mut stored).is_err());
    }
}
