//! EXIF blocks of sources made fit for the pictures we send (Exif 2.32, TIFF 6.0 section 2).
//!
//! The block stays as it is, so that maker notes, which hold offsets into it, stay readable. Only its first
//! directory is written anew, behind the rest, and what would be wrong in the new picture is changed: it
//! stands upright, has its own size, and its thumbnail is erased.

use std::ops::Range;

use iiphost_plugin_api::{Resolution, ResolutionUnit};

use super::metadata::{printable, whole};
use crate::limits::Size;

/// What [`for_output`] makes of a source's EXIF.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The block for the picture, if there is anything to say.
    pub exif: Option<Vec<u8>>,
    /// Why the block of the source was left out, for the log.
    pub left_out: Option<String>,
}

/// What a block has to say of the new picture.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its size.
    pub size: Size,
    /// Rights, for a source that states none.
    pub rights: Option<&'a [u8]>,
    /// Its physical resolution.
    pub resolution: Option<Resolution>,
    /// The resolution is worth a block where the source has none.
    pub resolution_alone: bool,
}

/// The EXIF block of a picture, made from that of its source (with or without the `Exif\0\0` prefix).
///
/// Without a source there is a block if there are rights to state, or a resolution that has no other place.
#[must_use]
pub fn for_output(source: Option<&[u8]>, about: &About<'_>) -> Outcome {
    let rights = about.rights.and_then(printable);
    let rights = rights.as_deref();
    let (exif, left_out) = match source.map(|source| rewritten(source, about, rights)) {
        Some(Ok(exif)) => (Some(exif), None),
        Some(Err(reason)) => (None, Some(format!("EXIF: {reason}"))),
        None => (None, None),
    };
    let worth_it = rights.is_some() || (about.resolution_alone && about.resolution.is_some());
    Outcome {
        exif: exif.or_else(|| worth_it.then(|| made_up(about, rights).ok()).flatten()),
        left_out,
    }
}

// Tags of TIFF 6.0 and Exif 2.32.
const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const ORIENTATION: u16 = 274;
const X_RESOLUTION: u16 = 282;
const Y_RESOLUTION: u16 = 283;
const RESOLUTION_UNIT: u16 = 296;
const THUMBNAIL_OFFSET: u16 = 513;
const THUMBNAIL_LENGTH: u16 = 514;
const STRIP_OFFSETS: u16 = 273;
const STRIP_BYTE_COUNTS: u16 = 279;
const COPYRIGHT: u16 = 33_432;
const EXIF_IFD: u16 = 34_665;
const GPS_IFD: u16 = 34_853;
const INTEROPERABILITY_IFD: u16 = 40_965;
const PIXEL_X_DIMENSION: u16 = 40_962;
const PIXEL_Y_DIMENSION: u16 = 40_963;

/// Tags of the first directory that describe how the source stores its pixels, or that picture files carry
/// elsewhere: strips and tiles with their tables, other images, XMP, IPTC, Photoshop and ICC blocks.
const DROPPED: &[u16] = &[
    STRIP_OFFSETS,
    STRIP_BYTE_COUNTS,
    THUMBNAIL_OFFSET,
    THUMBNAIL_LENGTH,
    259,
    278,
    317,
    322,
    323,
    324,
    325,
    330,
    347,
    700,
    33_723,
    34_377,
    34_675,
];

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

