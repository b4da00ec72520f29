//! What a client asked for, in terms no protocol owns.

use iiphost_plugin_api::Region;

use crate::limits::Size;

/// A wanted picture of one page of an opened image.
///
/// A protocol makes it from its own words and the image's shape; [`plan`](crate::plan) turns it into
/// pixels to read and work to do.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Index into [`ImageInfo::pages`](crate::image_info::ImageInfo::pages).
    pub page: usize,
    /// Which part at which size.
    pub frame: Frame,
    /// Mirror and turn.
    pub turn: Turn,
    /// Image processing.
    pub processing: Processing,
    /// Encoding of the reply.
    pub output: Output,
    /// Quality layers asked for (`LYR`), 0 = not asked.
    pub quality_layers: i64,
}

/// Which part of the page, at which size.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// One cell of the tile grid of a level, cut at its edges. The grid has the tile size of the page.
    Tile {
        /// Level, 0 = full size.
        level: usize,
        /// Column of the grid.
        tile_col: u32,
        /// Row of the grid.
        tile_row: u32,
    },
    /// A rectangle of the whole page scaled to `size` (Deep Zoom, Zoomify: levels fixed by arithmetic).
    Scaled {
        /// Size of the whole page at this scale.
        size: Size,
        /// The rectangle, in pixels of that size.
        region: Region,
    },
    /// A region at a size, with the rules of the protocol that asked.
    Export {
        /// The region.
        region: RegionSpec,
        /// The size.
        size: SizeSpec,
        /// What happens at limits.
        rules: SizeRules,
    },
}

/// A part of the page as the client named it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RegionSpec {
    /// The whole page.
    Full,
    /// The largest centered square.
    Square,
    /// Pixels of the full size; reaches over the edge are clipped.
    Pixels {
        /// First column.
        x: u64,
        /// First row.
        y: u64,
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Percent of the full size, turned into whole pixels by its two edges (IIIF).
    Percent {
        /// Left edge.
        x: f64,
        /// Top edge.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
    },
    /// Fractions 0 to 1 of the page (IIP).
    Fraction {
        /// Left edge.
        x: f64,
        /// Top edge.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
    },
}

/// A wanted output size, before rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SizeSpec {
    /// The region's own full-resolution size.
    Natural,
    /// The largest size the limits allow; enlarging if `upscale` (`^max`).
    Max {
        /// Enlarge up to the limits.
        upscale: bool,
    },
    /// This width, height by the region's ratio.
    Width(u64),
    /// This height, width by the region's ratio.
    Height(u64),
    /// Percent of the region's full-resolution size.
    Percent(f64),
    /// Exactly this size, ratio not kept.
    Exact(u64, u64),
    /// The largest size of the region's ratio inside this box.
    Within(u64, u64),
}

/// What a protocol says about outputs larger than the region or than the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRules {
    /// Output larger than the region.
    pub upscaling: Upscaling,
    /// Output larger than the limits.
    pub over_limit: OverLimit,
    /// A region and size that differ from a stored tile by a pixel of rounding mean that tile (IIIF
    /// viewers ask for tiles that way).
    pub match_tiles: bool,
}

/// Rules for an output larger than its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upscaling {
    /// Enlarge, if the server allows it; if not, the region's own size (IIP, IIIF 2).
    IfAllowed,
    /// Enlarge, if the server allows it; if not, 501 (IIIF 3 with `^`).
    Requested,
    /// 400 (IIIF 3 without `^`); `Within` gives the region's own size instead.
    Refused,
}

/// Rules for an output larger than the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// Shrink, keeping the ratio.
    Shrink,
    /// 400, except for `Max` and `Within`.
    Refuse,
    /// Shrink, but 400 for `Exact` (IIIF 2).
    RefuseExact,
}

/// Mirror left to right first, then turn clockwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Mirror left to right.
    pub mirror: bool,
    /// Clockwise, 0 ≤ degrees < 360.
    pub degrees: f64,
}

