//! Bits of packet headers (ISO/IEC 15444-1 B.10).

use iiphost_plugin_api::{ByteSource, DecodeError};

use super::Declined;

/// Bytes fetched at once.
const WINDOW_BYTES: usize = 16 << 10;

/// The bytes of one tile-part, read forward with leaps.
pub(crate) struct PartReader<'s> {
    source: &'s dyn ByteSource,
    position: u64,
    end: u64,
    window: Vec<u8>,
    /// The next byte in the window.
    at: usize,
    /// Why a read failed, which is told apart from bytes that are not there.
    pub(crate) failure: Option<DecodeError>,
}

impl<'s> PartReader<'s> {
    /// Reads from `start` to `end`, counted from the start of the source.
    pub(crate) fn new(source: &'s dyn ByteSource, start: u64, end: u64) -> Self {
        Self {
            source,
            position: start,
            end,
            window: Vec::new(),
            at: 0,
            failure: None,
        }
    }

    /// Goes on with another part.
    pub(crate) fn restart(&mut self, start: u64, end: u64) {
        self.window.clear();
        self.at = 0;
        (self.position, self.end) = (start, end);
    }

    /// Where the next byte lies.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes left of the part.
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Declined> {
        if self.at == self.window.len() {
            self.refill()?;
        }
        let byte = self
            .window
            .get(self.at)
            .copied()
            .ok_or(Declined("a packet header cut off"))?;
        self.at += 1;
        self.position += 1;
        Ok(byte)
    }

    /// The next two bytes, which stay the next ones.
    pub(crate) fn peek(&mut self) -> Result<Option<[u8; 2]>, Declined> {
        if self.left() < 2 {
            return Ok(None);
        }
        if self.at + 2 > self.window.len() {
            self.refill()?;
        }
        Ok(self
            .window
            .get(self.at..self.at + 2)
            .and_then(|two| two.try_into().ok()))
    }

    /// Leaps over bytes that are there.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Declined> {
        if count > self.left() {
            return Err(Declined("a packet that ends behind its tile-part"));
        }
        self.position += count;
        match usize::try_from(count)
            .ok()
            .filter(|&n| n <= self.window.len() - self.at)
        {
            Some(count) => self.at += count,
            None => {
                self.window.clear();
                self.at = 0;
            }
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), Declined> {
        // At most the constant.
        let len = self.left().min(WINDOW_BYTES as u64) as usize;
        self.window.resize(len, 0);
        self.at = 0;
        if let Err(error) = self.source.read_exact_at(self.position, &mut self.window) {
            self.window.clear();
            self.failure = Some(error);
            return Err(Declined("bytes that cannot be read"));
        }
        Ok(())
    }
}

/// The bits of one packet header: after a byte of ones comes one of seven bits (B.10.1).
pub(crate) struct HeaderBits<'r, 's> {
    reader: &'r mut PartReader<'s>,
    byte: u8,
    left: u32,
}

impl<'r, 's> HeaderBits<'r, 's> {
    /// From the next byte on.
    pub(crate) fn new(reader: &'r mut PartReader<'s>) -> Self {
        Self {
            reader,
            byte: 0,
            left: 0,
        }
    }

    /// The next bit.
    pub(crate) fn bit(&mut self) -> Result<bool, Declined> {
        if self.left == 0 {
            self.left = if self.byte == 0xff { 7 } else { 8 };
            self.byte = self.reader.byte()?;
        }
        self.left -= 1;
        Ok(self.byte >> self.left & 1 != 0)
    }

    /// A number of so many bits, at most 32.
    pub(crate) fn number(&mut self, bits: u32) -> Result<u32, Declined> {
        let mut number = 0;
        for _ in 0..bits {
            number = number << 1 | u32::from(self.bit()?);
        }
        Ok(number)
    }

    /// Ones up to the next zero (B.10.7.1).
    pub(crate) fn ones(&mut self) -> Result<u32, Declined> {
        let mut count = 0;
        while self.bit()? {
            count += 1;
            if count > 32 {
                return Err(Declined("lengths of more than 32 bits"));
            }
        }
        Ok(count)
    }

    /// A number of coding passes (Table B.4).
    pub(crate) fn passes(&mut self) -> Result<u32, Declined> {
        if !self.bit()? {
            return Ok(1);
        }
        if !self.bit()? {
            return Ok(2);
        }
        match self.number(2)? {
            3 => match self.number(5)? {
                31 => Ok(37 + self.number(7)?),
                more => Ok(6 + more),
            },
            more => Ok(3 + more),
        }
    }

    /// Ends the header at a whole byte.
    pub(crate) fn finish(self) -> Result<(), Declined> {
        if self.byte == 0xff {
            self.reader.byte()?;
        }
        Ok(())
    }
}
