//! Listeners: FastCGI and HTTP on TCP and UNIX sockets, and the neutral types they deal in.
//!
//! A listener knows no image: it turns bytes into a [`Request`], asks a [`Service`], and turns the
//! [`Response`] into bytes. It is here that nothing a client sends, or does not send, costs more than its own
//! connection: sizes, times and the number of connections are limited.
//!
//! Threads: the caller's thread waits for signals; a few I/O threads ([`ListenConfig::io_threads`]) read and
//! write sockets. The service does its work elsewhere.

mod accept;
mod activation;
mod address;
mod admission;
mod balance;
mod config;
mod fastcgi;
mod http;
mod listener;
mod request;
mod response;
mod rest;
mod running;
mod service;
mod signals;
mod socket;
mod socket_file;
mod stop;
#[cfg(test)]
mod testing;
mod worker;

pub mod conditional;
pub mod reply;

pub use activation::Activation;
pub use address::{AddressError, Host, ListenAddress};
pub use config::{IntakeLimits, ListenConfig, Timeouts};
pub use listener::{ListenError, LocalAddress};
pub use request::{Method, Request, Transport};
pub use response::Response;
pub use rest::{Broken, NotTaken, Rest, RestWriter, rest};
pub use running::{Bound, Connections, Running, Stopped};
pub use service::{Cancel, PendingResponse, Service};
pub use socket_file::PrivateSocket;
