//! How many connections there may be.
//!
//! Up to the limit, connections are served. A few more are accepted too, and told 503 with `Retry-After`,
//! which is better than silence. Beyond those, connections wait unaccepted in the system's queue.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections, shared by all listeners and I/O threads.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    /// All places, free or not.
    total: usize,
    /// Places beyond the limit, for refusals.
    refusals: usize,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    /// Given back on drop.
    _permit: OwnedSemaphorePermit,
    /// The connection is beyond the limit: its requests are refused.
    pub(super) is_refusal: bool,
}

impl Admission {
    pub(super) fn new(max_connections: usize) -> Self {
        let limit = max_connections.clamp(1, Semaphore::MAX_PERMITS / 2);
        let refusals = (limit / 8).clamp(4, 256);
        Self {
            places: Arc::new(Semaphore::new(limit + refusals)),
            total: limit + refusals,
            refusals,
        }
    }

    /// Connections served at a time.
    pub(super) fn limit(&self) -> usize {
        self.total - self.refusals
    }

    /// Connections that have a place, refused ones included.
    pub(super) fn taken_places(&self) -> usize {
        self.total.saturating_sub(self.places.available_permits())
    }

    /// A place for the next connection, once there is one.
    pub(super) async fn place(&self) -> Place {
        loop {
            match Arc::clone(&self.places).acquire_owned().await {
                Ok(permit) => {
                    return Place {
                        is_refusal: self.places.available_permits() < self.refusals,
                        _permit: permit,
                    };
                }
                // The semaphore is never closed.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Raises the limit on open files as far as the system lets us, and gives the number of connections it
/// has room for: a part of the descriptors belongs to images, listeners and the log.
pub(super) fn connections_within_open_files(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!("the limit on open files stays: {error}");
            limit.current
        }
    };
    let Some(files) = current.and_then(|n| usize::try_from(n).ok()) else {
        return wanted;
    };
    let room = connections_of(files);
    if room < wanted {
        tracing::warn!("at most {room} connections instead of {wanted}: only {files} files may be open");
    }
    wanted.min(room)
}

/// Three quarters, for connections served and refused together (see [`Admission::new`]).
fn connections_of(files: usize) -> usize {
    (files / 4 * 3 * 8 / 9).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_beyond_the_limit_are_refusals_and_then_there_are_none() {
        let admission = Admission::new(2);
        let mut places = Vec::new();
        for is_refusal in [false, false, true, true, true, true] {
            let place = admission.place().await;
            assert_eq!(place.is_refusal, is_refusal);
            places.push(place);
        }
        let none = tokio::time::timeout(std::time::Duration::ZERO, admission.place()).await;
        assert!(none.is_err());
        places.clear();
        assert!(!admission.place().await.is_refusal);
    }

    #[test]
    fn connections_leave_files_for_images() {
        let total = |files| connections_of(files) + (connections_of(files) / 8).clamp(4, 256);
        for files in [64, 256, 1024, 65_536] {
            assert!(total(files) <= files * 4 / 5, "{files}");
        }
    }
}
