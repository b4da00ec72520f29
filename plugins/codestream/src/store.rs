//! What decoders keep for their next calls, in a bounded number of bytes: packet indexes and decoded code-blocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;

use crate::engine::{Coefficients, IndexedTile};

/// Bytes an entry takes beside its contents: its node in the list, its place in the table, the cell and what the
/// allocator adds to each.
const ENTRY_BYTES: usize = 256;

/// A code-block that is decoded by the first who needs it, while others wait; `None` inside if that failed.
pub(crate) type BlockCell = OnceLock<Option<Coefficients>>;

/// Names a block, decoded from so many layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey {
    pub(crate) codestream: u64,
    pub(crate) tile: u32,
    pub(crate) block: u32,
    pub(crate) layers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Tile(u64, u32),
    Block(BlockKey),
}

impl Key {
    fn codestream(&self) -> u64 {
        match self {
            Self::Tile(codestream, _) => *codestream,
            Self::Block(key) => key.codestream,
        }
    }
}

#[derive(Debug)]
enum Entry {
    Tile(Arc<IndexedTile>),
    Block(Arc<BlockCell>),
}

#[derive(Debug)]
struct Entries {
    by_key: LruCache<Key, (Entry, usize)>,
    bytes: usize,
    /// The last index that is larger than all the rest may be: without it every read of its picture would make it anew.
    large: Option<(Key, Arc<IndexedTile>)>,
}

/// Packet indexes and decoded blocks of the codestreams that share it; those used last are kept. One index may be larger
/// than the limit: it was held to the memory of the call that made it.
#[derive(Debug)]
pub struct Store {
    entries: Mutex<Entries>,
    max_bytes: usize,
    next_codestream: AtomicU64,
}

impl Store {
    /// A store of at most so many bytes; with 0 nothing is kept.
    #[must_use]
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(Entries {
                by_key: LruCache::unbounded(),
                bytes: 0,
                large: None,
            }),
            max_bytes,
            next_codestream: AtomicU64::new(0),
        })
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }

    /// A number no other codestream of the store has.
    pub(crate) fn new_codestream(&self) -> u64 {
        self.next_codestream.fetch_add(1, Ordering::Relaxed)
    }

    /// The index of a tile.
    pub(crate) fn tile(&self, codestream: u64, tile: u32) -> Option<Arc<IndexedTile>> {
        let mut entries = self.entries.lock();
        let key = Key::Tile(codestream, tile);
        if let Some((_, large)) = entries.large.as_ref().filter(|(of, _)| *of == key) {
            return Some(large.clone());
        }
        match entries.by_key.get(&key) {
            Some((Entry::Tile(tile), _)) => Some(tile.clone()),
            _ => None,
        }
    }

    /// Keeps the index of a tile.
    pub(crate) fn keep_tile(&self, codestream: u64, number: u32, tile: &Arc<IndexedTile>) {
        let key = Key::Tile(codestream, number);
        let bytes = tile.bytes();
        let mut entries = self.entries.lock();
        if self.max_bytes > 0 && bytes + ENTRY_BYTES > self.max_bytes {
            entries.large = Some((key, tile.clone()));
            return;
        }
        self.keep(&mut entries, key, Entry::Tile(tile.clone()), bytes);
    }

    /// The place of a block with so many bytes of coefficients, decoded or not.
    pub(crate) fn block(&self, key: BlockKey, bytes: usize) -> Arc<BlockCell> {
        let mut entries = self.entries.lock();
        if let Some((Entry::Block(cell), _)) = entries.by_key.get(&Key::Block(key)) {
            return cell.clone();
        }
        let cell = Arc::new(BlockCell::new());
        self.keep(&mut entries, Key::Block(key), Entry::Block(cell.clone()), bytes);
        cell
    }

    /// Drops a block that could not be decoded.
    pub(crate) fn forget_block(&self, key: &BlockKey) {
        let mut entries = self.entries.lock();
        if let Some((_, weight)) = entries.by_key.pop(&Key::Block(*key)) {
            entries.bytes -= weight;
        }
    }

    /// Drops all that belongs to a codestream.
    pub(crate) fn forget(&self, codestream: u64) {
        let mut entries = self.entries.lock();
        entries.large.take_if(|(key, _)| key.codestream() == codestream);
        let of_it: Vec<Key> = entries
            .by_key
            .iter()
            .filter(|(key, _)| key.codestream() == codestream)
            .map(|(key, _)| *key)
            .collect();
        for key in of_it {
            if let Some((_, weight)) = entries.by_key.pop(&key) {
                entries.bytes -= weight;
            }
        }
    }

    fn keep(&self, entries: &mut Entries, key: Key, entry: Entry, bytes: usize) {
        let weight = bytes + ENTRY_BYTES;
        // A block larger than all is not kept: it would only drive everything else out.
        if weight > self.max_bytes {
            return;
        }
        if let Some((_, (_, old))) = entries.by_key.push(key, (entry, weight)) {
            entries.bytes -= old;
        }
        entries.bytes += weight;
        while entries.bytes > self.max_bytes {
            let Some((_, (_, weight))) = entries.by_key.pop_lru() else {
                break;
            };
            entries.bytes -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(codestream: u64, block: u32) -> BlockKey {
        BlockKey {
            codestream,
            tile: 0,
            block,
            layers: 1,
        }
    }

    #[test]
    fn blocks_used_last_are_kept_within_the_limit() {
        let store = Store::new(3 * (1000 + ENTRY_BYTES));
        let cells: Vec<_> = (0..3).map(|block| store.block(key(0, block), 1000)).collect();
        assert!(Arc::ptr_eq(&cells[0], &store.block(key(0, 0), 1000)));
        let _ = store.block(key(0, 3), 1000);
        assert_eq!(store.bytes(), 3 * (1000 + ENTRY_BYTES));
        assert!(
            Arc::ptr_eq(&cells[0], &store.block(key(0, 0), 1000)),
            "used again"
        );
        assert!(
            !Arc::ptr_eq(&cells[1], &store.block(key(0, 1), 1000)),
            "used longest ago"
        );
    }

    #[test]
    fn what_belongs_to_a_codestream_goes_with_it() {
        let store = Store::new(1 << 20);
        let (_, other) = (store.block(key(0, 0), 10), store.block(key(1, 0), 20));
        store.forget(0);
        assert_eq!(store.bytes(), 20 + ENTRY_BYTES);
        assert!(Arc::ptr_eq(&other, &store.block(key(1, 0), 20)));
        store.forget_block(&key(1, 0));
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let store = Store::new(0);
        let first = store.block(key(0, 0), 10);
        assert!(!Arc::ptr_eq(&first, &store.block(key(0, 0), 10)));
        assert_eq!(store.bytes(), 0);
    }
}
