//! A reply that is kept until it is whole or too large for that, and sent while it grows from then on.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Error;
use crate::server::{NotTaken, Rest, RestWriter, rest};

/// Replies up to this size are kept until they are whole: they have a length, can still become an error, and can be
/// cached.
pub(super) const MAX_WHOLE: usize = 64 << 20;

/// Bytes sent at a time.
const PIECE: usize = 1 << 18;

/// A client may take the time of a request for each of so many bytes; one that is slower is given up.
const PACED: u64 = 16 << 20;

/// The bytes of a reply, from a thread that may wait for the client.
pub(super) struct GrowingReply<'a> {
    bytes: Vec<u8>,
    /// Called with the first bytes when the reply outgrows memory.
    begin: Option<Begin<'a>>,
    writer: Option<RestWriter>,
    has_begun: &'a AtomicBool,
    max_whole: usize,
    pace: Pace,
    failed: Option<Error>,
}

type Begin<'a> = Box<dyn FnOnce(Bytes, Rest) -> Result<(), Error> + 'a>;

/// How long the client has kept the reply waiting.
struct Pace {
    patience: Duration,
    /// What is left of the patience with the bytes in hand.
    left: Duration,
    sent: u64,
}

impl<'a> GrowingReply<'a> {
    /// An empty reply. `has_begun` is set when it begins to be sent; `patience` is the time a client has for
    /// [`PACED`] bytes. What `begin` says against it is why the reply fails.
    pub(super) fn new(
        has_begun: &'a AtomicBool,
        patience: Duration,
        begin: impl FnOnce(Bytes, Rest) -> Result<(), Error> + 'a,
    ) -> Self {
        Self {
            bytes: Vec::new(),
            begin: Some(Box::new(begin)),
            writer: None,
            has_begun,
            max_whole: MAX_WHOLE,
            pace: Pace {
                patience,
                left: patience,
                sent: 0,
            },
            failed: None,
        }
    }

    /// Ends the reply, successful or not: gives the bytes if they are whole, nothing if they have been sent.
    ///
    /// # Errors
    /// Why it could not be made, or sent to its end. Then its client sees it break off, if it has begun.
    pub(super) fn end(mut self, made: Result<(), Error>) -> Result<Option<Vec<u8>>, Error> {
        // What could not be sent is why it could not be made.
        match self.failed.take() {
            Some(error) => return Err(error),
            None => made?,
        }
        if self.writer.is_none() {
            return Ok(Some(std::mem::take(&mut self.bytes)));
        }
        self.send()?;
        if let Some(writer) = self.writer.take() {
            writer.finish();
        }
        Ok(None)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(bytes);
        if self.writer.is_some() {
            if self.bytes.len() >= PIECE {
                self.send()?;
            }
            return Ok(());
        }
        if self.bytes.len() > self.max_whole
            && let Some(begin) = self.begin.take()
        {
            let (writer, rest) = rest();
            let mut kept = Bytes::from(std::mem::take(&mut self.bytes));
            begin(kept.split_to(kept.len().min(PIECE)), rest)?;
            self.writer = Some(writer);
            self.has_begun.store(true, Ordering::Release);
            // What was kept takes its client as much time as what follows.
            while !kept.is_empty() {
                self.send_piece(kept.split_to(kept.len().min(PIECE)))?;
            }
        }
        Ok(())
    }

    /// Sends what there is.
    fn send(&mut self) -> Result<(), Error> {
        let piece = std::mem::replace(&mut self.bytes, Vec::with_capacity(PIECE));
        self.send_piece(piece.into())
    }

    /// Sends a piece, waiting for the client as long as its pace allows.
    fn send_piece(&mut self, piece: Bytes) -> Result<(), Error> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let len = piece.len() as u64;
        let start = Instant::now();
        writer
            .send(piece, start + self.pace.left)
            .map_err(|not_taken| match not_taken {
                NotTaken::Gone => Error::Cancelled,
                NotTaken::TooSlow => Error::Unavailable {
                    reason: format!(
                        "{not_taken}: {} MiB took more than {} s (REQUEST_TIMEOUT)",
                        PACED >> 20,
                        self.pace.patience.as_secs()
                    ),
                    retry_after: Duration::from_secs(1),
                },
            })?;
        self.pace.took(len, start.elapsed());
        Ok(())
    }
}

impl Pace {
    fn took(&mut self, bytes: u64, time: Duration) {
        self.sent += bytes;
        self.left = self.left.saturating_sub(time);
        if self.sent >= PACED {
            (self.sent, self.left) = (0, self.patience);
        }
    }
}

