//! Broken and lying files: a clear error for each request, and a good image that goes on being served, in bounded
//! memory.

use support::fixture::{Compression, Images, Layout, TiffFile, deflate, tag};
use support::image::assert_same;
use support::master::jpeg2000;
use support::picture::Picture;
use support::{Reply, Server};

/// What the host may need beyond what it needed before the broken file.
const MEMORY: u64 = 64 << 20;

fn good() -> TiffFile {
    TiffFile::pyramid(&Picture::photograph(600, 400, 3, 3), Layout::default())
}

/// A host with a good image and one more, and what it says about that one: document, tile and picture.
fn ask(file: &[u8]) -> [Reply; 3] {
    let (images, photo) = Images::with_photo();
    images.write("broken.tif", file);
    let mut server = Server::start(images.folder());
    let client = server.client();
    let good = "/iiif/3/photo.tif/100,100,300,300/max/0/default.png";
    let expected = photo.crop(100, 100, 300, 300);
    assert_same("before", &client.get(good).picture(), &expected);
    let before = server.memory_bytes();
    let replies = [
        "/iiif/3/broken.tif/info.json",
        "/fcgi-bin/iipsrv.fcgi?FIF=broken.tif&JTL=9,0",
        "/iiif/3/broken.tif/full/50,/0/default.jpg",
    ]
    .map(|target| client.get(target));
    let after = server.memory_bytes();
    assert!(after < before + MEMORY, "{before} bytes before, {after} after");
    let other = good.replace("100,100", "110,90");
    assert_same(
        "after",
        &client.get(&other).picture(),
        &photo.crop(110, 90, 300, 300),
    );
    assert!(server.is_alive());
    for reply in &replies {
        if reply.status != 200 {
            let text = reply.text();
            assert!(!text.is_empty() && !text.contains("/tmp"), "{text:?}");
        }
    }
    replies
}

fn assert_refused(what: &str, file: &[u8], status: u16) {
    for reply in ask(file) {
        assert_eq!(
            reply.status,
            status,
            "{what}: {}",
            String::from_utf8_lossy(&reply.body)
        );
    }
}

#[test]
fn files_cut_off_are_refused() {
    let whole = good().bytes;
    for length in [0, 1, 4, 7] {
        assert_refused("too short for a header", &whole[..length], 415);
    }
    for length in [8, 100, whole.len() / 2] {
        assert_refused("cut off", &whole[..length], 500);
    }
    // All directories but the last are there.
    let first_only = whole.len() - 40;
    let replies = ask(&whole[..first_only]);
    assert_eq!(
        replies[0].status,
        200,
        "what is whole is shown: {}",
        replies[0].text()
    );
}

#[test]
fn other_files_are_no_images() {
    for bytes in [
        &b"just some text, long enough to be looked at"[..],
        b"II*",
        &[0; 4096],
        b"\x89PNG\r\n\x1a\n0000",
    ] {
        assert_refused("no image", bytes, 415);
    }
}

#[test]
fn a_first_directory_past_the_end_is_refused() {
    for offset in [u64::from(u32::MAX), 1 << 30, 3] {
        let mut file = good();
        let at = file.first_link();
        file.put_word(at, offset);
        assert_refused("directory", &file.bytes, 500);
    }
    let mut file = good();
    file.put_word(4, 0);
    assert_refused("no directory", &file.bytes, 500);
}

#[test]
fn a_chain_of_directories_that_returns_is_cut() {
    for from in 0..4 {
        let mut file = good();
        let first = file.word(file.first_link());
        file.link(from, first);
        let [info, _, picture] = ask(&file.bytes);
        assert_eq!((info.status, picture.status), (200, 200));
        assert_eq!(info.json()["width"], 600);
    }
}

#[test]
fn tiles_of_no_size_are_refused() {
    for (width, height) in [(0, 256), (256, 0), (0, 0)] {
        let mut file = good();
        file.set_long(0, tag::TILE_WIDTH, width);
        file.set_long(0, tag::TILE_LENGTH, height);
        assert_refused("tile size", &file.bytes, 500);
    }
}

#[test]
fn pictures_of_no_size_are_refused() {
    let mut file = good();
    file.set_long(0, tag::IMAGE_WIDTH, 0);
    assert_refused("width 0", &file.bytes, 500);
}

