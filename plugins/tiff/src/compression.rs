//! Which compressions exist, which of them are decoded, and what the others are called.

use iiphost_plugin_api::DecodeError;

/// A compression that is decoded (tag Compression).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// 1
    None,
    /// 2: CCITT modified Huffman, rows end at byte boundaries.
    FaxRle,
    /// 3: CCITT T.4.
    Fax3,
    /// 4: CCITT T.6.
    Fax4,
    /// 5
    Lzw,
    /// 7: Adobe Technical Note 2.
    Jpeg,
    /// 8 and 32946.
    Deflate,
    /// 32773
    PackBits,
    /// 33003 of Aperio: YCbCr, turned outside the codestream.
    Jpeg2000Ycbcr,
    /// 33005 of Aperio: RGB.
    Jpeg2000Rgb,
    /// 34676: LogL, and LogLuv of 32 bits.
    SgiLog,
    /// 34677: LogLuv of 24 bits.
    SgiLog24,
    /// 34712, and 33004 of libvips: colors as the tags say.
    Jpeg2000,
    /// 34887
    Lerc,
    /// 34925
    Lzma,
    /// 50000
    Zstd,
    /// 50001
    WebP,
}

impl Compression {
    /// The compression with this number.
    pub(crate) fn from_tag(number: u64) -> Result<Self, DecodeError> {
        let name = match number {
            1 => return Ok(Self::None),
            2 => return Ok(Self::FaxRle),
            3 => return Ok(Self::Fax3),
            4 => return Ok(Self::Fax4),
            5 => return Ok(Self::Lzw),
            7 => return Ok(Self::Jpeg),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            33003 => return Ok(Self::Jpeg2000Ycbcr),
            33005 => return Ok(Self::Jpeg2000Rgb),
            34676 => return Ok(Self::SgiLog),
            34677 => return Ok(Self::SgiLog24),
            33004 | 34712 => return Ok(Self::Jpeg2000),
            34887 => return Ok(Self::Lerc),
            34925 => return Ok(Self::Lzma),
            50000 => return Ok(Self::Zstd),
            50001 => return Ok(Self::WebP),
            6 => "old-style JPEG of TIFF 6.0, whose files contradict each other",
            9 | 10 => "JBIG",
            32766 => "NeXT run-length",
            32771 => "CCITT modified Huffman, word aligned",
            32809 => "ThunderScan",
            33007 => "ALT JPEG",
            34661 => "JBIG",
            34713 => "Nikon NEF",
            34715 => "JBIG2",
            34892 => "lossy JPEG (DNG)",
            50002 | 52546 => "JPEG XL",
            _ => {
                return Err(DecodeError::unsupported(format!(
                    "compression {number} is not known"
                )));
            }
        };
        Err(DecodeError::unsupported(format!(
            "compression {number} ({name}) is not supported"
        )))
    }

    /// The name shown to people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no compression",
            Self::FaxRle => "CCITT modified Huffman",
            Self::Fax3 => "CCITT group 3",
            Self::Fax4 => "CCITT group 4",
            Self::Lzw => "LZW",
            Self::Jpeg => "JPEG",
            Self::Deflate => "deflate",
            Self::PackBits => "PackBits",
            Self::Jpeg2000Ycbcr => "JPEG 2000 of YCbCr",
            Self::Jpeg2000Rgb => "JPEG 2000 of RGB",
            Self::Jpeg2000 => "JPEG 2000",
            Self::SgiLog => "SGI LogLuv",
            Self::SgiLog24 => "SGI LogLuv of 24 bits",
            Self::Lerc => "LERC",
            Self::Lzma => "LZMA",
            Self::Zstd => "Zstandard",
            Self::WebP => "WebP",
        }
    }

    /// The predictor tag means something with this compression.
    pub(crate) fn has_predictor(self) -> bool {
        matches!(self, Self::Lzw | Self::Deflate | Self::Lzma | Self::Zstd)
    }

    /// Luminance and chromaticity in a form of its own, which its codec turns into colors.
    pub(crate) fn is_sgi_log(self) -> bool {
        matches!(self, Self::SgiLog | Self::SgiLog24)
    }

    /// Its codec gives numbers of this machine, whatever the byte order of the file.
    pub(crate) fn gives_numbers(self) -> bool {
        self.is_jpeg2000() || self == Self::Lerc
    }

    /// Each block is a picture file of its own, with its own idea of bits.
    pub(crate) fn is_picture_file(self) -> bool {
        self.gives_rgb() || self.is_jpeg2000()
    }

    /// The codec turns YCbCr into RGB.
    pub(crate) fn gives_rgb(self) -> bool {
        matches!(self, Self::Jpeg | Self::WebP)
    }

    /// JPEG 2000 in any of its forms.
    pub(crate) fn is_jpeg2000(self) -> bool {
        matches!(self, Self::Jpeg2000 | Self::Jpeg2000Ycbcr | Self::Jpeg2000Rgb)
    }
}
