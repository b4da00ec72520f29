//! Where the bytes of an image come from.

use std::path::Path;

use crate::error::DecodeError;

/// Random access to the bytes of one image file, owned by the host.
///
/// The host opens files (under its allowed root) and hands out this view of them, so a decoder works
/// the same on a local file, an object store or a block of memory. Calls are positional and may come
/// from several threads at once. A file that shrinks while it is served makes `read_at` fail; it never
/// makes it return stale or foreign bytes.
pub trait ByteSource: Send + Sync {
    /// Size in bytes when the image was opened.
    fn len(&self) -> u64;

    /// Whether the source holds no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the source.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the source can no longer be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError>;

    /// The path of the file where there is one on a local disk, for C libraries that insist on it.
    ///
    /// Prefer [`read_at`](Self::read_at): the path may name another file by the time it is opened.
    fn local_path(&self) -> Option<&Path> {
        None
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Format`](crate::ErrorKind::Format) when the source ends before that (the file is
    /// truncated or an offset in it is wrong), or the error of [`read_at`](Self::read_at).
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DecodeError> {
        let mut done = 0;
        while done < buffer.len() {
            let position = offset.checked_add(done as u64);
            let count = match position {
                Some(position) => self.read_at(position, &mut buffer[done..])?,
                None => 0,
            };
            if count == 0 {
                return Err(DecodeError::format(format!(
                    "{} bytes wanted at offset {offset}, the file ends after {}",
                    buffer.len(),
                    self.len()
                )));
            }
            done += count;
        }
        Ok(())
    }
}

impl ByteSource for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.as_slice().len());
        let count = buffer.len().min(self.as_slice().len() - start);
        buffer[..count].copy_from_slice(&self[start..start + count]);
        Ok(count)
    }
}

/// The first bytes of a file, read once by the host and shown to every module.
#[derive(Clone, Copy, Debug)]
pub struct FileHead<'a> {
    /// Up to [`FileHead::MAX_LEN`] bytes from the start of the file.
    pub bytes: &'a [u8],
    /// Size of the whole file in bytes.
    pub file_len: u64,
    /// Extension of the file name in lower case without the dot, empty if there is none. A hint only:
    /// decide by content.
    pub extension: &'a str,
}

impl FileHead<'_> {
    /// How many bytes the host reads for [`FileHead::bytes`].
    pub const MAX_LEN: usize = 4096;
}
