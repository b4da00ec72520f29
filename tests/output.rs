//! What other people's programs read in the files the host writes: pixels, and what is said about them.
//!
//! The pictures are asked for first, all of one kind, so that a checker that takes many files runs once.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use support::Server;
use support::fixture::Images;
use support::flat::FlatTiff;
use support::icc::{ADOBE_RGB, rgb_profile};
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// Sides that are multiples of no block of any codec.
const SIZE: (u32, u32) = (119, 83);

/// For the one encoder that is slow without optimization.
const SMALL: (u32, u32) = (43, 35);

/// Samples of 16 bits, smooth with a little noise below the eighth bit.
fn samples((width, height): (u32, u32), bands: u32) -> Vec<u16> {
    let photo = Picture::photograph(width, height, if bands < 3 { 1 } else { 3 }, 3);
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for band in 0..bands {
                let is_alpha = bands.is_multiple_of(2) && band == bands - 1;
                let high = if is_alpha {
                    255 - (x * 2 % 256) as u16
                } else {
                    u16::from(photo.at(x, y, band))
                };
                let noise = (x * 7919 + y * 104_729 + band * 13).wrapping_mul(2_654_435_761) >> 24;
                out.push(high << 8 | noise as u16);
            }
        }
    }
    out
}

fn high_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().map(|v| (v >> 8) as u8).collect()
}

/// A folder with `<bits>-<bands>.tif` for 8 and 16 bits and 1 to 4 bands.
fn images(size: (u32, u32)) -> Images {
    let images = Images::new();
    for bands in 1..=4_u32 {
        let deep = samples(size, bands);
        let photometric = if bands < 3 { 1 } else { 2 };
        let bytes = deep.iter().flat_map(|v| v.to_le_bytes()).collect();
        let file =
            |bits, bytes| FlatTiff::new(size.0, size.1, bands as u16, bits, photometric, bytes).bytes();
        images.write(&format!("16-{bands}.tif"), &file(16, bytes));
        images.write(&format!("8-{bands}.tif"), &file(8, high_bytes(&deep)));
    }
    images
}

/// The host with 8 bits and with those of the source.
fn servers(images: &Images) -> [(Server, bool); 2] {
    [
        (Server::start(images.folder()), false),
        (
            Settings::new(images.folder())
                .with("OUTPUT_DEPTH", "source")
                .start(),
            true,
        ),
    ]
}

/// One picture asked for.
struct Asked {
    name: String,
    file: PathBuf,
    bands: u32,
    /// The file has more than 8 bits.
    deep: bool,
    /// What the colors and the opacity were, in the bits of the file.
    expected: Vec<u16>,
}

/// Asks for all depths and band counts in some qualities of a format.
fn ask(
    images: &Images,
    size: (u32, u32),
    bands: RangeInclusive<u32>,
    qualities: &[&str],
    format: &str,
    extension: &str,
    holds_deep: bool,
) -> Vec<Asked> {
    let mut all = Vec::new();
    for (server, source_depth) in servers(images) {
        for bits in [8, 16] {
            for bands in bands.clone() {
                for quality in qualities {
                    let query = format!("FIF={bits}-{bands}.tif&QLT={quality}&CVT={format}");
                    let body = server.client().iip(&query).expect(200).body;
                    let name = format!(
                        "{bits} bits, {bands} bands, {format} {quality}, source depth {source_depth}"
                    );
                    let file = images.path(&format!("out/{}.{extension}", all.len()));
                    images.write(&format!("out/{}.{extension}", all.len()), &body);
                    let deep = bits == 16 && source_depth && holds_deep;
                    let expected = samples(size, bands)
                        .iter()
                        .map(|v| if deep { *v } else { v >> 8 })
                        .collect();
                    all.push(Asked {
                        name,
                        file,
                        bands,
                        deep,
                        expected,
                    });
                }
            }
        }
    }
    all
}

/// Samples as libvips reads them, 8 or 16 bits.
fn vips(asked: &Asked) -> Vec<u16> {
    let bytes = tool::vips_samples(&asked.file);
    if asked.deep {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_ne_bytes([b[0], b[1]]))
            .collect()
    } else {
        bytes.into_iter().map(u16::from).collect()
    }
}

/// Grey repeated, as formats have it that know no grey.
fn colored(samples: &[u16], bands: u32) -> Vec<u16> {
    match bands {
        1 => samples.iter().flat_map(|&g| [g; 3]).collect(),
        2 => samples
            .chunks_exact(2)
            .flat_map(|p| [p[0], p[0], p[0], p[1]])
            .collect(),
        _ => samples.to_vec(),
    }
}

