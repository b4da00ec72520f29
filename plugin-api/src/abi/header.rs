//! The first thing a host reads of a library: a plain C struct that never changes.

/// Major version of the module ABI: another number means that nothing else can be relied on.
pub const ABI_MAJOR: u32 = 1;

/// Minor version of the module ABI: each one adds to the one before.
pub const ABI_MINOR: u32 = 0;

/// Name of the symbol under which a module exports its [`ModuleHeader`].
pub(crate) const HEADER_SYMBOL: &str = "iiphost_module_header";

/// Begins every header.
pub(crate) const MAGIC: [u8; 16] = *b"iiphost-module\r\n";

/// Bit of [`ModuleHeader::flags`]: the module unwinds when it panics, so the panic can be caught.
pub(crate) const FLAG_UNWINDS: u32 = 1;

/// What a module says before any of its code is called. Numbers and text only, no pointers; it has this
/// layout in every version of the ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleHeader {
    pub(crate) magic: [u8; 16],
    pub(crate) abi_major: u32,
    pub(crate) abi_minor: u32,
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
    /// Version of this crate that the module was built with, filled up with zeros.
    pub(crate) api_version: [u8; 32],
}

impl ModuleHeader {
    /// The header of a module built with this version of the crate.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(unwinds: bool) -> Self {
        Self {
            magic: MAGIC,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            flags: if unwinds { FLAG_UNWINDS } else { 0 },
            reserved: 0,
            api_version: padded(env!("CARGO_PKG_VERSION")),
        }
    }

    /// Whether the module can survive its own panics.
    #[cfg(any(feature = "host", test))]
    pub(crate) fn unwinds(&self) -> bool {
        self.flags & FLAG_UNWINDS != 0
    }

    /// The version text; characters that do not belong into one are shown as `?`.
    #[cfg(any(feature = "host", test))]
    pub(crate) fn api_version(&self) -> String {
        self.api_version
            .iter()
            .take_while(|&&b| b != 0)
            .map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' })
            .collect()
    }
}

const fn padded(text: &str) -> [u8; 32] {
    let from = text.as_bytes();
    let mut to = [0; 32];
    let mut idx = 0;
    while idx < from.len() && idx < to.len() {
        to[idx] = from[idx];
        idx += 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_version_of_this_crate() {
        let header = ModuleHeader::new(true);
        assert_eq!(header.api_version(), env!("CARGO_PKG_VERSION"));
        assert!(header.unwinds());
        assert!(!ModuleHeader::new(false).unwinds());
    }

    #[test]
    fn the_names_in_the_export_macro_are_those_looked_for() {
        // An `export_name` must be a literal.
        let macro_text = include_str!("../export.rs");
        for name in [HEADER_SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME] {
            assert!(
                macro_text.contains(&format!("export_name = \"{name}\"")),
                "{name}"
            );
        }
    }

    #[test]
    fn garbage_in_the_version_is_not_printed() {
        let mut header = ModuleHeader::new(true);
        header.api_version = [0x1b; 32];
        assert_eq!(header.api_version(), "?".repeat(32));
    }
}
