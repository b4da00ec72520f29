//! FastCGI: over TCP, a UNIX socket and an inherited socket, and the protocol's own rules.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use support::fastcgi::{
    FastCgi, RESPONDER, begin, get, get_params, kind, pairs, record, request, status, stream,
};
use support::fixture::Images;
use support::server::{self, Settings};
use support::{Server, built, wait};

const TILE: &str = "FIF=photo.tif&JTL=3,0";
const OBJECT: &str = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=Max-size";
const OBJECT_TEXT: &str = "Max-size:1000 700\r\n";

fn server() -> (Images, Server) {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    (images, server)
}

#[test]
fn all_transports_give_the_same_reply() {
    let (_images, server) = server();
    for query in [
        TILE,
        "FIF=photo.tif&OBJ=Max-size",
        "FIF=photo.tif&WID=200&CVT=JPEG",
        "FIF=no.tif&JTL=0,0",
    ] {
        let mut http = server.client().iip(query);
        http.headers
            .retain(|(name, _)| !["date", "connection"].contains(&name.to_ascii_lowercase().as_str()));
        let names = |headers: &[(String, String)]| -> Vec<(String, String)> {
            let mut list: Vec<_> = headers
                .iter()
                .map(|(n, v)| (n.to_ascii_lowercase(), v.clone()))
                .collect();
            list.sort();
            list
        };
        for reply in [
            server.fastcgi_client().iip(query),
            FastCgi::unix(&server.socket()).iip(query),
        ] {
            assert_eq!(reply.status, http.status);
            assert_eq!(reply.body, http.body);
            assert_eq!(names(&reply.headers), names(&http.headers));
        }
    }
}

#[test]
fn iiif_is_served_over_fastcgi_by_its_path() {
    let (_images, server) = server();
    let reply = server
        .fastcgi_client()
        .get("/iiif/3/photo.tif/info.json")
        .expect(200);
    assert_eq!(reply.json()["id"], "http://images.test/iiif/3/photo.tif");
    let picture = server
        .fastcgi_client()
        .get("/iiif/3/photo.tif/full/100,/0/default.jpg")
        .picture();
    assert_eq!(picture.size(), (100, 70));
}

#[test]
fn ipv6_is_served() {
    let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = TcpListener::bind(loopback) {
        println!("NOT TESTED: this machine has no IPv6 loopback address: {error}");
        return;
    }
    let (images, _) = Images::with_photo();
    let server = Settings::new(images.folder()).on_ipv6().start();
    assert!(server.http().is_ipv6() && server.fastcgi().is_ipv6());
    let _ = server.fastcgi_client().iip(TILE).picture();
    let _ = server.client().iip(TILE).picture();
}

#[test]
fn a_listening_socket_is_inherited_as_descriptor_0() {
    let (images, _) = Images::with_photo();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut child = server::command()
        .env("FILESYSTEM_PREFIX", images.folder())
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let reply = FastCgi::tcp(address).iip(TILE);
    child.kill().unwrap();
    child.wait().unwrap();
    let _ = reply.picture();
}

#[test]
fn spawn_fcgi_hands_over_its_socket() {
    let (images, _) = Images::with_photo();
    let run = tempfile::tempdir().unwrap();
    let (socket, pid) = (run.path().join("socket"), run.path().join("pid"));
    let status = Command::new("spawn-fcgi")
        .arg("-s")
        .arg(&socket)
        .arg("-P")
        .arg(&pid)
        .arg("-f")
        .arg(built::host())
        .env("FILESYSTEM_PREFIX", images.folder())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("spawn-fcgi is missing: make setup");
    assert!(status.success());
    let id = wait::until("spawn-fcgi writes the process id", || {
        std::fs::read_to_string(&pid).ok()?.trim().parse().ok()
    });
    let reply = FastCgi::unix(&socket).iip(TILE);
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let _ = reply.picture();
    wait::until("the host ends", || {
        rustix::process::test_kill_process(pid).is_err().then_some(())
    });
}

#[test]
fn without_an_address_or_a_socket_the_host_says_what_is_missing() {
    let output = server::run::<&str>([], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("file descriptor 0 is not a listening socket"),
        "{text}"
    );
}

#[test]
fn a_connection_kept_open_serves_request_after_request() {
    let (_images, server) = server();
    let mut connection = server.fastcgi_client();
    for id in [1, 1, 7, 65535] {
        connection.send(&get(id, OBJECT, true));
        let ended = connection.finish(id);
        assert_eq!(ended.reply.unwrap().text(), OBJECT_TEXT);
        assert_eq!(
            (ended.app_status, ended.protocol_status),
            (0, status::REQUEST_COMPLETE)
        );
    }
    connection.send(&get(2, OBJECT, false));
    assert!(connection.finish(2).reply.is_some());
    connection.assert_closed();
}

