//! Text, resolution, sample ranges and blocks of metadata.

use iiphost_plugin_api::{DecodeError, MetadataKind, OpenContext, ReadContext, Resolution, ResolutionUnit};

use crate::exif;
use crate::ifd::{Directory, Kind, Structure, tag};
use crate::shape::Shape;

/// Longest description kept. Those of microscopes are XML of some hundred kilobytes.
const MAX_DESCRIPTION: u64 = 4 << 20;

/// Longest of the other texts.
const MAX_TEXT: u64 = 64 << 10;

/// Longest name of a page.
const MAX_NAME: u64 = 1024;

/// Tags that are text about the image, with their names.
const TEXTS: [(u16, &str); 9] = [
    (tag::ARTIST, "creator"),
    (tag::COPYRIGHT, "rights"),
    (tag::DATE_TIME, "date"),
    (tag::IMAGE_DESCRIPTION, "description"),
    (tag::DOCUMENT_NAME, "title"),
    (tag::PAGE_NAME, "pagename"),
    (tag::SOFTWARE, "software"),
    (tag::MAKE, "make"),
    (tag::MODEL, "model"),
];

/// The text tags of a directory, and the scale and orientation in words. What cannot be read is left out
/// with a warning: a broken comment is no reason not to show a picture.
pub(crate) fn text(
    structure: &mut Structure<'_>,
    directory: &Directory,
    ctx: &OpenContext<'_>,
    warnings: &mut Vec<String>,
) -> Vec<(String, Vec<u8>)> {
    let mut texts = Vec::new();
    for (tag, name) in TEXTS {
        let max_len = match tag {
            tag::IMAGE_DESCRIPTION => MAX_DESCRIPTION,
            _ => MAX_TEXT,
        };
        let max_len = max_len.min(ctx.limits.max_bytes);
        match text_of(structure, directory, tag, max_len) {
            Ok(Some(bytes)) => texts.push((name.to_owned(), bytes)),
            Ok(None) => {}
            Err(error) => warnings.push(format!("{name} is left out: {error}")),
        }
    }
    if let Some(scale) = scale(structure, directory) {
        texts.push(("scale".into(), six_digits(scale).into_bytes()));
    }
    if let Ok(Some(orientation @ 2..=8)) = structure.integer(directory, tag::ORIENTATION) {
        texts.push(("orientation".into(), orientation.to_string().into_bytes()));
    }
    texts
}

/// A number with six significant digits, as short as it gets.
fn six_digits(value: f64) -> String {
    format!("{value:.5e}")
        .parse()
        .map_or_else(|_| value.to_string(), |rounded: f64| rounded.to_string())
}

/// The value of an ASCII tag up to its first NUL, `None` if absent or empty.
fn text_of(
    structure: &mut Structure<'_>,
    directory: &Directory,
    tag: u16,
    max_len: u64,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(entry) = directory.find(tag) else {
        return Ok(None);
    };
    if entry.kind != Kind::ASCII && entry.kind.bytes() != 1 {
        return Ok(None);
    }
    let mut bytes = structure.raw_values(entry, max_len)?;
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// The name of a page: DocumentName, as stacks use it, or else PageName.
pub(crate) fn page_name(structure: &mut Structure<'_>, directory: &Directory) -> String {
    let mut name = |tag| text_of(structure, directory, tag, MAX_NAME).ok().flatten();
    let bytes = name(tag::DOCUMENT_NAME).or_else(|| name(tag::PAGE_NAME));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Factor from stored to physical values (tag StoNits).
pub(crate) fn scale(structure: &mut Structure<'_>, directory: &Directory) -> Option<f64> {
    let entry = directory.find(tag::STO_NITS)?;
    let scale = *structure.numbers(entry, 1).ok()?.first()?;
    (scale.is_finite() && scale != 0.0).then_some(scale)
}

/// Pixels per unit (TIFF 6.0 section 8); the unit is the inch if none is named.
pub(crate) fn resolution(structure: &mut Structure<'_>, directory: &Directory) -> Option<Resolution> {
    let mut number = |tag| {
        let entry = directory.find(tag)?;
        let value = *structure.numbers(entry, 1).ok()?.first()?;
        (value.is_finite() && value > 0.0).then_some(value)
    };
    let (x, y) = (number(tag::X_RESOLUTION)?, number(tag::Y_RESOLUTION)?);
    let unit = match structure.integer(directory, tag::RESOLUTION_UNIT) {
        Ok(Some(1)) => ResolutionUnit::None,
        Ok(Some(3)) => ResolutionUnit::Centimeter,
        _ => ResolutionUnit::Inch,
    };
    Some(Resolution { x, y, unit })
}

/// Smallest and largest value by band as tags say; where they say nothing, those of integers that are delivered as
/// floating point, else empty.
pub(crate) fn ranges(
    structure: &mut Structure<'_>,
    directory: &Directory,
    shape: &Shape,
    of_integers: Option<(f64, f64)>,
) -> Vec<(f64, f64)> {
    let bands = shape.band_count as usize;
    let mut values = |tag| -> Vec<f64> {
        directory
            .find(tag)
            .and_then(|entry| structure.numbers(entry, 4096).ok())
            // A range that is not finite says nothing.
            .filter(|values| values.iter().all(|value| value.is_finite()))
            .unwrap_or_default()
    };
    let (smallest, largest) = (values(tag::S_MIN_SAMPLE_VALUE), values(tag::S_MAX_SAMPLE_VALUE));
    if smallest.is_empty() && largest.is_empty() {
        return of_integers.map_or_else(Vec::new, |range| vec![range; bands]);
    }
    let (low, high) = match (shape.sample_format, shape.signed) {
        (iiphost_plugin_api::SampleFormat::F32, _) => of_integers.unwrap_or((0.0, 1.0)),
        (_, false) => (0.0, (2.0_f64).powi(shape.bit_depth as i32) - 1.0),
        (_, true) => {
            let half = (2.0_f64).powi(shape.bit_depth as i32 - 1);
            (-half, half - 1.0)
        }
    };
    // One value may stand for all bands.
    let pick = |values: &[f64], band: usize, default: f64| {
        values.get(band).or(values.first()).copied().unwrap_or(default)
    };
    (0..bands)
        .map(|band| (pick(&smallest, band, low), pick(&largest, band, high)))
        .collect()
}

/// A block of metadata of a directory.
pub(crate) fn block(
    structure: &mut Structure<'_>,
    directory: &Directory,
    kind: MetadataKind,
    ctx: &ReadContext<'_>,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let tag = match kind {
        MetadataKind::Icc => tag::ICC_PROFILE,
        MetadataKind::Xmp => tag::XMP,
        MetadataKind::Iptc => tag::IPTC,
        MetadataKind::Exif => return exif::block(structure, directory, ctx),
        _ => return Ok(None),
    };
    let Some(entry) = directory.find(tag) else {
        return Ok(None);
    };
    ctx.limits.check_bytes(entry.byte_len().unwrap_or(u64::MAX))?;
    let mut bytes = structure.raw_values(entry, u64::MAX)?;
    // Some writers store IPTC as LONG and turn each four bytes round. A record starts with 1C.
    if kind == MetadataKind::Iptc
        && entry.kind.bytes() == 4
        && bytes.first() != Some(&0x1c)
        && bytes.get(3) == Some(&0x1c)
    {
        bytes
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .for_each(|four| four.reverse());
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}
