//! JPEG 2000 (ISO/IEC 15444-1): each block is a codestream, bare or in a JP2 file.
//!
//! Aperio's forms say where the colors are turned: 33003 holds YCbCr, mostly with fewer samples of chroma,
//! and 33005 RGB. In 34712, and in 33004 as libvips writes it, it is what PhotometricInterpretation says. What the
//! boxes of a JP2 file say of colors is left alone: the tags count.

use std::ops::Range;

use iiphost_codestream::{Codestream, Component, Plane, Wanted};
use iiphost_plugin_api::{ByteSource, DecodeError, ReadContext};

use crate::layout::{BlockSize, Layout, SampleKind};

/// Boxes looked at before the codestream.
const MAX_BOXES: usize = 64;

/// Fills `stored` with the samples of the block of this size at `place` of the source.
///
/// The codec reads the source itself; its memory is checked against the limits before it is called.
pub(crate) fn decompress(
    layout: &Layout,
    source: &dyn ByteSource,
    place: Range<u64>,
    stored: &mut [u8],
    block: BlockSize,
    ctx: &ReadContext<'_>,
) -> Result<(), DecodeError> {
    let codestream = Codestream::open(source, codestream_place(source, place)?, ctx)?;
    let size = &codestream.header().size;
    check(layout, size.image, &size.components, block)?;
    let wanted = Wanted {
        reduction: 0,
        layers: 0,
        area: size.image,
    };
    ctx.limits.check_bytes(codestream.memory(&wanted))?;
    let decoded = codestream
        .decode(source, &wanted, ctx)?
        .ok_or_else(|| DecodeError::format("the JPEG 2000 codestream has no pixels"))?;
    if let Some(complaint) = decoded.complaints.first() {
        return Err(DecodeError::format(format!("JPEG 2000: {complaint}")));
    }
    let samples = size.components.len();
    for (band, component) in size.components.iter().enumerate() {
        let plane = decoded
            .plane(band)
            .ok_or_else(|| DecodeError::format(format!("JPEG 2000 without component {band}")))?;
        let spread = Spread {
            plane,
            step: (component.dx as usize, component.dy as usize),
            // Where the first sample lies before the left and upper edge of the image.
            before: (
                (size.image[0] % component.dx) as usize,
                (size.image[1] % component.dy) as usize,
            ),
            width: block.width as usize,
            rows: block.rows as usize,
        };
        match layout.bits {
            8 => spread.store(stored, samples, band, |value| [value as u8]),
            _ => spread.store(stored, samples, band, |value| (value as u16).to_ne_bytes()),
        }?;
    }
    Ok(())
}

/// Checks the codestream against the block.
fn check(
    layout: &Layout,
    [x0, y0, x1, y1]: [u32; 4],
    components: &[Component],
    block: BlockSize,
) -> Result<(), DecodeError> {
    let samples = usize::from(layout.samples_together());
    if components.len() != samples {
        return Err(DecodeError::format(format!(
            "JPEG 2000 with {} components, expected {samples}",
            components.len()
        )));
    }
    let (width, height) = (x1.saturating_sub(x0), y1.saturating_sub(y0));
    if !block.fits(width, height) {
        return Err(DecodeError::format(format!(
            "JPEG 2000 of {width}x{height} pixels, expected {}x{}",
            block.width, block.rows
        )));
    }
    let is_signed = layout.kind == SampleKind::Signed;
    for component in components {
        if component.bit_depth > u32::from(layout.bits) || component.signed != is_signed {
            return Err(DecodeError::format(format!(
                "JPEG 2000 with {}{} bits per sample, expected {}{} or fewer",
                if component.signed { "signed " } else { "" },
                component.bit_depth,
                if is_signed { "signed " } else { "" },
                layout.bits
            )));
        }
        if component.dx == 0 || component.dy == 0 {
            return Err(DecodeError::format("JPEG 2000 component without samples"));
        }
    }
    Ok(())
}

/// Where the codestream is: all of the place, or the box of a JP2 file (ISO/IEC 15444-1 annex I).
fn codestream_place(source: &dyn ByteSource, place: Range<u64>) -> Result<Range<u64>, DecodeError> {
    const SIGNATURE: [u8; 8] = *b"\0\0\0\x0cjP  ";
    const CODESTREAM: [u8; 4] = *b"jp2c";
    let mut at = place.start;
    for _ in 0..MAX_BOXES {
        let mut head = [0; 16];
        let left = place.end.saturating_sub(at);
        let head_len = left.min(16) as usize;
        source.read_exact_at(at, &mut head[..head_len])?;
        if at == place.start && !head.starts_with(&SIGNATURE) {
            return Ok(place);
        }
        let [a, b, c, d, e, f, g, h, long @ ..] = head;
        let (head_len, len) = match u32::from_be_bytes([a, b, c, d]) {
            // Up to the end.
            0 => (8, left),
            1 => (16, u64::from_be_bytes(long)),
            len => (8, u64::from(len)),
        };
        if len < head_len || len > left {
            break;
        }
        if [e, f, g, h] == CODESTREAM {
            return Ok(at + head_len..at + len);
        }
        at += len;
    }
    Err(DecodeError::format("JP2 file without a codestream"))
}

