//! Steps that mix bands or pixels, and samples no table can hold: a few rows of floating point at a time.

use std::ops::Range;

use iiphost_plugin_api::{Region, SampleFormat};

use super::depth::{Depth, rescale};
use super::recipe::{Recipe, Scale};
use super::stairs::Stairs;
use super::{color_map, convolve, lab, rows, twist};
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, Samples, sample_count};
use crate::view::Gamma;

/// The steps of `recipe` on the `inner` region of the raster; the convolution also reads around it and
/// repeats the border of the raster where that ends.
///
/// Bands that are no color are read by the color twist and keep their values otherwise. Steps that make other colors
/// leave out all of them but opacity.
pub(super) fn mix(
    raster: &Raster,
    inner: Region,
    recipe: &Recipe,
    format: SampleFormat,
    max_bytes: u64,
) -> Result<Raster, Error> {
    if format == SampleFormat::U16 {
        mix_to::<u16>(raster, inner, recipe, max_bytes)
    } else {
        mix_to::<u8>(raster, inner, recipe, max_bytes)
    }
}

fn mix_to<T: Depth>(
    raster: &Raster,
    inner: Region,
    recipe: &Recipe,
    max_bytes: u64,
) -> Result<Raster, Error> {
    let mixer = Mixer::new(raster, recipe, T::BITS == 8);
    let colors = mixer.colors;
    let others = mixer.others();
    let bands = colors + others.len();
    let size = Size::new(inner.width, inner.height);
    let format = T::wrap(Vec::new()).format();
    let band_count = u32::try_from(bands).map_err(|_| Error::bad_request("too many bands"))?;
    let count = sample_count(size, band_count, format, max_bytes)?;
    let mut out = vec![T::default(); count];
    let row_len = inner.width as usize * bands;
    let touched = inner.pixels() * u64::from(raster.band_count.max(band_count));
    rows::fill(&mut out, row_len, touched, |first_row, out| {
        let mut worker = Worker::new(&mixer, inner);
        for (row, out) in out.chunks_exact_mut(row_len).enumerate() {
            let y = inner.y as usize + first_row + row;
            let values = worker.row(y);
            let full = (recipe.contrast * T::TOP) as f32;
            let colors_out = |out: &mut [T], values: &[f32]| match &mixer.stairs {
                Some(stairs) => {
                    for (o, v) in out.iter_mut().zip(values) {
                        *o = T::from_bits(u32::from(stairs.at(*v)));
                    }
                }
                None => {
                    for (o, v) in out.iter_mut().zip(values) {
                        *o = T::from_f32(v * full);
                    }
                }
            };
            if others.is_empty() {
                colors_out(out, values);
                continue;
            }
            for (o, v) in out.chunks_exact_mut(bands).zip(values.chunks_exact(colors)) {
                colors_out(&mut o[..colors], v);
            }
            for (place, band) in others.clone().enumerate() {
                mixer.plain(y, inner, band, &mut out[colors + place..], bands);
            }
        }
    });
    super::made_with(raster, size, colors, others.len(), T::wrap(out))
}

/// What is the same for all rows.
struct Mixer<'a> {
    raster: &'a Raster,
    recipe: &'a Recipe,
    /// Normalized values by sample, a table a band; empty for samples that go through the formula.
    tables: Vec<Vec<f32>>,
    /// Bands that are read.
    read: usize,
    /// Color bands of the result.
    colors: usize,
    /// The tone curve is not in the tables but follows, by formula or as stairs.
    tone_later: bool,
    /// Tone curve, contrast and rounding in one.
    stairs: Option<Stairs>,
}

