//! A module of one's own: written by the host, built without the network, checked, loaded, used; and what
//! the checks say of modules that misbehave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::module_versions::packaged;
use support::built;
use support::chromium::Chromium;
use support::fixture::{Compression, Images, Layout, TiffFile};
use support::picture::Picture;
use support::server::{Settings, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The library of a module the host has just written, as README.md of the module says: tested, then built for
/// release. In place of the interface crate that the host has written lies the one that is published.
fn written_module() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = built::scratch_folder().join("written-module");
        let _ = std::fs::remove_dir_all(&folder);
        // What the module needs is compiled once, below the target folder.
        let target = built::scratch_folder().join("written-module-target");
        let name = folder.to_str().expect("a path in UTF-8");
        let said = succeeded(&run(["new-module", "raw-scan", name], &[]));
        assert!(said.contains("libraw_scan.so"), "{said}");
        let vendored = folder.join("vendor/iiphost-plugin-api");
        assert_same_crate(&vendored, packaged());
        std::fs::remove_dir_all(&vendored).expect("a folder");
        succeeded(
            &Command::new("cp")
                .arg("-r")
                .args([packaged(), &vendored])
                .output()
                .expect("cp can be started"),
        );
        // What a stranger gets from the registry lies in cargo's cache: the versions this tree is built with.
        std::fs::copy(built::repository().join("Cargo.lock"), folder.join("Cargo.lock"))
            .expect("a lock file");
        for arguments in [&["test", "--offline"][..], &["build", "--release", "--offline"]] {
            let output = Command::new(env!("CARGO"))
                .args(arguments)
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", &target)
                .env_remove("RUSTFLAGS")
                .output()
                .expect("cargo can be started");
            succeeded(&output);
        }
        let library = target.join("release/libraw_scan.so");
        assert!(library.is_file(), "{} was not built", library.display());
        library
    })
}

/// The files of a crate below a folder, with their text.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("below the folder").to_owned();
            found.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

/// What a manifest means, to others than its own tests.
fn manifest(folder: &Path) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(folder.join("Cargo.toml"))
        .output()
        .expect("cargo can be started");
    let document: serde_json::Value = serde_json::from_str(&succeeded(&output)).expect("JSON");
    let package = &document["packages"][0];
    let mut dependencies: Vec<_> = package["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|d| d["kind"].is_null())
        .map(|d| {
            [
                "name",
                "req",
                "optional",
                "uses_default_features",
                "features",
                "rename",
                "target",
            ]
            .map(|key| d[key].to_string())
        })
        .collect();
    dependencies.sort();
    let keys = [
        "name",
        "version",
        "edition",
        "rust_version",
        "license",
        "description",
        "features",
    ];
    serde_json::json!({
        "package": keys.map(|key| package[key].clone()),
        "dependencies": dependencies,
    })
}

/// Whether a folder holds a crate as `cargo package` makes it: its sources to the byte, its manifest in
/// meaning. The packaged crate also has its tests, which nobody builds who uses it.
fn assert_same_crate(written: &Path, packaged: &Path) {
    assert_eq!(manifest(written), manifest(packaged));
    let own = |name: &Path| {
        let text = name.to_str().unwrap_or_default();
        let of_cargo = text.starts_with("Cargo.") || text == ".cargo_vcs_info.json";
        !of_cargo && !text.starts_with("LICENSE-") && !name.starts_with("tests")
    };
    let sources = |folder| {
        let mut files = files(folder);
        files.retain(|name, _| own(name));
        files
    };
    let (written, packaged) = (sources(written), sources(packaged));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&packaged));
    for (name, text) in &written {
        assert!(packaged[name] == *text, "{} differs", name.display());
    }
}

fn module() -> &'static str {
    written_module().to_str().expect("a path in UTF-8")
}

/// A PPM of a picture.
fn ppm(picture: &Picture) -> Vec<u8> {
    let (width, height) = picture.size();
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        for x in 0..width {
            bytes.extend((0..3).map(|band| picture.at(x, y, band)));
        }
    }
    bytes
}

