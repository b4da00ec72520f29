use super::*;
use crate::test_file::{Make, crop, exif_block, open, plain_decode, read, with_ctx, with_segment};
use iiphost_plugin_api::{CallContext, ErrorKind, HostServices, Limits, LogLevel, PlainServices};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Numbers that look random, the same for a seed.
struct Random(u64);

impl Random {
    /// From the environment or fixed; printed, so that a failure can be had again.
    fn new() -> Self {
        let seed = std::env::var("JPEG_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(0x5eed_u64);
        println!("JPEG_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, below: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(below)) as u32
    }

    fn region(&mut self, width: u32, height: u32) -> Region {
        let (x, y) = (self.below(width), self.below(height));
        Region::new(x, y, 1 + self.below(width - x), 1 + self.below(height - y))
    }
}

#[test]
fn any_region_at_any_size_is_that_part_of_a_plain_decode() {
    let mut random = Random::new();
    for make in Make::kinds(331, 297) {
        let file = make.file();
        let scans = file.windows(2).filter(|bytes| *bytes == [0xff, 0xda]).count();
        assert_eq!(scans > 1, make.progressive || make.separate, "{make:?}");
        let reader = open(file.clone()).unwrap();
        let page = reader.info().pages[0].clone();
        let inverted = page.color_model == ColorModel::Cmyk;
        for level in [1, 0, 2, 3] {
            let (width, _, mut expected) = plain_decode(&file, level);
            if inverted {
                expected.iter_mut().for_each(|ink| *ink = 255 - *ink);
            }
            // Levels below one tile are not offered, but the decoder has them.
            let (level_width, level_height) = ((331 >> level).max(1), (297 >> level).max(1));
            let mut regions = vec![
                Region::new(level_width - 1, level_height - 1, 1, 1),
                Region::new(0, level_height / 2, level_width, 9.min(level_height / 2)),
                Region::new(0, 0, level_width, level_height),
            ];
            regions.extend((0..5).map(|_| random.region(level_width, level_height)));
            for region in regions {
                let samples = with_ctx(|ctx| match page.levels.get(level as usize) {
                    Some(_) => read(&*reader, level, region, ctx).unwrap(),
                    None => stored_rows(file.clone(), level, region, ctx),
                });
                let expected = crop(&expected, width, page.band_count, region);
                assert!(samples == expected, "{make:?}, level {level}, {region:?}");
            }
        }
    }
}

/// A region of a level that may not be offered.
fn stored_rows(file: Vec<u8>, level: u32, region: Region, ctx: &CallContext<'_>) -> Vec<u8> {
    let reader = JpegReader::open(Arc::new(file), &Room::new(1 << 20), ctx).unwrap();
    let mut samples = Vec::new();
    reader
        .rows(level, region, ctx, &mut |_, row| {
            samples.extend_from_slice(row);
            Ok(())
        })
        .unwrap();
    samples
}

#[test]
fn levels_are_halves_rounded_down_to_one_tile() {
    let sizes = |size| -> Vec<_> {
        levels::infos(size)
            .iter()
            .map(|level| (level.width, level.height, level.computed))
            .collect()
    };
    assert_eq!(
        sizes((999, 777)),
        [(999, 777, false), (499, 388, true), (249, 194, true)]
    );
    assert_eq!(sizes((256, 256)), [(256, 256, false)]);
    assert_eq!(
        sizes((1025, 3)),
        [(1025, 3, false), (512, 1, true), (256, 1, true)]
    );
}

#[test]
fn levels_below_one_eighth_are_averages_of_it() {
    let make = Make {
        sampling: (1, 1),
        ..Make::new(65, 4200, 3)
    };
    let file = make.file();
    let reader = open(file.clone()).unwrap();
    let levels = reader.info().pages[0].levels.clone();
    assert_eq!(levels.len(), 6);
    let (width, _, eighth) = plain_decode(&file, 3);
    assert_eq!((levels[4].width, levels[4].height), (4, 262));
    with_ctx(|ctx| {
        let level = read(&*reader, 4, Region::new(1, 100, 2, 3), ctx).unwrap();
        for (idx, &sample) in level.iter().enumerate() {
            let (x, y, band) = (1 + idx / 3 % 2, 100 + idx / 6, idx % 3);
            let at = |x: usize, y: usize| u32::from(eighth[(y * width as usize + x) * 3 + band]);
            let sum =
                at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1);
            assert_eq!(u32::from(sample), (sum + 2) / 4);
        }
        let whole = read(&*reader, 5, Region::new(0, 0, 2, 131), ctx).unwrap();
        let part = read(&*reader, 5, Region::new(1, 7, 1, 100), ctx).unwrap();
        assert_eq!(part, crop(&whole, 2, 3, Region::new(1, 7, 1, 100)));
    });
}

#[test]
fn small_levels_are_the_same_before_and_after_they_are_kept() {
    for make in [
        Make::new(2600, 2100, 3),
        Make {
            sampling: (2, 1),
            ..Make::new(2600, 2100, 3)
        },
        Make {
            restart: 40,
            ..Make::new(2600, 2100, 1)
        },
        Make {
            progressive: true,
            ..Make::new(2600, 2100, 3)
        },
        Make::new(2600, 2100, 4),
    ] {
        let file = make.file();
        let (width, _, mut eighth) = plain_decode(&file, 3);
        let (full_width, _, mut full) = plain_decode(&file, 0);
        if make.bands == 4 {
            eighth
                .iter_mut()
                .chain(&mut full)
                .for_each(|ink| *ink = 255 - *ink);
        }
        let room = Room::new(1 << 30);
        let reader = with_ctx(|ctx| JpegReader::open(Arc::new(file), &room, ctx)).unwrap();
        let bands = make.bands as u32;
        let samples = |level, region| with_ctx(|ctx| read(&reader, level, region, ctx)).unwrap();
        let check = |region| {
            let expected = crop(&eighth, width, bands, region);
            assert!(samples(3, region) == expected, "{make:?}, {region:?}");
        };
        let small = Region::new(200, 130, 60, 50);
        check(small);
        assert!(!reader.small.is_kept(), "one small region is not worth it");
        let fourth = samples(4, Region::new(99, 70, 20, 15));
        check(Region::new(0, 0, 325, 262));
        assert!(reader.small.is_kept());
        check(small);
        check(Region::new(324, 261, 1, 1));
        assert_eq!(samples(4, Region::new(99, 70, 20, 15)), fourth);
        if let Content::Stored(picture) = &reader.content
            && make.restart == 0
        {
            // MCUs of 16 x 8 or 16 x 16 pixels, and a place every 16 of them.
            let rows = if make.sampling == (2, 1) { 263 } else { 132 };
            assert_eq!(picture.known_places() as u32, 163 * rows / 16 + 1, "{make:?}");
        }
        // What the walk over the whole noted is right for the full size.
        for region in [Region::new(1000, 2080, 99, 20), Region::new(2500, 1111, 100, 10)] {
            let expected = crop(&full, full_width, bands, region);
            assert!(samples(0, region) == expected, "{make:?}, {region:?}");
        }
    }
}

#[test]
fn levels_that_may_not_be_made_whole_are_made_in_parts() {
    let file = Make::new(2600, 2100, 3).file();
    let (width, _, eighth) = plain_decode(&file, 3);
    let reader = open(file).unwrap();
    let services = PlainServices::with_time(Duration::from_secs(20));
    let limits = Limits {
        max_bytes: 325 * 262 * 3 - 1,
        ..Limits::default()
    };
    let ctx = CallContext::new(limits, &services);
    for _ in 0..3 {
        let region = Region::new(20, 30, 200, 201);
        assert!(read(&*reader, 3, region, &ctx).unwrap() == crop(&eighth, width, 3, region));
    }
}

#[test]
fn what_is_kept_stays_within_its_room_and_is_made_again() {
    // An eighth of 200 x 150 colors takes 90,000 bytes: one fits, two do not.
    let room = Room::new(100_000);
    let readers: Vec<_> = (0..3)
        .map(|number| {
            let make = Make::new(1600 + number, 1200, 3);
            let reader = with_ctx(|ctx| JpegReader::open(Arc::new(make.file()), &room, ctx));
            (plain_decode(&make.file(), 3), reader.unwrap())
        })
        .collect();
    let whole = Region::new(0, 0, 200, 150);
    for _ in 0..2 {
        for ((width, _, eighth), reader) in &readers {
            let samples = with_ctx(|ctx| read(reader, 3, whole, ctx)).unwrap();
            assert!(samples == crop(eighth, *width, 3, whole));
            let kept = readers.iter().filter(|(_, reader)| reader.small.is_kept());
            assert!(kept.count() == 1 && reader.small.is_kept());
        }
    }
}

#[test]
fn orientation_is_told() {
    let plain = Make::new(300, 270, 3).file();
    for value in 1..=8_u16 {
        let exif = [
            b"Exif\0\0".to_vec(),
            exif_block(value % 2 == 0, value, "Some one"),
        ]
        .concat();
        let reader = open(with_segment(&plain, 0xe1, &exif)).unwrap();
        let text = &reader.info().text;
        let told = text.iter().find(|(name, _)| name == "orientation");
        let expected = (value > 1).then(|| value.to_string().into_bytes());
        assert_eq!(told.map(|(_, value)| value.clone()), expected);
        assert!(text.contains(&("creator".into(), b"Some one".to_vec())));
        assert_eq!(reader.info().pages[0].levels[1].width, 150);
    }
}

/// Opens a file and asks for everything in it, with little time and memory.
fn exercise(file: Vec<u8>) {
    let services = PlainServices::with_time(Duration::from_secs(2));
    let limits = Limits {
        max_pixels: 1 << 22,
        max_bytes: 1 << 24,
        max_threads: 1,
    };
    let ctx = CallContext::new(limits, &services);
    let Ok(reader) = JpegReader::open(Arc::new(file), &Room::new(1 << 20), &ctx) else {
        return;
    };
    for (level, shape) in (0_u32..).zip(reader.info.pages[0].levels.clone()) {
        for region in [
            Region::new(0, 0, shape.width.min(60), shape.height.min(60)),
            Region::new(
                shape.width - shape.width / 2 - 1,
                shape.height - 1,
                shape.width / 2 + 1,
                1,
            ),
        ] {
            // Whether it works does not matter here, only that it ends.
            let _ = read(&reader, level, region, &ctx);
        }
    }
    for kind in [
        MetadataKind::Icc,
        MetadataKind::Xmp,
        MetadataKind::Exif,
        MetadataKind::Iptc,
    ] {
        let _ = reader.metadata(kind, &ctx);
    }
}

#[test]
fn files_cut_anywhere_end_in_an_error_or_in_pixels() {
    for make in Make::kinds(70, 50) {
        let file = make.file();
        let start = Instant::now();
        for len in (0..file.len())
            .step_by(file.len() / 60 + 1)
            .chain(file.len() - 20..file.len())
        {
            exercise(file[..len].to_vec());
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{make:?} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn flipped_bits_end_in_an_error_or_in_pixels() {
    let mut random = Random::new();
    for make in Make::kinds(70, 50) {
        let file = make.file();
        for _ in 0..60 {
            let mut broken = file.clone();
            for _ in 0..1 + random.below(3) {
                // Half of the hits go to the headers.
                let near = if random.below(2) == 0 {
                    700
                } else {
                    file.len() as u32
                };
                let at = random.below(near.min(file.len() as u32)) as usize;
                match random.below(3) {
                    0 => broken[at] ^= 1 << random.below(8),
                    1 => broken[at] = 0xff,
                    _ => broken[at] = 0,
                }
            }
            exercise(broken);
        }
    }
}

/// Keeps what is logged.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl HostServices for Log {
    fn is_cancelled(&self) -> bool {
        false
    }
    fn time_left(&self) -> Duration {
        Duration::from_secs(10)
    }
    fn log(&self, _level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(message.into());
    }
}

#[test]
fn a_file_cut_off_shows_its_valid_part_and_grey_with_one_warning() {
    for make in [
        Make::new(400, 400, 1),
        Make {
            restart: 10,
            ..Make::new(400, 400, 1)
        },
    ] {
        let file = make.file();
        let (_, _, whole) = plain_decode(&file, 0);
        let reader = open(file[..file.len() / 2].to_vec()).unwrap();
        assert!(
            reader.info().warnings[0].contains("cut off"),
            "{:?}",
            reader.info().warnings
        );
        let log = Log::default();
        let ctx = CallContext::new(Limits::default(), &log);
        let top = read(&*reader, 0, Region::new(0, 0, 400, 100), &ctx).unwrap();
        assert!(top == whole[..400 * 100]);
        assert_eq!(log.0.lock().unwrap().len(), 0);
        let bottom = Region::new(100, 390, 300, 10);
        assert_eq!(read(&*reader, 0, bottom, &ctx).unwrap(), [128; 3000]);
        read(&*reader, 0, bottom, &ctx).unwrap();
        assert_eq!(log.0.lock().unwrap().len(), 1);
    }
}

#[test]
fn limits_and_the_deadline_are_kept() {
    let kind = |make: Make, limits: Limits, time: Duration| {
        let reader = open(make.file()).unwrap();
        let services = PlainServices::with_time(time);
        let ctx = CallContext::new(limits, &services);
        read(&*reader, 0, Region::new(0, 0, 300, 300), &ctx)
            .unwrap_err()
            .kind()
    };
    let make = Make::new(300, 300, 3);
    let progressive = Make {
        progressive: true,
        ..make
    };
    let second = Duration::from_secs(1);
    let few_pixels = Limits {
        max_pixels: 300 * 300 - 1,
        ..Limits::default()
    };
    assert_eq!(kind(make, few_pixels, second), ErrorKind::LimitExceeded);
    // 304 x 304 samples of luminance, half of that of chrominance, two bytes each.
    let few_bytes = Limits {
        max_bytes: 304 * 304 * 3 - 1,
        ..Limits::default()
    };
    assert_eq!(kind(progressive, few_bytes, second), ErrorKind::LimitExceeded);
    for make in [make, progressive] {
        assert_eq!(
            kind(make, Limits::default(), Duration::ZERO),
            ErrorKind::DeadlineExceeded
        );
    }
}

#[test]
fn parallel_reads_give_what_serial_ones_give() {
    for make in [
        Make::new(600, 700, 3),
        Make {
            progressive: true,
            ..Make::new(600, 700, 3)
        },
    ] {
        let file = make.file();
        let (width, _, whole) = plain_decode(&file, 0);
        let reader = open(file).unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (reader, whole) = (&*reader, &whole);
                scope.spawn(move || {
                    for step in 0..12 {
                        let place = (number * 5 + step * 7) % 12;
                        let region = Region::new(100 * (place % 6), 600 - 50 * place, 100, 100);
                        let samples = with_ctx(|ctx| read(reader, 0, region, ctx)).unwrap();
                        assert!(samples == crop(whole, width, 3, region), "{region:?}");
                    }
                });
            }
        });
    }
}

#[test]
fn inks_without_an_adobe_marker_are_as_stored() {
    let file = Make {
        plain: true,
        sampling: (1, 1),
        ..Make::new(40, 30, 4)
    }
    .file();
    let adobe = file.windows(5).position(|bytes| bytes == b"Adobe").unwrap() - 4;
    let bare = [&file[..adobe], &file[adobe + 16..]].concat();
    let whole = Region::new(0, 0, 40, 30);
    let samples = |file| with_ctx(|ctx| read(&*open(file).unwrap(), 0, whole, ctx)).unwrap();
    let (with, without) = (samples(file.clone()), samples(bare));
    assert!(with.iter().zip(&without).all(|(&a, &b)| a == 255 - b));
    let reader = open(file).unwrap();
    assert_eq!(reader.info().pages[0].color_model, ColorModel::Cmyk);
}
