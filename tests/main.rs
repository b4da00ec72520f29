//! Black-box tests of the built host: what a client sees over the wire, what an operator sees on the
//! command line, and what happens when files, clients and modules misbehave.

mod fastcgi;
mod http;
mod iip;
