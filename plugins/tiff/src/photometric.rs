//! What samples mean (tag PhotometricInterpretation).

use iiphost_plugin_api::DecodeError;

/// A meaning of samples that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Photometric {
    /// 0
    WhiteIsZero,
    /// 1
    BlackIsZero,
    /// 2
    Rgb,
    /// 3
    Palette,
    /// 4: a transparency mask of another image.
    Mask,
    /// 5: CMYK or other inks.
    Separated,
    /// 6
    YCbCr,
    /// 8: CIE L*a*b*, a and b signed.
    CieLab,
    /// 9: CIE L*a*b* in the encoding of ICC profiles.
    IccLab,
    /// 10: CIE L*a*b* in the encoding of ITU-T T.42.
    ItuLab,
    /// 32844: the logarithm of the luminance.
    LogL,
    /// 32845: the same with a chromaticity.
    LogLuv,
}

impl Photometric {
    /// The meaning with this number.
    pub(crate) fn from_tag(number: u64) -> Result<Self, DecodeError> {
        let name = match number {
            0 => return Ok(Self::WhiteIsZero),
            1 => return Ok(Self::BlackIsZero),
            2 => return Ok(Self::Rgb),
            3 => return Ok(Self::Palette),
            4 => return Ok(Self::Mask),
            5 => return Ok(Self::Separated),
            6 => return Ok(Self::YCbCr),
            8 => return Ok(Self::CieLab),
            9 => return Ok(Self::IccLab),
            10 => return Ok(Self::ItuLab),
            32844 => return Ok(Self::LogL),
            32845 => return Ok(Self::LogLuv),
            32803 => "color filter array",
            34892 => "linear raw",
            _ => {
                return Err(DecodeError::unsupported(format!(
                    "photometric {number} is not known"
                )));
            }
        };
        Err(DecodeError::unsupported(format!(
            "photometric {number} ({name}) is not supported"
        )))
    }
}
