//! Colors that are converted here: palettes, YCbCr, the ICC and ITU encodings of L*a*b*.

use iiphost_plugin_api::SampleFormat;

use crate::layout::{Layout, YcbcrParams};
use crate::photometric::Photometric;

/// What remains to be done with the colors of a delivered row.
#[derive(Clone, Debug)]
pub(crate) enum ColorStep {
    /// Nothing.
    None,
    /// Grey where 0 is white.
    Invert,
    /// 8-bit YCbCr to RGB.
    Ycbcr(Box<YcbcrTables>),
    /// ICC encoding of L*a*b* to the one of TIFF.
    IccLab,
    /// ITU-T T.42 encoding of L*a*b* to the one of TIFF.
    ItuLab,
}

impl ColorStep {
    /// The step for a layout. JPEG and WebP have been converted by their codec.
    pub(crate) fn of(layout: &Layout) -> Self {
        match layout.photometric {
            Photometric::WhiteIsZero => Self::Invert,
            Photometric::YCbCr if !layout.compression.gives_rgb() => {
                Self::Ycbcr(Box::new(YcbcrTables::new(&layout.ycbcr)))
            }
            Photometric::IccLab => Self::IccLab,
            Photometric::ItuLab => Self::ItuLab,
            _ => Self::None,
        }
    }

    /// Converts the pixels of a row in place.
    pub(crate) fn apply(&self, row: &mut [u8], format: SampleFormat, bits: u32, band_count: usize) {
        match self {
            Self::None => {}
            Self::Invert => crate::samples::invert(row, format, bits, band_count),
            Self::Ycbcr(tables) => row
                .as_chunks_mut::<3>()
                .0
                .iter_mut()
                .for_each(|p| *p = tables.rgb(*p)),
            Self::IccLab if format == SampleFormat::U8 => {
                for pixel in row.chunks_exact_mut(band_count) {
                    pixel[1] ^= 0x80;
                    pixel[2] ^= 0x80;
                }
            }
            Self::IccLab => {
                for pixel in row.chunks_exact_mut(2 * band_count) {
                    // 100 is 0xff00 in ICC version 2 profiles, 0xffff in TIFF.
                    let lightness = u32::from(u16::from_ne_bytes([pixel[0], pixel[1]]));
                    let lightness = ((lightness * 65535 + 32640) / 65280).min(65535) as u16;
                    pixel[..2].copy_from_slice(&lightness.to_ne_bytes());
                    for band in pixel[2..6].chunks_exact_mut(2) {
                        let value = u16::from_ne_bytes([band[0], band[1]]) ^ 0x8000;
                        band.copy_from_slice(&value.to_ne_bytes());
                    }
                }
            }
            Self::ItuLab => {
                for pixel in row.chunks_exact_mut(band_count) {
                    // T.42: a* = (v - 128) * 170 / 255, b* = (v - 96) * 200 / 255.
                    let a = (f32::from(pixel[1]) - 128.0) * 170.0 / 255.0;
                    let b = (f32::from(pixel[2]) - 96.0) * 200.0 / 255.0;
                    pixel[1] = a.round() as i8 as u8;
                    pixel[2] = b.round() as i8 as u8;
                }
            }
        }
    }
}

/// YCbCr to RGB by tables (TIFF 6.0 section 21).
#[derive(Clone, Debug)]
pub(crate) struct YcbcrTables {
    luma: [f32; 256],
    red: [f32; 256],
    blue: [f32; 256],
    /// Share of Cr and Cb in green, by code.
    green_red: [f32; 256],
    green_blue: [f32; 256],
}

impl YcbcrTables {
    fn new(params: &YcbcrParams) -> Self {
        let [red, green, blue] = params.coefficients;
        let [y0, y1, cb0, cb1, cr0, cr1] = params.reference;
        let table = |value: &dyn Fn(f64) -> f64| std::array::from_fn(|code| value(code as f64) as f32);
        let cb = |code: f64| (code - cb0) * 127.0 / (cb1 - cb0);
        let cr = |code: f64| (code - cr0) * 127.0 / (cr1 - cr0);
        let red_of = |code: f64| cr(code) * (2.0 - 2.0 * red);
        let blue_of = |code: f64| cb(code) * (2.0 - 2.0 * blue);
        Self {
            luma: table(&|code| (code - y0) * 255.0 / (y1 - y0)),
            red: table(&red_of),
            blue: table(&blue_of),
            green_red: table(&|code| -red_of(code) * red / green),
            green_blue: table(&|code| -blue_of(code) * blue / green),
        }
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let luma = self.luma[usize::from(y)];
        let (cb, cr) = (usize::from(cb), usize::from(cr));
        // Conversion to an integer clamps to its range.
        [
            (luma + self.red[cr] + 0.5) as u8,
            (luma + self.green_red[cr] + self.green_blue[cb] + 0.5) as u8,
            (luma + self.blue[cb] + 0.5) as u8,
        ]
    }
}

