//! Colors that are converted here: palettes, YCbCr, the ICC and ITU encodings of L*a*b*.

use iiphost_plugin_api::SampleFormat;

use crate::layout::{Layout, YcbcrParams};
use crate::photometric::Photometric;

/// What remains to be done with the colors of a delivered row.
#[derive(Clone, Debug)]
pub(crate) enum ColorStep {
    /// Nothing.
    None,
    /// Grey where the smallest value is white; of floating point, smallest and largest value together.
    Invert(f32),
    /// YCbCr of 8 bits to RGB.
    Ycbcr(Box<YcbcrTables>),
    /// YCbCr of 9 to 16 bits to RGB.
    DeepYcbcr(DeepYcbcr),
    /// ICC encoding of L*a*b* to the one of TIFF.
    IccLab,
    /// ITU-T T.42 encoding of L*a*b* to the one of TIFF.
    ItuLab,
}

impl ColorStep {
    /// The step for a layout.
    pub(crate) fn of(layout: &Layout) -> Self {
        match layout.photometric {
            Photometric::WhiteIsZero => {
                // Floating point of the file reaches from 0 to 1, as far as anything says.
                let (smallest, largest) = layout.range_of_wide_integers().unwrap_or((0.0, 1.0));
                Self::Invert((smallest + largest) as f32)
            }
            Photometric::YCbCr if layout.codec_turns_ycbcr() => Self::None,
            Photometric::YCbCr if layout.bits > 8 => {
                Self::DeepYcbcr(DeepYcbcr::new(&layout.ycbcr, layout.bits))
            }
            Photometric::YCbCr => Self::Ycbcr(Box::new(YcbcrTables::new(&layout.ycbcr))),
            Photometric::IccLab => Self::IccLab,
            Photometric::ItuLab => Self::ItuLab,
            _ => Self::None,
        }
    }

    /// Bytes of memory beside the step itself.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self {
            Self::Ycbcr(tables) => size_of_val(&**tables),
            _ => 0,
        }
    }

    /// Converts the pixels of a row in place.
    pub(crate) fn apply(&self, row: &mut [u8], format: SampleFormat, bits: u32, band_count: usize) {
        match self {
            Self::None => {}
            Self::Invert(ends) => crate::samples::invert(row, format, bits, band_count, *ends),
            Self::Ycbcr(tables) => match band_count {
                3 => row
                    .as_chunks_mut::<3>()
                    .0
                    .iter_mut()
                    .for_each(|p| *p = tables.rgb(*p)),
                _ => {
                    for pixel in row.chunks_exact_mut(band_count) {
                        let rgb = tables.rgb([pixel[0], pixel[1], pixel[2]]);
                        pixel[..3].copy_from_slice(&rgb);
                    }
                }
            },
            Self::DeepYcbcr(sums) => {
                for pixel in row.as_chunks_mut::<2>().0.chunks_exact_mut(band_count) {
                    let rgb = sums.rgb([pixel[0], pixel[1], pixel[2]].map(u16::from_ne_bytes));
                    pixel[..3].copy_from_slice(&rgb.map(u16::to_ne_bytes));
                }
            }
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

/// The same for samples of more than 8 bits, whose tables would be larger than the caches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeepYcbcr {
    /// Codes of no light and of no color.
    zero: [f32; 3],
    /// Light per code of Y, red per code of Cr, blue per code of Cb.
    luma: f32,
    red: f32,
    blue: f32,
    /// Shares of red and blue in green.
    green_red: f32,
    green_blue: f32,
    /// The largest code.
    max: u16,
}

impl DeepYcbcr {
    fn new(params: &YcbcrParams, bits: u16) -> Self {
        let [red, green, blue] = params.coefficients;
        let [y0, y1, cb0, cb1, cr0, cr1] = params.reference;
        let half = 2.0_f64.powi(i32::from(bits) - 1);
        let (all, around) = (2.0 * half - 1.0, half - 1.0);
        Self {
            zero: [y0, cb0, cr0].map(|zero| zero as f32),
            luma: (all / (y1 - y0)) as f32,
            red: (around / (cr1 - cr0) * (2.0 - 2.0 * red)) as f32,
            blue: (around / (cb1 - cb0) * (2.0 - 2.0 * blue)) as f32,
            green_red: (-red / green) as f32,
            green_blue: (-blue / green) as f32,
            max: all as u16,
        }
    }

    fn rgb(&self, code: [u16; 3]) -> [u16; 3] {
        let from = |i: usize| f32::from(code[i]) - self.zero[i];
        let (luma, blue, red) = (from(0) * self.luma, from(1) * self.blue, from(2) * self.red);
        let green = red * self.green_red + blue * self.green_blue;
        // Conversion to an integer clamps to its range.
        [red, green, blue].map(|color| ((luma + color + 0.5) as u16).min(self.max))
    }
}

/// Spreads data units of subsampled YCbCr to one triple of samples, of `N` bytes each, per pixel.
///
/// A data unit holds h x v luma samples, one Cb and one Cr; `stored` has the units of a block row by row.
pub(crate) fn spread_units<const N: usize>(
    stored: &[u8],
    subsampling: (u8, u8),
    width: usize,
    out: &mut [u8],
) {
    let (h, v) = (usize::from(subsampling.0), usize::from(subsampling.1));
    let unit_len = h * v + 2;
    let units_across = width.div_ceil(h);
    let (stored, (samples, _)) = (stored.as_chunks::<N>().0, out.as_chunks_mut::<N>());
    for (y, row) in samples.chunks_exact_mut(3 * width).enumerate() {
        let units = &stored[y / v * units_across * unit_len..];
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let unit = &units[x / h * unit_len..][..unit_len];
            *pixel = [unit[y % v * h + x % h], unit[h * v], unit[h * v + 1]];
        }
    }
}

