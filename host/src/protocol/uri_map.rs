//! Which paths belong to which protocol: `URI_MAP` and the built-in mounts.

use crate::server::Transport;

/// A protocol a path can be mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Internet Imaging Protocol; the path holds the value of `FIF` and further commands.
    Iip,
    /// The IIIF Image API, of a fixed major version or of the configured one.
    Iiif(Option<u8>),
    /// Deep Zoom.
    DeepZoom,
    /// Zoomify.
    Zoomify,
}

impl Protocol {
    /// The protocol of a word in `URI_MAP`, in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "iip" => Self::Iip,
            "iiif" => Self::Iiif(None),
            "iiif2" => Self::Iiif(Some(2)),
            "iiif3" => Self::Iiif(Some(3)),
            "deepzoom" => Self::DeepZoom,
            "zoomify" => Self::Zoomify,
            _ => return None,
        })
    }
}

/// Mounts that need no configuration.
const BUILT_IN: [(&str, Protocol); 5] = [
    ("iiif/2", Protocol::Iiif(Some(2))),
    ("iiif/3", Protocol::Iiif(Some(3))),
    ("iiif", Protocol::Iiif(None)),
    ("deepzoom", Protocol::DeepZoom),
    ("zoomify", Protocol::Zoomify),
];

/// The value of `URI_MAP`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UriMap {
    /// Prefixes without slashes at their ends, longest first.
    entries: Vec<(String, Protocol)>,
}

/// A path found under a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mounted<'a> {
    /// The protocol mounted there.
    pub protocol: Protocol,
    /// The mount without slashes at its ends.
    pub prefix: &'a str,
    /// The path after the mount and its slash; `None` if the path ends with the mount.
    pub rest: Option<&'a str>,
}

impl UriMap {
    /// Parses a comma-separated list of `prefix=>protocol`. A malformed entry is left out; the second
    /// value says, entry by entry, what was wrong.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut entries: Vec<(String, Protocol)> = Vec::new();
        let mut warnings = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let Some((prefix, word)) = entry.split_once("=>") else {
                warnings.push(format!("\"{entry}\" is not prefix=>protocol"));
                continue;
            };
            let prefix = prefix.trim().trim_matches('/');
            let Some(protocol) = Protocol::from_word(word.trim()) else {
                warnings.push(format!(
                    "\"{entry}\" names no protocol, expected IIP, IIIF, IIIF2, IIIF3, DeepZoom or Zoomify"
                ));
                continue;
            };
            if entries.iter().any(|(known, _)| known == prefix) {
                warnings.push(format!("\"{entry}\" maps a prefix that an earlier entry maps"));
                continue;
            }
            entries.push((prefix.to_owned(), protocol));
        }
        entries.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        (Self { entries }, warnings)
    }

    /// Whether nothing is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The longest configured prefix of a path, by whole segments.
    #[must_use]
    pub fn find<'a>(&'a self, path: &'a str) -> Option<Mounted<'a>> {
        self.entries
            .iter()
            .find_map(|(prefix, protocol)| mounted(path, prefix, *protocol))
    }

    /// The built-in mount of a path.
    #[must_use]
    pub fn find_built_in(path: &str) -> Option<Mounted<'_>> {
        BUILT_IN
            .iter()
            .find_map(|(prefix, protocol)| mounted(path, prefix, *protocol))
    }

    /// The mount, without slashes at its ends, of a IIIF endpoint with this fixed version, if requests that
    /// come in like this one reach it.
    ///
    /// A web server that sends queries over FastCGI says nothing about paths, so there the built-in mounts
    /// count only for a request that came by path itself.
    #[must_use]
    pub fn fixed_endpoint(&self, version: u8, transport: Transport, by_path: bool) -> Option<&str> {
        let wanted = Protocol::Iiif(Some(version));
        let built_in_reached = transport == Transport::Http || (by_path && self.is_empty());
        let built_in = BUILT_IN.iter().filter(|_| built_in_reached);
        self.entries
            .iter()
            .map(|(prefix, protocol)| (prefix.as_str(), *protocol))
            .chain(built_in.copied())
            // A built-in mount can lie behind a configured one: `iiif=>IIIF` takes `/iiif/2/…` too.
            .find(|(prefix, protocol)| {
                *protocol == wanted
                    && self
                        .find(&format!("/{prefix}/x"))
                        .is_none_or(|found| found.protocol == wanted && found.prefix == *prefix)
            })
            .map(|(prefix, _)| prefix)
    }
}

