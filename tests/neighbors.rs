//! Tiles of a screen asked for at the same time.

use support::Server;
use support::fixture::Images;
use support::image::assert_same;
use support::master::jpeg2000;
use support::picture::Picture;
use support::server::Settings;

/// Asks for each tile of a picture of 1500×1100 by a client of its own, all at once.
fn screen(server: &Server, name: &str) -> Vec<(String, Picture)> {
    let targets: Vec<String> = (0..5u32)
        .flat_map(|row| (0..6u32).map(move |col| (col * 256, row * 256)))
        .map(|(x, y)| format!("/iiif/3/{name}/{x},{y},256,256/max/0/default.png"))
        .collect();
    std::thread::scope(|scope| {
        let asked: Vec<_> = targets
            .into_iter()
            .map(|target| {
                scope.spawn(move || {
                    let picture = server.client().get(&target).picture();
                    (target, picture)
                })
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

fn check(photo: &Picture, shown: &[(String, Picture)]) {
    for (number, (target, picture)) in (0u32..).zip(shown) {
        let (x, y) = (number % 6 * 256, number / 6 * 256);
        let (w, h) = (256.min(photo.width - x), 256.min(photo.height - y));
        assert_same(target, picture, &photo.crop(x, y, w, h));
    }
}

fn images() -> (Images, Picture) {
    let photo = Picture::photograph(1500, 1100, 3, 4);
    let images = Images::new();
    images.write("one.j2k", &jpeg2000(&photo, None));
    images.write("tiled.j2k", &jpeg2000(&photo, Some((256, 256))));
    (images, photo)
}

#[test]
fn a_screen_is_decoded_in_few_calls_and_shows_the_same_pixels() {
    let (images, photo) = images();
    let server = Settings::new(images.folder())
        .with("MAX_IMAGE_CACHE_SIZE", "40")
        .start();
    // Opened before, so that all tiles are waiting at the same time.
    let small = server.client().get("/iiif/3/one.j2k/full/60,/0/default.png");
    assert_eq!(small.status, 200);
    let before = server.health()["joined_tiles"]["decodes"].as_u64().unwrap();
    check(&photo, &screen(&server, "one.j2k"));
    let joined = &server.health()["joined_tiles"];
    let (decodes, taken) = (
        joined["decodes"].as_u64().unwrap() - before,
        joined["taken"].as_u64().unwrap(),
    );
    assert!(decodes <= 15 && taken >= 15, "{joined}");
}

#[test]
fn tiles_that_gain_nothing_from_their_neighbors_are_decoded_one_by_one() {
    let (images, photo) = images();
    let server = Server::start(images.folder());
    check(&photo, &screen(&server, "tiled.j2k"));
    assert_eq!(server.health()["joined_tiles"]["taken"], 0);
}

#[test]
fn without_a_cache_nothing_is_joined_and_a_small_one_joins_what_fits() {
    let (images, photo) = images();
    for size in ["0", "1"] {
        let server = Settings::new(images.folder())
            .with("MAX_IMAGE_CACHE_SIZE", size)
            .start();
        check(&photo, &screen(&server, "one.j2k"));
        let joined = &server.health()["joined_tiles"];
        assert!(joined["bytes"].as_u64().unwrap() <= 512_000, "{joined}");
        if size == "0" {
            assert_eq!(joined["decodes"], 0, "{joined}");
        }
    }
}
