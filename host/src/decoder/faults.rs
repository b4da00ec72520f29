//! Files and modules that failed badly are left alone for a while.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::source::Stamp;

/// How long a file that made a module panic is not opened again.
const FILE_QUARANTINE: Duration = Duration::from_secs(60);

/// How long a module that keeps failing is not used.
const MODULE_QUARANTINE: Duration = Duration::from_secs(60);

/// Panics of one module within [`MODULE_QUARANTINE`] after which it is left alone.
const MODULE_FAULTS: usize = 10;

/// Files remembered at most: an attacker with many broken files must not fill memory.
const MAX_FILES: usize = 1000;

/// Which files and modules are in quarantine.
#[derive(Debug, Default)]
pub struct Faults {
    files: Mutex<HashMap<PathBuf, (Stamp, Instant)>>,
    modules: Mutex<HashMap<String, Vec<Instant>>>,
    total: AtomicU64,
}

impl Faults {
    /// Nothing in quarantine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a module panicked or lied about a file.
    pub fn record(&self, module: &str, path: &Path, stamp: &Stamp) {
        self.record_at(module, path, stamp, Instant::now());
    }

    fn record_at(&self, module: &str, path: &Path, stamp: &Stamp, now: Instant) {
        {
            let mut files = self.files.lock();
            if files.len() >= MAX_FILES {
                files.retain(|_, (_, until)| *until > now);
            }
            if files.len() < MAX_FILES {
                files.insert(path.to_owned(), (*stamp, now + FILE_QUARANTINE));
            }
        }
        self.record_module_at(module, now);
    }

    /// Notes that a module panicked or lied about a file that another module reads.
    pub fn record_module(&self, module: &str) {
        self.record_module_at(module, Instant::now());
    }

    fn record_module_at(&self, module: &str, now: Instant) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut modules = self.modules.lock();
        let times = modules.entry(module.to_owned()).or_default();
        times.retain(|t| now.saturating_duration_since(*t) < MODULE_QUARANTINE);
        times.push(now);
        if times.len() == MODULE_FAULTS {
            tracing::error!(
                module,
                "the module failed {MODULE_FAULTS} times within a minute and is left alone"
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
            Some((failed, until)) if failed == stamp && *until > now => true,
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
        self.module_is_quarantined_at(module, Instant::now())
    }

    fn module_is_quarantined_at(&self, module: &str, now: Instant) -> bool {
        let modules = self.modules.lock();
        modules.get(module).is_some_and(|times| {
            let recent = times
                .iter()
                .filter(|t| now.saturating_duration_since(**t) < MODULE_QUARANTINE);
            recent.count() >= MODULE_FAULTS
        })
    }

    /// Forgets everything: the operator asked for a reload.
    pub fn clear(&self) {
        self.files.lock().clear();
        self.modules.lock().clear();
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

    #[test]
    fn a_file_that_was_replaced_is_tried_again_at_once() {
        let faults = Faults::new();
        let now = Instant::now();
        faults.record_at("m", Path::new("a"), &STAMP, now);
        let replaced = Stamp { seconds: 9, ..STAMP };
        assert!(!faults.file_is_quarantined_at(Path::new("a"), &replaced, now));
    }

    #[test]
    fn a_file_comes_back_after_its_time_and_others_are_not_touched() {
        let faults = Faults::new();
        let now = Instant::now();
        faults.record_at("m", Path::new("a"), &STAMP, now);
        assert!(faults.file_is_quarantined_at(Path::new("a"), &STAMP, now));
        assert!(!faults.file_is_quarantined_at(Path::new("b"), &STAMP, now));
        assert!(!faults.file_is_quarantined_at(Path::new("a"), &STAMP, now + FILE_QUARANTINE));
    }

    #[test]
    fn a_fault_of_a_module_alone_leaves_the_file_in_use() {
        let faults = Faults::new();
        faults.record_module("m");
        assert_eq!(faults.total(), 1);
        assert!(faults.files.lock().is_empty());
        assert_eq!(faults.modules.lock().get("m").map(Vec::len), Some(1));
    }

    #[test]
    fn a_module_is_left_alone_after_many_faults_in_a_short_time() {
        let faults = Faults::new();
        let now = Instant::now();
        for n in 0..MODULE_FAULTS {
            assert!(!faults.module_is_quarantined_at("m", now));
            faults.record_at("m", Path::new(&format!("file {n}")), &STAMP, now);
        }
        assert!(faults.module_is_quarantined_at("m", now));
        assert!(!faults.module_is_quarantined_at("other", now));
        assert!(!faults.module_is_quarantined_at("m", now + MODULE_QUARANTINE));
    }
}
