//! Listening sockets: TCP, UNIX, and one inherited as file descriptor 0.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::address::{Host, ListenAddress};
use super::socket_file::{self, SocketFile};

/// A listener that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The system refused a step.
    #[error("cannot listen on {address}")]
    System {
        /// The address as written.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A host name has no address.
    #[error("cannot listen on {address}: the name has no address")]
    NoAddress {
        /// The address as written.
        address: String,
    },
    /// Another server listens on the UNIX socket.
    #[error("cannot listen on {address}: another server answers there")]
    InUse {
        /// The path.
        address: String,
    },
    /// Something else than a socket has the name of the UNIX socket.
    #[error("cannot listen on {address}: it exists and is not a socket")]
    NotASocket {
        /// The path.
        address: String,
    },
    /// File descriptor 0 is not a listening socket.
    #[error(
        "file descriptor 0 is not a listening socket; start with an address, or from a web server or spawn-fcgi"
    )]
    NotInherited,
    /// A service manager handed over something else than listening sockets.
    #[error("the sockets handed over by the service manager cannot be used: {reason}")]
    Activation {
        /// Which, and why.
        reason: String,
    },
    /// Nothing to listen on was configured.
    #[error("no address to listen on")]
    Nowhere,
}

/// A listening socket, non-blocking.
#[derive(Debug)]
pub(super) struct Listener {
    fd: OwnedFd,
    pub(super) local: LocalAddress,
    /// Removes the file of a UNIX socket when the listener goes.
    _file: Option<SocketFile>,
}

/// Where a listener is, as found out after binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// A TCP address with its real port.
    Tcp(SocketAddr),
    /// The path of a UNIX socket, empty if an inherited one has none.
    Unix(String),
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

impl Listener {
    /// Listens on an address; a name with several addresses gives a listener for each.
    pub(super) fn bind(
        address: &ListenAddress,
        backlog: u32,
        socket_mode: Option<u32>,
    ) -> Result<Vec<Self>, ListenError> {
        let failed = |source: io::Error| ListenError::System {
            address: address.to_string(),
            source,
        };
        match address {
            ListenAddress::Unix(path) => {
                let (fd, file) = socket_file::listen(path, clamp(backlog), socket_mode)?;
                Ok(vec![Self {
                    fd,
                    local: LocalAddress::Unix(path.display().to_string()),
                    _file: Some(file),
                }])
            }
            ListenAddress::Tcp { host, port } => match host {
                Host::Any => Self::any(*port, backlog).map(|l| vec![l]).map_err(failed),
                Host::V4(ip) => Self::tcp((*ip, *port).into(), true, backlog)
                    .map(|l| vec![l])
                    .map_err(failed),
                Host::V6(ip) => Self::tcp((*ip, *port).into(), true, backlog)
                    .map(|l| vec![l])
                    .map_err(failed),
                Host::Name(name) => {
                    let mut addresses: Vec<SocketAddr> = (name.as_str(), *port)
                        .to_socket_addrs()
                        .map_err(failed)?
                        .collect();
                    addresses.sort_unstable();
                    addresses.dedup();
                    let mut listeners = Vec::new();
                    for address in addresses {
                        match Self::tcp(address, true, backlog) {
                            Ok(listener) => listeners.push(listener),
                            // `localhost` has an IPv6 address even where IPv6 is switched off.
                            Err(error) if is_absent_family(&error) => {
                                tracing::debug!("{address} of {name} left out: {error}");
                            }
                            Err(error) => return Err(failed(error)),
                        }
                    }
                    if listeners.is_empty() {
                        return Err(ListenError::NoAddress {
                            address: address.to_string(),
                        });
                    }
                    Ok(listeners)
                }
            },
        }
    }

    /// The listening socket that a web server or spawn-fcgi gave as file descriptor 0.
    pub(super) fn inherited() -> Result<Self, ListenError> {
        Self::from_descriptor(io::stdin().as_fd())
    }

