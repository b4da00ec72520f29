//! The stages of a picture one by one, in one process and on one thread: what the server adds to them is what
//! the table of `make bench` shows beside its floors.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iiphost::encode::{self, Metadata, Settings};
use iiphost::limits::Size;
use iiphost::pipeline::{self, AlphaOut, BandsOut, Interpolation, OutputDepth, Work};
use iiphost::raster::{Raster, Samples};
use iiphost::view::{Processing, Turn};
use iiphost_plugin_api::{
    ByteSource, CallContext, DecodeError, ImageDecoder as _, Limits, PixelBuffer, PlainServices, ReadRequest,
    Region, SampleFormat,
};
use iiphost_tiff::TiffDecoder;
use support::fixture::{Compression, Layout, TiffFile};
use support::picture::Picture;

const TILE: u32 = 256;

struct Memory(Vec<u8>);

impl ByteSource for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| self.0.get(at..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn photograph(width: u32, height: u32) -> Picture {
    // Smooth waves compress too well to be measured with: the low bits of a product are as good as grain.
    let smooth = Picture::photograph(width, height, 3, 1);
    Picture::new(width, height, 3, |x, y, band| {
        let at = ((y * width + x) * 3 + band) as usize;
        let grain = (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ band)
            .wrapping_mul(0x2c1b_3c6d)
            >> 29;
        smooth.samples[at].saturating_add(grain as u8)
    })
}

fn decoding(c: &mut Criterion) {
    let picture = photograph(4 * TILE, 4 * TILE);
    let mut group = c.benchmark_group("decode a tile of 256²");
    group.throughput(Throughput::Elements(u64::from(TILE * TILE)));
    for (name, compression) in [
        ("uncompressed", Compression::None),
        ("deflate, predictor", Compression::Deflate { predictor: true }),
        ("jpeg", Compression::Jpeg(85)),
    ] {
        let layout = Layout {
            compression,
            ..Layout::default()
        };
        let file = TiffFile::pyramid(&picture, layout);
        let services = PlainServices::default();
        let limits = Limits {
            max_pixels: 1 << 24,
            max_bytes: 1 << 28,
            max_threads: 1,
        };
        let context = CallContext::new(limits, &services);
        let reader = TiffDecoder::default()
            .open(Arc::new(Memory(file.bytes)), &context)
            .expect("a good file");
        let request = ReadRequest {
            page: 0,
            level: 0,
            region: Region::new(TILE, TILE, TILE, TILE),
            quality_layers: 0,
        };
        let stride = (TILE * 3) as usize;
        let mut pixels = vec![0; stride * TILE as usize];
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut buffer =
                    PixelBuffer::new(&mut pixels, TILE, TILE, 3, SampleFormat::U8, stride).expect("a buffer");
                reader.read(&request, &mut buffer, &context).expect("a tile");
            });
        });
    }
    group.finish();
}

fn raster(width: u32, height: u32) -> Raster {
    let empty = Raster::zeros(Size::new(width, height), 3, SampleFormat::U8, 1 << 30).expect("memory");
    Raster {
        samples: Samples::U8(photograph(width, height).samples),
        ..empty
    }
}

fn encoding(c: &mut Criterion) {
    let raster = raster(TILE, TILE);
    let mut group = c.benchmark_group("encode a tile of 256²");
    group.throughput(Throughput::Elements(u64::from(TILE * TILE)));
    for (name, settings) in [
        ("jpeg 75", Settings::Jpeg { quality: 75 }),
        ("png 1", Settings::Png { level: 1 }),
        ("webp 50", Settings::WebP { quality: Some(50) }),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| encode::encode(&raster, &settings, &Metadata::default()).expect("a file"));
        });
    }
    group.finish();
}

fn resizing(c: &mut Criterion) {
    let raster = raster(2000, 1500);
    let mut group = c.benchmark_group("resize 2000×1500");
    group.throughput(Throughput::Elements(raster.size.pixels()));
    group.measurement_time(Duration::from_secs(3));
    for (name, size) in [
        ("to 1500×1125", Size::new(1500, 1125)),
        ("to 700×525", Size::new(700, 525)),
    ] {
        let work = Work {
            processing: &Processing::NONE,
            ranges: Vec::new(),
            statistics: None,
            inner: Region::new(0, 0, raster.size.width, raster.size.height),
            padded: raster.size,
            size,
            interpolation: Interpolation::Bilinear,
            turn: Turn::NONE,
            alpha: AlphaOut::Keep,
            bands: BandsOut::GreyOrRgb,
            depth: OutputDepth::Eight,
            inks: None,
            to_srgb: None,
            max_bytes: 1 << 30,
            deadline: None,
        };
        group.bench_function(name, |b| {
            b.iter_batched(
                || raster.clone(),
                |raster| pipeline::run(raster, &work).expect("a picture"),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(stages, decoding, encoding, resizing);
criterion_main!(stages);
