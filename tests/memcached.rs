//! Pictures shared by several hosts through memcached: one makes them, all have them, and nothing that
//! happens to memcached is seen by a client.

use std::collections::HashSet;
use std::fs::File;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use support::fixture::{Compression, Images, Layout, TiffFile};
use support::image::assert_same;
use support::memcached::Memcached;
use support::picture::Picture;
use support::server::Settings;
use support::{Server, built, wait};

const PICTURE: &str = "/iiif/3/photo.tif/full/300,/0/default.png";
const TILE: &str = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0";

fn node(images: &Images, memcached: &str) -> Settings {
    Settings::new(images.folder())
        .with("MEMCACHED_SERVERS", memcached)
        // A test machine may be busy; where the time-out itself is tested it is set there.
        .with("MEMCACHED_PATIENCE", "2000")
}

/// A number of the host's account of memcached.
fn count(server: &Server, name: &str) -> u64 {
    server.health()["memcached"][name].as_u64().unwrap()
}

fn wait_for_store(server: &Server, stored: u64) {
    wait::until("the picture is stored", || {
        (count(server, "stored") >= stored).then_some(())
    });
}

#[test]
fn what_one_node_has_made_the_other_takes_from_memcached() {
    let (images, _) = Images::with_photo();
    let memcached = Memcached::start();
    let address = memcached.address().to_string();
    let (one, two) = (
        node(&images, &address).start(),
        // Nodes need not have the same number of threads.
        node(&images, &address).with("RENDER_THREADS", "3").start(),
    );
    for (number, target) in [PICTURE, TILE].into_iter().enumerate() {
        let first = one.client().get(target).expect(200);
        wait_for_store(&one, number as u64 + 1);
        let second = two.client().get(target).expect(200);
        assert_eq!(second.body, first.body);
        for name in ["ETag", "Content-Type", "Last-Modified", "Cache-Control"] {
            assert_eq!(second.field(name), first.field(name), "{target} {name}");
        }
    }
    assert_eq!((one.pictures_made(), two.pictures_made()), (2, 0));
    assert_eq!(count(&two, "hits"), 2);
    // A second time it is in the memory of the node.
    let _ = two.client().get(PICTURE).expect(200);
    assert_eq!(count(&two, "hits"), 2);
    // Only pictures go there, and neither leases nor anything else stays.
    let _ = one.client().get("/iiif/3/photo.tif/info.json").expect(200);
    let _ = one
        .client()
        .get("/iiif/3/nothing.tif/full/max/0/default.jpg")
        .expect(404);
    wait::until("leases are given back", || {
        (memcached.keys().len() == 2).then_some(())
    });
    for key in memcached.keys() {
        assert!(key.starts_with("iiphost:1:") && key.len() == 10 + 64, "{key}");
    }
}

#[test]
fn a_changed_master_is_never_served_stale() {
    let images = Images::new();
    let memcached = Memcached::start();
    let address = memcached.address().to_string();
    let versions: Vec<_> = (0..3)
        .map(|seed| {
            let picture = Picture::photograph(300, 200, 3, seed);
            (TiffFile::pyramid(&picture, Layout::default()), picture)
        })
        .collect();
    images.add("photo.tif", &versions[0].0);
    let nodes = [node(&images, &address).start(), node(&images, &address).start()];
    let target = "/iiif/3/photo.tif/full/max/0/default.png";
    for round in 0..12 {
        let (file, picture) = &versions[round % 3];
        images.add("photo.tif", file);
        for server in [&nodes[round % 2], &nodes[(round + 1) % 2]] {
            assert_same(
                &format!("round {round}"),
                &server.client().get(target).picture(),
                picture,
            );
        }
    }
}

