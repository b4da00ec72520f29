//! Blocks of metadata, text and resolution.

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError, MetadataKind, Resolution, ResolutionUnit};

use crate::exif::{self, Exif};
use crate::segments::{APP0, APP1, APP2, APP13, COM, Segment};

/// ICC.1 annex B.4.
const ICC: &[u8] = b"ICC_PROFILE\0";
/// XMP specification part 3, section 1.1.3.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// XMP specification part 3, section 1.1.3.1.
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
/// EXIF 2.3 section 4.7.2.
const EXIF: &[u8] = b"Exif\0\0";
/// Photoshop file formats specification, image resource blocks.
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
/// Image resource that holds IPTC-NAA records.
const IPTC_RESOURCE: u16 = 0x0404;

/// Tags that are text about the picture, with their names.
const TEXTS: [(u16, &str); 7] = [
    (exif::ARTIST, "creator"),
    (exif::COPYRIGHT, "rights"),
    (exif::DATE_TIME, "date"),
    (exif::IMAGE_DESCRIPTION, "description"),
    (exif::SOFTWARE, "software"),
    (exif::MAKE, "make"),
    (exif::MODEL, "model"),
];

/// The metadata segments of a file.
pub(crate) struct Metadata<'a> {
    source: &'a dyn ByteSource,
    segments: &'a [Segment],
}

impl<'a> Metadata<'a> {
    /// The metadata in application and comment segments.
    pub(crate) fn new(source: &'a dyn ByteSource, segments: &'a [Segment]) -> Self {
        Self { source, segments }
    }

    /// A block of metadata.
    ///
    /// # Errors
    /// `Io`, `LimitExceeded`, `Cancelled`, `DeadlineExceeded`. A broken block is left out with a warning.
    pub(crate) fn block(
        &self,
        kind: MetadataKind,
        ctx: &CallContext<'_>,
    ) -> Result<Option<Vec<u8>>, DecodeError> {
        let block = match kind {
            MetadataKind::Icc => self.icc(ctx),
            MetadataKind::Xmp => self.xmp(ctx),
            MetadataKind::Exif => self.exif(),
            MetadataKind::Iptc => self.iptc(ctx),
            _ => Ok(None),
        }?;
        // A single segment is short enough to be read before it is measured; joined ones are checked before.
        if let Some(block) = &block {
            ctx.limits.check_bytes(block.len() as u64)?;
        }
        Ok(block)
    }

    /// The payloads of segments that start with `prefix`, without it.
    fn payloads(
        &self,
        code: u8,
        prefix: &'static [u8],
        ctx: &CallContext<'_>,
    ) -> Result<Vec<Vec<u8>>, DecodeError> {
        let mut payloads = Vec::new();
        let mut total = 0;
        for segment in self.segments.iter().filter(|segment| segment.code == code) {
            ctx.checkpoint()?;
            if segment.len < prefix.len() || segment.read_start(self.source, prefix.len())? != prefix {
                continue;
            }
            total += segment.len as u64;
            ctx.limits.check_bytes(total)?;
            payloads.push(segment.read(self.source)?.split_off(prefix.len()));
        }
        Ok(payloads)
    }

