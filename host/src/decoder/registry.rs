//! The loaded modules, and which of them takes a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use iiphost_plugin_api::{
    ByteSource, Claim, ClaimLevel, DecodeError, FileHead, ImageDecoder, ModuleInfo, host,
};

use super::calls::{Calls, Entry, Overrun, Patience, Subject, TICK, Usage};
use super::claims::{self, ClaimRule, Decided};
use super::closer::Closer;
use super::faults::{Fault, FaultKind, Faults, Standing};
use super::loader::{LoadFailure, Origin};
use crate::error::Error;

/// A loaded module.
pub struct Module {
    /// What it says about itself.
    pub info: ModuleInfo,
    /// Where it came from.
    pub path: PathBuf,
    /// Built in, or listed by the operator.
    pub origin: Origin,
    /// ABI version it was built for.
    pub abi: (u32, u32),
    /// How long loading took.
    pub load_time: Duration,
    /// The decoder.
    pub decoder: Box<dyn ImageDecoder>,
    /// What its calls came to.
    pub usage: Usage,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("info", &self.info)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// One module's answer about a file.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// Id of the module.
    pub module: String,
    /// Its claim.
    pub claim: Claim,
    /// How long it took.
    pub time: Duration,
    rank: Rank,
}

/// How good a right to a file a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What it says itself.
    Claimed(ClaimLevel),
    /// The operator's word.
    Decided,
}

/// Who claims a file.
#[derive(Debug)]
pub struct Claimants<'a> {
    /// The highest claim first, then in the order of the modules.
    pub modules: Vec<&'a Arc<Module>>,
    /// A module that says it reads files of this extension and could not be asked: it takes one call at a
    /// time and was busy for too long.
    pub busy: Option<&'a Arc<Module>>,
}

/// The loaded modules, in the order that decides ties.
#[derive(Debug, Default)]
pub struct Registry {
    modules: Vec<Arc<Module>>,
    missing: Vec<LoadFailure>,
    rules: Vec<ClaimRule>,
    upright: bool,
    faults: Faults,
    calls: Calls,
    closer: Closer,
}

impl Registry {
    /// A registry of modules; the first of equal claims wins.
    #[must_use]
    pub fn new(modules: Vec<Module>) -> Self {
        Self {
            modules: modules.into_iter().map(Arc::new).collect(),
            ..Self::default()
        }
    }

    /// Adds the modules that could not be loaded: whoever misses them is told why.
    #[must_use]
    pub fn with_missing(mut self, missing: Vec<LoadFailure>) -> Self {
        self.missing = missing;
        self
    }

