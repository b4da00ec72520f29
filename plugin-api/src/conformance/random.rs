//! Random numbers from a seed that people can type.

use crate::info::LevelInfo;
use crate::region::Region;

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for the `n`-th part of a work.
    pub(super) fn nth(seed: u64, n: u64) -> Self {
        Self(Self(seed ^ n.rotate_left(32)).next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder does not matter to a test.
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// A number below `end`, a side of a level.
    pub(super) fn below_side(&mut self, end: u32) -> u32 {
        // Below a u32.
        self.below(u64::from(end)) as u32
    }

    /// A rectangle inside `frame`, in the coordinates of the frame's level.
    pub(super) fn region_in(&mut self, frame: &Region) -> Region {
        let x = self.below_side(frame.width);
        let y = self.below_side(frame.height);
        let width = 1 + self.below_side(frame.width - x);
        let height = 1 + self.below_side(frame.height - y);
        Region::new(frame.x + x, frame.y + y, width, height)
    }

    /// A part of a level with sides of at most `max_side`; the whole level if it is not larger.
    pub(super) fn window(&mut self, level: &LevelInfo, max_side: u32) -> Region {
        let (width, height) = (level.width.min(max_side), level.height.min(max_side));
        // One more place than there are pixels left over; at most the side of the level.
        let place = |random: &mut Self, side: u32, part: u32| random.below(u64::from(side - part) + 1) as u32;
        let x = place(self, level.width, width);
        let y = place(self, level.height, height);
        Region::new(x, y, width, height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_lie_inside_their_frame() {
        let mut random = Random::new(1);
        let level = LevelInfo {
            width: 37,
            height: 5,
            tile_width: 8,
            tile_height: 8,
            encoded: None,
            computed: false,
        };
        for _ in 0..1000 {
            let window = random.window(&level, 10);
            assert!(window.right() <= 37 && window.bottom() <= 5);
            let region = random.region_in(&window);
            assert_eq!(region.intersection(&window), Some(region));
        }
        assert_eq!(random.window(&level, 100), Region::new(0, 0, 37, 5));
    }
}
