//! The side of the module: its decoder behind handles, the host's objects as plain traits.

// Handles are raw pointers and the functions of the tables are unsafe to call.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};
use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RSlice, RSliceMut};

use super::code;
use super::convert::borrowed;
use super::data::{
    RawBlock, RawBuffer, RawClaim, RawContext, RawCost, RawEncodedTile, RawHead, RawImageInfo, RawModuleInfo,
    RawRequest, RawSetting, RawSource, RawTileId,
};
use super::path;
use super::status::{Status, guard};
use super::vtable::{
    DecoderVtable, DecoderVtableRef, ModuleRoot, ModuleRootRef, ReaderVtable, ReaderVtableRef,
    ServicesVtableRef,
};
use crate::buffer::PixelBuffer;
use crate::context::{CallContext, HostServices, Limits, LogLevel};
use crate::decoder::{ImageDecoder, ImageReader};
use crate::error::{DecodeError, ErrorKind};
use crate::module::Options;
use crate::region::{ReadRequest, TileId};
use crate::source::{ByteSource, FileHead};

/// What a decoder handle points to.
type Decoder = Box<dyn ImageDecoder>;
/// What a reader handle points to.
type Reader = Box<dyn ImageReader>;

/// How the export macro tells this layer to make the module's decoder.
pub trait Factory: 'static {
    /// Makes the decoder; called once for every time the module is loaded.
    fn make() -> Box<dyn ImageDecoder>;
}

/// The static that abi_stable finds in a module whose decoder `F` makes.
#[must_use]
pub const fn library_header<F: Factory>() -> LibHeader {
    // SAFETY: `root_of_library::<F>` puts out a `ModuleRootRef`, the type named here.
    unsafe { LibHeader::from_constructor::<ModuleRootRef>(root_of_library::<F>, CheckTypeLayout::Yes) }
}

extern "C" fn root_of_library<F: Factory>() -> RootModuleResult {
    __call_root_module_loader(root::<F>)
}

pub(crate) fn root<F: Factory>() -> ModuleRootRef {
    ModuleRootRef(Root::<F>::VALUE.static_as_prefix())
}

struct Root<F>(PhantomData<F>);

impl<F: Factory> Root<F> {
    const VALUE: &'static WithMetadata<ModuleRoot> = &WithMetadata::new(ModuleRoot {
        create: create::<F>,
        decoder: DECODER,
        reader: READER,
    });
}

const DECODER: DecoderVtableRef = {
    const VALUE: &WithMetadata<DecoderVtable> = &WithMetadata::new(DecoderVtable {
        release: decoder_release,
        describe: decoder_describe,
        configure: decoder_configure,
        probe: decoder_probe,
        open: decoder_open,
    });
    DecoderVtableRef(VALUE.static_as_prefix())
};

const READER: ReaderVtableRef = {
    const VALUE: &WithMetadata<ReaderVtable> = &WithMetadata::new(ReaderVtable {
        release: reader_release,
        info: reader_info,
        read: reader_read,
        estimate: reader_estimate,
        encoded_tile: reader_encoded_tile,
        metadata: reader_metadata,
    });
    ReaderVtableRef(VALUE.static_as_prefix())
};

unsafe extern "C" fn create<F: Factory>(out: &mut *mut c_void) -> Status {
    guard(|| {
        let decoder: Decoder = F::make();
        *out = Box::into_raw(Box::new(decoder)).cast();
        Ok(())
    })
}

/// # Safety
/// `handle` was put out by [`create`], is not released yet and not in use by `configure`.
unsafe fn decoder<'a>(handle: *const c_void) -> &'a dyn ImageDecoder {
    // SAFETY: the handle points to the `Decoder` that `create` boxed; the caller keeps it alive and
    // unchanged for the call.
    let decoder = unsafe { &*handle.cast::<Decoder>() };
    decoder.as_ref()
}

