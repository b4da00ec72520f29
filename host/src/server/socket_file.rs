//! UNIX sockets have a name in the file system, and that outlives a server that was killed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::listener::ListenError;

/// The file of our socket, removed on drop if it is still ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may already have put its own socket there.
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Listens on `path`. A socket there that nobody answers on is replaced; anything else is left alone.
pub(super) fn listen(
    path: &Path,
    backlog: i32,
    mode: Option<u32>,
) -> Result<(OwnedFd, SocketFile), ListenError> {
    let failed = |source: io::Error| ListenError::System {
        address: path.display().to_string(),
        source,
    };
    let address = SocketAddrUnix::new(path).map_err(|e| failed(e.into()))?;
    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(|e| failed(e.into()))?;
    match rustix::net::bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path)?;
            rustix::net::bind(&fd, &address).map_err(|e| failed(e.into()))?;
        }
        other => other.map_err(|e| failed(e.into()))?,
    }
    let found = std::fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: found.dev(),
        inode: found.ino(),
    };
    // Before `listen`, nobody can connect: there is no moment with the wrong mode.
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    rustix::net::listen(&fd, backlog).map_err(|e| failed(e.into()))?;
    Ok((fd, file))
}

/// A listening UNIX socket for this user alone, its file removed on drop.
#[derive(Debug)]
pub struct PrivateSocket(#[expect(dead_code, reason = "kept for its drop")] SocketFile);

impl PrivateSocket {
    /// Listens on a path, non-blocking. A socket there that nobody answers on is replaced.
    ///
    /// # Errors
    /// When the path is taken, or the system refuses.
    pub fn listen(path: &Path) -> Result<(OwnedFd, Self), ListenError> {
        let (fd, file) = listen(path, 16, Some(0o600))?;
        Ok((fd, Self(file)))
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let address = path.display().to_string();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        // Gone in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ListenError::System { address, source }),
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket { address });
    }
    match UnixStream::connect(path) {
        // Only this says that nobody listens; a full queue or missing rights do not.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| ListenError::System { address, source })
        }
        _ => Err(ListenError::InUse { address }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_stale_socket_is_replaced_and_ours_is_removed() {
        let folder = folder();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a short path"));
        assert!(path.exists(), "dropping a listener leaves its file");
        let listening = listen(&path, 1, Some(0o600)).expect("a stale socket is no obstacle");
        assert_eq!(
            std::fs::metadata(&path).map(|m| m.mode() & 0o777).ok(),
            Some(0o600)
        );
        UnixStream::connect(&path).expect("it listens");
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_answers_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("s");
        let _first = listen(&path, 1, None).expect("a free path");
        assert!(matches!(listen(&path, 1, None), Err(ListenError::InUse { .. })));
        UnixStream::connect(&path).expect("the first still listens");
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").expect("a temporary folder is writable");
        assert!(matches!(
            listen(&path, 1, None),
            Err(ListenError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(&b"precious"[..]));
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let folder = folder();
        let path = folder.path().join("s");
        let first = listen(&path, 1, None).expect("a free path");
        std::fs::rename(&path, folder.path().join("old")).expect("same folder");
        let _second = listen(&path, 1, None).expect("the path is free again");
        drop(first);
        UnixStream::connect(&path).expect("the second still listens");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_an_error() {
        let path = PathBuf::from("/tmp/".to_owned() + &"x".repeat(200));
        assert!(matches!(listen(&path, 1, None), Err(ListenError::System { .. })));
    }
}
