//! Files made here, read back in every way.

use super::*;
use crate::boxes::tests::{boxed, enumerated, jp2};
use crate::exif::tests::block as exif_block;
use crate::levels::ceil_shift;
use iiphost_codestream::test_encoder::{PROG_ORDER, Recipe, encode};
use iiphost_codestream::{Job, Splice};
use iiphost_plugin_api::{
    AlphaMode, CallContext, ColorModel, ErrorKind, HostServices, Limits, LogLevel, PlainServices,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::time::Duration;

/// A host that notes the log.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

impl HostServices for Noting {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn time_left(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn log(&self, _level: LogLevel, message: &str) {
        self.0.lock().push(message.to_owned());
    }
}

fn open(file: &[u8]) -> Result<Jpeg2000Reader, DecodeError> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    Jpeg2000Reader::open(Arc::new(file.to_vec()), &Store::new(1 << 22), &ctx)
}

fn read_with(
    reader: &Jpeg2000Reader,
    level: u32,
    region: Region,
    layers: u32,
    ctx: &ReadContext<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let page = &reader.info().pages[0];
    let row = region.width as usize * reader.picture.bands.pixel_bytes();
    let mut bytes = vec![0; row * region.height as usize];
    let mut out = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        page.band_count,
        page.sample_format,
        row,
    )?;
    let request = ReadRequest {
        page: 0,
        level,
        region,
        quality_layers: layers,
    };
    assert!(reader.estimate(&request).pixels_decoded > 0);
    reader.read(&request, &mut out, ctx)?;
    Ok(bytes)
}

fn read(reader: &Jpeg2000Reader, level: u32, region: Region, layers: u32) -> Vec<u8> {
    let services = Noting::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let bytes = read_with(reader, level, region, layers, &ctx).unwrap();
    assert_eq!(services.0.into_inner(), Vec::<String>::new());
    bytes
}

fn whole(reader: &Jpeg2000Reader, level: u32) -> Region {
    let level = &reader.info().pages[0].levels[level as usize];
    Region::new(0, 0, level.width, level.height)
}

/// The samples of the whole image as the codec gives them for the unchanged codestream.
fn plain(file: &Vec<u8>, reduction: u32, layers: u32) -> Vec<(u32, u32, Vec<i32>)> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let main = MainHeader::read(file, 0..file.len() as u64, &ctx).unwrap();
    let mut splice = Splice::new(file);
    splice.push_range(0..file.len() as u64);
    let job = Job {
        reduction,
        layers,
        area: main.size.image,
        threads: 1,
    };
    let decoded = iiphost_codestream::decode(&splice, &job, &ctx).unwrap();
    let planes = (0..main.size.components.len()).map(|i| {
        let plane = decoded.plane(i).unwrap();
        (plane.width, plane.height, plane.samples.to_vec())
    });
    planes.collect()
}

/// Pixels of a page as numbers.
fn numbers(bytes: &[u8], sample_bytes: usize) -> Vec<u32> {
    bytes
        .chunks_exact(sample_bytes)
        .map(|sample| match *sample {
            [a] => u32::from(a),
            [a, b] => u32::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
            _ => unreachable!("samples of {sample_bytes} bytes"),
        })
        .collect()
}

