//! Pictures in memory → picture files.
//!
//! One encoder a format, each behind [`Encoder`]; [`encode`] checks what all of them rely on, picks one and
//! logs what metadata the format could not take. Which metadata a reply carries is the caller's rule; only
//! the limits of a format are applied here. Nothing here reads files, scales pixels or converts colors.
//!
//! ```
//! use iiphost::encode::{EncoderConfig, Metadata, Settings, encode};
//! use iiphost::limits::Size;
//! use iiphost::raster::Raster;
//! use iiphost::view::{Output, OutputFormat};
//! use iiphost_plugin_api::SampleFormat;
//!
//! let raster = Raster::zeros(Size::new(256, 256), 3, SampleFormat::U8, 1 << 20)?;
//! let settings = Settings::resolve(Output::new(OutputFormat::Jpeg), &EncoderConfig::default());
//! let file = encode(&raster, &settings, &Metadata::default())?;
//! assert!(file.starts_with(b"\xff\xd8\xff\xe0"));
//! # Ok::<(), iiphost::error::Error>(())
//! ```

#[cfg(any(feature = "avif", feature = "webp"))]
mod aside;
#[cfg(feature = "avif")]
mod avif;
#[cfg(feature = "avif")]
mod avif_container;
mod control;
pub mod exif;
mod jpeg;
pub mod jpeg_markers;
mod metadata;
mod png;
mod rows;
mod settings;
pub mod tiff;
#[cfg(feature = "webp")]
mod webp;
pub mod webp_container;

#[cfg(test)]
pub(crate) mod test_pictures;

use std::io::Write;

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use crate::error::Error;
use crate::limits::Size;
use crate::raster::Raster;
use crate::view::{OutputFormat, TiffCompression};

pub use control::{Control, Held};
pub use metadata::Metadata;
pub use rows::{AtOnce, Rows, Shape};
pub use settings::{EncoderConfig, Settings};

/// Name and version of the product, as written into pictures.
pub const PRODUCT: &str = concat!("iiphost/", env!("CARGO_PKG_VERSION"));

/// Writes one file format.
pub trait Encoder: Send + Sync {
    /// Encodes a picture that [`encode_while`] has checked, asking `control` between the parts of the work. It takes the
    /// picture: a codec that cannot be stopped may still have it when nobody waits any more.
    ///
    /// # Errors
    /// A fault of stage `encode` with the cause; what `control` says.
    fn encode(
        &self,
        raster: Raster,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
    ) -> Result<Encoded, Error>;
}

/// Writes a file format from its first byte to its last while the rows come: neither picture nor file is ever whole
/// in memory.
pub trait RowEncoder: Send + Sync {
    /// Encodes the rows of a picture of the given shape, which [`encode_rows`] has checked, asking `control` between
    /// the parts of the work. Gives the metadata the file does not hold although it was given, each with the reason.
    ///
    /// # Errors
    /// A fault of stage `encode` with the cause; what `rows` and `control` say. What was written stays written.
    fn encode_rows(
        &self,
        shape: &Shape,
        rows: &mut dyn Rows,
        settings: &Settings,
        metadata: &Metadata,
        control: Control<'_>,
        out: &mut dyn Write,
    ) -> Result<Vec<String>, Error>;
}

/// An encoded picture.
#[derive(Debug)]
pub struct Encoded {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Metadata the file does not hold although it was given, each with the reason.
    pub left_out: Vec<String>,
}

/// Encodes a copy of a picture; [`encode_while`] takes it, and can be stopped.
///
/// # Errors
/// As [`encode_while`].
pub fn encode(raster: &Raster, settings: &Settings, metadata: &Metadata) -> Result<Vec<u8>, Error> {
    encode_while(raster.clone(), settings, metadata, Control::NONE)
}

/// Encodes a picture for as long as `control` lets it.
///
/// The raster holds `U8` samples of full scale (PNG, AVIF: also `U16` of any bit depth, in stored units) in 1, 2, 3 or 4
/// bands: grey or RGB, the even counts with unassociated alpha behind. JPEG takes 1 and 3 bands.
/// Metadata that is broken or that the format cannot hold is left out with a warning in the log.
///
/// # Errors
/// 400 when a side is over the limit of the format; a fault when the raster is not of the kind above
/// or the encoder fails; what `control` says.
pub fn encode_while(
    raster: Raster,
    settings: &Settings,
    metadata: &Metadata,
    control: Control<'_>,
) -> Result<Vec<u8>, Error> {
    encode_by(encoder(settings.format())?, raster, settings, metadata, control)
}

