//! The side of the host, third part: from a library file to the root of a module.

// Loading a library runs its constructors; what is read from it is what it says it is.
#![allow(unsafe_code)]

use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{AbiInstability, check_layout_compatibility};
use abi_stable::library::{LibHeader, LibraryError, lib_header_from_path};
use abi_stable::type_layout::TypeLayout;

use super::header::{HEADER_SYMBOL, MAGIC, ModuleHeader};
use super::vtable::ModuleRootRef;

/// Loads a library for good: it is never unloaded, since threads, thread-locals and tables of it may be in
/// use for as long as the process lives.
///
/// All symbols are bound now, so that a missing one is an error here and not the end of the process in the
/// middle of a request.
pub(crate) fn open(path: &Path) -> Result<OpenLibrary, String> {
    #[cfg(unix)]
    let library = {
        use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
        // SAFETY: the operator has named this file as a module; that its constructors behave is tried in
        // another process first.
        unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(libloading::Library::from)
    };
    #[cfg(not(unix))]
    // SAFETY: as above.
    let library = unsafe { libloading::Library::new(path) };
    match library {
        Ok(library) => Ok(OpenLibrary(Box::leak(Box::new(library)))),
        Err(error) => Err(reason(&error)),
    }
}

/// The innermost cause: the loader's own sentence.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A library that stays.
#[derive(Clone, Copy)]
pub(crate) struct OpenLibrary(&'static libloading::Library);

/// Why a library has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// There is no symbol of that name.
    Missing,
    /// What is under that name does not begin like a header.
    Magic,
}

impl OpenLibrary {
    /// Reads the header without calling anything.
    pub(crate) fn header(self) -> Result<ModuleHeader, NoHeader> {
        // SAFETY: a symbol is an address; it is used as a pointer only.
        let symbol = unsafe { self.0.get::<*const u8>(HEADER_SYMBOL.as_bytes()) };
        let address: *const u8 = match symbol {
            Ok(symbol) => *symbol,
            Err(_) => return Err(NoHeader::Missing),
        };
        if address.is_null() {
            return Err(NoHeader::Missing);
        }
        // SAFETY: every version of the ABI begins its header with the magic bytes; a foreign object of
        // this name that is shorter is still inside the mapped data of the library.
        let magic = unsafe { address.cast::<[u8; MAGIC.len()]>().read_unaligned() };
        if magic != MAGIC {
            return Err(NoHeader::Magic);
        }
        // SAFETY: with these bytes at its beginning it is a header, whose layout never changes.
        Ok(unsafe { address.cast::<ModuleHeader>().read_unaligned() })
    }
}

/// Why a library with a fitting header gives no root module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRoot {
    /// No root module, or one made by an incompatible abi_stable.
    Foreign(String),
    /// The types on both sides differ.
    Layout(String),
}

/// The root module of the library at `path`, which is open already.
///
/// abi_stable's convenience loader is not used: it keeps one library per root type for ever, and its check
/// wants the library to be as new as the host. Here the library may be as old as 1.0 (see [`compatible`]).
pub(crate) fn root(path: &Path) -> Result<ModuleRootRef, NoRoot> {
    let header = lib_header_from_path(path).map_err(|error| NoRoot::Foreign(foreign(&error)))?;
    root_of(header)
}

fn root_of(header: &'static LibHeader) -> Result<ModuleRootRef, NoRoot> {
    let found = header
        .layout()
        .ok_or_else(|| NoRoot::Layout("the module does not tell its layout".to_owned()))?;
    compatible(found, ModuleRootRef::LAYOUT).map_err(NoRoot::Layout)?;
    // SAFETY: the layout the module tells was compared above.
    unsafe { header.unchecked_layout::<ModuleRootRef>() }
        .map_err(|error| NoRoot::Foreign(format!("{error:?}")))
}

fn foreign(error: &LibraryError) -> String {
    match error {
        LibraryError::GetSymbolError { .. } => "it has no root module".to_owned(),
        LibraryError::InvalidAbiHeader(found) => format!(
            "it was built with abi_stable ABI {}.{}",
            found.abi_major, found.abi_minor
        ),
        other => one_line(&other.to_string()),
    }
}

/// Checks that a module whose types are `older` works with tables and data of `newer`: every type is the
/// same, tables of functions may be longer in `newer`.
///
/// abi_stable compares an interface with an implementation that may have more; who calls whom makes no
/// difference to the layout, so an old module is the interface and the host the implementation. It also
/// wants equal major (before 1.0: minor) versions of the crate a type comes from. That says nothing about
/// the layout; the ABI version in the module header does, and has been checked.
pub(crate) fn compatible(older: &'static TypeLayout, newer: &'static TypeLayout) -> Result<(), String> {
    let Err(found) = check_layout_compatibility(older, newer) else {
        return Ok(());
    };
    let relevant: Vec<String> = found
        .errors
        .iter()
        .flat_map(|error| {
            let place = error
                .stack_trace
                .last()
                .map_or_else(String::new, |place| format!("{:?}: ", place.found));
            error
                .errs
                .iter()
                .filter(|e| !matches!(e, AbiInstability::PackageVersion(_)))
                .map(move |e| format!("{}{e:?}", one_line(&place)))
        })
        .collect();
    match relevant.first() {
        None => Ok(()),
        Some(first) => Err(shorten(&one_line(first))),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str) -> String {
    let end = text.floor_char_boundary(300);
    text.get(..end).unwrap_or(text).to_owned()
}
