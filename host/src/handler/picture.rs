//! Making one picture: plan, cache key, stored tile or decoded pixels, steps, encoding.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iiphost_plugin_api::{AlphaMode, ColorModel, EncodedFormat, MetadataKind, Region, Resolution, TileId};
use sha2::{Digest, Sha256};

use super::images::ImageHandle;
use super::neighbors::Wanted;
use super::{Handler, iip, mark, pixels};
use crate::cache::Weighted;
use crate::color::{Bands, Transform};
use crate::config::Config;
use crate::decoder::{CallScope, OpenImage, RegionReader};
use crate::encode::{
    self, Control, EncoderConfig, Metadata, Settings, Shape, exif, jpeg_markers, webp_container,
};
use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::pipeline::{self, Statistics};
use crate::plan::{self, Plan};
use crate::protocol::{LinkRule, OpenedImage, Picture, PictureKind};
use crate::view::{ColorMode, OutputFormat, Processing, RangeOverride, TiffCompression};
use crate::watermark::Watermark;
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
    pub(super) is_tile: bool,
    /// The watermark in force when it was asked for.
    pub(super) watermark: Option<Arc<Watermark>>,
}

/// What becomes of a picture's colors.
pub(super) enum Colors {
    /// They go out as they are, with nothing said about them.
    Plain,
    /// The profile that describes them goes out with them.
    Described(Arc<[u8]>),
    /// They are converted to sRGB.
    Converted(Arc<Transform>),
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
        write_rest_of_key(
            &mut text,
            image,
            &self.plan,
            &self.settings,
            self.is_tile,
            self.watermark.as_deref(),
        );
        let identifier = self.image.identifier();
        // The files of a sequence share their identifier and, often, time and size.
        let path = image.path.as_os_str().as_encoded_bytes();
        Sha256::new()
            .chain_update(fingerprint)
            .chain_update((identifier.len() as u64).to_le_bytes())
            .chain_update(identifier)
            .chain_update((path.len() as u64).to_le_bytes())
            .chain_update(path)
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
fn write_rest_of_key(
    key: &mut Vec<u8>,
    image: &OpenImage,
    plan: &Plan,
    settings: &Settings,
    is_tile: bool,
    watermark: Option<&Watermark>,
) {
    if let Some(mark) = watermark {
        key.extend_from_slice(&mark.fingerprint());
    }
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
        Settings::Tiff { compression, quality } => {
            (4 + compression as u8, quality.map_or(u16::MAX, u16::from))
        }
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
        let settings = Settings::resolve(plan.output, &self.encoders);
        encode::check_size_for(&settings, plan.final_size())?;
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
        let watermark = self.watermark();
        let mut key = Vec::with_capacity(256);
        write_image_key(&mut key, &image.image);
        write_rest_of_key(
            &mut key,
            &image.image,
            &plan,
            &settings,
            is_tile,
            watermark.as_deref(),
        );
        Ok(Prepared {
            image,
            plan,
            settings,
            kind: picture.kind,
            link: picture.link.clone(),
            key,
            urgency,
            is_tile,
            watermark,
        })
    }

