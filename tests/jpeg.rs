//! What is particular to JPEG masters: kinds of JPEG, small levels, and what they say about themselves, as it comes
//! back in replies.

use mozjpeg::{ColorSpace, Compress, Decompress};
use support::Server;
use support::fixture::Images;
use support::icc::{ADOBE_RGB, rgb_profile};
use support::image::{assert_close, assert_same};
use support::picture::Picture;
use support::server::Settings;
use support::tool;

/// How a file is coded.
#[derive(Clone, Copy)]
struct Coding {
    input: ColorSpace,
    stored: ColorSpace,
    /// Sampling factors of the first component (and of black); the others have 1 x 1.
    sampling: (i32, i32),
    progressive: bool,
}

impl Coding {
    const COLOR: Self = Self {
        input: ColorSpace::JCS_RGB,
        stored: ColorSpace::JCS_YCbCr,
        sampling: (2, 2),
        progressive: false,
    };

    fn file(self, picture: &Picture) -> Vec<u8> {
        let mut encoder = Compress::new(self.input);
        encoder.set_fastest_defaults();
        encoder.set_size(picture.width as usize, picture.height as usize);
        encoder.set_color_space(self.stored);
        encoder.set_quality(90.0);
        let count = encoder.components().len();
        for (number, component) in encoder.components_mut().iter_mut().enumerate() {
            let full = number == 0 || number == 3;
            let (across, down) = if full && count > 1 { self.sampling } else { (1, 1) };
            component.h_samp_factor = across;
            component.v_samp_factor = down;
        }
        if self.progressive {
            encoder.set_progressive_mode();
        }
        let mut started = encoder.start_compress(Vec::new()).unwrap();
        started.write_scanlines(&picture.samples).unwrap();
        started.finish().unwrap()
    }
}

/// The whole file decoded by the library alone, each side divided by 2 to the power `halvings`, rounded down.
fn decoded(file: &[u8], halvings: u32) -> Picture {
    let mut decoder = Decompress::new_mem(file).unwrap();
    let (width, height) = (
        decoder.width() as u32 >> halvings,
        decoder.height() as u32 >> halvings,
    );
    decoder.scale(8 >> halvings);
    let grey = decoder.color_space() == ColorSpace::JCS_GRAYSCALE;
    let space = if grey {
        ColorSpace::JCS_GRAYSCALE
    } else {
        ColorSpace::JCS_RGB
    };
    let mut started = decoder.to_colorspace(space).unwrap();
    let across = started.width() as u32;
    let rows = started.height() as u32;
    let samples = started.read_scanlines::<u8>().unwrap();
    let whole = Picture {
        width: across,
        height: rows,
        bands: if grey { 1 } else { 3 },
        samples,
    };
    whole.crop(0, 0, width, height)
}

/// A file with a segment behind its start of image.
fn with_segment(file: &[u8], code: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, code], &length, payload, &file[2..]].concat()
}

