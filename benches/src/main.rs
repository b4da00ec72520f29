//! Measures the host beside Debian's `iipimage-server` and beside the floor, in one run on one machine.
//!
//! Every row asks all of them for the same pictures, in turn, several times; the medians are compared. Nothing
//! here passes or fails by its speed, but a reply that is wrong ends the run.

mod codecs;
mod floor;
mod images;
mod load;
mod report;
mod rows;
mod servers;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Parser as _;

use crate::images::Images;
use crate::report::Report;
use crate::rows::Row;
use crate::servers::Peer;

/// Prints the table of `docs/performance.md`.
#[derive(clap::Parser)]
struct Arguments {
    /// The host to measure
    #[arg(long, value_name = "PATH")]
    host: PathBuf,
    /// Folder of the pictures, made there if missing
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Times every row is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    times: usize,
    /// Share of the requests of every row, for a quick look
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    share: f64,
    /// Only rows whose name contains one of these
    #[arg(value_name = "NAME")]
    only: Vec<String>,
}

/// The name of the table of compressions among those of rows.
const CODEC_TABLE: &str = "TIFF codecs";

fn main() -> anyhow::Result<()> {
    // The measure of the floor is this program, too, started once more.
    if let [_, word, address, length] = &std::env::args().collect::<Vec<_>>()[..]
        && word == "floor"
    {
        return floor::serve(address, length.parse()?);
    }
    let arguments = Arguments::parse();
    ensure!(arguments.times > 0, "--times has to be 1 or more");
    let images = Images::prepare(&arguments.host, &arguments.images)?;
    let is_asked = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(only.as_str()))
    };
    let chosen: Vec<Row> = rows::all(&images)
        .into_iter()
        .filter(|row| is_asked(&row.name))
        .collect();
    ensure!(
        !chosen.is_empty() || is_asked(CODEC_TABLE),
        "no row has such a name"
    );
    let peer = Peer::find();
    let mut report = Report::begin(&arguments.host, peer.as_ref())?;
    for row in &chosen {
        let result = row
            .measure(
                &arguments.host,
                peer.as_ref(),
                &images,
                arguments.times,
                arguments.share,
            )
            .with_context(|| format!("row {:?}", row.name))?;
        report.row(row, &result);
    }
    if is_asked(CODEC_TABLE) {
        codecs::table(&arguments.host, peer.as_ref(), &images, arguments.times)?;
    }
    if arguments.only.is_empty() {
        report.start_up(&arguments.host, &images, arguments.times)?;
        report.huge(&arguments.host, &images, arguments.times)?;
        report.jpeg_master(&arguments.host, &images, arguments.times)?;
    }
    Ok(())
}
