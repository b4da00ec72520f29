//! Ctrl-C and SIGTERM stop a build instead of the process, so that no partial file is left.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::Cancel;

/// Listens while it lives; the first signal sets the flag.
#[derive(Debug)]
pub struct Interrupt {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system gives no thread or no signal handler.
    pub fn listen(cancel: Cancel) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("signals")
            .enable_io()
            .build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        runtime.spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            cancel.cancel();
        });
        Ok(Self {
            runtime: Some(runtime),
        })
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
