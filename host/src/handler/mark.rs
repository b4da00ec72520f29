//! The watermark: read at the start and at every reload, found for every picture.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iiphost_plugin_api::Region;

use super::Handler;
use super::images::ImageHandle;
use crate::config::Config;
use crate::decoder::{CallScope, OpenImage, RegionReader, Registry};
use crate::error::Error;
use crate::pipeline::{self, AlphaOut, BandsOut, OutputDepth, Work};
use crate::plan::Plan;
use crate::raster::Raster;
use crate::source::{OpenedFile, Stamp};
use crate::view::{Processing, Turn};
use crate::watermark::{Blocks, Subject, Watermark};

/// How long reading the mark may take.
const READ_TIME: Duration = Duration::from_secs(20);

/// The watermark of a configuration, `None` if it has none, or one nobody would ever see.
///
/// # Errors
/// Why it cannot be used, naming variable and file.
pub(super) fn load(config: &Config, registry: &Arc<Registry>) -> Result<Option<Watermark>, String> {
    let settings = &config.watermark;
    let Some(path) = &settings.path else {
        return Ok(None);
    };
    let failed = |reason: String| format!("WATERMARK: cannot use {}: {reason}", path.display());
    // Any registry thread may be busy with pictures: the mark does not wait for them.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let picture = pool.install(|| read(path, config, registry)).map_err(failed)?;
    let mark = Watermark::new(&picture, settings.blend, settings.opacity, settings.probability)
        .map_err(|e| failed(e.to_string()))?;
    tracing::info!(path = %path.display(), size = %mark.size(), "watermark read");
    let seen = settings.opacity > 0.0 && settings.probability > 0.0;
    Ok(seen.then_some(mark))
}

/// The picture of the mark: 8 bits, red, green, blue, and opacity if it has any.
fn read(path: &Path, config: &Config, registry: &Arc<Registry>) -> Result<Raster, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    // Looked at first: opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|e| text(&e))?;
    if !metadata.is_file() {
        return Err("not a regular file".into());
    }
    let file = File::open(path).map_err(|e| text(&e))?;
    let stamp = Stamp::of(&rustix::fs::fstat(&file).map_err(|e| text(&e))?);
    let extension = path.extension().unwrap_or_default();
    let file = OpenedFile {
        file,
        stamp,
        extension: extension.to_string_lossy().to_lowercase(),
    };
    let scope = CallScope::with_time(READ_TIME);
    let limits = &config.limits;
    let identifier = path.as_os_str().as_encoded_bytes();
    let image =
        OpenImage::open(registry, identifier, path.to_owned(), file, limits, &scope).map_err(|e| text(&e))?;
    let page = image.info.page(0);
    let level = page.levels.first().ok_or("a page without levels")?;
    let whole = Region::new(0, 0, level.size.width, level.size.height);
    let raster = RegionReader::new(&image, limits, &scope)
        .read(0, level, whole, 0)
        .map_err(|e| text(&e))?;
    let work = Work {
        processing: &Processing::NONE,
        ranges: page.ranges.clone(),
        statistics: None,
        inner: whole,
        padded: level.size,
        size: level.size,
        interpolation: pipeline::Interpolation::Bilinear,
        turn: Turn::NONE,
        alpha: AlphaOut::Keep,
        bands: BandsOut::Rgb,
        depth: OutputDepth::Eight,
        inks: None,
        to_srgb: None,
        max_bytes: limits.max_request_bytes,
        deadline: Some(scope.deadline()),
    };
    pipeline::run(raster, &work).map_err(|e| text(&e))
}

impl Handler {
    /// Reads the watermark again. One that cannot be read leaves the old one in force.
    ///
    /// # Errors
    /// Why it was not read.
    pub(super) fn reload_watermark(&self) -> Result<(), String> {
        let mark = load(&self.config, self.handles.registry())?;
        *self.watermark.write() = mark.map(Arc::new);
        Ok(())
    }

    /// The watermark in force.
    pub(super) fn watermark(&self) -> Option<Arc<Watermark>> {
        self.watermark.read().clone()
    }
}

/// What a planned picture is to the watermark, and its blocks.
pub(super) fn subject<'a>(image: &'a ImageHandle, plan: &Plan, is_tile: bool) -> (Subject<'a>, Blocks) {
    let subject = Subject {
        path: image.image.path.as_os_str().as_encoded_bytes(),
        page: plan.page,
        level: plan.level,
        source: plan.source,
        size: plan.size,
    };
    let page = image.image.info.page(plan.page);
    let side = page.tile_size.longer().saturating_mul(2);
    let blocks = if is_tile || plan.final_size().longer() <= side {
        Blocks::Whole
    } else {
        Blocks::Grid(side)
    };
    (subject, blocks)
}

/// Lays the mark on finished rows of a picture, the first of them being `first_row`.
pub(super) fn apply(
    mark: &Watermark,
    rows: &mut Raster,
    first_row: u32,
    image: &ImageHandle,
    plan: &Plan,
    is_tile: bool,
) -> Result<(), Error> {
    let (subject, blocks) = subject(image, plan, is_tile);
    mark.apply_to_rows(rows, first_row, plan.final_size(), &subject, blocks)
}
