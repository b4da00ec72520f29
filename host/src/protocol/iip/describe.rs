//! What the objects of `OBJ` say about an image.

use std::collections::BTreeMap;

use iiphost_plugin_api::{ColorModel, Resolution, ResolutionUnit, SampleFormat};

use crate::error::Error;
use crate::image_info::Page;
use crate::protocol::OpenedImage;

use super::number_text::significant;
use super::object::Object;

/// The image a request speaks of.
#[derive(Debug)]
pub(super) struct Subject<'a, I> {
    /// The image as it was named.
    pub(super) image: &'a I,
    /// The image that holds the selected view.
    pub(super) selected: &'a I,
    /// Its page.
    pub(super) page: &'a Page,
    /// Width and height change places in pictures.
    pub(super) transposed: bool,
}

/// The lines of an object that needs no image, each ended by CR LF.
pub(super) fn server_lines(object: Object) -> &'static str {
    match object {
        Object::Server => "IIP-server:3.65\r\n",
        Object::OptionalCommands => {
            "IIP-opt-comm:CVT CNT QLT JTL JTLS WID HEI RGN MINMAX SHD CMP INV CTW\r\n"
        }
        Object::OptionalObjects => {
            "IIP-opt-obj:Horizontal-views Vertical-views Tile-size Bits-per-channel \
             Min-Max-sample-values Resolutions\r\n"
        }
        _ => "",
    }
}

/// The lines of any object about an image, each ended by CR LF; empty if there is nothing to say.
pub(super) fn image_lines<I: OpenedImage>(
    object: Object,
    subject: &Subject<'_, I>,
) -> Result<Vec<u8>, Error> {
    let page = subject.page;
    let line = |text: String| Ok(format!("{text}\r\n").into_bytes());
    match object {
        Object::Iip | Object::Server | Object::OptionalCommands | Object::OptionalObjects => {
            Ok(server_lines(object).into())
        }
        Object::BasicInfo => {
            let mut lines = server_lines(Object::Server).as_bytes().to_vec();
            for object in [Object::MaxSize, Object::ResolutionNumber, Object::ColorSpace] {
                lines.extend(image_lines(object, subject)?);
            }
            Ok(lines)
        }
        Object::MaxSize => {
            let size = page.size();
            let size = if subject.transposed {
                size.transposed()
            } else {
                size
            };
            line(format!("Max-size:{} {}", size.width, size.height))
        }
        Object::ResolutionNumber => line(format!("Resolution-number:{}", page.levels.len())),
        Object::Resolutions => line(format!("Resolutions:{}", resolutions(page))),
        Object::TileSize => line(format!(
            "Tile-size:{} {}",
            page.tile_size.width, page.tile_size.height
        )),
        Object::BitsPerChannel => line(format!("Bits-per-channel:{}", page.bit_depth)),
        Object::SampleRange => line(format!("Min-Max-sample-values:{}", sample_ranges(page))),
        Object::HorizontalViews => line(format!(
            "Horizontal-views:{}",
            numbers(&subject.image.horizontal_views())
        )),
        Object::VerticalViews => line(format!(
            "Vertical-views:{}",
            numbers(&subject.image.vertical_views())
        )),
        Object::ColorSpace => line(format!(
            "Colorspace,0-{},0:{}",
            page.levels.len().saturating_sub(1),
            color_space(page)
        )),
        Object::Dpi => match page.resolution.and_then(pixels_per_meter) {
            Some((x, y)) => line(format!("DPI:{x:.6} {y:.6}")),
            None => Ok(Vec::new()),
        },
        Object::Stack => Ok(stack(subject).into_bytes()),
        Object::SummaryInfo => Ok(["rights", "description", "creator", "date", "software"]
            .into_iter()
            .flat_map(|name| text_line(subject.selected, name))
            .collect()),
        Object::Text(name) => Ok(text_line(subject.selected, name)),
        Object::Xmp => Ok(match subject.selected.xmp()? {
            Some(packet) if !packet.is_empty() => [packet.as_ref(), b"\r\n"].concat(),
            _ => Vec::new(),
        }),
        Object::Metadata => Ok(metadata(subject.selected).into_bytes()),
    }
}

/// Sizes of the levels, smallest first.
fn resolutions(page: &Page) -> String {
    let sizes: Vec<String> = page
        .levels
        .iter()
        .rev()
        .map(|level| format!("{} {}", level.size.width, level.size.height))
        .collect();
    sizes.join(",")
}

