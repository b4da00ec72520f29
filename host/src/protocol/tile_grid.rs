//! Tiles of protocols that fix the sizes of levels by arithmetic, whatever the file holds.

use iiphost_plugin_api::Region;

use crate::image_info::Page;
use crate::limits::Size;
use crate::view::Frame;

/// The side of the square tiles these protocols use: the tile width of the page.
pub(super) fn tile_side(page: &Page) -> u32 {
    page.tile_size.width.max(1)
}

/// Tiles across and down a level of a size.
pub(super) fn grid(page: &Page, level: Size) -> Size {
    let side = tile_side(page);
    Size::new(level.width.div_ceil(side), level.height.div_ceil(side))
}

/// One tile of a level of a size, `None` outside its grid. `reverse` counts columns and rows from the end.
///
/// A level stored at exactly that size is named, so that its own tiles can be handed on.
pub(super) fn tile(page: &Page, level: Size, col: u64, row: u64, reverse: bool) -> Option<Frame> {
    let side = tile_side(page);
    let grid = grid(page, level);
    let col = u32::try_from(col).ok().filter(|col| *col < grid.width)?;
    let row = u32::try_from(row).ok().filter(|row| *row < grid.height)?;
    let (tile_col, tile_row) = if reverse {
        (grid.width - 1 - col, grid.height - 1 - row)
    } else {
        (col, row)
    };
    let stored = page.levels.iter().position(|stored| stored.size == level);
    if let Some(level) = stored.filter(|_| page.tile_size.height == side) {
        return Some(Frame::Tile {
            level,
            tile_col,
            tile_row,
        });
    }
    let (x, y) = (tile_col.checked_mul(side)?, tile_row.checked_mul(side)?);
    Some(Frame::Scaled {
        size: level,
        region: Region {
            x,
            y,
            width: side.min(level.width.checked_sub(x)?),
            height: side.min(level.height.checked_sub(y)?),
        },
    })
}

/// A number of digits only; one that does not fit is larger than every grid.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// A level number: digits, and a fraction that is cut off. IIPMooViewer asks for level `log2(side) - 1`,
/// which is no whole number for a side that is no power of two.
pub(super) fn level_number(text: &str) -> Option<u64> {
    match text.split_once('.') {
        None => digits(text),
        Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) => digits(whole),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_levels_may_have_a_fraction() {
        assert_eq!(digits("007"), Some(7));
        assert_eq!(digits("99999999999999999999999"), Some(u64::MAX));
        for text in ["", "-1", "+1", "1.0", "a", " 1", "0x1", "\u{0661}"] {
            assert_eq!(digits(text), None, "{text}");
        }
        assert_eq!(level_number("6.8923"), Some(6));
        assert_eq!(level_number("6."), Some(6));
        for text in ["", ".", ".5", "-1.5", "1.5e1", "1.2.3"] {
            assert_eq!(level_number(text), None, "{text}");
        }
    }
}
