//! What the host gives with a call: limits, deadline, cancellation, log.

use std::time::{Duration, Instant};

use crate::error::{DecodeError, ErrorKind};

/// How much one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels decoded, whole tiles or blocks counted.
    pub max_pixels: u64,
    /// Bytes of memory the module may hold for the call (for `open`: keep with the reader).
    pub max_bytes: u64,
    /// Threads the call may use, its own included.
    pub max_threads: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 1 << 30,
            max_bytes: 1 << 30,
            max_threads: 1,
        }
    }
}

impl Limits {
    /// Checks a number of pixels before they are decoded.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] naming the limit.
    pub fn check_pixels(&self, pixels: u64) -> Result<(), DecodeError> {
        if pixels <= self.max_pixels {
            return Ok(());
        }
        Err(DecodeError::limit(format!(
            "{pixels} pixels to decode, at most {} allowed",
            self.max_pixels
        )))
    }

    /// Checks a number of bytes before they are allocated.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] naming the limit.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), DecodeError> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        Err(DecodeError::limit(format!(
            "{bytes} bytes of memory needed, at most {} allowed",
            self.max_bytes
        )))
    }
}

/// Importance of a log line of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something the operator should know.
    Warning,
    /// Of interest now and then.
    Info,
    /// For the module's author.
    Debug,
}

/// What the host offers to a running call. Calls may come from any thread of the module.
pub trait HostServices: Send + Sync {
    /// Whether nobody waits for the result any more.
    fn is_cancelled(&self) -> bool;

    /// Time left until the deadline of the call, zero once it has passed.
    fn time_left(&self) -> Duration;

    /// Writes one line to the host's log; the host adds module and image.
    fn log(&self, level: LogLevel, message: &str);
}

/// The surroundings of one call: limits, and the services of the host.
#[derive(Clone, Copy)]
pub struct CallContext<'a> {
    /// How much the call may use.
    pub limits: Limits,
    /// Cancellation, deadline and log.
    pub host: &'a dyn HostServices,
}

/// Surroundings of [`ImageDecoder::open`](crate::ImageDecoder::open).
pub type OpenContext<'a> = CallContext<'a>;

/// Surroundings of [`ImageReader::read`](crate::ImageReader::read).
pub type ReadContext<'a> = CallContext<'a>;

impl<'a> CallContext<'a> {
    /// A context from limits and services.
    #[must_use]
    pub fn new(limits: Limits, host: &'a dyn HostServices) -> Self {
        Self { limits, host }
    }

    /// Stops the call if it was cancelled or its time is up. Call it between tiles or blocks: often
    /// enough that a second never passes without it.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] or [`ErrorKind::DeadlineExceeded`].
    pub fn checkpoint(&self) -> Result<(), DecodeError> {
        if self.host.is_cancelled() {
            return Err(DecodeError::new(ErrorKind::Cancelled, "cancelled by the host"));
        }
        if self.host.time_left().is_zero() {
            return Err(DecodeError::new(
                ErrorKind::DeadlineExceeded,
                "the deadline of the call has passed",
            ));
        }
        Ok(())
    }

    /// Logs a warning.
    pub fn warn(&self, message: &str) {
        self.host.log(LogLevel::Warning, message);
    }
}

impl std::fmt::Debug for CallContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Services with a fixed deadline, no cancellation and no log: for tests and tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainServices {
    deadline: Option<Instant>,
}

impl PlainServices {
    /// Services whose calls must end within `time`.
    #[must_use]
    pub fn with_time(time: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(time),
        }
    }
}

impl HostServices for PlainServices {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn time_left(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    fn log(&self, _level: LogLevel, _message: &str) {}
}
