//! One directory that can be decoded: its layout and all that follows from it.

use iiphost_plugin_api::{ByteSource, DecodeError, PixelBuffer, ReadContext, Region};

use crate::block::{Block, BlockPart, Target};
use crate::color::ColorStep;
use crate::compression::Compression;
use crate::layout::Layout;
use crate::photometric::Photometric;
use crate::samples;
use crate::scratch::resized;
use crate::shape::Shape;
use crate::strip_cache::{Key, StripCache};
use crate::strip_stream::Streams;
use crate::tables::TableCache;

/// Rows of strips that are kept together: those of a tile.
const GROUP_ROWS: u32 = 256;

/// Bytes of strips that are kept together, unless a single one is larger.
const GROUP_BYTES: usize = 8 << 20;

/// What the file gives for reading pixels.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) source: &'a dyn ByteSource,
    pub(crate) tables: &'a TableCache,
    pub(crate) strips: &'a StripCache,
    pub(crate) streams: &'a Streams,
    /// Names the image in the cache of strips.
    pub(crate) reader: u64,
}

/// One directory that can be decoded.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) layout: Layout,
    pub(crate) shape: Shape,
    color: ColorStep,
    /// Stored samples are delivered as they are: blocks can be decompressed into the caller's buffer.
    is_copy: bool,
    /// A strip is too large to be kept as one group.
    has_tall_strips: bool,
}

impl Picture {
    /// The picture of a layout.
    ///
    /// # Errors
    /// `Unsupported` if its samples have no meaning that can be delivered.
    pub(crate) fn new(layout: Layout) -> Result<Self, DecodeError> {
        let shape = Shape::of(&layout)?;
        let color = ColorStep::of(&layout);
        let is_copy = samples::is_copy(&layout)
            && !layout.planar
            && !layout.is_subsampled()
            && layout.photometric != Photometric::Palette;
        let row_bytes = (layout.width as usize).saturating_mul(shape.pixel_bytes());
        let has_tall_strips =
            !layout.tiled && row_bytes.saturating_mul(layout.block_height as usize) > GROUP_BYTES;
        Ok(Self {
            layout,
            shape,
            color,
            is_copy,
            has_tall_strips,
        })
    }

    /// Fills `out` with the pixels of `region`, which lies inside the picture.
    pub(crate) fn read(
        &self,
        input: Input<'_>,
        region: Region,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        self.check_limits(&region, ctx)?;
        let mut target = Target {
            out,
            region,
            pixel_bytes: self.shape.pixel_bytes(),
        };
        if self.layout.tiled || self.is_read_by_rows() {
            return self.read_blocks(input, region, &mut target, ctx);
        }
        let group_height = self.group_height();
        let mut y = region.y - region.y % group_height;
        while u64::from(y) < region.bottom() {
            let height = group_height.min(self.layout.height - y);
            let group = Region::new(0, y, self.layout.width, height);
            if let Some(part) = group.intersection(&region) {
                if part == group {
                    self.read_blocks(input, part, &mut target, ctx)?;
                } else {
                    self.copy_from_group(input, group, part, &mut target, ctx)?;
                }
            }
            y = y.saturating_add(height);
        }
        Ok(())
    }

    /// Reads `part` of the target's region block by block.
    fn read_blocks(
        &self,
        input: Input<'_>,
        part: Region,
        target: &mut Target<'_, '_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        for block in self.blocks(&part) {
            ctx.checkpoint()?;
            if let Some(part) = block.rect.intersection(&part) {
                let part = BlockPart {
                    picture: self,
                    input,
                    block,
                    part,
                    ctx,
                };
                part.read(target)
                    .map_err(|error| self.name_block(block, &error))?;
            }
        }
        Ok(())
    }

    /// Rows of strips that are decoded and kept together: a tile's, as far as they are not too large.
    /// Many files have strips of one row, and one entry of the cache for each would cost more than it.
    fn group_height(&self) -> u32 {
        let layout = &self.layout;
        let row_bytes = (layout.width as usize).saturating_mul(self.shape.pixel_bytes());
        if self.has_tall_strips {
            return GROUP_ROWS.min((GROUP_BYTES / row_bytes.max(1)).max(1) as u32);
        }
        let strip_bytes = row_bytes.saturating_mul(layout.block_height as usize);
        let strips =
            (GROUP_ROWS.div_ceil(layout.block_height) as usize).min(GROUP_BYTES / strip_bytes.max(1));
        layout.block_height.saturating_mul(strips.max(1) as u32)
    }

