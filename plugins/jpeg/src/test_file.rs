//! JPEG files made for tests.

use std::sync::Arc;
use std::time::Duration;

use iiphost_plugin_api::{
    CallContext, DecodeError, ImageDecoder, ImageReader, Limits, PixelBuffer, PlainServices, ReadRequest,
    Region, SampleFormat,
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use mozjpeg::{ColorSpace, Compress, Decompress};

use crate::JpegDecoder;

/// What to make. Sampling factors are those of the first component to the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Make {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: usize,
    pub(crate) sampling: (u8, u8),
    pub(crate) progressive: bool,
    /// MCUs between restart markers.
    pub(crate) restart: u32,
    pub(crate) quality: f32,
    /// Huffman tables of its own instead of the standard ones.
    pub(crate) optimized: bool,
    /// Components coded as they are: RGB, CMYK.
    pub(crate) plain: bool,
    /// A sequential scan for each component.
    pub(crate) separate: bool,
}

impl Make {
    /// A picture of YCbCr with half the chrominance each way, or grey.
    pub(crate) fn new(width: u32, height: u32, bands: usize) -> Self {
        Self {
            width,
            height,
            bands,
            sampling: if bands == 1 { (1, 1) } else { (2, 2) },
            progressive: false,
            restart: 0,
            quality: 85.0,
            optimized: false,
            plain: false,
            separate: false,
        }
    }

    /// Samples with edges, slopes and noise.
    pub(crate) fn samples(&self) -> Vec<u8> {
        let mut noise = 12345_u32;
        let mut samples = Vec::new();
        for y in 0..self.height {
            for x in 0..self.width {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                for band in 0..self.bands as u32 {
                    let slope = (x * (3 + band) + y * 2) / 4;
                    let edge = if (x / 23 + y / 17 + band).is_multiple_of(3) {
                        90
                    } else {
                        0
                    };
                    let noisy = (x / 64 + y / 64).is_multiple_of(2);
                    let grain = if noisy { (noise >> (24 - band)) & 31 } else { 0 };
                    samples.push((slope + edge + grain) as u8);
                }
            }
        }
        samples
    }

    /// The file.
    pub(crate) fn file(&self) -> Vec<u8> {
        if self.restart > 0 || self.separate {
            return self.file_of_other_encoder();
        }
        let (input, coded) = match (self.bands, self.plain) {
            (1, _) => (ColorSpace::JCS_GRAYSCALE, ColorSpace::JCS_GRAYSCALE),
            (3, false) => (ColorSpace::JCS_RGB, ColorSpace::JCS_YCbCr),
            (3, true) => (ColorSpace::JCS_RGB, ColorSpace::JCS_RGB),
            (_, false) => (ColorSpace::JCS_CMYK, ColorSpace::JCS_YCCK),
            (_, true) => (ColorSpace::JCS_CMYK, ColorSpace::JCS_CMYK),
        };
        let mut compress = Compress::new(input);
        compress.set_fastest_defaults();
        compress.set_size(self.width as usize, self.height as usize);
        compress.set_color_space(coded);
        compress.set_quality(self.quality);
        compress.set_optimize_coding(self.optimized);
        if self.bands > 1 {
            let count = compress.components().len();
            for (number, component) in compress.components_mut().iter_mut().enumerate() {
                // Black is sampled like the first component.
                let full = number == 0 || (number == 3 && count == 4);
                let (across, down) = if full { self.sampling } else { (1, 1) };
                component.h_samp_factor = across.into();
                component.v_samp_factor = down.into();
            }
        }
        if self.progressive {
            compress.set_progressive_mode();
        }
        let mut compress = compress.start_compress(Vec::new()).unwrap();
        compress.write_scanlines(&self.samples()).unwrap();
        compress.finish().unwrap()
    }

