//! One entry of a directory (TIFF 6.0 section 2).

use super::header::ByteOrder;

/// Type of the values of an entry, always one of those known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    /// Text and other bytes.
    pub(crate) const ASCII: Self = Self(2);

    fn new(number: u16) -> Option<Self> {
        matches!(number, 1..=13 | 16..=18).then_some(Self(number as u8))
    }

    /// The number in the file.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Bytes of one value.
    pub(crate) fn bytes(self) -> usize {
        match self.0 {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            _ => 8,
        }
    }

    /// BYTE, SHORT, LONG, IFD, LONG8, IFD8; UNDEFINED is read as bytes.
    pub(crate) fn is_unsigned_integer(self) -> bool {
        matches!(self.0, 1 | 3 | 4 | 7 | 13 | 16 | 18)
    }

    /// One value as floating point; a fraction with denominator 0 is 0.
    pub(crate) fn number_from(self, bytes: &[u8], order: ByteOrder) -> f64 {
        let signed = |bytes: &[u8]| {
            let unused = 64 - 8 * bytes.len() as u32;
            ((order.unsigned(bytes) << unused) as i64) >> unused
        };
        let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
        match self.0 {
            5 => ratio(f64::from(order.u32(bytes)), f64::from(order.u32(&bytes[4..]))),
            10 => ratio(signed(&bytes[..4]) as f64, signed(&bytes[4..]) as f64),
            6 | 8 | 9 | 17 => signed(bytes) as f64,
            11 => f64::from(f32::from_bits(order.u32(bytes))),
            12 => f64::from_bits(order.u64(bytes)),
            _ => order.unsigned(bytes) as f64,
        }
    }
}

/// Where the values of an entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the entry itself, in the order of the file; unused bytes are 0.
    Inline([u8; 8]),
    /// At an offset in the file, not checked yet.
    At(u64),
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// What it says.
    pub(crate) tag: u16,
    /// Type of the values.
    pub(crate) kind: Kind,
    /// Number of values.
    pub(crate) count: u64,
    /// Where the values are.
    pub(crate) place: Place,
}

impl Entry {
    /// The entry in 12 bytes (20 in BigTIFF), `None` if its type is not known: readers skip those.
    pub(crate) fn parse(field: &[u8], order: ByteOrder, big: bool) -> Option<Self> {
        let tag = order.u16(field);
        let kind = Kind::new(order.u16(&field[2..]))?;
        let (count, value) = if big {
            (order.u64(&field[4..]), &field[12..20])
        } else {
            (u64::from(order.u32(&field[4..])), &field[8..12])
        };
        let fits = count
            .checked_mul(kind.bytes() as u64)
            .is_some_and(|len| len <= value.len() as u64);
        let place = if fits {
            let mut bytes = [0; 8];
            bytes[..value.len()].copy_from_slice(value);
            Place::Inline(bytes)
        } else {
            Place::At(order.unsigned(value))
        };
        Some(Self {
            tag,
            kind,
            count,
            place,
        })
    }

    /// Bytes of all values, `None` on overflow.
    pub(crate) fn byte_len(&self) -> Option<u64> {
        self.count.checked_mul(self.kind.bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rationals_and_signed_numbers_have_their_value() {
        let little = ByteOrder::Little;
        assert_eq!(Kind(5).number_from(&[44, 1, 0, 0, 2, 0, 0, 0], little), 150.0);
        assert_eq!(Kind(5).number_from(&[44, 1, 0, 0, 0, 0, 0, 0], little), 0.0);
        assert_eq!(Kind(8).number_from(&[0xff, 0xfe], ByteOrder::Big), -2.0);
        assert_eq!(
            Kind(10).number_from(&[0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0], little),
            -0.25
        );
    }

    #[test]
    fn an_unknown_type_is_skipped_and_a_huge_count_is_not_inline() {
        let little = ByteOrder::Little;
        assert!(Entry::parse(&[0, 1, 99, 0, 1, 0, 0, 0, 7, 0, 0, 0], little, false).is_none());
        let mut big = [0xff; 20];
        big[..4].copy_from_slice(&[0, 1, 16, 0]);
        let entry = Entry::parse(&big, little, true).unwrap();
        assert_eq!(entry.place, Place::At(u64::MAX));
        assert_eq!(entry.byte_len(), None);
    }
}
