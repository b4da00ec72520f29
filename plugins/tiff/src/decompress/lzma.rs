//! LZMA in the xz container (libtiff's private compression 34925).

use iiphost_plugin_api::DecodeError;
use liblzma::stream::{Action, Status, Stream};

use super::too_short;

/// Memory the decoder may use; the largest preset needs 65 MB.
const MAX_MEMORY: u64 = 80 << 20;

/// A decoder for the start of a block.
pub(crate) fn decoder() -> Result<Stream, DecodeError> {
    Stream::new_stream_decoder(MAX_MEMORY, 0)
        .map_err(|error| DecodeError::format(format!("LZMA data: {error}")))
}

pub(super) fn decompress(encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
    let failed = |error| DecodeError::format(format!("LZMA data: {error}"));
    let mut stream = decoder()?;
    loop {
        // Below the lengths of both slices, which the decoder was given.
        let (read, written) = (stream.total_in() as usize, stream.total_out() as usize);
        if written == stored.len() {
            return Ok(());
        }
        let status = stream
            .process(&encoded[read..], &mut stored[written..], Action::Finish)
            .map_err(failed)?;
        let moved = (stream.total_in(), stream.total_out()) != (read as u64, written as u64);
        if status != Status::Ok && status != Status::GetCheck || !moved {
            let written = stream.total_out() as usize;
            return match written == stored.len() {
                true => Ok(()),
                false => Err(too_short(written, stored.len())),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_filled_or_refused() {
        let bytes: Vec<u8> = (0..9000_u32).map(|i| (i / 5) as u8).collect();
        let encoded = liblzma::encode_all(&bytes[..], 3).unwrap();
        let mut stored = vec![0; 9000];
        decompress(&encoded, &mut stored).unwrap();
        assert!(stored == bytes);
        assert!(decompress(&encoded, &mut vec![0; 9001]).is_err());
        for len in (0..encoded.len()).step_by(7) {
            let mut stored = vec![0; 9000];
            // The end of the data is a check sum, which comes behind the last byte.
            let result = decompress(&encoded[..len], &mut stored);
            assert!(result.is_err() || stored == bytes, "{len} bytes");
        }
    }
}
