//! Files with names that are hard to write in an address, asked for in every way clients write them: over
//! HTTP, FastCGI and through nginx, as a path and as a query.

use serde_json::Value;
use support::Server;
use support::client::Client;
use support::fixture::{Images, Layout, TiffFile};
use support::nginx;
use support::picture::Picture;
use support::server::Settings;

/// Files that exist together, and each one's names in an address. The first name is the one RFC 3986 gives
/// it; the others are written by clients in use.
const NAMES: [(&str, &[&str]); 17] = [
    ("plain.tif", &["plain.tif", "pl%61in%2Etif", "./plain.tif"]),
    (
        "dir/sub dir/a.tif",
        &[
            "dir%2Fsub%20dir%2Fa.tif",
            "dir/sub%20dir/a.tif",
            "dir%252Fsub%2520dir%252Fa.tif",
            "dir%2fsub%20dir/a.tif",
            "dir//sub%20dir/a.tif",
        ],
    ),
    ("with space.tif", &["with%20space.tif", "with%2520space.tif"]),
    ("a b.tif", &["a%20b.tif"]),
    ("a+b.tif", &["a%2Bb.tif", "a+b.tif", "a%252Bb.tif"]),
    ("100%.tif", &["100%25.tif", "100%2525.tif"]),
    ("once%20.tif", &["once%2520.tif"]),
    ("once .tif", &["once%20.tif"]),
    ("ünï–çödé.tif", &["%C3%BCn%C3%AF%E2%80%93%C3%A7%C3%B6d%C3%A9.tif"]),
    (
        "日本.tif",
        &["%E6%97%A5%E6%9C%AC.tif", "%25E6%2597%25A5%25E6%259C%25AC.tif"],
    ),
    (
        "ark:12025-654xz321.tif",
        &["ark%3A12025-654xz321.tif", "ark:12025-654xz321.tif"],
    ),
    ("am&per=sand;comma,.tif", &["am%26per%3Dsand%3Bcomma%2C.tif"]),
    ("quote'\"back\\.tif", &["quote%27%22back%5C.tif"]),
    ("[br](ac){et}.tif", &["%5Bbr%5D%28ac%29%7Bet%7D.tif"]),
    ("hash#query?.tif", &["hash%23query%3F.tif"]),
    ("full/max/0/default.jpg", &["full%2Fmax%2F0%2Fdefault.jpg"]),
    ("info.json", &["info.json"]),
];

/// A color for each file.
fn color(number: usize) -> [u8; 3] {
    let number = number as u8;
    [
        10 + 14 * number,
        250 - 13 * number,
        if number.is_multiple_of(2) { 40 } else { 200 },
    ]
}

fn files() -> Images {
    let images = Images::new();
    for (number, (name, _)) in NAMES.iter().enumerate() {
        let picture = Picture::plain(64, 48, &color(number));
        let layout = Layout {
            levels: 1,
            ..Layout::default()
        };
        images.add(name, &TiffFile::pyramid(&picture, layout));
    }
    images
}

/// Every name, over every way, leads to its own file.
fn assert_found(client: &Client, authority: &str) {
    for (number, (file, names)) in NAMES.iter().enumerate() {
        for name in *names {
            for (base, id_key) in [
                ("/iiif/3/", "id"),
                ("/iiif/2/", "@id"),
                ("/iiif/", "id"),
                ("/fcgi-bin/iipsrv.fcgi?IIIF=", "id"),
            ] {
                let uri = format!("{base}{name}");
                let info = client.get(&format!("{uri}/info.json"));
                assert_eq!(
                    info.status,
                    200,
                    "{file} as {uri}: {:?}",
                    String::from_utf8_lossy(&info.body)
                );
                let document: Value = info.json();
                assert_eq!(document[id_key], format!("http://{authority}{uri}"), "{file}");
                assert_eq!(
                    (&document["width"], &document["height"]),
                    (&64.into(), &48.into())
                );
                let size = if base == "/iiif/2/" { "full" } else { "max" };
                let reply = client.get(&format!("{uri}/full/{size}/0/default.png"));
                let picture = reply.picture();
                assert_eq!(picture, Picture::plain(64, 48, &color(number)), "{file} as {uri}");
                let canonical =
                    format!("<http://{authority}{uri}/full/{size}/0/default.png>;rel=\"canonical\"");
                assert!(
                    reply.field("Link").ends_with(&canonical),
                    "{} does not end with {canonical}",
                    reply.field("Link")
                );
                if !uri.contains('?') {
                    redirected(client, authority, &uri);
                    redirected(client, authority, &format!("{uri}/"));
                } else if !name.contains("%2F") {
                    // A value of a query without any slash is read as if all its slashes were encoded.
                    redirected(client, authority, &uri);
                }
            }
            let tile = client.get(&format!("/deepzoom/{name}_files/6/0_0.png"));
            if !name.contains("25") {
                assert_eq!(tile.picture(), Picture::plain(64, 48, &color(number)), "{file}");
                assert_eq!(
                    client
                        .get(&format!("/zoomify/{name}/TileGroup0/0-0-0.jpg"))
                        .picture()
                        .size(),
                    (64, 48)
                );
                assert_eq!(client.get(&format!("/deepzoom/{name}.dzi")).status, 200);
            }
        }
    }
}

