//! The image information document: Image API 3.0 section 5, 2.1.1 section 5, 1.1 section 5.

use serde_json::{Map, Value, json};

use super::IiifSettings;
use super::link::profile_uri;
use super::parse::EXTENSIONS;
use super::physical::physical_dimensions;
use super::rights::{is_licence_uri, is_uri};
use crate::image_info::Page;
use crate::limits::Size;
use crate::plan::PictureLimits;
use crate::view::OutputFormat;

/// The document of one page.
pub(super) fn document(
    version: u8,
    id: &str,
    page: &Page,
    limits: PictureLimits,
    rights: Option<&str>,
    settings: &IiifSettings,
) -> String {
    let mut document = match version {
        1 => version_1(id, page, limits, settings),
        2 => version_2(id, page, limits, rights, settings),
        _ => version_3(id, page, limits, rights, settings),
    };
    settings.extra_info.merge_into(&mut document);
    Value::Object(document).to_string()
}

fn version_3(
    id: &str,
    page: &Page,
    limits: PictureLimits,
    rights: Option<&str>,
    settings: &IiifSettings,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("@context", json!("http://iiif.io/api/image/3/context.json"));
    put("protocol", json!(PROTOCOL));
    put("width", json!(page.size().width));
    put("height", json!(page.size().height));
    if let Some(sizes) = sizes(page, limits) {
        put("sizes", sizes);
    }
    put("tiles", tiles(page, limits));
    put("id", json!(id));
    put("type", json!("ImageService3"));
    put(
        "profile",
        json!(if settings.formats.contains(&OutputFormat::Png) {
            "level2"
        } else {
            "level1"
        }),
    );
    put("maxWidth", json!(limits.max_width));
    put("maxHeight", json!(limits.max_height));
    if let Some(area) = shown_area(limits) {
        put("maxArea", json!(area));
    }
    put(
        "extraQualities",
        json!(qualities(page, settings, ["gray", "bitonal"])),
    );
    let extra_formats = extensions(settings).filter(|name| !["jpg", "png"].contains(name));
    put("extraFormats", extra_formats.collect());
    let mut features = vec![
        "regionByPct",
        "sizeByPct",
        "sizeByConfinedWh",
        "rotationBy90s",
        "rotationArbitrary",
        "mirroring",
        "canonicalLinkHeader",
        "profileLinkHeader",
    ];
    if settings.limits.allow_upscaling {
        features.push("sizeUpscaling");
    }
    put("extraFeatures", json!(features));
    if let Some(rights) = rights.filter(|rights| is_licence_uri(rights)) {
        put("rights", json!(rights));
    }
    if let Some(mut service) = physical_dimensions(page.resolution) {
        service.insert("@id".to_owned(), json!(format!("{id}#physdim")));
        service.insert("@type".to_owned(), json!("PhysicalDimensions"));
        put("service", json!([service]));
    }
    document
}

fn version_2(
    id: &str,
    page: &Page,
    limits: PictureLimits,
    rights: Option<&str>,
    settings: &IiifSettings,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("@context", json!("http://iiif.io/api/image/2/context.json"));
    put("protocol", json!(PROTOCOL));
    put("width", json!(page.size().width));
    put("height", json!(page.size().height));
    if let Some(sizes) = sizes(page, limits) {
        put("sizes", sizes);
    }
    put("tiles", tiles(page, limits));
    put("@id", json!(id));
    let mut supports = vec![
        "baseUriRedirect",
        "jsonldMediaType",
        "canonicalLinkHeader",
        "profileLinkHeader",
        "mirroring",
        "regionByPx",
        "regionByPct",
        "regionSquare",
        "rotationBy90s",
        "rotationArbitrary",
        "sizeByW",
        "sizeByH",
        "sizeByPct",
        "sizeByWh",
        "sizeByForcedWh",
        "sizeByDistortedWh",
        "sizeByConfinedWh",
    ];
    if settings.cors {
        supports.push("cors");
    }
    if settings.limits.allow_upscaling {
        supports.push("sizeAboveFull");
    }
    let mut qualities_named = vec!["default"];
    qualities_named.extend(qualities(page, settings, ["gray", "bitonal"]));
    let mut details = json!({
        "formats": extensions(settings).collect::<Vec<_>>(),
        "qualities": qualities_named,
        "supports": supports,
        "maxWidth": limits.max_width,
        "maxHeight": limits.max_height,
    });
    if let (Some(area), Some(details)) = (shown_area(limits), details.as_object_mut()) {
        details.insert("maxArea".to_owned(), json!(area));
    }
    put("profile", json!([profile_uri(2), details]));
    if let Some(rights) = rights {
        // `license` takes URIs only, `attribution` is shown to people.
        put(
            if is_uri(rights) { "license" } else { "attribution" },
            json!(rights),
        );
    }
    if let Some(service) = physical_dimensions(page.resolution) {
        put("service", json!([service]));
    }
    document
}

