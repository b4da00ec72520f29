//! The engine beside OpenJPEG: the same samples for every way to code them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError, Limits, PlainServices};
use proptest::prelude::*;

use crate::test_encoder::{PROG_ORDER, Recipe, encode};
use crate::{Codestream, Job, Splice, Store, Wanted, decode};

/// The samples of an area by OpenJPEG alone.
fn of_openjpeg(file: &Vec<u8>, wanted: &Wanted, ctx: &CallContext<'_>) -> Vec<(u32, u32, Vec<i32>)> {
    let mut splice = Splice::new(file);
    splice.push_range(0..file.len() as u64);
    let job = Job {
        reduction: wanted.reduction,
        layers: wanted.layers,
        area: wanted.area,
        threads: 1,
    };
    let decoded = decode(&splice, &job, ctx).unwrap();
    assert!(decoded.is_of_openjpeg());
    planes(&decoded)
}

fn planes(decoded: &crate::Decoded) -> Vec<(u32, u32, Vec<i32>)> {
    (0..)
        .map_while(|component| decoded.plane(component))
        .map(|plane| (plane.width, plane.height, plane.samples.to_vec()))
        .collect()
}

/// Compares areas of a recipe at all reductions and some numbers of layers.
fn compare(recipe: &Recipe) {
    let file = encode(recipe);
    let services = PlainServices::default();
    let store = Store::new(1 << 20);
    for max_threads in [1, 2] {
        let limits = Limits {
            max_threads,
            ..Limits::default()
        };
        let ctx = CallContext::new(limits, &services);
        let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx)
            .unwrap()
            .with_store(&store);
        let [x0, y0, x1, y1] = codestream.header().size.image;
        let (width, height) = (x1 - x0, y1 - y0);
        let areas = [
            [x0, y0, x1, y1],
            [
                x0 + width / 3,
                y0 + height / 4,
                x0 + width / 3 + width / 2,
                y0 + height / 2,
            ],
            [x1 - width.min(37), y1 - height.min(53), x1, y1],
            [x0, y0 + height / 2, x0 + 1 + width / 2, y0 + height / 2 + 1],
        ];
        for reduction in 0..=codestream.header().decompositions {
            for layers in [0, 1] {
                for area in areas.into_iter().filter(|[x0, y0, x1, y1]| x0 < x1 && y0 < y1) {
                    let wanted = Wanted {
                        reduction,
                        layers,
                        area,
                    };
                    let found = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
                    assert!(!found.is_of_openjpeg(), "{recipe:?} was declined");
                    let found = planes(&found);
                    if found.iter().any(|(_, _, samples)| samples.is_empty()) {
                        // An error to OpenJPEG.
                        continue;
                    }
                    let expected = of_openjpeg(&file, &wanted, &ctx);
                    assert!(found == expected, "{wanted:?} of {recipe:?}");
                }
            }
        }
        assert!(store.bytes() > 0);
    }
}

fn base() -> Recipe {
    Recipe::new(210, 170, 3, 8)
}

#[test]
fn both_filters_have_the_samples_of_openjpeg() {
    for irreversible in [false, true] {
        for depth in [1, 5, 8, 12, 16] {
            compare(&Recipe {
                irreversible,
                ..Recipe::new(130, 90, 1, depth)
            });
        }
        compare(&Recipe {
            irreversible,
            ..base()
        });
        compare(&Recipe {
            irreversible,
            signed: true,
            ..Recipe::new(130, 90, 2, 11)
        });
    }
}

#[test]
fn every_style_of_blocks_has_the_samples_of_openjpeg() {
    for style in 0..64 {
        compare(&Recipe {
            style,
            irreversible: style % 3 == 1,
            layers: 1 + u32::from(style % 4),
            ..Recipe::new(100, 70, 1, 12)
        });
    }
}

#[test]
fn every_order_of_packets_has_the_samples_of_openjpeg() {
    let orders = [
        PROG_ORDER::OPJ_LRCP,
        PROG_ORDER::OPJ_RLCP,
        PROG_ORDER::OPJ_RPCL,
        PROG_ORDER::OPJ_PCRL,
        PROG_ORDER::OPJ_CPRL,
    ];
    for progression in orders {
        for subsampling in [vec![], vec![(1, 1), (2, 1), (2, 2)]] {
            for tile in [None, Some((96, 64))] {
                compare(&Recipe {
                    progression,
                    subsampling: subsampling.clone(),
                    tile,
                    precinct: Some(64),
                    block: (16, 32),
                    layers: 3,
                    offset: (19, 7),
                    resync: tile.is_some(),
                    packet_lengths: tile.is_none(),
                    ..base()
                });
            }
        }
        compare(&Recipe {
            progression,
            then: Some(PROG_ORDER::OPJ_RPCL),
            precinct: Some(64),
            layers: 2,
            ..base()
        });
    }
}

