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
