//! Tables that hold until they are replaced (T.81 B.2.4).

use std::sync::Arc;

use iiphost_plugin_api::DecodeError;

use crate::huffman::Huffman;
use crate::segments::{DHT, DQT, DRI};

/// Quantization steps in zigzag order.
pub(crate) type Quant = [u16; 64];

/// The tables in force at some place of a file.
#[derive(Clone, Default)]
pub(crate) struct Tables {
    pub(crate) quant: [Option<Arc<Quant>>; 4],
    dc: [Option<Arc<Huffman>>; 4],
    ac: [Option<Arc<Huffman>>; 4],
    /// MCUs between restart markers, 0 for none.
    pub(crate) restart_interval: u32,
}

impl Tables {
    /// Takes the tables of a segment; one of another kind changes nothing.
    ///
    /// # Errors
    /// `Format` if the segment is cut off or a table in it is impossible.
    pub(crate) fn take(&mut self, code: u8, payload: &[u8]) -> Result<(), DecodeError> {
        let broken = |what: &str| DecodeError::format(format!("JPEG {what} is broken"));
        let mut rest = payload;
        match code {
            DQT => {
                while let Some((&head, tail)) = rest.split_first() {
                    let bytes = if head >> 4 == 0 { 64 } else { 128 };
                    let slot = self.quant.get_mut(usize::from(head & 15));
                    let (Some(slot), Some((values, tail))) = (slot, tail.split_at_checked(bytes)) else {
                        return Err(broken("quantization table"));
                    };
                    let mut quant = [0; 64];
                    for (idx, step) in quant.iter_mut().enumerate() {
                        *step = match values {
                            [..] if bytes == 64 => u16::from(values[idx]),
                            _ => u16::from_be_bytes([values[2 * idx], values[2 * idx + 1]]),
                        };
                    }
                    *slot = Some(Arc::new(quant));
                    rest = tail;
                }
            }
            DHT => {
                while let Some((&head, tail)) = rest.split_first() {
                    let class = match head >> 4 {
                        0 => &mut self.dc,
                        1 => &mut self.ac,
                        _ => return Err(broken("Huffman table")),
                    };
                    let slot = class.get_mut(usize::from(head & 15));
                    let (Some(slot), Some((counts, tail))) = (slot, tail.split_first_chunk::<16>()) else {
                        return Err(broken("Huffman table"));
                    };
                    let total = counts.iter().map(|&count| usize::from(count)).sum();
                    let (symbols, tail) = tail
                        .split_at_checked(total)
                        .ok_or_else(|| broken("Huffman table"))?;
                    *slot = Some(Arc::new(Huffman::new(*counts, symbols)?));
                    rest = tail;
                }
            }
            DRI => {
                let interval = payload.first_chunk().ok_or_else(|| broken("restart interval"))?;
                self.restart_interval = u32::from(u16::from_be_bytes(*interval));
            }
            _ => {}
        }
        Ok(())
    }

    /// The DC table `number`; a file without one means the standard table, as Motion JPEG frames do.
    pub(crate) fn dc(&self, number: usize) -> Result<Arc<Huffman>, DecodeError> {
        let table = match self.dc.get(number) {
            Some(Some(table)) => Arc::clone(table),
            _ => Arc::new(standard::dc(number)?),
        };
        // A difference has at most 15 bits (T.81 F.1.2.1, H.1.2.2 has one more for lossless only).
        if table.max_symbol() > 15 {
            return Err(DecodeError::format(
                "a DC Huffman table of the JPEG is impossible",
            ));
        }
        Ok(table)
    }

    /// The AC table `number`, as [`dc`](Self::dc).
    pub(crate) fn ac(&self, number: usize) -> Result<Arc<Huffman>, DecodeError> {
        match self.ac.get(number) {
            Some(Some(table)) => Ok(Arc::clone(table)),
            _ => Ok(Arc::new(standard::ac(number)?)),
        }
    }
}

/// The typical tables of T.81 K.3.
pub(crate) mod standard {
    use super::{DecodeError, Huffman};

    const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    /// Table K.3 (0, luminance) or K.4 (1, chrominance).
    pub(crate) fn dc(number: usize) -> Result<Huffman, DecodeError> {
        let counts = match number {
            0 => [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
            1 => [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
            _ => return Err(missing(number)),
        };
        Huffman::new(counts, &DC_SYMBOLS)
    }

    /// Table K.5 (0, luminance) or K.6 (1, chrominance).
    pub(crate) fn ac(number: usize) -> Result<Huffman, DecodeError> {
        match number {
            0 => Huffman::new([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &K5),
            1 => Huffman::new([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &K6),
            _ => Err(missing(number)),
        }
    }

    fn missing(number: usize) -> DecodeError {
        DecodeError::format(format!("Huffman table {number} of the JPEG is missing"))
    }

    #[rustfmt::skip]
    static K5: [u8; 162] = [
        0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
        0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
        0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
        0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
        0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
        0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
        0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
        0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
        0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
        0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
        0xf9, 0xfa,
    ];

    #[rustfmt::skip]
    static K6: [u8; 162] = [
        0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
        0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
        0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
        0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
        0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
        0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
        0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
        0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
        0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
        0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
        0xf9, 0xfa,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_cut_off_is_refused() {
        let mut payload = vec![0x10];
        payload.extend([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125]);
        payload.extend([7; 161]);
        assert!(Tables::default().take(DHT, &payload).is_err());
        assert!(Tables::default().take(DQT, &[0; 64]).is_err());
        assert!(Tables::default().take(DQT, &[0x10; 65]).is_err());
        assert!(Tables::default().take(DQT, &[4; 65]).is_err());
        assert!(Tables::default().take(DRI, &[1]).is_err());
        assert!(Tables::default().take(DQT, &[3; 65]).is_ok());
    }

    #[test]
    fn a_table_that_is_missing_is_the_standard_one() {
        let tables = Tables::default();
        assert_eq!(tables.ac(0).unwrap().code(0).len, 4);
        assert_eq!(tables.ac(1).unwrap().code(0).len, 2);
        assert!(tables.dc(2).is_err());
    }
}
