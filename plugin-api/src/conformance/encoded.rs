//! Stored tiles that are handed on undecoded.

use super::random::Random;
use super::subject::{Subject, Verdict, Watch, fail, roomy, skip, some_pages, tolerate, words};
use crate::decoder::EncodedTile;
use crate::host::answer;
use crate::info::EncodedFormat;
use crate::module::capability;
use crate::region::TileId;

/// Tiles looked at for each level.
const TILES: u32 = 16;

pub(super) fn encoded_tiles(subject: &Subject) -> Verdict {
    let capable = subject
        .bare_decoder()?
        .describe()
        .capabilities
        .contains(&capability::ENCODED_TILES);
    let mut random = Random::new(subject.seed);
    let mut seen = 0u32;
    subject.each_reader(|sample, reader| {
        for page_idx in some_pages(reader.info()) {
            let Some(page) = reader.info().pages.get(page_idx as usize) else {
                continue;
            };
            for (level_idx, level) in (0u32..).zip(&page.levels) {
                for n in 0..TILES {
                    // The corners first: their tiles reach over the edge.
                    let (last_col, last_row) = (level.tile_cols() - 1, level.tile_rows() - 1);
                    let (tile_col, tile_row) = match n {
                        0 => (0, 0),
                        1 => (last_col, last_row),
                        _ => (
                            random.below_side(level.tile_cols()),
                            random.below_side(level.tile_rows()),
                        ),
                    };
                    let id = TileId {
                        page: page_idx,
                        level: level_idx,
                        tile_col,
                        tile_row,
                    };
                    subject.doing(format!("{}, {id:?}", sample.name));
                    let watch = Watch::default();
                    let tile = match reader.encoded_tile(id, &watch.context(roomy())) {
                        Ok(Some(tile)) => tile,
                        Ok(None) => continue,
                        Err(error) => {
                            tolerate(&error)?;
                            return fail(words(&error));
                        }
                    };
                    seen += 1;
                    if !capable {
                        return fail("a stored tile from a module without the capability encoded-tiles");
                    }
                    if level.encoded != Some(tile.format) {
                        return fail(format!(
                            "a stored tile in {:?} where the level says {:?}",
                            tile.format, level.encoded
                        ));
                    }
                    if let Err(lie) = answer::encoded_tile(&tile, level, roomy().max_bytes) {
                        return fail(lie.0);
                    }
                    picture(&tile)?;
                }
            }
        }
        Ok(())
    })?;
    if seen == 0 {
        return skip("no sample has stored tiles to hand on");
    }
    Ok(())
}

fn picture(tile: &EncodedTile) -> Verdict {
    let size = match tile.format {
        EncodedFormat::Jpeg => jpeg_size(&tile.bytes),
        EncodedFormat::WebP => webp_size(&tile.bytes),
    };
    match size {
        Ok(size) if size == (tile.width, tile.height) => Ok(()),
        Ok((width, height)) => fail(format!(
            "the file inside is {width}x{height}, the tile says {}x{}",
            tile.width, tile.height
        )),
        Err(reason) => fail(format!("not a whole file: {reason}")),
    }
}

/// Size of a JPEG from its frame header (ITU-T T.81, B.2.2); everything a decoder needs must be there.
fn jpeg_size(bytes: &[u8]) -> Result<(u32, u32), &'static str> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err("no SOI at the start");
    }
    if !bytes.ends_with(&[0xff, 0xd9]) {
        return Err("no EOI at the end");
    }
    let (mut size, mut quantization, mut at) = (None, false, 2);
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        // Fill bytes may stand before a marker (B.1.1.2).
        if marker == 0xff {
            at += 1;
            continue;
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        match marker {
            0xdb => quantization = true,
            // Every SOF; C4, C8 and CC are other markers.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let Some(&[h1, h2, w1, w2]) = bytes.get(at + 5..at + 9) else {
                    return Err("the frame header is cut off");
                };
                let side = |a, b| u32::from(u16::from_be_bytes([a, b]));
                size = Some((side(w1, w2), side(h1, h2)));
            }
            0xda if !quantization => return Err("no quantization table before the scan"),
            0xda => return size.ok_or("no frame header before the scan"),
            _ => {}
        }
        at += 2 + len;
    }
    Err("no scan")
}

/// Size of a WebP from its first chunk (RFC 9649, section 2.5 to 2.7).
fn webp_size(bytes: &[u8]) -> Result<(u32, u32), &'static str> {
    let field = |at: usize, len: usize| bytes.get(at..at + len).ok_or("the header is cut off");
    if field(0, 4)? != b"RIFF" || field(8, 4)? != b"WEBP" {
        return Err("no RIFF WEBP at the start");
    }
    let little = |at: usize, len: usize| -> Result<u32, &'static str> {
        let bytes = field(at, len)?.iter().rev();
        Ok(bytes.fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
    };
    match field(12, 4)? {
        b"VP8 " => Ok((little(26, 2)? & 0x3fff, little(28, 2)? & 0x3fff)),
        b"VP8L" => {
            let bits = little(21, 4)?;
            Ok(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Ok((little(24, 3)? + 1, little(27, 3)? + 1)),
        _ => Err("an unknown first chunk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(&[0xff, 0xd9]);
        bytes
    }

    const DQT: &[u8] = &[0xff, 0xdb, 0, 3, 0];
    const SOF: &[u8] = &[0xff, 0xc0, 0, 11, 8, 0, 2, 1, 3, 1, 1, 0x11, 0];
    const SOS: &[u8] = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];

    #[test]
    fn a_jpeg_without_its_tables_is_not_whole() {
        assert_eq!(jpeg_size(&jpeg(&[DQT, &[0xff], SOF, SOS])), Ok((259, 2)));
        assert!(jpeg_size(&jpeg(&[SOF, SOS])).is_err());
        assert!(jpeg_size(&jpeg(&[DQT, SOS])).is_err());
        assert!(jpeg_size(&jpeg(&[DQT, SOF])).is_err());
        assert!(jpeg_size(&jpeg(&[DQT, SOF, SOS])[2..]).is_err());
        assert!(jpeg_size(&[0xff, 0xd8, 0xff, 0xc0, 0, 11, 0xff, 0xd9]).is_err());
        assert!(jpeg_size(&[]).is_err());
    }

    #[test]
    fn a_webp_tells_its_size_in_three_ways() {
        let webp = |chunk: &[u8; 4], rest: &[u8]| {
            let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(rest);
            bytes
        };
        let lossy = webp(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 16, 0, 8, 0x40]);
        assert_eq!(webp_size(&lossy), Ok((16, 8)));
        let lossless = webp(b"VP8L", &[0x2f, 15, 0xc0, 1, 0]);
        assert_eq!(webp_size(&lossless), Ok((16, 8)));
        let extended = webp(b"VP8X", &[0, 0, 0, 0, 15, 0, 0, 7, 0, 0]);
        assert_eq!(webp_size(&extended), Ok((16, 8)));
        assert!(webp_size(&extended[..25]).is_err());
    }
}
