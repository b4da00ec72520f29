//! The binding to OpenJPEG: the only file of the library that talks to C.
//!
//! One [`decode`] is one life of an OpenJPEG codec: header, area, pixels. Nothing of it is kept, because
//! the library offers no second decode of a codestream with several tiles.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use iiphost_plugin_api::{CallContext, DecodeError, ErrorKind};
use openjpeg_sys as opj;
use parking_lot::Mutex;

use crate::Plane;
use crate::decoded::{Decoded, Planes};
use crate::splice::Splice;

/// Bytes the library asks for at once while it reads markers; packet data is read in one piece.
const STREAM_BUFFER_BYTES: usize = 16 << 10;

/// Messages of the library kept for one decode.
const MAX_MESSAGES: usize = 4;

/// Characters kept of one message.
const MAX_MESSAGE_CHARS: usize = 200;

/// What to decode.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Highest resolutions left out.
    pub reduction: u32,
    /// Quality layers, 0 = all.
    pub layers: u32,
    /// Rectangle on the reference grid: x0, y0, x1, y1 (ISO/IEC 15444-1 B.2).
    pub area: [u32; 4],
    /// Threads, the caller's included.
    pub threads: u32,
}

/// Decodes an area of a codestream.
///
/// A codestream with a broken tail gives its valid part; [`Decoded::complaints`] tells.
///
/// # Errors
/// `Format` with the library's reason, the error of the source, `Cancelled`, `DeadlineExceeded`.
pub fn decode(source: &Splice<'_>, job: &Job, ctx: &CallContext<'_>) -> Result<Decoded, DecodeError> {
    let mut input = Input {
        source,
        ctx,
        position: 0,
        failure: None,
    };
    let messages = Mutex::new(Messages::default());
    // Declared in this order, the codec and the stream go before what their callbacks point to.
    let stream = Stream::new(&mut input)?;
    let codec = Codec::new(&messages)?;
    let outcome = run(&codec, &stream, job);
    drop(codec);
    drop(stream);
    if let Some(failure) = input.failure {
        return Err(failure);
    }
    let Messages { errors, warnings } = messages.into_inner();
    match outcome {
        Some(image) => Ok(Decoded {
            planes: Planes::Library(image),
            complaints: errors.into_iter().chain(warnings).collect(),
        }),
        // The first message names the cause, later ones only who passed it on.
        None => Err(DecodeError::format(match errors.into_iter().next() {
            Some(reason) => format!("codestream not decodable: {reason}"),
            None => "codestream not decodable".to_owned(),
        })),
    }
}

/// The sequence of calls of one decode; `None` when one fails, which leaves its reason in the messages.
fn run(codec: &Codec, stream: &Stream, job: &Job) -> Option<Image> {
    let mut parameters = MaybeUninit::<opj::opj_dparameters_t>::zeroed();
    // SAFETY: the function writes every field of the struct it is given.
    unsafe { opj::opj_set_default_decoder_parameters(parameters.as_mut_ptr()) };
    // SAFETY: a struct of numbers and of character arrays, all zero or set just now.
    let mut parameters = unsafe { parameters.assume_init() };
    parameters.cp_reduce = job.reduction;
    parameters.cp_layer = job.layers;
    // SAFETY: the codec is alive and not yet set up; the parameters are copied.
    done(unsafe { opj::opj_setup_decoder(codec.0.as_ptr(), &raw mut parameters) })?;
    // SAFETY: as above; to be called between setup and header.
    done(unsafe { opj::opj_decoder_set_strict_mode(codec.0.as_ptr(), 0) })?;
    // Always said: the library would otherwise take a number from the environment.
    let helpers = if job.threads > 1 {
        job.threads.min(64) as i32
    } else {
        0
    };
    // SAFETY: as above.
    done(unsafe { opj::opj_codec_set_threads(codec.0.as_ptr(), helpers) })?;
    let mut raw = std::ptr::null_mut();
    // SAFETY: stream and codec are alive; on success the image belongs to the caller.
    let read = unsafe { opj::opj_read_header(stream.0.as_ptr(), codec.0.as_ptr(), &raw mut raw) };
    let image = NonNull::new(raw).map(Image);
    done(read)?;
    let image = image?;
    let [x0, y0, x1, y1] = job.area.map(|v| i32::try_from(v).ok());
    let (x0, y0, x1, y1) = (x0?, y0?, x1?, y1?);
    // SAFETY: codec and image belong together.
    done(unsafe { opj::opj_set_decode_area(codec.0.as_ptr(), image.0.as_ptr(), x0, y0, x1, y1) })?;
    // SAFETY: all three are alive and belong together.
    done(unsafe { opj::opj_decode(codec.0.as_ptr(), stream.0.as_ptr(), image.0.as_ptr()) })?;
    Some(image)
}

