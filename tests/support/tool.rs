//! Other people's programs, to see what the host wrote with eyes that are not its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program and gives its standard output.
///
/// # Panics
/// When it is missing or fails, with what it said.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Vec<u8> {
    run_with(program, arguments, b"")
}

/// [`run`] with something on standard input.
///
/// # Panics
/// As [`run`].
pub fn run_with<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    input: &[u8],
) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C.UTF-8");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{program} cannot be started ({e}): run `make setup`"));
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(input).expect("the program reads its input");
    drop(stdin);
    let output = child
        .wait_with_output()
        .expect("the end of a program that was started");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// What exiftool finds in files, tag names with their group, an object a file.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn exiftool(files: &[&Path]) -> Vec<serde_json::Value> {
    let options = ["-j", "-G1", "-a", "-struct"].map(OsStr::new);
    let out = run(
        "exiftool",
        options.into_iter().chain(files.iter().map(|f| f.as_os_str())),
    );
    serde_json::from_slice(&out).expect("the JSON of exiftool")
}

/// The samples of a picture file as libvips reads them: native byte order, interleaved.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn vips_samples(file: &Path) -> Vec<u8> {
    let raw = file.with_extension("raw");
    run("vips", [OsStr::new("rawsave"), file.as_os_str(), raw.as_os_str()]);
    std::fs::read(&raw).expect("what vips wrote")
}

/// The samples of picture files of one size and kind, one after the other, as libvips reads them in one process.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn vips_samples_of(files: &[&Path], raw: &Path) -> Vec<u8> {
    let list: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    run(
        "vips",
        [
            OsStr::new("arrayjoin"),
            OsStr::new(&list.join(" ")),
            raw.as_os_str(),
            OsStr::new("--across"),
            OsStr::new("1"),
        ],
    );
    std::fs::read(raw).expect("what vips wrote")
}
