//! The configuration file: TOML, the settings under the names of their variables in small letters.
//!
//! ```toml
//! bind = "127.0.0.1:9000"
//! filesystem_prefix = "/srv/images/"
//! max_cvt = 4000
//! uri_map = ["iiif=>IIIF", "iip=>IIP"]
//! ```
//!
//! A list is the same as its entries in one text, separated by commas. Whatever is wrong is told with its
//! line, and all of it at once; values are checked where those of flags and variables are.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::de::{DeString, DeTable, DeValue};

use super::settings::{SETTINGS, Setting, SettingKind};
use super::source::{Problem, Severity};

/// What a configuration file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct FileValues {
    pub(super) settings: HashMap<&'static str, FileValue>,
    /// Addresses for FastCGI.
    pub(super) bind: Vec<String>,
    /// Addresses for HTTP.
    pub(super) http: Vec<String>,
    /// What is wrong with it but for the values themselves.
    pub(super) problems: Vec<Problem>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct FileValue {
    pub(super) text: OsString,
    /// File and line, for messages.
    pub(super) place: String,
}

/// Names that a file may hold besides the settings.
const ADDRESSES: [&str; 2] = ["bind", "http"];

/// Largest file that is read: names are compared with one another, which takes time with their length.
const MAX_BYTES: u64 = 1 << 20;

/// How alike two names have to be for one to be meant by the other, 0 to 1.
const ALIKE: f64 = 0.75;

impl FileValues {
    /// Reads a file. One that cannot be read is a problem like any other.
    pub(super) fn read(path: &Path) -> Self {
        let unusable = |reason: String| Self {
            problems: vec![problem(path.display().to_string(), reason)],
            ..Self::default()
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        match read {
            Ok(_) if text.len() as u64 > MAX_BYTES => unusable(format!("is larger than {MAX_BYTES} bytes")),
            Ok(_) => Self::parse(&text, &path.display().to_string()),
            Err(error) => unusable(error.to_string()),
        }
    }

    fn parse(text: &str, name: &str) -> Self {
        let place = |at: usize| format!("{name}:{}", line(text, at));
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut values = Self::default();
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            values
                .problems
                .push(problem(place(at), error.message().to_owned()));
        }
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let at = place(key.span().start);
            if let Err(message) = values.take(key.get_ref(), value.get_ref(), &at) {
                values
                    .problems
                    .push(problem(format!("{at}: {}", key.get_ref()), message));
            }
        }
        values
    }

    fn take(&mut self, key: &str, value: &DeValue<'_>, place: &str) -> Result<(), String> {
        match key {
            "bind" => self.bind = texts(value)?,
            "http" => self.http = texts(value)?,
            _ => {
                let setting = SETTINGS.iter().find(|setting| file_name(setting) == key);
                let setting = setting.ok_or_else(|| unknown(key))?;
                let value = FileValue {
                    text: setting_text(setting, value)?.into(),
                    place: place.to_owned(),
                };
                self.settings.insert(setting.name, value);
            }
        }
        Ok(())
    }
}

/// The name of a setting in a file: `max_cvt` for `MAX_CVT`.
fn file_name(setting: &Setting) -> String {
    setting.name.to_ascii_lowercase()
}

fn problem(name: String, message: String) -> Problem {
    Problem {
        name,
        message,
        severity: Severity::Error,
    }
}

/// The number of the line of a byte, counted from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// What may have been meant by a name nobody knows.
fn unknown(key: &str) -> String {
    let written = key.to_ascii_lowercase().replace('-', "_");
    let known = SETTINGS.iter().map(file_name).chain(ADDRESSES.map(str::to_owned));
    let nearest = known
        .map(|name| (strsim::jaro_winkler(&written, &name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((alike, name)) if alike >= ALIKE => format!("there is no such setting; {name} is the nearest"),
        _ => "there is no such setting".to_owned(),
    }
}

/// One text or a list of them.
fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(format!(
            "a text or a list of texts is wanted, not {}",
            kind(other)
        )),
    };
    match value {
        DeValue::Array(list) => list.iter().map(|entry| text(entry.get_ref())).collect(),
        other => Ok(vec![text(other)?]),
    }
}

