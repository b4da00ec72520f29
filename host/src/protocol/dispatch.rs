//! From a request to the protocol that answers it.

use crate::error::Error;
use crate::protocol::argument::Argument;
use crate::protocol::iiif::Target;
use crate::protocol::uri_map::{Mounted, Protocol, UriMap};
use crate::server::{Method, Request, Transport};

/// The path of the query endpoint over HTTP; web servers in front name their own.
pub const QUERY_ENDPOINT: &str = "/fcgi-bin/iipsrv.fcgi";

/// Paths over HTTP that a map of everything (`=>IIIF`) does not take.
const OWN_PATHS: [&str; 6] = [
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    QUERY_ENDPOINT,
];

/// The protocol of a request and the text it has to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A path of the IIIF Image API.
    Iiif(Target),
    /// A path of Deep Zoom.
    DeepZoom(Argument),
    /// A path of Zoomify.
    Zoomify(Argument),
    /// A path of IIP: the value of `FIF`, then `&` and further commands.
    Iip {
        /// The raw text.
        raw: Vec<u8>,
    },
    /// Commands in the query or, if that is empty, in the body; empty if there are none.
    Query {
        /// The raw text.
        commands: Vec<u8>,
    },
    /// A mount without anything behind it: 404.
    MappedRoot,
    /// No protocol's: pages, files and measurements of the host itself.
    Unmatched,
}

impl Route {
    /// The route of a request.
    ///
    /// Configured mounts come first. Over HTTP the built-in mounts and the query endpoint follow. Over
    /// FastCGI the web server has chosen this program for any path, so all else is a query; the built-in
    /// mounts are tried if neither a map nor a query says what is wanted.
    #[must_use]
    pub fn of(request: &Request, map: &UriMap) -> Self {
        let path = request.path.as_str();
        let http = request.transport == Transport::Http;
        let configured = map
            .find(path)
            .filter(|mount| !(http && mount.prefix.is_empty() && OWN_PATHS.contains(&path)));
        if let Some(mount) = configured {
            return Self::mounted(mount);
        }
        let built_in = http || (map.is_empty() && request.query.is_empty());
        match UriMap::find_built_in(path).filter(|_| built_in) {
            Some(mount) => Self::mounted(mount),
            None if !http || path == QUERY_ENDPOINT => Self::Query {
                commands: commands(request).to_vec(),
            },
            None => Self::Unmatched,
        }
    }

    fn mounted(mount: Mounted<'_>) -> Self {
        let Some(rest) = mount.rest else {
            return Self::MappedRoot;
        };
        match mount.protocol {
            Protocol::Iip => Self::Iip {
                raw: rest.as_bytes().to_vec(),
            },
            Protocol::Iiif(version) => Self::Iiif(Target::of_path(version, mount.prefix, rest)),
            Protocol::DeepZoom => Self::DeepZoom(Argument::of_path(rest)),
            Protocol::Zoomify => Self::Zoomify(Argument::of_path(rest)),
        }
    }

    /// The methods this route answers, as the value of an `Allow` field.
    #[must_use]
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Query { .. } | Self::Iip { .. } => "GET, HEAD, POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Refuses a method this route does not answer.
    ///
    /// # Errors
    /// 405 with the methods it does.
    pub fn check_method(&self, method: &Method) -> Result<(), Error> {
        match (method, self) {
            (Method::Get | Method::Head | Method::Options, _)
            | (Method::Post, Self::Query { .. } | Self::Iip { .. }) => Ok(()),
            _ => Err(Error::MethodNotAllowed { allow: self.allow() }),
        }
    }
}

