//! Undoing predictors and byte order, in place, row by row.

use crate::ifd::ByteOrder;
use crate::layout::{Layout, Predictor, SampleKind};
use crate::sums;

/// A number of three bytes in native order.
pub(crate) fn from_native24([a, b, c]: [u8; 3]) -> u32 {
    if cfg!(target_endian = "little") {
        u32::from_le_bytes([a, b, c, 0])
    } else {
        u32::from_be_bytes([0, a, b, c])
    }
}

/// The lower three bytes of a number in native order.
fn to_native24(value: u32) -> [u8; 3] {
    if cfg!(target_endian = "little") {
        let [a, b, c, _] = value.to_le_bytes();
        [a, b, c]
    } else {
        let [_, a, b, c] = value.to_be_bytes();
        [a, b, c]
    }
}

/// Turns a decompressed block into samples in the byte order of this machine, without differences.
///
/// Samples that do not fill whole bytes stay packed; their differences are summed when they are unpacked.
pub(crate) fn undo(layout: &Layout, stored: &mut [u8], row_bytes: usize) {
    let step = usize::from(layout.samples_together());
    let sample_bytes = usize::from(layout.bits / 8);
    match layout.predictor {
        Predictor::FloatingPoint => {
            let mut planes = vec![0; row_bytes];
            for row in stored.chunks_exact_mut(row_bytes) {
                sums::sum(row, 1, step);
                planes.copy_from_slice(row);
                interleave(&planes, row, sample_bytes);
            }
            return;
        }
        Predictor::None | Predictor::Horizontal => {}
    }
    if !layout.order.is_native() && !is_packed(layout) {
        swap(stored, layout.bits);
    }
    if layout.predictor == Predictor::Horizontal {
        for row in stored.chunks_exact_mut(row_bytes) {
            match layout.bits {
                24 if layout.kind == SampleKind::Float => {
                    sums::sum_by(row, step, from_native24, u32::wrapping_add, to_native24);
                }
                8 | 16 | 32 | 64 => sums::sum(row, sample_bytes, step),
                _ => {}
            }
        }
    }
}

/// Samples that are stored bit by bit, highest first, whatever the byte order of the file.
///
/// Integers of 24 bits are among them: writers in use store them like that in files of either order.
pub(crate) fn is_packed(layout: &Layout) -> bool {
    match layout.kind {
        SampleKind::Float => false,
        _ => !matches!(layout.bits, 8 | 16 | 32 | 64),
    }
}

/// Whether differences are left to be summed when samples are unpacked.
pub(crate) fn is_left_for_unpacking(layout: &Layout) -> bool {
    layout.predictor == Predictor::Horizontal && is_packed(layout)
}

/// Turns the bytes of every number round. Packed samples have no byte order.
fn swap(stored: &mut [u8], bits: u16) {
    match bits {
        16 => swap_each::<2>(stored),
        24 => swap_each::<3>(stored),
        32 => swap_each::<4>(stored),
        64 => swap_each::<8>(stored),
        _ => {}
    }
}

fn swap_each<const N: usize>(stored: &mut [u8]) {
    let (numbers, _) = stored.as_chunks_mut::<N>();
    numbers.iter_mut().for_each(|number| number.reverse());
}

/// Bytes grouped by significance, most significant first, back to numbers in native order.
fn interleave(planes: &[u8], row: &mut [u8], sample_bytes: usize) {
    let count = row.len() / sample_bytes;
    for byte_idx in 0..sample_bytes {
        let significance = match ByteOrder::NATIVE {
            ByteOrder::Little => sample_bytes - 1 - byte_idx,
            ByteOrder::Big => byte_idx,
        };
        let plane = &planes[significance * count..][..count];
        for (byte, &value) in row[byte_idx..].iter_mut().step_by(sample_bytes).zip(plane) {
            *byte = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn swapping_turns_numbers_of_each_size() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        swap(&mut bytes, 16);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap(&mut bytes, 12);
        assert_eq!(bytes, [2, 1, 4, 3, 6, 5, 8, 7]);
        swap(&mut bytes, 64);
        assert_eq!(bytes, [7, 8, 5, 6, 3, 4, 1, 2]);
    }
}
