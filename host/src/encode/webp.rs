//! WebP by libwebp's fastest method. Lossless means it: pixels go in as RGB, and colors behind full transparency
//! stay.

use std::borrow::Cow;

use webp::{Encoder as LibWebP, PixelLayout, WebPConfig};

use super::aside::{Pace, aside};
use super::{Control, Encoded, Encoder, Metadata, Settings, bytes_of, fault, webp_container};
use crate::error::Error;
use crate::limits::Size;
use crate::raster::Raster;

/// Writes WebP.
pub(super) struct WebPEncoder;

impl Encoder for WebPEncoder {
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error> {
        let &Settings::WebP { quality } = settings else {
            return Err(fault(format!("{settings:?} for a WebP")));
        };
        let (size, band_count) = (raster.size, raster.band_count);
        let work = move || {
            let (samples, layout) = colored(&raster)?;
            compress(&samples, layout, size, quality).map_err(fault)
        };
        let file = if size.pixels() < LARGE_PIXELS {
            work()?
        } else {
            let pace = if quality.is_some() { &LOSSY } else { &LOSSLESS };
            aside(control, size.pixels(), pace, work)?
        };
        with_metadata(&file, band_count, metadata)
    }
}

/// Pictures of this many pixels and more are encoded aside: the library cannot be stopped.
const LARGE_PIXELS: u64 = 1 << 20;

static LOSSY: Pace = Pace::unknown();
static LOSSLESS: Pace = Pace::unknown();

/// A plain WebP file of RGB or RGBA; no quality is lossless.
pub(super) fn compress(
    samples: &[u8],
    layout: PixelLayout,
    size: Size,
    quality: Option<u8>,
) -> Result<Vec<u8>, String> {
    let mut config = WebPConfig::new().map_err(|()| "webp: library of another version")?;
    config.method = 0;
    match quality {
        Some(quality) => config.quality = f32::from(quality),
        None => {
            config.lossless = 1;
            config.exact = 1;
            // Effort, not quality, when lossless.
            config.quality = 0.0;
        }
    }
    LibWebP::new(samples, layout, size.width, size.height)
        .encode_advanced(&config)
        .map(|file| file.to_vec())
        .map_err(|error| format!("webp: {error:?}"))
}

/// WebP has no grey: grey bands are repeated.
fn colored(raster: &Raster) -> Result<(Cow<'_, [u8]>, PixelLayout), Error> {
    let samples = bytes_of(raster)?;
    Ok(match raster.band_count {
        1 => {
            let rgb = samples.iter().flat_map(|&grey| [grey; 3]).collect();
            (Cow::Owned(rgb), PixelLayout::Rgb)
        }
        2 => {
            let (pixels, _) = samples.as_chunks::<2>();
            let rgba = pixels.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]);
            (Cow::Owned(rgba.collect()), PixelLayout::Rgba)
        }
        3 => (Cow::Borrowed(samples), PixelLayout::Rgb),
        _ => (Cow::Borrowed(samples), PixelLayout::Rgba),
    })
}

