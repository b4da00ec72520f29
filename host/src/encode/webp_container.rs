//! The WebP container (RFC 9649, 2): metadata put around finished pictures, every byte of them kept.

#[cfg(any(test, feature = "webp"))]
use super::Metadata;
use crate::color;

// Flags of the VP8X chunk, 2.7.
const ICC_FLAG: u8 = 0x20;
const ALPHA_FLAG: u8 = 0x10;
const EXIF_FLAG: u8 = 0x08;
const XMP_FLAG: u8 = 0x04;

/// A finished WebP with a profile in it. A file that has one already comes back as it is.
///
/// # Errors
/// The reason why the profile cannot go in: the bytes are no WebP, or it is not a profile for RGB.
pub fn with_icc(webp: &[u8], icc: &[u8]) -> Result<Vec<u8>, String> {
    color::check(icc, 3)?;
    extended(webp, Some(icc), None, None)
}

/// A file of the encoder with the metadata it is to carry.
///
/// # Errors
/// As [`with_icc`].
#[cfg(any(test, feature = "webp"))]
pub(super) fn with_metadata(webp: &[u8], metadata: &Metadata) -> Result<Vec<u8>, String> {
    extended(
        webp,
        metadata.icc.as_deref(),
        metadata.exif.as_deref(),
        metadata.xmp.as_deref(),
    )
}

/// Makes the file an extended one and adds the chunks it does not have yet.
fn extended(
    webp: &[u8],
    icc: Option<&[u8]>,
    exif: Option<&[u8]>,
    xmp: Option<&[u8]>,
) -> Result<Vec<u8>, String> {
    let body = riff_body(webp)?;
    let (first, rest) = split_chunk(body)?;
    let (mut vp8x, images) = match &first.name {
        b"VP8X" => (
            *first.data.first_chunk::<10>().ok_or("VP8X chunk too short")?,
            rest,
        ),
        // A simple file: the picture is all of it.
        _ => (describe(&first)?, body),
    };
    let missing = |block: Option<_>, flag: u8| block.filter(|_| vp8x[0] & flag == 0);
    let icc = missing(icc, ICC_FLAG);
    let exif = missing(exif, EXIF_FLAG);
    let xmp = missing(xmp, XMP_FLAG);
    if icc.or(exif).or(xmp).is_none() {
        return Ok(webp.to_vec());
    }
    for (block, flag) in [(icc, ICC_FLAG), (exif, EXIF_FLAG), (xmp, XMP_FLAG)] {
        if block.is_some() {
            vp8x[0] |= flag;
        }
    }
    let added: usize = [icc, exif, xmp].iter().flatten().map(|b| b.len() + 10).sum();
    let mut out = Vec::with_capacity(webp.len() + added + 18);
    out.extend_from_slice(b"RIFF\0\0\0\0WEBP");
    push_chunk(&mut out, b"VP8X", &vp8x)?;
    if let Some(icc) = icc {
        push_chunk(&mut out, b"ICCP", icc)?;
    }
    out.extend_from_slice(images);
    if images.len() % 2 == 1 {
        out.push(0);
    }
    if let Some(exif) = exif {
        push_chunk(&mut out, b"EXIF", exif)?;
    }
    if let Some(xmp) = xmp {
        push_chunk(&mut out, b"XMP ", xmp)?;
    }
    let len = u32::try_from(out.len() - 8).map_err(|_| format!("WebP of {} bytes", out.len()))?;
    if let Some(place) = out.get_mut(4..8) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    Ok(out)
}

struct Chunk<'a> {
    name: [u8; 4],
    data: &'a [u8],
}

/// The chunks of a file, without the RIFF header and what may stand behind its end.
fn riff_body(webp: &[u8]) -> Result<&[u8], String> {
    let header = webp.first_chunk::<12>().ok_or("not a WebP: too short")?;
    if &header[..4] != b"RIFF" || &header[8..] != b"WEBP" {
        return Err("not a WebP: no RIFF header".into());
    }
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    len.checked_add(8)
        .and_then(|end| webp.get(12..end))
        .ok_or_else(|| format!("WebP says {len} bytes, found {}", webp.len() - 8))
}

/// The first chunk and what follows its padding.
fn split_chunk(body: &[u8]) -> Result<(Chunk<'_>, &[u8]), String> {
    let header = body.first_chunk::<8>().ok_or("WebP without a chunk")?;
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let data = len
        .checked_add(8)
        .and_then(|end| body.get(8..end))
        .ok_or("WebP ends in a chunk")?;
    let rest = body.get(8 + len + len % 2..).unwrap_or_default();
    let name = [header[0], header[1], header[2], header[3]];
    Ok((Chunk { name, data }, rest))
}

