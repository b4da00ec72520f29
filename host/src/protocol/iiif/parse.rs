//! The parameters of an image request.
//!
//! The grammar is that of the Image API 3.0 section 4 and 2.1.1 section 4, read strictly: numbers are digits
//! and one point. Only upper case and the older names `native` and `grey` are accepted besides.

use crate::error::Error;
use crate::protocol::percent;
use crate::view::{OutputFormat, RegionSpec, SizeSpec, Turn};

/// What the grammar depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar<'a> {
    /// Major version of the Image API.
    pub(super) version: u8,
    /// The additional qualities are switched on.
    pub(super) extensions: bool,
    /// Formats that can be written.
    pub(super) formats: &'a [OutputFormat],
}

/// The parameters of an image request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parameters {
    pub(super) region: RegionSpec,
    pub(super) size: SizeSpec,
    /// The size began with `^`.
    pub(super) upscale: bool,
    pub(super) turn: Turn,
    pub(super) quality: Quality,
    /// `None` only in version 1.
    pub(super) format: Option<OutputFormat>,
}

/// The quality, by its name in versions 2 and 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    Default,
    Color,
    Gray,
    Bitonal,
    Stretch,
    Negative,
    Equalization,
    Log,
}

/// Qualities that are no part of the standard.
pub(super) const EXTENSIONS: [Quality; 4] = [
    Quality::Negative,
    Quality::Stretch,
    Quality::Equalization,
    Quality::Log,
];

impl Quality {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Color => "color",
            Self::Gray => "gray",
            Self::Bitonal => "bitonal",
            Self::Stretch => "stretch",
            Self::Negative => "negative",
            Self::Equalization => "equalization",
            Self::Log => "log",
        }
    }

    fn from_name(name: &str, extensions: bool) -> Option<Self> {
        match name {
            "default" | "native" => Some(Self::Default),
            "color" => Some(Self::Color),
            "gray" | "grey" => Some(Self::Gray),
            "bitonal" => Some(Self::Bitonal),
            _ if extensions => EXTENSIONS.into_iter().find(|quality| quality.name() == name),
            _ => None,
        }
    }
}

/// The format of an extension.
pub(super) fn format_of(extension: &str) -> Option<OutputFormat> {
    [
        OutputFormat::Jpeg,
        OutputFormat::Png,
        OutputFormat::Tiff,
        OutputFormat::WebP,
        OutputFormat::Avif,
    ]
    .into_iter()
    .find(|format| format.extension() == extension)
}

/// Parses region, size, rotation and quality with format, each still encoded.
pub(super) fn parameters(parts: [&[u8]; 4], grammar: Grammar<'_>) -> Result<Parameters, Error> {
    let [region, size, rotation, quality] =
        parts.map(|part| String::from_utf8_lossy(&percent::decode(part)).to_ascii_lowercase());
    let region = parse_region(&region)?;
    let (size, upscale) = parse_size(&size, grammar.version)?;
    let turn = parse_rotation(&rotation)?;
    let (quality, format) = parse_quality(&quality, grammar)?;
    Ok(Parameters {
        region,
        size,
        upscale,
        turn,
        quality,
        format,
    })
}

/// A value of the client for a message: quoted, short, without control characters.
fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut cut: String = value.chars().take(LONGEST).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

fn parse_region(text: &str) -> Result<RegionSpec, Error> {
    let malformed = || {
        Error::bad_request(format!(
            "region {} is not full, square, x,y,w,h or pct:x,y,w,h with numbers of digits",
            shown(text)
        ))
    };
    let empty = || Error::bad_request(format!("region {} has no pixels", shown(text)));
    match text {
        "full" => return Ok(RegionSpec::Full),
        "square" => return Ok(RegionSpec::Square),
        _ => {}
    }
    if let Some(percents) = text.strip_prefix("pct:") {
        let [x, y, width, height] = four(percents, decimal).ok_or_else(malformed)?;
        if width == 0.0 || height == 0.0 || x >= 100.0 || y >= 100.0 {
            return Err(empty());
        }
        return Ok(RegionSpec::Percent { x, y, width, height });
    }
    let [x, y, width, height] = four(text, pixels).ok_or_else(malformed)?;
    if width == 0 || height == 0 {
        return Err(empty());
    }
    Ok(RegionSpec::Pixels { x, y, width, height })
}

