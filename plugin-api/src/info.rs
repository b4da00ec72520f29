//! The shape of an opened image: pages, levels, bands, samples.

/// How one sample is stored in a pixel buffer, native byte order.
///
/// Samples are in *stored units* whatever their container: a 12-bit value 2048 arrives as 2048 in a
/// `U16`. Signed integers arrive in offset form, `v + 2^(bit_depth-1)`, with [`PageInfo::signed`] set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleFormat {
    /// One byte, 1 to 8 significant bits.
    U8,
    /// Two bytes, 9 to 16 significant bits.
    U16,
    /// Four bytes, 17 to 32 significant bits.
    U32,
    /// IEEE 754 single precision; half and double precision sources are converted to it.
    F32,
}

impl SampleFormat {
    /// Size of one sample in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }
}

/// What the color bands of a page mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColorModel {
    /// One band, 0 is black.
    Grey,
    /// Three bands red, green, blue.
    Rgb,
    /// Three bands L*, a*, b* in the encoding of TIFF 6.0 section 23 (8 bit: a, b signed bytes;
    /// 16 bit: a, b signed, times 256; float: as they are).
    CieLab,
    /// Four inks cyan, magenta, yellow, black; 0 is no ink.
    Cmyk,
    /// Any number of bands without a common meaning.
    Multiband,
}

/// Whether the last band is opacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlphaMode {
    /// No band is opacity.
    None,
    /// The band after the color bands is opacity, colors are not multiplied by it.
    Unassociated,
    /// The band after the color bands is opacity, colors are already multiplied by it.
    Associated,
}

/// An encoding in which a stored tile can be handed on undecoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodedFormat {
    /// ITU-T T.81 JPEG.
    Jpeg,
    /// WebP.
    WebP,
}

/// Unit of a physical resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResolutionUnit {
    /// Only the ratio of the two numbers means something.
    None,
    /// Pixels per inch.
    Inch,
    /// Pixels per centimeter.
    Centimeter,
}

/// Physical resolution of level 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolution {
    /// Pixels per unit across.
    pub x: f64,
    /// Pixels per unit down.
    pub y: f64,
    /// The unit.
    pub unit: ResolutionUnit,
}

/// One size of the pyramid of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelInfo {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Width of a tile in pixels: reading whole tiles costs least. At least 1.
    pub tile_width: u32,
    /// Height of a tile in pixels, at least 1.
    pub tile_height: u32,
    /// Set when [`encoded_tile`](crate::ImageReader::encoded_tile) may return tiles of this level.
    pub encoded: Option<EncodedFormat>,
    /// Not stored in the file but computed from a larger level: reading it costs as much as that.
    pub computed: bool,
}

impl LevelInfo {
    /// Tiles across the level.
    #[must_use]
    pub fn tile_cols(&self) -> u32 {
        self.width.div_ceil(self.tile_width.max(1))
    }

    /// Tiles down the level.
    #[must_use]
    pub fn tile_rows(&self) -> u32 {
        self.height.div_ceil(self.tile_height.max(1))
    }
}

/// One picture of a file: a single image has one page, a stack has several.
#[derive(Clone, Debug, PartialEq)]
pub struct PageInfo {
    /// Name of the page, empty if it has none (the band of a multispectral stack).
    pub name: String,
    /// Factor from stored values to physical ones (TIFF StoNits), 1 if absent.
    pub scale: f64,
    /// Whether the page is a view of the stack; others are reachable by number only.
    pub listed: bool,
    /// Sizes of the pyramid, largest first, at least one. All have the bands of this page.
    pub levels: Vec<LevelInfo>,
    /// Bands of a pixel, alpha included, at least 1.
    pub band_count: u32,
    /// How each sample is stored in a buffer.
    pub sample_format: SampleFormat,
    /// Significant bits of a sample, 1 to 32; 32 for floating point.
    pub bit_depth: u32,
    /// Stored values are signed; buffers hold them in offset form.
    pub signed: bool,
    /// What the color bands mean.
    pub color_model: ColorModel,
    /// Whether the band after the color bands is opacity.
    pub alpha: AlphaMode,
    /// Smallest and largest sample value by band, as the file states them, in stored units; empty if
    /// it does not.
    pub ranges: Vec<(f64, f64)>,
    /// Physical resolution of level 0.
    pub resolution: Option<Resolution>,
    /// Quality layers stored in the file (JPEG 2000), 1 if the format has none.
    pub quality_layers: u32,
}

impl PageInfo {
    /// Bands that carry color or data: all but alpha and what comes after it.
    #[must_use]
    pub fn color_band_count(&self) -> u32 {
        let named = match self.color_model {
            ColorModel::Grey => 1,
            ColorModel::Rgb | ColorModel::CieLab => 3,
            ColorModel::Cmyk => 4,
            ColorModel::Multiband => match self.alpha {
                AlphaMode::None => self.band_count,
                _ => self.band_count.saturating_sub(1),
            },
        };
        named.min(self.band_count)
    }
}

/// An opened image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// The format found, as shown to people: `BigTIFF`.
    pub format: String,
    /// Pages, at least one; page 0 is the one shown by default.
    pub pages: Vec<PageInfo>,
    /// Text about the image by name: `title`, `description`, `creator`, `rights`, `date`, `software`,
    /// `make`, `model`, `pagename` and others, UTF-8 where the source was. `orientation` is the tag 274 of TIFF
    /// and EXIF as a decimal number, `2` to `8`: pixels are delivered as stored, and the host turns them if the
    /// operator wishes.
    pub text: Vec<(String, Vec<u8>)>,
    /// Things the operator should know (a pyramid would be faster, a broken tail was cut off).
    pub warnings: Vec<String>,
}

/// A block of metadata carried as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetadataKind {
    /// ICC profile.
    Icc,
    /// XMP packet.
    Xmp,
    /// EXIF as a TIFF block, without the `Exif\0\0` prefix.
    Exif,
    /// IPTC IIM records.
    Iptc,
}
