//! The rest of a body that is sent while it is made.
//!
//! A pipe between the thread that makes the body and the connection that sends it. It holds about a megabyte: a
//! client that takes its time makes the maker wait, not the memory grow. A pipe that is dropped at either end
//! before its end is told at the other, so a body that was not finished never looks finished.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

/// Bytes that may wait to be sent. A piece that finds less in the pipe than this is taken whole.
const ROOM: usize = 1 << 20;

/// The maker's end; dropped without [`finish`](Self::finish), the body is broken.
#[derive(Debug)]
pub struct RestWriter {
    pipe: Arc<Pipe>,
}

/// The connection's end: the pieces that follow what a [`Response`](super::Response) holds of its body.
pub struct Rest {
    pipe: Arc<Pipe>,
    sent: u64,
    is_whole: bool,
    at_end: Option<AtEnd>,
    keeps: Option<Box<dyn Send>>,
}

type AtEnd = Box<dyn FnOnce(u64, bool) + Send>;

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The connection is gone.
    #[error("the client has gone")]
    Gone,
    /// There was no room in time.
    #[error("the client takes the reply too slowly")]
    TooSlow,
}

/// The maker ended before the body did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body was not finished")]
pub struct Broken;

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    end: Option<Result<(), Broken>>,
    is_gone: bool,
    waker: Option<Waker>,
}

/// A pipe.
#[must_use]
pub fn rest() -> (RestWriter, Rest) {
    let pipe = Arc::<Pipe>::default();
    let rest = Rest {
        pipe: Arc::clone(&pipe),
        sent: 0,
        is_whole: false,
        at_end: None,
        keeps: None,
    };
    (RestWriter { pipe }, rest)
}

impl RestWriter {
    /// Appends a piece, waiting for room until `deadline`. It blocks the thread: none that does I/O may call it.
    ///
    /// # Errors
    /// When the connection is gone, or there was no room in time.
    pub fn send(&self, piece: Bytes, deadline: Instant) -> Result<(), NotTaken> {
        if piece.is_empty() {
            return Ok(());
        }
        let mut state = self.pipe.state.lock();
        while state.bytes >= ROOM && !state.is_gone {
            if self.pipe.taken.wait_until(&mut state, deadline).timed_out() && state.bytes >= ROOM {
                return Err(NotTaken::TooSlow);
            }
        }
        if state.is_gone {
            return Err(NotTaken::Gone);
        }
        state.bytes += piece.len();
        state.pieces.push_back(piece);
        wake(state);
        Ok(())
    }

    /// Ends the body: everything has been appended.
    pub fn finish(self) {
        self.end(Ok(()));
    }

    fn end(&self, end: Result<(), Broken>) {
        let mut state = self.pipe.state.lock();
        state.end.get_or_insert(end);
        wake(state);
    }
}

impl Drop for RestWriter {
    fn drop(&mut self) {
        self.end(Err(Broken));
    }
}

fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
    let waker = state.waker.take();
    // Whoever is woken wants the lock at once.
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Rest {
    /// Calls `at_end` when the connection has done with the body: with the bytes it took from this pipe, and
    /// whether they were all of them.
    #[must_use]
    pub fn at_end(mut self, at_end: impl FnOnce(u64, bool) + Send + 'static) -> Self {
        self.at_end = Some(Box::new(at_end));
        self
    }

    /// Holds something for as long as the connection is interested in the body.
    #[must_use]
    pub fn keeping(mut self, what: impl Send + 'static) -> Self {
        self.keeps = Some(Box::new(what));
        self
    }

    /// The next piece; `None` is the end of a whole body.
    pub(crate) fn poll_piece(&mut self, ctx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut state = self.pipe.state.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.bytes -= piece.len();
            self.sent += piece.len() as u64;
            self.pipe.taken.notify_one();
            return Poll::Ready(Some(Ok(piece)));
        }
        match state.end {
            None => {
                state.waker = Some(ctx.waker().clone());
                Poll::Pending
            }
            Some(Ok(())) => {
                self.is_whole = true;
                Poll::Ready(None)
            }
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
        }
    }

    /// [`poll_piece`](Self::poll_piece) as a future that may be dropped and begun again.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        poll_fn(|ctx| self.poll_piece(ctx)).await
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.pipe.state.lock().is_gone = true;
        self.pipe.taken.notify_all();
        if let Some(at_end) = self.at_end.take() {
            at_end(self.sent, self.is_whole);
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest")
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn piece(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_and_the_end_after_them() {
        let (writer, mut rest) = rest();
        for text in ["a", "", "bc"] {
            writer.send(text.into(), soon()).unwrap();
        }
        writer.finish();
        assert_eq!(rest.next().await, Some(Ok("a".into())));
        assert_eq!(rest.next().await, Some(Ok("bc".into())));
        assert_eq!(rest.next().await, None);
    }

    #[tokio::test]
    async fn a_maker_that_is_lost_breaks_the_body_behind_what_it_made() {
        let (writer, mut rest) = rest();
        writer.send("a".into(), soon()).unwrap();
        drop(writer);
        assert_eq!(rest.next().await, Some(Ok("a".into())));
        assert_eq!(rest.next().await, Some(Err(Broken)));
    }

    #[test]
    fn a_full_pipe_holds_the_maker_until_there_is_room_or_time_is_up() {
        let (writer, mut rest) = rest();
        writer.send(piece(ROOM - 1), soon()).unwrap();
        writer.send(piece(5), soon()).unwrap();
        assert_eq!(writer.send(piece(1), Instant::now()), Err(NotTaken::TooSlow));
        let maker = std::thread::spawn(move || writer.send(piece(1), soon()).map(|()| writer));
        let mut ctx = Context::from_waker(Waker::noop());
        for len in [ROOM - 1, 5] {
            assert_eq!(rest.poll_piece(&mut ctx), Poll::Ready(Some(Ok(piece(len)))));
        }
        let writer = maker.join().unwrap().unwrap();
        drop(rest);
        assert_eq!(writer.send(piece(1), soon()), Err(NotTaken::Gone));
    }

    #[test]
    fn a_connection_that_goes_frees_a_maker_that_waits() {
        let (writer, rest) = rest();
        writer.send(piece(ROOM), soon()).unwrap();
        let maker = std::thread::spawn(move || writer.send(piece(1), soon()));
        drop(rest);
        assert_eq!(maker.join().unwrap(), Err(NotTaken::Gone));
    }

    #[tokio::test]
    async fn the_end_is_told_with_what_was_sent_and_whether_it_was_all() {
        let ends = Arc::new(Mutex::new(Vec::new()));
        for (finished, read) in [(true, true), (true, false), (false, true)] {
            let (writer, rest) = rest();
            let told = Arc::clone(&ends);
            let mut rest = rest.at_end(move |bytes, is_whole| told.lock().push((bytes, is_whole)));
            writer.send(piece(3), soon()).unwrap();
            if finished {
                writer.finish();
            } else {
                drop(writer);
            }
            while read && matches!(rest.next().await, Some(Ok(_))) {}
            drop(rest);
        }
        assert_eq!(*ends.lock(), [(3, true), (0, false), (3, false)]);
    }
}
