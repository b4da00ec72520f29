//! Neighboring tiles decoded together.
//!
//! In some formats a tile costs much more than its share of the image: entropy-coded blocks and filters
//! reach over its edges, the way to it has to be read each time, strips are as wide as the picture. A viewer
//! asks for a screen of neighbors within moments. So the requests that wait for tiles of one level of one
//! image are known here; the first to run decodes the rectangle that covers its neighbors, and the others
//! take theirs from a cache of decoded tiles. A burst that comes too slowly to wait in the queue takes the
//! block around each miss along. A tile that comes alone is decoded alone, with the threads that are idle.
//!
//! Whether a format gains from that is asked of its module ([`ImageReader::estimate`]), once a level.
//!
//! [`ImageReader::estimate`]: iiphost_plugin_api::ImageReader::estimate

mod board;
mod cells;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iiphost_plugin_api::Region;
use parking_lot::{Condvar, Mutex};

use super::call::CallScope;
use super::read::RegionReader;
use crate::cache::{ByteLru, Weighted};
use crate::error::Error;
use crate::image_info::Level;
use crate::limits::Size;
use crate::raster::Raster;
use board::{Board, Bounds, Surface};
use cells::{Cells, Grid};

/// Tiles of one call, at most.
const MAX_CELLS: u64 = 64;

/// Tiles of one request that go through here: larger ones are exports and gain nothing.
const MAX_REQUEST_CELLS: u64 = 16;

/// How long a tile that costs several times its share waits for neighbors that have just been asked for:
/// requests of a burst come one after the other.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// How often a request that waits for another one's decode looks whether it is still wanted.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// What one tile costs of a level, in comparison with its neighbors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gain {
    /// Sides, in tiles, of the blocks worth decoding at once, the smaller one first; 1 is none.
    pub blocks: [u32; 2],
    /// A tile alone decodes several times its own pixels.
    pub is_dear: bool,
}

impl Default for Gain {
    fn default() -> Self {
        Self {
            blocks: [1, 1],
            is_dear: false,
        }
    }
}

impl Gain {
    /// From what the blocks of 1, 2×2 and 4×4 tiles cost, and their pixels.
    #[must_use]
    pub fn new(costs: [u64; 3], pixels: [u64; 3]) -> Self {
        let each = |n: usize| costs[n] as f64 / (pixels[n] as f64).max(1.0);
        let small = each(1) <= 0.8 * each(0);
        let large = each(2) <= 0.9 * each(if small { 1 } else { 0 });
        Self {
            blocks: [if small { 2 } else { 1 }, if large { 4 } else { 1 }],
            is_dear: each(0) >= 2.0,
        }
    }

    /// Whether neighbors are worth decoding together.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.blocks != [1, 1]
    }

    /// Side of the largest block that gains.
    #[must_use]
    pub fn block(&self) -> u32 {
        self.blocks.into_iter().fold(1, u32::max)
    }
}

/// A tile or a few of them that a request wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The level, in bytes that name image, state, page, level and quality layers.
    pub surface: Arc<[u8]>,
    /// What a read of it gains from its neighbors.
    pub gain: Gain,
    /// Page of the image.
    pub page: usize,
    /// The level.
    pub level: Level,
    /// Size of the tiles clients ask for.
    pub tile: Size,
    /// The pixels.
    pub region: Region,
    /// Quality layers, 0 = all.
    pub quality_layers: u32,
}

impl Wish {
    fn grid(&self) -> Grid {
        Grid {
            level: self.level.size,
            tile: self.tile,
        }
    }

    fn cells(&self) -> Cells {
        Cells::covering(&self.region, &self.grid())
    }
}

/// A decoded tile in the cache.
#[derive(Clone, Debug)]
struct Kept(Arc<Raster>);

impl Weighted for Kept {
    fn weight(&self) -> usize {
        size_of::<Raster>() + self.0.samples.bytes().len()
    }
}

/// What a call may use beside its own tile.
pub trait Means {
    /// Memory, given back when it is dropped.
    type Memory;
    /// Threads, given back when it is dropped.
    type Threads;

    /// Reserves memory for pixels; `None` if there is none to spare.
    fn memory(&self, bytes: u64) -> Option<Self::Memory>;

    /// How many threads have nothing to do, for as long as the second is held.
    fn idle_threads(&self) -> (u32, Self::Threads);
}

