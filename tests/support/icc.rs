//! ICC profiles made of numbers (ICC.1:2001-04, version 2.4), and the distance of two colors.

/// Red, green and blue of a color space as XYZ at D50, and its gamma.
#[derive(Clone, Copy, Debug)]
pub struct Primaries {
    /// Columns of the matrix.
    pub columns: [[f64; 3]; 3],
    /// Exponent of all three curves.
    pub gamma: f64,
}

/// Adobe RGB (1998).
pub const ADOBE_RGB: Primaries = Primaries {
    columns: [
        [0.60974, 0.31111, 0.01947],
        [0.20528, 0.62567, 0.06087],
        [0.14919, 0.06322, 0.74457],
    ],
    gamma: 2.199_218_75,
};

/// ROMM RGB, wider than everything that can be seen.
pub const PRO_PHOTO: Primaries = Primaries {
    columns: [
        [0.797_67, 0.288_04, 0.0],
        [0.135_19, 0.711_87, 0.0],
        [0.031_35, 0.000_09, 0.825_21],
    ],
    gamma: 1.8,
};

const D50: [f64; 3] = [0.9642, 1.0, 0.8249];

/// A matrix profile.
#[must_use]
pub fn rgb_profile(primaries: &Primaries) -> Vec<u8> {
    let curve = curve(primaries.gamma);
    let [red, green, blue] = primaries.columns.map(xyz);
    profile(
        b"mntr",
        b"RGB ",
        b"XYZ ",
        &[
            (b"rXYZ", red),
            (b"gXYZ", green),
            (b"bXYZ", blue),
            (b"rTRC", curve.clone()),
            (b"gTRC", curve.clone()),
            (b"bTRC", curve),
        ],
    )
}

/// A profile for one band of light.
#[must_use]
pub fn grey_profile(gamma: f64) -> Vec<u8> {
    profile(b"mntr", b"GRAY", b"XYZ ", &[(b"kTRC", curve(gamma))])
}

/// A profile of a printing press that does not exist: inks that let through a part of the light each, on
/// paper that is not quite white. A table of 9 steps for each ink.
#[must_use]
pub fn cmyk_profile() -> Vec<u8> {
    const STEPS: u32 = 9;
    let mut lut = b"mft2\0\0\0\0".to_vec();
    lut.extend([4, 3, STEPS as u8, 0]);
    for place in 0..9 {
        lut.extend(fixed(if place % 4 == 0 { 1.0 } else { 0.0 }));
    }
    lut.extend(2_u16.to_be_bytes());
    lut.extend(2_u16.to_be_bytes());
    let line = [0, 0, 0xff, 0xff];
    (0..4).for_each(|_| lut.extend(line));
    for place in 0..STEPS.pow(4) {
        let ink = |power: u32| f64::from(place / STEPS.pow(power) % STEPS) / f64::from(STEPS - 1);
        // The first ink changes slowest.
        let [c, m, y, k] = [3, 2, 1, 0].map(ink);
        let through = |base: f64, c0: f64, m0: f64, y0: f64| {
            base * (1.0 - c0 * c) * (1.0 - m0 * m) * (1.0 - y0 * y) * (1.0 - 0.96 * k)
        };
        let rgb = [
            through(0.90, 0.93, 0.12, 0.03),
            through(0.89, 0.35, 0.88, 0.08),
            through(0.86, 0.12, 0.45, 0.90),
        ];
        // Linear sRGB to XYZ at D50.
        let xyz = [
            0.436_07 * rgb[0] + 0.385_15 * rgb[1] + 0.143_07 * rgb[2],
            0.222_49 * rgb[0] + 0.716_87 * rgb[1] + 0.060_61 * rgb[2],
            0.013_92 * rgb[0] + 0.097_08 * rgb[1] + 0.714_10 * rgb[2],
        ];
        let [l, a, b] = lab_of(xyz, D50);
        // Lab of version 2 in 16 bits: 0xff00 is 100, and 0x8000 is 0.
        for number in [l * 652.8, (a + 128.0) * 256.0, (b + 128.0) * 256.0] {
            lut.extend((number.round().clamp(0.0, 65_535.0) as u16).to_be_bytes());
        }
    }
    (0..3).for_each(|_| lut.extend(line));
    profile(b"prtr", b"CMYK", b"Lab ", &[(b"A2B0", lut)])
}

