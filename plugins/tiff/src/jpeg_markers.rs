//! The marker segments of the JPEG files inside a TIFF (ITU-T T.81 annex B, Adobe Technical Note 2).
//!
//! Finds the frame and joins the shared tables with a block; entropy-coded data is looked at only where a
//! tile is cut.

use iiphost_plugin_api::DecodeError;

use crate::jpeg_crop;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DHT: u8 = 0xc4;
const APP0: u8 = 0xe0;
const APP14: u8 = 0xee;

/// Start of image and Adobe marker with transform 0 (components are what they are).
static START_PLAIN: [u8; 18] = *b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00";
/// Start of image and Adobe marker with transform 1 (YCbCr).
static START_YCBCR: [u8; 18] = *b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01";
static START: [u8; 2] = [0xff, SOI];

/// What a frame header says (T.81 B.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Bits per sample.
    pub(crate) precision: u8,
    pub(crate) progressive: bool,
    /// Identifier, sampling factors (across in the high four bits) and quantization table by component.
    pub(crate) components: Vec<(u8, u8, u8)>,
}

impl Frame {
    /// Number of components.
    pub(crate) fn component_count(&self) -> usize {
        self.components.len()
    }

    /// Whether all components have the same number of samples.
    pub(crate) fn is_subsampled(&self) -> bool {
        self.components
            .iter()
            .any(|component| component.1 != self.components[0].1)
    }

    fn parse(marker: u8, body: &[u8]) -> Result<Self, DecodeError> {
        if !matches!(marker, 0xc0..=0xc2) {
            return Err(DecodeError::unsupported(format!(
                "JPEG frame type {:#04x}: lossless, hierarchical and arithmetic-coded JPEG are not supported",
                marker
            )));
        }
        let broken = || DecodeError::format("the JPEG frame header is broken");
        let head: &[u8; 6] = body.first_chunk().ok_or_else(broken)?;
        let components = body
            .get(6..6 + 3 * usize::from(head[5]))
            .filter(|components| !components.is_empty())
            .ok_or_else(broken)?;
        Ok(Self {
            precision: head[0],
            height: u16::from_be_bytes([head[1], head[2]]),
            width: u16::from_be_bytes([head[3], head[4]]),
            progressive: marker == 0xc2,
            components: components.chunks_exact(3).map(|c| (c[0], c[1], c[2])).collect(),
        })
    }
}

/// A block joined with the shared tables.
pub(crate) struct JpegParts<'a> {
    /// Segments of tables and block without start and end of image, in order.
    segments: Vec<(u8, &'a [u8])>,
    /// From the first scan to the end of the image, or of the bytes.
    scans: &'a [u8],
    has_end: bool,
    frame: Frame,
}

impl<'a> JpegParts<'a> {
    /// The parts of a block with its shared tables.
    ///
    /// # Errors
    /// `Format` if either is not made of marker segments up to the first scan.
    pub(crate) fn new(tables: Option<&'a [u8]>, block: &'a [u8]) -> Result<Self, DecodeError> {
        let mut segments = Vec::with_capacity(8);
        // Tables of 4 bytes are an empty file, written by some for "none".
        if let Some(tables) = tables.filter(|tables| tables.len() > 4) {
            walk(tables, &mut segments)?;
        }
        let scans =
            walk(block, &mut segments)?.ok_or_else(|| DecodeError::format("a JPEG block without a scan"))?;
        let (marker, segment) = segments
            .iter()
            .rev()
            .find(|(marker, _)| is_frame(*marker))
            .ok_or_else(|| DecodeError::format("a JPEG block without a frame header"))?;
        let frame = Frame::parse(*marker, &segment[4..])?;
        // Markers cannot occur inside entropy-coded data, and what follows the end is no part of the picture.
        let end = scans.windows(2).rposition(|pair| pair == [0xff, EOI]);
        Ok(Self {
            segments,
            scans: end.map_or(scans, |end| &scans[..end + 2]),
            has_end: end.is_some(),
            frame,
        })
    }

