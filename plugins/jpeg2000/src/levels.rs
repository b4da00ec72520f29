//! The sizes of an image: reductions of the codestream, then averages of the smallest one.

use iiphost_codestream::Size;

/// Side of the tiles reported, whatever tiles the codestream has.
pub(crate) const TILE_PX: u32 = 256;

/// One size of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Highest resolutions left out by the codec.
    pub(crate) reduction: u32,
    /// Halvings by averaging after that.
    pub(crate) halvings: u32,
    /// Left, top, right, bottom edge in pixels of this level, counted from the origin of the reference
    /// grid (ISO/IEC 15444-1, B-12 and B-15 with the whole image in place of a tile-component).
    pub(crate) edges: [u32; 4],
}

impl Level {
    pub(crate) fn width(&self) -> u32 {
        self.edges[2] - self.edges[0]
    }

    pub(crate) fn height(&self) -> u32 {
        self.edges[3] - self.edges[1]
    }
}

/// `⌈value / 2^power⌉`.
pub(crate) fn ceil_shift(value: u32, power: u32) -> u32 {
    let rounded = (u64::from(value) + (1u64 << power.min(32)) - 1) >> power.min(32);
    // At most `value`, or 1.
    rounded as u32
}

/// The levels of an image, largest first: down to one that fits a tile, or to the last that has pixels.
pub(crate) fn levels(size: &Size, decompositions: u32) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for power in 0..32 {
        let edges = size.edges().map(|edge| ceil_shift(edge, power));
        if edges[0] >= edges[2] || edges[1] >= edges[3] {
            break;
        }
        let smallest = levels.last().map_or(0, |level| level.reduction);
        let reducible =
            power <= decompositions && power == levels_reduced(&levels) && has_samples(size, power);
        let level = if reducible {
            Level {
                reduction: power,
                halvings: 0,
                edges,
            }
        } else {
            Level {
                reduction: smallest,
                halvings: power - smallest,
                edges,
            }
        };
        levels.push(level);
        if level.width() <= TILE_PX && level.height() <= TILE_PX {
            break;
        }
    }
    levels
}

/// How many levels the codec makes by itself.
fn levels_reduced(levels: &[Level]) -> u32 {
    // At most 32.
    levels.iter().filter(|level| level.halvings == 0).count() as u32
}

/// Whether every component has samples at a reduction.
fn has_samples(size: &Size, reduction: u32) -> bool {
    let [x0, y0, x1, y1] = size.image;
    size.components.iter().all(|component| {
        let some = |low: u32, high: u32, step: u32| {
            ceil_shift(low.div_ceil(step), reduction) < ceil_shift(high.div_ceil(step), reduction)
        };
        some(x0, x1, component.dx) && some(y0, y1, component.dy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_codestream::Component;

    fn sizes(image: [u32; 4], dx: u32, decompositions: u32) -> Vec<(u32, u32, u32, u32)> {
        let component = Component {
            bit_depth: 8,
            signed: false,
            dx,
            dy: 1,
        };
        let size = Size {
            image,
            tile_origin: [0, 0],
            tile: [image[2], image[3]],
            components: vec![Component { dx: 1, ..component }, component],
        };
        levels(&size, decompositions)
            .iter()
            .map(|l| (l.width(), l.height(), l.reduction, l.halvings))
            .collect()
    }

    #[test]
    fn sizes_round_up_until_they_fit_a_tile() {
        assert_eq!(
            sizes([0, 0, 700, 500], 1, 5),
            [(700, 500, 0, 0), (350, 250, 1, 0), (175, 125, 2, 0)]
        );
        assert_eq!(
            sizes([0, 0, 2100, 300], 1, 0),
            [
                (2100, 300, 0, 0),
                (1050, 150, 0, 1),
                (525, 75, 0, 2),
                (263, 38, 0, 3),
                (132, 19, 0, 4)
            ]
        );
        assert_eq!(sizes([0, 0, 64, 56], 1, 5), [(64, 56, 0, 0)]);
    }

    #[test]
    fn an_offset_moves_the_grid_the_sizes_are_counted_on() {
        assert_eq!(
            sizes([1, 1, 602, 102], 1, 1),
            [(601, 101, 0, 0), (300, 50, 1, 0), (150, 25, 1, 1)]
        );
    }

    #[test]
    fn a_step_that_all_components_share_is_the_pixel() {
        let component = Component {
            bit_depth: 8,
            signed: false,
            dx: 5,
            dy: 3,
        };
        let size = Size {
            image: [6, 2, 1518, 539],
            tile_origin: [0, 0],
            tile: [1518, 539],
            components: vec![component; 2],
        };
        let levels = levels(&size, 5);
        assert_eq!(levels[0].edges, [2, 1, 304, 180]);
        assert_eq!((levels[1].edges, levels.len()), ([1, 1, 152, 90], 2));
    }

    #[test]
    fn a_level_without_pixels_ends_the_list() {
        assert_eq!(sizes([1, 0, 2, 900], 1, 5), [(1, 900, 0, 0)]);
    }

    #[test]
    fn a_component_without_samples_at_a_reduction_is_averaged() {
        // Samples at 255 and 510 of the grid: one at reduction 1, none at reduction 2.
        let sizes = sizes([1, 0, 511, 600], 255, 8);
        assert_eq!(sizes[1], (255, 300, 1, 0));
        assert_eq!(sizes[2], (127, 150, 1, 1));
    }
}
