//! Files and modules that failed badly are left alone for a while.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use iiphost_plugin_api::{DecodeError, ErrorKind};
use parking_lot::Mutex;

use crate::source::Stamp;

/// How long a file that made a module fail is not opened again.
const FILE_QUARANTINE: Duration = Duration::from_secs(60);

/// How long a module that keeps failing is not used.
const MODULE_QUARANTINE: Duration = Duration::from_secs(60);

/// Faults of one module within [`MODULE_QUARANTINE`] after which it is left alone.
const MODULE_FAULTS: usize = 10;

/// Calls of one module that may hang at the same time before it is left alone. Each costs a thread.
const HANGING_CALLS: usize = 4;

/// Files remembered at most: an attacker with many broken files must not fill memory.
const MAX_FILES: usize = 1000;

/// Longest text of a fault that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

/// What a module did wrong. A failure it reports properly is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A call ended in a panic.
    Panic,
    /// An answer that cannot be true, such as a level without pixels.
    Lie,
    /// A call that did not come back long after its time.
    Hang,
}

impl FaultKind {
    /// The name shown to people and in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Lie => "impossible answer",
            Self::Hang => "hang",
        }
    }

    /// The fault behind a failed call, `None` for a failure that is no fault.
    #[must_use]
    pub fn of(error: &DecodeError) -> Option<Self> {
        if error.kind() == ErrorKind::Panicked {
            Some(Self::Panic)
        } else if error.is_impossible_answer() {
            Some(Self::Lie)
        } else {
            None
        }
    }
}

/// A fault of a module about a file.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// Id of the module.
    pub module: &'a str,
    /// What it did.
    pub kind: FaultKind,
    /// The file, below the root.
    pub path: &'a Path,
    /// What was said or found.
    pub message: &'a str,
}

/// How often a module did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Calls that ended in a panic.
    pub panics: u64,
    /// Answers that could not be true.
    pub lies: u64,
    /// Calls that did not come back in time.
    pub hangs: u64,
}

impl FaultCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.panics.saturating_add(self.lies).saturating_add(self.hangs)
    }

    fn add(&mut self, kind: FaultKind) {
        let count = match kind {
            FaultKind::Panic => &mut self.panics,
            FaultKind::Lie => &mut self.lies,
            FaultKind::Hang => &mut self.hangs,
        };
        *count = count.saturating_add(1);
    }
}

/// A fault that was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedFault {
    /// What the module did.
    pub kind: FaultKind,
    /// The file, below the root. Not for clients.
    pub path: PathBuf,
    /// What was said or found. Not for clients.
    pub message: String,
    /// When.
    pub time: SystemTime,
}

/// Whether a module is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Ready,
    /// It is left alone for so long, after many faults.
    Resting(Duration),
    /// It is left alone until so many of its calls come back.
    Hanging(usize),
}

/// What is known of one module.
#[derive(Clone, Debug)]
pub struct ModuleFaults {
    /// Whether it is used.
    pub standing: Standing,
    /// Faults since the start.
    pub counts: FaultCounts,
    /// Calls that hang now.
    pub hanging: usize,
    /// The last fault.
    pub last: Option<NotedFault>,
}

/// A file that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedFile {
    /// The file, below the root. Not for clients.
    pub path: PathBuf,
    /// The module that failed on it.
    pub module: String,
    /// For how long, unless it changes before; `None` while a call about it hangs.
    pub time_left: Option<Duration>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    module: String,
    until: Instant,
    hanging: usize,
}

impl File {
    fn is_free(&self, now: Instant) -> bool {
        self.hanging == 0 && self.until <= now
    }
}

#[derive(Debug, Default)]
struct Record {
    /// The last faults, [`MODULE_FAULTS`] at most.
    recent: VecDeque<Instant>,
    counts: FaultCounts,
    hanging: usize,
    one_at_a_time: bool,
    last: Option<NotedFault>,
}

