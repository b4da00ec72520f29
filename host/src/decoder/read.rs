//! Pixels of a level, stored or virtual, as a raster.

use iiphost_plugin_api::{PixelBuffer, ReadRequest, Region};
use rayon::prelude::*;

use super::call::CallScope;
use super::image::OpenImage;
use crate::error::Error;
use crate::image_info::{Level, Page};
use crate::limits::{Limits, Size};
use crate::raster::Raster;

/// Largest strip of the full-size level held while a virtual level is made, in pixels.
const STRIP_PIXELS: u64 = 16 << 20;

/// Reads pixels of an open image for one piece of work.
#[derive(Clone, Copy)]
pub struct RegionReader<'a> {
    image: &'a OpenImage,
    limits: &'a Limits,
    scope: &'a CallScope,
    pause: &'a (dyn Fn() + Sync),
    /// Threads the module may use; `None` splits large regions over the threads of the pool.
    threads: Option<u32>,
}

impl<'a> RegionReader<'a> {
    /// A reader within limits and time.
    #[must_use]
    pub fn new(image: &'a OpenImage, limits: &'a Limits, scope: &'a CallScope) -> Self {
        Self {
            image,
            limits,
            scope,
            pause: &|| (),
            threads: None,
        }
    }

    /// Calls `pause` between the parts of large reads: an export lets urgent work run there.
    #[must_use]
    pub fn with_pause(mut self, pause: &'a (dyn Fn() + Sync)) -> Self {
        self.pause = pause;
        self
    }

    /// The same with each read of a stored level one call, which may use `threads` threads.
    #[must_use]
    pub fn with_threads(mut self, threads: u32) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Bytes of the pixels of a region.
    #[must_use]
    pub fn bytes(&self, page_idx: usize, region: &Region) -> u64 {
        let page = self.image.info.page(page_idx);
        let pixel = u64::from(page.band_count).saturating_mul(page.sample_format.bytes() as u64);
        region.pixels().saturating_mul(pixel)
    }

    /// Reads a region of a level of a page. Large regions are read in bands of tile rows on the threads of
    /// the current rayon pool.
    ///
    /// # Errors
    /// 400 for more pixels or memory than a request may use; the decoder's error otherwise.
    pub fn read(
        &self,
        page_idx: usize,
        level: &Level,
        region: Region,
        quality_layers: u32,
    ) -> Result<Raster, Error> {
        let page = self.image.info.page(page_idx);
        check_pixels(page.decoded_pixels(level, &region), self.limits)?;
        let request = ReadRequest {
            page: u32::try_from(page_idx).map_err(|_| Error::not_found("no such page"))?,
            level: level.decoder_level,
            region,
            quality_layers,
        };
        if level.halvings == 0 {
            self.stored(page, &request, level)
        } else {
            self.halved(page, &request, level)
        }
    }

    /// A raster for a region of a page.
    fn raster(&self, page: &Page, size: Size) -> Result<Raster, Error> {
        let mut raster = Raster::zeros(
            size,
            page.band_count,
            page.sample_format,
            self.limits.max_request_bytes,
        )?;
        raster.color_model = page.color_model;
        raster.alpha = page.alpha;
        raster.bit_depth = page.bit_depth;
        raster.signed = page.signed;
        Ok(raster)
    }

    /// A region of a stored level.
    fn stored(&self, page: &Page, request: &ReadRequest, level: &Level) -> Result<Raster, Error> {
        let region = request.region;
        let mut raster = self.raster(page, Size::new(region.width, region.height))?;
        let stride = raster.row_stride();
        let bands = match self.threads {
            Some(_) => vec![region],
            None => self.row_bands(page, request, level),
        };
        let (count, format) = (raster.band_count, raster.samples.format());
        let mut rest = raster.samples.bytes_mut();
        let mut parts = Vec::with_capacity(bands.len());
        for band in bands {
            // The bands cover the region once, so their rows are exactly the rows of the raster.
            let (rows, tail) = rest.split_at_mut(stride * band.height as usize);
            rest = tail;
            parts.push((band, rows));
        }
        let alone = parts.len() == 1;
        let read = |(band, rows): (Region, &mut [u8])| -> Result<(), Error> {
            let mut out = PixelBuffer::new(rows, band.width, band.height, count, format, stride)
                .map_err(|e| Error::fault("decode", e.message()))?;
            let request = ReadRequest {
                region: band,
                ..*request
            };
            let threads = self.threads.unwrap_or(1);
            self.image
                .read(&request, &mut out, self.limits, threads, self.scope)?;
            if !alone {
                (self.pause)();
            }
            Ok(())
        };
        if alone {
            parts.into_iter().try_for_each(read)?;
        } else {
            parts.into_par_iter().try_for_each(read)?;
        }
        Ok(raster)
    }

