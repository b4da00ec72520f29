//! What is measured: one row a kind of work.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use iiphost::limits::Size;
use support::image::psnr;
use support::picture::Picture;

use crate::floor;
use crate::images::{Images, JP2, JPEG, SIDE, SOFT_SIDE};
use crate::load::{self, Manner, Outcome};
use crate::servers::{Peer, Running};

/// One kind of work.
pub(crate) struct Row {
    /// What it is called in the table.
    pub(crate) name: String,
    variables: Vec<(&'static str, &'static str)>,
    /// Whether everything is asked once before it is measured.
    warm: bool,
    manner: Manner,
    bursts: Vec<Vec<String>>,
    floor: Floor,
    /// Whether the peer can do it: iipsrv 1.1 has no commands for other formats than JPEG, and ends when it shades.
    peer: bool,
}

enum Floor {
    None,
    /// A responder that writes as many bytes.
    Responder,
    /// Inflate, predictor and JPEG encoder, one tile after the other, of this file.
    Deflate(&'static str),
    /// The same for the tiles of the regions of [`corners`], which are resized between.
    Region,
}

/// One server, one row, one time.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Median time of a burst.
    pub(crate) middle: Duration,
    /// 99th percentile.
    pub(crate) slow: Duration,
    /// Processor time a request.
    pub(crate) processor: Duration,
    /// Peak memory in bytes.
    pub(crate) memory: u64,
}

/// All that was measured of a row.
#[derive(Default)]
pub(crate) struct Measured {
    /// The host.
    pub(crate) host: Vec<Sample>,
    /// The peer.
    pub(crate) peer: Vec<Sample>,
    /// The responder.
    pub(crate) responder: Vec<Sample>,
    /// Processor time of the codecs alone.
    pub(crate) codecs: Vec<Duration>,
    /// How far the pictures of host and peer are apart in dB, where they have one size.
    pub(crate) likeness: Option<f64>,
}

const WAIT: Manner = Manner {
    clients: 4,
    reconnect: true,
    rate: None,
};
const KEEP: Manner = Manner {
    reconnect: false,
    ..WAIT
};
const ONE: Manner = Manner { clients: 1, ..WAIT };
const COLD: &[(&str, &str)] = &[("MAX_IMAGE_CACHE_SIZE", "0")];

impl Row {
    fn new(name: &str, manner: Manner, bursts: Vec<Vec<String>>) -> Self {
        Self {
            name: name.to_owned(),
            variables: Vec::new(),
            warm: false,
            manner,
            bursts,
            floor: Floor::None,
            peer: true,
        }
    }

    fn cold(name: &str, manner: Manner, bursts: Vec<Vec<String>>) -> Self {
        Self {
            variables: COLD.to_vec(),
            ..Self::new(name, manner, bursts)
        }
    }

    /// All tiles of a TIFF file as JPEG, by one client.
    pub(crate) fn codec(file: &str, side: u32, peer: bool) -> Self {
        Self {
            peer,
            ..Self::cold(file, ONE, tiles(file, side, side, "JTL=TILE"))
        }
    }

    fn warm(self) -> Self {
        Self { warm: true, ..self }
    }

    fn floor(self, floor: Floor) -> Self {
        Self { floor, ..self }
    }

    fn alone(self) -> Self {
        Self { peer: false, ..self }
    }

