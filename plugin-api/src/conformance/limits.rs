//! Limits on pixels and bytes.

use super::memory;
use super::pixels::each_level;
use super::random::Random;
use super::subject::{Subject, Verdict, Watch, fail, read, request, roomy, skip, tolerate, words};
use crate::context::Limits;
use crate::error::ErrorKind;
use crate::info::MetadataKind;

/// Memory allowed in [`byte_limit`], and what the process may use beyond it: the allocator and the stacks.
const FEW_BYTES: u64 = 4 << 20;
const MEMORY_SLACK: u64 = 12 << 20;

pub(super) fn pixel_limit(subject: &Subject) -> Verdict {
    let mut random = Random::new(subject.seed);
    each_level(subject, |reader, page_idx, level_idx, _, level| {
        let region = random.window(level, 500);
        let watch = Watch::default();
        let limits = Limits {
            max_pixels: region.pixels() - 1,
            ..roomy()
        };
        match read(
            reader,
            &request(page_idx, level_idx, region),
            &watch.context(limits),
        ) {
            Err(error) if error.kind() == ErrorKind::LimitExceeded => Ok(()),
            Err(error) => fail(format!("expected limit exceeded, found {}", words(&error))),
            Ok(_) => fail(format!(
                "{} pixels are read where {} are allowed",
                region.pixels(),
                limits.max_pixels
            )),
        }
    })
}

pub(super) fn byte_limit(subject: &Subject) -> Verdict {
    let decoder = subject.decoder()?;
    let limits = Limits {
        max_bytes: FEW_BYTES,
        ..roomy()
    };
    for sample in subject.samples()? {
        subject.doing(sample.name.clone());
        if !memory::reset_peak() {
            return skip("the peak of the memory used cannot be measured here");
        }
        let Some(before) = memory::peak_bytes() else {
            return skip("the memory used cannot be measured here");
        };
        let watch = Watch::default();
        let ctx = watch.context(limits);
        let refused = |error: crate::error::DecodeError| match error.kind() {
            ErrorKind::LimitExceeded => Ok(()),
            _ => fail(format!(
                "expected pixels or limit exceeded, found {}",
                words(&error)
            )),
        };
        match decoder.open(sample.source(), &ctx) {
            Err(error) => refused(error)?,
            Ok(reader) => {
                let levels = reader.info().pages.first().map_or(&[][..], |page| &page.levels);
                for (level_idx, level) in (0u32..).zip(levels) {
                    let region = Random::new(subject.seed).window(level, 200);
                    read(&*reader, &request(0, level_idx, region), &ctx)
                        .map(drop)
                        .or_else(refused)?;
                }
            }
        }
        let used = memory::peak_bytes().unwrap_or(before).saturating_sub(before);
        if used > FEW_BYTES + MEMORY_SLACK {
            return fail(format!(
                "{} MiB of memory used, {} allowed",
                used >> 20,
                FEW_BYTES >> 20
            ));
        }
    }
    Ok(())
}

pub(super) fn metadata_bounded(subject: &Subject) -> Verdict {
    let mut seen = 0u32;
    subject.each_reader(|sample, reader| {
        for kind in [
            MetadataKind::Icc,
            MetadataKind::Xmp,
            MetadataKind::Exif,
            MetadataKind::Iptc,
        ] {
            subject.doing(format!("{}, {kind:?}", sample.name));
            let get = |max_bytes| {
                let watch = Watch::default();
                reader.metadata(kind, &watch.context(Limits { max_bytes, ..roomy() }))
            };
            let block = match get(roomy().max_bytes) {
                Ok(Some(block)) => block,
                Ok(None) => continue,
                Err(error) => return fail(words(&error)),
            };
            seen += 1;
            if block.is_empty() {
                return fail("an empty block, expected none");
            }
            if get(roomy().max_bytes).ok().flatten().as_ref() != Some(&block) {
                return fail("another block when asked again");
            }
            let allowed = block.len() as u64 - 1;
            match get(allowed) {
                Ok(None) => {}
                Ok(Some(small)) if small.len() as u64 <= allowed => {
                    return fail("a block cut to the limit, expected limit exceeded");
                }
                Ok(Some(_)) => return fail(format!("{} bytes where {allowed} are allowed", block.len())),
                Err(error) if error.kind() == ErrorKind::LimitExceeded => {}
                Err(error) => {
                    tolerate(&error)?;
                    return fail(format!("expected limit exceeded, found {}", words(&error)));
                }
            }
        }
        Ok(())
    })?;
    if seen == 0 {
        return skip("no sample has metadata");
    }
    Ok(())
}
