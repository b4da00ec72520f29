//! The little of OME-XML that a server can show: channel names and the physical size of a pixel.
//!
//! Not an XML parser: it looks for start tags and their attributes, and ignores what it does not
//! understand. The document is the ImageDescription of the first directory.

use std::collections::HashMap;

use iiphost_plugin_api::{PageInfo, Resolution, ResolutionUnit};

/// Takes over names and size from an OME-XML description; other descriptions change nothing.
pub(crate) fn apply(description: &[u8], pages: &mut [PageInfo]) {
    let Ok(text) = std::str::from_utf8(description) else {
        return;
    };
    if !text.contains("<OME") && !text.contains(":OME") {
        return;
    }
    let Some(pixels) = tags(text, "Pixels").next() else {
        return;
    };
    if let Some(resolution) = resolution(pixels) {
        for page in pages.iter_mut() {
            page.resolution = Some(resolution);
        }
    }
    // The name of each channel, and how many samples of a pixel are its own.
    let channels: Vec<(String, u32)> = tags(text, "Channel")
        .map(|channel| {
            let samples = attribute(channel, "SamplesPerPixel").and_then(|n| n.parse().ok());
            let name = attribute(channel, "Name").map(unescaped).unwrap_or_default();
            (name, samples.unwrap_or(1))
        })
        .collect();
    let placed = placed_samples(text);
    // `FirstC` counts samples: a channel of colors has several.
    let channel_of = |sample: u64| {
        let ends = channels.iter().scan(0, |end, (_, samples)| {
            *end += u64::from(*samples);
            Some(*end)
        });
        ends.take_while(|end| *end <= sample).count()
    };
    let sizes = |name| {
        attribute(pixels, name)
            .and_then(|n| n.parse::<usize>().ok())
            .unwrap_or(1)
    };
    // Planes follow each other in this order, the third letter fastest.
    let before_channels = match attribute(pixels, "DimensionOrder") {
        Some("XYCZT" | "XYCTZ") => 1,
        Some("XYZCT") => sizes("SizeZ"),
        Some("XYTCZ") => sizes("SizeT"),
        Some("XYZTC" | "XYTZC") => sizes("SizeZ").saturating_mul(sizes("SizeT")),
        _ => return,
    };
    if channels.is_empty() || before_channels == 0 {
        return;
    }
    for (plane, page) in pages.iter_mut().filter(|page| page.listed).enumerate() {
        let in_order = plane / before_channels % channels.len();
        let channel = placed.get(&plane).map_or(in_order, |&sample| channel_of(sample));
        let Some((name, samples)) = channels.get(channel) else {
            continue;
        };
        if page.name.is_empty() && page.band_count == *samples {
            page.name.clone_from(name);
        }
    }
}

/// The first sample (`FirstC`) of directories that are placed one by one: `TiffData` of a single plane, in any order.
fn placed_samples(text: &str) -> HashMap<usize, u64> {
    let number = |tag: &str, name: &str| attribute(tag, name).map(|n| n.trim().parse::<u64>().ok());
    tags(text, "TiffData")
        .filter_map(|data| {
            let directory = usize::try_from(number(data, "IFD")??).ok()?;
            let is_single = number(data, "PlaneCount").is_none_or(|count| count == Some(1));
            // The first one is the default.
            let sample = number(data, "FirstC").unwrap_or(Some(0))?;
            is_single.then_some((directory, sample))
        })
        .collect()
}

/// The insides of the start tags with this name, any namespace prefix.
fn tags<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    text.split('<').skip(1).filter_map(move |part| {
        let inside = part.split('>').next()?;
        let (tag, attributes) = inside.split_once(|c: char| c.is_ascii_whitespace())?;
        let tag = tag.rsplit(':').next()?;
        (tag == name).then_some(attributes)
    })
}

/// The value of an attribute.
fn attribute<'t>(attributes: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = next;
    }
}

/// The text of an attribute: the five entities of XML and references by number stand for characters.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part
            .split_once(';')
            .and_then(|(name, rest)| Some((character(name)?, rest)));
        match known {
            Some((character, rest)) => {
                out.push(character);
                out.push_str(rest);
            }
            // Not XML, but what was meant.
            None => {
                out.push('&');
                out.push_str(part);
            }
        }
    }
    out
}

/// What a reference stands for.
fn character(name: &str) -> Option<char> {
    let number = match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        "amp" => return Some('&'),
        _ => name.strip_prefix('#')?,
    };
    let code = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

