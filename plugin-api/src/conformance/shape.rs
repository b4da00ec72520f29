//! The shape of an opened image.

use super::subject::{Stop, Subject, Verdict, fail, must_read, open, request, roomy, skip, some_pages};
use crate::host::answer;
use crate::info::{LevelInfo, PageInfo, SampleFormat};
use crate::region::Region;

/// Levels larger than this are not read as a whole.
const MAX_WHOLE_PIXELS: u64 = 4 << 20;

/// How far the means of two levels may differ, as a part of the range of the samples.
const MEAN_TOLERANCE: f64 = 0.1;

pub(super) fn info(subject: &Subject) -> Verdict {
    let decoder = subject.decoder()?;
    for sample in subject.samples()? {
        subject.doing(sample.name.clone());
        let reader = open(&*decoder, sample)?;
        let info = reader.info().clone();
        if let Err(lie) = answer::image_info(&info, roomy().max_bytes) {
            return fail(lie.0);
        }
        if *reader.info() != info || *open(&*decoder, sample)?.info() != info {
            return fail("the same file has two shapes");
        }
        if info.format.is_empty() {
            return fail("format is empty");
        }
        for (page_idx, page) in info.pages.iter().enumerate() {
            for (level_idx, level) in page.levels.iter().enumerate() {
                aspect(page, level)
                    .map_err(|reason| Stop::Fail(format!("page {page_idx}, level {level_idx}: {reason}")))?;
            }
        }
        for page in some_pages(&info) {
            let cost = reader.estimate(&request(page, 0, Region::new(0, 0, 1, 1)));
            if cost.pixels_decoded == 0 {
                return fail(format!("page {page}: a pixel is said to cost no pixel"));
            }
        }
    }
    Ok(())
}

/// A level is the first one made smaller by one factor. Sides may be rounded up or down at every halving,
/// so each may be off by two pixels.
fn aspect(page: &PageInfo, level: &LevelInfo) -> Result<(), String> {
    let Some(first) = page.levels.first() else {
        return Ok(());
    };
    let fits = |side: u32, full: u32, other: u32, other_full: u32| {
        let expected = |other: f64| f64::from(full) * other / f64::from(other_full.max(1));
        let low = expected(f64::from(other) - 2.0) - 2.0;
        let high = expected(f64::from(other) + 2.0) + 2.0;
        (low..=high).contains(&f64::from(side))
    };
    if fits(level.height, first.height, level.width, first.width)
        && fits(level.width, first.width, level.height, first.height)
    {
        return Ok(());
    }
    Err(format!(
        "{}x{} does not have the aspect of {}x{}",
        level.width, level.height, first.width, first.height
    ))
}

pub(super) fn levels_alike(subject: &Subject) -> Verdict {
    let mut compared = 0u32;
    subject.each_reader(|_, reader| {
        for page_idx in some_pages(reader.info()) {
            let Some(page) = reader.info().pages.get(page_idx as usize) else {
                continue;
            };
            // Floating-point samples have no range to measure a difference by.
            if page.sample_format == SampleFormat::F32 {
                continue;
            }
            let mut known: Option<(usize, Vec<f64>)> = None;
            for (level_idx, level) in page.levels.iter().enumerate() {
                let whole = Region::new(0, 0, level.width, level.height);
                if whole.pixels() > MAX_WHOLE_PIXELS {
                    continue;
                }
                let level_number = u32::try_from(level_idx).unwrap_or(u32::MAX);
                let pixels = must_read(reader, &request(page_idx, level_number, whole))?;
                let means = means(page, &pixels);
                // Levels of few pixels leave out too much of an odd-sized picture.
                let tiny = whole.pixels() < 64;
                if let Some((first, expected)) = known.as_ref().filter(|_| !tiny) {
                    compared += 1;
                    for (band, (mean, expected)) in means.iter().zip(expected).enumerate() {
                        if (mean - expected).abs() > MEAN_TOLERANCE {
                            return fail(format!(
                                "page {page_idx}, band {band}: the mean of level {level_idx} is {mean:.3} \
                                 of the range, that of level {first} {expected:.3}"
                            ));
                        }
                    }
                }
                known.get_or_insert((level_idx, means));
            }
        }
        Ok(())
    })?;
    if compared == 0 {
        return skip("no sample with several levels small enough to compare");
    }
    Ok(())
}

/// The mean of each band as a part of the range of its samples.
fn means(page: &PageInfo, pixels: &[u8]) -> Vec<f64> {
    let bands = page.band_count.max(1) as usize;
    let size = page.sample_format.bytes();
    let mut sums = vec![0f64; bands];
    for (index, sample) in pixels.chunks_exact(size).enumerate() {
        let value = match *sample {
            [a] => f64::from(a),
            [a, b] => f64::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => f64::from(u32::from_ne_bytes([a, b, c, d])),
            _ => 0.0,
        };
        if let Some(sum) = sums.get_mut(index % bands) {
            *sum += value;
        }
    }
    let count = (pixels.len() / size / bands).max(1) as f64;
    let range = 2f64.powi(i32::try_from(page.bit_depth.min(32)).unwrap_or(32)) - 1.0;
    sums.into_iter().map(|sum| sum / count / range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::{AlphaMode, ColorModel};

    fn level(width: u32, height: u32) -> LevelInfo {
        LevelInfo {
            width,
            height,
            tile_width: 256,
            tile_height: 256,
            encoded: None,
            computed: false,
        }
    }

    fn page(levels: Vec<LevelInfo>) -> PageInfo {
        PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels,
            band_count: 2,
            sample_format: SampleFormat::U16,
            bit_depth: 12,
            signed: false,
            color_model: ColorModel::Multiband,
            alpha: AlphaMode::None,
            ranges: Vec::new(),
            resolution: None,
            quality_layers: 1,
        }
    }

    #[test]
    fn sides_may_be_rounded_but_not_distorted() {
        let page = page(vec![level(4001, 3)]);
        for good in [level(2000, 1), level(2001, 2), level(1, 1), level(31, 1)] {
            assert_eq!(aspect(&page, &good), Ok(()), "{good:?}");
        }
        let square = super::tests::page(vec![level(1000, 1000)]);
        assert!(aspect(&square, &level(500, 490)).is_err());
        assert!(aspect(&square, &level(490, 500)).is_err());
        assert!(aspect(&square, &level(500, 499)).is_ok());
    }

    #[test]
    fn means_are_by_band_and_in_parts_of_the_range() {
        let samples: Vec<u8> = [4095u16, 0, 0, 0].iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(means(&page(vec![]), &samples), [0.5, 0.0]);
    }
}
