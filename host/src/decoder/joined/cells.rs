//! Rectangles of the tile grid of a level.

use std::ops::Range;

use iiphost_plugin_api::Region;

use crate::limits::Size;

/// A level cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Size of the level in pixels.
    pub(super) level: Size,
    /// Size of a tile in pixels, both sides at least 1.
    pub(super) tile: Size,
}

/// A rectangle of tiles, half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    cols: Range<u32>,
    rows: Range<u32>,
}

impl Cells {
    /// The tiles a region touches.
    pub(super) fn covering(region: &Region, grid: &Grid) -> Self {
        let along = |start: u32, end: u64, tile: u32| {
            let last = end.div_ceil(u64::from(tile));
            start / tile..u32::try_from(last).unwrap_or(u32::MAX)
        };
        Self {
            cols: along(region.x, region.right(), grid.tile.width),
            rows: along(region.y, region.bottom(), grid.tile.height),
        }
    }

    /// The smallest rectangle that holds both.
    pub(super) fn with(&self, other: &Self) -> Self {
        let both = |a: &Range<u32>, b: &Range<u32>| a.start.min(b.start)..a.end.max(b.end);
        Self {
            cols: both(&self.cols, &other.cols),
            rows: both(&self.rows, &other.rows),
        }
    }

    /// Grown to whole blocks of `block × block` tiles, as far as the level reaches.
    pub(super) fn grown(&self, block: u32, grid: &Grid) -> Self {
        let block = block.max(1);
        let along = |cells: &Range<u32>, side: u32, tile: u32| {
            let end = cells.end.div_ceil(block).saturating_mul(block);
            cells.start / block * block..end.min(side.div_ceil(tile))
        };
        Self {
            cols: along(&self.cols, grid.level.width, grid.tile.width),
            rows: along(&self.rows, grid.level.height, grid.tile.height),
        }
    }

    /// Their pixels, inside the level.
    pub(super) fn region(&self, grid: &Grid) -> Region {
        let along = |cells: &Range<u32>, side: u32, tile: u32| {
            let start = cells.start.saturating_mul(tile).min(side);
            (start, cells.end.saturating_mul(tile).min(side) - start)
        };
        let (x, width) = along(&self.cols, grid.level.width, grid.tile.width);
        let (y, height) = along(&self.rows, grid.level.height, grid.tile.height);
        Region::new(x, y, width, height)
    }

    /// How many they are.
    pub(super) fn count(&self) -> u64 {
        self.cols.len() as u64 * self.rows.len() as u64
    }

    /// Whether all of `other` is among them.
    pub(super) fn contains(&self, other: &Self) -> bool {
        let inside = |a: &Range<u32>, b: &Range<u32>| a.start <= b.start && b.end <= a.end;
        inside(&self.cols, &other.cols) && inside(&self.rows, &other.rows)
    }

    /// Whether they share a tile.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let both = |a: &Range<u32>, b: &Range<u32>| a.start < b.end && b.start < a.end;
        both(&self.cols, &other.cols) && both(&self.rows, &other.rows)
    }

    /// Whether both are not the same and at most `gap` tiles apart.
    pub(super) fn is_near(&self, other: &Self, gap: u32) -> bool {
        let near = |a: &Range<u32>, b: &Range<u32>| {
            a.start <= b.end.saturating_add(gap) && b.start <= a.end.saturating_add(gap)
        };
        self != other && near(&self.cols, &other.cols) && near(&self.rows, &other.rows)
    }

    /// Each tile by itself, row by row.
    pub(super) fn iter(&self) -> impl Iterator<Item = Self> + use<> {
        let cols = self.cols.clone();
        self.rows.clone().flat_map(move |row| {
            cols.clone().map(move |col| Self {
                cols: col..col.saturating_add(1),
                rows: row..row.saturating_add(1),
            })
        })
    }

    /// Column and row of the first tile.
    pub(super) fn corner(&self) -> (u32, u32) {
        (self.cols.start, self.rows.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid {
        level: Size::new(1000, 700),
        tile: Size::new(256, 128),
    };

    proptest! {
        #[test]
        fn tiles_cover_their_region_and_stay_inside_the_level(
            x in 0u32..1000, y in 0u32..700, w in 1u32..1000, h in 1u32..700, block in 1u32..6,
        ) {
            let region = Region::new(x, y, w.min(1000 - x), h.min(700 - y));
            let cells = Cells::covering(&region, &GRID);
            prop_assert_eq!(cells.region(&GRID).intersection(&region), Some(region));
            let grown = cells.grown(block, &GRID);
            prop_assert!(grown.contains(&cells) && grown.overlaps(&cells));
            prop_assert_eq!(grown.iter().count() as u64, grown.count());
            let pixels: u64 = grown.iter().map(|cell| cell.region(&GRID).pixels()).sum();
            prop_assert_eq!(pixels, grown.region(&GRID).pixels());
            prop_assert!(grown.region(&GRID).right() <= 1000 && grown.region(&GRID).bottom() <= 700);
        }
    }
}
