//! Where the bytes of every code-block of a tile lie: all packet headers, read once (ISO/IEC 15444-1 B.9, B.10).

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError, Limits};

use super::layout::TileLayout;
use super::packet_header::{HeaderBits, PartReader};
use super::parameters::Parameters;
use super::progression::{Place, for_each_packet};
use super::tag_tree::TagTree;
use super::{Declined, Outcome};
use crate::bytes::Cursor;
use crate::header::{MAX_SEGMENTS, SOD, Size};

/// No chunk.
const NONE: u32 = u32::MAX;

/// Packets and blocks gone over between two looks at the clock and at the memory taken.
const WORK_PER_CHECK: u32 = 1 << 14;

/// Tile-parts and segments of their headers read between two looks at the clock.
const SEGMENTS_PER_CHECK: usize = 1 << 10;

/// Bytes for a precinct while packets are read: what was sent of it, its place in their order, and its trees.
const BYTES_PER_PRECINCT: u64 = 512;

/// Bytes for a block in trees of its precinct.
const TREE_BYTES_PER_BLOCK: u64 = 12;

/// Bytes of coded bits of a block, at most: an encoder needs less than three for each of its 4096 samples and 38 planes.
const MAX_BLOCK_BYTES: u32 = 1 << 16;

/// Coding passes of a block: three for each of at most 38 planes.
const MAX_PASSES: u32 = 114;

/// Bit-planes a block may have, a shift included, so that its coefficients fit 32 bits.
const MAX_PLANES: u32 = 30;

/// Bytes one packet adds to a block, with the passes coded in them, in one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    /// Place in the source.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    next: u32,
    pub(crate) layer: u16,
    pub(crate) passes: u8,
}

/// What is known of a code-block.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u32,
    last: u32,
    passes: u8,
    /// `Lblock` (B.10.7.1).
    length_bits: u8,
    /// Planes above its first bit.
    empty_planes: u8,
    /// Of coded bits.
    bytes: u32,
}

/// A tile with the places of its blocks.
#[derive(Debug)]
pub(crate) struct IndexedTile {
    pub(crate) layout: TileLayout,
    pub(crate) has_color_transform: bool,
    blocks: Box<[Block]>,
    chunks: Box<[Chunk]>,
}

impl IndexedTile {
    /// Reads the headers of a tile and of its packets.
    ///
    /// # Errors
    /// `Ok(Err(_))` for a tile that is left to OpenJPEG; `LimitExceeded` for one with an index larger than memory; those
    /// of the source, `Cancelled`, `DeadlineExceeded`.
    pub(crate) fn read(
        source: &dyn ByteSource,
        size: &Size,
        main: &Parameters,
        tile: u32,
        parts: &[Range<u64>],
        ctx: &CallContext<'_>,
    ) -> Outcome<Self> {
        let (parameters, bodies) = match read_headers(source, main, parts, ctx)? {
            Ok(read) => read,
            Err(declined) => return Ok(Err(declined)),
        };
        let layout = match TileLayout::new(size, tile, &parameters, &ctx.limits)? {
            Ok(layout) => layout,
            Err(declined) => return Ok(Err(declined)),
        };
        if parameters.has_color_transform && !is_transformable(&layout, size) {
            return Ok(Err(Declined("a color transform of components that differ")));
        }
        // A packet is a byte at least: what cannot be there is not made room for.
        let there: u64 = bodies.iter().map(|body| body.end - body.start).sum();
        let packets = u64::from(layout.precinct_count) * u64::from(parameters.layers);
        if packets > there {
            return Ok(Err(Declined("fewer bytes than packets")));
        }
        let base = layout.bytes
            + u64::from(layout.precinct_count) * BYTES_PER_PRECINCT
            + u64::from(layout.block_count) * (size_of::<Block>() as u64 + TREE_BYTES_PER_BLOCK);
        ctx.limits.check_bytes(base)?;
        let mut reading = Reading::new(source, &layout, &parameters, bodies, ctx, base);
        let result = reading.packets(size);
        if let Some(failure) = reading.failure.take().or(reading.reader.failure.take()) {
            return Err(failure);
        }
        let (blocks, chunks) = (reading.blocks.into(), reading.chunks.into());
        Ok(result.map(|()| Self {
            layout,
            has_color_transform: parameters.has_color_transform,
            blocks,
            chunks,
        }))
    }

