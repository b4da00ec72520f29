//! The finished pixels of a planned picture, all of them or some rows.

use std::ops::Range;

use iiphost_plugin_api::Region;

use super::Handler;
use super::mark;
use super::neighbors::Wanted;
use super::picture::{Colors, Prepared, widened};
use crate::config::Interpolation;
use crate::decoder::{CallScope, RegionReader};
use crate::encode::Settings;
use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::pipeline::{self, AlphaOut, BandsOut, OutputDepth, Work};
use crate::plan::Plan;
use crate::raster::Raster;
use crate::view::TiffCompression;
use crate::workers::Urgency;

/// Pixels of a part, about. Large enough to be read on several threads, small beside the picture.
const PART_PIXELS: u64 = 16 << 20;

impl Handler {
    /// Reads and works on rows of a picture: all of them, unless [`comes_in_rows`]. Also gives what became of their
    /// colors: the profile is asked for after the pixels, since a module that fails badly over it is good for nothing
    /// else afterwards, and a picture without its profile is still served.
    ///
    /// # Errors
    /// As the decoder and the pipeline.
    pub(super) fn pixels(
        &self,
        prepared: &Prepared,
        rows: Range<u32>,
        wanted: Option<Wanted>,
        scope: &CallScope,
    ) -> Result<(Raster, Colors), Error> {
        let plan = &prepared.plan;
        let page = prepared.page();
        let image = &prepared.image.image;
        let level = &page.levels[plan.level];
        let part = Part::of(plan, &rows);
        let (wide, inner) = widened(&part.source, pipeline::margin(&plan.processing), level.size);
        let urgency = prepared.urgency;
        let pause = move || {
            if urgency == Urgency::Export {
                self.workers.yield_to_urgent();
            }
        };
        let reader = RegionReader::new(image, &self.config.limits, scope).with_pause(&pause);
        let raster = match wanted {
            Some(wanted) => self.read_joined(&reader, wanted, scope)?,
            None => reader.read(plan.page, level, wide, plan.quality_layers)?,
        };
        let statistics = if pipeline::needs_statistics(&plan.processing) {
            Some(self.statistics_of(image, plan, scope)?)
        } else {
            None
        };
        let inks = self.inks(image, page);
        let colors = self.colors(prepared);
        let work = Work {
            processing: &plan.processing,
            ranges: page.ranges.clone(),
            statistics: statistics.as_deref(),
            inner,
            padded: part.padded,
            size: part.size,
            interpolation: match self.config.interpolation {
                Interpolation::Nearest => pipeline::Interpolation::Nearest,
                Interpolation::Bilinear => pipeline::Interpolation::Bilinear,
                Interpolation::Lanczos => pipeline::Interpolation::Lanczos,
            },
            turn: plan.turn,
            alpha: if prepared.settings.holds_alpha(page.color_band_count) {
                AlphaOut::Keep
            } else {
                AlphaOut::FlattenWhite
            },
            bands: match prepared.settings {
                Settings::Tiff {
                    compression: TiffCompression::WebP,
                    ..
                } => BandsOut::Rgb,
                Settings::Tiff {
                    compression: TiffCompression::Jpeg,
                    ..
                } => BandsOut::GreyOrRgb,
                Settings::Tiff { .. } => BandsOut::Any,
                _ => BandsOut::GreyOrRgb,
            },
            depth: if self.keeps_depth(prepared) {
                OutputDepth::Source
            } else {
                OutputDepth::Eight
            },
            inks: inks.as_deref(),
            to_srgb: match &colors {
                Colors::Converted(transform) => Some(transform),
                Colors::Plain | Colors::Described(_) => None,
            },
            max_bytes: self.config.limits.max_request_bytes,
            deadline: Some(scope.deadline()),
        };
        let mut raster = pipeline::run(raster, &work)?;
        if let Some(mark) = &prepared.watermark {
            mark::apply(
                mark,
                &mut raster,
                rows.start,
                &prepared.image,
                plan,
                prepared.is_tile,
            )?;
        }
        Ok((raster, colors))
    }

    /// Whether a picture may have more than 8 bits.
    pub(super) fn keeps_depth(&self, prepared: &Prepared) -> bool {
        self.config.deep_output && prepared.settings.holds_deep_samples()
    }
}

/// The part of a plan that makes some rows.
struct Part {
    source: Region,
    padded: Size,
    size: Size,
}

impl Part {
    fn of(plan: &Plan, rows: &Range<u32>) -> Self {
        let whole = Self {
            source: plan.source,
            padded: plan.padded,
            size: plan.size,
        };
        if *rows == (0..plan.final_size().height) {
            return whole;
        }
        let source = Region {
            y: plan.source.y + rows.start,
            height: rows.end - rows.start,
            ..plan.source
        };
        let size = Size::new(source.width, source.height);
        Self {
            source,
            padded: size,
            size,
        }
    }
}

/// Whether the rows of a picture follow from the rows of its level, one by one or with their neighbors: it is
/// neither resized nor turned (a mirror keeps rows), and nothing has to be known of the whole but what is kept with
/// the image.
pub(super) fn comes_in_rows(plan: &Plan) -> bool {
    let read = Size::new(plan.source.width, plan.source.height);
    plan.padded == read && plan.size == read && plan.turn.quarters() == Some(0)
}

