//! How one directory stores its pixels: sizes, samples, compression, color, as its tags say.

use std::sync::Arc;

use iiphost_plugin_api::DecodeError;

use crate::compression::Compression;
use crate::ifd::{ByteOrder, Directory, Structure, tag};
use crate::photometric::Photometric;
use crate::tables::Table;

/// Largest JPEGTables accepted: four quantization and eight Huffman tables are under 2 KB.
const MAX_JPEG_TABLES: u64 = 64 * 1024;

/// Bands a pixel may have. Hyperspectral images have hundreds.
const MAX_SAMPLES: u64 = 4096;

/// What the bits of a sample are (tag SampleFormat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleKind {
    /// Unsigned integer.
    Unsigned,
    /// Signed integer, two's complement.
    Signed,
    /// IEEE 754.
    Float,
}

/// How samples were prepared for compression (TIFF 6.0 section 14, Adobe TIFF Technical Note 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predictor {
    /// As they are.
    None,
    /// Differences of neighbors in a row.
    Horizontal,
    /// Floating point, bytes of a row regrouped by significance, then differences of bytes.
    FloatingPoint,
}

/// Numbers for turning YCbCr into RGB (TIFF 6.0 section 21).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct YcbcrParams {
    /// Shares of red, green and blue in luma.
    pub(crate) coefficients: [f64; 3],
    /// Codes for black and white of Y, Cb, Cr.
    pub(crate) reference: [f64; 6],
}

/// How one directory stores its pixels.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Offset of the directory: its name in messages and cache keys.
    pub(crate) directory: u64,
    /// Bits of NewSubfileType: 1 reduced, 2 page, 4 mask.
    pub(crate) subfile_type: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Tiles, or else strips.
    pub(crate) tiled: bool,
    /// Size of a tile, or of a strip (its last one may have fewer rows).
    pub(crate) block_width: u32,
    pub(crate) block_height: u32,
    pub(crate) samples_per_pixel: u16,
    /// Bits of each sample, 1 to 64.
    pub(crate) bits: u16,
    pub(crate) kind: SampleKind,
    /// The number `kind` comes from: tag SampleFormat, or what stands for it.
    pub(crate) sample_format: u16,
    /// One plane of blocks per sample.
    pub(crate) planar: bool,
    pub(crate) photometric: Photometric,
    /// InkSet says that the inks are not cyan, magenta, yellow, black.
    pub(crate) other_inks: bool,
    pub(crate) compression: Compression,
    pub(crate) predictor: Predictor,
    /// Bits of each byte are stored lowest first (FillOrder 2).
    pub(crate) reverse_bits: bool,
    pub(crate) order: ByteOrder,
    /// Meaning of the samples beyond the color ones, `None` if the tag is absent.
    pub(crate) extra_samples: Option<Vec<u16>>,
    /// Chroma subsampling of YCbCr, across and down: pixels that share a sample.
    pub(crate) subsampling: (u8, u8),
    pub(crate) ycbcr: YcbcrParams,
    /// Colors of a palette.
    pub(crate) color_map: Option<Arc<[[u8; 3]]>>,
    pub(crate) jpeg_tables: Option<Arc<[u8]>>,
    /// What the codec is told besides: T4Options, T6Options, or how LERC data is compressed once more.
    pub(crate) codec_options: u32,
    pub(crate) offsets: Table,
    /// Absent in some old files with uncompressed strips.
    pub(crate) byte_counts: Option<Table>,
}

impl Layout {
    /// Smallest and largest value of integers of 64 bits, which are delivered as floating point; to the precision of
    /// that.
    pub(crate) fn range_of_wide_integers(&self) -> Option<(f64, f64)> {
        let half = (2.0_f64).powi(63);
        match self.kind {
            SampleKind::Unsigned if self.bits == 64 => Some((0.0, 2.0 * half)),
            SampleKind::Signed if self.bits == 64 => Some((-half, half)),
            _ => None,
        }
    }