    /// The parts a large region is read in: rows of tiles, or of the blocks of tiles that cost less together
    /// as long as there is one for each thread.
    fn row_bands(&self, page: &Page, request: &ReadRequest, level: &Level) -> Vec<Region> {
        let tile = level.stored_tile;
        let bands = row_bands(&request.region, tile);
        let threads = rayon::current_num_threads();
        if bands.len() <= threads {
            return bands;
        }
        let gain = self
            .image
            .gain(request.page as usize, level, page.tile_size, self.scope);
        let taller = Size::new(tile.width, tile.height.saturating_mul(gain.block()));
        let blocks = row_bands(&request.region, taller);
        if blocks.len() >= threads { blocks } else { bands }
    }

    /// A region of a virtual level: strips of the full-size level, averaged down as they come.
    fn halved(&self, page: &Page, request: &ReadRequest, level: &Level) -> Result<Raster, Error> {
        let region = request.region;
        let mut raster = self.raster(page, Size::new(region.width, region.height))?;
        let shift = level.halvings;
        let full = page.size();
        // Rows of the virtual level whose pixels fit one strip, at least one.
        let pixels_per_row = (u64::from(region.width) << shift).max(1) << shift;
        let rows = u32::try_from(STRIP_PIXELS / pixels_per_row)
            .unwrap_or(u32::MAX)
            .max(1);
        let row_bytes = raster.row_stride();
        let mut done = 0;
        while done < region.height {
            let height = rows.min(region.height - done);
            // A side of the level that was halved down to 1 stands for whatever is left of the full size.
            let (x, width) = widened(region.x, region.width, shift, full.width);
            let (y, height_full) = widened(region.y + done, height, shift, full.height);
            let strip = ReadRequest {
                region: Region::new(x, y, width, height_full),
                ..*request
            };
            let mut strip = self.stored(page, &strip, level)?;
            for _ in 0..shift {
                strip = crate::raster::halve(&strip)?;
            }
            let start = done as usize * row_bytes;
            let bytes = strip.samples.bytes();
            let target = raster
                .samples
                .bytes_mut()
                .get_mut(start..start + height as usize * row_bytes)
                .filter(|target| target.len() == bytes.len())
                .ok_or_else(|| Error::fault("decode", "a virtual level has an unexpected size"))?;
            target.copy_from_slice(bytes);
            done += height;
            (self.pause)();
        }
        Ok(raster)
    }
}

/// Not every read is planned: statistics take a whole level, however small the picture they are for.
fn check_pixels(decoded: u64, limits: &Limits) -> Result<(), Error> {
    if decoded > limits.max_decoded_pixels {
        return Err(Error::bad_request(format!(
            "{decoded} pixels would have to be decoded, MAX_DECODED_PIXELS allows {}",
            limits.max_decoded_pixels
        )));
    }
    Ok(())
}

/// The range of the full size a range of a virtual level is averaged from.
fn widened(start: u32, length: u32, shift: u32, full: u32) -> (u32, u32) {
    let first = (u64::from(start) << shift).min(u64::from(full) - 1);
    let count = (u64::from(length) << shift).min(u64::from(full) - first);
    // Both are below the full side, a u32.
    (first as u32, count as u32)
}

/// Cuts a region at the tile rows of its level: reading a band decodes whole tiles.
fn row_bands(region: &Region, tile: Size) -> Vec<Region> {
    // A region of few tiles is not worth several calls; strips of one row are taken together.
    let step = tile.height.max(64);
    let mut bands = Vec::new();
    let bottom = region.bottom();
    let mut y = u64::from(region.y);
    while y < bottom {
        let next = ((y / u64::from(step) + 1) * u64::from(step)).min(bottom);
        // Inside the region, whose sides are u32.
        bands.push(Region::new(region.x, y as u32, region.width, (next - y) as u32));
        y = next;
    }
    bands
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bands_cover_the_rows_once(y in 0u32..5000, height in 1u32..5000, tile in 1u32..700) {
            let region = Region::new(3, y, 10, height);
            let mut next = y;
            for band in row_bands(&region, Size::new(256, tile)) {
                prop_assert_eq!((band.x, band.y, band.width), (3, next, 10));
                prop_assert!(band.height > 0);
                next += band.height;
            }
            prop_assert_eq!(u64::from(next), region.bottom());
        }
    }
}
