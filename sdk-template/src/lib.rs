//! A decoder module for iiphost: binary PGM and PPM pictures, 8 or 16 bits.
//!
//! Replace the format, keep the shape: `probe` looks at the first bytes, `open` reads the header, `read`
//! gives the pixels of a region. The file has one size and no tiles; here they are virtual: levels are
//! averaged from the full size when they are asked for, and tiles are just regions.
//!
//! Format: <https://netpbm.sourceforge.net/doc/ppm.html>, one picture a file.

use std::sync::Arc;

use iiphost_plugin_api::*;

/// The decoder. One is made when the host loads the library; options would become its fields.
pub struct PnmDecoder;

// Makes this library a module. Nothing else in it needs to know how it is called.
export_decoder!(PnmDecoder);

impl ImageDecoder for PnmDecoder {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            // Names the module in settings, logs and cache keys: keep it for ever.
            id: "my-decoder".into(),
            name: "Portable anymaps".into(),
            // Part of every cache key: raise it whenever pixels may change.
            version: env!("CARGO_PKG_VERSION").into(),
            // Of this module and of every codec in it.
            license: env!("CARGO_PKG_LICENSE").into(),
            formats: vec![
                FormatInfo::new("PGM", "image/x-portable-graymap", &["pgm", "pnm"]),
                FormatInfo::new("PPM", "image/x-portable-pixmap", &["ppm", "pnm"]),
            ],
            capabilities: vec![capability::REGIONS],
            // The settings `configure` takes, if there are any. The host checks names and kinds.
            options: vec![],
            // Nothing here changes after `open`, so any calls may overlap.
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Be sure before claiming: the highest claim of all modules opens the file. `Header::parse` refuses
    /// what only begins alike, which two bytes cannot tell.
    fn probe(&self, head: &FileHead<'_>) -> Claim {
        match Header::parse(head.bytes) {
            Ok(header) => Claim::new(ClaimLevel::Exact, format!("{} header", header.format())),
            Err(error) => Claim::none(error.message()),
        }
    }

    /// Reads the header, no pixels. The source is shared: the reader keeps it.
    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        _ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        let mut head = [0; Header::MAX_LEN];
        let count = source.read_at(0, &mut head)?;
        let header = Header::parse(&head[..count])?;
        // Say early that a file is cut short: an error while opening is one line in the log, an error in
        // every tile is many.
        let expected = u64::from(header.height)
            .checked_mul(header.row_bytes())
            .and_then(|pixels| pixels.checked_add(header.len));
        if expected.is_none_or(|expected| source.len() < expected) {
            return Err(DecodeError::format(format!(
                "the file has {} bytes, too few for {}x{} pixels of {} bytes",
                source.len(),
                header.width,
                header.height,
                header.pixel_bytes()
            )));
        }
        Ok(Box::new(PnmReader {
            info: image_info(&header),
            source,
            header,
        }))
    }
}

/// The header of a file, every number checked.
struct Header {
    width: u32,
    height: u32,
    band_count: u32,
    /// Significant bits of a sample, 1 to 16.
    bit_depth: u32,
    /// Bytes before the first pixel.
    len: u64,
}

