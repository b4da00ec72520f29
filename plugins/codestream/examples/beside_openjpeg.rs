//! Decodes files with the engine and with OpenJPEG, tells whether the samples are the same, and the time both took.
//!
//! `beside_openjpeg FILE...`: the first codestream of each file, whole, at every reduction, with one and with all layers.

use std::error::Error;
use std::time::{Duration, Instant};

use iiphost_codestream::{Codestream, Decoded, Job, Splice, Wanted, decode};
use iiphost_plugin_api::{CallContext, Limits, PlainServices};

/// SOC and SIZ, which every codestream starts with.
const START: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        match bytes.windows(4).position(|window| window == START) {
            Some(start) => match compare(&bytes, start as u64) {
                Ok(outcome) => println!("{path}: {outcome}"),
                Err(error) => println!("{path}: error: {error}"),
            },
            None => println!("{path}: no codestream"),
        }
    }
    Ok(())
}

fn compare(file: &Vec<u8>, start: u64) -> Result<String, Box<dyn Error>> {
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let codestream = Codestream::open(file, start..file.len() as u64, &ctx)?;
    let header = codestream.header();
    let (mut own, mut openjpeg) = (Duration::ZERO, Duration::ZERO);
    for reduction in 0..=header.decompositions {
        for layers in [1, 0] {
            let wanted = Wanted {
                reduction,
                layers,
                area: header.size.image,
            };
            let began = Instant::now();
            let found = codestream.decode(file, &wanted, &ctx)?.ok_or("no tiles")?;
            if found.is_of_openjpeg() {
                return Ok(format!("left to OpenJPEG ({})", found.complaints.join("; ")));
            }
            own += began.elapsed();
            let mut splice = Splice::new(file);
            splice.push_bytes(&header.bytes);
            splice.push_range(header.tile_parts.clone());
            let job = Job {
                reduction,
                layers,
                area: wanted.area,
                threads: 1,
            };
            let began = Instant::now();
            let expected = decode(&splice, &job, &ctx)?;
            openjpeg += began.elapsed();
            if !expected.complaints.is_empty() {
                return Ok(format!("OpenJPEG complains: {}", expected.complaints.join("; ")));
            }
            if !(0..header.size.components.len()).all(|component| are_equal(&found, &expected, component)) {
                return Ok(format!("DIFFERENT at reduction {reduction} with {layers} layers"));
            }
        }
    }
    Ok(format!(
        "the same at {} reductions, {:.1} ms beside {:.1}",
        header.decompositions + 1,
        own.as_secs_f64() * 1e3,
        openjpeg.as_secs_f64() * 1e3
    ))
}

fn are_equal(a: &Decoded, b: &Decoded, component: usize) -> bool {
    match (a.plane(component), b.plane(component)) {
        (Some(a), Some(b)) => (a.width, a.height, a.samples) == (b.width, b.height, b.samples),
        (a, b) => a.is_none() && b.is_none(),
    }
}
