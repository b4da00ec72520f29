//! One block of a picture: from the file into the part of the caller's buffer it belongs to.

use iiphost_plugin_api::{DecodeError, PixelBuffer, ReadContext, Region, SampleFormat};

use crate::color;
use crate::decompress::{Codecs, jpeg2000};
use crate::picture::{Input, Picture};
use crate::scratch::{Scratch, resized};
use crate::strip_cache::Key;
use crate::strip_stream::Place;
use crate::{predictor, samples};

/// Uncompressed rows of a block are fetched in one read up to this size, row by row above it.
const ONE_READ_BYTES: usize = 256 * 1024;

/// One tile or strip of a picture.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) col: u32,
    pub(crate) row: u32,
    /// Its pixels inside the picture.
    pub(crate) rect: Region,
}

/// A buffer and the rectangle of the picture it shows.
pub(crate) struct Target<'o, 'b> {
    pub(crate) out: &'o mut PixelBuffer<'b>,
    pub(crate) region: Region,
    pub(crate) pixel_bytes: usize,
}

impl Target<'_, '_> {
    /// The bytes of row `y` of `part`, which lies inside the region.
    pub(crate) fn row(&mut self, part: Region, y: u32) -> &mut [u8] {
        let left = (part.x - self.region.x) as usize * self.pixel_bytes;
        let len = part.width as usize * self.pixel_bytes;
        &mut self.out.row_mut(part.y - self.region.y + y)[left..][..len]
    }

    /// The bytes of all rows of `part` if nothing else lies between them.
    fn rows(&mut self, part: Region) -> Option<&mut [u8]> {
        let row_bytes = part.width as usize * self.pixel_bytes;
        if part.width != self.region.width || self.out.row_stride() != row_bytes {
            return None;
        }
        let start = (part.y - self.region.y) as usize * row_bytes;
        let len = part.height as usize * row_bytes;
        self.out.bytes_mut().get_mut(start..start + len)
    }
}

/// The part of a block that is wanted.
pub(crate) struct BlockPart<'a> {
    pub(crate) picture: &'a Picture,
    pub(crate) input: Input<'a>,
    pub(crate) block: Block,
    /// Lies inside the block and inside the region of the target.
    pub(crate) part: Region,
    pub(crate) ctx: &'a ReadContext<'a>,
}

