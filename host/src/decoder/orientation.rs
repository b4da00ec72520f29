//! Orientation (TIFF 6.0 and EXIF 2.3 section 4.6.4, tag 274): how a stored picture is turned.

use iiphost_plugin_api::Region;

/// Which side of the upright picture the first row and column of the stored one are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Rows of the picture are stored as columns.
    swapped: bool,
    /// The first stored column (row if swapped) is on the right.
    mirrored: bool,
    /// The first stored row (column if swapped) is at the bottom.
    flipped: bool,
}

impl Orientation {
    /// As stored.
    pub(super) const UPRIGHT: Self = Self {
        swapped: false,
        mirrored: false,
        flipped: false,
    };

    /// The orientation of a tag value; one that means nothing turns nothing.
    pub(super) fn from_tag(value: u16) -> Self {
        let (swapped, mirrored, flipped) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self {
            swapped,
            mirrored,
            flipped,
        }
    }

    /// Width and height of the upright picture.
    pub(super) fn size<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.swapped {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// The stored pixels of a region of the upright picture; `size` is that of the upright one.
    pub(super) fn stored(self, region: Region, size: (u32, u32)) -> Region {
        let x = if self.mirrored {
            size.0 - region.x - region.width
        } else {
            region.x
        };
        let y = if self.flipped {
            size.1 - region.y - region.height
        } else {
            region.y
        };
        if self.swapped {
            Region::new(y, x, region.height, region.width)
        } else {
            Region::new(x, y, region.width, region.height)
        }
    }

    /// Where a stored pixel of a region goes; `size` is that of the upright region.
    #[inline]
    pub(super) fn place(self, (col, row): (u32, u32), size: (u32, u32)) -> (u32, u32) {
        let (x, y) = if self.swapped { (row, col) } else { (col, row) };
        (
            if self.mirrored { size.0 - 1 - x } else { x },
            if self.flipped { size.1 - 1 - y } else { y },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_stored_row_and_column_are_where_the_tag_says() {
        // By value: the corner of the upright picture where the first stored pixel is, and where the second is.
        let size = (3, 2);
        for (value, first, second) in [
            (1, (0, 0), (1, 0)),
            (2, (2, 0), (1, 0)),
            (3, (2, 1), (1, 1)),
            (4, (0, 1), (1, 1)),
            (5, (0, 0), (0, 1)),
            (6, (2, 0), (2, 1)),
            (7, (2, 1), (2, 0)),
            (8, (0, 1), (0, 0)),
        ] {
            let orientation = Orientation::from_tag(value);
            assert_eq!(orientation.place((0, 0), size), first, "{value}");
            assert_eq!(orientation.place((1, 0), size), second, "{value}");
        }
        assert_eq!(Orientation::from_tag(9), Orientation::UPRIGHT);
    }

    proptest! {
        #[test]
        fn a_region_turned_has_the_pixels_of_the_turned_picture(
            value in 1u16..=8, width in 1u32..20, height in 1u32..20, cut in any::<[u8; 4]>(),
        ) {
            let orientation = Orientation::from_tag(value);
            let size = orientation.size((width, height));
            let (x, y) = (u32::from(cut[0]) % size.0, u32::from(cut[1]) % size.1);
            let region =
                Region::new(x, y, 1 + u32::from(cut[2]) % (size.0 - x), 1 + u32::from(cut[3]) % (size.1 - y));
            let stored = orientation.stored(region, size);
            for row in 0..stored.height {
                for col in 0..stored.width {
                    let whole = orientation.place((stored.x + col, stored.y + row), size);
                    let part = orientation.place((col, row), (region.width, region.height));
                    prop_assert_eq!(whole, (region.x + part.0, region.y + part.1));
                }
            }
        }
    }
}
