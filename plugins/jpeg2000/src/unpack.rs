//! From decoded components to the pixels of the page.
//!
//! Row by row: each channel is brought to the grid of the level and to the depth of the page, then the
//! color transform works on the first three, then the bands are interleaved.

use iiphost_plugin_api::{DecodeError, ErrorKind};

use crate::color::{Bands, Channel, LabRange, Transform};
use crate::levels::{Level, ceil_shift};
use crate::pixels::Pixels;
use iiphost_codestream::{Component, Decoded, Plane};

/// Where the samples of a decode lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// The level decoded.
    pub(crate) level: &'a Level,
    /// The area decoded, on the reference grid.
    pub(crate) area: [u32; 4],
    /// The components of the codestream.
    pub(crate) components: &'a [Component],
    /// Distance of pixels on the reference grid.
    pub(crate) step: [u32; 2],
}

/// Fills `out` from the decoded components.
///
/// # Errors
/// `Internal` when the codec gave other sizes than the standard asks for.
pub(crate) fn unpack(
    decoded: &Decoded,
    frame: &Frame<'_>,
    bands: &Bands,
    out: &mut Pixels,
) -> Result<(), DecodeError> {
    let (x, y) = (
        out.region.x + frame.level.edges[0],
        out.region.y + frame.level.edges[1],
    );
    let sources = bands
        .channels
        .iter()
        .map(|channel| Source::new(decoded, frame, channel, bands.bit_depth, x, out.region.width))
        .collect::<Result<Vec<_>, _>>()?;
    let width = out.region.width as usize;
    let mut rows = vec![vec![0u32; width]; sources.len()];
    let max = largest(bands.bit_depth);
    for (offset, target) in (0u32..).zip(out.rows_mut()) {
        for (source, row) in sources.iter().zip(&mut rows) {
            source.row(y + offset, row);
        }
        transform(&mut rows, bands, max);
        interleave(&rows, target);
    }
    Ok(())
}

/// The largest value of a depth of 1 to 32 bits.
fn largest(bit_depth: u32) -> u32 {
    u32::MAX >> (32 - bit_depth.clamp(1, 32))
}

/// One channel on its way to the page.
struct Source<'a> {
    plane: Plane<'a>,
    /// Grid row of the plane's first row.
    top: u32,
    dy: u32,
    columns: Columns,
    /// Added to a stored value to make it unsigned.
    bias: i64,
    /// Largest value of the component.
    max: u32,
    table: Option<&'a [u32]>,
    /// Largest values of the channel and of the page, where they differ.
    scale: Option<(u64, u64)>,
}

/// Which sample of a plane's row stands at each column.
enum Columns {
    /// The samples from this one on.
    From(usize),
    /// One index for each column.
    Table(Vec<u32>),
}

impl<'a> Source<'a> {
    fn new(
        decoded: &'a Decoded,
        frame: &Frame<'_>,
        channel: &'a Channel,
        bit_depth: u32,
        x: u32,
        width: u32,
    ) -> Result<Self, DecodeError> {
        let component = &frame.components[channel.component];
        let plane = decoded.plane(channel.component).ok_or_else(|| {
            DecodeError::format(format!("component {} could not be decoded", channel.component))
        })?;
        let start = |edge: u32, step: u32| ceil_shift(edge.div_ceil(step), frame.level.reduction);
        let [x0, y0, x1, y1] = frame.area;
        let (left, top) = (start(x0, component.dx), start(y0, component.dy));
        let expected = (
            start(x1, component.dx).saturating_sub(left),
            start(y1, component.dy).saturating_sub(top),
        );
        if expected != (plane.width, plane.height) || plane.width == 0 || plane.height == 0 {
            return Err(DecodeError::new(
                ErrorKind::Internal,
                format!(
                    "component {} came as {}x{}, expected {}x{}",
                    channel.component, plane.width, plane.height, expected.0, expected.1
                ),
            ));
        }
        let last = plane.width - 1;
        // Other steps than the shared one exist only where that is 1.
        let (dx, dy) = (component.dx / frame.step[0], component.dy / frame.step[1]);
        let columns = if dx == 1 && x >= left && u64::from(x - left) + u64::from(width) <= u64::from(last) + 1
        {
            Columns::From((x - left) as usize)
        } else {
            let index = |column: u32| (column / dx).saturating_sub(left).min(last);
            Columns::Table((x..x + width).map(index).collect())
        };
        let own = largest(channel.bit_depth);
        let page = largest(bit_depth);
        let signed = component.signed;
        Ok(Self {
            plane,
            top,
            dy,
            columns,
            bias: if signed { 1 << (component.bit_depth - 1) } else { 0 },
            max: largest(component.bit_depth),
            table: channel.table.as_deref(),
            scale: (own != page).then_some((u64::from(own), u64::from(page))),
        })
    }

