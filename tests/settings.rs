//! What single settings change, seen in one reply each.

use support::fixture::{Compression, Images, Layout, TiffFile};
use support::image::{assert_close, assert_same};
use support::picture::Picture;
use support::server::run;

/// The header and body of one reply of a host with these variables.
fn get(images: &Images, variables: &[(&str, &str)], request: &str) -> (String, Vec<u8>) {
    let folder = images.folder().to_str().unwrap();
    let output = run(["get", request, "--dir", folder], variables);
    (
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.stdout,
    )
}

#[test]
fn encoders_obey_their_settings() {
    let (images, _) = Images::with_photo();
    for (format, name, smaller, larger, other) in [
        ("jpg", "JPEG_QUALITY", "20", "90", ("VERBOSITY", "0")),
        ("png", "PNG_QUALITY", "9", "0", ("VERBOSITY", "0")),
        ("webp", "WEBP_QUALITY", "10", "90", ("VERBOSITY", "0")),
        ("avif", "AVIF_QUALITY", "10", "90", ("VERBOSITY", "0")),
        ("tif", "TIFF_COMPRESSION", "2", "0", ("VERBOSITY", "0")),
        ("tif", "TIFF_QUALITY", "10", "90", ("TIFF_COMPRESSION", "3")),
    ] {
        let target = format!("/iiif/3/photo.tif/full/200,/0/default.{format}");
        let size = |value| {
            let (head, body) = get(&images, &[(name, value), other], &target);
            assert!(head.contains("200 OK"), "{name} {head}");
            body.len()
        };
        assert!(size(smaller) < size(larger), "{name}");
    }
}

#[test]
fn sizes_obey_their_settings() {
    let (images, _) = Images::with_photo();
    let (head, _) = get(&images, &[("MAX_CVT", "100")], "FIF=photo.tif&WID=500&CVT=JPEG");
    assert!(head.contains("photo_100x"), "{head}");
    let larger = "/iiif/3/photo.tif/full/^3000,/0/default.jpg";
    assert!(get(&images, &[], larger).0.contains("200 OK"));
    assert!(
        get(&images, &[("ALLOW_UPSCALING", "0")], larger)
            .0
            .contains("501")
    );
    let resized = "/iiif/3/photo.tif/full/123,/0/default.png";
    let with = |interpolation| get(&images, &[("INTERPOLATION", interpolation)], resized).1;
    assert_ne!(with("0"), with("1"));
    assert_ne!(with("1"), with("2"));
}

#[test]
fn names_obey_their_settings() {
    let (images, _) = Images::with_photo();
    let file = std::fs::read(images.path("photo.tif")).unwrap();
    images.write("obj-seq-000_090.tif", &file);
    let object = "FIF=obj&OBJ=Max-size";
    assert!(
        get(&images, &[("FILENAME_PATTERN", "-seq-")], object)
            .0
            .contains("200 OK")
    );
    assert!(!get(&images, &[], object).0.contains("200 OK"));
    let short = "FIF=photo&OBJ=Max-size";
    assert!(
        get(&images, &[("FILESYSTEM_SUFFIX", ".tif")], short)
            .0
            .contains("200 OK")
    );
    assert!(!get(&images, &[], short).0.contains("200 OK"));
}

#[test]
fn documents_obey_their_settings() {
    let (images, _) = Images::with_photo();
    let text = |variables: &[(&str, &str)], target: &str| {
        String::from_utf8(get(&images, variables, target).1).unwrap()
    };
    let info = "/iiif/photo.tif/info.json";
    assert!(text(&[("IIIF_VERSION", "2")], info).contains("image/2/context.json"));
    assert!(text(&[], info).contains("image/3/context.json"));
    assert!(text(&[("IIIF_EXTRA_INFO", "\"note\": \"mine\"")], info).contains("mine"));
    assert!(
        text(
            &[("COPYRIGHT", "http://creativecommons.org/licenses/by/4.0/")],
            info
        )
        .contains("http://creativecommons.org/licenses/by/4.0/")
    );
    let negative = "/iiif/3/photo.tif/full/100,/0/negative.jpg";
    assert!(
        get(&images, &[("IIIF_EXTENSIONS", "1")], negative)
            .0
            .contains("200 OK")
    );
    assert!(get(&images, &[], negative).0.contains("400"));
    let head = |value| {
        get(&images, &[("CACHE_CONTROL", value)], info)
            .0
            .to_ascii_lowercase()
    };
    assert!(head("no-store").contains("cache-control: no-store"));
    assert!(!head("").contains("cache-control"));
}

#[test]
fn settings_without_effect_are_taken() {
    let variables = [
        ("KAKADU_READMODE", "2"),
        ("AVIF_CODEC", "0"),
        ("OMP_NUM_THREADS", "2"),
        ("MAX_LAYERS", "-1"),
    ];
    let output = run(["--check-config"], &variables);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_delimiter_chooses_the_page_of_a_file() {
    let images = Images::new();
    let pages = [1, 2].map(|seed| Picture::photograph(300, 200, 3, seed));
    let layout = Layout::default();
    images.add("stack.tif", &TiffFile::of_levels(pages.to_vec(), layout));
    let second = "/iiif/3/stack.tif@1/full/max/0/default.png";
    let (head, body) = get(&images, &[("IIIF_DELIMITER", "@")], second);
    assert!(head.contains("200 OK"), "{head}");
    assert_same("page-1", &Picture::from_png(&body), &pages[1]);
    // Without it the name is that of another file.
    assert!(get(&images, &[], second).0.contains("404"));
}

#[test]
fn stored_tiles_are_handed_on_unless_that_is_switched_off() {
    let images = Images::new();
    let layout = Layout {
        compression: Compression::Jpeg(60),
        ..Layout::default()
    };
    let file = TiffFile::pyramid(&Picture::photograph(1024, 1024, 3, 1), layout);
    images.add("jpeg.tif", &file);
    let (offset, length) = file.tile_data(0, 0);
    let stored = &file.bytes[offset as usize..(offset + length) as usize];
    let tile = "FIF=jpeg.tif&JTL=3,0";
    assert!(get(&images, &[], tile).1 == stored, "the stored bytes");
    let (head, encoded) = get(&images, &[("CODEC_PASSTHROUGH", "0")], tile);
    assert!(head.contains("200 OK"), "{head}");
    assert!(encoded != stored, "encoded anew");
    let (encoded, stored) = (Picture::from_jpeg(&encoded), Picture::from_jpeg(stored));
    assert_close("encoded-again", &encoded, &stored, 35.0);
}
