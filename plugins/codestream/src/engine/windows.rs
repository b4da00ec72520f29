//! What of each resolution and band an area needs, and the blocks it touches there.

use std::sync::Arc;

use super::block::BlockShape;
use super::layout::{Band, Edges, TileComponent};
use super::packet_index::IndexedTile;
use super::wavelet::{Filter, Irreversible, Reversible, halves, with_reach};
use crate::store::BlockCell;

/// What of a band is needed, and the blocks it touches.
pub(super) struct BandWindow<'t> {
    pub(super) band: &'t Band,
    pub(super) edges: Edges,
    pub(super) blocks: Vec<(Edges, Arc<BlockCell>)>,
}

/// What of a resolution is needed, with its bands.
pub(super) struct Window<'t> {
    /// The samples of the resolution that are wanted.
    pub(super) wanted: Edges,
    pub(super) whole: Edges,
    pub(super) bands: Vec<BandWindow<'t>>,
}

/// A block to be decoded.
pub(super) struct Job<'t> {
    pub(super) component: usize,
    pub(super) window: usize,
    pub(super) band: usize,
    pub(super) edges: Edges,
    pub(super) number: u32,
    pub(super) shape: BlockShape,
    pub(super) tile: &'t IndexedTile,
}

/// What of each resolution is needed for an area, from the smallest resolution on; `None` if there are not so many.
pub(super) fn windows_of(
    component: &TileComponent,
    wanted: Edges,
    reduction: u32,
) -> Option<Vec<Window<'_>>> {
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
pub(super) fn collect_jobs<'t>(
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
