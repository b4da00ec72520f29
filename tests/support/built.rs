//! Finds what cargo built, and refuses to test what is missing or older than its sources.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Set to a folder with `iiphost` and its modules to test an installed host instead of the one cargo
/// built.
pub const FOLDER_VARIABLE: &str = "IIPHOST_TEST_FOLDER";

/// The command that builds everything these tests start.
const COMMAND: &str = "cargo build --workspace --all-targets";

/// The folder of the build profile these tests were built with.
#[must_use]
pub fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test program");
    let folder = test.parent().and_then(Path::parent);
    folder.expect("a test program lies in PROFILE/deps").to_owned()
}

/// The host's program.
///
/// # Panics
/// When it or a module is missing or older than a source file; the message names the command that helps.
#[must_use]
pub fn host() -> PathBuf {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| {
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
            return existing(PathBuf::from(folder).join("iiphost"));
        }
        for module in ["tiff", "jpeg", "jpeg2000"] {
            fresh(&format!("libiiphost_{module}.so"));
        }
        fresh("iiphost")
    })
    .clone()
}

/// A module library that cargo made of an example of this workspace.
///
/// # Panics
/// When it is missing.
#[must_use]
pub fn example_module(name: &str) -> PathBuf {
    existing(profile_folder().join("examples").join(format!("lib{name}.so")))
}

/// A place for files that should outlive a failed test.
#[must_use]
pub fn scratch_folder() -> PathBuf {
    let folder = profile_folder().parent().expect("a target folder").join("tmp");
    std::fs::create_dir_all(&folder).expect("target/tmp can be made");
    folder
}

/// The top folder of this repository.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the repository").to_owned()
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.is_file(), "{} is missing: {COMMAND}", path.display());
    path
}

/// A built file that is no older than the sources it was made of, as cargo lists them beside it.
fn fresh(file: &str) -> PathBuf {
    let path = existing(profile_folder().join(file));
    let list = path.with_extension("d");
    let text = std::fs::read_to_string(&list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let modified = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
    let built = modified(&path).unwrap_or(SystemTime::UNIX_EPOCH);
    for source in sources(&text) {
        let newer = modified(&source).is_none_or(|changed| changed > built);
        assert!(
            !newer,
            "{} is older than {}: {COMMAND}",
            path.display(),
            source.display()
        );
    }
    path
}

/// The prerequisites of a make rule; a blank inside a name has a backslash before it.
fn sources(rule: &str) -> Vec<PathBuf> {
    let prerequisites = rule.split_once(": ").map_or("", |(_, sources)| sources).trim();
    prerequisites
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}
