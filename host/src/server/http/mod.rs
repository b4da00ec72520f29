//! HTTP/1.1 without a web server in front.
//!
//! The wire format, keep-alive, pipelining and `Expect` are hyper's; here are limits, time-outs, and the
//! way from its types to [`Request`](super::Request) and back. Malformed HTTP never gets this far.

mod body;
mod exchange;
mod serve;

pub(super) use serve::accepted;
