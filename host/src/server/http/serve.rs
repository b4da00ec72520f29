//! An HTTP connection on its socket.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::exchange;
use crate::server::admission::Place;
use crate::server::socket::{ImpatientSocket, Socket};
use crate::server::worker::Context;

/// Most browsers and proxies send fewer than thirty.
const MAX_FIELDS: usize = 100;

/// The smallest head hyper can be limited to.
const MIN_HEAD_BYTES: usize = 8192;

/// Serves a connection that was just accepted, as a task of its own.
pub(in crate::server) fn accepted(
    fd: OwnedFd,
    is_tcp: bool,
    peer: Option<IpAddr>,
    place: Place,
    context: &Arc<Context>,
) {
    match Socket::new(fd, is_tcp) {
        Ok(socket) => {
            tokio::spawn(serve(socket, peer, place, Arc::clone(context)));
        }
        Err(error) => tracing::error!("a connection cannot be waited for: {error}"),
    }
}

async fn serve(socket: Socket, peer: Option<IpAddr>, place: Place, context: Arc<Context>) {
    let io = TokioIo::new(ImpatientSocket::new(socket, context.timeouts.send));
    let service =
        service_fn(|request| exchange::answer(request, peer, place.is_refusal, Arc::clone(&context)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs between requests too, and so ends idle connections.
        .header_read_timeout(context.timeouts.receive)
        .max_headers(MAX_FIELDS)
        .max_buf_size(context.intake.max_head_bytes.max(MIN_HEAD_BYTES))
        .title_case_headers(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let end = tokio::select! {
        biased;
        end = connection.as_mut() => end,
        () = context.stop.ordered() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!("HTTP connection ended: {error}");
    }
}
