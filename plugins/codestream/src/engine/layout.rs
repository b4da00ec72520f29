//! A tile cut into resolutions, bands, precincts and code-blocks (ISO/IEC 15444-1 Annex B).
//!
//! Blocks lie in the grid of their band, row by row: precincts end where blocks end, so the blocks of a precinct are a
//! rectangle of that grid.

use std::ops::Range;

use iiphost_plugin_api::{DecodeError, Limits};

use super::block::BlockStyle;
use super::parameters::Parameters;
use super::{Declined, Outcome};
use crate::header::Size;

/// Code-blocks of a tile, at most: more would be an index larger than memory.
const MAX_BLOCKS: u64 = 1 << 24;

/// Precincts of a tile, at most.
const MAX_PRECINCTS: u64 = 1 << 22;

/// Left, top, right, bottom edge.
pub(crate) type Edges = [u32; 4];

/// One band of a resolution.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// Where it lies in its own coordinates (B-15).
    pub(crate) edges: Edges,
    /// 0 LL, 1 HL, 2 LH, 3 HH.
    pub(crate) orientation: usize,
    /// Width and height of blocks, powers of two.
    pub(crate) block: [u32; 2],
    /// Columns and rows of the grid of blocks that have samples.
    pub(crate) grid: [Range<u32>; 2],
    /// Number of the first block in the tile.
    pub(crate) first_block: u32,
    /// Bit-planes (`Mb`, E-2).
    pub(crate) planes: u32,
    /// Quantization step (E-3), in the scale of [`wavelet`](super::wavelet).
    pub(crate) step: f32,
}

impl Band {
    fn is_empty(&self) -> bool {
        self.edges[0] >= self.edges[2] || self.edges[1] >= self.edges[3]
    }

    /// Number of the block in a column and row of the grid.
    pub(crate) fn block_number(&self, col: u32, row: u32) -> u32 {
        let across = self.grid[0].end - self.grid[0].start;
        self.first_block + (row - self.grid[1].start) * across + (col - self.grid[0].start)
    }

    /// Columns and rows of the grid that a rectangle of the band touches.
    pub(crate) fn blocks_of(&self, edges: Edges) -> [Range<u32>; 2] {
        [0, 1].map(|axis| {
            let low = edges[axis].max(self.edges[axis]);
            let high = edges[axis + 2].min(self.edges[axis + 2]);
            if self.is_empty() || low >= high {
                return 0..0;
            }
            low >> self.block[axis]..((high - 1) >> self.block[axis]) + 1
        })
    }

    /// Where a block lies in the band.
    pub(crate) fn block_edges(&self, col: u32, row: u32) -> Edges {
        let along = |axis: usize, at: u32| {
            let start = u64::from(at) << self.block[axis];
            let end = start + (1 << self.block[axis]);
            let clamp = |v: u64| v.clamp(self.edges[axis].into(), self.edges[axis + 2].into()) as u32;
            (clamp(start), clamp(end))
        };
        let ((x0, x1), (y0, y1)) = (along(0, col), along(1, row));
        [x0, y0, x1, y1]
    }
}

/// One resolution of a component.
#[derive(Clone, Debug)]
pub(crate) struct Resolution {
    /// Where it lies in its own coordinates (B-14).
    pub(crate) edges: Edges,
    /// Sides of precincts, powers of two.
    precinct: [u32; 2],
    /// Precincts across and down (B-16).
    pub(crate) precincts: [u32; 2],
    /// Number of the first precinct in the tile.
    pub(crate) first_precinct: u32,
    pub(crate) bands: Vec<Band>,
}

impl Resolution {
    /// Blocks of a precinct in a band: columns and rows of the band's grid.
    pub(crate) fn blocks_of(&self, band: &Band, precinct: u32) -> [Range<u32>; 2] {
        let across = self.precincts[0].max(1);
        let place = [precinct % across, precinct / across];
        // In a band with the samples of every second place precincts are half as wide.
        let half = u32::from(band.orientation > 0 || self.bands.len() > 1);
        let mut edges = [0; 4];
        for axis in 0..2 {
            let power = self.precinct[axis];
            let start = u64::from((self.edges[axis] >> power) + place[axis]) << power >> half;
            let end = start + (1 << power >> half);
            edges[axis] = u32::try_from(start).unwrap_or(u32::MAX);
            edges[axis + 2] = u32::try_from(end).unwrap_or(u32::MAX);
        }
        band.blocks_of(edges)
    }

    /// Place of a precinct on the reference grid, as packets are ordered by it (B.12.1.3): `scale` is the distance of
    /// the samples of this resolution, `origin` the corner of the tile.
    pub(crate) fn position(&self, precinct: u32, scale: [u64; 2], origin: [u32; 2]) -> [u64; 2] {
        let across = self.precincts[0].max(1);
        let place = [precinct % across, precinct / across];
        [0, 1].map(|axis| {
            let power = self.precinct[axis];
            let start = u64::from((self.edges[axis] >> power) + place[axis]) << power;
            start.saturating_mul(scale[axis]).max(origin[axis].into())
        })
    }
}

/// One component of a tile.
#[derive(Clone, Debug)]
pub(crate) struct TileComponent {
    /// The smallest first.
    pub(crate) resolutions: Vec<Resolution>,
    pub(crate) style: BlockStyle,
    pub(crate) is_reversible: bool,
    pub(crate) roi_shift: u32,
}