#[test]
fn a_region_of_interest_has_the_samples_of_openjpeg() {
    for irreversible in [false, true] {
        compare(&Recipe {
            roi: Some((1, 9)),
            irreversible,
            ..base()
        });
    }
}

#[test]
fn pictures_of_few_samples_have_those_of_openjpeg() {
    for (width, height) in [(1u32, 1u32), (1, 9), (2, 2), (5, 3), (3, 9)] {
        for offset in [(0, 0), (1, 0), (3, 5)] {
            for irreversible in [false, true] {
                compare(&Recipe {
                    offset,
                    irreversible,
                    decompositions: width.min(height).ilog2(),
                    ..Recipe::new(width, height, 3, 8)
                });
            }
        }
    }
}

#[test]
fn a_codestream_cut_off_is_left_to_openjpeg() {
    let file = encode(&base());
    let file = file[..file.len() * 2 / 3].to_vec();
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx).unwrap();
    let wanted = Wanted {
        reduction: 0,
        layers: 0,
        area: codestream.header().size.image,
    };
    let decoded = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
    assert!(decoded.is_of_openjpeg());
    assert!(!decoded.complaints.is_empty());
}

/// The same codestream with the headers of all packets in PPM segments (A.7.4): each of them stands between the marks
/// at the start of its packet and at its own end.
fn with_packed_headers(file: &[u8]) -> Vec<u8> {
    const SOT: [u8; 2] = [0xff, 0x90];
    let find = |from: usize, marker: [u8; 2]| {
        let at = file[from..].windows(2).position(|window| window == marker);
        at.map(|at| from + at)
    };
    let first = find(0, SOT).unwrap();
    let (mut headers, mut parts) = (Vec::new(), Vec::new());
    let mut at = first;
    while file[at..at + 2] == SOT {
        let len = u32::from_be_bytes(file[at + 6..at + 10].try_into().unwrap()) as usize;
        let end = at + len;
        let data = find(at, [0xff, 0x93]).unwrap() + 2;
        let mut packed = Vec::new();
        let mut rest = file[at..data].to_vec();
        let mut packet = data;
        while packet < end {
            let header = packet + 6;
            let body = find(header, [0xff, 0x92]).unwrap() + 2;
            let next = find(body, [0xff, 0x91]).filter(|&next| next < end).unwrap_or(end);
            packed.extend_from_slice(&file[header..body]);
            rest.extend_from_slice(&file[packet..header]);
            rest.extend_from_slice(&file[body..next]);
            packet = next;
        }
        let len = (rest.len() as u32).to_be_bytes();
        rest[6..10].copy_from_slice(&len);
        headers.extend((packed.len() as u32).to_be_bytes());
        headers.extend(packed);
        parts.extend(rest);
        at = end;
    }
    let mut out = file[..first].to_vec();
    for (number, piece) in headers.chunks(60_000).enumerate() {
        out.extend([0xff, 0x60]);
        out.extend((piece.len() as u16 + 3).to_be_bytes());
        out.push(number as u8);
        out.extend_from_slice(piece);
    }
    out.extend(parts);
    out.extend_from_slice(&file[at..]);
    out
}

#[test]
fn areas_of_a_codestream_with_packed_headers_are_those_of_the_same_without() {
    let plain = encode(&Recipe {
        tile: Some((64, 48)),
        offset: (5, 3),
        subsampling: vec![(1, 1), (2, 2), (2, 1)],
        resync: true,
        layers: 2,
        ..base()
    });
    let packed = with_packed_headers(&plain);
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let open = |file: &Vec<u8>| Codestream::open(file, 0..file.len() as u64, &ctx).unwrap();
    let (one, other) = (open(&plain), open(&packed));
    assert!(other.header().packed_headers);
    let [x0, y0, x1, y1] = one.header().size.image;
    for area in [
        [x0, y0, x1, y1],
        [x0 + 70, y0 + 60, x0 + 150, y0 + 110],
        [x1 - 9, y1 - 7, x1, y1],
    ] {
        for (reduction, layers) in [(0, 0), (1, 1), (3, 0)] {
            let wanted = Wanted {
                reduction,
                layers,
                area,
            };
            let [expected, found] = [(&one, &plain), (&other, &packed)]
                .map(|(codestream, file)| codestream.decode(file, &wanted, &ctx).unwrap().unwrap());
            assert!(found.is_of_openjpeg() || area != one.header().size.image);
            assert_eq!(found.complaints, Vec::<String>::new());
            assert!(planes(&found) == planes(&expected), "{wanted:?}");
        }
    }
}

