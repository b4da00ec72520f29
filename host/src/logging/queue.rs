//! Lines on their way to the log.
//!
//! Who logs never waits for a disk, a pipe or a socket: a line is copied into one bounded buffer, and a
//! thread of its own writes what has gathered there. When the buffer is full, lines are left out and
//! counted.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes of lines that may wait to be written.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES: usize = 256 << 10;

/// How long lines gather before the next write: at full load one write then takes hundreds of them.
const REST: Duration = Duration::from_millis(2);

thread_local! {
    /// This thread writes the log. What it has to say itself, at most a line for each write, always has room:
    /// the number of lost lines would be lost with them otherwise.
    static WRITES_THE_LOG: Cell<bool> = const { Cell::new(false) };
}

/// Where lines end up.
pub(super) trait Sink: Send {
    /// Writes whole lines.
    ///
    /// # Errors
    /// How many of them are lost, and why.
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost>;

    /// Opens the destination anew, as after a rotation of log files.
    ///
    /// # Errors
    /// Why it cannot be; the old one stays in use.
    fn reopen(&mut self) -> Result<(), String>;
}

/// Lines that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) reason: io::Error,
}

/// The buffer between those who log and the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Lines have come and the writer is asleep.
    filled: Condvar,
    /// The writer rests, and somebody waits for it.
    hurry: Condvar,
    /// Everything is written.
    emptied: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    reopen: bool,
    /// The writer is writing or resting: it looks for new lines by itself.
    awake: bool,
    flushing: usize,
}

impl Queue {
    /// Adds a line, with its end. If there is no room it is counted as lost.
    pub(super) fn push(&self, prefix: &[u8], line: &[u8]) {
        let mut state = self.state.lock();
        let waiting = state.lines.len() + prefix.len() + line.len();
        if waiting > MAX_WAITING_BYTES && !WRITES_THE_LOG.get() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.lines.extend_from_slice(prefix);
        state.lines.extend_from_slice(line);
        if !state.awake {
            state.awake = true;
            self.filled.notify_one();
        }
    }

    /// Lines lost since the start: no room, or not written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Has the destination opened anew before the next line.
    pub(super) fn reopen(&self) {
        let mut state = self.state.lock();
        state.reopen = true;
        state.awake = true;
        self.filled.notify_one();
    }

    /// Waits until everything is written, at most for `patience`; false if it is not.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        state.flushing += 1;
        self.hurry.notify_one();
        while state.awake && !self.emptied.wait_until(&mut state, deadline).timed_out() {}
        state.flushing -= 1;
        !state.awake
    }

    /// Starts the thread that writes. It ends with the process.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(self: &Arc<Self>, sink: impl Sink + 'static) -> io::Result<()> {
        let queue = self.clone();
        let write = move || queue.write_to(sink);
        thread::Builder::new().name("log".into()).spawn(write).map(drop)
    }

    fn write_to(&self, mut sink: impl Sink) {
        WRITES_THE_LOG.set(true);
        let mut lines = Vec::new();
        let mut said = 0;
        let mut why = None;
        loop {
            let reopen = {
                let mut state = self.state.lock();
                while state.lines.is_empty() && !state.reopen {
                    state.awake = false;
                    self.emptied.notify_all();
                    self.filled.wait(&mut state);
                }
                state.awake = true;
                std::mem::swap(&mut state.lines, &mut lines);
                std::mem::take(&mut state.reopen)
            };
            if reopen && let Err(reason) = sink.reopen() {
                tracing::error!("LOGFILE: {reason}; the old file is kept");
            }
            match sink.write(&lines) {
                Ok(()) => {
                    let lost = self.lost();
                    if lost > said {
                        let reason = why.take().unwrap_or_else(|| "it was too slow".to_owned());
                        tracing::warn!(lines = lost - said, "lines of the log are lost: {reason}");
                        said = lost;
                    }
                }
                // The log is the one place to say it: it is said there once lines can be written again.
                Err(Lost { lines, reason }) => {
                    why = Some(reason.to_string());
                    self.lost.fetch_add(lines, Ordering::Relaxed);
                }
            }
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
            let mut state = self.state.lock();
            if state.flushing == 0 {
                self.hurry.wait_for(&mut state, REST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written; the write ends when the test takes it.
    struct Channel(mpsc::SyncSender<Vec<u8>>);

    impl Sink for Channel {
        fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
            self.0.send(lines.to_vec()).map_err(|_| Lost {
                lines: lines.iter().filter(|&&b| b == b'\n').count() as u64,
                reason: io::ErrorKind::BrokenPipe.into(),
            })
        }

        fn reopen(&mut self) -> Result<(), String> {
            self.0.send(b"reopened".to_vec()).map_err(|e| e.to_string())
        }
    }

    fn started() -> (Arc<Queue>, mpsc::Receiver<Vec<u8>>) {
        let queue = Arc::new(Queue::default());
        let (sender, receiver) = mpsc::sync_channel(0);
        queue.start(Channel(sender)).unwrap();
        (queue, receiver)
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_destination_that_takes_nothing_stops_nobody_and_what_is_lost_is_counted() {
        let (queue, written) = started();
        let line = [b'x'; 1023];
        for _ in 0..10_000 {
            queue.push(&line, b"\n");
        }
        assert!(queue.lost() > 0, "10 MB do not fit");
        assert!(!queue.flush(Duration::from_millis(1)));
        // Every line is written whole or counted.
        let mut lines = 0;
        while lines + queue.lost() < 10_000 {
            lines += written.recv_timeout(PATIENCE).unwrap().len() as u64 / 1024;
        }
        assert_eq!(lines + queue.lost(), 10_000);
        assert!(queue.flush(PATIENCE));
    }

    #[test]
    fn lines_keep_their_order_and_a_flush_waits_for_them() {
        let (queue, written) = started();
        let reader = thread::spawn(move || written.iter().flatten().take(3 * 100).collect::<Vec<u8>>());
        let mut expected = Vec::new();
        for n in 0..100u8 {
            queue.push(&[n, n], b"\n");
            expected.extend([n, n, b'\n']);
        }
        assert!(queue.flush(PATIENCE));
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (queue, written) = started();
        drop(written);
        queue.push(b"", b"a\n");
        queue.push(b"", b"b\n");
        assert!(queue.flush(PATIENCE));
        assert_eq!(queue.lost(), 2);
    }

    #[test]
    fn a_reload_reaches_a_writer_that_sleeps() {
        let (queue, written) = started();
        queue.reopen();
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"reopened");
    }
}