/// Bytes of one value by field type, TIFF 6.0 page 15 (13 is IFD of the TIFF technical note 1, 129 UTF-8 of Exif 3.0).
fn type_len(field_type: u16) -> Option<usize> {
    match field_type {
        1 | 2 | 6 | 7 | 129 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}

/// Numbers in the byte order of the block.
#[derive(Clone, Copy)]
struct Order {
    little_endian: bool,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    fn bytes16(self, value: u16) -> [u8; 2] {
        if self.little_endian {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    fn bytes32(self, value: u32) -> [u8; 4] {
        if self.little_endian {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    /// A value field holding one number.
    fn field(self, field_type: u16, value: u32) -> [u8; 4] {
        match u16::try_from(value) {
            Ok(short) if field_type == SHORT => {
                let [a, b] = self.bytes16(short);
                [a, b, 0, 0]
            }
            _ => self.bytes32(value),
        }
    }
}

/// A block made fit for standing at the start of a TIFF file.
#[derive(Debug, PartialEq)]
pub struct ForTiff {
    /// The block, little-endian; its header is to be overwritten by that of the file.
    pub block: Vec<u8>,
    /// Fields for the directory of the picture: texts, and where the other directories are.
    pub fields: Vec<TiffField>,
}

/// A field of a directory with its values.
#[derive(Debug, PartialEq)]
pub struct TiffField {
    /// Tag.
    pub tag: u16,
    /// Field type (TIFF 6.0 page 15).
    pub field_type: u16,
    /// Number of values.
    pub count: u32,
    /// The values, little-endian.
    pub value: Vec<u8>,
}

/// Texts about the picture that its directory takes over (TIFF 6.0 section 8): name, description, maker, model,
/// date, artist, host computer, rights.
const TAKEN: &[u16] = &[269, 270, 271, 272, 306, 315, 316, COPYRIGHT];

/// A block made by [`for_output`] for a TIFF file. At the start of the file its offsets are those of the file,
/// so that nothing in it has to be moved, maker notes least of all.
///
/// # Errors
/// What is wrong with the block.
pub fn for_tiff(block: &[u8]) -> Result<ForTiff, String> {
    let order = match block.first_chunk::<4>() {
        Some(b"II*\0") => Order { little_endian: true },
        Some(b"MM\0*") => Order { little_endian: false },
        _ => return Err("no TIFF header".into()),
    };
    let offset = order.u32(block, 4).ok_or("no first directory")?;
    let first = Directory::read(order, block, offset)?;
    let mut directories = Vec::new();
    for tag in [EXIF_IFD, GPS_IFD] {
        if let Some(offset) = first.number(order, tag) {
            directories.push(Directory::read(order, block, offset)?);
        }
    }
    let interoperability = directories
        .iter()
        .find_map(|directory| directory.number(order, INTEROPERABILITY_IFD));
    if let Some(offset) = interoperability {
        directories.push(Directory::read(order, block, offset)?);
    }
    let mut fields = Vec::new();
    for field in &first.fields {
        let value = match field.tag {
            EXIF_IFD | GPS_IFD => field.as_number(order).map(|at| (LONG, at.to_le_bytes().to_vec())),
            tag if TAKEN.contains(&tag) && field.field_type == ASCII => {
                let text = match field.outside(order, block)? {
                    Some(range) => block.get(range),
                    None => field.value.get(..field.count as usize),
                };
                text.map(|text| (ASCII, text.to_vec()))
            }
            _ => None,
        };
        if let Some((field_type, value)) = value {
            fields.push(TiffField {
                tag: field.tag,
                field_type,
                count: field.count,
                value,
            });
        }
    }
    let mut block = block.to_vec();
    if !order.little_endian {
        for directory in &directories {
            turn(order, &mut block, directory);
        }
    }
    Ok(ForTiff { block, fields })
}

/// Makes a big-endian directory and its values little-endian, where they stand.
fn turn(order: Order, block: &mut [u8], directory: &Directory) {
    let mut reverse = |range: Range<usize>, size: usize| {
        for number in block.get_mut(range).unwrap_or_default().chunks_exact_mut(size) {
            number.reverse();
        }
    };
    for field in &directory.fields {
        let size = match field.field_type {
            3 | 8 => 2,
            4 | 5 | 9 | 10 | 11 | 13 => 4,
            12 => 8,
            _ => 1,
        };
        // What a field points at is told by the directory as it was read, before anything is turned.
        match outside_range(order, field) {
            Some(range) => {
                reverse(range, size);
                reverse(field.at + 8..field.at + 12, 4);
            }
            None => reverse(field.at + 8..field.at + 12, size.min(4)),
        }
        reverse(field.at..field.at + 4, 2);
        reverse(field.at + 4..field.at + 8, 4);
    }
    let start = directory.place.start;
    reverse(start..start + 2, 2);
    reverse(directory.place.end.saturating_sub(4)..directory.place.end, 4);
}

/// Where the values of a field are, if not in the field itself; wherever that is.
fn outside_range(order: Order, field: &Field) -> Option<Range<usize>> {
    let len = type_len(field.field_type)?.checked_mul(field.count as usize)?;
    let start = order.u32(&field.value, 0)? as usize;
    (len > 4).then_some(start..start.checked_add(len)?)
}

/// One field of a directory.
#[derive(Clone, Copy)]
struct Field {
    tag: u16,
    field_type: u16,
    count: u32,
    /// The value, or its offset.
    value: [u8; 4],
    /// Where the field stands in the block.
    at: usize,
}

impl Field {
    /// A field with one number in it.
    fn number(order: Order, tag: u16, value: u32) -> Self {
        let field_type = if value > u32::from(u16::MAX) { LONG } else { SHORT };
        Self {
            tag,
            field_type,
            count: 1,
            value: order.field(field_type, value),
            at: 0,
        }
    }

    fn to_bytes(self, order: Order) -> [u8; 12] {
        let [t0, t1] = order.bytes16(self.tag);
        let [f0, f1] = order.bytes16(self.field_type);
        let [c0, c1, c2, c3] = order.bytes32(self.count);
        let [v0, v1, v2, v3] = self.value;
        [t0, t1, f0, f1, c0, c1, c2, c3, v0, v1, v2, v3]
    }

    /// The number of a field of one SHORT or LONG.
    fn as_number(&self, order: Order) -> Option<u32> {
        match self.field_type {
            SHORT => order.u16(&self.value, 0).map(u32::from),
            LONG | 13 => order.u32(&self.value, 0),
            _ => None,
        }
    }

    /// Where the value stands in the block, if not in the field itself.
    fn outside(&self, order: Order, block: &[u8]) -> Result<Option<Range<usize>>, String> {
        let wrong = || {
            format!(
                "tag {} has {} values of type {} outside the block",
                self.tag, self.count, self.field_type
            )
        };
        let Some(len) = type_len(self.field_type) else {
            // Readers skip types they do not know (TIFF 6.0 page 16).
            return Ok(None);
        };
        let len = len.checked_mul(self.count as usize).ok_or_else(wrong)?;
        if len <= 4 {
            return Ok(None);
        }
        let start = order.u32(&self.value, 0).ok_or_else(wrong)? as usize;
        let end = start.checked_add(len).ok_or_else(wrong)?;
        if end > block.len() {
            return Err(wrong());
        }
        Ok(Some(start..end))
    }
}

/// A directory: its fields and where it stands.
struct Directory {
    fields: Vec<Field>,
    place: Range<usize>,
    /// Offset of the next one, 0 if none.
    next: u32,
}

impl Directory {
    fn read(order: Order, block: &[u8], offset: u32) -> Result<Self, String> {
        let start = offset as usize;
        let truncated = || format!("directory at {offset} of {} bytes is cut off", block.len());
        let count = order.u16(block, start).ok_or_else(truncated)?;
        let mut fields = Vec::with_capacity(usize::from(count).min(block.len() / 12));
        let mut at = start + 2;
        for _ in 0..count {
            fields.push(Field {
                tag: order.u16(block, at).ok_or_else(truncated)?,
                field_type: order.u16(block, at + 2).ok_or_else(truncated)?,
                count: order.u32(block, at + 4).ok_or_else(truncated)?,
                value: *block
                    .get(at + 8..)
                    .and_then(|b| b.first_chunk())
                    .ok_or_else(truncated)?,
                at,
            });
            at += 12;
        }
        // Some writers leave out the offset of the next directory in the last one.
        let next = order.u32(block, at).unwrap_or(0);
        let place = start..(at + 4).min(block.len());
        Ok(Self { fields, place, next })
    }

    fn find(&self, tag: u16) -> Option<&Field> {
        self.fields.iter().find(|field| field.tag == tag)
    }

    fn number(&self, order: Order, tag: u16) -> Option<u32> {
        self.find(tag)?.as_number(order)
    }

    /// Where the last byte of the directory and its values ends.
    fn end(&self, order: Order, block: &[u8]) -> Result<usize, String> {
        let mut end = self.place.end;
        for field in &self.fields {
            if let Some(range) = field.outside(order, block)? {
                end = end.max(range.end);
            }
        }
        Ok(end)
    }
}

fn rewritten(source: &[u8], about: &About<'_>, rights: Option<&str>) -> Result<Vec<u8>, String> {
    let size = about.size;
    let source = source.strip_prefix(b"Exif\0\0").unwrap_or(source);
    let order = match source.first_chunk::<4>() {
        Some(b"II*\0") => Order { little_endian: true },
        Some(b"MM\0*") => Order { little_endian: false },
        _ => return Err("no TIFF header".into()),
    };
    let offset = order.u32(source, 4).ok_or("no first directory")?;
    let mut block = source.to_vec();

    // The thumbnail goes first: whatever it overlaps is read after that, and refused if it made no sense.
    let first = Directory::read(order, &block, offset)?;
    erase_thumbnail(order, &mut block, first.next);
    erase(&mut block, first.place.clone());

    let mut fields = first.fields;
    fields.retain(|field| !DROPPED.contains(&field.tag));
    let mut end = 8;
    for (tag, has_size) in [(EXIF_IFD, true), (GPS_IFD, false)] {
        let Some(offset) = fields
            .iter()
            .find(|f| f.tag == tag)
            .and_then(|f| f.as_number(order))
        else {
            continue;
        };
        let directory = Directory::read(order, &block, offset)?;
        end = end.max(directory.end(order, &block)?);
        if has_size {
            if let Some(offset) = directory.number(order, INTEROPERABILITY_IFD) {
                end = end.max(Directory::read(order, &block, offset)?.end(order, &block)?);
            }
            for (tag, side) in [(PIXEL_X_DIMENSION, size.width), (PIXEL_Y_DIMENSION, size.height)] {
                if let Some(field) = directory.find(tag) {
                    let new = Field::number(order, tag, side).to_bytes(order);
                    if let Some(place) = block.get_mut(field.at..field.at + 12) {
                        place.copy_from_slice(&new);
                    }
                }
            }
        }
    }
    for field in &fields {
        if let Some(range) = field.outside(order, &block)? {
            end = end.max(range.end);
        }
    }
    block.truncate(end);

    for (tag, value) in [
        (IMAGE_WIDTH, size.width),
        (IMAGE_LENGTH, size.height),
        (ORIENTATION, 1),
    ] {
        if let Some(field) = fields.iter_mut().find(|f| f.tag == tag) {
            *field = Field::number(order, tag, value);
        }
    }
    state_resolution(order, &mut block, &mut fields, about.resolution);
    if let Some(rights) = rights
        && !fields
            .iter()
            .any(|f| f.tag == COPYRIGHT && says_something(order, &block, f))
    {
        fields.retain(|f| f.tag != COPYRIGHT);
        fields.push(push_text(order, &mut block, COPYRIGHT, rights)?);
    }
    finish(order, block, fields)
}

/// A block for a picture whose source has none.
fn made_up(about: &About<'_>, rights: Option<&str>) -> Result<Vec<u8>, String> {
    let order = Order { little_endian: true };
    let mut block = b"II*\0\0\0\0\0".to_vec();
    let mut fields = Vec::new();
    state_resolution(order, &mut block, &mut fields, about.resolution);
    if let Some(rights) = rights {
        fields.push(push_text(order, &mut block, COPYRIGHT, rights)?);
    }
    finish(order, block, fields)
}

/// Replaces what the source says of its resolution, which is not that of a picture of another size.
fn state_resolution(
    order: Order,
    block: &mut Vec<u8>,
    fields: &mut Vec<Field>,
    resolution: Option<Resolution>,
) {
    fields.retain(|f| !matches!(f.tag, X_RESOLUTION | Y_RESOLUTION | RESOLUTION_UNIT));
    let Some(resolution) = resolution else { return };
    // Thousandths, which is more than anybody measures.
    let Some((x, y)) = whole(resolution.x * 1000.0, resolution.y * 1000.0, f64::from(u32::MAX)) else {
        return;
    };
    for (tag, value) in [(X_RESOLUTION, x), (Y_RESOLUTION, y)] {
        block.resize(block.len() + block.len() % 2, 0);
        let Ok(offset) = u32::try_from(block.len()) else {
            return;
        };
        block.extend(order.bytes32(value));
        block.extend(order.bytes32(1000));
        fields.push(Field {
            tag,
            field_type: RATIONAL,
            count: 1,
            value: order.bytes32(offset),
            at: 0,
        });
    }
    let unit = match resolution.unit {
        ResolutionUnit::None => 1,
        ResolutionUnit::Inch => 2,
        ResolutionUnit::Centimeter => 3,
    };
    fields.push(Field::number(order, RESOLUTION_UNIT, unit));
}

/// Writes the first directory behind the block and points the header at it.
fn finish(order: Order, mut block: Vec<u8>, mut fields: Vec<Field>) -> Result<Vec<u8>, String> {
    fields.sort_by_key(|f| f.tag);
    fields.dedup_by_key(|f| f.tag);
    let count = u16::try_from(fields.len()).map_err(|_| format!("{} fields", fields.len()))?;
    // Directories begin on a word boundary (TIFF 6.0 page 14).
    block.resize(block.len() + block.len() % 2, 0);
    let start = u32::try_from(block.len()).map_err(|_| format!("{} bytes", block.len()))?;
    block.extend(order.bytes16(count));
    for field in fields {
        block.extend(field.to_bytes(order));
    }
    block.extend([0; 4]);
    if let Some(place) = block.get_mut(4..8) {
        place.copy_from_slice(&order.bytes32(start));
    }
    Ok(block)
}

/// Appends a text and gives the field for it. Readers of `ASCII` take UTF-8 in practice.
fn push_text(order: Order, block: &mut Vec<u8>, tag: u16, text: &str) -> Result<Field, String> {
    let count = u32::try_from(text.len() + 1).map_err(|_| format!("text of {} bytes", text.len()))?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    let value = if let Some(short) = inline(&bytes) {
        short
    } else {
        block.resize(block.len() + block.len() % 2, 0);
        let offset = u32::try_from(block.len()).map_err(|_| format!("{} bytes", block.len()))?;
        block.extend(bytes);
        order.bytes32(offset)
    };
    Ok(Field {
        tag,
        field_type: ASCII,
        count,
        value,
        at: 0,
    })
}

fn inline(bytes: &[u8]) -> Option<[u8; 4]> {
    let mut value = [0; 4];
    value.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(value)
}

fn says_something(order: Order, block: &[u8], field: &Field) -> bool {
    let text = match field.outside(order, block) {
        Ok(Some(range)) => block.get(range),
        _ => field.value.get(..),
    };
    text.and_then(printable).is_some()
}

/// Zeros the second directory and the picture it describes. One that cannot be read has no picture either.
fn erase_thumbnail(order: Order, block: &mut [u8], offset: u32) {
    if offset == 0 {
        return;
    }
    let Ok(second) = Directory::read(order, block, offset) else {
        return;
    };
    for (start, len) in [
        (THUMBNAIL_OFFSET, THUMBNAIL_LENGTH),
        (STRIP_OFFSETS, STRIP_BYTE_COUNTS),
    ] {
        if let (Some(start), Some(len)) = (second.number(order, start), second.number(order, len)) {
            erase(
                block,
                start as usize..(start as usize).saturating_add(len as usize),
            );
        }
    }
    erase(block, second.place);
}

/// Zeros what a range covers of the block, its header excepted.
fn erase(block: &mut [u8], range: Range<usize>) {
    let end = range.end.min(block.len());
    if let Some(bytes) = block.get_mut(range.start.max(8)..end) {
        bytes.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn for_output(source: Option<&[u8]>, size: Size, rights: Option<&[u8]>) -> Outcome {
        let about = About {
            size,
            rights,
            resolution: None,
            resolution_alone: false,
        };
        super::for_output(source, &about)
    }

    #[test]
    fn resolution_is_that_of_the_new_picture() {
        let resolution = Resolution {
            x: 150.0,
            y: 75.5,
            unit: ResolutionUnit::Inch,
        };
        for source in [None, Some(source(true)), Some(source(false))] {
            let about = About {
                size: SIZE,
                rights: None,
                resolution: Some(resolution),
                resolution_alone: true,
            };
            let block = super::for_output(source.as_deref(), &about).exif.unwrap();
            let (order, first) = parse(&block);
            assert_eq!(first.number(order, RESOLUTION_UNIT), Some(2));
            for (tag, value) in [(X_RESOLUTION, 150_000), (Y_RESOLUTION, 75_500)] {
                let place = first.find(tag).unwrap().outside(order, &block).unwrap().unwrap();
                assert_eq!(order.u32(&block, place.start), Some(value));
                assert_eq!(order.u32(&block, place.start + 4), Some(1000));
            }
            let silent = About {
                resolution_alone: false,
                ..about
            };
            let found = super::for_output(source.as_deref(), &silent).exif.is_some();
            assert_eq!(found, source.is_some());
        }
    }

    const SIZE: Size = Size::new(70_000, 300);

    /// A block with all that matters: IFD0 (make, orientation 6, width, Exif IFD), Exif IFD (both dimensions, a maker
    /// note), IFD1 with a thumbnail.
    fn source(little_endian: bool) -> Vec<u8> {
        let order = Order { little_endian };
        let mut block = if little_endian { b"II*\0" } else { b"MM\0*" }.to_vec();
        block.extend(order.bytes32(8));
        let field = |tag: u16, field_type: u16, count: u32, value: [u8; 4]| {
            Field {
                tag,
                field_type,
                count,
                value,
                at: 0,
            }
            .to_bytes(order)
        };
        let short = |tag, value| field(tag, SHORT, 1, order.field(SHORT, value));
        // IFD0 at 8: 4 fields, 54 bytes. Exif IFD at 62: 3 fields, 42 bytes. IFD1 at 104: 2 fields, 30 bytes.
        block.extend(order.bytes16(4));
        block.extend(short(IMAGE_WIDTH, 4000));
        block.extend(field(271, ASCII, 6, order.bytes32(134)));
        block.extend(short(ORIENTATION, 6));
        block.extend(field(EXIF_IFD, LONG, 1, order.bytes32(62)));
        block.extend(order.bytes32(104));
        block.extend(order.bytes16(3));
        block.extend(field(37_500, 7, 8, order.bytes32(140)));
        block.extend(short(PIXEL_X_DIMENSION, 4000));
        block.extend(short(PIXEL_Y_DIMENSION, 3000));
        block.extend(order.bytes32(0));
        block.extend(order.bytes16(2));
        block.extend(field(THUMBNAIL_OFFSET, LONG, 1, order.bytes32(148)));
        block.extend(field(THUMBNAIL_LENGTH, LONG, 1, order.bytes32(9)));
        block.extend(order.bytes32(0));
        assert_eq!(block.len(), 134);
        block.extend(b"Canon\0");
        block.extend(b"MAKERNOT");
        block.extend(b"THUMBNAIL");
        block
    }

    fn parse(block: &[u8]) -> (Order, Directory) {
        let order = Order {
            little_endian: block[0] == b'I',
        };
        let first = Directory::read(order, block, order.u32(block, 4).unwrap()).unwrap();
        (order, first)
    }

    fn text_of(block: &[u8], tag: u16) -> Option<String> {
        let (order, first) = parse(block);
        let range = first.find(tag)?.outside(order, block).unwrap()?;
        Some(String::from_utf8(block[range].to_vec()).unwrap())
    }

    #[test]
    fn the_picture_stands_upright_with_its_own_size_and_no_thumbnail() {
        for little_endian in [true, false] {
            let made = for_output(Some(&source(little_endian)), SIZE, None);
            assert_eq!(made.left_out, None);
            let block = made.exif.unwrap();
            let (order, first) = parse(&block);
            assert_eq!(first.number(order, ORIENTATION), Some(1));
            assert_eq!(first.number(order, IMAGE_WIDTH), Some(70_000));
            assert_eq!(first.next, 0);
            let exif = Directory::read(order, &block, first.number(order, EXIF_IFD).unwrap()).unwrap();
            assert_eq!(exif.number(order, PIXEL_X_DIMENSION), Some(70_000));
            assert_eq!(exif.number(order, PIXEL_Y_DIMENSION), Some(300));
            assert_eq!(text_of(&block, 271).unwrap(), "Canon\0");
            assert_eq!(&block[140..148], b"MAKERNOT", "stays in its place");
            assert!(!block.windows(5).any(|w| w == b"THUMB"));
            assert_eq!(text_of(&block, COPYRIGHT), None);
            assert!(block.len() < source(true).len() + 60);
        }
    }

    #[test]
    fn rights_fill_an_empty_copyright_and_no_other() {
        let rights = |source: Option<&[u8]>, rights: &str| {
            let made = for_output(source, SIZE, Some(rights.as_bytes()));
            made.exif.and_then(|block| text_of(&block, COPYRIGHT))
        };
        let with = for_output(Some(&source(false)), SIZE, Some(b"(c) Museum"))
            .exif
            .unwrap();
        assert_eq!(text_of(&with, COPYRIGHT).unwrap(), "(c) Museum\0");
        assert_eq!(rights(Some(&with), "another").unwrap(), "(c) Museum\0");
        assert_eq!(rights(None, "(c) Museum").unwrap(), "(c) Museum\0");
        assert_eq!(for_output(None, SIZE, Some(b" ")), Outcome::default());
        assert_eq!(for_output(None, SIZE, None), Outcome::default());
    }

    #[test]
    fn making_it_twice_changes_nothing_more() {
        let once = for_output(Some(&source(true)), SIZE, Some(b"(c) Museum"))
            .exif
            .unwrap();
        let twice = for_output(Some(&once), SIZE, Some(b"(c) Museum")).exif.unwrap();
        assert_eq!(once.len(), twice.len());
        let with_prefix = [b"Exif\0\0", once.as_slice()].concat();
        assert_eq!(for_output(Some(&with_prefix), SIZE, None).exif.unwrap(), twice);
    }

    #[test]
    fn broken_blocks_are_left_out_with_the_reason() {
        let mut outside = source(true);
        outside[8 + 2 + 12 + 8] = 0xff;
        outside[8 + 2 + 12 + 9] = 0xff;
        for broken in [
            b"".to_vec(),
            b"garbage".to_vec(),
            source(true)[..40].to_vec(),
            outside,
        ] {
            let made = for_output(Some(&broken), SIZE, None);
            assert_eq!(made.exif, None);
            assert!(made.left_out.unwrap().starts_with("EXIF: "));
            let made = for_output(Some(&broken), SIZE, Some(b"(c) Museum"));
            assert!(made.exif.is_some() && made.left_out.is_some());
        }
    }

    proptest! {
        #[test]
        fn any_change_gives_a_readable_block_or_none(
            changes in proptest::collection::vec((0..157_usize, any::<u8>()), 1..6), cut in 0..157_usize,
        ) {
            let mut block = source(true);
            for (at, value) in changes {
                block[at] = value;
            }
            block.truncate(157 - cut / 4);
            if let Some(exif) = for_output(Some(&block), SIZE, Some(b"(c) Museum")).exif {
                let (order, first) = parse(&exif);
                for field in &first.fields {
                    prop_assert!(field.outside(order, &exif).is_ok());
                }
            }
        }
    }

    #[test]
    fn at_the_start_of_a_tiff_file_every_offset_stays_right() {
        for little_endian in [true, false] {
            let block = for_output(Some(&source(little_endian)), SIZE, Some(b"me"))
                .exif
                .unwrap();
            let made = for_tiff(&block).unwrap();
            let field = |tag| made.fields.iter().find(|f| f.tag == tag);
            assert_eq!(field(271).unwrap().value, b"Canon\0");
            assert_eq!(field(COPYRIGHT).unwrap().value, b"me\0");
            assert!(field(ORIENTATION).is_none() && field(IMAGE_WIDTH).is_none());
            let offset = u32::from_le_bytes(field(EXIF_IFD).unwrap().value[..4].try_into().unwrap());
            let order = Order { little_endian: true };
            let exif = Directory::read(order, &made.block, offset).unwrap();
            assert_eq!(exif.number(order, PIXEL_X_DIMENSION), Some(70_000));
            assert_eq!(exif.number(order, PIXEL_Y_DIMENSION), Some(300));
            let note = exif.find(37_500).unwrap().outside(order, &made.block).unwrap();
            assert_eq!(&made.block[note.unwrap()], b"MAKERNOT");
        }
        assert!(for_tiff(b"JUNK").is_err());
    }

    proptest! {
        #[test]
        fn any_block_is_turned_or_refused(mut block in proptest::collection::vec(any::<u8>(), 8..200)) {
            block[..8].copy_from_slice(b"MM\0*\0\0\0\x08");
            let _ = for_tiff(&block);
        }
    }
}
