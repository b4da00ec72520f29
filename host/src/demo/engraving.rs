//! The moon as a steel engraver would cut it: lines that swell where it is dark.

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use super::noise::{Octave, unit};
use super::{Scene, smooth_step};
use crate::encode::tiff::PixelLayout;
use crate::limits::Size;

const WIDTH: u32 = 4096;
const HEIGHT: u32 = 3072;
const CENTER: [f32; 2] = [2048.0, 1536.0];
const RADIUS: f32 = 1290.0;
/// Distance of the engraved lines in pixels.
const PITCH: f32 = 9.0;
/// From where the sun shines; unit length.
const LIGHT: [f32; 3] = [-0.62, -0.38, 0.687];

struct Crater {
    place: [f32; 2],
    radius: f32,
    depth: f32,
}

/// The picture.
pub(super) struct Engraving {
    craters: Vec<Crater>,
    /// Indexes of the craters that reach a cell of [`BIN`] pixels, row by row.
    bins: Vec<Vec<u16>>,
}

const BIN: u32 = 64;
const BIN_COLS: u32 = WIDTH / BIN;

impl Engraving {
    pub(super) fn new() -> Self {
        let mut craters: Vec<Crater> = Vec::new();
        for i in 0..900_u32 {
            // Many small ones, few large ones, spread evenly over the sphere.
            let radius = 10.0 + 190.0 * unit(i, 0, 201).powi(9) + 34.0 * unit(i, 1, 201).powi(3);
            let angle = unit(i, 2, 201) * std::f32::consts::TAU;
            let distance = (unit(i, 3, 201).sqrt() * 0.97).min(0.97);
            let place = [
                CENTER[0] + RADIUS * distance * angle.cos(),
                CENTER[1] + RADIUS * distance * angle.sin(),
            ];
            craters.push(Crater {
                place,
                radius,
                depth: 0.5 + 0.5 * unit(i, 4, 201),
            });
        }
        let mut bins = vec![Vec::new(); (BIN_COLS * (HEIGHT / BIN)) as usize];
        for (idx, crater) in (0_u16..).zip(&craters) {
            let reach = crater.radius * 1.8;
            let cells = |center: f32, count: u32| {
                let first = ((center - reach).max(0.0) as u32) / BIN;
                let last = (((center + reach).max(0.0) as u32) / BIN).min(count - 1);
                first..=last
            };
            for row in cells(crater.place[1], HEIGHT / BIN) {
                for col in cells(crater.place[0], BIN_COLS) {
                    if let Some(bin) = bins.get_mut((row * BIN_COLS + col) as usize) {
                        bin.push(idx);
                    }
                }
            }
        }
        Self { craters, bins }
    }

    /// Height of the ground added by craters: bowl, rim, a peak in large ones.
    fn relief(&self, x: f32, y: f32) -> f32 {
        let bin = (y as u32 / BIN).min(HEIGHT / BIN - 1) * BIN_COLS + (x as u32 / BIN).min(BIN_COLS - 1);
        let mut height = 0.0;
        for &idx in self.bins.get(bin as usize).map_or(&[][..], Vec::as_slice) {
            let Some(crater) = self.craters.get(usize::from(idx)) else {
                continue;
            };
            let (dx, dy) = (x - crater.place[0], y - crater.place[1]);
            let r = (dx * dx + dy * dy).sqrt() / crater.radius;
            if r > 1.8 {
                continue;
            }
            let bowl = if r < 1.0 {
                r * r * 1.25 - 1.0
            } else {
                0.25 * (1.0 - smooth_step(1.0, 1.8, r))
            };
            let peak = if crater.radius > 90.0 {
                0.5 * (-(r * 6.0).powi(2)).exp()
            } else {
                0.0
            };
            height += (bowl + peak) * crater.radius * crater.depth * 0.19;
        }
        height
    }

