//! Pictures whose every pixel is computed here, and the plain arithmetic the tests compare with.

use std::io::Cursor;

/// 8-bit samples, interleaved, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Samples of a pixel: 1 grey, 3 RGB, 4 RGB and alpha.
    pub bands: u32,
    /// `width * height * bands` samples.
    pub samples: Vec<u8>,
}

impl Picture {
    /// A picture computed from the place of each sample: `(x, y, band)`.
    #[must_use]
    pub fn new(width: u32, height: u32, bands: u32, sample: impl Fn(u32, u32, u32) -> u8) -> Self {
        let mut samples = Vec::with_capacity((width * height * bands) as usize);
        for y in 0..height {
            for x in 0..width {
                samples.extend((0..bands).map(|band| sample(x, y, band)));
            }
        }
        Self {
            width,
            height,
            bands,
            samples,
        }
    }

    /// Smooth like a photograph, different everywhere, so that a picture that is shifted, turned or has its
    /// colors exchanged cannot pass for the right one. `seed` makes another picture.
    #[must_use]
    pub fn photograph(width: u32, height: u32, bands: u32, seed: u32) -> Self {
        let turn = f64::from(seed) * 0.7;
        Self::new(width, height, bands, |x, y, band| {
            let (u, v) = (f64::from(x), f64::from(y));
            let value = match band {
                0 => 127.0 + 60.0 * (u / 19.0 + v / 83.0 + turn).sin() + 50.0 * (v / 41.0).cos(),
                1 => 30.0 + 195.0 * u / f64::from(width) + 25.0 * (v / 23.0 + turn).sin(),
                2 => 20.0 + 200.0 * v / f64::from(height) + 30.0 * ((u + v) / 37.0).sin(),
                // An alpha that fades from opaque to half.
                _ => 255.0 - 127.0 * u / f64::from(width),
            };
            value.round().clamp(0.0, 255.0) as u8
        })
    }

    /// One color.
    #[must_use]
    pub fn plain(width: u32, height: u32, color: &[u8]) -> Self {
        Self::new(width, height, color.len() as u32, |_, _, band| {
            color[band as usize]
        })
    }

    /// Width and height.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// One sample.
    #[must_use]
    pub fn at(&self, x: u32, y: u32, band: u32) -> u8 {
        self.samples[((y * self.width + x) * self.bands + band) as usize]
    }

