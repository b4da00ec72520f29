//! Pictures whose files say how they are to be turned: as stored by default, upright with `ORIENTATION=apply`, for
//! every protocol alike.

use support::Server;
use support::client::Connection;
use support::fixture::{Compression, Images, Layout, TiffFile};
use support::image::{assert_close, assert_same};
use support::master::jp2;
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// Sides that are no multiples of a tile; three levels, of the same size however a format rounds.
const SIZE: (u32, u32) = (612, 404);

/// An EXIF block with an orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let [high, low] = orientation.to_be_bytes();
    [
        &b"MM\0\x2a\0\0\0\x08\0\x01"[..],
        &[1, 18, 0, 3, 0, 0, 0, 1, high, low, 0, 0, 0, 0, 0, 0],
    ]
    .concat()
}

/// A JPEG with an orientation in its EXIF.
fn jpeg(picture: &Picture, orientation: u16) -> Vec<u8> {
    let exif = [&b"Exif\0\0"[..], &exif(orientation)].concat();
    let file = picture.to_jpeg(92);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, 0xe1], &length, &exif, &file[2..]].concat()
}

/// A tiled TIFF with an orientation.
fn tiff(picture: &Picture, compression: Compression, orientation: u16) -> Vec<u8> {
    let layout = Layout {
        levels: 3,
        compression,
        orientation,
        ..Layout::default()
    };
    TiffFile::pyramid(picture, layout).bytes
}

