//! What a call into a module costs, in nanoseconds: one pixel, read again and again from the first level of
//! an image, through the loaded library alone and as a request does it, with limits, counted and watched.
//!
//! `cargo run --release -p iiphost --example call_overhead -- LIBRARY IMAGE`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use iiphost::decoder::{CallScope, Handles, Module, Origin, Registry, Usage};
use iiphost::limits::Limits;
use iiphost::source::{FileSource, Root};
use iiphost_plugin_api::{
    CallContext, Limits as CallLimits, PixelBuffer, PlainServices, ReadRequest, Region, host,
};

const CALLS: u32 = 200_000;
const ROUNDS: usize = 9;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, library, image] = arguments.as_slice() else {
        anyhow::bail!("call_overhead LIBRARY IMAGE");
    };
    let start = Instant::now();
    let loaded = host::load(Path::new(library))?;
    println!(
        "loading the library: {:.0} µs",
        start.elapsed().as_secs_f64() * 1e6
    );

    let file = std::fs::File::open(image)?;
    let len = file.metadata()?.len();
    let services = PlainServices::default();
    let ctx = CallContext::new(CallLimits::default(), &services);
    let alone = loaded.decoder.open(Arc::new(FileSource::new(file, len)), &ctx)?;
    let page = alone.info().pages.first().context("no page")?.clone();

    let path = Path::new(image);
    let folder = path.parent().context("no folder")?;
    let name = path.file_name().context("no name")?;
    let registry = Arc::new(Registry::new(vec![Module {
        info: loaded.info,
        path: library.into(),
        origin: Origin::Listed,
        abi: loaded.abi_version,
        load_time: Duration::ZERO,
        decoder: loaded.decoder,
        usage: Usage::default(),
    }]));
    let handles = Handles::new(Arc::new(Root::new(folder)?), registry, 10, None);
    let (limits, scope) = (Limits::default(), CallScope::with_time(Duration::from_secs(3600)));
    let identifier = name.as_encoded_bytes();
    let opened = handles
        .open(identifier, Path::new(name), &limits, &scope)?
        .context("no image")?;

    let request = ReadRequest {
        page: 0,
        level: 0,
        region: Region::new(0, 0, 1, 1),
        quality_layers: 0,
    };
    let mut bytes = [0u8; 64];
    let stride = page.band_count as usize * page.sample_format.bytes();
    let mut out = PixelBuffer::new(&mut bytes, 1, 1, page.band_count, page.sample_format, stride)?;
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            alone.read(&request, &mut out, &ctx)?;
        }
        times[0].push(start.elapsed().as_secs_f64() / f64::from(CALLS) * 1e9);
        let start = Instant::now();
        for _ in 0..CALLS {
            opened.read(&request, &mut out, &limits, 1, &scope)?;
        }
        times[1].push(start.elapsed().as_secs_f64() / f64::from(CALLS) * 1e9);
    }
    for (what, times) in ["through the library", "as a request does it"]
        .iter()
        .zip(&mut times)
    {
        times.sort_by(f64::total_cmp);
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        println!("{what}: {median:.0} ns a call (median of {ROUNDS} rounds of {CALLS} calls)");
    }
    Ok(())
}