    /// Copies a part of a group of strips from the cache, decoding the group the first time.
    fn copy_from_group(
        &self,
        input: Input<'_>,
        group: Region,
        part: Region,
        target: &mut Target<'_, '_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let pixel_bytes = self.shape.pixel_bytes();
        let row_bytes = group.width as usize * pixel_bytes;
        let rows = input
            .strips
            .get(Key::Rows(input.reader, self.layout.directory, group.y), || {
                let len = row_bytes
                    .checked_mul(group.height as usize)
                    .ok_or_else(|| DecodeError::limit("strips larger than memory"))?;
                ctx.limits.check_bytes(len as u64)?;
                let mut bytes = Vec::new();
                let mut out = PixelBuffer::new(
                    resized(&mut bytes, len)?,
                    group.width,
                    group.height,
                    self.shape.band_count,
                    self.shape.sample_format,
                    row_bytes,
                )?;
                let mut target = Target {
                    out: &mut out,
                    region: group,
                    pixel_bytes,
                };
                self.read_blocks(input, group, &mut target, ctx)?;
                Ok(bytes)
            })?;
        let left = part.x as usize * pixel_bytes;
        for y in 0..part.height {
            let above = (part.y - group.y + y) as usize;
            let out = target.row(part, y);
            out.copy_from_slice(&rows[above * row_bytes + left..][..out.len()]);
        }
        Ok(())
    }

    /// Offset and length of a stored block; a length of 0 means that it is not stored at all.
    pub(crate) fn block_place(
        &self,
        input: Input<'_>,
        col: u32,
        row: u32,
        plane: u16,
    ) -> Result<(u64, u64), DecodeError> {
        let layout = &self.layout;
        let per_plane = u64::from(layout.block_cols()) * u64::from(layout.block_rows());
        // Below the number of blocks, which was found to fit 64 bits.
        let idx =
            u64::from(plane) * per_plane + u64::from(row) * u64::from(layout.block_cols()) + u64::from(col);
        let offset = input.tables.value(input.source, &layout.offsets, idx)?;
        let rest = input.source.len().saturating_sub(offset);
        let len = match &layout.byte_counts {
            Some(table) => match input.tables.value(input.source, table, idx)? {
                0 if offset == 0 => return Ok((0, 0)),
                // Some old writers leave the count of uncompressed strips out like this.
                0 if layout.compression == Compression::None && !layout.tiled => rest.max(1),
                0 => return Err(DecodeError::format(format!("no bytes at offset {offset}"))),
                len => len,
            },
            // Old files of one or uncompressed strips: as much as it takes, or as there is.
            None => rest.max(1),
        };
        if len > rest {
            return Err(DecodeError::format(format!(
                "{len} bytes at offset {offset}, the file has {}",
                input.source.len()
            )));
        }
        Ok((offset, len))
    }

    /// Bytes of memory kept for as long as the image is open, and for what is told about it.
    pub(crate) fn kept_bytes(&self) -> usize {
        let layout = &self.layout;
        let palette = layout.color_map.as_ref().map_or(0, |map| size_of_val(&**map));
        let tables = layout.jpeg_tables.as_ref().map_or(0, |tables| tables.len());
        let ranges = usize::from(layout.samples_per_pixel) * size_of::<(f64, f64)>();
        size_of::<Self>() + self.color.kept_bytes() + palette + tables + ranges
    }

    /// What reading a region takes: bytes read, pixels decoded, bytes of memory. An estimate.
    pub(crate) fn cost(&self, region: &Region) -> (u64, u64, u64) {
        let layout = &self.layout;
        let block_pixels = u64::from(layout.block_width) * u64::from(layout.block_height);
        let pixels = if self.is_read_by_rows() && !layout.tiled {
            region.pixels()
        } else {
            self.block_count(region).saturating_mul(block_pixels)
        };
        let stored = pixels.saturating_mul(self.shape.pixel_bytes() as u64);
        let bytes_read = match layout.compression {
            Compression::None => stored,
            compression if compression.is_picture_file() => stored / 8,
            _ => stored / 2,
        };
        let kept_pixels = match self.is_streamed() {
            true => u64::from(layout.width) * u64::from(self.group_height()),
            false => block_pixels,
        };
        let memory = kept_pixels
            .saturating_mul(self.shape.pixel_bytes() as u64)
            .saturating_mul(2);
        (bytes_read, pixels, memory)
    }

