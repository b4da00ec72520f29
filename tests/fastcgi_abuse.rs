//! Malformed FastCGI and clients that misbehave: an end for them, and nothing noticed by the others.

use std::io::Write;
use std::net::TcpStream;

use support::fastcgi::{FastCgi, RESPONDER, begin, get, get_params, kind, pairs, record, request, stream};
use support::fixture::Images;
use support::server::Settings;
use support::{Server, wait};

const OBJECT: &str = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=Max-size";
const TEXT: &str = "Max-size:1000 700\r\n";

fn server() -> (Images, Server) {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    (images, server)
}

fn assert_others_are_served(server: &mut Server, what: &str) {
    assert!(server.is_alive(), "{what}: {}", server.log());
    assert_eq!(server.fastcgi_client().get(OBJECT).text(), TEXT, "{what}");
}

/// Pairs enough for a million requests, named alike.
fn parameters(count: usize) -> Vec<(String, String)> {
    let mut list = get_params(OBJECT);
    list.extend((0..count).map(|n| (format!("P{n}"), "x".to_owned())));
    list
}

#[test]
fn stalled_clients_hold_up_nobody() {
    let (_images, mut server) = server();
    let whole = get(1, OBJECT, false);
    let stalled: Vec<FastCgi> = (0..200)
        .map(|number| {
            let mut client = server.fastcgi_client();
            client.send(&whole[..number * (whole.len() - 1) / 200]);
            client
        })
        .collect();
    assert_others_are_served(&mut server, "200 stalled clients");
    drop(stalled);
    assert_others_are_served(&mut server, "200 clients gone");
}

#[test]
fn a_client_that_stalls_is_let_go_after_its_time() {
    let (images, _) = Images::with_photo();
    let mut server = Settings::new(images.folder()).with("IDLE_TIMEOUT", "1").start();
    let mut idle = server.fastcgi_client();
    idle.assert_closed();
    assert_others_are_served(&mut server, "an idle client");
}

#[test]
fn clients_that_close_early_harm_nobody() {
    let (_images, mut server) = server();
    let whole = get(1, "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0", false);
    for length in 0..=whole.len() {
        let mut client = server.fastcgi_client();
        client.send(&whole[..length]);
        drop(client);
    }
    assert_others_are_served(&mut server, "clients that close early");
    wait::until("nothing is left to do", || {
        (server.health()["render"]["pictures"] == 0).then_some(())
    });
}

#[test]
fn twenty_thousand_parameters_are_one_more_request() {
    let (_images, mut server) = server();
    for size in [0xfff8, 1000, 17] {
        let mut client = server.fastcgi_client();
        client.send(&request(1, &parameters(20_000), b"", false, size));
        assert_eq!(client.finish(1).reply.unwrap().text(), TEXT);
    }
    // Empty names and values: two bytes a pair.
    let mut client = server.fastcgi_client();
    let mut bytes = pairs(&get_params(OBJECT));
    bytes.resize(bytes.len() + 40_000, 0);
    client.send(&begin(1, RESPONDER, false));
    client.send(&stream(kind::PARAMS, 1, &bytes, 0xfff8));
    client.send(&stream(kind::STDIN, 1, b"", 8));
    assert_eq!(client.finish(1).reply.unwrap().text(), TEXT);
    assert_others_are_served(&mut server, "20,000 parameters");
}

#[test]
fn too_many_parameters_are_refused_in_bounded_memory() {
    let (_images, mut server) = server();
    let before = server.memory_bytes();
    for _ in 0..5 {
        let mut client = server.fastcgi_client();
        // The host may answer and close before all of it is sent.
        let sent = client.try_send(&request(1, &parameters(2_000_000), b"", false, 0xfff8));
        if sent.is_ok() {
            assert_eq!(client.finish(1).reply.unwrap().status, 400);
        }
    }
    let after = server.memory_bytes();
    assert!(
        after < before + (16 << 20),
        "{before} bytes before, {after} after"
    );
    assert_others_are_served(&mut server, "too many parameters");
}

#[test]
fn a_query_that_is_too_long_is_refused() {
    let (_images, mut server) = server();
    let long = format!("/fcgi-bin/iipsrv.fcgi?FIF={}&OBJ=Max-size", "a".repeat(70_000));
    assert_eq!(server.fastcgi_client().get(&long).status, 414);
    assert_others_are_served(&mut server, "a long query");
}

