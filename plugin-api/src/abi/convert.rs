//! Plain types ⇄ data that crosses, without judging the values.

use abi_stable::std_types::{RSlice, RStr, RString, RVec};

use super::code::{self, level_flag, page_flag};
use super::data::{
    RawBlock, RawClaim, RawCost, RawEncodedTile, RawFormat, RawImageInfo, RawLevel, RawModuleInfo, RawOption,
    RawPage, RawRange, RawRequest, RawText, RawTileId,
};
use crate::decoder::EncodedTile;
use crate::info::{ImageInfo, LevelInfo, PageInfo, Resolution};
use crate::module::{FormatInfo, ModuleInfo, OptionSpec};
use crate::probe::Claim;
use crate::region::{Cost, ReadRequest, Region, TileId};

fn strings(list: &[String]) -> RVec<RString> {
    list.iter().map(|s| RString::from(s.as_str())).collect()
}

fn plain_strings(list: RVec<RString>) -> Vec<String> {
    list.into_iter().map(RString::into_string).collect()
}

fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

impl From<ModuleInfo> for RawModuleInfo {
    fn from(info: ModuleInfo) -> Self {
        Self {
            id: info.id.into(),
            name: info.name.into(),
            version: info.version.into(),
            license: info.license.into(),
            formats: info.formats.into_iter().map(RawFormat::from).collect(),
            capabilities: info.capabilities.into(),
            options: info.options.into_iter().map(RawOption::from).collect(),
            threading: code::from_threading(info.threading),
            extra: RVec::new(),
        }
    }
}

impl From<RawModuleInfo> for ModuleInfo {
    fn from(raw: RawModuleInfo) -> Self {
        Self {
            id: raw.id.into_string(),
            name: raw.name.into_string(),
            version: raw.version.into_string(),
            license: raw.license.into_string(),
            formats: raw.formats.into_iter().map(FormatInfo::from).collect(),
            capabilities: raw.capabilities.into_vec(),
            options: raw.options.into_iter().map(OptionSpec::from).collect(),
            threading: code::threading(raw.threading),
        }
    }
}

impl From<FormatInfo> for RawFormat {
    fn from(format: FormatInfo) -> Self {
        Self {
            name: format.name.into(),
            media_type: format.media_type.into(),
            extensions: strings(&format.extensions),
            extra: RVec::new(),
        }
    }
}

impl From<RawFormat> for FormatInfo {
    fn from(raw: RawFormat) -> Self {
        Self {
            name: raw.name.into_string(),
            media_type: raw.media_type.into_string(),
            extensions: plain_strings(raw.extensions),
        }
    }
}

impl From<OptionSpec> for RawOption {
    fn from(option: OptionSpec) -> Self {
        Self {
            name: option.name.into(),
            kind: code::from_option_kind(option.kind),
            default_value: option.default.into(),
            description: option.description.into(),
            extra: RVec::new(),
        }
    }
}

impl From<RawOption> for OptionSpec {
    fn from(raw: RawOption) -> Self {
        Self {
            name: raw.name.into_string(),
            kind: code::option_kind(raw.kind),
            default: raw.default_value.into_string(),
            description: raw.description.into_string(),
        }
    }
}

impl From<Claim> for RawClaim {
    fn from(claim: Claim) -> Self {
        Self {
            level: code::from_claim_level(claim.level),
            reason: claim.reason.into(),
            extra: RVec::new(),
        }
    }
}

impl From<RawClaim> for Claim {
    fn from(raw: RawClaim) -> Self {
        Self::new(code::claim_level(raw.level), raw.reason.into_string())
    }
}

impl From<&ImageInfo> for RawImageInfo {
    fn from(info: &ImageInfo) -> Self {
        Self {
            format: info.format.as_str().into(),
            pages: info.pages.iter().map(RawPage::from).collect(),
            text: info
                .text
                .iter()
                .map(|(name, value)| RawText {
                    name: name.as_str().into(),
                    value: RVec::from(value.as_slice()),
                })
                .collect(),
            warnings: strings(&info.warnings),
            extra: RVec::new(),
        }
    }
}

