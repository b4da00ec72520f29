//! Commands of image processing: `CNT`, `GAM`, `MINMAX`, `CMP`, `SHD`, `CTW`, `CNV`, `COL`.

use crate::error::Error;
use crate::view::{ColorMap, ColorMode, Contrast, Gamma, RangeOverride, Shade};

use super::argument::Argument;

/// Most output bands `CTW` may make.
const MAX_TWIST_ROWS: usize = 64;

/// Most coefficients `CTW` may have.
const MAX_TWIST_COEFFICIENTS: usize = 4096;

/// `CNT`: a factor, or a word for a curve taken from the picture.
pub(super) fn contrast(argument: Argument<'_>) -> Result<Contrast, Error> {
    if argument.is("eq") || argument.is("equalization") {
        return Ok(Contrast::Equalize);
    }
    if argument.is("st") || argument.is("stretch") {
        return Ok(Contrast::Stretch);
    }
    let factor = argument.number()?;
    Ok(if factor == -1.0 {
        Contrast::Stretch
    } else {
        Contrast::Factor(factor)
    })
}

/// `GAM`: an exponent or the logarithm.
pub(super) fn gamma(argument: Argument<'_>) -> Result<Gamma, Error> {
    if argument.is("log") || argument.is("logarithm") {
        return Ok(Gamma::Log);
    }
    let exponent = argument.number()?;
    Ok(if exponent == -1.0 {
        Gamma::Log
    } else {
        Gamma::Power(exponent)
    })
}

/// `MINMAX`: `band:min,max`. Without a colon the band is also the minimum; without a comma both ends are
/// the same. `None` if the image has no such band.
pub(super) fn range(argument: Argument<'_>, band_count: u32) -> Result<Option<RangeOverride>, Error> {
    let (band, ends) = argument.split(b':');
    let (band, ends) = match ends {
        Some(ends) => (band, ends),
        None => (argument.split(b',').0, argument),
    };
    let band = match band.text {
        b"-" => None,
        _ => Some(band.integer()?),
    };
    let (min, max) = match ends.numbers()?.as_slice() {
        [] => return Err(argument.error("a range is needed")),
        [end] => (*end, *end),
        [min, max, ..] => (*min, *max),
    };
    let band = match band.map(u32::try_from) {
        None => None,
        Some(Ok(band)) if band < band_count => Some(band),
        Some(_) => return Ok(None),
    };
    Ok(Some(RangeOverride { band, min, max }))
}

/// Adds a range, which replaces those it makes meaningless.
pub(super) fn add_range(ranges: &mut Vec<RangeOverride>, range: RangeOverride) {
    ranges.retain(|earlier| range.band.is_some() && earlier.band != range.band);
    ranges.push(range);
}

/// `CMP`: a map by name; another name switches it off.
pub(super) fn color_map(argument: Argument<'_>) -> Option<ColorMap> {
    [
        ("hot", ColorMap::Hot),
        ("cold", ColorMap::Cold),
        ("jet", ColorMap::Jet),
        ("red", ColorMap::Red),
        ("green", ColorMap::Green),
        ("blue", ColorMap::Blue),
    ]
    .into_iter()
    .find_map(|(name, map)| argument.is(name).then_some(map))
}

/// `SHD`: azimuth and elevation; `None` for fewer than two numbers.
pub(super) fn shade(argument: Argument<'_>) -> Result<Option<Shade>, Error> {
    Ok(match argument.integers()?.as_slice() {
        [azimuth, elevation, ..] => Some(Shade {
            azimuth: *azimuth,
            elevation: *elevation,
        }),
        _ => None,
    })
}

/// `CTW`: rows of coefficients, added to those given before.
pub(super) fn twist(argument: Argument<'_>, rows: &mut Option<Vec<Vec<f64>>>) -> Result<(), Error> {
    let mut all = rows.clone().unwrap_or_default();
    for row in argument.unbracketed().elements(b';') {
        let row = row.numbers()?;
        if !row.is_empty() {
            all.push(row);
        }
    }
    if all.len() > MAX_TWIST_ROWS {
        return Err(argument.error(format_args!("more than {MAX_TWIST_ROWS} rows")));
    }
    if all.iter().map(Vec::len).sum::<usize>() > MAX_TWIST_COEFFICIENTS {
        return Err(argument.error(format_args!("more than {MAX_TWIST_COEFFICIENTS} coefficients")));
    }
    *rows = (!all.is_empty()).then_some(all);
    Ok(())
}

