//! One eighth of the size and below.
//!
//! A tile of these levels covers so much of the file that a viewer's few tiles cost its decoding several times over.
//! So the level of one eighth is decoded once as a whole and kept, and the smaller ones are averages of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iiphost_plugin_api::{DecodeError, ReadContext, Region};

use super::levels;
use crate::average::Averager;
use crate::codec::TakeRow;
use crate::kept::{Kept, Room};
use crate::picture::MAX_HALVINGS;

/// The largest level kept: one eighth of a picture of 26,000 x 26,000 colors.
const MAX_KEPT_BYTES: u64 = 32 << 20;

/// Regions are decoded by themselves until they make this part of the level together: a tile of a large picture
/// does not wait for all of it.
const PART_BEFORE_WHOLE: u64 = 8;

/// Gives the rows of a region of the level [`MAX_HALVINGS`].
type Eighth<'a> = dyn Fn(Region, &mut TakeRow<'_>) -> Result<(), DecodeError> + 'a;

/// The small levels of a picture.
pub(super) struct Small {
    full: (u32, u32),
    bands: u32,
    /// The level kept: [`MAX_HALVINGS`], or the next one that is small enough.
    base: u32,
    kept: Kept<Vec<u8>>,
    /// Pixels of the base that were decoded without keeping them.
    decoded: AtomicU64,
}

impl Small {
    /// The small levels of a picture of `full` width and height.
    pub(super) fn new(full: (u32, u32), bands: u32, room: &Arc<Room>) -> Self {
        let mut small = Self {
            full,
            bands,
            base: MAX_HALVINGS,
            kept: Kept::new(room),
            decoded: AtomicU64::new(0),
        };
        while small.base_pixels() * u64::from(bands) > MAX_KEPT_BYTES {
            small.base += 1;
        }
        small
    }

    fn size(&self, level: u32) -> (u32, u32) {
        levels::size(self.full, level)
    }

