//! What the host relies on, checked on pictures of every kind that is decoded in its own way.

use iiphost_jpeg::JpegDecoder;
use iiphost_plugin_api::conformance::Kit;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// A JPEG of slopes, edges and noise; `shape` changes how it is written.
fn picture(
    (width, height): (u16, u16),
    color: ColorType,
    bands: usize,
    shape: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut noise = 1_u32;
    let samples: Vec<u8> = (0..usize::from(width) * usize::from(height) * bands)
        .map(|idx| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = (idx / bands % usize::from(width), idx / bands / usize::from(width));
            (x / 2 + y + 60 * (x / 29 % 2)) as u8 ^ (noise >> 28) as u8
        })
        .collect();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 80);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    shape(&mut encoder);
    encoder
        .encode(&samples, width, height, color)
        .expect("writing to memory works");
    file
}

#[test]
fn the_decoder_keeps_the_contract() {
    let size = (401, 330);
    let rgb = |shape: fn(&mut Encoder<&mut Vec<u8>>)| picture(size, ColorType::Rgb, 3, shape);
    // A directory without entries, and a profile that is none: modules hand both on as bytes.
    let with_metadata = rgb(|encoder| {
        let exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0";
        encoder
            .add_app_segment(1, exif.to_vec())
            .expect("a short segment");
        encoder.add_icc_profile(&vec![7; 100_000]).expect("two segments");
    });
    Kit::new(|| Ok(Box::new(JpegDecoder::default())))
        .with_sample("color.jpg", with_metadata)
        .with_sample("restart.jpg", rgb(|encoder| encoder.set_restart_interval(5)))
        .with_sample("progressive.jpg", rgb(|encoder| encoder.set_progressive(true)))
        .with_sample(
            "separate.jpg",
            rgb(|encoder| encoder.set_optimized_huffman_tables(true)),
        )
        .with_sample("grey.jpeg", picture((700, 41), ColorType::Luma, 1, |_| {}))
        .with_sample("inks.jpg", picture((300, 200), ColorType::CmykAsYcck, 4, |_| {}))
        .with_sample("dot.jpg", picture((1, 1), ColorType::Rgb, 3, |_| {}))
        .run_all()
        .assert_passed();
}
