//! Signals of the process, taken by the main thread as ordinary events: nothing runs inside a handler.
//!
//! SIGPIPE needs nothing: the Rust runtime ignores it from the start, and a write to a closed socket is an
//! error of that connection.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// SIGTERM, SIGINT, SIGUSR1 (which web servers send to the FastCGI processes they have spawned).
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that are listened to, from its making on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Starts to listen; needs a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Several of one kind that come close together may count as one.
    pub(super) async fn next(&mut self) -> Order {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Order::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Order::Stop("SIGINT"),
            _ = self.user1.recv() => Order::Stop("SIGUSR1"),
            _ = self.hang_up.recv() => Order::Reload,
        }
    }
}
