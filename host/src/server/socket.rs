//! An accepted connection on the I/O driver, TCP or UNIX alike.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

/// A connected, non-blocking socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Takes over a non-blocking socket.
    pub(super) fn new(fd: OwnedFd, is_tcp: bool) -> io::Result<Self> {
        Ok(if is_tcp {
            Self::Tcp(TcpStream::from_std(fd.into())?)
        } else {
            Self::Unix(UnixStream::from_std(fd.into())?)
        })
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.writable().await,
            Self::Unix(s) => s.writable().await,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_read(ctx, buffer),
            Self::Unix(s) => Pin::new(s).poll_read(ctx, buffer),
        }
    }

    /// Sends the end of the stream.
    pub(super) fn poll_shutdown(&mut self, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(ctx),
            Self::Unix(s) => Pin::new(s).poll_shutdown(ctx),
        }
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.try_write_vectored(slices),
            Self::Unix(s) => s.try_write_vectored(slices),
        }
    }
}

/// A socket whose writes fail when the other side has taken nothing for a while: a client that stops
/// reading must not hold its reply for ever.
#[derive(Debug)]
pub(super) struct ImpatientSocket {
    socket: Socket,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl ImpatientSocket {
    pub(super) fn new(socket: Socket, patience: Duration) -> Self {
        Self {
            socket,
            patience,
            waiting: None,
        }
    }

    fn watch<T>(&mut self, ctx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(waiting.as_mut().poll(ctx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ImpatientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().socket.poll_read(ctx, buffer)
    }
}

impl AsyncWrite for ImpatientSocket {
    fn poll_write(self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(ctx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Tcp(s) => Pin::new(s).poll_write_vectored(ctx, slices),
            Socket::Unix(s) => Pin::new(s).poll_write_vectored(ctx, slices),
        };
        this.watch(ctx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket.poll_shutdown(ctx)
    }
}
