//! Images for the protocols: opened through the pool of handles, sequences found in their folder.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use iiphost_plugin_api::MetadataKind;
use lru::LruCache;
use parking_lot::Mutex;

use crate::decoder::{CallScope, Handles, OpenImage, Opened};
use crate::error::Error;
use crate::image_info::ImageInfo;
use crate::limits::Limits;
use crate::protocol::{Images, OpenedImage};
use crate::source::{Sequence, Stamp};

/// Sequences remembered at most.
const MAX_SEQUENCES: usize = 256;

/// Folders whose names of sequences are remembered at most.
const MAX_FOLDERS: usize = 64;

/// A folder that changed less than that ago may change again without a new time: it is listed anew.
const SETTLED: Duration = Duration::from_secs(2);

/// How long one request waits for another that opens the same image; then it opens it, too.
const OPENING_TIME: Duration = Duration::from_secs(5);

/// How often a request that waits for its turn looks whether the file has been put aside meanwhile.
const OPENING_LOOK: Duration = Duration::from_millis(50);

/// The state of a folder, and the sequence found in it.
type Found = (Stamp, Arc<Sequence>);

/// The state of a folder, and the names of all sequences in it.
type Names = (Stamp, Arc<HashSet<Vec<u8>>>);

/// Images that are being opened, each by one request while the others wait.
#[derive(Debug, Default)]
pub(super) struct Opening {
    paths: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

impl Opening {
    /// Runs `open` when nobody else opens the path, or when that takes too long, or when it is known to be in vain:
    /// whoever waits has a thread that others need.
    fn in_turn<T>(
        &self,
        path: &Path,
        deadline: Instant,
        is_in_vain: impl Fn() -> bool,
        open: impl FnOnce() -> T,
    ) -> T {
        let turn = self.paths.lock().entry(path.to_owned()).or_default().clone();
        let until = deadline.min(Instant::now() + OPENING_TIME);
        let held = loop {
            if let Some(held) = turn.try_lock() {
                break Some(held);
            }
            if Instant::now() >= until || is_in_vain() {
                break None;
            }
            if let Some(held) = turn.try_lock_until(until.min(Instant::now() + OPENING_LOOK)) {
                break Some(held);
            }
        };
        let opened = open();
        drop(held);
        let mut paths = self.paths.lock();
        // The map and this request: nobody else waits.
        if paths.get(path).is_some_and(|t| Arc::ptr_eq(t, &turn)) && Arc::strong_count(&turn) == 2 {
            paths.remove(path);
        }
        opened
    }
}

/// Sequences found, by identifier, for as long as their folder is unchanged.
#[derive(Debug)]
pub(super) struct Sequences {
    known: Mutex<LruCache<Vec<u8>, Found>>,
    /// Names of sequences by folder: what is not there costs no listing of the folder.
    folders: Mutex<LruCache<PathBuf, Names>>,
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::new(LruCache::unbounded()),
            folders: Mutex::new(LruCache::unbounded()),
        }
    }

    pub(super) fn clear(&self) {
        self.known.lock().clear();
        self.folders.lock().clear();
    }
}

/// Opens images for one request.
#[derive(Clone, Copy)]
pub(super) struct Provider<'a> {
    pub(super) handles: &'a Handles,
    pub(super) sequences: &'a Sequences,
    pub(super) opening: &'a Opening,
    pub(super) limits: &'a Limits,
    pub(super) pattern: &'a str,
    /// `None` on an I/O thread: only what is open already is given, all else is [`Error::NeedsIo`].
    pub(super) scope: Option<&'a CallScope>,
}

/// An opened image, as one identifier names it.
#[derive(Clone, Debug)]
pub(super) struct ImageHandle {
    pub(super) image: Arc<OpenImage>,
    identifier: Arc<[u8]>,
    sequence: Option<Arc<Sequence>>,
    may_read: bool,
}

