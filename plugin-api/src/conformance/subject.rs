//! What is checked: decoders, samples, and the calls every check needs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::buffer::{PixelBuffer, row_bytes};
use crate::context::{CallContext, HostServices, Limits, LogLevel};
use crate::decoder::{ImageDecoder, ImageReader};
use crate::error::{DecodeError, ErrorKind};
use crate::host::Serialized;
use crate::info::ImageInfo;
use crate::module::Options;
use crate::region::{ReadRequest, Region};
use crate::source::ByteSource;

/// Why a check ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Fail(String),
    Skip(String),
}

pub(super) type Verdict = Result<(), Stop>;

pub(super) fn fail<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(reason.into()))
}

pub(super) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

/// An error in words.
pub(super) fn words(error: &DecodeError) -> String {
    format!("{} ({error})", error.kind().name())
}

/// A valid file.
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Sample {
    pub(super) fn extension(&self) -> String {
        match self.name.rsplit_once('.') {
            Some((_, extension)) => extension.to_lowercase(),
            None => String::new(),
        }
    }

    pub(super) fn source(&self) -> Arc<dyn ByteSource> {
        Arc::new(self.bytes.clone())
    }
}

type Make = dyn Fn() -> Result<Box<dyn ImageDecoder>, String> + Send + Sync;

type Tell = dyn Fn(&str) + Send + Sync;

/// A kit as its checks see it.
pub(super) struct Subject {
    make: Box<Make>,
    pub(super) samples: Vec<Sample>,
    pub(super) seed: u64,
    /// After this the check counts as hanging.
    pub(super) check_time: Duration,
    pub(super) tell: Option<Box<Tell>>,
    last: Mutex<String>,
}

impl Subject {
    pub(super) fn new(make: Box<Make>, seed: u64, check_time: Duration) -> Self {
        Self {
            make,
            samples: Vec::new(),
            seed,
            check_time,
            tell: None,
            last: Mutex::default(),
        }
    }

    pub(super) fn add_sample(&mut self, name: String, bytes: Vec<u8>) {
        self.samples.push(Sample { name, bytes });
    }

    /// Notes the step that begins now.
    pub(super) fn doing(&self, step: String) {
        if let Some(tell) = &self.tell {
            tell(&step);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// The last step that began.
    pub(super) fn done_last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A decoder as `make` gives it.
    pub(super) fn bare_decoder(&self) -> Result<Box<dyn ImageDecoder>, Stop> {
        (self.make)().map_err(|reason| Stop::Fail(format!("no decoder: {reason}")))
    }

    /// A decoder ready for use: calls that may not overlap kept apart, configured without settings.
    pub(super) fn decoder(&self) -> Result<Box<dyn ImageDecoder>, Stop> {
        let mut decoder = Serialized::new(self.bare_decoder()?);
        decoder
            .configure(&Options::default())
            .map_err(|e| Stop::Fail(format!("configure without settings fails: {}", words(&e))))?;
        Ok(Box::new(decoder))
    }

    /// The samples, of which there must be one.
    pub(super) fn samples(&self) -> Result<&[Sample], Stop> {
        if self.samples.is_empty() {
            return skip("no sample files");
        }
        Ok(&self.samples)
    }

    /// Calls `look` for each sample with an open reader.
    pub(super) fn each_reader(&self, mut look: impl FnMut(&Sample, &dyn ImageReader) -> Verdict) -> Verdict {
        let decoder = self.decoder()?;
        for sample in self.samples()? {
            self.doing(sample.name.clone());
            let reader = open(&*decoder, sample)?;
            look(sample, &*reader)?;
        }
        Ok(())
    }
}

/// Limits that every sample is within.
pub(super) fn roomy() -> Limits {
    Limits::default()
}

/// Opens a sample, which must work.
pub(super) fn open(decoder: &dyn ImageDecoder, sample: &Sample) -> Result<Box<dyn ImageReader>, Stop> {
    let watch = Watch::default();
    decoder
        .open(sample.source(), &watch.context(roomy()))
        .map_err(|e| Stop::Fail(format!("the sample does not open: {}", words(&e))))
}

/// A read of all quality layers.
pub(super) fn request(page: u32, level: u32, region: Region) -> ReadRequest {
    ReadRequest {
        page,
        level,
        region,
        quality_layers: 0,
    }
}

/// The pixels of a request without gaps between rows.
pub(super) fn read(
    reader: &dyn ImageReader,
    request: &ReadRequest,
    ctx: &CallContext<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let page = page_of(reader.info(), request.page)?;
    let region = &request.region;
    let too_large = || DecodeError::usage("the check asks for more than memory");
    let row = row_bytes(region.width, page.band_count, page.sample_format).ok_or_else(too_large)?;
    let len = row.checked_mul(region.height as usize).ok_or_else(too_large)?;
    let mut bytes = vec![0; len];
    let mut out = PixelBuffer::new(
        &mut bytes,
        region.width,
        region.height,
        page.band_count,
        page.sample_format,
        row,
    )?;
    reader.read(request, &mut out, ctx)?;
    Ok(bytes)
}

/// As [`read`], of a request that must work.
pub(super) fn must_read(reader: &dyn ImageReader, request: &ReadRequest) -> Result<Vec<u8>, Stop> {
    let watch = Watch::default();
    read(reader, request, &watch.context(roomy())).map_err(|e| {
        Stop::Fail(format!(
            "{} is not read: {}",
            place(request.page, request.level, &request.region),
            words(&e)
        ))
    })
}

fn page_of(info: &ImageInfo, page: u32) -> Result<&crate::info::PageInfo, DecodeError> {
    info.pages
        .get(page as usize)
        .ok_or_else(|| DecodeError::usage(format!("page {page} does not exist")))
}

/// A region in words.
pub(super) fn place(page: u32, level: u32, region: &Region) -> String {
    format!(
        "page {page}, level {level}, region {},{} {}x{}",
        region.x, region.y, region.width, region.height
    )
}

/// The pages to look at: the first, the second and the last one.
pub(super) fn some_pages(info: &ImageInfo) -> Vec<u32> {
    let count = u32::try_from(info.pages.len()).unwrap_or(u32::MAX);
    let mut pages: Vec<u32> = [0, 1, count.saturating_sub(1)]
        .into_iter()
        .filter(|&page| page < count)
        .collect();
    pages.dedup();
    pages
}

/// Host services that count what they are asked.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) cancelled: AtomicBool,
    deadline: Option<Instant>,
    asked: AtomicU64,
}

impl Watch {
    /// Services of a call that must end within `time`.
    pub(super) fn with_time(time: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(time),
            ..Self::default()
        }
    }

    pub(super) fn context(&self, limits: Limits) -> CallContext<'_> {
        CallContext::new(limits, self)
    }

    /// How often the call looked whether it should stop.
    pub(super) fn times_asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl HostServices for Watch {
    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.cancelled.load(Ordering::Relaxed)
    }

    fn time_left(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    fn log(&self, _level: LogLevel, _message: &str) {}
}

/// An error a broken file or a limit may have; a panic or an impossible answer is a failure of the module.
pub(super) fn tolerate(error: &DecodeError) -> Verdict {
    match error.kind() {
        ErrorKind::Panicked => fail(format!("panicked: {error}")),
        ErrorKind::Internal => fail(words(error)),
        _ => Ok(()),
    }
}
