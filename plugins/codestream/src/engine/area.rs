//! The samples of an area, out of blocks that are decoded or kept.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};
use parking_lot::Mutex;

use super::block::{BlockDecoder, Coefficients, Segment};
use super::color::{Plane, finish, transform};
use super::layout::Edges;
use super::packet_index::IndexedTile;
use super::parameters::Parameters;
use super::synthesis::synthesize;
use super::wavelet::{Irreversible, Part, Reversible};
use super::windows::{Job, Window, collect_jobs, windows_of};
use super::work::{for_all, lock};
use super::{Declined, Outcome};
use crate::codestream::Wanted;
use crate::header::{Component, MainHeader};
use crate::store::{BlockCell, BlockKey, Store};

/// Blocks that make a second thread worth starting.
const BLOCKS_PER_THREAD: usize = 8;

/// Locks for the indexes of tiles: as many tiles can be indexed at the same time, if their numbers differ enough.
const INDEX_LOCKS: usize = 8;

/// Deepest samples decoded here; none are deeper in OpenJPEG either.
const MAX_DEPTH: u32 = 31;

/// The samples of one component of an area.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) samples: Vec<i32>,
}

impl From<Part<i32>> for Samples {
    fn from(part: Part<i32>) -> Self {
        Self {
            width: part.width() as u32,
            height: part.height() as u32,
            samples: part.samples,
        }
    }
}

/// Decodes one codestream.
#[derive(Debug)]
pub(crate) struct Engine {
    main: Result<Parameters, Declined>,
    store: Arc<Store>,
    number: u64,
    /// Tiles that are left to OpenJPEG. Locked while a tile is indexed: others need the same one, and an index is made
    /// once.
    declined: [Mutex<HashSet<u32>>; INDEX_LOCKS],
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.store.forget(self.number);
    }
}

impl Engine {
    /// For the codestream of a main header; what is decoded is kept in `store`.
    pub(crate) fn new(header: &MainHeader, store: Arc<Store>) -> Self {
        let main = if header.packed_headers || header.high_throughput {
            Err(Declined("packed packet headers or another block coder"))
        } else if header.size.components.iter().any(|c| c.bit_depth > MAX_DEPTH) {
            Err(Declined("samples of more than 31 bits"))
        } else {
            Parameters::read(&header.bytes, &header.size)
        };
        Self {
            main,
            number: store.new_codestream(),
            store,
            declined: Default::default(),
        }
    }

    /// From now on keeps what is decoded in another store.
    pub(crate) fn keep_in(&mut self, store: &Arc<Store>) {
        self.store.forget(self.number);
        self.number = store.new_codestream();
        self.store = store.clone();
    }

    /// Whether its tiles may be decoded here at all.
    pub(crate) fn takes(&self) -> bool {
        self.main.is_ok()
    }

    /// The samples of all components in an area. `tiles` are the tiles it touches, each with its parts in the file.
    ///
    /// # Errors
    /// `Ok(Err(_))` for an area that is left to OpenJPEG; those of the source, `Cancelled`, `DeadlineExceeded`.
    pub(crate) fn decode(
        &self,
        source: &dyn ByteSource,
        header: &MainHeader,
        tiles: &[(u32, Vec<Range<u64>>)],
        wanted: &Wanted,
        ctx: &CallContext<'_>,
    ) -> Outcome<Vec<Samples>> {
        for (number, _) in tiles {
            if lock(self.declined_near(*number), ctx)?.contains(number) {
                return Ok(Err(Declined("a tile that was declined before")));
            }
        }
        let call = Call {
            engine: self,
            source,
            ctx,
            layers: if wanted.layers == 0 {
                u32::MAX
            } else {
                wanted.layers
            },
            reduction: wanted.reduction,
        };
        let components = &header.size.components;
        let edges = |component: &Component| component.edges(wanted.area, wanted.reduction);
        let mut planes: Vec<Part<i32>> = Vec::new();
        // One after the other: the indexes of all tiles of a large picture are too much for memory.
        for (number, parts) in tiles {
            ctx.checkpoint()?;
            let tile = match self.index(source, header, *number, parts, ctx)? {
                Ok(tile) => tile,
                Err(declined) => return Ok(Err(declined)),
            };
            let parts = match call.tile(*number, &tile, components, edges)? {
                Ok(parts) => parts,
                Err(declined) => return Ok(Err(declined)),
            };
            if tiles.len() == 1 {
                planes = parts;
                break;
            }
            if planes.is_empty() {
                planes = components
                    .iter()
                    .map(|component| Part::zeros(edges(component)))
                    .collect();
            }
            planes
                .iter_mut()
                .zip(&parts)
                .for_each(|(plane, part)| plane.paste(part));
        }
        let samples = planes.into_iter().map(Samples::from);
        Ok(Ok(samples.collect()))
    }

    /// Those of a tile and of some others.
    fn declined_near(&self, tile: u32) -> &Mutex<HashSet<u32>> {
        &self.declined[tile as usize % INDEX_LOCKS]
    }

