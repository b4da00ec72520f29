//! The EXIF directory of a TIFF as a TIFF block of its own (EXIF 2.3 section 4.5).

use iiphost_plugin_api::{DecodeError, ReadContext};

use crate::ifd::{ByteOrder, Directory, Entry, Structure, tag};

/// Longest value copied; maker notes beyond it are left out.
const MAX_VALUE: u64 = 64 * 1024;

/// Longest block.
const MAX_BLOCK: usize = 1 << 20;

/// Tags of the main directory that belong to EXIF and fit any picture made from this one.
const MAIN_TAGS: [u16; 8] = [
    tag::IMAGE_DESCRIPTION,
    tag::MAKE,
    tag::MODEL,
    tag::ORIENTATION,
    tag::SOFTWARE,
    tag::DATE_TIME,
    tag::ARTIST,
    tag::COPYRIGHT,
];

/// Pointers to further directories, whose offsets would be wrong here.
const POINTERS: [u16; 1] = [40965];

/// The EXIF data of a directory, `None` if it has no EXIF directory.
pub(crate) fn block(
    structure: &mut Structure<'_>,
    directory: &Directory,
    ctx: &ReadContext<'_>,
) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(offset) = structure.integer(directory, tag::EXIF_IFD)? else {
        return Ok(None);
    };
    let exif = structure.directory(offset)?;
    let order = structure.header().order;
    let mut main = Vec::new();
    for entry in directory.entries() {
        if MAIN_TAGS.contains(&entry.tag) {
            main.extend(read_field(structure, entry)?);
        }
    }
    let mut fields = Vec::new();
    for entry in exif.entries() {
        ctx.checkpoint()?;
        if !POINTERS.contains(&entry.tag) {
            fields.extend(read_field(structure, entry)?);
        }
    }
    Ok(write(order, main, fields))
}

/// An entry with its values, in the order of the file.
struct Field {
    tag: u16,
    kind: u16,
    count: u32,
    values: Vec<u8>,
}

/// The entry with its values; `None` for those that are too long or have types a classic TIFF lacks.
fn read_field(structure: &mut Structure<'_>, entry: &Entry) -> Result<Option<Field>, DecodeError> {
    let kind = u16::from(entry.kind.number());
    if kind > 12 || entry.byte_len().is_none_or(|len| len > MAX_VALUE) {
        return Ok(None);
    }
    Ok(Some(Field {
        tag: entry.tag,
        kind,
        count: entry.count as u32,
        values: structure.raw_values(entry, MAX_VALUE)?,
    }))
}

/// A TIFF block with a main directory that points to an EXIF directory.
fn write(order: ByteOrder, mut main: Vec<Field>, mut exif: Vec<Field>) -> Option<Vec<u8>> {
    let short = |value: u16| match order {
        ByteOrder::Little => value.to_le_bytes(),
        ByteOrder::Big => value.to_be_bytes(),
    };
    let long = |value: u32| match order {
        ByteOrder::Little => value.to_le_bytes(),
        ByteOrder::Big => value.to_be_bytes(),
    };
    let body_len = |fields: &[Field]| 2 + 12 * fields.len() + 4;
    let values_len = |fields: &[Field]| -> usize {
        fields
            .iter()
            .map(|field| {
                if field.values.len() > 4 {
                    field.values.len().next_multiple_of(2)
                } else {
                    0
                }
            })
            .sum()
    };
    main.push(Field {
        tag: tag::EXIF_IFD,
        kind: 4,
        count: 1,
        values: Vec::new(),
    });
    let main_values = 8 + body_len(&main);
    let exif_start = main_values + values_len(&main);
    let exif_values = exif_start + body_len(&exif);
    let len = exif_values + values_len(&exif);
    if len > MAX_BLOCK {
        return None;
    }
    if let Some(pointer) = main.last_mut() {
        pointer.values = long(exif_start as u32).to_vec();
    }
    main.sort_by_key(|field| field.tag);
    exif.sort_by_key(|field| field.tag);
    let mut block = Vec::with_capacity(len);
    block.extend(match order {
        ByteOrder::Little => *b"II",
        ByteOrder::Big => *b"MM",
    });
    block.extend(short(42));
    block.extend(long(8));
    for (fields, values_start) in [(main, main_values), (exif, exif_values)] {
        let mut values = Vec::new();
        block.extend(short(fields.len() as u16));
        for field in fields {
            block.extend(short(field.tag));
            block.extend(short(field.kind));
            block.extend(long(field.count));
            if field.values.len() > 4 {
                block.extend(long((values_start + values.len()) as u32));
                values.extend(&field.values);
                values.resize(values.len().next_multiple_of(2), 0);
            } else {
                let mut inline = field.values;
                inline.resize(4, 0);
                block.extend(inline);
            }
        }
        block.extend(long(0));
        block.extend(values);
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_a_tiff_with_the_same_values() {
        let field = |tag, kind, values: &[u8], count| Field {
            tag,
            kind,
            count,
            values: values.to_vec(),
        };
        let main = vec![field(tag::MAKE, 2, b"Maker\0", 6)];
        let exif = vec![
            field(0x9000, 7, b"0230", 4),
            field(0x829a, 5, &[0, 0, 0, 1, 0, 0, 0, 60], 1),
        ];
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let copy = |fields: &[Field]| -> Vec<Field> {
                fields
                    .iter()
                    .map(|f| field(f.tag, f.kind, &f.values, f.count))
                    .collect()
            };
            let block = write(order, copy(&main), copy(&exif)).unwrap();
            let mut structure = Structure::new(&block).unwrap();
            let directory = structure.directory(8).unwrap();
            let make = structure
                .raw_values(directory.find(tag::MAKE).unwrap(), 100)
                .unwrap();
            assert_eq!(make, b"Maker\0");
            let offset = structure.integer(&directory, tag::EXIF_IFD).unwrap().unwrap();
            let exif = structure.directory(offset).unwrap();
            assert_eq!(
                exif.entries().iter().map(|e| e.tag).collect::<Vec<_>>(),
                [0x829a, 0x9000]
            );
            let time = structure.raw_values(exif.find(0x829a).unwrap(), 100).unwrap();
            assert_eq!(time, [0, 0, 0, 1, 0, 0, 0, 60]);
        }
    }
}
