//! A picture of a combination: what is stored of it, and what has to be delivered.

use iiphost_plugin_api::{AlphaMode, ColorModel};

use super::blocks::Block;
use crate::ifd::ByteOrder;
use crate::test_file::{CCITT_FORMS, CCITT_ROWS, Image, Values, bytes_of_hex, float_bits, write};

/// Of each picture, in two tiles of 16 x 16 or three strips of 4 rows, the last one cut.
pub(super) const WIDTH: u32 = 21;
pub(super) const HEIGHT: u32 = 10;
pub(super) const TILE: u32 = 16;
pub(super) const ROWS: u32 = 4;

/// What samples mean.
#[derive(Clone, Copy)]
pub(super) struct Meaning {
    pub(super) name: &'static str,
    pub(super) photometric: u16,
    pub(super) bands: u32,
    /// YCbCrSubSampling.
    pub(super) shared: (u32, u32),
    pub(super) model: ColorModel,
    pub(super) alpha: AlphaMode,
}

pub(super) const fn meaning(name: &'static str, photometric: u16, bands: u32, model: ColorModel) -> Meaning {
    Meaning {
        name,
        photometric,
        bands,
        shared: (1, 1),
        model,
        alpha: AlphaMode::None,
    }
}

impl Meaning {
    pub(super) const fn with_alpha(mut self) -> Self {
        self.alpha = AlphaMode::Unassociated;
        self
    }

    pub(super) const fn sharing(mut self, across: u32, down: u32) -> Self {
        self.shared = (across, down);
        self
    }

    pub(super) fn is_ycbcr(&self) -> bool {
        self.photometric == 6
    }
}

/// Bits of a sample, and their SampleFormat.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) bits: u32,
    pub(super) format: u16,
}

pub(super) const UNSIGNED: u16 = 1;
pub(super) const SIGNED: u16 = 2;
pub(super) const FLOAT: u16 = 3;

impl Sample {
    pub(super) fn all() -> Vec<Self> {
        let integers = [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64];
        [UNSIGNED, SIGNED]
            .into_iter()
            .flat_map(|format| integers.map(|bits| Self { bits, format }))
            .chain([16, 24, 32, 64].map(|bits| Self { bits, format: FLOAT }))
            .collect()
    }

    pub(super) fn name(self) -> String {
        let letter = [' ', 'u', 'i', 'f'][usize::from(self.format)];
        format!("{letter}{}", self.bits)
    }

    pub(super) fn max(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
}

/// One picture to be written and read.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) meaning: Meaning,
    pub(super) sample: Sample,
    pub(super) compression: u16,
    pub(super) predictor: u16,
    pub(super) tiled: bool,
    pub(super) planar: bool,
}

impl Case {
    /// The codec turns the colors of the whole pixel: what is encoded is RGB.
    pub(super) fn is_turned_by_codec(&self) -> bool {
        self.meaning.is_ycbcr() && self.meaning.bands == 3 && self.compression == 7 && !self.planar
    }

    /// Pixels across and down that share an encoded sample of a band. JPEG codecs are given all of them.
    pub(super) fn shared(&self, band: u32) -> (u32, u32) {
        match (band, self.compression) {
            (1 | 2, 7) if !self.planar => (1, 1),
            (1 | 2, _) => self.meaning.shared,
            _ => (1, 1),
        }
    }

    /// The stored sample of a band at a place of its own grid, as a bit pattern: slopes, which JPEG keeps.
    pub(super) fn stored(&self, band: u32, x: u32, y: u32) -> u64 {
        if matches!(self.compression, 2..=4) {
            return u64::from(CCITT_ROWS[y as usize].as_bytes()[x as usize] - b'0');
        }
        let slope = u64::from(30 + band * 11 + x * 5 + y * (4 + band));
        let Sample { bits, format } = self.sample;
        if format == FLOAT {
            return float_bits(slope as f64 / 8.0 - 20.0, bits);
        }
        match bits {
            8 => slope,
            9.. => slope << (bits - 8) | slope & 7,
            _ => (slope * 7) & self.sample.max(),
        }
    }

    /// The stored samples of a pixel.
    pub(super) fn pixel(&self, x: u32, y: u32) -> Vec<u64> {
        (0..self.meaning.bands)
            .map(|band| {
                let (across, down) = self.shared(band);
                self.stored(band, x / across, y / down)
            })
            .collect()
    }