/// The layout of a tile.
#[derive(Clone, Debug)]
pub(crate) struct TileLayout {
    /// On the reference grid.
    pub(crate) edges: Edges,
    pub(crate) components: Vec<TileComponent>,
    pub(crate) precinct_count: u32,
    pub(crate) block_count: u32,
    /// Bytes of memory it takes.
    pub(crate) bytes: u64,
}

impl TileLayout {
    /// Lays a tile out.
    ///
    /// # Errors
    /// `Ok(Err(_))` for a tile that is left to OpenJPEG; `LimitExceeded` where that would need too much memory, which
    /// OpenJPEG needs more of.
    pub(crate) fn new(size: &Size, tile: u32, parameters: &Parameters, limits: &Limits) -> Outcome<Self> {
        let mut failure = None;
        let made = Self::lay_out(size, tile, parameters, limits, &mut failure);
        match failure {
            Some(error) => Err(error),
            None => Ok(made),
        }
    }

    fn lay_out(
        size: &Size,
        tile: u32,
        parameters: &Parameters,
        limits: &Limits,
        failure: &mut Option<DecodeError>,
    ) -> Result<Self, Declined> {
        let edges = tile_edges(size, tile);
        let (mut precincts, mut blocks) = (0u64, 0u64);
        let mut bytes = 0u64;
        let mut components = Vec::with_capacity(size.components.len());
        for (index, component) in size.components.iter().enumerate() {
            let (coding, quantization, roi_shift) = parameters.component(index)?;
            let steps = [component.dx, component.dy];
            let own: [u32; 4] = [0, 1, 2, 3].map(|at| edges[at].div_ceil(steps[at % 2]));
            let count = coding.decompositions;
            let bands = 1 + 3 * count as usize;
            let resolutions = size_of::<Resolution>() * (count as usize + 1);
            bytes += (size_of::<TileComponent>() + resolutions + size_of::<Band>() * bands) as u64;
            if let Err(error) = limits.check_bytes(bytes) {
                *failure = Some(error);
                return Err(Declined("more components than memory has room for"));
            }
            let mut resolutions = Vec::with_capacity(count as usize + 1);
            for r in 0..=count {
                let at = own.map(|edge| ceil_shift(edge.into(), count - r));
                let precinct = coding.precincts.get(r as usize).copied().unwrap_or([15, 15]);
                let along = |axis: usize| {
                    if at[axis] >= at[axis + 2] {
                        return 0;
                    }
                    ceil_shift(at[axis + 2].into(), precinct[axis]) - (at[axis] >> precinct[axis])
                };
                let grid = [along(0), along(1)];
                let first_precinct = precincts;
                precincts += u64::from(grid[0]) * u64::from(grid[1]);
                let mut bands = Vec::with_capacity(if r == 0 { 1 } else { 3 });
                for orientation in if r == 0 { 0..1 } else { 1..4 } {
                    let number = if r == 0 {
                        0
                    } else {
                        3 * (r as usize - 1) + orientation
                    };
                    let step = quantization
                        .step(number)
                        .ok_or(Declined("a band without a step"))?;
                    let planes = (step.0 + quantization.guard_bits)
                        .checked_sub(1)
                        .ok_or(Declined("a band without bit-planes"))?;
                    let depth = component.bit_depth as i32 - step.0 as i32;
                    let band_edges = if r == 0 {
                        at
                    } else {
                        let power = count - r + 1;
                        let shifted = |edge: u32, high: bool| {
                            let offset = if high { 1u64 << (power - 1) } else { 0 };
                            ceil_shift(u64::from(edge).saturating_sub(offset), power)
                        };
                        let high = [orientation & 1 != 0, orientation & 2 != 0];
                        [0, 1, 2, 3].map(|at| shifted(own[at], high[at % 2]))
                    };
                    let half = u32::from(r > 0);
                    let block = [0, 1].map(|axis| coding.block[axis].min(precinct[axis] - half));
                    let mut band = Band {
                        edges: band_edges,
                        orientation,
                        block,
                        grid: [0..0, 0..0],
                        first_block: u32::try_from(blocks).unwrap_or(u32::MAX),
                        planes,
                        step: (f64::from(2048 + step.1) / 2048.0 * 2f64.powi(depth)) as f32,
                    };
                    band.grid = band.blocks_of(band_edges);
                    blocks += band.grid[0].len() as u64 * band.grid[1].len() as u64;
                    bands.push(band);
                }
                if blocks > MAX_BLOCKS || precincts > MAX_PRECINCTS {
                    return Err(Declined("more blocks or precincts than an index has room for"));
                }
                resolutions.push(Resolution {
                    edges: at,
                    precinct,
                    precincts: grid,
                    // Both below their limits.
                    first_precinct: first_precinct as u32,
                    bands,
                });
            }
            components.push(TileComponent {
                resolutions,
                style: coding.style,
                is_reversible: coding.is_reversible,
                roi_shift,
            });
        }
        Ok(Self {
            edges,
            components,
            precinct_count: precincts as u32,
            block_count: blocks as u32,
            bytes,
        })
    }
}

/// Where a tile lies on the reference grid (B-7 to B-10).
fn tile_edges(size: &Size, tile: u32) -> Edges {
    let [across, _] = size.tile_grid();
    let (col, row) = (tile % across.max(1), tile / across.max(1));
    size.edges_of_tiles([col..col + 1, row..row + 1])
}

/// `⌈value / 2^power⌉`.
pub(crate) fn ceil_shift(value: u64, power: u32) -> u32 {
    // Not above the value, which is an edge or less.
    ((value + ((1 << power) - 1)) >> power) as u32
}