impl Record {
    fn standing(&self, now: Instant) -> Standing {
        let most = if self.one_at_a_time { 1 } else { HANGING_CALLS };
        if self.hanging >= most {
            return Standing::Hanging(self.hanging);
        }
        match self.recent.front() {
            Some(first) if self.recent.len() >= MODULE_FAULTS => {
                match MODULE_QUARANTINE.checked_sub(now.saturating_duration_since(*first)) {
                    Some(left) if !left.is_zero() => Standing::Resting(left),
                    _ => Standing::Ready,
                }
            }
            _ => Standing::Ready,
        }
    }
}

/// Which files and modules are in quarantine.
#[derive(Debug, Default)]
pub struct Faults {
    files: Mutex<HashMap<PathBuf, File>>,
    modules: Mutex<BTreeMap<String, Record>>,
    total: AtomicU64,
}

impl Faults {
    /// Nothing in quarantine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a fault about a file, which is left alone for a while.
    pub fn record(&self, fault: &Fault<'_>, stamp: &Stamp) {
        self.record_at(fault, stamp, Instant::now());
    }

    fn record_at(&self, fault: &Fault<'_>, stamp: &Stamp, now: Instant) {
        self.quarantine(fault, stamp, now);
        self.record_module_at(fault, now);
    }

    /// Notes a fault about a file that another module reads.
    pub fn record_module(&self, fault: &Fault<'_>) {
        self.record_module_at(fault, Instant::now());
    }

    /// Notes that a call about a file hangs. The file is left alone until it comes back and a while longer.
    ///
    /// `alone`: the module takes one call at a time, so it is lost with this one.
    pub fn begin_hang(&self, fault: &Fault<'_>, stamp: &Stamp, alone: bool) {
        let now = Instant::now();
        self.record_at(fault, stamp, now);
        if let Some(file) = self.files.lock().get_mut(fault.path) {
            file.hanging = file.hanging.saturating_add(1);
        }
        if let Some(record) = self.modules.lock().get_mut(fault.module) {
            record.hanging = record.hanging.saturating_add(1);
            record.one_at_a_time = alone;
        }
    }

    /// Notes that a call that hung has come back.
    pub fn end_hang(&self, module: &str, path: &Path) {
        if let Some(file) = self.files.lock().get_mut(path) {
            file.hanging = file.hanging.saturating_sub(1);
            file.until = file.until.max(Instant::now() + FILE_QUARANTINE);
        }
        if let Some(record) = self.modules.lock().get_mut(module) {
            record.hanging = record.hanging.saturating_sub(1);
        }
    }

    fn quarantine(&self, fault: &Fault<'_>, stamp: &Stamp, now: Instant) {
        let mut files = self.files.lock();
        if files.len() >= MAX_FILES {
            files.retain(|_, file| !file.is_free(now));
        }
        let hanging = files.get(fault.path).map_or(0, |file| file.hanging);
        if files.len() < MAX_FILES || files.contains_key(fault.path) {
            let file = File {
                stamp: *stamp,
                module: fault.module.to_owned(),
                until: now + FILE_QUARANTINE,
                hanging,
            };
            files.insert(fault.path.to_owned(), file);
        }
    }

    fn record_module_at(&self, fault: &Fault<'_>, now: Instant) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut modules = self.modules.lock();
        let record = modules.entry(fault.module.to_owned()).or_default();
        record.counts.add(fault.kind);
        let end = fault.message.floor_char_boundary(MAX_MESSAGE_BYTES);
        record.last = Some(NotedFault {
            kind: fault.kind,
            path: fault.path.to_owned(),
            message: fault.message.get(..end).unwrap_or_default().to_owned(),
            time: SystemTime::now(),
        });
        let was_ready = record.standing(now) == Standing::Ready;
        record.recent.push_back(now);
        while record.recent.len() > MODULE_FAULTS {
            record.recent.pop_front();
        }
        let rests = matches!(record.standing(now), Standing::Resting(_));
        // A log may be slow.
        drop(modules);
        if was_ready && rests {
            let (module, kind) = (fault.module, fault.kind.name());
            tracing::error!(
                module,
                "the module failed {MODULE_FAULTS} times within a minute and is left alone; the last time: \
                 {kind}: {}",
                fault.message.escape_debug()
            );
        }
    }

