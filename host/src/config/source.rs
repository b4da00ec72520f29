//! Values from flags, environment and a file, read with their types and ranges.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::str::FromStr;

use super::file::{FileValue, FileValues};
use super::settings::{SETTINGS, Setting, SettingKind};

/// Whether the host can start in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It starts with another value.
    Warning,
    /// It does not start.
    Error,
}

/// A wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the variable, or the flag.
    pub name: String,
    /// What is wrong, what is accepted, what is used instead.
    pub message: String,
    /// Whether the host starts.
    pub severity: Severity,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// Values by variable name, from flags, from the environment and from a file.
#[derive(Clone, Debug, Default)]
pub struct Values {
    flags: HashMap<&'static str, OsString>,
    environment: HashMap<&'static str, OsString>,
    file: FileValues,
}

impl Values {
    /// No values: every setting has its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The values of this process's environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let environment = SETTINGS
            .iter()
            .filter_map(|s| Some((s.name, std::env::var_os(s.name)?)))
            .collect();
        Self {
            flags: HashMap::new(),
            environment,
            file: FileValues::default(),
        }
    }

    /// Adds the values of a configuration file; flags and variables win over them. What is wrong with the
    /// file is told with what is wrong with the values.
    pub fn read_file(&mut self, path: &Path) {
        self.file = FileValues::read(path);
    }

    /// The addresses a file names, for FastCGI and for HTTP.
    #[must_use]
    pub fn file_addresses(&self) -> (&[String], &[String]) {
        (&self.file.bind, &self.file.http)
    }

    /// Sets a variable.
    pub fn set_variable(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.insert(name, value.into());
    }

    /// Sets a flag; it wins over the variable.
    pub fn set_flag(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.flags.insert(name, value.into());
    }
}

/// Where a value was found.
#[derive(Clone, Copy, Debug)]
enum Origin<'a> {
    Flag,
    Variable,
    File(&'a FileValue),
}

