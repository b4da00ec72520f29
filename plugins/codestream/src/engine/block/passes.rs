//! The passes over the columns of a block (ISO/IEC 15444-1 D.3).
//!
//! Each column of a stripe has one word of flags: which of its own samples and of their neighbors are significant, and the
//! signs next to it, so that a context is one look-up.

// A row of a column is a number of a sample and of bits in its flags, and the loops over the four are unrolled.
#![allow(clippy::needless_range_loop)]

use super::BlockShape;
use super::contexts::{Coder, REFINEMENTS, RUN_LENGTH, SIGN, SIGNIFICANCE, UNIFORM};
use crate::engine::arithmetic::Bypass;

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

/// The passes over one block.
pub(super) struct Passes<'a> {
    pub(super) shape: &'a BlockShape,
    pub(super) flags: &'a mut [u32],
    pub(super) samples: &'a mut [i32],
    /// Half of the bit decoded in this plane.
    pub(super) half: i32,
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

    pub(super) fn significance(&mut self, coder: &mut Coder<'_>) {
        let table = &SIGNIFICANCE[self.shape.orientation & 3];
        let value = 3 * self.half;
        let pass = Significance {
            coder: *coder,
            table,
            value,
        };
        *coder = self.run(pass).coder;
    }

    pub(super) fn raw_significance(&mut self, bits: &mut Bypass<'_>) {
        let value = 3 * self.half;
        *bits = self.run(RawSignificance { bits: *bits, value }).bits;
    }

    pub(super) fn refinement(&mut self, coder: &mut Coder<'_>) {
        let half = self.half;
        *coder = self.run(Refinement { coder: *coder, half }).coder;
    }

    pub(super) fn raw_refinement(&mut self, bits: &mut Bypass<'_>) {
        let half = self.half;
        *bits = self.run(RawRefinement { bits: *bits, half }).bits;
    }

    pub(super) fn cleanup(&mut self, coder: &mut Coder<'_>) {
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

impl Coder<'_> {
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
