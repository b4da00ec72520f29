//! Every call into a module passes here: it is timed, counted, and watched while it runs.
//!
//! A call cannot be ended from outside. When one takes long, whoever owns its thread is told to do without
//! it; when it has not come back long after its time, it is counted as a fault of the module, too. On the
//! way of every other call stand two short locks that no other thread wants and two looks at the clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use iiphost_plugin_api::{DecodeError, Threading};
use parking_lot::Mutex;

use super::faults::{Fault, FaultKind, Faults};
use super::registry::Module;
use crate::source::Stamp;

/// How often running calls are looked at.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How long the host waits for calls.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A call that takes longer keeps its thread from others: it stalls.
    pub stall: Duration,
    /// A call that has not come back so long after its deadline hangs.
    pub hang: Duration,
}

/// What is the matter with a call that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrun {
    /// It may come back, but others should not wait for its thread.
    Stalls,
    /// It is not expected to come back. It has been noted as a fault.
    Hangs,
}

/// Tables of running calls: threads are spread over them, so that they do not wait for one another.
const SHARDS: usize = 16;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The claim on a file.
    Probe,
    /// Opening a file.
    Open,
    /// Pixels.
    Read,
    /// A stored tile.
    EncodedTile,
    /// A block of metadata.
    Metadata,
    /// What a read will cost.
    Estimate,
    /// Closing a file.
    Close,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Probe,
        Self::Open,
        Self::Read,
        Self::EncodedTile,
        Self::Metadata,
        Self::Estimate,
        Self::Close,
    ];

    /// The name used in logs and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Open => "open",
            Self::Read => "read",
            Self::EncodedTile => "encoded_tile",
            Self::Metadata => "metadata",
            Self::Estimate => "estimate",
            Self::Close => "close",
        }
    }
}

/// Calls of one entry of one module that have ended, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCounts {
    /// What was called.
    pub entry: Entry,
    /// Calls that ended, failed ones too.
    pub calls: u64,
    /// Those that failed, for whatever reason.
    pub failures: u64,
    /// The time they took together.
    pub time: Duration,
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    failures: AtomicU64,
    nanos: AtomicU64,
}

/// What the calls of one module came to.
#[derive(Debug, Default)]
pub struct Usage([Counter; Entry::ALL.len()]);

impl Usage {
    fn count(&self, entry: Entry, time: Duration, failed: bool) {
        let Some(counter) = self.0.get(entry as usize) else {
            return;
        };
        counter.calls.fetch_add(1, Ordering::Relaxed);
        counter.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        counter.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The counts by entry.
    #[must_use]
    pub fn counts(&self) -> Vec<CallCounts> {
        let counts = Entry::ALL
            .iter()
            .zip(&self.0)
            .map(|(&entry, counter)| CallCounts {
                entry,
                calls: counter.calls.load(Ordering::Relaxed),
                failures: counter.failures.load(Ordering::Relaxed),
                time: Duration::from_nanos(counter.nanos.load(Ordering::Relaxed)),
            });
        counts.collect()
    }
}

/// The file that calls are about.
#[derive(Debug)]
pub struct Subject {
    /// The identifier that named it first.
    pub identifier: Vec<u8>,
    /// Path below the root.
    pub path: PathBuf,
    /// State of the file when it was opened.
    pub stamp: Stamp,
    /// Set when a module failed on it so badly that it must be opened anew.
    broken: AtomicBool,
}

impl Subject {
    /// A file in a state.
    #[must_use]
    pub fn new(identifier: Vec<u8>, path: PathBuf, stamp: Stamp) -> Self {
        Self {
            identifier,
            path,
            stamp,
            broken: AtomicBool::new(false),
        }
    }

    /// Whether it must be opened anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// It must be opened anew.
    pub fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// A call that runs now.
#[derive(Debug)]
struct Running {
    module: Arc<Module>,
    entry: Entry,
    subject: Arc<Subject>,
    thread: ThreadId,
    deadline: Instant,
    /// How often it was seen at all, and after its deadline. Not the time itself: a process that was stopped
    /// for an hour has not looked at its calls for an hour.
    seen: u32,
    overdue: u32,
    hangs: bool,
}

/// The calls that run now.
#[derive(Debug, Default)]
pub(super) struct Calls {
    shards: [Mutex<Vec<Option<Running>>>; SHARDS],
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

/// Takes a call out of its table, whatever happens to it.
struct Entered<'a> {
    shard: &'a Mutex<Vec<Option<Running>>>,
    place: usize,
    faults: &'a Faults,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let running = self.shard.lock().get_mut(self.place).and_then(Option::take);
        if let Some(running) = running.filter(|running| running.hangs) {
            let module = &running.module.info.id;
            self.faults.end_hang(module, &running.subject.path);
            let (entry, image) = (running.entry.name(), running.subject.identifier.escape_ascii());
            tracing::warn!(module, entry, %image, "a call that hung has come back");
        }
    }
}

impl Calls {
    /// Makes a call about a file. It should be over by `deadline`.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) fn run<T>(
        &self,
        module: &Arc<Module>,
        entry: Entry,
        subject: &Arc<Subject>,
        deadline: Instant,
        faults: &Faults,
        call: impl FnOnce() -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let running = Running {
            module: module.clone(),
            entry,
            subject: subject.clone(),
            thread: std::thread::current().id(),
            deadline,
            seen: 0,
            overdue: 0,
            hangs: false,
        };
        let entered = self.enter(running, faults);
        let start = Instant::now();
        let result = call();
        module.usage.count(entry, start.elapsed(), result.is_err());
        drop(entered);
        result
    }

