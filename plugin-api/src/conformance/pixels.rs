//! Pixels of regions and tiles.

use super::random::Random;
use super::subject::{
    Subject, Verdict, Watch, fail, must_read, place, read, request, roomy, some_pages, words,
};
use crate::buffer::PixelBuffer;
use crate::decoder::ImageReader;
use crate::error::{DecodeError, ErrorKind};
use crate::info::{LevelInfo, PageInfo};
use crate::region::{Region, TileId};

/// Largest side of a read that smaller ones are compared with.
pub(super) const WINDOW_SIDE: u32 = 1024;

/// Random regions for each level.
const REGIONS: u32 = 12;

/// Largest block of tiles read at once, in pixels.
const MAX_BLOCK_PIXELS: u64 = 16 << 20;

/// What the gaps between rows are filled with.
const GAP: u8 = 0xa5;

/// Calls `look` for every level of some pages of every sample.
pub(super) fn each_level(
    subject: &Subject,
    mut look: impl FnMut(&dyn ImageReader, u32, u32, &PageInfo, &LevelInfo) -> Verdict,
) -> Verdict {
    subject.each_reader(|sample, reader| {
        for page_idx in some_pages(reader.info()) {
            let Some(page) = reader.info().pages.get(page_idx as usize) else {
                continue;
            };
            for (level_idx, level) in (0u32..).zip(&page.levels) {
                subject.doing(format!(
                    "{}, page {page_idx}, level {level_idx}, seed {:#x}",
                    sample.name, subject.seed
                ));
                look(reader, page_idx, level_idx, page, level)?;
            }
        }
        Ok(())
    })
}

pub(super) fn region_is_crop(subject: &Subject) -> Verdict {
    let mut random = Random::new(subject.seed);
    each_level(subject, |reader, page_idx, level_idx, page, level| {
        let window = random.window(level, WINDOW_SIDE);
        let whole = must_read(reader, &request(page_idx, level_idx, window))?;
        for _ in 0..REGIONS {
            let region = random.region_in(&window);
            let part = must_read(reader, &request(page_idx, level_idx, region))?;
            same(page, &window, &whole, &region, &part)?;
        }
        Ok(())
    })
}

pub(super) fn tiles_cover(subject: &Subject) -> Verdict {
    let mut random = Random::new(subject.seed);
    each_level(subject, |reader, page_idx, level_idx, page, level| {
        let (cols, rows) = (level.tile_cols(), level.tile_rows());
        // A block somewhere, and the last corner, where tiles are cut.
        let somewhere = (random.below_side(cols), random.below_side(rows));
        let corner = (cols.saturating_sub(2), rows.saturating_sub(2));
        for (first_col, first_row) in [somewhere, corner] {
            let block: Vec<Region> = (first_row..rows.min(first_row.saturating_add(3)))
                .flat_map(|row| (first_col..cols.min(first_col.saturating_add(3))).map(move |col| (col, row)))
                .filter_map(|(col, row)| tile_region(level, col, row))
                .collect();
            let Some(window) = bounds(&block) else {
                return fail("tiles beyond the level");
            };
            if window.pixels() > MAX_BLOCK_PIXELS {
                continue;
            }
            let covered: u64 = block.iter().map(Region::pixels).sum();
            if covered != window.pixels() {
                return fail(format!("tiles cover {covered} of {} pixels", window.pixels()));
            }
            let whole = must_read(reader, &request(page_idx, level_idx, window))?;
            for tile in &block {
                let part = must_read(reader, &request(page_idx, level_idx, *tile))?;
                same(page, &window, &whole, tile, &part)?;
            }
        }
        Ok(())
    })
}

/// A tile, cut at the edges of its level.
pub(super) fn tile_region(level: &LevelInfo, col: u32, row: u32) -> Option<Region> {
    let whole = Region::new(0, 0, level.width, level.height);
    let x = col.checked_mul(level.tile_width)?;
    let y = row.checked_mul(level.tile_height)?;
    Region::new(x, y, level.tile_width, level.tile_height).intersection(&whole)
}

fn bounds(regions: &[Region]) -> Option<Region> {
    let x = regions.iter().map(|r| r.x).min()?;
    let y = regions.iter().map(|r| r.y).min()?;
    let right = regions.iter().map(Region::right).max()?;
    let bottom = regions.iter().map(Region::bottom).max()?;
    let width = u32::try_from(right - u64::from(x)).ok()?;
    let height = u32::try_from(bottom - u64::from(y)).ok()?;
    Some(Region::new(x, y, width, height))
}

