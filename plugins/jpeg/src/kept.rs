//! Values that open pictures keep, within a number of bytes for all of them together.
//!
//! A host keeps a thousand pictures open. What one of them has made once to answer fast stays as long as there is
//! room; then the values that were used longest ago are forgotten, and made again when they are needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iiphost_plugin_api::{CallContext, DecodeError};

use crate::once::Once;

/// The room for what is kept.
pub(crate) struct Room {
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: u64,
    /// Counts uses: the value with the smallest number was used longest ago.
    uses: u64,
    last_key: u64,
    values: HashMap<u64, Known>,
}

struct Known {
    bytes: u64,
    used: u64,
    value: Weak<dyn Forget>,
}

/// A value that can be made again.
trait Forget: Send + Sync {
    fn forget(&self);
}

impl<T: Send + Sync> Forget for Once<T> {
    fn forget(&self) {
        Once::forget(self);
    }
}

impl Room {
    /// Room for `max_bytes`. A value that is larger is kept too, alone.
    pub(crate) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the use of a value and, if it is new, forgets others to make room for it.
    fn used(&self, key: u64, bytes: u64, value: impl FnOnce() -> Weak<dyn Forget>) {
        let mut state = self.lock();
        state.uses += 1;
        let used = state.uses;
        if let Some(known) = state.values.get_mut(&key) {
            known.used = used;
            return;
        }
        let value = value();
        state.values.insert(key, Known { bytes, used, value });
        state.bytes += bytes;
        let mut forgotten = Vec::new();
        while state.bytes > self.max_bytes && state.values.len() > 1 {
            let oldest = state.values.iter().min_by_key(|(_, known)| known.used);
            let Some(oldest) = oldest.map(|(&key, _)| key) else {
                break;
            };
            forgotten.extend(state.remove(oldest));
        }
        drop(state);
        for value in forgotten {
            value.forget();
        }
    }
}

impl State {
    /// Takes a value out; gives it if it is still there.
    fn remove(&mut self, key: u64) -> Option<Arc<dyn Forget>> {
        let known = self.values.remove(&key)?;
        self.bytes -= known.bytes;
        known.value.upgrade()
    }
}

/// A value made by the first call that needs it, and kept while there is room.
pub(crate) struct Kept<T> {
    room: Arc<Room>,
    key: u64,
    once: Arc<Once<T>>,
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// A value that is not made yet.
    pub(crate) fn new(room: &Arc<Room>) -> Self {
        let mut state = room.lock();
        state.last_key += 1;
        Self {
            room: Arc::clone(room),
            key: state.last_key,
            once: Arc::default(),
        }
    }

    /// Whether it is made.
    pub(crate) fn is_made(&self) -> bool {
        self.once.get().is_some()
    }

    /// The value and, by `bytes`, the memory it takes; by `make` if it is not there, as [`Once::get_or_make`].
    ///
    /// # Errors
    /// As [`Once::get_or_make`].
    pub(crate) fn get_or_make(
        &self,
        ctx: &CallContext<'_>,
        bytes: impl FnOnce(&T) -> u64,
        make: impl FnOnce() -> Result<T, DecodeError>,
    ) -> Result<Arc<T>, DecodeError> {
        let value = self.once.get_or_make(ctx, make)?;
        self.room.used(self.key, bytes(&value), || {
            let once: Weak<Once<T>> = Arc::downgrade(&self.once);
            once
        });
        Ok(value)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.room.lock().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_file::with_ctx;

    /// Gives the value, and whether it had to be made.
    fn get(kept: &Kept<Vec<u8>>, len: usize) -> bool {
        let mut made = false;
        let value = with_ctx(|ctx| {
            kept.get_or_make(
                ctx,
                |value| value.len() as u64,
                || {
                    made = true;
                    Ok(vec![7; len])
                },
            )
        });
        assert_eq!(value.unwrap().len(), len);
        made
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let room = Room::new(100);
        let [a, b, c] = [(); 3].map(|()| Kept::new(&room));
        assert!(get(&a, 40) && get(&b, 40));
        assert!(!get(&a, 40) && !get(&b, 40) && !get(&a, 40));
        assert!(get(&c, 30));
        assert!(a.is_made() && !b.is_made() && c.is_made());
        assert_eq!(room.lock().bytes, 70);
        drop(a);
        assert_eq!(room.lock().bytes, 30);
        assert!(get(&b, 40) && !get(&c, 30));
    }

    #[test]
    fn a_value_larger_than_the_room_stays_alone() {
        let room = Room::new(100);
        let [a, b] = [(); 2].map(|()| Kept::new(&room));
        assert!(get(&a, 40) && get(&b, 200));
        assert!(!a.is_made() && !get(&b, 200));
        assert!(get(&a, 40));
        assert!(!b.is_made());
        assert_eq!(room.lock().bytes, 40);
    }
}
