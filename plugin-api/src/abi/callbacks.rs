//! The side of the host, first part: its byte source and services behind handles.

// Handles are raw pointers and the functions of the tables are unsafe to call.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RSlice, RSliceMut, RStr};

use super::code;
use super::data::{RawBlock, RawContext, RawSource};
use super::path;
use super::status::{Status, guard, guard_value};
use super::vtable::{ServicesVtable, ServicesVtableRef, SourceVtable, SourceVtableRef};
use crate::context::{CallContext, HostServices};
use crate::error::{DecodeError, ErrorKind};
use crate::source::ByteSource;

/// What a source handle points to.
type Source = Arc<dyn ByteSource>;

const SOURCE: SourceVtableRef = {
    const VALUE: &WithMetadata<SourceVtable> = &WithMetadata::new(SourceVtable {
        release: source_release,
        len: source_len,
        read_at: source_read_at,
        local_path: source_local_path,
    });
    SourceVtableRef(VALUE.static_as_prefix())
};

const SERVICES: ServicesVtableRef = {
    const VALUE: &WithMetadata<ServicesVtable> = &WithMetadata::new(ServicesVtable {
        is_cancelled: services_is_cancelled,
        time_left: services_time_left,
        log: services_log,
    });
    ServicesVtableRef(VALUE.static_as_prefix())
};

/// A source for a module, which releases it.
pub(super) fn raw_source(source: Source) -> RawSource {
    RawSource {
        handle: Box::into_raw(Box::new(source)).cast(),
        vtable: SOURCE,
    }
}

/// The surroundings of one call. `services` is `&ctx.host`, kept by the caller until the call returns.
pub(super) fn raw_context<'a>(ctx: &CallContext<'_>, services: &'a &dyn HostServices) -> RawContext<'a> {
    RawContext {
        max_pixels: ctx.limits.max_pixels,
        max_bytes: ctx.limits.max_bytes,
        max_threads: ctx.limits.max_threads,
        services: std::ptr::from_ref(services).cast(),
        vtable: SERVICES,
        extra: RSlice::EMPTY,
    }
}

/// # Safety
/// `handle` was made by [`raw_source`] and is not released yet.
unsafe fn source<'a>(handle: *const c_void) -> &'a dyn ByteSource {
    // SAFETY: the handle points to the `Source` that `raw_source` boxed; the caller keeps it alive.
    let source = unsafe { &*handle.cast::<Source>() };
    source.as_ref()
}

unsafe extern "C" fn source_release(handle: *mut c_void) -> Status {
    guard(|| {
        // SAFETY: the handle is the pointer `raw_source` made of such a box, and is released once.
        let source = unsafe { Box::from_raw(handle.cast::<Source>()) };
        drop(source);
        Ok(())
    })
}

unsafe extern "C" fn source_len(handle: *const c_void) -> u64 {
    guard_value(0, || {
        // SAFETY: the module passes a living handle.
        let source = unsafe { source(handle) };
        source.len()
    })
}

unsafe extern "C" fn source_read_at(
    handle: *const c_void,
    offset: u64,
    mut buffer: RSliceMut<'_, u8>,
    out: &mut u64,
) -> Status {
    guard(|| {
        // SAFETY: the module passes a living handle.
        let source = unsafe { source(handle) };
        let room = buffer.len();
        let count = source.read_at(offset, buffer.as_mut_slice())?;
        if count > room {
            return Err(DecodeError::new(
                ErrorKind::Internal,
                format!("the byte source says it has read {count} bytes into a buffer of {room}"),
            ));
        }
        *out = count as u64;
        Ok(())
    })
}

unsafe extern "C" fn source_local_path(handle: *const c_void, out: &mut RawBlock) -> Status {
    guard(|| {
        // SAFETY: the module passes a living handle.
        let source = unsafe { source(handle) };
        *out = source.local_path().and_then(path::to_bytes).into();
        Ok(())
    })
}

/// # Safety
/// `handle` is the `services` of a [`RawContext`] whose call still runs.
unsafe fn services<'a>(handle: *const c_void) -> &'a dyn HostServices {
    // SAFETY: `raw_context` made the handle of a reference that lives as long as the call.
    unsafe { *handle.cast::<&dyn HostServices>() }
}

// After a panic of the host the call had better stop: cancelled, and no time left.

unsafe extern "C" fn services_is_cancelled(handle: *const c_void) -> u32 {
    guard_value(1, || {
        // SAFETY: the module asks during the call only.
        let services = unsafe { services(handle) };
        u32::from(services.is_cancelled())
    })
}

unsafe extern "C" fn services_time_left(handle: *const c_void) -> u64 {
    guard_value(0, || {
        // SAFETY: the module asks during the call only.
        let services = unsafe { services(handle) };
        match services.time_left() {
            Duration::MAX => code::NO_DEADLINE,
            time => u64::try_from(time.as_nanos()).unwrap_or(code::NO_DEADLINE),
        }
    })
}

unsafe extern "C" fn services_log(handle: *const c_void, level: u32, message: RStr<'_>) {
    guard_value((), || {
        // SAFETY: the module logs during the call only.
        let services = unsafe { services(handle) };
        services.log(code::log_level(level), message.as_str());
    });
}