fn version_1(id: &str, page: &Page, limits: PictureLimits, settings: &IiifSettings) -> Map<String, Value> {
    let tile = tile_size(page, limits);
    let mut qualities_named = vec!["native"];
    qualities_named.extend(qualities(page, settings, ["grey", "bitonal"]));
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put(
        "@context",
        json!("http://library.stanford.edu/iiif/image-api/1.1/context.json"),
    );
    put("@id", json!(id));
    put("width", json!(page.size().width));
    put("height", json!(page.size().height));
    put("scale_factors", json!(scale_factors(page)));
    put("tile_width", json!(tile.width));
    put("tile_height", json!(tile.height));
    put("formats", extensions(settings).collect());
    put("qualities", json!(qualities_named));
    put("profile", json!(profile_uri(1)));
    document
}

const PROTOCOL: &str = "http://iiif.io/api/image";

fn allowed(size: Size, limits: PictureLimits) -> bool {
    size.width <= limits.max_width && size.height <= limits.max_height && size.pixels() <= limits.max_area
}

/// The limit on pixels, where the sides alone allow more.
fn shown_area(limits: PictureLimits) -> Option<u64> {
    let by_sides = Size::new(limits.max_width, limits.max_height).pixels();
    (limits.max_area < by_sides).then_some(limits.max_area)
}

/// Sizes of the stored levels, smallest first, that can be asked for; `None` instead of an empty list, which
/// viewers do not expect.
fn sizes(page: &Page, limits: PictureLimits) -> Option<Value> {
    let mut sizes: Vec<Size> = Vec::new();
    for level in page.levels.iter().rev() {
        if allowed(level.size, limits) && !sizes.contains(&level.size) {
            sizes.push(level.size);
        }
    }
    let sizes: Vec<Value> = sizes
        .iter()
        .map(|size| json!({ "width": size.width, "height": size.height }))
        .collect();
    (!sizes.is_empty()).then_some(Value::Array(sizes))
}

fn tiles(page: &Page, limits: PictureLimits) -> Value {
    let tile = tile_size(page, limits);
    json!([{ "width": tile.width, "height": tile.height, "scaleFactors": scale_factors(page) }])
}

/// The tile size, made smaller where the limits allow less than a tile.
fn tile_size(page: &Page, limits: PictureLimits) -> Size {
    let mut tile = Size::new(
        page.tile_size.width.min(limits.max_width).max(1),
        page.tile_size.height.min(limits.max_height).max(1),
    );
    while !allowed(tile, limits) && tile.longer() > 1 {
        tile = Size::new((tile.width / 2).max(1), (tile.height / 2).max(1));
    }
    tile
}

/// Powers of two up to the one nearest to the reduction of the smallest level. Viewers derive their levels
/// from them and count on each being twice the one before, whatever is stored.
fn scale_factors(page: &Page) -> Vec<u64> {
    let smallest = page.levels.last().map_or(page.size(), |level| level.size);
    let reduction = f64::from(page.size().longer()) / f64::from(smallest.longer().max(1));
    let largest = reduction.log2().round().clamp(0.0, 32.0) as u32;
    (0..=largest).map(|power| 1 << power).collect()
}