    /// The frame header.
    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Marker segments of tables and block up to the first scan, each from its marker on.
    pub(crate) fn segments(&self) -> &[(u8, &'a [u8])] {
        &self.segments
    }

    /// From the first scan to the end of the image, or of the bytes.
    pub(crate) fn scans(&self) -> &'a [u8] {
        self.scans
    }

    /// Whether the end of the image is there. Without it something is missing.
    pub(crate) fn has_end(&self) -> bool {
        self.has_end
    }

    /// Whether all quantization tables of the frame are there, and the Huffman tables of its first scan.
    pub(crate) fn has_tables(&self) -> bool {
        // A table says in its first byte which it is, and has a length of its own (T.81 B.2.4.1 and B.2.4.2).
        let tables = |wanted: u8, len: fn(&[u8]) -> usize| {
            let mut found = [false; 256];
            for (_, segment) in self.segments.iter().filter(|(marker, _)| *marker == wanted) {
                let mut rest = segment.get(4..).unwrap_or_default();
                while let Some(&id) = rest.first() {
                    // The precision of a quantization table is no part of its name.
                    found[usize::from(if wanted == DQT { id & 15 } else { id })] = true;
                    rest = rest.get(len(rest)..).unwrap_or_default();
                }
            }
            found
        };
        let quantization = tables(DQT, |table| if table[0] < 16 { 65 } else { 129 });
        let huffman = tables(DHT, |table| {
            17 + table
                .iter()
                .skip(1)
                .take(16)
                .map(|&count| usize::from(count))
                .sum::<usize>()
        });
        let count = usize::from(self.scans.get(4).copied().unwrap_or_default());
        let scan = self.scans.get(5..5 + 2 * count).unwrap_or_default();
        let has_huffman = |which: u8| {
            let (dc, ac) = (which >> 4, 0x10 | which & 15);
            // Scans of progressive files have coefficients of one kind; tables of the others may come later.
            huffman[usize::from(dc)] && (self.frame.progressive || huffman[usize::from(ac)])
        };
        self.frame
            .components
            .iter()
            .all(|component| quantization[usize::from(component.2)])
            && !scan.is_empty()
            && scan.chunks_exact(2).all(|component| has_huffman(component[1]))
    }

    /// Number of scans, at most (bytes inside other segments may look like one).
    pub(crate) fn scan_count(&self) -> usize {
        self.scans.windows(2).filter(|pair| *pair == [0xff, SOS]).count()
    }

    /// The color transform of the Adobe marker, `None` without one.
    pub(crate) fn adobe_transform(&self) -> Option<u8> {
        let (_, segment) = self
            .segments
            .iter()
            .rev()
            .find(|(marker, segment)| *marker == APP14 && segment[4..].starts_with(b"Adobe"))?;
        segment.get(15).copied()
    }

    /// Whether there is a JFIF marker, which means grey or YCbCr.
    pub(crate) fn has_jfif(&self) -> bool {
        self.segments
            .iter()
            .any(|(marker, segment)| *marker == APP0 && segment[4..].starts_with(b"JFIF\0"))
    }