    /// The layout of `directory`.
    ///
    /// # Errors
    /// `Format` for values that break the rules, `Unsupported` for valid ones that are not decoded.
    pub(crate) fn read(
        structure: &mut Structure<'_>,
        directory: &Directory,
        main_format: Option<u16>,
    ) -> Result<Self, DecodeError> {
        let mut tags = Tags { structure, directory };
        let width = tags.side(tag::IMAGE_WIDTH, "ImageWidth")?;
        let height = tags.side(tag::IMAGE_LENGTH, "ImageLength")?;
        let samples = tags.integer_or(tag::SAMPLES_PER_PIXEL, 1)?;
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(DecodeError::format(format!(
                "{samples} samples per pixel, expected 1 to {MAX_SAMPLES}"
            )));
        }
        let compression = Compression::from_tag(tags.integer_or(tag::COMPRESSION, 1)?)?;
        let bits = tags.same_for_all_samples(tag::BITS_PER_SAMPLE, "BitsPerSample", 1)?;
        // A reduced size that does not say it has the samples of the picture it was made from, not the
        // unsigned integers TIFF 6.0 has as default: libvips writes float pyramids like that.
        let subfile_type = tags.subfile_type()?;
        let is_reduced = subfile_type & 1 != 0;
        let default_format = main_format.filter(|_| is_reduced).unwrap_or(1);
        let format = tags.same_for_all_samples(tag::SAMPLE_FORMAT, "SampleFormat", default_format)?;
        let kind = sample_kind(bits, format)?;
        let photometric = match tags.structure.integer(directory, tag::PHOTOMETRIC)? {
            Some(number) => Photometric::from_tag(number)?,
            // The tag is required; files without it are read as most readers do.
            None if samples >= 3 => Photometric::Rgb,
            None => Photometric::BlackIsZero,
        };
        // Aperio's two forms of JPEG 2000 say themselves what the colors are.
        let photometric = match (compression, photometric) {
            (Compression::Jpeg2000Ycbcr, Photometric::Rgb) => Photometric::YCbCr,
            (Compression::Jpeg2000Rgb, Photometric::YCbCr) => Photometric::Rgb,
            (_, photometric) => photometric,
        };
        let planar = match tags.integer_or(tag::PLANAR_CONFIGURATION, 1)? {
            1 => false,
            2 => samples > 1,
            other => {
                return Err(DecodeError::format(format!(
                    "PlanarConfiguration is {other}, expected 1 or 2"
                )));
            }
        };
        let predictor = match tags.integer_or(tag::PREDICTOR, 1)? {
            _ if !compression.has_predictor() => Predictor::None,
            1 => Predictor::None,
            2 => Predictor::Horizontal,
            3 if kind == SampleKind::Float => Predictor::FloatingPoint,
            3 => {
                return Err(DecodeError::format(
                    "predictor 3 (floating point) with integer samples",
                ));
            }
            other => {
                return Err(DecodeError::format(format!(
                    "predictor is {other}, expected 1 to 3"
                )));
            }
        };
        let reverse_bits = match tags.integer_or(tag::FILL_ORDER, 1)? {
            2 => !compression.is_picture_file(),
            _ => false,
        };
        let subsampling = tags.subsampling(samples)?;
        let (tiled, block_width, block_height) = tags.blocks(width, height)?;
        let color_map = match photometric {
            Photometric::Palette => Some(tags.color_map(bits)?),
            _ => None,
        };
        let jpeg_tables = match (compression, directory.find(tag::JPEG_TABLES)) {
            (Compression::Jpeg, Some(entry)) => {
                Some(tags.structure.raw_values(entry, MAX_JPEG_TABLES)?.into())
            }
            _ => None,
        };
        let codec_options = match compression {
            Compression::Fax4 => tags.integer_or(tag::T6_OPTIONS, 0)? as u32,
            Compression::Lerc => tags.lerc_wrapping()?,
            _ => tags.integer_or(tag::T4_OPTIONS, 0)? as u32,
        };
        let (bits, kind, format) = match compression.is_sgi_log() {
            true => sgi_log_samples(compression, photometric, samples, bits)?,
            false => (bits, kind, format),
        };
        let layout = Self {
            directory: directory.offset(),
            subfile_type,
            width,
            height,
            tiled,
            block_width,
            block_height,
            samples_per_pixel: samples as u16,
            bits,
            kind,
            sample_format: format,
            planar,
            photometric,
            other_inks: tags.integer_or(tag::INK_SET, 1)? != 1,
            compression,
            predictor,
            reverse_bits,
            order: match compression.gives_numbers() {
                true => ByteOrder::NATIVE,
                false => tags.structure.header().order,
            },
            extra_samples: tags.extra_samples()?,
            subsampling,
            ycbcr: tags.ycbcr(bits)?,
            color_map,
            jpeg_tables,
            codec_options,
            offsets: tags
                .table(tiled, tag::TILE_OFFSETS, tag::STRIP_OFFSETS)?
                .ok_or_else(|| {
                    DecodeError::format(format!("no {}Offsets tag", if tiled { "Tile" } else { "Strip" }))
                })?,
            byte_counts: tags.table(tiled, tag::TILE_BYTE_COUNTS, tag::STRIP_BYTE_COUNTS)?,
        };
        layout.check()?;
        Ok(layout)
    }

    /// Blocks across the image.
    pub(crate) fn block_cols(&self) -> u32 {
        self.width.div_ceil(self.block_width)
    }

    /// Blocks down the image.
    pub(crate) fn block_rows(&self) -> u32 {
        self.height.div_ceil(self.block_height)
    }

    /// Planes stored one after the other.
    pub(crate) fn planes(&self) -> u16 {
        if self.planar { self.samples_per_pixel } else { 1 }
    }

    /// Samples of a pixel stored side by side.
    pub(crate) fn samples_together(&self) -> u16 {
        if self.planar { 1 } else { self.samples_per_pixel }
    }

    /// Rows stored in a block of the given row of blocks: a last strip is cut, a last tile is not.
    pub(crate) fn stored_rows(&self, block_row: u32) -> u32 {
        if self.tiled {
            return self.block_height;
        }
        // `block_row` is below `block_rows()`, so the product is below the height.
        let above = u64::from(block_row) * u64::from(self.block_height);
        let rest = u64::from(self.height).saturating_sub(above);
        rest.min(u64::from(self.block_height)) as u32
    }

    /// Bytes of one stored row of one block after decompression, `None` on overflow.
    pub(crate) fn stored_row_bytes(&self) -> Option<usize> {
        self.row_bytes(self.block_width)
    }

    /// Bytes of a stored row of `width` pixels, `None` on overflow.
    pub(crate) fn row_bytes(&self, width: u32) -> Option<usize> {
        let bits = u64::from(width) * u64::from(self.samples_together()) * u64::from(self.bits);
        usize::try_from(bits.div_ceil(8)).ok()
    }

    /// The codec turns YCbCr into RGB.
    pub(crate) fn codec_turns_ycbcr(&self) -> bool {
        self.compression == Compression::Jpeg && !self.planar && self.samples_per_pixel == 3
    }

    /// Chroma comes out of the codec with fewer samples than luma. JPEG and JPEG 2000 spread it themselves
    /// where they have all of a pixel.
    pub(crate) fn is_subsampled(&self) -> bool {
        let codec_spreads =
            !self.planar && (self.compression.is_jpeg2000() || self.compression == Compression::Jpeg);
        self.photometric == Photometric::YCbCr && self.subsampling != (1, 1) && !codec_spreads
    }

    /// Luma and chroma are stored together in data units (TIFF 6.0 section 21).
    pub(crate) fn has_data_units(&self) -> bool {
        self.is_subsampled() && !self.planar
    }

    /// The plane is one of chroma with fewer samples than luma.
    pub(crate) fn is_small(&self, plane: u16) -> bool {
        self.is_subsampled() && self.planar && matches!(plane, 1 | 2)
    }

    /// Samples of a plane of a block in the given row of blocks. A block of a plane of chroma covers the same
    /// pixels as that of luma (Adobe Technical Note 2 says so of JPEG, and it is the only way in which
    /// all planes have the same number of blocks).
    pub(crate) fn stored_size(&self, plane: u16, block_row: u32) -> BlockSize {
        let (across, down) = match self.is_small(plane) {
            true => (u32::from(self.subsampling.0), u32::from(self.subsampling.1)),
            false => (1, 1),
        };
        BlockSize {
            width: self.block_width.div_ceil(across),
            rows: self.stored_rows(block_row).div_ceil(down),
            full_rows: self.block_height.div_ceil(down),
        }
    }

    /// Bytes of a block of this size after decompression, `None` on overflow.
    pub(crate) fn stored_bytes(&self, size: BlockSize) -> Option<usize> {
        if self.has_data_units() {
            let (h, v) = (u64::from(self.subsampling.0), u64::from(self.subsampling.1));
            let units = u64::from(size.width).div_ceil(h) * u64::from(size.rows).div_ceil(v);
            let unit_bytes = (h * v + 2) * u64::from(self.bits / 8);
            return usize::try_from(units.checked_mul(unit_bytes)?).ok();
        }
        self.row_bytes(size.width)?.checked_mul(size.rows as usize)
    }

    /// What holds for a layout as a whole.
    fn check(&self) -> Result<(), DecodeError> {
        let blocks = u64::from(self.block_cols())
            .checked_mul(u64::from(self.block_rows()))
            .and_then(|n| n.checked_mul(u64::from(self.planes())))
            .ok_or_else(|| DecodeError::format("more blocks than 2^64"))?;
        for table in [Some(&self.offsets), self.byte_counts.as_ref()]
            .into_iter()
            .flatten()
        {
            if table.count() < blocks {
                return Err(DecodeError::format(format!(
                    "a table of {} entries for {blocks} {}",
                    table.count(),
                    if self.tiled { "tiles" } else { "strips" }
                )));
            }
        }
        if self.byte_counts.is_none() && self.compression != Compression::None && blocks > 1 {
            return Err(DecodeError::format("no byte counts for compressed blocks"));
        }
        if self.stored_bytes(self.stored_size(0, 0)).is_none() {
            return Err(DecodeError::format(format!(
                "a block of {}x{} pixels is larger than memory",
                self.block_width, self.block_height
            )));
        }
        let unsupported = |what: String| Err(DecodeError::unsupported(what));
        if self.compression.is_jpeg2000() && (!matches!(self.bits, 8 | 16) || self.kind == SampleKind::Float)
        {
            return unsupported(format!(
                "{} with {:?} samples of {} bits, expected integers of 8 or 16",
                self.compression.name(),
                self.kind,
                self.bits
            ));
        }
        if self.compression.gives_rgb() && (self.bits != 8 || self.kind != SampleKind::Unsigned) {
            return unsupported(format!(
                "{} with {} bits per sample, expected 8 unsigned",
                self.compression.name(),
                self.bits
            ));
        }
        if self.compression == Compression::Jpeg && self.samples_together() > 4 {
            return unsupported(format!(
                "JPEG with {} samples of a pixel side by side, expected 1 to 4",
                self.samples_per_pixel
            ));
        }
        if self.compression == Compression::WebP
            && (self.photometric != Photometric::Rgb
                || self.planar
                || !matches!(self.samples_per_pixel, 3 | 4))
        {
            return unsupported(format!(
                "WebP with {:?} and {} samples per pixel, expected RGB with 3 or 4 in one plane",
                self.photometric, self.samples_per_pixel
            ));
        }
        let is_log = matches!(self.photometric, Photometric::LogL | Photometric::LogLuv);
        if is_log != self.compression.is_sgi_log() || is_log && self.planar {
            return unsupported(format!(
                "{:?} with {}, expected SGI LogLuv in one plane",
                self.photometric,
                self.compression.name()
            ));
        }
        if self.compression == Compression::Lerc
            && !matches!(
                (self.kind, self.bits),
                (SampleKind::Float, 32 | 64) | (SampleKind::Unsigned | SampleKind::Signed, 8 | 16 | 32)
            )
        {
            return unsupported(format!("LERC with {:?} samples of {} bits", self.kind, self.bits));
        }
        if self.photometric == Photometric::YCbCr {
            self.check_ycbcr()?;
        }
        if matches!(
            self.compression,
            Compression::Fax3 | Compression::Fax4 | Compression::FaxRle
        ) && (self.bits != 1 || self.samples_together() != 1)
        {
            return unsupported(format!(
                "{} with {} samples of {} bits, expected 1 of 1",
                self.compression.name(),
                self.samples_per_pixel,
                self.bits
            ));
        }
        Ok(())
    }

    fn check_ycbcr(&self) -> Result<(), DecodeError> {
        let unsupported = |what: String| Err(DecodeError::unsupported(what));
        if !matches!(self.bits, 8..=16) || self.kind != SampleKind::Unsigned {
            return unsupported(format!(
                "YCbCr with {:?} samples of {} bits, expected unsigned of 8 to 16",
                self.kind, self.bits
            ));
        }
        if !self.is_subsampled() {
            return Ok(());
        }
        if !matches!(self.bits, 8 | 16) {
            return unsupported(format!(
                "subsampled YCbCr of {} bits, expected 8 or 16",
                self.bits
            ));
        }
        if self.planar {
            return Ok(());
        }
        if self.samples_per_pixel != 3 {
            return unsupported(format!(
                "subsampled YCbCr with {} samples per pixel in one plane, expected 3",
                self.samples_per_pixel
            ));
        }
        if self.predictor != Predictor::None {
            return unsupported("subsampled YCbCr with a predictor, expected none".into());
        }
        if self.compression == Compression::Lerc {
            return unsupported("subsampled YCbCr with LERC, which has no place for its data units".into());
        }
        Ok(())
    }
}

