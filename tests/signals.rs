//! Signals: stop, stop at once, reload.

use std::net::TcpStream;

use rustix::process::Signal;
use support::fixture::{Images, TiffFile};
use support::picture::Picture;
use support::server::Settings;
use support::{Server, wait};

fn working() -> (Images, Server) {
    let (images, _) = Images::with_photo();
    let tile = Picture::photograph(256, 256, 3, 5);
    images.add("work.tif", &TiffFile::repeated(&tile, 20, 20));
    let server = Server::start(images.folder());
    (images, server)
}

#[test]
fn a_stop_waits_for_running_requests() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_images, mut server) = working();
        let mut connection = server.client().connect();
        connection.send("GET", "/iiif/3/work.tif/full/64,/0/default.png", &[], b"");
        wait::until("the picture is being made", || {
            (server.health()["render"]["pictures"] == 1).then_some(())
        });
        server.signal(signal);
        assert_eq!(connection.receive("GET").picture().size(), (64, 64));
        assert_eq!(server.wait().code(), Some(0));
        assert!(TcpStream::connect(server.http()).is_err());
        assert!(!server.socket().exists(), "the socket is removed");
    }
}

#[test]
fn an_idle_host_stops_at_once() {
    let (_images, mut server) = working();
    // A client that says nothing is no reason to wait.
    let _idle = (server.client().connect(), server.fastcgi_client());
    let start = std::time::Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn a_second_signal_stops_without_waiting() {
    let (images, _) = Images::with_photo();
    images.write("never.scr", b"probe: exact\nread: wait\n");
    let mut server = Settings::new(images.folder())
        .with(
            "DECODER_MODULES",
            support::built::example_module("module_scripted"),
        )
        .start();
    let mut connection = server.client().connect();
    connection.send("GET", "/iiif/3/never.scr/full/32,/0/default.jpg", &[], b"");
    wait::until("the picture is being made", || {
        (server.health()["render"]["pictures"] == 1).then_some(())
    });
    server.signal(Signal::TERM);
    wait::until("the first signal is seen", || {
        TcpStream::connect(server.http()).is_err().then_some(())
    });
    assert!(server.is_alive(), "it waits for the request");
    server.signal(Signal::TERM);
    let start = std::time::Instant::now();
    let _ = server.wait();
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn a_reload_empties_the_caches_and_interrupts_nobody() {
    let (_images, server) = working();
    let client = server.client();
    let mut connection = client.connect();
    let first = client.iip("FIF=photo.tif&JTL=3,0").expect(200);
    connection.send("GET", "/iiif/3/work.tif/full/64,/0/default.png", &[], b"");
    wait::until("the picture is being made", || {
        (server.health()["render"]["pictures"] == 1).then_some(())
    });
    assert!(server.health()["cache"]["bytes"].as_u64() > Some(0));
    server.signal(Signal::HUP);
    wait::until("the caches are empty", || {
        (server.log().contains("caches emptied")).then_some(())
    });
    assert_eq!(connection.receive("GET").picture().size(), (64, 64));
    let hits = server.health()["cache"]["hits"].clone();
    assert_eq!(client.iip("FIF=photo.tif&JTL=3,0").body, first.body);
    assert_eq!(server.health()["cache"]["hits"], hits, "the tile was made anew");
}

#[test]
fn a_reload_opens_the_log_file_anew() {
    let (images, _) = Images::with_photo();
    let (log, old) = (images.path("host.log"), images.path("host.log.1"));
    // The start is told on the log, so this host is waited for by asking it.
    let port = support::server::free_port();
    let mut child = support::server::command()
        .arg(images.folder())
        .args(["--http", &format!("127.0.0.1:{port}")])
        .env("LOGFILE", &log)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    wait::until("the host has started", || {
        read(&log).contains("started").then_some(())
    });
    std::fs::rename(&log, &old).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    wait::until("there is a new log file", || log.exists().then_some(()));
    let client = support::client::Client::new(([127, 0, 0, 1], port).into());
    let _ = client.get("/health").expect(200);
    wait::until("the request is in the new file", || {
        read(&log).contains("/health").then_some(())
    });
    assert!(!read(&old).contains("/health"));
    child.kill().unwrap();
    child.wait().unwrap();
}
