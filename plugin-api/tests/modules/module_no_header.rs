//! A library that has nothing to do with iiphost.

// SAFETY: nothing else in this library has this name.
#[allow(unsafe_code)]
#[unsafe(export_name = "some_other_plugin_entry")]
extern "C" fn entry() -> u32 {
    42
}