    pub(super) fn from_descriptor(fd: BorrowedFd<'_>) -> Result<Self, ListenError> {
        if !matches!(sockopt::socket_acceptconn(fd), Ok(true)) {
            return Err(ListenError::NotInherited);
        }
        let failed = |source: io::Error| ListenError::System {
            address: "file descriptor 0".into(),
            source,
        };
        let fd = fd.try_clone_to_owned().map_err(failed)?;
        rustix::io::ioctl_fionbio(&fd, true).map_err(|e| failed(e.into()))?;
        let family = sockopt::socket_domain(&fd).map_err(|e| failed(e.into()))?;
        let local = if family == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(fd.try_clone().map_err(failed)?);
            let address = listener.local_addr().map_err(failed)?;
            LocalAddress::Unix(
                address
                    .as_pathname()
                    .map(|p| p.display().to_string())
                    .unwrap_or_default(),
            )
        } else {
            sockopt::set_tcp_nodelay(&fd, true).map_err(|e| failed(e.into()))?;
            let listener = TcpListener::from(fd.try_clone().map_err(failed)?);
            LocalAddress::Tcp(listener.local_addr().map_err(failed)?)
        };
        Ok(Self {
            fd,
            local,
            _file: None,
        })
    }

    /// All addresses of the machine: one socket for IPv6 and IPv4 where the system has IPv6.
    fn any(port: u16, backlog: u32) -> io::Result<Self> {
        match Self::tcp((Ipv6Addr::UNSPECIFIED, port).into(), false, backlog) {
            Err(error) if is_absent_family(&error) => {
                Self::tcp((Ipv4Addr::UNSPECIFIED, port).into(), false, backlog)
            }
            other => other,
        }
    }

    fn tcp(address: SocketAddr, v6_only: bool, backlog: u32) -> io::Result<Self> {
        let family = if address.is_ipv6() {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let fd = rustix::net::socket_with(
            family,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, v6_only)?;
        }
        // Accepted sockets take this over from the listener, which saves a system call for each.
        sockopt::set_tcp_nodelay(&fd, true)?;
        rustix::net::bind(&fd, &address)?;
        rustix::net::listen(&fd, clamp(backlog))?;
        let listener = TcpListener::from(fd);
        let local = LocalAddress::Tcp(listener.local_addr()?);
        Ok(Self {
            fd: listener.into(),
            local,
            _file: None,
        })
    }

    /// The same socket for one more thread.
    pub(super) fn try_clone(&self) -> io::Result<(OwnedFd, bool)> {
        Ok((self.fd.try_clone()?, matches!(self.local, LocalAddress::Tcp(_))))
    }
}

/// Accepts one connection without waiting. `is_tcp` tells whether the peer has an IP address.
pub(super) fn accept(fd: BorrowedFd<'_>, is_tcp: bool) -> Result<(OwnedFd, Option<IpAddr>), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    if !is_tcp {
        return Ok((rustix::net::accept_with(fd, flags)?, None));
    }
    let (fd, peer) = rustix::net::acceptfrom_with(fd, flags)?;
    let peer = peer
        .and_then(|peer| SocketAddr::try_from(peer).ok())
        .map(|peer| peer.ip().to_canonical());
    Ok((fd, peer))
}

fn is_absent_family(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn clamp(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn bind(text: &str) -> Result<Vec<Listener>, ListenError> {
        Listener::bind(&text.parse().expect("a good address"), 16, None)
    }

    fn port(listener: &Listener) -> u16 {
        match listener.local {
            LocalAddress::Tcp(address) => address.port(),
            LocalAddress::Unix(_) => panic!("not TCP"),
        }
    }

    fn accept_soon(listener: &Listener) -> (OwnedFd, Option<IpAddr>) {
        let (fd, is_tcp) = listener.try_clone().expect("descriptors are left");
        rustix::io::ioctl_fionbio(&fd, false).expect("a socket may block");
        accept(fd.as_fd(), is_tcp).expect("a client has connected")
    }

    #[test]
    fn accepted_sockets_send_at_once_and_know_their_peer() {
        let listener = &bind("127.0.0.1:0").expect("loopback is there")[0];
        let _client = TcpStream::connect(("127.0.0.1", port(listener))).expect("it listens");
        let (fd, peer) = accept_soon(listener);
        assert_eq!(peer, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(sockopt::tcp_nodelay(&fd), Ok(true));
    }

    #[test]
    fn a_star_takes_clients_of_ipv4() {
        let listener = &bind("*:0").expect("some family is there")[0];
        let _client = TcpStream::connect(("127.0.0.1", port(listener))).expect("it listens");
        assert_eq!(accept_soon(listener).1, Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_port_in_use_is_refused_with_the_address() {
        let first = bind("127.0.0.1:0").expect("loopback is there");
        let address = first[0].local.to_string();
        let refused = bind(&address).expect_err("the port is taken");
        assert_eq!(refused.to_string(), format!("cannot listen on {address}"));
    }

    #[test]
    fn only_a_listening_socket_is_inherited() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let client = TcpStream::connect(tcp.local_addr().expect("bound")).expect("it listens");
        assert!(matches!(
            Listener::from_descriptor(client.as_fd()),
            Err(ListenError::NotInherited)
        ));
        let file = tempfile::tempfile().expect("a temporary folder");
        assert!(matches!(
            Listener::from_descriptor(file.as_fd()),
            Err(ListenError::NotInherited)
        ));
        let inherited = Listener::from_descriptor(tcp.as_fd()).expect("it listens");
        assert_eq!(
            inherited.local,
            LocalAddress::Tcp(tcp.local_addr().expect("bound"))
        );
        assert_eq!(accept_soon(&inherited).1, Some(Ipv4Addr::LOCALHOST.into()));

        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s");
        let unix = UnixListener::bind(&path).expect("a short path");
        let inherited = Listener::from_descriptor(unix.as_fd()).expect("it listens");
        assert_eq!(inherited.local, LocalAddress::Unix(path.display().to_string()));
    }
}
