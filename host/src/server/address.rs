//! Addresses as an operator writes them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// Which of the machine's addresses.
        host: Host,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A UNIX stream socket.
    Unix(PathBuf),
}

/// The host part of a TCP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Every address of the machine, IPv4 and IPv6: `*:9000` or `:9000`.
    Any,
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// One IPv6 address, written in brackets. `[::]` is IPv6 alone.
    V6(Ipv6Addr),
    /// A name, looked up when the socket is opened.
    Name(String),
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address to listen on: {reason}")]
pub struct AddressError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const BAD_PORT: &str = "the port must be a number from 0 to 65535";

impl FromStr for ListenAddress {
    type Err = AddressError;

    /// Reads `host:port`, `[v6]:port`, `*:port`, `:port` or the path of a UNIX socket.
    ///
    /// Whatever holds a `/` is a path, with or without `unix:` before it, and so is a text without a colon.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = |reason| {
            Err(AddressError {
                text: text.to_owned(),
                reason,
            })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.contains('\0') {
            return refuse("it holds a NUL");
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                refuse("the path after unix: is missing")
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("write a colon before a port, or ./ before the name of a socket");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Ok(Self::Unix(text.into()));
        };
        let host = match host {
            "" | "*" => Host::Any,
            v6 if v6.starts_with('[') => {
                match v6
                    .strip_prefix('[')
                    .and_then(|h| h.strip_suffix(']'))
                    .map(str::parse)
                {
                    Some(Ok(address)) => Host::V6(address),
                    _ => return refuse("the text in brackets must be an IPv6 address"),
                }
            }
            v6 if v6.contains(':') => return refuse("an IPv6 address must be in brackets, as in [::1]:9000"),
            name => name
                .parse()
                .map_or_else(|_| Host::Name(name.to_owned()), Host::V4),
        };
        // `u16::from_str` alone would accept a plus sign.
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return refuse(BAD_PORT);
        }
        match port.parse() {
            Ok(port) => Ok(Self::Tcp { host, port }),
            Err(_) => refuse(BAD_PORT),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: Host, port: u16) -> Result<ListenAddress, AddressError> {
        Ok(ListenAddress::Tcp { host, port })
    }

    #[test]
    fn tcp_addresses_of_every_form_are_read() {
        assert_eq!("127.0.0.1:9000".parse(), tcp(Host::V4(Ipv4Addr::LOCALHOST), 9000));
        assert_eq!("[::1]:9000".parse(), tcp(Host::V6(Ipv6Addr::LOCALHOST), 9000));
        assert_eq!("*:9000".parse(), tcp(Host::Any, 9000));
        assert_eq!(":0".parse(), tcp(Host::Any, 0));
        assert_eq!(
            "images.example.org:65535".parse(),
            tcp(Host::Name("images.example.org".into()), 65535)
        );
    }

    #[test]
    fn paths_of_sockets_are_read() {
        for text in ["/run/iiphost.sock", "./a:9000", "iiphost.sock", "a/b"] {
            assert_eq!(text.parse(), Ok(ListenAddress::Unix(text.into())), "{text}");
        }
        assert_eq!("unix:/run/x".parse(), Ok(ListenAddress::Unix("/run/x".into())));
    }

    #[test]
    fn bad_addresses_are_refused_with_a_sentence() {
        for text in [
            "",
            "9000",
            "unix:",
            "a\0b",
            "host:99999",
            "host:",
            "host:port",
            "host:-1",
            "host:+1",
            "::1:9000",
            "[::1:9000",
            "[::x]:9000",
            "[::1]9000",
        ] {
            let refused = text.parse::<ListenAddress>();
            assert!(refused.is_err(), "{text} gave {refused:?}");
        }
        assert_eq!(
            "host:99999".parse::<ListenAddress>().map_err(|e| e.to_string()),
            Err(
                r#""host:99999" is not an address to listen on: the port must be a number from 0 to 65535"#
                    .into()
            )
        );
    }

    #[test]
    fn an_address_is_printed_as_it_is_read() {
        for text in ["127.0.0.1:1", "[::1]:9000", "*:9000", "name:80", "/run/x.sock"] {
            assert_eq!(
                text.parse::<ListenAddress>().map(|a| a.to_string()).as_deref(),
                Ok(text)
            );
        }
    }
}
