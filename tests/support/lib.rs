//! Support for the black-box tests: the built host as a process of its own, clients that speak to it over
//! the wire, and pictures whose every pixel is known.
//!
//! Nothing here shares code with the host. A function that cannot do its work ends the test with a
//! sentence that says why: there is no test without a host, a browser or a web server.

pub mod apache;
pub mod built;
pub mod chromium;
pub mod client;
pub mod fastcgi;
pub mod fixture;
pub mod flat;
pub mod icc;
pub mod image;
pub mod installed;
pub mod lighttpd;
pub mod load;
pub mod master;
pub mod memcached;
pub mod nginx;
pub mod picture;
pub mod reply;
pub mod server;
pub mod tool;
pub mod wait;
pub mod web_server;

pub use reply::Reply;
pub use server::Server;