/// Samples of a stored block, of each plane if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSize {
    pub(crate) width: u32,
    pub(crate) rows: u32,
    /// Rows of a block that is not the last one down. A last strip may be stored with as many.
    pub(crate) full_rows: u32,
}

impl BlockSize {
    /// Whether a picture of this size is such a block. It may have more rows than a last strip needs.
    pub(crate) fn fits(self, width: u32, height: u32) -> bool {
        width == self.width && (self.rows..=self.full_rows).contains(&height)
    }
}

/// What the codec makes of logarithmic samples: 8-bit ones, whatever the tags say of those in the file.
fn sgi_log_samples(
    compression: Compression,
    photometric: Photometric,
    samples: u64,
    bits: u16,
) -> Result<(u16, SampleKind, u16), DecodeError> {
    match (compression, photometric, samples, bits) {
        (Compression::SgiLog, Photometric::LogL, 1, 16)
        | (Compression::SgiLog | Compression::SgiLog24, Photometric::LogLuv, 3, 16) => {
            Ok((8, SampleKind::Unsigned, 1))
        }
        _ => Err(DecodeError::unsupported(format!(
            "{} with {photometric:?}, {samples} samples of {bits} bits",
            compression.name()
        ))),
    }
}

/// Checks that bits and format make a sample that is decoded.
fn sample_kind(bits: u16, format: u16) -> Result<SampleKind, DecodeError> {
    let kind = match format {
        // 4 is "undefined": readers treat it as unsigned.
        1 | 4 => SampleKind::Unsigned,
        2 => SampleKind::Signed,
        3 => SampleKind::Float,
        5 | 6 => return Err(DecodeError::unsupported("complex samples are not supported")),
        other => {
            return Err(DecodeError::format(format!(
                "SampleFormat is {other}, expected 1 to 6"
            )));
        }
    };
    match (kind, bits) {
        (SampleKind::Float, 16 | 24 | 32 | 64) => Ok(kind),
        (SampleKind::Float, _) => Err(DecodeError::unsupported(format!(
            "floating point of {bits} bits, expected 16, 24, 32 or 64"
        ))),
        (_, 1..=32 | 64) => Ok(kind),
        (_, 0) => Err(DecodeError::format("0 bits per sample")),
        _ => Err(DecodeError::unsupported(format!(
            "{bits} bits per sample, expected 1 to 32 or 64"
        ))),
    }
}

