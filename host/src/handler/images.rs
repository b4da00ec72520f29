//! Images for the protocols: opened through the pool of handles, sequences found in their folder.

use std::path::Path;
use std::sync::Arc;

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

/// The state of a folder, and the sequence found in it.
type Found = (Stamp, Arc<Sequence>);

/// Sequences found, by identifier, for as long as their folder is unchanged.
#[derive(Debug)]
pub(super) struct Sequences {
    known: Mutex<LruCache<Vec<u8>, Found>>,
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::new(LruCache::unbounded()),
        }
    }

    pub(super) fn clear(&self) {
        self.known.lock().clear();
    }
}

/// Opens images for one request.
#[derive(Clone, Copy)]
pub(super) struct Provider<'a> {
    pub(super) handles: &'a Handles,
    pub(super) sequences: &'a Sequences,
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
            (Opened::Closed, Some(scope)) => self.handles.open(identifier, path, self.limits, scope),
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
