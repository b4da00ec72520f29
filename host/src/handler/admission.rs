//! What is refused before any work: the queue and the time a request has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Handler;
use crate::decoder::CallScope;
use crate::error::Error;
use crate::workers::{QueueFull, Urgency};

/// A client is never told to come back later than that: by then the estimate is worth nothing.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

impl Handler {
    /// When a refused client may come back: once the jobs that wait now are done, at the pace of late.
    pub(super) fn retry_after(&self) -> Duration {
        let wait = self.workers.expected_wait(Urgency::Export);
        wait.clamp(Duration::from_secs(1), LONGEST_RETRY)
    }

    pub(super) fn overloaded(&self, full: &QueueFull) -> Error {
        Error::Unavailable {
            reason: full.to_string(),
            retry_after: self.retry_after(),
        }
    }

    /// Refuses work that would begin after its deadline, at the pace of late: it would only keep others
    /// waiting.
    ///
    /// # Errors
    /// 503.
    pub(super) fn admit(&self, urgency: Urgency, scope: &CallScope) -> Result<(), Error> {
        let left = scope.deadline().saturating_duration_since(Instant::now());
        let wait = self.workers.expected_wait(urgency);
        if wait < left {
            return Ok(());
        }
        Err(Error::Unavailable {
            reason: format!(
                "{} jobs are waiting, about {:.1} s of work, and the request has {:.1} s (REQUEST_TIMEOUT)",
                self.workers.waiting(),
                wait.as_secs_f64(),
                left.as_secs_f64()
            ),
            retry_after: self.retry_after(),
        })
    }

    /// Runs a closure on the render pool and waits for it until the deadline.
    pub(super) async fn on_pool<T: Send + 'static>(
        self: &Arc<Self>,
        urgency: Urgency,
        scope: &CallScope,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.admit(urgency, scope)?;
        let (sender, receiver) = oneshot::channel();
        let handler = self.clone();
        let job_scope = scope.clone();
        let job = move || {
            if sender.is_closed() || job_scope.is_abandoned() {
                return;
            }
            // Nobody listens any more if this fails; the work was done for nothing.
            let _ = sender.send(work(&handler));
        };
        self.workers
            .submit(urgency, job)
            .map_err(|full| self.overloaded(&full))?;
        self.until_deadline(scope, receiver)
            .await?
            .map_err(|_| Error::fault("render", "a job was lost"))?
    }

    pub(super) async fn until_deadline<F: Future>(
        &self,
        scope: &CallScope,
        future: F,
    ) -> Result<F::Output, Error> {
        tokio::time::timeout_at(scope.deadline().into(), future)
            .await
            .map_err(|_| Error::Unavailable {
                reason: format!(
                    "not finished within {} s (REQUEST_TIMEOUT)",
                    self.config.limits.request_time.as_secs()
                ),
                retry_after: self.retry_after(),
            })
    }
}
