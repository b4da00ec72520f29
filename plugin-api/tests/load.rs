//! Loads real libraries: the examples of this package, and files that are no modules.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iiphost_plugin_api::host::{LoadError, LoadedModule, load};
use iiphost_plugin_api::*;

// Only to know what the module should answer.
#[allow(dead_code)]
#[path = "modules/scripted.rs"]
mod scripted;

/// The library of an example, which cargo puts beside the folder of this test.
fn library(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("the folder of the build profile");
    let path = profile.join("examples").join(format!(
        "{}{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    assert!(
        path.is_file(),
        "{} is missing: cargo build -p iiphost-plugin-api --examples",
        path.display()
    );
    path
}

fn refusal(path: &Path) -> (LoadError, String) {
    let error = load(path).expect_err("a refusal");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    assert!(text.starts_with(&path.display().to_string()), "{text}");
    let rest = text.replace(&path.display().to_string(), "PATH");
    (error, rest)
}

fn open(module: &LoadedModule, script: &str) -> Result<Box<dyn ImageReader>, DecodeError> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    module.decoder.open(Arc::new(script.as_bytes().to_vec()), &ctx)
}

fn read_one(reader: &dyn ImageReader, x: u32, y: u32) -> Result<u8, DecodeError> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let request = ReadRequest {
        page: 0,
        level: 0,
        region: Region::new(x, y, 1, 1),
        quality_layers: 0,
    };
    let mut byte = [0];
    let mut out = PixelBuffer::new(&mut byte, 1, 1, 1, SampleFormat::U8, 1)?;
    reader.read(&request, &mut out, &ctx)?;
    Ok(byte[0])
}

#[test]
fn a_module_loads_and_gives_pixels() {
    let mut module = load(&library("module_scripted")).unwrap();
    assert_eq!(module.info.id, "scripted");
    assert_eq!(module.abi_version, (ABI_MAJOR, ABI_MINOR));
    assert_eq!(module.api_version, env!("CARGO_PKG_VERSION"));
    module
        .decoder
        .configure(&Options::new(vec![("depth".to_owned(), "2".to_owned())]))
        .unwrap();
    let reader = open(&module, "nothing special").unwrap();
    assert_eq!(reader.info(), &scripted::shape());
    assert_eq!(read_one(&*reader, 9, 4), Ok(scripted::sample(0, 9, 4)));
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    assert_eq!(
        reader.metadata(MetadataKind::Icc, &ctx).unwrap().unwrap(),
        b"[(\"depth\", \"2\")]"
    );
    assert_eq!((module.faults.panics(), module.faults.lies()), (0, 0));
}

#[test]
fn a_module_loaded_twice_has_two_decoders() {
    let first = load(&library("module_scripted")).unwrap();
    let second = load(&library("module_scripted")).unwrap();
    let reader = open(&first, "").unwrap();
    drop(first);
    assert!(read_one(&*open(&second, "").unwrap(), 0, 0).is_ok());
    // Its library stays loaded.
    assert!(read_one(&*reader, 1, 1).is_ok());
}

#[test]
fn a_copy_of_a_module_under_another_name_is_a_module_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.so");
    std::fs::copy(library("module_scripted"), &copy).unwrap();
    let first = load(&library("module_scripted")).unwrap();
    let second = load(&copy).unwrap();
    assert!(open(&second, "open: panic").is_err());
    assert_eq!((first.faults.panics(), second.faults.panics()), (0, 1));
}

