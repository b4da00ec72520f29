//! Shows what the decoder makes of a file, writes its pixels, or measures tiles.
//!
//! `tiff_pixels FILE` prints pages and levels; `tiff_pixels FILE OUT` also writes level 0 of page 0 as raw
//! samples, to compare with another reader; `tiff_pixels FILE --time [THREADS]` measures every tile of level 0,
//! read by so many threads at once.

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, ImageDecoder, ImageReader, Limits, PixelBuffer, PlainServices,
    ReadRequest, Region, row_bytes,
};
use iiphost_tiff::TiffDecoder;

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

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: tiff_pixels FILE [OUT | --time [THREADS]]")?;
    let action = arguments.next();
    let file = std::fs::File::open(&path)?;
    let len = file.metadata()?.len();
    let services = PlainServices::default();
    let limits = Limits {
        max_pixels: 1 << 32,
        max_bytes: 1 << 31,
        max_threads: 1,
    };
    let ctx = CallContext::new(limits, &services);
    let start = Instant::now();
    let reader = TiffDecoder::default().open(Arc::new(File(file, len)), &ctx)?;
    let opened = start.elapsed();
    match action.as_deref() {
        None => {
            println!("open {:.3} ms", opened.as_secs_f64() * 1e3);
            print(&*reader);
        }
        Some("--time") => {
            println!("open {:.3} ms", opened.as_secs_f64() * 1e3);
            let threads = arguments.next().map_or(Ok(1), |count| count.parse())?;
            time(&*reader, threads, &ctx)?;
        }
        Some(out) => {
            let level = &reader.info().pages[0].levels[0];
            let bytes = read(&*reader, Region::new(0, 0, level.width, level.height), &ctx)?;
            std::fs::write(out, bytes)?;
            print(&*reader);
        }
    }
    Ok(())
}

fn print(reader: &dyn ImageReader) {
    let info = reader.info();
    println!("{} {:?}", info.format, info.warnings);
    for (number, page) in info.pages.iter().enumerate().filter(|(_, page)| page.listed) {
        let sizes: Vec<String> = page
            .levels
            .iter()
            .map(|l| format!("{}x{}/{}x{}", l.width, l.height, l.tile_width, l.tile_height))
            .collect();
        println!(
            "page {number} {:?}: {} {} bands {:?} {} bits{} {:?} alpha {:?}",
            page.name,
            sizes.join(" "),
            page.band_count,
            page.sample_format,
            page.bit_depth,
            if page.signed { " signed" } else { "" },
            page.color_model,
            page.alpha
        );
    }
}

fn read(reader: &dyn ImageReader, region: Region, ctx: &CallContext<'_>) -> Result<Vec<u8>, Box<dyn Error>> {
    let page = &reader.info().pages[0];
    let row = row_bytes(region.width, page.band_count, page.sample_format).ok_or("too wide")?;
    let mut bytes = vec![0; row * region.height as usize];
    read_into(reader, region, &mut bytes, row, ctx)?;
    Ok(bytes)
}

fn read_into(
    reader: &dyn ImageReader,
    region: Region,
    bytes: &mut [u8],
    row: usize,
    ctx: &CallContext<'_>,
) -> Result<(), DecodeError> {
    let page = &reader.info().pages[0];
    let mut buffer = PixelBuffer::new(
        bytes,
        region.width,
        region.height,
        page.band_count,
        page.sample_format,
        row,
    )?;
    let request = ReadRequest {
        page: 0,
        level: 0,
        region,
        quality_layers: 0,
    };
    reader.read(&request, &mut buffer, ctx)
}

/// Reads all tiles, several times over, and prints the best time per tile.
fn time(reader: &dyn ImageReader, threads: usize, ctx: &CallContext<'_>) -> Result<(), Box<dyn Error>> {
    let page = &reader.info().pages[0];
    let level = page.levels[0];
    let count = level.tile_rows() * level.tile_cols();
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| read_tiles(reader, &next, ctx)))
                .collect();
            let mut results = readers.into_iter().map(|reader| reader.join());
            results.try_for_each(|result| result.unwrap_or_else(|_| Err("a thread panicked".into())))
        })?;
        best = best.min(start.elapsed().as_secs_f64() / f64::from(count));
    }
    println!(
        "{:.4} ms per tile of {}x{}, {} bands, {threads} threads",
        best * 1e3,
        level.tile_width,
        level.tile_height,
        page.band_count
    );
    Ok(())
}

/// Reads tiles by the numbers that `next` hands out, until there are no more.
fn read_tiles(reader: &dyn ImageReader, next: &AtomicU32, ctx: &CallContext<'_>) -> Result<(), String> {
    let page = &reader.info().pages[0];
    let level = page.levels[0];
    let row_of = |width| row_bytes(width, page.band_count, page.sample_format).ok_or("too wide");
    let mut bytes = vec![0; row_of(level.tile_width)? * level.tile_height as usize];
    loop {
        let tile = next.fetch_add(1, Ordering::Relaxed);
        let (tile_row, tile_col) = (tile / level.tile_cols(), tile % level.tile_cols());
        if tile_row >= level.tile_rows() {
            return Ok(());
        }
        let (x, y) = (tile_col * level.tile_width, tile_row * level.tile_height);
        let width = level.tile_width.min(level.width - x);
        let height = level.tile_height.min(level.height - y);
        read_into(
            reader,
            Region::new(x, y, width, height),
            &mut bytes,
            row_of(width)?,
            ctx,
        )
        .map_err(|error| error.to_string())?;
    }
}
