//! The text a protocol that names its own image was given, and where it stood.

use std::borrow::Cow;

use crate::protocol::percent::{self, Leniency};

/// The argument of IIIF, Deep Zoom or Zoomify, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The raw text: what follows the mount of a path, or the value of a command.
    pub raw: Vec<u8>,
    /// It is the value of a command in a query or a body.
    pub from_query: bool,
}

impl Argument {
    /// The rest of a path after its mount.
    pub fn of_path(raw: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: raw.into(),
            from_query: false,
        }
    }

    /// The raw value of a command.
    pub fn of_query(raw: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: raw.into(),
            from_query: true,
        }
    }

    /// The raw text, ready to be split at `/`; its parts are still percent-encoded.
    ///
    /// A value in a query ends at its first raw `?`: viewers add `?1700000000` when they ask for a failed
    /// tile again. Programs that build queries from name and value write `/` as `%2F` there (both mean
    /// the same inside a query, RFC 3986 section 3.4), so a value without any `/` is read that way.
    #[must_use]
    pub fn text(&self) -> Cow<'_, [u8]> {
        if !self.from_query {
            return Cow::Borrowed(&self.raw);
        }
        let value = self.raw.split(|&b| b == b'?').next().unwrap_or_default();
        if value.contains(&b'/') {
            return Cow::Borrowed(value);
        }
        let mut slashed = Vec::with_capacity(value.len());
        let mut rest = value;
        while let Some((&byte, tail)) = rest.split_first() {
            match rest {
                [b'%', b'2', b'f' | b'F', after @ ..] => {
                    slashed.push(b'/');
                    rest = after;
                }
                _ => {
                    slashed.push(byte);
                    rest = tail;
                }
            }
        }
        Cow::Owned(slashed)
    }

    /// What an encoded identifier inside this argument may mean, the likeliest first.
    #[must_use]
    pub fn identifiers(&self, encoded: &[u8], encoded_twice: bool) -> Vec<Vec<u8>> {
        percent::candidates(
            encoded,
            Leniency {
                plus_is_space: self.from_query,
                encoded_twice,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_query_ends_at_its_first_question_mark_and_may_encode_its_slashes() {
        for (value, text) in [
            ("a.tif/info.json", "a.tif/info.json"),
            ("a.tif/0,0/x.jpg?t=1", "a.tif/0,0/x.jpg"),
            ("a.tif%2finfo.json?x", "a.tif/info.json"),
            ("d%252Fa.tif%2Finfo.json", "d%252Fa.tif/info.json"),
            ("d%2Fa.tif/info.json", "d%2Fa.tif/info.json"),
            ("?", ""),
        ] {
            assert_eq!(Argument::of_query(value).text(), text.as_bytes(), "{value}");
        }
        assert_eq!(Argument::of_path("d%2Fa.tif").text().as_ref(), b"d%2Fa.tif");
    }

    #[test]
    fn plus_is_a_space_in_a_query_only() {
        assert_eq!(
            Argument::of_path("a+b").identifiers(b"a+b", true),
            [b"a+b".to_vec()]
        );
        assert_eq!(
            Argument::of_query("a+b").identifiers(b"a+b", true),
            [b"a+b".to_vec(), b"a b".to_vec()]
        );
    }
}
