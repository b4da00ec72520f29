//! From the parameters of an image request to a [`View`].

use iiphost_plugin_api::AlphaMode;

use super::parse::{Parameters, Quality};
use crate::image_info::Page;
use crate::protocol::base::Base;
use crate::view::{
    ColorMode, Contrast, Frame, Gamma, Output, OutputFormat, OverLimit, Processing, SizeRules, Upscaling,
    View,
};

/// What was asked for; `base` holds the settings a query gave before.
pub(super) fn view(
    parameters: &Parameters,
    version: u8,
    page: usize,
    format: OutputFormat,
    base: &Base,
) -> View {
    View {
        page,
        frame: Frame::Export {
            region: parameters.region,
            size: parameters.size,
            rules: rules(version, parameters.upscale),
        },
        turn: parameters.turn,
        processing: processing(parameters.quality, &base.processing),
        output: Output {
            format,
            ..base.output
        },
        quality_layers: base.quality_layers,
    }
}

/// Version 3 tells sizes above the region apart by `^` and refuses sizes above the limits; earlier
/// versions enlarge freely and shrink what is too large.
fn rules(version: u8, upscale: bool) -> SizeRules {
    let (upscaling, over_limit) = match (version, upscale) {
        (3.., true) => (Upscaling::Requested, OverLimit::Refuse),
        (3.., false) => (Upscaling::Refused, OverLimit::Refuse),
        _ => (Upscaling::IfAllowed, OverLimit::RefuseExact),
    };
    SizeRules {
        upscaling,
        over_limit,
        match_tiles: true,
    }
}

fn processing(quality: Quality, base: &Processing) -> Processing {
    let mut processing = base.clone();
    match quality {
        Quality::Default | Quality::Color => {}
        Quality::Gray => processing.color_mode = ColorMode::Grey,
        Quality::Bitonal => processing.color_mode = ColorMode::Bilevel,
        Quality::Negative => processing.invert = true,
        Quality::Stretch => processing.contrast = Contrast::Stretch,
        Quality::Equalization => processing.contrast = Contrast::Equalize,
        Quality::Log => processing.gamma = Gamma::Log,
    }
    processing
}

/// The quality in canonical form: the default one where it gives the same pixels.
pub(super) fn canonical_quality(quality: Quality, page: &Page, version: u8) -> &'static str {
    let plain_grey = !page.is_color() && page.alpha == AlphaMode::None;
    let same_as_default = match quality {
        Quality::Default | Quality::Color => true,
        Quality::Gray => plain_grey,
        _ => false,
    };
    match quality {
        _ if same_as_default && version == 1 => "native",
        _ if same_as_default => Quality::Default.name(),
        Quality::Gray if version == 1 => "grey",
        quality => quality.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Size;
    use crate::protocol::fake::{grey_page_of, page_of};
    use crate::view::{RegionSpec, SizeSpec, Turn};

    fn parameters(quality: Quality, upscale: bool) -> Parameters {
        Parameters {
            region: RegionSpec::Square,
            size: SizeSpec::Width(500),
            upscale,
            turn: Turn {
                mirror: true,
                degrees: 22.5,
            },
            quality,
            format: Some(OutputFormat::Png),
        }
    }

    #[test]
    fn rules_follow_the_version() {
        for (version, upscale, upscaling, over_limit) in [
            (3, false, Upscaling::Refused, OverLimit::Refuse),
            (3, true, Upscaling::Requested, OverLimit::Refuse),
            (2, false, Upscaling::IfAllowed, OverLimit::RefuseExact),
            (1, false, Upscaling::IfAllowed, OverLimit::RefuseExact),
        ] {
            let wanted = parameters(Quality::Default, upscale);
            let view = view(&wanted, version, 2, OutputFormat::Png, &Base::default());
            assert_eq!(
                view,
                View {
                    page: 2,
                    frame: Frame::Export {
                        region: RegionSpec::Square,
                        size: SizeSpec::Width(500),
                        rules: SizeRules {
                            upscaling,
                            over_limit,
                            match_tiles: true
                        },
                    },
                    turn: Turn {
                        mirror: true,
                        degrees: 22.5
                    },
                    processing: Processing::NONE,
                    output: Output::new(OutputFormat::Png),
                    quality_layers: 0,
                }
            );
        }
    }

    #[test]
    fn qualities_are_processing() {
        let none = Processing::NONE;
        for (quality, expected) in [
            (Quality::Default, none.clone()),
            (Quality::Color, none.clone()),
            (
                Quality::Gray,
                Processing {
                    color_mode: ColorMode::Grey,
                    ..none.clone()
                },
            ),
            (
                Quality::Bitonal,
                Processing {
                    color_mode: ColorMode::Bilevel,
                    ..none.clone()
                },
            ),
            (
                Quality::Negative,
                Processing {
                    invert: true,
                    ..none.clone()
                },
            ),
            (
                Quality::Stretch,
                Processing {
                    contrast: Contrast::Stretch,
                    ..none.clone()
                },
            ),
            (
                Quality::Equalization,
                Processing {
                    contrast: Contrast::Equalize,
                    ..none.clone()
                },
            ),
            (
                Quality::Log,
                Processing {
                    gamma: Gamma::Log,
                    ..none.clone()
                },
            ),
        ] {
            assert_eq!(processing(quality, &none), expected, "{quality:?}");
        }
        let base = Processing {
            gamma: Gamma::Power(2.0),
            ..none
        };
        assert_eq!(processing(Quality::Gray, &base).gamma, Gamma::Power(2.0));
    }

    #[test]
    fn qualities_without_effect_are_the_default() {
        let color = page_of(&[(10, 10)], Size::new(256, 256));
        let grey = grey_page_of(&[(10, 10)], Size::new(256, 256));
        for (quality, page, version, name) in [
            (Quality::Default, &color, 3, "default"),
            (Quality::Color, &color, 2, "default"),
            (Quality::Color, &grey, 3, "default"),
            (Quality::Gray, &color, 3, "gray"),
            (Quality::Gray, &grey, 3, "default"),
            (Quality::Bitonal, &grey, 3, "bitonal"),
            (Quality::Default, &color, 1, "native"),
            (Quality::Gray, &color, 1, "grey"),
            (Quality::Log, &grey, 2, "log"),
        ] {
            assert_eq!(canonical_quality(quality, page, version), name, "{quality:?}");
        }
    }
}
