//! The surroundings of calls into a decoder: deadline, cancellation, log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iiphost_plugin_api::{CallContext, HostServices, Limits, LogLevel};

/// Lines a module may log in one call: a broken file must not fill the disk of the log.
const MAX_LINES: u32 = 20;

/// Longest line a module may log, in bytes.
const MAX_LINE_BYTES: usize = 2000;

/// How long one piece of work may run, and whether somebody still waits for it.
#[derive(Clone, Debug)]
pub struct CallScope {
    deadline: Instant,
    abandoned: Arc<AtomicBool>,
}

impl CallScope {
    /// Work until `deadline`, unless `abandoned` is set before.
    #[must_use]
    pub fn new(deadline: Instant, abandoned: Arc<AtomicBool>) -> Self {
        Self { deadline, abandoned }
    }

    /// Work of at most `time` that nobody abandons.
    #[must_use]
    pub fn with_time(time: Duration) -> Self {
        Self::new(Instant::now() + time, Arc::default())
    }

    /// The same work with another deadline.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self::new(deadline, self.abandoned.clone())
    }

    /// When the work must have ended.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// A call of a module about an image, with limits.
    #[must_use]
    pub fn call<'a>(&'a self, module: &'a str, identifier: &'a [u8]) -> Call<'a> {
        Call {
            scope: self,
            module,
            identifier,
            lines: AtomicU32::new(0),
        }
    }
}

/// One call of a module about an image.
#[derive(Debug)]
pub struct Call<'a> {
    scope: &'a CallScope,
    module: &'a str,
    identifier: &'a [u8],
    lines: AtomicU32,
}

impl Call<'_> {
    /// The context handed to the module.
    #[must_use]
    pub fn context(&self, limits: Limits) -> CallContext<'_> {
        CallContext::new(limits, self)
    }
}

impl HostServices for Call<'_> {
    fn is_cancelled(&self) -> bool {
        self.scope.is_abandoned()
    }

    fn time_left(&self) -> Duration {
        self.scope.deadline.saturating_duration_since(Instant::now())
    }

    fn log(&self, level: LogLevel, message: &str) {
        let module = self.module;
        let image = self.identifier.escape_ascii();
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        if lines >= MAX_LINES {
            if lines == MAX_LINES {
                tracing::warn!(module, %image, "more than {MAX_LINES} lines in one call: the others are left out");
            }
            return;
        }
        let end = message.floor_char_boundary(MAX_LINE_BYTES);
        let message = message.get(..end).unwrap_or_default().escape_debug();
        match level {
            LogLevel::Error => tracing::error!(module, %image, "{message}"),
            LogLevel::Warning => tracing::warn!(module, %image, "{message}"),
            LogLevel::Info => tracing::info!(module, %image, "{message}"),
            LogLevel::Debug => tracing::debug!(module, %image, "{message}"),
        }
    }
}
