//! Tone curve and inversion of one normalized value.

use crate::view::Gamma;

/// Gamma or logarithm, then inversion, on values of nominal range 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tone {
    pub(super) gamma: Gamma,
    pub(super) invert: bool,
}

impl Tone {
    /// Whether values stay as they are.
    pub(super) fn is_none(self) -> bool {
        self.gamma == Gamma::Power(1.0) && !self.invert
    }

    /// `max(n, 0)^g`, or `ln(1 + 255·max(n, 0)) / ln 256`; then `1 − n` if inverted.
    pub(super) fn apply(self, n: f64) -> f64 {
        let n = match self.gamma {
            Gamma::Power(1.0) => n,
            Gamma::Power(power) => n.max(0.0).powf(power),
            Gamma::Log => (255.0 * n.max(0.0)).ln_1p() / 256f64.ln(),
        };
        if self.invert { 1.0 - n } else { n }
    }
}
