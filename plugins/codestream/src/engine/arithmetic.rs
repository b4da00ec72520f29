//! The arithmetic decoder (ISO/IEC 15444-1 Annex C) and the bits that bypass it (D.6).

/// A state of the probability estimation (Table C.2) with the symbol that is more probable in it: twice the row of the
/// table, plus that symbol.
#[derive(Clone, Copy)]
struct State {
    /// `Qe`.
    estimate: u32,
    /// After the more probable symbol.
    more: u8,
    /// After the less probable one; the switch of the symbols is in it.
    less: u8,
}

/// `Qe`, `NMPS`, `NLPS`, `SWITCH` of Table C.2.
const TABLE: [(u32, u8, u8, u8); 47] = [
    (0x5601, 1, 1, 1),
    (0x3401, 2, 6, 0),
    (0x1801, 3, 9, 0),
    (0x0ac1, 4, 12, 0),
    (0x0521, 5, 29, 0),
    (0x0221, 38, 33, 0),
    (0x5601, 7, 6, 1),
    (0x5401, 8, 14, 0),
    (0x4801, 9, 14, 0),
    (0x3801, 10, 14, 0),
    (0x3001, 11, 17, 0),
    (0x2401, 12, 18, 0),
    (0x1c01, 13, 20, 0),
    (0x1601, 29, 21, 0),
    (0x5601, 15, 14, 1),
    (0x5401, 16, 14, 0),
    (0x5101, 17, 15, 0),
    (0x4801, 18, 16, 0),
    (0x3801, 19, 17, 0),
    (0x3401, 20, 18, 0),
    (0x3001, 21, 19, 0),
    (0x2801, 22, 19, 0),
    (0x2401, 23, 20, 0),
    (0x2201, 24, 21, 0),
    (0x1c01, 25, 22, 0),
    (0x1801, 26, 23, 0),
    (0x1601, 27, 24, 0),
    (0x1401, 28, 25, 0),
    (0x1201, 29, 26, 0),
    (0x1101, 30, 27, 0),
    (0x0ac1, 31, 28, 0),
    (0x09c1, 32, 29, 0),
    (0x08a1, 33, 30, 0),
    (0x0521, 34, 31, 0),
    (0x0441, 35, 32, 0),
    (0x02a1, 36, 33, 0),
    (0x0221, 37, 34, 0),
    (0x0141, 38, 35, 0),
    (0x0111, 39, 36, 0),
    (0x0085, 40, 37, 0),
    (0x0049, 41, 38, 0),
    (0x0025, 42, 39, 0),
    (0x0015, 43, 40, 0),
    (0x0009, 44, 41, 0),
    (0x0005, 45, 42, 0),
    (0x0001, 45, 43, 0),
    (0x5601, 46, 46, 0),
];

/// Both symbols of every row; as long as seven bits count, so that a look-up needs no check.
static STATES: [State; 128] = {
    let none = State {
        estimate: 0x5601,
        more: 0,
        less: 0,
    };
    let mut states = [none; 128];
    let mut at = 0;
    while at < 2 * TABLE.len() {
        let (estimate, more, less, switch) = TABLE[at / 2];
        let symbol = (at % 2) as u8;
        states[at] = State {
            estimate,
            more: 2 * more + symbol,
            less: 2 * less + (symbol ^ switch),
        };
        at += 1;
    }
    states
};

/// The state of a context that starts in a row of Table C.2, with 0 as the more probable symbol.
pub(crate) const fn initial(row: u8) -> u8 {
    2 * row
}

/// Bytes that have to stand behind a segment: more than `ff8f`, which ends it (C.3.4).
pub(crate) const END: [u8; 2] = [0xff, 0xff];

/// Decodes one segment.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic<'a> {
    /// The segment, with [`END`] behind it.
    bytes: &'a [u8],
    at: usize,
    interval: u32,
    code: u32,
    shifts: u32,
}

