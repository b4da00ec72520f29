//! Colors as other programs see them: CIELAB as libvips, inks and wide color spaces as Little CMS.

use support::Server;
use support::fixture::{Compression, Images, Layout, TiffFile};
use support::flat::FlatTiff;
use support::icc::{
    ADOBE_RGB, PRO_PHOTO, cmyk_profile, delta_e_2000, grey_profile, lab_of_srgb, rgb_profile,
};
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// Side of the square of one color: large enough to have a middle no neighbor touches.
const SIDE: u32 = 8;

/// Patches side by side, in one row.
fn patches(colors: &[Vec<u8>]) -> Vec<u8> {
    let row: Vec<u8> = colors
        .iter()
        .flat_map(|color| color.repeat(SIDE as usize))
        .collect();
    row.repeat(SIDE as usize)
}

/// The color in the middle of each patch.
fn middles(picture: &Picture) -> Vec<[f64; 3]> {
    (0..picture.width / SIDE)
        .map(|patch| {
            let at = |band: u32| picture.at(patch * SIDE + SIDE / 2, SIDE / 2, band.min(picture.bands - 1));
            [0, 1, 2].map(|band| f64::from(at(band)))
        })
        .collect()
}

/// Mean and largest difference of colors in sRGB.
fn differences(shown: &[[f64; 3]], expected: &[[f64; 3]]) -> (f64, f64) {
    assert_eq!(shown.len(), expected.len());
    let all: Vec<f64> = shown
        .iter()
        .zip(expected)
        .map(|(&s, &e)| delta_e_2000(lab_of_srgb(s), lab_of_srgb(e)))
        .collect();
    (
        all.iter().sum::<f64>() / all.len() as f64,
        all.iter().copied().fold(0.0, f64::max),
    )
}

/// What Little CMS makes of colors, relative to white: asked for a perceptual conversion it would compensate for the
/// black point, because its own sRGB is of version 4, which the host does not do. The profiles here have one table for
/// both. One line a color in, red, green and blue of 0 to 255 out.
fn lcms(profile: &std::path::Path, lines: &str) -> Vec<[f64; 3]> {
    let input = format!("-i{}", profile.display());
    let out = tool::run_with(
        "transicc",
        [input.as_str(), "-o*sRGB", "-t1", "-n", "-s", "-c0"],
        lines.as_bytes(),
    );
    let colors: Vec<[f64; 3]> = String::from_utf8_lossy(&out)
        .lines()
        .filter_map(|line| {
            let numbers: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            numbers.try_into().ok()
        })
        .collect();
    assert_eq!(
        colors.len(),
        lines.lines().count(),
        "{}",
        String::from_utf8_lossy(&out)
    );
    colors
}

fn steps(levels: &[u8], bands: u32) -> Vec<Vec<u8>> {
    (0..levels.len().pow(bands))
        .map(|number| {
            (0..bands)
                .map(|band| levels[number / levels.len().pow(band) % levels.len()])
                .collect()
        })
        .collect()
}

#[test]
fn differences_are_those_of_the_published_pairs() {
    // Sharma, Wu and Dalal, The CIEDE2000 color-difference formula, table 1: pairs 1, 7, 13, 17, 25.
    for (one, other, expected) in [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, -0.001, 2.49], [50.0, 0.0011, -2.49], 4.7461),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
    ] {
        assert!(
            (delta_e_2000(one, other) - expected).abs() < 1e-4,
            "{one:?} {other:?}"
        );
    }
}

