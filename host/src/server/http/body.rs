//! The body of a reply as hyper sends it: bytes at hand, and what follows them while it is made.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::{Broken, Rest};

/// The body of a reply.
#[derive(Debug)]
pub(super) struct ReplyBody {
    bytes: Bytes,
    rest: Option<Rest>,
}

impl ReplyBody {
    pub(super) fn new(bytes: Bytes, rest: Option<Rest>) -> Self {
        Self { bytes, rest }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    /// hyper closes the connection on it, in the middle of the body.
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        let Some(rest) = self.rest.as_mut() else {
            return Poll::Ready(None);
        };
        let piece = ready!(rest.poll_piece(ctx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            None => SizeHint::with_exact(self.bytes.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}
