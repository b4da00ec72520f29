//! Contexts of decisions (ISO/IEC 15444-1 D.3, Tables D.1 to D.7), and the decoder that keeps them.

use crate::engine::arithmetic::{Arithmetic, initial};

/// First of the contexts of signs (Table D.3).
pub(super) const SIGNS: u8 = 9;
/// First of the contexts of refinements (Table D.4).
pub(super) const REFINEMENTS: usize = 14;
pub(super) const RUN_LENGTH: usize = 17;
pub(super) const UNIFORM: usize = 18;

/// Contexts by number (Table D.7), room for any five bits so that a look-up needs no check.
pub(super) type Contexts = [u8; 32];

pub(super) const FRESH: Contexts = {
    let mut contexts = [initial(0); 32];
    contexts[0] = initial(4);
    contexts[RUN_LENGTH] = initial(3);
    contexts[UNIFORM] = initial(46);
    contexts
};

/// Contexts of significance (Table D.1) by orientation and the nine bits around a sample.
pub(super) static SIGNIFICANCE: [[u8; 512]; 4] = {
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
pub(super) static SIGN: [u8; 256] = {
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

/// The arithmetic decoder with its contexts.
#[derive(Clone, Copy)]
pub(super) struct Coder<'a> {
    pub(super) arithmetic: Arithmetic<'a>,
    pub(super) contexts: Contexts,
}

impl Coder<'_> {
    #[inline(always)]
    pub(super) fn decide(&mut self, context: usize) -> u32 {
        self.arithmetic.decide(&mut self.contexts[context & 31])
    }
}
