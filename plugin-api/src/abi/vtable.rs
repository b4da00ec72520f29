//! The functions that cross, in tables that grow at the end only.
//!
//! The field marked `last_prefix_field` is the last one that every module since 1.0 has. It never moves.
//! Functions after it may be missing on the other side: their accessors return an `Option`, and the
//! caller does what the trait's default method does.
//!
//! Common rules: a `handle` is what the creating function put out, it stays valid until `release`, and
//! after a panic the caller only releases it. References are valid until the call returns. Functions may
//! be called from any thread, as the module's [`Threading`](crate::Threading) allows.

// The code of `derive(StableAbi)` implements unsafe traits and reads fields by offset.
#![allow(unsafe_code)]

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RSliceMut, RStr};

use super::data::{
    RawBlock, RawBuffer, RawClaim, RawContext, RawCost, RawEncodedTile, RawHead, RawImageInfo, RawModuleInfo,
    RawRequest, RawSetting, RawSource, RawTileId,
};
use super::status::Status;

/// The root of a module: what abi_stable finds in the library.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ModuleRootRef, prefix_fields = ModuleRootPrefix)))]
pub(crate) struct ModuleRoot {
    /// Makes the decoder and puts out its handle.
    pub(crate) create: unsafe extern "C" fn(out: &mut *mut c_void) -> Status,
    /// Functions on a handle made by `create`.
    pub(crate) decoder: DecoderVtableRef,
    /// Functions on a handle made by `open`.
    #[sabi(last_prefix_field)]
    pub(crate) reader: ReaderVtableRef,
}

/// [`ImageDecoder`](crate::ImageDecoder) by handle.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = DecoderVtableRef, prefix_fields = DecoderVtablePrefix)))]
pub(crate) struct DecoderVtable {
    pub(crate) release: unsafe extern "C" fn(handle: *mut c_void) -> Status,
    pub(crate) describe: unsafe extern "C" fn(handle: *const c_void, out: &mut RawModuleInfo) -> Status,
    /// The only call that changes the decoder: no other one runs at the same time.
    pub(crate) configure:
        unsafe extern "C" fn(handle: *mut c_void, settings: RSlice<'_, RawSetting<'_>>) -> Status,
    pub(crate) probe:
        unsafe extern "C" fn(handle: *const c_void, head: &RawHead<'_>, out: &mut RawClaim) -> Status,
    /// Takes over `source`, also when it fails.
    #[sabi(last_prefix_field)]
    pub(crate) open: unsafe extern "C" fn(
        handle: *const c_void,
        source: RawSource,
        ctx: &RawContext<'_>,
        out: &mut *mut c_void,
    ) -> Status,
}

/// [`ImageReader`](crate::ImageReader) by handle.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ReaderVtableRef, prefix_fields = ReaderVtablePrefix)))]
pub(crate) struct ReaderVtable {
    pub(crate) release: unsafe extern "C" fn(handle: *mut c_void) -> Status,
    pub(crate) info: unsafe extern "C" fn(handle: *const c_void, out: &mut RawImageInfo) -> Status,
    pub(crate) read: unsafe extern "C" fn(
        handle: *const c_void,
        request: &RawRequest<'_>,
        out: &RawBuffer<'_>,
        ctx: &RawContext<'_>,
    ) -> Status,
    #[sabi(last_prefix_field)]
    pub(crate) estimate:
        unsafe extern "C" fn(handle: *const c_void, request: &RawRequest<'_>, out: &mut RawCost) -> Status,
    pub(crate) encoded_tile: unsafe extern "C" fn(
        handle: *const c_void,
        tile: &RawTileId<'_>,
        ctx: &RawContext<'_>,
        out: &mut RawEncodedTile,
    ) -> Status,
    pub(crate) metadata: unsafe extern "C" fn(
        handle: *const c_void,
        kind: u32,
        ctx: &RawContext<'_>,
        out: &mut RawBlock,
    ) -> Status,
}

/// [`ByteSource`](crate::ByteSource) of the host by handle. A module shares one handle among its threads.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = SourceVtableRef, prefix_fields = SourceVtablePrefix)))]
pub(crate) struct SourceVtable {
    pub(crate) release: unsafe extern "C" fn(handle: *mut c_void) -> Status,
    pub(crate) len: unsafe extern "C" fn(handle: *const c_void) -> u64,
    /// Puts out how many bytes it has written; the caller refuses more than it gave room for.
    pub(crate) read_at: unsafe extern "C" fn(
        handle: *const c_void,
        offset: u64,
        buffer: RSliceMut<'_, u8>,
        out: &mut u64,
    ) -> Status,
    /// Puts out the bytes of the path as the operating system has them.
    #[sabi(last_prefix_field)]
    pub(crate) local_path: unsafe extern "C" fn(handle: *const c_void, out: &mut RawBlock) -> Status,
}

/// [`HostServices`](crate::HostServices) of a call by handle; valid until that call returns.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ServicesVtableRef, prefix_fields = ServicesVtablePrefix)))]
pub(crate) struct ServicesVtable {
    /// 0 = go on.
    pub(crate) is_cancelled: unsafe extern "C" fn(handle: *const c_void) -> u32,
    /// Nanoseconds, [`NO_DEADLINE`](super::code::NO_DEADLINE) = as long as it takes.
    pub(crate) time_left: unsafe extern "C" fn(handle: *const c_void) -> u64,
    #[sabi(last_prefix_field)]
    pub(crate) log: unsafe extern "C" fn(handle: *const c_void, level: u32, message: RStr<'_>),
}

impl RootModule for ModuleRootRef {
    abi_stable::declare_root_module_statics! {ModuleRootRef}
    const BASE_NAME: &'static str = "iiphost_decoder";
    const NAME: &'static str = "iiphost_decoder";
    // The version of the crate, for people. What decides is the ABI version in the module header: the
    // host never asks abi_stable to compare this one.
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
