//! `id`: the base URI of an image as clients must use it (Image API 3.0 section 5.2).

use super::Target;
use super::proxy::{Forwarded, TrustedProxies};
use crate::error::Error;
use crate::server::Request;

/// How this host is addressed from outside.
#[derive(Debug)]
pub(super) struct Site<'a> {
    base_url: Option<&'a str>,
    image_id: Option<String>,
    /// Scheme and authority, `None` if the request does not name its host.
    origin: Option<String>,
    /// Path a proxy took away, without a slash at its end.
    prefix: String,
    /// Path of the request.
    path: &'a str,
}

impl<'a> Site<'a> {
    /// Reads the address from `BASE_URL`, trusted proxies or the request itself.
    ///
    /// # Errors
    /// 400 if the host has characters no host has.
    pub(super) fn of(
        request: &'a Request,
        base_url: Option<&'a str>,
        trusted: &TrustedProxies,
    ) -> Result<Self, Error> {
        let base_url = base_url.filter(|url| !url.is_empty());
        let Forwarded {
            https,
            host,
            prefix,
            image_id,
        } = Forwarded::of(request, trusted);
        let scheme = if https.unwrap_or(request.https) {
            "https"
        } else {
            "http"
        };
        let origin = match base_url {
            Some(url) => Some(origin_of(url).to_owned()),
            None => host_of(request, host)?.map(|host| format!("{scheme}://{host}")),
        };
        let prefix = prefix.unwrap_or_default();
        Ok(Self {
            base_url,
            image_id: image_id.filter(|id| is_image_id(id)),
            origin,
            prefix: encode(prefix.trim_end_matches('/').as_bytes()),
            path: &request.path,
        })
    }

    /// Whether another endpoint than the one asked can be named.
    pub(super) fn can_name_endpoints(&self) -> bool {
        self.base_url.is_some() || self.image_id.is_none()
    }

    /// The base URI of an image; `identifier` is still encoded. `None` if the request tells neither host
    /// nor path.
    pub(super) fn base_uri(&self, target: &Target, identifier: &[u8]) -> Option<String> {
        let identifier = encode(identifier);
        if let Some(base_url) = self.base_url.filter(|_| target.version.is_none()) {
            let separator = if base_url.ends_with(['/', '=']) { "" } else { "/" };
            return Some(format!("{base_url}{separator}{identifier}"));
        }
        if let Some(id) = self.image_id.as_deref().filter(|_| self.base_url.is_none()) {
            return Some(id.trim_end_matches('/').to_owned());
        }
        let origin = self.origin.as_deref()?;
        let prefix = &self.prefix;
        if target.argument.from_query {
            let path = encode(self.path.as_bytes());
            return (!path.is_empty()).then(|| format!("{origin}{prefix}{path}?IIIF={identifier}"));
        }
        let mount = encode(target.mount.as_bytes());
        let separator = if mount.is_empty() { "" } else { "/" };
        Some(format!("{origin}{prefix}{separator}{mount}/{identifier}"))
    }
}

/// Scheme and authority of a URL; all of it if it has no path.
fn origin_of(url: &str) -> &str {
    let authority = url.find("//").map_or(0, |at| at + 2);
    let path = url.get(authority..).and_then(|rest| rest.find('/'));
    path.and_then(|path| url.get(..authority + path)).unwrap_or(url)
}

/// The host a client asked for: as proxies say, as it says, or as the web server is configured.
fn host_of(request: &Request, forwarded: Option<String>) -> Result<Option<String>, Error> {
    let asked = || {
        let host = String::from_utf8_lossy(request.header("host")?).trim().to_owned();
        (!host.is_empty()).then_some(host)
    };
    let configured = || request.server_name.clone().filter(|name| !name.is_empty());
    match forwarded.or_else(asked).or_else(configured) {
        Some(host) if !is_authority(&host) => Err(Error::bad_request("the host has characters no host has")),
        host => Ok(host),
    }
}

fn is_authority(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'_' | b'[' | b']' | b'-'))
}

/// Whether a proxy's `id` is an absolute URI a client can use.
fn is_image_id(id: &str) -> bool {
    let rest = id.strip_prefix("http://").or_else(|| id.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        is_authority(authority) && encode(path.as_bytes()) == path
    })
}

