//! Header fields: what every reply carries, what its protocol adds, conditional requests, the access line.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::images::ImageHandle;
use super::picture::{CachedPicture, Prepared};
use crate::config::Config;
use crate::encode;
use crate::error::Error;
use crate::limits::Size;
use crate::metrics::Protocol;
use crate::protocol::dispatch::Route;
use crate::protocol::iiif::{self, ExtraInfo, IiifSettings, Shown, TrustedProxies};
use crate::protocol::uri_map::UriMap;
use crate::protocol::{OpenedImage, PictureKind};
use crate::server::{Method, Request, Response, conditional, reply};

/// Protocols with one rule for cross-origin use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Open to other sites unless switched off.
    Iiif,
    /// Closed unless switched on.
    Other,
}

impl Family {
    pub(super) fn of(route: &Route) -> Self {
        match route {
            Route::Iiif(_) => Self::Iiif,
            Route::Query { commands } if names_iiif(commands) => Self::Iiif,
            _ => Self::Other,
        }
    }
}

/// Whose request a route is, for the measurements.
pub(super) fn protocol_of(route: &Route) -> Protocol {
    match route {
        Route::Iiif(_) => Protocol::Iiif,
        Route::DeepZoom(_) => Protocol::DeepZoom,
        Route::Zoomify(_) => Protocol::Zoomify,
        Route::Iip { .. } => Protocol::Iip,
        Route::Query { commands } if commands.is_empty() => Protocol::Host,
        Route::Query { commands } if names_iiif(commands) => Protocol::Iiif,
        Route::Query { .. } => Protocol::Iip,
        Route::MappedRoot | Route::Unmatched => Protocol::Host,
    }
}

/// Whether a query is an IIIF request.
fn names_iiif(commands: &[u8]) -> bool {
    commands
        .split(|&b| b == b'&')
        .any(|item| item.len() > 5 && item[..5].eq_ignore_ascii_case(b"IIIF="))
}

/// Makes replies.
#[derive(Debug)]
pub(super) struct Replies {
    cors: Option<String>,
    cache_control: String,
    fingerprint: [u8; 32],
    access_log: bool,
}

impl Replies {
    pub(super) fn new(config: &Config) -> Self {
        let text = format!("{} {:?}", encode::PRODUCT, config.of_replies());
        Self {
            cors: config.cors.clone(),
            cache_control: config.cache_control.clone(),
            fingerprint: Sha256::digest(text.as_bytes()).into(),
            access_log: config.verbosity >= 1,
        }
    }