#[test]
fn every_level_of_every_kind_is_that_of_the_codec() {
    let images = Images::new();
    // Five levels: the last one is below what the codec scales to.
    let photo = Picture::photograph(2603, 531, 3, 1);
    let grey = Picture::new(2603, 531, 1, |x, y, _| photo.at(x, y, 0));
    let kinds = [
        ("quarter.jpg", &photo, Coding::COLOR),
        (
            "half.jpg",
            &photo,
            Coding {
                sampling: (2, 1),
                ..Coding::COLOR
            },
        ),
        (
            "full.jpg",
            &photo,
            Coding {
                sampling: (1, 1),
                ..Coding::COLOR
            },
        ),
        (
            "progressive.jpg",
            &photo,
            Coding {
                progressive: true,
                ..Coding::COLOR
            },
        ),
        (
            "grey.jpg",
            &grey,
            Coding {
                input: ColorSpace::JCS_GRAYSCALE,
                stored: ColorSpace::JCS_GRAYSCALE,
                ..Coding::COLOR
            },
        ),
    ];
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    for (name, picture, coding) in kinds {
        let file = coding.file(picture);
        images.write(name, &file);
        let mut levels: Vec<Picture> = (0..4).map(|halvings| decoded(&file, halvings)).collect();
        // Below one eighth: means of squares.
        levels.push(levels[3].half());
        for (number, level) in levels.iter().enumerate() {
            let tier = 4 - number;
            let across = level.width.div_ceil(256);
            for tile in 0..across * level.height.div_ceil(256) {
                let (x, y) = (tile % across * 256, tile / across * 256);
                let expected = level.crop(x, y, 256.min(level.width - x), 256.min(level.height - y));
                let target = format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&PTL={tier},{tile}");
                assert_same(&target, &connection.get(&target).picture(), &expected);
                let lossy = target.replace("PTL", "JTL");
                assert_close(&lossy, &connection.get(&lossy).picture(), &expected, 27.0);
            }
        }
        let thumbnail = format!("/iiif/3/{name}/full/162,/0/default.png");
        let shown = connection.get(&thumbnail).picture();
        assert_same(&thumbnail, &shown, &levels[4]);
    }
}

#[test]
fn inks_are_shown_whichever_way_they_are_stored() {
    let images = Images::new();
    let inks = Picture::photograph(300, 200, 4, 2);
    let turned_over = Picture::new(300, 200, 4, |x, y, band| 255 - inks.at(x, y, band));
    let expected = Picture::new(300, 200, 3, |x, y, band| {
        let light = |ink: u8| u32::from(255 - ink);
        ((light(inks.at(x, y, band)) * light(inks.at(x, y, 3)) + 127) / 255) as u8
    });
    let coding = |stored| Coding {
        input: ColorSpace::JCS_CMYK,
        stored,
        sampling: (1, 1),
        ..Coding::COLOR
    };
    // The codec marks files of four components as Adobe's, whose inks are stored the other way round.
    let cmyk = coding(ColorSpace::JCS_CMYK).file(&turned_over);
    images.write("ycck.jpg", &coding(ColorSpace::JCS_YCCK).file(&turned_over));
    let plain = coding(ColorSpace::JCS_CMYK).file(&inks);
    let marker = plain.windows(5).position(|bytes| bytes == b"Adobe").unwrap() - 4;
    images.write("plain.jpg", &[&plain[..marker], &plain[marker + 16..]].concat());
    images.write("cmyk.jpg", &cmyk);
    let server = Server::start(images.folder());
    for name in ["cmyk.jpg", "ycck.jpg", "plain.jpg"] {
        for target in [
            format!("/iiif/3/{name}/full/max/0/default.png"),
            format!("/iiif/3/{name}/full/max/0/default.jpg"),
        ] {
            let shown = server.client().get(&target).picture();
            assert_close(&target, &shown, &expected, 30.0);
        }
        let info = server.client().get(&format!("/iiif/3/{name}/info.json")).json();
        assert_eq!(info["width"], 300);
    }
}

