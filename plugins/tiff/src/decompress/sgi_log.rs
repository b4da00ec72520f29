//! SGI LogL and LogLuv (libtiff's private compressions 34676 and 34677): the logarithm of the luminance, and
//! the CIE 1976 (u', v') chromaticity.
//!
//! Luminance 1 is white. What comes out is 8-bit grey or RGB with a gamma of 2 and Rec. 709 primaries, as
//! libtiff and the programs on it show these files; brighter than white is cut.

use std::sync::LazyLock;

use iiphost_plugin_api::DecodeError;

use crate::compression::Compression;
use crate::layout::{BlockSize, Layout};
use crate::photometric::Photometric;

/// Steps of u' and v' in 32-bit pixels: 410 to one.
const UV_STEPS: f64 = 410.0;

/// Side of a cell of (u', v') in 24-bit pixels.
const CELL: f64 = 0.0035;

/// v' where the cells of 24-bit pixels begin.
const FIRST_V: f64 = 0.01694;

/// Rows of cells that cover the visible colors, from low v' to high: u' where a row begins, its cells, and
/// how many rows in turn are alike.
const ROWS: [(f64, u16, u8); 82] = [
    (0.247_663, 4, 1),
    (0.243_779, 6, 1),
    (0.241_684, 7, 1),
    (0.237_874, 9, 1),
    (0.235_906, 10, 1),
    (0.232_153, 12, 1),
    (0.228_352, 14, 1),
    (0.226_259, 15, 1),
    (0.222_371, 17, 1),
    (0.220_410, 18, 1),
    (0.214_710, 21, 1),
    (0.212_714, 22, 1),
    (0.210_721, 23, 1),
    (0.204_976, 26, 1),
    (0.202_986, 27, 1),
    (0.199_245, 29, 1),
    (0.195_525, 31, 1),
    (0.193_560, 32, 1),
    (0.189_878, 34, 1),
    (0.186_216, 36, 2),
    (0.182_592, 38, 1),
    (0.179_003, 40, 1),
    (0.175_466, 42, 1),
    (0.172_001, 44, 2),
    (0.168_612, 46, 2),
    (0.163_575, 49, 1),
    (0.158_642, 52, 3),
    (0.153_815, 55, 2),
    (0.149_097, 58, 2),
    (0.142_746, 62, 3),
    (0.138_270, 65, 3),
    (0.132_166, 69, 2),
    (0.126_204, 73, 3),
    (0.120_381, 77, 4),
    (0.112_962, 82, 3),
    (0.107_450, 86, 4),
    (0.100_343, 91, 3),
    (0.095_126, 95, 4),
    (0.088_276, 100, 4),
    (0.081_523, 105, 4),
    (0.074_861, 110, 4),
    (0.068_290, 115, 4),
    (0.063_573, 119, 4),
    (0.057_219, 124, 4),
    (0.050_985, 129, 5),
    (0.044_859, 134, 4),
    (0.040_571, 138, 4),
    (0.036_339, 142, 4),
    (0.032_139, 146, 4),
    (0.027_947, 150, 3),
    (0.023_739, 154, 4),
    (0.019_504, 158, 3),
    (0.016_976, 161, 4),
    (0.012_639, 165, 3),
    (0.009_991, 168, 3),
    (0.009_016, 170, 3),
    (0.006_217, 173, 2),
    (0.005_097, 175, 3),
    (0.003_909, 177, 2),
    (0.002_340, 177, 1),
    (0.002_389, 170, 1),
    (0.001_068, 164, 1),
    (0.001_653, 157, 1),
    (0.000_717, 150, 1),
    (0.001_614, 143, 1),
    (0.000_270, 136, 1),
    (0.000_484, 129, 1),
    (0.001_103, 123, 1),
    (0.001_242, 115, 1),
    (0.001_188, 109, 1),
    (0.001_011, 103, 1),
    (0.000_709, 97, 1),
    (0.000_301, 89, 1),
    (0.002_416, 82, 1),
    (0.003_251, 76, 1),
    (0.003_246, 69, 1),
    (0.004_141, 62, 1),
    (0.005_963, 55, 1),
    (0.008_839, 47, 1),
    (0.010_490, 40, 1),
    (0.016_994, 31, 1),
    (0.023_659, 21, 1),
];

