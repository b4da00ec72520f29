//! Reading numbers from the file, in order, big-endian, never past an end.

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, DecodeError};

/// Bytes fetched at once: headers are small and lie together.
const WINDOW_BYTES: u64 = 4096;

/// A position in a range of the file, with a window of bytes around it.
pub struct Cursor<'a> {
    source: &'a dyn ByteSource,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of a range; what lies behind the end of the file does not exist for it.
    pub fn new(source: &'a dyn ByteSource, range: Range<u64>) -> Self {
        let end = range.end.min(source.len());
        Self {
            source,
            position: range.start.min(end),
            end,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// Where the next byte comes from, counted from the start of the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes up to the end of the range.
    pub fn left(&self) -> u64 {
        self.end - self.position
    }

    /// Moves to a position, to the end of the range at most.
    pub fn seek(&mut self, position: u64) {
        self.position = position.min(self.end);
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Format` at the end of the range, those of the source.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `len` bytes, once they are known to be there.
    ///
    /// # Errors
    /// `Format` at the end of the range, those of the source.
    pub fn take_vec(&mut self, len: u64) -> Result<Vec<u8>, DecodeError> {
        if len > self.left() {
            return Err(self.ended(len));
        }
        let len = usize::try_from(len).map_err(|_| DecodeError::limit("a header larger than memory"))?;
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// `Format` at the end of the range, those of the source.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// `Format` at the end of the range, those of the source.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// `Format` at the end of the range, those of the source.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let len = bytes.len() as u64;
        if len > self.left() {
            return Err(self.ended(len));
        }
        if len > WINDOW_BYTES {
            self.source.read_exact_at(self.position, bytes)?;
            self.position += len;
            return Ok(());
        }
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start || self.position + len > window_end {
            let size = (self.end - self.position).min(WINDOW_BYTES);
            // At most the constant.
            self.window.resize(size as usize, 0);
            self.window_start = self.position;
            if let Err(error) = self.source.read_exact_at(self.position, &mut self.window) {
                self.window.clear();
                return Err(error);
            }
        }
        // Inside the window by the lines above.
        let from = (self.position - self.window_start) as usize;
        bytes.copy_from_slice(&self.window[from..from + bytes.len()]);
        self.position += len;
        Ok(())
    }

    fn ended(&self, wanted: u64) -> DecodeError {
        DecodeError::format(format!(
            "{wanted} bytes wanted at offset {}, {} left",
            self.position,
            self.left()
        ))
    }
}

/// Numbers from a block already in memory.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes, `None` at the end.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    /// The next byte, `None` at the end.
    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// A big-endian number of 1 to 8 bytes.
    pub fn uint(&mut self, bytes: usize) -> Option<u64> {
        let (head, tail) = self.0.split_at_checked(bytes)?;
        self.0 = tail;
        Some(head.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }
}
