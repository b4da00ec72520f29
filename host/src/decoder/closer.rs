//! Closes images on a thread of its own.
//!
//! Whoever uses an image last may be a thread that answers sockets, or hold a lock; closing may wait for a
//! disk, or for a module that never comes back. The thread is watched like every call; one that hangs is
//! given up and replaced.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use iiphost_plugin_api::ImageReader;
use parking_lot::{Condvar, Mutex};

use super::calls::{Entry, Subject};
use super::registry::{Module, Registry};

/// How long closing an image may take.
const CLOSE_TIME: Duration = Duration::from_secs(20);

/// How long the thread waits for work before it ends.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// An image to close.
pub(super) struct Closing {
    pub(super) reader: Box<dyn ImageReader>,
    pub(super) module: Arc<Module>,
    pub(super) subject: Arc<Subject>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Closing>,
    /// The thread that closes, and whether it is in a call.
    thread: Option<ThreadId>,
    closes: bool,
}

/// The images to close, and the thread that does.
#[derive(Default)]
pub(super) struct Closer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Closer {
    /// Has an image closed soon. Without a thread to do it, at once.
    pub(super) fn close(&self, registry: &Arc<Registry>, closing: Closing) {
        let mut state = self.shared.state.lock();
        state.waiting.push_back(closing);
        if state.thread.is_some() {
            self.shared.changed.notify_all();
        } else if self.start(registry, &mut state).is_err() {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        }
    }

    /// A thread hangs: if it is the one that closes, another takes its place.
    pub(super) fn give_up(&self, registry: &Arc<Registry>, thread: ThreadId) {
        let mut state = self.shared.state.lock();
        if state.thread != Some(thread) {
            return;
        }
        state.thread = None;
        state.closes = false;
        // Without a thread the next image to close tries again.
        if !state.waiting.is_empty()
            && let Err(error) = self.start(registry, &mut state)
        {
            tracing::error!("no thread to close images: {error}");
        }
    }

    fn start(&self, registry: &Arc<Registry>, state: &mut State) -> std::io::Result<()> {
        let (shared, registry) = (self.shared.clone(), Arc::downgrade(registry));
        let thread = std::thread::Builder::new()
            .name("close".into())
            .spawn(move || shared.run(&registry))?;
        state.thread = Some(thread.thread().id());
        Ok(())
    }

    /// Waits until all images are closed, or as long as it may: their descriptors are wanted.
    pub(super) fn settle(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.shared.state.lock();
        while state.closes || !state.waiting.is_empty() {
            if self.shared.changed.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }
}

impl Shared {
    fn run(&self, registry: &Weak<Registry>) {
        let own = std::thread::current().id();
        let mut state = self.state.lock();
        loop {
            // Given up, or already replaced after that. (The one who started this thread holds the lock
            // until its id is known.)
            if state.thread != Some(own) {
                return;
            }
            if let Some(closing) = state.waiting.pop_front() {
                state.closes = true;
                drop(state);
                close(registry, closing);
                state = self.state.lock();
                if state.thread == Some(own) {
                    state.closes = false;
                    self.changed.notify_all();
                }
                continue;
            }
            let timed_out = self.changed.wait_for(&mut state, IDLE_TIME).timed_out();
            if timed_out && state.waiting.is_empty() && state.thread == Some(own) {
                state.thread = None;
                return;
            }
        }
    }
}

fn close(registry: &Weak<Registry>, closing: Closing) {
    let Closing {
        reader,
        module,
        subject,
    } = closing;
    let drop_it = || {
        drop(reader);
        Ok(())
    };
    let Some(registry) = registry.upgrade() else {
        // At the end of the process nobody watches any more.
        let _ = drop_it();
        return;
    };
    let deadline = Instant::now() + CLOSE_TIME;
    // A release has no answer; what can go wrong in it has been noted.
    let _ = registry.call(&module, Entry::Close, &subject, deadline, drop_it);
}

impl std::fmt::Debug for Closer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closer")
            .field("waiting", &self.shared.state.lock().waiting.len())
            .finish_non_exhaustive()
    }
}