/// The same picture in files of several kinds that say they are stored with an orientation.
fn files(orientation: u16) -> (Images, [&'static str; 4]) {
    let images = Images::new();
    let photo = Picture::photograph(SIZE.0, SIZE.1, 3, 4);
    let lossless = Compression::Deflate { predictor: true };
    images.write("a.tif", &tiff(&photo, lossless, orientation));
    images.write("b.tif", &tiff(&photo, Compression::Jpeg(92), orientation));
    images.write("c.jpg", &jpeg(&photo, orientation));
    images.write("d.jp2", &jp2(&photo, &exif(orientation)));
    (images, ["a.tif", "b.tif", "c.jpg", "d.jp2"])
}

/// A level as a host that ignores orientation shows it.
fn stored_level(connection: &mut Connection, name: &str, number: u32) -> Picture {
    let (width, height) = (SIZE.0 >> number, SIZE.1 >> number);
    let target = format!("/iiif/3/{name}/full/{width},{height}/0/default.png");
    let level = connection.get(&target).picture();
    assert_eq!(level.size(), (width, height), "{target}");
    level
}

/// Every tile of a level, asked for in every way that sends it without loss, is a part of `level`.
fn check_tiles(connection: &mut Connection, name: &str, number: u32, level: &Picture) {
    let (width, height) = level.size();
    let across = width.div_ceil(256);
    let longer = SIZE.0.max(SIZE.1);
    let depth = longer.next_power_of_two().trailing_zeros();
    for row in 0..height.div_ceil(256) {
        for col in 0..across {
            let (x, y) = (col * 256, row * 256);
            let (w, h) = (256.min(width - x), 256.min(height - y));
            let expected = level.crop(x, y, w, h);
            let (side, scale) = (256 << number, 1 << number);
            let targets = [
                format!(
                    "/fcgi-bin/iipsrv.fcgi?FIF={name}&PTL={},{}",
                    2 - number,
                    row * across + col
                ),
                format!(
                    "/iiif/3/{name}/{},{},{side},{side}/{w},{h}/0/default.png",
                    x * scale,
                    y * scale
                ),
                format!("/deepzoom/{name}_files/{}/{col}_{row}.png", depth - number),
            ];
            for target in targets {
                let mut tile = connection.get(&target).picture();
                // Deep Zoom rounds up: its last row or column is repeated.
                let (shown, wanted) = (tile.size(), expected.size());
                assert!(
                    shown.0.abs_diff(wanted.0) <= 1 && shown.1.abs_diff(wanted.1) <= 1,
                    "{target}: {shown:?}, expected {wanted:?}"
                );
                assert!(shown == wanted || target.starts_with("/deepzoom"), "{target}");
                tile = tile.crop(0, 0, wanted.0, wanted.1);
                assert_same(&target, &tile, &expected);
            }
            let tier = 2 - number;
            for target in [
                format!(
                    "/fcgi-bin/iipsrv.fcgi?FIF={name}&JTL={tier},{}",
                    row * across + col
                ),
                format!("/zoomify/{name}/TileGroup0/{tier}-{col}-{row}.jpg"),
            ] {
                assert_close(&target, &connection.get(&target).picture(), &expected, 27.0);
            }
        }
    }
}

fn check_documents(connection: &mut Connection, name: &str, (width, height): (u32, u32)) {
    let info = connection
        .get(&format!("/iiif/3/{name}/info.json"))
        .expect(200)
        .json();
    assert_eq!((&info["width"], &info["height"]), (&width.into(), &height.into()));
    let sizes: Vec<_> = info["sizes"].as_array().unwrap().iter().collect();
    assert_eq!(sizes.len(), 3);
    for (size, number) in sizes.iter().zip([2, 1, 0]) {
        let level = (u64::from(width >> number), u64::from(height >> number));
        assert_eq!(
            (&size["width"], &size["height"]),
            (&level.0.into(), &level.1.into())
        );
    }
    let reply = connection.get(&format!(
        "/fcgi-bin/iipsrv.fcgi?FIF={name}&OBJ=Max-size&OBJ=Resolution-number"
    ));
    let expected = format!("Max-size:{width} {height}\r\nResolution-number:3\r\n");
    assert_eq!(reply.text(), expected);
    let document = connection.get(&format!("/deepzoom/{name}.dzi")).expect(200);
    assert!(
        document
            .text()
            .contains(&format!("Width=\"{width}\" Height=\"{height}\"")),
        "{}",
        document.text()
    );
    let document = connection
        .get(&format!("/zoomify/{name}/ImageProperties.xml"))
        .expect(200);
    assert!(
        document
            .text()
            .contains(&format!("WIDTH=\"{width}\" HEIGHT=\"{height}\"")),
        "{}",
        document.text()
    );
}

#[test]
fn every_orientation_is_applied_in_every_protocol() {
    for orientation in 1..=8 {
        let (images, names) = files(orientation);
        let ignoring = Server::start(images.folder());
        let applying = Settings::new(images.folder())
            .with("ORIENTATION", "apply")
            .start();
        let mut stored = ignoring.client().connect();
        let mut connection = applying.client().connect();
        for name in names {
            check_documents(&mut stored, name, SIZE);
            let full = stored_level(&mut stored, name, 0).upright(orientation);
            check_documents(&mut connection, name, full.size());
            for number in 0..3 {
                let level = stored_level(&mut stored, name, number).upright(orientation);
                check_tiles(&mut connection, name, number, &level);
            }
            // Regions, turning on top of it, and sizes between the levels.
            let target = format!("/iiif/3/{name}/37,101,250,211/max/90/default.png");
            let expected = full.crop(37, 101, 250, 211).turn(1);
            assert_same(&target, &connection.get(&target).picture(), &expected);
            let target = format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&RGN=0.5,0.5,0.5,0.5&CVT=PNG");
            let (w, h) = (full.width / 2, full.height / 2);
            let expected = full.crop(w, h, w, h);
            assert_same(&target, &connection.get(&target).picture(), &expected);
            let target = format!("/iiif/3/{name}/full/200,200/0/default.png");
            assert_close(
                &target,
                &connection.get(&target).picture(),
                &full.resize(200, 200),
                25.0,
            );
        }
    }
}

#[test]
fn stored_tiles_are_not_handed_on_unturned() {
    let (images, _) = files(6);
    let photo = Picture::photograph(SIZE.0, SIZE.1, 3, 4);
    let ignoring = Server::start(images.folder());
    let applying = Settings::new(images.folder())
        .with("ORIENTATION", "apply")
        .start();
    let target = "/fcgi-bin/iipsrv.fcgi?FIF=b.tif&JTL=2,0";
    // The fixture stores each tile as a file of its own: this is one of them, byte for byte.
    let tile = photo.crop(0, 0, 256, 256).to_jpeg(92);
    assert_eq!(ignoring.client().get(target).expect(200).body, tile);
    let shown = applying.client().get(target).expect(200);
    assert_ne!(shown.body, tile);
    let expected = photo.upright(6).crop(0, 0, 256, 256);
    assert_close(target, &shown.picture(), &expected, 27.0);
}

#[test]
fn what_is_sent_says_that_it_is_upright() {
    let (images, names) = files(8);
    let server = Settings::new(images.folder())
        .with("ORIENTATION", "apply")
        .start();
    let mut paths = Vec::new();
    for name in names {
        for extension in ["jpg", "png", "webp", "tif"] {
            let query = format!("FIF={name}&WID=100&CVT={extension}");
            let out = format!("{name}.{extension}");
            images.write(&out, &server.client().iip(&query).expect(200).body);
            paths.push(images.path(&out));
        }
    }
    let paths: Vec<_> = paths.iter().map(std::path::PathBuf::as_path).collect();
    for told in tool::exiftool(&paths) {
        let orientation = told["IFD0:Orientation"].as_str();
        assert!(
            orientation.is_none_or(|text| text == "Horizontal (normal)"),
            "{told:#}"
        );
        // What comes from EXIF is there, so the tag was looked at.
        let file = told["SourceFile"].as_str().unwrap();
        if file.ends_with("c.jpg.jpg") || file.ends_with("d.jp2.jpg") {
            assert!(orientation.is_some(), "{told:#}");
        }
    }
}
