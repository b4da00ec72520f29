//! Code-blocks: bit-plane by bit-plane to coefficients (ISO/IEC 15444-1 Annex D).
//!
//! Four rows of a block are a stripe. Each column of a stripe has one word of flags: which of its own samples and of
//! their neighbors are significant, and the signs next to it, so that a context is one look-up. Samples lie column by
//! column in their stripe, which is the order they are decoded in.

// A row of a column is a number of a sample and of bits in its flags, and the loops over the four are unrolled.
#![allow(clippy::needless_range_loop)]

use super::arithmetic::{Arithmetic, Bypass, END, initial};

/// How code-blocks are coded: the bits of `SPcod` (Table A.19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockStyle(pub(crate) u8);

impl BlockStyle {
    /// Bits of the lower planes are not arithmetic-coded.
    pub(crate) fn bypasses(self) -> bool {
        self.0 & 1 != 0
    }

    /// Contexts start anew with each pass.
    fn resets(self) -> bool {
        self.0 & 2 != 0
    }

    /// Each pass is a segment of its own.
    pub(crate) fn terminates(self) -> bool {
        self.0 & 4 != 0
    }

    /// Contexts do not look at the stripe below.
    fn is_causal(self) -> bool {
        self.0 & 8 != 0
    }

    /// Four known symbols end each plane.
    fn has_marks(self) -> bool {
        self.0 & 32 != 0
    }

    /// The block coder of ISO/IEC 15444-15.
    pub(crate) fn is_high_throughput(self) -> bool {
        self.0 & 64 != 0
    }

    /// Passes, from the one of a number on, that belong to the same segment (D.4.2, D.6).
    pub(crate) fn passes_left(self, pass: u32) -> u32 {
        if self.terminates() {
            1
        } else if !self.bypasses() {
            u32::MAX
        } else if pass < 10 {
            10 - pass
        } else if (pass - 10).is_multiple_of(3) {
            2
        } else {
            1
        }
    }

    /// Whether the pass of a number begins a segment.
    pub(crate) fn begins_segment(self, pass: u32) -> bool {
        pass == 0 || self.terminates() || self.bypasses() && pass >= 10 && (pass - 10) % 3 != 1
    }
}

/// Bytes of a block that belong together, with the passes coded in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) passes: u32,
}

/// What is known of a block before it is decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShape {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 0 LL, 1 HL, 2 LH, 3 HH.
    pub(crate) orientation: usize,
    pub(crate) style: BlockStyle,
    /// Bit-planes with coded bits, at most 30 with the shift.
    pub(crate) planes: u32,
    /// Planes a region of interest was moved up (Annex H).
    pub(crate) roi_shift: u32,
}

// Flags of a column. Significance of rows −1 to 4 of the column before, this one and the next: bit 3·(row + 1) + 0, 1, 2.
// What belongs to one of the rows 0 to 3 follows at the same distance of three.
const CENTER: u32 = 1 << 4;
const NEIGHBORS: u32 = 0x1ef;
const WINDOW: u32 = 0x1ff;
/// Coded in the significance pass of this plane.
const VISITED: u32 = 1 << 18;
/// Refined before.
const REFINED: u32 = 1 << 19;
/// Sign, of rows 0 to 3.
const NEGATIVE: u32 = 1 << 20;
/// Signs of the rows above and below the stripe.
const NEGATIVE_ABOVE: u32 = 1 << 30;
const NEGATIVE_BELOW: u32 = 1 << 31;
const ALL_VISITED: u32 = VISITED | VISITED << 3 | VISITED << 6 | VISITED << 9;
const ALL_CENTERS: u32 = CENTER | CENTER << 3 | CENTER << 6 | CENTER << 9;

/// First of the contexts of signs (Table D.3).
const SIGNS: u8 = 9;
/// First of the contexts of refinements (Table D.4).
const REFINEMENTS: usize = 14;
const RUN_LENGTH: usize = 17;
const UNIFORM: usize = 18;

/// Contexts by number (Table D.7), room for any five bits so that a look-up needs no check.
type Contexts = [u8; 32];

const FRESH: Contexts = {
    let mut contexts = [initial(0); 32];
    contexts[0] = initial(4);
    contexts[RUN_LENGTH] = initial(3);
    contexts[UNIFORM] = initial(46);
    contexts
};

