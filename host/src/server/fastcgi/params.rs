//! Name-value pairs (FastCGI 1.0, section 3.4).

use super::record::ProtocolError;

/// The pairs of a complete stream, in order.
pub(super) struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    /// The pairs of `stream`, which must be complete.
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self(stream)
    }

    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name_len = self.length()?;
        let value_len = self.length()?;
        let (name, rest) = self.0.split_at_checked(name_len)?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.0 = rest;
        Some((name, value))
    }

    /// One byte, or four with the top bit of the first set.
    fn length(&mut self) -> Option<usize> {
        let (len, rest) = match *self.0 {
            [a, b, c, d, ref rest @ ..] if a & 0x80 != 0 => (
                usize::try_from(u32::from_be_bytes([a & 0x7f, b, c, d])).ok()?,
                rest,
            ),
            [a, ref rest @ ..] if a & 0x80 == 0 => (usize::from(a), rest),
            _ => return None,
        };
        self.0 = rest;
        Some(len)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_none() {
            self.0 = &[];
        }
        Some(pair.ok_or(ProtocolError::Params))
    }
}

/// The announced length of the value that starts inside a stream that was cut off, if its name is
/// `name`: tells what made a stream too long.
pub(super) fn value_len_of(stream: &[u8], name: &[u8]) -> Option<usize> {
    let mut pairs = Pairs(stream);
    loop {
        let mut ahead = Pairs(pairs.0);
        let name_len = ahead.length()?;
        let value_len = ahead.length()?;
        if ahead.0.get(..name_len)? == name {
            return Some(value_len);
        }
        pairs.pair()?;
    }
}

/// Appends a pair.
pub(super) fn write_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(len) if len < 0x80 => out.push(len),
            _ => {
                let len = u32::try_from(text.len()).unwrap_or(u32::MAX) | 0x8000_0000;
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 120..140),
        ]
    }

    proptest! {
        #[test]
        fn pairs_are_read_as_written(pairs in prop::collection::vec((text(), text()), 0..20)) {
            let mut stream = Vec::new();
            for (name, value) in &pairs {
                write_pair(&mut stream, name, value);
            }
            let read: Result<Vec<_>, _> = Pairs::new(&stream).map(|p| p.map(|(n, v)| (n.to_vec(), v.to_vec()))).collect();
            prop_assert_eq!(read, Ok(pairs));
        }

        #[test]
        fn arbitrary_streams_end(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Pairs::new(&stream).count() <= stream.len());
            let _ = value_len_of(&stream, b"A");
        }
    }

    #[test]
    fn a_pair_longer_than_its_stream_is_an_error_and_the_last_one() {
        for stream in [
            &[1, 1, b'a'][..],
            &[0x80],
            &[0xff, 0xff, 0xff, 0xff, 0, b'a'],
            &[5],
        ] {
            let read: Vec<_> = Pairs::new(stream).collect();
            assert_eq!(read, [Err(ProtocolError::Params)]);
        }
    }

    #[test]
    fn the_value_that_was_cut_off_is_found() {
        let mut stream = Vec::new();
        write_pair(&mut stream, b"A", b"x");
        write_pair(&mut stream, b"QUERY_STRING", &[b'q'; 1000]);
        assert_eq!(value_len_of(&stream[..100], b"QUERY_STRING"), Some(1000));
        assert_eq!(value_len_of(&stream[..100], b"OTHER"), None);
    }
}
