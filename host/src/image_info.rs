//! An opened image as the host sees it: what protocols describe and plans are made from.

use std::time::SystemTime;

use iiphost_plugin_api::{AlphaMode, ColorModel, EncodedFormat, Region, Resolution, SampleFormat};

use crate::limits::Size;

/// An opened image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// Format name for people.
    pub format: String,
    /// Pages that can be asked for, at least one. Page 0 is shown by default.
    pub pages: Vec<Page>,
    /// Indexes into `pages` that are views (`Horizontal-views` of a stack), in order; `[0]` for a single image.
    pub views: Vec<usize>,
    /// Text about the image by name, in the order of the file; bytes as stored.
    pub text: Vec<(String, Vec<u8>)>,
    /// Modification time of the file.
    pub modified: SystemTime,
}

impl ImageInfo {
    /// The page at `index`.
    ///
    /// # Panics
    /// If there is none: resolve page numbers of clients before.
    #[must_use]
    pub fn page(&self, index: usize) -> &Page {
        &self.pages[index]
    }

    /// States rights for an image whose file states none.
    pub fn state_rights(&mut self, rights: &str) {
        if self.text("rights").is_none() {
            self.text.push(("rights".to_owned(), rights.as_bytes().to_vec()));
        }
    }

    /// A text entry by name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&[u8]> {
        self.text
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice())
    }
}

/// One picture of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Name, empty if it has none.
    pub name: String,
    /// Factor from stored values to physical ones.
    pub scale: f64,
    /// Sizes visible to clients, largest first, at least one.
    pub levels: Vec<Level>,
    /// The one tile size all protocols use, at every level.
    pub tile_size: Size,
    /// Bands of a pixel, alpha included.
    pub band_count: u32,
    /// Bands that carry color or data.
    pub color_band_count: u32,
    /// How a decoder delivers samples.
    pub sample_format: SampleFormat,
    /// Significant bits of a stored sample.
    pub bit_depth: u32,
    /// Stored samples are signed (delivered in offset form).
    pub signed: bool,
    /// Meaning of the color bands.
    pub color_model: ColorModel,
    /// Whether the band after the color bands is opacity.
    pub alpha: AlphaMode,
    /// Smallest and largest value of each band in stored units.
    pub ranges: Vec<(f64, f64)>,
    /// What the file says of integers in place of that: reported, but not applied. Empty if it says nothing.
    pub stated_ranges: Vec<(f64, f64)>,
    /// Physical resolution of level 0.
    pub resolution: Option<Resolution>,
    /// Quality layers in the file.
    pub quality_layers: u32,
}

impl Page {
    /// Full size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.levels[0].size
    }

    /// Pixels a decoder has to give for a region of a level: a virtual level is averaged from the full
    /// size, as far as that reaches.
    #[must_use]
    pub fn decoded_pixels(&self, level: &Level, region: &Region) -> u64 {
        let halvings = level.halvings.min(31);
        let side = |length: u32, full: u32| (u64::from(length) << halvings).min(u64::from(full));
        let full = self.size();
        if level.halvings == 0 {
            region.pixels()
        } else {
            side(region.width, full.width) * side(region.height, full.height)
        }
    }

    /// Whether the picture has colors to show (three bands or more).
    #[must_use]
    pub fn is_color(&self) -> bool {
        matches!(
            self.color_model,
            ColorModel::Rgb | ColorModel::CieLab | ColorModel::Cmyk
        ) || self.color_band_count >= 3
    }

    /// Tiles across and down a level.
    #[must_use]
    pub fn tile_grid(&self, level: usize) -> Size {
        let size = self.levels[level].size;
        Size::new(
            size.width.div_ceil(self.tile_size.width),
            size.height.div_ceil(self.tile_size.height),
        )
    }
}

/// One size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Size in pixels.
    pub size: Size,
    /// Level of the decoder it is read from.
    pub decoder_level: u32,
    /// How often the decoder's level is halved by averaging to give this one; 0 for a stored level.
    pub halvings: u32,
    /// Tile size in the file: reads aligned to it cost least.
    pub stored_tile: Size,
    /// Encoding of stored tiles that can be handed on, where the file has any.
    pub encoded: Option<EncodedFormat>,
}
