//! The pictures that are measured with, computed once: like photographs to a codec (detail at every scale,
//! edges, grain), the same on every machine.
//!
//! What they are to a codec was compared with real pictures (docs/performance.md): [`SHARP`] lies among
//! photographs stored with little loss or none, [`SOFT`] among large ones that were JPEG files before.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use support::fixture::TiffFile;
use support::picture::Picture;

/// Side of the TIFF pyramids in pixels: 144 megapixels.
pub(crate) const SIDE: u32 = 12_000;
/// Size of the JPEG 2000 files in pixels.
pub(crate) const JP2: (u32, u32) = (6000, 4000);
/// Side of the JPEG file in pixels.
pub(crate) const JPEG: u32 = 6000;

/// Side of the soft TIFF pyramid in pixels.
pub(crate) const SOFT_SIDE: u32 = 6000;
/// Columns and rows of tiles of the largest file: 100 gigapixels.
pub(crate) const HUGE_TILES: u32 = 1236;

/// Side of the TIFF pyramids that differ in their compression alone.
pub(crate) const CODEC_SIDE: u32 = 4096;

/// A compression of TIFF, as the tools name it that write it.
pub(crate) struct Codec {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// What its file is called.
    file: &'static str,
    tool: Tool,
    /// Debian's libtiff decodes it.
    pub(crate) libtiff_reads: bool,
    /// The peer shows it.
    pub(crate) peer_reads: bool,
}

enum Tool {
    /// Options of `vips tiffsave`.
    Vips(&'static [&'static str]),
    /// The compression as `tiffcp` names it.
    Tiffcp(&'static str),
}

impl Codec {
    const fn new(name: &'static str, file: &'static str, tool: Tool) -> Self {
        Self {
            name,
            file,
            tool,
            libtiff_reads: true,
            peer_reads: true,
        }
    }

    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("codec-{}.tif", self.file)
    }
}

/// The compressions that are measured side by side.
pub(crate) const CODECS: [Codec; 11] = [
    Codec::new("none", "none", Tool::Vips(&["--compression", "none"])),
    Codec::new("PackBits", "packbits", Tool::Vips(&["--compression", "packbits"])),
    Codec::new(
        "LZW, predictor 2",
        "lzw",
        Tool::Vips(&["--compression", "lzw", "--predictor", "horizontal"]),
    ),
    Codec::new(
        "deflate, predictor 2",
        "deflate",
        Tool::Vips(&["--compression", "deflate", "--predictor", "horizontal"]),
    ),
    Codec::new(
        "Zstandard, predictor 2",
        "zstd",
        Tool::Vips(&["--compression", "zstd", "--predictor", "horizontal"]),
    ),
    Codec::new("LZMA, predictor 2", "lzma", Tool::Tiffcp("lzma:2")),
    Codec::new(
        "JPEG, quality 85",
        "jpeg",
        Tool::Vips(&["--compression", "jpeg", "--Q", "85"]),
    ),
    Codec::new(
        "WebP, quality 85",
        "webp",
        Tool::Vips(&["--compression", "webp", "--Q", "85"]),
    ),
    Codec::new(
        "WebP, lossless",
        "webpll",
        Tool::Vips(&["--compression", "webp", "--lossless"]),
    ),
    Codec::new(
        "CCITT T.6, 1 bit",
        "fax4",
        Tool::Vips(&["--compression", "ccittfax4", "--bitdepth", "1"]),
    ),
    Codec {
        libtiff_reads: false,
        peer_reads: false,
        ..Codec::new(
            "JPEG 2000, quality 85",
            "jp2k",
            Tool::Vips(&["--compression", "jp2k", "--Q", "85"]),
        )
    },
];

/// How much there is to store in a picture.
#[derive(Clone, Copy)]
struct Texture {
    /// Amplitude of the finest waves in grey values.
    detail: f32,
    /// Grey values to a unit of noise: 147 units are its standard deviation.
    grain: f32,
}