    /// The samples of a row of the grid, in offset form and the depth of the page.
    fn row(&self, y: u32, out: &mut [u32]) {
        // The samples that stand for a distance are its first ones: those between repeat them.
        let row = (y / self.dy).saturating_sub(self.top).min(self.plane.height - 1) as usize;
        let width = self.plane.width as usize;
        let samples = &self.plane.samples[row * width..(row + 1) * width];
        let clean = |value: i32| (i64::from(value) + self.bias).clamp(0, i64::from(self.max)) as u32;
        match &self.columns {
            Columns::From(first) => {
                for (out, &sample) in out.iter_mut().zip(&samples[*first..]) {
                    *out = clean(sample);
                }
            }
            Columns::Table(columns) => {
                for (out, &column) in out.iter_mut().zip(columns) {
                    *out = clean(samples[column as usize]);
                }
            }
        }
        if let Some(table) = self.table {
            let last = table.len().saturating_sub(1);
            for value in &mut *out {
                *value = table.get((*value as usize).min(last)).copied().unwrap_or(0);
            }
        }
        if let Some((own, page)) = self.scale {
            for value in &mut *out {
                // At most the largest value of the page, a u32.
                *value = ((u64::from(*value) * page + own / 2) / own) as u32;
            }
        }
    }
}

fn transform(rows: &mut [Vec<u32>], bands: &Bands, max: u32) {
    match &bands.transform {
        Transform::None => {}
        Transform::Inverted => {
            for value in rows.iter_mut().take(1).flatten() {
                *value = max - *value;
            }
        }
        Transform::Sycc => three(rows, |pixel| sycc(pixel, max)),
        Transform::Esycc => three(rows, |pixel| esycc(pixel, max)),
        Transform::Lab(range) => three(rows, |pixel| lab(pixel, range, max)),
    }
}

/// Replaces each pixel of the first three bands.
fn three(rows: &mut [Vec<u32>], convert: impl Fn([u32; 3]) -> [u32; 3]) {
    if let [a, b, c, ..] = rows {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            [*a, *b, *c] = convert([*a, *b, *c]);
        }
    }
}

/// sYCC to sRGB (IEC 61966-2-1 amendment 1, annex F), with the coefficients and the truncation of the
/// codec library's own tool: a picture then compares bit by bit with what that tool writes.
fn sycc([y, cb, cr]: [u32; 3], max: u32) -> [u32; 3] {
    let middle = f64::from(max / 2 + 1);
    let y = i64::from(y);
    let (cb, cr) = (f64::from(cb) - middle, f64::from(cr) - middle);
    let clip = |value: i64| value.clamp(0, i64::from(max)) as u32;
    [
        clip(y + (1.402 * cr) as i64),
        clip(y - (0.344 * cb + 0.714 * cr) as i64),
        clip(y + (1.772 * cb) as i64),
    ]
}

/// e-sYCC to sRGB (ISO 22028 e-sYCC as cited by ISO/IEC 15444-2 M.11.7.3), values outside sRGB clipped.
fn esycc([y, cb, cr]: [u32; 3], max: u32) -> [u32; 3] {
    let middle = f64::from(max / 2 + 1);
    let (y, cb, cr) = (f64::from(y), f64::from(cb) - middle, f64::from(cr) - middle);
    let clip = |value: f64| (value + 0.5).floor().clamp(0.0, f64::from(max)) as u32;
    [
        clip(y - 0.000_036_8 * cb + 1.401_99 * cr),
        clip(1.000_3 * y - 0.344_125 * cb - 0.714_112_8 * cr),
        clip(0.999_823 * y + 1.772_04 * cb - 0.000_008 * cr),
    ]
}