/// Encodes what cannot stand in the path of a URI (RFC 3986 section 3.3); triplets `%HH` and slashes stay.
fn encode(text: &[u8]) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        let stays = match byte {
            b'%' => text
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte),
        };
        if stays {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend(
                [byte >> 4, byte & 15]
                    .iter()
                    .filter_map(|&digit| HEX.get(usize::from(digit))),
            );
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::argument::Argument;
    use crate::protocol::fake::request;

    fn in_query() -> Target {
        Target::of_query(Argument::of_query("").raw)
    }

    fn by_path(version: Option<u8>, mount: &str) -> Target {
        Target::of_path(version, mount, "")
    }

    struct Case<'a> {
        path: &'a str,
        target: Target,
        base_url: &'a str,
        https: bool,
        host: Option<&'a str>,
        server_name: Option<&'a str>,
        fields: &'a [(&'a str, &'a str)],
    }

    impl Default for Case<'_> {
        fn default() -> Self {
            Self {
                path: "/iiif/x",
                target: by_path(None, "iiif"),
                base_url: "",
                https: false,
                host: Some("images.example.org"),
                server_name: None,
                fields: &[],
            }
        }
    }

    fn id(case: &Case<'_>, identifier: &str) -> Result<Option<String>, u16> {
        let mut request = request(case.path);
        request.https = case.https;
        request.headers = case
            .host
            .map(|host| ("host".into(), host.into()))
            .into_iter()
            .collect();
        request.server_name = case.server_name.map(str::to_owned);
        let fields = case
            .fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        request.headers.extend(fields);
        let trusted = TrustedProxies::parse("10.0.0.1").unwrap();
        let site = Site::of(&request, Some(case.base_url), &trusted).map_err(|error| error.status())?;
        Ok(site.base_uri(&case.target, identifier.as_bytes()))
    }

    #[test]
    fn the_id_is_the_request_as_sent() {
        for (identifier, expected) in [
            ("test.tif", "http://images.example.org/iiif/test.tif"),
            (
                "dir%2Fa%20b.tif",
                "http://images.example.org/iiif/dir%2Fa%20b.tif",
            ),
            ("dir/a.tif", "http://images.example.org/iiif/dir/a.tif"),
            ("p%25ct.tif", "http://images.example.org/iiif/p%25ct.tif"),
            ("100%", "http://images.example.org/iiif/100%25"),
            (
                "a[1]\"<>\\{}|^`#?.tif",
                "http://images.example.org/iiif/a%5B1%5D%22%3C%3E%5C%7B%7D%7C%5E%60%23%3F.tif",
            ),
            ("\u{e9}:a+b", "http://images.example.org/iiif/%C3%A9:a+b"),
        ] {
            assert_eq!(id(&Case::default(), identifier), Ok(Some(expected.to_owned())));
        }
        let query = Case {
            path: "/cgi",
            target: in_query(),
            ..Case::default()
        };
        assert_eq!(
            id(&query, "test.tif"),
            Ok(Some("http://images.example.org/cgi?IIIF=test.tif".into()))
        );
        let everything = Case {
            target: by_path(None, ""),
            ..Case::default()
        };
        assert_eq!(
            id(&everything, "a"),
            Ok(Some("http://images.example.org/a".into()))
        );
    }

    #[test]
    fn the_host_is_the_clients_or_the_web_servers() {
        let expect = |case: Case<'_>, expected: Result<Option<&str>, u16>| {
            assert_eq!(id(&case, "a"), expected.map(|id| id.map(str::to_owned)));
        };
        expect(
            Case {
                host: Some("a.org:8182"),
                ..Case::default()
            },
            Ok(Some("http://a.org:8182/iiif/a")),
        );
        expect(
            Case {
                host: Some("[::1]:80"),
                https: true,
                ..Case::default()
            },
            Ok(Some("https://[::1]:80/iiif/a")),
        );
        expect(
            Case {
                host: None,
                server_name: Some("s:81"),
                ..Case::default()
            },
            Ok(Some("http://s:81/iiif/a")),
        );
        expect(
            Case {
                host: Some(""),
                server_name: Some("s"),
                ..Case::default()
            },
            Ok(Some("http://s/iiif/a")),
        );
        expect(
            Case {
                host: None,
                ..Case::default()
            },
            Ok(None),
        );
        expect(
            Case {
                path: "",
                target: in_query(),
                ..Case::default()
            },
            Ok(None),
        );
        for host in ["a b", "a/b", "a\"b", "a\r\nx", "<script>", "a@b", "é.org"] {
            expect(
                Case {
                    host: Some(host),
                    ..Case::default()
                },
                Err(400),
            );
        }
        let forwarded = [("x-forwarded-host", "a/b")];
        expect(
            Case {
                fields: &forwarded,
                ..Case::default()
            },
            Err(400),
        );
        expect(
            Case {
                base_url: "http://b/",
                host: Some("a b"),
                ..Case::default()
            },
            Ok(Some("http://b/a")),
        );
    }

    #[test]
    fn the_base_url_is_joined_to_the_identifier() {
        for (base_url, expected) in [
            ("https://b.org/img/", "https://b.org/img/a%20b"),
            ("https://b.org/img", "https://b.org/img/a%20b"),
            ("https://b.org/fcgi?IIIF=", "https://b.org/fcgi?IIIF=a%20b"),
        ] {
            for target in [by_path(None, "iiif"), in_query()] {
                let fields = [("x-iiif-id", "https://x.org/id")];
                let case = Case {
                    base_url,
                    target,
                    path: "",
                    fields: &fields,
                    ..Case::default()
                };
                assert_eq!(id(&case, "a b"), Ok(Some(expected.to_owned())));
            }
        }
        for (base_url, expected) in [
            ("https://b.org/img/", "https://b.org/iiif/3/a"),
            ("https://b.org", "https://b.org/iiif/3/a"),
            ("//b.org:81/x", "//b.org:81/iiif/3/a"),
            ("/img/", "/iiif/3/a"),
        ] {
            let case = Case {
                base_url,
                target: by_path(Some(3), "iiif/3"),
                ..Case::default()
            };
            assert_eq!(id(&case, "a"), Ok(Some(expected.to_owned())), "{base_url}");
        }
    }

    #[test]
    fn trusted_proxies_say_how_they_were_asked() {
        for (fields, expected) in [
            (
                &[("forwarded", "proto=https;host=p.org")][..],
                "https://p.org/iiif/a",
            ),
            (
                &[("x-forwarded-proto", "https")],
                "https://images.example.org/iiif/a",
            ),
            (
                &[("x-forwarded-prefix", "/img/")],
                "http://images.example.org/img/iiif/a",
            ),
            (
                &[("x-iiif-id", "https://x.org/id/7"), ("x-forwarded-host", "p.org")],
                "https://x.org/id/7",
            ),
            (&[("x-iiif-id", "https://x.org/id/7/")], "https://x.org/id/7"),
            (
                &[("x-iiif-id", "https://x.org/id?7")],
                "http://images.example.org/iiif/a",
            ),
            (
                &[("x-iiif-id", "https://x.org/id#7")],
                "http://images.example.org/iiif/a",
            ),
            (
                &[("x-iiif-id", "https:///id")],
                "http://images.example.org/iiif/a",
            ),
            (&[("x-iiif-id", "//x.org/id")], "http://images.example.org/iiif/a"),
            (
                &[("x-iiif-id", "https://x.org/\",\"a\":\"")],
                "http://images.example.org/iiif/a",
            ),
            (
                &[("x-iiif-id", "javascript:1")],
                "http://images.example.org/iiif/a",
            ),
        ] {
            assert_eq!(
                id(
                    &Case {
                        fields,
                        ..Case::default()
                    },
                    "a"
                ),
                Ok(Some(expected.to_owned())),
                "{fields:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn encoded_text_stands_in_a_uri_and_stays(text: Vec<u8>) {
            let once = encode(&text);
            prop_assert!(once.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b)));
            prop_assert_eq!(encode(once.as_bytes()), once);
        }

        #[test]
        fn encoding_keeps_the_meaning(text: Vec<u8>) {
            let decode = crate::protocol::percent::decode;
            prop_assert_eq!(decode(encode(&text).as_bytes()), decode(&text));
        }
    }
}
