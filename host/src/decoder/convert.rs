//! What a decoder says of an image → what the host shows of it.

use std::time::SystemTime;

use iiphost_plugin_api::{AlphaMode, ColorModel, ImageInfo as Decoded, LevelInfo, PageInfo, SampleFormat};

use super::upright;
use crate::image_info::{ImageInfo, Level, Page};
use crate::limits::Size;

/// Tile sizes the host serves; a file with others (a strip, a whole image in one tile) is cut to 256.
const TILE_SIDES: std::ops::RangeInclusive<u32> = 16..=4096;

/// The image as the host shows it: one tile size a page, virtual levels where a page has one level only.
#[must_use]
pub fn image_info(decoded: &Decoded, modified: SystemTime) -> ImageInfo {
    let pages: Vec<Page> = decoded.pages.iter().map(page).collect();
    let mut views: Vec<usize> = decoded
        .pages
        .iter()
        .enumerate()
        .filter(|(_, p)| p.listed)
        .map(|(index, _)| index)
        .collect();
    if views.is_empty() {
        views.push(0);
    }
    // Pictures are turned already, or shown as they are stored: saying how to turn them would turn them twice.
    let text = decoded
        .text
        .iter()
        .filter(|(name, _)| name != upright::TEXT)
        .cloned()
        .collect();
    ImageInfo {
        format: decoded.format.clone(),
        pages,
        views,
        text,
        modified,
    }
}

fn page(decoded: &PageInfo) -> Page {
    let first = decoded.levels.first().copied().unwrap_or(EMPTY);
    let tile_size = tile_size(&first);
    Page {
        name: decoded.name.clone(),
        scale: decoded.scale,
        levels: levels(&decoded.levels, tile_size),
        tile_size,
        band_count: decoded.band_count,
        color_band_count: decoded.color_band_count(),
        sample_format: decoded.sample_format,
        bit_depth: decoded.bit_depth,
        signed: decoded.signed,
        color_model: decoded.color_model,
        alpha: if decoded.color_band_count() < decoded.band_count {
            decoded.alpha
        } else {
            AlphaMode::None
        },
        ranges: ranges(decoded),
        stated_ranges: stated_ranges(decoded),
        resolution: decoded
            .resolution
            .filter(|r| r.x.is_finite() && r.x > 0.0 && r.y.is_finite() && r.y > 0.0),
        quality_layers: decoded.quality_layers.max(1),
    }
}

/// Stands in for a level list the interface has already refused: it is never empty.
const EMPTY: LevelInfo = LevelInfo {
    width: 1,
    height: 1,
    tile_width: 256,
    tile_height: 256,
    encoded: None,
    computed: false,
};

/// The one tile size of a page: that of its full-size level.
fn tile_size(full: &LevelInfo) -> Size {
    if TILE_SIDES.contains(&full.tile_width) && TILE_SIDES.contains(&full.tile_height) {
        Size::new(full.tile_width, full.tile_height)
    } else {
        Size::new(256, 256)
    }
}

fn levels(decoded: &[LevelInfo], tile: Size) -> Vec<Level> {
    let mut levels: Vec<Level> = decoded
        .iter()
        .enumerate()
        .map(|(index, level)| Level {
            size: Size::new(level.width, level.height),
            decoder_level: u32::try_from(index).unwrap_or(u32::MAX),
            halvings: 0,
            stored_tile: Size::new(level.tile_width, level.tile_height),
            // A stored tile can only stand for a tile of the wire's grid if both have one size.
            encoded: level
                .encoded
                .filter(|_| (level.tile_width, level.tile_height) == (tile.width, tile.height)),
        })
        .collect();
    if let [only] = levels[..] {
        let mut level = only;
        level.encoded = None;
        while level.size.width > tile.width || level.size.height > tile.height {
            level.size = Size::new((level.size.width / 2).max(1), (level.size.height / 2).max(1));
            level.halvings += 1;
            levels.push(level);
        }
    }
    levels
}

