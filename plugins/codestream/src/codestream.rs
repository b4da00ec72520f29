//! One open codestream: which bytes a decode needs, and what it costs.

use std::ops::Range;
use std::sync::Arc;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError};
use parking_lot::Mutex;

use crate::decoded::{Decoded, Plane, Planes};
use crate::engine::{Engine, Part, Samples, lock};
use crate::header::MainHeader;
use crate::openjpeg::{self, Job};
use crate::splice::Splice;
use crate::store::Store;
use crate::tile_index::{CutPart, TileIndex};

/// End of codestream, behind the pieces put together.
const EOC: [u8; 2] = [0xff, 0xd9];

/// Bytes the codec needs for a sample: those of the image, those of the tile, and its share of blocks.
const BYTES_PER_SAMPLE: u64 = 10;

/// Bytes the codec keeps for a code-block, decoded or not.
const BYTES_PER_BLOCK: u64 = 256;

/// Bytes the codec keeps for the coding parameters of every tile of the image, whatever is decoded.
const BYTES_PER_TILE: u64 = 6144;

/// The same for every component of every tile.
const BYTES_PER_TILE_COMPONENT: u64 = 1280;

/// Bytes the codec keeps for a precinct of a component.
const BYTES_PER_PRECINCT: u64 = 512;

/// Decompositions a codestream may have.
const MAX_DECOMPOSITIONS: usize = 32;

/// Samples of a band that a wavelet filter needs beyond an edge, in the codec's count.
const FILTER_MARGIN: u64 = 3;

/// Samples of a tile whose packet headers and structures cost as much as decoding one.
const SAMPLES_PER_HEADER: u64 = 256;

/// What to decode of a codestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Highest resolutions left out; at most [`MainHeader::decompositions`].
    pub reduction: u32,
    /// Quality layers, 0 = all.
    pub layers: u32,
    /// Rectangle on the reference grid inside [`Size::image`](crate::Size::image): left, top, right, bottom
    /// edge (ISO/IEC 15444-1 B.2). A component has the samples whose grid points, in its steps and those of
    /// the reduction, lie in it: from `⌈⌈x0/dx⌉/2^reduction⌉` to `⌈⌈x1/dx⌉/2^reduction⌉`.
    pub area: [u32; 4],
}

/// A codestream somewhere in a source.
#[derive(Debug)]
pub struct Codestream {
    header: MainHeader,
    /// Built at the first decode; `Some(None)` where it cannot be.
    index: Mutex<Option<Option<Arc<TileIndex>>>>,
    engine: Engine,
}

impl Codestream {
    /// Reads the main header of the codestream in a range of a source, and the headers of its first
    /// tile-parts.
    ///
    /// # Errors
    /// `Format` for a broken header, `Unsupported` for what the codec cannot do, those of the source.
    pub fn open(
        source: &dyn ByteSource,
        range: Range<u64>,
        ctx: &CallContext<'_>,
    ) -> Result<Self, DecodeError> {
        let header = MainHeader::read(source, range, ctx)?;
        Ok(Self {
            engine: Engine::new(&header, Store::new(0)),
            header,
            index: Mutex::new(None),
        })
    }

    /// Keeps what it decodes in a store, for later decodes.
    #[must_use]
    pub fn with_store(mut self, store: &Arc<Store>) -> Self {
        self.engine.keep_in(store);
        self
    }

    /// What the main header says.
    #[must_use]
    pub fn header(&self) -> &MainHeader {
        &self.header
    }

