//! What happens to a busy host: signals, clients of every bad kind, files that turn into something else. Those
//! who behave get their right replies meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use support::fastcgi::{begin, get, kind, record};
use support::fixture::{Images, TiffFile};
use support::load::{self, Expected, Tally, Transport};
use support::picture::Picture;
use support::server::Settings;
use support::{Server, wait};

/// A photo, an image of 400 tiles, and requests of every kind with their replies.
fn work() -> (Images, Vec<Expected>) {
    let (images, _) = Images::with_photo();
    let tile = Picture::photograph(256, 256, 3, 5);
    images.add("work.tif", &TiffFile::repeated(&tile, 20, 20));
    let endpoint = "/fcgi-bin/iipsrv.fcgi";
    let mut targets: Vec<String> = (0..12)
        .map(|tile| format!("{endpoint}?FIF=photo.tif&JTL=3,{tile}"))
        .collect();
    targets.extend((0..40).map(|tile| format!("{endpoint}?FIF=work.tif&JTL=5,{}", tile * 9)));
    targets.extend((3..9).map(|n| format!("{endpoint}?FIF=photo.tif&WID={}&CVT=JPEG", n * 40)));
    targets.extend((0..6).map(|n| format!("/iiif/3/photo.tif/{},50,200,150/max/0/default.jpg", n * 90)));
    targets.extend(
        [
            "/deepzoom/photo.tif.dzi",
            "/zoomify/photo.tif/ImageProperties.xml",
            "/iiif/3/nothing.tif/full/max/0/default.jpg",
            "/iiif/3/photo.tif/full/max/0/nice.jpg",
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=Max-size",
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,999",
            "/fcgi-bin/iipsrv.fcgi?FIF=../../etc/passwd&JTL=0,0",
        ]
        .map(str::to_owned),
    );
    // Asked one after the other of a host that has nothing else to do.
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    let work: Vec<Expected> = targets
        .into_iter()
        .map(|target| {
            let reply = connection.get(&target);
            Expected {
                target,
                status: reply.status,
                body: Some(reply.body),
            }
        })
        .collect();
    let pictures = work.iter().filter(|asked| asked.status == 200).count();
    assert!(
        pictures > 60,
        "only {pictures} of {} are good requests",
        work.len()
    );
    (images, work)
}

fn both(server: &Server) -> [Transport; 2] {
    [
        Transport::Http(server.http()),
        Transport::FastCgi(server.fastcgi()),
    ]
}

/// Lets clients ask while something is done.
fn meanwhile(server: &Server, work: &[Expected], clients: usize, act: impl FnOnce()) -> Tally {
    let stop = AtomicBool::new(false);
    let transports = both(server);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| load::run(&transports, work, clients, &stop));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        let tally = running.join().unwrap();
        if let Err(panic) = acted {
            std::panic::resume_unwind(panic);
        }
        tally
    })
}

/// Everybody got what was asked for.
fn assert_all_served(tally: &Tally) {
    assert!(tally.mistakes.is_empty(), "{:#?}", &tally.mistakes);
    assert_eq!(tally.refused, 0);
    assert!(tally.count() > 100, "only {} replies", tally.count());
}

#[test]
fn reloads_under_load_are_seen_by_nobody() {
    let (images, work) = work();
    let server = Server::start(images.folder());
    let tally = meanwhile(&server, &work, 8, || {
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(250));
            server.signal(Signal::HUP);
        }
    });
    assert_all_served(&tally);
    assert!(server.settled_log().matches("caches emptied").count() >= 2);
}

#[test]
fn a_stop_under_load_cuts_off_nobody() {
    let (images, work) = work();
    let mut server = Server::start(images.folder());
    let started = Instant::now();
    let tally = meanwhile(&server, &work, 16, || {
        std::thread::sleep(Duration::from_millis(800));
        server.signal(Signal::TERM);
        wait::until("nobody listens any more", || {
            TcpStream::connect(server.http()).is_err().then_some(())
        });
    });
    assert!(tally.mistakes.is_empty(), "{:#?}", tally.mistakes);
    assert!(tally.count() > 50);
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// A connection that is begun and not waited for.
fn begin_connection(address: SocketAddr) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).ok()?;
    // It goes on by itself, or waits in the system's queue.
    let _ = rustix::net::connect(&fd, &address);
    Some(fd)
}