/// [`encode_while`] by an encoder of the format.
pub(crate) fn encode_by(
    encoder: &dyn Encoder,
    raster: Raster,
    settings: &Settings,
    metadata: &Metadata,
    control: Control<'_>,
) -> Result<Vec<u8>, Error> {
    let format = settings.format();
    let shape = Shape::of(&raster);
    check_size(format, raster.size)?;
    check_samples(&raster)?;
    check_shape(format, &shape)?;
    let (metadata, mut left_out) = metadata.usable_for(&shape);
    let encoded = encoder.encode(raster, settings, &metadata, control)?;
    left_out.extend(encoded.left_out);
    tell(format, &left_out);
    Ok(encoded.bytes)
}

/// Encodes the rows of a picture while they come, to `out`, for as long as `control` lets it. The bytes are those of
/// [`encode_while`] for the picture at once. Only formats that [`takes_rows`] names.
///
/// # Errors
/// As [`encode_while`], and what `rows` say. What was written by then stays written.
pub fn encode_rows(
    shape: &Shape,
    rows: &mut dyn Rows,
    settings: &Settings,
    metadata: &Metadata,
    control: Control<'_>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let format = settings.format();
    check_size(format, shape.size)?;
    check_shape(format, shape)?;
    let encoder: &dyn RowEncoder = match format {
        OutputFormat::Jpeg => &jpeg::JpegEncoder,
        OutputFormat::Png => &png::PngEncoder,
        other => return Err(fault(format!("{} row by row", other.media_type()))),
    };
    let (metadata, mut left_out) = metadata.usable_for(shape);
    let mut out = Reliable { out, failed: None };
    let encoded = encoder.encode_rows(shape, rows, settings, &metadata, control, &mut out);
    if let Some(reason) = out.failed {
        return Err(fault(format!("output: {reason}")));
    }
    left_out.extend(encoded?);
    tell(format, &left_out);
    Ok(())
}

/// An output that takes nothing after an error, and keeps it: encoders lose errors of their last writes, and write once
/// more when they are dropped.
struct Reliable<'a> {
    out: &'a mut dyn Write,
    failed: Option<String>,
}

impl Write for Reliable<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(reason) = &self.failed {
            return Err(std::io::Error::other(reason.clone()));
        }
        let written = self.out.write(bytes);
        if let Err(error) = &written
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.failed = Some(error.to_string());
        }
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Whether pictures of a format can be encoded row by row. The others have numbers at their beginning that are known at
/// their end.
#[must_use]
pub const fn takes_rows(format: OutputFormat) -> bool {
    matches!(format, OutputFormat::Jpeg | OutputFormat::Png)
}

fn tell(format: OutputFormat, left_out: &[String]) {
    for reason in left_out {
        tracing::warn!(format = format.extension(), %reason, "metadata left out of a picture");
    }
}

/// Formats this build can write, in the order they are listed to clients.
#[must_use]
pub const fn available_formats() -> &'static [OutputFormat] {
    &[
        OutputFormat::Jpeg,
        OutputFormat::Png,
        #[cfg(feature = "webp")]
        OutputFormat::WebP,
        #[cfg(feature = "avif")]
        OutputFormat::Avif,
        OutputFormat::Tiff,
    ]
}

/// The longest side a picture of this format can have.
#[must_use]
pub const fn size_limit(format: OutputFormat) -> u32 {
    match format {
        // libjpeg's JPEG_MAX_DIMENSION; ITU-T T.81 itself allows 65,535.
        OutputFormat::Jpeg => 65_500,
        // PNG 3rd edition, 11.2.1.
        OutputFormat::Png => i32::MAX as u32,
        // RFC 9649, 2.7.1.3 (VP8): 14 bits a side.
        OutputFormat::WebP => 16_383,
        // AV1 5.5.1 allows 65,536, rav1e one less.
        OutputFormat::Avif => 65_535,
        OutputFormat::Tiff => u32::MAX,
    }
}

/// The most pixels a picture of this format can have.
#[must_use]
pub const fn pixel_limit(format: OutputFormat) -> u64 {
    match format {
        // What libavif reads unless told otherwise: 16,384 squared.
        OutputFormat::Avif => 1 << 28,
        _ => u64::MAX,
    }
}

