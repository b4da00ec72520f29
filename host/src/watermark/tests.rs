use iiphost_plugin_api::{AlphaMode, ColorModel, Region, SampleFormat};
use proptest::prelude::*;

use super::*;

fn raster(width: u32, height: u32, bands: u32, samples: Samples) -> Raster {
    let mut raster = Raster::zeros(Size::new(width, height), bands, samples.format(), 1 << 30).unwrap();
    raster.samples = samples;
    if matches!(bands, 2 | 4) {
        raster.alpha = AlphaMode::Unassociated;
    }
    raster
}

fn subject(path: &[u8], tile: u32) -> Subject<'_> {
    Subject {
        path,
        page: 0,
        level: 1,
        source: Region::new(tile * 256, 0, 256, 256),
        size: Size::new(256, 256),
    }
}

/// The worked example: four pixels under a mark of equal size.
const PICTURE: [u8; 12] = [10, 20, 30, 10, 20, 30, 10, 20, 30, 200, 200, 200];
const MARK: [u8; 12] = [100, 0, 0, 0, 100, 0, 200, 200, 200, 50, 60, 70];

fn marked(mark: &Watermark, picture: Raster) -> Samples {
    let mut picture = picture;
    mark.apply(&mut picture, &subject(b"a", 0), Blocks::Whole)
        .unwrap();
    picture.samples
}

#[test]
fn a_mark_without_opacity_is_added() {
    let picture = raster(4, 1, 3, Samples::U8(MARK.to_vec()));
    let below = || raster(4, 1, 3, Samples::U8(PICTURE.to_vec()));
    let full = Watermark::new(&picture, None, 1.0, 1.0).unwrap();
    assert_eq!(
        marked(&full, below()),
        Samples::U8(vec![110, 20, 30, 10, 120, 30, 210, 220, 230, 250, 255, 255])
    );
    let half = Watermark::new(&picture, None, 0.5, 1.0).unwrap();
    assert_eq!(
        marked(&half, below()),
        Samples::U8(vec![60, 20, 30, 10, 70, 30, 110, 120, 130, 225, 230, 235])
    );
}

#[test]
fn a_mark_with_opacity_covers_and_alpha_counts_once() {
    let picture = raster(2, 1, 4, Samples::U8(vec![0, 100, 200, 255, 0, 0, 0, 128]));
    let over = Watermark::new(&picture, None, 1.0, 1.0).unwrap();
    let below = raster(2, 1, 3, Samples::U8(vec![10, 20, 30, 200, 100, 50]));
    assert_eq!(marked(&over, below), Samples::U8(vec![0, 100, 200, 100, 50, 25]));
    let add = Watermark::new(&picture, Some(Blend::Add), 0.5, 1.0).unwrap();
    let below = raster(2, 1, 3, Samples::U8(vec![10, 20, 30, 200, 100, 50]));
    assert_eq!(marked(&add, below), Samples::U8(vec![10, 70, 130, 200, 100, 50]));
}

#[test]
fn opacity_of_the_picture_stays_and_grey_takes_red() {
    let picture = raster(1, 1, 3, Samples::U8(vec![100, 50, 25]));
    let mark = Watermark::new(&picture, None, 1.0, 1.0).unwrap();
    for (bands, before, after) in [
        (1, vec![10], vec![110]),
        (2, vec![10, 7], vec![110, 7]),
        (4, vec![10, 20, 30, 7], vec![110, 70, 55, 7]),
    ] {
        let below = raster(1, 1, bands, Samples::U8(before));
        assert_eq!(marked(&mark, below), Samples::U8(after), "{bands} bands");
    }
    let mut five = raster(1, 1, 5, Samples::U8(vec![1; 5]));
    five.color_model = ColorModel::Multiband;
    assert_eq!(marked(&mark, five), Samples::U8(vec![101, 51, 26, 101, 101]));
}

#[test]
fn deep_pictures_are_marked_at_full_scale() {
    let picture = raster(1, 1, 3, Samples::U8(vec![100, 0, 255]));
    let mark = Watermark::new(&picture, None, 1.0, 1.0).unwrap();
    let below = raster(1, 1, 3, Samples::U16(vec![1000, 1000, 1000]));
    assert_eq!(marked(&mark, below), Samples::U16(vec![26_700, 1000, 65_535]));
    let float = raster(1, 1, 3, Samples::zeros(SampleFormat::F32, 3));
    let mut float = float;
    assert!(mark.apply(&mut float, &subject(b"a", 0), Blocks::Whole).is_err());
}

