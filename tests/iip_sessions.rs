//! Whole sessions of viewers over FastCGI, a connection a request as web servers open them, and what a
//! session must survive.

use support::fixture::{Compression, Images, Layout, TiffFile, tag};
use support::image::{assert_close, assert_same};
use support::picture::Picture;
use support::{Reply, Server};

/// JPEG of the default quality, colors at half the resolution, of a smooth picture.
const JPEG_DB: f64 = 33.0;

const LOSSLESS: Layout = Layout {
    big: false,
    big_endian: false,
    tile: 256,
    levels: 3,
    compression: Compression::Deflate { predictor: true },
    orientation: 1,
};

fn ask(server: &Server, query: &str) -> Reply {
    server.fastcgi_client().iip(query)
}

/// The numbers after `Name:` in an answer, found as viewers find them.
fn numbers(text: &str, name: &str) -> Vec<u32> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text:?}"));
    let numbers = line.split([' ', ',']).map(|n| n.parse().expect("a number"));
    numbers.collect()
}

/// What a tile viewer asks first.
struct Described {
    size: (u32, u32),
    tile: u32,
    levels: u32,
}

fn describe(server: &Server, image: &str) -> Described {
    let query = format!("FIF={image}&obj=IIP,1.0&obj=Max-size&obj=Tile-size&obj=Resolution-number");
    let reply = ask(server, &query).expect(200);
    assert_eq!(reply.field("Content-Type"), "application/vnd.netfpx");
    // Old viewers look for the version in the body; every line has one colon.
    assert!(reply.text().starts_with("IIP:1.3\r\n"), "{:?}", reply.text());
    assert!(reply.text().lines().all(|line| line.matches(':').count() == 1));
    let size = numbers(reply.text(), "Max-size");
    let tile = numbers(reply.text(), "Tile-size");
    assert_eq!(tile[0], tile[1]);
    Described {
        size: (size[0], size[1]),
        tile: tile[0],
        levels: numbers(reply.text(), "Resolution-number")[0],
    }
}

/// Asks every tile of a level as a viewer does, which knows only what the image was described with, and
/// puts them together.
fn level_of_tiles(server: &Server, image: &str, before: &str, described: &Described, number: u32) -> Picture {
    let halvings = described.levels - 1 - number;
    let (width, height) = (described.size.0 >> halvings, described.size.1 >> halvings);
    let side = described.tile;
    let columns = width.div_ceil(side);
    let tiles: Vec<Picture> = (0..columns * height.div_ceil(side))
        .map(|tile| {
            let query = format!("FIF={image}&{before}PTL={number},{tile}");
            let picture = ask(server, &query).picture();
            let (x, y) = (tile % columns * side, tile / columns * side);
            assert_eq!(
                picture.size(),
                (side.min(width - x), side.min(height - y)),
                "{query}"
            );
            picture
        })
        .collect();
    Picture::new(width, height, tiles[0].bands, |x, y, band| {
        let tile = &tiles[(y / side * columns + x / side) as usize];
        tile.at(x % side, y % side, band)
    })
}

#[test]
fn a_viewer_reads_the_description_and_shows_every_level() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let described = describe(&server, "photo.tif");
    assert_eq!((described.size, described.levels), ((1000, 700), 4));
    for (number, expected) in (0..described.levels).rev().zip(photo.pyramid(4)) {
        let shown = level_of_tiles(&server, "photo.tif", "CNT=1&QLT=75&SDS=0,90&", &described, number);
        assert_same(&format!("level {number}"), &shown, &expected);
    }
    // The navigation window, and the part on the screen for printing.
    let small = ask(&server, "FIF=photo.tif&SDS=0,90&HEI=70&WID=150&QLT=98&CVT=jpeg");
    assert!(small.field("Content-Disposition").contains("photo_100x70.jpg"));
    assert_close("navigation", &small.picture(), &photo.resize(100, 70), JPEG_DB);
    let part = ask(
        &server,
        "FIF=photo.tif&CNT=1&QLT=95&RGN=0.25,0.5,0.5,0.5&CVT=jpeg",
    );
    assert_close("part", &part.picture(), &photo.crop(250, 350, 500, 350), 38.0);
}

