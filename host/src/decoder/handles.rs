//! Open images kept for the next request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lru::LruCache;
use parking_lot::Mutex;

use super::call::CallScope;
use super::image::OpenImage;
use super::registry::Registry;
use crate::error::Error;
use crate::limits::Limits;
use crate::source::{Root, Stamp};

/// What looking an image up gave.
#[derive(Clone, Debug)]
pub enum Opened {
    /// It is open and unchanged.
    Ready(Arc<OpenImage>),
    /// The file exists, but has to be opened.
    Closed,
    /// There is no such file.
    Missing,
}

/// Open images, the least recently used closed first. Each look-up compares the file's stamp: an image
/// that has changed is opened anew, with nothing left of its former state.
#[derive(Debug)]
pub struct Handles {
    root: Arc<Root>,
    registry: Arc<Registry>,
    open: Mutex<LruCache<PathBuf, Arc<OpenImage>>>,
    limit: usize,
    rights: Option<String>,
}

impl Handles {
    /// A pool of at most `limit` open images; 0 keeps none open. Images that state no rights get `rights`.
    #[must_use]
    pub fn new(root: Arc<Root>, registry: Arc<Registry>, limit: usize, rights: Option<String>) -> Self {
        Self {
            root,
            registry,
            open: Mutex::new(LruCache::unbounded()),
            limit,
            rights,
        }
    }

    /// The folder of images.
    #[must_use]
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// The modules.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Images open now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether no image is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all images; running requests keep theirs to their end.
    pub fn clear(&self) {
        self.open.lock().clear();
        self.registry.faults().clear();
    }

    /// Looks an image up without opening it: costs one `stat`.
    ///
    /// # Errors
    /// 404 (logged with its cause) when the system does not let the file be seen.
    pub fn find(&self, path: &Path) -> Result<Opened, Error> {
        let stamp = self
            .root
            .stamp(path)
            .map_err(|e| unreadable(path, &e.to_string()))?;
        let Some(stamp) = stamp else {
            return Ok(Opened::Missing);
        };
        Ok(self.cached(path, &stamp).map_or(Opened::Closed, Opened::Ready))
    }

    fn cached(&self, path: &Path, stamp: &Stamp) -> Option<Arc<OpenImage>> {
        let mut open = self.open.lock();
        let image = open.get(path)?;
        if image.stamp == *stamp && !image.is_broken() {
            return Some(image.clone());
        }
        open.pop(path);
        None
    }

    /// Opens an image, or gives the one already open; `None` if there is no such file.
    ///
    /// # Errors
    /// As [`OpenImage::open`]; 404 when the system does not let the file be read.
    pub fn open(
        &self,
        identifier: &[u8],
        path: &Path,
        limits: &Limits,
        scope: &CallScope,
    ) -> Result<Option<Arc<OpenImage>>, Error> {
        let file = match self.root.open(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) if error == rustix::io::Errno::MFILE || error == rustix::io::Errno::NFILE => {
                // Images kept open are the first to give their descriptors back.
                self.open.lock().clear();
                return Err(Error::Unavailable {
                    reason: format!("opening an image: {error}"),
                    retry_after: std::time::Duration::from_secs(1),
                });
            }
            Err(error) => return Err(unreadable(path, &error.to_string())),
        };
        if let Some(image) = self.cached(path, &file.stamp) {
            return Ok(Some(image));
        }
        let start = Instant::now();
        let mut image = OpenImage::open(&self.registry, identifier, path.to_owned(), file, limits, scope)?;
        tracing::debug!(
            image = %identifier.escape_ascii(),
            module = image.module.info.id,
            micros = start.elapsed().as_micros() as u64,
            "opened"
        );
        if let Some(rights) = &self.rights {
            image.info.state_rights(rights);
        }
        let image = Arc::new(image);
        let mut open = self.open.lock();
        if self.limit > 0 {
            open.put(path.to_owned(), image.clone());
        }
        let mut closed = Vec::new();
        while open.len() > self.limit {
            closed.extend(open.pop_lru());
        }
        // Closing a file may wait for a disk: not under the lock.
        drop(open);
        drop(closed);
        Ok(Some(image))
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::NotFound {
        message: "image not found".into(),
        detail: Some(format!("{}: {reason}", path.display())),
    }
}
