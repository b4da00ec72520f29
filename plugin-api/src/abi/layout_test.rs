//! The layout of everything that crosses, as text, compared with `abi-layout.txt` beside the manifest.
//!
//! `UPDATE_ABI_LAYOUT=1 cargo test -p iiphost-plugin-api` writes the file anew, if all that changed is an
//! addition in one of the ways the ABI may grow.

#![cfg(feature = "host")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::std_types::utypeid::UTypeId;
use abi_stable::type_layout::{TLData, TLField, TLFunction, TypeLayout};

use super::code;
use super::header::{ABI_MAJOR, HEADER_SYMBOL, MAGIC, ModuleHeader};
use super::library::compatible;
use super::vtable::ModuleRootRef;

/// The heading of a block and its lines.
type Blocks = BTreeMap<String, Vec<String>>;

/// Blocks with this at the start of their heading may get more lines at their end.
const GROWING: [&str; 2] = ["table ", "numbers "];

fn render() -> Blocks {
    let mut blocks = Blocks::new();
    visit(ModuleRootRef::LAYOUT, &mut Vec::new(), &mut blocks);
    header(&mut blocks);
    numbers(&mut blocks);
    blocks
}

fn visit(layout: &'static TypeLayout, seen: &mut Vec<UTypeId>, blocks: &mut Blocks) {
    let id = layout.get_utypeid();
    if seen.contains(&id) {
        return;
    }
    seen.push(id);
    if layout.package().as_str() == env!("CARGO_PKG_NAME") {
        block(layout, blocks);
    }
    for inner in layout.shared_vars().type_layouts() {
        visit(inner(), seen, blocks);
    }
}

fn block(layout: &'static TypeLayout, blocks: &mut Blocks) {
    let (heading, fields) = match layout.data() {
        TLData::Struct { fields } => (
            format!(
                "struct {}: {} bytes, aligned to {}",
                layout.name(),
                layout.size(),
                layout.alignment()
            ),
            fields,
        ),
        TLData::PrefixType(prefix) => (
            format!(
                "table {}: the first {} fields are always there",
                layout.name(),
                prefix.first_suffix_field
            ),
            prefix.fields,
        ),
        other => panic!("{} is neither struct nor table: {other:?}", layout.name()),
    };
    let mut lines = Vec::new();
    let mut offset = 0usize;
    for field in fields.iter() {
        let inner = field.layout();
        offset = offset.next_multiple_of(inner.alignment());
        lines.push(format!("{offset} {}: {}", field.name(), field_type(&field)));
        offset += inner.size();
    }
    blocks.insert(heading, lines);
}

fn field_type(field: &TLField) -> String {
    match field.function_range().iter().next() {
        Some(function) => function_type(&function),
        None => format!("{} ({} bytes)", type_name(field.layout()), field.layout().size()),
    }
}

/// The name of a type with what it points to: abi_stable's own text leaves out most type parameters.
fn type_name(layout: &'static TypeLayout) -> String {
    let inner = || layout.shared_vars().type_layouts().iter().map(|layout| layout());
    let target = || inner().next().map_or_else(String::new, type_name);
    match layout.name() {
        "*const" | "*mut" | "&" | "&mut" | "NonNull" | "PrefixRef" => {
            format!("{} {}", layout.name(), target())
        }
        name @ ("RVec" | "RSlice" | "RSliceMut") => {
            let element = inner().find(|l| matches!(l.name(), "*const" | "*mut" | "NonNull"));
            let element = element.expect("a list has a pointer to its elements");
            let pointer = type_name(element);
            let element = pointer.split_once(' ').map_or(pointer.as_str(), |(_, name)| name);
            format!("{name}<{element}>")
        }
        name => name.to_owned(),
    }
}

fn function_type(function: &TLFunction) -> String {
    let names = function.param_names.as_str().split(',');
    let types = function.param_type_layouts.iter();
    let params: Vec<String> = names
        .zip(types)
        .map(|(name, layout)| format!("{name}: {}", type_name(layout())))
        .collect();
    let mut text = format!("fn({})", params.join(", "));
    if let Some(returned) = function.return_type_layout() {
        write!(text, " -> {}", type_name(returned())).unwrap();
    }
    text
}

fn header(blocks: &mut Blocks) {
    use std::mem::offset_of;
    let heading = format!(
        "header {HEADER_SYMBOL}: {} bytes, aligned to {}, begins with {}",
        size_of::<ModuleHeader>(),
        align_of::<ModuleHeader>(),
        MAGIC.escape_ascii()
    );
    macro_rules! lines {
        ($($field:ident: $type:ty),+) => {
            vec![$(format!(
                "{} {}: {}", offset_of!(ModuleHeader, $field), stringify!($field), stringify!($type)
            )),+]
        };
    }
    let lines = lines!(
        magic: [u8; 16],
        abi_major: u32,
        abi_minor: u32,
        flags: u32,
        reserved: u32,
        api_version: [u8; 32]
    );
    blocks.insert(heading, lines);
}

