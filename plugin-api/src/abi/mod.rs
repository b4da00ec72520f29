//! What really crosses between host and module. Nothing outside this folder names `abi_stable`.
//!
//! A module exports two statics. [`ModuleHeader`] is a plain C struct that a host can read before it
//! trusts the library with anything: magic bytes, ABI version, how the module panics, version of this
//! crate. The second is the root module of abi_stable, which carries the layout of every type below; the
//! host compares it with its own before it calls the first function.
//!
//! Objects cross as opaque handles with tables of `extern "C"` functions, data as structs of numbers,
//! strings and lists. Each side frees what it has allocated: owned lists and strings carry their own
//! destructor. Pixels, file heads and log lines are borrowed for the length of one call.
//!
//! # Panics and errors
//! No panic crosses. Every function that is called from the other side runs its body in
//! [`status::guard`], the host's callbacks too. Functions answer with a [`status::Status`] and write
//! their results through out-parameters.
//!
//! # How it may grow
//! A change is either one of these, and raises [`ABI_MINOR`], or it raises [`ABI_MAJOR`]:
//!
//! * a function at the **end** of a table, after the field marked `last_prefix_field`; whoever calls it
//!   does what the default method of the trait does when the other side does not have it;
//! * an id for [`data::Attribute`] in one of the `extra` lists; unknown ids are ignored. No other field is
//!   added to a struct;
//! * a number for a new variant of an enum, in `code.rs`, where unknown numbers have a safe meaning;
//! * a bit in a `flags` field; unknown bits are ignored.
//!
//! A host accepts every module of its major version whose minor version is not above its own. The version
//! of the crate may change at will; no check looks at it. `abi-layout.txt` beside the manifest holds the
//! layout of the release, and a test fails on every difference.

#![cfg_attr(not(feature = "host"), allow(dead_code))]

#[cfg(feature = "host")]
pub(crate) mod callbacks;
pub(crate) mod code;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod header;
#[cfg(feature = "host")]
pub(crate) mod library;
pub(crate) mod module_side;
pub(crate) mod path;
#[cfg(feature = "host")]
pub(crate) mod remote;
pub(crate) mod status;
pub(crate) mod vtable;

#[cfg(test)]
mod layout_test;
#[cfg(test)]
mod round_trip_test;

pub use abi_stable::library::LibHeader;
pub use header::{ABI_MAJOR, ABI_MINOR, ModuleHeader};
pub use module_side::{Factory, library_header};
