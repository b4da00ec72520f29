//! The Internet Imaging Protocol.

use std::ffi::OsStr;

use support::fixture::{Compression, Images, Layout, TiffFile};
use support::image::{assert_close, assert_same};
use support::picture::Picture;
use support::server::Settings;
use support::{Reply, Server, tool};

/// JPEG of the default quality, colors at half the resolution, of a smooth picture.
const JPEG_DB: f64 = 33.0;

fn body(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{:?}", reply.text());
    reply.text()
}

#[test]
fn objects_describe_the_image() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    let reply = client.iip("FIF=photo.tif&OBJ=Max-size");
    assert_eq!(reply.field("Content-Type"), "application/vnd.netfpx");
    assert_eq!(body(&reply), "Max-size:1000 700\r\n");
    let reply = client.iip("FIF=photo.tif&OBJ=IIP,1.0&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number");
    assert_eq!(reply.field("IIP"), "1.3");
    assert_eq!(
        body(&reply),
        "IIP:1.3\r\nMax-size:1000 700\r\nTile-size:256 256\r\nResolution-number:4\r\n"
    );
}

#[test]
fn every_tile_of_every_level_shows_its_part_of_the_picture() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    for (number, level) in photo.pyramid(4).iter().rev().enumerate() {
        let columns = level.width.div_ceil(256);
        for tile in 0..columns * level.height.div_ceil(256) {
            let (x, y) = (tile % columns * 256, tile / columns * 256);
            let target = format!("/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL={number},{tile}");
            let picture = connection.get(&target).picture();
            let expected = level.crop(x, y, 256.min(level.width - x), 256.min(level.height - y));
            assert_close(&target, &picture, &expected, JPEG_DB);
        }
    }
}

#[test]
fn layouts_and_compressions_show_the_same_picture() {
    let images = Images::new();
    let color = Picture::photograph(600, 410, 3, 1);
    let grey = Picture::photograph(600, 410, 1, 2);
    let deflate = Compression::Deflate { predictor: false };
    let mut names = Vec::new();
    for (number, compression) in [Compression::None, deflate, Compression::Jpeg(95)]
        .into_iter()
        .enumerate()
    {
        for big in [false, true] {
            for big_endian in [false, true] {
                let layout = Layout {
                    big,
                    big_endian,
                    compression,
                    levels: 3,
                    tile: 128,
                    ..Layout::default()
                };
                for (picture, kind) in [(&color, "color"), (&grey, "grey")] {
                    let name = format!("{kind}-{number}-{big}-{big_endian}.tif");
                    images.add(&name, &TiffFile::pyramid(picture, layout));
                    names.push((name, picture, compression));
                }
            }
        }
    }
    let server = Server::start(images.folder());
    let client = server.client();
    for (name, picture, compression) in names {
        // A region over several tiles, without loss on the way out.
        let shown = client.get(&format!("/iiif/3/{name}/70,50,300,200/300,200/0/default.png"));
        let expected = picture.crop(70, 50, 300, 200);
        match compression {
            Compression::Jpeg(_) => assert_close(&name, &shown.picture(), &expected, 38.0),
            _ => assert_same(&name, &shown.picture(), &expected),
        }
    }
}

#[test]
fn stored_jpeg_tiles_are_handed_on_as_they_are() {
    let images = Images::new();
    let layout = Layout {
        compression: Compression::Jpeg(90),
        ..Layout::default()
    };
    let file = TiffFile::pyramid(&Picture::photograph(1000, 700, 3, 0), layout);
    images.add("jpeg.tif", &file);
    let server = Server::start(images.folder());
    for tile in [0, 5, 6] {
        let (offset, count) = file.tile_data(0, tile);
        let stored = &file.bytes[offset as usize..(offset + count) as usize];
        let reply = server.client().iip(&format!("FIF=jpeg.tif&JTL=3,{tile}"));
        assert_eq!(reply.body, stored, "tile {tile}");
    }
    // A quality asked for means another file.
    let query = "FIF=jpeg.tif&QLT=60&JTL=3,0";
    let expected = file.levels[0].crop(0, 0, 256, 256);
    assert_close(
        query,
        &server.client().iip(query).picture(),
        &expected,
        JPEG_DB - 2.0,
    );
}

#[test]
fn stored_webp_tiles_are_handed_on_with_their_opacity() {
    let images = Images::new();
    for bands in [3, 4] {
        let picture = Picture::new(512, 512, bands, |x, y, band| {
            (40 + x / 4 + y / 8 + 20 * band) as u8
        });
        images.write("picture.png", &picture.to_png());
        let name = format!("webp{bands}.tif");
        let (from, to) = (images.path("picture.png"), images.path(&name));
        let tiles = [
            "--tile",
            "--tile-width",
            "256",
            "--tile-height",
            "256",
            "--compression",
            "webp",
        ];
        let files = [OsStr::new("tiffsave"), from.as_os_str(), to.as_os_str()];
        tool::run("vips", files.into_iter().chain(tiles.map(OsStr::new)));
        let file = std::fs::read(&to).unwrap();
        let server = Server::start(images.folder());
        let shown = server.client().iip(&format!("FIF={name}&WTL=1,2"));
        assert_eq!(shown.field("Content-Type"), "image/webp", "{name}");
        assert!(
            file.windows(shown.body.len()).any(|part| part == shown.body),
            "the stored bytes of {name}"
        );
    }
}

