//! What no server can beat: the bytes of a reply written by a responder that knows no image, and the codecs of
//! a tile without a server.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use iiphost::limits::Size;
use iiphost::pipeline::{Interpolation, resize};
use iiphost::raster::{Raster, Samples};
use iiphost_plugin_api::SampleFormat;
use support::fastcgi::{self, kind};
use tiff::tags::Tag;

/// Connections served at the same time.
const THREADS: usize = 8;

/// Answers every request at `address` with a body of `length` bytes, until it is killed.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn serve(address: &str, length: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    let mut content = format!(
        "Server: floor\r\nContent-Type: image/jpeg\r\nLast-Modified: Sun, 22 Nov 2026 06:25:34 GMT\r\n\
         Cache-Control: max-age=86400\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    content.resize(content.len() + length, 0x55);
    let reply = [
        fastcgi::stream(kind::STDOUT, 1, &content, 0xfff8),
        fastcgi::record(kind::END_REQUEST, 1, &[0; 8]),
    ]
    .concat();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    // A client that goes away is no reason to end; there is nothing to tell it.
                    if let Ok((stream, _)) = listener.accept() {
                        let _ = converse(&stream, &reply);
                    }
                }
            });
        }
    });
    Ok(())
}

fn converse(mut stream: &TcpStream, reply: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = [0; 4096];
    let mut held = 0;
    let mut keep = false;
    loop {
        let mut at = 0;
        while let Some(&[_, record, _, _, high, low, padding, _]) = input[..held].get(at..at + 8) {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let end = at + 8 + length + usize::from(padding);
            if end > held {
                break;
            }
            if record == kind::BEGIN_REQUEST {
                keep = input[at + 10] & 1 != 0;
            }
            at = end;
            if record == kind::STDIN && length == 0 {
                stream.write_all(reply)?;
                if !keep {
                    return Ok(());
                }
            }
        }
        input.copy_within(at..held, 0);
        held -= at;
        let read = stream.read(&mut input[held..])?;
        if read == 0 {
            return Ok(());
        }
        held += read;
    }
}

/// The tiles of the first level of a deflate pyramid.
struct Tiles {
    file: File,
    offsets: Vec<u64>,
    counts: Vec<u64>,
    /// Size of a tile.
    width: usize,
    height: usize,
    /// Tiles in a row of them.
    columns: usize,
    decompressor: libdeflater::Decompressor,
    compressed: Vec<u8>,
    pixels: Vec<u8>,
}

impl Tiles {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut decoder = tiff::decoder::Decoder::new(BufReader::new(File::open(path)?))?;
        let (width, height) = decoder.chunk_dimensions();
        let (across, _) = decoder.dimensions()?;
        ensure!(
            decoder.get_tag_u32(Tag::Predictor)? == 2,
            "a horizontal predictor"
        );
        Ok(Self {
            offsets: decoder.get_tag_u64_vec(Tag::TileOffsets)?,
            counts: decoder.get_tag_u64_vec(Tag::TileByteCounts)?,
            file: File::open(path)?,
            width: width as usize,
            height: height as usize,
            columns: across.div_ceil(width) as usize,
            decompressor: libdeflater::Decompressor::new(),
            compressed: Vec::new(),
            pixels: vec![0; width as usize * 3 * height as usize],
        })
    }

    /// The pixels of a tile.
    fn decode(&mut self, tile: usize) -> anyhow::Result<&[u8]> {
        let (&offset, &count) = self
            .offsets
            .get(tile)
            .zip(self.counts.get(tile))
            .context("a tile")?;
        self.compressed.resize(usize::try_from(count)?, 0);
        self.file.read_exact_at(&mut self.compressed, offset)?;
        self.decompressor
            .zlib_decompress(&self.compressed, &mut self.pixels)
            .ok()
            .context("a deflate tile")?;
        for row in self.pixels.chunks_exact_mut(self.width * 3) {
            for at in 3..row.len() {
                row[at] = row[at].wrapping_add(row[at - 3]);
            }
        }
        Ok(&self.pixels)
    }
}

/// Time to read, decompress and encode every tile of the first level of a deflate pyramid once, on one thread,
/// divided by their number.
///
/// # Errors
/// When the file is not of that kind.
pub(crate) fn deflate_tile(path: &Path) -> anyhow::Result<Duration> {
    let mut tiles = Tiles::open(path)?;
    let (width, height, count) = (tiles.width, tiles.height, tiles.offsets.len());
    let begin = Instant::now();
    for tile in 0..count {
        std::hint::black_box(jpeg(width, height, tiles.decode(tile)?)?);
    }
    Ok(begin.elapsed() / u32::try_from(count)?)
}

/// Time to decompress the tiles of a region of the first level, to resize and to encode it, on one thread: the
/// mean of regions of one size with these left upper corners.
///
/// # Errors
/// When the file is not of that kind.
pub(crate) fn deflate_region(
    path: &Path,
    corners: &[(u32, u32)],
    from: Size,
    to: Size,
) -> anyhow::Result<Duration> {
    let mut tiles = Tiles::open(path)?;
    let (width, height) = (from.width as usize, from.height as usize);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let begin = Instant::now();
    for &(left, top) in corners {
        let (left, top) = (left as usize, top as usize);
        let mut pixels = vec![0; width * height * 3];
        for row in top / tiles.height..(top + height).div_ceil(tiles.height) {
            for column in left / tiles.width..(left + width).div_ceil(tiles.width) {
                let (x, y) = (column * tiles.width, row * tiles.height);
                let stride = tiles.width * 3;
                let (first, last) = (x.max(left), (x + tiles.width).min(left + width));
                let lines = y.max(top)..(y + tiles.height).min(top + height);
                let tile = tiles.decode(row * tiles.columns + column)?;
                for line in lines {
                    let source = &tile[(line - y) * stride..][(first - x) * 3..(last - x) * 3];
                    pixels[((line - top) * width + first - left) * 3..][..source.len()]
                        .copy_from_slice(source);
                }
            }
        }
        let mut raster = Raster::zeros(from, 3, SampleFormat::U8, u64::MAX)?;
        raster.samples = Samples::U8(pixels);
        let raster = pool.install(|| resize(raster, to, Interpolation::Bilinear, u64::MAX))?;
        let bytes = raster.samples.bytes();
        std::hint::black_box(jpeg(to.width as usize, to.height as usize, bytes)?);
    }
    Ok(begin.elapsed() / u32::try_from(corners.len())?)
}

/// The picture as JPEG with the settings of the servers: quality 75, colors at half resolution.
///
/// # Errors
/// When the codec fails.
pub(crate) fn jpeg(width: usize, height: usize, pixels: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
    encoder.set_size(width, height);
    encoder.set_fastest_defaults();
    encoder.set_quality(75.0);
    encoder.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
    let mut encoder = encoder.start_compress(Vec::with_capacity(32 * 1024))?;
    encoder.write_scanlines(pixels)?;
    encoder.finish()
}