/// The base URI leads to its document, by an absolute address (RFC 9110, section 15.4.4).
fn redirected(client: &Client, authority: &str, uri: &str) {
    let reply = client.get(uri).expect(303);
    let base = uri.trim_end_matches('/');
    assert_eq!(
        reply.field("Location"),
        format!("http://{authority}{base}/info.json")
    );
    assert_eq!(reply.field("Access-Control-Allow-Origin"), "*");
    assert_eq!(reply.field("Content-Length"), "0");
    assert_eq!(reply.body, b"");
    let head = client.request("HEAD", uri, &[]).expect(303);
    assert_eq!(head.field("Location"), reply.field("Location"));
}

#[test]
fn every_name_is_found_over_http() {
    let images = files();
    let server = Server::start(images.folder());
    assert_found(&server.client(), &server.http().to_string());
}

#[test]
fn every_name_is_found_behind_nginx() {
    let images = files();
    let server = Server::start(images.folder());
    let nginx = nginx::single(&server.fastcgi().to_string());
    assert_found(&nginx.client(), &nginx.address().to_string());
}

#[test]
fn a_query_may_mean_a_space_by_a_plus() {
    let images = files();
    let server = Server::start(images.folder());
    let client = server.client();
    let shown = |identifier: &str| {
        let target = format!("/fcgi-bin/iipsrv.fcgi?IIIF={identifier}/full/max/0/default.png");
        client.get(&target).picture()
    };
    let number = |file: &str| NAMES.iter().position(|(name, _)| *name == file).expect("a file");
    // The file with a plus in its name comes first.
    assert_eq!(
        shown("a+b.tif"),
        Picture::plain(64, 48, &color(number("a+b.tif")))
    );
    assert_eq!(
        shown("with+space.tif"),
        Picture::plain(64, 48, &color(number("with space.tif")))
    );
    assert_eq!(client.get("/iiif/3/with+space.tif/info.json").status, 404);
}

#[test]
fn names_that_lead_out_or_are_no_names_are_refused() {
    let images = files();
    let server = Server::start(images.folder());
    let client = server.client();
    for (name, status) in [
        ("..%2Fplain.tif", 404),
        ("dir%2F..%2Fplain.tif", 404),
        ("dir/%2E%2E/plain.tif", 404),
        ("%252E%252E%252Fplain.tif", 404),
        ("%2Fetc%2Fpasswd", 404),
        ("dir", 404),
        ("dir%2F", 404),
        ("plain.tif%00", 400),
        ("plain%0A.tif", 400),
        ("plain%2500.tif", 400),
        ("nothing.tif", 404),
        ("nothing+.tif", 404),
        ("%FF%FE.tif", 404),
        ("a%2Fb", 404),
        ("[frob]", 404),
    ] {
        for end in ["/info.json", "/full/max/0/default.jpg"] {
            let reply = client.get(&format!("/iiif/3/{name}{end}"));
            assert_eq!(
                reply.status,
                status,
                "{name}{end}: {:?}",
                String::from_utf8_lossy(&reply.body)
            );
            assert_eq!(reply.field("Access-Control-Allow-Origin"), "*");
            let folder = images.folder().to_str().expect("a path of text");
            assert!(
                !String::from_utf8_lossy(&reply.body).contains(folder),
                "no path of the server"
            );
        }
    }
}

