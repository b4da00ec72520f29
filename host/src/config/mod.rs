//! Everything that can be set, from flags, environment variables and a file, checked at the start.
//!
//! One table ([`SETTINGS`]) names every setting, its default and its range; the command line, the
//! environment, the file and `--help` all come from it. A flag wins over a variable, a variable over the file. Wrong values of variables that
//! an existing installation may carry are warned about and replaced, so that an old set-up starts; wrong
//! flags and wrong new variables stop the start, all of them at once.

mod file;
mod settings;
mod source;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::MemcachedSettings;
use crate::limits::Limits;

pub use settings::{SETTINGS, Setting, SettingKind};
pub use source::{Problem, Severity, Values};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `VERBOSITY`: 0 silent … 5 everything.
    pub verbosity: u32,
    /// `LOGFILE`: file, `syslog`, or `None` for standard error.
    pub log_file: Option<String>,
    /// `LOG_JSON`: log lines as JSON objects.
    pub log_json: bool,
    /// `MAX_IMAGE_CACHE_SIZE` in bytes: encoded replies and decoded tiles together.
    pub image_cache_bytes: usize,
    /// `MAX_IMAGE_METADATA_CACHE_SIZE`: open images kept; `None` = as many as files may be open.
    pub open_images: Option<usize>,
    /// `FILENAME_PATTERN`: what stands between the name of a sequence and its angles.
    pub filename_pattern: String,
    /// `FILESYSTEM_PREFIX`.
    pub filesystem_prefix: Option<OsString>,
    /// `FILESYSTEM_SUFFIX`.
    pub filesystem_suffix: OsString,
    /// `FOLLOW_SYMLINKS`: links may lead out of the root.
    pub follow_symlinks: bool,
    /// Encoder defaults.
    pub encoders: Encoders,
    /// Limits of one request.
    pub limits: Limits,
    /// `MAX_ICC` in bytes: profiles of that size and more are not embedded; negative = any size.
    pub max_icc_bytes: i64,
    /// `OUTPUT_PROFILE=srgb`: colors are converted to sRGB, whatever their profile.
    pub convert_to_srgb: bool,
    /// `OUTPUT_DEPTH=source`: samples of 9 to 16 bits stay deep where the format can hold them.
    pub deep_output: bool,
    /// `ORIENTATION=apply`: pictures are turned upright, as their files say.
    pub upright: bool,
    /// `WATERMARK` and what belongs to it.
    pub watermark: Watermark,
    /// `CODEC_PASSTHROUGH`: stored tiles are handed on undecoded where they are what was asked.
    pub codec_passthrough: bool,
    /// `INTERPOLATION`.
    pub interpolation: Interpolation,
    /// `CORS`: `None` = `*` for IIIF and off for the others; empty = off everywhere.
    pub cors: Option<String>,
    /// `BASE_URL`.
    pub base_url: Option<String>,
    /// `CACHE_CONTROL`; empty = the field is left out.
    pub cache_control: String,
    /// `URI_MAP`.
    pub uri_map: Option<String>,
    /// `IIIF_VERSION`: 1, 2 or 3.
    pub iiif_version: u8,
    /// `IIIF_DELIMITER`; empty = off.
    pub iiif_delimiter: String,
    /// `IIIF_EXTRA_INFO`: members added to info.json.
    pub iiif_extra_info: String,
    /// `IIIF_EXTENSIONS`: extra qualities.
    pub iiif_extensions: bool,
    /// `COPYRIGHT`: rights text for images without one.
    pub copyright: Option<String>,
    /// `TRUSTED_PROXIES`: whose forwarding fields are believed.
    pub trusted_proxies: String,
    /// `RENDER_THREADS`.
    pub render_threads: usize,
    /// `MAX_RENDER_MEMORY` in bytes: pixels of all requests together.
    pub render_memory_bytes: u64,
    /// `RENDER_QUEUE`: jobs that may wait.
    pub render_queue: usize,
    /// `DECODER_MODULES`.
    pub decoder_modules: String,
    /// `DECODER_OPTIONS`: `module.option=value` pairs, separated by commas.
    pub decoder_options: String,
    /// `DECODER_CLAIMS`: `module=.extension` and `module=folder/`, separated by commas, `-` before it: never.
    pub decoder_claims: String,
    /// `FCGI_WEB_SERVER_ADDRS`: whose FastCGI connections are taken; empty = all.
    pub web_server_addresses: Vec<Ipv4Addr>,
    /// `MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `BACKLOG`.
    pub backlog: u32,
    /// `SOCKET_MODE`: permission bits of UNIX sockets; `None` = by the umask.
    pub socket_mode: Option<u32>,
    /// `MAX_BODY_SIZE` in bytes.
    pub max_body_bytes: u64,
    /// `IDLE_TIMEOUT`.
    pub idle_time: Duration,
    /// `MEMCACHED_SERVERS`, `MEMCACHED_TIMEOUT`, `MEMCACHED_PATIENCE`; no servers = off.
    pub memcached: MemcachedSettings,
    /// `SERVER_TIMING`: replies tell how long what took.
    pub server_timing: bool,
    /// `ADMIN_SOCKET`: where `iiphost status` and `iiphost purge` reach a running server.
    pub admin_socket: Option<PathBuf>,
}

