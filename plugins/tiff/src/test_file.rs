//! Writes TIFF files for tests: every layout the decoder reads, made independently of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, ImageDecoder, ImageReader, Limits, PixelBuffer, PlainServices,
    ReadRequest, Region, SampleFormat, row_bytes,
};

use crate::TiffDecoder;
use crate::ifd::ByteOrder;

/// Values of a tag.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Ascii(&'static str),
    Short(Vec<u16>),
    Long(Vec<u32>),
    Rational(Vec<(u32, u32)>),
    Double(Vec<f64>),
    Undefined(Vec<u8>),
}

/// One image of a file. Values are bit patterns of samples, interleaved, `bits` wide.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: u32,
    pub(crate) bits: u32,
    /// Tile size, or else rows per strip.
    pub(crate) tile: Option<(u32, u32)>,
    pub(crate) rows_per_strip: u32,
    pub(crate) compression: u16,
    pub(crate) predictor: u16,
    pub(crate) planar: bool,
    pub(crate) photometric: u16,
    pub(crate) sample_format: u16,
    pub(crate) reverse_bits: bool,
    pub(crate) tags: Vec<(u16, Values)>,
    pub(crate) sub_images: Vec<Image>,
    pub(crate) values: Vec<u64>,
    /// Blocks that are written as they are, in place of encoded values.
    pub(crate) blocks: Option<Vec<Vec<u8>>>,
}

impl Image {
    /// An uncompressed image in tiles of 16 x 16 whose samples run through all values.
    pub(crate) fn new(width: u32, height: u32, bands: u32, bits: u32) -> Self {
        let mask = u64::MAX >> (64 - bits);
        let values = (0..u64::from(width) * u64::from(height) * u64::from(bands))
            .map(|i| {
                (i / 7)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(17)
                    .wrapping_add(i)
                    & mask
            })
            .collect();
        Self {
            width,
            height,
            bands,
            bits,
            tile: Some((16, 16)),
            rows_per_strip: 0,
            compression: 1,
            predictor: 1,
            planar: false,
            photometric: if bands >= 3 { 2 } else { 1 },
            sample_format: 1,
            reverse_bits: false,
            tags: Vec::new(),
            sub_images: Vec::new(),
            values,
            blocks: None,
        }
    }

    pub(crate) fn compressed(mut self, compression: u16) -> Self {
        self.compression = compression;
        self
    }

    pub(crate) fn predicted(mut self, predictor: u16) -> Self {
        self.predictor = predictor;
        self
    }

    pub(crate) fn tiled(mut self, width: u32, height: u32) -> Self {
        self.tile = Some((width, height));
        self
    }

    pub(crate) fn in_strips(mut self, rows: u32) -> Self {
        self.tile = None;
        self.rows_per_strip = rows;
        self
    }

    pub(crate) fn photometric(mut self, photometric: u16) -> Self {
        self.photometric = photometric;
        self
    }

    pub(crate) fn tag(mut self, tag: u16, values: Values) -> Self {
        self.tags.push((tag, values));
        self
    }

    /// NewSubfileType.
    pub(crate) fn subfile(self, bits: u32) -> Self {
        self.tag(254, Values::Long(vec![bits]))
    }

    /// The stored blocks, before compression, in the order of the file.
    fn block_sizes(&self) -> (u32, u32) {
        self.tile.unwrap_or((self.width, self.rows_per_strip))
    }

    /// The blocks, compressed, in the order of the file.
    pub(crate) fn encode_blocks(&self, order: ByteOrder) -> Vec<Vec<u8>> {
        if let Some(blocks) = &self.blocks {
            return blocks.clone();
        }
        let (block_width, block_height) = self.block_sizes();
        let planes = if self.planar { self.bands } else { 1 };
        let mut blocks = Vec::new();
        for plane in 0..planes {
            for top in (0..self.height).step_by(block_height as usize) {
                for left in (0..self.width).step_by(block_width as usize) {
                    let rows = if self.tile.is_some() {
                        block_height
                    } else {
                        block_height.min(self.height - top)
                    };
                    blocks.push(self.encode_block(order, plane, left, top, block_width, rows));
                }
            }
        }
        blocks
    }