/// Spreads a plane of chroma to one sample, of `N` bytes, per pixel.
pub(crate) fn spread_plane<const N: usize>(
    stored: &[u8],
    subsampling: (u8, u8),
    width: usize,
    out: &mut [u8],
) {
    let (h, v) = (usize::from(subsampling.0), usize::from(subsampling.1));
    let (stored, (samples, _)) = (stored.as_chunks::<N>().0, out.as_chunks_mut::<N>());
    for (y, row) in samples.chunks_exact_mut(width).enumerate() {
        let shared = &stored[y / v * width.div_ceil(h)..];
        for (pixels, sample) in row.chunks_mut(h).zip(shared) {
            pixels.fill(*sample);
        }
    }
}

/// A palette, and how the samples behind an index become those of 8 bits behind its color.
pub(crate) struct Palette<'a> {
    pub(crate) colors: &'a [[u8; 3]],
    /// Bits of an index and of the samples behind it, 1 to 16.
    pub(crate) bits: u32,
    /// Samples of a pixel in one row of stored ones: all, or one if they lie in planes.
    pub(crate) samples_together: usize,
    /// Bytes of a pixel that is delivered.
    pub(crate) pixel_bytes: usize,
}

impl Palette<'_> {
    /// Writes the colors of indexes and scales what lies behind them. `samples` begin with the index if
    /// `plane` is 0; an index past the end of the palette cannot occur.
    pub(crate) fn apply(&self, samples: &[u8], format: SampleFormat, plane: usize, out: &mut [u8]) {
        let color = |idx: u16| self.colors.get(usize::from(idx)).copied().unwrap_or_default();
        if (format, self.pixel_bytes) == (SampleFormat::U8, 3) {
            // The usual case: nothing behind the index.
            for (pixel, &idx) in out.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
                *pixel = color(u16::from(idx));
            }
            return;
        }
        let max = (1_u32 << self.bits) - 1;
        let pixels = out.chunks_exact_mut(self.pixel_bytes);
        let bytes = format.bytes();
        for (pixel, samples) in pixels.zip(samples.chunks_exact(self.samples_together * bytes)) {
            for (idx, sample) in samples.chunks_exact(bytes).enumerate() {
                let value = match *sample {
                    [a, b] => u16::from_ne_bytes([a, b]),
                    _ => u16::from(sample[0]),
                };
                match plane + idx {
                    0 => pixel[..3].copy_from_slice(&color(value)),
                    behind => pixel[2 + behind] = ((u32::from(value) * 255 + max / 2) / max) as u8,
                }
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
        spread_units::<1>(&stored, (2, 2), 3, &mut out);
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
