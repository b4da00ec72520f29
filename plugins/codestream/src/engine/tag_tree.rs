//! Tag trees (ISO/IEC 15444-1 B.10.2).

use super::Declined;
use super::packet_header::HeaderBits;

/// A node: what is known of the smallest value below it.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The value is not less than this.
    low: u32,
    /// Whether it is `low`.
    is_known: bool,
}

/// A tag tree over a grid of code-blocks.
#[derive(Clone, Debug)]
pub(crate) struct TagTree {
    /// Columns of each level and its first node, the leaves first.
    levels: Vec<(u32, u32)>,
    nodes: Vec<Node>,
}

impl TagTree {
    /// A tree of which nothing is known yet.
    pub(crate) fn new(cols: u32, rows: u32) -> Self {
        let (mut width, mut height) = (cols, rows);
        let (mut levels, mut count) = (Vec::new(), 0);
        while width > 0 && height > 0 {
            levels.push((width, count));
            count += width * height;
            if width == 1 && height == 1 {
                break;
            }
            (width, height) = (width.div_ceil(2), height.div_ceil(2));
        }
        let unknown = Node {
            low: 0,
            is_known: false,
        };
        Self {
            levels,
            nodes: vec![unknown; count as usize],
        }
    }

    /// Reads on until it is known whether the value of a leaf is less than `threshold`.
    pub(crate) fn is_less(
        &mut self,
        bits: &mut HeaderBits<'_, '_>,
        [col, row]: [u32; 2],
        threshold: u32,
    ) -> Result<bool, Declined> {
        let mut low = 0;
        let mut is_known = false;
        for (level, (width, first)) in self.levels.iter().enumerate().rev() {
            let at = first + (row >> level) * width + (col >> level);
            let node = self
                .nodes
                .get_mut(at as usize)
                .ok_or(Declined("a block outside its precinct"))?;
            node.low = node.low.max(low);
            while node.low < threshold && !node.is_known {
                if bits.bit()? {
                    node.is_known = true;
                } else {
                    node.low += 1;
                }
            }
            low = node.low;
            is_known = node.is_known;
        }
        Ok(is_known && low < threshold)
    }
}
