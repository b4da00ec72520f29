//! Random IIIF requests: valid ones, whose reply is computed here from the full picture, and invalid ones.

use support::client::Connection;
use support::image;
use support::picture::Picture;

use crate::masters::{Master, masters, serve};
use crate::pixels::{Samples, assert_nearly};
use crate::random::Random;
use crate::rules::{Form, Rect, Region, Size, extract, reply_size};

/// Valid and invalid requests for each version.
const COUNT: usize = 500;

/// A reply from a smaller level is as close to the mean of each pixel's area as this, in decibels. Regions
/// are rounded to whole pixels of that level, half a pixel of it at most; the pictures change by 3 of 255 a
/// pixel of the full size.
const LEVEL_DB: f64 = 26.0;

/// The same for the whole picture, whose region is rounded on no level.
const WHOLE_LEVEL_DB: f64 = 38.0;

/// The waves of the pictures are about 100 pixels long. Reduced more than this, they are as short as the
/// difference of two good filters.
const WAVES_SEEN: u32 = 12;

/// JPEG at quality 95.
const JPEG_DB: f64 = 36.0;

/// Everything behind the identifier.
struct Asked {
    region: Region,
    size: Size,
    mirror: bool,
    /// Hundredths of a degree.
    degrees: u32,
    quality: &'static str,
    format: &'static str,
}

impl Asked {
    fn random(random: &mut Random, master: &Master, version: u8) -> Self {
        let region = random_region(random, master.picture.size());
        let rect = extract(region, master.picture.size()).unwrap_or((0, 0, 1, 1));
        Self {
            region,
            size: random_size(random, rect, version),
            mirror: random.once_in(5),
            degrees: match random.below(10) {
                0..5 => 0,
                5..9 => random.within(1, 3) * 9000,
                _ => random.within(1, 35_999),
            },
            quality: *random.one_of(&["default", "default", "default", "color", "gray", "bitonal"]),
            format: *random.one_of(&[
                "png", "png", "png", "png", "jpg", "jpg", "jpg", "tif", "webp", "avif",
            ]),
        }
    }

    fn text(&self, random: &mut Random, version: u8) -> String {
        // Version 2 has two words for the whole size.
        let whole = version == 2 && matches!(self.size.form, Form::Max) && random.once_in(2);
        let size = if whole {
            "full".to_owned()
        } else {
            self.size.to_string()
        };
        let mirror = if self.mirror { "!" } else { "" };
        let degrees = f64::from(self.degrees) / 100.0;
        format!(
            "{}/{size}/{mirror}{degrees}/{}.{}",
            self.region, self.quality, self.format
        )
    }

    /// The size after turning (Image API 3.0, section 4.3).
    fn turned(&self, (w, h): (u32, u32)) -> (u32, u32) {
        match self.degrees {
            0 | 18_000 => (w, h),
            9000 | 27_000 => (h, w),
            degrees => {
                let (sin, cos) = (f64::from(degrees) / 100.0).to_radians().sin_cos();
                let side = |a: u32, b: u32| {
                    (f64::from(a) * cos.abs() + f64::from(b) * sin.abs())
                        .round()
                        .max(1.0)
                };
                (side(w, h) as u32, side(h, w) as u32)
            }
        }
    }
}

fn random_region(random: &mut Random, (width, height): (u32, u32)) -> Region {
    match random.below(10) {
        0 | 1 => Region::Full,
        2 => Region::Square,
        3 | 4 => {
            let (x, y) = (random.below(10_000), random.below(10_000));
            Region::Percent(x, y, random.within(1, 10_000), random.within(1, 10_000))
        }
        5 | 6 => {
            // A tile as a viewer asks for it.
            let side = 256 << random.below(4);
            let (x, y) = (
                random.below(width.div_ceil(side)),
                random.below(height.div_ceil(side)),
            );
            Region::Pixels(x * side, y * side, side, side)
        }
        _ => {
            let (x, y) = (random.below(width + 1), random.below(height + 1));
            Region::Pixels(x, y, random.within(1, width), random.within(1, height))
        }
    }
}

