//! What an ELF file is, judged by its headers (System V ABI, "Object Files"), before the dynamic linker
//! maps it: the linker's own words help nobody, and mapping a truncated file ends in SIGBUS.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// `ET_EXEC` of `e_type`: a program at a fixed address.
const TYPE_EXECUTABLE: u16 = 2;
/// `ET_DYN` of `e_type`: a shared object, or a program that may run anywhere.
const TYPE_SHARED: u16 = 3;
/// `PT_LOAD`: a part of the file that is mapped.
const SEGMENT_LOAD: u32 = 1;
/// `PT_INTERP`: the program's dynamic linker; shared objects have none (a few can be run as well: the C
/// library, which is no module either).
const SEGMENT_INTERPRETER: u32 = 3;

const HEADER_LEN: usize = 64;
const SEGMENT_LEN: usize = 56;

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole shared object of this architecture.
    SharedObject,
    /// Not an ELF file; begins with `#!` when `script` is set.
    NotElf { script: bool },
    /// A program.
    Program,
    /// Made for another machine, named here.
    Foreign(String),
    /// Ends before the last byte its headers speak of.
    Truncated { expected: u64 },
    /// An object or core file.
    Other,
}

/// Looks at the headers of a file of `file_len` bytes.
pub(super) fn inspect(file: &File, file_len: u64) -> std::io::Result<Kind> {
    let mut header = [0; HEADER_LEN];
    let got = read_up_to(file, &mut header, 0)?;
    let magic = b"\x7fELF";
    let begins_like_elf = header
        .iter()
        .zip(magic)
        .take(got)
        .all(|(found, expected)| found == expected);
    if got == 0 || !begins_like_elf {
        return Ok(Kind::NotElf {
            script: header.starts_with(b"#!"),
        });
    }
    if got < HEADER_LEN {
        return Ok(Kind::Truncated {
            expected: HEADER_LEN as u64,
        });
    }
    if let Some(foreign) = foreign_machine(&header) {
        return Ok(Kind::Foreign(foreign));
    }
    match u16_at(&header, 16) {
        TYPE_EXECUTABLE => return Ok(Kind::Program),
        TYPE_SHARED => {}
        _ => return Ok(Kind::Other),
    }
    let mut expected = end_of_table(u64_at(&header, 40), u16_at(&header, 58), u16_at(&header, 60));
    let segments_at = u64_at(&header, 32);
    let segment_len = u16_at(&header, 54);
    let segment_count = u16_at(&header, 56);
    expected = expected.max(end_of_table(segments_at, segment_len, segment_count));
    if usize::from(segment_len) < SEGMENT_LEN {
        return Ok(Kind::Other);
    }
    let mut is_program = false;
    for idx in 0..segment_count {
        let mut segment = [0; SEGMENT_LEN];
        let at = segments_at.saturating_add(u64::from(idx) * u64::from(segment_len));
        if read_up_to(file, &mut segment, at)? < SEGMENT_LEN {
            break;
        }
        match u32_at(&segment, 0) {
            SEGMENT_INTERPRETER => is_program = true,
            SEGMENT_LOAD => {
                expected = expected.max(u64_at(&segment, 8).saturating_add(u64_at(&segment, 32)));
            }
            _ => {}
        }
    }
    Ok(if expected > file_len {
        Kind::Truncated { expected }
    } else if is_program {
        Kind::Program
    } else {
        Kind::SharedObject
    })
}

/// The first byte after a table; 0 for one that is not there.
fn end_of_table(at: u64, entry_len: u16, entries: u16) -> u64 {
    if at == 0 {
        return 0;
    }
    at.saturating_add(u64::from(entry_len) * u64::from(entries))
}

fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    // Beyond that the system call fails; no file gets there.
    if at > i64::MAX as u64 - buffer.len() as u64 {
        return Ok(0);
    }
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes_at(bytes, at))
}

/// `e_machine` of the machine this was compiled for; `None` for one without an entry here, where the
/// dynamic linker has to judge.
const fn own_machine() -> Option<u16> {
    if cfg!(target_arch = "x86_64") {
        Some(62)
    } else if cfg!(target_arch = "aarch64") {
        Some(183)
    } else if cfg!(target_arch = "riscv64") {
        Some(243)
    } else if cfg!(target_arch = "powerpc64") {
        Some(21)
    } else if cfg!(target_arch = "s390x") {
        Some(22)
    } else if cfg!(target_arch = "loongarch64") {
        Some(258)
    } else {
        None
    }
}

fn machine_name(machine: u16, bits: u32) -> String {
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return format!("machine {machine} ({bits} bit)"),
    };
    format!("{name} ({bits} bit)")
}

/// The name of the machine a file was made for, if it is not this one.
fn foreign_machine(header: &[u8; HEADER_LEN]) -> Option<String> {
    let bits = if header[4] == 2 { 64 } else { 32 };
    let big_endian = header[5] == 2;
    let raw = bytes_at(header, 18);
    let machine = if big_endian {
        u16::from_be_bytes(raw)
    } else {
        u16::from_le_bytes(raw)
    };
    let same_class = bits == usize::BITS && big_endian == cfg!(target_endian = "big");
    let same_machine = own_machine().is_none_or(|own| own == machine);
    (!same_class || !same_machine).then(|| machine_name(machine, bits))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn inspect_bytes(bytes: &[u8]) -> Kind {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file, bytes.len() as u64).unwrap()
    }

    fn own_test_binary() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn text_scripts_and_nothing_are_no_libraries() {
        assert_eq!(inspect_bytes(b""), Kind::NotElf { script: false });
        assert_eq!(inspect_bytes(b"hello, world"), Kind::NotElf { script: false });
        assert_eq!(
            inspect_bytes(b"#!/bin/sh\nexit 0\n"),
            Kind::NotElf { script: true }
        );
    }

    #[test]
    fn a_program_is_known_by_its_interpreter() {
        assert_eq!(inspect_bytes(&own_test_binary()), Kind::Program);
    }

    #[test]
    fn a_cut_file_is_truncated_wherever_it_is_cut() {
        let whole = own_test_binary();
        for len in [4, 63, 64, 100, 5000, whole.len() / 2, whole.len() - 1] {
            let kind = inspect_bytes(&whole[..len]);
            assert!(matches!(kind, Kind::Truncated { .. }), "{len}: {kind:?}");
        }
    }

    #[test]
    fn another_machine_is_named() {
        let mut header = own_test_binary();
        header.truncate(4096);
        let mut foreign = |offset: usize, byte: u8| {
            let kept = std::mem::replace(&mut header[offset], byte);
            let kind = inspect_bytes(&header);
            header[offset] = kept;
            kind
        };
        if cfg!(target_arch = "x86_64") {
            assert_eq!(foreign(18, 183), Kind::Foreign("aarch64 (64 bit)".to_owned()));
            assert_eq!(foreign(4, 1), Kind::Foreign("x86_64 (32 bit)".to_owned()));
        }
        assert!(matches!(foreign(19, 0x7f), Kind::Foreign(_)));
    }

    #[test]
    fn headers_full_of_ones_do_not_overflow() {
        let mut bytes = own_test_binary();
        bytes.truncate(200);
        bytes[24..200].fill(0xff);
        assert!(matches!(inspect_bytes(&bytes), Kind::Truncated { .. }));
    }
}