/// Over white, as formats have it that know no opacity.
fn over_white(samples: &[u16], bands: u32) -> Vec<u16> {
    if bands % 2 == 1 {
        return samples.to_vec();
    }
    let lay = |color: u16, alpha: u16| {
        ((u32::from(color) * u32::from(alpha) + 255 * u32::from(255 - alpha) + 127) / 255) as u16
    };
    samples
        .chunks_exact(bands as usize)
        .flat_map(|pixel| {
            let (alpha, colors) = pixel.split_last().unwrap();
            colors.iter().map(|&c| lay(c, *alpha)).collect::<Vec<_>>()
        })
        .collect()
}

/// Peak signal-to-noise ratio of samples up to `top`.
fn psnr(found: &[u16], expected: &[u16], top: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares: f64 = found
        .iter()
        .zip(expected)
        .map(|(&f, &e)| (f64::from(f) - f64::from(e)).powi(2))
        .sum();
    10.0 * (top * top * found.len() as f64 / squares).log10()
}

/// Samples of the PNM and PAM files of the command-line tools: what follows the last line of the header.
fn pnm(file: &[u8]) -> Vec<u16> {
    let header = if file.starts_with(b"P7") {
        file.windows(7).position(|w| w == b"ENDHDR\n").unwrap() + 7
    } else {
        file.iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(2)
            .unwrap()
            .0
            + 1
    };
    file[header..].iter().map(|&b| u16::from(b)).collect()
}

fn files(asked: &[Asked]) -> Vec<&std::path::Path> {
    asked.iter().map(|a| a.file.as_path()).collect()
}

#[test]
fn png_is_exact_and_well_formed() {
    let images = images(SIZE);
    let asked = ask(&images, SIZE, 1..=4, &["0", "1", "6"], "png", "png", true);
    let checked = tool::run("pngcheck", files(&asked));
    let checked = String::from_utf8_lossy(&checked);
    assert!(
        checked.contains(&format!("No errors were detected in {}", asked.len()))
            || checked.matches("OK:").count() == asked.len(),
        "{checked}"
    );
    for asked in asked {
        assert!(vips(&asked) == asked.expected, "{}", asked.name);
    }
}

#[test]
fn tiff_is_exact_and_well_formed() {
    let images = images(SIZE);
    let asked = ask(
        &images,
        SIZE,
        1..=4,
        &["none:0", "lzw:1", "deflate:6", "zstd:3"],
        "tiff",
        "tif",
        true,
    );
    let told = tool::run("tiffinfo", files(&asked));
    let told = String::from_utf8_lossy(&told);
    for scheme in ["None", "LZW", "AdobeDeflate", "ZSTD"] {
        assert_eq!(
            told.matches(&format!("Compression Scheme: {scheme}")).count(),
            asked.len() / 4,
            "{scheme}"
        );
    }
    for asked in asked {
        assert!(vips(&asked) == asked.expected, "{}", asked.name);
    }
}

#[test]
fn webp_is_exact_when_lossless_and_near_when_not() {
    let images = images(SIZE);
    for (quality, bounds) in [("-1", [f64::INFINITY; 4]), ("90", [38.0, 38.0, 33.0, 33.0])] {
        for asked in ask(&images, SIZE, 1..=4, &[quality], "webp", "webp", false) {
            let pam = asked.file.with_extension("pam");
            tool::run(
                "dwebp",
                [
                    "-quiet".as_ref(),
                    asked.file.as_os_str(),
                    "-pam".as_ref(),
                    "-o".as_ref(),
                    pam.as_os_str(),
                ],
            );
            let found = pnm(&std::fs::read(pam).unwrap());
            let mut expected = colored(&asked.expected, asked.bands);
            if asked.bands % 2 == 1 {
                expected = expected
                    .chunks_exact(3)
                    .flat_map(|p| [p[0], p[1], p[2], 255])
                    .collect();
            }
            // Colors that cannot be seen need not be kept by the lossy encoder.
            let db = psnr(&found, &expected, 255.0);
            assert!(
                db >= bounds[asked.bands as usize - 1],
                "{}: {db:.1} dB",
                asked.name
            );
        }
    }
}

