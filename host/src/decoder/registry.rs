//! The loaded modules, and which of them takes a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iiphost_plugin_api::{ByteSource, Claim, ClaimLevel, DecodeError, FileHead, ImageDecoder, ModuleInfo};

use super::faults::Faults;
use super::loader::Origin;
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
}

/// The loaded modules, in the order that decides ties.
#[derive(Debug, Default)]
pub struct Registry {
    modules: Vec<Arc<Module>>,
    faults: Faults,
}

impl Registry {
    /// A registry of modules; the first of equal claims wins.
    #[must_use]
    pub fn new(modules: Vec<Module>) -> Self {
        Self {
            modules: modules.into_iter().map(Arc::new).collect(),
            faults: Faults::new(),
        }
    }

    /// The modules in order.
    #[must_use]
    pub fn modules(&self) -> &[Arc<Module>] {
        &self.modules
    }

    /// Files and modules in quarantine.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
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
    pub fn choose(&self, head: &FileHead<'_>) -> Option<&Arc<Module>> {
        self.claimants(head).into_iter().next()
    }

    /// All modules that claim a file, the highest claim first, then in their order. Modules in quarantine
    /// are not asked.
    #[must_use]
    pub fn claimants(&self, head: &FileHead<'_>) -> Vec<&Arc<Module>> {
        let mut claims: Vec<(ClaimLevel, &Arc<Module>)> = self
            .modules
            .iter()
            .filter(|module| !self.faults.module_is_quarantined(&module.info.id))
            .map(|module| (module.decoder.probe(head).level, module))
            .filter(|(level, _)| *level > ClaimLevel::None)
            .collect();
        // Stable, so that ties keep the order of the modules.
        claims.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        claims.into_iter().map(|(_, module)| module).collect()
    }

    /// Why no module was chosen: 415, or 500 while one of them is left alone and might have been.
    #[must_use]
    pub fn unclaimed(&self) -> Error {
        let quarantined = |m: &&Arc<Module>| self.faults.module_is_quarantined(&m.info.id);
        match self.modules.iter().find(quarantined) {
            Some(module) => Error::fault("quarantine", format!("{} is left alone", module.info.id)),
            None => Error::UnsupportedSource {
                reason: "no module claims the file".into(),
            },
        }
    }

    /// Every module's answer about a file.
    #[must_use]
    pub fn probe(&self, head: &FileHead<'_>) -> Vec<ProbeResult> {
        let probe = |module: &Arc<Module>| {
            let start = Instant::now();
            let claim = module.decoder.probe(head);
            ProbeResult {
                module: module.info.id.clone(),
                claim,
                time: start.elapsed(),
            }
        };
        self.modules.iter().map(probe).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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

    #[test]
    fn a_module_left_alone_does_not_make_its_files_unsupported() {
        let registry = Registry::new(vec![Module {
            info: Eager.describe(),
            path: PathBuf::new(),
            origin: Origin::BuiltIn,
            abi: (1, 0),
            load_time: Duration::ZERO,
            decoder: Box::new(Eager),
        }]);
        let head = FileHead {
            bytes: b"",
            file_len: 0,
            extension: "",
        };
        assert!(registry.choose(&head).is_some());
        assert_eq!(registry.unclaimed().status(), 415);
        let stamp = Stamp {
            seconds: 0,
            nanoseconds: 0,
            len: 0,
            inode: (0, 0),
        };
        for n in 0..100 {
            registry
                .faults()
                .record("eager", Path::new(&n.to_string()), &stamp);
        }
        assert!(registry.choose(&head).is_none());
        assert_eq!(registry.unclaimed().status(), 500);
    }
}
