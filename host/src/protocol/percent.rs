//! Percent-decoding (RFC 3986 section 2.1) of names, values and identifiers.

/// Decodes `%HH` once. A `%` that starts no such triplet stays as it is, and `+` has no meaning.
#[must_use]
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match triplet(rest) {
            Some((value, after)) => {
                decoded.push(value);
                rest = after;
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    decoded
}

/// How often an identifier may have been encoded, and where it stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// It stood in a query, where forms write a space as `+`.
    pub plus_is_space: bool,
    /// Clients of its protocol are known to encode twice.
    pub encoded_twice: bool,
}

/// The identifiers a text may mean, the likeliest first: decoded once; with `+` as space; decoded twice.
/// A reading that equals an earlier one is left out.
#[must_use]
pub fn candidates(text: &[u8], leniency: Leniency) -> Vec<Vec<u8>> {
    let once = decode(text);
    let mut readings = vec![once];
    if leniency.plus_is_space && text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
        readings.push(decode(&spaced));
    }
    if leniency.encoded_twice {
        let twice = decode(&readings[0]);
        if !readings.contains(&twice) {
            readings.push(twice);
        }
    }
    readings
}

/// The byte of a leading `%HH` and what follows it.
fn triplet(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, rest @ ..] => {
            let value = 16 * char::from(*high).to_digit(16)? + char::from(*low).to_digit(16)?;
            Some((u8::try_from(value).ok()?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn triplets_become_bytes_and_everything_else_stays() {
        for (text, decoded) in [
            (&b"a%20b"[..], &b"a b"[..]),
            (b"%2C%2c", b",,"),
            (b"a+b", b"a+b"),
            (b"100%", b"100%"),
            (b"%4", b"%4"),
            (b"%zz%41", b"%zzA"),
            (b"%%41", b"%A"),
            (b"%2541", b"%41"),
            (b"%00%ff", b"\0\xff"),
            (b"%+1", b"%+1"),
            (b"", b""),
        ] {
            assert_eq!(decode(text), decoded, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn an_identifier_is_read_as_sent_then_with_spaces_then_decoded_again() {
        let all = Leniency { plus_is_space: true, encoded_twice: true };
        assert_eq!(candidates(b"a.tif", all), [b"a.tif".to_vec()]);
        assert_eq!(
            candidates(b"a+b%2520c.tif", all),
            [b"a+b%20c.tif".to_vec(), b"a b%20c.tif".to_vec(), b"a+b c.tif".to_vec()]
        );
        assert_eq!(candidates(b"a+b%2520c.tif", Leniency::default()), [b"a+b%20c.tif".to_vec()]);
        assert_eq!(
            candidates(b"a%2Bb", Leniency { plus_is_space: true, encoded_twice: false }),
            [b"a+b".to_vec()]
        );
    }

    proptest! {
        #[test]
        fn encoding_every_byte_and_decoding_gives_the_bytes(bytes: Vec<u8>) {
            let encoded: String = bytes.iter().map(|b| format!("%{b:02x}")).collect();
            prop_assert_eq!(decode(encoded.as_bytes()), bytes);
        }

        #[test]
        fn a_decoded_text_is_never_longer(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).len() <= bytes.len());
        }
    }
}