/// Pixels per centimeter from the physical size of a pixel.
fn resolution(pixels: &str) -> Option<Resolution> {
    let side = |size: &str, unit: &str| {
        let value: f64 = attribute(pixels, size)?.parse().ok()?;
        let unit = attribute(pixels, unit).map_or_else(|| "µm".to_owned(), unescaped);
        let units_per_cm = match unit.as_str() {
            "Å" => 1e8,
            "nm" => 1e7,
            // Micro sign and Greek mu.
            "µm" | "μm" => 1e4,
            "mm" => 10.0,
            "cm" => 1.0,
            "m" => 0.01,
            "in" => 1.0 / 2.54,
            "pt" => 72.0 / 2.54,
            _ => return None,
        };
        (value > 0.0 && value.is_finite()).then_some(units_per_cm / value)
    };
    Some(Resolution {
        x: side("PhysicalSizeX", "PhysicalSizeXUnit")?,
        y: side("PhysicalSizeY", "PhysicalSizeYUnit")?,
        unit: ResolutionUnit::Centimeter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_whatever_their_order_and_quotes() {
        let xml = r#"<?xml version="1.0"?><OME:Pixels SizeZ = '2' PhysicalSizeX="0.5"><Channel/><Channel Name="A &amp; B" ID="1"/>"#;
        let pixels = tags(xml, "Pixels").next().unwrap();
        assert_eq!(attribute(pixels, "SizeZ"), Some("2"));
        assert_eq!(attribute(pixels, "PhysicalSizeX"), Some("0.5"));
        assert_eq!(attribute(pixels, "Size"), None);
        let channels: Vec<_> = tags(xml, "Channel").collect();
        assert_eq!(channels.len(), 1);
        assert_eq!(unescaped(attribute(channels[0], "Name").unwrap()), "A & B");
    }

    #[test]
    fn physical_size_becomes_pixels_per_centimeter() {
        let found = resolution(r#"PhysicalSizeX="0.25" PhysicalSizeY="500" PhysicalSizeYUnit="nm""#).unwrap();
        assert_eq!((found.x, found.y), (40_000.0, 20_000.0));
        assert!(resolution(r#"PhysicalSizeX="1" PhysicalSizeY="-3""#).is_none());
        for unit in ["µm", "&#181;m", "&#xB5;m", "μm"] {
            let text = format!(
                r#"PhysicalSizeX="2" PhysicalSizeXUnit="{unit}" PhysicalSizeY="0.1" PhysicalSizeYUnit="in""#
            );
            let found = resolution(&text).unwrap();
            assert!(
                (found.x - 5000.0).abs() < 1e-9 && (found.y - 10.0 / 2.54).abs() < 1e-9,
                "{unit}"
            );
        }
    }

    #[test]
    fn channels_are_named_in_any_order_with_any_prefix_and_for_colors_too() {
        use crate::ifd::ByteOrder;
        use crate::test_file::{Image, Values, open, write};
        let names = |description: &'static str, bands: u32| -> Vec<String> {
            let page = Image::new(8, 8, bands, 8);
            let first = page.clone().tag(270, Values::Ascii(description));
            let reader = open(write(&[first, page], ByteOrder::Little, false)).unwrap();
            reader.info().pages.iter().map(|page| page.name.clone()).collect()
        };
        let document = r#"<ome:OME a=""><ome:Pixels DimensionOrder="XYCZT" SizeC="2">
            <ome:Channel Name="&#945;" /><ome:Channel Name="A &amp;lt; B" /></ome:Pixels></ome:OME>"#;
        assert_eq!(names(document, 1), ["α", "A &lt; B"]);
        let turned = r#"<OME a=""><Pixels DimensionOrder="XYCZT" SizeC="2"><Channel Name="first" />
            <Channel Name="second" /><TiffData IFD="0" FirstC="1" /><TiffData IFD="1" /></Pixels></OME>"#;
        assert_eq!(names(turned, 1), ["second", "first"]);
        let colors = r#"<OME a=""><Pixels DimensionOrder="XYCZT" SizeC="3" SizeT="2">
            <Channel SamplesPerPixel="3" Name="col" /></Pixels></OME>"#;
        assert_eq!(names(colors, 3), ["col", "col"]);
        let two = r#"<OME a=""><Pixels DimensionOrder="XYCZT" SizeC="6"><Channel SamplesPerPixel="3" Name="a" />
            <Channel SamplesPerPixel="3" Name="b" /><TiffData IFD="0" FirstC="3" /><TiffData IFD="1" /></Pixels></OME>"#;
        assert_eq!(names(two, 3), ["b", "a"]);
    }
}
