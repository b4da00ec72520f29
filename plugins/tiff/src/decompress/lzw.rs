//! LZW (TIFF 6.0 section 13), and the older form with the other bit order.
//!
//! A code stands for bytes that have been written before, so the table holds places in the output and no
//! bytes: the string of a new code is the one of the code before and the byte that follows it.

use iiphost_plugin_api::DecodeError;

use super::too_short;

const CLEAR: usize = 256;
const END: usize = 257;
const FIRST_FREE: usize = 258;

/// Codes have 9 to 12 bits.
const MIN_BITS: u32 = 9;
const MAX_BITS: u32 = 12;

/// Strings up to this length are copied in one piece, with what lies behind them.
const PIECE: usize = 16;

/// The bytes that codes below 256 stand for, with room behind the last one for a piece.
static LITERALS: [u8; CLEAR + PIECE] = {
    let mut literals = [0; CLEAR + PIECE];
    let mut value = 0;
    while value < CLEAR {
        literals[value] = value as u8;
        value += 1;
    }
    literals
};

/// The strings of all codes, used again for each block.
pub(super) struct Lzw {
    /// Where the string of a code is in the output, and its length; of codes below 256 in [`LITERALS`].
    strings: Box<[(u32, u32)]>,
}

/// Whether a block has the older form.
///
/// A stream starts with the clear code, 256 in nine bits: 80 00 with the high bit first. Writers from before
/// TIFF 6.0 stored the low bit first, which shows as 00 01, and widened codes one code later.
pub(crate) fn has_low_bit_first(encoded: &[u8]) -> bool {
    encoded.first() == Some(&0) && encoded.get(1).is_some_and(|second| second & 1 == 1)
}

impl Default for Lzw {
    fn default() -> Self {
        Self {
            strings: (0..1 << MAX_BITS).map(|code| (code, 1)).collect(),
        }
    }
}

impl Lzw {
    pub(super) fn decompress(&mut self, encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
        if u32::try_from(stored.len()).is_err() {
            return Err(DecodeError::limit("an LZW block of more than 4 GB"));
        }
        if has_low_bit_first(encoded) {
            self.run(LowFirst(Bits::new(encoded)), 0, stored)
        } else {
            self.run(HighFirst(Bits::new(encoded)), 1, stored)
        }
    }

    /// Decodes until `out` is full. Codes get wider `early` codes before the table needs it.
    fn run(&mut self, mut codes: impl Codes, early: usize, out: &mut [u8]) -> Result<(), DecodeError> {
        let corrupt = || DecodeError::format("corrupt LZW data");
        let strings = &mut self.strings;
        let mut next = FIRST_FREE;
        let mut bits = MIN_BITS;
        // The string before the current one, if there is one since the table was cleared.
        let mut last: Option<(usize, usize)> = None;
        let mut done = 0;
        while done < out.len() {
            let Some(code) = codes.next(bits) else {
                return Err(too_short(done, out.len()));
            };
            if code == CLEAR {
                (next, bits, last) = (FIRST_FREE, MIN_BITS, None);
                continue;
            }
            if code == END {
                return Err(too_short(done, out.len()));
            }
            // The new code is that of the string before with the first byte of this one, which is written
            // right behind it. Writers may go on after the table is full.
            if let Some((start, len)) = last
                && let Some(string) = strings.get_mut(next)
            {
                *string = (start as u32, len as u32 + 1);
                next += 1;
                if next + early >= 1 << bits && bits < MAX_BITS {
                    bits += 1;
                }
            }
            if code >= next {
                return Err(corrupt());
            }
            let (start, len) = strings[code];
            let (start, mut len) = (start as usize, len as usize);
            // Short strings in one piece, whether of one byte or written before: which it is cannot be foreseen,
            // and neither can a branch on it.
            let source: &[u8] = if code < CLEAR { &LITERALS } else { out };
            let piece = source
                .get(start..)
                .and_then(<[u8]>::first_chunk::<PIECE>)
                .copied();
            let place = out.get_mut(done..).and_then(<[u8]>::first_chunk_mut::<PIECE>);
            match (piece, place) {
                // Bytes behind the string are written again by the next ones.
                (Some(piece), Some(place)) if len <= PIECE && (code < CLEAR || start + len <= done) => {
                    *place = piece
                }
                _ if code < CLEAR => out[done] = code as u8,
                _ => {
                    len = len.min(out.len() - done);
                    copy(out, start, done, len);
                }
            }
            last = Some((done, len));
            done += len;
        }
        Ok(())
    }
}

/// Copies `len` bytes from `start` to `to`, behind it; the string may reach into itself by one byte, as
/// that of the code just made does.
fn copy(out: &mut [u8], start: usize, to: usize, len: usize) {
    if start + len <= to {
        out.copy_within(start..start + len, to);
        return;
    }
    for idx in 0..len {
        out[to + idx] = out[start + idx];
    }
}

