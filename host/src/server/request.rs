//! A request in terms no transport owns.

use std::net::IpAddr;

/// HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    /// Any other, as sent.
    Other(String),
}

impl Method {
    /// The method of a name; names are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Transport {
    FastCgi,
    Http,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// How it came in.
    pub transport: Transport,
    /// Method; GET if a web server sends none.
    pub method: Method,
    /// The raw path as sent, starting with `/`, without the query; empty if the web server sends neither
    /// `REQUEST_URI` nor `SCRIPT_NAME`.
    pub path: String,
    /// The raw query without `?`; empty if there is none.
    pub query: Vec<u8>,
    /// The body, complete and within limits.
    pub body: Vec<u8>,
    /// Header fields, names in lower case, in the order received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The connection to the web server or to this host is encrypted (`HTTPS=on`, `REQUEST_SCHEME=https`).
    pub https: bool,
    /// `SERVER_NAME[:SERVER_PORT]` of the web server, for requests without a `Host` field.
    pub server_name: Option<String>,
    /// Address of the TCP peer (HTTP) or `REMOTE_ADDR` (FastCGI).
    pub peer: Option<IpAddr>,
}

impl Request {
    /// A GET of nothing.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            method: Method::Get,
            path: String::new(),
            query: Vec::new(),
            body: Vec::new(),
            headers: Vec::new(),
            https: false,
            server_name: None,
            peer: None,
        }
    }

    /// The value of a header field by its lower-case name, the first one if it is repeated.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice())
    }

    /// The value of a header field as text, `None` if it is absent or not UTF-8.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|v| std::str::from_utf8(v).ok())
    }
}
