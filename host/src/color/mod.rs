//! Colors by their ICC profile: whatever a profile describes, as sRGB.
//!
//! [`Transforms`] gives the [`Transform`] of a profile and keeps it: building one takes milliseconds, a tile
//! needs one at every turn. A profile that cannot be used is named in the log once and has no transform; its
//! pictures are shown as if they had none.
//!
//! Rendering is perceptual, without black point compensation. CIELAB has a rule of its own in the pipeline.

mod cache;
mod header;
mod transform;

pub use cache::Transforms;
pub use header::check;
pub use transform::Transform;

/// What the bands of a picture are, as far as a profile can say more about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bands {
    /// One band of light.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Cyan, magenta, yellow, black; 0 is no ink.
    Cmyk,
}

impl Bands {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }

    /// How many bands the same colors have in sRGB.
    #[must_use]
    pub const fn shown(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::Cmyk => 3,
        }
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The profile is damaged, or of a kind nobody here can read.
    #[error("ICC profile of {bytes} bytes: {reason}")]
    Unusable {
        /// Its length.
        bytes: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The profile describes other bands than the picture has.
    #[error("ICC profile is for {found}, the picture is {expected:?}")]
    OtherBands {
        /// What the profile is for.
        found: String,
        /// What the picture has.
        expected: Bands,
    },
}
