//! Files of several scans (T.81 annex G, and sequential ones with a scan for each component).
//!
//! Their blocks are complete only after the last scan, so no part can be decoded without the whole. The
//! coefficients are gathered once and written as one sequential scan, which is kept in memory: about as long as
//! the file, a tenth of the coefficients or less.

use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, DecodeError, ReadContext};

use crate::bits::{BitPlace, BitReader, Restart, extend};
use crate::frame::Frame;
use crate::header::{Header, ScanHeader};
use crate::huffman::Huffman;
use crate::segments::{DHT, DQT, DRI, EOI, SOS, Segments};
use crate::sequential::{Scan, ScanComponent};
use crate::tables::{Tables, standard};
use crate::writer::BitWriter;

/// Scans a file may have. Encoders make about ten, by hand it can be some dozens; each one costs a pass.
const MAX_SCANS: usize = 256;

/// Largest coefficient of 8-bit samples, beside the DC one (T.81 F.1.2.2: ten bits).
const MAX_AC: i16 = 1023;

/// Coefficients of a block in zigzag order.
type Block = [i16; 64];

/// The blocks of a component, rows one after the other, with those that only fill up the last MCUs.
struct Plane {
    blocks: Vec<Block>,
    cols: u32,
}

impl Plane {
    #[inline]
    fn block(&mut self, col: u32, row: u32) -> &mut Block {
        &mut self.blocks[(row * self.cols + col) as usize]
    }
}

/// A file of several scans as one scan in memory.
pub(crate) struct Joined {
    pub(crate) data: Vec<u8>,
    pub(crate) scan: Scan,
    /// What was wrong, in words.
    pub(crate) damage: Option<String>,
    /// Quantization tables in force for each scan may come late; these are the last ones.
    pub(crate) tables: Tables,
}

/// Gathers all scans of a file.
///
/// # Errors
/// `LimitExceeded` if the coefficients do not fit, `Unsupported` if the components cannot share a scan,
/// `Format`, `Io`, `Cancelled`, `DeadlineExceeded`.
pub(crate) fn join(
    source: &dyn ByteSource,
    header: &Header,
    ctx: &ReadContext<'_>,
) -> Result<Joined, DecodeError> {
    let frame = &header.frame;
    if !frame.can_interleave() {
        return Err(DecodeError::unsupported(
            "JPEG of several scans with more than 10 blocks in an MCU",
        ));
    }
    let mut planes = allocate(frame, ctx)?;
    let mut tables = header.tables.clone();
    let mut scan = header.scan.clone();
    let mut damaged = false;
    let mut complete = vec![false; planes.len()];
    for number in 0.. {
        if number == MAX_SCANS {
            return Err(DecodeError::limit(format!(
                "a JPEG of more than {MAX_SCANS} scans"
            )));
        }
        for &(component, ..) in &scan.components {
            complete[component] |= scan.first == 0;
        }
        let mut gather = Gather {
            bits: BitReader::new(source, BitPlace::start(scan.data)),
            dc: [0; 4],
            band_end_run: 0,
            damaged: false,
        };
        gather.scan(frame, &scan, &tables, &mut planes, ctx)?;
        damaged |= gather.damaged;
        match next_scan(source, frame, gather.bits, &mut tables)? {
            Some(next) => scan = next,
            None => break,
        }
    }
    let missing = complete.contains(&false);
    let damage = match (missing, damaged) {
        (true, _) => Some("scans are missing, the picture is not complete".to_owned()),
        (_, true) => Some("some of its data is damaged".to_owned()),
        _ => None,
    };
    let (data, scan) = write(frame, &mut planes, ctx)?;
    Ok(Joined {
        data,
        scan,
        damage,
        tables,
    })
}