    /// Decodes an area with as many threads as the limits of `ctx` allow, reading from the source the
    /// codestream was opened in. Limits on pixels and memory are the caller's to check, with
    /// [`Self::memory`]. `None` if none of the tiles it touches is there: the file was cut before them.
    ///
    /// # Errors
    /// `Format` for a codestream that gives no pixels here, `Cancelled`, `DeadlineExceeded`, those of the
    /// source.
    pub fn decode(
        &self,
        source: &dyn ByteSource,
        wanted: &Wanted,
        ctx: &CallContext<'_>,
    ) -> Result<Option<Decoded>, DecodeError> {
        ctx.checkpoint()?;
        let index = self.index(source, ctx)?;
        if let Some(index) = index.as_ref().filter(|index| index.broken.is_none())
            && self.engine.takes()
        {
            let parts = |tile| (tile, index.parts(tile).collect());
            let tiles: Vec<_> = self.tiles(wanted.area).map(parts).collect();
            if let Ok(samples) = self.engine.decode(source, &self.header, &tiles, wanted, ctx)? {
                return Ok(Some(Decoded {
                    planes: Planes::Own(samples),
                    complaints: Vec::new(),
                }));
            }
        }
        let mut splice = Splice::new(source);
        splice.push_bytes(&self.header.bytes);
        // Packet headers in the main header are tied to all tile-parts in order.
        let whole = self.header.packed_headers || self.header.size.tile_grid() == [1, 1];
        let cut = index.as_ref().and_then(|index| index.cut.as_ref());
        match index.as_ref().filter(|_| !whole) {
            None => {
                push_parts(&mut splice, self.header.tile_parts.clone(), cut);
                if cut.is_some() {
                    splice.push_bytes(&EOC);
                }
            }
            Some(index) => {
                let header_len = splice.len();
                self.tiles(wanted.area)
                    .flat_map(|tile| index.parts(tile))
                    .for_each(|range| push_parts(&mut splice, range, cut));
                if splice.len() == header_len {
                    if index.is_empty() {
                        return Err(DecodeError::format("the codestream has no tile-parts"));
                    }
                    return Ok(None);
                }
                splice.push_bytes(&EOC);
            }
        }
        let job = Job {
            reduction: wanted.reduction,
            layers: wanted.layers,
            area: self.area_of_decode(wanted.area),
            threads: ctx.limits.max_threads,
        };
        let mut decoded = openjpeg::decode(&splice, &job, ctx)?;
        if job.area != wanted.area {
            decoded = self.cut_out(&decoded, job.area, wanted);
        }
        let broken = index
            .as_ref()
            .filter(|_| !whole)
            .and_then(|index| index.broken.clone());
        if let Some(broken) = broken {
            decoded.complaints.insert(0, format!("it ends early: {broken}"));
        } else if cut.is_some_and(|cut| self.is_touched(wanted.area, cut)) {
            decoded
                .complaints
                .insert(0, "its last tile-part is cut off".to_owned());
        }
        Ok(Some(decoded))
    }

    /// What has OpenJPEG decode for an area. It leaps over tiles that an area does not touch, but not over their packet
    /// headers where those are packed together (PPM), so that the tiles behind find those of others. Of a tile of
    /// HTJ2K it decodes blocks into memory that its decoding of areas does not look at: all of a tile comes out right,
    /// parts of it gray.
    fn area_of_decode(&self, area: [u32; 4]) -> [u32; 4] {
        let size = &self.header.size;
        if self.header.packed_headers {
            size.image
        } else if self.header.high_throughput {
            size.edges_of_tiles(size.tiles_of(area))
        } else {
            area
        }
    }

    /// The samples of an area out of those of a larger one.
    fn cut_out(&self, decoded: &Decoded, from: [u32; 4], wanted: &Wanted) -> Decoded {
        let components = self.header.size.components.iter().enumerate();
        let planes = components.map(|(index, component)| {
            let mut part = Part::zeros(component.edges(wanted.area, wanted.reduction));
            let from @ [x0, y0, x1, y1] = component.edges(from, wanted.reduction);
            let whole = |plane: &Plane<'_>| (plane.width, plane.height) == (x1 - x0, y1 - y0);
            if let Some(plane) = decoded.plane(index).filter(whole) {
                part.put(from, plane.samples, |sample| sample);
            }
            Samples::from(part)
        });
        Decoded {
            planes: Planes::Own(planes.collect()),
            complaints: decoded.complaints.clone(),
        }
    }

    /// Whether an area has to do with a tile-part.
    fn is_touched(&self, area: [u32; 4], part: &CutPart) -> bool {
        self.tiles(area).any(|tile| tile == part.tile())
    }

