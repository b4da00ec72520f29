//! Conditional requests (RFC 9110, section 13), as pure functions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Method, Request, Response};

/// Whether the client already has what a 200 would send, so that a 304 is enough.
///
/// `If-None-Match` wins over `If-Modified-Since` (section 13.2.2); both count for GET and HEAD alone.
/// `etag` is the tag with its quotes.
#[must_use]
pub fn not_modified(request: &Request, etag: &str, modified: SystemTime) -> bool {
    if !matches!(request.method, Method::Get | Method::Head) {
        return false;
    }
    let mut tags = request
        .headers
        .iter()
        .filter(|(name, _)| name == "if-none-match")
        .peekable();
    if tags.peek().is_some() {
        return tags.any(|(_, list)| list_matches(list, etag));
    }
    request
        .header_text("if-modified-since")
        .and_then(parse_date)
        .is_some_and(|date| whole_seconds(modified) <= whole_seconds(date))
}

/// Turns the 200 that would be sent into a 304 (section 15.4.5): the fields that help caches, CORS, and no
/// content.
#[must_use]
pub fn to_not_modified(response: Response) -> Response {
    let mut reply = Response::new(304);
    reply.headers = response
        .headers
        .into_iter()
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            matches!(
                name.as_str(),
                "etag"
                    | "last-modified"
                    | "cache-control"
                    | "vary"
                    | "content-location"
                    | "expires"
                    | "date"
                    | "server"
            ) || name.starts_with("access-control-")
        })
        .collect();
    reply
}

/// The value of `Last-Modified` and friends: the form every sender must use (section 5.6.7).
#[must_use]
pub fn http_date(time: SystemTime) -> String {
    // The crate that formats it knows no year before 1970 or after 9999.
    let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    httpdate::fmt_http_date(time.clamp(UNIX_EPOCH, latest))
}

/// Dates in each of the three forms a recipient must take (section 5.6.7).
fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

/// Seconds since 1970. HTTP has no finer times; a file from before 1970 counts as one of 1970, and so does
/// its `Last-Modified`.
fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Whether a list of entity tags (section 13.1.2) is `*` or holds the tag, by weak comparison: `W/` does
/// not matter (section 8.8.3.2).
fn list_matches(list: &[u8], etag: &str) -> bool {
    let wanted = strip_weak(etag.as_bytes());
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let tag = strip_weak(rest);
        let Some(inner) = tag.strip_prefix(b"\"") else {
            // The end of the list, or of what can be understood of it. A tag without quotes is none.
            return false;
        };
        let Some(len) = inner.iter().position(|&b| b == b'"') else {
            return false;
        };
        // Both quotes belong to the tag; commas may stand between them.
        if tag.get(..len + 2) == Some(wanted) {
            return true;
        }
        rest = tag.get(len + 2..).unwrap_or_default();
    }
}

fn strip_weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Transport;
    use super::*;

    const ETAG: &str = "\"abc,d\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of the standard, and a part of a second.
    const MODIFIED: Duration = Duration::from_millis(784_111_777_900);

    fn check(fields: &[(&str, &str)]) -> bool {
        check_method(Method::Get, fields)
    }

    fn check_method(method: Method, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::new(Transport::Http);
        request.method = method;
        request.headers = fields.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        not_modified(&request, ETAG, UNIX_EPOCH + MODIFIED)
    }

    #[test]
    fn tags_are_compared_weakly_in_lists() {
        for list in [
            ETAG,
            "*",
            " * ",
            "W/\"abc,d\"",
            "\"x\", \"abc,d\"",
            "\"x\",W/\"y\" ,\t\"abc,d\",",
            ",,\"abc,d\"",
        ] {
            assert!(check(&[("if-none-match", list)]), "{list}");
        }
        for list in [
            "",
            "abc,d",
            "\"abc\"",
            "\"x,\"abc,d\"",
            "x, \"abc,d\"",
            "\"abc,d",
            "\"ABC,D\"",
            "w/\"abc,d\"",
        ] {
            assert!(!check(&[("if-none-match", list)]), "{list}");
        }
        assert!(check(&[("if-none-match", "\"x\""), ("if-none-match", ETAG)]));
    }

    #[test]
    fn dates_of_three_forms_are_compared_in_seconds() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:38 GMT",
        ] {
            assert!(check(&[("if-modified-since", date)]), "{date}");
        }
        for date in ["Sun, 06 Nov 1994 08:49:36 GMT", "", "yesterday", "784111777"] {
            assert!(!check(&[("if-modified-since", date)]), "{date}");
        }
    }

    #[test]
    fn a_tag_that_does_not_match_wins_over_a_date_that_does() {
        let date = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(!check(&[("if-none-match", "\"x\""), date]));
        assert!(check(&[
            ("if-none-match", ETAG),
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")
        ]));
    }

    #[test]
    fn only_get_and_head_are_conditional() {
        let tag = [("if-none-match", ETAG)];
        assert!(check_method(Method::Head, &tag));
        assert!(!check_method(Method::Post, &tag));
        assert!(!check(&[]));
    }

    #[test]
    fn a_304_keeps_what_caches_and_browsers_need() {
        let full = Response::new(200)
            .with("Content-Type", "image/jpeg")
            .with("ETag", ETAG)
            .with("Last-Modified", http_date(UNIX_EPOCH + MODIFIED))
            .with("Cache-Control", "max-age=86400")
            .with("Allow", "GET")
            .with("Vary", "Accept")
            .with("Access-Control-Allow-Origin", "*")
            .body("pixels");
        let reply = to_not_modified(full);
        let names: Vec<&str> = reply.headers.iter().map(|(n, _)| *n).collect();
        assert_eq!(
            names,
            [
                "ETag",
                "Last-Modified",
                "Cache-Control",
                "Vary",
                "Access-Control-Allow-Origin"
            ]
        );
        assert_eq!(
            reply.header("last-modified"),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
        assert!(reply.status == 304 && reply.body.is_empty());
    }

    #[test]
    fn times_out_of_range_have_a_date() {
        assert_eq!(
            http_date(UNIX_EPOCH - Duration::from_secs(1)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        let late = UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert_eq!(http_date(late), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn what_was_sent_matches_when_it_comes_back(seconds in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000) {
            let modified = UNIX_EPOCH + Duration::new(seconds, nanos);
            let mut request = Request::new(Transport::Http);
            request.headers.push(("if-modified-since".into(), http_date(modified).into()));
            prop_assert!(not_modified(&request, ETAG, modified));
            prop_assert!(!not_modified(&request, ETAG, modified + Duration::from_secs(1)));
        }

        #[test]
        fn arbitrary_lists_end(list in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = list_matches(&list, ETAG);
        }
    }
}
