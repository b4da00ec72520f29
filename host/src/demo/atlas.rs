//! A map of islands that do not exist: shaded relief, contours, woods, roads, villages, a grid.
//!
//! Whole, it shows land and sea; at the last level, single trees and houses, rulers with a mark every ten
//! pixels and letters nine pixels high.

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use super::lettering::{Canvas, Stroke, Style};
use super::noise::{Octave, hash, unit};
use super::{Scene, mix, smooth_step};
use crate::encode::tiff::PixelLayout;
use crate::limits::Size;

/// 1.08 gigapixels.
pub(super) const FULL_SIZE: Size = Size::new(40_000, 27_000);

/// Land and sea; each octave about half as wide and high as the one before.
const GROUND: [Octave; 9] = [
    Octave::new(9173, 1.20, 1),
    Octave::new(4591, 1.00, 2),
    Octave::new(2297, 0.52, 3),
    Octave::new(1151, 0.27, 4),
    Octave::new(577, 0.135, 5),
    Octave::new(281, 0.068, 6),
    Octave::new(139, 0.032, 7),
    Octave::new(67, 0.0125, 8),
    Octave::new(29, 0.0036, 9),
];
/// Mountain chains: folded, so that zero becomes a crest.
const CRESTS: [Octave; 5] = [
    Octave::new(3319, 1.0, 21),
    Octave::new(1493, 0.62, 22),
    Octave::new(691, 0.36, 23),
    Octave::new(313, 0.19, 24),
    Octave::new(149, 0.085, 25),
];
const WOODS: Octave = Octave::new(810, 1.0, 31);
const SEA_LEVEL: f32 = -0.03;
/// Height between contours.
const STEP: f32 = 0.02;
/// Meters of one unit of height.
const METERS: f32 = 2400.0;

const INK: [u8; 3] = [66, 52, 44];
const SEA_INK: [u8; 3] = [62, 104, 126];
const PAPER: [u8; 3] = [246, 239, 222];

/// Sides of the frame around the map.
const BORDER: u32 = 620;
/// Distance of grid lines.
const GRID: u32 = 1000;
/// Distance of the places where trees may stand.
const TREE_CELL: u32 = 23;
/// Rows of a bucket of strokes.
const BUCKET: u32 = 64;

mod layer {
    pub(super) const GRID: u8 = 10;
    pub(super) const ROAD_EDGE: u8 = 20;
    pub(super) const ROAD: u8 = 21;
    pub(super) const HOUSE: u8 = 25;
    pub(super) const LETTERS: u8 = 31;
    /// From here on also outside the frame.
    pub(super) const FRAME: u8 = 40;
    pub(super) const FRAME_LETTERS: u8 = 45;
}

/// The picture.
pub(super) struct Atlas {
    size: Size,
    /// Colors by height, [`COLORS`] of them.
    colors: Vec<[f32; 3]>,
    strokes: Vec<Stroke>,
    /// Indexes of the strokes that reach into each [`BUCKET`] rows, in drawing order.
    buckets: Vec<Vec<u32>>,
}

const COLORS: usize = 4096;

/// Index into the color table: heights from -2 to 2.
fn color_index(height: f32) -> usize {
    (((height + 2.0) * (COLORS as f32 / 4.0)).max(0.0) as usize).min(COLORS - 1)
}

