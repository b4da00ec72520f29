//! The command line: help, configuration, one request without a server.

use std::net::TcpListener;
use std::process::Output;

use support::Server;
use support::fixture::Images;
use support::image::assert_same;
use support::picture::Picture;
use support::server::run;

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_and_version_are_given() {
    let output = run(["--version"], &[]);
    assert!(output.status.success());
    assert_eq!(
        output.stdout,
        format!("iiphost {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
    let output = run(["--help"], &[]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in [
        "--bind",
        "--http",
        "FILESYSTEM_PREFIX",
        "MAX_CVT",
        "DECODER_MODULES",
        "pyramid",
        "demo",
        "get",
    ] {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn unknown_arguments_are_usage_errors() {
    for arguments in [&["--nothing"][..], &["--bind"], &["get"], &["pyramid", "one"]] {
        let output = run(arguments.iter().copied(), &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!errors(&output).is_empty());
    }
}

#[test]
fn a_good_configuration_is_good() {
    let (images, _) = Images::with_photo();
    let folder = images.folder().display().to_string();
    let settings = [
        ("FILESYSTEM_PREFIX", folder.as_str()),
        ("MAX_CVT", "2000"),
        ("CORS", "*"),
    ];
    let output = run(["--check-config"], &settings);
    assert!(output.status.success(), "{output:?}");
    assert!(errors(&output).is_empty(), "{}", errors(&output));
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let settings = [
        ("MAX_CVT", "wide"),
        ("JPEG_QUALITY", "500"),
        ("RENDER_QUEUE", "many"),
        ("REQUEST_TIMEOUT", "0"),
        ("DECODER_MODULES", "/bin/true"),
    ];
    let output = run(["--check-config"], &settings);
    assert_eq!(output.status.code(), Some(1));
    for (name, _) in &settings[..4] {
        assert!(errors(&output).contains(name), "{name} in {}", errors(&output));
    }
    assert!(errors(&output).contains("/bin/true"), "{}", errors(&output));
    for (name, value) in [("IIIF_EXTRA_INFO", "{"), ("FILESYSTEM_PREFIX", "/nothing/here/")] {
        let output = run(["--check-config"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(errors(&output).contains(name), "{name} in {}", errors(&output));
    }
}

#[test]
fn old_settings_with_wrong_values_warn_and_new_ones_stop_the_start() {
    let (images, _) = Images::with_photo();
    let server = support::server::Settings::new(images.folder())
        .with("JPEG_QUALITY", "500")
        .with("MAX_CVT", "wide")
        .start();
    let log = server.log();
    assert!(log.contains("JPEG_QUALITY") && log.contains("MAX_CVT"), "{log}");
    let _ = server.client().iip("FIF=photo.tif&JTL=0,0").picture();
    let output = run(
        ["--http", "127.0.0.1:0"],
        &[("RENDER_QUEUE", "many"), ("MAX_CONNECTIONS", "none")],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("RENDER_QUEUE") && errors(&output).contains("MAX_CONNECTIONS"));
}

#[test]
fn an_address_that_is_taken_or_none_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (option, address) in [
        ("--http", address.as_str()),
        ("--bind", &address),
        ("--http", "127.0.0.1:99999"),
        ("--bind", "[nothing]:1"),
        ("--bind", "/nothing/here/socket"),
    ] {
        let output = run([option, address], &[]);
        assert_eq!(output.status.code(), Some(1), "{option} {address}");
        assert!(
            errors(&output).contains(address),
            "{address} in {}",
            errors(&output)
        );
    }
}

#[test]
fn a_file_in_the_place_of_a_socket_is_not_removed() {
    let (images, _) = Images::with_photo();
    let path = images.path("photo.tif");
    let before = std::fs::read(&path).unwrap();
    let output = run(["--bind".into(), path.clone().into_os_string()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn one_request_is_answered_without_a_server() {
    let (images, photo) = Images::with_photo();
    let folder = images.folder().display().to_string();
    let output = run(["get", "FIF=photo.tif&OBJ=Max-size", "--dir", &folder], &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"Max-size:1000 700\r\n");
    let file = images.path("part.png");
    let request = "/iiif/3/photo.tif/10,20,300,200/max/0/default.png";
    let output = run(
        [
            "get",
            request,
            "--dir",
            &folder,
            "-o",
            &file.display().to_string(),
        ],
        &[],
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        errors(&output).contains("200") && errors(&output).to_lowercase().contains("content-type: image/png")
    );
    let written = std::fs::read(&file).unwrap();
    assert_same("get", &Picture::from_png(&written), &photo.crop(10, 20, 300, 200));
    // The server gives the same bytes.
    let server = Server::start(images.folder());
    assert_eq!(server.client().get(request).body, written);
    for request in [
        "FIF=nothing.tif&JTL=0,0",
        "/iiif/3/nothing.tif/info.json",
        "NONSENSE=1",
    ] {
        let output = run(["get", request, "--dir", &folder], &[]);
        assert_eq!(output.status.code(), Some(1), "{request}");
    }
}
