//! Which proxies may say how a client addressed them, and what they say.

use std::net::{IpAddr, SocketAddr};

use super::field::{parameter, split_unquoted};
use crate::server::Request;

/// Peers whose forwarding fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    everyone: bool,
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl TrustedProxies {
    /// Parses addresses, networks in CIDR notation and `*` (everyone), separated by commas or blanks.
    ///
    /// # Errors
    /// One sentence about the first entry that is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut trusted = Self::default();
        for entry in text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                trusted.everyone = true;
                continue;
            }
            let network = Network::parse(entry).ok_or_else(|| {
                format!("\"{entry}\" is not an address, a network such as 10.0.0.0/8, or *")
            })?;
            trusted.networks.push(network);
        }
        Ok(trusted)
    }

    /// Whether fields of this peer are believed. An unknown peer (a UNIX socket) is so only by `*`.
    #[must_use]
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        self.everyone || peer.is_some_and(|peer| self.networks.iter().any(|network| network.contains(peer)))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => all_bits,
        };
        (prefix_bits <= all_bits).then_some(Self { address, prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        // A socket for both families shows IPv4 peers as ::ffff:a.b.c.d.
        let address = if self.address.is_ipv4() {
            address.to_canonical()
        } else {
            address
        };
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

/// What trusted proxies say about the request they got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The client spoke TLS to them.
    pub(super) https: Option<bool>,
    /// Host and port the client asked for, not yet checked.
    pub(super) host: Option<String>,
    /// Path the proxy took away.
    pub(super) prefix: Option<String>,
    /// `id` of the image, not yet checked.
    pub(super) image_id: Option<String>,
}

impl Forwarded {
    /// Reads the fields of a request from a trusted peer; from any other they say nothing.
    ///
    /// `Forwarded` (RFC 7239) wins over `X-Forwarded-Proto`, `-Host` and `-Port`. Where several proxies
    /// wrote, the entry counts that the outermost trusted one made: those before it are the client's words.
    pub(super) fn of(request: &Request, trusted: &TrustedProxies) -> Self {
        if !trusted.contains(request.peer) {
            return Self::default();
        }
        let hops = list(request, "x-forwarded-for")
            .iter()
            .rev()
            .take_while(|address| trusted.contains(node_address(address)))
            .count();
        let entry = |name: &str| {
            let list = list(request, name);
            let from_end = hops.min(list.len().checked_sub(1)?);
            list.into_iter().rev().nth(from_end)
        };
        let mut forwarded = match standard(request, trusted) {
            Some(forwarded) => forwarded,
            None => {
                let https = entry("x-forwarded-proto").as_deref().and_then(is_https);
                let host = entry("x-forwarded-host");
                let port = entry("x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
                Self {
                    https,
                    host: with_port(host, port, https),
                    ..Self::default()
                }
            }
        };
        forwarded.prefix = entry("x-forwarded-prefix").filter(|prefix| prefix.starts_with('/'));
        forwarded.image_id = request
            .header_text("x-iiif-id")
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty());
        forwarded
    }
}

/// The `Forwarded` field, `None` if there is none or it tells neither scheme nor host.
fn standard(request: &Request, trusted: &TrustedProxies) -> Option<Forwarded> {
    let mut forwarded = Forwarded::default();
    for element in list(request, "forwarded").iter().rev() {
        let mut node = None;
        for (name, value) in split_unquoted(element, ';').filter_map(parameter) {
            match name.as_str() {
                "proto" => forwarded.https = is_https(value).or(forwarded.https),
                "host" if !value.is_empty() => forwarded.host = Some(value.to_owned()),
                "for" => node = node_address(value),
                _ => {}
            }
        }
        if !trusted.contains(node) {
            break;
        }
    }
    (forwarded.https.is_some() || forwarded.host.is_some()).then_some(forwarded)
}

/// The entries of a list field that may be repeated; empty ones do not count.
fn list(request: &Request, name: &str) -> Vec<String> {
    request
        .headers
        .iter()
        .filter(|(n, _)| n == name)
        .flat_map(|(_, value)| {
            let value = String::from_utf8_lossy(value);
            split_unquoted(&value, ',')
                .map(|entry| entry.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// The address of a node (RFC 7239 section 6): with or without port, IPv6 in brackets.
fn node_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let plain = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    plain().or_else(bracketed).or_else(with_port)
}

fn is_https(scheme: &str) -> Option<bool> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Some(true),
        "http" => Some(false),
        _ => None,
    }
}

/// Adds a port to a host that names none, unless it is the scheme's own.
fn with_port(host: Option<String>, port: Option<u16>, https: Option<bool>) -> Option<String> {
    let host = host?;
    let default_port = if https == Some(true) { 443 } else { 80 };
    // Behind the bracket of an IPv6 address, a colon begins the port.
    let named = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    match port {
        Some(port) if port != default_port && !named => Some(format!("{host}:{port}")),
        _ => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fake::request;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn proxies_are_addresses_networks_or_everyone() {
        let trusted = TrustedProxies::parse("10.0.0.0/8, 192.0.2.7 ::1,2001:db8::/32").unwrap();
        for (peer, expected) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(trusted.contains(ip(peer)), expected, "{peer}");
        }
        assert!(!trusted.contains(None));
        let everyone = TrustedProxies::parse("*").unwrap();
        assert!(everyone.contains(None) && everyone.contains(ip("198.51.100.1")));
        assert!(!TrustedProxies::parse("").unwrap().contains(ip("127.0.0.1")));
        assert!(
            TrustedProxies::parse("0.0.0.0/0")
                .unwrap()
                .contains(ip("1.2.3.4"))
        );
        for text in [
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "10.0.0",
            "1.2.3.4:80",
        ] {
            assert!(TrustedProxies::parse(text).unwrap_err().contains(text), "{text}");
        }
    }

    fn read(trusted: &str, fields: &[(&str, &str)]) -> Forwarded {
        let mut request = request("/");
        let fields = fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec()));
        request.headers.extend(fields);
        Forwarded::of(&request, &TrustedProxies::parse(trusted).unwrap())
    }

    fn said(https: Option<bool>, host: Option<&str>) -> Forwarded {
        Forwarded {
            https,
            host: host.map(str::to_owned),
            ..Forwarded::default()
        }
    }

    #[test]
    fn a_stranger_says_nothing() {
        let fields = [
            ("forwarded", "proto=https;host=evil.org"),
            ("x-forwarded-host", "evil.org"),
            ("x-iiif-id", "https://evil.org/x"),
            ("x-forwarded-prefix", "/x"),
        ];
        assert_eq!(read("", &fields), Forwarded::default());
        assert_eq!(read("10.0.0.2", &fields), Forwarded::default());
        assert_ne!(read("10.0.0.1", &fields), Forwarded::default());
    }

    #[test]
    fn fields_of_a_trusted_proxy_are_read() {
        for (fields, expected) in [
            (
                &[("forwarded", "for=1.2.3.4;Proto=HTTPS;host=\"a.org:8443\"")][..],
                said(Some(true), Some("a.org:8443")),
            ),
            (
                &[("forwarded", "proto=https"), ("x-forwarded-host", "x.org")],
                said(Some(true), None),
            ),
            (
                &[("forwarded", "for=1.2.3.4"), ("x-forwarded-host", "x.org")],
                said(None, Some("x.org")),
            ),
            (
                &[("x-forwarded-proto", "https"), ("x-forwarded-host", "a.org")],
                said(Some(true), Some("a.org")),
            ),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-host", "a.org"),
                    ("x-forwarded-port", "443"),
                ],
                said(Some(true), Some("a.org")),
            ),
            (
                &[("x-forwarded-host", "a.org"), ("x-forwarded-port", "8080")],
                said(None, Some("a.org:8080")),
            ),
            (
                &[("x-forwarded-host", "a.org:1"), ("x-forwarded-port", "8080")],
                said(None, Some("a.org:1")),
            ),
            (
                &[("x-forwarded-host", "[::1]"), ("x-forwarded-port", "8080")],
                said(None, Some("[::1]:8080")),
            ),
            (
                &[("x-forwarded-proto", "ftp"), ("x-forwarded-port", "many")],
                said(None, None),
            ),
        ] {
            assert_eq!(read("10.0.0.1", fields), expected, "{fields:?}");
        }
        let more = read(
            "*",
            &[("x-iiif-id", " https://a.org/x "), ("x-forwarded-prefix", "/img")],
        );
        assert_eq!(more.image_id.as_deref(), Some("https://a.org/x"));
        assert_eq!(more.prefix.as_deref(), Some("/img"));
        assert_eq!(
            read("*", &[("x-forwarded-prefix", "img"), ("x-iiif-id", " ")]),
            Forwarded::default()
        );
    }

    #[test]
    fn the_entry_of_the_outermost_trusted_proxy_counts() {
        let standard = [(
            "forwarded",
            "host=evil.org, for=8.8.8.8;host=outer.org;proto=https, for=10.0.0.9;host=inner.org;proto=http",
        )];
        assert_eq!(read("10.0.0.0/8", &standard), said(Some(true), Some("outer.org")));
        assert_eq!(read("10.0.0.1", &standard), said(Some(false), Some("inner.org")));
        let common = [
            ("x-forwarded-for", "6.6.6.6, 8.8.8.8"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-host", "evil.org, outer.org, inner.org"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(read("10.0.0.0/8", &common), said(Some(true), Some("outer.org")));
        assert_eq!(read("10.0.0.1", &common), said(Some(true), Some("inner.org")));
    }

    #[test]
    fn node_addresses_may_have_ports() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(node_address(text), ip(address), "{text}");
        }
        assert_eq!(node_address("unknown"), None);
        assert_eq!(node_address("_hidden"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_fields_are_read(values in proptest::collection::vec(any::<Vec<u8>>(), 6)) {
            let mut request = request("/");
            let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-iiif-id"];
            request.headers.extend(names.iter().map(|n| (*n).to_owned()).zip(values));
            let _ = Forwarded::of(&request, &TrustedProxies { everyone: true, networks: Vec::new() });
        }
    }
}
