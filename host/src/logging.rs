//! The log: where it goes, what is in it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;

static TARGET: OnceLock<Target> = OnceLock::new();

/// The socket of the system's log (RFC 3164 over a local datagram).
const SYSLOG: &str = "/dev/log";

/// Facility user, severity informational.
const SYSLOG_PRIORITY: u8 = 8 + 6;

/// Where lines go; a file can be opened anew while the server runs.
#[derive(Clone)]
struct Target {
    path: Option<String>,
    sink: Arc<Mutex<Sink>>,
}

#[derive(Default)]
enum Sink {
    #[default]
    StandardError,
    File(File),
    Syslog(UnixDatagram),
}

/// Starts the log of a configuration. `VERBOSITY` 0 is silent but for errors at the start; 1 has start,
/// access and trouble; 4 and more have everything.
///
/// # Errors
/// When a log is already running in this process.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let level = match config.verbosity {
        0 => LevelFilter::OFF,
        1 | 2 => LevelFilter::INFO,
        3 | 4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let target = Target {
        path: config.log_file.clone(),
        sink: Arc::default(),
    };
    if let Err(reason) = target.open() {
        eprintln!("iiphost: warning: LOGFILE: {reason}; the log goes to standard error");
    }
    let writer = TARGET.get_or_init(|| target).clone();
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
    started.context("the log is already running")
}

/// Opens the log file anew, as after its rotation.
pub fn reopen() {
    if let Some(Err(reason)) = TARGET.get().map(Target::open) {
        tracing::error!("LOGFILE: {reason}; the old file is kept");
    }
}

impl Target {
    fn open(&self) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let sink = if path == "syslog" {
            let connected = UnixDatagram::unbound().and_then(|socket| {
                socket.connect(SYSLOG)?;
                Ok(Sink::Syslog(socket))
            });
            connected.map_err(|e| format!("cannot reach {SYSLOG}: {e}"))?
        } else {
            let file = File::options().append(true).create(true).open(path);
            Sink::File(file.map_err(|e| format!("cannot open {path}: {e}"))?)
        };
        *self.sink.lock() = sink;
        Ok(())
    }
}

/// One line on its way out.
struct Line(Arc<Mutex<Sink>>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock() {
            Sink::StandardError => io::stderr().write(bytes),
            Sink::File(file) => file.write(bytes),
            Sink::Syslog(socket) => {
                let text = String::from_utf8_lossy(bytes);
                let text = text.trim_end();
                socket
                    .send(format!("<{SYSLOG_PRIORITY}>iiphost[{}]: {text}", std::process::id()).as_bytes())?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Target {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.sink.clone())
    }
}
