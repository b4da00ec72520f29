//! CGI variables (RFC 3875, section 4.1) to a request.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::params::Pairs;
use super::record::ProtocolError;
use crate::server::{Method, Request, Transport};

/// What the parameters of a request say.
pub(super) struct Head {
    /// The request, without its body.
    pub(super) request: Request,
    /// `CONTENT_LENGTH`.
    pub(super) body_len: BodyLen,
}

/// The announced length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLen {
    /// No `CONTENT_LENGTH`, or an empty one, which some web servers send for "no body".
    Absent,
    Bytes(u64),
    /// Not a number.
    Malformed,
}

/// Reads a complete stream of parameters.
pub(super) fn read_head(stream: &[u8]) -> Result<Head, ProtocolError> {
    let mut request = Request::new(Transport::FastCgi);
    let mut body_len = BodyLen::Absent;
    let (mut uri, mut script, mut path_info): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
    let (mut name, mut port): (&[u8], &[u8]) = (b"", b"");
    for pair in Pairs::new(stream) {
        let (variable, value) = pair?;
        match variable {
            b"REQUEST_METHOD" if !value.is_empty() => {
                request.method = Method::from_name(&String::from_utf8_lossy(value));
            }
            b"QUERY_STRING" => request.query = value.to_vec(),
            b"REQUEST_URI" => uri = value,
            b"SCRIPT_NAME" => script = value,
            b"PATH_INFO" => path_info = value,
            b"CONTENT_LENGTH" => body_len = read_body_len(value),
            b"CONTENT_TYPE" if !value.is_empty() => {
                request.headers.push(("content-type".into(), value.to_vec()))
            }
            b"HTTPS" => request.https |= is_on(value),
            b"REQUEST_SCHEME" => request.https |= value.eq_ignore_ascii_case(b"https"),
            b"SERVER_NAME" => name = value,
            b"SERVER_PORT" => port = value,
            b"REMOTE_ADDR" => request.peer = read_address(value),
            // These two come under their own names.
            b"HTTP_CONTENT_TYPE" | b"HTTP_CONTENT_LENGTH" => {}
            _ => {
                if let Some(field) = variable.strip_prefix(b"HTTP_") {
                    request.headers.push((field_name(field), value.to_vec()));
                }
            }
        }
    }
    request.path = if uri.is_empty() {
        encoded_path(&[script, path_info])
    } else {
        raw_path(uri)
    };
    request.server_name = server_name(name, port, request.https);
    Ok(Head { request, body_len })
}

fn read_body_len(value: &[u8]) -> BodyLen {
    if value.is_empty() {
        return BodyLen::Absent;
    }
    let digits = value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if digits => BodyLen::Bytes(number),
        // Digits alone that are no u64: more than any limit.
        None if digits => BodyLen::Bytes(u64::MAX),
        _ => BodyLen::Malformed,
    }
}

/// `HTTPS` is `on` or `1`; web servers without encryption leave it out, or send `off` (IIS), `0` or nothing.
fn is_on(value: &[u8]) -> bool {
    !(value.is_empty() || value == b"0" || value.eq_ignore_ascii_case(b"off"))
}