unsafe extern "C" fn decoder_release(handle: *mut c_void) -> Status {
    guard(|| {
        // SAFETY: the handle is the pointer `create` made of such a box, and is released once.
        let decoder = unsafe { Box::from_raw(handle.cast::<Decoder>()) };
        drop(decoder);
        Ok(())
    })
}

unsafe extern "C" fn decoder_describe(handle: *const c_void, out: &mut RawModuleInfo) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let decoder = unsafe { decoder(handle) };
        *out = decoder.describe().into();
        Ok(())
    })
}

unsafe extern "C" fn decoder_configure(handle: *mut c_void, settings: RSlice<'_, RawSetting<'_>>) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle and runs no other call during this one.
        let decoder = unsafe { &mut *handle.cast::<Decoder>() };
        let entries = settings
            .iter()
            .map(|s| (s.name.as_str().to_owned(), s.value.as_str().to_owned()))
            .collect();
        decoder.configure(&Options::new(entries))
    })
}

unsafe extern "C" fn decoder_probe(handle: *const c_void, head: &RawHead<'_>, out: &mut RawClaim) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let decoder = unsafe { decoder(handle) };
        let head = FileHead {
            bytes: head.bytes.as_slice(),
            file_len: head.file_len,
            extension: head.extension.as_str(),
        };
        *out = decoder.probe(&head).into();
        Ok(())
    })
}

unsafe extern "C" fn decoder_open(
    handle: *const c_void,
    source: RawSource,
    ctx: &RawContext<'_>,
    out: &mut *mut c_void,
) -> Status {
    guard(|| {
        let source: Arc<dyn ByteSource> = Arc::new(RemoteSource::new(source));
        // SAFETY: the host passes a living handle.
        let decoder = unsafe { decoder(handle) };
        let services = RemoteServices::new(ctx);
        let reader: Reader = decoder.open(source, &services.context(ctx))?;
        *out = Box::into_raw(Box::new(reader)).cast();
        Ok(())
    })
}

/// # Safety
/// `handle` was put out by [`decoder_open`] and is not released yet.
unsafe fn reader<'a>(handle: *const c_void) -> &'a dyn ImageReader {
    // SAFETY: the handle points to the `Reader` that `decoder_open` boxed; the caller keeps it alive.
    let reader = unsafe { &*handle.cast::<Reader>() };
    reader.as_ref()
}

unsafe extern "C" fn reader_release(handle: *mut c_void) -> Status {
    guard(|| {
        // SAFETY: the handle is the pointer `decoder_open` made of such a box, and is released once.
        let reader = unsafe { Box::from_raw(handle.cast::<Reader>()) };
        drop(reader);
        Ok(())
    })
}

unsafe extern "C" fn reader_info(handle: *const c_void, out: &mut RawImageInfo) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let reader = unsafe { reader(handle) };
        *out = RawImageInfo::from(reader.info());
        Ok(())
    })
}

unsafe extern "C" fn reader_read(
    handle: *const c_void,
    request: &RawRequest<'_>,
    out: &RawBuffer<'_>,
    ctx: &RawContext<'_>,
) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let reader = unsafe { reader(handle) };
        // SAFETY: the host lends the bytes to this call alone until it returns.
        let mut buffer = unsafe { pixel_buffer(out) }?;
        let services = RemoteServices::new(ctx);
        reader.read(&ReadRequest::from(request), &mut buffer, &services.context(ctx))
    })
}

unsafe extern "C" fn reader_estimate(
    handle: *const c_void,
    request: &RawRequest<'_>,
    out: &mut RawCost,
) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let reader = unsafe { reader(handle) };
        *out = reader.estimate(&ReadRequest::from(request)).into();
        Ok(())
    })
}

