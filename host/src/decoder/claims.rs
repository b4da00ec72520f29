//! `DECODER_CLAIMS`: the operator knows better than a module which files it gets.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::options::suggestion;

/// Which files an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Files {
    /// Those with this extension, in lower case, without the dot.
    Extension(String),
    /// Those whose path below the root begins like this.
    Below(String),
}

/// One entry: a module that gets some files, or never gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    module: String,
    files: Files,
    never: bool,
}

impl ClaimRule {
    /// Reads a list: `module=.extension` and `module=folder/` give a module those files whatever it says of
    /// them, a `-` before it keeps them from the module.
    ///
    /// # Errors
    /// A sentence for each entry that means nothing.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Vec<String>> {
        let mut rules = Vec::new();
        let mut mistakes = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            match Self::parse(entry) {
                Some(rule) => rules.push(rule),
                None => mistakes.push(format!(
                    "{entry:?} is not module=.extension or module=folder/ (with - before it: never)"
                )),
            }
        }
        if mistakes.is_empty() {
            Ok(rules)
        } else {
            Err(mistakes)
        }
    }

    fn parse(entry: &str) -> Option<Self> {
        let (never, entry) = match entry.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, entry),
        };
        let (module, files) = entry.split_once('=')?;
        let (module, files) = (module.trim(), files.trim());
        let files = match files.strip_prefix('.') {
            Some(extension) if !files.contains('/') => {
                let usable = !extension.is_empty() && !extension.contains('.');
                usable.then(|| Files::Extension(extension.to_lowercase()))?
            }
            _ => {
                // A path below the root, as identifiers are resolved: nothing empty and no `.` in it.
                let parts = files.strip_suffix('/')?.split('/');
                let plain = parts.into_iter().all(|part| !matches!(part, "" | "." | ".."));
                plain.then(|| Files::Below(files.to_owned()))?
            }
        };
        (!module.is_empty()).then(|| Self {
            module: module.to_owned(),
            files,
            never,
        })
    }

    /// Id of the module it is about.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Whether it is about this module and file.
    fn applies(&self, module: &str, path: &Path, extension: &str) -> bool {
        self.module == module
            && match &self.files {
                Files::Extension(wanted) => wanted == extension,
                Files::Below(folder) => path.as_os_str().as_bytes().starts_with(folder.as_bytes()),
            }
    }
}

impl fmt::Display for ClaimRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.never { "-" } else { "" };
        match &self.files {
            Files::Extension(extension) => write!(f, "{minus}{}=.{extension}", self.module),
            Files::Below(folder) => write!(f, "{minus}{}={folder}", self.module),
        }
    }
}

/// What the operator has decided about a module and a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided<'a> {
    /// Nothing: the module is asked.
    Open,
    /// It gets the file.
    Always(&'a ClaimRule),
    /// It does not.
    Never(&'a ClaimRule),
}

/// Looks up what is decided; of several entries the first counts.
pub(super) fn decided<'a>(rules: &'a [ClaimRule], module: &str, path: &Path, extension: &str) -> Decided<'a> {
    match rules.iter().find(|rule| rule.applies(module, path, extension)) {
        None => Decided::Open,
        Some(rule) if rule.never => Decided::Never(rule),
        Some(rule) => Decided::Always(rule),
    }
}

/// The entries about modules that are not there, each with what is wrong.
pub(super) fn for_nobody(ids: &[&str], rules: &[ClaimRule]) -> Vec<(String, String)> {
    rules
        .iter()
        .filter(|rule| !ids.contains(&rule.module.as_str()))
        .map(|rule| {
            let near = suggestion(&rule.module, ids.iter().copied(), "none is loaded");
            let reason = format!(
                "DECODER_CLAIMS: {rule}: there is no module {:?}{near}",
                rule.module
            );
            (rule.module.clone(), reason)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<ClaimRule> {
        ClaimRule::parse_list(text).unwrap()
    }

    #[test]
    fn entries_are_read_and_written_alike() {
        let text = "mydec=.svs,mydec=scans/raw/,-jpeg=.jpe";
        let written: Vec<_> = parsed(text).iter().map(ToString::to_string).collect();
        assert_eq!(written.join(","), text);
        assert_eq!(parsed(" mydec = .SVS , "), parsed("mydec=.svs"));
        assert_eq!(parsed("a=.hidden/"), parsed("a=.hidden/"));
    }

    #[test]
    fn entries_that_mean_nothing_are_all_named() {
        let wrong = [
            "mydec",
            "mydec=",
            "=.svs",
            "mydec=svs",
            "mydec=/scans/",
            "mydec=../x/",
            "mydec=a//b/",
            "mydec=.",
            "mydec=.tar.gz",
            "-",
        ];
        let mistakes = ClaimRule::parse_list(&wrong.join(",")).unwrap_err();
        assert_eq!(mistakes.len(), wrong.len());
        for (wrong, mistake) in wrong.iter().zip(mistakes) {
            assert!(mistake.starts_with(&format!("{wrong:?} is not")), "{mistake}");
        }
    }

    #[test]
    fn the_first_entry_that_applies_counts() {
        let rules = parsed("m=raw/,-m=.tif,other=.tif");
        let about = |module, path: &str, extension| match decided(&rules, module, Path::new(path), extension)
        {
            Decided::Open => "open",
            Decided::Always(_) => "always",
            Decided::Never(_) => "never",
        };
        assert_eq!(about("m", "raw/a.tif", "tif"), "always");
        assert_eq!(about("m", "rawer/a.tif", "tif"), "never");
        assert_eq!(about("m", "a.jp2", "jp2"), "open");
        assert_eq!(about("other", "a.tif", "tif"), "always");
        assert_eq!(about("third", "raw/a.tif", "tif"), "open");
    }

    #[test]
    fn modules_that_are_not_there_are_named_with_the_nearest() {
        let rules = parsed("tif=.x,tiff=.x");
        assert_eq!(
            for_nobody(&["tiff", "jpeg"], &rules),
            [(
                "tif".to_owned(),
                "DECODER_CLAIMS: tif=.x: there is no module \"tif\"; did you mean \"tiff\"?".to_owned()
            )]
        );
    }
}