#[test]
fn stored_jpeg_tiles_are_cut_at_the_edge_without_decoding_them() {
    let images = Images::new();
    let layout = Layout {
        compression: Compression::Jpeg(90),
        ..Layout::default()
    };
    let file = TiffFile::pyramid(&Picture::photograph(1000, 700, 3, 0), layout);
    images.add("jpeg.tif", &file);
    let server = Server::start(images.folder());
    for (tile, width, height) in [(3, 232, 256), (9, 256, 188), (11, 232, 188)] {
        let (offset, count) = file.tile_data(0, tile);
        let stored = Picture::from_jpeg(&file.bytes[offset as usize..(offset + count) as usize]);
        let shown = server
            .client()
            .iip(&format!("FIF=jpeg.tif&JTL=3,{tile}"))
            .picture();
        assert_eq!((shown.width, shown.height), (width, height), "tile {tile}");
        // The last pixels are interpolated with colors beyond the edge where those have half the resolution.
        let (width, height) = (width - 1, height - 1);
        assert_same(
            &format!("tile-{tile}"),
            &shown.crop(0, 0, width, height),
            &stored.crop(0, 0, width, height),
        );
    }
}

#[test]
fn an_export_has_the_size_and_region_asked_for() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    let whole = client.iip("FIF=photo.tif&WID=250&CVT=JPEG");
    assert_close("whole", &whole.picture(), &photo.resize(250, 175), JPEG_DB);
    assert!(whole.field("Content-Disposition").contains("photo_250x175.jpg"));
    let part = client.iip("FIF=photo.tif&RGN=0.25,0.5,0.5,0.25&QLT=95&CVT=JPEG");
    assert_close("part", &part.picture(), &photo.crop(250, 350, 500, 175), 38.0);
    let small = client.iip("FIF=photo.tif&HEI=70&RGN=0,0,1,0.5&CVT=JPEG");
    assert_close(
        "small",
        &small.picture(),
        &photo.crop(0, 0, 1000, 350).resize(200, 70),
        JPEG_DB,
    );
}

#[test]
fn quality_decides_size_and_likeness() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let ask = |quality| {
        server
            .client()
            .iip(&format!("FIF=photo.tif&WID=500&QLT={quality}&CVT=JPEG"))
    };
    let (low, high) = (ask(20), ask(95));
    assert!(low.body.len() * 2 < high.body.len());
    let expected = photo.half();
    let db = |reply: &Reply| support::image::psnr(&reply.picture(), &expected);
    assert!(db(&high) > db(&low) + 3.0);
}

#[test]
fn errors_are_one_line_with_their_code() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    for (query, status, text) in [
        ("FIF=photo.tif", 400, "Error/17:2 1 FIF=photo.tif\r\n"),
        ("FOO=1", 400, "Error/7:2 2 FOO\r\n"),
        ("FIF=photo.tif&OBJ=nothing", 400, "Error/11:3 2 nothing\r\n"),
        ("OBJ=Max-size", 400, "Error/12:1 3 max-size\r\n"),
    ] {
        let reply = client.iip(query);
        assert_eq!((reply.status, reply.text()), (status, text), "{query}");
        assert_eq!(reply.field("Content-Type"), "application/vnd.netfpx");
        assert_eq!(reply.field("Cache-Control"), "no-cache");
    }
    for (query, status) in [
        ("FIF=nothing.tif&OBJ=Max-size", 404),
        ("FIF=photo.tif&JTL=9,0", 404),
        ("FIF=photo.tif&JTL=3,12", 404),
        ("FIF=photo.tif&JTL=a,0", 400),
        ("FIF=photo.tif&WID=-1&CVT=JPEG", 400),
    ] {
        let reply = client.iip(query).expect(status);
        assert_eq!(
            reply.field("Content-Type"),
            "text/plain; charset=utf-8",
            "{query}"
        );
        assert!(!reply.text().contains('/'), "a path in {:?}", reply.text());
    }
}

#[test]
fn a_query_can_come_in_a_body() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let reply = server.client().post(
        "/fcgi-bin/iipsrv.fcgi",
        b"FIF=photo.tif&WID=100&QLT=95&CVT=JPEG\r\n",
    );
    assert_close("posted", &reply.picture(), &photo.resize(100, 70), JPEG_DB);
    assert!(reply.field("Content-Disposition").starts_with("attachment;"));
}

#[test]
fn an_empty_query_gives_the_information_page() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let reply = server.client().get("/fcgi-bin/iipsrv.fcgi").expect(200);
    assert!(reply.field("Content-Type").starts_with("text/html"));
    assert!(reply.text().contains("iiphost"));
}

#[test]
fn statistics_count_against_the_pixels_a_request_may_decode() {
    let images = Images::new();
    let photo = Picture::photograph(1000, 700, 3, 0);
    let one_level = Layout {
        levels: 1,
        ..Layout::default()
    };
    images.add("one.tif", &TiffFile::pyramid(&photo, one_level));
    let server = Settings::new(images.folder())
        .with("MAX_DECODED_PIXELS", "500000")
        .start();
    let client = server.client();
    let corner = "FIF=one.tif&RGN=0,0,0.01,0.01";
    assert_eq!(client.iip(&format!("{corner}&CVT=JPEG")).status, 200);
    // The threshold comes from the smallest level, which is averaged from the whole picture.
    let refused = client.iip(&format!("{corner}&COL=binary&CVT=JPEG"));
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("MAX_DECODED_PIXELS"),
        "{}",
        refused.text()
    );
}
