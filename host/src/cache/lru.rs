//! A least-recently-used cache bounded by bytes, in shards.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lru::LruCache;
use parking_lot::Mutex;

/// A value with a size.
pub trait Weighted {
    /// Bytes of memory the value takes besides its own struct.
    fn weight(&self) -> usize;
}

/// What an entry costs besides key and value: map slot, links, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 160;

/// Readers of different keys rarely meet in one of so many shards.
const SHARDS: usize = 16;

type Shard<V> = Mutex<LruCache<Box<[u8]>, Entry<V>, RandomState>>;

struct Entry<V> {
    value: V,
    /// Reading of the clock at the last use: tells the oldest of all shards.
    used: u64,
}

/// A cache from bytes to cheap-to-clone values, holding at most a number of bytes.
///
/// A look-up takes one short lock of one shard. Inserting evicts the least recently used entries of all
/// shards until the bound holds again.
pub struct ByteLru<V> {
    shards: Vec<Shard<V>>,
    hasher: RandomState,
    bytes: AtomicUsize,
    max_bytes: usize,
    clock: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl<V: Clone + Weighted> ByteLru<V> {
    /// A cache of at most `max_bytes`; 0 keeps nothing.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(LruCache::unbounded_with_hasher(RandomState::new())))
                .collect(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            clock: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The value of a key, which becomes the most recently used.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<V> {
        let now = self.tick();
        let found = self.shard(key).lock().get_mut(key).map(|entry| {
            entry.used = now;
            entry.value.clone()
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Stores a value; one larger than the whole cache is not kept.
    pub fn insert(&self, key: &[u8], value: V) {
        let weight = cost(key, &value);
        if weight > self.max_bytes {
            return;
        }
        let entry = Entry {
            value,
            used: self.tick(),
        };
        // Counted before it can be found: whoever evicts it must not take away what is not there yet.
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let replaced = self.shard(key).lock().put(key.into(), entry);
        if let Some(old) = replaced {
            self.forget(key, &old);
        }
        self.shrink_to(self.max_bytes);
    }

    /// Drops one entry.
    pub fn remove(&self, key: &[u8]) {
        let removed = self.shard(key).lock().pop(key);
        if let Some(entry) = removed {
            self.forget(key, &entry);
        }
    }

    /// Drops the least recently used entries until at most `bytes` are held.
    pub fn shrink_to(&self, bytes: usize) {
        while self.bytes() > bytes && self.evict_oldest() {}
    }

    /// Drops the entries whose keys are `unwanted`; gives their number. Looks at every entry.
    pub fn remove_where(&self, unwanted: impl Fn(&[u8]) -> bool) -> usize {
        let mut removed = 0;
        for shard in &self.shards {
            let mut shard = shard.lock();
            let keys: Vec<_> = shard
                .iter()
                .map(|(key, _)| key)
                .filter(|key| unwanted(key))
                .cloned()
                .collect();
            for key in keys {
                if let Some(entry) = shard.pop(&key) {
                    self.forget(&key, &entry);
                    removed += 1;
                }
            }
        }
        removed
    }

    /// Drops everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            while let Some((key, entry)) = shard.pop_lru() {
                self.forget(&key, &entry);
            }
        }
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Look-ups that found something, and those that did not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
        )
    }

    /// Drops the least recently used entry of all; false if there is none.
    fn evict_oldest(&self) -> bool {
        let oldest = self
            .shards
            .iter()
            .filter_map(|shard| Some((shard.lock().peek_lru()?.1.used, shard)))
            .min_by_key(|(used, _)| *used);
        let Some((_, shard)) = oldest else {
            return false;
        };
        // Another thread may have used or dropped it since: then the next oldest of the shard goes.
        if let Some((key, entry)) = shard.lock().pop_lru() {
            self.forget(&key, &entry);
        }
        true
    }

    fn forget(&self, key: &[u8], entry: &Entry<V>) {
        self.bytes.fetch_sub(cost(key, &entry.value), Ordering::Relaxed);
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn shard(&self, key: &[u8]) -> &Shard<V> {
        // The remainder is below the number of shards.
        &self.shards[(self.hasher.hash_one(key) % SHARDS as u64) as usize]
    }
}

impl<V> std::fmt::Debug for ByteLru<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteLru")
            .field("bytes", &self.bytes)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

fn cost<V: Weighted>(key: &[u8], value: &V) -> usize {
    key.len() + value.weight() + size_of::<Entry<V>>() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Weighted for Vec<u8> {
        fn weight(&self) -> usize {
            self.capacity()
        }
    }

    #[test]
    fn the_oldest_entries_go_first_and_a_look_up_makes_young() {
        // One entry of 1,000 bytes costs less than 1,300: three fit, four do not.
        let cache = ByteLru::new(3 * 1300);
        for key in 0..3u8 {
            cache.insert(&[key], vec![key; 1000]);
        }
        assert!(cache.get(&[0]).is_some());
        for key in 3..40u8 {
            cache.insert(&[key], vec![key; 1000]);
            assert!(cache.bytes() <= 3 * 1300);
            assert_eq!(cache.get(&[key]).unwrap(), vec![key; 1000]);
        }
        assert!(cache.get(&[1]).is_none());
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing_and_a_value_too_large_is_not_kept() {
        let none = ByteLru::new(0);
        none.insert(b"a", vec![1u8]);
        assert!(none.get(b"a").is_none());
        let small = ByteLru::new(2000);
        small.insert(b"a", vec![0u8; 100]);
        small.insert(b"b", vec![0u8; 5000]);
        assert!(small.get(b"a").is_some() && small.get(b"b").is_none());
        small.insert(b"c", vec![0u8; 100]);
        small.remove(b"c");
        assert!(small.get(b"a").is_some() && small.get(b"c").is_none());
        small.shrink_to(100);
        assert!(small.get(b"a").is_none());
        small.insert(b"a", vec![0u8; 100]);
        small.clear();
        assert_eq!(small.bytes(), 0);
    }

    #[test]
    fn entries_can_be_taken_out_by_their_keys() {
        let cache = ByteLru::new(1 << 20);
        for key in [b"a1", b"a2", b"b1"] {
            cache.insert(key, vec![0; 10]);
        }
        assert_eq!(cache.remove_where(|key| key.starts_with(b"a")), 2);
        assert!(cache.get(b"a1").is_none() && cache.get(b"b1").is_some());
        assert_eq!(cache.remove_where(|_| true), 1);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn bytes_are_never_taken_away_before_they_are_counted() {
        // One entry fits: nearly every insertion evicts the entry another thread has just put.
        let cache = ByteLru::new(1300);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let cache = &cache;
                scope.spawn(move || {
                    for n in 0..20_000u32 {
                        cache.insert(&(n * 4 + thread).to_le_bytes(), vec![0; 1000]);
                        let bytes = cache.bytes();
                        assert!(bytes <= 5 * 1300, "{bytes}");
                    }
                });
            }
        });
        assert!(cache.bytes() <= 1300);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_entries_are_never_mixed_up(ops in prop::collection::vec((0u8..50, 0usize..3000), 1..200)) {
            let cache = ByteLru::new(20_000);
            for (key, len) in ops {
                cache.insert(&[key], vec![key; len]);
                prop_assert!(cache.bytes() <= 20_000);
                if let Some(value) = cache.get(&[key]) {
                    prop_assert!(value.iter().all(|&b| b == key));
                }
            }
        }
    }
}
