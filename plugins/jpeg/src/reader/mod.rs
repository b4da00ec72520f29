//! One open JPEG.

mod levels;
mod small;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iiphost_plugin_api::{
    AlphaMode, ByteSource, ColorModel, Cost, DecodeError, ImageInfo, ImageReader, MetadataKind, OpenContext,
    PageInfo, PixelBuffer, ReadContext, ReadRequest, Region, SampleFormat,
};

use crate::codec::TakeRow;
use crate::coefficients;
use crate::header::{Coding, Header};
use crate::kept::{Kept, Room};
use crate::metadata::Metadata;
use crate::picture::{MAX_HALVINGS, Picture, band_count};
use small::Small;

/// Where the end of image is looked for.
const TAIL_BYTES: usize = 4096;

/// A picture of several scans with more pixels than this is slow to show for the first time.
const LARGE_PICTURE_PIXELS: u64 = 4 << 20;

/// One open JPEG. Nothing in it changes but what it has found out, so calls need no lock between them.
pub(crate) struct JpegReader {
    source: Arc<dyn ByteSource>,
    header: Header,
    content: Content,
    info: ImageInfo,
    small: Small,
    warned: AtomicBool,
}

/// Where the coefficients are.
enum Content {
    /// In the file.
    Stored(Box<Picture>),
    /// In several scans, which the first read joins.
    Scans(Kept<Picture>),
}

impl JpegReader {
    /// Opens a file; what is kept of it takes its place in `room`.
    ///
    /// # Errors
    /// `Format`, `Unsupported`, `Io`.
    pub(crate) fn open(
        source: Arc<dyn ByteSource>,
        room: &Arc<Room>,
        ctx: &OpenContext<'_>,
    ) -> Result<Self, DecodeError> {
        let header = Header::read(&*source, ctx)?;
        let summary = Metadata::new(&*source, &header.kept).summary()?;
        let mut warnings = Vec::new();
        if !ends(&*source)? {
            warnings.push("no end of image at the end of the file: it may be cut off".into());
        }
        let frame = &header.frame;
        let content = match header.scan.whole(frame, &header.tables)? {
            Some(scan) => Content::Stored(Box::new(Picture::new(
                Arc::clone(&source),
                scan,
                &header,
                &header.tables,
            )?)),
            None => {
                if u64::from(frame.width) * u64::from(frame.height) > LARGE_PICTURE_PIXELS {
                    warnings.push(
                        "stored in several scans: a baseline JPEG or a tiled TIFF would be faster".into(),
                    );
                }
                Content::Scans(Kept::new(room))
            }
        };
        let mut text = summary.text;
        // The host decides whether pictures are turned.
        if matches!(summary.orientation, 2..=8) {
            text.push(("orientation".into(), summary.orientation.to_string().into_bytes()));
        }
        let page = PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels: levels::infos((frame.width, frame.height)),
            band_count: band_count(header.coding),
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: match header.coding {
                Coding::Grey => ColorModel::Grey,
                Coding::YCbCr | Coding::Rgb => ColorModel::Rgb,
                Coding::Cmyk | Coding::Ycck => ColorModel::Cmyk,
            },
            alpha: AlphaMode::None,
            ranges: Vec::new(),
            resolution: summary.resolution,
            quality_layers: 1,
        };
        let info = ImageInfo {
            format: if frame.progressive {
                "progressive JPEG"
            } else {
                "JPEG"
            }
            .into(),
            pages: vec![page],
            text,
            warnings,
        };
        let small = Small::new((frame.width, frame.height), band_count(header.coding), room);
        Ok(Self {
            source,
            header,
            content,
            info,
            small,
            warned: AtomicBool::new(false),
        })
    }

    /// Runs `work` with the picture, joined from its scans if it has several.
    fn with_picture<R>(
        &self,
        ctx: &ReadContext<'_>,
        work: impl FnOnce(&Picture) -> Result<R, DecodeError>,
    ) -> Result<R, DecodeError> {
        match &self.content {
            Content::Stored(picture) => work(picture),
            Content::Scans(once) => {
                let picture = once.get_or_make(ctx, Picture::memory, || {
                    let joined = coefficients::join(&*self.source, &self.header, ctx)?;
                    if let Some(damage) = &joined.damage {
                        self.warn(ctx, damage);
                    }
                    Picture::new(Arc::new(joined.data), joined.scan, &self.header, &joined.tables)
                })?;
                work(&picture)
            }
        }
    }

    /// Logs damage, the first time it is met.
    fn warn(&self, ctx: &ReadContext<'_>, damage: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            ctx.warn(&format!("a damaged JPEG is shown as far as it goes: {damage}"));
        }
    }

    /// Gives the rows of a region of a level that the inverse DCT makes to `take`, with their number from 0.
    fn scaled_rows(
        &self,
        level: u32,
        region: Region,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        let damaged = self.with_picture(ctx, |picture| picture.rows(level, region, ctx, take))?;
        if damaged {
            self.warn(ctx, "some of its data is damaged or missing");
        }
        Ok(())
    }

    /// Gives the rows of a region of any level to `take`, with their number from 0.
    fn rows(
        &self,
        level: u32,
        region: Region,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        if level < MAX_HALVINGS {
            return self.scaled_rows(level, region, ctx, take);
        }
        let eighth =
            |region: Region, take: &mut TakeRow<'_>| self.scaled_rows(MAX_HALVINGS, region, ctx, take);
        self.small.rows(level, region, &eighth, ctx, take)
    }
}

impl ImageReader for JpegReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let (page, _) = request.resolve(&self.info)?;
        out.check(page, &request.region)?;
        self.rows(request.level, request.region, ctx, &mut |number, row| {
            out.row_mut(number).copy_from_slice(row);
            Ok(())
        })
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        Metadata::new(&*self.source, &self.header.kept).block(kind, ctx)
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        // A request that names nothing costs nothing: `read` refuses it.
        let Ok((_, level)) = request.resolve(&self.info) else {
            return Cost::default();
        };
        let frame = &self.header.frame;
        // What small levels are made of is decoded once, and costs no tile anything from then on.
        let pixels = self.small.pixels(request.level, request.region);
        let all = u64::from(frame.width) * u64::from(frame.height);
        let part = request.region.pixels() as f64 / (f64::from(level.width) * f64::from(level.height));
        let scans = match &self.content {
            Content::Scans(kept) if !kept.is_made() => 2 * all * u64::from(band_count(self.header.coding)),
            _ => 0,
        };
        Cost {
            bytes_read: if scans > 0 {
                self.source.len()
            } else {
                (self.source.len() as f64 * part.min(1.0)) as u64
            },
            pixels_decoded: pixels,
            memory_bytes: scans + (1 << 20),
        }
    }
}

/// Whether there is an end of image near the end of a file.
fn ends(source: &dyn ByteSource) -> Result<bool, DecodeError> {
    let mut tail = [0; TAIL_BYTES];
    let count = source.read_at(source.len().saturating_sub(TAIL_BYTES as u64), &mut tail)?;
    Ok(tail[..count].windows(2).any(|bytes| bytes == [0xff, 0xd9]))
}
