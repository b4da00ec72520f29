//! Many clients at once, whose every reply is compared with what it must be.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fastcgi::{get, kind};
use crate::reply::Reply;
use crate::wait::PATIENCE;

/// A request and its reply.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What is asked.
    pub target: String,
    /// The status of the reply.
    pub status: u16,
    /// Its body; `None` where any will do.
    pub body: Option<Vec<u8>>,
}

/// How one request went.
#[derive(Debug)]
pub enum Outcome {
    /// A whole reply.
    Reply(Reply),
    /// Nobody took the connection, or it was closed before a byte came back.
    Refused,
    /// The reply ended in its middle.
    Cut(usize),
}

/// The transport of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP, a connection each.
    Http(SocketAddr),
    /// FastCGI, a connection each.
    FastCgi(SocketAddr),
}

/// What a number of clients saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Whole replies by status.
    pub replies: BTreeMap<u16, u64>,
    /// Connections nobody took.
    pub refused: u64,
    /// How long whole replies took.
    pub times: Vec<Duration>,
    /// What should not have been: a wrong status or body, a reply cut off.
    pub mistakes: Vec<String>,
}

impl Tally {
    /// Whole replies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.replies.values().sum()
    }

    /// The time that a share of the replies did not exceed, 0 to 1.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() as f64 * share) as usize;
        times
            .get(at.min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.replies {
            *self.replies.entry(status).or_default() += count;
        }
        self.refused += other.refused;
        self.times.extend(other.times);
        self.mistakes.extend(other.mistakes);
    }
}

/// Asks for something on a connection of its own.
#[must_use]
pub fn ask(transport: Transport, target: &str) -> Outcome {
    let (address, request) = match transport {
        Transport::Http(address) => (
            address,
            format!("GET {target} HTTP/1.1\r\nHost: images.test\r\nConnection: close\r\n\r\n").into_bytes(),
        ),
        Transport::FastCgi(address) => (address, get(1, target, false)),
    };
    let mut bytes = Vec::new();
    if exchange(address, &request, &mut bytes).is_err() && bytes.is_empty() {
        return Outcome::Refused;
    }
    let reply = match transport {
        _ if bytes.is_empty() => return Outcome::Refused,
        Transport::Http(_) => http_reply(&bytes),
        Transport::FastCgi(_) => fastcgi_reply(&bytes),
    };
    reply.map_or(Outcome::Cut(bytes.len()), Outcome::Reply)
}

fn exchange(address: SocketAddr, request: &[u8], bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    stream.read_to_end(bytes)?;
    Ok(())
}

fn http_reply(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let reply = Reply::parse(&bytes[..end], bytes[end + 4..].to_vec());
    let length: usize = reply.header("Content-Length")?.parse().ok()?;
    (reply.body.len() == length).then_some(reply)
}

fn fastcgi_reply(bytes: &[u8]) -> Option<Reply> {
    let mut output = Vec::new();
    let mut rest = bytes;
    loop {
        let head = rest.get(..8)?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let content = rest.get(8..8 + length)?;
        match head[1] {
            kind::STDOUT => output.extend_from_slice(content),
            kind::END_REQUEST => break,
            other => panic!("a record of type {other}"),
        }
        rest = rest.get(8 + length + usize::from(head[6])..)?;
    }
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some(Reply::parse(&output[..end], output[end + 4..].to_vec()))
}

/// Lets a number of clients ask for one of `work` after the other, in an order of their own, until told to stop.
/// A 503 with `Retry-After` is an honest answer to anything.
#[must_use]
pub fn run(transports: &[Transport], work: &[Expected], clients: usize, stop: &AtomicBool) -> Tally {
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|number| {
                let transport = transports[number % transports.len()];
                scope.spawn(move || client(transport, work, number as u32, stop))
            })
            .collect();
        for client in running {
            all.add(client.join().expect("a client comes to its end"));
        }
    });
    all
}

fn client(transport: Transport, work: &[Expected], seed: u32, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    while !stop.load(Ordering::Relaxed) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let expected = &work[(state >> 8) as usize % work.len()];
        let start = Instant::now();
        match ask(transport, &expected.target) {
            Outcome::Reply(reply) => {
                tally.times.push(start.elapsed());
                *tally.replies.entry(reply.status).or_default() += 1;
                let honest = reply.status == 503 && reply.header("Retry-After").is_some();
                let right = reply.status == expected.status
                    && expected.body.as_ref().is_none_or(|body| *body == reply.body);
                if !honest && !right {
                    tally.mistakes.push(format!(
                        "{} of {} bytes for {} ({} of {:?} bytes)",
                        reply.status,
                        reply.body.len(),
                        expected.target,
                        expected.status,
                        expected.body.as_ref().map(Vec::len),
                    ));
                }
            }
            Outcome::Refused => tally.refused += 1,
            Outcome::Cut(bytes) => tally
                .mistakes
                .push(format!("{} was cut off after {bytes} bytes", expected.target)),
        }
    }
    tally
}