    /// Light from the ground, 0 to 1.
    fn tone(&self, x: u32, y: u32, fields: &Fields) -> f32 {
        let (fx, fy) = (x as f32, y as f32);
        let (nx, ny) = ((fx - CENTER[0]) / RADIUS, (fy - CENTER[1]) / RADIUS);
        let r2 = nx * nx + ny * ny;
        if r2 >= 1.0 {
            let distance = (r2.sqrt() - 1.0) * RADIUS;
            return 0.13 + 0.3 * (-distance / 130.0).exp();
        }
        let nz = (1.0 - r2).sqrt();
        let here = self.relief(fx, fy);
        let mut normal = [
            nx - (self.relief(fx + 2.0, fy) - here) * 0.5,
            ny - (self.relief(fx, fy + 2.0) - here) * 0.5,
            nz,
        ];
        let at = x as usize;
        let rough = fields.rough[at];
        normal[0] -= (fields.rough[at + 2] - rough) * 0.22;
        normal[1] -= (fields.rough_below[at] - rough) * 0.22;
        let length = (normal[0].powi(2) + normal[1].powi(2) + normal[2].powi(2)).sqrt();
        let lit = (normal[0] * LIGHT[0] + normal[1] * LIGHT[1] + normal[2] * LIGHT[2]) / length;
        let albedo = 1.0 - 0.42 * smooth_step(0.0, 0.28, fields.seas[at]);
        // The limb keeps a trace of light from the earth.
        (lit.max(0.0).powf(0.9) * albedo * 0.86 + 0.05).min(1.0)
    }
}

/// Random fields along one row.
struct Fields {
    /// Where dark lava fills the plains.
    seas: Vec<f32>,
    /// Small unevenness, two columns longer than the row.
    rough: Vec<f32>,
    /// The same two rows below.
    rough_below: Vec<f32>,
}

impl Fields {
    fn along(y: u32) -> Self {
        let row = |y: u32, octaves: &[Octave]| {
            let mut row = vec![0.0; WIDTH as usize + 2];
            let mut column = Vec::new();
            octaves.iter().for_each(|o| o.add_row(y, &mut row, &mut column));
            row
        };
        let seas = [
            Octave::new(700, 1.0, 220),
            Octave::new(310, 0.5, 221),
            Octave::new(120, 0.22, 222),
            Octave::new(50, 0.1, 223),
        ];
        let rough = [Octave::new(47, 9.0, 210), Octave::new(19, 4.0, 211)];
        Self {
            seas: row(y, &seas),
            rough: row(y, &rough),
            rough_below: row(y + 2, &rough),
        }
    }
}

/// How far a place is from the middle of the next line, in half distances of lines: 0 on it, 1 between.
fn line(position: f32) -> f32 {
    let phase = position / PITCH;
    ((phase - phase.floor()) * 2.0 - 1.0).abs()
}

impl Scene for Engraving {
    fn size(&self) -> Size {
        Size::new(WIDTH, HEIGHT)
    }

    fn layout(&self) -> PixelLayout {
        PixelLayout::new(ColorModel::Grey, AlphaMode::None, SampleFormat::U8)
    }

    fn title(&self) -> &'static str {
        "The moon, engraved"
    }

    fn paint(&self, first_row: u32, rows: &mut [u8]) {
        for (y, row) in (first_row..).zip(rows.chunks_exact_mut(WIDTH as usize)) {
            let fields = Fields::along(y);
            for (x, sample) in (0..).zip(row.iter_mut()) {
                let dark = 1.0 - self.tone(x, y, &fields);
                let (fx, fy) = (x as f32 + 0.5 - CENTER[0], y as f32 + 0.5 - CENTER[1]);
                let inside = (fx * fx + fy * fy) / (RADIUS * RADIUS);
                // Lines follow the curve of the sphere, and lie straight in the sky.
                let bend = 210.0 * (1.0 - inside).max(0.0);
                let first = line(fy + bend * (fy / RADIUS * 0.8 + 0.3));
                let second = line((fx + fy) * std::f32::consts::FRAC_1_SQRT_2 + bend * 0.6);
                let edge = 2.0 / PITCH;
                let cut = |distance: f32, width: f32| smooth_step(width + edge, width - edge, distance);
                let mut ink = cut(first, (dark * 1.12 - 0.06).clamp(-0.3, 0.86));
                // Cross hatching deepens the shadows.
                ink = ink.max(cut(second, ((dark - 0.52) * 1.5).clamp(-0.3, 0.8)));
                let rim = ((fx * fx + fy * fy).sqrt() - RADIUS).abs();
                ink = ink.max(smooth_step(2.6, 1.4, rim));
                *sample = (246.0 - ink * 222.0) as u8;
            }
        }
    }
}
