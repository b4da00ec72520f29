//! Which bands go on: the ones that are shown.

use iiphost_plugin_api::{AlphaMode, ColorModel};

use super::{BandsOut, model_of};
use crate::error::Error;
use crate::raster::{Raster, Samples, map_samples, sample_count};
use crate::view::Processing;

/// How many color bands of `colors` are shown: of two the first, of more than three the first three.
pub(super) fn shown_count(colors: usize, out: BandsOut) -> usize {
    match (out, colors) {
        (BandsOut::Any, n) | (_, n @ (1 | 3)) => n,
        (_, 0 | 2) => 1,
        (_, _) => 3,
    }
}

/// Leaves out, before any work is done on them, the bands that no step reads and no encoder shows.
pub(super) fn wanted(raster: Raster, processing: &Processing, out: BandsOut) -> Result<Raster, Error> {
    let twisted = processing.twist.as_ref().is_some_and(|rows| !rows.is_empty());
    if twisted || processing.shade.is_some() {
        // The twist reads any band, opacity and extra ones included.
        return Ok(raster);
    }
    let colors = raster.color_band_count() as usize;
    let count = match processing.color_map {
        // The first band of sRGB is made of all three of CIELAB.
        Some(_) if raster.color_model == ColorModel::CieLab => colors.min(3),
        Some(_) => 1,
        None => shown_count(colors, out),
    };
    if out == BandsOut::Any && processing.color_map.is_none() {
        return Ok(raster);
    }
    keep(raster, count)
}

/// The color bands an encoder takes, opacity kept.
pub(super) fn shown(raster: Raster, out: BandsOut) -> Result<Raster, Error> {
    if out == BandsOut::Any {
        return Ok(raster);
    }
    let count = shown_count(raster.color_band_count() as usize, out);
    keep(raster, count)
}

/// Color bands and opacity alone.
pub(super) fn without_extra(raster: Raster) -> Result<Raster, Error> {
    let count = raster.color_band_count() as usize;
    keep(raster, count)
}

/// The first `count` color bands and opacity.
fn keep(raster: Raster, count: usize) -> Result<Raster, Error> {
    let mut bands: Vec<usize> = (0..count).collect();
    bands.extend(raster.alpha_band());
    let all = raster.band_count as usize;
    if bands.len() == all {
        return Ok(raster);
    }
    let model = match raster.color_model {
        ColorModel::Multiband => model_of(count),
        _ if count == 1 => ColorModel::Grey,
        model => model,
    };
    let alpha = match raster.alpha_band() {
        Some(_) => raster.alpha,
        None => AlphaMode::None,
    };
    let samples = map_samples!(&raster.samples, v => pick(v, all, &bands));
    let mut kept = raster.with(raster.size, bands.len() as u32, samples)?;
    kept.color_model = model;
    kept.alpha = alpha;
    Ok(kept)
}

fn pick<T: Copy + Default>(source: &[T], all: usize, bands: &[usize]) -> Vec<T> {
    let mut out = vec![T::default(); source.len() / all * bands.len()];
    let pixels = source.chunks_exact(all);
    // The cases every file with an extra band meets, as constants.
    match (all, bands) {
        (4, [0, 1, 2]) => {
            for (o, p) in out
                .as_chunks_mut::<3>()
                .0
                .iter_mut()
                .zip(source.as_chunks::<4>().0)
            {
                *o = [p[0], p[1], p[2]];
            }
        }
        (_, [band]) => {
            for (o, p) in out.iter_mut().zip(pixels) {
                *o = p[*band];
            }
        }
        _ => {
            for (o, p) in out.chunks_exact_mut(bands.len()).zip(pixels) {
                for (o, band) in o.iter_mut().zip(bands) {
                    *o = p[*band];
                }
            }
        }
    }
    out
}

/// Grey as three equal bands, for encoders that know no grey.
pub(super) fn repeated(raster: Raster, out: BandsOut, max_bytes: u64) -> Result<Raster, Error> {
    if out != BandsOut::Rgb || raster.color_band_count() != 1 {
        return Ok(raster);
    }
    let bands = raster.band_count + 2;
    sample_count(raster.size, bands, raster.samples.format(), max_bytes)?;
    let alpha = raster.alpha_band().is_some();
    let samples: Samples = map_samples!(&raster.samples, v => if alpha {
        v.as_chunks::<2>().0.iter().flat_map(|&[g, a]| [g, g, g, a]).collect()
    } else {
        v.iter().flat_map(|&g| [g; 3]).collect()
    });
    let mut rgb = raster.with(raster.size, bands, samples)?;
    rgb.color_model = ColorModel::Rgb;
    Ok(rgb)
}