/// Colors from the deep sea to the summits.
fn color_table() -> Vec<[f32; 3]> {
    let stops: [(f32, [f32; 3]); 11] = [
        (-2.0, [104.0, 148.0, 172.0]),
        (-0.9, [124.0, 168.0, 188.0]),
        (-0.35, [156.0, 194.0, 204.0]),
        (-0.001, [192.0, 218.0, 217.0]),
        (0.0, [214.0, 216.0, 172.0]),
        (0.12, [196.0, 208.0, 154.0]),
        (0.35, [222.0, 214.0, 166.0]),
        (0.62, [222.0, 192.0, 142.0]),
        (1.02, [200.0, 164.0, 128.0]),
        (1.34, [222.0, 210.0, 200.0]),
        (1.62, [252.0, 250.0, 248.0]),
    ];
    (0..COLORS)
        .map(|i| {
            let mut height = i as f32 / (COLORS as f32 / 4.0) - 2.0;
            if height < 0.0 {
                // Sea maps tint by depth zones, not smoothly.
                height = (height * 9.0).ceil() / 9.0 - 0.002;
            }
            let above = stops
                .iter()
                .position(|s| s.0 > height)
                .unwrap_or(stops.len() - 1)
                .max(1);
            let (low, high) = (stops[above - 1], stops[above]);
            mix(
                low.1,
                high.1,
                ((height - low.0) / (high.0 - low.0)).clamp(0.0, 1.0),
            )
        })
        .collect()
}

/// Height from the two fields: chains rise on land only.
fn height_of(ground: f32, crests: f32) -> f32 {
    let land = ((ground + 0.05) * 1.6).clamp(0.0, 1.0);
    ground * 0.62 - SEA_LEVEL + crests * land * land * 0.80
}

/// A folded octave, 0 to 1: a crest, slightly rounded, where the field crosses zero.
fn fold(value: f32, amplitude: f32) -> f32 {
    let away = value / amplitude;
    let v = (1.0 - 1.9 * (away * away + 0.0016).sqrt()).max(0.0);
    v * v
}

/// Adds the next smaller folded octave: small crests stand on the flanks of large ones, not in valleys.
fn add_crest(sum: &mut f32, weight: &mut f32, value: f32, amplitude: f32) {
    let crest = fold(value, amplitude);
    *sum += crest * *weight * amplitude;
    *weight *= 0.25 + crest;
}

fn height_at(x: u32, y: u32) -> f32 {
    let ground = GROUND.iter().map(|o| o.at(x, y)).sum();
    let (mut crests, mut weight) = (0.0, 1.0);
    for octave in &CRESTS {
        add_crest(&mut crests, &mut weight, octave.at(x, y), octave.amplitude);
    }
    height_of(ground, crests)
}

/// Scratch space for rows of heights.
#[derive(Default)]
struct Scratch {
    column: Vec<f32>,
    crests: Vec<f32>,
    weights: Vec<f32>,
    octave: Vec<f32>,
}

fn height_row(y: u32, out: &mut [f32], scratch: &mut Scratch) {
    out.fill(0.0);
    for octave in &GROUND {
        octave.add_row(y, out, &mut scratch.column);
    }
    scratch.crests.clear();
    scratch.crests.resize(out.len(), 0.0);
    scratch.weights.clear();
    scratch.weights.resize(out.len(), 1.0);
    for octave in &CRESTS {
        scratch.octave.clear();
        scratch.octave.resize(out.len(), 0.0);
        octave.add_row(y, &mut scratch.octave, &mut scratch.column);
        let sums = scratch.crests.iter_mut().zip(&mut scratch.weights);
        for ((sum, weight), &value) in sums.zip(&scratch.octave) {
            add_crest(sum, weight, value, octave.amplitude);
        }
    }
    for (ground, &crests) in out.iter_mut().zip(&scratch.crests) {
        *ground = height_of(*ground, crests);
    }
}

struct Village {
    at: [f32; 2],
    name: String,
    large: bool,
}