#[test]
fn image_controls_change_tiles_and_exports_alike() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let described = describe(&server, "photo.tif");
    let change = |picture: &Picture, f: &dyn Fn(f64) -> f64| {
        Picture::new(picture.width, picture.height, 3, |x, y, band| {
            let value = f(f64::from(picture.at(x, y, band)) / 255.0) * 255.0;
            (value + 0.5 + 1e-6).clamp(0.0, 255.0) as u8
        })
    };
    let level = &photo.pyramid(2)[1];
    for (command, f) in [
        ("INV&", &(|v: f64| 1.0 - v) as &dyn Fn(f64) -> f64),
        ("CNT=1.4&", &|v| 1.4 * v),
        ("GAM=2.2&", &|v: f64| v.powf(2.2)),
        ("MINMAX=-:51,204&", &|v| (255.0 * v - 51.0) / 153.0),
        ("GAM=log&INV&", &|v: f64| {
            1.0 - (1.0 + 255.0 * v).ln() / 256f64.ln()
        }),
    ] {
        let expected = change(level, f);
        let shown = level_of_tiles(&server, "photo.tif", command, &described, 2);
        assert_same(command, &shown, &expected);
        let export = ask(&server, &format!("FIF=photo.tif&{command}WID=500&CVT=png"));
        assert_same(command, &export.picture(), &expected);
    }
    // A filter sees beyond the border of a tile: the tiles are the parts of the filtered level.
    for command in [
        "CNV=sharpen&",
        "CNV=emboss&CMP=jet&",
        "CNV=[0,0,1,0,0,0,1,2,1,0,1,2,16,2,1,0,1,2,1,0,0,0,1,0,0]&",
    ] {
        let shown = level_of_tiles(&server, "photo.tif", command, &described, 2);
        let export = ask(&server, &format!("FIF=photo.tif&{command}WID=500&CVT=png"));
        assert_same(command, &shown, &export.picture());
    }
    // A viewer that turns the picture asks for its size turned as well.
    let turned = ask(&server, "FIF=photo.tif&ROT=90&obj=Max-size").expect(200);
    assert_eq!(turned.text(), "Max-size:700 1000\r\n");
    let turned = ask(&server, "FIF=photo.tif&ROT=90&WID=500&CVT=png");
    assert_same("turned", &turned.picture(), &level.turn(1));
    let mirrored = ask(&server, "FIF=photo.tif&ROT=!270&WID=500&CVT=png");
    assert_same("mirrored", &mirrored.picture(), &level.mirror().turn(3));
}

#[test]
fn an_object_photographed_all_around_turns() {
    let images = Images::new();
    let angles = [(0, 90), (10, 90), (200, 90), (0, 45)];
    let pictures = [1, 2, 3, 4].map(|seed| Picture::photograph(600, 420, 3, seed));
    for ((x, y), picture) in angles.iter().zip(&pictures) {
        let name = format!("things/cup_pyr_{x:03}_{y:03}.tif");
        images.add(&name, &TiffFile::pyramid(picture, LOSSLESS));
    }
    let server = Server::start(images.folder());
    let query = "FIF=things/cup&obj=IIP,1.0&obj=Max-size&obj=Horizontal-views&obj=Vertical-views";
    let reply = ask(&server, query).expect(200);
    let expected = "IIP:1.3\r\nMax-size:600 420\r\nHorizontal-views:0 10 200\r\nVertical-views:45 90\r\n";
    assert_eq!(reply.text(), expected);
    let described = describe(&server, "things/cup");
    for ((x, y), picture) in angles.iter().zip(&pictures) {
        let before = format!("SDS={x},{y}&");
        let shown = level_of_tiles(&server, "things/cup", &before, &described, 2);
        assert_same(&before, &shown, picture);
        let smallest = &picture.pyramid(3)[2];
        let tile = ask(&server, &format!("FIF=things/cup&JTLS={x},0,0,{y}"));
        assert_close(&before, &tile.picture(), smallest, JPEG_DB);
        let export = ask(&server, &format!("FIF=things/cup&SDS={x},{y}&WID=150&CVT=png"));
        assert_same(&before, &export.picture(), smallest);
    }
    // Without a view the first one; one number is the horizontal angle.
    let first = ask(&server, "FIF=things/cup&WID=600&CVT=png");
    assert_same("first", &first.picture(), &pictures[0]);
    let turned = ask(&server, "FIF=things/cup&SDS=200&WID=600&CVT=png");
    assert_same("turned", &turned.picture(), &pictures[2]);
    // The profile of all views of a row of the object.
    let profile = ask(&server, "FIF=things/cup&PFL=2:17,5-18,5").expect(200);
    let of = |picture: &Picture| [0, 1, 2].map(|band| picture.at(17, 5, band)).to_vec();
    let expected = serde_json::json!({ "profile": {
        "0": of(&pictures[0]), "10": of(&pictures[1]), "200": of(&pictures[2]),
    }});
    assert_eq!(profile.json(), expected);
    for missing in [
        "SDS=20,90&JTL=0,0",
        "SDS=10,45&JTL=0,0",
        "SDS=-1,90&CVT=jpeg",
        "JTLS=1,0,0,90",
    ] {
        let reply = ask(&server, &format!("FIF=things/cup&{missing}")).expect(404);
        assert_eq!(reply.text(), "no such view\n");
    }
}

