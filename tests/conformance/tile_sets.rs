//! Whole tile sets, put together as a viewer does, against the full picture: IIIF by its `tiles`, Deep Zoom,
//! Zoomify.

use support::client::Connection;
use support::image;
use support::picture::Picture;

use crate::masters::{Master, TILE, masters, serve};
use crate::pixels::{Samples, assert_nearly};

/// Tiles of a level that is made from another one by averaging, in decibels.
const MADE_DB: f64 = 36.0;

/// The same for levels of a few pixels, on which the waves of the picture are as short as a pixel.
const TINY_DB: f64 = 26.0;

/// Tiles in JPEG at quality 95.
const JPEG_DB: f64 = 34.0;

/// Puts the tiles of a level together; each must have exactly its size.
fn assemble(
    connection: &mut Connection,
    (width, height): (u32, u32),
    bands: u32,
    address: impl Fn(u32, u32) -> String,
) -> Picture {
    let mut whole = Picture::plain(width, height, &vec![0; bands as usize]);
    for row in 0..height.div_ceil(TILE) {
        for col in 0..width.div_ceil(TILE) {
            let target = address(col, row);
            let tile = connection.get(&target).picture();
            let (x, y) = (col * TILE, row * TILE);
            assert_eq!(
                tile.size(),
                (TILE.min(width - x), TILE.min(height - y)),
                "{target}"
            );
            assert_eq!(tile.bands, bands, "{target}");
            let line = (tile.width * bands) as usize;
            for (number, samples) in tile.samples.chunks_exact(line).enumerate() {
                let start = (((y + number as u32) * width + x) * bands) as usize;
                whole.samples[start..start + line].copy_from_slice(samples);
            }
        }
    }
    whole
}

/// The picture of a level: as stored where it is stored, or lacks one row or column, else computed.
/// The second value says that it is exact.
fn level(master: &Master, (width, height): (u32, u32)) -> (Picture, bool) {
    let near = |a: u32, b: u32| a == b || (a.abs_diff(b) == 1 && b >= 16);
    let stored = master
        .stored()
        .iter()
        .find(|level| near(level.width, width) && near(level.height, height));
    if let Some(level) = stored {
        let completed = Picture::new(width, height, level.bands, |x, y, band| {
            level.at(x.min(level.width - 1), y.min(level.height - 1), band)
        });
        return (completed, true);
    }
    (reduced(master, (width, height)), false)
}

/// The mean of areas of the next larger level in the file.
fn reduced(master: &Master, (width, height): (u32, u32)) -> Picture {
    let mut larger = master.stored().iter().rev();
    let from = larger.find(|level| level.width >= width && level.height >= height);
    let from = from.unwrap_or(&master.picture);
    Samples::of(from, (0, 0, from.width, from.height))
        .average((width, height))
        .picture()
}

fn assert_level(name: &str, actual: &Picture, master: &Master) {
    let (expected, exact) = level(master, actual.size());
    if exact {
        image::assert_same(name, actual, &expected);
    } else {
        assert_made(name, actual, &expected);
    }
}

fn assert_made(name: &str, actual: &Picture, expected: &Picture) {
    let tiny = expected.width.max(expected.height) < 48;
    image::assert_close(name, actual, expected, if tiny { TINY_DB } else { MADE_DB });
}

#[test]
fn deep_zoom_levels_are_whole_and_right() {
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    for master in masters() {
        let (w, h) = master.picture.size();
        let document = connection
            .get(&format!("/deepzoom/{}.dzi", master.name))
            .expect(200);
        let expected = format!(
            "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" TileSize=\"{TILE}\" Overlap=\"0\" \
             Format=\"jpg\"><Size Width=\"{w}\" Height=\"{h}\"/></Image>"
        );
        assert_eq!(document.text(), expected);
        assert_eq!(document.field("Content-Type"), "application/xml");
        let mut top = 0;
        while (1_u32 << top) < w.max(h) {
            top += 1;
        }
        for number in 0..=top {
            let by = 1 << (top - number);
            let size = (w.div_ceil(by), h.div_ceil(by));
            let base = format!("/deepzoom/{}_files/{number}", master.name);
            let bands = master.picture.bands;
            let whole = assemble(&mut connection, size, bands, |col, row| {
                format!("{base}/{col}_{row}.png")
            });
            assert_level(&base, &whole, master);
            for outside in [
                format!("{base}/{}_0.png", size.0.div_ceil(TILE)),
                format!("{base}/0_{}.png", size.1.div_ceil(TILE)),
            ] {
                assert_eq!(connection.get(&outside).status, 404, "{outside}");
            }
        }
        let above = format!("/deepzoom/{}_files/{}/0_0.png", master.name, top + 1);
        assert_eq!(connection.get(&above).status, 404);
    }
}

