//! Finished things kept for the next request, and work done once for all who wait for it.
//!
//! The cache sees keys and values with a size in bytes; what a key holds is decided by its makers. Equal
//! keys mean equal bytes, so an entry is never wrong, only unused.

mod flight;
mod lru;
mod memcached;

pub use flight::{Flights, Ticket, Waiter};
pub use lru::{ByteLru, Weighted};
pub use memcached::{
    BadAddress, Fetched, Lease, Memcached, MemcachedCounts, MemcachedSettings, PictureKey, ServerAddress,
};