    fn check_limits(&self, region: &Region, ctx: &ReadContext<'_>) -> Result<(), DecodeError> {
        if self.is_read_by_rows() {
            return ctx.limits.check_pixels(region.pixels());
        }
        let layout = &self.layout;
        if self.is_streamed() {
            // Rows above the wanted ones in their strip are decoded, too.
            let above = u64::from(region.y % layout.block_height);
            let rows = above.saturating_add(u64::from(region.height));
            ctx.limits
                .check_pixels(rows.saturating_mul(u64::from(layout.width)))?;
            let row_bytes = layout.stored_row_bytes().unwrap_or(usize::MAX);
            let kept = row_bytes.saturating_mul(self.group_height() as usize) as u64;
            return ctx.limits.check_bytes(kept.saturating_mul(2));
        }
        let block_pixels = u64::from(layout.block_width) * u64::from(layout.block_height);
        ctx.limits
            .check_pixels(self.block_count(region).saturating_mul(block_pixels))?;
        let stored = layout
            .stored_bytes(layout.stored_size(0, 0))
            .unwrap_or(usize::MAX) as u64;
        ctx.limits.check_bytes(stored.saturating_mul(2))
    }

    fn block_count(&self, region: &Region) -> u64 {
        let (width, height) = (
            u64::from(self.layout.block_width),
            u64::from(self.layout.block_height),
        );
        let cols = region.right().div_ceil(width) - u64::from(region.x) / width;
        let rows = region.bottom().div_ceil(height) - u64::from(region.y) / height;
        cols.saturating_mul(rows)
    }

    /// The blocks that a region touches.
    fn blocks(&self, region: &Region) -> impl Iterator<Item = Block> + use<> {
        let layout = &self.layout;
        let (block_width, block_height) = (layout.block_width, layout.block_height);
        let (width, height) = (layout.width, layout.height);
        let last = |end: u64, side: u32| ((end - 1) / u64::from(side)) as u32;
        let cols = region.x / block_width..=last(region.right(), block_width);
        let rows = region.y / block_height..=last(region.bottom(), block_height);
        rows.flat_map(move |row| {
            cols.clone().map(move |col| {
                // A block starts inside the picture, so neither product overflows.
                let (x, y) = (col * block_width, row * block_height);
                let rect = Region::new(x, y, block_width.min(width - x), block_height.min(height - y));
                Block { col, row, rect }
            })
        })
    }

    /// Rows can be fetched one by one, without the rest of the block.
    pub(crate) fn is_read_by_rows(&self) -> bool {
        self.layout.compression == Compression::None && !self.layout.is_subsampled()
    }

    /// Strips are decoded in pieces, from the top down.
    pub(crate) fn is_streamed(&self) -> bool {
        self.has_tall_strips && Streams::can_decode(self.layout.compression) && !self.layout.is_subsampled()
    }

    /// Strips that cannot be decoded in pieces and are too large for one group: they are kept as stored.
    pub(crate) fn keeps_stored_strips(&self) -> bool {
        self.has_tall_strips && !self.is_streamed()
    }

    /// Stored samples are delivered samples: blocks may be decompressed into the caller's buffer.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// What is left to do once all samples of `part` are in place: signs and colors.
    pub(crate) fn finish(&self, part: Region, target: &mut Target<'_, '_>) {
        let shape = &self.shape;
        if !shape.signed && matches!(self.color, ColorStep::None) {
            return;
        }
        for y in 0..part.height {
            let row = target.row(part, y);
            if shape.signed {
                samples::offset_signed(row, shape.sample_format, shape.bit_depth);
            }
            self.color.apply(
                row,
                shape.sample_format,
                shape.bit_depth,
                shape.band_count as usize,
            );
        }
    }