    /// Measures host, peer and floor in turn, `times` times.
    ///
    /// # Errors
    /// When a server does not start or answers wrongly.
    pub(crate) fn measure(
        &self,
        host: &Path,
        peer: Option<&Peer>,
        images: &Images,
        times: usize,
        share: f64,
    ) -> anyhow::Result<Measured> {
        let count = ((self.bursts.len() as f64 * share) as usize).clamp(1, self.bursts.len());
        let bursts = &self.bursts[..count];
        let peer = peer.filter(|_| self.peer);
        let mut measured = Measured::default();
        for time in 0..times {
            let running = Running::host(host, &images.folder, &self.variables)?;
            let (sample, outcome) = self.one(&running, bursts).context("the host")?;
            measured.host.push(sample);
            if let Some(peer) = peer {
                let other = Running::peer(peer, &images.folder, &self.variables)?;
                measured
                    .peer
                    .push(self.one(&other, bursts).context("the peer")?.0);
                if time == 0 {
                    measured.likeness = self.likeness(&running, &other)?;
                }
            }
            drop(running);
            match self.floor {
                Floor::None => {}
                Floor::Responder => {
                    let all: usize = outcome.lengths.values().sum();
                    let length = all / outcome.lengths.len().max(1);
                    let responder = Running::floor(&std::env::current_exe()?, length)?;
                    measured
                        .responder
                        .push(self.one(&responder, bursts).context("the floor")?.0);
                }
                Floor::Deflate(file) => measured.codecs.push(floor::deflate_tile(&images.path(file))?),
                Floor::Region => measured.codecs.push(floor::deflate_region(
                    &images.path("deflate.tif"),
                    &corners(count.min(20) as u32),
                    Size::new(2000, 1500),
                    Size::new(1500, 1125),
                )?),
            }
        }
        Ok(measured)
    }

    fn one(&self, running: &Running, bursts: &[Vec<String>]) -> anyhow::Result<(Sample, Outcome)> {
        if self.warm {
            load::run(
                running.address,
                bursts,
                Manner {
                    rate: None,
                    ..self.manner
                },
            )?;
        } else if let Some(first) = bursts.first().and_then(|burst| burst.first()) {
            // The image is open: these rows are about pixels. Rows of the first contact are in the table of starts.
            load::run(running.address, &[vec![first.clone()]], ONE)?;
        }
        let before = running.processor_time();
        let outcome = load::run(running.address, bursts, self.manner)?;
        let used = running.processor_time().saturating_sub(before);
        let sample = Sample {
            rate: outcome.rate(),
            middle: outcome.percentile(0.5),
            slow: outcome.percentile(0.99),
            processor: used / u32::try_from(outcome.requests.max(1))?,
            memory: running.peak_memory(),
        };
        Ok((sample, outcome))
    }

    fn likeness(&self, host: &Running, peer: &Running) -> anyhow::Result<Option<f64>> {
        let Some(target) = self.bursts.first().and_then(|burst| burst.first()) else {
            return Ok(None);
        };
        let pictures =
            [host, peer].map(|server| load::body(server.address, target).map(|body| decoded(&body)));
        let [ours, theirs] = pictures;
        Ok(match (ours?, theirs?) {
            (Some(ours), Some(theirs))
                if (ours.width, ours.height, ours.bands) == (theirs.width, theirs.height, theirs.bands) =>
            {
                Some(psnr(&ours, &theirs))
            }
            _ => None,
        })
    }
}

fn decoded(body: &[u8]) -> Option<Picture> {
    match body {
        [0xff, 0xd8, ..] => Some(Picture::from_jpeg(body)),
        [0x89, b'P', b'N', b'G', ..] => Some(Picture::from_png(body)),
        _ => None,
    }
}

fn iip(query: &str) -> String {
    format!("/fcgi-bin/iipsrv.fcgi?{query}")
}

/// Levels of a picture whose longest side has this many pixels, as IIP counts them: the largest is the last.
fn top_level(side: u32) -> u32 {
    let mut levels = 0;
    let mut side = side;
    while side > 256 {
        side /= 2;
        levels += 1;
    }
    levels
}

/// All tiles of the largest level, in an order without neighbors but the same every time.
fn tiles(file: &str, width: u32, height: u32, command: &str) -> Vec<Vec<String>> {
    let (columns, rows) = (width.div_ceil(256), height.div_ceil(256));
    let level = top_level(width.max(height));
    let count = columns * rows;
    // A step without a common divisor visits every tile once.
    let step = (count / 3..)
        .find(|step| (2..=*step).all(|d| step % d != 0 || count % d != 0))
        .unwrap_or(1);
    (0..count)
        .map(|number| {
            let tile = (u64::from(number) * u64::from(step) % u64::from(count)) as u32;
            vec![iip(&format!(
                "FIF={file}&{}",
                command.replace("TILE", &format!("{level},{tile}"))
            ))]
        })
        .collect()
}

