//! The side of the host, second part: decoder and readers of a module as the plain traits.
//!
//! Everything that comes back is checked before the host sees it ([`crate::host::answer`]).

// Handles are raw pointers and the functions of the tables are unsafe to call.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

use abi_stable::std_types::{RSlice, RVec};

use super::callbacks::{raw_context, raw_source};
use super::code;
use super::convert::borrowed;
use super::data::{
    RawBlock, RawBuffer, RawClaim, RawCost, RawEncodedTile, RawHead, RawImageInfo, RawModuleInfo, RawRequest,
    RawSetting, RawTileId,
};
use super::status::Status;
use super::vtable::{ModuleRootRef, ReaderVtableRef};
use crate::buffer::PixelBuffer;
use crate::context::{OpenContext, ReadContext};
use crate::decoder::{EncodedTile, ImageDecoder, ImageReader};
use crate::error::{DecodeError, ErrorKind};
use crate::host::{Faults, answer};
use crate::info::{ImageInfo, MetadataKind};
use crate::module::{ModuleInfo, Options};
use crate::probe::Claim;
use crate::region::{Cost, ReadRequest, TileId};
use crate::source::{ByteSource, FileHead};

/// The decoder of a module.
pub(crate) struct RemoteDecoder {
    handle: *mut c_void,
    root: ModuleRootRef,
    info: ModuleInfo,
    faults: Arc<Faults>,
}

// SAFETY: the handle stands for a `Box<dyn ImageDecoder>` of the module, and `ImageDecoder` is
// `Send + Sync`; calls that may not overlap are kept apart by `crate::host::Serialized`.
unsafe impl Send for RemoteDecoder {}
// SAFETY: as above; `configure`, which changes the decoder, takes `&mut self`.
unsafe impl Sync for RemoteDecoder {}

impl RemoteDecoder {
    /// Has the module make its decoder and describe itself.
    pub(crate) fn new(root: ModuleRootRef, faults: Arc<Faults>) -> Result<Self, DecodeError> {
        let mut handle = std::ptr::null_mut();
        let create = root.create();
        // SAFETY: the layout of the table was checked when the library was loaded.
        let status = unsafe { create(&mut handle) };
        faults.settle(status.into_result())?;
        if handle.is_null() {
            return Err(faults.lie("null instead of a decoder"));
        }
        let mut decoder = Self {
            handle,
            root,
            info: ModuleInfo::from(empty_module_info()),
            faults,
        };
        let mut out = empty_module_info();
        let describe = root.decoder().describe();
        // SAFETY: the handle lives until `drop`.
        let status = unsafe { describe(decoder.handle, &mut out) };
        decoder.settle(status)?;
        decoder.info = out.into();
        decoder.faults.settle(answer::module_info(&decoder.info))?;
        Ok(decoder)
    }

    fn settle(&self, status: Status) -> Result<(), DecodeError> {
        self.faults.settle(status.into_result())
    }
}

impl Drop for RemoteDecoder {
    fn drop(&mut self) {
        let release = self.root.decoder().release();
        // SAFETY: the handle belongs to this object and is released only here.
        let status = unsafe { release(self.handle) };
        // A destructor has nobody to tell; the fault is counted.
        let _ = self.settle(status);
    }
}

impl ImageDecoder for RemoteDecoder {
    fn describe(&self) -> ModuleInfo {
        self.info.clone()
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        let settings: Vec<_> = options
            .iter()
            .map(|(name, value)| RawSetting {
                name: borrowed(name),
                value: borrowed(value),
            })
            .collect();
        let configure = self.root.decoder().configure();
        // SAFETY: the handle lives until `drop`; `&mut self` keeps other calls away.
        let status = unsafe { configure(self.handle, RSlice::from_slice(&settings)) };
        self.settle(status)
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        let head = RawHead {
            bytes: RSlice::from_slice(head.bytes),
            file_len: head.file_len,
            extension: borrowed(head.extension),
            extra: RSlice::EMPTY,
        };
        let mut out = RawClaim::from(Claim::none(String::new()));
        let probe = self.root.decoder().probe();
        // SAFETY: the handle lives until `drop`.
        let status = unsafe { probe(self.handle, &head, &mut out) };
        match self.settle(status) {
            Ok(()) => answer::claim(out.into()),
            Err(error) => Claim::none(format!("{}: {error}", error.kind().name())),
        }
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        let mut handle = std::ptr::null_mut();
        let raw_ctx = raw_context(ctx, &ctx.host);
        let open = self.root.decoder().open();
        // SAFETY: the handle lives until `drop`, the context until the end of this function.
        let status = unsafe { open(self.handle, raw_source(source), &raw_ctx, &mut handle) };
        self.settle(status)?;
        if handle.is_null() {
            return Err(self.faults.lie("null instead of a reader"));
        }
        let reader = RemoteReader::new(handle, self.root.reader(), self.faults.clone(), ctx)?;
        Ok(Box::new(reader))
    }
}

/// A reader of a module.
pub(crate) struct RemoteReader {
    handle: *mut c_void,
    vtable: ReaderVtableRef,
    info: ImageInfo,
    faults: Arc<Faults>,
    /// The first panic: the reader may be half-changed, so it is not used again.
    panicked: OnceLock<DecodeError>,
}

