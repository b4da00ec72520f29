//! Which relative path an identifier means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::Error;

/// The longest identifier, in bytes: the longest path Linux opens.
const MAX_IDENTIFIER_BYTES: usize = 4096;

/// The path below the root that an identifier means: empty and `.` segments are dropped, leading
/// slashes too, so `/files/./x.tif` is `files/x.tif`.
///
/// # Errors
/// 400 for control characters and NUL, 404 for a `..` segment, an empty or an overlong identifier.
pub fn relative_path(identifier: &[u8]) -> Result<PathBuf, Error> {
    if identifier.iter().any(|&b| b < 0x20 || b == 0x7f) {
        return Err(Error::bad_request("the identifier contains control characters"));
    }
    if identifier.len() > MAX_IDENTIFIER_BYTES {
        return Err(Error::not_found("image not found"));
    }
    let mut path = PathBuf::new();
    for segment in identifier.split(|&b| b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => return Err(Error::not_found("image not found")),
            segment => path.push(OsStr::from_bytes(segment)),
        }
    }
    if path.as_os_str().is_empty() {
        return Err(Error::not_found("image not found"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_mean_nothing_are_dropped() {
        for identifier in ["a/b.tif", "/a/b.tif", "a//b.tif", "./a/./b.tif", "///a/b.tif/"] {
            assert_eq!(
                relative_path(identifier.as_bytes()).unwrap(),
                PathBuf::from("a/b.tif"),
                "{identifier}"
            );
        }
    }

    #[test]
    fn parent_segments_are_not_found_and_names_with_dots_are_names() {
        for identifier in ["..", "../x", "a/../x", "a/..", "/.."] {
            assert_eq!(
                relative_path(identifier.as_bytes()).unwrap_err().status(),
                404,
                "{identifier}"
            );
        }
        assert_eq!(relative_path(b"..a/...").unwrap(), PathBuf::from("..a/..."));
    }

    #[test]
    fn control_characters_are_a_bad_request() {
        for identifier in [&b"a\0b"[..], b"a\nb", b"\x7f"] {
            assert_eq!(relative_path(identifier).unwrap_err().status(), 400);
        }
        // File names are bytes: invalid UTF-8 is allowed.
        assert!(relative_path(b"a\xff.tif").is_ok());
    }
}
