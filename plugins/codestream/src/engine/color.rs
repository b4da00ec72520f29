//! From coefficients of components to samples as they are stored (ISO/IEC 15444-1 Annex G).

use super::Declined;
use super::wavelet::Part;
use crate::header::Component;

/// Samples before the color transform.
pub(super) enum Plane {
    Whole(Part<i32>),
    Real(Part<f32>),
}

/// The color transform of the first three components (Annex G).
pub(super) fn transform(mut planes: Vec<Plane>, is_on: bool) -> Result<Vec<Plane>, Declined> {
    if !is_on {
        return Ok(planes);
    }
    match planes.get_mut(..3) {
        Some([Plane::Whole(y), Plane::Whole(u), Plane::Whole(v)])
            if y.edges == u.edges && y.edges == v.edges =>
        {
            let all = y.samples.iter_mut().zip(&mut u.samples).zip(&mut v.samples);
            for ((y, u), v) in all {
                // G.2.2: Y, U, V become red, green, blue.
                let green = y.wrapping_sub(u.wrapping_add(*v) >> 2);
                (*y, *u, *v) = (v.wrapping_add(green), green, u.wrapping_add(green));
            }
        }
        Some([Plane::Real(y), Plane::Real(cb), Plane::Real(cr)])
            if y.edges == cb.edges && y.edges == cr.edges =>
        {
            let all = y.samples.iter_mut().zip(&mut cb.samples).zip(&mut cr.samples);
            for ((y, cb), cr) in all {
                // G.3.2, rounded as OpenJPEG rounds it.
                let (red, blue) = (*y + *cr * 1.402, *y + *cb * 1.772);
                (*y, *cb, *cr) = (red, *y - *cb * 0.344_13 - *cr * 0.714_14, blue);
            }
        }
        _ => return Err(Declined("a color transform of components that differ")),
    }
    Ok(planes)
}

/// Samples as they are stored: rounded, with the level shift undone (G.1.2), cut off at the ends of their range.
pub(super) fn finish(plane: Plane, component: &Component) -> Part<i32> {
    let depth = component.bit_depth.clamp(1, 31);
    let (low, shift) = if component.signed {
        (-1i64 << (depth - 1), 0)
    } else {
        (0, 1i64 << (depth - 1))
    };
    let high = low + (1i64 << depth) - 1;
    match plane {
        Plane::Whole(mut part) => {
            for sample in &mut part.samples {
                // Inside the range, which fits, but for 31 bits without a sign, which do too.
                *sample = (i64::from(*sample) + shift).clamp(low, high) as i32;
            }
            part
        }
        Plane::Real(part) => {
            let samples = if depth <= 20 {
                near_whole(
                    &part.samples,
                    (low - shift) as f32,
                    (high - shift) as f32,
                    shift as i32,
                )
            } else {
                let whole = part.samples.iter().map(|sample| {
                    // Not a number is 0 there.
                    (sample.round_ties_even() as i64 + shift).clamp(low, high) as i32
                });
                whole.collect()
            };
            Part {
                edges: part.edges,
                samples,
            }
        }
    }
}

/// Rounds half to even and adds `shift`, for limits that are whole and below 2^21.
fn near_whole(samples: &[f32], low: f32, high: f32, shift: i32) -> Vec<i32> {
    // 1.5 · 2^23: in the sum the last bit of the mantissa counts ones.
    const MAGIC: f32 = 12_582_912.0;
    let offset = shift - MAGIC.to_bits() as i32;
    let whole = samples.iter().map(|sample| {
        let bounded = if *sample > low { *sample } else { low };
        let bounded = if bounded < high { bounded } else { high };
        (bounded + MAGIC).to_bits() as i32 + offset
    });
    whole.collect()
}