#[test]
fn five_thousand_connections_find_few_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8192, |maximum| maximum.min(8192));
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted.max(limit.current.unwrap_or(wanted))),
            ..limit
        },
    )
    .unwrap();
    let (images, _) = Images::with_photo();
    let mut server = Settings::new(images.folder()).with_open_files(256).start();
    let before = server.memory_bytes();
    let mut held = Vec::new();
    for number in 0..5000 {
        let address = if number % 2 == 0 {
            server.http()
        } else {
            server.fastcgi()
        };
        held.extend(begin_connection(address));
    }
    assert!(
        held.len() == 5000,
        "the test itself has only {} descriptors",
        held.len()
    );
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.is_alive());
    assert!(server.open_descriptors() <= 256);
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for idle connections");
    drop(held);
    let start = Instant::now();
    wait::until("there is room again", || {
        let reply = load::ask(
            Transport::FastCgi(server.fastcgi()),
            "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=Max-size",
        );
        matches!(reply, load::Outcome::Reply(reply) if reply.status == 200).then_some(())
    });
    println!("served again after {:?}", start.elapsed());
    assert_eq!(server.client().iip("FIF=photo.tif&JTL=3,0").status, 200);
}

#[test]
fn clients_that_go_away_leave_no_work_behind() {
    let (images, work) = work();
    let server = Server::start(images.folder());
    let export = |n: u32| format!("/iiif/3/work.tif/full/{},/0/default.jpg", 300 + n);
    let tally = meanwhile(&server, &work, 8, || {
        for n in 0..60 {
            let mut http = TcpStream::connect(server.http()).unwrap();
            let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", export(n));
            http.write_all(request.as_bytes()).unwrap();
            let mut closed = TcpStream::connect(server.fastcgi()).unwrap();
            closed.write_all(&get(1, &export(n + 100), false)).unwrap();
            let mut aborted = TcpStream::connect(server.fastcgi()).unwrap();
            let bytes = [
                get(1, &export(n + 200), true),
                record(kind::ABORT_REQUEST, 1, b""),
            ]
            .concat();
            aborted.write_all(&bytes).unwrap();
        }
    });
    assert!(tally.mistakes.is_empty(), "{:#?}", tally.mistakes);
    wait::until("the work of those who went is dropped", || {
        let render = &server.health()["render"];
        (render["pictures"] == 0 && render["waiting"] == 0).then_some(())
    });
}

