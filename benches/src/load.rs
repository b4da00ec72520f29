//! Load as viewers make it: bursts of requests on as many connections, from several clients at a time.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use support::fastcgi;

/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// How clients ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Manner {
    /// Clients at work at the same time.
    pub(crate) clients: usize,
    /// Whether a connection serves one request only.
    pub(crate) reconnect: bool,
    /// Requests a second of all clients together, asked for at these times whatever the answers do
    /// (then latency counts from the moment a request was due); `None`: each client waits for its answer.
    pub(crate) rate: Option<f64>,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Requests answered.
    pub(crate) requests: usize,
    /// Time from the first request to the last answer.
    pub(crate) time: Duration,
    /// Time of each burst, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Length of the body of each target.
    pub(crate) lengths: HashMap<String, usize>,
}

impl Outcome {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    /// The time within which this share of the bursts was answered.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}

/// Asks for all `bursts` in order, each burst at once on as many connections as it has targets.
///
/// # Errors
/// When a connection breaks or a reply is no 200: then nothing measured would mean anything.
pub(crate) fn run(address: SocketAddr, bursts: &[Vec<String>], manner: Manner) -> anyhow::Result<Outcome> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let parts: Vec<anyhow::Result<Part>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..manner.clients)
            .map(|_| scope.spawn(|| client(address, bursts, manner, &next, begin)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
            .collect()
    });
    let time = begin.elapsed();
    let (mut latencies, mut lengths) = (Vec::with_capacity(bursts.len()), HashMap::new());
    for part in parts {
        let part = part?;
        latencies.extend(part.latencies);
        lengths.extend(part.lengths);
    }
    latencies.sort_unstable();
    Ok(Outcome {
        requests: bursts.iter().map(Vec::len).sum(),
        time,
        latencies,
        lengths,
    })
}

#[derive(Default)]
struct Part {
    latencies: Vec<Duration>,
    lengths: HashMap<String, usize>,
}

fn client(
    address: SocketAddr,
    bursts: &[Vec<String>],
    manner: Manner,
    next: &AtomicUsize,
    begin: Instant,
) -> anyhow::Result<Part> {
    let mut part = Part::default();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(burst) = bursts.get(number) else {
            return Ok(part);
        };
        let from = match manner.rate {
            None => Instant::now(),
            Some(rate) => {
                let due = begin + Duration::from_secs_f64(number as f64 / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                due
            }
        };
        connections.resize_with(burst.len().max(connections.len()), || None);
        for (connection, target) in connections.iter_mut().zip(burst) {
            let connection = match connection {
                Some(kept) => kept,
                closed => closed.insert(Connection::open(address)?),
            };
            connection.send(target, !manner.reconnect)?;
        }
        for (slot, target) in connections.iter_mut().zip(burst) {
            let connection = slot.as_mut().context("a connection that was opened")?;
            let length = connection
                .receive()
                .with_context(|| format!("asking for {target}"))?;
            if !part.lengths.contains_key(target) {
                part.lengths.insert(target.clone(), length);
            }
            if manner.reconnect {
                *slot = None;
            }
        }
        part.latencies.push(from.elapsed());
    }
}

/// The reply of one request, for a look at its picture.
///
/// # Errors
/// When there is none, or no 200.
pub(crate) fn body(address: SocketAddr, target: &str) -> anyhow::Result<Vec<u8>> {
    let mut connection = Connection::open(address)?;
    connection.send(target, false)?;
    connection.receive()?;
    Ok(connection.reply.split_off(connection.body))
}

struct Connection {
    stream: TcpStream,
    /// Bytes read and not yet looked at.
    input: Vec<u8>,
    /// The reply: header block and body.
    reply: Vec<u8>,
    /// Where its body begins.
    body: usize,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            input: Vec::with_capacity(64 * 1024),
            reply: Vec::with_capacity(64 * 1024),
            body: 0,
        })
    }

    fn send(&mut self, target: &str, keep: bool) -> io::Result<()> {
        self.stream.write_all(&fastcgi::get(1, target, keep))
    }

    /// Reads one reply; gives the length of its body.
    fn receive(&mut self) -> anyhow::Result<usize> {
        self.reply.clear();
        loop {
            let mut at = 0;
            let mut ended = false;
            while let Some(&[_, kind, _, _, high, low, padding, _]) = self.input.get(at..at + 8) {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(content) = self.input.get(at + 8..at + 8 + length) else {
                    break;
                };
                if self.input.len() < at + 8 + length + usize::from(padding) {
                    break;
                }
                if kind == fastcgi::kind::STDOUT {
                    self.reply.extend_from_slice(content);
                }
                at += 8 + length + usize::from(padding);
                ended = kind == fastcgi::kind::END_REQUEST;
                if ended {
                    break;
                }
            }
            self.input.drain(..at);
            if ended {
                return self.check();
            }
            let before = self.input.len();
            self.input.resize(before + 64 * 1024, 0);
            let read = self.stream.read(&mut self.input[before..])?;
            self.input.truncate(before + read);
            if read == 0 {
                bail!("the connection was closed within a reply");
            }
        }
    }

    fn check(&mut self) -> anyhow::Result<usize> {
        let end = self.reply.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.context("a reply without a header")?;
        let head = String::from_utf8_lossy(&self.reply[..end]);
        let status = head.lines().find_map(|line| line.strip_prefix("Status:"));
        if status.is_some_and(|status| !status.trim().starts_with("200")) {
            bail!("the answer was {head}");
        }
        self.body = end + 4;
        Ok(self.reply.len() - self.body)
    }
}
