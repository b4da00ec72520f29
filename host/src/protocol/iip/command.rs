//! The grammar of a query, and the names of commands.

use crate::view::OutputFormat;

use super::Foreign;

/// One `name=value` of a query, not yet decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// What stands before the first `=`.
    pub(super) name: &'a [u8],
    /// What stands after it; the name itself if there is no `=`.
    pub(super) value: &'a [u8],
}

/// The items of a query. An item with an empty name or value has no effect and is left out.
pub(super) fn items(query: &[u8]) -> impl Iterator<Item = Item<'_>> {
    query
        .split(|&b| b == b'&')
        .map(|item| match item.iter().position(|&b| b == b'=') {
            Some(at) => Item {
                name: item.get(..at).unwrap_or_default(),
                value: item.get(at + 1..).unwrap_or_default(),
            },
            None => Item {
                name: item,
                value: item,
            },
        })
        .filter(|item| !item.name.is_empty() && !item.value.is_empty())
}

/// The text before the first `?`: viewers that retry a picture append `?` and a number to its address.
pub(super) fn without_retry_mark(value: &[u8]) -> &[u8] {
    value.split(|&b| b == b'?').next().unwrap_or_default()
}

/// A command by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `FIF`: names the image.
    Open,
    /// `SDS`: selects a view.
    SelectView,
    /// `CNT`.
    Contrast,
    /// `GAM`.
    Gamma,
    /// `MINMAX`.
    Range,
    /// `INV`.
    Invert,
    /// `CMP`.
    ColorMap,
    /// `SHD`.
    Shade,
    /// `CTW`.
    Twist,
    /// `CNV`.
    Kernel,
    /// `COL`.
    ColorMode,
    /// `ROT`.
    Rotate,
    /// `WID`.
    Width,
    /// `HEI`.
    Height,
    /// `RGN`.
    Region,
    /// `QLT`.
    Quality,
    /// `LYR`.
    QualityLayers,
    /// `ICC`: kept for old clients, without effect.
    ColorProfile,
    /// `CVT`: answers with an export.
    Export,
    /// `JTL` and its relatives: answer with a tile.
    Tile(OutputFormat),
    /// `JTLS`: a view and a tile at once.
    ViewTile,
    /// `TIL`: answers with tiles in a framing of their own.
    TileRange,
    /// `PFL`.
    Profile,
    /// `SPECTRA`.
    Spectrum,
    /// `OBJ`: information.
    Object,
    /// Another protocol that names its own image.
    Foreign(Foreign),
}

/// Every command with its name in capitals.
const COMMANDS: [(&str, Command); 32] = [
    ("FIF", Command::Open),
    ("SDS", Command::SelectView),
    ("CNT", Command::Contrast),
    ("GAM", Command::Gamma),
    ("MINMAX", Command::Range),
    ("INV", Command::Invert),
    ("CMP", Command::ColorMap),
    ("SHD", Command::Shade),
    ("CTW", Command::Twist),
    ("CNV", Command::Kernel),
    ("COL", Command::ColorMode),
    ("ROT", Command::Rotate),
    ("WID", Command::Width),
    ("HEI", Command::Height),
    ("RGN", Command::Region),
    ("QLT", Command::Quality),
    ("LYR", Command::QualityLayers),
    ("ICC", Command::ColorProfile),
    ("CVT", Command::Export),
    ("JTL", Command::Tile(OutputFormat::Jpeg)),
    ("PTL", Command::Tile(OutputFormat::Png)),
    ("WTL", Command::Tile(OutputFormat::WebP)),
    ("ATL", Command::Tile(OutputFormat::Avif)),
    ("TTL", Command::Tile(OutputFormat::Tiff)),
    ("JTLS", Command::ViewTile),
    ("TIL", Command::TileRange),
    ("PFL", Command::Profile),
    ("SPECTRA", Command::Spectrum),
    ("OBJ", Command::Object),
    ("IIIF", Command::Foreign(Foreign::Iiif)),
    ("DEEPZOOM", Command::Foreign(Foreign::DeepZoom)),
    ("ZOOMIFY", Command::Foreign(Foreign::Zoomify)),
];

impl Command {
    /// The command of a name in any case, with that name in capitals.
    pub(super) fn from_name(name: &[u8]) -> Option<(&'static str, Self)> {
        COMMANDS
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// Whether a viewer may have appended a retry mark to the value.
    pub(super) fn may_carry_retry_mark(self) -> bool {
        matches!(self, Self::Tile(_) | Self::ViewTile | Self::Foreign(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        items(query.as_bytes())
            .map(|item| (text(item.name), text(item.value)))
            .collect()
    }

    #[test]
    fn items_split_at_ampersands_and_their_first_equals_sign() {
        for (query, expected) in [
            ("FIF=a.tif&JTL=0,0", vec![("FIF", "a.tif"), ("JTL", "0,0")]),
            ("FIF=a=b.tif", vec![("FIF", "a=b.tif")]),
            ("&&FIF=a&&INV&", vec![("FIF", "a"), ("INV", "INV")]),
            ("=x&INV=&QLT=&=", vec![]),
            ("FIF=a;b& OBJ=x", vec![("FIF", "a;b"), (" OBJ", "x")]),
            ("", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect();
            assert_eq!(pairs(query), expected, "{query}");
        }
    }

    #[test]
    fn command_names_have_no_case_and_no_blanks() {
        assert_eq!(Command::from_name(b"fif"), Some(("FIF", Command::Open)));
        assert_eq!(
            Command::from_name(b"DeepZoom"),
            Some(("DEEPZOOM", Command::Foreign(Foreign::DeepZoom)))
        );
        for name in [&b" OBJ"[..], b"FTR", b"RAR", b"SQL", b"IIP", b"", b"\xff"] {
            assert_eq!(Command::from_name(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn every_command_is_found_by_its_name_alone() {
        for (name, command) in COMMANDS {
            assert_eq!(Command::from_name(name.as_bytes()), Some((name, command)));
        }
    }

    #[test]
    fn retry_marks_are_cut_off() {
        assert_eq!(without_retry_mark(b"2,0?1700000000"), b"2,0");
        assert_eq!(without_retry_mark(b"2,0"), b"2,0");
        assert_eq!(without_retry_mark(b"?"), b"");
    }
}
