//! Shows what the decoder makes of a file, writes its pixels, or measures tiles.
//!
//! `jpeg2000_pixels FILE` prints the page and its levels; `jpeg2000_pixels FILE OUT [LEVEL]` also writes a
//! level as raw samples in native byte order, to compare with another reader; `jpeg2000_pixels FILE --time`
//! measures lone tiles, a burst of six neighbors, a screen of tiles and the whole of level 0.

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use iiphost_jpeg2000::Jpeg2000Decoder;
use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, HostServices, ImageDecoder, ImageReader, Limits, LogLevel,
    PixelBuffer, ReadRequest, Region, row_bytes,
};

struct File(std::fs::File, u64);

impl ByteSource for File {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        self.0
            .read_at(buffer, offset)
            .map_err(|error| DecodeError::io(error.to_string()))
    }
}

/// A minute for each file; the log goes to the terminal.
struct Terminal(Instant);

impl HostServices for Terminal {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn time_left(&self) -> std::time::Duration {
        std::time::Duration::from_secs(60).saturating_sub(self.0.elapsed())
    }

    fn log(&self, level: LogLevel, message: &str) {
        println!("{level:?}: {message}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: jpeg2000_pixels FILE [OUT [LEVEL] | --time]")?;
    let action = arguments.next();
    let level: u32 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let services = Terminal(Instant::now());
    let limits = Limits {
        max_pixels: 1 << 32,
        max_bytes: 1 << 31,
        max_threads: 1,
    };
    let ctx = CallContext::new(limits, &services);
    let start = Instant::now();
    let reader = open(&path, &ctx)?;
    let opened = start.elapsed();
    match action.as_deref() {
        None => print(&*reader),
        Some("--time") => {
            println!("open {:.3} ms", opened.as_secs_f64() * 1e3);
            time(&path, &ctx)?;
        }
        Some(out) => {
            print(&*reader);
            let size = reader.info().pages[0]
                .levels
                .get(level as usize)
                .ok_or("no such level")?;
            let region = Region::new(0, 0, size.width, size.height);
            std::fs::write(out, read(&*reader, level, region, &ctx)?)?;
        }
    }
    Ok(())
}

fn open(path: &str, ctx: &CallContext<'_>) -> Result<Box<dyn ImageReader>, Box<dyn Error>> {
    let file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    Ok(Jpeg2000Decoder::default().open(Arc::new(File(file, len)), ctx)?)
}

fn print(reader: &dyn ImageReader) {
    let info = reader.info();
    println!("{} {:?}", info.format, info.warnings);
    for (name, text) in &info.text {
        println!("{name}: {}", text.escape_ascii());
    }
    for page in &info.pages {
        let sizes: Vec<String> = page
            .levels
            .iter()
            .map(|l| format!("{}x{}{}", l.width, l.height, if l.computed { "*" } else { "" }))
            .collect();
        println!(
            "bands={} bits={} signed={} {:?} alpha={:?} layers={} {}",
            page.band_count,
            page.bit_depth,
            page.signed,
            page.color_model,
            page.alpha,
            page.quality_layers,
            sizes.join(" ")
        );
    }
}

fn read(
    reader: &dyn ImageReader,
    level: u32,
    region: Region,
    ctx: &CallContext<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let page = &reader.info().pages[0];
    let row = row_bytes(region.width, page.band_count, page.sample_format)
        .ok_or_else(|| DecodeError::limit("a row larger than memory"))?;
    let mut bytes = vec![0; row * region.height as usize];
    let mut out = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        page.band_count,
        page.sample_format,
        row,
    )?;
    let request = ReadRequest {
        page: 0,
        level,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut out, ctx)?;
    Ok(bytes)
}

/// Milliseconds this thread has been on a processor: other programs do not count.
fn processor_time() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds as f64 / 1e6)
}

/// Milliseconds, the best of three runs, each on an image opened anew.
fn best(path: &str, ctx: &CallContext<'_>, regions: &[Region]) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let reader = open(path, ctx)?;
        let start = processor_time()?;
        for region in regions {
            read(&*reader, 0, *region, ctx)?;
        }
        best = best.min(processor_time()? - start);
    }
    Ok(best)
}

fn time(path: &str, ctx: &CallContext<'_>) -> Result<(), Box<dyn Error>> {
    let reader = open(path, ctx)?;
    let level = &reader.info().pages[0].levels[0];
    let tile = |col: u32, row: u32| {
        Region::new(col * 256, row * 256, 256, 256).intersection(&Region::new(
            0,
            0,
            level.width,
            level.height,
        ))
    };
    let (col, row) = (level.tile_cols() / 2, level.tile_rows() / 2);
    let (col, row) = (col / 4 * 4, row / 4 * 4);
    let burst: Vec<Region> = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
        .iter()
        .filter_map(|(c, r)| tile(col + c, row + r))
        .collect();
    let mut lone = 0.0;
    for tile in &burst {
        lone += best(path, ctx, std::slice::from_ref(tile))?;
    }
    let all = best(path, ctx, &burst)?;
    let count = burst.len() as f64;
    println!(
        "lone tile {:.1} ms; burst of {count} {all:.1} ms = {:.2} of as many lone ones",
        lone / count,
        all / lone
    );
    let screen: Vec<Region> = (0..4)
        .flat_map(|r| (0..8).map(move |c| (c, r)))
        .filter_map(|(c, r)| tile(c, r))
        .collect();
    let all = best(path, ctx, &screen)?;
    println!(
        "screen of {} tiles {all:.1} ms, {:.1} ms each",
        screen.len(),
        all / screen.len() as f64
    );
    // As the host reads a large region: one row of tiles after the other.
    let rows: Vec<Region> = (0..level.height.div_ceil(256))
        .filter_map(|row| {
            Region::new(0, row * 256, level.width, 256).intersection(&Region::new(
                0,
                0,
                level.width,
                level.height,
            ))
        })
        .collect();
    let whole = [Region::new(0, 0, level.width, level.height)];
    println!(
        "whole level {:.1} ms, by rows of tiles {:.1} ms",
        best(path, ctx, &whole)?,
        best(path, ctx, &rows)?
    );
    Ok(())
}
