//! The one pass from rows to tiles of all levels.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;

use super::levels::level_sizes;
use super::output::{PartialFile, output_error};
use super::progress::Progress;
use super::reduce::{reduce, reduced_rows};
use super::source::RowSource;
use super::{Options, PyramidError, Summary, default_compression};
use crate::encode::tiff::{BlockEncoder, PixelLayout, PyramidWriter, TiffError};
use crate::limits::Size;

/// Bytes one row of tiles of the full size may take; the whole build needs about four times that.
const MAX_STRIP_BYTES: usize = 2 << 30;

/// Largest tile side: larger ones defeat their purpose, and JPEG ends at 65,500.
const MAX_TILE_SIZE: u32 = 4096;

/// Makes the pyramid of `source` at `out`.
///
/// # Errors
/// See [`PyramidError`]; on every one the file at `out` is as it was before.
pub fn build(
    mut source: Box<dyn RowSource + '_>,
    out: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Summary, PyramidError> {
    let pool = match options.threads {
        Some(threads) => Some(
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .map_err(|e| PyramidError::Usage {
                    reason: format!("{threads} threads: {e}"),
                })?,
        ),
        None => None,
    };
    let started = Instant::now();
    let info = *source.info();
    let compression = options
        .compression
        .unwrap_or_else(|| default_compression(&info.layout));
    let encoder = BlockEncoder::new(compression, info.layout).map_err(|e| tiff_error(out, e))?;
    if options.tile_size > MAX_TILE_SIZE {
        return Err(PyramidError::Usage {
            reason: format!("tile size {}, expected 16 to {MAX_TILE_SIZE}", options.tile_size),
        });
    }
    let sizes = level_sizes(info.size, options.tile_size);
    let row_bytes = info.row_bytes().filter(|&row| {
        row > 0
            && row
                .checked_mul(options.tile_size as usize)
                .is_some_and(|strip| strip <= MAX_STRIP_BYTES)
    });
    let Some(row_bytes) = row_bytes.filter(|_| info.size.height > 0) else {
        return Err(PyramidError::Usage {
            reason: format!(
                "a row of {} tiles of a picture of {} pixels needs more than {MAX_STRIP_BYTES} bytes",
                options.tile_size, info.size
            ),
        });
    };

    let (partial, file) = PartialFile::create(out, options.force)?;
    let writer = PyramidWriter::new(BufWriter::with_capacity(1 << 20, file), &sizes, options.tile_size)
        .map_err(|e| tiff_error(out, e))?;
    let mut cascade = Cascade::new(writer, &encoder, &sizes, options.tile_size);

    // While the pool compresses one row of tiles, this thread reads the next.
    progress.start(u64::from(info.size.height));
    let mut read = || -> Result<(), PyramidError> {
        let strip_rows = |at: u32| (info.size.height - at).min(options.tile_size);
        let mut current = vec![0; strip_rows(0) as usize * row_bytes];
        let mut next = Vec::new();
        source.read_rows(&mut current)?;
        let mut at = 0;
        while at < info.size.height {
            if options.cancel.is_cancelled() {
                return Err(PyramidError::Cancelled);
            }
            let rows = strip_rows(at);
            let after = at + rows;
            next.resize(strip_rows(after) as usize * row_bytes, 0);
            let mut written = Ok(());
            let mut delivered = Ok(());
            let next_rows = &mut next;
            in_place(pool.as_ref(), |scope| {
                scope.spawn(|_| written = cascade.put(0, &current, rows));
                if !next_rows.is_empty() {
                    delivered = source.read_rows(next_rows);
                }
            });
            written.map_err(|e| tiff_error(out, e))?;
            delivered.map_err(|e| {
                if options.cancel.is_cancelled() {
                    PyramidError::Cancelled
                } else {
                    e.into()
                }
            })?;
            std::mem::swap(&mut current, &mut next);
            at = after;
            progress.advance(u64::from(at));
        }
        Ok(())
    };
    let result = read();
    progress.finish();
    result?;

    let metadata = source.metadata()?;
    let (buffered, written) = cascade
        .writer
        .finish(&encoder, &metadata)
        .map_err(|e| tiff_error(out, e))?;
    let file: File = buffered
        .into_inner()
        .map_err(|e| output_error(out, e.into_error()))?;
    if options.cancel.is_cancelled() {
        return Err(PyramidError::Cancelled);
    }
    partial.commit(file)?;
    Ok(Summary {
        size: info.size,
        levels: sizes.len(),
        tiles: written.tiles,
        bytes: written.bytes,
        compression,
        elapsed: started.elapsed(),
    })
}

/// Runs `both` on this thread, what it spawns on the pool (the process-wide one if there is none).
fn in_place<'scope>(pool: Option<&rayon::ThreadPool>, both: impl FnOnce(&rayon::Scope<'scope>)) {
    match pool {
        Some(pool) => pool.in_place_scope(both),
        None => rayon::in_place_scope(both),
    }
}

