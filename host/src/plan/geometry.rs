//! Regions: clipping, fractions of the page, pixels of a level.

use iiphost_plugin_api::Region;

use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::view::{RegionSpec, Turn};

/// A rectangle as fractions of the page, inside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FractionalRegion {
    /// Left edge, 0 ≤ x < 1.
    pub x: f64,
    /// Top edge, 0 ≤ y < 1.
    pub y: f64,
    /// Width, 0 < width ≤ 1 − x.
    pub width: f64,
    /// Height, 0 < height ≤ 1 − y.
    pub height: f64,
}

impl FractionalRegion {
    /// The whole page.
    pub const FULL: Self = Self {
        x: 0.0,
        y: 0.0,
        width: 1.0,
        height: 1.0,
    };

    /// Whole pixels of a picture of `size` as fractions.
    #[must_use]
    pub fn of_pixels(region: &Region, size: Size) -> Self {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        Self {
            x: f64::from(region.x) / width,
            y: f64::from(region.y) / height,
            width: f64::from(region.width) / width,
            height: f64::from(region.height) / height,
        }
    }
}

/// A region of a page, clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Resolved {
    /// As fractions, for levels.
    pub(super) fraction: FractionalRegion,
    /// In whole pixels of the full size.
    pub(super) pixels: Region,
    /// Width in pixels of the full size, not rounded for fractions.
    pub(super) full_width: f64,
    /// Height in pixels of the full size, not rounded for fractions.
    pub(super) full_height: f64,
}

impl Resolved {
    fn of_pixels(pixels: Region, full: Size) -> Self {
        Self {
            fraction: FractionalRegion::of_pixels(&pixels, full),
            pixels,
            full_width: f64::from(pixels.width),
            full_height: f64::from(pixels.height),
        }
    }
}

/// Clips a region to the page.
///
/// # Errors
/// 400 when nothing of it lies inside.
pub(super) fn resolve(spec: &RegionSpec, full: Size) -> Result<Resolved, Error> {
    let outside = || Error::bad_request("the region lies outside the image");
    match *spec {
        RegionSpec::Full => Ok(Resolved::of_pixels(
            Region::new(0, 0, full.width, full.height),
            full,
        )),
        RegionSpec::Square => {
            let side = full.width.min(full.height);
            let region = Region::new((full.width - side) / 2, (full.height - side) / 2, side, side);
            Ok(Resolved::of_pixels(region, full))
        }
        RegionSpec::Pixels { x, y, width, height } => {
            if x >= u64::from(full.width) || y >= u64::from(full.height) || width == 0 || height == 0 {
                return Err(outside());
            }
            let (x, y) = (x as u32, y as u32);
            let width = width.min(u64::from(full.width - x)) as u32;
            let height = height.min(u64::from(full.height - y)) as u32;
            Ok(Resolved::of_pixels(Region::new(x, y, width, height), full))
        }
        RegionSpec::Percent { x, y, width, height } => {
            let (x0, x1) = percent_edges(x, width, full.width);
            let (y0, y1) = percent_edges(y, height, full.height);
            if x1 <= x0 || y1 <= y0 {
                return Err(outside());
            }
            Ok(Resolved::of_pixels(Region::new(x0, y0, x1 - x0, y1 - y0), full))
        }
        RegionSpec::Fraction { x, y, width, height } => {
            let (x, y) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
            let (width, height) = (
                width.clamp(0.0, 1.0).min(1.0 - x),
                height.clamp(0.0, 1.0).min(1.0 - y),
            );
            // Written so that NaN is refused too.
            if !(x < 1.0 && y < 1.0 && width > 0.0 && height > 0.0) {
                return Err(outside());
            }
            let fraction = FractionalRegion { x, y, width, height };
            Ok(Resolved {
                fraction,
                pixels: level_region(full, &fraction),
                full_width: width * f64::from(full.width),
                full_height: height * f64::from(full.height),
            })
        }
    }
}

/// The two edges of a percent range in whole pixels (IIIF Image API 3.0 section 4.1).
fn percent_edges(start: f64, length: f64, side: u32) -> (u32, u32) {
    let side_f = f64::from(side);
    let edge = |percent: f64| percent_of(side_f, percent).clamp(0.0, side_f) as u32;
    (edge(start), edge(start + length))
}

/// A percentage of a side, rounded.
///
/// Decimal fractions are a little off in binary: 9.45 % of 3000 would be just below 283.5. The factor lifts
/// them over such halves; it is far larger than the error of `f64` and far smaller than the next decimal.
pub(super) fn percent_of(side: f64, percent: f64) -> f64 {
    (side * percent / 100.0 * (1.0 + 1e-13)).round()
}

/// The pixels of a level that a fractional region covers: at least one pixel, inside the level.
#[must_use]
pub fn level_region(level: Size, region: &FractionalRegion) -> Region {
    let (x, width) = level_range(level.width, region.x, region.width);
    let (y, height) = level_range(level.height, region.y, region.height);
    Region::new(x, y, width, height)
}

fn level_range(side: u32, start: f64, length: f64) -> (u32, u32) {
    let side_f = f64::from(side);
    let first = ((start * side_f).round() as u32).min(side - 1);
    let count = ((length * side_f).round() as u32).min(side - first).max(1);
    (first, count)
}

/// One cell of the page's tile grid at a level, cut at the edges; `None` outside the grid.
pub(super) fn tile_region(page: &Page, level: usize, tile_col: u32, tile_row: u32) -> Option<Region> {
    let size = page.levels.get(level)?.size;
    let tile = page.tile_size;
    let x = tile_col.checked_mul(tile.width).filter(|&x| x < size.width)?;
    let y = tile_row.checked_mul(tile.height).filter(|&y| y < size.height)?;
    Some(Region::new(
        x,
        y,
        tile.width.min(size.width - x),
        tile.height.min(size.height - y),
    ))
}

/// A rectangle of a level in pixels of the full size, rounded.
pub(super) fn full_region(page: &Page, level: usize, region: &Region) -> Region {
    let fraction = FractionalRegion::of_pixels(region, page.levels[level].size);
    level_region(page.size(), &fraction)
}

/// Size of a picture after turning: the smallest upright rectangle around it, sides at least 1.
pub(super) fn turned_size(size: Size, turn: &Turn) -> Size {
    match turn.quarters() {
        Some(0 | 2) => size,
        Some(_) => size.transposed(),
        None => {
            let (sin, cos) = turn.degrees.to_radians().sin_cos();
            let (w, h) = (f64::from(size.width), f64::from(size.height));
            let side = |a: f64, b: f64| (a.abs() + b.abs()).round().max(1.0) as u32;
            Size::new(side(w * cos, h * sin), side(h * cos, w * sin))
        }
    }
}
