//! Where the mark is.

use iiphost_plugin_api::Region;
use sha2::{Digest, Sha256};

use super::Watermark;
use crate::limits::Size;

/// What a picture shows, in terms that mean the same on every server.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Path of the image below the root.
    pub path: &'a [u8],
    /// Page of the image.
    pub page: usize,
    /// Level read, 0 = full size.
    pub level: usize,
    /// Rectangle read, in pixels of that level.
    pub source: Region,
    /// Size of the picture before turning.
    pub size: Size,
}

/// The parts of a picture that carry the mark each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// The picture is one block: a tile.
    Whole,
    /// Squares of this side from the upper left corner, the last ones smaller.
    Grid(u32),
}

impl Blocks {
    /// The blocks of a picture, row by row.
    pub(super) fn of(self, size: Size) -> impl Iterator<Item = Region> {
        let (across, down) = match self {
            Self::Whole => (size.width, size.height),
            Self::Grid(side) => (side, side),
        };
        let (across, down) = (across.max(1), down.max(1));
        (0..size.height.div_ceil(down)).flat_map(move |row| {
            (0..size.width.div_ceil(across)).map(move |col| {
                let (x, y) = (col * across, row * down);
                Region::new(x, y, across.min(size.width - x), down.min(size.height - y))
            })
        })
    }
}

impl Watermark {
    /// Where the mark begins in a block, `None` if the block carries none.
    pub(super) fn place(&self, subject: &Subject<'_>, block: &Region) -> Option<(u32, u32)> {
        let source = &subject.source;
        let mut hash = Sha256::new()
            .chain_update(self.digest)
            .chain_update((subject.path.len() as u64).to_le_bytes())
            .chain_update(subject.path);
        for number in [subject.page as u64, subject.level as u64] {
            hash.update(number.to_le_bytes());
        }
        for number in [
            source.x,
            source.y,
            source.width,
            source.height,
            subject.size.width,
            subject.size.height,
            block.x,
            block.y,
        ] {
            hash.update(number.to_le_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        let (numbers, _) = hash.as_chunks::<8>();
        let &[chance, across, down, _] = numbers else {
            return None;
        };
        if share(chance) >= self.probability {
            return None;
        }
        // Below the room there is, a u32.
        let within = |bytes, room: u32| (share(bytes) * f64::from(room)) as u32;
        Some((
            within(across, block.width.saturating_sub(self.size.width)),
            within(down, block.height.saturating_sub(self.size.height)),
        ))
    }
}

/// A number from 0 to below 1, evenly distributed as the bits of the hash are.
fn share(bytes: [u8; 8]) -> f64 {
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}
