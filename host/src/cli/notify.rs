//! Telling the service manager how far the start has come (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that requests are answered from now on, where somebody wants to know.
pub(super) fn ready() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = tell(&socket, b"READY=1") {
        // A manager that waits for it will end this process: the reason has to be in the log.
        tracing::warn!("cannot tell the service manager that the start is complete: {error}");
    }
}

fn tell(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let bytes = socket.as_bytes();
    let address = match bytes.split_first() {
        // A name that no file has.
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_of_it_by_file_and_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let name = format!("iiphost-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(name.as_bytes()).expect("a short name");
        for (manager, socket) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&by_name), format!("@{name}").into()),
        ] {
            let manager = manager.expect("a free name");
            tell(&socket, b"READY=1").expect("the manager listens");
            let mut buffer = [0; 32];
            let length = manager.recv(&mut buffer).expect("a message");
            assert_eq!(&buffer[..length], b"READY=1");
        }
        assert!(tell(OsStr::new("/nothing/here"), b"READY=1").is_err());
    }
}
