//! Code-blocks: bit-plane by bit-plane to coefficients (ISO/IEC 15444-1 Annex D).
//!
//! Four rows of a block are a stripe. Samples lie column by column in their stripe, which is the order they are decoded in.

mod contexts;
mod passes;

use super::arithmetic::{Arithmetic, Bypass, END};
use contexts::{Coder, FRESH};
use passes::Passes;

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
