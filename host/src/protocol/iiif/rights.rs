//! Who may do what with an image: text of the file or of the operator.

use crate::image_info::ImageInfo;

/// Rights of an image as text: those the file names, else the operator's. Bytes are UTF-8, else Latin-1.
pub(super) fn rights(info: &ImageInfo, fallback: Option<&str>) -> Option<String> {
    let own = info.text("rights").map(|bytes| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    });
    let stated = |text: &str| {
        // Text of TIFF tags may end in more than one NUL.
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    };
    own.as_deref()
        .and_then(stated)
        .or_else(|| fallback.and_then(stated))
}

/// Whether a text is one URI over HTTP.
pub(super) fn is_uri(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let in_uri = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
        rest.bytes().all(in_uri) && rest.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// Whether a text is a URI `rights` may hold (Image API 3.0 section 5.6).
pub(super) fn is_licence_uri(text: &str) -> bool {
    let host = text.split('/').nth(2).unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    is_uri(text) && ["creativecommons.org", "rightsstatements.org"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(rights: Option<&[u8]>) -> ImageInfo {
        ImageInfo {
            format: "TIFF".into(),
            pages: Vec::new(),
            views: Vec::new(),
            text: rights
                .map(|r| ("rights".to_owned(), r.to_vec()))
                .into_iter()
                .collect(),
            modified: std::time::SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn rights_are_the_images_or_the_operators() {
        for (own, fallback, expected) in [
            (Some(&b"mine \0\0"[..]), Some("theirs"), Some("mine")),
            (Some(b" \0"), Some("theirs"), Some("theirs")),
            (None, Some("theirs"), Some("theirs")),
            (None, Some(" "), None),
            (None, None, None),
            (Some(b"\xa9 2026"), None, Some("\u{a9} 2026")),
            (Some("\u{a9} 2026".as_bytes()), None, Some("\u{a9} 2026")),
        ] {
            assert_eq!(rights(&info(own), fallback).as_deref(), expected);
        }
    }
}
