//! Making one picture: plan, cache key, stored tile or decoded pixels, steps, encoding.

use std::sync::Arc;

use bytes::Bytes;
use iiphost_plugin_api::{ColorModel, EncodedFormat, MetadataKind, Region, Resolution, TileId};
use sha2::{Digest, Sha256};

use super::images::ImageHandle;
use super::{Handler, iip};
use crate::cache::Weighted;
use crate::config::{Config, Interpolation};
use crate::decoder::{CallScope, OpenImage, RegionReader};
use crate::encode::{self, EncoderConfig, Metadata, Settings, exif, jpeg_markers, webp_container};
use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::pipeline::{self, AlphaOut, BandsOut, OutputDepth, Statistics, Work};
use crate::plan::{self, Plan};
use crate::protocol::{LinkRule, OpenedImage, Picture, PictureKind};
use crate::raster::Raster;
use crate::view::{ColorMode, OutputFormat, Processing, RangeOverride, TiffCompression};
use crate::workers::Urgency;

/// Pictures that need more pixels than this, read or written, wait behind viewer tiles.
const URGENT_PIXELS: u64 = 1 << 20;

/// A finished picture in the cache.
#[derive(Clone, Debug)]
pub(super) struct CachedPicture {
    pub(super) body: Bytes,
    pub(super) etag: Arc<str>,
}

impl Weighted for CachedPicture {
    fn weight(&self) -> usize {
        self.body.len() + self.etag.len()
    }
}

/// Statistics of a page in the cache.
#[derive(Clone, Debug)]
pub(super) struct KeptStatistics(Arc<Statistics>);

impl Weighted for KeptStatistics {
    fn weight(&self) -> usize {
        // The histogram: 256 counts of eight bytes.
        256 * 8
    }
}

/// A picture that is planned.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) image: ImageHandle,
    pub(super) plan: Plan,
    pub(super) settings: Settings,
    pub(super) kind: PictureKind,
    pub(super) link: Option<LinkRule>,
    /// Key in the cache of pictures: everything that changes a byte.
    pub(super) key: Vec<u8>,
    pub(super) urgency: Urgency,
    /// It carries the color profile only, and may be a stored tile handed on.
    is_tile: bool,
}

impl Prepared {
    pub(super) fn page(&self) -> &Page {
        self.image.image.info.page(self.plan.page)
    }

    /// Whether the picture has everything it should have, and can be kept.
    pub(super) fn is_whole(&self) -> bool {
        !self.image.image.lacks_metadata()
    }

    /// A hash of everything that decides the bytes: the same on every machine with the same file and
    /// configuration.
    pub(super) fn shared_hash(&self, fingerprint: &[u8]) -> [u8; 32] {
        let image = &self.image.image;
        let mut text = Vec::with_capacity(self.key.len());
        image.stamp.write_shared_key(&mut text);
        write_rest_of_key(&mut text, image, &self.plan, &self.settings, self.is_tile);
        Sha256::new()
            .chain_update(fingerprint)
            .chain_update((self.image.identifier().len() as u64).to_le_bytes())
            .chain_update(self.image.identifier())
            .chain_update(&text)
            .finalize()
            .into()
    }

    /// A strong validator.
    pub(super) fn etag(&self, fingerprint: &[u8]) -> String {
        let mut etag = String::with_capacity(34);
        etag.push('"');
        self.shared_hash(fingerprint)
            .iter()
            .take(16)
            .for_each(|byte| etag.push_str(&format!("{byte:02x}")));
        etag.push('"');
        etag
    }
}

/// The part of a picture's key that means the same on every machine.
fn write_rest_of_key(key: &mut Vec<u8>, image: &OpenImage, plan: &Plan, settings: &Settings, is_tile: bool) {
    let module = &image.module.info;
    for text in [&module.id, &module.version] {
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    }
    let (encoder, quality) = match *settings {
        Settings::Jpeg { quality } => (0, u16::from(quality)),
        Settings::Png { level } => (1, u16::from(level)),
        Settings::WebP { quality } => (2, quality.map_or(u16::MAX, u16::from)),
        Settings::Avif { quality } => (3, u16::from(quality)),
        Settings::Tiff { compression, quality } => (4 + compression as u8, u16::from(quality)),
    };
    // A client that names a quality gets no stored tile, whatever the number.
    key.extend_from_slice(&[
        encoder,
        u8::from(is_tile),
        u8::from(plan.output.quality.is_some()),
    ]);
    key.extend_from_slice(&quality.to_le_bytes());
    plan.write_key(key);
}

