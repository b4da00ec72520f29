//! Replies too large to be kept: they are sent while they are made, and what goes wrong then is seen by the client.

use support::fastcgi::{FastCgi, get, status};
use support::fixture::{Images, TiffFile};
use support::picture::Picture;
use support::server::Settings;
use support::wait;

/// What is kept until it is whole.
const KEPT: usize = 64 << 20;

/// Tiles across and down: 75 MiB of samples.
const TILES: u32 = 20;

/// A picture that does not compress: all its tiles are the same noise.
fn noise() -> Picture {
    Picture::new(256, 256, 3, |x, y, band| {
        let seed = (y * 256 + x) * 3 + band;
        (seed
            .wrapping_mul(2_654_435_761)
            .rotate_left(13)
            .wrapping_mul(2_246_822_519)
            >> 24) as u8
    })
}

fn file() -> TiffFile {
    TiffFile::repeated(&noise(), TILES, TILES)
}

/// Every row of a picture is that of the noise, as often as there are tiles.
fn assert_is_noise(picture: &Picture) {
    let tile = noise();
    assert_eq!(picture.size(), (256 * TILES, 256 * TILES));
    for (y, row) in picture
        .samples
        .chunks_exact(picture.samples.len() / picture.height as usize)
        .enumerate()
    {
        let start = y % 256 * 256 * 3;
        let expected = &tile.samples[start..start + 256 * 3];
        assert!(row.chunks_exact(256 * 3).all(|part| part == expected), "row {y}");
    }
}

fn server(images: &Images) -> Settings {
    Settings::new(images.folder()).with("MAX_CVT", "-1")
}

/// As it was stored, not compressed: a little more than the samples.
const STORED: &str = "FIF=noise.tif&QLT=0&CVT=png";

fn target(query: &str) -> String {
    format!("/fcgi-bin/iipsrv.fcgi?{query}")
}

#[test]
fn they_arrive_whole_and_the_same_over_every_transport() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images).start();
    let mut http = server.client().connect();
    http.send("GET", &target(STORED), &[], b"");
    let reply = http.receive("GET").expect(200);
    assert!(reply.body.len() > KEPT, "{} bytes", reply.body.len());
    assert_eq!(reply.header("Content-Length"), None, "it was not known");
    assert_eq!(reply.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(
        reply.field("Content-Disposition"),
        "inline; filename=\"noise_5120x5120.png\""
    );
    assert_is_noise(&Picture::from_png(&reply.body));
    // The connection is there for the next request.
    let _ = http.get(&target("FIF=noise.tif&WID=64&CVT=jpeg")).picture();

    for mut client in [server.fastcgi_client(), FastCgi::unix(&server.socket())] {
        client.send(&get(1, &target(STORED), true));
        let ended = client.finish(1);
        assert_eq!(
            (ended.app_status, ended.protocol_status),
            (0, status::REQUEST_COMPLETE)
        );
        let over_fastcgi = ended.reply.unwrap().expect(200);
        assert_eq!(over_fastcgi.header("Content-Length"), None);
        assert!(over_fastcgi.body == reply.body, "other bytes over FastCGI");
        client.send(&get(2, &target("FIF=noise.tif&OBJ=Max-size"), false));
        assert_eq!(client.finish(2).reply.unwrap().text(), "Max-size:5120 5120\r\n");
    }
    // The log has the bytes that were sent.
    let log = server.settled_log();
    assert_eq!(
        log.matches(&format!("bytes={}", reply.body.len())).count(),
        3,
        "{log}"
    );
}

#[test]
fn those_who_ask_at_once_all_get_theirs() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images).start();
    let client = server.client();
    let bodies: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| scope.spawn(move || client.iip("FIF=noise.tif&QLT=100&CVT=jpeg").expect(200).body))
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(bodies[0].len() > KEPT && bodies[0] == bodies[1]);
    let shown = Picture::from_jpeg(&bodies[0]);
    let tile = noise();
    let (left, right) = (shown.crop(0, 0, 256, 256), shown.crop(4864, 4864, 256, 256));
    assert_eq!(left, right, "blocks begin at the tiles' corners");
    support::image::assert_close("noise at quality 100", &left, &tile, 40.0);
}

#[test]
fn head_and_a_validator_cost_no_body() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images).start();
    let mut http = server.client().connect();
    http.send("HEAD", &target(STORED), &[], b"");
    let head = http.receive("HEAD").expect(200);
    assert_eq!(head.header("Content-Length"), None);
    let tag = head.field("ETag").to_owned();
    http.send("GET", &target(STORED), &[("If-None-Match", &tag)], b"");
    let _ = http.receive("GET").expect(304);
}

/// Rows of tiles that are more than what is kept and what is made at a time.
const MANY_ROWS: u32 = 28;

/// A taller file, with the last tile beyond its end.
fn cut() -> TiffFile {
    let mut file = TiffFile::repeated(&noise(), TILES, MANY_ROWS);
    let end = file.bytes.len() as u64;
    // The second directory is the one with many tiles.
    file.set_tile_offset(1, (TILES * MANY_ROWS - 1) as usize, end + 1000);
    file
}

