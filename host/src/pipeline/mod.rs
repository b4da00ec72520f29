//! From decoded pixels to the pixels an encoder takes: an ordered list of steps.
//!
//! The order is fixed: inks to RGB, CIELAB to sRGB, normalization by range, hill shading, color twist, tone curve and
//! inversion, color map, convolution, contrast and bit depth; then, on 8 (or 16) bits, resizing, opacity
//! and band selection, conversion by profile, grey, bilevel, equalization, mirror, turn. Everything up to the bit depth runs on
//! the pixels of the level, before resizing.
//!
//! Opacity is no color: no step but the color twist reads it, none but resizing, flattening and turning
//! writes it. Integer samples go through tables; floating point appears only where pixels or bands are
//! mixed, a few rows at a time.
//!
//! What the pipeline does not do: geometry (the [plan](crate::plan)), the watermark and encoding.

use std::time::{Duration, Instant};

use iiphost_plugin_api::{AlphaMode, ColorModel, Region, SampleFormat};

use crate::color::Transform;
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, Samples};
use crate::view::{ColorMode, Contrast, Gamma, Processing, Turn};

mod bands;
mod bilevel;
mod color_map;
mod convolve;
mod crop;
mod depth;
mod equalize;
mod flatten;
mod grey;
mod ink;
mod lab;
mod mix;
mod pad;
mod point;
mod premultiply;
mod recipe;
mod resize;
mod rotate;
mod rows;
mod shade;
mod stairs;
mod statistics;
mod tone;
mod turn;
mod twist;

pub use ink::to_rgb as show_inks;
pub use resize::{Interpolation, resize};
pub use statistics::{Statistics, statistics};

/// What happens to opacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlphaOut {
    /// The encoder stores it; colors are not multiplied by it.
    Keep,
    /// The picture is laid over white.
    FlattenWhite,
}

/// Which color bands the encoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandsOut {
    /// One or three: of two the first is shown, of more than three the first three.
    GreyOrRgb,
    /// Three; grey is repeated.
    Rgb,
    /// As many as there are.
    Any,
}

/// Width of the samples the encoder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputDepth {
    /// 8 bits.
    Eight,
    /// 16 bits for sources of 9 to 16 bits, 8 for all others.
    Source,
}

/// The work on one picture.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    /// Steps asked for by the client.
    pub processing: &'a Processing,
    /// Smallest and largest value of each band in stored units, before `MINMAX`; bands without an entry
    /// have the range of their type.
    pub ranges: Vec<(f64, f64)>,
    /// Needed when [`needs_statistics`] says so.
    pub statistics: Option<&'a Statistics>,
    /// The wanted part of the raster; what is around it is [`margin`] for the convolution.
    pub inner: Region,
    /// The wanted part is completed to this size by repeating its last column and row.
    pub padded: Size,
    /// Size after resizing, before turning.
    pub size: Size,
    /// How to resize.
    pub interpolation: Interpolation,
    /// Mirror and turn.
    pub turn: Turn,
    /// What happens to opacity.
    pub alpha: AlphaOut,
    /// Color bands the encoder takes.
    pub bands: BandsOut,
    /// Width of the samples the encoder gets.
    pub depth: OutputDepth,
    /// What the profile of a CMYK picture says of its inks; without it a simple rule shows them.
    pub inks: Option<&'a Transform>,
    /// Converts the colors of a grey or RGB picture when all but grey, equalization and turning is done.
    pub to_srgb: Option<&'a Transform>,
    /// Bytes one picture may take.
    pub max_bytes: u64,
    /// When to give up, looked at between steps.
    pub deadline: Option<Instant>,
}

impl Work<'_> {
    fn check_time(&self) -> Result<(), Error> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Err(Error::Unavailable {
                reason: "deadline passed while processing".into(),
                retry_after: Duration::from_secs(5),
            }),
            _ => Ok(()),
        }
    }
}

/// Runs the steps of `work` in their order.
///
/// The result is interleaved `U8` or `U16` at full scale, its opacity (if any) unassociated.
///
/// # Errors
/// 400 when a step does not fit the bands of the picture or the picture is over the memory limit, 503
/// when the deadline passes, a fault when raster and work disagree.
pub fn run(raster: Raster, work: &Work<'_>) -> Result<Raster, Error> {
    raster.check()?;
    let whole = Region::new(0, 0, raster.size.width, raster.size.height);
    if work.inner.intersection(&whole) != Some(work.inner) {
        return Err(Error::fault(
            "pipeline",
            format!("region {:?} of a raster of {}", work.inner, raster.size),
        ));
    }
    let raster = work_on_level(raster, work)?;
    work.check_time()?;
    let raster = pad::pad(raster, work.padded, work.max_bytes)?;
    let raster = resize(raster, work.size, work.interpolation, work.max_bytes)?;
    work.check_time()?;
    let raster = match work.alpha {
        AlphaOut::FlattenWhite => flatten::over_white(raster)?,
        AlphaOut::Keep => premultiply::unassociate(raster)?,
    };
    let raster = bands::shown(raster, work.bands)?;
    let raster = match work.to_srgb {
        Some(transform) => transform.apply(raster, work.max_bytes)?,
        None => raster,
    };
    work.check_time()?;
    let raster = match work.processing.color_mode {
        ColorMode::Native => raster,
        ColorMode::Grey => grey::grey(raster)?,
        ColorMode::Bilevel => bilevel::bilevel(grey::grey(raster)?, wanted_statistics(work)?)?,
    };
    let raster = match work.processing.contrast {
        Contrast::Equalize => equalize::equalize(raster, wanted_statistics(work)?)?,
        Contrast::Factor(_) | Contrast::Stretch => raster,
    };
    let raster = bands::repeated(raster, work.bands, work.max_bytes)?;
    work.check_time()?;
    match work.turn.quarters() {
        Some(quarters) => turn::turn(raster, work.turn.mirror, quarters),
        None => rotate::rotate(
            bands::without_extra(turn::turn(raster, work.turn.mirror, 0)?)?,
            work.turn.degrees,
            work.alpha,
            work.max_bytes,
        ),
    }
}

