//! A library with something else under the name of the header.

/// The module header, written down once more: it must never change.
#[repr(C)]
struct Header {
    magic: [u8; 16],
    abi_major: u32,
    abi_minor: u32,
    flags: u32,
    reserved: u32,
    api_version: [u8; 32],
}

// SAFETY: nothing else in this library has this name.
#[allow(unsafe_code)]
#[unsafe(export_name = "iiphost_module_header")]
static HEADER: Header = Header {
    magic: *b"other-module\0\0\0\0",
    abi_major: 1,
    abi_minor: 0,
    flags: 1,
    reserved: 0,
    api_version: *b"9.8.7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
};
