//! A decoder behind its tables and in front of them again, in one process.

#![cfg(feature = "host")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::module_side::{Factory, root};
use super::remote::RemoteDecoder;
use crate::host::Faults;
use crate::*;

#[path = "../../tests/modules/scripted.rs"]
mod scripted;

use scripted::{KINDS, Scripted, sample, shape};

struct MakeScripted;

impl Factory for MakeScripted {
    fn make() -> Box<dyn ImageDecoder> {
        Box::new(Scripted::default())
    }
}

struct MakePanic;

impl Factory for MakePanic {
    fn make() -> Box<dyn ImageDecoder> {
        panic!("nothing to make")
    }
}

struct Fixture {
    decoder: RemoteDecoder,
    faults: Arc<Faults>,
    services: Recorder,
    limits: Limits,
}

impl Fixture {
    fn new() -> Self {
        let faults = Arc::new(Faults::default());
        Self {
            decoder: RemoteDecoder::new(root::<MakeScripted>(), faults.clone()).unwrap(),
            faults,
            services: Recorder::default(),
            limits: Limits {
                max_pixels: 1,
                max_bytes: 1000,
                max_threads: 3,
            },
        }
    }

    fn ctx(&self) -> CallContext<'_> {
        CallContext::new(self.limits, &self.services)
    }

    fn open(&self, script: &str) -> Result<Box<dyn ImageReader>, DecodeError> {
        self.decoder
            .open(Arc::new(script.as_bytes().to_vec()), &self.ctx())
    }

    fn read(&self, reader: &dyn ImageReader, region: Region) -> Result<Vec<u8>, DecodeError> {
        let (width, height) = (region.width, region.height);
        let stride = width as usize + 3;
        let mut bytes = vec![0; stride * height as usize];
        let mut buffer = PixelBuffer::new(&mut bytes, width, height, 1, SampleFormat::U8, stride)?;
        reader.read(&request(region), &mut buffer, &self.ctx())?;
        Ok(bytes)
    }
}

fn request(region: Region) -> ReadRequest {
    ReadRequest {
        page: 0,
        level: 0,
        region,
        quality_layers: 2,
    }
}

const SMALL: Region = Region::new(5, 7, 4, 2);

fn tile(tile_col: u32, tile_row: u32) -> TileId {
    TileId {
        page: 0,
        level: 1,
        tile_col,
        tile_row,
    }
}

/// Services that remember what they were told.
#[derive(Default)]
struct Recorder {
    cancelled: AtomicBool,
    deadline: Option<Instant>,
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl HostServices for Recorder {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn time_left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap().push((level, message.to_owned()));
    }
}

/// Services that panic.
struct BrokenServices;

impl HostServices for BrokenServices {
    fn is_cancelled(&self) -> bool {
        panic!("is_cancelled of the host")
    }

    fn time_left(&self) -> Duration {
        panic!("time_left of the host")
    }

    fn log(&self, _level: LogLevel, _message: &str) {
        panic!("log of the host")
    }
}

#[test]
fn what_a_module_says_about_itself_arrives() {
    let fixture = Fixture::new();
    assert_eq!(fixture.decoder.describe(), Scripted::default().describe());
}

#[test]
fn probe_sees_the_head_and_its_claim_arrives() {
    let fixture = Fixture::new();
    for (action, level) in [
        ("exact", ClaimLevel::Exact),
        ("specific", ClaimLevel::Specific),
        ("generic", ClaimLevel::Generic),
        ("nothing", ClaimLevel::None),
    ] {
        let script = format!("probe: {action}");
        let head = FileHead {
            bytes: script.as_bytes(),
            file_len: 1 << 40,
            extension: "scr",
        };
        assert_eq!(
            fixture.decoder.probe(&head),
            Claim::new(level, "1099511627776 bytes, .scr")
        );
    }
}