/// Qualities besides the default one; `names` are those of this version for grey and bitonal.
fn qualities(page: &Page, settings: &IiifSettings, names: [&'static str; 2]) -> Vec<&'static str> {
    let color = page.is_color().then_some("color");
    let extensions = EXTENSIONS.iter().filter(|_| settings.extensions);
    color
        .into_iter()
        .chain(names)
        .chain(extensions.map(|quality| quality.name()))
        .collect()
}

fn extensions(settings: &IiifSettings) -> impl Iterator<Item = &'static str> {
    [
        OutputFormat::Jpeg,
        OutputFormat::Png,
        OutputFormat::Tiff,
        OutputFormat::WebP,
        OutputFormat::Avif,
    ]
    .into_iter()
    .filter(|format| settings.formats.contains(format))
    .map(OutputFormat::extension)
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::{Resolution, ResolutionUnit};
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;
    use crate::protocol::fake::{grey_page_of, iiif_settings as settings, page_of};
    use crate::protocol::iiif::ExtraInfo;

    const TILE: Size = Size::new(256, 256);
    const LIMITS: PictureLimits = PictureLimits {
        max_width: 5000,
        max_height: 5000,
        max_area: 400_000_000,
    };
    const RIGHTS: &str = "https://rightsstatements.org/vocab/InC/1.0/";

    fn test_page() -> Page {
        Page {
            resolution: Some(Resolution {
                x: 10.0,
                y: 10.0,
                unit: ResolutionUnit::Centimeter,
            }),
            ..page_of(&[(1000, 700), (500, 350), (250, 175)], TILE)
        }
    }

    fn parsed(
        version: u8,
        page: &Page,
        limits: PictureLimits,
        rights: Option<&str>,
        settings: &IiifSettings,
    ) -> Value {
        let text = document(
            version,
            "http://e.org/iiif/test.tif",
            page,
            limits,
            rights,
            settings,
        );
        assert!(text.starts_with("{\"@context\":"), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn version_3_in_full() {
        let settings = IiifSettings {
            extra_info: ExtraInfo::parse("\"preferredFormats\": [\"webp\"]").unwrap(),
            ..settings()
        };
        assert_eq!(
            parsed(3, &test_page(), LIMITS, Some(RIGHTS), &settings),
            json!({
                "@context": "http://iiif.io/api/image/3/context.json",
                "protocol": "http://iiif.io/api/image",
                "width": 1000,
                "height": 700,
                "sizes": [
                    { "width": 250, "height": 175 },
                    { "width": 500, "height": 350 },
                    { "width": 1000, "height": 700 },
                ],
                "tiles": [{ "width": 256, "height": 256, "scaleFactors": [1, 2, 4] }],
                "id": "http://e.org/iiif/test.tif",
                "type": "ImageService3",
                "profile": "level2",
                "maxWidth": 5000,
                "maxHeight": 5000,
                "extraQualities": ["color", "gray", "bitonal"],
                "extraFormats": ["tif", "webp", "avif"],
                "extraFeatures": [
                    "regionByPct", "sizeByPct", "sizeByConfinedWh", "rotationBy90s", "rotationArbitrary", "mirroring",
                    "canonicalLinkHeader", "profileLinkHeader", "sizeUpscaling",
                ],
                "rights": RIGHTS,
                "service": [{
                    "@context": "http://iiif.io/api/annex/services/physdim/1/context.json",
                    "profile": "http://iiif.io/api/annex/services/physdim",
                    "physicalScale": 0.1,
                    "physicalUnits": "cm",
                    "@id": "http://e.org/iiif/test.tif#physdim",
                    "@type": "PhysicalDimensions",
                }],
                "preferredFormats": ["webp"],
            })
        );
    }

    #[test]
    fn version_2_in_full() {
        assert_eq!(
            parsed(2, &test_page(), LIMITS, Some(RIGHTS), &settings()),
            json!({
                "@context": "http://iiif.io/api/image/2/context.json",
                "protocol": "http://iiif.io/api/image",
                "width": 1000,
                "height": 700,
                "sizes": [
                    { "width": 250, "height": 175 },
                    { "width": 500, "height": 350 },
                    { "width": 1000, "height": 700 },
                ],
                "tiles": [{ "width": 256, "height": 256, "scaleFactors": [1, 2, 4] }],
                "@id": "http://e.org/iiif/test.tif",
                "profile": [
                    "http://iiif.io/api/image/2/level2.json",
                    {
                        "formats": ["jpg", "png", "tif", "webp", "avif"],
                        "qualities": ["default", "color", "gray", "bitonal"],
                        "supports": [
                            "baseUriRedirect", "jsonldMediaType", "canonicalLinkHeader", "profileLinkHeader",
                            "mirroring", "regionByPx", "regionByPct", "regionSquare", "rotationBy90s",
                            "rotationArbitrary", "sizeByW", "sizeByH", "sizeByPct", "sizeByWh", "sizeByForcedWh",
                            "sizeByDistortedWh", "sizeByConfinedWh", "cors", "sizeAboveFull",
                        ],
                        "maxWidth": 5000,
                        "maxHeight": 5000,
                    },
                ],
                "license": RIGHTS,
                "service": [{
                    "@context": "http://iiif.io/api/annex/services/physdim/1/context.json",
                    "profile": "http://iiif.io/api/annex/services/physdim",
                    "physicalScale": 0.1,
                    "physicalUnits": "cm",
                }],
            })
        );
    }

    #[test]
    fn version_1_in_full() {
        let formats = vec![OutputFormat::Jpeg, OutputFormat::Png];
        let settings = IiifSettings {
            formats,
            ..settings()
        };
        assert_eq!(
            parsed(1, &test_page(), LIMITS, Some(RIGHTS), &settings),
            json!({
                "@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json",
                "@id": "http://e.org/iiif/test.tif",
                "width": 1000,
                "height": 700,
                "scale_factors": [1, 2, 4],
                "tile_width": 256,
                "tile_height": 256,
                "formats": ["jpg", "png"],
                "qualities": ["native", "color", "grey", "bitonal"],
                "profile": "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2",
            })
        );
    }

    #[test]
    fn the_document_tells_what_the_server_does() {
        let few = IiifSettings {
            formats: vec![OutputFormat::Jpeg],
            limits: Limits {
                allow_upscaling: false,
                ..Limits::default()
            },
            cors: false,
            extensions: true,
            ..settings()
        };
        let grey = grey_page_of(&[(1000, 700)], TILE);
        let v3 = parsed(3, &grey, LIMITS, None, &few);
        assert_eq!(v3["profile"], "level1");
        assert_eq!(v3["extraFormats"], json!([]));
        assert_eq!(
            v3["extraQualities"],
            json!(["gray", "bitonal", "negative", "stretch", "equalization", "log"])
        );
        assert!(!v3["extraFeatures"].to_string().contains("sizeUpscaling"));
        assert_eq!(v3.get("rights"), None);
        assert_eq!(v3.get("service"), None);
        let v2 = parsed(2, &grey, LIMITS, None, &few)["profile"][1].clone();
        assert_eq!(v2["formats"], json!(["jpg"]));
        assert!(!v2["supports"].to_string().contains("sizeAboveFull"));
        assert!(!v2["supports"].to_string().contains("cors"));
    }

    #[test]
    fn sizes_are_those_that_can_be_asked_for() {
        let limits = |max_width, max_height, max_area| PictureLimits {
            max_width,
            max_height,
            max_area,
        };
        for (levels, limits, expected) in [
            (
                &[(1000, 700), (500, 350)][..],
                limits(600, 600, 400_000_000),
                Some(json!([{ "width": 500, "height": 350 }])),
            ),
            (
                &[(1000, 700), (500, 350)],
                limits(1000, 1000, 200_000),
                Some(json!([{ "width": 500, "height": 350 }])),
            ),
            (&[(1000, 700), (500, 350)], limits(300, 300, 400_000_000), None),
            (
                &[(2, 1), (1, 1), (1, 1)],
                LIMITS,
                Some(json!([{ "width": 1, "height": 1 }, { "width": 2, "height": 1 }])),
            ),
            (&[(7, 9)], LIMITS, Some(json!([{ "width": 7, "height": 9 }]))),
        ] {
            let page = page_of(levels, TILE);
            for version in [2, 3] {
                let document = parsed(version, &page, limits, None, &settings());
                assert_eq!(document.get("sizes").cloned(), expected, "{levels:?}");
            }
        }
        let limited = parsed(3, &test_page(), limits(5000, 5000, 9), None, &settings());
        assert_eq!(limited["maxArea"], 9);
        let limited = parsed(2, &test_page(), limits(5000, 5000, 9), None, &settings());
        assert_eq!(limited["profile"][1]["maxArea"], 9);
    }

    #[test]
    fn scale_factors_are_powers_of_two() {
        for (levels, expected) in [
            (&[(1000, 700)][..], &[1_u64][..]),
            (&[(999, 699), (500, 350), (250, 175)], &[1, 2, 4]),
            (
                &[(8533, 6400), (266, 200), (133, 100), (64, 48)],
                &[1, 2, 4, 8, 16, 32, 64, 128],
            ),
            (&[(1000, 1000), (333, 333)], &[1, 2, 4]),
            (&[(1000, 1000), (360, 360)], &[1, 2]),
            (&[(1000, 1000), (900, 900)], &[1]),
        ] {
            assert_eq!(scale_factors(&page_of(levels, TILE)), expected, "{levels:?}");
        }
        assert_eq!(scale_factors(&page_of(&[(u32::MAX, 1), (1, 1)], TILE)).len(), 33);
    }

    #[test]
    fn tiles_are_never_larger_than_the_limits() {
        let page = page_of(&[(1000, 700)], Size::new(512, 128));
        for (max_width, max_height, max_area, expected) in [
            (5000, 5000, 400_000_000, (512, 128)),
            (300, 300, 400_000_000, (300, 128)),
            (5000, 5000, 20_000, (256, 64)),
            (5000, 5000, 0, (1, 1)),
        ] {
            let size = tile_size(
                &page,
                PictureLimits {
                    max_width,
                    max_height,
                    max_area,
                },
            );
            assert_eq!((size.width, size.height), expected);
        }
    }

    #[test]
    fn rights_go_where_their_form_belongs() {
        for (rights, v3, license) in [
            (RIGHTS, true, true),
            ("http://creativecommons.org/licenses/by/4.0/", true, true),
            (
                "https://www.creativecommons.org/publicdomain/zero/1.0/",
                true,
                true,
            ),
            ("https://example.org/terms", false, true),
            ("http://creativecommons.org.evil.org/", false, true),
            ("(c) 2026 \"Museum\"\u{1}", false, false),
            ("https://a.org/ and more", false, false),
            ("https://", false, false),
            ("creativecommons.org/licenses/by/4.0/", false, false),
        ] {
            let document = parsed(3, &test_page(), LIMITS, Some(rights), &settings());
            assert_eq!(
                document.get("rights"),
                v3.then(|| json!(rights)).as_ref(),
                "{rights}"
            );
            let document = parsed(2, &test_page(), LIMITS, Some(rights), &settings());
            assert_eq!(
                document.get("license"),
                license.then(|| json!(rights)).as_ref(),
                "{rights}"
            );
            assert_eq!(
                document.get("attribution"),
                (!license).then(|| json!(rights)).as_ref(),
                "{rights}"
            );
        }
    }

    #[test]
    fn services_of_the_operator_join_ours() {
        let settings = IiifSettings {
            extra_info: ExtraInfo::parse("\"service\": [{\"id\": \"x\"}]").unwrap(),
            ..settings()
        };
        for version in [2, 3] {
            let document = parsed(version, &test_page(), LIMITS, None, &settings);
            assert_eq!(document["service"].as_array().map(Vec::len), Some(2));
            assert_eq!(document["service"][1], json!({ "id": "x" }));
        }
    }

    proptest! {
        #[test]
        fn the_document_is_json_whatever_id_and_rights_hold(id in ".*", rights in ".*", version in 1_u8..=3) {
            let text = document(version, &id, &test_page(), LIMITS, Some(&rights), &settings());
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value[if version == 3 { "id" } else { "@id" }], &json!(id));
            if version == 2 {
                let name = if is_uri(&rights) { "license" } else { "attribution" };
                prop_assert_eq!(&value[name], &json!(rights));
            }
        }
    }
}