impl Handler {
    /// Plans a picture.
    pub(super) fn prepare_picture(&self, picture: &Picture<ImageHandle>) -> Result<Prepared, Error> {
        let image = picture.image.clone();
        let page = image.image.info.page(picture.view.page);
        let plan = plan::plan(&picture.view, page, &self.config.limits)?;
        encode::check_size(plan.output.format, plan.final_size())?;
        let settings = Settings::resolve(plan.output, &self.encoders);
        let iiif_tile = picture.link.is_some() && plan.tile.is_some() && plan.is_unscaled();
        let is_tile = picture.kind == PictureKind::Tile || iiif_tile;
        // A virtual level is averaged from four times as many pixels a halving: a small picture, and even a
        // tile, can be much work.
        let halvings = page.levels[plan.level].halvings;
        let read_pixels = plan.source.pixels().saturating_mul(4u64.saturating_pow(halvings));
        let urgency = if read_pixels.max(plan.size.pixels()) > URGENT_PIXELS {
            Urgency::Export
        } else {
            Urgency::Tile
        };
        let key = self.picture_key(&image.image, &plan, &settings, is_tile);
        Ok(Prepared {
            image,
            plan,
            settings,
            kind: picture.kind,
            link: picture.link.clone(),
            key,
            urgency,
            is_tile,
        })
    }

    fn picture_key(&self, image: &OpenImage, plan: &Plan, settings: &Settings, is_tile: bool) -> Vec<u8> {
        let mut key = Vec::with_capacity(256);
        write_image_key(&mut key, image);
        write_rest_of_key(&mut key, image, plan, settings, is_tile);
        key
    }

    /// Makes a picture and keeps it.
    pub(super) fn render(&self, prepared: &Prepared, scope: &CallScope) -> Result<CachedPicture, Error> {
        let body = match self.stored_tile(prepared, scope)? {
            Some(bytes) => bytes,
            None => self.encoded(prepared, scope)?,
        };
        // Made with room to grow, kept without.
        Ok(self.keep(prepared, body.into_boxed_slice().into()))
    }

    /// Puts the bytes of a picture into the cache, unless they lack what could not be read just now.
    pub(super) fn keep(&self, prepared: &Prepared, body: Bytes) -> CachedPicture {
        let picture = CachedPicture {
            body,
            etag: prepared.etag(self.replies.fingerprint()).into(),
        };
        if prepared.is_whole() {
            self.pictures.insert(&prepared.key, picture.clone());
        }
        picture
    }

    /// The stored tile that is what was asked for, with its format, if there may be one.
    pub(super) fn stored_as(&self, prepared: &Prepared) -> Option<(EncodedFormat, TileId)> {
        let plan = &prepared.plan;
        let page = prepared.page();
        let level = &page.levels[plan.level];
        let format = match plan.output.format {
            OutputFormat::Jpeg => EncodedFormat::Jpeg,
            OutputFormat::WebP => EncodedFormat::WebP,
            _ => return None,
        };
        let (tile_col, tile_row) = plan.tile.filter(|_| prepared.is_tile && plan.is_unscaled())?;
        let grey = page.color_band_count == 1;
        let fits = self.config.codec_passthrough
            && level.encoded == Some(format)
            && plan.output.quality.is_none()
            && page.bit_depth == 8
            && matches!(page.color_model, ColorModel::Grey | ColorModel::Rgb)
            && page.color_band_count == page.band_count
            && plan.size == page.tile_size
            && pipeline::is_plain(&plan.processing, &plan.turn, grey);
        let tile = TileId {
            page: u32::try_from(plan.page).unwrap_or(u32::MAX),
            level: level.decoder_level,
            tile_col,
            tile_row,
        };
        fits.then_some((format, tile))
    }

    /// The stored tile as it is, if that is what was asked for.
    pub(super) fn stored_tile(
        &self,
        prepared: &Prepared,
        scope: &CallScope,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some((stored_as, tile)) = self.stored_as(prepared) else {
            return Ok(None);
        };
        let image = &prepared.image.image;
        let Some(encoded) = image.encoded_tile(tile, &self.config.limits, scope)? else {
            return Ok(None);
        };
        if encoded.format != stored_as || Size::new(encoded.width, encoded.height) != prepared.plan.size {
            return Ok(None);
        }
        let Some(icc) = self.profile(prepared) else {
            return Ok(Some(encoded.bytes));
        };
        let with_profile = match stored_as {
            EncodedFormat::Jpeg => jpeg_markers::with_icc(&encoded.bytes, &icc),
            _ => webp_container::with_icc(&encoded.bytes, &icc),
        };
        // A stored tile that cannot be taken apart is decoded and encoded anew.
        Ok(with_profile
            .map_err(|reason| tracing::debug!("stored tile not handed on: {reason}"))
            .ok())
    }

