use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

fn client(servers: &[String], patience: Duration) -> Memcached {
    let servers = servers.iter().map(|s| s.parse().unwrap()).collect();
    Memcached::start(MemcachedSettings {
        servers,
        seconds: 60,
        patience,
    })
    .unwrap()
}

fn key(n: u8) -> PictureKey {
    PictureKey::new(&[n; 32], b"image")
}

fn fetch(client: &Memcached, n: u8) -> Fetched {
    let (sender, receiver) = std::sync::mpsc::channel();
    let asked = client.clone();
    client.spawn(async move { sender.send(asked.fetch(key(n)).await).unwrap() });
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// A server that answers every line with the same bytes.
fn parrot(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || repeat(&stream, answer));
        }
    });
    address
}

fn repeat(stream: &TcpStream, answer: &[u8]) {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|len| len > 0) {
        if (&*stream).write_all(answer).is_err() {
            return;
        }
        line.clear();
    }
}

fn is_missing(fetched: &Fetched, is_held: bool) -> bool {
    matches!(fetched, Fetched::Missing(lease) if lease.is_held == is_held)
}

#[test]
fn a_server_that_never_answers_costs_the_time_out_and_then_nothing() {
    // Connections are taken by the system and read by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Duration::from_millis(40);
    let client = client(&[silent.local_addr().unwrap().to_string()], patience);
    for n in 0..3 {
        let start = Instant::now();
        assert!(is_missing(&fetch(&client, n), false));
        assert!(start.elapsed() >= patience);
    }
    for n in 0..20 {
        assert!(is_missing(&fetch(&client, n), false));
    }
    assert_eq!((client.counts().failures, client.counts().skipped), (3, 20));
    assert!(client.servers().all(|(_, in_use)| !in_use));
}

#[test]
fn what_is_not_memcached_is_a_failure_and_no_picture() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"VALUE iiphost:1:x 0 99999999999999\r\n",
        b"\xff\xfe\r\n",
    ] {
        let client = client(&[parrot(answer)], Duration::from_millis(500));
        assert!(is_missing(&fetch(&client, 1), false));
        assert_eq!(client.counts().failures, 1);
    }
}

#[test]
fn a_foreign_value_is_not_served_and_may_be_replaced() {
    let name = key(1).key;
    let answer = format!("VALUE {name} 0 5\r\nhello\r\nEND\r\n");
    let server = parrot(Box::leak(answer.into_bytes().into_boxed_slice()));
    let client = client(&[server], Duration::from_millis(500));
    // The parrot does not know `add`, so there is no lease.
    assert!(is_missing(&fetch(&client, 1), false));
    assert_eq!((client.counts().foreign, client.counts().hits), (1, 0));
}

#[test]
fn keys_spread_over_servers_and_few_move_when_one_goes() {
    let names: Vec<String> = (1..=4).map(|n| format!("10.0.0.{n}")).collect();
    let (four, three) = (
        client(&names, Duration::ZERO),
        client(&names[..3], Duration::ZERO),
    );
    let mut counts = [0; 4];
    for n in 0..200 {
        let key = key(n).key;
        let place = |client: &Memcached| client.inner.server(&key).unwrap().address.to_string();
        let (before, after) = (place(&four), place(&three));
        let number = names.iter().position(|name| before.starts_with(name)).unwrap();
        counts[number] += 1;
        assert!(number == 3 || before == after, "only the keys of the fourth move");
    }
    assert!(counts.iter().all(|&count| count > 20), "{counts:?}");
}

#[test]
fn keys_are_short_plain_and_stable() {
    let key = key(0xab);
    assert_eq!(key.key, format!("iiphost:1:{}", "ab".repeat(32)));
    assert!(key.image.ends_with(":purged") && key.image.len() < 250 && key.image.is_ascii());
}

#[test]
fn a_value_too_large_is_not_stored() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(
        &[listener.local_addr().unwrap().to_string()],
        Duration::from_secs(5),
    );
    let lease = Lease {
        key: key(1),
        mark: Mark::default(),
        is_held: false,
        is_worth_storing: true,
    };
    client.store(lease, vec![0; MAX_VALUE_BYTES].into());
    assert_eq!(client.counts().not_stored, 1);
    // One that fits goes out, with its length and seal.
    let lease = Lease {
        key: key(1),
        mark: Mark::default(),
        is_held: false,
        is_worth_storing: true,
    };
    client.store(lease, Bytes::from_static(b"picture"));
    let (stream, _) = listener.accept().unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, format!("set {} 0 60 63\r\n", key(1).key));
    let mut value = vec![0; 65];
    stream.read_exact(&mut value).unwrap();
    assert!(value.ends_with(b"picture\r\n"));
}
