//! A local file as a source of bytes.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use iiphost_plugin_api::{ByteSource, DecodeError};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

thread_local! {
    /// How this thread reads files.
    static READING: Cell<Reading> = const { Cell::new(Reading::Waiting) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// A read waits for the disk if it must.
    Waiting,
    /// A read gives only what the system holds in memory.
    FromMemory,
    /// The same, and some read would have had to wait.
    WouldHaveWaited,
}

/// Runs `work`, which reads files on this thread, without waiting for a disk: `None` if a read would have had
/// to wait, or the file system cannot tell.
///
/// For work so small that handing it to another thread costs more than the work.
pub fn from_memory<T>(work: impl FnOnce() -> T) -> Option<T> {
    /// Undoes the choice whatever `work` does.
    struct Restore(Reading);
    impl Drop for Restore {
        fn drop(&mut self) {
            READING.set(self.0);
        }
    }
    let _restore = Restore(READING.replace(Reading::FromMemory));
    let value = work();
    (READING.get() == Reading::FromMemory).then_some(value)
}

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

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if READING.get() == Reading::Waiting {
            return self.file.read_at(buffer, offset);
        }
        let read = preadv2(
            &self.file,
            &mut [IoSliceMut::new(buffer)],
            offset,
            ReadWriteFlags::NOWAIT,
        );
        if matches!(read, Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS)) {
            READING.set(Reading::WouldHaveWaited);
        }
        Ok(read?)
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
            match self.read(&mut buffer[..wanted], offset) {
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(bytes: &[u8]) -> FileSource {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FileSource::new(file, bytes.len() as u64)
    }

    #[test]
    fn bytes_in_memory_are_read_without_waiting() {
        let source = file_of(b"0123456789");
        let mut buffer = [0; 4];
        match from_memory(|| source.read_at(3, &mut buffer)) {
            Some(count) => assert_eq!((count.unwrap(), &buffer), (4, b"3456")),
            // A file system that cannot tell says so, and the bytes are read as always.
            None => assert_eq!(source.read_at(3, &mut buffer).unwrap(), 4),
        }
        assert_eq!(&buffer, b"3456");
    }

    #[test]
    fn work_that_would_have_waited_has_no_result() {
        let source = file_of(b"0123456789");
        let result = from_memory(|| {
            // What a read that has to wait does.
            READING.set(Reading::WouldHaveWaited);
            let mut buffer = [0; 4];
            source.read_at(0, &mut buffer).is_ok()
        });
        assert_eq!(result, None);
        assert_eq!(READING.get(), Reading::Waiting);
    }

    #[test]
    fn a_panic_does_not_change_how_the_thread_reads() {
        let caught = std::panic::catch_unwind(|| from_memory(|| panic!("at work")));
        assert!(caught.is_err());
        assert_eq!(READING.get(), Reading::Waiting);
    }
}
