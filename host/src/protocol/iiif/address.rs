//! What a path asks for: a document, a picture or the image itself.

use super::parse::{Grammar, Parameters, parameters};
use crate::error::Error;

/// What a path asks for. Identifiers are still encoded.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    /// `<identifier>/info.json`.
    Information {
        /// The image.
        identifier: &'a [u8],
    },
    /// `<identifier>/<region>/<size>/<rotation>/<quality>.<format>`.
    Picture {
        /// The image.
        identifier: &'a [u8],
        /// What is wanted of it.
        parameters: Parameters,
    },
    /// The base URI of an image, or nothing known.
    Base {
        /// The whole path, without one slash at its end.
        identifier: &'a [u8],
        /// What is wrong with it if there is no such image and the path is long enough to have parameters.
        complaint: Option<Error>,
    },
}

/// Splits a raw path at its slashes, from the right.
pub(super) fn recognize<'a>(text: &'a [u8], grammar: Grammar<'_>) -> Wanted<'a> {
    if let Some(identifier) = text.strip_suffix(b"/info.json") {
        return Wanted::Information { identifier };
    }
    let mut complaint = None;
    if let Some((identifier, parts)) = split_parameters(text) {
        match parameters(parts, grammar) {
            Ok(parameters) => {
                return Wanted::Picture {
                    identifier,
                    parameters,
                };
            }
            Err(error) => complaint = Some(error),
        }
    }
    let identifier = text.strip_suffix(b"/").unwrap_or(text);
    let has_parameters = identifier.split(|&b| b == b'/').count() >= 5;
    Wanted::Base {
        identifier,
        complaint: complaint.filter(|_| has_parameters),
    }
}

fn split_parameters(text: &[u8]) -> Option<(&[u8], [&[u8]; 4])> {
    let mut parts = text.rsplitn(5, |&b| b == b'/');
    let (quality, rotation, size, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((parts.next()?, [region, size, rotation, quality]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::view::OutputFormat;

    fn grammar(version: u8) -> Grammar<'static> {
        Grammar {
            version,
            extensions: false,
            formats: &[OutputFormat::Jpeg],
        }
    }

    #[test]
    fn paths_are_recognized_from_the_right() {
        let id = |text: &'static str| match recognize(text.as_bytes(), grammar(3)) {
            Wanted::Information { identifier } => ("info", identifier),
            Wanted::Picture { identifier, .. } => ("picture", identifier),
            Wanted::Base {
                identifier,
                complaint: None,
            } => ("base", identifier),
            Wanted::Base {
                identifier,
                complaint: Some(_),
            } => ("bad", identifier),
        };
        for (text, kind, identifier) in [
            ("test.tif/info.json", "info", "test.tif"),
            ("dir/a.tif/info.json", "info", "dir/a.tif"),
            ("/info.json", "info", ""),
            ("info.json", "base", "info.json"),
            ("test.tif/info.json/", "base", "test.tif/info.json"),
            ("test.tif/info.xml", "base", "test.tif/info.xml"),
            ("test.tif/full/max/0/default.jpg", "picture", "test.tif"),
            (
                "a/b/c/test.tif/full/max/0/default.jpg",
                "picture",
                "a/b/c/test.tif",
            ),
            ("/full/max/0/default.jpg", "picture", ""),
            ("full/max/0/default.jpg", "base", "full/max/0/default.jpg"),
            (
                "test.tif/full//200,/0/default.jpg",
                "bad",
                "test.tif/full//200,/0/default.jpg",
            ),
            (
                "test.tif/full/200,/0/default.jpg/extra",
                "bad",
                "test.tif/full/200,/0/default.jpg/extra",
            ),
            (
                "test.tif/full/200,/0/default",
                "bad",
                "test.tif/full/200,/0/default",
            ),
            (
                "test.tif/full/200,/0/default.jpg/",
                "bad",
                "test.tif/full/200,/0/default.jpg",
            ),
            ("a/b/c/d/", "base", "a/b/c/d"),
            ("test.tif/", "base", "test.tif"),
            ("test.tif//", "base", "test.tif/"),
            ("test.tif", "base", "test.tif"),
            ("", "base", ""),
        ] {
            assert_eq!(id(text), (kind, identifier.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_recognized_as_something(text: Vec<u8>, version in 1_u8..=3) {
            let _ = recognize(&text, grammar(version));
        }
    }
}
