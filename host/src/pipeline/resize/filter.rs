//! Which source samples an output sample is made of, along one axis.

/// Weights of one axis: output `i` is the sum of `taps` neighbors from `first[i]` on, weighted by
/// `weights[i·taps..]`. Neighbors are blocks of `block` averaged samples; the last block holds what is left.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) block: usize,
    pub(super) taps: usize,
    pub(super) first: Vec<usize>,
    pub(super) weights: Vec<f32>,
}

impl Filter {
    /// The weights of output `i`.
    #[inline(always)]
    pub(super) fn weights(&self, i: usize) -> &[f32] {
        &self.weights[i * self.taps..][..self.taps]
    }

    /// A filter from a function that lists, for the position of an output in blocks, its neighbors
    /// (possibly outside) with their weights. Weights outside go to the border.
    fn new(from: u32, to: u32, block: u32, taps: usize, list: impl Fn(f64, &mut Vec<(i64, f64)>)) -> Self {
        let blocks = from.div_ceil(block) as usize;
        let taps = taps.min(blocks);
        let ratio = f64::from(from) / f64::from(to) / f64::from(block);
        let mut first = Vec::with_capacity(to as usize);
        let mut weights = vec![0f32; taps * to as usize];
        let mut neighbors = Vec::new();
        for (i, weights) in weights.chunks_exact_mut(taps).enumerate() {
            neighbors.clear();
            list((i as f64 + 0.5) * ratio - 0.5, &mut neighbors);
            let last = blocks as i64 - 1;
            let start = neighbors
                .first()
                .map_or(0, |n| n.0)
                .clamp(0, last + 1 - taps as i64);
            let sum: f64 = neighbors.iter().map(|n| n.1).sum();
            for (index, weight) in &neighbors {
                // Lists are in order, so what is cut off left or right has its border among the taps.
                let tap = (index.clamp(&0, &last) - start).clamp(0, taps as i64 - 1);
                weights[tap as usize] += (weight / sum) as f32;
            }
            first.push(start as usize);
        }
        Self {
            block: block as usize,
            taps,
            first,
            weights,
        }
    }
}

/// Two neighbors; a reduction by more than 2 averages blocks of `⌊s⌋` first.
pub(super) fn bilinear(from: u32, to: u32) -> Filter {
    let block = if u64::from(from) > 2 * u64::from(to) {
        from / to
    } else {
        1
    };
    Filter::new(from, to, block, 2, |position, list| {
        let left = position.floor();
        let weight = position - left;
        list.extend([(left as i64, 1.0 - weight), (left as i64 + 1, weight)]);
    })
}

/// Lobes of the Lanczos kernel.
const LOBES: f64 = 3.0;

/// The Lanczos kernel, widened by the ratio when reducing. A reduction by more than 4 averages blocks of
/// `⌊s/2⌋` first: the kernel then spans a bounded number of samples and still sees two a pixel.
pub(super) fn lanczos(from: u32, to: u32) -> Filter {
    let block = if u64::from(from) > 4 * u64::from(to) {
        from / to / 2
    } else {
        1
    };
    let wide = (f64::from(from) / f64::from(to) / f64::from(block)).max(1.0);
    let reach = LOBES * wide;
    let taps = 2 * reach.ceil() as usize + 1;
    Filter::new(from, to, block, taps, |position, list| {
        let (low, high) = (
            (position - reach).ceil() as i64,
            (position + reach).floor() as i64,
        );
        list.extend((low..=high).map(|k| (k, kernel((k as f64 - position) / wide))));
    })
}

fn kernel(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x.abs() >= LOBES {
        return 0.0;
    }
    let a = std::f64::consts::PI * x;
    LOBES * a.sin() * (a / LOBES).sin() / (a * a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn enlarging_twice_repeats_the_border() {
        let filter = bilinear(4, 8);
        assert_eq!(filter.first, [0, 0, 0, 1, 1, 2, 2, 2]);
        assert_eq!(filter.weights(0), [1.0, 0.0]);
        assert_eq!(filter.weights(1), [0.75, 0.25]);
        assert_eq!(filter.weights(7), [0.0, 1.0]);
    }

    #[test]
    fn large_reductions_average_blocks() {
        assert_eq!(bilinear(200, 100).block, 1);
        assert_eq!(bilinear(201, 100).block, 2);
        assert_eq!(bilinear(799, 100).block, 7);
        assert_eq!(lanczos(1000, 100).block, 5);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_inside_the_source(from in 1u32..500, to in 1u32..500) {
            for filter in [bilinear(from, to), lanczos(from, to)] {
                let blocks = (from as usize).div_ceil(filter.block);
                for i in 0..to as usize {
                    prop_assert!(filter.first[i] + filter.taps <= blocks);
                    let sum: f32 = filter.weights(i).iter().sum();
                    prop_assert!((sum - 1.0).abs() < 1e-5, "{} to {}: {}", from, to, sum);
                }
            }
        }
    }
}
