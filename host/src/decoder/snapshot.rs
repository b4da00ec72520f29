//! The modules as they stand, for whoever reports on them: plain data, taken at one moment.

use std::path::PathBuf;
use std::time::Duration;

use super::calls::CallCounts;
use super::faults::{FaultCounts, NotedFault, QuarantinedFile, Standing};
use super::loader::Origin;
use super::registry::Registry;

/// The modules and what they have done wrong.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The modules in the order that decides ties, then those that could not be loaded.
    pub modules: Vec<ModuleSnapshot>,
    /// Files that are left alone. Their paths are not for clients.
    pub files: Vec<QuarantinedFile>,
    /// Faults of all modules since the start.
    pub faults: u64,
    /// Calls that hang now. Each keeps a thread.
    pub hanging: usize,
}

/// One module.
#[derive(Clone, Debug)]
pub struct ModuleSnapshot {
    /// Its id; for one that could not be loaded what the operator wrote, which may be a path.
    pub id: String,
    /// Its version, empty for one that could not be loaded.
    pub version: String,
    /// Where it was found.
    pub path: Option<PathBuf>,
    /// Built in, or listed by the operator.
    pub origin: Origin,
    /// Whether it is used.
    pub state: ModuleState,
    /// Faults since the start.
    pub faults: FaultCounts,
    /// The last of them. Path and message are not for clients.
    pub last_fault: Option<NotedFault>,
    /// Files left alone because of it.
    pub quarantined_files: usize,
    /// Its calls that hang now.
    pub hanging: usize,
    /// Its calls that have ended, by entry. Empty for one that could not be loaded.
    pub calls: Vec<CallCounts>,
}

/// Whether a module is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleState {
    /// It is.
    Ready,
    /// It is left alone for so long, after many faults.
    Resting(Duration),
    /// It is left alone until one of so many calls comes back.
    Hanging(usize),
    /// It could not be loaded, for this reason. Not for clients: it holds paths.
    Failed(String),
}

impl ModuleState {
    /// One word for it: `ready`, `quarantined` or `failed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Resting(_) | Self::Hanging(_) => "quarantined",
            Self::Failed(_) => "failed",
        }
    }
}

impl Registry {
    /// The modules as they stand.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let files = self.faults().quarantined_files();
        let loaded = self.modules().iter().map(|module| {
            let info = &module.info;
            let known = self.faults().of_module(&info.id);
            ModuleSnapshot {
                id: info.id.clone(),
                version: info.version.clone(),
                path: Some(module.path.clone()),
                origin: module.origin,
                state: match known.standing {
                    Standing::Ready => ModuleState::Ready,
                    Standing::Resting(left) => ModuleState::Resting(left),
                    Standing::Hanging(calls) => ModuleState::Hanging(calls),
                },
                faults: known.counts,
                last_fault: known.last,
                quarantined_files: files.iter().filter(|f| f.module == info.id).count(),
                hanging: known.hanging,
                calls: module.usage.counts(),
            }
        });
        let missing = self.missing().iter().map(|failure| ModuleSnapshot {
            id: failure.spec.name.clone(),
            version: String::new(),
            path: failure.path.clone(),
            origin: failure.spec.origin,
            state: ModuleState::Failed(failure.reason.clone()),
            faults: FaultCounts::default(),
            last_fault: None,
            quarantined_files: 0,
            hanging: 0,
            calls: Vec::new(),
        });
        let modules: Vec<ModuleSnapshot> = loaded.chain(missing).collect();
        Snapshot {
            hanging: modules.iter().map(|module| module.hanging).sum(),
            modules,
            files,
            faults: self.faults().total(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use iiphost_plugin_api::{DecodeError, ErrorKind};

    use super::*;
    use crate::decoder::calls::Entry;
    use crate::decoder::registry::tests::{module, subject};
    use crate::decoder::{LoadFailure, ModuleSpec};

    #[test]
    fn a_snapshot_shows_loaded_and_missing_modules_with_what_they_did() {
        let registry = Registry::new(vec![module("good"), module("bad")]).with_missing(vec![LoadFailure {
            spec: ModuleSpec {
                name: "/m/none.so".into(),
                origin: Origin::Optional,
            },
            path: None,
            reason: "it is not there".into(),
        }]);
        let bad = registry.modules()[1].clone();
        let subject = subject();
        let error = registry
            .call(&bad, Entry::Read, &subject, Instant::now(), || {
                Err::<(), _>(DecodeError::new(ErrorKind::Panicked, "on purpose"))
            })
            .unwrap_err();
        registry.settle(&bad, &subject, &error, true);
        let snapshot = Arc::new(registry).snapshot();
        let states: Vec<_> = snapshot
            .modules
            .iter()
            .map(|m| (m.id.as_str(), m.state.name(), m.faults.total()))
            .collect();
        assert_eq!(
            states,
            [
                ("good", "ready", 0),
                ("bad", "ready", 1),
                ("/m/none.so", "failed", 0)
            ]
        );
        assert_eq!(snapshot.modules[1].quarantined_files, 1);
        let read = snapshot.modules[1].calls[Entry::Read as usize];
        assert_eq!((read.calls, read.failures), (1, 1));
        assert_eq!((snapshot.faults, snapshot.hanging), (1, 0));
        assert_eq!(snapshot.files[0].module, "bad");
    }
}
