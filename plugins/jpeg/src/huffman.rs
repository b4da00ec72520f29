//! Huffman tables (T.81 annex C and F.2.2.3).

use std::sync::OnceLock;

use iiphost_plugin_api::DecodeError;

use crate::bits::{extend, top};

/// Coefficients of a block.
pub(crate) const BLOCK_COEFFICIENTS: u32 = 64;

/// Bits looked at to go past several AC codes in one step. Two tables of that size stay in the fastest cache.
pub(crate) const STRIDE_BITS: u32 = 12;

/// Bits looked at to find a DC difference in one step.
pub(crate) const DIFFERENCE_BITS: u32 = 10;

/// Codes up to this many bits are found in one step.
const FAST_BITS: u32 = 9;

/// A code and its length in bits; a length of 0 means the symbol has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) bits: u16,
    pub(crate) len: u8,
}

/// Most bits of a code and its value.
pub(crate) const CODE_BITS: u32 = 31;

/// A Huffman table, for reading and for writing.
pub(crate) struct Huffman {
    counts: [u8; 16],
    symbols: Vec<u8>,
    /// By the next bits: length of the code and symbol, 0 if the code is longer or does not exist.
    fast: Box<[u16; 1 << FAST_BITS]>,
    /// By length - 1: the largest code of that length, -1 without one, and what to add to get the symbol's place.
    slow: [(i32, i32); 16],
    codes: Box<[Code; 256]>,
    /// By the next bits; made by the first walk, as opening a file needs none.
    strides: OnceLock<Box<[Stride; 1 << STRIDE_BITS]>>,
    differences: OnceLock<Box<[Difference; 1 << DIFFERENCE_BITS]>>,
}

/// AC codes that follow each other, with their value bits (T.81 F.1.2.2): bits 0 to 3 are their length in bits
/// together, bits 4 to 10 the coefficients they stand for, the end of a block counted as one; bit 15 says that they
/// end the block. Where not even one fits, the coefficients are more than a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stride(u16);

impl Stride {
    const NONE: Self = Self(127 << 4);

    /// Length in bits.
    #[inline]
    pub(crate) fn len(self) -> u32 {
        u32::from(self.0 & 15)
    }

    /// Where in its block a walk is behind these codes that was before coefficient `next`: below
    /// [`BLOCK_COEFFICIENTS`] inside, or as [`is_end`](Self::is_end) says.
    #[inline]
    pub(crate) fn behind(self, next: u32) -> u32 {
        next + u32::from(self.0 >> 4)
    }

    /// Whether a place that is not inside a block is its end. If not, the block may end before the last one of these
    /// codes, which then are not what they seem.
    #[inline]
    pub(crate) fn is_end(place: u32) -> bool {
        place & 0x7ff <= BLOCK_COEFFICIENTS
    }
}

/// A DC code with its value bits: their length, 0 if they do not fit, and the difference they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) value: i16,
    pub(crate) len: u8,
}

/// A table of strides.
pub(crate) type Strides = [Stride; 1 << STRIDE_BITS];

/// A table of differences.
pub(crate) type Differences = [Difference; 1 << DIFFERENCE_BITS];

/// The stride on top of `bits`.
#[inline]
pub(crate) fn stride(strides: &Strides, bits: u64) -> Stride {
    strides[(bits >> (64 - STRIDE_BITS)) as usize]
}

