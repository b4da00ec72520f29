//! The few tags of an EXIF block that describe the picture (EXIF 2.3 section 4.6.4, TIFF 6.0 section 2).

/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 1024;

pub(crate) const IMAGE_DESCRIPTION: u16 = 270;
pub(crate) const MAKE: u16 = 271;
pub(crate) const MODEL: u16 = 272;
pub(crate) const ORIENTATION: u16 = 274;
pub(crate) const X_RESOLUTION: u16 = 282;
pub(crate) const Y_RESOLUTION: u16 = 283;
pub(crate) const RESOLUTION_UNIT: u16 = 296;
pub(crate) const SOFTWARE: u16 = 305;
pub(crate) const DATE_TIME: u16 = 306;
pub(crate) const ARTIST: u16 = 315;
pub(crate) const COPYRIGHT: u16 = 33432;

/// The main directory of an EXIF block. What is broken in it is as if absent.
pub(crate) struct Exif<'a> {
    block: &'a [u8],
    big_endian: bool,
    /// Tag, type, count, place of the value field.
    entries: Vec<(u16, u16, u32, usize)>,
}

impl<'a> Exif<'a> {
    /// The directory of a block without its `Exif` prefix, `None` if it is none.
    pub(crate) fn new(block: &'a [u8]) -> Option<Self> {
        let big_endian = match block.first_chunk()? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let mut exif = Self {
            block,
            big_endian,
            entries: Vec::new(),
        };
        let start = exif.long(4)? as usize;
        let count = usize::from(exif.short(start)?).min(MAX_ENTRIES);
        for number in 0..count {
            let at = start.checked_add(2 + 12 * number)?;
            let (Some(tag), Some(kind), Some(count)) = (
                exif.short(at),
                at.checked_add(2).and_then(|at| exif.short(at)),
                exif.long(at + 4),
            ) else {
                break;
            };
            exif.entries.push((tag, kind, count, at + 8));
        }
        Some(exif)
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn entry(&self, tag: u16) -> Option<(u16, u32, usize)> {
        let entry = self.entries.iter().find(|entry| entry.0 == tag)?;
        Some((entry.1, entry.2, entry.3))
    }

    /// A number of type SHORT or LONG.
    pub(crate) fn number(&self, tag: u16) -> Option<u32> {
        match self.entry(tag)? {
            (3, 1.., at) => self.short(at).map(u32::from),
            (4, 1.., at) => self.long(at),
            _ => None,
        }
    }

    /// A positive number of type RATIONAL.
    pub(crate) fn rational(&self, tag: u16) -> Option<f64> {
        let (5, 1.., at) = self.entry(tag)? else {
            return None;
        };
        let at = self.long(at)? as usize;
        let value = f64::from(self.long(at)?) / f64::from(self.long(at.checked_add(4)?)?);
        (value.is_finite() && value > 0.0).then_some(value)
    }

    /// A text up to its first NUL, without blanks around it; `None` if nothing is left.
    pub(crate) fn text(&self, tag: u16) -> Option<Vec<u8>> {
        let (2, count, field) = self.entry(tag)? else {
            return None;
        };
        let len = count as usize;
        let start = if len <= 4 {
            field
        } else {
            self.long(field)? as usize
        };
        let bytes = self.block.get(start..start.checked_add(len)?)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(len);
        let text = bytes[..end].trim_ascii();
        (!text.is_empty()).then(|| text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_file::exif_block;

    #[test]
    fn tags_are_read_in_both_byte_orders_and_cuts_leave_them_out() {
        for big_endian in [false, true] {
            let block = exif_block(big_endian, 6, "Some one");
            let exif = Exif::new(&block).unwrap();
            assert_eq!(exif.number(ORIENTATION), Some(6));
            assert_eq!(exif.text(ARTIST).unwrap(), b"Some one");
            assert_eq!(exif.rational(X_RESOLUTION), Some(300.0));
            assert_eq!(exif.text(MAKE), None);
            for len in 0..block.len() {
                if let Some(exif) = Exif::new(&block[..len]) {
                    // Whatever is left, it is the same or nothing.
                    assert!(exif.number(ORIENTATION).is_none_or(|value| value == 6));
                    assert!(exif.text(ARTIST).is_none_or(|text| text == b"Some one"));
                }
            }
        }
        assert!(Exif::new(b"JUNK").is_none());
    }
}
