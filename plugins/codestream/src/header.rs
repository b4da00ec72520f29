//! The main header of a codestream (ISO/IEC 15444-1 Annex A).

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};

use crate::bytes::{Cursor, Fields};
use crate::engine::ceil_shift;
use crate::tile_parts::TileParts;

pub(crate) const SOC: u16 = 0xff4f;
const CAP: u16 = 0xff50;
const SIZ: u16 = 0xff51;
pub(crate) const COD: u16 = 0xff52;
pub(crate) const COC: u16 = 0xff53;
const TLM: u16 = 0xff55;
const PLM: u16 = 0xff57;
pub(crate) const QCD: u16 = 0xff5c;
const PPM: u16 = 0xff60;
const COM: u16 = 0xff64;
pub(crate) const SOT: u16 = 0xff90;
pub(crate) const SOD: u16 = 0xff93;
pub(crate) const EOC: u16 = 0xffd9;

/// Largest main header kept, pointer segments not counted.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Marker segments of one header: more are no picture but an attack.
pub(crate) const MAX_SEGMENTS: u32 = 100_000;

/// Tile-parts whose headers are looked into when the image is opened.
const MAX_PARTS_AT_OPEN: usize = 256;

/// One component of the SIZ segment (A.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Significant bits, 1 to 38.
    pub bit_depth: u32,
    /// Whether samples are signed.
    pub signed: bool,
    /// Horizontal distance of samples on the reference grid (`XRsiz`).
    pub dx: u32,
    /// Vertical distance (`YRsiz`).
    pub dy: u32,
}

impl Component {
    /// Left, top, right, bottom edge of an area of the reference grid in samples of this component at a reduction
    /// (B-12, B-14).
    pub(crate) fn edges(&self, area: [u32; 4], reduction: u32) -> [u32; 4] {
        let steps = [self.dx, self.dy];
        [0, 1, 2, 3].map(|at| ceil_shift(area[at].div_ceil(steps[at % 2]).into(), reduction))
    }
}

/// The SIZ segment: the image on the reference grid (B.2, B.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Left, top, right, bottom edge of the image.
    pub image: [u32; 4],
    /// Left and top edge of the first tile.
    pub tile_origin: [u32; 2],
    /// Width and height of a tile.
    pub tile: [u32; 2],
    /// The components, at least one.
    pub components: Vec<Component>,
}

impl Size {
    /// Tiles across and down (B-5).
    pub fn tile_grid(&self) -> [u32; 2] {
        let [_, _, x1, y1] = self.image;
        [
            (x1 - self.tile_origin[0]).div_ceil(self.tile[0]),
            (y1 - self.tile_origin[1]).div_ceil(self.tile[1]),
        ]
    }

    /// Distance of the samples of all components, where they share it (`XRsiz`, `YRsiz`); 1 else. A picture
    /// has no more pixels than that, however fine its reference grid is.
    pub fn step(&self) -> [u32; 2] {
        let shared = |of: fn(&Component) -> u32| {
            let mut steps = self.components.iter().map(of);
            let first = steps.next().unwrap_or(1);
            if steps.all(|step| step == first) { first } else { 1 }
        };
        [shared(|c| c.dx), shared(|c| c.dy)]
    }

    /// Left, top, right, bottom edge of the image in pixels: in steps of the reference grid (B-12).
    pub fn edges(&self) -> [u32; 4] {
        let [dx, dy] = self.step();
        let [x0, y0, x1, y1] = self.image;
        [x0.div_ceil(dx), y0.div_ceil(dy), x1.div_ceil(dx), y1.div_ceil(dy)]
    }

    /// Columns and rows of the tiles that an area of the reference grid touches.
    pub fn tiles_of(&self, area: [u32; 4]) -> [Range<u32>; 2] {
        let [x0, y0, x1, y1] = area;
        let along = |low: u32, high: u32, axis: usize| {
            let origin = self.tile_origin[axis];
            let first = low.saturating_sub(origin) / self.tile[axis];
            first..high.saturating_sub(origin).div_ceil(self.tile[axis])
        };
        [along(x0, x1, 0), along(y0, y1, 1)]
    }

