//! One open TIFF.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Cost, DecodeError, EncodedTile, ImageInfo, ImageReader, LevelInfo, MetadataKind, OpenContext,
    PageInfo, PixelBuffer, ReadContext, ReadRequest, TileId,
};

use crate::ifd::{Directory, Header, Structure};
use crate::metadata;
use crate::picture::{Input, Picture};
use crate::pyramid::{Page, Pyramid};
use crate::scratch::resized;
use crate::shape::Shape;
use crate::strip_cache::StripCache;
use crate::strip_stream::Streams;
use crate::tables::TableCache;
use crate::{encoded, ome};

/// Tile size reported for images in strips.
const STRIP_TILE_PX: u32 = 256;

/// A single level with more pixels than this is slow to show as a whole.
const LARGE_LEVEL_PIXELS: u64 = 4 << 20;

type Levels = Result<Vec<Arc<Picture>>, DecodeError>;

/// One open TIFF. Nothing in it changes but the caches, so calls need no lock between them.
pub(crate) struct TiffReader {
    source: Arc<dyn ByteSource>,
    header: Header,
    /// The first directory, whose metadata are those of the image.
    directory: Directory,
    /// Levels of each page, or why it cannot be shown.
    pages: Vec<Levels>,
    info: ImageInfo,
    tables: TableCache,
    strips: Arc<StripCache>,
    streams: Streams,
    id: u64,
}

impl TiffReader {
    /// Reads the directories of a file; `id` names the reader in the cache of strips.
    pub(crate) fn open(
        source: Arc<dyn ByteSource>,
        strips: Arc<StripCache>,
        id: u64,
        ctx: &OpenContext<'_>,
    ) -> Result<Self, DecodeError> {
        let mut structure = Structure::new(&*source)?;
        let header = structure.header();
        let Pyramid { pages, mut warnings } = Pyramid::read(&mut structure, ctx)?;
        let first = &pages[0];
        let text = metadata::text(&mut structure, &first.directory, ctx, &mut warnings);
        let mut page_infos = Vec::with_capacity(pages.len());
        for page in &pages {
            ctx.checkpoint()?;
            page_infos.push(page_info(&mut structure, page, pages.len() > 1));
        }
        if let Some((_, description)) = text.iter().find(|(name, _)| name == "description") {
            ome::apply(description, &mut page_infos);
        }
        if let Ok(levels) = &first.levels {
            warnings.extend(speed_hint(levels));
        }
        let info = ImageInfo {
            format: header.format_name().into(),
            pages: page_infos,
            text,
            warnings,
        };
        let directory = first.directory.clone();
        drop(structure);
        Ok(Self {
            source,
            header,
            directory,
            pages: pages.into_iter().map(|page| page.levels).collect(),
            info,
            tables: TableCache::default(),
            strips,
            streams: Streams::default(),
            id,
        })
    }

