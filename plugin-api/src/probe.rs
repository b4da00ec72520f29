//! How sure a decoder is that a file is its own.

/// How well a file fits a decoder; the highest claim of all modules opens the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimLevel {
    /// Not this decoder's format.
    None,
    /// The container fits, though many kinds of file share it (any TIFF).
    Generic,
    /// The container and its contents fit (a TIFF with the tags of one scanner maker).
    Specific,
    /// Only this decoder can be meant.
    Exact,
}

impl ClaimLevel {
    /// The name shown by `iiphost --probe`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Generic => "generic",
            Self::Specific => "specific",
            Self::Exact => "exact",
        }
    }
}

/// A decoder's answer to [`ImageDecoder::probe`](crate::ImageDecoder::probe).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How well the file fits.
    pub level: ClaimLevel,
    /// Why, in a few words (`BigTIFF, little-endian`), shown by `iiphost --probe`.
    pub reason: String,
}

impl Claim {
    /// A claim with its reason.
    pub fn new(level: ClaimLevel, reason: impl Into<String>) -> Self {
        Self {
            level,
            reason: reason.into(),
        }
    }

    /// Not this decoder's format, with the reason.
    pub fn none(reason: impl Into<String>) -> Self {
        Self::new(ClaimLevel::None, reason)
    }
}