    /// Colors of the palette, 16 bits each: as smooth as the indexes.
    pub(super) fn palette(&self) -> Vec<u16> {
        // Wider indexes are refused whatever the palette.
        let count = if self.sample.bits > 16 {
            1
        } else {
            1 << self.sample.bits
        };
        (0..3)
            .flat_map(|band| (0..count).map(move |idx| palette_color(band, idx, count)))
            .collect()
    }

    /// What is delivered of a pixel, from the definitions in TIFF 6.0, ICC.1 and ITU-T T.42.
    pub(super) fn expected(&self, x: u32, y: u32) -> Vec<f64> {
        let Sample { bits, format } = self.sample;
        let stored = self.pixel(x, y);
        let half = 2.0_f64.powi(bits as i32 - 1);
        let max = 2.0 * half - 1.0;
        let signed = |v: u64| ((v << (64 - bits)) as i64 >> (64 - bits)) as f64;
        let number = |v: u64| match (format, bits) {
            (FLOAT, _) => float_of_bits(v, bits),
            (SIGNED, 64) => signed(v),
            // Half the range is added.
            (SIGNED, _) => signed(v) + half,
            _ => v as f64,
        };
        let plain: Vec<f64> = stored.iter().map(|&v| number(v)).collect();
        let (first, behind) = plain.split_at(plain.len().min(3));
        match self.meaning.photometric {
            0 => vec![match (format, bits) {
                (FLOAT, _) => 1.0 - plain[0],
                (SIGNED, 64) => -plain[0],
                _ => max - plain[0],
            }],
            3 => {
                let count = 1 << bits;
                let color = (0..3).map(|band| f64::from(palette_color(band, stored[0], count) >> 8));
                let opacity = stored[1..].iter().map(|&v| v as f64 / max * 255.0);
                color.chain(opacity).collect()
            }
            6 if !self.is_turned_by_codec() => {
                // Section 21 with the coefficients of CCIR 601-1, chroma around the middle.
                let chroma = |v: f64| (v - half) * (half - 1.0) / (max - half);
                let (luma, blue, red) = (first[0], chroma(first[1]), chroma(first[2]));
                let (r, b) = (luma + 1.402 * red, luma + 1.772 * blue);
                let g = (luma - 0.114 * b - 0.299 * r) / 0.587;
                let rgb = [r, g, b].map(|v| v.clamp(0.0, max));
                [&rgb[..], behind].concat()
            }
            8 if format != FLOAT => stored.iter().map(|&v| v as f64).collect(),
            9 => {
                let lightness = match bits {
                    16 => (stored[0] as f64 * 65535.0 / 65280.0).min(65535.0),
                    _ => stored[0] as f64,
                };
                let turned = |v: u64| (v as f64 + half) % (2.0 * half);
                vec![lightness, turned(stored[1]), turned(stored[2])]
            }
            10 => {
                let coded = |v: f64| if v < 0.0 { v + 256.0 } else { v };
                let a = ((stored[1] as f64 - 128.0) * 170.0 / 255.0).round();
                let b = ((stored[2] as f64 - 96.0) * 200.0 / 255.0).round();
                vec![stored[0] as f64, coded(a), coded(b)]
            }
            _ => plain,
        }
    }

    /// How far delivered samples may be from the expected ones.
    pub(super) fn tolerance(&self) -> f64 {
        if self.compression == 7 {
            // Errors of JPEG, which the turn to RGB makes larger.
            return if self.meaning.is_ycbcr() { 16.0 } else { 8.0 };
        }
        match self.meaning.photometric {
            3 | 6 | 9 | 10 => 0.51,
            _ => 0.0,
        }
    }

    pub(super) fn image(&self, width: u32, height: u32, bands: u32) -> Image {
        let mut image = Image::new(width, height, bands, self.sample.bits)
            .photometric(self.meaning.photometric)
            .compressed(self.compression)
            .predicted(self.predictor);
        image.sample_format = self.sample.format;
        image.planar = self.planar;
        match self.tiled {
            true => image.tiled(TILE, TILE),
            false => image.in_strips(ROWS),
        }
    }

