//! The watermark: where it is, where it is not, and what becomes of it at a reload.

use rustix::process::Signal;
use support::fixture::{Compression, Images, Layout, TiffFile};
use support::image::{assert_same, psnr};
use support::picture::Picture;
use support::server::{Settings, run};
use support::{Server, wait};

/// Never so bright that the mark would saturate, so that every pixel of the mark is seen.
fn dim(width: u32, height: u32, bands: u32) -> Picture {
    Picture::new(width, height, bands, |x, y, band| match band {
        3 => 255 - (x % 100) as u8,
        _ => ((x * 3 + y * 5 + band * 40) % 150) as u8,
    })
}

/// Different at every place and nowhere black.
fn mark() -> Picture {
    Picture::new(60, 40, 3, |x, y, band| {
        (10 + x + y + 5 * band % 50) as u8 % 100 + 5
    })
}

fn one_level(tile: u32) -> Layout {
    Layout {
        levels: 1,
        tile,
        ..Layout::default()
    }
}

/// Images to be marked, and the mark as a TIFF and as a PNG-free format of another module.
fn images() -> Images {
    let images = Images::new();
    images.add(
        "photo.tif",
        &TiffFile::pyramid(&dim(1000, 700, 3), Layout::default()),
    );
    images.add(
        "grey.tif",
        &TiffFile::pyramid(&dim(300, 300, 1), Layout::default()),
    );
    images.add(
        "clear.tif",
        &TiffFile::pyramid(&dim(300, 300, 4), Layout::default()),
    );
    images.add("mark.tif", &TiffFile::pyramid(&mark(), one_level(64)));
    images
}

fn marked_server(images: &Images) -> Settings {
    Settings::new(images.folder()).with("WATERMARK", images.path("mark.tif"))
}

/// Where a picture differs from another one: the corners of the smallest rectangle around.
fn changed(plain: &Picture, marked: &Picture) -> Option<(u32, u32, u32, u32)> {
    assert_eq!((plain.size(), plain.bands), (marked.size(), marked.bands));
    let mut found: Option<(u32, u32, u32, u32)> = None;
    for y in 0..plain.height {
        for x in 0..plain.width {
            if (0..plain.bands).any(|b| plain.at(x, y, b) != marked.at(x, y, b)) {
                let (x0, y0, x1, y1) = found.unwrap_or((x, y, x, y));
                found = Some((x0.min(x), y0.min(y), x1.max(x), y1.max(y)));
            }
        }
    }
    found
}

/// The sum of a picture and the mark at a place, as the mark of one band is laid on grey.
fn with_mark(plain: &Picture, mark: &Picture, left: u32, top: u32) -> Picture {
    Picture::new(plain.width, plain.height, plain.bands, |x, y, band| {
        let below = plain.at(x, y, band);
        let inside = (left..left + mark.width).contains(&x) && (top..top + mark.height).contains(&y);
        match band {
            _ if !inside => below,
            1 if plain.bands == 2 => below,
            3 => below,
            _ => below.saturating_add(mark.at(x - left, y - top, band)),
        }
    })
}

/// The only difference of two pictures is the mark, whole, once. Gives its place.
fn assert_marked_once(name: &str, plain: &Picture, marked: &Picture) -> (u32, u32) {
    let (x0, y0, x1, y1) = changed(plain, marked).unwrap_or_else(|| panic!("{name}: no mark"));
    let mark = mark();
    let mark = mark.crop(0, 0, mark.width.min(plain.width), mark.height.min(plain.height));
    assert_eq!((x1 - x0 + 1, y1 - y0 + 1), mark.size(), "{name}");
    assert_same(name, marked, &with_mark(plain, &mark, x0, y0));
    (x0, y0)
}

#[test]
fn every_protocol_shows_the_same_tile_with_the_same_mark() {
    let images = images();
    let (plain, marked) = (Server::start(images.folder()), marked_server(&images).start());
    let mut places = Vec::new();
    for (col, row) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        let iip = format!("FIF=photo.tif&PTL=3,{}", row * 4 + col);
        let (before, after) = (
            plain.client().iip(&iip).picture(),
            marked.client().iip(&iip).picture(),
        );
        places.push(assert_marked_once(&iip, &before, &after));
        let (x, y) = (col * 256, row * 256);
        for target in [
            format!("/deepzoom/photo_files/10/{col}_{row}.png"),
            format!(
                "/iiif/3/photo.tif/{x},{y},{},{}/max/0/default.png",
                before.width, before.height
            ),
        ] {
            let target = target.replace("photo_files", "photo.tif_files");
            assert_same(&target, &marked.client().get(&target).picture(), &after);
        }
        let zoomify = format!("/zoomify/photo.tif/TileGroup0/2-{col}-{row}.jpg");
        let shown = marked.client().get(&zoomify).picture();
        assert!(psnr(&shown, &after) > psnr(&shown, &before));
    }
    places.sort_unstable();
    places.dedup();
    assert!(places.len() > 1, "not always at the same place: {places:?}");
}

