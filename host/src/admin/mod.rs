//! The operator's door to a running server: a UNIX socket only its owner can use.
//!
//! One line asks, one line of JSON answers, then the connection is closed. `status`, or `purge` and an
//! identifier, percent-encoded.

mod client;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::protocol::percent;
use crate::server::{ListenError, PrivateSocket};

pub use client::{ask, text};

/// How long a client may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest question: an identifier is a path.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The state of the server.
    Status,
    /// Forget an image.
    Purge {
        /// Its identifier.
        identifier: Vec<u8>,
    },
}

impl Command {
    fn parse(line: &str) -> Option<Self> {
        match line.trim_end().split_once(' ') {
            None if line.trim_end() == "status" => Some(Self::Status),
            Some(("purge", identifier)) if !identifier.is_empty() => Some(Self::Purge {
                identifier: percent::decode(identifier.as_bytes()),
            }),
            _ => None,
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Status => "status\n".to_owned(),
            Self::Purge { identifier } => {
                let mut line = "purge ".to_owned();
                for &byte in identifier {
                    match byte {
                        b'!'..=b'~' if byte != b'%' => line.push(char::from(byte)),
                        _ => line.push_str(&format!("%{byte:02X}")),
                    }
                }
                line + "\n"
            }
        }
    }
}

/// Listens; its socket is removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket(#[expect(dead_code, reason = "kept for its drop")] PrivateSocket);

/// Answers commands at a path, on a thread of its own that ends with the process.
///
/// # Errors
/// When the socket cannot be made; as for other UNIX sockets, one that nobody answers on is replaced.
pub fn serve(
    path: &Path,
    answer: impl Fn(Command) -> Value + Send + 'static,
) -> Result<AdminSocket, ListenError> {
    let (fd, socket) = PrivateSocket::listen(path)?;
    let listener = UnixListener::from(fd);
    let failed = |source: io::Error| ListenError::System {
        address: path.display().to_string(),
        source,
    };
    listener.set_nonblocking(false).map_err(failed)?;
    thread::Builder::new()
        .name("admin".into())
        .spawn(move || serve_all(&listener, &answer))
        .map_err(failed)?;
    Ok(AdminSocket(socket))
}

/// One client after the other: there is one operator.
fn serve_all(listener: &UnixListener, answer: &impl Fn(Command) -> Value) {
    for stream in listener.incoming() {
        let served = stream.and_then(|stream| serve_one(stream, answer));
        if let Err(error) = served {
            tracing::debug!("admin socket: {error}");
            // A lasting failure (no descriptors, for example) must not become a busy loop.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve_one(mut stream: UnixStream, answer: &impl Fn(Command) -> Value) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_LINE_BYTES)).read_line(&mut line)?;
    // A line cut off here would name another image.
    let is_whole = line.ends_with('\n') || (line.len() as u64) < MAX_LINE_BYTES;
    let reply = match Command::parse(&line).filter(|_| is_whole) {
        Some(command) => {
            tracing::info!("admin socket: {}", line.trim_end().escape_debug());
            let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| answer(command)));
            answered.unwrap_or_else(|_| json!({ "error": "internal error, see the log" }))
        }
        None => json!({ "error": "known commands: status, purge IDENTIFIER" }),
    };
    stream.write_all(format!("{reply}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn commands_pass_as_lines_whatever_an_identifier_holds() {
        for identifier in [&b"a.tif"[..], b"a b%/\n\xff\x00.tif", "\u{e9} ".as_bytes()] {
            let purge = Command::Purge {
                identifier: identifier.to_vec(),
            };
            assert_eq!(Command::parse(&purge.line()), Some(purge));
        }
        assert_eq!(Command::parse(&Command::Status.line()), Some(Command::Status));
        for wrong in ["", "purge", "purge ", "stop", "status now", "PURGE a"] {
            assert_eq!(Command::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_socket_answers_its_owner_and_goes_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        let socket = serve(&path, |command| json!({ "asked": format!("{command:?}") })).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // One who connects and says nothing keeps others waiting for a bounded time only.
        drop(UnixStream::connect(&path).unwrap());
        assert_eq!(ask(&path, &Command::Status).unwrap()["asked"], "Status");
        assert!(serve(&path, |_| Value::Null).is_err(), "somebody answers there");
        // What does not fit into a line is not cut off: it would name another image.
        let mut stream = UnixStream::connect(&path).unwrap();
        let long = format!("purge {}\n", "a".repeat(MAX_LINE_BYTES as usize));
        stream.write_all(long.as_bytes()).unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        assert!(reply.contains("\"error\""), "{reply}");
        drop(socket);
        assert!(!path.exists());
        assert!(ask(&path, &Command::Status).is_err());
    }
}
