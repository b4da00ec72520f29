//! Cutting a JPEG down to its upper left part without decoding its pixels (ITU-T T.81 annex F).
//!
//! The tiles at the right and lower border of a picture reach over it. What lies inside is cut out of the
//! entropy-coded data: coefficients stay as they are, so the tile looks like its neighbors, which are handed
//! on whole, and costs a tenth of decoding and encoding it. Only the differences of mean values (DC) change
//! where blocks are left out before a block.

use crate::jpeg_markers::JpegParts;

/// Bits a table is looked up by at once.
const LOOK_UP_BITS: u32 = 9;
/// Longest code.
const MAX_CODE_BITS: usize = 16;
/// Blocks of one MCU at most (T.81 B.2.3).
const MAX_BLOCKS: usize = 10;

/// The entropy-coded data of the `width` x `height` pixels at the upper left, from the scan header to the end
/// of image. `None` for what is not baseline in one scan, has restart markers, or is broken.
pub(crate) fn scan(parts: &JpegParts<'_>, width: u16, height: u16) -> Option<Vec<u8>> {
    let scan = Scan::new(parts)?;
    let (header, data) = parts.scans().split_at_checked(scan.header_len)?;
    let data = unstuffed(data)?;
    let frame = parts.frame();
    let mcus = |pixels: u16, mcu: u32| u32::from(pixels).div_ceil(mcu);
    let all = mcus(frame.width, scan.mcu_width);
    let (cols, rows) = (mcus(width, scan.mcu_width), mcus(height, scan.mcu_height));
    if cols > all || rows > mcus(frame.height, scan.mcu_height) {
        return None;
    }
    let mut bits = Bits::new(&data);
    let mut out = Output::after(header, data.len());
    let (mut means, mut written) = ([0; 4], [0; 4]);
    for _ in 0..rows {
        for col in 0..all {
            for &component in &scan.blocks {
                let tables = scan.tables.get(component)?;
                let mean = means.get_mut(component)?;
                *mean += bits.difference(&tables.dc)?;
                if col < cols {
                    let before = written.get_mut(component)?;
                    out.difference(&tables.dc, *mean - *before)?;
                    *before = *mean;
                    bits.rest_of_block(&tables.ac, |code, len| out.push(code, len))?;
                } else {
                    bits.rest_of_block(&tables.ac, |_, _| ())?;
                }
            }
        }
    }
    bits.is_within().then(|| out.end())
}

/// What a scan header and the headers before it say.
struct Scan {
    header_len: usize,
    mcu_width: u32,
    mcu_height: u32,
    /// The component of each block of an MCU, in order.
    blocks: Vec<usize>,
    tables: Vec<Tables>,
}

/// The codes of a component.
struct Tables {
    dc: Huffman,
    ac: Huffman,
}

impl Scan {
    fn new(parts: &JpegParts<'_>) -> Option<Self> {
        const DHT: u8 = 0xc4;
        const DRI: u8 = 0xdd;
        let frame = parts.frame();
        let scans = parts.scans();
        // T.81 B.2.3: the marker, a length, the number of components, each with its tables, and three bytes
        // that are the same in every scan of a sequential picture.
        let header_len = 2 + usize::from(u16::from_be_bytes([*scans.get(2)?, *scans.get(3)?]));
        let (&count, rest) = scans.get(4..header_len)?.split_first()?;
        let (chosen, &[0, 63, 0]) = rest.split_last_chunk::<3>()? else {
            return None;
        };
        let is_sequential = !frame.progressive && frame.precision == 8;
        if !is_sequential
            || usize::from(count) != frame.components.len()
            || chosen.len() != 2 * usize::from(count)
        {
            return None;
        }
        let mut specs: [[Option<&[u8]>; 4]; 2] = [[None; 4]; 2];
        for &(marker, segment) in parts.segments() {
            let mut content = segment.get(4..)?;
            match marker {
                DHT => {
                    while let Some((&which, rest)) = content.split_first() {
                        let symbols = rest.get(..16)?.iter().map(|&n| usize::from(n)).sum::<usize>();
                        let (spec, rest) = rest.split_at_checked(16 + symbols)?;
                        *specs
                            .get_mut(usize::from(which >> 4))?
                            .get_mut(usize::from(which & 15))? = Some(spec);
                        content = rest;
                    }
                }
                DRI if content != [0, 0] => return None,
                _ => {}
            }
        }
        let side = |sampling: u8| (u32::from(sampling >> 4), u32::from(sampling & 15));
        let (mut widest, mut highest) = (0, 0);
        let (mut blocks, mut tables) = (Vec::new(), Vec::new());
        for (number, (choice, &(id, sampling, _))) in
            chosen.chunks_exact(2).zip(&frame.components).enumerate()
        {
            let [chosen_id, which] = *choice else {
                return None;
            };
            if chosen_id != id {
                return None;
            }
            let (across, down) = side(sampling);
            (widest, highest) = (across.max(widest), down.max(highest));
            blocks.extend((0..across * down).map(|_| number));
            let spec = |class: usize, number: u8| *specs.get(class)?.get(usize::from(number))?;
            tables.push(Tables {
                dc: Huffman::new(spec(0, which >> 4)?)?,
                ac: Huffman::new(spec(1, which & 15)?)?,
            });
        }
        if tables.len() == 1 {
            // A component alone has no MCUs of several blocks, whatever its sampling (T.81 A.2.2).
            (widest, highest) = (1, 1);
            blocks = vec![0];
        }
        (widest > 0 && highest > 0 && blocks.len() <= MAX_BLOCKS).then_some(Self {
            header_len,
            mcu_width: 8 * widest,
            mcu_height: 8 * highest,
            blocks,
            tables,
        })
    }
}

