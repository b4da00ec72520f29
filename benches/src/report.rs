//! The table, as it stands in the documentation.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::images::{HUGE_TILES, Images, JPEG};
use crate::load::{self, Manner};
use crate::rows::{Measured, Row, Sample};
use crate::servers::{Peer, Running};

/// Writes rows as they come.
pub(crate) struct Report;

impl Report {
    /// Names the machine and what is measured.
    ///
    /// # Errors
    /// When the host does not say its version.
    pub(crate) fn begin(host: &Path, peer: Option<&Peer>) -> anyhow::Result<Self> {
        let output = Command::new(host)
            .arg("--version")
            .output()
            .context("starting the host")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("Machine: {}, {cores} cores, {}.", processor(), kernel());
        println!("Host: {}.", String::from_utf8_lossy(&output.stdout).trim());
        match peer {
            Some(peer) => println!("Peer: {}, two processes on one socket.", peer.name),
            None => println!("Peer: not installed (Debian's iipimage-server), so not compared."),
        }
        println!();
        println!(
            "| Work | Server | Requests/s (min–max) | p50 ms | p99 ms | CPU s / 1,000 | Peak MB | Host is |"
        );
        println!("| --- | --- | --: | --: | --: | --: | --: | --: |");
        Ok(Self)
    }

    /// One row: a line a server.
    pub(crate) fn row(&mut self, row: &Row, measured: &Measured) {
        let host = line(&row.name, "host", &measured.host, None);
        let alike = measured.likeness.map(|db| format!(", pictures {db:.0} dB"));
        let ratio = |rate| Some(format!("{:.2} ×", host / rate));
        if !measured.peer.is_empty() {
            let peer = median(&measured.peer, |s| s.rate);
            let said = ratio(peer).map(|text| text + &alike.unwrap_or_default());
            line("", "peer", &measured.peer, said);
        }
        if !measured.responder.is_empty() {
            let floor = median(&measured.responder, |s| s.rate);
            line("", "floor: responder", &measured.responder, ratio(floor));
        }
        if let Some(codecs) = middle(
            measured
                .codecs
                .iter()
                .map(|time| time.as_secs_f64() * 1000.0)
                .collect(),
        ) {
            let used = median(&measured.host, |s| s.processor.as_secs_f64() * 1000.0);
            println!(
                "| | floor: codecs | | | | {codecs:.3} | | {:.2} × its CPU |",
                used / codecs
            );
        }
    }

    /// Time from the start of the host to its first reply, and the memory it has then.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start_up(&mut self, host: &Path, images: &Images, times: usize) -> anyhow::Result<()> {
        let (mut starts, mut memory) = (Vec::new(), 0);
        for _ in 0..times {
            let begin = Instant::now();
            let running = Running::host(host, &images.folder, &[])?;
            load::body(
                running.address,
                "/fcgi-bin/iipsrv.fcgi?IIIF=deflate.tif/info.json",
            )?;
            starts.push(begin.elapsed().as_secs_f64() * 1000.0);
            memory = memory.max(running.peak_memory());
        }
        let start = middle(starts).unwrap_or_default();
        println!(
            "\nStart with all modules to the first info.json: {start:.0} ms, {} MB.",
            memory / 1_000_000
        );
        Ok(())
    }

    /// Time to open a file of a hundred gigapixels and to describe it, and the memory it takes.
    ///
    /// # Errors
    /// When the host does not answer.
    pub(crate) fn huge(&mut self, host: &Path, images: &Images, times: usize) -> anyhow::Result<()> {
        let (mut opened, mut memory) = (Vec::new(), 0);
        for _ in 0..times {
            let running = Running::host(host, &images.folder, &[])?;
            let describe = |file| {
                let target = format!("/fcgi-bin/iipsrv.fcgi?IIIF={file}/info.json");
                load::body(running.address, &target)
            };
            // The module is loaded and the threads run.
            describe("soft.tif")?;
            let begin = Instant::now();
            describe("huge.tif")?;
            opened.push(begin.elapsed().as_secs_f64() * 1000.0);
            memory = memory.max(running.peak_memory());
        }
        println!(
            "\n{:.0} gigapixels, open and info.json: {:.1} ms, {} MB.",
            f64::from(HUGE_TILES * 256).powi(2) / 1e9,
            middle(opened).unwrap_or_default(),
            memory / 1_000_000
        );
        Ok(())
    }

    /// The last tile of a large JPEG beside `djpeg`, which decodes all of it.
    ///
    /// # Errors
    /// When one of them fails.
    pub(crate) fn jpeg_master(&mut self, host: &Path, images: &Images, times: usize) -> anyhow::Result<()> {
        let (mut first, mut next, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let last = JPEG.div_ceil(256).pow(2) - 1;
        let tile = |number| vec![format!("/fcgi-bin/iipsrv.fcgi?FIF=photo.jpg&JTL=5,{number}")];
        for _ in 0..times {
            let running = Running::host(host, &images.folder, &[("MAX_IMAGE_CACHE_SIZE", "0")])?;
            let one = Manner {
                clients: 1,
                reconnect: true,
                rate: None,
            };
            for (times, number) in [(&mut first, last), (&mut next, last - 1)] {
                times.push(
                    load::run(running.address, &[tile(number)], one)?
                        .time
                        .as_secs_f64()
                        * 1000.0,
                );
            }
            let begin = Instant::now();
            let status = Command::new("djpeg")
                .arg(images.path("photo.jpg"))
                .stdout(Stdio::null())
                .status();
            ensure!(status.context("starting djpeg")?.success(), "djpeg failed");
            whole.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        let [first, next, whole] = [first, next, whole].map(|times| middle(times).unwrap_or_default());
        println!(
            "\nJPEG of {JPEG}², tile at the bottom: {first:.1} ms the first time, {next:.1} ms then; djpeg, all of it: {whole:.0} ms."
        );
        Ok(())
    }
}

/// Prints a line; gives the median rate.
fn line(name: &str, server: &str, samples: &[Sample], ratio: Option<String>) -> f64 {
    let rate = median(samples, |s| s.rate);
    let (least, most) = samples.iter().fold((f64::MAX, 0_f64), |(least, most), s| {
        (least.min(s.rate), most.max(s.rate))
    });
    println!(
        "| {name} | {server} | {} ({}–{}) | {:.2} | {:.2} | {:.3} | {:.0} | {} |",
        plain(rate),
        plain(least),
        plain(most),
        median(samples, |s| s.middle.as_secs_f64() * 1000.0),
        median(samples, |s| s.slow.as_secs_f64() * 1000.0),
        median(samples, |s| s.processor.as_secs_f64() * 1000.0),
        median(samples, |s| s.memory as f64 / 1e6),
        ratio.unwrap_or_default(),
    );
    rate
}

fn plain(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    middle(samples.iter().map(of).collect()).unwrap_or_default()
}

/// The median.
pub(crate) fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or("unknown processor".into(), |(_, name)| name.to_owned())
}

fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", text.trim())
}
