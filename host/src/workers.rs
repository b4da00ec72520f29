//! The one bounded pool that makes pixels.
//!
//! Small jobs (a viewer's tile) run before large ones (a full-size export). A large job splits its work
//! over the same threads with rayon, so cores are never over-subscribed, and calls
//! [`Workers::yield_to_urgent`] between its parts, so that a tile never waits for the end of an export.
//!
//! A thread that waits for parts of its job must not begin another large one: rayon would let it, job upon
//! job, until the stack or the memory ends. So a thread has one job, and above an export at most one tile.
//!
//! A thread in a call that takes very long, or never ends, is missed by the queue and by whoever waits for
//! its part of a job. Then the whole set of threads is replaced ([`Workers::give_up`]): jobs that run go
//! on on the old threads, all others on new ones. The old threads end with their last job, or never.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::metrics::{Histogram, Times};

/// How urgent a job is; smaller first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Opening a file, a viewer's tile.
    Tile,
    /// A region export.
    Export,
}

/// The queue holds as many jobs as it may.
#[derive(Debug, thiserror::Error)]
#[error("{waiting} jobs are waiting, RENDER_QUEUE allows {limit}")]
pub struct QueueFull {
    /// Jobs waiting.
    pub waiting: usize,
    /// Most jobs allowed to wait.
    pub limit: usize,
}

/// Threads could not be replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReplaced {
    /// Too many sets of threads are in calls without end.
    #[error("{MAX_GIVEN_UP} sets of render threads are in calls without end; restart the host")]
    TooMany,
    /// The system gives no threads.
    #[error("no new render threads: {0}")]
    NoThreads(#[from] rayon::ThreadPoolBuildError),
}

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// The job this thread is in, the innermost if an export has given way to a tile.
    static CURRENT: Cell<Option<Urgency>> = const { Cell::new(None) };
}

struct Queued {
    order: Reverse<(Urgency, u64)>,
    since: Instant,
    job: Job,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

/// Sets of threads that were given up and have not ended, at most. Each may hold all its threads.
const MAX_GIVEN_UP: usize = 16;

/// The same for threads that are only slow: they still compete for the cores.
const MAX_SLOW: usize = 2;

/// For how long a thread is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is in a call that takes long.
    ForNow,
    /// It is in a call that is not expected to end.
    ForGood,
}

/// A set of threads.
struct Pool {
    threads: rayon::ThreadPool,
    ids: Arc<Mutex<Vec<ThreadId>>>,
    /// Threads that are in a job.
    busy: AtomicUsize,
    /// Wake-ups that came to a thread that could not begin a job; the end of a job passes them on.
    owed: AtomicUsize,
}

impl Pool {
    fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let ids = Arc::new(Mutex::new(Vec::new()));
        let known = ids.clone();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("render-{n}"))
            .start_handler(move |_| known.lock().push(std::thread::current().id()))
            // Codecs in modules are not made for small stacks.
            .stack_size(4 << 20)
            .build()?;
        Ok(Self {
            threads,
            ids,
            busy: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
        })
    }
}

/// The threads and their queue.
pub struct Workers {
    pool: RwLock<Arc<Pool>>,
    /// Sets of threads that were given up; gone when none of their threads is in a job.
    given_up: Mutex<Vec<Weak<Pool>>>,
    threads: usize,
    queue: Arc<Mutex<BinaryHeap<Queued>>>,
    /// Urgent jobs waiting, kept beside the queue so that asking costs no lock.
    urgent: AtomicUsize,
    /// Threads lent to calls in modules.
    borrowed: AtomicUsize,
    sequence: AtomicU64,
    limit: usize,
    paces: [Pace; 2],
}

/// How long jobs of one urgency wait and take.
#[derive(Debug, Default)]
struct Pace {
    queued: Histogram,
    worked: Histogram,
    /// A mean that follows the last dozen jobs, in microseconds.
    mean_micros: AtomicU64,
}