#[test]
fn cielab_is_shown_as_libvips_shows_it() {
    let images = Images::new();
    // Colors inside sRGB, and some beyond, where both cut off.
    let colors: Vec<Vec<u8>> = [20_u8, 60, 128, 200, 250]
        .into_iter()
        .flat_map(|l| {
            [-40_i8, -15, 0, 15, 40]
                .into_iter()
                .flat_map(move |a| [-40_i8, 0, 40].map(|b| vec![l, a as u8, b as u8]))
        })
        .collect();
    let width = colors.len() as u32 * SIDE;
    images.write(
        "lab.tif",
        &FlatTiff::new(width, SIDE, 3, 8, 8, patches(&colors)).bytes(),
    );
    let server = Server::start(images.folder());
    let shown = middles(
        &server
            .client()
            .get("/iiif/3/lab.tif/full/max/0/default.png")
            .picture(),
    );
    // Its own reader of 8-bit CIELAB is coarse: it gets the numbers.
    let numbers: Vec<u8> = colors
        .iter()
        .flat_map(|c| {
            [
                f32::from(c[0]) / 2.55,
                f32::from(c[1] as i8),
                f32::from(c[2] as i8),
            ]
        })
        .flat_map(f32::to_ne_bytes)
        .collect();
    images.write("lab.raw", &numbers);
    let [raw, lab, srgb] =
        ["lab.raw", "lab.v", "lab.png"].map(|name| images.path(name).display().to_string());
    let count = colors.len().to_string();
    tool::run(
        "vips",
        [
            "rawload",
            &raw,
            &lab,
            &count,
            "1",
            "3",
            "--format",
            "float",
            "--interpretation",
            "lab",
        ],
    );
    tool::run("vips", ["colourspace", &lab, &srgb, "srgb"]);
    let expected: Vec<[f64; 3]> = tool::vips_samples(&images.path("lab.png"))
        .chunks_exact(3)
        .map(|c| [0, 1, 2].map(|band| f64::from(c[band])))
        .collect();
    let (mean, most) = differences(&shown, &expected);
    assert!(mean < 0.4 && most < 1.5, "ΔE2000 {mean:.2}, at most {most:.2}");
}

#[test]
fn inks_are_shown_by_their_profile() {
    let images = Images::new();
    let icc = cmyk_profile();
    images.write("press.icc", &icc);
    let colors = steps(&[0, 90, 170, 255], 4);
    let width = colors.len() as u32 * SIDE;
    images.write(
        "inks.tif",
        &FlatTiff::new(width, SIDE, 4, 8, 5, patches(&colors))
            .icc(&icc)
            .bytes(),
    );
    let deep: Vec<Vec<u8>> = colors
        .iter()
        .map(|c| c.iter().flat_map(|&v| [v, v]).collect())
        .collect();
    images.write(
        "deep.tif",
        &FlatTiff::new(width, SIDE, 4, 16, 5, patches(&deep))
            .icc(&icc)
            .bytes(),
    );
    let lines: String = colors
        .iter()
        .map(|c| {
            c.iter()
                .map(|&v| format!("{} ", f64::from(v) / 2.55))
                .collect::<String>()
                + "\n"
        })
        .collect();
    // Exactly, while the host interpolates in a table of the whole way.
    let expected = lcms(&images.path("press.icc"), &lines);
    let server = Settings::new(images.folder()).with("MAX_CVT", "-1").start();
    for name in ["inks.tif", "deep.tif"] {
        let reply = server
            .client()
            .get(&format!("/iiif/3/{name}/full/max/0/default.png"))
            .expect(200);
        let (mean, most) = differences(&middles(&reply.picture()), &expected);
        assert!(
            mean < 0.4 && most < 1.3,
            "{name}: ΔE2000 {mean:.2}, at most {most:.2}"
        );
        assert!(
            !reply.body.windows(4).any(|w| w == b"iCCP"),
            "the profile of the inks is not that of the picture"
        );
    }
    // A tile knows the profile too: the first of a picture of one row of tiles.
    let levels = server
        .client()
        .iip("FIF=inks.tif&OBJ=Resolution-number")
        .expect(200);
    let last: u32 = levels
        .text()
        .trim()
        .rsplit(':')
        .next()
        .unwrap()
        .trim()
        .parse::<u32>()
        .unwrap()
        - 1;
    let tile = middles(
        &server
            .client()
            .iip(&format!("FIF=inks.tif&PTL={last},0"))
            .picture(),
    );
    let (mean, most) = differences(&tile, &expected[..tile.len()]);
    assert!(
        tile.len() == 32 && mean < 0.4 && most < 1.3,
        "tile: ΔE2000 {mean:.2}, at most {most:.2}"
    );
}

