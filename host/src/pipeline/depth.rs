//! From stored units to full-scale 8 or 16 bits, without floating point.

use iiphost_plugin_api::SampleFormat;

use crate::error::Error;
use crate::raster::{Raster, Sample, Samples};

/// Halves are rounded up even where they come out a few ulp short.
const TIE: f64 = 1.0 / 32_768.0;

/// A sample an encoder takes.
pub(super) trait Depth: Sample {
    /// Its bits.
    const BITS: u32;
    /// Full scale.
    const TOP: f64;
    /// From its low bits.
    fn from_bits(bits: u32) -> Self;
    /// Its value.
    fn to_bits(self) -> u32;
    /// The nearest value; what is out of range becomes its nearest end, NaN 0.
    fn quantize(unit: f64) -> Self {
        Self::from_bits((unit * Self::TOP + 0.5 + TIE).clamp(0.0, Self::TOP) as u32)
    }
    /// Wraps samples.
    fn wrap(samples: Vec<Self>) -> Samples;
}

impl Depth for u8 {
    const BITS: u32 = 8;
    const TOP: f64 = 255.0;
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u8
    }
    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
    fn wrap(samples: Vec<Self>) -> Samples {
        Samples::U8(samples)
    }
}

impl Depth for u16 {
    const BITS: u32 = 16;
    const TOP: f64 = 65_535.0;
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as u16
    }
    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
    fn wrap(samples: Vec<Self>) -> Samples {
        Samples::U16(samples)
    }
}

/// Runs an expression generic in the sample type on a raster of encoder samples.
macro_rules! map_depths {
    ($raster:expr, $v:ident => $body:expr) => {
        match &$raster.samples {
            $crate::raster::Samples::U8($v) => Ok($crate::raster::Samples::U8($body)),
            $crate::raster::Samples::U16($v) => Ok($crate::raster::Samples::U16($body)),
            other => Err($crate::error::Error::fault(
                "pipeline",
                format!("8 or 16 bits expected, found {:?}", other.format()),
            )),
        }
    };
}
pub(super) use map_depths;

/// A sample of `from` bits in `T`: the high bits when there are too many, else its bits repeated, so that
/// the largest value becomes full scale. Samples over their bit depth count as the largest.
#[inline(always)]
pub(super) fn rescale<T: Depth>(sample: u32, from: u32) -> T {
    let top = u32::MAX >> (32 - from.clamp(1, 32));
    let sample = sample.min(top);
    if from >= T::BITS {
        return T::from_bits(sample >> (from - T::BITS));
    }
    let mut bits = sample << (T::BITS - from);
    let mut filled = from;
    while filled < T::BITS {
        bits |= bits >> filled;
        filled *= 2;
    }
    T::from_bits(bits)
}

/// An integer raster at full scale in `U8` or `U16`; the same samples when they are so already.
pub(super) fn expand(raster: Raster, format: SampleFormat) -> Result<Raster, Error> {
    if raster.samples.format() == format && raster.bit_depth == 8 * format.bytes() as u32 {
        return Ok(Raster {
            signed: false,
            ..raster
        });
    }
    let samples = match format {
        SampleFormat::U16 => Samples::U16(rescale_all(&raster)?),
        _ => Samples::U8(rescale_all(&raster)?),
    };
    Ok(Raster {
        bit_depth: 8 * samples.format().bytes() as u32,
        signed: false,
        samples,
        ..raster
    })
}

fn rescale_all<T: Depth>(raster: &Raster) -> Result<Vec<T>, Error> {
    let bits = raster.bit_depth;
    Ok(match &raster.samples {
        Samples::U16(v) if bits == 16 && T::BITS == 8 => {
            v.iter().map(|s| T::from_bits(u32::from(*s >> 8))).collect()
        }
        Samples::U8(v) => {
            let table: Vec<T> = (0..256).map(|s| rescale(s, bits)).collect();
            v.iter().map(|s| table[usize::from(*s)]).collect()
        }
        Samples::U16(v) => v.iter().map(|s| rescale(u32::from(*s), bits)).collect(),
        Samples::U32(v) => v.iter().map(|s| rescale(*s, bits)).collect(),
        Samples::F32(_) => return Err(Error::fault("pipeline", "integer samples expected")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_samples_lose_their_low_bits() {
        assert_eq!(rescale::<u8>(0x12ff, 16), 0x12);
        assert_eq!(rescale::<u8>(0xfedc_ba98, 32), 0xfe);
        assert_eq!(rescale::<u8>(0xabc, 12), 0xab);
        assert_eq!(rescale::<u8>(5000, 12), 255, "over the bit depth");
    }

    #[test]
    fn shallow_samples_repeat_their_bits() {
        assert_eq!([0, 1].map(|v| rescale::<u8>(v, 1)), [0, 255]);
        assert_eq!([0, 1, 2, 3].map(|v| rescale::<u8>(v, 2)), [0, 85, 170, 255]);
        assert_eq!([0, 5, 10, 15].map(|v| rescale::<u8>(v, 4)), [0, 85, 170, 255]);
        assert_eq!([0, 21, 42, 63].map(|v| rescale::<u8>(v, 6)), [0, 85, 170, 255]);
        assert_eq!(rescale::<u8>(4, 3), 0b1001_0010);
        assert_eq!(rescale::<u16>(512, 10), 32_800);
        assert_eq!(rescale::<u16>(2048, 12), 32_776);
        assert_eq!(rescale::<u16>(8192, 14), 32_770);
    }

    #[test]
    fn halves_round_up_and_nan_is_black() {
        assert_eq!(u8::quantize(0.5), 128);
        assert_eq!(u8::quantize(f64::NAN), 0);
        assert_eq!(u8::quantize(f64::INFINITY), 255);
        assert_eq!(u8::quantize(-1.0), 0);
    }
}