impl Atlas {
    pub(super) fn new(size: Size) -> Self {
        let mut atlas = Self {
            size,
            colors: color_table(),
            strokes: Vec::new(),
            buckets: Vec::new(),
        };
        let mut strokes = Vec::new();
        atlas.add_grid(&mut strokes);
        let villages = atlas.villages();
        add_roads(&villages, &mut strokes);
        for village in &villages {
            add_houses(village, &mut strokes);
            add_name(village, &mut strokes);
        }
        atlas.add_spot_heights(&mut strokes);
        atlas.add_regions(&mut strokes);
        if size.width >= FULL_SIZE.width {
            atlas.add_title(&mut strokes);
        }
        atlas.add_frame(&mut strokes);
        strokes.sort_by_key(|s| s.layer);
        let mut buckets = vec![Vec::new(); size.height.div_ceil(BUCKET) as usize];
        for (idx, stroke) in (0_u32..).zip(&strokes) {
            let (top, bottom) = stroke.rows();
            let first = (top.max(0.0) as u32 / BUCKET) as usize;
            let last = (bottom.max(0.0) as u32 / BUCKET) as usize;
            for bucket in buckets.iter_mut().take(last + 1).skip(first) {
                bucket.push(idx);
            }
        }
        atlas.strokes = strokes;
        atlas.buckets = buckets;
        atlas
    }

    /// The map inside its frame: left, top, right, bottom.
    fn inside(&self) -> [u32; 4] {
        [
            BORDER,
            BORDER,
            self.size.width.saturating_sub(BORDER),
            self.size.height.saturating_sub(BORDER),
        ]
    }

    /// Places jittered around a grid of `distance`, `margin` away from the frame.
    fn scattered(&self, distance: u32, margin: u32, seed: u32) -> Vec<[u32; 2]> {
        let [left, top, right, bottom] = self.inside();
        let mut places = Vec::new();
        for row in 0..self.size.height / distance {
            for col in 0..self.size.width / distance {
                let place =
                    |i: u32, n: u32| i * distance + (unit(col, row, seed + n) * distance as f32) as u32;
                let [x, y] = [place(col, 0), place(row, 1)];
                if x > left + margin && y > top + margin && x + margin < right && y + margin < bottom {
                    places.push([x, y]);
                }
            }
        }
        places
    }

    fn villages(&self) -> Vec<Village> {
        let mut villages: Vec<Village> = Vec::new();
        for [x, y] in self.scattered(900, 250, 300) {
            let height = height_at(x, y);
            let at = [x as f32, y as f32];
            let crowded = villages.iter().any(|v| distance(v.at, at) < 560.0);
            if height > 0.03 && height < 0.75 && !crowded {
                villages.push(Village {
                    at,
                    name: name(
                        x,
                        y,
                        &[
                            "BURG", "BY", "DALE", "FORD", "GATE", "HAM", "MERE", "STEAD", "TON", "WICK",
                        ],
                    ),
                    large: hash(x, y, 301).is_multiple_of(5),
                });
            }
        }
        villages
    }

    fn add_grid(&self, strokes: &mut Vec<Stroke>) {
        let [left, top, right, bottom] = self.inside().map(|v| v as f32);
        let mut line = |from, to, half_width, opacity| {
            strokes.push(Stroke {
                from,
                to,
                half_width,
                color: INK,
                opacity,
                layer: layer::GRID,
                square: true,
            });
        };
        // Lines lie on pixel centers: exactly one pixel wide, no gray on either side.
        let marks =
            |from: f32, to: f32| ((from as u32).div_ceil(10)..(to as u32).div_ceil(10)).map(|n| n * 10);
        let reach = |n: u32| {
            if n.is_multiple_of(100) {
                6.0
            } else if n.is_multiple_of(50) {
                4.0
            } else {
                2.0
            }
        };
        for x in (GRID..self.size.width).step_by(GRID as usize) {
            let heavy = x.is_multiple_of(5 * GRID);
            let x = x as f32 + 0.5;
            line([x, top], [x, bottom], if heavy { 1.5 } else { 0.5 }, 120);
            for n in marks(top, bottom) {
                let y = n as f32 + 0.5;
                line([x - reach(n), y], [x + reach(n), y], 0.5, 120);
            }
        }
        for y in (GRID..self.size.height).step_by(GRID as usize) {
            let heavy = y.is_multiple_of(5 * GRID);
            let y = y as f32 + 0.5;
            line([left, y], [right, y], if heavy { 1.5 } else { 0.5 }, 120);
            for n in marks(left, right) {
                let x = n as f32 + 0.5;
                line([x, y - reach(n)], [x, y + reach(n)], 0.5, 120);
            }
        }
        let style = letters(9.0, INK, layer::LETTERS);
        let [left, top, right, bottom] = self.inside();
        for y in (GRID..self.size.height).step_by(GRID as usize) {
            for x in (GRID..self.size.width).step_by(GRID as usize) {
                if x > left && y > top && x + 120 < right && y + 40 < bottom {
                    let at = [x as f32 + 12.0, y as f32 + 12.0];
                    style.write(&format!("E {x}"), at, strokes);
                    style.write(&format!("S {y}"), [at[0], at[1] + 14.0], strokes);
                }
            }
        }
    }

