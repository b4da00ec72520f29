//! A rectangle of a level in the form of the page.

use iiphost_plugin_api::{DecodeError, PixelBuffer, Region};

/// Interleaved samples of a region, rows without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    /// Where they lie in their level.
    pub(crate) region: Region,
    /// Bytes of one pixel.
    pub(crate) pixel_bytes: usize,
    /// `width * height * pixel_bytes` bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Pixels {
    /// Zeros.
    pub(crate) fn zeros(region: Region, pixel_bytes: usize) -> Result<Self, DecodeError> {
        let len = usize::try_from(region.pixels())
            .ok()
            .and_then(|pixels| pixels.checked_mul(pixel_bytes))
            .ok_or_else(|| DecodeError::limit("a region larger than memory"))?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(len)
            .map_err(|_| DecodeError::limit(format!("no memory for {len} bytes of pixels")))?;
        bytes.resize(len, 0);
        Ok(Self {
            region,
            pixel_bytes,
            bytes,
        })
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.region.width as usize * self.pixel_bytes
    }

    /// The rows from top to bottom.
    pub(crate) fn rows_mut(&mut self) -> std::slice::ChunksExactMut<'_, u8> {
        let row = self.row_bytes().max(1);
        self.bytes.chunks_exact_mut(row)
    }

    /// The samples of a row of the level between two columns, all inside the region.
    fn span(&self, y: u32, x: u32, width: u32) -> &[u8] {
        let row = (y - self.region.y) as usize * self.row_bytes();
        let start = row + (x - self.region.x) as usize * self.pixel_bytes;
        &self.bytes[start..start + width as usize * self.pixel_bytes]
    }

    /// The part that lies in `region`, `None` if there is none.
    #[cfg(test)]
    pub(crate) fn cut(&self, region: &Region) -> Option<Self> {
        let region = self.region.intersection(region)?;
        let mut bytes = Vec::with_capacity(region.pixels() as usize * self.pixel_bytes);
        for y in region.y..region.y + region.height {
            bytes.extend_from_slice(self.span(y, region.x, region.width));
        }
        Some(Self {
            region,
            pixel_bytes: self.pixel_bytes,
            bytes,
        })
    }

    /// Takes over what `other` has of this region.
    pub(crate) fn paste(&mut self, other: &Self) {
        let Some(shared) = self.region.intersection(&other.region) else {
            return;
        };
        let row_bytes = self.row_bytes();
        let left = (shared.x - self.region.x) as usize * self.pixel_bytes;
        for y in shared.y..shared.y + shared.height {
            let span = other.span(y, shared.x, shared.width);
            let start = (y - self.region.y) as usize * row_bytes + left;
            self.bytes[start..start + span.len()].copy_from_slice(span);
        }
    }

    /// Copies what lies in the region that `out` stands for.
    pub(crate) fn copy_to(&self, target: &Region, out: &mut PixelBuffer<'_>) {
        let Some(shared) = self.region.intersection(target) else {
            return;
        };
        let start = (shared.x - target.x) as usize * self.pixel_bytes;
        let len = shared.width as usize * self.pixel_bytes;
        for y in shared.y..shared.y + shared.height {
            let span = self.span(y, shared.x, shared.width);
            out.row_mut(y - target.y)[start..start + len].copy_from_slice(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_plugin_api::SampleFormat;

    #[test]
    fn parts_put_together_are_the_whole() {
        let region = Region::new(10, 20, 7, 5);
        let mut whole = Pixels::zeros(region, 2).unwrap();
        for (i, byte) in whole.bytes.iter_mut().enumerate() {
            *byte = i as u8;
        }
        let mut bytes = vec![0; whole.bytes.len()];
        let mut out = PixelBuffer::new(&mut bytes, 7, 5, 1, SampleFormat::U16, 14).unwrap();
        for (x, y) in [(8, 20), (12, 20), (8, 22), (12, 22)] {
            let part = whole.cut(&Region::new(x, y, 4, 2)).unwrap();
            part.copy_to(&region, &mut out);
        }
        whole
            .cut(&Region::new(0, 24, 40, 40))
            .unwrap()
            .copy_to(&region, &mut out);
        whole
            .cut(&Region::new(16, 20, 1, 9))
            .unwrap()
            .copy_to(&region, &mut out);
        assert_eq!(bytes, whole.bytes);
        assert_eq!(whole.cut(&Region::new(17, 20, 1, 1)), None);
    }
}