impl<'a> Arithmetic<'a> {
    /// Starts a segment (INITDEC, C.3.5). `bytes` ends with [`END`].
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            at: 0,
            interval: 0x8000,
            code: u32::from(bytes.first().copied().unwrap_or(0xff)) << 16,
            shifts: 0,
        };
        decoder.take_byte();
        decoder.code <<= 7;
        decoder.shifts -= 7;
        decoder
    }

    /// BYTEIN (C.3.4).
    #[inline]
    fn take_byte(&mut self) {
        // At the first byte of the end the position stays.
        let (byte, next) = match self.bytes.get(self.at..self.at + 2) {
            Some(&[byte, next]) => (byte, u32::from(next)),
            _ => (0xff, 0xff),
        };
        if byte != 0xff {
            self.at += 1;
            self.code = self.code.wrapping_add(next << 8);
            self.shifts = 8;
        } else if next > 0x8f {
            self.code = self.code.wrapping_add(0xff00);
            self.shifts = 8;
        } else {
            self.at += 1;
            // A byte above 7f, which no encoder puts here, carries over; the code outgrows its interval, and all its bits.
            self.code = self.code.wrapping_add(next << 9);
            self.shifts = 7;
        }
    }

    /// RENORMD (C.3.3).
    #[inline(always)]
    fn renormalize(&mut self) {
        let mut wanted = self.interval.leading_zeros() - 16;
        while wanted > 0 {
            if self.shifts == 0 {
                self.take_byte();
            }
            let shift = wanted.min(self.shifts);
            self.interval <<= shift;
            self.code <<= shift;
            self.shifts -= shift;
            wanted -= shift;
        }
    }

    /// The next decision in a context (DECODE, C.3.2).
    #[inline(always)]
    pub(crate) fn decide(&mut self, context: &mut u8) -> u32 {
        let state = &STATES[usize::from(*context & 127)];
        let symbol = u32::from(*context & 1);
        self.interval -= state.estimate;
        if self.code >> 16 < state.estimate {
            let is_more = self.interval < state.estimate;
            *context = if is_more { state.more } else { state.less };
            self.interval = state.estimate;
            self.renormalize();
            return symbol ^ u32::from(!is_more);
        }
        self.code = self.code.wrapping_sub(state.estimate << 16);
        if self.interval & 0x8000 != 0 {
            return symbol;
        }
        let is_less = self.interval < state.estimate;
        *context = if is_less { state.less } else { state.more };
        self.renormalize();
        symbol ^ u32::from(is_less)
    }
}

/// Bits of a segment that bypasses the arithmetic coder (D.6): after a byte of ones follow seven bits.
#[derive(Clone, Copy)]
pub(crate) struct Bypass<'a> {
    bytes: &'a [u8],
    at: usize,
    byte: u8,
    left: u32,
}

impl<'a> Bypass<'a> {
    /// Starts a segment. `bytes` ends with [`END`].
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            byte: 0,
            left: 0,
        }
    }

    /// The next bit; ones behind the end.
    #[inline]
    pub(crate) fn bit(&mut self) -> u32 {
        if self.left == 0 {
            let next = self.bytes.get(self.at).copied().unwrap_or(0xff);
            let stuffed = self.byte == 0xff;
            if stuffed && next > 0x8f {
                self.left = 8;
            } else {
                self.byte = next;
                self.at += 1;
                self.left = if stuffed { 7 } else { 8 };
            }
        }
        self.left -= 1;
        u32::from(self.byte >> self.left & 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_sequence_of_the_arithmetic_coder_is_decoded() {
        // ISO/IEC 14492 (JBIG2) H.2: the coder is the same, the sequence starts in row 0.
        let coded = [
            0x84, 0xc7, 0x3b, 0xfc, 0xe1, 0xa1, 0x43, 0x04, 0x02, 0x20, 0x00, 0x00, 0x41, 0x0d, 0xbb, 0x86,
            0xf4, 0x31, 0x7f, 0xff, 0x88, 0xff, 0x37, 0x47, 0x1a, 0xdb, 0x6a, 0xdf, 0xff, 0xac, 0xff, 0xff,
        ];
        let plain = [
            0x00, 0x02, 0x00, 0x51, 0x00, 0x00, 0x00, 0xc0, 0x03, 0x52, 0x87, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa,
            0x82, 0xc0, 0x20, 0x00, 0xfc, 0xd7, 0x9e, 0xf6, 0xbf, 0x7f, 0xed, 0x90, 0x4f, 0x46, 0xa3, 0xbf,
        ];
        let mut decoder = Arithmetic::new(&coded);
        let mut context = initial(0);
        for byte in plain {
            let found = (0..8).fold(0, |byte, _| byte << 1 | decoder.decide(&mut context));
            assert_eq!(found, byte);
        }
    }

    #[test]
    fn a_segment_without_bytes_gives_decisions_for_ever() {
        let mut decoder = Arithmetic::new(&END);
        let mut context = initial(46);
        for _ in 0..10_000 {
            decoder.decide(&mut context);
        }
        let mut bypass = Bypass::new(&END);
        assert!((0..1000).all(|_| bypass.bit() == 1));
    }

    #[test]
    fn seven_bits_follow_a_byte_of_ones() {
        let bytes = [0b1010_0000, 0xff, 0b0101_0101, 0x80, 0xff, 0xff];
        let mut bypass = Bypass::new(&bytes);
        let bits: Vec<u32> = (0..24).map(|_| bypass.bit()).collect();
        let expected = [
            1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1,
        ];
        assert_eq!(bits, expected);
    }
}