#[test]
fn jpeg_is_near_and_lies_over_white() {
    let images = images(SIZE);
    for (quality, bound) in [("30", 29.0), ("75", 34.0), ("95", 41.0)] {
        for asked in ask(&images, SIZE, 1..=4, &[quality], "jpeg", "jpg", false) {
            let found = pnm(&tool::run("djpeg", ["-pnm".as_ref(), asked.file.as_os_str()]));
            let db = psnr(&found, &over_white(&asked.expected, asked.bands), 255.0);
            assert!(db >= bound, "{}: {db:.1} dB", asked.name);
        }
    }
}

#[test]
fn avif_is_near_in_8_and_10_bits() {
    let images = images(SMALL);
    for (bands, quality, bound) in [(1..=4, "50", 30.0), (3..=3, "100", 42.0)] {
        for asked in ask(&images, SMALL, bands, &[quality], "avif", "avif", true) {
            let png = asked.file.with_extension("png");
            let depth = if asked.deep { "16" } else { "8" };
            tool::run(
                "avifdec",
                [
                    "-d".as_ref(),
                    depth.as_ref(),
                    asked.file.as_os_str(),
                    png.as_os_str(),
                ],
            );
            let told = tool::run("avifdec", ["--info".as_ref(), asked.file.as_os_str()]);
            let told = String::from_utf8_lossy(&told).replace(' ', "");
            let bits = if asked.deep { "BitDepth:10" } else { "BitDepth:8" };
            assert!(told.contains(bits), "{}: {told}", asked.name);
            let read = Asked { file: png, ..asked };
            let found = vips(&read);
            let mut expected = read.expected.clone();
            if found.len() != expected.len() {
                // The tool writes grey as RGB.
                expected = colored(&expected, read.bands);
            }
            let db = psnr(&found, &expected, if read.deep { 65_535.0 } else { 255.0 });
            assert!(db >= bound, "{}: {db:.1} dB", read.name);
        }
    }
}

#[test]
fn jpeg_and_webp_inside_tiff_are_read_by_libtiff() {
    let images = images(SIZE);
    for (scheme, bound) in [("jpeg:95", 39.0), ("webp:95", 36.0), ("webp:-1", f64::INFINITY)] {
        let asked = ask(&images, SIZE, 1..=4, &[scheme], "tiff", "tif", false);
        tool::run("tiffinfo", files(&asked));
        for asked in asked {
            let expected = match (scheme.starts_with("webp"), asked.bands) {
                (true, bands) => colored(&asked.expected, bands),
                // JPEG in TIFF has one, three or four bands.
                (false, 2) => over_white(&asked.expected, 2),
                (false, _) => asked.expected.clone(),
            };
            let db = psnr(&vips(&asked), &expected, 255.0);
            assert!(db >= bound, "{}: {db:.1} dB", asked.name);
        }
    }
}

#[test]
fn data_of_many_bands_goes_into_tiff_whole() {
    let images = Images::new();
    let bytes: Vec<u8> = (0..40 * 30 * 7)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    images.write(
        "seven.tif",
        &FlatTiff::new(40, 30, 7, 8, 1, bytes.clone()).bytes(),
    );
    let server = Server::start(images.folder());
    for scheme in ["none:0", "lzw:1", "deflate:1", "zstd:1"] {
        images.write(
            "out.tif",
            &server
                .client()
                .iip(&format!("FIF=seven.tif&QLT={scheme}&CVT=tiff"))
                .expect(200)
                .body,
        );
        assert!(tool::vips_samples(&images.path("out.tif")) == bytes, "{scheme}");
    }
}

/// A photograph with everything a camera and an archive write about it.
fn described(images: &Images) {
    images.write("camera.jpg", &Picture::photograph(400, 300, 3, 2).to_jpeg(90));
    images.write("adobe.icc", &rgb_profile(&ADOBE_RGB));
    let profile = format!("-icc_profile<={}", images.path("adobe.icc").display());
    let file = images.path("camera.jpg").display().to_string();
    tool::run(
        "exiftool",
        [
            "-q",
            "-n",
            "-overwrite_original",
            &profile,
            "-IFD0:Artist=Somebody",
            "-IFD0:Make=Maker",
            "-IFD0:Orientation=6",
            "-ExifIFD:ISO=200",
            "-ExifIFD:ExifImageWidth=400",
            "-GPS:GPSLatitude=47.5",
            "-GPS:GPSLatitudeRef=N",
            "-XMP-dc:Title=Views",
            "-IFD0:XResolution=300",
            "-IFD0:YResolution=300",
            "-IFD0:ResolutionUnit=2",
            "-JFIF:XResolution=300",
            "-JFIF:YResolution=300",
            "-JFIF:ResolutionUnit=1",
            &file,
        ],
    );
}

