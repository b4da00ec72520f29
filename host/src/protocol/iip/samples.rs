//! `PFL` and `SPECTRA`: which samples of which views are wanted.

use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::protocol::{Images, OpenedImage, SampleDocument, SampleQuery};

use super::argument::Argument;
use super::tiles::{TileNumber, level};

/// Most values one profile may list.
const MAX_VALUES: u64 = 4_000_000;
/// Most views one request may read.
const MAX_VIEWS: usize = 1024;

/// Views of an image, each with its page and the name shown for it.
type Views<I> = Vec<(I, usize, String)>;

/// Every horizontal view of an image at one vertical angle. A view without a name has its number for one.
pub(super) fn views<S: Images>(
    images: &S,
    image: &S::Image,
    vertical: Option<i64>,
) -> Result<Views<S::Image>, Error> {
    let numbers = image.horizontal_views();
    if numbers.len() > MAX_VIEWS {
        return Err(Error::bad_request(format!(
            "the image has {} views, one request may read {MAX_VIEWS}",
            numbers.len()
        )));
    }
    numbers
        .into_iter()
        .map(|number| {
            let (view, page) = images.view(image, number, vertical)?;
            let name = match page_of(&view, page)?.name.as_str() {
                "" => number.to_string(),
                name => name.to_owned(),
            };
            Ok((view, page, name))
        })
        .collect()
}

/// `resolution:x1,y1[-x2,y2]`: a row or a column of pixels, the end not included, or a single one.
pub(super) fn profile<I: OpenedImage>(
    argument: Argument<'_>,
    views: Views<I>,
    quality_layers: i64,
) -> Result<SampleQuery<I>, Error> {
    let (resolution, Some(points)) = argument.split(b':') else {
        return Err(argument.error("resolution:x,y or resolution:x1,y1-x2,y2 is needed"));
    };
    let resolution = resolution.integer()?;
    let (from, to) = points.split(b'-');
    let (x1, y1) = point(from)?;
    let (x2, y2) = to.map(point).transpose()?.unwrap_or((x1, y1));

    let page = first_page(&views)?;
    let level = level(page, resolution).map_err(|error| argument.error(error.public_message()))?;
    let size = level_size(page, level)?;
    // The second point is the end of the run: it may touch the far edges.
    if x1 >= size.width || y1 >= size.height || x2 > size.width || y2 > size.height {
        return Err(argument.error(format_args!("outside resolution {resolution}, which is {size}")));
    }
    let (width, height) = match (x2.saturating_sub(x1), y2.saturating_sub(y1)) {
        (0, 0) => (1, 1),
        (0, down) => (1, down),
        (across, _) => (across, 1),
    };

    let pixels = u64::from(width.max(height));
    let mut values = 0u64;
    for (view, page, _) in &views {
        let page = page_of(view, *page)?;
        same_size(argument, page, level, size)?;
        values = values.saturating_add(pixels.saturating_mul(u64::from(page.band_count)));
    }
    if values > MAX_VALUES {
        return Err(argument.error(format_args!(
            "{values} values asked for, the limit is {MAX_VALUES}"
        )));
    }
    Ok(SampleQuery {
        views,
        level,
        x: x1,
        y: y1,
        width,
        height,
        quality_layers,
        document: SampleDocument::Profile,
    })
}

/// `resolution,tile,x,y`: one pixel of a tile. `None` where an edge tile ends before it: there is no sample
/// to show, yet the tile has that place.
pub(super) fn spectrum<I: OpenedImage>(
    argument: Argument<'_>,
    views: Views<I>,
    quality_layers: i64,
) -> Result<Option<SampleQuery<I>>, Error> {
    let numbers = argument.integers()?;
    let &[resolution, tile, x, y, ..] = numbers.as_slice() else {
        return Err(argument.error("resolution,tile,x,y is needed"));
    };
    let page = first_page(&views)?;
    let place = TileNumber { resolution, tile }.locate(page, false)?;
    let inside = |value: i32, side: u32| {
        u32::try_from(value)
            .ok()
            .filter(|value| *value < side)
            .ok_or_else(|| argument.error(format_args!("outside the tile, which is {}", page.tile_size)))
    };
    let x = inside(x, page.tile_size.width)?;
    let y = inside(y, page.tile_size.height)?;

    let size = level_size(page, place.level)?;
    let at = |tile: u32, side: u32, offset: u32, end: u32| {
        let position = u64::from(tile) * u64::from(side) + u64::from(offset);
        u32::try_from(position).ok().filter(|position| *position < end)
    };
    let (Some(x), Some(y)) = (
        at(place.tile_col, page.tile_size.width, x, size.width),
        at(place.tile_row, page.tile_size.height, y, size.height),
    ) else {
        return Ok(None);
    };
    for (view, page, _) in &views {
        same_size(argument, page_of(view, *page)?, place.level, size)?;
    }
    Ok(Some(SampleQuery {
        views,
        level: place.level,
        x,
        y,
        width: 1,
        height: 1,
        quality_layers,
        document: SampleDocument::Spectrum,
    }))
}

/// `x,y`, neither negative.
fn point(argument: Argument<'_>) -> Result<(u32, u32), Error> {
    let (x, Some(y)) = argument.split(b',') else {
        return Err(argument.error("a point x,y is needed"));
    };
    let coordinate = |argument: Argument<'_>| {
        u32::try_from(argument.integer()?).map_err(|_| argument.error("a coordinate is negative"))
    };
    Ok((coordinate(x)?, coordinate(y)?))
}

/// The page of a view.
fn page_of<I: OpenedImage>(image: &I, page: usize) -> Result<&Page, Error> {
    let pages = &image.info().pages;
    pages.get(page).ok_or_else(|| Error::not_found("no such view"))
}

/// The page that gives level and size.
fn first_page<I: OpenedImage>(views: &Views<I>) -> Result<&Page, Error> {
    let (image, page, _) = views.first().ok_or_else(|| Error::not_found("no such view"))?;
    page_of(image, *page)
}

/// The size of a level.
fn level_size(page: &Page, level: usize) -> Result<Size, Error> {
    let level = page.levels.get(level);
    Ok(level.ok_or_else(|| Error::not_found("no such resolution"))?.size)
}

/// Views can be compared only pixel by pixel.
fn same_size(argument: Argument<'_>, page: &Page, level: usize, size: Size) -> Result<(), Error> {
    match page.levels.get(level) {
        Some(level) if level.size == size => Ok(()),
        _ => Err(argument.error("the views of this image differ in size")),
    }
}