/// Puts the samples of a component into the pixels of a block.
struct Spread<'a> {
    plane: Plane<'a>,
    step: (usize, usize),
    before: (usize, usize),
    width: usize,
    rows: usize,
}

impl Spread<'_> {
    fn store<const N: usize>(
        &self,
        stored: &mut [u8],
        samples: usize,
        band: usize,
        bytes: impl Fn(i32) -> [u8; N],
    ) -> Result<(), DecodeError> {
        let plane_width = self.plane.width as usize;
        let too_few = || DecodeError::format("JPEG 2000: the codec found another size");
        for (y, out) in stored
            .chunks_exact_mut(self.width * samples * N)
            .take(self.rows)
            .enumerate()
        {
            let row = self
                .plane
                .samples
                .chunks_exact(plane_width.max(1))
                .nth(self.from(y, self.step.1, self.before.1))
                .ok_or_else(too_few)?;
            let out = out.chunks_exact_mut(N).skip(band).step_by(samples);
            if self.step.0 == 1 {
                if row.len() < self.width {
                    return Err(too_few());
                }
                for (out, &value) in out.zip(row) {
                    out.copy_from_slice(&bytes(value));
                }
                continue;
            }
            for (x, out) in out.enumerate() {
                let value = row
                    .get(self.from(x, self.step.0, self.before.0))
                    .ok_or_else(too_few)?;
                out.copy_from_slice(&bytes(*value));
            }
        }
        Ok(())
    }

    /// The sample that a pixel shows: the one at its place or the next before it, within the component.
    fn from(&self, at: usize, step: usize, before: usize) -> usize {
        // The first sample is the first grid point of the component inside the image.
        let skipped = if before == 0 { 0 } else { step - before };
        at.saturating_sub(skipped) / step
    }
}

