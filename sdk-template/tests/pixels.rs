//! Are the pixels right? The conformance kit cannot know.

use std::sync::Arc;

use iiphost_plugin_api::*;
use my_decoder::PnmDecoder;

fn open(bytes: &[u8]) -> Result<Box<dyn ImageReader>, DecodeError> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    PnmDecoder.open(Arc::new(bytes.to_vec()), &ctx)
}

/// A whole level as bytes.
fn level(reader: &dyn ImageReader, level: u32) -> Vec<u8> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let page = &reader.info().pages[0];
    let size = page.levels[level as usize];
    let stride = row_bytes(size.width, page.band_count, page.sample_format).unwrap();
    let mut bytes = vec![0; stride * size.height as usize];
    let mut out = PixelBuffer::new(
        &mut bytes,
        size.width,
        size.height,
        page.band_count,
        page.sample_format,
        stride,
    )
    .unwrap();
    let region = Region::new(0, 0, size.width, size.height);
    let request = ReadRequest {
        page: 0,
        level,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut out, &ctx).unwrap();
    bytes
}

#[test]
fn the_full_size_is_what_is_stored() {
    let reader = open(b"P6 2 1 255\n\x01\x02\x03\x04\x05\x06").unwrap();
    assert_eq!(level(&*reader, 0), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn two_bytes_have_the_most_significant_one_first() {
    let reader = open(b"P5 2 1 4095\n\x01\x02\xff\xff").unwrap();
    assert_eq!(reader.info().pages[0].bit_depth, 12);
    // The second sample breaks the word of the header.
    let expected: Vec<u8> = [0x0102u16, 4095]
        .iter()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    assert_eq!(level(&*reader, 0), expected);
}

#[test]
fn smaller_levels_are_means() {
    // Two columns of 0 and two of 100 over and over; the odd column at the end is left out.
    let row: Vec<u8> = (0..513)
        .map(|x| if x / 2 % 2 == 0 { 0 } else { 100 })
        .collect();
    let mut bytes = b"P5 513 1 255\n".to_vec();
    bytes.extend(&row);
    let reader = open(&bytes).unwrap();
    let sizes: Vec<_> = reader.info().pages[0]
        .levels
        .iter()
        .map(|l| (l.width, l.height))
        .collect();
    assert_eq!(sizes, [(513, 1), (256, 1)]);
    let expected: Vec<u8> = (0..256).map(|x| if x % 2 == 0 { 0 } else { 100 }).collect();
    assert_eq!(level(&*reader, 1), expected);
}

#[test]
fn wrong_headers_say_what_is_wrong() {
    for (bytes, words) in [
        (&b"P4 1 1\n\0"[..], "no P5 or P6"),
        (b"P5 0 1 255\n", "0x1 pixels"),
        (b"P5 1 x 255\n\0", "height: not a number"),
        (b"P5 1 1 100\n\0", "a largest value of 100"),
        (b"P5 1 1 65536\n\0\0", "values up to 65536"),
        (b"P5 1 1 255", "no blank after the header"),
        (b"P5 # no end", "a comment without an end"),
        (b"P6 4294967295 4294967295 65535\n", "too few for"),
        (b"P5 2 2 255\n\0\0\0", "too few for 2x2 pixels"),
    ] {
        let error = open(bytes).err().expect(words);
        assert!(error.message().contains(words), "{error}");
    }
}
