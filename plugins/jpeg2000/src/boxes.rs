//! The boxes around a codestream (ISO/IEC 15444-1 Annex I, ISO/IEC 15444-2 Annex M).
//!
//! Only headers are read here: the bodies of metadata boxes are remembered by their place.

use std::ops::Range;

use iiphost_plugin_api::{ByteSource, CallContext, DecodeError, Resolution, ResolutionUnit};

use iiphost_codestream::{Cursor, Fields};

/// What a JP2 file starts with: the signature box (I.5.1).
pub(crate) const SIGNATURE: [u8; 12] = *b"\0\0\0\x0cjP  \r\n\x87\n";

/// What a bare codestream starts with: SOC and SIZ.
pub(crate) const CODESTREAM: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];

/// Boxes on one level: more are no picture but an attack.
const MAX_BOXES: u32 = 10_000;

/// Largest header box read into memory (an ICC profile, a palette).
const MAX_HEADER_BOX_BYTES: u64 = 16 << 20;

const XMP_ID: [u8; 16] = *b"\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac";
const EXIF_ID: [u8; 16] = *b"JpgTiffExif->JP2";
const IPTC_ID: [u8; 16] = *b"\x33\xc7\xa4\xd2\xb8\x1d\x47\x23\xa0\xba\xf1\xa3\xe0\x97\xad\x38";

/// How a colour space is specified (I.5.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColorSpec {
    /// By number, with its parameters.
    Enumerated { number: u32, parameters: Vec<u8> },
    /// By an ICC profile.
    Icc(Vec<u8>),
}

/// A palette (I.5.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Palette {
    /// Significant bits and sign of each column.
    pub(crate) columns: Vec<(u32, bool)>,
    /// Entries, row by row, each with all columns, in offset form where the column is signed.
    pub(crate) entries: Vec<u32>,
}

/// Where a channel comes from (I.5.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Component of the codestream.
    pub(crate) component: u16,
    /// Column of the palette it goes through, if any.
    pub(crate) column: Option<u8>,
}

/// What a channel means (I.5.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    /// The channel described.
    pub(crate) channel: u16,
    /// 0 color, 1 opacity, 2 premultiplied opacity, 65535 unknown.
    pub(crate) kind: u16,
    /// 0 the whole image, n the n-th color, 65535 nothing.
    pub(crate) association: u16,
}

/// What the header boxes say; raw codestreams have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ImageHeader {
    /// Color specifications in the order of the file.
    pub(crate) colors: Vec<ColorSpec>,
    /// The palette.
    pub(crate) palette: Option<Palette>,
    /// Channels, empty if each component is one.
    pub(crate) mappings: Vec<Mapping>,
    /// Meaning of channels, empty if they are the colors in order.
    pub(crate) definitions: Vec<Definition>,
    /// Capture resolution, or else the default display resolution.
    pub(crate) resolution: Option<Resolution>,
}

/// The kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A codestream without boxes.
    Codestream,
    /// ISO/IEC 15444-1 Annex I.
    Jp2,
    /// ISO/IEC 15444-2 Annex M.
    Jpx,
    /// ISO/IEC 15444-15 Annex D.
    Jph,
}

