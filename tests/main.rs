//! Black-box tests of the built host: what a client sees over the wire, what an operator sees on the
//! command line, and what happens when files, clients and modules misbehave.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where it does not get what it needs; the functions it calls are part of it"
)]

mod activation;
mod broken_files;
mod changing_files;
mod cluster;
mod command_line;
mod configuration;
mod deepzoom;
mod deploy;
mod dialects;
mod fastcgi;
mod fastcgi_abuse;
mod faults;
mod figures;
mod hostile_modules;
mod http;
mod iiif;
mod iip;
mod iip_sessions;
mod jpeg;
mod large_replies;
mod load;
mod masters;
mod memcached;
mod module_versions;
mod modules;
mod neighbors;
mod nginx;
mod operating;
mod orientation;
mod own_module;
mod paths;
mod pyramid;
mod settings;
mod signals;
mod sockets;
mod viewer;
mod zoomify;

// Pictures as other programs read them.
mod color;
mod output;
mod round_trips;
mod watermark;
