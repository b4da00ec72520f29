//! Replies made of samples (`PFL`, `SPECTRA`) and of framed tiles (`TIL`).

use iiphost_plugin_api::{Region, SampleFormat};

use super::Handler;
use super::images::ImageHandle;
use super::reply::Family;
use crate::decoder::{CallScope, RegionReader};
use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::protocol::iip::{
    FramedCoding, SampleValues, ViewSamples, framed_reply, push_framed_tile, sample_reply,
};
use crate::protocol::{Answer, Picture, PictureKind, SampleQuery, TileRange};
use crate::raster::{Raster, Samples};
use crate::server::{Request, Response};
use crate::view::{Frame, Output, OutputFormat, Processing, Turn, View};

impl Handler {
    /// The reply of an answer that is neither document nor picture.
    pub(super) fn samples_or_tiles(
        &self,
        answer: Answer<ImageHandle>,
        request: &Request,
        family: Family,
        scope: &CallScope,
    ) -> Result<Response, Error> {
        match answer {
            Answer::Samples(query) => {
                let response = self.samples(&query, scope)?;
                // The newest of the files read stands for all of them.
                let newest = query
                    .views
                    .iter()
                    .map(|(image, ..)| image)
                    .max_by_key(|i| i.image.stamp.modified());
                Ok(match newest {
                    Some(image) => self.replies.document(request, image, response, family),
                    None => self.replies.plain(response, family),
                })
            }
            Answer::Tiles(range) => {
                let response = self.framed_tiles(&range, scope)?;
                Ok(self.replies.document(request, &range.image, response, family))
            }
            Answer::Reply(_) | Answer::Document { .. } | Answer::Picture(_) => {
                Err(Error::fault("handler", "a picture or document taken for samples"))
            }
        }
    }

    fn samples(&self, query: &SampleQuery<ImageHandle>, scope: &CallScope) -> Result<Response, Error> {
        let limit = self.config.limits.max_request_bytes / 16;
        let mut held = 0u64;
        let mut views = Vec::with_capacity(query.views.len());
        for (image, page_idx, name) in &query.views {
            let page = image.image.info.page(*page_idx);
            let region = Region::new(query.x, query.y, query.width, query.height);
            held = held.saturating_add(region.pixels().saturating_mul(u64::from(page.band_count)));
            if held > limit {
                return Err(Error::bad_request(format!(
                    "more than {limit} samples asked for (MAX_REQUEST_MEMORY)"
                )));
            }
            let raster =
                self.read_samples(image, *page_idx, query.level, region, query.quality_layers, scope)?;
            views.push(ViewSamples {
                name: name.clone(),
                scale: page.scale,
                bit_depth: page.bit_depth,
                values: stored_values(&raster, page),
            });
        }
        Ok(sample_reply(query.document, &views))
    }

    fn read_samples(
        &self,
        image: &ImageHandle,
        page_idx: usize,
        level: usize,
        region: Region,
        layers: i64,
        scope: &CallScope,
    ) -> Result<Raster, Error> {
        let page = image.image.info.page(page_idx);
        let level = page
            .levels
            .get(level)
            .ok_or_else(|| Error::not_found("no such resolution"))?;
        if region.right() > u64::from(level.size.width) || region.bottom() > u64::from(level.size.height) {
            return Err(Error::bad_request("the pixels lie outside the image"));
        }
        let limits = &self.config.limits;
        let layers = crate::plan::quality_layers(layers, page.quality_layers, limits.max_quality_layers);
        RegionReader::new(&image.image, limits, scope).read(page_idx, level, region, layers)
    }

    fn framed_tiles(&self, range: &TileRange<ImageHandle>, scope: &CallScope) -> Result<Response, Error> {
        let page = range.image.image.info.page(range.page);
        let mut body = Vec::new();
        for &(number, tile_col, tile_row) in &range.tiles {
            // Samples as stored have no watermark: with one, every tile is a picture.
            let (coding, data) = if page.bit_depth <= 8 || self.watermark().is_some() {
                (
                    FramedCoding::Jpeg,
                    self.framed_jpeg(range, tile_col, tile_row, scope)?,
                )
            } else {
                self.framed_samples(range, page, tile_col, tile_row, scope)?
            };
            push_framed_tile(&mut body, range.resolution, number, coding, &data);
            if body.len() as u64 > self.config.limits.max_request_bytes {
                return Err(Error::bad_request(
                    "the tiles need more memory than MAX_REQUEST_MEMORY allows",
                ));
            }
        }
        Ok(framed_reply(body))
    }

    /// A tile as JPEG, the same bytes `JTL` gives.
    fn framed_jpeg(
        &self,
        range: &TileRange<ImageHandle>,
        tile_col: u32,
        tile_row: u32,
        scope: &CallScope,
    ) -> Result<Vec<u8>, Error> {
        let view = View {
            page: range.page,
            frame: Frame::Tile {
                level: range.level,
                tile_col,
                tile_row,
            },
            turn: Turn::NONE,
            processing: Processing::NONE,
            output: Output {
                quality: range.quality,
                ..Output::new(OutputFormat::Jpeg)
            },
            quality_layers: range.quality_layers,
        };
        let picture = Picture {
            image: range.image.clone(),
            view,
            kind: PictureKind::Tile,
            link: None,
        };
        let prepared = self.prepare_picture(&picture)?;
        let made = match self.pictures.get(&prepared.key) {
            Some(known) => known,
            None => self.render(&prepared, self.announce(&prepared), scope)?,
        };
        Ok(made.body.to_vec())
    }

    fn framed_samples(
        &self,
        range: &TileRange<ImageHandle>,
        page: &Page,
        tile_col: u32,
        tile_row: u32,
        scope: &CallScope,
    ) -> Result<(FramedCoding, Vec<u8>), Error> {
        let level = page
            .levels
            .get(range.level)
            .ok_or_else(|| Error::not_found("no such resolution"))?;
        let tile = page.tile_size;
        let corner = |n: u32, side: u32, end: u32| n.checked_mul(side).filter(|&start| start < end);
        let (Some(x), Some(y)) = (
            corner(tile_col, tile.width, level.size.width),
            corner(tile_row, tile.height, level.size.height),
        ) else {
            return Err(Error::not_found("no such tile"));
        };
        let size = Size::new(
            tile.width.min(level.size.width - x),
            tile.height.min(level.size.height - y),
        );
        let region = Region::new(x, y, size.width, size.height);
        let raster = self.read_samples(
            &range.image,
            range.page,
            range.level,
            region,
            range.quality_layers,
            scope,
        )?;
        let coding = match page.sample_format {
            SampleFormat::U8 | SampleFormat::U16 => FramedCoding::Samples16,
            SampleFormat::U32 | SampleFormat::F32 => FramedCoding::Samples32,
        };
        Ok((coding, raster.samples.bytes().to_vec()))
    }
}

/// Samples in stored units, signed ones with their sign.
fn stored_values(raster: &Raster, page: &Page) -> SampleValues {
    let offset = if page.signed {
        1i64 << (page.bit_depth.clamp(1, 32) - 1)
    } else {
        0
    };
    let integer = |v: i64| v - offset;
    match &raster.samples {
        Samples::U8(v) => SampleValues::Integers(v.iter().map(|&v| integer(v.into())).collect()),
        Samples::U16(v) => SampleValues::Integers(v.iter().map(|&v| integer(v.into())).collect()),
        Samples::U32(v) => SampleValues::Integers(v.iter().map(|&v| integer(v.into())).collect()),
        Samples::F32(v) => SampleValues::Reals(v.iter().map(|&v| v.into()).collect()),
    }
}
