//! Decoder modules: listed, refused, crashing, failing.

use std::process::Output;

use support::fixture::{Images, Layout, TiffFile};
use support::flat::FlatTiff;
use support::picture::Picture;
use support::server::{Settings, run};
use support::{built, wait};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn list(modules: &str) -> Output {
    run(["--list-modules", "--json"], &[("DECODER_MODULES", modules)])
}

fn modules(output: &Output) -> Vec<serde_json::Value> {
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    document["modules"].as_array().expect("a list").clone()
}

fn example(name: &str) -> String {
    built::example_module(name).display().to_string()
}

#[test]
fn the_built_in_modules_are_listed() {
    let output = run(["--list-modules"], &[]);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    for part in [
        "tiff",
        env!("CARGO_PKG_VERSION"),
        "libiiphost_tiff.so",
        "abi           1.0",
        "ready",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let listed = modules(&list(""));
    let tiff = listed.iter().find(|m| m["id"] == "tiff").expect("a TIFF module");
    assert_eq!(
        (&tiff["id"], &tiff["abi"], &tiff["origin"]),
        (&"tiff".into(), &"1.0".into(), &"built-in".into())
    );
    assert!(tiff["path"].as_str().unwrap().starts_with('/'));
    assert!(tiff["error"].is_null());
}

#[test]
fn a_module_from_elsewhere_is_loaded_before_the_built_in_ones() {
    let listed = modules(&list(&example("module_scripted")));
    let ids: Vec<_> = listed.iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids[0], "scripted");
    assert!(ids[1..].contains(&"tiff"), "{ids:?}");
    assert_eq!(listed[0]["origin"], "listed");
}

#[test]
fn what_a_module_prints_does_not_get_into_the_list() {
    let listed = modules(&list(&example("module_one_at_a_time")));
    let module = &listed[0];
    assert_eq!(module["id"], "one-at-a-time");
    assert_eq!(module["threading"], "global lock");
    assert_eq!(module["digest"].as_str().map(str::len), Some(64));
    assert_eq!(module["options"][0]["name"], "depth");
    assert_eq!(
        (&module["faults"], &module["last_fault"]),
        (&0.into(), &serde_json::Value::Null)
    );
}

