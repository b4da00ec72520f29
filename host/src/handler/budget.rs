//! Memory for the pixels of all requests together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Error;

/// Bytes of pixels that may be held at the same time.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    limit: u64,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            limit,
        })
    }

    /// Bytes reserved now.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves memory for one request. A request that is alone always gets it: its own limit has been
    /// checked, and waiting would not make more.
    ///
    /// # Errors
    /// 503 when the others leave too little.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved, Error> {
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let wanted = used.saturating_add(bytes);
                (used == 0 || wanted <= self.limit).then_some(wanted)
            });
        match taken {
            Ok(_) => Ok(Reserved {
                budget: Arc::clone(self),
                bytes,
            }),
            Err(used) => Err(Error::Unavailable {
                reason: format!(
                    "{bytes} bytes of pixels wanted, {used} in use, MAX_RENDER_MEMORY allows {}",
                    self.limit
                ),
                retry_after: Duration::from_secs(2),
            }),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_the_limit_holds_for_all_but_the_first() {
        let budget = Budget::new(100);
        let large = budget.reserve(150).unwrap();
        assert_eq!(budget.reserve(1).unwrap_err().status(), 503);
        drop(large);
        let one = budget.reserve(60).unwrap();
        let two = budget.reserve(40).unwrap();
        assert_eq!(budget.reserve(1).unwrap_err().status(), 503);
        drop((one, two));
        assert_eq!(budget.used(), 0);
    }
}