impl BlockPart<'_> {
    /// Fills the part of the target.
    pub(crate) fn read(&self, target: &mut Target<'_, '_>) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        Scratch::with(|scratch| {
            if self.picture.is_read_by_rows() {
                for plane in 0..layout.planes() {
                    self.copy_rows(plane, target, scratch)?;
                }
            } else if self.picture.is_streamed() {
                for plane in 0..layout.planes() {
                    self.copy_streamed(plane, target, scratch)?;
                }
            } else if self.picture.keeps_stored_strips() {
                for plane in 0..layout.planes() {
                    self.copy_kept(plane, target, scratch)?;
                }
            } else if let Some(stored) = self.whole_block(target) {
                self.decode(0, stored, &mut scratch.encoded, &mut scratch.codecs)?;
            } else {
                for plane in 0..layout.planes() {
                    self.copy_decoded(plane, target, scratch)?;
                }
            }
            self.picture.finish(self.part, target);
            Ok(())
        })
    }

    /// The bytes of the target that are exactly the stored block, if there are such.
    fn whole_block<'t>(&self, target: &'t mut Target<'_, '_>) -> Option<&'t mut [u8]> {
        let layout = &self.picture.layout;
        let rows = layout.stored_rows(self.block.row);
        let is_whole = (self.part.width, self.part.height) == (layout.block_width, rows);
        (self.picture.is_copy() && is_whole).then(|| target.rows(self.part))?
    }

    /// Fetches and decompresses the block into `stored`, in native byte order and without differences.
    fn decode(
        &self,
        plane: u16,
        stored: &mut [u8],
        encoded: &mut Vec<u8>,
        codecs: &mut Codecs,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let (offset, len) = self
            .picture
            .block_place(self.input, self.block.col, self.block.row, plane)?;
        if len == 0 {
            // Sparse files leave empty blocks out.
            stored.fill(0);
            return Ok(());
        }
        let size = layout.stored_size(plane, self.block.row);
        if layout.compression.is_jpeg2000() {
            let place = offset..offset + len;
            return jpeg2000::decompress(layout, self.input.source, place, stored, size, self.ctx);
        }
        // Nothing that is right needs more; a count from the file must not decide about memory.
        let most = (stored.len() as u64).saturating_mul(4).saturating_add(1 << 20);
        let encoded = resized(encoded, len.min(most) as usize)?;
        self.input.source.read_exact_at(offset, encoded)?;
        if layout.reverse_bits {
            encoded.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        codecs.decompress(layout, encoded, stored, size)?;
        predictor::undo(layout, stored, layout.row_bytes(size.width).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Decodes the rows of the part, and those above that nobody has decoded before.
    fn copy_streamed(
        &self,
        plane: u16,
        target: &mut Target<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let too_large = || DecodeError::limit("rows larger than memory");
        let row_bytes = layout.stored_row_bytes().ok_or_else(too_large)?;
        let Scratch {
            stored,
            row: plane_row,
            ..
        } = scratch;
        let len = row_bytes
            .checked_mul(self.part.height as usize)
            .ok_or_else(too_large)?;
        let stored = resized(stored, len)?;
        let (offset, len) = self
            .picture
            .block_place(self.input, self.block.col, self.block.row, plane)?;
        if len == 0 {
            stored.fill(0);
        } else {
            let place = Place {
                source: self.input.source,
                bytes: offset..offset + len,
                compression: layout.compression,
                reverse_bits: layout.reverse_bits,
            };
            let strip = (layout.directory, self.block.row, plane);
            let position = self.above() as u64 * row_bytes as u64;
            self.input
                .streams
                .read(strip, &place, position, stored, self.ctx)?;
            predictor::undo(layout, stored, row_bytes);
        }
        let first = self.left() * usize::from(layout.samples_together());
        for (y, row) in (0..).zip(stored.chunks_exact(row_bytes)) {
            self.copy_samples(row, first, plane, y, target, plane_row)?;
        }
        Ok(())
    }

    /// Copies the part from the whole strip, which is kept as it is stored: a strip of bits takes an eighth of
    /// what comes out of it.
    fn copy_kept(
        &self,
        plane: u16,
        target: &mut Target<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let too_large = || DecodeError::limit("a strip larger than memory");
        let row_bytes = layout.stored_row_bytes().ok_or_else(too_large)?;
        let Scratch {
            encoded,
            row: plane_row,
            codecs,
            ..
        } = scratch;
        let key = Key::Stored(self.input.reader, layout.directory, self.block.row, plane);
        let strip = self.input.strips.get(key, || {
            let size = layout.stored_size(plane, self.block.row);
            let len = layout.stored_bytes(size).ok_or_else(too_large)?;
            let mut stored = Vec::new();
            self.decode(plane, resized(&mut stored, len)?, encoded, codecs)?;
            let mut spread = Vec::new();
            Ok(match self.spread(plane, &stored, &mut spread)? {
                Some(_) => spread,
                None => stored,
            })
        })?;
        let first = self.left() * usize::from(layout.samples_together());
        let rows = strip.chunks_exact(row_bytes).skip(self.above());
        for (y, row) in (0..self.part.height).zip(rows) {
            self.copy_samples(row, first, plane, y, target, plane_row)?;
        }
        Ok(())
    }

    /// Decodes one plane of the block and copies the part.
    fn copy_decoded(
        &self,
        plane: u16,
        target: &mut Target<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let too_large = || DecodeError::limit("a block larger than memory");
        let stored_len = layout
            .stored_bytes(layout.stored_size(plane, self.block.row))
            .ok_or_else(too_large)?;
        let Scratch {
            encoded,
            stored,
            spread,
            row: plane_row,
            codecs,
        } = scratch;
        let stored = resized(stored, stored_len)?;
        self.decode(plane, stored, encoded, codecs)?;
        let row_bytes = layout.stored_row_bytes().ok_or_else(too_large)?;
        let stored = self.spread(plane, stored, spread)?.unwrap_or(stored);
        let first = self.left() * usize::from(layout.samples_together());
        for y in 0..self.part.height {
            let row = &stored[(self.above() + y as usize) * row_bytes..][..row_bytes];
            self.copy_samples(row, first, plane, y, target, plane_row)?;
        }
        Ok(())
    }

    /// The stored samples of a plane with one for every pixel of the block, `None` if they are that already.
    fn spread<'s>(
        &self,
        plane: u16,
        stored: &[u8],
        spread: &'s mut Vec<u8>,
    ) -> Result<Option<&'s mut [u8]>, DecodeError> {
        let layout = &self.picture.layout;
        if !layout.has_data_units() && !layout.is_small(plane) {
            return Ok(None);
        }
        let len = layout
            .stored_row_bytes()
            .and_then(|bytes| bytes.checked_mul(layout.stored_rows(self.block.row) as usize))
            .ok_or_else(|| DecodeError::limit("a block larger than memory"))?;
        let spread = resized(spread, len)?;
        let (width, shared) = (layout.block_width as usize, layout.subsampling);
        match (layout.planar, layout.bits) {
            (false, 8) => color::spread_units::<1>(stored, shared, width, spread),
            (false, _) => color::spread_units::<2>(stored, shared, width, spread),
            (true, 8) => color::spread_plane::<1>(stored, shared, width, spread),
            (true, _) => color::spread_plane::<2>(stored, shared, width, spread),
        }
        Ok(Some(spread))
    }

    /// Fetches the rows of the part from an uncompressed block.
    fn copy_rows(
        &self,
        plane: u16,
        target: &mut Target<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let (offset, len) = self
            .picture
            .block_place(self.input, self.block.col, self.block.row, plane)?;
        let row_bytes = layout.stored_row_bytes().unwrap_or(usize::MAX);
        let rows = self.part.height as usize;
        // The bytes of a row that hold the part.
        let pixel_bits = usize::from(layout.samples_together()) * usize::from(layout.bits);
        let start_bit = self.left() * pixel_bits;
        let mut span = start_bit / 8..(start_bit + self.part.width as usize * pixel_bits).div_ceil(8);
        let wanted = (self.above() + rows - 1) as u64 * row_bytes as u64 + span.end as u64;
        if len > 0 && len < wanted {
            return Err(DecodeError::format(format!(
                "{len} bytes stored, expected {wanted} or more"
            )));
        }
        let at = |row: usize| offset + row as u64 * row_bytes as u64;
        let whole_rows = row_bytes.saturating_mul(rows);
        let Scratch {
            encoded,
            row: plane_row,
            ..
        } = scratch;
        if whole_rows <= ONE_READ_BYTES || span.len() * 2 >= row_bytes {
            let is_whole = self.part.width == layout.block_width && self.picture.is_copy();
            if let Some(bytes) = is_whole.then(|| target.rows(self.part)).flatten() {
                return self.fetch(len, at(self.above()), bytes);
            }
            // The file may end with the part.
            let bytes = resized(encoded, whole_rows - (row_bytes - span.end))?;
            self.fetch(len, at(self.above()), bytes)?;
            let first = self.left() * usize::from(layout.samples_together());
            for (y, row) in (0..).zip(bytes.chunks(row_bytes)) {
                self.copy_samples(row, first, plane, y, target, plane_row)?;
            }
            return Ok(());
        }
        // Where a sample crosses into the span, the whole row tells where samples begin.
        if !(start_bit - span.start * 8).is_multiple_of(usize::from(layout.bits)) {
            span.start = 0;
        }
        let first = (start_bit - span.start * 8) / usize::from(layout.bits);
        let row = resized(encoded, span.len())?;
        for y in 0..self.part.height {
            self.fetch(len, at(self.above() + y as usize) + span.start as u64, row)?;
            self.copy_samples(row, first, plane, y, target, plane_row)?;
        }
        Ok(())
    }

    /// Reads uncompressed bytes in native order; a block of 0 bytes reads as zeros.
    fn fetch(&self, len: u64, at: u64, bytes: &mut [u8]) -> Result<(), DecodeError> {
        if len == 0 {
            bytes.fill(0);
            return Ok(());
        }
        self.input.source.read_exact_at(at, bytes)?;
        let layout = &self.picture.layout;
        if layout.reverse_bits {
            bytes.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        predictor::undo(layout, bytes, bytes.len());
        Ok(())
    }

    /// Delivers row `y` of the part, which begins at sample `first` of the stored row.
    fn copy_samples(
        &self,
        row: &[u8],
        first: usize,
        plane: u16,
        y: u32,
        target: &mut Target<'_, '_>,
        plane_row: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let layout = &self.picture.layout;
        let format = self.picture.shape.sample_format;
        let pixel_bytes = target.pixel_bytes;
        let width = self.part.width as usize;
        let out = target.row(self.part, y);
        if let Some(colors) = &layout.color_map {
            let format = match layout.bits {
                ..=8 => SampleFormat::U8,
                _ => SampleFormat::U16,
            };
            let palette = color::Palette {
                colors,
                bits: u32::from(layout.bits),
                samples_together: usize::from(layout.samples_together()),
                pixel_bytes,
            };
            let count = width * palette.samples_together;
            let samples = resized(plane_row, count * format.bytes())?;
            samples::unpack(layout, format, row, first, count, samples);
            palette.apply(samples, format, usize::from(plane), out);
        } else if layout.planar {
            let sample_bytes = format.bytes();
            let values = resized(plane_row, width * sample_bytes)?;
            samples::unpack(layout, format, row, first, width, values);
            let at = usize::from(plane) * sample_bytes;
            let pixels = out.chunks_exact_mut(pixel_bytes);
            for (pixel, value) in pixels.zip(values.chunks_exact(sample_bytes)) {
                pixel[at..at + sample_bytes].copy_from_slice(value);
            }
        } else {
            let count = width * usize::from(layout.samples_per_pixel);
            samples::unpack(layout, format, row, first, count, out);
        }
        Ok(())
    }

    /// Rows of the block above the part.
    fn above(&self) -> usize {
        (self.part.y - self.block.rect.y) as usize
    }

    /// Pixels of the block left of the part.
    fn left(&self) -> usize {
        (self.part.x - self.block.rect.x) as usize
    }
}
