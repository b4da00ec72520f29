//! Taking connections from a listening socket, whatever happens.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::listener::accept;
use super::worker::{Context, Entrance};
use super::{fastcgi, http};

/// What is spoken on a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    FastCgi,
    Http,
}

/// Connections taken in a row before others have their turn.
const BURST: u32 = 16;

/// How long to wait when the system has no room for another connection. Long enough that it costs
/// nothing, short enough that a web server does not notice.
const PAUSE: Duration = Duration::from_millis(50);

/// What a thread leaves to one that keeps fewer connections. Usually that one has accepted within it.
const HEAD_START: Duration = Duration::from_millis(1);

/// How often a lasting failure is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts until the order to stop.
pub(super) async fn accept_connections(entrance: Entrance, context: Arc<Context>) {
    let Entrance { fd, is_tcp, protocol } = entrance;
    #[expect(
        deprecated,
        reason = "its successor is unsafe because a type could lie about its descriptor; OwnedFd does not"
    )]
    let registered = AsyncFd::with_interest(fd, Interest::READABLE);
    let fd = match registered {
        Ok(fd) => fd,
        Err(error) => {
            tracing::error!("an I/O thread cannot wait for connections: {error}");
            return;
        }
    };
    let mut logged = None;
    loop {
        let pause = tokio::select! {
            biased;
            () = context.stop.ordered() => return,
            pause = accept_burst(&fd, is_tcp, protocol, &context) => pause,
        };
        match pause {
            None => tokio::task::yield_now().await,
            Some(errno) => {
                let now = Instant::now();
                if logged.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL) {
                    tracing::error!("cannot accept connections, trying again: {errno}");
                    logged = Some(now);
                }
                tokio::select! {
                    () = context.stop.ordered() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// Waits for connections and takes some. The error is one that will not pass by itself at once.
///
/// Dropping the future between connections loses none.
async fn accept_burst(
    fd: &AsyncFd<OwnedFd>,
    is_tcp: bool,
    protocol: Protocol,
    context: &Arc<Context>,
) -> Option<Errno> {
    for _ in 0..BURST {
        let (place, (fd, peer)) = loop {
            // The guard is made first: readiness that comes during `accept` is not cleared then.
            let mut ready = match fd.readable().await {
                Ok(ready) => ready,
                Err(error) => return Some(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            };
            if context.load.is_ahead() {
                tokio::time::sleep(HEAD_START).await;
            }
            let place = context.admission.place().await;
            match accept(fd.as_fd(), is_tcp) {
                Ok(accepted) => break (place, accepted),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(errno) if is_of_the_connection(errno) => {
                    tracing::debug!("a connection failed before it was accepted: {errno}");
                }
                Err(errno) => return Some(errno),
            }
        };
        match protocol {
            Protocol::FastCgi if context.allows_web_server(peer) => {
                fastcgi::accepted(fd, is_tcp, place, context)
            }
            Protocol::FastCgi => {
                tracing::warn!("connection from {peer:?} closed: not one of the allowed web servers");
            }
            Protocol::Http => http::accepted(fd, is_tcp, peer, place, context),
        }
    }
    None
}

/// Errors that concern the connection that would have been accepted, not the listening socket: accept(2)
/// of Linux passes on pending network errors, and advises to try again.
fn is_of_the_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
    )
}
