//! A small HTTP/1.1 client (RFC 9112): one connection a request, or one kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::reply::Reply;
use crate::wait::PATIENCE;

/// Asks one server.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// A client of a server.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// GET.
    #[must_use]
    pub fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[])
    }

    /// GET of an IIP query.
    #[must_use]
    pub fn iip(&self, query: &str) -> Reply {
        self.get(&format!("/fcgi-bin/iipsrv.fcgi?{query}"))
    }

    /// A request without a body.
    #[must_use]
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(method, target, headers, b"")
    }

    /// POST.
    #[must_use]
    pub fn post(&self, target: &str, body: &[u8]) -> Reply {
        let length = body.len().to_string();
        self.send("POST", target, &[("Content-Length", &length)], body)
    }

    /// A connection that stays open.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut connection = self.connect();
        let mut fields = headers.to_vec();
        fields.push(("Connection", "close"));
        connection.send(method, target, &fields, body);
        let reply = connection.receive(method);
        connection.assert_closed();
        reply
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server takes connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        Self {
            address,
            stream: BufReader::new(stream),
        }
    }

    /// GET on this connection.
    #[must_use]
    pub fn get(&mut self, target: &str) -> Reply {
        self.send("GET", target, &[], b"");
        self.receive("GET")
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Sends a request.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send_raw(&[head.as_bytes(), body].concat());
    }

    /// Reads the reply to a request; its body has the announced length.
    #[must_use]
    pub fn receive(&mut self, method: &str) -> Reply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self
                .stream
                .read_until(b'\n', &mut head)
                .expect("a header in time");
            assert!(read > 0, "the connection ended inside a header: {head:?}");
        }
        let mut reply = Reply::parse(&head, Vec::new());
        let bodiless = method == "HEAD" || matches!(reply.status, 100..200 | 204 | 304);
        if bodiless {
            return reply;
        }
        if let Some(length) = reply.header("Content-Length") {
            reply.body = vec![0; length.parse().expect("a length")];
            self.stream.read_exact(&mut reply.body).expect("a whole body");
        } else if reply.header("Transfer-Encoding") == Some("chunked") {
            reply.body = self.chunks();
        } else {
            self.stream.read_to_end(&mut reply.body).expect("a body in time");
        }
        reply
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the size of a chunk");
            let size = usize::from_str_radix(line.trim_end(), 16).expect("the size of a chunk");
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).expect("a chunk");
            assert!(chunk.ends_with(b"\r\n"));
            chunk.truncate(size);
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Reads the reply to a GET as far as it comes; tells whether that was to its end.
    #[must_use]
    pub fn receive_what_comes(&mut self) -> (Reply, bool) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self
                .stream
                .read_until(b'\n', &mut head)
                .expect("a header in time");
            assert!(read > 0, "the connection ended inside a header: {head:?}");
        }
        let mut reply = Reply::parse(&head, Vec::new());
        assert_eq!(reply.header("Transfer-Encoding"), Some("chunked"));
        loop {
            let mut line = String::new();
            // A connection that is reset has ended as well.
            if self.stream.read_line(&mut line).is_err() || !line.ends_with("\r\n") {
                return (reply, false);
            }
            let size = usize::from_str_radix(line.trim_end(), 16).expect("the size of a chunk");
            let mut chunk = vec![0; size + 2];
            if self.stream.read_exact(&mut chunk).is_err() {
                return (reply, false);
            }
            chunk.truncate(size);
            if size == 0 {
                return (reply, true);
            }
            reply.body.extend_from_slice(&chunk);
        }
    }

    /// The server has closed this connection, with nothing left to read.
    ///
    /// # Panics
    /// When it has not.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "bytes after the reply: {rest:?}"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }
}
