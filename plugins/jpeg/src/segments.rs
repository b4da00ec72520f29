//! Marker segments, one after the other (T.81 B.1.1).

use iiphost_plugin_api::{ByteSource, DecodeError};

pub(crate) const SOI: u8 = 0xd8;
pub(crate) const EOI: u8 = 0xd9;
pub(crate) const SOS: u8 = 0xda;
pub(crate) const DQT: u8 = 0xdb;
pub(crate) const DHT: u8 = 0xc4;
pub(crate) const DRI: u8 = 0xdd;
pub(crate) const DNL: u8 = 0xdc;
pub(crate) const COM: u8 = 0xfe;
pub(crate) const RST0: u8 = 0xd0;
pub(crate) const APP0: u8 = 0xe0;
pub(crate) const APP1: u8 = 0xe1;
pub(crate) const APP2: u8 = 0xe2;
pub(crate) const APP13: u8 = 0xed;
pub(crate) const APP14: u8 = 0xee;

/// Bytes read at a time: headers are short, profiles are skipped.
const WINDOW: usize = 4096;

/// A marker segment; its payload stays in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Second byte of the marker.
    pub(crate) code: u8,
    /// Where the payload begins.
    pub(crate) offset: u64,
    /// Bytes of the payload.
    pub(crate) len: usize,
}

impl Segment {
    /// The payload.
    ///
    /// # Errors
    /// `Format` if the source ends before it does.
    pub(crate) fn read(&self, source: &dyn ByteSource) -> Result<Vec<u8>, DecodeError> {
        let mut payload = vec![0; self.len];
        source.read_exact_at(self.offset, &mut payload)?;
        Ok(payload)
    }

    /// Up to `len` bytes of the payload.
    pub(crate) fn read_start(&self, source: &dyn ByteSource, len: usize) -> Result<Vec<u8>, DecodeError> {
        Self {
            len: self.len.min(len),
            ..*self
        }
        .read(source)
    }
}

/// Reads marker segments from some place on.
pub(crate) struct Segments<'a> {
    source: &'a dyn ByteSource,
    at: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Segments<'a> {
    /// The segments from `at` on. Bytes that belong to none are skipped, as T.81 B.1.1.2 has it for fill bytes
    /// and decoders do for rubbish.
    pub(crate) fn new(source: &'a dyn ByteSource, at: u64) -> Self {
        Self {
            source,
            at,
            window: Vec::new(),
            window_start: 0,
        }
    }

    fn byte(&mut self, at: u64) -> Result<Option<u8>, DecodeError> {
        let inside = |start: u64, len: usize| at.checked_sub(start).filter(|&i| i < len as u64);
        if inside(self.window_start, self.window.len()).is_none() {
            self.window.resize(WINDOW, 0);
            let count = self.source.read_at(at, &mut self.window)?;
            self.window.truncate(count);
            self.window_start = at;
        }
        Ok(inside(self.window_start, self.window.len()).and_then(|i| self.window.get(i as usize).copied()))
    }

    /// The next segment, `None` at the end of the image or of the source.
    ///
    /// # Errors
    /// `Format` for a length below 2, `Io`.
    pub(crate) fn next(&mut self) -> Result<Option<Segment>, DecodeError> {
        loop {
            match self.byte(self.at)? {
                None => return Ok(None),
                Some(0xff) => {}
                Some(_) => {
                    self.at += 1;
                    continue;
                }
            }
            let code = match self.byte(self.at + 1)? {
                None => return Ok(None),
                // A fill byte: the marker may begin with the next one.
                Some(0xff) => {
                    self.at += 1;
                    continue;
                }
                Some(code) => code,
            };
            let start = self.at;
            self.at += 2;
            match code {
                EOI => return Ok(None),
                // Not markers, or markers without a segment.
                0 | 1 | RST0..=SOI => continue,
                _ => {}
            }
            let (Some(high), Some(low)) = (self.byte(self.at)?, self.byte(self.at + 1)?) else {
                return Ok(None);
            };
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(len) = len.checked_sub(2) else {
                return Err(DecodeError::format(format!(
                    "JPEG segment {code:#04x} at byte {start} has the length {len}"
                )));
            };
            let segment = Segment {
                code,
                offset: self.at + 2,
                len,
            };
            self.at = segment.offset + len as u64;
            return Ok(Some(segment));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_and_rubbish_between_segments_are_skipped() {
        let file = b"\xff\xd8\xff\xff\xfe\0\x04ab??\xff\xd0\xff\xe1\0\x02\xff\xd9\xff\xfe\0\x02".to_vec();
        let mut segments = Segments::new(&file, 2);
        let first = segments.next().unwrap().unwrap();
        assert_eq!((first.code, first.read(&file).unwrap()), (COM, b"ab".to_vec()));
        let second = segments.next().unwrap().unwrap();
        assert_eq!((second.code, second.len), (APP1, 0));
        assert_eq!(segments.next().unwrap(), None);
    }

    #[test]
    fn a_length_that_does_not_hold_itself_is_an_error() {
        let file = b"\xff\xfe\0\x01a".to_vec();
        assert!(Segments::new(&file, 0).next().is_err());
    }
}