fn profile(class: &[u8; 4], space: &[u8; 4], connection: &[u8; 4], tags: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let name = b"made for a test\0";
    let mut description = b"desc\0\0\0\0".to_vec();
    description.extend((name.len() as u32).to_be_bytes());
    description.extend(name);
    description.resize(description.len() + 78, 0);
    let mut all: Vec<(&[u8; 4], Vec<u8>)> = vec![
        (b"desc", description),
        (b"cprt", b"text\0\0\0\0nobody's\0".to_vec()),
        (b"wtpt", xyz(D50)),
    ];
    all.extend(tags.iter().cloned());
    let mut out = vec![0; 132 + 12 * all.len()];
    out[8..12].copy_from_slice(&[2, 0x40, 0, 0]);
    out[12..16].copy_from_slice(class);
    out[16..20].copy_from_slice(space);
    out[20..24].copy_from_slice(connection);
    // 1 January 2000.
    out[24..36].copy_from_slice(&[7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    out[36..40].copy_from_slice(b"acsp");
    out[68..80].copy_from_slice(&D50.map(fixed).concat());
    out[128..132].copy_from_slice(&(all.len() as u32).to_be_bytes());
    for (number, (name, data)) in all.iter().enumerate() {
        let at = 132 + 12 * number;
        let offset = out.len() as u32;
        out[at..at + 4].copy_from_slice(*name);
        out[at + 4..at + 8].copy_from_slice(&offset.to_be_bytes());
        out[at + 8..at + 12].copy_from_slice(&(data.len() as u32).to_be_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let len = out.len() as u32;
    out[..4].copy_from_slice(&len.to_be_bytes());
    out
}

fn fixed(number: f64) -> [u8; 4] {
    ((number * 65_536.0).round() as i32).to_be_bytes()
}

fn xyz(color: [f64; 3]) -> Vec<u8> {
    let mut tag = b"XYZ \0\0\0\0".to_vec();
    tag.extend(color.map(fixed).concat());
    tag
}

fn curve(gamma: f64) -> Vec<u8> {
    let mut tag = b"curv\0\0\0\0\0\0\0\x01".to_vec();
    tag.extend(((gamma * 256.0).round() as u16).to_be_bytes());
    tag.extend([0, 0]);
    tag
}

/// CIELAB of a color by its white (CIE 15:2004, 8.2.1).
fn lab_of(xyz: [f64; 3], white: [f64; 3]) -> [f64; 3] {
    let f = |t: f64| {
        if t > 216.0 / 24_389.0 {
            t.cbrt()
        } else {
            (24_389.0 / 27.0 * t + 16.0) / 116.0
        }
    };
    let [x, y, z] = [0, 1, 2].map(|i| f(xyz[i] / white[i]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// CIELAB at D65 of an sRGB color of 0 to 255.
#[must_use]
pub fn lab_of_srgb(rgb: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|v| {
        let v = v / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    });
    let xyz = [
        0.412_456 * r + 0.357_576 * g + 0.180_437 * b,
        0.212_673 * r + 0.715_152 * g + 0.072_175 * b,
        0.019_334 * r + 0.119_192 * g + 0.950_304 * b,
    ];
    lab_of(xyz, [0.950_47, 1.0, 1.088_83])
}

/// The color difference CIEDE2000 (ISO/CIE 11664-6) of two colors in CIELAB.
#[must_use]
pub fn delta_e_2000(one: [f64; 3], other: [f64; 3]) -> f64 {
    let [l1, a1, b1] = one;
    let [l2, a2, b2] = other;
    let mean_chroma = (a1.hypot(b1) + a2.hypot(b2)) / 2.0;
    let seventh = mean_chroma.powi(7) / (mean_chroma.powi(7) + 25_f64.powi(7));
    let stretch = 1.0 + 0.5 * (1.0 - seventh.sqrt());
    let (a1, a2) = (a1 * stretch, a2 * stretch);
    let (c1, c2) = (a1.hypot(b1), a2.hypot(b2));
    let hue = |a: f64, b: f64| {
        if a == 0.0 && b == 0.0 {
            0.0
        } else {
            b.atan2(a).to_degrees().rem_euclid(360.0)
        }
    };
    let (h1, h2) = (hue(a1, b1), hue(a2, b2));
    let mut turn = h2 - h1;
    if c1 * c2 == 0.0 {
        turn = 0.0;
    } else if turn > 180.0 {
        turn -= 360.0;
    } else if turn < -180.0 {
        turn += 360.0;
    }
    let (dl, dc) = (l2 - l1, c2 - c1);
    let dh = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin();
    let (l, c) = ((l1 + l2) / 2.0, (c1 + c2) / 2.0);
    let h = if c1 * c2 == 0.0 {
        h1 + h2
    } else if (h1 - h2).abs() <= 180.0 {
        (h1 + h2) / 2.0
    } else if h1 + h2 < 360.0 {
        (h1 + h2 + 360.0) / 2.0
    } else {
        (h1 + h2 - 360.0) / 2.0
    };
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(h - 30.0) + 0.24 * cos(2.0 * h) + 0.32 * cos(3.0 * h + 6.0)
        - 0.20 * cos(4.0 * h - 63.0);
    let around = 30.0 * (-((h - 275.0) / 25.0).powi(2)).exp();
    let rc = 2.0 * (c.powi(7) / (c.powi(7) + 25_f64.powi(7))).sqrt();
    let sl = 1.0 + 0.015 * (l - 50.0).powi(2) / (20.0 + (l - 50.0).powi(2)).sqrt();
    let (sc, sh) = (1.0 + 0.045 * c, 1.0 + 0.015 * c * t);
    let rt = -(2.0 * around).to_radians().sin() * rc;
    ((dl / sl).powi(2) + (dc / sc).powi(2) + (dh / sh).powi(2) + rt * (dc / sc) * (dh / sh)).sqrt()
}