    /// Whether a file is left alone now. One that has changed since is not.
    #[must_use]
    pub fn file_is_quarantined(&self, path: &Path, stamp: &Stamp) -> bool {
        self.file_is_quarantined_at(path, stamp, Instant::now())
    }

    fn file_is_quarantined_at(&self, path: &Path, stamp: &Stamp, now: Instant) -> bool {
        let mut files = self.files.lock();
        match files.get(path) {
            Some(file) if file.stamp == *stamp && !file.is_free(now) => true,
            // The count of hanging calls is still needed.
            Some(file) if file.hanging > 0 => false,
            Some(_) => {
                files.remove(path);
                false
            }
            None => false,
        }
    }

    /// Whether a module is left alone now.
    #[must_use]
    pub fn module_is_quarantined(&self, module: &str) -> bool {
        self.standing_at(module, Instant::now()) != Standing::Ready
    }

    fn standing_at(&self, module: &str, now: Instant) -> Standing {
        self.modules
            .lock()
            .get(module)
            .map_or(Standing::Ready, |record| record.standing(now))
    }

    /// What is known of a module.
    #[must_use]
    pub fn of_module(&self, module: &str) -> ModuleFaults {
        let modules = self.modules.lock();
        let now = Instant::now();
        modules.get(module).map_or(
            ModuleFaults {
                standing: Standing::Ready,
                counts: FaultCounts::default(),
                hanging: 0,
                last: None,
            },
            |record| ModuleFaults {
                standing: record.standing(now),
                counts: record.counts,
                hanging: record.hanging,
                last: record.last.clone(),
            },
        )
    }

    /// The files that are left alone now, by path.
    #[must_use]
    pub fn quarantined_files(&self) -> Vec<QuarantinedFile> {
        let now = Instant::now();
        let mut found: Vec<QuarantinedFile> = self
            .files
            .lock()
            .iter()
            .filter(|(_, file)| !file.is_free(now))
            .map(|(path, file)| QuarantinedFile {
                path: path.clone(),
                module: file.module.clone(),
                time_left: (file.hanging == 0).then(|| file.until.saturating_duration_since(now)),
            })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Ends all quarantines: the operator asked for a reload. Calls that hang still do, and counts stay.
    pub fn clear(&self) {
        let now = Instant::now();
        self.files.lock().retain(|_, file| {
            file.until = now;
            file.hanging > 0
        });
        for record in self.modules.lock().values_mut() {
            record.recent.clear();
        }
    }

    /// Faults since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        seconds: 1,
        nanoseconds: 2,
        len: 3,
        inode: (4, 5),
    };

