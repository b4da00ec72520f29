//! Hills in the haze of a late afternoon, above a lake.

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use super::noise::{Octave, hash};
use super::{Scene, mix, smooth_step};
use crate::encode::tiff::PixelLayout;
use crate::limits::Size;

const WIDTH: u32 = 3000;
const HEIGHT: u32 = 2000;
/// Row where water and the farthest shore meet.
const SHORE: f32 = 1560.0;
const SUN: [f32; 2] = [2080.0, 640.0];

/// One line of hills from edge to edge.
struct Ridge {
    /// Row of the crest by column.
    crest: Vec<f32>,
    /// 0 = on the horizon, 1 = next to the viewer.
    nearness: f32,
}

/// The picture.
pub(super) struct Landscape {
    ridges: Vec<Ridge>,
}

impl Landscape {
    pub(super) fn new() -> Self {
        let ridges = (0..7)
            .map(|idx: u32| {
                let nearness = idx as f32 / 6.0;
                let height = 150.0 + 130.0 * (1.0 - nearness);
                let octaves = [
                    (900, 1.0),
                    (390, 0.45),
                    (170, 0.2),
                    (71, 0.09),
                    (31, 0.05),
                    (9, 0.028),
                    (3, 0.02),
                ];
                let mut crest = vec![0.0; WIDTH as usize];
                let mut column = Vec::new();
                for (cell, amplitude) in octaves {
                    // Forest edges show on near hills only.
                    let amplitude = if cell < 40 {
                        amplitude * nearness * 1.5
                    } else {
                        amplitude
                    };
                    Octave::new(cell, amplitude * height * 1.6, 40 + idx).add_row(
                        idx * 7777,
                        &mut crest,
                        &mut column,
                    );
                }
                let base = 880.0 + nearness.powf(1.3) * 600.0;
                crest.iter_mut().for_each(|row| *row += base);
                Ridge { crest, nearness }
            })
            .collect();
        Self { ridges }
    }

    /// What is seen from the water line up, `row` may lie between pixels.
    fn above(&self, x: u32, row: f32) -> [f32; 3] {
        let column = x as f32;
        let mut color = sky(column, row);
        let glow = (-((column - SUN[0]) / 900.0).powi(2)).exp();
        for ridge in &self.ridges {
            let crest = ridge.crest.get(x as usize).copied().unwrap_or(HEIGHT as f32);
            let cover = (row - crest + 0.5).clamp(0.0, 1.0);
            if cover <= 0.0 {
                continue;
            }
            let near = ridge.nearness;
            let haze = mix([196.0, 176.0, 178.0], [255.0, 205.0, 150.0], glow * 0.8);
            let ground = mix([84.0, 104.0, 92.0], [22.0, 40.0, 28.0], near);
            // Mist gathers at the foot of each line of hills.
            let depth = (row - crest).max(0.0);
            let mist = (1.0 - near).powf(0.8) * (0.62 + 0.38 * smooth_step(0.0, 260.0, depth));
            let leaves =
                Octave::new(5, 9.0, 77).at(x, row as u32) + Octave::new(19, 7.0, 78).at(x, row as u32 * 2);
            let lit = leaves * near * (1.0 - 0.4 * near);
            let rim = (1.0 - depth / 14.0).max(0.0) * glow * 26.0 * near;
            let hill = [
                ground[0] + lit + rim,
                ground[1] + lit * 1.1 + rim * 0.8,
                ground[2] + lit * 0.6 + rim * 0.3,
            ];
            color = mix(color, mix(hill, haze, mist * 0.9), cover);
        }
        color
    }

    fn color(&self, x: u32, y: u32) -> [f32; 3] {
        let row = y as f32;
        if row < SHORE {
            return self.above(x, row);
        }
        // Waves grow towards the viewer and bend what is mirrored.
        let down = (row - SHORE) / (HEIGHT as f32 - SHORE);
        let wave =
            Octave::new(61, 1.0, 90).at(x, (y - SHORE as u32) * 9) + Octave::new(23, 0.6, 91).at(x, y * 7);
        let mirrored = SHORE - (row - SHORE) * 1.9 + wave * (3.0 + 46.0 * down);
        let shifted = (x as f32 + wave * 14.0 * down).clamp(0.0, (WIDTH - 1) as f32) as u32;
        let water = mix(
            self.above(shifted, mirrored.clamp(0.0, SHORE - 1.0)),
            [38.0, 58.0, 76.0],
            0.22 + 0.3 * down,
        );
        let path = (-((x as f32 - SUN[0]) / (90.0 + 260.0 * down)).powi(2)).exp();
        let sparkle = smooth_step(0.55, 1.15, wave) * path * 150.0;
        [
            water[0] + sparkle,
            water[1] + sparkle * 0.8,
            water[2] + sparkle * 0.5,
        ]
    }
}

fn sky(x: f32, y: f32) -> [f32; 3] {
    let high = mix(
        [62.0, 98.0, 156.0],
        [246.0, 190.0, 140.0],
        smooth_step(0.0, 1150.0, y),
    );
    let distance = ((x - SUN[0]).powi(2) + (y - SUN[1]).powi(2)).sqrt();
    let halo = (-distance / 420.0).exp() * 0.75 + (-distance / 90.0).exp() * 0.5;
    let warm = mix(high, [255.0, 226.0, 170.0], halo.min(1.0));
    // Thin clouds, stretched along the horizon.
    let (cx, cy) = (x as u32, (y * 4.0) as u32);
    let cloud = Octave::new(640, 0.8, 60).at(cx, cy)
        + Octave::new(233, 0.5, 61).at(cx, cy)
        + Octave::new(91, 0.3, 62).at(cx, cy)
        + Octave::new(29, 0.12, 63).at(cx, cy);
    let cover = smooth_step(0.05, 0.75, cloud) * smooth_step(1150.0, 300.0, y) * 0.6;
    let cloudy = mix(
        warm,
        mix(
            [250.0, 238.0, 232.0],
            [255.0, 214.0, 160.0],
            (halo * 1.4).min(1.0),
        ),
        cover,
    );
    mix(cloudy, [255.0, 246.0, 222.0], smooth_step(62.0, 58.0, distance))
}

impl Scene for Landscape {
    fn size(&self) -> Size {
        Size::new(WIDTH, HEIGHT)
    }

    fn layout(&self) -> PixelLayout {
        PixelLayout::new(ColorModel::Rgb, AlphaMode::None, SampleFormat::U8)
    }

    fn title(&self) -> &'static str {
        "Lake in the evening"
    }

    fn paint(&self, first_row: u32, rows: &mut [u8]) {
        for (y, row) in (first_row..).zip(rows.chunks_exact_mut(WIDTH as usize * 3)) {
            for (x, pixel) in (0..).zip(row.chunks_exact_mut(3)) {
                let color = self.color(x, y);
                // The grain of a sensor; it also hides the steps of 8 bits in the sky.
                let grain = (hash(x, y, 3) >> 24) as f32 / 255.0 * 3.0 - 1.5;
                for (sample, value) in pixel.iter_mut().zip(color) {
                    *sample = (value + grain + 0.5).clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
}