#[test]
fn a_mark_larger_than_its_block_is_cut_and_keeps_its_upper_left_corner() {
    let picture = raster(4, 1, 3, Samples::U8(MARK.to_vec()));
    let mark = Watermark::new(&picture, None, 1.0, 1.0).unwrap();
    let below = raster(2, 1, 3, Samples::U8(PICTURE[..6].to_vec()));
    assert_eq!(marked(&mark, below), Samples::U8(vec![110, 20, 30, 10, 120, 30]));
}

#[test]
fn the_share_of_marked_tiles_is_the_probability_and_grows_with_it() {
    let dot = raster(8, 8, 3, Samples::U8(vec![255; 192]));
    let marked = |probability| -> Vec<bool> {
        let mark = Watermark::new(&dot, None, 1.0, probability).unwrap();
        (0..4000)
            .map(|tile| mark.marks(&subject(b"a.tif", tile), Blocks::Whole, Size::new(256, 256)))
            .collect()
    };
    let mut before = vec![false; 4000];
    for probability in [0.0, 0.1, 0.3, 0.5, 0.9, 1.0] {
        let found = marked(probability);
        let share = found.iter().filter(|&&m| m).count() as f64 / 4000.0;
        // Four standard deviations.
        let bound = 4.0 * (probability * (1.0 - probability) / 4000.0_f64).sqrt();
        assert!((share - probability).abs() <= bound, "{share} of {probability}");
        assert!(before.iter().zip(&found).all(|(&b, &f)| f || !b));
        before = found;
    }
    let invisible = Watermark::new(&dot, None, 0.0, 1.0).unwrap();
    assert!(!invisible.marks(&subject(b"a", 0), Blocks::Whole, Size::new(256, 256)));
}

#[test]
fn places_are_spread_evenly_and_differ_between_images_tiles_and_marks() {
    let dot = raster(56, 56, 3, Samples::U8(vec![255; 56 * 56 * 3]));
    let mark = Watermark::new(&dot, None, 1.0, 1.0).unwrap();
    let block = Region::new(0, 0, 256, 256);
    let places: Vec<(u32, u32)> = (0..4000)
        .map(|tile| mark.place(&subject(b"a.tif", tile), &block).unwrap())
        .collect();
    for quarter in 0..4 {
        let inside = |v: u32| v / 50 == quarter;
        for share in [
            places.iter().filter(|p| inside(p.0)).count(),
            places.iter().filter(|p| inside(p.1)).count(),
        ] {
            assert!((850..=1150).contains(&share), "{share} of 4000 in a quarter");
        }
    }
    assert!(places.iter().all(|&(x, y)| x <= 200 && y <= 200));
    let other = mark.place(&subject(b"b.tif", 0), &block).unwrap();
    assert_ne!(other, places[0]);
    let again = Watermark::new(&dot, None, 0.3, 1.0).unwrap();
    assert_eq!(again.place(&subject(b"a.tif", 7), &block), Some(places[7]));
    assert_ne!(again.fingerprint(), mark.fingerprint());
}

proptest! {
    #[test]
    fn blocks_cover_a_picture_once(width in 1..300_u32, height in 1..300_u32, side in 1..200_u32) {
        let size = Size::new(width, height);
        let mut covered = vec![0u8; (width * height) as usize];
        for block in Blocks::Grid(side).of(size) {
            for y in block.y..block.y + block.height {
                for x in block.x..block.x + block.width {
                    covered[(y * width + x) as usize] += 1;
                }
            }
        }
        prop_assert!(covered.iter().all(|&c| c == 1));
    }

    #[test]
    fn a_picture_done_in_parts_is_the_picture_done_at_once(
        width in 1..90_u32, height in 1..90_u32, side in 5..60_u32, rows in 1..40_u32,
    ) {
        let picture = raster(13, 9, 4, Samples::U8((0..468).map(|i| (i * 7 % 256) as u8).collect()));
        let mark = Watermark::new(&picture, None, 0.7, 0.8).unwrap();
        let size = Size::new(width, height);
        let samples = vec![90; size.pixels() as usize * 3];
        let mut whole = raster(width, height, 3, Samples::U8(samples));
        let mut parts = Vec::new();
        let subject = Subject { size, ..subject(b"a", 3) };
        let mut first = 0;
        while first < height {
            let count = rows.min(height - first);
            let mut part = raster(width, count, 3, Samples::U8(vec![90; (width * count * 3) as usize]));
            mark.apply_to_rows(&mut part, first, size, &subject, Blocks::Grid(side)).unwrap();
            parts.extend_from_slice(part.as_u8().unwrap());
            first += count;
        }
        mark.apply(&mut whole, &subject, Blocks::Grid(side)).unwrap();
        prop_assert_eq!(whole.as_u8().unwrap(), parts.as_slice());
    }
}