/// One file for each way of laying a codestream out.
fn layouts() -> Vec<Recipe> {
    let base = Recipe::new(300, 210, 3, 8);
    let tiled = Recipe {
        tile: Some((128, 96)),
        ..base.clone()
    };
    vec![
        base.clone(),
        Recipe {
            irreversible: true,
            ..base.clone()
        },
        tiled.clone(),
        Recipe {
            irreversible: true,
            layers: 3,
            ..tiled.clone()
        },
        Recipe {
            offset: (37, 21),
            ..base.clone()
        },
        Recipe {
            offset: (37, 21),
            tile_lengths: true,
            ..tiled.clone()
        },
        Recipe {
            precinct: Some(64),
            packet_lengths: true,
            progression: PROG_ORDER::OPJ_RPCL,
            ..base.clone()
        },
        Recipe {
            irreversible: true,
            precinct: Some(128),
            packet_lengths: true,
            progression: PROG_ORDER::OPJ_PCRL,
            ..tiled.clone()
        },
        Recipe {
            progression: PROG_ORDER::OPJ_CPRL,
            resync: true,
            ..tiled.clone()
        },
        Recipe {
            progression: PROG_ORDER::OPJ_RLCP,
            layers: 4,
            ..base.clone()
        },
        Recipe {
            decompositions: 0,
            ..tiled
        },
        Recipe {
            signed: true,
            ..Recipe::new(300, 210, 1, 12)
        },
        Recipe::new(300, 210, 4, 16),
        Recipe {
            irreversible: true,
            ..Recipe::new(300, 210, 2, 16)
        },
        Recipe::new(300, 210, 1, 1),
        Recipe::new(300, 210, 5, 5),
    ]
}

#[test]
fn every_layout_gives_the_pixels_of_a_plain_decode_at_every_level() {
    for recipe in layouts() {
        let file = encode(&recipe);
        let reader = open(&file).unwrap();
        let bands = recipe.depths.len();
        let bytes = reader.picture.bands.sample_format().bytes();
        let bias = if recipe.signed {
            1 << (recipe.depths[0] - 1)
        } else {
            0
        };
        for (index, level) in reader.picture.levels.iter().enumerate() {
            if level.halvings > 0 {
                continue;
            }
            let planes = plain(&file, level.reduction, 0);
            let region = whole(&reader, index as u32);
            let pixels = numbers(&read(&reader, index as u32, region, 0), bytes);
            for (band, (width, height, samples)) in planes.iter().enumerate() {
                assert_eq!((*width, *height), (region.width, region.height));
                let found = pixels.iter().skip(band).step_by(bands);
                let expected = samples.iter().map(|&v| (v + bias) as u32);
                assert!(
                    found.copied().eq(expected),
                    "{recipe:?}: band {band} of level {index}"
                );
            }
        }
    }
}

#[test]
fn lossless_files_give_the_samples_that_went_in() {
    for recipe in layouts().into_iter().filter(|r| !r.irreversible) {
        let reader = open(&encode(&recipe)).unwrap();
        let region = whole(&reader, 0);
        assert_eq!((region.width, region.height), (recipe.width, recipe.height));
        let bytes = reader.picture.bands.sample_format().bytes();
        let pixels = numbers(&read(&reader, 0, region, 0), bytes);
        let bands = recipe.depths.len();
        for (at, &value) in pixels.iter().enumerate() {
            let (band, pixel) = (at % bands, (at / bands) as u32);
            let (x, y) = (pixel % region.width, pixel / region.width);
            let expected = recipe.sample(band, x + recipe.offset.0, y + recipe.offset.1);
            assert_eq!(value, expected, "{recipe:?}: band {band} at {x}, {y}");
        }
    }
}

#[test]
fn a_region_is_the_crop_of_the_whole_in_every_layout() {
    for recipe in layouts() {
        let file = encode(&recipe);
        let first = open(&file).unwrap();
        let pixel_bytes = first.picture.bands.pixel_bytes();
        for level in 0..first.info().pages[0].levels.len() as u32 {
            let all = whole(&first, level);
            let expected = Pixels {
                region: all,
                pixel_bytes,
                bytes: read(&first, level, all, 1),
            };
            let (w, h) = (all.width, all.height);
            for region in [
                Region::new(0, 0, 1, 1),
                Region::new(w - 1, h - 1, 1, 1),
                Region::new(w / 3, h / 3, w / 3, h / 4),
                Region::new(0, h / 2, w, 1),
                Region::new(0, 0, w.min(256), h.min(256)),
                Region::new(w - w.min(45), 0, w.min(45), h),
            ] {
                let found = read(&first, level, region, 1);
                assert!(
                    found == expected.cut(&region).unwrap().bytes,
                    "{recipe:?}: {region:?} of level {level}"
                );
            }
        }
    }
}

use crate::pixels::Pixels;

