//! What comes out of a layout: bands, sample format, meaning.

use iiphost_plugin_api::{AlphaMode, ColorModel, DecodeError, SampleFormat};

use crate::layout::{Layout, SampleKind};
use crate::photometric::Photometric;

/// The form of the pixels that a layout is delivered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) band_count: u32,
    pub(crate) sample_format: SampleFormat,
    pub(crate) bit_depth: u32,
    pub(crate) signed: bool,
    pub(crate) color_model: ColorModel,
    pub(crate) alpha: AlphaMode,
}

impl Shape {
    /// Of a page that cannot be shown.
    pub(crate) const UNKNOWN: Self = Self {
        band_count: 1,
        sample_format: SampleFormat::U8,
        bit_depth: 8,
        signed: false,
        color_model: ColorModel::Grey,
        alpha: AlphaMode::None,
    };

    /// The shape of a layout.
    ///
    /// # Errors
    /// `Unsupported` if its samples have no meaning that can be delivered.
    pub(crate) fn of(layout: &Layout) -> Result<Self, DecodeError> {
        let samples = u32::from(layout.samples_per_pixel);
        let needed = match layout.photometric {
            Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Palette => 1,
            Photometric::LogL => 1,
            Photometric::Separated => 1,
            Photometric::Mask => {
                return Err(DecodeError::unsupported("a transparency mask without its image"));
            }
            _ => 3,
        };
        if samples < needed {
            return Err(DecodeError::format(format!(
                "{:?} with {samples} samples per pixel, expected {needed} or more",
                layout.photometric
            )));
        }
        let (color_model, alpha) = meaning(layout, samples);
        let is_turned = layout.photometric == Photometric::YCbCr || color_model == ColorModel::CieLab;
        if is_turned && alpha == AlphaMode::Associated {
            return Err(DecodeError::unsupported(format!(
                "{:?} multiplied by its opacity, expected opacity of its own (ExtraSamples 2)",
                layout.photometric
            )));
        }
        if layout.photometric == Photometric::Palette {
            if layout.kind == SampleKind::Float {
                return Err(DecodeError::unsupported(
                    "palette with floating point for indexes",
                ));
            }
            return Ok(Self {
                band_count: samples + 2,
                sample_format: SampleFormat::U8,
                bit_depth: 8,
                signed: false,
                color_model,
                alpha,
            });
        }
        let is_lab = matches!(
            layout.photometric,
            Photometric::CieLab | Photometric::IccLab | Photometric::ItuLab
        );
        check_lab(layout)?;
        let (sample_format, bit_depth) = match (layout.kind, u32::from(layout.bits)) {
            // 64-bit integers have no container of their own.
            (SampleKind::Float, _) | (_, 64) => (SampleFormat::F32, 32),
            (_, bits @ 1..=8) => (SampleFormat::U8, bits),
            (_, bits @ 9..=16) => (SampleFormat::U16, bits),
            (_, bits) => (SampleFormat::U32, bits),
        };
        Ok(Self {
            band_count: samples,
            sample_format,
            bit_depth,
            // Lab has signs of its own, and floating point needs none.
            signed: layout.kind == SampleKind::Signed && sample_format != SampleFormat::F32 && !is_lab,
            color_model,
            alpha,
        })
    }

    /// Bytes of a pixel in a buffer.
    pub(crate) fn pixel_bytes(&self) -> usize {
        self.band_count as usize * self.sample_format.bytes()
    }
}

fn check_lab(layout: &Layout) -> Result<(), DecodeError> {
    let fits = match layout.photometric {
        Photometric::CieLab => layout.kind == SampleKind::Float || matches!(layout.bits, 8 | 16),
        Photometric::IccLab => layout.kind != SampleKind::Float && matches!(layout.bits, 8 | 16),
        Photometric::ItuLab => layout.kind != SampleKind::Float && layout.bits == 8,
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(DecodeError::unsupported(format!(
        "{:?} with {} bits per sample",
        layout.photometric, layout.bits
    )))
}

/// What the bands mean, and whether one of them is opacity.
fn meaning(layout: &Layout, samples: u32) -> (ColorModel, AlphaMode) {
    let (color_model, colors) = match layout.photometric {
        Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::LogL => (ColorModel::Grey, 1),
        Photometric::Separated if layout.other_inks || samples < 4 => (ColorModel::Multiband, samples),
        Photometric::Separated => (ColorModel::Cmyk, 4),
        Photometric::CieLab | Photometric::IccLab | Photometric::ItuLab => (ColorModel::CieLab, 3),
        // One index for three bands.
        Photometric::Palette => (ColorModel::Rgb, 1),
        _ => (ColorModel::Rgb, 3),
    };
    let mode = |code: u16| match code {
        1 => AlphaMode::Associated,
        2 => AlphaMode::Unassociated,
        _ => AlphaMode::None,
    };
    let extra = samples.saturating_sub(colors);
    match &layout.extra_samples {
        // Grey with several bands and no opacity right behind the first is how programs of geography and
        // microscopy store bands of any meaning.
        Some(codes) if color_model == ColorModel::Grey && extra > 1 => {
            let last = codes.last().map_or(AlphaMode::None, |&code| mode(code));
            match codes.first().map(|&code| mode(code)) {
                None | Some(AlphaMode::None) => (ColorModel::Multiband, last),
                Some(first) => (color_model, first),
            }
        }
        Some(codes) if extra > 0 => {
            // Tools that count the extra samples only from the end of a long list are right as well.
            let first = codes.len().saturating_sub(extra as usize);
            (
                color_model,
                codes.get(first).map_or(AlphaMode::None, |&code| mode(code)),
            )
        }
        Some(_) => (color_model, AlphaMode::None),
        None => match (color_model, extra) {
            (ColorModel::Grey | ColorModel::Rgb, 1) => (color_model, AlphaMode::Unassociated),
            (ColorModel::Grey, 3) => (ColorModel::Multiband, AlphaMode::Unassociated),
            (ColorModel::Grey, 2 | 4..) => (ColorModel::Multiband, AlphaMode::None),
            _ => (color_model, AlphaMode::None),
        },
    }
}