    /// What configuration and version add to validators.
    pub(super) fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    fn origin(&self, family: Family) -> Option<Cow<'static, str>> {
        match (&self.cors, family) {
            (Some(origin), _) => (!origin.is_empty()).then(|| origin.clone().into()),
            (None, Family::Iiif) => Some("*".into()),
            (None, Family::Other) => None,
        }
    }

    fn with_cors(&self, response: Response, family: Family) -> Response {
        match self.origin(family) {
            Some(origin) => reply::with_cors(response, origin),
            None => response,
        }
    }

    /// A reply that depends on no image.
    pub(super) fn plain(&self, mut response: Response, family: Family) -> Response {
        if response.header("Server").is_none() {
            response.headers.insert(0, ("Server", reply::SERVER.into()));
        }
        if response.header("Cache-Control").is_none() {
            if response.status >= 400 {
                response.push("Cache-Control", "no-cache");
            } else if !self.cache_control.is_empty() {
                response.push("Cache-Control", self.cache_control.clone());
            }
        }
        if response.status >= 400 && response.header("X-Content-Type-Options").is_none() {
            response.push("X-Content-Type-Options", "nosniff");
        }
        self.with_cors(response, family)
    }

    /// The reply to a failed request.
    pub(super) fn error(&self, error: &Error, family: Family) -> Response {
        self.with_cors(reply::error(error), family)
    }

    /// The reply to a failed request, its cause in the log.
    pub(super) fn failed(&self, error: &Error, request: &Request, family: Family) -> Response {
        let what = description(request);
        match error.log_level() {
            tracing::Level::ERROR => tracing::error!(request = what, "{error}"),
            tracing::Level::WARN => tracing::warn!(request = what, "{error}"),
            _ => tracing::debug!(request = what, "{error}"),
        }
        self.error(error, family)
    }

    /// A reply that failed after it had begun: there is nobody to tell but the operator.
    pub(super) fn broke_off(&self, error: &Error, identifier: &[u8]) {
        let image = identifier.escape_ascii();
        match error.log_level() {
            _ if matches!(error, Error::Cancelled) => tracing::debug!(%image, "a reply broke off: {error}"),
            tracing::Level::ERROR => tracing::error!(%image, "a reply broke off: {error}"),
            tracing::Level::WARN => tracing::warn!(%image, "a reply broke off: {error}"),
            _ => tracing::debug!(%image, "a reply broke off: {error}"),
        }
    }

    /// Fields every successful reply about an image begins with.
    fn about(&self, status: u16, media_type: &str, image: &ImageHandle, etag: &str) -> Response {
        let mut response = Response::new(status)
            .with("Server", reply::SERVER)
            .with("Content-Type", media_type.to_owned())
            .with(
                "Last-Modified",
                conditional::http_date(image.image.stamp.modified()),
            )
            .with("ETag", etag.to_owned());
        if !self.cache_control.is_empty() {
            response.push("Cache-Control", self.cache_control.clone());
        }
        response
    }

    /// A document about an image.
    pub(super) fn document(
        &self,
        request: &Request,
        image: &ImageHandle,
        document: Response,
        family: Family,
    ) -> Response {
        let hash = Sha256::new()
            .chain_update(self.fingerprint)
            .chain_update(&document.body)
            .finalize();
        let etag = format!(
            "\"{}\"",
            hash.iter()
                .take(16)
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        );
        let media_type = document
            .header("Content-Type")
            .unwrap_or("text/plain; charset=utf-8")
            .to_owned();
        let mut response = self.about(document.status, &media_type, image, &etag);
        let own = document
            .headers
            .into_iter()
            .filter(|(name, _)| *name != "Content-Type" && *name != "Server");
        response.headers.extend(own);
        let response = self.with_cors(response.body(document.body), family);
        if conditional::not_modified(request, &etag, image.image.stamp.modified()) {
            return conditional::to_not_modified(response);
        }
        response
    }

    /// A picture.
    pub(super) fn picture(
        &self,
        request: &Request,
        prepared: &Prepared,
        picture: &CachedPicture,
        family: Family,
    ) -> Response {
        let response = self
            .picture_fields(prepared, &picture.etag, family)
            .body(picture.body.clone());
        let modified = prepared.image.image.stamp.modified();
        if conditional::not_modified(request, &picture.etag, modified) {
            return conditional::to_not_modified(response);
        }
        response
    }

    /// 304 for a picture the client has, without making it.
    pub(super) fn unchanged(
        &self,
        request: &Request,
        prepared: &Prepared,
        family: Family,
    ) -> Option<Response> {
        let asks = request.header("if-none-match").is_some() || request.header("if-modified-since").is_some();
        if !asks || !matches!(request.method, Method::Get | Method::Head) {
            return None;
        }
        let etag = prepared.etag(&self.fingerprint);
        conditional::not_modified(request, &etag, prepared.image.image.stamp.modified())
            .then(|| conditional::to_not_modified(self.picture_fields(prepared, &etag, family)))
    }

    fn picture_fields(&self, prepared: &Prepared, etag: &str, family: Family) -> Response {
        let format = prepared.plan.output.format;
        let mut response = self.about(200, format.media_type(), &prepared.image, etag);
        if let PictureKind::Export { attachment } = prepared.kind {
            let size = prepared.plan.final_size();
            let name = download_name(prepared.image.identifier(), size, format.extension());
            response.push("Content-Disposition", content_disposition(attachment, &name));
        }
        if let Some(rule) = &prepared.link {
            let shown = Shown::of(&prepared.plan, prepared.page());
            for (name, value) in iiif::link_fields(rule, &shown) {
                response.push(name, value);
            }
        }
        self.with_cors(response, family)
    }

    /// The access line.
    pub(super) fn log(&self, request: &Request, status: u16, bytes: u64, time: Duration) {
        if self.access_log {
            tracing::info!(
                target: "access",
                status,
                bytes,
                micros = time.as_micros() as u64,
                "{}",
                description(request)
            );
        }
    }
}

