//! The data that crosses: frozen structs of numbers, strings and lists.
//!
//! No field is ever added, removed or changed here. What a later release has to say goes into `extra`.

// The code of `derive(StableAbi)` implements unsafe traits.
#![allow(unsafe_code)]

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr, RString, RVec};

use super::vtable::{ServicesVtableRef, SourceVtableRef};

/// Something a later release added to a frozen struct. Unknown ids are ignored; an id is never used again
/// for another meaning. Release 1.0 defines none.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct Attribute {
    pub(crate) id: u32,
    pub(crate) value: RVec<u8>,
}

/// [`FormatInfo`](crate::FormatInfo).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawFormat {
    pub(crate) name: RString,
    pub(crate) media_type: RString,
    pub(crate) extensions: RVec<RString>,
    pub(crate) extra: RVec<Attribute>,
}

/// [`OptionSpec`](crate::OptionSpec).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawOption {
    pub(crate) name: RString,
    pub(crate) kind: u32,
    pub(crate) default_value: RString,
    pub(crate) description: RString,
    pub(crate) extra: RVec<Attribute>,
}

/// [`ModuleInfo`](crate::ModuleInfo).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawModuleInfo {
    pub(crate) id: RString,
    pub(crate) name: RString,
    pub(crate) version: RString,
    pub(crate) license: RString,
    pub(crate) formats: RVec<RawFormat>,
    pub(crate) capabilities: RVec<u32>,
    pub(crate) options: RVec<RawOption>,
    pub(crate) threading: u32,
    pub(crate) extra: RVec<Attribute>,
}

/// One entry of [`Options`](crate::Options).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawSetting<'a> {
    pub(crate) name: RStr<'a>,
    pub(crate) value: RStr<'a>,
}

/// [`FileHead`](crate::FileHead).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawHead<'a> {
    pub(crate) bytes: RSlice<'a, u8>,
    pub(crate) file_len: u64,
    pub(crate) extension: RStr<'a>,
    pub(crate) extra: RSlice<'a, Attribute>,
}

/// [`Claim`](crate::Claim).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawClaim {
    pub(crate) level: u32,
    pub(crate) reason: RString,
    pub(crate) extra: RVec<Attribute>,
}

/// A [`ByteSource`](crate::ByteSource) of the host. Whoever holds it calls `release` once.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawSource {
    pub(crate) handle: *mut c_void,
    pub(crate) vtable: SourceVtableRef,
}

/// [`CallContext`](crate::CallContext), valid until the call it is given to returns.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawContext<'a> {
    pub(crate) max_pixels: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_threads: u32,
    pub(crate) services: *const c_void,
    pub(crate) vtable: ServicesVtableRef,
    pub(crate) extra: RSlice<'a, Attribute>,
}

/// One entry of [`ImageInfo::text`](crate::ImageInfo::text).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawText {
    pub(crate) name: RString,
    pub(crate) value: RVec<u8>,
}

/// [`ImageInfo`](crate::ImageInfo).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawImageInfo {
    pub(crate) format: RString,
    pub(crate) pages: RVec<RawPage>,
    pub(crate) text: RVec<RawText>,
    pub(crate) warnings: RVec<RString>,
    pub(crate) extra: RVec<Attribute>,
}

/// [`PageInfo`](crate::PageInfo).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawPage {
    pub(crate) name: RString,
    pub(crate) scale: f64,
    pub(crate) levels: RVec<RawLevel>,
    pub(crate) band_count: u32,
    pub(crate) sample_format: u32,
    pub(crate) bit_depth: u32,
    pub(crate) color_model: u32,
    pub(crate) alpha: u32,
    pub(crate) quality_layers: u32,
    /// Bits of [`page_flag`](super::code::page_flag).
    pub(crate) flags: u32,
    /// 0 = no resolution is known, the two numbers mean nothing.
    pub(crate) resolution_unit: u32,
    pub(crate) resolution_x: f64,
    pub(crate) resolution_y: f64,
    pub(crate) ranges: RVec<RawRange>,
    pub(crate) extra: RVec<Attribute>,
}

/// One entry of [`PageInfo::ranges`](crate::PageInfo::ranges).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawRange {
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// [`LevelInfo`](crate::LevelInfo).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawLevel {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) tile_width: u32,
    pub(crate) tile_height: u32,
    /// Number of an [`EncodedFormat`](crate::EncodedFormat), 0 = none.
    pub(crate) encoded: u32,
    /// Bits of [`level_flag`](super::code::level_flag).
    pub(crate) flags: u32,
    pub(crate) extra: RVec<Attribute>,
}

/// [`ReadRequest`](crate::ReadRequest).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawRequest<'a> {
    pub(crate) page: u32,
    pub(crate) level: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) quality_layers: u32,
    pub(crate) extra: RSlice<'a, Attribute>,
}

/// [`TileId`](crate::TileId).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawTileId<'a> {
    pub(crate) page: u32,
    pub(crate) level: u32,
    pub(crate) tile_col: u32,
    pub(crate) tile_row: u32,
    pub(crate) extra: RSlice<'a, Attribute>,
}

/// [`PixelBuffer`](crate::PixelBuffer): borrowed from the host until the call returns.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawBuffer<'a> {
    pub(crate) bytes: *mut u8,
    pub(crate) len: u64,
    pub(crate) row_stride: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) band_count: u32,
    pub(crate) sample_format: u32,
    pub(crate) extra: RSlice<'a, Attribute>,
}

/// An optional [`EncodedTile`](crate::EncodedTile).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawEncodedTile {
    /// 0 = there is none, the other fields mean nothing.
    pub(crate) present: u32,
    pub(crate) format: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: RVec<u8>,
    pub(crate) extra: RVec<Attribute>,
}

/// Optional bytes: a block of metadata, a path.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawBlock {
    /// 0 = there is none.
    pub(crate) present: u32,
    pub(crate) bytes: RVec<u8>,
    pub(crate) extra: RVec<Attribute>,
}

/// [`Cost`](crate::Cost).
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawCost {
    pub(crate) bytes_read: u64,
    pub(crate) pixels_decoded: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) extra: RVec<Attribute>,
}
