//! Resampling, turning and flattening of pictures in floating point, written down as plainly as possible,
//! and the comparison with what the host sends.

use support::image;
use support::picture::Picture;

/// Samples in floating point; colors are multiplied by alpha.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    width: u32,
    height: u32,
    bands: u32,
    alpha: bool,
    values: Vec<f32>,
}

/// For each place of a side: the places it is made of, with their weights.
type Taps = Vec<Vec<(u32, f32)>>;

/// Bilinear interpolation between pixel centers, edges repeated. Above a reduction by two, blocks of as many
/// whole pixels as one output pixel covers are averaged first.
fn interpolated(from: u32, to: u32) -> Taps {
    let scale = f64::from(from) / f64::from(to);
    let block = if scale > 2.0 { scale.floor() as u32 } else { 1 };
    let blocks = from.div_ceil(block);
    let members = |index: u32| index * block..((index + 1) * block).min(from);
    (0..to)
        .map(|place| {
            let center = (f64::from(place) + 0.5) * scale / f64::from(block) - 0.5;
            let center = center.clamp(0.0, f64::from(blocks - 1));
            let first = center.floor() as u32;
            let second = (first + 1).min(blocks - 1);
            let share = center.fract();
            let mut taps = Vec::new();
            for (index, weight) in [(first, 1.0 - share), (second, share)] {
                let count = f64::from(members(index).len() as u32);
                taps.extend(members(index).map(|at| (at, (weight / count) as f32)));
            }
            taps
        })
        .collect()
}

/// The mean of the area each place stands for.
fn averaged(from: u32, to: u32) -> Taps {
    let scale = f64::from(from) / f64::from(to);
    (0..to)
        .map(|place| {
            let (begin, end) = (f64::from(place) * scale, f64::from(place + 1) * scale);
            (begin.floor() as u32..(end.ceil() as u32).min(from))
                .map(|at| {
                    let share = f64::from(at + 1).min(end) - f64::from(at).max(begin);
                    (at, (share.max(0.0) / scale) as f32)
                })
                .collect()
        })
        .collect()
}

impl Samples {
    /// A part of a picture.
    pub(crate) fn of(picture: &Picture, (x, y, width, height): (u32, u32, u32, u32)) -> Self {
        let bands = picture.bands;
        let alpha = bands == 4;
        let mut values = Vec::with_capacity((width * height * bands) as usize);
        for row in y..y + height {
            let start = ((row * picture.width + x) * bands) as usize;
            let samples = &picture.samples[start..start + (width * bands) as usize];
            if alpha {
                for pixel in samples.chunks_exact(4) {
                    let opacity = f32::from(pixel[3]);
                    values.extend(pixel[..3].iter().map(|&color| f32::from(color) * opacity / 255.0));
                    values.push(opacity);
                }
            } else {
                values.extend(samples.iter().map(|&sample| f32::from(sample)));
            }
        }
        Self {
            width,
            height,
            bands,
            alpha,
            values,
        }
    }

    fn pixel(&self, x: u32, y: u32) -> &[f32] {
        let start = ((y * self.width + x) * self.bands) as usize;
        &self.values[start..start + self.bands as usize]
    }

    /// Another size by bilinear interpolation.
    pub(crate) fn interpolate(&self, (width, height): (u32, u32)) -> Self {
        self.resample(
            &interpolated(self.width, width),
            &interpolated(self.height, height),
        )
    }

    /// Another size by averaging areas.
    pub(crate) fn average(&self, (width, height): (u32, u32)) -> Self {
        self.resample(&averaged(self.width, width), &averaged(self.height, height))
    }

    fn resample(&self, across: &Taps, down: &Taps) -> Self {
        let bands = self.bands as usize;
        let mut rows: Vec<f32> = Vec::with_capacity(self.height as usize * across.len() * bands);
        for y in 0..self.height {
            for taps in across {
                for band in 0..bands {
                    rows.push(
                        taps.iter()
                            .map(|&(x, weight)| self.pixel(x, y)[band] * weight)
                            .sum(),
                    );
                }
            }
        }
        let line = across.len() * bands;
        let mut values: Vec<f32> = Vec::with_capacity(down.len() * line);
        for taps in down {
            for at in 0..line {
                values.push(
                    taps.iter()
                        .map(|&(y, weight)| rows[y as usize * line + at] * weight)
                        .sum(),
                );
            }
        }
        Self {
            width: across.len() as u32,
            height: down.len() as u32,
            values,
            ..*self
        }
    }