#[test]
fn what_is_no_module_is_refused_in_one_sentence() {
    for (path, part) in [
        ("/bin/true".to_owned(), ""),
        ("/nothing/here.so".to_owned(), ""),
        (example("module_no_header"), "no iiphost header"),
        (example("module_bad_magic"), ""),
        (example("module_other_abi"), "1"),
        (example("module_newer_abi"), "1."),
        (example("module_no_root"), ""),
        (example("module_aborts"), "panic"),
        (
            example("crashing_module"),
            "crashed while it was loaded (signal 6)",
        ),
    ] {
        let output = list(&path);
        assert_eq!(output.status.code(), Some(1), "{path}");
        let listed = modules(&output);
        let failed: Vec<_> = listed.iter().filter(|m| m["state"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{listed:?}");
        let reason = failed[0]["error"].as_str().unwrap();
        assert!(reason.contains(&path) && reason.contains(part), "{reason}");
        assert!(
            !reason.contains('\n') && !reason.contains("panicked at"),
            "{reason}"
        );
        assert!(listed.iter().any(|m| m["id"] == "tiff" && m["state"] == "ready"));
        // Nor does the server start with it.
        let output = run(["--http", "127.0.0.1:0"], &[("DECODER_MODULES", &path)]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    }
}

#[test]
fn an_optional_module_that_fails_is_a_warning() {
    let (images, _) = Images::with_photo();
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", "optional:/bin/true")
        .start();
    let _ = server.client().iip("FIF=photo.tif&JTL=0,0").picture();
    assert!(
        server.settled_log().contains("WARN") && server.log().contains("/bin/true"),
        "{}",
        server.log()
    );
}

#[test]
fn a_host_without_modules_does_not_start() {
    let built_in: Vec<String> = modules(&list(""))
        .iter()
        .map(|m| format!("-{}", m["id"].as_str().unwrap()))
        .collect();
    let none = built_in.join(",");
    let output = run(["--http", "127.0.0.1:0"], &[("DECODER_MODULES", &none)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no module"),
        "{}",
        text(&output.stderr)
    );
    let output = run(["--http", "127.0.0.1:0"], &[("DECODER_MODULES", "-nothing")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("nothing"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn every_module_says_what_it_thinks_of_a_file() {
    let (images, _) = Images::with_photo();
    let path = images.path("photo.tif").display().to_string();
    let output = run(
        ["--probe", &path],
        &[("DECODER_MODULES", &example("module_scripted"))],
    );
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(
        shown.contains("scripted") && shown.contains("tiff opens it"),
        "{shown}"
    );
    images.write("none.tif", b"nothing that anybody knows");
    let path = images.path("none.tif").display().to_string();
    let output = run(["--probe", &path], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("no module opens it"));
}

/// A picture that cannot be shown says why: in the log of a host as it is by default, and beforehand.
#[test]
fn an_image_that_is_refused_says_why_in_the_log_and_to_probe() {
    let (images, _) = Images::with_photo();
    let old = FlatTiff::new(8, 8, 1, 8, 1, vec![0; 64]).said_to_be(6);
    images.write("old.tif", &old.bytes());
    let path = images.path("old.tif").display().to_string();
    let output = run(["--probe", &path], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("no module opens it: ") && said.contains("old-style JPEG"),
        "{said}"
    );
    // What opens and turns out to be broken further inside is told, too.
    let mut broken = TiffFile::pyramid(&Picture::photograph(300, 200, 3, 0), Layout::default());
    let smallest = broken.levels.len() - 1;
    broken.set_tile_offset(smallest, 0, 1 << 30);
    images.add("broken.tif", &broken);
    let path = images.path("broken.tif").display().to_string();
    let output = run(["--probe", &path], &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("tiff opens it and gives no pixels: "), "{said}");
    let server = Settings::new(images.folder()).start();
    let reply = server.client().get("/iiif/3/old.tif/info.json");
    assert_eq!(reply.status, 415);
    assert!(!reply.text().contains("JPEG"), "{}", reply.text());
    let log = server.settled_log();
    assert!(log.contains("old-style JPEG"), "{log}");
}

#[test]
fn a_module_that_fails_costs_its_request_and_nothing_else() {
    let (images, _) = Images::with_photo();
    for (name, script) in [
        ("good.scr", "probe: exact\nencoded_tile: none\n"),
        ("probe.scr", "probe: panic\n"),
        ("open.scr", "probe: exact\nopen: panic\n"),
        ("read.scr", "probe: exact\nread: panic\n"),
        ("info.scr", "probe: exact\ninfo: panic\n"),
        ("lie.scr", "probe: exact\ninfo: lie\n"),
        ("unsupported.scr", "probe: exact\nopen: unsupported\n"),
        ("limit.scr", "probe: exact\nread: limit exceeded\n"),
        ("format.scr", "probe: exact\nread: format\n"),
    ] {
        images.write(name, script.as_bytes());
    }
    let mut server = Settings::new(images.folder())
        .with("DECODER_MODULES", example("module_scripted"))
        .start();
    let client = server.client();
    let picture = |name: &str| client.get(&format!("/iiif/3/{name}/full/32,/0/default.png"));
    assert_eq!(picture("good.scr").picture().size(), (32, 20));
    for (name, status) in [
        ("probe.scr", 415),
        ("open.scr", 500),
        ("read.scr", 500),
        ("info.scr", 500),
        ("lie.scr", 500),
        ("unsupported.scr", 415),
        ("format.scr", 500),
    ] {
        for _ in 0..2 {
            let reply = picture(name);
            assert_eq!(reply.status, status, "{name}: {}", reply.text());
            assert!(
                !reply.text().contains("scripted"),
                "a detail of a module in {}",
                reply.text()
            );
        }
        assert!(server.is_alive());
        let _ = client.iip("FIF=photo.tif&JTL=0,0").picture();
    }
    assert_eq!(picture("good.scr").picture().size(), (32, 20));
    let health = server.health();
    assert!(health["module_faults"].as_u64() > Some(2), "{health}");
}

#[test]
fn a_file_that_makes_a_module_panic_is_left_alone_until_it_changes() {
    let images = Images::new();
    images.write("read.scr", b"probe: exact\nread: panic\n");
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", example("module_scripted"))
        .start();
    let client = server.client();
    let ask = || client.get("/iiif/3/read.scr/full/32,/0/default.png").status;
    assert_eq!(ask(), 500);
    let faults = server.health()["module_faults"].clone();
    assert_eq!(faults, 1);
    assert_eq!(ask(), 500);
    assert_eq!(
        server.health()["module_faults"],
        faults,
        "it was not opened again"
    );
    wait::until("the log names the fault", || {
        server.log().contains("panic").then_some(())
    });
}
