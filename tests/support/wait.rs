//! Waiting for something to become true, never longer than a deadline.

use std::time::{Duration, Instant};

/// How long anything in these tests may take before it counts as failed. Machines under load are slow,
/// and a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// Asks again and again until there is an answer, or `None` after a time.
pub fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > time {
            return None;
        }
        // Leaves the processor to the one who is waited for.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