fn done(result: opj::OPJ_BOOL) -> Option<()> {
    (result != 0).then_some(())
}

/// An image owned by this side.
pub(crate) struct Image(NonNull<opj::opj_image_t>);

// SAFETY: an image is plain memory without ties to the thread or the codec that made it; it is only
// read once `decode` has returned.
unsafe impl Send for Image {}
// SAFETY: as above, nothing behind a shared reference changes.
unsafe impl Sync for Image {}

impl Image {
    fn get(&self) -> &opj::opj_image_t {
        // SAFETY: the pointer came from the library, is owned by `self` and freed only in `drop`.
        unsafe { self.0.as_ref() }
    }

    /// The samples of a component, `None` if there is no such component or it has no samples.
    pub(crate) fn plane(&self, component: usize) -> Option<Plane<'_>> {
        let image = self.get();
        if image.comps.is_null() {
            return None;
        }
        // SAFETY: `comps` points to `numcomps` components, alive as long as the image.
        let comps = unsafe { std::slice::from_raw_parts(image.comps, image.numcomps as usize) };
        let comp = comps.get(component)?;
        if comp.data.is_null() {
            return None;
        }
        let len = (comp.w as usize).checked_mul(comp.h as usize)?;
        // SAFETY: after a successful decode `data` holds `w * h` samples (opj_image_comp_t), written by the
        // library or cleared by it; the slice borrows from `self`, which owns the image.
        let samples = unsafe { std::slice::from_raw_parts(comp.data, len) };
        Some(Plane {
            width: comp.w,
            height: comp.h,
            samples,
        })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { opj::opj_image_destroy(self.0.as_ptr()) }
    }
}

/// A codec owned by this side.
struct Codec(NonNull<opj::opj_codec_t>);

impl Codec {
    /// A decompressor for bare codestreams that reports to `messages`, which must outlive it.
    fn new(messages: &Mutex<Messages>) -> Result<Self, DecodeError> {
        // SAFETY: no arguments but the kind; the result is owned.
        let raw = unsafe { opj::opj_create_decompress(opj::CODEC_FORMAT::OPJ_CODEC_J2K) };
        let codec = NonNull::new(raw).map(Self).ok_or_else(out_of_memory)?;
        let data = std::ptr::from_ref(messages).cast_mut().cast::<c_void>();
        // SAFETY: `data` stays alive and in place as long as the codec; the callback only reads through it.
        unsafe { opj::opj_set_error_handler(codec.0.as_ptr(), Some(on_error), data) };
        // SAFETY: as above.
        unsafe { opj::opj_set_warning_handler(codec.0.as_ptr(), Some(on_warning), data) };
        Ok(codec)
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { opj::opj_destroy_codec(self.0.as_ptr()) }
    }
}

/// A stream owned by this side.
struct Stream(NonNull<opj::opj_stream_t>);

impl Stream {
    /// A stream that reads from `input`, which must outlive it.
    fn new(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let len = input.source.len();
        // SAFETY: no pointers; the result is owned.
        let raw = unsafe { opj::opj_stream_create(STREAM_BUFFER_BYTES, 1) };
        let stream = NonNull::new(raw).map(Self).ok_or_else(out_of_memory)?;
        let data = std::ptr::from_mut(input).cast::<c_void>();
        // SAFETY: `input` stays in place while the stream lives and is used by nobody else meanwhile.
        unsafe { opj::opj_stream_set_user_data(stream.0.as_ptr(), data, None) };
        // SAFETY: the stream is alive.
        unsafe { opj::opj_stream_set_user_data_length(stream.0.as_ptr(), len) };
        // SAFETY: the callback has the type the library asks for and catches panics.
        unsafe { opj::opj_stream_set_read_function(stream.0.as_ptr(), Some(on_read)) };
        // SAFETY: as above.
        unsafe { opj::opj_stream_set_skip_function(stream.0.as_ptr(), Some(on_skip)) };
        // SAFETY: as above.
        unsafe { opj::opj_stream_set_seek_function(stream.0.as_ptr(), Some(on_seek)) };
        Ok(stream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { opj::opj_stream_destroy(self.0.as_ptr()) }
    }
}

fn out_of_memory() -> DecodeError {
    DecodeError::limit("no memory for the decoder")
}

/// What the stream callbacks work on.
struct Input<'a> {
    source: &'a Splice<'a>,
    ctx: &'a CallContext<'a>,
    position: u64,
    failure: Option<DecodeError>,
}

