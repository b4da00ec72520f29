//! What a stored value looks like: sealed to its key, so that nothing foreign, torn or old is served.
//!
//! `iiphost` and a version byte, the mark of the last purge of the image (16 bytes), SHA-256 over key, mark
//! and content (32 bytes), the content. This guards against accidents: other programs with the same keys,
//! other versions, bytes that changed. Whoever can write to memcached on purpose can also compute a sum; so
//! it must stand where only the servers reach it.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// First bytes of every value. The last one is the version of what follows.
const MAGIC: &[u8; 8] = b"iiphost\x01";

const HEADER_LEN: usize = MAGIC.len() + 16 + 32;

/// What a purge leaves: pictures made under another mark are not used any more. Zero = never purged.
pub(super) type Mark = [u8; 16];

/// The bytes to store for a key.
pub(super) fn seal(key: &str, mark: &Mark, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_LEN + content.len());
    value.extend_from_slice(MAGIC);
    value.extend_from_slice(mark);
    value.extend_from_slice(&sum(key, mark, content));
    value.extend_from_slice(content);
    value
}

/// The content of a stored value; `None` if it is not what was stored under this key and mark.
pub(super) fn open(key: &str, mark: &Mark, value: &Bytes) -> Option<Bytes> {
    let rest = value.strip_prefix(MAGIC)?.strip_prefix(mark)?;
    let (found, content) = rest.split_at_checked(32)?;
    (found == sum(key, mark, content)).then(|| value.slice(HEADER_LEN..))
}

fn sum(key: &str, mark: &Mark, content: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update((key.len() as u64).to_le_bytes())
        .chain_update(key)
        .chain_update(mark)
        .chain_update(content)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = [7; 16];

    #[test]
    fn a_value_opens_with_its_own_key_and_mark_alone() {
        let value = Bytes::from(seal("key", &MARK, b"content"));
        assert_eq!(open("key", &MARK, &value).as_deref(), Some(&b"content"[..]));
        assert_eq!(open("yek", &MARK, &value), None);
        assert_eq!(open("key", &[0; 16], &value), None);
    }

    #[test]
    fn a_changed_or_cut_value_does_not_open() {
        let value = seal("key", &MARK, b"content");
        for place in 0..value.len() {
            let mut changed = value.clone();
            changed[place] ^= 1;
            assert_eq!(open("key", &MARK, &changed.into()), None, "byte {place}");
            assert_eq!(
                open("key", &MARK, &value[..place].to_vec().into()),
                None,
                "cut at {place}"
            );
        }
        let longer = [&value[..], b"x"].concat();
        assert_eq!(open("key", &MARK, &longer.into()), None);
    }
}
