//! From a path to a decoder, or to one sentence that says why not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::Faults;
use super::serialized::Serialized;
use crate::abi::header::{ABI_MAJOR, ABI_MINOR, ModuleHeader};
use crate::abi::library::{self, NoHeader, NoRoot};
use crate::abi::remote::RemoteDecoder;
use crate::decoder::ImageDecoder;
use crate::module::ModuleInfo;

/// A decoder module that was loaded and checked. Its library stays for the life of the process.
pub struct LoadedModule {
    /// The decoder; calls that may not overlap wait for one another.
    pub decoder: Box<dyn ImageDecoder>,
    /// What the module said about itself.
    pub info: ModuleInfo,
    /// Version of the module ABI it speaks, major and minor.
    pub abi_version: (u32, u32),
    /// Version of `iiphost-plugin-api` it was built with.
    pub api_version: String,
    /// What it has done wrong so far, over all its readers.
    pub faults: Arc<Faults>,
}

impl std::fmt::Debug for LoadedModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModule")
            .field("info", &self.info)
            .field("abi_version", &self.abi_version)
            .field("api_version", &self.api_version)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// Why a file is not a decoder module for this host: one sentence with what was found, what is accepted
/// and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file, or it cannot be read.
    #[error("{} cannot be read ({source}): give the path of a decoder module", path.display())]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A folder, a device, a socket.
    #[error("{} is not a regular file: give the path of a decoder module", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A regular file of another kind: text, a script, an image.
    #[error(
        "{} is {found}, not a shared library: give the path of a cdylib built with iiphost-plugin-api",
        path.display()
    )]
    NotALibrary {
        /// The path as given.
        path: PathBuf,
        /// What it is instead, with its article.
        found: &'static str,
    },
    /// An executable.
    #[error(
        "{} is a program, not a decoder module: give the path of a cdylib built with iiphost-plugin-api",
        path.display()
    )]
    Program {
        /// The path as given.
        path: PathBuf,
    },
    /// Made for another processor.
    #[error(
        "{} was built for {found}, this host runs on {}: build the module for this machine",
        path.display(),
        std::env::consts::ARCH
    )]
    Architecture {
        /// The path as given.
        path: PathBuf,
        /// The machine it was built for.
        found: String,
    },
    /// Shorter than its headers say.
    #[error(
        "{} is truncated, it has {found} of at least {expected} bytes: copy or build the module again",
        path.display()
    )]
    Truncated {
        /// The path as given.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size its headers tell.
        expected: u64,
    },
    /// The dynamic linker refuses it, most often for a library or symbol it needs.
    #[error("{} cannot be loaded ({reason}): install or rebuild what it needs", path.display())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// What the dynamic linker says.
        reason: String,
    },
    /// A library without a module header.
    #[error(
        "{} is a library, but not a decoder module (it exports no iiphost header): build it with \
         iiphost-plugin-api and export_decoder!",
        path.display()
    )]
    NoHeader {
        /// The path as given.
        path: PathBuf,
    },
    /// A library with something else under the name of the header.
    #[error(
        "{} exports something else under the name of the iiphost header: build it with \
         iiphost-plugin-api and export_decoder!",
        path.display()
    )]
    ForeignHeader {
        /// The path as given.
        path: PathBuf,
    },
    /// Speaks a version of the ABI outside the accepted ones.
    #[error(
        "{} speaks module ABI {}.{} (iiphost-plugin-api {api_version}), this host accepts {}: {advice}",
        path.display(), found.0, found.1, accepted_window()
    )]
    AbiVersion {
        /// The path as given.
        path: PathBuf,
        /// The version it speaks, major and minor.
        found: (u32, u32),
        /// The version of the crate it was built with.
        api_version: String,
        /// What to do.
        advice: &'static str,
    },
    /// Built so that a panic ends the process.
    #[error(
        "{} was built with panic = \"abort\", this host accepts only panic = \"unwind\": set it in the \
         profile of the module and build it again",
        path.display()
    )]
    PanicAborts {
        /// The path as given.
        path: PathBuf,
    },
    /// The header fits, the root module behind it does not.
    #[error(
        "{} has a fitting header but no usable root module ({reason}): build it again with an unchanged \
         iiphost-plugin-api {api_version}",
        path.display()
    )]
    NoRoot {
        /// The path as given.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// The version of the crate it was built with.
        api_version: String,
    },
    /// Types that cross differ from those of this host in spite of a fitting ABI version.
    #[error(
        "{} lays out its data differently from module ABI {}.{} ({reason}): build it again with an \
         unchanged iiphost-plugin-api {api_version}",
        path.display(), found.0, found.1
    )]
    Layout {
        /// The path as given.
        path: PathBuf,
        /// The version it says it speaks, major and minor.
        found: (u32, u32),
        /// The first difference.
        reason: String,
        /// The version of the crate it was built with.
        api_version: String,
    },
    /// The module panics while its decoder is made, or says something impossible about itself.
    #[error("{} fails while it introduces itself ({reason}): report this to its author", path.display())]
    Introduction {
        /// The path as given.
        path: PathBuf,
        /// The panic or the impossible answer.
        reason: String,
    },
}

/// The accepted versions in words: `1.0`, or `1.0 to 1.3`.
fn accepted_window() -> String {
    if ABI_MINOR == 0 {
        format!("{ABI_MAJOR}.0")
    } else {
        format!("{ABI_MAJOR}.0 to {ABI_MAJOR}.{ABI_MINOR}")
    }
}

