//! Stopping an encoder early, and keeping a long one out of the way.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::error::Error;

/// What encoders ask between the parts of their work.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    check: &'a (dyn Fn() -> Result<(), Error> + Sync),
    give_way: &'a (dyn Fn() + Sync),
}

impl<'a> Control<'a> {
    /// Work that nobody stops or interrupts.
    pub const NONE: Control<'static> = Control {
        check: &|| Ok(()),
        give_way: &|| (),
    };

    /// `check` fails when the work is to stop: its deadline has passed, or nobody waits for it any more.
    /// `give_way` does what is more urgent, on the calling thread.
    #[must_use]
    pub fn new(check: &'a (dyn Fn() -> Result<(), Error> + Sync), give_way: &'a (dyn Fn() + Sync)) -> Self {
        Self { check, give_way }
    }

    /// Gives way, then asks whether to go on.
    ///
    /// # Errors
    /// Why the work is to stop.
    pub fn between_parts(&self) -> Result<(), Error> {
        (self.give_way)();
        (self.check)()
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

/// How often a thread that waits for the work aside gives way.
const PATIENCE: Duration = Duration::from_millis(2);

/// Half of the cores, at least one: what codecs that cannot stop may take together.
#[cfg(any(feature = "avif", feature = "webp"))]
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

/// Runs work that knows no interruption on threads of its own, while this thread gives way to what is more
/// urgent. Work that is stopped before it begins never does; once begun it runs to its end, and this
/// thread stays with it.
#[cfg(any(feature = "avif", feature = "webp"))]
pub(super) fn aside<T: Send>(
    control: Control<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let Some(pool) = pool() else {
        return work();
    };
    let stop = AtomicBool::new(false);
    let (done, ended) = sync_channel(1);
    let mut stopped = None;
    let result = pool.in_place_scope(|scope| {
        let stop = &stop;
        scope.spawn(move |_| {
            if !stop.load(Ordering::Relaxed) {
                // The other end waits for it; it is not gone.
                let _ = done.send(work());
            }
        });
        loop {
            match ended.recv_timeout(PATIENCE) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = control.between_parts() {
                        stop.store(true, Ordering::Relaxed);
                        stopped.get_or_insert(error);
                    }
                }
            }
        }
    });
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Some(result)) => result,
        (None, None) => Err(super::fault("a codec thread was lost")),
    }
}

#[cfg(all(test, any(feature = "avif", feature = "webp")))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn work_aside_gives_its_result_while_its_caller_gives_way() {
        let turns = AtomicUsize::new(0);
        let give_way = || {
            turns.fetch_add(1, Ordering::Relaxed);
        };
        let check = || Ok(());
        let slow = || {
            while turns.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
            Ok(7)
        };
        assert_eq!(aside(Control::new(&check, &give_way), slow).unwrap(), 7);
    }

    #[test]
    fn a_stop_is_the_error_of_the_one_who_asked_for_it() {
        let check = || Err(Error::Cancelled);
        let give_way = || ();
        let asked = AtomicUsize::new(0);
        let counted = || {
            asked.fetch_add(1, Ordering::Relaxed);
            check()
        };
        let slow = || {
            while asked.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            Ok(())
        };
        let result = aside(Control::new(&counted, &give_way), slow);
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
