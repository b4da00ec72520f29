//! What a module says about itself.

use std::ops::RangeInclusive;

use crate::error::DecodeError;

/// Which calls of a module the host may make at the same time. The host enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Threading {
    /// Every call may run at any time on any thread, also on one reader.
    Reentrant,
    /// Different readers run in parallel, one reader serves one call at a time.
    OneCallPerReader,
    /// One call in the whole module at a time.
    GlobalLock,
}

impl Threading {
    /// The name shown by `iiphost --list-modules`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reentrant => "re-entrant",
            Self::OneCallPerReader => "one call per reader",
            Self::GlobalLock => "global lock",
        }
    }
}

/// One file format a module reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatInfo {
    /// Short name, as shown to people: `BigTIFF`.
    pub name: String,
    /// Media type: `image/tiff`.
    pub media_type: String,
    /// Usual extensions in lower case, without the dot.
    pub extensions: Vec<String>,
}

impl FormatInfo {
    /// A format from its name, media type and extensions.
    #[must_use]
    pub fn new(name: &str, media_type: &str, extensions: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            extensions: extensions.iter().map(|&e| e.to_owned()).collect(),
        }
    }
}

/// What kind of value an option takes; the host checks values before `configure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl OptionKind {
    /// The name shown by `iiphost --list-modules`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }
}

/// One option a module understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Name, lower case with `_`.
    pub name: String,
    /// Kind of value.
    pub kind: OptionKind,
    /// The value used when the option is not given, as text.
    pub default: String,
    /// One sentence for the operator.
    pub description: String,
}

/// What a module says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Unique short identifier in lower case: `tiff`. It names the module in settings, logs and keys.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Version of the module, part of every cache key: change it whenever pixels may change.
    pub version: String,
    /// Licence of the module and the codecs in it, as an SPDX expression.
    pub license: String,
    /// The formats it reads.
    pub formats: Vec<FormatInfo>,
    /// What it can do beyond decoding, by the identifiers of [`capability`]; unknown ones are ignored.
    pub capabilities: Vec<u32>,
    /// The options [`configure`](crate::ImageDecoder::configure) accepts.
    pub options: Vec<OptionSpec>,
    /// Which calls may overlap.
    pub threading: Threading,
}

impl ModuleInfo {
    /// Whether one of the formats usually has this extension, given in lower case without the dot.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        self.formats
            .iter()
            .any(|format| format.extensions.iter().any(|known| known == extension))
    }
}

/// Identifiers for [`ModuleInfo::capabilities`]. A number is never used again for another meaning.
pub mod capability {
    /// [`encoded_tile`](crate::ImageReader::encoded_tile) returns stored tiles for some files.
    pub const ENCODED_TILES: u32 = 1;
    /// Reads regions of any place and size without decoding the whole level.
    pub const REGIONS: u32 = 2;
    /// Files may hold several pages (stacks, sequences).
    pub const PAGES: u32 = 3;
    /// Files may hold quality layers.
    pub const QUALITY_LAYERS: u32 = 4;

    /// The name of a capability, `None` for one this version does not know.
    #[must_use]
    pub fn name(id: u32) -> Option<&'static str> {
        match id {
            ENCODED_TILES => Some("encoded-tiles"),
            REGIONS => Some("regions"),
            PAGES => Some("pages"),
            QUALITY_LAYERS => Some("quality-layers"),
            _ => None,
        }
    }
}

/// Settings for one module, by name. The host has checked names and kinds against the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    entries: Vec<(String, String)>,
}

impl Options {
    /// Options from name and value pairs; of equal names the last one counts.
    #[must_use]
    pub fn new(entries: Vec<(String, String)>) -> Self {
        Self { entries }
    }

    /// The value of an option, `None` if it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The value of an option as a whole number in a range, `None` if it is not set.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) naming the option, what it is and what is accepted.
    pub fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, DecodeError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            DecodeError::usage(format!(
                "{name} is {text:?}, expected {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// All pairs in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let options = |value: &str| Options::new(vec![("size_mb".into(), value.into())]);
        assert_eq!(options("16").integer("size_mb", 0..=20), Ok(Some(16)));
        assert_eq!(options("16").integer("other", 0..=20), Ok(None));
        for wrong in ["", "-1", "x", "21", "99999999999999999999"] {
            let error = options(wrong).integer("size_mb", 0..=20).unwrap_err();
            assert_eq!(error.message(), format!("size_mb is {wrong:?}, expected 0 to 20"));
        }
    }
}
