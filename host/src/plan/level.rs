//! Which level serves a wanted size.

use iiphost_plugin_api::Region;

use super::geometry::{FractionalRegion, Resolved, tile_region};
use crate::image_info::Page;
use crate::limits::Size;

/// Of sides below this, one pixel is too much to be rounding: a level on which a region of one pixel has
/// half a pixel does not show that pixel.
pub(super) const ROUNDING_FROM: u32 = 16;

/// The smallest level on which the region has at least the wanted pixels; level 0 if none has.
///
/// A side the client did not name (`derived`: width, height) may be one pixel short: it was rounded.
pub(super) fn smallest_covering(
    page: &Page,
    region: &FractionalRegion,
    wanted: Size,
    derived: (bool, bool),
) -> usize {
    // The small term keeps 0.1 × 1000 from being 99.
    let covers = |side: u32, fraction: f64, wanted: u32, derived: bool| {
        let short = derived && wanted >= ROUNDING_FROM;
        (f64::from(side) * fraction + 1e-6).floor() + f64::from(u8::from(short)) >= f64::from(wanted)
    };
    page.levels
        .iter()
        .rposition(|level| {
            covers(level.size.width, region.width, wanted.width, derived.0)
                && covers(level.size.height, region.height, wanted.height, derived.1)
        })
        .unwrap_or(0)
}

/// The level and tile a viewer means when it asks for a tile as a region: both corners on the tile grid
/// of a scale factor, the size within one pixel of the stored tile.
///
/// Viewers compute edge tiles by rounding up, pyramids are mostly rounded down; without this rule an
/// edge tile would be made from the next larger level.
pub(super) fn aligned_tile(page: &Page, region: &Resolved, wanted: Size) -> Option<(usize, Region)> {
    let full = page.size();
    let tile = page.tile_size;
    let pixels = &region.pixels;
    if region.full_width.fract() != 0.0 || region.full_height.fract() != 0.0 {
        return None;
    }
    page.levels.iter().enumerate().find_map(|(index, level)| {
        let shift = scale_exponent(full, level.size)?;
        let across = u64::from(tile.width) << shift;
        let down = u64::from(tile.height) << shift;
        let (x, y) = (u64::from(pixels.x), u64::from(pixels.y));
        if !x.is_multiple_of(across) || !y.is_multiple_of(down) {
            return None;
        }
        let fits = |start: u64, length: u32, step: u64, side: u32| {
            u64::from(length) == step.min(u64::from(side).saturating_sub(start))
        };
        if !fits(x, pixels.width, across, full.width) || !fits(y, pixels.height, down, full.height) {
            return None;
        }
        let stored = tile_region(
            page,
            index,
            u32::try_from(x / across).ok()?,
            u32::try_from(y / down).ok()?,
        )?;
        let near = stored.width.abs_diff(wanted.width) <= 1 && stored.height.abs_diff(wanted.height) <= 1;
        near.then_some((index, stored))
    })
}

/// `n` if a level is the page divided by `2^n`, rounded either way.
fn scale_exponent(full: Size, level: Size) -> Option<u32> {
    (0..32).find(|&n| {
        let near = |full: u32, side: u32| {
            let floor = (u64::from(full) >> n).max(1);
            let ceil = (u64::from(full) + (1 << n) - 1) >> n;
            (floor..=ceil).contains(&u64::from(side))
        };
        near(full.width, level.width) && near(full.height, level.height)
    })
}
