//! Regions of a scan at full size and at the sizes of a scaled inverse DCT.

use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, DecodeError, ReadContext, Region};

use crate::codec::{self, Decoding, TakeRow};
use crate::excerpt::{Excerpt, Original, Outcome};
use crate::header::{Coding, Header};
use crate::index::Index;
use crate::sequential::Scan;
use crate::tables::{Quant, Tables};

/// The smallest size the inverse DCT gives: one sample of each block.
pub(crate) const MAX_HALVINGS: u32 = 3;

/// Pixels decoded between two looks at the clock.
const PIXELS_PER_CHECK: u32 = 1 << 18;

/// One scan of all components, in a file or in memory.
pub(crate) struct Picture {
    source: Arc<dyn ByteSource>,
    scan: Scan,
    index: Index,
    coding: Coding,
    inverted: bool,
    quant: Vec<Quant>,
}

impl Picture {
    /// The picture of a scan in `source`, with the quantization tables of `tables`; the header says the rest.
    ///
    /// # Errors
    /// `Format` if a quantization table is missing.
    pub(crate) fn new(
        source: Arc<dyn ByteSource>,
        scan: Scan,
        header: &Header,
        tables: &Tables,
    ) -> Result<Self, DecodeError> {
        let mut quant = Vec::with_capacity(4);
        for component in &header.frame.components {
            let table = tables.quant[component.quant].as_deref().ok_or_else(|| {
                DecodeError::format(format!(
                    "quantization table {} of the JPEG is missing",
                    component.quant
                ))
            })?;
            quant.push(*table);
        }
        Ok(Self {
            source,
            index: Index::new(&scan),
            scan,
            coding: header.coding,
            inverted: header.inverted,
            quant,
        })
    }

    /// Decodes `region` of the picture halved `halvings` times, at most [`MAX_HALVINGS`], and gives its rows to
    /// `take` with their number from 0. Halves are rounded up; a region of a level rounded down lies inside.
    /// Gives whether some of the data was damaged.
    ///
    /// # Errors
    /// `Format`, `Io`, `LimitExceeded`, `Cancelled`, `DeadlineExceeded`, or those of `take`.
    pub(crate) fn rows(
        &self,
        halvings: u32,
        region: Region,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<bool, DecodeError> {
        let frame = &self.scan.frame;
        // Upsampling blends with the samples of the MCU beside; without it nothing crosses an MCU.
        let margin = u32::from(frame.is_subsampled());
        let range = |start: u32, len: u32, mcu: u32, count: u32| {
            let mcu = mcu >> halvings;
            let first = (start / mcu).saturating_sub(margin);
            let last = (start + len).div_ceil(mcu).saturating_add(margin).min(count);
            (first..last, start - first * mcu)
        };
        let (cols, left) = range(region.x, region.width, frame.mcu_width(), frame.mcu_cols());
        let (rows, top) = range(region.y, region.height, frame.mcu_height(), frame.mcu_rows());
        let outcome = Outcome::default();
        let original = Original {
            scan: &self.scan,
            index: &self.index,
            source: &*self.source,
            coding: self.coding,
            quant: &self.quant,
        };
        let excerpt = Excerpt::new(original, (cols, rows), halvings, ctx, &outcome);
        let (width, height) = excerpt.size();
        let (width, height) = (width.div_ceil(1 << halvings), height.div_ceil(1 << halvings));
        ctx.limits.check_pixels(u64::from(width) * u64::from(height))?;
        let decoding = Decoding {
            coding: self.coding,
            halvings,
            first_row: top,
            rows: region.height,
            width,
        };
        let bands = self.band_count() as usize;
        let bytes = left as usize * bands..(left + region.width) as usize * bands;
        let check_rows = (PIXELS_PER_CHECK / width).max(1);
        let mut wanted = vec![0; bytes.len()];
        let result = codec::decode(excerpt, &decoding, &mut |number, row| {
            if number % check_rows == 0 {
                ctx.checkpoint()?;
            }
            let row = row
                .get(bytes.clone())
                .ok_or_else(|| DecodeError::usage("a region past the edge"))?;
            wanted.copy_from_slice(row);
            if self.inverted {
                wanted.iter_mut().for_each(|ink| *ink = 255 - *ink);
            }
            take(number, &wanted)
        });
        // What stopped the excerpt is the cause; the codec only says that its input broke off.
        match outcome.failure.take() {
            Some(error) => Err(error),
            None => result.map(|()| outcome.damaged.get()),
        }
    }

    /// The most bytes that a picture in memory and its index take.
    pub(crate) fn memory(&self) -> u64 {
        self.source.len() + self.index.max_bytes(&self.scan)
    }

    /// Places of the index found so far.
    #[cfg(test)]
    pub(crate) fn known_places(&self) -> usize {
        self.index.known()
    }

    /// Bands of a pixel.
    pub(crate) fn band_count(&self) -> u32 {
        band_count(self.coding)
    }
}

/// Bands of a pixel as they are delivered.
pub(crate) fn band_count(coding: Coding) -> u32 {
    match coding {
        Coding::Grey => 1,
        Coding::YCbCr | Coding::Rgb => 3,
        Coding::Cmyk | Coding::Ycck => 4,
    }
}
