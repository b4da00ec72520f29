//! `iiphost new-module`: writes the start of a decoder module, with all it needs to be built.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::decoder::is_built_in;

mod files {
    include!(concat!(env!("OUT_DIR"), "/module_files.rs"));
}

/// The name the template has in this tree, as a package and as a crate.
const PACKAGE: &str = "my-decoder";
const CRATE: &str = "my_decoder";

/// Where the template finds the interface crate in this tree, and where the new module does.
const API_HERE: &str = "../plugin-api";
const API_THERE: &str = "vendor/iiphost-plugin-api";

/// Crate names that cannot be used in `use NAME::…` or that cargo refuses: keywords of Rust, and the crates
/// every program has.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "iiphost_plugin_api",
    "abi_stable",
];

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("new-module")
        .about("Write the start of a decoder module: a whole small decoder with tests, to be changed")
        .arg(
            Arg::new("NAME")
                .required(true)
                .help("Id of the module and name of its crate: a-z, 0-9, - and _"),
        )
        .arg(
            Arg::new("DIR")
                .value_parser(PathBufValueParser::new())
                .help("Folder to write to, new or empty; default: NAME"),
        )
}

/// Writes the folder and says what to do next.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let name = matches.get_one::<String>("NAME").context("no name")?;
    check_name(name)?;
    let folder = matches
        .get_one::<PathBuf>("DIR")
        .cloned()
        .unwrap_or_else(|| PathBuf::from(name));
    write(name, &folder)?;
    let folder = folder.display();
    println!(
        "{folder} is written. Next:\n\n    cd {folder}\n    cargo test\n    cargo build --release\n    \
         DECODER_MODULES=$PWD/target/release/lib{}.so iiphost --list-modules\n\nREADME.md leads on from there.",
        crate_name(name)
    );
    Ok(ExitCode::SUCCESS)
}

fn crate_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a name can be the id of a module and the name of a crate.
fn check_name(name: &str) -> anyhow::Result<()> {
    let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let ends = name.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric());
    if !starts || !ends || name.len() > 64 || !name.bytes().all(usable) {
        bail!("{name:?} cannot be the name of a module: use up to 64 of a-z, 0-9, - and _, a letter first");
    }
    if RESERVED.contains(&crate_name(name).as_str()) {
        bail!("{name:?} cannot be the name of a crate: Rust or a crate it needs has this name already");
    }
    if is_built_in(name) {
        bail!("{name:?} is the id of a built-in module; two modules of one id cannot be told apart");
    }
    Ok(())
}

/// Writes all files into a new or empty folder.
fn write(name: &str, folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        let mut entries =
            std::fs::read_dir(folder).with_context(|| format!("{} is no folder", folder.display()))?;
        ensure!(
            entries.next().is_none(),
            "{} is not empty; nothing was written",
            folder.display()
        );
    }
    for (file, text) in files::FILES {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&path, filled_in(file, text, name))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The text of a file for a module; the interface crate stays as it is.
fn filled_in(file: &str, text: &str, name: &str) -> String {
    if file.starts_with(API_THERE) {
        return text.to_owned();
    }
    text.replace(PACKAGE, name)
        .replace(CRATE, &crate_name(name))
        .replace(API_HERE, API_THERE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(name, folder.path()).unwrap();
        folder
    }

    fn text(folder: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(folder.path().join(file)).unwrap()
    }

    #[test]
    fn the_name_is_filled_in_everywhere() {
        let folder = written("raw-scan");
        for (file, _) in files::FILES
            .iter()
            .filter(|(file, _)| !file.starts_with("vendor"))
        {
            let text = text(&folder, file);
            for left in [PACKAGE, CRATE, API_HERE] {
                assert!(!text.contains(left), "{left} in {file}");
            }
        }
        assert!(text(&folder, "Cargo.toml").contains("name = \"raw-scan\""));
        assert!(text(&folder, "src/lib.rs").contains("id: \"raw-scan\".into()"));
        assert!(text(&folder, "tests/conformance.rs").contains("use raw_scan::"));
        assert!(text(&folder, "README.md").contains("libraw_scan.so"));
    }

    #[test]
    fn the_interface_crate_stands_alone() {
        let folder = written("mine");
        let manifest = text(&folder, "vendor/iiphost-plugin-api/Cargo.toml");
        assert!(
            !manifest.contains("workspace") && !manifest.contains("path ="),
            "{manifest}"
        );
        for part in [
            "name = \"iiphost-plugin-api\"",
            &format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
            "conformance = [\"host\"]",
            "optional = true }",
        ] {
            assert!(manifest.contains(part), "{part} in {manifest}");
        }
        let lib = text(&folder, "vendor/iiphost-plugin-api/src/lib.rs");
        for line in lib
            .lines()
            .filter(|line| line.starts_with("mod ") || line.starts_with("pub mod "))
        {
            let Some(module) = line.split_whitespace().last().and_then(|m| m.strip_suffix(';')) else {
                continue;
            };
            let source = folder.path().join("vendor/iiphost-plugin-api/src").join(module);
            assert!(
                source.is_dir() || source.with_extension("rs").is_file(),
                "{module}"
            );
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes"), "mine").unwrap();
        assert!(write("mine", folder.path()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_cannot_be_used_are_refused() {
        for good in ["mydec", "raw-scan", "a", "x2_b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Mine",
            "2x",
            "-a",
            "a-",
            "a b",
            "../x",
            "é",
            "match",
            "proc-macro",
            "test",
            "tiff",
            "iiphost-plugin-api",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }
}
