//! Mirrors and quarter turns: exact permutations of the pixels.

use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, map_samples};

/// Side of the squares in which a quarter turn walks: 32 rows of 32 pixels stay in the first-level cache.
const SQUARE: usize = 32;

/// Left-right mirror first, then quarter turns clockwise.
pub(super) fn turn(raster: Raster, mirror: bool, quarters: u8) -> Result<Raster, Error> {
    if !mirror && quarters == 0 {
        return Ok(raster);
    }
    let size = match quarters {
        1 | 3 => raster.size.transposed(),
        _ => raster.size,
    };
    let bands = raster.band_count as usize;
    let samples = map_samples!(&raster.samples, v => match bands {
        1 => turned(v.as_chunks::<1>().0, raster.size, mirror, quarters).into_flattened(),
        2 => turned(v.as_chunks::<2>().0, raster.size, mirror, quarters).into_flattened(),
        3 => turned(v.as_chunks::<3>().0, raster.size, mirror, quarters).into_flattened(),
        4 => turned(v.as_chunks::<4>().0, raster.size, mirror, quarters).into_flattened(),
        n => {
            let places: Vec<u32> = (0..v.len().div_ceil(n)).map(|i| i as u32).collect();
            let places = turned(&places, raster.size, mirror, quarters);
            places.iter().flat_map(|i| &v[*i as usize * n..][..n]).copied().collect()
        }
    });
    raster.with(size, raster.band_count, samples)
}

/// Pixels of a picture of `size`, turned.
fn turned<P: Copy>(source: &[P], size: Size, mirror: bool, quarters: u8) -> Vec<P> {
    let width = size.width as usize;
    match (quarters, mirror) {
        (0, false) => source.to_vec(),
        (2, false) => source.iter().rev().copied().collect(),
        (0, true) => source
            .chunks_exact(width)
            .flat_map(|row| row.iter().rev())
            .copied()
            .collect(),
        // Mirrored and turned by half is upside down.
        (2, true) => source.chunks_exact(width).rev().flatten().copied().collect(),
        // A quarter turn reads columns: upwards when turned right, and mirroring before it reads the
        // columns from the last to the first.
        (quarters, mirror) => columns(source, size, mirror == (quarters == 1), quarters == 1),
    }
}

/// The columns of a picture as rows: from the last column if `from_right`, bottom to top if `upwards`.
fn columns<P: Copy>(source: &[P], size: Size, from_right: bool, upwards: bool) -> Vec<P> {
    let (width, height) = (size.width as usize, size.height as usize);
    let Some(&first) = source.first() else {
        return Vec::new();
    };
    let mut out = vec![first; source.len()];
    // One stripe of output rows at a time, square by square along it.
    for (stripe, rows) in out.chunks_mut(SQUARE * height).enumerate() {
        for start in (0..height).step_by(SQUARE) {
            let end = (start + SQUARE).min(height);
            for (row, out) in rows.chunks_exact_mut(height).enumerate() {
                let col = stripe * SQUARE + row;
                let col = if from_right { width - 1 - col } else { col };
                let out = &mut out[start..end];
                if upwards {
                    let lines = source[(height - end) * width..(height - start) * width].chunks_exact(width);
                    out.iter_mut()
                        .zip(lines.rev())
                        .for_each(|(o, line)| *o = line[col]);
                } else {
                    let lines = source[start * width..end * width].chunks_exact(width);
                    out.iter_mut().zip(lines).for_each(|(o, line)| *o = line[col]);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Samples;
    use iiphost_plugin_api::SampleFormat;
    use proptest::prelude::*;

    fn picture(width: u32, height: u32, bands: u32) -> Raster {
        let mut raster = Raster::zeros(Size::new(width, height), bands, SampleFormat::U16, 1 << 22).unwrap();
        raster.samples = Samples::U16((0..raster.samples.len()).map(|i| i as u16).collect());
        raster
    }

    #[test]
    fn the_six_numbers_of_the_specification() {
        let cases: [(u8, bool, [u8; 6]); 7] = [
            (1, false, [4, 1, 5, 2, 6, 3]),
            (2, false, [6, 5, 4, 3, 2, 1]),
            (3, false, [3, 6, 2, 5, 1, 4]),
            (0, true, [3, 2, 1, 6, 5, 4]),
            (1, true, [6, 3, 5, 2, 4, 1]),
            (2, true, [4, 5, 6, 1, 2, 3]),
            (3, true, [1, 4, 2, 5, 3, 6]),
        ];
        for (quarters, mirror, want) in cases {
            assert_eq!(
                turned(&[1u8, 2, 3, 4, 5, 6], Size::new(3, 2), mirror, quarters),
                want,
                "{quarters} {mirror}"
            );
        }
    }

    proptest! {
        #[test]
        fn four_quarter_turns_are_identity(width in 1u32..80, height in 1u32..80, bands in 1u32..6) {
            let start = picture(width, height, bands);
            let mut raster = start.clone();
            for _ in 0..4 {
                raster = turn(raster, false, 1).unwrap();
            }
            prop_assert_eq!(&raster, &start);
            let three = turn(turn(turn(start.clone(), false, 1).unwrap(), false, 1).unwrap(), false, 1).unwrap();
            prop_assert_eq!(three, turn(start, false, 3).unwrap());
        }

        #[test]
        fn mirror_twice_is_identity(width in 1u32..80, height in 1u32..80, bands in 1u32..6, quarters in 0u8..4) {
            let start = picture(width, height, bands);
            let twice = turn(turn(start.clone(), true, 0).unwrap(), true, 0).unwrap();
            prop_assert_eq!(&twice, &start);
            let apart = turn(turn(start.clone(), true, 0).unwrap(), false, quarters).unwrap();
            prop_assert_eq!(apart, turn(start, true, quarters).unwrap());
        }
    }
}
