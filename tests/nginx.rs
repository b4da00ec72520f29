//! Behind nginx, with the configuration in `deploy/nginx` as it is.

use std::time::{Duration, Instant};

use support::Server;
use support::fixture::Images;
use support::image::assert_same;
use support::nginx;
use support::web_server::WebServer;

fn both() -> (Images, support::picture::Picture, Server, [WebServer; 2]) {
    let (images, photo) = Images::with_photo();
    images.write("sub/photo.tif", &std::fs::read(images.path("photo.tif")).unwrap());
    let server = Server::start(images.folder());
    let tcp = nginx::single(&server.fastcgi().to_string());
    let unix = nginx::single(&format!("unix:{}", server.socket().display()));
    (images, photo, server, [tcp, unix])
}

#[test]
fn every_protocol_passes_through() {
    let (_images, photo, server, proxies) = both();
    for nginx in &proxies {
        let client = nginx.client();
        for target in [
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=Max-size",
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0",
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&WID=300&CVT=JPEG",
            "/fcgi-bin/iipsrv.fcgi?FOO=1",
            "/iiif/3/photo.tif/full/max/0/default.jpg",
            "/iiif/3/sub%2Fphoto.tif/0,0,100,100/max/0/default.png",
            "/iiif/3/nothing.tif/info.json",
            "/iiif/3/photo.tif/full/max/0/nice.jpg",
            "/deepzoom/photo.tif.dzi",
            "/deepzoom/photo.tif_files/10/1_1.jpg",
            "/zoomify/photo.tif/ImageProperties.xml",
            "/zoomify/photo.tif/TileGroup0/2-1-1.jpg",
        ] {
            let (direct, through) = (server.client().get(target), client.get(target));
            assert_eq!(through.status, direct.status, "{target}");
            assert_eq!(through.body, direct.body, "{target}");
            for name in [
                "Content-Type",
                "Cache-Control",
                "ETag",
                "Last-Modified",
                "Access-Control-Allow-Origin",
                "Content-Disposition",
            ] {
                assert_eq!(through.header(name), direct.header(name), "{target}");
            }
        }
        let shown = client
            .get("/iiif/3/photo.tif/50,60,300,200/max/0/default.png")
            .picture();
        assert_same("through nginx", &shown, &photo.crop(50, 60, 300, 200));
        assert_eq!(nginx.log(), "", "nginx has nothing to complain about");
    }
}

#[test]
fn documents_name_the_address_of_nginx() {
    let (_images, _, _server, [nginx, _]) = both();
    let info = nginx.client().get("/iiif/3/sub%2Fphoto.tif/info.json").json();
    assert_eq!(
        info["id"],
        format!("http://{}/iiif/3/sub%2Fphoto.tif", nginx.address())
    );
    let reply = nginx.client().get("/iiif/3/photo.tif").expect(303);
    assert_eq!(
        reply.field("Location"),
        format!("http://{}/iiif/3/photo.tif/info.json", nginx.address())
    );
}

#[test]
fn methods_and_conditions_pass_through() {
    let (_images, _, _server, [nginx, _]) = both();
    let client = nginx.client();
    let tile = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0";
    let first = client.get(tile).expect(200);
    let head = client.request("HEAD", tile, &[]).expect(200);
    assert_eq!(head.field("Content-Length"), first.body.len().to_string());
    let etag = first.field("ETag");
    let _ = client
        .request("GET", tile, &[("If-None-Match", etag)])
        .expect(304);
    let _ = client
        .request("OPTIONS", "/iiif/3/photo.tif/info.json", &[])
        .expect(204);
    let _ = client.request("DELETE", tile, &[]).expect(405);
    let posted = client.post("/fcgi-bin/iipsrv.fcgi", b"FIF=photo.tif&OBJ=Max-size");
    assert_eq!(posted.text(), "Max-size:1000 700\r\n");
}

#[test]
fn connections_to_the_host_are_kept() {
    let (_images, _, _server, proxies) = both();
    for nginx in &proxies {
        let mut connection = nginx.client().connect();
        let mut times: Vec<Duration> = (0..101)
            .map(|n| {
                let start = Instant::now();
                let target = format!("/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,{}", n % 12);
                let _ = connection.get(&target).expect(200);
                start.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "a tile through nginx: {:?} in the middle, {:?} at most",
            times[50], times[100]
        );
        // Replies in two segments wait 40 ms for the acknowledgment of the first.
        assert!(times[50] < Duration::from_millis(30), "{times:?}");
        assert_eq!(nginx.log(), "");
    }
}
