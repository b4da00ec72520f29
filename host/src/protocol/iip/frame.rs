//! Commands that shape an export: `WID`, `HEI`, `RGN`, `QLT`.

use crate::error::Error;
use crate::view::{Output, RegionSpec, SizeSpec, TiffCompression};

use super::argument::Argument;

/// `QLT`: a quality, after the name of a TIFF compression and a colon.
pub(super) fn quality(argument: Argument<'_>, output: &mut Output) -> Result<(), Error> {
    let (first, second) = argument.split(b':');
    let Some(number) = second else {
        output.quality = Some(first.integer()?);
        return Ok(());
    };
    output.quality = Some(number.integer()?);
    output.tiff_compression = Some(
        [
            ("lzw", TiffCompression::Lzw),
            ("deflate", TiffCompression::Deflate),
            ("jpeg", TiffCompression::Jpeg),
            ("webp", TiffCompression::WebP),
            ("zstd", TiffCompression::Zstandard),
        ]
        .into_iter()
        .find_map(|(scheme, compression)| first.is(scheme).then_some(compression))
        .unwrap_or(TiffCompression::None),
    );
    Ok(())
}

/// `WID` or `HEI`; 0 is the same as not given.
pub(super) fn side(argument: Argument<'_>) -> Result<u32, Error> {
    u32::try_from(argument.integer()?).map_err(|_| argument.error("must not be negative"))
}

/// The size two sides ask for.
pub(super) fn size(width: u32, height: u32) -> SizeSpec {
    let (wide, high) = (u64::from(width), u64::from(height));
    match (width, height) {
        (0, 0) => SizeSpec::Natural,
        (_, 0) => SizeSpec::Width(wide),
        (0, _) => SizeSpec::Height(high),
        _ => SizeSpec::Within(wide, high),
    }
}

/// `RGN`: fractions of the picture. `None` if it has no area or too few numbers.
pub(super) fn region(argument: Argument<'_>) -> Result<Option<RegionSpec>, Error> {
    let numbers = argument.numbers()?;
    let &[x, y, width, height, ..] = numbers.as_slice() else {
        return Ok(None);
    };
    if width <= 0.0 || height <= 0.0 {
        return Ok(None);
    }
    let (x, y) = (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0));
    if x >= 1.0 || y >= 1.0 {
        return Err(argument.error("the region lies outside the picture"));
    }
    let (width, height) = (width.min(1.0 - x), height.min(1.0 - y));
    Ok(Some(if (x, y, width, height) == (0.0, 0.0, 1.0, 1.0) {
        RegionSpec::Full
    } else {
        RegionSpec::Fraction { x, y, width, height }
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argument(text: &str) -> Argument<'_> {
        Argument {
            command: "X",
            text: text.as_bytes(),
        }
    }

    #[test]
    fn quality_may_name_a_tiff_compression() {
        let set = |text| {
            let mut output = Output::new(crate::view::OutputFormat::Jpeg);
            quality(argument(text), &mut output)
                .ok()
                .map(|()| (output.quality, output.tiff_compression))
        };
        for (text, expected) in [
            ("75", Some((Some(75), None))),
            ("-1", Some((Some(-1), None))),
            ("LZW:1", Some((Some(1), Some(TiffCompression::Lzw)))),
            ("zstd:5.9", Some((Some(5), Some(TiffCompression::Zstandard)))),
            ("foo:5", Some((Some(5), Some(TiffCompression::None)))),
            ("lzw", None),
            ("lzw:", None),
            ("1:2:3", None),
        ] {
            assert_eq!(set(text), expected, "{text}");
        }
    }

    #[test]
    fn sides_are_zero_or_more() {
        assert_eq!(side(argument("312.5")).unwrap(), 312);
        assert_eq!(side(argument("0")).unwrap(), 0);
        for bad in ["-1", "abc", "4294967296", ""] {
            assert!(side(argument(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_are_clamped_to_the_picture() {
        let part = |x, y, width, height| Some(Some(RegionSpec::Fraction { x, y, width, height }));
        for (text, expected) in [
            ("0.25,0.25,0.5,0.5", part(0.25, 0.25, 0.5, 0.5)),
            ("0,,0.25,0.5,0.5", part(0.0, 0.25, 0.5, 0.5)),
            ("0.75,0,0.5,1", part(0.75, 0.0, 0.25, 1.0)),
            ("-3,0.5,9,9,7", part(0.0, 0.5, 1.0, 0.5)),
            ("0,0,1,1", Some(Some(RegionSpec::Full))),
            ("0,0,1e300,2", Some(Some(RegionSpec::Full))),
            ("0.1,0.1,0.5", Some(None)),
            (",,,", Some(None)),
            ("0,0,0,1", Some(None)),
            ("0,0,1,-1", Some(None)),
            ("5,5,0,1", Some(None)),
            ("1,0,1,1", None),
            ("0,1.5,1,1", None),
            ("0,0,nan,1", None),
            ("inf,0,1,1", None),
        ] {
            assert_eq!(region(argument(text)).ok(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_region_never_leaves_the_picture(numbers: [f64; 4]) {
            let text = numbers.map(|n| format!("{n:?}")).join(",");
            if let Ok(Some(RegionSpec::Fraction { x, y, width, height })) = region(argument(&text)) {
                prop_assert!((0.0..1.0).contains(&x) && (0.0..1.0).contains(&y));
                prop_assert!(width > 0.0 && width <= 1.0 - x && height > 0.0 && height <= 1.0 - y);
            }
        }
    }
}
