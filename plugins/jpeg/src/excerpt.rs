//! A JPEG made of some of the MCUs of a scan, on the fly.
//!
//! The codes of AC coefficients are copied bit by bit with their tables. DC coefficients are stored as
//! differences to the block before, which is another one here, so they are coded anew. Quantization tables,
//! sampling factors and color coding stay. A decoder therefore sees the very coefficients of the file, and
//! computes the very samples, but for those at inner edges where it blends with blocks that are not there:
//! whoever needs those takes one MCU more.
//!
//! Whole rows from the top need none of that: their data is handed on as it is. Damage is then seen only where
//! the data ends early.
//!
//! At one eighth of the size the mean of a block is one sample of the picture, and that is its DC coefficient. The
//! other coefficients of a component that is not subsampled are left out then, which leaves a few bits of a block
//! for the codec to read. What is left out was walked over only, and fast; and as a picture of that size is most
//! often the first thing that is asked of a file, the walk over all of it notes the places of the index.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use iiphost_plugin_api::{ByteSource, DecodeError, ReadContext};

use crate::frame::Frame;
use crate::header::Coding;
use crate::huffman::Code;
use crate::index::{Index, Notes};
use crate::picture::MAX_HALVINGS;
use crate::segments::{APP14, DHT, DQT, DRI, EOI, SOI, SOS};
use crate::sequential::{MAX_COMPONENTS, Place, Scan, Sink, Walk};
use crate::tables::Quant;
use crate::writer::BitWriter;

/// Bytes made at a time. The codec is fast only where some kilobytes follow.
const CHUNK: usize = 1 << 16;

/// Zeros behind the end, for the same reason.
const PADDING: usize = 6144;

/// Bits of every code of the DC tables made here: 16 symbols, none of them all ones.
const DC_CODE_BITS: u8 = 5;

/// A whole scan and what a decoder must know besides.
pub(crate) struct Original<'a> {
    pub(crate) scan: &'a Scan,
    pub(crate) index: &'a Index,
    pub(crate) source: &'a dyn ByteSource,
    pub(crate) coding: Coding,
    /// Quantization table by component of the frame.
    pub(crate) quant: &'a [Quant],
}

/// Why an excerpt broke off, and whether data in it was damaged.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) failure: Cell<Option<DecodeError>>,
    pub(crate) damaged: Cell<bool>,
}

/// The excerpt as a stream of bytes.
pub(crate) struct Excerpt<'a> {
    original: Original<'a>,
    cols: Range<u32>,
    rows: Range<u32>,
    walk: Walk<'a>,
    copy: Copier,
    /// Where to read on, if the data is handed on as it is.
    unchanged: Option<u64>,
    /// Places for the index, if the walk goes over all of the data.
    notes: Option<Notes>,
    used: usize,
    finished: bool,
    ctx: &'a ReadContext<'a>,
    outcome: &'a Outcome,
}

impl<'a> Excerpt<'a> {
    /// The MCUs in `cols` and `rows`, both not empty, for a decoder that halves the picture `halvings` times.
    pub(crate) fn new(
        original: Original<'a>,
        (cols, rows): (Range<u32>, Range<u32>),
        halvings: u32,
        ctx: &'a ReadContext<'a>,
        outcome: &'a Outcome,
    ) -> Self {
        let mut copy = Copier {
            writer: BitWriter::default(),
            dc: [0; MAX_COMPONENTS],
            ends: [Code::default(); MAX_COMPONENTS],
            means_only: [false; MAX_COMPONENTS],
        };
        let scan = original.scan;
        let eighth = halvings == MAX_HALVINGS;
        for (slot, component) in scan.components.iter().enumerate() {
            copy.ends[slot] = component.ac.code(0);
            copy.means_only[slot] = eighth && shows_means_only(&scan.frame, component.component);
        }
        let from_the_top = rows.start == 0 && cols == (0..scan.frame.mcu_cols());
        let mut excerpt = Self {
            unchanged: (from_the_top && !eighth).then_some(scan.data),
            notes: (from_the_top && eighth).then(|| original.index.notes()).flatten(),
            walk: Walk::new(original.scan, original.source, &Place::start(original.scan)),
            original,
            cols,
            rows,
            copy,
            used: 0,
            finished: false,
            ctx,
            outcome,
        };
        excerpt.write_header();
        excerpt
    }

