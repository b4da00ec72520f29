//! Deep Zoom.

use support::Server;
use support::fixture::Images;
use support::image::{assert_close, assert_same};
use support::picture::Picture;

#[test]
fn the_document_describes_the_image() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let reply = server.client().get("/deepzoom/photo.tif.dzi").expect(200);
    assert_eq!(reply.field("Content-Type"), "application/xml");
    for part in [
        "TileSize=\"256\"",
        "Overlap=\"0\"",
        "Width=\"1000\"",
        "Height=\"700\"",
        "Format=\"jpg\"",
    ] {
        assert!(reply.text().contains(part), "{part} in {}", reply.text());
    }
}

#[test]
fn every_level_down_to_one_pixel_has_its_tiles() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    let levels = photo.pyramid(4);
    for number in 0..=10u32 {
        let reduction = 1 << (10 - number);
        let (width, height) = (1000u32.div_ceil(reduction), 700u32.div_ceil(reduction));
        for row in 0..height.div_ceil(256) {
            for col in 0..width.div_ceil(256) {
                let target = format!("/deepzoom/photo.tif_files/{number}/{col}_{row}.png");
                let tile = connection.get(&target).picture();
                let (x, y) = (col * 256, row * 256);
                let size = (256.min(width - x), 256.min(height - y));
                assert_eq!(tile.size(), size, "{target}");
                match levels.get((10 - number) as usize) {
                    Some(level) if level.size() == (width, height) => {
                        assert_same(&target, &tile, &level.crop(x, y, size.0, size.1));
                    }
                    // The stored level is a row short, which is repeated.
                    Some(level) => {
                        let expected = Picture::new(size.0, size.1, 3, |i, j, band| {
                            level.at(i.min(level.width - 1), j.min(level.height - 1), band)
                        });
                        assert_same(&target, &tile, &expected);
                    }
                    None if size.0 > 4 => {
                        assert_close(&target, &tile, &photo.resize(width, height), 25.0);
                    }
                    None => {}
                }
            }
        }
    }
}

#[test]
fn what_is_outside_is_404_and_what_is_no_tile_400() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    for (rest, status) in [
        ("11/0_0.jpg", 404),
        ("10/4_0.jpg", 404),
        ("10/0_3.jpg", 404),
        ("10/0_0.gif", 404),
        ("10/-1_0.jpg", 400),
        ("10/a_b.jpg", 400),
        ("10/99999999999999999999_0.jpg", 404),
    ] {
        let reply = server.client().get(&format!("/deepzoom/photo.tif_files/{rest}"));
        assert_eq!(reply.status, status, "{rest}: {}", reply.text());
    }
}
