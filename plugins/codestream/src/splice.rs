//! A codestream put together from pieces of the file: only what a decode needs.
//!
//! The library reads the tile-parts of a codestream one after the other until it has what it wants, and
//! then goes on to the end. Given the main header and the tile-parts of the wanted tiles alone, it reads
//! neither the others nor their headers.

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, DecodeError};

/// One piece.
enum Piece<'a> {
    Memory(&'a [u8]),
    File(Range<u64>),
}

impl Piece<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

/// Pieces of memory and of the file, read as one stream.
pub struct Splice<'a> {
    source: &'a dyn ByteSource,
    /// Start of each piece in the stream, and the piece.
    pieces: Vec<(u64, Piece<'a>)>,
    len: u64,
}

impl<'a> Splice<'a> {
    /// An empty stream over a file.
    pub fn new(source: &'a dyn ByteSource) -> Self {
        Self {
            source,
            pieces: Vec::new(),
            len: 0,
        }
    }

    /// Adds bytes of memory.
    pub fn push_bytes(&mut self, bytes: &'a [u8]) {
        self.push(Piece::Memory(bytes));
    }

    /// Adds bytes of the file; ranges that follow each other become one.
    pub fn push_range(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        if let Some((_, Piece::File(last))) = self.pieces.last_mut()
            && last.end == range.start
        {
            self.len += range.end - range.start;
            last.end = range.end;
            return;
        }
        self.push(Piece::File(range));
    }

    fn push(&mut self, piece: Piece<'a>) {
        let start = self.len;
        // Pieces lie inside a file or in memory, whose sizes are far below 2^63.
        self.len = self.len.saturating_add(piece.len());
        self.pieces.push((start, piece));
    }

    /// Whether the stream has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reads up to `buffer.len()` bytes at `position`, fewer only at the end.
    ///
    /// # Errors
    /// Those of the source.
    pub fn read_at(&self, position: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let mut done = 0;
        let first = self.pieces.partition_point(|(start, _)| *start <= position);
        for (start, piece) in self.pieces.iter().skip(first.saturating_sub(1)) {
            let rest = &mut buffer[done..];
            if rest.is_empty() {
                break;
            }
            let inside = (position + done as u64).saturating_sub(*start);
            let left = piece.len().saturating_sub(inside);
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            if wanted == 0 {
                continue;
            }
            let target = &mut rest[..wanted];
            match piece {
                Piece::Memory(bytes) => {
                    // `inside + wanted` is at most the length of the piece.
                    let from = inside as usize;
                    target.copy_from_slice(&bytes[from..from + wanted]);
                }
                Piece::File(range) => self.source.read_exact_at(range.start + inside, target)?,
            }
            done += wanted;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one_stream_from_any_position() {
        let file: Vec<u8> = (0..100).collect();
        let mut splice = Splice::new(&file);
        splice.push_bytes(&[200, 201, 202]);
        splice.push_range(10..20);
        splice.push_range(20..22);
        splice.push_range(50..50);
        splice.push_range(90..91);
        splice.push_bytes(&[203]);
        let whole: Vec<u8> = [200, 201, 202]
            .into_iter()
            .chain(10..22)
            .chain([90, 203])
            .collect();
        assert_eq!(splice.len(), whole.len() as u64);
        for position in 0..=whole.len() {
            for len in 0..=whole.len() + 2 {
                let mut buffer = vec![0; len];
                let count = splice.read_at(position as u64, &mut buffer).unwrap();
                let expected = &whole[position..whole.len().min(position + len)];
                assert_eq!(&buffer[..count], expected);
            }
        }
    }
}