fn parse_size(text: &str, version: u8) -> Result<(SizeSpec, bool), Error> {
    let malformed = |why: &str| Error::bad_request(format!("size {} {why}", shown(text)));
    let forms = "is not max, w, ,h pct:n w,h or !w,h with numbers of digits";
    let (size, upscale) = match text.strip_prefix('^') {
        Some(_) if version < 3 => return Err(malformed("begins with ^, which only version 3 has")),
        Some(size) => (size, true),
        None => (text, false),
    };
    let spec = if size == "max" {
        SizeSpec::Max { upscale }
    } else if size == "full" {
        if version >= 3 {
            return Err(malformed("is no size of version 3, use max"));
        }
        SizeSpec::Natural
    } else if let Some(percent) = size.strip_prefix("pct:") {
        let percent = decimal(percent).ok_or_else(|| malformed(forms))?;
        if percent == 0.0 {
            return Err(malformed("has no pixels"));
        }
        if percent > 100.0 && version >= 3 && !upscale {
            return Err(malformed("is larger than the region, which needs ^"));
        }
        SizeSpec::Percent(percent)
    } else {
        let (within, sides) = match size.strip_prefix('!') {
            Some(sides) => (true, sides),
            None => (false, size),
        };
        let (width, height) = sides.split_once(',').ok_or_else(|| malformed(forms))?;
        let side = |text: &str| match text {
            "" => Ok(None),
            text => side(text).map(Some).ok_or_else(|| malformed(forms)),
        };
        let (width, height) = (side(width)?, side(height)?);
        if width == Some(0) || height == Some(0) {
            return Err(malformed("has no pixels"));
        }
        match (width, height) {
            (Some(width), Some(height)) if within => SizeSpec::Within(width, height),
            (Some(width), Some(height)) => SizeSpec::Exact(width, height),
            (Some(width), None) if !within => SizeSpec::Width(width),
            (None, Some(height)) if !within => SizeSpec::Height(height),
            _ => return Err(malformed(forms)),
        }
    };
    Ok((spec, upscale))
}

fn parse_rotation(text: &str) -> Result<Turn, Error> {
    let (mirror, degrees) = match text.strip_prefix('!') {
        Some(degrees) => (true, degrees),
        None => (false, text),
    };
    match decimal(degrees) {
        Some(degrees) if degrees <= 360.0 => Ok(Turn {
            mirror,
            degrees: if degrees == 360.0 { 0.0 } else { degrees },
        }),
        _ => Err(Error::bad_request(format!(
            "rotation {} is not a number from 0 to 360, with ! before it to mirror",
            shown(text)
        ))),
    }
}

fn parse_quality(text: &str, grammar: Grammar<'_>) -> Result<(Quality, Option<OutputFormat>), Error> {
    let (name, extension) = match text.rsplit_once('.') {
        Some((name, extension)) => (name, Some(extension)),
        None => (text, None),
    };
    let quality = Quality::from_name(name, grammar.extensions)
        .ok_or_else(|| Error::bad_request(format!("no quality {}", shown(name))))?;
    let format = match extension {
        Some(extension) => Some(
            format_of(extension)
                .filter(|format| grammar.formats.contains(format))
                .ok_or_else(|| Error::bad_request(format!("no format {}", shown(extension))))?,
        ),
        None if grammar.version == 1 => None,
        None => {
            return Err(Error::bad_request(format!(
                "no format behind quality {}",
                shown(name)
            )));
        }
    };
    Ok((quality, format))
}

