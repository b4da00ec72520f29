//! Rows of an image that a decoder module has opened.

use std::time::Duration;

use iiphost_plugin_api::{
    AlphaMode, CallContext, ColorModel, HostServices, ImageReader, LevelInfo, Limits, LogLevel, MetadataKind,
    PageInfo, PixelBuffer, ReadRequest, Region, SampleFormat,
};

use super::Cancel;
use super::source::{RowSource, SourceError, SourceInfo};
use crate::encode::tiff::{Metadata, PixelLayout};
use crate::limits::Size;

/// Bytes of the band of rows read at once, unless one row of the image's tiles needs more.
const BAND_BYTES: usize = 64 << 20;

/// The full size of page 0 of an open image.
pub struct ReaderSource {
    reader: Box<dyn ImageReader>,
    info: SourceInfo,
    services: Services,
    limits: Limits,
    /// Full scale of the stored samples, where they do not fill their width.
    white: Option<u32>,
    /// Rows read ahead: whole rows of tiles, so that no tile is decoded twice.
    band: Vec<u8>,
    /// Rows of a band.
    band_rows: u32,
    /// First row of the image not handed out yet.
    at: u32,
    /// Rows of the image read so far.
    read: u32,
}

impl std::fmt::Debug for ReaderSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderSource")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl ReaderSource {
    /// Rows of page 0 of `reader`; `cancel` stops a read in the module.
    ///
    /// # Errors
    /// `Unsupported` for what is neither grey nor RGB of 8 or 16 bits with at most one alpha band.
    pub fn new(reader: Box<dyn ImageReader>, cancel: Cancel) -> Result<Self, SourceError> {
        let page = reader
            .info()
            .pages
            .first()
            .ok_or_else(|| SourceError::unsupported("an image without pages"))?;
        let level = *page
            .levels
            .first()
            .ok_or_else(|| SourceError::unsupported("an image without levels"))?;
        let layout = supported_layout(page)?;
        let info = SourceInfo {
            size: Size::new(level.width, level.height),
            layout,
        };
        let row_bytes = info
            .row_bytes()
            .filter(|&row| row > 0 && level.height > 0)
            .ok_or_else(|| SourceError::unsupported(format!("an image of {} pixels", info.size)))?;
        let bits = 8 * layout.sample_format.bytes() as u32;
        let white = (page.bit_depth > 0 && page.bit_depth < bits).then(|| (1_u32 << page.bit_depth) - 1);
        let band_rows = band_rows(&level, row_bytes);
        let limits = Limits {
            // Whole tiles above and below the band may be decoded besides.
            max_pixels: u64::MAX,
            max_bytes: 2 << 30,
            ..Limits::default()
        };
        Ok(Self {
            reader,
            info,
            services: Services { cancel },
            limits,
            white,
            band: Vec::new(),
            band_rows,
            at: 0,
            read: 0,
        })
    }

    fn read_band(&mut self) -> Result<(), SourceError> {
        let row_bytes = self.info.row_bytes().unwrap_or(0);
        let rows = self.band_rows.min(self.info.size.height - self.read);
        self.band.clear();
        self.band.resize(row_bytes.saturating_mul(rows as usize), 0);
        let request = ReadRequest {
            page: 0,
            level: 0,
            region: Region::new(0, self.read, self.info.size.width, rows),
            quality_layers: 0,
        };
        let mut buffer = PixelBuffer::new(
            &mut self.band,
            self.info.size.width,
            rows,
            self.info.layout.band_count,
            self.info.layout.sample_format,
            row_bytes,
        )?;
        let ctx = CallContext::new(self.limits, &self.services);
        self.reader.read(&request, &mut buffer, &ctx)?;
        if let Some(white) = self.white {
            scale_to_full(&mut self.band, self.info.layout.sample_format, white);
        }
        self.read += rows;
        Ok(())
    }
}

/// Whole rows of tiles, as many as fit the memory of a band, at least one tile high.
fn band_rows(level: &LevelInfo, row_bytes: usize) -> u32 {
    let fitting = u32::try_from(BAND_BYTES / row_bytes).unwrap_or(u32::MAX).max(1);
    let tile = level.tile_height.clamp(1, level.height);
    if tile == level.height && tile > fitting {
        // Not tiled down at all: bands cost the decoder no more than strips.
        return fitting;
    }
    (fitting / tile).max(1).saturating_mul(tile).min(level.height)
}