    /// By an encoder that can write restart markers and separate scans.
    fn file_of_other_encoder(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, self.quality as u8);
        encoder.set_sampling_factor(match self.sampling {
            (1, 1) => SamplingFactor::F_1_1,
            (2, 1) => SamplingFactor::F_2_1,
            (1, 2) => SamplingFactor::F_1_2,
            (4, 1) => SamplingFactor::F_4_1,
            _ => SamplingFactor::F_2_2,
        });
        encoder.set_progressive(self.progressive);
        encoder.set_optimized_huffman_tables(self.optimized || self.separate);
        encoder.set_restart_interval(self.restart as u16);
        let color = match (self.bands, self.plain) {
            (1, _) => ColorType::Luma,
            (3, _) => ColorType::Rgb,
            (_, true) => ColorType::Cmyk,
            (_, false) => ColorType::CmykAsYcck,
        };
        encoder
            .encode(&self.samples(), self.width as u16, self.height as u16, color)
            .unwrap();
        file
    }

    /// One of each kind that is decoded in its own way.
    pub(crate) fn kinds(width: u32, height: u32) -> Vec<Self> {
        let color = Self::new(width, height, 3);
        let mut kinds = Vec::new();
        for sampling in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)] {
            kinds.push(Self { sampling, ..color });
        }
        kinds.extend([
            Self::new(width, height, 1),
            Self {
                optimized: true,
                ..color
            },
            Self {
                progressive: true,
                ..color
            },
            Self {
                progressive: true,
                sampling: (2, 1),
                quality: 30.0,
                ..color
            },
            Self {
                progressive: true,
                ..Self::new(width, height, 1)
            },
            Self {
                plain: true,
                sampling: (1, 1),
                ..color
            },
            Self {
                plain: true,
                sampling: (1, 1),
                ..Self::new(width, height, 4)
            },
            Self::new(width, height, 4),
            Self { restart: 1, ..color },
            Self { restart: 7, ..color },
            Self {
                restart: width.div_ceil(8),
                ..Self::new(width, height, 1)
            },
            Self {
                restart: 500,
                ..color
            },
            Self {
                restart: 3,
                progressive: true,
                ..color
            },
            Self {
                separate: true,
                ..color
            },
            Self {
                separate: true,
                restart: 5,
                sampling: (2, 1),
                ..color
            },
        ]);
        kinds
    }
}

/// Services and limits for a call that must end soon.
pub(crate) fn with_ctx<R>(work: impl FnOnce(&CallContext<'_>) -> R) -> R {
    let services = PlainServices::with_time(Duration::from_secs(20));
    work(&CallContext::new(Limits::default(), &services))
}

/// Opens a file as the host would.
pub(crate) fn open(file: Vec<u8>) -> Result<Box<dyn ImageReader>, DecodeError> {
    with_ctx(|ctx| JpegDecoder::default().open(Arc::new(file), ctx))
}

/// The samples of a region.
pub(crate) fn read(
    reader: &dyn ImageReader,
    level: u32,
    region: Region,
    ctx: &CallContext<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let bands = reader.info().pages[0].band_count;
    let row = (region.width * bands) as usize;
    let mut samples = vec![0; row * region.height as usize];
    let mut out = PixelBuffer::new(
        &mut samples,
        region.width,
        region.height,
        bands,
        SampleFormat::U8,
        row,
    )?;
    let request = ReadRequest {
        page: 0,
        level,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut out, ctx)?;
    Ok(samples)
}

/// Width, height and samples of a file halved `halvings` times, decoded as a whole by the library alone.
pub(crate) fn plain_decode(file: &[u8], halvings: u32) -> (u32, u32, Vec<u8>) {
    let mut decompress = Decompress::new_mem(file).unwrap();
    decompress.scale(8 >> halvings);
    let space = match decompress.components().len() {
        1 => ColorSpace::JCS_GRAYSCALE,
        3 => ColorSpace::JCS_RGB,
        _ => ColorSpace::JCS_CMYK,
    };
    let mut started = decompress.to_colorspace(space).unwrap();
    let (width, height) = (started.width() as u32, started.height() as u32);
    (width, height, started.read_scanlines().unwrap())
}

/// The samples of a region of a picture `width` wide.
pub(crate) fn crop(samples: &[u8], width: u32, bands: u32, region: Region) -> Vec<u8> {
    let (width, bands) = (width as usize, bands as usize);
    let (x, count) = (region.x as usize * bands, region.width as usize * bands);
    samples
        .chunks_exact(width * bands)
        .skip(region.y as usize)
        .take(region.height as usize)
        .flat_map(|row| &row[x..x + count])
        .copied()
        .collect()
}

/// Puts a segment behind the start of image.
pub(crate) fn with_segment(file: &[u8], code: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, code], &len, payload, &file[2..]].concat()
}

/// An EXIF block with orientation, artist and 300 pixels an inch.
pub(crate) fn exif_block(big_endian: bool, orientation: u16, artist: &str) -> Vec<u8> {
    let short = |value: u16| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let long = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut block = if big_endian {
        b"MM\0*".to_vec()
    } else {
        b"II*\0".to_vec()
    };
    block.extend(long(8));
    block.extend(short(4));
    let values = 8 + 2 + 4 * 12 + 4;
    let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        block.extend(short(tag));
        block.extend(short(kind));
        block.extend(long(count));
        block.extend(value);
    };
    let [high, low] = short(orientation);
    entry(274, 3, 1, [high, low, 0, 0]);
    entry(282, 5, 1, long(values));
    entry(283, 5, 1, long(values));
    entry(315, 2, artist.len() as u32 + 1, long(values + 8));
    block.extend(long(0));
    block.extend(long(300));
    block.extend(long(1));
    block.extend(artist.as_bytes());
    block.push(0);
    block
}