/// What a viewer asks: the overview, then zooming in to a place and moving about, six neighbors at a time.
fn session(file: &str, width: u32, height: u32) -> Vec<Vec<String>> {
    let top = top_level(width.max(height));
    let mut bursts = Vec::new();
    for visit in 0..6_u32 {
        for level in top.saturating_sub(3)..=top {
            let (columns, rows) = (
                (width >> (top - level)).div_ceil(256),
                (height >> (top - level)).div_ceil(256),
            );
            let (mut left, mut up) = (columns * (visit + 1) / 8, rows * (7 - visit) / 9);
            // On the last level the viewer moves on to the right and down.
            for step in 0..if level == top { 5 } else { 1 } {
                let burst: Vec<String> = (0..6)
                    .map(|place| (left + place % 3, up + place / 3))
                    .filter(|&(column, row)| column < columns && row < rows)
                    .map(|(column, row)| iip(&format!("FIF={file}&JTL={level},{}", row * columns + column)))
                    .collect();
                if !burst.is_empty() {
                    bursts.push(burst);
                }
                if step % 2 == 0 { left += 3 } else { up += 2 }
            }
        }
    }
    bursts
}

/// Different places for regions of up to 4000 pixels.
fn corners(count: u32) -> Vec<(u32, u32)> {
    (0..count)
        .map(|number| (number * 977 % (SIDE - 4000), number * 1361 % (SIDE - 4000)))
        .collect()
}

/// Regions of one size in different places.
fn regions(count: u32, make: impl Fn(u32, u32) -> String) -> Vec<Vec<String>> {
    corners(count)
        .into_iter()
        .map(|(x, y)| vec![make(x, y)])
        .collect()
}

