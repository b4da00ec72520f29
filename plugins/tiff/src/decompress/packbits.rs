//! PackBits (TIFF 6.0 section 9).

use iiphost_plugin_api::DecodeError;

use super::too_short;

pub(super) fn decompress(encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
    let expected = stored.len();
    let mut input = encoded;
    let mut done = 0;
    while done < expected {
        let Some((&control, rest)) = input.split_first() else {
            return Err(too_short(done, expected));
        };
        let control = control as i8;
        if control >= 0 {
            let len = control as usize + 1;
            let bytes = rest.get(..len).ok_or_else(|| too_short(done, expected))?;
            // A run may reach over the last row of a strip; the excess is cut.
            let take = len.min(expected - done);
            stored[done..done + take].copy_from_slice(&bytes[..take]);
            done += take;
            input = &rest[len..];
        } else if control == -128 {
            input = rest;
        } else {
            let (&byte, rest) = rest.split_first().ok_or_else(|| too_short(done, expected))?;
            let take = (1 - isize::from(control)) as usize;
            let take = take.min(expected - done);
            stored[done..done + take].fill(byte);
            done += take;
            input = rest;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_unpacked() {
        let encoded = [
            0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7, 0xaa,
        ];
        let expected = [
            0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0x22, 0xaa, 0xaa,
            0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
        ];
        let mut stored = [0; 24];
        decompress(&encoded, &mut stored).unwrap();
        assert_eq!(stored, expected);
        for len in 0..encoded.len() {
            assert!(decompress(&encoded[..len], &mut stored).is_err(), "{len} bytes");
        }
    }
}
