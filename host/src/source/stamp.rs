//! What tells one state of a file from another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Modification time, size and inode of a file: equal stamps, equal pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Modification time in seconds since the epoch; negative before it.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
    /// Size in bytes.
    pub len: u64,
    /// Inode and device. Not part of keys that leave this process: copies on other machines differ.
    pub inode: (u64, u64),
}

impl Stamp {
    /// The stamp of an open file or path.
    #[must_use]
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            len: u64::try_from(stat.st_size).unwrap_or(0),
            inode: (stat.st_ino, stat.st_dev),
        }
    }

    /// The modification time.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let nanoseconds = Duration::from_nanos(u64::from(self.nanoseconds));
        let seconds = Duration::from_secs(self.seconds.unsigned_abs());
        let time = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(seconds)
        } else {
            UNIX_EPOCH.checked_add(seconds)
        };
        time.and_then(|t| t.checked_add(nanoseconds))
            .unwrap_or(UNIX_EPOCH)
    }

    /// Appends the parts that mean the same on every machine: time and size.
    pub fn write_shared_key(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.seconds.to_le_bytes());
        key.extend_from_slice(&self.nanoseconds.to_le_bytes());
        key.extend_from_slice(&self.len.to_le_bytes());
    }
}