/// The rows in the order of the table.
pub(crate) fn all(_images: &Images) -> Vec<Row> {
    let cached = |count| vec![vec![iip(&format!("FIF=deflate.tif&JTL={},700", top_level(SIDE)))]; count];
    let full = |file: &str, command: &str| tiles(file, SIDE, SIDE, command);
    let some = |count: usize, mut bursts: Vec<Vec<String>>| {
        bursts.truncate(count);
        bursts
    };
    let iiif = |x, y| iip(&format!("IIIF=deflate.tif/{x},{y},2000,1500/1500,/0/default.jpg"));
    let far = |x, y| iip(&format!("IIIF=deflate.tif/{x},{y},4000,3000/1500,/0/default.jpg"));
    let cvt = |number: u32| {
        let place = f64::from(number % 16) / 32.0;
        iip(&format!(
            "FIF=deflate.tif&RGN={place},{place},0.5,0.5&WID=3000&CVT=JPEG"
        ))
    };
    let mut rows = vec![
        Row::new("cached tile, new connections", WAIT, cached(20_000))
            .warm()
            .floor(Floor::Responder),
        Row::new("cached tile, kept alive", KEEP, cached(40_000))
            .warm()
            .floor(Floor::Responder),
        Row::cold("cold tile, deflate", WAIT, full("deflate.tif", "JTL=TILE"))
            .floor(Floor::Deflate("deflate.tif")),
        Row::cold(
            "cold tile, deflate, kept alive",
            KEEP,
            full("deflate.tif", "JTL=TILE"),
        )
        .floor(Floor::Deflate("deflate.tif")),
        Row::cold(
            "cold tile, deflate, one client",
            ONE,
            full("deflate.tif", "JTL=TILE"),
        )
        .floor(Floor::Deflate("deflate.tif")),
        Row::cold(
            "cold tile, deflate, soft picture",
            WAIT,
            tiles("soft.tif", SOFT_SIDE, SOFT_SIDE, "JTL=TILE"),
        )
        .floor(Floor::Deflate("soft.tif")),
        Row::cold("cold tile, LZW", WAIT, full("lzw.tif", "JTL=TILE")),
        Row::cold("cold tile, uncompressed", WAIT, full("none.tif", "JTL=TILE")),
        Row::cold("cold tile, JPEG handed on", WAIT, full("jpeg.tif", "JTL=TILE")),
        Row::cold("region 2000×1500 to 1500, one client", ONE, regions(40, iiif)).floor(Floor::Region),
        Row::cold(
            "region 2000×1500 to 1500, 8 clients",
            Manner { clients: 8, ..WAIT },
            regions(80, iiif),
        )
        .floor(Floor::Region),
        Row::cold("region 4000×3000 to 1500, one client", ONE, regions(30, far)),
        Row::cold(
            "CVT of a quarter, WID=3000, one client",
            ONE,
            (0..8).map(|n| vec![cvt(n)]).collect(),
        ),
        Row::cold(
            "CVT of a quarter, WID=3000, 8 clients",
            Manner { clients: 8, ..WAIT },
            (0..16).map(|n| vec![cvt(n)]).collect(),
        ),
        Row::new(
            "info.json",
            WAIT,
            vec![vec![iip("IIIF=deflate.tif/info.json")]; 10_000],
        )
        .warm(),
        Row::cold(
            "Deep Zoom tile, deflate",
            WAIT,
            (0..1500)
                .map(|n| {
                    vec![iip(&format!(
                        "DeepZoom=deflate.tif_files/14/{}_{}.jpg",
                        n % 47,
                        n / 47
                    ))]
                })
                .collect(),
        ),
        Row::cold(
            "Zoomify tile, deflate",
            WAIT,
            (0..1500)
                .map(|n| {
                    vec![iip(&format!(
                        "Zoomify=deflate.tif/TileGroup0/6-{}-{}.jpg",
                        n % 47,
                        n / 47
                    ))]
                })
                .collect(),
        ),
        Row::cold("PNG tile", WAIT, some(600, full("deflate.tif", "PTL=TILE"))).alone(),
        Row::cold("WebP tile", WAIT, some(300, full("deflate.tif", "WTL=TILE"))).alone(),
        Row::cold("AVIF tile", WAIT, some(60, full("deflate.tif", "ATL=TILE"))).alone(),
        Row::cold(
            "hillshaded tile",
            WAIT,
            some(1000, full("deflate.tif", "SHD=30,45&JTL=TILE")),
        )
        .alone(),
        Row::cold(
            "color map tile",
            WAIT,
            some(1000, full("deflate.tif", "CMP=JET&JTL=TILE")),
        ),
    ];
    for (name, file, width, height) in [
        ("deflate", "deflate.tif", SIDE, SIDE),
        ("LZW", "lzw.tif", SIDE, SIDE),
        ("uncompressed", "none.tif", SIDE, SIDE),
        ("JPEG in TIFF", "jpeg.tif", SIDE, SIDE),
        ("JPEG 2000, one tile", "single.jp2", JP2.0, JP2.1),
        ("JPEG 2000, tiled", "tiled.jp2", JP2.0, JP2.1),
    ] {
        // A connection each: the peer serves one connection a process, and six that are kept would wait for ever.
        let viewers = ONE;
        rows.push(Row::new(
            &format!("viewer session cold, {name}"),
            viewers,
            session(file, width, height),
        ));
        rows.push(
            Row::new(
                &format!("viewer session warm, {name}"),
                viewers,
                session(file, width, height),
            )
            .warm(),
        );
    }
    for row in [
        Row::new(
            "viewer session cold, JPEG file",
            ONE,
            session("photo.jpg", JPEG, JPEG),
        ),
        Row::new(
            "viewer session warm, JPEG file",
            ONE,
            session("photo.jpg", JPEG, JPEG),
        )
        .warm(),
    ] {
        rows.push(row.alone());
    }
    rows.extend([
        // Each tile is asked once, so a cache of pictures is no help; what modules keep between calls stays.
        Row::new(
            "JPEG 2000 tile alone, one tile",
            ONE,
            some(40, tiles("single.jp2", JP2.0, JP2.1, "JTL=TILE")),
        ),
        Row::new(
            "JPEG 2000 tile alone, tiled",
            ONE,
            some(40, tiles("tiled.jp2", JP2.0, JP2.1, "JTL=TILE")),
        ),
        Row::new(
            "JPEG master, tile",
            ONE,
            some(300, tiles("photo.jpg", JPEG, JPEG, "JTL=TILE")),
        )
        .alone(),
        Row::new(
            "64 clients, 1,000 tiles a second asked",
            Manner {
                clients: 64,
                reconnect: true,
                rate: Some(1000.0),
            },
            full("deflate.tif", "JTL=TILE"),
        ),
    ]);
    rows
}