/// The tags of one directory, with the rules of each.
struct Tags<'s, 'f, 'd> {
    structure: &'s mut Structure<'f>,
    directory: &'d Directory,
}

impl Tags<'_, '_, '_> {
    fn integer_or(&mut self, tag: u16, default: u64) -> Result<u64, DecodeError> {
        Ok(self.structure.integer(self.directory, tag)?.unwrap_or(default))
    }

    /// A required side, 1 to 2^31 - 1: sums of two sides then fit everywhere.
    fn side(&mut self, tag: u16, name: &str) -> Result<u32, DecodeError> {
        match self.structure.integer(self.directory, tag)? {
            Some(value @ 1..=0x7fff_ffff) => Ok(value as u32),
            Some(value) => Err(DecodeError::format(format!(
                "{name} is {value}, expected 1 to {}",
                0x7fff_ffff_u32
            ))),
            None => Err(DecodeError::format(format!("no {name} tag"))),
        }
    }

    fn subfile_type(&mut self) -> Result<u64, DecodeError> {
        if let Some(bits) = self.structure.integer(self.directory, tag::NEW_SUBFILE_TYPE)? {
            return Ok(bits);
        }
        // The older tag: 2 is a reduced image, 3 a page.
        Ok(match self.integer_or(tag::SUBFILE_TYPE, 0)? {
            2 => 1,
            3 => 2,
            _ => 0,
        })
    }

    /// A tag with one value per sample (or one for all) that must be the same for all.
    fn same_for_all_samples(&mut self, tag: u16, name: &str, default: u16) -> Result<u16, DecodeError> {
        let Some(entry) = self.directory.find(tag) else {
            return Ok(default);
        };
        let values = self.structure.integers(entry, MAX_SAMPLES)?;
        let Some(&first) = values.first() else {
            return Ok(default);
        };
        if values.iter().any(|&value| value != first) {
            return Err(DecodeError::unsupported(format!(
                "{name} differs between samples: {:?}",
                &values[..values.len().min(8)]
            )));
        }
        u16::try_from(first).map_err(|_| DecodeError::format(format!("{name} is {first}")))
    }

    fn extra_samples(&mut self) -> Result<Option<Vec<u16>>, DecodeError> {
        let Some(entry) = self.directory.find(tag::EXTRA_SAMPLES) else {
            return Ok(None);
        };
        let values = self.structure.integers(entry, MAX_SAMPLES)?;
        Ok(Some(values.iter().map(|&v| v.min(0xffff) as u16).collect()))
    }

    /// The second value of LercParameters: 0 for bare LERC, 1 for deflate and 2 for Zstandard around it.
    fn lerc_wrapping(&mut self) -> Result<u32, DecodeError> {
        let values = match self.directory.find(tag::LERC_PARAMETERS) {
            Some(entry) => self.structure.integers(entry, 2)?,
            None => return Ok(0),
        };
        match values.get(1).copied().unwrap_or(0) {
            wrapping @ 0..=2 => Ok(wrapping as u32),
            other => Err(DecodeError::unsupported(format!(
                "LERC with additional compression {other}, expected 0 to 2"
            ))),
        }
    }

    fn subsampling(&mut self, samples: u64) -> Result<(u8, u8), DecodeError> {
        let values = match self.directory.find(tag::YCBCR_SUBSAMPLING) {
            Some(entry) => self.structure.integers(entry, 2)?,
            None if samples == 3 => return Ok((2, 2)),
            // The default is that of three samples; nothing lays out data units of more.
            None => return Ok((1, 1)),
        };
        match values[..] {
            [h @ (1 | 2 | 4), v @ (1 | 2 | 4)] => Ok((h as u8, v as u8)),
            _ => Err(DecodeError::format(format!(
                "YCbCrSubSampling is {values:?}, expected two of 1, 2, 4"
            ))),
        }
    }

    fn ycbcr(&mut self, bits: u16) -> Result<YcbcrParams, DecodeError> {
        // Defaults: CCIR 601-1, and all codes with chroma around the middle.
        let codes = 2.0_f64.powi(i32::from(bits));
        let (white, middle) = (codes - 1.0, codes / 2.0);
        let mut params = YcbcrParams {
            coefficients: [0.299, 0.587, 0.114],
            reference: [0.0, white, middle, white, middle, white],
        };
        if let Some(entry) = self.directory.find(tag::YCBCR_COEFFICIENTS) {
            let values = self.structure.numbers(entry, 3)?;
            if let [r, g, b] = values[..]
                && g > 0.0
            {
                params.coefficients = [r, g, b];
            }
        }
        if let Some(entry) = self.directory.find(tag::REFERENCE_BLACK_WHITE) {
            let values = self.structure.numbers(entry, 6)?;
            if let Ok(reference) = <[f64; 6]>::try_from(values)
                && reference.chunks_exact(2).all(|pair| pair[0] != pair[1])
            {
                params.reference = reference;
            }
        }
        Ok(params)
    }

    /// Tiled or not, and the size of a block.
    fn blocks(&mut self, width: u32, height: u32) -> Result<(bool, u32, u32), DecodeError> {
        let has = |tag| self.directory.find(tag).is_some();
        if has(tag::TILE_WIDTH) || has(tag::TILE_LENGTH) || has(tag::TILE_OFFSETS) {
            let tile_width = self.side(tag::TILE_WIDTH, "TileWidth")?;
            let tile_height = self.side(tag::TILE_LENGTH, "TileLength")?;
            return Ok((true, tile_width, tile_height));
        }
        // Absent, or 2^32-1, means one strip.
        let rows = self.integer_or(tag::ROWS_PER_STRIP, u64::from(height))?;
        if rows == 0 {
            return Err(DecodeError::format("RowsPerStrip is 0"));
        }
        Ok((false, width, rows.min(u64::from(height)) as u32))
    }

    fn table(&mut self, tiled: bool, tile_tag: u16, strip_tag: u16) -> Result<Option<Table>, DecodeError> {
        // Some writers use the strip tags for tiles.
        let entry = match tiled {
            true => self.directory.find(tile_tag).or(self.directory.find(strip_tag)),
            false => self.directory.find(strip_tag),
        };
        entry.map(|entry| Table::new(self.structure, entry)).transpose()
    }

    /// The palette (TIFF 6.0 section 5): all reds, all greens, all blues, 16 bits each.
    fn color_map(&mut self, bits: u16) -> Result<Arc<[[u8; 3]]>, DecodeError> {
        if bits > 16 {
            return Err(DecodeError::unsupported(format!(
                "palette with indexes of {bits} bits"
            )));
        }
        let entry = self
            .directory
            .find(tag::COLOR_MAP)
            .ok_or_else(|| DecodeError::format("palette image without ColorMap"))?;
        let colors = 1usize << bits;
        let values = self.structure.integers(entry, 3 << 16)?;
        if values.len() < 3 * colors {
            return Err(DecodeError::format(format!(
                "ColorMap has {} entries, expected {}",
                values.len(),
                3 * colors
            )));
        }
        // Some writers store 8-bit entries in the 16-bit slots.
        let shift = if values.iter().all(|&v| v < 256) { 0 } else { 8 };
        let band = |idx: usize| (values[idx] >> shift) as u8;
        Ok((0..colors)
            .map(|i| [band(i), band(colors + i), band(2 * colors + i)])
            .collect())
    }
}