impl<'a> Mixer<'a> {
    fn new(raster: &'a Raster, recipe: &'a Recipe, bytes: bool) -> Self {
        let colors = raster.color_band_count() as usize;
        let read = match recipe.twist {
            Some(_) => raster.band_count as usize,
            None => colors,
        };
        let mut mixer = Self {
            raster,
            recipe,
            tables: Vec::new(),
            read,
            colors: match (recipe.color_map, &recipe.twist, recipe.light) {
                (Some(_), _, _) => 3,
                (None, Some(rows), _) => rows.len(),
                (None, None, Some(_)) => 1,
                (None, None, None) => colors,
            },
            tone_later: false,
            stairs: None,
        };
        let entries = match raster.samples {
            Samples::U8(_) => 256,
            // A table costs as much as that many samples.
            Samples::U16(_) if raster.size.pixels() >= 1 << 15 => 65_536,
            _ => 0,
        };
        // Tables hold the tone curve unless bands are mixed before it.
        mixer.tone_later = recipe.blends_bands() || recipe.is_lab() || entries == 0;
        // Finding the stairs costs about as much as the curve on that many pixels.
        let worth = bytes && mixer.tone_later && raster.size.pixels() >= 1 << 13;
        let last = recipe.color_map.is_none() && recipe.kernel.is_none();
        if worth && last && recipe.tone.gamma != Gamma::Power(1.0) {
            mixer.stairs = Some(Stairs::new(|n| recipe.tone.apply(n) * recipe.contrast));
        }
        if entries > 0 && !(recipe.is_lab() && raster.band_count == 3) {
            let largest = (1u32 << raster.bit_depth.min(16)) - 1;
            let mut tables: Vec<Vec<f32>> = Vec::with_capacity(read);
            for band in 0..read {
                let same = (0..band).find(|&b| (b < colors) == (band < colors) && recipe.same_scale(b, band));
                tables.push(match same {
                    Some(same) => tables[same].clone(),
                    None => (0..entries)
                        .map(|s: u32| mixer.value(band, f64::from(s.min(largest))))
                        .collect(),
                });
            }
            mixer.tables = tables;
        }
        mixer
    }

    /// A sample before bands are mixed, with the tone curve if nothing comes before that.
    #[inline(always)]
    fn value(&self, band: usize, sample: f64) -> f32 {
        let colors = self.raster.color_band_count() as usize;
        if band >= colors {
            return self.recipe.plain(band, sample) as f32;
        }
        let n = self.recipe.normalize(band, sample);
        if self.tone_later || self.recipe.tone.is_none() {
            n as f32
        } else {
            self.recipe.tone.apply(n) as f32
        }
    }

    /// Columns `x..x + width` of row `y`, all read bands.
    fn read_row(&self, x: usize, y: usize, out: &mut [f32]) {
        let all = self.raster.band_count as usize;
        let start = y * self.raster.row_len() + x * all;
        let range = start..start + out.len() / self.read * all;
        if self.recipe.is_lab() && self.read == 3 {
            return self.lab_row(range, out);
        }
        match &self.raster.samples {
            Samples::U8(v) if !self.tables.is_empty() => self.look_up(&v[range.clone()], out),
            Samples::U16(v) if !self.tables.is_empty() => self.look_up(&v[range.clone()], out),
            Samples::U8(v) => self.calculate(&v[range.clone()], out, f64::from),
            Samples::U16(v) => self.calculate(&v[range.clone()], out, f64::from),
            Samples::U32(v) => self.calculate(&v[range.clone()], out, f64::from),
            Samples::F32(v) => self.calculate(&v[range.clone()], out, f64::from),
        }
        if self.recipe.is_lab() {
            self.lab_row(range, out);
        }
    }

    /// Colors of CIELAB samples; other bands stay as they are in `out`.
    fn lab_row(&self, range: Range<usize>, out: &mut [f32]) {
        match &self.raster.samples {
            Samples::U8(v) => self.convert_lab(&v[range], out, lab::from_u8),
            Samples::U16(v) => self.convert_lab(&v[range], out, lab::from_u16),
            Samples::U32(v) => {
                self.convert_lab(&v[range], out, |p| lab::from_u16(p.map(|s| (s >> 16) as u16)))
            }
            Samples::F32(v) => self.convert_lab(&v[range], out, |p| p),
        }
    }

