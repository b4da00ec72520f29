//! A file that appears under its name only when it is complete.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::PyramidError;

/// A file under a temporary name beside its final one; removed when dropped before [`commit`](Self::commit).
#[derive(Debug)]
pub(super) struct PartialFile {
    target: PathBuf,
    temporary: PathBuf,
    force: bool,
    committed: bool,
}

impl PartialFile {
    /// Creates the file.
    ///
    /// # Errors
    /// `Exists` without `force`, `Output`.
    pub(super) fn create(target: &Path, force: bool) -> Result<(Self, File), PyramidError> {
        let exists = || PyramidError::Exists {
            path: target.to_owned(),
        };
        if !force && target.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let name = target.file_name().ok_or_else(|| {
            output_error(
                target,
                io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"),
            )
        })?;
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.partial", std::process::id()));
        let temporary = target.with_file_name(temporary_name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|e| output_error(target, e))?;
        let partial = Self {
            target: target.to_owned(),
            temporary,
            force,
            committed: false,
        };
        Ok((partial, file))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// `Exists` when somebody made a file of that name meanwhile and `force` is off, `DiskFull`, `Output`.
    pub(super) fn commit(mut self, mut file: File) -> Result<(), PyramidError> {
        let fail = |e| output_error(&self.target, e);
        file.flush().map_err(fail)?;
        file.sync_all().map_err(fail)?;
        drop(file);
        if self.force {
            std::fs::rename(&self.temporary, &self.target).map_err(fail)?;
        } else {
            // A hard link fails where a name exists, on every file system that has links; renaming
            // would silently replace.
            match std::fs::hard_link(&self.temporary, &self.target) {
                Ok(()) => std::fs::remove_file(&self.temporary).map_err(fail)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(PyramidError::Exists {
                        path: self.target.clone(),
                    });
                }
                Err(_) if self.target.symlink_metadata().is_ok() => {
                    return Err(PyramidError::Exists {
                        path: self.target.clone(),
                    });
                }
                Err(_) => std::fs::rename(&self.temporary, &self.target).map_err(fail)?,
            }
        }
        self.committed = true;
        // The name itself must survive a crash too; a folder that cannot be opened keeps the file.
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            folder.sync_all().map_err(|e| output_error(&self.target, e))?;
        }
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = std::fs::remove_file(&self.temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.temporary.display(), %error, "partial file could not be removed");
        }
    }
}

/// The error for a failure of the system while writing `path`.
pub(super) fn output_error(path: &Path, source: io::Error) -> PyramidError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PyramidError::DiskFull {
            path: path.to_owned(),
        },
        _ => PyramidError::Output {
            path: path.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_name_appears_with_the_complete_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.tif");
        let (partial, mut file) = PartialFile::create(&target, false).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!target.exists());
        partial.commit(file).unwrap();
        assert_eq!(names(folder.path()), ["a.tif"]);
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let made = PartialFile::create(&folder.path().join("a.tif"), false).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(made);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn an_existing_file_is_replaced_by_force_only_even_when_it_came_late() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.tif");
        let (late, file) = PartialFile::create(&target, false).unwrap();
        std::fs::write(&target, b"mine").unwrap();
        assert!(matches!(late.commit(file), Err(PyramidError::Exists { .. })));
        assert!(matches!(
            PartialFile::create(&target, false),
            Err(PyramidError::Exists { .. })
        ));
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
        let (partial, file) = PartialFile::create(&target, true).unwrap();
        partial.commit(file).unwrap();
        assert_eq!(names(folder.path()), ["a.tif"]);
        assert!(std::fs::read(&target).unwrap().is_empty());
    }
}