#[test]
fn shape_pixels_tiles_metadata_and_cost_arrive() {
    let mut fixture = Fixture::new();
    let options = Options::new(vec![("depth".to_owned(), "7".to_owned())]);
    fixture.decoder.configure(&options).unwrap();
    let reader = fixture.open("a script").unwrap();
    assert_eq!(reader.info(), &shape());

    let bytes = fixture.read(&*reader, SMALL).unwrap();
    let mut expected = Vec::new();
    for y in 7..9 {
        expected.extend((5..9).map(|x| sample(0, x, y)));
        expected.extend([0; 3]);
    }
    assert_eq!(bytes, expected);

    let found = reader.encoded_tile(tile(1, 2), &fixture.ctx()).unwrap().unwrap();
    assert_eq!(
        found,
        EncodedTile {
            format: EncodedFormat::Jpeg,
            width: 16,
            height: 8,
            bytes: vec![18; 4],
        }
    );
    let metadata = |kind| reader.metadata(kind, &fixture.ctx()).unwrap();
    assert_eq!(metadata(MetadataKind::Icc).unwrap(), b"[(\"depth\", \"7\")]");
    assert_eq!(metadata(MetadataKind::Xmp), None);
    assert_eq!(metadata(MetadataKind::Exif).unwrap(), b"ript");
    assert_eq!(metadata(MetadataKind::Iptc), None);
    assert_eq!(
        reader.estimate(&request(SMALL)),
        Cost {
            bytes_read: 1,
            pixels_decoded: 8,
            memory_bytes: 3
        }
    );
    assert_eq!((fixture.faults.panics(), fixture.faults.lies()), (0, 0));
}

#[test]
fn every_kind_of_failure_arrives_from_every_call() {
    for &kind in KINDS {
        let fixture = Fixture::new();
        let name = kind.name();
        let error = fixture.open(&format!("open: {name}")).err().unwrap();
        assert_eq!(error, DecodeError::new(kind, "scripted failure of open"));
        // A new reader each time: after `Panicked` it is not used again.
        let reader = |entry: &str| fixture.open(&format!("{entry}: {name}")).unwrap();
        let error = fixture.read(&*reader("read"), SMALL).unwrap_err();
        assert_eq!(error, DecodeError::new(kind, "scripted failure of read"));
        let error = reader("encoded_tile")
            .encoded_tile(tile(0, 0), &fixture.ctx())
            .unwrap_err();
        assert_eq!(error, DecodeError::new(kind, "scripted failure of encoded_tile"));
        let error = reader("metadata")
            .metadata(MetadataKind::Icc, &fixture.ctx())
            .unwrap_err();
        assert_eq!(error, DecodeError::new(kind, "scripted failure of metadata"));
    }
    let mut fixture = Fixture::new();
    let wrong = Options::new(vec![("depth".to_owned(), "wrong".to_owned())]);
    assert_eq!(
        fixture.decoder.configure(&wrong),
        Err(DecodeError::usage("option depth"))
    );
}

#[test]
fn a_panic_in_any_call_is_an_error_with_its_text() {
    let panicked = |entry: &str| DecodeError::new(ErrorKind::Panicked, format!("scripted panic in {entry}"));
    let mut fixture = Fixture::new();

    let error = RemoteDecoder::new(root::<MakePanic>(), fixture.faults.clone())
        .err()
        .unwrap();
    assert_eq!(error, DecodeError::new(ErrorKind::Panicked, "nothing to make"));
    assert_eq!(fixture.faults.panics(), 1);

    let options = Options::new(vec![("depth".to_owned(), "panic".to_owned())]);
    assert_eq!(fixture.decoder.configure(&options), Err(panicked("configure")));

    let head = FileHead {
        bytes: b"probe: panic",
        file_len: 12,
        extension: "",
    };
    assert_eq!(
        fixture.decoder.probe(&head),
        Claim::none("panicked: scripted panic in probe")
    );
    assert_eq!(fixture.open("open: panic").err(), Some(panicked("open")));
    assert_eq!(fixture.open("info: panic").err(), Some(panicked("info")));
    assert_eq!(fixture.faults.panics(), 5);

    let reader = fixture.open("read: panic").unwrap();
    assert_eq!(fixture.read(&*reader, SMALL), Err(panicked("read")));
    let reader = fixture.open("encoded_tile: panic").unwrap();
    assert_eq!(
        reader.encoded_tile(tile(0, 0), &fixture.ctx()),
        Err(panicked("encoded_tile"))
    );
    let reader = fixture.open("metadata: panic").unwrap();
    assert_eq!(
        reader.metadata(MetadataKind::Exif, &fixture.ctx()),
        Err(panicked("metadata"))
    );
    drop(fixture.open("drop: panic").unwrap());
    assert_eq!(fixture.faults.panics(), 9);

    // Nothing of that has hurt the decoder.
    let reader = fixture.open("").unwrap();
    assert!(fixture.read(&*reader, SMALL).is_ok());
}

