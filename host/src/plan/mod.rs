//! From what a client asked for to what will be done: every geometric decision of the host.
//!
//! [`plan`] is a pure function: the same [`View`], [`Page`] and [`Limits`] give the same [`Plan`]. All
//! arithmetic is in `f64`; `round` is half away from zero. Regions on a level use the level's true ratio
//! `W_k/W_0`, never `2^k`, so pyramids of any step work.

mod geometry;
mod key;
mod level;
mod size;

use iiphost_plugin_api::Region;

use crate::error::Error;
use crate::image_info::Page;
use crate::limits::{Limits, Size};
use crate::view::{Frame, Output, Processing, Turn, View};

pub use geometry::{FractionalRegion, level_region};
pub use size::{PictureLimits, picture_limits};

/// What will be read and done for one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Page of the image.
    pub page: usize,
    /// Level read, 0 = full size, as listed in the page.
    pub level: usize,
    /// Rectangle read, in pixels of that level, inside it.
    pub source: Region,
    /// The rectangle read is completed to this size by repeating its last column and row; the same as
    /// its own size but for Deep Zoom edge tiles.
    pub padded: Size,
    /// Size after resizing, before turning.
    pub size: Size,
    /// Mirror and turn.
    pub turn: Turn,
    /// Image processing.
    pub processing: Processing,
    /// Encoding.
    pub output: Output,
    /// Quality layers to decode, 0 = all.
    pub quality_layers: u32,
    /// The cell of the level's tile grid this is, unscaled, if it is exactly one.
    pub tile: Option<(u32, u32)>,
    /// The region in pixels of the full size, rounded: for canonical URIs.
    pub full_region: Region,
    /// What `max` gives for the region.
    pub max_size: Size,
    /// What `^max` gives for the region; `None` if enlarging is switched off.
    pub max_upscaled_size: Option<Size>,
    /// Output pixels per full-size pixel, across and down: for the physical resolution.
    pub scale: (f64, f64),
}

impl Plan {
    /// Size of the finished picture: after turning.
    #[must_use]
    pub fn final_size(&self) -> Size {
        geometry::turned_size(self.size, &self.turn)
    }

    /// Whether the pixels of the level go out without resampling.
    #[must_use]
    pub fn is_unscaled(&self) -> bool {
        self.padded == self.size
    }
}

/// Plans a picture.
///
/// # Errors
/// 404 for a level or tile that does not exist, 400 for an empty region, a size the rules of the
/// protocol refuse or work over a limit (named), 501 for enlarging that is switched off.
pub fn plan(view: &View, page: &Page, limits: &Limits) -> Result<Plan, Error> {
    let mut plan = match &view.frame {
        Frame::Tile {
            level,
            tile_col,
            tile_row,
        } => tile(view, page, *level, *tile_col, *tile_row)?,
        Frame::Scaled { size, region } => scaled(view, page, *size, *region)?,
        Frame::Export { region, size, rules } => {
            let region = geometry::resolve(region, page.size())?;
            let wanted = size::output_size(size, &region, rules, page.size(), limits)?;
            let mut plan = export(view, page, &region, wanted, rules.match_tiles);
            (plan.max_size, plan.max_upscaled_size) = size::max_sizes(&region, page.size(), limits);
            plan
        }
    };
    plan.quality_layers = quality_layers(
        view.quality_layers,
        page.quality_layers,
        limits.max_quality_layers,
    );
    check_work(&plan, page, limits)?;
    Ok(plan)
}

/// A plan of a level region at its own size, for a view.
fn unscaled(view: &View, page: &Page, level: usize, source: Region) -> Plan {
    let size = Size::new(source.width, source.height);
    let full = page.size();
    let level_size = page.levels[level].size;
    let scale = (
        f64::from(level_size.width) / f64::from(full.width),
        f64::from(level_size.height) / f64::from(full.height),
    );
    Plan {
        page: view.page,
        level,
        source,
        padded: size,
        size,
        turn: view.turn,
        processing: view.processing.clone(),
        output: view.output,
        quality_layers: 0,
        tile: page_tile(page, level, &source),
        full_region: geometry::full_region(page, level, &source),
        max_size: size,
        max_upscaled_size: None,
        scale,
    }
}

/// The tile cell of the page's grid a rectangle is exactly, edges cut.
fn page_tile(page: &Page, level: usize, region: &Region) -> Option<(u32, u32)> {
    let tile = page.tile_size;
    if !region.x.is_multiple_of(tile.width) || !region.y.is_multiple_of(tile.height) {
        return None;
    }
    let (tile_col, tile_row) = (region.x / tile.width, region.y / tile.height);
    (geometry::tile_region(page, level, tile_col, tile_row).as_ref() == Some(region))
        .then_some((tile_col, tile_row))
}

fn tile(view: &View, page: &Page, level: usize, tile_col: u32, tile_row: u32) -> Result<Plan, Error> {
    if level >= page.levels.len() {
        return Err(Error::not_found("no such resolution"));
    }
    let region = geometry::tile_region(page, level, tile_col, tile_row)
        .ok_or_else(|| Error::not_found("no such tile"))?;
    Ok(unscaled(view, page, level, region))
}

