//! Images in memory for the tests of this module.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use crate::error::Error;
use crate::image_info::{ImageInfo, Level, Page};
use crate::limits::Size;
use crate::protocol::{Images, OpenedImage};

/// An RGB page of 8 bits, tiles of 256 pixels, levels halved downwards.
pub(crate) fn page(width: u32, height: u32, levels: usize) -> Page {
    let tile_size = Size::new(256, 256);
    Page {
        name: String::new(),
        scale: 1.0,
        levels: (0..levels as u32)
            .map(|level| Level {
                size: Size::new((width >> level).max(1), (height >> level).max(1)),
                decoder_level: level,
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

/// A grey page of 8 bits.
pub(crate) fn grey_page(width: u32, height: u32, levels: usize) -> Page {
    Page {
        band_count: 1,
        color_band_count: 1,
        color_model: ColorModel::Grey,
        ranges: vec![(0.0, 255.0)],
        ..page(width, height, levels)
    }
}

/// An opened image.
#[derive(Debug)]
pub(crate) struct FakeImage {
    pub(crate) identifier: Vec<u8>,
    pub(crate) info: ImageInfo,
    pub(crate) horizontal: Vec<i64>,
    pub(crate) vertical: Vec<i64>,
    pub(crate) xmp: Option<Arc<[u8]>>,
    /// Files of a sequence by their angles; empty for other images.
    pub(crate) members: BTreeMap<(i64, i64), Arc<FakeImage>>,
}

impl FakeImage {
    /// An image of these pages; several are a stack.
    pub(crate) fn new(identifier: &str, pages: Vec<Page>) -> Self {
        let views: Vec<usize> = (0..pages.len()).collect();
        Self {
            identifier: identifier.into(),
            horizontal: views.iter().map(|view| *view as i64).collect(),
            vertical: vec![90],
            info: ImageInfo {
                format: "TIFF".to_owned(),
                pages,
                views,
                text: Vec::new(),
                modified: SystemTime::UNIX_EPOCH,
            },
            xmp: None,
            members: BTreeMap::new(),
        }
    }

    /// The image with texts.
    pub(crate) fn with_text(mut self, text: &[(&str, &[u8])]) -> Self {
        self.info.text = text.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect();
        self
    }

    /// A sequence of files of one page each.
    pub(crate) fn sequence(identifier: &str, angles: &[(i64, i64)], page: &Page) -> Self {
        let mut horizontal: Vec<i64> = angles.iter().filter(|a| a.1 == 90).map(|a| a.0).collect();
        let mut vertical: Vec<i64> = angles.iter().filter(|a| a.0 == 0).map(|a| a.1).collect();
        horizontal.sort_unstable();
        vertical.sort_unstable();
        let member = |(h, v): (i64, i64)| {
            let name = format!("{identifier}_pyr_{h:03}_{v:03}.tif");
            ((h, v), Arc::new(Self::new(&name, vec![page.clone()])))
        };
        Self {
            horizontal,
            vertical,
            members: angles.iter().copied().map(member).collect(),
            ..Self::new(identifier, vec![page.clone()])
        }
    }
}

impl OpenedImage for Arc<FakeImage> {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    fn horizontal_views(&self) -> Vec<i64> {
        self.horizontal.clone()
    }

    fn vertical_views(&self) -> Vec<i64> {
        self.vertical.clone()
    }

    fn xmp(&self) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(self.xmp.clone())
    }
}

/// A folder of images.
#[derive(Debug, Default)]
pub(crate) struct FakeImages(pub(crate) Vec<Arc<FakeImage>>);

impl Images for FakeImages {
    type Image = Arc<FakeImage>;

    fn open(&self, identifiers: &[Vec<u8>]) -> Result<Self::Image, Error> {
        if identifiers.iter().flatten().any(u8::is_ascii_control) {
            return Err(Error::bad_request("control character in an identifier"));
        }
        identifiers
            .iter()
            .find_map(|identifier| self.0.iter().find(|image| image.identifier == *identifier))
            .cloned()
            .ok_or_else(|| Error::not_found("no such image"))
    }

    fn view(
        &self,
        image: &Self::Image,
        horizontal: i64,
        vertical: Option<i64>,
    ) -> Result<(Self::Image, usize), Error> {
        let missing = || Error::not_found("no such view");
        if !image.members.is_empty() {
            let member = match vertical {
                Some(vertical) => image.members.get(&(horizontal, vertical)),
                None => [0, 90].iter().find_map(|v| image.members.get(&(horizontal, *v))),
            };
            return Ok((member.ok_or_else(missing)?.clone(), 0));
        }
        if image.info.views.len() > 1 {
            let page = usize::try_from(horizontal)
                .ok()
                .filter(|page| *page < image.info.pages.len());
            return Ok((image.clone(), page.ok_or_else(missing)?));
        }
        Ok((image.clone(), 0))
    }
}
