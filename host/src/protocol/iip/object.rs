//! `OBJ`: which information a name asks for, and the reply made of the answers.

use crate::error::Error;
use crate::server::Response;

/// Largest reply of collected answers: a query may ask for a long text again and again.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Information that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// The protocol version.
    Iip,
    /// What the server can do.
    Server,
    /// Optional commands.
    OptionalCommands,
    /// Optional objects.
    OptionalObjects,
    /// Server, size, levels and colors at once.
    BasicInfo,
    /// Full size.
    MaxSize,
    /// Number of levels.
    ResolutionNumber,
    /// Sizes of the levels.
    Resolutions,
    /// Size of a tile.
    TileSize,
    /// Bits of a stored sample.
    BitsPerChannel,
    /// Smallest and largest value by band.
    SampleRange,
    /// Horizontal views.
    HorizontalViews,
    /// Vertical views.
    VerticalViews,
    /// Meaning of the bands.
    ColorSpace,
    /// Physical resolution.
    Dpi,
    /// Pages of a stack.
    Stack,
    /// The usual texts at once.
    SummaryInfo,
    /// One text by its name.
    Text(&'static str),
    /// The XMP packet.
    Xmp,
    /// All texts.
    Metadata,
}

/// Texts that have an object of their own: the summary information set of IIP 1.0.5, and the names of
/// texts that decoders give.
const TEXTS: [&str; 20] = [
    "rights",
    "title",
    "subject",
    "author",
    "description",
    "creator",
    "keywords",
    "comment",
    "last-author",
    "rev-number",
    "edit-time",
    "last-printed",
    "create-dtm",
    "last-save-dtm",
    "app-name",
    "date",
    "software",
    "make",
    "model",
    "scale",
];

/// Objects by their names in lower case.
const OBJECTS: [(&str, Object); 17] = [
    ("iip-server", Object::Server),
    ("iip-opt-comm", Object::OptionalCommands),
    ("iip-opt-obj", Object::OptionalObjects),
    ("basic-info", Object::BasicInfo),
    ("max-size", Object::MaxSize),
    ("resolution-number", Object::ResolutionNumber),
    ("resolutions", Object::Resolutions),
    ("tile-size", Object::TileSize),
    ("bits-per-channel", Object::BitsPerChannel),
    ("min-max-sample-values", Object::SampleRange),
    ("horizontal-views", Object::HorizontalViews),
    ("vertical-views", Object::VerticalViews),
    ("dpi", Object::Dpi),
    ("stack", Object::Stack),
    ("summary-info", Object::SummaryInfo),
    ("xmp", Object::Xmp),
    ("metadata", Object::Metadata),
];

impl Object {
    /// The object of a name in lower case. Names with `colorspace` in them end in bands and a level that
    /// nobody fills in properly, and `IIP` in a version.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        if name.starts_with(b"iip,") {
            return Some(Self::Iip);
        }
        if name
            .windows(b"colorspace".len())
            .any(|part| part == b"colorspace")
        {
            return Some(Self::ColorSpace);
        }
        let listed = OBJECTS.into_iter().find(|(known, _)| name == known.as_bytes());
        let text = TEXTS.into_iter().find(|known| name == known.as_bytes());
        listed.map(|(_, object)| object).or(text.map(Self::Text))
    }

    /// Whether the answer is about an image.
    pub(super) fn needs_image(self) -> bool {
        !matches!(
            self,
            Self::Iip | Self::Server | Self::OptionalCommands | Self::OptionalObjects
        )
    }

    /// The type of a reply made of this answer alone, where it is not that of IIP.
    fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Stack | Self::Metadata => Some("application/json"),
            Self::Text(_) => Some("text/plain"),
            Self::Xmp => Some("application/xml"),
            _ => None,
        }
    }
}

/// Answers collected while a request runs.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The protocol version was asked for.
    version: bool,
    /// Objects asked for, the version not counted.
    count: usize,
    /// The type one of them asks for.
    media_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Answers {
    /// Adds the answer to an object; an empty one is no line.
    pub(super) fn push(&mut self, object: Object, lines: &[u8]) -> Result<(), Error> {
        if object == Object::Iip {
            self.version = true;
            return Ok(());
        }
        if self.body.len().saturating_add(lines.len()) > MAX_BODY_BYTES {
            return Err(Error::bad_request(format!(
                "the objects asked for need more than {MAX_BODY_BYTES} bytes"
            )));
        }
        self.count = self.count.saturating_add(1);
        self.media_type = object.media_type();
        self.body.extend_from_slice(lines);
        Ok(())
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        !self.version && self.body.is_empty()
    }

    /// The reply. Viewers look for the version in a header field or in the first line of the body,
    /// depending on their age; it is in both.
    pub(super) fn into_reply(self) -> Response {
        let media_type = match self.count {
            1 => self.media_type,
            _ => None,
        };
        let response = Response::new(200).with("Content-Type", media_type.unwrap_or(super::MEDIA_TYPE));
        if self.version {
            let body = [b"IIP:1.3\r\n", self.body.as_slice()].concat();
            response.with("IIP", "1.3").body(body)
        } else {
            response.body(self.body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_name() {
        for (name, object) in [
            ("iip,1.0", Some(Object::Iip)),
            ("iip,", Some(Object::Iip)),
            ("iip", None),
            ("colorspace", Some(Object::ColorSpace)),
            ("colorspace,*,*", Some(Object::ColorSpace)),
            ("x-colorspace-y", Some(Object::ColorSpace)),
            ("max-size", Some(Object::MaxSize)),
            ("subject", Some(Object::Text("subject"))),
            ("app-name", Some(Object::Text("app-name"))),
            ("obj", None),
            ("", None),
        ] {
            assert_eq!(Object::from_name(name.as_bytes()), object, "{name}");
        }
    }

    #[test]
    fn one_special_object_sets_the_type_of_the_reply() {
        let type_of = |objects: &[Object]| {
            let mut answers = Answers::default();
            for object in objects {
                answers.push(*object, b"x\r\n").unwrap();
            }
            answers.into_reply().header("Content-Type").unwrap().to_owned()
        };
        assert_eq!(type_of(&[Object::Metadata]), "application/json");
        assert_eq!(type_of(&[Object::Iip, Object::Stack]), "application/json");
        assert_eq!(type_of(&[Object::Xmp, Object::Iip]), "application/xml");
        assert_eq!(type_of(&[Object::Text("title")]), "text/plain");
        assert_eq!(type_of(&[Object::MaxSize]), "application/vnd.netfpx");
        assert_eq!(
            type_of(&[Object::Metadata, Object::Xmp]),
            "application/vnd.netfpx"
        );
        assert_eq!(
            type_of(&[Object::MaxSize, Object::Metadata]),
            "application/vnd.netfpx"
        );
    }

    #[test]
    fn the_version_is_a_field_and_the_first_line() {
        let mut answers = Answers::default();
        answers.push(Object::MaxSize, b"Max-size:1 1\r\n").unwrap();
        answers.push(Object::Iip, b"").unwrap();
        let reply = answers.into_reply();
        assert_eq!(reply.header("IIP"), Some("1.3"));
        assert_eq!(reply.body, "IIP:1.3\r\nMax-size:1 1\r\n");
    }

    #[test]
    fn answers_do_not_pile_up_without_limit() {
        let mut answers = Answers::default();
        let packet = vec![b'x'; MAX_BODY_BYTES / 2];
        answers.push(Object::Xmp, &packet).unwrap();
        answers.push(Object::Xmp, &packet).unwrap();
        let error = answers.push(Object::Xmp, &packet).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.public_message().contains("16777216 bytes"));
    }
}
