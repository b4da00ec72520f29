//! Every combination of photometric, samples, compression and layout: shown right, or refused with a sentence.
//!
//! Files are written here, pixels are computed from what was written, and the table that comes out is
//! `docs/tiff-combinations.md`. Set `IIPHOST_WRITE_TABLE` to write that file anew, and `IIPHOST_WRITE_SEEDS` to a
//! folder for a file of each combination that is shown: what fuzzing begins with.

use std::fmt::Write as _;
use std::path::Path;

use iiphost_codestream::test_encoder::{Recipe, encode_samples};
use iiphost_plugin_api::{AlphaMode, ColorModel, DecodeError, ErrorKind, PageInfo, SampleFormat};
use lerc::bitmask::BitMask;

use crate::ifd::ByteOrder;
use crate::photometric::Photometric;
use crate::test_file::{
    CCITT_FORMS, CCITT_ROWS, Image, Values, bytes_of_hex, float_bits, jpeg, open, pack, read_level, write,
};

/// Of each picture, in two tiles of 16 x 16 or three strips of 4 rows, the last one cut.
const WIDTH: u32 = 21;
const HEIGHT: u32 = 10;
const TILE: u32 = 16;
const ROWS: u32 = 4;

/// What samples mean.
#[derive(Clone, Copy)]
struct Meaning {
    name: &'static str,
    photometric: u16,
    bands: u32,
    /// YCbCrSubSampling.
    shared: (u32, u32),
    model: ColorModel,
    alpha: AlphaMode,
}

const fn meaning(name: &'static str, photometric: u16, bands: u32, model: ColorModel) -> Meaning {
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
    const fn with_alpha(mut self) -> Self {
        self.alpha = AlphaMode::Unassociated;
        self
    }

    const fn sharing(mut self, across: u32, down: u32) -> Self {
        self.shared = (across, down);
        self
    }

    fn is_ycbcr(&self) -> bool {
        self.photometric == 6
    }
}

const YCBCR: Meaning = meaning("YCbCr", 6, 3, ColorModel::Rgb);

const MEANINGS: [Meaning; 24] = [
    meaning("WhiteIsZero", 0, 1, ColorModel::Grey),
    meaning("BlackIsZero", 1, 1, ColorModel::Grey),
    meaning("BlackIsZero and opacity", 1, 2, ColorModel::Grey).with_alpha(),
    meaning("five bands", 1, 5, ColorModel::Multiband),
    meaning("RGB", 2, 3, ColorModel::Rgb),
    meaning("RGB and opacity", 2, 4, ColorModel::Rgb).with_alpha(),
    meaning("palette", 3, 1, ColorModel::Rgb),
    meaning("palette and opacity", 3, 2, ColorModel::Rgb).with_alpha(),
    meaning("CMYK", 5, 4, ColorModel::Cmyk),
    meaning("CMYK and opacity", 5, 5, ColorModel::Cmyk).with_alpha(),
    YCBCR,
    YCBCR.sharing(2, 1),
    YCBCR.sharing(4, 1),
    YCBCR.sharing(1, 2),
    YCBCR.sharing(2, 2),
    YCBCR.sharing(4, 2),
    YCBCR.sharing(1, 4),
    YCBCR.sharing(2, 4),
    YCBCR.sharing(4, 4),
    meaning("YCbCr and opacity", 6, 4, ColorModel::Rgb).with_alpha(),
    meaning("YCbCr and opacity", 6, 4, ColorModel::Rgb)
        .with_alpha()
        .sharing(2, 2),
    meaning("CIELAB", 8, 3, ColorModel::CieLab),
    meaning("ICCLAB", 9, 3, ColorModel::CieLab),
    meaning("ITULAB", 10, 3, ColorModel::CieLab),
];

/// Bits of a sample, and their SampleFormat.
#[derive(Clone, Copy, PartialEq)]
struct Sample {
    bits: u32,
    format: u16,
}