    fn add_spot_heights(&self, strokes: &mut Vec<Stroke>) {
        let style = letters(9.0, INK, layer::LETTERS);
        for [x, y] in self.scattered(330, 60, 310) {
            let height = height_at(x, y);
            if height < -0.06 {
                let text = format!("{}", (-height * 900.0) as u32);
                Style {
                    slant: 0.3,
                    ..letters(9.0, SEA_INK, layer::LETTERS)
                }
                .write(&text, [x as f32, y as f32], strokes);
            } else if height > 0.05 {
                let at = [x as f32, y as f32];
                strokes.push(dot(at, 2.2, INK, layer::LETTERS));
                style.write(
                    &format!("{}", (height * METERS) as u32),
                    [at[0] + 7.0, at[1] - 4.5],
                    strokes,
                );
            }
        }
    }

    fn add_regions(&self, strokes: &mut Vec<Stroke>) {
        let mut taken: Vec<[f32; 2]> = Vec::new();
        for [x, y] in self.scattered(3600, 1500, 320) {
            let height = height_at(x, y);
            let sea = height < -0.12;
            if !sea && height < 0.08 {
                continue;
            }
            let color = if sea { SEA_INK } else { INK };
            let mut style = Style {
                spacing: 1.5,
                weight: 0.11,
                halo: 0.0,
                ..letters(if sea { 150.0 } else { 105.0 }, color, layer::LETTERS)
            };
            let mut text = name(x, y, &["IA", "LAND", "MARK", "SHIRE", "WOLD", "MOOR"]);
            if sea {
                style.slant = 0.35;
                text = format!("{} SEA", name(x, y, &["IAN", "ISH", "IC"]));
            }
            let at = [x as f32 - style.width(&text) / 2.0, y as f32];
            let apart = if sea { 5600.0 } else { 3300.0 };
            if taken.iter().any(|other| distance(*other, at) < apart) {
                continue;
            }
            taken.push(at);
            if at[0] > BORDER as f32 + 100.0
                && at[0] + style.width(&text) + 200.0 < (self.size.width - BORDER) as f32
            {
                style.write(&text, at, strokes);
            }
        }
    }

    fn add_title(&self, strokes: &mut Vec<Stroke>) {
        let [left, _, _, bottom] = self.inside().map(|v| v as f32);
        let (left, bottom) = (left + 700.0, bottom - 700.0);
        let (width, height) = (10_600.0, 2900.0);
        let middle = bottom - height / 2.0;
        let mut plate = |inset: f32, color| {
            strokes.push(Stroke {
                from: [left + inset, middle],
                to: [left + width - inset, middle],
                half_width: height / 2.0 - inset,
                color,
                opacity: 255,
                layer: layer::FRAME,
                square: true,
            });
        };
        for (inset, color) in [(0.0, INK), (40.0, PAPER), (110.0, INK), (124.0, PAPER)] {
            plate(inset, color);
        }
        let center = left + width / 2.0;
        let mut text = |text: &str, height: f32, spacing: f32, weight: f32, top: f32| {
            let style = Style {
                spacing,
                weight,
                halo: 0.0,
                ..letters(height, INK, layer::FRAME_LETTERS)
            };
            style.write(text, [center - style.width(text) / 2.0, top], strokes);
        };
        let top = bottom - height;
        text("A BILLION PIXELS", 620.0, 0.42, 0.13, top + 380.0);
        text("AND SOME EIGHTY MILLION MORE", 210.0, 0.6, 0.1, top + 1240.0);
        text(
            "A MAP OF ISLANDS THAT ARE COMPUTED, NOT SURVEYED",
            120.0,
            0.6,
            0.1,
            top + 1720.0,
        );
        text(
            "40000 BY 27000 PIXELS - A GRID LINE EVERY 1000, A MARK EVERY 10",
            84.0,
            0.6,
            0.1,
            top + 2060.0,
        );
        text(
            "LOOK CLOSER: THE SMALLEST LETTERS ARE NINE PIXELS HIGH",
            36.0,
            0.6,
            0.1,
            top + 2330.0,
        );
        text("AND THESE ARE AMONG THEM", 9.0, 0.5, 0.12, top + 2480.0);
    }

