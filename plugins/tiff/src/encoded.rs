//! Stored JPEG and WebP tiles handed on undecoded, as complete files.

use iiphost_plugin_api::{AlphaMode, DecodeError, EncodedFormat, EncodedTile};

use crate::compression::Compression;
use crate::jpeg_markers::{Frame, JpegParts};
use crate::layout::Layout;
use crate::photometric::Photometric;

/// The encoding in which tiles of this layout may be handed on; `alpha` is what its shape says.
pub(crate) fn format(layout: &Layout, alpha: AlphaMode) -> Option<EncodedFormat> {
    if !layout.tiled || layout.planar {
        return None;
    }
    match (layout.compression, layout.photometric, layout.samples_per_pixel) {
        (Compression::Jpeg, Photometric::BlackIsZero, 1) => Some(EncodedFormat::Jpeg),
        (Compression::Jpeg, Photometric::Rgb | Photometric::YCbCr, 3) => Some(EncodedFormat::Jpeg),
        (Compression::WebP, Photometric::Rgb, 3) => Some(EncodedFormat::WebP),
        // What a fourth band of WebP means is fixed; the tags may call it something else.
        (Compression::WebP, Photometric::Rgb, 4) if alpha == AlphaMode::Unassociated => {
            Some(EncodedFormat::WebP)
        }
        _ => None,
    }
}

/// The complete file of a stored tile, `None` if it would not be shown right. A JPEG that reaches over the
/// edge of the picture is cut to the `inside` of it, width and height.
///
/// # Errors
/// `Format` if the tile is no such file.
pub(crate) fn tile(
    layout: &Layout,
    format: EncodedFormat,
    inside: (u32, u32),
    block: Vec<u8>,
) -> Result<Option<EncodedTile>, DecodeError> {
    match format {
        EncodedFormat::Jpeg => jpeg(layout, inside, &block),
        EncodedFormat::WebP => Ok(webp(layout, block)),
        _ => Ok(None),
    }
}

/// A WebP tile is a complete file as it is, if all of it is there; what follows it is no part of it.
fn webp(layout: &Layout, mut block: Vec<u8>) -> Option<EncodedTile> {
    // RIFF, and the length of what follows (RFC 9649 section 2.4).
    let stated = u32::from_le_bytes(*block.get(4..)?.first_chunk()?);
    let len = usize::try_from(stated).ok()?.checked_add(8)?;
    if block.len() < len {
        return None;
    }
    block.truncate(len);
    let features = webp::BitstreamFeatures::new(&block)?;
    let (width, height) = (features.width(), features.height());
    // A tile without a transparent pixel may be stored without opacity.
    let has_bands = layout.samples_per_pixel == 4 || !features.has_alpha();
    let fits = (width, height) == (layout.block_width, layout.block_height)
        && !features.has_animation()
        && has_bands;
    fits.then_some(EncodedTile {
        format: EncodedFormat::WebP,
        width,
        height,
        bytes: block,
    })
}

/// The complete file of a stored JPEG tile, `None` if it would not be shown right.
///
/// Viewers decide about colors by markers and component numbers, TIFF readers by the tags. Where the two
/// may differ, an Adobe marker says what the tags say.
fn jpeg(layout: &Layout, inside: (u32, u32), block: &[u8]) -> Result<Option<EncodedTile>, DecodeError> {
    let parts = JpegParts::new(layout.jpeg_tables.as_deref(), block)?;
    let frame = parts.frame();
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    let is_whole = (width, height) == (layout.block_width, layout.block_height);
    let has_bands = frame.component_count() == usize::from(layout.samples_per_pixel);
    // A tile that lacks something is left to the decoder, which says what.
    let is_complete = parts.has_end() && parts.has_tables();
    if !is_whole || !has_bands || frame.precision != 8 || !is_complete {
        return Ok(None);
    }
    let transform = match layout.photometric {
        Photometric::Rgb if frame.is_subsampled() => return Ok(None),
        Photometric::Rgb if parts.adobe_transform() == Some(0) && !parts.has_jfif() => None,
        Photometric::Rgb => Some(0),
        Photometric::YCbCr if reads_as_ycbcr(&parts, frame) => None,
        Photometric::YCbCr => Some(1),
        _ => None,
    };
    let file = |(width, height), bytes| EncodedTile {
        format: EncodedFormat::Jpeg,
        width,
        height,
        bytes,
    };
    if inside == (width, height) {
        return Ok(Some(file(inside, parts.pieces(transform).concat())));
    }
    let sides = u16::try_from(inside.0).ok().zip(u16::try_from(inside.1).ok());
    let cropped = sides.and_then(|(width, height)| parts.cropped(transform, width, height));
    Ok(cropped.map(|bytes| file(inside, bytes)))
}

