//! Owned pixels: samples and their layout.
//!
//! A [`Raster`] is interleaved, rows without gaps, samples in their own width. 8-bit pictures never pass
//! through floating point.

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use crate::error::Error;
use crate::limits::Size;

mod reduce;
mod sample;

pub use reduce::{halve, reduce_by_blocks};
pub use sample::Sample;

/// Runs an expression generic in the sample type and wraps the samples it gives in the same width.
macro_rules! map_samples {
    ($samples:expr, $v:ident => $body:expr) => {
        match $samples {
            $crate::raster::Samples::U8($v) => $crate::raster::Samples::U8($body),
            $crate::raster::Samples::U16($v) => $crate::raster::Samples::U16($body),
            $crate::raster::Samples::U32($v) => $crate::raster::Samples::U32($body),
            $crate::raster::Samples::F32($v) => $crate::raster::Samples::F32($body),
        }
    };
}
pub(crate) use map_samples;

/// Samples by their width, interleaved, `width * height * band_count` of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// One byte a sample.
    U8(Vec<u8>),
    /// Two bytes a sample.
    U16(Vec<u16>),
    /// Four bytes a sample.
    U32(Vec<u32>),
    /// Single precision.
    F32(Vec<f32>),
}

impl Samples {
    /// Zeros, `count` of them.
    #[must_use]
    pub fn zeros(format: SampleFormat, count: usize) -> Self {
        match format {
            SampleFormat::U8 => Self::U8(vec![0; count]),
            SampleFormat::U16 => Self::U16(vec![0; count]),
            SampleFormat::U32 => Self::U32(vec![0; count]),
            SampleFormat::F32 => Self::F32(vec![0.0; count]),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The width of a sample.
    #[must_use]
    pub fn format(&self) -> SampleFormat {
        match self {
            Self::U8(_) => SampleFormat::U8,
            Self::U16(_) => SampleFormat::U16,
            Self::U32(_) => SampleFormat::U32,
            Self::F32(_) => SampleFormat::F32,
        }
    }

    /// The samples as bytes, native order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::U8(v) => v,
            Self::U16(v) => bytemuck::cast_slice(v),
            Self::U32(v) => bytemuck::cast_slice(v),
            Self::F32(v) => bytemuck::cast_slice(v),
        }
    }

    /// The samples as bytes to fill, native order.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::U8(v) => v,
            Self::U16(v) => bytemuck::cast_slice_mut(v),
            Self::U32(v) => bytemuck::cast_slice_mut(v),
            Self::F32(v) => bytemuck::cast_slice_mut(v),
        }
    }
}

/// How many of the bands of a picture carry color.
pub(crate) fn color_band_count(model: ColorModel, alpha: AlphaMode, band_count: u32) -> u32 {
    let named = match model {
        ColorModel::Grey => 1,
        ColorModel::Rgb | ColorModel::CieLab => 3,
        ColorModel::Cmyk => 4,
        _ if alpha == AlphaMode::None => band_count,
        _ => band_count.saturating_sub(1),
    };
    named.min(band_count)
}

/// A picture in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// Size in pixels.
    pub size: Size,
    /// Bands of a pixel, alpha included.
    pub band_count: u32,
    /// Meaning of the color bands.
    pub color_model: ColorModel,
    /// Whether the band after the color bands is opacity.
    pub alpha: AlphaMode,
    /// Significant bits of a sample: 8 for full-scale `U8`, 12 for 12-bit values in `U16`.
    pub bit_depth: u32,
    /// Samples hold signed values in offset form.
    pub signed: bool,
    /// The samples.
    pub samples: Samples,
}

impl Raster {
    /// A black picture.
    ///
    /// # Errors
    /// 400 when it would be larger than `max_bytes`.
    pub fn zeros(size: Size, band_count: u32, format: SampleFormat, max_bytes: u64) -> Result<Self, Error> {
        let count = sample_count(size, band_count, format, max_bytes)?;
        Ok(Self {
            size,
            band_count,
            color_model: match band_count {
                1 | 2 => ColorModel::Grey,
                3 | 4 => ColorModel::Rgb,
                _ => ColorModel::Multiband,
            },
            alpha: AlphaMode::None,
            bit_depth: 8 * format.bytes() as u32,
            signed: false,
            samples: Samples::zeros(format, count),
        })
    }

    /// A picture of the same kind with other pixels.
    ///
    /// # Errors
    /// A fault when the number of samples does not fit size and bands.
    pub fn with(&self, size: Size, band_count: u32, samples: Samples) -> Result<Self, Error> {
        let made = Self {
            size,
            band_count,
            samples,
            ..*self
        };
        made.check()?;
        Ok(made)
    }

    /// A black picture of the same kind and another size.
    ///
    /// # Errors
    /// A fault when it has no pixels or more than memory could hold.
    pub fn zeros_of(&self, size: Size) -> Result<Self, Error> {
        let format = self.samples.format();
        let count = sample_count(size, self.band_count, format, isize::MAX as u64)?;
        self.with(size, self.band_count, Samples::zeros(format, count))
    }

    /// Checks that size, bands and samples agree and that there is at least one pixel.
    ///
    /// # Errors
    /// A fault naming what does not.
    pub fn check(&self) -> Result<(), Error> {
        let wanted = self.size.pixels().checked_mul(u64::from(self.band_count));
        if wanted != Some(self.samples.len() as u64) || wanted == Some(0) {
            return Err(Error::fault(
                "raster",
                format!(
                    "{} pixels of {} bands in {} samples",
                    self.size,
                    self.band_count,
                    self.samples.len()
                ),
            ));
        }
        Ok(())
    }

    /// Index of the opacity band.
    #[must_use]
    pub fn alpha_band(&self) -> Option<usize> {
        let band = self.color_band_count();
        (self.alpha != AlphaMode::None && band < self.band_count).then_some(band as usize)
    }

    /// Samples of one row.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.size.width as usize * self.band_count as usize
    }

    /// Bytes from one row to the next.
    #[must_use]
    pub fn row_stride(&self) -> usize {
        self.row_len() * self.samples.format().bytes()
    }

    /// Bands that carry color or data.
    #[must_use]
    pub fn color_band_count(&self) -> u32 {
        color_band_count(self.color_model, self.alpha, self.band_count)
    }

    /// The samples, if they are bytes.
    #[must_use]
    pub fn as_u8(&self) -> Option<&[u8]> {
        match &self.samples {
            Samples::U8(v) => Some(v),
            _ => None,
        }
    }
}

/// Samples of a picture.
///
/// # Errors
/// 400 when they would take more than `max_bytes`.
pub fn sample_count(
    size: Size,
    band_count: u32,
    format: SampleFormat,
    max_bytes: u64,
) -> Result<usize, Error> {
    let count = size.pixels().checked_mul(u64::from(band_count));
    let bytes = count.and_then(|c| c.checked_mul(format.bytes() as u64));
    match (count.map(usize::try_from), bytes) {
        (Some(Ok(count)), Some(bytes)) if bytes <= max_bytes && usize::try_from(bytes).is_ok() => Ok(count),
        _ => Err(Error::bad_request(format!(
            "{size} pixels of {band_count} bands need more memory than one request may use ({max_bytes} bytes)"
        ))),
    }
}
