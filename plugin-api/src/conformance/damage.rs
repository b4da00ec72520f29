//! Broken files: cut short, and with flipped bits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory;
use super::random::Random;
use super::subject::{Sample, Subject, Verdict, Watch, fail, read, request, some_pages, tolerate};
use crate::context::Limits;
use crate::decoder::{ImageDecoder, ImageReader};
use crate::error::DecodeError;
use crate::info::MetadataKind;
use crate::region::{Region, TileId};

/// Damaged files made of each sample: fewer of each if there are many samples.
const ROUNDS: std::ops::RangeInclusive<u64> = 16..=256;
const ALL_ROUNDS: u64 = 1024;

/// Many slow files are no hang: the rest is left out when this part of the check's time is over.
const PART_OF_TIME: u32 = 2;

/// What a call about a damaged file may use.
const LIMITS: Limits = Limits {
    max_pixels: 16 << 20,
    max_bytes: 64 << 20,
    max_threads: 1,
};

/// Memory beyond the limit that is not the module's: output buffers of the check, the allocator.
const MEMORY_SLACK: u64 = 64 << 20;

/// The deadline of the calls about one damaged file, and how late the last one may end. The slack is for
/// machines that do other things too.
const TIME: Duration = Duration::from_secs(2);
const TIME_SLACK: Duration = Duration::from_secs(3);

/// Samples larger than this are not copied for every round.
const MAX_SAMPLE_BYTES: usize = 16 << 20;

/// Bytes at the start of a file that get a third of the flips each: that is where sizes and offsets are.
const HEADER_BYTES: [u64; 2] = [32, 256];

pub(super) fn truncated(subject: &Subject) -> Verdict {
    let rounds = rounds(subject);
    damage(subject, |sample, random, round| {
        let len = sample.bytes.len() as u64;
        // Every length of the header, then any.
        let keep = if round < rounds / 2 {
            round.min(len)
        } else {
            random.below(len)
        };
        let keep = usize::try_from(keep).unwrap_or(0);
        let bytes = sample.bytes.get(..keep).unwrap_or_default().to_vec();
        (bytes, format!("first {keep} of {len} bytes"))
    })
}

pub(super) fn bit_flips(subject: &Subject) -> Verdict {
    damage(subject, |sample, random, round| {
        let mut bytes = sample.bytes.clone();
        let len = bytes.len() as u64;
        let flips = 1 + random.below(8);
        for _ in 0..flips {
            let within = match random.below(3) {
                0 => len.min(HEADER_BYTES[0]),
                1 => len.min(HEADER_BYTES[1]),
                _ => len,
            };
            let at = usize::try_from(random.below(within)).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        (bytes, format!("{flips} bits flipped, round {round}"))
    })
}

fn rounds(subject: &Subject) -> u64 {
    let samples = (subject.samples.len() as u64).max(1);
    (ALL_ROUNDS / samples).clamp(*ROUNDS.start(), *ROUNDS.end())
}

fn damage(subject: &Subject, make: impl Fn(&Sample, &mut Random, u64) -> (Vec<u8>, String)) -> Verdict {
    let decoder = subject.decoder()?;
    let rounds = rounds(subject);
    let began = Instant::now();
    for (number, sample) in (0u64..).zip(subject.samples()?) {
        if sample.bytes.len() > MAX_SAMPLE_BYTES {
            continue;
        }
        memory::reset_peak();
        let before = memory::peak_bytes();
        for round in 0..rounds {
            if began.elapsed() > subject.check_time / PART_OF_TIME {
                return Ok(());
            }
            let mut random = Random::nth(subject.seed, number * ROUNDS.end() + round);
            let (bytes, what) = make(sample, &mut random, round);
            subject.doing(format!("{}, {what}, seed {:#x}", sample.name, subject.seed));
            let start = Instant::now();
            use_all(&*decoder, bytes)?;
            let time = start.elapsed();
            if time > TIME + TIME_SLACK {
                return fail(format!(
                    "the calls took {:.1} s, their deadline was {} s",
                    time.as_secs_f64(),
                    TIME.as_secs()
                ));
            }
            if let (Some(before), Some(peak)) = (before, memory::peak_bytes()) {
                let used = peak.saturating_sub(before);
                if used > LIMITS.max_bytes + MEMORY_SLACK {
                    return fail(format!(
                        "{} MiB of memory used, {} allowed",
                        used >> 20,
                        LIMITS.max_bytes >> 20
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Does with a file what a host does; every error but a panic and an impossible answer is fine.
fn use_all(decoder: &dyn ImageDecoder, bytes: Vec<u8>) -> Verdict {
    let watch = Watch::with_time(TIME);
    let ctx = watch.context(LIMITS);
    let reader = match decoder.open(Arc::new(bytes), &ctx) {
        Ok(reader) => reader,
        Err(error) => return tolerate(&error),
    };
    let check = |result: Result<(), DecodeError>| result.or_else(|error| tolerate(&error));
    for page_idx in some_pages(reader.info()) {
        let Some(page) = reader.info().pages.get(page_idx as usize) else {
            continue;
        };
        let last = page.levels.len().saturating_sub(1);
        for (level_idx, level) in (0u32..).zip(&page.levels) {
            if level_idx != 0 && level_idx as usize != last {
                continue;
            }
            for (x, y) in [
                (0, 0),
                (
                    level.width - level.width.min(200),
                    level.height - level.height.min(200),
                ),
            ] {
                let region = Region::new(x, y, level.width.min(200), level.height.min(200));
                // Some damage gives pixels of many bands; the buffer is the check's own.
                if region.pixels() * u64::from(page.band_count) > LIMITS.max_pixels {
                    continue;
                }
                check(read(&*reader, &request(page_idx, level_idx, region), &ctx).map(drop))?;
                let _cost = reader.estimate(&request(page_idx, level_idx, region));
            }
            let tile = TileId {
                page: page_idx,
                level: level_idx,
                tile_col: level.tile_cols() - 1,
                tile_row: level.tile_rows() - 1,
            };
            check(reader.encoded_tile(tile, &ctx).map(drop))?;
        }
    }
    metadata(&*reader, &ctx, check)
}

fn metadata(
    reader: &dyn ImageReader,
    ctx: &crate::context::CallContext<'_>,
    check: impl Fn(Result<(), DecodeError>) -> Verdict,
) -> Verdict {
    for kind in [
        MetadataKind::Icc,
        MetadataKind::Xmp,
        MetadataKind::Exif,
        MetadataKind::Iptc,
    ] {
        check(reader.metadata(kind, ctx).map(drop))?;
    }
    Ok(())
}
