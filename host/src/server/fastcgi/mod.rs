//! FastCGI 1.0 in the role of a Responder, on a connection from a web server.
//!
//! [`record`] and [`params`] are the wire format, [`request`] and [`outgoing`] its meaning, [`connection`]
//! the rules of the protocol without any socket, and [`serve`] the socket. One connection carries one
//! request at a time, as every known web server does it.
//!
//! Memory: a connection holds the parameters and the body of one request, both within limits, and grows
//! only by bytes that have arrived. What a length field announces is never allocated.

mod connection;
mod outgoing;
mod params;
mod record;
mod request;
mod serve;

pub(super) use serve::accepted;