/// A rectangle of the whole page at a size fixed by arithmetic (Deep Zoom, Zoomify).
fn scaled(view: &View, page: &Page, whole: Size, region: Region) -> Result<Plan, Error> {
    let inside = region.width > 0
        && region.height > 0
        && region.right() <= u64::from(whole.width)
        && region.bottom() <= u64::from(whole.height);
    if !inside {
        return Err(Error::not_found("no such tile"));
    }
    let wanted = Size::new(region.width, region.height);
    let mut plan = if let Some(level) = stored_at(page, whole) {
        // The stored level lacks a column or row at most (or has one too many): cut, then repeat the last.
        let size = page.levels[level].size;
        let x = region.x.min(size.width - 1);
        let y = region.y.min(size.height - 1);
        let source = Region::new(
            x,
            y,
            region.width.min(size.width - x),
            region.height.min(size.height - y),
        );
        let mut plan = unscaled(view, page, level, source);
        if plan.padded != wanted {
            plan.tile = None;
        }
        plan.padded = wanted;
        plan.size = wanted;
        plan
    } else {
        let fraction = FractionalRegion::of_pixels(&region, whole);
        let level = level::smallest_covering(page, &fraction, wanted, (false, false));
        let mut plan = unscaled(
            view,
            page,
            level,
            level_region(page.levels[level].size, &fraction),
        );
        plan.tile = None;
        plan.size = wanted;
        plan
    };
    let full = page.size();
    plan.scale = (
        f64::from(whole.width) / f64::from(full.width),
        f64::from(whole.height) / f64::from(full.height),
    );
    Ok(plan)
}

/// The level that is the page at a size, exactly or but for the rounding of its last pixel.
fn stored_at(page: &Page, whole: Size) -> Option<usize> {
    // 3x3 is not 2x2 with a column to spare.
    let near = |a: u32, b: u32| a == b || (a.abs_diff(b) == 1 && b >= level::ROUNDING_FROM);
    let sizes = || page.levels.iter().map(|level| level.size);
    sizes()
        .position(|size| size == whole)
        .or_else(|| sizes().position(|s| near(s.width, whole.width) && near(s.height, whole.height)))
}

/// A region of the page at a size.
fn export(
    view: &View,
    page: &Page,
    region: &geometry::Resolved,
    wanted: size::Wanted,
    match_tiles: bool,
) -> Plan {
    let tile = if match_tiles {
        level::aligned_tile(page, region, wanted.size)
    } else {
        None
    };
    let (level, source) = match tile {
        Some(found) => found,
        None => {
            let level = level::smallest_covering(page, &region.fraction, wanted.size, wanted.derived);
            (level, level_region(page.levels[level].size, &region.fraction))
        }
    };
    let mut plan = unscaled(view, page, level, source);
    plan.size = wanted.size;
    if plan.padded != wanted.size {
        plan.tile = None;
    }
    plan.full_region = region.pixels;
    plan.scale = (
        f64::from(wanted.size.width) / region.full_width.max(f64::MIN_POSITIVE),
        f64::from(wanted.size.height) / region.full_height.max(f64::MIN_POSITIVE),
    );
    plan
}

/// Quality layers to decode, 0 = all: `asked` is `LYR`, `available` what the file holds, `max` is
/// `MAX_LAYERS`. By default the larger half is decoded.
#[must_use]
pub fn quality_layers(asked: i64, available: u32, max: i64) -> u32 {
    let available = i64::from(available.max(1));
    let wanted = match (max, asked) {
        (m, a) if m > 0 => {
            if a > 0 && a < m {
                a
            } else {
                m
            }
        }
        (_, a) if a > 0 => a,
        (m, a) if m < 0 || a < 0 => available,
        _ => (available + 1) / 2,
    };
    // Clamped to a count that fits; all layers are asked for as 0 so that equal pictures have equal plans.
    let wanted = wanted.clamp(1, available);
    if wanted == available {
        0
    } else {
        u32::try_from(wanted).unwrap_or(0)
    }
}

/// Refuses work over the limits before any pixel is decoded.
fn check_work(plan: &Plan, page: &Page, limits: &Limits) -> Result<(), Error> {
    let output = plan.final_size().pixels().max(plan.size.pixels());
    if output > limits.max_output_pixels {
        return Err(Error::bad_request(format!(
            "the picture would have {output} pixels, MAX_OUTPUT_PIXELS allows {}",
            limits.max_output_pixels
        )));
    }
    let decoded = page.decoded_pixels(&page.levels[plan.level], &plan.source);
    // A kernel reads the neighbors of every pixel: its work counts as that many pixels.
    let kernel = plan
        .processing
        .kernel
        .as_ref()
        .map_or(1, |k| k.len().max(1) as u64);
    let work = decoded.max(plan.source.pixels().saturating_mul(kernel) / 9);
    if work > limits.max_decoded_pixels {
        return Err(Error::bad_request(format!(
            "{work} pixels would have to be processed, MAX_DECODED_PIXELS allows {}",
            limits.max_decoded_pixels
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
