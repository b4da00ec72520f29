//! One open image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iiphost_plugin_api::{
    ByteSource, DecodeError, EncodedTile, ErrorKind, FileHead, ImageReader, Limits as CallLimits,
    MetadataKind, PixelBuffer, ReadRequest, TileId,
};
use parking_lot::Mutex;

use super::call::CallScope;
use super::convert::image_info;
use super::registry::{Module, Registry};
use crate::error::Error;
use crate::image_info::ImageInfo;
use crate::limits::Limits;
use crate::source::{FileSource, OpenedFile, Stamp};

/// How long opening or reading metadata may take, whatever the request allows.
const OPEN_TIME: Duration = Duration::from_secs(20);

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
    reader: Box<dyn ImageReader>,
    metadata: Mutex<HashMap<MetadataKind, Option<Arc<[u8]>>>>,
    registry: Arc<Registry>,
    broken: AtomicBool,
}

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
        let (module, reader) = first_that_opens(registry, &head, &source, identifier, limits, scope)
            .map_err(|refused| refused.settle(registry, &path, &stamp))?;
        for warning in &reader.info().warnings {
            let image = identifier.escape_ascii();
            tracing::warn!(module = module.info.id, %image, "{}", warning.escape_debug());
        }
        let info = image_info(reader.info(), stamp.modified());
        Ok(Self {
            identifier: identifier.to_vec(),
            path,
            stamp,
            info,
            module,
            reader,
            metadata: Mutex::default(),
            registry: registry.clone(),
            broken: AtomicBool::new(false),
        })
    }

    /// Whether the module failed so badly on this image that it must be opened anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
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
        let call = scope.call(&self.module.info.id, &self.identifier);
        self.reader
            .read(request, out, &call.context(call_limits(limits, threads)))
            .map_err(|error| self.failed(&error))
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
        let call = scope.call(&self.module.info.id, &self.identifier);
        self.reader
            .encoded_tile(tile, &call.context(call_limits(limits, 1)))
            .map_err(|error| self.failed(&error))
    }

    /// A block of metadata, read once. A block that cannot be read is left out with a warning: the
    /// picture is still served.
    #[must_use]
    pub fn metadata(&self, kind: MetadataKind) -> Option<Arc<[u8]>> {
        if let Some(known) = self.known_metadata(kind) {
            return known;
        }
        let scope = CallScope::with_time(OPEN_TIME);
        let call = scope.call(&self.module.info.id, &self.identifier);
        let limits = CallLimits {
            max_pixels: 0,
            max_bytes: MAX_BLOCK_BYTES,
            max_threads: 1,
        };
        let block = match self.reader.metadata(kind, &call.context(limits)) {
            Ok(block) => block.filter(|b| !b.is_empty()).map(Arc::from),
            Err(error) => {
                let image = self.identifier.escape_ascii();
                let error = self.failed(&error);
                tracing::warn!(module = self.module.info.id, %image, ?kind, "metadata left out: {error}");
                None
            }
        };
        self.metadata.lock().insert(kind, block.clone());
        block
    }

    /// A block of metadata if it has been read before; the outer `None` says that it has not.
    #[must_use]
    pub fn known_metadata(&self, kind: MetadataKind) -> Option<Option<Arc<[u8]>>> {
        self.metadata.lock().get(&kind).cloned()
    }

    fn failed(&self, error: &DecodeError) -> Error {
        if error.kind() == ErrorKind::Panicked {
            self.broken.store(true, Ordering::Relaxed);
            self.registry
                .faults()
                .record(&self.module.info.id, &self.path, &self.stamp);
        }
        Error::from_decoder(&self.module.info.id, error)
    }
}

/// What every module that claims a file said instead of opening it, the highest claim first.
struct Refused(Vec<(Arc<Module>, DecodeError)>);

impl Refused {
    /// Notes the faults, and gives the error of the highest claim: the others were only asked in case it
    /// is wrong.
    fn settle(self, registry: &Registry, path: &Path, stamp: &Stamp) -> Error {
        for (module, error) in &self.0 {
            if error.kind() == ErrorKind::Panicked {
                registry.faults().record(&module.info.id, path, stamp);
            }
        }
        match self.0.first() {
            Some((module, error)) => Error::from_decoder(&module.info.id, error),
            None => registry.unclaimed(),
        }
    }
}

/// The module with the highest claim that opens a file. One that claims what it cannot open, because it
/// claims everything or is broken, does not keep the file from the others.
fn first_that_opens(
    registry: &Registry,
    head: &FileHead<'_>,
    source: &Arc<dyn ByteSource>,
    identifier: &[u8],
    limits: &Limits,
    scope: &CallScope,
) -> Result<(Arc<Module>, Box<dyn ImageReader>), Refused> {
    let mut failed: Vec<(Arc<Module>, DecodeError)> = Vec::new();
    for module in registry.claimants(head) {
        let call = scope.call(&module.info.id, identifier);
        let context = call.context(call_limits(limits, 1));
        match module.decoder.open(source.clone(), &context) {
            Ok(reader) => {
                for (other, error) in &failed {
                    if error.kind() == ErrorKind::Panicked {
                        registry.faults().record_module(&other.info.id);
                    }
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
    Err(Refused(failed))
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
