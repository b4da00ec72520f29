//! What single settings change, seen in one reply each.

use support::fixture::Images;
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