const UNSIGNED: u16 = 1;
const SIGNED: u16 = 2;
const FLOAT: u16 = 3;

impl Sample {
    fn all() -> Vec<Self> {
        let integers = [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64];
        [UNSIGNED, SIGNED]
            .into_iter()
            .flat_map(|format| integers.map(|bits| Self { bits, format }))
            .chain([16, 24, 32, 64].map(|bits| Self { bits, format: FLOAT }))
            .collect()
    }

    fn name(self) -> String {
        let letter = [' ', 'u', 'i', 'f'][usize::from(self.format)];
        format!("{letter}{}", self.bits)
    }

    fn max(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
}

/// A column of the table: compressions that do the same.
struct Coding {
    name: &'static str,
    numbers: &'static [u16],
    predictor: u16,
}

const CODINGS: [Coding; 8] = [
    Coding {
        name: "none, PackBits, LZW, deflate, LZMA, Zstandard",
        numbers: &[1, 32773, 5, 8, 32946, 34925, 50000],
        predictor: 1,
    },
    Coding {
        name: "predictor 2",
        numbers: &[5, 8, 34925, 50000],
        predictor: 2,
    },
    Coding {
        name: "predictor 3",
        numbers: &[5, 8, 34925, 50000],
        predictor: 3,
    },
    Coding {
        name: "CCITT",
        numbers: &[2, 3, 4],
        predictor: 1,
    },
    Coding {
        name: "JPEG",
        numbers: &[7],
        predictor: 1,
    },
    Coding {
        name: "JPEG 2000",
        numbers: &[34712, 33004],
        predictor: 1,
    },
    Coding {
        name: "LERC",
        numbers: &[34887],
        predictor: 1,
    },
    Coding {
        name: "WebP",
        numbers: &[50001],
        predictor: 1,
    },
];

/// One picture to be written and read.
#[derive(Clone, Copy)]
struct Case {
    meaning: Meaning,
    sample: Sample,
    compression: u16,
    predictor: u16,
    tiled: bool,
    planar: bool,
}

impl Case {
    /// The codec turns the colors of the whole pixel: what is encoded is RGB.
    fn is_turned_by_codec(&self) -> bool {
        self.meaning.is_ycbcr() && self.meaning.bands == 3 && self.compression == 7 && !self.planar
    }

    /// Pixels across and down that share an encoded sample of a band. JPEG codecs are given all of them.
    fn shared(&self, band: u32) -> (u32, u32) {
        match (band, self.compression) {
            (1 | 2, 7) if !self.planar => (1, 1),
            (1 | 2, _) => self.meaning.shared,
            _ => (1, 1),
        }
    }