/// The decoded tiles, and who is at work on which.
pub struct JoinedReads {
    board: Mutex<Board>,
    changed: Condvar,
    tiles: ByteLru<Kept>,
    max_bytes: usize,
    threads: u64,
    decodes: AtomicU64,
    taken: AtomicU64,
}

/// Tiles that a request in the queue wants; taken back when it is dropped.
pub struct Announced {
    joined: Arc<JoinedReads>,
    id: u64,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.joined.board.lock().withdraw(self.id);
    }
}

impl JoinedReads {
    /// For decoded tiles of at most `max_bytes`, 0 joins nothing, and as many calls at the same time as there
    /// are `threads`.
    #[must_use]
    pub fn new(max_bytes: usize, threads: usize) -> Self {
        Self {
            board: Mutex::default(),
            changed: Condvar::new(),
            tiles: ByteLru::new(max_bytes),
            max_bytes,
            threads: threads as u64,
            decodes: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// Drops all decoded tiles.
    pub fn clear(&self) {
        self.tiles.clear();
    }

    /// Bytes of decoded tiles.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tiles.bytes()
    }

    /// Decodes made, and requests that needed none of their own, since the start.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.decodes.load(Ordering::Relaxed),
            self.taken.load(Ordering::Relaxed),
        )
    }

    /// Whether a wish goes through here at all.
    #[must_use]
    pub fn takes(&self, wish: &Wish) -> bool {
        self.max_bytes > 0
            && wish.gain.is_some()
            && wish.level.halvings == 0
            && wish.cells().count() <= MAX_REQUEST_CELLS
    }

    /// Notes what a request that goes to the queue will want.
    #[must_use]
    pub fn announce(self: &Arc<Self>, wish: &Wish) -> Announced {
        let id = self.board.lock().announce(wish.surface.clone(), wish.cells());
        Announced {
            joined: self.clone(),
            id,
        }
    }

    /// The pixels of a wish: from the decoded tiles, from somebody's decode that is under way, or decoded
    /// here, with those of the neighbors that are wanted too.
    ///
    /// # Errors
    /// Those of reading; cancelled or out of time while waiting for another call.
    pub fn read<M: Means>(
        &self,
        reader: &RegionReader<'_>,
        wish: &Wish,
        announced: Announced,
        means: &M,
        scope: &CallScope,
    ) -> Result<Raster, Error> {
        // From here on this request is no longer one that waits.
        drop(announced);
        let (grid, cells) = (wish.grid(), wish.cells());
        let run = loop {
            let mut board = self.board.lock();
            // Looked up under the lock: a decode keeps its tiles before it ends.
            if let Some(tiles) = self.kept(wish, &cells) {
                drop(board);
                self.taken.fetch_add(1, Ordering::Relaxed);
                return self.assembled(wish, &cells, &tiles);
            }
            if board.is_running(&wish.surface, &cells) {
                if scope.is_abandoned() {
                    return Err(Error::Cancelled);
                }
                if scope.is_over() {
                    return Err(Error::Unavailable {
                        reason: "no time left while a neighbor was decoded".into(),
                        retry_after: Duration::from_secs(1),
                    });
                }
                self.changed.wait_for(&mut board, WAIT_STEP);
                continue;
            }
            if wish.gain.is_dear && !board.others_wait(&wish.surface) {
                drop(board);
                std::thread::sleep(GATHER_TIME);
                board = self.board.lock();
                if board.is_running(&wish.surface, &cells) || self.kept(wish, &cells).is_some() {
                    continue;
                }
            }
            let target = board.target(&wish.surface, &cells, &grid, &self.bounds(reader, wish));
            let id = board.begin(wish.surface.clone(), cells.clone(), target.clone());
            break Run {
                joined: self,
                id,
                target,
            };
        };
        self.decodes.fetch_add(1, Ordering::Relaxed);
        let (idle, lent) = means.idle_threads();
        let read = |region: Region| {
            reader
                .with_threads(1 + idle)
                .read(wish.page, &wish.level, region, wish.quality_layers)
        };
        let wide = run.target.region(&grid);
        let more = reader.bytes(wish.page, &wide);
        let joined = match run.target != cells {
            true => means.memory(more).map(|held| (read(wide), held)),
            false => None,
        };
        let raster = match joined {
            Some((Ok(raster), _held)) => {
                self.keep(&wish.surface, &raster, &wide, &run.target, &grid, &cells)?;
                cut(&raster, &wide, &wish.region)
            }
            Some((Err(error), _)) if error.ends_the_request() => Err(error),
            // A neighbor may be broken or all of them too large: the wanted pixels need neither.
            Some((Err(_), _)) | None => read(wish.region),
        };
        drop(lent);
        raster
    }

    fn bounds(&self, reader: &RegionReader<'_>, wish: &Wish) -> Bounds {
        let tile = reader.bytes(wish.page, &Region::new(0, 0, wish.tile.width, wish.tile.height));
        // Half of the cache, so that those who wait find their tiles before others take the place.
        let fitting = self.max_bytes as u64 / 2 / tile.max(1);
        Bounds {
            blocks: wish.gain.blocks,
            max_cells: fitting.min(MAX_CELLS),
            threads: self.threads,
        }
    }

    /// The tiles of a wish and where they lie, if all of them are here.
    fn kept(&self, wish: &Wish, cells: &Cells) -> Option<Vec<(Region, Arc<Raster>)>> {
        let grid = wish.grid();
        let tile = |cell: Cells| {
            let kept = self.tiles.get(&key(&wish.surface, &cell))?;
            Some((cell.region(&grid), kept.0))
        };
        cells.iter().map(tile).collect()
    }

    /// The pixels of a wish out of its tiles.
    fn assembled(
        &self,
        wish: &Wish,
        cells: &Cells,
        tiles: &[(Region, Arc<Raster>)],
    ) -> Result<Raster, Error> {
        if let [(region, tile)] = tiles
            && *region == wish.region
        {
            // Asked for as it is, it will be kept as a picture.
            self.tiles.remove(&key(&wish.surface, cells));
            return Ok(Raster::clone(tile));
        }
        let (_, first) = tiles
            .first()
            .ok_or_else(|| Error::fault("decode", "a region without tiles"))?;
        let mut whole = first.zeros_of(Size::new(wish.region.width, wish.region.height))?;
        for (region, tile) in tiles {
            paste(tile, region, &mut whole, &wish.region);
        }
        Ok(whole)
    }

    /// Keeps the tiles of a decode but those it was made for.
    fn keep(
        &self,
        surface: &Surface,
        raster: &Raster,
        region: &Region,
        target: &Cells,
        grid: &Grid,
        used: &Cells,
    ) -> Result<(), Error> {
        for cell in target.iter().filter(|cell| !used.contains(cell)) {
            let tile = cut(raster, region, &cell.region(grid))?;
            self.tiles.insert(&key(surface, &cell), Kept(Arc::new(tile)));
        }
        Ok(())
    }
}