unsafe extern "C" fn reader_encoded_tile(
    handle: *const c_void,
    tile: &RawTileId<'_>,
    ctx: &RawContext<'_>,
    out: &mut RawEncodedTile,
) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let reader = unsafe { reader(handle) };
        let services = RemoteServices::new(ctx);
        *out = reader
            .encoded_tile(TileId::from(tile), &services.context(ctx))?
            .into();
        Ok(())
    })
}

unsafe extern "C" fn reader_metadata(
    handle: *const c_void,
    kind: u32,
    ctx: &RawContext<'_>,
    out: &mut RawBlock,
) -> Status {
    guard(|| {
        // SAFETY: the host passes a living handle.
        let reader = unsafe { reader(handle) };
        let services = RemoteServices::new(ctx);
        *out = match code::metadata_kind(kind) {
            Some(kind) => reader.metadata(kind, &services.context(ctx))?,
            None => None,
        }
        .into();
        Ok(())
    })
}

/// The host's buffer as the decoder sees it, with every number checked.
///
/// # Safety
/// `raw.len` bytes at `raw.bytes` are initialized and nobody else uses them for `'a`.
unsafe fn pixel_buffer<'a>(raw: &'a RawBuffer<'_>) -> Result<PixelBuffer<'a>, DecodeError> {
    let wrong = |what: &str| DecodeError::usage(format!("pixel buffer: {what}"));
    let format = code::sample_format(raw.sample_format)
        .ok_or_else(|| wrong("a sample format this module does not know"))?;
    let stride = usize::try_from(raw.row_stride).map_err(|_| wrong("the stride is larger than memory"))?;
    let len = usize::try_from(raw.len)
        .ok()
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or_else(|| wrong("more bytes than memory"))?;
    if raw.bytes.is_null() {
        return Err(wrong("a null pointer"));
    }
    // SAFETY: not null, `len` fits `isize`, and the caller vouches for the bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(raw.bytes, len) };
    PixelBuffer::new(bytes, raw.width, raw.height, raw.band_count, format, stride)
}

/// A [`ByteSource`] of the host.
struct RemoteSource {
    raw: RawSource,
    /// Asked once: the answer has to be borrowed from here.
    local_path: OnceLock<Option<PathBuf>>,
}

// SAFETY: the handle stands for an `Arc<dyn ByteSource>` of the host, and `ByteSource` is `Send + Sync`.
unsafe impl Send for RemoteSource {}
// SAFETY: as above; the functions of the table take the handle shared.
unsafe impl Sync for RemoteSource {}

impl RemoteSource {
    fn new(raw: RawSource) -> Self {
        Self {
            raw,
            local_path: OnceLock::new(),
        }
    }

    fn ask_local_path(&self) -> Option<PathBuf> {
        let mut out = RawBlock::from(None);
        let local_path = self.raw.vtable.local_path();
        // SAFETY: the handle lives until `drop`.
        let status = unsafe { local_path(self.raw.handle, &mut out) };
        // A host that fails to tell the path has none to tell: `read_at` is always there.
        status.into_result().ok()?;
        Option::<Vec<u8>>::from(out).and_then(path::from_bytes)
    }
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        let release = self.raw.vtable.release();
        // SAFETY: the handle belongs to this object and is released only here.
        let status = unsafe { release(self.raw.handle) };
        // The host has caught and reported its own panic; here nothing depends on it.
        let _ = status.into_result();
    }
}

impl ByteSource for RemoteSource {
    fn len(&self) -> u64 {
        let len = self.raw.vtable.len();
        // SAFETY: the handle lives until `drop`.
        unsafe { len(self.raw.handle) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let room = buffer.len();
        let mut count = 0;
        let read_at = self.raw.vtable.read_at();
        // SAFETY: the handle lives until `drop`; the buffer is borrowed for the call.
        let status = unsafe {
            read_at(
                self.raw.handle,
                offset,
                RSliceMut::from_mut_slice(buffer),
                &mut count,
            )
        };
        status.into_result()?;
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= room)
            .ok_or_else(|| {
                DecodeError::new(
                    ErrorKind::Internal,
                    format!("the host says it has read {count} bytes into a buffer of {room}"),
                )
            })
    }

