//! What a picture file says besides its pixels.

use std::borrow::Cow;
use std::sync::Arc;

use iiphost_plugin_api::{Resolution, ResolutionUnit};

use super::Shape;
use crate::color;

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
    pub(super) fn usable_for(&self, shape: &Shape) -> (Cow<'_, Self>, Vec<String>) {
        let colors = if shape.band_count < 3 { 1 } else { 3 };
        let icc = self.icc.as_deref().map(|icc| color::check(icc, colors));
        let xmp = self.xmp.as_deref().map(check_xmp);
        let (broken_icc, broken_xmp) = (icc.and_then(Result::err), xmp.and_then(Result::err));
        if broken_icc.is_none() && broken_xmp.is_none() {
            return (Cow::Borrowed(self), Vec::new());
        }
        let usable = Self {
            icc: self.icc.clone().filter(|_| broken_icc.is_none()),
            xmp: self.xmp.clone().filter(|_| broken_xmp.is_none()),
            ..self.clone()
        };
        let reasons = broken_icc.into_iter().chain(broken_xmp).collect();
        (Cow::Owned(usable), reasons)
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

/// Whether an XMP packet is text at all (ISO 16684-1, 7.1: UTF-8, UTF-16 or UTF-32). Blanks and NUL bytes
/// behind it are padding.
fn check_xmp(xmp: &[u8]) -> Result<(), String> {
    let wide = [
        b"\xff\xfe".as_slice(),
        b"\xfe\xff",
        b"\0\0\xfe\xff",
        b"\0<",
        b"<\0",
    ];
    if wide.iter().any(|start| xmp.starts_with(start)) {
        return Ok(());
    }
    let end = xmp.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    match std::str::from_utf8(xmp.get(..end).unwrap_or_default()) {
        Ok(text) if text.contains('<') && !text.contains('\0') => Ok(()),
        _ => Err(format!("XMP of {} bytes is no text", xmp.len())),
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
        let (usable, reasons) = fitting.usable_for(&Shape::of(&rgb(1, 1)));
        assert!(usable.icc.is_some() && reasons.is_empty());
        let (usable, reasons) = fitting.usable_for(&Shape::of(&grey(1, 1)));
        assert!(usable.icc.is_none());
        assert_eq!(reasons, ["ICC profile is for RGB, the picture is GRAY"]);
        let mut cut = icc_profile(b"RGB ", 400);
        cut.truncate(300);
        let mut outside = icc_profile(b"RGB ", 400);
        // A tag that ends beyond the profile.
        outside[128..132].copy_from_slice(&1_u32.to_be_bytes());
        outside[136..140].copy_from_slice(&399_u32.to_be_bytes());
        outside[140..144].copy_from_slice(&2_u32.to_be_bytes());
        for broken in [Vec::new(), vec![0; 20], vec![0xff; 500], cut, outside] {
            let broken = metadata(broken);
            let (usable, reasons) = broken.usable_for(&Shape::of(&rgb(1, 1)));
            assert!(usable.icc.is_none());
            assert_eq!(reasons.len(), 1);
        }
    }

    #[test]
    fn xmp_that_is_no_text_is_left_out_with_the_reason() {
        for (xmp, sound) in [
            (b"<x:xmpmeta/> \0\0".as_slice(), true),
            (b"\xff\xfe<\0x\0", true),
            (b"a\0b", false),
            (b"\xff\xd8\xff", false),
            (b"nothing", false),
        ] {
            let metadata = Metadata {
                xmp: Some(xmp.into()),
                ..Metadata::default()
            };
            let (usable, reasons) = metadata.usable_for(&Shape::of(&rgb(1, 1)));
            assert_eq!(
                (usable.xmp.is_some(), reasons.is_empty()),
                (sound, sound),
                "{xmp:?}"
            );
        }
    }
}