/// Contexts of significance (Table D.1) by orientation and the nine bits around a sample.
static SIGNIFICANCE: [[u8; 512]; 4] = {
    let mut tables = [[0; 512]; 4];
    let mut window = 0;
    while window < 512 {
        let mut orientation = 0;
        while orientation < 4 {
            tables[orientation][window] = significance(window, orientation);
            orientation += 1;
        }
        window += 1;
    }
    tables
};

const fn significance(window: usize, orientation: usize) -> u8 {
    let sideways = (window >> 3 & 1) + (window >> 5 & 1);
    let upright = (window >> 1 & 1) + (window >> 7 & 1);
    let across = (window & 1) + (window >> 2 & 1) + (window >> 6 & 1) + (window >> 8 & 1);
    if orientation == 3 {
        return match (across, sideways + upright) {
            (3.., _) => 8,
            (2, 1..) => 7,
            (2, _) => 6,
            (1, 2..) => 5,
            (1, 1) => 4,
            (1, _) => 3,
            (_, 2..) => 2,
            (_, 1) => 1,
            _ => 0,
        };
    }
    let (first, second) = if orientation == 1 {
        (upright, sideways)
    } else {
        (sideways, upright)
    };
    match (first, second, across) {
        (2, _, _) => 8,
        (1, 1.., _) => 7,
        (1, _, 1..) => 6,
        (1, _, _) => 5,
        (_, 2, _) => 4,
        (_, 1, _) => 3,
        (_, _, 2..) => 2,
        (_, _, 1) => 1,
        _ => 0,
    }
}

/// Contexts of signs (Tables D.2, D.3) by significance of the samples left, right, above, below (bits 0 to 3) and whether
/// they are negative (bits 4 to 7); bit 7 of an entry: the decision is turned over.
static SIGN: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut sums = [0i32; 2];
        let mut neighbor = 0;
        while neighbor < 4 {
            if at >> neighbor & 1 != 0 {
                sums[neighbor / 2] += if at >> (4 + neighbor) & 1 != 0 { -1 } else { 1 };
            }
            neighbor += 1;
        }
        let (sideways, upright) = (sums[0].signum(), sums[1].signum());
        let turned = sideways < 0 || sideways == 0 && upright < 0;
        let (sideways, upright) = if turned {
            (-sideways, -upright)
        } else {
            (sideways, upright)
        };
        let context = match (sideways, upright) {
            (0, 0) => 0,
            (0, _) => 1,
            (_, -1) => 2,
            (_, 0) => 3,
            _ => 4,
        };
        table[at] = SIGNS + context + if turned { 128 } else { 0 };
        at += 1;
    }
    table
};

/// Decodes blocks one after the other; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct BlockDecoder {
    /// One row of words for each stripe and one above and below, one word before and behind each row.
    flags: Vec<u32>,
    /// Coefficients with one more bit, for the half: stripe by stripe, column by column.
    samples: Vec<i32>,
    /// The segments, each with its end behind it.
    bytes: Vec<u8>,
    shape: Option<BlockShape>,
}

impl BlockDecoder {
    /// Decodes a block from the segments of its bytes. With what is there of them: a segment cut short gives the samples
    /// it has, and some that are wrong.
    pub(crate) fn decode(&mut self, shape: &BlockShape, bytes: &[u8], segments: &[Segment]) {
        let (width, stripes) = (shape.width, shape.height.div_ceil(4));
        self.flags.clear();
        self.flags.resize((stripes + 2) * (width + 2), 0);
        self.samples.clear();
        self.samples.resize(stripes * width * 4, 0);
        self.shape = Some(*shape);
        let mut contexts = FRESH;
        let mut plane = shape.planes + shape.roi_shift;
        let mut kind = 2;
        for segment in segments {
            let part = bytes
                .get(segment.start..segment.start + segment.len)
                .unwrap_or(&[]);
            self.bytes.clear();
            self.bytes.extend_from_slice(part);
            self.bytes.extend_from_slice(&END);
            let is_raw = shape.style.bypasses() && kind < 2 && plane + 4 <= shape.planes;
            let mut passes = Passes {
                shape,
                flags: &mut self.flags,
                samples: &mut self.samples,
                half: 0,
            };
            let mut coder = Coder {
                arithmetic: Arithmetic::new(&self.bytes),
                contexts,
            };
            let mut bypass = Bypass::new(&self.bytes);
            for _ in 0..segment.passes {
                if plane == 0 {
                    return;
                }
                // The bit that stands for one in this plane is 1 << plane: the lowest bit is the half.
                passes.half = 1 << (plane - 1);
                match (kind, is_raw) {
                    (0, false) => passes.significance(&mut coder),
                    (0, true) => passes.raw_significance(&mut bypass),
                    (1, false) => passes.refinement(&mut coder),
                    (1, true) => passes.raw_refinement(&mut bypass),
                    _ => passes.cleanup(&mut coder),
                }
                if shape.style.resets() && !is_raw {
                    coder.contexts = FRESH;
                }
                kind += 1;
                if kind == 3 {
                    kind = 0;
                    plane -= 1;
                }
            }
            contexts = coder.contexts;
        }
    }

