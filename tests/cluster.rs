//! Two hosts and one memcached behind nginx, with the configuration of `deploy/nginx` for several hosts.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::fixture::{Images, Layout, TiffFile};
use support::image::assert_same;
use support::memcached::Memcached;
use support::nginx;
use support::picture::Picture;
use support::server::Settings;
use support::web_server::WebServer;
use support::{Server, wait};

/// Copies of the photo: enough for each host to get some.
const COPIES: usize = 12;

struct Cluster {
    images: Images,
    photo: Picture,
    memcached: Memcached,
    nodes: [Server; 2],
    web: WebServer,
}

impl Cluster {
    fn start(patience: &str) -> Self {
        let (images, photo) = Images::with_photo();
        for number in 0..COPIES {
            std::fs::copy(images.path("photo.tif"), images.path(&format!("{number}.tif"))).unwrap();
        }
        let memcached = Memcached::start();
        let node = |threads: &str| {
            Settings::new(images.folder())
                .with("MEMCACHED_SERVERS", memcached.address().to_string())
                .with("MEMCACHED_PATIENCE", patience)
                .with("RENDER_THREADS", threads)
                .start()
        };
        let nodes = [node("1"), node("2")];
        let [one, two] = [&nodes[0], &nodes[1]].map(|node| node.fastcgi().to_string());
        let web = nginx::cluster([&one, &two]);
        Self {
            images,
            photo,
            memcached,
            nodes,
            web,
        }
    }

    fn ask(&self, name: &str) -> Picture {
        let target = format!("/iiif/3/{name}/full/max/0/default.png");
        self.web.client().get(&target).picture()
    }
}

/// A number of a host's account of memcached.
fn count(server: &Server, name: &str) -> u64 {
    server.health()["memcached"][name].as_u64().unwrap()
}

#[test]
fn pictures_of_a_host_that_is_gone_come_from_memcached() {
    let mut cluster = Cluster::start("2000");
    for number in 0..COPIES {
        assert_same("made", &cluster.ask(&format!("{number}.tif")), &cluster.photo);
    }
    wait::until("all pictures are stored", || {
        let stored: u64 = cluster.nodes.iter().map(|node| count(node, "stored")).sum();
        (stored == COPIES as u64).then_some(())
    });
    let of_each = [cluster.nodes[0].pictures_made(), cluster.nodes[1].pictures_made()];
    assert_eq!(
        of_each.iter().sum::<u64>(),
        COPIES as u64,
        "each made once: {of_each:?}"
    );
    assert!(of_each.iter().all(|&count| count > 0), "{of_each:?}");

    cluster.nodes[1].signal(Signal::TERM);
    assert_eq!(cluster.nodes[1].wait().code(), Some(0));
    for number in 0..COPIES {
        assert_same("taken", &cluster.ask(&format!("{number}.tif")), &cluster.photo);
    }
    assert_eq!(
        cluster.nodes[0].pictures_made(),
        of_each[0],
        "nothing was made again"
    );
    assert_eq!(count(&cluster.nodes[0], "hits"), of_each[1]);
}

#[test]
fn a_master_that_changes_is_shown_at_once_whoever_answers() {
    let cluster = Cluster::start("2000");
    let versions: Vec<_> = (0..3)
        .map(|seed| {
            let picture = Picture::photograph(300, 200, 3, seed);
            (TiffFile::pyramid(&picture, Layout::default()), picture)
        })
        .collect();
    for round in 0..9 {
        let (file, picture) = &versions[round % 3];
        cluster.images.add("master.tif", file);
        let target = "/iiif/3/master.tif/full/max/0/default.png";
        assert_same(
            "through nginx",
            &cluster.web.client().get(target).picture(),
            picture,
        );
        for node in &cluster.nodes {
            assert_same("directly", &node.client().get(target).picture(), picture);
        }
    }
}

#[test]
fn memcached_that_is_gone_costs_no_request_and_little_time() {
    const PATIENCE: Duration = Duration::from_millis(200);
    let mut cluster = Cluster::start("200");
    let _ = cluster.ask("0.tif");
    cluster.memcached.kill();
    for round in 0..3 {
        for number in 0..COPIES {
            let target = format!("/iiif/3/{number}.tif/{},0,64,64/max/0/default.png", round * 64);
            let start = Instant::now();
            let picture = cluster.web.client().get(&target).picture();
            let took = start.elapsed();
            assert_same(&target, &picture, &cluster.photo.crop(round * 64, 0, 64, 64));
            // The rest is the picture itself on a machine that runs other tests as well.
            assert!(took < PATIENCE + Duration::from_secs(2), "{target} took {took:?}");
        }
    }
    // What comes back is used again, and nobody waits for that.
    cluster.memcached.restart();
    let mut offset = 0;
    wait::until("pictures are stored again", || {
        offset += 1;
        let target = format!("/iiif/3/1.tif/{offset},100,64,64/max/0/default.png");
        let _ = cluster.web.client().get(&target).picture();
        let keys = cluster.memcached.keys();
        (!keys.is_empty()).then_some(())
    });
}