fn tiff_error(out: &Path, error: TiffError) -> PyramidError {
    match error {
        TiffError::Io { source } => output_error(out, source),
        TiffError::Unsupported { reason } | TiffError::Usage { reason } => PyramidError::Usage { reason },
        source => PyramidError::Compression { source },
    }
}

/// All levels of a pyramid being written.
struct Cascade<'a> {
    writer: PyramidWriter<BufWriter<File>>,
    encoder: &'a BlockEncoder,
    tile_size: u32,
    levels: Vec<Level>,
}

/// One level: the row of tiles being collected.
struct Level {
    size: Size,
    tile_row: u32,
    /// Rows collected for the current row of tiles.
    filled: u32,
    /// Rows of earlier rows of tiles.
    flushed: u32,
    /// Room for one row of tiles; unused for the full size, whose rows come as strips.
    strip: Vec<u8>,
}

impl<'a> Cascade<'a> {
    fn new(
        writer: PyramidWriter<BufWriter<File>>,
        encoder: &'a BlockEncoder,
        sizes: &[Size],
        tile_size: u32,
    ) -> Self {
        let pixel_bytes = encoder.layout().pixel_bytes();
        let levels = sizes
            .iter()
            .enumerate()
            .map(|(level, &size)| Level {
                size,
                tile_row: 0,
                filled: 0,
                flushed: 0,
                strip: if level == 0 {
                    Vec::new()
                } else {
                    vec![0; size.width as usize * size.height.min(tile_size) as usize * pixel_bytes]
                },
            })
            .collect();
        Self {
            writer,
            encoder,
            tile_size,
            levels,
        }
    }

    /// Takes one row of tiles (the last one may be lower) of level `idx`: writes its tiles and hands its
    /// averaged rows down. Recursion is as deep as there are levels, at most 32.
    fn put(&mut self, idx: usize, strip: &[u8], rows: u32) -> Result<(), TiffError> {
        let layout = *self.encoder.layout();
        let Some(level) = self.levels.get_mut(idx) else {
            return Ok(());
        };
        let size = level.size;
        let tile_row = level.tile_row;
        level.tile_row += 1;
        level.flushed += rows;
        self.write_tiles(idx, size, tile_row, strip, rows)?;

        let Some(below) = self.levels.get_mut(idx + 1) else {
            return Ok(());
        };
        // Tiles have an even number of rows, so pairs never straddle two strips.
        let room = below.size.height - below.flushed - below.filled;
        let new_rows = reduced_rows(rows, size.height).min(room);
        let row_bytes = below.size.width as usize * layout.pixel_bytes();
        let start = below.filled as usize * row_bytes;
        let end = start + new_rows as usize * row_bytes;
        let Some(target) = below.strip.get_mut(start..end) else {
            return Err(TiffError::Usage {
                reason: format!("{new_rows} rows do not fit the tiles of level {}", idx + 1),
            });
        };
        reduce(strip, size.width, &layout, target);
        below.filled += new_rows;
        let complete = below.flushed + below.filled == below.size.height;
        if below.filled > 0 && (complete || below.filled == self.tile_size) {
            let filled = std::mem::take(&mut below.filled);
            let collected = std::mem::take(&mut below.strip);
            self.put(idx + 1, &collected[..filled as usize * row_bytes], filled)?;
            if let Some(below) = self.levels.get_mut(idx + 1) {
                below.strip = collected;
            }
        }
        Ok(())
    }

