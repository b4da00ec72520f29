//! Huffman tables (T.81 annex C and F.2.2.3).

use iiphost_plugin_api::DecodeError;

/// Codes up to this many bits are found in one step.
const FAST_BITS: u32 = 9;

/// A code and its length in bits; a length of 0 means the symbol has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) bits: u16,
    pub(crate) len: u8,
}

/// A Huffman table, for reading and for writing.
pub(crate) struct Huffman {
    counts: [u8; 16],
    symbols: Vec<u8>,
    /// By the next bits: length of the code and symbol, 0 if the code is longer or does not exist.
    fast: Box<[u16; 1 << FAST_BITS]>,
    /// By length - 1: the largest code of that length, -1 without one, and what to add to get the symbol's place.
    slow: [(i32, i32); 16],
    codes: Box<[Code; 256]>,
}

impl Huffman {
    /// A table from the number of codes of each length, 1 to 16 bits, and their symbols in order.
    ///
    /// # Errors
    /// `Format` if there are more codes than the lengths allow, or not as many symbols.
    pub(crate) fn new(counts: [u8; 16], symbols: &[u8]) -> Result<Self, DecodeError> {
        let broken = || DecodeError::format("a Huffman table of the JPEG is impossible");
        let mut fast = Box::new([0; 1 << FAST_BITS]);
        let mut codes = Box::new([Code::default(); 256]);
        let mut slow = [(-1, 0); 16];
        let (mut code, mut place) = (0_u32, 0_usize);
        for ((len, &count), slow) in (1_u32..).zip(&counts).zip(&mut slow) {
            let group = symbols
                .get(place..place + usize::from(count))
                .ok_or_else(broken)?;
            // No code is all ones (T.81 C.2).
            if count > 0 && code + u32::from(count) >= 1 << len {
                return Err(broken());
            }
            let offset = place as i32 - code as i32;
            for &symbol in group {
                codes[usize::from(symbol)] = Code {
                    bits: code as u16,
                    len: len as u8,
                };
                if let Some(free) = FAST_BITS.checked_sub(len) {
                    let start = (code << free) as usize;
                    let entry = (len as u16) << 8 | u16::from(symbol);
                    fast[start..start + (1 << free)].fill(entry);
                }
                code += 1;
            }
            if count > 0 {
                *slow = (code as i32 - 1, offset);
            }
            place += usize::from(count);
            code <<= 1;
        }
        if place != symbols.len() {
            return Err(broken());
        }
        Ok(Self {
            counts,
            symbols: symbols.to_vec(),
            fast,
            slow,
            codes,
        })
    }

    /// The length in bits of the code at the top of `bits`, and its symbol; `None` if there is no such code.
    #[inline]
    pub(crate) fn find(&self, bits: u64) -> Option<(u32, u8)> {
        let entry = self.fast[(bits >> (64 - FAST_BITS)) as usize];
        if entry != 0 {
            return Some((u32::from(entry >> 8), entry as u8));
        }
        self.find_long(bits)
    }

    #[cold]
    fn find_long(&self, bits: u64) -> Option<(u32, u8)> {
        for (len, &(max, offset)) in (1_u32..).zip(&self.slow) {
            let code = (bits >> (64 - len)) as i32;
            if code <= max {
                let place = usize::try_from(code + offset).ok()?;
                return self.symbols.get(place).map(|&symbol| (len, symbol));
            }
        }
        None
    }

    /// The code of a symbol.
    #[inline]
    pub(crate) fn code(&self, symbol: u8) -> Code {
        self.codes[usize::from(symbol)]
    }

    /// Largest symbol.
    pub(crate) fn max_symbol(&self) -> u8 {
        self.symbols.iter().copied().max().unwrap_or(0)
    }

    /// Adds the table to a DHT payload (T.81 B.2.4.2), `class` 0 for DC and 1 for AC.
    pub(crate) fn write(&self, class: u8, number: u8, payload: &mut Vec<u8>) {
        payload.push(class << 4 | number);
        payload.extend(self.counts);
        payload.extend(&self.symbols);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::standard;

    #[test]
    fn every_symbol_is_found_by_its_code() {
        for table in [standard::ac(0), standard::ac(1), standard::dc(0), standard::dc(1)] {
            let table = table.unwrap();
            for &symbol in &table.symbols {
                let code = table.code(symbol);
                let bits = u64::from(code.bits) << (64 - u32::from(code.len));
                assert_eq!(table.find(bits), Some((u32::from(code.len), symbol)));
                let tail = u64::MAX >> code.len;
                assert_eq!(table.find(bits | tail), Some((u32::from(code.len), symbol)));
            }
            // All ones are never a code (T.81 C.2).
            assert_eq!(table.find(u64::MAX), None);
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::new(counts, &[0, 1, 2]).is_err());
        counts[0] = 1;
        assert!(Huffman::new(counts, &[]).is_err());
        assert!(Huffman::new(counts, &[0, 1]).is_err());
        assert!(Huffman::new(counts, &[0]).is_ok());
        // After one code of one bit there is one of two bits; the other is all ones.
        counts[1] = 1;
        assert!(Huffman::new(counts, &[0, 1]).is_ok());
        counts[1] = 2;
        assert!(Huffman::new(counts, &[0, 1, 2]).is_err());
    }
}
