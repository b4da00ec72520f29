//! Lines, and letters made of lines, sharp at every size.

/// A line with a width and a color.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) from: [f32; 2],
    pub(super) to: [f32; 2],
    pub(super) half_width: f32,
    pub(super) color: [u8; 3],
    /// 0 to 255.
    pub(super) opacity: u8,
    /// Drawn in this order.
    pub(super) layer: u8,
    /// Square ends flush with the end points instead of round ones past them.
    pub(super) square: bool,
}

/// Rows being painted, and the part of them that may be.
pub(super) struct Canvas<'a> {
    pub(super) rows: &'a mut [u8],
    pub(super) width: u32,
    pub(super) first_row: u32,
    /// Left, top, right, bottom.
    pub(super) clip: [u32; 4],
}

impl Stroke {
    /// First and last row it touches.
    pub(super) fn rows(&self) -> (f32, f32) {
        let reach = self.half_width + 1.0;
        (
            self.from[1].min(self.to[1]) - reach,
            self.from[1].max(self.to[1]) + reach,
        )
    }

    /// Paints the part inside the canvas, edges smoothed over one pixel.
    pub(super) fn paint(&self, canvas: &mut Canvas<'_>) {
        let reach = self.half_width + 1.0;
        let [ax, ay] = self.from;
        let [dx, dy] = [self.to[0] - ax, self.to[1] - ay];
        let length2 = (dx * dx + dy * dy).max(1e-6);
        let length = length2.sqrt();
        let rows_end = canvas.first_row + (canvas.rows.len() / (canvas.width as usize * 3)) as u32;
        let (top, bottom) = self.rows();
        let top = (top.max(0.0) as u32).max(canvas.first_row).max(canvas.clip[1]);
        let bottom = (bottom.max(0.0) as u32 + 1).min(rows_end).min(canvas.clip[3]);
        for y in top..bottom {
            let py = y as f32 + 0.5;
            // Where along the line its distance to this row is within reach.
            let (mut near, mut far) = (0.0_f32, 1.0_f32);
            if dy.abs() > 1e-3 {
                let (a, b) = ((py - reach - ay) / dy, (py + reach - ay) / dy);
                near = a.min(b).clamp(0.0, 1.0);
                far = a.max(b).clamp(0.0, 1.0);
            }
            let (a, b) = (ax + dx * near, ax + dx * far);
            let left = ((a.min(b) - reach).max(0.0) as u32).max(canvas.clip[0]);
            let right = ((a.max(b) + reach).max(0.0) as u32 + 1).min(canvas.clip[2]);
            let start = (y - canvas.first_row) as usize * canvas.width as usize;
            for x in left..right {
                let (px, py) = (x as f32 + 0.5 - ax, py - ay);
                let along = (px * dx + py * dy) / length2;
                let distance = if self.square {
                    let aside = (px * dy - py * dx).abs() / length - self.half_width;
                    let past = ((along - 0.5).abs() - 0.5) * length;
                    aside.max(past)
                } else {
                    let t = along.clamp(0.0, 1.0);
                    let (ex, ey) = (px - dx * t, py - dy * t);
                    (ex * ex + ey * ey).sqrt() - self.half_width
                };
                let cover = ((0.5 - distance).clamp(0.0, 1.0) * f32::from(self.opacity)) as i32;
                if cover > 0 {
                    let at = (start + x as usize) * 3;
                    if let Some(pixel) = canvas.rows.get_mut(at..at + 3) {
                        for (sample, ink) in pixel.iter_mut().zip(self.color) {
                            let value = i32::from(*sample);
                            *sample = (value + (i32::from(ink) - value) * cover / 255) as u8;
                        }
                    }
                }
            }
        }
    }
}

/// Polylines of a letter on a grid of 5 by 7 points: two digits a point, column and row from the top
/// left, lines parted by `|`.
fn outline(letter: char) -> &'static str {
    match letter.to_ascii_uppercase() {
        'A' => "06 02 20 42 46|04 44",
        'B' => "00 06 36 45 44 33 03|33 42 41 30 00",
        'C' => "41 30 10 01 05 16 36 45",
        'D' => "00 06 26 44 42 20 00",
        'E' => "40 00 06 46|03 33",
        'F' => "40 00 06|03 33",
        'G' => "41 30 10 01 05 16 36 45 43 23",
        'H' => "00 06|40 46|03 43",
        'I' => "10 30|20 26|16 36",
        'J' => "40 45 36 16 05",
        'K' => "00 06|40 03 46",
        'L' => "00 06 46",
        'M' => "06 00 23 40 46",
        'N' => "06 00 46 40",
        'O' | '0' => "10 01 05 16 36 45 41 30 10",
        'P' => "06 00 30 41 42 33 03",
        'Q' => "10 01 05 16 36 45 41 30 10|24 46",
        'R' => "06 00 30 41 42 33 03|23 46",
        'S' => "41 30 10 01 02 13 33 44 45 36 16 05",
        'T' => "00 40|20 26",
        'U' => "00 05 16 36 45 40",
        'V' => "00 26 40",
        'W' => "00 16 22 36 40",
        'X' => "00 46|40 06",
        'Y' => "00 23 40|23 26",
        'Z' => "00 40 06 46",
        '1' => "11 20 26|16 36",
        '2' => "01 10 30 41 42 06 46",
        '3' => "01 10 30 41 42 33 13|33 44 45 36 16 05",
        '4' => "36 30 04 44",
        '5' => "40 00 03 33 44 45 36 16 05",
        '6' => "40 10 01 05 16 36 45 44 33 13 04",
        '7' => "00 40 16",
        '8' => "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33",
        '9' => "06 36 45 41 30 10 01 02 13 33 42",
        '.' => "26 26",
        ',' => "25 16",
        '-' => "13 33",
        ':' => "22 22|25 25",
        _ => "",
    }
}