/// Rows an encoder takes between two questions: about a megapixel.
fn rows_between_questions(size: Size) -> usize {
    ((1 << 20) / size.width.max(1) as usize).max(16)
}

/// Refuses pictures no file of this format can hold; to be asked before any work is done.
///
/// # Errors
/// 400 with the limit named.
pub fn check_size(format: OutputFormat, size: Size) -> Result<(), Error> {
    let limit = size_limit(format);
    if size.longer() > limit {
        return Err(Error::bad_request(format!(
            "{size} pixels are too many for {}: {limit} a side is the limit of the format",
            format.media_type()
        )));
    }
    let limit = pixel_limit(format);
    if size.pixels() > limit {
        return Err(Error::bad_request(format!(
            "{size} pixels are too many for {}: {limit} is the most a picture can have",
            format.media_type()
        )));
    }
    Ok(())
}

/// Refuses pictures no file with these settings can hold: the limits of the format, and of what compresses the
/// strips of a TIFF.
///
/// # Errors
/// 400 with the limit named.
pub fn check_size_for(settings: &Settings, size: Size) -> Result<(), Error> {
    check_size(settings.format(), size)?;
    let Settings::Tiff { compression, .. } = settings else {
        return Ok(());
    };
    let (name, limit) = match compression {
        TiffCompression::Jpeg => ("JPEG", size_limit(OutputFormat::Jpeg)),
        TiffCompression::WebP => ("WebP", size_limit(OutputFormat::WebP)),
        _ => return Ok(()),
    };
    if size.width > limit {
        return Err(Error::bad_request(format!(
            "{size} pixels are too many for TIFF with {name} compression: {limit} across is its limit"
        )));
    }
    Ok(())
}

/// Band counts an encoder takes; empty means any.
#[must_use]
pub const fn accepted_bands(format: OutputFormat) -> &'static [u32] {
    match format {
        OutputFormat::Jpeg => &[1, 3],
        OutputFormat::Png | OutputFormat::WebP | OutputFormat::Avif => &[1, 2, 3, 4],
        OutputFormat::Tiff => &[],
    }
}

fn encoder(format: OutputFormat) -> Result<&'static dyn Encoder, Error> {
    match format {
        OutputFormat::Jpeg => Ok(&jpeg::JpegEncoder),
        OutputFormat::Png => Ok(&png::PngEncoder),
        OutputFormat::Tiff => Ok(&tiff::TiffEncoder),
        #[cfg(feature = "webp")]
        OutputFormat::WebP => Ok(&webp::WebPEncoder),
        #[cfg(feature = "avif")]
        OutputFormat::Avif => Ok(&avif::AvifEncoder),
        #[allow(unreachable_patterns, reason = "depends on the features of the build")]
        other => Err(Error::NotImplemented {
            message: format!("this server does not write {}", other.media_type()),
        }),
    }
}

fn fault(reason: impl Into<String>) -> Error {
    Error::fault("encode", reason)
}

/// Runs code that may unwind on errors (C libraries, AV1) and makes that a fault. What `work` moves in is lost
/// then, so nothing half done is seen.
#[cfg(any(feature = "mozjpeg", feature = "avif"))]
fn contained<T>(encoder: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let cause = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied());
        Err(fault(format!("{encoder}: {}", cause.unwrap_or("gave up"))))
    })
}

/// Checks that there are as many samples as the size says.
fn check_samples(raster: &Raster) -> Result<(), Error> {
    let size = raster.size;
    let expected = size.pixels().checked_mul(u64::from(raster.band_count));
    let found = raster.samples.len();
    if expected != Some(found as u64) {
        return Err(fault(format!(
            "{size} pixels of {} bands with {found} samples",
            raster.band_count
        )));
    }
    Ok(())
}

