//! Decoded strips, kept for the neighbors of a region.
//!
//! A strip spans the whole width of an image. A viewer asks for it in pieces of 256 pixels, so without a
//! cache every strip would be decoded once per column of tiles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iiphost_plugin_api::DecodeError;

/// What is kept. The image comes first, then its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Delivered samples of the rows from this one on.
    Rows(u64, u64, u32),
    /// A plane of a row of strips as it is stored.
    Stored(u64, u64, u32, u16),
}

impl Key {
    fn image(self) -> u64 {
        match self {
            Self::Rows(image, ..) | Self::Stored(image, ..) => image,
        }
    }
}

type Slot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// A single strip is kept up to so many times the size of the cache, alone: decoding it anew for every tile
/// would cost more than anything else a request can ask for.
const LONE: usize = 8;

/// Decoded strips of all open images, bounded by bytes, least recently used out first.
pub(crate) struct StripCache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Strip>,
    bytes: usize,
    clock: u64,
}

struct Strip {
    slot: Slot,
    bytes: usize,
    last_use: u64,
}

impl StripCache {
    /// An empty cache for `max_bytes` of samples.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            kept: Mutex::default(),
        }
    }

    /// The strip `key`, by `decode` if it is not kept. Calls for one strip wait for the first of them;
    /// calls for different strips do not wait for each other.
    pub(crate) fn get(
        &self,
        key: Key,
        decode: impl FnOnce() -> Result<Vec<u8>, DecodeError>,
    ) -> Result<Arc<Vec<u8>>, DecodeError> {
        let slot = self.slot(key);
        let mut strip = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(strip) = strip.as_ref() {
            return Ok(Arc::clone(strip));
        }
        match decode() {
            Ok(bytes) => {
                let bytes = Arc::new(bytes);
                *strip = Some(Arc::clone(&bytes));
                self.account(key, &slot, bytes.len());
                Ok(bytes)
            }
            Err(error) => {
                self.lock().remove(&key, &slot);
                Err(error)
            }
        }
    }

    /// Forgets the strips of one image.
    pub(crate) fn forget(&self, image: u64) {
        let mut kept = self.lock();
        let mut freed = 0;
        kept.slots.retain(|key, strip| {
            let keep = key.image() != image;
            freed += if keep { 0 } else { strip.bytes };
            keep
        });
        kept.bytes -= freed;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut kept = self.lock();
        kept.clock += 1;
        let clock = kept.clock;
        let strip = kept.slots.entry(key).or_insert_with(|| Strip {
            slot: Slot::default(),
            bytes: 0,
            last_use: clock,
        });
        strip.last_use = clock;
        Arc::clone(&strip.slot)
    }

    /// Counts a strip that was decoded, and makes room for it.
    fn account(&self, key: Key, slot: &Slot, bytes: usize) {
        let mut kept = self.lock();
        match kept.slots.get_mut(&key) {
            Some(strip) if Arc::ptr_eq(&strip.slot, slot) => strip.bytes = bytes,
            // Forgotten in between: the image was closed.
            _ => return,
        }
        kept.bytes += bytes;
        let most_alone = self.max_bytes.saturating_mul(LONE);
        while kept.bytes > self.max_bytes {
            let count = kept.slots.values().filter(|strip| strip.bytes > 0).count();
            if count == 1 && kept.bytes <= most_alone {
                break;
            }
            let oldest = kept
                .slots
                .iter()
                .filter(|(_, strip)| strip.bytes > 0)
                .min_by_key(|(_, strip)| strip.last_use)
                .map(|(key, strip)| (*key, Arc::clone(&strip.slot)));
            match oldest {
                Some((key, slot)) => kept.remove(&key, &slot),
                None => break,
            }
        }
    }
}

impl Kept {
    fn remove(&mut self, key: &Key, slot: &Slot) {
        if self
            .slots
            .get(key)
            .is_some_and(|strip| Arc::ptr_eq(&strip.slot, slot))
            && let Some(strip) = self.slots.remove(key)
        {
            self.bytes -= strip.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_is_decoded_once_while_it_fits() {
        let cache = StripCache::new(100);
        let fill = |value: u8| move || Ok(vec![value; 40]);
        assert_eq!(cache.get(Key::Rows(1, 8, 0), fill(1)).unwrap()[0], 1);
        assert_eq!(cache.get(Key::Rows(1, 8, 0), || unreachable!()).unwrap()[0], 1);
        assert_eq!(cache.get(Key::Rows(1, 8, 1), fill(2)).unwrap()[0], 2);
        cache.get(Key::Rows(1, 8, 0), || unreachable!()).unwrap();
        // The third makes the second one leave, the least recently used.
        cache.get(Key::Rows(2, 8, 0), fill(3)).unwrap();
        assert_eq!(cache.lock().bytes, 80);
        assert_eq!(cache.get(Key::Rows(1, 8, 1), fill(9)).unwrap()[0], 9);
        cache.forget(1);
        cache.forget(2);
        let kept = cache.lock();
        assert_eq!((kept.bytes, kept.slots.len()), (0, 0));
    }

    #[test]
    fn a_strip_larger_than_the_cache_is_kept_alone_and_leaves_for_any_other() {
        let cache = StripCache::new(10);
        cache.get(Key::Rows(1, 8, 0), || Ok(vec![5; 10])).unwrap();
        cache.get(Key::Rows(1, 8, 1), || Ok(vec![6; 80])).unwrap();
        assert_eq!(
            cache.get(Key::Rows(1, 8, 1), || unreachable!()).unwrap().len(),
            80
        );
        let kept = || {
            let kept = cache.lock();
            (kept.slots.len(), kept.bytes)
        };
        assert_eq!(kept(), (1, 80));
        // What was made of it is not worth losing it.
        let of_it = || {
            cache.get(Key::Rows(1, 8, 1), || unreachable!())?;
            Ok(vec![8; 3])
        };
        cache.get(Key::Rows(1, 8, 2), of_it).unwrap();
        assert_eq!(kept(), (1, 80));
        cache.get(Key::Rows(2, 8, 0), || Ok(vec![7; 2])).unwrap();
        assert_eq!(kept(), (1, 2));
    }

    #[test]
    fn a_strip_much_larger_than_the_cache_is_given_but_not_kept_and_an_error_is_not_kept() {
        let cache = StripCache::new(10);
        assert_eq!(
            cache.get(Key::Rows(1, 8, 0), || Ok(vec![5; 81])).unwrap().len(),
            81
        );
        assert_eq!(cache.lock().slots.len(), 0);
        assert!(
            cache
                .get(Key::Rows(1, 8, 0), || Err(DecodeError::format("broken")))
                .is_err()
        );
        assert_eq!(cache.get(Key::Rows(1, 8, 0), || Ok(vec![6; 3])).unwrap()[0], 6);
    }
}