fn supported_layout(page: &PageInfo) -> Result<PixelLayout, SourceError> {
    let refuse = |what: String, advice: &str| Err(SourceError::unsupported(format!("{what}; {advice}")));
    let color_model = match page.color_model {
        ColorModel::Grey => ColorModel::Grey,
        ColorModel::Rgb => ColorModel::Rgb,
        ColorModel::Cmyk => {
            return refuse(
                "a CMYK picture has no exact RGB form without its profile".into(),
                "convert it to RGB first",
            );
        }
        ColorModel::CieLab => {
            return refuse("a CIELAB picture".into(), "convert it to RGB first");
        }
        _ => {
            return refuse(
                format!("{} bands without a color meaning", page.band_count),
                "pyramids are made from grey or RGB with at most one alpha band",
            );
        }
    };
    if page.band_count > 4 {
        return refuse(
            format!("{} bands", page.band_count),
            "pyramids are made from at most 4",
        );
    }
    if !matches!(page.sample_format, SampleFormat::U8 | SampleFormat::U16) || page.signed {
        return refuse(
            format!(
                "samples of {} bits{}",
                page.bit_depth,
                if page.signed { ", signed" } else { "" }
            ),
            "pyramids are made from unsigned samples of up to 16 bits",
        );
    }
    let mut layout = PixelLayout::new(color_model, page.alpha, page.sample_format);
    if page.band_count < layout.band_count {
        return refuse(
            format!("{} bands for {:?}", page.band_count, page.color_model),
            "the decoder contradicts itself",
        );
    }
    if page.alpha == AlphaMode::None || page.band_count > layout.band_count {
        // Bands without a meaning stay what they are: extra bands.
        layout.band_count = page.band_count;
    }
    Ok(layout)
}

/// Spreads samples of fewer bits over the whole width: 4095 of 12 bits becomes 65535.
fn scale_to_full(bytes: &mut [u8], format: SampleFormat, white: u32) {
    let full = if format == SampleFormat::U8 { 255 } else { 65535 };
    let scale = |value: u32| (value.min(white) * full + white / 2) / white;
    if format == SampleFormat::U8 {
        for sample in bytes {
            *sample = scale(u32::from(*sample)) as u8;
        }
    } else {
        for sample in bytes.chunks_exact_mut(2) {
            let value = scale(u32::from(u16::from_ne_bytes([sample[0], sample[1]])));
            sample.copy_from_slice(&(value as u16).to_ne_bytes());
        }
    }
}

impl RowSource for ReaderSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError> {
        let row_bytes = self.info.row_bytes().unwrap_or(0).max(1);
        let mut filled = 0;
        while filled < rows.len() {
            if self.at == self.read {
                self.read_band()?;
            }
            let ready = (self.read - self.at) as usize * row_bytes;
            let count = ready.min(rows.len() - filled);
            let start = self.band.len() - ready;
            rows[filled..filled + count].copy_from_slice(&self.band[start..start + count]);
            filled += count;
            self.at += (count / row_bytes) as u32;
        }
        Ok(())
    }

    fn metadata(&mut self) -> Result<Metadata, SourceError> {
        let ctx = CallContext::new(self.limits, &self.services);
        let info = self.reader.info();
        Ok(Metadata {
            icc: self.reader.metadata(MetadataKind::Icc, &ctx)?,
            xmp: self.reader.metadata(MetadataKind::Xmp, &ctx)?,
            resolution: info.pages.first().and_then(|p| p.resolution),
            text: info.text.clone(),
        })
    }
}

/// What a module gets from a build: no deadline, cancellation, the log.
struct Services {
    cancel: Cancel,
}

impl HostServices for Services {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn time_left(&self) -> Duration {
        Duration::MAX
    }

    fn log(&self, level: LogLevel, message: &str) {
        match level {
            LogLevel::Error => tracing::error!("{message}"),
            LogLevel::Warning => tracing::warn!("{message}"),
            _ => tracing::debug!("{message}"),
        }
    }
}
