//! Pixels of a region of a level, without any cache.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iiphost_codestream::{Codestream, Component, MainHeader, Wanted};
use iiphost_plugin_api::{
    AlphaMode, ByteSource, ColorModel, Cost, DecodeError, ErrorKind, ReadContext, Region,
};

use crate::average::Averager;
use crate::color::Bands;
use crate::levels::Level;
use crate::pixels::Pixels;
use crate::unpack::{Frame, unpack};

/// Pixels of the codec's smallest reduction held while a smaller level is averaged from it.
const AVERAGED_PIXELS: u64 = 4 << 20;

/// Broken codestream tiles a read looks past; those behind them are left blank.
const MAX_FAILED_TILES: u32 = 32;

/// The picture of a file.
pub(crate) struct Picture {
    source: Arc<dyn ByteSource>,
    codestream: Codestream,
    pub(crate) bands: Bands,
    pub(crate) levels: Vec<Level>,
    warned: AtomicBool,
}

impl Picture {
    pub(crate) fn new(
        source: Arc<dyn ByteSource>,
        codestream: Codestream,
        bands: Bands,
        levels: Vec<Level>,
    ) -> Self {
        Self {
            source,
            codestream,
            bands,
            levels,
            warned: AtomicBool::new(false),
        }
    }

    /// The main header of the codestream.
    pub(crate) fn header(&self) -> &MainHeader {
        self.codestream.header()
    }

    /// Decodes a region of a level.
    ///
    /// # Errors
    /// `LimitExceeded` before anything is decoded; `Format` for a codestream that gives no pixels here.
    pub(crate) fn decode(
        &self,
        level: &Level,
        region: Region,
        layers: u32,
        ctx: &ReadContext<'_>,
    ) -> Result<Pixels, DecodeError> {
        ctx.checkpoint()?;
        if level.halvings > 0 {
            self.average(level, region, layers, ctx)
        } else {
            self.reduced(level, region, layers, ctx)
        }
    }

    /// A level the codec makes by itself.
    fn reduced(
        &self,
        level: &Level,
        region: Region,
        layers: u32,
        ctx: &ReadContext<'_>,
    ) -> Result<Pixels, DecodeError> {
        let wanted = self.wanted(level, &region, layers);
        ctx.limits.check_pixels(region.pixels())?;
        ctx.limits.check_bytes(self.memory(&region, &wanted))?;
        match self.decode_area(level, region, &wanted, ctx) {
            // One broken tile does not take its neighbors along.
            Err(error)
                if error.kind() == ErrorKind::Format
                    // Those with packed headers are decoded whole each time, with the same result.
                    && !self.header().packed_headers
                    && self.codestream.tiles(wanted.area).nth(1).is_some() =>
            {
                self.tile_by_tile(level, region, &wanted, ctx, error)
            }
            other => other,
        }
    }

    fn decode_area(
        &self,
        level: &Level,
        region: Region,
        wanted: &Wanted,
        ctx: &ReadContext<'_>,
    ) -> Result<Pixels, DecodeError> {
        let mut out = Pixels::zeros(region, self.bands.pixel_bytes())?;
        let Some(decoded) = self.codestream.decode(&*self.source, wanted, ctx)? else {
            // Behind the point where the file was cut: what is there is still worth showing.
            self.warn(ctx, "tiles are missing from the codestream and left blank");
            return Ok(out);
        };
        if let Some(first) = decoded.complaints.first() {
            self.warn(ctx, &format!("the codestream is not sound: {first}"));
        }
        let frame = Frame {
            level,
            area: wanted.area,
            components: &self.header().size.components,
            step: self.header().size.step(),
        };
        unpack(&decoded, &frame, &self.bands, &mut out)?;
        Ok(out)
    }

