//! Steps that look at one sample at a time, fused into one table a band.

use iiphost_plugin_api::SampleFormat;

use super::color_map;
use super::depth::{Depth, rescale};
use super::recipe::Recipe;
use super::rows;
use crate::error::Error;
use crate::raster::{Raster, Samples, sample_count};

/// Whether tables can do it: samples of at most 16 bits.
pub(super) fn fits(raster: &Raster) -> bool {
    matches!(raster.samples, Samples::U8(_) | Samples::U16(_))
}

/// Normalization, tone curve, color map and contrast of `recipe`; opacity and extra bands only change
/// their depth.
pub(super) fn apply(
    raster: &Raster,
    recipe: &Recipe,
    format: SampleFormat,
    max_bytes: u64,
) -> Result<Raster, Error> {
    if format == SampleFormat::U16 {
        apply_to::<u16>(raster, recipe, max_bytes)
    } else {
        apply_to::<u8>(raster, recipe, max_bytes)
    }
}

fn apply_to<T: Depth>(raster: &Raster, recipe: &Recipe, max_bytes: u64) -> Result<Raster, Error> {
    let format = T::wrap(Vec::new()).format();
    if let Some(map) = recipe.color_map {
        let bands = 3 + u32::from(raster.alpha_band().is_some());
        sample_count(raster.size, bands, format, max_bytes)?;
        let colors = |sample: u32| {
            let n = recipe.tone.apply(recipe.normalize(0, f64::from(sample)));
            color_map::colors(map, n as f32).map(|v| T::quantize(f64::from(v) * recipe.contrast))
        };
        let samples = T::wrap(match &raster.samples {
            Samples::U8(v) => paint::<_, T, 256>(v, raster, colors)?,
            Samples::U16(v) => paint::<_, T, 65_536>(v, raster, colors)?,
            _ => return Err(no_table()),
        });
        return super::made(raster, raster.size, 3, samples);
    }
    sample_count(raster.size, raster.band_count, format, max_bytes)?;
    let color = |band: usize, sample: u32| {
        let n = recipe.tone.apply(recipe.normalize(band, f64::from(sample)));
        T::quantize(n * recipe.contrast)
    };
    let samples = T::wrap(match &raster.samples {
        Samples::U8(v) => map_bands::<_, T, 256>(v, raster, recipe, color)?,
        Samples::U16(v) => map_bands::<_, T, 65_536>(v, raster, recipe, color)?,
        _ => return Err(no_table()),
    });
    let mut mapped = raster.with(raster.size, raster.band_count, samples)?;
    mapped.bit_depth = T::BITS;
    mapped.signed = false;
    Ok(mapped)
}

fn no_table() -> Error {
    Error::fault("pipeline", "a table of samples wider than 16 bits")
}

/// `N` values of `f`; samples over the bit depth count as the largest.
fn table<V: Copy + Default, const N: usize>(bits: u32, f: impl Fn(u32) -> V) -> Result<Box<[V; N]>, Error> {
    let used = 1usize.checked_shl(bits).unwrap_or(N).min(N);
    let mut values = Vec::with_capacity(N);
    values.extend((0..used as u32).map(f));
    let last = values.last().copied().unwrap_or_default();
    values.resize(N, last);
    values.into_boxed_slice().try_into().map_err(|_| no_table())
}

/// A table for each band, equal ones computed once.
fn map_bands<S, T: Depth, const N: usize>(
    source: &[S],
    raster: &Raster,
    recipe: &Recipe,
    color: impl Fn(usize, u32) -> T,
) -> Result<Vec<T>, Error>
where
    S: Copy + Sync,
    usize: From<S>,
{
    let colors = raster.color_band_count() as usize;
    let bands = raster.band_count as usize;
    let mut tables: Vec<Box<[T; N]>> = Vec::new();
    let mut first_bands: Vec<usize> = Vec::new();
    let mut of_band = Vec::with_capacity(bands);
    for band in 0..bands {
        let is_color = band < colors;
        let same =
            |&first: &usize| (first < colors) == is_color && (!is_color || recipe.same_scale(first, band));
        let index = match first_bands.iter().position(same) {
            Some(index) => index,
            None => {
                first_bands.push(band);
                tables.push(if is_color {
                    table(raster.bit_depth, |s| color(band, s))?
                } else {
                    table(raster.bit_depth, |s| rescale(s, raster.bit_depth))?
                });
                tables.len() - 1
            }
        };
        of_band.push(index);
    }
    let of_band: Vec<&[T; N]> = of_band.into_iter().map(|index| &*tables[index]).collect();
    let mut out = vec![T::default(); source.len()];
    let row_len = raster.row_len();
    rows::fill(&mut out, row_len, source.len() as u64, |first_row, out| {
        let source = &source[first_row * row_len..][..out.len()];
        if let [one] = tables.as_slice() {
            for (o, s) in out.iter_mut().zip(source) {
                *o = one[usize::from(*s)];
            }
            return;
        }
        match of_band.as_slice() {
            &[a, b, c] => look_up(source, out, [a, b, c]),
            &[a, b, c, d] => look_up(source, out, [a, b, c, d]),
            all => {
                for (o, s) in out.chunks_exact_mut(bands).zip(source.chunks_exact(bands)) {
                    for ((o, s), table) in o.iter_mut().zip(s).zip(all) {
                        *o = table[usize::from(*s)];
                    }
                }
            }
        }
    });
    Ok(out)
}

#[inline(always)]
fn look_up<S, T: Copy, const B: usize, const N: usize>(source: &[S], out: &mut [T], tables: [&[T; N]; B])
where
    S: Copy,
    usize: From<S>,
{
    let pixels = source.as_chunks::<B>().0.iter();
    for (o, s) in out.as_chunks_mut::<B>().0.iter_mut().zip(pixels) {
        for band in 0..B {
            o[band] = tables[band][usize::from(s[band])];
        }
    }
}

/// Band 0 through a table of colors.
fn paint<S, T: Depth, const N: usize>(
    source: &[S],
    raster: &Raster,
    colors: impl Fn(u32) -> [T; 3],
) -> Result<Vec<T>, Error>
where
    S: Copy + Sync,
    usize: From<S>,
{
    let table: Box<[[T; 3]; N]> = table(raster.bit_depth, colors)?;
    let bands = raster.band_count as usize;
    let alpha = raster.alpha_band();
    let width = raster.size.width as usize;
    let made: usize = if alpha.is_some() { 4 } else { 3 };
    let mut out = vec![T::default(); source.len() / bands * made];
    let row_len = raster.row_len();
    rows::fill(
        &mut out,
        width * made,
        source.len() as u64 * 3,
        |first_row, out| {
            let source = &source[first_row * row_len..][..out.len() / made * bands];
            match alpha {
                None if bands == 1 => {
                    for (o, s) in out.as_chunks_mut::<3>().0.iter_mut().zip(source) {
                        *o = table[usize::from(*s)];
                    }
                }
                None => {
                    for (o, s) in out
                        .as_chunks_mut::<3>()
                        .0
                        .iter_mut()
                        .zip(source.chunks_exact(bands))
                    {
                        *o = table[usize::from(s[0])];
                    }
                }
                Some(alpha) => {
                    for (o, s) in out
                        .as_chunks_mut::<4>()
                        .0
                        .iter_mut()
                        .zip(source.chunks_exact(bands))
                    {
                        let [red, green, blue] = table[usize::from(s[0])];
                        // At most 16 bits.
                        let opacity = rescale(usize::from(s[alpha]) as u32, raster.bit_depth);
                        *o = [red, green, blue, opacity];
                    }
                }
            }
        },
    );
    Ok(out)
}