#[test]
fn values_are_told() {
    let (_images, server) = server();
    let mut connection = server.fastcgi_client();
    let asked = pairs(&[
        ("FCGI_MAX_CONNS", ""),
        ("FCGI_MAX_REQS", ""),
        ("FCGI_MPXS_CONNS", ""),
        ("OTHER", ""),
    ]);
    connection.send(&record(kind::GET_VALUES, 0, &asked));
    let answer = connection.receive().unwrap();
    assert_eq!((answer.kind, answer.id), (kind::GET_VALUES_RESULT, 0));
    let text = String::from_utf8_lossy(&answer.content).into_owned();
    assert!(text.contains("FCGI_MPXS_CONNS0"), "{text:?}");
    assert!(
        text.contains("FCGI_MAX_CONNS4096") && text.contains("FCGI_MAX_REQS4096"),
        "{text:?}"
    );
    assert!(!text.contains("OTHER"));
    // The connection is still good for a request.
    connection.send(&get(1, OBJECT, false));
    assert_eq!(connection.finish(1).reply.unwrap().text(), OBJECT_TEXT);
}

#[test]
fn unknown_management_records_are_named() {
    let (_images, server) = server();
    let mut connection = server.fastcgi_client();
    connection.send(&record(200, 0, b"anything"));
    let answer = connection.receive().unwrap();
    assert_eq!(
        (answer.kind, answer.id, answer.content[0]),
        (kind::UNKNOWN_TYPE, 0, 200)
    );
    connection.send(&get(1, OBJECT, false));
    assert_eq!(connection.finish(1).reply.unwrap().text(), OBJECT_TEXT);
}

#[test]
fn other_roles_are_refused() {
    let (_images, server) = server();
    for role in [2, 3, 99] {
        let mut connection = server.fastcgi_client();
        connection.send(&begin(1, role, false));
        let ended = connection.finish(1);
        assert_eq!(ended.protocol_status, status::UNKNOWN_ROLE);
        assert!(ended.reply.is_none());
    }
}

#[test]
fn a_second_request_on_a_busy_connection_is_refused_and_the_first_goes_on() {
    let (_images, server) = server();
    let mut connection = server.fastcgi_client();
    connection.send(&begin(1, RESPONDER, false));
    connection.send(&begin(2, RESPONDER, false));
    let refused = connection.finish(2);
    assert_eq!(refused.protocol_status, status::CANT_MPX_CONN);
    connection.send(&stream(kind::PARAMS, 1, &pairs(&get_params(OBJECT)), 1000));
    connection.send(&stream(kind::STDIN, 1, b"", 1000));
    assert_eq!(connection.finish(1).reply.unwrap().text(), OBJECT_TEXT);
}

#[test]
fn an_aborted_request_ends_without_a_reply() {
    let (_images, server) = server();
    let posted = [
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_URI", "/fcgi-bin/iipsrv.fcgi"),
        ("CONTENT_LENGTH", "9"),
    ];
    let params = stream(kind::PARAMS, 1, &pairs(&posted), 1000);
    let half = record(kind::STDIN, 1, b"FIF=");
    for sent in [
        begin(1, RESPONDER, true),
        [begin(1, RESPONDER, true), params.clone()].concat(),
        [begin(1, RESPONDER, true), params, half].concat(),
    ] {
        let mut connection = server.fastcgi_client();
        connection.send(&sent);
        connection.send(&record(kind::ABORT_REQUEST, 1, b""));
        let ended = connection.finish(1);
        assert!(ended.reply.is_none());
        connection.send(&get(1, OBJECT, false));
        assert_eq!(connection.finish(1).reply.unwrap().text(), OBJECT_TEXT);
    }
}

#[test]
fn records_may_be_split_anywhere() {
    let (_images, server) = server();
    let params = get_params(OBJECT);
    let expected = server.fastcgi_client().get(OBJECT);
    for size in [1, 2, 7, 8, 100] {
        let mut connection = server.fastcgi_client();
        connection.send(&request(1, &params, b"", false, size));
        assert_eq!(
            connection.finish(1).reply.unwrap(),
            expected,
            "records of {size} bytes"
        );
    }
    // One byte a segment.
    let mut connection = server.fastcgi_client();
    for byte in get(1, OBJECT, false) {
        connection.send(&[byte]);
    }
    assert_eq!(connection.finish(1).reply.unwrap(), expected);
}

#[test]
fn a_request_without_a_method_is_a_get() {
    let (_images, server) = server();
    let params = [("QUERY_STRING".to_owned(), "FIF=photo.tif&OBJ=Max-size".to_owned())];
    let mut connection = server.fastcgi_client();
    connection.send(&request(1, &params, b"", false, 1000));
    assert_eq!(connection.finish(1).reply.unwrap().text(), OBJECT_TEXT);
}

#[test]
fn a_body_is_read_to_its_announced_length() {
    let (_images, server) = server();
    let body = b"FIF=photo.tif&OBJ=Max-size";
    let params = |length: usize| -> Vec<(String, String)> {
        [
            ("REQUEST_METHOD", "POST".to_owned()),
            ("REQUEST_URI", "/fcgi-bin/iipsrv.fcgi".to_owned()),
            ("CONTENT_LENGTH", length.to_string()),
        ]
        .map(|(n, v)| (n.to_owned(), v))
        .into()
    };
    let ask = |length, body: &[u8]| {
        let mut connection = server.fastcgi_client();
        connection.send(&request(1, &params(length), body, false, 10));
        connection.finish(1).reply.unwrap()
    };
    assert_eq!(ask(body.len(), body).text(), OBJECT_TEXT);
    assert_eq!(ask(body.len() + 1, body).status, 400);
    assert_eq!(ask(70_000, b"").status, 413);
}
