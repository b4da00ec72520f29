//! One I/O thread: a runtime of its own that accepts connections and keeps them.
//!
//! All threads accept from the same sockets, so a new connection goes to a thread that is idle, and stays
//! there: a reply from the cache is read, made and written without a word to another thread. (A socket per
//! thread with SO_REUSEPORT would spread connections blindly, and lose those queued on a thread that ends.)

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::accept::{Protocol, accept_connections};
use super::admission::Admission;
use super::balance::Load;
use super::config::{IntakeLimits, Timeouts};
use super::service::Service;
use super::stop::{Phase, Stop};

/// What the connections of one I/O thread have in common.
pub(super) struct Context {
    pub(super) service: Arc<dyn Service>,
    pub(super) admission: Arc<Admission>,
    pub(super) load: Load,
    pub(super) max_connections: usize,
    pub(super) intake: IntakeLimits,
    pub(super) timeouts: Timeouts,
    pub(super) allowed_web_servers: Vec<Ipv4Addr>,
    pub(super) stop: Stop,
    /// Closed when the last connection has let go of the context.
    pub(super) _alive: mpsc::Sender<Infallible>,
}

impl Context {
    /// Whether a web server may connect from there; UNIX sockets have their permission bits.
    pub(super) fn allows_web_server(&self, peer: Option<IpAddr>) -> bool {
        self.allowed_web_servers.is_empty()
            || peer.is_none_or(|peer| {
                self.allowed_web_servers
                    .iter()
                    .any(|&allowed| peer == IpAddr::V4(allowed))
            })
    }
}

/// A listening socket as one I/O thread has it.
pub(super) struct Entrance {
    pub(super) fd: OwnedFd,
    pub(super) is_tcp: bool,
    pub(super) protocol: Protocol,
}

/// Serves until the phase is [`Phase::Ending`], or [`Phase::Draining`] and no connection is left.
pub(super) fn serve(
    context: Arc<Context>,
    mut last_gone: mpsc::Receiver<Infallible>,
    entrances: Vec<Entrance>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        for entrance in entrances {
            tokio::spawn(accept_connections(entrance, Arc::clone(&context)));
        }
        // An error means that the main thread is gone, which is an order to stop as well.
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
        context.stop.order();
        drop(context);
        tokio::select! {
            _ = last_gone.recv() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ending) => {}
        }
    });
    // Work of the service that still blocks a thread of this runtime must not hold up the end.
    runtime.shutdown_background();
    Ok(())
}