/// `CNV`: a kernel by name, or its 1, 9 or 25 numbers; `None` for another name or count.
pub(super) fn kernel(argument: Argument<'_>) -> Result<Option<Vec<f64>>, Error> {
    let inside = argument.unbracketed();
    if let Some(kernel) = named_kernel(inside) {
        return Ok(Some(kernel.to_vec()));
    }
    if inside.number().is_err() && !inside.text.contains(&b',') {
        return Ok(None);
    }
    let numbers = inside.numbers()?;
    Ok(matches!(numbers.len(), 1 | 9 | 25).then_some(numbers))
}

/// A kernel by its name.
#[rustfmt::skip]
fn named_kernel(name: Argument<'_>) -> Option<[f64; 9]> {
    [
        ("sobel",    [-1.0, 0.0, 1.0,    -2.0, 0.0, 2.0,    -1.0, 0.0, 1.0]),
        ("prewitt",  [1.0, 0.0, -1.0,    1.0, 0.0, -1.0,    1.0, 0.0, -1.0]),
        ("scharr",   [-3.0, 0.0, 3.0,    -10.0, 0.0, 10.0,  -3.0, 0.0, 3.0]),
        ("laplace",  [-1.0, -1.0, -1.0,  -1.0, 8.0, -1.0,   -1.0, -1.0, -1.0]),
        ("gaussian", [1.0, 2.0, 1.0,     2.0, 4.0, 2.0,     1.0, 2.0, 1.0]),
        ("sharpen",  [0.0, -1.0, 0.0,    -1.0, 5.0, -1.0,   0.0, -1.0, 0.0]),
        ("emboss",   [-2.0, -1.0, 0.0,   -1.0, 1.0, 1.0,    0.0, 1.0, 2.0]),
    ]
    .into_iter()
    .find_map(|(known, kernel)| name.is(known).then_some(kernel))
}