#[test]
fn more_tiles_than_the_file_can_hold_are_refused() {
    for side in [u32::MAX, 1 << 31, 1 << 24] {
        let mut file = good();
        file.set_long(0, tag::IMAGE_WIDTH, side);
        file.set_long(0, tag::IMAGE_LENGTH, side);
        assert_refused("2^32 tiles and more", &file.bytes, 500);
    }
}

#[test]
fn lying_bigtiff_headers_are_refused() {
    let layout = Layout {
        big: true,
        ..Layout::default()
    };
    let big = || TiffFile::pyramid(&Picture::photograph(600, 400, 3, 3), layout);
    let mut file = big();
    file.put_word(file.first_link(), u64::MAX);
    assert_refused("a directory at the end of all numbers", &file.bytes, 500);
    let mut file = big();
    let directory = file.word(file.first_link()) as usize;
    file.put_word(directory, u64::MAX);
    assert_refused("2^64 - 1 entries", &file.bytes, 500);
    let mut file = big();
    let count = file.place(0, tag::TILE_OFFSETS) - 8;
    file.put_word(count, 1 << 61);
    assert_refused("offsets of 2^64 bytes", &file.bytes, 500);
    let mut file = big();
    file.put_word(file.place(0, tag::TILE_OFFSETS), u64::MAX - 3);
    assert_refused("offsets past the end", &file.bytes, 500);
}

#[test]
fn enormous_tiles_are_refused() {
    let mut file = good();
    file.set_long(0, tag::TILE_WIDTH, 1 << 31);
    file.set_long(0, tag::TILE_LENGTH, 1 << 31);
    for reply in ask(&file.bytes) {
        assert!(matches!(reply.status, 400 | 500), "{}", reply.status);
    }
}

#[test]
fn a_tile_past_the_end_is_an_error_of_that_tile() {
    let mut file = good();
    let beyond = file.bytes.len() as u64 + 1000;
    file.set_tile_offset(0, 1, beyond);
    assert_one_tile_is_broken(&file);
    let mut file = good();
    file.set_tile_offset(0, 1, u64::from(u32::MAX));
    assert_one_tile_is_broken(&file);
}

#[test]
fn a_tile_that_is_no_deflate_stream_is_an_error_of_that_tile() {
    let mut file = good();
    file.set_tile_data(0, 1, &[0xff; 500]);
    assert_one_tile_is_broken(&file);
    let mut file = good();
    let (offset, count) = file.tile_data(0, 1);
    let half = file.bytes[offset as usize..(offset + count / 2) as usize].to_vec();
    file.set_tile_data(0, 1, &half);
    assert_one_tile_is_broken(&file);
}

#[test]
fn a_decompression_bomb_is_an_error_of_that_tile() {
    let mut file = good();
    file.set_tile_data(0, 1, &deflate(&vec![0; 256 << 20]));
    let (images, _) = Images::with_photo();
    images.add("bomb.tif", &file);
    let server = Server::start(images.folder());
    let before = server.memory_bytes();
    let reply = server.client().iip("FIF=bomb.tif&JTL=3,1");
    // Some decoders stop at the size of a tile and show what they have: either is fine.
    assert!(matches!(reply.status, 200 | 500), "{}", reply.status);
    assert!(server.memory_bytes() < before + MEMORY);
    let _ = server.client().iip("FIF=bomb.tif&JTL=3,0").picture();
}

#[test]
fn a_broken_jpeg_tile_is_an_error_of_that_tile() {
    let layout = Layout {
        compression: Compression::Jpeg(90),
        ..Layout::default()
    };
    let mut file = TiffFile::pyramid(&Picture::photograph(600, 400, 3, 3), layout);
    file.set_tile_data(0, 1, b"\xff\xd8 no JPEG after all");
    let (images, _) = Images::with_photo();
    images.add("broken.tif", &file);
    let server = Server::start(images.folder());
    // An export decodes; a tile may be handed on as it is stored.
    let part = |x| {
        server
            .client()
            .get(&format!("/iiif/3/broken.tif/{x},0,100,100/max/0/default.png"))
    };
    assert_eq!(part(300).status, 500);
    assert_eq!(part(10).status, 200);
}