    fn look_up<S: Copy>(&self, source: &[S], out: &mut [f32])
    where
        usize: From<S>,
    {
        let all = self.raster.band_count as usize;
        match (self.tables.as_slice(), all) {
            ([a, b, c], 3) => {
                for (p, o) in source.as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0) {
                    *o = [a[usize::from(p[0])], b[usize::from(p[1])], c[usize::from(p[2])]];
                }
            }
            (tables, _) => {
                for (p, o) in source.chunks_exact(all).zip(out.chunks_exact_mut(self.read)) {
                    for ((o, s), table) in o.iter_mut().zip(p).zip(tables) {
                        *o = table[usize::from(*s)];
                    }
                }
            }
        }
    }

    /// The scales of the read bands, if nothing else is to be done to their samples.
    fn only_scales<const B: usize>(&self) -> Option<[Scale; B]> {
        let plain = self.tone_later || self.recipe.tone.is_none();
        let colors = self.raster.color_band_count() as usize == B;
        if !plain || !colors || self.read != B || self.raster.band_count as usize != B {
            return None;
        }
        let mut scales = [Scale::new(0.0, 1.0); B];
        for (band, scale) in scales.iter_mut().enumerate() {
            *scale = self.recipe.only_scale(band)?;
        }
        Some(scales)
    }

    fn calculate<S: Copy>(&self, source: &[S], out: &mut [f32], number: impl Fn(S) -> f64) {
        if let Some([scale]) = self.only_scales::<1>() {
            for (s, o) in source.iter().zip(out) {
                *o = scale.apply(number(*s)) as f32;
            }
            return;
        }
        if let Some(scales) = self.only_scales::<3>() {
            for (p, o) in source.as_chunks::<3>().0.iter().zip(out.as_chunks_mut::<3>().0) {
                for band in 0..3 {
                    o[band] = scales[band].apply(number(p[band])) as f32;
                }
            }
            return;
        }
        let all = self.raster.band_count as usize;
        for (p, o) in source.chunks_exact(all).zip(out.chunks_exact_mut(self.read)) {
            for (band, (o, s)) in o.iter_mut().zip(p).enumerate() {
                *o = self.value(band, number(*s));
            }
        }
    }

    fn convert_lab<S: Copy>(&self, source: &[S], out: &mut [f32], number: impl Fn([S; 3]) -> [f32; 3]) {
        let all = self.raster.band_count as usize;
        match (all, self.read) {
            (3, 3) => lab::convert(source, 3, number, out, 3),
            (all, read) => lab::convert(source, all, number, out, read),
        }
        let plain = self.tone_later || self.recipe.tone.is_none();
        if plain && self.recipe.only_scale(0).is_some() {
            return;
        }
        for o in out.chunks_exact_mut(self.read) {
            for v in &mut o[..3] {
                let n = self.recipe.stretched(f64::from(*v));
                *v = if plain { n } else { self.recipe.tone.apply(n) } as f32;
            }
        }
    }

    /// Bands that are no color and go on.
    fn others(&self) -> Range<usize> {
        let (colors, all) = (
            self.raster.color_band_count() as usize,
            self.raster.band_count as usize,
        );
        let recipe = self.recipe;
        if recipe.color_map.is_none() && recipe.twist.is_none() && recipe.light.is_none() {
            return colors..all;
        }
        colors..colors + usize::from(self.raster.alpha_band().is_some())
    }

    /// A band that is no color of row `y` into every `step`th sample of `out`, by depth alone.
    fn plain<T: Depth>(&self, y: usize, inner: Region, band: usize, out: &mut [T], step: usize) {
        let all = self.raster.band_count as usize;
        let start = y * self.raster.row_len() + inner.x as usize * all + band;
        let bits = self.raster.bit_depth;
        let places = out.iter_mut().step_by(step);
        match &self.raster.samples {
            Samples::U8(v) => places
                .zip(v[start..].iter().step_by(all))
                .for_each(|(o, s)| *o = rescale(u32::from(*s), bits)),
            Samples::U16(v) => places
                .zip(v[start..].iter().step_by(all))
                .for_each(|(o, s)| *o = rescale(u32::from(*s), bits)),
            Samples::U32(v) => places
                .zip(v[start..].iter().step_by(all))
                .for_each(|(o, s)| *o = rescale(*s, bits)),
            Samples::F32(v) => places
                .zip(v[start..].iter().step_by(all))
                .for_each(|(o, s)| *o = T::quantize(self.recipe.plain(band, f64::from(*s)))),
        }
    }
}

/// The rows one thread works on.
struct Worker<'a> {
    mixer: &'a Mixer<'a>,
    inner: Region,
    /// First column read and number of columns read: the inner ones and what the kernel needs.
    x: usize,
    width: usize,
    source: Vec<f32>,
    shaded: Vec<f32>,
    mixed: Vec<f32>,
    painted: Vec<f32>,
    /// Finished rows for the kernel, row `y` in slot `y % side`, completed to the left and right.
    window: Vec<(Option<usize>, Vec<f32>)>,
    out: Vec<f32>,
}

