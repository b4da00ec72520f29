//! Arithmetic on samples of any width.

/// A sample that can be averaged and interpolated.
///
/// Interpolation runs in `f32`: exact for 8 and 16 bits, 24 significant bits for wider samples.
pub trait Sample: Copy + Default + PartialEq + Send + Sync + 'static {
    /// Full scale: opaque, white.
    const FULL: f32;
    /// The value in floating point.
    fn to_f32(self) -> f32;
    /// The nearest sample, halves rounded up; values outside the range of the type and NaN become its nearest end and 0.
    fn from_f32(value: f32) -> Self;
    /// Sum of samples (times opacity) without overflow.
    type Sum: Copy + Default + PartialEq;
    /// `sum + self * weight`.
    fn add(self, sum: Self::Sum, weight: Self::Sum) -> Self::Sum;
    /// The sample as a weight.
    fn weight(self) -> Self::Sum;
    /// A count as a weight.
    fn count(count: u32) -> Self::Sum;
    /// `sum / weight`, rounded. `weight` is not zero.
    fn divide(sum: Self::Sum, weight: Self::Sum) -> Self;
}

/// Adding 2²³ to a float of at most 22 integer bits leaves its rounded value in the low bits: unlike a
/// saturating cast this compiles to vector instructions everywhere.
const ROUND: f32 = 8_388_608.0;

/// Added before rounding, so that halves go up even where they come out a few ulp short.
const TIE: f32 = 1.0 / 32_768.0;

macro_rules! integer_sums {
    ($sum:ty) => {
        type Sum = $sum;
        #[inline(always)]
        fn add(self, sum: $sum, weight: $sum) -> $sum {
            sum + <$sum>::from(self) * weight
        }
        #[inline(always)]
        fn weight(self) -> $sum {
            <$sum>::from(self)
        }
        #[inline(always)]
        fn count(count: u32) -> $sum {
            <$sum>::from(count)
        }
        #[inline(always)]
        fn divide(sum: $sum, weight: $sum) -> Self {
            // An average is never above the largest sample.
            ((sum + weight / 2) / weight) as Self
        }
    };
}

impl Sample for u8 {
    const FULL: f32 = 255.0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    #[allow(clippy::manual_clamp, reason = "max turns NaN into 0, clamp does not")]
    fn from_f32(value: f32) -> Self {
        ((value + TIE).max(0.0).min(255.0) + ROUND).to_bits() as u8
    }
    integer_sums!(u64);
}

impl Sample for u16 {
    const FULL: f32 = 65_535.0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    #[allow(clippy::manual_clamp, reason = "max turns NaN into 0, clamp does not")]
    fn from_f32(value: f32) -> Self {
        ((value + TIE).max(0.0).min(65_535.0) + ROUND).to_bits() as u16
    }
    integer_sums!(u64);
}

impl Sample for u32 {
    const FULL: f32 = u32::MAX as f32;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value.round() as u32
    }
    integer_sums!(u128);
}

impl Sample for f32 {
    const FULL: f32 = 1.0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    type Sum = f64;
    #[inline(always)]
    fn add(self, sum: f64, weight: f64) -> f64 {
        sum + f64::from(self) * weight
    }
    #[inline(always)]
    fn weight(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn count(count: u32) -> f64 {
        f64::from(count)
    }
    #[inline(always)]
    fn divide(sum: f64, weight: f64) -> Self {
        (sum / weight) as Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_and_saturate() {
        for (value, want) in [
            (-3.0, 0),
            (0.49, 0),
            (0.51, 1),
            (254.6, 255),
            (0.5, 1),
            (2.5, 3),
            (1e9, 255),
            (f32::NAN, 0),
        ] {
            assert_eq!(u8::from_f32(value), want, "{value}");
        }
        assert_eq!(u8::from_f32(f32::INFINITY), 255);
        assert_eq!(u16::from_f32(65_534.6), 65_535);
        assert_eq!(u16::from_f32(0.4), 0);
        assert_eq!(u16::from_f32(32_768.6), 32_769);
    }
}
