//! Smaller levels by averaging.

use std::ops::Range;

use iiphost_plugin_api::{DecodeError, ErrorKind, Region, SampleFormat};

use crate::pixels::Pixels;

/// Averages blocks of pixels.
#[derive(Clone, Debug)]
pub(crate) struct Averager {
    /// Bands of a pixel.
    pub(crate) bands: usize,
    /// How a sample is stored.
    pub(crate) sample_format: SampleFormat,
    /// The band the others are weighted by: unassociated opacity.
    pub(crate) weight: Option<usize>,
    /// Bands in two's complement.
    pub(crate) signed: Option<Range<usize>>,
}

impl Averager {
    /// The pixels of `region`, each the rounded average of `factor × factor` pixels of `source`, fewer at
    /// its right and lower edge. `origin` is the place, in the level of `source`, of the first block.
    ///
    /// # Errors
    /// `Internal` if the blocks do not lie in `source`.
    pub(crate) fn average(
        &self,
        source: &Pixels,
        origin: [u64; 2],
        factor: u64,
        region: Region,
    ) -> Result<Pixels, DecodeError> {
        let mut out = Pixels::zeros(region, source.pixel_bytes)?;
        let (x_blocks, y_blocks) = (
            blocks(
                origin[0],
                factor,
                region.width,
                source.region.x,
                source.region.width,
            ),
            blocks(
                origin[1],
                factor,
                region.height,
                source.region.y,
                source.region.height,
            ),
        );
        let row_bytes = source.row_bytes();
        let mut sums = vec![0u64; self.bands];
        for (rows, target) in y_blocks.iter().zip(out.rows_mut()) {
            for (cols, pixel) in x_blocks.iter().zip(target.chunks_exact_mut(source.pixel_bytes)) {
                if rows.is_empty() || cols.is_empty() {
                    return Err(DecodeError::new(
                        ErrorKind::Internal,
                        "an averaged pixel outside of its level",
                    ));
                }
                sums.fill(0);
                let mut weights = 0u64;
                for row in rows.clone() {
                    let start = row * row_bytes + cols.start * source.pixel_bytes;
                    let end = row * row_bytes + cols.end * source.pixel_bytes;
                    for pixel in source.bytes[start..end].chunks_exact(source.pixel_bytes) {
                        weights += self.add(pixel, &mut sums);
                    }
                }
                let count = (rows.len() * cols.len()) as u64;
                self.write(&sums, weights, count, pixel);
            }
        }
        Ok(out)
    }

    /// Adds a pixel to the sums and gives its weight.
    fn add(&self, pixel: &[u8], sums: &mut [u64]) -> u64 {
        let weight = self.weight.map_or(1, |band| self.sample(pixel, band));
        for (band, sum) in sums.iter_mut().enumerate() {
            let factor = if self.weight == Some(band) { 1 } else { weight };
            // Samples are below 2^32 and blocks below 2^32 samples; weighted sums saturate far later.
            *sum = sum.saturating_add(self.sample(pixel, band).saturating_mul(factor));
        }
        weight
    }

    fn write(&self, sums: &[u64], weights: u64, count: u64, pixel: &mut [u8]) {
        for (band, sum) in sums.iter().enumerate() {
            let divisor = match self.weight {
                Some(weight) if weight != band => weights,
                _ => count,
            };
            // Where all is transparent no color shows; 0 is as good as any.
            let value = sum.saturating_add(divisor / 2).checked_div(divisor).unwrap_or(0);
            let value = self.flipped(value, band);
            let bytes = self.sample_format.bytes();
            let target = &mut pixel[band * bytes..(band + 1) * bytes];
            // An average lies between its samples, so the narrow forms lose nothing.
            match self.sample_format {
                SampleFormat::U8 => target.copy_from_slice(&[value as u8]),
                SampleFormat::U16 => target.copy_from_slice(&(value as u16).to_ne_bytes()),
                SampleFormat::U32 | SampleFormat::F32 => {
                    target.copy_from_slice(&(value as u32).to_ne_bytes());
                }
            }
        }
    }

    fn sample(&self, pixel: &[u8], band: usize) -> u64 {
        let bytes = self.sample_format.bytes();
        let bytes = &pixel[band * bytes..(band + 1) * bytes];
        let value = match *bytes {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
            _ => 0,
        };
        self.flipped(value, band)
    }

    /// Two's complement to offset form and back.
    fn flipped(&self, value: u64, band: usize) -> u64 {
        match &self.signed {
            Some(bands) if bands.contains(&band) => value ^ (1 << (self.sample_format.bytes() * 8 - 1)),
            _ => value,
        }
    }
}

/// The columns (or rows) of `source` each of `count` blocks covers, counted from the start of `source`.
fn blocks(origin: u64, factor: u64, count: u32, start: u32, len: u32) -> Vec<Range<usize>> {
    (0..u64::from(count))
        .map(|block| {
            let first = origin + block * factor;
            let inside = |value: u64| value.saturating_sub(u64::from(start)).min(u64::from(len)) as usize;
            inside(first)..inside(first + factor)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(width: u32, bytes: Vec<u8>, pixel_bytes: usize) -> Pixels {
        let height = (bytes.len() / pixel_bytes) as u32 / width;
        Pixels {
            region: Region::new(0, 0, width, height),
            pixel_bytes,
            bytes,
        }
    }

    fn averager(bands: usize) -> Averager {
        Averager {
            bands,
            sample_format: SampleFormat::U8,
            weight: None,
            signed: None,
        }
    }

    #[test]
    fn blocks_are_averaged_and_cut_at_the_edge() {
        let source = pixels(3, vec![0, 1, 10, 2, 3, 20, 7, 8, 30], 1);
        let made = averager(1)
            .average(&source, [0, 0], 2, Region::new(0, 0, 2, 2))
            .unwrap();
        // 1.5 rounds up, the last column and row stand for themselves.
        assert_eq!(made.bytes, [2, 15, 8, 30]);
    }

    #[test]
    fn transparent_pixels_lend_no_color() {
        let source = pixels(2, vec![200, 255, 0, 0, 100, 255, 0, 0], 2);
        let averager = Averager {
            weight: Some(1),
            ..averager(2)
        };
        let made = averager
            .average(&source, [0, 0], 2, Region::new(0, 0, 1, 1))
            .unwrap();
        assert_eq!(made.bytes, [150, 128]);
    }

    #[test]
    fn signed_bands_are_averaged_as_signed() {
        let source = pixels(2, vec![10, 1, 10, 0xff], 2);
        let averager = Averager {
            signed: Some(1..2),
            ..averager(2)
        };
        let made = averager
            .average(&source, [0, 0], 2, Region::new(0, 0, 1, 1))
            .unwrap();
        assert_eq!(made.bytes, [10, 0]);
    }
}
