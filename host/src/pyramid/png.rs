//! Rows of a PNG file.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit, SampleFormat};
use png::{BitDepth, ColorType, DecodingError, Transformations, Unit};

use super::source::{RowSource, SourceError, SourceInfo};
use crate::encode::tiff::{Metadata, PixelLayout};
use crate::limits::Size;

/// An interlaced picture is complete only after its last pass, so it is held whole, up to this size.
const MAX_INTERLACED_BYTES: usize = 1 << 30;

/// A PNG file being read.
pub(super) struct PngSource {
    info: SourceInfo,
    reader: png::Reader<BufReader<File>>,
    /// The whole picture where it is interlaced, and the bytes of it handed out.
    whole: Option<(Vec<u8>, usize)>,
}

impl PngSource {
    /// Opens a file; grey below 8 bits and palettes are expanded, transparent colors become alpha.
    ///
    /// # Errors
    /// `Format`, `Io`, `Unsupported` for an interlaced picture too large to hold.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Io {
            what: format!("{} could not be opened", path.display()),
            source,
        })?;
        let mut decoder = png::Decoder::new(BufReader::with_capacity(1 << 18, file));
        decoder.set_transformations(Transformations::EXPAND);
        let reader = decoder.read_info().map_err(broken)?;
        let (color, depth) = reader.output_color_type();
        let sample_format = match depth {
            BitDepth::Sixteen => SampleFormat::U16,
            _ => SampleFormat::U8,
        };
        let (model, alpha) = match color {
            ColorType::Grayscale => (ColorModel::Grey, AlphaMode::None),
            ColorType::GrayscaleAlpha => (ColorModel::Grey, AlphaMode::Unassociated),
            ColorType::Rgba => (ColorModel::Rgb, AlphaMode::Unassociated),
            ColorType::Rgb | ColorType::Indexed => (ColorModel::Rgb, AlphaMode::None),
        };
        let header = reader.info();
        let info = SourceInfo {
            size: Size::new(header.width, header.height),
            layout: PixelLayout::new(model, alpha, sample_format),
        };
        let mut source = Self {
            info,
            whole: None,
            reader,
        };
        if source.reader.info().interlaced {
            source.read_whole()?;
        }
        Ok(source)
    }

    fn read_whole(&mut self) -> Result<(), SourceError> {
        let bytes = self
            .reader
            .output_buffer_size()
            .filter(|&bytes| bytes <= MAX_INTERLACED_BYTES)
            .ok_or_else(|| {
                SourceError::unsupported(format!(
                    "an interlaced PNG of {} pixels must be held whole, more than {MAX_INTERLACED_BYTES} bytes; \
                     store it without interlacing",
                    self.info.size
                ))
            })?;
        let mut whole = vec![0; bytes];
        self.reader.next_frame(&mut whole).map_err(broken)?;
        self.whole = Some((whole, 0));
        Ok(())
    }
}

impl RowSource for PngSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError> {
        let ended = || SourceError::Format {
            format: "PNG",
            reason: "fewer rows than the header says".into(),
        };
        if let Some((whole, done)) = &mut self.whole {
            let end = *done + rows.len();
            rows.copy_from_slice(whole.get(*done..end).ok_or_else(ended)?);
            *done = end;
        } else {
            let row_bytes = self.info.row_bytes().unwrap_or(0).max(1);
            for row in rows.chunks_exact_mut(row_bytes) {
                self.reader.read_row(row).map_err(broken)?.ok_or_else(ended)?;
            }
        }
        // PNG samples are big-endian (PNG third edition, section 7.1).
        if self.info.layout.sample_format == SampleFormat::U16 && cfg!(target_endian = "little") {
            for sample in rows.chunks_exact_mut(2) {
                sample.swap(0, 1);
            }
        }
        Ok(())
    }

    fn metadata(&mut self) -> Result<Metadata, SourceError> {
        self.reader.finish().map_err(broken)?;
        let info = self.reader.info();
        let mut metadata = Metadata {
            icc: info.icc_profile.as_ref().map(|b| b.to_vec()),
            resolution: info.pixel_dims.and_then(|d| match d.unit {
                Unit::Meter => Some(Resolution {
                    x: f64::from(d.xppu) / 100.0,
                    y: f64::from(d.yppu) / 100.0,
                    unit: ResolutionUnit::Centimeter,
                }),
                Unit::Unspecified => None,
            }),
            ..Metadata::default()
        };
        for chunk in &info.utf8_text {
            // XMP specification part 3, section 1.1.5 (PNG).
            if chunk.keyword == "XML:com.adobe.xmp" {
                metadata.xmp = Some(chunk.get_text().map_err(broken_text)?.into_bytes());
            } else {
                add_text(
                    &mut metadata,
                    &chunk.keyword,
                    chunk.get_text().map_err(broken_text)?,
                );
            }
        }
        for chunk in &info.uncompressed_latin1_text {
            add_text(&mut metadata, &chunk.keyword, chunk.text.clone());
        }
        Ok(metadata)
    }
}

/// Keywords of the PNG third edition, section 11.3.3.1; the first of a kind wins.
fn add_text(metadata: &mut Metadata, keyword: &str, text: String) {
    let name = match keyword {
        "Title" => "title",
        "Author" => "creator",
        "Description" => "description",
        "Copyright" => "rights",
        _ => return,
    };
    if !metadata.text.iter().any(|(n, _)| n == name) {
        metadata.text.push((name.into(), text.into_bytes()));
    }
}

fn broken(error: DecodingError) -> SourceError {
    match error {
        DecodingError::IoError(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            SourceError::Io {
                what: "the PNG file could not be read".into(),
                source,
            }
        }
        other => SourceError::Format {
            format: "PNG",
            reason: other.to_string(),
        },
    }
}

fn broken_text(error: DecodingError) -> SourceError {
    SourceError::Format {
        format: "PNG",
        reason: format!("text: {error}"),
    }
}