#[test]
fn tiles_read_at_the_same_time_are_those_of_a_plain_decode() {
    let recipe = Recipe {
        irreversible: true,
        decompositions: 5,
        ..Recipe::new(1300, 900, 3, 8)
    };
    let file = encode(&recipe);
    let reader = open(&file).unwrap();
    let planes = plain(&file, 0, 0);
    let tiles = (0..6).flat_map(|col| (0..4).map(move |row| (col, row)));
    let tiles: Vec<Region> = tiles
        .filter_map(|(col, row)| Region::new(col * 256, row * 256, 256, 256).intersection(&whole(&reader, 0)))
        .collect();
    std::thread::scope(|scope| {
        for part in tiles.chunks(7) {
            let (reader, planes) = (&reader, &planes);
            scope.spawn(move || {
                for tile in part {
                    let pixels = read(reader, 0, *tile, 0);
                    for (at, &value) in pixels.iter().enumerate() {
                        let (band, pixel) = (at % 3, (at / 3) as u32);
                        let (x, y) = (tile.x + pixel % tile.width, tile.y + pixel / tile.width);
                        let expected = planes[band].2[(y * 1300 + x) as usize];
                        assert_eq!(i32::from(value), expected, "band {band} at {x}, {y}");
                    }
                }
            });
        }
    });
}

#[test]
fn layers_are_decoded_as_many_as_wanted() {
    let recipe = Recipe {
        layers: 4,
        ..Recipe::new(300, 210, 1, 8)
    };
    let file = encode(&recipe);
    let reader = open(&file).unwrap();
    assert_eq!(reader.info().pages[0].quality_layers, 4);
    let region = whole(&reader, 0);
    let error = |bytes: Vec<u8>| -> u64 {
        let all = read(&reader, 0, region, 0);
        let pairs = bytes.iter().zip(&all);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
    };
    for layers in 1..=4 {
        let planes = plain(&file, 0, layers);
        let expected: Vec<u8> = planes[0].2.iter().map(|&v| v as u8).collect();
        assert!(read(&reader, 0, region, layers) == expected, "{layers} layers");
    }
    let errors: Vec<u64> = (1..=5).map(|n| error(read(&reader, 0, region, n))).collect();
    assert!(errors[0] > errors[1] && errors[1] > errors[2] && errors[2] > 0);
    assert_eq!(errors[3..], [0, 0]);
}

#[test]
fn subsampled_components_are_repeated_up_to_the_grid() {
    for offset in [(0, 0), (5, 3)] {
        let recipe = Recipe {
            subsampling: vec![(1, 1), (2, 2), (2, 1)],
            offset,
            tile: Some((64, 64)),
            ..Recipe::new(150, 110, 3, 8)
        };
        let file = encode(&recipe);
        let reader = open(&file).unwrap();
        for region in [
            whole(&reader, 0),
            Region::new(33, 27, 70, 50),
            Region::new(149, 109, 1, 1),
        ] {
            let pixels = read(&reader, 0, region, 0);
            for (at, &value) in pixels.iter().enumerate() {
                let (band, pixel) = (at % 3, (at / 3) as u32);
                let x = offset.0 + region.x + pixel % region.width;
                let y = offset.1 + region.y + pixel / region.width;
                let (dx, dy) = recipe.step(band);
                let expected = recipe.sample(
                    band,
                    (x / dx).max(offset.0.div_ceil(dx)),
                    (y / dy).max(offset.1.div_ceil(dy)),
                );
                assert_eq!(u32::from(value), expected, "band {band} at {x}, {y}");
            }
        }
    }
}

#[test]
fn components_that_share_their_steps_are_shown_as_they_are() {
    let recipe = Recipe {
        subsampling: vec![(5, 3); 3],
        offset: (7, 4),
        tile: Some((400, 300)),
        ..Recipe::new(1500, 630, 3, 8)
    };
    let file = encode(&recipe);
    let reader = open(&file).unwrap();
    let (left, top) = (2, 2);
    assert_eq!(whole(&reader, 0), Region::new(0, 0, 302 - left, 212 - top));
    for region in [whole(&reader, 0), Region::new(70, 90, 200, 60)] {
        let pixels = read(&reader, 0, region, 0);
        for (at, &value) in pixels.iter().enumerate() {
            let (band, pixel) = (at % 3, (at / 3) as u32);
            let x = left + region.x + pixel % region.width;
            let y = top + region.y + pixel / region.width;
            assert_eq!(
                u32::from(value),
                recipe.sample(band, x, y),
                "band {band} at {x}, {y}"
            );
        }
    }
}