#[test]
fn lengths_that_lie_end_the_connection_or_the_request() {
    let (_images, mut server) = server();
    for pair in [
        // A name of 2 GiB.
        &[0xff, 0xff, 0xff, 0xff, 1, b'a'][..],
        // A value longer than the stream.
        &[1, 100, b'a', b'b'],
        // A length cut off.
        &[0x80, 0, 0],
        &[200],
    ] {
        let mut client = server.fastcgi_client();
        client.send(&begin(1, RESPONDER, false));
        // Whatever follows may already find the connection closed.
        let _ = client.try_send(&stream(kind::PARAMS, 1, pair, 100));
        let _ = client.try_send(&stream(kind::STDIN, 1, b"", 100));
        let mut records = 0;
        while let Some(record) = client.receive() {
            records += 1;
            assert!(records < 10, "{record:?}");
            if record.kind == kind::STDOUT && !record.content.is_empty() {
                assert!(
                    String::from_utf8_lossy(&record.content).starts_with("Status: 400"),
                    "{record:?}"
                );
            }
        }
        assert_others_are_served(&mut server, "lying lengths");
    }
}

#[test]
fn other_protocols_are_hung_up_on() {
    let (_images, mut server) = server();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
        &[0xff; 64],
        &[2, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ] {
        let mut client = server.fastcgi_client();
        let _ = client.try_send(bytes);
        client.assert_closed();
    }
    assert_others_are_served(&mut server, "other protocols");
}

#[test]
fn records_out_of_place_are_survived() {
    let (_images, mut server) = server();
    let good = get(1, OBJECT, false);
    for odd in [
        record(kind::PARAMS, 1, b"no request yet"),
        record(kind::STDIN, 7, b"no request yet"),
        record(kind::ABORT_REQUEST, 3, b""),
        record(kind::STDOUT, 1, b"from the wrong side"),
        record(kind::END_REQUEST, 1, &[0; 8]),
        record(77, 5, b"an unknown type with a request"),
    ] {
        let mut client = server.fastcgi_client();
        client.send(&odd);
        let _ = client.try_send(&good);
        // Either ignored, or the end of this connection.
        while let Some(record) = client.receive() {
            if record.kind == kind::END_REQUEST && record.id == 1 {
                break;
            }
        }
        assert_others_are_served(&mut server, "a record out of place");
    }
    // Inside a request, records of another one are left alone.
    let mut client = server.fastcgi_client();
    client.send(&begin(1, RESPONDER, false));
    client.send(&record(kind::PARAMS, 9, b"of nobody"));
    client.send(&record(kind::STDIN, 9, b"of nobody"));
    client.send(&stream(kind::PARAMS, 1, &pairs(&get_params(OBJECT)), 50));
    client.send(&stream(kind::STDIN, 1, b"", 50));
    assert_eq!(client.finish(1).reply.unwrap().text(), TEXT);
}

#[test]
fn bytes_changed_anywhere_never_end_the_host() {
    let (_images, mut server) = server();
    let whole = get(1, OBJECT, true);
    let mut state = 99u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..=next() % 3 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        let mut client = TcpStream::connect(server.fastcgi()).unwrap();
        // A host that has hung up already is as good as one that reads on.
        let _ = client.write_all(&bytes);
    }
    assert_others_are_served(&mut server, "changed bytes");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let (_images, mut server) = server();
    // More than the sockets between can hold.
    let large = "/iiif/3/photo.tif/full/^3000,/0/default.png";
    let lazy: Vec<FastCgi> = (0..8)
        .map(|_| {
            let mut client = server.fastcgi_client();
            client.send(&get(1, large, false));
            client
        })
        .collect();
    for _ in 0..20 {
        assert_others_are_served(&mut server, "clients that do not read");
    }
    drop(lazy);
}

#[test]
fn connections_beyond_the_limit_wait_or_are_told() {
    let (images, _) = Images::with_photo();
    let mut server = Settings::new(images.folder())
        .with("MAX_CONNECTIONS", "4")
        .start();
    let held: Vec<FastCgi> = (0..30).map(|_| server.fastcgi_client()).collect();
    assert!(server.is_alive());
    drop(held);
    wait::until("there is room again", || {
        let mut client = server.fastcgi_client();
        client.try_send(&get(1, OBJECT, false)).ok()?;
        let mut text = Vec::new();
        while let Some(record) = client.receive() {
            if record.kind == kind::STDOUT {
                text.extend(record.content);
            }
        }
        text.ends_with(TEXT.as_bytes()).then_some(())
    });
    assert_others_are_served(&mut server, "too many connections");
}