/// The difference on top of `bits`.
#[inline]
pub(crate) fn difference(differences: &Differences, bits: u64) -> Difference {
    differences[(bits >> (64 - DIFFERENCE_BITS)) as usize]
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
            strides: OnceLock::new(),
            differences: OnceLock::new(),
        })
    }

    /// What the next bits are if they are AC codes.
    pub(crate) fn strides(&self) -> &Strides {
        self.strides.get_or_init(|| {
            let mut strides = Box::new([Stride::NONE; 1 << STRIDE_BITS]);
            for (number, stride) in (0_u64..).zip(strides.iter_mut()) {
                *stride = self.make_stride(number << (64 - STRIDE_BITS));
            }
            strides
        })
    }

    /// The codes that lie within the first bits of `bits` whole.
    fn make_stride(&self, mut bits: u64) -> Stride {
        let (mut used, mut coefficients) = (0, 0);
        let mut ends = false;
        while let Some((len, symbol)) = self.find(bits) {
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            ends = size == 0 && run < 15;
            let more = if ends { 1 } else { run + 1 };
            if used + len + size > STRIDE_BITS || coefficients + more > BLOCK_COEFFICIENTS {
                ends = false;
                break;
            }
            used += len + size;
            coefficients += more;
            if ends {
                break;
            }
            bits <<= len + size;
        }
        match used {
            0 => Stride::NONE,
            _ => Stride((used | coefficients << 4 | u32::from(ends) << 15) as u16),
        }
    }

    /// What the next bits are if they are a DC code.
    pub(crate) fn differences(&self) -> &Differences {
        self.differences.get_or_init(|| {
            let mut differences = Box::new([Difference::default(); 1 << DIFFERENCE_BITS]);
            for (number, difference) in (0_u64..).zip(differences.iter_mut()) {
                let bits = number << (64 - DIFFERENCE_BITS);
                if let Some((len, size)) = self.find(bits)
                    && len + u32::from(size) <= DIFFERENCE_BITS
                {
                    let size = u32::from(size);
                    *difference = Difference {
                        value: extend(top(bits << len, size), size) as i16,
                        len: (len + size) as u8,
                    };
                }
            }
            differences
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
    fn a_stride_is_the_codes_it_is_made_of() {
        // A code of two bits for 16 zeros, so that a block can be full before the bits are used up.
        let zeros = Huffman::new([0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0xf0, 0]).unwrap();
        for table in [standard::ac(0).unwrap(), standard::ac(1).unwrap(), zeros] {
            for number in 0..1_u64 << STRIDE_BITS {
                let bits = number << (64 - STRIDE_BITS);
                let stride = stride(table.strides(), bits);
                for start in 1..BLOCK_COEFFICIENTS {
                    let behind = stride.behind(start);
                    if behind >= BLOCK_COEFFICIENTS && !Stride::is_end(behind) {
                        continue;
                    }
                    let (mut next, mut used) = (start, 0);
                    while next < BLOCK_COEFFICIENTS && used < stride.len() {
                        let (len, symbol) = table.find(bits << used).unwrap();
                        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                        used += len + size;
                        next = if size == 0 && run < 15 {
                            BLOCK_COEFFICIENTS
                        } else {
                            next + run + 1
                        };
                    }
                    assert_eq!(used, stride.len(), "{number:012b} from {start}");
                    assert_eq!(next.min(64), behind.min(64), "{number:012b} from {start}");
                }
            }
            // Of the shortest codes more than one is taken.
            let several = table
                .strides()
                .iter()
                .filter(|stride| stride.behind(0) & 0x7ff > 32);
            assert!(table.symbols.len() > 2 || several.count() > 0);
        }
    }

    #[test]
    fn a_difference_is_the_value_behind_its_code() {
        let table = standard::dc(0).unwrap();
        for number in 0..1_u64 << DIFFERENCE_BITS {
            let bits = number << (64 - DIFFERENCE_BITS);
            let found = difference(table.differences(), bits);
            let whole = table
                .find(bits)
                .filter(|&(len, size)| len + u32::from(size) <= DIFFERENCE_BITS);
            let Some((len, size)) = whole else {
                assert_eq!(found.len, 0);
                continue;
            };
            let size = u32::from(size);
            assert_eq!(u32::from(found.len), len + size);
            // T.81 table F.1: negative differences are stored less one, in as many bits.
            let stored = top(bits << len, size) as i32;
            let first = if size == 0 { 0 } else { 1 << (size - 1) };
            let value = if stored >= first {
                stored
            } else {
                stored + 1 - (1 << size)
            };
            assert_eq!(i32::from(found.value), value);
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
