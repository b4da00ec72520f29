//! Compares pictures; those that differ are kept for a look.

use std::path::PathBuf;

use crate::built::scratch_folder;
use crate::picture::Picture;

/// Two pictures are the same, sample for sample.
///
/// # Panics
/// When they are not; both, and where they differ, are written as PNG, and the message names the files.
pub fn assert_same(name: &str, actual: &Picture, expected: &Picture) {
    if actual == expected {
        return;
    }
    let kept = keep(name, actual, expected);
    let first = actual
        .samples
        .iter()
        .zip(&expected.samples)
        .position(|(a, e)| a != e);
    panic!(
        "{name}: {}x{}x{} differs from {}x{}x{}, first at sample {first:?}; {kept}",
        actual.width, actual.height, actual.bands, expected.width, expected.height, expected.bands
    );
}

/// Two pictures differ by less than a noise of `min_db` decibels (peak signal-to-noise ratio).
///
/// # Panics
/// When they do not; both, and where they differ, are written as PNG, and the message names the files.
pub fn assert_close(name: &str, actual: &Picture, expected: &Picture, min_db: f64) {
    let same_shape = actual.size() == expected.size() && actual.bands == expected.bands;
    let db = if same_shape {
        psnr(actual, expected)
    } else {
        f64::NEG_INFINITY
    };
    if db >= min_db {
        return;
    }
    let kept = keep(name, actual, expected);
    panic!(
        "{name}: {}x{}x{} is {db:.1} dB from {}x{}x{}, expected {min_db} dB or more; {kept}",
        actual.width, actual.height, actual.bands, expected.width, expected.height, expected.bands
    );
}

/// Peak signal-to-noise ratio in decibels; infinite for equal pictures.
#[must_use]
pub fn psnr(actual: &Picture, expected: &Picture) -> f64 {
    let squares: f64 = actual
        .samples
        .iter()
        .zip(&expected.samples)
        .map(|(&a, &e)| (f64::from(a) - f64::from(e)).powi(2))
        .sum();
    let mean = squares / expected.samples.len().max(1) as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// Writes what is needed to see the difference.
fn keep(name: &str, actual: &Picture, expected: &Picture) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut write = |kind: &str, picture: &Picture| {
        let path = scratch_folder().join(format!("{name}.{kind}.png"));
        std::fs::write(&path, picture.to_png()).expect("the folder for differences is writable");
        paths.push(path);
    };
    write("actual", actual);
    write("expected", expected);
    if actual.size() == expected.size() && actual.bands == expected.bands {
        let difference = Picture::new(actual.width, actual.height, 3, |x, y, band| {
            let band = band.min(actual.bands - 1);
            // Eight times as strong as it is.
            actual
                .at(x, y, band)
                .abs_diff(expected.at(x, y, band))
                .saturating_mul(8)
        });
        write("diff", &difference);
    }
    format!("see {paths:?}")
}