/// The range of each band in stored units. The file's own statement counts for floating point only:
/// for integers it is not applied, so that a neutral operation changes nothing.
fn ranges(decoded: &PageInfo) -> Vec<(f64, f64)> {
    let bands = decoded.band_count as usize;
    if decoded.sample_format == SampleFormat::F32 {
        let stated = decoded.ranges.len() == bands && decoded.color_model != ColorModel::CieLab;
        return if stated {
            decoded.ranges.clone()
        } else {
            vec![(0.0, 1.0); bands]
        };
    }
    let full = 2f64.powi(i32::try_from(decoded.bit_depth.min(32)).unwrap_or(8));
    let range = if decoded.signed {
        (-full / 2.0, full / 2.0 - 1.0)
    } else {
        (0.0, full - 1.0)
    };
    vec![range; bands]
}

/// The range that the file states for integers.
fn stated_ranges(decoded: &PageInfo) -> Vec<(f64, f64)> {
    let is_stated =
        decoded.sample_format != SampleFormat::F32 && decoded.ranges.len() == decoded.band_count as usize;
    match is_stated {
        true => decoded.ranges.clone(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(width: u32, height: u32, tile: u32) -> LevelInfo {
        LevelInfo {
            width,
            height,
            tile_width: tile,
            tile_height: tile,
            encoded: None,
            computed: false,
        }
    }

    fn decoded(levels: Vec<LevelInfo>) -> Decoded {
        let page = PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels,
            band_count: 3,
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: ColorModel::Rgb,
            alpha: AlphaMode::None,
            ranges: Vec::new(),
            resolution: None,
            quality_layers: 1,
        };
        Decoded {
            format: "test".into(),
            pages: vec![page],
            text: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn sizes(info: &ImageInfo) -> Vec<(u32, u32, u32)> {
        info.pages[0]
            .levels
            .iter()
            .map(|l| (l.size.width, l.size.height, l.halvings))
            .collect()
    }

    #[test]
    fn an_image_of_one_level_gets_halved_ones_until_a_tile_holds_it() {
        let info = image_info(&decoded(vec![level(1025, 3, 256)]), SystemTime::UNIX_EPOCH);
        assert_eq!(sizes(&info), [(1025, 3, 0), (512, 1, 1), (256, 1, 2)]);
    }

    #[test]
    fn stored_levels_stay_as_they_are() {
        let info = image_info(
            &decoded(vec![level(4000, 3000, 256), level(1000, 750, 256)]),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(sizes(&info), [(4000, 3000, 0), (1000, 750, 0)]);
    }

    #[test]
    fn one_tile_in_the_file_is_not_one_tile_on_the_wire() {
        let info = image_info(&decoded(vec![level(9000, 9000, 9000)]), SystemTime::UNIX_EPOCH);
        assert_eq!(info.pages[0].tile_size, Size::new(256, 256));
        assert_eq!(info.pages[0].levels.len(), 7);
    }

    #[test]
    fn ranges_of_integers_come_from_their_depth() {
        let mut image = decoded(vec![level(10, 10, 256)]);
        image.pages[0].ranges = vec![(5.0, 6.0); 3];
        image.pages[0].bit_depth = 12;
        image.pages[0].sample_format = SampleFormat::U16;
        assert_eq!(
            image_info(&image, SystemTime::UNIX_EPOCH).pages[0].ranges[0],
            (0.0, 4095.0)
        );
        let page = &image_info(&image, SystemTime::UNIX_EPOCH).pages[0];
        assert_eq!(page.stated_ranges, [(5.0, 6.0); 3]);
        image.pages[0].signed = true;
        assert_eq!(
            image_info(&image, SystemTime::UNIX_EPOCH).pages[0].ranges[0],
            (-2048.0, 2047.0)
        );
        image.pages[0].sample_format = SampleFormat::F32;
        assert_eq!(
            image_info(&image, SystemTime::UNIX_EPOCH).pages[0].ranges[0],
            (5.0, 6.0)
        );
    }
}
