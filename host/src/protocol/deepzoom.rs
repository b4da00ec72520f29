//! Deep Zoom: the `.dzi` document and tiles of levels down to one pixel.
//!
//! Level 0 is one pixel, level `D = ceil(log2(max(W, H)))` the full size `W x H`, and level `l` has
//! `ceil(W / 2^(D-l))` by `ceil(H / 2^(D-l))` pixels. Tiles are square and do not overlap.

use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::protocol::argument::Argument;
use crate::protocol::base::Base;
use crate::protocol::{Answer, Images, OpenedImage, Picture, PictureKind, tile_grid};
use crate::server::Response;
use crate::view::{Output, OutputFormat, View};

/// Answers a request for a document or a tile. `formats` are those that can be written.
///
/// # Errors
/// 400 for another form of address, 404 for an unknown image, level, tile or format, and what
/// [`Images::open`] gives.
pub fn answer<S: Images>(
    argument: &Argument,
    images: &S,
    formats: &[OutputFormat],
    base: &Base,
) -> Result<Answer<S::Image>, Error> {
    let text = argument.text();
    let address = parse(&text)?;
    let format = match &address.wanted {
        Wanted::Document => OutputFormat::Jpeg,
        Wanted::Tile { extension, .. } => output_format(extension)
            .filter(|format| formats.contains(format))
            .ok_or_else(|| Error::not_found(format!("no tiles of format {extension:?}")))?,
    };
    let opened = images.open(&argument.identifiers(address.identifier, false))?;
    let (image, page_idx) = base.select(images, &opened)?;
    let page = image.info().page(page_idx);
    match address.wanted {
        Wanted::Document => {
            let response = Response::new(200)
                .with("Content-Type", "application/xml")
                .body(document(page));
            Ok(Answer::Document { image, response })
        }
        Wanted::Tile { level, col, row, .. } => {
            let frame = level_size(page.size(), level)
                .and_then(|size| tile_grid::tile(page, size, col, row, base.reverse_tiles))
                .ok_or_else(|| Error::not_found(format!("no tile {col}_{row} on level {level}")))?;
            let view = View {
                page: page_idx,
                frame,
                turn: base.turn,
                processing: base.processing.clone(),
                output: Output {
                    format,
                    ..base.output
                },
                quality_layers: base.quality_layers,
            };
            Ok(Answer::Picture(Box::new(Picture {
                image,
                view,
                kind: PictureKind::Tile,
                link: None,
            })))
        }
    }
}

/// A parsed address; the identifier is still encoded.
#[derive(Debug, PartialEq)]
struct Address<'a> {
    identifier: &'a [u8],
    wanted: Wanted,
}

#[derive(Debug, PartialEq)]
enum Wanted {
    Document,
    Tile {
        level: u64,
        col: u64,
        row: u64,
        extension: String,
    },
}

/// Splits `<identifier>.dzi` or `<identifier>_files/<level>/<col>_<row>.<extension>`.
fn parse(text: &[u8]) -> Result<Address<'_>, Error> {
    if let Some(identifier) = text.strip_suffix(b".dzi") {
        return Ok(Address {
            identifier,
            wanted: Wanted::Document,
        });
    }
    const FILES: &[u8] = b"_files/";
    let no_tile = || Error::bad_request("expected NAME.dzi or NAME_files/LEVEL/COLUMN_ROW.FORMAT");
    let at = text
        .windows(FILES.len())
        .rposition(|window| window == FILES)
        .ok_or_else(no_tile)?;
    let (identifier, tile) = text.split_at_checked(at).ok_or_else(no_tile)?;
    let wanted = tile
        .strip_prefix(FILES)
        .and_then(|tile| std::str::from_utf8(tile).ok())
        .and_then(parse_tile)
        .ok_or_else(no_tile)?;
    Ok(Address { identifier, wanted })
}

fn parse_tile(tile: &str) -> Option<Wanted> {
    let (level, name) = tile.split_once('/')?;
    let (numbers, extension) = name.split_once('.')?;
    let (col, row) = numbers.split_once('_')?;
    Some(Wanted::Tile {
        level: tile_grid::level_number(level)?,
        col: tile_grid::digits(col)?,
        row: tile_grid::digits(row)?,
        extension: extension.to_ascii_lowercase(),
    })
}

