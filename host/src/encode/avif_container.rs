//! The AVIF container: one AV1 picture, its alpha, profile, EXIF and XMP in an ISO base media file
//! (ISO/IEC 23008-12 HEIF, ISO/IEC 23000-22 MIAF, AVIF 1.1).

use crate::limits::Size;

/// How colors are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chroma {
    /// No color: one plane.
    Grey,
    /// 4:2:0.
    Half,
    /// 4:4:4.
    Full,
}

/// What goes into a file.
pub(super) struct Picture<'a> {
    pub(super) size: Size,
    pub(super) chroma: Chroma,
    /// Planes have 10 bits, not 8.
    pub(super) deep: bool,
    /// AV1 of the colors, full range, BT.601 matrix.
    pub(super) color: &'a [u8],
    /// AV1 of the opacity, one plane.
    pub(super) alpha: Option<&'a [u8]>,
    pub(super) icc: Option<&'a [u8]>,
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<&'a [u8]>,
}

/// ITU-T H.273: BT.709 primaries and the sRGB curve; 2 is "unspecified", for a profile says it.
pub(super) const SRGB_PRIMARIES: u16 = 1;
pub(super) const SRGB_TRANSFER: u16 = 13;
const UNSPECIFIED: u16 = 2;
const BT601_MATRIX: u16 = 6;

const PRIMARY_ITEM: u16 = 1;

/// One item: what it is and its bytes.
struct Item<'a> {
    id: u16,
    kind: &'static [u8; 4],
    /// Bytes before `data` that belong to the item.
    prefix: &'static [u8],
    data: &'a [u8],
    /// How it refers to the picture.
    reference: Option<&'static [u8; 4]>,
    properties: Uses,
}