#[test]
fn files_of_a_sequence_that_are_alike_in_time_and_size_stay_apart() {
    let images = Images::new();
    let memcached = Memcached::start();
    let layout = Layout {
        compression: Compression::None,
        ..Layout::default()
    };
    // As an archive unpacks them.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let angles = [0, 10, 20];
    let pictures = angles.map(|angle| Picture::photograph(300, 200, 3, angle));
    let names = angles.map(|angle| format!("cup_pyr_{angle:03}_090.tif"));
    for (name, picture) in names.iter().zip(&pictures) {
        images.add(name, &TiffFile::pyramid(picture, layout));
        let file = File::options().write(true).open(images.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    let sizes: HashSet<u64> = names
        .iter()
        .map(|name| images.path(name).metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 1);
    let server = node(&images, &memcached.address().to_string()).start();
    for (number, (angle, picture)) in angles.iter().zip(&pictures).enumerate() {
        let query = format!("/fcgi-bin/iipsrv.fcgi?FIF=cup&SDS={angle},90&WID=300&CVT=png");
        assert_same(&query, &server.client().get(&query).picture(), picture);
        wait_for_store(&server, number as u64 + 1);
    }
    assert_eq!(count(&server, "hits"), 0);
}

#[test]
fn a_cold_tile_wanted_everywhere_is_made_by_one() {
    let (images, _) = Images::with_photo();
    let tile = Picture::photograph(256, 256, 3, 5);
    images.add("work.tif", &TiffFile::repeated(&tile, 5, 5));
    let memcached = Memcached::start();
    let address = memcached.address().to_string();
    let nodes: Vec<_> = (0..3).map(|_| node(&images, &address).start()).collect();
    let target = "/iiif/3/work.tif/full/100,/0/default.png";
    let clients: Vec<_> = nodes.iter().map(Server::client).collect();
    // Images are opened first, so that all begin at the same time.
    for client in &clients {
        let _ = client.get("/iiif/3/work.tif/info.json").expect(200);
    }
    let bodies: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let asking: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(|| client.get(target).expect(200).body))
            .collect();
        asking.into_iter().map(|a| a.join().unwrap()).collect()
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // Whoever waited longer than the bound has made it, too; a test machine can be that slow.
    let total: u64 = nodes.iter().map(Server::pictures_made).sum();
    assert!((1..=2).contains(&total), "{total} of 3 nodes made it");
}

#[test]
fn memcached_that_dies_and_comes_back_is_not_seen_by_clients() {
    let (images, _) = Images::with_photo();
    let mut memcached = Memcached::start();
    let server = node(&images, &memcached.address().to_string())
        .with("MAX_IMAGE_CACHE_SIZE", "0")
        .start();
    let client = server.client();
    let expected = client.get(PICTURE).expect(200).body;
    wait_for_store(&server, 1);
    assert_eq!(client.get(PICTURE).expect(200).body, expected);
    assert_eq!(count(&server, "hits"), 1);
    memcached.kill();
    for _ in 0..10 {
        assert_eq!(client.get(PICTURE).expect(200).body, expected);
    }
    assert_eq!(server.health()["status"], "degraded");
    assert_eq!(server.health()["memcached"]["servers"][0]["state"], "left alone");
    memcached.restart();
    let hits = count(&server, "hits");
    wait::until("memcached is in use again", || {
        assert_eq!(client.get(PICTURE).expect(200).body, expected);
        (count(&server, "hits") > hits).then_some(())
    });
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_time_out() {
    let (images, _) = Images::with_photo();
    // Takes connections and answers nothing.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hole.local_addr().unwrap().to_string();
    let patience = Duration::from_millis(300);
    let server = node(&images, &address).with("MEMCACHED_PATIENCE", "300").start();
    let client = server.client();
    let _ = client.get("/iiif/3/photo.tif/info.json").expect(200);
    let mut slow = 0;
    let start = Instant::now();
    for n in 0..40 {
        let before = Instant::now();
        let _ = client
            .get(&format!("/iiif/3/photo.tif/full/{},/0/default.jpg", 20 + n))
            .expect(200);
        slow += u32::from(before.elapsed() >= patience);
    }
    // Three failures in a row, then it is left alone for seconds, with one attempt now and then.
    assert!((3..=8).contains(&slow), "{slow} requests waited");
    assert!(
        start.elapsed() < patience * 8 + Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(count(&server, "failures") >= 3);
}

#[test]
fn values_that_are_not_ours_are_made_anew() {
    let (images, _) = Images::with_photo();
    let memcached = Memcached::start();
    let server = node(&images, &memcached.address().to_string())
        .with("MAX_IMAGE_CACHE_SIZE", "0")
        .start();
    let client = server.client();
    let (picture, tile) = (
        client.get(PICTURE).expect(200).body,
        client.get(TILE).expect(200).body,
    );
    wait_for_store(&server, 2);
    wait::until("leases are given back", || {
        (memcached.keys().len() == 2).then_some(())
    });
    for key in memcached.keys() {
        memcached.put(&key, b"<script>not a picture</script>");
    }
    assert_eq!(client.get(PICTURE).expect(200).body, picture);
    assert_eq!(client.get(TILE).expect(200).body, tile);
    wait_for_store(&server, 4);
    // What was foreign has been replaced.
    let hits = count(&server, "hits");
    assert_eq!(client.get(TILE).expect(200).body, tile);
    assert_eq!(count(&server, "hits"), hits + 1);
}

#[test]
fn a_purged_image_is_made_anew_on_every_node() {
    let (images, _) = Images::with_photo();
    images.write("sub/other.tif", &std::fs::read(images.path("photo.tif")).unwrap());
    let memcached = Memcached::start();
    let address = memcached.address().to_string();
    let socket = images.path("admin.sock");
    let one = node(&images, &address)
        .with("ADMIN_SOCKET", socket.as_os_str())
        .start();
    let other = "/iiif/3/sub%2Fother.tif/full/300,/0/default.png";
    let _ = one.client().get(PICTURE).expect(200);
    let _ = one.client().get(other).expect(200);
    wait_for_store(&one, 2);
    let purged = std::process::Command::new(built::host())
        .args(["purge", "photo.tif", "--admin-socket"])
        .arg(&socket)
        .output()
        .unwrap();
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(
        String::from_utf8_lossy(&purged.stdout),
        "photo.tif: 1 images closed, 1 pictures dropped\n"
    );
    // A node that was not there before finds the other image alone.
    let two = node(&images, &address).start();
    let _ = two.client().get(PICTURE).expect(200);
    let _ = two.client().get(other).expect(200);
    assert_eq!((two.pictures_made(), count(&two, "hits")), (1, 1));
    // What it made after the purge is shared again.
    wait_for_store(&two, 1);
    let _ = one.client().get(PICTURE).expect(200);
    assert_eq!((one.pictures_made(), count(&one, "hits")), (2, 1));
}