/// CIELAB by range and offset (ISO/IEC 15444-2, M-1 to M-3) to the encoding of TIFF 6.0 section 23: `max`
/// is that of 8 or 16 bits, the input is scaled to it.
fn lab(pixel: [u32; 3], range: &LabRange, max: u32) -> [u32; 3] {
    let star = |axis: usize| {
        let (range, offset, own_max) = range.axes[axis];
        (f64::from(pixel[axis]) / f64::from(max) * own_max - offset) * range / own_max
    };
    let lightness = (star(0).clamp(0.0, 100.0) / 100.0 * f64::from(max)).round() as u32;
    let steps = if max > 0xff { 256.0 } else { 1.0 };
    let half = f64::from(max / 2 + 1);
    // Two's complement in as many bits as `max` has.
    let signed = |value: f64| ((value * steps).round().clamp(-half, half - 1.0) as i32).cast_unsigned() & max;
    [lightness, signed(star(1)), signed(star(2))]
}

/// Writes the bands of a row side by side, in the width of the page's samples.
fn interleave(rows: &[Vec<u32>], target: &mut [u8]) {
    let Some(pixels) = rows.first().map(Vec::len).filter(|&len| len > 0) else {
        return;
    };
    let sample_bytes = target.len() / pixels / rows.len();
    let pixel_bytes = target.len() / pixels;
    for (band, row) in rows.iter().enumerate() {
        let start = band * sample_bytes;
        let pixels = target.chunks_exact_mut(pixel_bytes).zip(row);
        // Values are within the page's depth, so the narrow forms lose nothing.
        match sample_bytes {
            1 => pixels.for_each(|(pixel, &value)| pixel[start] = value as u8),
            2 => pixels.for_each(|(pixel, &value)| {
                pixel[start..start + 2].copy_from_slice(&(value as u16).to_ne_bytes());
            }),
            _ => pixels.for_each(|(pixel, &value)| {
                pixel[start..start + 4].copy_from_slice(&value.to_ne_bytes());
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sycc_keeps_greys_and_clips() {
        for y in 0..=255 {
            assert_eq!(sycc([y, 128, 128], 255), [y; 3]);
        }
        assert_eq!(sycc([76, 85, 255], 255), [254, 1, 0]);
        assert_eq!(sycc([4095, 2048, 4095], 4095)[0], 4095);
        assert_eq!(esycc([100, 128, 128], 255), [100; 3]);
    }

    #[test]
    fn lab_with_default_ranges_becomes_tiff_lab() {
        let range = |max: f64, a: f64, b: f64| LabRange {
            axes: [(100.0, 0.0, max), (170.0, a, max), (200.0, b, max)],
        };
        let eight = range(255.0, 128.0, 96.0);
        assert_eq!(lab([255, 128, 96], &eight, 255), [255, 0, 0]);
        // (0 − 128) · 170 / 255 = −85.3, (255 − 96) · 200 / 255 = 124.7
        assert_eq!(lab([128, 0, 255], &eight, 255), [128, 0x100 - 85, 125]);
        let sixteen = range(65535.0, 32768.0, 24576.0);
        assert_eq!(lab([65535, 32768, 24576], &sixteen, 65535), [65535, 0, 0]);
        let [_, a, _] = lab([0, 0, 0], &sixteen, 65535);
        assert_eq!(f64::from((a as u16).cast_signed()) / 256.0, -85.0);
    }

    #[test]
    fn bands_are_written_in_the_width_of_their_samples() {
        let rows = vec![vec![1, 2], vec![3, 4]];
        let mut eight = [0; 4];
        interleave(&rows, &mut eight);
        assert_eq!(eight, [1, 3, 2, 4]);
        let mut sixteen = [0; 8];
        interleave(&rows, &mut sixteen);
        let values: Vec<u16> = sixteen
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| u16::from_ne_bytes(b))
            .collect();
        assert_eq!(values, [1, 3, 2, 4]);
    }
}