#[test]
fn zoomify_tiers_are_whole_and_right() {
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    for master in masters() {
        let (w, h) = master.picture.size();
        let mut tiers = vec![(w, h)];
        while let Some(&(w, h)) = tiers.last().filter(|(w, h)| *w > TILE || *h > TILE) {
            tiers.push(((w / 2).max(1), (h / 2).max(1)));
        }
        tiers.reverse();
        let count: u32 = tiers
            .iter()
            .map(|(w, h)| w.div_ceil(TILE) * h.div_ceil(TILE))
            .sum();
        let document = connection
            .get(&format!("/zoomify/{}/ImageProperties.xml", master.name))
            .expect(200);
        let expected = format!(
            "<IMAGE_PROPERTIES WIDTH=\"{w}\" HEIGHT=\"{h}\" NUMTILES=\"{count}\" NUMIMAGES=\"1\" \
             VERSION=\"1.8\" TILESIZE=\"{TILE}\"/>"
        );
        assert_eq!(document.text(), expected);
        let mut before = 0;
        for (tier, &size) in tiers.iter().enumerate() {
            let across = size.0.div_ceil(TILE);
            let address = |col: u32, row: u32| {
                let group = (before + row * across + col) / 256;
                format!("/zoomify/{}/TileGroup{group}/{tier}-{col}-{row}.jpg", master.name)
            };
            // JPEG has no alpha.
            let bands = master.picture.bands.min(3);
            let whole = assemble(&mut connection, size, bands, address);
            let (level, _) = level(master, size);
            let flat = Samples::of(&level, (0, 0, size.0, size.1)).over_white().picture();
            image::assert_close(&address(0, 0), &whole, &flat, JPEG_DB);
            for outside in [address(across, 0), address(0, size.1.div_ceil(TILE))] {
                assert_eq!(connection.get(&outside).status, 404, "{outside}");
            }
            before += across * size.1.div_ceil(TILE);
        }
        let above = format!("/zoomify/{}/TileGroup0/{}-0-0.jpg", master.name, tiers.len());
        assert_eq!(connection.get(&above).status, 404);
    }
}

/// Image API 3.0, section 5.4, and 2.1.1, section 5.3: how a client computes tiles.
#[test]
fn iiif_tiles_are_whole_and_right() {
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    for master in masters() {
        for version in [2, 3] {
            let base = format!("/iiif/{version}/{}", master.name);
            let info = connection.get(&format!("{base}/info.json")).expect(200).json();
            let (w, h) = master.picture.size();
            assert_eq!(
                (&info["width"], &info["height"]),
                (&w.into(), &h.into()),
                "{base}"
            );
            let tiles = info["tiles"].as_array().expect("tiles");
            assert_eq!(tiles.len(), 1, "{base}");
            assert_eq!(
                (&tiles[0]["width"], &tiles[0]["height"]),
                (&TILE.into(), &TILE.into()),
                "{base}"
            );
            for factor in tiles[0]["scaleFactors"].as_array().expect("a list") {
                let by = factor.as_u64().expect("a number") as u32;
                let size = (w.div_ceil(by), h.div_ceil(by));
                let whole = assemble(&mut connection, size, master.picture.bands, |col, row| {
                    let (x, y) = (col * TILE * by, row * TILE * by);
                    let (part_w, part_h) = ((TILE * by).min(w - x), (TILE * by).min(h - y));
                    let (out_w, out_h) = (part_w.div_ceil(by), part_h.div_ceil(by));
                    format!("{base}/{x},{y},{part_w},{part_h}/{out_w},{out_h}/0/default.png")
                });
                let name = format!("{base} by {by}");
                let stored = master.stored().iter().any(|level| level.size() == size);
                if stored {
                    assert_level(&name, &whole, master);
                } else {
                    assert_made(&name, &whole, &reduced(master, size));
                }
            }
            for size in info["sizes"].as_array().into_iter().flatten() {
                let target = format!("{base}/full/{},{}/0/default.png", size["width"], size["height"]);
                let picture = connection.get(&target).picture();
                assert_eq!(
                    (&size["width"], &size["height"]),
                    (&picture.width.into(), &picture.height.into())
                );
            }
        }
    }
}

#[test]
fn a_stored_level_is_handed_on_as_it_is() {
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    for master in masters() {
        for level in master
            .stored()
            .iter()
            .filter(|level| level.width.max(level.height) <= 1500)
        {
            let target = format!(
                "/iiif/3/{}/full/{},{}/0/default.png",
                master.name, level.width, level.height
            );
            assert_nearly(&target, &connection.get(&target).picture(), level, 0);
        }
    }
}