    /// The file, and whether its pixels are there: some codecs cannot even write what has to be refused.
    pub(super) fn file(&self, order: ByteOrder) -> (Vec<u8>, bool) {
        let Meaning { shared, bands, .. } = self.meaning;
        let (width, height) = self.size();
        let mut image = self.image(width, height, bands);
        let blocks = self.blocks(order);
        let has_pixels = blocks.is_some();
        image.blocks = Some(blocks.unwrap_or_else(|| vec![vec![0x55; 64]; 3 * bands as usize]));
        if self.meaning.is_ycbcr() {
            image = image.tag(530, Values::Short(vec![shared.0 as u16, shared.1 as u16]));
        }
        if self.meaning.alpha != AlphaMode::None {
            image = image.tag(338, Values::Short(vec![2]));
        }
        if self.meaning.photometric == 3 {
            image = image.tag(320, Values::Short(self.palette()));
        }
        if matches!(self.compression, 2..=4) {
            image = match self.tiled {
                true => image.tiled(width, height),
                false => image.in_strips(height),
            };
        }
        (write(&[image], order, order == ByteOrder::Big), has_pixels)
    }

    /// Of the picture: that of a fixed one for CCITT.
    pub(super) fn size(&self) -> (u32, u32) {
        match self.compression {
            2..=4 => (CCITT_ROWS[0].len() as u32, CCITT_ROWS.len() as u32),
            _ => (WIDTH, HEIGHT),
        }
    }

    /// The blocks of all planes.
    pub(super) fn blocks(&self, order: ByteOrder) -> Option<Vec<Vec<u8>>> {
        let bands = self.meaning.bands;
        if matches!(self.compression, 2..=4) {
            let planes = if self.planar { bands } else { 1 };
            let form = CCITT_FORMS.iter().find(|form| form.0 == self.compression)?;
            return Some(vec![bytes_of_hex(form.2); planes as usize]);
        }
        if !self.planar {
            return self.plane(0..bands, order);
        }
        let planes: Option<Vec<_>> = (0..bands).map(|band| self.plane(band..band + 1, order)).collect();
        Some(planes?.concat())
    }

    /// The blocks of some bands side by side.
    pub(super) fn plane(&self, bands: std::ops::Range<u32>, order: ByteOrder) -> Option<Vec<Vec<u8>>> {
        let (across, down) = match bands.len() {
            1 => self.shared(bands.start),
            _ => (1, 1),
        };
        let (block_width, block_height) = match self.tiled {
            true => (TILE, TILE),
            false => (WIDTH, ROWS),
        };
        let mut blocks = Vec::new();
        for top in (0..HEIGHT).step_by(block_height as usize) {
            for left in (0..WIDTH).step_by(block_width as usize) {
                let rows = match self.tiled {
                    true => block_height,
                    false => block_height.min(HEIGHT - top),
                };
                let block = Block {
                    case: self,
                    bands: bands.clone(),
                    left,
                    top,
                    columns: block_width.div_ceil(across),
                    rows: rows.div_ceil(down),
                };
                blocks.push(block.encoded(order)?);
            }
        }
        Some(blocks)
    }
}

/// A band of a color of the palette, 16 bits.
pub(super) fn palette_color(band: usize, idx: u64, count: u64) -> u16 {
    let light = idx * 0xffff / count;
    [light, 0xffff - light, light / 2 + 0x1000][band] as u16
}

pub(super) fn float_of_bits(value: u64, bits: u32) -> f64 {
    match bits {
        32 => f64::from(f32::from_bits(value as u32)),
        64 => f64::from_bits(value),
        _ => {
            let (exponent_bits, fraction_bits) = if bits == 16 { (5, 10) } else { (7, 16) };
            let exponent = (value >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
            let fraction = (value & ((1 << fraction_bits) - 1)) as f64 / f64::from(1 << fraction_bits);
            let sign = if value >> (bits - 1) == 1 { -1.0 } else { 1.0 };
            let bias = (1 << (exponent_bits - 1)) - 1;
            match exponent {
                0 => sign * fraction * 2.0_f64.powi(1 - bias),
                _ => sign * (1.0 + fraction) * 2.0_f64.powi(exponent - bias),
            }
        }
    }
}
