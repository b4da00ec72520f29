//! Encode speed of every format beside the command-line program of the library, or of another one, in megapixels a second.
//!
//! `encode_speed [SIDE] [ROUNDS]`: a square of SIDE pixels (4096), the best of ROUNDS (3). One thread for both, but for
//! AVIF: the host gives it half of the cores, the program takes all. A program reads the picture from a file in the temporary
//! folder, and writes one: the time it needs to do nothing with a picture of 16 pixels is taken off. One that is not
//! installed is left out. Run it with `--release`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use iiphost::encode::{EncoderConfig, Metadata, Settings, encode};
use iiphost::limits::Size;
use iiphost::raster::{Raster, Samples};
use iiphost::view::{Output, OutputFormat, TiffCompression};
use iiphost_plugin_api::SampleFormat;

/// What is measured: a name, an output, and the program that does the like.
struct Case {
    name: &'static str,
    output: Output,
    program: Option<(&'static str, &'static [&'static str])>,
}

/// Stand for the files in the arguments of a program.
const PPM: &str = "{ppm}";
const TIFF: &str = "{tif}";
const PNG: &str = "{png}";
const OUT: &str = "{out}";

fn cases() -> Vec<Case> {
    let plain = |format, quality| Output {
        quality: Some(quality),
        ..Output::new(format)
    };
    let tiff = |compression, quality| Output {
        tiff_compression: Some(compression),
        ..plain(OutputFormat::Tiff, quality)
    };
    let case = |name, output, program| Case {
        name,
        output,
        program,
    };
    vec![
        case(
            "JPEG 75",
            plain(OutputFormat::Jpeg, 75),
            Some(("cjpeg", &["-quality", "75", "-outfile", OUT, PPM])),
        ),
        case(
            "JPEG 95",
            plain(OutputFormat::Jpeg, 95),
            Some((
                "cjpeg",
                &["-quality", "95", "-sample", "1x1", "-outfile", OUT, PPM],
            )),
        ),
        case(
            "PNG 1",
            plain(OutputFormat::Png, 1),
            Some((
                "vips",
                &["pngsave", TIFF, OUT, "--compression", "1", "--filter", "sub"],
            )),
        ),
        case(
            "PNG 6",
            plain(OutputFormat::Png, 6),
            Some((
                "vips",
                &["pngsave", TIFF, OUT, "--compression", "6", "--filter", "sub"],
            )),
        ),
        case(
            "WebP 50",
            plain(OutputFormat::WebP, 50),
            Some(("cwebp", &["-quiet", "-m", "0", "-q", "50", PPM, "-o", OUT])),
        ),
        case(
            "WebP lossless",
            plain(OutputFormat::WebP, -1),
            Some((
                "cwebp",
                &[
                    "-quiet",
                    "-lossless",
                    "-exact",
                    "-m",
                    "0",
                    "-q",
                    "0",
                    PPM,
                    "-o",
                    OUT,
                ],
            )),
        ),
        case(
            "AVIF 50",
            plain(OutputFormat::Avif, 50),
            Some((
                "avifenc",
                // Quality 50 in the words that old and new versions of the program know.
                &[
                    "-s", "10", "--min", "31", "--max", "31", "-y", "420", "--jobs", "all", PNG, OUT,
                ],
            )),
        ),
        case(
            "TIFF none",
            tiff(TiffCompression::None, 0),
            Some(("tiffcp", &["-c", "none", TIFF, OUT])),
        ),
        case(
            "TIFF LZW",
            tiff(TiffCompression::Lzw, 0),
            Some(("tiffcp", &["-c", "lzw:2", TIFF, OUT])),
        ),
        case(
            "TIFF deflate 1",
            tiff(TiffCompression::Deflate, 1),
            Some(("tiffcp", &["-c", "zip:2:p1", TIFF, OUT])),
        ),
        case(
            "TIFF Zstandard 3",
            tiff(TiffCompression::Zstandard, 3),
            Some(("tiffcp", &["-c", "zstd:2:p3", TIFF, OUT])),
        ),
        case(
            "TIFF JPEG 75",
            tiff(TiffCompression::Jpeg, 75),
            Some(("tiffcp", &["-c", "jpeg:r:75", TIFF, OUT])),
        ),
    ]
}

/// Like a photograph: large shapes, edges, and noise in the last bits.
fn picture(side: u32) -> Result<Raster> {
    let mut raster = Raster::zeros(Size::new(side, side), 3, SampleFormat::U8, 4 << 30)?;
    if let Samples::U8(samples) = &mut raster.samples {
        let mut noise = 1_u32;
        for (idx, sample) in samples.iter_mut().enumerate() {
            let (pixel, band) = (idx as u32 / 3, idx as u32 % 3);
            let (x, y) = (pixel % side, pixel / side);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wave =
                (f64::from(x + 90 * band) / 97.0).sin() * (f64::from(y) / (61.0 + f64::from(band))).cos();
            let edge = if (x / 173 + y / 211) % 3 == 0 { 28.0 } else { -12.0 };
            *sample = (120.0 + 75.0 * wave + edge + f64::from(noise >> 29)).clamp(0.0, 255.0) as u8;
        }
    }
    Ok(raster)
}

/// The best time of some rounds.
fn best(rounds: u32, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// The files a program may read.
fn write_files(folder: &Path, raster: &Raster) -> Result<()> {
    let samples = raster.samples.bytes();
    let head = format!("P6\n{} {}\n255\n", raster.size.width, raster.size.height);
    std::fs::write(folder.join("in.ppm"), [head.as_bytes(), samples].concat())?;
    for (name, format, compression) in [
        ("in.tif", OutputFormat::Tiff, Some(TiffCompression::None)),
        ("in.png", OutputFormat::Png, None),
    ] {
        let output = Output {
            quality: Some(0),
            tiff_compression: compression,
            ..Output::new(format)
        };
        let settings = Settings::resolve(output, &EncoderConfig::default());
        std::fs::write(
            folder.join(name),
            encode(raster, &settings, &Metadata::default())?,
        )?;
    }
    Ok(())
}

/// Runs a program on the files of a folder; false if there is no such program.
fn run(program: &str, arguments: &[&str], folder: &Path, extension: &str) -> Result<bool> {
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = arguments.iter().map(|&argument| match argument {
        PPM => path("in.ppm"),
        TIFF => path("in.tif"),
        PNG => path("in.png"),
        OUT => path(&format!("out.{extension}")),
        other => other.to_owned(),
    });
    let status = Command::new(program)
        .args(arguments)
        .env("VIPS_CONCURRENCY", "1")
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) => {
            ensure!(status.success(), "{program}: {status}");
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(program.to_owned()),
    }
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let side = numbers.next().transpose().context("SIDE")?.unwrap_or(4096);
    let rounds = numbers.next().transpose().context("ROUNDS")?.unwrap_or(3).max(1);
    ensure!((16..=16_383).contains(&side), "SIDE is 16 to 16383");
    let raster = picture(side)?;
    let folder = std::env::temp_dir().join(format!("iiphost-encode-speed-{}", std::process::id()));
    let (large, small) = (folder.join("large"), folder.join("small"));
    for (folder, raster) in [(&large, &raster), (&small, &picture(16)?)] {
        std::fs::create_dir_all(folder)?;
        write_files(folder, raster)?;
    }
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let megapixels = raster.size.pixels() as f64 / 1e6;
    println!("{} pixels, best of {rounds}, MP/s", raster.size);
    println!("{:<18}{:>9}{:>9}  program", "", "iiphost", "program");
    for case in cases() {
        let settings = Settings::resolve(case.output, &EncoderConfig::default());
        let ours = best(rounds, || {
            one.install(|| encode(&raster, &settings, &Metadata::default()))?;
            Ok(())
        })?;
        let copy = best(rounds, || {
            std::hint::black_box(raster.clone());
            Ok(())
        })?;
        let speed = |time: Duration| megapixels / time.as_secs_f64().max(1e-9);
        let ours = speed(ours.saturating_sub(copy));
        let extension = case.output.format.extension();
        let Some((program, arguments)) = case.program else {
            println!("{:<18}{ours:>9.1}", case.name);
            continue;
        };
        if !run(program, arguments, &small, extension)? {
            println!(
                "{:<18}{ours:>9.1}{:>9}  {program} is not installed",
                case.name, "-"
            );
            continue;
        }
        let time = |folder: &Path| {
            best(rounds, || {
                run(program, arguments, folder, extension)?;
                Ok(())
            })
        };
        let theirs = speed(time(&large)?.saturating_sub(time(&small)?));
        println!(
            "{:<18}{ours:>9.1}{theirs:>9.1}  {program} {}",
            case.name,
            arguments.join(" ")
        );
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
