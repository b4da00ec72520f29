//! Floating-point numbers as C's `printf` writes them, which is how clients of IIP read them.

/// A number as `%.{digits}g`: at most so many significant digits, no zeros at the end, an exponent for very
/// small and very large ones (ISO C 7.21.6.1).
pub(super) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return match value {
            v if v.is_nan() => "nan".into(),
            v if v > 0.0 => "inf".into(),
            _ => "-inf".into(),
        };
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs())
    } else {
        // At most `digits` + 3 decimals: the exponent is -4 or more.
        let decimals = i64::try_from(digits).unwrap_or(0) - 1 - i64::from(exponent);
        without_zeros(&format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))).to_owned()
    }
}

/// A decimal without the zeros, and the point, at its end.
fn without_zeros(decimal: &str) -> &str {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.')
    } else {
        decimal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_look_as_in_c() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (255.0, "255"),
            (65535.0, "65535"),
            (4_294_967_295.0, "4.2949673e+09"),
            (0.5, "0.5"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.333333333"),
            (-1234.56789012, "-1234.56789"),
            (123456789.0, "123456789"),
            (1234567890.0, "1.23456789e+09"),
            (999999999.9, "1e+09"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-300, "1e-300"),
            (f64::MAX, "1.79769313e+308"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(significant(value, 9), text, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn seventeen_digits_give_the_number_back(value: f64) {
            prop_assume!(value.is_finite());
            prop_assert_eq!(significant(value, 17).parse::<f64>().unwrap(), value);
        }
    }
}