    /// The stored sample of a band at a place of its own grid, as a bit pattern: slopes, which JPEG keeps.
    fn stored(&self, band: u32, x: u32, y: u32) -> u64 {
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
    fn pixel(&self, x: u32, y: u32) -> Vec<u64> {
        (0..self.meaning.bands)
            .map(|band| {
                let (across, down) = self.shared(band);
                self.stored(band, x / across, y / down)
            })
            .collect()
    }

    /// Colors of the palette, 16 bits each: as smooth as the indexes.
    fn palette(&self) -> Vec<u16> {
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
    fn expected(&self, x: u32, y: u32) -> Vec<f64> {
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
    fn tolerance(&self) -> f64 {
        if self.compression == 7 {
            // Errors of JPEG, which the turn to RGB makes larger.
            return if self.meaning.is_ycbcr() { 16.0 } else { 8.0 };
        }
        match self.meaning.photometric {
            3 | 6 | 9 | 10 => 0.51,
            _ => 0.0,
        }
    }

    fn image(&self, width: u32, height: u32, bands: u32) -> Image {
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
    fn file(&self, order: ByteOrder) -> (Vec<u8>, bool) {
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
    fn size(&self) -> (u32, u32) {
        match self.compression {
            2..=4 => (CCITT_ROWS[0].len() as u32, CCITT_ROWS.len() as u32),
            _ => (WIDTH, HEIGHT),
        }
    }

    /// The blocks of all planes.
    fn blocks(&self, order: ByteOrder) -> Option<Vec<Vec<u8>>> {
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
    fn plane(&self, bands: std::ops::Range<u32>, order: ByteOrder) -> Option<Vec<Vec<u8>>> {
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
                let block = Samples {
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
fn palette_color(band: usize, idx: u64, count: u64) -> u16 {
    let light = idx * 0xffff / count;
    [light, 0xffff - light, light / 2 + 0x1000][band] as u16
}

/// The samples of one block.
struct Samples<'a> {
    case: &'a Case,
    bands: std::ops::Range<u32>,
    /// The first pixel.
    left: u32,
    top: u32,
    /// Samples across and down, of chroma in a plane of its own fewer than pixels.
    columns: u32,
    rows: u32,
}

impl Samples<'_> {
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

    fn encoded(&self, order: ByteOrder) -> Option<Vec<u8>> {
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

fn float_of_bits(value: u64, bits: u32) -> f64 {
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

/// Delivered samples as numbers.
fn numbers(bytes: &[u8], format: SampleFormat) -> Vec<f64> {
    match format {
        SampleFormat::U8 => bytes.iter().map(|&v| f64::from(v)).collect(),
        SampleFormat::U16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(u16::from_ne_bytes(v)))
            .collect(),
        SampleFormat::U32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(u32::from_ne_bytes(v)))
            .collect(),
        SampleFormat::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(f32::from_ne_bytes(v)))
            .collect(),
    }
}

/// Opens and reads a file; what it is said to be, and its pixels.
fn shown(file: Vec<u8>) -> Result<(PageInfo, Vec<f64>), DecodeError> {
    let reader = open(file)?;
    let page = reader.info().pages[0].clone();
    let pixels = read_level(&*reader, 0, 0)?;
    let format = page.sample_format;
    Ok((page, numbers(&pixels, format)))
}

/// Checks the pixels of one combination, in files of both byte orders, or gives the sentence it is refused with.
fn outcome(case: &Case, label: &str) -> Result<(), String> {
    let mut refusals = Vec::new();
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let (file, has_pixels) = case.file(order);
        let seeds =
            std::env::var_os("IIPHOST_WRITE_SEEDS").filter(|_| has_pixels && order == ByteOrder::Little);
        if let Some(folder) = seeds {
            std::fs::write(Path::new(&folder).join(label.replace(' ', "-")), &file).unwrap();
        }
        let (page, found) = match shown(file) {
            Ok(shown) => shown,
            Err(error) => {
                let is_refused = error.kind() == ErrorKind::Unsupported || !has_pixels;
                assert!(is_refused, "{label} {order:?}: {error}");
                refusals.push(error.message().to_owned());
                continue;
            }
        };
        assert!(
            has_pixels,
            "{label} {order:?} is not refused, and nothing tests it"
        );
        let Meaning { model, alpha, .. } = case.meaning;
        assert_eq!((page.color_model, page.alpha), (model, alpha), "{label}");
        let (width, height) = case.size();
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let expected: Vec<f64> = places.flat_map(|(x, y)| case.expected(x, y)).collect();
        assert_eq!(found.len(), expected.len(), "{label}");
        let bands = found.len() / (width * height) as usize;
        for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Single precision is what is delivered of wider numbers.
            let expected = match page.sample_format {
                SampleFormat::F32 => f64::from(*expected as f32),
                _ => *expected,
            };
            let (place, band) = (idx / bands, idx % bands);
            let mut distance = (found - expected).abs();
            if model == ColorModel::CieLab {
                // The signs of a and b: the largest code is beside the smallest.
                distance = distance.min(2.0_f64.powi(case.sample.bits as i32) - distance);
            }
            assert!(
                distance <= case.tolerance(),
                "{label} {order:?}: {found} at ({}, {}) band {band}, expected {expected}",
                place % width as usize,
                place / width as usize,
            );
        }
    }
    match refusals.len() {
        0 => Ok(()),
        2 => Err(refusals.remove(0)),
        _ => panic!("{label}: refused in one byte order only: {refusals:?}"),
    }
}

/// Whether a cell of the table is shown, for each way to arrange the blocks: in one plane or several, in tiles or
/// strips.
type Cell = Vec<(bool, bool, Result<(), String>)>;

/// What becomes of one column of a row. All compressions of the column have to agree.
fn cell(meaning: Meaning, sample: Sample, coding: &Coding) -> Cell {
    let mut cell = Vec::new();
    for planar in [false, true] {
        for tiled in [true, false] {
            let mut found: Option<Result<(), String>> = None;
            for &compression in coding.numbers {
                let case = Case {
                    meaning,
                    sample,
                    compression,
                    predictor: coding.predictor,
                    tiled,
                    planar: planar && meaning.bands > 1,
                };
                let label = format!(
                    "{} {:?} {} {compression} predictor {} tiled {tiled} planar {planar}",
                    meaning.name,
                    meaning.shared,
                    sample.name(),
                    coding.predictor
                );
                let outcome = outcome(&case, &label);
                match &found {
                    None => found = Some(outcome),
                    Some(before) => assert_eq!(
                        before.is_ok(),
                        outcome.is_ok(),
                        "{label}: {before:?}, {outcome:?}"
                    ),
                }
            }
            cell.extend(found.map(|found| (planar, tiled, found)));
        }
    }
    cell
}

/// The sentences of refusals, those that differ in numbers alone counted as one.
#[derive(Default)]
struct Sentences(Vec<(String, String)>);

impl Sentences {
    fn number(&mut self, sentence: &str) -> usize {
        // Numbers and kinds of samples.
        let is_detail = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_digit())
                || matches!(word, "Unsigned" | "Signed" | "Float")
                || MEANINGS.iter().any(|meaning| {
                    Photometric::from_tag(meaning.photometric.into())
                        .is_ok_and(|photometric| format!("{photometric:?}") == word)
                })
        };
        let words = sentence
            .split(' ')
            .map(|word| if is_detail(word) { "#" } else { word });
        let key = words.collect::<Vec<_>>().join(" ");
        let place = self.0.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            self.0.push((key, sentence.to_owned()));
            self.0.len() - 1
        });
        place + 1
    }

    /// The text of a cell: `yes`, or the number of the sentence, by plane where that makes a difference.
    fn text(&mut self, cell: &Cell) -> String {
        let mut parts: Vec<(Vec<(bool, bool)>, String)> = Vec::new();
        for (planar, tiled, outcome) in cell {
            let text = match outcome {
                Ok(()) => "yes".to_owned(),
                Err(sentence) => self.number(sentence).to_string(),
            };
            match parts.iter_mut().find(|(_, known)| *known == text) {
                Some((places, _)) => places.push((*planar, *tiled)),
                None => parts.push((vec![(*planar, *tiled)], text)),
            }
        }
        let name = |places: &[(bool, bool)]| match places {
            [(false, true), (false, false)] => "one plane",
            [(true, true), (true, false)] => "planes",
            _ => panic!("tiles and strips differ: {parts:?}"),
        };
        match &parts[..] {
            [(_, text)] => text.clone(),
            parts => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(places, text)| format!("{}: {text}", name(places)))
                    .collect();
                parts.join("; ")
            }
        }
    }
}

