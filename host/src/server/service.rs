//! What answers requests: the one thing a listener knows about the rest of the host.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use super::{Request, Response, reply};
use crate::error::Error;

/// A reply that is still being made.
pub type PendingResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What answers requests. Listeners know no image, and a service knows no socket.
///
/// Called on the I/O threads: neither function may block. A panic costs its own request (500), not the
/// connection's thread.
pub trait Service: Send + Sync + 'static {
    /// Answers at once if that takes no work worth leaving the I/O thread for: a cached reply, an error. Its body
    /// is whole.
    fn try_answer(&self, request: &Request) -> Option<Response>;

    /// Answers after work elsewhere; asked only after [`try_answer`](Self::try_answer) gave nothing.
    ///
    /// If the client goes away, the future is dropped and `abandoned` is set, in this order, so that work
    /// already running on other threads can stop too.
    fn answer(self: Arc<Self>, request: Request, abandoned: Cancel) -> PendingResponse;

    /// The reply to a request that is refused before it can be asked: too long, cut short, or one more
    /// than the server takes. `request` is what is known of it, without its body.
    fn refuse(&self, request: Option<&Request>, error: &Error) -> Response {
        let _ = request;
        reply::error(error)
    }
}

/// Tells running work that nobody waits for its result.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A token that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the result is no longer wanted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for work that knows no server: set once the result is no longer wanted.
    #[must_use]
    pub fn into_flag(self) -> Arc<AtomicBool> {
        self.0
    }

    /// Says that the result is no longer wanted. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A running `answer`. Dropped before its end, it cancels the work.
pub(super) struct Answer {
    // Dropped by hand in `drop`, so that the future goes before the token is set.
    future: Option<PendingResponse>,
    abandoned: Cancel,
}

impl Answer {
    /// Asks the service; a panic of it becomes a 500.
    pub(super) fn start(service: &Arc<dyn Service>, request: Request) -> Self {
        let abandoned = Cancel::new();
        let token = abandoned.clone();
        let service = Arc::clone(service);
        let future = catch_unwind(AssertUnwindSafe(move || service.answer(request, token)))
            .unwrap_or_else(|_| Box::pin(std::future::ready(panicked())));
        Self {
            future: Some(future),
            abandoned,
        }
    }
}

impl Future for Answer {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Response> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Pending;
        };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(ctx)))
            .unwrap_or_else(|_| Poll::Ready(panicked()));
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.future.take().is_some() {
            self.abandoned.cancel();
        }
    }
}

/// [`Service::try_answer`], a panic being a 500.
pub(super) fn try_answer(service: &Arc<dyn Service>, request: &Request) -> Option<Response> {
    catch_unwind(AssertUnwindSafe(|| service.try_answer(request))).unwrap_or_else(|_| Some(panicked()))
}

/// [`Service::refuse`], a panic being a 500.
pub(super) fn refuse(service: &Arc<dyn Service>, request: Option<&Request>, error: &Error) -> Response {
    catch_unwind(AssertUnwindSafe(|| service.refuse(request, error))).unwrap_or_else(|_| panicked())
}

fn panicked() -> Response {
    // The panic hook has printed message and place.
    tracing::error!("a request ended in a panic of its handler");
    reply::error(&Error::fault("handler", "panic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl Service for Panics {
        fn try_answer(&self, request: &Request) -> Option<Response> {
            assert!(request.query != b"now", "as the test wants");
            None
        }

        fn answer(self: Arc<Self>, request: Request, _abandoned: Cancel) -> PendingResponse {
            assert!(request.query != b"call", "as the test wants");
            Box::pin(async { panic!("as the test wants") })
        }
    }

    fn request(query: &str) -> Request {
        Request {
            query: query.into(),
            ..Request::new(super::super::Transport::Http)
        }
    }

    #[tokio::test]
    async fn a_panic_of_the_service_is_a_500() {
        let service: Arc<dyn Service> = Arc::new(Panics);
        assert_eq!(try_answer(&service, &request("now")).map(|r| r.status), Some(500));
        assert_eq!(Answer::start(&service, request("call")).await.status, 500);
        assert_eq!(Answer::start(&service, request("later")).await.status, 500);
    }

    struct Waits(parking_lot::Mutex<Option<Cancel>>);

    impl Service for Waits {
        fn try_answer(&self, _request: &Request) -> Option<Response> {
            None
        }

        fn answer(self: Arc<Self>, request: Request, abandoned: Cancel) -> PendingResponse {
            *self.0.lock() = Some(abandoned);
            if request.query == b"never" {
                Box::pin(std::future::pending())
            } else {
                Box::pin(async { Response::new(200) })
            }
        }
    }

    #[tokio::test]
    async fn only_an_answer_dropped_before_its_end_is_cancelled() {
        let waits = Arc::new(Waits(parking_lot::Mutex::new(None)));
        let service: Arc<dyn Service> = waits.clone();
        drop(Answer::start(&service, request("never")));
        assert!(waits.0.lock().as_ref().is_some_and(Cancel::is_cancelled));
        assert_eq!(Answer::start(&service, request("ready")).await.status, 200);
        assert!(!waits.0.lock().as_ref().is_some_and(Cancel::is_cancelled));
    }
}