fn with_metadata(file: &[u8], band_count: u32, metadata: &Metadata) -> Result<Encoded, Error> {
    let mut metadata = Cow::Borrowed(metadata);
    if band_count < 3 && metadata.icc.is_some() {
        // A profile for grey does not describe the RGB in the file. Every tile of such an image would warn.
        tracing::debug!("profile for grey left out of a WebP");
        metadata.to_mut().icc = None;
    }
    let bytes = webp_container::with_metadata(file, &metadata).map_err(|e| fault(format!("webp: {e}")))?;
    Ok(Encoded {
        bytes,
        left_out: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{grey, icc_profile, picture, psnr, rgb, rgba};
    use crate::raster::Samples;
    use proptest::prelude::*;

    fn file(raster: &Raster, quality: Option<u8>, metadata: &Metadata) -> Encoded {
        WebPEncoder
            .encode(
                raster.clone(),
                &Settings::WebP { quality },
                metadata,
                Control::NONE,
            )
            .unwrap()
    }

    fn decode(file: &[u8]) -> (bool, Vec<u8>) {
        let image = webp::Decoder::new(file).decode().expect("a WebP");
        (image.is_alpha(), image.to_vec())
    }

    proptest! {
        #[test]
        fn lossless_is_exact(width in 1..70_u32, height in 1..50_u32, bands in 1..5_u32, seed: u8) {
            let mut raster = picture(width, height, bands);
            if let Samples::U8(samples) = &mut raster.samples {
                for (idx, sample) in samples.iter_mut().enumerate() {
                    // Noise in all bands, and many pixels of no opacity.
                    *sample = sample.wrapping_mul(seed | 1);
                    if bands % 2 == 0 && idx % bands as usize == bands as usize - 1 && *sample < 128 {
                        *sample = 0;
                    }
                }
            }
            let (_, found) = decode(&file(&raster, None, &Metadata::default()).bytes);
            let (expected, _) = colored(&raster).unwrap();
            let opaque = bands % 2 == 0 && found.len() < expected.len();
            let expected: Vec<u8> = if opaque {
                expected.as_chunks::<4>().0.iter().flat_map(|p| [p[0], p[1], p[2]]).collect()
            } else {
                expected.into_owned()
            };
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn lossy_is_near_the_original_and_alpha_exact() {
        for (bands, quality, bound) in [(1, 50, 32.0), (3, 50, 27.0), (3, 100, 33.0)] {
            let raster = picture(150, 131, bands);
            let (_, found) = decode(&file(&raster, Some(quality), &Metadata::default()).bytes);
            let found = psnr(&colored(&raster).unwrap().0, &found);
            assert!(found > bound, "{bands} bands at {quality}: {found:.1} dB");
        }
        let raster = rgba(64, 40);
        let (alpha, found) = decode(&file(&raster, Some(50), &Metadata::default()).bytes);
        assert!(alpha);
        let alpha_of = |samples: &[u8]| samples.iter().skip(3).step_by(4).copied().collect::<Vec<_>>();
        assert_eq!(alpha_of(&found), alpha_of(raster.as_u8().unwrap()));
    }

    #[test]
    fn quality_0_is_lossy_and_small() {
        let worst = file(&rgb(100, 100), Some(0), &Metadata::default()).bytes;
        assert_eq!(&worst[12..16], b"VP8 ");
        assert!(worst.len() < file(&rgb(100, 100), Some(50), &Metadata::default()).bytes.len());
        let lossless = file(&rgb(100, 100), None, &Metadata::default()).bytes;
        assert_eq!(&lossless[12..16], b"VP8L");
    }

    #[test]
    fn metadata_makes_an_extended_file_of_the_same_picture() {
        for raster in [rgb(31, 17), rgba(31, 17)] {
            for quality in [None, Some(50)] {
                let plain = decode(&file(&raster, quality, &Metadata::default()).bytes);
                let metadata = Metadata {
                    icc: Some(icc_profile(b"RGB ", 300_000).into()),
                    xmp: Some(vec![b' '; 70_001].into()),
                    exif: Some(b"II*\0".to_vec().into()),
                    ..Metadata::default()
                };
                let encoded = file(&raster, quality, &metadata);
                assert!(encoded.left_out.is_empty());
                assert_eq!(&encoded.bytes[12..16], b"VP8X");
                assert_eq!(decode(&encoded.bytes), plain);
            }
        }
    }

    #[test]
    fn a_grey_profile_is_left_out() {
        let metadata = Metadata {
            icc: Some(icc_profile(b"GRAY", 300).into()),
            ..Metadata::default()
        };
        let encoded = file(&grey(9, 9), Some(50), &metadata);
        assert_eq!(&encoded.bytes[12..16], b"VP8 ");
    }
}
