//! Where the bytes of every code-block of a tile lie: all packet headers, read once (ISO/IEC 15444-1 B.9, B.10).

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};

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

/// Packets read between two looks at the clock.
const PACKETS_PER_CHECK: u32 = 1024;

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
}

/// A tile with the places of its blocks.
#[derive(Debug)]
pub(crate) struct IndexedTile {
    pub(crate) layout: TileLayout,
    pub(crate) has_color_transform: bool,
    blocks: Vec<Block>,
    chunks: Vec<Chunk>,
}

impl IndexedTile {
    /// Reads the headers of a tile and of its packets.
    ///
    /// # Errors
    /// `Ok(Err(_))` for a tile that is left to OpenJPEG; those of the source, `Cancelled`, `DeadlineExceeded`.
    pub(crate) fn read(
        source: &dyn ByteSource,
        size: &Size,
        main: &Parameters,
        tile: u32,
        parts: &[Range<u64>],
        ctx: &CallContext<'_>,
    ) -> Outcome<Self> {
        let (parameters, bodies) = match read_headers(source, main, parts)? {
            Ok(read) => read,
            Err(declined) => return Ok(Err(declined)),
        };
        let layout = match TileLayout::new(size, tile, &parameters) {
            Ok(layout) => layout,
            Err(declined) => return Ok(Err(declined)),
        };
        let mut reading = Reading::new(source, &layout, &parameters, bodies);
        let result = reading.packets(size, ctx);
        if let Some(failure) = reading.failure.take().or(reading.reader.failure.take()) {
            return Err(failure);
        }
        let (blocks, chunks) = (reading.blocks, reading.chunks);
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
        self.blocks.len() * size_of::<Block>() + self.chunks.len() * size_of::<Chunk>() + 4096
    }
}

/// The headers of a tile's parts: its parameters, and where the packets of each part lie.
fn read_headers(
    source: &dyn ByteSource,
    main: &Parameters,
    parts: &[Range<u64>],
) -> Outcome<(Parameters, Vec<Range<u64>>)> {
    let mut parameters = main.clone();
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
    failure: Option<DecodeError>,
}

impl<'a> Reading<'a> {
    fn new(
        source: &'a dyn ByteSource,
        layout: &'a TileLayout,
        parameters: &'a Parameters,
        bodies: Vec<Range<u64>>,
    ) -> Self {
        let nothing = Block {
            first: NONE,
            last: NONE,
            passes: 0,
            length_bits: 3,
            empty_planes: 0,
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
            failure: None,
        }
    }

    /// All packets of the tile.
    fn packets(&mut self, size: &Size, ctx: &CallContext<'_>) -> Result<(), Declined> {
        let layout = self.layout;
        let mut sent = vec![0; layout.precinct_count as usize];
        let mut count = 0;
        for volume in self.parameters.volumes() {
            for_each_packet(layout, size, &volume, &mut sent, |place, layer| {
                count += 1;
                if count % PACKETS_PER_CHECK == 0
                    && let Err(error) = ctx.checkpoint()
                {
                    self.failure = Some(error);
                    return Err(Declined("nobody waits any more"));
                }
                self.packet(place, layer)
            })?;
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
        let trees = self
            .trees
            .get_mut(number as usize)
            .ok_or(Declined("a precinct too many"))?;
        let trees = trees.get_or_insert_with(|| {
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
        let mut bits = HeaderBits::new(&mut self.reader);
        if !bits.bit()? {
            return bits.finish();
        }
        for (band, trees) in resolution.bands.iter().zip(trees.iter_mut()) {
            let [cols, rows] = resolution.blocks_of(band, place.precinct);
            for (row, col) in rows
                .clone()
                .flat_map(|row| cols.clone().map(move |col| (row, col)))
            {
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
                    self.pending.push((number, here, len));
                    block.passes += here as u8;
                    passes -= here;
                }
            }
        }
        bits.finish()
    }
}