#[test]
fn another_server_puts_the_mark_at_the_same_place() {
    let images = images();
    let (one, other) = (marked_server(&images).start(), marked_server(&images).start());
    for query in [
        "FIF=photo.tif&JTL=3,5",
        "FIF=photo.tif&WID=900&CVT=PNG",
        "FIF=clear.tif&CVT=PNG",
    ] {
        let (first, second) = (one.client().iip(query), other.client().iip(query));
        assert_eq!(first.body, second.body, "{query}");
    }
}

#[test]
fn exports_carry_one_mark_in_every_block_and_nothing_else() {
    let images = images();
    let (plain, marked) = (Server::start(images.folder()), marked_server(&images).start());
    for (target, width) in [
        ("/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&CVT=PNG", 1000),
        ("/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&WID=700&CVT=PNG", 700),
        ("/iiif/3/photo.tif/full/max/0/default.png", 1000),
        ("/iiif/3/photo.tif/100,50,800,600/max/0/default.png", 800),
        ("/iiif/3/photo.tif/full/400,/90/default.png", 280),
    ] {
        let (before, after) = (
            plain.client().get(target).picture(),
            marked.client().get(target).picture(),
        );
        assert_eq!(before.width, width, "{target}");
        // Twice the side of a tile; a picture that fits is one block.
        let side = if before.width.max(before.height) <= 512 {
            before.width.max(before.height)
        } else {
            512
        };
        let (mut blocks, mut y) = (0, 0);
        while y < before.height {
            let mut x = 0;
            while x < before.width {
                let (w, h) = (side.min(before.width - x), side.min(before.height - y));
                let (part, with) = (before.crop(x, y, w, h), after.crop(x, y, w, h));
                assert_marked_once(&format!("{target} {x},{y}"), &part, &with);
                blocks += 1;
                x += side;
            }
            y += side;
        }
        assert!(blocks >= 1);
    }
}

#[test]
fn grey_and_alpha_pictures_are_marked_and_opacity_stays() {
    let images = images();
    let (plain, marked) = (Server::start(images.folder()), marked_server(&images).start());
    for (query, bands) in [("FIF=grey.tif&PTL=1,0", 1), ("FIF=clear.tif&PTL=1,0", 4)] {
        let (before, after) = (
            plain.client().iip(query).picture(),
            marked.client().iip(query).picture(),
        );
        assert_eq!(before.bands, bands);
        assert_marked_once(query, &before, &after);
    }
}

#[test]
fn probability_and_opacity_are_what_is_measured_over_many_tiles() {
    let images = images();
    let tile = dim(64, 64, 3);
    // 400 tiles with the same pixels: what differs is the mark.
    images.add("many.tif", &TiffFile::repeated(&tile, 20, 20));
    images.add(
        "dot.tif",
        &TiffFile::pyramid(&Picture::plain(16, 16, &[100, 100, 100]), one_level(16)),
    );
    let server = Settings::new(images.folder())
        .with("WATERMARK", images.path("dot.tif"))
        .with("WATERMARK_PROBABILITY", "0.3")
        .with("WATERMARK_OPACITY", "0.4")
        .start();
    let mut connection = server.client().connect();
    let (mut count, mut sum, mut places) = (0, 0.0, Vec::new());
    for number in 0..400 {
        let target = format!("/fcgi-bin/iipsrv.fcgi?FIF=many.tif&PTL=5,{number}");
        let shown = connection.get(&target).picture();
        assert_eq!(shown.size(), (64, 64));
        let Some((x0, y0, x1, y1)) = changed(&tile, &shown) else {
            continue;
        };
        assert_eq!((x1 - x0, y1 - y0), (15, 15));
        count += 1;
        places.push((x0, y0));
        let total: i64 = tile
            .samples
            .iter()
            .zip(&shown.samples)
            .map(|(&a, &b)| i64::from(b) - i64::from(a))
            .sum();
        sum += total as f64 / f64::from(16 * 16 * 3);
    }
    // 120 are expected; four standard deviations are 37.
    assert!((83..=157).contains(&count), "{count} of 400 tiles carry the mark");
    assert!(
        (sum / f64::from(count) - 40.0).abs() < 0.01,
        "the mark is 0.4 x 100 bright"
    );
    let across: f64 = places.iter().map(|p| f64::from(p.0)).sum::<f64>() / f64::from(count);
    assert!(
        (across - 24.0).abs() < 6.0,
        "places are spread over the tile, mean {across}"
    );
}

#[test]
fn a_stored_tile_is_handed_on_only_where_it_carries_no_mark() {
    let images = images();
    let layout = Layout {
        compression: Compression::Jpeg(80),
        ..Layout::default()
    };
    images.add("jpeg.tif", &TiffFile::pyramid(&dim(1000, 700, 3), layout));
    let plain = Server::start(images.folder());
    let marked = marked_server(&images)
        .with("WATERMARK_PROBABILITY", "0.5")
        .start();
    let (mut handed_on, mut made) = (0, 0);
    for tile in 0..12 {
        let query = format!("FIF=jpeg.tif&JTL=3,{tile}");
        let (stored, shown) = (plain.client().iip(&query), marked.client().iip(&query));
        if stored.body == shown.body {
            handed_on += 1;
        } else {
            let (stored, shown) = (stored.picture(), shown.picture());
            assert!(psnr(&stored, &shown) < 30.0, "the mark can be seen");
            made += 1;
        }
    }
    assert!(handed_on > 0 && made > 0, "{handed_on} handed on, {made} made");
}

