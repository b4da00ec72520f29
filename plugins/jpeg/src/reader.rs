//! One open JPEG.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iiphost_plugin_api::{
    AlphaMode, ByteSource, ColorModel, Cost, DecodeError, ImageInfo, ImageReader, LevelInfo, MetadataKind,
    OpenContext, PageInfo, PixelBuffer, ReadContext, ReadRequest, Region, SampleFormat,
};

use crate::average::Averager;
use crate::codec::TakeRow;
use crate::coefficients;
use crate::header::{Coding, Header};
use crate::metadata::Metadata;
use crate::once::Once;
use crate::orientation::Orientation;
use crate::picture::{MAX_HALVINGS, Picture, band_count};

/// Tile size reported: a JPEG has none of its own.
const TILE_PX: u32 = 256;

/// The largest level kept decoded, for the smaller ones: that of a picture of 37,000 x 37,000 pixels.
const MAX_KEPT_BYTES: u64 = 16 << 20;

/// Where the end of image is looked for.
const TAIL_BYTES: usize = 4096;

/// A picture of several scans with more pixels than this is slow to show for the first time.
const LARGE_PICTURE_PIXELS: u64 = 4 << 20;

/// One open JPEG. Nothing in it changes but what it has found out, so calls need no lock between them.
pub(crate) struct JpegReader {
    source: Arc<dyn ByteSource>,
    header: Header,
    content: Content,
    /// How levels are turned; `UPRIGHT` unless orientation is applied.
    orientation: Orientation,
    info: ImageInfo,
    /// The level after [`MAX_HALVINGS`], as stored.
    small: Once<Vec<u8>>,
    warned: AtomicBool,
}

/// Where the coefficients are.
enum Content {
    /// In the file.
    Stored(Box<Picture>),
    /// In several scans, which the first read joins.
    Scans(Once<Picture>),
}