#[test]
fn a_source_that_breaks_in_the_middle_breaks_the_reply() {
    let images = Images::new();
    images.add("noise.tif", &cut());
    let server = server(&images).start();
    let mut http = server.client().connect();
    http.send("GET", &target(STORED), &[], b"");
    let (reply, is_whole) = http.receive_what_comes();
    assert_eq!((reply.status, is_whole), (200, false));
    assert!(reply.body.len() > KEPT && !reply.body.ends_with(b"IEND\xae\x42\x60\x82"));
    http.assert_closed();
    let log = server.settled_log();
    let line = log.lines().find(|line| line.contains("a reply broke off"));
    let line = line.unwrap_or_else(|| panic!("the cause is in the log: {log}"));
    assert!(
        line.contains("ERROR") && line.contains("noise.tif") && line.contains("tile"),
        "{line}"
    );

    let mut fastcgi = server.fastcgi_client();
    fastcgi.send(&get(1, &target(STORED), true));
    let ended = fastcgi.finish(1);
    assert_eq!(
        (ended.app_status, ended.protocol_status),
        (1, status::REQUEST_COMPLETE)
    );
    assert!(ended.reply.unwrap().body.len() > KEPT);
    fastcgi.assert_closed();
    // The part that is whole is served, and so are errors while there is nothing sent.
    let _ = server.client().iip("FIF=noise.tif&JTL=5,0").picture();
    let _ = server
        .client()
        .iip("FIF=noise.tif&RGN=0.9,0.9,0.1,0.1&CVT=png")
        .expect(500);
}

#[test]
fn a_client_that_does_not_read_is_given_up_and_holds_up_nobody() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images)
        .with("RENDER_THREADS", "1")
        .with("REQUEST_TIMEOUT", "5")
        .start();
    let mut lazy = server.client().connect();
    lazy.send("GET", &target(STORED), &[], b"");
    wait::until("the reply has begun", || {
        let metrics = server.client().get("/metrics").expect(200);
        metrics
            .text()
            .contains("iiphost_pictures_total{origin=\"made\"} 1")
            .then_some(())
    });
    // Meanwhile the one thread that makes pictures makes others.
    let _ = server.client().iip("FIF=noise.tif&WID=300&CVT=jpeg").picture();
    wait::until("the client is given up", || {
        server.log().contains("too slowly").then_some(())
    });
    let (_, is_whole) = lazy.receive_what_comes();
    assert!(!is_whole);
}

#[test]
fn slow_clients_hold_up_no_other_export() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images)
        .with("RENDER_THREADS", "1")
        .with("REQUEST_TIMEOUT", "15")
        .start();
    // As many as there are threads for large exports.
    let mut slow: Vec<_> = (0..4).map(|_| server.client().connect()).collect();
    for (client, height) in slow.iter_mut().zip(["1", "0.99", "0.98", "0.97"]) {
        let query = format!("FIF=noise.tif&RGN=0,0,1,{height}&QLT=0&CVT=png");
        client.send("GET", &target(&query), &[], b"");
    }
    wait::until("the replies have begun", || {
        let metrics = server.client().get("/metrics").expect(200);
        let begun = metrics
            .text()
            .contains("iiphost_pictures_total{origin=\"made\"} 4");
        begun.then_some(())
    });
    let _ = server
        .client()
        .iip("FIF=noise.tif&RGN=0,0,1,0.5&CVT=jpeg")
        .expect(200);
}

#[test]
fn a_client_that_goes_ends_the_work() {
    let images = Images::new();
    images.add("noise.tif", &file());
    let server = server(&images).start();
    let mut leaving = server.client().connect();
    leaving.send("GET", &target(STORED), &[], b"");
    drop(leaving);
    let mut aborting = server.fastcgi_client();
    aborting.send(&get(1, &target(STORED), true));
    drop(aborting);
    wait::until("nothing is being made", || {
        let render = &server.health()["render"];
        (render["pictures"] == 0 && render["waiting"] == 0 && render["bytes"] == 0).then_some(())
    });
    assert!(!server.settled_log().contains("ERROR"), "{}", server.log());
}

#[test]
fn a_large_export_is_never_whole_in_memory() {
    let images = Images::new();
    let tile = Picture::photograph(256, 256, 3, 4);
    images.add("large.tif", &TiffFile::repeated(&tile, 40, 40));
    let server = server(&images).with("RENDER_THREADS", "2").start();
    let body = server.client().iip("FIF=large.tif&CVT=jpeg").expect(200).body;
    let samples = 10_240_u64 * 10_240 * 3;
    let peak = server.peak_memory_bytes();
    println!(
        "{} MiB of samples, {} MiB at most, {} MiB of JPEG",
        samples >> 20,
        peak >> 20,
        body.len() >> 20
    );
    assert!(peak < samples * 9 / 10, "{} MiB", peak >> 20);
    let shown = Picture::from_jpeg(&body);
    assert_eq!(shown.size(), (10_240, 10_240));
    for (x, y) in [(0, 0), (39, 0), (17, 21), (0, 39), (39, 39)] {
        let part = shown.crop(256 * x, 256 * y, 256, 256);
        support::image::assert_close("a tile of a large export", &part, &tile, 35.0);
    }
    // Read in parts and steps done in parts are the same as at once.
    for query in ["INV&", "CNV=sharpen&", "CNT=st&", "COL=binary&", "ROT=!0&"] {
        let part = server
            .client()
            .iip(&format!("FIF=large.tif&RGN=0,0.4,0.25,0.1&{query}QLT=1&CVT=png"))
            .expect(200);
        let whole = server
            .client()
            .iip(&format!("FIF=large.tif&RGN=0,0.3,0.25,0.5&{query}QLT=1&CVT=png"))
            .expect(200);
        let (part, whole) = (part.picture(), whole.picture());
        assert_eq!(whole.size(), (2560, 5120));
        let inner = |p: &Picture, y: u32| p.crop(1, y, p.width - 2, 1000);
        assert!(inner(&part, 10) == inner(&whole, 1034), "{query}");
    }
}
