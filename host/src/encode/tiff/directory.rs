//! Image file directories: entries and their values, classic and Big (TIFF 6.0 section 2).

use std::collections::BTreeMap;

use super::TiffError;

/// Tag numbers, TIFF 6.0 appendix A unless noted.
pub(super) mod tag {
    pub(crate) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(crate) const IMAGE_WIDTH: u16 = 256;
    pub(crate) const IMAGE_LENGTH: u16 = 257;
    pub(crate) const BITS_PER_SAMPLE: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const DOCUMENT_NAME: u16 = 269;
    pub(crate) const IMAGE_DESCRIPTION: u16 = 270;
    pub(crate) const MAKE: u16 = 271;
    pub(crate) const MODEL: u16 = 272;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const ORIENTATION: u16 = 274;
    pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(crate) const MAX_SAMPLE_VALUE: u16 = 281;
    pub(crate) const X_RESOLUTION: u16 = 282;
    pub(crate) const Y_RESOLUTION: u16 = 283;
    pub(crate) const PLANAR_CONFIGURATION: u16 = 284;
    pub(crate) const PAGE_NAME: u16 = 285;
    pub(crate) const RESOLUTION_UNIT: u16 = 296;
    pub(crate) const SOFTWARE: u16 = 305;
    pub(crate) const DATE_TIME: u16 = 306;
    pub(crate) const ARTIST: u16 = 315;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_LENGTH: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_BYTE_COUNTS: u16 = 325;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    /// TIFF Technical Note 2 (JPEG).
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(crate) const REFERENCE_BLACK_WHITE: u16 = 532;
    /// XMP specification part 3, section 3.2 (TIFF).
    pub(crate) const XMP: u16 = 700;
    pub(crate) const COPYRIGHT: u16 = 33432;
    /// ICC.1:2022 annex B.4.
    pub(crate) const ICC: u16 = 34675;
}

/// Width of offsets and counts in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// TIFF 6.0: 32 bits, files below 4 GiB.
    Classic,
    /// BigTIFF: 64 bits.
    Big,
}

impl Flavor {
    const fn entry_len(self) -> u64 {
        match self {
            Self::Classic => 12,
            Self::Big => 20,
        }
    }

    const fn count_len(self) -> u64 {
        match self {
            Self::Classic => 2,
            Self::Big => 8,
        }
    }

    /// Bytes of an offset, which is also what an entry holds in place.
    pub(super) const fn offset_len(self) -> u64 {
        match self {
            Self::Classic => 4,
            Self::Big => 8,
        }
    }