#[test]
fn wide_colors_are_converted_where_the_client_asks_and_described_otherwise() {
    let images = Images::new();
    let colors = steps(&[0, 50, 128, 200, 255], 3);
    let width = colors.len() as u32 * SIDE;
    let lines: String = colors
        .iter()
        .map(|c| format!("{} {} {}\n", c[0], c[1], c[2]))
        .collect();
    let (source, srgb, excluded) = (
        Settings::new(images.folder()).start(),
        Settings::new(images.folder())
            .with("OUTPUT_PROFILE", "srgb")
            .start(),
        Settings::new(images.folder()).with("MAX_ICC", "300").start(),
    );
    for (name, primaries) in [("adobe", &ADOBE_RGB), ("romm", &PRO_PHOTO)] {
        let icc = rgb_profile(primaries);
        images.write(&format!("{name}.icc"), &icc);
        let file = FlatTiff::new(width, SIDE, 3, 8, 2, patches(&colors)).icc(&icc);
        images.write(&format!("{name}.tif"), &file.bytes());
        let expected = lcms(&images.path(&format!("{name}.icc")), &lines);
        let target = format!("/iiif/3/{name}.tif/full/max/0/default.png");
        let stored = source.client().get(&target).expect(200);
        assert_eq!(stored.picture().samples, file.samples(), "as stored");
        assert!(stored.body.windows(4).any(|w| w == b"iCCP"));
        for server in [&srgb, &excluded] {
            let reply = server.client().get(&target).expect(200);
            assert!(!reply.body.windows(4).any(|w| w == b"iCCP"));
            let (mean, most) = differences(&middles(&reply.picture()), &expected);
            assert!(
                mean < 0.4 && most < 1.5,
                "{name}: ΔE2000 {mean:.2}, at most {most:.2}"
            );
        }
    }
}

#[test]
fn grey_by_its_profile_and_srgb_left_alone() {
    let images = Images::new();
    let values: Vec<u8> = (0..=255).step_by(5).collect();
    let icc = grey_profile(1.8);
    images.write("grey.icc", &icc);
    let colors: Vec<Vec<u8>> = values.iter().map(|&v| vec![v]).collect();
    let width = colors.len() as u32 * SIDE;
    images.write(
        "grey.tif",
        &FlatTiff::new(width, SIDE, 1, 8, 1, patches(&colors))
            .icc(&icc)
            .bytes(),
    );
    let lines: String = values.iter().map(|v| format!("{v}\n")).collect();
    let expected = lcms(&images.path("grey.icc"), &lines);
    let server = Settings::new(images.folder())
        .with("OUTPUT_PROFILE", "srgb")
        .start();
    let shown = server
        .client()
        .get("/iiif/3/grey.tif/full/max/0/default.png")
        .picture();
    assert_eq!(shown.bands, 1);
    let (mean, most) = differences(&middles(&shown), &expected);
    assert!(mean < 0.4 && most < 1.0, "ΔE2000 {mean:.2}, at most {most:.2}");
    // WebP has no grey its profile could describe: the colors are converted, whatever the setting.
    let plain = Server::start(images.folder());
    let webp = plain.client().iip("FIF=grey.tif&QLT=-1&CVT=webp").expect(200);
    assert!(!webp.body.windows(4).any(|w| w == b"ICCP"));
    images.write("shown.webp", &webp.body);
    let png = images.path("shown.png");
    tool::run(
        "dwebp",
        [
            "-quiet".as_ref(),
            images.path("shown.webp").as_os_str(),
            "-o".as_ref(),
            png.as_os_str(),
        ],
    );
    let webp = middles(&Picture::from_png(&std::fs::read(png).unwrap()));
    assert_eq!(webp, middles(&shown));
}

#[test]
fn stored_tiles_are_handed_on_unless_their_colors_are_to_be_converted() {
    let images = Images::new();
    let layout = Layout {
        compression: Compression::Jpeg(85),
        ..Layout::default()
    };
    let photo = TiffFile::pyramid(&Picture::photograph(600, 400, 3, 1), layout);
    images.add("plain.tif", &photo);
    // The same file as Adobe RGB, by a tool that knows TIFF.
    images.write("adobe.icc", &rgb_profile(&ADOBE_RGB));
    images.add("adobe.tif", &photo);
    let profile = format!("-icc_profile<={}", images.path("adobe.icc").display());
    tool::run(
        "exiftool",
        [
            "-q",
            "-overwrite_original",
            &profile,
            &images.path("adobe.tif").display().to_string(),
        ],
    );
    let stored = {
        let (offset, len) = photo.tile_data(0, 0);
        &photo.bytes[offset as usize..(offset + len) as usize]
    };
    // The scan, which no marker put in front changes.
    let scan = &stored[stored.len() / 2..];
    let holds = |body: &[u8]| body.windows(scan.len()).any(|w| w == scan);
    let (source, srgb) = (
        Server::start(images.folder()),
        Settings::new(images.folder())
            .with("OUTPUT_PROFILE", "srgb")
            .start(),
    );
    let ask = |server: &Server, name: &str| {
        server
            .client()
            .iip(&format!("FIF={name}&JTL=3,0"))
            .expect(200)
            .body
    };
    assert!(holds(&ask(&source, "plain.tif")) && holds(&ask(&srgb, "plain.tif")));
    let described = ask(&source, "adobe.tif");
    assert!(holds(&described) && described.windows(11).any(|w| w == b"ICC_PROFILE"));
    let converted = ask(&srgb, "adobe.tif");
    assert!(!holds(&converted) && !converted.windows(11).any(|w| w == b"ICC_PROFILE"));
}