    /// Whether the base is there.
    #[cfg(test)]
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_made()
    }

    fn base_pixels(&self) -> u64 {
        let (width, height) = self.size(self.base);
        u64::from(width) * u64::from(height)
    }

    /// Pixels that are gone through for a region of a level.
    pub(super) fn pixels(&self, level: u32, region: Region) -> u64 {
        let from = if level > self.base {
            self.base
        } else {
            level.min(MAX_HALVINGS)
        };
        region.pixels() << (2 * (level - from))
    }

    /// Gives the rows of a region of a level of one eighth or below to `take`, with their number from 0.
    ///
    /// # Errors
    /// Those of `eighth` and `take`; `LimitExceeded` where the base of a huge picture is needed and must not be made.
    pub(super) fn rows(
        &self,
        level: u32,
        region: Region,
        eighth: &Eighth<'_>,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        if level < self.base || !self.is_worth_keeping(level, region, ctx) {
            return self.averaged(level, region, eighth, take);
        }
        let bands = self.bands as usize;
        let size = self.size(self.base);
        let samples = self.kept.get_or_make(
            ctx,
            |samples| samples.len() as u64,
            || {
                let bytes = self.base_pixels() * u64::from(self.bands);
                ctx.limits.check_bytes(bytes)?;
                let mut samples = Vec::with_capacity(bytes as usize);
                let whole = Region::new(0, 0, size.0, size.1);
                self.averaged(self.base, whole, eighth, &mut |_, row| {
                    samples.extend_from_slice(row);
                    Ok(())
                })?;
                Ok(samples)
            },
        )?;
        let rows = |from: Region, take: &mut TakeRow<'_>| {
            let (left, right) = (from.x as usize * bands, (from.x + from.width) as usize * bands);
            samples
                .chunks_exact(size.0 as usize * bands)
                .skip(from.y as usize)
                .zip(0..from.height)
                .try_for_each(|(row, number)| take(number, &row[left..right]))
        };
        self.average(self.base, level, region, &rows, take)
    }

    /// Whether to make the base for a region, if it is not made yet.
    fn is_worth_keeping(&self, level: u32, region: Region, ctx: &ReadContext<'_>) -> bool {
        // Averages of averages differ from averages, so a level has only one way to be made.
        if self.kept.is_made() || (self.base > MAX_HALVINGS && level > self.base) {
            return true;
        }
        let whole = self.base_pixels();
        if ctx.limits.check_bytes(whole * u64::from(self.bands)).is_err()
            || ctx.limits.check_pixels(whole).is_err()
        {
            return false;
        }
        let pixels = region.pixels() << (2 * (level - self.base));
        let before = self.decoded.fetch_add(pixels, Ordering::Relaxed);
        before.saturating_add(pixels) >= whole / PART_BEFORE_WHOLE
    }

    /// As [`rows`](Self::rows), from the file.
    fn averaged(
        &self,
        level: u32,
        region: Region,
        eighth: &Eighth<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        self.average(MAX_HALVINGS, level, region, eighth, take)
    }

    /// Gives the rows of a region of a level, averaged from those of the level `from`.
    fn average(
        &self,
        from: u32,
        level: u32,
        region: Region,
        rows: &Eighth<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        if level == from {
            return rows(region, take);
        }
        let side = 1 << (level - from);
        let source = Averager::source(side, region, self.size(from));
        let mut averager = Averager::new(side, region.width, self.bands);
        let mut count = 0;
        rows(source, &mut |number, row| {
            averager.add(row, number + 1 == source.height, &mut |out| {
                count += 1;
                take(count - 1, out)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_file::with_ctx;

    /// A sample of the level of one eighth.
    fn sample(x: u32, y: u32) -> u8 {
        (x * 7 + y * 13 + x * y) as u8
    }

    fn read(small: &Small, level: u32, region: Region) -> Vec<u8> {
        let eighth = |region: Region, take: &mut TakeRow<'_>| {
            (0..region.height).try_for_each(|row| {
                let samples: Vec<u8> = (0..region.width)
                    .map(|col| sample(region.x + col, region.y + row))
                    .collect();
                take(row, &samples)
            })
        };
        let mut samples = Vec::new();
        let done = with_ctx(|ctx| {
            small.rows(level, region, &eighth, ctx, &mut |_, row| {
                samples.extend_from_slice(row);
                Ok(())
            })
        });
        done.unwrap();
        samples
    }

    /// Means of squares of `side`, rounded.
    fn means(side: u32, region: Region, sample: impl Fn(u32, u32) -> u8) -> Vec<u8> {
        let mut means = Vec::new();
        for y in region.y..region.y + region.height {
            for x in region.x..region.x + region.width {
                let all = (0..side * side).map(|at| (x * side + at % side, y * side + at / side));
                let sum: u32 = all.map(|(x, y)| u32::from(sample(x, y))).sum();
                means.push(((sum + side * side / 2) / (side * side)) as u8);
            }
        }
        means
    }

    #[test]
    fn a_level_has_one_way_to_be_made_whatever_is_kept() {
        let room = Room::new(1 << 20);
        let part = Region::new(3, 2, 4, 5);
        for base in [3, 4] {
            let mut small = Small::new((8 * 96 + 5, 8 * 64 + 7), 1, &room);
            assert_eq!(small.base, 3);
            small.base = base;
            let eighths = read(&small, 3, part);
            let sixteenths = read(&small, 4, part);
            assert!(!small.is_kept());
            let thirty_seconds = read(&small, 5, part);
            assert_eq!(small.is_kept(), base == 4);
            // As much of the base as to keep it.
            let (width, height) = small.size(base);
            read(&small, base, Region::new(0, 0, width, height));
            assert!(small.is_kept());
            assert_eq!(eighths, means(1, part, sample));
            assert_eq!(sixteenths, means(2, part, sample));
            if base == 3 {
                assert_eq!(thirty_seconds, means(4, part, sample));
            } else {
                let sixteenth = |x, y| means(2, Region::new(x, y, 1, 1), sample)[0];
                assert_eq!(thirty_seconds, means(2, part, sixteenth));
            }
            for (level, before) in [(3, &eighths), (4, &sixteenths), (5, &thirty_seconds)] {
                assert_eq!(
                    &read(&small, level, part),
                    before,
                    "level {level} with base {base}"
                );
            }
        }
    }

    #[test]
    fn of_large_pictures_the_first_level_that_fits_is_kept() {
        let room = Room::new(1 << 30);
        let base = |side, bands| Small::new((side, side), bands, &room).base;
        assert_eq!((base(6000, 3), base(26_000, 3), base(27_000, 3)), (3, 3, 4));
        assert_eq!((base(65_535, 1), base(65_535, 3), base(65_535, 4)), (4, 5, 5));
        assert_eq!(base(1, 1), 3);
    }
}
