//! Codestreams made to cost more than they weigh, and calls that get into each other's way.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, ErrorKind, HostServices, Limits, LogLevel, PlainServices,
};

use super::Declined;
use super::packet_index::IndexedTile;
use super::parameters::Parameters;
use crate::header::{Component, Size};
use crate::test_encoder::{Recipe, encode};
use crate::{Codestream, Store, Wanted};

/// Segments of a main header behind SOC: COD with one filter of whole numbers, and QCD for it.
fn segments(layers: u16, decompositions: u8, block: [u8; 2], precincts: &[u8]) -> Vec<u8> {
    let style = u8::from(!precincts.is_empty());
    let [high, low] = layers.to_be_bytes();
    let mut bytes = vec![0xff, 0x52, 0, 12 + precincts.len() as u8, style, 0, high, low, 0];
    bytes.extend([decompositions, block[0], block[1], 0, 1]);
    bytes.extend(precincts);
    let steps = 1 + 3 * usize::from(decompositions);
    bytes.extend([0xff, 0x5c, 0, 3 + steps as u8, 0x40]);
    bytes.extend(vec![0x48; steps]);
    bytes
}

fn size(side: u32, components: usize) -> Size {
    let component = Component {
        bit_depth: 8,
        signed: false,
        dx: 1,
        dy: 1,
    };
    Size {
        image: [0, 0, side, side],
        tile_origin: [0, 0],
        tile: [side, side],
        components: vec![component; components],
    }
}

/// Indexes the only tile of an image whose packets are `body`.
fn index(
    size: &Size,
    segments: &[u8],
    body: &[u8],
    limits: Limits,
    services: &dyn HostServices,
) -> Result<Result<IndexedTile, Declined>, DecodeError> {
    let main = Parameters::read(&[&[0xff, 0x4f], segments].concat(), size).unwrap();
    let part = [&[0xff, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x93][..], body].concat();
    let ctx = CallContext::new(limits, services);
    let range = 0..part.len() as u64;
    IndexedTile::read(&part, size, &main, 0, &[range], &ctx)
}

#[test]
fn packets_that_cannot_be_there_are_given_no_room() {
    let services = PlainServices::default();
    // Four million precincts of one sample in a file of some bytes: so little memory would not do.
    let limits = Limits {
        max_bytes: 1 << 20,
        ..Limits::default()
    };
    let found = index(
        &size(2000, 1),
        &segments(1, 0, [4, 4], &[0]),
        &[0; 9],
        limits,
        &services,
    );
    assert_eq!(found.unwrap().unwrap_err(), Declined("fewer bytes than packets"));
}

#[test]
fn an_index_larger_than_memory_is_refused_before_it_is_made() {
    let services = PlainServices::default();
    let limits = Limits {
        max_bytes: 64 << 20,
        ..Limits::default()
    };
    let kind = |size: &Size, segments: &[u8], body: &[u8]| {
        index(size, segments, body, limits, &services).unwrap_err().kind()
    };
    // By precincts, by blocks, by the bands of components.
    let precincts = segments(1, 0, [4, 4], &[0]);
    assert_eq!(
        kind(&size(1000, 1), &precincts, &vec![0; 1_000_000]),
        ErrorKind::LimitExceeded
    );
    let blocks = segments(1, 0, [0, 0], &[]);
    assert_eq!(kind(&size(10_000, 1), &blocks, &[0; 9]), ErrorKind::LimitExceeded);
    let bands = segments(1, 32, [4, 4], &[]);
    assert_eq!(kind(&size(9, 16_384), &bands, &[0; 9]), ErrorKind::LimitExceeded);
}

