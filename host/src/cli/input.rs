//! A file named on the command line, as modules are asked about it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use iiphost_plugin_api::{ByteSource, FileHead};

use crate::decoder::{Registry, Subject};
use crate::source::{FileSource, OpenedFile, Stamp};

/// An open file with its first bytes.
pub(super) struct Input {
    pub(super) source: Arc<dyn ByteSource>,
    pub(super) subject: Arc<Subject>,
    bytes: Vec<u8>,
    extension: String,
}

impl Input {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    /// When it is no regular file or cannot be read.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let OpenedFile {
            file,
            stamp,
            extension,
        } = Self::open_file(path)?;
        let source: Arc<dyn ByteSource> = Arc::new(FileSource::new(file, stamp.len));
        let bytes =
            Registry::read_head(&*source).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        Ok(Self {
            source,
            subject: Arc::new(Subject::new(name, path.to_owned(), stamp)),
            bytes,
            extension,
        })
    }

    /// Opens a file as the host does, but anywhere.
    ///
    /// # Errors
    /// When it is no regular file or cannot be opened.
    pub(super) fn open_file(path: &Path) -> anyhow::Result<OpenedFile> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let stat = rustix::fs::fstat(&file)?;
        anyhow::ensure!(
            rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file(),
            "{} is not a regular file",
            path.display()
        );
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        Ok(OpenedFile {
            file,
            stamp: Stamp::of(&stat),
            extension,
        })
    }

    /// What modules claim it by.
    pub(super) fn head(&self) -> FileHead<'_> {
        FileHead {
            bytes: &self.bytes,
            file_len: self.subject.stamp.len,
            extension: &self.extension,
        }
    }
}