/// The value as a variable would hold it.
fn setting_text(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    let takes_list = matches!(
        setting.kind,
        SettingKind::Text | SettingKind::Addresses | SettingKind::Servers
    );
    match value {
        DeValue::Array(list) if takes_list => {
            let entries: Vec<String> = list
                .iter()
                .map(|entry| scalar(setting, entry.get_ref()))
                .collect::<Result<_, _>>()?;
            match entries.iter().find(|entry| entry.contains(',')) {
                Some(entry) => Err(format!("{entry:?} holds a comma, which separates entries")),
                None => Ok(entries.join(",")),
            }
        }
        other => scalar(setting, other),
    }
}

fn scalar(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(DeString::clone(text).into_owned()),
        DeValue::Boolean(yes) => Ok(yes.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        // Permission bits are octal however they are written: 0o660 or 660.
        DeValue::Integer(number) if setting.kind == SettingKind::Octal && number.radix() == 8 => {
            Ok(number.as_str().to_owned())
        }
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            // Told with its range where values are checked.
            Err(_) => Ok(number.to_string()),
        },
        other => Err(format!("{} is wanted, not {}", setting.range(), kind(other))),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(values: &FileValues, name: &str) -> String {
        values.settings[name].text.to_string_lossy().into_owned()
    }

    #[test]
    fn values_of_every_kind_are_those_a_variable_would_hold() {
        let values = FileValues::parse(
            "max_cvt = 4_000\nallow_upscaling = false\nmax_image_cache_size = 12.5\ncors = \"*\"\n\
             uri_map = [\"a=>IIIF\", \"b=>IIP\"]\nsocket_mode = 0o660\nmax_icc = 0x10\n\
             bind = \"127.0.0.1:9000\"\nhttp = [\"[::1]:80\", \"./socket\"]\n",
            "f",
        );
        assert_eq!(values.problems, []);
        for (name, expected) in [
            ("MAX_CVT", "4000"),
            ("ALLOW_UPSCALING", "false"),
            ("MAX_IMAGE_CACHE_SIZE", "12.5"),
            ("CORS", "*"),
            ("URI_MAP", "a=>IIIF,b=>IIP"),
            ("SOCKET_MODE", "660"),
            ("MAX_ICC", "16"),
        ] {
            assert_eq!(text(&values, name), expected, "{name}");
        }
        assert_eq!(values.settings["URI_MAP"].place, "f:5");
        assert_eq!(values.bind, ["127.0.0.1:9000"]);
        assert_eq!(values.http, ["[::1]:80", "./socket"]);
        let decimal = FileValues::parse("socket_mode = 660", "f");
        assert_eq!(text(&decimal, "SOCKET_MODE"), "660");
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let values = FileValues::parse(
            "max_ctv = 3\nMAX-CVT = 3\nzzz = 1\nbind = 9000\ncors = 1979-05-27\n\n[encoders]\njpeg_quality = 3\n",
            "f",
        );
        let told: Vec<String> = values.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "f:1: max_ctv: there is no such setting; max_cvt is the nearest",
                "f:2: MAX-CVT: there is no such setting; max_cvt is the nearest",
                "f:3: zzz: there is no such setting",
                "f:4: bind: a text or a list of texts is wanted, not a number",
                "f:5: cors: text is wanted, not a date",
                "f:7: encoders: there is no such setting",
            ]
        );
        assert!(values.problems.iter().all(|p| p.severity == Severity::Error));
    }

    #[test]
    fn every_broken_line_is_told() {
        let values = FileValues::parse("max_cvt = \nallow_upscaling = yes\njpeg_quality = 80\n", "f");
        let places: Vec<&str> = values.problems.iter().map(|p| p.name.as_str()).collect();
        assert!(
            places.contains(&"f:1") && places.contains(&"f:2"),
            "{:?}",
            values.problems
        );
    }

    #[test]
    fn an_entry_with_a_comma_is_refused() {
        let values = FileValues::parse("uri_map = [\"a=>IIIF,b=>IIP\"]", "f");
        assert_eq!(values.problems.len(), 1);
        assert!(values.settings.is_empty());
    }

    #[test]
    fn a_file_that_is_not_there_is_a_mistake() {
        let values = FileValues::read(Path::new("/nothing/here.toml"));
        assert_eq!(values.problems.len(), 1);
        assert_eq!(values.problems[0].name, "/nothing/here.toml");
    }

    #[test]
    fn a_file_too_large_for_settings_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.toml");
        std::fs::write(&path, format!("{} = 1", "a".repeat(MAX_BYTES as usize))).unwrap();
        let values = FileValues::read(&path);
        assert_eq!(values.problems.len(), 1);
        assert!(
            values.problems[0].message.contains("larger than"),
            "{:?}",
            values.problems
        );
    }
}
