//! Large exports that are encoded row by row, and sent while they are made if need be.
//!
//! Each has a thread of its own, which encodes and waits for the client; the render pool makes the pixels, a part after
//! the other, so that an export takes its turn with all other work for every part. While one part is encoded, the next
//! one is made. Whoever waits for a slow client holds this thread and two parts, no thread of the pool, and no other
//! export: its thread is replaced when the reply begins.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::growing::{GrowingReply, MAX_WHOLE};
use super::picture::Prepared;
use super::{Handler, pixels};
use crate::decoder::CallScope;
use crate::encode::{self, Control, Rows, Shape};
use crate::error::Error;
use crate::raster::Raster;
use crate::view::OutputFormat;
use crate::workers::{QueueFull, Urgency};

/// Pictures of so many bytes of samples and fewer are made at once. The longest code of a JPEG has 27 bits for a sample of
/// 8: none of these grows beyond what is kept whole.
const MAX_AT_ONCE: u64 = 16 << 20;

/// How much later than it should a part may come: a module that does not look at the time.
const GRACE: Duration = Duration::from_secs(5);

/// What these threads take off their priority: a tile that is being made goes first.
const NICE: i32 = 5;

/// For each thread that makes exports so many may wait for clients.
const SENDERS: usize = 4;

type Work = Box<dyn FnOnce(&Seat<'_>) + Send>;

/// The threads of large exports.
#[derive(Debug)]
pub(super) struct Exports {
    queue: Sender<Work>,
    limit: usize,
}

/// What the threads have in common.
#[derive(Debug)]
struct Team {
    work: Receiver<Work>,
    started: AtomicUsize,
    /// Threads that send a reply, and no longer count among those that take work.
    sending: AtomicUsize,
    max_sending: usize,
}

/// The place of a thread among those that take work.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    team: &'a Arc<Team>,
    is_left: Cell<bool>,
}

impl Exports {
    /// Threads for a pool of so many, and a queue. Most of the time they wait, for the pool or for a client.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(render_threads: usize, limit: usize) -> std::io::Result<Self> {
        let limit = limit.max(1);
        let (queue, work) = bounded::<Work>(limit);
        let threads = (2 * render_threads).max(4);
        let team = Arc::new(Team {
            work,
            started: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            max_sending: SENDERS * threads,
        });
        for _ in 0..threads {
            team.start_thread()?;
        }
        Ok(Self { queue, limit })
    }

    /// Exports that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Queues the work on an export.
    ///
    /// # Errors
    /// [`QueueFull`]; the work is dropped.
    pub(super) fn submit(&self, work: impl FnOnce(&Seat<'_>) + Send + 'static) -> Result<(), QueueFull> {
        self.queue.try_send(Box::new(work)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => QueueFull {
                waiting: self.queue.len(),
                limit: self.limit,
            },
        })
    }
}

impl Team {
    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let team = self.clone();
        std::thread::Builder::new()
            .name(format!("export-{number}"))
            .spawn(move || team.serve())?;
        Ok(())
    }

    fn serve(self: &Arc<Self>) {
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!("exports are encoded at the priority of tiles: {error}");
        }
        for work in &self.work {
            let seat = Seat {
                team: self,
                is_left: Cell::new(false),
            };
            // Its own drop guard has told its waiters.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&seat))).is_err() {
                tracing::error!("an export panicked");
            }
            if seat.is_left.get() {
                self.sending.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

impl Seat<'_> {
    /// Lets another thread take the next export: this one is at the pace of its client from now on, and a few slow
    /// clients would hold up all exports. It ends with its work.
    ///
    /// # Errors
    /// 503 where as many are being sent as may be.
    pub(super) fn leave(&self) -> Result<(), Error> {
        let Team {
            sending, max_sending, ..
        } = &**self.team;
        let more = |count| (count < *max_sending).then_some(count + 1);
        let counted = sending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map_err(|count| Error::Unavailable {
            reason: format!("{count} large replies are being sent"),
            retry_after: Duration::from_secs(30),
        })?;
        match self.team.start_thread() {
            Ok(()) => self.is_left.set(true),
            // It keeps its place then, and comes back to it.
            Err(error) => {
                sending.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!("no more threads for large exports: {error}");
            }
        }
        Ok(())
    }
}

impl Handler {
    /// Whether a picture is one for [`export`](Self::export).
    pub(super) fn is_large_export(&self, prepared: &Prepared) -> bool {
        let format = prepared.plan.output.format;
        let bands = if format == OutputFormat::Jpeg { 3 } else { 4 };
        let sample = if self.keeps_depth(prepared) { 2 } else { 1 };
        let bytes = prepared.plan.final_size().pixels().saturating_mul(bands * sample);
        encode::takes_rows(format)
            && prepared.urgency == Urgency::Export
            && bytes > MAX_AT_ONCE
            && self.stored_as(prepared).is_none()
    }