    /// The first payload of segments that start with `prefix`.
    fn first_payload(&self, code: u8, prefix: &'static [u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        for segment in self.segments.iter().filter(|segment| segment.code == code) {
            if segment.len >= prefix.len() && segment.read_start(self.source, prefix.len())? == prefix {
                return Ok(Some(segment.read(self.source)?.split_off(prefix.len())));
            }
        }
        Ok(None)
    }

    /// The parts of the profile, joined by their numbers: one of `count`, from 1.
    fn icc(&self, ctx: &CallContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let payloads = self.payloads(APP2, ICC, ctx)?;
        if payloads.is_empty() {
            return Ok(None);
        }
        let mut parts: Vec<(u8, u8, &[u8])> = payloads
            .iter()
            .filter_map(|payload| match payload.as_slice() {
                [number, count, data @ ..] => Some((*number, *count, data)),
                _ => None,
            })
            .collect();
        parts.sort_by_key(|part| part.0);
        let whole = parts.len() == payloads.len()
            && parts
                .iter()
                .zip(1_usize..)
                .all(|(part, number)| usize::from(part.0) == number && usize::from(part.1) == parts.len());
        if !whole {
            ctx.warn("the ICC profile is left out: its parts do not fit together");
            return Ok(None);
        }
        Ok(Some(parts.iter().flat_map(|part| part.2).copied().collect()))
    }

    /// The XMP packet, with the properties of its extension if it has one.
    fn xmp(&self, ctx: &CallContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let Some(packet) = self.first_payload(APP1, XMP)? else {
            return Ok(None);
        };
        let Some(id) = extension_id(&packet) else {
            return Ok(Some(packet));
        };
        let parts = self.payloads(APP1, XMP_EXTENSION, ctx)?;
        let joined = join_extension(&parts, &id).and_then(|extension| merge(&packet, &extension));
        if joined.is_none() {
            ctx.warn("the XMP extension is left out: its parts do not fit together");
        }
        Ok(Some(joined.unwrap_or(packet)))
    }

    /// The EXIF block.
    fn exif(&self) -> Result<Option<Vec<u8>>, DecodeError> {
        self.first_payload(APP1, EXIF)
    }

    fn iptc(&self, ctx: &CallContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        // Resources longer than a segment go on in the next one.
        let resources = self.payloads(APP13, PHOTOSHOP, ctx)?.concat();
        Ok(find_resource(&resources, IPTC_RESOURCE).map(<[u8]>::to_vec))
    }

    /// What the segments say about the picture as a whole.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn summary(&self) -> Result<Summary, DecodeError> {
        let mut summary = Summary::default();
        let block = self.exif()?;
        let exif = block.as_deref().and_then(Exif::new);
        if let Some(exif) = &exif {
            for (tag, name) in TEXTS {
                if let Some(text) = exif.text(tag) {
                    summary.text.push((name.to_owned(), text));
                }
            }
            summary.orientation = exif
                .number(exif::ORIENTATION)
                .and_then(|value| u16::try_from(value).ok())
                .unwrap_or(1);
        }
        if let Some(comment) = self.segments.iter().find(|segment| segment.code == COM) {
            let mut comment = comment.read(self.source)?;
            let end = comment
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(comment.len());
            comment.truncate(end);
            if !comment.is_empty() {
                summary.text.push(("comment".into(), comment));
            }
        }
        let jfif = self.first_payload(APP0, b"JFIF\0")?;
        let jfif = jfif.as_deref().and_then(jfif_density);
        let exif = exif.as_ref().and_then(exif_resolution);
        summary.resolution = match jfif {
            Some(density) if density.unit != ResolutionUnit::None => Some(density),
            ratio => exif.or(ratio),
        };
        Ok(summary)
    }
}

/// What is known of a picture without its pixels.
pub(crate) struct Summary {
    pub(crate) text: Vec<(String, Vec<u8>)>,
    /// EXIF orientation, 1 if absent.
    pub(crate) orientation: u16,
    pub(crate) resolution: Option<Resolution>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            orientation: 1,
            resolution: None,
        }
    }
}

/// The density of a JFIF segment (ITU-T T.871 section 10.1) after its identifier.
fn jfif_density(payload: &[u8]) -> Option<Resolution> {
    let &[_, _, unit, x1, x0, y1, y0] = payload.first_chunk()?;
    let (x, y) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
    let unit = match unit {
        0 => ResolutionUnit::None,
        1 => ResolutionUnit::Inch,
        2 => ResolutionUnit::Centimeter,
        _ => return None,
    };
    (x > 0 && y > 0).then(|| Resolution {
        x: x.into(),
        y: y.into(),
        unit,
    })
}

fn exif_resolution(exif: &Exif<'_>) -> Option<Resolution> {
    Some(Resolution {
        x: exif.rational(exif::X_RESOLUTION)?,
        y: exif.rational(exif::Y_RESOLUTION)?,
        unit: match exif.number(exif::RESOLUTION_UNIT) {
            None | Some(2) => ResolutionUnit::Inch,
            Some(3) => ResolutionUnit::Centimeter,
            Some(_) => ResolutionUnit::None,
        },
    })
}