fn allocate(frame: &Frame, ctx: &ReadContext<'_>) -> Result<Vec<Plane>, DecodeError> {
    let size = |component: &crate::frame::Component| {
        (
            frame.mcu_cols() * component.across,
            frame.mcu_rows() * component.down,
        )
    };
    let blocks: u64 = frame
        .components
        .iter()
        .map(|component| {
            let (cols, rows) = size(component);
            u64::from(cols) * u64::from(rows)
        })
        .sum();
    ctx.limits.check_bytes(blocks * size_of::<Block>() as u64)?;
    let mut planes = Vec::with_capacity(frame.components.len());
    for component in &frame.components {
        let (cols, rows) = size(component);
        let count = cols as usize * rows as usize;
        let mut blocks = Vec::new();
        blocks
            .try_reserve_exact(count)
            .map_err(|_| DecodeError::limit("no memory for the coefficients of a JPEG"))?;
        blocks.resize(count, [0; 64]);
        planes.push(Plane { blocks, cols });
    }
    Ok(planes)
}

/// The header of the scan that follows the data `bits` has come to.
fn next_scan(
    source: &dyn ByteSource,
    frame: &Frame,
    mut bits: BitReader<'_>,
    tables: &mut Tables,
) -> Result<Option<ScanHeader>, DecodeError> {
    bits.find_marker()?;
    let mut segments = Segments::new(source, bits.place().offset);
    // A file cut off inside a segment shows what came before; only the codec would know its rest.
    while let Some(segment) = segments.next()? {
        if segment.offset + segment.len as u64 > source.len() {
            return Ok(None);
        }
        match segment.code {
            SOS => return ScanHeader::parse(frame, &segment, source).map(Some),
            DQT | DHT | DRI => tables.take(segment.code, &segment.read(source)?)?,
            _ => {}
        }
    }
    Ok(None)
}

/// Reads one scan into the planes.
struct Gather<'a> {
    bits: BitReader<'a>,
    dc: [i16; 4],
    /// Blocks that end before the first coefficient of the scan (T.81 G.1.2.2).
    band_end_run: u32,
    damaged: bool,
}