    fn encode_block(
        &self,
        order: ByteOrder,
        plane: u32,
        left: u32,
        top: u32,
        width: u32,
        rows: u32,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let bands: Vec<u32> = if self.planar {
            vec![plane]
        } else {
            (0..self.bands).collect()
        };
        let mask = u64::MAX >> (64 - self.bits);
        for y in top..top + rows {
            let mut row = Vec::new();
            for x in left..left + width {
                for &band in &bands {
                    // Beyond the picture the edge is repeated.
                    let (x, y) = (x.min(self.width - 1), y.min(self.height - 1));
                    let idx = (u64::from(y) * u64::from(self.width) + u64::from(x)) * u64::from(self.bands)
                        + u64::from(band);
                    row.push(self.values[idx as usize]);
                }
            }
            if self.predictor == 2 {
                for i in (bands.len()..row.len()).rev() {
                    row[i] = row[i].wrapping_sub(row[i - bands.len()]) & mask;
                }
            }
            if self.predictor == 3 {
                bytes.extend(self.floating_point_differences(&row, bands.len()));
            } else {
                // Integers of 24 bits are stored high byte first in files of either order.
                let is_packed = self.bits == 24 && self.sample_format != 3;
                let order = if is_packed { ByteOrder::Big } else { order };
                bytes.extend(pack(&row, self.bits, order));
            }
        }
        let mut encoded = self.compress(bytes, width, rows, bands.len());
        if self.reverse_bits {
            encoded.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        encoded
    }

    /// Bytes as one block, whatever the size of the image.
    pub(crate) fn block_of(&self, bytes: &[u8]) -> Vec<u8> {
        self.compress(bytes.to_vec(), 1, bytes.len() as u32, 1)
    }

    /// A block of packed samples, compressed.
    pub(crate) fn compress(&self, bytes: Vec<u8>, width: u32, rows: u32, bands: usize) -> Vec<u8> {
        match self.compression {
            1 => bytes,
            5 => weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                .encode(&bytes)
                .unwrap(),
            7 => jpeg(&bytes, width, rows, bands, self.photometric == 6, (2, 2)),
            34925 => liblzma::encode_all(&bytes[..], 0).unwrap(),
            50001 => {
                let encoder = match bands {
                    3 => webp::Encoder::from_rgb(&bytes, width, rows),
                    _ => webp::Encoder::from_rgba(&bytes, width, rows),
                };
                encoder.encode_lossless().to_vec()
            }
            8 | 32946 => {
                let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
                let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
                let len = compressor.zlib_compress(&bytes, &mut out).unwrap();
                out.truncate(len);
                out
            }
            32773 => bytes
                .chunks(128)
                .flat_map(|c| [&[c.len() as u8 - 1], c].concat())
                .collect(),
            50000 => zstd::bulk::compress(&bytes, 3).unwrap(),
            other => panic!("the test writer has no compression {other}"),
        }
    }

    /// Adobe Technical Note 3: bytes by significance, then differences of bytes.
    fn floating_point_differences(&self, row: &[u64], step: usize) -> Vec<u8> {
        let size = self.bits as usize / 8;
        let mut bytes = Vec::new();
        for significance in (0..size).rev() {
            bytes.extend(row.iter().map(|value| (value >> (8 * significance)) as u8));
        }
        for i in (step..bytes.len()).rev() {
            bytes[i] = bytes[i].wrapping_sub(bytes[i - step]);
        }
        bytes
    }
}

/// One row of samples: whole numbers of bytes in byte order, others bit by bit.
pub(crate) fn pack(row: &[u64], bits: u32, order: ByteOrder) -> Vec<u8> {
    if bits.is_multiple_of(8) {
        let size = bits as usize / 8;
        return row
            .iter()
            .flat_map(|value| match order {
                ByteOrder::Little => value.to_le_bytes()[..size].to_vec(),
                ByteOrder::Big => value.to_be_bytes()[8 - size..].to_vec(),
            })
            .collect();
    }
    let all_bits: Vec<u8> = row
        .iter()
        .flat_map(|value| (0..bits).rev().map(move |bit| (value >> bit & 1) as u8))
        .collect();
    all_bits
        .chunks(8)
        .map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (i, bit)| byte | bit << (7 - i))
        })
        .collect()
}

