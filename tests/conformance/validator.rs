//! The public validator of the IIIF Image API, `iiif-validator` 1.0.5 of PyPI, on the real host: directly and
//! behind nginx, versions 2.0, 2.1 and 3.0, several random seeds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use support::fixture::Images;
use support::nginx;
use support::server;
use support::{Server, built};

/// Tests that demand what the published text forbids: version and name. `validator.py` says why of each.
const CONTRADICTED: [(&str, &str); 2] = [("3.0", "size_noup"), ("3.0", "size_up")];

/// Tests of formats the host does not write.
const NOT_OFFERED: [&str; 3] = ["format_gif", "format_jp2", "format_pdf"];

/// How many tests the validator has for each version.
const COUNTS: [(&str, usize); 3] = [("2.0", 42), ("2.1", 43), ("3.0", 45)];

/// A Python that has the validator.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = built::scratch_folder().join("iiif-validator");
        let script = built::repository().join("scripts/validator.sh");
        let installed = Command::new(&script).arg(&folder).output();
        let installed = installed.unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
        folder.join("bin/python")
    })
}

/// What `validator.py` prints.
fn validate(arguments: &[&str]) -> String {
    let output = Command::new(python())
        .arg(built::repository().join("tests/conformance/validator.py"))
        .args(arguments)
        .output()
        .expect("python can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A folder with the picture the validator knows, as a master of every kind. The validator asks for names with
/// a minus sign, encoded.
fn squares() -> Images {
    let images = Images::new();
    let path = |name: &str| images.path(name).to_str().expect("a path of text").to_owned();
    let drawn = path("squares.png");
    for name in [&drawn, &path("color-squares.jp2"), &path("color-squares.jpg")] {
        validate(&["picture", name]);
    }
    for compression in ["deflate", "jpeg"] {
        let pyramid = path(&format!("color-squares-{compression}.tif"));
        let made = server::run(["pyramid", "--compression", compression, &drawn, &pyramid], &[]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    images
}

fn assert_valid(base: &str, identifier: &str, seeds: &[&str]) {
    let lines = validate(&[&["run", base, identifier], seeds].concat());
    let results: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect();
    for (version, count) in COUNTS {
        let done = results.iter().filter(|r| r["version"] == version).count();
        assert_eq!(done, count * seeds.len(), "tests of version {version}");
    }
    for result in &results {
        let (version, name) = (
            result["version"].as_str().expect("a version"),
            result["test"].as_str().expect("a name"),
        );
        let expected = if CONTRADICTED.contains(&(version, name)) {
            "contradicted"
        } else if NOT_OFFERED.contains(&name) {
            "not offered"
        } else {
            "pass"
        };
        assert_eq!(result["outcome"], expected, "{base} {identifier}: {result}");
    }
}

#[test]
fn the_public_validator_passes_over_http() {
    let images = squares();
    let server = Server::start(images.folder());
    let base = format!("http://{}", server.http());
    assert_valid(&base, "color-squares-deflate.tif", &["1", "2"]);
}

#[test]
fn the_public_validator_passes_on_masters_of_every_format() {
    let images = squares();
    let server = Server::start(images.folder());
    let base = format!("http://{}", server.http());
    for (identifier, seed) in [
        ("color-squares-jpeg.tif", "3"),
        ("color-squares.jp2", "4"),
        ("color-squares.jpg", "5"),
    ] {
        assert_valid(&base, identifier, &[seed]);
    }
}

#[test]
fn the_public_validator_passes_behind_nginx() {
    let images = squares();
    let server = Server::start(images.folder());
    let nginx = nginx::single(&server.fastcgi().to_string());
    let base = format!("http://{}", nginx.address());
    assert_valid(&base, "color-squares-deflate.tif", &["6", "7"]);
}
