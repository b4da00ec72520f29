//! What a client takes: the `Accept` field (RFC 9110 section 12.5.1).

use super::field::{parameter, split_unquoted};
use crate::server::Request;
use crate::view::OutputFormat;

/// Versions of the Image API whose context a client can name.
const NEGOTIATED_VERSIONS: [u8; 2] = [3, 2];

/// The media ranges of a request, in its order.
#[derive(Debug, Default)]
pub(super) struct Accept {
    ranges: Vec<Range>,
}

#[derive(Debug)]
struct Range {
    /// The range as sent.
    text: String,
    /// Type and subtype in lower case.
    media_type: String,
    /// Values of `profile`, each a URI.
    profiles: Vec<String>,
    /// Weight from 0 to 1.
    weight: f32,
}

impl Accept {
    /// The fields of a request; none is an empty list, which takes everything.
    pub(super) fn of(request: &Request) -> Self {
        let fields = request.headers.iter().filter(|(name, _)| name == "accept");
        let ranges = fields
            .flat_map(|(_, value)| {
                let value = String::from_utf8_lossy(value);
                split_unquoted(&value, ',')
                    .filter_map(Range::parse)
                    .collect::<Vec<_>>()
            })
            .collect();
        Self { ranges }
    }

    /// The version of the Image API asked for by its context: as the profile of JSON-LD, the one with the
    /// highest weight, else by its bare URI anywhere.
    pub(super) fn version(&self) -> Option<u8> {
        let by_profile = self.accepted().filter(|range| range.media_type == LINKED_DATA);
        let mut best: Option<(f32, u8)> = None;
        for range in by_profile {
            let Some(version) = range.profiles.iter().find_map(|uri| context_version(uri)) else {
                continue;
            };
            if best.is_none_or(|(weight, _)| range.weight > weight) {
                best = Some((range.weight, version));
            }
        }
        best.map(|(_, version)| version)
            .or_else(|| self.accepted().find_map(|range| context_version(&range.text)))
    }

    /// The `Content-Type` of an image information document (Image API 3.0 section 5.1, 2.1.1 section 5).
    pub(super) fn information_type(&self, version: u8) -> String {
        let linked = self.weight(LINKED_DATA);
        let plain = self.weight(JSON);
        let wants_linked = match version {
            1 => false,
            2 => linked >= plain && self.accepted().any(|range| range.media_type == LINKED_DATA),
            _ => linked >= plain,
        };
        if wants_linked {
            format!("{LINKED_DATA};profile=\"http://iiif.io/api/image/{version}/context.json\"")
        } else {
            JSON.to_owned()
        }
    }

    /// The picture format the client likes best; JPEG where it says nothing or does not mind.
    pub(super) fn picture_format(&self, formats: &[OutputFormat]) -> OutputFormat {
        let mut best: Option<(f32, OutputFormat)> = None;
        for range in self.accepted() {
            let format = match range.media_type.as_str() {
                "image/*" | "*/*" => Some(OutputFormat::Jpeg),
                name => formats.iter().copied().find(|format| format.media_type() == name),
            };
            if let Some(format) = format
                && best.is_none_or(|(weight, _)| range.weight > weight)
            {
                best = Some((range.weight, format));
            }
        }
        best.map_or(OutputFormat::Jpeg, |(_, format)| format)
    }

    fn accepted(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(|range| range.weight > 0.0)
    }

    /// The weight of a media type: that of the most specific range that covers it.
    fn weight(&self, media_type: &str) -> f32 {
        if self.ranges.is_empty() {
            return 1.0;
        }
        let any_subtype = media_type.split_once('/').map(|(kind, _)| format!("{kind}/*"));
        let of = |name: &str| {
            let named = self.ranges.iter().filter(|range| range.media_type == name);
            named.map(|range| range.weight).reduce(f32::max)
        };
        of(media_type)
            .or_else(|| of(&any_subtype?))
            .or_else(|| of("*/*"))
            .unwrap_or(0.0)
    }
}

const LINKED_DATA: &str = "application/ld+json";
const JSON: &str = "application/json";

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split_unquoted(text, ';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        if media_type.is_empty() {
            return None;
        }
        let mut weight = 1.0;
        let mut profiles = Vec::new();
        for (name, value) in parts.filter_map(parameter) {
            match name.as_str() {
                // A weight that is no number says nothing.
                "q" => {
                    weight = value
                        .parse()
                        .ok()
                        .filter(|q| (0.0..=1.0).contains(q))
                        .unwrap_or(1.0)
                }
                "profile" => profiles.extend(value.split_whitespace().map(str::to_owned)),
                _ => {}
            }
        }
        Some(Self {
            text: text.to_owned(),
            media_type,
            profiles,
            weight,
        })
    }
}