fn numbers(blocks: &mut Blocks) {
    macro_rules! list {
        ($($name:literal: $list:ident),+ $(,)?) => {
            $(blocks.insert(
                concat!("numbers ", $name).to_owned(),
                code::$list.iter().map(|(number, value)| format!("{number} {value:?}")).collect(),
            );)+
        };
    }
    list! {
        "ErrorKind": ERROR_KINDS, "SampleFormat": SAMPLE_FORMATS, "ColorModel": COLOR_MODELS,
        "AlphaMode": ALPHA_MODES, "EncodedFormat": ENCODED_FORMATS, "ResolutionUnit": RESOLUTION_UNITS,
        "MetadataKind": METADATA_KINDS, "ClaimLevel": CLAIM_LEVELS, "Threading": THREADINGS,
        "OptionKind": OPTION_KINDS, "LogLevel": LOG_LEVELS,
    }
    let bits = |list: &[(u32, &str)]| list.iter().map(|(bit, name)| format!("{bit} {name}")).collect();
    blocks.insert(
        "numbers RawPage flags".to_owned(),
        bits(&[
            (code::page_flag::LISTED, "LISTED"),
            (code::page_flag::SIGNED, "SIGNED"),
        ]),
    );
    blocks.insert(
        "numbers RawLevel flags".to_owned(),
        bits(&[(code::level_flag::COMPUTED, "COMPUTED")]),
    );
    blocks.insert(
        "numbers header flags".to_owned(),
        bits(&[(super::header::FLAG_UNWINDS, "UNWINDS")]),
    );
}

fn to_text(blocks: &Blocks) -> String {
    let mut text = format!(
        "Layout of module ABI {ABI_MAJOR} on 64-bit machines. Written by the test that checks it.\n\
         Offset, name and type of each field. Tables and numbers may grow at their end; nothing else changes.\n"
    );
    for (heading, lines) in blocks {
        write!(text, "\n{heading}\n").unwrap();
        for line in lines {
            writeln!(text, "  {line}").unwrap();
        }
    }
    text
}

fn from_text(text: &str) -> Blocks {
    let mut blocks = Blocks::new();
    let mut heading = None;
    for line in text.lines().skip(2) {
        if let Some(entry) = line.strip_prefix("  ") {
            let heading: &String = heading.as_ref().expect("a heading before its entries");
            blocks.get_mut(heading).unwrap().push(entry.to_owned());
        } else if !line.is_empty() {
            blocks.insert(line.to_owned(), Vec::new());
            heading = Some(line.to_owned());
        }
    }
    blocks
}

/// What in `new` is not an addition to `old`.
fn breaks(old: &Blocks, new: &Blocks) -> Vec<String> {
    let mut found = Vec::new();
    for (heading, old_lines) in old {
        let Some(new_lines) = new.get(heading) else {
            found.push(format!("gone or changed: {heading}"));
            continue;
        };
        let may_grow = GROWING.iter().any(|start| heading.starts_with(start));
        if !new_lines.starts_with(old_lines) || (!may_grow && new_lines.len() > old_lines.len()) {
            found.push(format!(
                "changed: {heading}\n  was {old_lines:#?}\n  is {new_lines:#?}"
            ));
        }
    }
    found
}

#[cfg(target_pointer_width = "64")]
#[test]
fn the_layout_is_that_of_the_release() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi-layout.txt");
    let new = render();
    let update = std::env::var_os("UPDATE_ABI_LAYOUT").is_some_and(|value| value == "1");
    let kept = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if update && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let broken = breaks(&from_text(&kept), &new);
    assert!(
        broken.is_empty(),
        "modules built before would no longer fit:\n{}\nUndo the change, or raise ABI_MAJOR and start a new \
         layout file",
        broken.join("\n")
    );
    let text = to_text(&new);
    if update {
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        text == kept,
        "the ABI has grown in an allowed way: raise ABI_MINOR and run the tests with UPDATE_ABI_LAYOUT=1 to \
         keep the new layout"
    );
}

