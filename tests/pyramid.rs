//! `iiphost pyramid`: what goes in comes out of the server again, and other programs can read it.

use std::path::PathBuf;
use std::process::{Command, Output};

use support::Server;
use support::fixture::{Images, Layout, TiffFile};
use support::image::{assert_close, assert_same};
use support::picture::Picture;
use support::server::run;

fn pyramid(images: &Images, from: &str, to: &str, options: &[&str]) -> Output {
    let (from, to) = (
        images.path(from).display().to_string(),
        images.path(to).display().to_string(),
    );
    let mut arguments = vec!["pyramid", &from, &to];
    arguments.extend(options);
    run(arguments, &[])
}

fn shown(server: &Server, name: &str, size: &str) -> Picture {
    let reply = server
        .client()
        .get(&format!("/iiif/3/{name}/full/{size}/0/default.png"));
    reply.picture()
}

#[test]
fn a_png_without_loss_comes_back_exactly() {
    for bands in [1, 3, 4] {
        let images = Images::new();
        let picture = Picture::photograph(700, 450, bands, 6);
        images.write("in.png", &picture.to_png());
        for (compression, tile) in [
            ("deflate", "256"),
            ("lzw", "128"),
            ("zstd", "256"),
            ("none", "64"),
        ] {
            let name = format!("{compression}.tif");
            let output = pyramid(
                &images,
                "in.png",
                &name,
                &["--compression", compression, "--tile-size", tile],
            );
            assert!(output.status.success(), "{output:?}");
        }
        let server = Server::start(images.folder());
        for name in ["deflate.tif", "lzw.tif", "zstd.tif", "none.tif"] {
            assert_same(
                &format!("{bands} bands, {name}"),
                &shown(&server, name, "max"),
                &picture,
            );
            if bands != 4 {
                // With alpha the mean is taken of premultiplied colors.
                assert_close(name, &shown(&server, name, "350,225"), &picture.half(), 50.0);
            }
            let sizes = server.client().get(&format!("/iiif/3/{name}/info.json")).json()["sizes"].to_string();
            assert!(sizes.contains("350") && sizes.contains("225"), "{sizes}");
        }
    }
}

#[test]
fn a_jpeg_comes_back_nearly() {
    let images = Images::new();
    let picture = Picture::photograph(600, 400, 3, 7);
    images.write("in.jpg", &picture.to_jpeg(98));
    let output = pyramid(&images, "in.jpg", "out.tif", &[]);
    assert!(output.status.success(), "{output:?}");
    let server = Server::start(images.folder());
    assert_close("jpeg", &shown(&server, "out.tif", "max"), &picture, 33.0);
}

#[test]
fn a_pyramid_of_a_pyramid_is_the_same_picture() {
    let (images, photo) = Images::with_photo();
    let output = pyramid(&images, "photo.tif", "again.tif", &["--compression", "deflate"]);
    assert!(output.status.success(), "{output:?}");
    let server = Server::start(images.folder());
    assert_same("again", &shown(&server, "again.tif", "max"), &photo);
}

#[test]
fn other_programs_read_it() {
    let images = Images::new();
    let picture = Picture::photograph(700, 450, 3, 8);
    images.write("in.png", &picture.to_png());
    for compression in ["deflate", "jpeg"] {
        let (name, copy) = (format!("{compression}.tif"), format!("{compression}-copy.tif"));
        let output = pyramid(&images, "in.png", &name, &["--compression", compression]);
        assert!(output.status.success(), "{output:?}");
        let info = without_complaints("tiffinfo", &[images.path(&name)]);
        for part in [
            "Image Width: 700 Image Length: 450",
            "Image Width: 350 Image Length: 225",
            "Tile Width: 256",
        ] {
            assert!(info.contains(part), "{part} in {info}");
        }
        // libtiff decodes it and writes pixels without tiles, levels and loss.
        let _ = without_complaints("tiff2rgba", &[images.path(&name), images.path(&copy)]);
    }
    let server = Server::start(images.folder());
    assert_same(
        "by libtiff",
        &shown(&server, "deflate-copy.tif", "max").rgb(),
        &picture,
    );
    let decoded = shown(&server, "jpeg-copy.tif", "max").rgb();
    assert_close("by libtiff", &decoded, &picture, 33.0);
    assert_close(
        "as by libtiff",
        &shown(&server, "jpeg.tif", "max"),
        &decoded,
        40.0,
    );
}

/// Runs a program of libtiff; anything it complains about is a failure.
fn without_complaints(program: &str, files: &[PathBuf]) -> String {
    let output = Command::new(program)
        .args(files)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; make setup installs libtiff-tools"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program}: {complaints}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_existing_file_is_kept_unless_it_is_given_up() {
    let images = Images::new();
    images.write("in.png", &Picture::photograph(64, 64, 3, 9).to_png());
    images.write("out.tif", b"something of value");
    let output = pyramid(&images, "in.png", "out.tif", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert_eq!(
        std::fs::read(images.path("out.tif")).unwrap(),
        b"something of value"
    );
    assert!(
        pyramid(&images, "in.png", "out.tif", &["--force"])
            .status
            .success()
    );
    assert_ne!(
        std::fs::read(images.path("out.tif")).unwrap(),
        b"something of value"
    );
}

#[test]
fn a_broken_input_leaves_nothing_behind() {
    let images = Images::new();
    let png = Picture::photograph(300, 300, 3, 10).to_png();
    let tiff = TiffFile::pyramid(&Picture::photograph(300, 300, 3, 10), Layout::default()).bytes;
    images.write("cut.png", &png[..png.len() / 2]);
    images.write(
        "cut.jpg",
        &Picture::photograph(300, 300, 3, 10).to_jpeg(90)[..300],
    );
    images.write("cut.tif", &tiff[..tiff.len() / 2]);
    images.write("text.txt", b"no picture at all");
    let count = || std::fs::read_dir(images.folder()).unwrap().count();
    let before = count();
    for name in ["cut.png", "cut.jpg", "cut.tif", "text.txt", "nothing.png"] {
        let output = pyramid(&images, name, "out.tif", &[]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(!output.stderr.is_empty());
        assert_eq!(count(), before, "{name} leaves something behind");
    }
}