impl From<&PageInfo> for RawPage {
    fn from(page: &PageInfo) -> Self {
        let (resolution_unit, resolution_x, resolution_y) = match page.resolution {
            Some(r) => (code::from_resolution_unit(r.unit), r.x, r.y),
            None => (0, 0.0, 0.0),
        };
        Self {
            name: page.name.as_str().into(),
            scale: page.scale,
            levels: page.levels.iter().map(RawLevel::from).collect(),
            band_count: page.band_count,
            sample_format: code::from_sample_format(page.sample_format),
            bit_depth: page.bit_depth,
            color_model: code::from_color_model(page.color_model),
            alpha: code::from_alpha_mode(page.alpha),
            quality_layers: page.quality_layers,
            flags: flag(page.listed, page_flag::LISTED) | flag(page.signed, page_flag::SIGNED),
            resolution_unit,
            resolution_x,
            resolution_y,
            ranges: page
                .ranges
                .iter()
                .map(|&(min, max)| RawRange { min, max })
                .collect(),
            extra: RVec::new(),
        }
    }
}

impl From<&LevelInfo> for RawLevel {
    fn from(level: &LevelInfo) -> Self {
        Self {
            width: level.width,
            height: level.height,
            tile_width: level.tile_width,
            tile_height: level.tile_height,
            encoded: level.encoded.map_or(0, code::from_encoded_format),
            flags: flag(level.computed, level_flag::COMPUTED),
            extra: RVec::new(),
        }
    }
}

/// What makes it impossible to understand an [`ImageInfo`]; what makes it wrong is found afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownSampleFormat {
    pub(crate) page: usize,
    pub(crate) number: u32,
}

impl TryFrom<RawImageInfo> for ImageInfo {
    type Error = UnknownSampleFormat;

    fn try_from(raw: RawImageInfo) -> Result<Self, UnknownSampleFormat> {
        let pages = raw
            .pages
            .into_iter()
            .enumerate()
            .map(|(idx, page)| plain_page(idx, page))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            format: raw.format.into_string(),
            pages,
            text: raw
                .text
                .into_iter()
                .map(|t| (t.name.into_string(), t.value.into_vec()))
                .collect(),
            warnings: plain_strings(raw.warnings),
        })
    }
}

fn plain_page(idx: usize, raw: RawPage) -> Result<PageInfo, UnknownSampleFormat> {
    let sample_format = code::sample_format(raw.sample_format).ok_or(UnknownSampleFormat {
        page: idx,
        number: raw.sample_format,
    })?;
    Ok(PageInfo {
        name: raw.name.into_string(),
        scale: raw.scale,
        listed: raw.flags & page_flag::LISTED != 0,
        levels: raw.levels.iter().map(LevelInfo::from).collect(),
        band_count: raw.band_count,
        sample_format,
        bit_depth: raw.bit_depth,
        signed: raw.flags & page_flag::SIGNED != 0,
        color_model: code::color_model(raw.color_model),
        alpha: code::alpha_mode(raw.alpha),
        ranges: raw.ranges.iter().map(|r| (r.min, r.max)).collect(),
        resolution: (raw.resolution_unit != 0).then(|| Resolution {
            x: raw.resolution_x,
            y: raw.resolution_y,
            unit: code::resolution_unit(raw.resolution_unit),
        }),
        quality_layers: raw.quality_layers,
    })
}

impl From<&RawLevel> for LevelInfo {
    fn from(raw: &RawLevel) -> Self {
        Self {
            width: raw.width,
            height: raw.height,
            tile_width: raw.tile_width,
            tile_height: raw.tile_height,
            encoded: code::encoded_format(raw.encoded),
            computed: raw.flags & level_flag::COMPUTED != 0,
        }
    }
}