    /// A complete file in pieces. With `transform` the color markers of the file are left out and an
    /// Adobe marker with that transform is put first.
    pub(crate) fn pieces(&self, transform: Option<u8>) -> Vec<&'a [u8]> {
        let start: &'static [u8] = match transform {
            None => &START,
            Some(0) => &START_PLAIN,
            Some(_) => &START_YCBCR,
        };
        let mut pieces = Vec::with_capacity(self.segments.len() + 2);
        pieces.push(start);
        for &(marker, segment) in &self.segments {
            if transform.is_none() || !matches!(marker, APP0 | APP14) {
                pieces.push(segment);
            }
        }
        pieces.push(self.scans);
        pieces
    }

    /// The same file for the `width` x `height` pixels at the upper left, whose coefficients stay as they are;
    /// `None` where that cannot be made without decoding.
    pub(crate) fn cropped(&self, transform: Option<u8>, width: u16, height: u16) -> Option<Vec<u8>> {
        let scan = jpeg_crop::scan(self, width, height)?;
        let mut pieces = self.pieces(transform);
        pieces.pop();
        let mut file = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum::<usize>() + scan.len());
        for piece in pieces {
            let start = file.len();
            file.extend_from_slice(piece);
            if piece.get(1).is_some_and(|&marker| is_frame(marker)) {
                // The sides stand behind the marker, the length and the precision (T.81 B.2.2).
                let sides = file.get_mut(start + 5..start + 9)?;
                sides[..2].copy_from_slice(&height.to_be_bytes());
                sides[2..].copy_from_slice(&width.to_be_bytes());
            }
        }
        file.extend_from_slice(&scan);
        Some(file)
    }
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Adds the segments of `bytes` up to the first scan or the end; gives the rest from the scan on.
fn walk<'a>(bytes: &'a [u8], segments: &mut Vec<(u8, &'a [u8])>) -> Result<Option<&'a [u8]>, DecodeError> {
    let broken = |at: usize, what: &str| DecodeError::format(format!("JPEG at byte {at}: {what}"));
    if !bytes.starts_with(&START) {
        return Err(broken(0, "no start of image"));
    }
    let mut at = 2;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let marker = match rest {
            // Fill bytes before a marker (T.81 B.1.1.2).
            [0xff, 0xff, ..] => {
                at += 1;
                continue;
            }
            [0xff, EOI, ..] | [] => return Ok(None),
            [0xff, SOS, ..] => return Ok(Some(rest)),
            [0xff, marker @ 0xc0..=0xfe, ..] => *marker,
            _ => return Err(broken(at, "no marker")),
        };
        let len = match rest {
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        match rest.get(..2 + len) {
            Some(segment) if len >= 2 => segments.push((marker, segment)),
            _ => return Err(broken(at, "a segment that is cut off")),
        }
        at += 2 + len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &[u8] = b"\xff\xd8\xff\xdb\x00\x04\x00\x01\xff\xd9";
    const BLOCK: &[u8] = b"\xff\xd8\xff\xe0\x00\x09JFIF\0\x01\x01\xff\xc0\x00\x11\x08\x00\x10\x00\x20\x03\x01\x22\x00\x02\x11\x00\x03\x11\x00\xff\xda\x00\x02abc\xff\xd9";

    #[test]
    fn tables_and_block_make_one_file() {
        let parts = JpegParts::new(Some(TABLES), BLOCK).unwrap();
        assert_eq!((parts.frame().width, parts.frame().height), (32, 16));
        assert!(parts.frame().is_subsampled() && parts.has_jfif());
        let file = parts.pieces(None).concat();
        let mut expected = b"\xff\xd8\xff\xdb\x00\x04\x00\x01".to_vec();
        expected.extend(&BLOCK[2..]);
        assert_eq!(file, expected);
        let plain = parts.pieces(Some(0)).concat();
        assert!(plain.starts_with(b"\xff\xd8\xff\xee\x00\x0eAdobe"));
        assert!(!plain.windows(4).any(|w| w == b"JFIF"));
        let again = JpegParts::new(None, &plain).unwrap();
        assert_eq!(again.adobe_transform(), Some(0));
    }

    #[test]
    fn every_cut_before_the_scan_is_an_error() {
        let scan = BLOCK.windows(2).position(|w| w == [0xff, SOS]).unwrap();
        for len in 0..=scan {
            assert!(
                JpegParts::new(Some(TABLES), &BLOCK[..len]).is_err(),
                "{len} bytes"
            );
        }
        for len in 0..TABLES.len() - 2 {
            assert!(
                len <= 4 || len == 8 || JpegParts::new(Some(&TABLES[..len]), BLOCK).is_err(),
                "{len}"
            );
        }
    }
}
