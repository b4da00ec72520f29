//! One open image.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iiphost_plugin_api::{
    ByteSource, DecodeError, EncodedTile, ErrorKind, FileHead, ImageReader, Limits as CallLimits,
    MetadataKind, PixelBuffer, ReadContext, ReadRequest, Region, TileId,
};
use parking_lot::Mutex;

use super::call::CallScope;
use super::calls::{Entry, Subject};
use super::closer::Closing;
use super::convert::image_info;
use super::joined::Gain;
use super::registry::{Module, Registry};
use super::upright::upright;
use crate::error::Error;
use crate::image_info::{ImageInfo, Level};
use crate::limits::{Limits, Size};
use crate::source::{FileSource, OpenedFile, Stamp};

/// How long opening or reading metadata may take, whatever the request allows.
const OPEN_TIME: Duration = Duration::from_secs(20);

/// Pages of an image whose gains are known from the start.
const MAX_PAGES_ASKED: usize = 16;

/// Largest metadata block or encoded tile taken from a module.
const MAX_BLOCK_BYTES: u64 = 64 << 20;

/// An image a module has opened. Shared by all requests for it.
pub struct OpenImage {
    /// The identifier that named it first.
    pub identifier: Vec<u8>,
    /// Path below the root.
    pub path: PathBuf,
    /// State of the file when it was opened.
    pub stamp: Stamp,
    /// The image as the host shows it.
    pub info: ImageInfo,
    /// The module that opened it.
    pub module: Arc<Module>,
    // Taken in `drop` only.
    reader: Option<Box<dyn ImageReader>>,
    metadata: Mutex<HashMap<MetadataKind, Known>>,
    /// By page and level of the module.
    gains: Mutex<HashMap<(u32, u32), Gain>>,
    registry: Arc<Registry>,
    subject: Arc<Subject>,
}

/// What is known of a block of metadata.
#[derive(Clone, Debug)]
struct Known {
    block: Option<Arc<[u8]>>,
    /// It could not be read, and is tried again after this.
    failed_until: Option<Instant>,
}

impl Known {
    fn counts(&self) -> bool {
        self.failed_until.is_none_or(|until| Instant::now() < until)
    }
}

/// How long a block of metadata that could not be read is left out: a broken one must not be read for every
/// tile, and a disk may come back.
const METADATA_PAUSE: Duration = Duration::from_secs(10);

impl OpenImage {
    /// Opens a file with the module that claims it; if that finds the file not its own after all, with the
    /// next one that claims it.
    ///
    /// # Errors
    /// 415 when no module claims it or its module lacks a feature, 500 when it is broken or in quarantine.
    pub fn open(
        registry: &Arc<Registry>,
        identifier: &[u8],
        path: PathBuf,
        file: OpenedFile,
        limits: &Limits,
        scope: &CallScope,
    ) -> Result<Self, Error> {
        if registry.faults().file_is_quarantined(&path, &file.stamp) {
            return Err(Error::fault(
                "quarantine",
                "the file made a module fail a short while ago",
            ));
        }
        let OpenedFile {
            file,
            stamp,
            extension,
        } = file;
        let source: Arc<dyn ByteSource> = Arc::new(FileSource::new(file, stamp.len));
        let head = Registry::read_head(&*source).map_err(|e| Error::from_decoder("source", &e))?;
        let head = FileHead {
            bytes: &head,
            file_len: stamp.len,
            extension: &extension,
        };
        let subject = Arc::new(Subject::new(identifier.to_vec(), path.clone(), stamp));
        let (module, reader) = first_that_opens(registry, &head, &source, &subject, limits, scope)
            .map_err(|refused| refused.settle(registry, &subject))?;
        let reader = if registry.turns_upright() {
            upright(reader)
        } else {
            reader
        };
        for warning in &reader.info().warnings {
            let image = identifier.escape_ascii();
            tracing::warn!(module = module.info.id, %image, "{}", warning.escape_debug());
        }
        let info = image_info(reader.info(), stamp.modified());
        let image = Self {
            identifier: identifier.to_vec(),
            path,
            stamp,
            info,
            module,
            reader: Some(reader),
            metadata: Mutex::default(),
            gains: Mutex::default(),
            registry: registry.clone(),
            subject,
        };
        image.learn_gains(scope);
        Ok(image)
    }

    /// Asks the module what levels gain from neighbors read together, here where it may take its time. A stack
    /// of many pages is not worth asking for all of them.
    fn learn_gains(&self, scope: &CallScope) {
        for (index, page) in self.info.pages.iter().enumerate().take(MAX_PAGES_ASKED) {
            for level in page.levels.iter().filter(|level| level.halvings == 0) {
                self.gain(index, level, page.tile_size, scope);
            }
        }
    }

