//! Values of commands: numbers, lists and keywords.

use crate::error::Error;

/// The decoded value of a command, or a part of it, with the command's name for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument<'a> {
    /// Name of the command.
    pub(super) command: &'static str,
    /// The text.
    pub(super) text: &'a [u8],
}

impl<'a> Argument<'a> {
    /// Another text of the same command.
    pub(super) fn part(self, text: &'a [u8]) -> Self {
        Self { text, ..self }
    }

    /// What stands before and after the first `separator`; the second is `None` without one.
    pub(super) fn split(self, separator: u8) -> (Self, Option<Self>) {
        match self.text.iter().position(|&b| b == separator) {
            Some(at) => (
                self.part(self.text.get(..at).unwrap_or_default()),
                Some(self.part(self.text.get(at + 1..).unwrap_or_default())),
            ),
            None => (self, None),
        }
    }

    /// The elements between `separator`s; empty ones do not count.
    pub(super) fn elements(self, separator: u8) -> impl Iterator<Item = Self> {
        self.text
            .split(move |&b| b == separator)
            .filter(|element| !element.trim_ascii().is_empty())
            .map(move |element| self.part(element))
    }

    /// Whether the text is this keyword in any case.
    pub(super) fn is(self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// The text between the first `[` and the next `]`, or all of it where there are none.
    pub(super) fn unbracketed(self) -> Self {
        let (before, inside) = self.split(b'[');
        inside.unwrap_or(before).split(b']').0
    }

    /// A finite decimal number: sign, digits, fraction and exponent, blanks around it.
    pub(super) fn number(self) -> Result<f64, Error> {
        let text = self.text.trim_ascii();
        is_decimal(text)
            .then(|| std::str::from_utf8(text).ok()?.parse().ok())
            .flatten()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| self.error("a finite decimal number is needed"))
    }

    /// A number without its fraction, |n| < 2^31.
    pub(super) fn integer(self) -> Result<i32, Error> {
        let number = self.number()?;
        if number.abs() < 2_147_483_648.0 {
            Ok(number as i32)
        } else {
            Err(self.error("the number is too large"))
        }
    }

    /// The numbers of a comma list.
    pub(super) fn numbers(self) -> Result<Vec<f64>, Error> {
        self.elements(b',').map(Self::number).collect()
    }

    /// The whole numbers of a comma list.
    pub(super) fn integers(self) -> Result<Vec<i32>, Error> {
        self.elements(b',').map(Self::integer).collect()
    }

    /// A bad request that names the command.
    pub(super) fn error(self, message: impl std::fmt::Display) -> Error {
        Error::bad_request(format!("{}: {message}", self.command))
    }
}

/// Whether a text is `[+-]? digits [. digits] [(e|E) [+-]? digits]`.
fn is_decimal(text: &[u8]) -> bool {
    let Some(rest) = digits(sign(text)) else {
        return false;
    };
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => match digits(fraction) {
            Some(rest) => rest,
            None => return false,
        },
        None => rest,
    };
    match rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        Some(exponent) => digits(sign(exponent)).is_some_and(<[u8]>::is_empty),
        None => rest.is_empty(),
    }
}

/// The text after an optional sign.
fn sign(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

/// The text after one digit or more.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 { None } else { text.get(count..) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn argument(text: &[u8]) -> Argument<'_> {
        Argument { command: "X", text }
    }

    #[test]
    fn decimal_numbers_are_read_and_nothing_else() {
        for (text, number) in [
            ("0", Some(0.0)),
            ("-1", Some(-1.0)),
            ("+2.5", Some(2.5)),
            (" 7\t", Some(7.0)),
            ("1e3", Some(1000.0)),
            ("1.5E-2", Some(0.015)),
            ("2e+1", Some(20.0)),
            ("00012", Some(12.0)),
            ("", None),
            (" ", None),
            ("-", None),
            ("+-1", None),
            (".5", None),
            ("5.", None),
            ("1e", None),
            ("1e999", None),
            ("0x10", None),
            ("nan", None),
            ("inf", None),
            ("-Infinity", None),
            ("1_000", None),
            ("12px", None),
            ("1 2", None),
            ("\u{661}", None),
        ] {
            assert_eq!(argument(text.as_bytes()).number().ok(), number, "{text:?}");
        }
    }

    #[test]
    fn integers_lose_their_fraction_and_stay_below_two_to_the_31() {
        for (text, number) in [
            ("312.5", Some(312)),
            ("-0.9", Some(0)),
            ("2147483647.9", Some(i32::MAX)),
            ("-2147483647", Some(-i32::MAX)),
            ("2147483648", None),
            ("-2147483648", None),
            ("99999999999999999999", None),
            ("1e30", None),
        ] {
            assert_eq!(argument(text.as_bytes()).integer().ok(), number, "{text:?}");
        }
    }

    #[test]
    fn lists_skip_empty_elements_and_refuse_bad_ones() {
        assert_eq!(
            argument(b"0,,0.25,0.5,0.5").numbers().unwrap(),
            [0.0, 0.25, 0.5, 0.5]
        );
        assert_eq!(argument(b",, ,").numbers().unwrap(), [0.0; 0]);
        assert!(argument(b"1,x").numbers().is_err());
    }

    #[test]
    fn messages_name_the_command() {
        let error = argument(b"x").number().unwrap_err();
        assert_eq!(error.public_message(), "X: a finite decimal number is needed");
    }

    #[test]
    fn brackets_are_optional_and_what_surrounds_them_is_ignored() {
        for (text, inside) in [
            ("a[1,2]b[3]", "1,2"),
            ("1,2", "1,2"),
            ("[]", ""),
            ("[1", "1"),
            ("1]", "1"),
        ] {
            assert_eq!(
                argument(text.as_bytes()).unbracketed().text,
                inside.as_bytes(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn printed_numbers_are_read_back(number in -1e12..1e12f64) {
            let text = format!("{number:?}");
            prop_assert_eq!(argument(text.as_bytes()).number().unwrap(), number);
        }
    }
}
