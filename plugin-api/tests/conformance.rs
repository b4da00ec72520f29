//! The test kit itself: a good decoder passes, and each check fails for the fault it is there for.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iiphost_plugin_api::conformance::{Check, Kit, Outcome};
use iiphost_plugin_api::*;

/// What is wrong with a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    NoLicense,
    BadDefault,
    ClaimsAll,
    ClaimsByExtension,
    OtherShape,
    WrongAspect,
    DarkLevel,
    FrameOfTile,
    LastTileEmpty,
    FillsGaps,
    ReadsOutside,
    SharedScratch,
    CutTile,
    LongMetadata,
    NoPixelLimit,
    TakesMemory,
    NeverAsks,
    StaysCancelled,
    PanicsAtTheEnd,
    AllocatesWhatIsSaid,
    Leaks,
}

/// Grey pictures: `TOY`, side of the square in two bytes, one byte that is added to every pixel, and
/// as many bytes as there are pixels.
struct Toy(Flaw);

struct ToyReader {
    flaw: Flaw,
    pixels: Vec<u8>,
    info: ImageInfo,
    scratch: AtomicU32,
    spoilt: AtomicBool,
}

const TILE: u32 = 16;

fn level(side: u32, encoded: bool) -> LevelInfo {
    LevelInfo {
        width: side,
        height: side,
        tile_width: TILE,
        tile_height: TILE,
        encoded: encoded.then_some(EncodedFormat::Jpeg),
        computed: !encoded,
    }
}

fn shape(side: u32) -> ImageInfo {
    ImageInfo {
        format: "Toy".into(),
        pages: vec![PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels: vec![level(side, true), level((side / 2).max(1), false)],
            band_count: 1,
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: ColorModel::Grey,
            alpha: AlphaMode::None,
            ranges: vec![],
            resolution: None,
            quality_layers: 1,
        }],
        text: vec![],
        warnings: vec![],
    }
}

static SHAPES: AtomicU32 = AtomicU32::new(0);

