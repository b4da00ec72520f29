//! The folder images are served from, and opening files inside it only.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::identifier::relative_path;
use super::stamp::Stamp;
use crate::error::Error;

/// The folder all images lie in, and what is added to identifiers.
#[derive(Debug)]
pub struct Root {
    /// The folder, resolved.
    directory: PathBuf,
    folder: OwnedFd,
    /// Text every file name path starts with (`FILESYSTEM_PREFIX` after its last `/`).
    name_start: OsString,
    /// `FILESYSTEM_SUFFIX`.
    suffix: OsString,
    follow_links_outside: bool,
}

/// A file opened under the root.
#[derive(Debug)]
pub struct OpenedFile {
    /// The open file.
    pub file: File,
    /// Its state when it was opened.
    pub stamp: Stamp,
    /// Extension of its name in lower case, empty if it has none.
    pub extension: String,
}

impl Root {
    /// The root at `directory`, without prefix and suffix.
    ///
    /// # Errors
    /// The system's error when the folder cannot be opened.
    pub fn new(directory: &Path) -> std::io::Result<Self> {
        let directory = directory.canonicalize()?;
        let folder = fs::open(
            &directory,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            directory,
            folder,
            name_start: OsString::new(),
            suffix: OsString::new(),
            follow_links_outside: false,
        })
    }

    /// The root of `FILESYSTEM_PREFIX`: the folder it names, or the part up to its last `/` with the rest
    /// as a start every name must have.
    ///
    /// # Errors
    /// The system's error when the folder cannot be opened.
    pub fn from_prefix(prefix: &OsStr) -> std::io::Result<Self> {
        let bytes = prefix.as_bytes();
        if bytes.ends_with(b"/") || Path::new(prefix).is_dir() {
            return Self::new(Path::new(prefix));
        }
        let cut = bytes.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
        let directory = if cut == 0 {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(&bytes[..cut]))
        };
        let mut root = Self::new(directory)?;
        root.name_start = OsString::from_vec(bytes[cut..].to_vec());
        Ok(root)
    }

    /// Sets `FILESYSTEM_SUFFIX`.
    #[must_use]
    pub fn with_suffix(mut self, suffix: &OsStr) -> Self {
        self.suffix = suffix.to_owned();
        self
    }

    /// Sets `FOLLOW_SYMLINKS`: links may then lead out of the root.
    #[must_use]
    pub fn with_links_outside(mut self, allowed: bool) -> Self {
        self.follow_links_outside = allowed;
        self
    }

    /// The folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path below the root of a single file.
    ///
    /// # Errors
    /// As [`relative_path`].
    pub fn file_path(&self, identifier: &[u8]) -> Result<PathBuf, Error> {
        let mut path = self.base_path(identifier)?.into_os_string();
        path.push(&self.suffix);
        Ok(path.into())
    }

    /// The path below the root of an identifier without the suffix: where names of sequences start.
    ///
    /// # Errors
    /// As [`relative_path`].
    pub fn base_path(&self, identifier: &[u8]) -> Result<PathBuf, Error> {
        let path = relative_path(identifier)?;
        if self.name_start.is_empty() {
            return Ok(path);
        }
        let mut name = self.name_start.clone();
        name.push(path);
        Ok(name.into())
    }

    /// The state of a regular file, `None` if there is none of that path inside the root.
    ///
    /// # Errors
    /// Every other failure of the system, for the log.
    pub fn stamp(&self, path: &Path) -> Result<Option<Stamp>, Errno> {
        // A name in the root itself leads nowhere else unless it is a link, so one call tells. Every cached reply asks.
        if is_plain_name(path) {
            match fs::statat(&self.folder, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => return Ok(Some(Stamp::of(&stat))),
                    FileType::Symlink => {}
                    _ => return Ok(None),
                },
                Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let Some(fd) = self.open_fd(path, OFlags::PATH)? else {
            return Ok(None);
        };
        let stat = fs::fstat(fd)?;
        Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| Stamp::of(&stat)))
    }

    /// Whether the folder is still what its path names: not removed, and nothing mounted over it.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let of = |stat: fs::Stat| (stat.st_dev, stat.st_ino);
        match (fs::fstat(&self.folder), fs::stat(&self.directory)) {
            (Ok(ours), Ok(there)) => of(ours) == of(there),
            _ => false,
        }
    }

    /// The state of a folder, `None` if there is none of that path inside the root. It changes when a
    /// name in it comes or goes.
    ///
    /// # Errors
    /// Every other failure of the system, for the log.
    pub fn folder_stamp(&self, path: &Path) -> Result<Option<Stamp>, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let Some(fd) = self.open_fd(path, OFlags::PATH | OFlags::DIRECTORY)? else {
            return Ok(None);
        };
        Ok(Some(Stamp::of(&fs::fstat(fd)?)))
    }

    /// Opens a regular file, `None` if there is none of that path inside the root.
    ///
    /// # Errors
    /// Every other failure of the system (no permission, too many open files), for the log.
    pub fn open(&self, path: &Path) -> Result<Option<OpenedFile>, Errno> {
        // Non-blocking, so that opening a FIFO does not wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(fd) = self.open_fd(path, flags)? else {
            return Ok(None);
        };
        let stat = fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        Ok(Some(OpenedFile {
            file: File::from(fd),
            stamp: Stamp::of(&stat),
            extension,
        }))
    }

    /// Names in a folder below the root; empty if there is no such folder.
    ///
    /// # Errors
    /// Every failure of the system but absence, for the log.
    pub fn list(&self, folder: &Path) -> Result<Vec<Vec<u8>>, Errno> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let Some(fd) = self.open_fd(folder, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(fd)? {
            names.push(entry?.file_name().to_bytes().to_vec());
        }
        Ok(names)
    }

    /// Opens a path below the root without leaving it; `None` when it does not exist or leads out.
    fn open_fd(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = if self.follow_links_outside {
            ResolveFlags::NO_MAGICLINKS
        } else {
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
        };
        match fs::openat2(self.folder.as_fd(), path, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO) => Ok(None),
            // An absolute link, or one through `..`: it may still end inside the root.
            Err(Errno::XDEV) => self.open_resolved(path, flags),
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.open_without_openat2(path, flags),
            Err(error) => Err(error),
        }
    }

    /// Opens where a path really leads, if that is inside the root. The second look-up cannot be led
    /// out either, whatever happens to the links in between.
    fn open_resolved(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let Ok(real) = self.directory.join(path).canonicalize() else {
            return Ok(None);
        };
        let Ok(inside) = real.strip_prefix(&self.directory) else {
            return Ok(None);
        };
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(self.folder.as_fd(), inside, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For kernels and sandboxes without `openat2`: open, then ask the kernel what was opened.
    fn open_without_openat2(&self, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let fd = match fs::openat(self.folder.as_fd(), path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if self.follow_links_outside {
            return Ok(Some(fd));
        }
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let real = fs::readlink(link, Vec::new())?;
        let inside = Path::new(OsStr::from_bytes(real.as_bytes())).starts_with(&self.directory);
        Ok(inside.then_some(fd))
    }
}

/// Whether a path is a name in a folder, with no folder to go through.
fn is_plain_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    !bytes.is_empty() && !bytes.contains(&b'/') && bytes != b"." && bytes != b".."
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `root/in.tif`, `root/dir/x.tif`, `secret.tif` beside the root.
    fn tree() -> (tempfile::TempDir, Root) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("root/dir")).unwrap();
        for name in ["root/in.tif", "root/dir/x.tif", "secret.tif"] {
            std::fs::write(temp.path().join(name), b"0123456789").unwrap();
        }
        let root = Root::new(&temp.path().join("root")).unwrap();
        (temp, root)
    }

    #[test]
    fn files_under_the_root_open_and_others_do_not() {
        let (_temp, root) = tree();
        assert_eq!(root.open(Path::new("dir/x.tif")).unwrap().unwrap().stamp.len, 10);
        for path in [
            "../secret.tif",
            "dir/../../secret.tif",
            "nothing",
            "dir",
            "in.tif/x",
            ".",
        ] {
            assert!(root.open(Path::new(path)).unwrap().is_none(), "{path}");
            assert!(root.stamp(Path::new(path)).unwrap().is_none(), "{path}");
        }
    }

    #[test]
    fn links_work_inside_the_root_and_not_out_of_it() {
        let (temp, root) = tree();
        symlink("in.tif", temp.path().join("root/relative")).unwrap();
        symlink(temp.path().join("root/in.tif"), temp.path().join("root/absolute")).unwrap();
        symlink("../secret.tif", temp.path().join("root/out")).unwrap();
        symlink(temp.path(), temp.path().join("root/up")).unwrap();
        symlink("loop", temp.path().join("root/loop")).unwrap();
        assert!(root.open(Path::new("relative")).unwrap().is_some());
        assert!(root.open(Path::new("absolute")).unwrap().is_some());
        for path in ["out", "up/secret.tif", "loop"] {
            assert!(root.open(Path::new(path)).unwrap().is_none(), "{path}");
            assert!(root.stamp(Path::new(path)).unwrap().is_none(), "{path}");
        }
        let stamp = |path: &str| root.stamp(Path::new(path)).unwrap();
        assert!(
            stamp("in.tif")
                .is_some_and(|stamp| stamp == root.open(Path::new("in.tif")).unwrap().unwrap().stamp)
        );
        assert!(stamp("relative") == stamp("in.tif") && stamp("absolute") == stamp("in.tif"));
        let root = root.with_links_outside(true);
        assert!(root.open(Path::new("out")).unwrap().is_some());
        assert!(root.open(Path::new("up/secret.tif")).unwrap().is_some());
        assert!(root.stamp(Path::new("out")).unwrap().is_some());
    }

    #[test]
    fn the_fallback_without_openat2_keeps_the_same_border() {
        let (temp, root) = tree();
        symlink("../secret.tif", temp.path().join("root/out")).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        assert!(
            root.open_without_openat2(Path::new("in.tif"), flags)
                .unwrap()
                .is_some()
        );
        assert!(
            root.open_without_openat2(Path::new("out"), flags)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_fifo_is_not_an_image_and_does_not_block() {
        let (temp, root) = tree();
        let fifo = temp.path().join("root/fifo");
        fs::mknodat(fs::CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(root.open(Path::new("fifo")).unwrap().is_none());
        assert!(root.stamp(Path::new("fifo")).unwrap().is_none());
    }

    #[test]
    fn a_prefix_that_is_no_folder_is_a_start_of_names() {
        let (temp, _) = tree();
        std::fs::write(temp.path().join("root/img_1.tif"), b"x").unwrap();
        let root = Root::from_prefix(temp.path().join("root/img_").as_os_str()).unwrap();
        assert_eq!(root.file_path(b"1.tif").unwrap(), PathBuf::from("img_1.tif"));
        assert!(root.open(&root.file_path(b"1.tif").unwrap()).unwrap().is_some());
        assert!(root.open(&root.file_path(b"in.tif").unwrap()).unwrap().is_none());
        let folder = Root::from_prefix(temp.path().join("root").as_os_str()).unwrap();
        assert_eq!(folder.file_path(b"in.tif").unwrap(), PathBuf::from("in.tif"));
        let suffix = Root::new(&temp.path().join("root"))
            .unwrap()
            .with_suffix(OsStr::new(".tif"));
        assert!(suffix.open(&suffix.file_path(b"in").unwrap()).unwrap().is_some());
    }
}
