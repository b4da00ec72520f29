//! memcached as a process: started, killed, and started again on the same port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::server::free_port;
use crate::wait;
use crate::web_server::program;

/// A memcached; it ends with this value.
#[derive(Debug)]
pub struct Memcached {
    child: Child,
    address: SocketAddr,
}

impl Memcached {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let started = (0..5).find_map(|_| {
            let address = ([127, 0, 0, 1], free_port()).into();
            Some(Self {
                child: spawn(address)?,
                address,
            })
        });
        started.expect("five times somebody else took the port")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once; connections to it break.
    pub fn kill(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, empty, on the same port.
    ///
    /// # Panics
    /// When the port is gone.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.address).expect("the port is still free");
    }

    /// A number of `stats`.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let text = self.ask("stats\r\n", "END\r\n");
        let start = format!("STAT {name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|n| n.parse().ok())
            .expect("a number memcached tells")
    }

    /// The keys it holds.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let text = self.ask("lru_crawler metadump all\r\n", "END\r\n");
        let key = |line: &str| Some(line.strip_prefix("key=")?.split(' ').next()?.replace("%3A", ":"));
        text.lines().filter_map(key).collect()
    }

    /// Puts a value of somebody else under a key.
    pub fn put(&self, key: &str, value: &[u8]) {
        let mut stream = TcpStream::connect(self.address).expect("memcached takes connections");
        let head = format!("set {key} 0 0 {}\r\n", value.len());
        stream
            .write_all(&[head.as_bytes(), value, b"\r\n"].concat())
            .expect("memcached reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        assert_eq!(line, "STORED\r\n");
    }

    fn ask(&self, question: &str, end: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("memcached takes connections");
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time-out");
        stream.write_all(question.as_bytes()).expect("memcached reads");
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !text.ends_with(end.as_bytes()) {
            let count = stream.read(&mut buffer).expect("an answer in time");
            assert!(count > 0, "memcached closed the connection");
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn spawn(address: SocketAddr) -> Option<Child> {
    let mut command = Command::new(program("memcached"));
    command
        .args([
            "-l",
            "127.0.0.1",
            "-U",
            "0",
            "-m",
            "64",
            "-p",
            &address.port().to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    let mut child = command.spawn().expect("memcached can be started");
    let ready = wait::until("memcached answers or has ended", || {
        if child.try_wait().expect("the state of memcached").is_some() {
            return Some(false);
        }
        TcpStream::connect(address).is_ok().then_some(true)
    });
    ready.then_some(child)
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.kill();
    }
}