/// A file, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// The kind of file.
    pub(crate) family: Family,
    /// The first codestream.
    pub(crate) codestream: Range<u64>,
    /// What the header boxes say.
    pub(crate) header: ImageHeader,
    /// The XMP packet.
    pub(crate) xmp: Option<Range<u64>>,
    /// The EXIF block.
    pub(crate) exif: Option<Range<u64>>,
    /// The IPTC records.
    pub(crate) iptc: Option<Range<u64>>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Container {
    /// Finds the codestream and reads the header boxes.
    ///
    /// # Errors
    /// `Format` when there is no codestream, `Unsupported` when it lies in another file, those of the source.
    pub(crate) fn read(source: &dyn ByteSource, ctx: &CallContext<'_>) -> Result<Self, DecodeError> {
        let mut container = Self {
            family: Family::Codestream,
            codestream: 0..source.len(),
            header: ImageHeader::default(),
            xmp: None,
            exif: None,
            iptc: None,
            warnings: Vec::new(),
        };
        let mut head = [0; 12];
        source.read_exact_at(0, &mut head)?;
        if head.starts_with(&CODESTREAM) {
            return Ok(container);
        }
        if head != SIGNATURE {
            return Err(DecodeError::format(
                "neither a JPEG 2000 signature box nor a codestream at the start",
            ));
        }
        container.family = Family::Jp2;
        container.walk(source, ctx)?;
        Ok(container)
    }

    fn walk(&mut self, source: &dyn ByteSource, ctx: &CallContext<'_>) -> Result<(), DecodeError> {
        let mut found = None;
        let mut boxes = Boxes::new(source, 0..source.len());
        let mut fragmented = false;
        let mut jp2_header = None;
        let (mut codestream_header, mut layer_header) = (None, None);
        loop {
            ctx.checkpoint()?;
            let next = match boxes.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                // Boxes behind the codestream are decoration: a broken one does not hide the picture.
                Err(error) if found.is_some() => {
                    self.warnings.push(format!("boxes after the codestream: {error}"));
                    break;
                }
                Err(error) => return Err(error),
            };
            let body = next.body.clone();
            match &next.kind {
                b"ftyp" => self.family = family(source, &body)?,
                b"jp2h" if jp2_header.is_none() => jp2_header = Some(body),
                b"jpch" if codestream_header.is_none() => codestream_header = Some(body),
                b"jplh" if layer_header.is_none() => layer_header = Some(body),
                b"jp2c" if found.is_none() => {
                    if next.cut {
                        self.warnings
                            .push("the file ends before its codestream does".into());
                    }
                    found = Some(body);
                }
                b"ftbl" => fragmented = true,
                b"xml " if self.xmp.is_none() && is_xmp(source, &body) => self.xmp = Some(body),
                b"uuid" => self.note_uuid(source, body),
                _ => {}
            }
        }
        self.codestream = match found {
            Some(range) => range,
            None if fragmented => {
                return Err(DecodeError::unsupported("a codestream in fragments (ftbl box)"));
            }
            None => return Err(DecodeError::format("no codestream box")),
        };
        for body in [jp2_header, codestream_header, layer_header]
            .into_iter()
            .flatten()
        {
            self.header.read(source, body, &mut self.warnings, ctx)?;
        }
        Ok(())
    }

    fn note_uuid(&mut self, source: &dyn ByteSource, body: Range<u64>) {
        let mut cursor = Cursor::new(source, body.clone());
        // A uuid box too short for its own name is nobody's.
        let Ok(id) = cursor.take::<16>() else { return };
        let place = match id {
            XMP_ID => &mut self.xmp,
            EXIF_ID => &mut self.exif,
            IPTC_ID => &mut self.iptc,
            _ => return,
        };
        if place.is_none() {
            *place = Some(body.start + 16..body.end);
        }
    }
}

/// The family by brand and compatibility list (I.5.2).
fn family(source: &dyn ByteSource, body: &Range<u64>) -> Result<Family, DecodeError> {
    let mut cursor = Cursor::new(source, body.clone());
    Ok(match &cursor.take::<4>()? {
        b"jpx " => Family::Jpx,
        b"jph " => Family::Jph,
        _ => Family::Jp2,
    })
}

/// Whether an XML box holds XMP: by the element every packet has, near its start.
fn is_xmp(source: &dyn ByteSource, body: &Range<u64>) -> bool {
    let mut cursor = Cursor::new(source, body.clone());
    let len = cursor.left().min(512);
    cursor.take_vec(len).is_ok_and(|head| {
        let has = |what: &[u8]| head.windows(what.len()).any(|window| window == what);
        has(b"x:xmpmeta") || has(b"<?xpacket") || has(b"http://www.w3.org/1999/02/22-rdf-syntax-ns#")
    })
}

