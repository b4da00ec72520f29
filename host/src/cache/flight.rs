//! Single flight: identical work that is wanted several times at once is done once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

type Running<V> = HashMap<Box<[u8]>, Arc<Flight<V>>>;

/// Work in progress, by key.
#[derive(Debug)]
pub struct Flights<V> {
    running: Mutex<Running<V>>,
}

#[derive(Debug)]
struct Flight<V> {
    result: watch::Sender<Option<V>>,
    waiting: AtomicUsize,
    abandoned: Arc<AtomicBool>,
}

/// One who waits for a piece of work. When the last one is dropped before the end, the work is told to stop.
#[derive(Debug)]
pub struct Waiter<V> {
    flight: Arc<Flight<V>>,
    result: watch::Receiver<Option<V>>,
}

impl<V: Clone> Default for Flights<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone> Flights<V> {
    /// No work in progress.
    #[must_use]
    pub fn new() -> Self {
        Self {
            running: Mutex::new(HashMap::new()),
        }
    }

    /// Joins the work of a key. The second value is true for the first to come: who gets it starts the
    /// work and ends it with [`finish`](Self::finish), whatever happens.
    pub fn join(&self, key: &[u8]) -> (Waiter<V>, bool) {
        let mut running = self.running.lock();
        if let Some(flight) = running.get(key) {
            // Work everybody left is told to stop, now or in a moment: it cannot be joined.
            let joined = flight
                .waiting
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n > 0).then_some(n + 1));
            if joined.is_ok() {
                return (
                    Waiter {
                        flight: flight.clone(),
                        result: flight.result.subscribe(),
                    },
                    false,
                );
            }
        }
        let (sender, receiver) = watch::channel(None);
        let flight = Arc::new(Flight {
            result: sender,
            waiting: AtomicUsize::new(1),
            abandoned: Arc::new(AtomicBool::new(false)),
        });
        running.insert(key.into(), flight.clone());
        (
            Waiter {
                flight,
                result: receiver,
            },
            true,
        )
    }

    /// Gives the result to all who wait for `waiter`'s work and forgets the work.
    pub fn finish(&self, key: &[u8], ticket: &Ticket<V>, value: V) {
        {
            let mut running = self.running.lock();
            if running.get(key).is_some_and(|f| Arc::ptr_eq(f, &ticket.flight)) {
                running.remove(key);
            }
        }
        ticket.flight.result.send_replace(Some(value));
    }

    /// How many pieces of work are in progress.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.lock().len()
    }

    /// Whether no work is in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the worker holds to end its work; it does not count as waiting.
#[derive(Debug)]
pub struct Ticket<V> {
    flight: Arc<Flight<V>>,
}

impl<V: Clone> Waiter<V> {
    /// The worker's handle on this work.
    #[must_use]
    pub fn ticket(&self) -> Ticket<V> {
        Ticket {
            flight: self.flight.clone(),
        }
    }

    /// Set once nobody waits any more.
    #[must_use]
    pub fn abandoned(&self) -> Arc<AtomicBool> {
        self.flight.abandoned.clone()
    }

    /// Waits for the result; `None` if the worker was lost without giving one. Who waited still counts as waiting: work
    /// that goes on after its result is abandoned only when all have let go.
    pub async fn wait(&mut self) -> Option<V> {
        let value = self.result.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        if self.flight.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flight.abandoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_get_the_result_of_one_piece_of_work() {
        let flights = Flights::new();
        let (mut first, leads) = flights.join(b"k");
        assert!(leads);
        let (mut second, leads) = flights.join(b"k");
        assert!(!leads);
        let ticket = first.ticket();
        flights.finish(b"k", &ticket, 7);
        assert_eq!((first.wait().await, second.wait().await), (Some(7), Some(7)));
        drop(first);
        assert!(!second.abandoned().load(Ordering::Acquire));
        assert!(flights.is_empty());
        assert!(flights.join(b"k").1);
    }

    #[test]
    fn work_whose_last_waiter_is_just_leaving_is_not_joined() {
        let flights = Flights::<u8>::new();
        let (last, _) = flights.join(b"k");
        // Between the two steps of its drop.
        last.flight.waiting.store(0, Ordering::Release);
        assert!(flights.join(b"k").1);
        last.flight.waiting.store(1, Ordering::Release);
    }

    #[tokio::test]
    async fn work_is_abandoned_when_the_last_one_leaves_and_then_starts_anew() {
        let flights = Flights::<u8>::new();
        let (first, _) = flights.join(b"k");
        let (second, _) = flights.join(b"k");
        let (ticket, abandoned) = (first.ticket(), first.abandoned());
        drop(first);
        assert!(!abandoned.load(Ordering::Acquire));
        drop(second);
        assert!(abandoned.load(Ordering::Acquire));
        let (mut third, leads) = flights.join(b"k");
        assert!(leads);
        // The abandoned work ends late: it must not answer for the new one.
        flights.finish(b"k", &ticket, 1);
        assert_eq!(flights.len(), 1);
        let ticket = third.ticket();
        flights.finish(b"k", &ticket, 2);
        assert_eq!(third.wait().await, Some(2));
    }
}