#[test]
fn calls_at_the_same_time_share_their_blocks() {
    let file = encode(&Recipe {
        decompositions: 5,
        irreversible: true,
        ..Recipe::new(600, 400, 3, 8)
    });
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let store = Store::new(8 << 20);
    let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx)
        .unwrap()
        .with_store(&store);
    let all = Wanted {
        reduction: 0,
        layers: 0,
        area: [0, 0, 600, 400],
    };
    let expected = of_openjpeg(&file, &all, &ctx);
    std::thread::scope(|scope| {
        for number in 0..6u32 {
            let (codestream, file, ctx, expected) = (&codestream, &file, &ctx, &expected);
            scope.spawn(move || {
                let (left, top) = (number % 3 * 200, number / 3 * 200);
                let area = [left, top, left + 200, top + 200];
                let wanted = Wanted { area, ..all };
                let decoded = codestream.decode(file, &wanted, ctx).unwrap().unwrap();
                for (component, (width, _, samples)) in expected.iter().enumerate() {
                    let plane = decoded.plane(component).unwrap();
                    for (y, row) in plane.samples.chunks_exact(200).enumerate() {
                        let start = (top as usize + y) * *width as usize + left as usize;
                        assert!(row == &samples[start..start + 200]);
                    }
                }
            });
        }
    });
    drop(codestream);
    assert_eq!(store.bytes(), 0, "what is kept goes with its codestream");
    assert_eq!(Arc::strong_count(&store), 1);
}

#[test]
fn an_index_larger_than_the_store_is_made_once() {
    /// A file that counts what is read of it.
    struct Counted(Vec<u8>, AtomicUsize);

    impl ByteSource for Counted {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read_at(offset, buffer)
        }
    }

    let file = Counted(encode(&Recipe::new(300, 200, 1, 8)), AtomicUsize::new(0));
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    for (max_bytes, is_kept) in [(0, false), (1, true)] {
        let store = Store::new(max_bytes);
        let codestream = Codestream::open(&file, 0..file.len(), &ctx)
            .unwrap()
            .with_store(&store);
        let wanted = Wanted {
            reduction: 3,
            layers: 0,
            area: [0, 0, 300, 200],
        };
        let reads = [0, 1].map(|_| {
            let before = file.1.load(Ordering::Relaxed);
            let decoded = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
            assert!(!decoded.is_of_openjpeg());
            file.1.load(Ordering::Relaxed) - before
        });
        assert_eq!(store.bytes(), 0);
        // What is read again are the bytes of the blocks alone.
        let blocks = reads[1];
        assert_eq!(blocks == 1, is_kept, "{reads:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_codestreams_end_in_samples_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        style in 0u8..64,
    ) {
        let recipe = Recipe { style, layers: 2, tile: Some((48, 48)), ..Recipe::new(60, 50, 3, 8) };
        let mut file = encode(&recipe);
        for (at, value) in flips {
            let at = at.index(file.len());
            file[at] = value;
        }
        let services = PlainServices::default();
        let limits = Limits { max_bytes: 64 << 20, ..Limits::default() };
        let ctx = CallContext::new(limits, &services);
        let Ok(codestream) = Codestream::open(&file, 0..file.len() as u64, &ctx) else { return Ok(()) };
        let [x0, y0, x1, y1] = codestream.header().size.image;
        let wanted = Wanted { reduction: 0, layers: 0, area: [x0, y0, x1.min(x0 + 64), y1.min(y0 + 64)] };
        if codestream.memory(&wanted) < limits.max_bytes {
            // Whether it works does not matter here, only that it ends.
            let _ = codestream.decode(&file, &wanted, &ctx);
        }
    }
}
