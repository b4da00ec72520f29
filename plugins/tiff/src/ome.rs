//! The little of OME-XML that a server can show: channel names and the physical size of a pixel.
//!
//! Not an XML parser: it looks for start tags and their attributes, and ignores what it does not
//! understand. The document is the ImageDescription of the first directory.

use iiphost_plugin_api::{PageInfo, Resolution, ResolutionUnit};

/// Takes over names and size from an OME-XML description; other descriptions change nothing.
pub(crate) fn apply(description: &[u8], pages: &mut [PageInfo]) {
    let Ok(text) = std::str::from_utf8(description) else {
        return;
    };
    if !text.contains("<OME") {
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
    let names: Vec<String> = tags(text, "Channel")
        .map(|channel| attribute(channel, "Name").map(unescaped).unwrap_or_default())
        .collect();
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
    if names.is_empty() || before_channels == 0 {
        return;
    }
    for (plane, page) in pages.iter_mut().filter(|page| page.listed).enumerate() {
        let name = &names[plane / before_channels % names.len()];
        if page.name.is_empty() && page.band_count == 1 {
            page.name.clone_from(name);
        }
    }
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

/// The five entities of XML.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// Pixels per centimeter from the physical size of a pixel.
fn resolution(pixels: &str) -> Option<Resolution> {
    let side = |size: &str, unit: &str| {
        let value: f64 = attribute(pixels, size)?.parse().ok()?;
        let units_per_cm = match attribute(pixels, unit).unwrap_or("µm") {
            "nm" => 1e7,
            // Micro sign and Greek mu.
            "µm" | "μm" => 1e4,
            "mm" => 10.0,
            "cm" => 1.0,
            "m" => 0.01,
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
    }
}
