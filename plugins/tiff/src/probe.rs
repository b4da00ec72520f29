//! How well a file fits, by its first bytes.

use iiphost_plugin_api::{Claim, ClaimLevel, FileHead};

use crate::ifd::Header;

/// Any TIFF, since many kinds of file share the container.
pub(crate) fn claim(head: &FileHead<'_>) -> Claim {
    match Header::parse(head.bytes) {
        Ok(header) => Claim::new(
            ClaimLevel::Generic,
            format!("{}, {}", header.format_name(), header.order_name()),
        ),
        Err(error) => Claim::none(error.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tiff_headers_are_claimed() {
        let claim = |bytes: &[u8]| {
            claim(&FileHead {
                bytes,
                file_len: 1000,
                extension: "tif",
            })
        };
        assert_eq!(claim(b"MM\0\x2a\0\0\0\x08").reason, "TIFF, big-endian");
        assert_eq!(
            claim(b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0").level,
            ClaimLevel::Generic
        );
        for other in [
            &b""[..],
            b"II",
            b"\xff\xd8\xff\xe0\0\x10JFIF",
            b"II\x2a",
            b"\x89PNG\r\n\x1a\n\0\0\0\0",
        ] {
            assert_eq!(claim(other).level, ClaimLevel::None);
        }
    }
}