/// Encoder defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoders {
    /// `JPEG_QUALITY`, 1 to 100.
    pub jpeg_quality: i32,
    /// `PNG_QUALITY`, deflate level 0 to 9.
    pub png_quality: i32,
    /// `WEBP_QUALITY`, −1 (lossless) to 100.
    pub webp_quality: i32,
    /// `AVIF_QUALITY`, −1 (best) to 100.
    pub avif_quality: i32,
    /// `AVIF_CODEC`, 0 to 3; there is one encoder, rav1e, which is 2.
    pub avif_codec: i32,
    /// `TIFF_COMPRESSION`, 0 to 5.
    pub tiff_compression: i32,
    /// `TIFF_QUALITY`.
    pub tiff_quality: i32,
}

/// The mark on pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// `WATERMARK`: the image; `None` = no mark.
    pub path: Option<PathBuf>,
    /// `WATERMARK_OPACITY`, 0 to 1.
    pub opacity: f64,
    /// `WATERMARK_PROBABILITY`, 0 to 1: the share of tiles and blocks that carry it.
    pub probability: f64,
    /// `WATERMARK_BLEND`; `None` = by whether the mark has opacity.
    pub blend: Option<Blend>,
}

/// How a mark is laid on a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blend {
    /// It covers what is below by its opacity.
    Over,
    /// It is added to what is below: black changes nothing.
    Add,
}

/// How pictures are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The nearest sample.
    Nearest,
    /// Block averages, then bilinear.
    Bilinear,
    /// Lanczos, three lobes.
    Lanczos,
}