impl<'a> Worker<'a> {
    fn new(mixer: &'a Mixer<'a>, inner: Region) -> Self {
        let radius = mixer.recipe.kernel.as_deref().map_or(0, convolve::side) / 2;
        let x = (inner.x as usize).saturating_sub(radius);
        let right = (inner.right() as usize + radius).min(mixer.raster.size.width as usize);
        let side = mixer.recipe.kernel.as_deref().map_or(0, convolve::side);
        let padded = (inner.width as usize + 2 * radius) * mixer.colors;
        Self {
            mixer,
            inner,
            x,
            width: right - x,
            source: vec![0.0; (right - x) * mixer.read],
            shaded: Vec::new(),
            mixed: Vec::new(),
            painted: Vec::new(),
            window: vec![(None, vec![0.0; padded]); side],
            out: vec![0.0; inner.width as usize * mixer.colors],
        }
    }

    /// Row `y` of the raster, its inner columns, up to the contrast.
    fn row(&mut self, y: usize) -> &[f32] {
        let mixer = self.mixer;
        let Some(kernel) = mixer.recipe.kernel.as_deref() else {
            return self.finish(y);
        };
        let side = convolve::side(kernel);
        let radius = side / 2;
        let last = self.mixer.raster.size.height as usize - 1;
        let lines: Vec<usize> = (0..side)
            .map(|i| (y + i).saturating_sub(radius).min(last))
            .collect();
        for &line in &lines {
            if self.window[line % side].0 != Some(line) {
                self.load(line, radius, side);
            }
        }
        let rows: Vec<&[f32]> = lines.iter().map(|l| self.window[l % side].1.as_slice()).collect();
        convolve::correlate(kernel, &rows, self.mixer.colors, &mut self.out);
        &self.out
    }

    /// Puts a finished row into the window, its first and last pixel repeated where the raster ends.
    fn load(&mut self, y: usize, radius: usize, side: usize) {
        let colors = self.mixer.colors;
        let (mut slot, mut padded) = std::mem::take(&mut self.window[y % side]);
        let left = radius - (self.inner.x as usize - self.x);
        let finished = self.finish(y);
        let (head, rest) = padded.split_at_mut(left * colors);
        let (body, tail) = rest.split_at_mut(finished.len());
        body.copy_from_slice(finished);
        head.chunks_exact_mut(colors)
            .for_each(|p| p.copy_from_slice(&finished[..colors]));
        tail.chunks_exact_mut(colors)
            .for_each(|p| p.copy_from_slice(&finished[finished.len() - colors..]));
        slot.replace(y);
        self.window[y % side] = (slot, padded);
    }

    /// Row `y` up to the color map, all columns read.
    fn finish(&mut self, y: usize) -> &[f32] {
        let Self {
            mixer,
            x,
            width,
            source,
            shaded,
            mixed,
            painted,
            ..
        } = self;
        let recipe = mixer.recipe;
        mixer.read_row(*x, y, source);
        let (mut row, mut bands) = (source, mixer.read);
        if let Some(light) = recipe.light {
            let kept = bands - 2;
            shaded.clear();
            for p in row.chunks_exact(bands) {
                shaded.push(light.shade([p[0], p[1], p[2]]));
                shaded.extend_from_slice(&p[3..]);
            }
            (row, bands) = (shaded, kept);
        }
        if let Some(rows) = &recipe.twist {
            mixed.resize(*width * rows.len(), 0.0);
            twist::twist(rows, row, bands, mixed);
            (row, bands) = (mixed, rows.len());
        }
        if mixer.tone_later && mixer.stairs.is_none() && !recipe.tone.is_none() {
            row.iter_mut()
                .for_each(|v| *v = recipe.tone.apply(f64::from(*v)) as f32);
        }
        let Some(map) = recipe.color_map else {
            return row;
        };
        painted.clear();
        for p in row.chunks_exact(bands) {
            painted.extend_from_slice(&color_map::colors(map, p[0]));
        }
        painted
    }
}