    fn enter<'a>(&'a self, running: Running, faults: &'a Faults) -> Option<Entered<'a>> {
        let shard = SHARD.with(|&shard| self.shards.get(shard))?;
        let mut table = shard.lock();
        let place = match table.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                table.push(None);
                table.len().saturating_sub(1)
            }
        };
        if let Some(free) = table.get_mut(place) {
            *free = Some(running);
        }
        Some(Entered { shard, place, faults })
    }

    /// Looks at all running calls, once a [`TICK`]. Gives each one that begins to stall, and each that
    /// begins to hang, with its thread; those that hang are noted.
    pub(super) fn look(&self, patience: &Patience, faults: &Faults) -> Vec<(ThreadId, Overrun)> {
        let now = Instant::now();
        let (stall, hang) = (ticks(patience.stall), ticks(patience.hang));
        let mut found = Vec::new();
        let mut hanging = Vec::new();
        for shard in &self.shards {
            for running in shard.lock().iter_mut().flatten().filter(|running| !running.hangs) {
                running.seen = running.seen.saturating_add(1);
                if running.seen == stall.saturating_add(1) {
                    found.push((running.thread, Overrun::Stalls));
                }
                if now <= running.deadline {
                    continue;
                }
                running.overdue = running.overdue.saturating_add(1);
                if running.overdue > hang {
                    running.hangs = true;
                    // Under the lock of the table, so that the end of the call is noted after its hang.
                    let message = note_hang(running, now, faults);
                    hanging.push((running.module.clone(), running.subject.clone(), message));
                    found.push((running.thread, Overrun::Hangs));
                }
            }
        }
        // Without a lock: a log may be slow.
        for (module, subject, message) in hanging {
            let (module, image) = (&module.info.id, subject.identifier.escape_ascii());
            tracing::error!(
                module,
                %image,
                "a call hangs: {message}; its thread is given up, the file is left alone until it does"
            );
        }
        found
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis().max(1)).unwrap_or(u32::MAX)
}

fn note_hang(running: &Running, now: Instant, faults: &Faults) -> String {
    let Running {
        module,
        entry,
        subject,
        ..
    } = running;
    let seconds = now.saturating_duration_since(running.deadline).as_secs();
    let message = format!("{} has not come back {seconds} s after its time", entry.name());
    subject.set_broken();
    let fault = Fault {
        module: &module.info.id,
        kind: FaultKind::Hang,
        path: &subject.path,
        message: &message,
    };
    let alone = module.info.threading == Threading::GlobalLock;
    faults.begin_hang(&fault, &subject.stamp, alone);
    message
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::decoder::registry::tests::{module, subject};

    fn patience(stall: u32, hang: u32) -> Patience {
        Patience {
            stall: stall * TICK,
            hang: hang * TICK,
        }
    }

    #[test]
    fn a_call_that_does_not_come_back_is_noted_once_and_its_end_too() {
        let (calls, faults) = (Arc::new(Calls::default()), Arc::new(Faults::new()));
        let (module, subject) = (Arc::new(module("m")), subject());
        let (release, wait) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        let thread = std::thread::spawn({
            let (calls, faults, module, subject) =
                (calls.clone(), faults.clone(), module.clone(), subject.clone());
            move || {
                calls.run(&module, Entry::Read, &subject, Instant::now(), &faults, || {
                    started.send(()).unwrap();
                    let _ = wait.recv();
                    Ok(())
                })
            }
        });
        is_started.recv().unwrap();
        let id = thread.thread().id();
        let patience = patience(1, 2);
        let seen: Vec<_> = (0..5).map(|_| calls.look(&patience, &faults)).collect();
        let expected = [
            vec![],
            vec![(id, Overrun::Stalls)],
            vec![(id, Overrun::Hangs)],
            vec![],
            vec![],
        ];
        assert_eq!(seen, expected);
        assert!(subject.is_broken());
        assert!(faults.file_is_quarantined(Path::new("a"), &subject.stamp));
        assert_eq!(faults.of_module("m").hanging, 1);
        drop(release);
        thread.join().unwrap().unwrap();
        assert_eq!(faults.of_module("m").hanging, 0);
        assert_eq!(module.usage.counts()[Entry::Read as usize].calls, 1);
    }

    #[test]
    fn a_call_within_its_time_may_stall_but_does_not_hang() {
        let (calls, faults) = (Calls::default(), Faults::new());
        let deadline = Instant::now() + Duration::from_secs(60);
        let module = Arc::new(module("m"));
        let result = calls.run(&module, Entry::Open, &subject(), deadline, &faults, || {
            let patience = patience(5, 0);
            let own = std::thread::current().id();
            for n in 0..10 {
                let expected = if n == 5 {
                    vec![(own, Overrun::Stalls)]
                } else {
                    vec![]
                };
                assert_eq!(calls.look(&patience, &faults), expected);
            }
            Err::<(), _>(DecodeError::format("broken"))
        });
        assert!(result.is_err());
        let open = module.usage.counts()[Entry::Open as usize];
        assert_eq!((open.entry, open.calls, open.failures), (Entry::Open, 1, 1));
        assert_eq!(faults.total(), 0);
    }

    #[test]
    fn calls_within_calls_are_watched_apart() {
        let (calls, faults) = (Calls::default(), Faults::new());
        let (module, subject) = (Arc::new(module("m")), subject());
        let past = Instant::now();
        let later = past + Duration::from_secs(60);
        let inner = || {
            calls.run(&module, Entry::Read, &subject, past, &faults, || {
                Ok(calls.look(&patience(9, 0), &faults).len())
            })
        };
        let found = calls.run(&module, Entry::Open, &subject, later, &faults, inner);
        assert_eq!(found, Ok(1));
    }
}