    fn encoded(&self, prepared: &Prepared, scope: &CallScope) -> Result<Vec<u8>, Error> {
        let plan = &prepared.plan;
        let page = prepared.page();
        let image = &prepared.image.image;
        let level = &page.levels[plan.level];
        let (wide, inner) = widened(&plan.source, pipeline::margin(&plan.processing), level.size);
        let urgency = prepared.urgency;
        let pause = move || {
            if urgency == Urgency::Export {
                self.workers.yield_to_urgent();
            }
        };
        let _memory = self.memory.reserve(pixel_bytes(plan, page, wide.pixels()))?;
        let reader = RegionReader::new(image, &self.config.limits, scope).with_pause(&pause);
        let raster = reader.read(plan.page, level, wide, plan.quality_layers)?;
        let statistics = if pipeline::needs_statistics(&plan.processing) {
            Some(self.statistics_of(image, plan, scope)?)
        } else {
            None
        };
        let format = plan.output.format;
        let work = Work {
            processing: &plan.processing,
            ranges: page.ranges.clone(),
            statistics: statistics.as_deref(),
            inner,
            padded: plan.padded,
            size: plan.size,
            interpolation: match self.config.interpolation {
                Interpolation::Nearest => pipeline::Interpolation::Nearest,
                Interpolation::Bilinear => pipeline::Interpolation::Bilinear,
                Interpolation::Lanczos => pipeline::Interpolation::Lanczos,
            },
            turn: plan.turn,
            alpha: if format.has_alpha() {
                AlphaOut::Keep
            } else {
                AlphaOut::FlattenWhite
            },
            bands: if format == OutputFormat::Tiff {
                BandsOut::Any
            } else {
                BandsOut::GreyOrRgb
            },
            depth: OutputDepth::Eight,
            max_bytes: self.config.limits.max_request_bytes,
            deadline: Some(scope.deadline()),
        };
        let raster = pipeline::run(raster, &work)?;
        if scope.is_abandoned() {
            return Err(Error::Cancelled);
        }
        encode::encode(&raster, &prepared.settings, &self.metadata(prepared, &raster))
    }

    /// Statistics of the whole smallest level of a page, kept with the image's state and the ranges in force.
    fn statistics_of(
        &self,
        image: &Arc<OpenImage>,
        plan: &Plan,
        scope: &CallScope,
    ) -> Result<Arc<Statistics>, Error> {
        let ranges = &plan.processing.ranges;
        let key = statistics_key(image, plan.page, plan.quality_layers, ranges);
        if let Some(known) = self.statistics.get(&key) {
            return Ok(known.0);
        }
        let page = image.info.page(plan.page);
        let level = page
            .levels
            .last()
            .ok_or_else(|| Error::fault("render", "a page without levels"))?;
        let whole = Region::new(0, 0, level.size.width, level.size.height);
        let reader = RegionReader::new(image, &self.config.limits, scope);
        let raster = reader.read(plan.page, level, whole, plan.quality_layers)?;
        let processing = Processing {
            ranges: ranges.clone(),
            ..Processing::NONE
        };
        let statistics = Arc::new(pipeline::statistics(&raster, &page.ranges, &processing)?);
        self.statistics.insert(&key, KeptStatistics(statistics.clone()));
        Ok(statistics)
    }

    /// The color profile a picture carries: only while its bands mean what the profile describes.
    fn profile(&self, prepared: &Prepared) -> Option<Arc<[u8]>> {
        let p = &prepared.plan.processing;
        let page = prepared.page();
        let same_colors = matches!(page.color_model, ColorModel::Grey | ColorModel::Rgb)
            && p.color_map.is_none()
            && p.shade.is_none()
            && p.twist.is_none()
            && p.color_mode == ColorMode::Native;
        if !same_colors {
            return None;
        }
        let icc = prepared.image.image.metadata(MetadataKind::Icc)?;
        self.encoders.allows_icc(icc.len()).then_some(icc)
    }

    fn metadata(&self, prepared: &Prepared, raster: &Raster) -> Metadata {
        let image = &prepared.image.image;
        let page = prepared.page();
        let same_bands = raster.color_band_count() == page.color_band_count;
        let rights = image.info.text("rights").map(<[u8]>::to_vec);
        let mut metadata = Metadata {
            icc: self.profile(prepared).filter(|_| same_bands),
            resolution: page.resolution.map(|r| scaled_resolution(&r, &prepared.plan)),
            text: image.info.text.clone(),
            rights,
            ..Metadata::default()
        };
        if !prepared.is_tile {
            metadata.xmp = image.metadata(MetadataKind::Xmp);
            let source = image.metadata(MetadataKind::Exif);
            let made = exif::for_output(source.as_deref(), raster.size, metadata.rights.as_deref());
            metadata.exif = made.exif.map(Arc::from);
            if let Some(reason) = made.left_out {
                tracing::warn!(image = %image.identifier.escape_ascii(), "EXIF left out: {reason}");
            }
        }
        metadata
    }
}