    /// Adds what the operator has decided about claims.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<ClaimRule>) -> Self {
        self.rules = rules;
        self
    }

    /// Has pictures turned upright, as their files say.
    #[must_use]
    pub fn with_upright(mut self, upright: bool) -> Self {
        self.upright = upright;
        self
    }

    /// Whether pictures are turned upright.
    pub(super) fn turns_upright(&self) -> bool {
        self.upright
    }

    /// What the operator has decided about claims.
    #[must_use]
    pub fn rules(&self) -> &[ClaimRule] {
        &self.rules
    }

    /// The modules in order.
    #[must_use]
    pub fn modules(&self) -> &[Arc<Module>] {
        &self.modules
    }

    /// The modules that could not be loaded.
    #[must_use]
    pub fn missing(&self) -> &[LoadFailure] {
        &self.missing
    }

    /// Files and modules in quarantine.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes a call into a module.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) fn call<T>(
        &self,
        module: &Arc<Module>,
        entry: Entry,
        subject: &Arc<Subject>,
        deadline: Instant,
        call: impl FnOnce() -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let panics = host::Faults::panics_of_this_thread();
        let result = self
            .calls
            .run(module, entry, subject, deadline, &self.faults, call);
        // Claims and releases have no way to fail, so theirs is noted here.
        if result.is_ok() && host::Faults::panics_of_this_thread() != panics {
            self.faults.record_module(&Fault {
                module: &module.info.id,
                kind: FaultKind::Panic,
                path: &subject.path,
                message: &format!("panicked in {}", entry.name()),
            });
        }
        result
    }

    /// Notes a fault of a module, if the failure is one. The file is left alone for a while, unless
    /// another module reads it.
    pub(super) fn settle(&self, module: &Module, subject: &Subject, error: &DecodeError, alone: bool) {
        let Some(kind) = FaultKind::of(error) else {
            return;
        };
        let message = error.message();
        let fault = Fault {
            module: &module.info.id,
            kind,
            path: &subject.path,
            message,
        };
        if alone {
            subject.set_broken();
            self.faults.record(&fault, &subject.stamp);
        } else {
            self.faults.record_module(&fault);
        }
    }

    /// Where readers are closed.
    pub(super) fn closer(&self) -> &Closer {
        &self.closer
    }

    /// Watches the calls of the modules from a thread of its own, for as long as the registry is in use.
    /// `give_up` is told whose threads are kept by calls that take long.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch(
        self: &Arc<Self>,
        patience: Patience,
        give_up: impl Fn(ThreadId, Overrun) + Send + 'static,
    ) -> std::io::Result<()> {
        let registry = Arc::downgrade(self);
        let watch = move || {
            loop {
                std::thread::sleep(TICK);
                let Some(registry) = registry.upgrade() else {
                    return;
                };
                for (thread, overrun) in registry.calls.look(&patience, &registry.faults) {
                    registry.closer.give_up(&registry, thread);
                    give_up(thread, overrun);
                }
            }
        };
        std::thread::Builder::new().name("watch".into()).spawn(watch)?;
        Ok(())
    }

    /// The first bytes of a source, for [`choose`](Self::choose).
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn read_head(source: &dyn ByteSource) -> Result<Vec<u8>, DecodeError> {
        let mut head = vec![0; FileHead::MAX_LEN];
        let mut filled = 0;
        while filled < head.len() {
            let count = source.read_at(filled as u64, &mut head[filled..])?;
            if count == 0 {
                break;
            }
            filled += count;
        }
        head.truncate(filled);
        Ok(head)
    }

    /// The module with the highest claim, `None` if none claims the file. Modules in quarantine are not asked.
    #[must_use]
    pub fn choose(
        &self,
        head: &FileHead<'_>,
        subject: &Arc<Subject>,
        deadline: Instant,
    ) -> Option<&Arc<Module>> {
        self.claimants(head, subject, deadline).modules.into_iter().next()
    }

    /// The modules that claim a file. Modules in quarantine are not asked.
    #[must_use]
    pub fn claimants(&self, head: &FileHead<'_>, subject: &Arc<Subject>, deadline: Instant) -> Claimants<'_> {
        let mut busy = None;
        let mut claims: Vec<(Rank, &Arc<Module>)> = Vec::new();
        for module in &self.modules {
            if self.faults.module_is_quarantined(&module.info.id) {
                continue;
            }
            let (rank, claim) = self.claim(module, head, subject, deadline);
            if rank > Rank::Claimed(ClaimLevel::None) {
                claims.push((rank, module));
            } else if claim.reason == host::BUSY && module.info.has_extension(head.extension) {
                busy = Some(module);
            }
        }
        // Stable, so that ties keep the order of the modules.
        claims.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        Claimants {
            modules: claims.into_iter().map(|(_, module)| module).collect(),
            busy,
        }
    }

    /// What a module says of a file, or what the operator has decided about the two.
    fn claim(
        &self,
        module: &Arc<Module>,
        head: &FileHead<'_>,
        subject: &Arc<Subject>,
        deadline: Instant,
    ) -> (Rank, Claim) {
        let id = &module.info.id;
        match claims::decided(&self.rules, id, &subject.path, head.extension) {
            Decided::Always(rule) => {
                let claim = Claim::new(ClaimLevel::Exact, format!("DECODER_CLAIMS: {rule}"));
                (Rank::Decided, claim)
            }
            Decided::Never(rule) => {
                let claim = Claim::none(format!("DECODER_CLAIMS: {rule}"));
                (Rank::Claimed(ClaimLevel::None), claim)
            }
            Decided::Open => {
                let probe = || Ok(module.decoder.probe(head));
                let claim = self
                    .call(module, Entry::Probe, subject, deadline, probe)
                    .unwrap_or_else(|error| Claim::none(error.to_string()));
                (Rank::Claimed(claim.level), claim)
            }
        }
    }

    /// Why no module was chosen: 415, or 500 while one of them is left alone and might have been, or 503
    /// while one of them is busy.
    #[must_use]
    pub fn unclaimed(&self, busy: Option<&Module>) -> Error {
        if let Some(module) = busy {
            return Error::Unavailable {
                reason: format!("module {} is busy and was not asked", module.info.id),
                retry_after: Duration::from_secs(5),
            };
        }
        let standing = |m: &Arc<Module>| {
            let known = self.faults.of_module(&m.info.id);
            (known.standing != Standing::Ready).then_some((m.clone(), known))
        };
        if let Some((module, known)) = self.modules.iter().find_map(standing) {
            let why = known.last.map_or_else(String::new, |last| {
                format!("; the last fault: {}: {}", last.kind.name(), last.message)
            });
            return Error::fault(
                "quarantine",
                format!("module {} is left alone{why}", module.info.id),
            );
        }
        let missing: String = self
            .missing
            .iter()
            .map(|failure| format!("; not loaded: {failure}"))
            .collect();
        Error::UnsupportedSource {
            reason: format!("no module claims the file{missing}"),
        }
    }

    /// A module's answer about a file.
    #[must_use]
    pub fn probe(
        &self,
        module: &Arc<Module>,
        head: &FileHead<'_>,
        subject: &Arc<Subject>,
        deadline: Instant,
    ) -> ProbeResult {
        let start = Instant::now();
        let (rank, claim) = self.claim(module, head, subject, deadline);
        ProbeResult {
            module: module.info.id.clone(),
            claim,
            time: start.elapsed(),
            rank,
        }
    }

    /// The answer that decides, of those of all modules in their order.
    #[must_use]
    pub fn best(answers: &[ProbeResult]) -> Option<&ProbeResult> {
        let claimed = answers
            .iter()
            .filter(|a| a.rank > Rank::Claimed(ClaimLevel::None));
        // The first of equal ones, as in `claimants`.
        claimed.rev().max_by_key(|answer| answer.rank)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use iiphost_plugin_api::{CallContext, ImageReader, Options, Threading};

    use super::*;
    use crate::source::Stamp;

    /// A decoder that takes every file and opens none.
    struct Eager;

    impl ImageDecoder for Eager {
        fn describe(&self) -> ModuleInfo {
            ModuleInfo {
                id: "eager".into(),
                name: "Eager".into(),
                version: "1".into(),
                license: "MIT".into(),
                formats: Vec::new(),
                capabilities: Vec::new(),
                options: Vec::new(),
                threading: Threading::Reentrant,
            }
        }

        fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
            Ok(())
        }

        fn probe(&self, _head: &FileHead<'_>) -> Claim {
            Claim::new(ClaimLevel::Exact, "everything")
        }

        fn open(
            &self,
            _source: Arc<dyn ByteSource>,
            _context: &CallContext<'_>,
        ) -> Result<Box<dyn ImageReader>, DecodeError> {
            Err(DecodeError::io("never"))
        }
    }

    /// A module of this id that takes every file and opens none.
    pub(in crate::decoder) fn module(id: &str) -> Module {
        Module {
            info: ModuleInfo {
                id: id.to_owned(),
                ..Eager.describe()
            },
            path: PathBuf::new(),
            origin: Origin::BuiltIn,
            abi: (1, 0),
            load_time: Duration::ZERO,
            decoder: Box::new(Eager),
            usage: Usage::default(),
        }
    }

    /// A file nobody has.
    pub(in crate::decoder) fn subject() -> Arc<Subject> {
        let stamp = Stamp {
            seconds: 0,
            nanoseconds: 0,
            len: 0,
            inode: (0, 0),
        };
        Arc::new(Subject::new(b"a".to_vec(), "a".into(), stamp))
    }

    const HEAD: FileHead<'_> = FileHead {
        bytes: b"",
        file_len: 0,
        extension: "",
    };

    #[test]
    fn a_module_left_alone_does_not_make_its_files_unsupported() {
        let registry = Registry::new(vec![module("eager")]);
        let chosen = |registry: &Registry| {
            let later = Instant::now() + Duration::from_secs(9);
            registry.choose(&HEAD, &subject(), later).is_some()
        };
        assert!(chosen(&registry));
        assert_eq!(registry.unclaimed(None).status(), 415);
        let error = DecodeError::new(iiphost_plugin_api::ErrorKind::Panicked, "on purpose");
        for _ in 0..100 {
            registry.settle(&module("eager"), &subject(), &error, true);
        }
        assert!(!chosen(&registry));
        let error = registry.unclaimed(None);
        assert_eq!(error.status(), 500);
        let said = error.to_string();
        assert!(
            said.contains("eager") && said.contains("panic: on purpose"),
            "{said}"
        );
        assert!(!error.public_message().contains("eager"));
    }

    #[test]
    fn whoever_misses_a_module_is_told_why_it_is_missing() {
        let registry = Registry::new(Vec::new()).with_missing(vec![LoadFailure {
            spec: crate::decoder::ModuleSpec {
                name: "slides".into(),
                origin: Origin::Optional,
            },
            path: None,
            reason: "it is not there".into(),
        }]);
        let error = registry.unclaimed(None);
        assert_eq!(error.status(), 415);
        assert!(
            error
                .to_string()
                .contains("not loaded: module slides: it is not there")
        );
        assert!(!error.public_message().contains("slides"));
    }
}