impl ImageDecoder for Toy {
    fn describe(&self) -> ModuleInfo {
        let default = if self.0 == Flaw::BadDefault { "many" } else { "7" };
        ModuleInfo {
            id: "toy".into(),
            name: "Toy".into(),
            version: "1".into(),
            license: if self.0 == Flaw::NoLicense { "" } else { "MIT" }.into(),
            formats: vec![FormatInfo::new("Toy", "image/x-toy", &["toy"])],
            capabilities: vec![capability::REGIONS, capability::ENCODED_TILES],
            options: vec![OptionSpec {
                name: "number".into(),
                kind: OptionKind::Integer,
                default: default.into(),
                description: "A number.".into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, _: &Options) -> Result<(), DecodeError> {
        Ok(())
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        let claimed = match self.0 {
            Flaw::ClaimsAll => true,
            Flaw::ClaimsByExtension => head.extension == "toy",
            _ => head.bytes.starts_with(b"TOY"),
        };
        if claimed {
            Claim::new(ClaimLevel::Exact, "TOY")
        } else {
            Claim::none("no TOY")
        }
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        let mut head = [0; 6];
        source.read_exact_at(0, &mut head)?;
        if !head.starts_with(b"TOY") {
            return Err(DecodeError::format("no TOY"));
        }
        let side = u32::from(u16::from_le_bytes([head[3], head[4]]));
        if side < 2 {
            return Err(DecodeError::format("too small"));
        }
        let count = u64::from(side) * u64::from(side);
        if self.0 == Flaw::AllocatesWhatIsSaid {
            std::hint::black_box(vec![1u8; (count as usize).min(1 << 30)]);
        } else if self.0 != Flaw::PanicsAtTheEnd && source.len() < 6 + count {
            return Err(DecodeError::format("too short"));
        }
        if self.0 == Flaw::TakesMemory {
            std::hint::black_box(vec![1u8; 64 << 20]);
        } else {
            ctx.limits.check_bytes(count)?;
        }
        let mut pixels = vec![0; count as usize];
        let read = source.read_exact_at(6, &mut pixels);
        if self.0 == Flaw::PanicsAtTheEnd {
            read.expect("a whole file");
        } else {
            read?;
        }
        for pixel in &mut pixels {
            *pixel = pixel.wrapping_add(head[5]);
        }
        let mut info = shape(side);
        match self.0 {
            Flaw::OtherShape => {
                info.pages[0].name = SHAPES.fetch_add(1, SeqCst).to_string();
            }
            Flaw::WrongAspect => info.pages[0].levels[1].height = 5,
            Flaw::Leaks => std::mem::forget(std::hint::black_box(vec![7u8; 512])),
            _ => {}
        }
        Ok(Box::new(ToyReader {
            flaw: self.0,
            pixels,
            info,
            scratch: AtomicU32::new(0),
            spoilt: AtomicBool::new(false),
        }))
    }
}

impl ToyReader {
    fn pixel(&self, level: u32, x: u32, y: u32) -> u8 {
        let side = self.info.pages[0].levels[0].width;
        let scale = 1 << level;
        let at = (y * scale * side + x * scale) as usize;
        let pixel = self.pixels.get(at).copied().unwrap_or(0);
        if level == 1 && self.flaw == Flaw::DarkLevel {
            pixel / 2
        } else {
            pixel
        }
    }
}

impl ImageReader for ToyReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        if self.flaw == Flaw::ReadsOutside && request.level < 2 && request.page == 0 {
            out.bytes_mut().fill(0);
        }
        match request.resolve(&self.info) {
            Err(_) if self.flaw == Flaw::ReadsOutside => return Ok(()),
            other => other?,
        };
        let region = request.region;
        if self.flaw != Flaw::NoPixelLimit {
            ctx.limits.check_pixels(region.pixels())?;
        }
        if self.flaw == Flaw::StaysCancelled && self.spoilt.load(SeqCst) {
            return Err(DecodeError::new(
                ErrorKind::Cancelled,
                "once cancelled, always cancelled",
            ));
        }
        if self.flaw == Flaw::FillsGaps {
            out.bytes_mut().fill(1);
        }
        let side = self.info.pages[0].levels[request.level as usize].width;
        for row in 0..region.height {
            if self.flaw != Flaw::NeverAsks {
                ctx.checkpoint()
                    .inspect_err(|_| self.spoilt.store(true, SeqCst))?;
            }
            let mut y = region.y + row;
            if self.flaw == Flaw::FrameOfTile {
                // Pixels of a tile, whatever the region in it.
                y = y - y % TILE + row % TILE;
            }
            if self.flaw == Flaw::SharedScratch {
                self.scratch.store(y, SeqCst);
                std::thread::sleep(Duration::from_micros(20));
                y = self.scratch.load(SeqCst);
            }
            let empty =
                self.flaw == Flaw::LastTileEmpty && region.right() == u64::from(side) && region.width < TILE;
            for (x, byte) in (region.x..).zip(out.row_mut(row)) {
                *byte = if empty { 0 } else { self.pixel(request.level, x, y) };
            }
        }
        Ok(())
    }

    fn encoded_tile(&self, tile: TileId, _: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        if tile.level != 0 {
            return Ok(None);
        }
        let level = &self.info.pages[0].levels[0];
        if tile.tile_col >= level.tile_cols() || tile.tile_row >= level.tile_rows() {
            return Err(DecodeError::usage("no such tile"));
        }
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xdb, 0, 3, 0];
        bytes.extend_from_slice(&[0xff, 0xc0, 0, 11, 8, 0, TILE as u8, 0, TILE as u8, 1, 1, 0x11, 0]);
        bytes.extend_from_slice(&[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x2a, 0xff, 0xd9]);
        if self.flaw == Flaw::CutTile {
            bytes.truncate(bytes.len() - 3);
        }
        Ok(Some(EncodedTile {
            format: EncodedFormat::Jpeg,
            width: TILE,
            height: TILE,
            bytes,
        }))
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        if kind != MetadataKind::Xmp {
            return Ok(None);
        }
        if self.flaw != Flaw::LongMetadata {
            ctx.limits.check_bytes(5)?;
        }
        Ok(Some(b"<xmp>".to_vec()))
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        Cost {
            bytes_read: 0,
            pixels_decoded: request.region.pixels(),
            memory_bytes: 0,
        }
    }
}