/// Codes one after the other.
trait Codes {
    /// The next code of so many bits, `None` at the end of the data.
    fn next(&mut self, bits: u32) -> Option<usize>;
}

/// Bytes and the bits that were taken from them but not yet used.
struct Bits<'e> {
    rest: &'e [u8],
    waiting: u64,
    count: u32,
}

impl<'e> Bits<'e> {
    fn new(rest: &'e [u8]) -> Self {
        Self {
            rest,
            waiting: 0,
            count: 0,
        }
    }
}

/// The highest bit of a byte comes first.
struct HighFirst<'e>(Bits<'e>);

impl Codes for HighFirst<'_> {
    #[inline]
    fn next(&mut self, bits: u32) -> Option<usize> {
        let Bits { rest, waiting, count } = &mut self.0;
        if *count < bits {
            if let Some((bytes, after)) = rest.split_first_chunk::<4>() {
                *waiting = *waiting << 32 | u64::from(u32::from_be_bytes(*bytes));
                (*count, *rest) = (*count + 32, after);
            } else {
                while let Some((&byte, after)) = rest.split_first() {
                    *waiting = *waiting << 8 | u64::from(byte);
                    (*count, *rest) = (*count + 8, after);
                }
            }
            if *count < bits {
                return None;
            }
        }
        *count -= bits;
        Some((*waiting >> *count) as usize & ((1 << bits) - 1))
    }
}

/// The lowest bit of a byte comes first.
struct LowFirst<'e>(Bits<'e>);

impl Codes for LowFirst<'_> {
    #[inline]
    fn next(&mut self, bits: u32) -> Option<usize> {
        let Bits { rest, waiting, count } = &mut self.0;
        while *count < bits {
            let (&byte, after) = rest.split_first()?;
            *waiting |= u64::from(byte) << *count;
            (*count, *rest) = (*count + 8, after);
        }
        let code = *waiting as usize & ((1 << bits) - 1);
        *waiting >>= bits;
        *count -= bits;
        Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weezl::BitOrder;

    /// As the encoder of another library writes them, in both forms.
    fn encoded(bytes: &[u8]) -> [Vec<u8>; 2] {
        [
            weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8)
                .encode(bytes)
                .unwrap(),
            weezl::encode::Encoder::new(BitOrder::Lsb, 8)
                .encode(bytes)
                .unwrap(),
        ]
    }

    #[test]
    fn both_bit_orders_are_read() {
        let bytes: Vec<u8> = (0..60_000_u32).map(|i| (i * i / 77) as u8).collect();
        let [new, old] = encoded(&bytes);
        assert_eq!(old[..2], [0, bytes[0] << 1 | 1]);
        let mut codec = Lzw::default();
        for encoded in [&new, &old, &new] {
            let mut stored = vec![0; bytes.len()];
            codec.decompress(encoded, &mut stored).unwrap();
            assert!(stored == bytes);
            // More rows than the block has are cut.
            codec.decompress(encoded, &mut stored[..50_000]).unwrap();
            let mut longer = vec![0; bytes.len() + 1];
            let error = codec.decompress(encoded, &mut longer).unwrap_err();
            assert_eq!(error.message(), "60000 bytes after decompression, expected 60001");
            assert!(
                codec
                    .decompress(&encoded[..encoded.len() / 2], &mut stored)
                    .is_err()
            );
        }
        assert!(codec.decompress(&[], &mut [0; 4]).is_err());
    }

    #[test]
    fn codes_that_do_not_exist_yet_are_refused() {
        // Clear, then 300 of nine bits.
        let mut codec = Lzw::default();
        for encoded in [[0x80, 0x4b, 0, 0, 0], [0x80, 0x40, 0x80, 0, 0]] {
            let error = codec.decompress(&encoded, &mut [0; 40]).unwrap_err();
            assert_eq!(error.message(), "corrupt LZW data");
        }
        // Without the clear code at the start, as some writers do.
        codec.decompress(&[0x20, 0x90, 0x00], &mut [0; 2]).unwrap();
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(
            pieces in prop::collection::vec((any::<u8>(), 1..600_usize, 1..7_u8), 1..40),
        ) {
            // Runs, and repeated short patterns: strings that reach into themselves.
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|&(value, len, period)| {
                    (0..len).map(move |i| value.wrapping_add((i % usize::from(period)) as u8))
                })
                .collect();
            let mut codec = Lzw::default();
            for encoded in encoded(&bytes) {
                let mut stored = vec![0; bytes.len()];
                codec.decompress(&encoded, &mut stored).unwrap();
                prop_assert!(stored == bytes);
            }
        }

        #[test]
        fn any_bytes_end_in_an_error_or_in_samples(
            encoded in prop::collection::vec(any::<u8>(), 0..300),
            len in 0..5000_usize,
        ) {
            let _ = Lzw::default().decompress(&encoded, &mut vec![0; len]);
            let low_first = [&[0, 1], &encoded[..]].concat();
            let _ = Lzw::default().decompress(&low_first, &mut vec![0; len]);
        }
    }
}
