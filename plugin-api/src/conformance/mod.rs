//! A test kit for decoders (feature `conformance`): what the host relies on, as checks to run.
//!
//! A [`Kit`] holds a way to make the decoder and sample files of its formats. Every [`Check`] has an
//! identifier and ends in an [`Outcome`]; inputs that are made at random come from one seed, which the
//! report names, so that a failure can be had again with [`Kit::with_seed`].
//!
//! Run the kit in a test program of its own: three checks measure the memory of the process, which other
//! tests would disturb. `iiphost check-module` runs each check in a process of its own, so there also a
//! crash or a hang is a result.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use iiphost_plugin_api::*;
//! # struct Toy;
//! # impl ImageDecoder for Toy {
//! #     fn describe(&self) -> ModuleInfo { unimplemented!() }
//! #     fn configure(&mut self, _: &Options) -> Result<(), DecodeError> { Ok(()) }
//! #     fn probe(&self, _: &FileHead<'_>) -> Claim { Claim::none("") }
//! #     fn open(&self, _: Arc<dyn ByteSource>, _: &OpenContext<'_>)
//! #         -> Result<Box<dyn ImageReader>, DecodeError> { unimplemented!() }
//! # }
//! use iiphost_plugin_api::conformance::Kit;
//!
//! let kit = Kit::new(|| Ok(Box::new(Toy)))
//!     .with_sample("small.toy", b"TOY1\x03\0\0\0\x02\0\0\0abcdef".to_vec());
//! kit.run_all().assert_passed();
//! ```
//!
//! Not checked: whether the pixels are the right ones. Only the author of a decoder knows them.

mod damage;
mod encoded;
mod foreign;
mod identity;
mod limits;
mod memory;
mod pixels;
mod random;
mod shape;
mod stop_signs;
mod subject;
mod threads;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::decoder::ImageDecoder;
use subject::{Stop, Subject, Verdict};

/// How long one check may take before it counts as hanging, if nothing else is said.
pub const DEFAULT_CHECK_TIME: Duration = Duration::from_secs(120);

/// The seed used when none is given. Fixed, so that the same module gets the same result every time.
pub const DEFAULT_SEED: u64 = 0x11b0_57ed;

/// One property of a decoder.
#[derive(Clone, Copy)]
pub struct Check {
    id: &'static str,
    summary: &'static str,
    run: fn(&Subject) -> Verdict,
}

impl Check {
    /// Its name, lower case with `-`; it never changes its meaning.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// What holds if it passes.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Every check, in the order they are run.
    #[must_use]
    pub fn all() -> &'static [Self] {
        CHECKS
    }

    /// The check of a name.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        CHECKS.iter().find(|check| check.id == id)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.id).finish()
    }
}

const fn check(id: &'static str, summary: &'static str, run: fn(&Subject) -> Verdict) -> Check {
    Check { id, summary, run }
}

const CHECKS: &[Check] = &[
    check(
        "describe",
        "the module says the same of itself every time, and says all of it",
        identity::describe,
    ),
    check(
        "options",
        "the defaults of the option schema have their kind and are accepted",
        identity::options,
    ),
    check(
        "no-false-claims",
        "files of other formats, noise and empty files are not claimed",
        identity::no_false_claims,
    ),
    check(
        "claims-samples",
        "every sample is claimed, whatever its extension",
        identity::claims_samples,
    ),
    check(
        "info",
        "shapes are possible, levels have one aspect, and opening again gives the same",
        shape::info,
    ),
    check(
        "levels-alike",
        "all levels of a page show the same picture",
        shape::levels_alike,
    ),
    check(
        "region-is-crop",
        "a region has the pixels that a larger read has there",
        pixels::region_is_crop,
    ),
    check(
        "tiles-cover",
        "tiles put together are the level, edge tiles included",
        pixels::tiles_cover,
    ),
    check(
        "row-stride",
        "the gaps between the rows of a buffer are not touched",
        pixels::row_stride,
    ),
    check(
        "usage-errors",
        "pages, levels, regions and tiles that do not exist are usage errors",
        pixels::usage_errors,
    ),
    check(
        "parallel-is-serial",
        "many threads get the pixels one thread gets, as the declared threading allows",
        threads::parallel_is_serial,
    ),
    check(
        "reader-outlives-decoder",
        "a reader works after its decoder was dropped",
        threads::reader_outlives_decoder,
    ),
    check(
        "encoded-tiles",
        "stored tiles are whole files of the size they say, where they were announced",
        encoded::encoded_tiles,
    ),
    check(
        "metadata-bounded",
        "metadata is the same every time and stays within the byte limit",
        limits::metadata_bounded,
    ),
    check(
        "pixel-limit",
        "a read of more pixels than allowed is refused",
        limits::pixel_limit,
    ),
    check(
        "byte-limit",
        "a call keeps to the memory it is allowed",
        limits::byte_limit,
    ),
    check(
        "cancel",
        "a cancelled call stops, and the reader works afterwards",
        stop_signs::cancel,
    ),
    check(
        "deadline",
        "a call stops at its deadline, and the reader works afterwards",
        stop_signs::deadline,
    ),
    check(
        "truncated",
        "files cut short are errors or pictures, never a panic, a hang or a flood of memory",
        damage::truncated,
    ),
    check(
        "bit-flips",
        "files with flipped bits are errors or pictures, never a panic, a hang or a flood of memory",
        damage::bit_flips,
    ),
    check(
        "memory-growth",
        "10,000 opened and closed images leave no memory behind",
        memory::growth,
    ),
];

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The property held wherever it was looked at.
    Pass,
    /// It did not; where, what was expected, what was found.
    Fail(String),
    /// It could not be looked at, and why.
    Skipped(String),
}