/// (u', v') of the center of each cell.
static CELLS: LazyLock<Vec<(f32, f32)>> = LazyLock::new(|| {
    let rows = ROWS
        .iter()
        .flat_map(|&(start, count, alike)| (0..alike).map(move |_| (start, count)));
    rows.enumerate()
        .flat_map(|(row, (start, count))| {
            let v = FIRST_V + (row as f64 + 0.5) * CELL;
            (0..count).map(move |cell| ((start + (f64::from(cell) + 0.5) * CELL) as f32, v as f32))
        })
        .collect()
});

/// A row of pixels, used again for each block.
#[derive(Default)]
pub(super) struct SgiLog(Vec<[u8; 4]>);

impl SgiLog {
    pub(super) fn decompress(
        &mut self,
        layout: &Layout,
        encoded: &[u8],
        stored: &mut [u8],
        BlockSize { width, rows, .. }: BlockSize,
    ) -> Result<(), DecodeError> {
        let width = width as usize;
        if self.0.len() < width {
            self.0
                .try_reserve_exact(width - self.0.len())
                .map_err(|_| DecodeError::limit(format!("no memory for {width} pixels")))?;
            self.0.resize(width, [0; 4]);
        }
        let pixels = &mut self.0[..width];
        let is_grey = layout.photometric == Photometric::LogL;
        let mut input = encoded;
        for (y, out) in (0..rows).zip(stored.chunks_exact_mut(width * if is_grey { 1 } else { 3 })) {
            let read = match (layout.compression, is_grey) {
                (Compression::SgiLog24, _) => read_triples(&mut input, pixels),
                (_, true) => read_planes(&mut input, pixels, 2),
                (_, false) => read_planes(&mut input, pixels, 4),
            };
            read.ok_or_else(|| DecodeError::format(format!("LogLuv: {y} rows, expected {rows}")))?;
            if is_grey {
                for (out, pixel) in out.iter_mut().zip(pixels.iter()) {
                    *out = with_gamma(luminance16([pixel[0], pixel[1]]));
                }
                continue;
            }
            // Neighbors are often alike, and a color costs three square roots.
            let mut last = ([0; 4], [0; 3]);
            for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels.iter()) {
                if last.0 != *pixel {
                    last = (
                        *pixel,
                        match layout.compression {
                            Compression::SgiLog24 => color24([pixel[0], pixel[1], pixel[2]]),
                            _ => color32(*pixel),
                        },
                    );
                }
                *out = last.1;
            }
        }
        Ok(())
    }
}

/// Three bytes a pixel as they are.
fn read_triples(input: &mut &[u8], pixels: &mut [[u8; 4]]) -> Option<()> {
    let (row, rest) = input.split_at_checked(3 * pixels.len())?;
    *input = rest;
    for (pixel, &[a, b, c]) in pixels.iter_mut().zip(row.as_chunks::<3>().0) {
        *pixel = [a, b, c, 0];
    }
    Some(())
}

/// The bytes of a row by significance, highest first, each in runs: a control byte below 128 counts the
/// bytes that follow, any other stands for that many less 126 times the byte that follows.
fn read_planes(input: &mut &[u8], pixels: &mut [[u8; 4]], planes: usize) -> Option<()> {
    for plane in 0..planes {
        let mut done = 0;
        while done < pixels.len() {
            let (&control, rest) = input.split_first()?;
            if control >= 128 {
                let (&value, rest) = rest.split_first()?;
                let count = (usize::from(control) - 126).min(pixels.len() - done);
                for pixel in &mut pixels[done..done + count] {
                    pixel[plane] = value;
                }
                done += count;
                *input = rest;
            } else {
                // A run ends with its row.
                let count = usize::from(control).min(pixels.len() - done);
                let (values, rest) = rest.split_at_checked(count)?;
                for (pixel, &value) in pixels[done..].iter_mut().zip(values) {
                    pixel[plane] = value;
                }
                done += count;
                *input = rest;
            }
        }
    }
    Some(())
}