/// Identity and state of the file behind an image.
pub(super) fn write_image_key(key: &mut Vec<u8>, image: &OpenImage) {
    use std::os::unix::ffi::OsStrExt;
    let path = image.path.as_os_str().as_bytes();
    key.extend_from_slice(&(path.len() as u32).to_le_bytes());
    key.extend_from_slice(path);
    image.stamp.write_shared_key(key);
    key.extend_from_slice(&image.stamp.inode.0.to_le_bytes());
    key.extend_from_slice(&image.stamp.inode.1.to_le_bytes());
}

/// What the keys of an image at a path begin with.
pub(super) fn path_key(path: &[u8]) -> Vec<u8> {
    [&(path.len() as u32).to_le_bytes(), path].concat()
}

fn statistics_key(image: &OpenImage, page: usize, quality_layers: u32, ranges: &[RangeOverride]) -> Vec<u8> {
    let mut key = Vec::with_capacity(128);
    write_image_key(&mut key, image);
    key.extend_from_slice(&(page as u64).to_le_bytes());
    key.extend_from_slice(&quality_layers.to_le_bytes());
    for range in ranges {
        key.extend_from_slice(&range.band.map_or(u64::MAX, u64::from).to_le_bytes());
        key.extend_from_slice(&range.min.to_bits().to_le_bytes());
        key.extend_from_slice(&range.max.to_bits().to_le_bytes());
    }
    key
}

/// An estimate of the bytes a picture holds while it is made: source, one copy of it in the width a step
/// needs, and the output.
fn pixel_bytes(plan: &Plan, page: &Page, source_pixels: u64) -> u64 {
    let sample = page.sample_format.bytes() as u64;
    let bands = u64::from(page.band_count);
    let copy = if plan.processing.is_none() && plan.is_unscaled() {
        0
    } else {
        sample
    };
    source_pixels
        .saturating_mul(bands * (sample + copy))
        .saturating_add(plan.final_size().pixels().saturating_mul(4))
}

/// A region with a margin as far as the level reaches, and where the region lies in it.
fn widened(region: &Region, margin: u32, level: Size) -> (Region, Region) {
    let x = region.x.saturating_sub(margin);
    let y = region.y.saturating_sub(margin);
    let right = (region.right() + u64::from(margin)).min(u64::from(level.width));
    let bottom = (region.bottom() + u64::from(margin)).min(u64::from(level.height));
    // Inside the level, whose sides are u32.
    let wide = Region::new(
        x,
        y,
        (right - u64::from(x)) as u32,
        (bottom - u64::from(y)) as u32,
    );
    (
        wide,
        Region::new(region.x - x, region.y - y, region.width, region.height),
    )
}

/// The physical resolution of the finished picture: as many pixels to the inch as it really has.
fn scaled_resolution(source: &Resolution, plan: &Plan) -> Resolution {
    let (x, y) = (source.x * plan.scale.0, source.y * plan.scale.1);
    let (x, y) = if matches!(plan.turn.quarters(), Some(1 | 3)) {
        (y, x)
    } else {
        (x, y)
    };
    Resolution {
        x,
        y,
        unit: source.unit,
    }
}

pub(super) fn encoder_config(config: &Config) -> EncoderConfig {
    EncoderConfig {
        jpeg_quality: config.encoders.jpeg_quality,
        png_quality: config.encoders.png_quality,
        webp_quality: config.encoders.webp_quality,
        avif_quality: config.encoders.avif_quality,
        tiff_compression: match config.encoders.tiff_compression {
            1 => TiffCompression::Lzw,
            2 => TiffCompression::Deflate,
            3 => TiffCompression::Jpeg,
            4 => TiffCompression::WebP,
            5 => TiffCompression::Zstandard,
            _ => TiffCompression::None,
        },
        tiff_quality: config.encoders.tiff_quality,
        max_icc_bytes: config.max_icc_bytes,
    }
}

pub(super) fn iip_settings() -> iip::Settings {
    let formats = encode::available_formats();
    iip::Settings {
        webp: formats.contains(&OutputFormat::WebP),
        avif: formats.contains(&OutputFormat::Avif),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_ends_at_the_edge_of_the_level() {
        let level = Size::new(100, 50);
        let (wide, inner) = widened(&Region::new(0, 10, 20, 40), 2, level);
        assert_eq!(
            (wide, inner),
            (Region::new(0, 8, 22, 42), Region::new(0, 2, 20, 40))
        );
    }
}