/// The names of samples in the order of [`Sample::all`], neighbors that are alike as a range.
fn ranges(samples: &[Sample]) -> String {
    let all = Sample::all();
    let place = |sample: &Sample| all.iter().position(|other| other == sample).unwrap();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in samples.iter().map(place) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == at && all[at].format == all[*last].format => *last = at,
            _ => runs.push((at, at)),
        }
    }
    let names: Vec<String> = runs
        .iter()
        .map(|&(first, last)| match first == last {
            true => all[first].name(),
            false => format!("{}–{}", all[first].name(), all[last].name()),
        })
        .collect();
    names.join(", ")
}

/// The rows of one meaning, without its name: samples that fare alike in one row.
fn rows(cells: &[Vec<Cell>], sentences: &mut Sentences) -> Vec<String> {
    let mut rows: Vec<(Vec<Sample>, String)> = Vec::new();
    for (sample, cells) in Sample::all().into_iter().zip(cells) {
        let texts: Vec<String> = cells.iter().map(|cell| sentences.text(cell)).collect();
        let row = texts.join(" | ");
        match rows.iter_mut().find(|(_, known)| *known == row) {
            Some((samples, _)) => samples.push(sample),
            None => rows.push((vec![sample], row)),
        }
    }
    rows.iter()
        .map(|(samples, row)| format!("{} | {row}", ranges(samples)))
        .collect()
}