impl Gather<'_> {
    fn scan(
        &mut self,
        frame: &Frame,
        scan: &ScanHeader,
        tables: &Tables,
        planes: &mut [Plane],
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let mut coders = Vec::with_capacity(4);
        for &(component, dc, ac) in &scan.components {
            let dc = (scan.first == 0 && scan.high == 0)
                .then(|| tables.dc(dc))
                .transpose()?;
            let ac = (scan.last > 0).then(|| tables.ac(ac)).transpose()?;
            coders.push((component, dc, ac));
        }
        // A scan of one component has its blocks in rows, without those that fill up MCUs (T.81 A.2.2).
        let alone = scan.components.len() == 1;
        let (cols, rows) = match scan.components[..] {
            [(component, ..)] => frame.own_blocks(&frame.components[component]),
            _ => (frame.mcu_cols(), frame.mcu_rows()),
        };
        let interval = tables.restart_interval;
        let mut number = 0_u32;
        for row in 0..rows {
            ctx.checkpoint()?;
            for col in 0..cols {
                if interval > 0 && number > 0 && number.is_multiple_of(interval) {
                    self.dc = [0; 4];
                    self.band_end_run = 0;
                    match self.bits.restart(((number / interval - 1) & 7) as u8)? {
                        Restart::Expected => {}
                        Restart::Repaired => self.damaged = true,
                        Restart::End => {
                            self.damaged = true;
                            return Ok(());
                        }
                    }
                }
                number += 1;
                if self.bits.is_dry() {
                    self.damaged = true;
                    if interval == 0 {
                        return Ok(());
                    }
                    continue;
                }
                for (component, dc, ac) in &coders {
                    let shape = &frame.components[*component];
                    let (across, down) = if alone { (1, 1) } else { (shape.across, shape.down) };
                    for y in 0..down {
                        for x in 0..across {
                            let block = planes[*component].block(col * across + x, row * down + y);
                            self.block(frame, scan, *component, (dc.as_deref(), ac.as_deref()), block)?;
                        }
                    }
                }
            }
        }
        self.damaged |= self.bits.is_dry();
        Ok(())
    }

    fn block(
        &mut self,
        frame: &Frame,
        scan: &ScanHeader,
        component: usize,
        (dc, ac): (Option<&Huffman>, Option<&Huffman>),
        block: &mut Block,
    ) -> Result<(), DecodeError> {
        if scan.first == 0 {
            match dc {
                Some(table) => {
                    let size = self.symbol(table)?;
                    let value = self.value(size)?;
                    self.dc[component] = self.dc[component].wrapping_add(value);
                    block[0] = ((i32::from(self.dc[component])) << scan.low) as i16;
                }
                None => block[0] |= (self.bits.take(1)? << scan.low) as i16,
            }
        }
        match ac {
            Some(table) if !frame.progressive => self.whole_block(table, block),
            Some(table) if scan.high == 0 => self.first_band(scan, table, block),
            Some(table) => self.refine_band(scan, table, block),
            None => Ok(()),
        }
    }

    /// The next symbol; where there is none, 0 as in every decoder.
    #[inline]
    fn symbol(&mut self, table: &Huffman) -> Result<u8, DecodeError> {
        let bits = self.bits.peek()?;
        match table.find(bits) {
            Some((len, symbol)) => {
                self.bits.skip(len);
                Ok(symbol)
            }
            None => {
                self.bits.skip(17);
                self.damaged = true;
                Ok(0)
            }
        }
    }

    #[inline]
    fn value(&mut self, size: u8) -> Result<i16, DecodeError> {
        let size = u32::from(size);
        Ok(extend(self.bits.take(size)?, size) as i16)
    }

    /// T.81 F.2.2.2.
    fn whole_block(&mut self, table: &Huffman, block: &mut Block) -> Result<(), DecodeError> {
        let mut next = 1;
        while next < 64 {
            let symbol = self.symbol(table)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            if size == 0 && run < 15 {
                break;
            }
            next += run;
            if size > 0 {
                block[next.min(63)] = self.value(size)?;
            }
            next += 1;
        }
        Ok(())
    }

    /// T.81 G.1.2.2.
    fn first_band(
        &mut self,
        scan: &ScanHeader,
        table: &Huffman,
        block: &mut Block,
    ) -> Result<(), DecodeError> {
        if self.band_end_run > 0 {
            self.band_end_run -= 1;
            return Ok(());
        }
        let mut next = scan.first;
        while next <= scan.last {
            let symbol = self.symbol(table)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            if size == 0 && run < 15 {
                self.band_end_run = (1 << run) - 1 + self.bits.take(run as u32)?;
                break;
            }
            next += run;
            if size > 0 {
                block[next.min(63)] = (i32::from(self.value(size)?) << scan.low) as i16;
            }
            next += 1;
        }
        Ok(())
    }

    /// T.81 G.1.2.3.
    fn refine_band(
        &mut self,
        scan: &ScanHeader,
        table: &Huffman,
        block: &mut Block,
    ) -> Result<(), DecodeError> {
        let bit = 1_i16 << scan.low;
        let mut next = scan.first;
        if self.band_end_run == 0 {
            while next <= scan.last {
                let symbol = self.symbol(table)?;
                let (mut run, size) = (usize::from(symbol >> 4), symbol & 15);
                let mut fresh = 0;
                if size > 0 {
                    fresh = if self.bits.take(1)? == 1 { bit } else { -bit };
                } else if run < 15 {
                    self.band_end_run = (1 << run) + self.bits.take(run as u32)?;
                    break;
                }
                // Goes past `run` coefficients that are zero so far; those that are not get their next bit.
                while next <= scan.last {
                    let coefficient = &mut block[next];
                    if *coefficient != 0 {
                        self.refine(coefficient, bit)?;
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    next += 1;
                }
                if fresh != 0 && next <= scan.last {
                    block[next] = fresh;
                }
                next += 1;
            }
        }
        if self.band_end_run > 0 {
            for coefficient in block.get_mut(next..=scan.last).unwrap_or_default() {
                if *coefficient != 0 {
                    self.refine(coefficient, bit)?;
                }
            }
            self.band_end_run -= 1;
        }
        Ok(())
    }

    #[inline]
    fn refine(&mut self, coefficient: &mut i16, bit: i16) -> Result<(), DecodeError> {
        if self.bits.take(1)? == 1 && *coefficient & bit == 0 {
            let step = if *coefficient < 0 { -bit } else { bit };
            *coefficient = coefficient.wrapping_add(step);
        }
        Ok(())
    }
}

