//! The table of settings.

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingKind {
    /// `1/0`, `true/false`, `yes/no`, `on/off`.
    Boolean,
    /// A whole number in a range.
    Integer(i64, i64),
    /// A number in a range.
    Number(f64, f64),
    /// Any text.
    Text,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of IPv4 addresses, separated by commas.
    Addresses,
    /// Permission bits in octal.
    Octal,
    /// A list of memcached servers, separated by commas.
    Servers,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What it takes.
    pub kind: SettingKind,
    /// The value used when it is not set.
    pub default: &'static str,
    /// Installations of iipsrv may carry it: wrong values are replaced with a warning.
    pub inherited: bool,
    /// One sentence for `--help`.
    pub help: &'static str,
}

impl Setting {
    /// The flag: `--max-cvt` for `MAX_CVT`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// The accepted range for messages and `--help`.
    #[must_use]
    pub fn range(&self) -> String {
        match self.kind {
            SettingKind::Boolean => "0 or 1".into(),
            SettingKind::Integer(i64::MIN, i64::MAX) => "a whole number".into(),
            SettingKind::Integer(i64::MIN, max) => format!("a whole number, {max} or less"),
            SettingKind::Integer(min, i64::MAX) => format!("a whole number, {min} or more"),
            SettingKind::Integer(min, max) => format!("{min} to {max}"),
            SettingKind::Number(min, f64::INFINITY) => format!("a number, {min} or more"),
            SettingKind::Number(min, max) => format!("{min} to {max}"),
            SettingKind::Text => "text".into(),
            SettingKind::Choice(words) => words.join(" or "),
            SettingKind::Addresses => "IPv4 addresses, separated by commas".into(),
            SettingKind::Servers => "host, host:port, [ip6]:port or /path, separated by commas".into(),
            SettingKind::Octal => "octal permission bits, as in 660".into(),
        }
    }
}

const fn inherited(
    name: &'static str,
    kind: SettingKind,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        inherited: true,
        help,
    }
}

const fn own(name: &'static str, kind: SettingKind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        kind,
        default,
        inherited: false,
        help,
    }
}

use SettingKind::{Addresses, Boolean, Choice, Integer, Number, Octal, Servers, Text};

