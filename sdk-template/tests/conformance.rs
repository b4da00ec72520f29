//! What the host relies on, checked on sample pictures. Pixels are checked in `pixels.rs`.

use iiphost_plugin_api::conformance::Kit;
use my_decoder::PnmDecoder;

/// A picture whose samples all differ from their neighbors. Write yours in code, too, or read small files
/// from a folder.
fn picture(header: &str, count: usize) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend((0..count).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8));
    bytes
}

#[test]
fn the_decoder_keeps_the_contract() {
    Kit::new(|| Ok(Box::new(PnmDecoder)))
        // More than one tile and more than two levels, odd sides.
        .with_sample("color.ppm", picture("P6\n701 530\n255\n", 701 * 530 * 3))
        .with_sample("deep.pgm", picture("P5 300 200 65535\n", 300 * 200 * 2))
        .with_sample("strip.pgm", picture("P5\n# one row\n2000 1\n255\n", 2000))
        .with_sample("dot.pgm", picture("P5\n1 1\n1\n", 1))
        .run_all()
        .assert_passed();
}
