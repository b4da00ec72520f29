//! Decoded tiles kept for a while, and bursts of neighbors decoded together.
//!
//! Decoding a tile of 256×256 pixels out of a large codestream tile costs nearly as much as four: code-blocks
//! and wavelet margins reach over its edges, and the packets in front of it are parsed each time. A viewer
//! asks for neighbors within moments. So a tile that comes alone is decoded alone; one that comes soon after
//! a neighbor takes the block of tiles around it along, a larger block as the burst goes on, and those that
//! come while a block is being decoded wait for it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iiphost_plugin_api::{DecodeError, ErrorKind, PixelBuffer, ReadContext, Region};
use lru::LruCache;
use parking_lot::{Condvar, Mutex};

use crate::levels::TILE_PX;
use crate::pixels::Pixels;

/// How long after its neighbor a tile counts as part of the same burst.
const BURST_TIME: Duration = Duration::from_secs(2);

/// Tiles between two of one burst, at most: bursts arrive out of order.
const BURST_GAP: u32 = 1;

/// Side of the block, in tiles, for a burst that has just begun: it costs 1.5 to 2.3 times as much as one of
/// its four tiles, so little is lost when no more of them are wanted.
const FIRST_BLOCK: u32 = 2;

/// Misses of a burst after which it is taken for a screen being filled: full blocks from then on.
const LONG_BURST: usize = 4;

/// Misses remembered, of all images.
const MAX_RECENT: usize = 64;

/// How often a waiting call looks whether it is still wanted.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// Cells of one request that go through the store; larger requests are exports, which would only empty it.
const MAX_CELLS: u64 = 128;

/// Names the pixels of one level of one open image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Surface {
    /// The open image.
    pub(crate) reader: u64,
    /// The level.
    pub(crate) level: u32,
    /// Quality layers.
    pub(crate) layers: u32,
}

/// The shape of a level, as the store has to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Width of the level.
    pub(crate) width: u32,
    /// Height of the level.
    pub(crate) height: u32,
    /// Bytes of a pixel.
    pub(crate) pixel_bytes: usize,
    /// Side of the block a burst decodes at once, in tiles; 1 never joins.
    pub(crate) block: u32,
}

/// A rectangle of the tile grid.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cells {
    cols: Range<u32>,
    rows: Range<u32>,
}

impl Cells {
    /// The cells a region touches.
    fn covering(region: &Region) -> Self {
        let along = |start: u32, end: u64| start / TILE_PX..end.div_ceil(u64::from(TILE_PX)) as u32;
        Self {
            cols: along(region.x, region.right()),
            rows: along(region.y, region.bottom()),
        }
    }

    /// Grown to whole blocks.
    fn grown(&self, block: u32) -> Self {
        let along = |cells: &Range<u32>| {
            let end = cells.end.div_ceil(block).saturating_mul(block);
            cells.start / block * block..end
        };
        Self {
            cols: along(&self.cols),
            rows: along(&self.rows),
        }
    }

    /// Their pixels, inside the level.
    fn region(&self, shape: &Shape) -> Region {
        let along = |cells: &Range<u32>, side: u32| {
            let start = cells.start.saturating_mul(TILE_PX).min(side);
            (start, cells.end.saturating_mul(TILE_PX).min(side) - start)
        };
        let (x, width) = along(&self.cols, shape.width);
        let (y, height) = along(&self.rows, shape.height);
        Region::new(x, y, width, height)
    }

    fn count(&self) -> u64 {
        self.cols.len() as u64 * self.rows.len() as u64
    }

    /// Whether both, `gap` cells apart at most, belong together without being the same.
    fn is_near(&self, other: &Self, gap: u32) -> bool {
        let near = |a: &Range<u32>, b: &Range<u32>| {
            a.start <= b.end.saturating_add(gap) && b.start <= a.end.saturating_add(gap)
        };
        self != other && near(&self.cols, &other.cols) && near(&self.rows, &other.rows)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let both = |a: &Range<u32>, b: &Range<u32>| a.start < b.end && b.start < a.end;
        both(&self.cols, &other.cols) && both(&self.rows, &other.rows)
    }

    fn iter(&self) -> impl Iterator<Item = Self> {
        let cols = self.cols.clone();
        self.rows.clone().flat_map(move |row| {
            cols.clone().map(move |col| Self {
                cols: col..col + 1,
                rows: row..row + 1,
            })
        })
    }
}