    fn write_tiles(
        &mut self,
        level: usize,
        size: Size,
        tile_row: u32,
        strip: &[u8],
        rows: u32,
    ) -> Result<(), TiffError> {
        let encoder = self.encoder;
        let tile_size = self.tile_size;
        let tiles: Vec<Vec<u8>> = (0..size.width.div_ceil(tile_size))
            .into_par_iter()
            .map_init(Vec::new, |pixels, tile_col| {
                cut_tile(
                    strip,
                    size.width,
                    rows,
                    tile_col,
                    tile_size,
                    encoder.layout(),
                    pixels,
                );
                encoder.encode(pixels, tile_size, tile_size)
            })
            .collect::<Result<_, _>>()?;
        for (tile_col, bytes) in (0_u32..).zip(&tiles) {
            self.writer.append(level, tile_col, tile_row, bytes)?;
        }
        Ok(())
    }
}

/// Copies one tile out of a row of tiles; past the edges the last column and row are repeated, which
/// compresses best and leaves no seam in lossy tiles.
fn cut_tile(
    strip: &[u8],
    width: u32,
    rows: u32,
    tile_col: u32,
    tile_size: u32,
    layout: &PixelLayout,
    out: &mut Vec<u8>,
) {
    let pixel = layout.pixel_bytes();
    let row_bytes = width as usize * pixel;
    let left = (tile_col * tile_size) as usize * pixel;
    let tile_row_bytes = tile_size as usize * pixel;
    let right = (left + tile_row_bytes).min(row_bytes);
    out.clear();
    for row in strip.chunks_exact(row_bytes).take(rows as usize) {
        let inside = &row[left..right];
        out.extend_from_slice(inside);
        let edge = &inside[inside.len() - pixel..];
        for _ in 0..(tile_row_bytes - inside.len()) / pixel {
            out.extend_from_slice(edge);
        }
    }
    let last = out.len() - tile_row_bytes;
    for _ in rows..tile_size {
        out.extend_from_within(last..last + tile_row_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit, SampleFormat};
    use tiff::decoder::{Decoder, DecodingResult};
    use tiff::tags::Tag;

    use super::*;
    use crate::encode::tiff::{Compression, Metadata};
    use crate::pyramid::{Silent, SourceError, SourceInfo};

    /// Samples computed from their place, and a fault after some rows if wanted.
    struct Pattern {
        info: SourceInfo,
        at: u32,
        fails_at: u32,
    }

    fn value(x: u32, y: u32, band: u32) -> u32 {
        (x * 7 + y * 13 + band * 71 + (x * y) % 17) % 256
    }

    impl RowSource for Pattern {
        fn info(&self) -> &SourceInfo {
            &self.info
        }

        fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError> {
            let layout = self.info.layout;
            for row in rows.chunks_exact_mut(self.info.row_bytes().unwrap()) {
                if self.at == self.fails_at {
                    return Err(SourceError::unsupported("a fault"));
                }
                let samples = row.chunks_exact_mut(layout.sample_format.bytes());
                for (i, sample) in (0..).zip(samples) {
                    let value = value(i / layout.band_count, self.at, i % layout.band_count);
                    match sample {
                        [one] => *one = value as u8,
                        two => two.copy_from_slice(&(value as u16 * 257).to_ne_bytes()),
                    }
                }
                self.at += 1;
            }
            Ok(())
        }

        fn metadata(&mut self) -> Result<Metadata, SourceError> {
            Ok(Metadata {
                icc: Some(vec![5; 300]),
                xmp: Some(b"<x:xmpmeta/>".to_vec()),
                resolution: Some(Resolution {
                    x: 300.0,
                    y: 300.0,
                    unit: ResolutionUnit::Inch,
                }),
                text: vec![("title".into(), b"A title".to_vec())],
            })
        }
    }

    fn pattern(width: u32, height: u32, layout: PixelLayout) -> Box<Pattern> {
        Box::new(Pattern {
            info: SourceInfo {
                size: Size::new(width, height),
                layout,
            },
            at: 0,
            fails_at: u32::MAX,
        })
    }

    fn make(source: Box<Pattern>, compression: Compression, tile_size: u32) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.tif");
        let options = Options {
            tile_size,
            compression: Some(compression),
            threads: Some(2),
            ..Options::default()
        };
        build(source, &out, &options, &Silent).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::read(&out).unwrap()
    }

    /// Levels as an independent reader sees them: width, height, samples.
    fn levels(file: &[u8]) -> Vec<(u32, u32, Vec<u32>)> {
        let mut decoder = Decoder::new(Cursor::new(file)).unwrap();
        let mut levels = Vec::new();
        loop {
            let (width, height) = decoder.dimensions().unwrap();
            let samples = match decoder.read_image().unwrap() {
                DecodingResult::U8(v) => v.into_iter().map(u32::from).collect(),
                DecodingResult::U16(v) => v.into_iter().map(u32::from).collect(),
                other => panic!("{other:?}"),
            };
            let subfile = decoder.get_tag_u32(Tag::NewSubfileType).unwrap();
            assert_eq!(subfile, u32::from(!levels.is_empty()));
            levels.push((width, height, samples));
            if !decoder.more_images() {
                return levels;
            }
            decoder.next_image().unwrap();
        }
    }

    fn halve(width: u32, height: u32, bands: u32, samples: &[u32]) -> (u32, u32, Vec<u32>) {
        let (w, h) = ((width / 2).max(1), (height / 2).max(1));
        let at = |x: u32, y: u32, b: u32| {
            let (x, y) = (x.min(width - 1), y.min(height - 1));
            samples[((y * width + x) * bands + b) as usize]
        };
        let mut out = Vec::new();
        for y in 0..h {
            for x in 0..w {
                for b in 0..bands {
                    let sum = at(2 * x, 2 * y, b)
                        + at(2 * x + 1, 2 * y, b)
                        + at(2 * x, 2 * y + 1, b)
                        + at(2 * x + 1, 2 * y + 1, b);
                    out.push((sum + 2) / 4);
                }
            }
        }
        (w, h, out)
    }

    #[test]
    fn every_level_is_the_exact_mean_of_the_one_above_in_every_lossless_form() {
        let compressions = [
            Compression::None,
            Compression::Lzw,
            Compression::Deflate { level: 6 },
            Compression::Zstandard { level: 3 },
        ];
        let layouts = [
            (ColorModel::Grey, SampleFormat::U8),
            (ColorModel::Rgb, SampleFormat::U8),
            (ColorModel::Rgb, SampleFormat::U16),
        ];
        for compression in compressions {
            for (color, format) in layouts {
                for (width, height) in [(205, 131), (64, 64), (1, 97), (150, 1), (33, 65)] {
                    if compression == Compression::Lzw && width != 64 {
                        // This reader loses its place in the padding columns of LZW tiles; libtiff and
                        // weezl itself read them.
                        continue;
                    }
                    let layout = PixelLayout::new(color, AlphaMode::None, format);
                    let bands = layout.band_count;
                    let file = make(pattern(width, height, layout), compression, 32);
                    let found = levels(&file);
                    let scale = if format == SampleFormat::U8 { 1 } else { 257 };
                    let mut expected = (width, height, Vec::new());
                    for y in 0..height {
                        for x in 0..width {
                            expected.2.extend((0..bands).map(|b| value(x, y, b) * scale));
                        }
                    }
                    assert_eq!(found.len(), level_sizes(Size::new(width, height), 32).len());
                    for (k, level) in found.iter().enumerate() {
                        assert!(
                            *level == expected,
                            "level {k} of {width}x{height}, {compression:?}, {format:?}"
                        );
                        expected = halve(expected.0, expected.1, bands, &expected.2);
                    }
                }
            }
        }
    }

    #[test]
    fn jpeg_tiles_share_their_tables_and_decode_close_to_the_source() {
        let layout = PixelLayout::new(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        let mut source = pattern(100, 80, layout);
        source.info.size = Size::new(100, 80);
        let file = make(source, crate::pyramid::jpeg_compression(95), 64);
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        assert!(decoder.find_tag(Tag::JPEGTables).unwrap().is_some());
        let found = levels(&file);
        assert_eq!(found.len(), 2);
        let error: u32 = found[0]
            .2
            .iter()
            .zip((0..80).flat_map(|y| (0..100).map(move |x| value(x, y, 0))))
            .map(|(&a, b)| a.abs_diff(b))
            .sum();
        assert!(error / 8000 < 12, "mean error {}", error / 8000);
    }

    #[test]
    fn metadata_stands_in_the_first_directory() {
        let layout = PixelLayout::new(ColorModel::Rgb, AlphaMode::Unassociated, SampleFormat::U8);
        let file = make(pattern(70, 40, layout), Compression::Deflate { level: 1 }, 32);
        let mut decoder = Decoder::new(Cursor::new(&file)).unwrap();
        assert_eq!(
            decoder
                .find_tag(Tag::IccProfile)
                .unwrap()
                .unwrap()
                .into_u8_vec()
                .unwrap(),
            [5; 300]
        );
        assert_eq!(
            decoder.get_tag_u8_vec(Tag::Unknown(700)).unwrap(),
            b"<x:xmpmeta/>"
        );
        assert_eq!(
            decoder.get_tag_ascii_string(Tag::Unknown(269)).unwrap(),
            "A title"
        );
        assert_eq!(decoder.get_tag_u32(Tag::ResolutionUnit).unwrap(), 2);
        assert_eq!(decoder.get_tag_u32_vec(Tag::XResolution).unwrap(), [300, 1]);
        assert_eq!(decoder.get_tag_u32_vec(Tag::ExtraSamples).unwrap(), [2]);
        let software = decoder.get_tag_ascii_string(Tag::Software).unwrap();
        assert!(software.starts_with("iiphost/"), "{software}");
        decoder.next_image().unwrap();
        assert_eq!(decoder.get_tag_u32_vec(Tag::XResolution).unwrap(), [150, 1]);
    }

    #[test]
    fn a_fault_of_the_source_and_a_cancelled_build_leave_no_file() {
        let layout = PixelLayout::new(ColorModel::Grey, AlphaMode::None, SampleFormat::U8);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.tif");
        for fails_at in [0, 63, 64, 199] {
            let mut source = pattern(100, 200, layout);
            source.fails_at = fails_at;
            let options = Options {
                tile_size: 64,
                ..Options::default()
            };
            let error = build(source, &out, &options, &Silent).unwrap_err();
            assert!(matches!(error, PyramidError::Source { .. }), "{error:?}");
        }
        let options = Options::default();
        options.cancel.cancel();
        let error = build(pattern(100, 600, layout), &out, &options, &Silent).unwrap_err();
        assert!(matches!(error, PyramidError::Cancelled), "{error:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_device_is_named() {
        let full = Path::new("/dev/full");
        let error = std::fs::OpenOptions::new()
            .write(true)
            .open(full)
            .and_then(|mut f| std::io::Write::write_all(&mut f, b"x"))
            .unwrap_err();
        assert!(matches!(output_error(full, error), PyramidError::DiskFull { .. }));
    }
}