/// Smallest and largest value of each band in stored units. Each number has a blank on both sides, but
/// nothing follows the last one: clients split at runs of blanks.
fn sample_ranges(page: &Page) -> String {
    let known = match page.stated_ranges.is_empty() {
        true => &page.ranges,
        false => &page.stated_ranges,
    };
    let stated = known.iter().copied().map(Some);
    let ranges = stated
        .chain(std::iter::repeat(None))
        .take(page.band_count as usize);
    let text: String = ranges
        .map(|range| range.unwrap_or_else(|| whole_range(page)))
        .map(|(min, max)| format!(" {}  {} ", significant(min, 9), significant(max, 9)))
        .collect();
    text.trim_end().to_owned()
}

/// The range of samples whose file states none.
fn whole_range(page: &Page) -> (f64, f64) {
    if page.sample_format == SampleFormat::F32 {
        return (0.0, 1.0);
    }
    let values = 2f64.powi(i32::try_from(page.bit_depth.min(32)).unwrap_or(32));
    if page.signed {
        (-values / 2.0, values / 2.0 - 1.0)
    } else {
        (0.0, values - 1.0)
    }
}

/// Calibration, color space, number and order of the planes. Everything in color is called sRGB.
fn color_space(page: &Page) -> &'static str {
    match page.color_model {
        ColorModel::CieLab => "1 0 4 3 0 1 2",
        _ if page.is_color() => "0 0 3 3 0 1 2",
        ColorModel::Grey => "0 0 1 1 0",
        _ if page.color_band_count == 1 => "0 0 1 1 0",
        _ => "0 0 3 3 0 1 2",
    }
}

/// Physical resolution, in the single precision in which files state it and clients expect it.
fn pixels_per_meter(resolution: Resolution) -> Option<(f32, f32)> {
    let scale = match resolution.unit {
        ResolutionUnit::Inch => 1.0 / 0.0254,
        ResolutionUnit::Centimeter => 100.0,
        ResolutionUnit::None => return None,
    };
    let (x, y) = ((resolution.x * scale) as f32, (resolution.y * scale) as f32);
    (x.is_finite() && y.is_finite() && x > 0.0 && y > 0.0).then_some((x, y))
}

/// Numbers with blanks between them.
fn numbers(numbers: &[i64]) -> String {
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    texts.join(" ")
}

/// A text of the image as stored, and CR LF; nothing if it is absent.
fn text_line<I: OpenedImage>(image: &I, name: &str) -> Vec<u8> {
    match image.info().text(name) {
        Some(text) if !text.is_empty() => [text, b"\r\n"].concat(),
        _ => Vec::new(),
    }
}

/// The pages of a stack as JSON; nothing if the image is no stack.
fn stack<I: OpenedImage>(subject: &Subject<'_, I>) -> String {
    let info = subject.image.info();
    if info.views.len() < 2 {
        return String::new();
    }
    let entries: Vec<String> = subject
        .image
        .horizontal_views()
        .into_iter()
        .zip(&info.views)
        .filter_map(|(id, page)| Some((id, info.pages.get(*page)?)))
        .map(|(id, page)| {
            format!(
                "\n\t{{\n\t\t\"id\": {id},\n\t\t\"name\": {},\n\t\t\"scale\": {}\n\t}}",
                json_string(page.name.as_bytes()),
                json_number(page.scale)
            )
        })
        .collect();
    format!("[ {}\n]\r\n", entries.join(","))
}

/// All texts as JSON in alphabetical order. The first of several texts of one name counts.
fn metadata<I: OpenedImage>(image: &I) -> String {
    let mut texts = BTreeMap::new();
    for (name, text) in &image.info().text {
        if !text.is_empty() && !matches!(name.as_str(), "icc" | "xmp" | "exif") {
            texts.entry(name.as_str()).or_insert(text.as_slice());
        }
    }
    if texts.is_empty() {
        return "{\n}\r\n".to_owned();
    }
    let entries: Vec<String> = texts
        .into_iter()
        .map(|(name, text)| format!("\n\t{}: {}", json_string(name.as_bytes()), json_string(text)))
        .collect();
    format!("{{ {}\n}}\r\n", entries.join(","))
}

/// A JSON string. Text that is not UTF-8 is taken for ISO 8859-1, as older files have it.
pub(super) fn json_string(text: &[u8]) -> String {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().copied().map(char::from).collect(),
    };
    serde_json::Value::String(text).to_string()
}

/// A JSON number with up to 9 significant digits; `null` for what is no number in JSON.
fn json_number(value: f64) -> String {
    if value.is_finite() {
        significant(value, 9)
    } else {
        "null".to_owned()
    }
}
