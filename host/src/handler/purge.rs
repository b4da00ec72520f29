//! Forgetting one image.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Handler;
use crate::error::Error;
use crate::source::Sequence;

/// What a purge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Images closed: one, or several of a sequence.
    pub closed: usize,
    /// Pictures dropped from memory.
    pub pictures: usize,
    /// memcached servers that did not answer: what they hold of the image may be served again.
    pub unreached: Vec<String>,
}

impl Handler {
    /// Forgets everything about one image, here and in memcached. May wait for memcached: not for I/O
    /// threads. Other servers keep what they have in memory until they are told, too.
    ///
    /// # Errors
    /// An identifier that could name no image.
    pub fn purge(&self, identifier: &[u8]) -> Result<Purged, Error> {
        let root = self.handles.root();
        let mut paths: BTreeSet<PathBuf> = [root.file_path(identifier)?].into();
        let base = root.base_path(identifier)?;
        let pattern = self.config.filename_pattern.as_bytes();
        // A folder that cannot be read has no members to forget.
        if let Ok(Some(sequence)) = Sequence::find(root, &base, pattern) {
            paths.extend(sequence.members().iter().map(|member| member.path.clone()));
        }
        let closed = self
            .handles
            .close_where(|image| paths.contains(&image.path) || image.identifier == identifier);
        let closed_count = closed.len();
        paths.extend(closed);
        self.sequences.clear();
        self.listing.clear();
        let starts: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| super::picture::path_key(path.as_os_str().as_bytes()))
            .collect();
        let is_of_image = |key: &[u8]| starts.iter().any(|start| key.starts_with(start));
        let pictures = self.pictures.remove_where(is_of_image);
        self.statistics.remove_where(is_of_image);
        let unreached = match &self.memcached {
            Some(memcached) => memcached
                .purge(&self.shared_name(identifier))
                .err()
                .unwrap_or_default(),
            None => Vec::new(),
        };
        Ok(Purged {
            closed: closed_count,
            pictures,
            unreached: unreached.iter().map(ToString::to_string).collect(),
        })
    }
}