#[test]
fn framed_tiles_carry_the_mark_and_samples_do_not() {
    let images = images();
    let (plain, marked) = (Server::start(images.folder()), marked_server(&images).start());
    let tile = marked.client().iip("FIF=photo.tif&JTL=3,5");
    let framed = marked.client().iip("FIF=photo.tif&TIL=3,5").expect(200);
    assert!(framed.body.windows(tile.body.len()).any(|w| w == tile.body));
    let profile = "FIF=photo.tif&PFL=3:0,5-999,5";
    let (before, after) = (
        plain.client().iip(profile).expect(200),
        marked.client().iip(profile).expect(200),
    );
    assert_eq!(before.body, after.body);
}

#[test]
fn any_format_a_module_reads_can_be_the_mark_and_it_may_cover() {
    let images = images();
    images.write("mark.jpg", &Picture::plain(50, 30, &[200, 100, 50]).to_jpeg(95));
    images.add(
        "glass.tif",
        &TiffFile::pyramid(&Picture::plain(50, 30, &[200, 100, 50, 128]), one_level(64)),
    );
    let plain = Server::start(images.folder());
    let before = plain.client().iip("FIF=photo.tif&PTL=3,5").picture();
    for (file, blend, share, below_counts) in [
        ("mark.jpg", "auto", 1.0, 1.0),
        ("mark.jpg", "over", 1.0, 0.0),
        ("glass.tif", "auto", 128.0 / 255.0, 1.0 - 128.0 / 255.0),
        ("glass.tif", "add", 128.0 / 255.0, 1.0),
    ] {
        let server = Settings::new(images.folder())
            .with("WATERMARK", images.path(file))
            .with("WATERMARK_BLEND", blend)
            .start();
        let after = server.client().iip("FIF=photo.tif&PTL=3,5").picture();
        let (x, y, ..) = changed(&before, &after).unwrap();
        // A pixel inside the mark, far from its edges.
        let (x, y) = (x + 20, y + 15);
        for (band, color) in [200.0, 100.0, 50.0].into_iter().enumerate() {
            let expected = f64::from(before.at(x, y, band as u32)) * below_counts + color * share;
            let found = f64::from(after.at(x, y, band as u32));
            assert!(
                (found - expected.min(255.0)).abs() <= 2.0,
                "{file} {blend}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn a_mark_that_cannot_be_read_stops_the_start_with_the_reason() {
    let images = images();
    images.write("broken.tif", b"II*\0nothing");
    for (name, reason) in [
        ("absent.tif", "No such file"),
        ("broken.tif", ""),
        (".", "not a regular file"),
    ] {
        let path = images.path(name).display().to_string();
        for arguments in [&["--check-config"][..], &["--http", "127.0.0.1:0"]] {
            let folder = images.folder().display().to_string();
            let output = run(
                arguments.iter().copied(),
                &[("WATERMARK", &path), ("FILESYSTEM_PREFIX", &folder)],
            );
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
            assert!(
                errors.contains("WATERMARK") && errors.contains(name) && errors.contains(reason),
                "{errors}"
            );
        }
    }
}

#[test]
fn a_reload_reads_the_mark_again_and_keeps_the_old_one_if_it_cannot() {
    let images = images();
    let server = marked_server(&images).start();
    let query = "FIF=photo.tif&PTL=3,5";
    let first = server.client().iip(query).expect(200);
    let reload = |sign: &str| {
        let count = server.log().matches(sign).count();
        server.signal(Signal::HUP);
        wait::until(sign, || {
            (server.log().matches(sign).count() > count).then_some(())
        });
    };
    images.write("mark.tif", b"II*\0nothing");
    reload("caches emptied");
    assert!(server.log().contains("the former watermark stays in force"));
    let kept = server.client().iip(query).expect(200);
    assert_eq!(
        (&kept.body, kept.field("ETag")),
        (&first.body, first.field("ETag"))
    );
    images.add(
        "mark.tif",
        &TiffFile::pyramid(&Picture::plain(30, 30, &[90, 0, 0]), one_level(64)),
    );
    reload("caches emptied");
    let other = server.client().iip(query).expect(200);
    assert_ne!(other.field("ETag"), first.field("ETag"));
    assert_ne!(other.body, first.body);
    let plain = Server::start(images.folder());
    let before = plain.client().iip(query).picture();
    let (x0, y0, x1, y1) = changed(&before, &other.picture()).unwrap();
    assert_eq!((x1 - x0, y1 - y0), (29, 29));
    let conditional = server.client().request(
        "GET",
        &format!("/fcgi-bin/iipsrv.fcgi?{query}"),
        &[("If-None-Match", first.field("ETag"))],
    );
    assert_eq!(
        conditional.status, 200,
        "the picture with the old mark is not the one of today"
    );
}
