//! Making a picture once for all who want it: joining, looking in memcached, the render pool.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Handler;
use super::export::Seat;
use super::growing::GrowingReply;
use super::neighbors::Wanted;
use super::picture::{CachedPicture, Prepared};
use crate::cache::{Fetched, Lease, Memcached, PictureKey, Ticket, Waiter};
use crate::decoder::CallScope;
use crate::error::Error;
use crate::metrics::Origin;
use crate::protocol::OpenedImage;
use crate::server::Rest;

/// A picture, whole or as far as it is made.
#[derive(Clone, Debug)]
pub(super) enum Product {
    Whole(CachedPicture),
    /// Too large to be kept: it is sent while it is made, to the first who takes it.
    Begun(Arc<Mutex<Option<Begun>>>),
}

/// A reply that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// The beginning of the body, with the tag of the whole.
    pub(super) picture: CachedPicture,
    pub(super) rest: Rest,
}

/// A picture, and how it came about.
#[derive(Clone, Debug)]
pub(super) struct Made<P = Product> {
    pub(super) picture: P,
    pub(super) origin: Origin,
    /// Time before the work on it began.
    pub(super) queued: Duration,
    /// Time the work took.
    pub(super) worked: Duration,
}

/// What a flight ends with.
pub(super) type Outcome = Result<Made, Arc<Error>>;

impl Made {
    fn with<P>(self, picture: P) -> Made<P> {
        Made {
            picture,
            origin: self.origin,
            queued: self.queued,
            worked: self.worked,
        }
    }
}

impl Handler {
    /// Makes a picture, or waits for the one who makes it already. Gives what is made of its body, and the rest to come.
    pub(super) async fn make(
        self: &Arc<Self>,
        prepared: &Prepared,
        scope: &CallScope,
    ) -> Result<(Made<CachedPicture>, Option<Rest>), Error> {
        loop {
            let (mut waiter, leads) = self.flights.join(&prepared.key);
            if leads {
                self.begin(prepared, scope, &waiter)?;
            }
            let outcome = self.until_deadline(scope, waiter.wait()).await?;
            match outcome.unwrap_or_else(|| Err(Arc::new(Error::fault("render", "a job was lost")))) {
                Ok(made) => {
                    let origin = if leads { made.origin } else { Origin::Joined };
                    let made = Made { origin, ..made };
                    match made.picture.clone() {
                        Product::Whole(picture) => return Ok((made.with(picture), None)),
                        Product::Begun(begun) => {
                            // Whoever comes late makes the picture for itself.
                            if let Some(Begun { picture, rest }) = begun.lock().take() {
                                // The work is wanted for as long as the rest is.
                                return Ok((made.with(picture), Some(rest.keeping(waiter))));
                            }
                        }
                    }
                }
                // The work had the time of the one who began it, who came earlier. There is time left here.
                Err(error)
                    if !leads
                        && matches!(*error, Error::Unavailable { .. })
                        && Instant::now() < scope.deadline() => {}
                Err(error) => return Err(Error::shared(&error)),
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        prepared: &Prepared,
        scope: &CallScope,
        waiter: &Waiter<Outcome>,
    ) -> Result<(), Error> {
        let job = Job {
            prepared: prepared.clone(),
            // The work belongs to all who wait for it: it stops when the last one leaves.
            scope: CallScope::new(scope.deadline(), waiter.abandoned()),
            end: End {
                handler: self.clone(),
                key: prepared.key.clone(),
                ticket: Some(waiter.ticket()),
            },
            since: Instant::now(),
            promise: None,
            wanted: None,
        };
        let Some(memcached) = &self.memcached else {
            return job.submit();
        };
        let client = memcached.clone();
        memcached.spawn(job.look_up(client));
        Ok(())
    }

    /// The name of a picture in memcached.
    fn shared_key(&self, prepared: &Prepared) -> PictureKey {
        let identifier = prepared.image.identifier();
        PictureKey::new(
            &prepared.shared_hash(self.replies.fingerprint()),
            &self.shared_name(identifier),
        )
    }

    /// The name of an image in memcached: however a client writes the identifier, and on every server.
    pub(super) fn shared_name(&self, identifier: &[u8]) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        let path = self.handles.root().base_path(identifier);
        path.map_or_else(
            |_| identifier.to_vec(),
            |path| path.as_os_str().as_bytes().to_vec(),
        )
    }
}

/// The making of one picture, from the first who wants it to the last who waits.
struct Job {
    prepared: Prepared,
    scope: CallScope,
    end: End,
    since: Instant,
    promise: Option<Promise>,
    wanted: Option<Wanted>,
}

impl Job {
    /// Looks in memcached, then goes to the render pool.
    async fn look_up(mut self, client: Memcached) {
        let handler = self.end.handler.clone();
        let fetched = client.fetch(handler.shared_key(&self.prepared)).await;
        match fetched {
            Fetched::Found(body) => {
                let made = Made {
                    picture: Product::Whole(handler.keep(&self.prepared, body)),
                    origin: Origin::Memcached,
                    queued: self.since.elapsed(),
                    worked: Duration::ZERO,
                };
                self.end.with(Ok(made));
            }
            Fetched::Missing(lease) => {
                self.promise = Some(Promise {
                    client,
                    lease: Some(lease),
                });
                // The one who began waits for the outcome like all others.
                let _ = self.submit();
            }
        }
    }

