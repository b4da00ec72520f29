//! What no server can beat: the bytes of a reply written by a responder that knows no image, and the codecs of
//! a tile without a server.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
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

/// Time to read, decompress and encode every tile of the first level of a deflate pyramid once, on one thread,
/// divided by their number.
///
/// # Errors
/// When the file is not of that kind.
pub(crate) fn deflate_tile(path: &Path) -> anyhow::Result<Duration> {
    let mut decoder = tiff::decoder::Decoder::new(BufReader::new(File::open(path)?))?;
    let (width, height) = decoder.chunk_dimensions();
    let offsets = decoder.get_tag_u64_vec(Tag::TileOffsets)?;
    let counts = decoder.get_tag_u64_vec(Tag::TileByteCounts)?;
    ensure!(
        decoder.get_tag_u32(Tag::Predictor)? == 2,
        "a horizontal predictor"
    );
    let file = File::open(path)?;
    let row = width as usize * 3;
    let mut pixels = vec![0; row * height as usize];
    let mut compressed = Vec::new();
    let mut decompressor = libdeflater::Decompressor::new();
    let begin = Instant::now();
    for (&offset, &count) in offsets.iter().zip(&counts) {
        compressed.resize(usize::try_from(count)?, 0);
        file.read_exact_at(&mut compressed, offset)?;
        decompressor
            .zlib_decompress(&compressed, &mut pixels)
            .ok()
            .context("a deflate tile")?;
        for row in pixels.chunks_exact_mut(row) {
            for at in 3..row.len() {
                row[at] = row[at].wrapping_add(row[at - 3]);
            }
        }
        std::hint::black_box(jpeg(width as usize, height as usize, &pixels)?);
    }
    Ok(begin.elapsed() / u32::try_from(offsets.len())?)
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
