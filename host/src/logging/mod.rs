//! The log: where it goes, what is in it.
//!
//! Who logs copies a line into a bounded buffer and goes on; a thread of its own writes. A destination that
//! is full, slow or read by nobody costs lines, which are counted, and never a request.

mod destination;
mod queue;

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;

use destination::Target;
use queue::Queue;

static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// How long the end of the process waits for what is not written yet, and again for its last line.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Starts the log of a configuration. `VERBOSITY` 0 is silent but for errors at the start; 1 has start,
/// access and trouble; 4 and more have everything.
///
/// # Errors
/// When a log is already running in this process, or its thread cannot be had.
pub fn start(config: &Config) -> anyhow::Result<Guard> {
    let level = match config.verbosity {
        0 => LevelFilter::OFF,
        1 | 2 => LevelFilter::INFO,
        3 | 4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let wanted = Target::of(config.log_file.as_deref());
    let (target, destination) = match wanted.open() {
        Ok(destination) => (wanted, destination),
        Err(reason) => {
            eprintln!("iiphost: warning: LOGFILE: {reason}; the log goes to standard error");
            let target = Target::StandardError;
            let destination = target.open().map_err(anyhow::Error::msg)?;
            (target, destination)
        }
    };
    let queue = Arc::new(Queue::default());
    queue.start(destination).context("no thread for the log")?;
    let writer = Writer {
        prefixes: [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG].map(|l| target.prefix(l)),
        queue: queue.clone(),
    };
    // Libraries say nothing below a warning that helps an operator.
    let filter = Targets::new()
        .with_target("iiphost", level)
        .with_target("access", level)
        .with_default(level.min(LevelFilter::WARN));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false);
    let started = if config.log_json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer).try_init()
    };
    started.context("the log is already running")?;
    let _ = QUEUE.set(queue);
    if level > LevelFilter::OFF {
        log_panics();
    }
    Ok(Guard(()))
}

/// Panics go to the log: printed on standard error they would wait for whoever does not read it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        let backtrace = std::backtrace::Backtrace::capture();
        match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => tracing::error!("{text}\n{backtrace}"),
            _ => tracing::error!("{text}"),
        }
    }));
}

/// Writes what is left of the log when it is dropped, if that does not take long.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        flush();
    }
}

/// Waits a little until the lines so far are written: the next ones then find room.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIME);
    }
}

/// Opens the log file anew, as after its rotation.
pub fn reopen() {
    if let Some(queue) = QUEUE.get() {
        queue.reopen();
    }
}

/// Lines lost since the start, because the log was too slow or could not be written.
#[must_use]
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

/// Makes the writer of each line.
struct Writer {
    /// What stands before a line: of errors, warnings, informational lines, all others.
    prefixes: [Vec<u8>; 4],
    queue: Arc<Queue>,
}

/// One line on its way out.
struct Line<'a> {
    prefix: &'a [u8],
    queue: &'a Queue,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.push(self.prefix, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        let [.., prefix] = &self.prefixes;
        Line {
            prefix,
            queue: &self.queue,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let [error, warn, info, debug] = &self.prefixes;
        let prefix = match *metadata.level() {
            Level::ERROR => error,
            Level::WARN => warn,
            Level::INFO => info,
            _ => debug,
        };
        Line {
            prefix,
            queue: &self.queue,
        }
    }
}
