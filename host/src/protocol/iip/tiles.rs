//! Tile numbers of the wire: `JTL` and its relatives, and the framing of `TIL`.

use crate::error::Error;
use crate::image_info::Page;
use crate::server::Response;

use super::argument::Argument;

/// Most tiles one `TIL` may ask for.
const MAX_TILES: u64 = 1024;

/// A level by the number that counts from the smallest one, or 404.
pub(super) fn level(page: &Page, resolution: i32) -> Result<usize, Error> {
    usize::try_from(resolution)
        .ok()
        .and_then(|resolution| page.levels.len().checked_sub(1)?.checked_sub(resolution))
        .ok_or_else(|| {
            Error::not_found(format!(
                "no resolution {resolution}, the image has {}",
                page.levels.len()
            ))
        })
}

/// Resolution and tile as a client numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileNumber {
    /// The level, counted from the smallest.
    pub(super) resolution: i32,
    /// The tile, counted by rows.
    pub(super) tile: i32,
}

impl TileNumber {
    /// `resolution,tile`; one number stands for both, and what follows a second comma for nothing.
    pub(super) fn parse(argument: Argument<'_>) -> Result<Self, Error> {
        let (first, rest) = argument.split(b',');
        let resolution = first.integer()?;
        let tile = match rest {
            Some(rest) => rest.split(b',').0.integer()?,
            None => resolution,
        };
        Ok(Self { resolution, tile })
    }

    /// Where the tile lies, counted from the last one if `reversed`; 404 if there is none.
    pub(super) fn locate(self, page: &Page, reversed: bool) -> Result<Place, Error> {
        let level = level(page, self.resolution)?;
        let grid = page.tile_grid(level);
        let count = grid.pixels();
        u64::try_from(self.tile)
            .ok()
            .filter(|tile| *tile < count)
            .map(|tile| if reversed { count - 1 - tile } else { tile })
            .and_then(|tile| {
                let across = u64::from(grid.width);
                Some(Place {
                    level,
                    tile_col: u32::try_from(tile % across).ok()?,
                    tile_row: u32::try_from(tile / across).ok()?,
                })
            })
            .ok_or_else(|| {
                Error::not_found(format!(
                    "no tile {}, resolution {} has {count}",
                    self.tile, self.resolution
                ))
            })
    }
}

/// A tile of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Level, 0 = full size.
    pub(super) level: usize,
    /// Column of the grid.
    pub(super) tile_col: u32,
    /// Row of the grid.
    pub(super) tile_row: u32,
}

/// What `TIL` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Level, 0 = full size.
    pub(super) level: usize,
    /// The level as the client numbers it.
    pub(super) resolution: u32,
    /// Wire number, column and row in the order sent.
    pub(super) tiles: Vec<(u32, u32, u32)>,
}

impl Range {
    /// `resolution,first[-last]`: the rectangle that two tiles span, column by column.
    pub(super) fn parse(argument: Argument<'_>, page: &Page) -> Result<Self, Error> {
        let (resolution, numbers) = argument.split(b',');
        let resolution = resolution.integer()?;
        let (first, last) = match numbers {
            None => (resolution, resolution),
            Some(numbers) => range(numbers)?,
        };
        let place = |tile| TileNumber { resolution, tile }.locate(page, false);
        let (a, b) = (place(first)?, place(last.max(first))?);
        let columns = a.tile_col.min(b.tile_col)..=a.tile_col.max(b.tile_col);
        let rows = a.tile_row..=b.tile_row;
        let span = |from: u32, to: u32| u64::from(from.abs_diff(to)) + 1;
        let count = span(a.tile_col, b.tile_col).saturating_mul(span(a.tile_row, b.tile_row));
        if count > MAX_TILES {
            return Err(argument.error(format_args!("{count} tiles asked for, the limit is {MAX_TILES}")));
        }
        let across = u64::from(page.tile_grid(a.level).width);
        let tiles = columns
            .flat_map(|column| rows.clone().map(move |row| (column, row)))
            .map(|(column, row)| {
                let number = u64::from(row) * across + u64::from(column);
                // At most the number of the last tile, which was an i32.
                Ok((
                    u32::try_from(number).map_err(|_| argument.error("tile out of range"))?,
                    column,
                    row,
                ))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            level: a.level,
            resolution: u32::try_from(resolution).map_err(|_| argument.error("resolution out of range"))?,
            tiles,
        })
    }
}

/// First and last tile of `first-last`; a missing first is 0, a missing last the first.
fn range(argument: Argument<'_>) -> Result<(i32, i32), Error> {
    let (first, last) = argument.split(b'-');
    let first = if first.text.is_empty() {
        0
    } else {
        first.integer()?
    };
    let last = match last {
        Some(last) if !last.text.is_empty() => last.integer()?,
        _ => first,
    };
    Ok((first, last))
}

/// How the data of a framed tile is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramedCoding {
    /// A JPEG file.
    Jpeg,
    /// Samples of 16 bits, interleaved.
    Samples16,
    /// Samples of 32 bits, interleaved.
    Samples32,
}

/// Appends a tile in the framing of `TIL`: a line of text up to its colon, compression type and subtype of
/// four bytes each, the data, CR LF. The length in the line counts the eight bytes of the types.
pub fn push_framed_tile(body: &mut Vec<u8>, resolution: u32, tile: u32, coding: FramedCoding, data: &[u8]) {
    let compression: u8 = match coding {
        FramedCoding::Jpeg => 2,
        FramedCoding::Samples16 => 3,
        FramedCoding::Samples32 => 0,
    };
    let len = data.len().saturating_add(8);
    body.extend_from_slice(format!("Tile,{resolution},{tile},0/{len}:").as_bytes());
    body.extend_from_slice(&[compression, 0, 0, 0]);
    body.extend_from_slice(&[0, 0x11, 0, 0]);
    body.extend_from_slice(data);
    body.extend_from_slice(b"\r\n");
}