/// Exactly four numbers with commas between them.
fn four<T: Copy>(text: &str, number: impl Fn(&str) -> Option<T>) -> Option<[T; 4]> {
    let mut numbers = text.split(',').map(number);
    let four = [
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
    ];
    numbers.next().is_none().then_some(four)
}

/// Pixels inside an image, digits only. No image reaches `u32::MAX`, so a larger number means the same.
fn pixels(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX).min(u64::from(u32::MAX)))
}

/// A side of an output, at most ten digits.
fn side(text: &str) -> Option<u64> {
    let ten_digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    ten_digits.then(|| text.parse().ok()).flatten()
}

/// A number of digits and at most one point (Image API 3.0 section 4.7).
fn decimal(text: &str) -> Option<f64> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let points = text.bytes().filter(|b| *b == b'.').count();
    if digits == 0 || points > 1 || digits + points != text.len() {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [OutputFormat; 5] = [
        OutputFormat::Jpeg,
        OutputFormat::Png,
        OutputFormat::WebP,
        OutputFormat::Avif,
        OutputFormat::Tiff,
    ];

    fn grammar(version: u8) -> Grammar<'static> {
        Grammar {
            version,
            extensions: false,
            formats: &ALL,
        }
    }

    fn parse(version: u8, text: &str) -> Result<Parameters, String> {
        let parts: Vec<&[u8]> = text.split('/').map(str::as_bytes).collect();
        parameters(parts.try_into().unwrap(), grammar(version)).map_err(|error| {
            assert_eq!(error.status(), 400, "{text}");
            error.public_message()
        })
    }

    fn region(text: &str) -> Option<RegionSpec> {
        parse(3, &format!("{text}/max/0/default.jpg"))
            .ok()
            .map(|p| p.region)
    }

    fn size(version: u8, text: &str) -> Option<(SizeSpec, bool)> {
        parse(version, &format!("full/{text}/0/default.jpg"))
            .ok()
            .map(|p| (p.size, p.upscale))
    }

    #[test]
    fn regions() {
        let px = |x, y, width, height| Some(RegionSpec::Pixels { x, y, width, height });
        let pct = |x, y, width, height| Some(RegionSpec::Percent { x, y, width, height });
        for (text, expected) in [
            ("full", Some(RegionSpec::Full)),
            ("FULL", Some(RegionSpec::Full)),
            ("square", Some(RegionSpec::Square)),
            ("0,0,200,700", px(0, 0, 200, 700)),
            ("0%2C0%2c29,29", px(0, 0, 29, 29)),
            ("007,0,1,1", px(7, 0, 1, 1)),
            (
                "999999999999999999999999,0,99999999999,1",
                px(4_294_967_295, 0, 4_294_967_295, 1),
            ),
            ("pct:10,20.5,.5,100", pct(10.0, 20.5, 0.5, 100.0)),
            ("pct%3A0,0,50.,50", pct(0.0, 0.0, 50.0, 50.0)),
            ("PCT:0,0,200,200", pct(0.0, 0.0, 200.0, 200.0)),
        ] {
            assert_eq!(region(text), expected, "{text}");
        }
        for text in [
            "",
            "all",
            "-10,0,100,100",
            "+1,0,1,1",
            "1.5,0,1,1",
            "0,0,1",
            "0,0,1,1,",
            "0,0,1,1,1",
            "0,0,,1",
            "0,0,1e2,1",
            "0x1,0,1,1",
            " 0,0,1,1",
            "0,0,1,1 ",
            "0,0,0,1",
            "0,0,1,0",
            "pct:0,0,0,1",
            "pct:0,0,1,0.0",
            "pct:-1,0,1,1",
            "pct:0,0,1e1,1",
            "pct:0,0,.,1",
            "pct:0,0,1.1.1,1",
            "pct:0,0,1",
            "pct:0,0,1,1,1",
            "pct:100,0,1,1",
            "pct:0,200,1,1",
            "pct:nan,0,1,1",
            "pct:0,0,inf,1",
            "percent:0,0,1,1",
            "0,0,1,1%00",
            "0;0;1;1",
            "square,",
            "fulll",
            "0,0,1,\u{0661}",
        ] {
            assert_eq!(region(text), None, "{text}");
        }
        assert_eq!(region(&format!("pct:0,0,{},1", "9".repeat(400))), None);
    }

    #[test]
    fn sizes_of_version_3() {
        for (text, expected) in [
            ("max", (SizeSpec::Max { upscale: false }, false)),
            ("^max", (SizeSpec::Max { upscale: true }, true)),
            ("500,", (SizeSpec::Width(500), false)),
            ("^2000,", (SizeSpec::Width(2000), true)),
            (",350", (SizeSpec::Height(350), false)),
            ("^,350", (SizeSpec::Height(350), true)),
            ("pct:33.3", (SizeSpec::Percent(33.3), false)),
            ("pct:100", (SizeSpec::Percent(100.0), false)),
            ("^pct:250", (SizeSpec::Percent(250.0), true)),
            ("%5Epct:250", (SizeSpec::Percent(250.0), true)),
            ("500,100", (SizeSpec::Exact(500, 100), false)),
            ("^6000,100", (SizeSpec::Exact(6000, 100), true)),
            ("!2000,3000", (SizeSpec::Within(2000, 3000), false)),
            ("^!6000,6000", (SizeSpec::Within(6000, 6000), true)),
            ("9999999999,1", (SizeSpec::Exact(9_999_999_999, 1), false)),
        ] {
            assert_eq!(size(3, text), Some(expected), "{text}");
        }
        for text in ["full", "^full", "pct:100.1", "!^1,1", "^^max"] {
            assert_eq!(size(3, text), None, "{text}");
        }
    }

    #[test]
    fn sizes_of_versions_1_and_2() {
        for version in [1, 2] {
            for (text, expected) in [
                ("full", SizeSpec::Natural),
                ("max", SizeSpec::Max { upscale: false }),
                ("2000,", SizeSpec::Width(2000)),
                (",2000", SizeSpec::Height(2000)),
                ("pct:250", SizeSpec::Percent(250.0)),
                ("!2000,2000", SizeSpec::Within(2000, 2000)),
            ] {
                assert_eq!(size(version, text), Some((expected, false)), "{text}");
            }
            for text in ["^max", "^2000,", "^!6000,6000", "^6000,100", "%5Emax"] {
                assert_eq!(size(version, text), None, "{text}");
            }
        }
    }

    #[test]
    fn malformed_sizes_of_all_versions() {
        for text in [
            "",
            ",",
            "!,",
            "!w,",
            "!100,",
            "!,100",
            "0,",
            ",0",
            "0,0",
            "1,0",
            "!0,1",
            "pct:0",
            "pct:0.0",
            "pct:",
            "pct:-5",
            "pct:1e1",
            "-5,",
            "+5,",
            "1.5,",
            "1e2,",
            "100abc,",
            "100",
            "100,200,300",
            "12345678901,",
            "big",
            "max,",
            " 100,",
            "100 ,",
            "nan,",
            "pct:inf",
        ] {
            for version in 1..=3 {
                assert_eq!(size(version, text), None, "{text}");
            }
        }
    }

    #[test]
    fn rotations() {
        for (text, mirror, degrees) in [
            ("0", false, 0.0),
            ("!0", true, 0.0),
            ("%210", true, 0.0),
            ("90", false, 90.0),
            ("!180", true, 180.0),
            ("22.50", false, 22.5),
            (".5", false, 0.5),
            ("0090", false, 90.0),
            ("360", false, 0.0),
            ("!360.0", true, 0.0),
        ] {
            let parsed = parse(3, &format!("full/max/{text}/default.jpg")).unwrap();
            assert_eq!(parsed.turn, Turn { mirror, degrees }, "{text}");
        }
        for text in [
            "", "!", "-90", "+90", "361", "360.01", "90abc", "9e1", " 90", "!!0", "0!", "nan", "1.2.3", ".",
        ] {
            assert!(
                parse(3, &format!("full/max/{text}/default.jpg")).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn qualities_and_formats() {
        use OutputFormat as F;
        use Quality as Q;
        for (text, quality, format) in [
            ("default.jpg", Q::Default, F::Jpeg),
            ("DEFAULT.JPG", Q::Default, F::Jpeg),
            ("native.png", Q::Default, F::Png),
            ("color.webp", Q::Color, F::WebP),
            ("gray.avif", Q::Gray, F::Avif),
            ("grey.tif", Q::Gray, F::Tiff),
            ("bitonal%2Epng", Q::Bitonal, F::Png),
        ] {
            for version in 1..=3 {
                let parsed = parse(version, &format!("full/max/0/{text}")).unwrap();
                assert_eq!((parsed.quality, parsed.format), (quality, Some(format)), "{text}");
            }
        }
        for text in [
            "",
            ".",
            ".jpg",
            "default.",
            "default.gif",
            "default.jpeg",
            "default.jp2",
            "default.pdf",
            "default.tiff",
            "color.jpg.jpg",
            "negative.jpg",
            "log.jpg",
            "default.jpg?t=1",
            "default.jpg%3Ft=1",
            "default jpg",
        ] {
            for version in 1..=3 {
                assert!(parse(version, &format!("full/max/0/{text}")).is_err(), "{text}");
            }
        }
        let few = Grammar {
            formats: &ALL[..1],
            ..grammar(3)
        };
        let png = [&b"full"[..], b"max", b"0", b"default.png"];
        assert!(parameters(png, few).is_err());
    }

    #[test]
    fn only_version_1_does_without_a_format() {
        assert_eq!(parse(1, "full/full/0/native").unwrap().format, None);
        for version in [2, 3] {
            assert!(parse(version, "full/max/0/default").is_err());
        }
    }

    #[test]
    fn more_qualities_exist_when_switched_on() {
        for (name, quality) in [
            ("stretch", Quality::Stretch),
            ("negative", Quality::Negative),
            ("equalization", Quality::Equalization),
            ("log", Quality::Log),
        ] {
            let text = format!("{name}.jpg");
            let parts = [&b"full"[..], b"max", b"0", text.as_bytes()];
            let parsed = parameters(
                parts,
                Grammar {
                    extensions: true,
                    ..grammar(3)
                },
            )
            .unwrap();
            assert_eq!(parsed.quality, quality);
        }
    }

    #[test]
    fn messages_name_the_part_and_stay_short() {
        let message = parse(3, &format!("{}/max/0/default.jpg", "\u{1}é".repeat(5000))).unwrap_err();
        assert!(
            message.starts_with("region ") && message.len() < 1000,
            "{message}"
        );
        assert!(!message.chars().any(char::is_control));
        assert!(
            parse(3, "full/full/0/default.jpg")
                .unwrap_err()
                .contains("use max")
        );
        assert!(
            parse(2, "full/^max/0/default.jpg")
                .unwrap_err()
                .contains("version 3")
        );
    }

    fn number() -> impl Strategy<Value = (String, f64)> {
        (0_u32..1000, proptest::option::of(0_u32..10000)).prop_map(|(whole, fraction)| {
            let text = match fraction {
                None => whole.to_string(),
                Some(fraction) => format!("{whole}.{fraction:04}"),
            };
            let value = f64::from(whole) + f64::from(fraction.unwrap_or(0)) / 1e4;
            (text, value)
        })
    }

    fn regions_with_text() -> impl Strategy<Value = (String, RegionSpec)> {
        prop_oneof![
            Just(("full".to_owned(), RegionSpec::Full)),
            Just(("square".to_owned(), RegionSpec::Square)),
            (0_u64..1 << 32, 0_u64..1 << 32, 1_u64..1 << 32, 1_u64..1 << 32).prop_map(
                |(x, y, width, height)| (
                    format!("{x},{y},{width},{height}"),
                    RegionSpec::Pixels { x, y, width, height }
                )
            ),
            (0.0..99.9_f64, 0.0..99.9_f64, 0.001..200.0_f64, 0.001..200.0_f64).prop_map(
                |(x, y, width, height)| (
                    format!("pct:{x},{y},{width},{height}"),
                    RegionSpec::Percent { x, y, width, height }
                )
            ),
        ]
    }

    fn sizes_with_text() -> impl Strategy<Value = (String, SizeSpec)> {
        let side = || 1_u64..10_000_000_000;
        prop_oneof![
            Just(("max".to_owned(), SizeSpec::Max { upscale: false })),
            side().prop_map(|w| (format!("{w},"), SizeSpec::Width(w))),
            side().prop_map(|h| (format!(",{h}"), SizeSpec::Height(h))),
            (side(), side()).prop_map(|(w, h)| (format!("{w},{h}"), SizeSpec::Exact(w, h))),
            (side(), side()).prop_map(|(w, h)| (format!("!{w},{h}"), SizeSpec::Within(w, h))),
            (0.001..100.0_f64).prop_map(|n| (format!("pct:{n}"), SizeSpec::Percent(n))),
        ]
    }

    proptest! {
        #[test]
        fn valid_parameters_parse_to_what_was_printed(
            (region_text, region) in regions_with_text(),
            (size_text, size) in sizes_with_text(),
            upscale: bool,
            mirror: bool,
            (degrees_text, degrees) in number(),
            name in prop::sample::select(vec!["default", "color", "gray", "bitonal"]),
            format in prop::sample::select(ALL.to_vec()),
        ) {
            let caret = if upscale { "^" } else { "" };
            let bang = if mirror { "!" } else { "" };
            let text = format!("{region_text}/{caret}{size_text}/{bang}{degrees_text}/{name}.{}", format.extension());
            let parsed = parse(3, &text);
            if degrees > 360.0 {
                prop_assert!(parsed.is_err());
                return Ok(());
            }
            let parsed = parsed.unwrap();
            let size = match size {
                SizeSpec::Max { .. } => SizeSpec::Max { upscale },
                other => other,
            };
            prop_assert_eq!(parsed.region, region);
            prop_assert_eq!((parsed.size, parsed.upscale), (size, upscale));
            prop_assert_eq!(parsed.turn.mirror, mirror);
            prop_assert!((parsed.turn.degrees - degrees % 360.0).abs() < 1e-9);
            prop_assert_eq!(parsed.quality.name(), name);
            prop_assert_eq!(parsed.format, Some(format));
        }

        #[test]
        fn arbitrary_bytes_are_parsed(parts: [Vec<u8>; 4], version in 1_u8..=3) {
            let parts = [&parts[0][..], &parts[1][..], &parts[2][..], &parts[3][..]];
            let _ = parameters(parts, grammar(version));
        }

        #[test]
        fn whatever_parses_is_in_range(text in "[a-z:!^,.0-9%]{0,12}/[a-z:!^,.0-9%]{0,8}/!?[0-9.]{0,5}/[a-z]{0,7}\\.?[a-z]{0,4}") {
            if let Ok(parsed) = parse(3, &text) {
                prop_assert!((0.0..360.0).contains(&parsed.turn.degrees));
                let sides = match parsed.size {
                    SizeSpec::Width(a) | SizeSpec::Height(a) => (a, a),
                    SizeSpec::Exact(a, b) | SizeSpec::Within(a, b) => (a, b),
                    _ => (1, 1),
                };
                prop_assert!(sides.0 >= 1 && sides.1 >= 1);
            }
        }
    }
}
