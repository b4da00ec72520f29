//! Modules that break every rule, loaded and used while eight clients look at a TIFF: they see nothing of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::client::Client;
use support::fixture::Images;
use support::image::assert_close;
use support::picture::Picture;
use support::server::{Settings, run};
use support::{Server, built, wait};

const CLIENTS: u32 = 8;

/// Runs `meanwhile` while clients read a picture, no region twice, so that every reply has to be made.
/// Each reply must be the right picture.
fn beside_a_load(server: &Server, photo: &Picture, meanwhile: impl FnOnce(Client)) {
    let (client, stop, made) = (server.client(), AtomicBool::new(false), AtomicUsize::new(0));
    let (stop, made) = (&stop, &made);
    // The load also ends when an assertion fails beside it.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut connection = client.connect();
                for round in 0.. {
                    // However short the rest is, everybody looks a few times.
                    if stop.load(Ordering::Relaxed) && round >= 5 {
                        return;
                    }
                    let (x, y) = (number * 110 + round % 100, round / 100 * 8 % 600);
                    let side = 64 + round / 7000;
                    let target = format!("/iiif/3/photo.tif/{x},{y},{side},{side}/max/0/default.jpg");
                    let shown = connection.get(&target).picture();
                    assert_close(&target, &shown, &photo.crop(x, y, side, side), 30.0);
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stop = Stop(stop);
        meanwhile(client);
        drop(stop);
    });
    println!("{} pictures were read meanwhile", made.load(Ordering::Relaxed));
}

fn example(name: &str) -> String {
    built::example_module(name).display().to_string()
}

