//! Cancellation and deadline.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::subject::{Subject, Verdict, Watch, fail, must_read, place, read, request, roomy, skip, words};
use crate::decoder::ImageReader;
use crate::error::{DecodeError, ErrorKind};
use crate::region::{ReadRequest, Region};

/// How soon a call has to end once it should: between two looks less than a second may pass.
const PROMPT: Duration = Duration::from_secs(1);

/// Largest side of the reads that are stopped.
const SIDE: u32 = 2048;

pub(super) fn cancel(subject: &Subject) -> Verdict {
    each_large_read(subject, |reader, request| {
        let watch = Watch::default();
        watch.cancelled.store(true, Ordering::Relaxed);
        stops(ErrorKind::Cancelled, "was cancelled before it began", || {
            read(reader, request, &watch.context(roomy()))
        })?;
        if watch.times_asked() == 0 {
            return fail("the call never looked whether it was cancelled");
        }
        // In the middle of the work, where there is enough of it.
        let start = Instant::now();
        must_read(reader, request)?;
        let time = start.elapsed();
        if time < Duration::from_millis(100) {
            return Ok(());
        }
        let watch = Watch::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(time / 4);
                watch.cancelled.store(true, Ordering::Relaxed);
            });
            let start = Instant::now();
            let result = read(reader, request, &watch.context(roomy()));
            let late = start.elapsed().saturating_sub(time / 4);
            match result {
                // It was faster this time.
                Ok(_) if late < time => Ok(()),
                Err(error) if error.kind() == ErrorKind::Cancelled && late <= PROMPT => Ok(()),
                Err(error) if error.kind() != ErrorKind::Cancelled => {
                    fail(format!("cancelled in the middle, found {}", words(&error)))
                }
                _ => fail(format!("ended {} ms after it was cancelled", late.as_millis())),
            }
        })
    })
}

pub(super) fn deadline(subject: &Subject) -> Verdict {
    each_large_read(subject, |reader, request| {
        let watch = Watch::with_time(Duration::ZERO);
        stops(ErrorKind::DeadlineExceeded, "had no time left", || {
            read(reader, request, &watch.context(roomy()))
        })
    })
}

fn stops(expected: ErrorKind, why: &str, call: impl FnOnce() -> Result<Vec<u8>, DecodeError>) -> Verdict {
    let start = Instant::now();
    let result = call();
    let time = start.elapsed();
    match result {
        Err(error) if error.kind() != expected => fail(format!(
            "a read that {why} ends with {}, expected {}",
            words(&error),
            expected.name()
        )),
        Ok(_) => fail(format!("a read that {why} gives pixels")),
        Err(_) if time > PROMPT => fail(format!("a read that {why} ends after {} ms", time.as_millis())),
        Err(_) => Ok(()),
    }
}

/// Calls `look` with a read of more than one tile of each sample that has one, and checks afterwards that
/// the reader still gives what it gave before.
fn each_large_read(subject: &Subject, look: impl Fn(&dyn ImageReader, &ReadRequest) -> Verdict) -> Verdict {
    let mut seen = 0u32;
    subject.each_reader(|sample, reader| {
        let Some(level) = reader.info().pages.first().and_then(|page| page.levels.first()) else {
            return fail("no levels");
        };
        let region = Region::new(0, 0, level.width.min(SIDE), level.height.min(SIDE));
        if region.width <= level.tile_width && region.height <= level.tile_height {
            return Ok(());
        }
        seen += 1;
        subject.doing(format!("{}, {}", sample.name, place(0, 0, &region)));
        let corner = request(0, 0, Region::new(0, 0, 1, 1));
        let before = must_read(reader, &corner)?;
        look(reader, &request(0, 0, region))?;
        if must_read(reader, &corner)? != before {
            return fail("other pixels after a call that was stopped");
        }
        Ok(())
    })?;
    if seen == 0 {
        return skip("no sample of more than one tile");
    }
    Ok(())
}
