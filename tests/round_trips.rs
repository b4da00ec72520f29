//! Every encoder with every depth, number of bands and kind of opacity it can hold, read back by other people's
//! programs: exact where nothing is lost, by a stated noise where something is.
//!
//! All pictures of a format are asked for first and read by as few processes as the program allows.

use std::path::{Path, PathBuf};

use support::Server;
use support::fixture::Images;
use support::flat::FlatTiff;
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// Sides that are multiples of no block of any codec.
const SIZE: (u32, u32) = (119, 83);

/// For the one encoder that is slow without optimization.
const SMALL: (u32, u32) = (43, 35);

/// The bands of a source.
struct Bands {
    name: &'static str,
    count: u16,
    /// As TIFF 6.0 numbers it: 1 grey, 2 RGB.
    photometric: u16,
    /// Meaning of the bands behind the colors: 0 data, 2 opacity.
    extra: &'static [u16],
    /// What a picture shows of them.
    colors: &'static [usize],
    alpha: Option<usize>,
}

const fn bands(
    name: &'static str,
    (count, photometric, extra): (u16, u16, &'static [u16]),
    colors: &'static [usize],
    alpha: Option<usize>,
) -> Bands {
    Bands {
        name,
        count,
        photometric,
        extra,
        colors,
        alpha,
    }
}

const GREY: &[usize] = &[0];
const RGB: &[usize] = &[0, 1, 2];

const BANDS: [Bands; 10] = [
    bands("grey", (1, 1, &[]), GREY, None),
    bands("grey-alpha", (2, 1, &[2]), GREY, Some(1)),
    bands("grey-data", (2, 1, &[0]), GREY, None),
    bands("rgb", (3, 2, &[]), RGB, None),
    bands("rgb-alpha", (4, 2, &[2]), RGB, Some(3)),
    bands("rgb-data", (4, 2, &[0]), RGB, None),
    bands("five", (5, 1, &[0, 0, 0, 0]), RGB, None),
    bands("five-alpha", (5, 2, &[2, 0]), RGB, Some(3)),
    bands("seven", (7, 1, &[0; 6]), RGB, None),
    bands("seven-alpha", (7, 2, &[2, 0, 0, 0]), RGB, Some(3)),
];

/// Bits of a stored sample; floating point is -32.
const BITS: [i16; 4] = [8, 16, 32, -32];

/// Samples of 16 bits, all bands of a pixel after each other: smooth with noise below the eighth bit.
fn samples((width, height): (u32, u32), bands: &Bands) -> Vec<u16> {
    let photo = Picture::photograph(width, height, 3, 3);
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for band in 0..usize::from(bands.count) {
                let high = match band {
                    _ if bands.alpha == Some(band) => 255 - (x * 2 % 256) as u16,
                    0..3 => u16::from(photo.at(x, y, band as u32)),
                    _ => u16::from(photo.at(x, y, 0) ^ (band as u8 * 37)),
                };
                let noise = (x * 7919 + y * 104_729 + band as u32 * 13).wrapping_mul(2_654_435_761) >> 24;
                out.push(high << 8 | noise as u16);
            }
        }
    }
    out
}

/// The same as a file of so many bits has it.
fn stored(samples: &[u16], bits: i16) -> Vec<u8> {
    match bits {
        8 => samples.iter().map(|v| (v >> 8) as u8).collect(),
        16 => samples.iter().flat_map(|v| v.to_le_bytes()).collect(),
        32 => samples
            .iter()
            .flat_map(|&v| (u32::from(v) << 16 | u32::from(v ^ 0x5555)).to_le_bytes())
            .collect(),
        _ => samples
            .iter()
            .flat_map(|v| (f32::from(v >> 8) / 255.0).to_le_bytes())
            .collect(),
    }
}

/// A folder with `<bits>-<bands>.tif` for all bits and bands.
fn images(size: (u32, u32)) -> Images {
    let images = Images::new();
    for bands in &BANDS {
        let samples = samples(size, bands);
        for bits in BITS {
            let file = FlatTiff::new(
                size.0,
                size.1,
                bands.count,
                bits,
                bands.photometric,
                stored(&samples, bits),
            )
            .extra_samples(bands.extra);
            images.write(&format!("{bits}-{}.tif", bands.name), &file.bytes());
        }
    }
    images
}

/// One picture asked for.
struct Asked {
    name: String,
    file: PathBuf,
    bands: &'static Bands,
    /// More than 8 bits were asked for, and there were more.
    deep: bool,
    /// All bands of the source, in the bits of the file.
    stored: Vec<u16>,
}