fn output_format(extension: &str) -> Option<OutputFormat> {
    match extension {
        "jpg" | "jpeg" => Some(OutputFormat::Jpeg),
        "png" => Some(OutputFormat::Png),
        "webp" => Some(OutputFormat::WebP),
        "avif" => Some(OutputFormat::Avif),
        _ => None,
    }
}

/// The `.dzi` document. IIPMooViewer and others cut values out of it by position: its bytes are fixed.
fn document(page: &Page) -> String {
    let size = page.size();
    format!(
        "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" TileSize=\"{}\" Overlap=\"0\" \
         Format=\"jpg\"><Size Width=\"{}\" Height=\"{}\"/></Image>",
        tile_grid::tile_side(page),
        size.width,
        size.height
    )
}

/// The number of the full-size level.
fn top_level(size: Size) -> u32 {
    size.longer()
        .max(1)
        .checked_sub(1)
        .map_or(0, |n| u32::BITS - n.leading_zeros())
}

/// The size of a level, `None` above the full size.
fn level_size(full: Size, level: u64) -> Option<Size> {
    let halvings = u64::from(top_level(full)).checked_sub(level)?;
    let side = |full: u32| {
        u32::try_from(u64::from(full).div_ceil(1_u64.checked_shl(u32::try_from(halvings).ok()?)?)).ok()
    };
    Some(Size::new(side(full.width)?, side(full.height)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fake::{FakeImages, assert_covered_once, page_of, scaled, test_images, tile};
    use crate::view::{Processing, Turn};

    const ALL: [OutputFormat; 4] = [
        OutputFormat::Jpeg,
        OutputFormat::Png,
        OutputFormat::WebP,
        OutputFormat::Avif,
    ];

    fn ask(text: &str) -> Result<Answer<<FakeImages as Images>::Image>, Error> {
        answer(&Argument::of_path(text), &test_images(), &ALL, &Base::default())
    }

    fn view(text: &str) -> Result<View, u16> {
        match ask(text) {
            Ok(Answer::Picture(picture)) => {
                assert_eq!(picture.kind, PictureKind::Tile);
                Ok(picture.view)
            }
            Ok(other) => panic!("{text}: {other:?}"),
            Err(error) => Err(error.status()),
        }
    }

    #[test]
    fn the_document_has_exactly_these_bytes() {
        let Ok(Answer::Document { response, .. }) = ask("test.tif.dzi") else {
            panic!()
        };
        assert_eq!(response.header("Content-Type"), Some("application/xml"));
        assert_eq!(
            response.body,
            "<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" TileSize=\"256\" Overlap=\"0\" \
             Format=\"jpg\"><Size Width=\"1000\" Height=\"700\"/></Image>"
        );
        assert_eq!(ask("nope.tif.dzi").unwrap_err().status(), 404);
        assert!(matches!(ask("dir%2Fa%20b.tif.dzi"), Ok(Answer::Document { .. })));
    }

    #[test]
    fn levels_and_tiles_follow_the_arithmetic() {
        for (address, expected) in [
            ("10/0_0.jpg", Ok(tile(0, 0, 0))),
            ("10/3_2.jpg", Ok(tile(0, 3, 2))),
            ("9/1_1.jpg", Ok(tile(1, 1, 1))),
            ("8/0_0.jpg", Ok(tile(2, 0, 0))),
            ("8.9/0_0.jpg", Ok(tile(2, 0, 0))),
            ("7/0_0.jpg", Ok(scaled((125, 88), 0, 0, 125, 88))),
            ("5/0_0.jpg", Ok(scaled((32, 22), 0, 0, 32, 22))),
            ("0/0_0.jpg", Ok(scaled((1, 1), 0, 0, 1, 1))),
            ("10/4_0.jpg", Err(404)),
            ("10/0_3.jpg", Err(404)),
            ("11/0_0.jpg", Err(404)),
            ("99999999999999999999/0_0.jpg", Err(404)),
            ("10/99999999999999999999_0.jpg", Err(404)),
            ("10/-1_0.jpg", Err(400)),
            ("10/+1_0.jpg", Err(400)),
            ("-1/0_0.jpg", Err(400)),
            ("x/0_0.jpg", Err(400)),
            ("10/0_0", Err(400)),
            ("10/0.jpg", Err(400)),
            ("10/0_0_0.jpg", Err(400)),
            ("10/1/0_0.jpg", Err(400)),
            ("10/0_0.tif", Err(404)),
            ("10/0_0.gif", Err(404)),
        ] {
            let got = view(&format!("test.tif_files/{address}")).map(|view| view.frame);
            assert_eq!(got, expected, "{address}");
        }
        assert_eq!(view("test.tif"), Err(400));
        assert_eq!(view("test.tif.DZI"), Err(400));
        assert_eq!(view("nope.tif_files/10/-1_0.jpg"), Err(400));
        assert_eq!(view("nope.tif_files/10/0_0.jpg"), Err(404));
        assert_eq!(
            view("a_files/x.tif_files/10/0_0.jpg").map(|v| v.frame),
            Ok(tile(0, 0, 0))
        );
    }

    #[test]
    fn the_extension_chooses_the_format() {
        for (extension, format) in [
            ("jpg", OutputFormat::Jpeg),
            ("JPEG", OutputFormat::Jpeg),
            ("png", OutputFormat::Png),
            ("webp", OutputFormat::WebP),
            ("avif", OutputFormat::Avif),
        ] {
            let view = view(&format!("test.tif_files/10/0_0.{extension}")).unwrap();
            assert_eq!(view.output, Output::new(format));
        }
        let few = answer(
            &Argument::of_path("test.tif_files/10/0_0.avif"),
            &test_images(),
            &[OutputFormat::Jpeg],
            &Base::default(),
        );
        assert_eq!(few.unwrap_err().status(), 404);
    }

    #[test]
    fn settings_of_a_query_are_kept() {
        let base = Base {
            processing: Processing {
                invert: true,
                ..Processing::NONE
            },
            turn: Turn {
                mirror: false,
                degrees: 180.0,
            },
            reverse_tiles: true,
            quality_layers: 3,
            ..Base::default()
        };
        let argument = Argument::of_query("test.tif_files%2F10%2F0_0.jpg?17");
        let Ok(Answer::Picture(picture)) = answer(&argument, &test_images(), &ALL, &base) else {
            panic!()
        };
        assert_eq!(picture.view.frame, tile(0, 3, 2));
        assert_eq!(picture.view.turn, base.turn);
        assert!(picture.view.processing.invert);
        assert_eq!(picture.view.quality_layers, 3);
    }

    #[test]
    fn tiles_that_are_not_square_in_the_file_are_cut_square() {
        let mut page = page_of(&[(1000, 700)], Size::new(256, 128));
        page.tile_size = Size::new(256, 128);
        let size = Size::new(1000, 700);
        assert_eq!(
            tile_grid::tile(&page, size, 3, 2, false),
            Some(scaled((1000, 700), 768, 512, 232, 188))
        );
    }

    #[test]
    fn the_top_level_is_the_rounded_up_logarithm() {
        for (side, top) in [
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1000, 10),
            (1024, 10),
            (1025, 11),
            (u32::MAX, 32),
        ] {
            assert_eq!(top_level(Size::new(side, 1)), top, "{side}");
        }
    }

    fn grids_cover(width: u32, height: u32, tile: u32) {
        let page = page_of(&[(width, height)], Size::new(tile, tile));
        let full = Size::new(width, height);
        let top = u64::from(top_level(full));
        assert_eq!(level_size(full, top), Some(full));
        assert_eq!(level_size(full, 0), Some(Size::new(1, 1)));
        assert_eq!(level_size(full, top + 1), None);
        for level in 0..=top {
            assert_covered_once(&page, level_size(full, level).unwrap());
        }
    }

    #[test]
    fn tiles_cover_every_level_once() {
        for (width, height) in [(1, 1), (255, 257), (1023, 769), (1, 20000)] {
            grids_cover(width, height, 256);
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_every_level_of_any_size_once(width in 1_u32..3000, height in 1_u32..3000, tile in 16_u32..600) {
            grids_cover(width, height, tile);
        }

        #[test]
        fn arbitrary_bytes_are_answered(raw: Vec<u8>, from_query: bool) {
            let argument = Argument { raw, from_query };
            let _ = answer(&argument, &test_images(), &ALL, &Base::default());
        }

        #[test]
        fn what_looks_like_a_tile_is_answered(text in "test\\.tif_files/[0-9.]{0,4}/[0-9_-]{0,6}\\.[a-z]{0,4}") {
            let _ = ask(&text);
        }
    }
}
