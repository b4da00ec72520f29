//! Where the tile-parts of each tile lie, found once for an image with several tiles.

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};

use crate::tile_parts::{TilePart, TileParts};

/// Tile-parts indexed: a codestream with more is read from its start each time.
const MAX_PARTS: usize = 1 << 20;

/// Tile-parts looked at between two looks at the clock.
const PARTS_PER_CHECK: usize = 1024;

/// The tile-parts of a codestream, by tile.
#[derive(Debug)]
pub(crate) struct TileIndex {
    /// Sorted by tile; within a tile in the order of the file.
    parts: Vec<(u32, Range<u64>)>,
    /// Why the walk ended before the codestream did.
    pub(crate) broken: Option<String>,
    /// The last tile-part, if it says that it is longer than the codestream.
    pub(crate) cut: Option<CutPart>,
}

/// A tile-part of which the end is missing.
#[derive(Debug)]
pub(crate) struct CutPart {
    /// Where it starts.
    pub(crate) start: u64,
    /// Its SOT segment with the length it really has.
    pub(crate) header: [u8; 12],
}

impl CutPart {
    /// The tile it belongs to.
    pub(crate) fn tile(&self) -> u32 {
        u32::from(u16::from_be_bytes([self.header[4], self.header[5]]))
    }

    fn new(part: &TilePart) -> Option<Self> {
        let len = u32::try_from(part.range.end - part.range.start).ok()?;
        // Tiles have numbers below 2^16.
        let tile = (part.tile as u16).to_be_bytes();
        let [a, b, c, d] = len.to_be_bytes();
        let header = [
            0xff,
            0x90,
            0,
            10,
            tile[0],
            tile[1],
            a,
            b,
            c,
            d,
            part.numbers[0],
            part.numbers[1],
        ];
        let start = part.range.start;
        part.is_cut.then_some(Self { start, header })
    }
}

impl TileIndex {
    /// Walks through a codestream; `None` if it has too many tile-parts to index.
    ///
    /// # Errors
    /// `Cancelled` and `DeadlineExceeded`; what is wrong with the codestream is in [`Self::broken`].
    pub(crate) fn build(
        source: &dyn ByteSource,
        tile_parts: Range<u64>,
        ctx: &CallContext<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        let mut walk = TileParts::new(source, tile_parts);
        let mut parts = Vec::new();
        let mut cut = None;
        let broken = loop {
            if parts.len() % PARTS_PER_CHECK == 0 {
                ctx.checkpoint()?;
            }
            match walk.next() {
                Ok(Some(part)) => {
                    cut = CutPart::new(&part);
                    parts.push((part.tile, part.range));
                }
                Ok(None) => break None,
                Err(error) => break Some(error.message().to_owned()),
            }
            if parts.len() > MAX_PARTS {
                return Ok(None);
            }
        };
        // Stable, so parts of one tile stay in order.
        parts.sort_by_key(|(tile, _)| *tile);
        parts.shrink_to_fit();
        Ok(Some(Self { parts, broken, cut }))
    }

    /// The tile-parts of a tile, in the order of the file.
    pub(crate) fn parts(&self, tile: u32) -> impl Iterator<Item = Range<u64>> {
        let first = self.parts.partition_point(|(t, _)| *t < tile);
        let rest = self.parts.iter().skip(first);
        rest.take_while(move |(t, _)| *t == tile)
            .map(|(_, range)| range.clone())
    }

    /// Whether there is no tile-part at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