/// A number of floating point as the pattern of its bits; without subnormal numbers below single precision.
pub(crate) fn float_bits(value: f64, bits: u32) -> u64 {
    let single = u64::from((value as f32).to_bits());
    let narrow = |exponent_bits: u32, fraction_bits: u32| {
        let bias = (1 << (exponent_bits - 1)) - 1;
        let exponent = match value == 0.0 {
            true => 0,
            false => ((single >> 23 & 255) + bias - 127) << fraction_bits,
        };
        let fraction = single >> (23 - fraction_bits) & ((1 << fraction_bits) - 1);
        single >> 31 << (exponent_bits + fraction_bits) | exponent | fraction
    };
    match bits {
        16 => narrow(5, 10),
        24 => narrow(7, 16),
        32 => single,
        _ => value.to_bits(),
    }
}

/// A picture, 1 is a set bit.
pub(crate) const CCITT_ROWS: [&str; 6] = [
    "11111111111111111111",
    "10000111111111100001",
    "10000000011111100001",
    "00000000000000000000",
    "01010101010101010101",
    "11111111111111111110",
];

/// The picture in each CCITT form, encoded by libtiff: compression, T4Options or T6Options, bytes.
pub(crate) const CCITT_FORMS: [(u16, u32, &str); 5] = [
    (2, 0, "350d00355612d035532b40101d0e8743a1d0e8743a1d0e80350ce380"),
    (
        4,
        0,
        "26a1a2559097cccb1164744744744744744744744740825422222222e0020020",
    ),
    (
        3,
        0,
        "001350d00026aac25a00135532b400220004743a1d0e8743a1d0e8743a001350ce38",
    ),
    (
        3,
        1,
        "0019a8680014ab212e00335532b40021160031d0e8743a1d0e8743a1d0e8004844444445c0",
    ),
    (
        3,
        4,
        "0001350d0001355612d0000135532b40011000011d0e8743a1d0e8743a1d0e8001350ce380",
    ),
];

/// Bytes written as hexadecimal digits.
pub(crate) fn bytes_of_hex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// A JPEG file of interleaved samples.
pub(crate) fn jpeg(
    pixels: &[u8],
    width: u32,
    height: u32,
    bands: usize,
    ycbcr: bool,
    subsampling: (u8, u8),
) -> Vec<u8> {
    use mozjpeg::ColorSpace;
    let space = match bands {
        1 => ColorSpace::JCS_GRAYSCALE,
        3 => ColorSpace::JCS_RGB,
        4 => ColorSpace::JCS_CMYK,
        _ => panic!("no JPEG of {bands} bands"),
    };
    let mut compress = mozjpeg::Compress::new(space);
    compress.set_size(width as usize, height as usize);
    compress.set_fastest_defaults();
    compress.set_color_space(if ycbcr { ColorSpace::JCS_YCbCr } else { space });
    if ycbcr {
        compress.set_chroma_sampling_pixel_sizes(subsampling, subsampling);
    }
    compress.set_quality(90.0);
    let mut started = compress.start_compress(Vec::new()).unwrap();
    started.write_scanlines(pixels).unwrap();
    started.finish().unwrap()
}

/// The file with these images in its chain of directories.
pub(crate) fn write(images: &[Image], order: ByteOrder, big: bool) -> Vec<u8> {
    let mut writer = Writer {
        file: Vec::new(),
        order,
        big,
    };
    writer.file.extend(match order {
        ByteOrder::Little => *b"II",
        ByteOrder::Big => *b"MM",
    });
    writer.number(if big { 43 } else { 42 }, 2);
    if big {
        writer.number(8, 2);
        writer.number(0, 2);
    }
    let mut pointer = writer.file.len();
    writer.offset(0);
    for image in images {
        let (directory, next) = writer.image(image);
        writer.patch(pointer, directory);
        pointer = next;
    }
    writer.file
}

