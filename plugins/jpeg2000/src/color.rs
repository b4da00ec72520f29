//! From codestream components to the bands of a page: channels, their order, their meaning.

use iiphost_plugin_api::{AlphaMode, ColorModel, DecodeError, SampleFormat};

use crate::boxes::{ColorSpec, Definition, ImageHeader};
use iiphost_codestream::Size;

/// Deepest sample the codec decodes.
const MAX_BIT_DEPTH: u32 = 31;

/// Channels out of a palette, and definitions of channels, at most: each holds a table, or is looked for among all others.
const MAX_DESCRIBED: usize = 512;

/// One band of the page before the color transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Component of the codestream.
    pub(crate) component: usize,
    /// Entries by component value, in offset form; `None` takes the value itself.
    pub(crate) table: Option<Vec<u32>>,
    /// Significant bits.
    pub(crate) bit_depth: u32,
    /// Whether stored values are signed.
    pub(crate) signed: bool,
}

/// Range and offset of the CIELAB coordinates (ISO/IEC 15444-2 M.11.7.4.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LabRange {
    /// Range and offset of L*, a*, b*, with the largest sample value of each.
    pub(crate) axes: [(f64, f64, f64); 3],
}

/// What is done to the first three bands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transform {
    /// Nothing.
    None,
    /// 0 is white.
    Inverted,
    /// sYCC to sRGB.
    Sycc,
    /// e-sYCC to sRGB.
    Esycc,
    /// CIELAB to the encoding of TIFF.
    Lab(LabRange),
}

/// How the bands of the page come about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bands {
    /// The channels in the order of the page: colors, opacity, the others.
    pub(crate) channels: Vec<Channel>,
    /// Significant bits of the page: those of its deepest channel.
    pub(crate) bit_depth: u32,
    /// Samples are in offset form.
    pub(crate) signed: bool,
    /// What the color bands mean after the transform.
    pub(crate) color_model: ColorModel,
    /// Whether the band after the color bands is opacity.
    pub(crate) alpha: AlphaMode,
    /// From channels to bands.
    pub(crate) transform: Transform,
    /// The ICC profile that describes the bands.
    pub(crate) icc: Option<Vec<u8>>,
}

impl Bands {
    /// Works the bands out from header boxes (empty for a raw codestream) and components.
    ///
    /// # Errors
    /// `Format` when a box names a component or column that does not exist, `Unsupported` for samples the
    /// codec cannot decode.
    pub(crate) fn new(
        header: &ImageHeader,
        size: &Size,
        warnings: &mut Vec<String>,
    ) -> Result<Self, DecodeError> {
        let channels = channels(header, size)?;
        if let Some(deep) = channels.iter().find(|c| c.bit_depth > MAX_BIT_DEPTH) {
            return Err(DecodeError::unsupported(format!(
                "samples of {} bits, at most {MAX_BIT_DEPTH} can be decoded",
                deep.bit_depth
            )));
        }
        let count = channels.len();
        let known = header
            .colors
            .iter()
            .find_map(|spec| space(spec).filter(|space| space.colors() <= count));
        if known.is_none() && !header.colors.is_empty() {
            warnings.push(format!(
                "no color specification fits {count} channels: shown by their number"
            ));
        }
        let definitions = if count.max(header.definitions.len()) > MAX_DESCRIBED {
            &[][..]
        } else {
            &header.definitions
        };
        if definitions.len() < header.definitions.len() {
            warnings.push(format!("definitions of {count} channels were left out"));
        }
        let space = known.unwrap_or_else(|| guess(count, definitions));
        let (order, alpha) = order(space.colors(), count, definitions);
        let icc = header.colors.iter().find_map(|spec| match spec {
            ColorSpec::Icc(profile) if known.is_some() => Some(profile.clone()),
            _ => None,
        });
        let channels: Vec<Channel> = order.iter().map(|&index| channels[index].clone()).collect();
        let deepest = channels.iter().map(|c| c.bit_depth).max().unwrap_or(1);
        let (color_model, transform) = match space {
            Space::Grey => (ColorModel::Grey, Transform::None),
            Space::WhiteIsZero => (ColorModel::Grey, Transform::Inverted),
            Space::Rgb => (ColorModel::Rgb, Transform::None),
            Space::Sycc => (ColorModel::Rgb, Transform::Sycc),
            Space::Esycc => (ColorModel::Rgb, Transform::Esycc),
            Space::Cmyk => (ColorModel::Cmyk, Transform::None),
            Space::Lab(parameters) => (
                ColorModel::CieLab,
                Transform::Lab(lab_range(parameters, &channels)),
            ),
            Space::Any(_) => (ColorModel::Multiband, Transform::None),
        };
        let bit_depth = match color_model {
            ColorModel::CieLab if deepest <= 8 => 8,
            ColorModel::CieLab => 16,
            _ => deepest,
        };
        Ok(Self {
            signed: transform == Transform::None && channels.iter().all(|c| c.signed),
            channels,
            bit_depth,
            color_model,
            alpha,
            transform,
            icc,
        })
    }

