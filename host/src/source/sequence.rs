//! Image sequences: one file a view, named `<identifier><pattern><horizontal>_<vertical>.<extension>`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::root::Root;

/// One file of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceMember {
    /// Horizontal angle.
    pub horizontal: i64,
    /// Vertical angle.
    pub vertical: i64,
    /// Path below the root.
    pub path: PathBuf,
}

/// The files of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    members: Vec<SequenceMember>,
}

impl Sequence {
    /// Finds the sequence of a path below the root ([`Root::base_path`]); `None` unless exactly one file is its first view, 000_090.
    ///
    /// The folder is listed and names are compared as text: no character of an identifier is a wildcard.
    ///
    /// # Errors
    /// Failures of the system, for the log.
    pub fn find(root: &Root, base: &Path, pattern: &[u8]) -> Result<Option<Self>, Errno> {
        let folder = base.parent().map(PathBuf::from).unwrap_or_default();
        let Some(stem) = base.file_name() else {
            return Ok(None);
        };
        let start = [stem.as_bytes(), pattern].concat();
        let names = root.list(&folder)?;
        let mut parsed: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = names
            .into_iter()
            .filter_map(|name| {
                let (horizontal, vertical, extension) = view_of(name.strip_prefix(start.as_slice())?)?;
                let extension = extension.to_ascii_lowercase();
                Some((horizontal, vertical, extension, name))
            })
            .collect();
        let mut first = parsed.iter().filter(|(h, v, ..)| (*h, *v) == (0, 90));
        let (Some((_, _, extension, _)), None) = (first.next(), first.next()) else {
            return Ok(None);
        };
        let extension = extension.clone();
        parsed.retain(|(_, _, e, _)| *e == extension);
        parsed.sort();
        let members = parsed
            .into_iter()
            .map(|(horizontal, vertical, _, name)| SequenceMember {
                horizontal,
                vertical,
                path: folder.join(OsString::from_vec(name)),
            })
            .collect();
        Ok(Some(Self { members }))
    }

    /// The names before the pattern of all first views, 000_090, in a folder: no other identifier in it is a
    /// sequence.
    ///
    /// # Errors
    /// Failures of the system, for the log.
    pub fn names_in(root: &Root, folder: &Path, pattern: &[u8]) -> Result<HashSet<Vec<u8>>, Errno> {
        let mut found = HashSet::new();
        for name in root.list(folder)? {
            // The pattern may be part of a name, too.
            for start in 0..name.len() {
                let (stem, rest) = name.split_at(start);
                let view = rest.strip_prefix(pattern).and_then(view_of);
                if matches!(view, Some((0, 90, _))) {
                    found.insert(stem.to_vec());
                }
            }
        }
        Ok(found)
    }

    /// All members, by their angles.
    #[must_use]
    pub fn members(&self) -> &[SequenceMember] {
        &self.members
    }

    /// The member at a pair of angles.
    #[must_use]
    pub fn member(&self, horizontal: i64, vertical: i64) -> Option<&SequenceMember> {
        self.members
            .iter()
            .find(|m| (m.horizontal, m.vertical) == (horizontal, vertical))
    }

    /// Horizontal angles at the vertical angle 90, ascending.
    #[must_use]
    pub fn horizontal_views(&self) -> Vec<i64> {
        self.members
            .iter()
            .filter(|m| m.vertical == 90)
            .map(|m| m.horizontal)
            .collect()
    }

    /// Vertical angles at the horizontal angle 0, ascending.
    #[must_use]
    pub fn vertical_views(&self) -> Vec<i64> {
        self.members
            .iter()
            .filter(|m| m.horizontal == 0)
            .map(|m| m.vertical)
            .collect()
    }
}

/// Angles and extension of `<digits>_<digits>.<extension>`; both numbers have three digits or more.
fn view_of(rest: &[u8]) -> Option<(i64, i64, &[u8])> {
    let dot = rest.iter().position(|&b| b == b'.')?;
    let (angles, extension) = (&rest[..dot], &rest[dot + 1..]);
    let bar = angles.iter().rposition(|&b| b == b'_')?;
    let number = |digits: &[u8]| {
        let plain = (3..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        plain.then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    };
    let known = !extension.is_empty() && !extension.contains(&b'.');
    known.then_some(())?;
    Some((number(&angles[..bar])?, number(&angles[bar + 1..])?, extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> (tempfile::TempDir, Root) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("seq")).unwrap();
        for name in names {
            std::fs::write(temp.path().join("seq").join(name), b"x").unwrap();
        }
        let root = Root::new(temp.path()).unwrap();
        (temp, root)
    }

    fn find(root: &Root, identifier: &str) -> Option<Sequence> {
        let base = root.base_path(identifier.as_bytes()).unwrap();
        Sequence::find(root, &base, b"_pyr_").unwrap()
    }

    #[test]
    fn views_are_read_from_the_names() {
        let (_temp, root) = folder(&[
            "obj_pyr_000_090.tif",
            "obj_pyr_045_090.tif",
            "obj_pyr_1000_090.TIF",
            "obj_pyr_000_120.tif",
            "obj_pyr_12_090.tif",
            "obj_pyr_000_090.txt.bak",
            "object_pyr_090_090.tif",
        ]);
        let sequence = find(&root, "seq/obj").unwrap();
        assert_eq!(sequence.horizontal_views(), [0, 45, 1000]);
        assert_eq!(sequence.vertical_views(), [90, 120]);
        assert_eq!(
            sequence.member(45, 90).unwrap().path,
            PathBuf::from("seq/obj_pyr_045_090.tif")
        );
        assert!(sequence.member(45, 120).is_none());
    }

    #[test]
    fn names_of_sequences_are_those_that_can_be_found() {
        let (_temp, root) = folder(&[
            "a_pyr_000_090.tif",
            "a_pyr_045_090.tif",
            "b_pyr_c_pyr_000_090.jp2",
            "d_pyr_010_090.tif",
            "plain.tif",
            "_pyr_000_090.tif",
        ]);
        let names = Sequence::names_in(&root, Path::new("seq"), b"_pyr_").unwrap();
        let mut names: Vec<_> = names
            .iter()
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["", "a", "b_pyr_c"]);
        for name in ["a", "b_pyr_c"] {
            assert!(find(&root, &format!("seq/{name}")).is_some(), "{name}");
        }
        for name in ["b", "d", "plain", "plain.tif"] {
            assert!(find(&root, &format!("seq/{name}")).is_none(), "{name}");
        }
    }

    #[test]
    fn two_first_views_or_none_are_no_sequence_and_stars_are_no_wildcards() {
        let (_temp, root) = folder(&["a_pyr_000_090.tif", "a_pyr_000_090.jp2", "b_pyr_010_090.tif"]);
        assert!(find(&root, "seq/a").is_none());
        assert!(find(&root, "seq/b").is_none());
        let (_temp, root) = folder(&["obj_pyr_000_090.tif"]);
        assert!(find(&root, "seq/o*j").is_none());
        assert!(find(&root, "seq/obj").is_some());
    }
}