struct Writer {
    file: Vec<u8>,
    order: ByteOrder,
    big: bool,
}

impl Writer {
    fn bytes(&self, value: u64, len: usize) -> Vec<u8> {
        match self.order {
            ByteOrder::Little => value.to_le_bytes()[..len].to_vec(),
            ByteOrder::Big => value.to_be_bytes()[8 - len..].to_vec(),
        }
    }

    fn number(&mut self, value: u64, len: usize) {
        let bytes = self.bytes(value, len);
        self.file.extend(bytes);
    }

    fn offset_len(&self) -> usize {
        if self.big { 8 } else { 4 }
    }

    fn offset(&mut self, value: u64) {
        self.number(value, self.offset_len());
    }

    fn patch(&mut self, at: usize, value: u64) {
        let bytes = self.bytes(value, self.offset_len());
        self.file[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    /// Writes blocks and directory; gives the place of the directory and of its pointer to the next one.
    fn image(&mut self, image: &Image) -> (u64, usize) {
        let subs: Vec<u32> = image
            .sub_images
            .iter()
            .map(|sub| self.image(sub).0 as u32)
            .collect();
        let mut offsets = Vec::new();
        let mut counts = Vec::new();
        for block in image.encode_blocks(self.order) {
            offsets.push(if block.is_empty() {
                0
            } else {
                self.file.len() as u32
            });
            counts.push(block.len() as u32);
            self.file.extend(block);
        }
        let per_band = |value: u32| Values::Short(vec![value as u16; image.bands as usize]);
        let mut tags = vec![
            (256, Values::Long(vec![image.width])),
            (257, Values::Short(vec![image.height as u16])),
            (258, per_band(image.bits)),
            (259, Values::Short(vec![image.compression])),
            (262, Values::Short(vec![image.photometric])),
            (277, Values::Short(vec![image.bands as u16])),
            (284, Values::Short(vec![1 + u16::from(image.planar)])),
            (317, Values::Short(vec![image.predictor])),
        ];
        // 0 leaves the tag out.
        if image.sample_format != 0 {
            tags.push((339, per_band(u32::from(image.sample_format))));
        }
        if image.reverse_bits {
            tags.push((266, Values::Short(vec![2])));
        }
        match image.tile {
            Some((width, height)) => tags.extend([
                (322, Values::Short(vec![width as u16])),
                (323, Values::Long(vec![height])),
                (324, Values::Long(offsets)),
                (325, Values::Long(counts)),
            ]),
            None => tags.extend([
                (273, Values::Long(offsets)),
                (278, Values::Long(vec![image.rows_per_strip])),
                (279, Values::Long(counts)),
            ]),
        }
        if !subs.is_empty() {
            tags.push((330, Values::Long(subs)));
        }
        // Tags of the test replace those made here.
        tags.retain(|(tag, _)| image.tags.iter().all(|(own, _)| own != tag));
        tags.extend(image.tags.iter().cloned());
        tags.sort_by_key(|(tag, _)| *tag);
        self.directory(&tags)
    }

    fn directory(&mut self, tags: &[(u16, Values)]) -> (u64, usize) {
        let mut entries = Vec::new();
        for (tag, values) in tags {
            let (kind, count, bytes) = self.encoded(values);
            let mut value = bytes;
            if value.len() > self.offset_len() {
                let at = self.file.len() as u64;
                self.file.extend(value);
                value = self.bytes(at, self.offset_len());
            }
            value.resize(self.offset_len(), 0);
            let count_len = self.offset_len();
            entries.extend([
                self.bytes(u64::from(*tag), 2),
                self.bytes(kind, 2),
                self.bytes(count, count_len),
            ]);
            entries.push(value);
        }
        let directory = self.file.len() as u64;
        self.number(tags.len() as u64, if self.big { 8 } else { 2 });
        self.file.extend(entries.concat());
        let next = self.file.len();
        self.offset(0);
        (directory, next)
    }

    fn encoded(&self, values: &Values) -> (u64, u64, Vec<u8>) {
        let all = |values: &[u64], len: usize| -> Vec<u8> {
            values.iter().flat_map(|&value| self.bytes(value, len)).collect()
        };
        match values {
            Values::Ascii(text) => (2, text.len() as u64 + 1, [text.as_bytes(), &[0]].concat()),
            Values::Short(v) => (
                3,
                v.len() as u64,
                v.iter().flat_map(|&v| self.bytes(v.into(), 2)).collect(),
            ),
            Values::Long(v) => (
                4,
                v.len() as u64,
                v.iter().flat_map(|&v| self.bytes(v.into(), 4)).collect(),
            ),
            Values::Rational(v) => (
                5,
                v.len() as u64,
                v.iter()
                    .flat_map(|&(a, b)| all(&[a.into(), b.into()], 4))
                    .collect(),
            ),
            Values::Double(v) => (
                12,
                v.len() as u64,
                v.iter().flat_map(|v| self.bytes(v.to_bits(), 8)).collect(),
            ),
            Values::Undefined(v) => (7, v.len() as u64, v.clone()),
        }
    }
}

/// A file in memory that counts what is read of it.
pub(crate) struct Counted {
    file: Vec<u8>,
    read: AtomicU64,
}

impl Counted {
    pub(crate) fn new(file: Vec<u8>) -> Self {
        Self {
            file,
            read: AtomicU64::new(0),
        }
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl ByteSource for Counted {
    fn len(&self) -> u64 {
        ByteSource::len(&self.file)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let count = self.file.read_at(offset, buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Opens a file in memory.
pub(crate) fn open(file: Vec<u8>) -> Result<Box<dyn ImageReader>, DecodeError> {
    open_source(Arc::new(file))
}

/// Opens a source.
pub(crate) fn open_source(source: Arc<dyn ByteSource>) -> Result<Box<dyn ImageReader>, DecodeError> {
    let services = PlainServices::default();
    TiffDecoder::default().open(source, &CallContext::new(Limits::default(), &services))
}

/// The samples of a region as bytes.
pub(crate) fn read_region(
    reader: &dyn ImageReader,
    page: u32,
    level: u32,
    region: Region,
) -> Result<Vec<u8>, DecodeError> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let info = &reader.info().pages[page as usize];
    // A stride longer than a row, so that writing past a row is noticed.
    let row = row_bytes(region.width, info.band_count, info.sample_format).unwrap();
    let stride = row + 5;
    let mut bytes = vec![0xa5; stride * region.height as usize];
    bytes
        .chunks_exact_mut(stride)
        .for_each(|row_bytes| row_bytes[..row].fill(0));
    let mut buffer = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        info.band_count,
        info.sample_format,
        stride,
    )?;
    let request = ReadRequest {
        page,
        level,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut buffer, &ctx)?;
    assert!(
        bytes.chunks_exact(stride).all(|r| r[row..] == [0xa5; 5]),
        "a write past a row"
    );
    Ok(bytes
        .chunks_exact(stride)
        .flat_map(|r| r[..row].to_vec())
        .collect())
}

/// The samples of a whole level as bytes, without gaps: blocks may go straight into the buffer.
pub(crate) fn read_level(reader: &dyn ImageReader, page: u32, level: u32) -> Result<Vec<u8>, DecodeError> {
    let size = &reader.info().pages[page as usize].levels[level as usize];
    let region = Region::new(0, 0, size.width, size.height);
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let info = &reader.info().pages[page as usize];
    let row = row_bytes(region.width, info.band_count, info.sample_format).unwrap();
    let mut bytes = vec![0; row * region.height as usize];
    let mut buffer = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        info.band_count,
        info.sample_format,
        row,
    )?;
    let request = ReadRequest {
        page,
        level,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut buffer, &ctx)?;
    Ok(bytes)
}

/// Values in the container of a sample format, native byte order.
pub(crate) fn container(values: impl Iterator<Item = u64>, format: SampleFormat) -> Vec<u8> {
    values
        .flat_map(|value| match format {
            SampleFormat::U8 => vec![value as u8],
            SampleFormat::U16 => (value as u16).to_ne_bytes().to_vec(),
            SampleFormat::U32 | SampleFormat::F32 => (value as u32).to_ne_bytes().to_vec(),
        })
        .collect()
}