/// Checks what the encoders rely on: no empty side, a layout they know.
fn check_shape(format: OutputFormat, shape: &Shape) -> Result<(), Error> {
    let size = shape.size;
    if size.width == 0 || size.height == 0 {
        return Err(fault(format!("{size} pixels: a picture needs at least one")));
    }
    if format == OutputFormat::Tiff {
        return Ok(());
    }
    if !accepted_bands(format).contains(&shape.band_count) {
        return Err(fault(format!(
            "{} bands for {}",
            shape.band_count,
            format.media_type()
        )));
    }
    let expected_alpha = match shape.band_count {
        2 | 4 => AlphaMode::Unassociated,
        _ => AlphaMode::None,
    };
    if shape.alpha != expected_alpha {
        return Err(fault(format!(
            "{} bands with alpha {:?}, expected {expected_alpha:?}",
            shape.band_count, shape.alpha
        )));
    }
    if matches!(shape.color_model, ColorModel::CieLab | ColorModel::Cmyk) {
        return Err(fault(format!(
            "color model {:?} for {}",
            shape.color_model,
            format.media_type()
        )));
    }
    match (shape.format, format) {
        (SampleFormat::U8, _) => Ok(()),
        (SampleFormat::U16, OutputFormat::Png | OutputFormat::Avif)
            if (1..=16).contains(&shape.bit_depth) =>
        {
            Ok(())
        }
        _ => Err(fault(format!(
            "{:?} samples of {} bits for {}",
            shape.format,
            shape.bit_depth,
            format.media_type()
        ))),
    }
}