/// Jobs shorter than that did nothing, because nobody waited for them any more.
const SHORTEST_JOB: Duration = Duration::from_micros(20);

/// Jobs longer than that count as if they were as long.
const LONGEST_JOB: Duration = Duration::from_secs(10);

impl Pace {
    fn observe(&self, worked: Duration) {
        self.worked.observe(worked);
        if worked < SHORTEST_JOB {
            return;
        }
        // A call that hung and came back says nothing about the jobs to come.
        let worked = worked.min(LONGEST_JOB);
        let micros = u64::try_from(worked.as_micros()).unwrap_or(u64::MAX);
        // A reading that another thread overtakes is lost, which a mean can bear.
        let mean = self.mean_micros.load(Ordering::Relaxed);
        let next = if mean == 0 {
            micros
        } else {
            mean - mean / 8 + micros / 8
        };
        self.mean_micros.store(next, Ordering::Relaxed);
    }
}

/// Idle threads that a call of a module may use.
#[derive(Debug)]
pub struct Borrowed {
    workers: Arc<Workers>,
    count: usize,
}

impl Borrowed {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.workers.borrowed.fetch_sub(self.count, Ordering::SeqCst);
    }
}

impl Workers {
    /// A pool of `threads` threads with at most `limit` jobs waiting.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(threads: usize, limit: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = Arc::new(Pool::new(threads)?);
        Ok(Self {
            threads: pool.threads.current_num_threads(),
            pool: RwLock::new(pool),
            given_up: Mutex::default(),
            queue: Arc::default(),
            urgent: AtomicUsize::new(0),
            borrowed: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            limit,
            paces: Default::default(),
        })
    }

    /// Threads that make pictures.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Sets of threads that were given up and still have a thread in a job.
    #[must_use]
    pub fn given_up(&self) -> usize {
        let mut given_up = self.given_up.lock();
        given_up.retain(|pool| pool.strong_count() > 0);
        given_up.len()
    }

    /// Does without a thread: all threads are replaced. Nothing happens if they have been already, or if it
    /// is none of them, or if it comes back, and nobody waits or enough have been replaced.
    ///
    /// # Errors
    /// When there are no more threads to be had; everything stays as it is.
    pub fn give_up(self: &Arc<Self>, thread: ThreadId, loss: Loss) -> Result<(), NotReplaced> {
        {
            let mut pool = self.pool.write();
            if !pool.ids.lock().contains(&thread) {
                return Ok(());
            }
            let given_up = self.given_up();
            if loss == Loss::ForNow && (given_up >= MAX_SLOW || self.waiting() == 0) {
                return Ok(());
            }
            if given_up >= MAX_GIVEN_UP {
                return Err(NotReplaced::TooMany);
            }
            let old = std::mem::replace(&mut *pool, Arc::new(Pool::new(self.threads)?));
            self.given_up.lock().push(Arc::downgrade(&old));
        }
        // The wake-ups of these jobs went to the old threads, which may all be in calls without end.
        (0..self.waiting()).for_each(|_| self.wake());
        Ok(())
    }

    /// Takes the threads that are not in a job for a call that can use more than its own; given back when the
    /// result is dropped. A job that begins meanwhile runs beside them.
    #[must_use]
    pub fn borrow_idle(self: &Arc<Self>) -> Borrowed {
        let busy = self.pool.read().busy.load(Ordering::SeqCst);
        let taken = self
            .borrowed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |borrowed| {
                let idle = self.threads.saturating_sub(busy + borrowed);
                (idle > 0).then_some(borrowed + idle)
            })
            .map_or(0, |borrowed| self.threads.saturating_sub(busy + borrowed));
        Borrowed {
            workers: self.clone(),
            count: taken,
        }
    }

    /// Jobs waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    /// Jobs of one urgency waiting.
    #[must_use]
    pub fn waiting_of(&self, urgency: Urgency) -> usize {
        let urgent = self.urgent.load(Ordering::Relaxed);
        match urgency {
            Urgency::Tile => urgent,
            Urgency::Export => self.waiting().saturating_sub(urgent),
        }
    }

    /// Threads that are in a job.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.pool.read().busy.load(Ordering::Relaxed)
    }

    /// How long a job that is queued now will wait, if the jobs before it take as long as others did of
    /// late.
    #[must_use]
    pub fn expected_wait(&self, urgency: Urgency) -> Duration {
        let before: &[Urgency] = match urgency {
            Urgency::Tile => &[Urgency::Tile],
            Urgency::Export => &[Urgency::Tile, Urgency::Export],
        };
        let micros = before.iter().fold(0u64, |sum, &urgency| {
            let mean = self.pace(urgency).mean_micros.load(Ordering::Relaxed);
            sum.saturating_add(mean.saturating_mul(self.waiting_of(urgency) as u64))
        });
        Duration::from_micros(micros / self.threads().max(1) as u64)
    }

    /// How long jobs of one urgency waited.
    #[must_use]
    pub fn queue_times(&self, urgency: Urgency) -> Times {
        self.pace(urgency).queued.times()
    }

    /// How long jobs of one urgency took.
    #[must_use]
    pub fn job_times(&self, urgency: Urgency) -> Times {
        self.pace(urgency).worked.times()
    }

    fn pace(&self, urgency: Urgency) -> &Pace {
        let [tile, export] = &self.paces;
        match urgency {
            Urgency::Tile => tile,
            Urgency::Export => export,
        }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`QueueFull`]; the job is dropped.
    pub fn submit(
        self: &Arc<Self>,
        urgency: Urgency,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), QueueFull> {
        self.push(urgency, self.limit, Box::new(job))
    }

    /// Queues a part of an export that has begun. It is not refused: whoever has begun a reply cannot take it back,
    /// and has one part or two waiting at most.
    pub fn submit_part(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        // Without a limit nothing is refused.
        let _ = self.push(Urgency::Export, usize::MAX, Box::new(job));
    }

    fn push(self: &Arc<Self>, urgency: Urgency, limit: usize, job: Job) -> Result<(), QueueFull> {
        {
            let mut queue = self.queue.lock();
            if queue.len() >= limit {
                return Err(QueueFull {
                    waiting: queue.len(),
                    limit,
                });
            }
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            queue.push(Queued {
                order: Reverse((urgency, sequence)),
                since: Instant::now(),
                job,
            });
            if urgency == Urgency::Tile {
                self.urgent.fetch_add(1, Ordering::Relaxed);
            }
        }
        // One wake-up a job: a job taken early by `yield_to_urgent` leaves a wake-up that finds nothing.
        self.wake();
        Ok(())
    }

    /// Lets a thread look for a job.
    fn wake(self: &Arc<Self>) {
        let (workers, pool) = (self.clone(), self.pool.read().clone());
        let own = pool.clone();
        pool.threads.spawn_fifo(move || {
            if workers.look_for_job(&own) {
                return;
            }
            // The order matters: a thread that ends its job in between sees the debt.
            own.owed.fetch_add(1, Ordering::SeqCst);
            if own.busy.load(Ordering::SeqCst) < workers.threads() {
                // A thread without a job may be asleep, and this one was awake instead of it.
                let (others, pool) = (workers.clone(), own.clone());
                own.threads.spawn_broadcast(move |_| {
                    others.look_for_job(&pool);
                });
            }
        });
    }

    /// Runs the next job if this thread of `pool` may begin it; false if it may not.
    fn look_for_job(self: &Arc<Self>, pool: &Pool) -> bool {
        match CURRENT.get() {
            None => {
                pool.busy.fetch_add(1, Ordering::SeqCst);
                self.run_next(|_| true);
                pool.busy.fetch_sub(1, Ordering::SeqCst);
            }
            Some(Urgency::Export) if self.run_next(|urgency| urgency == Urgency::Tile) => {}
            Some(_) => return false,
        }
        // As many as there are threads: each of their jobs passes on more when it ends.
        let threads = self.threads();
        let paid = pool
            .owed
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| {
                (owed > 0).then(|| owed.saturating_sub(threads))
            })
            .map_or(0, |owed| owed.min(threads));
        (0..paid).for_each(|_| self.wake());
        true
    }

    /// Runs the urgent jobs that wait, on this thread. Exports call it between their parts, holding no
    /// lock; tiles never do, or jobs would nest without end.
    pub fn yield_to_urgent(&self) {
        while self.urgent.load(Ordering::Relaxed) > 0 {
            if !self.run_next(|urgency| urgency == Urgency::Tile) {
                return;
            }
        }
    }

    /// Runs the first job of the queue if `wanted` says so; false if there is none.
    fn run_next(&self, wanted: impl Fn(Urgency) -> bool) -> bool {
        let job = {
            let mut queue = self.queue.lock();
            match queue.peek() {
                Some(first) if wanted(first.order.0.0) => {
                    if first.order.0.0 == Urgency::Tile {
                        self.urgent.fetch_sub(1, Ordering::Relaxed);
                    }
                    queue.pop()
                }
                _ => None,
            }
        };
        let Some(queued) = job else {
            return false;
        };
        let urgency = queued.order.0.0;
        let start = Instant::now();
        self.pace(urgency)
            .queued
            .observe(start.duration_since(queued.since));
        let outer = CURRENT.replace(Some(urgency));
        // A job that panics must not take its thread along; it has told its waiters by its own drop guard.
        if std::panic::catch_unwind(AssertUnwindSafe(queued.job)).is_err() {
            tracing::error!("a render job panicked");
        }
        CURRENT.set(outer);
        self.pace(urgency).observe(start.elapsed());
        true
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A pool of one thread that is busy until the returned sender is used or dropped.
    fn busy(limit: usize) -> (Arc<Workers>, mpsc::Sender<()>) {
        let workers = Arc::new(Workers::new(1, limit).unwrap());
        let (release, wait) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        workers
            .submit(Urgency::Export, move || {
                started.send(()).unwrap();
                let _ = wait.recv();
            })
            .unwrap();
        is_started.recv_timeout(Duration::from_secs(10)).unwrap();
        (workers, release)
    }

    #[test]
    fn tiles_run_before_exports_and_a_full_queue_refuses() {
        let (workers, release) = busy(3);
        let (done, order) = mpsc::channel();
        for (urgency, name) in [
            (Urgency::Export, "export"),
            (Urgency::Tile, "a"),
            (Urgency::Tile, "b"),
        ] {
            let done = done.clone();
            workers.submit(urgency, move || done.send(name).unwrap()).unwrap();
        }
        assert!(workers.submit(Urgency::Tile, || ()).is_err());
        drop(release);
        let names: Vec<_> = (0..3)
            .map(|_| order.recv_timeout(Duration::from_secs(10)).unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "export"]);
    }

    #[test]
    fn the_wait_is_told_from_the_pace_of_late() {
        let workers = Arc::new(Workers::new(1, 10).unwrap());
        let (done, order) = mpsc::channel();
        let end = done.clone();
        let pause = || std::thread::sleep(Duration::from_millis(20));
        workers
            .submit(Urgency::Export, move || {
                pause();
                end.send("first").unwrap();
            })
            .unwrap();
        order.recv_timeout(Duration::from_secs(10)).unwrap();
        while workers.busy() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(workers.expected_wait(Urgency::Export), Duration::ZERO);
        let (release, wait) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        workers
            .submit(Urgency::Export, move || {
                started.send(()).unwrap();
                let _ = wait.recv();
            })
            .unwrap();
        is_started.recv_timeout(Duration::from_secs(10)).unwrap();
        for _ in 0..3 {
            workers.submit(Urgency::Export, || ()).unwrap();
        }
        assert!(workers.expected_wait(Urgency::Export) >= Duration::from_millis(60));
        // Tiles overtake exports, and none waits.
        assert_eq!(workers.expected_wait(Urgency::Tile), Duration::ZERO);
        assert_eq!(workers.waiting_of(Urgency::Export), 3);
        assert_eq!(workers.job_times(Urgency::Export).count(), 1);
        drop(release);
    }

    #[test]
    fn a_running_export_gives_way_to_tiles() {
        let workers = Arc::new(Workers::new(1, 10).unwrap());
        let (queued, go) = mpsc::channel::<()>();
        let (done, order) = mpsc::channel();
        let (inner, inner_done) = (workers.clone(), done.clone());
        workers
            .submit(Urgency::Export, move || {
                go.recv().unwrap();
                inner.yield_to_urgent();
                inner_done.send("export").unwrap();
            })
            .unwrap();
        workers
            .submit(Urgency::Tile, move || done.send("tile").unwrap())
            .unwrap();
        queued.send(()).unwrap();
        let names: Vec<_> = (0..2)
            .map(|_| order.recv_timeout(Duration::from_secs(10)).unwrap())
            .collect();
        assert_eq!(names, ["tile", "export"]);
    }

    #[test]
    fn idle_threads_are_lent_once() {
        let workers = Arc::new(Workers::new(3, 10).unwrap());
        let (done, wait) = mpsc::channel();
        let inner = workers.clone();
        let job = move || {
            let first = inner.borrow_idle();
            done.send((first.count(), inner.borrow_idle().count())).unwrap();
            drop(first);
            done.send((inner.borrow_idle().count(), 0)).unwrap();
        };
        workers.submit(Urgency::Tile, job).unwrap();
        let counts = [(); 2].map(|()| wait.recv_timeout(Duration::from_secs(10)).unwrap());
        assert_eq!(counts, [(2, 0), (2, 0)]);
    }

    #[test]
    fn a_job_that_panics_leaves_the_pool_working() {
        let workers = Arc::new(Workers::new(1, 10).unwrap());
        workers.submit(Urgency::Tile, || panic!("on purpose")).unwrap();
        let (done, wait) = mpsc::channel();
        workers
            .submit(Urgency::Tile, move || done.send(1).unwrap())
            .unwrap();
        assert_eq!(wait.recv_timeout(Duration::from_secs(10)).unwrap(), 1);
    }

    #[test]
    fn jobs_that_split_their_work_do_not_pile_up_on_a_thread() {
        use rayon::prelude::*;

        thread_local! {
            static DEPTH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
        }
        let threads = 2;
        let workers = Arc::new(Workers::new(threads, 1000).unwrap());
        let (done, wait) = mpsc::channel();
        let running = Arc::new(AtomicUsize::new(0));
        for _ in 0..300 {
            let (done, running) = (done.clone(), running.clone());
            workers
                .submit(Urgency::Export, move || {
                    let at_once = running.fetch_add(1, Ordering::SeqCst) + 1;
                    let depth = DEPTH.get() + 1;
                    DEPTH.set(depth);
                    (0..16).into_par_iter().for_each(|_| {
                        std::thread::sleep(Duration::from_micros(300));
                    });
                    DEPTH.set(depth - 1);
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.send((at_once, depth)).unwrap();
                })
                .unwrap();
        }
        let (at_once, depth) = (0..300)
            .map(|_| wait.recv_timeout(Duration::from_secs(60)).unwrap())
            .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        assert!(at_once <= threads, "{at_once} at once, {depth} on one thread");
    }

    #[test]
    fn every_job_runs_however_they_split_and_mix() {
        use rayon::prelude::*;

        for threads in [1, 2, 3, 8] {
            let workers = Arc::new(Workers::new(threads, 10_000).unwrap());
            let (done, wait) = mpsc::channel();
            let count = 3000;
            for n in 0..count {
                let (done, inner) = (done.clone(), workers.clone());
                let urgency = if n % 3 == 0 {
                    Urgency::Export
                } else {
                    Urgency::Tile
                };
                let job = move || {
                    let sum: u64 = (0..64u64).into_par_iter().map(|i| i * n).sum();
                    if urgency == Urgency::Export {
                        inner.yield_to_urgent();
                    }
                    done.send(sum).unwrap();
                };
                workers.submit(urgency, job).unwrap();
            }
            for _ in 0..count {
                wait.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        }
    }

    #[test]
    fn threads_in_calls_without_end_are_replaced_and_every_job_runs() {
        let workers = Arc::new(Workers::new(2, 1000).unwrap());
        let mut releases = Vec::new();
        for round in 1..=3 {
            let mut ids = Vec::new();
            for _ in 0..workers.threads() {
                let (release, wait) = mpsc::channel::<()>();
                let (started, is_started) = mpsc::channel();
                let hang = move || {
                    started.send(std::thread::current().id()).unwrap();
                    let _ = wait.recv();
                };
                workers.submit(Urgency::Tile, hang).unwrap();
                ids.push(is_started.recv_timeout(Duration::from_secs(10)).unwrap());
                releases.push(release);
            }
            let (done, wait) = mpsc::channel();
            for urgency in [Urgency::Tile, Urgency::Export, Urgency::Tile] {
                let done = done.clone();
                workers.submit(urgency, move || done.send(()).unwrap()).unwrap();
            }
            for id in ids {
                workers.give_up(id, Loss::ForGood).unwrap();
            }
            (0..3).for_each(|_| wait.recv_timeout(Duration::from_secs(10)).unwrap());
            // All threads of a set hang, and it was replaced once.
            assert_eq!(workers.given_up(), round);
        }
        drop(releases);
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while workers.given_up() > 0 {
            assert!(
                std::time::Instant::now() < end,
                "threads that came back do not end"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn threads_of_others_and_too_many_are_not_replaced() {
        let workers = Arc::new(Workers::new(1, 10).unwrap());
        workers
            .give_up(std::thread::current().id(), Loss::ForGood)
            .unwrap();
        assert_eq!(workers.given_up(), 0);
        let mut releases = Vec::new();
        let mut hang = || {
            let (release, wait) = mpsc::channel::<()>();
            let (started, is_started) = mpsc::channel();
            let job = move || {
                started.send(std::thread::current().id()).unwrap();
                let _ = wait.recv();
            };
            workers.submit(Urgency::Export, job).unwrap();
            releases.push(release);
            let thread = is_started.recv_timeout(Duration::from_secs(10)).unwrap();
            workers.give_up(thread, Loss::ForGood)
        };
        (0..MAX_GIVEN_UP).for_each(|_| hang().unwrap());
        assert!(matches!(hang(), Err(NotReplaced::TooMany)));
    }

    #[test]
    fn slow_threads_are_replaced_while_others_wait_and_a_few_times_only() {
        let workers = Arc::new(Workers::new(1, 10).unwrap());
        let mut releases = Vec::new();
        for round in 0..5 {
            let (release, wait) = mpsc::channel::<()>();
            let (started, is_started) = mpsc::channel();
            let slow = move || {
                started.send(std::thread::current().id()).unwrap();
                let _ = wait.recv();
            };
            workers.submit(Urgency::Tile, slow).unwrap();
            let Ok(thread) =
                is_started.recv_timeout(Duration::from_millis(if round > MAX_SLOW { 50 } else { 10_000 }))
            else {
                // Nobody gave it a thread.
                assert!(round > MAX_SLOW);
                continue;
            };
            releases.push(release);
            let before = workers.given_up();
            workers.give_up(thread, Loss::ForNow).unwrap();
            assert_eq!(workers.given_up(), before, "nobody waits");
            let (done, wait) = mpsc::channel();
            workers
                .submit(Urgency::Tile, move || done.send(()).unwrap())
                .unwrap();
            workers.give_up(thread, Loss::ForNow).unwrap();
            assert_eq!(workers.given_up(), (round + 1).min(MAX_SLOW));
            if round < MAX_SLOW {
                wait.recv_timeout(Duration::from_secs(10)).unwrap();
            }
        }
    }
}