#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, container, open, read_level, write};
    use iiphost_codestream::test_encoder::{Recipe, encode};
    use iiphost_plugin_api::{ColorModel, DecodeError, ErrorKind, SampleFormat};

    /// 40 x 24 pixels in tiles of 32 x 32, all of them alike.
    fn image(compression: u16, photometric: u16, recipe: &Recipe) -> Image {
        let bits = recipe.depths[0].next_multiple_of(8);
        let mut image = Image::new(40, 24, recipe.depths.len() as u32, bits)
            .tiled(32, 32)
            .compressed(compression)
            .photometric(photometric);
        image.sample_format = 1 + u16::from(recipe.signed);
        image.blocks = Some(vec![encode(recipe); 2]);
        image
    }

    fn decoded(image: &Image) -> Result<Vec<u8>, DecodeError> {
        let read = |order| {
            let reader = open(write(std::slice::from_ref(image), order, false))?;
            read_level(&*reader, 0, 0)
        };
        let pixels = read(ByteOrder::Little)?;
        assert!(read(ByteOrder::Big)? == pixels);
        Ok(pixels)
    }

    /// The value of a component at each pixel of the image.
    fn expected(recipe: &Recipe, pixel: impl Fn(&[u64]) -> Vec<u64>) -> Vec<u64> {
        let value = |component: usize, x: u32, y: u32| {
            let (dx, dy) = recipe.step(component);
            u64::from(recipe.sample(component, x / dx, y / dy))
        };
        let places = (0..24).flat_map(|y| (0..40).map(move |x| (x % 32, y % 32)));
        places
            .flat_map(|(x, y)| {
                let samples: Vec<u64> = (0..recipe.depths.len()).map(|c| value(c, x, y)).collect();
                pixel(&samples)
            })
            .collect()
    }

    fn as_stored(recipe: &Recipe) -> Vec<u8> {
        let format = [SampleFormat::U8, SampleFormat::U16][usize::from(recipe.depths[0] > 8)];
        container(expected(recipe, <[u64]>::to_vec).into_iter(), format)
    }

    /// The codestream in a JP2 file, with a box of 64-bit length before it.
    fn in_boxes(codestream: &[u8]) -> Vec<u8> {
        let mut file = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x01free\0\0\0\0\0\0\0\x13abc".to_vec();
        file.extend((codestream.len() as u32 + 8).to_be_bytes());
        file.extend(b"jp2c");
        file.extend(codestream);
        file
    }

    #[test]
    fn lossless_codestreams_are_exact_in_every_depth_and_order() {
        for (compression, photometric, bands) in [
            (34712, 1, 1),
            (34712, 2, 3),
            (34712, 2, 4),
            (33004, 2, 3),
            (33005, 2, 3),
        ] {
            for depth in [8, 12, 16] {
                for signed in [false, true] {
                    let recipe = Recipe {
                        signed,
                        ..Recipe::new(32, 32, bands, depth)
                    };
                    if signed && depth == 12 {
                        continue;
                    }
                    let image = image(compression, photometric, &recipe);
                    assert!(
                        decoded(&image).unwrap() == as_stored(&recipe),
                        "{bands} {depth} {signed}"
                    );
                }
            }
        }
        let recipe = Recipe::new(32, 32, 3, 8);
        let mut boxed = image(34712, 2, &recipe);
        boxed.blocks = Some(vec![in_boxes(&encode(&recipe)); 2]);
        assert!(decoded(&boxed).unwrap() == as_stored(&recipe));
    }

    #[test]
    fn planes_and_strips_are_read() {
        let recipe = Recipe::new(32, 32, 1, 8);
        let mut planar = image(34712, 2, &Recipe::new(32, 32, 3, 8));
        planar.planar = true;
        planar.blocks = Some(vec![encode(&recipe); 6]);
        let grey = expected(&recipe, |v| vec![v[0]; 3]);
        assert!(decoded(&planar).unwrap() == container(grey.into_iter(), SampleFormat::U8));
        let (first, last) = (Recipe::new(40, 16, 3, 8), Recipe::new(40, 8, 3, 8));
        let mut strips = image(34712, 2, &first).in_strips(16);
        strips.blocks = Some(vec![encode(&first), encode(&last)]);
        let rows = |recipe: &Recipe| -> Vec<u8> {
            let recipe = recipe.clone();
            (0..recipe.height)
                .flat_map(|y| (0..40).flat_map(move |x| (0..3).map(move |c| (c, x, y))))
                .map(|(c, x, y)| recipe.sample(c, x, y) as u8)
                .collect()
        };
        assert!(decoded(&strips).unwrap() == [rows(&first), rows(&last)].concat());
    }

    #[test]
    fn ycbcr_is_turned_and_its_chroma_spread() {
        // JFIF, as the tags are silent.
        let turned = |v: &[u64]| -> Vec<u64> {
            let [y, cb, cr] = [v[0] as f64, v[1] as f64 - 128.0, v[2] as f64 - 128.0];
            let rgb = [
                y + 1.402 * cr,
                y - 0.344_136_3 * cb - 0.714_136_3 * cr,
                y + 1.772 * cb,
            ];
            rgb.map(|v| (v + 0.5).clamp(0.0, 255.0) as u64).to_vec()
        };
        for (compression, photometric) in [(33003, 2), (33003, 6), (34712, 6)] {
            for step in [(1, 1), (2, 1), (2, 2)] {
                let mut recipe = Recipe::new(32, 32, 3, 8);
                recipe.subsampling = vec![(1, 1), step, step];
                let image = image(compression, photometric, &recipe);
                let reader = open(write(std::slice::from_ref(&image), ByteOrder::Little, false)).unwrap();
                assert_eq!(reader.info().pages[0].color_model, ColorModel::Rgb);
                let (found, expected) = (decoded(&image).unwrap(), expected(&recipe, turned));
                let worst = found
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| u64::from(*a).abs_diff(*b))
                    .max();
                assert!(
                    worst <= Some(1),
                    "{compression} {photometric} {step:?}: {worst:?}"
                );
            }
        }
        // 33005 says RGB, whatever the other tag says.
        let recipe = Recipe::new(32, 32, 3, 8);
        assert!(decoded(&image(33005, 6, &recipe)).unwrap() == as_stored(&recipe));
    }

    #[test]
    fn codestreams_of_other_sizes_or_samples_and_cut_ones_are_refused() {
        let good = Recipe::new(32, 32, 3, 8);
        for (other, part) in [
            (Recipe::new(31, 32, 3, 8), "of 31x32 pixels, expected 32x32"),
            (Recipe::new(32, 33, 3, 8), "of 32x33 pixels, expected 32x32"),
            (Recipe::new(32, 16, 3, 8), "of 32x16 pixels, expected 32x32"),
            (Recipe::new(32, 32, 1, 8), "with 1 components, expected 3"),
            (Recipe::new(32, 32, 3, 12), "12 bits per sample, expected 8"),
            (
                Recipe {
                    signed: true,
                    ..good.clone()
                },
                "signed 8 bits per sample, expected 8",
            ),
        ] {
            let mut image = image(34712, 2, &good);
            image.blocks = Some(vec![encode(&other); 2]);
            let error = decoded(&image).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
        let whole = encode(&good);
        for bytes in [whole.clone(), in_boxes(&whole)] {
            for len in (1..bytes.len() - 2).step_by(13) {
                let mut image = image(34712, 2, &good);
                image.blocks = Some(vec![bytes[..len].to_vec(); 2]);
                assert!(decoded(&image).is_err(), "{len} of {} bytes", bytes.len());
            }
        }
        let error = decoded(&Image {
            bits: 12,
            ..image(34712, 2, &good)
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}