/// A photograph as a camera or scanner gives it.
const SHARP: Texture = Texture {
    detail: 7.0,
    grain: 0.0135,
};
/// A photograph that lost its finest detail before it was stored.
const SOFT: Texture = Texture {
    detail: 2.0,
    grain: 0.002,
};

/// The folder with all of them.
pub(crate) struct Images {
    /// Where they are.
    pub(crate) folder: PathBuf,
}

impl Images {
    /// Makes those that are missing.
    ///
    /// # Errors
    /// When one cannot be made; what is half made is not taken for whole the next time.
    pub(crate) fn prepare(host: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let images = Self {
            folder: folder.to_owned(),
        };
        let pyramid = |name: &str, compression: &str, png: &Path| {
            images.made(name, |path| {
                run(Command::new(host)
                    .args(["pyramid", "--force", "--compression", compression])
                    .arg(png)
                    .arg(path))
            })
        };
        let png = images.made("photo.png", |path| write_png(path, SIDE, SIDE, SHARP))?;
        for compression in ["deflate", "lzw", "none", "jpeg"] {
            pyramid(&format!("{compression}.tif"), compression, &png)?;
        }
        let side = CODEC_SIDE.to_string();
        let cut = images.made("codec.png", |path| {
            run(Command::new("vips")
                .arg("crop")
                .arg(&png)
                .arg(path)
                .args(["2000", "2000", &side, &side]))
        })?;
        let grey = images.made("codec-grey.png", |path| {
            run(Command::new("vips")
                .arg("colourspace")
                .arg(&cut)
                .arg(path)
                .arg("b-w"))
        })?;
        for codec in &CODECS {
            images.made(&codec.file(), |path| match codec.tool {
                Tool::Vips(options) => {
                    let is_bilevel = options.contains(&"--bitdepth");
                    run(Command::new("vips")
                        .arg("tiffsave")
                        .arg(if is_bilevel { &grey } else { &cut })
                        .arg(path)
                        .args([
                            "--tile",
                            "--tile-width",
                            "256",
                            "--tile-height",
                            "256",
                            "--pyramid",
                        ])
                        .args(options))
                }
                Tool::Tiffcp(name) => run(Command::new("tiffcp")
                    .args(["-c", name, "-t", "-w", "256", "-l", "256"])
                    .arg(images.path("codec-none.tif"))
                    .arg(path)),
            })?;
        }
        let png = images.made("soft.png", |path| write_png(path, SOFT_SIDE, SOFT_SIDE, SOFT))?;
        pyramid("soft.tif", "deflate", &png)?;
        images.made("huge.tif", |path| {
            let tile = Picture::photograph(256, 256, 3, 0);
            Ok(fs::write(
                path,
                TiffFile::repeated(&tile, HUGE_TILES, HUGE_TILES).bytes,
            )?)
        })?;
        let ppm = images.made("jp2.ppm", |path| write_ppm(path, JP2.0, JP2.1))?;
        for (name, tiles) in [("single.jp2", None), ("tiled.jp2", Some("1024,1024"))] {
            images.made(name, |path| {
                let mut command = Command::new("opj_compress");
                command
                    .arg("-i")
                    .arg(&ppm)
                    .arg("-o")
                    .arg(path)
                    .args(["-r", "12", "-n", "6", "-I"]);
                if let Some(tiles) = tiles {
                    command.args(["-t", tiles]);
                }
                run(&mut command)
            })?;
        }
        let ppm = images.made("jpeg.ppm", |path| write_ppm(path, JPEG, JPEG))?;
        images.made("photo.jpg", |path| {
            run(Command::new("cjpeg")
                .args(["-quality", "85", "-outfile"])
                .arg(path)
                .arg(&ppm))
        })?;
        Ok(images)
    }