/// How a line of letters looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Height of a capital in pixels.
    pub(super) height: f32,
    /// Distance of letters in widths of one.
    pub(super) spacing: f32,
    /// Columns a letter leans to the right over its height, in widths of one.
    pub(super) slant: f32,
    /// Thickness of the lines in heights of a capital.
    pub(super) weight: f32,
    pub(super) color: [u8; 3],
    /// A light rim that keeps letters readable on lines, in pixels.
    pub(super) halo: f32,
    pub(super) halo_color: [u8; 3],
    pub(super) layer: u8,
}

impl Style {
    /// Width of a text in pixels.
    pub(super) fn width(&self, text: &str) -> f32 {
        let letter = self.height * 4.0 / 6.0;
        text.chars().count() as f32 * letter * (1.0 + self.spacing) - letter * self.spacing
    }

    /// The strokes of `text` with its top left corner at `at`; the rims first.
    pub(super) fn write(&self, text: &str, at: [f32; 2], strokes: &mut Vec<Stroke>) {
        let unit = self.height / 6.0;
        let mut lines = Vec::new();
        let mut x = at[0];
        for letter in text.chars() {
            for line in outline(letter).split('|').filter(|line| !line.is_empty()) {
                let mut before: Option<[f32; 2]> = None;
                for point in line.split(' ') {
                    let mut digits = point.bytes().map(|b| f32::from(b.saturating_sub(b'0')));
                    let (column, row) = (digits.next().unwrap_or(0.0), digits.next().unwrap_or(0.0));
                    let lean = (6.0 - row) / 6.0 * self.slant * 4.0;
                    let point = [x + (column + lean) * unit, at[1] + row * unit];
                    if let Some(before) = before {
                        lines.push((before, point));
                    }
                    before = Some(point);
                }
            }
            x += 4.0 * unit * (1.0 + self.spacing);
        }
        let half_width = (self.height * self.weight / 2.0).max(0.55);
        let stroke = |&(from, to): &([f32; 2], [f32; 2]), half_width, color, opacity, layer| Stroke {
            from,
            to,
            half_width,
            color,
            opacity,
            layer,
            square: false,
        };
        if self.halo > 0.0 {
            let rim = half_width + self.halo;
            strokes.extend(
                lines
                    .iter()
                    .map(|l| stroke(l, rim, self.halo_color, 255, self.layer - 1)),
            );
        }
        strokes.extend(
            lines
                .iter()
                .map(|l| stroke(l, half_width, self.color, 255, self.layer)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_used_has_an_outline_on_the_grid() {
        for letter in ('A'..='Z').chain('0'..='9').chain("abz.,-:".chars()) {
            let outline = outline(letter);
            assert!(!outline.is_empty(), "{letter}");
            for point in outline.split(['|', ' ']) {
                let bytes = point.as_bytes();
                assert_eq!(bytes.len(), 2, "{letter}: {point}");
                assert!(bytes[0] <= b'4' && bytes[1] <= b'6', "{letter}: {point}");
            }
        }
    }

    #[test]
    fn a_square_stroke_covers_its_rectangle_and_nothing_else() {
        let mut rows = vec![0; 20 * 10 * 3];
        let stroke = Stroke {
            from: [4.0, 5.0],
            to: [12.0, 5.0],
            half_width: 2.0,
            color: [255; 3],
            opacity: 255,
            layer: 0,
            square: true,
        };
        stroke.paint(&mut Canvas {
            rows: &mut rows,
            width: 20,
            first_row: 0,
            clip: [0, 0, 20, 10],
        });
        let painted = rows.chunks(3).filter(|p| p[0] == 255).count();
        assert_eq!(painted, 8 * 4);
        assert_eq!(rows.chunks(3).filter(|p| p[0] > 0).count(), 8 * 4);
    }
}
