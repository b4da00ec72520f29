//! One scan of all components, coded sequentially (T.81 F.2): walking over its MCUs.

use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, DecodeError};

use crate::bits::{BitPlace, BitReader, Restart, extend};
use crate::frame::Frame;
use crate::huffman::Huffman;

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
    /// The next `len` bits of its AC coefficients are on top of `bits`: a code and what follows it.
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
        for (slot, component) in scan.components.iter().enumerate() {
            for _ in 0..component.blocks {
                self.block(slot, component, sink)?;
            }
        }
        self.damaged |= self.bits.is_dry();
        Ok(())
    }

    #[inline]
    fn block<S: Sink>(
        &mut self,
        slot: usize,
        component: &ScanComponent,
        sink: &mut S,
    ) -> Result<(), DecodeError> {
        let bits = self.bits.peek()?;
        match component.dc.find(bits) {
            Some((len, size)) => {
                let size = u32::from(size);
                let value = if size == 0 {
                    0
                } else {
                    (bits << len >> (64 - size)) as u32
                };
                self.bits.skip(len + size);
                // Differences of a valid file never leave 16 bits; a broken one wraps, as in the codec.
                self.dc[slot] = self.dc[slot].wrapping_add(extend(value, size) as i16);
            }
            None => self.wrong_code(),
        }
        sink.dc(slot, self.dc[slot]);
        let mut next = 1;
        while next < 64 {
            let bits = self.bits.peek()?;
            let Some((len, symbol)) = component.ac.find(bits) else {
                self.wrong_code();
                sink.end(slot);
                break;
            };
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            sink.ac(slot, bits, len + size);
            self.bits.skip(len + size);
            if size == 0 && run < 15 {
                break;
            }
            next += run + 1;
        }
        Ok(())
    }

    /// Goes past bits that are no code: a decoder sees that after 17 of them.
    #[cold]
    fn wrong_code(&mut self) {
        self.bits.skip(17);
        self.damaged = true;
    }
}