impl Header {
    /// Where the header must have ended: comments can be long, but not that long.
    const MAX_LEN: usize = FileHead::MAX_LEN;

    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let band_count = match bytes {
            [b'P', b'5', ..] => 1,
            [b'P', b'6', ..] => 3,
            _ => return Err(DecodeError::format("no P5 or P6 at the start")),
        };
        let mut at = 2;
        let width = number(bytes, &mut at, "width")?;
        let height = number(bytes, &mut at, "height")?;
        let max_value = number(bytes, &mut at, "largest value")?;
        // One blank ends the header; a second one would be a pixel.
        if !bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            return Err(DecodeError::format("no blank after the header"));
        }
        if width == 0 || height == 0 || max_value == 0 || max_value > 65_535 {
            return Err(DecodeError::format(format!(
                "{width}x{height} pixels with values up to {max_value}"
            )));
        }
        // The host knows samples by their number of bits.
        if !(max_value + 1).is_power_of_two() {
            return Err(DecodeError::unsupported(format!(
                "a largest value of {max_value}"
            )));
        }
        Ok(Self {
            width,
            height,
            band_count,
            bit_depth: (max_value + 1).ilog2(),
            len: at as u64 + 1,
        })
    }

    fn format(&self) -> &'static str {
        if self.band_count == 1 { "PGM" } else { "PPM" }
    }

    fn sample_format(&self) -> SampleFormat {
        if self.bit_depth <= 8 {
            SampleFormat::U8
        } else {
            SampleFormat::U16
        }
    }

    /// Bytes of a pixel, in the file and in the host's buffer.
    fn pixel_bytes(&self) -> u64 {
        u64::from(self.band_count) * self.sample_format().bytes() as u64
    }

    fn row_bytes(&self) -> u64 {
        u64::from(self.width) * self.pixel_bytes()
    }
}

/// A decimal number after blanks and comments.
fn number(bytes: &[u8], at: &mut usize, what: &str) -> Result<u32, DecodeError> {
    let broken = |why: &str| DecodeError::format(format!("{what}: {why}"));
    let start = *at;
    loop {
        match bytes.get(*at) {
            Some(b'#') => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let line = rest.iter().position(|&b| b == b'\n');
                *at += line.ok_or_else(|| broken("a comment without an end"))?;
            }
            Some(byte) if byte.is_ascii_whitespace() => *at += 1,
            _ => break,
        }
    }
    if *at == start {
        return Err(broken("no blank before it"));
    }
    let rest = bytes.get(*at..).unwrap_or_default();
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let digits = rest
        .get(..len)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    *at += len;
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| broken("not a number below 2^32"))
}

/// Side of the virtual tiles.
const TILE: u32 = 256;

/// One page; levels are halved until one tile holds the picture.
fn image_info(header: &Header) -> ImageInfo {
    let mut levels = Vec::new();
    for shift in 0.. {
        let (width, height) = (
            (header.width >> shift).max(1),
            (header.height >> shift).max(1),
        );
        levels.push(LevelInfo {
            width,
            height,
            tile_width: TILE,
            tile_height: TILE,
            encoded: None,
            // All but the first: the host then knows that reading them is not cheap.
            computed: shift > 0,
        });
        if width <= TILE && height <= TILE {
            break;
        }
    }
    let page = PageInfo {
        name: String::new(),
        scale: 1.0,
        listed: true,
        levels,
        band_count: header.band_count,
        sample_format: header.sample_format(),
        bit_depth: header.bit_depth,
        signed: false,
        color_model: if header.band_count == 1 {
            ColorModel::Grey
        } else {
            ColorModel::Rgb
        },
        alpha: AlphaMode::None,
        ranges: vec![],
        resolution: None,
        quality_layers: 1,
    };
    ImageInfo {
        format: header.format().into(),
        pages: vec![page],
        text: vec![],
        warnings: vec![],
    }
}

/// One open picture. The host keeps it for many reads, from many threads.
struct PnmReader {
    source: Arc<dyn ByteSource>,
    header: Header,
    info: ImageInfo,
}

