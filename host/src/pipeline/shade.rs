//! Hill shading of a normal map.

use crate::view::Shade;

/// Direction of the light, a unit vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Light([f32; 3]);

impl Light {
    /// `(sin h·cos v, cos h·cos v, −sin v)`.
    pub(super) fn new(shade: Shade) -> Self {
        let (sin_h, cos_h) = f64::from(shade.azimuth).to_radians().sin_cos();
        let (sin_v, cos_v) = f64::from(shade.elevation).to_radians().sin_cos();
        Self([sin_h * cos_v, cos_h * cos_v, -sin_v].map(|v| v as f32))
    }

    /// Brightness of a surface whose normal is stored as `(1 − o) / 2` per component; a stored normal of
    /// three zeros is no surface and stays dark.
    #[inline(always)]
    pub(super) fn shade(self, normal: [f32; 3]) -> f32 {
        if normal == [0.0; 3] {
            return 0.0;
        }
        let dot: f32 = self.0.iter().zip(normal).map(|(s, n)| s * (1.0 - 2.0 * n)).sum();
        dot.clamp(0.0, 1.0)
    }
}