    /// How a sample of the page is stored.
    pub(crate) fn sample_format(&self) -> SampleFormat {
        match self.bit_depth {
            0..=8 => SampleFormat::U8,
            9..=16 => SampleFormat::U16,
            _ => SampleFormat::U32,
        }
    }

    /// Bytes of a pixel of the page.
    pub(crate) fn pixel_bytes(&self) -> usize {
        self.channels.len() * self.sample_format().bytes()
    }
}

/// The channels in the order of the file (I.5.3.5).
fn channels(header: &ImageHeader, size: &Size) -> Result<Vec<Channel>, DecodeError> {
    let direct = |index: usize| -> Result<Channel, DecodeError> {
        let component = size.components.get(index).ok_or_else(|| {
            DecodeError::format(format!(
                "a channel from component {index}, the codestream has {}",
                size.components.len()
            ))
        })?;
        Ok(Channel {
            component: index,
            table: None,
            bit_depth: component.bit_depth,
            signed: component.signed,
        })
    };
    let Some(palette) = &header.palette else {
        return (0..size.components.len()).map(direct).collect();
    };
    let column = |component: u16, column: u8| -> Result<Channel, DecodeError> {
        let component = direct(usize::from(component))?.component;
        let (bit_depth, signed) = *palette.columns.get(usize::from(column)).ok_or_else(|| {
            DecodeError::format(format!(
                "a channel from column {column}, the palette has {}",
                palette.columns.len()
            ))
        })?;
        let entries = palette.entries.iter().skip(usize::from(column));
        Ok(Channel {
            component,
            table: Some(entries.step_by(palette.columns.len()).copied().collect()),
            bit_depth,
            signed,
        })
    };
    if header.mappings.is_empty() {
        // A palette needs a mapping box; without one, all columns of the first component can be meant.
        let last = u8::try_from(palette.columns.len()).unwrap_or(u8::MAX);
        return (0..last).map(|index| column(0, index)).collect();
    }
    if header.mappings.len() > MAX_DESCRIBED {
        return Err(DecodeError::format(format!(
            "{} channels out of a palette",
            header.mappings.len()
        )));
    }
    let mapped = header.mappings.iter().map(|mapping| match mapping.column {
        Some(index) => column(mapping.component, index),
        None => direct(usize::from(mapping.component)),
    });
    mapped.collect()
}

/// A color space this module knows.
#[derive(Clone, Copy, Debug)]
enum Space<'a> {
    Grey,
    WhiteIsZero,
    Rgb,
    Sycc,
    Esycc,
    Cmyk,
    Lab(&'a [u8]),
    /// So many bands without a common meaning.
    Any(usize),
}

impl Space<'_> {
    fn colors(&self) -> usize {
        match self {
            Self::Grey | Self::WhiteIsZero => 1,
            Self::Rgb | Self::Sycc | Self::Esycc | Self::Lab(_) => 3,
            Self::Cmyk => 4,
            Self::Any(count) => *count,
        }
    }
}

/// The space of a specification (ISO/IEC 15444-1 I.5.3.3, ISO/IEC 15444-2 table M.25; ICC.1 7.2.6).
fn space(spec: &ColorSpec) -> Option<Space<'_>> {
    match spec {
        ColorSpec::Enumerated { number, parameters } => match number {
            0 => Some(Space::WhiteIsZero),
            12 => Some(Space::Cmyk),
            14 => Some(Space::Lab(parameters)),
            15 | 17 => Some(Space::Grey),
            // e-sRGB and ROMM-RGB are shown as they are, like RGB without a profile.
            16 | 20 | 21 => Some(Space::Rgb),
            18 => Some(Space::Sycc),
            24 => Some(Space::Esycc),
            _ => None,
        },
        ColorSpec::Icc(profile) => match profile.get(16..20)? {
            b"GRAY" => Some(Space::Grey),
            b"RGB " => Some(Space::Rgb),
            b"CMYK" => Some(Space::Cmyk),
            b"Lab " => Some(Space::Lab(&[])),
            b"YCbr" | b"YCbR" | b"YCBr" => Some(Space::Sycc),
            _ => None,
        },
    }
}