#[test]
fn components_of_other_depths_are_scaled_to_the_deepest() {
    let recipe = Recipe {
        depths: vec![4, 12, 8],
        ..Recipe::new(40, 30, 3, 8)
    };
    let reader = open(&encode(&recipe)).unwrap();
    let page = &reader.info().pages[0];
    assert_eq!(page.bit_depth, 12);
    let pixels = numbers(&read(&reader, 0, whole(&reader, 0), 0), 2);
    for (at, pixel) in pixels.chunks_exact(3).enumerate() {
        let (x, y) = (at as u32 % 40, at as u32 / 40);
        let value = |band| recipe.sample(band, x, y);
        let scaled = |v: u32, max: u32| (f64::from(v) * 4095.0 / f64::from(max)).round() as u32;
        assert_eq!(pixel, [scaled(value(0), 15), value(1), scaled(value(2), 255)]);
    }
}

#[test]
fn virtual_levels_are_averages_of_the_smallest_stored_one() {
    let recipe = Recipe {
        decompositions: 0,
        offset: (3, 2),
        ..Recipe::new(601, 301, 1, 8)
    };
    let reader = open(&encode(&recipe)).unwrap();
    let levels = &reader.info().pages[0].levels;
    assert_eq!(levels.len(), 3);
    assert!(levels[1].computed && levels[2].computed && !levels[0].computed);
    let edges = |power: u32| [3, 2, 604, 303].map(|v| ceil_shift(v, power));
    for power in 1..3u32 {
        let [x0, y0, x1, y1] = edges(power);
        let pixels = read(&reader, power, whole(&reader, power), 0);
        assert_eq!(pixels.len() as u32, (x1 - x0) * (y1 - y0));
        for (at, &value) in (0u32..).zip(&pixels) {
            let (x, y) = (x0 + at % (x1 - x0), y0 + at / (x1 - x0));
            let cols = x << power..((x + 1) << power).min(604);
            let rows = y << power..((y + 1) << power).min(303);
            let samples: Vec<u32> = rows
                .flat_map(|y| cols.clone().map(move |x| (x, y)))
                .map(|(x, y)| recipe.sample(0, x, y))
                .collect();
            let count = samples.len() as u32;
            let average = (samples.iter().sum::<u32>() + count / 2) / count;
            assert_eq!(u32::from(value), average, "{x}, {y} of level {power}");
        }
    }
}

#[test]
fn a_palette_gives_colors() {
    let recipe = Recipe::new(30, 20, 1, 2);
    let palette = [
        &[0, 4, 3, 7, 7, 7][..],
        &[0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30],
    ]
    .concat();
    let file = jp2(
        &[
            enumerated(16),
            boxed(b"pclr", &palette),
            boxed(b"cmap", &[0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 2]),
        ],
        &encode(&recipe),
        &[],
    );
    let reader = open(&file).unwrap();
    let page = &reader.info().pages[0];
    assert_eq!((page.band_count, page.bit_depth), (3, 8));
    let colors = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]];
    let pixels = read(&reader, 0, whole(&reader, 0), 0);
    for (at, pixel) in (0u32..).zip(pixels.chunks_exact(3)) {
        assert_eq!(pixel, colors[recipe.sample(0, at % 30, at / 30) as usize]);
    }
}

