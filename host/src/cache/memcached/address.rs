//! Where a memcached server is.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of memcached where none is named.
const DEFAULT_PORT: u16 = 11_211;

/// A server of `MEMCACHED_SERVERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// `host`, `host:port`, `[ip6]` or `[ip6]:port`.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// The path of a UNIX socket, beginning with `/`.
    Unix(PathBuf),
}

/// A text that names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not host, host:port, [ip6]:port or the path of a socket")]
pub struct BadAddress;

impl FromStr for ServerAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(BadAddress)?;
                host.parse::<Ipv6Addr>().map_err(|_| BadAddress)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(BadAddress)?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_plain = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(BadAddress);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) => digits.parse().ok().filter(|&p| p > 0).ok_or(BadAddress)?,
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_say() {
        for (text, full) in [
            ("localhost", "localhost:11211"),
            ("cache-1.example.org:1234", "cache-1.example.org:1234"),
            ("10.0.0.1", "10.0.0.1:11211"),
            ("[::1]", "[::1]:11211"),
            ("[fe80::1]:99", "[fe80::1]:99"),
            ("/run/memcached.sock", "/run/memcached.sock"),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), full);
            assert_eq!(full.parse(), Ok(address));
        }
        for wrong in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:99999",
            "a:b:c",
            "::1",
            "[x]:1",
            "[::1]1",
            "a b",
            "--SERVER=x",
        ] {
            assert_eq!(wrong.parse::<ServerAddress>(), Err(BadAddress), "{wrong}");
        }
    }
}