fn sample(side: u16) -> Vec<u8> {
    let mut bytes = b"TOY".to_vec();
    bytes.extend_from_slice(&side.to_le_bytes());
    bytes.push(100);
    for y in 0..side {
        // Another value in every row, so that a wrong row shows.
        bytes.extend((0..side).map(|x| (y.wrapping_mul(37) ^ x.wrapping_mul(3)) as u8));
    }
    bytes
}

fn kit(flaw: Flaw) -> Kit {
    Kit::new(move || Ok(Box::new(Toy(flaw))))
        .with_sample("small.toy", sample(21))
        .with_sample("large.toy", sample(150))
}

fn outcome(flaw: Flaw, id: &str) -> Outcome {
    kit(flaw).run(Check::find(id).expect(id))
}

/// The memory of the process belongs to one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_good_decoder_passes_every_check() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let report = kit(Flaw::None).run_all();
    report.assert_passed();
    for entry in &report.entries {
        assert_eq!(entry.outcome, Outcome::Pass, "{report}");
    }
    assert!(report.to_string().starts_with("seed 0x"));
}

#[test]
fn every_check_fails_for_its_fault() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (flaw, id, words) in [
        (Flaw::NoLicense, "describe", "license is empty"),
        (Flaw::BadDefault, "options", "default \"many\" of option number"),
        (
            Flaw::ClaimsAll,
            "no-false-claims",
            "empty file, extension \"\": claimed as exact",
        ),
        (
            Flaw::ClaimsByExtension,
            "no-false-claims",
            "extension \"toy\": claimed",
        ),
        (
            Flaw::ClaimsByExtension,
            "claims-samples",
            "not claimed without its extension",
        ),
        (Flaw::OtherShape, "info", "two shapes"),
        (
            Flaw::WrongAspect,
            "info",
            "10x5 does not have the aspect of 21x21",
        ),
        (Flaw::DarkLevel, "levels-alike", "the mean of level 1"),
        (Flaw::FrameOfTile, "region-is-crop", "differs from the read of"),
        (Flaw::LastTileEmpty, "tiles-cover", "differs from the read of"),
        (
            Flaw::FillsGaps,
            "row-stride",
            "the gap after row 0 was written to",
        ),
        (Flaw::ReadsOutside, "usage-errors", "does not exist, and is read"),
        (
            Flaw::SharedScratch,
            "parallel-is-serial",
            "differs from the read of",
        ),
        (Flaw::CutTile, "encoded-tiles", "no EOI at the end"),
        (
            Flaw::LongMetadata,
            "metadata-bounded",
            "5 bytes where 4 are allowed",
        ),
        (Flaw::NoPixelLimit, "pixel-limit", "pixels are read where"),
        (Flaw::TakesMemory, "byte-limit", "MiB of memory used, 4 allowed"),
        (
            Flaw::NeverAsks,
            "cancel",
            "was cancelled before it began gives pixels",
        ),
        (Flaw::NeverAsks, "deadline", "had no time left gives pixels"),
        (Flaw::StaysCancelled, "cancel", "is not read: cancelled"),
        (Flaw::PanicsAtTheEnd, "truncated", "panicked: a whole file"),
        (
            Flaw::AllocatesWhatIsSaid,
            "bit-flips",
            "MiB of memory used, 64 allowed",
        ),
        (Flaw::Leaks, "memory-growth", "KiB behind"),
    ] {
        match outcome(flaw, id) {
            Outcome::Fail(reason) => assert!(reason.contains(words), "{flaw:?}: {reason}"),
            other => panic!("{flaw:?} ends {id} with {other:?}"),
        }
    }
}

#[test]
fn a_failure_names_the_sample_and_the_seed() {
    let reason = match kit(Flaw::FrameOfTile)
        .with_seed(0x7b)
        .run(Check::find("region-is-crop").expect("a check"))
    {
        Outcome::Fail(reason) => reason,
        other => panic!("{other:?}"),
    };
    assert!(
        reason.starts_with("small.toy, page 0, level 0, seed 0x7b: region "),
        "{reason}"
    );
}

#[test]
fn without_samples_what_needs_them_is_skipped() {
    for id in ["info", "region-is-crop", "truncated"] {
        let bare = Kit::new(|| Ok(Box::new(Toy(Flaw::None))));
        let outcome = bare.run(Check::find(id).expect("a check"));
        assert_eq!(outcome, Outcome::Skipped("no sample files".into()));
    }
}
