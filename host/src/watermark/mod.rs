//! A mark on every tile and every block of an export.
//!
//! Whether a block carries the mark, and where in it, follows from a hash of the image, the block's place
//! and the mark (`place`): the same picture is the same wherever and whenever it is made, so caches and
//! several servers agree, and asking again gives no second position to average the mark away with.
//!
//! The mark is laid on finished pixels (`blend`): after everything else, before encoding. Opacity of the
//! picture stays as it is. Nothing here reads files.

mod blend;
mod place;

use sha2::{Digest, Sha256};

use crate::config::Blend;
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, Samples};

pub use place::{Blocks, Subject};

/// A mark ready to be laid on pictures.
#[derive(Debug)]
pub struct Watermark {
    size: Size,
    /// Red, green, blue, opacity.
    pixels: Vec<[u8; 4]>,
    blend: Blend,
    opacity: f32,
    probability: f64,
    /// Of size and pixels: places depend on it.
    digest: [u8; 32],
}

impl Watermark {
    /// A mark from its picture: interleaved `U8` RGB, with or without opacity, not multiplied by it.
    ///
    /// Without a `blend` a mark with opacity covers, one without is added.
    ///
    /// # Errors
    /// A fault when the raster is of another kind.
    pub fn new(
        picture: &Raster,
        blend: Option<Blend>,
        opacity: f64,
        probability: f64,
    ) -> Result<Self, Error> {
        let unfit = || {
            Error::fault(
                "watermark",
                format!("{} bands of {:?}", picture.band_count, picture.samples.format()),
            )
        };
        let samples = picture.as_u8().ok_or_else(unfit)?;
        let pixels: Vec<[u8; 4]> = match picture.band_count {
            3 => samples
                .as_chunks()
                .0
                .iter()
                .map(|&[r, g, b]| [r, g, b, u8::MAX])
                .collect(),
            4 => samples.as_chunks().0.to_vec(),
            _ => return Err(unfit()),
        };
        let has_opacity = picture.band_count == 4;
        let size = picture.size;
        if pixels.is_empty() || pixels.len() as u64 != size.pixels() {
            return Err(unfit());
        }
        let digest = Sha256::new()
            .chain_update(size.width.to_le_bytes())
            .chain_update(size.height.to_le_bytes())
            .chain_update(pixels.as_flattened())
            .finalize()
            .into();
        Ok(Self {
            size,
            pixels,
            blend: blend.unwrap_or(if has_opacity { Blend::Over } else { Blend::Add }),
            opacity: opacity.clamp(0.0, 1.0) as f32,
            probability: probability.clamp(0.0, 1.0),
            digest,
        })
    }

    /// Size in pixels.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Marks of equal fingerprints make equal pictures.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        let hash = Sha256::new()
            .chain_update(self.digest)
            .chain_update([self.blend as u8])
            .chain_update(self.opacity.to_le_bytes())
            .chain_update(self.probability.to_le_bytes())
            .finalize();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        fingerprint
    }

    /// Whether a picture of `size` carries the mark anywhere.
    #[must_use]
    pub fn marks(&self, subject: &Subject<'_>, blocks: Blocks, size: Size) -> bool {
        // A mark nobody sees is none: stored tiles need not be decoded for it.
        self.opacity > 0.0 && blocks.of(size).any(|block| self.place(subject, &block).is_some())
    }

    /// Lays the mark on a picture of `U8` or `U16` at full scale.
    ///
    /// # Errors
    /// A fault for other samples.
    pub fn apply(&self, raster: &mut Raster, subject: &Subject<'_>, blocks: Blocks) -> Result<(), Error> {
        let size = raster.size;
        self.apply_to_rows(raster, 0, size, subject, blocks)
    }

    /// Lays the mark on some rows of a picture of size `whole`, the first of them being `first_row`. A
    /// picture done in parts is the picture done at once.
    ///
    /// # Errors
    /// A fault for other samples than [`apply`](Self::apply) takes.
    pub fn apply_to_rows(
        &self,
        rows: &mut Raster,
        first_row: u32,
        whole: Size,
        subject: &Subject<'_>,
        blocks: Blocks,
    ) -> Result<(), Error> {
        rows.check()?;
        let (bands, colors) = (rows.band_count as usize, rows.color_band_count() as usize);
        let last_row = u64::from(first_row) + u64::from(rows.size.height);
        for block in blocks.of(whole) {
            if u64::from(block.y) >= last_row || block.bottom() <= u64::from(first_row) {
                continue;
            }
            let Some((x, y)) = self.place(subject, &block) else {
                continue;
            };
            // What does not fit the block is cut off.
            let width = self.size.width.min(block.width - x) as usize;
            let height = self.size.height.min(block.height - y);
            let (left, top) = (block.x + x, block.y + y);
            for line in 0..height {
                let Some(row) = (top + line)
                    .checked_sub(first_row)
                    .filter(|&r| r < rows.size.height)
                else {
                    continue;
                };
                let mark = line as usize * self.size.width as usize;
                let mark = self.pixels.get(mark..mark + width).unwrap_or_default();
                let start = (row as usize * rows.size.width as usize + left as usize) * bands;
                let range = start..start + width * bands;
                match &mut rows.samples {
                    Samples::U8(v) => self.lay(mark, v.get_mut(range), bands, colors),
                    Samples::U16(v) => self.lay(mark, v.get_mut(range), bands, colors),
                    other => {
                        return Err(Error::fault(
                            "watermark",
                            format!("on {:?} samples", other.format()),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
