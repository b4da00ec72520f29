//! Sockets that a service manager opens and hands over, and what the host tells the manager.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::built;
use support::client::Client;
use support::fastcgi::FastCgi;
use support::fixture::Images;
use support::server::{command, free_port};
use support::wait;
use support::web_server::{Deployed, program};

const TILE: &str = "FIF=photo.tif&JTL=3,0";

/// Starts the host with one socket handed over, under the process id and the number given.
fn start(images: &Path, socket: impl Into<OwnedFd>, id: &str, count: &str, name: &str) -> Child {
    // Only a shell can put a socket at descriptor 3 and know the id of the process that follows it.
    let script = format!("exec 3<&0 0</dev/null; LISTEN_PID={id} LISTEN_FDS={count} exec \"$0\" \"$@\"");
    Command::new(program("sh"))
        .arg("-c")
        .arg(script)
        .arg(built::host())
        .env("FILESYSTEM_PREFIX", images)
        .env("LISTEN_FDNAMES", name)
        .stdin(Stdio::from(socket.into()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a host says that does not start.
fn refusal(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn end(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn requests_wait_while_the_host_restarts() {
    let (images, _) = Images::with_photo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let first = start(images.folder(), listener.try_clone().unwrap(), "$$", "1", "");
    let tile = FastCgi::tcp(address).iip(TILE).expect(200);
    end(first);
    // Nobody serves now; the connection is taken all the same.
    let waiting = std::thread::spawn(move || FastCgi::tcp(address).iip(TILE));
    let second = start(images.folder(), listener, "$$", "1", "");
    assert_eq!(waiting.join().unwrap().expect(200).body, tile.body);
    end(second);
}

#[test]
fn a_unix_socket_that_was_handed_over_is_left_to_its_owner() {
    let (images, _) = Images::with_photo();
    let path = images.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let host = start(images.folder(), listener, "$$", "1", "fastcgi");
    let _ = FastCgi::unix(&path).iip(TILE).picture();
    end(host);
    assert!(path.exists());
}

#[test]
fn http_is_spoken_on_a_socket_of_that_name() {
    let (images, _) = Images::with_photo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let host = start(images.folder(), listener, "$$", "1", "http");
    let _ = client.iip(TILE).picture();
    let _ = client.get("/health").expect(200);
    end(host);
}

#[test]
fn sockets_of_another_process_are_not_taken() {
    let (images, _) = Images::with_photo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = refusal(start(images.folder(), listener, "1", "1", ""));
    assert!(
        told.contains("file descriptor 0 is not a listening socket"),
        "{told}"
    );
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let (images, _) = Images::with_photo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let file = std::fs::File::open(images.path("photo.tif")).unwrap();
    for (told, expected) in [
        (
            refusal(start(images.folder(), file, "$$", "1", "")),
            "socket 1 of 1 is no stream socket",
        ),
        (
            refusal(start(images.folder(), client, "$$", "1", "")),
            "socket 1 of 1 does not listen",
        ),
        (
            refusal(start(
                images.folder(),
                listener.try_clone().unwrap(),
                "$$",
                "99999999999",
                "",
            )),
            "LISTEN_FDS is \"99999999999\"",
        ),
        (
            refusal(start(images.folder(), listener, "$$", "some", "")),
            "LISTEN_FDS is \"some\"",
        ),
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
}

#[test]
fn systemd_hands_over_several_sockets() {
    let (images, _) = Images::with_photo();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("fastcgi.sock");
    let [fastcgi, http] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    // The command of the unit, with the configuration it comes with but for the address that is left out.
    let config = folder.path().join("iiphost.toml");
    let text = Deployed::read("iiphost.toml")
        .replace("\nbind = ", "\n#bind = ", 1)
        .replace("/srv/images", &images.folder().display().to_string(), 1);
    std::fs::write(&config, text.text()).unwrap();
    let unit = Deployed::read("systemd/iiphost.service")
        .replace("/usr/local/bin/iiphost", &built::host().display().to_string(), 1)
        .replace(
            "--config /etc/iiphost/iiphost.toml",
            &format!("--config {}", config.display()),
            1,
        );
    let started = unit
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let mut child = Command::new(program("systemd-socket-activate"))
        .arg(format!("--listen={}", socket.display()))
        .arg(format!("--listen={fastcgi}"))
        .arg(format!("--listen={http}"))
        .arg("--fdname=fastcgi:iiphost.socket:http")
        .args(started.unwrap().split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("systemd-socket-activate listens", || {
        std::net::TcpStream::connect(http).ok().map(drop)
    });
    let expected = Client::new(http).iip(TILE).expect(200).body;
    assert_eq!(FastCgi::unix(&socket).iip(TILE).expect(200).body, expected);
    assert_eq!(FastCgi::tcp(fastcgi).iip(TILE).expect(200).body, expected);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_manager_is_told_when_requests_are_answered() {
    let (images, _) = Images::with_photo();
    let path = images.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let port = free_port();
    let host = command()
        .arg(images.folder())
        .args(["--http", &format!("127.0.0.1:{port}")])
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut state = [0; 64];
    let length = manager.recv(&mut state).expect("the host tells its state");
    assert_eq!(&state[..length], b"READY=1");
    let _ = Client::new(([127, 0, 0, 1], port).into()).iip(TILE).picture();
    end(host);
}
