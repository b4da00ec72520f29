//! Output sizes: what was asked, what the protocol's rules and the server's limits make of it.

use super::geometry::{Resolved, percent_of};
use crate::error::Error;
use crate::limits::{Limits, Size};
use crate::view::{OverLimit, SizeRules, SizeSpec, Upscaling};

/// The largest pictures of a page, as documents show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureLimits {
    /// Largest width.
    pub max_width: u32,
    /// Largest height.
    pub max_height: u32,
    /// Most pixels.
    pub max_area: u64,
}

/// The limits of exports of a page of size `full`.
///
/// Without `MAX_CVT` a whole picture is never cut down, and enlarging stays finite.
#[must_use]
pub fn picture_limits(full: Size, limits: &Limits) -> PictureLimits {
    let (max_width, max_height) = match limits.max_export_side {
        Some(side) => (side, side),
        None => (full.width.max(5000), full.height.max(5000)),
    };
    PictureLimits {
        max_width,
        max_height,
        max_area: limits.max_output_pixels,
    }
}

impl PictureLimits {
    fn allow(&self, width: f64, height: f64) -> bool {
        width <= f64::from(self.max_width)
            && height <= f64::from(self.max_height)
            && width * height <= self.max_area as f64
    }
}

/// An output size, and which sides follow from the other one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) size: Size,
    /// Width, height computed from the ratio because the client named only the other.
    pub(super) derived: (bool, bool),
}

/// The shape of a region: one side of a picture from the other, rounded.
///
/// Multiplied before it is divided: a quotient of the two sides is inexact, and 435 pixels of 870 by 373, whose
/// height is 186.5, would be 186 high instead of 187.
#[derive(Clone, Copy, Debug)]
struct Shape {
    width: f64,
    height: f64,
}

impl Shape {
    fn of(region: &Resolved) -> Self {
        Self {
            width: region.full_width,
            height: region.full_height,
        }
    }

    fn width_for(self, height: f64) -> f64 {
        (height * self.width / self.height).round()
    }

    fn height_for(self, width: f64) -> f64 {
        (width * self.height / self.width).round()
    }
}

/// Sides in `f64`: whole numbers up to 2^53 are exact, so huge requests cannot overflow.
type Sides = (f64, f64);

/// The output size of an export.
///
/// # Errors
/// 400 for a size the rules refuse, 501 for enlarging that is asked for but switched off.
pub(super) fn output_size(
    spec: &SizeSpec,
    region: &Resolved,
    rules: &SizeRules,
    full: Size,
    limits: &Limits,
) -> Result<Wanted, Error> {
    let shape = Shape::of(region);
    let natural: Sides = (f64::from(region.pixels.width), f64::from(region.pixels.height));
    let bounds = picture_limits(full, limits);
    let mut derived = (false, false);
    let asked: Sides = match *spec {
        SizeSpec::Natural | SizeSpec::Max { upscale: false } => natural,
        SizeSpec::Max { upscale: true } => largest(natural, shape, &bounds),
        SizeSpec::Width(width) => {
            derived.1 = true;
            (width as f64, shape.height_for(width as f64).max(1.0))
        }
        SizeSpec::Height(height) => {
            derived.0 = true;
            (shape.width_for(height as f64).max(1.0), height as f64)
        }
        SizeSpec::Percent(percent) => {
            let sides = (percent_of(natural.0, percent), percent_of(natural.1, percent));
            if sides.0 < 1.0 || sides.1 < 1.0 {
                return Err(Error::bad_request("the size is smaller than one pixel"));
            }
            sides
        }
        SizeSpec::Exact(width, height) => (width as f64, height as f64),
        SizeSpec::Within(width, height) => within(width as f64, height as f64, shape),
    };
    let asked = (asked.0.max(1.0), asked.1.max(1.0));
    let sides = limit_upscaling(asked, natural, spec, rules.upscaling, limits)?;
    let sides = limit_size(sides, shape, spec, rules.over_limit, &bounds)?;
    // Within the limits, which are below 2^32.
    Ok(Wanted {
        size: Size::new(sides.0 as u32, sides.1 as u32),
        derived,
    })
}

/// The largest size of the region's ratio in a box: the constraining side is exact.
fn within(width: f64, height: f64, shape: Shape) -> Sides {
    if width * shape.height > height * shape.width {
        (shape.width_for(height), height)
    } else {
        (width, shape.height_for(width))
    }
}

