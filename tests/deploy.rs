//! Behind the web servers of the distribution, each with its configuration in `deploy/`: what arrives at the
//! client is what the host answers directly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::fastcgi::FastCgi;
use support::fixture::Images;
use support::image::assert_same;
use support::installed::Installed;
use support::picture::Picture;
use support::server::{command, free_port};
use support::web_server::{Deployed, WebServer, open_to_all, program};
use support::{Server, apache, built, lighttpd, nginx, wait};

/// One address of every kind a viewer asks; an identifier with an encoded slash, and answers that are none.
const TARGETS: [&str; 14] = [
    "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&OBJ=IIP,1.0&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number",
    "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0",
    "/fcgi-bin/iipsrv.fcgi?FIF=sub/photo.tif&WID=300&CVT=JPEG",
    "/fcgi-bin/iipsrv.fcgi?FIF=nothing.tif&JTL=0,0",
    "/iiif/3/photo.tif/full/max/0/default.jpg",
    "/iiif/2/photo.tif/full/200,/0/default.jpg",
    "/iiif/photo.tif/256,256,256,256/256,256/0/default.jpg",
    "/iiif/3/sub%2Fphoto.tif/0,0,100,100/max/0/default.png",
    "/iiif/3/odd%20%26%20%E2%82%AC%3F.tif/full/64,/0/default.jpg",
    "/iiif/3/nothing.tif/info.json",
    "/deepzoom/sub/photo.tif.dzi",
    "/deepzoom/photo.tif_files/10/1_1.jpg",
    "/zoomify/photo.tif/ImageProperties.xml",
    "/zoomify/photo.tif/TileGroup0/2-1-1.jpg",
];

const FIELDS: [&str; 7] = [
    "Content-Type",
    "Content-Length",
    "Cache-Control",
    "ETag",
    "Last-Modified",
    "Access-Control-Allow-Origin",
    "Content-Disposition",
];

/// The photo under a plain name, in a folder, and under a name that has to be encoded.
fn images() -> (Images, Picture) {
    let (images, photo) = Images::with_photo();
    let bytes = std::fs::read(images.path("photo.tif")).unwrap();
    images.write("sub/photo.tif", &bytes);
    images.write("odd & \u{20ac}?.tif", &bytes);
    open_to_all(images.folder());
    (images, photo)
}

/// A host for the images, asked directly for comparison.
fn fixture() -> (Images, Picture, Server) {
    let (images, photo) = images();
    let server = Server::start(images.folder());
    (images, photo, server)
}

/// Everything of `TARGETS`, the documents with addresses in them, methods, conditions and bodies pass through
/// a web server unchanged.
fn assert_passes_through(web: &WebServer, direct: &Server, photo: &Picture) {
    let client = web.client();
    for target in TARGETS {
        let (expected, through) = (direct.client().get(target), client.get(target));
        assert_eq!(through.status, expected.status, "{target}: {:?}", through.headers);
        assert_eq!(through.body, expected.body, "{target}");
        for name in FIELDS {
            assert_eq!(through.header(name), expected.header(name), "{target}: {name}");
        }
    }
    let shown = client
        .get("/iiif/3/sub%2Fphoto.tif/50,60,300,200/max/0/default.png")
        .picture();
    assert_same("behind a web server", &shown, &photo.crop(50, 60, 300, 200));

    let info = client.get("/iiif/3/sub%2Fphoto.tif/info.json").json();
    let id = format!("http://{}/iiif/3/sub%2Fphoto.tif", web.address());
    assert_eq!(info["id"], id, "the id is the address of the web server");
    let reply = client.get("/iiif/3/sub%2Fphoto.tif").expect(303);
    assert_eq!(reply.field("Location"), format!("{id}/info.json"));

    let tile = "/fcgi-bin/iipsrv.fcgi?FIF=photo.tif&JTL=3,0";
    let first = client.get(tile).expect(200);
    let head = client.request("HEAD", tile, &[]).expect(200);
    assert_eq!(head.field("Content-Length"), first.body.len().to_string());
    for (name, value) in [
        ("If-None-Match", first.field("ETag")),
        ("If-Modified-Since", first.field("Last-Modified")),
    ] {
        let reply = client.request("GET", tile, &[(name, value)]);
        assert_eq!(reply.status, 304, "{name}");
    }
    let changed = client.request("GET", tile, &[("If-None-Match", "\"other\"")]);
    assert_eq!(changed.expect(200).body, first.body);
    let posted = client.post("/fcgi-bin/iipsrv.fcgi", b"FIF=photo.tif&OBJ=Max-size");
    assert_eq!(posted.text(), "Max-size:1000 700\r\n");
    let long = format!("{tile}&{}", "x".repeat(3000));
    assert_eq!(client.get(&long).body, first.body, "a long query");
    assert_eq!(web.complaints(), "");
}

