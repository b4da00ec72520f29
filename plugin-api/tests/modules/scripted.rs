//! A decoder that does what the image tells it to: the lines of its "file" name an entry point and what
//! happens in it, as in `read: panic` or `open: unsupported`.

use std::sync::Arc;
use std::time::Duration;

// Whoever includes this file has the names of the crate in scope, as `iiphost_plugin_api` or as `crate`.
use super::*;

/// What the pixels of the picture are.
#[must_use]
pub(crate) fn sample(level: u32, x: u32, y: u32) -> u8 {
    (x.wrapping_mul(3) ^ y.wrapping_mul(5) ^ level) as u8
}

/// The shape of every scripted picture.
#[must_use]
pub(crate) fn shape() -> ImageInfo {
    let level = |width, height| LevelInfo {
        width,
        height,
        tile_width: 16,
        tile_height: 8,
        encoded: Some(EncodedFormat::Jpeg),
        computed: width < 64,
    };
    ImageInfo {
        format: "scripted".to_owned(),
        pages: vec![PageInfo {
            name: "page é".to_owned(),
            scale: 0.5,
            listed: true,
            levels: vec![level(64, 40), level(32, 20)],
            band_count: 1,
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: ColorModel::Grey,
            alpha: AlphaMode::None,
            ranges: vec![(0.0, 255.0)],
            resolution: Some(Resolution {
                x: 300.0,
                y: 150.0,
                unit: ResolutionUnit::Centimeter,
            }),
            quality_layers: 3,
        }],
        text: vec![("title".to_owned(), vec![0xff, 0])],
        warnings: vec!["a warning".to_owned()],
    }
}

/// Every kind of failure, by the name a script uses.
pub(crate) const KINDS: &[ErrorKind] = &[
    ErrorKind::Format,
    ErrorKind::Unsupported,
    ErrorKind::LimitExceeded,
    ErrorKind::Usage,
    ErrorKind::Io,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Cancelled,
    ErrorKind::Panicked,
    ErrorKind::Internal,
];

#[derive(Clone, Default)]
struct Script(String);

impl Script {
    fn action(&self, entry: &str) -> Option<&str> {
        self.0
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| *name == entry)
            .map(|(_, action)| action)
    }

    fn run(&self, entry: &str, ctx: Option<&CallContext<'_>>) -> Result<(), DecodeError> {
        let Some(action) = self.action(entry) else {
            return Ok(());
        };
        if action == "panic" {
            panic!("scripted panic in {entry}");
        }
        if let Some(kind) = KINDS.iter().find(|kind| kind.name() == action) {
            return Err(DecodeError::new(*kind, format!("scripted failure of {entry}")));
        }
        if action == "hang" {
            // Never looks whether it should stop.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        let Some(ctx) = ctx else {
            return Ok(());
        };
        match action {
            "wait" => loop {
                ctx.checkpoint()?;
                std::thread::sleep(Duration::from_millis(1));
            },
            "log" => {
                ctx.host.log(LogLevel::Error, entry);
                ctx.host.log(LogLevel::Warning, entry);
                ctx.host.log(LogLevel::Info, entry);
                ctx.host.log(LogLevel::Debug, "é");
                Ok(())
            }
            "log much" => {
                let line = "x".repeat(100_000);
                (0..1000).for_each(|_| ctx.host.log(LogLevel::Error, &line));
                Ok(())
            }
            "limits" => Err(DecodeError::limit(format!("{:?}", ctx.limits))),
            _ => Ok(()),
        }
    }
}

/// The decoder.
#[derive(Default)]
pub(crate) struct Scripted {
    settings: Vec<(String, String)>,
}

