//! Many requests at once, too many, and too much work for one.

use std::time::{Duration, Instant};

use support::fixture::{Images, TiffFile};
use support::image::assert_close;
use support::picture::Picture;
use support::server::Settings;
use support::{Server, built, wait};

const GOOD: &str = "/iiif/3/photo.tif/full/125,/0/default.png";

/// A picture whose pixels never come: the module waits until it is told to stop.
const NEVER: &str = "/iiif/3/never.scr/full/32,/0/default.jpg";
const NEVER_EITHER: &str = "/iiif/3/never.scr/full/30,/0/default.jpg";

/// A folder with a good image, one that never comes and one that is much work.
fn images() -> Images {
    let (images, _) = Images::with_photo();
    images.write("never.scr", b"probe: exact\nread: wait\n");
    let tile = Picture::photograph(256, 256, 3, 5);
    images.add("work.tif", &TiffFile::repeated(&tile, 20, 20));
    images
}

fn settings(images: &Images) -> Settings {
    Settings::new(images.folder()).with("DECODER_MODULES", built::example_module("module_scripted"))
}

fn wait_for_work(server: &Server, pictures: u64, waiting: u64) {
    wait::until("the work is where it should be", || {
        let render = &server.health()["render"];
        (render["pictures"] == pictures && render["waiting"] == waiting).then_some(())
    });
}

#[test]
fn two_thousand_requests_need_no_more_memory_than_two_hundred() {
    let images = images();
    let server = Settings::new(images.folder())
        .with("MAX_IMAGE_CACHE_SIZE", "4")
        .start();
    let mut connection = server.client().connect();
    let mut ask = |count: u32, offset: u32| {
        for n in 0..count {
            let n = n + offset;
            let target = match n % 4 {
                0 => format!("/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,{}", n / 4 % 12),
                1 => format!(
                    "/iiif/3/photo.tif/{},{},99,80/max/0/default.jpg",
                    n % 900,
                    n % 600
                ),
                2 => format!("/iiif/3/nothing{n}.tif/info.json"),
                _ => format!("/iiif/3/photo.tif/full/{},/0/default.jpg", 20 + n % 80),
            };
            let status = connection.get(&target).status;
            assert_eq!(status, if n % 4 == 2 { 404 } else { 200 }, "{target}");
        }
    };
    ask(200, 0);
    let before = server.memory_bytes();
    ask(2000, 200);
    let after = server.memory_bytes();
    println!(
        "{} KiB after 200 requests, {} KiB after 2200",
        before >> 10,
        after >> 10
    );
    assert!(
        after < before + (24 << 20),
        "{before} bytes before, {after} after"
    );
}

#[test]
fn identical_misses_are_made_once() {
    let images = images();
    let server = Settings::new(images.folder()).with("RENDER_THREADS", "1").start();
    let client = server.client();
    let start = Instant::now();
    let _ = client.get("/iiif/3/work.tif/full/100,/0/default.png").picture();
    let alone = start.elapsed();
    let start = Instant::now();
    let bodies: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(move || {
                    client
                        .get("/iiif/3/work.tif/full/101,/0/default.png")
                        .expect(200)
                        .body
                })
            })
            .collect();
        asking.into_iter().map(|a| a.join().unwrap()).collect()
    });
    let together = start.elapsed();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    println!("one request {alone:?}, sixteen at once {together:?}");
    // Made one by one they would take sixteen times as long; the machine may be busier than before.
    assert!(together < alone * 8);
}