    /// The coefficients of the block decoded last.
    pub(crate) fn coefficients(&self) -> Coefficients {
        let Some(shape) = &self.shape else {
            return Coefficients::Short(Box::default());
        };
        if shape.is_short() {
            // Checked by the number of planes.
            Coefficients::Short(self.rows(shape, |value| value as i16))
        } else {
            Coefficients::Long(self.rows(shape, |value| value))
        }
    }

    /// The coefficients row by row, out of the order they were decoded in.
    fn rows<T: Copy + Default>(&self, shape: &BlockShape, convert: impl Fn(i32) -> T) -> Box<[T]> {
        let mut out = vec![T::default(); shape.width * shape.height].into_boxed_slice();
        let stripes = self.samples.chunks_exact(4 * shape.width);
        for (rows, stripe) in out.chunks_mut(4 * shape.width).zip(stripes) {
            for (y, row) in rows.chunks_exact_mut(shape.width).enumerate() {
                for (to, column) in row.iter_mut().zip(stripe.as_chunks::<4>().0) {
                    *to = convert(shape.unshifted(column[y & 3]));
                }
            }
        }
        out
    }
}

/// Decoded coefficients of a block, row by row. Twice their value: the lowest bit is the half that bits not decoded are
/// worth (E.1.1.2, r = ½).
#[derive(Debug)]
pub(crate) enum Coefficients {
    /// Where all of them fit.
    Short(Box<[i16]>),
    /// Else.
    Long(Box<[i32]>),
}

impl BlockShape {
    /// Whether its coefficients, with the half, fit 16 bits.
    pub(crate) fn is_short(&self) -> bool {
        self.planes + self.roi_shift <= 14
    }

    /// A coefficient where it was before it was moved up as part of a region of interest (H.1).
    #[inline(always)]
    fn unshifted(&self, value: i32) -> i32 {
        match (self.roi_shift, value.unsigned_abs()) {
            (0, _) => value,
            (31.., _) => 0,
            (shift, magnitude) if magnitude >= 1 << shift => (magnitude >> shift) as i32 * value.signum(),
            _ => value,
        }
    }
}

/// The passes over one block.
struct Passes<'a> {
    shape: &'a BlockShape,
    flags: &'a mut [u32],
    samples: &'a mut [i32],
    /// Half of the bit decoded in this plane.
    half: i32,
}

/// The words of flags of one stripe, of the one above and the one below.
struct Rows<'a> {
    above: &'a mut [u32],
    here: &'a mut [u32],
    below: &'a mut [u32],
    is_causal: bool,
}

impl Rows<'_> {
    /// Marks the sample of a row in a column, `at` counted with the word before the first one, as significant. The
    /// column's own word is in `flags`.
    #[inline(always)]
    fn mark(&mut self, at: usize, row: usize, negative: u32, flags: &mut u32) {
        let shift = 3 * row;
        self.here[at - 1] |= 1 << (5 + shift);
        self.here[at + 1] |= 1 << (3 + shift);
        *flags |= (CENTER | (negative * NEGATIVE)) << shift;
        if row == 0 && !self.is_causal {
            self.above[at - 1] |= 1 << 17;
            self.above[at] |= (1 << 16) | (negative * NEGATIVE_BELOW);
            self.above[at + 1] |= 1 << 15;
        }
        if row == 3 {
            self.below[at - 1] |= 1 << 2;
            self.below[at] |= (1 << 1) | (negative * NEGATIVE_ABOVE);
            self.below[at + 1] |= 1;
        }
    }

    /// The entry of [`SIGN`] for the sample of a row in a column.
    #[inline(always)]
    fn sign(&self, at: usize, row: usize, flags: u32) -> u8 {
        let shift = 3 * row;
        let window = flags >> shift;
        let negative = |word: u32, row: usize| word >> (20 + 3 * row) & 1;
        let above = if row == 0 {
            flags >> 30 & 1
        } else {
            negative(flags, row - 1)
        };
        let below = if row == 3 {
            flags >> 31
        } else {
            negative(flags, row + 1)
        };
        let significant =
            (window >> 3 & 1) | (window >> 5 & 1) << 1 | (window >> 1 & 1) << 2 | (window >> 7 & 1) << 3;
        let signs = negative(self.here[at - 1], row)
            | negative(self.here[at + 1], row) << 1
            | above << 2
            | below << 3;
        SIGN[(significant | signs << 4) as usize & 255]
    }
}

