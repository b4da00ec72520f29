//! Whether an answer of a module can be true. The host calculates with these numbers, so none is trusted.

use super::faults::Lie;
use crate::decoder::EncodedTile;
use crate::error::DecodeError;
use crate::info::{AlphaMode, ColorModel, ImageInfo, LevelInfo, PageInfo, SampleFormat};
use crate::module::ModuleInfo;
use crate::probe::Claim;
use crate::region::{Cost, ReadRequest, TileId};

const MAX_PAGES: usize = 65_536;
const MAX_LEVELS: usize = 64;
const MAX_BANDS: u32 = 65_535;
const MAX_QUALITY_LAYERS: u32 = 65_535;
/// Longest identifier of a module in bytes: it is part of settings, log lines and keys.
const MAX_ID_LEN: usize = 64;
/// Longest of the other texts of a module about itself, in bytes, and of its lists, in entries.
const MAX_TEXT_LEN: usize = 4096;
const MAX_ENTRIES: usize = 1024;

type Checked = Result<(), Lie>;

fn lie(what: String) -> Checked {
    Err(Lie(what))
}

/// Checks what a module says about itself.
pub(crate) fn module_info(info: &ModuleInfo) -> Checked {
    let id_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if info.id.is_empty() || info.id.len() > MAX_ID_LEN || !info.id.bytes().all(id_byte) {
        return lie(format!(
            "id {:?}, expected 1 to {MAX_ID_LEN} of a-z, 0-9, - and _",
            cut(&info.id)
        ));
    }
    if info.version.is_empty() {
        return lie("version is empty".to_owned());
    }
    for (field, text) in [
        ("name", &info.name),
        ("version", &info.version),
        ("license", &info.license),
    ] {
        if text.len() > MAX_TEXT_LEN || text.chars().any(char::is_control) {
            return lie(format!(
                "{field} is longer than {MAX_TEXT_LEN} bytes or holds control characters"
            ));
        }
    }
    for (field, len) in [
        ("formats", info.formats.len()),
        ("capabilities", info.capabilities.len()),
        ("options", info.options.len()),
    ] {
        if len > MAX_ENTRIES {
            return lie(format!(
                "{field} has {len} entries, at most {MAX_ENTRIES} expected"
            ));
        }
    }
    for (idx, option) in info.options.iter().enumerate() {
        if info.options.iter().take(idx).any(|o| o.name == option.name) {
            return lie(format!("option {:?} is listed twice", cut(&option.name)));
        }
    }
    Ok(())
}