    fn local_path(&self) -> Option<&Path> {
        self.local_path.get_or_init(|| self.ask_local_path()).as_deref()
    }
}

/// The [`HostServices`] of one call.
struct RemoteServices<'a> {
    handle: *const c_void,
    vtable: ServicesVtableRef,
    call: PhantomData<&'a ()>,
}

// SAFETY: the handle stands for a `&dyn HostServices` of the host, and `HostServices` is `Send + Sync`.
unsafe impl Send for RemoteServices<'_> {}
// SAFETY: as above.
unsafe impl Sync for RemoteServices<'_> {}

impl<'a> RemoteServices<'a> {
    fn new(ctx: &'a RawContext<'_>) -> Self {
        Self {
            handle: ctx.services,
            vtable: ctx.vtable,
            call: PhantomData,
        }
    }

    fn context(&self, raw: &RawContext<'_>) -> CallContext<'_> {
        let limits = Limits {
            max_pixels: raw.max_pixels,
            max_bytes: raw.max_bytes,
            max_threads: raw.max_threads,
        };
        CallContext::new(limits, self)
    }
}

impl HostServices for RemoteServices<'_> {
    fn is_cancelled(&self) -> bool {
        let is_cancelled = self.vtable.is_cancelled();
        // SAFETY: this object does not outlive the call the handle is valid for.
        let answer = unsafe { is_cancelled(self.handle) };
        answer != 0
    }

    fn time_left(&self) -> Duration {
        let time_left = self.vtable.time_left();
        // SAFETY: as in `is_cancelled`.
        match unsafe { time_left(self.handle) } {
            code::NO_DEADLINE => Duration::MAX,
            nanoseconds => Duration::from_nanos(nanoseconds),
        }
    }

    fn log(&self, level: LogLevel, message: &str) {
        let log = self.vtable.log();
        // SAFETY: as in `is_cancelled`; the text is borrowed for the call.
        unsafe { log(self.handle, code::from_log_level(level), borrowed(message)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(bytes: &mut [u8]) -> RawBuffer<'static> {
        RawBuffer {
            bytes: bytes.as_mut_ptr(),
            len: bytes.len() as u64,
            row_stride: 6,
            width: 2,
            height: 2,
            band_count: 3,
            sample_format: 1,
            extra: RSlice::EMPTY,
        }
    }

    fn refusal(change: impl FnOnce(&mut RawBuffer<'static>)) -> String {
        let mut bytes = [0; 12];
        let mut raw = raw(&mut bytes);
        change(&mut raw);
        // SAFETY: the twelve bytes live here; numbers that go beyond them must be refused before use.
        let result = unsafe { pixel_buffer(&raw) };
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn a_buffer_with_wrong_numbers_is_not_rebuilt() {
        assert!(refusal(|raw| raw.bytes = std::ptr::null_mut()).contains("null pointer"));
        assert!(refusal(|raw| raw.len = u64::MAX).contains("more bytes than memory"));
        assert!(refusal(|raw| raw.len = 11).contains("not enough bytes"));
        assert!(refusal(|raw| raw.row_stride = 5).contains("shorter than a row"));
        assert!(refusal(|raw| raw.sample_format = 99).contains("sample format"));
        assert!(refusal(|raw| raw.width = 0).contains("empty"));
        assert!(refusal(|raw| raw.height = u32::MAX).contains("not enough bytes"));
    }

    #[test]
    fn a_right_buffer_is_rebuilt() {
        let mut bytes = [0; 12];
        let raw = raw(&mut bytes);
        // SAFETY: the numbers are those of `bytes`, which outlives the buffer.
        let mut buffer = unsafe { pixel_buffer(&raw) }.unwrap();
        buffer.row_mut(1).fill(9);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9]);
    }
}
