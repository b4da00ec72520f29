//! Bits of entropy-coded data (T.81 F.2.2.5), read from a source.

use iiphost_plugin_api::{ByteSource, DecodeError};

use crate::segments::{EOI, RST0};

/// Bytes of the first read after a jump; most jumps need little.
const FIRST_READ: usize = 4096;

/// Bytes of later reads.
const MAX_READ: usize = 1 << 16;

/// A place between two bits of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BitPlace {
    /// Of the next byte to take bits from.
    pub(crate) offset: u64,
    /// Bits of the bytes before it that are not used yet, the next one on top, zeros below.
    bits: u64,
    count: u8,
    dry: bool,
}

impl BitPlace {
    /// The place before the first bit at `offset`.
    pub(crate) fn start(offset: u64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }
}

/// What was found where a restart marker is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// The expected marker.
    Expected,
    /// Another one; the data up to the next restart is missing or is taken for that of this one.
    Repaired,
    /// The end of the scan.
    End,
}

/// Bits taken out of a reader for a loop that has many uses of them, so that they stay in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits {
    /// The next one on top, zeros behind the last one.
    pub(crate) top: u64,
    /// How many there are; below 0 if more were used.
    count: i32,
}

impl Bits {
    /// Uses some, at most those a reader was asked for.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) {
        self.top <<= count;
        self.count -= count as i32;
    }
}

/// Reads bits up to the next marker, then zeros.
pub(crate) struct BitReader<'a> {
    source: &'a dyn ByteSource,
    window: Vec<u8>,
    window_start: u64,
    /// Next byte, in the window.
    next: usize,
    read_len: usize,
    bits: u64,
    count: u32,
    /// A marker or the end of the source is next.
    stopped: bool,
    dry: bool,
    /// Why bits lent out could not be filled up.
    failure: Option<DecodeError>,
}

impl<'a> BitReader<'a> {
    /// A reader at a place.
    pub(crate) fn new(source: &'a dyn ByteSource, place: BitPlace) -> Self {
        let mut reader = Self {
            source,
            window: Vec::new(),
            window_start: 0,
            next: 0,
            read_len: FIRST_READ,
            bits: 0,
            count: 0,
            stopped: false,
            dry: false,
            failure: None,
        };
        reader.go_to(place);
        reader
    }

    /// Goes on at another place.
    pub(crate) fn go_to(&mut self, place: BitPlace) {
        self.bits = place.bits;
        self.count = u32::from(place.count);
        self.dry = place.dry;
        self.stopped = false;
        match place.offset.checked_sub(self.window_start) {
            Some(at) if at <= self.window.len() as u64 => self.next = at as usize,
            _ => {
                self.window.clear();
                self.window_start = place.offset;
                self.next = 0;
                self.read_len = FIRST_READ;
            }
        }
    }

    /// Where the reader is.
    pub(crate) fn place(&self) -> BitPlace {
        BitPlace {
            offset: self.window_start + self.next as u64,
            bits: self.bits,
            count: self.count as u8,
            dry: self.dry,
        }
    }

    /// Whether more bits were used than there are before the next marker.
    #[inline]
    pub(crate) fn is_dry(&self) -> bool {
        self.dry
    }

