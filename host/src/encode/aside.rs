//! Work of codecs that cannot be stopped, on threads of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::control::Control;
use crate::error::Error;

/// How often a thread that waits for the work aside gives way.
const PATIENCE: Duration = Duration::from_millis(2);

/// Half of the cores, at least one: what codecs that cannot stop may take together.
fn pool() -> Option<&'static rayon::ThreadPool> {
    static POOL: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    let make = || {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        rayon::ThreadPoolBuilder::new()
            .num_threads((cores / 2).max(1))
            .thread_name(|n| format!("codec-{n}"))
            .stack_size(4 << 20)
            .build()
            .map_err(|error| tracing::warn!("large pictures are encoded on the render threads: {error}"))
            .ok()
    };
    POOL.get_or_init(make).as_ref()
}

/// How long a codec takes for a pixel.
#[derive(Debug)]
pub(super) struct Pace {
    /// Nanoseconds for 1024 pixels; 0 before the first picture.
    nanos: AtomicU64,
}

/// Who is refused because the work would take too long may ask again then, for something else or when there is less to do.
const LATER: Duration = Duration::from_secs(60);

impl Pace {
    pub(super) const fn unknown() -> Self {
        Self {
            nanos: AtomicU64::new(0),
        }
    }

    /// Follows slow pictures slowly and fast ones at once: a busy machine says little about the codec.
    fn observe(&self, pixels: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos().saturating_mul(1024)).unwrap_or(u64::MAX) / pixels.max(1);
        let nanos = nanos.max(1);
        let before = self.nanos.load(Ordering::Relaxed);
        let after = match before {
            0 => nanos,
            before => nanos.min(before - before / 8 + nanos / 8),
        };
        // A measure that another thread overtakes is lost, which an estimate can bear.
        self.nanos.store(after, Ordering::Relaxed);
    }

    /// Refuses work that is expected to take more than twice the time there is.
    fn check(&self, pixels: u64, deadline: Option<Instant>) -> Result<(), Error> {
        let Some(deadline) = deadline else {
            return Ok(());
        };
        let nanos = self.nanos.load(Ordering::Relaxed);
        let expected = Duration::from_nanos(nanos.saturating_mul(pixels) / 1024);
        let left = deadline.saturating_duration_since(Instant::now());
        if expected <= 2 * left {
            return Ok(());
        }
        // What is refused is not measured: without this a wrong estimate would stand for ever.
        self.nanos.store(nanos - nanos / 16, Ordering::Relaxed);
        Err(Error::Unavailable {
            reason: format!(
                "encoding {pixels} pixels takes about {:.0} s, and the request has {:.0} s (REQUEST_TIMEOUT)",
                expected.as_secs_f64(),
                left.as_secs_f64()
            ),
            retry_after: LATER,
        })
    }
}

/// Runs work that knows no interruption on threads of its own, while this thread gives way to what is more
/// urgent. Work that is stopped before it begins never does; once begun it runs to its end, but this thread does not
/// wait for it.
pub(super) fn aside<T: Send + 'static>(
    control: Control<'_>,
    pixels: u64,
    pace: &'static Pace,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let Some(pool) = pool() else {
        return work();
    };
    let deadline = control.deadline;
    pace.check(pixels, deadline)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, ended) = sync_channel(1);
    let (is_stopped, held) = (Arc::clone(&stop), control.held.cloned());
    pool.spawn(move || {
        if !is_stopped.load(Ordering::Relaxed) {
            // It may have waited for others.
            let result = pace.check(pixels, deadline).and_then(|()| {
                let start = Instant::now();
                let result = catch_unwind(AssertUnwindSafe(work));
                pace.observe(pixels, start.elapsed());
                result.unwrap_or_else(|_| Err(super::fault("a codec panicked")))
            });
            // Nobody waits any more if this fails.
            let _ = done.send(result);
        }
        drop(held);
    });
    loop {
        match ended.recv_timeout(PATIENCE) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(super::fault("a codec thread was lost")),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = control.between_parts() {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::encode::Held;

    static PACE: Pace = Pace::unknown();

    #[test]
    fn work_aside_gives_its_result_while_its_caller_gives_way() {
        let turns = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&turns);
        let give_way = || {
            turns.fetch_add(1, Ordering::Relaxed);
        };
        let check = || Ok(());
        let slow = move || {
            while seen.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
            Ok(7)
        };
        assert_eq!(aside(Control::new(&check, &give_way), 1, &PACE, slow).unwrap(), 7);
    }

    #[test]
    fn who_stops_does_not_wait_for_the_end_and_what_was_held_is_held_to_it() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let has_begun = std::sync::Mutex::new(has_begun);
        let check = || {
            // Not before the work has begun: it would never begin.
            let begun = has_begun.lock().map(|begun| begun.recv());
            assert!(matches!(begun, Ok(Ok(()))));
            Err(Error::Cancelled)
        };
        let held: Arc<Held> = Arc::new(());
        let control = Control::new(&check, &|| ()).with_end(Instant::now() + Duration::from_secs(60), &held);
        let result = aside(control, 1, &PACE, move || {
            begun.send(()).unwrap();
            let _ = wait.recv_timeout(Duration::from_secs(20));
            Ok(())
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        assert_eq!(Arc::strong_count(&held), 2, "the work goes on");
        drop(release);
        let start = Instant::now();
        while Arc::strong_count(&held) > 1 {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
    }

    #[test]
    fn work_that_cannot_end_in_time_does_not_begin() {
        static SLOW: Pace = Pace::unknown();
        // A second for a thousand pixels.
        SLOW.observe(1000, Duration::from_secs(1));
        let held: Arc<Held> = Arc::new(());
        let control = Control::NONE.with_end(Instant::now() + Duration::from_secs(10), &held);
        let error = aside(control, 100_000, &SLOW, || -> Result<(), Error> {
            panic!("it began")
        })
        .unwrap_err();
        assert_eq!(error.status(), 503);
        assert!(error.to_string().contains("100000 pixels"), "{error}");
        assert!(aside(control, 15_000, &SLOW, || Ok(())).is_ok());
    }

    #[test]
    fn an_estimate_follows_fast_pictures_and_falls_while_it_refuses() {
        let pace = Pace::unknown();
        let nanos = || pace.nanos.load(Ordering::Relaxed);
        pace.observe(1024, Duration::from_nanos(800));
        pace.observe(1024, Duration::from_nanos(80_000));
        assert_eq!(nanos(), 10_700);
        pace.observe(1024, Duration::from_nanos(500));
        assert_eq!(nanos(), 500);
        assert!(pace.check(u64::MAX, Some(Instant::now())).is_err());
        assert_eq!(nanos(), 469);
    }

    #[test]
    fn a_panic_of_a_codec_is_a_fault() {
        let result = aside(Control::NONE, 1, &PACE, || -> Result<(), Error> {
            panic!("as the test wants")
        });
        assert_eq!(result.unwrap_err().status(), 500);
    }
}
