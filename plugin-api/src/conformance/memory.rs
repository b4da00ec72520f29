//! Memory of this process, where the system tells it, and how it grows.

use super::subject::{Subject, Verdict, Watch, fail, open, roomy, skip, tolerate};
use crate::decoder::ImageDecoder;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Images opened before and while the memory is measured.
const WARM_UP: u32 = 1000;
const OPENS: u32 = 10_000;

/// What 10,000 opened images may leave behind: the allocator's own fluctuation. A module that leaks as
/// little as one block of 256 bytes per image is above it.
const GROWTH_BYTES: u64 = 2 << 20;

/// No longer than this, with a word about it, where opening is slow.
const TIME: Duration = Duration::from_secs(60);

pub(super) fn growth(subject: &Subject) -> Verdict {
    // Opening is what is measured, not reading: the smallest sample will do.
    let Some(sample) = subject.samples()?.iter().min_by_key(|s| s.bytes.len()) else {
        return skip("no sample files");
    };
    let decoder = subject.decoder()?;
    let half: Arc<[u8]> = sample
        .bytes
        .get(..sample.bytes.len() / 2)
        .unwrap_or_default()
        .into();
    let open_both = |decoder: &dyn ImageDecoder| -> Verdict {
        drop(open(decoder, sample)?);
        // What was made before an error has to go, too.
        let watch = Watch::default();
        match decoder.open(Arc::new(half.to_vec()), &watch.context(roomy())) {
            Ok(reader) => drop(reader),
            Err(error) => tolerate(&error)?,
        }
        Ok(())
    };
    subject.doing(format!("opening {}", sample.name));
    for _ in 0..WARM_UP {
        open_both(&*decoder)?;
    }
    let Some(before) = resident_bytes() else {
        return skip("the memory used cannot be measured here");
    };
    let start = Instant::now();
    let mut opened = 0;
    while opened < OPENS && start.elapsed() < TIME {
        open_both(&*decoder)?;
        opened += 1;
    }
    let grown = resident_bytes().unwrap_or(before).saturating_sub(before);
    if grown > GROWTH_BYTES {
        return fail(format!(
            "{opened} opened and closed images leave {} KiB behind",
            grown >> 10
        ));
    }
    Ok(())
}

/// Memory of the process that is in use now.
pub(super) fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// The most memory the process has used since [`reset_peak`].
pub(super) fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Lets [`peak_bytes`] begin anew; `false` where the system cannot.
pub(super) fn reset_peak() -> bool {
    // proc_pid_clear_refs(5): 5 sets the peak to what is in use now.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// A line of proc_pid_status(5), given in kB.
fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let number = line.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_told() {
        let before = resident_bytes().unwrap();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(resident_bytes().unwrap() >= before + (24 << 20));
        assert!(peak_bytes().unwrap() >= resident_bytes().unwrap() / 2);
        drop(block);
    }
}