fn random_size(random: &mut Random, (_, _, w, h): Rect, version: u8) -> Size {
    let side = |random: &mut Random, of: u32| {
        let most = if random.once_in(20) { 1600 } else { 500 };
        random.within(1, (of + of / 4 + 1).min(most))
    };
    let form = match random.below(9) {
        0 => Form::Max,
        1 => Form::Width(side(random, w)),
        2 => Form::Height(side(random, h)),
        3 => Form::Percent(random.within(1, 12_000)),
        4 => Form::Exact(side(random, w), side(random, h)),
        5 => Form::Within(side(random, w), side(random, h)),
        // The region divided by a power of two, rounded up, as viewers do.
        _ => {
            let by = 1 << random.below(5);
            Form::Exact(w.div_ceil(by), h.div_ceil(by))
        }
    };
    Size {
        form,
        enlarge: version == 3 && random.once_in(3),
    }
}

/// Whether a level below the full size has about the pixels a reply needs.
fn smaller_level_serves(master: &Master, (_, _, w, h): Rect, (out_w, out_h): (u32, u32)) -> bool {
    let (full_w, full_h) = master.picture.size();
    let has = |part: u32, level: u32, full: u32, out: u32| {
        f64::from(part) * f64::from(level) / f64::from(full) + 1.01 >= f64::from(out)
    };
    let mut smaller = master.levels[1..].iter();
    smaller.any(|&(level_w, level_h)| has(w, level_w, full_w, out_w) && has(h, level_h, full_h, out_h))
}

/// Compares a picture without noise with what was computed; `at_once` says that it comes from the full size.
fn assert_right(name: &str, actual: &Picture, expected: &Samples, at_once: bool, level_db: f64) {
    let expected = expected.picture();
    if at_once {
        // Premultiplication and grey round once more.
        let most = if expected.bands == 3 { 1 } else { 2 };
        assert_nearly(name, actual, &expected, most);
    } else {
        image::assert_close(name, actual, &expected, level_db);
    }
}

/// Compares a picture turned by any angle: within the picture with what was computed, outside nothing.
fn assert_turned(name: &str, actual: &Picture, expected: &Samples, degrees: u32, has_alpha: bool) {
    let (sin, cos) = (f64::from(degrees) / 100.0).to_radians().sin_cos();
    let (w, h) = expected.size();
    let flat = expected.over_white();
    let shown = if has_alpha { expected } else { &flat };
    let (mut sum, mut count) = (0.0, 0u32);
    for y in 0..actual.height {
        for x in 0..actual.width {
            let across = f64::from(x) + 0.5 - f64::from(actual.width) / 2.0;
            let down = f64::from(y) + 0.5 - f64::from(actual.height) / 2.0;
            let from_x = across * cos + down * sin + f64::from(w) / 2.0 - 0.5;
            let from_y = down * cos - across * sin + f64::from(h) / 2.0 - 0.5;
            let sample = |band| f32::from(actual.at(x, y, band));
            if let Some(color) = shown.inner(from_x, from_y) {
                let opacity = if expected.has_alpha() && has_alpha {
                    color[color.len() - 1]
                } else {
                    255.0
                };
                if has_alpha {
                    let difference = (sample(actual.bands - 1) - opacity).abs();
                    assert!(difference < 2.0, "{name}: alpha at {x}, {y}");
                }
                for band in 0..actual.bands - u32::from(has_alpha) {
                    let color = color[band as usize] * if has_alpha { 255.0 / opacity } else { 1.0 };
                    sum += (sample(band) - color).abs();
                    count += 1;
                }
            } else if from_x < -2.0
                || from_y < -2.0
                || from_x > f64::from(w) + 1.0
                || from_y > f64::from(h) + 1.0
            {
                if has_alpha {
                    assert_eq!(
                        actual.at(x, y, actual.bands - 1),
                        0,
                        "{name}: transparent at {x}, {y}"
                    );
                } else {
                    assert!(sample(0) > 200.0, "{name}: white at {x}, {y}");
                }
            }
        }
    }
    let mean = sum / count.max(1) as f32;
    assert!(mean < 4.0, "{name}: differs by {mean} in the mean");
}