impl ImageDecoder for Scripted {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            id: "scripted".to_owned(),
            name: "Scripted".to_owned(),
            version: "1.2.3".to_owned(),
            license: "MIT OR Apache-2.0".to_owned(),
            formats: vec![FormatInfo::new("Script", "text/x-script", &["script", "scr"])],
            capabilities: vec![capability::ENCODED_TILES, capability::REGIONS, 4_000_000_000],
            options: vec![OptionSpec {
                name: "depth".to_owned(),
                kind: OptionKind::Integer,
                default: "1".to_owned(),
                description: "Nothing.".to_owned(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        if options.get("depth") == Some("panic") {
            panic!("scripted panic in configure");
        }
        if options.get("depth") == Some("wrong") {
            return Err(DecodeError::usage("option depth"));
        }
        self.settings = options
            .iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        Ok(())
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        let script = Script(String::from_utf8_lossy(head.bytes).into_owned());
        if let Err(error) = script.run("probe", None) {
            return Claim::none(error.to_string());
        }
        let level = match script.action("probe") {
            Some("exact") => ClaimLevel::Exact,
            Some("specific") => ClaimLevel::Specific,
            Some("generic") => ClaimLevel::Generic,
            _ => ClaimLevel::None,
        };
        Claim::new(level, format!("{} bytes, .{}", head.file_len, head.extension))
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        let len = usize::try_from(source.len()).map_err(|_| DecodeError::format("too long"))?;
        let mut text = vec![0; len];
        source.read_exact_at(0, &mut text)?;
        let script = Script(String::from_utf8_lossy(&text).into_owned());
        script.run("open", Some(ctx))?;
        let mut info = shape();
        let page = &mut info.pages[0];
        match script.action("info") {
            Some("lie") => page.levels[1].width = 65,
            Some("lie about levels") => page.levels = vec![page.levels[0]; 65],
            Some("lie about nothing") => page.levels.clear(),
            Some("lie about tiles") => page.levels[0].tile_width = 0,
            Some("lie about size") => (page.levels[0].width, page.levels[0].height) = (u32::MAX, u32::MAX),
            Some("lie about bands") => page.band_count = u32::MAX,
            Some("lie about pages") => info.pages.clear(),
            _ => {}
        }
        Ok(Box::new(ScriptedReader {
            script,
            source,
            info,
            settings: self.settings.clone(),
        }))
    }
}

struct ScriptedReader {
    script: Script,
    source: Arc<dyn ByteSource>,
    info: ImageInfo,
    settings: Vec<(String, String)>,
}

impl ImageReader for ScriptedReader {
    fn info(&self) -> &ImageInfo {
        if let Err(error) = self.script.run("info", None) {
            panic!("{error}");
        }
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        self.script.run("read", Some(ctx))?;
        let (page, _) = request.resolve(&self.info)?;
        let region = request.region;
        out.check(page, &region)?;
        for row in 0..region.height {
            for (col, byte) in (region.x..).zip(out.row_mut(row)) {
                *byte = sample(request.level, col, region.y + row);
            }
        }
        Ok(())
    }

    fn encoded_tile(&self, tile: TileId, ctx: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        self.script.run("encoded_tile", Some(ctx))?;
        let len = match self.script.action("encoded_tile") {
            Some("lie") => usize::try_from(ctx.limits.max_bytes).map_or(usize::MAX, |n| n + 1),
            Some("none") => return Ok(None),
            _ => 4,
        };
        Ok(Some(EncodedTile {
            format: EncodedFormat::Jpeg,
            width: 16,
            height: 8,
            bytes: vec![(tile.tile_col * 16 + tile.tile_row) as u8; len],
        }))
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        self.script.run("metadata", Some(ctx))?;
        if self.script.action("metadata") == Some("lie") {
            let len = usize::try_from(ctx.limits.max_bytes).map_or(usize::MAX, |n| n + 1);
            return Ok(Some(vec![0; len]));
        }
        Ok(match kind {
            MetadataKind::Icc => Some(format!("{:?}", self.settings).into_bytes()),
            MetadataKind::Xmp => self
                .source
                .local_path()
                .map(|path| path.to_string_lossy().into_owned().into_bytes()),
            MetadataKind::Exif => {
                let mut tail = [0; 8];
                let count = self
                    .source
                    .read_at(self.source.len().saturating_sub(4), &mut tail)?;
                Some(tail[..count].to_vec())
            }
            _ => None,
        })
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        if let Err(error) = self.script.run("estimate", None) {
            panic!("{error}");
        }
        Cost {
            bytes_read: 1,
            pixels_decoded: request.region.pixels(),
            memory_bytes: 3,
        }
    }
}

impl Drop for ScriptedReader {
    fn drop(&mut self) {
        if let Err(error) = self.script.run("drop", None) {
            panic!("{error}");
        }
    }
}
