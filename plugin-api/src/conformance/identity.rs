//! What a module says about itself, and which files it takes for its own.

use std::time::{Duration, Instant};

use super::foreign::FOREIGN;
use super::random::Random;
use super::subject::{Subject, Verdict, fail, words};
use crate::decoder::ImageDecoder;
use crate::host::answer;
use crate::module::{ModuleInfo, OptionKind, Options};
use crate::probe::{Claim, ClaimLevel};
use crate::source::FileHead;

/// How long a probe may take: the host asks every module about every file.
const PROBE_TIME: Duration = Duration::from_millis(100);

/// Heads of noise shown to the module.
const NOISE: u64 = 256;

pub(super) fn describe(subject: &Subject) -> Verdict {
    let decoder = subject.bare_decoder()?;
    let info = decoder.describe();
    for again in [decoder.describe(), subject.bare_decoder()?.describe()] {
        if again != info {
            return fail(format!("two answers: {info:?}, then {again:?}"));
        }
    }
    if let Err(lie) = answer::module_info(&info) {
        return fail(lie.0);
    }
    for (field, empty) in [
        ("name", info.name.is_empty()),
        ("license", info.license.is_empty()),
        ("formats", info.formats.is_empty()),
    ] {
        if empty {
            return fail(format!("{field} is empty"));
        }
    }
    for format in &info.formats {
        if format.name.is_empty() || !format.media_type.contains('/') {
            return fail(format!(
                "a format needs a name and a media type, found {:?} and {:?}",
                format.name, format.media_type
            ));
        }
        let fits = |e: &String| !e.is_empty() && !e.contains('.') && *e == e.to_lowercase();
        if let Some(wrong) = format.extensions.iter().find(|e| !fits(e)) {
            return fail(format!("extension {wrong:?}, expected lower case without a dot"));
        }
    }
    Ok(())
}

pub(super) fn options(subject: &Subject) -> Verdict {
    let mut decoder = subject.bare_decoder()?;
    let info = decoder.describe();
    for option in &info.options {
        let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if option.name.is_empty() || !option.name.bytes().all(usable) {
            return fail(format!("option name {:?}, expected a-z, 0-9 and _", option.name));
        }
        if option.description.is_empty() {
            return fail(format!("option {} has no description", option.name));
        }
        let fits = match option.kind {
            OptionKind::Text => true,
            OptionKind::Integer => option.default.parse::<i64>().is_ok(),
            OptionKind::Boolean => matches!(option.default.as_str(), "true" | "false"),
        };
        if !fits {
            return fail(format!(
                "the default {:?} of option {} is not of kind {}",
                option.default,
                option.name,
                option.kind.name()
            ));
        }
    }
    let defaults = info
        .options
        .iter()
        .map(|option| (option.name.clone(), option.default.clone()))
        .collect();
    match decoder.configure(&Options::new(defaults)) {
        Ok(()) => Ok(()),
        Err(error) => fail(format!("the defaults are refused: {}", words(&error))),
    }
}

pub(super) fn no_false_claims(subject: &Subject) -> Verdict {
    let decoder = subject.decoder()?;
    let info = decoder.describe();
    let own = own_extensions(&info);
    // Its own extension on a file of another format: content decides.
    let mut shown = vec![""];
    shown.extend(own.first().copied());
    for foreign in FOREIGN {
        if foreign.extensions.iter().any(|e| own.contains(e)) {
            continue;
        }
        for extension in foreign.extensions.iter().chain(&shown) {
            subject.doing(format!("{}, extension {extension:?}", foreign.name));
            none(&probe(&*decoder, foreign.bytes, extension)?)?;
        }
    }
    for n in 0..NOISE {
        subject.doing(format!("noise {n} of seed {:#x}", subject.seed));
        let mut random = Random::nth(subject.seed, n);
        let len = 1 + random.below(FileHead::MAX_LEN as u64);
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        none(&probe(&*decoder, &bytes, "")?)?;
    }
    Ok(())
}

pub(super) fn claims_samples(subject: &Subject) -> Verdict {
    let decoder = subject.decoder()?;
    for sample in subject.samples()? {
        subject.doing(sample.name.clone());
        let head = sample.bytes.get(..FileHead::MAX_LEN).unwrap_or(&sample.bytes);
        let claim = probe(&*decoder, head, &sample.extension())?;
        if claim.level == ClaimLevel::None {
            return fail(format!("not claimed ({})", claim.reason));
        }
        if claim.reason.is_empty() {
            return fail("claimed without a reason");
        }
        let unnamed = probe(&*decoder, head, "")?;
        if unnamed.level == ClaimLevel::None {
            return fail(format!("not claimed without its extension ({})", unnamed.reason));
        }
        // Files can be shorter than the host's buffer; any length must be survived.
        for len in 0..head.len().min(64) {
            subject.doing(format!("first {len} bytes of {}", sample.name));
            probe(&*decoder, head.get(..len).unwrap_or(head), "")?;
        }
    }
    Ok(())
}

fn own_extensions(info: &ModuleInfo) -> Vec<&str> {
    info.formats
        .iter()
        .flat_map(|format| format.extensions.iter().map(String::as_str))
        .collect()
}

fn none(claim: &Claim) -> Verdict {
    if claim.level == ClaimLevel::None {
        return Ok(());
    }
    fail(format!("claimed as {} ({})", claim.level.name(), claim.reason))
}

fn probe(decoder: &dyn ImageDecoder, bytes: &[u8], extension: &str) -> Result<Claim, super::Stop> {
    let head = FileHead {
        bytes,
        file_len: bytes.len() as u64,
        extension,
    };
    let start = Instant::now();
    let claim = decoder.probe(&head);
    let time = start.elapsed();
    if time > PROBE_TIME {
        return fail(format!("the probe took {} ms", time.as_millis()));
    }
    // The loading side has nothing else to tell a panic by: a claim is not a result.
    if claim.level == ClaimLevel::None && claim.reason.starts_with("panicked: ") {
        return fail(claim.reason);
    }
    Ok(claim)
}