/// Black and white by one threshold of what would be grey.
fn assert_bilevel(name: &str, actual: &Picture, grey: &Picture) {
    let (mut black, mut white) = (0, 255);
    for (place, &sample) in actual
        .samples
        .chunks_exact(actual.bands as usize)
        .map(|p| &p[0])
        .enumerate()
    {
        let level = grey.samples[place * grey.bands as usize];
        match sample {
            0 => black = black.max(level),
            255 => white = white.min(level),
            other => panic!("{name}: {other} in a picture of two levels"),
        }
    }
    // The threshold is applied to pixels of a level: what is interpolated lies on either side.
    assert!(
        i16::from(black) - i16::from(white) < 24,
        "{name}: {black} is black and {white} is white"
    );
}

/// Asks for one picture and compares everything.
fn check(
    connection: &mut Connection,
    master: &Master,
    asked: &Asked,
    target: &str,
    rect: Rect,
    size: (u32, u32),
) {
    let reply = connection.get(target);
    assert_eq!(
        reply.status,
        200,
        "{target}: {:?}",
        String::from_utf8_lossy(&reply.body)
    );
    let (w, h) = asked.turned(size);
    let stem = master.name.trim_end_matches(".tif");
    assert_eq!(
        reply.field("Content-Disposition"),
        format!("inline; filename=\"{stem}_{w}x{h}.{}\"", asked.format),
        "{target}"
    );
    let media_type = match asked.format {
        "jpg" => "image/jpeg".to_owned(),
        "tif" => "image/tiff".to_owned(),
        other => format!("image/{other}"),
    };
    assert_eq!(reply.field("Content-Type"), media_type, "{target}");
    canonical(connection, target, &reply);
    if !matches!(asked.format, "png" | "jpg") {
        return;
    }
    let actual = reply.picture();
    assert_eq!(actual.size(), (w, h), "{target}");

    let at_once = !smaller_level_serves(master, rect, size);
    let part = Samples::of(&master.picture, rect);
    let mut expected = if at_once {
        part.interpolate(size)
    } else {
        part.average(size)
    };
    if matches!(asked.quality, "gray" | "bitonal") {
        expected = expected.grey();
    }
    if asked.mirror {
        expected = expected.mirror();
    }
    if asked.degrees % 9000 != 0 {
        if asked.quality != "bitonal" {
            assert_turned(target, &actual, &expected, asked.degrees, asked.format == "png");
        }
        return;
    }
    expected = expected.turn(asked.degrees / 9000);
    if asked.format == "jpg" {
        expected = expected.over_white();
        if asked.quality != "bitonal" {
            image::assert_close(
                target,
                &actual,
                &expected.picture(),
                if at_once { JPEG_DB } else { LEVEL_DB },
            );
        }
    } else if asked.quality == "bitonal" {
        assert_bilevel(target, &actual, &expected.picture());
    } else {
        let (_, _, region_w, region_h) = rect;
        let seen = region_w <= size.0 * WAVES_SEEN && region_h <= size.1 * WAVES_SEEN;
        let whole = matches!(asked.region, Region::Full) && seen;
        let level_db = if whole { WHOLE_LEVEL_DB } else { LEVEL_DB };
        assert_right(target, &actual, &expected, at_once, level_db);
    }
}

/// The canonical address is its own, and its picture is the same (Image API 3.0, section 4.7).
fn canonical(connection: &mut Connection, target: &str, reply: &support::Reply) {
    let link = reply.field("Link");
    let address = link
        .rfind(">;rel=\"canonical\"")
        .and_then(|end| link[..end].rfind('<').map(|start| &link[start + 1..end]))
        .unwrap_or_else(|| panic!("no canonical link: {link}"));
    let path = address
        .strip_prefix("http://")
        .and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    let path = path.unwrap_or_else(|| panic!("no address: {address}"));
    if path == target {
        return;
    }
    let again = connection.get(path).expect(200);
    assert!(again.body == reply.body, "{target} is not the picture of {path}");
    assert_eq!(
        again.field("Link"),
        link,
        "{target}: the canonical address is canonical"
    );
}

