//! Open images kept for the next request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::call::CallScope;
use super::image::OpenImage;
use super::registry::Registry;
use crate::error::Error;
use crate::limits::Limits;
use crate::source::{Root, Stamp};

/// How long whoever lacks a descriptor waits for images to be closed.
const CLOSING_TIME: Duration = Duration::from_millis(200);

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

    /// Closes some images; running requests keep theirs to their end. Gives the paths of those closed.
    pub fn close_where(&self, wanted: impl Fn(&OpenImage) -> bool) -> Vec<PathBuf> {
        let mut open = self.open.lock();
        let paths: Vec<PathBuf> = open
            .iter()
            .filter(|(_, image)| wanted(image))
            .map(|(path, _)| path.clone())
            .collect();
        let closed: Vec<_> = paths.iter().map(|path| open.pop(path)).collect();
        drop(open);
        drop(closed);
        paths
    }

    /// Looks an image up without opening it: costs one `stat`.
    ///
    /// # Errors
    /// 404 (logged with its cause) when the system does not let the file be seen.
    pub fn find(&self, path: &Path) -> Result<Opened, Error> {
        let Some(stamp) = self.with_descriptors(path, || self.root.stamp(path))? else {
            return Ok(Opened::Missing);
        };
        Ok(self.cached(path, &stamp).map_or(Opened::Closed, Opened::Ready))
    }

    /// Whether a file is left alone for a while, since a module failed badly over it.
    pub fn is_left_alone(&self, path: &Path) -> bool {
        // What cannot be seen is no reason not to try: opening it tells why.
        let stamp = self.root.stamp(path).ok().flatten();
        stamp.is_some_and(|stamp| self.registry.faults().file_is_quarantined(path, &stamp))
    }

    /// Does what needs a file descriptor. Where there is none left, images kept open give theirs back and
    /// it is done once more.
    ///
    /// # Errors
    /// 503 when there is still none, 404 (logged with its cause) for every other failure of the system.
    pub fn with_descriptors<T>(
        &self,
        path: &Path,
        action: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let scarce = |error: Errno| error == Errno::MFILE || error == Errno::NFILE;
        let result = match action() {
            Err(error) if scarce(error) => {
                self.close_half();
                action()
            }
            result => result,
        };
        result.map_err(|error| {
            if scarce(error) {
                Error::Unavailable {
                    reason: format!("opening an image: {error}"),
                    retry_after: Duration::from_secs(1),
                }
            } else {
                unreadable(path, &error.to_string())
            }
        })
    }

    /// Closes the half of the images that was not used for longest, one at least.
    fn close_half(&self) {
        let mut open = self.open.lock();
        let keep = open.len() / 2;
        let closed = shrink(&mut open, keep);
        drop(open);
        drop(closed);
        self.registry.closer().settle(CLOSING_TIME);
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
        let Some(file) = self.with_descriptors(path, || self.root.open(path))? else {
            return Ok(None);
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
        let closed = shrink(&mut open, self.limit);
        drop(open);
        drop(closed);
        Ok(Some(image))
    }
}

/// Takes the least recently used images out. Closing a file may wait for a disk: the caller drops them
/// without the lock.
fn shrink(open: &mut LruCache<PathBuf, Arc<OpenImage>>, keep: usize) -> Vec<Arc<OpenImage>> {
    let mut closed = Vec::new();
    while open.len() > keep
        && let Some((_, image)) = open.pop_lru()
    {
        closed.push(image);
    }
    closed
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::NotFound {
        message: "image not found".into(),
        detail: Some(format!("{}: {reason}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_image_is_not_missing_because_descriptors_are() {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::new(folder.path()).unwrap());
        let handles = Handles::new(root, Arc::default(), 10, None);
        let status = |errors: &[Errno]| {
            let asked = Cell::new(0);
            let result = handles.with_descriptors(Path::new("x"), || {
                asked.set(asked.get() + 1);
                errors.get(asked.get() - 1).map_or(Ok(()), |&error| Err(error))
            });
            result.map_or_else(|error| error.status(), |()| 200)
        };
        assert_eq!(status(&[Errno::MFILE]), 200);
        assert_eq!(status(&[Errno::NFILE, Errno::NFILE]), 503);
        assert_eq!(status(&[Errno::ACCESS]), 404);
    }
}
