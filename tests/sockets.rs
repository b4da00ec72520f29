//! Listening sockets as the settings say: permissions, files that are left over, backlog, allowed web servers.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use support::fastcgi::{FastCgi, get};
use support::fixture::Images;
use support::server::{Settings, command, run};
use support::wait;

const OBJECT: &str = "FIF=photo.tif&OBJ=Max-size";

#[test]
fn a_unix_socket_has_the_permissions_that_are_set() {
    let (images, _) = Images::with_photo();
    for (mode, bits) in [("600", 0o600), ("0666", 0o666)] {
        let server = Settings::new(images.folder()).with("SOCKET_MODE", mode).start();
        let found = std::fs::metadata(server.socket()).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, bits, "SOCKET_MODE={mode}");
        let _ = FastCgi::unix(&server.socket()).iip(OBJECT).expect(200);
    }
}

#[test]
fn a_socket_that_a_killed_host_left_is_replaced_and_one_in_use_is_not() {
    let (images, _) = Images::with_photo();
    let path = images.path("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err(), "nobody listens");
    let mut host = command()
        .arg("--bind")
        .arg(&path)
        .env("FILESYSTEM_PREFIX", images.folder())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the host listens", || UnixStream::connect(&path).ok().map(drop));
    let _ = FastCgi::unix(&path).iip(OBJECT).expect(200);
    let second = run(["--bind".into(), path.clone().into_os_string()], &[]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("another server answers there"), "{told}");
    let _ = FastCgi::unix(&path).iip(OBJECT).expect(200);
    host.kill().unwrap();
    host.wait().unwrap();
}

#[test]
fn only_web_servers_that_are_named_may_connect() {
    let (images, _) = Images::with_photo();
    let asked = |server: &support::Server| {
        let mut client = server.fastcgi_client();
        // A host that has hung up already is what may be expected.
        let _ = client.try_send(&get(1, &format!("/fcgi-bin/iipsrv.fcgi?{OBJECT}"), false));
        client.receive().is_some()
    };
    for (addresses, answers) in [("192.0.2.1", false), ("192.0.2.1, 127.0.0.1", true), ("", true)] {
        let server = Settings::new(images.folder())
            .with("FCGI_WEB_SERVER_ADDRS", addresses)
            .start();
        assert_eq!(asked(&server), answers, "FCGI_WEB_SERVER_ADDRS={addresses}");
        // A UNIX socket has its permissions, and HTTP is for everybody.
        let _ = FastCgi::unix(&server.socket()).iip(OBJECT).expect(200);
        let _ = server.client().iip(OBJECT).expect(200);
    }
}

#[test]
fn as_many_connections_wait_as_the_backlog_says() {
    let (images, _) = Images::with_photo();
    for backlog in [1, 5_usize] {
        let mut server = Settings::new(images.folder())
            .with("BACKLOG", backlog.to_string())
            .start();
        // What the start left behind is taken before what comes after it, so the queue is empty once this is
        // answered. A process that is stopped takes no connection; the system keeps one more than it was told.
        let _ = server.client().get("/health/live").expect(200);
        server.pause();
        let connect = || TcpStream::connect_timeout(&server.http(), Duration::from_millis(300)).ok();
        let held: Vec<TcpStream> = std::iter::from_fn(connect).take(20).collect();
        let count = held.len();
        server.signal(Signal::CONT);
        assert!(
            (backlog..=backlog + 1).contains(&count),
            "{count} wait with BACKLOG={backlog}"
        );
        drop(held);
        assert!(server.is_alive());
    }
}