fn limit_upscaling(
    asked: Sides,
    natural: Sides,
    spec: &SizeSpec,
    rule: Upscaling,
    limits: &Limits,
) -> Result<Sides, Error> {
    let larger = asked.0 > natural.0 || asked.1 > natural.1;
    if !larger {
        return Ok(asked);
    }
    match (rule, spec) {
        (Upscaling::Refused, SizeSpec::Within(..)) => Ok(natural),
        // A side that follows from the other may exceed the region by its rounding.
        (Upscaling::Refused, SizeSpec::Width(_)) if asked.0 <= natural.0 => Ok((asked.0, natural.1)),
        (Upscaling::Refused, SizeSpec::Height(_)) if asked.1 <= natural.1 => Ok((natural.0, asked.1)),
        (Upscaling::Refused, _) => Err(Error::bad_request(format!(
            "the size {}x{} is larger than the region, {}x{}; write ^ before the size to enlarge",
            asked.0, asked.1, natural.0, natural.1
        ))),
        _ if limits.allow_upscaling => Ok(asked),
        (Upscaling::Requested, _) => Err(Error::NotImplemented {
            message: "enlarging is switched off on this server".into(),
        }),
        (Upscaling::IfAllowed, SizeSpec::Exact(..)) => Ok((asked.0.min(natural.0), asked.1.min(natural.1))),
        (Upscaling::IfAllowed, _) => Ok(natural),
    }
}

fn limit_size(
    sides: Sides,
    shape: Shape,
    spec: &SizeSpec,
    rule: OverLimit,
    bounds: &PictureLimits,
) -> Result<Sides, Error> {
    if bounds.allow(sides.0, sides.1) {
        return Ok(sides);
    }
    let refused = match rule {
        OverLimit::Shrink => false,
        OverLimit::Refuse => !matches!(
            spec,
            SizeSpec::Max { .. } | SizeSpec::Within(..) | SizeSpec::Natural
        ),
        OverLimit::RefuseExact => matches!(spec, SizeSpec::Exact(..)),
    };
    if refused {
        return Err(Error::bad_request(format!(
            "the size {}x{} is over the limit of this server: width {}, height {}, area {}",
            sides.0, sides.1, bounds.max_width, bounds.max_height, bounds.max_area
        )));
    }
    let sides = fit_box(
        sides,
        shape,
        f64::from(bounds.max_width),
        f64::from(bounds.max_height),
    );
    Ok(fit_area(sides, bounds.max_area as f64))
}

/// Shrinks to a box: the side that is furthest over becomes the box's, the other follows by the ratio.
fn fit_box(sides: Sides, shape: Shape, width: f64, height: f64) -> Sides {
    if sides.0 <= width && sides.1 <= height {
        return sides;
    }
    let (over_x, over_y) = (sides.0 / width, sides.1 / height);
    if over_x > over_y {
        (width, shape.height_for(width).clamp(1.0, height))
    } else if over_x < over_y {
        (shape.width_for(height).clamp(1.0, width), height)
    } else {
        (width, height)
    }
}

/// Shrinks to a number of pixels, both sides alike, rounded down.
fn fit_area(sides: Sides, area: f64) -> Sides {
    let pixels = sides.0 * sides.1;
    if pixels <= area {
        return sides;
    }
    let scale = (area / pixels).sqrt();
    // One side may already be a single pixel: the other then takes what is left.
    let width = (sides.0 * scale).floor().max(1.0);
    let height = (sides.1 * scale).floor().max(1.0);
    (
        width.min((area / height).floor().max(1.0)),
        height.min((area / width).floor().max(1.0)),
    )
}

/// The largest size of a ratio that the limits allow.
fn largest(natural: Sides, shape: Shape, bounds: &PictureLimits) -> Sides {
    let (width, height) = (f64::from(bounds.max_width), f64::from(bounds.max_height));
    let sides = if natural.0 / width > natural.1 / height {
        (width, shape.height_for(width).clamp(1.0, height))
    } else {
        (shape.width_for(height).clamp(1.0, width), height)
    };
    fit_area(sides, bounds.max_area as f64)
}

/// What `max` and, where enlarging is allowed, `^max` give for a region.
pub(super) fn max_sizes(region: &Resolved, full: Size, limits: &Limits) -> (Size, Option<Size>) {
    let shape = Shape::of(region);
    let natural = (f64::from(region.pixels.width), f64::from(region.pixels.height));
    let bounds = picture_limits(full, limits);
    let size = |sides: Sides| Size::new(sides.0 as u32, sides.1 as u32);
    let fitted = fit_box(
        natural,
        shape,
        f64::from(bounds.max_width),
        f64::from(bounds.max_height),
    );
    let upscaled = limits
        .allow_upscaling
        .then(|| size(largest(natural, shape, &bounds)));
    (size(fit_area(fitted, bounds.max_area as f64)), upscaled)
}
