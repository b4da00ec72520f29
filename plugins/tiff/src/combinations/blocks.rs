//! A block of a combination, encoded.

use std::ops::Range;

use iiphost_codestream::test_encoder::{Recipe, encode_samples};
use lerc::bitmask::BitMask;

use super::case::{Case, FLOAT, HEIGHT, SIGNED, Sample, UNSIGNED, WIDTH};
use crate::ifd::ByteOrder;
use crate::test_file::{jpeg, pack};

/// The samples of one block.
pub(super) struct Block<'a> {
    pub(super) case: &'a Case,
    pub(super) bands: Range<u32>,
    /// The first pixel.
    pub(super) left: u32,
    pub(super) top: u32,
    /// Samples across and down, of chroma in a plane of its own fewer than pixels.
    pub(super) columns: u32,
    pub(super) rows: u32,
}

impl Block<'_> {
    /// The sample of a band at a place of the block, on the grid of the band; beyond the picture the edge is repeated.
    fn at(&self, band: u32, x: u32, y: u32) -> u64 {
        let (across, down) = self.case.shared(band);
        let x = (self.left / across + x).min((WIDTH - 1) / across);
        let y = (self.top / down + y).min((HEIGHT - 1) / down);
        self.case.stored(band, x, y)
    }

    fn row(&self, y: u32) -> Vec<u64> {
        (0..self.columns)
            .flat_map(|x| self.bands.clone().map(move |band| self.at(band, x, y)))
            .collect()
    }

    fn all(&self) -> Vec<u64> {
        (0..self.rows).flat_map(|y| self.row(y)).collect()
    }

    pub(super) fn encoded(&self, order: ByteOrder) -> Option<Vec<u8>> {
        let case = self.case;
        let Sample { bits, format } = case.sample;
        let bands = self.bands.len();
        match case.compression {
            7 => (bits == 8).then(|| self.jpeg()),
            34712 | 33003..=33005 => self.jpeg2000(),
            34887 => self.lerc(),
            50001 if bits != 8 || !matches!(bands, 3 | 4) => None,
            50001 => {
                let image = case.image(WIDTH, HEIGHT, bands as u32);
                let bytes = self.all().iter().map(|&v| v as u8).collect();
                Some(image.compress(bytes, self.columns, self.rows, bands))
            }
            _ if case.predictor == 3 && format != FLOAT => None,
            _ if bands == 3 && case.meaning.shared != (1, 1) => {
                let image = case.image(WIDTH, HEIGHT, 3);
                Some(image.block_of(&pack(&self.data_units(), bits, order)))
            }
            _ => {
                // A picture of its own that is this block.
                let mut image = case
                    .image(self.columns, self.rows, bands as u32)
                    .in_strips(self.rows);
                image.planar = false;
                image.values = self.all();
                Some(image.encode_blocks(order).remove(0))
            }
        }
    }

    /// Data units one after the other (TIFF 6.0 section 21).
    fn data_units(&self) -> Vec<u64> {
        let (across, down) = self.case.meaning.shared;
        let mut units = Vec::new();
        for top in (0..self.rows).step_by(down as usize) {
            for left in (0..self.columns).step_by(across as usize) {
                let places = (0..down).flat_map(|y| (0..across).map(move |x| (left + x, top + y)));
                units.extend(places.map(|(x, y)| self.at(0, x, y)));
                units.extend([1, 2].map(|band| self.at(band, left / across, top / down)));
            }
        }
        units
    }

    fn jpeg(&self) -> Vec<u8> {
        let (across, down) = self.case.meaning.shared;
        // An interleaved JPEG has room for ten blocks of 8 x 8 in a unit.
        let down = if across * down > 8 { 2 } else { down };
        let bytes: Vec<u8> = self.all().iter().map(|&v| v as u8).collect();
        match self.bands.len() {
            1 | 3 | 4 => jpeg(
                &bytes,
                self.columns,
                self.rows,
                self.bands.len(),
                self.case.is_turned_by_codec(),
                (across as u8, down as u8),
            ),
            bands => {
                let grey = |band: usize| {
                    let bytes: Vec<u8> = bytes.iter().skip(band).step_by(bands).copied().collect();
                    jpeg(&bytes, self.columns, self.rows, 1, false, (1, 1))
                };
                joined((0..bands).map(grey).collect())
            }
        }
    }

    fn jpeg2000(&self) -> Option<Vec<u8>> {
        let Sample { bits, format } = self.case.sample;
        if !matches!(bits, 8 | 16) || format == FLOAT {
            return None;
        }
        let mut recipe = Recipe::new(self.columns, self.rows, self.bands.len(), bits);
        recipe.signed = format == SIGNED;
        recipe.decompositions = 0;
        if self.bands.len() > 1 {
            recipe.subsampling = self.bands.clone().map(|band| self.case.shared(band)).collect();
        }
        // Signed samples are given with half the range added.
        let offset = if format == SIGNED { 1 << (bits - 1) } else { 0 };
        Some(encode_samples(&recipe, |component, x, y| {
            self.at(self.bands.start + component as u32, x, y) as u32 ^ offset
        }))
    }

    fn lerc(&self) -> Option<Vec<u8>> {
        let values = self.all();
        let encoded = match (self.case.sample.format, self.case.sample.bits) {
            (UNSIGNED, 8) => self.lerc_of(values.iter().map(|&v| v as u8).collect()),
            (UNSIGNED, 16) => self.lerc_of(values.iter().map(|&v| v as u16).collect()),
            (UNSIGNED, 32) => self.lerc_of(values.iter().map(|&v| v as u32).collect()),
            (SIGNED, 8) => self.lerc_of(values.iter().map(|&v| v as i8).collect()),
            (SIGNED, 16) => self.lerc_of(values.iter().map(|&v| v as i16).collect()),
            (SIGNED, 32) => self.lerc_of(values.iter().map(|&v| v as i32).collect()),
            (FLOAT, 32) => self.lerc_of(values.iter().map(|&v| f32::from_bits(v as u32)).collect()),
            (FLOAT, 64) => self.lerc_of(values.iter().map(|&v| f64::from_bits(v)).collect()),
            _ => return None,
        };
        Some(encoded)
    }

    fn lerc_of<T: lerc::Sample>(&self, values: Vec<T>) -> Vec<u8> {
        let mask = BitMask::all_valid(self.columns as usize * self.rows as usize);
        let depth = self.bands.len() as u32;
        let (columns, rows) = (self.columns, self.rows);
        lerc::encode_borrowed(
            columns,
            rows,
            depth,
            1,
            &values,
            &[mask],
            None,
            lerc::Precision::Lossless,
        )
        .unwrap()
    }
}

/// Grey JPEGs of one size and quality as the components of one, a scan for each.
fn joined(files: Vec<Vec<u8>>) -> Vec<u8> {
    let place = |file: &[u8], marker: u8| file.windows(2).position(|w| w == [0xff, marker]).unwrap();
    let (frame, scan) = (place(&files[0], 0xc0), place(&files[0], 0xda));
    let count = files.len() as u8;
    let frame_len = 2 + usize::from(files[0][frame + 3]);
    // SOF: length, precision, height and width as they are, then the components.
    let mut whole = files[0][..frame].to_vec();
    whole.extend([0xff, 0xc0, 0, 8 + 3 * count]);
    whole.extend(&files[0][frame + 4..frame + 9]);
    whole.push(count);
    whole.extend((1..=count).flat_map(|id| [id, 0x11, 0]));
    whole.extend(&files[0][frame + frame_len..scan]);
    for (id, file) in (1..).zip(&files) {
        whole.extend([0xff, 0xda, 0, 8, 1, id, 0, 0, 63, 0]);
        whole.extend(&file[place(file, 0xda) + 10..file.len() - 2]);
    }
    whole.extend([0xff, 0xd9]);
    whole
}