/// The version whose context URI stands in a text.
fn context_version(text: &str) -> Option<u8> {
    let named = |version: &u8| {
        ["http", "https"]
            .iter()
            .any(|scheme| text.contains(&format!("{scheme}://iiif.io/api/image/{version}/context.json")))
    };
    NEGOTIATED_VERSIONS.into_iter().find(named)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fake::request;

    fn accept(text: &str) -> Accept {
        let mut request = request("/");
        request.headers.push(("accept".into(), text.into()));
        Accept::of(&request)
    }

    const ALL: [OutputFormat; 3] = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::WebP];

    #[test]
    fn a_version_is_named_by_its_context() {
        for (text, version) in [
            ("", None),
            ("*/*", None),
            ("application/ld+json", None),
            (
                "application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\"",
                Some(2),
            ),
            (
                "application/ld+json; profile=http://iiif.io/api/image/3/context.json",
                Some(3),
            ),
            (
                "application/ld+json;profile=\"https://iiif.io/api/image/2/context.json\"",
                Some(2),
            ),
            (
                "application/ld+json;profile=\"x http://iiif.io/api/image/2/context.json\"",
                Some(2),
            ),
            (
                "application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\";q=0.5, \
                 application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"",
                Some(3),
            ),
            (
                "application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\";q=0, \
                 application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\";q=0.1",
                Some(2),
            ),
            ("http://iiif.io/api/image/2/context.json", Some(2)),
            (
                "application/json;profile=\"http://iiif.io/api/image/2/context.json\"",
                Some(2),
            ),
            ("http://iiif.io/api/image/9/context.json", None),
            ("http://iiif.io/api/image/1/context.json", None),
            ("http://iiif.io/api/image/22/context.json", None),
            ("http://iiif.io/api/image", None),
        ] {
            assert_eq!(accept(text).version(), version, "{text}");
        }
    }

    #[test]
    fn the_type_of_the_document_follows_version_and_wish() {
        let linked = |version| {
            format!("application/ld+json;profile=\"http://iiif.io/api/image/{version}/context.json\"")
        };
        for (text, version, expected) in [
            ("", 3, linked(3)),
            ("*/*", 3, linked(3)),
            ("application/json, text/plain, */*", 3, linked(3)),
            ("text/html", 3, linked(3)),
            ("application/ld+json", 3, linked(3)),
            ("application/json", 3, JSON.into()),
            ("application/json, application/ld+json;q=0.5", 3, JSON.into()),
            ("application/*;q=0.2, application/ld+json;q=0.1", 3, JSON.into()),
            ("", 2, JSON.into()),
            ("*/*", 2, JSON.into()),
            ("application/json", 2, JSON.into()),
            ("application/ld+json", 2, linked(2)),
            ("APPLICATION/LD+JSON", 2, linked(2)),
            ("application/json, application/ld+json", 2, linked(2)),
            ("application/ld+json;q=0.1, application/json", 2, JSON.into()),
            ("application/ld+json;q=0", 2, JSON.into()),
            ("application/ld+json", 1, JSON.into()),
        ] {
            assert_eq!(
                accept(text).information_type(version),
                expected,
                "{text} {version}"
            );
        }
    }

    #[test]
    fn no_field_takes_everything() {
        let none = Accept::of(&request("/"));
        assert!(none.information_type(3).starts_with(LINKED_DATA));
        assert_eq!(none.information_type(2), JSON);
        assert_eq!(none.picture_format(&ALL), OutputFormat::Jpeg);
        assert_eq!(none.version(), None);
    }

    #[test]
    fn a_picture_format_is_the_one_liked_best() {
        for (text, format) in [
            ("image/png", OutputFormat::Png),
            ("image/png;q=0.5, image/jpeg", OutputFormat::Jpeg),
            ("image/avif,image/webp,image/apng,*/*;q=0.8", OutputFormat::WebP),
            ("*/*", OutputFormat::Jpeg),
            ("image/gif", OutputFormat::Jpeg),
            ("image/png;q=0", OutputFormat::Jpeg),
        ] {
            assert_eq!(accept(text).picture_format(&ALL), format, "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_fields_are_read(value: Vec<u8>) {
            let mut request = request("/");
            request.headers.push(("accept".into(), value));
            let accept = Accept::of(&request);
            let _ = (accept.version(), accept.information_type(2), accept.picture_format(&ALL));
        }
    }
}