    /// Where tiles lie on the reference grid along an axis, given as a range of columns or rows of tiles; it may reach
    /// beyond the image.
    pub fn tile_span(&self, axis: usize, tiles: Range<u32>) -> Range<u64> {
        let edge =
            |tile: u32| u64::from(self.tile_origin[axis]) + u64::from(tile) * u64::from(self.tile[axis]);
        edge(tiles.start)..edge(tiles.end)
    }

    /// The rectangle some columns and rows of tiles cover of the image: left, top, right, bottom edge on the reference
    /// grid (B-7 to B-10).
    pub(crate) fn edges_of_tiles(&self, [cols, rows]: [Range<u32>; 2]) -> [u32; 4] {
        let along = |axis: usize, tiles: Range<u32>| {
            let span = self.tile_span(axis, tiles);
            // Within the image, whose edges are u32.
            let clamp = |v: u64| v.clamp(self.image[axis].into(), self.image[axis + 2].into()) as u32;
            (clamp(span.start), clamp(span.end))
        };
        let ((x0, x1), (y0, y1)) = (along(0, cols), along(1, rows));
        [x0, y0, x1, y1]
    }
}

/// What a module has to know of the main header.
#[derive(Clone, Debug)]
pub struct MainHeader {
    /// The SIZ segment.
    pub size: Size,
    /// Quality layers.
    pub layers: u32,
    /// Decompositions that every component of every tile seen has at least.
    pub decompositions: u32,
    /// Width and height of code-blocks and precincts, the smallest of any component, as powers of two; the
    /// codec makes a structure for each of them.
    pub partition: Partition,
    /// Block coder of ISO/IEC 15444-15.
    pub high_throughput: bool,
    /// Comments of the encoder (A.9.2).
    pub comments: Vec<Vec<u8>>,
    /// The header without pointer segments (TLM, PLM): pieces of the file may follow it in any choice.
    pub bytes: Vec<u8>,
    /// Whether packet headers are kept in the main header, which ties them to all tile-parts in order.
    pub packed_headers: bool,
    /// From the first SOT to the end of the codestream.
    pub tile_parts: Range<u64>,
}