impl From<&ReadRequest> for RawRequest<'_> {
    fn from(request: &ReadRequest) -> Self {
        Self {
            page: request.page,
            level: request.level,
            x: request.region.x,
            y: request.region.y,
            width: request.region.width,
            height: request.region.height,
            quality_layers: request.quality_layers,
            extra: RSlice::EMPTY,
        }
    }
}

impl From<&RawRequest<'_>> for ReadRequest {
    fn from(raw: &RawRequest<'_>) -> Self {
        Self {
            page: raw.page,
            level: raw.level,
            region: Region::new(raw.x, raw.y, raw.width, raw.height),
            quality_layers: raw.quality_layers,
        }
    }
}

impl From<TileId> for RawTileId<'_> {
    fn from(tile: TileId) -> Self {
        Self {
            page: tile.page,
            level: tile.level,
            tile_col: tile.tile_col,
            tile_row: tile.tile_row,
            extra: RSlice::EMPTY,
        }
    }
}

impl From<&RawTileId<'_>> for TileId {
    fn from(raw: &RawTileId<'_>) -> Self {
        Self {
            page: raw.page,
            level: raw.level,
            tile_col: raw.tile_col,
            tile_row: raw.tile_row,
        }
    }
}

impl From<Option<EncodedTile>> for RawEncodedTile {
    fn from(tile: Option<EncodedTile>) -> Self {
        match tile {
            Some(tile) => Self {
                present: 1,
                format: code::from_encoded_format(tile.format),
                width: tile.width,
                height: tile.height,
                bytes: tile.bytes.into(),
                extra: RVec::new(),
            },
            None => Self {
                present: 0,
                format: 0,
                width: 0,
                height: 0,
                bytes: RVec::new(),
                extra: RVec::new(),
            },
        }
    }
}

/// A tile in an encoding that this version does not know cannot be handed on: `None`, it is decoded.
impl From<RawEncodedTile> for Option<EncodedTile> {
    fn from(raw: RawEncodedTile) -> Self {
        if raw.present == 0 {
            return None;
        }
        Some(EncodedTile {
            format: code::encoded_format(raw.format)?,
            width: raw.width,
            height: raw.height,
            bytes: raw.bytes.into_vec(),
        })
    }
}

impl From<Option<Vec<u8>>> for RawBlock {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self {
            present: u32::from(bytes.is_some()),
            bytes: bytes.unwrap_or_default().into(),
            extra: RVec::new(),
        }
    }
}

impl From<RawBlock> for Option<Vec<u8>> {
    fn from(raw: RawBlock) -> Self {
        (raw.present != 0).then(|| raw.bytes.into_vec())
    }
}

impl From<Cost> for RawCost {
    fn from(cost: Cost) -> Self {
        Self {
            bytes_read: cost.bytes_read,
            pixels_decoded: cost.pixels_decoded,
            memory_bytes: cost.memory_bytes,
            extra: RVec::new(),
        }
    }
}

impl From<RawCost> for Cost {
    fn from(raw: RawCost) -> Self {
        Self {
            bytes_read: raw.bytes_read,
            pixels_decoded: raw.pixels_decoded,
            memory_bytes: raw.memory_bytes,
        }
    }
}

