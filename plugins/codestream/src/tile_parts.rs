//! Where the tile-parts of a codestream lie (ISO/IEC 15444-1 A.4).

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};

use crate::bytes::Cursor;
use crate::header::{COC, COD, EOC, MAX_SEGMENTS, Partition, SOD, SOT, Style, component_style};

const PLT: u16 = 0xff58;

/// One tile-part (A.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TilePart {
    /// Number of the tile in the grid, row by row.
    pub(crate) tile: u32,
    /// From its SOT to its end, inside the file.
    pub(crate) range: Range<u64>,
    /// Its own number and how many there are of its tile, as they are stated.
    pub(crate) numbers: [u8; 2],
    /// It says that it is longer.
    pub(crate) is_cut: bool,
}

impl TilePart {
    /// The fewest decompositions and the finest partition its header states, `None` if it states none.
    pub(crate) fn style(
        &self,
        source: &dyn ByteSource,
        component_count: usize,
        ctx: &CallContext<'_>,
    ) -> Result<Option<(u32, Partition)>, DecodeError> {
        let mut cursor = Cursor::new(source, self.range.clone());
        cursor.take::<12>()?;
        let mut least: Option<(u32, Partition)> = None;
        for count in 0..MAX_SEGMENTS {
            if count % 1024 == 1023 {
                ctx.checkpoint()?;
            }
            let marker = cursor.u16()?;
            if marker == SOD {
                break;
            }
            let len = u64::from(cursor.u16()?);
            let next = cursor.position() + len.saturating_sub(2);
            if marker == COD || marker == COC {
                let body = cursor.take_vec(len.saturating_sub(2))?;
                let found = match marker {
                    COD => Style::read(&body).map(|style| (style.decompositions, style.partition)),
                    _ => component_style(&body, component_count),
                };
                least = match (least, found) {
                    (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.finer(&b.1))),
                    (a, b) => a.or(b),
                };
            } else if marker == PLT && least.is_none() {
                // Packet lengths come in many segments, and behind COD where there is one.
                break;
            }
            cursor.seek(next);
        }
        Ok(least)
    }
}

/// Walks from tile-part to tile-part.
pub(crate) struct TileParts<'a> {
    cursor: Cursor<'a>,
}

impl<'a> TileParts<'a> {
    /// From the first SOT on.
    pub(crate) fn new(source: &'a dyn ByteSource, range: Range<u64>) -> Self {
        Self {
            cursor: Cursor::new(source, range),
        }
    }

    /// The next tile-part; `None` at EOC and at the end of the bytes.
    ///
    /// # Errors
    /// `Format` when something else stands where a tile-part should.
    pub(crate) fn next(&mut self) -> Result<Option<TilePart>, DecodeError> {
        let start = self.cursor.position();
        let end = start + self.cursor.left();
        if self.cursor.left() < 12 {
            return Ok(None);
        }
        let marker = self.cursor.u16()?;
        if marker == EOC {
            return Ok(None);
        }
        if marker != SOT || self.cursor.u16()? != 10 {
            return Err(DecodeError::format(format!(
                "no tile-part where one was expected, at offset {start}"
            )));
        }
        let tile = u32::from(self.cursor.u16()?);
        let len = u64::from(self.cursor.u32()?);
        let numbers = self.cursor.take::<2>()?;
        let is_cut = start + len > end;
        // A length of 0 means up to EOC, in the last tile-part only.
        let end = match len {
            0 => end,
            1..=13 => {
                return Err(DecodeError::format(format!(
                    "a tile-part of {len} bytes at offset {start}"
                )));
            }
            len => end.min(start + len),
        };
        self.cursor.seek(end);
        Ok(Some(TilePart {
            tile,
            range: start..end,
            numbers,
            is_cut,
        }))
    }
}