#[test]
fn exports_say_in_every_format_what_the_source_said() {
    let images = Images::new();
    described(&images);
    let server = Settings::new(images.folder())
        .with("COPYRIGHT", "All rights reserved")
        .start();
    let mut paths = Vec::new();
    for extension in ["jpg", "png", "webp", "avif", "tif"] {
        let query = format!("FIF=camera.jpg&WID=200&CVT={extension}");
        let name = format!("out.{extension}");
        images.write(&name, &server.client().iip(&query).expect(200).body);
        paths.push(images.path(&name));
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    let told = tool::exiftool(&paths);
    assert_eq!(told.len(), 5);
    for told in told {
        let name = told["SourceFile"].as_str().unwrap().to_owned();
        let said = |tag: &str| {
            let value = &told[tag];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        for (tag, expected) in [
            ("IFD0:Artist", "Somebody"),
            ("IFD0:Make", "Maker"),
            ("IFD0:Copyright", "All rights reserved"),
            ("ExifIFD:ISO", "200"),
            ("ExifIFD:ExifImageWidth", "200"),
            ("XMP-dc:Title", "Views"),
            ("ICC_Profile:ProfileDescription", "made for a test"),
            ("IFD0:XResolution", "150"),
            ("IFD0:YResolution", "150"),
        ] {
            assert_eq!(said(tag), expected, "{tag} of {name}: {told:#}");
        }
        assert!(said("GPS:GPSLatitude").starts_with("47"), "{name}");
        assert!(!said("IFD0:Orientation").contains("90"), "{name} stands upright");
        let own = match name.rsplit('.').next().unwrap() {
            "jpg" => ("JFIF:XResolution", "150"),
            // Pixels to the meter.
            "png" => ("PNG-pHYs:PixelsPerUnitX", "5906"),
            _ => continue,
        };
        assert_eq!(said(own.0), own.1, "{name}");
        assert_eq!(told["ExifTool:Warning"], serde_json::Value::Null, "{name}");
    }
}

#[test]
fn tiles_carry_the_profile_and_nothing_else() {
    let images = Images::new();
    described(&images);
    let server = Settings::new(images.folder())
        .with("COPYRIGHT", "All rights reserved")
        .start();
    let mut paths = Vec::new();
    for (command, extension) in [
        ("JTL", "jpg"),
        ("PTL", "png"),
        ("WTL", "webp"),
        ("ATL", "avif"),
        ("TTL", "tif"),
    ] {
        let name = format!("tile.{extension}");
        images.write(
            &name,
            &server
                .client()
                .iip(&format!("FIF=camera.jpg&{command}=1,0"))
                .expect(200)
                .body,
        );
        paths.push(images.path(&name));
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    for told in tool::exiftool(&paths) {
        assert_eq!(
            told["ICC_Profile:ProfileDescription"], "made for a test",
            "{told:#}"
        );
        for group in ["XMP-dc:Title", "ExifIFD:ISO", "GPS:GPSLatitude"] {
            assert_eq!(told[group], serde_json::Value::Null, "{group}: {told:#}");
        }
    }
}

#[test]
fn sizes_over_the_limit_of_a_format_are_refused_with_the_limit() {
    let images = Images::new();
    images.write(
        "long.tif",
        &FlatTiff::new(66_000, 2, 1, 8, 1, vec![90; 132_000]).bytes(),
    );
    let server = Settings::new(images.folder()).with("MAX_CVT", "-1").start();
    for (query, limit) in [
        ("FIF=long.tif&CVT=jpeg", "65500"),
        ("FIF=long.tif&CVT=webp", "16383"),
        ("FIF=long.tif&CVT=avif", "65535"),
        ("FIF=long.tif&QLT=jpeg:80&CVT=tiff", "65500"),
        ("FIF=long.tif&QLT=webp:80&CVT=tiff", "16383"),
    ] {
        let reply = server.client().iip(query).expect(400);
        assert!(reply.text().contains(limit), "{query}: {}", reply.text());
    }
    let iiif = server
        .client()
        .get("/iiif/3/long.tif/full/max/0/default.jpg")
        .expect(400);
    assert!(iiif.text().contains("65500"));
    for query in ["FIF=long.tif&CVT=png", "FIF=long.tif&QLT=deflate:1&CVT=tiff"] {
        let _ = server.client().iip(query).expect(200);
    }
    assert_eq!(
        server
            .client()
            .iip("FIF=long.tif&WID=16383&CVT=webp")
            .expect(200)
            .field("Content-Type"),
        "image/webp"
    );
}
