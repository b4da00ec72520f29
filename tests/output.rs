//! What other people's programs read in the files the host writes about their pixels, and what is refused.

use std::path::PathBuf;

use support::fixture::Images;
use support::flat::FlatTiff;
use support::icc::{ADOBE_RGB, rgb_profile};
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// A photograph with everything a camera and an archive write about it.
fn described(images: &Images) {
    images.write("camera.jpg", &Picture::photograph(400, 300, 3, 2).to_jpeg(90));
    images.write("adobe.icc", &rgb_profile(&ADOBE_RGB));
    let profile = format!("-icc_profile<={}", images.path("adobe.icc").display());
    let file = images.path("camera.jpg").display().to_string();
    tool::run(
        "exiftool",
        [
            "-q",
            "-n",
            "-overwrite_original",
            &profile,
            "-IFD0:Artist=Somebody",
            "-IFD0:Make=Maker",
            "-IFD0:Orientation=6",
            "-ExifIFD:ISO=200",
            "-ExifIFD:ExifImageWidth=400",
            "-GPS:GPSLatitude=47.5",
            "-GPS:GPSLatitudeRef=N",
            "-XMP-dc:Title=Views",
            "-IFD0:XResolution=300",
            "-IFD0:YResolution=300",
            "-IFD0:ResolutionUnit=2",
            "-JFIF:XResolution=300",
            "-JFIF:YResolution=300",
            "-JFIF:ResolutionUnit=1",
            &file,
        ],
    );
}

#[test]
fn exports_say_in_every_format_what_the_source_said() {
    let images = Images::new();
    described(&images);
    let server = Settings::new(images.folder())
        .with("COPYRIGHT", "All rights reserved")
        .start();
    let mut paths = Vec::new();
    for extension in ["jpg", "png", "webp", "avif", "tif"] {
        let query = format!("FIF=camera.jpg&WID=200&CVT={extension}");
        let name = format!("out.{extension}");
        images.write(&name, &server.client().iip(&query).expect(200).body);
        paths.push(images.path(&name));
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    let told = tool::exiftool(&paths);
    assert_eq!(told.len(), 5);
    for told in told {
        let name = told["SourceFile"].as_str().unwrap().to_owned();
        let said = |tag: &str| {
            let value = &told[tag];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        for (tag, expected) in [
            ("IFD0:Artist", "Somebody"),
            ("IFD0:Make", "Maker"),
            ("IFD0:Copyright", "All rights reserved"),
            ("ExifIFD:ISO", "200"),
            ("ExifIFD:ExifImageWidth", "200"),
            ("XMP-dc:Title", "Views"),
            ("ICC_Profile:ProfileDescription", "made for a test"),
            ("IFD0:XResolution", "150"),
            ("IFD0:YResolution", "150"),
        ] {
            assert_eq!(said(tag), expected, "{tag} of {name}: {told:#}");
        }
        assert!(said("GPS:GPSLatitude").starts_with("47"), "{name}");
        assert!(!said("IFD0:Orientation").contains("90"), "{name} stands upright");
        let own = match name.rsplit('.').next().unwrap() {
            "jpg" => ("JFIF:XResolution", "150"),
            // Pixels to the meter.
            "png" => ("PNG-pHYs:PixelsPerUnitX", "5906"),
            _ => continue,
        };
        assert_eq!(said(own.0), own.1, "{name}");
        assert_eq!(told["ExifTool:Warning"], serde_json::Value::Null, "{name}");
    }
}

#[test]
fn tiles_carry_the_profile_and_nothing_else() {
    let images = Images::new();
    described(&images);
    let server = Settings::new(images.folder())
        .with("COPYRIGHT", "All rights reserved")
        .start();
    let mut paths = Vec::new();
    for (command, extension) in [
        ("JTL", "jpg"),
        ("PTL", "png"),
        ("WTL", "webp"),
        ("ATL", "avif"),
        ("TTL", "tif"),
    ] {
        let name = format!("tile.{extension}");
        images.write(
            &name,
            &server
                .client()
                .iip(&format!("FIF=camera.jpg&{command}=1,0"))
                .expect(200)
                .body,
        );
        paths.push(images.path(&name));
    }
    let paths: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
    for told in tool::exiftool(&paths) {
        assert_eq!(
            told["ICC_Profile:ProfileDescription"], "made for a test",
            "{told:#}"
        );
        for group in ["XMP-dc:Title", "ExifIFD:ISO", "GPS:GPSLatitude"] {
            assert_eq!(told[group], serde_json::Value::Null, "{group}: {told:#}");
        }
    }
}

#[test]
fn sizes_over_the_limit_of_a_format_are_refused_with_the_limit() {
    let images = Images::new();
    images.write(
        "long.tif",
        &FlatTiff::new(66_000, 2, 1, 8, 1, vec![90; 132_000]).bytes(),
    );
    let server = Settings::new(images.folder()).with("MAX_CVT", "-1").start();
    for (query, limit) in [
        ("FIF=long.tif&CVT=jpeg", "65500"),
        ("FIF=long.tif&CVT=webp", "16383"),
        ("FIF=long.tif&CVT=avif", "65535"),
        ("FIF=long.tif&QLT=jpeg:80&CVT=tiff", "65500"),
        ("FIF=long.tif&QLT=webp:80&CVT=tiff", "16383"),
    ] {
        let reply = server.client().iip(query).expect(400);
        assert!(reply.text().contains(limit), "{query}: {}", reply.text());
    }
    let iiif = server
        .client()
        .get("/iiif/3/long.tif/full/max/0/default.jpg")
        .expect(400);
    assert!(iiif.text().contains("65500"));
    for query in ["FIF=long.tif&CVT=png", "FIF=long.tif&QLT=deflate:1&CVT=tiff"] {
        let _ = server.client().iip(query).expect(200);
    }
    assert_eq!(
        server
            .client()
            .iip("FIF=long.tif&WID=16383&CVT=webp")
            .expect(200)
            .field("Content-Type"),
        "image/webp"
    );
}