    fn input(&self) -> Input<'_> {
        Input {
            source: &*self.source,
            tables: &self.tables,
            strips: &self.strips,
            streams: &self.streams,
            reader: self.id,
        }
    }

    /// The picture of a level.
    fn picture(&self, page: u32, level: u32) -> Result<&Picture, DecodeError> {
        let missing = || DecodeError::usage(format!("page {page} has no level {level}"));
        match self.pages.get(page as usize).ok_or_else(missing)? {
            Ok(levels) => levels
                .get(level as usize)
                .map(|picture| &**picture)
                .ok_or_else(missing),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Drop for TiffReader {
    fn drop(&mut self) {
        self.strips.forget(self.id);
    }
}

impl ImageReader for TiffReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let (page, _) = request.resolve(&self.info)?;
        let picture = self.picture(request.page, request.level)?;
        out.check(page, &request.region)?;
        // What is kept from other reads may need no step on which the call could end.
        ctx.checkpoint()?;
        picture.read(self.input(), request.region, out, ctx)
    }

    fn encoded_tile(&self, tile: TileId, ctx: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        let picture = self.picture(tile.page, tile.level)?;
        let layout = &picture.layout;
        let Some(format) = encoded::format(layout, picture.shape.alpha) else {
            return Ok(None);
        };
        if tile.tile_col >= layout.block_cols() || tile.tile_row >= layout.block_rows() {
            return Err(DecodeError::usage(format!(
                "tile ({}, {}) wanted, the level has {}x{}",
                tile.tile_col,
                tile.tile_row,
                layout.block_cols(),
                layout.block_rows()
            )));
        }
        ctx.checkpoint()?;
        let (offset, len) = picture.block_place(self.input(), tile.tile_col, tile.tile_row, 0)?;
        if len == 0 {
            return Ok(None);
        }
        ctx.limits.check_bytes(len)?;
        let len = usize::try_from(len).map_err(|_| DecodeError::limit("a tile larger than memory"))?;
        let mut block = Vec::new();
        self.source.read_exact_at(offset, resized(&mut block, len)?)?;
        // The cell exists, so it begins inside the picture.
        let inside = (
            layout
                .block_width
                .min(layout.width - tile.tile_col * layout.block_width),
            layout
                .block_height
                .min(layout.height - tile.tile_row * layout.block_height),
        );
        encoded::tile(layout, format, inside, block)
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let mut structure = Structure::with_header(&*self.source, self.header);
        let block = metadata::block(&mut structure, &self.directory, kind, ctx)?;
        if let Some(block) = &block {
            ctx.limits.check_bytes(block.len() as u64)?;
        }
        Ok(block)
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        // A request that names nothing costs nothing: `read` refuses it.
        let Ok(picture) = request
            .resolve(&self.info)
            .and_then(|_| self.picture(request.page, request.level))
        else {
            return Cost::default();
        };
        let (bytes_read, pixels_decoded, memory_bytes) = picture.cost(&request.region);
        Cost {
            bytes_read,
            pixels_decoded,
            memory_bytes,
        }
    }
}

fn page_info(structure: &mut Structure<'_>, page: &Page, named: bool) -> PageInfo {
    let directory = &page.directory;
    let name = match named && page.listed {
        true => metadata::page_name(structure, directory),
        false => String::new(),
    };
    // A page that cannot be shown keeps its number; reading it gives the reason.
    let first = page.levels.as_ref().ok().map(|levels| &levels[0]);
    let shape = first.map_or(Shape::UNKNOWN, |picture| picture.shape);
    let of_integers = first.and_then(|picture| picture.layout.range_of_wide_integers());
    let levels = match &page.levels {
        Ok(levels) => levels.iter().map(|picture| level_info(picture)).collect(),
        Err(_) => vec![LevelInfo {
            width: 1,
            height: 1,
            tile_width: 1,
            tile_height: 1,
            encoded: None,
            computed: false,
        }],
    };
    PageInfo {
        name,
        scale: metadata::scale(structure, directory).unwrap_or(1.0),
        listed: page.listed,
        levels,
        band_count: shape.band_count,
        sample_format: shape.sample_format,
        bit_depth: shape.bit_depth,
        signed: shape.signed,
        color_model: shape.color_model,
        alpha: shape.alpha,
        ranges: metadata::ranges(structure, directory, &shape, of_integers),
        resolution: metadata::resolution(structure, directory),
        quality_layers: 1,
    }
}

fn level_info(picture: &Picture) -> LevelInfo {
    let layout = &picture.layout;
    let (tile_width, tile_height) = match layout.tiled {
        true => (layout.block_width, layout.block_height),
        false => (STRIP_TILE_PX, STRIP_TILE_PX),
    };
    LevelInfo {
        width: layout.width,
        height: layout.height,
        tile_width,
        tile_height,
        encoded: encoded::format(layout, picture.shape.alpha),
        computed: false,
    }
}