/// Many requests at a time, some of them for the same picture.
fn assert_serves_many(web: &WebServer, direct: &Server) {
    let client = web.client();
    let expected: Vec<Vec<u8>> = (0..12)
        .map(|tile| direct.client().iip(&format!("FIF=photo.tif&JTL=3,{tile}")).body)
        .collect();
    let expected = &expected;
    std::thread::scope(|scope| {
        for first in 0..8usize {
            scope.spawn(move || {
                for n in 0..12 {
                    let tile = (first + n) % 12;
                    let reply = client.iip(&format!("FIF=photo.tif&JTL=3,{tile}"));
                    assert_eq!(reply.status, 200);
                    assert!(reply.body == expected[tile], "tile {tile}");
                }
            });
        }
    });
}

/// Processes that run a program, by their ids.
fn processes_of(program: &Path) -> Vec<i32> {
    let found = std::fs::read_dir("/proc").unwrap().flatten();
    found
        .filter(|entry| std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[test]
fn apache_with_mod_proxy_fcgi() {
    let (_images, photo, server) = fixture();
    let web = apache::proxy(server.fastcgi());
    assert_passes_through(&web, &server, &photo);
    assert_serves_many(&web, &server);
}

#[test]
fn apache_with_mod_fcgid_starts_the_host() {
    let (images, photo, server) = fixture();
    let installed = Installed::new();
    let web = apache::fcgid(&installed, images.folder());
    assert_passes_through(&web, &server, &photo);
    assert_serves_many(&web, &server);
    assert!(!processes_of(&installed.program()).is_empty());
    web.stop();
    wait::until("the host has ended with Apache", || {
        processes_of(&installed.program()).is_empty().then_some(())
    });
}

#[test]
fn lighttpd_with_a_host_of_its_own() {
    let (_images, photo, server) = fixture();
    let web = lighttpd::remote(server.fastcgi());
    assert_passes_through(&web, &server, &photo);
    assert_serves_many(&web, &server);
}

#[test]
fn lighttpd_starts_the_host() {
    let (images, photo, server) = fixture();
    let installed = Installed::new();
    let web = lighttpd::spawned(&installed, images.folder());
    assert_passes_through(&web, &server, &photo);
    assert_serves_many(&web, &server);
    assert_eq!(processes_of(&installed.program()).len(), 1, "one process for all");
    web.stop();
    wait::until("the host has ended with lighttpd", || {
        processes_of(&installed.program()).is_empty().then_some(())
    });
}

#[test]
fn nginx_in_front_of_one_host() {
    let (_images, photo, server) = fixture();
    let web = nginx::single(&server.fastcgi().to_string());
    assert_passes_through(&web, &server, &photo);
    assert_serves_many(&web, &server);
}

#[test]
fn nginx_sends_an_image_to_the_same_host_and_to_another_when_that_is_gone() {
    let (images, photo, first) = fixture();
    let mut second = Server::start(images.folder());
    let (one, two) = (first.fastcgi().to_string(), second.fastcgi().to_string());
    let web = nginx::cluster([&one, &two]);
    assert_passes_through(&web, &first, &photo);
    for number in 0..20 {
        std::fs::copy(images.path("photo.tif"), images.path(&format!("{number}.tif"))).unwrap();
    }
    let misses = |server: &Server| server.health()["cache"]["misses"].as_u64().unwrap();
    let mut busy = [0, 0];
    for number in 0..20 {
        let before = [misses(&first), misses(&second)];
        for target in [
            format!("/iiif/3/{number}.tif/full/100,/0/default.jpg"),
            format!("/iiif/2/{number}.tif/0,0,64,64/full/0/default.jpg"),
            format!("/iiif/{number}.tif/64,0,64,64/max/0/default.jpg"),
            format!("/fcgi-bin/iipsrv.fcgi?FIF={number}.tif&JTL=3,1"),
            format!("/fcgi-bin/iipsrv.fcgi?QLT=50&FIF={number}.tif&JTL=3,2"),
            format!("/deepzoom/{number}.tif_files/10/1_0.jpg"),
            format!("/zoomify/{number}.tif/TileGroup0/2-1-1.jpg"),
        ] {
            let _ = web.client().get(&target).picture();
        }
        let after = [misses(&first), misses(&second)];
        let asked = [after[0] - before[0], after[1] - before[1]];
        assert!(
            asked.contains(&0),
            "{number}.tif was asked of both hosts: {asked:?}"
        );
        busy[usize::from(asked[0] == 0)] += 1;
    }
    assert!(
        busy.iter().all(|&images| images >= 3),
        "images of each host: {busy:?}"
    );

    second.signal(Signal::TERM);
    assert_eq!(second.wait().code(), Some(0));
    for number in 0..20 {
        let target = format!("/iiif/3/{number}.tif/full/90,/0/default.jpg");
        assert_eq!(web.client().get(&target).picture().size(), (90, 63), "{target}");
    }
}

#[test]
fn spawn_fcgi_starts_several_processes_on_one_socket() {
    let (images, photo, direct) = fixture();
    let run = tempfile::tempdir().unwrap();
    let port = free_port();
    let (defaults, pids) = (run.path().join("defaults"), run.path().join("pids"));
    let text = format!(
        "IIPHOST={}\nLISTEN=127.0.0.1:{port}\nWORKERS=3\nPID_FILE={}\nFILESYSTEM_PREFIX={}/\n",
        built::host().display(),
        pids.display(),
        images.folder().display(),
    );
    std::fs::write(&defaults, text).unwrap();
    let status = Command::new(built::repository().join("deploy/spawn-fcgi/iiphost-spawn"))
        .arg(&defaults)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "spawn-fcgi is missing: make setup");
    let text = std::fs::read_to_string(&pids).unwrap();
    let ids: Vec<i32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let signal = |signal| {
        for &id in &ids {
            // One that has ended already is what is wanted.
            let _ = kill_process(Pid::from_raw(id).unwrap(), signal);
        }
    };
    let result = std::panic::catch_unwind(|| {
        assert_eq!(ids.len(), 3);
        let web = nginx::single(&format!("127.0.0.1:{port}"));
        assert_passes_through(&web, &direct, &photo);
        assert_serves_many(&web, &direct);
        // One of them may end without the others noticing.
        kill_process(Pid::from_raw(ids[0]).unwrap(), Signal::TERM).unwrap();
        wait::until("one process has ended", || {
            test_kill_process(Pid::from_raw(ids[0]).unwrap())
                .is_err()
                .then_some(())
        });
        for tile in 0..12 {
            let address = ([127, 0, 0, 1], port).into();
            let reply = FastCgi::tcp(address).iip(&format!("FIF=photo.tif&JTL=3,{tile}"));
            let _ = reply.picture();
        }
    });
    signal(Signal::TERM);
    wait::until("the processes have ended", || {
        let gone = |&id: &i32| test_kill_process(Pid::from_raw(id).unwrap()).is_err();
        ids.iter().all(gone).then_some(())
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The units with their paths replaced, in a folder.
fn units(program: &Path) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let here = program.display().to_string();
    let service = Deployed::read("systemd/iiphost.service").replace("/usr/local/bin/iiphost", &here, 1);
    // The users of the units exist where they were made by iiphost.sysusers and by a web server.
    let service =
        service
            .replace("User=iiphost", "User=daemon", 1)
            .replace("Group=iiphost", "Group=daemon", 1);
    let socket = Deployed::read("systemd/iiphost.socket")
        .replace("SocketUser=www-data", "SocketUser=daemon", 1)
        .replace("SocketGroup=www-data", "SocketGroup=daemon", 1);
    let paths = ["iiphost.service", "iiphost.socket"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], service.text()).unwrap();
    std::fs::write(&paths[1], socket.text()).unwrap();
    (folder, paths.to_vec())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let analyze = program("systemd-analyze");
    let (_folder, paths) = units(&built::host());
    let output = Command::new(&analyze)
        .args(["verify", "--man=no"])
        .args(&paths)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // It also reads the units these depend on; only what it says about ours counts.
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("iiphost")).collect();
    assert!(ours.is_empty(), "{ours:#?}");

    // 10.0 is a service without any protection, 0.0 one that cannot do anything.
    let output = Command::new(&analyze)
        .args(["security", "--offline=yes", "--threshold=20", "--no-pager"])
        .arg(&paths[0])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `ENV` of the container file is a configuration the host takes, and what it copies is there.
#[test]
fn the_container_file_fits_the_host() {
    let file = Deployed::read("container/Containerfile");
    let joined = file.text().replace("\\\n", " ");
    let lines: Vec<&str> = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let (images, _) = images();
    let mut check = command();
    let mut copied = 0;
    for line in &lines {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "ENV" => {
                let (name, value) = rest.split_once('=').unwrap();
                let value = value.replace("/images/", &format!("{}/", images.folder().display()));
                check.env(name, value);
            }
            "COPY" => {
                let build = built::host().parent().unwrap().to_owned();
                for source in rest
                    .split_whitespace()
                    .filter_map(|w| w.strip_prefix("/source/target/release/"))
                {
                    assert!(build.join(source).is_file(), "{source}");
                    copied += 1;
                }
            }
            "FROM" | "RUN" | "WORKDIR" | "VOLUME" | "EXPOSE" | "USER" | "STOPSIGNAL" | "ENTRYPOINT"
            | "CMD" => {}
            other => panic!("an instruction this test does not know: {other}"),
        }
    }
    assert_eq!(copied, 4, "the program and its modules");
    let output = check.arg("--check-config").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // The flags of CMD, with ports of this machine.
    let flags = lines.iter().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let flags: Vec<String> = serde_json::from_str(flags).unwrap();
    let flags: Vec<String> = flags
        .iter()
        .map(|flag| flag.replace(":8182", ":0").replace(":9000", ":0"))
        .collect();
    let mut child = command()
        .args(&flags)
        .env("FILESYSTEM_PREFIX", images.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("iiphost: http://"), "{line:?}");
}

#[test]
fn shell_scripts_are_sound() {
    let script = built::repository().join("deploy/spawn-fcgi/iiphost-spawn");
    let output = Command::new(program("sh"))
        .arg("-n")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn configurations_in_xml_are_well_formed() {
    let deploy = built::repository().join("deploy");
    let files = ["iis/web.config", "java/web.xml", "myserver/MIMEtypes.xml"].map(|name| deploy.join(name));
    let output = Command::new(program("python3"))
        .args([
            "-c",
            "import sys, xml.dom.minidom as m; [m.parse(p) for p in sys.argv[1:]]",
        ])
        .args(files)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