impl JpegReader {
    /// Opens a file; with `upright` its pages are turned as EXIF says.
    ///
    /// # Errors
    /// `Format`, `Unsupported`, `Io`.
    pub(crate) fn open(
        source: Arc<dyn ByteSource>,
        upright: bool,
        ctx: &OpenContext<'_>,
    ) -> Result<Self, DecodeError> {
        let header = Header::read(&*source, ctx)?;
        let summary = Metadata::new(&*source, &header.kept).summary()?;
        let mut warnings = Vec::new();
        if !ends(&*source)? {
            warnings.push("no end of image at the end of the file: it may be cut off".into());
        }
        let frame = &header.frame;
        let content = match header.scan.whole(frame, &header.tables)? {
            Some(scan) => Content::Stored(Box::new(Picture::new(
                Arc::clone(&source),
                scan,
                &header,
                &header.tables,
            )?)),
            None => {
                if u64::from(frame.width) * u64::from(frame.height) > LARGE_PICTURE_PIXELS {
                    warnings.push(
                        "stored in several scans: a baseline JPEG or a tiled TIFF would be faster".into(),
                    );
                }
                Content::Scans(Once::default())
            }
        };
        let orientation = match upright {
            true => Orientation::from_tag(summary.orientation),
            false => Orientation::UPRIGHT,
        };
        let mut text = summary.text;
        // A picture turned here is not to be turned again.
        if !upright && matches!(summary.orientation, 2..=8) {
            text.push(("orientation".into(), summary.orientation.to_string().into_bytes()));
        }
        let resolution = summary.resolution.map(|resolution| {
            let (x, y) = orientation.size((resolution.x, resolution.y));
            iiphost_plugin_api::Resolution { x, y, ..resolution }
        });
        let page = PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels: levels(orientation.size((frame.width, frame.height))),
            band_count: band_count(header.coding),
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: match header.coding {
                Coding::Grey => ColorModel::Grey,
                Coding::YCbCr | Coding::Rgb => ColorModel::Rgb,
                Coding::Cmyk | Coding::Ycck => ColorModel::Cmyk,
            },
            alpha: AlphaMode::None,
            ranges: Vec::new(),
            resolution,
            quality_layers: 1,
        };
        let info = ImageInfo {
            format: if frame.progressive {
                "progressive JPEG"
            } else {
                "JPEG"
            }
            .into(),
            pages: vec![page],
            text,
            warnings,
        };
        Ok(Self {
            source,
            header,
            content,
            orientation,
            info,
            small: Once::default(),
            warned: AtomicBool::new(false),
        })
    }

    /// Runs `work` with the picture, joined from its scans if it has several.
    fn with_picture<R>(
        &self,
        ctx: &ReadContext<'_>,
        work: impl FnOnce(&Picture) -> Result<R, DecodeError>,
    ) -> Result<R, DecodeError> {
        match &self.content {
            Content::Stored(picture) => work(picture),
            Content::Scans(once) => {
                let picture = once.get_or_make(ctx, || {
                    let joined = coefficients::join(&*self.source, &self.header, ctx)?;
                    if let Some(damage) = &joined.damage {
                        self.warn(ctx, damage);
                    }
                    Picture::new(Arc::new(joined.data), joined.scan, &self.header, &joined.tables)
                })?;
                work(&picture)
            }
        }
    }

    /// Logs damage, the first time it is met.
    fn warn(&self, ctx: &ReadContext<'_>, damage: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            ctx.warn(&format!("a damaged JPEG is shown as far as it goes: {damage}"));
        }
    }

    /// Width and height of a level as stored.
    fn stored_size(&self, level: u32) -> (u32, u32) {
        let half = |side: u32| side.checked_shr(level).unwrap_or(0).max(1);
        (half(self.header.frame.width), half(self.header.frame.height))
    }

    /// Gives the rows of a region of a level as stored to `take`, with their number from 0.
    fn rows(
        &self,
        level: u32,
        region: Region,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        if level <= MAX_HALVINGS {
            let damaged = self.with_picture(ctx, |picture| picture.rows(level, region, ctx, take))?;
            if damaged {
                self.warn(ctx, "some of its data is damaged or missing");
            }
            return Ok(());
        }
        let bands = band_count(self.header.coding);
        let size = self.stored_size(MAX_HALVINGS + 1);
        let bytes = u64::from(size.0) * u64::from(size.1) * u64::from(bands);
        if bytes > MAX_KEPT_BYTES {
            return self.averaged(level, region, ctx, take);
        }
        let small = self.small.get_or_make(ctx, || {
            ctx.limits.check_bytes(bytes)?;
            let mut small = Vec::with_capacity(bytes as usize);
            let whole = Region::new(0, 0, size.0, size.1);
            self.averaged(MAX_HALVINGS + 1, whole, ctx, &mut |_, row| {
                small.extend_from_slice(row);
                Ok(())
            })?;
            Ok(small)
        })?;
        let stride = size.0 as usize * bands as usize;
        let side = 1 << (level - MAX_HALVINGS - 1);
        let from = Averager::source(side, region, size);
        let mut averager = Averager::new(side, region.width, bands);
        let mut number = 0;
        for (y, row) in small
            .chunks_exact(stride)
            .enumerate()
            .skip(from.y as usize)
            .take(from.height as usize)
        {
            let row = &row[from.x as usize * bands as usize..(from.x + from.width) as usize * bands as usize];
            let is_last = y as u64 + 1 == from.bottom();
            averager.add(row, is_last, &mut |out| {
                number += 1;
                take(number - 1, out)
            })?;
        }
        Ok(())
    }

    /// As [`rows`](Self::rows) for a small level, from the smallest one that the inverse DCT gives.
    fn averaged(
        &self,
        level: u32,
        region: Region,
        ctx: &ReadContext<'_>,
        take: &mut TakeRow<'_>,
    ) -> Result<(), DecodeError> {
        let side = 1 << (level - MAX_HALVINGS);
        let from = Averager::source(side, region, self.stored_size(MAX_HALVINGS));
        let mut averager = Averager::new(side, region.width, band_count(self.header.coding));
        let mut count = 0;
        self.rows(MAX_HALVINGS, from, ctx, &mut |number, row| {
            averager.add(row, number + 1 == from.height, &mut |out| {
                count += 1;
                take(count - 1, out)
            })
        })
    }
}

impl ImageReader for JpegReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let (page, level) = request.resolve(&self.info)?;
        let region = request.region;
        out.check(page, &region)?;
        if self.orientation == Orientation::UPRIGHT {
            return self.rows(request.level, region, ctx, &mut |number, row| {
                out.row_mut(number).copy_from_slice(row);
                Ok(())
            });
        }
        let stored = self.orientation.stored(region, (level.width, level.height));
        let bands = page.band_count as usize;
        self.rows(request.level, stored, ctx, &mut |number, row| {
            for (col, pixel) in (0..).zip(row.chunks_exact(bands)) {
                let (x, y) = self
                    .orientation
                    .place((col, number), (region.width, region.height));
                let start = x as usize * bands;
                out.row_mut(y)[start..start + bands].copy_from_slice(pixel);
            }
            Ok(())
        })
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        Metadata::new(&*self.source, &self.header.kept).block(kind, ctx)
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        // A request that names nothing costs nothing: `read` refuses it.
        if request.resolve(&self.info).is_err() {
            return Cost::default();
        }
        let frame = &self.header.frame;
        let level = request.level.min(MAX_HALVINGS);
        // Of small levels the whole picture is decoded once.
        let pixels = if request.level > MAX_HALVINGS {
            let (width, height) = self.stored_size(MAX_HALVINGS);
            u64::from(width) * u64::from(height)
        } else {
            request.region.pixels()
        };
        let all = u64::from(frame.width) * u64::from(frame.height);
        let part = (pixels << (2 * level)) as f64 / all as f64;
        let scans = match &self.content {
            Content::Scans(once) if once.get().is_none() => {
                2 * all * u64::from(band_count(self.header.coding))
            }
            _ => 0,
        };
        Cost {
            bytes_read: if scans > 0 {
                self.source.len()
            } else {
                (self.source.len() as f64 * part.min(1.0)) as u64
            },
            pixels_decoded: pixels,
            memory_bytes: scans + (1 << 20),
        }
    }
}

