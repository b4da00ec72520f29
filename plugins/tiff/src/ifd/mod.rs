//! The structure of a TIFF file: header, directories, entries.
//!
//! Reads through positional reads with a small window and never trusts a number: every offset and count
//! is checked against the size of the file before it is used. Pixel data is not touched here.

mod directory;
mod entry;
mod header;
pub(crate) mod tag;

pub(crate) use directory::Directory;
pub(crate) use entry::{Entry, Kind, Place};
pub(crate) use header::{ByteOrder, Header};

use iiphost_plugin_api::{ByteSource, DecodeError};

/// Bytes fetched at once while directories are read. A directory with its short values mostly fits one
/// window, and a dozen levels stay far below 100 KB.
const WINDOW: usize = 2048;

/// Entries a directory may have. Real ones have under a hundred.
const MAX_ENTRIES: u64 = 4096;

/// A file whose directories are being read.
pub(crate) struct Structure<'a> {
    source: &'a dyn ByteSource,
    header: Header,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Structure<'a> {
    /// Reads the header.
    pub(crate) fn new(source: &'a dyn ByteSource) -> Result<Self, DecodeError> {
        let mut head = [0; Header::MAX_LEN];
        let mut filled = 0;
        while filled < head.len() {
            match source.read_at(filled as u64, &mut head[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(Self::with_header(source, Header::parse(&head[..filled])?))
    }

    /// Goes on with a file whose header is known.
    pub(crate) fn with_header(source: &'a dyn ByteSource, header: Header) -> Self {
        Self {
            source,
            header,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// The header of the file.
    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// Size of the file in bytes.
    pub(crate) fn file_len(&self) -> u64 {
        self.source.len()
    }

    /// Fails if `len` bytes at `offset` do not lie in the file.
    pub(crate) fn check_range(&self, what: &str, offset: u64, len: u64) -> Result<(), DecodeError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.file_len() => Ok(()),
            _ => Err(DecodeError::format(format!(
                "{what}: {len} bytes at offset {offset}, the file has {}",
                self.file_len()
            ))),
        }
    }

    /// `len` bytes at `offset`; `what` names them in an error.
    pub(crate) fn bytes(&mut self, what: &str, offset: u64, len: usize) -> Result<&[u8], DecodeError> {
        self.check_range(what, offset, len as u64)?;
        let inside = offset
            .checked_sub(self.window_start)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.saturating_add(len) <= self.window.len());
        let skip = match inside {
            Some(skip) => skip,
            None => {
                let rest = usize::try_from(self.file_len() - offset).unwrap_or(usize::MAX);
                self.window.clear();
                self.window.resize(len.max(WINDOW.min(rest)), 0);
                self.window_start = offset;
                if let Err(error) = self.source.read_exact_at(offset, &mut self.window) {
                    self.window.clear();
                    return Err(error);
                }
                0
            }
        };
        Ok(&self.window[skip..skip + len])
    }

    /// The directory at `offset` (TIFF 6.0 section 2; BigTIFF has 64-bit counts and offsets).
    pub(crate) fn directory(&mut self, offset: u64) -> Result<Directory, DecodeError> {
        let order = self.header.order;
        let big = self.header.big;
        let what = "directory";
        let (count, count_len) = if big {
            (order.u64(self.bytes(what, offset, 8)?), 8)
        } else {
            (u64::from(order.u16(self.bytes(what, offset, 2)?)), 2)
        };
        if count == 0 || count > MAX_ENTRIES {
            return Err(DecodeError::format(format!(
                "directory at offset {offset} has {count} entries, expected 1 to {MAX_ENTRIES}"
            )));
        }
        let entry_len = if big { 20 } else { 12 };
        let next_len = if big { 8 } else { 4 };
        // At most 4096 * 20 bytes.
        let body_len = count as usize * entry_len;
        let start = offset + count_len;
        let bytes = self.bytes(what, start, body_len)?;
        let mut entries = Vec::with_capacity(count as usize);
        for field in bytes.chunks_exact(entry_len) {
            if let Some(entry) = Entry::parse(field, order, big) {
                entries.push(entry);
            }
        }
        let next_at = start + body_len as u64;
        // A file that ends right behind its last directory has no next one.
        let next = match self.bytes(what, next_at, next_len) {
            Ok(bytes) if big => order.u64(bytes),
            Ok(bytes) => u64::from(order.u32(bytes)),
            Err(_) => 0,
        };
        Ok(Directory::new(offset, entries, next))
    }

    /// All bytes of an entry's values, in the order of the file, at most `max_len`.
    pub(crate) fn raw_values(&mut self, entry: &Entry, max_len: u64) -> Result<Vec<u8>, DecodeError> {
        let len = entry.byte_len().filter(|&len| len <= max_len).ok_or_else(|| {
            DecodeError::format(format!(
                "tag {} has {} values of {} bytes, at most {max_len} bytes expected",
                entry.tag,
                entry.count,
                entry.kind.bytes()
            ))
        })?;
        match entry.place {
            Place::Inline(bytes) => Ok(bytes.iter().copied().take(len as usize).collect()),
            Place::At(offset) => {
                let what = format!("tag {}", entry.tag);
                self.check_range(&what, offset, len)?;
                let len = usize::try_from(len)
                    .map_err(|_| DecodeError::limit(format!("tag {} is larger than memory", entry.tag)))?;
                if len <= WINDOW {
                    return Ok(self.bytes(&what, offset, len)?.to_vec());
                }
                let mut bytes = vec![0; len];
                self.source.read_exact_at(offset, &mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The values of a whole-number entry, at most `max_count` of them.
    pub(crate) fn integers(&mut self, entry: &Entry, max_count: u64) -> Result<Vec<u64>, DecodeError> {
        if !entry.kind.is_unsigned_integer() {
            return Err(DecodeError::format(format!(
                "tag {} has type {}, expected an unsigned integer",
                entry.tag,
                entry.kind.number()
            )));
        }
        let size = entry.kind.bytes();
        let bytes = self.raw_values(entry, max_count.saturating_mul(size as u64))?;
        let order = self.header.order;
        Ok(bytes.chunks_exact(size).map(|b| order.unsigned(b)).collect())
    }

    /// The values of a numeric entry of any type as floating point, at most `max_count` of them.
    pub(crate) fn numbers(&mut self, entry: &Entry, max_count: u64) -> Result<Vec<f64>, DecodeError> {
        let size = entry.kind.bytes();
        let bytes = self.raw_values(entry, max_count.saturating_mul(size as u64))?;
        let order = self.header.order;
        let kind = entry.kind;
        Ok(bytes
            .chunks_exact(size)
            .map(|b| kind.number_from(b, order))
            .collect())
    }

    /// The first value of a whole-number tag, `None` if the tag is absent or empty.
    pub(crate) fn integer(&mut self, directory: &Directory, tag: u16) -> Result<Option<u64>, DecodeError> {
        let Some(entry) = directory.find(tag) else {
            return Ok(None);
        };
        let first = Entry {
            count: entry.count.min(1),
            ..*entry
        };
        Ok(self.integers(&first, 1)?.first().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(entries: &[[u8; 12]], next: u32) -> Vec<u8> {
        let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
        file.extend((entries.len() as u16).to_le_bytes());
        entries.iter().for_each(|e| file.extend(e));
        file.extend(next.to_le_bytes());
        file
    }

    #[test]
    fn short_values_inside_the_entry_are_read_in_file_order() {
        let file = classic(&[[0, 1, 3, 0, 2, 0, 0, 0, 7, 0, 9, 0]], 0);
        let mut structure = Structure::new(&file).unwrap();
        let directory = structure.directory(8).unwrap();
        let entry = directory.find(256).unwrap();
        assert_eq!(structure.integers(entry, 2).unwrap(), [7, 9]);
        assert!(structure.integers(entry, 1).is_err());
    }

    #[test]
    fn values_past_the_end_are_a_format_error_before_any_allocation() {
        let file = classic(&[[0, 1, 4, 0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0x40]], 0);
        let mut structure = Structure::new(&file).unwrap();
        let directory = structure.directory(8).unwrap();
        let error = structure
            .integers(directory.find(256).unwrap(), u64::MAX)
            .unwrap_err();
        assert_eq!(error.kind(), iiphost_plugin_api::ErrorKind::Format);
    }

    #[test]
    fn a_directory_outside_the_file_is_a_format_error() {
        let file = classic(&[], 0);
        let mut structure = Structure::new(&file).unwrap();
        for offset in [8, 9, 13, 14, 1 << 40, u64::MAX, u64::MAX - 1] {
            assert!(structure.directory(offset).is_err(), "offset {offset}");
        }
    }

    #[test]
    fn a_missing_next_pointer_ends_the_chain() {
        let mut file = classic(&[[0, 1, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0]], 0xffff);
        file.truncate(file.len() - 4);
        assert_eq!(Structure::new(&file).unwrap().directory(8).unwrap().next(), 0);
    }
}