    /// Queues the work.
    ///
    /// # Errors
    /// 503 where there is no room for it, or no time.
    fn submit(mut self) -> Result<(), Error> {
        let handler = self.end.handler.clone();
        let urgency = self.prepared.urgency;
        handler.admit(urgency, &self.scope)?;
        if handler.is_large_export(&self.prepared) {
            let submitted = handler.exports.submit(move |seat| self.run_export(seat));
            return submitted.map_err(|full| handler.overloaded(&full));
        }
        self.wanted = handler.announce(&self.prepared);
        let submitted = handler.workers.submit(urgency, move || self.run());
        submitted.map_err(|full| handler.overloaded(&full))
    }

    fn run(self) {
        let start = Instant::now();
        let handler = &self.end.handler;
        let result = if self.scope.is_abandoned() {
            Err(Error::Cancelled)
        } else {
            handler.render(&self.prepared, self.wanted, &self.scope)
        };
        let is_whole = self.prepared.is_whole();
        if let (Some(promise), Ok(picture), true) = (self.promise, &result, is_whole) {
            promise.keep(picture.body.clone());
        }
        let picture = result.map(Product::Whole);
        self.end.with(picture.map(|p| made_here(p, start, self.since)));
    }

    /// [`run`](Self::run) on a thread for large exports.
    fn run_export(self, seat: &Seat<'_>) {
        let start = Instant::now();
        let Self {
            prepared,
            scope,
            end,
            since,
            promise,
            ..
        } = self;
        let handler = end.handler.clone();
        let (end, promise) = (Cell::new(Some(end)), Cell::new(promise));
        let has_begun = AtomicBool::new(false);
        let patience = handler.config.limits.request_time;
        let mut reply = GrowingReply::new(&has_begun, patience, |body, rest| {
            seat.leave()?;
            // Not shared: it will not be there to be asked for.
            drop(promise.take());
            let etag = prepared.etag(handler.replies.fingerprint()).into();
            let picture = CachedPicture { body, etag };
            let begun = Product::Begun(Arc::new(Mutex::new(Some(Begun { picture, rest }))));
            if let Some(end) = end.take() {
                end.with(Ok(made_here(begun, start, since)));
            }
            Ok(())
        });
        let made = handler.export(&prepared, &scope, &has_begun, &mut reply);
        let result = reply.end(made);
        let Some(end) = end.take() else {
            if let Err(error) = result {
                handler.replies.broke_off(&error, prepared.image.identifier());
            }
            return;
        };
        let result = result.and_then(|bytes| {
            let bytes = bytes.ok_or_else(|| Error::fault("render", "a reply was sent to nobody"))?;
            let picture = handler.keep(&prepared, bytes.into_boxed_slice().into());
            if let (Some(promise), true) = (promise.take(), prepared.is_whole()) {
                promise.keep(picture.body.clone());
            }
            Ok(made_here(Product::Whole(picture), start, since))
        });
        end.with(result);
    }
}

fn made_here(picture: Product, start: Instant, since: Instant) -> Made {
    Made {
        picture,
        origin: Origin::Made,
        queued: start.duration_since(since),
        worked: start.elapsed(),
    }
}

/// The promise to other servers that a picture is being made; taken back when it is not.
struct Promise {
    client: Memcached,
    lease: Option<Lease>,
}

impl Promise {
    fn keep(mut self, body: Bytes) {
        if let Some(lease) = self.lease.take() {
            self.client.store(lease, body);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.client.release(lease);
        }
    }
}

/// Ends a flight, whatever happens to its job.
struct End {
    handler: Arc<Handler>,
    key: Vec<u8>,
    ticket: Option<Ticket<Outcome>>,
}

impl End {
    fn with(mut self, result: Result<Made, Error>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Made, Error>) {
        if let Some(ticket) = self.ticket.take() {
            self.handler
                .flights
                .finish(&self.key, &ticket, result.map_err(Arc::new));
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let error = if std::thread::panicking() {
            Error::fault("render", "a job panicked")
        } else {
            Error::Unavailable {
                reason: "there was no room or time for the work".into(),
                retry_after: self.handler.retry_after(),
            }
        };
        self.finish(Err(error));
    }
}
