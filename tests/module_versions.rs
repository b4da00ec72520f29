//! Modules built against other versions of the interface crate, and by another compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use support::built;
use support::fixture::Images;
use support::picture::Picture;
use support::server::{Settings, run};

/// The interface crate of the release before this one, as it was packaged. A module built against it has to
/// load for as long as the major version of the ABI stays; never replace it by a newer one before a release.
const PREVIOUS: &str = "tests/fixtures/iiphost-plugin-api-0.1.0.crate";

/// A scratch folder of this file.
fn folder(name: &str) -> PathBuf {
    let folder = built::scratch_folder().join("module-versions").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs a command to its good end.
fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Unpacks a packaged crate and gives the folder with its manifest.
fn unpacked(package: &Path, folder: &Path) -> PathBuf {
    succeed(Command::new("tar").arg("-xzf").arg(package).arg("-C").arg(folder));
    let name = package.file_stem().expect("a file name");
    folder.join(name)
}

/// The scripted module of a packaged crate's own tests, built against that crate alone, by another
/// toolchain if one is named.
fn scripted_module(folder: &Path, api: &Path, toolchain: Option<&str>) -> PathBuf {
    let source = api.join("tests/modules/module_scripted.rs");
    let manifest = format!(
        "[package]\nname = \"scripted\"\nversion = \"0.0.1\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\npath = {source:?}\n\n\
         [dependencies]\niiphost-plugin-api = {{ path = {api:?} }}\n\n[workspace]\n"
    );
    let module = folder.join("module");
    std::fs::create_dir_all(&module).expect("a folder");
    std::fs::write(module.join("Cargo.toml"), manifest).expect("a manifest");
    // The versions that this tree is built with lie in cargo's cache.
    std::fs::copy(built::repository().join("Cargo.lock"), module.join("Cargo.lock")).expect("a lock file");
    // One folder for what all of them need, one build at a time in it; and each library is copied away.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let target = built::scratch_folder()
        .join("module-versions")
        .join(format!("target-{}", toolchain.unwrap_or("own")));
    let mut command = match toolchain {
        None => Command::new(env!("CARGO")),
        Some(toolchain) => {
            let mut command = Command::new("rustup");
            command.args(["run", toolchain, "cargo"]);
            // What cargo has set for this test's own toolchain.
            for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"] {
                command.env_remove(variable);
            }
            command
        }
    };
    succeed(
        command
            .args(["build", "--offline"])
            .current_dir(&module)
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS"),
    );
    let library = folder.join("libscripted.so");
    std::fs::copy(target.join("debug/libscripted.so"), &library).expect("a library");
    library
}

/// The host lists a module, and gives its pictures.
fn serves(library: &Path) {
    let listed = run(
        ["--list-modules", "--json"],
        &[("DECODER_MODULES", library.to_str().expect("a path in UTF-8"))],
    );
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["modules"][0]["id"], "scripted", "{listed:#}");
    assert_eq!(listed["modules"][0]["state"], "ready", "{listed:#}");
    let images = Images::new();
    images.write("a.scr", b"probe: exact\nencoded_tile: none\n");
    images.write("panic.scr", b"probe: exact\nread: panic\n");
    images.write("format.scr", b"probe: exact\nopen: format\n");
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", library)
        .start();
    let client = server.client();
    let shown = client.get("/iiif/3/a.scr/full/max/0/default.png").picture();
    let expected = Picture::new(64, 40, 1, |x, y, _| (x.wrapping_mul(3) ^ y.wrapping_mul(5)) as u8);
    support::image::assert_same("module of another version", &shown, &expected);
    // Errors and panics cross the boundary, too.
    assert_eq!(client.get("/iiif/3/panic.scr/full/max/0/default.png").status, 500);
    assert_eq!(
        client.get("/iiif/3/format.scr/full/max/0/default.png").status,
        500
    );
    assert_eq!(server.health()["module_faults"], 1);
}

/// This tree's interface crate as `cargo package` makes it, unpacked.
pub(crate) fn packaged() -> &'static Path {
    static API: OnceLock<PathBuf> = OnceLock::new();
    API.get_or_init(|| {
        let folder = folder("packaged");
        succeed(
            Command::new(env!("CARGO"))
                .args([
                    "package",
                    "-p",
                    "iiphost-plugin-api",
                    "--no-verify",
                    "--allow-dirty",
                    "--offline",
                ])
                .arg("--target-dir")
                .arg(&folder)
                .current_dir(built::repository()),
        );
        let made = std::fs::read_dir(folder.join("package")).expect("a folder");
        let package = made
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "crate"))
            .expect("a packaged crate");
        unpacked(&package, &folder)
    })
}

#[test]
fn a_module_built_against_the_previous_version_is_loaded_and_served() {
    let folder = folder("previous");
    let api = unpacked(&built::repository().join(PREVIOUS), &folder);
    serves(&scripted_module(&folder, &api, None));
}

#[test]
fn a_module_built_against_a_newer_version_is_refused_with_what_to_do() {
    let folder = folder("newer");
    let api = folder.join("api");
    succeed(Command::new("cp").arg("-r").arg(packaged()).arg(&api));
    let header = api.join("src/abi/header.rs");
    let text = std::fs::read_to_string(&header).expect("the header");
    let (before, rest) = text
        .split_once("pub const ABI_MINOR: u32 = ")
        .expect("the minor version");
    let (minor, after) = rest.split_once(';').expect("its number");
    let minor: u32 = minor.parse().expect("a number");
    let newer = format!("{before}pub const ABI_MINOR: u32 = {};{after}", minor + 1);
    std::fs::write(&header, newer).expect("the header");
    let manifest = api.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let own = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&own), "{text}");
    std::fs::write(&manifest, text.replacen(&own, "version = \"77.7.7\"", 1)).expect("the manifest");
    let library = scripted_module(&folder, &api, None);
    let output = run(
        ["--list-modules"],
        &[("DECODER_MODULES", library.to_str().expect("a path in UTF-8"))],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = format!(
        "{} speaks module ABI 1.{} (iiphost-plugin-api 77.7.7), this host accepts 1.0",
        library.display(),
        minor + 1
    );
    assert!(
        said.contains(&words)
            && said.contains("update the host, or build the module with an older iiphost-plugin-api"),
        "{said}"
    );
}

#[test]
fn a_module_built_by_another_compiler_is_loaded_and_served() {
    let toolchains = Command::new("rustup").args(["toolchain", "list"]).output();
    let listed = toolchains.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let nightly = listed
        .as_deref()
        .unwrap_or_default()
        .lines()
        .any(|line| line.starts_with("nightly"));
    if !nightly {
        println!("NOT CHECKED: no nightly toolchain is installed (rustup toolchain install nightly)");
        return;
    }
    let folder = folder("nightly");
    serves(&scripted_module(&folder, packaged(), Some("nightly")));
}