/// What a pass does to each column. It is given by value and taken back, so that the state of the coder stays in registers.
trait Pass: Sized {
    /// One column of a stripe of `height` rows, `at` counted with the word before the first one.
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize);
}

impl Passes<'_> {
    /// Runs a pass over the columns of all stripes.
    #[inline(always)]
    fn run<P: Pass>(&mut self, mut pass: P) -> P {
        let width = self.shape.width;
        let stride = width + 2;
        for (stripe, samples) in self.samples.chunks_exact_mut(4 * width).enumerate() {
            let height = (self.shape.height - 4 * stripe).min(4);
            let words = &mut self.flags[stripe * stride..(stripe + 3) * stride];
            let (above, rest) = words.split_at_mut(stride);
            let (here, below) = rest.split_at_mut(stride);
            let mut rows = Rows {
                above,
                here,
                below,
                is_causal: self.shape.style.is_causal(),
            };
            let (columns, _) = samples.as_chunks_mut::<4>();
            if height == 4 {
                for (at, samples) in (1..).zip(columns) {
                    pass.column(&mut rows, at, samples, 4);
                }
            } else {
                for (at, samples) in (1..).zip(columns) {
                    pass.column(&mut rows, at, samples, height);
                }
            }
        }
        pass
    }

    fn significance(&mut self, coder: &mut Coder<'_>) {
        let table = &SIGNIFICANCE[self.shape.orientation & 3];
        let value = 3 * self.half;
        let pass = Significance {
            coder: *coder,
            table,
            value,
        };
        *coder = self.run(pass).coder;
    }

    fn raw_significance(&mut self, bits: &mut Bypass<'_>) {
        let value = 3 * self.half;
        *bits = self.run(RawSignificance { bits: *bits, value }).bits;
    }

    fn refinement(&mut self, coder: &mut Coder<'_>) {
        let half = self.half;
        *coder = self.run(Refinement { coder: *coder, half }).coder;
    }

    fn raw_refinement(&mut self, bits: &mut Bypass<'_>) {
        let half = self.half;
        *bits = self.run(RawRefinement { bits: *bits, half }).bits;
    }

    fn cleanup(&mut self, coder: &mut Coder<'_>) {
        let table = &SIGNIFICANCE[self.shape.orientation & 3];
        let value = 3 * self.half;
        let pass = Cleanup {
            coder: *coder,
            table,
            value,
        };
        *coder = self.run(pass).coder;
        if self.shape.style.has_marks() {
            for _ in 0..4 {
                coder.decide(UNIFORM);
            }
        }
    }
}

/// The arithmetic decoder with its contexts.
#[derive(Clone, Copy)]
struct Coder<'a> {
    arithmetic: Arithmetic<'a>,
    contexts: Contexts,
}

impl Coder<'_> {
    #[inline(always)]
    fn decide(&mut self, context: usize) -> u32 {
        self.arithmetic.decide(&mut self.contexts[context & 31])
    }

    /// Decodes the sign of a sample that has just become significant, and notes it.
    #[inline(always)]
    fn sign(&mut self, rows: &mut Rows<'_>, at: usize, row: usize, flags: &mut u32) -> bool {
        let entry = rows.sign(at, row, *flags);
        let negative = self.decide(usize::from(entry & 31)) ^ u32::from(entry >> 7);
        rows.mark(at, row, negative, flags);
        negative != 0
    }
}

/// The significance propagation pass (D.3.1).
struct Significance<'a> {
    coder: Coder<'a>,
    table: &'static [u8; 512],
    /// Of a sample that becomes significant.
    value: i32,
}

