//! What a module has done wrong so far.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{DecodeError, ErrorKind};

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the faults of one module over all its readers. The host decides what follows from them.
#[derive(Debug, Default)]
pub struct Faults {
    panics: AtomicU64,
    lies: AtomicU64,
}

impl Faults {
    /// Calls that ended in a panic.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Panics of all modules in calls that this thread has made. A claim or a release has no way to say
    /// that it panicked; a caller that looks before and after knows.
    #[must_use]
    pub fn panics_of_this_thread() -> u64 {
        PANICS.get()
    }

    /// Answers that could not be true, such as a level without pixels.
    #[must_use]
    pub fn lies(&self) -> u64 {
        self.lies.load(Ordering::Relaxed)
    }

    /// An impossible answer, counted, as an error that names it.
    pub(crate) fn lie(&self, what: &str) -> DecodeError {
        self.lies.fetch_add(1, Ordering::Relaxed);
        Lie(what.to_owned()).into()
    }

    /// Passes the result of a call or of a check on, and counts it if it is a fault.
    pub(crate) fn settle<E: Fault>(&self, result: Result<(), E>) -> Result<(), DecodeError> {
        result.map_err(|error| {
            error.count(self);
            error.into()
        })
    }
}

/// An answer that cannot be true, naming the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lie(pub(crate) String);

impl From<Lie> for DecodeError {
    fn from(lie: Lie) -> Self {
        Self::impossible_answer(&lie.0)
    }
}

/// An error that may be the module's fault.
pub(crate) trait Fault: Into<DecodeError> {
    /// Adds it to the count it belongs to.
    fn count(&self, faults: &Faults);
}

impl Fault for DecodeError {
    fn count(&self, faults: &Faults) {
        if self.kind() == ErrorKind::Panicked {
            faults.panics.fetch_add(1, Ordering::Relaxed);
            PANICS.set(PANICS.get().wrapping_add(1));
        }
    }
}

impl Fault for Lie {
    fn count(&self, faults: &Faults) {
        faults.lies.fetch_add(1, Ordering::Relaxed);
    }
}