    /// At least 32 bits, the next one on top; zeros follow where the data ends.
    ///
    /// # Errors
    /// `Io`.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<u64, DecodeError> {
        if self.count < 32 && !self.stopped {
            self.fill()?;
        }
        Ok(self.bits)
    }

    /// Uses up to 32 bits that were peeked at.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) {
        self.bits <<= count;
        match self.count.checked_sub(count) {
            Some(left) => self.count = left,
            None => {
                self.count = 0;
                self.dry = true;
            }
        }
    }

    /// The next `count` bits, at most 16, as a number.
    ///
    /// # Errors
    /// `Io`.
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> Result<u32, DecodeError> {
        if count == 0 {
            return Ok(0);
        }
        let bits = self.peek()?;
        self.skip(count);
        Ok((bits >> (64 - count)) as u32)
    }

    /// Lends the bits out; nothing else may be asked of the reader until they are back.
    #[inline]
    pub(crate) fn lend(&self) -> Bits {
        Bits {
            top: self.bits,
            count: self.count as i32,
        }
    }

    /// Fills bits lent out up to at least `least`, 32 at most; zeros follow where the data ends, and a failure is told
    /// when they come back.
    #[inline(always)]
    pub(crate) fn fill_up(&mut self, bits: Bits, least: u32) -> Bits {
        if bits.count >= least as i32 {
            return bits;
        }
        if let Some(word) = self
            .window
            .get(self.next..)
            .and_then(|rest| rest.first_chunk::<8>())
            .map(|bytes| u64::from_be_bytes(*bytes))
            && !has_ff(word)
            && bits.count >= 0
        {
            let count = bits.count as u32;
            let bytes = (64 - count) / 8;
            self.next += bytes as usize;
            let kept = word & (u64::MAX << (64 - 8 * bytes));
            return Bits {
                top: bits.top | kept >> count,
                count: (count + 8 * bytes) as i32,
            };
        }
        self.fill_slowly(bits)
    }

    #[cold]
    #[inline(never)]
    fn fill_slowly(&mut self, bits: Bits) -> Bits {
        if self.stopped || bits.count < 0 {
            return bits;
        }
        self.bits = bits.top;
        self.count = bits.count as u32;
        if let Err(error) = self.fill_by_bytes() {
            self.stopped = true;
            self.failure = Some(error);
        }
        self.lend()
    }

    /// Takes bits back.
    ///
    /// # Errors
    /// `Io` if filling them up failed.
    #[inline]
    pub(crate) fn give_back(&mut self, bits: Bits) -> Result<(), DecodeError> {
        self.bits = bits.top;
        self.count = bits.count.max(0) as u32;
        self.dry |= bits.count < 0;
        match self.failure.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn fill(&mut self) -> Result<(), DecodeError> {
        if let Some(bytes) = self
            .window
            .get(self.next..)
            .and_then(|rest| rest.first_chunk::<8>())
        {
            let word = u64::from_be_bytes(*bytes);
            if !has_ff(word) {
                let bytes = (64 - self.count) / 8;
                let kept = word & (u64::MAX << (64 - 8 * bytes));
                self.bits |= kept >> self.count;
                self.count += 8 * bytes;
                self.next += bytes as usize;
                return Ok(());
            }
        }
        self.fill_by_bytes()
    }

    fn fill_by_bytes(&mut self) -> Result<(), DecodeError> {
        while self.count <= 56 {
            let [first, second] = self.two_bytes()?;
            let byte = match (first, second) {
                // A stuffed zero (T.81 F.1.2.3).
                (Some(0xff), Some(0)) => {
                    self.next += 2;
                    0xff
                }
                (None, _) | (Some(0xff), _) => {
                    self.stopped = true;
                    return Ok(());
                }
                (Some(byte), _) => {
                    self.next += 1;
                    byte
                }
            };
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        Ok(())
    }

    /// The next two bytes without using them.
    fn two_bytes(&mut self) -> Result<[Option<u8>; 2], DecodeError> {
        if self.next + 2 > self.window.len() {
            self.slide()?;
        }
        Ok([
            self.window.get(self.next).copied(),
            self.window.get(self.next + 1).copied(),
        ])
    }

    /// Reads on, keeping what is not used yet.
    fn slide(&mut self) -> Result<(), DecodeError> {
        self.window.drain(..self.next.min(self.window.len()));
        self.window_start += self.next as u64;
        self.next = 0;
        let kept = self.window.len();
        self.window.resize(kept + self.read_len, 0);
        let count = self
            .source
            .read_at(self.window_start + kept as u64, &mut self.window[kept..])?;
        self.window.truncate(kept + count);
        self.read_len = (2 * self.read_len).min(MAX_READ);
        Ok(())
    }

    /// Goes to the next marker and gives its second byte; the end of the source is an end of image.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn find_marker(&mut self) -> Result<u8, DecodeError> {
        self.bits = 0;
        self.count = 0;
        loop {
            match self.two_bytes()? {
                [Some(0xff), Some(0)] => self.next += 2,
                [Some(0xff), Some(0xff)] => self.next += 1,
                [Some(0xff), Some(code)] => {
                    self.stopped = true;
                    return Ok(code);
                }
                [None, _] | [Some(0xff), None] => {
                    self.stopped = true;
                    return Ok(EOI);
                }
                [Some(_), _] => self.next += self.before_ff().max(1),
            }
        }
    }

    /// How many of the next bytes in the window are certainly not 0xff.
    fn before_ff(&self) -> usize {
        let rest = self.window.get(self.next..).unwrap_or_default();
        let words = rest.chunks_exact(8).take_while(|word| {
            word.first_chunk()
                .is_some_and(|word| !has_ff(u64::from_be_bytes(*word)))
        });
        let skipped = 8 * words.count();
        let tail = &rest[skipped..];
        skipped + tail.iter().position(|&byte| byte == 0xff).unwrap_or(tail.len())
    }

    /// Goes behind the marker that [`find_marker`](Self::find_marker) found.
    pub(crate) fn skip_marker(&mut self) {
        self.next = (self.next + 2).min(self.window.len());
        self.stopped = false;
        self.dry = false;
    }

    /// Goes behind the restart marker that is due, number `expected` of 8. If it is missing, what is there
    /// decides, as in every decoder (T.81 leaves it open): one of the next two means that data was lost, one of the
    /// two before it that some was doubled.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn restart(&mut self, expected: u8) -> Result<Restart, DecodeError> {
        let mut found = Restart::Expected;
        loop {
            let code = self.find_marker()?;
            let ahead = match code {
                RST0..=0xd7 => (code - RST0).wrapping_sub(expected) & 7,
                // Codes below SOF0 mean nothing: go past them.
                1..=0xbf => {
                    self.skip_marker();
                    found = Restart::Repaired;
                    continue;
                }
                _ => {
                    self.dry = true;
                    return Ok(Restart::End);
                }
            };
            match ahead {
                0 => {
                    self.skip_marker();
                    return Ok(found);
                }
                1 | 2 => {
                    self.dry = true;
                    return Ok(Restart::Repaired);
                }
                6 | 7 => {
                    self.skip_marker();
                    found = Restart::Repaired;
                }
                _ => {
                    self.skip_marker();
                    return Ok(Restart::Repaired);
                }
            }
        }
    }
}

