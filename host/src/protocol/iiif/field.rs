//! Lists in header fields (RFC 9110 section 5.6).

/// Splits at a separator that stands outside quotation marks.
pub(super) fn split_unquoted(text: &str, separator: char) -> impl DoubleEndedIterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.extend(text.get(start..at));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts.into_iter()
}

/// Name in lower case and value without quotation marks of `name=value`.
pub(super) fn parameter(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_inside_quotation_marks_separate_nothing() {
        let split = |text| split_unquoted(text, ',').collect::<Vec<_>>();
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split("a;x=\"1,2\",b"), ["a;x=\"1,2\"", "b"]);
        assert_eq!(split("\"a\\\",b\",c"), ["\"a\\\",b\"", "c"]);
        assert_eq!(split("\"a,b"), ["\"a,b"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split("é,,"), ["é", "", ""]);
    }

    #[test]
    fn parameters_have_a_name_and_a_value() {
        assert_eq!(parameter(" Proto = \"https\" "), Some(("proto".into(), "https")));
        assert_eq!(parameter("alone"), None);
    }
}