    /// Width and height of the picture in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        let frame = &self.original.scan.frame;
        let (width, height) = (frame.mcu_width(), frame.mcu_height());
        (
            frame.width.min(self.cols.end * width) - self.cols.start * width,
            frame.height.min(self.rows.end * height) - self.rows.start * height,
        )
    }

    fn write_header(&mut self) {
        let (width, height) = self.size();
        let scan = self.original.scan;
        let mut file = vec![0xff, SOI];
        let mut segment = |code: u8, payload: &[u8]| {
            file.extend([0xff, code]);
            file.extend((payload.len() as u16 + 2).to_be_bytes());
            file.extend(payload);
        };
        let transform = match self.original.coding {
            Coding::Grey => None,
            Coding::Rgb | Coding::Cmyk => Some(0),
            Coding::YCbCr => Some(1),
            Coding::Ycck => Some(2),
        };
        if let Some(transform) = transform {
            segment(
                APP14,
                &[b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, transform],
            );
        }
        let mut frame = vec![8];
        frame.extend((height as u16).to_be_bytes());
        frame.extend((width as u16).to_be_bytes());
        frame.push(scan.frame.components.len() as u8);
        for ((number, component), quant) in (0_u8..).zip(&scan.frame.components).zip(self.original.quant) {
            let mut table = vec![0x10 | number];
            table.extend(quant.iter().flat_map(|step| step.to_be_bytes()));
            segment(DQT, &table);
            let sampling = (component.across << 4 | component.down) as u8;
            frame.extend([number + 1, sampling, number]);
        }
        // Extended sequential: it allows 16-bit quantization steps and four tables.
        segment(0xc1, &frame);
        let mut header = vec![scan.components.len() as u8];
        for (slot, component) in (0_u8..).zip(&scan.components) {
            let mut tables = Vec::new();
            component.ac.write(1, slot, &mut tables);
            if self.unchanged.is_some() {
                component.dc.write(0, slot, &mut tables);
            } else {
                tables.push(slot);
                tables.extend([0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                tables.extend(0..16);
            }
            segment(DHT, &tables);
            header.extend([component.component as u8 + 1, slot << 4 | slot]);
        }
        if self.unchanged.is_some() {
            segment(DRI, &(scan.restart_interval as u16).to_be_bytes());
        }
        header.extend([0, 63, 0]);
        segment(SOS, &header);
        self.copy.writer.bytes = file;
    }

    /// Reads on in the original.
    fn hand_on(&mut self, at: u64) -> Result<(), DecodeError> {
        self.ctx.checkpoint()?;
        let bytes = &mut self.copy.writer.bytes;
        let made = bytes.len();
        bytes.resize(made + CHUNK, 0);
        let count = self.original.source.read_at(at, &mut bytes[made..])?;
        bytes.truncate(made + count);
        self.unchanged = Some(at + count as u64);
        if count == 0 {
            // The codec wants more than there is.
            self.outcome.damaged.set(true);
            self.finished = true;
        }
        Ok(())
    }

    /// Makes the next rows of MCUs.
    fn make(&mut self) -> Result<(), DecodeError> {
        if let Some(at) = self.unchanged {
            return self.hand_on(at);
        }
        let Original {
            scan, index, source, ..
        } = self.original;
        while self.copy.writer.bytes.len() < CHUNK {
            let Some(row) = self.rows.next() else {
                self.copy.writer.finish();
                self.copy.writer.bytes.extend([0xff, EOI]);
                self.copy.writer.bytes.extend([0; PADDING]);
                self.finished = true;
                return Ok(());
            };
            self.ctx.checkpoint()?;
            let row_start = row * scan.frame.mcu_cols();
            let first = row_start + self.cols.start;
            if self.walk.mcu() != first || first == 0 {
                let place = index.place(scan, source, first, self.ctx)?;
                self.walk.go_to(&place);
                self.walk.skip_to(first)?;
            }
            for _ in self.cols.clone() {
                self.walk.step(&mut self.copy)?;
                if let Some(notes) = &mut self.notes {
                    notes.pass(&self.walk);
                }
            }
            if let Some(notes) = &mut self.notes {
                index.take(notes);
            }
        }
        Ok(())
    }
}

/// Whether decoders at one eighth of the size show nothing but the means of the blocks of a component. Of one that
/// is subsampled both ways they make 2 x 2 samples of a block or more, to have less to enlarge.
fn shows_means_only(frame: &Frame, component: usize) -> bool {
    let shape = &frame.components[component];
    !(frame.max_across().is_multiple_of(2 * shape.across) && frame.max_down().is_multiple_of(2 * shape.down))
}

impl BufRead for Excerpt<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.copy.writer.bytes.len() && !self.finished {
            self.copy.writer.bytes.clear();
            self.used = 0;
        }
        if self.used == 0 && !self.finished {
            let made = self.make();
            self.outcome
                .damaged
                .set(self.outcome.damaged.get() || self.walk.is_damaged());
            if let Err(error) = made {
                self.outcome.failure.set(Some(error));
                return Err(io::Error::other("the excerpt broke off"));
            }
        }
        Ok(self.copy.writer.bytes.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.copy.writer.bytes.len());
    }
}

impl Read for Excerpt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Copies blocks.
struct Copier {
    writer: BitWriter,
    /// DC coefficient of the last block written, by component of the scan.
    dc: [i16; MAX_COMPONENTS],
    /// The code that ends a block, by component of the scan.
    ends: [Code; MAX_COMPONENTS],
    /// Whether nothing but the DC coefficients is written, by component of the scan.
    means_only: [bool; MAX_COMPONENTS],
}

impl Sink for Copier {
    #[inline]
    fn dc(&mut self, slot: usize, value: i16) {
        // A difference of -32768 has no code; only broken files have it.
        let difference = value.wrapping_sub(self.dc[slot]).max(-i16::MAX);
        self.dc[slot] = value;
        let size = 16 - difference.unsigned_abs().leading_zeros();
        let bits = if difference < 0 {
            difference - 1
        } else {
            difference
        } as u16;
        let bits = u64::from(bits) & ((1 << size) - 1);
        self.writer
            .put(u64::from(size) << size | bits, u32::from(DC_CODE_BITS) + size);
        if self.means_only[slot] {
            let end = self.ends[slot];
            self.writer.put(u64::from(end.bits), u32::from(end.len));
        }
    }

    #[inline]
    fn ac(&mut self, slot: usize, bits: u64, len: u32) {
        if !self.means_only[slot] {
            self.writer.put(bits >> (64 - len), len);
        }
    }

    fn end(&mut self, slot: usize) {
        if self.means_only[slot] {
            return;
        }
        let end = self.ends[slot];
        self.writer.put(u64::from(end.bits), u32::from(end.len));
    }
}
