//! CCITT modified Huffman, T.4 and T.6 (TIFF 6.0 sections 10 and 11).

use hayro_ccitt::{DecodeSettings, Decoder, DecoderContext, EncodingMode, decode};
use iiphost_plugin_api::DecodeError;

use crate::compression::Compression;
use crate::layout::{BlockSize, Layout};

/// Bit of T4Options: lines are coded in two dimensions.
const T4_TWO_DIMENSIONAL: u32 = 1;

/// Bit of T4Options and T6Options: pixels may be stored uncompressed, which nobody does.
const UNCOMPRESSED_MODE: u32 = 2;

pub(super) fn decompress(
    layout: &Layout,
    encoded: &[u8],
    stored: &mut [u8],
    BlockSize { width, rows, .. }: BlockSize,
) -> Result<(), DecodeError> {
    let name = layout.compression.name();
    if layout.compression != Compression::FaxRle && layout.codec_options & UNCOMPRESSED_MODE != 0 {
        return Err(DecodeError::unsupported(format!("{name} with uncompressed mode")));
    }
    let encoding = match layout.compression {
        Compression::Fax4 => EncodingMode::Group4,
        Compression::Fax3 if layout.codec_options & T4_TWO_DIMENSIONAL != 0 => EncodingMode::Group3_2D,
        _ => EncodingMode::Group3_1D,
    };
    let settings = DecodeSettings {
        columns: width,
        rows,
        end_of_block: layout.compression != Compression::FaxRle,
        end_of_line: layout.compression == Compression::Fax3,
        rows_are_byte_aligned: layout.compression == Compression::FaxRle,
        encoding,
        strict: false,
    };
    let row_bytes = (width as usize).div_ceil(8);
    let mut sink = Rows {
        rows: stored.chunks_exact_mut(row_bytes),
        columns: width,
        done: 0,
    };
    let result = decode(encoded, &mut sink, &mut DecoderContext::new(settings));
    match (sink.done, result) {
        // What follows the last row is of no interest, be it broken or not.
        (done, _) if done >= rows => Ok(()),
        (done, Err(error)) => Err(DecodeError::format(format!(
            "{name}, row {done} of {rows}: {error}"
        ))),
        (done, Ok(_)) => Err(DecodeError::format(format!(
            "{name}: {done} rows, expected {rows}"
        ))),
    }
}

/// Rows of bits, black runs as ones; what that means is left to the photometric tag.
struct Rows<'a> {
    rows: std::slice::ChunksExactMut<'a, u8>,
    columns: u32,
    done: u32,
}

impl Decoder for Rows<'_> {
    fn push_row(&mut self, changes: &[u32]) {
        let Some(row) = self.rows.next() else {
            return;
        };
        self.done += 1;
        row.fill(0);
        for run in changes.chunks(2) {
            let end = run.get(1).copied().unwrap_or(self.columns).min(self.columns);
            set_bits(row, run[0].min(end) as usize, end as usize);
        }
    }
}

/// Sets the bits from `start` up to `end`, highest bit of a byte first.
fn set_bits(row: &mut [u8], start: usize, end: usize) {
    if start >= end {
        return;
    }
    let (first, last) = (start / 8, (end - 1) / 8);
    let head = 0xff_u8 >> (start % 8);
    let tail = 0xff_u8 << (7 - (end - 1) % 8);
    if first == last {
        row[first] |= head & tail;
        return;
    }
    row[first] |= head;
    row[first + 1..last].fill(0xff);
    row[last] |= tail;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_set_exactly_their_bits() {
        for start in 0..40 {
            for end in 0..=40 {
                let mut row = [0; 5];
                set_bits(&mut row, start, end);
                for bit in 0..40 {
                    let is_set = row[bit / 8] >> (7 - bit % 8) & 1 == 1;
                    assert_eq!(is_set, bit >= start && bit < end, "{start}..{end} bit {bit}");
                }
            }
        }
    }
}
