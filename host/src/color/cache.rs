//! Transforms kept for the next picture.

use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{Bands, Transform};

/// Transforms kept at most. One of a press profile takes about a megabyte.
const MAX_TRANSFORMS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// Profiles of open images whose transform is known without hashing them again.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// What a profile came to: no transform if it cannot be used.
type Found = Option<Arc<Transform>>;

/// Transforms to sRGB by profile.
#[derive(Debug)]
pub struct Transforms {
    by_content: Mutex<LruCache<([u8; 32], Bands), Found>>,
    by_address: ByAddress<Found>,
    sound: ByAddress<bool>,
}

impl Default for Transforms {
    fn default() -> Self {
        Self {
            by_content: Mutex::new(LruCache::new(MAX_TRANSFORMS)),
            by_address: ByAddress::default(),
            sound: ByAddress::default(),
        }
    }
}

/// What is known of the profiles of open images, by their address in memory: no hashing. The weak count keeps
/// an address from being given to another profile.
#[derive(Debug)]
struct ByAddress<T>(Mutex<LruCache<Address, Known<T>>>);

/// What is known of a profile.
#[derive(Debug)]
struct Known<T> {
    profile: Weak<[u8]>,
    value: T,
}

/// Address of a profile, and the bands of the picture it is for.
type Address = (usize, Bands);

impl<T> Default for ByAddress<T> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KNOWN)))
    }
}

impl<T: Clone> ByAddress<T> {
    fn get_or(&self, icc: &Arc<[u8]>, bands: Bands, find: impl FnOnce() -> T) -> T {
        let address = (icc.as_ptr().addr(), bands);
        if let Some(known) = self.0.lock().get(&address)
            && known.profile.upgrade().is_some_and(|p| Arc::ptr_eq(&p, icc))
        {
            return known.value.clone();
        }
        let value = find();
        let known = Known {
            profile: Arc::downgrade(icc),
            value: value.clone(),
        };
        self.0.lock().put(address, known);
        value
    }
}

impl Transforms {
    /// The transform of a profile; `None`, and a warning the first time, if it cannot be used for a picture
    /// of these bands.
    #[must_use]
    pub fn to_srgb(&self, icc: &Arc<[u8]>, bands: Bands) -> Found {
        self.by_address.get_or(icc, bands, || self.by_content(icc, bands))
    }

    /// Whether a profile can be embedded in a picture of these bands; if not, a warning says why, once.
    #[must_use]
    pub fn is_sound(&self, icc: &Arc<[u8]>, bands: Bands) -> bool {
        self.sound.get_or(icc, bands, || {
            super::check(icc, bands.count() as u32)
                .map_err(|reason| tracing::warn!("color profile left out: {reason}"))
                .is_ok()
        })
    }

    fn by_content(&self, icc: &[u8], bands: Bands) -> Found {
        let key = (Sha256::digest(icc).into(), bands);
        if let Some(found) = self.by_content.lock().get(&key) {
            return found.clone();
        }
        // Without the lock: two pictures may build the same transform, none waits for another profile's.
        let found = Transform::to_srgb(icc, bands)
            .map_err(|error| tracing::warn!("color profile not used: {error}"))
            .ok()
            .map(Arc::new);
        self.by_content.lock().put(key, found.clone());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_one_transform_wherever_it_is_in_memory() {
        let transforms = Transforms::default();
        let icc: Arc<[u8]> = moxcms::ColorProfile::new_display_p3().encode().unwrap().into();
        let copy: Arc<[u8]> = icc.to_vec().into();
        let first = transforms.to_srgb(&icc, Bands::Rgb).unwrap();
        assert!(Arc::ptr_eq(
            &first,
            &transforms.to_srgb(&icc, Bands::Rgb).unwrap()
        ));
        assert!(Arc::ptr_eq(
            &first,
            &transforms.to_srgb(&copy, Bands::Rgb).unwrap()
        ));
        assert!(transforms.to_srgb(&icc, Bands::Cmyk).is_none());
        assert!(transforms.to_srgb(&icc, Bands::Grey).is_none());
    }

    #[test]
    fn broken_profiles_have_none() {
        let transforms = Transforms::default();
        let mut cut = moxcms::ColorProfile::new_display_p3().encode().unwrap();
        cut.truncate(200);
        for broken in [Vec::new(), vec![0xff; 500], cut] {
            assert!(transforms.to_srgb(&broken.into(), Bands::Rgb).is_none());
        }
    }
}
