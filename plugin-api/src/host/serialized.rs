//! Keeps calls apart that a module has not declared safe to overlap.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::buffer::PixelBuffer;
use crate::context::{CallContext, OpenContext, ReadContext};
use crate::decoder::{EncodedTile, ImageDecoder, ImageReader};
use crate::error::DecodeError;
use crate::info::{ImageInfo, MetadataKind};
use crate::module::{ModuleInfo, Options, Threading};
use crate::probe::Claim;
use crate::region::{Cost, ReadRequest, TileId};
use crate::source::{ByteSource, FileHead};

use super::answer;

/// How long a claim waits for its turn. It has no deadline of its own, and the call it waits for may never
/// end.
const CLAIM_WAIT: Duration = Duration::from_secs(5);

/// The same for a file whose extension is none of the module's: only for calls that have begun so short a
/// time ago, or one that hangs would hold up all files.
const FOREIGN_CLAIM_WAIT: Duration = Duration::from_millis(200);

/// How long a release waits for its turn. Afterwards the reader is left as it is, for ever: the call in
/// progress most likely hangs, and calls must not overlap.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// The reason of a claim that could not be asked for, because a module that takes one call at a time was
/// busy with another one for too long.
pub const BUSY: &str = "not asked, the module is busy with another call";

/// How long a waiting call sleeps before it looks again whether it was cancelled.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// A decoder whose calls overlap only as its [`Threading`] allows.
///
/// A call that has to wait gives up when it is cancelled or its deadline passes, so a slow image does not
/// pile up work behind it.
pub struct Serialized {
    // Dropped by hand in `Drop`, in its turn.
    inner: Option<Box<dyn ImageDecoder>>,
    info: ModuleInfo,
    module: Arc<Turn>,
}

impl Serialized {
    /// Wraps a decoder, which tells how it may be called.
    #[must_use]
    pub fn new(inner: Box<dyn ImageDecoder>) -> Self {
        Self {
            info: inner.describe(),
            inner: Some(inner),
            module: Arc::default(),
        }
    }

    fn inner(&self) -> &dyn ImageDecoder {
        // `inner` is taken in `drop` only.
        self.inner.as_deref().expect("a decoder that is in use")
    }

    fn turn(&self) -> Option<&Turn> {
        (self.info.threading == Threading::GlobalLock).then_some(&*self.module)
    }
}

impl Drop for Serialized {
    fn drop(&mut self) {
        let inner = self.inner.take();
        let _held = self.turn().map(Turn::take);
        drop(inner);
    }
}

impl ImageDecoder for Serialized {
    fn describe(&self) -> ModuleInfo {
        let _held = self.turn().map(Turn::take);
        self.inner().describe()
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        let turn = self.module.clone();
        let _held = (self.info.threading == Threading::GlobalLock).then(|| turn.take());
        // As in `inner`.
        let inner = self.inner.as_mut().expect("a decoder that is in use");
        inner.configure(options)
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        let patience = if self.info.has_extension(head.extension) {
            CLAIM_WAIT
        } else {
            FOREIGN_CLAIM_WAIT
        };
        match self.turn().map(|turn| turn.take_patiently(patience, CLAIM_WAIT)) {
            Some(None) => Claim::none(BUSY),
            _held => self.inner().probe(head),
        }
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        let _held = self.turn().map(|turn| turn.take_in_time(ctx)).transpose()?;
        let reader = self.inner().open(source, ctx)?;
        let turn = match self.info.threading {
            Threading::Reentrant => return Ok(reader),
            Threading::OneCallPerReader => Arc::default(),
            Threading::GlobalLock => self.module.clone(),
        };
        Ok(Box::new(SerializedReader {
            info: reader.info().clone(),
            inner: Some(reader),
            turn,
        }))
    }
}

struct SerializedReader {
    // Dropped by hand in `Drop`, in its turn.
    inner: Option<Box<dyn ImageReader>>,
    info: ImageInfo,
    turn: Arc<Turn>,
}

