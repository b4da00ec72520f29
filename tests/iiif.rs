//! IIIF Image API 3.0: the document, and pictures compared with a crop and resize made here.

use support::Server;
use support::fixture::Images;
use support::image::{assert_close, assert_same};
use support::picture::Picture;

/// Reduced without loss: the host reads a smaller level and blends neighbors, the test takes the mean of
/// the area. A picture shifted by one pixel is 10 dB below this.
const REDUCED_DB: f64 = 36.0;

/// The same, as JPEG of the default quality with colors at half the resolution.
const JPEG_DB: f64 = 33.0;

fn server() -> (Images, Server, Picture) {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    (images, server, photo)
}

#[test]
fn the_document_describes_the_image() {
    let (_images, server, _) = server();
    let reply = server.client().get("/iiif/3/photo.tif/info.json").expect(200);
    assert!(reply.field("Content-Type").starts_with("application/ld+json"));
    assert_eq!(reply.field("Vary"), "Accept");
    let info = reply.json();
    assert_eq!(info["@context"], "http://iiif.io/api/image/3/context.json");
    assert_eq!(info["id"], format!("http://{}/iiif/3/photo.tif", server.http()));
    assert_eq!(info["type"], "ImageService3");
    assert_eq!(info["protocol"], "http://iiif.io/api/image");
    assert_eq!(info["profile"], "level2");
    assert_eq!((&info["width"], &info["height"]), (&1000.into(), &700.into()));
    assert_eq!(
        info["tiles"],
        serde_json::json!([{ "width": 256, "height": 256, "scaleFactors": [1, 2, 4, 8] }])
    );
    let sizes = info["sizes"].as_array().unwrap();
    for (width, height) in [(1000, 700), (500, 350), (250, 175), (125, 87)] {
        let size = serde_json::json!({ "width": width, "height": height });
        assert!(sizes.contains(&size), "{size} in {sizes:?}");
    }
}

#[test]
fn version_2_has_its_own_document() {
    let (_images, server, _) = server();
    let info = server
        .client()
        .get("/iiif/2/photo.tif/info.json")
        .expect(200)
        .json();
    assert_eq!(info["@context"], "http://iiif.io/api/image/2/context.json");
    assert_eq!(info["@id"], format!("http://{}/iiif/2/photo.tif", server.http()));
    let full = server
        .client()
        .get("/iiif/2/photo.tif/full/full/0/default.jpg")
        .picture();
    assert_eq!(full.size(), (1000, 700));
}

#[test]
fn stored_sizes_are_exact() {
    let (_images, server, photo) = server();
    for level in photo.pyramid(4) {
        let target = format!(
            "/iiif/3/photo.tif/full/{},{}/0/default.png",
            level.width, level.height
        );
        assert_same(&target, &server.client().get(&target).picture(), &level);
    }
    let full = server
        .client()
        .get("/iiif/3/photo.tif/full/max/0/default.png")
        .picture();
    assert_same("max", &full, &photo);
}

#[test]
fn regions_at_full_size_are_exact() {
    let (_images, server, photo) = server();
    for (region, x, y, width, height) in [
        ("0,0,256,256", 0, 0, 256, 256),
        ("768,512,256,256", 768, 512, 232, 188),
        ("100,200,333,77", 100, 200, 333, 77),
        ("999,699,1,1", 999, 699, 1, 1),
        ("900,600,5000,5000", 900, 600, 100, 100),
        ("pct:10,20,50,30", 100, 140, 500, 210),
        ("square", 150, 0, 700, 700),
    ] {
        let target = format!("/iiif/3/photo.tif/{region}/max/0/default.png");
        let shown = server.client().get(&target).picture();
        assert_same(&target, &shown, &photo.crop(x, y, width, height));
    }
}

#[test]
fn sizes_are_reached_from_the_whole_and_from_regions() {
    let (_images, server, photo) = server();
    let part = photo.crop(200, 100, 600, 400);
    for (region, picture) in [("full", &photo), ("200,100,600,400", &part)] {
        let (w, h) = picture.size();
        let by_width = |width: u32| (width, (f64::from(h * width) / f64::from(w)).round() as u32);
        for (size, (width, height)) in [
            ("300,", by_width(300)),
            (",140", ((f64::from(w * 140) / f64::from(h)).round() as u32, 140)),
            (
                "pct:30",
                (
                    (f64::from(w) * 0.3).round() as u32,
                    (f64::from(h) * 0.3).round() as u32,
                ),
            ),
            ("200,200", (200, 200)),
            ("!150,150", by_width(150)),
            ("333,111", (333, 111)),
        ] {
            let target = format!("/iiif/3/photo.tif/{region}/{size}/0/default");
            let expected = picture.resize(width, height);
            let lossless = server.client().get(&format!("{target}.png")).picture();
            assert_close(&target, &lossless, &expected, REDUCED_DB);
            let lossy = server.client().get(&format!("{target}.jpg")).picture();
            assert_close(&target, &lossy, &expected, JPEG_DB);
        }
    }
}

#[test]
fn enlarging_needs_its_sign() {
    let (_images, server, photo) = server();
    let client = server.client();
    assert_eq!(
        client
            .get("/iiif/3/photo.tif/0,0,50,50/100,/0/default.png")
            .status,
        400
    );
    let large = client
        .get("/iiif/3/photo.tif/100,100,50,50/^100,/0/default.png")
        .picture();
    assert_eq!(large.size(), (100, 100));
    // Reduced again it is nearly what it was.
    assert_close("enlarged", &large.half(), &photo.crop(100, 100, 50, 50), 30.0);
}

