//! What the person sees who runs the host: measurements, health, commands, and a log that holds up nobody.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use support::client::Client;
use support::fixture::Images;
use support::server::{Settings, command, free_port};
use support::{Server, built, wait};

const TILE: &str = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0";
const PICTURE: &str = "/iiif/3/photo.tif/full/300,/0/default.jpg";

fn metrics(server: &Server) -> String {
    let reply = server.client().get("/metrics").expect(200);
    assert_eq!(
        reply.field("Content-Type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(reply.field("Cache-Control"), "no-cache");
    String::from_utf8(reply.body).unwrap()
}

/// The value of a sample, by its name and labels as written.
fn sample(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

#[test]
fn measurements_count_what_happened() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    let etag = client.get(TILE).expect(200).field("ETag").to_owned();
    let _ = client.get(TILE).expect(200);
    let _ = client
        .request("GET", TILE, &[("If-None-Match", &etag)])
        .expect(304);
    let _ = client.get(PICTURE).expect(200);
    let _ = client.get("/iiif/3/nothing.tif/info.json").expect(404);
    let _ = client.get("/deepzoom/photo.tif.dzi").expect(200);
    let text = metrics(&server);
    for (name, value) in [
        ("iiphost_requests_total{protocol=\"iip\",status=\"200\"}", 2.0),
        ("iiphost_requests_total{protocol=\"iip\",status=\"304\"}", 1.0),
        ("iiphost_requests_total{protocol=\"iiif\",status=\"200\"}", 1.0),
        ("iiphost_requests_total{protocol=\"iiif\",status=\"404\"}", 1.0),
        (
            "iiphost_requests_total{protocol=\"deepzoom\",status=\"200\"}",
            1.0,
        ),
        ("iiphost_request_duration_seconds_count{protocol=\"iip\"}", 3.0),
        (
            "iiphost_request_duration_seconds_bucket{protocol=\"iip\",le=\"+Inf\"}",
            3.0,
        ),
        ("iiphost_pictures_total{origin=\"made\"}", 2.0),
        ("iiphost_pictures_total{origin=\"memory\"}", 1.0),
        ("iiphost_pictures_total{origin=\"not_modified\"}", 1.0),
        ("iiphost_open_images", 1.0),
        ("iiphost_render_queue_jobs{kind=\"tile\"}", 0.0),
        ("iiphost_module_faults_total{module=\"tiff\",kind=\"panic\"}", 0.0),
        ("iiphost_module_calls_total{module=\"tiff\",call=\"open\"}", 1.0),
        ("iiphost_log_lines_lost_total", 0.0),
        ("iiphost_connections_limit", 4096.0),
    ] {
        assert_eq!(sample(&text, name), value, "{name}");
    }
    assert!(sample(&text, "iiphost_cache_bytes") > 1000.0);
    assert!(sample(&text, "process_resident_memory_bytes") > 1e6);
    assert!(sample(&text, "process_open_fds") > 5.0);
    assert!(text.contains("iiphost_module_ready{module=\"tiff\","));
}

/// The public parser of the format, from the package for the system's Python; it refuses what Prometheus would.
#[test]
fn measurements_are_what_prometheus_reads() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let _ = server.client().get(PICTURE).expect(200);
    let text = metrics(&server);
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\n\
        assert all(f.documentation and f.type != 'unknown' for f in families)\n\
        for f in families:\n\
        \x20   keys = [(s.name, tuple(sorted(s.labels.items()))) for s in f.samples]\n\
        \x20   assert keys and len(keys) == len(set(keys)), f.name\n\
        print(len(families))\n";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the python3 of the system can be started: make setup");
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let families: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    assert!(families >= 25, "{families}");
}

#[test]
fn health_tells_alive_from_ready() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let client = server.client();
    assert_eq!(client.get("/health/live").expect(200).body, b"alive\n");
    assert_eq!(client.get("/health/ready").expect(200).body, b"ready\n");
    let health = server.health();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["modules"].as_array().unwrap().len(), 3);
    // Without its images a server is alive, but of no use.
    std::fs::remove_dir_all(images.folder()).unwrap();
    assert_eq!(client.get("/health/live").status, 200);
    let reply = client.get("/health/ready").expect(503);
    assert_eq!(
        reply.body,
        b"the folder of images is gone or another one; restart the host when it is there\n"
    );
    std::fs::create_dir(images.folder()).unwrap();
}

#[test]
fn server_timing_is_told_when_asked_for() {
    let (images, _) = Images::with_photo();
    let silent = Server::start(images.folder());
    assert_eq!(silent.client().get(TILE).header("Server-Timing"), None);
    let server = Settings::new(images.folder()).with("SERVER_TIMING", "1").start();
    for origin in ["made", "memory"] {
        let reply = server.client().get(TILE).expect(200);
        let timing = reply.field("Server-Timing").to_owned();
        assert!(
            timing.starts_with(&format!("origin;desc={origin}, queue;dur=")),
            "{timing}"
        );
        for metric in timing.split(", ").skip(1) {
            let (_, millis) = metric.split_once(";dur=").unwrap();
            assert!(
                (0.0..60_000.0).contains(&millis.parse::<f64>().unwrap()),
                "{timing}"
            );
        }
    }
}