#[test]
fn only_additions_at_the_end_of_tables_and_numbers_are_accepted() {
    let blocks = |list: &[(&str, &[&str])]| -> Blocks {
        list.iter()
            .map(|(heading, lines)| {
                (
                    (*heading).to_owned(),
                    lines.iter().map(|l| (*l).to_owned()).collect(),
                )
            })
            .collect()
    };
    let old = blocks(&[
        ("struct S: 8 bytes", &["0 a: u32", "4 b: u32"]),
        ("table T: 1", &["0 f: fn()"]),
        ("numbers N", &["1 A"]),
    ]);
    let changed = |heading: &str, lines: &[&str]| {
        let mut new = old.clone();
        new.insert(
            heading.to_owned(),
            lines.iter().map(|l| (*l).to_owned()).collect(),
        );
        breaks(&old, &new).len()
    };
    assert_eq!(changed("table T: 1", &["0 f: fn()", "8 g: fn()"]), 0);
    assert_eq!(changed("numbers N", &["1 A", "2 B"]), 0);
    assert_eq!(changed("struct New: 4 bytes", &["0 a: u32"]), 0);
    assert_eq!(changed("table T: 1", &["0 g: fn()", "8 f: fn()"]), 1);
    assert_eq!(changed("table T: 1", &["0 f: fn(u32)"]), 1);
    assert_eq!(changed("table T: 1", &[]), 1);
    assert_eq!(changed("numbers N", &["2 A"]), 1);
    assert_eq!(
        changed("struct S: 8 bytes", &["0 a: u32", "4 b: u32", "8 c: u32"]),
        1
    );
    assert_eq!(changed("struct S: 8 bytes", &["0 b: u32", "4 a: u32"]), 1);
    let mut new = old.clone();
    new.remove("struct S: 8 bytes");
    assert_eq!(breaks(&old, &new).len(), 1);
}

#[test]
fn the_text_can_be_read_back() {
    let blocks = render();
    assert_eq!(from_text(&to_text(&blocks)), blocks);
    let starts = |start: &str| blocks.keys().any(|heading| heading.starts_with(start));
    for table in [
        "ModuleRoot",
        "DecoderVtable",
        "ReaderVtable",
        "SourceVtable",
        "ServicesVtable",
    ] {
        assert!(starts(&format!("table {table}:")), "{table}");
    }
    // One that is reached only through lists in lists.
    assert!(starts("struct RawLevel:"));
}

/// What the check of layouts at load time accepts, tried on tables of the same name.
mod evolution {
    // The tables are compared, never called.
    #![allow(unsafe_code, dead_code)]

    macro_rules! generation {
        ($name:ident: { $($fields:tt)* }, { $($data:tt)* }) => {
            pub(super) mod $name {
                use abi_stable::StableAbi;

                #[repr(C)]
                #[derive(StableAbi)]
                pub(crate) struct Data { $($data)* }

                #[repr(C)]
                #[derive(StableAbi)]
                #[sabi(kind(Prefix(prefix_ref = TableRef, prefix_fields = TablePrefix)))]
                pub(crate) struct Table { $($fields)* }
            }
        };
    }

    generation!(first: {
        pub(crate) a: extern "C" fn(data: &Data) -> u32,
        #[sabi(last_prefix_field)]
        pub(crate) b: u32,
    }, { pub(crate) x: u32, pub(crate) y: u32 });

    generation!(longer: {
        pub(crate) a: extern "C" fn(data: &Data) -> u32,
        #[sabi(last_prefix_field)]
        pub(crate) b: u32,
        pub(crate) c: extern "C" fn() -> u32,
    }, { pub(crate) x: u32, pub(crate) y: u32 });

    generation!(changed: {
        pub(crate) a: extern "C" fn(data: &Data) -> u64,
        #[sabi(last_prefix_field)]
        pub(crate) b: u32,
    }, { pub(crate) x: u32, pub(crate) y: u32 });

    generation!(renamed: {
        pub(crate) a: extern "C" fn(data: &Data) -> u32,
        #[sabi(last_prefix_field)]
        pub(crate) b: u32,
    }, { pub(crate) x: u32, pub(crate) z: u32 });

    generation!(wider: {
        pub(crate) a: extern "C" fn(data: &Data) -> u32,
        #[sabi(last_prefix_field)]
        pub(crate) b: u32,
    }, { pub(crate) x: u32, pub(crate) y: u32, pub(crate) z: u32 });
}

#[test]
fn an_older_module_fits_and_a_changed_one_does_not() {
    use evolution::{changed, first, longer, renamed, wider};

    let first = first::TableRef::LAYOUT;
    assert_eq!(compatible(first, first), Ok(()));
    assert_eq!(compatible(first, longer::TableRef::LAYOUT), Ok(()));
    for other in [
        changed::TableRef::LAYOUT,
        renamed::TableRef::LAYOUT,
        wider::TableRef::LAYOUT,
    ] {
        let reason = compatible(first, other).unwrap_err();
        assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
    }
    assert!(compatible(longer::TableRef::LAYOUT, first).is_err());
}
