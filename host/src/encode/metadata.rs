//! What a picture file says besides its pixels.

use std::borrow::Cow;
use std::sync::Arc;

use iiphost_plugin_api::{Resolution, ResolutionUnit};

use crate::raster::Raster;

/// Metadata of one picture. The caller decides what a reply carries (a tile less than an export); encoders
/// write all of it that their format can hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// ICC profile.
    pub icc: Option<Arc<[u8]>>,
    /// XMP packet.
    pub xmp: Option<Arc<[u8]>>,
    /// EXIF as a TIFF block without the `Exif\0\0` prefix, already fit for this picture
    /// (see [`exif::for_output`](super::exif::for_output)).
    pub exif: Option<Arc<[u8]>>,
    /// Physical resolution of this picture, its scaling included.
    pub resolution: Option<Resolution>,
    /// Text by name (`title`, `creator`, `description`, `date`, …), bytes as stored in the source.
    pub text: Vec<(String, Vec<u8>)>,
    /// Statement of rights, for formats with a text field for it.
    pub rights: Option<Vec<u8>>,
}

impl Metadata {
    /// The metadata without what does not fit a picture, and why each missing block was left out.
    ///
    /// A profile must describe as many color bands as the picture has, and an empty block says nothing.
    pub(super) fn usable_for(&self, raster: &Raster) -> (Cow<'_, Self>, Vec<String>) {
        let colors = if raster.band_count < 3 { 1 } else { 3 };
        let Some(Err(reason)) = self.icc.as_deref().map(|icc| check_icc(icc, colors)) else {
            return (Cow::Borrowed(self), Vec::new());
        };
        let usable = Self {
            icc: None,
            ..self.clone()
        };
        (Cow::Owned(usable), vec![reason])
    }

    /// Text by name, as UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, bytes) = self.text.iter().find(|(n, _)| n == name)?;
        printable(bytes)
    }

    /// The statement of rights, as UTF-8: the one given, else the text named `rights`.
    pub(super) fn rights(&self) -> Option<Cow<'_, str>> {
        match &self.rights {
            Some(bytes) => printable(bytes),
            None => self.text("rights"),
        }
    }
}

/// Stored text as UTF-8: what is not UTF-8 is read as Latin-1, NUL bytes and outer blanks are dropped. `None` if
/// nothing is left.
pub(super) fn printable(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()),
    };
    let text = if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        text
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        None
    } else if trimmed.len() == text.len() {
        Some(text)
    } else {
        Some(Cow::Owned(trimmed.to_owned()))
    }
}

/// Whether a profile describes pictures of so many color bands (ICC.1:2022, 7.2: size, data color space and
/// signature of the header).
pub(super) fn check_icc(icc: &[u8], color_band_count: u32) -> Result<(), String> {
    let size = icc.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
    if icc.len() < 132 || icc.get(36..40) != Some(b"acsp") {
        return Err(format!("ICC profile of {} bytes has no valid header", icc.len()));
    }
    // Sources pad profiles; one that ends early is broken.
    if size.is_none_or(|size| size as usize > icc.len()) {
        return Err(format!(
            "ICC profile says {} bytes, found {}",
            size.unwrap_or(0),
            icc.len()
        ));
    }
    let expected: &[u8] = if color_band_count == 1 { b"GRAY" } else { b"RGB " };
    match icc.get(16..20) {
        Some(space) if space == expected => Ok(()),
        space => Err(format!(
            "ICC profile is for {}, the picture is {}",
            String::from_utf8_lossy(space.unwrap_or_default()).trim_end(),
            String::from_utf8_lossy(expected).trim_end()
        )),
    }
}

/// A resolution as whole pixels for each unit, or `None` where it is not a usable number.
pub(super) fn whole(x: f64, y: f64, max: f64) -> Option<(u32, u32)> {
    let fits = |v: f64| v.is_finite() && v.round() >= 1.0 && v.round() <= max;
    (fits(x) && fits(y)).then(|| (x.round() as u32, y.round() as u32))
}

/// A resolution in pixels a meter, if it has a unit.
pub(super) fn per_meter(resolution: Resolution) -> Option<(f64, f64)> {
    let factor = match resolution.unit {
        ResolutionUnit::Inch => 1.0 / 0.0254,
        ResolutionUnit::Centimeter => 100.0,
        ResolutionUnit::None => return None,
    };
    Some((resolution.x * factor, resolution.y * factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{grey, icc_profile, rgb};

    #[test]
    fn text_is_utf8_or_read_as_latin_1() {
        assert_eq!(printable("Zürich".as_bytes()).unwrap(), "Zürich");
        assert_eq!(printable(b"Z\xfcrich").unwrap(), "Zürich");
        assert_eq!(printable(b" a\0b \0").unwrap(), "ab");
        assert_eq!(printable(b" \0"), None);
    }

    #[test]
    fn profiles_that_do_not_fit_the_picture_are_left_out_with_the_reason() {
        let metadata = |icc: Vec<u8>| Metadata {
            icc: Some(icc.into()),
            ..Metadata::default()
        };
        let fitting = metadata(icc_profile(b"RGB ", 400));
        let (usable, reasons) = fitting.usable_for(&rgb(1, 1));
        assert!(usable.icc.is_some() && reasons.is_empty());
        let (usable, reasons) = fitting.usable_for(&grey(1, 1));
        assert!(usable.icc.is_none());
        assert_eq!(reasons, ["ICC profile is for RGB, the picture is GRAY"]);
        let mut cut = icc_profile(b"RGB ", 400);
        cut.truncate(300);
        for broken in [Vec::new(), vec![0; 20], vec![0xff; 500], cut] {
            let broken = metadata(broken);
            let (usable, reasons) = broken.usable_for(&rgb(1, 1));
            assert!(usable.icc.is_none());
            assert_eq!(reasons.len(), 1);
        }
    }
}