/// The levels of a picture: halves, rounded down, until one tile holds it.
fn levels((mut width, mut height): (u32, u32)) -> Vec<LevelInfo> {
    let mut levels = Vec::new();
    loop {
        levels.push(LevelInfo {
            width,
            height,
            tile_width: TILE_PX,
            tile_height: TILE_PX,
            encoded: None,
            computed: !levels.is_empty(),
        });
        if width <= TILE_PX && height <= TILE_PX {
            return levels;
        }
        (width, height) = ((width / 2).max(1), (height / 2).max(1));
    }
}

/// Whether there is an end of image near the end of a file.
fn ends(source: &dyn ByteSource) -> Result<bool, DecodeError> {
    let mut tail = [0; TAIL_BYTES];
    let count = source.read_at(source.len().saturating_sub(TAIL_BYTES as u64), &mut tail)?;
    Ok(tail[..count].windows(2).any(|bytes| bytes == [0xff, 0xd9]))
}

#[cfg(test)]
mod tests {
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
            let reader = open(file.clone(), "ignore").unwrap();
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
        let reader = JpegReader::open(Arc::new(file), false, ctx).unwrap();
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
            levels(size)
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
        let reader = open(file.clone(), "ignore").unwrap();
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
    fn orientation_is_told_or_applied() {
        let make = Make::new(300, 270, 3);
        let plain = make.file();
        let stored = with_ctx(|ctx| {
            let reader = open(plain.clone(), "ignore").unwrap();
            read(&*reader, 1, Region::new(0, 0, 150, 135), ctx).unwrap()
        });
        for value in 1..=8_u16 {
            let exif = [
                b"Exif\0\0".to_vec(),
                exif_block(value % 2 == 0, value, "Some one"),
            ]
            .concat();
            let file = with_segment(&plain, 0xe1, &exif);
            let ignored = open(file.clone(), "ignore").unwrap();
            let text = &ignored.info().text;
            assert_eq!(text.iter().any(|(name, _)| name == "orientation"), value > 1);
            assert!(text.contains(&("creator".into(), b"Some one".to_vec())));
            assert_eq!(ignored.info().pages[0].levels[1].width, 150);
            let applied = open(file, "apply").unwrap();
            let level = applied.info().pages[0].levels[1];
            let (width, height) = (level.width, level.height);
            assert_eq!((width, height), if value > 4 { (135, 150) } else { (150, 135) });
            let turned =
                with_ctx(|ctx| read(&*applied, 1, Region::new(3, 5, width - 10, height - 20), ctx)).unwrap();
            for y in 0..height - 20 {
                for x in 0..width - 10 {
                    let (right, down) = (x + 3, y + 5);
                    // The stored pixel by EXIF's own words, row and column apart.
                    let (col, row) = match value {
                        1 => (right, down),
                        2 => (149 - right, down),
                        3 => (149 - right, 134 - down),
                        4 => (right, 134 - down),
                        5 => (down, right),
                        6 => (down, 134 - right),
                        7 => (149 - down, 134 - right),
                        _ => (149 - down, right),
                    };
                    let (from, to) = (
                        (row * 150 + col) as usize * 3,
                        (y * (width - 10) + x) as usize * 3,
                    );
                    assert_eq!(turned[to..to + 3], stored[from..from + 3], "{value} at {x}, {y}");
                }
            }
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
        let Ok(reader) = JpegReader::open(Arc::new(file), true, &ctx) else {
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
            let reader = open(file[..file.len() / 2].to_vec(), "ignore").unwrap();
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
            let reader = open(make.file(), "ignore").unwrap();
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
            let reader = open(file, "ignore").unwrap();
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
        let samples = |file| with_ctx(|ctx| read(&*open(file, "ignore").unwrap(), 0, whole, ctx)).unwrap();
        let (with, without) = (samples(file.clone()), samples(bare));
        assert!(with.iter().zip(&without).all(|(&a, &b)| a == 255 - b));
        let reader = open(file, "ignore").unwrap();
        assert_eq!(reader.info().pages[0].color_model, ColorModel::Cmyk);
    }
}