    /// Numbers of the tiles an area touches, row by row.
    pub fn tiles(&self, area: [u32; 4]) -> impl Iterator<Item = u32> + use<> {
        let [cols, rows] = self.header.size.tiles_of(area);
        let [across, _] = self.header.size.tile_grid();
        rows.flat_map(move |row| cols.clone().map(move |col| row * across + col))
    }

    /// Bytes of the file a decode of an area reads, at most.
    #[must_use]
    pub fn bytes_read(&self, wanted: &Wanted) -> u64 {
        let [cols, rows] = self.header.size.tile_grid();
        let all = (u64::from(cols) * u64::from(rows)).max(1);
        let bytes = self.header.tile_parts.end - self.header.tile_parts.start;
        let [cols, rows] = self.header.size.tiles_of(wanted.area);
        (bytes / all).saturating_mul(cols.len() as u64 * rows.len() as u64)
    }

    /// Samples of each component a decode of an area works on: code-blocks are decoded whole, wavelet filters
    /// reach over the edges, and the packet headers of a whole tile are read on the way.
    #[must_use]
    pub fn samples_decoded(&self, wanted: &Wanted) -> u64 {
        let size = &self.header.size;
        let steps = size.step();
        let area = self.area_of_decode(wanted.area);
        let [cols, rows] = size.tiles_of(area);
        // Along one axis: what is decoded of each tile at each decomposition, and the sides of the tiles.
        let along = |axis: usize, tiles: Range<u32>| {
            let mut decoded = vec![0u64; MAX_DECOMPOSITIONS + 1];
            let mut sides = 0u64;
            for tile in tiles {
                let Range { start, end } = size.tile_span(axis, tile..tile + 1);
                let step = u64::from(steps[axis]);
                let inside = |v: u64, low: u64, high: u64| v.max(low).min(high).div_ceil(step);
                let (image0, image1) = (u64::from(size.image[axis]), u64::from(size.image[axis + 2]));
                let (t0, t1) = (inside(start, image0, image1), inside(end, image0, image1));
                let (low, high) = (u64::from(area[axis]), u64::from(area[axis + 2]));
                let (a0, a1) = (inside(start, low, high).max(t0), inside(end, low, high).min(t1));
                sides += t1.saturating_sub(t0);
                for (power, sum) in decoded.iter_mut().enumerate() {
                    let resolution = (self.header.decompositions as usize + 1).saturating_sub(power);
                    let precinct = self.header.partition.precinct(resolution)[axis];
                    let block = self.header.partition.block[axis].min(precinct.saturating_sub(1));
                    let (t0, t1) = (t0 >> power, t1.div_ceil(1 << power));
                    let first = (a0 >> power).saturating_sub(FILTER_MARGIN) >> block << block;
                    let last = (a1.div_ceil(1 << power) + FILTER_MARGIN).div_ceil(1 << block) << block;
                    *sum += last.min(t1).saturating_sub(first.max(t0));
                }
            }
            (decoded, sides)
        };
        let ((wide, width), (high, height)) = (along(0, cols), along(1, rows));
        let bands = |power: usize| wide[power].saturating_mul(high[power]);
        let last = (self.header.decompositions as usize).min(MAX_DECOMPOSITIONS);
        let first = (wanted.reduction as usize).min(last);
        let details: u64 = (first + 1..=last).map(|power| 3 * bands(power)).sum();
        let headers = width.saturating_mul(height) / SAMPLES_PER_HEADER;
        details.saturating_add(bands(last)).saturating_add(headers)
    }

    /// Bytes of memory a decode of an area needs, samples included.
    #[must_use]
    pub fn memory(&self, wanted: &Wanted) -> u64 {
        let size = &self.header.size;
        let components = size.components.len() as u64;
        let [dx, dy] = size.step();
        let side = |low: u32, high: u32, step: u32| {
            u64::from(high.saturating_sub(low).div_ceil(step)).div_ceil(1 << wanted.reduction.min(32))
        };
        let [x0, y0, x1, y1] = self.area_of_decode(wanted.area);
        let samples = side(x0, x1, dx)
            .saturating_mul(side(y0, y1, dy))
            .saturating_mul(components)
            .saturating_mul(BYTES_PER_SAMPLE);
        let [cols, rows] = size.tile_grid();
        let all = u64::from(cols) * u64::from(rows);
        // The codec holds the packets of one tile at a time.
        let packets = (self.header.tile_parts.end - self.header.tile_parts.start) / all.max(1);
        let parameters = all.saturating_mul(BYTES_PER_TILE + components * BYTES_PER_TILE_COMPONENT);
        samples
            .saturating_add(self.structure_bytes())
            .saturating_add(packets)
            .saturating_add(parameters)
    }

