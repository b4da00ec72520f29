//! Samples as stored to samples as delivered: widths, signs, inversion.

use iiphost_plugin_api::SampleFormat;

use crate::layout::{Layout, SampleKind};
use crate::predictor;

/// Whether stored samples, in native byte order, are delivered samples already.
pub(crate) fn is_copy(layout: &Layout) -> bool {
    !predictor::is_left_for_unpacking(layout)
        && matches!(
            (layout.kind, layout.bits),
            (SampleKind::Float, 32) | (SampleKind::Unsigned | SampleKind::Signed, 8 | 16 | 32)
        )
}

/// Writes `count` delivered samples to `out`, from sample `first` of a stored row on.
///
/// `row` is in native byte order as [`predictor::undo`] leaves it. Signs are left to [`finish_row`].
pub(crate) fn unpack(
    layout: &Layout,
    format: SampleFormat,
    row: &[u8],
    first: usize,
    count: usize,
    out: &mut [u8],
) {
    let bytes = usize::from(layout.bits / 8);
    if is_copy(layout) {
        out.copy_from_slice(&row[first * bytes..(first + count) * bytes]);
        return;
    }
    // Only for samples of whole bytes.
    let whole = || &row[first * bytes..(first + count) * bytes];
    match (layout.kind, layout.bits) {
        _ if predictor::is_packed(layout) => packed(layout, format, row, first, count, out),
        (SampleKind::Float, 16) => floats::<2>(whole(), out, |b| half(u16::from_ne_bytes(b))),
        (SampleKind::Float, 24) => floats::<3>(whole(), out, |b| float24(predictor::from_native24(b))),
        (SampleKind::Float, _) => floats::<8>(whole(), out, |b| f64::from_ne_bytes(b) as f32),
        (SampleKind::Signed, 64) => floats::<8>(whole(), out, |b| i64::from_ne_bytes(b) as f32),
        (SampleKind::Unsigned, 64) => floats::<8>(whole(), out, |b| u64::from_ne_bytes(b) as f32),
        (_, _) => floats::<4>(whole(), out, f32::from_ne_bytes),
    }
}

fn floats<const N: usize>(row: &[u8], out: &mut [u8], value: impl Fn([u8; N]) -> f32) {
    let (samples, _) = row.as_chunks::<N>();
    for (sample, out) in samples.iter().zip(out.chunks_exact_mut(4)) {
        out.copy_from_slice(&value(*sample).to_ne_bytes());
    }
}

/// Samples of any width from 1 to 32 bits, highest bit first, each row from a byte boundary.
fn packed(layout: &Layout, format: SampleFormat, row: &[u8], first: usize, count: usize, out: &mut [u8]) {
    let bits = u32::from(layout.bits);
    let mask = (1_u64 << bits) - 1;
    let differences = predictor::is_left_for_unpacking(layout);
    if !differences && matches!(bits, 1 | 2 | 4) {
        return parts_of_bytes(bits as usize, row, first, out);
    }
    let step = usize::from(layout.samples_together());
    let mut totals = vec![0_u32; if differences { step } else { 0 }];
    // Differences can only be summed from the start of the row.
    let begin = if differences { 0 } else { first };
    let mut bit = begin * bits as usize;
    let mut next = || {
        let (byte, skip) = (bit / 8, (bit % 8) as u32);
        bit += bits as usize;
        // A sample touches at most five bytes; near the end of a row there may be fewer.
        let window = match row.get(byte..).and_then(<[u8]>::first_chunk::<8>) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => (byte..byte + 8).fold(0, |window, idx| {
                window << 8 | u64::from(row.get(idx).copied().unwrap_or(0))
            }),
        };
        (window << skip >> (64 - bits)) as u32
    };
    let mut sample = |idx: usize| {
        let value = next();
        if !differences {
            return value;
        }
        let total = &mut totals[idx % step];
        *total = total.wrapping_add(value) & mask as u32;
        *total
    };
    for idx in begin..first {
        sample(idx);
    }
    let samples = first..first + count;
    match format {
        SampleFormat::U8 => out
            .iter_mut()
            .zip(samples)
            .for_each(|(out, idx)| *out = sample(idx) as u8),
        SampleFormat::U16 => out
            .chunks_exact_mut(2)
            .zip(samples)
            .for_each(|(out, idx)| out.copy_from_slice(&(sample(idx) as u16).to_ne_bytes())),
        SampleFormat::U32 | SampleFormat::F32 => out
            .chunks_exact_mut(4)
            .zip(samples)
            .for_each(|(out, idx)| out.copy_from_slice(&sample(idx).to_ne_bytes())),
    }
}

/// The bits of every byte, highest first.
static BITS: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut idx = 0;
    while idx < 256 * 8 {
        table[idx / 8][idx % 8] = ((idx / 8) >> (7 - idx % 8) & 1) as u8;
        idx += 1;
    }
    table
};