#[test]
fn more_work_than_the_queue_holds_is_503_until_there_is_room() {
    let images = images();
    let server = settings(&images)
        .with("RENDER_THREADS", "1")
        .with("RENDER_QUEUE", "1")
        .start();
    let mut running = server.client().connect();
    running.send("GET", NEVER, &[], b"");
    wait_for_work(&server, 1, 0);
    let mut queued = server.client().connect();
    queued.send("GET", NEVER_EITHER, &[], b"");
    wait::until("one request waits", || {
        (server.health()["render"]["waiting"] == 1).then_some(())
    });
    let reply = server.client().get(GOOD).expect(503);
    let seconds: u32 = reply.field("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(reply.field("Cache-Control"), "no-cache");
    // Work for clients that have gone is dropped.
    drop((running, queued));
    wait::until("there is room again", || {
        (server.client().get(GOOD).status == 200).then_some(())
    });
    wait_for_work(&server, 0, 0);
}

#[test]
fn a_request_that_takes_too_long_is_503_and_others_are_served() {
    let images = images();
    let server = settings(&images).with("REQUEST_TIMEOUT", "3").start();
    let mut slow = server.client().connect();
    let start = Instant::now();
    slow.send("GET", NEVER, &[], b"");
    wait_for_work(&server, 1, 0);
    let _ = server.client().get(GOOD).picture();
    assert_eq!(
        server.health()["render"]["pictures"],
        1,
        "the good one did not wait for the slow one"
    );
    let reply = slow.receive("GET").expect(503);
    assert!(reply.header("Retry-After").is_some());
    assert!(start.elapsed() >= Duration::from_secs(3));
    wait_for_work(&server, 0, 0);
}

#[test]
fn a_large_export_does_not_hold_up_tiles() {
    let images = images();
    let server = Settings::new(images.folder()).with("RENDER_THREADS", "1").start();
    let mut large = server.client().connect();
    large.send("GET", "/iiif/3/work.tif/full/500,/0/default.png", &[], b"");
    wait_for_work(&server, 1, 0);
    let tile = server.client().iip("FIF=photo.tif&JTL=3,0");
    let _ = tile.picture();
    assert_eq!(
        server.health()["render"]["pictures"],
        1,
        "the export was still being made"
    );
    let _ = large.receive("GET").picture();
}

#[test]
fn many_clients_at_once_get_their_own_pictures() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    let photo = &photo;
    std::thread::scope(|scope| {
        for number in 0..8u32 {
            scope.spawn(move || {
                let mut connection = client.connect();
                for round in 0..20 {
                    let (x, y) = (number * 80 + round, round * 20);
                    let target = format!("/iiif/3/photo.tif/{x},{y},64,64/max/0/default.jpg");
                    let shown = connection.get(&target).picture();
                    assert_close(&target, &shown, &photo.crop(x, y, 64, 64), 30.0);
                }
            });
        }
    });
}

#[test]
fn work_that_would_begin_too_late_is_refused_at_once() {
    let images = images();
    let server = settings(&images)
        .with("RENDER_THREADS", "1")
        .with("REQUEST_TIMEOUT", "1")
        .start();
    // Two pictures that take their whole time set the pace.
    for _ in 0..2 {
        let _ = server.client().get(NEVER).expect(503);
    }
    let start = Instant::now();
    let mut connections: Vec<_> = (1..=16)
        .map(|width| {
            let mut connection = server.client().connect();
            let target = format!("/iiif/3/never.scr/full/{width},/0/default.jpg");
            connection.send("GET", &target, &[], b"");
            connection
        })
        .collect();
    let reply = connections.pop().unwrap().receive("GET").expect(503);
    let seconds: u32 = reply.field("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    println!("refused after {:?}", start.elapsed());
    assert!(
        server.settled_log().contains("jobs are waiting, about "),
        "refused before its time was up"
    );
    for mut connection in connections {
        assert_eq!(connection.receive("GET").status, 503);
    }
    wait_for_work(&server, 0, 0);
}

#[test]
fn who_joins_the_work_of_another_keeps_its_own_time() {
    let images = images();
    let server = settings(&images).with("REQUEST_TIMEOUT", "2").start();
    let mut first = server.client().connect();
    first.send("GET", NEVER, &[], b"");
    wait_for_work(&server, 1, 0);
    let start = Instant::now();
    wait::until("half of its time is over", || {
        (start.elapsed() > Duration::from_secs(1)).then_some(())
    });
    let joined = Instant::now();
    let _ = server.client().get(NEVER).expect(503);
    assert!(
        joined.elapsed() >= Duration::from_millis(1900),
        "{:?}",
        joined.elapsed()
    );
    assert_eq!(first.receive("GET").status, 503);
}