    fn add_frame(&self, strokes: &mut Vec<Stroke>) {
        let [left, top, right, bottom] = self.inside().map(|v| v as f32);
        let mut line = |from, to, half_width, color| {
            strokes.push(Stroke {
                from,
                to,
                half_width,
                color,
                opacity: 255,
                layer: layer::FRAME,
                square: true,
            });
        };
        // A bar of black and white fields, 500 pixels each, between two lines.
        for (near, far, across) in [(left, right, true), (top, bottom, false)] {
            for edge in if across { [top, bottom] } else { [left, right] } {
                let out = if edge < BORDER as f32 + 1.0 { -1.0 } else { 1.0 };
                let mut bar = |from: f32, to: f32, offset: f32, half: f32, color| {
                    let aside = edge + out * offset;
                    if across {
                        line([from, aside], [to, aside], half, color);
                    } else {
                        line([aside, from], [aside, to], half, color);
                    }
                };
                bar(near - 6.0, far + 6.0, 3.0, 3.0, INK);
                let mut field = (near as u32 / 500) * 500;
                while (field as f32) < far {
                    let color = if field.is_multiple_of(GRID) { INK } else { PAPER };
                    bar(
                        (field as f32).max(near),
                        (field as f32 + 500.0).min(far),
                        45.0,
                        30.0,
                        color,
                    );
                    field += 500;
                }
                bar(near - 78.0, far + 78.0, 78.0, 3.0, INK);
                bar(near - 130.0, far + 130.0, 124.0, 8.0, INK);
            }
        }
        let style = Style {
            weight: 0.12,
            halo: 0.0,
            ..letters(70.0, INK, layer::FRAME_LETTERS)
        };
        for n in (GRID..self.size.width.saturating_sub(BORDER)).step_by(GRID as usize) {
            let text = format!("E {n}");
            let x = n as f32 - style.width(&text) / 2.0;
            style.write(&text, [x, 250.0], strokes);
            style.write(&text, [x, self.size.height as f32 - 320.0], strokes);
        }
        for n in (GRID..self.size.height.saturating_sub(BORDER)).step_by(GRID as usize) {
            let text = format!("S {n}");
            style.write(&text, [60.0, n as f32 - 35.0], strokes);
            let x = self.size.width as f32 - style.width(&text) - 60.0;
            style.write(&text, [x, n as f32 - 35.0], strokes);
        }
    }