/// The data of an image resource.
fn find_resource(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let tail = rest.strip_prefix(b"8BIM")?;
        let (id, tail) = tail.split_first_chunk()?;
        // A Pascal string and a block of data, each filled up to an even length.
        let name_len = 1 + usize::from(*tail.first()?);
        let (len, tail) = tail.get(name_len.next_multiple_of(2)..)?.split_first_chunk()?;
        let len = u32::from_be_bytes(*len) as usize;
        let data = tail.get(..len)?;
        if u16::from_be_bytes(*id) == wanted {
            return Some(data);
        }
        rest = tail.get(len.checked_add(len % 2)?..)?;
    }
}

/// The identifier of the extension that a packet names.
fn extension_id(packet: &[u8]) -> Option<[u8; 32]> {
    const NAME: &[u8] = b"HasExtendedXMP";
    let at = find(packet, NAME)? + NAME.len();
    let rest = packet[at..].trim_ascii_start();
    // An attribute or an element.
    let value = match rest {
        [b'=', rest @ ..] => rest.trim_ascii_start().get(1..)?,
        [b'>', rest @ ..] => rest.trim_ascii_start(),
        _ => return None,
    };
    value.first_chunk().copied()
}

/// The extension `id` from its parts: identifier, length of the whole, place of the part, part.
fn join_extension(parts: &[Vec<u8>], id: &[u8; 32]) -> Option<Vec<u8>> {
    let mut pieces = Vec::new();
    for part in parts {
        let (part_id, rest) = part.split_first_chunk::<32>()?;
        let (whole, rest) = rest.split_first_chunk()?;
        let (place, piece) = rest.split_first_chunk()?;
        if part_id.eq_ignore_ascii_case(id) {
            pieces.push((u32::from_be_bytes(*place), u32::from_be_bytes(*whole), piece));
        }
    }
    pieces.sort_by_key(|piece| piece.0);
    let whole = pieces.first()?.1;
    let mut joined = Vec::new();
    for (place, of, piece) in pieces {
        if place as usize != joined.len() || of != whole {
            return None;
        }
        joined.extend_from_slice(piece);
    }
    (joined.len() == whole as usize).then_some(joined)
}

