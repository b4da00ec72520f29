//! What a decoder may answer instead of pixels.

use std::fmt;

/// Whose fault a failure is. The host turns each kind into one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file breaks the rules of its format (truncated, offsets out of range, corrupt data).
    Format,
    /// The file is valid, but uses a feature this decoder does not have.
    Unsupported,
    /// A limit of the [`Limits`](crate::Limits) of the call would be exceeded.
    LimitExceeded,
    /// The caller asked for something that does not exist (a level, a region past the edge).
    Usage,
    /// The source could not be read.
    Io,
    /// The deadline of the call has passed.
    DeadlineExceeded,
    /// The call was cancelled by the host.
    Cancelled,
    /// The module panicked. Only the export layer makes this kind.
    Panicked,
    /// A fault inside the module that is neither of the above.
    Internal,
}

impl ErrorKind {
    /// The name used in logs, lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Unsupported => "unsupported",
            Self::LimitExceeded => "limit exceeded",
            Self::Usage => "usage",
            Self::Io => "i/o",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Internal => "internal",
        }
    }
}

/// A failure of a decoder: a kind for the host, a sentence for people.
///
/// The message is lower case, has no final full stop and says where, what was expected and what was
/// found: `tile (3, 7) of level 2 is 240x240, expected 256x256`. It holds no path: the decoder never
/// knows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: ErrorKind,
    message: String,
    impossible: bool,
}

impl DecodeError {
    /// A failure of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            impossible: false,
        }
    }

    /// An answer of a module that cannot be true.
    #[cfg(feature = "host")]
    pub(crate) fn impossible_answer(what: &str) -> Self {
        Self {
            impossible: true,
            ..Self::new(
                ErrorKind::Internal,
                format!("impossible answer of the module: {what}"),
            )
        }
    }

    /// The file breaks the rules of its format.
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// The file is valid, but uses a feature this decoder does not have.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A limit would be exceeded; name it in the message.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, message)
    }

    /// The caller asked for something that does not exist.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The source could not be read.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the host found that an answer of the module cannot be true. A module cannot say this of
    /// itself: the failures it reports are never marked.
    #[must_use]
    pub fn is_impossible_answer(&self) -> bool {
        self.impossible
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}