    /// Luma by the weights of ITU-R BT.601, in 22 bits.
    pub(crate) fn grey(&self) -> Self {
        if self.bands < 3 {
            return self.clone();
        }
        let mut values = Vec::new();
        for pixel in self.values.chunks_exact(self.bands as usize) {
            values
                .push((1_254_097.0 * pixel[0] + 2_462_056.0 * pixel[1] + 478_151.0 * pixel[2]) / 4_194_304.0);
            values.extend(&pixel[3..]);
        }
        Self {
            bands: self.bands - 2,
            values,
            ..*self
        }
    }

    fn rearranged(&self, width: u32, height: u32, from: impl Fn(u32, u32) -> (u32, u32)) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for y in 0..height {
            for x in 0..width {
                let (x, y) = from(x, y);
                values.extend(self.pixel(x, y));
            }
        }
        Self {
            width,
            height,
            values,
            ..*self
        }
    }

    /// Left and right exchanged.
    pub(crate) fn mirror(&self) -> Self {
        self.rearranged(self.width, self.height, |x, y| (self.width - 1 - x, y))
    }

    /// Turned clockwise by quarters.
    pub(crate) fn turn(&self, quarters: u32) -> Self {
        let (w, h) = (self.width, self.height);
        match quarters % 4 {
            1 => self.rearranged(h, w, |x, y| (y, h - 1 - x)),
            2 => self.rearranged(w, h, |x, y| (w - 1 - x, h - 1 - y)),
            3 => self.rearranged(h, w, |x, y| (w - 1 - y, x)),
            _ => self.clone(),
        }
    }

    /// The color at a place between pixel centers, `None` within a pixel of the border or outside.
    pub(crate) fn inner(&self, x: f64, y: f64) -> Option<Vec<f32>> {
        let (left, top) = (x.floor(), y.floor());
        if left < 1.0 || top < 1.0 || left + 3.0 > f64::from(self.width) || top + 3.0 > f64::from(self.height)
        {
            return None;
        }
        let (right, below) = ((x - left) as f32, (y - top) as f32);
        let at = |i: u32, j: u32| self.pixel(left as u32 + i, top as u32 + j);
        let mix = |band: usize| {
            let above = at(0, 0)[band] * (1.0 - right) + at(1, 0)[band] * right;
            let under = at(0, 1)[band] * (1.0 - right) + at(1, 1)[band] * right;
            above * (1.0 - below) + under * below
        };
        Some((0..self.bands as usize).map(mix).collect())
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Whether the last band is alpha.
    pub(crate) fn has_alpha(&self) -> bool {
        self.alpha
    }

    /// A picture with the alpha this has.
    pub(crate) fn picture(&self) -> Picture {
        let round = |value: f32| value.round().clamp(0.0, 255.0) as u8;
        let mut samples = Vec::with_capacity(self.values.len());
        for pixel in self.values.chunks_exact(self.bands as usize) {
            match pixel.split_last() {
                Some((&opacity, colors)) if self.alpha => {
                    samples.extend(colors.iter().map(|&c| round(c * 255.0 / opacity.max(1.0))));
                    samples.push(round(opacity));
                }
                _ => samples.extend(pixel.iter().map(|&value| round(value))),
            }
        }
        Picture {
            width: self.width,
            height: self.height,
            bands: self.bands,
            samples,
        }
    }

    /// The same over white.
    pub(crate) fn over_white(&self) -> Self {
        if !self.alpha {
            return self.clone();
        }
        let mut values = Vec::new();
        for pixel in self.values.chunks_exact(self.bands as usize) {
            if let Some((&opacity, colors)) = pixel.split_last() {
                values.extend(colors.iter().map(|&color| color + 255.0 - opacity));
            }
        }
        Self {
            bands: self.bands - 1,
            alpha: false,
            values,
            ..*self
        }
    }
}

/// The largest difference of two samples.
pub(crate) fn largest_difference(a: &Picture, b: &Picture) -> u8 {
    let pairs = a.samples.iter().zip(&b.samples);
    pairs.map(|(&a, &b)| a.abs_diff(b)).max().unwrap_or(0)
}

/// No sample differs by more than `most`.
///
/// # Panics
/// When one does.
pub(crate) fn assert_nearly(name: &str, actual: &Picture, expected: &Picture, most: u8) {
    assert_eq!(
        (actual.size(), actual.bands),
        (expected.size(), expected.bands),
        "{name}"
    );
    let difference = largest_difference(actual, expected);
    if difference > most {
        let db = image::psnr(actual, expected);
        eprintln!("{name}: a sample differs by {difference}, expected {most} at most ({db:.1} dB)");
        image::assert_same(name, actual, expected);
    }
}