    fn name_block(&self, block: Block, error: &DecodeError) -> DecodeError {
        let Layout { width, height, .. } = self.layout;
        let place = if self.layout.tiled {
            format!("tile ({}, {})", block.col, block.row)
        } else {
            format!("strip {}", block.row)
        };
        DecodeError::new(
            error.kind(),
            format!("{place} of the {width}x{height} level: {}", error.message()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd::ByteOrder;
    use crate::test_file::{
        CCITT_FORMS, CCITT_ROWS, Image, Values, bytes_of_hex, container, float_bits, open, read_level,
        read_region, write,
    };
    use iiphost_plugin_api::SampleFormat;
    use proptest::prelude::*;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

    /// What unsigned samples come out as.
    fn expected(image: &Image) -> Vec<u8> {
        let format = match image.bits {
            1..=8 => SampleFormat::U8,
            9..=16 => SampleFormat::U16,
            _ => SampleFormat::U32,
        };
        container(image.values.iter().copied(), format)
    }

    fn check(image: &Image, expected: &[u8]) {
        for order in ORDERS {
            for big in [false, true] {
                let reader = open(write(std::slice::from_ref(image), order, big)).unwrap();
                let found = read_level(&*reader, 0, 0).unwrap();
                assert!(
                    found == expected,
                    "{order:?} big {big}: {:?}",
                    Image {
                        values: vec![],
                        ..image.clone()
                    }
                );
                let all = Region::new(0, 0, image.width, image.height);
                let found = read_region(&*reader, 0, 0, all).unwrap();
                assert!(found == expected, "with a stride: {order:?} big {big}");
            }
        }
    }

    #[test]
    fn every_lossless_compression_gives_the_values_back() {
        for compression in [1, 5, 8, 32946, 32773, 34925, 50000] {
            for (bands, bits) in [(1, 8), (3, 8), (4, 8), (1, 16), (3, 16), (1, 32), (2, 1), (3, 12)] {
                for predictor in [1, 2] {
                    if predictor == 2 && matches!(compression, 1 | 32773) {
                        continue;
                    }
                    let image = Image::new(37, 29, bands, bits)
                        .compressed(compression)
                        .predicted(predictor);
                    check(&image, &expected(&image));
                    let image = image.in_strips(8);
                    check(&image, &expected(&image));
                }
            }
        }
    }

    #[test]
    fn strips_are_decoded_once_for_all_tiles_of_a_row() {
        use crate::test_file::{Counted, open_source};
        use std::sync::Arc;
        for rows in [1, 100, 700] {
            let image = Image::new(600, 700, 1, 8).compressed(8).in_strips(rows);
            let source = Arc::new(Counted::new(write(
                std::slice::from_ref(&image),
                ByteOrder::Little,
                false,
            )));
            let reader = open_source(source.clone()).unwrap();
            let values = expected(&image);
            let tile = |col: u32, row: u32| {
                let (x, y) = (256 * col, 256 * row);
                let region = Region::new(x, y, 256.min(600 - x), 256.min(700 - y));
                let found = read_region(&*reader, 0, 0, region).unwrap();
                let cut: Vec<u8> = (y..y + region.height)
                    .flat_map(|y| values[(y * 600 + x) as usize..][..region.width as usize].to_vec())
                    .collect();
                assert!(found == cut, "tile ({col}, {row}) of strips of {rows}");
            };
            tile(0, 1);
            let before = source.bytes_read();
            tile(1, 1);
            // Strips of 100 rows are kept in threes, so the second row of tiles lies in two groups.
            tile(2, 1);
            assert_eq!(source.bytes_read(), before, "strips of {rows}");
            tile(2, 0);
            tile(0, 2);
            tile(2, 2);
        }
    }

    #[test]
    fn ccitt_forms_give_their_runs() {
        let mut image = Image::new(20, 6, 1, 1).in_strips(6);
        image.values = CCITT_ROWS
            .iter()
            .flat_map(|row| row.bytes().map(|b| u64::from(b - b'0')))
            .collect();
        for (compression, options, hex) in CCITT_FORMS {
            let mut bytes = bytes_of_hex(hex);
            let mut coded = image.clone().compressed(compression);
            let tag = if compression == 4 { 293 } else { 292 };
            coded = coded.tag(tag, Values::Long(vec![options]));
            coded.blocks = Some(vec![bytes.clone()]);
            check(&coded, &expected(&image));
            bytes.truncate(bytes.len() / 2);
            coded.blocks = Some(vec![bytes]);
            let reader = open(write(&[coded], ByteOrder::Little, false)).unwrap();
            assert!(
                read_level(&*reader, 0, 0).is_err(),
                "half of {compression} {options}"
            );
        }
    }

    #[test]
    fn webp_gives_three_and_four_bands_back() {
        for bands in [3, 4] {
            let mut image = Image::new(37, 29, bands, 8).compressed(50001);
            // Lossless WebP keeps colors only where they can be seen.
            if bands == 4 {
                image
                    .values
                    .iter_mut()
                    .skip(3)
                    .step_by(4)
                    .for_each(|alpha| *alpha |= 128);
            }
            check(&image, &expected(&image));
            check(&image.clone().in_strips(10), &expected(&image));
        }
    }

    #[test]
    fn every_depth_arrives_in_stored_units() {
        for bits in 1..=32 {
            for bands in [1, 3] {
                let image = Image::new(19, 5, bands, bits);
                check(&image, &expected(&image));
                let planar = Image {
                    planar: true,
                    ..image.clone().compressed(8).tiled(8, 4)
                };
                check(&planar, &expected(&planar));
                let reversed = Image {
                    reverse_bits: true,
                    ..image.in_strips(2)
                };
                check(&reversed, &expected(&reversed));
            }
        }
    }

    #[test]
    fn white_is_zero_is_inverted_at_every_depth() {
        for bits in 1..=32 {
            let image = Image::new(9, 4, 1, bits).photometric(0);
            let mask = u64::MAX >> (64 - bits);
            let inverted = Image {
                values: image.values.iter().map(|v| v ^ mask).collect(),
                ..image.clone()
            };
            check(&image, &expected(&inverted));
        }
    }

    #[test]
    fn signed_samples_get_their_offset_form() {
        for bits in [3, 8, 12, 16, 24, 32] {
            let image = Image {
                sample_format: 2,
                ..Image::new(9, 4, 3, bits).compressed(5)
            };
            let offset = Image {
                values: image.values.iter().map(|v| v ^ 1 << (bits - 1)).collect(),
                ..image.clone()
            };
            check(&image, &expected(&offset));
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            assert!(reader.info().pages[0].signed);
            assert_eq!(reader.info().pages[0].bit_depth, bits);
        }
    }

    #[test]
    fn floating_point_of_every_width_becomes_single_precision() {
        let values = [
            0.0_f64, 1.0, -2.0, 0.5, 1024.0, -0.25, 65504.0, 3.0, 0.125, 7.0, -9.0, 1.5,
        ];
        let expected: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_ne_bytes()).collect();
        for bits in [16, 24, 32, 64] {
            for (compression, predictor) in [(1, 1), (8, 3), (5, 2), (50000, 3)] {
                let mut image = Image::new(4, 3, 1, bits)
                    .compressed(compression)
                    .predicted(predictor);
                image.sample_format = 3;
                image.values = values.iter().map(|&v| float_bits(v, bits)).collect();
                check(&image, &expected);
            }
        }
    }

    #[test]
    fn integers_of_64_bits_become_single_precision() {
        let mut image = Image::new(5, 4, 2, 64);
        let single = |value: &dyn Fn(u64) -> f32| -> Vec<u8> {
            image
                .values
                .iter()
                .flat_map(|&v| value(v).to_ne_bytes())
                .collect()
        };
        let (unsigned, signed) = (single(&|v| v as f32), single(&|v| v as i64 as f32));
        check(&image, &unsigned);
        check(&image.clone().compressed(8).predicted(2), &unsigned);
        image.sample_format = 2;
        check(&image.compressed(5), &signed);
    }

    #[test]
    fn a_palette_becomes_its_colors() {
        let mut map = vec![0_u16; 48];
        for i in 0..16 {
            (map[i], map[16 + i], map[32 + i]) = ((i as u16) << 8 | 7, 0x1000 + ((i as u16) << 8), 0xff00);
        }
        let image = Image::new(21, 6, 1, 4)
            .photometric(3)
            .tag(320, Values::Short(map.clone()));
        let colors: Vec<u8> = image
            .values
            .iter()
            .flat_map(|&v| [v as u8, 0x10 + v as u8, 0xff])
            .collect();
        check(&image, &colors);
        // Entries of 8 bits in the slots of 16; indexes of 1, 8 and 16 bits.
        for bits in [1_u32, 8, 16] {
            let count = 1_usize << bits;
            let map = (0..3 * count).map(|i| (i * 7 % 251) as u16).collect();
            let image = Image::new(21, 6, 1, bits)
                .photometric(3)
                .compressed(8)
                .tag(320, Values::Short(map));
            let color = |&v: &u64| (0..3).map(move |band| ((band * count + v as usize) * 7 % 251) as u8);
            let colors: Vec<u8> = image.values.iter().flat_map(color).collect();
            check(&image, &colors);
        }
    }

    #[test]
    fn ycbcr_is_converted_with_and_without_subsampling() {
        // Grey and one blue: chroma as the default reference says.
        let mut image = Image::new(4, 2, 3, 8).photometric(6).in_strips(2);
        image.values = [[76, 85, 255]; 8].concat();
        check(
            &image.clone().tag(530, Values::Short(vec![1, 1])),
            &[254, 0, 0].repeat(8),
        );
        image.blocks = Some(vec![
            [[76, 76, 76, 76, 85, 255], [29, 29, 29, 29, 255, 107]].concat(),
        ]);
        let row = [[254, 0, 0], [254, 0, 0], [0, 0, 254], [0, 0, 254]].concat();
        check(&image, &row.repeat(2));
    }

    #[test]
    fn blocks_that_are_not_stored_are_empty() {
        let mut image = Image::new(40, 20, 1, 8).tiled(32, 32).compressed(8);
        image.blocks = Some(vec![vec![], vec![]]);
        check(&image, &[0; 800]);
        let white = image.photometric(0);
        check(&white, &[255; 800]);
    }

    #[test]
    fn a_block_that_is_too_short_is_named_in_the_error() {
        let mut image = Image::new(40, 20, 1, 8).tiled(32, 32);
        image.blocks = Some(vec![vec![1; 1024], vec![1; 600]]);
        let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
        let error = read_level(&*reader, 0, 0).unwrap_err();
        assert_eq!(
            error.message(),
            "tile (1, 0) of the 40x20 level: 600 bytes stored, expected 616 or more"
        );
        assert!(read_region(&*reader, 0, 0, Region::new(0, 0, 32, 20)).is_ok());
    }

    fn any_image() -> impl Strategy<Value = Image> {
        (
            (1..60_u32, 1..40_u32, 1..5_u32),
            prop::sample::select(vec![1_u32, 2, 4, 7, 8, 12, 16, 24, 32]),
            prop::sample::select(vec![1_u16, 5, 8, 50000, 32773]),
            (1..40_u32, 1..40_u32),
            any::<[bool; 3]>(),
        )
            .prop_map(
                |((width, height, bands), bits, compression, (bw, bh), [tiled, planar, predicted])| {
                    let mut image = Image::new(width, height, bands, bits).compressed(compression);
                    image.planar = planar;
                    image.predictor = 1 + u16::from(predicted && !matches!(compression, 1 | 32773));
                    if tiled {
                        image.tiled(bw, bh)
                    } else {
                        image.in_strips(bh)
                    }
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn a_region_is_the_crop_of_the_whole(image in any_image(), x in 0..60_u32, y in 0..40_u32, w in 1..60_u32, h in 1..40_u32) {
            let file = write(std::slice::from_ref(&image), ByteOrder::Big, false);
            let reader = open(file).unwrap();
            let whole = read_level(&*reader, 0, 0).unwrap();
            prop_assert_eq!(&whole, &expected(&image));
            let (x, y) = (x % image.width, y % image.height);
            let region = Region::new(x, y, w.min(image.width - x), h.min(image.height - y));
            let found = read_region(&*reader, 0, 0, region).unwrap();
            let pixel = whole.len() / (image.width * image.height) as usize;
            let cut: Vec<u8> = (region.y..region.y + region.height)
                .flat_map(|y| {
                    let start = (y * image.width + region.x) as usize * pixel;
                    whole[start..start + region.width as usize * pixel].to_vec()
                })
                .collect();
            prop_assert!(found == cut);
        }
    }
}