impl ImageHeader {
    /// Reads a header superbox; what an earlier one said stays.
    fn read(
        &mut self,
        source: &dyn ByteSource,
        body: Range<u64>,
        warnings: &mut Vec<String>,
        ctx: &CallContext<'_>,
    ) -> Result<(), DecodeError> {
        let mut boxes = Boxes::new(source, body);
        let mut display = None;
        let mut colors = Vec::new();
        while let Some(next) = boxes.next()? {
            ctx.checkpoint()?;
            let len = next.body.end - next.body.start;
            if len > MAX_HEADER_BOX_BYTES {
                warnings.push(format!("a header box of {len} bytes was left out"));
                continue;
            }
            let read = || Cursor::new(source, next.body.clone()).take_vec(len);
            match &next.kind {
                b"colr" => colors.extend(color(&read()?)),
                b"cgrp" => {
                    let mut group = Boxes::new(source, next.body.clone());
                    while let Some(inner) = group.next()? {
                        let len = inner.body.end - inner.body.start;
                        if &inner.kind == b"colr" && len <= MAX_HEADER_BOX_BYTES {
                            colors.extend(color(&Cursor::new(source, inner.body).take_vec(len)?));
                        }
                    }
                }
                b"pclr" if self.palette.is_none() => self.palette = Some(palette(&read()?)?),
                b"cmap" if self.mappings.is_empty() => self.mappings = mappings(&read()?),
                b"cdef" if self.definitions.is_empty() => self.definitions = definitions(&read()?),
                b"res " => {
                    let mut inner = Boxes::new(source, next.body.clone());
                    while let Some(inner) = inner.next()? {
                        let place = match &inner.kind {
                            b"resc" => &mut self.resolution,
                            b"resd" => &mut display,
                            _ => continue,
                        };
                        let fields = Cursor::new(source, inner.body).take::<10>()?;
                        *place = place.or_else(|| resolution(&fields));
                    }
                }
                _ => {}
            }
        }
        if self.colors.is_empty() {
            self.colors = colors;
        }
        self.resolution = self.resolution.or(display);
        Ok(())
    }
}

/// A color specification; `None` for methods this module does not know, which readers pass over.
fn color(body: &[u8]) -> Option<ColorSpec> {
    let fields = &mut Fields(body);
    let method = fields.u8()?;
    let (_precedence, _approximation) = (fields.u8()?, fields.u8()?);
    match method {
        1 => Some(ColorSpec::Enumerated {
            number: fields.u32()?,
            parameters: fields.0.to_vec(),
        }),
        2 | 3 => Some(ColorSpec::Icc(fields.0.to_vec())),
        _ => None,
    }
}

fn palette(body: &[u8]) -> Result<Palette, DecodeError> {
    let read = || -> Option<Palette> {
        let fields = &mut Fields(body);
        let rows = usize::from(fields.u16()?);
        let column_count = usize::from(fields.u8()?);
        if rows == 0 || rows > 1024 || column_count == 0 {
            return None;
        }
        let columns: Vec<(u32, bool)> = (0..column_count)
            .map(|_| fields.u8().map(|b| (u32::from(b & 0x7f) + 1, b & 0x80 != 0)))
            .collect::<Option<_>>()?;
        if columns.iter().any(|(depth, _)| *depth > 32) {
            return None;
        }
        let mut entries = Vec::with_capacity(rows * column_count);
        for _ in 0..rows {
            for (depth, signed) in &columns {
                let mask = (1u64 << depth) - 1;
                let mut value = fields.uint(depth.div_ceil(8) as usize)? & mask;
                if *signed {
                    // Two's complement to offset form.
                    value ^= 1 << (depth - 1);
                }
                entries.push(u32::try_from(value).ok()?);
            }
        }
        Some(Palette { columns, entries })
    };
    read().ok_or_else(|| DecodeError::format("the palette box is broken"))
}

fn mappings(body: &[u8]) -> Vec<Mapping> {
    let (rows, _) = body.as_chunks::<4>();
    rows.iter()
        .map(|&[high, low, kind, column]| Mapping {
            component: u16::from_be_bytes([high, low]),
            column: (kind == 1).then_some(column),
        })
        .collect()
}

