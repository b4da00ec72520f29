//! Collects what `iiphost new-module` writes: the template, and the interface crate as it is packaged.
//!
//! Both are taken from the tree at build time, so that they can never be older than the host.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = host.parent().expect("host/ lies in the repository");
    let template = root.join("sdk-template");
    let api = root.join("plugin-api");
    let mut files = Files::default();
    for name in [
        ".github/workflows",
        ".gitignore",
        "Cargo.toml",
        "README.md",
        "rustfmt.toml",
        "src",
        "tests",
    ] {
        files.add(&template, name, "");
    }
    for name in ["abi-layout.txt", "src"] {
        files.add(&api, name, "vendor/iiphost-plugin-api/");
    }
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.add(root, name, "vendor/iiphost-plugin-api/");
    }
    let manifest = packaged_manifest(&read(&root.join("Cargo.toml")), &read(&api.join("Cargo.toml")));
    let mut code = String::from("/// Paths in the new folder and their text.\n");
    code.push_str("pub(super) const FILES: &[(&str, &str)] = &[\n");
    for (name, path) in &files.0 {
        writeln!(
            code,
            "    ({name:?}, include_str!({:?})),",
            path.display().to_string()
        )
        .expect("a string");
        println!("cargo::rerun-if-changed={}", path.display());
    }
    writeln!(
        code,
        "    (\"vendor/iiphost-plugin-api/Cargo.toml\", {manifest:?}),\n];"
    )
    .expect("a string");
    // A file more changes its folder.
    for folder in [template.join("src"), template.join("tests"), api.join("src")] {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    for manifest in [root.join("Cargo.toml"), api.join("Cargo.toml")] {
        println!("cargo::rerun-if-changed={}", manifest.display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("module_files.rs"), code).expect("OUT_DIR can be written to");
}

/// Name in the new folder, file in this tree.
#[derive(Default)]
struct Files(Vec<(String, PathBuf)>);

impl Files {
    /// Adds a file, or all files below a folder.
    fn add(&mut self, base: &Path, name: &str, prefix: &str) {
        let path = base.join(name);
        if path.is_file() {
            self.0.push((format!("{prefix}{name}"), path));
            return;
        }
        let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("a folder that can be read").file_name();
                name.into_string().expect("names in this tree are UTF-8")
            })
            .collect();
        names.sort();
        for entry in names {
            self.add(base, &format!("{name}/{entry}"), prefix);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The interface crate's manifest without what it inherits and what only this workspace can build, as
/// `cargo package` would write it.
fn packaged_manifest(workspace: &str, own: &str) -> String {
    let value = |text: &str, section: &str, key: &str| {
        find(text, section, key).unwrap_or_else(|| panic!("no {key} in [{section}]"))
    };
    let shared = |key| value(workspace, "workspace.package", key);
    // `"1.2"` or `{ version = "1.2", … }`, as the workspace has it, made optional.
    let optional = |name| {
        let written = value(workspace, "workspace.dependencies", name);
        match written.strip_suffix('}') {
            Some(table) => format!("{}, optional = true }}", table.trim_end()),
            None => format!("{{ version = {written}, optional = true }}"),
        }
    };
    let features: String = section(own, "features")
        .filter(|line| !line.trim().is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    format!(
        "[package]\nname = \"iiphost-plugin-api\"\ndescription = {}\nversion = {}\nedition = {}\n\
         rust-version = {}\nlicense = {}\nautoexamples = false\n\n[features]\n{features}\n[dependencies]\n\
         abi_stable = {}\nlibloading = {}\nthiserror = {}\n",
        value(own, "package", "description"),
        shared("version"),
        shared("edition"),
        shared("rust-version"),
        shared("license"),
        value(workspace, "workspace.dependencies", "abi_stable"),
        optional("libloading"),
        optional("thiserror"),
    )
}

/// The lines of a section of a manifest.
fn section<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let header = format!("[{name}]");
    text.lines()
        .skip_while(move |line| line.trim() != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
}

/// The value of a key that stands on one line.
fn find(text: &str, name: &str, key: &str) -> Option<String> {
    section(text, name).find_map(|line| {
        let (found, value) = line.split_once(" = ")?;
        (found.trim() == key).then(|| value.trim().to_owned())
    })
}
