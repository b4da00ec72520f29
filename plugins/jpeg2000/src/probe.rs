//! Whether a file is JPEG 2000, by its first bytes.

use iiphost_plugin_api::{Claim, ClaimLevel, FileHead};

use crate::boxes::{CODESTREAM, SIGNATURE};

/// How well a file fits.
pub(crate) fn claim(head: &FileHead<'_>) -> Claim {
    if head.bytes.starts_with(&CODESTREAM) {
        return Claim::new(ClaimLevel::Specific, "JPEG 2000 codestream");
    }
    if !head.bytes.starts_with(&SIGNATURE) {
        return Claim::none("no JPEG 2000 signature box and no codestream at the start");
    }
    // The file type box follows the signature box (ISO/IEC 15444-1 I.5.2).
    let brand = match (head.bytes.get(16..20), head.bytes.get(20..24)) {
        (Some(b"ftyp"), Some(brand)) => brand,
        _ => return Claim::new(ClaimLevel::Generic, "JPEG 2000 signature box, no file type"),
    };
    match brand {
        b"jp2 " => Claim::new(ClaimLevel::Specific, "JP2"),
        b"jpx " => Claim::new(ClaimLevel::Specific, "JPX"),
        b"jph " => Claim::new(ClaimLevel::Specific, "JPH"),
        // JPM and MJ2 share the signature; some of them hold a picture of their own.
        _ => Claim::new(
            ClaimLevel::Generic,
            format!("JPEG 2000 signature box, brand {}", brand.escape_ascii()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(bytes: &[u8]) -> ClaimLevel {
        claim(&FileHead {
            bytes,
            file_len: bytes.len() as u64,
            extension: "jp2",
        })
        .level
    }

    #[test]
    fn files_are_known_by_content_not_by_name() {
        let file = |brand: &[u8]| [&SIGNATURE[..], b"\0\0\0\x14ftyp", brand, b"\0\0\0\0jp2 "].concat();
        for brand in [b"jp2 ", b"jpx ", b"jph "] {
            assert_eq!(level(&file(brand)), ClaimLevel::Specific);
        }
        assert_eq!(level(&file(b"mjp2")), ClaimLevel::Generic);
        assert_eq!(level(&SIGNATURE), ClaimLevel::Generic);
        assert_eq!(level(&[0xff, 0x4f, 0xff, 0x51, 0]), ClaimLevel::Specific);
        assert_eq!(level(&[0xff, 0x4f, 0xff]), ClaimLevel::None);
        assert_eq!(level(&SIGNATURE[..11]), ClaimLevel::None);
        assert_eq!(level(b""), ClaimLevel::None);
        assert_eq!(level(b"II*\0"), ClaimLevel::None);
    }
}