    /// Bytes the codec needs for the structure of one tile: it makes all of its resolutions, wanted or not.
    fn structure_bytes(&self) -> u64 {
        let size = &self.header.size;
        let components = size.components.len() as u64;
        let sides =
            [0, 1].map(|axis| u64::from(size.tile[axis].min(size.image[axis + 2] - size.image[axis])));
        let partition = &self.header.partition;
        let resolutions = partition
            .precincts
            .len()
            .max(self.header.decompositions as usize + 1);
        let (mut bytes, mut most) = (0u64, 1u64);
        for resolution in 0..resolutions {
            let power = (resolutions - 1 - resolution).min(40) as u32;
            let precinct = partition.precinct(resolution);
            let along = |axis: usize, side: u32| ((sides[axis] >> power) >> side) + 2;
            let precincts = along(0, precinct[0]).saturating_mul(along(1, precinct[1]));
            // A block lies in one precinct of a band, whose samples are twice as far apart.
            let block = |axis: usize| partition.block[axis].min(precinct[axis].saturating_sub(1)) + 1;
            let blocks = along(0, block(0))
                .saturating_mul(along(1, block(1)))
                .saturating_mul(3);
            bytes = bytes
                .saturating_add(precincts.saturating_mul(BYTES_PER_PRECINCT))
                .saturating_add(blocks.saturating_mul(BYTES_PER_BLOCK));
            most = most.max(precincts);
        }
        // Each packet has a mark of two bytes, in a table with room for the most precincts everywhere.
        let packets = (u64::from(self.header.layers) + 1)
            .saturating_mul(resolutions as u64)
            .saturating_mul(most);
        bytes
            .saturating_add(packets.saturating_mul(2))
            .saturating_mul(components)
    }

    /// The index of tile-parts; `None` for an image that is read from its start each time.
    fn index(
        &self,
        source: &dyn ByteSource,
        ctx: &CallContext<'_>,
    ) -> Result<Option<Arc<TileIndex>>, DecodeError> {
        // Held while the index is built: others need it too, and building it takes milliseconds.
        let mut slot = lock(&self.index, ctx)?;
        if let Some(known) = &*slot {
            return Ok(known.clone());
        }
        let built = TileIndex::build(source, self.header.tile_parts.clone(), ctx)?.map(Arc::new);
        Ok(slot.insert(built).clone())
    }
}