fn valid_requests(version: u8, seed: u64) {
    eprintln!("seed {seed}");
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    let mut random = Random::new(seed);
    let (mut pictures, mut refused) = (0, 0);
    while pictures < COUNT {
        let master = random.one_of(masters());
        let mut asked = Asked::random(&mut random, master, version);
        let rect = extract(asked.region, master.picture.size());
        let size = rect.and_then(|rect| reply_size(asked.size, rect, version));
        if let Some((w, h)) = size {
            // Encoders of other formats are not what is tested here, nor is patience.
            if !matches!(asked.format, "png" | "jpg") && w * h > 10_000 {
                asked.format = "png";
            }
            if w * h > 100_000 && !random.once_in(40) {
                continue;
            }
        }
        let target = format!(
            "/iiif/{version}/{}/{}",
            master.name,
            asked.text(&mut random, version)
        );
        match (rect, size) {
            (Some(rect), Some(size)) => {
                check(&mut connection, master, &asked, &target, rect, size);
                pictures += 1;
            }
            _ => {
                let reply = connection.get(&target);
                assert_eq!(reply.status, 400, "{target}");
                refused += 1;
            }
        }
    }
    eprintln!("{pictures} pictures, {refused} refusals");
}

#[test]
fn random_pictures_of_version_2_are_what_the_text_says() {
    valid_requests(2, 20_001);
}

#[test]
fn random_pictures_of_version_3_are_what_the_text_says() {
    valid_requests(3, 30_001);
}