/// Whether every viewer takes the three components for YCbCr without being told: a JFIF marker, an Adobe
/// marker, or the component numbers of JFIF.
fn reads_as_ycbcr(parts: &JpegParts<'_>, frame: &Frame) -> bool {
    match parts.adobe_transform() {
        _ if parts.has_jfif() => true,
        Some(transform) => transform == 1,
        None => frame.components.iter().map(|component| component.0).eq(1..=3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, Values, jpeg as encode, open, read_region, write};
    use iiphost_plugin_api::{CallContext, ImageReader, Limits, PlainServices, Region, TileId};

    fn tile(reader: &dyn ImageReader, col: u32, row: u32) -> Option<EncodedTile> {
        let services = PlainServices::default();
        let id = TileId {
            page: 0,
            level: 0,
            tile_col: col,
            tile_row: row,
        };
        reader
            .encoded_tile(id, &CallContext::new(Limits::default(), &services))
            .unwrap()
    }

    /// Pixels as any viewer sees them.
    fn viewed(file: &[u8], bands: usize) -> Vec<u8> {
        let decompress = mozjpeg::Decompress::new_mem(file).unwrap();
        let mut started = match bands {
            1 => decompress.grayscale().unwrap(),
            _ => decompress.rgb().unwrap(),
        };
        started.read_scanlines().unwrap()
    }

    fn photo(width: u32, height: u32, bands: u32) -> Vec<u64> {
        (0..width * height * bands)
            .map(|i| {
                let (x, y, band) = (i / bands % width, i / bands / width, i % bands);
                u64::from((x * 3 + y * (band + 1) + band * 40) % 256)
            })
            .collect()
    }

    #[test]
    fn a_passed_tile_looks_the_same_as_a_decoded_one() {
        for (bands, photometric) in [(1, 1), (3, 2), (3, 6)] {
            let mut image = Image::new(96, 64, bands, 8)
                .tiled(32, 32)
                .compressed(7)
                .photometric(photometric);
            image.values = photo(96, 64, bands);
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            assert_eq!(
                reader.info().pages[0].levels[0].encoded,
                Some(EncodedFormat::Jpeg)
            );
            for (col, row) in [(0, 0), (2, 1)] {
                let passed = tile(&*reader, col, row).unwrap();
                assert_eq!((passed.width, passed.height), (32, 32));
                let decoded = read_region(&*reader, 0, 0, Region::new(col * 32, row * 32, 32, 32)).unwrap();
                assert!(
                    viewed(&passed.bytes, bands as usize) == decoded,
                    "photometric {photometric}"
                );
            }
        }
    }

    #[test]
    fn component_numbers_and_markers_that_mislead_are_overruled_by_the_tags() {
        let pixels: Vec<u8> = photo(32, 32, 3).iter().map(|&v| v as u8).collect();
        for (photometric, ids) in [(2, [1, 2, 3]), (6, *b"RGB"), (6, [0, 1, 2]), (2, *b"RGB")] {
            let mut file = encode(&pixels, 32, 32, 3, photometric == 6, (1, 1));
            // Leave out the markers and number the components anew.
            let parts = JpegParts::new(None, &file).unwrap();
            let pieces = parts.pieces(Some(0));
            let mut bare = [&[0xff, 0xd8], &pieces[1..].concat()[..]].concat();
            for (header, first, step) in [([0xff, 0xc0], 10, 3), ([0xff, 0xda], 5, 2)] {
                let at = bare.windows(2).position(|w| w == header).unwrap();
                (0..3).for_each(|i| bare[at + first + step * i] = ids[i]);
            }
            file.clear();
            let mut image = Image::new(32, 32, 3, 8)
                .tiled(32, 32)
                .compressed(7)
                .photometric(photometric);
            image.blocks = Some(vec![bare]);
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            let decoded = read_region(&*reader, 0, 0, Region::new(0, 0, 32, 32)).unwrap();
            let near = decoded.iter().zip(&pixels).all(|(a, b)| a.abs_diff(*b) < 30);
            assert!(near, "photometric {photometric} ids {ids:?}");
            let passed = tile(&*reader, 0, 0).unwrap();
            assert!(
                viewed(&passed.bytes, 3) == decoded,
                "photometric {photometric} ids {ids:?}"
            );
        }
    }

    #[test]
    fn shared_tables_are_joined_with_the_tile() {
        let pixels: Vec<u8> = photo(32, 32, 1).iter().map(|&v| v as u8).collect();
        let file = encode(&pixels, 32, 32, 1, false, (1, 1));
        let parts = JpegParts::new(None, &file).unwrap();
        let pieces = parts.pieces(None);
        let is_table = |piece: &&[u8]| matches!(piece[1], 0xdb | 0xc4);
        let tables: Vec<u8> = pieces
            .iter()
            .copied()
            .filter(is_table)
            .collect::<Vec<_>>()
            .concat();
        let tables = [&[0xff, 0xd8], &tables[..], &[0xff, 0xd9]].concat();
        let frame: Vec<u8> = pieces
            .iter()
            .copied()
            .filter(|p| !is_table(p))
            .collect::<Vec<_>>()
            .concat();
        let mut image = Image::new(32, 32, 1, 8).tiled(32, 32).compressed(7);
        image.blocks = Some(vec![frame]);
        let reader = open(write(
            &[image.tag(347, Values::Undefined(tables))],
            ByteOrder::Big,
            true,
        ))
        .unwrap();
        let passed = tile(&*reader, 0, 0).unwrap();
        let decoded = read_region(&*reader, 0, 0, Region::new(0, 0, 32, 32)).unwrap();
        assert_eq!(viewed(&passed.bytes, 1), decoded);
        assert_eq!(viewed(&passed.bytes, 1), viewed(&file, 1));
    }

    #[test]
    fn webp_tiles_are_passed_with_the_opacity_they_have() {
        for (bands, extra, is_passed) in [
            (3, None, true),
            (4, None, true),
            (4, Some(2), true),
            (4, Some(1), false),
        ] {
            let mut image = Image::new(32, 32, bands, 8).tiled(32, 32).compressed(50001);
            image.values.iter_mut().for_each(|value| *value |= 1);
            if let Some(meaning) = extra {
                image = image.tag(338, Values::Short(vec![meaning]));
            }
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            let said = reader.info().pages[0].levels[0].encoded;
            assert_eq!(
                said,
                is_passed.then_some(EncodedFormat::WebP),
                "{bands} {extra:?}"
            );
            let Some(passed) = tile(&*reader, 0, 0) else {
                assert!(!is_passed, "{bands} {extra:?}");
                continue;
            };
            let viewed = webp::Decoder::new(&passed.bytes).decode().unwrap();
            assert_eq!(viewed.is_alpha(), bands == 4);
            assert!(*viewed == *read_region(&*reader, 0, 0, Region::new(0, 0, 32, 32)).unwrap());
        }
    }

    #[test]
    fn tiles_that_lack_something_are_left_to_the_decoder_and_what_follows_them_is_left_out() {
        let pixels: Vec<u8> = photo(32, 32, 3).iter().map(|&v| v as u8).collect();
        let jpeg = encode(&pixels, 32, 32, 3, true, (2, 2));
        let webp = webp::Encoder::from_rgb(&pixels, 32, 32)
            .encode_lossless()
            .to_vec();
        let passed = |compression: u16, block: Vec<u8>| {
            let mut image = Image::new(32, 32, 3, 8).tiled(32, 32).compressed(compression);
            if compression == 7 {
                image = image.photometric(6);
            }
            image.blocks = Some(vec![block]);
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            let is_read = read_region(&*reader, 0, 0, Region::new(0, 0, 32, 32)).is_ok();
            (tile(&*reader, 0, 0).map(|tile| tile.bytes), is_read)
        };
        for (compression, whole) in [(7, &jpeg), (50001, &webp)] {
            let (bytes, is_read) = passed(compression, whole.clone());
            assert!(bytes.is_some() && is_read);
            let behind = passed(compression, [&whole[..], b"more"].concat());
            assert_eq!(behind, (bytes, true), "{compression}");
            let cut = |len: usize| passed(compression, whole[..whole.len() - len].to_vec());
            assert_eq!(cut(40), (None, false), "{compression}");
            // Its pixels may all be there.
            assert_eq!(cut(2).0, None, "{compression}");
        }
        // Without one of its tables.
        let parts = JpegParts::new(None, &jpeg).unwrap();
        for table in [0xdb, 0xc4] {
            let last = parts
                .segments()
                .iter()
                .rposition(|(marker, _)| *marker == table)
                .unwrap();
            let mut pieces = parts.pieces(None);
            pieces.remove(last + 1);
            // The codec knows the usual Huffman tables, browsers need not.
            assert_eq!(passed(7, pieces.concat()), (None, table == 0xc4), "{table:#x}");
        }
    }

    #[test]
    fn tiles_that_would_be_shown_wrong_are_not_passed() {
        let base = |bands| Image::new(32, 32, bands, 8).tiled(32, 32).compressed(7);
        let planar = Image {
            planar: true,
            ..base(3)
        };
        for image in [
            base(1).photometric(0),
            planar,
            base(4).photometric(5),
            base(1).in_strips(32),
        ] {
            let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
            assert_eq!(reader.info().pages[0].levels[0].encoded, None);
            assert!(tile(&*reader, 0, 0).is_none());
        }
        let rgb: Vec<u8> = photo(32, 32, 3).iter().map(|&v| v as u8).collect();
        let mut subsampled = base(3);
        subsampled.blocks = Some(vec![encode(&rgb, 32, 32, 3, true, (2, 2))]);
        let reader = open(write(&[subsampled], ByteOrder::Little, false)).unwrap();
        assert!(tile(&*reader, 0, 0).is_none());
    }
}