#[test]
fn the_public_address_comes_from_trusted_proxies_only() {
    let images = files();
    let id = |server: &Server, headers: &[(&str, &str)]| {
        let reply = server
            .client()
            .request("GET", "/iiif/3/dir%2Fsub%20dir%2Fa.tif/info.json", headers);
        reply.expect(200).json()["id"].as_str().expect("an id").to_owned()
    };
    let path = "/iiif/3/dir%2Fsub%20dir%2Fa.tif";
    let forwarded: &[(&str, &str)] = &[
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "images.example.org"),
    ];
    let distrusting = Server::start(images.folder());
    let own = format!("http://{}{path}", distrusting.http());
    assert_eq!(id(&distrusting, forwarded), own);
    assert_eq!(
        id(
            &distrusting,
            &[("Forwarded", "proto=https;host=evil.example.org")]
        ),
        own
    );
    assert_eq!(
        id(&distrusting, &[("X-IIIF-ID", "https://evil.example.org/x")]),
        own
    );

    let trusting = Settings::new(images.folder())
        .with("TRUSTED_PROXIES", "127.0.0.0/8, ::1")
        .start();
    assert_eq!(
        id(&trusting, forwarded),
        format!("https://images.example.org{path}")
    );
    assert_eq!(
        id(
            &trusting,
            &[(
                "Forwarded",
                "for=192.0.2.1;proto=https;host=\"images.example.org:8443\""
            )]
        ),
        format!("https://images.example.org:8443{path}")
    );
    let redirect = trusting.client().request("GET", path, forwarded).expect(303);
    assert_eq!(
        redirect.field("Location"),
        format!("https://images.example.org{path}/info.json")
    );
    let picture = trusting
        .client()
        .request("GET", &format!("{path}/full/max/0/default.jpg"), forwarded);
    assert!(picture.field("Link").contains(&format!(
        "<https://images.example.org{path}/full/max/0/default.jpg>;rel=\"canonical\""
    )));

    let based = Settings::new(images.folder())
        .with("BASE_URL", "https://public.example.org/images")
        .with("TRUSTED_PROXIES", "*")
        .start();
    let reply = based
        .client()
        .request("GET", "/iiif/a%20b.tif/info.json", forwarded)
        .expect(200);
    assert_eq!(reply.json()["id"], "https://public.example.org/images/a%20b.tif");
}

#[test]
fn documents_differ_by_what_a_client_accepts() {
    let images = files();
    let server = Server::start(images.folder());
    let ask = |target: &str, accept: &str| {
        let reply = server
            .client()
            .request("GET", target, &[("Accept", accept)])
            .expect(200);
        assert!(
            reply.field("Vary").split(", ").any(|field| field == "Accept"),
            "{target}"
        );
        reply
    };
    let second = "application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\"";
    let third = "application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"";
    let info = "/iiif/plain.tif/info.json";
    assert_eq!(ask(info, "*/*").field("Content-Type"), third);
    assert_eq!(
        ask(info, "application/json").field("Content-Type"),
        "application/json"
    );
    let old = ask(info, second);
    assert_eq!(old.field("Content-Type"), second);
    assert_eq!(
        old.json()["@id"],
        format!("http://{}/iiif/2/plain.tif", server.http())
    );
    assert_eq!(
        ask("/iiif/2/plain.tif/info.json", "*/*").field("Content-Type"),
        "application/json"
    );
    // A validator names one form of the document.
    let new = ask(info, "*/*");
    assert_ne!(new.field("ETag"), old.field("ETag"));
    let again = [("Accept", second), ("If-None-Match", new.field("ETag"))];
    assert_eq!(server.client().request("GET", info, &again).status, 200);
    let again = [("Accept", second), ("If-None-Match", old.field("ETag"))];
    let unchanged = server.client().request("GET", info, &again).expect(304);
    assert!(unchanged.field("Vary").contains("Accept"));
    // Pictures never depend on it.
    let picture = "/iiif/plain.tif/full/max/0/default.png";
    let get = |accept| {
        server
            .client()
            .request("GET", picture, &[("Accept", accept)])
            .expect(200)
    };
    assert_eq!(get(second), get(third));
}