/// A request in one line for the log: control characters of clients escaped, long ones cut.
fn description(request: &Request) -> String {
    const MAX: usize = 1000;
    let method = match &request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Options => "OPTIONS",
        Method::Other(name) => name,
    };
    let query = if request.query.is_empty() {
        &request.body
    } else {
        &request.query
    };
    let query = &query[..query.len().min(MAX)];
    let path: String = request.path.chars().take(MAX).collect();
    let (method, path, query) = (method.escape_debug(), path.escape_debug(), query.escape_ascii());
    if request.query.is_empty() && request.body.is_empty() {
        format!("{method} {path}")
    } else {
        format!("{method} {path}?{query}")
    }
}

/// `<stem>_<width>x<height>.<extension>` after the last component of an identifier.
fn download_name(identifier: &[u8], size: Size, extension: &str) -> String {
    let name = String::from_utf8_lossy(identifier);
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or("image");
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = if stem.is_empty() { name } else { stem };
    format!("{stem}_{size}.{extension}")
}

/// RFC 6266: a quoted ASCII name, and the real one encoded beside it where they differ.
fn content_disposition(attachment: bool, name: &str) -> String {
    let kind = if attachment { "attachment" } else { "inline" };
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\') {
                c
            } else {
                '_'
            }
        })
        .collect();
    if plain == name {
        return format!("{kind}; filename=\"{plain}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        // RFC 8187 section 3.2.1: attr-char.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// The settings of IIIF, with what is wrong in them.
pub(super) fn iiif_settings(config: &Config, problems: &mut Vec<String>) -> Option<IiifSettings> {
    let trusted_proxies = TrustedProxies::parse(&config.trusted_proxies);
    let extra_info = ExtraInfo::parse(&config.iiif_extra_info);
    let (Ok(trusted_proxies), Ok(extra_info)) = (&trusted_proxies, &extra_info) else {
        problems.extend(trusted_proxies.err().map(|e| format!("TRUSTED_PROXIES: {e}")));
        problems.extend(extra_info.err().map(|e| format!("IIIF_EXTRA_INFO: {e}")));
        return None;
    };
    let (uri_map, _) = UriMap::parse(config.uri_map.as_deref().unwrap_or_default());
    Some(IiifSettings {
        version: config.iiif_version,
        base_url: config.base_url.clone(),
        trusted_proxies: trusted_proxies.clone(),
        delimiter: config.iiif_delimiter.clone(),
        extensions: config.iiif_extensions,
        extra_info: extra_info.clone(),
        copyright: config.copyright.clone(),
        formats: encode::available_formats().to_vec(),
        cors: config.cors.as_deref() != Some(""),
        limits: config.limits.clone(),
        uri_map,
    })
}

impl Error {
    /// A copy of an error for one more of those who waited for the same work.
    pub(super) fn shared(error: &Arc<Self>) -> Self {
        match &**error {
            Self::BadRequest { message } => Self::bad_request(message.clone()),
            Self::NotFound { message, detail } => Self::NotFound {
                message: message.clone(),
                detail: detail.clone(),
            },
            Self::UnsupportedSource { reason } => Self::UnsupportedSource {
                reason: reason.clone(),
            },
            Self::NotImplemented { message } => Self::NotImplemented {
                message: message.clone(),
            },
            Self::Unavailable { reason, retry_after } => Self::Unavailable {
                reason: reason.clone(),
                retry_after: *retry_after,
            },
            Self::Fault { stage, reason } => Self::fault(stage.clone(), reason.clone()),
            Self::Cancelled => Self::Cancelled,
            other => Self::fault("render", other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_names_are_the_last_component_without_extension() {
        let size = Size::new(200, 140);
        assert_eq!(download_name(b"dir/rgb.tif", size, "jpg"), "rgb_200x140.jpg");
        assert_eq!(download_name(b"rgb", size, "png"), "rgb_200x140.png");
        assert_eq!(download_name(b".hidden", size, "png"), ".hidden_200x140.png");
    }

    #[test]
    fn names_cannot_end_their_quotes() {
        assert_eq!(
            content_disposition(false, "a b.jpg"),
            "inline; filename=\"a b.jpg\""
        );
        assert_eq!(
            content_disposition(true, "a\"\r\nb\u{e9}.jpg"),
            "attachment; filename=\"a___b_.jpg\"; filename*=UTF-8''a%22%0D%0Ab%C3%A9.jpg"
        );
    }

    #[test]
    fn a_request_is_described_as_it_was_sent() {
        let mut request = Request::new(crate::server::Transport::Http);
        request.path = "/a\nb".into();
        assert_eq!(description(&request), "GET /a\\nb");
        request.body = b"FIF=x".into();
        assert_eq!(description(&request), "GET /a\\nb?FIF=x");
    }

    /// An encoder whose codec does not work.
    struct OutOfOrder;

    impl encode::Encoder for OutOfOrder {
        fn encode(
            &self,
            _: crate::raster::Raster,
            _: &encode::Settings,
            _: &encode::Metadata,
            _: encode::Control<'_>,
        ) -> Result<encode::Encoded, Error> {
            Err(Error::fault("encode", "jpeg: the codec is out of order"))
        }
    }

    /// What `work` logs.
    fn logged<T>(work: impl FnOnce() -> T) -> (T, String) {
        #[derive(Clone, Default)]
        struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || sink.clone())
            .finish();
        let result = tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8_lossy(&lines.0.lock()).into_owned();
        (result, text)
    }

    #[test]
    fn an_encoder_that_fails_is_a_500_and_its_cause_is_in_the_log() {
        let picture = crate::encode::test_pictures::rgb(8, 8);
        let settings = encode::Settings::Jpeg { quality: 75 };
        let made = encode::encode_by(
            &OutOfOrder,
            picture,
            &settings,
            &encode::Metadata::default(),
            encode::Control::NONE,
        );
        let error = made.unwrap_err();
        let mut request = Request::new(crate::server::Transport::Http);
        request.path = "/iiif/3/a.tif/full/max/0/default.jpg".into();
        let replies = Replies::new(&Config::from_values(&crate::config::Values::new()).0);
        let (reply, log) = logged(|| replies.failed(&error, &request, Family::Iiif));
        assert_eq!(reply.status, 500);
        let body = String::from_utf8_lossy(&reply.body);
        assert!(
            !body.contains("out of order"),
            "the cause is the operator's: {body}"
        );
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in [
            "ERROR",
            "encode: jpeg: the codec is out of order",
            "GET /iiif/3/a.tif/full/max/0/default.jpg",
        ] {
            assert!(log.contains(part), "{part} in {log}");
        }
    }

    #[test]
    fn a_reply_that_breaks_off_tells_the_operator_unless_the_client_left() {
        let replies = Replies::new(&Config::from_values(&crate::config::Values::new()).0);
        for (error, level) in [
            (Error::fault("decode", "tile 7 is cut"), "ERROR"),
            (
                Error::Unavailable {
                    reason: "tile 7 is slow".into(),
                    retry_after: Duration::ZERO,
                },
                "WARN",
            ),
        ] {
            let ((), log) = logged(|| replies.broke_off(&error, b"a.tif"));
            let told = [level, "tile 7", "a.tif", "broke off"];
            assert!(told.iter().all(|part| log.contains(part)), "{log}");
        }
        let ((), log) = logged(|| replies.broke_off(&Error::Cancelled, b"a.tif"));
        assert_eq!(log, "");
    }

    #[test]
    fn a_query_that_names_iiif_is_iiif() {
        assert!(names_iiif(b"CNT=2&iiif=a.tif/info.json"));
        assert!(!names_iiif(b"FIF=iiif=&OBJ=IIIF"));
    }
}
