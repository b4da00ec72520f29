//! Figures, not verdicts: the same mixed load on this host and on the iipsrv of the distribution, in turns, with
//! `cargo test --release -p iiphost-tests --test blackbox -- --ignored --nocapture figures` after a release build.
//! `FIGURES_PEER` is the program to compare with, `FIGURES_SECONDS` the length of a turn, `FIGURES_CLIENTS` how
//! many ask.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::built;
use support::fixture::{Images, Layout, TiffFile};
use support::load::{self, Expected, Outcome, Tally, Transport};
use support::picture::Picture;
use support::wait;

const TURNS: usize = 3;

/// Requests of a viewer session with some exports: every kind both servers know.
fn work() -> Vec<Expected> {
    let endpoint = "/fcgi-bin/iipsrv.fcgi";
    let tile = |tile: usize| format!("{endpoint}?FIF=large.tif&JTL=4,{tile}");
    let mut targets: Vec<String> = (0..96).map(tile).collect();
    targets.extend((0..60).map(|n| {
        let (x, y) = (n % 10, n / 10);
        format!(
            "{endpoint}?FIF=large.tif&RGN=0.0{x},0.0{y},0.5,0.5&WID={}&CVT=JPEG",
            400 + n
        )
    }));
    for _ in 0..10 {
        targets.push(format!(
            "{endpoint}?FIF=large.tif&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number"
        ));
        targets.push(format!("{endpoint}?FIF=nothing.tif&JTL=0,0"));
    }
    targets
        .into_iter()
        .map(|target| Expected {
            status: if target.contains("nothing") { 404 } else { 200 },
            body: None,
            target,
        })
        .collect()
}

/// Processes that share one listening socket, and where it is.
struct Running {
    address: SocketAddr,
    processes: Vec<Child>,
}

impl Running {
    fn start(images: &Images, program: &std::path::Path, count: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let processes = (0..count)
            .map(|_| {
                Command::new(program)
                    .env_clear()
                    .env("FILESYSTEM_PREFIX", format!("{}/", images.folder().display()))
                    .env("MAX_IMAGE_CACHE_SIZE", "10")
                    .env("VERBOSITY", "0")
                    .env("LOGFILE", "/dev/null")
                    .env("MEMCACHED_SERVERS", "")
                    .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let running = Self { address, processes };
        wait::until("the server answers", || {
            let reply = load::ask(
                Transport::FastCgi(address),
                "/fcgi-bin/iipsrv.fcgi?FIF=large.tif&OBJ=Max-size",
            );
            matches!(reply, Outcome::Reply(reply) if reply.status == 200).then_some(())
        });
        running
    }

    /// Resident memory of all processes in KiB.
    fn memory(&self) -> u64 {
        let of = |child: &Child| {
            let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        self.processes.iter().filter_map(of).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn turn(running: &Running, work: &[Expected], clients: usize, length: Duration) -> (Tally, f64) {
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let transports = [Transport::FastCgi(running.address)];
    let tally = std::thread::scope(|scope| {
        let asking = scope.spawn(|| load::run(&transports, work, clients, &stop));
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    let rate = tally.count() as f64 / start.elapsed().as_secs_f64();
    (tally, rate)
}

#[test]
#[ignore = "a measurement"]
fn figures_beside_another_server() {
    let peer =
        std::env::var("FIGURES_PEER").unwrap_or_else(|_| "/usr/lib/iipimage-server/iipsrv.fcgi".into());
    let seconds = std::env::var("FIGURES_SECONDS").map_or(10, |text| text.parse().unwrap());
    let clients = std::env::var("FIGURES_CLIENTS").map_or(64, |text| text.parse().unwrap());
    let images = Images::new();
    let picture = Picture::photograph(3000, 2000, 3, 7);
    let layout = Layout {
        levels: 5,
        ..Layout::default()
    };
    images.add("large.tif", &TiffFile::pyramid(&picture, layout));
    let work = work();
    let host = built::host();
    for number in 0..TURNS {
        for (name, program, processes) in [("iiphost", host.as_path(), 1), ("peer", peer.as_ref(), 2)] {
            let running = Running::start(&images, program, processes);
            let (tally, rate) = turn(&running, &work, clients, Duration::from_secs(seconds));
            println!(
                "{number} {name}: {rate:.0}/s, half within {:?}, 99 % within {:?}, all within {:?}, {:?}, {} refused, {} wrong, {} KiB",
                tally.percentile(0.5),
                tally.percentile(0.99),
                tally.percentile(1.0),
                tally.replies,
                tally.refused,
                tally.mistakes.len(),
                running.memory(),
            );
        }
    }
}
