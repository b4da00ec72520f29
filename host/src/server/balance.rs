//! Connections that stay are spread evenly over the I/O threads.
//!
//! Whoever accepts a connection keeps it, and the thread that happens to wake first could keep all the
//! FastCGI connections a web server holds open. So a thread that has more than another leaves it a moment to accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections each I/O thread keeps, as one of them sees it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    counts: Arc<[AtomicUsize]>,
    own: usize,
}

/// A connection that is kept, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Kept(Load);

impl Load {
    /// A view for each of a number of threads.
    pub(super) fn of_threads(threads: usize) -> Vec<Self> {
        let counts: Arc<[AtomicUsize]> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
        (0..threads)
            .map(|own| Self {
                counts: Arc::clone(&counts),
                own,
            })
            .collect()
    }

    /// Whether another thread keeps fewer.
    pub(super) fn is_ahead(&self) -> bool {
        let own = self.own();
        own > 0
            && self
                .counts
                .iter()
                .any(|count| count.load(Ordering::Relaxed) < own)
    }

    /// Counts a connection of this thread.
    pub(super) fn keep(&self) -> Kept {
        if let Some(count) = self.counts.get(self.own) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Kept(self.clone())
    }

    fn own(&self) -> usize {
        self.counts
            .get(self.own)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(count) = self.0.counts.get(self.0.own) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_ahead_while_another_keeps_fewer() {
        let threads = Load::of_threads(2);
        assert!(!threads[0].is_ahead());
        let first = threads[0].keep();
        assert!(threads[0].is_ahead() && !threads[1].is_ahead());
        let second = threads[1].keep();
        assert!(!threads[0].is_ahead() && !threads[1].is_ahead());
        drop(first);
        assert!(!threads[0].is_ahead() && threads[1].is_ahead());
        drop(second);
        assert!(!threads[1].is_ahead());
    }
}