    /// Bit-planes of a block with coded bits, given those of its band; `None` for a block without any.
    pub(crate) fn planes(&self, block: u32, band_planes: u32) -> Option<u32> {
        let block = self
            .blocks
            .get(block as usize)
            .filter(|block| block.first != NONE)?;
        band_planes.checked_sub(block.empty_planes.into())
    }

    /// The chunks of a block in order, those of the first `layers` layers.
    pub(crate) fn chunks(&self, block: u32, layers: u32) -> impl Iterator<Item = &Chunk> {
        let first = self.blocks.get(block as usize).map_or(NONE, |block| block.first);
        let chunk = |at: u32| self.chunks.get(at as usize);
        std::iter::successors(chunk(first), move |last| chunk(last.next))
            .take_while(move |chunk| u32::from(chunk.layer) < layers)
    }

    /// Bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let layout = usize::try_from(self.layout.bytes).unwrap_or(usize::MAX);
        layout
            .saturating_add(size_of_val(&*self.blocks))
            .saturating_add(size_of_val(&*self.chunks))
            .saturating_add(size_of::<Self>())
    }
}

/// Whether the first three components can be transformed together: as many samples, made by the same filter.
fn is_transformable(layout: &TileLayout, size: &Size) -> bool {
    match (layout.components.get(..3), size.components.get(..3)) {
        (Some([a, b, c]), Some([x, y, z])) => {
            let step = |component: &crate::header::Component| (component.dx, component.dy);
            (a.is_reversible, a.is_reversible) == (b.is_reversible, c.is_reversible)
                && (step(x), step(x)) == (step(y), step(z))
        }
        _ => false,
    }
}

/// The headers of a tile's parts: its parameters, and where the packets of each part lie.
fn read_headers(
    source: &dyn ByteSource,
    main: &Parameters,
    parts: &[Range<u64>],
    ctx: &CallContext<'_>,
) -> Outcome<(Parameters, Vec<Range<u64>>)> {
    let mut parameters = main.clone();
    let mut work = 0usize;
    let mut bodies = Vec::with_capacity(parts.len());
    for part in parts {
        let mut cursor = Cursor::new(source, part.clone());
        if cursor.left() < part.end - part.start || cursor.left() < 14 {
            return Ok(Err(Declined("a tile-part cut off")));
        }
        cursor.take::<12>()?;
        let mut segments = Vec::new();
        for count in 0.. {
            if count == MAX_SEGMENTS || cursor.left() < 4 && cursor.left() != 2 {
                return Ok(Err(Declined("a tile-part header without end")));
            }
            work += 1;
            if work.is_multiple_of(SEGMENTS_PER_CHECK) {
                ctx.checkpoint()?;
            }
            let marker = cursor.u16()?;
            if marker == SOD {
                break;
            }
            if cursor.left() < 2 {
                return Ok(Err(Declined("a tile-part header without end")));
            }
            let len = cursor.u16()?;
            let body = u64::from(len).saturating_sub(2);
            if len < 2 || body > cursor.left() {
                return Ok(Err(Declined("a segment longer than its tile-part")));
            }
            if is_parameter(marker) {
                if segments.len() > MAX_PARAMETER_BYTES {
                    return Ok(Err(Declined("parameters without end")));
                }
                segments.extend(marker.to_be_bytes());
                segments.extend(len.to_be_bytes());
                segments.extend(cursor.take_vec(body)?);
            } else {
                cursor.seek(cursor.position() + body);
            }
        }
        if let Err(declined) = parameters.apply_tile(&segments) {
            return Ok(Err(declined));
        }
        bodies.push(cursor.position()..part.end);
    }
    Ok(Ok((parameters, bodies)))
}

/// Bytes of parameters in the header of a tile-part, at most: those of every component, several times over.
const MAX_PARAMETER_BYTES: usize = 4 << 20;

/// Whether a segment of a tile-part header states parameters; packet lengths (PLT) and comments do not.
fn is_parameter(marker: u16) -> bool {
    !matches!(marker, 0xff58 | 0xff64)
}