impl Input<'_> {
    /// Reads at the position; `None` at the end, on failure and once the caller no longer waits.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.failure.is_some() {
            return None;
        }
        let read = match self.ctx.checkpoint() {
            Ok(()) => self.source.read_at(self.position, buffer),
            Err(error) => Err(error),
        };
        match read {
            Ok(0) => None,
            Ok(count) => {
                self.position += count as u64;
                Some(count)
            }
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Moves forward, to the end at most; `None` at the end.
    fn skip(&mut self, count: i64) -> Option<i64> {
        let left = self.source.len().saturating_sub(self.position);
        let count = u64::try_from(count).ok()?.min(left);
        if count == 0 {
            return None;
        }
        self.position += count;
        i64::try_from(count).ok()
    }

    fn seek(&mut self, position: i64) -> Option<()> {
        let position = u64::try_from(position).ok()?;
        if position > self.source.len() {
            return None;
        }
        self.position = position;
        Some(())
    }

    /// Runs one callback; a panic becomes a failure of the decode.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(result) => result,
            Err(_) => {
                self.failure = Some(DecodeError::new(
                    ErrorKind::Internal,
                    "a panic while the codestream was read",
                ));
                None
            }
        }
    }
}

/// Reads up to `len` bytes; all ones says that there are no more.
unsafe extern "C" fn on_read(buffer: *mut c_void, len: usize, data: *mut c_void) -> usize {
    if len == 0 {
        return 0;
    }
    // SAFETY: `data` is what `Stream::new` set: an `Input` used by this stream alone.
    let input = unsafe { &mut *data.cast::<Input<'_>>() };
    // SAFETY: the library lends `len` writable bytes of its own allocation for this call; they may be
    // uninitialized, and `read_at` only writes to them.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    input.guarded(|input| input.read(buffer)).unwrap_or(usize::MAX)
}

/// Skips bytes; −1 says that there are no more.
unsafe extern "C" fn on_skip(count: i64, data: *mut c_void) -> i64 {
    // SAFETY: as in `on_read`.
    let input = unsafe { &mut *data.cast::<Input<'_>>() };
    input.guarded(|input| input.skip(count)).unwrap_or(-1)
}

/// Moves to a position from the start.
unsafe extern "C" fn on_seek(position: i64, data: *mut c_void) -> opj::OPJ_BOOL {
    // SAFETY: as in `on_read`.
    let input = unsafe { &mut *data.cast::<Input<'_>>() };
    opj::OPJ_BOOL::from(input.guarded(|input| input.seek(position)).is_some())
}

/// Messages of one decode, the first ones only: a broken file can give thousands.
#[derive(Default)]
struct Messages {
    errors: Vec<String>,
    warnings: Vec<String>,
}

unsafe extern "C" fn on_error(message: *const c_char, data: *mut c_void) {
    // SAFETY: the library passes a terminated string and the pointer `Codec::new` set.
    unsafe { note(message, data, |messages| &mut messages.errors) }
}

unsafe extern "C" fn on_warning(message: *const c_char, data: *mut c_void) {
    // SAFETY: as above.
    unsafe { note(message, data, |messages| &mut messages.warnings) }
}

/// Keeps a message. Called from any thread of the library, hence the lock.
///
/// # Safety
/// `message` is a terminated string, `data` a `Mutex<Messages>` that is alive.
unsafe fn note(message: *const c_char, data: *mut c_void, list: fn(&mut Messages) -> &mut Vec<String>) {
    // SAFETY: promised by the caller.
    let messages = unsafe { &*data.cast::<Mutex<Messages>>() };
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(message) };
    // Nothing in here panics but an allocation that fails, which ends the process anyway.
    let mut messages = messages.lock();
    let list = list(&mut messages);
    if list.len() < MAX_MESSAGES {
        let text = text.to_string_lossy();
        let text: String = text.trim().chars().take(MAX_MESSAGE_CHARS).collect();
        if !list.contains(&text) {
            list.push(text.trim_end_matches('.').to_owned());
        }
    }
}