/// The rows of a picture in parts that are read for themselves: whole rows of stored tiles, so that no tile is
/// decoded twice.
pub(super) fn parts(plan: &Plan, page: &Page) -> Vec<Range<u32>> {
    let height = plan.final_size().height;
    if !comes_in_rows(plan) {
        return std::iter::once(0..height).collect();
    }
    let level = &page.levels[plan.level];
    // Rows of a virtual level are averaged from several of the stored one.
    let tile = (level.stored_tile.height >> level.halvings.min(31)).max(1);
    let tile_row = u64::from(tile) * u64::from(plan.size.width.max(1));
    let tiles = u32::try_from(PART_PIXELS / tile_row).unwrap_or(u32::MAX).max(1);
    let step = u64::from(tile) * u64::from(tiles);
    let mut parts = Vec::new();
    let (mut start, top) = (0, plan.source.y);
    while start < height {
        let end = (u64::from(top + start) / step + 1) * step - u64::from(top);
        // Below the height, a u32.
        let end = end.min(u64::from(height)) as u32;
        parts.push(start..end);
        start = end;
    }
    parts
}

/// An estimate of the bytes some rows hold while they are made: source, one copy of it in the width a step
/// needs, and the output.
pub(super) fn pixel_bytes(plan: &Plan, page: &Page, rows: &Range<u32>) -> u64 {
    let level = &page.levels[plan.level];
    let part = Part::of(plan, rows);
    let (wide, _) = widened(&part.source, pipeline::margin(&plan.processing), level.size);
    let sample = page.sample_format.bytes() as u64;
    let bands = u64::from(page.band_count);
    let copy = if plan.processing.is_none() && plan.is_unscaled() {
        0
    } else {
        sample
    };
    let output = u64::from(plan.final_size().width) * u64::from(rows.end - rows.start);
    wide.pixels()
        .saturating_mul(bands * (sample + copy))
        .saturating_add(output.saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};
    use proptest::prelude::*;

    use super::*;
    use crate::image_info::Level;
    use crate::view::{Output, OutputFormat, Processing, Turn};

    fn page(size: Size, tile: u32, halvings: u32) -> Page {
        Page {
            name: String::new(),
            scale: 1.0,
            levels: vec![Level {
                size,
                decoder_level: 0,
                halvings,
                stored_tile: Size::new(256, tile),
                encoded: None,
            }],
            tile_size: Size::new(256, 256),
            band_count: 3,
            color_band_count: 3,
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: ColorModel::Rgb,
            alpha: AlphaMode::None,
            ranges: vec![(0.0, 255.0); 3],
            stated_ranges: Vec::new(),
            resolution: None,
            quality_layers: 1,
        }
    }

    fn plan(source: Region) -> Plan {
        let size = Size::new(source.width, source.height);
        Plan {
            page: 0,
            level: 0,
            source,
            padded: size,
            size,
            turn: Turn::NONE,
            processing: Processing::NONE,
            output: Output::new(OutputFormat::Jpeg),
            quality_layers: 0,
            tile: None,
            full_region: source,
            max_size: size,
            max_upscaled_size: None,
            scale: (1.0, 1.0),
        }
    }

    proptest! {
        #[test]
        fn parts_are_all_rows_once_and_whole_rows_of_tiles(
            y in 0..9000_u32,
            width in 1..60_000_u32,
            height in 1..50_000_u32,
            tile in 1..2000_u32,
            halvings in 0..4_u32,
        ) {
            let plan = plan(Region::new(7, y, width, height));
            let page = page(Size::new(70_000, 60_000), tile, halvings);
            let parts = parts(&plan, &page);
            let mut next = 0;
            for part in &parts {
                prop_assert_eq!(part.start, next);
                prop_assert!(part.start < part.end);
                next = part.end;
                // But for the last one a part ends where a row of tiles does.
                let step = (tile >> halvings).max(1);
                prop_assert!(part.end == height || (y + part.end).is_multiple_of(step));
            }
            prop_assert_eq!(next, height);
            let pixels = |part: &Range<u32>| u64::from(width) * u64::from(part.end - part.start);
            let row = u64::from(width) * u64::from(tile);
            prop_assert!(parts.iter().all(|part| pixels(part) <= PART_PIXELS.max(row)));
        }
    }

    #[test]
    fn what_mixes_rows_is_made_at_once() {
        let page = page(Size::new(20_000, 20_000), 256, 0);
        let whole = plan(Region::new(0, 0, 20_000, 20_000));
        assert!(parts(&whole, &page).len() > 20);
        let mirrored = Plan {
            turn: Turn {
                mirror: true,
                degrees: 0.0,
            },
            ..whole.clone()
        };
        assert!(parts(&mirrored, &page).len() > 20);
        let turned = Plan {
            turn: Turn {
                mirror: false,
                degrees: 180.0,
            },
            ..whole.clone()
        };
        let resized = Plan {
            size: Size::new(15_000, 15_000),
            ..whole.clone()
        };
        let padded = Plan {
            padded: Size::new(20_001, 20_000),
            size: Size::new(20_001, 20_000),
            ..whole
        };
        for plan in [turned, resized, padded] {
            let height = plan.final_size().height;
            assert_eq!(parts(&plan, &page).as_slice(), std::slice::from_ref(&(0..height)));
        }
    }

    #[test]
    fn a_part_holds_little_of_what_the_picture_would() {
        let page = page(Size::new(20_000, 20_000), 256, 0);
        let plan = plan(Region::new(0, 0, 20_000, 20_000));
        let largest = parts(&plan, &page)
            .iter()
            .map(|p| pixel_bytes(&plan, &page, p))
            .max();
        let whole = pixel_bytes(&plan, &page, &(0..20_000));
        assert!(
            largest.is_some_and(|largest| 20 * largest < whole),
            "{largest:?} of {whole}"
        );
    }
}