/// A string slice that crosses borrowed.
pub(crate) fn borrowed(text: &str) -> RStr<'_> {
    RStr::from_str(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::code::{
        ALPHA_MODES, COLOR_MODELS, ENCODED_FORMATS, OPTION_KINDS, RESOLUTION_UNITS, SAMPLE_FORMATS,
        THREADINGS,
    };

    fn any_of<T: Copy + std::fmt::Debug + 'static>(list: &'static [(u32, T)]) -> impl Strategy<Value = T> {
        (0..list.len()).prop_map(move |idx| list[idx].1)
    }

    fn level() -> impl Strategy<Value = LevelInfo> {
        (
            any::<[u32; 4]>(),
            proptest::option::of(any_of(ENCODED_FORMATS)),
            any::<bool>(),
        )
            .prop_map(|(n, encoded, computed)| LevelInfo {
                width: n[0],
                height: n[1],
                tile_width: n[2],
                tile_height: n[3],
                encoded,
                computed,
            })
    }

    fn resolution() -> impl Strategy<Value = Option<Resolution>> {
        proptest::option::of(
            (-1e9..1e9, -1e9..1e9, any_of(RESOLUTION_UNITS)).prop_map(|(x, y, unit)| Resolution {
                x,
                y,
                unit,
            }),
        )
    }

    fn page() -> impl Strategy<Value = PageInfo> {
        (
            ".{0,8}",
            -1e300..1e300f64,
            proptest::collection::vec(level(), 0..4),
            any::<([u32; 3], bool, bool)>(),
            any_of(SAMPLE_FORMATS),
            any_of(COLOR_MODELS),
            any_of(ALPHA_MODES),
            proptest::collection::vec((-1e9..1e9f64, -1e9..1e9f64), 0..4),
            resolution(),
        )
            .prop_map(
                |(name, scale, levels, (n, listed, signed), sample, color, alpha, ranges, resolution)| {
                    PageInfo {
                        name,
                        scale,
                        listed,
                        levels,
                        band_count: n[0],
                        sample_format: sample,
                        bit_depth: n[1],
                        signed,
                        color_model: color,
                        alpha,
                        ranges,
                        resolution,
                        quality_layers: n[2],
                    }
                },
            )
    }

    pub(crate) fn image_info() -> impl Strategy<Value = ImageInfo> {
        (
            ".{0,8}",
            proptest::collection::vec(page(), 0..4),
            proptest::collection::vec((".{0,8}", any::<Vec<u8>>()), 0..4),
            proptest::collection::vec(".{0,8}", 0..3),
        )
            .prop_map(|(format, pages, text, warnings)| ImageInfo {
                format,
                pages,
                text,
                warnings,
            })
    }

    fn module_info() -> impl Strategy<Value = ModuleInfo> {
        let format = (".{0,8}", ".{0,8}", proptest::collection::vec(".{0,4}", 0..3)).prop_map(
            |(name, media_type, extensions)| FormatInfo {
                name,
                media_type,
                extensions,
            },
        );
        let option = (".{0,8}", any_of(OPTION_KINDS), ".{0,8}", ".{0,8}").prop_map(
            |(name, kind, default, description)| OptionSpec {
                name,
                kind,
                default,
                description,
            },
        );
        (
            [".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}"],
            proptest::collection::vec(format, 0..3),
            any::<Vec<u32>>(),
            proptest::collection::vec(option, 0..3),
            any_of(THREADINGS),
        )
            .prop_map(
                |([id, name, version, license], formats, capabilities, options, threading)| ModuleInfo {
                    id,
                    name,
                    version,
                    license,
                    formats,
                    capabilities,
                    options,
                    threading,
                },
            )
    }

    proptest! {
        #[test]
        fn an_image_info_arrives_as_it_was_sent(info in image_info()) {
            prop_assert_eq!(ImageInfo::try_from(RawImageInfo::from(&info)), Ok(info));
        }

        #[test]
        fn a_module_info_arrives_as_it_was_sent(info in module_info()) {
            prop_assert_eq!(ModuleInfo::from(RawModuleInfo::from(info.clone())), info);
        }

        #[test]
        fn a_request_arrives_as_it_was_sent(n in any::<[u32; 7]>()) {
            let request = ReadRequest {
                page: n[0],
                level: n[1],
                region: Region::new(n[2], n[3], n[4], n[5]),
                quality_layers: n[6],
            };
            prop_assert_eq!(ReadRequest::from(&RawRequest::from(&request)), request);
        }
    }

    #[test]
    fn a_tile_in_an_unknown_encoding_is_no_tile() {
        let mut raw = RawEncodedTile::from(Some(EncodedTile {
            format: crate::EncodedFormat::WebP,
            width: 3,
            height: 2,
            bytes: vec![1],
        }));
        raw.format = 77;
        assert_eq!(Option::<EncodedTile>::from(raw), None);
    }
}