    /// Makes a picture and keeps it.
    pub(super) fn render(
        &self,
        prepared: &Prepared,
        wanted: Option<Wanted>,
        scope: &CallScope,
    ) -> Result<CachedPicture, Error> {
        let body = match self.stored_tile(prepared, scope)? {
            Some(bytes) => bytes,
            None => self.encoded(prepared, wanted, scope)?,
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
        self.make_room();
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
        // WebP has a place for opacity, if it is not multiplied into the colors.
        let opacity = match (format, page.alpha) {
            (EncodedFormat::WebP, AlphaMode::Unassociated) => 1,
            _ => 0,
        };
        let fits = self.config.codec_passthrough
            && level.encoded == Some(format)
            && plan.output.quality.is_none()
            && page.bit_depth == 8
            && matches!(page.color_model, ColorModel::Grey | ColorModel::Rgb)
            && page.color_band_count + opacity == page.band_count
            // What reaches over the edge of the level can be cut without decoding only in JPEG.
            && (plan.size == page.tile_size || format == EncodedFormat::Jpeg)
            && pipeline::is_plain(&plan.processing, &plan.turn, grey);
        let tile = TileId {
            page: u32::try_from(plan.page).unwrap_or(u32::MAX),
            level: level.decoder_level,
            tile_col,
            tile_row,
        };
        (fits && !is_marked(prepared)).then_some((format, tile))
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
        let profile = match self.colors(prepared) {
            Colors::Plain => None,
            Colors::Described(icc) => Some(icc),
            Colors::Converted(_) => return Ok(None),
        };
        let image = &prepared.image.image;
        let Some(encoded) = image.encoded_tile(tile, &self.config.limits, scope)? else {
            return Ok(None);
        };
        if encoded.format != stored_as || Size::new(encoded.width, encoded.height) != prepared.plan.size {
            return Ok(None);
        }
        let Some(icc) = profile else {
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

    fn encoded(
        &self,
        prepared: &Prepared,
        wanted: Option<Wanted>,
        scope: &CallScope,
    ) -> Result<Vec<u8>, Error> {
        let rows = 0..prepared.plan.final_size().height;
        let urgency = prepared.urgency;
        let pause = move || {
            if urgency == Urgency::Export {
                self.workers.yield_to_urgent();
            }
        };
        let memory = self
            .memory
            .reserve(pixels::pixel_bytes(&prepared.plan, prepared.page(), &rows))?;
        let memory: Arc<encode::Held> = Arc::new(memory);
        let (raster, colors) = self.pixels(prepared, rows, wanted, scope)?;
        let metadata = self.metadata(prepared, &Shape::of(&raster), colors);
        let check = || match scope.is_abandoned() {
            true => Err(Error::Cancelled),
            false if Instant::now() > scope.deadline() => Err(Error::Unavailable {
                reason: "deadline passed while encoding".into(),
                retry_after: Duration::from_secs(5),
            }),
            false => Ok(()),
        };
        check()?;
        let control = Control::new(&check, &pause).with_end(scope.deadline(), &memory);
        encode::encode_while(raster, &prepared.settings, &metadata, control)
    }

    /// Statistics of the whole smallest level of a page, kept with the image's state and the ranges in force.
    pub(super) fn statistics_of(
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
        let inks = self.inks(image, page);
        let raster = pipeline::show_inks(raster, inks.as_deref(), self.config.limits.max_request_bytes)?;
        let processing = Processing {
            ranges: ranges.clone(),
            ..Processing::NONE
        };
        let statistics = Arc::new(pipeline::statistics(&raster, &page.ranges, &processing)?);
        self.statistics.insert(&key, KeptStatistics(statistics.clone()));
        Ok(statistics)
    }

    /// What becomes of the colors of a picture: a profile goes out while the bands mean what it describes and
    /// the file may hold it; otherwise they are converted.
    pub(super) fn colors(&self, prepared: &Prepared) -> Colors {
        let plan = &prepared.plan;
        let p = &plan.processing;
        let bands = match prepared.page().color_model {
            ColorModel::Grey => Bands::Grey,
            ColorModel::Rgb => Bands::Rgb,
            _ => return Colors::Plain,
        };
        if p.color_map.is_some() || p.shade.is_some() || p.twist.is_some() {
            return Colors::Plain;
        }
        let Some(icc) = prepared.image.image.metadata(MetadataKind::Icc) else {
            return Colors::Plain;
        };
        if !self.transforms.is_sound(&icc, bands) {
            return Colors::Plain;
        }
        if !self.config.convert_to_srgb {
            if p.color_mode != ColorMode::Native {
                return Colors::Plain;
            }
            // WebP has no grey that a profile for grey could describe.
            let can_hold = plan.output.format != OutputFormat::WebP || bands != Bands::Grey;
            if can_hold && self.encoders.allows_icc(icc.len()) {
                return Colors::Described(icc);
            }
        }
        match self.transforms.to_srgb(&icc, bands) {
            Some(transform) if !transform.is_identity() => Colors::Converted(transform),
            _ => Colors::Plain,
        }
    }

    /// What the profile of a CMYK image says of its inks.
    pub(super) fn inks(&self, image: &OpenImage, page: &Page) -> Option<Arc<Transform>> {
        if page.color_model != ColorModel::Cmyk {
            return None;
        }
        let icc = image.metadata(MetadataKind::Icc)?;
        self.transforms.to_srgb(&icc, Bands::Cmyk)
    }

    pub(super) fn metadata(&self, prepared: &Prepared, shape: &Shape, colors: Colors) -> Metadata {
        let image = &prepared.image.image;
        let page = prepared.page();
        let same_bands = shape.color_band_count() == page.color_band_count;
        let rights = image.info.text("rights").map(<[u8]>::to_vec);
        let mut metadata = Metadata {
            icc: match colors {
                Colors::Described(icc) if same_bands => Some(icc),
                _ => None,
            },
            resolution: page.resolution.map(|r| scaled_resolution(&r, &prepared.plan)),
            text: image.info.text.clone(),
            rights,
            ..Metadata::default()
        };
        if !prepared.is_tile {
            metadata.xmp = image.metadata(MetadataKind::Xmp);
            let source = image.metadata(MetadataKind::Exif);
            let about = exif::About {
                size: shape.size,
                rights: metadata.rights.as_deref(),
                resolution: metadata.resolution,
                // The others have a place of their own for it.
                resolution_alone: matches!(
                    prepared.plan.output.format,
                    OutputFormat::WebP | OutputFormat::Avif
                ),
            };
            let made = exif::for_output(source.as_deref(), &about);
            metadata.exif = made.exif.map(Arc::from);
            if let Some(reason) = made.left_out {
                tracing::warn!(image = %image.identifier.escape_ascii(), "EXIF left out: {reason}");
            }
        }
        metadata
    }
}

/// Whether the watermark is anywhere on a picture.
fn is_marked(prepared: &Prepared) -> bool {
    prepared.watermark.as_ref().is_some_and(|watermark| {
        let (subject, blocks) = mark::subject(&prepared.image, &prepared.plan, prepared.is_tile);
        watermark.marks(&subject, blocks, prepared.plan.final_size())
    })
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

/// A region with a margin as far as the level reaches, and where the region lies in it.
pub(super) fn widened(region: &Region, margin: u32, level: Size) -> (Region, Region) {
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
    if config.encoders.avif_quality < 0 {
        tracing::warn!("AVIF_QUALITY=-1: the AVIF encoder has no lossless mode, quality 100 is used");
    }
    if !matches!(config.encoders.avif_codec, 0 | 2) {
        tracing::warn!(
            "AVIF_CODEC={}: the only AVIF encoder here is rav1e (2), it is used",
            config.encoders.avif_codec
        );
    }
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
