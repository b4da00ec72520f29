//! Writing entropy-coded data (T.81 F.1.2.3).

/// Collects bits into bytes with stuffed zeros.
#[derive(Default)]
pub(crate) struct BitWriter {
    /// Finished bytes.
    pub(crate) bytes: Vec<u8>,
    bits: u64,
    count: u32,
}

impl BitWriter {
    /// Adds the lowest `count` bits of `value`, at most 32; those above are zero.
    #[inline]
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        self.bits = self.bits << count | value;
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            self.word((self.bits >> self.count) as u32);
        }
    }

    #[inline]
    fn word(&mut self, word: u32) {
        let bytes = word.to_be_bytes();
        if bytes.contains(&0xff) {
            for byte in bytes {
                self.byte(byte);
            }
        } else {
            self.bytes.extend(bytes);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xff {
            self.bytes.push(0);
        }
    }

    /// Fills the last byte with ones (T.81 F.1.2.3).
    pub(crate) fn finish(&mut self) {
        while self.count >= 8 {
            self.count -= 8;
            self.byte((self.bits >> self.count) as u8);
        }
        if self.count > 0 {
            let free = 8 - self.count;
            self.byte((self.bits << free) as u8 | ((1_u8 << free) - 1));
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::{BitPlace, BitReader};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(numbers in proptest::collection::vec((any::<u32>(), 1u32..=16), 0..200)) {
            let mut writer = BitWriter::default();
            let cut = |value: u32, count: u32| value & ((1 << count) - 1);
            for &(value, count) in &numbers {
                writer.put(u64::from(cut(value, count)), count);
            }
            writer.finish();
            let mut reader = BitReader::new(&writer.bytes, BitPlace::start(0));
            for &(value, count) in &numbers {
                prop_assert_eq!(reader.take(count).unwrap(), cut(value, count));
            }
            prop_assert!(!reader.is_dry());
        }
    }
}