// SAFETY: the handle stands for a `Box<dyn ImageReader>` of the module, and `ImageReader` is `Send + Sync`;
// calls that may not overlap are kept apart by `crate::host::Serialized`.
unsafe impl Send for RemoteReader {}
// SAFETY: as above.
unsafe impl Sync for RemoteReader {}

impl RemoteReader {
    fn new(
        handle: *mut c_void,
        vtable: ReaderVtableRef,
        faults: Arc<Faults>,
        ctx: &OpenContext<'_>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Self {
            handle,
            vtable,
            info: ImageInfo {
                format: String::new(),
                pages: Vec::new(),
                text: Vec::new(),
                warnings: Vec::new(),
            },
            faults,
            panicked: OnceLock::new(),
        };
        let mut out = RawImageInfo::from(&reader.info);
        let info = vtable.info();
        // SAFETY: the handle lives until `drop`.
        let status = unsafe { info(reader.handle, &mut out) };
        reader.settle(status)?;
        let info = ImageInfo::try_from(out).map_err(|unknown| {
            reader.faults.lie(&format!(
                "page {}: sample_format {}, which this version does not know",
                unknown.page, unknown.number
            ))
        })?;
        reader
            .faults
            .settle(answer::image_info(&info, ctx.limits.max_bytes))?;
        reader.info = info;
        Ok(reader)
    }

    fn settle(&self, status: Status) -> Result<(), DecodeError> {
        let result = self.faults.settle(status.into_result());
        if let Err(error) = &result
            && error.kind() == ErrorKind::Panicked
        {
            // The first one is kept; the later ones are its consequences.
            let _ = self.panicked.set(error.clone());
        }
        result
    }

    fn check_usable(&self) -> Result<(), DecodeError> {
        match self.panicked.get() {
            None => Ok(()),
            Some(first) => Err(DecodeError::new(
                ErrorKind::Panicked,
                format!("this reader has panicked before: {first}"),
            )),
        }
    }
}

impl Drop for RemoteReader {
    fn drop(&mut self) {
        let release = self.vtable.release();
        // SAFETY: the handle belongs to this object and is released only here.
        let status = unsafe { release(self.handle) };
        // A destructor has nobody to tell; the fault is counted.
        let _ = self.settle(status);
    }
}

impl ImageReader for RemoteReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        self.check_usable()?;
        let (page, _) = request.resolve(&self.info)?;
        out.check(page, &request.region)?;
        let raw_ctx = raw_context(ctx, &ctx.host);
        let mut raw = RawBuffer {
            bytes: std::ptr::null_mut(),
            len: 0,
            row_stride: out.row_stride() as u64,
            width: out.width(),
            height: out.height(),
            band_count: out.band_count(),
            sample_format: code::from_sample_format(out.sample_format()),
            extra: RSlice::EMPTY,
        };
        let bytes = out.bytes_mut();
        raw.len = bytes.len() as u64;
        raw.bytes = bytes.as_mut_ptr();
        let read = self.vtable.read();
        // SAFETY: the handle lives until `drop`; context and bytes are borrowed until the call returns.
        let status = unsafe { read(self.handle, &RawRequest::from(request), &raw, &raw_ctx) };
        self.settle(status)
    }

    fn encoded_tile(&self, tile: TileId, ctx: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        self.check_usable()?;
        let level = answer::level_of_tile(&self.info, tile)?;
        let Some(encoded_tile) = self.vtable.encoded_tile().filter(|_| level.encoded.is_some()) else {
            return Ok(None);
        };
        let raw_ctx = raw_context(ctx, &ctx.host);
        let mut out = RawEncodedTile::from(None);
        // SAFETY: the handle lives until `drop`; the context until the call returns.
        let status = unsafe { encoded_tile(self.handle, &RawTileId::from(tile), &raw_ctx, &mut out) };
        self.settle(status)?;
        let found = Option::<EncodedTile>::from(out);
        if let Some(found) = &found {
            self.faults
                .settle(answer::encoded_tile(found, level, ctx.limits.max_bytes))?;
        }
        Ok(found)
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        self.check_usable()?;
        let Some(metadata) = self.vtable.metadata() else {
            return Ok(None);
        };
        let raw_ctx = raw_context(ctx, &ctx.host);
        let mut out = RawBlock::from(None);
        // SAFETY: the handle lives until `drop`; the context until the call returns.
        let status = unsafe { metadata(self.handle, code::from_metadata_kind(kind), &raw_ctx, &mut out) };
        self.settle(status)?;
        self.faults
            .settle(answer::metadata(out.bytes.len(), ctx.limits.max_bytes))?;
        Ok(out.into())
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        let whole_level = answer::cost_of_level(&self.info, request);
        if self.check_usable().is_err() {
            return whole_level;
        }
        let mut out = RawCost::from(Cost::default());
        let estimate = self.vtable.estimate();
        // SAFETY: the handle lives until `drop`.
        let status = unsafe { estimate(self.handle, &RawRequest::from(request), &mut out) };
        match self.settle(status) {
            Ok(()) => out.into(),
            // Counted, and the next call on this reader says so.
            Err(_) => whole_level,
        }
    }
}

fn empty_module_info() -> RawModuleInfo {
    RawModuleInfo {
        id: Default::default(),
        name: Default::default(),
        version: Default::default(),
        license: Default::default(),
        formats: RVec::new(),
        capabilities: RVec::new(),
        options: RVec::new(),
        threading: 0,
        extra: RVec::new(),
    }
}