/// Loads the decoder module at `path`.
///
/// Steps, each of which may refuse: the file exists and is a regular one; its headers show a whole shared
/// library for this machine; the dynamic linker takes it, with all symbols bound; it exports a header with
/// the right magic bytes and an accepted ABI version; it unwinds when it panics; the layout of everything
/// that crosses is the one of this host or of an earlier minor version; it makes its decoder and describes
/// it. Code of the module runs in its constructors (third step) and in the last step, where panics are
/// caught; a crash in a constructor is not, so try a strange file in another process first.
///
/// # Errors
/// [`LoadError`], one sentence. The library stays loaded also then.
pub fn load(path: &Path) -> Result<LoadedModule, LoadError> {
    let own = || path.to_path_buf();
    let unreadable = |source| LoadError::Unreadable { path: own(), source };
    // The linker searches its own folders for a name without a slash.
    let canonical = path.canonicalize().map_err(unreadable)?;
    if !canonical.metadata().map_err(unreadable)?.is_file() {
        return Err(LoadError::NotAFile { path: own() });
    }
    check_file(path, &canonical)?;
    let library = library::open(&canonical).map_err(|reason| LoadError::Open { path: own(), reason })?;
    let header = library.header().map_err(|missing| match missing {
        NoHeader::Missing => LoadError::NoHeader { path: own() },
        NoHeader::Magic => LoadError::ForeignHeader { path: own() },
    })?;
    check_header(path, &header)?;
    let abi_version = (header.abi_major, header.abi_minor);
    let api_version = header.api_version();
    let root = library::root(&canonical).map_err(|refused| match refused {
        NoRoot::Foreign(reason) => LoadError::NoRoot {
            path: own(),
            reason,
            api_version: api_version.clone(),
        },
        NoRoot::Layout(reason) => LoadError::Layout {
            path: own(),
            found: abi_version,
            reason,
            api_version: api_version.clone(),
        },
    })?;
    let faults = Arc::new(Faults::default());
    let decoder = RemoteDecoder::new(root, faults.clone()).map_err(|error| LoadError::Introduction {
        path: own(),
        reason: format!("{}: {error}", error.kind().name()),
    })?;
    let info = decoder.describe();
    Ok(LoadedModule {
        decoder: Box::new(Serialized::new(Box::new(decoder))),
        info,
        abi_version,
        api_version,
        faults,
    })
}

fn check_header(path: &Path, header: &ModuleHeader) -> Result<(), LoadError> {
    let advice =
        if header.abi_major > ABI_MAJOR || (header.abi_major == ABI_MAJOR && header.abi_minor > ABI_MINOR) {
            Some("update the host, or build the module with an older iiphost-plugin-api")
        } else if header.abi_major < ABI_MAJOR {
            Some("build the module with a newer iiphost-plugin-api")
        } else {
            None
        };
    if let Some(advice) = advice {
        return Err(LoadError::AbiVersion {
            path: path.to_path_buf(),
            found: (header.abi_major, header.abi_minor),
            api_version: header.api_version(),
            advice,
        });
    }
    if !header.unwinds() {
        return Err(LoadError::PanicAborts {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn check_file(path: &Path, canonical: &Path) -> Result<(), LoadError> {
    use super::elf::{Kind, inspect};

    let own = || path.to_path_buf();
    let unreadable = |source| LoadError::Unreadable { path: own(), source };
    let file = std::fs::File::open(canonical).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    match inspect(&file, found).map_err(unreadable)? {
        Kind::SharedObject => Ok(()),
        Kind::NotElf { script } => Err(LoadError::NotALibrary {
            path: own(),
            found: match (found, script) {
                (0, _) => "an empty file",
                (_, true) => "a script",
                (_, false) => "another kind of file",
            },
        }),
        Kind::Other => Err(LoadError::NotALibrary {
            path: own(),
            found: "an object file",
        }),
        Kind::Program => Err(LoadError::Program { path: own() }),
        Kind::Foreign(found) => Err(LoadError::Architecture { path: own(), found }),
        Kind::Truncated { expected } => Err(LoadError::Truncated {
            path: own(),
            found,
            expected,
        }),
    }
}

/// Elsewhere the dynamic linker has the first word.
#[cfg(not(target_os = "linux"))]
fn check_file(_path: &Path, _canonical: &Path) -> Result<(), LoadError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut ModuleHeader)) -> String {
        let mut header = ModuleHeader::new(true);
        change(&mut header);
        check_header(Path::new("/m/libx.so"), &header)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_minor_version_up_to_the_own_one_is_accepted() {
        for minor in 0..=ABI_MINOR {
            let mut header = ModuleHeader::new(true);
            header.abi_minor = minor;
            assert!(check_header(Path::new("x"), &header).is_ok());
        }
    }

    #[test]
    fn a_newer_abi_is_refused_with_what_to_do() {
        let newer = refusal(|h| h.abi_minor = ABI_MINOR + 1);
        assert_eq!(
            newer,
            format!(
                "/m/libx.so speaks module ABI 1.{} (iiphost-plugin-api {}), this host accepts {}: update \
                 the host, or build the module with an older iiphost-plugin-api",
                ABI_MINOR + 1,
                env!("CARGO_PKG_VERSION"),
                accepted_window()
            )
        );
        assert!(refusal(|h| h.abi_major = ABI_MAJOR + 1).contains("update the host"));
        assert!(refusal(|h| h.abi_major = ABI_MAJOR - 1).ends_with("with a newer iiphost-plugin-api"));
    }

    #[test]
    fn a_module_that_aborts_is_refused() {
        assert!(refusal(|h| h.flags = !crate::abi::header::FLAG_UNWINDS).contains("panic = \"abort\""));
    }
}