/// Writes the file.
///
/// # Errors
/// When it would be over 4 GiB.
pub(super) fn write(picture: &Picture<'_>) -> Result<Vec<u8>, String> {
    let (properties, color_properties, alpha_properties) = properties(picture);
    let mut items = vec![Item {
        id: PRIMARY_ITEM,
        kind: b"av01",
        prefix: b"",
        data: picture.color,
        reference: None,
        properties: color_properties,
    }];
    let blocks: [(_, &'static [u8; 4], &'static [u8], &'static [u8; 4], _); 3] = [
        (picture.alpha, b"av01", b"", b"auxl", alpha_properties),
        // HEIF A.2.1: the offset of the TIFF header in what follows.
        (picture.exif, b"Exif", b"\0\0\0\0", b"cdsc", Vec::new()),
        (picture.xmp, b"mime", b"", b"cdsc", Vec::new()),
    ];
    for (data, kind, prefix, reference, properties) in blocks {
        if let Some(data) = data {
            items.push(Item {
                id: items.len() as u16 + 1,
                kind,
                prefix,
                data,
                reference: Some(reference),
                properties,
            });
        }
    }

    let mut out = Vec::new();
    let brand: &[u8; 4] = if picture.chroma == Chroma::Full {
        b"MA1A"
    } else {
        b"MA1B"
    };
    boxed(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"avif\0\0\0\0avifmif1miaf");
        out.extend_from_slice(brand);
        Ok(())
    })?;
    let mut extents = Vec::new();
    boxed(&mut out, b"meta", |out| {
        out.extend([0; 4]);
        boxed(out, b"hdlr", |out| {
            out.extend_from_slice(b"\0\0\0\0\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0");
            Ok(())
        })?;
        boxed(out, b"pitm", |out| {
            out.extend([0; 4]);
            out.extend(PRIMARY_ITEM.to_be_bytes());
            Ok(())
        })?;
        boxed(out, b"iloc", |out| {
            // Version 0; offsets and lengths of 4 bytes, no base offset.
            out.extend([0, 0, 0, 0, 0x44, 0]);
            out.extend((items.len() as u16).to_be_bytes());
            for item in &items {
                out.extend(item.id.to_be_bytes());
                // This file, one extent.
                out.extend([0, 0, 0, 1]);
                extents.push(out.len());
                out.extend([0; 8]);
            }
            Ok(())
        })?;
        boxed(out, b"iinf", |out| {
            out.extend([0; 4]);
            out.extend((items.len() as u16).to_be_bytes());
            for item in &items {
                boxed(out, b"infe", |out| {
                    out.extend([2, 0, 0, 0]);
                    out.extend(item.id.to_be_bytes());
                    out.extend([0, 0]);
                    out.extend_from_slice(item.kind);
                    out.push(0);
                    if item.kind == b"mime" {
                        out.extend_from_slice(b"application/rdf+xml\0");
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        if items.len() > 1 {
            boxed(out, b"iref", |out| {
                out.extend([0; 4]);
                for item in &items {
                    if let Some(reference) = item.reference {
                        boxed(out, reference, |out| {
                            for number in [item.id, 1, PRIMARY_ITEM] {
                                out.extend(number.to_be_bytes());
                            }
                            Ok(())
                        })?;
                    }
                }
                Ok(())
            })?;
        }
        boxed(out, b"iprp", |out| {
            boxed(out, b"ipco", |out| {
                for (name, data) in &properties {
                    boxed(out, name, |out| {
                        out.extend_from_slice(data);
                        Ok(())
                    })?;
                }
                Ok(())
            })?;
            boxed(out, b"ipma", |out| {
                out.extend([0; 4]);
                let with: Vec<_> = items.iter().filter(|item| !item.properties.is_empty()).collect();
                out.extend((with.len() as u32).to_be_bytes());
                for item in with {
                    out.extend(item.id.to_be_bytes());
                    out.push(item.properties.len() as u8);
                    for &(number, essential) in &item.properties {
                        out.push(number | if essential { 0x80 } else { 0 });
                    }
                }
                Ok(())
            })
        })
    })?;
    boxed(&mut out, b"mdat", |out| {
        for (item, at) in items.iter().zip(extents) {
            let offset = number(out.len())?;
            let len = number(item.prefix.len() + item.data.len())?;
            if let Some(place) = out.get_mut(at..at + 8) {
                place.copy_from_slice(&[offset.to_be_bytes(), len.to_be_bytes()].concat());
            }
            out.extend_from_slice(item.prefix);
            out.extend_from_slice(item.data);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Name and content of a property.
type Property = (&'static [u8; 4], Vec<u8>);

/// Numbers of properties from 1, and whether a reader must know them.
type Uses = Vec<(u8, bool)>;

/// The properties of the file, then which of them the colors and the opacity have.
fn properties(picture: &Picture<'_>) -> (Vec<Property>, Uses, Uses) {
    let mut all: Vec<Property> = Vec::new();
    let mut add = |name: &'static [u8; 4], data: Vec<u8>| {
        all.push((name, data));
        all.len() as u8
    };
    let size = [
        picture.size.width.to_be_bytes(),
        picture.size.height.to_be_bytes(),
    ]
    .concat();
    let size = add(b"ispe", [&[0; 4][..], &size].concat());
    let mut color = vec![(size, false)];
    color.push((add(b"pixi", bits(picture.chroma, picture.deep)), false));
    color.push((
        add(b"av1C", av1_configuration(picture.chroma, picture.deep)),
        true,
    ));
    let (primaries, transfer) = match picture.icc {
        Some(_) => (UNSPECIFIED, UNSPECIFIED),
        None => (SRGB_PRIMARIES, SRGB_TRANSFER),
    };
    let mut nclx = b"nclx".to_vec();
    for number in [primaries, transfer, BT601_MATRIX] {
        nclx.extend(number.to_be_bytes());
    }
    // Full range.
    nclx.push(0x80);
    color.push((add(b"colr", nclx), false));
    if let Some(icc) = picture.icc {
        color.push((add(b"colr", [b"prof", icc].concat()), false));
    }
    let mut alpha = Vec::new();
    if picture.alpha.is_some() {
        alpha.push((size, false));
        alpha.push((add(b"pixi", bits(Chroma::Grey, picture.deep)), false));
        alpha.push((add(b"av1C", av1_configuration(Chroma::Grey, picture.deep)), true));
        // MIAF 7.3.5.2.
        let kind = b"\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0".to_vec();
        alpha.push((add(b"auxC", kind), false));
    }
    (all, color, alpha)
}

/// Bits of each plane.
fn bits(chroma: Chroma, deep: bool) -> Vec<u8> {
    let bits = if deep { 10 } else { 8 };
    match chroma {
        Chroma::Grey => vec![0, 0, 0, 0, 1, bits],
        _ => vec![0, 0, 0, 0, 3, bits, bits, bits],
    }
}

/// AV1 in ISOBMFF 2.3: profile 0 (main) or 1 (high, for 4:4:4), level 31 (no limits); the
/// second bit of the third byte says 10 bits.
fn av1_configuration(chroma: Chroma, deep: bool) -> Vec<u8> {
    let (profile, planes) = match chroma {
        Chroma::Grey => (0, 0b0001_1100),
        Chroma::Half => (0, 0b0000_1100),
        Chroma::Full => (1, 0),
    };
    vec![0x81, profile << 5 | 31, planes | u8::from(deep) << 6, 0]
}

/// A box: its length, which counts itself, its name and its content.
fn boxed(
    out: &mut Vec<u8>,
    name: &[u8; 4],
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let start = out.len();
    out.extend([0; 4]);
    out.extend_from_slice(name);
    content(out)?;
    let len = number(out.len() - start)?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    Ok(())
}

fn number(value: usize) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("AVIF of {value} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boxes at one place: name and content.
    fn boxes(mut bytes: &[u8]) -> Vec<(String, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            found.push((String::from_utf8_lossy(&bytes[4..8]).into_owned(), &bytes[8..len]));
            bytes = &bytes[len..];
        }
        found
    }

    fn names(boxes: &[(String, &[u8])]) -> Vec<String> {
        boxes.iter().map(|(name, _)| name.clone()).collect()
    }

    fn picture() -> Picture<'static> {
        Picture {
            size: Size::new(300, 20),
            chroma: Chroma::Half,
            deep: false,
            color: b"COLORS",
            alpha: None,
            icc: None,
            exif: None,
            xmp: None,
        }
    }

    fn all() -> Picture<'static> {
        Picture {
            chroma: Chroma::Full,
            alpha: Some(b"ALPHA"),
            icc: Some(b"PROFILE"),
            exif: Some(b"II*\0"),
            xmp: Some(b"<x:xmpmeta/>"),
            ..picture()
        }
    }

    /// What `iloc` says the items hold.
    fn item_data<'a>(file: &'a [u8], iloc: &[u8]) -> Vec<&'a [u8]> {
        iloc[8..]
            .chunks_exact(14)
            .map(|entry| {
                let offset = u32::from_be_bytes(entry[6..10].try_into().unwrap()) as usize;
                let len = u32::from_be_bytes(entry[10..].try_into().unwrap()) as usize;
                &file[offset..offset + len]
            })
            .collect()
    }

    #[test]
    fn a_plain_picture_is_one_item() {
        let file = write(&picture()).unwrap();
        let top = boxes(&file);
        assert_eq!(names(&top), ["ftyp", "meta", "mdat"]);
        assert_eq!(top[0].1, b"avif\0\0\0\0avifmif1miafMA1B");
        let meta = boxes(&top[1].1[4..]);
        assert_eq!(names(&meta), ["hdlr", "pitm", "iloc", "iinf", "iprp"]);
        assert_eq!(item_data(&file, meta[2].1), [b"COLORS"]);
        let properties = boxes(meta[4].1);
        let found = boxes(properties[0].1);
        assert_eq!(names(&found), ["ispe", "pixi", "av1C", "colr"]);
        assert_eq!(found[0].1, [0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 20]);
        assert_eq!(found[2].1, [0x81, 31, 0x0c, 0]);
        assert_eq!(found[3].1, b"nclx\0\x01\0\x0d\0\x06\x80");
        assert_eq!(properties[1].1, [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 1, 2, 0x83, 4]);
    }

    #[test]
    fn every_block_is_an_item_or_a_property() {
        let file = write(&all()).unwrap();
        let top = boxes(&file);
        assert!(top[0].1.ends_with(b"MA1A"));
        let meta = boxes(&top[1].1[4..]);
        assert_eq!(names(&meta), ["hdlr", "pitm", "iloc", "iinf", "iref", "iprp"]);
        let expected: [&[u8]; 4] = [b"COLORS", b"ALPHA", b"\0\0\0\0II*\0", b"<x:xmpmeta/>"];
        assert_eq!(item_data(&file, meta[2].1), expected);
        let kinds: Vec<&[u8]> = boxes(&meta[3].1[6..])
            .iter()
            .map(|(_, item)| &item[8..12])
            .collect();
        assert_eq!(kinds, [b"av01", b"av01", b"Exif", b"mime"]);
        let references = boxes(&meta[4].1[4..]);
        assert_eq!(names(&references), ["auxl", "cdsc", "cdsc"]);
        assert_eq!(references[0].1, [0, 2, 0, 1, 0, 1]);
        let properties = boxes(meta[5].1);
        let found = boxes(properties[0].1);
        assert_eq!(
            names(&found),
            ["ispe", "pixi", "av1C", "colr", "colr", "pixi", "av1C", "auxC"]
        );
        assert_eq!(found[3].1, b"nclx\0\x02\0\x02\0\x06\x80");
        assert_eq!(found[4].1, b"profPROFILE");
        assert_eq!(
            properties[1].1[8..],
            [0, 1, 5, 1, 2, 0x83, 4, 5, 0, 2, 4, 1, 6, 0x87, 8]
        );
    }
}