/// Encoders write to it. They turn errors into their own, and some write once more when they are dropped: so an error is
/// kept, and nothing is taken after it.
impl Write for GrowingReply<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none()
            && let Err(error) = self.take(bytes)
        {
            self.failed = Some(error);
        }
        match &self.failed {
            None => Ok(bytes.len()),
            Some(error) => Err(io::Error::other(error.to_string())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;

    use super::*;

    type Begun = RefCell<Option<(Bytes, Rest)>>;

    fn reply<'a>(flag: &'a AtomicBool, begun: &'a Begun, patience: Duration) -> GrowingReply<'a> {
        let mut reply = GrowingReply::new(flag, patience, |beginning, rest| {
            *begun.borrow_mut() = Some((beginning, rest));
            Ok(())
        });
        reply.max_whole = 1000;
        reply
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_small_reply_is_whole_and_its_error_is_the_answer() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut whole = reply(&flag, &begun, LONG);
        whole.write_all(&[1; 1000]).unwrap();
        assert_eq!(whole.end(Ok(())).unwrap(), Some(vec![1; 1000]));
        let mut failed = reply(&flag, &begun, LONG);
        failed.write_all(&[1; 1000]).unwrap();
        assert!(matches!(failed.end(Err(Error::Cancelled)), Err(Error::Cancelled)));
        assert!(!flag.load(Ordering::Acquire) && begun.borrow().is_none());
    }

    #[tokio::test]
    async fn a_large_one_begins_with_what_there_is_and_goes_on_as_it_grows() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut growing = reply(&flag, &begun, LONG);
        growing.write_all(&[1; 1001]).unwrap();
        assert!(flag.load(Ordering::Acquire));
        growing.write_all(&vec![2; PIECE]).unwrap();
        growing.write_all(&[3; 5]).unwrap();
        assert_eq!(growing.end(Ok(())).unwrap(), None);
        let (beginning, rest) = begun.borrow_mut().take().unwrap();
        assert_eq!(beginning, vec![1; 1001]);
        assert_eq!(all(rest).await, Ok([vec![2; PIECE], vec![3; 5]].concat()));
    }

    #[tokio::test]
    async fn one_that_fails_after_its_beginning_breaks_off() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut growing = reply(&flag, &begun, LONG);
        growing.write_all(&[1; 1001]).unwrap();
        assert!(growing.end(Err(Error::fault("decode", "cut"))).is_err());
        let (_, rest) = begun.borrow_mut().take().unwrap();
        assert!(all(rest).await.is_err());
    }

    #[test]
    fn what_was_kept_is_sent_at_the_pace_of_the_client() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut growing = reply(&flag, &begun, LONG);
        // As much as one who takes nothing leaves room for.
        growing.write_all(&vec![1; 5 * PIECE]).unwrap();
        assert_eq!(begun.borrow().as_ref().unwrap().0.len(), PIECE);
        assert_eq!(growing.pace.sent, 4 * PIECE as u64);
        growing.pace.left = Duration::ZERO;
        assert!(growing.write_all(&vec![1; PIECE]).is_err());
    }

    #[test]
    fn one_that_may_not_begin_is_an_error_with_nothing_sent() {
        let flag = AtomicBool::new(false);
        let mut growing = GrowingReply::new(&flag, LONG, |_, _| Err(Error::bad_request("no")));
        growing.max_whole = 1000;
        assert!(growing.write_all(&[1; 1001]).is_err());
        assert_eq!(growing.end(Ok(())).unwrap_err().status(), 400);
        assert!(!flag.load(Ordering::Acquire));
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_and_nothing_is_written_after() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut growing = reply(&flag, &begun, Duration::ZERO);
        growing.write_all(&[1; 1001]).unwrap();
        growing.write_all(&vec![2; 4 * PIECE]).unwrap();
        assert!(growing.write_all(&vec![2; PIECE]).is_err());
        assert!(growing.write_all(&[0]).is_err());
        let error = growing.end(Ok(())).unwrap_err();
        assert!(error.to_string().contains("too slowly"), "{error}");
    }

    #[test]
    fn a_client_that_goes_is_no_failure() {
        let (flag, begun) = (AtomicBool::new(false), Begun::default());
        let mut growing = reply(&flag, &begun, LONG);
        growing.write_all(&[1; 1001]).unwrap();
        drop(begun.borrow_mut().take());
        assert!(growing.write_all(&vec![2; PIECE]).is_err());
        assert!(matches!(growing.end(Ok(())), Err(Error::Cancelled)));
    }

    #[test]
    fn patience_is_for_a_number_of_bytes() {
        let mut pace = Pace {
            patience: LONG,
            left: LONG,
            sent: 0,
        };
        pace.took(PACED - 1, LONG / 2);
        assert_eq!(pace.left, LONG / 2);
        pace.took(1, LONG / 4);
        assert_eq!((pace.left, pace.sent), (LONG, 0));
    }

    async fn all(mut rest: Rest) -> Result<Vec<u8>, crate::server::Broken> {
        let mut bytes = Vec::new();
        while let Some(piece) = poll_fn(|ctx| rest.poll_piece(ctx)).await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }
}