/// `COL`: `None` for a word that is no color mode.
pub(super) fn color_mode(argument: Argument<'_>) -> Option<ColorMode> {
    if argument.is("grey") || argument.is("gray") {
        Some(ColorMode::Grey)
    } else if argument.is("binary") {
        Some(ColorMode::Bilevel)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(text: &str) -> Argument<'_> {
        Argument {
            command: "X",
            text: text.as_bytes(),
        }
    }

    #[test]
    fn contrast_is_a_factor_or_a_word() {
        for (text, expected) in [
            ("2.5", Some(Contrast::Factor(2.5))),
            ("0", Some(Contrast::Factor(0.0))),
            ("-2", Some(Contrast::Factor(-2.0))),
            ("-1", Some(Contrast::Stretch)),
            ("ST", Some(Contrast::Stretch)),
            ("stretch", Some(Contrast::Stretch)),
            ("eq", Some(Contrast::Equalize)),
            ("Equalization", Some(Contrast::Equalize)),
            ("abc", None),
            ("nan", None),
            ("inf", None),
        ] {
            assert_eq!(contrast(argument(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn gamma_is_an_exponent_or_the_logarithm() {
        for (text, expected) in [
            ("2.2", Some(Gamma::Power(2.2))),
            ("0", Some(Gamma::Power(0.0))),
            ("-1", Some(Gamma::Log)),
            ("LOG", Some(Gamma::Log)),
            ("logarithm", Some(Gamma::Log)),
            ("ln", None),
        ] {
            assert_eq!(gamma(argument(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn ranges_name_a_band_or_all() {
        let all = |band, min, max| Some(Some(RangeOverride { band, min, max }));
        for (text, expected) in [
            ("1:10,200", all(Some(1), 10.0, 200.0)),
            ("-:0,4095", all(None, 0.0, 4095.0)),
            ("0,200", all(Some(0), 0.0, 200.0)),
            ("2,200", all(Some(2), 2.0, 200.0)),
            ("0:7", all(Some(0), 7.0, 7.0)),
            ("1", all(Some(1), 1.0, 1.0)),
            ("0:-1.5,1e3,9", all(Some(0), -1.5, 1000.0)),
            ("3:0,1", Some(None)),
            ("-5:0,1", Some(None)),
            ("0:", None),
            ("x:0,1", None),
            ("0:a,b", None),
            ("0:0,inf", None),
            ("-", None),
        ] {
            assert_eq!(range(argument(text), 3).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_replaces_earlier_ones_of_its_band() {
        let range = |band, min| RangeOverride { band, min, max: 9.0 };
        let mut ranges = Vec::new();
        add_range(&mut ranges, range(Some(0), 1.0));
        add_range(&mut ranges, range(Some(1), 2.0));
        add_range(&mut ranges, range(Some(0), 3.0));
        assert_eq!(ranges, [range(Some(1), 2.0), range(Some(0), 3.0)]);
        add_range(&mut ranges, range(None, 4.0));
        add_range(&mut ranges, range(Some(2), 5.0));
        assert_eq!(ranges, [range(None, 4.0), range(Some(2), 5.0)]);
    }

    #[test]
    fn an_unknown_color_map_is_none() {
        assert_eq!(color_map(argument("JET")), Some(ColorMap::Jet));
        assert_eq!(color_map(argument("rainbow")), None);
    }

    #[test]
    fn shading_needs_two_numbers() {
        let light = |azimuth, elevation| Some(Some(Shade { azimuth, elevation }));
        for (text, expected) in [
            ("90,45", light(90, 45)),
            ("-30,,10.9,5", light(-30, 10)),
            ("90", Some(None)),
            ("a,b", None),
        ] {
            assert_eq!(shade(argument(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn twist_rows_are_appended_and_may_differ_in_length() {
        let mut rows = None;
        twist(argument("x[1,0;0.5]y[9]"), &mut rows).unwrap();
        twist(argument("2,,3;;4"), &mut rows).unwrap();
        assert_eq!(
            rows,
            Some(vec![vec![1.0, 0.0], vec![0.5], vec![2.0, 3.0], vec![4.0]])
        );
    }

    #[test]
    fn an_empty_twist_is_none() {
        for text in ["[]", "[;;]", "[,]", ";"] {
            let mut rows = None;
            twist(argument(text), &mut rows).unwrap();
            assert_eq!(rows, None, "{text}");
        }
    }

    #[test]
    fn a_twist_over_its_limits_is_refused_by_name() {
        let mut rows = None;
        let error = twist(argument(&"1;".repeat(65)), &mut rows).unwrap_err();
        assert_eq!(error.public_message(), "X: more than 64 rows");
        let error = twist(argument(&"1,".repeat(4097)), &mut rows).unwrap_err();
        assert_eq!(error.public_message(), "X: more than 4096 coefficients");
        assert_eq!(rows, None);
        assert!(twist(argument("1,x"), &mut rows).is_err());
    }

    #[test]
    fn kernels_have_names_or_1_9_or_25_numbers() {
        assert_eq!(
            kernel(argument("[Sobel]")).unwrap().unwrap(),
            [-1., 0., 1., -2., 0., 2., -1., 0., 1.]
        );
        assert_eq!(
            kernel(argument("emboss")).unwrap().unwrap(),
            [-2., -1., 0., -1., 1., 1., 0., 1., 2.]
        );
        assert_eq!(kernel(argument("3")).unwrap().unwrap(), [3.0]);
        for (count, kept) in [
            (1, true),
            (4, false),
            (9, true),
            (24, false),
            (25, true),
            (26, false),
            (9999, false),
        ] {
            let list = vec!["1"; count].join(",");
            assert_eq!(kernel(argument(&list)).unwrap().is_some(), kept, "{count}");
        }
        for ignored in ["blur", "[]", "nan", "[1,1]"] {
            assert_eq!(kernel(argument(ignored)).unwrap(), None, "{ignored}");
        }
        assert!(kernel(argument("1,1,1,1,x,1,1,1,1")).is_err());
    }
}