/// Spreads data units of subsampled YCbCr to one sample triple per pixel.
///
/// A data unit holds h x v luma samples, one Cb and one Cr; `stored` has the units of a block row by row.
pub(crate) fn spread_units(stored: &[u8], subsampling: (u8, u8), width: usize, out: &mut [u8]) {
    let (h, v) = (usize::from(subsampling.0), usize::from(subsampling.1));
    let unit_len = h * v + 2;
    let units_across = width.div_ceil(h);
    for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
        let units = &stored[y / v * units_across * unit_len..];
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let unit = &units[x / h * unit_len..][..unit_len];
            *pixel = [unit[y % v * h + x % h], unit[h * v], unit[h * v + 1]];
        }
    }
}

/// Writes the colors of palette indexes; an index past the end of the palette cannot occur.
pub(crate) fn look_up(palette: &[[u8; 3]], indexes: &[u8], format: SampleFormat, out: &mut [u8]) {
    let (pixels, _) = out.as_chunks_mut::<3>();
    let color = |idx: usize| palette.get(idx).copied().unwrap_or_default();
    match format {
        SampleFormat::U16 => {
            let (indexes, _) = indexes.as_chunks::<2>();
            for (pixel, idx) in pixels.iter_mut().zip(indexes) {
                *pixel = color(usize::from(u16::from_ne_bytes(*idx)));
            }
        }
        _ => {
            for (pixel, &idx) in pixels.iter_mut().zip(indexes) {
                *pixel = color(usize::from(idx));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, Values, open, read_level, write};
    use iiphost_plugin_api::ColorModel;

    fn decoded(image: &Image) -> (ColorModel, Vec<u8>) {
        let reader = open(write(std::slice::from_ref(image), ByteOrder::Big, false)).unwrap();
        (
            reader.info().pages[0].color_model,
            read_level(&*reader, 0, 0).unwrap(),
        )
    }

    /// TIFF 6.0 section 21, term by term.
    fn rgb_of(code: [f64; 3], [red, green, blue]: [f64; 3], black_white: [f64; 6]) -> [f64; 3] {
        let full = |i: usize, range: f64| {
            (code[i] - black_white[2 * i]) * range / (black_white[2 * i + 1] - black_white[2 * i])
        };
        let (y, cb, cr) = (full(0, 255.0), full(1, 127.0), full(2, 127.0));
        let r = cr * (2.0 - 2.0 * red) + y;
        let b = cb * (2.0 - 2.0 * blue) + y;
        [r, (y - blue * b - red * r) / green, b]
    }

    #[test]
    fn ycbcr_of_every_subsampling_compression_and_reference_is_turned() {
        let studio = [16.0, 235.0, 128.0, 240.0, 128.0, 240.0];
        let full = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
        let (ccir, hdtv) = ([0.299, 0.587, 0.114], [0.2125, 0.7154, 0.0721]);
        let tenths = |values: &[f64]| {
            Values::Rational(
                values
                    .iter()
                    .map(|v| ((v * 1e4).round() as u32, 10_000))
                    .collect(),
            )
        };
        let (width, height) = (13_usize, 10_usize);
        let luma = |x: usize, y: usize| (x * 17 + y * 23) % 256;
        let chroma = |x: usize, y: usize, band: usize| 60 + (x * 31 + y * 13 + band * 50) % 140;
        for (h, v) in [1, 2, 4].into_iter().flat_map(|h| [1, 2, 4].map(|v| (h, v))) {
            for (coefficients, reference) in [(ccir, full), (hdtv, studio)] {
                for compression in [1, 5, 8, 32773, 50000] {
                    let mut units = Vec::new();
                    for top in (0..height).step_by(v) {
                        for left in (0..width).step_by(h) {
                            for (x, y) in (0..v).flat_map(|y| (0..h).map(move |x| (x, y))) {
                                units.push(luma(left + x, top + y) as u8);
                            }
                            units.extend([0, 1].map(|band| chroma(left / h, top / v, band) as u8));
                        }
                    }
                    let encoded = Image::new(1, 1, 1, 8).compressed(compression).block_of(&units);
                    let mut image = Image::new(width as u32, height as u32, 3, 8)
                        .in_strips(height as u32)
                        .photometric(6)
                        .compressed(compression)
                        .tag(529, tenths(&coefficients))
                        .tag(530, Values::Short(vec![h as u16, v as u16]))
                        .tag(532, tenths(&reference));
                    image.blocks = Some(vec![encoded]);
                    let (model, found) = decoded(&image);
                    assert_eq!(model, ColorModel::Rgb);
                    for (idx, pixel) in found.as_chunks::<3>().0.iter().enumerate() {
                        let (x, y) = (idx % width, idx / width);
                        let code = [luma(x, y), chroma(x / h, y / v, 0), chroma(x / h, y / v, 1)];
                        let expected = rgb_of(code.map(|c| c as f64), coefficients, reference);
                        for (found, expected) in pixel.iter().zip(expected) {
                            let difference = (f64::from(*found) - expected.clamp(0.0, 255.0)).abs();
                            assert!(
                                difference < 0.51,
                                "{h}x{v} {compression} at ({x}, {y}): {difference}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn lab_of_every_encoding_arrives_in_that_of_cielab() {
        // L* 50, a* 20, b* -30 and white, in each encoding.
        for (photometric, bits, stored, expected) in [
            (8, 8, [128, 20, 226, 255, 0, 0], [128, 20, 226, 255, 0, 0]),
            (9, 8, [128, 148, 98, 255, 128, 128], [128, 20, 226, 255, 0, 0]),
            // T.42: a* / 170 and b* / 200 of the range, from 128 and 96 on.
            (10, 8, [128, 158, 58, 255, 128, 96], [128, 20, 226, 255, 0, 0]),
            (
                8,
                16,
                [32768, 5120, 57856, 65535, 0, 0],
                [32768, 5120, 57856, 65535, 0, 0],
            ),
            (
                9,
                16,
                [32640, 37888, 25088, 65280, 32768, 32768],
                [32768, 5120, 57856, 65535, 0, 0],
            ),
        ] {
            let mut image = Image::new(2, 1, 3, bits).photometric(photometric).compressed(8);
            image.values = stored.to_vec();
            let (model, found) = decoded(&image);
            assert_eq!(model, ColorModel::CieLab);
            let found: Vec<u64> = match bits {
                8 => found.iter().map(|&v| u64::from(v)).collect(),
                _ => found
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|v| u64::from(u16::from_ne_bytes(*v)))
                    .collect(),
            };
            assert_eq!(found, expected, "{photometric} of {bits} bits");
        }
        let mut float = Image::new(1, 1, 3, 32).photometric(8);
        float.sample_format = 3;
        float.values = [50.0_f32, 20.0, -30.0].map(|v| u64::from(v.to_bits())).to_vec();
        let expected: Vec<u8> = [50.0_f32, 20.0, -30.0]
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        assert_eq!(decoded(&float), (ColorModel::CieLab, expected));
    }

    #[test]
    fn default_ycbcr_is_the_one_of_jfif() {
        let tables = YcbcrTables::new(&YcbcrParams {
            coefficients: [0.299, 0.587, 0.114],
            reference: [0.0, 255.0, 128.0, 255.0, 128.0, 255.0],
        });
        assert_eq!(tables.rgb([0, 128, 128]), [0, 0, 0]);
        assert_eq!(tables.rgb([255, 128, 128]), [255, 255, 255]);
        assert_eq!(tables.rgb([76, 85, 255]), [254, 0, 0]);
        assert_eq!(tables.rgb([29, 255, 107]), [0, 0, 254]);
    }

    #[test]
    fn units_are_spread_over_their_pixels() {
        // One unit of 2x2 and one half outside a width of 3.
        let stored = [1, 2, 3, 4, 50, 60, 5, 6, 7, 8, 70, 80];
        let mut out = [0; 18];
        spread_units(&stored, (2, 2), 3, &mut out);
        assert_eq!(out[..9], [1, 50, 60, 2, 50, 60, 5, 70, 80]);
        assert_eq!(out[9..], [3, 50, 60, 4, 50, 60, 7, 70, 80]);
    }

    #[test]
    fn icc_lab_at_its_ends_becomes_tiff_lab() {
        let mut row = Vec::new();
        for value in [0xff00_u16, 0x8000, 0x0000] {
            row.extend(value.to_ne_bytes());
        }
        ColorStep::IccLab.apply(&mut row, SampleFormat::U16, 16, 3);
        let value = |i: usize| u16::from_ne_bytes([row[2 * i], row[2 * i + 1]]);
        assert_eq!([value(0), value(1), value(2)], [0xffff, 0, 0x8000]);
    }

    #[test]
    fn itu_lab_is_scaled_around_its_own_zero() {
        let mut row = [200, 128, 96, 200, 0, 0, 200, 255, 255];
        ColorStep::ItuLab.apply(&mut row, SampleFormat::U8, 8, 3);
        let signed = row.map(|value| value as i8);
        assert_eq!(signed[..6], [-56, 0, 0, -56, -85, -75]);
        assert_eq!(signed[7..], [85, 125]);
    }
}