impl ImageReader for PnmReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    /// A pixel of level `n` is the mean of 2^n x 2^n pixels of the file, so any region is a crop of its level.
    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        // Two lines every decoder needs: does it exist, and does the buffer fit.
        let (page, _) = request.resolve(&self.info)?;
        out.check(page, &request.region)?;
        let region = request.region;
        // Limits before memory: one row of the file at a time, and the sums of one row of the level.
        let (x, width) = stored(region.x, region.width, request.level, self.header.width);
        let (_, height) = stored(region.y, region.height, request.level, self.header.height);
        ctx.limits
            .check_pixels(u64::from(width) * u64::from(height))?;
        let row_bytes = u64::from(width) * self.header.pixel_bytes();
        let sum_count = u64::from(region.width) * u64::from(self.header.band_count);
        ctx.limits
            .check_bytes(row_bytes + sum_count * size_of::<u64>() as u64)?;
        // The limit may be larger than memory is on this machine.
        let too_long = |_| DecodeError::limit(format!("a row of {row_bytes} bytes"));
        let mut row = vec![0; usize::try_from(row_bytes).map_err(too_long)?];
        let mut sums = vec![0; usize::try_from(sum_count).map_err(too_long)?];
        for out_row in 0..region.height {
            let (first, count) = stored(region.y + out_row, 1, request.level, self.header.height);
            sums.fill(0);
            for y in first..first + count {
                // Often enough that a cancelled call ends at once.
                ctx.checkpoint()?;
                let offset = u64::from(y) * self.header.row_bytes()
                    + u64::from(x) * self.header.pixel_bytes();
                self.source
                    .read_exact_at(self.header.len + offset, &mut row)?;
                self.add(&row, request.level, &mut sums);
            }
            self.put_means(&sums, (width, count), request.level, out.row_mut(out_row));
        }
        Ok(())
    }

    /// Asked before reading, so the request is not checked yet.
    fn estimate(&self, request: &ReadRequest) -> Cost {
        if request.resolve(&self.info).is_err() {
            return Cost::default();
        }
        let side = |start, length, full| u64::from(stored(start, length, request.level, full).1);
        let region = &request.region;
        let pixels_decoded = side(region.x, region.width, self.header.width)
            * side(region.y, region.height, self.header.height);
        Cost {
            bytes_read: pixels_decoded.saturating_mul(self.header.pixel_bytes()),
            pixels_decoded,
            memory_bytes: u64::from(self.header.width) * self.header.pixel_bytes(),
        }
    }
}

impl PnmReader {
    /// Adds a row of the file to the sums of the pixels it belongs to.
    fn add(&self, row: &[u8], level: u32, sums: &mut [u64]) {
        let bands = self.header.band_count as usize;
        let size = self.header.sample_format().bytes();
        let largest = (1 << self.header.bit_depth) - 1;
        // There are at most 25 levels, and a pixel has at most 6 bytes.
        let pixels = row.chunks((bands * size) << level);
        for (pixel, sums) in pixels.zip(sums.chunks_exact_mut(bands)) {
            for (index, sample) in pixel.chunks_exact(size).enumerate() {
                // Two bytes have the most significant one first.
                let value = sample
                    .iter()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte));
                // A file may break its word; the host must not get more than `bit_depth` bits.
                sums[index % bands] += value.min(largest);
            }
        }
    }

    /// Writes the means of one row, in the byte order of this machine.
    fn put_means(&self, sums: &[u64], (width, rows): (u32, u32), level: u32, out: &mut [u8]) {
        // The picture can be narrower than the square of pixels that makes one of the level.
        let cols = (1u64 << level).min(u64::from(width));
        let count = cols * u64::from(rows);
        let means = sums.iter().map(|sum| (sum + count / 2) / count);
        if self.header.bit_depth <= 8 {
            out.iter_mut()
                .zip(means)
                .for_each(|(out, mean)| *out = mean as u8);
        } else {
            let samples = out.chunks_exact_mut(2).zip(means);
            samples.for_each(|(out, mean)| out.copy_from_slice(&(mean as u16).to_ne_bytes()));
        }
    }
}

/// The pixels of the file, first and count, that make `length` pixels of a level from `start` on. Both lie
/// in a level that exists.
fn stored(start: u32, length: u32, level: u32, full: u32) -> (u32, u32) {
    let first = (u64::from(start) << level).min(u64::from(full) - 1);
    let count = (u64::from(length) << level).min(u64::from(full) - first);
    // Both are at most `full`, a u32.
    (first as u32, count as u32)
}
