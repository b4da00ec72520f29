//! AVIF by rav1e at its fastest: 8 or 10 bit, colors at half resolution below quality 100, grey as one plane.
//!
//! The encoder has no lossless mode, and cannot be stopped. A tile is encoded where it is asked for; a large
//! picture, split into parts that are encoded at once, on threads of its own, half as many as cores.

use rav1e::prelude::{
    BlockSize, ChromaSampling, ColorDescription, ColorPrimaries, EncoderStatus, MatrixCoefficients,
    PartitionRange, Pixel, PixelRange, SceneDetectionSpeed, SpeedSettings, TransferCharacteristics, Tune,
};
use rav1e::{Config, Context, EncoderConfig};

use super::aside::{Pace, aside};
use super::avif_container::{self, Chroma, Picture};
use super::{Control, Encoded, Encoder, Metadata, Settings, contained, fault};
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, Samples};

/// Writes AVIF.
pub(super) struct AvifEncoder;

impl Encoder for AvifEncoder {
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error> {
        let &Settings::Avif { quality } = settings else {
            return Err(fault(format!("{settings:?} for an AVIF")));
        };
        let (size, has_profile) = (raster.size, metadata.icc.is_some());
        let deep = matches!(raster.samples, Samples::U16(_));
        let work = move || match &raster.samples {
            Samples::U8(v) => planes_and_streams(v, &raster, quality, has_profile, u8::from),
            Samples::U16(v) => {
                let shift = raster.bit_depth.saturating_sub(10).min(15);
                let fill = 10_u32.saturating_sub(raster.bit_depth);
                // 9 bits and fewer become 10: rare enough for the simple way.
                let ten = move |v: u16| ((v >> shift) << fill).min(1023);
                planes_and_streams(v, &raster, quality, has_profile, ten)
            }
            other => Err(fault(format!("{:?} samples for an AVIF", other.format()))),
        };
        let streams = if size.pixels() < TWO_TILES_PIXELS {
            work()?
        } else {
            aside(control, size.pixels(), &PACE, work)?
        };
        let bytes = avif_container::write(&Picture {
            size,
            chroma: streams.chroma,
            deep,
            color: &streams.color,
            alpha: streams.alpha.as_deref(),
            icc: metadata.icc.as_deref(),
            exif: metadata.exif.as_deref(),
            xmp: metadata.xmp.as_deref(),
        })
        .map_err(|reason| fault(format!("avif: {reason}")))?;
        Ok(Encoded {
            bytes,
            left_out: Vec::new(),
        })
    }
}

static PACE: Pace = Pace::unknown();

/// The AV1 pictures of a file.
struct Streams {
    chroma: Chroma,
    color: Vec<u8>,
    alpha: Option<Vec<u8>>,
}

/// A sample of a plane: 8 bits, or 10 in 16.
trait Depth: Pixel + Copy + Send + Sync {
    const BITS: u32;
    fn wide(self) -> i32;
    fn narrow(value: i32) -> Self;
    fn bytes(plane: &[Self]) -> &[u8];
}

impl Depth for u8 {
    const BITS: u32 = 8;
    fn wide(self) -> i32 {
        i32::from(self)
    }
    fn narrow(value: i32) -> Self {
        value.clamp(0, 255) as u8
    }
    fn bytes(plane: &[Self]) -> &[u8] {
        plane
    }
}

impl Depth for u16 {
    const BITS: u32 = 10;
    fn wide(self) -> i32 {
        i32::from(self)
    }
    fn narrow(value: i32) -> Self {
        value.clamp(0, 1023) as u16
    }
    fn bytes(plane: &[Self]) -> &[u8] {
        bytemuck::cast_slice(plane)
    }
}

