//! Listeners and the two neutral types they deal in.

mod request;
mod response;

pub use request::{Method, Request, Transport};
pub use response::Response;