/// The VP8X chunk of a simple file: its size and whether it has alpha.
fn describe(picture: &Chunk<'_>) -> Result<[u8; 10], String> {
    let (width, height, alpha) = match &picture.name {
        // RFC 6386, 9.1: frame tag, start code, 14 bits a side.
        b"VP8 " => match picture.data.first_chunk::<10>() {
            Some(&[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1]) => (
                u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff),
                u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff),
                false,
            ),
            _ => return Err("WebP: no VP8 key frame".into()),
        },
        // RFC 9649, 3.4: signature, 14 bits a side less 1, alpha.
        b"VP8L" => match picture.data.first_chunk::<5>() {
            Some(&[0x2f, b0, b1, b2, b3]) => {
                let bits = u32::from_le_bytes([b0, b1, b2, b3]);
                (
                    (bits & 0x3fff) + 1,
                    (bits >> 14 & 0x3fff) + 1,
                    bits >> 28 & 1 == 1,
                )
            }
            _ => return Err("WebP: no VP8L header".into()),
        },
        name => return Err(format!("WebP starts with {}", String::from_utf8_lossy(name))),
    };
    let [w0, w1, w2, _] = width.saturating_sub(1).to_le_bytes();
    let [h0, h1, h2, _] = height.saturating_sub(1).to_le_bytes();
    let flags = if alpha { ALPHA_FLAG } else { 0 };
    Ok([flags, 0, 0, 0, w0, w1, w2, h0, h1, h2])
}

fn push_chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) -> Result<(), String> {
    let len = u32::try_from(data.len()).map_err(|_| format!("block of {} bytes for a WebP", data.len()))?;
    out.extend_from_slice(name);
    out.extend(len.to_le_bytes());
    out.extend_from_slice(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::icc_profile;
    use proptest::prelude::*;

    /// A VP8L chunk that says 300 x 20 with alpha; its pixels do not matter here.
    fn simple(pixels: &[u8]) -> Vec<u8> {
        let bits: u32 = 299 | 19 << 14 | 1 << 28;
        let data = [&[0x2f][..], &bits.to_le_bytes(), pixels].concat();
        let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
        push_chunk(&mut out, b"VP8L", &data).unwrap();
        let len = out.len() as u32 - 8;
        out[4..8].copy_from_slice(&len.to_le_bytes());
        out
    }

    #[test]
    fn a_simple_file_becomes_an_extended_one_around_its_bytes() {
        let file = simple(b"odd");
        let icc = icc_profile(b"RGB ", 301);
        let out = with_icc(&file, &icc).unwrap();
        let len = u32::from_le_bytes(out[4..8].try_into().unwrap()) as usize;
        assert_eq!(len, out.len() - 8);
        let vp8x = b"VP8X\x0a\0\0\0\x30\0\0\0\x2b\x01\0\x13\0\0";
        assert_eq!(&out[12..30], vp8x);
        assert_eq!(&out[30..38], b"ICCP\x2d\x01\0\0");
        assert_eq!(out[38..339], icc);
        assert_eq!(out[339], 0, "padding");
        assert_eq!(out[340..], file[12..]);
        assert_eq!(
            with_icc(&out, &icc).unwrap(),
            out,
            "a second profile is not added"
        );
    }

    #[test]
    fn all_blocks_have_their_place_and_flag() {
        let metadata = Metadata {
            icc: Some(vec![1; 4].into()),
            exif: Some(vec![2; 4].into()),
            xmp: Some(vec![3; 4].into()),
            ..Metadata::default()
        };
        let out = with_metadata(&simple(b"even!!!"), &metadata).unwrap();
        assert_eq!(out[20], ICC_FLAG | ALPHA_FLAG | EXIF_FLAG | XMP_FLAG);
        let mut names = Vec::new();
        let mut body = riff_body(&out).unwrap();
        while !body.is_empty() {
            let (chunk, rest) = split_chunk(body).unwrap();
            names.push(String::from_utf8_lossy(&chunk.name).into_owned());
            body = rest;
        }
        assert_eq!(names, ["VP8X", "ICCP", "VP8L", "EXIF", "XMP "]);
        let plain = simple(b"even!!!");
        assert_eq!(with_metadata(&plain, &Metadata::default()).unwrap(), plain);
    }

    proptest! {
        #[test]
        fn broken_files_are_refused_or_kept_whole(cut in 0..40_usize, at in 0..40_usize, value: u8) {
            let mut file = simple(b"some pixels");
            let idx = at % file.len();
            file[idx] = value;
            file.truncate(file.len().saturating_sub(cut));
            if let Ok(out) = with_icc(&file, &icc_profile(b"RGB ", 200)) {
                let body = riff_body(&file).unwrap();
                prop_assert!(body.is_empty() || out.windows(body.len()).any(|w| w == body) || out.len() > file.len());
            }
        }
    }
}
