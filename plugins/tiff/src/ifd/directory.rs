//! One image file directory.

use super::entry::Entry;

/// A directory: its entries and where the next one is.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    offset: u64,
    entries: Vec<Entry>,
    next: u64,
}

impl Directory {
    /// A directory from what was read at `offset`.
    pub(crate) fn new(offset: u64, entries: Vec<Entry>, next: u64) -> Self {
        Self {
            offset,
            entries,
            next,
        }
    }

    /// Where it is in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset of the next directory, 0 at the end of the chain.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// All entries of known type in the order of the file.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first entry with this tag.
    pub(crate) fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }
}
