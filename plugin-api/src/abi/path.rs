//! Paths as bytes.

use std::path::PathBuf;

/// The bytes the operating system has for a path; `None` where they cannot be told.
#[cfg(any(feature = "host", test))]
pub(crate) fn to_bytes(path: &std::path::Path) -> Option<Vec<u8>> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Some(path.as_os_str().as_bytes().to_vec())
    }
    #[cfg(not(unix))]
    {
        path.to_str().map(|text| text.as_bytes().to_vec())
    }
}

/// The other way round.
pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        Some(std::ffi::OsString::from_vec(bytes).into())
    }
    #[cfg(not(unix))]
    {
        String::from_utf8(bytes).ok().map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_path_need_not_be_utf8() {
        let bytes = b"/a/\xff\xfe.tif".to_vec();
        let path = from_bytes(bytes.clone()).unwrap();
        assert_eq!(to_bytes(&path), Some(bytes));
    }
}