    /// One row of ground: tints, light, contours, coast.
    fn paint_ground(&self, y: u32, above: &[f32], row: &[f32], out: &mut [u8]) {
        let [left, top, right, bottom] = self.inside();
        if y < top || y >= bottom {
            out.chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&PAPER));
            return;
        }
        let last = row.len().saturating_sub(1);
        for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
            if (x as u32) < left || (x as u32) >= right {
                pixel.copy_from_slice(&PAPER);
                continue;
            }
            let height = row[x];
            let across = (row[(x + 1).min(last)] - row[x.saturating_sub(1)]) * 0.5;
            let down = height - above[x];
            let slope = (across * across + down * down).sqrt() + 1e-8;
            // From the north-west, as on every printed map.
            let facing = (across + down) * 900.0;
            let light = facing / (1.0 + facing * facing).sqrt();
            let base = self.colors[color_index(height)];
            let land = height > 0.0;
            let tint = 1.0 + light * if land { 0.30 } else { 0.045 };
            let mut color = [base[0] * tint, base[1] * tint, base[2] * tint];
            if light > 0.0 && land {
                color = mix(color, [255.0, 250.0, 232.0], light * 0.18);
            }

            let steps = height / STEP + 1000.0;
            let nearest = (steps + 0.5) as i32;
            let away = (steps - nearest as f32).abs() * STEP / slope;
            let (half_width, strength, ink) = if land {
                if nearest % 5 == 0 {
                    (0.95, 0.62, [122.0, 78.0, 46.0])
                } else {
                    (0.45, 0.5, [140.0, 98.0, 64.0])
                }
            } else {
                // Lines along the coast that fade with depth.
                let fade = 1.0 + height * 5.0;
                (0.45, fade.max(0.0) * 0.55, [70.0, 116.0, 138.0])
            };
            let cover = (half_width + 0.5 - away).clamp(0.0, 1.0) * strength;
            if cover > 0.0 && nearest != 1000 {
                color = mix(color, ink, cover);
            }
            let coast = (1.9 - height.abs() / slope).clamp(0.0, 1.0);
            if coast > 0.0 {
                color = mix(color, [52.0, 66.0, 76.0], coast);
            }
            for (sample, value) in pixel.iter_mut().zip(color) {
                *sample = (value + 0.5) as u8;
            }
        }
    }

    /// Trees whose crowns may reach into the canvas.
    fn paint_woods(&self, canvas: &mut Canvas<'_>) {
        let rows = (canvas.rows.len() / (canvas.width as usize * 3)) as u32;
        let first = canvas.first_row.saturating_sub(16) / TREE_CELL;
        let last = (canvas.first_row + rows + 16) / TREE_CELL;
        for row in first..=last {
            for col in 0..self.size.width / TREE_CELL {
                let jitter = hash(col, row, 400);
                let x = col * TREE_CELL + jitter % TREE_CELL;
                let y = row * TREE_CELL + (jitter >> 8) % TREE_CELL;
                let density = WOODS.at(x, y);
                let chance = smooth_step(0.08, 0.3, density);
                if chance <= 0.0 || (jitter >> 16) as f32 / 65536.0 > chance {
                    continue;
                }
                let height = height_at(x, y);
                if !(0.025..0.7).contains(&height) {
                    continue;
                }
                let radius = 4.2 + (jitter >> 20 & 7) as f32 * 0.35;
                let (x, y) = (x as f32, y as f32);
                let fir = height > 0.4;
                let (dark, crown, light) = if fir {
                    ([44, 70, 58], [84, 116, 92], [122, 150, 118])
                } else {
                    ([58, 76, 40], [128, 150, 84], [168, 184, 116])
                };
                dot([x + 2.5, y + 2.0], radius, [120, 112, 84], 0)
                    .shadow()
                    .paint(canvas);
                dot([x, y - 1.0], radius + 0.9, dark, 0).paint(canvas);
                dot([x, y - 1.0], radius - 0.1, crown, 0).paint(canvas);
                dot(
                    [x - radius * 0.3, y - 1.0 - radius * 0.3],
                    radius * 0.42,
                    light,
                    0,
                )
                .paint(canvas);
                if fir {
                    dot([x, y - radius - 2.5], radius * 0.55, dark, 0).paint(canvas);
                }
            }
        }
    }
}

impl Stroke {
    fn shadow(self) -> Self {
        Self { opacity: 90, ..self }
    }
}

fn dot(at: [f32; 2], radius: f32, color: [u8; 3], layer: u8) -> Stroke {
    Stroke {
        from: at,
        to: at,
        half_width: radius,
        color,
        opacity: 255,
        layer,
        square: false,
    }
}