/// One segment of an address that is wrong in this version, for an image of 1023x769 pixels.
fn wrong(random: &mut Random, place: u32, version: u8) -> String {
    let number = random.within(1, 4000);
    let word: String = (0..random.within(1, 12))
        .map(|_| char::from(*random.one_of(b"abcdefghijklmnoprstuvwxyz0123456789,.:!^~()*'&=@$+-_")))
        .collect();
    let bytes: String = (0..random.within(1, 6))
        .map(|_| format!("%{:02X}", random.within(0x80, 0xff)))
        .collect();
    let list: &[String] = &match place {
        0 => vec![
            String::new(),
            format!("-{number},0,10,10"),
            format!("0,-{number},10,10"),
            format!("0,0,0,{number}"),
            format!("0,0,{number},0"),
            format!("{},0,{number},10", 1022 + number),
            format!("0,{},10,{number}", 768 + number),
            format!("{number},0,10"),
            format!("0,0,10,10,{number}"),
            format!("0,0,{number}.5,10"),
            format!("0x1,0,{number},10"),
            format!("1e1,0,{number},10"),
            format!(" 1,0,{number},10").replace(' ', "%20"),
            format!("+1,0,{number},10"),
            "0,0,99999999999999999999999,99999999999999999999999x".to_owned(),
            "99999999999999999999999,0,1,1".to_owned(),
            format!("pct:0,0,0,{number}"),
            format!("pct:{},0,10,10", 100 + number),
            format!("pct:-{number},0,10,10"),
            format!("pct:0,0,{number}"),
            "pct:0,0,1e1,10".to_owned(),
            "pct:nan,0,10,10".to_owned(),
            "pct:inf,0,10,10".to_owned(),
            "pct:".to_owned(),
            "percent:0,0,10,10".to_owned(),
            format!("x{word}"),
            bytes,
        ],
        1 => {
            let mut list = vec![
                String::new(),
                ",".to_owned(),
                "0,".to_owned(),
                ",0".to_owned(),
                "0,0".to_owned(),
                format!("{number},0"),
                format!("-{number},"),
                format!(",-{number}"),
                format!("+{number},"),
                format!("{number}"),
                format!("{number}.5,"),
                format!("{number}x,"),
                "1e2,".to_owned(),
                format!("{number},1,1"),
                "!".to_owned(),
                "!max".to_owned(),
                format!("!{number},"),
                format!("!,{number}"),
                format!("!!{number},{number}"),
                format!("!^{number},{number}"),
                "pct:0".to_owned(),
                "pct:".to_owned(),
                format!("pct:-{number}"),
                "pct:1e1".to_owned(),
                "pct:0.0001".to_owned(),
                format!("{},{}", 1500 + number, 1500 + number),
                format!("x{word}"),
                bytes,
            ];
            if version == 3 {
                list.extend([
                    "full".to_owned(),
                    "^full".to_owned(),
                    "^".to_owned(),
                    "^^max".to_owned(),
                    format!("{},", 1023 + number),
                    format!(",{}", 769 + number),
                    format!("pct:{}", 100 + number),
                    format!("^{},", 1500 + number),
                    format!("^pct:{}", 150 + number),
                ]);
            } else {
                list.extend([
                    "^max".to_owned(),
                    format!("^{number},"),
                    format!("^!{number},{number}"),
                ]);
            }
            list
        }
        2 => vec![
            String::new(),
            "!".to_owned(),
            "!!90".to_owned(),
            format!("-{number}"),
            format!("+{number}"),
            format!("{}", 360 + number),
            "360.01".to_owned(),
            "90abc".to_owned(),
            "9e1".to_owned(),
            "0x5a".to_owned(),
            "nan".to_owned(),
            "inf".to_owned(),
            "90!".to_owned(),
            "%2090".to_owned(),
            "1.2.3".to_owned(),
            format!("x{word}"),
            bytes,
        ],
        _ => vec![
            "default".to_owned(),
            "default.".to_owned(),
            ".jpg".to_owned(),
            "default.gif".to_owned(),
            "default.jp2".to_owned(),
            "default.pdf".to_owned(),
            "default.jpeg".to_owned(),
            "default.jpg.png.exe".to_owned(),
            "stretch.jpg".to_owned(),
            format!("x{}.jpg", word.replace('.', "")),
            format!("default.x{word}"),
            format!("{bytes}.jpg"),
            format!("default.{bytes}"),
        ],
    };
    random.one_of(list).clone()
}

fn invalid_requests(version: u8, seed: u64) {
    eprintln!("seed {seed}");
    let (_images, server) = serve();
    let mut connection = server.client().connect();
    let mut random = Random::new(seed);
    for number in 0..COUNT {
        let size = if version == 3 { "max" } else { "full" };
        let mut segments = ["full", size, "0", "default.jpg"].map(str::to_owned);
        let first = random.below(4);
        segments[first as usize] = wrong(&mut random, first, version);
        if random.once_in(4) {
            let second = random.below(4);
            segments[second as usize] = wrong(&mut random, second, version);
        }
        let mut target = format!("/iiif/{version}/alpha.tif/{}", segments.join("/"));
        match random.below(12) {
            0 => target.push_str("/extra"),
            1 => target = target.replace("alpha.tif", "nothing.tif"),
            _ => {}
        }
        let reply = connection.get(&target);
        assert!(
            (400..500).contains(&reply.status),
            "request {number}: {target} is {}: {:?}",
            reply.status,
            reply.headers
        );
        assert_eq!(
            reply.field("Content-Type"),
            "text/plain; charset=utf-8",
            "{target}"
        );
        assert_eq!(reply.field("Access-Control-Allow-Origin"), "*", "{target}");
        assert!(
            (1..400).contains(&reply.body.len()),
            "{target}: a short text, not {} bytes",
            reply.body.len()
        );
    }
    let _ = connection
        .get(&format!("/iiif/{version}/alpha.tif/full/100,/0/default.png"))
        .picture();
}

#[test]
fn random_mistakes_in_version_2_are_the_clients() {
    invalid_requests(2, 20_002);
}

#[test]
fn random_mistakes_in_version_3_are_the_clients() {
    invalid_requests(3, 30_002);
}
