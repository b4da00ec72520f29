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
use crate::server::service::{Answer, refuse, try_answer};
use crate::server::socket::Socket;
use crate::server::worker::Context;
use crate::server::{Request, Timeouts};

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
    };
    match conversation.at_once(&fd) {
        Ok(AtOnce::Done) => {}
        Ok(AtOnce::Wait(request)) => match Socket::new(fd, is_tcp) {
            Ok(socket) => {
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
                    return Ok(());
                }
                listened = read(socket, |bytes| self.listen(bytes)) => listened?,
            };
        }
        Ok(())
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
        let discard = async {
            let mut discarded = 0;
            while discarded < MAX_DISCARDED_BYTES {
                discarded += read(socket, |bytes| Ok(bytes.len() as u64)).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(self.context.timeouts.receive, discard).await {
            Ok(Err(End::Closed)) | Err(_) => Ok(()),
            Ok(other) => other,
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