/// Sign, and 15 bits of 256ths of powers of two from 2^-64 on; 0 is nothing at all.
fn luminance16(bytes: [u8; 2]) -> f64 {
    let code = u16::from_be_bytes(bytes);
    let luminance = match code & 0x7fff {
        0 => return 0.0,
        step => ((f64::from(step) + 0.5) / 256.0 - 64.0).exp2(),
    };
    if code & 0x8000 == 0 { luminance } else { -luminance }
}

/// 16 bits of luminance, 8 of u', 8 of v'.
fn color32([high, low, u, v]: [u8; 4]) -> [u8; 3] {
    let center = |step: u8| (f64::from(step) + 0.5) / UV_STEPS;
    rgb(luminance16([high, low]), center(u), center(v))
}

/// 10 bits of luminance, in 64ths of powers of two from 2^-12 on, and 14 of a cell of (u', v').
fn color24(bytes: [u8; 3]) -> [u8; 3] {
    let [a, b, c] = bytes.map(u32::from);
    let code = a << 16 | b << 8 | c;
    let luminance = match code >> 14 {
        0 => 0.0,
        step => ((f64::from(step) + 0.5) / 64.0 - 12.0).exp2(),
    };
    // A number past the last cell is grey.
    let (u, v) = match CELLS.get((code & 0x3fff) as usize) {
        Some(&(u, v)) => (f64::from(u), f64::from(v)),
        None => (4.0 / 19.0, 9.0 / 19.0),
    };
    rgb(luminance, u, v)
}

/// Color by luminance and chromaticity, through XYZ, with equal energy as white.
fn rgb(luminance: f64, u: f64, v: f64) -> [u8; 3] {
    if luminance <= 0.0 {
        return [0; 3];
    }
    let sum = 6.0 * u - 16.0 * v + 12.0;
    let (x, y) = (9.0 * u / sum, 4.0 * v / sum);
    let [x, y, z] = [x / y * luminance, luminance, (1.0 - x - y) / y * luminance];
    [
        with_gamma(2.690 * x - 1.276 * y - 0.414 * z),
        with_gamma(-1.022 * x + 1.978 * y + 0.044 * z),
        with_gamma(0.061 * x - 0.224 * y + 1.163 * z),
    ]
}

/// An 8-bit sample of linear light where 1 is white. What is no number becomes black.
fn with_gamma(light: f64) -> u8 {
    // Conversion to an integer cuts to its range.
    (256.0 * light.max(0.0).sqrt()) as u8
}