/// Writes the planes as one scan with the standard tables; takes the planes' memory back as it goes.
fn write(frame: &Frame, planes: &mut [Plane], ctx: &ReadContext<'_>) -> Result<(Vec<u8>, Scan), DecodeError> {
    let tables = [
        (Arc::new(wide_dc()?), Arc::new(standard::ac(0)?)),
        (Arc::new(wide_dc()?), Arc::new(standard::ac(1)?)),
    ];
    let mut components = Vec::with_capacity(planes.len());
    for (number, shape) in frame.components.iter().enumerate() {
        // Chrominance is the second and third of three or four components.
        let (dc, ac) = &tables[usize::from(matches!(number, 1 | 2))];
        components.push(ScanComponent {
            component: number,
            blocks: shape.across * shape.down,
            dc: Arc::clone(dc),
            ac: Arc::clone(ac),
        });
    }
    let mut writer = BitWriter::default();
    let mut last_dc = [0_i16; 4];
    for row in 0..frame.mcu_rows() {
        ctx.checkpoint()?;
        ctx.limits.check_bytes(writer.bytes.len() as u64)?;
        for col in 0..frame.mcu_cols() {
            for (number, (shape, coder)) in frame.components.iter().zip(&components).enumerate() {
                for y in 0..shape.down {
                    for x in 0..shape.across {
                        let block = planes[number].block(col * shape.across + x, row * shape.down + y);
                        write_block(&mut writer, coder, &mut last_dc[number], block);
                    }
                }
            }
        }
    }
    writer.finish();
    writer.bytes.extend([0xff, EOI]);
    let scan = Scan {
        frame: frame.clone(),
        components,
        restart_interval: 0,
        data: 0,
    };
    Ok((writer.bytes, scan))
}

/// A DC table with a code for every size a difference of 16-bit numbers can have but one.
fn wide_dc() -> Result<Huffman, DecodeError> {
    let symbols: Vec<u8> = (0..16).collect();
    Huffman::new([0, 1, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], &symbols)
}

fn write_block(writer: &mut BitWriter, coder: &ScanComponent, last_dc: &mut i16, block: &Block) {
    let difference = block[0].wrapping_sub(*last_dc).max(-i16::MAX);
    *last_dc = last_dc.wrapping_add(difference);
    write_value(writer, &coder.dc, 0, difference);
    let mut run = 0;
    for &coefficient in &block[1..] {
        if coefficient == 0 {
            run += 1;
            continue;
        }
        while run > 15 {
            write_value(writer, &coder.ac, 15, 0);
            run -= 16;
        }
        // Larger ones are in broken files alone, and the standard table has no codes for them.
        write_value(writer, &coder.ac, run, coefficient.clamp(-MAX_AC, MAX_AC));
        run = 0;
    }
    if run > 0 {
        write_value(writer, &coder.ac, 0, 0);
    }
}

/// Writes the code for a run of zeros and the size of a value, and the value (T.81 F.1.2).
#[inline]
fn write_value(writer: &mut BitWriter, table: &Huffman, run: u8, value: i16) {
    let size = 16 - value.unsigned_abs().leading_zeros();
    let code = table.code(run << 4 | size as u8);
    writer.put(u64::from(code.bits), u32::from(code.len));
    let bits = if value < 0 { value - 1 } else { value } as u16;
    writer.put(u64::from(bits) & ((1 << size) - 1), size);
}
