//! Any bytes as a codestream: what the engine gives is what OpenJPEG gives, in the memory that was told.
//!
//! `cargo +nightly fuzz run beside_openjpeg -- -rss_limit_mb=512` in `plugins/jpeg2000`; the environment is that of
//! `open_and_read`. Only codestreams that OpenJPEG takes without a complaint are compared: what is not sound may be
//! shown differently.
#![no_main]

use std::time::Duration;

use iiphost_codestream::{Codestream, Decoded, Job, Splice, Store, Wanted, decode};
use iiphost_plugin_api::{CallContext, Limits, PlainServices};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let file = file.to_vec();
    let services = PlainServices::with_time(Duration::from_secs(5));
    let limits = Limits {
        max_pixels: 1 << 20,
        max_bytes: 1 << 26,
        max_threads: 1,
    };
    let ctx = CallContext::new(limits, &services);
    let store = Store::new(1 << 20);
    let Ok(codestream) = Codestream::open(&file, 0..file.len() as u64, &ctx) else {
        return;
    };
    let codestream = codestream.with_store(&store);
    let header = codestream.header();
    let [x0, y0, x1, y1] = header.size.image;
    let (width, height) = (x1 - x0, y1 - y0);
    let areas = [
        [x0, y0, x1.min(x0.saturating_add(300)), y1.min(y0.saturating_add(300))],
        [x0 + width / 3, y0 + height / 2, x1.min(x0 + width / 3 + 40), y1.min(y0 + height / 2 + 40)],
    ];
    for area in areas {
        for (reduction, layers) in [(0, 0), (1, 1), (header.decompositions, 0)] {
            if reduction <= header.decompositions {
                compare(&file, &codestream, &Wanted { reduction, layers, area }, &ctx);
            }
        }
    }
    assert!(store.bytes() <= 1 << 20);
});

fn compare(file: &Vec<u8>, codestream: &Codestream, wanted: &Wanted, ctx: &CallContext<'_>) {
    if codestream.memory(wanted) > ctx.limits.max_bytes {
        return;
    }
    let Ok(Some(found)) = codestream.decode(file, wanted, ctx) else {
        return;
    };
    // Of an area inside a high-throughput codestream OpenJPEG gives other pixels than of the whole.
    if codestream.header().high_throughput {
        return;
    }
    let count = codestream.header().size.components.len();
    let is_empty = |plane: usize| found.plane(plane).is_none_or(|plane| plane.samples.is_empty());
    // An area without samples of a component is an error to OpenJPEG.
    if found.is_of_openjpeg() || (0..count).any(is_empty) {
        return;
    }
    let mut splice = Splice::new(file);
    splice.push_range(0..file.len() as u64);
    let job = Job {
        reduction: wanted.reduction,
        layers: wanted.layers,
        area: wanted.area,
        threads: 1,
    };
    let Ok(expected) = decode(&splice, &job, ctx) else {
        return;
    };
    if expected.complaints.is_empty() {
        (0..count).for_each(|component| assert_same(&found, &expected, component, wanted));
    }
}

fn assert_same(found: &Decoded, expected: &Decoded, component: usize, wanted: &Wanted) {
    let samples = |decoded: &Decoded| {
        decoded
            .plane(component)
            .map(|plane| (plane.width, plane.height, plane.samples.to_vec()))
    };
    assert!(
        samples(found) == samples(expected),
        "component {component} of {wanted:?} differs"
    );
}