/// What is known of the blocks of a precinct in a band while packets are read.
#[derive(Clone, Debug)]
struct Trees {
    inclusion: TagTree,
    empty_planes: TagTree,
}

/// The packets of a tile while they are read.
struct Reading<'a> {
    layout: &'a TileLayout,
    parameters: &'a Parameters,
    reader: PartReader<'a>,
    parts: std::vec::IntoIter<Range<u64>>,
    /// By precinct of the tile: one for each band, made with its first packet.
    trees: Vec<Option<Box<[Trees]>>>,
    blocks: Vec<Block>,
    chunks: Vec<Chunk>,
    /// Blocks with bytes in the packet that is read: block, passes, length.
    pending: Vec<(u32, u32, u32)>,
    watch: Watch<'a>,
    failure: Option<DecodeError>,
}

/// Looks at the clock and at memory now and then.
struct Watch<'a> {
    ctx: &'a CallContext<'a>,
    limits: Limits,
    /// Bytes taken beside the chunks.
    base: u64,
    work: u32,
}

impl Watch<'_> {
    /// Counts a packet or a block that was gone over, and tells whether to stop.
    #[inline(always)]
    fn step(&mut self, chunks: usize) -> Result<(), DecodeError> {
        self.work += 1;
        if self.work < WORK_PER_CHECK {
            return Ok(());
        }
        self.work = 0;
        self.ctx.checkpoint()?;
        // They are moved to a place twice as large from time to time.
        let bytes = 3 * chunks as u64 * size_of::<Chunk>() as u64;
        self.limits.check_bytes(self.base.saturating_add(bytes))
    }
}

impl<'a> Reading<'a> {
    fn new(
        source: &'a dyn ByteSource,
        layout: &'a TileLayout,
        parameters: &'a Parameters,
        bodies: Vec<Range<u64>>,
        ctx: &'a CallContext<'a>,
        base: u64,
    ) -> Self {
        let nothing = Block {
            first: NONE,
            last: NONE,
            passes: 0,
            length_bits: 3,
            empty_planes: 0,
            bytes: 0,
        };
        Self {
            layout,
            parameters,
            reader: PartReader::new(source, 0, 0),
            parts: bodies.into_iter(),
            trees: vec![None; layout.precinct_count as usize],
            blocks: vec![nothing; layout.block_count as usize],
            chunks: Vec::new(),
            pending: Vec::new(),
            watch: Watch {
                ctx,
                limits: ctx.limits,
                base,
                work: 0,
            },
            failure: None,
        }
    }

    /// Counts work; in time the reason to stop is in `failure`.
    #[inline(always)]
    fn step(&mut self) -> Result<(), Declined> {
        let chunks = self.chunks.len() + self.pending.len();
        self.watch.step(chunks).map_err(|error| {
            self.failure = Some(error);
            Declined("time or memory is up")
        })
    }

    /// All packets of the tile.
    fn packets(&mut self, size: &Size) -> Result<(), Declined> {
        let layout = self.layout;
        let mut sent = vec![0u16; layout.precinct_count as usize];
        for volume in self.parameters.volumes() {
            for_each_packet(layout, size, &volume, &mut sent, |packet| {
                self.step()?;
                match packet {
                    Some((place, layer)) => self.packet(place, layer),
                    None => Ok(()),
                }
            })?;
        }
        if sent
            .iter()
            .any(|layers| u32::from(*layers) < self.parameters.layers)
        {
            // OpenJPEG leaves out resolutions without packets.
            return Err(Declined("an order of packets that leaves some out"));
        }
        Ok(())
    }