#[test]
fn a_written_module_builds_and_is_listed() {
    let output = run(["--list-modules"], &[("DECODER_MODULES", module())]);
    let shown = succeeded(&output);
    for part in ["raw-scan", "Portable anymaps", "image/x-portable-pixmap", "ready"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_written_module_gives_pictures() {
    let images = Images::new();
    let picture = Picture::photograph(700, 500, 3, 5);
    images.write("scan.ppm", &ppm(&picture));
    let folder = images.folder().to_str().expect("a path in UTF-8");
    let file = images.path("out.png");
    let output = run(
        [
            "get",
            "/iiif/3/scan.ppm/100,50,400,300/max/0/default.png",
            "--dir",
            folder,
            "-o",
            file.to_str().expect("a path in UTF-8"),
        ],
        &[("DECODER_MODULES", module())],
    );
    succeeded(&output);
    let found = Picture::from_png(&std::fs::read(&file).expect("the picture"));
    support::image::assert_same("written-module", &found, &picture.crop(100, 50, 400, 300));
    // The same over a socket, and a level that the module has to compute.
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", module())
        .start();
    let half = server
        .client()
        .get("/iiif/3/scan.ppm/full/350,/0/default.png")
        .picture();
    support::image::assert_close("written-module-half", &half, &picture.half(), 40.0);
}

#[test]
fn a_viewer_shows_the_pictures_of_a_written_module() {
    let images = Images::new();
    let picture = Picture::photograph(1200, 800, 3, 7);
    images.write("scan.ppm", &ppm(&picture));
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", module())
        .start();
    let mut browser = Chromium::start(700, 500);
    let page = format!("http://{}/viewer.html#scan.ppm", server.http());
    let settled = "window.viewer && viewer.isOpen() && viewer.world.getItemAt(0).getFullyLoaded() \
         && Math.abs(viewer.viewport.getZoom(true) - viewer.viewport.getZoom(false)) < 1e-9";
    browser.open(&page, settled);
    browser.evaluate("viewer.navigator.element.style.display = 'none'");
    // One pixel of the picture on one of the screen, from its upper left corner.
    browser.evaluate(
        "void viewer.viewport.fitBounds(viewer.viewport.imageToViewportRectangle(0, 0, \
         viewer.viewport.getContainerSize().x, viewer.viewport.getContainerSize().y), true)",
    );
    browser.wait_until(settled);
    let place = browser.evaluate(
        "(() => { const r = document.getElementById('view').getBoundingClientRect(); \
          return [r.x, r.y, r.width, r.height].map(Math.round); })()",
    );
    let place: Vec<u32> = place
        .as_array()
        .expect("a list")
        .iter()
        .map(|n| n.as_u64().expect("a number") as u32)
        .collect();
    browser.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
    );
    let shown = browser.screenshot().crop(place[0], place[1], 300, 200);
    support::image::assert_close(
        "written-module-viewer",
        &shown,
        &picture.crop(0, 0, 300, 200),
        30.0,
    );
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn a_written_module_passes_its_checks() {
    let images = Images::new();
    images.write("scan.ppm", &ppm(&Picture::photograph(400, 300, 3, 5)));
    images.write("dot.pgm", b"P5 1 1 255\n\x80");
    images.write("other.txt", b"somebody else's");
    let report = check(module(), Some(images.folder()), &[]);
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(report["module"]["id"], "raw-scan");
    let outcomes: Vec<_> = outcomes(&report)
        .into_iter()
        .map(|(_, outcome, _)| outcome)
        .collect();
    // It has neither stored tiles nor metadata.
    assert_eq!(
        outcomes.iter().filter(|o| *o == "skipped").count(),
        2,
        "{report:#}"
    );
}

#[test]
fn the_built_in_modules_pass_their_checks() {
    let grey = Picture::photograph(301, 203, 1, 3);
    let small = Picture::photograph(160, 120, 3, 4);
    let layout = |big, big_endian, compression| Layout {
        big,
        big_endian,
        tile: 64,
        levels: 2,
        compression,
        ..Layout::default()
    };
    let tiffs = Images::new();
    for (name, picture, layout) in [
        ("plain.tif", &grey, layout(false, true, Compression::None)),
        (
            "big.tf8",
            &small,
            layout(true, false, Compression::Deflate { predictor: true }),
        ),
        ("jpeg.tif", &small, layout(false, false, Compression::Jpeg(85))),
    ] {
        tiffs.add(name, &TiffFile::pyramid(picture, layout));
    }
    let jpegs = Images::new();
    jpegs.write("small.jpg", &small.to_jpeg(85));
    jpegs.write("grey.jpg", &grey.to_jpeg(95));
    // Their own packages check JPEG and JPEG 2000 on many kinds of files; here it is the libraries.
    for (module, files) in [
        ("tiff", Some(tiffs.folder())),
        ("jpeg", Some(jpegs.folder())),
        ("jpeg2000", None),
    ] {
        let library = built::profile_folder().join(format!("libiiphost_{module}.so"));
        let report = check(&library.display().to_string(), files, &[]);
        assert_eq!(report["passed"], true, "{report:#}");
        assert_eq!(report["module"]["id"], module);
    }
}

#[test]
fn a_folder_in_use_and_a_bad_name_are_refused() {
    let images = Images::new();
    images.write("notes.txt", b"mine");
    let folder = images.folder().display().to_string();
    let output = run(["new-module", "mine", folder.as_str()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("is not empty"),
        "{}",
        text(&output.stderr)
    );
    let output = run(["new-module", "tiff", "/nothing/here"], &[]);
    assert!(
        text(&output.stderr).contains("built-in"),
        "{}",
        text(&output.stderr)
    );
}

/// The report of `check-module`.
fn check(library: &str, files: Option<&Path>, more: &[&str]) -> serde_json::Value {
    let files = files.map(|folder| folder.display().to_string());
    let mut arguments = vec!["check-module", library, "--json"];
    if let Some(folder) = &files {
        arguments.extend(["--files", folder]);
    }
    arguments.extend(more);
    let output = run(arguments, &[]);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let expected = if report["passed"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(expected), "{report:#}");
    report
}

/// Id, outcome and reason of each check.
fn outcomes(report: &serde_json::Value) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    report["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (text(&c["id"]), text(&c["outcome"]), text(&c["reason"])))
        .collect()
}

fn reason(report: &serde_json::Value, id: &str) -> String {
    let (_, outcome, reason) = outcomes(report)
        .into_iter()
        .find(|(found, ..)| found == id)
        .unwrap_or_else(|| panic!("no {id} in {report:#}"));
    assert_eq!(outcome, "fail", "{id} in {report:#}");
    reason
}

#[test]
fn a_crash_while_loading_is_a_result() {
    let library = built::example_module("crashing_module").display().to_string();
    let report = check(&library, None, &[]);
    assert!(reason(&report, "load").contains("crashed while it was loaded (signal 6)"));
    assert_eq!(outcomes(&report).len(), 1);
}

#[test]
fn a_module_that_claims_everything_is_found_out() {
    let library = built::example_module("module_claims_all").display().to_string();
    let report = check(&library, None, &[]);
    assert!(reason(&report, "no-false-claims").contains("claimed as exact (mine)"));
}

#[test]
fn panics_and_lies_and_hangs_are_found_out() {
    let library = built::example_module("module_scripted").display().to_string();
    for (script, id, words) in [
        (
            "read: panic",
            "region-is-crop",
            "panicked (scripted panic in read)",
        ),
        ("info: lie about levels", "info", "65 levels, expected 1 to 64"),
        ("open: hang", "info", "no end after 2 seconds"),
    ] {
        let images = Images::new();
        images.write("a.script", format!("probe: exact\n{script}\n").as_bytes());
        let report = check(&library, Some(images.folder()), &["--time", "2"]);
        let found = reason(&report, id);
        assert!(found.contains(words), "{script}: {found}");
        assert!(found.contains("a.script"), "{found}");
    }
}

#[test]
fn options_are_checked_against_the_schema() {
    for (options, words) in [
        (
            "tiff.strip_cache=3",
            "module tiff has no option \"strip_cache\"; did you mean \"strip_cache_mb\"?",
        ),
        (
            "tif.strip_cache_mb=3",
            "there is no module \"tif\"; did you mean \"tiff\"?",
        ),
        (
            "tiff.strip_cache_mb=many",
            "tiff.strip_cache_mb is \"many\", expected a whole number",
        ),
    ] {
        let variables = [("DECODER_OPTIONS", options)];
        for arguments in [
            &["--check-config"][..],
            &["--http", "127.0.0.1:0"],
            &["--list-modules"],
        ] {
            let output = run(arguments.iter().copied(), &variables);
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {options}");
            let said = text(&output.stderr) + &text(&output.stdout);
            assert!(said.contains(words), "{said}");
        }
    }
    succeeded(&run(
        ["--list-modules"],
        &[("DECODER_OPTIONS", "tiff.strip_cache_mb=3")],
    ));
}

#[test]
fn the_server_is_unharmed_by_hangs_lies_and_false_claims() {
    let (images, _) = Images::with_photo();
    for (name, script) in [
        ("hang.scr", "open: hang"),
        ("levels.scr", "info: lie about levels"),
        ("nothing.scr", "info: lie about nothing"),
        ("tiles.scr", "info: lie about tiles"),
        ("bands.scr", "info: lie about bands"),
        ("pages.scr", "info: lie about pages"),
    ] {
        images.write(name, format!("probe: exact\n{script}\n").as_bytes());
    }
    let mut server = Settings::new(images.folder())
        // The built-in module wins the tie with the one that claims everything.
        .with(
            "DECODER_MODULES",
            format!(
                "{},tiff,{}",
                built::example_module("module_scripted").display(),
                built::example_module("module_claims_all").display()
            ),
        )
        .with("REQUEST_TIMEOUT", "2")
        .with("RENDER_THREADS", "2")
        .start();
    let client = server.client();
    let ask = |name: &str| client.get(&format!("/iiif/3/{name}/full/32,/0/default.png"));
    for (name, status) in [
        // The one call that does not return keeps a thread; the request ends, and others are served.
        ("hang.scr", 503),
        ("levels.scr", 500),
        ("nothing.scr", 500),
        ("tiles.scr", 500),
        ("bands.scr", 500),
        ("pages.scr", 500),
    ] {
        let reply = ask(name);
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let _ = client.iip("FIF=photo.tif&JTL=0,0").picture();
    }
    images.write("noise.bin", b"nothing that anybody knows");
    assert_eq!(ask("noise.bin").status, 500);
    assert!(server.is_alive());
}
