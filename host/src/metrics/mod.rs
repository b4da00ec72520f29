//! Counting what happens, and writing it for Prometheus.
//!
//! Counting is on the path of a cached tile: four additions to memory that no other thread writes. Each
//! thread has a set of counters of its own (as long as there are not more threads than sets), and a reading
//! adds the sets up.

mod histogram;
mod process;
mod text;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use histogram::{Histogram, Times};
pub use process::{Process, process};
pub use text::{Exposition, Kind, Labels, MEDIA_TYPE};

/// Sets of counters; more threads than that share them.
const SETS: usize = 16;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Protocol {
    Iip,
    Iiif,
    DeepZoom,
    Zoomify,
    /// The host's own pages, and requests that cannot be understood.
    Host,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Iip, Self::Iiif, Self::DeepZoom, Self::Zoomify, Self::Host];

    /// Its name in labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Iip => "iip",
            Self::Iiif => "iiif",
            Self::DeepZoom => "deepzoom",
            Self::Zoomify => "zoomify",
            Self::Host => "host",
        }
    }
}

/// Where the bytes of a picture came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client has it already: 304.
    NotModified,
    /// The cache of this process.
    Memory,
    /// memcached.
    Memcached,
    /// Another request was making it at the same time.
    Joined,
    /// It was made.
    Made,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NotModified,
        Self::Memory,
        Self::Memcached,
        Self::Joined,
        Self::Made,
    ];

    /// Its name in labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotModified => "not_modified",
            Self::Memory => "memory",
            Self::Memcached => "memcached",
            Self::Joined => "joined",
            Self::Made => "made",
        }
    }
}

/// The statuses there are; all else is counted as the last one.
const STATUSES: [(u16, &str); 15] = [
    (200, "200"),
    (204, "204"),
    (303, "303"),
    (304, "304"),
    (400, "400"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (0, "other"),
];

/// Counters of requests.
#[derive(Debug)]
pub struct Metrics {
    sets: Vec<Set>,
}

/// Aligned so that sets of different threads share no cache line, nor the pair of lines that processors
/// fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Set {
    protocols: [OfProtocol; Protocol::ALL.len()],
    origins: [AtomicU64; Origin::ALL.len()],
}

#[derive(Debug, Default)]
struct OfProtocol {
    statuses: [AtomicU64; STATUSES.len()],
    times: Histogram,
    bytes: AtomicU64,
}

thread_local! {
    /// The number of this thread's set.
    static SET: Cell<Option<usize>> = const { Cell::new(None) };
}

static NEXT_SET: AtomicUsize = AtomicUsize::new(0);

impl Default for Metrics {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Set::default()).collect(),
        }
    }
}

impl Metrics {
    /// Counts a reply.
    pub fn replied(&self, protocol: Protocol, status: u16, bytes: usize, time: Duration) {
        let Some(of) = self.set().and_then(|set| set.protocols.get(protocol as usize)) else {
            return;
        };
        let last = STATUSES.len() - 1;
        let class = STATUSES.iter().position(|(s, _)| *s == status).unwrap_or(last);
        if let Some(count) = of.statuses.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        of.times.observe(time);
        of.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts where a picture came from.
    pub fn had_from(&self, origin: Origin) {
        if let Some(count) = self.set().and_then(|set| set.origins.get(origin as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pictures by origin.
    #[must_use]
    pub fn origins(&self) -> [(Origin, u64); 5] {
        Origin::ALL.map(|origin| {
            let counts = self
                .sets
                .iter()
                .filter_map(|set| set.origins.get(origin as usize));
            (origin, counts.map(|c| c.load(Ordering::Relaxed)).sum())
        })
    }

    /// Requests answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_protocol().map(|(_, times, _)| times.count()).sum()
    }

    /// Writes everything counted here.
    pub fn write(&self, text: &mut Exposition) {
        let mut counts = Vec::new();
        for protocol in Protocol::ALL {
            for (class, (_, status)) in STATUSES.iter().enumerate() {
                let of = self
                    .sets
                    .iter()
                    .filter_map(|set| set.protocols.get(protocol as usize));
                let counters = of.filter_map(|of| of.statuses.get(class));
                let count: u64 = counters.map(|c| c.load(Ordering::Relaxed)).sum();
                // What never happens has no line, but what can be expected begins with 0.
                if count > 0 || *status == "200" {
                    counts.push(([("protocol", protocol.name()), ("status", *status)], count));
                }
            }
        }
        text.family(
            "iiphost_requests_total",
            Kind::Counter,
            "Requests answered.",
            counts.iter().map(|(labels, count)| (&labels[..], count)),
        );
        let labels = Protocol::ALL.map(|protocol| [("protocol", protocol.name())]);
        text.histograms(
            "iiphost_request_duration_seconds",
            "Time from the last byte of a request to its reply.",
            labels
                .iter()
                .zip(self.by_protocol())
                .map(|(l, (_, times, _))| (&l[..], times)),
        );
        text.family(
            "iiphost_response_bytes_total",
            Kind::Counter,
            "Bytes of reply bodies.",
            labels
                .iter()
                .zip(self.by_protocol())
                .map(|(l, (_, _, bytes))| (&l[..], bytes)),
        );
        let origins = self
            .origins()
            .map(|(origin, count)| ([("origin", origin.name())], count));
        text.family(
            "iiphost_pictures_total",
            Kind::Counter,
            "Pictures by where their bytes came from.",
            origins.iter().map(|(labels, count)| (&labels[..], count)),
        );
    }

    fn by_protocol(&self) -> impl Iterator<Item = (Protocol, Times, u64)> {
        Protocol::ALL.into_iter().map(|protocol| {
            let mut times = Times::default();
            let mut bytes = 0;
            for of in self
                .sets
                .iter()
                .filter_map(|set| set.protocols.get(protocol as usize))
            {
                of.times.add_to(&mut times);
                bytes += of.bytes.load(Ordering::Relaxed);
            }
            (protocol, times, bytes)
        })
    }

    fn set(&self) -> Option<&Set> {
        let number = SET.with(|set| {
            set.get().unwrap_or_else(|| {
                let number = NEXT_SET.fetch_add(1, Ordering::Relaxed) % SETS;
                set.set(Some(number));
                number
            })
        });
        self.sets.get(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_is_added_up() {
        let metrics = Metrics::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    metrics.replied(Protocol::Iiif, 200, 10, Duration::from_millis(1));
                    metrics.replied(Protocol::Iip, 418, 0, Duration::from_millis(1));
                    metrics.had_from(Origin::Memory);
                });
            }
        });
        let mut text = Exposition::default();
        metrics.write(&mut text);
        let text = text.finish();
        for line in [
            "iiphost_requests_total{protocol=\"iiif\",status=\"200\"} 40",
            "iiphost_requests_total{protocol=\"iip\",status=\"other\"} 40",
            "iiphost_requests_total{protocol=\"zoomify\",status=\"200\"} 0",
            "iiphost_request_duration_seconds_count{protocol=\"iiif\"} 40",
            "iiphost_response_bytes_total{protocol=\"iiif\"} 400",
            "iiphost_pictures_total{origin=\"memory\"} 40",
            "iiphost_pictures_total{origin=\"made\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert_eq!(metrics.requests(), 80);
    }
}
