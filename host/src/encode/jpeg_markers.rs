//! Marker segments of JPEG files (ITU-T T.81, annex B): the header of new pictures, and profiles put into
//! finished ones.

use iiphost_plugin_api::{Resolution, ResolutionUnit};

use super::metadata::whole;
use super::{Metadata, PRODUCT};
use crate::color;

const SOI: u8 = 0xd8;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;
const COM: u8 = 0xfe;

/// Bytes a segment can hold: its 16-bit length counts itself.
const MAX_SEGMENT: usize = 65_533;

/// ICC.1:2022, B.4: signature, number of the segment from 1, count of segments.
const ICC_SIGNATURE: &[u8] = b"ICC_PROFILE\0";
const MAX_ICC_PART: usize = MAX_SEGMENT - ICC_SIGNATURE.len() - 2;

/// XMP specification part 3, 1.1.3.
const XMP_SIGNATURE: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Exif 2.32, 4.5.4.
const EXIF_SIGNATURE: &[u8] = b"Exif\0\0";

/// Everything before the tables: SOI, JFIF, comment, profile, XMP, EXIF, in this order. Reasons for what
/// does not fit go to `left_out`.
pub(super) fn header(metadata: &Metadata, left_out: &mut Vec<String>) -> Vec<u8> {
    let mut out = vec![0xff, SOI];
    let (unit, x, y) = density(metadata.resolution);
    let ([x1, x0], [y1, y0]) = (x.to_be_bytes(), y.to_be_bytes());
    push_segment(
        &mut out,
        APP0,
        &[b"JFIF\0\x01\x01", &[unit, x1, x0, y1, y0, 0, 0]],
    );
    push_segment(&mut out, COM, &[PRODUCT.as_bytes()]);
    if let Some(icc) = &metadata.icc
        && let Err(reason) = push_icc(&mut out, icc)
    {
        left_out.push(reason);
    }
    for (name, signature, block) in [
        ("XMP", XMP_SIGNATURE, &metadata.xmp),
        ("EXIF", EXIF_SIGNATURE, &metadata.exif),
    ] {
        let Some(block) = block else { continue };
        if !push_segment(&mut out, APP1, &[signature, block]) {
            left_out.push(format!(
                "{name} of {} bytes, a JPEG segment holds {}",
                block.len(),
                MAX_SEGMENT - signature.len()
            ));
        }
    }
    out
}

/// JFIF 1.02 density: unit (0 only a ratio, 1 inch, 2 centimeter) and two 16-bit numbers. Finer resolutions
/// than an inch can hold are told in centimeters, still finer ones not at all.
fn density(resolution: Option<Resolution>) -> (u8, u16, u16) {
    let fit = |unit: u8, x: f64, y: f64| {
        let (x, y) = whole(x, y, f64::from(u16::MAX))?;
        Some((unit, u16::try_from(x).ok()?, u16::try_from(y).ok()?))
    };
    resolution
        .and_then(|r| match r.unit {
            ResolutionUnit::None => fit(0, r.x, r.y),
            ResolutionUnit::Inch => fit(1, r.x, r.y).or_else(|| fit(2, r.x / 2.54, r.y / 2.54)),
            ResolutionUnit::Centimeter => fit(2, r.x, r.y),
        })
        .unwrap_or((0, 1, 1))
}