#[test]
fn a_module_that_panics_leaves_the_process_and_itself_unharmed() {
    let module = load(&library("module_scripted")).unwrap();
    for entry in ["open", "info"] {
        let error = open(&module, &format!("{entry}: panic")).err().unwrap();
        assert_eq!(
            error,
            DecodeError::new(ErrorKind::Panicked, format!("scripted panic in {entry}"))
        );
    }
    let reader = open(&module, "read: panic\ndrop: panic").unwrap();
    let error = read_one(&*reader, 0, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    drop(reader);
    assert_eq!(module.faults.panics(), 4);
    assert!(read_one(&*open(&module, "").unwrap(), 0, 0).is_ok());
}

#[test]
fn a_module_that_panics_while_it_describes_itself_is_refused() {
    let (_, text) = refusal(&library("module_panics_early"));
    assert_eq!(
        text,
        "PATH fails while it introduces itself (panicked: no name comes to mind): report this to its author"
    );
}

#[test]
fn a_module_for_another_abi_is_refused() {
    let (error, text) = refusal(&library("module_other_abi"));
    assert!(matches!(error, LoadError::AbiVersion { found: (2, 0), .. }));
    assert_eq!(
        text,
        "PATH speaks module ABI 2.0 (iiphost-plugin-api 9.8.7), this host accepts 1.0: update the host, or \
         build the module with an older iiphost-plugin-api"
    );
    let (error, _) = refusal(&library("module_newer_abi"));
    assert!(matches!(error, LoadError::AbiVersion { found: (1, 99), .. }));
}

#[test]
fn a_module_that_aborts_when_it_panics_is_refused() {
    let (_, text) = refusal(&library("module_aborts"));
    assert_eq!(
        text,
        "PATH was built with panic = \"abort\", this host accepts only panic = \"unwind\": set it in the \
         profile of the module and build it again"
    );
}

#[test]
fn libraries_that_are_no_modules_are_refused() {
    let (_, text) = refusal(&library("module_no_header"));
    assert_eq!(
        text,
        "PATH is a library, but not a decoder module (it exports no iiphost header): build it with \
         iiphost-plugin-api and export_decoder!"
    );
    let (error, _) = refusal(&library("module_bad_magic"));
    assert!(matches!(error, LoadError::ForeignHeader { .. }));
    let (_, text) = refusal(&library("module_no_root"));
    assert_eq!(
        text,
        "PATH has a fitting header but no usable root module (it has no root module): build it again with an \
         unchanged iiphost-plugin-api 9.8.7"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn programs_scripts_and_text_are_refused() {
    let (_, text) = refusal(Path::new("/bin/true"));
    assert_eq!(
        text,
        "PATH is a program, not a decoder module: give the path of a cdylib built with iiphost-plugin-api"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        refusal(&path).1
    };
    assert!(file("script", b"#!/bin/sh\n").contains("is a script, not a shared library"));
    assert!(file("text.so", b"hello\n").contains("is another kind of file, not a shared library"));
    assert!(file("empty.so", b"").contains("is an empty file"));
    assert!(refusal(folder.path()).1.contains("is not a regular file"));
    let (error, _) = refusal(&folder.path().join("missing.so"));
    assert!(matches!(error, LoadError::Unreadable { .. }));
}

#[cfg(target_os = "linux")]
#[test]
fn damaged_and_foreign_libraries_are_refused_before_they_are_mapped() {
    let whole = std::fs::read(library("module_no_header")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.so");
    for len in [20, 64, 1000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let (_, text) = refusal(&path);
        assert!(
            text.starts_with(&format!("PATH is truncated, it has {len} of at least")),
            "{text}"
        );
    }
    let mut foreign = whole;
    // `e_machine` of a processor that nobody runs tests on: MIPS.
    foreign[18..20].copy_from_slice(&8u16.to_ne_bytes());
    std::fs::write(&path, &foreign).unwrap();
    let (_, text) = refusal(&path);
    assert!(text.starts_with("PATH was built for mips ("), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_dynamic_linker_refuses_is_told_in_one_sentence() {
    let mut bytes = std::fs::read(library("module_no_header")).unwrap();
    // Fill the dynamic section's string table reference with nonsense: the name of the C library it needs.
    let needed = b"libc.so.6\0";
    let at = bytes.windows(needed.len()).position(|w| w == needed).unwrap();
    bytes[at..at + 4].copy_from_slice(b"no_c");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("needy.so");
    std::fs::write(&path, &bytes).unwrap();
    let (error, text) = refusal(&path);
    assert!(matches!(error, LoadError::Open { .. }), "{text}");
    assert!(text.contains("no_c.so.6"), "{text}");
}