#[test]
fn metadata_in_many_segments_comes_back_whole() {
    let images = Images::new();
    let mut file = Coding::COLOR.file(&Picture::photograph(400, 300, 3, 5));
    // The last segment written stands first: the parts are out of order, and of different length.
    let profile = rgb_profile(&ADOBE_RGB);
    for (number, range) in [(2_u8, 100..333), (3, 333..profile.len()), (1, 0..100)] {
        let part = [b"ICC_PROFILE\0", &[number, 3][..], &profile[range]].concat();
        file = with_segment(&file, 0xe2, &part);
    }
    let id = b"0123456789ABCDEF0123456789ABCDEF";
    let extension = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\
        <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
        <rdf:Description rdf:about='' xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/' \
        photoshop:Headline='Far away'/></rdf:RDF></x:xmpmeta>"
        .as_bytes();
    for (start, end) in [(90, extension.len()), (0, 90)] {
        let part = [
            &b"http://ns.adobe.com/xmp/extension/\0"[..],
            id,
            &(extension.len() as u32).to_be_bytes(),
            &(start as u32).to_be_bytes(),
            &extension[start..end],
        ]
        .concat();
        file = with_segment(&file, 0xe1, &part);
    }
    let packet = format!(
        "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>\
         <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
         <rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' \
         xmlns:xmpNote='http://ns.adobe.com/xmp/note/' xmp:CreatorTool='Own' \
         xmpNote:HasExtendedXMP='{}'/></rdf:RDF></x:xmpmeta>",
        String::from_utf8_lossy(id)
    );
    file = with_segment(&file, 0xe1, packet.as_bytes());
    // One entry: the maker, which does not fit into it.
    let exif = [
        &b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x08\0\0\0\x1a\0\0\0\0"[..],
        b"Workman\0",
    ]
    .concat();
    images.write("many.jpg", &with_segment(&file, 0xe1, &exif));
    let server = Settings::new(images.folder()).start();
    let text = server.client().iip("FIF=many.jpg&OBJ=metadata");
    assert!(text.text().contains("Workman"), "{}", text.text());
    let mut paths = Vec::new();
    for extension in ["jpg", "png", "webp", "tif"] {
        let name = format!("out.{extension}");
        let reply = server
            .client()
            .iip(&format!("FIF=many.jpg&WID=200&CVT={extension}"));
        images.write(&name, &reply.expect(200).body);
        paths.push(images.path(&name));
    }
    let paths: Vec<_> = paths.iter().map(std::path::PathBuf::as_path).collect();
    for told in tool::exiftool(&paths) {
        assert_eq!(told["XMP-photoshop:Headline"], "Far away", "{told:#}");
        assert_eq!(told["XMP-xmp:CreatorTool"], "Own", "{told:#}");
        assert_eq!(told["IFD0:Make"], "Workman", "{told:#}");
    }
    for path in paths {
        let options = ["-b", "-icc_profile"].map(std::ffi::OsStr::new);
        let read = tool::run("exiftool", options.into_iter().chain([path.as_os_str()]));
        assert!(read == profile, "the profile in {}", path.display());
    }
}

#[test]
fn a_file_cut_off_shows_what_is_there_and_the_log_says_so() {
    let images = Images::new();
    let photo = Picture::photograph(900, 600, 3, 6);
    for (name, progressive) in [("baseline.jpg", false), ("progressive.jpg", true)] {
        let whole = Coding {
            progressive,
            ..Coding::COLOR
        }
        .file(&photo);
        images.write(&format!("whole-{name}"), &whole);
        images.write(name, &whole[..whole.len() * 3 / 5]);
    }
    let server = Server::start(images.folder());
    let client = server.client();
    let top = |name: &str| {
        client
            .get(&format!("/iiif/3/{name}/0,0,900,200/max/0/default.png"))
            .picture()
    };
    assert_same("the part above", &top("baseline.jpg"), &top("whole-baseline.jpg"));
    let bottom = client
        .get("/iiif/3/baseline.jpg/0,560,900,40/max/0/default.png")
        .picture();
    assert_same(
        "the part that is missing",
        &bottom,
        &Picture::plain(900, 40, &[128; 3]),
    );
    // Progressive: all of it, less sharp.
    assert_close(
        "the first scans",
        &top("progressive.jpg"),
        &top("whole-progressive.jpg"),
        18.0,
    );
    let log = server.settled_log();
    for name in ["baseline.jpg", "progressive.jpg"] {
        let told = |words: &str| {
            log.lines()
                .any(|line| line.contains(&format!("image={name}")) && line.contains(words))
        };
        assert!(told("cut off"), "{name}: {log}");
    }
    assert!(log.contains("damaged JPEG is shown as far as it goes"), "{log}");
}