impl Pass for Significance<'_> {
    #[inline(always)]
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize) {
        let mut flags = rows.here[at];
        if flags == 0 {
            return;
        }
        for row in 0..height {
            let window = flags >> (3 * row);
            if window & (CENTER | VISITED) != 0 || window & NEIGHBORS == 0 {
                continue;
            }
            let context = self.table[(window & WINDOW) as usize];
            if self.coder.decide(context.into()) != 0 {
                let negative = self.coder.sign(rows, at, row, &mut flags);
                samples[row] = if negative { -self.value } else { self.value };
            }
            flags |= VISITED << (3 * row);
        }
        rows.here[at] = flags;
    }
}

/// The same without arithmetic coding (D.6).
struct RawSignificance<'a> {
    bits: Bypass<'a>,
    value: i32,
}

impl Pass for RawSignificance<'_> {
    #[inline(always)]
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize) {
        let mut flags = rows.here[at];
        for row in 0..height {
            let window = flags >> (3 * row);
            if window & (CENTER | VISITED) != 0 || window & NEIGHBORS == 0 {
                continue;
            }
            if self.bits.bit() != 0 {
                let negative = self.bits.bit();
                rows.mark(at, row, negative, &mut flags);
                samples[row] = if negative != 0 { -self.value } else { self.value };
            }
            flags |= VISITED << (3 * row);
        }
        rows.here[at] = flags;
    }
}

/// The magnitude refinement pass (D.3.3).
struct Refinement<'a> {
    coder: Coder<'a>,
    /// Half of the bit decoded.
    half: i32,
}

impl Pass for Refinement<'_> {
    #[inline(always)]
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize) {
        let mut flags = rows.here[at];
        if flags & ALL_CENTERS == 0 {
            return;
        }
        for row in 0..height {
            let window = flags >> (3 * row);
            if window & (CENTER | VISITED) != CENTER {
                continue;
            }
            let context = if window & REFINED != 0 {
                REFINEMENTS + 2
            } else {
                REFINEMENTS + usize::from(window & NEIGHBORS != 0)
            };
            let bit = self.coder.decide(context);
            samples[row] = refined(samples[row], bit, self.half);
            flags |= REFINED << (3 * row);
        }
        rows.here[at] = flags;
    }
}

/// The same without arithmetic coding.
struct RawRefinement<'a> {
    bits: Bypass<'a>,
    half: i32,
}

impl Pass for RawRefinement<'_> {
    #[inline(always)]
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize) {
        let mut flags = rows.here[at];
        for row in 0..height {
            if flags >> (3 * row) & (CENTER | VISITED) != CENTER {
                continue;
            }
            samples[row] = refined(samples[row], self.bits.bit(), self.half);
            flags |= REFINED << (3 * row);
        }
        rows.here[at] = flags;
    }
}

/// The cleanup pass (D.3.4).
struct Cleanup<'a> {
    coder: Coder<'a>,
    table: &'static [u8; 512],
    value: i32,
}

impl Pass for Cleanup<'_> {
    #[inline(always)]
    fn column(&mut self, rows: &mut Rows<'_>, at: usize, samples: &mut [i32; 4], height: usize) {
        let mut flags = rows.here[at];
        let mut first = 0;
        if flags == 0 && height == 4 {
            if self.coder.decide(RUN_LENGTH) == 0 {
                return;
            }
            let high = self.coder.decide(UNIFORM);
            first = (high << 1 | self.coder.decide(UNIFORM)) as usize & 3;
            let negative = self.coder.sign(rows, at, first, &mut flags);
            samples[first] = if negative { -self.value } else { self.value };
            first += 1;
        }
        for row in first..height {
            let window = flags >> (3 * row);
            if window & (CENTER | VISITED) != 0 {
                continue;
            }
            let context = self.table[(window & WINDOW) as usize];
            if self.coder.decide(context.into()) != 0 {
                let negative = self.coder.sign(rows, at, row, &mut flags);
                samples[row] = if negative { -self.value } else { self.value };
            }
        }
        rows.here[at] = flags & !ALL_VISITED;
    }
}

/// A sample with one more bit: half of it up or down in magnitude.
#[inline(always)]
fn refined(sample: i32, bit: u32, half: i32) -> i32 {
    if (bit != 0) ^ (sample < 0) {
        sample + half
    } else {
        sample - half
    }
}