#[test]
fn status_and_purge_reach_a_running_server_and_only_its_owner() {
    let (images, _) = Images::with_photo();
    let socket = images.path("admin.sock");
    let server = Settings::new(images.folder())
        .with("ADMIN_SOCKET", socket.as_os_str())
        .start();
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let run = |arguments: &[&str]| {
        let output = command()
            .args(arguments)
            .env("ADMIN_SOCKET", &socket)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            text,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let body = server.client().get(TILE).expect(200).body;
    let (code, text, _) = run(&["status"]);
    assert_eq!(code, Some(0));
    for line in [
        "status: ok",
        "open_images: 1",
        "modules: tiff ",
        "render.waiting: 0",
        "trouble: none",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let (_, json, _) = run(&["status", "--json"]);
    let state: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(state["open_images"], 1);
    let (code, text, _) = run(&["purge", "/photo.tif", "nothing.tif"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        text,
        "/photo.tif: 1 images closed, 1 pictures dropped\nnothing.tif: 0 images closed, 0 pictures dropped\n"
    );
    assert_eq!(server.health()["open_images"], 0);
    assert_eq!(server.client().get(TILE).expect(200).body, body);
    let (code, _, error) = run(&["purge", "../secret"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("../secret"), "{error}");
    drop(server);
    let (code, _, error) = run(&["status"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no server answers"), "{error}");
}

/// A host whose log goes to a pipe, and the pipe.
fn logging_to_a_pipe(images: &Images, log_file: Option<&str>) -> (std::process::Child, Client) {
    let port = free_port();
    let mut host = command();
    host.arg(images.folder())
        .args(["--http", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(path) = log_file {
        host.env("LOGFILE", path);
    }
    let child = host.spawn().unwrap();
    wait::until("the host answers", || {
        std::net::TcpStream::connect(("127.0.0.1", port))
            .is_ok()
            .then_some(())
    });
    (child, Client::new(([127, 0, 0, 1], port).into()))
}

#[test]
fn a_log_that_nobody_reads_stops_no_request_and_its_losses_are_counted() {
    let (images, _) = Images::with_photo();
    let (mut child, client) = logging_to_a_pipe(&images, None);
    let mut connection = client.connect();
    // Lines of a thousand bytes: a pipe holds 64 of them, the buffer four thousand.
    let long = format!("/iiif/3/{}/info.json", "x".repeat(1000));
    let lost = || {
        client.get("/health").expect(200).json()["log_lines_lost"]
            .as_u64()
            .unwrap()
    };
    for _ in 0..6000 {
        assert_eq!(connection.get(&long).status, 404);
    }
    let lost = lost();
    assert!(lost > 0);
    // Whoever reads at last is told, even if the host is ending and has more to write than there is room for.
    support::server::terminate(&child);
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let end = &text[text.len().saturating_sub(2000)..];
    assert!(text.ends_with(" stopped\n"), "{end}");
    let told: u64 = text
        .lines()
        .filter(|line| line.contains("lines of the log are lost"))
        .map(|line| line.rsplit_once('=').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert!(told >= lost, "{told} of {lost} losses are told: {end}");
}

#[test]
fn a_full_disk_under_the_log_stops_no_request() {
    let (images, _) = Images::with_photo();
    let (mut child, client) = logging_to_a_pipe(&images, Some("/dev/full"));
    for _ in 0..50 {
        let _ = client.get(TILE).expect(200);
    }
    wait::until("the losses are counted", || {
        let lost = client.get("/health").expect(200).json()["log_lines_lost"].as_u64();
        (lost >= Some(50)).then_some(())
    });
    support::server::terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn new_images_come_into_the_gallery_soon() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let list = || server.client().get("/images.json").expect(200).json()["images"].clone();
    assert_eq!(list(), serde_json::json!(["photo.tif"]));
    images.write("more.tif", &std::fs::read(images.path("photo.tif")).unwrap());
    wait::until("the new image is listed", || {
        (list() == serde_json::json!(["more.tif", "photo.tif"])).then_some(())
    });
}

#[test]
fn lines_of_the_log_can_be_json() {
    let (images, _) = Images::with_photo();
    let server = Settings::new(images.folder()).with("LOG_JSON", "1").start();
    let _ = server.client().get(TILE).expect(200);
    let line = wait::until("the request is logged", || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("JTL=3,0"));
        line.map(str::to_owned)
    });
    let access: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&access["status"], &access["target"]),
        (&200.into(), &"access".into())
    );
    assert!(access["bytes"].as_u64() > Some(100) && access["micros"].is_u64());
    assert_eq!(access["message"], format!("GET {TILE}"));
    for line in server.settled_log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn a_picture_whose_profile_could_not_be_read_is_not_kept() {
    let (images, _) = Images::with_photo();
    images.write("sick.scr", b"probe: exact\nmetadata: i/o\n");
    let server = Settings::new(images.folder())
        .with("DECODER_MODULES", built::example_module("module_scripted"))
        .start();
    for _ in 0..2 {
        let _ = server
            .client()
            .get("/iiif/3/sick.scr/full/30,/0/default.png")
            .expect(200);
    }
    let text = metrics(&server);
    assert_eq!(sample(&text, "iiphost_pictures_total{origin=\"made\"}"), 2.0);
    let failures = "iiphost_module_failures_total{module=\"scripted\",call=\"metadata\"}";
    assert!(sample(&text, failures) >= 1.0);
}