impl Config {
    /// The configuration of a set of values, with everything that was wrong in it. It can be used unless
    /// a problem is an error.
    #[must_use]
    pub fn from_values(values: &Values) -> (Self, Vec<Problem>) {
        let mut read = source::Reader::new(values);
        let config = Self {
            verbosity: read.int("VERBOSITY") as u32,
            log_file: read.text("LOGFILE").filter(|f| !f.is_empty()),
            log_json: read.bool("LOG_JSON"),
            image_cache_bytes: (read.float("MAX_IMAGE_CACHE_SIZE") * 1_024_000.0) as usize,
            open_images: usize::try_from(
                read.first_int(&["MAX_IMAGE_METADATA_CACHE_SIZE", "MAX_METADATA_CACHE_SIZE"]),
            )
            .ok(),
            filename_pattern: read.text("FILENAME_PATTERN").unwrap_or_default(),
            filesystem_prefix: read.os("FILESYSTEM_PREFIX").filter(|p| !p.is_empty()),
            filesystem_suffix: read.os("FILESYSTEM_SUFFIX").unwrap_or_default(),
            follow_symlinks: read.bool("FOLLOW_SYMLINKS"),
            encoders: Encoders {
                jpeg_quality: read.int("JPEG_QUALITY") as i32,
                png_quality: read.int("PNG_QUALITY") as i32,
                webp_quality: read.int("WEBP_QUALITY") as i32,
                avif_quality: read.int("AVIF_QUALITY") as i32,
                avif_codec: read.int("AVIF_CODEC") as i32,
                tiff_compression: read.int("TIFF_COMPRESSION") as i32,
                tiff_quality: read.int("TIFF_QUALITY") as i32,
            },
            limits: Limits {
                // 0 is the default in old set-ups, any negative number "as large as the image".
                max_export_side: match read.int("MAX_CVT") {
                    0 => Some(5000),
                    side => u32::try_from(side).ok(),
                },
                max_quality_layers: read.int("MAX_LAYERS"),
                max_output_pixels: read.int("MAX_OUTPUT_PIXELS") as u64,
                max_decoded_pixels: read.int("MAX_DECODED_PIXELS") as u64,
                max_request_bytes: (read.int("MAX_REQUEST_MEMORY") as u64) << 20,
                allow_upscaling: read.bool("ALLOW_UPSCALING"),
                request_time: Duration::from_secs(read.int("REQUEST_TIMEOUT") as u64),
            },
            max_icc_bytes: match read.bool("EMBED_ICC") {
                false if !read.is_set("MAX_ICC") => 0,
                _ => read.int("MAX_ICC"),
            },
            convert_to_srgb: read.choice("OUTPUT_PROFILE") == "srgb",
            deep_output: read.choice("OUTPUT_DEPTH") == "source",
            upright: read.choice("ORIENTATION") == "apply",
            watermark: Watermark {
                path: read.os("WATERMARK").filter(|p| !p.is_empty()).map(PathBuf::from),
                opacity: read.float("WATERMARK_OPACITY"),
                probability: read.float("WATERMARK_PROBABILITY"),
                blend: match read.choice("WATERMARK_BLEND") {
                    "over" => Some(Blend::Over),
                    "add" => Some(Blend::Add),
                    _ => None,
                },
            },
            codec_passthrough: read.bool("CODEC_PASSTHROUGH"),
            interpolation: match read.int("INTERPOLATION") {
                0 => Interpolation::Nearest,
                2 => Interpolation::Lanczos,
                _ => Interpolation::Bilinear,
            },
            cors: read.set_text("CORS"),
            base_url: read.text("BASE_URL").filter(|u| !u.is_empty()),
            cache_control: read.text("CACHE_CONTROL").unwrap_or_default(),
            uri_map: read.text("URI_MAP").filter(|m| !m.is_empty()),
            iiif_version: read.int("IIIF_VERSION") as u8,
            iiif_delimiter: read.text("IIIF_DELIMITER").unwrap_or_default(),
            iiif_extra_info: read.text("IIIF_EXTRA_INFO").unwrap_or_default(),
            iiif_extensions: read.bool("IIIF_EXTENSIONS"),
            copyright: read.text("COPYRIGHT").filter(|c| !c.is_empty()),
            trusted_proxies: read.text("TRUSTED_PROXIES").unwrap_or_default(),
            render_threads: match read.first_int(&["RENDER_THREADS", "OMP_NUM_THREADS"]) {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                threads => threads as usize,
            },
            render_memory_bytes: (read.int("MAX_RENDER_MEMORY") as u64) << 20,
            render_queue: read.int("RENDER_QUEUE") as usize,
            decoder_modules: read.text("DECODER_MODULES").unwrap_or_default(),
            decoder_options: read.text("DECODER_OPTIONS").unwrap_or_default(),
            decoder_claims: read.text("DECODER_CLAIMS").unwrap_or_default(),
            web_server_addresses: read.list("FCGI_WEB_SERVER_ADDRS"),
            max_connections: read.int("MAX_CONNECTIONS") as usize,
            backlog: read.int("BACKLOG") as u32,
            socket_mode: read.octal("SOCKET_MODE"),
            max_body_bytes: read.int("MAX_BODY_SIZE") as u64,
            idle_time: Duration::from_secs(read.int("IDLE_TIMEOUT") as u64),
            memcached: MemcachedSettings {
                servers: read.list("MEMCACHED_SERVERS"),
                // 0 and less mean "never"; memcached takes more than thirty days for a date.
                seconds: read.int("MEMCACHED_TIMEOUT").clamp(0, 30 * 86_400) as u32,
                patience: Duration::from_millis(read.int("MEMCACHED_PATIENCE") as u64),
            },
            server_timing: read.bool("SERVER_TIMING"),
            admin_socket: read
                .os("ADMIN_SOCKET")
                .filter(|p| !p.is_empty())
                .map(PathBuf::from),
        };
        (config, read.into_problems())
    }

    /// The same configuration with everything left out that cannot change a byte of a reply: nodes of one
    /// service differ in their cores, folders and limits, and give the same validators and keys all the same.
    /// Whatever is not named here counts, so that a forgotten setting costs a transfer and never a wrong
    /// picture.
    #[must_use]
    pub fn of_replies(&self) -> Self {
        let nothing = Self::from_values(&Values::new()).0;
        Self {
            verbosity: 0,
            log_file: None,
            log_json: false,
            image_cache_bytes: 0,
            open_images: None,
            filesystem_prefix: None,
            follow_symlinks: false,
            trusted_proxies: String::new(),
            render_threads: 1,
            render_memory_bytes: 0,
            render_queue: 0,
            web_server_addresses: Vec::new(),
            max_connections: 0,
            backlog: 0,
            socket_mode: None,
            max_body_bytes: 0,
            idle_time: Duration::ZERO,
            memcached: nothing.memcached,
            server_timing: false,
            admin_socket: None,
            // What the mark looks like counts for itself, wherever its file is.
            watermark: nothing.watermark,
            limits: Limits {
                max_decoded_pixels: nothing.limits.max_decoded_pixels,
                max_request_bytes: nothing.limits.max_request_bytes,
                request_time: nothing.limits.request_time,
                ..self.limits.clone()
            },
            ..self.clone()
        }
    }

    /// The folder to serve when no prefix is set: what was given as argument, else the working directory
    /// with HTTP, else the root of the file system (FastCGI alone: identifiers are absolute paths).
    #[must_use]
    pub fn default_root(&self, argument: Option<PathBuf>, http: bool) -> PathBuf {
        match argument {
            Some(directory) => directory,
            None if http => PathBuf::from("."),
            None => PathBuf::from("/"),
        }
    }
}

#[cfg(test)]
mod tests;
