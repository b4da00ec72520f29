//! Rows of a JPEG file.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit, SampleFormat};
use mozjpeg::{ColorSpace, Decompress, Marker, PixelDensityUnit};

use super::source::{RowSource, SourceError, SourceInfo};
use crate::encode::tiff::{Metadata, PixelLayout};
use crate::limits::Size;

/// A JPEG file being read.
pub(super) struct JpegSource {
    info: SourceInfo,
    metadata: Metadata,
    decoder: mozjpeg::decompress::DecompressStarted<Watched>,
    ended: Rc<Cell<bool>>,
}

impl JpegSource {
    /// Opens a grey or color file.
    ///
    /// # Errors
    /// `Format`, `Io`, `Unsupported` for CMYK.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Io {
            what: format!("{} could not be opened", path.display()),
            source,
        })?;
        let ended = Rc::new(Cell::new(false));
        let input = Watched {
            file: BufReader::with_capacity(1 << 18, file),
            ended: Rc::clone(&ended),
        };
        guarded(|| {
            let mut decoder =
                Decompress::with_markers(&[Marker::APP(1), Marker::APP(2)]).from_reader(input)?;
            let model = match decoder.color_space() {
                ColorSpace::JCS_GRAYSCALE => ColorModel::Grey,
                ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
                    return Ok(Err(SourceError::unsupported(
                        "a CMYK JPEG has no exact RGB form without its profile; convert it to RGB first",
                    )));
                }
                _ => ColorModel::Rgb,
            };
            let side = |n: usize| u32::try_from(n).unwrap_or(0);
            let info = SourceInfo {
                size: Size::new(side(decoder.width()), side(decoder.height())),
                layout: PixelLayout::new(model, AlphaMode::None, SampleFormat::U8),
            };
            let metadata = metadata(&mut decoder);
            let decoder = if model == ColorModel::Grey {
                decoder.grayscale()?
            } else {
                decoder.rgb()?
            };
            Ok(Ok(Self {
                info,
                metadata,
                decoder,
                ended,
            }))
        })?
    }
}

impl RowSource for JpegSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError> {
        guarded(|| self.decoder.read_scanlines_into(rows).map(|_| ()))?;
        if self.ended.get() {
            return Err(SourceError::Format {
                format: "JPEG",
                reason: "the file ends before the picture does".into(),
            });
        }
        Ok(())
    }

    fn metadata(&mut self) -> Result<Metadata, SourceError> {
        Ok(std::mem::take(&mut self.metadata))
    }
}

/// Runs calls of libjpeg, which reports broken files by unwinding.
fn guarded<T>(calls: impl FnOnce() -> io::Result<T>) -> Result<T, SourceError> {
    let broken = |reason: String| SourceError::Format {
        format: "JPEG",
        reason,
    };
    match catch_unwind(AssertUnwindSafe(calls)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.raw_os_error().is_some() => Err(SourceError::Io {
            what: "the JPEG file could not be read".into(),
            source: error,
        }),
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(cause) => Err(broken(match cause.downcast_ref::<String>() {
            Some(message) => message.clone(),
            None => "libjpeg gave up".into(),
        })),
    }
}

fn metadata<R>(decoder: &mut Decompress<R>) -> Metadata {
    let resolution = decoder.pixel_density().and_then(|d| {
        let unit = match d.unit {
            PixelDensityUnit::Inches => ResolutionUnit::Inch,
            PixelDensityUnit::Centimeters => ResolutionUnit::Centimeter,
            PixelDensityUnit::PixelAspectRatio => return None,
        };
        Some(Resolution {
            x: f64::from(d.x),
            y: f64::from(d.y),
            unit,
        })
    });
    let mut xmp = None;
    let mut icc: Vec<(u8, &[u8])> = Vec::new();
    for marker in decoder.markers() {
        match marker.marker {
            // XMP specification part 3, section 1.1.3 (JPEG).
            Marker::APP(1) => {
                if let Some(packet) = marker.data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                    xmp.get_or_insert_with(|| packet.to_vec());
                }
            }
            // ICC.1:2022 annex B.4: sequence number from 1, count, part of the profile.
            Marker::APP(2) => {
                if let Some([number, count, part @ ..]) = marker.data.strip_prefix(b"ICC_PROFILE\0")
                    && number <= count
                {
                    icc.push((*number, part));
                }
            }
            _ => {}
        }
    }
    icc.sort_by_key(|(number, _)| *number);
    let complete = icc
        .iter()
        .zip(1_u8..)
        .all(|((number, _), expected)| *number == expected);
    if !complete {
        tracing::warn!("the ICC profile of the JPEG file lacks a part, it is left out");
    }
    Metadata {
        icc: (complete && !icc.is_empty())
            .then(|| icc.iter().flat_map(|(_, part)| part.iter().copied()).collect()),
        xmp,
        resolution,
        text: Vec::new(),
    }
}

/// A file that notes when it was read past its end: libjpeg then invents an end and grey pixels, with
/// nothing but a warning.
struct Watched {
    file: BufReader<File>,
    ended: Rc<Cell<bool>>,
}

impl Read for Watched {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(out)?;
        self.ended
            .set(self.ended.get() || (count == 0 && !out.is_empty()));
        Ok(count)
    }
}

impl BufRead for Watched {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.file.fill_buf()?;
        if bytes.is_empty() {
            self.ended.set(true);
        }
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.file.consume(count);
    }
}