fn definitions(body: &[u8]) -> Vec<Definition> {
    let (rows, _) = body.get(2..).unwrap_or_default().as_chunks::<6>();
    rows.iter()
        .map(|&[a, b, c, d, e, f]| Definition {
            channel: u16::from_be_bytes([a, b]),
            kind: u16::from_be_bytes([c, d]),
            association: u16::from_be_bytes([e, f]),
        })
        .collect()
}

/// A resolution box (I.5.3.7.1): samples per meter, here per centimeter.
fn resolution(body: &[u8; 10]) -> Option<Resolution> {
    let fields = &mut Fields(body);
    let [y, y_below, x, x_below] = [fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?];
    let exponent = |byte: u8| f64::from(byte.cast_signed());
    let (y_power, x_power) = (exponent(fields.u8()?), exponent(fields.u8()?));
    let per_cm = |n: u16, below: u16, power: f64| {
        (n > 0 && below > 0).then(|| f64::from(n) / f64::from(below) * 10f64.powf(power) / 100.0)
    };
    Some(Resolution {
        x: per_cm(x, x_below, x_power)?,
        y: per_cm(y, y_below, y_power)?,
        unit: ResolutionUnit::Centimeter,
    })
}

/// One box (I.4).
struct BoxHeader {
    kind: [u8; 4],
    body: Range<u64>,
    /// Its length reaches past the end of its surroundings.
    cut: bool,
}

/// Walks from box to box in a range of the file.
struct Boxes<'a> {
    cursor: Cursor<'a>,
    count: u32,
}

impl<'a> Boxes<'a> {
    fn new(source: &'a dyn ByteSource, range: Range<u64>) -> Self {
        Self {
            cursor: Cursor::new(source, range),
            count: 0,
        }
    }

