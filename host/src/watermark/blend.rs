//! One row of the mark on one row of a picture.

use super::Watermark;
use crate::config::Blend;
use crate::raster::Sample;

impl Watermark {
    /// Lays pixels of the mark on as many pixels of a picture: its red, green and blue on the first three
    /// bands of a color picture, its red on the bands of any other. Bands after the colors stay.
    pub(super) fn lay<T: Sample>(
        &self,
        mark: &[[u8; 4]],
        row: Option<&mut [T]>,
        bands: usize,
        colors: usize,
    ) {
        let Some(row) = row else { return };
        match (bands, colors) {
            (1, _) => self.lay_bands::<T, 1>(mark, row, 1),
            (3, 3) => self.lay_bands::<T, 3>(mark, row, 3),
            (4, 3) => self.lay_bands::<T, 3>(mark, row, 4),
            _ => {
                for band in 0..colors {
                    let from = if colors >= 3 && band < 3 { band } else { 0 };
                    for (pixel, mark) in row.chunks_exact_mut(bands).zip(mark) {
                        if let Some(sample) = pixel.get_mut(band) {
                            *sample = self.blended(*sample, mark[from], mark[3]);
                        }
                    }
                }
            }
        }
    }

    /// The first `N` bands of every `step`, with a count the compiler knows.
    #[inline(always)]
    fn lay_bands<T: Sample, const N: usize>(&self, mark: &[[u8; 4]], row: &mut [T], step: usize) {
        for (pixel, mark) in row.chunks_exact_mut(step).zip(mark) {
            for (sample, color) in pixel.iter_mut().take(N).zip(mark) {
                *sample = self.blended(*sample, *color, mark[3]);
            }
        }
    }

    #[inline(always)]
    fn blended<T: Sample>(&self, below: T, mark: u8, opacity: u8) -> T {
        let opacity = f32::from(opacity) * (self.opacity / 255.0);
        let mark = f32::from(mark) * (T::FULL / 255.0);
        let below = below.to_f32();
        T::from_f32(match self.blend {
            Blend::Over => below + (mark - below) * opacity,
            Blend::Add => below + mark * opacity,
        })
    }
}
