//! Memory and decompressors that a thread uses again for the next block.

use std::cell::RefCell;

use iiphost_plugin_api::DecodeError;

use crate::decompress::Codecs;

/// A buffer larger than this is given back after use; one 1024 x 1024 tile of 16-bit RGBA fits.
const KEPT_BYTES: usize = 8 << 20;

/// What one thread keeps between blocks.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A block as it is in the file.
    pub(crate) encoded: Vec<u8>,
    /// A block after decompression.
    pub(crate) stored: Vec<u8>,
    /// Subsampled YCbCr spread out.
    pub(crate) spread: Vec<u8>,
    /// A row of one plane, or of palette indexes.
    pub(crate) row: Vec<u8>,
    pub(crate) codecs: Codecs,
}

thread_local! {
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

impl Scratch {
    /// Runs `work` with this thread's scratch memory.
    pub(crate) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        // Taken out while in use, so that a nested call gets its own and a panic loses it.
        let mut scratch = SCRATCH.with(|kept| kept.borrow_mut().take()).unwrap_or_default();
        let result = work(&mut scratch);
        let Self {
            encoded,
            stored,
            spread,
            row,
            codecs: _,
        } = &mut *scratch;
        for buffer in [encoded, stored, spread, row] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        SCRATCH.with(|kept| *kept.borrow_mut() = Some(scratch));
        result
    }
}

/// The first `len` bytes of a buffer, made larger if need be; their contents are left from before.
pub(crate) fn resized(buffer: &mut Vec<u8>, len: usize) -> Result<&mut [u8], DecodeError> {
    if buffer.len() < len {
        let more = len - buffer.len();
        buffer
            .try_reserve_exact(more)
            .map_err(|_| DecodeError::limit(format!("no memory for {len} bytes")))?;
        buffer.resize(len, 0);
    }
    Ok(&mut buffer[..len])
}
