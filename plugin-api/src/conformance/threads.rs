//! Calls from several threads, and the order in which objects end.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use super::pixels::{WINDOW_SIDE, each_level, same};
use super::random::Random;
use super::subject::{Stop, Subject, Verdict, fail, must_read, open, request};
use crate::decoder::ImageReader;
use crate::region::Region;

const THREADS: u64 = 8;
const REGIONS_PER_THREAD: u32 = 8;

pub(super) fn parallel_is_serial(subject: &Subject) -> Verdict {
    // On one reader.
    each_level(subject, |reader, page_idx, level_idx, page, level| {
        let window = Random::new(subject.seed).window(level, WINDOW_SIDE / 2);
        let whole = must_read(reader, &request(page_idx, level_idx, window))?;
        at_once(|thread| {
            let mut random = Random::nth(subject.seed, thread);
            for _ in 0..REGIONS_PER_THREAD {
                let region = random.region_in(&window);
                let part = must_read(reader, &request(page_idx, level_idx, region))?;
                same(page, &window, &whole, &region, &part)?;
            }
            Ok(())
        })
    })?;
    // Opened and read side by side, all samples at once.
    let decoder = subject.decoder()?;
    let samples = subject.samples()?;
    subject.doing("all samples side by side".to_owned());
    let expected = samples
        .iter()
        .map(|sample| first_pixels(&*open(&*decoder, sample)?))
        .collect::<Result<Vec<_>, Stop>>()?;
    at_once(|thread| {
        let start = usize::try_from(thread).unwrap_or(0);
        for step in 0..samples.len() {
            let index = (start + step) % samples.len();
            let (Some(sample), Some(expected)) = (samples.get(index), expected.get(index)) else {
                continue;
            };
            let reader = open(&*decoder, sample)?;
            if first_pixels(&*reader)? != *expected {
                return fail(format!("{} has other pixels beside other calls", sample.name));
            }
        }
        Ok(())
    })
}

fn first_pixels(reader: &dyn ImageReader) -> Result<Vec<u8>, Stop> {
    let Some(level) = reader.info().pages.first().and_then(|page| page.levels.first()) else {
        return fail("no levels");
    };
    let region = Region::new(0, 0, level.width.min(100), level.height.min(100));
    must_read(reader, &request(0, 0, region))
}

/// Runs `work` on several threads; the first failure counts.
fn at_once(work: impl Fn(u64) -> Verdict + Sync) -> Verdict {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        let mut verdict = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(result) => verdict = verdict.and(result),
                Err(panic) => resume_unwind(panic),
            }
        }
        verdict
    })
}

pub(super) fn reader_outlives_decoder(subject: &Subject) -> Verdict {
    for sample in subject.samples()? {
        subject.doing(sample.name.clone());
        let decoder = subject.decoder()?;
        let reader: Arc<dyn ImageReader> = Arc::from(open(&*decoder, sample)?);
        let expected = first_pixels(&*reader)?;
        drop(decoder);
        if first_pixels(&*reader)? != expected {
            return fail("other pixels after the decoder was dropped");
        }
        // Readers are dropped on whatever thread used them last.
        let elsewhere = thread::spawn(move || first_pixels(&*reader));
        match elsewhere.join() {
            Ok(found) => {
                if found? != expected {
                    return fail("other pixels on another thread");
                }
            }
            Err(panic) => resume_unwind(panic),
        }
    }
    Ok(())
}
