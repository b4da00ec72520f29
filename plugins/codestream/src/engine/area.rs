//! The samples of an area, out of blocks that are decoded or kept.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};
use parking_lot::Mutex;

use super::block::{BlockDecoder, BlockShape, Coefficients, Segment};
use super::layout::{Band, Edges, TileComponent, ceil_shift};
use super::packet_index::IndexedTile;
use super::parameters::Parameters;
use super::wavelet::{Filter, Irreversible, Part, Reversible, combine, halves, with_reach};
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
        let edges = |component: &Component| {
            let steps = [component.dx, component.dy];
            [0, 1, 2, 3]
                .map(|at| ceil_shift(wanted.area[at].div_ceil(steps[at % 2]).into(), wanted.reduction))
        };
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
        let samples = planes.into_iter().map(|plane| Samples {
            width: plane.width() as u32,
            height: plane.height() as u32,
            samples: plane.samples,
        });
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

/// What of a band is needed, and the blocks it touches.
struct BandWindow<'t> {
    band: &'t Band,
    edges: Edges,
    blocks: Vec<(Edges, Arc<BlockCell>)>,
}

/// What of a resolution is needed, with its bands.
struct Window<'t> {
    /// The samples of the resolution that are wanted.
    wanted: Edges,
    whole: Edges,
    bands: Vec<BandWindow<'t>>,
}

/// A block to be decoded.
struct Job<'t> {
    component: usize,
    window: usize,
    band: usize,
    edges: Edges,
    number: u32,
    shape: BlockShape,
    tile: &'t IndexedTile,
}

/// Samples before the color transform.
enum Plane {
    Whole(Part<i32>),
    Real(Part<f32>),
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

/// What of each resolution is needed for an area, from the smallest resolution on; `None` if there are not so many.
fn windows_of(component: &TileComponent, wanted: Edges, reduction: u32) -> Option<Vec<Window<'_>>> {
    let count = component.resolutions.len().checked_sub(reduction as usize)?;
    // One has to be left; no samples at all would pass for zeros.
    if count == 0 {
        return None;
    }
    let reach = if component.is_reversible {
        Reversible::REACH
    } else {
        Irreversible::REACH
    };
    let mut wanted = wanted;
    let mut windows = Vec::with_capacity(count);
    for resolution in component.resolutions.get(..count)?.iter().rev() {
        let whole = resolution.edges;
        for axis in 0..2 {
            wanted[axis] = wanted[axis].clamp(whole[axis], whole[axis + 2]);
            wanted[axis + 2] = wanted[axis + 2].clamp(wanted[axis], whole[axis + 2]);
        }
        let [across, down] = [0, 1].map(|axis| {
            halves(&with_reach(
                &(wanted[axis]..wanted[axis + 2]),
                reach,
                &(whole[axis]..whole[axis + 2]),
            ))
        });
        let is_empty = wanted[0] == wanted[2] || wanted[1] == wanted[3];
        let edges = |orientation: usize| {
            let (cols, rows) = (&across[orientation & 1], &down[orientation >> 1]);
            [cols.start, rows.start, cols.end, rows.end]
        };
        windows.push(Window {
            wanted,
            whole,
            bands: resolution
                .bands
                .iter()
                .map(|band| BandWindow {
                    band,
                    edges: match band.orientation {
                        0 => wanted,
                        _ if is_empty => [0; 4],
                        orientation => edges(orientation),
                    },
                    blocks: Vec::new(),
                })
                .collect(),
        });
        wanted = if is_empty { [0; 4] } else { edges(0) };
    }
    windows.reverse();
    Some(windows)
}

/// The blocks that windows touch and that have coded bits.
fn collect_jobs<'t>(
    tile: &'t IndexedTile,
    component: &TileComponent,
    index: usize,
    windows: &[Window<'_>],
    jobs: &mut Vec<Job<'t>>,
) {
    for (window_index, window) in windows.iter().enumerate() {
        for (band_index, part) in window.bands.iter().enumerate() {
            let [cols, rows] = part.band.blocks_of(part.edges);
            for (row, col) in rows.flat_map(|row| cols.clone().map(move |col| (row, col))) {
                let number = part.band.block_number(col, row);
                let Some(planes) = tile.planes(number, part.band.planes) else {
                    continue;
                };
                let edges = part.band.block_edges(col, row);
                jobs.push(Job {
                    component: index,
                    window: window_index,
                    band: band_index,
                    edges,
                    number,
                    tile,
                    shape: BlockShape {
                        width: (edges[2] - edges[0]) as usize,
                        height: (edges[3] - edges[1]) as usize,
                        orientation: part.band.orientation,
                        style: component.style,
                        planes,
                        roi_shift: component.roi_shift,
                    },
                });
            }
        }
    }
}

/// A component out of its blocks: each resolution out of the smaller one and its bands.
fn synthesize<F: Filter>(windows: Vec<Window<'_>>, value: impl Fn(i32, f32) -> F::Sample) -> Part<F::Sample> {
    let mut smaller = Part::default();
    for window in windows {
        let mut parts = window.bands.into_iter().map(|band| assemble(band, &value));
        smaller = match (parts.next(), parts.next(), parts.next()) {
            (Some(hl), Some(lh), Some(hh)) => {
                if window.wanted[0] == window.wanted[2] || window.wanted[1] == window.wanted[3] {
                    Part::zeros(window.wanted)
                } else {
                    combine::<F>([smaller, hl, lh, hh], window.wanted, window.whole)
                }
            }
            (Some(ll), ..) => ll,
            _ => smaller,
        };
    }
    smaller
}