/// A code (T.81 annex C): to read with, and to write with.
struct Huffman {
    /// By the next bits: the length of the code and its symbol; length 0 for longer codes.
    short: [(u8, u8); 1 << LOOK_UP_BITS],
    /// By the length of the code: the first code of the next length, in 16 bits, and the place of the symbol
    /// of a code relative to the code itself.
    long: [(u32, i32); MAX_CODE_BITS + 1],
    symbols: [u8; 256],
    /// By symbol of less than 16, as for differences of mean values: the code and its length, 0 for none.
    codes: [(u16, u8); 16],
}

impl Huffman {
    /// `spec` is the number of codes of each length and their symbols.
    fn new(spec: &[u8]) -> Option<Self> {
        let (counts, symbols) = spec.split_at_checked(16)?;
        let mut table = Self {
            short: [(0, 0); 1 << LOOK_UP_BITS],
            long: [(0, 0); MAX_CODE_BITS + 1],
            symbols: [0; 256],
            codes: [(0, 0); 16],
        };
        table.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (len, &count) in (1_u32..).zip(counts) {
            let first = (code, place);
            for &symbol in symbols.get(place..place + usize::from(count))? {
                // Codes of one length begin with the one after the last of the length before; the code of
                // ones only is none.
                if code + 1 >= 1 << len {
                    return None;
                }
                if len <= LOOK_UP_BITS {
                    let free = LOOK_UP_BITS - len;
                    let start = (code << free) as usize;
                    table
                        .short
                        .get_mut(start..start + (1 << free))?
                        .fill((len as u8, symbol));
                }
                if let Some(known) = table.codes.get_mut(usize::from(symbol)) {
                    *known = (code as u16, len as u8);
                }
                code += 1;
                place += 1;
            }
            table.long[len as usize] = (code << (16 - len), first.1 as i32 - first.0 as i32);
            code <<= 1;
        }
        Some(table)
    }

    /// Length and symbol of the code that `next`, the next 16 bits, begins with.
    #[inline(always)]
    fn look_up(&self, next: u32) -> Option<(u32, u8)> {
        match self.short.get((next >> (16 - LOOK_UP_BITS)) as usize) {
            Some(&(len, symbol)) if len > 0 => Some((u32::from(len), symbol)),
            _ => self.look_up_long(next),
        }
    }

    #[cold]
    fn look_up_long(&self, next: u32) -> Option<(u32, u8)> {
        let long = (1_u32..).zip(&self.long[1..]).skip(LOOK_UP_BITS as usize);
        let (len, &(_, place)) = long.into_iter().find(|(_, (end, _))| next < *end)?;
        let place = (next >> (16 - len)) as i32 + place;
        let &symbol = self.symbols.get(usize::try_from(place).ok()?)?;
        Some((len, symbol))
    }
}

/// Entropy-coded data up to the marker that ends it, without the zeros put behind bytes of ones (T.81 F.1.2.3).
/// `None` if that marker is not the end of the image.
fn unstuffed(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data;
    loop {
        let at = rest.iter().position(|&byte| byte == 0xff)?;
        let (run, marker) = rest.split_at_checked(at)?;
        bytes.extend_from_slice(run);
        match marker {
            [_, 0, after @ ..] => {
                bytes.push(0xff);
                rest = after;
            }
            // Fill bytes before a marker.
            [_, 0xff, ..] => rest = marker.get(1..)?,
            [_, 0xd9, ..] => return Some(bytes),
            _ => return None,
        }
    }
}