impl SerializedReader {
    fn inner(&self) -> &dyn ImageReader {
        // `inner` is taken in `drop` only.
        self.inner.as_deref().expect("a reader that is in use")
    }
}

impl Drop for SerializedReader {
    fn drop(&mut self) {
        let inner = self.inner.take();
        match self.turn.take_patiently(RELEASE_WAIT, RELEASE_WAIT) {
            Some(_held) => drop(inner),
            None => {
                inner.map(Box::leak);
            }
        }
    }
}

impl ImageReader for SerializedReader {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let _held = self.turn.take_in_time(ctx)?;
        self.inner().read(request, out, ctx)
    }

    fn encoded_tile(&self, tile: TileId, ctx: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        let _held = self.turn.take_in_time(ctx)?;
        self.inner().encoded_tile(tile, ctx)
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let _held = self.turn.take_in_time(ctx)?;
        self.inner().metadata(kind, ctx)
    }

    /// Never waits: whoever asks for an estimate is about to decide whether to wait at all. While another
    /// call runs, the estimate is the whole level.
    fn estimate(&self, request: &ReadRequest) -> Cost {
        match self.turn.try_take() {
            Some(_held) => self.inner().estimate(request),
            None => answer::cost_of_level(&self.info, request),
        }
    }
}

/// One call at a time.
///
/// Not a plain mutex, which cannot be waited for with a deadline.
#[derive(Default)]
struct Turn {
    /// Since when, if it is.
    taken: Mutex<Option<Instant>>,
    freed: Condvar,
}