#[test]
fn a_reader_that_has_panicked_is_not_used_again() {
    let fixture = Fixture::new();
    let reader = fixture.open("estimate: panic").unwrap();
    // The estimate itself cannot fail: it is the whole level, and the next call tells.
    assert_eq!(reader.estimate(&request(SMALL)).pixels_decoded, 64 * 40);
    assert_eq!(fixture.faults.panics(), 1);
    let expected = DecodeError::new(
        ErrorKind::Panicked,
        "this reader has panicked before: scripted panic in estimate",
    );
    assert_eq!(fixture.read(&*reader, SMALL), Err(expected.clone()));
    assert_eq!(
        reader.encoded_tile(tile(0, 0), &fixture.ctx()),
        Err(expected.clone())
    );
    assert_eq!(reader.metadata(MetadataKind::Icc, &fixture.ctx()), Err(expected));
    assert_eq!(fixture.faults.panics(), 1);
}

#[test]
fn an_impossible_answer_is_an_internal_error_that_names_the_field() {
    let fixture = Fixture::new();
    let internal = |result: Result<(), DecodeError>, what: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains(what), "{error}");
    };
    internal(
        fixture.open("info: lie").map(drop),
        "level 1 is 65x20, larger than the 64x40",
    );
    let reader = fixture.open("encoded_tile: lie\nmetadata: lie").unwrap();
    internal(
        reader.encoded_tile(tile(0, 0), &fixture.ctx()).map(drop),
        "an encoded tile of 1001 bytes",
    );
    internal(
        reader.metadata(MetadataKind::Icc, &fixture.ctx()).map(drop),
        "1001 bytes of metadata",
    );
    assert_eq!((fixture.faults.panics(), fixture.faults.lies()), (0, 3));
}

#[test]
fn requests_for_what_does_not_exist_never_reach_the_module() {
    let fixture = Fixture::new();
    let reader = fixture.open("read: panic\nencoded_tile: panic").unwrap();
    let usage = |error: DecodeError| assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    usage(fixture.read(&*reader, Region::new(61, 0, 4, 2)).unwrap_err());
    usage(reader.encoded_tile(tile(2, 0), &fixture.ctx()).unwrap_err());
    let mut bytes = [0; 9];
    let mut narrow = PixelBuffer::new(&mut bytes, 3, 2, 1, SampleFormat::U8, 3).unwrap();
    usage(
        reader
            .read(&request(SMALL), &mut narrow, &fixture.ctx())
            .unwrap_err(),
    );
    assert_eq!(fixture.faults.panics(), 0);
}

#[test]
fn a_call_sees_its_limits_and_its_log_lines_arrive() {
    let fixture = Fixture::new();
    let error = fixture.open("open: limits").err().unwrap();
    assert_eq!(error, DecodeError::limit(format!("{:?}", fixture.limits)));
    fixture.open("open: log").unwrap();
    let lines = fixture.services.lines.lock().unwrap();
    let open = |level| (level, "open".to_owned());
    assert_eq!(
        *lines,
        [
            open(LogLevel::Error),
            open(LogLevel::Warning),
            open(LogLevel::Info),
            (LogLevel::Debug, "é".to_owned())
        ]
    );
}

