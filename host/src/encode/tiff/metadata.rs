//! What a file says about its picture besides the pixels.

use iiphost_plugin_api::{AlphaMode, ColorModel, Resolution, ResolutionUnit, SampleFormat};

use super::compress::{Compression, JpegColor};
use super::directory::{Directory, tag};
use super::{PixelLayout, TiffError};
use crate::limits::Size;

/// Metadata of a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// ICC profile of the color bands.
    pub icc: Option<Vec<u8>>,
    /// XMP packet.
    pub xmp: Option<Vec<u8>>,
    /// Pixels per unit of the picture as written.
    pub resolution: Option<Resolution>,
    /// Text by name as in [`ImageInfo::text`](iiphost_plugin_api::ImageInfo::text); names without a tag
    /// of their own are left out.
    pub text: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// Adds the metadata to the directory of the full-size picture.
    pub(super) fn add_to(&self, directory: &mut Directory) {
        for (name, value) in &self.text {
            let tag = match name.as_str() {
                "title" => tag::DOCUMENT_NAME,
                "description" => tag::IMAGE_DESCRIPTION,
                "make" => tag::MAKE,
                "model" => tag::MODEL,
                "pagename" => tag::PAGE_NAME,
                "creator" => tag::ARTIST,
                "rights" => tag::COPYRIGHT,
                "date" if is_date_time(value) => tag::DATE_TIME,
                _ => continue,
            };
            directory.text(tag, value);
        }
        if let Some(icc) = self.icc.as_deref().filter(|b| !b.is_empty()) {
            directory.undefined(tag::ICC, icc);
        }
        if let Some(xmp) = self.xmp.as_deref().filter(|b| !b.is_empty()) {
            directory.bytes(tag::XMP, xmp);
        }
    }
}

/// TIFF 6.0 section 8, DateTime: exactly `YYYY:MM:DD HH:MM:SS`.
fn is_date_time(value: &[u8]) -> bool {
    value.len() == 19
        && value
            .iter()
            .zip(b"0000:00:00 00:00:00")
            .all(|(&v, &form)| match form {
                b'0' => v.is_ascii_digit(),
                _ => v == form,
            })
}

/// The entries that describe samples, the same at every level.
///
/// # Errors
/// `Usage` for a band count no TIFF can hold.
pub(super) fn describe_pixels(
    directory: &mut Directory,
    size: Size,
    layout: &PixelLayout,
    compression: &Compression,
    jpeg_tables: Option<&[u8]>,
) -> Result<(), TiffError> {
    let bands = u16::try_from(layout.band_count)
        .ok()
        .filter(|&b| b > 0)
        .ok_or_else(|| TiffError::usage(format!("{} bands, a TIFF holds 1 to 65535", layout.band_count)))?;
    directory.long(tag::IMAGE_WIDTH, size.width);
    directory.long(tag::IMAGE_LENGTH, size.height);
    let bits = 8 * layout.sample_format.bytes() as u16;
    directory.shorts(tag::BITS_PER_SAMPLE, &vec![bits; usize::from(bands)]);
    let sample_format = match layout.sample_format {
        SampleFormat::F32 => 3,
        _ if layout.signed => 2,
        _ => 1,
    };
    directory.shorts(tag::SAMPLE_FORMAT, &vec![sample_format; usize::from(bands)]);
    directory.shorts(tag::SAMPLES_PER_PIXEL, &[bands]);
    directory.shorts(tag::PLANAR_CONFIGURATION, &[1]);
    directory.shorts(tag::ORIENTATION, &[1]);
    directory.shorts(tag::COMPRESSION, &[compression.code()]);
    if compression.predictor(layout.sample_format) {
        directory.shorts(tag::PREDICTOR, &[2]);
    }
    let named = color_bands(layout);
    let extra = layout.band_count.saturating_sub(named) as usize;
    if extra > 0 {
        let mut meanings = vec![0_u16; extra];
        if let Some(first) = meanings.first_mut() {
            *first = match layout.alpha {
                AlphaMode::None => 0,
                AlphaMode::Associated => 1,
                AlphaMode::Unassociated => 2,
            };
        }
        if layout.color_model == ColorModel::Multiband && layout.alpha != AlphaMode::None {
            // The opacity of data bands is the last band, not the first after the only named one.
            meanings.rotate_left(1);
        }
        directory.shorts(tag::EXTRA_SAMPLES, &meanings);
    }
    let mut photometric = match layout.color_model {
        ColorModel::Rgb => 2,
        ColorModel::CieLab => 8,
        ColorModel::Cmyk => 5,
        _ => 1,
    };
    if let Compression::Jpeg { color, .. } = compression {
        if layout.color_model == ColorModel::Rgb && *color != JpegColor::Stored {
            photometric = 6;
            let sub = if *color == JpegColor::YCbCr420 { 2 } else { 1 };
            directory.shorts(tag::YCBCR_SUBSAMPLING, &[sub, sub]);
            // The full range of JFIF, not the studio range that is the default of the tag.
            directory.rationals(
                tag::REFERENCE_BLACK_WHITE,
                &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0],
            );
        }
        if let Some(tables) = jpeg_tables {
            directory.undefined(tag::JPEG_TABLES, tables);
        }
    }
    directory.shorts(tag::PHOTOMETRIC, &[photometric]);
    directory.text(tag::SOFTWARE, crate::encode::PRODUCT.as_bytes());
    Ok(())
}

/// Bands the photometric interpretation accounts for; data without a meaning is written as one grey
/// band and extra bands.
fn color_bands(layout: &PixelLayout) -> u32 {
    match layout.color_model {
        ColorModel::Rgb | ColorModel::CieLab => 3,
        ColorModel::Cmyk => 4,
        _ => 1,
    }
}

/// Resolution entries of a picture `downsample` times smaller than the one `resolution` is for.
pub(super) fn add_resolution(
    directory: &mut Directory,
    resolution: Option<&Resolution>,
    downsample: (f64, f64),
) {
    let Some(resolution) = resolution else { return };
    let usable = |v: f64| v.is_finite() && v > 0.0;
    if !usable(resolution.x) || !usable(resolution.y) {
        return;
    }
    directory.rationals(tag::X_RESOLUTION, &[resolution.x / downsample.0]);
    directory.rationals(tag::Y_RESOLUTION, &[resolution.y / downsample.1]);
    let unit = match resolution.unit {
        ResolutionUnit::None => 1,
        ResolutionUnit::Inch => 2,
        ResolutionUnit::Centimeter => 3,
    };
    directory.shorts(tag::RESOLUTION_UNIT, &[unit]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_date_becomes_the_date_tag() {
        assert!(is_date_time(b"2024:02:29 12:00:01"));
        assert!(!is_date_time(b"2024-02-29T12:00:01"));
        assert!(!is_date_time(b"2024"));
    }
}