/// A copy of a good module, changed.
fn spoiled(images: &Images, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = std::fs::read(built::example_module("module_scripted")).expect("a module");
    change(&mut bytes);
    let path: PathBuf = images.path(name);
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

/// Every library that must not be loaded, with words of the sentence that says why.
fn refused(folder: &Images) -> Vec<(String, &'static str)> {
    vec![
        (
            example("module_newer_abi"),
            "speaks module ABI 1.99 (iiphost-plugin-api 9.8.7), this host accepts 1.0: update the host",
        ),
        (example("module_other_abi"), "speaks module ABI"),
        (
            spoiled(folder, "foreign.so", |bytes| {
                // e_machine of the ELF header: AArch64, or x86-64 where the tests run on that.
                let other = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
                bytes[18] = other;
                bytes[19] = 0;
            }),
            "build the module for this machine",
        ),
        (
            spoiled(folder, "short.so", |bytes| bytes.truncate(bytes.len() / 2)),
            "is truncated",
        ),
        (
            spoiled(folder, "head.so", |bytes| bytes.truncate(40)),
            "is truncated",
        ),
        (spoiled(folder, "empty.so", Vec::clear), "an empty file"),
        (
            spoiled(folder, "text.so", |bytes| *bytes = b"#!/bin/sh\n".to_vec()),
            "a script, not a shared library",
        ),
        ("/bin/true".to_owned(), "a program, not a decoder module"),
        ("/nothing/here.so".to_owned(), "cannot be read"),
        (
            example("module_no_header"),
            "is a library, but not a decoder module (it exports no iiphost header)",
        ),
        (
            example("module_bad_magic"),
            "exports something else under the name of the iiphost header",
        ),
        (
            example("module_no_root"),
            "has a fitting header but no usable root module",
        ),
        (example("module_aborts"), "was built with panic = \"abort\""),
        (example("module_panics_early"), "fails while it introduces itself"),
        (
            example("crashing_module"),
            "crashed while it was loaded (signal 6)",
        ),
        (
            example("exiting_module"),
            "ended the process that tried it (exit status: 0) before it was loaded",
        ),
        (
            example("sleeping_module"),
            "did not finish loading within 10 seconds",
        ),
        (example("chatty_module"), "is a library, but not a decoder module"),
    ]
}

#[test]
fn libraries_that_cannot_be_loaded_each_get_a_sentence_and_harm_nothing() {
    let (images, photo) = Images::with_photo();
    let libraries = Images::new();
    let refused = refused(&libraries);
    let list: Vec<String> = refused
        .iter()
        .map(|(path, _)| format!("optional:{path}"))
        .collect();
    let output = run(
        ["--list-modules", "--json"],
        &[("DECODER_MODULES", &list.join(","))],
    );
    assert_eq!(output.status.code(), Some(1));
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (path, words) in &refused {
        let modules = listed["modules"].as_array().expect("a list");
        let module = modules
            .iter()
            .find(|m| m["name"] == path.as_str())
            .unwrap_or_else(|| panic!("{path} in {listed:#}"));
        let reason = module["error"].as_str().expect("a reason");
        println!("{reason}");
        assert_eq!(module["state"], "failed");
        assert!(reason.contains(words), "{reason:?} does not say {words:?}");
        assert!(
            reason.starts_with(path.as_str()),
            "{reason:?} does not begin with {path:?}"
        );
        assert!(!reason.contains('\n'), "{reason:?}");
    }
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", list.join(","))
        .start();
    images.write("slide.svs", b"nobody reads this");
    beside_a_load(&server, &photo, |client| {
        for _ in 0..20 {
            let reply = client.get("/iiif/3/slide.svs/full/max/0/default.jpg");
            assert_eq!(reply.status, 415);
            assert!(!reply.text().contains(".so"), "{}", reply.text());
        }
    });
    // Whoever misses an image is told in the log which modules are missing, and why.
    wait::until("the log names the missing module", || {
        let log = server.log();
        let told = log
            .lines()
            .any(|line| line.contains("no module claims the file") && line.contains("signal 6"));
        told.then_some(())
    });
}

#[test]
fn panics_and_lies_cost_their_request_and_nothing_else() {
    let (images, photo) = Images::with_photo();
    let scripts = [
        ("good", "", 200),
        ("much", "read: log much", 200),
        ("probe", "probe: panic", 415),
        ("open", "open: panic", 500),
        ("info", "info: panic", 500),
        ("read", "read: panic", 500),
        ("metadata", "metadata: panic", 200),
        ("drop", "drop: panic", 200),
        ("size", "info: lie about size", 400),
        ("level", "info: lie", 500),
        ("levels", "info: lie about levels", 500),
        ("none", "info: lie about nothing", 500),
        ("tiles", "info: lie about tiles", 500),
        ("bands", "info: lie about bands", 500),
        ("pages", "info: lie about pages", 500),
    ];
    for (name, script, _) in scripts {
        let script = if script.starts_with("probe") {
            format!("{script}\n")
        } else {
            format!("probe: exact\n{script}\n")
        };
        images.write(&format!("{name}.scr"), script.as_bytes());
    }
    let mut server = Settings::new(images.folder())
        .with(
            "DECODER_MODULES",
            // The one that claims everything stands behind the TIFF module and before all others.
            format!(
                "{},tiff,{}",
                example("module_scripted"),
                example("module_claims_all")
            ),
        )
        .with("DECODER_CLAIMS", "-claims-all=.scr")
        // Images are closed and opened all the time.
        .with("MAX_IMAGE_METADATA_CACHE_SIZE", "2")
        .start();
    beside_a_load(&server, &photo, |client| {
        for (name, script, status) in scripts {
            let reply = client.get(&format!("/iiif/3/{name}.scr/full/max/0/default.jpg"));
            assert_eq!(reply.status, status, "{script}");
            if status != 200 {
                assert!(!reply.text().contains("scripted"), "{}", reply.text());
            }
        }
        // What nobody can open although somebody claims it.
        images.write("noise.bin", b"nothing that anybody knows");
        assert_eq!(client.get("/iiif/3/noise.bin/info.json").status, 500);
    });
    assert!(server.is_alive());
    let log = server.log();
    assert!(
        log.len() < 4 << 20 && log.contains("the others are left out"),
        "a module fills the log"
    );
    let health = server.health();
    // The first six panic; after four impossible shapes it is left alone.
    assert!(health["module_faults"].as_u64() >= Some(10), "{health}");
    let scripted = health["modules"]
        .as_array()
        .and_then(|modules| modules.iter().find(|module| module["id"] == "scripted"))
        .unwrap_or_else(|| panic!("{health}"))
        .clone();
    assert_eq!(scripted["state"], "quarantined", "{health}");
    // Its files are not called unsupported meanwhile, and the log says what it did.
    assert_eq!(
        server
            .client()
            .get("/iiif/3/good.scr/full/31,/0/default.jpg")
            .status,
        500
    );
    assert!(
        server
            .log()
            .contains("module scripted is left alone; the last fault: "),
        "{}",
        server.log()
    );
}

#[test]
fn calls_that_never_come_back_keep_nobody_from_being_served() {
    let (images, photo) = Images::with_photo();
    for entry in ["open", "read", "metadata", "drop"] {
        images.write(
            &format!("{entry}.scr"),
            format!("probe: exact\n{entry}: hang\n").as_bytes(),
        );
    }
    images.write("probe.scr", b"probe: hang\n");
    images.write("good.scr", b"probe: exact\n");
    let mut server = Settings::new(images.folder())
        .with("DECODER_MODULES", example("module_scripted"))
        .with("REQUEST_TIMEOUT", "4")
        .with("RENDER_THREADS", "2")
        .with("MAX_IMAGE_METADATA_CACHE_SIZE", "1")
        .start();
    let picture = |client: Client, name: &str| {
        client
            .get(&format!("/iiif/3/{name}.scr/full/max/0/default.jpg"))
            .status
    };
    beside_a_load(&server, &photo, |client| {
        // Closing never ends; the picture is there all the same.
        assert_eq!(picture(client, "drop"), 200);
        // Twice as many calls as there are threads.
        std::thread::scope(|scope| {
            let asking: Vec<_> = ["open", "read", "probe", "metadata"]
                .map(|name| scope.spawn(move || picture(client, name)))
                .into_iter()
                .collect();
            let statuses: Vec<_> = asking.into_iter().map(|a| a.join().unwrap()).collect();
            assert_eq!(statuses[..3], [503, 503, 503]);
        });
        wait::until("the hanging calls are noticed", || {
            let log = server.log();
            ["open", "read", "probe"]
                .iter()
                .all(|entry| log.contains(&format!("a call hangs: {entry} has not come back")))
                .then_some(())
        });
        assert_eq!(picture(client, "open"), 500, "the file is left alone");
        assert_eq!(picture(client, "read"), 500, "the file is left alone");
    });
    assert!(server.is_alive());
    assert!(
        server.health()["module_faults"].as_u64() >= Some(3),
        "{}",
        server.health()
    );
}

#[test]
fn a_module_of_one_call_at_a_time_that_hangs_does_not_keep_files_from_others() {
    let (images, photo) = Images::with_photo();
    images.write("read.one", b"probe: exact\nread: hang\n");
    images.write("good.one", b"probe: exact\n");
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", example("module_one_at_a_time"))
        .with("REQUEST_TIMEOUT", "4")
        .with("RENDER_THREADS", "2")
        // The photograph is opened anew again and again, and the module asked about it.
        .with("MAX_IMAGE_METADATA_CACHE_SIZE", "0")
        .start();
    let ask = |client: Client, name: &str| {
        client
            .get(&format!("/iiif/3/{name}/full/max/0/default.png"))
            .status
    };
    assert_eq!(ask(server.client(), "good.one"), 200);
    beside_a_load(&server, &photo, |client| {
        assert_eq!(ask(client, "read.one"), 503);
        wait::until("the module is left alone", || {
            server
                .log()
                .contains("a call hangs: read has not come back")
                .then_some(())
        });
        assert_eq!(ask(client, "good.one"), 500);
    });
}

#[test]
fn the_operator_overrules_claims() {
    let (images, photo) = Images::with_photo();
    let bytes = std::fs::read(images.path("photo.tif")).expect("a file");
    images.write("slides/photo.tif", &bytes);
    images.write("good.dat", b"probe: none\n");
    let start = |claims: &str| {
        Settings::new(images.folder())
            .with(
                "DECODER_MODULES",
                format!("{},{}", example("module_claims_all"), example("module_scripted")),
            )
            .with("DECODER_CLAIMS", claims)
            .start()
    };
    let shown = |server: &Server, name: &str| {
        server
            .client()
            .get(&format!("/iiif/3/{name}/full/max/0/default.png"))
    };
    // The file says it is not the module's; the operator says it is.
    let server = start("scripted=.DAT,-claims-all=.tif,-claims-all=slides/");
    assert_eq!(shown(&server, "good.dat").picture().size(), (64, 40));
    assert_eq!(shown(&server, "slides/photo.tif").picture().size(), photo.size());
    assert!(
        !server.log().contains("claimed by a module that cannot open it"),
        "{}",
        server.log()
    );
    // Without the rule that module is asked first, and the file is opened by the next one.
    let server = start("");
    assert_eq!(shown(&server, "photo.tif").picture().size(), photo.size());
    assert!(
        server.log().contains("claimed by a module that cannot open it"),
        "{}",
        server.log()
    );
    let path = images.path("photo.tif").display().to_string();
    let output = run(
        ["--probe", &path],
        &[
            ("DECODER_MODULES", &example("module_scripted")),
            ("DECODER_CLAIMS", "-tiff=.tif,scripted=.tif"),
        ],
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "DECODER_CLAIMS: scripted=.tif",
        "DECODER_CLAIMS: -tiff=.tif",
        "scripted opens it",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn mistakes_about_claims_stop_the_start() {
    for (claims, words) in [
        ("tif=.x", "there is no module \"tif\"; did you mean \"tiff\"?"),
        ("tiff=x", "\"tiff=x\" is not module=.extension or module=folder/"),
        ("tiff", "is not module=.extension"),
    ] {
        for arguments in [&["--check-config"][..], &["--http", "127.0.0.1:0"]] {
            let output = run(arguments.iter().copied(), &[("DECODER_CLAIMS", claims)]);
            assert_eq!(output.status.code(), Some(1), "{claims}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                said.contains("DECODER_CLAIMS: ") && said.contains(words),
                "{said}"
            );
        }
    }
}