    /// Whether the module failed so badly on this image that it must be opened anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.subject.is_broken()
    }

    /// Makes a call about the image.
    fn call<T>(
        &self,
        entry: Entry,
        limits: CallLimits,
        scope: &CallScope,
        call: impl FnOnce(&dyn ImageReader, &ReadContext<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, Error> {
        let services = scope.call(&self.module.info.id, &self.identifier);
        let context = services.context(limits);
        let call = || match &self.reader {
            Some(reader) => call(&**reader, &context),
            None => Err(DecodeError::new(ErrorKind::Internal, "the image is closed")),
        };
        self.registry
            .call(&self.module, entry, &self.subject, scope.deadline(), call)
            .map_err(|error| {
                self.registry.settle(&self.module, &self.subject, &error, true);
                Error::from_decoder(&self.module.info.id, &error)
            })
    }

    /// Fills a buffer with pixels of a decoder's level.
    ///
    /// # Errors
    /// As [`Error::from_decoder`].
    pub fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        limits: &Limits,
        threads: u32,
        scope: &CallScope,
    ) -> Result<(), Error> {
        self.call(
            Entry::Read,
            call_limits(limits, threads),
            scope,
            |reader, context| reader.read(request, out, context),
        )
    }

    /// What [`gain`](Self::gain) found, if it has been asked.
    #[must_use]
    pub fn known_gain(&self, page: usize, level: &Level) -> Option<Gain> {
        let page = u32::try_from(page).ok()?;
        self.gains.lock().get(&(page, level.decoder_level)).copied()
    }

    /// What reading tiles of a level gains from reading their neighbors too, asked of the module once.
    pub fn gain(&self, page: usize, level: &Level, tile: Size, scope: &CallScope) -> Gain {
        let Ok(page) = u32::try_from(page) else {
            return Gain::default();
        };
        if let Some(known) = self.known_gain(page as usize, level) {
            return known;
        }
        // Blocks in the middle, where nothing is cut off by an edge.
        let middle = |side: u32, tile: u32| side.div_ceil(tile.max(1)) / 2 / 4 * 4 * tile;
        let (x, y) = (
            middle(level.size.width, tile.width),
            middle(level.size.height, tile.height),
        );
        let mut costs = [(0, 0); 3];
        for (cost, block) in costs.iter_mut().zip([1u32, 2, 4]) {
            let side = |start: u32, tile: u32, end: u32| tile.saturating_mul(block).min(end - start);
            let region = Region::new(
                x,
                y,
                side(x, tile.width, level.size.width),
                side(y, tile.height, level.size.height),
            );
            let request = ReadRequest {
                page,
                level: level.decoder_level,
                region,
                quality_layers: 0,
            };
            let limits = CallLimits {
                max_pixels: 0,
                max_bytes: 0,
                max_threads: 1,
            };
            let asked = self.call(Entry::Estimate, limits, scope, |reader, _| {
                Ok(reader.estimate(&request).pixels_decoded)
            });
            match asked {
                Ok(pixels) => *cost = (pixels, region.pixels()),
                Err(error) => {
                    tracing::debug!("no estimate: {error}");
                    return Gain::default();
                }
            }
        }
        let gain = Gain::new(costs.map(|(cost, _)| cost), costs.map(|(_, pixels)| pixels));
        self.gains.lock().insert((page, level.decoder_level), gain);
        gain
    }

    /// A stored tile as a file of its own, if the module has it like that.
    ///
    /// # Errors
    /// As [`Error::from_decoder`].
    pub fn encoded_tile(
        &self,
        tile: TileId,
        limits: &Limits,
        scope: &CallScope,
    ) -> Result<Option<EncodedTile>, Error> {
        self.call(
            Entry::EncodedTile,
            call_limits(limits, 1),
            scope,
            |reader, context| reader.encoded_tile(tile, context),
        )
    }

    /// A block of metadata, read once. A block that cannot be read is left out with a warning: the
    /// picture is still served.
    #[must_use]
    pub fn metadata(&self, kind: MetadataKind) -> Option<Arc<[u8]>> {
        if let Some(known) = self.known_metadata(kind) {
            return known;
        }
        let scope = CallScope::with_time(OPEN_TIME);
        let limits = CallLimits {
            max_pixels: 0,
            max_bytes: MAX_BLOCK_BYTES,
            max_threads: 1,
        };
        let read = |reader: &dyn ImageReader, context: &ReadContext<'_>| reader.metadata(kind, context);
        let mut failed_until = None;
        let block = match self.call(Entry::Metadata, limits, &scope, read) {
            Ok(block) => block.filter(|b| !b.is_empty()).map(Arc::from),
            Err(error) => {
                let image = self.identifier.escape_ascii();
                tracing::warn!(module = self.module.info.id, %image, ?kind, "metadata left out: {error}");
                failed_until = Some(Instant::now() + METADATA_PAUSE);
                None
            }
        };
        let known = Known {
            block: block.clone(),
            failed_until,
        };
        self.metadata.lock().insert(kind, known);
        block
    }

    /// A block of metadata if it has been read before; the outer `None` says that it has not.
    #[must_use]
    pub fn known_metadata(&self, kind: MetadataKind) -> Option<Option<Arc<[u8]>>> {
        let metadata = self.metadata.lock();
        metadata
            .get(&kind)
            .filter(|known| known.counts())
            .map(|known| known.block.clone())
    }

    /// Whether a block of metadata could not be read a short while ago: pictures made now may lack it, and
    /// must not be kept.
    #[must_use]
    pub fn lacks_metadata(&self) -> bool {
        self.metadata
            .lock()
            .values()
            .any(|known| known.failed_until.is_some())
    }
}