/// The space of channels nothing is said about, by their number.
fn guess(count: usize, definitions: &[Definition]) -> Space<'static> {
    let opacities = definitions.iter().filter(|d| matches!(d.kind, 1 | 2)).count();
    let colors = if opacities > 0 {
        count.saturating_sub(opacities)
    } else {
        count
    };
    match colors {
        1 => Space::Grey,
        3 => Space::Rgb,
        2 if opacities == 0 => Space::Grey,
        4 if opacities == 0 => Space::Rgb,
        colors => Space::Any(colors.max(1)),
    }
}

/// The order of channels in the page: colors, opacity, the others; and whether there is opacity.
fn order(colors: usize, count: usize, definitions: &[Definition]) -> (Vec<usize>, AlphaMode) {
    if definitions.is_empty() {
        // Nothing is said about a second or fourth channel: it is opacity more often than anything else.
        let alpha = match (colors, count) {
            (1, 2) | (3, 4) => AlphaMode::Unassociated,
            _ => AlphaMode::None,
        };
        return ((0..count).collect(), alpha);
    }
    let mut order: Vec<usize> = Vec::with_capacity(count);
    let find = |wanted: &dyn Fn(&Definition) -> bool, taken: &[usize]| {
        let found = definitions.iter().filter(|d| wanted(d));
        let mut channels = found.map(|d| usize::from(d.channel));
        channels.find(|&c| c < count && !taken.contains(&c))
    };
    for color in 1..=colors {
        let named = |d: &Definition| d.kind == 0 && usize::from(d.association) == color;
        let opaque = |channel: usize| {
            definitions
                .iter()
                .any(|d| usize::from(d.channel) == channel && matches!(d.kind, 1 | 2))
        };
        // A color nobody names is the next channel that is not opacity.
        let next = find(&named, &order).or_else(|| {
            let mut rest = (0..count).filter(|c| !order.contains(c));
            rest.find(|&c| !opaque(c))
        });
        order.extend(next);
    }
    if order.len() < colors {
        // Opacity where a color should be: the order of the file is as good as any.
        return ((0..count).collect(), AlphaMode::None);
    }
    let whole = |d: &Definition| {
        matches!(d.kind, 1 | 2) && (d.association == 0 || (d.association == 1 && colors == 1))
    };
    let opacity = find(&whole, &order);
    order.extend(opacity);
    let alpha = match opacity.and_then(|c| definitions.iter().find(|d| usize::from(d.channel) == c)) {
        Some(definition) if definition.kind == 2 => AlphaMode::Associated,
        Some(_) => AlphaMode::Unassociated,
        None => AlphaMode::None,
    };
    let rest: Vec<usize> = (0..count).filter(|c| !order.contains(c)).collect();
    order.extend(rest);
    (order, alpha)
}

