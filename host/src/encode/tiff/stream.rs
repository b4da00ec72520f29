//! A tiled pyramid written as its tiles come, in any order.
//!
//! Tiles are appended; only their offsets and lengths are kept (16 bytes a tile). The directories follow
//! at the end, when it is known whether 32-bit offsets suffice, and are chained from the largest level to
//! the smallest, so that readers find the full size first.

use std::io::{Seek, SeekFrom, Write};

use super::compress::BlockEncoder;
use super::directory::{Directory, Flavor, tag};
use super::metadata::{Metadata, add_resolution, describe_pixels};
use super::{PixelLayout, TiffError};
use crate::limits::Size;

/// Room for the larger of the two headers.
const HEADER_LEN: u64 = 16;

/// A pyramid being written.
#[derive(Debug)]
pub struct PyramidWriter<W> {
    out: W,
    position: u64,
    tile_size: u32,
    levels: Vec<LevelTable>,
}

#[derive(Debug)]
struct LevelTable {
    size: Size,
    tile_cols: u32,
    offsets: Vec<u64>,
    lengths: Vec<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Tiles of all levels.
    pub tiles: u64,
    /// 64-bit offsets were needed.
    pub big: bool,
}

impl<W: Write + Seek> PyramidWriter<W> {
    /// Starts a file with the given levels, largest first, and square tiles.
    ///
    /// # Errors
    /// `Usage` for a tile size that is no multiple of 16 (TIFF 6.0 section 15) or an empty level, `Io`.
    pub fn new(mut out: W, levels: &[Size], tile_size: u32) -> Result<Self, TiffError> {
        if tile_size == 0 || !tile_size.is_multiple_of(16) {
            return Err(TiffError::usage(format!(
                "tile size {tile_size} is not a multiple of 16"
            )));
        }
        let mut tables = Vec::with_capacity(levels.len());
        for &size in levels {
            let tile_cols = size.width.div_ceil(tile_size);
            let tiles = u64::from(tile_cols) * u64::from(size.height.div_ceil(tile_size));
            // Readers count tiles in 32 bits, and 2^32 tiles need 64 GiB of tables.
            let tiles = u32::try_from(tiles).ok().filter(|&t| t > 0).ok_or_else(|| {
                TiffError::usage(format!("a level of {size} pixels in tiles of {tile_size}"))
            })?;
            tables.push(LevelTable {
                size,
                tile_cols,
                offsets: vec![0; tiles as usize],
                lengths: vec![0; tiles as usize],
            });
        }
        if tables.is_empty() {
            return Err(TiffError::usage("a pyramid without levels"));
        }
        out.write_all(&[0; HEADER_LEN as usize])?;
        Ok(Self {
            out,
            position: HEADER_LEN,
            tile_size,
            levels: tables,
        })
    }