/// Tile 1 of the full size gives 500, the others and other pictures are shown.
fn assert_one_tile_is_broken(file: &TiffFile) {
    let (images, _) = Images::with_photo();
    images.add("broken.tif", file);
    let server = Server::start(images.folder());
    let client = server.client();
    for _ in 0..2 {
        assert_eq!(client.iip("FIF=broken.tif&JTL=3,1").status, 500);
        let shown = client
            .get("/iiif/3/broken.tif/0,0,256,256/max/0/default.png")
            .picture();
        assert_same("tile 0", &shown, &file.levels[0].crop(0, 0, 256, 256));
        let _ = client.iip("FIF=photo.tif&JTL=3,1").picture();
    }
    assert!(server.settled_log().contains("ERROR"), "the cause is logged");
}

#[test]
fn bytes_changed_anywhere_never_end_the_host() {
    let layout = Layout {
        tile: 64,
        levels: 2,
        ..Layout::default()
    };
    let file = TiffFile::pyramid(&Picture::photograph(130, 90, 3, 4), layout);
    let directories = file.word(file.first_link()) as usize;
    let (images, photo) = Images::with_photo();
    let mut server = Server::start(images.folder());
    let client = server.client();
    // A fixed sequence (numerical recipes' generator), so that a failure can be repeated.
    let mut state = 12_345u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for round in 0..150 {
        let mut bytes = file.bytes.clone();
        for _ in 0..=next() % 4 {
            // Half of the changes hit the directories, where they do most.
            let start = if next() % 2 == 0 { directories } else { 0 };
            let at = start + next() as usize % (bytes.len() - start);
            bytes[at] = next() as u8;
        }
        images.write("changed.tif", &bytes);
        for target in [
            "/iiif/3/changed.tif/info.json",
            "/iiif/3/changed.tif/full/40,/0/default.png",
        ] {
            let reply = client.get(target);
            assert!(
                matches!(reply.status, 200 | 400 | 415 | 500),
                "round {round}: {}",
                reply.status
            );
        }
        assert!(server.is_alive(), "round {round}: {}", server.log());
    }
    let shown = client.get("/iiif/3/photo.tif/full/max/0/default.png").picture();
    assert_same("after", &shown, &photo);
    assert_eq!(server.health()["module_faults"], 0, "{}", server.log());
}

#[test]
fn a_jpeg2000_file_with_a_broken_tail_shows_its_valid_part_with_a_warning() {
    let images = Images::new();
    let photo = Picture::photograph(600, 400, 3, 3);
    let whole = jpeg2000(&photo, Some((200, 200)));
    // The end of the last tile is missing, and its length is said to be two gigabytes.
    let mut cut = whole[..whole.len() - 1000].to_vec();
    let last = cut
        .windows(4)
        .rposition(|four| four == [0xff, 0x90, 0, 10])
        .unwrap();
    cut[last + 6..last + 10].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    images.write("cut.j2k", &cut);
    // Three of six tiles are there.
    images.write("half.j2k", &whole[..whole.len() / 2]);
    let mut server = Server::start(images.folder());
    let client = server.client();
    let before = server.memory_bytes();
    for name in ["cut.j2k", "half.j2k"] {
        let target = format!("/iiif/3/{name}/0,0,600,200/max/0/default.png");
        assert_same(
            &target,
            &client.get(&target).picture(),
            &photo.crop(0, 0, 600, 200),
        );
        let is_warning =
            |line: &&str| line.contains(name) && (line.contains("not sound") || line.contains("left blank"));
        let log = server.settled_log();
        assert_eq!(log.lines().find(is_warning), None);
        let target = format!("/iiif/3/{name}/full/max/0/default.png");
        let shown = client.get(&target).picture();
        assert_eq!(shown.size(), (600, 400));
        assert_same(&target, &shown.crop(0, 0, 600, 200), &photo.crop(0, 0, 600, 200));
        let log = server.settled_log();
        assert_eq!(log.lines().filter(is_warning).count(), 1, "{log}");
    }
    assert!(server.is_alive());
    assert!(server.memory_bytes() < before + MEMORY);
}