impl Turn {
    // A panic cannot happen while the flag is locked, so a poisoned lock holds a right value.
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(&self) -> Option<Held<'_>> {
        let mut taken = self.lock();
        if taken.is_some() {
            return None;
        }
        *taken = Some(Instant::now());
        Some(Held(self))
    }

    fn take(&self) -> Held<'_> {
        let mut taken = self.lock();
        while taken.is_some() {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = Some(Instant::now());
        Held(self)
    }

    /// Waits for a call in progress until it has lasted for `patience`, and for calls one after another no
    /// longer than `most`.
    fn take_patiently(&self, patience: Duration, most: Duration) -> Option<Held<'_>> {
        let start = Instant::now();
        let mut taken = self.lock();
        while let Some(since) = *taken {
            let left = patience
                .saturating_sub(since.elapsed())
                .min(most.saturating_sub(start.elapsed()));
            if left.is_zero() {
                return None;
            }
            taken = self
                .freed
                .wait_timeout(taken, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *taken = Some(Instant::now());
        Some(Held(self))
    }

    fn take_in_time(&self, ctx: &CallContext<'_>) -> Result<Held<'_>, DecodeError> {
        let mut taken = self.lock();
        while taken.is_some() {
            ctx.checkpoint()?;
            let pause = LOOK_AROUND.min(ctx.host.time_left());
            taken = self
                .freed
                .wait_timeout(taken, pause)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *taken = Some(Instant::now());
        Ok(Held(self))
    }
}

/// A turn that is given back when dropped.
struct Held<'a>(&'a Turn);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::context::{HostServices, Limits, LogLevel, PlainServices};
    use crate::error::ErrorKind;
    use crate::info::{AlphaMode, ColorModel, LevelInfo, PageInfo, SampleFormat};
    use crate::region::Region;

    /// Counts how many calls run at the same time.
    #[derive(Default)]
    struct Meter {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Meter {
        fn work(&self) {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            self.now.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Metered {
        threading: Threading,
        module: Arc<Meter>,
        readers: Arc<Mutex<Vec<Arc<Meter>>>>,
    }

    impl ImageDecoder for Metered {
        fn describe(&self) -> ModuleInfo {
            ModuleInfo {
                id: "metered".to_owned(),
                name: String::new(),
                version: "1".to_owned(),
                license: String::new(),
                formats: Vec::new(),
                capabilities: Vec::new(),
                options: Vec::new(),
                threading: self.threading,
            }
        }

        fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
            self.module.work();
            Ok(())
        }

        fn probe(&self, _head: &FileHead<'_>) -> Claim {
            self.module.work();
            Claim::none("metered")
        }

        fn open(
            &self,
            _source: Arc<dyn ByteSource>,
            _ctx: &OpenContext<'_>,
        ) -> Result<Box<dyn ImageReader>, DecodeError> {
            self.module.work();
            let own = Arc::new(Meter::default());
            self.readers.lock().unwrap().push(own.clone());
            Ok(Box::new(MeteredReader {
                info: image(),
                module: self.module.clone(),
                own,
            }))
        }
    }

    struct MeteredReader {
        info: ImageInfo,
        module: Arc<Meter>,
        own: Arc<Meter>,
    }

    impl MeteredReader {
        fn work(&self) {
            let now = self.own.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.own.most.fetch_max(now, Ordering::SeqCst);
            self.module.work();
            self.own.now.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl ImageReader for MeteredReader {
        fn info(&self) -> &ImageInfo {
            &self.info
        }

        fn read(
            &self,
            _request: &ReadRequest,
            _out: &mut PixelBuffer<'_>,
            _ctx: &ReadContext<'_>,
        ) -> Result<(), DecodeError> {
            self.work();
            Ok(())
        }

        fn metadata(
            &self,
            _kind: MetadataKind,
            _ctx: &ReadContext<'_>,
        ) -> Result<Option<Vec<u8>>, DecodeError> {
            self.work();
            Ok(None)
        }

        fn encoded_tile(
            &self,
            _tile: TileId,
            _ctx: &ReadContext<'_>,
        ) -> Result<Option<EncodedTile>, DecodeError> {
            self.work();
            Ok(None)
        }

        fn estimate(&self, _request: &ReadRequest) -> Cost {
            Cost {
                pixels_decoded: 1,
                ..Cost::default()
            }
        }
    }

    impl Drop for MeteredReader {
        fn drop(&mut self) {
            self.work();
        }
    }

    fn image() -> ImageInfo {
        let page = PageInfo {
            name: String::new(),
            scale: 1.0,
            listed: true,
            levels: vec![LevelInfo {
                width: 10,
                height: 10,
                tile_width: 10,
                tile_height: 10,
                encoded: None,
                computed: false,
            }],
            band_count: 1,
            sample_format: SampleFormat::U8,
            bit_depth: 8,
            signed: false,
            color_model: ColorModel::Grey,
            alpha: AlphaMode::None,
            ranges: Vec::new(),
            resolution: None,
            quality_layers: 1,
        };
        ImageInfo {
            format: String::new(),
            pages: vec![page],
            text: Vec::new(),
            warnings: Vec::new(),
        }
    }

    const REQUEST: ReadRequest = ReadRequest {
        page: 0,
        level: 0,
        region: Region::new(0, 0, 1, 1),
        quality_layers: 0,
    };

    /// How many calls overlapped at most: in the module, and on one reader.
    fn overlap(threading: Threading) -> (usize, usize) {
        let module = Arc::new(Meter::default());
        let readers = Arc::new(Mutex::new(Vec::new()));
        let decoder = Serialized::new(Box::new(Metered {
            threading,
            module: module.clone(),
            readers: readers.clone(),
        }));
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let open = || decoder.open(Arc::new(Vec::new()), &ctx).unwrap();
        let shared = [open(), open()];
        std::thread::scope(|scope| {
            for idx in 0..6 {
                let (reader, decoder, ctx, open) = (&shared[idx % 2], &decoder, &ctx, &open);
                scope.spawn(move || {
                    let mut byte = [0];
                    let mut out = PixelBuffer::new(&mut byte, 1, 1, 1, SampleFormat::U8, 1).unwrap();
                    reader.read(&REQUEST, &mut out, ctx).unwrap();
                    let tile = TileId {
                        page: 0,
                        level: 0,
                        tile_col: 0,
                        tile_row: 0,
                    };
                    reader.encoded_tile(tile, ctx).unwrap();
                    reader.metadata(MetadataKind::Icc, ctx).unwrap();
                    decoder.probe(&FileHead {
                        bytes: &[],
                        file_len: 0,
                        extension: "",
                    });
                    drop(open());
                });
            }
        });
        let of_reader = readers
            .lock()
            .unwrap()
            .iter()
            .map(|meter| meter.most.load(Ordering::SeqCst))
            .max()
            .unwrap();
        (module.most.load(Ordering::SeqCst), of_reader)
    }

    #[test]
    fn a_global_lock_lets_one_call_in_at_a_time() {
        assert_eq!(overlap(Threading::GlobalLock), (1, 1));
    }

    #[test]
    fn one_call_per_reader_lets_readers_overlap() {
        let (module, of_reader) = overlap(Threading::OneCallPerReader);
        assert_eq!(of_reader, 1);
        assert!(module > 1, "readers never overlapped");
    }

    #[test]
    fn a_reentrant_module_is_not_held_back() {
        let (_, of_reader) = overlap(Threading::Reentrant);
        assert!(of_reader > 1, "calls on one reader never overlapped");
    }

    struct Cancelled;

    impl HostServices for Cancelled {
        fn is_cancelled(&self) -> bool {
            true
        }

        fn time_left(&self) -> Duration {
            Duration::MAX
        }

        fn log(&self, _level: LogLevel, _message: &str) {}
    }

    #[test]
    fn whoever_waits_gives_up_when_cancelled_or_too_late() {
        let turn = Turn::default();
        let held = turn.take();
        let cancelled = CallContext::new(Limits::default(), &Cancelled);
        let error = turn.take_in_time(&cancelled).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        let services = PlainServices::with_time(Duration::from_millis(10));
        let start = Instant::now();
        let late = CallContext::new(Limits::default(), &services);
        let error = turn.take_in_time(&late).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(start.elapsed() >= Duration::from_millis(10));
        assert!(turn.try_take().is_none());
        drop(held);
        assert!(
            turn.take_in_time(&cancelled).is_ok(),
            "a free turn needs no waiting"
        );
    }

    #[test]
    fn a_claim_waits_for_short_calls_and_not_for_long_ones() {
        let turn = Turn::default();
        let patience = Duration::from_millis(50);
        let held = turn.take();
        let start = Instant::now();
        assert!(turn.take_patiently(patience, CLAIM_WAIT).is_none());
        assert!(start.elapsed() >= patience / 2);
        // The call has lasted too long by now: nobody waits for it again.
        let start = Instant::now();
        (0..1000).for_each(|_| assert!(turn.take_patiently(patience, CLAIM_WAIT).is_none()));
        assert!(start.elapsed() < 100 * patience);
        drop(held);
        assert!(turn.take_patiently(patience, CLAIM_WAIT).is_some());
    }

    #[test]
    fn a_busy_module_is_not_asked_about_files_of_others() {
        let decoder = Serialized::new(Box::new(Metered {
            threading: Threading::GlobalLock,
            module: Arc::default(),
            readers: Arc::default(),
        }));
        let head = FileHead {
            bytes: b"",
            file_len: 0,
            extension: "foreign",
        };
        assert_ne!(decoder.probe(&head).reason, BUSY);
        let held = decoder.module.take();
        let claim = decoder.probe(&head);
        assert_eq!(
            (claim.level, claim.reason.as_str()),
            (crate::ClaimLevel::None, BUSY)
        );
        drop(held);
    }

    #[test]
    fn an_estimate_never_waits() {
        let decoder = Serialized::new(Box::new(Metered {
            threading: Threading::GlobalLock,
            module: Arc::default(),
            readers: Arc::default(),
        }));
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let reader = decoder.open(Arc::new(Vec::new()), &ctx).unwrap();
        assert_eq!(reader.estimate(&REQUEST).pixels_decoded, 1);
        let held = decoder.module.take();
        assert_eq!(reader.estimate(&REQUEST).pixels_decoded, 100);
        drop(held);
    }
}