fn read_address(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    // A zone (`fe80::1%eth0`) is no part of the address.
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// `IF_NONE_MATCH` is the field `if-none-match` (RFC 3875, section 4.1.18).
fn field_name(variable: &[u8]) -> String {
    variable
        .iter()
        .map(|&b| {
            if b == b'_' {
                '-'
            } else {
                char::from(b.to_ascii_lowercase())
            }
        })
        .collect()
}

/// The path of `REQUEST_URI`, which is what the client sent: raw, with its query, and with scheme and
/// authority if the client wrote them.
fn raw_path(uri: &[u8]) -> String {
    let path = uri.split(|&b| b == b'?').next().unwrap_or_default();
    let path = ["http://", "https://"]
        .iter()
        .find_map(|scheme| {
            let (front, rest) = path.split_at_checked(scheme.len())?;
            front.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
        })
        .map_or(path, |rest| {
            let authority = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            rest.get(authority..).unwrap_or_default()
        });
    match std::str::from_utf8(path) {
        Ok(path) => path.to_owned(),
        // Raw bytes mean the same as their percent-encoding, and identifiers are bytes.
        Err(_) => percent_encoded(path, |b| b.is_ascii()),
    }
}

/// A path from variables that the web server has already decoded.
fn encoded_path(parts: &[&[u8]]) -> String {
    // RFC 3986, section 3.3: what a path may hold unencoded.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b);
    parts.iter().map(|part| percent_encoded(part, plain)).collect()
}

fn percent_encoded(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &b in bytes {
        if plain(b) {
            text.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{b:02X}");
        }
    }
    text
}

fn server_name(name: &[u8], port: &[u8], https: bool) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|n| !n.is_empty())?;
    let name = if name.contains(':') && !name.starts_with('[') {
        format!("[{name}]")
    } else {
        name.to_owned()
    };
    let default_port: u16 = if https { 443 } else { 80 };
    match std::str::from_utf8(port).ok().and_then(|p| p.parse::<u16>().ok()) {
        Some(port) if port != default_port => Some(format!("{name}:{port}")),
        _ => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::params::write_pair;
    use super::*;

    fn head(pairs: &[(&str, &[u8])]) -> Head {
        let mut stream = Vec::new();
        for (name, value) in pairs {
            write_pair(&mut stream, name.as_bytes(), value);
        }
        read_head(&stream).expect("the stream is well-formed")
    }

    fn path(pairs: &[(&str, &[u8])]) -> String {
        head(pairs).request.path
    }

    #[test]
    fn variables_of_a_web_server_become_a_request() {
        let head = head(&[
            ("QUERY_STRING", b"FIF=a.tif&OBJ=Max-size"),
            ("REQUEST_METHOD", b"POST"),
            ("CONTENT_TYPE", b"text/plain"),
            ("CONTENT_LENGTH", b"12"),
            ("REQUEST_URI", b"/fcgi-bin/iipsrv.fcgi?FIF=a.tif&OBJ=Max-size"),
            ("HTTPS", b"on"),
            ("SERVER_NAME", b"images.example.org"),
            ("SERVER_PORT", b"8443"),
            ("REMOTE_ADDR", b"::ffff:192.0.2.7"),
            ("HTTP_HOST", b"images.example.org"),
            ("HTTP_IF_NONE_MATCH", b"\"x\""),
            ("HTTP_CONTENT_LENGTH", b"12"),
        ]);
        let request = head.request;
        assert_eq!(request.transport, Transport::FastCgi);
        assert_eq!(request.method, Method::Post);
        assert_eq!(request.path, "/fcgi-bin/iipsrv.fcgi");
        assert_eq!(request.query, b"FIF=a.tif&OBJ=Max-size");
        assert!(request.https);
        assert_eq!(request.server_name.as_deref(), Some("images.example.org:8443"));
        assert_eq!(request.peer, Some([192, 0, 2, 7].into()));
        assert_eq!(request.header("if-none-match"), Some(&b"\"x\""[..]));
        assert_eq!(request.header("content-type"), Some(&b"text/plain"[..]));
        assert_eq!(request.headers.len(), 3);
        assert_eq!(head.body_len, BodyLen::Bytes(12));
    }

    #[test]
    fn without_variables_it_is_a_get_of_nothing() {
        let head = head(&[]);
        assert_eq!(head.request.method, Method::Get);
        assert_eq!(head.request.path, "");
        assert_eq!(head.request.server_name, None);
        assert_eq!(head.body_len, BodyLen::Absent);
    }

    #[test]
    fn the_path_is_raw_and_ends_at_the_query() {
        assert_eq!(
            path(&[("REQUEST_URI", b"/iiif/a%2Fb%20c/info.json?x?y")]),
            "/iiif/a%2Fb%20c/info.json"
        );
        assert_eq!(path(&[("REQUEST_URI", b"http://host:80/a/b")]), "/a/b");
        assert_eq!(path(&[("REQUEST_URI", b"HTTPS://host")]), "");
        assert_eq!(path(&[("REQUEST_URI", b"/a\xe9%20")]), "/a%E9%20");
        assert_eq!(path(&[("REQUEST_URI", "/é".as_bytes())]), "/é");
    }

    #[test]
    fn a_decoded_path_is_encoded_again() {
        let pairs: [(&str, &[u8]); 2] = [("SCRIPT_NAME", b"/iiif"), ("PATH_INFO", b"/a b%?\xff/0,0/x.jpg")];
        assert_eq!(path(&pairs), "/iiif/a%20b%25%3F%FF/0,0/x.jpg");
    }

    #[test]
    fn encryption_is_read_from_either_variable() {
        for (name, value, https) in [
            ("HTTPS", &b"on"[..], true),
            ("HTTPS", b"1", true),
            ("HTTPS", b"off", false),
            ("HTTPS", b"OFF", false),
            ("HTTPS", b"0", false),
            ("HTTPS", b"", false),
            ("REQUEST_SCHEME", b"https", true),
            ("REQUEST_SCHEME", b"http", false),
        ] {
            assert_eq!(head(&[(name, value)]).request.https, https, "{name}={value:?}");
        }
    }

    #[test]
    fn default_ports_are_not_part_of_the_name() {
        let name = |pairs: &[(&str, &[u8])]| head(pairs).request.server_name;
        assert_eq!(
            name(&[("SERVER_NAME", b"a"), ("SERVER_PORT", b"80")]).as_deref(),
            Some("a")
        );
        assert_eq!(
            name(&[("SERVER_NAME", b"a"), ("SERVER_PORT", b"443"), ("HTTPS", b"1")]).as_deref(),
            Some("a")
        );
        assert_eq!(
            name(&[("SERVER_NAME", b"::1"), ("SERVER_PORT", b"8080")]).as_deref(),
            Some("[::1]:8080")
        );
    }

    #[test]
    fn lengths_that_are_no_number_are_told_apart_from_huge_ones() {
        let len = |value: &[u8]| head(&[("CONTENT_LENGTH", value)]).body_len;
        assert_eq!(len(b""), BodyLen::Absent);
        assert_eq!(len(b"+5"), BodyLen::Malformed);
        assert_eq!(len(b"-1"), BodyLen::Malformed);
        assert_eq!(len(b"99999999999999999999999"), BodyLen::Bytes(u64::MAX));
    }
}