#[test]
fn turns_and_mirrors_are_exact() {
    let (_images, server, photo) = server();
    let part = photo.crop(40, 60, 120, 80);
    for (rotation, expected) in [
        ("90", part.turn(1)),
        ("180", part.turn(2)),
        ("270", part.turn(3)),
        ("!0", part.mirror()),
        ("!90", part.mirror().turn(1)),
    ] {
        let target = format!("/iiif/3/photo.tif/40,60,120,80/max/{rotation}/default.png");
        assert_same(&target, &server.client().get(&target).picture(), &expected);
    }
}

#[test]
fn gray_has_one_band_and_the_weights_of_luma() {
    let (_images, server, photo) = server();
    let shown = server
        .client()
        .get("/iiif/3/photo.tif/0,0,200,200/max/0/gray.png")
        .picture();
    let expected = Picture::new(200, 200, 1, |x, y, _| {
        let [r, g, b] = [0, 1, 2].map(|band| u32::from(photo.at(x, y, band)));
        ((1_254_097 * r + 2_462_056 * g + 478_151 * b) >> 22) as u8
    });
    assert_same("gray", &shown, &expected);
}

#[test]
fn tiles_of_the_document_cover_every_level() {
    let (_images, server, photo) = server();
    let mut connection = server.client().connect();
    for (number, level) in photo.pyramid(4).iter().enumerate() {
        let step = 256 << number;
        for y in (0..700).step_by(step) {
            for x in (0..1000).step_by(step) {
                let (w, h) = ((1000 - x).min(step), (700 - y).min(step));
                let (tile_w, tile_h) = (w.div_ceil(1 << number), h.div_ceil(1 << number));
                let target = format!("/iiif/3/photo.tif/{x},{y},{w},{h}/{tile_w},{tile_h}/0/default.png");
                let shown = connection.get(&target).picture();
                let (left, top) = ((x >> number) as u32, (y >> number) as u32);
                let part = level.crop(
                    left,
                    top,
                    (tile_w as u32).min(level.width - left),
                    (tile_h as u32).min(level.height - top),
                );
                // Where the stored level is a pixel short of the tile, that pixel is made up.
                match part.size() == shown.size() {
                    true => assert_same(&target, &shown, &part),
                    false => assert_close(&target, &shown, &part.resize(shown.width, shown.height), 30.0),
                }
            }
        }
    }
}

#[test]
fn addresses_that_mean_nothing_are_refused() {
    let (_images, server, _) = server();
    for (rest, status) in [
        ("full/max/0/default.bmp", 400),
        ("full/max/0/nice.jpg", 400),
        ("full/max/400/default.jpg", 400),
        ("full/0,/0/default.jpg", 400),
        ("1000,0,10,10/max/0/default.jpg", 400),
        ("0,0,0,10/max/0/default.jpg", 400),
        ("pct:0,0,0,0/max/0/default.jpg", 400),
        ("full/max/0/default.jpg/more", 400),
        ("full/99999999999999999999,/0/default.jpg", 400),
        ("-1,0,10,10/max/0/default.jpg", 400),
    ] {
        let reply = server.client().get(&format!("/iiif/3/photo.tif/{rest}"));
        assert_eq!(reply.status, status, "{rest}: {}", reply.text());
    }
}

#[test]
fn the_image_itself_leads_to_its_document() {
    let (_images, server, _) = server();
    let reply = server.client().get("/iiif/3/photo.tif").expect(303);
    let address = format!("http://{}/iiif/3/photo.tif/info.json", server.http());
    assert_eq!(reply.field("Location"), address);
}

#[test]
fn links_name_the_canonical_picture() {
    let (_images, server, _) = server();
    let reply = server
        .client()
        .get("/iiif/3/photo.tif/pct:0,0,100,100/pct:50/0/color.jpg")
        .expect(200);
    let link = reply.field("Link");
    assert!(link.contains("/iiif/3/photo.tif/full/500,350/0/"), "{link}");
    assert!(
        link.contains("rel=\"canonical\"") && link.contains("rel=\"profile\""),
        "{link}"
    );
}

#[test]
fn names_with_folders_and_odd_characters_are_found() {
    let (images, photo) = Images::with_photo();
    for name in ["sub/photo.tif", "a b+c.tif", "ü%25.tif"] {
        images.write(name, &std::fs::read(images.path("photo.tif")).unwrap());
    }
    let server = Server::start(images.folder());
    for name in [
        "sub%2Fphoto.tif",
        "a%20b%2Bc.tif",
        "a%20b+c.tif",
        "%C3%BC%2525.tif",
    ] {
        let target = format!("/iiif/3/{name}/0,0,64,64/max/0/default.png");
        assert_same(
            name,
            &server.client().get(&target).picture(),
            &photo.crop(0, 0, 64, 64),
        );
    }
    let info = server.client().get("/iiif/3/sub%2Fphoto.tif/info.json").json();
    assert_eq!(
        info["id"],
        format!("http://{}/iiif/3/sub%2Fphoto.tif", server.http())
    );
}
