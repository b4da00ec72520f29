//! Images for the tests of protocols.

use std::sync::Arc;
use std::time::SystemTime;

use iiphost_plugin_api::{AlphaMode, ColorModel, Region, Resolution, ResolutionUnit, SampleFormat};

use crate::error::Error;
use crate::image_info::{ImageInfo, Level, Page};
use crate::limits::{Limits, Size};
use crate::plan::plan;
use crate::protocol::iiif::{ExtraInfo, IiifSettings, TrustedProxies};
use crate::protocol::uri_map::UriMap;
use crate::protocol::{Images, OpenedImage, tile_grid};
use crate::server::{Method, Request, Transport};
use crate::view::{Frame, Output, OutputFormat, Processing, Turn, View};

/// A GET of a path over HTTP.
pub(super) fn request(path: &str) -> Request {
    Request {
        transport: Transport::Http,
        method: Method::Get,
        path: path.to_owned(),
        query: Vec::new(),
        body: Vec::new(),
        headers: vec![("host".into(), b"images.example.org".to_vec())],
        https: false,
        server_name: None,
        peer: Some(std::net::IpAddr::from([10, 0, 0, 1])),
    }
}

/// An RGB page with these levels.
pub(super) fn page_of(levels: &[(u32, u32)], tile_size: Size) -> Page {
    Page {
        name: String::new(),
        scale: 1.0,
        levels: levels
            .iter()
            .zip(0..)
            .map(|(&(width, height), decoder_level)| Level {
                size: Size::new(width, height),
                decoder_level,
                halvings: 0,
                stored_tile: tile_size,
                encoded: None,
            })
            .collect(),
        tile_size,
        band_count: 3,
        color_band_count: 3,
        sample_format: SampleFormat::U8,
        bit_depth: 8,
        signed: false,
        color_model: ColorModel::Rgb,
        alpha: AlphaMode::None,
        ranges: vec![(0.0, 255.0); 3],
        stated_ranges: Vec::new(),
        resolution: None,
        quality_layers: 1,
    }
}

/// Like [`page_of`], with one grey band.
pub(super) fn grey_page_of(levels: &[(u32, u32)], tile_size: Size) -> Page {
    Page {
        band_count: 1,
        color_band_count: 1,
        color_model: ColorModel::Grey,
        ranges: vec![(0.0, 255.0)],
        ..page_of(levels, tile_size)
    }
}

#[derive(Debug)]
pub(super) struct FakeImage {
    identifier: Vec<u8>,
    info: ImageInfo,
}

impl OpenedImage for Arc<FakeImage> {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    fn horizontal_views(&self) -> Vec<i64> {
        self.info.views.iter().map(|&view| view as i64).collect()
    }

    fn vertical_views(&self) -> Vec<i64> {
        vec![90]
    }

    fn xmp(&self) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(None)
    }
}

/// A set of images by identifier.
#[derive(Debug, Default)]
pub(super) struct FakeImages {
    images: Vec<Arc<FakeImage>>,
}

impl FakeImages {
    pub(super) fn add(&mut self, identifier: &str, pages: Vec<Page>, text: &[(&str, &str)]) {
        self.images.push(Arc::new(FakeImage {
            identifier: identifier.into(),
            info: ImageInfo {
                format: "TIFF".into(),
                views: (0..pages.len()).collect(),
                pages,
                text: text
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                modified: SystemTime::UNIX_EPOCH,
            },
        }));
    }
}

impl Images for FakeImages {
    type Image = Arc<FakeImage>;

    fn open(&self, identifiers: &[Vec<u8>]) -> Result<Self::Image, Error> {
        for identifier in identifiers {
            if identifier.iter().any(u8::is_ascii_control) {
                return Err(Error::bad_request("control characters in the identifier"));
            }
            if identifier == b"broken.tif" {
                return Err(Error::fault("tiff", "broken"));
            }
            if let Some(image) = self.images.iter().find(|image| image.identifier == *identifier) {
                return Ok(Arc::clone(image));
            }
        }
        Err(Error::not_found("no such image"))
    }

    fn view(
        &self,
        image: &Self::Image,
        horizontal: i64,
        _: Option<i64>,
    ) -> Result<(Self::Image, usize), Error> {
        let single = image.info.views.len() == 1;
        let page = if single {
            Some(0)
        } else {
            usize::try_from(horizontal).ok()
        };
        page.filter(|page| *page < image.info.pages.len())
            .map(|page| (Arc::clone(image), page))
            .ok_or_else(|| Error::not_found("no such view"))
    }
}