    /// Makes and encodes a picture, part by part.
    ///
    /// # Errors
    /// As making it at once; what was written by then stays written.
    pub(super) fn export(
        self: &Arc<Self>,
        prepared: &Prepared,
        scope: &CallScope,
        has_begun: &AtomicBool,
        out: &mut GrowingReply<'_>,
    ) -> Result<(), Error> {
        let check = || match scope.is_abandoned() {
            true => Err(Error::Cancelled),
            // A reply that has begun has the time it takes, part by part.
            false if scope.is_over() && !has_begun.load(Ordering::Acquire) => Err(Error::Unavailable {
                reason: "deadline passed while encoding".into(),
                retry_after: Duration::from_secs(5),
            }),
            false => Ok(()),
        };
        check()?;
        let (plan, page) = (&prepared.plan, prepared.page());
        let parts = pixels::parts(plan, page);
        let bytes = |rows: &Range<u32>| pixels::pixel_bytes(plan, page, rows);
        let largest = parts.iter().map(bytes).max().unwrap_or(0);
        // One is made while another is encoded.
        let held = largest.saturating_mul(parts.len().min(2) as u64);
        // Of the reply, no more than what is kept of it.
        let held = held.saturating_add((MAX_WHOLE as u64).min(4 * plan.final_size().pixels()));
        // Slow clients hold theirs for minutes: something has to be left for tiles.
        let _share = self.export_memory.reserve(held)?;
        let _memory = self.memory.reserve(held)?;
        let mut rows = Parts {
            handler: self,
            prepared,
            scope,
            has_begun,
            left: parts.into_iter(),
            next: None,
        };
        // What is said about a picture depends on its bands, which the first part shows.
        let first = rows
            .take()?
            .ok_or_else(|| Error::fault("render", "a picture without rows"))?;
        let shape = Shape::of_part(&first, plan.final_size());
        let metadata = self.metadata(prepared, &shape, self.colors(prepared));
        let mut rows = FirstThen {
            first: Some(first),
            rows,
        };
        let give_way = || ();
        let control = Control::new(&check, &give_way);
        encode::encode_rows(&shape, &mut rows, &prepared.settings, &metadata, control, out)
    }
}

/// The parts of a picture, each made by the pool while the one before it is used.
struct Parts<'a> {
    handler: &'a Arc<Handler>,
    prepared: &'a Prepared,
    scope: &'a CallScope,
    has_begun: &'a AtomicBool,
    left: std::vec::IntoIter<Range<u32>>,
    next: Option<Coming>,
}

/// A part that is being made.
struct Coming {
    part: Receiver<Result<Raster, Error>>,
    deadline: Instant,
}

impl Parts<'_> {
    fn take(&mut self) -> Result<Option<Raster>, Error> {
        let Some(coming) = self.next.take().or_else(|| self.begin()) else {
            return Ok(None);
        };
        self.next = self.begin();
        match coming.part.recv_deadline(coming.deadline + GRACE) {
            Ok(part) => part.map(Some),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::fault("render", "a part of a picture was lost"))
            }
            Err(RecvTimeoutError::Timeout) => Err(Error::Unavailable {
                reason: "a part of a picture took too long".into(),
                retry_after: self.handler.retry_after(),
            }),
        }
    }

    /// Has the next part made.
    fn begin(&mut self) -> Option<Coming> {
        let rows = self.left.next()?;
        // Each part of a reply that has begun has the time of a request.
        let deadline = match self.has_begun.load(Ordering::Acquire) {
            true => Instant::now() + self.handler.config.limits.request_time,
            false => self.scope.deadline(),
        };
        let scope = self.scope.until(deadline);
        let (handler, prepared) = (self.handler.clone(), self.prepared.clone());
        let (sender, part) = bounded(1);
        self.handler.workers.submit_part(move || {
            let made = match scope.is_abandoned() {
                true => Err(Error::Cancelled),
                false => {
                    let made = handler.pixels(&prepared, rows, None, &scope);
                    made.map(|(raster, _)| raster)
                }
            };
            // Nobody waits for it any more if this fails.
            let _ = sender.send(made);
        });
        Some(Coming { part, deadline })
    }
}

/// The part that was looked at, then the others.
struct FirstThen<'a> {
    first: Option<Raster>,
    rows: Parts<'a>,
}

impl Rows for FirstThen<'_> {
    fn next_rows(&mut self) -> Result<Option<Cow<'_, Raster>>, Error> {
        let part = match self.first.take() {
            Some(first) => Some(first),
            None => self.rows.take()?,
        };
        Ok(part.map(Cow::Owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_for_clients_hold_up_no_other_and_are_bounded() {
        let exports = Exports::start(1, 100).unwrap();
        let most = SENDERS * 4;
        let (told, begun) = bounded(most + 1);
        let (client, waits) = bounded::<()>(0);
        let send = || {
            let (told, waits) = (told.clone(), waits.clone());
            let work = move |seat: &Seat<'_>| {
                let left = seat.leave();
                let has_left = left.is_ok();
                told.send(left).unwrap();
                // Until the client is dropped.
                if has_left {
                    let _ = waits.recv();
                }
            };
            exports.submit(work).unwrap();
        };
        let next = || begun.recv_timeout(Duration::from_secs(20)).unwrap();
        for _ in 0..most {
            send();
            assert!(next().is_ok());
        }
        send();
        assert_eq!(next().unwrap_err().status(), 503);
        // One whose reply is whole is made all the same.
        let (made, is_made) = bounded(1);
        exports.submit(move |_| made.send(()).unwrap()).unwrap();
        is_made.recv_timeout(Duration::from_secs(20)).unwrap();
        drop(client);
        let start = Instant::now();
        loop {
            send();
            if next().is_ok() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the places come back");
            std::thread::yield_now();
        }
    }
}