    /// One packet: its header, and where the bytes behind it belong.
    fn packet(&mut self, place: Place, layer: u32) -> Result<(), Declined> {
        while self.reader.left() == 0 {
            let part = self.parts.next().ok_or(Declined("packets that are missing"))?;
            self.reader.restart(part.start, part.end);
        }
        if self.parameters.has_start_marks && self.reader.peek()? == Some([0xff, 0x91]) {
            self.reader.skip(6)?;
        }
        self.pending.clear();
        self.header(place, layer)?;
        if self.parameters.has_end_marks {
            if self.reader.peek()? != Some([0xff, 0x92]) {
                return Err(Declined("a packet header without its end mark"));
            }
            self.reader.skip(2)?;
        }
        let mut offset = self.reader.position();
        let start = offset;
        for &(block, passes, len) in &self.pending {
            let at = self.chunks.len() as u32;
            if at == NONE {
                return Err(Declined("more packets than an index has room for"));
            }
            self.chunks.push(Chunk {
                offset,
                len,
                next: NONE,
                // Layers and passes of a block are checked where they are read.
                layer: layer as u16,
                passes: passes as u8,
            });
            let block = &mut self.blocks[block as usize];
            match self.chunks.get_mut(block.last as usize) {
                Some(last) => last.next = at,
                None => block.first = at,
            }
            block.last = at;
            offset += u64::from(len);
        }
        self.reader.skip(offset - start)
    }

    /// The header of a packet (B.10).
    fn header(&mut self, place: Place, layer: u32) -> Result<(), Declined> {
        let component = &self.layout.components[place.component as usize];
        let resolution = &component.resolutions[place.resolution as usize];
        let number = resolution.first_precinct + place.precinct;
        let mut bits = HeaderBits::new(&mut self.reader);
        if !bits.bit()? {
            return bits.finish();
        }
        let place_of_trees = self
            .trees
            .get_mut(number as usize)
            .ok_or(Declined("a precinct too many"))?;
        let trees = place_of_trees.get_or_insert_with(|| {
            let bands = resolution.bands.iter();
            let made = bands.map(|band| {
                let [cols, rows] = resolution.blocks_of(band, place.precinct);
                let tree = TagTree::new(cols.len() as u32, rows.len() as u32);
                Trees {
                    inclusion: tree.clone(),
                    empty_planes: tree,
                }
            });
            made.collect()
        });
        for (band, trees) in resolution.bands.iter().zip(trees.iter_mut()) {
            let [cols, rows] = resolution.blocks_of(band, place.precinct);
            for (row, col) in rows
                .clone()
                .flat_map(|row| cols.clone().map(move |col| (row, col)))
            {
                let chunks = self.chunks.len() + self.pending.len();
                if let Err(error) = self.watch.step(chunks) {
                    self.failure = Some(error);
                    return Err(Declined("time or memory is up"));
                }
                let at = [col - cols.start, row - rows.start];
                let number = band.block_number(col, row);
                let block = self
                    .blocks
                    .get_mut(number as usize)
                    .ok_or(Declined("a block too many"))?;
                if block.passes > 0 {
                    if !bits.bit()? {
                        continue;
                    }
                } else {
                    if !trees.inclusion.is_less(&mut bits, at, layer + 1)? {
                        continue;
                    }
                    let mut planes = 0;
                    while !trees.empty_planes.is_less(&mut bits, at, planes + 1)? {
                        planes += 1;
                        if planes > band.planes {
                            return Err(Declined("a block with more empty planes than its band has"));
                        }
                    }
                    if band.planes - planes + component.roi_shift > MAX_PLANES {
                        return Err(Declined("coefficients of more than 30 bits"));
                    }
                    // Not above the planes of a band, which are below 40.
                    block.empty_planes = planes as u8;
                }
                let mut passes = bits.passes()?;
                let total = u32::from(block.passes) + passes;
                let length_bits = u32::from(block.length_bits) + bits.ones()?;
                if total > MAX_PASSES || length_bits > 32 {
                    return Err(Declined("more passes or longer lengths than blocks can have"));
                }
                block.length_bits = length_bits as u8;
                while passes > 0 {
                    let here = component.style.passes_left(block.passes.into()).min(passes);
                    let bits_here = length_bits + here.ilog2();
                    if bits_here > 32 {
                        return Err(Declined("lengths of more than 32 bits"));
                    }
                    let len = bits.number(bits_here)?;
                    block.bytes = block.bytes.saturating_add(len);
                    if block.bytes > MAX_BLOCK_BYTES {
                        return Err(Declined("a block of more bytes than it has bits"));
                    }
                    self.pending.push((number, here, len));
                    block.passes += here as u8;
                    passes -= here;
                }
            }
        }
        if layer + 1 == self.parameters.layers {
            *place_of_trees = None;
        }
        bits.finish()
    }
}
