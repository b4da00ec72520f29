//! What every HTTP client relies on: methods, statuses, conditional requests, cross-origin use, connections.

use support::Server;
use support::fixture::Images;
use support::server::Settings;

const TILE: &str = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0";
const INFO: &str = "/iiif/3/photo.tif/info.json";
const PICTURE: &str = "/iiif/3/photo.tif/full/300,/0/default.jpg";

fn server() -> (Images, Server) {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    (images, server)
}

#[test]
fn head_gives_the_header_of_get_and_no_body() {
    let (_images, server) = server();
    let client = server.client();
    for target in [
        "/",
        "/health",
        INFO,
        PICTURE,
        TILE,
        "/nothing",
        "/iiif/3/nothing/info.json",
    ] {
        let mut get = client.get(target);
        let mut head = client.request("HEAD", target, &[]);
        assert_eq!(head.status, get.status, "{target}");
        assert_eq!(head.body, b"", "{target}");
        // The time, and the length of a text with times in it.
        let changing = |(name, _): &(String, String)| {
            let name = name.to_ascii_lowercase();
            name != "date" && (target != "/health" || name != "content-length")
        };
        get.headers.retain(changing);
        head.headers.retain(changing);
        assert_eq!(head.headers, get.headers, "{target}");
    }
}

#[test]
fn options_names_the_methods_of_an_address() {
    let (_images, server) = server();
    let client = server.client();
    for (target, allow) in [
        (TILE, "GET, HEAD, POST, OPTIONS"),
        ("/fcgi-bin/iipsrv.fcgi", "GET, HEAD, POST, OPTIONS"),
        (INFO, "GET, HEAD, OPTIONS"),
        (PICTURE, "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
    ] {
        let reply = client.request("OPTIONS", target, &[]).expect(204);
        let sorted = |list: &str| {
            let mut methods: Vec<_> = list.split(", ").map(str::to_owned).collect();
            methods.sort();
            methods
        };
        assert_eq!(sorted(reply.field("Allow")), sorted(allow), "{target}");
        assert_eq!(reply.header("Content-Length"), None);
    }
}

#[test]
fn other_methods_are_refused() {
    let (_images, server) = server();
    let client = server.client();
    for (method, target) in [
        ("PUT", TILE),
        ("DELETE", INFO),
        ("POST", INFO),
        ("POST", PICTURE),
        ("get", TILE),
        ("PATCH", "/"),
    ] {
        let reply = client
            .request(method, target, &[("Content-Length", "0")])
            .expect(405);
        assert!(reply.field("Allow").starts_with("GET, HEAD"), "{method} {target}");
        assert_eq!(reply.field("Cache-Control"), "no-cache");
    }
}

#[test]
fn what_is_not_there_is_404() {
    let (_images, server) = server();
    let client = server.client();
    for target in [
        "/nothing",
        "/iiif",
        "/iiif/",
        "/iiif/3/",
        "/iiif/3/nothing.tif/info.json",
        "/iiif/3/nothing.tif/full/max/0/default.jpg",
        "/deepzoom/nothing.tif.dzi",
        "/zoomify/nothing.tif/ImageProperties.xml",
    ] {
        let reply = client.get(target).expect(404);
        assert_eq!(
            reply.field("Content-Type"),
            "text/plain; charset=utf-8",
            "{target}"
        );
        assert_eq!(reply.field("X-Content-Type-Options"), "nosniff");
        assert_eq!(reply.field("Cache-Control"), "no-cache");
    }
}

#[test]
fn an_unchanged_image_is_304() {
    let (_images, server) = server();
    let client = server.client();
    for target in [TILE, INFO, PICTURE] {
        let first = client.get(target).expect(200);
        let (etag, modified) = (first.field("ETag"), first.field("Last-Modified"));
        assert!(etag.starts_with('"'), "a strong validator: {etag}");
        let list = format!("\"other\", {etag}");
        for (name, value) in [
            ("If-None-Match", etag),
            ("If-None-Match", "*"),
            ("If-None-Match", &list),
            ("If-Modified-Since", modified),
            ("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT"),
        ] {
            let reply = client.request("GET", target, &[(name, value)]).expect(304);
            assert_eq!(reply.field("ETag"), etag, "{target}");
            assert_eq!(reply.field("Last-Modified"), modified);
            assert_eq!(reply.field("Cache-Control"), "max-age=86400");
            assert_eq!(reply.header("Content-Length"), None);
            assert_eq!(
                reply.header("Access-Control-Allow-Origin"),
                first.header("Access-Control-Allow-Origin")
            );
        }
        for headers in [
            [("If-None-Match", "\"other\""), ("If-Modified-Since", modified)],
            [
                ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("Accept", "*/*"),
            ],
            [("If-Modified-Since", "yesterday"), ("Accept", "*/*")],
        ] {
            let reply = client.request("GET", target, &headers).expect(200);
            assert_eq!(reply.body, first.body, "{target} {headers:?}");
        }
    }
}

#[test]
fn validators_differ_for_different_pictures() {
    let (_images, server) = server();
    let client = server.client();
    let targets = [
        TILE,
        PICTURE,
        "/iiif/3/photo.tif/full/301,/0/default.jpg",
        "/iiif/3/photo.tif/full/300,/90/default.jpg",
        "/iiif/3/photo.tif/full/300,/0/gray.jpg",
        "/iiif/3/photo.tif/full/300,/0/default.png",
    ];
    let mut tags: Vec<String> = targets
        .map(|t| client.get(t).expect(200).field("ETag").to_owned())
        .into();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), targets.len());
}

