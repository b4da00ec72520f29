//! What the listeners are told.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::ListenAddress;

/// Where to listen, and how much one client may ask for.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// Addresses for FastCGI.
    pub fastcgi: Vec<ListenAddress>,
    /// Addresses for HTTP.
    pub http: Vec<ListenAddress>,
    /// Serve FastCGI on file descriptor 0, a listening socket given by spawn-fcgi or a web server.
    pub inherited: bool,
    /// Connections the system queues before they are accepted; it may cap the number.
    pub backlog: u32,
    /// Permission bits of UNIX sockets; without them the umask decides.
    pub socket_mode: Option<u32>,
    /// `FCGI_WEB_SERVER_ADDRS`: the only addresses FastCGI connections over TCP may come from; empty = any.
    pub allowed_web_servers: Vec<Ipv4Addr>,
    /// Connections served at a time, all listeners together. Some more get a 503, the rest wait in the
    /// system's queue.
    pub max_connections: usize,
    /// Threads that read and write sockets.
    pub io_threads: usize,
    /// Sizes of a request.
    pub intake: IntakeLimits,
    /// How long a client may take.
    pub timeouts: Timeouts,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            fastcgi: Vec::new(),
            http: Vec::new(),
            inherited: false,
            backlog: 2048,
            socket_mode: None,
            allowed_web_servers: Vec::new(),
            max_connections: 1024,
            // Every I/O thread wakes for a new connection, so more than a few cost more than they carry.
            io_threads: std::thread::available_parallelism().map_or(2, |n| n.get().min(4)),
            intake: IntakeLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Sizes of a request, checked while it arrives.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// All FastCGI parameters of a request, or the head of an HTTP request: 400, 431.
    pub max_head_bytes: usize,
    /// The query: 414.
    pub max_query_bytes: usize,
    /// The body: 413.
    pub max_body_bytes: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            max_head_bytes: 256 << 10,
            max_query_bytes: 64 << 10,
            max_body_bytes: 64 << 10,
        }
    }
}

/// How long a client may take. Time spent on the answer is not counted here.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to its last.
    pub receive: Duration,
    /// Between requests on a connection kept open, and before its first byte.
    pub idle: Duration,
    /// Without the client taking a byte of the reply.
    pub send: Duration,
    /// For running requests after the order to stop.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            receive: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            send: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}