/// The samples of a band.
fn assemble<T: Copy + Default>(window: BandWindow<'_>, value: impl Fn(i32, f32) -> T) -> Part<T> {
    let mut part = Part::zeros(window.edges);
    // Half of the step: coefficients are twice their value.
    let step = window.band.step * 0.5;
    for (edges, cell) in window.blocks {
        match cell.get() {
            Some(Some(Coefficients::Short(samples))) => part.put(edges, samples, |v| value(v.into(), step)),
            Some(Some(Coefficients::Long(samples))) => part.put(edges, samples, |v| value(v, step)),
            _ => {}
        }
    }
    part
}

impl<T: Copy + Default> Part<T> {
    /// Puts what a block has in common with the part in its place.
    fn put<S: Copy>(&mut self, edges: Edges, samples: &[S], convert: impl Fn(S) -> T) {
        let width = (edges[2] - edges[0]) as usize;
        let (x0, x1) = (edges[0].max(self.edges[0]), edges[2].min(self.edges[2]));
        let (y0, y1) = (edges[1].max(self.edges[1]), edges[3].min(self.edges[3]));
        if x0 >= x1 {
            return;
        }
        let own_width = self.width();
        let len = (x1 - x0) as usize;
        for y in y0..y1 {
            let from = (y - edges[1]) as usize * width + (x0 - edges[0]) as usize;
            let to = (y - self.edges[1]) as usize * own_width + (x0 - self.edges[0]) as usize;
            let to = &mut self.samples[to..to + len];
            for (to, from) in to.iter_mut().zip(&samples[from..from + len]) {
                *to = convert(*from);
            }
        }
    }

    /// Puts what another part has in common with this one in its place.
    fn paste(&mut self, other: &Self) {
        self.put(other.edges, &other.samples, |sample| sample);
    }
}

/// The color transform of the first three components (Annex G).
fn transform(mut planes: Vec<Plane>, is_on: bool) -> Result<Vec<Plane>, Declined> {
    if !is_on {
        return Ok(planes);
    }
    match planes.get_mut(..3) {
        Some([Plane::Whole(y), Plane::Whole(u), Plane::Whole(v)])
            if y.edges == u.edges && y.edges == v.edges =>
        {
            let all = y.samples.iter_mut().zip(&mut u.samples).zip(&mut v.samples);
            for ((y, u), v) in all {
                // G.2.2: Y, U, V become red, green, blue.
                let green = y.wrapping_sub(u.wrapping_add(*v) >> 2);
                (*y, *u, *v) = (v.wrapping_add(green), green, u.wrapping_add(green));
            }
        }
        Some([Plane::Real(y), Plane::Real(cb), Plane::Real(cr)])
            if y.edges == cb.edges && y.edges == cr.edges =>
        {
            let all = y.samples.iter_mut().zip(&mut cb.samples).zip(&mut cr.samples);
            for ((y, cb), cr) in all {
                // G.3.2, rounded as OpenJPEG rounds it.
                let (red, blue) = (*y + *cr * 1.402, *y + *cb * 1.772);
                (*y, *cb, *cr) = (red, *y - *cb * 0.344_13 - *cr * 0.714_14, blue);
            }
        }
        _ => return Err(Declined("a color transform of components that differ")),
    }
    Ok(planes)
}

/// Samples as they are stored: rounded, with the level shift undone (G.1.2), cut off at the ends of their range.
fn finish(plane: Plane, component: &Component) -> Part<i32> {
    let depth = component.bit_depth.clamp(1, 31);
    let (low, shift) = if component.signed {
        (-1i64 << (depth - 1), 0)
    } else {
        (0, 1i64 << (depth - 1))
    };
    let high = low + (1i64 << depth) - 1;
    match plane {
        Plane::Whole(mut part) => {
            for sample in &mut part.samples {
                // Inside the range, which fits, but for 31 bits without a sign, which do too.
                *sample = (i64::from(*sample) + shift).clamp(low, high) as i32;
            }
            part
        }
        Plane::Real(part) => {
            let samples = if depth <= 20 {
                near_whole(
                    &part.samples,
                    (low - shift) as f32,
                    (high - shift) as f32,
                    shift as i32,
                )
            } else {
                let whole = part.samples.iter().map(|sample| {
                    // Not a number is 0 there.
                    (sample.round_ties_even() as i64 + shift).clamp(low, high) as i32
                });
                whole.collect()
            };
            Part {
                edges: part.edges,
                samples,
            }
        }
    }
}

/// Rounds half to even and adds `shift`, for limits that are whole and below 2^21.
fn near_whole(samples: &[f32], low: f32, high: f32, shift: i32) -> Vec<i32> {
    // 1.5 · 2^23: in the sum the last bit of the mantissa counts ones.
    const MAGIC: f32 = 12_582_912.0;
    let offset = shift - MAGIC.to_bits() as i32;
    let whole = samples.iter().map(|sample| {
        let bounded = if *sample > low { *sample } else { low };
        let bounded = if bounded < high { bounded } else { high };
        (bounded + MAGIC).to_bits() as i32 + offset
    });
    whole.collect()
}
