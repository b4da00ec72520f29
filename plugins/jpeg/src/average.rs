//! Sizes below one eighth: averages of squares of a larger level.

use iiphost_plugin_api::{DecodeError, Region};

/// Averages squares of `side` x `side` pixels of a level into the pixels of a region.
pub(crate) struct Averager {
    side: u32,
    bands: usize,
    width: u32,
    sums: Vec<u32>,
    rows_in: u32,
}

impl Averager {
    /// An averager for rows of `width` pixels of 1, 3 or 4 bands; `side` is 2 to 256.
    pub(crate) fn new(side: u32, width: u32, bands: u32) -> Self {
        Self {
            side,
            bands: bands as usize,
            width,
            sums: vec![0; width as usize * bands as usize],
            rows_in: 0,
        }
    }

    /// The pixels of the larger level, `full` wide and high, that `region` is made of. At a side of 1 pixel the
    /// squares may reach over the edge; what is there counts.
    pub(crate) fn source(side: u32, region: Region, full: (u32, u32)) -> Region {
        let (x, y) = (region.x * side, region.y * side);
        Region::new(
            x,
            y,
            (region.width * side).min(full.0 - x),
            (region.height * side).min(full.1 - y),
        )
    }

    /// Adds a row of the larger level; gives the averages after the last one of a row of squares.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn add(
        &mut self,
        row: &[u8],
        is_last: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        match self.bands {
            1 => self.sum::<1>(row),
            3 => self.sum::<3>(row),
            _ => self.sum::<4>(row),
        }
        self.rows_in += 1;
        if self.rows_in < self.side && !is_last {
            return Ok(());
        }
        let pixels_in = row.len() / self.bands;
        let mut out = vec![0; self.sums.len()];
        for (col, (sums, out)) in self
            .sums
            .chunks_exact_mut(self.bands)
            .zip(out.chunks_exact_mut(self.bands))
            .enumerate()
        {
            let across = (pixels_in - (col * self.side as usize).min(pixels_in)).min(self.side as usize);
            let count = (across as u32 * self.rows_in).max(1);
            for (sum, out) in sums.iter_mut().zip(out) {
                *out = ((*sum + count / 2) / count) as u8;
                *sum = 0;
            }
        }
        debug_assert_eq!(self.width as usize * self.bands, out.len());
        self.rows_in = 0;
        take(&out)
    }

    /// Adds a row to the sums, with a number of bands the compiler knows.
    fn sum<const BANDS: usize>(&mut self, row: &[u8]) {
        let (sums, _) = self.sums.as_chunks_mut::<BANDS>();
        let (pixels, _) = row.as_chunks::<BANDS>();
        for (pixels, sums) in pixels.chunks(self.side as usize).zip(sums) {
            for pixel in pixels {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += u32::from(sample);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_averaged_and_rounded() {
        let mut averager = Averager::new(2, 2, 1);
        let mut rows = Vec::new();
        for (row, last) in [
            ([1, 2, 10, 10, 99], false),
            ([2, 2, 10, 13, 99], false),
            ([4; 5], true),
        ] {
            // The fifth column belongs to no square.
            averager
                .add(&row[..4], last, &mut |out| {
                    rows.push(out.to_vec());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(rows, [vec![2, 11], vec![4, 4]]);
    }

    #[test]
    fn a_square_that_reaches_over_the_edge_counts_what_is_there() {
        assert_eq!(
            Averager::source(4, Region::new(1, 0, 1, 1), (10, 3)),
            Region::new(4, 0, 4, 3)
        );
    }
}