    /// The part that begins at `(x, y)`.
    #[must_use]
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        assert!(x + width <= self.width && y + height <= self.height);
        Self::new(width, height, self.bands, |i, j, band| {
            self.at(x + i, y + j, band)
        })
    }

    /// Half the size, an odd last row or column dropped: the mean of four pixels each.
    #[must_use]
    pub fn half(&self) -> Self {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let last = |n: u32, at: u32| at.min(n - 1);
        Self::new(width, height, self.bands, |x, y, band| {
            let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, j)| {
                u16::from(self.at(last(self.width, 2 * x + i), last(self.height, 2 * y + j), band))
            });
            ((four.iter().sum::<u16>() + 2) / 4) as u8
        })
    }

    /// This picture and its halves, `count` of them.
    #[must_use]
    pub fn pyramid(&self, count: usize) -> Vec<Self> {
        let mut levels = vec![self.clone()];
        while levels.len() < count {
            levels.push(levels[levels.len() - 1].half());
        }
        levels
    }

    /// Another size: each pixel is the mean of the area it stands for.
    #[must_use]
    pub fn resize(&self, width: u32, height: u32) -> Self {
        let (across, down) = (shares(self.width, width), shares(self.height, height));
        Self::new(width, height, self.bands, |x, y, band| {
            let mut sum = 0.0;
            for &(j, row_share) in &down[y as usize] {
                for &(i, share) in &across[x as usize] {
                    sum += row_share * share * f64::from(self.at(i, j, band));
                }
            }
            sum.round() as u8
        })
    }

    /// Turned clockwise by a number of quarters.
    #[must_use]
    pub fn turn(&self, quarters: u32) -> Self {
        let (w, h) = self.size();
        match quarters % 4 {
            1 => Self::new(h, w, self.bands, |x, y, b| self.at(y, h - 1 - x, b)),
            2 => Self::new(w, h, self.bands, |x, y, b| self.at(w - 1 - x, h - 1 - y, b)),
            3 => Self::new(h, w, self.bands, |x, y, b| self.at(w - 1 - y, x, b)),
            _ => self.clone(),
        }
    }

    /// Left and right exchanged.
    #[must_use]
    pub fn mirror(&self) -> Self {
        Self::new(self.width, self.height, self.bands, |x, y, b| {
            self.at(self.width - 1 - x, y, b)
        })
    }

    /// Turned upright from how it is stored with an orientation of 1 to 8 (EXIF 2.3, tag 274): which side of the
    /// upright picture the first row is, and which the first column.
    #[must_use]
    pub fn upright(&self, orientation: u16) -> Self {
        match orientation {
            // Top, right.
            2 => self.mirror(),
            // Bottom, right.
            3 => self.turn(2),
            // Bottom, left.
            4 => self.mirror().turn(2),
            // Left, top.
            5 => self.mirror().turn(3),
            // Right, top.
            6 => self.turn(1),
            // Right, bottom.
            7 => self.mirror().turn(1),
            // Left, bottom.
            8 => self.turn(3),
            _ => self.clone(),
        }
    }

    /// The same picture with three bands: grey repeated, alpha dropped.
    #[must_use]
    pub fn rgb(&self) -> Self {
        Self::new(self.width, self.height, 3, |x, y, band| {
            self.at(x, y, if self.bands < 3 { 0 } else { band })
        })
    }

    /// The picture of a JPEG file.
    ///
    /// # Panics
    /// When it is none, or is cut off.
    #[must_use]
    pub fn from_jpeg(file: &[u8]) -> Self {
        assert!(file.ends_with(&[0xff, 0xd9]), "a JPEG file without its end");
        let decoder = mozjpeg::Decompress::new_mem(file).expect("a JPEG header");
        let grey = decoder.color_space() == mozjpeg::ColorSpace::JCS_GRAYSCALE;
        let started = if grey { decoder.grayscale() } else { decoder.rgb() };
        let mut started = started.expect("a JPEG file of one or three components");
        let (width, height) = (started.width() as u32, started.height() as u32);
        let samples = started.read_scanlines::<u8>().expect("JPEG data");
        started.finish().expect("the end of the JPEG data");
        Self {
            width,
            height,
            bands: if grey { 1 } else { 3 },
            samples,
        }
    }

    /// The picture of a PNG file of 8 bits.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn from_png(file: &[u8]) -> Self {
        let mut reader = png::Decoder::new(Cursor::new(file))
            .read_info()
            .expect("a PNG header");
        let mut samples = vec![0; reader.output_buffer_size().expect("a picture that fits memory")];
        let frame = reader.next_frame(&mut samples).expect("PNG data");
        assert_eq!(frame.bit_depth, png::BitDepth::Eight);
        let bands = frame.color_type.samples() as u32;
        samples.truncate(frame.buffer_size());
        Self {
            width: frame.width,
            height: frame.height,
            bands,
            samples,
        }
    }

    /// A PNG file.
    #[must_use]
    pub fn to_png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self.bands {
            1 => png::ColorType::Grayscale,
            2 => png::ColorType::GrayscaleAlpha,
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Rgba,
        });
        let mut writer = encoder.write_header().expect("a PNG header");
        writer.write_image_data(&self.samples).expect("PNG data");
        writer.finish().expect("the end of the PNG file");
        file
    }

    /// A JPEG file, its colors at full resolution.
    #[must_use]
    pub fn to_jpeg(&self, quality: u8) -> Vec<u8> {
        let input = match self.bands {
            1 => mozjpeg::ColorSpace::JCS_GRAYSCALE,
            3 => mozjpeg::ColorSpace::JCS_RGB,
            other => panic!("JPEG of {other} bands"),
        };
        let mut encoder = mozjpeg::Compress::new(input);
        encoder.set_fastest_defaults();
        encoder.set_size(self.width as usize, self.height as usize);
        encoder.set_quality(f32::from(quality));
        if self.bands == 3 {
            encoder.set_chroma_sampling_pixel_sizes((1, 1), (1, 1));
        }
        let mut started = encoder.start_compress(Vec::new()).expect("a JPEG encoder");
        started.write_scanlines(&self.samples).expect("JPEG data");
        started.finish().expect("the end of the JPEG file")
    }
}

/// For each of `to` places, which of `from` places it covers and to what share.
fn shares(from: u32, to: u32) -> Vec<Vec<(u32, f64)>> {
    let scale = f64::from(from) / f64::from(to);
    (0..to)
        .map(|place| {
            let (begin, end) = (f64::from(place) * scale, f64::from(place + 1) * scale);
            let covered = begin.floor() as u32..(end.ceil() as u32).min(from);
            covered
                .map(|at| {
                    (
                        at,
                        (f64::from(at + 1).min(end) - f64::from(at).max(begin)).max(0.0) / scale,
                    )
                })
                .collect()
        })
        .collect()
}
