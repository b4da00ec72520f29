//! `Link` fields of pictures: the profile, and the canonical URI (Image API 3.0 section 4.7, 2.1.1 section
//! 4.7).

use iiphost_plugin_api::Region;

use crate::image_info::Page;
use crate::limits::Size;
use crate::plan::Plan;
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
    /// What `max` gives for this region, if that can be made.
    pub max: Option<Size>,
    /// What `^max` gives for this region, if that can be made.
    pub max_upscaled: Option<Size>,
    /// Mirror and turn.
    pub turn: Turn,
    /// Format of the picture.
    pub format: OutputFormat,
}

impl Shown {
    /// The picture a plan makes of a page.
    #[must_use]
    pub fn of(made: &Plan, page: &Page) -> Self {
        Self {
            full: page.size(),
            region: made.full_region,
            size: made.size,
            max: Some(made.max_size),
            max_upscaled: made.max_upscaled_size,
            turn: made.turn,
            format: made.output.format,
        }
    }
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
    if shown.max == Some(size) {
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
    use super::super::address::{Wanted, recognize};
    use super::super::parse::Grammar;
    use super::super::view;
    use super::*;
    use crate::error::Error;
    use crate::limits::Limits;
    use crate::plan;
    use crate::protocol::base::Base;
    use crate::protocol::fake::page_of;

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
            max: Some(Size::new(region.2, region.3)),
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
            max: Some(Size::new(300, 210)),
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

    fn asked(version: u8, parameters: &str, limits: &Limits) -> Result<String, Error> {
        let page = page_of(&[(1000, 700), (500, 350), (250, 175)], Size::new(256, 256));
        let formats = [OutputFormat::Jpeg, OutputFormat::Png];
        let grammar = Grammar {
            version,
            extensions: false,
            formats: &formats,
        };
        let text = format!("x/{parameters}");
        let Wanted::Picture { parameters, .. } = recognize(text.as_bytes(), grammar) else {
            return Err(Error::bad_request("syntax"));
        };
        let format = parameters.format.unwrap();
        let view = view::view(&parameters, version, 0, format, &Base::default());
        let made = plan::plan(&view, &page, limits)?;
        let uri = canonical(&rule(version), &Shown::of(&made, &page));
        Ok(uri
            .strip_prefix("http://e.org/iiif/a%20b.tif/")
            .unwrap()
            .to_owned())
    }

    #[test]
    fn equal_pictures_have_one_canonical_uri_which_names_itself() {
        let small = Limits {
            max_export_side: Some(300),
            ..Limits::default()
        };
        let usual = Limits::default();
        for (limits, version, asked_for, expected) in [
            (&usual, 3, "full/max/0/default.jpg", "full/max/0/default.jpg"),
            (
                &usual,
                3,
                "0,0,1000,700/1000,/360/default.jpg",
                "full/max/0/default.jpg",
            ),
            (
                &usual,
                3,
                "pct:0,0,100,100/pct:100/0/default.jpg",
                "full/max/0/default.jpg",
            ),
            (
                &usual,
                3,
                "0,0,5000,5000/^1000,700/0/default.png",
                "full/max/0/default.png",
            ),
            (
                &usual,
                3,
                "square/max/!90.0/default.jpg",
                "150,0,700,700/max/!90/default.jpg",
            ),
            (&usual, 3, "full/,350/0/default.jpg", "full/500,350/0/default.jpg"),
            (
                &usual,
                3,
                "full/!300,300/0/default.jpg",
                "full/300,210/0/default.jpg",
            ),
            (
                &usual,
                3,
                "full/pct:33.3/0/default.jpg",
                "full/333,233/0/default.jpg",
            ),
            (&usual, 3, "full/^max/0/default.jpg", "full/^max/0/default.jpg"),
            (&usual, 3, "full/^5000,/0/default.jpg", "full/^max/0/default.jpg"),
            (
                &usual,
                3,
                "full/^!6000,6000/0/default.jpg",
                "full/^max/0/default.jpg",
            ),
            (
                &usual,
                3,
                "full/^2000,/0/default.jpg",
                "full/^2000,1400/0/default.jpg",
            ),
            (
                &usual,
                3,
                "999,699,50,50/max/0/default.jpg",
                "999,699,1,1/max/0/default.jpg",
            ),
            (&small, 3, "full/max/0/default.jpg", "full/max/0/default.jpg"),
            (&small, 3, "full/300,/0/default.jpg", "full/max/0/default.jpg"),
            (&usual, 2, "full/full/0/default.jpg", "full/full/0/default.jpg"),
            (&usual, 2, "full/max/0/default.jpg", "full/full/0/default.jpg"),
            (
                &usual,
                2,
                "full/!500,500/0/default.jpg",
                "full/500,/0/default.jpg",
            ),
            (&usual, 2, "full/500,350/0/default.jpg", "full/500,/0/default.jpg"),
            (
                &usual,
                2,
                "full/500,100/0/default.jpg",
                "full/500,100/0/default.jpg",
            ),
            (&small, 2, "full/full/0/default.jpg", "full/300,/0/default.jpg"),
        ] {
            let uri = asked(version, asked_for, limits).unwrap();
            assert_eq!(uri, expected, "{asked_for}");
            assert_eq!(asked(version, &uri, limits).unwrap(), expected, "{asked_for}");
        }
    }

    #[test]
    fn sizes_the_image_decides_about_are_refused_by_the_plan() {
        let usual = Limits::default();
        let fixed = Limits {
            allow_upscaling: false,
            ..Limits::default()
        };
        for (limits, version, parameters, status) in [
            (&usual, 3, "full/2000,/0/default.jpg", 400),
            (&usual, 3, "full/^6000,100/0/default.jpg", 400),
            (&usual, 3, "1000,0,10,10/max/0/default.jpg", 400),
            (&usual, 3, "pct:0,0,0.01,50/max/0/default.jpg", 400),
            (&usual, 2, "full/6000,100/0/default.jpg", 400),
            (&fixed, 3, "full/^2000,/0/default.jpg", 501),
            (&fixed, 3, "full/^max/0/default.jpg", 501),
        ] {
            assert_eq!(
                asked(version, parameters, limits).unwrap_err().status(),
                status,
                "{parameters}"
            );
        }
    }
}