/// Splits interleaved samples into planes of `T` and encodes them.
fn planes_and_streams<S: Copy, T: Depth>(
    samples: &[S],
    raster: &Raster,
    quality: u8,
    has_profile: bool,
    value: impl Fn(S) -> T + Copy,
) -> Result<Streams, Error> {
    let size = raster.size;
    let chroma = match (raster.band_count, quality) {
        (1 | 2, _) => Chroma::Grey,
        (_, ..100) => Chroma::Half,
        _ => Chroma::Full,
    };
    let bands = raster.band_count as usize;
    let planes = match bands {
        1 | 2 => [band(samples, bands, 0, value), Vec::new(), Vec::new()],
        3 => ycbcr::<3, S, T>(samples, size, chroma, value),
        _ => ycbcr::<4, S, T>(samples, size, chroma, value),
    };
    let (primaries, transfer) = if has_profile {
        (ColorPrimaries::Unspecified, TransferCharacteristics::Unspecified)
    } else {
        (ColorPrimaries::BT709, TransferCharacteristics::SRGB)
    };
    let description = ColorDescription {
        color_primaries: primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::BT601,
    };
    let color = contained("avif", || av1(size, &planes, chroma, quality, Some(description)))?;
    let alpha = match bands {
        2 | 4 => {
            let planes = [band(samples, bands, bands - 1, value), Vec::new(), Vec::new()];
            Some(contained("avif", || {
                av1(size, &planes, Chroma::Grey, quality, None)
            })?)
        }
        _ => None,
    };
    Ok(Streams { chroma, color, alpha })
}

/// One band of interleaved samples.
fn band<S: Copy, T>(samples: &[S], band_count: usize, band: usize, value: impl Fn(S) -> T) -> Vec<T> {
    samples
        .iter()
        .skip(band)
        .step_by(band_count)
        .map(|&s| value(s))
        .collect()
}

/// ITU-R BT.601 over the full range, as in JFIF, in 16-bit fixed point: weights of R, G, B and the offset of
/// colors of 8 bits.
const LUMA: [i32; 4] = [19_595, 38_470, 7_471, 0];
const BLUE: [i32; 4] = [-11_059, -21_709, 32_768, 128 << 16];
const RED: [i32; 4] = [32_768, -27_439, -5_329, 128 << 16];

/// A weighted sum of `1 << shift` pixels, their mean rounded.
fn weigh<T: Depth>([r, g, b]: [i32; 3], [wr, wg, wb, offset]: [i32; 4], shift: u32) -> T {
    // At most 4 · 1023 · 65,536, which fits 31 bits.
    let sum = (r * wr + g * wg + b * wb) >> shift;
    T::narrow((sum + (offset << (T::BITS - 8)) + (1 << 15)) >> 16)
}