impl MainHeader {
    /// Reads the main header of a codestream and the headers of its first tile-parts.
    ///
    /// # Errors
    /// `Format` for a broken header, `Unsupported` for what the codec cannot do, those of the source.
    pub fn read(
        source: &dyn ByteSource,
        codestream: Range<u64>,
        ctx: &CallContext<'_>,
    ) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(source, codestream);
        if cursor.u16()? != SOC {
            return Err(DecodeError::format("the codestream does not start with SOC"));
        }
        let mut header = Header {
            bytes: SOC.to_be_bytes().to_vec(),
            ..Header::default()
        };
        let mut count = 0;
        loop {
            let marker = cursor.u16()?;
            if marker == SOT {
                break;
            }
            if marker == EOC || marker == SOD || marker < 0xff00 {
                return Err(DecodeError::format(format!(
                    "marker {marker:04x} in the main header at offset {}",
                    cursor.position() - 2
                )));
            }
            count += 1;
            if count > MAX_SEGMENTS {
                return Err(DecodeError::format("too many segments in the main header"));
            }
            if count % 256 == 0 {
                ctx.checkpoint()?;
            }
            header.segment(marker, &mut cursor)?;
        }
        let start = cursor.position() - 2;
        let mut main = header.finish(start..start + 2 + cursor.left())?;
        main.look_into_tile_parts(source, ctx)?;
        Ok(main)
    }

    /// Tiles may have fewer decompositions than the main header says (A.6.1). Only the first tile-parts are
    /// looked into, so that opening takes the same time for any size.
    fn look_into_tile_parts(
        &mut self,
        source: &dyn ByteSource,
        ctx: &CallContext<'_>,
    ) -> Result<(), DecodeError> {
        let mut parts = TileParts::new(source, self.tile_parts.clone());
        for _ in 0..MAX_PARTS_AT_OPEN {
            ctx.checkpoint()?;
            // What is wrong behind the main header is found, and told, when those pixels are wanted.
            let Ok(Some(part)) = parts.next() else { break };
            match part.style(source, self.size.components.len(), ctx) {
                Ok(Some((decompositions, partition))) => {
                    self.decompositions = self.decompositions.min(decompositions);
                    self.partition = self.partition.finer(&partition);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// How finely resolutions are cut up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Code-blocks (A.6.1, xcb and ycb).
    pub block: [u32; 2],
    /// Precincts by resolution, the smallest first; the last one stands for those that follow.
    pub precincts: Vec<[u32; 2]>,
}

impl Partition {
    /// From the end of a COD or COC segment: block sizes, two bytes, precinct sizes.
    fn read(fields: &mut Fields<'_>, has_precincts: bool) -> Option<(Self, u8, u8)> {
        let block = [fields.u8()?, fields.u8()?].map(|power| u32::from(power & 15) + 2);
        let (style, transform) = (fields.u8()?, fields.u8()?);
        let mut precincts = Vec::new();
        while let (true, Some(powers)) = (has_precincts, fields.u8()) {
            precincts.push([u32::from(powers & 15), u32::from(powers >> 4)]);
        }
        if precincts.is_empty() {
            precincts.push([15, 15]);
        }
        Some((Self { block, precincts }, style, transform))
    }

    /// The finer of both, axis by axis.
    pub(crate) fn finer(&self, other: &Self) -> Self {
        let both = |a: [u32; 2], b: [u32; 2]| [a[0].min(b[0]), a[1].min(b[1])];
        let count = self.precincts.len().max(other.precincts.len());
        Self {
            block: both(self.block, other.block),
            precincts: (0..count)
                .map(|resolution| both(self.precinct(resolution), other.precinct(resolution)))
                .collect(),
        }
    }

    /// The precincts of a resolution, 0 the smallest.
    pub fn precinct(&self, resolution: usize) -> [u32; 2] {
        let found = self.precincts.get(resolution).or(self.precincts.last());
        found.copied().unwrap_or([15, 15])
    }
}

/// The main header while it is read.
#[derive(Default)]
struct Header {
    size: Option<Size>,
    style: Option<Style>,
    least_decompositions: Option<u32>,
    partition: Option<Partition>,
    quantization: bool,
    packed_headers: bool,
    high_throughput: bool,
    comments: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Header {
    /// Reads one marker segment; the cursor stands behind its marker.
    fn segment(&mut self, marker: u16, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        if self.size.is_none() && marker != SIZ {
            return Err(DecodeError::format(format!(
                "marker {marker:04x} where SIZ was expected"
            )));
        }
        let len = cursor.u16()?;
        let body_len = len
            .checked_sub(2)
            .ok_or_else(|| DecodeError::format(format!("segment {marker:04x} is {len} bytes long")))?;
        if marker == TLM || marker == PLM {
            cursor.take_vec(u64::from(body_len))?;
            return Ok(());
        }
        if self.bytes.len() as u64 + u64::from(len) > MAX_HEADER_BYTES {
            return Err(DecodeError::limit(format!(
                "a main header of more than {MAX_HEADER_BYTES} bytes"
            )));
        }
        let body = cursor.take_vec(u64::from(body_len))?;
        self.bytes.extend(marker.to_be_bytes());
        self.bytes.extend(len.to_be_bytes());
        self.bytes.extend(&body);
        let short = || DecodeError::format(format!("segment {marker:04x} of {len} bytes is too short"));
        match marker {
            SIZ if self.size.is_some() => return Err(DecodeError::format("a second SIZ segment")),
            SIZ => self.size = Some(read_size(&body)?),
            COD => {
                let style = Style::read(&body).ok_or_else(short)?;
                self.note(style.decompositions, &style.partition);
                self.high_throughput |= style.high_throughput;
                self.style = Some(style);
            }
            COC => {
                let count = self.size.as_ref().map_or(0, |size| size.components.len());
                let (decompositions, partition) = component_style(&body, count).ok_or_else(short)?;
                self.note(decompositions, &partition);
            }
            QCD => self.quantization = true,
            PPM => self.packed_headers = true,
            // Part 15 is the 15th bit of Pcap from the top (ISO/IEC 15444-1 A.5.2).
            CAP => {
                let pcap = Fields(&body).u32().ok_or_else(short)?;
                self.high_throughput |= pcap & (1 << 17) != 0;
            }
            COM => self.comments.extend(body.get(2..).map(<[u8]>::to_vec)),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, decompositions: u32, partition: &Partition) {
        let finer = self.partition.take().map(|known| known.finer(partition));
        self.partition = Some(finer.unwrap_or_else(|| partition.clone()));
        let least = self.least_decompositions.unwrap_or(u32::MAX);
        self.least_decompositions = Some(least.min(decompositions));
    }

    fn finish(self, tile_parts: Range<u64>) -> Result<MainHeader, DecodeError> {
        let missing = |what: &str| DecodeError::format(format!("the main header has no {what} segment"));
        let size = self.size.ok_or_else(|| missing("SIZ"))?;
        let style = self.style.ok_or_else(|| missing("COD"))?;
        if !self.quantization {
            return Err(missing("QCD"));
        }
        Ok(MainHeader {
            size,
            layers: style.layers,
            decompositions: self.least_decompositions.unwrap_or(style.decompositions),
            partition: self.partition.unwrap_or(style.partition),
            high_throughput: self.high_throughput,
            comments: self.comments,
            bytes: self.bytes,
            packed_headers: self.packed_headers,
            tile_parts,
        })
    }
}

/// The SIZ segment (A.5.1).
fn read_size(body: &[u8]) -> Result<Size, DecodeError> {
    let fields = &mut Fields(body);
    let read = |fields: &mut Fields<'_>| -> Option<(Size, u16)> {
        fields.u16()?;
        let [x1, y1, x0, y0] = [fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?];
        let tile = [fields.u32()?, fields.u32()?];
        let tile_origin = [fields.u32()?, fields.u32()?];
        let count = fields.u16()?;
        let mut components = Vec::new();
        while let Some(depth) = fields.u8() {
            components.push(Component {
                bit_depth: u32::from(depth & 0x7f) + 1,
                signed: depth & 0x80 != 0,
                dx: u32::from(fields.u8()?),
                dy: u32::from(fields.u8()?),
            });
        }
        let image = [x0, y0, x1, y1];
        let size = Size {
            image,
            tile_origin,
            tile,
            components,
        };
        Some((size, count))
    };
    let (size, count) = read(fields).ok_or_else(|| DecodeError::format("the SIZ segment is too short"))?;
    let wrong = |what: String| Err(DecodeError::format(format!("SIZ segment: {what}")));
    let [x0, y0, x1, y1] = size.image;
    let [tile_width, tile_height] = size.tile;
    let [tile_x, tile_y] = size.tile_origin;
    if x0 >= x1 || y0 >= y1 {
        return wrong(format!("an image from {x0},{y0} to {x1},{y1}"));
    }
    // B.3: the first tile holds at least one pixel of the image.
    let holds = |tile: u32, side: u32, image: u32| {
        side > 0 && tile <= image && u64::from(tile) + u64::from(side) > u64::from(image)
    };
    if !holds(tile_x, tile_width, x0) || !holds(tile_y, tile_height, y0) {
        return wrong(format!(
            "a first tile of {tile_width}x{tile_height} at {tile_x},{tile_y} for an image at {x0},{y0}"
        ));
    }
    if count == 0 || count > 16_384 || size.components.len() != usize::from(count) {
        return wrong(format!(
            "{count} components stated, {} described",
            size.components.len()
        ));
    }
    for (index, component) in size.components.iter().enumerate() {
        if component.dx == 0 || component.dy == 0 || component.bit_depth > 38 {
            return wrong(format!("component {index} is {component:?}"));
        }
        if x0.div_ceil(component.dx) >= x1.div_ceil(component.dx)
            || y0.div_ceil(component.dy) >= y1.div_ceil(component.dy)
        {
            return wrong(format!("component {index} has no samples"));
        }
    }
    let [cols, rows] = size.tile_grid();
    if u64::from(cols) * u64::from(rows) > 65_535 {
        return wrong(format!("{cols}x{rows} tiles, at most 65535 can be numbered"));
    }
    if x1 > i32::MAX as u32 || y1 > i32::MAX as u32 {
        return Err(DecodeError::unsupported(format!(
            "a reference grid of {x1}x{y1}: the codec counts to {}",
            i32::MAX
        )));
    }
    Ok(size)
}

/// What matters of a COD segment (A.6.1).
pub(crate) struct Style {
    layers: u32,
    pub(crate) decompositions: u32,
    pub(crate) partition: Partition,
    high_throughput: bool,
}

impl Style {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let fields = &mut Fields(body);
        let style = fields.u8()?;
        let _progression = fields.u8()?;
        let layers = u32::from(fields.u16()?);
        let _component_transform = fields.u8()?;
        let decompositions = u32::from(fields.u8()?);
        let (partition, block_style, _transform) = Partition::read(fields, style & 1 != 0)?;
        Some(Self {
            layers: layers.max(1),
            decompositions: decompositions.min(32),
            partition,
            high_throughput: block_style & 0x40 != 0,
        })
    }
}

/// Decompositions and partition of a COC segment (A.6.2).
pub(crate) fn component_style(body: &[u8], component_count: usize) -> Option<(u32, Partition)> {
    let fields = &mut Fields(body);
    fields.uint(if component_count < 257 { 1 } else { 2 })?;
    let style = fields.u8()?;
    let decompositions = u32::from(fields.u8()?).min(32);
    let (partition, ..) = Partition::read(fields, style & 1 != 0)?;
    Some((decompositions, partition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_encoder::{Recipe, encode};
    use iiphost_plugin_api::{Limits, PlainServices};
    use proptest::prelude::*;

    fn read(file: Vec<u8>) -> Result<MainHeader, DecodeError> {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        MainHeader::read(&file, 0..file.len() as u64, &ctx)
    }

    fn sample() -> Vec<u8> {
        encode(&Recipe {
            tile: Some((16, 16)),
            layers: 3,
            offset: (5, 3),
            ..Recipe::new(40, 24, 3, 8)
        })
    }

    #[test]
    fn the_main_header_tells_what_the_encoder_was_asked_for() {
        let file = sample();
        let header = read(file.clone()).unwrap();
        assert_eq!(header.size.image, [5, 3, 45, 27]);
        assert_eq!(header.size.tile, [16, 16]);
        assert_eq!(header.size.tile_grid(), [3, 2]);
        assert_eq!(header.size.tiles_of([15, 3, 16, 17]), [0..1, 0..2]);
        assert_eq!(header.size.components.len(), 3);
        assert_eq!((header.layers, header.decompositions), (3, 3));
        assert!(!header.high_throughput);
        assert_eq!(header.bytes, file[..header.tile_parts.start as usize]);
    }

    #[test]
    fn tile_parts_follow_each_other_to_the_end() {
        let file = sample();
        let header = read(file.clone()).unwrap();
        let mut parts = TileParts::new(&file, header.tile_parts.clone());
        let mut position = header.tile_parts.start;
        for tile in 0..6 {
            let part = parts.next().unwrap().unwrap();
            assert_eq!((part.tile, part.range.start), (tile, position));
            position = part.range.end;
        }
        assert_eq!(parts.next().unwrap(), None);
        assert_eq!(position + 2, file.len() as u64);
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        let file = sample();
        let len = read(file.clone()).unwrap().tile_parts.start as usize;
        for cut in 0..len + 2 {
            assert!(read(file[..cut].to_vec()).is_err(), "cut after {cut} bytes");
        }
        assert!(read(file[..len + 2].to_vec()).is_ok());
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic(flips in prop::collection::vec((0usize..200, any::<u8>()), 1..8)) {
            let mut file = sample();
            for (at, value) in flips {
                if let Some(byte) = file.get_mut(at) {
                    *byte = value;
                }
            }
            if let Ok(header) = read(file.clone()) {
                let size = &header.size;
                prop_assert!(size.image[0] < size.image[2] && size.image[1] < size.image[3]);
                let mut parts = TileParts::new(&file, header.tile_parts.clone());
                for _ in 0..100 {
                    if !matches!(parts.next(), Ok(Some(_))) {
                        break;
                    }
                }
            }
        }
    }
}