#[test]
fn other_sites_may_use_iiif_and_nothing_else_by_default() {
    let (_images, server) = server();
    let client = server.client();
    for target in [INFO, PICTURE, "/iiif/3/nothing/info.json", "/iiif/3/photo.tif"] {
        let reply = client.get(target);
        assert_eq!(reply.field("Access-Control-Allow-Origin"), "*", "{target}");
    }
    let reply = client.request("OPTIONS", INFO, &[("Origin", "http://other.test")]);
    assert_eq!(
        reply.field("Access-Control-Allow-Methods"),
        "GET, HEAD, POST, OPTIONS"
    );
    for target in [TILE, "/", "/nothing", "/deepzoom/photo.tif.dzi"] {
        let reply = client.get(target);
        assert_eq!(reply.header("Access-Control-Allow-Origin"), None, "{target}");
    }
}

#[test]
fn cors_is_set_for_all_or_switched_off() {
    let (images, _) = Images::with_photo();
    let set = Settings::new(images.folder())
        .with("CORS", "https://viewer.test")
        .start();
    let off = Settings::new(images.folder()).with("CORS", "").start();
    for target in [
        INFO,
        PICTURE,
        TILE,
        "/deepzoom/photo.tif.dzi",
        "/iiif/3/nothing/info.json",
    ] {
        let origin = "Access-Control-Allow-Origin";
        assert_eq!(
            set.client().get(target).field(origin),
            "https://viewer.test",
            "{target}"
        );
        assert_eq!(off.client().get(target).header(origin), None, "{target}");
    }
}

#[test]
fn a_connection_serves_request_after_request() {
    let (_images, server) = server();
    let mut connection = server.client().connect();
    let first = connection.get(TILE).expect(200);
    assert_eq!(connection.get("/nothing").status, 404);
    assert_eq!(connection.get(TILE).body, first.body);
    // Two requests sent before the first reply is read.
    connection.send("GET", TILE, &[], b"");
    connection.send("GET", INFO, &[], b"");
    assert_eq!(connection.receive("GET").body, first.body);
    assert!(connection.receive("GET").json()["width"] == 1000);
}

#[test]
fn requests_that_are_none_end_their_connection_and_no_other() {
    let (_images, server) = server();
    let mut good = server.client().connect();
    for bytes in [
        &b"no request at all\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ] {
        let mut bad = server.client().connect();
        bad.send_raw(bytes);
        let reply = bad.receive("GET");
        assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(bytes));
        bad.assert_closed();
        assert_eq!(good.get(INFO).status, 200);
    }
}

#[test]
fn what_is_too_long_is_refused_by_its_own_status() {
    let (_images, server) = server();
    let client = server.client();
    let query = format!("/fcgi-bin/iipsrv.fcgi?FIF={}", "a".repeat(70_000));
    assert_eq!(client.get(&query).status, 414);
    assert_eq!(
        client.post("/fcgi-bin/iipsrv.fcgi", &vec![b'a'; 70_000]).status,
        413
    );
    assert_eq!(client.get(INFO).status, 200);
}

#[test]
fn health_counts() {
    let (_images, server) = server();
    let _ = server.client().get(TILE).picture();
    let _ = server.client().get(TILE).picture();
    let health = server.health();
    assert_eq!(health["status"], "ok");
    let modules = health["modules"].as_array().unwrap();
    assert!(
        modules.iter().any(|m| m["id"] == "tiff" && m["state"] == "ready"),
        "{health}"
    );
    assert_eq!(health["open_images"], 1);
    assert_eq!(health["cache"]["hits"], 1);
    assert!(health["cache"]["bytes"].as_u64() > Some(1000));
}

#[test]
fn stalled_and_vanishing_clients_hold_up_nobody() {
    let (_images, mut server) = server();
    let whole = format!("GET {PICTURE} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let stalled: Vec<_> = (0..150)
        .map(|number| {
            let mut connection = server.client().connect();
            connection.send_raw(&whole[..number * (whole.len() - 1) / 150]);
            connection
        })
        .collect();
    for length in 0..=whole.len() {
        server.client().connect().send_raw(&whole[..length]);
    }
    let _ = server.client().get(PICTURE).picture();
    drop(stalled);
    let _ = server.client().get(TILE).picture();
    assert!(server.is_alive());
}

#[test]
fn uri_map_and_base_url_make_the_addresses_of_an_old_installation() {
    let (images, _) = Images::with_photo();
    let server = Settings::new(images.folder())
        .with("URI_MAP", "images/iiif=>IIIF, dz=>DeepZoom,iip=>IIP")
        .with("BASE_URL", "https://museum.test/images/iiif")
        .start();
    let client = server.client();
    let info = client.get("/images/iiif/photo.tif/info.json").expect(200).json();
    assert_eq!(info["id"], "https://museum.test/images/iiif/photo.tif");
    let _ = client.get("/dz/photo.tif.dzi").expect(200);
    let object = client.get("/iip/photo.tif&OBJ=Max-size").expect(200);
    assert_eq!(object.text(), "Max-size:1000 700\r\n");
    for target in [
        "/images/iiif",
        "/images/iiif/",
        "/images/iiifx/photo.tif/info.json",
    ] {
        assert_eq!(client.get(target).status, 404, "{target}");
    }
    // The same over FastCGI, where an installation with a map has these addresses alone.
    let reply = server
        .fastcgi_client()
        .get("/images/iiif/photo.tif/full/50,/0/default.jpg");
    assert_eq!(reply.picture().size(), (50, 35));
}
