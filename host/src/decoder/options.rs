//! `DECODER_OPTIONS` against the schemas of the modules: a misspelt name must not be ignored.

use iiphost_plugin_api::{ModuleInfo, OptionKind, Options};

/// A setting as the operator wrote it: module, option, value.
pub type Setting = (String, String, String);

/// The settings of one module, names and kinds checked.
///
/// # Errors
/// All mistakes, each naming what is nearest to it or what is expected.
pub(super) fn for_module(info: &ModuleInfo, settings: &[Setting]) -> Result<Options, String> {
    let mut entries = Vec::new();
    let mut mistakes = Vec::new();
    for (_, name, value) in settings.iter().filter(|(module, ..)| *module == info.id) {
        let Some(option) = info.options.iter().find(|option| option.name == *name) else {
            let known = info.options.iter().map(|option| option.name.as_str());
            mistakes.push(format!(
                "module {} has no option {name:?}{}",
                info.id,
                suggestion(name, known, "it has none")
            ));
            continue;
        };
        let fits = match option.kind {
            OptionKind::Text => true,
            OptionKind::Integer => value.parse::<i64>().is_ok(),
            OptionKind::Boolean => matches!(value.as_str(), "true" | "false"),
        };
        if fits {
            entries.push((name.clone(), value.clone()));
        } else {
            let expected = match option.kind {
                OptionKind::Text => "text",
                OptionKind::Integer => "a whole number",
                OptionKind::Boolean => "true or false",
            };
            mistakes.push(format!("{}.{name} is {value:?}, expected {expected}", info.id));
        }
    }
    if mistakes.is_empty() {
        Ok(Options::new(entries))
    } else {
        Err(format!("DECODER_OPTIONS: {}", mistakes.join("; ")))
    }
}

/// The modules that are set but not there, each once, with what is wrong.
pub(super) fn for_nobody(ids: &[&str], settings: &[Setting]) -> Vec<(String, String)> {
    let mut wrong: Vec<(String, String)> = Vec::new();
    for (module, ..) in settings {
        if ids.contains(&module.as_str()) || wrong.iter().any(|(known, _)| known == module) {
            continue;
        }
        let reason = format!(
            "DECODER_OPTIONS: there is no module {module:?}{}",
            suggestion(module, ids.iter().copied(), "none is loaded")
        );
        wrong.push((module.clone(), reason));
    }
    wrong
}

/// The known name nearest to a wrong one, or all of them if none is near.
pub(super) fn suggestion<'a>(
    wrong: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    none: &str,
) -> String {
    let near = known
        .clone()
        .map(|name| (distance(wrong, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3 + 1);
    match near {
        Some((_, name)) => format!("; did you mean {name:?}?"),
        None => {
            let known: Vec<&str> = known.collect();
            if known.is_empty() {
                format!("; {none}")
            } else {
                format!("; there are: {}", known.join(", "))
            }
        }
    }
}

/// Insertions, deletions and replacements that make one text of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut next = vec![index + 1];
        for (pair, b) in row.windows(2).zip(&to) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            let left = next.last().copied().unwrap_or(index + 1);
            let replaced = diagonal + usize::from(a != *b);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::{OptionSpec, Threading};

    use super::*;

    fn info(options: &[(&str, OptionKind)]) -> ModuleInfo {
        ModuleInfo {
            id: "jpeg2000".into(),
            name: "JPEG 2000".into(),
            version: "1".into(),
            license: "MIT".into(),
            formats: vec![],
            capabilities: vec![],
            options: options
                .iter()
                .map(|(name, kind)| OptionSpec {
                    name: (*name).into(),
                    kind: *kind,
                    default: String::new(),
                    description: String::new(),
                })
                .collect(),
            threading: Threading::Reentrant,
        }
    }

    fn setting(module: &str, name: &str, value: &str) -> Setting {
        (module.into(), name.into(), value.into())
    }

    #[test]
    fn known_names_and_kinds_pass() {
        let info = info(&[
            ("threads", OptionKind::Integer),
            ("strict", OptionKind::Boolean),
            ("text", OptionKind::Text),
        ]);
        let settings = [
            setting("jpeg2000", "threads", "-4"),
            setting("tiff", "anything", "x"),
            setting("jpeg2000", "strict", "true"),
            setting("jpeg2000", "text", ""),
        ];
        let options = for_module(&info, &settings).unwrap();
        assert_eq!(
            options.iter().collect::<Vec<_>>(),
            [("threads", "-4"), ("strict", "true"), ("text", "")]
        );
    }

    #[test]
    fn all_mistakes_are_named_with_what_is_nearest() {
        let info = info(&[("threads", OptionKind::Integer), ("strict", OptionKind::Boolean)]);
        let settings = [
            setting("jpeg2000", "thread", "4"),
            setting("jpeg2000", "threads", "many"),
            setting("jpeg2000", "strict", "yes"),
            setting("jpeg2000", "color_of_the_sky", "blue"),
        ];
        assert_eq!(
            for_module(&info, &settings).unwrap_err(),
            "DECODER_OPTIONS: module jpeg2000 has no option \"thread\"; did you mean \"threads\"?; \
             jpeg2000.threads is \"many\", expected a whole number; \
             jpeg2000.strict is \"yes\", expected true or false; \
             module jpeg2000 has no option \"color_of_the_sky\"; there are: threads, strict"
        );
        let bare = super::tests::info(&[]);
        assert!(
            for_module(&bare, &settings[..1])
                .unwrap_err()
                .ends_with("; it has none")
        );
    }

    #[test]
    fn modules_that_are_not_there_are_named_once() {
        let settings = [
            setting("tif", "a", "1"),
            setting("tif", "b", "1"),
            setting("tiff", "c", "1"),
        ];
        assert_eq!(
            for_nobody(&["tiff", "jpeg2000"], &settings),
            [(
                "tif".to_owned(),
                "DECODER_OPTIONS: there is no module \"tif\"; did you mean \"tiff\"?".to_owned()
            )]
        );
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