/// The first `count` of `bits` as a number.
#[inline]
pub(crate) fn top(bits: u64, count: u32) -> u32 {
    if count == 0 {
        0
    } else {
        (bits >> (64 - count)) as u32
    }
}

/// Whether one of the bytes is 0xff.
#[inline]
fn has_ff(word: u64) -> bool {
    let zeros = !word;
    zeros.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

/// The number that `count` bits stand for (T.81 figure F.12).
#[inline]
pub(crate) fn extend(value: u32, count: u32) -> i32 {
    if count > 0 && value < 1 << (count - 1) {
        value as i32 - (1 << count) + 1
    } else {
        value as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_stop_at_a_marker_and_go_on_behind_it() {
        let data = b"\xa5\xff\0\x01\xff\xd3\x80".to_vec();
        let mut reader = BitReader::new(&data, BitPlace::start(0));
        assert_eq!(reader.take(4).unwrap(), 0xa);
        assert_eq!(reader.take(16).unwrap(), 0x5ff0);
        assert_eq!(reader.take(4).unwrap(), 1);
        assert!(!reader.is_dry());
        assert_eq!(reader.take(3).unwrap(), 0);
        assert!(reader.is_dry());
        assert_eq!(reader.restart(3).unwrap(), Restart::Expected);
        assert!(!reader.is_dry());
        assert_eq!(reader.take(8).unwrap(), 0x80);
        assert_eq!(reader.restart(4).unwrap(), Restart::End);
    }

    #[test]
    fn wrong_restart_markers_are_worked_around() {
        let find = |data: &[u8], expected| {
            let data = data.to_vec();
            let mut reader = BitReader::new(&data, BitPlace::start(0));
            let found = reader.restart(expected).unwrap();
            (found, reader.is_dry(), reader.place().offset)
        };
        assert_eq!(find(b"ab\xff\0\xff\xd4c", 4), (Restart::Expected, false, 6));
        assert_eq!(find(b"\xff\xd5c", 4), (Restart::Repaired, true, 0));
        assert_eq!(find(b"\xff\xd3c\xff\xd4", 4), (Restart::Repaired, false, 5));
        assert_eq!(find(b"\xff\xd0c", 4), (Restart::Repaired, false, 2));
        assert_eq!(find(b"\xff\x05\xff\xd4", 4), (Restart::Repaired, false, 4));
        assert_eq!(find(b"\xff\xda", 4), (Restart::End, true, 0));
        assert_eq!(find(b"abc", 4), (Restart::End, true, 3));
    }

    proptest! {
        #[test]
        fn a_place_kept_gives_the_same_bits_again(
            mut data in proptest::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..300),
            before in proptest::collection::vec(1u32..=16, 0..60),
            after in proptest::collection::vec(1u32..=16, 1..60),
        ) {
            // Every 0xff is followed by a stuffed zero, so that nothing is a marker.
            data = data.iter().flat_map(|&b| if b == 0xff { vec![b, 0] } else { vec![b] }).collect();
            let mut reader = BitReader::new(&data, BitPlace::start(0));
            for &count in &before {
                reader.take(count).unwrap();
            }
            let place = reader.place();
            let first: Vec<u32> = after.iter().map(|&count| reader.take(count).unwrap()).collect();
            let dry = reader.is_dry();
            let mut other = BitReader::new(&data, place);
            let second: Vec<u32> = after.iter().map(|&count| other.take(count).unwrap()).collect();
            prop_assert_eq!(&first, &second);
            prop_assert_eq!(dry, other.is_dry());
            reader.go_to(place);
            let third: Vec<u32> = after.iter().map(|&count| reader.take(count).unwrap()).collect();
            prop_assert_eq!(&first, &third);
        }

        #[test]
        fn ff_is_found_in_any_byte(bytes in any::<[u8; 8]>(), at in 0usize..8) {
            let mut with = bytes;
            with[at] = 0xff;
            prop_assert!(has_ff(u64::from_be_bytes(with)));
            prop_assert_eq!(has_ff(u64::from_be_bytes(bytes)), bytes.contains(&0xff));
        }
    }
}
