//! Running sums along a row, which undo the differences of neighbors (TIFF 6.0 section 14).
//!
//! On x86-64 sixteen bytes are summed at once: a tile of deflate data spends a fifth of its time here
//! otherwise. The calls of that code, chosen when the processor has it, are all that is unsafe.

#![cfg_attr(target_arch = "x86_64", allow(unsafe_code))]

/// Adds to every sample the one `step` samples before it, from left to right, wrapping.
///
/// Samples are numbers of 1, 2, 4 or 8 bytes in the byte order of this machine; a rest at the end of the row
/// that is no whole sample stays as it is.
pub(crate) fn sum(row: &mut [u8], sample_bytes: usize, step: usize) {
    match sample_bytes {
        1 => sum_by(row, step, u8::from_ne_bytes, u8::wrapping_add, u8::to_ne_bytes),
        2 => sum_by(row, step, u16::from_ne_bytes, u16::wrapping_add, u16::to_ne_bytes),
        4 => sum_by(row, step, u32::from_ne_bytes, u32::wrapping_add, u32::to_ne_bytes),
        8 => sum_by(row, step, u64::from_ne_bytes, u64::wrapping_add, u64::to_ne_bytes),
        _ => {}
    }
}

/// The same for samples whose sum `add` gives.
pub(crate) fn sum_by<T: Copy, const N: usize>(
    row: &mut [u8],
    step: usize,
    from: impl Fn([u8; N]) -> T,
    add: impl Fn(T, T) -> T,
    to: impl Fn(T) -> [u8; N],
) {
    let done = sum_at_once(row, N, step);
    let (samples, _) = row.as_chunks_mut::<N>();
    for idx in (done / N).max(step)..samples.len() {
        samples[idx] = to(add(from(samples[idx]), from(samples[idx - step])));
    }
}

/// Sums as many bytes at the start of the row as can be summed at once, and gives their number, a multiple
/// of the sample's size. Samples that are not numbers of this machine are left to the caller.
#[cfg(target_arch = "x86_64")]
fn sum_at_once(row: &mut [u8], sample_bytes: usize, step: usize) -> usize {
    if row.len() < 32 || !std::arch::is_x86_feature_detected!("ssse3") {
        return 0;
    }
    macro_rules! run {
        ($sample:literal, $stride:literal) => {{
            // SAFETY: the function is safe but for the instructions it needs, and this processor has them:
            // it was asked just now.
            unsafe { ssse3::sum::<$sample, $stride, { 2 * $stride }, { 4 * $stride }, { 8 * $stride }>(row) }
        }};
    }
    match (sample_bytes, step) {
        (1, 1) => run!(1, 1),
        (1, 2) => run!(1, 2),
        (1, 3) => run!(1, 3),
        (1, 4) => run!(1, 4),
        (2, 1) => run!(2, 2),
        (2, 2) => run!(2, 4),
        (2, 3) => run!(2, 6),
        (2, 4) => run!(2, 8),
        (4, 1) => run!(4, 4),
        (4, 2) => run!(4, 8),
        (4, 3) => run!(4, 12),
        _ => 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn sum_at_once(_row: &mut [u8], _sample_bytes: usize, _step: usize) -> usize {
    0
}

#[cfg(target_arch = "x86_64")]
mod ssse3 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_add_epi16, _mm_add_epi32, _mm_setzero_si128, _mm_shuffle_epi8,
        _mm_slli_si128,
    };

    /// Sums all whole groups of 16 bytes of a row and gives the number of those bytes.
    ///
    /// `STRIDE` is the distance of two samples in bytes, 1 to 12; the others are 2, 4 and 8 times that, since
    /// they cannot be computed in a signature. Within a group the sums are made by doubling distances; then
    /// the last `STRIDE` bytes of the group before are added to all of it. The stride need not divide 16.
    #[target_feature(enable = "ssse3")]
    pub(super) fn sum<
        const SAMPLE_BYTES: usize,
        const STRIDE: i32,
        const TWICE: i32,
        const FOUR_TIMES: i32,
        const EIGHT_TIMES: i32,
    >(
        row: &mut [u8],
    ) -> usize {
        let add = |a: __m128i, b: __m128i| match SAMPLE_BYTES {
            1 => _mm_add_epi8(a, b),
            2 => _mm_add_epi16(a, b),
            _ => _mm_add_epi32(a, b),
        };
        let last_stride: __m128i = bytemuck::cast(const { last_stride_repeated(STRIDE as usize) });
        let (groups, _) = row.as_chunks_mut::<16>();
        let mut before = _mm_setzero_si128();
        for group in groups.iter_mut() {
            let mut sums: __m128i = bytemuck::cast(*group);
            sums = add(sums, _mm_slli_si128::<STRIDE>(sums));
            // A shift by more than the group gives zeros, and is left out by the compiler.
            sums = add(sums, _mm_slli_si128::<TWICE>(sums));
            sums = add(sums, _mm_slli_si128::<FOUR_TIMES>(sums));
            sums = add(sums, _mm_slli_si128::<EIGHT_TIMES>(sums));
            before = add(sums, _mm_shuffle_epi8(before, last_stride));
            *group = bytemuck::cast(before);
        }
        groups.len() * 16
    }

    /// Which byte of a group comes before each byte of the next one.
    const fn last_stride_repeated(stride: usize) -> [u8; 16] {
        let mut from = [0; 16];
        let mut idx = 0;
        while idx < 16 {
            from[idx] = (16 - stride + idx % stride) as u8;
            idx += 1;
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_undo_differences_of_every_sample_and_step(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            size_log in 0..4_u32,
            step in 1..7_usize,
        ) {
            let size = 1_usize << size_log;
            let number = |sample: &[u8]| {
                let mut all = [0; 8];
                all[..size].copy_from_slice(sample);
                u64::from_le_bytes(all)
            };
            let mut row = bytes.clone();
            for idx in step..bytes.len() / size {
                let at = |idx: usize| number(&bytes[idx * size..][..size]);
                let difference = at(idx).wrapping_sub(at(idx - step)).to_le_bytes();
                row[idx * size..][..size].copy_from_slice(&difference[..size]);
            }
            sum(&mut row, size, step);
            prop_assert_eq!(row, bytes);
        }
    }
}
