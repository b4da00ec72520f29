//! Why a request has no picture for an answer, and how that is told to client and operator.

use std::time::Duration;

use iiphost_plugin_api::{DecodeError, ErrorKind};

/// A request that failed. `public_message` goes to the client; it never holds a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad syntax, bad argument, or a request over a limit (the message names it): 400.
    #[error("{message}")]
    BadRequest {
        /// What is wrong, for the client.
        message: String,
    },
    /// No such image, page, view, level or tile: 404.
    #[error("{message}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    NotFound {
        /// What was not found, for the client.
        message: String,
        /// What the operator wants to know besides.
        detail: Option<String>,
    },
    /// The method is not allowed here: 405.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// Value of the `Allow` field.
        allow: &'static str,
    },
    /// The body is over the limit: 413.
    #[error("request body larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// Largest body accepted.
        limit_bytes: u64,
    },
    /// The query is over the limit: 414.
    #[error("query longer than {limit_bytes} bytes")]
    QueryTooLong {
        /// Longest query accepted.
        limit_bytes: u64,
    },
    /// No decoder claims the file, or its decoder lacks a feature: 415.
    #[error("unsupported image: {reason}")]
    UnsupportedSource {
        /// What was found.
        reason: String,
    },
    /// The file is broken, or a decoder or encoder failed: 500.
    #[error("{stage}: {reason}")]
    Fault {
        /// Which part failed: `decode`, `encode`, a module's id.
        stage: String,
        /// The cause, for the log.
        reason: String,
    },
    /// Valid, but switched off or not made (IIIF enlarging): 501.
    #[error("{message}")]
    NotImplemented {
        /// What is not there, for the client.
        message: String,
    },
    /// Queue, deadline or memory: 503 with `Retry-After`.
    #[error("busy: {reason}")]
    Unavailable {
        /// Which limit was hit, for the log.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Not a failure: the answer needs a disk, and was asked for on a thread that must not wait for one.
    /// It never reaches a client.
    #[error("the answer needs input or output")]
    NeedsIo,
    /// The client has gone: nobody reads the reply.
    #[error("the client has gone")]
    Cancelled,
}

impl Error {
    /// Whether trying something smaller for the same request makes no sense.
    #[must_use]
    pub fn ends_the_request(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Unavailable { .. })
    }

    /// A bad request with its message for the client.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest {
            message: message.into(),
        }
    }

    /// Something that does not exist, with the message for the client.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound {
            message: message.into(),
            detail: None,
        }
    }

    /// A fault of a stage with its cause.
    pub fn fault(stage: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Fault {
            stage: stage.into(),
            reason: reason.into(),
        }
    }

    /// HTTP status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest { .. } => 400,
            Self::NotFound { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::BodyTooLarge { .. } => 413,
            Self::QueryTooLong { .. } => 414,
            Self::UnsupportedSource { .. } => 415,
            Self::Fault { .. } | Self::NeedsIo => 500,
            Self::NotImplemented { .. } => 501,
            Self::Unavailable { .. } | Self::Cancelled => 503,
        }
    }

    /// The text for the client: no path, no internal value.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::BadRequest { message }
            | Self::NotFound { message, .. }
            | Self::NotImplemented { message } => message.clone(),
            Self::MethodNotAllowed { .. } => "method not allowed".into(),
            Self::BodyTooLarge { limit_bytes } => format!("request body larger than {limit_bytes} bytes"),
            Self::QueryTooLong { limit_bytes } => format!("query longer than {limit_bytes} bytes"),
            Self::UnsupportedSource { .. } => "this kind of image is not supported".into(),
            Self::Fault { .. } | Self::NeedsIo => "the image could not be processed".into(),
            Self::Unavailable { .. } | Self::Cancelled => "the server is busy, try again later".into(),
        }
    }

    /// How loud the log is: client faults are quiet, server faults are not, and neither is an image of the
    /// operator that cannot be shown.
    #[must_use]
    pub fn log_level(&self) -> tracing::Level {
        match self.status() {
            500 => tracing::Level::ERROR,
            415 | 503 => tracing::Level::WARN,
            _ => tracing::Level::INFO,
        }
    }

    /// The reply for a failure of a decoder; `module` is its id.
    #[must_use]
    pub fn from_decoder(module: &str, error: &DecodeError) -> Self {
        match error.kind() {
            ErrorKind::Unsupported => Self::UnsupportedSource {
                reason: format!("{module}: {}", error.message()),
            },
            ErrorKind::LimitExceeded => Self::bad_request(error.message()),
            ErrorKind::DeadlineExceeded => Self::Unavailable {
                reason: format!("{module}: {}", error.message()),
                retry_after: Duration::from_secs(5),
            },
            ErrorKind::Cancelled => Self::Cancelled,
            kind => Self::fault(module, format!("{}: {}", kind.name(), error.message())),
        }
    }
}
