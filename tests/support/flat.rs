//! TIFF files of one picture in one strip, with any samples and any tags: what tiled fixtures leave out.

use std::collections::BTreeMap;

/// A picture and its tags; written little-endian, uncompressed.
#[derive(Clone, Debug)]
pub struct FlatTiff {
    width: u32,
    height: u32,
    samples: Vec<u8>,
    tags: BTreeMap<u16, (u16, u32, Vec<u8>)>,
}

const SHORT: u16 = 3;
const LONG: u16 = 4;

impl FlatTiff {
    /// A picture of `bands` bands of `bits` unsigned bits (8, 16 or 32) or, at -32, of floating point;
    /// `samples` are bytes in the order of the file, `photometric` as TIFF 6.0 numbers it.
    ///
    /// # Panics
    /// When the samples are not as many as the size says.
    #[must_use]
    pub fn new(width: u32, height: u32, bands: u16, bits: i16, photometric: u16, samples: Vec<u8>) -> Self {
        let bytes = usize::from(bits.unsigned_abs()) / 8;
        let expected = width as usize * height as usize * usize::from(bands) * bytes;
        assert_eq!(samples.len(), expected, "samples of the picture");
        let mut tiff = Self {
            width,
            height,
            samples,
            tags: BTreeMap::new(),
        };
        let count = usize::from(bands);
        tiff.put(256, LONG, 1, width.to_le_bytes().to_vec());
        tiff.put(257, LONG, 1, height.to_le_bytes().to_vec());
        tiff.shorts(258, &vec![bits.unsigned_abs(); count]);
        tiff.shorts(259, &[1]);
        tiff.shorts(262, &[photometric]);
        tiff.shorts(277, &[bands]);
        tiff.put(278, LONG, 1, height.to_le_bytes().to_vec());
        tiff.shorts(284, &[1]);
        tiff.shorts(339, &vec![if bits < 0 { 3 } else { 1 }; count]);
        let colors = match photometric {
            2 | 8 => 3,
            5 => 4,
            _ => 1,
        };
        if bands > colors {
            // One more is opacity, several are data.
            let meaning = if bands == colors + 1 { 2 } else { 0 };
            tiff.shorts(338, &vec![meaning; usize::from(bands - colors)]);
        }
        tiff
    }

    fn put(&mut self, tag: u16, kind: u16, count: u32, bytes: Vec<u8>) {
        self.tags.insert(tag, (kind, count, bytes));
    }

    fn shorts(&mut self, tag: u16, values: &[u16]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put(tag, SHORT, values.len() as u32, bytes);
    }

    /// A number in the tag Compression, whatever the samples are.
    #[must_use]
    pub fn said_to_be(mut self, compression: u16) -> Self {
        self.shorts(259, &[compression]);
        self
    }

    /// What the bands behind the colors are: 0 data, 1 opacity the colors are multiplied by, 2 opacity.
    #[must_use]
    pub fn extra_samples(mut self, meanings: &[u16]) -> Self {
        if !meanings.is_empty() {
            self.shorts(338, meanings);
        }
        self
    }

    /// An ICC profile.
    #[must_use]
    pub fn icc(mut self, profile: &[u8]) -> Self {
        self.put(34_675, 7, profile.len() as u32, profile.to_vec());
        self
    }

    /// An XMP packet.
    #[must_use]
    pub fn xmp(mut self, packet: &[u8]) -> Self {
        self.put(700, 1, packet.len() as u32, packet.to_vec());
        self
    }

    /// A text.
    #[must_use]
    pub fn text(mut self, tag: u16, text: &str) -> Self {
        let bytes = [text.as_bytes(), b"\0"].concat();
        self.put(tag, 2, bytes.len() as u32, bytes);
        self
    }

    /// Pixels to the inch.
    #[must_use]
    pub fn dots_per_inch(mut self, x: u32, y: u32) -> Self {
        for (tag, value) in [(282, x), (283, y)] {
            self.put(tag, 5, 1, [value.to_le_bytes(), 1_u32.to_le_bytes()].concat());
        }
        self.shorts(296, &[2]);
        self
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut tags = self.tags.clone();
        tags.insert(273, (LONG, 1, 8_u32.to_le_bytes().to_vec()));
        let len = self.samples.len() as u32;
        tags.insert(279, (LONG, 1, len.to_le_bytes().to_vec()));
        let mut out = b"II\x2a\0\0\0\0\0".to_vec();
        out.extend(&self.samples);
        let mut entries = Vec::new();
        for (tag, (kind, count, mut value)) in tags {
            if value.len() > 4 {
                out.resize(out.len().next_multiple_of(8), 0);
                let at = out.len() as u32;
                out.extend(&value);
                value = at.to_le_bytes().to_vec();
            }
            value.resize(4, 0);
            entries.extend(tag.to_le_bytes());
            entries.extend(kind.to_le_bytes());
            entries.extend(count.to_le_bytes());
            entries.extend(value);
        }
        out.resize(out.len().next_multiple_of(8), 0);
        let at = out.len() as u32;
        out[4..8].copy_from_slice(&at.to_le_bytes());
        out.extend(((entries.len() / 12) as u16).to_le_bytes());
        out.extend(entries);
        out.extend([0; 4]);
        out
    }

    /// Width and height.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The samples as stored.
    #[must_use]
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }
}