const HEAD: &str = "# TIFF: every combination

Written by the test `every_combination_is_shown_right_or_refused_with_a_sentence`, which makes a file of each,
computes its pixels from what it put there, and reads it: in tiles and in strips (they never differ), with the samples
of a pixel in one plane or in planes of their own (`planes`), in both byte orders, classic and BigTIFF. `yes` means
that the pixels are right; a number is that of the sentence below with which the file is refused.

Samples are `u` for unsigned integers, `i` for signed ones, `f` for floating point, with their bits; a range goes
through 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64 for integers and 16, 24, 32, 64 for floating point. LogL and LogLuv
have compressions of their own, see [tiff.md](tiff.md).

";

#[test]
fn every_combination_is_shown_right_or_refused_with_a_sentence() {
    let work: Vec<(usize, usize)> = (0..MEANINGS.len())
        .flat_map(|m| (0..Sample::all().len()).map(move |s| (m, s)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(vec![vec![Vec::new(); Sample::all().len()]; MEANINGS.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&(m, s)) = work.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let cells: Vec<Cell> = CODINGS
                        .iter()
                        .map(|coding| cell(MEANINGS[m], Sample::all()[s], coding))
                        .collect();
                    found.lock().unwrap()[m][s] = cells;
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut sentences = Sentences::default();
    let names: Vec<&str> = CODINGS.iter().map(|coding| coding.name).collect();
    let mut table = format!("{HEAD}| Photometric | Samples | {} |\n", names.join(" | "));
    table.push_str(&"| --- ".repeat(2 + CODINGS.len()));
    table.push_str("|\n");
    // Meanings that fare alike in every row share them.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (meaning, cells) in MEANINGS.into_iter().zip(&found) {
        let rows = rows(cells, &mut sentences);
        let (across, down) = meaning.shared;
        let name = match meaning.is_ycbcr() {
            true => format!("{}, chroma {across} x {down}", meaning.name),
            false => meaning.name.to_owned(),
        };
        match groups.iter_mut().find(|(_, known)| *known == rows) {
            Some((names, _)) => *names = format!("{names}; {}", name.replace("YCbCr, chroma ", "")),
            None => groups.push((name, rows)),
        }
    }
    for (name, rows) in &groups {
        for row in rows {
            let _ = writeln!(table, "| {name} | {row} |");
        }
    }
    table.push_str("\nThe sentences; numbers and kinds in them are those of one case:\n\n");
    for (number, (_, sentence)) in (1..).zip(&sentences.0) {
        let _ = writeln!(table, "{number}. {sentence}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tiff-combinations.md");
    if std::env::var_os("IIPHOST_WRITE_TABLE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, written)) in table.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, written, "docs/tiff-combinations.md, line {}", line + 1);
    }
    assert_eq!(
        table.lines().count(),
        written.lines().count(),
        "docs/tiff-combinations.md"
    );
}
