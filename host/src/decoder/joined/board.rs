//! Who wants which tiles, who is at work on which, and what one call should decode.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cells::{Cells, Grid};

/// How long after its neighbor a tile counts as part of the same burst.
const BURST_TIME: Duration = Duration::from_secs(2);

/// Tiles between two of one burst, at most: bursts arrive out of order.
const BURST_GAP: u32 = 1;

/// Misses of a burst after which it is taken for a screen being filled: the larger block from then on.
const LONG_BURST: usize = 4;

/// Misses remembered, of all images.
const MAX_RECENT: usize = 64;

/// Fewest tiles a call leaves for the other threads.
const SMALLEST_SHARE: u64 = 4;

/// Names the pixels of one level of one state of an image.
pub(super) type Surface = Arc<[u8]>;

/// What limits the tiles of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Sides, in tiles, of the blocks worth decoding at once, the smaller one first; 1 is none.
    pub(super) blocks: [u32; 2],
    /// Tiles that may be held.
    pub(super) max_cells: u64,
    /// Threads that share the work.
    pub(super) threads: u64,
}

struct Entry {
    id: u64,
    surface: Surface,
    cells: Cells,
}

/// The state behind the lock.
#[derive(Default)]
pub(super) struct Board {
    waiting: Vec<Entry>,
    running: Vec<Entry>,
    recent: VecDeque<(Surface, Cells, Instant)>,
    next_id: u64,
}

impl Board {
    /// Notes tiles that a queued request will want; the number takes it off again.
    pub(super) fn announce(&mut self, surface: Surface, cells: Cells) -> u64 {
        let id = self.next_id();
        self.waiting.push(Entry { id, surface, cells });
        id
    }

    /// Takes off what was announced.
    pub(super) fn withdraw(&mut self, id: u64) {
        self.waiting.retain(|entry| entry.id != id);
    }

    /// Whether another request waits for tiles of a surface that nobody is at work on.
    pub(super) fn others_wait(&self, surface: &Surface) -> bool {
        self.waiting
            .iter()
            .any(|entry| entry.surface == *surface && !self.is_running(surface, &entry.cells))
    }

    /// Whether somebody is at work on one of the tiles.
    pub(super) fn is_running(&self, surface: &Surface, cells: &Cells) -> bool {
        self.running
            .iter()
            .any(|entry| entry.surface == *surface && entry.cells.overlaps(cells))
    }

    /// Notes that `target` is being decoded for a request that missed `cells`.
    pub(super) fn begin(&mut self, surface: Surface, cells: Cells, target: Cells) -> u64 {
        let id = self.next_id();
        self.running.push(Entry {
            id,
            surface: surface.clone(),
            cells: target,
        });
        self.recent.push_back((surface, cells, Instant::now()));
        if self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
        id
    }

    /// Notes that a decode has ended.
    pub(super) fn end(&mut self, id: u64) {
        self.running.retain(|entry| entry.id != id);
    }

    /// What to decode for a request that misses `cells`: them, those that wait beside them, and, in a
    /// burst, the block they lie in.
    pub(super) fn target(&self, surface: &Surface, cells: &Cells, grid: &Grid, bounds: &Bounds) -> Cells {
        let wanted: Vec<&Cells> = self
            .waiting
            .iter()
            .filter(|entry| entry.surface == *surface && !self.is_running(surface, &entry.cells))
            .map(|entry| &entry.cells)
            .collect();
        let all: u64 = wanted.iter().map(|cells| cells.count()).sum();
        let share = (all + cells.count()).div_ceil(bounds.threads.max(1));
        let most = share.max(SMALLEST_SHARE).min(bounds.max_cells);
        let mut cover = cells.clone();
        loop {
            let next = wanted
                .iter()
                .filter(|wish| !cover.contains(wish))
                .map(|wish| cover.with(wish))
                .filter(|larger| larger.count() <= most && !self.is_running(surface, larger))
                .filter(|larger| {
                    let used = wanted.iter().filter(|wish| larger.contains(wish));
                    let used: u64 = used.map(|wish| wish.count()).sum();
                    // Half of it at least has somebody who waits for it.
                    2 * (used + cells.count()) >= larger.count()
                })
                .min_by_key(Cells::count);
            match next {
                Some(larger) => cover = larger,
                None => break,
            }
        }
        self.grown(surface, &cover, grid, bounds).unwrap_or(cover)
    }