impl Turn {
    /// Neither mirrored nor turned.
    pub const NONE: Self = Self {
        mirror: false,
        degrees: 0.0,
    };

    /// Whether the picture stays as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Quarter turns clockwise, `None` for an angle in between.
    #[must_use]
    pub fn quarters(&self) -> Option<u8> {
        match self.degrees {
            0.0 => Some(0),
            90.0 => Some(1),
            180.0 => Some(2),
            270.0 => Some(3),
            _ => None,
        }
    }
}

/// Image processing, in the order in which the pipeline runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Processing {
    /// `MINMAX`: overrides of the sample range, later ones win.
    pub ranges: Vec<RangeOverride>,
    /// `SHD`: hill shading.
    pub shade: Option<Shade>,
    /// `CTW`: color twist, a row an output band, a column an input band.
    pub twist: Option<Vec<Vec<f64>>>,
    /// `GAM`.
    pub gamma: Gamma,
    /// `INV`.
    pub invert: bool,
    /// `CMP`.
    pub color_map: Option<ColorMap>,
    /// `CNV`: a square kernel of odd side, row by row.
    pub kernel: Option<Vec<f64>>,
    /// `CNT`.
    pub contrast: Contrast,
    /// `COL`, IIIF quality.
    pub color_mode: ColorMode,
}

impl Processing {
    /// No processing at all.
    pub const NONE: Self = Self {
        ranges: Vec::new(),
        shade: None,
        twist: None,
        gamma: Gamma::Power(1.0),
        invert: false,
        color_map: None,
        kernel: None,
        contrast: Contrast::Factor(1.0),
        color_mode: ColorMode::Native,
    };

    /// Whether the samples stay as they are.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// A sample range given by the client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeOverride {
    /// Band, `None` = all.
    pub band: Option<u32>,
    /// Stored value shown as 0.
    pub min: f64,
    /// Stored value shown as full scale.
    pub max: f64,
}

/// Light of the hill shading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shade {
    /// Degrees clockwise from 12 o'clock.
    pub azimuth: i32,
    /// Degrees above the horizon.
    pub elevation: i32,
}

/// Tone curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gamma {
    /// `v^g`; 1 is none.
    Power(f64),
    /// `ln(1 + 255 v) / ln 256`.
    Log,
}

/// Contrast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contrast {
    /// Multiply; 1 is none.
    Factor(f64),
    /// Stretch to the range of the picture.
    Stretch,
    /// Equalize the histogram.
    Equalize,
}

/// False colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ColorMap {
    Hot,
    Cold,
    Jet,
    Red,
    Green,
    Blue,
}

/// Colors of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColorMode {
    /// As the image has them.
    Native,
    /// One grey band.
    Grey,
    /// Black and white by Otsu's threshold.
    Bilevel,
}

/// Encoding of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// File format.
    pub format: OutputFormat,
    /// `QLT`: encoder quality if the client named one, not yet clamped.
    pub quality: Option<i32>,
    /// `QLT=scheme:n`: compression of TIFF outputs if the client named one.
    pub tiff_compression: Option<TiffCompression>,
}

impl Output {
    /// A format with the server's own settings.
    #[must_use]
    pub const fn new(format: OutputFormat) -> Self {
        Self {
            format,
            quality: None,
            tiff_compression: None,
        }
    }
}

/// File formats of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OutputFormat {
    Jpeg,
    Png,
    WebP,
    Avif,
    Tiff,
}

impl OutputFormat {
    /// HTTP name.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Avif => "image/avif",
            Self::Tiff => "image/tiff",
        }
    }

    /// Extension of downloads, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Avif => "avif",
            Self::Tiff => "tif",
        }
    }

    /// Whether pictures of this format can hold opacity.
    #[must_use]
    pub fn has_alpha(self) -> bool {
        self != Self::Jpeg
    }
}

/// Compression of TIFF outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum TiffCompression {
    None,
    Lzw,
    Deflate,
    Jpeg,
    WebP,
    Zstandard,
}