#[test]
fn channel_definitions_order_the_bands() {
    let recipe = Recipe::new(30, 20, 4, 8);
    let rows = [[0, 1, 0], [1, 0, 3], [2, 0, 2], [3, 0, 1]];
    let body: Vec<u8> = [4u16]
        .iter()
        .chain(rows.as_flattened())
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let file = jp2(&[enumerated(16), boxed(b"cdef", &body)], &encode(&recipe), &[]);
    let reader = open(&file).unwrap();
    let page = &reader.info().pages[0];
    assert_eq!(
        (page.color_model, page.alpha),
        (ColorModel::Rgb, AlphaMode::Unassociated)
    );
    let pixels = read(&reader, 0, whole(&reader, 0), 0);
    for (at, pixel) in (0u32..).zip(pixels.chunks_exact(4)) {
        let expected = [3, 2, 1, 0].map(|c| recipe.sample(c, at % 30, at / 30) as u8);
        assert_eq!(pixel, expected);
    }
}

#[test]
fn metadata_is_read_from_its_boxes() {
    let profile: Vec<u8> = (0..128).collect();
    let mut icc = [&[2, 0, 0][..], &profile].concat();
    icc[3 + 16..3 + 20].copy_from_slice(b"RGB ");
    let exif = [&b"JpgTiffExif->JP2Exif\0\0"[..], b"MM\0*"].concat();
    let file = jp2(
        &[boxed(b"colr", &icc)],
        &encode(&Recipe::new(30, 20, 3, 8)),
        &[boxed(b"xml ", b"<x:xmpmeta/>"), boxed(b"uuid", &exif)],
    );
    let reader = open(&file).unwrap();
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let block = |kind| reader.metadata(kind, &ctx).unwrap();
    assert_eq!(block(MetadataKind::Icc).unwrap(), icc[3..]);
    assert_eq!(block(MetadataKind::Xmp).unwrap(), b"<x:xmpmeta/>");
    assert_eq!(block(MetadataKind::Exif).unwrap(), b"MM\0*");
    assert_eq!(block(MetadataKind::Iptc), None);
    assert_eq!(reader.info().format, "JP2");
}

#[test]
fn orientation_is_told() {
    let codestream = encode(&Recipe::new(30, 20, 3, 8));
    let told = |stated: u16| {
        let exif = [&b"JpgTiffExif->JP2"[..], &exif_block(true, false, stated)].concat();
        let file = jp2(&[enumerated(16)], &codestream, &[boxed(b"uuid", &exif)]);
        let reader = open(&file).unwrap();
        // As stored, whatever it says.
        assert_eq!(whole(&reader, 0), Region::new(0, 0, 30, 20));
        let text = &reader.info().text;
        let found = text.iter().find(|(name, _)| name == "orientation");
        found.map(|(_, value)| value.clone())
    };
    assert_eq!(told(6).unwrap(), b"6");
    assert_eq!(told(8).unwrap(), b"8");
    assert_eq!((told(0), told(1), told(9)), (None, None, None));
}

#[test]
fn a_file_cut_off_shows_what_is_there_and_warns_once() {
    let recipe = Recipe {
        tile: Some((64, 64)),
        ..Recipe::new(300, 210, 3, 8)
    };
    let file = encode(&recipe);
    let half = &file[..file.len() / 2];
    let reader = open(half).unwrap();
    let services = Noting::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let top = read_with(&reader, 0, Region::new(0, 0, 300, 64), 0, &ctx).unwrap();
    for (at, &value) in top.iter().enumerate() {
        let (band, pixel) = (at % 3, (at / 3) as u32);
        assert_eq!(u32::from(value), recipe.sample(band, pixel % 300, pixel / 300));
    }
    assert_eq!(services.0.lock().len(), 0);
    for _ in 0..2 {
        let all = read_with(&reader, 0, whole(&reader, 0), 0, &ctx).unwrap();
        assert_eq!(all[..top.len()], top);
        let last = read_with(&reader, 0, Region::new(280, 200, 20, 10), 0, &ctx).unwrap();
        assert!(last.iter().all(|&v| v == 0));
    }
    assert_eq!(services.0.lock().len(), 1);
}

