//! Tag trees (ISO/IEC 15444-1 B.10.2).

use super::Declined;
use super::packet_header::HeaderBits;

/// Levels of a tree, at most: its sides are halved until they are one.
const MAX_LEVELS: usize = 33;

/// What is known of the smallest value below a node: twice a number that it is not less than, plus one if it is that
/// number. Trees of small precincts are what an index needs most memory for while it is made.
#[derive(Clone, Copy, Debug, Default)]
struct Node(u32);

/// A tag tree over a grid of code-blocks.
#[derive(Clone, Debug)]
pub(crate) struct TagTree {
    cols: u32,
    rows: u32,
    /// Level by level, the leaves first.
    nodes: Box<[Node]>,
}

impl TagTree {
    /// A tree of which nothing is known yet.
    pub(crate) fn new(cols: u32, rows: u32) -> Self {
        let mut tree = Self {
            cols,
            rows,
            nodes: Box::default(),
        };
        tree.nodes = vec![Node::default(); tree.levels().2 as usize].into();
        tree
    }

    /// Columns and first node of each level, how many levels there are, and how many nodes.
    fn levels(&self) -> ([(u32, u32); MAX_LEVELS], usize, u32) {
        let mut levels = [(0, 0); MAX_LEVELS];
        let (mut width, mut height, mut nodes, mut count) = (self.cols, self.rows, 0, 0);
        for level in &mut levels {
            if width == 0 || height == 0 {
                break;
            }
            *level = (width, nodes);
            count += 1;
            nodes += width * height;
            if width == 1 && height == 1 {
                break;
            }
            (width, height) = (width.div_ceil(2), height.div_ceil(2));
        }
        (levels, count, nodes)
    }

    /// Reads on until it is known whether the value of a leaf is less than `threshold`.
    pub(crate) fn is_less(
        &mut self,
        bits: &mut HeaderBits<'_, '_>,
        [col, row]: [u32; 2],
        threshold: u32,
    ) -> Result<bool, Declined> {
        let (levels, count, _) = self.levels();
        let mut low = 0;
        let mut is_known = false;
        for (level, (width, first)) in levels.iter().take(count).enumerate().rev() {
            let at = first + (row >> level) * width + (col >> level);
            let node = self
                .nodes
                .get_mut(at as usize)
                .ok_or(Declined("a block outside its precinct"))?;
            low = low.max(node.0 >> 1);
            is_known = node.0 & 1 != 0;
            while low < threshold && !is_known {
                if bits.bit()? {
                    is_known = true;
                } else {
                    low += 1;
                }
            }
            *node = Node(low << 1 | u32::from(is_known));
        }
        Ok(is_known && low < threshold)
    }
}