    /// Appends a compressed tile.
    ///
    /// # Errors
    /// `Usage` when there is no such tile or it was written already, `Io`.
    pub fn append(
        &mut self,
        level: usize,
        tile_col: u32,
        tile_row: u32,
        bytes: &[u8],
    ) -> Result<(), TiffError> {
        let wrong =
            |what: &str| TiffError::usage(format!("tile ({tile_col}, {tile_row}) of level {level} {what}"));
        let table = self
            .levels
            .get_mut(level)
            .ok_or_else(|| wrong("does not exist"))?;
        let idx = u64::from(tile_row) * u64::from(table.tile_cols) + u64::from(tile_col);
        let idx = usize::try_from(idx).map_err(|_| wrong("does not exist"))?;
        let (Some(offset), Some(length)) = (table.offsets.get_mut(idx), table.lengths.get_mut(idx)) else {
            return Err(wrong("does not exist"));
        };
        if tile_col >= table.tile_cols {
            return Err(wrong("does not exist"));
        }
        if *length != 0 || bytes.is_empty() {
            return Err(wrong("is empty or was written already"));
        }
        self.out.write_all(bytes)?;
        *offset = self.position;
        *length = bytes.len() as u64;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes the directories and the header, and gives the output back, flushed.
    ///
    /// # Errors
    /// `Usage` when a tile is missing, `Io`.
    pub fn finish(mut self, encoder: &BlockEncoder, metadata: &Metadata) -> Result<(W, Written), TiffError> {
        let mut tiles = 0;
        for (level, table) in self.levels.iter().enumerate() {
            if let Some(idx) = table.lengths.iter().position(|&l| l == 0) {
                return Err(TiffError::usage(format!(
                    "tile {idx} of level {level} was never written"
                )));
            }
            tiles += table.lengths.len() as u64;
        }
        let padding = self.position.next_multiple_of(8) - self.position;
        self.out.write_all(&[0; 8][..padding as usize])?;
        self.position += padding;

        let full = self.levels.first().map_or(Size::new(1, 1), |t| t.size);
        let mut directories = Vec::with_capacity(self.levels.len());
        for (level, table) in std::mem::take(&mut self.levels).into_iter().enumerate() {
            directories.push(self.directory(level, table, full, encoder, metadata)?);
        }
        let end = |flavor| self.position + directories.iter().map(|d| d.len(flavor)).sum::<u64>();
        let flavor = if end(Flavor::Classic) <= u64::from(u32::MAX) {
            Flavor::Classic
        } else {
            Flavor::Big
        };
        let first = self.position;
        let total = end(flavor);
        for directory in directories {
            let next = self.position + directory.len(flavor);
            let bytes = directory.write(flavor, self.position, if next < total { next } else { 0 })?;
            self.out.write_all(&bytes)?;
            self.position = next;
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&flavor.header(first)?)?;
        self.out.flush()?;
        let written = Written {
            bytes: total,
            tiles,
            big: flavor == Flavor::Big,
        };
        Ok((self.out, written))
    }

    fn directory(
        &self,
        level: usize,
        table: LevelTable,
        full: Size,
        encoder: &BlockEncoder,
        metadata: &Metadata,
    ) -> Result<Directory, TiffError> {
        let mut directory = Directory::default();
        let layout: &PixelLayout = encoder.layout();
        describe_pixels(
            &mut directory,
            table.size,
            layout,
            encoder.compression(),
            encoder.jpeg_tables(),
        )?;
        // Bit 0: a reduced version of another image of the file (TIFF 6.0 section 8).
        directory.long(tag::NEW_SUBFILE_TYPE, u32::from(level > 0));
        directory.long(tag::TILE_WIDTH, self.tile_size);
        directory.long(tag::TILE_LENGTH, self.tile_size);
        directory.offsets(tag::TILE_OFFSETS, table.offsets);
        directory.offsets(tag::TILE_BYTE_COUNTS, table.lengths);
        let ratio = |full: u32, side: u32| f64::from(full) / f64::from(side.max(1));
        let downsample = (
            ratio(full.width, table.size.width),
            ratio(full.height, table.size.height),
        );
        add_resolution(&mut directory, metadata.resolution.as_ref(), downsample);
        if level == 0 {
            metadata.add_to(&mut directory);
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

    use super::*;
    use crate::encode::tiff::Compression;

    fn encoder() -> BlockEncoder {
        let layout = PixelLayout::new(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        BlockEncoder::new(Compression::None, layout).unwrap()
    }

    /// A file of 5 GiB of which almost nothing is held.
    #[derive(Default)]
    struct Sparse {
        position: u64,
        head: Vec<u8>,
        tail: Vec<u8>,
    }

    const TAIL: u64 = 5 << 30;

    impl Write for Sparse {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.position < HEADER_LEN {
                self.head.truncate(self.position as usize);
                self.head.extend_from_slice(bytes);
            } else if self.position >= TAIL {
                self.tail.extend_from_slice(bytes);
            }
            self.position += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.position = match to {
                SeekFrom::Start(position) => position,
                SeekFrom::Current(by) => self.position.saturating_add_signed(by),
                SeekFrom::End(by) => (TAIL + HEADER_LEN + self.tail.len() as u64).saturating_add_signed(by),
            };
            Ok(self.position)
        }
    }

    impl std::io::Read for Sparse {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let tail_at = TAIL + HEADER_LEN;
            let held = if self.position < HEADER_LEN {
                &self.head[self.position as usize..]
            } else {
                let past = self.position.checked_sub(tail_at).expect("pixels are not held");
                &self.tail[past as usize..]
            };
            let count = held.len().min(out.len());
            out[..count].copy_from_slice(&held[..count]);
            self.position += count as u64;
            Ok(count)
        }
    }

    #[test]
    fn tile_sizes_that_are_no_multiple_of_16_are_refused() {
        for size in [0, 8, 100, 257] {
            assert!(PyramidWriter::new(Cursor::new(Vec::new()), &[Size::new(9, 9)], size).is_err());
        }
    }

    #[test]
    fn a_missing_a_double_and_a_foreign_tile_are_refused() {
        let mut writer = PyramidWriter::new(Cursor::new(Vec::new()), &[Size::new(40, 16)], 16).unwrap();
        writer.append(0, 0, 0, &[1; 256]).unwrap();
        assert!(writer.append(0, 0, 0, &[1; 256]).is_err());
        assert!(writer.append(0, 3, 0, &[1; 256]).is_err());
        assert!(writer.append(1, 0, 0, &[1; 256]).is_err());
        writer.append(0, 1, 0, &[1; 256]).unwrap();
        let error = writer.finish(&encoder(), &Metadata::default()).unwrap_err();
        assert_eq!(error.to_string(), "tile 2 of level 0 was never written");
    }

    #[test]
    fn a_file_past_4_gib_gets_64_bit_offsets() {
        let mut writer = PyramidWriter::new(Sparse::default(), &[Size::new(16, 16 * 80)], 16).unwrap();
        let tile = vec![7; 64 << 20];
        for row in 0..80 {
            writer.append(0, 0, row, &tile).unwrap();
        }
        let (mut out, written) = writer.finish(&encoder(), &Metadata::default()).unwrap();
        assert!(written.big);
        assert_eq!(out.head[..8], *b"II\x2b\0\x08\0\0\0");
        let directory = u64::from_le_bytes(out.head[8..16].try_into().unwrap());
        assert_eq!(directory, HEADER_LEN + 80 * (64 << 20));
        assert_eq!(written.bytes, directory + out.tail.len() as u64);

        out.position = 0;
        let mut decoder = tiff::decoder::Decoder::new(out).unwrap();
        assert_eq!(decoder.dimensions().unwrap(), (16, 16 * 80));
        let offsets = decoder.get_tag_u64_vec(tiff::tags::Tag::TileOffsets).unwrap();
        let expected: Vec<u64> = (0..80).map(|row| HEADER_LEN + row * (64 << 20)).collect();
        assert_eq!(offsets, expected);
    }
}