    /// The next box; `None` at the end, also when fewer bytes are left than a box has.
    fn next(&mut self) -> Result<Option<BoxHeader>, DecodeError> {
        if self.cursor.left() < 8 {
            return Ok(None);
        }
        self.count += 1;
        if self.count > MAX_BOXES {
            return Err(DecodeError::format("too many boxes"));
        }
        let start = self.cursor.position();
        let end = start + self.cursor.left();
        let short = u64::from(self.cursor.u32()?);
        let kind = self.cursor.take::<4>()?;
        let len = match short {
            0 => end - start,
            1 => self.cursor.u64()?,
            len => len,
        };
        let body_start = self.cursor.position();
        let stated = start.checked_add(len).filter(|&stated| stated >= body_start);
        let Some(stated) = stated else {
            return Err(DecodeError::format(format!(
                "box {} at offset {start} is {len} bytes long",
                kind.escape_ascii()
            )));
        };
        let body = body_start..stated.min(end);
        self.cursor.seek(body.end);
        Ok(Some(BoxHeader {
            kind,
            body,
            cut: stated > end,
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use iiphost_plugin_api::{ErrorKind, Limits, PlainServices};
    use proptest::prelude::*;

    /// A box from its kind and body.
    pub(crate) fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(body);
        bytes
    }

    /// A color box by number.
    pub(crate) fn enumerated(number: u32) -> Vec<u8> {
        boxed(b"colr", &[&[1, 0, 0][..], &number.to_be_bytes()].concat())
    }

    /// A JP2 file around a codestream, with header boxes and boxes at the end.
    pub(crate) fn jp2(header_boxes: &[Vec<u8>], codestream: &[u8], tail: &[Vec<u8>]) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        file.extend(boxed(b"ftyp", b"jp2 \0\0\0\0jp2 "));
        file.extend(boxed(b"jp2h", &header_boxes.concat()));
        file.extend(boxed(b"jp2c", codestream));
        file.extend(tail.concat());
        file
    }

    fn read(file: &Vec<u8>) -> Result<Container, DecodeError> {
        let services = PlainServices::default();
        Container::read(file, &CallContext::new(Limits::default(), &services))
    }

    fn sample() -> Vec<u8> {
        let resolution = boxed(b"resc", &[0, 118, 0, 1, 0, 59, 0, 2, 2, 2]);
        let palette = [&[0, 2, 2, 7, 0x8b][..], &[255, 0, 0], &[1, 0x0f, 0xff]].concat();
        jp2(
            &[
                boxed(b"ihdr", &[0; 14]),
                boxed(b"colr", &[9, 0, 0, 0]),
                enumerated(17),
                boxed(b"pclr", &palette),
                boxed(b"cmap", &[0, 0, 1, 0, 0, 0, 1, 1]),
                boxed(b"cdef", &[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0]),
                boxed(b"res ", &resolution),
            ],
            &CODESTREAM,
            &[
                boxed(b"uuid", &[&XMP_ID[..], b"<x/>"].concat()),
                boxed(b"uuid", &[&EXIF_ID[..], b"II*\0"].concat()),
            ],
        )
    }

    #[test]
    fn header_boxes_are_read_in_full() {
        let file = sample();
        let container = read(&file).unwrap();
        let header = &container.header;
        assert_eq!(container.family, Family::Jp2);
        assert_eq!(
            header.colors,
            [ColorSpec::Enumerated {
                number: 17,
                parameters: vec![]
            }]
        );
        let palette = header.palette.as_ref().unwrap();
        assert_eq!(palette.columns, [(8, false), (12, true)]);
        assert_eq!(palette.entries, [255, 0x800, 1, 0x7ff]);
        assert_eq!(
            header.mappings[1],
            Mapping {
                component: 0,
                column: Some(1)
            }
        );
        assert_eq!(header.definitions[1].kind, 1);
        let resolution = header.resolution.unwrap();
        assert_eq!((resolution.x, resolution.y), (29.5, 118.0));
        let bytes = |range: &Range<u64>| file[range.start as usize..range.end as usize].to_vec();
        assert_eq!(bytes(&container.codestream), CODESTREAM);
        assert_eq!(bytes(container.xmp.as_ref().unwrap()), b"<x/>");
        assert_eq!(bytes(container.exif.as_ref().unwrap()), b"II*\0");
    }

    #[test]
    fn a_box_may_reach_to_the_end_or_have_a_long_length() {
        let mut file = SIGNATURE.to_vec();
        file.extend([0, 0, 0, 1]);
        file.extend(b"free");
        file.extend(20u64.to_be_bytes());
        file.extend([7; 4]);
        file.extend([0, 0, 0, 0]);
        file.extend(b"jp2c");
        file.extend(CODESTREAM);
        let container = read(&file).unwrap();
        assert_eq!(container.codestream, file.len() as u64 - 4..file.len() as u64);
    }

    #[test]
    fn boxes_without_a_codestream_are_refused_by_reason() {
        let file = [SIGNATURE.to_vec(), boxed(b"ftbl", &[])].concat();
        assert_eq!(read(&file).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(read(&SIGNATURE.to_vec()).unwrap_err().kind(), ErrorKind::Format);
        let mut endless = SIGNATURE.to_vec();
        endless.extend((0..20_000).flat_map(|_| boxed(b"free", &[])));
        assert_eq!(read(&endless).unwrap_err().kind(), ErrorKind::Format);
    }

    #[test]
    fn a_file_cut_anywhere_ends_in_an_answer() {
        let file = sample();
        let codestream = read(&file).unwrap().codestream;
        for cut in 0..file.len() {
            let answer = read(&file[..cut].to_vec());
            assert_eq!(
                answer.is_ok(),
                cut as u64 >= codestream.start,
                "cut after {cut} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn damaged_boxes_never_panic(flips in prop::collection::vec((12usize..300, any::<u8>()), 1..8)) {
            let mut file = sample();
            for (at, value) in flips {
                if let Some(byte) = file.get_mut(at) {
                    *byte = value;
                }
            }
            if let Ok(container) = read(&file) {
                prop_assert!(container.codestream.end <= file.len() as u64);
            }
        }
    }
}
