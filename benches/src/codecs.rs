//! Tiles of TIFF files by compression: decoded by the module and by libtiff, on one thread each and without a server,
//! then asked of the host and of its peer as JPEG.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use iiphost::source::FileSource;
use iiphost_plugin_api::{
    CallContext, ImageDecoder as _, Limits, PixelBuffer, PlainServices, ReadRequest, Region,
};
use iiphost_tiff::TiffDecoder;

use crate::images::{CODEC_SIDE, CODECS, Images};
use crate::report::middle;
use crate::rows::Row;
use crate::servers::Peer;

/// Passes through a file between two of a server: they are short.
const PASSES: usize = 3;

/// Measured of one compression; times in milliseconds a tile, rates in tiles a second.
#[derive(Default)]
struct Measured {
    module: Vec<f64>,
    libtiff: Vec<f64>,
    host: Vec<f64>,
    peer: Vec<f64>,
}

/// Measures all of them in turn, `times` times, and prints a table.
///
/// # Errors
/// When a file is not decoded or a server answers wrongly.
pub(crate) fn table(host: &Path, peer: Option<&Peer>, images: &Images, times: usize) -> anyhow::Result<()> {
    let libtiff = compiled(images)?;
    println!("\nA tile of 256² pixels by compression of the TIFF, one thread or one client:\n");
    println!("| Compression | Module ms | libtiff ms | Module is | Host tiles/s | Peer tiles/s | Host is |");
    println!("| --- | --: | --: | --: | --: | --: | --: |");
    for codec in &CODECS {
        let file = codec.file();
        let path = images.path(&file);
        // Uncompressed tiles are a copy out of the kernel's memory: a first pass brings them there.
        decoded(&path)?;
        let mut measured = Measured::default();
        let mut ratios = Vec::new();
        let row = Row::codec(&file, CODEC_SIDE, codec.peer_reads);
        for _ in 0..times {
            for _ in 0..PASSES {
                let ours = decoded(&path)?;
                measured.module.push(ours);
                if codec.libtiff_reads {
                    let theirs = decoded_by(&libtiff, &path)?;
                    measured.libtiff.push(theirs);
                    ratios.push(theirs / ours);
                }
            }
            let asked = row.measure(host, peer, images, 1, 1.0)?;
            measured.host.extend(asked.host.iter().map(|sample| sample.rate));
            measured.peer.extend(asked.peer.iter().map(|sample| sample.rate));
        }
        let [module, libtiff, host, peer] =
            [measured.module, measured.libtiff, measured.host, measured.peer].map(middle);
        let text = |value: Option<f64>, digits| value.map_or("–".to_owned(), |v| format!("{v:.digits$}"));
        let times = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |v| format!("{v:.2} ×"));
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            codec.name,
            text(module, 3),
            text(libtiff, 3),
            times(middle(ratios)),
            text(host, 0),
            text(peer, 0),
            times(host.zip(peer).map(|(ours, theirs)| ours / theirs)),
        );
    }
    Ok(())
}

/// Milliseconds a tile takes the module, all of the largest level one after the other.
fn decoded(path: &Path) -> anyhow::Result<f64> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let source = Arc::new(FileSource::new(file, len));
    let reader = TiffDecoder::default().open(source, &ctx)?;
    let page = &reader.info().pages[0];
    let level = &page.levels[0];
    let (width, height) = (level.tile_width, level.tile_height);
    let row = width as usize * page.band_count as usize * page.sample_format.bytes();
    let mut pixels = vec![0; row * height as usize];
    let begin = Instant::now();
    let mut count = 0;
    for y in (0..level.height).step_by(height as usize) {
        for x in (0..level.width).step_by(width as usize) {
            let mut buffer = PixelBuffer::new(
                &mut pixels,
                width,
                height,
                page.band_count,
                page.sample_format,
                row,
            )?;
            let request = ReadRequest {
                page: 0,
                level: 0,
                region: Region::new(x, y, width, height),
                quality_layers: 0,
            };
            reader.read(&request, &mut buffer, &ctx)?;
            count += 1;
        }
    }
    black_box(&pixels);
    Ok(begin.elapsed().as_secs_f64() * 1e3 / f64::from(count))
}

/// The same by a program that calls libtiff.
fn decoded_by(program: &Path, path: &Path) -> anyhow::Result<f64> {
    let output = Command::new(program).arg(path).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "libtiff and {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said.trim().parse()?)
}

/// Compiles the program that calls libtiff.
fn compiled(images: &Images) -> anyhow::Result<PathBuf> {
    let program = images.path("libtiff-tiles");
    let mut compiler = Command::new("cc")
        .args(["-O2", "-x", "c", "-", "-ltiff", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .context("starting cc")?;
    let mut input = compiler.stdin.take().context("the input of cc")?;
    input.write_all(include_bytes!("libtiff_tiles.c"))?;
    drop(input);
    ensure!(compiler.wait()?.success(), "cc does not compile libtiff_tiles.c");
    Ok(program)
}