/// The rest of a path behind a prefix, by whole segments.
fn mounted<'a>(path: &'a str, prefix: &'a str, protocol: Protocol) -> Option<Mounted<'a>> {
    let path = path.strip_prefix('/')?;
    let rest = if prefix.is_empty() {
        Some(path)
    } else {
        match path.strip_prefix(prefix)? {
            "" => None,
            rest => Some(rest.strip_prefix('/')?),
        }
    };
    Some(Mounted {
        protocol,
        prefix,
        rest: rest.filter(|rest| !rest.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_trimmed_and_bad_ones_reported() {
        let (map, warnings) =
            UriMap::parse(" /a/b/=>deepzoom, iiif=>IIIF ,x=>IIIF2,nonsense,y=>PDF,,x=>IIP,=>iip");
        assert_eq!(
            map.entries,
            [
                ("iiif".to_owned(), Protocol::Iiif(None)),
                ("a/b".to_owned(), Protocol::DeepZoom),
                ("x".to_owned(), Protocol::Iiif(Some(2))),
                (String::new(), Protocol::Iip),
            ]
        );
        assert_eq!(warnings.len(), 3);
        for (warning, entry) in warnings.iter().zip(["nonsense", "y=>PDF", "x=>IIP"]) {
            assert!(warning.contains(entry), "{warning}");
        }
        assert_eq!(UriMap::parse(""), (UriMap::default(), Vec::new()));
        assert_eq!(UriMap::parse("a=>IIIF=>IIP").1.len(), 1);
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let (map, _) = UriMap::parse("iiif=>IIIF,iiif/raw=>DeepZoom,z=>Zoomify");
        for (path, found) in [
            (
                "/iiif/test.tif/info.json",
                Some((Protocol::Iiif(None), Some("test.tif/info.json"))),
            ),
            ("/iiif/raw/x.dzi", Some((Protocol::DeepZoom, Some("x.dzi")))),
            (
                "/iiif/rawx/info.json",
                Some((Protocol::Iiif(None), Some("rawx/info.json"))),
            ),
            ("/iiifx/test.tif/info.json", None),
            ("/iiif", Some((Protocol::Iiif(None), None))),
            ("/iiif/", Some((Protocol::Iiif(None), None))),
            ("/iiif//x", Some((Protocol::Iiif(None), Some("/x")))),
            ("/a/iiif/x", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(map.find(path).map(|m| (m.protocol, m.rest)), found, "{path}");
        }
        let (all, _) = UriMap::parse("=>IIIF");
        assert_eq!(all.find("/cgi").and_then(|m| m.rest), Some("cgi"));
        assert_eq!(all.find("/").map(|m| m.rest), Some(None));
    }

    #[test]
    fn fixed_endpoints_exist_only_where_they_are_reached() {
        let unset = UriMap::default();
        assert_eq!(unset.fixed_endpoint(2, Transport::Http, false), Some("iiif/2"));
        assert_eq!(unset.fixed_endpoint(2, Transport::FastCgi, true), Some("iiif/2"));
        assert_eq!(unset.fixed_endpoint(2, Transport::FastCgi, false), None);
        assert_eq!(unset.fixed_endpoint(1, Transport::Http, true), None);
        let (shadowed, _) = UriMap::parse("iiif=>IIIF");
        assert_eq!(shadowed.fixed_endpoint(3, Transport::Http, true), None);
        let (own, _) = UriMap::parse("iiif=>IIIF,old=>IIIF2");
        assert_eq!(own.fixed_endpoint(2, Transport::FastCgi, false), Some("old"));
        assert_eq!(own.fixed_endpoint(3, Transport::FastCgi, true), None);
    }
}