/// `test.tif` of 1000x700 with levels down to one tile, the same under difficult names, and others.
pub(super) fn test_images() -> FakeImages {
    let tile = Size::new(256, 256);
    let levels = [(1000, 700), (500, 350), (250, 175)];
    let page = Page {
        resolution: Some(Resolution {
            x: 10.0,
            y: 10.0,
            unit: ResolutionUnit::Centimeter,
        }),
        ..page_of(&levels, tile)
    };
    let mut images = FakeImages::default();
    for name in [
        "test.tif",
        "dir/a b.tif",
        "a+b.tif",
        "a b.tif",
        "p%ct.tif",
        "x.tif/full",
        "a_files/x.tif",
        "\u{e9}.tif",
    ] {
        images.add(name, vec![page.clone()], &[]);
    }
    images.add("flat.tif", vec![page_of(&[(1000, 700)], tile)], &[]);
    images.add("grey.tif", vec![grey_page_of(&levels, tile)], &[]);
    images.add(
        "stack.tif",
        vec![page, page_of(&[(600, 400)], tile), page_of(&[(100, 200)], tile)],
        &[("rights", "https://rightsstatements.org/vocab/InC/1.0/")],
    );
    images
}

/// Settings as they are without configuration, with every format.
pub(super) fn iiif_settings() -> IiifSettings {
    IiifSettings {
        version: 3,
        base_url: None,
        trusted_proxies: TrustedProxies::default(),
        delimiter: String::new(),
        extensions: false,
        extra_info: ExtraInfo::default(),
        copyright: None,
        formats: vec![
            OutputFormat::Jpeg,
            OutputFormat::Png,
            OutputFormat::WebP,
            OutputFormat::Avif,
            OutputFormat::Tiff,
        ],
        cors: true,
        limits: Limits::default(),
        uri_map: UriMap::default(),
    }
}

/// Asserts that the tiles of a level, each inside it, cover its every pixel once, and are planned at their size.
pub(super) fn assert_covered_once(page: &Page, level: Size) {
    let grid = tile_grid::grid(page, level);
    let side = tile_grid::tile_side(page);
    let rectangle = |col: u32, row: u32| {
        let frame = tile_grid::tile(page, level, col.into(), row.into(), false).expect("a tile of the grid");
        let (x, y, width, height) = match frame {
            Frame::Scaled { size, region } => {
                assert_eq!(size, level);
                (region.x, region.y, region.width, region.height)
            }
            Frame::Tile {
                level: stored,
                tile_col,
                tile_row,
            } => {
                assert_eq!(page.levels[stored].size, level);
                assert_eq!(page.tile_grid(stored), grid);
                let (x, y) = (tile_col * side, tile_row * side);
                (x, y, side.min(level.width - x), side.min(level.height - y))
            }
            Frame::Export { .. } => panic!("no tile: {frame:?}"),
        };
        let view = View {
            page: 0,
            frame,
            turn: Turn::NONE,
            processing: Processing::NONE,
            output: Output::new(OutputFormat::Jpeg),
            quality_layers: 0,
        };
        // Reducing a level far above the stored ones may decode more than one request is allowed to.
        let limits = Limits {
            max_decoded_pixels: u64::MAX,
            max_request_bytes: u64::MAX,
            ..Limits::default()
        };
        let made = plan(&view, page, &limits).expect("a tile of the grid can be made");
        assert_eq!(made.size, Size::new(width, height));
        (x, y, width, height)
    };
    // Columns and rows are independent, so covering both axes covers the area.
    let mut end = 0;
    for col in 0..grid.width {
        let (x, _, width, _) = rectangle(col, grid.height - 1);
        assert_eq!(x, end);
        assert!((1..=side).contains(&width));
        end = x + width;
    }
    assert_eq!(end, level.width);
    end = 0;
    for row in 0..grid.height {
        let (_, y, _, height) = rectangle(grid.width - 1, row);
        assert_eq!(y, end);
        assert!((1..=side).contains(&height));
        end = y + height;
    }
    assert_eq!(end, level.height);
    assert_eq!(tile_grid::tile(page, level, grid.width.into(), 0, false), None);
    assert_eq!(tile_grid::tile(page, level, 0, grid.height.into(), false), None);
}

/// A cell of the grid of a level.
pub(super) fn tile(level: usize, tile_col: u32, tile_row: u32) -> Frame {
    Frame::Tile {
        level,
        tile_col,
        tile_row,
    }
}

/// A rectangle of the whole page at a size.
pub(super) fn scaled(size: (u32, u32), x: u32, y: u32, width: u32, height: u32) -> Frame {
    Frame::Scaled {
        size: Size::new(size.0, size.1),
        region: Region::new(x, y, width, height),
    }
}