#[test]
fn a_multispectral_stack_is_seen_band_by_band() {
    let images = Images::new();
    let bands: Vec<Picture> = (1..=7)
        .map(|seed| Picture::photograph(300, 280, 1, seed))
        .collect();
    let mut file = TiffFile::of_levels(bands.clone(), LOSSLESS);
    for page in 0..bands.len() {
        // A single page of many (TIFF 6.0, tag NewSubfileType).
        file.set_long(page, tag::NEW_SUBFILE_TYPE, 2);
    }
    images.add("spectrum.tif", &file);
    let server = Server::start(images.folder());
    let reply = ask(&server, "FIF=spectrum.tif&obj=Horizontal-views&obj=Max-size").expect(200);
    assert_eq!(
        reply.text(),
        "Horizontal-views:0 1 2 3 4 5 6\r\nMax-size:300 280\r\n"
    );
    let described = describe(&server, "spectrum.tif");
    for (number, band) in bands.iter().enumerate() {
        let before = format!("SDS={number},90&");
        let shown = level_of_tiles(&server, "spectrum.tif", &before, &described, described.levels - 1);
        assert_same(&before, &shown, band);
        let false_color = ask(
            &server,
            &format!("FIF=spectrum.tif&{before}CMP=red&WID=300&CVT=png"),
        );
        let red = Picture::new(300, 280, 3, |x, y, b| if b == 0 { band.at(x, y, 0) } else { 0 });
        assert_same(&before, &false_color.picture(), &red);
    }
    // The spectrum at a pixel of the second tile of the full size.
    let tile = described.levels - 1;
    let spectrum = ask(&server, &format!("FIF=spectrum.tif&SPECTRA={tile},1,30,99")).expect(200);
    assert_eq!(spectrum.field("Content-Type"), "application/xml");
    let mut expected = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n");
    for (number, band) in bands.iter().enumerate() {
        let value = f64::from(band.at(256 + 30, 99, 0)) / 255.0;
        let point = format!("<wavelength>{number}</wavelength>\n\t\t<reflectance>{value:.6}</reflectance>");
        expected.push_str(&format!("\t<point>\n\t\t{point}\n\t</point>\n"));
    }
    expected.push_str("</spectra>");
    assert_eq!(spectrum.text(), expected);
    let profile = ask(&server, &format!("FIF=spectrum.tif&PFL={tile}:4,9-4,12")).expect(200);
    for (number, band) in bands.iter().enumerate() {
        let expected: Vec<u8> = (9..12).map(|y| band.at(4, y, 0)).collect();
        assert_eq!(
            profile.json()["profile"][number.to_string()],
            serde_json::json!(expected)
        );
    }
    let _ = ask(&server, "FIF=spectrum.tif&SDS=7,90&JTL=0,0").expect(404);
}

#[test]
fn any_view_of_a_single_image_is_that_image() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    for view in ["0", "1", "3,90", "10,0", "-1,90", "999999"] {
        let reply = ask(&server, &format!("FIF=photo.tif&SDS={view}&obj=Max-size")).expect(200);
        assert_eq!(reply.text(), "Max-size:1000 700\r\n", "SDS={view}");
    }
    let shown = ask(&server, "FIF=photo.tif&SDS=2,90&WID=250&CVT=png");
    assert_same("a size is no view", &shown.picture(), &photo.pyramid(4)[2]);
}

