//! Sizes of the levels.

use crate::limits::Size;

/// Sizes from the full one down, halved with floor (at least 1) until both sides fit one tile. Floor is
/// what IIP clients compute for themselves: level k is `⌊W/2^k⌋` wide.
#[must_use]
pub fn level_sizes(full: Size, tile_size: u32) -> Vec<Size> {
    let mut sizes = vec![full];
    let mut size = full;
    while size.longer() > tile_size.max(1) {
        size = Size::new((size.width / 2).max(1), (size.height / 2).max(1));
        sizes.push(size);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_sizes_are_rounded_down_until_both_sides_fit_a_tile() {
        let sizes = level_sizes(Size::new(1001, 515), 256);
        let expected = [(1001, 515), (500, 257), (250, 128)].map(|(w, h)| Size::new(w, h));
        assert_eq!(sizes, expected);
        assert_eq!(level_sizes(Size::new(256, 256), 256).len(), 1);
        assert_eq!(level_sizes(Size::new(1, 1000), 256)[2], Size::new(1, 250));
    }

    proptest! {
        #[test]
        fn level_k_is_the_full_size_shifted_by_k(width: u32, height in 1_u32.., k in 0_usize..32) {
            let full = Size::new(width.max(1), height);
            let sizes = level_sizes(full, 256);
            prop_assert!(sizes.last().is_some_and(|s| s.longer() <= 256));
            if let Some(size) = sizes.get(k) {
                prop_assert_eq!(*size, Size::new((full.width >> k).max(1), (full.height >> k).max(1)));
            }
        }
    }
}