#[test]
fn readers_that_are_slow_and_requests_that_never_end_hold_up_nobody() {
    let (images, work) = work();
    let server = Server::start(images.folder());
    let large = "/iiif/3/photo.tif/full/^3000,/0/default.png";
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..24 {
        let mut http = TcpStream::connect(server.http()).unwrap();
        http.write_all(format!("GET {large} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        let mut fastcgi = TcpStream::connect(server.fastcgi()).unwrap();
        fastcgi.write_all(&get(1, large, false)).unwrap();
        let mut half = TcpStream::connect(server.http()).unwrap();
        half.write_all(b"GET /iiif/3/photo.tif/inf").unwrap();
        let mut begun = TcpStream::connect(server.fastcgi()).unwrap();
        begun.write_all(&begin(1, 1, false)).unwrap();
        slow.extend([http, fastcgi, half, begun]);
    }
    let tally = meanwhile(&server, &work, 8, || {
        let mut byte = [0; 1];
        for _ in 0..20 {
            for stream in &mut slow {
                stream.set_read_timeout(Some(Duration::from_micros(200))).unwrap();
                // Those that never end their request get nothing to read.
                let _ = stream.read(&mut byte);
            }
        }
    });
    assert_all_served(&tally);
    // One who takes up reading gets the whole picture.
    let mut first = slow.swap_remove(0);
    first.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let (mut head, mut length) = (Vec::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match first.read(&mut buffer).unwrap() {
            0 => break,
            count => {
                if head.len() < 2000 {
                    head.extend_from_slice(&buffer[..count.min(2000)]);
                }
                length += count;
            }
        }
        let text = String::from_utf8_lossy(&head);
        let announced = text.split("\r\n").find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        if announced.is_some_and(|bytes: usize| length >= bytes) {
            break;
        }
    }
    assert!(length > 1 << 20, "{length} bytes");
}

#[test]
fn a_file_that_turns_into_something_else_costs_its_own_requests_alone() {
    let (images, work) = work();
    let photo = std::fs::read(images.path("photo.tif")).unwrap();
    images.write("other.tif", &photo);
    let server = Server::start(images.folder());
    let path = images.path("other.tif");
    let tally = meanwhile(&server, &work, 8, || {
        let ask = |n: usize| {
            server
                .client()
                .get(&format!("/iiif/3/other.tif/{n},0,99,99/max/0/default.jpg"))
                .status
        };
        for round in 0..5 {
            assert_eq!(ask(round * 10), 200);
            // A directory.
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
            assert_eq!(ask(round * 10 + 1), 404, "a directory");
            std::fs::remove_dir(&path).unwrap();
            // A FIFO, which blocks whoever opens it and waits.
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o644),
                0,
            )
            .unwrap();
            assert_eq!(ask(round * 10 + 2), 404, "a FIFO");
            std::fs::remove_file(&path).unwrap();
            assert_eq!(ask(round * 10 + 3), 404, "nothing");
            // A link out of the folder.
            std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
            assert_eq!(ask(round * 10 + 4), 404, "a link");
            std::fs::remove_file(&path).unwrap();
            // The first half of it, then a text, then itself.
            images.write("other.tif", &photo[..photo.len() / 2]);
            let half = ask(round * 10 + 5);
            assert!([200, 500].contains(&half), "half a file: {half}");
            images.write("other.tif", b"no image at all, but long enough to be looked at");
            assert_eq!(ask(round * 10 + 6), 415, "a text");
            images.write("other.tif", &photo);
            assert_eq!(ask(round * 10 + 7), 200);
        }
    });
    assert_all_served(&tally);
}

/// A mixture of everything. Its length in seconds and its clients come from `SOAK_SECONDS` and `SOAK_CLIENTS`;
/// `make soak` sets two minutes.
#[test]
fn a_mixed_load_gets_right_replies_and_leaves_memory_flat() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let length = Duration::from_secs(number("SOAK_SECONDS", 8));
    let clients = number("SOAK_CLIENTS", 64) as usize;
    let (images, work) = work();
    let server = Settings::new(images.folder())
        .with("MAX_IMAGE_CACHE_SIZE", "1")
        .start();
    let mut memory = Vec::new();
    let start = Instant::now();
    let tally = meanwhile(&server, &work, clients, || {
        while start.elapsed() < length {
            std::thread::sleep(length / 40);
            memory.push(server.memory_bytes() >> 10);
        }
    });
    println!(
        "{} replies in {:?} ({:.0}/s), {:?} by status, half within {:?}, 99 % within {:?}, all within {:?}; KiB: {memory:?}",
        tally.count(),
        start.elapsed(),
        tally.count() as f64 / start.elapsed().as_secs_f64(),
        tally.replies,
        tally.percentile(0.5),
        tally.percentile(0.99),
        tally.percentile(1.0),
    );
    assert_all_served(&tally);
    // Flat after it has warmed up: the last half is no higher than the first.
    let (warm, late) = memory.split_at(memory.len() / 2);
    let (warm, late) = (warm.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(*late < warm + (16 << 10), "{warm} KiB, then {late} KiB");
    let render = &server.health()["render"];
    assert_eq!(render["pictures"], 0);
}