#[test]
fn requests_out_of_bounds_are_refused_and_harm_nobody() {
    let (images, photo) = Images::with_photo();
    let mut server = Server::start(images.folder());
    let long = "1,".repeat(30_000);
    let rows = "1;".repeat(30_000);
    for (query, status) in [
        ("FIF=photo.tif&JTL=3,12", 404),
        ("FIF=photo.tif&JTL=4,0", 404),
        ("FIF=photo.tif&JTL=-1,-1", 404),
        ("FIF=photo.tif&JTL=nan,0", 400),
        ("FIF=photo.tif&JTL=99999999999,0", 400),
        ("FIF=photo.tif&JTL", 400),
        ("FIF=photo.tif&TIL=0,0-999999", 404),
        ("FIF=photo.tif&TIL=7,0", 404),
        ("FIF=photo.tif&PFL=3:0,0-99999999,0", 400),
        ("FIF=photo.tif&PFL=3:1000,0", 400),
        ("FIF=photo.tif&PFL=3:-1,0", 400),
        ("FIF=photo.tif&PFL=9:0,0", 400),
        ("FIF=photo.tif&SPECTRA=0,0,256,0", 400),
        ("FIF=photo.tif&SPECTRA=0,9,0,0", 404),
        ("FIF=photo.tif&WID=-1&CVT=jpeg", 400),
        ("FIF=photo.tif&WID=nan&CVT=jpeg", 400),
        ("FIF=photo.tif&HEI=1e99&CVT=jpeg", 400),
        ("FIF=photo.tif&RGN=1,0,1,1&CVT=jpeg", 400),
        ("FIF=photo.tif&RGN=0,0,nan,1&CVT=jpeg", 400),
        ("FIF=photo.tif&RGN=0,0,inf,1&CVT=jpeg", 400),
        ("FIF=photo.tif&CNT=abc&CVT=jpeg", 400),
        ("FIF=photo.tif&GAM=0x2&CVT=jpeg", 400),
        ("FIF=photo.tif&MINMAX=0:nan,1&JTL=0,0", 400),
        ("FIF=photo.tif&CTW=[nan]&JTL=0,0", 400),
        ("FIF=photo.tif&SHD=a,b&JTL=0,0", 400),
        ("FIF=photo.tif%00&JTL=0,0", 400),
        ("FIF=../../../etc/passwd&JTL=0,0", 404),
        ("FIF=photo&JTL=0,0", 404),
        ("FIF=*.tif&JTL=0,0", 404),
        ("FIF=&JTL=0,0", 400),
        ("JTL=0,0&FIF=photo.tif", 400),
        ("CVT=jpeg", 400),
        ("&&&=&=1", 400),
        (&format!("FIF=photo.tif&OBJ={}", "x".repeat(65_600)), 414),
        // Long, but allowed: work stays bounded.
        (&format!("FIF=photo.tif&CNV={long}&JTL=0,0"), 200),
        (&format!("FIF=photo.tif&CTW={rows}&JTL=0,0"), 400),
        ("FIF=photo.tif&RGN=0,0,-1,-1&WID=1&CVT=jpeg", 200),
        ("FIF=photo.tif&RGN=0.5,0.5,1e-30,1e-30&WID=10&CVT=jpeg", 200),
        ("FIF=photo.tif&MINMAX=999:0,1&JTL=0,0", 200),
        ("FIF=photo.tif&MINMAX=0:5,5&JTL=0,0", 200),
        ("FIF=photo.tif&GAM=-1e308&CNT=-1e308&JTL=0,0", 200),
        ("FIF=photo.tif&ROT=1e9&QLT=-5&JTL=0,0", 200),
    ] {
        let reply = ask(&server, query);
        let name = &query[..query.len().min(80)];
        assert_eq!(
            reply.status,
            status,
            "{name}: {:?}",
            String::from_utf8_lossy(&reply.body)
        );
        let folder = images.folder().to_string_lossy();
        assert!(
            status == 200 || !reply.text().contains(&*folder),
            "a path in {:?}",
            reply.text()
        );
        assert_eq!(
            status != 200,
            reply.field("Cache-Control") == "no-cache",
            "{name}"
        );
        if status == 200 {
            let _ = reply.picture();
        }
    }
    assert!(server.is_alive());
    let after = ask(&server, "FIF=photo.tif&PTL=0,0");
    assert_same("after all that", &after.picture(), &photo.pyramid(4)[3]);
}