    /// A tile with the places of its blocks, made once as long as the store has room for it.
    fn index(
        &self,
        source: &dyn ByteSource,
        header: &MainHeader,
        tile: u32,
        parts: &[Range<u64>],
        ctx: &CallContext<'_>,
    ) -> Outcome<Arc<IndexedTile>> {
        let main = match &self.main {
            Ok(main) => main,
            Err(declined) => return Ok(Err(*declined)),
        };
        if let Some(known) = self.store.tile(self.number, tile) {
            return Ok(Ok(known));
        }
        let mut declined = lock(self.declined_near(tile), ctx)?;
        if declined.contains(&tile) {
            return Ok(Err(Declined("a tile that was declined before")));
        }
        if let Some(known) = self.store.tile(self.number, tile) {
            return Ok(Ok(known));
        }
        match IndexedTile::read(source, &header.size, main, tile, parts, ctx)? {
            Ok(made) => {
                let made = Arc::new(made);
                self.store.keep_tile(self.number, tile, &made);
                Ok(Ok(made))
            }
            Err(reason) => {
                declined.insert(tile);
                Ok(Err(reason))
            }
        }
    }
}

/// One call for an area.
struct Call<'a> {
    engine: &'a Engine,
    source: &'a dyn ByteSource,
    ctx: &'a CallContext<'a>,
    layers: u32,
    reduction: u32,
}

impl Call<'_> {
    /// The samples of a tile, component by component.
    fn tile(
        &self,
        number: u32,
        tile: &IndexedTile,
        components: &[Component],
        edges: impl Fn(&Component) -> Edges,
    ) -> Outcome<Vec<Part<i32>>> {
        let mut windows = Vec::with_capacity(components.len());
        let mut jobs = Vec::new();
        for (index, (component, own)) in components.iter().zip(&tile.layout.components).enumerate() {
            let wanted = edges(component);
            let Some(windows_of_it) = windows_of(own, wanted, self.reduction) else {
                return Ok(Err(Declined(
                    "a component with fewer resolutions than are left out",
                )));
            };
            collect_jobs(tile, own, index, &windows_of_it, &mut jobs);
            windows.push(windows_of_it);
        }
        let threads = (self.ctx.limits.max_threads as usize).clamp(1, 1 + jobs.len() / BLOCKS_PER_THREAD);
        let cells = for_all(jobs.len(), threads, BlockDecoder::default, |decoder, at| {
            self.block(number, &jobs[at], decoder)
        })?;
        for (job, cell) in jobs.iter().zip(cells) {
            windows[job.component][job.window].bands[job.band]
                .blocks
                .push((job.edges, cell));
        }
        let windows: Vec<Mutex<Vec<Window<'_>>>> = windows.into_iter().map(Mutex::new).collect();
        let planes = for_all(
            windows.len(),
            threads,
            || (),
            |(), at| {
                self.ctx.checkpoint()?;
                let windows = std::mem::take(&mut *windows[at].lock());
                Ok(if tile.layout.components[at].is_reversible {
                    Plane::Whole(synthesize::<Reversible>(windows, |value, _| value / 2))
                } else {
                    Plane::Real(synthesize::<Irreversible>(windows, |value, step| {
                        value as f32 * step
                    }))
                })
            },
        )?;
        let planes = match transform(planes, tile.has_color_transform) {
            Ok(planes) => planes,
            Err(declined) => return Ok(Err(declined)),
        };
        let finished = planes
            .into_iter()
            .zip(components)
            .map(|(plane, component)| finish(plane, component));
        Ok(Ok(finished.collect()))
    }

    /// A block, decoded here or by another call before.
    fn block(
        &self,
        tile: u32,
        job: &Job<'_>,
        decoder: &mut BlockDecoder,
    ) -> Result<Arc<BlockCell>, DecodeError> {
        let store = &self.engine.store;
        let key = BlockKey {
            codestream: self.engine.number,
            tile,
            block: job.number,
            layers: self.layers,
        };
        let bytes = job.shape.width * job.shape.height * if job.shape.is_short() { 2 } else { 4 };
        let cell = store.block(key, bytes);
        let mut failure = None;
        let found = cell.get_or_init(|| match self.decode_block(job, decoder) {
            Ok(coefficients) => Some(coefficients),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        if found.is_some() {
            return Ok(cell);
        }
        store.forget_block(&key);
        if let Some(error) = failure {
            return Err(error);
        }
        // Somebody else failed, whose time may have been up.
        let own = BlockCell::new();
        let coefficients = self.decode_block(job, decoder)?;
        own.get_or_init(|| Some(coefficients));
        Ok(Arc::new(own))
    }

    /// Reads the bytes of a block and decodes them.
    fn decode_block(&self, job: &Job<'_>, decoder: &mut BlockDecoder) -> Result<Coefficients, DecodeError> {
        self.ctx.checkpoint()?;
        let mut bytes = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        let mut pass = 0;
        for chunk in job.tile.chunks(job.number, self.layers) {
            let start = bytes.len();
            bytes.resize(start + chunk.len as usize, 0);
            self.source.read_exact_at(chunk.offset, &mut bytes[start..])?;
            match segments.last_mut() {
                Some(segment) if !job.shape.style.begins_segment(pass) => {
                    segment.len += chunk.len as usize;
                    segment.passes += u32::from(chunk.passes);
                }
                _ => segments.push(Segment {
                    start,
                    len: chunk.len as usize,
                    passes: chunk.passes.into(),
                }),
            }
            pass += u32::from(chunk.passes);
        }
        decoder.decode(&job.shape, &bytes, &segments);
        Ok(decoder.coefficients())
    }
}