/// A claim with a reason that fits into a table.
pub(crate) fn claim(mut claim: Claim) -> Claim {
    if claim.reason.len() > MAX_TEXT_LEN {
        claim.reason = cut(&claim.reason);
    }
    claim
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Checks the shape of an image; its text may have up to `max_bytes`.
pub(crate) fn image_info(info: &ImageInfo, max_bytes: u64) -> Checked {
    let pages = info.pages.len();
    if pages == 0 || pages > MAX_PAGES {
        return lie(format!("{pages} pages, expected 1 to {MAX_PAGES}"));
    }
    let text = info.text.iter().map(|(n, v)| n.len().saturating_add(v.len()));
    let warnings = info.warnings.iter().map(String::len);
    let names = info.pages.iter().map(|p| p.name.len());
    let bytes = text
        .chain(warnings)
        .chain(names)
        .chain([info.format.len()])
        .fold(0u64, |sum, len| sum.saturating_add(len as u64));
    if bytes > max_bytes {
        return lie(format!("{bytes} bytes of text, at most {max_bytes} allowed"));
    }
    for (idx, page) in info.pages.iter().enumerate() {
        page_info(page).map_err(|Lie(what)| Lie(format!("page {idx}: {what}")))?;
    }
    Ok(())
}

fn page_info(page: &PageInfo) -> Checked {
    if !page.scale.is_finite() {
        return lie(format!("scale {}", page.scale));
    }
    levels(&page.levels)?;
    if page.band_count == 0 || page.band_count > MAX_BANDS {
        return lie(format!(
            "band_count {}, expected 1 to {MAX_BANDS}",
            page.band_count
        ));
    }
    let depths = match page.sample_format {
        SampleFormat::U8 => 1..=8,
        SampleFormat::U16 => 9..=16,
        SampleFormat::U32 => 17..=32,
        SampleFormat::F32 => 32..=32,
    };
    if !depths.contains(&page.bit_depth) {
        return lie(format!(
            "bit_depth {} of {:?} samples, expected {} to {}",
            page.bit_depth,
            page.sample_format,
            depths.start(),
            depths.end()
        ));
    }
    let color_bands = match page.color_model {
        ColorModel::Grey | ColorModel::Multiband => 1,
        ColorModel::Rgb | ColorModel::CieLab => 3,
        ColorModel::Cmyk => 4,
    };
    let needed = color_bands + u32::from(page.alpha != AlphaMode::None);
    if page.band_count < needed {
        return lie(format!(
            "color_model {:?} with alpha {:?} in {} bands, {needed} needed",
            page.color_model, page.alpha, page.band_count
        ));
    }
    if !page.ranges.is_empty() && page.ranges.len() as u64 != u64::from(page.band_count) {
        return lie(format!(
            "{} ranges for {} bands",
            page.ranges.len(),
            page.band_count
        ));
    }
    if let Some((min, max)) = page
        .ranges
        .iter()
        .find(|(min, max)| !min.is_finite() || !max.is_finite())
    {
        return lie(format!("range {min} to {max}"));
    }
    if let Some(r) = page.resolution
        && !(r.x.is_finite() && r.y.is_finite() && r.x >= 0.0 && r.y >= 0.0)
    {
        return lie(format!("resolution {} x {}", r.x, r.y));
    }
    if page.quality_layers == 0 || page.quality_layers > MAX_QUALITY_LAYERS {
        return lie(format!(
            "quality_layers {}, expected 1 to {MAX_QUALITY_LAYERS}",
            page.quality_layers
        ));
    }
    Ok(())
}

fn levels(levels: &[LevelInfo]) -> Checked {
    if levels.is_empty() || levels.len() > MAX_LEVELS {
        return lie(format!("{} levels, expected 1 to {MAX_LEVELS}", levels.len()));
    }
    for (idx, level) in levels.iter().enumerate() {
        if level.width == 0 || level.height == 0 {
            return lie(format!("level {idx} is {}x{}", level.width, level.height));
        }
        if level.tile_width == 0 || level.tile_height == 0 {
            return lie(format!(
                "tiles of level {idx} are {}x{}",
                level.tile_width, level.tile_height
            ));
        }
    }
    for (idx, pair) in levels.windows(2).enumerate() {
        if let [larger, smaller] = pair
            && (smaller.width > larger.width || smaller.height > larger.height)
        {
            return lie(format!(
                "level {} is {}x{}, larger than the {}x{} of the level before it",
                idx + 1,
                smaller.width,
                smaller.height,
                larger.width,
                larger.height
            ));
        }
    }
    Ok(())
}

/// The level of a tile that exists.
pub(crate) fn level_of_tile(info: &ImageInfo, tile: TileId) -> Result<&LevelInfo, DecodeError> {
    let level = info
        .pages
        .get(tile.page as usize)
        .and_then(|page| page.levels.get(tile.level as usize))
        .ok_or_else(|| {
            DecodeError::usage(format!(
                "tile of level {} of page {} wanted, which does not exist",
                tile.level, tile.page
            ))
        })?;
    if tile.tile_col >= level.tile_cols() || tile.tile_row >= level.tile_rows() {
        return Err(DecodeError::usage(format!(
            "tile ({}, {}) wanted, level {} has {}x{}",
            tile.tile_col,
            tile.tile_row,
            tile.level,
            level.tile_cols(),
            level.tile_rows()
        )));
    }
    Ok(level)
}

/// Checks a stored tile of `level`.
pub(crate) fn encoded_tile(tile: &EncodedTile, level: &LevelInfo, max_bytes: u64) -> Checked {
    if tile.width == 0 || tile.height == 0 || tile.width > level.tile_width || tile.height > level.tile_height
    {
        return lie(format!(
            "an encoded tile of {}x{} where tiles are {}x{}",
            tile.width, tile.height, level.tile_width, level.tile_height
        ));
    }
    if tile.bytes.is_empty() || tile.bytes.len() as u64 > max_bytes {
        return lie(format!(
            "an encoded tile of {} bytes, expected 1 to {max_bytes}",
            tile.bytes.len()
        ));
    }
    Ok(())
}

/// Checks the size of a block of metadata.
pub(crate) fn metadata(len: usize, max_bytes: u64) -> Checked {
    if len as u64 > max_bytes {
        return lie(format!("{len} bytes of metadata, at most {max_bytes} allowed"));
    }
    Ok(())
}

/// The most a read can reasonably cost, for a reader that does not say: its whole level. Nothing if the
/// request names no level at all.
pub(crate) fn cost_of_level(info: &ImageInfo, request: &ReadRequest) -> Cost {
    let Ok((page, level)) = request.resolve(info) else {
        return Cost::default();
    };
    let pixels = u64::from(level.width) * u64::from(level.height);
    let bytes = pixels
        .saturating_mul(u64::from(page.band_count))
        .saturating_mul(page.sample_format.bytes() as u64);
    Cost {
        bytes_read: bytes,
        pixels_decoded: pixels,
        memory_bytes: bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::{EncodedFormat, Resolution, ResolutionUnit};
    use crate::module::Threading;
    use crate::region::Region;

    fn level_of(width: u32, height: u32) -> LevelInfo {
        LevelInfo {
            width,
            height,
            tile_width: 256,
            tile_height: 128,
            encoded: Some(EncodedFormat::Jpeg),
            computed: false,
        }
    }

    fn image() -> ImageInfo {
        ImageInfo {
            format: "toy".to_owned(),
            pages: vec![PageInfo {
                name: String::new(),
                scale: 1.0,
                listed: true,
                levels: vec![level_of(1000, 700), level_of(500, 350)],
                band_count: 4,
                sample_format: SampleFormat::U8,
                bit_depth: 8,
                signed: false,
                color_model: ColorModel::Rgb,
                alpha: AlphaMode::Unassociated,
                ranges: vec![(0.0, 255.0); 4],
                resolution: Some(Resolution {
                    x: 300.0,
                    y: 300.0,
                    unit: ResolutionUnit::Inch,
                }),
                quality_layers: 1,
            }],
            text: vec![("title".to_owned(), vec![b'x'; 10])],
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_true_answer_passes() {
        assert_eq!(image_info(&image(), 1000), Ok(()));
    }

    #[test]
    fn every_lie_about_an_image_is_named() {
        type Change = fn(&mut ImageInfo);
        let lies: &[(&str, Change)] = &[
            ("0 pages", |i| i.pages.clear()),
            ("65537 pages", |i| {
                let page = i.pages[0].clone();
                i.pages = vec![page; 65_537];
            }),
            ("bytes of text", |i| i.text[0].1 = vec![0; 2000]),
            ("bytes of text", |i| i.warnings = vec!["w".repeat(2000)]),
            ("scale NaN", |i| i.pages[0].scale = f64::NAN),
            ("0 levels", |i| i.pages[0].levels.clear()),
            ("65 levels", |i| i.pages[0].levels = vec![level_of(1, 1); 65]),
            ("level 1 is 0x350", |i| i.pages[0].levels[1].width = 0),
            ("level 1 is 500x0", |i| i.pages[0].levels[1].height = 0),
            ("tiles of level 0 are 0x128", |i| {
                i.pages[0].levels[0].tile_width = 0
            }),
            ("tiles of level 0 are 256x0", |i| {
                i.pages[0].levels[0].tile_height = 0
            }),
            ("level 1 is 500x701, larger", |i| {
                i.pages[0].levels[1].height = 701
            }),
            ("level 1 is 1001x350, larger", |i| {
                i.pages[0].levels[1].width = 1001
            }),
            ("band_count 0", |i| i.pages[0].band_count = 0),
            ("band_count 65536", |i| i.pages[0].band_count = 65_536),
            ("bit_depth 9 of U8", |i| i.pages[0].bit_depth = 9),
            ("bit_depth 0 of U8", |i| i.pages[0].bit_depth = 0),
            ("bit_depth 8 of F32", |i| {
                i.pages[0].sample_format = SampleFormat::F32
            }),
            ("5 needed", |i| i.pages[0].color_model = ColorModel::Cmyk),
            ("4 ranges for 5 bands", |i| i.pages[0].band_count = 5),
            ("range inf to 1", |i| i.pages[0].ranges[2] = (f64::INFINITY, 1.0)),
            ("resolution -1 x 1", |i| {
                i.pages[0].resolution = Some(Resolution {
                    x: -1.0,
                    y: 1.0,
                    unit: ResolutionUnit::None,
                });
            }),
            ("quality_layers 0", |i| i.pages[0].quality_layers = 0),
        ];
        for (expected, change) in lies {
            let mut info = image();
            change(&mut info);
            let Lie(what) = image_info(&info, 1000).expect_err(expected);
            assert!(what.contains(expected), "{what:?} does not say {expected:?}");
        }
    }

    #[test]
    fn an_encoded_tile_has_at_most_the_size_of_its_cell_and_of_the_limit() {
        let level = level_of(1000, 700);
        let tile = |width, height, len| EncodedTile {
            format: EncodedFormat::Jpeg,
            width,
            height,
            bytes: vec![0; len],
        };
        assert_eq!(encoded_tile(&tile(256, 128, 10), &level, 10), Ok(()));
        for wrong in [
            tile(257, 128, 10),
            tile(256, 129, 10),
            tile(0, 1, 10),
            tile(1, 0, 10),
            tile(256, 128, 0),
            tile(256, 128, 11),
        ] {
            assert!(encoded_tile(&wrong, &level, 10).is_err(), "{wrong:?}");
        }
        assert!(metadata(11, 10).is_err());
        assert_eq!(metadata(10, 10), Ok(()));
    }

    #[test]
    fn only_tiles_of_the_grid_exist() {
        let info = image();
        let tile = |page, level, tile_col, tile_row| TileId {
            page,
            level,
            tile_col,
            tile_row,
        };
        assert!(level_of_tile(&info, tile(0, 0, 3, 5)).is_ok());
        for wrong in [
            tile(0, 0, 4, 5),
            tile(0, 0, 3, 6),
            tile(0, 2, 0, 0),
            tile(1, 0, 0, 0),
        ] {
            assert!(level_of_tile(&info, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_module_without_a_usable_name_is_refused() {
        let good = ModuleInfo {
            id: "toy-2".to_owned(),
            name: "Toy".to_owned(),
            version: "1.0".to_owned(),
            license: "MIT".to_owned(),
            formats: Vec::new(),
            capabilities: vec![u32::MAX],
            options: Vec::new(),
            threading: Threading::Reentrant,
        };
        assert_eq!(module_info(&good), Ok(()));
        for id in ["", "Toy", "a b", "é", &"x".repeat(65)] {
            let info = ModuleInfo {
                id: id.to_owned(),
                ..good.clone()
            };
            assert!(module_info(&info).is_err(), "{id:?}");
        }
        let mut info = good.clone();
        info.version.clear();
        assert!(module_info(&info).is_err());
        info.version = "1\n2".to_owned();
        assert!(module_info(&info).is_err());
        info = good;
        info.capabilities = vec![0; 1025];
        assert!(module_info(&info).is_err());
    }

    #[test]
    fn an_unknown_cost_is_that_of_the_level() {
        let request = ReadRequest {
            page: 0,
            level: 1,
            region: Region::new(0, 0, 1, 1),
            quality_layers: 0,
        };
        let cost = cost_of_level(&image(), &request);
        assert_eq!(cost.pixels_decoded, 175_000);
        assert_eq!(cost.memory_bytes, 700_000);
    }
}
