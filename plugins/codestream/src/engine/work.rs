//! Work shared by a few threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use std::time::Duration;

use iiphost_plugin_api::{CallContext, DecodeError};
use parking_lot::{Mutex, MutexGuard};

/// Time between two questions whether a call that waits for another one is still wanted.
const PATIENCE: Duration = Duration::from_millis(5);

/// Locks what another call may hold for some time.
///
/// # Errors
/// `Cancelled`, `DeadlineExceeded`, also while it waits.
pub(crate) fn lock<'m, T>(
    mutex: &'m Mutex<T>,
    ctx: &CallContext<'_>,
) -> Result<MutexGuard<'m, T>, DecodeError> {
    loop {
        if let Some(guard) = mutex.try_lock_for(PATIENCE) {
            return Ok(guard);
        }
        ctx.checkpoint()?;
    }
}

/// Does `work` for all numbers below `count` and gives the results in order. Each thread, the caller's among them, has a
/// state of its own.
///
/// # Errors
/// The first error; work that has not begun then is left out.
pub(crate) fn for_all<S, T: Send>(
    count: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T, DecodeError> + Sync,
) -> Result<Vec<T>, DecodeError> {
    if threads <= 1 || count <= 1 {
        let mut state = state();
        return (0..count).map(|at| work(&mut state, at)).collect();
    }
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let run = || {
        let mut state = state();
        let mut done = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            match work(&mut state, at) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    is_over.store(true, Ordering::Relaxed);
                    failure.lock().get_or_insert(error);
                }
            }
        }
        done
    };
    let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
        // Where the system has no more threads, those that are there do it all.
        let helper = |_| std::thread::Builder::new().spawn_scoped(scope, run).ok();
        let helpers: Vec<_> = (1..threads.min(count)).map_while(helper).collect();
        let mut all = run();
        for helper in helpers {
            match helper.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in 1..5 {
            let squares = for_all(100, threads, || (), |(), at| Ok(at * at)).unwrap();
            assert!(squares.iter().enumerate().all(|(at, square)| at * at == *square));
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        for threads in [1, 3] {
            let begun = AtomicUsize::new(0);
            let result = for_all(
                1_000_000,
                threads,
                || (),
                |(), at| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    if at == 10 {
                        Err(DecodeError::format("here"))
                    } else {
                        Ok(())
                    }
                },
            );
            assert_eq!(result.unwrap_err().message(), "here");
            assert!(begun.into_inner() < 1_000_000);
        }
    }
}