impl Outcome {
    /// `pass`, `fail` or `skipped`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Why it failed or was skipped.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Fail(reason) | Self::Skipped(reason) => Some(reason),
        }
    }
}

/// A decoder, samples of its formats and a seed.
pub struct Kit {
    subject: Subject,
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit")
            .field("seed", &self.subject.seed)
            .field("samples", &self.subject.samples.len())
            .finish_non_exhaustive()
    }
}

impl Kit {
    /// A kit for the decoders `make` makes; each is a decoder of its own, not configured yet.
    pub fn new<F>(make: F) -> Self
    where
        F: Fn() -> Result<Box<dyn ImageDecoder>, String> + Send + Sync + 'static,
    {
        Self {
            subject: Subject::new(Box::new(make), DEFAULT_SEED, DEFAULT_CHECK_TIME),
        }
    }

    /// Adds a valid file. Several small ones with different features are better than a large one; at
    /// least one of more than one tile lets the kit look at cancellation. The extension of the name is
    /// shown to `probe`.
    #[must_use]
    pub fn with_sample(mut self, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        self.subject.add_sample(name.into(), bytes);
        self
    }

    /// Sets the seed of everything random.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.subject.seed = seed;
        self
    }

    /// Sets the time after which a check counts as hanging.
    #[must_use]
    pub fn with_check_time(mut self, time: Duration) -> Self {
        self.subject.check_time = time;
        self
    }

    /// Has `tell` told what is about to be done, before every step that may crash: the last line then
    /// names the input.
    #[must_use]
    pub fn with_progress(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.subject.tell = Some(Box::new(tell));
        self
    }

    /// Runs one check.
    #[must_use]
    pub fn run(self, check: &Check) -> Outcome {
        run(&Arc::new(self.subject), check)
    }

    /// Runs all checks. After one that hangs the rest is skipped: its call still runs and may hold locks.
    #[must_use]
    pub fn run_all(self) -> Report {
        let subject = Arc::new(self.subject);
        let mut entries = Vec::new();
        let mut hanging = None;
        for check in CHECKS {
            let start = Instant::now();
            let outcome = match hanging {
                Some(id) => Outcome::Skipped(format!("{id} still hangs")),
                None => run(&subject, check),
            };
            let time = start.elapsed();
            if time >= subject.check_time && hanging.is_none() {
                hanging = Some(check.id);
            }
            entries.push(Entry {
                check: *check,
                outcome,
                time,
            });
        }
        Report {
            entries,
            seed: subject.seed,
        }
    }
}

/// Runs a check on a thread of its own, which is left behind if it hangs.
fn run(subject: &Arc<Subject>, check: &Check) -> Outcome {
    let check_time = subject.check_time;
    subject.doing(String::new());
    let (sender, receiver) = channel();
    let work = {
        let (subject, run) = (subject.clone(), check.run);
        move || {
            // The subject is only looked at afterwards for its last step.
            let verdict = catch_unwind(AssertUnwindSafe(|| run(&subject))).unwrap_or_else(|payload| {
                let text = payload
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| payload.downcast_ref::<String>().cloned());
                Err(Stop::Fail(format!(
                    "panicked: {}",
                    text.as_deref().unwrap_or("without a text")
                )))
            });
            // Whoever has stopped waiting does not want it any more.
            let _ = sender.send(verdict);
        }
    };
    if let Err(error) = std::thread::Builder::new().spawn(work) {
        return Outcome::Skipped(format!("no thread to run it on: {error}"));
    }
    let at = || match subject.done_last() {
        step if step.is_empty() => String::new(),
        step => format!("{step}: "),
    };
    match receiver.recv_timeout(check_time) {
        Ok(Ok(())) => Outcome::Pass,
        Ok(Err(Stop::Fail(reason))) => Outcome::Fail(format!("{}{reason}", at())),
        Ok(Err(Stop::Skip(reason))) => Outcome::Skipped(reason),
        Err(RecvTimeoutError::Timeout) => {
            Outcome::Fail(format!("{}no end after {} seconds", at(), check_time.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => Outcome::Fail(format!("{}the check ended early", at())),
    }
}

/// One line of a report.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was looked at.
    pub check: Check,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub time: Duration,
}

/// All outcomes of a kit; displays as a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// One entry for each check.
    pub entries: Vec<Entry>,
    /// The seed that gives the same inputs again.
    pub seed: u64,
}

impl Report {
    /// Whether no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.entries.iter().any(|e| matches!(e.outcome, Outcome::Fail(_)))
    }

    /// The outcome of a check, `None` for a name that is not in the report.
    #[must_use]
    pub fn outcome(&self, id: &str) -> Option<&Outcome> {
        self.entries
            .iter()
            .find(|entry| entry.check.id == id)
            .map(|entry| &entry.outcome)
    }

    /// Prints the report, and panics if a check failed: the last line of a test.
    ///
    /// # Panics
    /// If a check failed.
    #[track_caller]
    pub fn assert_passed(&self) {
        print!("{self}");
        assert!(self.passed(), "the decoder fails its conformance checks\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {:#x}", self.seed)?;
        for entry in &self.entries {
            write!(
                f,
                "{:<24} {:<8} {:>8.1} ms",
                entry.check.id,
                entry.outcome.name(),
                entry.time.as_secs_f64() * 1e3
            )?;
            match entry.outcome.reason() {
                Some(reason) => writeln!(f, "  {reason}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
