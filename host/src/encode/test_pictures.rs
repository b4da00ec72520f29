//! Pictures and profiles for the tests of the encoders.

use iiphost_plugin_api::{AlphaMode, ColorModel};

use crate::limits::Size;
use crate::raster::{Raster, Samples};

/// A picture with smooth parts, edges and a little noise, different in each band.
pub(crate) fn picture(width: u32, height: u32, band_count: u32) -> Raster {
    let mut samples = Vec::new();
    let mut noise = 0x2545_f491_u32;
    for y in 0..height {
        for x in 0..width {
            for band in 0..band_count {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wave = ((x + 40 * band) as f64 / 23.0).sin() * ((y + 7 * band) as f64 / 31.0).cos();
                let edge = if (x / 32 + y / 48) % 2 == 0 { 24.0 } else { -24.0 };
                let value = 128.0 + 80.0 * wave + edge + f64::from(noise >> 29);
                samples.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    Raster {
        size: Size::new(width, height),
        band_count,
        color_model: if band_count < 3 {
            ColorModel::Grey
        } else {
            ColorModel::Rgb
        },
        alpha: if band_count.is_multiple_of(2) {
            AlphaMode::Unassociated
        } else {
            AlphaMode::None
        },
        bit_depth: 8,
        signed: false,
        samples: Samples::U8(samples),
    }
}

pub(crate) fn grey(width: u32, height: u32) -> Raster {
    picture(width, height, 1)
}

pub(crate) fn rgb(width: u32, height: u32) -> Raster {
    picture(width, height, 3)
}

pub(crate) fn rgba(width: u32, height: u32) -> Raster {
    picture(width, height, 4)
}

/// Bytes with the header of an ICC profile; what follows does not compress.
pub(crate) fn icc_profile(space: &[u8; 4], len: usize) -> Vec<u8> {
    let mut noise = 1_u32;
    let mut icc: Vec<u8> = (0..len)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    icc[..128].fill(0);
    icc[..4].copy_from_slice(&(len as u32).to_be_bytes());
    icc[8..12].copy_from_slice(&[2, 0x40, 0, 0]);
    icc[12..16].copy_from_slice(b"mntr");
    icc[16..20].copy_from_slice(space);
    icc[20..24].copy_from_slice(b"XYZ ");
    icc[36..40].copy_from_slice(b"acsp");
    icc[128..132].copy_from_slice(&0_u32.to_be_bytes());
    icc
}

#[cfg(any(feature = "mozjpeg", feature = "webp"))]
/// Peak signal to noise ratio in dB, over all samples.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    10.0 * (255.0_f64.powi(2) / (sum / a.len() as f64)).log10()
}

/// Marker codes and bodies of a JPEG, the header of the first scan last.
pub(crate) fn jpeg_segments(jpeg: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    let mut pos = 2;
    loop {
        assert_eq!(jpeg[pos], 0xff, "at {pos}");
        let len = usize::from(u16::from_be_bytes([jpeg[pos + 2], jpeg[pos + 3]]));
        found.push((jpeg[pos + 1], &jpeg[pos + 4..pos + 2 + len]));
        if jpeg[pos + 1] == 0xda {
            return found;
        }
        pos += 2 + len;
    }
}