type Key = (Surface, u32, u32);

struct State {
    tiles: LruCache<Key, Arc<Pixels>>,
    bytes: usize,
    running: Vec<(u64, Surface, Cells)>,
    recent: VecDeque<(Surface, Cells, Instant)>,
    next_run: u64,
}

/// Decoded tiles of all open images, the least recently used given up first.
pub(crate) struct TileStore {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
}

/// What to do about a request.
enum Step {
    /// All of it is here.
    Ready(Vec<Arc<Pixels>>),
    /// Decode these cells, under this number.
    Decode(u64, Cells),
}

impl TileStore {
    /// A store of at most `limit` bytes; 0 keeps nothing and joins nothing.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                tiles: LruCache::unbounded(),
                bytes: 0,
                running: Vec::new(),
                recent: VecDeque::new(),
                next_run: 0,
            }),
            changed: Condvar::new(),
            limit,
        }
    }

    /// Fills `out` with a region of a level, from the store or by `decode`, which gives the pixels of the
    /// region it is called with.
    ///
    /// # Errors
    /// Those of `decode`; `Cancelled` and `DeadlineExceeded` while waiting for another call.
    pub(crate) fn read(
        &self,
        surface: Surface,
        shape: &Shape,
        region: &Region,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
        decode: &dyn Fn(Region) -> Result<Pixels, DecodeError>,
    ) -> Result<(), DecodeError> {
        let cells = Cells::covering(region);
        if self.limit == 0 || cells.count() > MAX_CELLS {
            decode(*region)?.copy_to(region, out);
            return Ok(());
        }
        let (run, target) = match self.step(surface, shape, &cells, ctx)? {
            Step::Ready(tiles) => {
                tiles.iter().for_each(|tile| tile.copy_to(region, out));
                return Ok(());
            }
            Step::Decode(run, target) => (Run { store: self, run }, target),
        };
        let pixels = if target == cells {
            decode(*region)?
        } else {
            match decode(target.region(shape)) {
                Ok(pixels) => pixels,
                Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::DeadlineExceeded) => {
                    return Err(error);
                }
                // A neighbor may be broken or the block too large: the wanted pixels need neither.
                Err(_) => decode(*region)?,
            }
        };
        pixels.copy_to(region, out);
        self.keep(surface, shape, &target, &pixels);
        drop(run);
        Ok(())
    }

    /// Gives up the tiles of a closed image.
    pub(crate) fn forget(&self, reader: u64) {
        let mut state = self.state.lock();
        let keys: Vec<Key> = state
            .tiles
            .iter()
            .map(|(key, _)| *key)
            .filter(|(surface, ..)| surface.reader == reader)
            .collect();
        for key in keys {
            let freed = state.tiles.pop(&key).map_or(0, |tile| tile.bytes.len());
            state.bytes = state.bytes.saturating_sub(freed);
        }
        state.recent.retain(|(surface, ..)| surface.reader != reader);
    }

    /// Waits until the cells are here or nobody is at work on them.
    fn step(
        &self,
        surface: Surface,
        shape: &Shape,
        cells: &Cells,
        ctx: &ReadContext<'_>,
    ) -> Result<Step, DecodeError> {
        let mut state = self.state.lock();
        loop {
            let found: Option<Vec<Arc<Pixels>>> = cells
                .iter()
                .map(|cell| {
                    let key = (surface, cell.cols.start, cell.rows.start);
                    state.tiles.get(&key).cloned()
                })
                .collect();
            if let Some(tiles) = found {
                return Ok(Step::Ready(tiles));
            }
            let busy = state
                .running
                .iter()
                .any(|(_, other, running)| *other == surface && running.overlaps(cells));
            if !busy {
                break;
            }
            ctx.checkpoint()?;
            self.changed.wait_for(&mut state, WAIT_STEP);
        }
        let target = state.target(surface, shape, cells, self.limit);
        // No limit is known to be passed for the request itself, so only the growth is checked.
        let target = match ctx.limits.check_pixels(target.region(shape).pixels()) {
            Ok(()) => target,
            Err(_) => cells.clone(),
        };
        let run = state.next_run;
        state.next_run = state.next_run.wrapping_add(1);
        state.running.push((run, surface, target.clone()));
        state.recent.push_back((surface, cells.clone(), Instant::now()));
        if state.recent.len() > MAX_RECENT {
            state.recent.pop_front();
        }
        Ok(Step::Decode(run, target))
    }

    /// Keeps the whole tiles among decoded pixels.
    fn keep(&self, surface: Surface, shape: &Shape, cells: &Cells, pixels: &Pixels) {
        let mut tiles = Vec::new();
        for cell in cells.iter() {
            let region = cell.region(shape);
            if region.intersection(&pixels.region) == Some(region)
                && let Some(tile) = pixels.cut(&region)
            {
                tiles.push(((surface, cell.cols.start, cell.rows.start), Arc::new(tile)));
            }
        }
        let mut given_up = Vec::new();
        let mut state = self.state.lock();
        for (key, tile) in tiles {
            state.bytes += tile.bytes.len();
            if let Some(old) = state.tiles.put(key, tile) {
                state.bytes = state.bytes.saturating_sub(old.bytes.len());
            }
        }
        while state.bytes > self.limit {
            let Some((_, tile)) = state.tiles.pop_lru() else {
                break;
            };
            state.bytes = state.bytes.saturating_sub(tile.bytes.len());
            given_up.push(tile);
        }
        // Memory is freed outside of the lock.
        drop(state);
    }
}