impl Provider<'_> {
    /// The image of a path, `None` if there is no such file.
    fn open_path(&self, identifier: &[u8], path: &Path) -> Result<Option<Arc<OpenImage>>, Error> {
        match (self.handles.find(path)?, self.scope) {
            (Opened::Ready(image), _) => Ok(Some(image)),
            (Opened::Missing, _) => Ok(None),
            (Opened::Closed, None) => Err(Error::NeedsIo),
            (Opened::Closed, Some(scope)) => {
                let is_in_vain = || scope.is_abandoned() || self.handles.is_left_alone(path);
                self.opening.in_turn(path, scope.deadline(), is_in_vain, || {
                    self.handles.open(identifier, path, self.limits, scope)
                })
            }
        }
    }

    fn handle(
        &self,
        image: Arc<OpenImage>,
        identifier: &[u8],
        sequence: Option<Arc<Sequence>>,
    ) -> ImageHandle {
        ImageHandle {
            image,
            identifier: identifier.into(),
            sequence,
            may_read: self.scope.is_some(),
        }
    }

    /// The sequence an identifier names, if there is one.
    fn sequence(&self, identifier: &[u8]) -> Result<Option<Arc<Sequence>>, Error> {
        let root = self.handles.root();
        let base = root.base_path(identifier)?;
        let folder = base.parent().unwrap_or(Path::new(""));
        let Some(stamp) = self
            .handles
            .with_descriptors(folder, || root.folder_stamp(folder))?
        else {
            return Ok(None);
        };
        if let Some((known, sequence)) = self.sequences.known.lock().get(identifier)
            && *known == stamp
        {
            return Ok(Some(sequence.clone()));
        }
        let stem = base.file_name().unwrap_or_default().as_bytes();
        if !self.names_in(folder, stamp)?.contains(stem) {
            return Ok(None);
        }
        if self.scope.is_none() {
            return Err(Error::NeedsIo);
        }
        let found = self
            .handles
            .with_descriptors(folder, || Sequence::find(root, &base, self.pattern.as_bytes()))?;
        let Some(sequence) = found.map(Arc::new) else {
            return Ok(None);
        };
        let mut known = self.sequences.known.lock();
        known.put(identifier.to_vec(), (stamp, sequence.clone()));
        while known.len() > MAX_SEQUENCES {
            known.pop_lru();
        }
        Ok(Some(sequence))
    }
}

impl Provider<'_> {
    /// The names of all sequences in a folder of this state.
    fn names_in(&self, folder: &Path, stamp: Stamp) -> Result<Arc<HashSet<Vec<u8>>>, Error> {
        if let Some((known, names)) = self.sequences.folders.lock().get(folder)
            && *known == stamp
        {
            return Ok(names.clone());
        }
        if self.scope.is_none() {
            return Err(Error::NeedsIo);
        }
        let (root, pattern) = (self.handles.root(), self.pattern.as_bytes());
        let names = self
            .handles
            .with_descriptors(folder, || Sequence::names_in(root, folder, pattern))?;
        let names = Arc::new(names);
        let age = SystemTime::now().duration_since(stamp.modified());
        if age.is_ok_and(|age| age > SETTLED) {
            let mut folders = self.sequences.folders.lock();
            folders.put(folder.to_owned(), (stamp, names.clone()));
            while folders.len() > MAX_FOLDERS {
                folders.pop_lru();
            }
        }
        Ok(names)
    }
}

