//! A FastCGI client (FastCGI specification 1.0): well-behaved requests, and bytes as odd as wanted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::reply::Reply;
use crate::wait::PATIENCE;

/// Record types (section 8).
#[allow(missing_docs)]
pub mod kind {
    pub const BEGIN_REQUEST: u8 = 1;
    pub const ABORT_REQUEST: u8 = 2;
    pub const END_REQUEST: u8 = 3;
    pub const PARAMS: u8 = 4;
    pub const STDIN: u8 = 5;
    pub const STDOUT: u8 = 6;
    pub const STDERR: u8 = 7;
    pub const GET_VALUES: u8 = 9;
    pub const GET_VALUES_RESULT: u8 = 10;
    pub const UNKNOWN_TYPE: u8 = 11;
}

/// The role of a server that answers requests.
pub const RESPONDER: u16 = 1;

/// `protocolStatus` of END_REQUEST (section 5.5).
#[allow(missing_docs)]
pub mod status {
    pub const REQUEST_COMPLETE: u8 = 0;
    pub const CANT_MPX_CONN: u8 = 1;
    pub const OVERLOADED: u8 = 2;
    pub const UNKNOWN_ROLE: u8 = 3;
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: u8,
    /// Its request, 0 for management.
    pub id: u16,
    /// Its content without padding.
    pub content: Vec<u8>,
}

/// What a request was answered with.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The reply, `None` if nothing was sent before the end.
    pub reply: Option<Reply>,
    /// `appStatus`.
    pub app_status: u32,
    /// `protocolStatus`.
    pub protocol_status: u8,
}

/// The bytes of a record, padded to a multiple of eight.
#[must_use]
pub fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("the content fits a record");
    let padding = (8 - content.len() % 8) % 8;
    let [id_high, id_low] = id.to_be_bytes();
    let [high, low] = length.to_be_bytes();
    let mut bytes = vec![1, kind, id_high, id_low, high, low, padding as u8, 0];
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

/// BEGIN_REQUEST.
#[must_use]
pub fn begin(id: u16, role: u16, keep: bool) -> Vec<u8> {
    let [high, low] = role.to_be_bytes();
    record(
        kind::BEGIN_REQUEST,
        id,
        &[high, low, u8::from(keep), 0, 0, 0, 0, 0],
    )
}

/// Name-value pairs (section 3.4).
#[must_use]
pub fn pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(list: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in list {
        let (name, value) = (name.as_ref(), value.as_ref());
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(short @ 0..0x80) => bytes.push(short),
                _ => bytes.extend((text.len() as u32 | 0x8000_0000).to_be_bytes()),
            }
        }
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// A stream in records of at most `size` bytes, with the empty record that ends it.
#[must_use]
pub fn stream(kind: u8, id: u16, content: &[u8], size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = content
        .chunks(size)
        .flat_map(|part| record(kind, id, part))
        .collect();
    bytes.extend(record(kind, id, b""));
    bytes
}

/// The parameters a web server sends for a GET of a path with a query.
#[must_use]
pub fn get_params(target: &str) -> Vec<(String, String)> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", target),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "images.test"),
        ("SERVER_PORT", "80"),
        ("HTTP_HOST", "images.test"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// All bytes of a GET.
#[must_use]
pub fn get(id: u16, target: &str, keep: bool) -> Vec<u8> {
    request(id, &get_params(target), b"", keep, 0xfff8)
}

/// All bytes of a request, its streams in records of at most `size` bytes.
#[must_use]
pub fn request(id: u16, params: &[(String, String)], body: &[u8], keep: bool, size: usize) -> Vec<u8> {
    [
        begin(id, RESPONDER, keep),
        stream(kind::PARAMS, id, &pairs(params), size),
        stream(kind::STDIN, id, body, size),
    ]
    .concat()
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct FastCgi(Stream);

impl FastCgi {
    /// Connects over TCP.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("small writes are sent at once");
        Self(Stream::Tcp(stream))
    }

    /// Connects to a UNIX socket.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the server takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        Self(Stream::Unix(stream))
    }

    /// Asks for a path with a query and reads the whole answer; the server closes the connection.
    #[must_use]
    pub fn get(mut self, target: &str) -> Reply {
        self.send(&get(1, target, false));
        let reply = self.finish(1).reply.expect("a reply");
        self.assert_closed();
        reply
    }

    /// Asks an IIP query.
    #[must_use]
    pub fn iip(self, query: &str) -> Reply {
        self.get(&format!("/fcgi-bin/iipsrv.fcgi?{query}"))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server reads");
    }

    /// Sends bytes to a server that may have closed the connection.
    ///
    /// # Errors
    /// When it has.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match &mut self.0 {
            Stream::Tcp(stream) => stream.read_exact(bytes),
            Stream::Unix(stream) => stream.read_exact(bytes),
        }
    }

    /// The next record, `None` if the server closed the connection.
    #[must_use]
    pub fn receive(&mut self) -> Option<Record> {
        let mut head = [0; 8];
        match self.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if closed(&e) => return None,
            Err(e) => panic!("no record in time: {e}"),
        }
        let [version, kind, id_high, id_low, high, low, padding, _] = head;
        assert_eq!(version, 1, "a record of version 1");
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        self.read_exact(&mut content).expect("a whole record");
        content.truncate(length);
        Some(Record {
            kind,
            id: u16::from_be_bytes([id_high, id_low]),
            content,
        })
    }

    /// Reads records up to the end of a request.
    #[must_use]
    pub fn finish(&mut self, id: u16) -> Ended {
        let mut output = Vec::new();
        loop {
            let record = self.receive().expect("an answer before the connection is closed");
            assert_eq!(record.id, id, "{record:?}");
            match record.kind {
                kind::STDOUT => output.extend(record.content),
                kind::END_REQUEST => {
                    let [a, b, c, d, protocol_status, ..] = record.content[..] else {
                        panic!("a short END_REQUEST: {record:?}");
                    };
                    return Ended {
                        reply: (!output.is_empty()).then(|| split(&output)),
                        app_status: u32::from_be_bytes([a, b, c, d]),
                        protocol_status,
                    };
                }
                other => panic!("a record of type {other}"),
            }
        }
    }

    /// The server has closed this connection.
    ///
    /// # Panics
    /// When it sends more instead.
    pub fn assert_closed(&mut self) {
        let more = self.receive();
        assert_eq!(more, None, "the connection is closed");
    }
}

fn closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// A CGI reply: header lines, an empty line, the body (RFC 3875, section 6).
fn split(output: &[u8]) -> Reply {
    let end = output.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no end of the header: {:?}", String::from_utf8_lossy(output)));
    Reply::parse(&output[..end], output[end + 4..].to_vec())
}
