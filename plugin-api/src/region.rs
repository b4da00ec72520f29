//! Which pixels are wanted.

use crate::error::DecodeError;
use crate::info::{ImageInfo, LevelInfo, PageInfo};

/// A rectangle in whole pixels of one named level, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Region {
    /// A rectangle from its first column and row and its size.
    #[must_use]
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// The column after the last one; wide enough not to overflow.
    #[must_use]
    pub const fn right(&self) -> u64 {
        self.x as u64 + self.width as u64
    }

    /// The row after the last one; wide enough not to overflow.
    #[must_use]
    pub const fn bottom(&self) -> u64 {
        self.y as u64 + self.height as u64
    }

    /// Pixels in the rectangle.
    #[must_use]
    pub const fn pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The part both rectangles share, `None` if there is none.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let x = self.x.max(other.x);
        let y = self.y.max(other.y);
        let right = self.right().min(other.right());
        let bottom = self.bottom().min(other.bottom());
        (right > u64::from(x) && bottom > u64::from(y)).then(|| {
            // Both differences are at most a u32 side of `self`.
            Self::new(
                x,
                y,
                (right - u64::from(x)) as u32,
                (bottom - u64::from(y)) as u32,
            )
        })
    }
}

/// One stored tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileId {
    /// Page of the image.
    pub page: u32,
    /// Level of the page, 0 = full size.
    pub level: u32,
    /// Column of the tile grid.
    pub tile_col: u32,
    /// Row of the tile grid.
    pub tile_row: u32,
}

/// Pixels wanted from a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadRequest {
    /// Page of the image.
    pub page: u32,
    /// Level of the page, 0 = full size.
    pub level: u32,
    /// Rectangle in pixels of that level; it lies inside the level.
    pub region: Region,
    /// Quality layers to decode, 0 = all. Formats without layers ignore it.
    pub quality_layers: u32,
}

impl ReadRequest {
    /// The page and level of the request, once page, level and region are known to exist.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) naming what does not exist.
    pub fn resolve<'a>(&self, info: &'a ImageInfo) -> Result<(&'a PageInfo, &'a LevelInfo), DecodeError> {
        let page = info.pages.get(self.page as usize).ok_or_else(|| {
            DecodeError::usage(format!(
                "page {} wanted, the image has {}",
                self.page,
                info.pages.len()
            ))
        })?;
        let level = page.levels.get(self.level as usize).ok_or_else(|| {
            DecodeError::usage(format!(
                "level {} wanted, page {} has {}",
                self.level,
                self.page,
                page.levels.len()
            ))
        })?;
        let r = &self.region;
        if r.width == 0
            || r.height == 0
            || r.right() > u64::from(level.width)
            || r.bottom() > u64::from(level.height)
        {
            return Err(DecodeError::usage(format!(
                "region {},{} {}x{} wanted, level {} is {}x{}",
                r.x, r.y, r.width, r.height, self.level, level.width, level.height
            )));
        }
        Ok((page, level))
    }
}

/// What a read will cost, for the host's admission: an estimate, not a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Pixels decoded, whole tiles or blocks counted. Where a larger region costs less for each of its pixels,
    /// the host reads neighbors together.
    pub pixels_decoded: u64,
    /// Bytes of memory used besides the caller's buffer.
    pub memory_bytes: u64,
}
