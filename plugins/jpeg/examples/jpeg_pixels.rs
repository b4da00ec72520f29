//! Writes the pixels of a JPEG as PGM, PPM or PAM, or measures how long regions take.
//!
//! `jpeg_pixels FILE LEVEL [X Y WIDTH HEIGHT]` writes to standard output; with `TIMES=n` in the environment it
//! reads the region `n` times with one reader and prints the milliseconds of each read instead. Warnings go to
//! standard error.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iiphost_jpeg::JpegDecoder;
use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, HostServices, ImageDecoder, Limits, LogLevel, PixelBuffer,
    ReadRequest, Region,
};

struct Local(File, u64);

impl ByteSource for Local {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        self.0
            .read_at(buffer, offset)
            .map_err(|error| DecodeError::io(error.to_string()))
    }
}

/// A deadline, and a log on standard error.
struct Services(Instant);

impl HostServices for Services {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn time_left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    fn log(&self, _level: LogLevel, message: &str) {
        eprintln!("{message}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, level, region @ ..] = arguments.as_slice() else {
        return Err("usage: jpeg_pixels FILE LEVEL [X Y WIDTH HEIGHT]".into());
    };
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let services = Services(Instant::now() + Duration::from_secs(60));
    let ctx = CallContext::new(Limits::default(), &services);
    let decoder = JpegDecoder::default();
    let start = Instant::now();
    let reader = decoder.open(Arc::new(Local(file, len)), &ctx)?;
    let opened = start.elapsed();
    let info = reader.info();
    for warning in &info.warnings {
        eprintln!("{warning}");
    }
    let page = &info.pages[0];
    let level: u32 = level.parse()?;
    let shape = page.levels.get(level as usize).ok_or("no such level")?;
    let region = match region {
        [x, y, width, height] => Region::new(x.parse()?, y.parse()?, width.parse()?, height.parse()?),
        _ => Region::new(0, 0, shape.width, shape.height),
    };
    let row = region.width as usize * page.band_count as usize;
    let mut pixels = vec![0; row * region.height as usize];
    let request = ReadRequest {
        page: 0,
        level,
        region,
        quality_layers: 0,
    };
    let times = std::env::var("TIMES")
        .ok()
        .map(|text| text.parse::<u32>())
        .transpose()?;
    let mut output = std::io::stdout().lock();
    if times.is_some() {
        writeln!(output, "open {:.3} ms", opened.as_secs_f64() * 1e3)?;
    }
    for _ in 0..times.unwrap_or(1) {
        let start = Instant::now();
        let mut out = PixelBuffer::new(
            &mut pixels,
            region.width,
            region.height,
            page.band_count,
            page.sample_format,
            row,
        )?;
        reader.read(&request, &mut out, &ctx)?;
        if times.is_some() {
            writeln!(output, "read {:.3} ms", start.elapsed().as_secs_f64() * 1e3)?;
        }
    }
    if times.is_none() {
        let (width, height) = (region.width, region.height);
        match page.band_count {
            1 => write!(output, "P5\n{width} {height}\n255\n")?,
            3 => write!(output, "P6\n{width} {height}\n255\n")?,
            bands => write!(
                output,
                "P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {bands}\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n"
            )?,
        }
        output.write_all(&pixels)?;
    }
    Ok(())
}