fn letters(height: f32, color: [u8; 3], layer: u8) -> Style {
    Style {
        height,
        spacing: 0.45,
        slant: 0.0,
        weight: 0.12,
        color,
        halo: 1.6,
        halo_color: [240, 234, 212],
        layer,
    }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// A name by its place, ending in one of `endings`.
fn name(x: u32, y: u32, endings: &[&str]) -> String {
    const STARTS: [&str; 24] = [
        "AL", "BEL", "COR", "DUN", "EL", "FEN", "GAR", "HOL", "IS", "KAR", "LOR", "MAR", "NOR", "OR", "PEL",
        "QUIN", "ROS", "SEL", "TOR", "UL", "VAL", "WEN", "YAR", "ZEL",
    ];
    const MIDDLES: [&str; 8] = ["A", "EN", "I", "O", "AN", "ER", "IN", ""];
    let pick = |words: &[&'static str], seed| words[hash(x, y, seed) as usize % words.len()];
    let ending = endings[hash(x, y, 503) as usize % endings.len()];
    format!("{}{}{ending}", pick(&STARTS, 501), pick(&MIDDLES, 502))
}

/// Roads from each village to its two nearest neighbors, where no water lies between.
fn add_roads(villages: &[Village], strokes: &mut Vec<Stroke>) {
    let mut built = std::collections::HashSet::new();
    for (idx, village) in villages.iter().enumerate() {
        let mut near: Vec<(usize, f32)> = villages
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != idx)
            .map(|(other, v)| (other, distance(v.at, village.at)))
            .filter(|(_, distance)| *distance < 2600.0)
            .collect();
        near.sort_by(|a, b| a.1.total_cmp(&b.1));
        for &(other, length) in near.iter().take(2) {
            if !built.insert((idx.min(other), idx.max(other))) {
                continue;
            }
            let to = villages[other].at;
            let from = village.at;
            let count = (length / 24.0).max(2.0) as usize;
            let bend = Octave::new(700, 260.0, 601);
            let twist = Octave::new(170, 60.0, 602);
            let points: Vec<[f32; 2]> = (0..=count)
                .map(|i| {
                    let t = i as f32 / count as f32;
                    let at = [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t];
                    let (x, y) = (at[0] as u32, at[1] as u32);
                    let free = (t * (1.0 - t) * 4.0).min(1.0);
                    let aside = (bend.at(x, y) + twist.at(x, y)) * free;
                    let normal = [(to[1] - from[1]) / length, (from[0] - to[0]) / length];
                    [at[0] + normal[0] * aside, at[1] + normal[1] * aside]
                })
                .collect();
            if points
                .iter()
                .any(|p| height_at(p[0].max(0.0) as u32, p[1].max(0.0) as u32) < 0.008)
            {
                continue;
            }
            let main = village.large || villages[other].large;
            let (half_width, color) = if main {
                (3.4, [226, 160, 92])
            } else {
                (1.9, [252, 248, 236])
            };
            for pair in points.windows(2) {
                let &[from, to] = pair else { continue };
                let line = |half_width, color, layer| Stroke {
                    from,
                    to,
                    half_width,
                    color,
                    opacity: 255,
                    layer,
                    square: false,
                };
                strokes.push(line(half_width + 1.1, INK, layer::ROAD_EDGE));
                strokes.push(line(half_width, color, layer::ROAD));
            }
        }
    }
}

/// Houses around the middle of a village, closer together inside.
fn add_houses(village: &Village, strokes: &mut Vec<Stroke>) {
    let [cx, cy] = village.at;
    let count: u32 = if village.large { 170 } else { 60 };
    let spread: f32 = if village.large { 150.0 } else { 85.0 };
    let seed = hash(cx as u32, cy as u32, 700);
    let mut taken: Vec<([f32; 2], f32)> = vec![([cx, cy], 9.0)];
    for i in 0..count * 2 {
        let angle = unit(i, 1, seed) * std::f32::consts::TAU;
        let away = unit(i, 2, seed).powf(0.7) * spread + 12.0;
        let at = [cx + away * angle.cos(), cy + away * angle.sin() * 0.85];
        let length = 5.0 + unit(i, 3, seed) * 7.0;
        if taken
            .iter()
            .any(|(other, size)| distance(*other, at) < length + size + 3.0)
            || height_at(at[0] as u32, at[1] as u32) < 0.01
        {
            continue;
        }
        taken.push((at, length));
        // Houses line up with rings and rays around the middle.
        let turn = angle
            + if hash(i, 4, seed).is_multiple_of(2) {
                0.0
            } else {
                std::f32::consts::FRAC_PI_2
            };
        let half = [length * turn.cos(), length * turn.sin()];
        let house = |shift: f32, half_width, color| Stroke {
            from: [at[0] - half[0] + shift, at[1] - half[1] + shift],
            to: [at[0] + half[0] + shift, at[1] + half[1] + shift],
            half_width,
            color,
            opacity: 255,
            layer: layer::HOUSE,
            square: true,
        };
        let width = 3.0 + unit(i, 5, seed) * 2.5;
        strokes.push(house(1.8, width + 0.6, [150, 134, 108]));
        strokes.push(house(0.0, width + 0.9, [74, 44, 38]));
        strokes.push(house(0.0, width - 0.4, [188, 98, 78]));
        // The ridge of the roof.
        strokes.push(house(0.0, 0.5, [118, 56, 46]));
    }
    strokes.push(dot([cx, cy], 8.0, INK, layer::HOUSE));
    strokes.push(dot([cx, cy], 5.5, PAPER, layer::HOUSE));
    strokes.push(dot([cx, cy], 2.5, INK, layer::HOUSE));
}

fn add_name(village: &Village, strokes: &mut Vec<Stroke>) {
    let style = Style {
        halo: 2.6,
        ..letters(if village.large { 34.0 } else { 19.0 }, INK, layer::LETTERS)
    };
    let spread = if village.large { 165.0 } else { 100.0 };
    let at = [
        village.at[0] - style.width(&village.name) / 2.0,
        village.at[1] - spread - style.height,
    ];
    style.write(&village.name, at, strokes);
}

impl Scene for Atlas {
    fn size(&self) -> Size {
        self.size
    }

    fn layout(&self) -> PixelLayout {
        PixelLayout::new(ColorModel::Rgb, AlphaMode::None, SampleFormat::U8)
    }

    fn title(&self) -> &'static str {
        "A billion pixels"
    }

    fn paint(&self, first_row: u32, rows: &mut [u8]) {
        let width = self.size.width as usize;
        let mut scratch = Scratch::default();
        let mut above = vec![0.0; width];
        let mut current = vec![0.0; width];
        height_row(first_row.saturating_sub(1), &mut above, &mut scratch);
        for (y, out) in (first_row..).zip(rows.chunks_exact_mut(width * 3)) {
            height_row(y, &mut current, &mut scratch);
            self.paint_ground(y, &above, &current, out);
            std::mem::swap(&mut above, &mut current);
        }
        let count = (rows.len() / (width * 3)) as u32;
        let mut canvas = Canvas {
            rows,
            width: self.size.width,
            first_row,
            clip: self.inside(),
        };
        self.paint_woods(&mut canvas);
        let first = (first_row / BUCKET) as usize;
        let last = ((first_row + count).saturating_sub(1) / BUCKET) as usize;
        let mut reached: Vec<u32> = Vec::new();
        for bucket in self.buckets.iter().take(last + 1).skip(first) {
            reached.extend_from_slice(bucket);
        }
        if last > first {
            // Indexes are in drawing order; strokes that span buckets stand in each of them.
            reached.sort_unstable();
            reached.dedup();
        }
        for idx in reached {
            let Some(stroke) = self.strokes.get(idx as usize) else {
                continue;
            };
            if stroke.layer >= layer::FRAME {
                canvas.clip = [0, 0, self.size.width, self.size.height];
            }
            stroke.paint(&mut canvas);
        }
    }
}