/// Bits from the highest of each byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bytes that went into `buffer`, or would have, where the data had ended.
    at: usize,
    /// The next bits at the top.
    buffer: u64,
    /// Bits of `buffer` that count as taken from `bytes`; below them are the same bits again, or zeros.
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            buffer: 0,
            count: 0,
        }
    }

    /// Sees to it that the next 56 bits can be looked at: more than a code and the number behind it.
    #[inline(always)]
    fn refill(&mut self) {
        let next = match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(eight) => u64::from_be_bytes(*eight),
            None => self.rest(),
        };
        self.buffer |= next >> (self.count & 63);
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    #[cold]
    fn rest(&self) -> u64 {
        let mut eight = [0; 8];
        let left = self.bytes.get(self.at..).unwrap_or_default();
        eight.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(eight)
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The difference of a mean value to the one before (T.81 F.2.2.1).
    fn difference(&mut self, table: &Huffman) -> Option<i32> {
        self.refill();
        let (len, size) = table.look_up((self.buffer >> 48) as u32)?;
        self.skip(len);
        let size = u32::from(size);
        if size == 0 {
            return Some(0);
        }
        if size > 11 {
            return None;
        }
        let value = (self.buffer >> (64 - size)) as i32;
        self.skip(size);
        let is_negative = value < 1 << (size - 1);
        Some(if is_negative {
            value - (1 << size) + 1
        } else {
            value
        })
    }

    /// Gives all codes of a block behind its mean value, with the numbers behind them, to `take` (F.2.2.2).
    #[inline(always)]
    fn rest_of_block(&mut self, table: &Huffman, mut take: impl FnMut(u32, u32)) -> Option<()> {
        let mut place = 1;
        while place < 64 {
            self.refill();
            let (len, symbol) = table.look_up((self.buffer >> 48) as u32)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            let all = len + size;
            take((self.buffer >> (64 - all)) as u32, all);
            self.skip(all);
            match (run, size) {
                (15, 0) => place += 16,
                (_, 0) => break,
                _ => place += run + 1,
            }
        }
        // A run past the last coefficient is broken, one up to it ends the block.
        (place <= 64).then_some(())
    }

    /// Whether no more was taken than there is.
    fn is_within(&self) -> bool {
        self.at - (self.count >> 3) as usize <= self.bytes.len()
    }
}

/// Entropy-coded data being written.
struct Output {
    bytes: Vec<u8>,
    /// The last bits, fewer than 32.
    buffer: u64,
    count: u32,
}

impl Output {
    fn after(header: &[u8], len: usize) -> Self {
        let mut bytes = Vec::with_capacity(header.len() + len + len / 16 + 16);
        bytes.extend_from_slice(header);
        Self {
            bytes,
            buffer: 0,
            count: 0,
        }
    }

    /// Appends the low `len` bits of `bits`, 31 at most, whose others are zeros.
    #[inline(always)]
    fn push(&mut self, bits: u32, len: u32) {
        self.buffer = self.buffer << len | u64::from(bits);
        self.count += len;
        if self.count >= 32 {
            self.count -= 32;
            let four = ((self.buffer >> self.count) as u32).to_be_bytes();
            self.stuffed(&four);
        }
    }