#[test]
fn chunks_count_as_memory_while_they_are_read() {
    let services = PlainServices::default();
    // Each block of 4x4 samples in a segment for each of two passes, all of them empty: 1 for the packet; for a block
    // 1 for both trees each, 10 for two passes, 0 and twice three bits for the lengths; below the roots of the trees
    // nothing is left to say.
    let mut segments = segments(1, 0, [0, 0], &[0x22]);
    segments[12] = 4;
    let body: Vec<u8> = std::iter::repeat_n([0b1111_0000, 0b0000_0000], 250_000)
        .flatten()
        .collect();
    let limits = |megabytes: u64| Limits {
        max_bytes: megabytes << 20,
        ..Limits::default()
    };
    let size = size(2000, 1);
    let tile = index(&size, &segments, &body, limits(4096), &services)
        .unwrap()
        .unwrap();
    assert!(
        tile.bytes() > 500_000 * size_of::<super::packet_index::Chunk>(),
        "{}",
        tile.bytes()
    );
    let error = index(&size, &segments, &body, limits(150), &services).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn blocks_that_get_nothing_are_work_too() {
    let services = PlainServices::with_time(Duration::from_millis(50));
    // A million blocks in one precinct; each packet of one byte goes over all of them and adds nothing.
    let segments = segments(1000, 0, [0, 0], &[]);
    let start = Instant::now();
    let error = index(
        &size(4096, 1),
        &segments,
        &[0x80; 2000],
        Limits::default(),
        &services,
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn orders_of_packets_are_not_endless() {
    let services = PlainServices::default();
    let volume = [0u8, 0, 0xff, 0xff, 1, 1, 2];
    for (count, outcome) in [(32u8, true), (33, false)] {
        let poc = [&[0xff, 0x5f, 0, 2 + 7 * count][..], &volume.repeat(count.into())].concat();
        let segments = [segments(3, 0, [4, 4], &[]), poc].concat();
        let read = Parameters::read(&[&[0xff, 0x4f], &segments[..]].concat(), &size(64, 1));
        assert_eq!(read.is_ok(), outcome);
        if outcome {
            // Three layers are there, whatever the order says: three packets of nothing.
            let found = index(&size(64, 1), &segments, &[0; 3], Limits::default(), &services);
            assert!(found.unwrap().is_ok());
        }
    }
}

#[test]
fn orders_of_packets_that_leave_some_out_are_left_to_openjpeg() {
    let services = PlainServices::default();
    // Resolution 0 of two alone.
    let poc = [0xff, 0x5f, 0, 9, 0, 0, 0, 1, 1, 1, 2];
    let segments = [&segments(1, 1, [4, 4], &[])[..], &poc].concat();
    let found = index(&size(64, 1), &segments, &[0; 9], Limits::default(), &services);
    assert_eq!(
        found.unwrap().unwrap_err(),
        Declined("an order of packets that leaves some out")
    );
}

#[test]
fn segments_cost_the_same_for_any_number_of_components() {
    let one = segments(1, 5, [4, 4], &[]);
    let many = one.repeat(50_000);
    let start = Instant::now();
    let header = [&[0xff, 0x4f], &many[..]].concat();
    let parameters = Parameters::read(&header, &size(9, 16_384)).unwrap();
    assert_eq!(parameters.component(16_383).unwrap().0.decompositions, 5);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn the_parameter_stated_nearest_counts() {
    let decompositions = |tile: &[u8]| {
        let coc = |n: u8| [0xff, 0x53, 0, 9, 1, 0, n, 4, 4, 0, 1];
        let main = [&[0xff, 0x4f][..], &coc(2), &segments(1, 1, [4, 4], &[]), &coc(3)].concat();
        let mut parameters = Parameters::read(&main, &size(64, 2)).unwrap();
        parameters.apply_tile(tile).unwrap();
        [0, 1].map(|component| parameters.component(component).unwrap().0.decompositions)
    };
    assert_eq!(decompositions(&[]), [1, 3]);
    assert_eq!(decompositions(&segments(1, 4, [4, 4], &[])), [4, 4]);
    assert_eq!(decompositions(&[0xff, 0x53, 0, 9, 0, 0, 5, 4, 4, 0, 1]), [5, 3]);
}

/// A file whose bytes come when they are let go, and a call that is cancelled after some questions.
struct Slow<'a> {
    file: &'a Vec<u8>,
    is_stopped: &'a AtomicBool,
}

impl ByteSource for Slow<'_> {
    fn len(&self) -> u64 {
        self.file.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        while self.is_stopped.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        self.file.read_at(offset, buffer)
    }
}

struct Cancelled(AtomicU32);

impl HostServices for Cancelled {
    fn is_cancelled(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }

    fn time_left(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn log(&self, _level: LogLevel, _message: &str) {}
}

fn whole(codestream: &Codestream) -> Wanted {
    Wanted {
        reduction: 0,
        layers: 0,
        area: codestream.header().size.image,
    }
}

fn samples(decoded: &crate::Decoded) -> Vec<Vec<i32>> {
    let planes = (0..).map_while(|component| decoded.plane(component));
    planes.map(|plane| plane.samples.to_vec()).collect()
}

#[test]
fn who_waits_for_an_index_can_go_away() {
    let file = encode(&Recipe::new(90, 70, 1, 8));
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx)
        .unwrap()
        .with_store(&Store::new(1 << 20));
    let is_stopped = AtomicBool::new(true);
    let slow = Slow {
        file: &file,
        is_stopped: &is_stopped,
    };
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let services = PlainServices::with_time(Duration::from_millis(100));
                    let ctx = CallContext::new(Limits::default(), &services);
                    let result = codestream.decode(&slow, &whole(&codestream), &ctx);
                    // Who waits for the disk cannot: it is told what comes too late.
                    is_stopped.store(false, Ordering::Release);
                    result.map(|_| ()).unwrap_err().kind()
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), ErrorKind::DeadlineExceeded);
        }
    });
    assert!(
        codestream
            .decode(&file, &whole(&codestream), &ctx)
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_call_that_is_cancelled_anywhere_leaves_nothing_wrong_behind() {
    let file = encode(&Recipe {
        tile: Some((64, 64)),
        block: (16, 16),
        ..Recipe::new(90, 70, 3, 8)
    });
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let open = || {
        let codestream = Codestream::open(&file, 0..file.len() as u64, &ctx).unwrap();
        codestream.with_store(&Store::new(1 << 20))
    };
    let codestream = open();
    let wanted = whole(&codestream);
    let expected = samples(&codestream.decode(&file, &wanted, &ctx).unwrap().unwrap());
    let mut questions = 0;
    loop {
        let codestream = open();
        let services = Cancelled(AtomicU32::new(questions));
        let result = codestream.decode(&file, &wanted, &CallContext::new(Limits::default(), &services));
        let after = codestream.decode(&file, &wanted, &ctx).unwrap().unwrap();
        assert!(
            !after.is_of_openjpeg() && samples(&after) == expected,
            "after {questions}"
        );
        match result {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
        }
        questions += 1;
    }
    // Between blocks, not between tiles alone.
    assert!(questions > 60, "{questions}");
}

#[test]
fn a_tile_part_that_lies_about_its_length_is_shown_as_far_as_it_goes() {
    let recipe = Recipe {
        layers: 3,
        ..Recipe::new(90, 70, 1, 8)
    };
    for tile in [None, Some((64, 64))] {
        let file = encode(&Recipe {
            tile,
            ..recipe.clone()
        });
        let mut file = file[..file.len() - 40].to_vec();
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let planes = |file: &Vec<u8>| {
            let codestream = Codestream::open(file, 0..file.len() as u64, &ctx).unwrap();
            let decoded = codestream
                .decode(file, &whole(&codestream), &ctx)
                .unwrap()
                .unwrap();
            assert!(decoded.is_of_openjpeg());
            assert_eq!(
                decoded.complaints.first().unwrap(),
                "its last tile-part is cut off"
            );
            samples(&decoded)
        };
        let expected = planes(&file);
        let last = file
            .windows(4)
            .rposition(|four| four == [0xff, 0x90, 0, 10])
            .unwrap();
        // The library would make room for two gigabytes.
        file[last + 6..last + 10].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(planes(&file) == expected);
    }
}
