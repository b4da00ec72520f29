//! A value made by the first call that needs it, for all later ones.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iiphost_plugin_api::{CallContext, DecodeError};

/// How often a waiting call looks whether it was cancelled.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);

/// Empty until a call makes the value.
pub(crate) struct Once<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Empty,
    Making,
    Made(Arc<T>),
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State::Empty),
            changed: Condvar::new(),
        }
    }
}

impl<T> Once<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value if it is made.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        match &*self.lock() {
            State::Made(value) => Some(Arc::clone(value)),
            _ => None,
        }
    }

    /// Forgets the value; whoever has it keeps it. One that is being made stays.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        if let State::Made(_) = &*state {
            *state = State::Empty;
        }
    }

    /// The value, by `make` if no call has made it yet. Others wait for it; if `make` fails, the next one tries.
    ///
    /// # Errors
    /// Those of `make`, `Cancelled` or `DeadlineExceeded` while waiting.
    pub(crate) fn get_or_make(
        &self,
        ctx: &CallContext<'_>,
        make: impl FnOnce() -> Result<T, DecodeError>,
    ) -> Result<Arc<T>, DecodeError> {
        let mut state = self.lock();
        loop {
            match &*state {
                State::Made(value) => return Ok(Arc::clone(value)),
                State::Empty => break,
                State::Making => {}
            }
            ctx.checkpoint()?;
            state = self
                .changed
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *state = State::Making;
        drop(state);
        let mut turn = Turn {
            once: self,
            outcome: State::Empty,
        };
        let value = Arc::new(make()?);
        turn.outcome = State::Made(Arc::clone(&value));
        Ok(value)
    }
}

/// Ends the turn of the call that makes the value, also when it fails or panics.
struct Turn<'a, T> {
    once: &'a Once<T>,
    outcome: State<T>,
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        *self.once.lock() = std::mem::replace(&mut self.outcome, State::Empty);
        self.once.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_plugin_api::{Limits, PlainServices};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_value_is_made_once_and_a_failure_is_tried_again() {
        let services = PlainServices::with_time(Duration::from_secs(10));
        let ctx = CallContext::new(Limits::default(), &services);
        let once = Once::default();
        assert!(
            once.get_or_make(&ctx, || Err::<u8, _>(DecodeError::io("gone")))
                .is_err()
        );
        assert!(once.get().is_none());
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let value = once.get_or_make(&ctx, || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Ok(7)
                    });
                    assert_eq!(*value.unwrap(), 7);
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(once.get().as_deref(), Some(&7));
    }
}
