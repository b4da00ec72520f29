//! One open image.

use std::ops::Range;
use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Cost, DecodeError, ImageInfo, ImageReader, LevelInfo, MetadataKind, OpenContext, PageInfo,
    PixelBuffer, ReadContext, ReadRequest, Region,
};

use iiphost_codestream::{Codestream, Cursor, MainHeader, Store};

use crate::boxes::{Container, Family};
use crate::color::Bands;
use crate::exif;
use crate::levels::{TILE_PX, levels};
use crate::picture::Picture;

/// Pixels decoded in one piece: larger regions are cut, so that memory stays small and a call that is no
/// longer wanted ends soon.
const PIECE_PIXELS: u64 = 8 << 20;

/// Sides of the pieces of a larger region, whole tiles.
const PIECE_PX: (u32, u32) = (8192, 1024);

/// Longest comment shown.
const MAX_COMMENT_BYTES: usize = 200;

/// One open image. Nothing in it changes but the index of tile-parts, so calls need no lock between them.
pub(crate) struct Jpeg2000Reader {
    source: Arc<dyn ByteSource>,
    picture: Picture,
    info: ImageInfo,
    xmp: Option<Range<u64>>,
    exif: Option<Range<u64>>,
    iptc: Option<Range<u64>>,
}

impl Jpeg2000Reader {
    /// Reads the headers of a file.
    pub(crate) fn open(
        source: Arc<dyn ByteSource>,
        store: &Arc<Store>,
        ctx: &OpenContext<'_>,
    ) -> Result<Self, DecodeError> {
        let container = Container::read(&*source, ctx)?;
        let codestream = Codestream::open(&*source, container.codestream.clone(), ctx)?.with_store(store);
        let main = codestream.header();
        let Container {
            family,
            header,
            mut warnings,
            xmp,
            exif,
            iptc,
            ..
        } = container;
        let bands = Bands::new(&header, &main.size, &mut warnings)?;
        let levels = levels(&main.size, main.decompositions);
        if levels.iter().any(|level| level.halvings > 0) {
            warnings.push(format!(
                "stored with {} decompositions: more would be faster",
                main.decompositions
            ));
        }
        let page = PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels: levels
                .iter()
                .map(|level| LevelInfo {
                    width: level.width(),
                    height: level.height(),
                    tile_width: TILE_PX,
                    tile_height: TILE_PX,
                    encoded: None,
                    computed: level.halvings > 0,
                })
                .collect(),
            // A codestream has at most 16384 components, a palette 255 columns.
            band_count: bands.channels.len() as u32,
            sample_format: bands.sample_format(),
            bit_depth: bands.bit_depth,
            signed: bands.signed,
            color_model: bands.color_model,
            alpha: bands.alpha,
            ranges: Vec::new(),
            resolution: header.resolution,
            quality_layers: main.layers,
        };
        let software = comment(main).map(|text| ("software".to_owned(), text));
        let orientation = exif
            .clone()
            .and_then(|block| exif::orientation(&*source, block))
            .map(|stated| ("orientation".to_owned(), stated.to_string().into_bytes()));
        let info = ImageInfo {
            format: format_name(family, main).into(),
            pages: vec![page],
            text: software.into_iter().chain(orientation).collect(),
            warnings,
        };
        Ok(Self {
            picture: Picture::new(Arc::clone(&source), codestream, bands, levels),
            source,
            info,
            xmp,
            exif,
            iptc,
        })
    }

    /// The layers of a request, with one number for all ways to say all of them.
    fn layers(&self, request: &ReadRequest) -> u32 {
        if request.quality_layers >= self.picture.header().layers {
            0
        } else {
            request.quality_layers
        }
    }
}

impl ImageReader for Jpeg2000Reader {
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
        out.check(page, &request.region)?;
        let missing = || DecodeError::usage(format!("there is no level {}", request.level));
        let level = self
            .picture
            .levels
            .get(request.level as usize)
            .ok_or_else(missing)?;
        let layers = self.layers(request);
        let region = request.region;
        ctx.limits.check_pixels(region.pixels())?;
        if region.pixels() > PIECE_PIXELS {
            for piece in pieces(&region) {
                self.picture
                    .decode(level, piece, layers, ctx)?
                    .copy_to(&region, out);
            }
            return Ok(());
        }
        self.picture
            .decode(level, region, layers, ctx)?
            .copy_to(&region, out);
        Ok(())
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let range = match kind {
            MetadataKind::Icc => return Ok(self.picture.bands.icc.clone()),
            MetadataKind::Xmp => &self.xmp,
            MetadataKind::Exif => &self.exif,
            MetadataKind::Iptc => &self.iptc,
            _ => return Ok(None),
        };
        let Some(range) = range else { return Ok(None) };
        ctx.checkpoint()?;
        let len = range.end - range.start;
        ctx.limits.check_bytes(len)?;
        let mut block = Cursor::new(&*self.source, range.clone()).take_vec(len)?;
        if kind == MetadataKind::Exif && block.starts_with(&exif::PREFIX) {
            block.drain(..exif::PREFIX.len());
        }
        Ok(Some(block))
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        // A request that names nothing costs nothing: `read` refuses it.
        let level = self.picture.levels.get(request.level as usize);
        match (request.resolve(&self.info), level) {
            (Ok(_), Some(level)) => self.picture.cost(level, &request.region),
            _ => Cost::default(),
        }
    }
}

/// Cuts a region at a grid of pieces.
fn pieces(region: &Region) -> Vec<Region> {
    let mut pieces = Vec::new();
    let next = |at: u64, step: u32, end: u64| ((at / u64::from(step) + 1) * u64::from(step)).min(end);
    let mut y = u64::from(region.y);
    while y < region.bottom() {
        let bottom = next(y, PIECE_PX.1, region.bottom());
        let mut x = u64::from(region.x);
        while x < region.right() {
            let right = next(x, PIECE_PX.0, region.right());
            // Inside the region, whose sides are u32.
            pieces.push(Region::new(
                x as u32,
                y as u32,
                (right - x) as u32,
                (bottom - y) as u32,
            ));
            x = right;
        }
        y = bottom;
    }
    pieces
}

fn format_name(family: Family, main: &MainHeader) -> &'static str {
    match (family, main.high_throughput) {
        (Family::Codestream, false) => "JPEG 2000 codestream",
        (Family::Codestream, true) => "HTJ2K codestream",
        (Family::Jp2, _) => "JP2",
        (Family::Jpx, _) => "JPX",
        (Family::Jph, _) => "JPH",
    }
}

/// The encoder's own comment: the first that is one line of text.
fn comment(main: &MainHeader) -> Option<Vec<u8>> {
    let plain = |text: &&Vec<u8>| {
        !text.is_empty()
            && text.len() <= MAX_COMMENT_BYTES
            && text.iter().all(|&b| b == b' ' || b.is_ascii_graphic())
    };
    main.comments.iter().find(plain).cloned()
}

#[cfg(test)]
mod tests;
