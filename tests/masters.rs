//! Every protocol on a master of every format: the same requests, the same pictures.

use support::Server;
use support::image::{assert_close, assert_same};
use support::master::{Master, masters};
use support::picture::Picture;

/// JPEG of the default quality, colors at half the resolution, of a smooth picture.
const JPEG_DB: f64 = 30.0;

/// Each tile of a level: column, row, and where it lies.
fn tiles(level: &Picture) -> Vec<(u32, u32, [u32; 4])> {
    let mut tiles = Vec::new();
    for row in 0..level.height.div_ceil(256) {
        for col in 0..level.width.div_ceil(256) {
            let (x, y) = (col * 256, row * 256);
            let size = (256.min(level.width - x), 256.min(level.height - y));
            tiles.push((col, row, [x, y, size.0, size.1]));
        }
    }
    tiles
}

/// Compares losslessly sent pixels of a level with what the master shows.
fn check(master: &Master, level: usize, name: &str, shown: &Picture, [x, y, w, h]: [u32; 4]) {
    let expected = master.levels[level].crop(x, y, w, h);
    if level == 0 {
        assert_same(name, shown, &expected);
    } else {
        assert_close(name, shown, &expected, master.likeness.min(99.0));
    }
}

#[test]
fn documents_describe_every_master() {
    let (images, masters) = masters();
    let server = Server::start(images.folder());
    let client = server.client();
    for Master { name, .. } in &masters {
        let info = client
            .get(&format!("/iiif/3/{name}/info.json"))
            .expect(200)
            .text()
            .to_owned();
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(
            (&info["width"], &info["height"]),
            (&1000.into(), &700.into()),
            "{name}"
        );
        let sizes: Vec<_> = info["sizes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["width"].clone())
            .collect();
        assert_eq!(sizes, [250, 500, 1000], "{name}");
        let document = client.get(&format!("/deepzoom/{name}.dzi")).expect(200);
        assert!(document.text().contains("Width=\"1000\""), "{name}");
        let document = client
            .get(&format!("/zoomify/{name}/ImageProperties.xml"))
            .expect(200);
        assert!(
            document.text().contains("NUMTILES=\"17\""),
            "{name}: {}",
            document.text()
        );
        let reply = client.iip(&format!("FIF={name}&OBJ=Max-size&OBJ=Resolution-number"));
        assert_eq!(
            reply.text(),
            "Max-size:1000 700\r\nResolution-number:3\r\n",
            "{name}"
        );
    }
}

#[test]
fn tiles_of_every_level_and_protocol_show_their_part() {
    let (images, masters) = masters();
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    for master in &masters {
        let name = master.name;
        for (number, level) in master.levels.iter().enumerate() {
            let tier = master.levels.len() - 1 - number;
            let across = level.width.div_ceil(256);
            for (col, row, place) in tiles(level) {
                let [x, y, w, h] = place;
                let expected = level.crop(x, y, w, h);
                let lossy = [
                    format!(
                        "/fcgi-bin/iipsrv.fcgi?FIF={name}&JTL={tier},{}",
                        row * across + col
                    ),
                    format!("/zoomify/{name}/TileGroup0/{tier}-{col}-{row}.jpg"),
                ];
                for target in lossy {
                    let shown = connection.get(&target).picture();
                    assert_close(&target, &shown, &expected, JPEG_DB.min(master.likeness - 3.0));
                }
                let deep = format!("/deepzoom/{name}_files/{}/{col}_{row}.png", 10 - number);
                check(master, number, &deep, &connection.get(&deep).picture(), place);
                let factor = 1 << number;
                let (left, top) = (x * factor, y * factor);
                let (wide, high) = (256 * factor, 256 * factor);
                let tile = format!("/iiif/3/{name}/{left},{top},{wide},{high}/{w},{h}/0/default.png");
                check(master, number, &tile, &connection.get(&tile).picture(), place);
            }
        }
    }
}

#[test]
fn regions_and_sizes_are_those_of_the_pyramid() {
    let (images, masters) = masters();
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    for master in &masters {
        let name = master.name;
        let whole = &master.levels[0];
        for [x, y, w, h] in [
            [100, 200, 333, 77],
            [999, 699, 1, 1],
            [255, 255, 2, 2],
            [0, 0, 1000, 700],
        ] {
            let target = format!("/iiif/3/{name}/{x},{y},{w},{h}/max/0/default.png");
            check(
                master,
                0,
                &target,
                &connection.get(&target).picture(),
                [x, y, w, h],
            );
        }
        for (number, level) in master.levels.iter().enumerate() {
            let (w, h) = level.size();
            let target = format!("/iiif/3/{name}/full/{w},{h}/0/default.png");
            check(
                master,
                number,
                &target,
                &connection.get(&target).picture(),
                [0, 0, w, h],
            );
        }
        let resized = [
            (
                format!("/iiif/3/{name}/full/333,233/0/default.png"),
                whole.resize(333, 233),
            ),
            (
                format!("/iiif/3/{name}/200,100,600,400/150,100/0/default.png"),
                whole.crop(200, 100, 600, 400).resize(150, 100),
            ),
            (
                format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&RGN=0.2,0.1,0.5,0.5&WID=250&CVT=PNG"),
                whole.crop(200, 70, 500, 350).resize(250, 175),
            ),
        ];
        for (target, expected) in resized {
            assert_close(&target, &connection.get(&target).picture(), &expected, 27.0);
        }
        let turned = format!("/iiif/3/{name}/10,20,300,200/max/90/default.png");
        let expected = whole.crop(10, 20, 300, 200).turn(1);
        assert_same(&turned, &connection.get(&turned).picture(), &expected);
    }
}
