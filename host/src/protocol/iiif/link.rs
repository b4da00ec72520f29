//! `Link` fields of pictures: the profile, and the canonical URI (Image API 3.0 section 4.7, 2.1.1 section
//! 4.7).

use iiphost_plugin_api::Region;

use crate::limits::Size;
use crate::protocol::LinkRule;
use crate::view::{OutputFormat, Turn};

/// A finished picture in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Full size of the page.
    pub full: Size,
    /// The region in pixels of the full size, inside it.
    pub region: Region,
    /// Size of the picture before it was turned.
    pub size: Size,
    /// What `max` gives for this region.
    pub max: Size,
    /// What `^max` gives for this region, if enlarging is allowed.
    pub max_upscaled: Option<Size>,
    /// Mirror and turn.
    pub turn: Turn,
    /// Format of the picture.
    pub format: OutputFormat,
}

/// The header fields of a picture that its rule asks for, names and values.
#[must_use]
pub fn link_fields(rule: &LinkRule, shown: &Shown) -> Vec<(&'static str, String)> {
    let mut link = profile(rule.version);
    if !rule.id.is_empty() {
        link.push_str(&format!(", <{}>;rel=\"canonical\"", canonical(rule, shown)));
    }
    let mut fields = vec![("Link", link)];
    if rule.vary_accept {
        fields.push(("Vary", "Accept".to_owned()));
    }
    fields
}

/// The compliance level as a link.
pub(super) fn profile(version: u8) -> String {
    format!("<{}>;rel=\"profile\"", profile_uri(version))
}

/// The compliance level.
pub(super) fn profile_uri(version: u8) -> String {
    match version {
        1 => "http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2".to_owned(),
        version => format!("http://iiif.io/api/image/{version}/level2.json"),
    }
}

/// The canonical URI of a picture.
#[must_use]
pub fn canonical(rule: &LinkRule, shown: &Shown) -> String {
    let Shown {
        full, region, size, ..
    } = *shown;
    let region_text =
        if (region.x, region.y) == (0, 0) && (region.width, region.height) == (full.width, full.height) {
            "full".to_owned()
        } else {
            format!("{},{},{},{}", region.x, region.y, region.width, region.height)
        };
    let size_text = if rule.version >= 3 {
        size_of_version_3(shown)
    } else if (size.width, size.height) == (region.width, region.height) {
        "full".to_owned()
    } else if size.height == height_by_ratio(size.width, region) {
        format!("{},", size.width)
    } else {
        format!("{},{}", size.width, size.height)
    };
    let mirror = if shown.turn.mirror { "!" } else { "" };
    // `f64` prints as short as it can, without an exponent.
    format!(
        "{}/{region_text}/{size_text}/{mirror}{}/{}.{}",
        rule.id,
        shown.turn.degrees,
        rule.quality,
        shown.format.extension()
    )
}

fn size_of_version_3(shown: &Shown) -> String {
    let Shown { region, size, .. } = *shown;
    if size == shown.max {
        return "max".to_owned();
    }
    let upscaled = size.width > region.width || size.height > region.height;
    if upscaled && shown.max_upscaled == Some(size) {
        return "^max".to_owned();
    }
    let caret = if upscaled { "^" } else { "" };
    format!("{caret}{},{}", size.width, size.height)
}

/// The height `w,` gives.
fn height_by_ratio(width: u32, region: Region) -> u32 {
    let height = (f64::from(width) * f64::from(region.height) / f64::from(region.width.max(1))).round();
    // A number out of range saturates and then equals no height.
    (height as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(version: u8) -> LinkRule {
        LinkRule {
            id: "http://e.org/iiif/a%20b.tif".into(),
            version,
            quality: "default",
            vary_accept: false,
        }
    }

    fn shown(region: (u32, u32, u32, u32), size: (u32, u32)) -> Shown {
        Shown {
            full: Size::new(1000, 700),
            region: Region {
                x: region.0,
                y: region.1,
                width: region.2,
                height: region.3,
            },
            size: Size::new(size.0, size.1),
            max: Size::new(region.2, region.3),
            max_upscaled: Some(Size::new(5000, 3500)),
            turn: Turn::NONE,
            format: OutputFormat::Jpeg,
        }
    }

    #[test]
    fn region_and_size_are_canonical_in_each_version() {
        let all = (0, 0, 1000, 700);
        for (region, size, v3, v2) in [
            (all, (1000, 700), "full/max", "full/full"),
            (all, (500, 350), "full/500,350", "full/500,"),
            (all, (500, 100), "full/500,100", "full/500,100"),
            (all, (5000, 3500), "full/^max", "full/5000,"),
            (all, (2000, 1400), "full/^2000,1400", "full/2000,"),
            (all, (100, 701), "full/^100,701", "full/100,701"),
            (
                (150, 0, 700, 700),
                (700, 700),
                "150,0,700,700/max",
                "150,0,700,700/full",
            ),
            ((999, 699, 1, 1), (1, 1), "999,699,1,1/max", "999,699,1,1/full"),
            ((0, 0, 1000, 1), (1, 1), "0,0,1000,1/1,1", "0,0,1000,1/1,"),
        ] {
            let shown = shown(region, size);
            for (version, expected) in [(3, v3), (2, v2), (1, v2)] {
                assert_eq!(
                    canonical(&rule(version), &shown),
                    format!("http://e.org/iiif/a%20b.tif/{expected}/0/default.jpg")
                );
            }
        }
    }

    #[test]
    fn a_maximum_below_the_region_is_still_max() {
        let limited = Shown {
            max: Size::new(300, 210),
            ..shown((0, 0, 1000, 700), (300, 210))
        };
        assert!(canonical(&rule(3), &limited).contains("/full/max/"));
        assert!(canonical(&rule(2), &limited).contains("/full/300,/"));
        let never_upscaled = Shown {
            max_upscaled: None,
            ..shown((0, 0, 1000, 700), (5000, 3500))
        };
        assert!(canonical(&rule(3), &never_upscaled).contains("/full/^5000,3500/"));
    }

    #[test]
    fn rotations_are_as_short_as_possible() {
        for (mirror, degrees, text) in [
            (false, 0.0, "0"),
            (true, 0.0, "!0"),
            (false, 22.5, "22.5"),
            (true, 270.0, "!270"),
            (false, 0.5, "0.5"),
        ] {
            let turned = Shown {
                turn: Turn { mirror, degrees },
                format: OutputFormat::Tiff,
                ..shown((0, 0, 1000, 700), (1000, 700))
            };
            let uri = canonical(&rule(3), &turned);
            assert!(uri.ends_with(&format!("/full/max/{text}/default.tif")), "{uri}");
        }
    }

    #[test]
    fn fields_are_the_profile_and_the_canonical_uri() {
        let shown = shown((0, 0, 1000, 700), (1000, 700));
        assert_eq!(
            link_fields(&rule(3), &shown),
            [(
                "Link",
                "<http://iiif.io/api/image/3/level2.json>;rel=\"profile\", \
                 <http://e.org/iiif/a%20b.tif/full/max/0/default.jpg>;rel=\"canonical\""
                    .to_owned()
            )]
        );
        let nameless = LinkRule {
            id: String::new(),
            vary_accept: true,
            ..rule(1)
        };
        assert_eq!(
            link_fields(&nameless, &shown),
            [
                (
                    "Link",
                    "<http://library.stanford.edu/iiif/image-api/1.1/compliance.html#level2>;rel=\"profile\""
                        .to_owned()
                ),
                ("Vary", "Accept".to_owned()),
            ]
        );
    }
}