/// The packet with the descriptions of its extension before the end of its own (XMP part 3, section 1.1.3.1).
/// Only where they carry their namespaces with them, as they do in every file seen.
fn merge(packet: &[u8], extension: &[u8]) -> Option<Vec<u8>> {
    let open = find(extension, b"<rdf:RDF")?;
    let inner = open + extension[open..].iter().position(|&byte| byte == b'>')? + 1;
    let end = rfind(extension, b"</rdf:RDF>")?;
    let outer = &extension[..inner];
    let namespaces = outer.windows(6).filter(|bytes| bytes == b"xmlns:").count();
    let known = [&b"xmlns:rdf"[..], b"xmlns:x="];
    if namespaces > known.iter().filter(|name| find(outer, name).is_some()).count() {
        return None;
    }
    let at = rfind(packet, b"</rdf:RDF>")?;
    let descriptions = extension.get(inner..end)?;
    Some([&packet[..at], descriptions, &packet[at..]].concat())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn rfind(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iiphost_plugin_api::{Limits, PlainServices};

    /// Segments one after the other, as they are in a file.
    fn file(parts: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<Segment>) {
        let mut bytes = Vec::new();
        let mut segments = Vec::new();
        for (code, payload) in parts {
            segments.push(Segment {
                code: *code,
                offset: bytes.len() as u64,
                len: payload.len(),
            });
            bytes.extend(payload);
        }
        (bytes, segments)
    }

    fn block(parts: &[(u8, Vec<u8>)], kind: MetadataKind) -> Option<Vec<u8>> {
        let (bytes, segments) = file(parts);
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        Metadata::new(&bytes, &segments).block(kind, &ctx).unwrap()
    }

    fn part(code: u8, pieces: &[&[u8]]) -> (u8, Vec<u8>) {
        (code, pieces.concat())
    }

    #[test]
    fn a_profile_in_parts_is_joined_by_their_numbers() {
        let parts = [
            part(APP2, &[ICC, &[2, 3], b"bb"]),
            part(APP2, &[b"MPF\0"]),
            part(APP2, &[ICC, &[1, 3], b"a"]),
            part(APP2, &[ICC, &[3, 3], b"c"]),
        ];
        assert_eq!(block(&parts, MetadataKind::Icc).unwrap(), b"abbc");
        assert_eq!(block(&parts[1..], MetadataKind::Icc), None);
        assert_eq!(block(&[part(APP2, &[ICC, &[1]])], MetadataKind::Icc), None);
        assert_eq!(block(&[], MetadataKind::Icc), None);
    }

    #[test]
    fn an_xmp_extension_goes_into_its_packet() {
        let id = [b'A'; 32];
        let packet = [
            b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='r'><rdf:Description xmpNote:HasExtendedXMP=\"".as_slice(),
            &id,
            b"\"/></rdf:RDF></x:xmpmeta>",
        ]
        .concat();
        let extension =
            b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='r'><rdf:Description xmlns:a='a'/></rdf:RDF></x:xmpmeta>";
        let len = (extension.len() as u32).to_be_bytes();
        let (first, second) = extension.split_at(40);
        let parts = [
            part(APP1, &[XMP, &packet]),
            part(APP1, &[XMP_EXTENSION, &id, &len, &40_u32.to_be_bytes(), second]),
            part(APP1, &[XMP_EXTENSION, &[b'B'; 32], &len, &[0; 4], b"other"]),
            part(APP1, &[XMP_EXTENSION, &id, &len, &[0; 4], first]),
        ];
        let joined = String::from_utf8(block(&parts, MetadataKind::Xmp).unwrap()).unwrap();
        assert!(
            joined.ends_with("\"/><rdf:Description xmlns:a='a'/></rdf:RDF></x:xmpmeta>"),
            "{joined}"
        );
        // Without its first part the extension is left out.
        assert_eq!(block(&parts[..3], MetadataKind::Xmp).unwrap(), packet);
    }

    #[test]
    fn iptc_is_found_among_image_resources() {
        let resource = |id: u16, data: &[u8]| {
            let mut bytes = b"8BIM".to_vec();
            bytes.extend(id.to_be_bytes());
            bytes.extend([0, 0]);
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        let resources = [resource(0x3ed, b"odd"), resource(IPTC_RESOURCE, b"\x1c\x02")].concat();
        let (head, tail) = resources.split_at(10);
        let parts = [part(APP13, &[PHOTOSHOP, head]), part(APP13, &[PHOTOSHOP, tail])];
        assert_eq!(block(&parts, MetadataKind::Iptc).unwrap(), b"\x1c\x02");
        for len in 0..resources.len() {
            assert!(find_resource(&resources[..len], IPTC_RESOURCE).is_none());
        }
    }

    #[test]
    fn a_density_without_a_unit_gives_way_to_exif() {
        let exif = crate::test_file::exif_block(true, 1, "x");
        let resolution = |unit: u8, with_exif: bool| {
            let mut parts = vec![part(APP0, &[b"JFIF\0\x01\x02", &[unit, 0, 72, 0, 72], &[0, 0]])];
            if with_exif {
                parts.push(part(APP1, &[EXIF, &exif]));
            }
            let (bytes, segments) = file(&parts);
            let found = Metadata::new(&bytes, &segments).summary().unwrap().resolution;
            found.map(|resolution| (resolution.x, resolution.unit))
        };
        assert_eq!(resolution(1, true), Some((72.0, ResolutionUnit::Inch)));
        assert_eq!(resolution(0, true), Some((300.0, ResolutionUnit::Inch)));
        assert_eq!(resolution(0, false), Some((72.0, ResolutionUnit::None)));
        assert_eq!(resolution(9, false), None);
    }
}