#[test]
fn a_call_sees_its_deadline() {
    let mut fixture = Fixture::new();
    let reader = fixture.open("read: wait").unwrap();
    fixture.services.deadline = Some(Instant::now() + Duration::from_millis(20));
    let error = fixture.read(&*reader, SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(Some(Instant::now()) >= fixture.services.deadline);
}

#[test]
fn a_running_call_sees_that_it_is_cancelled() {
    let fixture = Fixture::new();
    let reader = fixture.open("read: wait").unwrap();
    let result = std::thread::scope(|scope| {
        let call = scope.spawn(|| fixture.read(&*reader, SMALL));
        std::thread::sleep(Duration::from_millis(10));
        fixture.services.cancelled.store(true, Ordering::Relaxed);
        call.join().unwrap()
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_panic_of_the_host_does_not_cross_either() {
    let fixture = Fixture::new();
    let broken = CallContext::new(Limits::default(), &BrokenServices);
    let open = |script: &str| {
        fixture
            .decoder
            .open(Arc::new(script.as_bytes().to_vec()), &broken)
    };
    assert!(open("open: log").is_ok());
    // Cancelled, so that the call ends.
    assert_eq!(open("open: wait").err().unwrap().kind(), ErrorKind::Cancelled);
    assert_eq!(fixture.faults.panics(), 0);
}

/// A source that is wrong in one way, and counts how often it was dropped.
struct OddSource {
    way: &'static str,
    drops: Arc<AtomicUsize>,
}

impl ByteSource for OddSource {
    fn len(&self) -> u64 {
        assert_ne!(self.way, "len panics");
        5
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        match self.way {
            "read_at panics" => panic!("read_at of the host"),
            "read_at fails" => Err(DecodeError::io("the disk is gone")),
            "too much" => Ok(buffer.len() + 1),
            "ends early" => Ok(0),
            _ => {
                buffer.fill(b' ');
                Ok(buffer.len())
            }
        }
    }

    fn local_path(&self) -> Option<&Path> {
        assert_ne!(self.way, "local_path panics");
        Some(Path::new("/images/ä b.tif"))
    }
}

impl Drop for OddSource {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn failures_of_a_source_come_back_through_the_module() {
    let fixture = Fixture::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let open = |way| {
        let source = OddSource {
            way,
            drops: drops.clone(),
        };
        fixture.decoder.open(Arc::new(source), &fixture.ctx())
    };
    let failure = |way| {
        let error = open(way).err().unwrap();
        (error.kind(), error.message().to_owned())
    };
    assert_eq!(
        failure("read_at fails"),
        (ErrorKind::Io, "the disk is gone".to_owned())
    );
    assert_eq!(
        failure("read_at panics"),
        (ErrorKind::Panicked, "read_at of the host".to_owned())
    );
    assert_eq!(failure("too much").0, ErrorKind::Internal);
    assert_eq!(failure("ends early").0, ErrorKind::Format);
    assert_eq!(drops.load(Ordering::Relaxed), 4);

    let path_of = |reader: &dyn ImageReader| {
        let bytes = reader.metadata(MetadataKind::Xmp, &fixture.ctx()).unwrap();
        bytes.map(|b| PathBuf::from(String::from_utf8(b).unwrap()))
    };
    let reader = open("right").unwrap();
    assert_eq!(path_of(&*reader).unwrap(), Path::new("/images/ä b.tif"));
    assert_eq!(drops.load(Ordering::Relaxed), 4, "the reader keeps its source");
    drop(reader);
    assert_eq!(drops.load(Ordering::Relaxed), 5);
    assert_eq!(path_of(&*open("local_path panics").unwrap()), None);
    // No length: nothing to read, which is an empty script.
    assert!(open("len panics").is_ok());
}

#[test]
fn a_reader_outlives_its_decoder_and_works_from_many_threads() {
    let fixture = Fixture::new();
    let reader = fixture.open("").unwrap();
    let Fixture {
        decoder, services, ..
    } = fixture;
    drop(decoder);
    std::thread::scope(|scope| {
        for x in 0..8 {
            let (reader, services) = (&reader, &services);
            scope.spawn(move || {
                for y in 0..40 {
                    let mut byte = [0];
                    let mut out = PixelBuffer::new(&mut byte, 1, 1, 1, SampleFormat::U8, 1).unwrap();
                    let ctx = CallContext::new(Limits::default(), services);
                    reader
                        .read(&request(Region::new(x, y, 1, 1)), &mut out, &ctx)
                        .unwrap();
                    assert_eq!(byte, [sample(0, x, y)]);
                }
            });
        }
    });
}

/// A module of an earlier release: its table of reader functions ends where the first release ends.
mod older {
    // Its accessors belong to the release that made it.
    #![allow(unsafe_code, dead_code)]

    use std::ffi::c_void;

    use abi_stable::StableAbi;
    use abi_stable::prefix_type::WithMetadata;

    use super::super::data::{RawBuffer, RawContext, RawCost, RawImageInfo, RawRequest};
    use super::super::status::Status;
    use super::super::vtable::{DecoderVtableRef, ModuleRootRef};

    #[repr(C)]
    #[derive(StableAbi)]
    #[sabi(kind(Prefix(prefix_ref = ReaderVtableRef, prefix_fields = ReaderVtablePrefix)))]
    pub(super) struct ReaderVtable {
        pub(super) release: unsafe extern "C" fn(handle: *mut c_void) -> Status,
        pub(super) info: unsafe extern "C" fn(handle: *const c_void, out: &mut RawImageInfo) -> Status,
        pub(super) read: unsafe extern "C" fn(
            handle: *const c_void,
            request: &RawRequest<'_>,
            out: &RawBuffer<'_>,
            ctx: &RawContext<'_>,
        ) -> Status,
        #[sabi(last_prefix_field)]
        pub(super) estimate: unsafe extern "C" fn(
            handle: *const c_void,
            request: &RawRequest<'_>,
            out: &mut RawCost,
        ) -> Status,
    }

    #[repr(C)]
    #[derive(StableAbi)]
    #[sabi(kind(Prefix(prefix_ref = OlderRootRef, prefix_fields = ModuleRootPrefix)))]
    pub(super) struct ModuleRoot {
        pub(super) create: unsafe extern "C" fn(out: &mut *mut c_void) -> Status,
        pub(super) decoder: DecoderVtableRef,
        #[sabi(last_prefix_field)]
        pub(super) reader: ReaderVtableRef,
    }

    /// The root of the module made of `new`, as an earlier release would have it.
    pub(super) fn root(new: ModuleRootRef) -> ModuleRootRef {
        let reader = new.reader();
        let reader = ReaderVtable {
            release: reader.release(),
            info: reader.info(),
            read: reader.read(),
            estimate: reader.estimate(),
        };
        let reader = Box::leak(Box::new(WithMetadata::new(reader)));
        let root = ModuleRoot {
            create: new.create(),
            decoder: new.decoder(),
            reader: ReaderVtableRef(reader.static_as_prefix()),
        };
        let root = OlderRootRef(Box::leak(Box::new(WithMetadata::new(root))).static_as_prefix());
        super::super::library::compatible(OlderRootRef::LAYOUT, ModuleRootRef::LAYOUT).unwrap();
        // SAFETY: what `load` does after the same check of the layouts.
        ModuleRootRef(unsafe { root.0.cast() })
    }
}

#[test]
fn functions_that_an_older_module_lacks_fall_back_to_the_defaults_of_the_trait() {
    let faults = Arc::new(Faults::default());
    let decoder = RemoteDecoder::new(older::root(root::<MakeScripted>()), faults).unwrap();
    let services = PlainServices::default();
    let ctx = CallContext::new(Limits::default(), &services);
    let reader = decoder
        .open(Arc::new(b"encoded_tile: panic\nmetadata: panic".to_vec()), &ctx)
        .unwrap();
    assert_eq!(reader.encoded_tile(tile(0, 0), &ctx), Ok(None));
    assert_eq!(reader.metadata(MetadataKind::Icc, &ctx), Ok(None));
    assert_eq!(reader.estimate(&request(SMALL)).pixels_decoded, 8);
}

/// What a call costs beyond the work in it. The bound is loose: it is there to notice a copy of the
/// buffer or a lock that should not be there, not to measure; `--nocapture` shows the number.
#[test]
fn a_call_costs_microseconds_at_most() {
    let fixture = Fixture::new();
    let reader = fixture.open("").unwrap();
    let ctx = fixture.ctx();
    let mut byte = [0];
    let mut out = PixelBuffer::new(&mut byte, 1, 1, 1, SampleFormat::U8, 1).unwrap();
    let request = request(Region::new(0, 0, 1, 1));
    let calls = 20_000;
    let start = Instant::now();
    for _ in 0..calls {
        reader.read(&request, &mut out, &ctx).unwrap();
    }
    let each = start.elapsed() / calls;
    println!("one read of one pixel across the tables: {each:?}");
    assert!(each < Duration::from_micros(100), "{each:?}");
}
