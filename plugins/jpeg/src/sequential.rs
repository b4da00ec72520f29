//! One scan of all components, coded sequentially (T.81 F.2): walking over its MCUs.

use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, DecodeError};

use crate::bits::{BitPlace, BitReader, Bits, Restart, extend, top};
use crate::frame::Frame;
use crate::huffman::{self, BLOCK_COEFFICIENTS, CODE_BITS, DIFFERENCE_BITS, Huffman, STRIDE_BITS, Stride};

/// Most components of a scan (T.81 B.2.3).
pub(crate) const MAX_COMPONENTS: usize = 4;

/// A component in the order of the scan.
pub(crate) struct ScanComponent {
    /// Its number in the frame.
    pub(crate) component: usize,
    /// Blocks in an MCU.
    pub(crate) blocks: u32,
    pub(crate) dc: Arc<Huffman>,
    pub(crate) ac: Arc<Huffman>,
}

/// The scan: how its data is coded and where it starts.
pub(crate) struct Scan {
    pub(crate) frame: Frame,
    pub(crate) components: Vec<ScanComponent>,
    /// MCUs between restart markers, 0 for none.
    pub(crate) restart_interval: u32,
    /// Where the entropy-coded data begins.
    pub(crate) data: u64,
}

impl Scan {
    /// MCUs of the scan. Sides of 65535 samples make at most 8192 x 8192.
    pub(crate) fn mcu_count(&self) -> u32 {
        self.frame.mcu_cols() * self.frame.mcu_rows()
    }
}

/// Takes what a walk finds. `slot` is the number of the component in the scan.
pub(crate) trait Sink {
    /// A block begins; its DC coefficient is `value`.
    fn dc(&mut self, slot: usize, value: i16);
    /// The next `len` bits of its AC coefficients are on top of `bits`: some codes with their values, 32 bits at
    /// most.
    fn ac(&mut self, slot: usize, bits: u64, len: u32);
    /// The rest of its coefficients are zero, though the data does not say so.
    fn end(&mut self, slot: usize);
}

/// Looks at nothing.
pub(crate) struct Skip;

impl Sink for Skip {
    #[inline]
    fn dc(&mut self, _slot: usize, _value: i16) {}
    #[inline]
    fn ac(&mut self, _slot: usize, _bits: u64, _len: u32) {}
    #[inline]
    fn end(&mut self, _slot: usize) {}
}

/// A place between two MCUs, with all that is needed to go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bits: BitPlace,
    /// DC coefficient of the last block of each component, in the order of the scan.
    pub(crate) dc: [i16; MAX_COMPONENTS],
    /// Number of the next MCU.
    pub(crate) mcu: u32,
    /// No data follows; the remaining MCUs are empty.
    pub(crate) ended: bool,
}

impl Place {
    /// The start of a scan.
    pub(crate) fn start(scan: &Scan) -> Self {
        Self {
            bits: BitPlace::start(scan.data),
            dc: [0; MAX_COMPONENTS],
            mcu: 0,
            ended: false,
        }
    }
}

/// Walks over the MCUs of a scan.
pub(crate) struct Walk<'a> {
    scan: &'a Scan,
    bits: BitReader<'a>,
    dc: [i16; MAX_COMPONENTS],
    mcu: u32,
    ended: bool,
    damaged: bool,
}

impl<'a> Walk<'a> {
    /// A walk from a place on.
    pub(crate) fn new(scan: &'a Scan, source: &'a dyn ByteSource, place: &Place) -> Self {
        Self {
            scan,
            bits: BitReader::new(source, place.bits),
            dc: place.dc,
            mcu: place.mcu,
            ended: place.ended,
            damaged: false,
        }
    }

    /// Goes on from another place.
    pub(crate) fn go_to(&mut self, place: &Place) {
        self.bits.go_to(place.bits);
        self.dc = place.dc;
        self.mcu = place.mcu;
        self.ended = place.ended;
    }

    /// Where the walk is.
    pub(crate) fn place(&self) -> Place {
        Place {
            bits: self.bits.place(),
            dc: self.dc,
            mcu: self.mcu,
            ended: self.ended,
        }
    }

    /// Number of the next MCU.
    pub(crate) fn mcu(&self) -> u32 {
        self.mcu
    }

