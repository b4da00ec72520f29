//! A FastCGI connection on its socket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::connection::{Connection, Event};
use super::outgoing::MAX_SLICES;
use super::record::ProtocolError;
use crate::error::Error;
use crate::server::admission::Place;
use crate::server::balance::Kept;
use crate::server::service::{Answer, refuse, try_answer};
use crate::server::socket::Socket;
use crate::server::worker::Context;
use crate::server::{Request, Rest, Timeouts};

/// What is read at once. A usual request is a tenth of it.
const READ_LEN: usize = 16 << 10;

/// How much of a request is read and thrown away after its refusal.
const MAX_DISCARDED_BYTES: u64 = 64 << 20;

thread_local! {
    // One buffer for all connections of a thread: it is in use only between a read and the end of its
    // processing, and thousands of idle connections would otherwise hold one each.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_LEN]);
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed by the client")]
    Closed,
    #[error("nothing received for {0:?}")]
    Silent(Duration),
    #[error("the reply was not taken for {0:?}")]
    NotTaken(Duration),
    #[error("stopping")]
    Stop,
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a connection that was just accepted.
///
/// The request is usually there already, and its reply usually at hand: then everything happens here,
/// without a task and without the I/O driver. Only what must wait becomes a task.
pub(in crate::server) fn accepted(fd: OwnedFd, is_tcp: bool, place: Place, context: &Arc<Context>) {
    let mut conversation = Conversation {
        connection: Connection::new(context.intake, context.max_connections),
        context: Arc::clone(context),
        place,
        pending: Bytes::new(),
        kept: None,
    };
    match conversation.at_once(&fd) {
        Ok(AtOnce::Done) => {}
        Ok(AtOnce::Wait(request)) => match Socket::new(fd, is_tcp) {
            Ok(socket) => {
                // Counted at once: the next connection may be accepted before the task runs.
                conversation.count_if_kept();
                tokio::spawn(conversation.run(socket, request));
            }
            Err(error) => tracing::error!("a connection cannot be waited for: {error}"),
        },
        Err(end) => tracing::debug!("FastCGI connection ended: {end}"),
    }
}

enum AtOnce {
    /// Everything is sent, and the connection can be closed.
    Done,
    /// There is something to wait for; the request, if any, is to be answered elsewhere.
    Wait(Option<Request>),
}

/// A connection and what belongs to it.
struct Conversation {
    connection: Connection,
    context: Arc<Context>,
    place: Place,
    /// Bytes read and not yet taken by `connection`.
    pending: Bytes,
    /// Set once a connection has turned out to be one that stays. Most are not: counted from the start,
    /// they made threads wait for each other, and a third of the rate was lost.
    kept: Option<Kept>,
}

impl Conversation {
    fn at_once(&mut self, fd: &OwnedFd) -> Result<AtOnce, End> {
        let read = READ_BUFFER.with_borrow_mut(|buffer| match rustix::io::read(fd, buffer.as_mut_slice()) {
            Ok(0) => Err(End::Closed),
            Ok(len) => self.take(buffer.get(..len).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(io::Error::from(errno).into()),
        });
        let request = read?;
        if !self.connection.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.connection.outgoing.slices(&mut slices);
            match rustix::io::writev(fd, slices.get(..count).unwrap_or_default()) {
                Ok(sent) => self.connection.outgoing.advance(sent),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
        let is_done = self.connection.is_closing()
            && self.connection.outgoing.is_empty()
            && self.connection.input_ended();
        Ok(if is_done {
            AtOnce::Done
        } else {
            AtOnce::Wait(request)
        })
    }

    fn count_if_kept(&mut self) {
        if self.kept.is_none() && self.connection.is_kept() {
            self.kept = Some(self.context.load.keep());
        }
    }

    async fn run(mut self, mut socket: Socket, request: Option<Request>) {
        let end = self.converse(&mut socket, request).await;
        if let Err(end) = end {
            tracing::debug!("FastCGI connection ended: {end}");
        }
    }

    async fn converse(&mut self, socket: &mut Socket, mut request: Option<Request>) -> Result<(), End> {
        let mut waiting = Waiting::default();
        loop {
            if let Some(request) = request.take() {
                self.answer(socket, request).await?;
            }
            self.flush(socket).await?;
            self.count_if_kept();
            if self.connection.is_closing() {
                return self.linger(socket).await;
            }
            request = if self.pending.is_empty() {
                self.receive(socket, &mut waiting).await?
            } else {
                self.take_pending()?
            };
        }
    }

    /// Gives bytes to the protocol, up to a reply or to a request that must be answered elsewhere.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Request>, End> {
        let mut input = bytes;
        let request = self.step(&mut input)?;
        if !input.is_empty() {
            self.pending = Bytes::copy_from_slice(input);
        }
        Ok(request)
    }

    fn take_pending(&mut self) -> Result<Option<Request>, End> {
        let bytes = self.pending.clone();
        let mut input = &bytes[..];
        let request = self.step(&mut input)?;
        let taken = bytes.len() - input.len();
        self.pending.advance(taken);
        Ok(request)
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<Option<Request>, End> {
        let response = match self.connection.receive(input)? {
            None | Some(Event::Aborted) => return Ok(None),
            Some(Event::Refused(request, error)) => refuse(&self.context.service, request.as_deref(), &error),
            Some(Event::Request(request)) if self.place.is_refusal => {
                let error = Error::Unavailable {
                    reason: "connections".into(),
                    retry_after: Duration::from_secs(1),
                };
                refuse(&self.context.service, Some(&request), &error)
            }
            Some(Event::Request(request)) => match try_answer(&self.context.service, &request) {
                Some(response) => response,
                None => return Ok(Some(request)),
            },
        };
        self.connection.reply(&response);
        if response.rest.is_some() {
            // Services do not do that; and nothing here can wait for the rest.
            self.connection.end_reply(false);
        }
        if self.connection.is_closing() && self.connection.receive(input).is_err() {
            // The reply stands, whatever follows the request.
            *input = &[];
        }
        Ok(None)
    }

    /// Waits for bytes, for as long as the state of the connection allows.
    async fn receive(&mut self, socket: &mut Socket, waiting: &mut Waiting) -> Result<Option<Request>, End> {
        let context = Arc::clone(&self.context);
        let is_receiving = self.connection.is_receiving();
        let (patience, deadline) = waiting.until(&self.connection, &context.timeouts);
        tokio::select! {
            biased;
            received = read(socket, |bytes| self.take(bytes)) => received,
            () = context.stop.ordered(), if !is_receiving => Err(End::Stop),
            () = tokio::time::sleep_until(deadline) => Err(End::Silent(patience)),
        }
    }

    /// Has a request answered, while the client may abort it or go away.
    async fn answer(&mut self, socket: &mut Socket, request: Request) -> Result<(), End> {
        let mut answer = Answer::start(&self.context.service, request);
        let pending = std::mem::take(&mut self.pending);
        let mut is_aborted = self.listen(&pending)?;
        while !is_aborted {
            self.flush(socket).await?;
            is_aborted = tokio::select! {
                biased;
                response = &mut answer => {
                    self.connection.reply(&response);
                    return match response.rest {
                        Some(rest) => self.send_rest(socket, rest).await,
                        None => Ok(()),
                    };
                }
                listened = read(socket, |bytes| self.listen(bytes)) => listened?,
            };
        }
        Ok(())
    }

    /// Sends what follows the beginning of a body while it is made. The client may abort it or go away.
    async fn send_rest(&mut self, socket: &mut Socket, mut rest: Rest) -> Result<(), End> {
        if self.connection.is_head_only() {
            self.connection.end_reply(true);
            return Ok(());
        }
        loop {
            self.flush(socket).await?;
            tokio::select! {
                biased;
                piece = rest.next() => match piece {
                    Some(Ok(piece)) => self.connection.reply_piece(piece),
                    end => {
                        self.connection.end_reply(end.is_none());
                        return Ok(());
                    }
                },
                listened = read(socket, |bytes| self.listen(bytes)) => if listened? {
                    return Ok(());
                },
            }
        }
    }

    /// Gives the protocol bytes that arrive during an answer; tells whether they abort it.
    fn listen(&mut self, bytes: &[u8]) -> Result<bool, End> {
        let mut input = bytes;
        let is_aborted = matches!(self.connection.receive(&mut input)?, Some(Event::Aborted));
        self.pending = Bytes::copy_from_slice(input);
        Ok(is_aborted)
    }

    async fn flush(&mut self, socket: &Socket) -> Result<(), End> {
        let patience = self.context.timeouts.send;
        while !self.connection.outgoing.is_empty() {
            match self.write_some(socket) {
                Ok(0) => return Err(End::Closed),
                Ok(sent) => self.connection.outgoing.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::timeout(patience, socket.writable())
                        .await
                        .map_err(|_| End::NotTaken(patience))??;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_some(&self, socket: &Socket) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = self.connection.outgoing.slices(&mut slices);
        socket.try_write_vectored(slices.get(..count).unwrap_or_default())
    }

    /// Ends a connection so that the reply arrives: one that is closed with bytes unread is reset, and a
    /// web server that still sends the rest of a refused body would lose the reply.
    async fn linger(&mut self, socket: &mut Socket) -> Result<(), End> {
        if self.connection.input_ended() {
            return Ok(());
        }
        poll_fn(|ctx| socket.poll_shutdown(ctx)).await?;
        let context = Arc::clone(&self.context);
        let discard = async {
            let mut discarded = 0;
            while discarded < MAX_DISCARDED_BYTES && !self.connection.input_ended() {
                discarded += read(socket, |mut bytes| {
                    let len = bytes.len() as u64;
                    self.connection.receive(&mut bytes)?;
                    Ok(len)
                })
                .await?;
            }
            Ok(())
        };
        tokio::select! {
            discarded = discard => match discarded {
                Err(End::Closed) => Ok(()),
                other => other,
            },
            () = tokio::time::sleep(context.timeouts.receive) => Ok(()),
            () = context.stop.ordered() => Ok(()),
        }
    }
}

/// Reads what there is into the thread's buffer and gives it to `take`.
async fn read<T>(socket: &mut Socket, mut take: impl FnMut(&[u8]) -> Result<T, End>) -> Result<T, End> {
    poll_fn(|ctx| {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            // Reading by poll and not by `try_read`: after less than a full buffer it knows that there is
            // no more, and saves the system call that would say so.
            ready!(socket.poll_read(ctx, &mut buffer))?;
            Poll::Ready(if buffer.filled().is_empty() {
                Err(End::Closed)
            } else {
                take(buffer.filled())
            })
        })
    })
    .await
}

/// Until when the next bytes must come: one deadline for a whole request and one for the time between two,
/// so that a client cannot put it off by sending a little.
#[derive(Default)]
struct Waiting {
    /// How many requests have begun, and whether one is arriving.
    at: Option<(u64, bool)>,
    patience: Duration,
    until: Option<Instant>,
}

impl Waiting {
    fn until(&mut self, connection: &Connection, timeouts: &Timeouts) -> (Duration, Instant) {
        let at = (connection.begun(), connection.is_receiving());
        if self.at != Some(at) {
            self.at = Some(at);
            self.patience = if at.1 { timeouts.receive } else { timeouts.idle };
            self.until = None;
        }
        let patience = self.patience;
        (
            patience,
            *self.until.get_or_insert_with(|| Instant::now() + patience),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::super::params::write_pair;
    use super::super::record::{HEADER_LEN, kind, write_record};
    use super::*;
    use crate::server::testing::{PATIENCE, TestServer, connect, read_to_end, until};
    use crate::server::{ListenAddress, Stopped};

    const KEEP: bool = true;

    fn request(query: &str, keep: bool, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_record(
            &mut bytes,
            kind::BEGIN_REQUEST,
            1,
            &[0, 1, u8::from(keep), 0, 0, 0, 0, 0],
        );
        let mut params = Vec::new();
        write_pair(&mut params, b"QUERY_STRING", query.as_bytes());
        for (name, value) in more {
            write_pair(&mut params, name.as_bytes(), value.as_bytes());
        }
        for (kind, content) in [(kind::PARAMS, &params[..]), (kind::STDIN, body)] {
            for content in content.chunks(60_000) {
                write_record(&mut bytes, kind, 1, content);
            }
            write_record(&mut bytes, kind, 1, &[]);
        }
        bytes
    }

    /// Reads one reply, up to END_REQUEST.
    fn reply(stream: &mut impl Read) -> String {
        let mut content = Vec::new();
        loop {
            let mut header = [0; HEADER_LEN];
            stream.read_exact(&mut header).expect("a reply comes in time");
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let mut record = vec![0; len + usize::from(header[6])];
            stream.read_exact(&mut record).expect("a record is whole");
            match header[1] {
                kind::STDOUT => content.extend_from_slice(&record[..len]),
                kind::END_REQUEST => return String::from_utf8(content).expect("the tests send text"),
                other => panic!("record of type {other}"),
            }
        }
    }

    const HELLO: &str = "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

    fn ask(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
        stream.write_all(bytes).expect("the server reads");
        reply(stream)
    }

    #[test]
    fn a_request_is_answered_and_the_connection_closed() {
        let server = TestServer::start(|_| {});
        let mut stream = connect(server.fastcgi);
        assert_eq!(ask(&mut stream, &request("", !KEEP, &[], b"")), HELLO);
        assert!(read_to_end(&mut stream).is_empty());
        assert_eq!(server.stop(), Stopped::Drained);
    }

    #[test]
    fn a_reply_whose_request_was_all_read_is_not_lingered_over() {
        let server = TestServer::start(|_| {});
        let mut held = connect(server.fastcgi);
        let mut bytes = request("", !KEEP, &[], b"");
        // Rubbish behind a request does not cost its reply.
        bytes.extend_from_slice(b"rubbish");
        assert_eq!(ask(&mut held, &bytes), HELLO);
        assert!(read_to_end(&mut held).is_empty());
        let mut late = connect(server.fastcgi);
        let end = bytes.len() - b"rubbish".len() - HEADER_LEN;
        assert_eq!(ask(&mut late, &bytes[..end]), HELLO);
        late.write_all(&bytes[end..end + HEADER_LEN])
            .expect("the server still reads");
        assert!(read_to_end(&mut late).is_empty());
        until(|| server.connections() == 0);
    }

    #[test]
    fn a_kept_connection_answers_many_requests_byte_by_byte_or_joined() {
        let server = TestServer::start(|_| {});
        let mut stream = connect(server.fastcgi);
        for byte in request("", KEEP, &[], b"") {
            stream.write_all(&[byte]).expect("the server reads");
        }
        assert_eq!(reply(&mut stream), HELLO);
        let mut joined = request("", KEEP, &[], b"");
        joined.extend(request(
            "echo",
            KEEP,
            &[("REQUEST_URI", "/a"), ("HTTP_X_TEST", "1")],
            b"",
        ));
        joined.extend(request("", !KEEP, &[], b""));
        assert_eq!(ask(&mut stream, &joined), HELLO);
        assert!(reply(&mut stream).ends_with(r#"Get /a  Some("1")"#));
        assert_eq!(reply(&mut stream), HELLO);
        assert!(read_to_end(&mut stream).is_empty());
    }

    #[test]
    fn a_body_is_passed_on_and_head_has_none() {
        let server = TestServer::start(|_| {});
        let post = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "3")];
        assert!(
            ask(
                &mut connect(server.fastcgi),
                &request("echo", !KEEP, &post, b"a=b")
            )
            .ends_with("Post  a=b None")
        );
        let head = ask(
            &mut connect(server.fastcgi),
            &request("", !KEEP, &[("REQUEST_METHOD", "HEAD")], b""),
        );
        assert_eq!(head, HELLO.trim_end_matches("hello"));
    }

    #[test]
    fn twenty_thousand_parameters_hurt_nobody() {
        let server = TestServer::start(|_| {});
        let names: Vec<String> = (0..20_000).map(|i| format!("P{i}")).collect();
        let more: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert_eq!(
            ask(&mut connect(server.fastcgi), &request("", !KEEP, &more, b"")),
            HELLO
        );
    }

    #[test]
    fn a_refused_upload_gets_its_reply_although_it_is_still_sent() {
        let server = TestServer::start(|_| {});
        let upload = vec![b'x'; 8 << 20];
        let len = upload.len().to_string();
        let post = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", len.as_str())];
        let mut stream = connect(server.fastcgi);
        assert!(ask(&mut stream, &request("", !KEEP, &post, &upload)).starts_with("Status: 413 "));
        assert!(read_to_end(&mut stream).is_empty());
        // Kept open, the same connection goes on after the rest of the body.
        let mut stream = connect(server.fastcgi);
        assert!(ask(&mut stream, &request("", KEEP, &post, &upload)).starts_with("Status: 413 "));
        assert_eq!(ask(&mut stream, &request("", KEEP, &[], b"")), HELLO);
    }

    #[test]
    fn clients_that_say_nothing_or_half_a_request_block_nobody() {
        let server = TestServer::start(|config| config.io_threads = 1);
        let half = request("", !KEEP, &[], b"");
        let stalled: Vec<TcpStream> = (0..50)
            .map(|i| {
                let mut stream = connect(server.fastcgi);
                stream.write_all(&half[..i]).expect("the server reads");
                stream
            })
            .collect();
        assert_eq!(ask(&mut connect(server.fastcgi), &half), HELLO);
        drop(stalled);
        assert_eq!(ask(&mut connect(server.fastcgi), &half), HELLO);
    }

    #[test]
    fn a_client_that_reads_nothing_blocks_nobody() {
        let server = TestServer::start(|config| config.io_threads = 1);
        let mut greedy = connect(server.fastcgi);
        let big = request("big", KEEP, &[], b"");
        for _ in 0..4 {
            greedy.write_all(&big).expect("the server reads");
        }
        assert_eq!(
            ask(&mut connect(server.fastcgi), &request("", !KEEP, &[], b"")),
            HELLO
        );
        for _ in 0..4 {
            assert!(reply(&mut greedy).len() > 3_000_000);
        }
    }

    #[test]
    fn a_client_that_is_too_slow_is_closed() {
        let short = Duration::from_millis(20);
        let server = TestServer::start(|config| {
            config.timeouts.idle = short;
            config.timeouts.receive = short;
            config.timeouts.send = short;
        });
        for upto in [0, 5, 30] {
            let mut stream = connect(server.fastcgi);
            stream
                .write_all(&request("", KEEP, &[], b"")[..upto])
                .expect("the server reads");
            assert!(read_to_end(&mut stream).is_empty(), "{upto}");
        }
        let mut stream = connect(server.fastcgi);
        stream
            .write_all(&request("big", KEEP, &[], b""))
            .expect("the server reads");
        // The reply is more than the buffers of both sides hold; the server gives up on it, and stops.
        assert_eq!(server.stop(), Stopped::Drained);
    }

    #[test]
    fn work_is_cancelled_by_abort_and_by_a_closed_connection() {
        for is_abort in [true, false] {
            let server = TestServer::start(|_| {});
            let mut stream = connect(server.fastcgi);
            stream
                .write_all(&request("later", KEEP, &[], b""))
                .expect("the server reads");
            server.script.await_waiting(1);
            if is_abort {
                let mut abort = Vec::new();
                write_record(&mut abort, kind::ABORT_REQUEST, 1, &[]);
                assert_eq!(ask(&mut stream, &abort), "");
                server.script.await_cancelled();
                assert_eq!(ask(&mut stream, &request("", KEEP, &[], b"")), HELLO);
            } else {
                stream.shutdown(Shutdown::Both).expect("it is connected");
                server.script.await_cancelled();
            }
        }
    }

    #[test]
    fn an_answer_made_elsewhere_arrives_while_management_records_are_answered() {
        let server = TestServer::start(|_| {});
        let mut stream = connect(server.fastcgi);
        stream
            .write_all(&request("later", !KEEP, &[], b""))
            .expect("the server reads");
        server.script.await_waiting(1);
        let mut unknown = Vec::new();
        write_record(&mut unknown, 99, 0, &[]);
        stream.write_all(&unknown).expect("the server reads");
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).expect("it is answered at once");
        assert_eq!((answer[1], answer[8]), (kind::UNKNOWN_TYPE, 99));
        server.script.finish();
        assert!(reply(&mut stream).ends_with("finished"));
    }

    #[test]
    fn a_panic_of_the_service_costs_its_request_alone() {
        let server = TestServer::start(|config| config.io_threads = 1);
        let mut stream = connect(server.fastcgi);
        assert!(ask(&mut stream, &request("panic", KEEP, &[], b"")).starts_with("Status: 500 "));
        assert_eq!(ask(&mut stream, &request("", KEEP, &[], b"")), HELLO);
    }

    #[test]
    fn another_protocol_is_closed_at_once() {
        let server = TestServer::start(|_| {});
        let mut stream = connect(server.fastcgi);
        stream.write_all(b"G").expect("the server reads");
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte), Ok(0) | Err(_)));
        assert_eq!(
            ask(&mut connect(server.fastcgi), &request("", !KEEP, &[], b"")),
            HELLO
        );
    }

    #[test]
    fn web_servers_that_are_not_allowed_are_closed() {
        let server = TestServer::start(|config| config.allowed_web_servers = vec![[192, 0, 2, 1].into()]);
        let mut stream = connect(server.fastcgi);
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte), Ok(0) | Err(_)));
        let server = TestServer::start(|config| config.allowed_web_servers = vec![[127, 0, 0, 1].into()]);
        assert_eq!(
            ask(&mut connect(server.fastcgi), &request("", !KEEP, &[], b"")),
            HELLO
        );
    }

    #[test]
    fn connections_beyond_the_limit_are_told_to_come_again() {
        let server = TestServer::start(|config| config.max_connections = 1);
        let mut first = connect(server.fastcgi);
        assert_eq!(ask(&mut first, &request("", KEEP, &[], b"")), HELLO);
        let refused = ask(&mut connect(server.fastcgi), &request("", !KEEP, &[], b""));
        assert!(
            refused.starts_with("Status: 503 ") && refused.contains("\r\nRetry-After: 1\r\n"),
            "{refused}"
        );
        drop(first);
        until(|| ask(&mut connect(server.fastcgi), &request("", !KEEP, &[], b"")) == HELLO);
    }

    #[test]
    fn a_unix_socket_answers_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s");
        let server = TestServer::start(|config| {
            config.fastcgi.push(ListenAddress::Unix(path.clone()));
            // UNIX sockets have no address to compare.
            config.allowed_web_servers = vec![[192, 0, 2, 1].into()];
        });
        let mut stream = UnixStream::connect(&path).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time is accepted");
        assert_eq!(ask(&mut stream, &request("", KEEP, &[], b"")), HELLO);
        assert!(ask(&mut stream, &request("big", KEEP, &[], b"")).len() > 3_000_000);
        assert_eq!(server.stop(), Stopped::Drained);
        assert!(!path.exists());
    }

    #[test]
    fn a_stop_lets_running_requests_end_and_closes_idle_connections() {
        let server = TestServer::start(|_| {});
        let mut idle = connect(server.fastcgi);
        assert_eq!(ask(&mut idle, &request("", KEEP, &[], b"")), HELLO);
        let mut busy = connect(server.fastcgi);
        busy.write_all(&request("later", KEEP, &[], b""))
            .expect("the server reads");
        server.script.await_waiting(1);
        let script = Arc::clone(&server.script);
        let address = server.fastcgi;
        let stopping = std::thread::spawn(move || server.stop());
        assert!(read_to_end(&mut idle).is_empty());
        until(|| TcpStream::connect(address).is_err());
        script.finish();
        assert!(reply(&mut busy).ends_with("finished"));
        assert!(read_to_end(&mut busy).is_empty());
        assert_eq!(stopping.join().ok(), Some(Stopped::Drained));
    }

    #[test]
    fn a_stop_waits_no_longer_than_its_time() {
        let server = TestServer::start(|config| config.timeouts.drain = Duration::from_millis(20));
        let mut busy = connect(server.fastcgi);
        busy.write_all(&request("later", KEEP, &[], b""))
            .expect("the server reads");
        server.script.await_waiting(1);
        let script = Arc::clone(&server.script);
        assert_eq!(server.stop(), Stopped::OutOfTime);
        script.await_cancelled();
    }
}