/// Every setting, in the order of `--help`.
pub const SETTINGS: &[Setting] = &[
    inherited(
        "FILESYSTEM_PREFIX",
        Text,
        "",
        "folder images are served from, or a folder and the start of every name",
    ),
    inherited("FILESYSTEM_SUFFIX", Text, "", "text added to every identifier"),
    own(
        "FOLLOW_SYMLINKS",
        Boolean,
        "0",
        "follow links that lead out of the folder",
    ),
    inherited(
        "FILENAME_PATTERN",
        Text,
        "_pyr_",
        "text between the name of an image sequence and its angles",
    ),
    inherited(
        "MAX_IMAGE_CACHE_SIZE",
        Number(0.0, f64::INFINITY),
        "10",
        "cache of tiles and pictures, in units of 1,024,000 bytes; 0 = off",
    ),
    inherited(
        "MAX_IMAGE_METADATA_CACHE_SIZE",
        Integer(-1, i64::MAX),
        "1000",
        "images kept open; 0 = none, -1 = no limit",
    ),
    inherited(
        "MAX_METADATA_CACHE_SIZE",
        Integer(-1, i64::MAX),
        "1000",
        "older name of MAX_IMAGE_METADATA_CACHE_SIZE, which wins",
    ),
    inherited("JPEG_QUALITY", Integer(1, 100), "75", "quality of JPEG pictures"),
    inherited("PNG_QUALITY", Integer(0, 9), "1", "deflate level of PNG pictures"),
    inherited(
        "WEBP_QUALITY",
        Integer(-1, 100),
        "50",
        "quality of WebP pictures; -1 = lossless",
    ),
    inherited(
        "AVIF_QUALITY",
        Integer(-1, 100),
        "50",
        "quality of AVIF pictures; -1 = best",
    ),
    inherited(
        "AVIF_CODEC",
        Integer(0, 3),
        "0",
        "accepted for old set-ups; one AVIF encoder is built in",
    ),
    inherited(
        "TIFF_COMPRESSION",
        Integer(0, 5),
        "2",
        "compression of TIFF pictures: 0 none, 1 LZW, 2 deflate, 3 JPEG, 4 WebP, 5 Zstandard",
    ),
    inherited(
        "TIFF_QUALITY",
        Integer(0, 100),
        "1",
        "quality or level of the TIFF compression",
    ),
    inherited(
        "MAX_CVT",
        Integer(i64::MIN, 65_535),
        "5000",
        "longest side of an exported picture; -1 = the image's own size",
    ),
    own(
        "MAX_OUTPUT_PIXELS",
        Integer(1, 1 << 40),
        "400000000",
        "most pixels of any picture",
    ),
    own(
        "MAX_DECODED_PIXELS",
        Integer(1, 1 << 44),
        "1000000000",
        "most pixels decoded for one request",
    ),
    own(
        "MAX_REQUEST_MEMORY",
        Integer(16, 1 << 20),
        "4096",
        "memory for the pixels of one request, in MiB",
    ),
    inherited(
        "ALLOW_UPSCALING",
        Boolean,
        "1",
        "allow pictures larger than their source",
    ),
    inherited(
        "MAX_LAYERS",
        Integer(i64::MIN, i64::MAX),
        "0",
        "JPEG 2000 quality layers: 0 = half, more = at most, negative = all",
    ),
    inherited(
        "MAX_ICC",
        Integer(i64::MIN, i64::MAX),
        "65536",
        "embed color profiles smaller than this many bytes; 0 = never, -1 = always",
    ),
    own(
        "OUTPUT_PROFILE",
        Choice(&["source", "srgb"]),
        "source",
        "colors of pictures: source = as stored, with their profile; srgb = converted, without one",
    ),
    own(
        "OUTPUT_DEPTH",
        Choice(&["8", "source"]),
        "8",
        "bits of a sample: 8, or those of the source (9 to 16) in PNG and TIFF, and 10 in AVIF",
    ),
    own(
        "ORIENTATION",
        Choice(&["ignore", "apply"]),
        "ignore",
        "ignore = pictures as stored; apply = turned upright, as their orientation tag (TIFF, EXIF) says",
    ),
    own(
        "WATERMARK",
        Text,
        "",
        "image laid over every tile and every block of an export; empty = none",
    ),
    inherited(
        "WATERMARK_OPACITY",
        Number(0.0, 1.0),
        "1",
        "opacity of the watermark",
    ),
    inherited(
        "WATERMARK_PROBABILITY",
        Number(0.0, 1.0),
        "1",
        "share of the tiles and blocks that carry the watermark",
    ),
    own(
        "WATERMARK_BLEND",
        Choice(&["auto", "over", "add"]),
        "auto",
        "over = laid over, add = added to the colors, auto = over if the watermark has opacity, else add",
    ),
    inherited(
        "EMBED_ICC",
        Boolean,
        "1",
        "older switch: 0 is MAX_ICC=0; MAX_ICC wins",
    ),
    inherited(
        "CODEC_PASSTHROUGH",
        Boolean,
        "1",
        "hand on stored JPEG and WebP tiles undecoded",
    ),
    inherited(
        "INTERPOLATION",
        Integer(i64::MIN, i64::MAX),
        "1",
        "resizing: 0 nearest, 1 bilinear, 2 Lanczos",
    ),
    inherited(
        "CORS",
        Text,
        "",
        "Access-Control-Allow-Origin; unset = * for IIIF only, empty = off",
    ),
    inherited(
        "BASE_URL",
        Text,
        "",
        "base of IIIF identifiers, where the server does not see its public address",
    ),
    inherited(
        "CACHE_CONTROL",
        Text,
        "max-age=86400",
        "Cache-Control of pictures and documents; empty = none",
    ),
    inherited(
        "URI_MAP",
        Text,
        "",
        "path prefixes: prefix=>protocol, separated by commas; IIP, IIIF, IIIF2, IIIF3, DeepZoom, Zoomify",
    ),
    inherited(
        "IIIF_VERSION",
        Integer(1, 3),
        "3",
        "IIIF Image API version of the default endpoint",
    ),
    inherited(
        "IIIF_DELIMITER",
        Text,
        "",
        "text between identifier and page number",
    ),
    own("IIIF_EXTRA_INFO", Text, "", "JSON members added to info.json"),
    inherited(
        "IIIF_EXTENSIONS",
        Boolean,
        "0",
        "qualities negative, stretch, equalization and log",
    ),
    inherited("COPYRIGHT", Text, "", "rights text of images that have none"),
    own(
        "TRUSTED_PROXIES",
        Text,
        "",
        "addresses or networks whose forwarding fields are believed; * = all",
    ),
    own(
        "RENDER_THREADS",
        Integer(0, 1024),
        "0",
        "threads that make pictures; 0 = as many as cores",
    ),
    inherited(
        "OMP_NUM_THREADS",
        Integer(0, 1024),
        "0",
        "older name of RENDER_THREADS, which wins",
    ),
    own(
        "MAX_RENDER_MEMORY",
        Integer(16, 1 << 24),
        "8192",
        "memory for the pixels of all requests together, in MiB; requests beyond it get a 503",
    ),
    own(
        "RENDER_QUEUE",
        Integer(1, 1_000_000),
        "1000",
        "pictures that may wait to be made before requests are refused",
    ),
    own(
        "REQUEST_TIMEOUT",
        Integer(1, 86_400),
        "60",
        "seconds a request may take",
    ),
    own(
        "DECODER_MODULES",
        Text,
        "",
        "decoder modules, separated by commas: paths or names; optional:PATH, -NAME leaves one out",
    ),
    own(
        "DECODER_OPTIONS",
        Text,
        "",
        "settings of modules: module.option=value, separated by commas",
    ),
    own(
        "DECODER_CLAIMS",
        Text,
        "",
        "files a module gets whatever it claims: module=.extension or module=folder/, separated by commas; \
         with - before it: never",
    ),
    own(
        "FCGI_WEB_SERVER_ADDRS",
        Addresses,
        "",
        "addresses FastCGI connections are taken from; empty = all",
    ),
    own(
        "MAX_CONNECTIONS",
        Integer(1, 1_000_000),
        "4096",
        "connections open at the same time",
    ),
    own(
        "BACKLOG",
        Integer(1, 65_535),
        "2048",
        "connections that may wait to be accepted",
    ),
    own("SOCKET_MODE", Octal, "", "permission bits of UNIX sockets"),
    own(
        "MAX_BODY_SIZE",
        Integer(0, 1 << 30),
        "65536",
        "largest request body in bytes",
    ),
    own(
        "IDLE_TIMEOUT",
        Integer(1, 86_400),
        "60",
        "seconds a connection may wait for its next request",
    ),
    inherited(
        "MEMCACHED_SERVERS",
        Servers,
        "",
        "memcached servers that share pictures, separated by commas: host, host:port, [ip6]:port or /path; empty = off",
    ),
    inherited(
        "MEMCACHED_TIMEOUT",
        Integer(i64::MIN, i64::MAX),
        "86400",
        "seconds memcached keeps a picture, at most thirty days; 0 or less = no limit",
    ),
    own(
        "MEMCACHED_PATIENCE",
        Integer(1, 10_000),
        "50",
        "milliseconds to wait for memcached before a picture is made without it",
    ),
    own(
        "ADMIN_SOCKET",
        Text,
        "",
        "path of the UNIX socket for iiphost status and iiphost purge; empty = none",
    ),
    own(
        "SERVER_TIMING",
        Boolean,
        "0",
        "tell in a Server-Timing field where a reply came from and how long it took",
    ),
    inherited(
        "KAKADU_READMODE",
        Integer(i64::MIN, i64::MAX),
        "0",
        "accepted for old set-ups, without effect",
    ),
    inherited(
        "VERBOSITY",
        Integer(0, 100),
        "1",
        "0 = silent, 1 = start and access lines, up to 5 = everything",
    ),
    inherited(
        "LOGFILE",
        Text,
        "",
        "file for the log, or syslog; unset = standard error",
    ),
    own("LOG_JSON", Boolean, "0", "log lines as JSON objects"),
];