#[test]
fn a_file_without_pixels_is_an_error() {
    let file = encode(&Recipe {
        tile: Some((64, 64)),
        ..Recipe::new(300, 210, 1, 8)
    });
    let start = open(&file).unwrap().picture.header().tile_parts.start as usize;
    let reader = open(&file[..start + 2]).unwrap();
    let services = Noting::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let error = read_with(&reader, 0, whole(&reader, 0), 0, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
}

/// A file that notes how far it was read.
#[derive(Debug)]
struct Measured {
    bytes: Vec<u8>,
    furthest: Mutex<u64>,
}

impl ByteSource for Measured {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let mut furthest = self.furthest.lock();
        *furthest = (*furthest).max(offset);
        self.bytes.read_at(offset, buffer)
    }
}

#[test]
fn a_read_does_not_try_broken_tiles_without_end() {
    let mut file = encode(&Recipe {
        tile: Some((16, 16)),
        ..Recipe::new(300, 210, 1, 8)
    });
    // Each packet header is said to be followed by a mark (EPH) that is not there.
    let coding = file.windows(2).position(|two| two == [0xff, 0x52]).unwrap();
    file[coding + 4] |= 4;
    let source = Arc::new(Measured {
        bytes: file,
        furthest: Mutex::new(0),
    });
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let reader = Jpeg2000Reader::open(source.clone(), &Store::new(1 << 22), &ctx).unwrap();
    let read = |region| {
        *source.furthest.lock() = 0;
        let error = read_with(&reader, 0, region, 0, &ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        *source.furthest.lock()
    };
    // The first read looks for all tiles, the others only at some.
    let _ = read(Region::new(0, 0, 10, 10));
    let few = read(Region::new(0, 0, 32, 32));
    let all = read(whole(&reader, 0));
    assert!(
        few > 0 && 3 * all < source.len(),
        "{few} and {all} of {}",
        source.len()
    );
}

#[test]
fn limits_and_deadline_end_a_read() {
    let reader = open(&encode(&Recipe::new(300, 210, 3, 8))).unwrap();
    let region = whole(&reader, 0);
    let kind = |limits: Limits, time: u64| {
        let services = PlainServices::with_time(Duration::from_secs(time));
        let ctx = CallContext::new(limits, &services);
        read_with(&reader, 0, region, 0, &ctx).unwrap_err().kind()
    };
    let limits = Limits::default();
    assert_eq!(
        kind(
            Limits {
                max_pixels: 1000,
                ..limits
            },
            20
        ),
        ErrorKind::LimitExceeded
    );
    assert_eq!(
        kind(
            Limits {
                max_bytes: 1000,
                ..limits
            },
            20
        ),
        ErrorKind::LimitExceeded
    );
    assert_eq!(kind(limits, 0), ErrorKind::DeadlineExceeded);
}

#[test]
fn large_regions_are_cut_in_pieces_that_cover_them_once() {
    let region = Region::new(100, 50, 9000, 2100);
    let pieces = pieces(&region);
    assert_eq!(pieces.iter().map(Region::pixels).sum::<u64>(), region.pixels());
    for (i, a) in pieces.iter().enumerate() {
        assert_eq!(a.intersection(&region), Some(*a));
        assert!(pieces[i + 1..].iter().all(|b| a.intersection(b).is_none()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_end_in_pixels_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        static FILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let recipe = Recipe { tile: Some((32, 32)), layers: 2, ..Recipe::new(60, 50, 3, 8) };
            jp2(&[enumerated(16)], &encode(&recipe), &[])
        });
        let mut file = FILE.clone();
        for (at, value) in flips {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(cut.index(file.len()) + file.len() / 2);
        let Ok(reader) = open(&file) else { return Ok(()) };
        let services = PlainServices::with_time(Duration::from_secs(10));
        let limits = Limits { max_pixels: 1 << 20, max_bytes: 64 << 20, max_threads: 1 };
        let ctx = CallContext::new(limits, &services);
        let last = reader.info().pages[0].levels.len() as u32 - 1;
        let region = whole(&reader, last);
        if region.pixels() < 1 << 20 {
            // Whether it works does not matter here, only that it ends.
            let _ = read_with(&reader, last, region, 0, &ctx);
        }
    }
}