    fn stuffed(&mut self, bytes: &[u8]) {
        if !bytes.contains(&0xff) {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        for &byte in bytes {
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// Writes a difference of mean values (T.81 F.1.2.1); `None` if the table has no code for its size.
    fn difference(&mut self, table: &Huffman, difference: i32) -> Option<()> {
        let size = 32 - difference.unsigned_abs().leading_zeros();
        let &(code, len) = table.codes.get(size as usize).filter(|(_, len)| *len > 0)?;
        let value = if difference < 0 {
            difference - 1
        } else {
            difference
        };
        let value = (value as u32) & ((1 << size) - 1);
        self.push(u32::from(code), u32::from(len));
        self.push(value, size);
        Some(())
    }

    fn end(mut self) -> Vec<u8> {
        // The last byte is filled up with ones.
        let free = self.count.wrapping_neg() & 7;
        self.push((1 << free) - 1, free);
        let last = (self.buffer << (32 - self.count)) as u32;
        let len = (self.count / 8) as usize;
        self.stuffed(last.to_be_bytes().get(..len).unwrap_or_default());
        self.bytes.extend_from_slice(&[0xff, 0xd9]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_file::jpeg as encode;

    /// Noise over a slope: long codes, and differences of all sizes.
    fn pixels(width: u32, height: u32, bands: u32) -> Vec<u8> {
        let mut state = 7_u32;
        (0..width * height * bands)
            .map(|idx| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (x, y) = (idx / bands % width, idx / bands / width);
                let noise = if (x / 24 + y / 40) % 2 == 0 {
                    state >> 27
                } else {
                    state >> 24
                };
                ((x + 2 * y + idx % bands * 30 + noise) % 256) as u8
            })
            .collect()
    }

    fn cropped(file: &[u8], width: u16, height: u16) -> Option<Vec<u8>> {
        let parts = JpegParts::new(None, file).unwrap();
        parts.cropped(None, width, height)
    }

    fn viewed(file: &[u8], bands: usize) -> (usize, usize, Vec<u8>) {
        let decompress = mozjpeg::Decompress::new_mem(file).unwrap();
        let mut started = match bands {
            1 => decompress.grayscale().unwrap(),
            _ => decompress.rgb().unwrap(),
        };
        let size = (started.width(), started.height());
        (size.0, size.1, started.read_scanlines().unwrap())
    }

    #[test]
    fn what_is_kept_looks_as_it_did() {
        for (bands, chroma) in [(1, (1, 1)), (3, (1, 1)), (3, (2, 2)), (3, (2, 1))] {
            let file = encode(&pixels(96, 80, bands), 96, 80, bands as usize, bands == 3, chroma);
            let (_, _, whole) = viewed(&file, bands as usize);
            for (width, height) in [(96, 80), (64, 80), (96, 16), (48, 48), (33, 71), (1, 1), (95, 7)] {
                let small = cropped(&file, width, height).unwrap();
                let (found_width, found_height, found) = viewed(&small, bands as usize);
                assert_eq!(
                    (found_width, found_height),
                    (usize::from(width), usize::from(height))
                );
                // Where colors have half the resolution the last pixels are interpolated with those beyond.
                let (across, down) = (usize::from(chroma.0) - 1, usize::from(chroma.1) - 1);
                let bands = bands as usize;
                for y in 0..found_height - down.min(found_height) {
                    let row = (found_width - across.min(found_width)) * bands;
                    let (now, before) = (
                        &found[y * found_width * bands..][..row],
                        &whole[y * 96 * bands..][..row],
                    );
                    assert!(now == before, "{bands} bands {chroma:?} {width}x{height} row {y}");
                }
            }
        }
    }

    #[test]
    fn the_whole_picture_is_written_as_it_was() {
        let file = encode(&pixels(64, 48, 3), 64, 48, 3, true, (2, 2));
        assert!(cropped(&file, 64, 48).unwrap() == file);
    }

    #[test]
    fn more_than_there_is_and_broken_data_give_nothing() {
        let file = encode(&pixels(64, 48, 3), 64, 48, 3, true, (2, 2));
        assert_eq!(cropped(&file, 65, 48), None);
        assert_eq!(cropped(&file, 64, 49), None);
        let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        for len in scan + 20..file.len() - 2 {
            let mut short = file[..len].to_vec();
            assert_eq!(cropped(&short, 64, 48), None, "{len} bytes without an end");
            short.extend_from_slice(&[0xff, 0xd9]);
            // The last bits may be no more than the ones that fill the last byte up.
            if len < file.len() - 4 && short[len - 1] != 0xff {
                assert_eq!(cropped(&short, 64, 48), None, "{len} bytes and an end");
            }
        }
        let mut restarts = file.clone();
        restarts.splice(scan..scan, [0xff, 0xdd, 0, 4, 0, 2]);
        assert_eq!(cropped(&restarts, 32, 32), None);
        let mut state = 1_u32;
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut flipped = file.clone();
            let at = scan + 4 + state as usize / 8 % (file.len() - scan - 4);
            flipped[at] ^= 1 << (state % 8);
            // Whether it works does not matter here, only that it ends.
            let _ = cropped(&flipped, 40, 40);
        }
    }

    #[test]
    fn a_difference_without_a_code_gives_nothing() {
        // One code, of one bit: no difference at all.
        let table = Huffman::new(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut out = Output::after(&[], 0);
        assert_eq!(out.difference(&table, 0), Some(()));
        assert_eq!(out.difference(&table, 3), None);
    }
}