/// The samples of a raster that [`check_shape`] found to be bytes.
fn bytes_of(raster: &Raster) -> Result<&[u8], Error> {
    raster
        .as_u8()
        .ok_or_else(|| fault(format!("{:?} samples, expected U8", raster.samples.format())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{grey, picture, rgb, rgba};
    use crate::raster::Samples;
    use crate::view::Output;

    fn settings(format: OutputFormat) -> Settings {
        Settings::resolve(Output::new(format), &EncoderConfig::default())
    }

    #[test]
    fn every_listed_format_starts_with_its_signature() {
        let picture = rgb(40, 30);
        for &format in available_formats() {
            let file = encode(&picture, &settings(format), &Metadata::default()).unwrap();
            let found = match format {
                OutputFormat::Jpeg => file.starts_with(b"\xff\xd8\xff"),
                OutputFormat::Png => file.starts_with(b"\x89PNG\r\n\x1a\n"),
                OutputFormat::WebP => &file[..4] == b"RIFF" && &file[8..12] == b"WEBP",
                OutputFormat::Avif => &file[4..12] == b"ftypavif",
                OutputFormat::Tiff => file.starts_with(b"II*\0"),
            };
            assert!(found, "{format:?}");
        }
    }

    #[test]
    fn sizes_over_the_limit_of_a_format_are_a_bad_request_that_names_it() {
        for (format, limit) in [
            (OutputFormat::Jpeg, "65500"),
            (OutputFormat::WebP, "16383"),
            (OutputFormat::Avif, "65535"),
        ] {
            let max = size_limit(format);
            assert!(check_size(format, Size::new(max, 1)).is_ok());
            let error = check_size(format, Size::new(1, max + 1)).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.public_message().contains(limit), "{error}");
        }
        assert!(check_size(OutputFormat::Avif, Size::new(16_384, 16_384)).is_ok());
        let error = check_size(OutputFormat::Avif, Size::new(16_384, 16_385)).unwrap_err();
        assert!(error.public_message().contains("268435456"), "{error}");
    }

    #[test]
    fn what_compresses_the_strips_of_a_tiff_has_limits_of_its_own() {
        let check = |compression, width| {
            let settings = Settings::Tiff {
                compression,
                quality: Some(50),
            };
            check_size_for(&settings, Size::new(width, 1_000_000))
        };
        for (compression, limit) in [(TiffCompression::Jpeg, 65_500), (TiffCompression::WebP, 16_383)] {
            assert!(check(compression, limit).is_ok());
            let error = check(compression, limit + 1).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.public_message().contains(&limit.to_string()), "{error}");
        }
        assert!(check(TiffCompression::Deflate, 1_000_000).is_ok());
    }

    #[test]
    fn rasters_an_encoder_cannot_take_are_faults() {
        let mut empty = rgb(4, 4);
        empty.size = Size::new(0, 4);
        let mut short = rgb(4, 4);
        short.size = Size::new(5, 4);
        let mut no_alpha = rgba(4, 4);
        no_alpha.alpha = AlphaMode::None;
        let mut multiplied = rgba(4, 4);
        multiplied.alpha = AlphaMode::Associated;
        let mut lab = rgb(4, 4);
        lab.color_model = ColorModel::CieLab;
        let mut float = grey(4, 4);
        float.samples = Samples::F32(vec![0.0; 16]);
        for raster in [empty, short, no_alpha, multiplied, lab, float] {
            // TIFF holds any kind of samples.
            for &format in available_formats().iter().filter(|f| **f != OutputFormat::Tiff) {
                let error = encode(&raster, &settings(format), &Metadata::default()).unwrap_err();
                assert_eq!(error.status(), 500, "{format:?} {error}");
            }
        }
        let error = encode(&rgba(4, 4), &settings(OutputFormat::Jpeg), &Metadata::default()).unwrap_err();
        assert_eq!(error.status(), 500);
    }

    /// A picture in parts of different heights.
    struct Parts(Vec<Raster>);

    impl Parts {
        fn of(raster: &Raster) -> Self {
            let mut parts = Vec::new();
            let mut row = 0;
            for height in [1, 16, 37, 8].into_iter().cycle() {
                let height = height.min(raster.size.height - row);
                if height == 0 {
                    break;
                }
                let range = row as usize * raster.row_len()..(row + height) as usize * raster.row_len();
                let samples = crate::raster::map_samples!(&raster.samples, v => v[range].to_vec());
                let size = Size::new(raster.size.width, height);
                parts.push(raster.with(size, raster.band_count, samples).unwrap());
                row += height;
            }
            Self(parts)
        }
    }

    impl Rows for Parts {
        fn next_rows(&mut self) -> Result<Option<std::borrow::Cow<'_, Raster>>, Error> {
            Ok((!self.0.is_empty()).then(|| std::borrow::Cow::Owned(self.0.remove(0))))
        }
    }

    #[test]
    fn a_picture_in_parts_is_the_file_of_the_picture_at_once() {
        let mut cases = Vec::new();
        for bands in [1, 3] {
            for quality in [0, 40, 95] {
                cases.push((picture(150, 131, bands), Settings::Jpeg { quality }));
            }
        }
        for bands in 1..=4 {
            let eight = picture(61, 90, bands);
            let mut deep = eight.clone();
            let wide = eight.as_u8().unwrap().iter().map(|&v| u16::from(v) * 16);
            (deep.samples, deep.bit_depth) = (Samples::U16(wide.collect()), 12);
            for level in [0, 1, 6] {
                cases.push((eight.clone(), Settings::Png { level }));
                cases.push((deep.clone(), Settings::Png { level }));
            }
        }
        for (raster, settings) in cases {
            let mut file = Vec::new();
            encode_rows(
                &Shape::of(&raster),
                &mut Parts::of(&raster),
                &settings,
                &Metadata::default(),
                Control::NONE,
                &mut file,
            )
            .unwrap();
            let at_once = encode(&raster, &settings, &Metadata::default()).unwrap();
            assert!(file == at_once, "{settings:?}, {:?}", Shape::of(&raster));
        }
    }

    #[test]
    fn formats_that_need_the_whole_take_no_rows() {
        for &format in available_formats() {
            let raster = rgb(8, 8);
            let result = encode_rows(
                &Shape::of(&raster),
                &mut AtOnce::new(&raster),
                &settings(format),
                &Metadata::default(),
                Control::NONE,
                &mut Vec::new(),
            );
            assert_eq!(result.is_ok(), takes_rows(format), "{format:?}");
        }
    }

    /// An output that is full after some bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or_else(|| std::io::Error::other("as the test wants"))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_fails_is_a_fault_wherever_it_does() {
        let raster = rgb(200, 200);
        for settings in [
            Settings::Jpeg { quality: 100 },
            Settings::Png { level: 1 },
            Settings::Png { level: 6 },
        ] {
            let len = encode(&raster, &settings, &Metadata::default()).unwrap().len();
            for room in [0, 30, len / 2, len - 13, len - 1] {
                let result = encode_rows(
                    &Shape::of(&raster),
                    &mut AtOnce::new(&raster),
                    &settings,
                    &Metadata::default(),
                    Control::NONE,
                    &mut Full(room),
                );
                let status = result.map_err(|error| error.status());
                assert_eq!(status, Err(500), "{settings:?} after {room} of {len} bytes");
            }
        }
    }

    #[test]
    fn formats_left_out_of_the_build_are_not_implemented() {
        for format in [
            OutputFormat::Jpeg,
            OutputFormat::Png,
            OutputFormat::WebP,
            OutputFormat::Avif,
            OutputFormat::Tiff,
        ] {
            let listed = available_formats().contains(&format);
            let result = encode(&rgb(4, 4), &settings(format), &Metadata::default());
            match result {
                Ok(_) => assert!(listed),
                Err(error) => assert_eq!((listed, error.status()), (false, 501)),
            }
        }
    }
}