/// The reply made of framed tiles.
#[must_use]
pub fn framed_reply(body: Vec<u8>) -> Response {
    Response::new(200)
        .with("Content-Type", super::MEDIA_TYPE)
        .body(body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::iip::testing;

    fn argument(text: &str) -> Argument<'_> {
        Argument {
            command: "TIL",
            text: text.as_bytes(),
        }
    }

    #[test]
    fn a_tile_is_named_by_resolution_and_number() {
        for (text, expected) in [
            ("2,5", Some((2, 5))),
            ("1", Some((1, 1))),
            ("2,5,9,x", Some((2, 5))),
            (" 2 , 5 ", Some((2, 5))),
            ("2.9,5.9", Some((2, 5))),
            ("-1,-2", Some((-1, -2))),
            ("2,", None),
            (",2", None),
            ("JTL", None),
            ("2;5", None),
            ("2,99999999999", None),
        ] {
            let parsed = TileNumber::parse(argument(text)).ok();
            assert_eq!(parsed.map(|n| (n.resolution, n.tile)), expected, "{text}");
        }
    }

    #[test]
    fn tiles_outside_the_image_are_not_found() {
        let page = testing::page(1000, 700, 3);
        for (resolution, tile) in [(3, 0), (-1, 0), (2, 12), (2, -1), (0, 1), (i32::MIN, i32::MAX)] {
            let error = TileNumber { resolution, tile }.locate(&page, false).unwrap_err();
            assert_eq!(error.status(), 404, "{resolution},{tile}");
        }
    }

    #[test]
    fn reversed_numbers_count_from_the_last_tile() {
        let page = testing::page(1000, 700, 3);
        let place = |tile| TileNumber { resolution: 2, tile }.locate(&page, true).unwrap();
        assert_eq!(
            place(0),
            Place {
                level: 0,
                tile_col: 3,
                tile_row: 2
            }
        );
        assert_eq!(
            place(11),
            Place {
                level: 0,
                tile_col: 0,
                tile_row: 0
            }
        );
        assert_eq!(
            TileNumber {
                resolution: 2,
                tile: 12
            }
            .locate(&page, true)
            .unwrap_err()
            .status(),
            404
        );
    }

    #[test]
    fn a_range_is_a_rectangle_sent_column_by_column() {
        let page = testing::page(1000, 700, 3);
        for (text, tiles) in [
            ("2,0-5", &[0, 4, 1, 5][..]),
            ("2,1-4", &[0, 4, 1, 5]),
            ("2,0-11", &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
            ("2,2-", &[2]),
            ("2,-3", &[0, 1, 2, 3]),
            ("2,5-1", &[5]),
            ("2,5--3", &[5]),
            ("2,7", &[7]),
            ("1", &[1]),
            ("2,-", &[0]),
            ("0,0", &[0]),
        ] {
            let range = Range::parse(argument(text), &page).unwrap();
            let numbers: Vec<u32> = range.tiles.iter().map(|t| t.0).collect();
            assert_eq!(numbers, tiles, "{text}");
            assert_eq!(range.level, 2 - range.resolution as usize);
        }
        for (text, status) in [
            ("3,0", 404),
            ("2,12", 404),
            ("2,0-12", 404),
            ("-1,0", 404),
            ("2,x", 400),
            ("x", 400),
        ] {
            assert_eq!(
                Range::parse(argument(text), &page).unwrap_err().status(),
                status,
                "{text}"
            );
        }
    }

    #[test]
    fn too_many_tiles_are_refused_by_name() {
        let page = testing::page(100_000, 100_000, 3);
        let error = Range::parse(argument("2,0-152880"), &page).unwrap_err();
        assert_eq!(error.status(), 400);
        assert_eq!(
            error.public_message(),
            "TIL: 152881 tiles asked for, the limit is 1024"
        );
    }

    #[test]
    fn framing_counts_the_types_and_the_data() {
        let mut body = Vec::new();
        push_framed_tile(&mut body, 0, 7, FramedCoding::Jpeg, b"JPEG");
        push_framed_tile(&mut body, 2, 8, FramedCoding::Samples16, b"");
        push_framed_tile(&mut body, 2, 9, FramedCoding::Samples32, b"\r\n");
        assert_eq!(
            body,
            b"Tile,0,7,0/12:\x02\0\0\0\0\x11\0\0JPEG\r\n\
              Tile,2,8,0/8:\x03\0\0\0\0\x11\0\0\r\n\
              Tile,2,9,0/10:\0\0\0\0\0\x11\0\0\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn every_tile_of_a_level_is_named_once(width in 1u32..3000, height in 1u32..3000, levels in 1usize..5) {
            let page = testing::page(width, height, levels);
            for resolution in 0..levels as i32 {
                let grid = page.tile_grid(levels - 1 - resolution as usize);
                let mut places = Vec::new();
                for tile in 0..grid.pixels() as i32 {
                    let place = TileNumber { resolution, tile }.locate(&page, false).unwrap();
                    prop_assert!(place.tile_col < grid.width && place.tile_row < grid.height);
                    places.push((place.tile_row, place.tile_col));
                }
                prop_assert!(places.is_sorted());
                places.dedup();
                prop_assert_eq!(places.len() as u64, grid.pixels());
            }
        }
    }
}