/// Appends a segment made of `parts`; `false`, and nothing appended, if it would be too long.
fn push_segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) -> bool {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let Some(length) = u16::try_from(len + 2).ok() else {
        return false;
    };
    out.extend([0xff, marker]);
    out.extend(length.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    true
}

/// Appends a profile as APP2 segments.
fn push_icc(out: &mut Vec<u8>, icc: &[u8]) -> Result<(), String> {
    let parts = icc.chunks(MAX_ICC_PART);
    let count = u8::try_from(parts.len()).map_err(|_| {
        format!(
            "ICC profile of {} bytes, JPEG holds 255 segments of it",
            icc.len()
        )
    })?;
    for (number, part) in (1..=count).zip(parts) {
        push_segment(out, APP2, &[ICC_SIGNATURE, &[number, count], part]);
    }
    Ok(())
}

/// A finished JPEG with a profile in it: behind the leading JFIF and Adobe segments, every byte of the
/// file kept. A file that has a profile already comes back as it is.
///
/// # Errors
/// The reason why the profile cannot go in: the bytes are no JPEG, or the profile is not one for its
/// number of components.
pub fn with_icc(jpeg: &[u8], icc: &[u8]) -> Result<Vec<u8>, String> {
    let header = Header::read(jpeg)?;
    if header.has_icc {
        return Ok(jpeg.to_vec());
    }
    color::check(icc, header.component_count)?;
    let (before, after) = jpeg
        .split_at_checked(header.leading_end)
        .ok_or("JPEG header past its end")?;
    // 18 bytes around each part of the profile.
    let mut out = Vec::with_capacity(jpeg.len() + icc.len() + 18 * icc.len().div_ceil(MAX_ICC_PART));
    out.extend_from_slice(before);
    push_icc(&mut out, icc)?;
    out.extend_from_slice(after);
    Ok(out)
}

/// What [`with_icc`] has to know of a file.
struct Header {
    /// Where the run of APP0 and APP14 segments at the start ends.
    leading_end: usize,
    component_count: u32,
    has_icc: bool,
}

impl Header {
    /// Walks the segments up to the frame header.
    fn read(jpeg: &[u8]) -> Result<Self, String> {
        if !jpeg.starts_with(&[0xff, SOI]) {
            return Err("not a JPEG: no SOI marker".into());
        }
        let mut header = Self {
            leading_end: 2,
            component_count: 0,
            has_icc: false,
        };
        let mut pos = 2;
        let mut leading = true;
        loop {
            let start = pos;
            let truncated = || format!("JPEG ends in its header, at byte {start}");
            let rest = jpeg.get(start..).ok_or_else(truncated)?;
            // Any number of FF bytes may stand before a marker (B.1.1.2).
            let fill = rest.iter().take_while(|&&b| b == 0xff).count();
            let &marker = rest.get(fill).ok_or_else(truncated)?;
            if fill == 0 {
                return Err(format!("JPEG has no marker at byte {start}"));
            }
            let length = rest
                .get(fill + 1..fill + 3)
                .and_then(|b| b.first_chunk::<2>())
                .map(|b| usize::from(u16::from_be_bytes(*b)))
                .ok_or_else(truncated)?;
            let body = rest
                .get(fill + 3..fill + 1 + length.max(2))
                .ok_or_else(truncated)?;
            pos += fill + 1 + length.max(2);
            match marker {
                // SOF0 to SOF15 without DHT, JPG and DAC (table B.1): precision, height, width, components.
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    header.component_count = body.get(5).copied().map(u32::from).ok_or_else(truncated)?;
                    if !matches!(header.component_count, 1 | 3) {
                        return Err(format!("JPEG of {} components", header.component_count));
                    }
                    return Ok(header);
                }
                SOS => return Err("JPEG has no frame header".into()),
                APP2 if body.starts_with(ICC_SIGNATURE) => header.has_icc = true,
                _ => {}
            }
            leading &= matches!(marker, APP0 | APP14);
            if leading {
                header.leading_end = pos;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{grey, icc_profile, jpeg_segments, rgb};
    use crate::encode::{Control, Encoder as _, Settings, jpeg::JpegEncoder};
    use proptest::prelude::*;

    fn profile_in(jpeg: &[u8]) -> Vec<u8> {
        let mut profile = Vec::new();
        let parts: Vec<_> = jpeg_segments(jpeg)
            .into_iter()
            .filter(|(marker, body)| *marker == APP2 && body.starts_with(ICC_SIGNATURE))
            .collect();
        for (idx, (_, body)) in parts.iter().enumerate() {
            assert_eq!(usize::from(body[12]), idx + 1);
            assert_eq!(usize::from(body[13]), parts.len());
            profile.extend_from_slice(&body[14..]);
        }
        profile
    }

    fn tile() -> Vec<u8> {
        let settings = Settings::Jpeg { quality: 75 };
        let encoded = JpegEncoder.encode(rgb(16, 16), &settings, &Metadata::default(), Control::NONE);
        encoded.unwrap().bytes
    }

    #[test]
    fn the_smallest_header_is_this() {
        let header = header(&Metadata::default(), &mut Vec::new());
        let (start, comment) = header.split_at(20);
        assert_eq!(start, b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        assert_eq!(&comment[..2], b"\xff\xfe");
        assert_eq!(usize::from(comment[3]), PRODUCT.len() + 2);
        assert_eq!(&comment[4..], PRODUCT.as_bytes());
    }

    #[test]
    fn segments_follow_in_order_and_hold_what_was_given() {
        let metadata = Metadata {
            icc: Some(icc_profile(b"RGB ", 300_000).into()),
            xmp: Some(b"<x:xmpmeta/>\0rest".to_vec().into()),
            exif: Some(b"II*\0".to_vec().into()),
            ..Metadata::default()
        };
        let mut left_out = Vec::new();
        let mut header = header(&metadata, &mut left_out);
        assert!(left_out.is_empty());
        header.extend([0xff, SOS, 0, 2]);
        let found = jpeg_segments(&header);
        let markers: Vec<u8> = found.iter().map(|(marker, _)| *marker).collect();
        assert_eq!(
            markers,
            [APP0, COM, APP2, APP2, APP2, APP2, APP2, APP1, APP1, SOS]
        );
        assert_eq!(found[2].1.len(), MAX_SEGMENT);
        assert_eq!(profile_in(&header), icc_profile(b"RGB ", 300_000));
        assert_eq!(found[7].1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>\0rest");
        assert_eq!(found[8].1, b"Exif\0\0II*\0");
    }

    #[test]
    fn blocks_too_long_for_their_segments_are_left_out_with_the_reason() {
        let with = |xmp: usize, exif: usize, icc: usize| {
            let metadata = Metadata {
                icc: Some(vec![0; icc].into()),
                xmp: Some(vec![b' '; xmp].into()),
                exif: Some(vec![0; exif].into()),
                ..Metadata::default()
            };
            let mut left_out = Vec::new();
            let len = header(&metadata, &mut left_out).len();
            (left_out, len)
        };
        let (left_out, _) = with(65_504, 65_527, 255 * 65_519);
        assert!(left_out.is_empty(), "{left_out:?}");
        let (left_out, len) = with(65_505, 65_528, 255 * 65_519 + 1);
        assert_eq!(left_out.len(), 3);
        assert!(left_out[1].contains("65505") && left_out[1].contains("65504"));
        assert!(len < 100);
        assert_eq!(with(70_000, 0, 1).0.len(), 1);
    }

    #[test]
    fn density_is_whole_numbers_in_the_unit_of_the_source() {
        let at = |x, y, unit| density(Some(Resolution { x, y, unit }));
        assert_eq!(at(299.6, 150.2, ResolutionUnit::Inch), (1, 300, 150));
        assert_eq!(at(118.11, 118.11, ResolutionUnit::Centimeter), (2, 118, 118));
        assert_eq!(at(4.0, 3.0, ResolutionUnit::None), (0, 4, 3));
        assert_eq!(
            at(101_600.0, 101_600.0, ResolutionUnit::Inch),
            (2, 40_000, 40_000)
        );
        for odd in [0.0, 0.4, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(at(odd, 300.0, ResolutionUnit::Centimeter), (0, 1, 1), "{odd}");
        }
    }

    #[test]
    fn a_profile_goes_behind_the_jfif_segment_and_no_byte_is_lost() {
        let tile = tile();
        let icc = icc_profile(b"RGB ", 200_000);
        let out = with_icc(&tile, &icc).unwrap();
        assert_eq!(out[..20], tile[..20]);
        assert_eq!(out[out.len() - (tile.len() - 20)..], tile[20..]);
        assert_eq!(profile_in(&out), icc);
        assert_eq!(jpeg_segments(&out)[1].0, APP2);
        assert_eq!(
            with_icc(&out, &icc).unwrap(),
            out,
            "a second profile is not added"
        );
    }

    #[test]
    fn a_profile_goes_behind_an_adobe_segment_or_to_the_start_of_a_bare_file() {
        let tile = tile();
        let icc = icc_profile(b"RGB ", 500);
        let bare: Vec<u8> = [&tile[..2], &tile[20..]].concat();
        assert_eq!(jpeg_segments(&with_icc(&bare, &icc).unwrap())[0].0, APP2);
        let adobe = [
            &tile[..2],
            b"\xff\xff\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0",
            &tile[20..],
        ]
        .concat();
        let out = with_icc(&adobe, &icc).unwrap();
        assert_eq!(out[..20], adobe[..20]);
        assert_eq!(out[20..22], [0xff, APP2]);
    }

    #[test]
    fn profiles_for_another_number_of_components_stay_out() {
        let grey = JpegEncoder.encode(
            grey(8, 8),
            &Settings::Jpeg { quality: 75 },
            &Metadata::default(),
            Control::NONE,
        );
        let grey = grey.unwrap().bytes;
        assert!(with_icc(&grey, &icc_profile(b"RGB ", 500)).is_err());
        assert!(with_icc(&grey, &icc_profile(b"GRAY", 500)).is_ok());
        assert!(with_icc(&tile(), b"").is_err());
    }

    proptest! {
        #[test]
        fn broken_files_are_refused_or_kept_whole(cut in 0..700_usize, at in 0..700_usize, value: u8) {
            let icc = icc_profile(b"RGB ", 500);
            let mut file = tile();
            let idx = at % file.len();
            file[idx] = value;
            file.truncate(file.len().saturating_sub(cut));
            if let Ok(out) = with_icc(&file, &icc) {
                prop_assert!(out.len() == file.len() || out.len() == file.len() + icc.len() + 18);
            }
        }
    }
}
