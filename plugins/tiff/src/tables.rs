//! Offsets and byte counts of blocks, read in pieces when they are needed.
//!
//! A level of a large image has millions of blocks; reading its tables at open would cost more than the
//! first hundred tiles. A piece of 4 KB holds 512 or 1024 neighbors, and a reader keeps a fixed number of
//! pieces, so memory does not grow with the image.

use std::sync::{PoisonError, RwLock};

use iiphost_plugin_api::{ByteSource, DecodeError};

use crate::ifd::{ByteOrder, Entry, Place, Structure};

/// Bytes of a piece.
const PIECE_BYTES: u64 = 4096;

/// Pieces a reader keeps: 256 KB at most.
const SLOTS: usize = 64;

/// Where a table of offsets or byte counts is.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    place: Place,
    count: u64,
    value_bytes: usize,
    order: ByteOrder,
}

impl Table {
    /// The table that `entry` describes; it must lie in the file, its values are not read.
    pub(crate) fn new(structure: &Structure<'_>, entry: &Entry) -> Result<Self, DecodeError> {
        if !entry.kind.is_unsigned_integer() {
            return Err(DecodeError::format(format!(
                "tag {} has type {}, expected an unsigned integer",
                entry.tag,
                entry.kind.number()
            )));
        }
        if let Place::At(offset) = entry.place {
            let len = entry.byte_len().unwrap_or(u64::MAX);
            structure.check_range(&format!("table of tag {}", entry.tag), offset, len)?;
        }
        Ok(Self {
            place: entry.place,
            count: entry.count,
            value_bytes: entry.kind.bytes(),
            order: structure.header().order,
        })
    }

    /// Number of values.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// The pieces of tables one reader keeps.
pub(crate) struct TableCache {
    slots: [RwLock<Option<Piece>>; SLOTS],
}

impl Default for TableCache {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| RwLock::new(None)),
        }
    }
}

struct Piece {
    /// Offset of its first byte in the file.
    offset: u64,
    bytes: Box<[u8]>,
}

impl TableCache {
    /// Value `idx` of a table.
    ///
    /// No lock is held while the file is read: two threads that miss the same piece both read it.
    pub(crate) fn value(&self, source: &dyn ByteSource, table: &Table, idx: u64) -> Result<u64, DecodeError> {
        if idx >= table.count {
            return Err(DecodeError::format(format!(
                "block {idx} wanted from a table of {}",
                table.count
            )));
        }
        // Below the length of the table, which was found to lie in the file.
        let at = idx * table.value_bytes as u64;
        let start = match table.place {
            Place::Inline(bytes) => {
                let at = at as usize;
                return Ok(table.order.unsigned(&bytes[at..at + table.value_bytes]));
            }
            Place::At(start) => start,
        };
        let piece_start = at - at % PIECE_BYTES;
        let inside = (at - piece_start) as usize;
        let value = |piece: &Piece| {
            let bytes = piece.bytes.get(inside..inside + table.value_bytes)?;
            Some(table.order.unsigned(bytes))
        };
        let offset = start + piece_start;
        let slot = self.slot(offset);
        {
            let kept = slot.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(piece) = kept.as_ref().filter(|piece| piece.offset == offset)
                && let Some(value) = value(piece)
            {
                return Ok(value);
            }
        }
        let rest = table.count * table.value_bytes as u64 - piece_start;
        let mut bytes = vec![0; rest.min(PIECE_BYTES) as usize].into_boxed_slice();
        source.read_exact_at(offset, &mut bytes)?;
        let piece = Piece { offset, bytes };
        let found =
            value(&piece).ok_or_else(|| DecodeError::format(format!("block {idx} is not in its table")))?;
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Some(piece);
        Ok(found)
    }

    /// The slot for the piece at `offset`.
    fn slot(&self, offset: u64) -> &RwLock<Option<Piece>> {
        // Fibonacci hashing: pieces that follow each other go to different slots.
        let hash = (offset / 64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        &self.slots[hash as usize % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd::Header;
    use crate::test_file::Counted;

    fn long8_entry(count: u64, offset: u64) -> Entry {
        let mut field = [0; 20];
        field[..4].copy_from_slice(&[0x44, 1, 16, 0]);
        field[4..12].copy_from_slice(&count.to_le_bytes());
        field[12..].copy_from_slice(&offset.to_le_bytes());
        Entry::parse(&field, ByteOrder::Little, true).unwrap()
    }

    #[test]
    fn neighbors_come_from_one_piece_and_every_value_is_its_own() {
        let mut file = vec![0; 24];
        (0..5000_u64).for_each(|i| file.extend((i * 3).to_le_bytes()));
        let source = Counted::new(file);
        let header = Header::parse(b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0").unwrap();
        let structure = Structure::with_header(&source, header);
        let table = Table::new(&structure, &long8_entry(5000, 24)).unwrap();
        let cache = TableCache::default();
        for i in 0..5000 {
            assert_eq!(cache.value(&source, &table, i).unwrap(), i * 3);
        }
        assert_eq!(source.bytes_read(), 40_000);
        assert!(cache.value(&source, &table, 5000).is_err());
    }

    #[test]
    fn a_table_that_leaves_the_file_is_refused_unread() {
        let file = vec![0; 100];
        let header = Header::parse(b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0").unwrap();
        let structure = Structure::with_header(&file, header);
        for (count, offset) in [(10, 24), (1 << 61, 0), (u64::MAX, 24), (2, u64::MAX)] {
            assert!(Table::new(&structure, &long8_entry(count, offset)).is_err());
        }
        assert!(Table::new(&structure, &long8_entry(9, 28)).is_ok());
    }
}