impl std::fmt::Debug for JoinedReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinedReads")
            .field("tiles", &self.tiles)
            .finish_non_exhaustive()
    }
}

/// A decode in hand; whoever waits for it is woken when it ends, in whatever way.
struct Run<'a> {
    joined: &'a JoinedReads,
    id: u64,
    target: Cells,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.joined.board.lock().end(self.id);
        self.joined.changed.notify_all();
    }
}

/// The key of a tile.
fn key(surface: &Surface, cell: &Cells) -> Vec<u8> {
    let (col, row) = cell.corner();
    [surface.as_ref(), &col.to_le_bytes(), &row.to_le_bytes()].concat()
}

/// The part of a raster, which shows `from`, that shows `wanted`, which lies in it.
fn cut(raster: &Raster, from: &Region, wanted: &Region) -> Result<Raster, Error> {
    let mut part = raster.zeros_of(Size::new(wanted.width, wanted.height))?;
    paste(raster, from, &mut part, wanted);
    Ok(part)
}

/// Copies the pixels two rasters share: `source` shows the region `from`, `target` the region `to`.
fn paste(source: &Raster, from: &Region, target: &mut Raster, to: &Region) {
    let Some(shared) = from.intersection(to) else {
        return;
    };
    let pixel = source.samples.format().bytes() * source.band_count as usize;
    let (source_stride, target_stride) = (source.row_stride(), target.row_stride());
    let len = shared.width as usize * pixel;
    let at = |region: &Region, stride: usize, y: u32| {
        (y - region.y) as usize * stride + (shared.x - region.x) as usize * pixel
    };
    for y in shared.y..shared.y + shared.height {
        let (start, end) = (at(from, source_stride, y), at(to, target_stride, y));
        let row = source.samples.bytes().get(start..start + len);
        let place = target.samples.bytes_mut().get_mut(end..end + len);
        if let (Some(row), Some(place)) = (row, place) {
            place.copy_from_slice(row);
        }
    }
}
