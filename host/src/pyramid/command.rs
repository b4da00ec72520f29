//! `iiphost pyramid IN OUT`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use iiphost_plugin_api::ImageReader;

use super::png::PngSource;
use super::{
    Cancel, ConsoleProgress, DEFAULT_QUALITY, Interrupt, Options, PyramidError, ReaderSource, RowSource,
    SourceError, Summary, build, jpeg_compression,
};
use crate::encode::tiff::Compression;

/// Any error of the caller's.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes a tiled pyramid TIFF from a PNG, JPEG or TIFF file, or from any file a decoder module opens.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Picture to read: PNG, JPEG, or what a decoder module opens
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// Pyramid TIFF to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Side of the square tiles in pixels, a multiple of 16
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = tile_size)]
    pub tile_size: u32,
    /// Compression of the tiles [default: jpeg for 8 bits without alpha, else deflate]
    #[arg(long, value_enum, value_name = "NAME")]
    pub compression: Option<CompressionName>,
    /// Quality of JPEG, 1 to 100 (default 85); level of deflate, 1 to 12 (6), or Zstandard, 1 to 19 (3)
    #[arg(long, value_name = "N")]
    pub quality: Option<u8>,
    /// Threads that compress [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Replace OUT if it exists
    #[arg(long)]
    pub force: bool,
}

/// Names of compressions on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum CompressionName {
    Jpeg,
    Deflate,
    Lzw,
    Zstd,
    None,
}

fn tile_size(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|&n: &u32| n.is_multiple_of(16) && (16..=4096).contains(&n))
        .ok_or_else(|| "expected a multiple of 16 from 16 to 4096".into())
}

impl Args {
    /// The compression asked for, `None` if neither compression nor quality was.
    ///
    /// # Errors
    /// `Usage` when the quality does not fit the compression.
    fn compression(&self) -> Result<Option<Compression>, PyramidError> {
        let quality = |default: u8, max: u8| {
            let quality = self.quality.unwrap_or(default);
            if (1..=max).contains(&quality) {
                return Ok(quality);
            }
            Err(PyramidError::Usage {
                reason: format!("quality {quality}, expected 1 to {max} for this compression"),
            })
        };
        Ok(Some(match self.compression {
            Some(CompressionName::Jpeg) => jpeg_compression(quality(DEFAULT_QUALITY, 100)?),
            Some(CompressionName::Deflate) => Compression::Deflate {
                level: quality(6, 12)?,
            },
            Some(CompressionName::Zstd) => Compression::Zstandard {
                level: quality(3, 19)?,
            },
            Some(CompressionName::Lzw | CompressionName::None) if self.quality.is_some() => {
                return Err(PyramidError::Usage {
                    reason: "this compression has no quality".into(),
                });
            }
            Some(CompressionName::Lzw) => Compression::Lzw,
            Some(CompressionName::None) => Compression::None,
            // A quality alone means JPEG.
            None if self.quality.is_some() => jpeg_compression(quality(DEFAULT_QUALITY, 100)?),
            None => return Ok(None),
        }))
    }
}

/// Runs the command: a progress bar or lines on the error stream, one line about the result on the
/// output. PNG and JPEG are read here; `open_reader` opens everything else.
///
/// # Errors
/// What stopped it, for the user; no partial file is left.
pub fn run(
    args: &Args,
    open_reader: impl Fn(&Path) -> Result<Box<dyn ImageReader>, BoxError>,
) -> Result<(), BoxError> {
    let cancel = Cancel::default();
    let options = Options {
        tile_size: args.tile_size,
        compression: args.compression()?,
        threads: args.threads.map(usize::from),
        force: args.force,
        cancel: cancel.clone(),
    };
    if !args.force && args.output.symlink_metadata().is_ok() {
        // Before the input is opened: some need to be read whole first.
        return Err(Box::new(PyramidError::Exists {
            path: args.output.clone(),
        }));
    }
    let source = open(&args.input, &cancel, open_reader)?;
    let _interrupt = Interrupt::listen(cancel)?;
    let name = args
        .output
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let summary = build(source, &args.output, &options, &ConsoleProgress::new(name))?;
    println!("{}: {}", args.output.display(), describe(&summary));
    Ok(())
}

/// One line about a finished pyramid.
#[must_use]
pub(crate) fn describe(summary: &Summary) -> String {
    format!(
        "{} pixels, {} levels, {} tiles ({}), {:.1} MB in {:.1} s",
        summary.size,
        summary.levels,
        summary.tiles,
        summary.compression.name(),
        summary.bytes as f64 / 1e6,
        summary.elapsed.as_secs_f64()
    )
}