impl State {
    /// What to decode for a request that misses `cells`.
    fn target(&self, surface: Surface, shape: &Shape, cells: &Cells, limit: usize) -> Cells {
        let misses = |gap: u32| {
            let near = self.recent.iter().filter(|(other, miss, at)| {
                *other == surface && at.elapsed() < BURST_TIME && miss.is_near(cells, gap)
            });
            near.count()
        };
        if misses(BURST_GAP) == 0 {
            return cells.clone();
        }
        let full = misses(shape.block) >= LONG_BURST;
        let blocks = [full.then_some(shape.block), Some(shape.block.min(FIRST_BLOCK))];
        for block in blocks.into_iter().flatten().filter(|&block| block > 1) {
            let grown = cells.grown(block);
            let pixels = grown.region(shape).pixels();
            let bytes = pixels.saturating_mul(shape.pixel_bytes as u64);
            // A block that another call has in hand in part is not decoded twice.
            let taken = self.running.iter().any(|(_, other, running)| {
                *other == surface && running.overlaps(&grown) && running.count() > 1
            });
            if !taken && bytes <= limit as u64 / 2 && grown.count() <= MAX_CELLS {
                return grown;
            }
        }
        cells.clone()
    }
}

/// A decode in hand; whoever waits for it is woken when it ends, in whatever way.
struct Run<'a> {
    store: &'a TileStore,
    run: u64,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        state.running.retain(|(run, ..)| *run != self.run);
        drop(state);
        self.store.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_plugin_api::{CallContext, Limits, PlainServices, SampleFormat};
    use std::sync::atomic::{AtomicU32, Ordering};

    const SURFACE: Surface = Surface {
        reader: 1,
        level: 0,
        layers: 0,
    };

    const SHAPE: Shape = Shape {
        width: 2000,
        height: 1500,
        pixel_bytes: 1,
        block: 4,
    };

    fn pattern(region: Region) -> Pixels {
        let mut pixels = Pixels::zeros(region, 1).unwrap();
        let width = region.width as usize;
        for (i, byte) in pixels.bytes.iter_mut().enumerate() {
            let (x, y) = (region.x as usize + i % width, region.y as usize + i / width);
            *byte = (x * 7 + y * 13) as u8;
        }
        pixels
    }

    /// Reads a region and gives the regions decoded for it.
    fn read(store: &TileStore, region: Region) -> Vec<Region> {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let decoded = Mutex::new(Vec::new());
        let mut bytes = vec![0; region.pixels() as usize];
        let (width, height) = (region.width, region.height);
        let mut out =
            PixelBuffer::new(&mut bytes, width, height, 1, SampleFormat::U8, width as usize).unwrap();
        let decode = |region: Region| {
            decoded.lock().push(region);
            Ok(pattern(region))
        };
        store
            .read(SURFACE, &SHAPE, &region, &mut out, &ctx, &decode)
            .unwrap();
        assert_eq!(bytes, pattern(region).bytes);
        decoded.into_inner()
    }

    fn tile(col: u32, row: u32) -> Region {
        let cells = Cells {
            cols: col..col + 1,
            rows: row..row + 1,
        };
        cells.region(&SHAPE)
    }

    #[test]
    fn a_lone_tile_is_decoded_alone_and_a_neighbor_takes_its_block_along() {
        let store = TileStore::new(64 << 20);
        assert_eq!(read(&store, tile(5, 1)), [tile(5, 1)]);
        assert_eq!(read(&store, tile(5, 1)), []);
        assert_eq!(read(&store, tile(4, 1)), [Region::new(1024, 0, 512, 512)]);
        for (col, row) in [(4, 0), (5, 0), (4, 1)] {
            assert_eq!(read(&store, tile(col, row)), []);
        }
        // Far from the burst, but near to none.
        assert_eq!(read(&store, tile(0, 5)), [tile(0, 5)]);
    }

    #[test]
    fn a_burst_that_goes_on_takes_larger_blocks() {
        let store = TileStore::new(64 << 20);
        let mut decoded = Vec::new();
        for row in 0..6 {
            for col in 0..8 {
                decoded.extend(read(&store, tile(col, row)));
            }
        }
        let sizes: Vec<u32> = decoded.iter().map(|region| region.width).collect();
        // One alone, four blocks to the end of the row less one, then full blocks.
        assert_eq!(sizes, [256, 512, 512, 512, 464, 1024, 976, 1024, 976]);
    }

    #[test]
    fn regions_off_the_grid_are_decoded_as_they_are_or_cut_from_tiles() {
        let store = TileStore::new(64 << 20);
        let odd = Region::new(100, 300, 300, 50);
        assert_eq!(read(&store, odd), [odd]);
        assert_eq!(read(&store, odd), [odd]);
        assert_eq!(read(&store, tile(2, 2)), [Region::new(512, 512, 512, 512)]);
        assert_eq!(read(&store, odd), [Region::new(0, 0, 512, 512)]);
        assert_eq!(read(&store, odd), []);
        let whole = Region::new(0, 0, 2000, 1500);
        assert_eq!(read(&store, whole), [whole]);
        assert_eq!(read(&store, tile(7, 5)), []);
    }

    #[test]
    fn the_store_keeps_to_its_size() {
        let store = TileStore::new(3 * 65_536);
        for col in 0..7 {
            read(&store, tile(col, 0));
            assert!(store.state.lock().bytes <= 3 * 65_536);
        }
        store.forget(1);
        let state = store.state.lock();
        assert_eq!((state.bytes, state.tiles.len(), state.recent.len()), (0, 0, 0));
    }

    #[test]
    fn a_block_that_fails_still_gives_the_wanted_tile() {
        let store = TileStore::new(64 << 20);
        read(&store, tile(0, 0));
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let region = tile(1, 0);
        let mut bytes = vec![0; region.pixels() as usize];
        let mut out = PixelBuffer::new(&mut bytes, 256, 256, 1, SampleFormat::U8, 256).unwrap();
        let decode = |wanted: Region| match wanted == region {
            true => Ok(pattern(wanted)),
            false => Err(DecodeError::format("a neighbor is broken")),
        };
        store
            .read(SURFACE, &SHAPE, &region, &mut out, &ctx, &decode)
            .unwrap();
        assert_eq!(bytes, pattern(region).bytes);
    }

    #[test]
    fn calls_that_need_the_same_block_wait_for_one_decode() {
        let store = TileStore::new(64 << 20);
        read(&store, tile(0, 0));
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for (col, row) in [(1, 0), (1, 1), (2, 0), (0, 1), (3, 3)] {
                let (store, count) = (&store, &count);
                scope.spawn(move || {
                    let decoded = read(store, tile(col, row));
                    count.fetch_add(decoded.len() as u32, Ordering::Relaxed);
                });
            }
        });
        // Three blocks hold them; (3, 3) may come before its neighbors and is then decoded alone.
        assert!(count.into_inner() <= 3);
    }

    #[test]
    fn a_waiting_call_ends_at_its_deadline() {
        let store = TileStore::new(64 << 20);
        let cells = Cells::covering(&tile(0, 0));
        store.state.lock().running.push((0, SURFACE, cells.clone()));
        let services = PlainServices::with_time(Duration::from_millis(30));
        let ctx = CallContext::new(Limits::default(), &services);
        let error = store.step(SURFACE, &SHAPE, &cells, &ctx).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}