/// The planes of interleaved RGB with `N` bands, each without padding; half-size color planes are means
/// of two by two pixels, at the edges of what there is.
fn ycbcr<const N: usize, S: Copy, T: Depth>(
    samples: &[S],
    size: Size,
    chroma: Chroma,
    value: impl Fn(S) -> T,
) -> [Vec<T>; 3] {
    let (pixels, _) = samples.as_chunks::<N>();
    let rgb = |pixel: &[S; N]| match pixel.as_slice() {
        &[r, g, b, ..] => [r, g, b].map(|v| value(v).wide()),
        _ => [0; 3],
    };
    let luma = pixels.iter().map(|p| weigh(rgb(p), LUMA, 0)).collect();
    if chroma == Chroma::Full {
        let plane = |weights| pixels.iter().map(|p| weigh(rgb(p), weights, 0)).collect();
        return [luma, plane(BLUE), plane(RED)];
    }
    let width = size.width as usize;
    let quarter = pixels.len().div_ceil(4);
    let (mut blue, mut red) = (Vec::with_capacity(quarter), Vec::with_capacity(quarter));
    for rows in pixels.chunks(2 * width) {
        let (upper, lower) = rows.split_at(width.min(rows.len()));
        // The last row of an odd height stands for both.
        let lower = if lower.is_empty() { upper } else { lower };
        for (upper, lower) in upper.chunks(2).zip(lower.chunks(2)) {
            let mut sum = [0; 3];
            for pair in [upper, lower] {
                // So does the last column of an odd width.
                for pixel in [pair.first(), pair.last()].into_iter().flatten() {
                    let pixel = rgb(pixel);
                    for (sum, value) in sum.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            }
            blue.push(weigh(sum, BLUE, 2));
            red.push(weigh(sum, RED, 2));
        }
    }
    [luma, blue, red]
}

/// Pictures of at least this many pixels are encoded as two tiles at once, those four times as large as four,
/// and so on up to eight: by size alone, so that every server writes the same bytes.
const TWO_TILES_PIXELS: u64 = 1 << 20;

/// Parts that are encoded at once.
fn tile_count(pixels: u64) -> usize {
    match pixels / TWO_TILES_PIXELS {
        0 => 1,
        1..4 => 2,
        4..16 => 4,
        _ => 8,
    }
}

/// An AV1 still picture of unpadded planes.
fn av1<T: Depth>(
    size: Size,
    planes: &[Vec<T>; 3],
    chroma: Chroma,
    quality: u8,
    color_description: Option<ColorDescription>,
) -> Result<Vec<u8>, Error> {
    let quantizer = (100 - usize::from(quality.min(100))) * 255 / 100;
    let (chroma_sampling, chroma_width) = match chroma {
        Chroma::Grey => (ChromaSampling::Cs400, None),
        Chroma::Half => (ChromaSampling::Cs420, Some(size.width.div_ceil(2))),
        Chroma::Full => (ChromaSampling::Cs444, Some(size.width)),
    };
    let config = Config::new().with_encoder_config(EncoderConfig {
        width: size.width as usize,
        height: size.height as usize,
        bit_depth: T::BITS as usize,
        chroma_sampling,
        pixel_range: PixelRange::Full,
        color_description,
        still_picture: true,
        quantizer,
        min_quantizer: quantizer as u8,
        tiles: tile_count(size.pixels()),
        // The psychovisual tune would ignore the fast estimates of distortion.
        tune: Tune::Psnr,
        speed_settings: speed(),
        ..EncoderConfig::default()
    });
    let av1 = |reason: String| fault(format!("avif: {reason}"));
    let mut context: Context<T> = config.new_context().map_err(|e| av1(e.to_string()))?;
    let mut frame = context.new_frame();
    let widths = [Some(size.width), chroma_width, chroma_width];
    for ((plane, samples), width) in frame.planes.iter_mut().zip(planes).zip(widths) {
        if let Some(width) = width {
            let sample = size_of::<T>();
            plane.copy_from_raw_u8(T::bytes(samples), width as usize * sample, sample);
        }
    }
    context.send_frame(frame).map_err(|e| av1(e.to_string()))?;
    context.flush();
    let mut out = Vec::new();
    loop {
        match context.receive_packet() {
            Ok(mut packet) => out.append(&mut packet.data),
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::LimitReached) => break,
            Err(error) => return Err(av1(error.to_string())),
        }
    }
    Ok(out)
}

