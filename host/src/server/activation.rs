//! Sockets that a service manager has opened and handed over (systemd socket activation, sd_listen_fds(3)):
//! they stay open while the host restarts, so that clients wait instead of being refused.

use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;

use super::accept::Protocol;
use super::listener::{ListenError, Listener};

/// More sockets than anybody needs; a number beyond it is a mistake and no order to allocate.
const MAX_SOCKETS: usize = 256;

/// The name of a socket on which HTTP is spoken. Every other one is for FastCGI.
const HTTP: &str = "http";

/// Sockets that were handed over.
#[derive(Debug, Default)]
pub struct Activation {
    pub(super) listeners: Vec<(Protocol, Listener)>,
}

impl Activation {
    /// Takes the sockets handed over to this process, none if there are none. To be called once, before
    /// threads are started: it removes the variables from the environment, so that children do not take
    /// the sockets for theirs.
    ///
    /// # Errors
    /// When something handed over is not a listening stream socket.
    pub fn take() -> Result<Self, ListenError> {
        let announced = std::env::var("LISTEN_FDS").unwrap_or_default();
        let is_ours = std::env::var("LISTEN_PID").is_ok_and(|id| id == std::process::id().to_string());
        if announced.is_empty() || !is_ours {
            return Ok(Self::default());
        }
        let refuse = |reason: String| ListenError::Activation { reason };
        match announced.parse::<usize>() {
            Ok(count) if count <= MAX_SOCKETS => {}
            _ => return Err(refuse(format!("LISTEN_FDS is {announced:?}"))),
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut listeners = Vec::new();
        for number in 0..handed.len() {
            let protocol = match names.next() {
                Some(HTTP) => Protocol::Http,
                _ => Protocol::FastCgi,
            };
            let fd = socket(&mut handed, number).ok_or_else(|| {
                refuse(format!(
                    "socket {} of {announced} is no stream socket",
                    number + 1
                ))
            })?;
            let listener = Listener::from_descriptor(fd.as_fd()).map_err(|error| match error {
                ListenError::NotInherited => {
                    refuse(format!("socket {} of {announced} does not listen", number + 1))
                }
                other => other,
            })?;
            listeners.push((protocol, listener));
        }
        Ok(Self { listeners })
    }

    /// Whether HTTP is spoken on one of the sockets.
    #[must_use]
    pub fn has_http(&self) -> bool {
        self.listeners
            .iter()
            .any(|(protocol, _)| *protocol == Protocol::Http)
    }
}

/// One of the sockets, TCP or UNIX, closed in children.
fn socket(handed: &mut ListenFd, number: usize) -> Option<OwnedFd> {
    if let Ok(Some(tcp)) = handed.take_tcp_listener(number) {
        return Some(tcp.into());
    }
    match handed.take_unix_listener(number) {
        Ok(Some(unix)) => Some(unix.into()),
        _ => None,
    }
}
