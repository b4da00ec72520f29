//! A tone curve as the places where its 8-bit result rises.
//!
//! A power for every sample of a large picture costs more than all other work. The curve never turns
//! back, so 255 thresholds, found once by bisection of the curve itself, give the same bytes.

use super::depth::Depth;

/// Parts of the nominal range for which the result at the start is known.
const PARTS: usize = 4096;

/// An 8-bit monotone function of values of which all below 0 (and NaN) count as 0.
#[derive(Clone, Debug)]
pub(super) struct Stairs {
    /// `rises[k]`: the smallest value with a result of at least `k + 1`; no number, so that
    /// nothing reaches it, if there is none.
    rises: [f32; 256],
    /// The result at the start of each part.
    starts: Vec<u8>,
    falling: bool,
}

impl Stairs {
    /// The function `curve`, its result multiplied by full scale and rounded.
    pub(super) fn new(curve: impl Fn(f64) -> f64) -> Self {
        let byte = |n: f32| u8::quantize(curve(f64::from(n)));
        let falling = byte(0.0) > byte(f32::MAX);
        let rising = |n: f32| if falling { 255 - byte(n) } else { byte(n) };
        let mut rises = [f32::NAN; 256];
        // Positive floats are in the order of their bits.
        let (mut low, end) = (0u32, f32::MAX.to_bits());
        let top = rising(f32::MAX);
        for (wanted, rise) in (1..=top).zip(&mut rises) {
            let mut high = end;
            while low < high {
                let middle = low + (high - low) / 2;
                if rising(f32::from_bits(middle)) >= wanted {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            *rise = f32::from_bits(low);
        }
        let starts = (0..PARTS).map(|i| rising(i as f32 / PARTS as f32)).collect();
        Self {
            rises,
            starts,
            falling,
        }
    }

    #[inline(always)]
    pub(super) fn at(&self, n: f32) -> u8 {
        let part = ((n * PARTS as f32) as usize).min(PARTS - 1);
        let mut result = self.starts[part];
        while n >= self.rises[usize::from(result)] {
            result += 1;
        }
        if self.falling { 255 - result } else { result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tone::Tone;
    use crate::view::Gamma;

    #[test]
    fn stairs_follow_their_curve() {
        let gammas = [0.1, 0.45, 2.2, 9.0, 0.0, -0.5].map(Gamma::Power);
        for gamma in gammas.into_iter().chain([Gamma::Log]) {
            for (invert, contrast) in [
                (false, 1.0),
                (true, 1.0),
                (false, 0.3),
                (false, -1.0),
                (true, 2.5),
            ] {
                let tone = Tone { gamma, invert };
                let curve = |n: f64| tone.apply(n) * contrast;
                let stairs = Stairs::new(curve);
                let values = (-500..30_000).map(|i| i as f32 / 20_011.0);
                for n in values.chain([f32::NAN, f32::INFINITY, f32::MAX, 1e-30]) {
                    let want = u8::quantize(curve(f64::from(n)));
                    assert_eq!(stairs.at(n), want, "{gamma:?} {invert} {contrast} at {n}");
                }
            }
        }
    }
}
