//! The built host laid out as `make install` does, where every user can read it: a web server that starts the
//! host by itself does so as a user of its own, who cannot look into the folder of whoever runs the tests.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::built;
use crate::web_server::open_to_all;

/// A copy of the host and its modules; it is removed with this value.
#[derive(Debug)]
pub struct Installed(TempDir);

impl Installed {
    /// Lays it out.
    ///
    /// # Panics
    /// When a file is missing or older than its sources.
    #[must_use]
    pub fn new() -> Self {
        let host = built::host();
        let from = host.parent().expect("a program has a folder");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (programs, modules) = (folder.path().join("bin"), folder.path().join("lib/iiphost"));
        for made in [&programs, &modules] {
            std::fs::create_dir_all(made).expect("a folder in the temporary folder");
        }
        open_to_all(folder.path());
        let put = |name: &str, to: &Path| {
            let (source, target) = (from.join(name), to.join(name));
            // A link costs nothing; another file system needs a copy.
            std::fs::hard_link(&source, &target)
                .or_else(|_| std::fs::copy(&source, &target).map(drop))
                .unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        };
        put("iiphost", &programs);
        for module in ["tiff", "jpeg", "jpeg2000"] {
            put(&format!("libiiphost_{module}.so"), &modules);
        }
        Self(folder)
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.0.path().join("bin/iiphost")
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}