#[test]
fn a_broken_profile_is_left_out_with_one_warning_and_the_picture_is_served() {
    let images = Images::new();
    let colors = steps(&[0, 100, 200], 3);
    let width = colors.len() as u32 * SIDE;
    let mut cut = rgb_profile(&ADOBE_RGB);
    cut.truncate(300);
    let mut no_matrix = rgb_profile(&ADOBE_RGB);
    let tag = no_matrix.windows(4).position(|w| w == b"rXYZ").unwrap();
    no_matrix[tag] = b'?';
    let file = |icc: &[u8], photometric, colors: &[Vec<u8>]| {
        let bands = colors[0].len() as u16;
        FlatTiff::new(width, SIDE, bands, 8, photometric, patches(colors))
            .icc(icc)
            .xmp(b"\xff\0\x01")
            .bytes()
    };
    images.write("cut.tif", &file(&cut, 2, &colors));
    images.write("empty.tif", &file(&no_matrix, 2, &colors));
    let inks: Vec<Vec<u8>> = colors.iter().map(|c| [c.as_slice(), &[0]].concat()).collect();
    images.write("inks.tif", &file(&cut, 5, &inks));
    let server = Settings::new(images.folder())
        .with("OUTPUT_PROFILE", "srgb")
        .start();
    for (name, warning) in [
        ("cut.tif", "color profile left out"),
        ("inks.tif", "color profile not used"),
        ("empty.tif", "color profile not used"),
    ] {
        for format in ["png", "jpg", "webp", "tif"] {
            let reply = server
                .client()
                .iip(&format!("FIF={name}&CVT={format}"))
                .expect(200);
            assert!(!reply.body.windows(4).any(|w| w == b"acsp"), "{name} {format}");
        }
        assert!(server.log().contains(warning), "{name}: {}", server.log());
    }
    assert!(server.log().contains("XMP of 3 bytes is no text"));
    let count = server.log().matches("color profile left out").count();
    assert_eq!(count, 1, "{}", server.log());
    let shown = middles(&server.client().iip("FIF=cut.tif&CVT=png").picture());
    let stored: Vec<[f64; 3]> = colors
        .iter()
        .map(|c| [0, 1, 2].map(|b| f64::from(c[b])))
        .collect();
    assert_eq!(shown, stored, "shown as if it had none");
}

#[test]
fn deep_samples_stay_deep_where_asked_and_possible() {
    let images = Images::new();
    let values: Vec<u16> = (0..64 * 48 * 3)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 16) as u16)
        .collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    images.write("deep.tif", &FlatTiff::new(64, 48, 3, 16, 2, bytes).bytes());
    let (eight, source) = (
        Server::start(images.folder()),
        Settings::new(images.folder())
            .with("OUTPUT_DEPTH", "source")
            .start(),
    );
    for query in [
        "FIF=deep.tif&CVT=png",
        "FIF=deep.tif&QLT=lzw:1&CVT=tiff",
        "FIF=deep.tif&QLT=zstd:3&CVT=tiff",
        "FIF=deep.tif&PTL=99,0",
    ] {
        let query = query.replace("99,0", "0,0");
        let name = if query.contains("tiff") {
            "read.tif"
        } else {
            "read.png"
        };
        let read = |server: &Server| {
            images.write(name, &server.client().iip(&query).expect(200).body);
            tool::vips_samples(&images.path(name))
        };
        let deep: Vec<u16> = read(&source)
            .chunks_exact(2)
            .map(|b| u16::from_ne_bytes([b[0], b[1]]))
            .collect();
        assert_eq!(deep, values, "{query}");
        let shallow: Vec<u8> = values.iter().map(|v| (v >> 8) as u8).collect();
        assert_eq!(read(&eight), shallow, "{query}");
    }
    // What holds 8 bits alone gets 8 bits.
    for query in [
        "FIF=deep.tif&CVT=jpeg",
        "FIF=deep.tif&CVT=webp",
        "FIF=deep.tif&QLT=jpeg:90&CVT=tiff",
    ] {
        let _ = source.client().iip(query).expect(200);
    }
}