    /// Decodes each codestream tile by itself and leaves those blank that fail, not without end: the codec sets up all
    /// tiles of a codestream for each of them.
    fn tile_by_tile(
        &self,
        level: &Level,
        region: Region,
        wanted: &Wanted,
        ctx: &ReadContext<'_>,
        error: DecodeError,
    ) -> Result<Pixels, DecodeError> {
        let mut out = Pixels::zeros(region, self.bands.pixel_bytes())?;
        let (mut shown, mut failed) = (false, 0);
        for tile in self.codestream.tiles(wanted.area) {
            ctx.checkpoint()?;
            let Some(part) = self
                .tile_region(level, tile)
                .and_then(|r| r.intersection(&region))
            else {
                continue;
            };
            // Upsampling reaches over the edge of a tile, so its area may touch others.
            let wanted = self.wanted(level, &part, wanted.layers);
            match self.decode_area(level, part, &wanted, ctx) {
                Ok(pixels) => {
                    out.paste(&pixels);
                    shown = true;
                }
                Err(error) if error.kind() == ErrorKind::Format => {
                    self.warn(ctx, &format!("tile {tile} left blank: {error}"));
                    failed += 1;
                    if failed == MAX_FAILED_TILES {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if shown { Ok(out) } else { Err(error) }
    }

    /// A level below the smallest the codec makes: averages of it, in strips that fit memory.
    fn average(
        &self,
        level: &Level,
        region: Region,
        layers: u32,
        ctx: &ReadContext<'_>,
    ) -> Result<Pixels, DecodeError> {
        let missing = || DecodeError::new(ErrorKind::Internal, "an averaged level without a larger one");
        let base = self
            .levels
            .iter()
            .find(|base| base.halvings == 0 && base.reduction == level.reduction)
            .ok_or_else(missing)?;
        let shift = level.halvings;
        let mut out = Pixels::zeros(region, self.bands.pixel_bytes())?;
        let per_row = u64::from(region.width) << (2 * shift).min(40);
        let strip = u32::try_from((AVERAGED_PIXELS / per_row.max(1)).max(1)).unwrap_or(u32::MAX);
        // A strip is one row of the level at least; where that alone is too wide, it is cut in pieces.
        let piece = u32::try_from((AVERAGED_PIXELS >> (2 * shift).min(40)).max(1)).unwrap_or(u32::MAX);
        let mut top = 0;
        while top < region.height {
            let height = strip.min(region.height - top);
            let mut left = 0;
            while left < region.width {
                ctx.checkpoint()?;
                let width = piece.min(region.width - left);
                let part = Region::new(region.x + left, region.y + top, width, height);
                let source = source_region(level, base, &part);
                let pixels = self.reduced(base, source, layers, ctx)?;
                let averager = Averager {
                    bands: self.bands.channels.len(),
                    sample_format: self.bands.sample_format(),
                    weight: self.weight_band(),
                    signed: (self.bands.color_model == ColorModel::CieLab).then_some(1..3),
                };
                let origin = [0, 1].map(|axis| {
                    let start = [part.x, part.y][axis] + level.edges[axis];
                    (u64::from(start) << shift) - u64::from(base.edges[axis])
                });
                let made = averager.average(&pixels, origin, 1 << shift, part)?;
                out.paste(&made);
                left += width;
            }
            top += height;
        }
        Ok(out)
    }

    /// The band colors are weighted by when they are averaged.
    fn weight_band(&self) -> Option<usize> {
        let colors = match self.bands.color_model {
            ColorModel::Grey => 1,
            ColorModel::Cmyk => 4,
            ColorModel::Rgb | ColorModel::CieLab => 3,
            _ => self.bands.channels.len().saturating_sub(1),
        };
        (self.bands.alpha == AlphaMode::Unassociated).then_some(colors)
    }

    /// The rectangle of the reference grid that holds all samples of a region.
    fn area(&self, level: &Level, region: &Region) -> [u32; 4] {
        let size = &self.header().size;
        let shared = size.step();
        let along = |start: u32, len: u32, axis: usize, step: u32| {
            let (low, high) = (level.edges[axis], level.edges[axis + 2]);
            // A pixel between two samples of a component takes the one before it.
            let back = if step > shared[axis] { step } else { 0 };
            let first = (low + start).saturating_sub(back).max(low);
            let last = low + start + len;
            let grid = |value: u32, edge: u32| {
                let value = (u64::from(value) << level.reduction).saturating_mul(u64::from(shared[axis]));
                u32::try_from(value).unwrap_or(u32::MAX).min(edge)
            };
            let (edge0, edge1) = (size.image[axis], size.image[axis + 2]);
            (
                if first == low { edge0 } else { grid(first, edge1) },
                if last >= high { edge1 } else { grid(last, edge1) },
            )
        };
        let step = |of: fn(&Component) -> u32| size.components.iter().map(of).max().unwrap_or(1);
        let (x0, x1) = along(region.x, region.width, 0, step(|c| c.dx));
        let (y0, y1) = along(region.y, region.height, 1, step(|c| c.dy));
        [x0, y0, x1, y1]
    }

    /// What the codec has to give for a region of a level it makes by itself.
    fn wanted(&self, level: &Level, region: &Region, layers: u32) -> Wanted {
        Wanted {
            reduction: level.reduction,
            layers,
            area: self.area(level, region),
        }
    }

    /// Where a codestream tile lies in a level, `None` if it has no pixels there.
    fn tile_region(&self, level: &Level, tile: u32) -> Option<Region> {
        let size = &self.header().size;
        let [across, _] = size.tile_grid();
        let place = [tile % across, tile / across];
        let along = |axis: usize| {
            let Range { start, end } = size.tile_span(axis, place[axis]..place[axis] + 1);
            let (low, high) = (level.edges[axis], level.edges[axis + 2]);
            let to_level = |value: u64| {
                let rounded = value
                    .div_ceil(u64::from(size.step()[axis]))
                    .div_ceil(1 << level.reduction);
                u32::try_from(rounded).unwrap_or(u32::MAX).clamp(low, high) - low
            };
            (to_level(start), to_level(end))
        };
        let ((x0, x1), (y0, y1)) = (along(0), along(1));
        (x0 < x1 && y0 < y1).then(|| Region::new(x0, y0, x1 - x0, y1 - y0))
    }

    /// Tells the operator once about a broken file.
    fn warn(&self, ctx: &ReadContext<'_>, message: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            ctx.warn(message);
        }
    }

    /// Bytes needed for a region: its pixels, and what the codec takes.
    fn memory(&self, region: &Region, wanted: &Wanted) -> u64 {
        let out = region.pixels().saturating_mul(self.bands.pixel_bytes() as u64);
        out.saturating_add(self.codestream.memory(wanted))
    }

    /// What a read costs.
    pub(crate) fn cost(&self, level: &Level, region: &Region) -> Cost {
        let base = self
            .levels
            .iter()
            .find(|base| base.halvings == 0 && base.reduction == level.reduction);
        let (Some(base), true) = (base, level.halvings > 0) else {
            return self.reduced_cost(level, region);
        };
        self.reduced_cost(base, &source_region(level, base, region))
    }

    fn reduced_cost(&self, level: &Level, region: &Region) -> Cost {
        let wanted = self.wanted(level, region, 0);
        Cost {
            bytes_read: self.codestream.bytes_read(&wanted),
            pixels_decoded: self.codestream.samples_decoded(&wanted),
            memory_bytes: self.memory(region, &wanted),
        }
    }
}

/// The pixels of the larger level that a region of an averaged level is made from.
fn source_region(level: &Level, base: &Level, region: &Region) -> Region {
    let along = |start: u32, len: u32, axis: usize| {
        let (low, high) = (u64::from(base.edges[axis]), u64::from(base.edges[axis + 2]));
        let first = u64::from(level.edges[axis]) + u64::from(start);
        let x0 = (first << level.halvings).clamp(low, high - 1);
        let x1 = ((first + u64::from(len)) << level.halvings).clamp(x0 + 1, high);
        // Both are edges of the level or lie between them.
        ((x0 - low) as u32, (x1 - x0) as u32)
    };
    let (x, width) = along(region.x, region.width, 0);
    let (y, height) = along(region.y, region.height, 1);
    Region::new(x, y, width, height)
}