    /// Whether some of the data walked over was missing or wrong.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether no data follows.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Walks over MCUs up to number `mcu`, looking at nothing.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn skip_to(&mut self, mcu: u32) -> Result<(), DecodeError> {
        while self.mcu < mcu {
            if self.ended {
                self.mcu = mcu;
                self.damaged = true;
                return Ok(());
            }
            self.step(&mut Skip)?;
        }
        Ok(())
    }

    /// Walks over the next MCU. Where data is missing its blocks are empty, which is mid-grey, as in every
    /// decoder; a wrong code ends its block.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn step<S: Sink>(&mut self, sink: &mut S) -> Result<(), DecodeError> {
        let interval = self.scan.restart_interval;
        if interval > 0 && self.mcu > 0 && self.mcu.is_multiple_of(interval) && !self.ended {
            self.dc = [0; MAX_COMPONENTS];
            match self.bits.restart(((self.mcu / interval - 1) & 7) as u8)? {
                Restart::Expected => {}
                Restart::Repaired => self.damaged = true,
                Restart::End => self.ended = true,
            }
        }
        self.mcu += 1;
        if self.ended || self.bits.is_dry() {
            self.damaged = true;
            // Without restart markers nothing can follow a dry place.
            self.ended |= interval == 0;
            for (slot, component) in self.scan.components.iter().enumerate() {
                for _ in 0..component.blocks {
                    sink.dc(slot, 0);
                    sink.end(slot);
                }
            }
            return Ok(());
        }
        let scan = self.scan;
        let mut bits = self.bits.lend();
        for (slot, component) in scan.components.iter().enumerate() {
            let (differences, strides) = (component.dc.differences(), component.ac.strides());
            for _ in 0..component.blocks {
                bits = self.bits.fill_up(bits, DIFFERENCE_BITS);
                let difference = huffman::difference(differences, bits.top);
                let value = if difference.len > 0 {
                    bits.skip(difference.len.into());
                    difference.value
                } else {
                    let (behind, value) = self.long_difference(bits, &component.dc);
                    bits = behind;
                    value
                };
                // Differences of a valid file never leave 16 bits; a broken one wraps, as in the codec.
                self.dc[slot] = self.dc[slot].wrapping_add(value);
                sink.dc(slot, self.dc[slot]);
                let mut next = 1;
                while next < BLOCK_COEFFICIENTS {
                    bits = self.bits.fill_up(bits, STRIDE_BITS);
                    let stride = huffman::stride(strides, bits.top);
                    let behind = stride.behind(next);
                    if behind < BLOCK_COEFFICIENTS || Stride::is_end(behind) {
                        sink.ac(slot, bits.top, stride.len());
                        bits.skip(stride.len());
                        next = behind;
                    } else {
                        // A long code, or several of which not all belong to the block: one by one.
                        let (behind, coefficients) = self.one_code(bits, &component.ac, slot, sink);
                        bits = behind;
                        next += coefficients;
                    }
                }
            }
        }
        self.bits.give_back(bits)?;
        self.damaged |= self.bits.is_dry();
        Ok(())
    }

    /// A DC difference whose code and value are long, and the bits behind it. Bits go in and out by value here, as
    /// those of the loop are to stay in registers.
    #[inline(never)]
    fn long_difference(&mut self, bits: Bits, table: &Huffman) -> (Bits, i16) {
        let mut bits = self.bits.fill_up(bits, CODE_BITS);
        let Some((len, size)) = table.find(bits.top) else {
            return (self.wrong_code(bits), 0);
        };
        let size = u32::from(size);
        let value = extend(top(bits.top << len, size), size);
        bits.skip(len + size);
        (bits, value as i16)
    }

    /// Goes past one AC code; gives the bits behind it and the coefficients it stands for, all of them at the end
    /// of the block.
    #[inline(never)]
    fn one_code<S: Sink>(&mut self, bits: Bits, table: &Huffman, slot: usize, sink: &mut S) -> (Bits, u32) {
        let mut bits = self.bits.fill_up(bits, CODE_BITS);
        let Some((len, symbol)) = table.find(bits.top) else {
            sink.end(slot);
            return (self.wrong_code(bits), BLOCK_COEFFICIENTS);
        };
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        sink.ac(slot, bits.top, len + size);
        bits.skip(len + size);
        let ends = size == 0 && run < 15;
        (bits, if ends { BLOCK_COEFFICIENTS } else { run + 1 })
    }

    /// Goes past bits that are no code: a decoder sees that after 17 of them.
    #[cold]
    fn wrong_code(&mut self, mut bits: Bits) -> Bits {
        bits.skip(17);
        self.damaged = true;
        bits
    }
}