    fn panic_about(path: &str) -> Fault<'_> {
        Fault {
            module: "m",
            kind: FaultKind::Panic,
            path: Path::new(path),
            message: "on purpose",
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_tried_again_at_once() {
        let faults = Faults::new();
        let now = Instant::now();
        faults.record_at(&panic_about("a"), &STAMP, now);
        let replaced = Stamp { seconds: 9, ..STAMP };
        assert!(!faults.file_is_quarantined_at(Path::new("a"), &replaced, now));
    }

    #[test]
    fn a_file_comes_back_after_its_time_and_others_are_not_touched() {
        let faults = Faults::new();
        let now = Instant::now();
        faults.record_at(&panic_about("a"), &STAMP, now);
        assert!(faults.file_is_quarantined_at(Path::new("a"), &STAMP, now));
        assert!(!faults.file_is_quarantined_at(Path::new("b"), &STAMP, now));
        assert!(!faults.file_is_quarantined_at(Path::new("a"), &STAMP, now + FILE_QUARANTINE));
    }

    #[test]
    fn a_fault_of_a_module_alone_leaves_the_file_in_use() {
        let faults = Faults::new();
        faults.record_module(&panic_about("a"));
        assert_eq!(faults.total(), 1);
        assert_eq!(faults.quarantined_files(), []);
        assert_eq!(faults.of_module("m").counts.panics, 1);
    }

    #[test]
    fn a_module_is_left_alone_after_many_faults_in_a_short_time() {
        let faults = Faults::new();
        let now = Instant::now();
        for n in 0..MODULE_FAULTS {
            assert_eq!(faults.standing_at("m", now), Standing::Ready);
            faults.record_at(&panic_about(&format!("file {n}")), &STAMP, now);
        }
        assert_eq!(faults.standing_at("m", now), Standing::Resting(MODULE_QUARANTINE));
        assert_eq!(faults.standing_at("other", now), Standing::Ready);
        assert_eq!(faults.standing_at("m", now + MODULE_QUARANTINE), Standing::Ready);
    }

    #[test]
    fn faults_far_apart_do_not_add_up() {
        let faults = Faults::new();
        let now = Instant::now();
        for n in 0..3 * MODULE_FAULTS {
            let time = now + Duration::from_secs(7) * n as u32;
            faults.record_at(&panic_about("a"), &STAMP, time);
            assert_eq!(faults.standing_at("m", time), Standing::Ready, "{n}");
        }
        assert_eq!(faults.of_module("m").counts.panics, 3 * MODULE_FAULTS as u64);
    }

    #[test]
    fn a_file_is_left_alone_while_a_call_about_it_hangs_even_after_a_reload() {
        let faults = Faults::new();
        let hang = Fault {
            kind: FaultKind::Hang,
            ..panic_about("a")
        };
        let path = Path::new("a");
        faults.begin_hang(&hang, &STAMP, false);
        faults.clear();
        let later = Instant::now() + 10 * FILE_QUARANTINE;
        assert!(faults.file_is_quarantined_at(path, &STAMP, later));
        assert_eq!(faults.quarantined_files()[0].time_left, None);
        faults.end_hang("m", path);
        assert!(faults.file_is_quarantined_at(path, &STAMP, Instant::now()));
        assert!(!faults.file_is_quarantined_at(path, &STAMP, later));
    }

    #[test]
    fn a_module_of_which_many_calls_hang_is_left_alone_until_one_comes_back() {
        let faults = Faults::new();
        for n in 0..HANGING_CALLS {
            assert!(!faults.module_is_quarantined("m"));
            let path = n.to_string();
            let hang = Fault {
                kind: FaultKind::Hang,
                ..panic_about(&path)
            };
            faults.begin_hang(&hang, &STAMP, false);
        }
        assert_eq!(faults.of_module("m").standing, Standing::Hanging(HANGING_CALLS));
        // Also after a reload: the threads are still gone.
        faults.clear();
        assert!(faults.module_is_quarantined("m"));
        faults.end_hang("m", Path::new("0"));
        assert!(!faults.module_is_quarantined("m"));
        let known = faults.of_module("m");
        assert_eq!((known.counts.hangs, known.hanging), (4, 3));
        assert_eq!(known.last.map(|last| last.kind), Some(FaultKind::Hang));
    }

    #[test]
    fn a_module_of_one_call_at_a_time_is_left_alone_with_the_first_that_hangs() {
        let faults = Faults::new();
        let hang = Fault {
            kind: FaultKind::Hang,
            ..panic_about("a")
        };
        faults.begin_hang(&hang, &STAMP, true);
        assert_eq!(faults.of_module("m").standing, Standing::Hanging(1));
    }

    #[test]
    fn files_beyond_the_limit_are_not_remembered_but_counted() {
        let faults = Faults::new();
        for n in 0..MAX_FILES + 5 {
            faults.record(&panic_about(&n.to_string()), &STAMP);
        }
        assert_eq!(faults.quarantined_files().len(), MAX_FILES);
        assert_eq!(faults.total(), MAX_FILES as u64 + 5);
    }
}