/// Samples of 1, 2 or 4 bits, which no byte boundary cuts.
fn parts_of_bytes(bits: usize, row: &[u8], first: usize, mut out: &mut [u8]) {
    let mut first = first;
    if bits == 1 && first.is_multiple_of(8) {
        // Whole bytes at once: a bilevel tile is otherwise mostly this.
        let (groups, rest) = out.as_chunks_mut::<8>();
        for (group, &byte) in groups.iter_mut().zip(&row[first / 8..]) {
            *group = BITS[usize::from(byte)];
        }
        first += groups.len() * 8;
        out = rest;
    }
    let mask = (1_u8 << bits) - 1;
    let in_byte = 8 / bits;
    for (idx, out) in (first..).zip(out) {
        let shift = 8 - bits - idx % in_byte * bits;
        *out = row[idx / in_byte] >> shift & mask;
    }
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f32 {
    small_float(u32::from(bits), 5, 10)
}

/// 24-bit floating point (Adobe TIFF Technical Note 3): 1 sign, 7 exponent, 16 fraction bits.
fn float24(bits: u32) -> f32 {
    small_float(bits, 7, 16)
}

fn small_float(bits: u32, exponent_bits: u32, fraction_bits: u32) -> f32 {
    let sign = (bits >> (exponent_bits + fraction_bits) & 1) << 31;
    let max_exponent = (1 << exponent_bits) - 1;
    let exponent = bits >> fraction_bits & max_exponent;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let bias = max_exponent >> 1;
    let magnitude = match exponent {
        0 => {
            let scale = 1.0 / f32::from_bits((127 + bias - 1 + fraction_bits) << 23);
            return f32::from_bits((fraction as f32 * scale).to_bits() | sign);
        }
        e if e == max_exponent => 0xff << 23 | fraction << (23 - fraction_bits),
        e => (e + 127 - bias) << 23 | fraction << (23 - fraction_bits),
    };
    f32::from_bits(sign | magnitude)
}

/// Gives signed samples their offset form, in place: half the range is added.
pub(crate) fn offset_signed(row: &mut [u8], format: SampleFormat, bits: u32) {
    let high = 1_u32 << (bits - 1);
    match format {
        SampleFormat::U8 => row.iter_mut().for_each(|v| *v ^= high as u8),
        SampleFormat::U16 => each::<2>(row, |b| (u16::from_ne_bytes(b) ^ high as u16).to_ne_bytes()),
        SampleFormat::U32 => each::<4>(row, |b| (u32::from_ne_bytes(b) ^ high).to_ne_bytes()),
        SampleFormat::F32 => {}
    }
}

/// Turns the first band of every pixel from "0 is white" to "0 is black", in place. Of floating point `ends` is
/// the sum of black and white.
pub(crate) fn invert(row: &mut [u8], format: SampleFormat, bits: u32, band_count: usize, ends: f32) {
    let max = (u64::from(u32::MAX) >> (32 - bits)) as u32;
    match (format, band_count) {
        (SampleFormat::U8, 1) => row.iter_mut().for_each(|v| *v ^= max as u8),
        (SampleFormat::U8, _) => row.iter_mut().step_by(band_count).for_each(|v| *v ^= max as u8),
        (SampleFormat::U16, _) => each_nth::<2>(row, band_count, |b| {
            (u16::from_ne_bytes(b) ^ max as u16).to_ne_bytes()
        }),
        (SampleFormat::U32, _) => {
            each_nth::<4>(row, band_count, |b| (u32::from_ne_bytes(b) ^ max).to_ne_bytes());
        }
        (SampleFormat::F32, _) => {
            each_nth::<4>(row, band_count, |b| (ends - f32::from_ne_bytes(b)).to_ne_bytes());
        }
    }
}

fn each<const N: usize>(row: &mut [u8], change: impl Fn([u8; N]) -> [u8; N]) {
    row.as_chunks_mut::<N>()
        .0
        .iter_mut()
        .for_each(|v| *v = change(*v));
}

fn each_nth<const N: usize>(row: &mut [u8], step: usize, change: impl Fn([u8; N]) -> [u8; N]) {
    let (samples, _) = row.as_chunks_mut::<N>();
    samples.iter_mut().step_by(step).for_each(|v| *v = change(*v));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_covers_zero_one_subnormal_and_infinity() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0x3800, 0.5),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(float24(63 << 16), 1.0);
        assert_eq!(float24(1 << 23 | 64 << 16 | 0x8000), -3.0);
    }

    #[test]
    fn inversion_leaves_other_bands_alone() {
        let mut row = [0, 7, 15, 9];
        invert(&mut row, SampleFormat::U8, 4, 2, 1.0);
        assert_eq!(row, [15, 7, 0, 9]);
        let mut row = [0, 1, 2, 3, 255].map(|v: u8| v);
        offset_signed(&mut row, SampleFormat::U8, 8);
        assert_eq!(row, [128, 129, 130, 131, 127]);
    }
}