/// Reads typed values and notes what is wrong.
pub(super) struct Reader<'a> {
    values: &'a Values,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self {
            values,
            problems: values.file.problems.clone(),
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn setting(name: &str) -> &'static Setting {
        // Every name read is a literal of `Config::from_values`; a test reads them all.
        SETTINGS
            .iter()
            .find(|s| s.name == name)
            .expect("the setting is in the table")
    }

    /// The raw value that counts, and where it was found. Only texts can be set to nothing; an empty
    /// variable of another kind is not set.
    fn raw(&self, name: &str) -> Option<(&'a OsString, Origin<'a>)> {
        let Values {
            flags,
            environment,
            file,
        } = self.values;
        let is_text = Self::setting(name).kind == SettingKind::Text;
        let counts = |value: &&OsString| is_text || !value.is_empty();
        let flag = flags.get(name).filter(counts).map(|v| (v, Origin::Flag));
        flag.or_else(|| {
            let variable = environment.get(name).filter(counts);
            variable.map(|v| (v, Origin::Variable))
        })
        .or_else(|| {
            let value = file.settings.get(name).filter(|v| counts(&&v.text));
            value.map(|v| (&v.text, Origin::File(v)))
        })
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|(v, _)| !v.is_empty())
    }

    fn problem(&mut self, setting: &Setting, origin: Origin<'_>, found: &str, used: &str) {
        let severity = if setting.inherited && matches!(origin, Origin::Variable) {
            Severity::Warning
        } else {
            Severity::Error
        };
        let mut message = format!("{found:?} is not {}", setting.range());
        if severity == Severity::Warning {
            message.push_str(&format!("; {used} is used"));
        }
        let name = match origin {
            Origin::Flag => format!("--{}", setting.flag()),
            Origin::Variable => setting.name.to_owned(),
            Origin::File(value) => format!("{}: {}", value.place, setting.name.to_ascii_lowercase()),
        };
        self.problems.push(Problem {
            name,
            message,
            severity,
        });
    }

    pub(super) fn os(&self, name: &str) -> Option<OsString> {
        match self.raw(name) {
            Some((value, _)) => Some(value.clone()),
            None => Some(Self::setting(name).default.into()),
        }
    }

    /// Text, the default if unset.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.set_text(name)
            .or_else(|| Some(Self::setting(name).default.to_owned()))
    }

    /// Text, `None` if unset.
    pub(super) fn set_text(&mut self, name: &str) -> Option<String> {
        let (value, origin) = self.raw(name)?;
        match value.to_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                let setting = Self::setting(name);
                self.problem(setting, origin, &value.to_string_lossy(), "the default");
                None
            }
        }
    }

    /// The word chosen, the default if unset.
    pub(super) fn choice(&mut self, name: &str) -> &'static str {
        let setting = Self::setting(name);
        let SettingKind::Choice(words) = setting.kind else {
            return setting.default;
        };
        let Some((value, is_flag)) = self.raw(name).filter(|(v, _)| !v.is_empty()) else {
            return setting.default;
        };
        let text = value.to_string_lossy();
        match words.iter().find(|w| w.eq_ignore_ascii_case(text.trim())) {
            Some(word) => word,
            None => {
                self.problem(setting, is_flag, &text, setting.default);
                setting.default
            }
        }
    }

    pub(super) fn bool(&mut self, name: &str) -> bool {
        let setting = Self::setting(name);
        let default = setting.default == "1";
        let Some((value, origin)) = self.raw(name) else {
            return default;
        };
        let text = value.to_string_lossy();
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => true,
            "0" | "false" | "no" | "off" => false,
            // Old set-ups may hold any whole number: not zero is true.
            number if setting.inherited && number.parse::<i64>().is_ok() => true,
            _ => {
                self.problem(setting, origin, &text, setting.default);
                default
            }
        }
    }

    pub(super) fn int(&mut self, name: &str) -> i64 {
        let setting = Self::setting(name);
        let SettingKind::Integer(min, max) = setting.kind else {
            return 0;
        };
        self.number(setting, |text| text.parse::<i64>().ok(), min, max)
    }

    pub(super) fn float(&mut self, name: &str) -> f64 {
        let setting = Self::setting(name);
        let SettingKind::Number(min, max) = setting.kind else {
            return 0.0;
        };
        self.number(
            setting,
            |text| text.parse::<f64>().ok().filter(|n| n.is_finite()),
            min,
            max,
        )
    }

    /// The first of several names that is set, else the default of the first.
    pub(super) fn first_int(&mut self, names: &[&str]) -> i64 {
        let name = names.iter().find(|n| self.is_set(n)).or(names.first());
        name.map_or(0, |name| self.int(name))
    }

    fn number<N: PartialOrd + Copy + std::fmt::Display + Default>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Option<N>,
        min: N,
        max: N,
    ) -> N {
        // Defaults are literals of the table; a test parses them all.
        let default = parse(setting.default).unwrap_or_default();
        let Some((value, origin)) = self.raw(setting.name) else {
            return default;
        };
        let text = value.to_string_lossy();
        let Some(number) = parse(text.trim()) else {
            self.problem(setting, origin, &text, setting.default);
            return default;
        };
        let nearest = if number < min {
            min
        } else if number > max {
            max
        } else {
            return number;
        };
        self.problem(setting, origin, &text, &nearest.to_string());
        nearest
    }

    /// The parts of a list, without those that are wrong.
    pub(super) fn list<T: FromStr>(&mut self, name: &str) -> Vec<T> {
        let setting = Self::setting(name);
        let Some((value, origin)) = self.raw(name) else {
            return Vec::new();
        };
        let text = value.to_string_lossy().into_owned();
        let mut parts = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            match part.parse() {
                Ok(part) => parts.push(part),
                Err(_) => self.problem(setting, origin, part, "the rest of the list"),
            }
        }
        parts
    }

    pub(super) fn octal(&mut self, name: &str) -> Option<u32> {
        let setting = Self::setting(name);
        let (value, origin) = self.raw(name)?;
        let text = value.to_string_lossy();
        let bits = u32::from_str_radix(text.trim(), 8)
            .ok()
            .filter(|&bits| bits <= 0o777);
        if bits.is_none() {
            self.problem(setting, origin, &text, "the umask");
        }
        bits
    }
}
