//! Pixels owned by the host, filled by a decoder.

use crate::error::DecodeError;
use crate::info::{PageInfo, SampleFormat};
use crate::region::Region;

/// A rectangle of interleaved samples in native byte order that a decoder fills.
///
/// Row `r` starts at byte `r * row_stride`; it holds `width * band_count` samples. The buffer has
/// `(height - 1) * row_stride + width * band_count * sample_format.bytes()` bytes or more. The host
/// owns it and clears it before the call, so a decoder that stops early leaves zeros, never old bytes.
#[derive(Debug)]
pub struct PixelBuffer<'a> {
    bytes: &'a mut [u8],
    width: u32,
    height: u32,
    band_count: u32,
    sample_format: SampleFormat,
    row_stride: usize,
}

impl<'a> PixelBuffer<'a> {
    /// A buffer over `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when a side is 0, the stride is shorter than a
    /// row or `bytes` is too short.
    pub fn new(
        bytes: &'a mut [u8],
        width: u32,
        height: u32,
        band_count: u32,
        sample_format: SampleFormat,
        row_stride: usize,
    ) -> Result<Self, DecodeError> {
        let wrong = |what: &str| {
            Err(DecodeError::usage(format!(
                "pixel buffer {width}x{height}, {band_count} bands, stride {row_stride}: {what}"
            )))
        };
        if width == 0 || height == 0 || band_count == 0 {
            return wrong("empty");
        }
        let Some(row) = row_bytes(width, band_count, sample_format) else {
            return wrong("a row is larger than memory");
        };
        if row_stride < row {
            return wrong("the stride is shorter than a row");
        }
        let needed = (height as usize - 1)
            .checked_mul(row_stride)
            .and_then(|n| n.checked_add(row));
        match needed {
            Some(needed) if needed <= bytes.len() => Ok(Self {
                bytes,
                width,
                height,
                band_count,
                sample_format,
                row_stride,
            }),
            _ => wrong("not enough bytes"),
        }
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bands of a pixel.
    #[must_use]
    pub fn band_count(&self) -> u32 {
        self.band_count
    }

    /// How a sample is stored.
    #[must_use]
    pub fn sample_format(&self) -> SampleFormat {
        self.sample_format
    }

    /// Bytes from one row to the next.
    #[must_use]
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Bytes of the samples of one row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.width as usize * self.band_count as usize * self.sample_format.bytes()
    }

    /// The samples of row `row`, `row_bytes()` long.
    ///
    /// # Panics
    /// If `row` is not below the height.
    #[must_use]
    pub fn row_mut(&mut self, row: u32) -> &mut [u8] {
        assert!(
            row < self.height,
            "row {row} of a buffer with {} rows",
            self.height
        );
        let start = row as usize * self.row_stride;
        let len = self.row_bytes();
        &mut self.bytes[start..start + len]
    }

    /// All bytes, gaps between rows included.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Checks that the buffer has the size, bands and samples of a read of `region` from `page`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it does not.
    pub fn check(&self, page: &PageInfo, region: &Region) -> Result<(), DecodeError> {
        if self.width == region.width
            && self.height == region.height
            && self.band_count == page.band_count
            && self.sample_format == page.sample_format
        {
            return Ok(());
        }
        Err(DecodeError::usage(format!(
            "buffer of {}x{}, {} bands of {:?}, expected {}x{}, {} bands of {:?}",
            self.width,
            self.height,
            self.band_count,
            self.sample_format,
            region.width,
            region.height,
            page.band_count,
            page.sample_format
        )))
    }
}

/// Bytes of one row without padding, `None` on overflow.
#[must_use]
pub fn row_bytes(width: u32, band_count: u32, sample_format: SampleFormat) -> Option<usize> {
    (width as usize)
        .checked_mul(band_count as usize)?
        .checked_mul(sample_format.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_one_byte_short_is_refused() {
        let mut bytes = vec![0; 2 * 8 + 6];
        assert!(PixelBuffer::new(&mut bytes[..21], 2, 3, 3, SampleFormat::U8, 8).is_err());
        let mut buffer = PixelBuffer::new(&mut bytes, 2, 3, 3, SampleFormat::U8, 8).unwrap();
        buffer.row_mut(2).fill(7);
        assert_eq!(bytes[16..], [7; 6]);
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let mut bytes = [0; 8];
        assert!(
            PixelBuffer::new(
                &mut bytes,
                u32::MAX,
                u32::MAX,
                u32::MAX,
                SampleFormat::F32,
                usize::MAX
            )
            .is_err()
        );
    }
}