/// Compares a part with the place it has in a larger read.
pub(super) fn same(page: &PageInfo, window: &Region, whole: &[u8], region: &Region, part: &[u8]) -> Verdict {
    let pixel = page.band_count as usize * page.sample_format.bytes();
    let row = region.width as usize * pixel;
    let stride = window.width as usize * pixel;
    for (index, found) in part.chunks_exact(row).enumerate() {
        let y = (region.y - window.y) as usize + index;
        let start = y * stride + (region.x - window.x) as usize * pixel;
        let expected = whole.get(start..start + row);
        if expected == Some(found) {
            continue;
        }
        let at = expected
            .and_then(|expected| expected.iter().zip(found).position(|(a, b)| a != b))
            .unwrap_or(0);
        return fail(format!(
            "region {},{} {}x{} differs from the read of {},{} {}x{} at pixel {},{}",
            region.x,
            region.y,
            region.width,
            region.height,
            window.x,
            window.y,
            window.width,
            window.height,
            region.x as usize + at / pixel,
            region.y as usize + index
        ));
    }
    Ok(())
}

pub(super) fn row_stride(subject: &Subject) -> Verdict {
    let mut random = Random::new(subject.seed);
    each_level(subject, |reader, page_idx, level_idx, page, level| {
        let region = random.window(level, 300);
        let plain = must_read(reader, &request(page_idx, level_idx, region))?;
        let row = plain.len() / region.height as usize;
        let gap = 5 * page.sample_format.bytes();
        let mut bytes = vec![GAP; (row + gap) * region.height as usize];
        for line in bytes.chunks_exact_mut(row + gap) {
            line[..row].fill(0);
        }
        let watch = Watch::default();
        let result = PixelBuffer::new(
            &mut bytes,
            region.width,
            region.height,
            page.band_count,
            page.sample_format,
            row + gap,
        )
        .and_then(|mut out| {
            reader.read(
                &request(page_idx, level_idx, region),
                &mut out,
                &watch.context(roomy()),
            )
        });
        if let Err(error) = result {
            return fail(format!("a buffer with gaps is refused: {}", words(&error)));
        }
        for (index, (line, expected)) in bytes
            .chunks_exact(row + gap)
            .zip(plain.chunks_exact(row))
            .enumerate()
        {
            let (pixels, rest) = line.split_at(row);
            if rest.iter().any(|&b| b != GAP) {
                return fail(format!("the gap after row {index} was written to"));
            }
            if pixels != expected {
                return fail(format!("row {index} differs in a buffer with gaps"));
            }
        }
        Ok(())
    })
}

pub(super) fn usage_errors(subject: &Subject) -> Verdict {
    subject.each_reader(|_, reader| {
        let info = reader.info().clone();
        let pages = u32::try_from(info.pages.len()).unwrap_or(u32::MAX);
        let Some(page) = info.pages.first() else {
            return fail("no pages");
        };
        let levels = u32::try_from(page.levels.len()).unwrap_or(u32::MAX);
        let one = Region::new(0, 0, 1, 1);
        let mut wrong = vec![(0, levels, one), (0, u32::MAX, one)];
        for (index, level) in (0..).zip(&page.levels) {
            let (width, height) = (level.width, level.height);
            wrong.extend([
                (0, index, Region::new(width, 0, 1, 1)),
                (0, index, Region::new(0, height, 1, 1)),
                (0, index, Region::new(width - 1, 0, 2, 1)),
                (0, index, Region::new(0, height - 1, 1, 2)),
                (0, index, Region::new(u32::MAX, u32::MAX, 1, 1)),
            ]);
        }
        for (page_idx, level_idx, region) in wrong {
            let result = read_unchecked(reader, page, page_idx, level_idx, region);
            usage(result, &place(page_idx, level_idx, &region))?;
        }
        for page_idx in [pages, u32::MAX] {
            let result = read_unchecked(reader, page, page_idx, 0, one);
            usage(result, &place(page_idx, 0, &one))?;
        }
        let watch = Watch::default();
        let ctx = watch.context(roomy());
        for (index, level) in (0..).zip(&page.levels) {
            // A module without stored tiles may say so of any tile.
            if level.encoded.is_none() {
                continue;
            }
            let tile = TileId {
                page: 0,
                level: index,
                tile_col: level.tile_cols(),
                tile_row: 0,
            };
            usage(reader.encoded_tile(tile, &ctx).map(drop), &format!("{tile:?}"))?;
        }
        // Afterwards it still works.
        read(reader, &request(0, 0, one), &ctx)
            .map(drop)
            .or_else(|e| fail(format!("after usage errors pixel 0,0 is not read: {}", words(&e))))
    })
}

fn read_unchecked(
    reader: &dyn ImageReader,
    page: &PageInfo,
    page_idx: u32,
    level_idx: u32,
    region: Region,
) -> Result<(), DecodeError> {
    let row = region.width as usize * page.band_count as usize * page.sample_format.bytes();
    let mut bytes = vec![0; row * region.height as usize];
    let mut out = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        page.band_count,
        page.sample_format,
        row,
    )?;
    let watch = Watch::default();
    reader.read(
        &request(page_idx, level_idx, region),
        &mut out,
        &watch.context(roomy()),
    )
}

fn usage(result: Result<(), DecodeError>, what: &str) -> Verdict {
    match result {
        Err(error) if error.kind() == ErrorKind::Usage => Ok(()),
        Err(error) => fail(format!(
            "{what} does not exist, expected usage, found {}",
            words(&error)
        )),
        Ok(()) => fail(format!("{what} does not exist, and is read")),
    }
}
