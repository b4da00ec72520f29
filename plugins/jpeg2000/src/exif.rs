//! The one tag of an EXIF block that says how the picture is to be turned (TIFF 6.0 section 2, EXIF 2.3 section 4.6.4).

use std::ops::Range;

use iiphost_codestream::Cursor;
use iiphost_plugin_api::{ByteSource, DecodeError};

/// What some writers put before the block, as in JPEG.
pub(crate) const PREFIX: [u8; 6] = *b"Exif\0\0";

/// Entries of the directory that are looked at.
const MAX_ENTRIES: u16 = 1024;

const ORIENTATION: u16 = 274;

/// The types of a number that fits: SHORT and LONG.
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The orientation an EXIF block states, if it is not upright anyway: 2 to 8. Only the directory is read; what is broken
/// is as if absent.
pub(crate) fn orientation(source: &dyn ByteSource, block: Range<u64>) -> Option<u8> {
    let stated = read(source, block).ok().flatten()?;
    u8::try_from(stated)
        .ok()
        .filter(|stated| (2..=8).contains(stated))
}

fn read(source: &dyn ByteSource, block: Range<u64>) -> Result<Option<u32>, DecodeError> {
    let mut cursor = Cursor::new(source, block.clone());
    let mut start = cursor.position();
    let mut magic = cursor.take::<8>()?;
    if magic.starts_with(&PREFIX) {
        start += PREFIX.len() as u64;
        cursor.seek(start);
        magic = cursor.take()?;
    }
    let [mark @ .., a, b, c, d] = magic;
    let is_big_endian = match &mark {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return Ok(None),
    };
    let short = |bytes: [u8; 2]| {
        if is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    };
    let long = |bytes: [u8; 4]| {
        if is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    cursor.seek(start + u64::from(long([a, b, c, d])));
    for _ in 0..short(cursor.take()?).min(MAX_ENTRIES) {
        let [a, b, c, d, count @ .., v, w, x, y] = cursor.take::<12>()?;
        if short([a, b]) == ORIENTATION && long(count) > 0 {
            return Ok(match short([c, d]) {
                SHORT => Some(short([v, w]).into()),
                LONG => Some(long([v, w, x, y])),
                _ => None,
            });
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A block with an entry before the orientation, whose value is a SHORT or a LONG.
    pub(crate) fn block(is_big_endian: bool, is_long: bool, orientation: u16) -> Vec<u8> {
        let short = |value: u16| {
            if is_big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let long = |value: u32| {
            if is_big_endian {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let mut block = if is_big_endian { *b"MM\0*" } else { *b"II*\0" }.to_vec();
        // A gap before the directory.
        block.extend(long(12));
        block.extend([9; 4]);
        block.extend(short(2));
        for (tag, kind, value) in [
            (256, SHORT, 7),
            (ORIENTATION, if is_long { LONG } else { SHORT }, orientation),
        ] {
            block.extend([short(tag), short(kind)].concat());
            block.extend(long(1));
            match kind {
                LONG => block.extend(long(value.into())),
                _ => block.extend([short(value), [0; 2]].concat()),
            }
        }
        block.extend([0; 4]);
        block
    }

    #[test]
    fn every_orientation_is_found_in_every_form() {
        for (is_big_endian, is_long) in [(false, false), (false, true), (true, false), (true, true)] {
            for prefix in [&[][..], &PREFIX] {
                for stated in 0..12 {
                    let file = [&[1; 5], prefix, &block(is_big_endian, is_long, stated), &[1; 3]].concat();
                    let found = orientation(&file, 5..file.len() as u64 - 3);
                    assert_eq!(found.map(u16::from), Some(stated).filter(|n| (2..=8).contains(n)));
                }
            }
        }
    }

    #[test]
    fn what_is_broken_is_as_if_absent() {
        let file = block(true, false, 6);
        for len in 0..file.len() {
            let found = orientation(&file[..len].to_vec(), 0..len as u64);
            assert!(found.is_none_or(|found| found == 6), "cut after {len} bytes");
            for value in [0, 0x7f, 0xff] {
                let mut file = file.clone();
                file[len] = value;
                // Whatever it is, it is an answer.
                let _ = orientation(&file, 0..file.len() as u64);
            }
        }
        assert_eq!(orientation(&b"JUNKJUNKJUNK".to_vec(), 0..12), None);
    }
}