impl Images for Provider<'_> {
    type Image = ImageHandle;

    fn open(&self, identifiers: &[Vec<u8>]) -> Result<ImageHandle, Error> {
        let mut missing = Error::not_found("image not found");
        for identifier in identifiers {
            let path = match self.handles.root().file_path(identifier) {
                Ok(path) => path,
                Err(error @ Error::NotFound { .. }) => {
                    missing = error;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(image) = self.open_path(identifier, &path)? {
                return Ok(self.handle(image, identifier, None));
            }
            if let Some(sequence) = self.sequence(identifier)? {
                let first = sequence
                    .member(0, 90)
                    .ok_or_else(|| Error::not_found("image not found"))?;
                if let Some(image) = self.open_path(identifier, &first.path)? {
                    return Ok(self.handle(image, identifier, Some(sequence)));
                }
            }
        }
        Err(missing)
    }

    fn view(
        &self,
        image: &ImageHandle,
        horizontal: i64,
        vertical: Option<i64>,
    ) -> Result<(ImageHandle, usize), Error> {
        let no_view = || Error::not_found("no such view");
        let Some(sequence) = &image.sequence else {
            let info = &image.image.info;
            // Views by their place in the list; pages that are no views by their number in the file.
            let number = usize::try_from(horizontal).ok();
            let listed = number.and_then(|number| info.views.get(number)).copied();
            let unlisted = || number.filter(|&number| number < info.pages.len());
            let page = match info.views.as_slice() {
                // The only view of an image is meant by every number that is not that of another picture
                // in the file; a smaller size of the view is none.
                &[only] => unlisted()
                    .filter(|&page| !is_size_of(info, only, page))
                    .or(Some(only)),
                _ => listed.or_else(unlisted),
            };
            return Ok((image.clone(), page.ok_or_else(no_view)?));
        };
        // A horizontal angle alone means the vertical angle 0, or 90 where there is no such file.
        let member = match vertical {
            Some(vertical) => sequence.member(horizontal, vertical),
            None => sequence
                .member(horizontal, 0)
                .or_else(|| sequence.member(horizontal, 90)),
        };
        let member = member.ok_or_else(no_view)?;
        let opened = self
            .open_path(&image.identifier, &member.path)?
            .ok_or_else(no_view)?;
        Ok((self.handle(opened, &image.identifier, Some(sequence.clone())), 0))
    }
}

/// Whether a page is one of the levels of another one, or that page itself.
fn is_size_of(info: &ImageInfo, of: usize, page: usize) -> bool {
    let size = |page: usize| info.pages.get(page)?.levels.first().map(|level| level.size);
    let levels = info.pages.get(of).map_or(&[][..], |page| page.levels.as_slice());
    size(page).is_none_or(|size| levels.iter().any(|level| level.size == size))
}

impl OpenedImage for ImageHandle {
    fn info(&self) -> &ImageInfo {
        &self.image.info
    }

    fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    fn horizontal_views(&self) -> Vec<i64> {
        match &self.sequence {
            Some(sequence) => sequence.horizontal_views(),
            None => (0..self.image.info.views.len() as i64).collect(),
        }
    }

    fn vertical_views(&self) -> Vec<i64> {
        self.sequence
            .as_ref()
            .map_or_else(|| vec![90], |s| s.vertical_views())
    }

    fn xmp(&self) -> Result<Option<Arc<[u8]>>, Error> {
        match self.image.known_metadata(MetadataKind::Xmp) {
            Some(block) => Ok(block),
            None if self.may_read => Ok(self.image.metadata(MetadataKind::Xmp)),
            None => Err(Error::NeedsIo),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_image_is_opened_by_one_at_a_time_and_others_do_not_wait_for_it() {
        let opening = Opening::default();
        let running = AtomicUsize::new(0);
        let far = Instant::now() + Duration::from_secs(60);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    opening.in_turn(
                        Path::new("a"),
                        far,
                        || false,
                        || {
                            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                            // Another image meanwhile.
                            opening.in_turn(Path::new("b"), far, || false, || ());
                            running.fetch_sub(1, Ordering::SeqCst);
                        },
                    );
                });
            }
        });
        assert!(opening.paths.lock().is_empty());
        // Who has waited long enough opens it beside the one who does not end.
        let near = Instant::now() + Duration::from_millis(20);
        opening.in_turn(
            Path::new("a"),
            far,
            || false,
            || {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| opening.in_turn(Path::new("a"), near, || false, || 1));
                    assert_eq!(other.join().unwrap(), 1);
                });
            },
        );
        // Nobody waits for a file that has been put aside, however long it may take.
        opening.in_turn(
            Path::new("a"),
            far,
            || false,
            || {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| opening.in_turn(Path::new("a"), far, || true, || 2));
                    assert_eq!(other.join().unwrap(), 2);
                });
            },
        );
        assert!(opening.paths.lock().is_empty());
    }
}
