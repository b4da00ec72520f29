//! A local file as a source of bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use iiphost_plugin_api::{ByteSource, DecodeError};

/// An open file read at positions; safe to share, never mapped into memory: a file truncated while it is
/// served gives an error, not a signal.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    /// A source over an open regular file of `len` bytes.
    #[must_use]
    pub fn new(file: File, len: u64) -> Self {
        Self { file, len }
    }
}

impl ByteSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        // Bytes past the length seen at opening belong to another state of the file.
        let available = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(available);
        loop {
            match self.file.read_at(&mut buffer[..wanted], offset) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(DecodeError::io(format!(
                        "reading {wanted} bytes at {offset}: {error}"
                    )));
                }
            }
        }
    }
}