/// The fastest preset without what a single picture has no use for, and without the filter CDEF. On a photograph
/// of 256 x 256 blocks of 16 pixels instead of 32 took about a fifth more time for 7 % smaller files of
/// slightly better quality; blocks of 64 took half and lost 5 dB.
fn speed() -> SpeedSettings {
    let mut speed = SpeedSettings::from_preset(10);
    speed.multiref = false;
    speed.rdo_lookahead_frames = 1;
    speed.scene_detection_mode = SceneDetectionSpeed::None;
    speed.cdef = false;
    speed.transform.tx_domain_rate = true;
    speed.partition.partition_range = PartitionRange::new(BlockSize::BLOCK_16X16, BlockSize::BLOCK_16X16);
    speed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{icc_profile, picture, rgb};

    fn file(raster: &Raster, quality: u8, metadata: &Metadata) -> Vec<u8> {
        AvifEncoder
            .encode(
                raster.clone(),
                &Settings::Avif { quality },
                metadata,
                Control::NONE,
            )
            .unwrap()
            .bytes
    }

    /// Width, height, profile and monochrome of the AV1 sequence header (AV1 5.5.1, reduced still picture header).
    fn sequence(av1: &[u8]) -> (u32, u32, u32) {
        // OBU header: type 1 with a size field; a temporal delimiter may stand before.
        let mut rest = av1;
        while rest[0] >> 3 & 15 != 1 {
            rest = &rest[2 + usize::from(rest[1])..];
        }
        let bits: Vec<u32> = rest[2..]
            .iter()
            .take(12)
            .flat_map(|b| (0..8).rev().map(move |bit| u32::from(b >> bit & 1)))
            .collect();
        let read = |at: usize, len: usize| bits[at..at + len].iter().fold(0, |v, bit| v << 1 | bit);
        let profile = read(0, 3);
        assert_eq!(read(3, 2), 3, "still picture, reduced header");
        // Level (5), then the bits of width and height less 1.
        let (wide, high) = (read(10, 4) as usize + 1, read(14, 4) as usize + 1);
        (read(18, wide) + 1, read(18 + wide, high) + 1, profile)
    }

    fn media_data(file: &[u8]) -> &[u8] {
        let at = file.windows(4).position(|w| w == b"mdat").unwrap();
        &file[at + 4..]
    }

    #[test]
    fn files_hold_an_av1_picture_of_their_size() {
        for (bands, quality, profile) in [
            (1, 50, 0),
            (2, 50, 0),
            (3, 50, 0),
            (4, 50, 0),
            (3, 100, 1),
            (4, 100, 1),
        ] {
            for (width, height) in [(1, 1), (33, 17)] {
                let file = file(&picture(width, height, bands), quality, &Metadata::default());
                let found = sequence(media_data(&file));
                assert_eq!(found, (width, height, profile), "{bands} bands at {quality}");
            }
        }
    }

    #[test]
    fn quality_is_honored() {
        let raster = rgb(40, 32);
        let sizes: Vec<usize> = [0, 50, 99, 100]
            .iter()
            .map(|&quality| file(&raster, quality, &Metadata::default()).len())
            .collect();
        assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    }

    #[test]
    fn metadata_is_in_the_file_whole() {
        let icc = icc_profile(b"RGB ", 300_000);
        let metadata = Metadata {
            icc: Some(icc.clone().into()),
            xmp: Some(b"<x:xmpmeta/>".to_vec().into()),
            exif: Some(b"II*\0EXIF".to_vec().into()),
            ..Metadata::default()
        };
        let file = file(&rgb(16, 16), 50, &metadata);
        for block in [icc.as_slice(), b"<x:xmpmeta/>", b"\0\0\0\0II*\0EXIF"] {
            assert!(file.windows(block.len()).any(|w| w == block));
        }
    }

    #[test]
    fn planes_are_full_range_bt601() {
        let pixels = [255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255];
        let [luma, blue, red] = ycbcr::<3, u8, u8>(&pixels, Size::new(5, 1), Chroma::Full, u8::from);
        assert_eq!(luma, [255, 0, 76, 150, 29]);
        assert_eq!(blue, [128, 128, 85, 44, 255]);
        assert_eq!(red, [128, 128, 255, 21, 107]);
    }

    #[test]
    fn half_planes_are_means_and_repeat_the_edge() {
        // Blue and its mean with black, three columns and three rows.
        let mut pixels = vec![0; 27];
        for at in [0, 2, 8] {
            pixels[3 * at + 2] = 255;
        }
        let [luma, blue, red] = ycbcr::<3, u8, u8>(&pixels, Size::new(3, 3), Chroma::Half, u8::from);
        assert_eq!((luma.len(), blue.len(), red.len()), (9, 4, 4));
        assert_eq!(blue, [160, 192, 128, 255]);
    }
}