    /// The file header; the first directory is at `directory`.
    pub(super) fn header(self, directory: u64) -> Result<Vec<u8>, TiffError> {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::Classic => out.extend_from_slice(b"II\x2a\0"),
            Self::Big => out.extend_from_slice(b"II\x2b\0\x08\0\0\0"),
        }
        self.push_offset(&mut out, directory)?;
        Ok(out)
    }

    fn push_offset(self, out: &mut Vec<u8>, value: u64) -> Result<(), TiffError> {
        match self {
            Self::Classic => {
                let value = u32::try_from(value)
                    .map_err(|_| TiffError::usage(format!("offset {value} in a file with 32-bit offsets")))?;
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Big => out.extend_from_slice(&value.to_le_bytes()),
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Value {
    /// Field type, number of values, little-endian bytes.
    Plain(u16, u64, Vec<u8>),
    /// LONG or LONG8, as the flavor of the file needs.
    Offsets(Vec<u64>),
}

impl Value {
    fn count(&self) -> u64 {
        match self {
            Self::Plain(_, count, _) => *count,
            Self::Offsets(values) => values.len() as u64,
        }
    }

    fn len(&self, flavor: Flavor) -> u64 {
        match self {
            Self::Plain(_, _, bytes) => bytes.len() as u64,
            Self::Offsets(values) => values.len() as u64 * flavor.offset_len(),
        }
    }
}

/// One image file directory, sorted by tag as TIFF 6.0 section 2 demands.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    entries: BTreeMap<u16, Value>,
}

impl Directory {
    const BYTE: u16 = 1;
    const ASCII: u16 = 2;
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    const RATIONAL: u16 = 5;
    const UNDEFINED: u16 = 7;
    const LONG8: u16 = 16;

    fn put(&mut self, tag: u16, kind: u16, count: usize, bytes: Vec<u8>) {
        self.entries.insert(tag, Value::Plain(kind, count as u64, bytes));
    }

    /// Adds a field of a type without offsets, its values little-endian, unless the directory has one.
    pub(super) fn add(&mut self, tag: u16, kind: u16, count: u32, bytes: &[u8]) {
        self.entries
            .entry(tag)
            .or_insert_with(|| Value::Plain(kind, u64::from(count), bytes.to_vec()));
    }

    pub(super) fn shorts(&mut self, tag: u16, values: &[u16]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put(tag, Self::SHORT, values.len(), bytes);
    }

    pub(super) fn long(&mut self, tag: u16, value: u32) {
        self.put(tag, Self::LONG, 1, value.to_le_bytes().to_vec());
    }

    pub(super) fn offsets(&mut self, tag: u16, values: Vec<u64>) {
        self.entries.insert(tag, Value::Offsets(values));
    }

    /// Positive fractions; each is written with the largest decimal denominator that fits.
    pub(super) fn rationals(&mut self, tag: u16, values: &[f64]) {
        let bytes = values.iter().flat_map(|&v| rational(v)).collect();
        self.put(tag, Self::RATIONAL, values.len(), bytes);
    }

    /// Text up to its first NUL; an empty one is left out.
    pub(super) fn text(&mut self, tag: u16, value: &[u8]) {
        let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
        let Some(text) = value.get(..end).filter(|t| !t.is_empty()) else {
            return;
        };
        let mut bytes = text.to_vec();
        bytes.push(0);
        self.put(tag, Self::ASCII, bytes.len(), bytes);
    }

    pub(super) fn undefined(&mut self, tag: u16, bytes: &[u8]) {
        self.put(tag, Self::UNDEFINED, bytes.len(), bytes.to_vec());
    }

    pub(super) fn bytes(&mut self, tag: u16, bytes: &[u8]) {
        self.put(tag, Self::BYTE, bytes.len(), bytes.to_vec());
    }

    fn table_len(&self, flavor: Flavor) -> u64 {
        flavor.count_len() + self.entries.len() as u64 * flavor.entry_len() + flavor.offset_len()
    }

    /// Bytes of directory and values, a multiple of 8 (values start at word boundaries).
    pub(super) fn len(&self, flavor: Flavor) -> u64 {
        let values: u64 = self
            .entries
            .values()
            .map(|v| v.len(flavor))
            .filter(|&len| len > flavor.offset_len())
            .map(|len| len.next_multiple_of(8))
            .sum();
        self.table_len(flavor).next_multiple_of(8) + values
    }

    /// The directory as it stands at offset `at`, its values behind it, `next` the following directory
    /// or 0.
    ///
    /// # Errors
    /// `Usage` when an offset or count does not fit the flavor.
    pub(super) fn write(&self, flavor: Flavor, at: u64, next: u64) -> Result<Vec<u8>, TiffError> {
        let mut table = Vec::new();
        let mut values: Vec<u8> = Vec::new();
        let values_at = at + self.table_len(flavor).next_multiple_of(8);
        match flavor {
            Flavor::Classic => table.extend_from_slice(&(self.entries.len() as u16).to_le_bytes()),
            Flavor::Big => table.extend_from_slice(&(self.entries.len() as u64).to_le_bytes()),
        }
        for (tag, value) in &self.entries {
            table.extend_from_slice(&tag.to_le_bytes());
            let (kind, bytes) = match value {
                Value::Plain(kind, _, bytes) => (*kind, std::borrow::Cow::Borrowed(bytes)),
                Value::Offsets(offsets) => {
                    let mut bytes = Vec::with_capacity(offsets.len() * flavor.offset_len() as usize);
                    for &offset in offsets {
                        flavor.push_offset(&mut bytes, offset)?;
                    }
                    let kind = match flavor {
                        Flavor::Classic => Self::LONG,
                        Flavor::Big => Self::LONG8,
                    };
                    (kind, std::borrow::Cow::Owned(bytes))
                }
            };
            table.extend_from_slice(&kind.to_le_bytes());
            flavor.push_offset(&mut table, value.count())?;
            let room = flavor.offset_len() as usize;
            if bytes.len() <= room {
                table.extend_from_slice(&bytes);
                table.resize(table.len() + room - bytes.len(), 0);
            } else {
                flavor.push_offset(&mut table, values_at + values.len() as u64)?;
                values.extend_from_slice(&bytes);
                values.resize(values.len().next_multiple_of(8), 0);
            }
        }
        flavor.push_offset(&mut table, next)?;
        table.resize(table.len().next_multiple_of(8), 0);
        table.extend_from_slice(&values);
        Ok(table)
    }
}

/// Numerator and denominator, 32 bits each; what is negative or not a number becomes 0.
fn rational(value: f64) -> [u8; 8] {
    let mut denominator = 1_000_000_u32;
    if value.fract() == 0.0 {
        denominator = 1;
    }
    while denominator > 1 && value * f64::from(denominator) > f64::from(u32::MAX) {
        denominator /= 10;
    }
    // A float to integer cast saturates, NaN gives 0.
    let numerator = (value * f64::from(denominator)).round() as u32;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&numerator.to_le_bytes());
    bytes[4..].copy_from_slice(&denominator.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_stay_in_place_and_large_ones_follow_at_their_offset() {
        let mut directory = Directory::default();
        directory.shorts(tag::BITS_PER_SAMPLE, &[8, 8, 8]);
        directory.long(tag::IMAGE_WIDTH, 77);
        let bytes = directory.write(Flavor::Classic, 1000, 0).unwrap();
        assert_eq!(bytes.len() as u64, directory.len(Flavor::Classic));
        assert_eq!(bytes[..2], [2, 0]);
        // Sorted by tag: the width comes first, in place.
        assert_eq!(bytes[2..14], [0, 1, 4, 0, 1, 0, 0, 0, 77, 0, 0, 0]);
        // Three shorts need 6 bytes: at 1000 + 32, behind the table of 30 bytes.
        assert_eq!(bytes[14..22], [2, 1, 3, 0, 3, 0, 0, 0]);
        assert_eq!(u32::from_le_bytes(bytes[22..26].try_into().unwrap()), 1032);
        assert_eq!(bytes[32..38], [8, 0, 8, 0, 8, 0]);
    }

    #[test]
    fn four_shorts_fit_in_place_in_a_big_directory() {
        let mut directory = Directory::default();
        directory.shorts(tag::BITS_PER_SAMPLE, &[1, 2, 3, 4]);
        let bytes = directory.write(Flavor::Big, 16, 99).unwrap();
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[20..28], [1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(bytes[28], 99);
    }

    #[test]
    fn an_offset_past_4_gib_is_refused_in_a_classic_file() {
        let mut directory = Directory::default();
        directory.offsets(tag::TILE_OFFSETS, vec![1 << 32]);
        assert!(directory.write(Flavor::Classic, 8, 0).is_err());
        assert!(directory.write(Flavor::Big, 16, 0).is_ok());
    }

    #[test]
    fn fractions_keep_six_decimals_and_whole_numbers_are_exact() {
        assert_eq!(rational(300.0), [44, 1, 0, 0, 1, 0, 0, 0]);
        let part = |b: &[u8]| f64::from(u32::from_le_bytes(b.try_into().unwrap()));
        for value in [118.11023, 0.000_12, 1e6 + 0.5, 4e9] {
            let bytes = rational(value);
            let back = part(&bytes[..4]) / part(&bytes[4..]);
            assert!((back - value).abs() <= value * 1e-2, "{value} became {back}");
        }
        assert_eq!(rational(-3.5)[..4], [0; 4]);
        assert_eq!(rational(f64::NAN)[..4], [0; 4]);
    }
}
