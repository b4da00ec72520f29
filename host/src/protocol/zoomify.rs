//! Zoomify: `ImageProperties.xml` and tiles of tiers.
//!
//! Clients halve the full size, rounding down, until both sides fit one tile; that is tier 0, and the full
//! size the last tier. The tile group in the address tells nothing: clients count it differently.

use crate::error::Error;
use crate::image_info::Page;
use crate::limits::Size;
use crate::protocol::argument::Argument;
use crate::protocol::base::Base;
use crate::protocol::{Answer, Images, OpenedImage, Picture, PictureKind, tile_grid};
use crate::server::Response;
use crate::view::{Output, OutputFormat, View};

/// Answers a request for the document or a tile.
///
/// # Errors
/// 400 for another form of address, 404 for an unknown image, tier or tile, and what [`Images::open`] gives.
pub fn answer<S: Images>(argument: &Argument, images: &S, base: &Base) -> Result<Answer<S::Image>, Error> {
    let text = argument.text();
    let (identifier, wanted) = parse(&text).ok_or_else(|| {
        Error::bad_request("expected NAME/ImageProperties.xml or NAME/TileGroupN/TIER-COLUMN-ROW.jpg")
    })?;
    let opened = images.open(&argument.identifiers(identifier, false))?;
    let (image, page_idx) = base.select(images, &opened)?;
    let page = image.info().page(page_idx);
    let Some(Tile { tier, col, row }) = wanted else {
        let response = Response::new(200)
            .with("Content-Type", "application/xml")
            .body(document(page));
        return Ok(Answer::Document { image, response });
    };
    let frame = tier_size(page, tier)
        .and_then(|size| tile_grid::tile(page, size, col, row, base.reverse_tiles))
        .ok_or_else(|| Error::not_found(format!("no tile {col}-{row} on tier {tier}")))?;
    let view = View {
        page: page_idx,
        frame,
        turn: base.turn,
        processing: base.processing.clone(),
        output: Output {
            format: OutputFormat::Jpeg,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    tier: u64,
    col: u64,
    row: u64,
}

/// The identifier, still encoded, and the tile; no tile means the document.
fn parse(text: &[u8]) -> Option<(&[u8], Option<Tile>)> {
    if let Some(identifier) = text.strip_suffix(b"/ImageProperties.xml") {
        return Some((identifier, None));
    }
    let (folder, name) = split_last(text)?;
    let (identifier, group) = split_last(folder)?;
    if !group.starts_with(b"TileGroup") {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    // The extension is not looked at, so a tier with a fraction needs its dot found from the right.
    let numbers = name.rsplit_once('.').map_or(name, |(numbers, _)| numbers);
    let mut numbers = numbers.split('-');
    let tile = Tile {
        tier: tile_grid::level_number(numbers.next()?)?,
        col: tile_grid::digits(numbers.next()?)?,
        row: tile_grid::digits(numbers.next()?)?,
    };
    numbers.next().is_none().then_some((identifier, Some(tile)))
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().rposition(|&b| b == b'/')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// `ImageProperties.xml`. IIPMooViewer splits it at its quotation marks: its bytes are fixed.
fn document(page: &Page) -> String {
    let size = page.size();
    let tile_count: u64 = (0..tier_count(page))
        .filter_map(|tier| tier_size(page, tier))
        .map(|size| tile_grid::grid(page, size).pixels())
        .sum();
    format!(
        "<IMAGE_PROPERTIES WIDTH=\"{}\" HEIGHT=\"{}\" NUMTILES=\"{tile_count}\" NUMIMAGES=\"1\" \
         VERSION=\"1.8\" TILESIZE=\"{}\"/>",
        size.width,
        size.height,
        tile_grid::tile_side(page)
    )
}

/// Sizes from the full one down to the first that fits one tile.
fn tier_count(page: &Page) -> u64 {
    let mut longer = page.size().longer();
    let mut count = 1;
    while longer > tile_grid::tile_side(page) {
        longer /= 2;
        count += 1;
    }
    count
}

/// The size of a tier, `None` above the full size.
fn tier_size(page: &Page, tier: u64) -> Option<Size> {
    let halvings = u32::try_from((tier_count(page) - 1).checked_sub(tier)?).ok()?;
    let side = |full: u32| full.checked_shr(halvings).unwrap_or(0).max(1);
    let full = page.size();
    Some(Size::new(side(full.width), side(full.height)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fake::{assert_covered_once, page_of, scaled, test_images, tile};
    use crate::view::Frame;

    fn ask(text: &str) -> Result<Frame, u16> {
        match answer(&Argument::of_path(text), &test_images(), &Base::default()) {
            Ok(Answer::Picture(picture)) => {
                assert_eq!(picture.kind, PictureKind::Tile);
                assert_eq!(picture.view.output, Output::new(OutputFormat::Jpeg));
                Ok(picture.view.frame)
            }
            Ok(other) => panic!("{text}: {other:?}"),
            Err(error) => Err(error.status()),
        }
    }

    #[test]
    fn the_document_has_exactly_these_bytes() {
        let images = test_images();
        let argument = Argument::of_path("test.tif/ImageProperties.xml");
        let Ok(Answer::Document { response, .. }) = answer(&argument, &images, &Base::default()) else {
            panic!()
        };
        assert_eq!(response.header("Content-Type"), Some("application/xml"));
        assert_eq!(
            response.body,
            "<IMAGE_PROPERTIES WIDTH=\"1000\" HEIGHT=\"700\" NUMTILES=\"17\" NUMIMAGES=\"1\" \
             VERSION=\"1.8\" TILESIZE=\"256\"/>"
        );
    }

    #[test]
    fn tiers_and_tile_counts_follow_the_arithmetic() {
        for (levels, tiers, count) in [
            (&[(512, 512), (256, 256)][..], 2, 5),
            (&[(512, 512), (256, 256), (128, 128), (64, 64)], 2, 5),
            (&[(1000, 700)], 3, 17),
            (&[(1000, 700), (500, 350), (250, 175)], 3, 17),
            (&[(513, 100)], 2, 4),
            (&[(256, 256)], 1, 1),
            (&[(1, 1)], 1, 1),
            (&[(1, 20000)], 8, 79 + 40 + 20 + 10 + 5 + 3 + 2 + 1),
        ] {
            let page = page_of(levels, Size::new(256, 256));
            assert_eq!(tier_count(&page), tiers, "{levels:?}");
            assert!(
                document(&page).contains(&format!("NUMTILES=\"{count}\"")),
                "{levels:?} {}",
                document(&page)
            );
        }
    }

    #[test]
    fn tiles_are_found_by_tier_column_and_row() {
        for (address, expected) in [
            ("0-0-0.jpg", Ok(tile(2, 0, 0))),
            ("1-1-1.jpg", Ok(tile(1, 1, 1))),
            ("2-3-2.jpg", Ok(tile(0, 3, 2))),
            ("2.7-3-2.jpg", Ok(tile(0, 3, 2))),
            ("2-3-2", Ok(tile(0, 3, 2))),
            ("2-3-2.png", Ok(tile(0, 3, 2))),
            ("2-4-0.jpg", Err(404)),
            ("2-0-3.jpg", Err(404)),
            ("3-0-0.jpg", Err(404)),
            ("99999999999999999999-0-0.jpg", Err(404)),
            ("-1-0-0.jpg", Err(400)),
            ("1-0.jpg", Err(400)),
            ("1-0-0-0.jpg", Err(400)),
            ("1-a-0.jpg", Err(400)),
            ("", Err(400)),
        ] {
            assert_eq!(
                ask(&format!("test.tif/TileGroup0/{address}")),
                expected,
                "{address}"
            );
        }
        assert_eq!(ask("test.tif/TileGroup99/2-3-2.jpg"), Ok(tile(0, 3, 2)));
        assert_eq!(ask("test.tif"), Err(400));
        assert_eq!(ask("nope.tif/TileGroup0/x.jpg"), Err(400));
        assert_eq!(ask("nope.tif/TileGroup0/0-0-0.jpg"), Err(404));
        assert_eq!(ask("dir%2Fa%20b.tif/TileGroup0/0-0-0.jpg"), Ok(tile(2, 0, 0)));
        assert_eq!(
            ask("flat.tif/TileGroup0/0-0-0.jpg"),
            Ok(scaled((250, 175), 0, 0, 250, 175))
        );
        assert_eq!(
            ask("flat.tif/TileGroup0/1-1-1.jpg"),
            Ok(scaled((500, 350), 256, 256, 244, 94))
        );
    }

    fn grids_cover(width: u32, height: u32, tile: u32) {
        let page = page_of(&[(width, height)], Size::new(tile, tile));
        let tiers = tier_count(&page);
        assert_eq!(tier_size(&page, tiers), None);
        assert_eq!(tier_size(&page, tiers - 1), Some(Size::new(width, height)));
        let smallest = tier_size(&page, 0).unwrap();
        assert_eq!(tile_grid::grid(&page, smallest), Size::new(1, 1));
        for tier in 0..tiers {
            assert_covered_once(&page, tier_size(&page, tier).unwrap());
        }
    }

    #[test]
    fn tiles_cover_every_tier_once() {
        for (width, height) in [(1, 1), (255, 257), (1023, 769), (1, 20000)] {
            grids_cover(width, height, 256);
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_every_tier_of_any_size_once(width in 1_u32..3000, height in 1_u32..3000, tile in 16_u32..600) {
            grids_cover(width, height, tile);
        }

        #[test]
        fn arbitrary_bytes_are_answered(raw: Vec<u8>, from_query: bool) {
            let _ = answer(&Argument { raw, from_query }, &test_images(), &Base::default());
        }
    }
}