#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, bytes_of_hex, open, read_level, write};
    use iiphost_plugin_api::{ColorModel, DecodeError, SampleFormat};

    fn decoded(photometric: u16, compression: u16, block: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
        let bands = if photometric == 32844 { 1 } else { 3 };
        let mut image = Image::new(13, 4, bands, 16)
            .in_strips(4)
            .compressed(compression)
            .photometric(photometric);
        image.sample_format = 2;
        image.blocks = Some(vec![block]);
        let reader = open(write(&[image], ByteOrder::Big, false))?;
        let page = &reader.info().pages[0];
        assert_eq!((page.sample_format, page.bit_depth), (SampleFormat::U8, 8));
        let models = [ColorModel::Grey, ColorModel::Rgb];
        assert_eq!(page.color_model, models[usize::from(bands == 3)]);
        read_level(&*reader, 0, 0)
    }

    /// Rising luminance over changing colors, encoded by libtiff, and what it shows of it in 8 bits.
    const FILES: [(u16, u16, &str, &str); 3] = [
        (
            32844,
            34676,
            "0d00003b3c3c3d3e3e3f404041420d00005500aa5500aa5500aa55008b3e8b000d3a3a3b3c3c3d3e3e3f\
             404041420d00aa5500aa5500aa5500aa55000d3b3c3c3d3e3e3f4040414242430d9540eb9540eb9540eb\
             9540eb95",
            "00003240506580a1cbffffffff8080808080808080808080808020283240506580a1cbffffffff374558\
             6e8bb0ddffffffffffff",
        ),
        (
            32845,
            34676,
            "0d00003b3c3c3d3e3e3f404041420d00005500aa5500aa5500aa55000d56563b3c3c3d3d3e3e3e3f3f3f\
             0dc2c2b1b6bbc0c5c9cdd1d4d8db8b3e8b008b568bc20d3a3a3b3c3c3d3e3e3f404041420d00aa5500aa\
             5500aa5500aa55000d54504d4a474542403e3c3a38370da9afb4b9bec2c6cacdd0d3d6d90d3b3c3c3d3e\
             3e3f4040414242430d9540eb9540eb9540eb9540eb950d615d595653504d4a484543413f0dacb1b7bcc0\
             c4c8cccfd2d5d8db",
            "0000000000000c394315484f1d5b5d2b736d38927e4fb89365e8a983ffc1b0ffdde1fff1ffffff80807f\
             80807f80807f80807f80807f80807f80807f80807f80807f80807f80807f80807f80807f1f1e2d242835\
             2a343f31434b395758446f684c8f7a59b68f65e8a972ffc77bffe87dffff8dffff42304b4e3f595d5468\
             6f6d7a858d909eb6aabbebc7dcffe7ffffffffffffffffffffffffffffff",
        ),
        (
            32845,
            34677,
            "002fea002fea75682e802aad8aad3a956f30a0312daab332b57540c03754cab8a2d579d5e03b6ea02fea\
             a02feaa02feaa02feaa02feaa02feaa02feaa02feaa02feaa02feaa02feaa02feaa02fea6025386aa79e\
             756a18802bfa8aade8956fdea031dbaab3e3b57540c036a1cab7fbd5793be03a5f7966758428e38eaac1\
             996d4ca42f40aeb13ab9733dc43499ceb5f8d97803e43942eeba66f97b6e",
            "0000000000000f394416484f1d5b5c28746d3a927f4ab89366e8a98affbeacffdbdcfff9ffffff808080\
             8080808080808080808080808080808080808080808080808080808080808080808080801f1e2d242835\
             2b343e32434b3a5658426f684c8f7b59b68e66e8a972ffc77bffe986ffff88ffff422f4a4e40585d5369\
             6f6d7a858d909db6a8bbebc4ddffe9ffffffffffffffffffffffffffffff",
        ),
    ];

    #[test]
    fn pictures_look_as_in_libtiff() {
        for (photometric, compression, block, shown) in FILES {
            let found = decoded(photometric, compression, bytes_of_hex(block)).unwrap();
            assert_eq!(found, bytes_of_hex(shown), "{photometric} {compression}");
        }
    }

    #[test]
    fn cut_data_is_an_error_that_says_so() {
        for (photometric, compression, block, _) in FILES {
            let block = bytes_of_hex(block);
            // A block of no bytes is not stored at all.
            for len in 1..block.len() {
                let error = match decoded(photometric, compression, block[..len].to_vec()) {
                    Ok(_) => panic!("{len} bytes of {photometric} {compression} were enough"),
                    Err(error) => error,
                };
                assert!(error.message().contains(" rows, expected 4"), "{error}");
            }
        }
    }

    #[test]
    fn forms_that_contradict_each_other_are_refused() {
        for (photometric, compression) in [(32844, 34677), (2, 34676), (32845, 8), (1, 34677)] {
            let error = decoded(photometric, compression, vec![0; 9]).unwrap_err();
            assert_eq!(
                error.kind(),
                iiphost_plugin_api::ErrorKind::Unsupported,
                "{error}"
            );
        }
    }

    #[test]
    fn the_cells_of_the_visible_colors_are_as_many_as_in_the_format() {
        assert_eq!(super::CELLS.len(), 16_289);
        // A number past the last one is grey.
        assert_eq!(super::color24([0xc0, 0x3f, 0xff]), [255; 3]);
    }
}