/// Adds tile-parts of the file, the last one with the length it really has: OpenJPEG makes room for as many bytes as a
/// tile-part says it has, whether they are there or not.
fn push_parts<'a>(splice: &mut Splice<'a>, range: Range<u64>, cut: Option<&'a CutPart>) {
    match cut {
        Some(cut) if range.contains(&cut.start) => {
            splice.push_range(range.start..cut.start);
            splice.push_bytes(&cut.header);
            splice.push_range(cut.start + cut.header.len() as u64..range.end);
        }
        _ => splice.push_range(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_encoder::{Recipe, encode};
    use iiphost_plugin_api::{Limits, PlainServices};

    #[test]
    fn an_area_of_a_codestream_in_the_middle_of_a_file_gives_its_samples() {
        let recipe = Recipe {
            tile: Some((64, 48)),
            ..Recipe::new(150, 110, 3, 12)
        };
        let codestream = encode(&recipe);
        let file = [&[7; 33][..], &codestream, &[9; 20]].concat();
        let range = 33..33 + codestream.len() as u64;
        let services = PlainServices::default();
        for max_threads in [1, 3] {
            let limits = Limits {
                max_threads,
                ..Limits::default()
            };
            let ctx = CallContext::new(limits, &services);
            let codestream = Codestream::open(&file, range.clone(), &ctx).unwrap();
            let wanted = Wanted {
                reduction: 0,
                layers: 0,
                area: [50, 30, 130, 100],
            };
            assert!(codestream.memory(&wanted) > 80 * 70 * 3 * 4);
            assert_eq!(codestream.tiles(wanted.area).count(), 9);
            let decoded = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
            assert_eq!(decoded.complaints, Vec::<String>::new());
            for component in 0..3 {
                let plane = decoded.plane(component).unwrap();
                assert_eq!((plane.width, plane.height), (80, 70));
                for (at, &sample) in (0u32..).zip(plane.samples) {
                    let (x, y) = (50 + at % 80, 30 + at / 80);
                    assert_eq!(sample as u32, recipe.sample(component, x, y), "{x}, {y}");
                }
            }
            assert!(decoded.plane(3).is_none());
        }
    }

    /// Codestreams of HTJ2K (ISO/IEC 15444-15), which the test encoder cannot make: 90 x 70 samples of 8 bits, two
    /// decompositions, without loss; the second one in tiles of 32 x 40.
    const HIGH_THROUGHPUT: [&[u8]; 2] = [
        include_bytes!("../fixtures/high_throughput.j2c"),
        include_bytes!("../fixtures/high_throughput_in_tiles.j2c"),
    ];

    #[test]
    fn areas_of_a_high_throughput_codestream_are_cut_out_of_whole_tiles() {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        for (file, decoded) in HIGH_THROUGHPUT.into_iter().zip([90 * 70, 32 * 70]) {
            let file = file.to_vec();
            let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx).unwrap();
            assert!(codestream.header().high_throughput);
            let all = Wanted {
                reduction: 0,
                layers: 0,
                area: [0, 0, 90, 70],
            };
            for area in [all.area, [40, 30, 60, 65], [0, 41, 31, 70]] {
                let wanted = Wanted { area, ..all };
                let found = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
                assert_eq!(found.complaints, Vec::<String>::new());
                let plane = found.plane(0).unwrap();
                let [x0, y0, x1, y1] = area;
                let expected =
                    (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x * 3 + y * 5 + x * y / 16) & 255));
                assert!(plane.samples.iter().map(|&v| v as u32).eq(expected), "{area:?}");
            }
            // A smaller resolution of an area is that of the whole.
            let half = |area| {
                let wanted = Wanted {
                    reduction: 1,
                    area,
                    ..all
                };
                let half = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
                half.plane(0).unwrap().samples.to_vec()
            };
            let (whole, part) = (half(all.area), half([40, 30, 60, 66]));
            let rows = part.chunks(10).zip(15..);
            assert!(
                part.len() == 180
                    && rows
                        .into_iter()
                        .all(|(row, y)| row == &whole[y * 45 + 20..][..10])
            );
            // What it costs and holds is that of the tiles.
            let wanted = Wanted {
                area: [40, 30, 60, 65],
                ..all
            };
            assert!(codestream.memory(&wanted) > decoded * BYTES_PER_SAMPLE);
            assert!(codestream.samples_decoded(&wanted) >= decoded);
        }
    }

    #[test]
    fn neighbors_cost_less_together_where_blocks_reach_over_their_edges() {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let costs = |recipe: &Recipe| {
            let file = encode(recipe);
            let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx).unwrap();
            [256, 512].map(|side| {
                codestream.samples_decoded(&Wanted {
                    reduction: 0,
                    layers: 0,
                    area: [256, 256, 256 + side, 256 + side],
                })
            })
        };
        let base = Recipe {
            decompositions: 5,
            ..Recipe::new(1100, 900, 1, 8)
        };
        let [one, four] = costs(&base);
        // Blocks of 64: two across and down in the finest bands, and one more on each side.
        assert!(one > 4 * 256 * 256 && one < 6 * 256 * 256, "{one}");
        assert!(four < 3 * one, "{four} beside {one}");
        let tiled = Recipe {
            tile: Some((256, 256)),
            ..base
        };
        let [one, four] = costs(&tiled);
        assert_eq!((one, four), (257 * 256, 4 * 257 * 256));
    }
}
