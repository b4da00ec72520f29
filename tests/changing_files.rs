//! Files that change while they are served: the picture of now or an error, never one of before.

use support::Server;
use support::fixture::{Images, Layout, TiffFile};
use support::image::assert_same;
use support::picture::Picture;

const PICTURE: &str = "/iiif/3/photo.tif/full/max/0/default.png";

fn version(seed: u32, width: u32) -> (TiffFile, Picture) {
    let picture = Picture::photograph(width, 200, 3, seed);
    (TiffFile::pyramid(&picture, Layout::default()), picture)
}

#[test]
fn a_replaced_file_is_shown_at_once() {
    let images = Images::new();
    let versions = [version(0, 300), version(1, 300), version(2, 320)];
    images.add("photo.tif", &versions[0].0);
    let server = Server::start(images.folder());
    let client = server.client();
    let mut validators = Vec::new();
    for round in 0..30 {
        let (file, picture) = &versions[round % 3];
        images.add("photo.tif", file);
        let reply = client.get(PICTURE);
        assert_same(&format!("round {round}"), &reply.picture(), picture);
        let info = client.get("/iiif/3/photo.tif/info.json").json();
        assert_eq!(info["width"], picture.width);
        validators.push(reply.field("ETag").to_owned());
    }
    for pair in validators.windows(2) {
        assert_ne!(pair[0], pair[1], "another picture has another validator");
    }
    // The validator of a picture that is gone does not hold any more.
    let reply = client.request("GET", PICTURE, &[("If-None-Match", &validators[28])]);
    assert_eq!(reply.status, 200);
}

#[test]
fn a_file_overwritten_in_place_is_shown_at_once() {
    let images = Images::new();
    let (before, after) = (version(0, 300), version(1, 300));
    images.add("photo.tif", &before.0);
    let server = Server::start(images.folder());
    assert_same("before", &server.client().get(PICTURE).picture(), &before.1);
    std::fs::write(images.path("photo.tif"), &after.0.bytes).unwrap();
    assert_same("after", &server.client().get(PICTURE).picture(), &after.1);
}

#[test]
fn a_file_cut_off_is_an_error_and_the_host_lives() {
    let (images, photo) = Images::with_photo();
    let (file, picture) = version(0, 300);
    images.add("other.tif", &file);
    let mut server = Server::start(images.folder());
    let client = server.client();
    assert_same("whole", &client.get(PICTURE).picture(), &photo);
    for length in [20_000, 100, 0] {
        let open = std::fs::File::options()
            .write(true)
            .open(images.path("photo.tif"))
            .unwrap();
        open.set_len(length).unwrap();
        let reply = client.get(PICTURE);
        let expected = if length == 0 { 415 } else { 500 };
        assert_eq!(reply.status, expected, "{length} bytes: {}", reply.text());
        assert!(server.is_alive());
        let other = client.get("/iiif/3/other.tif/full/max/0/default.png");
        assert_same("another image", &other.picture(), &picture);
    }
}

#[test]
fn a_removed_file_is_404_and_shown_when_it_is_back() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    assert_same("there", &client.get(PICTURE).picture(), &photo);
    std::fs::rename(images.path("photo.tif"), images.path("away")).unwrap();
    assert_eq!(client.get(PICTURE).status, 404);
    std::fs::rename(images.path("away"), images.path("photo.tif")).unwrap();
    assert_same("back", &client.get(PICTURE).picture(), &photo);
}

#[test]
fn pictures_are_never_a_mixture_while_a_file_is_replaced() {
    let images = Images::new();
    let versions = [version(0, 600), version(1, 600)];
    images.add("photo.tif", &versions[0].0);
    let server = Server::start(images.folder());
    let address = server.client();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let versions = &versions;
                scope.spawn(move || {
                    for round in 0..25 {
                        // Another region each time, so that something is decoded.
                        let (x, y) = (reader * 40 + round, round * 2);
                        let target = format!("/iiif/3/photo.tif/{x},{y},300,100/max/0/default.png");
                        let shown = address.get(&target).picture();
                        let known = versions.iter().any(|(_, p)| p.crop(x, y, 300, 100) == shown);
                        assert!(known, "{target} is neither version");
                    }
                })
            })
            .collect();
        let mut number = 0;
        while !readers.iter().all(|reader| reader.is_finished()) {
            number += 1;
            images.add("photo.tif", &versions[number % 2].0);
        }
    });
}