/// The parameters of the CIELAB space, or their defaults (ISO/IEC 15444-2 M.11.7.4.1).
fn lab_range(parameters: &[u8], channels: &[Channel]) -> LabRange {
    let numbers: Vec<f64> = parameters
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f64::from(u32::from_be_bytes(bytes)))
        .collect();
    let depth = |axis: usize| channels.get(axis).map_or(8, |c| c.bit_depth);
    let power = |axis: usize, less: u32| (depth(axis) as i32 - less as i32).max(0);
    let two = |power: i32| 2f64.powi(power);
    let defaults = [
        (100.0, 0.0),
        (170.0, two(power(1, 1))),
        (200.0, two(power(2, 2)) + two(power(2, 3))),
    ];
    let axes = [0, 1, 2].map(|axis| {
        let (mut range, mut offset) = defaults[axis];
        if let (true, Some(&[r, o])) = (numbers.len() >= 6, numbers.get(2 * axis..2 * axis + 2)) {
            (range, offset) = (r, o);
        }
        (range, offset, two(depth(axis) as i32) - 1.0)
    });
    LabRange { axes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::{Mapping, Palette};
    use iiphost_codestream::Component;
    use iiphost_plugin_api::ErrorKind;

    fn size(depths: &[u32]) -> Size {
        Size {
            image: [0, 0, 8, 8],
            tile_origin: [0, 0],
            tile: [8, 8],
            components: depths
                .iter()
                .map(|&bit_depth| Component {
                    bit_depth,
                    signed: false,
                    dx: 1,
                    dy: 1,
                })
                .collect(),
        }
    }

    fn header(number: u32, definitions: &[(u16, u16, u16)]) -> ImageHeader {
        ImageHeader {
            colors: vec![ColorSpec::Enumerated {
                number,
                parameters: vec![],
            }],
            definitions: definitions
                .iter()
                .map(|&(channel, kind, association)| Definition {
                    channel,
                    kind,
                    association,
                })
                .collect(),
            ..ImageHeader::default()
        }
    }

    fn bands(header: &ImageHeader, depths: &[u32]) -> Bands {
        Bands::new(header, &size(depths), &mut Vec::new()).unwrap()
    }

    fn components(bands: &Bands) -> Vec<usize> {
        bands.channels.iter().map(|c| c.component).collect()
    }

    #[test]
    fn definitions_put_colors_first_and_opacity_after_them() {
        let header = header(16, &[(0, 1, 0), (1, 0, 3), (2, 0, 2), (3, 0, 1)]);
        let bands = bands(&header, &[8, 8, 8, 8]);
        assert_eq!(components(&bands), [3, 2, 1, 0]);
        assert_eq!(
            (bands.color_model, bands.alpha),
            (ColorModel::Rgb, AlphaMode::Unassociated)
        );
    }

    #[test]
    fn premultiplied_opacity_is_told() {
        let bands = bands(&header(17, &[(0, 0, 1), (1, 2, 0)]), &[8, 8]);
        assert_eq!(bands.alpha, AlphaMode::Associated);
    }

    #[test]
    fn channels_without_a_meaning_come_last() {
        let bands = bands(&header(17, &[(0, 65535, 65535), (1, 0, 1), (2, 1, 0)]), &[8; 3]);
        assert_eq!(components(&bands), [1, 2, 0]);
    }

    #[test]
    fn definitions_that_make_no_sense_keep_the_order_of_the_file() {
        let bands = bands(&header(16, &[(0, 1, 0), (1, 1, 0), (9, 0, 1)]), &[8; 3]);
        assert_eq!(components(&bands), [0, 1, 2]);
        assert_eq!(bands.alpha, AlphaMode::None);
    }

    #[test]
    fn raw_codestreams_are_shown_by_their_number_of_components() {
        let raw = ImageHeader::default();
        let model = |depths: &[u32]| {
            let bands = bands(&raw, depths);
            (bands.color_model, bands.alpha)
        };
        assert_eq!(model(&[8]), (ColorModel::Grey, AlphaMode::None));
        assert_eq!(model(&[8; 2]), (ColorModel::Grey, AlphaMode::Unassociated));
        assert_eq!(model(&[8; 3]), (ColorModel::Rgb, AlphaMode::None));
        assert_eq!(model(&[8; 4]), (ColorModel::Rgb, AlphaMode::Unassociated));
        assert_eq!(model(&[8; 7]), (ColorModel::Multiband, AlphaMode::None));
    }

    #[test]
    fn a_space_with_more_colors_than_channels_is_not_believed() {
        let mut warnings = Vec::new();
        let bands = Bands::new(&header(16, &[]), &size(&[8]), &mut warnings).unwrap();
        assert_eq!(bands.color_model, ColorModel::Grey);
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn the_page_has_the_depth_of_its_deepest_channel() {
        let bands = bands(&header(16, &[]), &[5, 12, 8]);
        assert_eq!((bands.bit_depth, bands.sample_format()), (12, SampleFormat::U16));
        assert_eq!(bands.pixel_bytes(), 6);
    }

    #[test]
    fn a_mapping_past_the_palette_or_the_components_is_refused() {
        let mut header = header(16, &[]);
        header.palette = Some(Palette {
            columns: vec![(8, false); 2],
            entries: vec![1, 2, 3, 4],
        });
        let mut try_mapping = |component, column| {
            header.mappings = vec![Mapping {
                component,
                column: Some(column),
            }];
            Bands::new(&header, &size(&[8]), &mut Vec::new())
        };
        assert_eq!(try_mapping(0, 1).unwrap().channels[0].table, Some(vec![2, 4]));
        assert_eq!(try_mapping(0, 2).unwrap_err().kind(), ErrorKind::Format);
        assert_eq!(try_mapping(1, 0).unwrap_err().kind(), ErrorKind::Format);
    }

    #[test]
    fn channels_by_the_thousands_are_not_looked_for_among_each_other() {
        // Each of them among all that are placed, for each color: hours.
        let depths = vec![8; 16_384];
        let bands = bands(&header(0, &[(9, 0, 9)]), &depths);
        assert!(components(&bands).into_iter().eq(0..16_384));
        let mut header = header(16, &[]);
        header.palette = Some(Palette {
            columns: vec![(8, false)],
            entries: vec![1; 1024],
        });
        let mapping = Mapping {
            component: 0,
            column: Some(0),
        };
        // Four bytes of the file, four kilobytes of tables.
        header.mappings = vec![mapping; 1 << 20];
        let error = Bands::new(&header, &size(&[8]), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
    }

    #[test]
    fn samples_deeper_than_the_codec_are_refused_by_name() {
        let error = Bands::new(&ImageHeader::default(), &size(&[38]), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("38 bits"), "{error}");
    }
}