impl Asked {
    /// Colors and, if there is any, opacity.
    fn shown(&self) -> Vec<u16> {
        self.stored
            .chunks_exact(usize::from(self.bands.count))
            .flat_map(|pixel| {
                let shown = self.bands.colors.iter().copied().chain(self.bands.alpha);
                shown.map(|band| pixel[band]).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Bands of [`shown`](Self::shown).
    fn shown_bands(&self) -> usize {
        self.bands.colors.len() + usize::from(self.bands.alpha.is_some())
    }

    fn top(&self) -> f64 {
        if self.deep { 65_535.0 } else { 255.0 }
    }
}

/// Asks for all bands and depths in some qualities of a format that holds depths of the source or does not.
fn ask(
    images: &Images,
    size: (u32, u32),
    qualities: &[&str],
    (format, extension): (&str, &str),
    holds_deep: bool,
) -> Vec<Asked> {
    let eight = Server::start(images.folder());
    let source = Settings::new(images.folder())
        .with("OUTPUT_DEPTH", "source")
        .start();
    let mut all = Vec::new();
    for bands in &BANDS {
        let samples = samples(size, bands);
        for (bits, server, deep) in [
            (8, &eight, false),
            (16, &eight, false),
            (16, &source, holds_deep),
            (32, &eight, false),
            (-32, &eight, false),
        ] {
            for quality in qualities {
                let query = format!("FIF={bits}-{}.tif&QLT={quality}&CVT={format}", bands.name);
                let body = server.client().iip(&query).expect(200).body;
                let file = format!("out/{}.{extension}", all.len());
                images.write(&file, &body);
                all.push(Asked {
                    name: format!("{query}, more than 8 bits: {deep}"),
                    file: images.path(&file),
                    bands,
                    deep,
                    stored: samples.iter().map(|v| if deep { *v } else { v >> 8 }).collect(),
                });
            }
        }
    }
    all
}

/// Gives each picture to `check` with its samples as libvips reads them: those of a kind by one process, one below
/// the other.
fn read_by_vips(
    images: &Images,
    all: &[Asked],
    bands: impl Fn(&Asked) -> usize,
    check: impl Fn(&Asked, &[u16]),
) {
    let mut kinds: Vec<(usize, bool)> = all.iter().map(|a| (bands(a), a.deep)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let of_kind: Vec<&Asked> = all.iter().filter(|a| (bands(a), a.deep) == kind).collect();
        let files: Vec<&Path> = of_kind.iter().map(|a| a.file.as_path()).collect();
        let bytes = tool::vips_samples_of(&files, &images.path("joined.raw"));
        let joined: Vec<u16> = if kind.1 {
            bytes
                .chunks_exact(2)
                .map(|b| u16::from_ne_bytes([b[0], b[1]]))
                .collect()
        } else {
            bytes.into_iter().map(u16::from).collect()
        };
        let part = joined.len() / of_kind.len();
        let pixels = of_kind[0].stored.len() / usize::from(of_kind[0].bands.count);
        assert_eq!(part, pixels * kind.0, "{kind:?}: the bands of every picture");
        for (asked, found) in of_kind.into_iter().zip(joined.chunks_exact(part)) {
            check(asked, found);
        }
    }
}

/// Grey repeated, as formats have it that know no grey.
fn colored(samples: &[u16], bands: usize) -> Vec<u16> {
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
fn over_white(samples: &[u16], bands: usize) -> Vec<u16> {
    if bands % 2 == 1 {
        return samples.to_vec();
    }
    let lay = |color: u16, alpha: u16| {
        ((u32::from(color) * u32::from(alpha) + 255 * u32::from(255 - alpha) + 127) / 255) as u16
    };
    samples
        .chunks_exact(bands)
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

fn assert_near(asked: &Asked, found: &[u16], expected: &[u16], bound: f64) {
    let db = psnr(found, expected, asked.top());
    assert!(db >= bound, "{}: {db:.1} dB", asked.name);
}

/// Samples of a PAM file: what follows the last line of the header.
fn pam(file: &[u8]) -> Vec<u16> {
    let header = file.windows(7).position(|w| w == b"ENDHDR\n").unwrap() + 7;
    file[header..].iter().map(|&b| u16::from(b)).collect()
}

fn files(asked: &[Asked]) -> Vec<&Path> {
    asked.iter().map(|a| a.file.as_path()).collect()
}

#[test]
fn png_is_exact_and_well_formed() {
    let images = images(SIZE);
    let asked = ask(&images, SIZE, &["0", "1", "6"], ("png", "png"), true);
    let checked = tool::run("pngcheck", files(&asked));
    let checked = String::from_utf8_lossy(&checked);
    assert!(
        checked.contains(&format!("No errors were detected in {}", asked.len()))
            || checked.matches("OK:").count() == asked.len(),
        "{checked}"
    );
    read_by_vips(&images, &asked, Asked::shown_bands, |asked, found| {
        assert!(found == asked.shown(), "{}", asked.name);
    });
}

#[test]
fn tiff_holds_all_bands_exactly_and_is_well_formed() {
    let images = images(SIZE);
    let schemes = ["none:0", "lzw:1", "deflate:6", "zstd:3"];
    let asked = ask(&images, SIZE, &schemes, ("tiff", "tif"), true);
    let told = tool::run("tiffinfo", files(&asked));
    let told = String::from_utf8_lossy(&told);
    for scheme in ["None", "LZW", "AdobeDeflate", "ZSTD"] {
        assert_eq!(
            told.matches(&format!("Compression Scheme: {scheme}")).count(),
            asked.len() / schemes.len(),
            "{scheme}"
        );
    }
    let alpha = told.matches("Extra Samples: 1<unassoc-alpha>").count();
    assert!(alpha > 0, "{told}");
    read_by_vips(
        &images,
        &asked,
        |asked| usize::from(asked.bands.count),
        |asked, found| assert!(found == asked.stored, "{}", asked.name),
    );
}

#[test]
fn webp_is_exact_when_lossless_and_near_when_not() {
    let images = images(SIZE);
    for (quality, opaque, see_through) in [("-1", f64::INFINITY, f64::INFINITY), ("90", 37.0, 33.0)] {
        for asked in ask(&images, SIZE, &[quality], ("webp", "webp"), false) {
            let out = asked.file.with_extension("pam");
            tool::run(
                "dwebp",
                [
                    "-quiet".as_ref(),
                    asked.file.as_os_str(),
                    "-pam".as_ref(),
                    "-o".as_ref(),
                    out.as_os_str(),
                ],
            );
            let found = pam(&std::fs::read(out).unwrap());
            let mut expected = colored(&asked.shown(), asked.shown_bands());
            if asked.bands.alpha.is_none() {
                expected = expected
                    .chunks_exact(3)
                    .flat_map(|p| [p[0], p[1], p[2], 255])
                    .collect();
            }
            // Colors that cannot be seen need not be kept by the lossy encoder.
            let bound = if asked.bands.alpha.is_some() {
                see_through
            } else {
                opaque
            };
            assert_near(&asked, &found, &expected, bound);
        }
    }
}

#[test]
fn jpeg_is_near_and_lies_over_white() {
    let images = images(SIZE);
    for (quality, bound) in [("30", 29.0), ("75", 34.0), ("95", 41.0)] {
        let asked = ask(&images, SIZE, &[quality], ("jpeg", "jpg"), false);
        let bands = |asked: &Asked| asked.bands.colors.len();
        read_by_vips(&images, &asked, bands, |asked, found| {
            let expected = over_white(&asked.shown(), asked.shown_bands());
            assert_near(asked, found, &expected, bound);
        });
    }
}

#[test]
fn avif_is_near_in_8_and_10_bits() {
    let images = images(SMALL);
    for (quality, bound) in [("50", 30.0), ("100", 42.0)] {
        for asked in ask(&images, SMALL, &[quality], ("avif", "avif"), true) {
            let png = asked.file.with_extension("png");
            let depth = if asked.deep { "16" } else { "8" };
            let told = tool::run(
                "avifdec",
                [
                    "-d".as_ref(),
                    depth.as_ref(),
                    asked.file.as_os_str(),
                    png.as_os_str(),
                ],
            );
            let told = String::from_utf8_lossy(&told).replace(' ', "");
            let bits = if asked.deep { "BitDepth:10" } else { "BitDepth:8" };
            assert!(told.contains(bits), "{}: {told}", asked.name);
            let bytes = tool::vips_samples(&png);
            let found: Vec<u16> = if asked.deep {
                bytes
                    .chunks_exact(2)
                    .map(|b| u16::from_ne_bytes([b[0], b[1]]))
                    .collect()
            } else {
                bytes.into_iter().map(u16::from).collect()
            };
            let mut expected = asked.shown();
            if found.len() != expected.len() {
                // The tool writes grey as RGB.
                expected = colored(&expected, asked.shown_bands());
            }
            assert_near(&asked, &found, &expected, bound);
        }
    }
}

#[test]
fn jpeg_and_webp_inside_tiff_are_read_by_libtiff() {
    let images = images(SIZE);
    for (scheme, bound) in [("jpeg:95", 39.0), ("webp:95", 36.0), ("webp:-1", f64::INFINITY)] {
        let asked = ask(&images, SIZE, &[scheme], ("tiff", "tif"), false);
        tool::run("tiffinfo", files(&asked));
        let is_webp = scheme.starts_with("webp");
        // JPEG in TIFF has one, three or four bands, WebP three or four.
        let bands = |asked: &Asked| match (is_webp, asked.shown_bands()) {
            (false, 2) => 1,
            (true, 1) => 3,
            (true, 2) => 4,
            (_, shown) => shown,
        };
        read_by_vips(&images, &asked, bands, |asked, found| {
            let (shown, count) = (asked.shown(), asked.shown_bands());
            let expected = match (is_webp, count) {
                (true, _) => colored(&shown, count),
                (false, 2) => over_white(&shown, 2),
                (false, _) => shown,
            };
            assert_near(asked, found, &expected, bound);
        });
    }
}
