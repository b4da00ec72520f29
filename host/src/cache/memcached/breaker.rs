//! A server that fails again and again is left alone for a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures in a row after which the server is left alone.
const FAILURES: u32 = 3;

/// How long, at first; each failed attempt doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The state of one server: in use, or left alone until a time. After that one attempt is made, and the
/// others wait for its outcome.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pause: Duration,
    until: Option<Instant>,
}

impl Breaker {
    /// Whether the server may be asked now. The first to ask after a pause makes the attempt.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // Others stay away until the attempt has ended, or was given up.
                state.until = Some(now + state.pause);
                true
            }
        }
    }

    /// The server is left alone now.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().until.is_some()
    }

    /// Notes an answer; true if the server was left alone before.
    pub(super) fn succeeded(&self) -> bool {
        let mut state = self.state.lock();
        let was_open = state.until.is_some();
        *state = State::default();
        was_open
    }

    /// Notes a failure; true if the server is left alone from now on.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return false;
        }
        let was_open = state.until.is_some();
        // Requests that began before the pause, and fail during it, say nothing new.
        if !was_open || state.until.is_some_and(|until| until <= now + state.pause) {
            state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            state.until = Some(now + state.pause);
        }
        !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_left_alone_after_failures_in_a_row_and_tried_by_one() {
        let breaker = Breaker::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert!(!breaker.failed(start) && !breaker.failed(start));
        assert!(!breaker.succeeded(), "an answer forgives");
        assert!(!breaker.failed(start) && !breaker.failed(start) && breaker.allows(start));
        assert!(breaker.failed(start) && breaker.is_open());
        assert!(!breaker.allows(after(999)));
        assert!(breaker.allows(after(1000)), "one attempt");
        assert!(!breaker.allows(after(1001)), "and no second one beside it");
        assert!(!breaker.failed(after(1050)));
        assert!(!breaker.allows(after(2900)), "twice as long");
        assert!(breaker.allows(after(3050)));
        assert!(breaker.succeeded() && breaker.allows(after(3051)));
    }

    #[test]
    fn the_pause_has_an_end() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 0..100 {
            breaker.failed(now);
            now += LONGEST_PAUSE;
            assert!(breaker.allows(now) || !breaker.is_open());
        }
    }
}