    /// The path of one of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a file under another name first, so that one that is there is whole. The other name keeps the
    /// extension, by which programs choose the format.
    fn made(&self, name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        if !path.exists() {
            eprintln!("making {name}");
            let unfinished = self.path(&format!("unfinished-{name}"));
            make(&unfinished).with_context(|| format!("making {name}"))?;
            fs::rename(&unfinished, &path)?;
        }
        Ok(path)
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Rows painted and written at a time.
const ROWS: u32 = 256;

fn write_png(path: &Path, width: u32, height: u32, texture: Texture) -> anyhow::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    paint(width, height, texture, |rows| Ok(stream.write_all(rows)?))?;
    stream.finish()?;
    writer.finish()?;
    Ok(())
}

fn write_ppm(path: &Path, width: u32, height: u32) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, "P6\n{width} {height}\n255\n")?;
    paint(width, height, SHARP, |rows| Ok(file.write_all(rows)?))?;
    Ok(file.flush()?)
}

fn paint(
    width: u32,
    height: u32,
    texture: Texture,
    mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let row = width as usize * 3;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut pixels = vec![0; row * ROWS as usize];
    for first in (0..height).step_by(ROWS as usize) {
        let rows = ROWS.min(height - first) as usize;
        let pixels = &mut pixels[..rows * row];
        let share = rows.div_ceil(threads);
        std::thread::scope(|scope| {
            for (number, part) in pixels.chunks_mut(share * row).enumerate() {
                let top = first + (number * share) as u32;
                scope.spawn(move || {
                    for (y, pixels) in (top..).zip(part.chunks_exact_mut(row)) {
                        for (x, pixel) in (0..width).zip(pixels.chunks_exact_mut(3)) {
                            pixel.copy_from_slice(&color(x, y, texture));
                        }
                    }
                });
            }
        });
        write(pixels)?;
    }
    Ok(())
}

/// The pixel of one place.
fn color(x: u32, y: u32, texture: Texture) -> [u8; 3] {
    // Amplitudes that fall with the frequency, as in pictures of the world.
    let mut light = 0.0;
    for octave in 1..10 {
        light += smooth(x, y, octave, octave) * texture.detail * (octave as f32).powf(0.9);
    }
    // Things before a background: an edge wherever a wave of middle size changes sign.
    light += if smooth(x, y, 7, 20) > 0.1 { 24.0 } else { -18.0 };
    let warmth = smooth(x, y, 9, 30) * 30.0 + smooth(x, y, 5, 31) * 8.0;
    let green = smooth(x, y, 8, 32) * 16.0;
    let mut pixel = [0; 3];
    for (band, (sample, tint)) in (0..).zip(pixel.iter_mut().zip([warmth, green, -warmth])) {
        let random = hash(x, y, 100 + band);
        // The sum of four bytes is nearly normal.
        let grain = random
            .to_le_bytes()
            .iter()
            .map(|&byte| f32::from(byte))
            .sum::<f32>()
            - 510.0;
        *sample = (118.0 + light + tint + grain * texture.grain).clamp(0.0, 255.0) as u8;
    }
    pixel
}

/// A wave between −1 and 1 whose knots lie `1 << octave` pixels apart.
fn smooth(x: u32, y: u32, octave: u32, seed: u32) -> f32 {
    let knot = |x: u32, y: u32| f32::from(hash(x, y, seed) as i16) / 32768.0;
    let (column, row) = (x >> octave, y >> octave);
    let part = |at: u32| {
        let part = (at & ((1 << octave) - 1)) as f32 / (1u32 << octave) as f32;
        part * part * (3.0 - 2.0 * part)
    };
    let (right, down) = (part(x), part(y));
    let top = knot(column, row) * (1.0 - right) + knot(column + 1, row) * right;
    let bottom = knot(column, row + 1) * (1.0 - right) + knot(column + 1, row + 1) * right;
    top * (1.0 - down) + bottom * down
}

fn hash(x: u32, y: u32, seed: u32) -> u32 {
    let mut bits = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ seed.wrapping_mul(0xc2b2_ae3d);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297a_2d39);
    bits ^ (bits >> 15)
}