/// What would make an image faster to serve.
fn speed_hint(levels: &[Arc<Picture>]) -> Option<String> {
    let layout = &levels.first()?.layout;
    let pixels = u64::from(layout.width) * u64::from(layout.height);
    if !layout.tiled && pixels > u64::from(STRIP_TILE_PX).pow(2) {
        return Some("stored in strips: a tiled pyramid would be faster".into());
    }
    (levels.len() == 1 && pixels > LARGE_LEVEL_PIXELS)
        .then(|| "stored without smaller levels: a pyramid would be faster".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, Values, open, open_source, read_level, read_region, write};
    use iiphost_plugin_api::{AlphaMode, CallContext, ColorModel, ErrorKind, Limits, PlainServices, Region};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// One small file for every way of storing pixels.
    fn samples() -> Vec<Image> {
        let mut images = Vec::new();
        for compression in [1, 5, 7, 8, 32773, 50000] {
            images.push(Image::new(40, 24, 3, 8).compressed(compression));
            images.push(Image::new(40, 24, 1, 8).compressed(compression).in_strips(10));
        }
        images.push(Image::new(40, 24, 3, 8).compressed(7).photometric(6));
        images.push(Image::new(40, 24, 2, 12).compressed(5).predicted(2));
        images.push(Image {
            planar: true,
            ..Image::new(40, 24, 3, 16).compressed(8).predicted(2)
        });
        let palette = Values::Short((0..768).collect());
        images.push(Image::new(40, 24, 1, 8).photometric(3).tag(320, palette));
        let mut ycbcr = Image::new(40, 24, 3, 8).photometric(6).tiled(16, 16);
        ycbcr.blocks = Some(vec![vec![90; 16 * 16 * 3 / 2]; 6]);
        images.push(ycbcr);
        let mut planes = Image::new(40, 24, 4, 16)
            .photometric(6)
            .compressed(8)
            .tiled(16, 16);
        planes.planar = true;
        let block = planes.block_of(&[90; 16 * 16 * 2]);
        planes.blocks = Some(vec![block; 6 * 4]);
        images.push(planes.tag(530, Values::Short(vec![2, 2])));
        let palette = Values::Short((0..768).collect());
        images.push(Image::new(40, 24, 2, 8).photometric(3).tag(320, palette));
        images.push(Image::new(40, 24, 3, 8).compressed(34925));
        let mut float = Image::new(40, 24, 1, 32).compressed(8).predicted(3);
        float.sample_format = 3;
        images.push(float);
        let mut pyramid = Image::new(40, 24, 1, 8);
        pyramid.sub_images = vec![Image::new(20, 12, 1, 8).subfile(1)];
        images.push(pyramid.tag(270, Values::Ascii("<OME><Pixels PhysicalSizeX=\"1\">")));
        images
    }

    /// Opens a file and reads and asks for everything in it.
    fn exercise(file: Vec<u8>) {
        let services = PlainServices::with_time(Duration::from_secs(2));
        let limits = Limits {
            max_pixels: 1 << 22,
            max_bytes: 1 << 24,
            max_threads: 1,
        };
        let ctx = CallContext::new(limits, &services);
        let decoder = crate::TiffDecoder::default();
        let Ok(reader) = iiphost_plugin_api::ImageDecoder::open(&decoder, Arc::new(file), &ctx) else {
            return;
        };
        for (page_idx, page) in reader.info().pages.iter().enumerate().take(4) {
            for (level_idx, level) in page.levels.iter().enumerate() {
                let (width, height) = (level.width.min(50), level.height.min(50));
                for region in [
                    Region::new(0, 0, width, height),
                    Region::new(level.width - width / 2 - 1, level.height - 1, width / 2 + 1, 1),
                ] {
                    let request = ReadRequest {
                        page: page_idx as u32,
                        level: level_idx as u32,
                        region,
                        quality_layers: 0,
                    };
                    reader.estimate(&request);
                    let row = region.width as usize * page.band_count as usize * page.sample_format.bytes();
                    let mut bytes = vec![0; row * region.height as usize];
                    let mut buffer = PixelBuffer::new(
                        &mut bytes,
                        region.width,
                        region.height,
                        page.band_count,
                        page.sample_format,
                        row,
                    )
                    .unwrap();
                    // Whether it works does not matter here, only that it ends.
                    let _ = reader.read(&request, &mut buffer, &ctx);
                }
                for (tile_col, tile_row) in [(0, 0), (level.tile_cols() - 1, level.tile_rows() - 1)] {
                    let tile = TileId {
                        page: page_idx as u32,
                        level: level_idx as u32,
                        tile_col,
                        tile_row,
                    };
                    let _ = reader.encoded_tile(tile, &ctx);
                }
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
        for (idx, image) in samples().into_iter().enumerate() {
            let file = write(
                &[image],
                [ByteOrder::Little, ByteOrder::Big][idx % 2],
                idx % 3 == 0,
            );
            let start = Instant::now();
            let steps = file.len() / 150 + 1;
            for len in (0..file.len()).rev().step_by(steps).chain(0..32) {
                exercise(file[..len.min(file.len())].to_vec());
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "file {idx} took {:?}",
                start.elapsed()
            );
        }
    }

    #[test]
    fn flipped_bits_end_in_an_error_or_in_pixels() {
        let seed = std::env::var("TIFF_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0x5eed_u64);
        println!("TIFF_SEED={seed}");
        let mut state = seed | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for (idx, image) in samples().into_iter().enumerate() {
            let file = write(
                &[image],
                [ByteOrder::Big, ByteOrder::Little][idx % 2],
                idx % 3 == 1,
            );
            for _ in 0..150 {
                let mut broken = file.clone();
                for _ in 0..1 + random(3) {
                    // Half of the hits go to the directory at the end.
                    let from = if random(2) == 0 {
                        0
                    } else {
                        file.len().saturating_sub(300)
                    };
                    let at = from + random(file.len() - from);
                    match random(3) {
                        0 => broken[at] ^= 1 << random(8),
                        1 => broken[at] = 0xff,
                        _ => broken[at] = 0,
                    }
                }
                exercise(broken);
            }
        }
    }

    #[test]
    fn lying_headers_are_refused_with_what_was_found() {
        let base = || Image::new(40, 24, 1, 8).tiled(16, 16);
        let short = |v: u16| Values::Short(vec![v]);
        let long = |v: u32| Values::Long(vec![v]);
        for (image, kind, part) in [
            (base().tag(322, short(0)), ErrorKind::Format, "TileWidth is 0"),
            (base().tag(323, long(0)), ErrorKind::Format, "TileLength is 0"),
            (base().tag(256, long(0)), ErrorKind::Format, "ImageWidth is 0"),
            (
                base().tag(256, long(u32::MAX)),
                ErrorKind::Format,
                "ImageWidth is 4294967295",
            ),
            (
                base().tag(256, long(0x7fff_ffff)),
                ErrorKind::Format,
                "a table of 6 entries",
            ),
            (
                base().tag(322, long(1)).tag(323, long(1)),
                ErrorKind::Format,
                "for 960 tiles",
            ),
            (base().tag(258, short(0)), ErrorKind::Format, "0 bits"),
            (base().tag(258, short(33)), ErrorKind::Unsupported, "33 bits"),
            (
                Image::new(40, 24, 3, 8).tag(258, Values::Short(vec![5, 6, 5])),
                ErrorKind::Unsupported,
                "BitsPerSample differs between samples",
            ),
            (base().tag(259, short(50002)), ErrorKind::Unsupported, "JPEG XL"),
            (base().tag(277, short(0)), ErrorKind::Format, "0 samples"),
            (
                base().tag(259, short(6)),
                ErrorKind::Unsupported,
                "old-style JPEG",
            ),
            (base().tag(259, short(34661)), ErrorKind::Unsupported, "JBIG"),
            (
                base().tag(259, short(9999)),
                ErrorKind::Unsupported,
                "compression 9999",
            ),
            (
                base().tag(262, short(32803)),
                ErrorKind::Unsupported,
                "color filter array",
            ),
            (base().tag(262, short(3)), ErrorKind::Format, "ColorMap"),
            (base().tag(262, short(2)), ErrorKind::Format, "Rgb with 1 samples"),
            (base().tag(339, short(5)), ErrorKind::Unsupported, "complex"),
            (
                base().tag(284, short(3)),
                ErrorKind::Format,
                "PlanarConfiguration",
            ),
            (
                base().in_strips(8).tag(278, long(0)),
                ErrorKind::Format,
                "RowsPerStrip is 0",
            ),
            (base().tag(324, Values::Ascii("x")), ErrorKind::Format, "type 2"),
        ] {
            let error = match open(write(&[image], ByteOrder::Little, false)) {
                Err(error) => error,
                Ok(_) => panic!("opened, expected {part}"),
            };
            assert!(error.message().contains(part), "{error}, expected {part}");
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn huge_tiles_and_bombs_meet_the_limits() {
        let mut image = Image::new(40, 24, 1, 8).tiled(16, 16).compressed(8);
        let zeros = vec![0; 60_000 * 60];
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut bomb = vec![0; compressor.zlib_compress_bound(zeros.len())];
        let len = compressor.zlib_compress(&zeros, &mut bomb).unwrap();
        bomb.truncate(len);
        image.blocks = Some(vec![bomb; 6]);
        let reader = open(write(&[image.clone()], ByteOrder::Little, false)).unwrap();
        assert_eq!(read_level(&*reader, 0, 0).unwrap_err().kind(), ErrorKind::Format);
        let huge = image
            .tag(322, Values::Long(vec![0x7fff_fff0]))
            .tag(323, Values::Long(vec![0x7fff_fff0]));
        let reader = open(write(&[huge], ByteOrder::Little, false)).unwrap();
        let error = read_level(&*reader, 0, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }

    #[test]
    fn a_cancelled_or_late_call_stops() {
        let reader = open(write(
            &[Image::new(64, 64, 1, 8).compressed(8)],
            ByteOrder::Little,
            false,
        ))
        .unwrap();
        let services = PlainServices::with_time(Duration::ZERO);
        let ctx = CallContext::new(Limits::default(), &services);
        let mut bytes = vec![0; 64 * 64];
        let mut buffer =
            PixelBuffer::new(&mut bytes, 64, 64, 1, iiphost_plugin_api::SampleFormat::U8, 64).unwrap();
        let request = ReadRequest {
            page: 0,
            level: 0,
            region: Region::new(0, 0, 64, 64),
            quality_layers: 0,
        };
        let error = reader.read(&request, &mut buffer, &ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }

    #[test]
    fn ycbcr_and_lab_multiplied_by_opacity_are_refused() {
        for photometric in [6, 8, 9, 10] {
            let image = Image::new(8, 8, 4, 8).photometric(photometric);
            let file = |code| {
                let image = image.clone().tag(338, Values::Short(vec![code]));
                open(write(&[image], ByteOrder::Little, false))
            };
            assert!(file(2).is_ok(), "{photometric}");
            let error = file(1).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("multiplied by its opacity"), "{error}");
        }
    }

    #[test]
    fn alpha_follows_extra_samples_or_the_number_of_bands() {
        use AlphaMode::{Associated, None as Opaque, Unassociated};
        use ColorModel::{Cmyk, Grey, Multiband, Rgb};
        let extra = |codes: &[u16]| Some(codes.to_vec());
        for (bands, photometric, codes, model, alpha) in [
            (4, 2, extra(&[1]), Rgb, Associated),
            (4, 2, extra(&[2]), Rgb, Unassociated),
            (4, 2, extra(&[0]), Rgb, Opaque),
            (4, 2, None, Rgb, Unassociated),
            (3, 2, None, Rgb, Opaque),
            (2, 1, None, Grey, Unassociated),
            (2, 1, extra(&[0]), Grey, Opaque),
            (5, 1, extra(&[0, 0, 0, 0]), Multiband, Opaque),
            (5, 1, extra(&[0, 0, 0, 2]), Multiband, Unassociated),
            (3, 1, extra(&[0, 0]), Multiband, Opaque),
            (5, 5, extra(&[1]), Cmyk, Associated),
            (4, 5, None, Cmyk, Opaque),
        ] {
            let mut image = Image::new(8, 8, bands, 8).photometric(photometric);
            if let Some(codes) = codes.clone() {
                image = image.tag(338, Values::Short(codes));
            }
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            let page = &reader.info().pages[0];
            let found = (page.color_model, page.alpha, page.band_count);
            assert_eq!(
                found,
                (model, alpha, bands),
                "{bands} bands, {photometric}, {codes:?}"
            );
        }
    }

    #[test]
    fn metadata_is_carried_as_it_is() {
        let image = Image::new(8, 8, 1, 16)
            .tag(34675, Values::Undefined(b"profile data".to_vec()))
            .tag(700, Values::Undefined(b"<x:xmpmeta/>".to_vec()))
            .tag(33723, Values::Long(vec![0x0200_021c, 0x0000_0000]))
            .tag(270, Values::Ascii("a description"))
            .tag(315, Values::Ascii("somebody"))
            .tag(282, Values::Rational(vec![(600, 2)]))
            .tag(283, Values::Rational(vec![(150, 1)]))
            .tag(296, Values::Short(vec![3]))
            .tag(37439, Values::Double(vec![2.5]))
            .tag(341, Values::Short(vec![4095]));
        let reader = open(write(&[image], ByteOrder::Big, false)).unwrap();
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let block = |kind| reader.metadata(kind, &ctx).unwrap();
        assert_eq!(block(MetadataKind::Icc).unwrap(), b"profile data");
        assert_eq!(block(MetadataKind::Xmp).unwrap(), b"<x:xmpmeta/>");
        assert_eq!(block(MetadataKind::Iptc).unwrap(), [0x1c, 2, 0, 2, 0, 0, 0, 0]);
        assert_eq!(block(MetadataKind::Exif), None);
        let info = reader.info();
        let text = |name: &str| {
            info.text
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_slice())
        };
        assert_eq!(text("description"), Some(&b"a description"[..]));
        assert_eq!(text("creator"), Some(&b"somebody"[..]));
        assert_eq!(text("scale"), Some(&b"2.5"[..]));
        let page = &info.pages[0];
        let resolution = page.resolution.unwrap();
        assert_eq!((resolution.x, resolution.y), (300.0, 150.0));
        assert_eq!(resolution.unit, iiphost_plugin_api::ResolutionUnit::Centimeter);
        assert_eq!((page.scale, page.ranges.as_slice()), (2.5, &[(0.0, 4095.0)][..]));
    }

    #[test]
    fn integers_of_64_bits_keep_their_range() {
        let half = (2.0_f64).powi(63);
        for (format, range) in [(1, (0.0, 2.0 * half)), (2, (-half, half))] {
            let mut image = Image::new(5, 4, 2, 64);
            image.sample_format = format;
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            assert_eq!(reader.info().pages[0].ranges, [range; 2]);
        }
    }

    /// A file of mostly nothing, which counts what is read of it.
    struct Sparse {
        head: Vec<u8>,
        len: u64,
        read: AtomicU64,
    }

    impl ByteSource for Sparse {
        fn len(&self) -> u64 {
            self.len
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
            let count = buffer.len().min(self.len.saturating_sub(offset) as usize);
            self.read.fetch_add(count as u64, Ordering::Relaxed);
            buffer[..count].fill(0);
            if let Some(rest) = self.head.get(offset as usize..) {
                let known = rest.len().min(count);
                buffer[..known].copy_from_slice(&rest[..known]);
            }
            Ok(count)
        }
    }

    #[test]
    fn opening_a_hundred_gigapixels_reads_little_and_takes_little_time() {
        // 316,228 pixels square in tiles of 256: 1.5 million tiles, 11 levels, tables of zeros.
        let mut head = b"II\x2b\0\x08\0\0\0".to_vec();
        head.extend(16_u64.to_le_bytes());
        let mut table = 1 << 20;
        let mut side = 316_228_u64;
        while side >= 256 {
            let tiles = side.div_ceil(256).pow(2);
            let tags: [(u16, u16, u64, u64); 10] = [
                (256, 4, 1, side),
                (257, 4, 1, side),
                (258, 3, 1, 8),
                (259, 3, 1, 8),
                (262, 3, 1, 1),
                (277, 3, 1, 1),
                (322, 3, 1, 256),
                (323, 3, 1, 256),
                (324, 16, tiles, table),
                (325, 16, tiles, table + 8 * tiles),
            ];
            table += 16 * tiles;
            head.extend(10_u64.to_le_bytes());
            for (tag, kind, count, value) in tags {
                head.extend(tag.to_le_bytes());
                head.extend(kind.to_le_bytes());
                head.extend(count.to_le_bytes());
                head.extend(value.to_le_bytes());
            }
            side /= 2;
            let next = if side >= 256 { head.len() as u64 + 8 } else { 0 };
            head.extend(next.to_le_bytes());
        }
        let source = Arc::new(Sparse {
            head,
            len: 1 << 34,
            read: AtomicU64::new(0),
        });
        let start = Instant::now();
        let reader = open_source(source.clone()).unwrap();
        let time = start.elapsed();
        let read = source.read.load(Ordering::Relaxed);
        println!("open: {time:?}, {read} bytes");
        assert_eq!(reader.info().pages[0].levels.len(), 11);
        assert!(read < 100_000, "{read} bytes read");
        // A millisecond when nothing else runs.
        assert!(time < Duration::from_millis(250), "{time:?}");
        let corner = Region::new(316_000, 316_000, 228, 228);
        assert_eq!(read_region(&*reader, 0, 0, corner).unwrap(), vec![0; 228 * 228]);
        assert!(source.read.load(Ordering::Relaxed) < 120_000);
    }
}
