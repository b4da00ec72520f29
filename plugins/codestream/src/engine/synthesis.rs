//! A component out of its blocks: bands put together, one resolution out of the smaller one and its bands.

use super::block::Coefficients;
use super::layout::Edges;
use super::wavelet::{Filter, Part, combine};
use super::windows::{BandWindow, Window};

/// A component out of its blocks: each resolution out of the smaller one and its bands.
pub(super) fn synthesize<F: Filter>(
    windows: Vec<Window<'_>>,
    value: impl Fn(i32, f32) -> F::Sample,
) -> Part<F::Sample> {
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
    pub(crate) fn put<S: Copy>(&mut self, edges: Edges, samples: &[S], convert: impl Fn(S) -> T) {
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
    pub(super) fn paste(&mut self, other: &Self) {
        self.put(other.edges, &other.samples, |sample| sample);
    }
}