/// The steps before resizing: gives the inner region in 8 or 16 bits at full scale.
fn work_on_level(raster: Raster, work: &Work<'_>) -> Result<Raster, Error> {
    let processing = work.processing;
    let raster = ink::to_rgb(raster, work.inks, work.max_bytes)?;
    let recipe = recipe::Recipe::new(&raster, work)?;
    let raster = match recipe.kernel {
        Some(_) => raster,
        None => crop::crop(raster, work.inner)?,
    };
    let deep = raster.bit_depth > 8
        && matches!(raster.samples, Samples::U16(_))
        && work.depth == OutputDepth::Source
        && processing.color_mode != ColorMode::Bilevel;
    let format = if deep { SampleFormat::U16 } else { SampleFormat::U8 };
    let raster = bands::wanted(raster, processing, work.bands)?;
    let changes = recipe.changes_colors();
    if !changes && !matches!(raster.samples, Samples::F32(_)) && raster.color_model != ColorModel::CieLab {
        return depth::expand(raster, format);
    }
    let raster = if changes {
        premultiply::unassociate(raster)?
    } else {
        raster
    };
    if recipe.mixes() || !point::fits(&raster) {
        // The inner region is still to be cut when neighbors are read.
        let inner = match recipe.kernel {
            Some(_) => work.inner,
            None => Region::new(0, 0, raster.size.width, raster.size.height),
        };
        mix::mix(&raster, inner, &recipe, format, work.max_bytes)
    } else {
        point::apply(&raster, &recipe, format, work.max_bytes)
    }
}

fn wanted_statistics<'a>(work: &Work<'a>) -> Result<&'a Statistics, Error> {
    work.statistics
        .ok_or_else(|| Error::fault("pipeline", "statistics wanted, none given"))
}

/// Pixels around the wanted region that the work reads: those inside the level must be in the raster.
#[must_use]
pub fn margin(processing: &Processing) -> u32 {
    match processing.kernel.as_deref().map(<[f64]>::len) {
        Some(25) => 2,
        Some(9) => 1,
        _ => 0,
    }
}

/// Whether the work needs the [`Statistics`] of the picture.
#[must_use]
pub fn needs_statistics(processing: &Processing) -> bool {
    matches!(processing.contrast, Contrast::Stretch | Contrast::Equalize)
        || processing.color_mode == ColorMode::Bilevel
}

/// Whether 8-bit grey or RGB pixels at their own size come out as they went in, so that an encoded tile
/// can be handed on. `grey` is whether the picture has one color band.
#[must_use]
pub fn is_plain(processing: &Processing, turn: &Turn, grey: bool) -> bool {
    let mode = match processing.color_mode {
        ColorMode::Native => true,
        ColorMode::Grey => grey,
        ColorMode::Bilevel => false,
    };
    mode && turn.is_none() && !changes_samples(processing) && processing.contrast != Contrast::Equalize
}

/// Whether any step before the bit depth is asked for.
fn changes_samples(p: &Processing) -> bool {
    !p.ranges.is_empty()
        || p.shade.is_some()
        || p.twist.as_ref().is_some_and(|rows| !rows.is_empty())
        || p.gamma != Gamma::Power(1.0)
        || p.invert
        || p.color_map.is_some()
        || p.kernel.is_some()
        || match p.contrast {
            Contrast::Factor(factor) => factor != 1.0,
            Contrast::Stretch => true,
            Contrast::Equalize => false,
        }
}

/// The color model of `bands` color bands that a step made.
fn model_of(bands: usize) -> ColorModel {
    match bands {
        1 => ColorModel::Grey,
        3 => ColorModel::Rgb,
        _ => ColorModel::Multiband,
    }
}

/// A picture a step made: `colors` color bands, then opacity if `source` has any.
fn made(source: &Raster, size: Size, colors: usize, samples: Samples) -> Result<Raster, Error> {
    made_with(
        source,
        size,
        colors,
        usize::from(source.alpha_band().is_some()),
        samples,
    )
}

/// A picture a step made: `colors` color bands, then `others`, of which the first is opacity if `source` has any.
fn made_with(
    source: &Raster,
    size: Size,
    colors: usize,
    others: usize,
    samples: Samples,
) -> Result<Raster, Error> {
    let alpha = match source.alpha_band() {
        Some(_) => source.alpha,
        None => AlphaMode::None,
    };
    let band_count = colors + others;
    let raster = Raster {
        size,
        band_count: u32::try_from(band_count).map_err(|_| Error::bad_request("too many bands"))?,
        color_model: model_of(colors),
        alpha,
        bit_depth: 8 * samples.format().bytes() as u32,
        signed: false,
        samples,
    };
    raster.check()?;
    Ok(raster)
}

#[cfg(test)]
mod tests;
