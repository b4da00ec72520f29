//! The first bytes of a TIFF file (TIFF 6.0 section 2, BigTIFF).

use iiphost_plugin_api::DecodeError;

/// Order of bytes in the numbers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// `II`
    Little,
    /// `MM`
    Big,
}

impl ByteOrder {
    /// The order of this machine.
    pub(crate) const NATIVE: Self = if cfg!(target_endian = "little") {
        Self::Little
    } else {
        Self::Big
    };

    /// Whether numbers of the file have the order of this machine.
    pub(crate) fn is_native(self) -> bool {
        self == Self::NATIVE
    }

    /// A whole number of 1 to 8 bytes.
    pub(crate) fn unsigned(self, bytes: &[u8]) -> u64 {
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, add),
            Self::Big => bytes.iter().fold(0, add),
        }
    }

    /// A number of 2 bytes.
    pub(crate) fn u16(self, bytes: &[u8]) -> u16 {
        self.unsigned(&bytes[..2]) as u16
    }

    /// A number of 4 bytes.
    pub(crate) fn u32(self, bytes: &[u8]) -> u32 {
        self.unsigned(&bytes[..4]) as u32
    }

    /// A number of 8 bytes.
    pub(crate) fn u64(self, bytes: &[u8]) -> u64 {
        self.unsigned(&bytes[..8])
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Order of bytes.
    pub(crate) order: ByteOrder,
    /// BigTIFF: 64-bit offsets.
    pub(crate) big: bool,
    /// Offset of the first directory.
    pub(crate) first_directory: u64,
}

impl Header {
    /// Bytes of the longer of the two headers.
    pub(crate) const MAX_LEN: usize = 16;

    /// The header at the start of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let short = || {
            DecodeError::format(format!(
                "the file has {} bytes, a TIFF header has 8 or 16",
                bytes.len()
            ))
        };
        let order = match bytes.get(..2).ok_or_else(short)? {
            b"II" => ByteOrder::Little,
            b"MM" => ByteOrder::Big,
            other => {
                return Err(DecodeError::format(format!(
                    "byte order mark {other:02x?}, expected II or MM"
                )));
            }
        };
        match order.u16(bytes.get(2..4).ok_or_else(short)?) {
            42 => Ok(Self {
                order,
                big: false,
                first_directory: u64::from(order.u32(bytes.get(4..8).ok_or_else(short)?)),
            }),
            43 => {
                let rest = bytes.get(4..16).ok_or_else(short)?;
                let (offset_len, zero) = (order.u16(rest), order.u16(&rest[2..]));
                if (offset_len, zero) != (8, 0) {
                    return Err(DecodeError::format(format!(
                        "BigTIFF offsets of {offset_len} bytes (then {zero}), expected 8 (then 0)"
                    )));
                }
                Ok(Self {
                    order,
                    big: true,
                    first_directory: order.u64(&rest[4..]),
                })
            }
            other => Err(DecodeError::format(format!(
                "version number {other}, expected 42 or 43"
            ))),
        }
    }

    /// The name of the format, as shown to people.
    pub(crate) fn format_name(&self) -> &'static str {
        if self.big { "BigTIFF" } else { "TIFF" }
    }

    /// The order of bytes, as shown to people.
    pub(crate) fn order_name(&self) -> &'static str {
        match self.order {
            ByteOrder::Little => "little-endian",
            ByteOrder::Big => "big-endian",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_of_header_are_told_apart() {
        let little = Header::parse(b"II\x2a\0\x08\0\0\0").unwrap();
        assert_eq!(
            (little.order, little.big, little.first_directory),
            (ByteOrder::Little, false, 8)
        );
        let big = Header::parse(b"MM\0\x2b\0\x08\0\0\0\0\0\0\0\0\x01\0").unwrap();
        assert_eq!(
            (big.order, big.big, big.first_directory),
            (ByteOrder::Big, true, 256)
        );
    }

    #[test]
    fn every_shorter_header_is_refused() {
        let full = b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0";
        for len in 0..full.len() {
            assert!(Header::parse(&full[..len]).is_err(), "{len} bytes");
        }
        assert!(Header::parse(b"II\x2b\0\x04\0\0\0\x10\0\0\0\0\0\0\0").is_err());
        assert!(Header::parse(b"II\x29\0\x08\0\0\0").is_err());
    }
}