/// The query, or the body of a request without one; text editors and `curl -d @file` end it with a line end.
fn commands(request: &Request) -> &[u8] {
    if !request.query.is_empty() {
        return &request.query;
    }
    let body = request.body.as_slice();
    let end = body
        .iter()
        .rposition(|b| !matches!(b, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    body.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fake::request;

    fn route(transport: Transport, map: &str, path: &str, query: &str) -> Route {
        let mut request = request(path);
        request.transport = transport;
        request.query = query.into();
        Route::of(&request, &UriMap::parse(map).0)
    }

    fn iiif(version: Option<u8>, mount: &str, rest: &str) -> Route {
        Route::Iiif(Target::of_path(version, mount, rest))
    }

    fn query(commands: &str) -> Route {
        Route::Query {
            commands: commands.into(),
        }
    }

    #[test]
    fn http_has_configured_then_built_in_mounts() {
        for (map, path, expected) in [
            (
                "",
                "/iiif/test.tif/info.json",
                iiif(None, "iiif", "test.tif/info.json"),
            ),
            (
                "",
                "/iiif/2/test.tif/info.json",
                iiif(Some(2), "iiif/2", "test.tif/info.json"),
            ),
            ("", "/iiif/3/test.tif", iiif(Some(3), "iiif/3", "test.tif")),
            ("", "/iiif/20/test.tif", iiif(None, "iiif", "20/test.tif")),
            (
                "iiif=>IIIF",
                "/iiif/2/x/info.json",
                iiif(None, "iiif", "2/x/info.json"),
            ),
            ("", "/deepzoom/a.dzi", Route::DeepZoom(Argument::of_path("a.dzi"))),
            (
                "",
                "/zoomify/a/ImageProperties.xml",
                Route::Zoomify(Argument::of_path("a/ImageProperties.xml")),
            ),
            (
                "d=>DeepZoom",
                "/d/a.dzi",
                Route::DeepZoom(Argument::of_path("a.dzi")),
            ),
            (
                "d=>DeepZoom",
                "/deepzoom/a.dzi",
                Route::DeepZoom(Argument::of_path("a.dzi")),
            ),
            (
                "iip=>IIP",
                "/iip/a.tif&OBJ=Max-size",
                Route::Iip {
                    raw: b"a.tif&OBJ=Max-size".to_vec(),
                },
            ),
            (
                "iiif=>IIIF",
                "/iiif/am&p.tif/info.json",
                iiif(None, "iiif", "am&p.tif/info.json"),
            ),
            ("", "/iiif", Route::MappedRoot),
            ("", "/iiif/2", Route::MappedRoot),
            ("", "/iiif/2/", Route::MappedRoot),
            ("", "/zoomify/", Route::MappedRoot),
            ("", "/", Route::Unmatched),
            ("", "/health", Route::Unmatched),
            ("=>IIIF", "/health", Route::Unmatched),
            ("=>IIIF", "/", Route::Unmatched),
            ("=>IIIF", "/iiif/x", iiif(None, "", "iiif/x")),
            ("", "/viewer.js", Route::Unmatched),
            ("", "/iiifx/a", Route::Unmatched),
        ] {
            assert_eq!(route(Transport::Http, map, path, ""), expected, "{map} {path}");
        }
        assert_eq!(
            route(Transport::Http, "", QUERY_ENDPOINT, "FIF=a"),
            query("FIF=a")
        );
        assert_eq!(
            route(Transport::Http, "=>IIIF", QUERY_ENDPOINT, "FIF=a"),
            query("FIF=a")
        );
        assert_eq!(route(Transport::Http, "", QUERY_ENDPOINT, ""), query(""));
        assert_eq!(
            route(Transport::Http, "", "/iiif/a/info.json", "x=1"),
            iiif(None, "iiif", "a/info.json")
        );
    }

    #[test]
    fn fastcgi_has_configured_mounts_then_the_query() {
        for (map, path, query_text, expected) in [
            (
                "iiif=>IIIF",
                "/iiif/test.tif/info.json",
                "x=1",
                iiif(None, "iiif", "test.tif/info.json"),
            ),
            (
                "a/b=>DeepZoom",
                "/a/b/test.tif.dzi",
                "",
                Route::DeepZoom(Argument::of_path("test.tif.dzi")),
            ),
            (
                "iiif=>IIIF",
                "/iiif/2/x/info.json",
                "",
                iiif(None, "iiif", "2/x/info.json"),
            ),
            ("=>IIIF", "/cgi", "FIF=test.tif", iiif(None, "", "cgi")),
            ("iiif=>IIIF", "/cgi", "FIF=test.tif", query("FIF=test.tif")),
            ("iiif=>IIIF", "/iiif/", "", Route::MappedRoot),
            ("iiif=>IIIF", "/zoomify/x/ImageProperties.xml", "", query("")),
            (
                "",
                "/iiif/2/x/info.json",
                "",
                iiif(Some(2), "iiif/2", "x/info.json"),
            ),
            ("", "/iiif/2/x/info.json", "FIF=a", query("FIF=a")),
            ("bad entry", "/iiif/x", "", iiif(None, "iiif", "x")),
            ("", "/fcgi-bin/iipsrv.fcgi", "FIF=a&OBJ=b", query("FIF=a&OBJ=b")),
            ("", "/", "", query("")),
            ("", "", "IIIF=a", query("IIIF=a")),
        ] {
            assert_eq!(
                route(Transport::FastCgi, map, path, query_text),
                expected,
                "{map} {path} {query_text}"
            );
        }
    }

    #[test]
    fn the_body_is_read_when_the_query_is_empty() {
        let mut posted = request(QUERY_ENDPOINT);
        posted.method = Method::Post;
        posted.body = b"IIIF=a/info.json\r\n".to_vec();
        assert_eq!(Route::of(&posted, &UriMap::default()), query("IIIF=a/info.json"));
        posted.query = b"FIF=a".to_vec();
        assert_eq!(Route::of(&posted, &UriMap::default()), query("FIF=a"));
        posted.query.clear();
        posted.body = b"\r\n\n".to_vec();
        assert_eq!(Route::of(&posted, &UriMap::default()), query(""));
    }

    #[test]
    fn post_is_for_commands_only() {
        let put = Method::Other("PUT".into());
        for (route, allow) in [
            (query("FIF=a"), "GET, HEAD, POST, OPTIONS"),
            (Route::Iip { raw: b"a".to_vec() }, "GET, HEAD, POST, OPTIONS"),
            (iiif(None, "iiif", "a"), "GET, HEAD, OPTIONS"),
            (Route::DeepZoom(Argument::of_path("a")), "GET, HEAD, OPTIONS"),
            (Route::MappedRoot, "GET, HEAD, OPTIONS"),
        ] {
            assert_eq!(route.allow(), allow);
            for method in [Method::Get, Method::Head, Method::Options] {
                assert!(route.check_method(&method).is_ok());
            }
            assert_eq!(route.check_method(&Method::Post).is_ok(), allow.contains("POST"));
            let refused = route.check_method(&put).unwrap_err();
            assert!(matches!(refused, Error::MethodNotAllowed { allow: a } if a == allow));
        }
    }

    proptest! {
        #[test]
        fn any_path_and_map_has_a_route(path in ".{0,40}", map in ".{0,40}", query: Vec<u8>) {
            for transport in [Transport::Http, Transport::FastCgi] {
                let mut request = request(&path);
                request.transport = transport;
                request.query = query.clone();
                let _ = Route::of(&request, &UriMap::parse(&map).0);
            }
        }
    }
}