impl Drop for OpenImage {
    /// Images are dropped by whoever uses them last, also by threads that must not wait for a module.
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            let (module, subject) = (self.module.clone(), self.subject.clone());
            self.registry.closer().close(
                &self.registry,
                Closing {
                    reader,
                    module,
                    subject,
                },
            );
        }
    }
}

/// What every module that claims a file said instead of opening it, the highest claim first.
struct Refused {
    failed: Vec<(Arc<Module>, DecodeError)>,
    busy: Option<Arc<Module>>,
}

impl Refused {
    /// Notes the faults, and gives the error of the highest claim: the others were only asked in case it
    /// is wrong.
    fn settle(self, registry: &Registry, subject: &Subject) -> Error {
        for (module, error) in &self.failed {
            registry.settle(module, subject, error, true);
        }
        match self.failed.first() {
            Some((module, error)) => Error::from_decoder(&module.info.id, error),
            None => {
                let error = registry.unclaimed(self.busy.as_deref());
                // A file that nobody reads is the client's matter, a module that is missing the operator's.
                if !registry.missing().is_empty() {
                    tracing::warn!(image = %subject.identifier.escape_ascii(), "{error}");
                }
                error
            }
        }
    }
}

/// The module with the highest claim that opens a file. One that claims what it cannot open, because it
/// claims everything or is broken, does not keep the file from the others.
fn first_that_opens(
    registry: &Registry,
    head: &FileHead<'_>,
    source: &Arc<dyn ByteSource>,
    subject: &Arc<Subject>,
    limits: &Limits,
    scope: &CallScope,
) -> Result<(Arc<Module>, Box<dyn ImageReader>), Refused> {
    let mut failed: Vec<(Arc<Module>, DecodeError)> = Vec::new();
    let identifier = subject.identifier.as_slice();
    let claimants = registry.claimants(head, subject, scope.deadline());
    for module in claimants.modules {
        let services = scope.call(&module.info.id, identifier);
        let context = services.context(call_limits(limits, 1));
        let open = || module.decoder.open(source.clone(), &context);
        match registry.call(module, Entry::Open, subject, scope.deadline(), open) {
            Ok(reader) => {
                for (other, error) in &failed {
                    registry.settle(other, subject, error, false);
                    let (image, claims, opens) = (identifier.escape_ascii(), &other.info.id, &module.info.id);
                    tracing::warn!(%image, claims, opens, "claimed by a module that cannot open it: {error}");
                }
                return Ok((module.clone(), reader));
            }
            Err(error) => {
                // Limits, time and disk are the same for every module.
                let go_on = matches!(
                    error.kind(),
                    ErrorKind::Format | ErrorKind::Unsupported | ErrorKind::Panicked | ErrorKind::Internal
                );
                failed.push((module.clone(), error));
                if !go_on {
                    break;
                }
            }
        }
    }
    Err(Refused {
        failed,
        busy: claimants.busy.cloned(),
    })
}

fn call_limits(limits: &Limits, threads: u32) -> CallLimits {
    CallLimits {
        max_pixels: limits.max_decoded_pixels,
        max_bytes: limits.max_request_bytes,
        max_threads: threads,
    }
}

impl std::fmt::Debug for OpenImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenImage")
            .field("path", &self.path)
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
