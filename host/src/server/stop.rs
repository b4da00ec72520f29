//! The order to stop, as the connections of one I/O thread see it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// How far a stop has come, told by the main thread to the I/O threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Serving.
    Running,
    /// No new connections, no new requests; running requests end.
    Draining,
    /// Everything is dropped.
    Ending,
}

/// The order within one I/O thread: connections listen to this instead of to the main thread, so that
/// waiting for a request touches no memory of other threads.
#[derive(Debug, Default)]
pub(super) struct Stop {
    ordered: AtomicBool,
    notify: Notify,
}

impl Stop {
    pub(super) fn order(&self) {
        self.ordered.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.ordered.load(Ordering::Acquire)
    }

    /// Returns once the order has come.
    pub(super) async fn ordered(&self) {
        // Made before the check, it hears of an order that comes between check and wait.
        let notified = self.notify.notified();
        if !self.is_ordered() {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn an_order_reaches_those_who_wait_and_those_who_come_later() {
        let stop = Arc::new(Stop::default());
        let waiting = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move { stop.ordered().await }
        });
        tokio::task::yield_now().await;
        stop.order();
        stop.ordered().await;
        waiting.await.expect("the waiting task ends");
    }
}
