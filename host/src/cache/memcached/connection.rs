//! The text protocol of memcached (`doc/protocol.txt` of its source), as much of it as is needed, on one
//! connection.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use super::address::ServerAddress;

/// Longest line of a reply that is read: a key has 250 bytes at most.
const MAX_LINE_BYTES: u64 = 512;

/// Largest value that is read; larger ones are never stored.
pub(super) const MAX_VALUE_BYTES: usize = 1_000_000;

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    /// The values of some keys.
    Get(&'a [&'a str]),
    /// Stores a value.
    Set(Item<'a>),
    /// Stores a value under a key that has none.
    Add(Item<'a>),
    /// Forgets a key.
    Delete(&'a str),
}

/// A value on its way to a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    /// Seconds until it is forgotten, 0 = never; at most thirty days, longer times mean dates.
    pub(super) seconds: u32,
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The values found, in the order of the keys of [`Command::Get`].
    Values(Vec<Option<Bytes>>),
    /// Stored, deleted, or (false) not, because of what was there.
    Done(bool),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection on which the next command can be sent.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    pub(super) async fn open(address: &ServerAddress) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            ServerAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            ServerAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Asks and waits for the answer. After an error, or when the future is dropped before its end, the
    /// connection is of no use any more.
    pub(super) async fn ask(&mut self, command: &Command<'_>) -> io::Result<Reply> {
        // What was sent unasked would be taken for the answer, and each answer for that of the next command.
        if !self.stream.buffer().is_empty() {
            return Err(strange("more than the answer"));
        }
        let stream = self.stream.get_mut();
        match command {
            Command::Get(keys) => {
                stream
                    .write_all(format!("get {}\r\n", keys.join(" ")).as_bytes())
                    .await?;
            }
            Command::Set(item) => stream.write_all(&stored("set", item)).await?,
            Command::Add(item) => stream.write_all(&stored("add", item)).await?,
            Command::Delete(key) => stream.write_all(format!("delete {key}\r\n").as_bytes()).await?,
        }
        stream.flush().await?;
        match command {
            Command::Get(keys) => self.values(keys).await.map(Reply::Values),
            _ => self.done().await.map(Reply::Done),
        }
    }

    async fn values(&mut self, keys: &[&str]) -> io::Result<Vec<Option<Bytes>>> {
        let mut values = vec![None; keys.len()];
        // One line a key, and the end: a server that sends more is none.
        for _ in 0..=keys.len() {
            let line = self.line().await?;
            if line == "END" {
                return Ok(values);
            }
            let (key, len) = value_line(&line).ok_or_else(|| strange(&line))?;
            let wanted = keys
                .iter()
                .position(|k| *k == key)
                .and_then(|n| values.get_mut(n));
            let (Some(slot), true) = (wanted, len <= MAX_VALUE_BYTES) else {
                return Err(strange(&line));
            };
            let mut value = vec![0; len + 2];
            self.stream.read_exact(&mut value).await?;
            if value.split_off(len) != b"\r\n" {
                return Err(strange("a value without its end"));
            }
            *slot = Some(value.into());
        }
        Err(strange("more values than asked for"))
    }

    async fn done(&mut self) -> io::Result<bool> {
        let line = self.line().await?;
        match line.as_str() {
            "STORED" | "DELETED" => Ok(true),
            "NOT_STORED" | "NOT_FOUND" | "EXISTS" => Ok(false),
            // Too large, or no memory for it: the connection stays in step.
            line if line.starts_with("SERVER_ERROR ") => Ok(false),
            line => Err(strange(line)),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(strange("a line without its end")),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A storage command with its value, as one piece.
fn stored(verb: &str, item: &Item<'_>) -> Vec<u8> {
    let Item { key, value, seconds } = item;
    let head = format!("{verb} {key} 0 {seconds} {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

/// Key and length of `VALUE <key> <flags> <bytes>`.
fn value_line(line: &str) -> Option<(&str, usize)> {
    let mut words = line.split(' ');
    let (head, key, flags, len, end) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next(),
    );
    let known = head == "VALUE" && flags.parse::<u32>().is_ok() && end.is_none();
    Some((key, len.parse().ok()?)).filter(|_| known)
}

fn strange(what: &str) -> io::Error {
    let what: String = what.chars().take(80).collect();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not memcached: {}", what.escape_debug()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a get of `a` and `b` gives if the server sends these bytes.
    async fn get(reply: &[u8]) -> io::Result<Vec<Option<Bytes>>> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(reply).await?;
        let mut connection = Connection {
            stream: BufReader::new(Box::new(ours)),
        };
        let reply = async {
            let asked = connection.ask(&Command::Get(&["a", "b"])).await;
            let mut sent = vec![0; 9];
            theirs.read_exact(&mut sent).await?;
            assert_eq!(sent, b"get a b\r\n");
            drop(theirs);
            asked
        };
        match tokio::time::timeout(std::time::Duration::from_millis(200), reply).await {
            Ok(Ok(Reply::Values(values))) => Ok(values),
            Ok(Ok(other)) => panic!("{other:?}"),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    #[tokio::test]
    async fn values_are_found_by_their_keys_in_any_order() {
        let both = get(b"VALUE b 0 2\r\nxy\r\nVALUE a 5 0\r\n\r\nEND\r\n")
            .await
            .unwrap();
        assert_eq!(both, [Some(Bytes::new()), Some("xy".into())]);
        assert_eq!(get(b"END\r\n").await.unwrap(), [None, None]);
        let nested = get(b"VALUE a 0 5\r\nEND\r\n\r\nEND\r\n").await.unwrap();
        assert_eq!(nested[0].as_deref(), Some(&b"END\r\n"[..]));
    }

    #[tokio::test]
    async fn an_answer_too_many_is_not_taken_for_the_next_one() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs
            .write_all(b"END\r\nVALUE a 0 1\r\nx\r\nEND\r\n")
            .await
            .unwrap();
        let mut connection = Connection {
            stream: BufReader::new(Box::new(ours)),
        };
        let first = connection.ask(&Command::Get(&["a"])).await.unwrap();
        assert_eq!(first, Reply::Values(vec![None]));
        assert!(connection.ask(&Command::Get(&["a"])).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_memcached_is_an_error_and_no_length_is_believed() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"VALUE c 0 1\r\nx\r\nEND\r\n",
            b"VALUE a 0 99999999999\r\n",
            b"VALUE a 0 1000001\r\n",
            b"VALUE a 0 -1\r\n",
            b"VALUE a 0 18446744073709551615\r\n",
            b"VALUE a 0 1\r\nxyz\r\nEND\r\n",
            b"VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
            b"SERVER_ERROR out of memory\r\n",
            b"\r\n",
            &[b'x'; 5000],
        ] {
            let error = get(wrong).await.unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidData,
                "{}",
                wrong.escape_ascii()
            );
        }
        // A value that never comes whole.
        let error = get(b"VALUE a 0 10\r\nxy").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