    /// A block around tiles that are part of a burst.
    fn grown(&self, surface: &Surface, cells: &Cells, grid: &Grid, bounds: &Bounds) -> Option<Cells> {
        let misses = |gap: u32| {
            let near = self.recent.iter().filter(|(other, miss, at)| {
                other == surface && at.elapsed() < BURST_TIME && miss.is_near(cells, gap)
            });
            near.count()
        };
        if misses(BURST_GAP) == 0 {
            return None;
        }
        let [small, large] = bounds.blocks;
        let long = misses(large) >= LONG_BURST;
        [long.then_some(large), Some(small)]
            .into_iter()
            .flatten()
            .filter(|&block| block > 1)
            .map(|block| cells.grown(block, grid))
            .find(|grown| grown.count() <= bounds.max_cells && !self.is_running(surface, grown))
    }

    fn next_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::Region;

    use super::*;
    use crate::limits::Size;

    const GRID: Grid = Grid {
        level: Size::new(4000, 4000),
        tile: Size::new(256, 256),
    };

    const BOUNDS: Bounds = Bounds {
        blocks: [2, 4],
        max_cells: 64,
        threads: 1,
    };

    fn tile(col: u32, row: u32) -> Cells {
        tiles(col, row, 1, 1)
    }

    fn tiles(col: u32, row: u32, across: u32, down: u32) -> Cells {
        Cells::covering(
            &Region::new(col * 256, row * 256, across * 256, down * 256),
            &GRID,
        )
    }

    fn surface(name: &str) -> Surface {
        name.as_bytes().into()
    }

    #[test]
    fn a_lone_tile_stays_alone_and_those_that_wait_beside_it_come_along() {
        let mut board = Board::default();
        let a = surface("a");
        assert_eq!(board.target(&a, &tile(3, 3), &GRID, &BOUNDS), tile(3, 3));
        for col in 4..10 {
            board.announce(a.clone(), tile(col, 3));
            board.announce(surface("b"), tile(col, 4));
        }
        let far = board.announce(a.clone(), tile(3, 15));
        assert_eq!(board.target(&a, &tile(3, 3), &GRID, &BOUNDS), tiles(3, 3, 7, 1));
        // Two threads: each takes its share.
        let shared = Bounds { threads: 2, ..BOUNDS };
        assert_eq!(board.target(&a, &tile(3, 3), &GRID, &shared), tiles(3, 3, 4, 1));
        board.withdraw(far);
        let small = Bounds {
            max_cells: 2,
            ..BOUNDS
        };
        assert_eq!(board.target(&a, &tile(3, 3), &GRID, &small), tiles(3, 3, 2, 1));
    }

    #[test]
    fn tiles_in_work_are_not_decoded_twice() {
        let mut board = Board::default();
        let a = surface("a");
        board.announce(a.clone(), tile(1, 0));
        board.announce(a.clone(), tile(2, 0));
        let run = board.begin(a.clone(), tile(1, 0), tile(1, 0));
        assert!(board.is_running(&a, &tile(1, 0)) && board.others_wait(&a));
        assert_eq!(board.target(&a, &tile(0, 0), &GRID, &BOUNDS), tile(0, 0));
        board.end(run);
        assert!(!board.is_running(&a, &tile(1, 0)));
    }

    #[test]
    fn a_burst_takes_its_block_along_and_a_long_one_the_larger() {
        let mut board = Board::default();
        let a = surface("a");
        let miss = |board: &mut Board, cells: Cells| {
            let target = board.target(&a, &cells, &GRID, &BOUNDS);
            let run = board.begin(a.clone(), cells, target.clone());
            board.end(run);
            target
        };
        assert_eq!(miss(&mut board, tile(4, 4)), tile(4, 4));
        assert_eq!(miss(&mut board, tile(5, 4)), tiles(4, 4, 2, 2));
        assert_eq!(miss(&mut board, tile(6, 4)), tiles(6, 4, 2, 2));
        assert_eq!(miss(&mut board, tile(6, 6)), tiles(6, 6, 2, 2));
        assert_eq!(miss(&mut board, tile(8, 4)), tiles(8, 4, 4, 4));
        // At the edge of the level a block has fewer tiles.
        assert_eq!(miss(&mut board, tile(15, 15)), tile(15, 15));
        assert_eq!(miss(&mut board, tile(14, 15)), tiles(14, 14, 2, 2));
        // Far from all of them.
        assert_eq!(miss(&mut board, tile(0, 10)), tile(0, 10));
        let never = Bounds {
            blocks: [1, 1],
            ..BOUNDS
        };
        assert_eq!(board.target(&a, &tile(1, 10), &GRID, &never), tile(1, 10));
    }
}