fn open(
    path: &Path,
    cancel: &Cancel,
    open_reader: impl Fn(&Path) -> Result<Box<dyn ImageReader>, BoxError>,
) -> Result<Box<dyn RowSource>, BoxError> {
    let unreadable = |source| SourceError::Io {
        what: format!("{} could not be read", path.display()),
        source,
    };
    let mut head = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(8)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    if head == *b"\x89PNG\r\n\x1a\n" {
        return Ok(Box::new(PngSource::open(path)?));
    }
    #[cfg(feature = "mozjpeg")]
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return Ok(Box::new(super::jpeg::JpegSource::open(path)?));
    }
    let reader = open_reader(path)?;
    Ok(Box::new(ReaderSource::new(reader, cancel.clone())?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["pyramid"], words].concat()).map(|line| line.args)
    }

    fn no_module(_: &Path) -> Result<Box<dyn ImageReader>, BoxError> {
        Err("no module opens it".into())
    }

    fn write_png(path: &Path, cut: usize) {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 300, 200);
        encoder.set_color(png::ColorType::Rgb);
        let pixels: Vec<u8> = (0..300 * 200 * 3).map(|i| (i * 31 % 255) as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes.truncate(bytes.len() - cut);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn tile_sizes_that_are_no_multiple_of_16_are_refused() {
        assert!(parse(&["a", "b", "--tile-size", "250"]).is_err());
        assert!(parse(&["a", "b", "--tile-size", "0"]).is_err());
        assert_eq!(parse(&["a", "b", "--tile-size", "512"]).unwrap().tile_size, 512);
    }

    #[test]
    fn quality_must_fit_the_compression() {
        let compression = |words: &[&str]| parse(&[&["a", "b"], words].concat()).unwrap().compression();
        assert_eq!(
            compression(&["--compression", "zstd", "--quality", "19"]).unwrap(),
            Some(Compression::Zstandard { level: 19 })
        );
        assert!(compression(&["--compression", "zstd", "--quality", "20"]).is_err());
        assert!(compression(&["--compression", "lzw", "--quality", "5"]).is_err());
        assert_eq!(compression(&[]).unwrap(), None);
    }

    #[test]
    fn a_png_becomes_a_pyramid_and_a_truncated_one_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let whole = path("whole.png");
        write_png(Path::new(&whole), 0);
        run(
            &parse(&[&whole, &path("out.tif"), "--tile-size", "64"]).unwrap(),
            no_module,
        )
        .unwrap();
        assert!(Path::new(&path("out.tif")).exists());
        let again = run(&parse(&[&whole, &path("out.tif")]).unwrap(), no_module).unwrap_err();
        assert!(again.to_string().contains("--force"), "{again}");

        for cut in [1000, 20] {
            let broken = path("broken.png");
            write_png(Path::new(&broken), cut);
            let error = run(&parse(&[&broken, &path("broken.tif")]).unwrap(), no_module).unwrap_err();
            assert!(
                error
                    .source()
                    .is_some_and(|e| e.to_string().contains("broken PNG")),
                "{error:?}"
            );
        }
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[cfg(feature = "mozjpeg")]
    #[test]
    fn a_jpeg_becomes_a_pyramid_and_a_truncated_one_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut encoder = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
        encoder.set_size(300, 200);
        let mut encoder = encoder.start_compress(Vec::new()).unwrap();
        let pixels: Vec<u8> = (0..300 * 200 * 3).map(|i| (i * 31 % 255) as u8).collect();
        encoder.write_scanlines(&pixels).unwrap();
        let bytes = encoder.finish().unwrap();

        std::fs::write(path("a.jpg"), &bytes).unwrap();
        run(&parse(&[&path("a.jpg"), &path("a.tif")]).unwrap(), no_module).unwrap();
        for keep in [bytes.len() / 2, bytes.len() / 50, 5] {
            std::fs::write(path("b.jpg"), &bytes[..keep]).unwrap();
            let error = run(&parse(&[&path("b.jpg"), &path("b.tif")]).unwrap(), no_module).unwrap_err();
            assert!(format!("{error:?}").contains("JPEG"), "{error:?}");
            assert!(!Path::new(&path("b.tif")).exists());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn other_files_are_left_to_the_modules() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("a.xyz");
        std::fs::write(&input, b"whatever").unwrap();
        let args = parse(&[&input.display().to_string(), "out.tif"]).unwrap();
        assert_eq!(
            run(&args, no_module).unwrap_err().to_string(),
            "no module opens it"
        );
    }
}
