//! Limits on pixels, bytes, output and time, and sizes that cannot overflow.

use std::time::Duration;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// A size from its sides.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Pixels in a picture of this size.
    #[must_use]
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The longer side.
    #[must_use]
    pub fn longer(self) -> u32 {
        self.width.max(self.height)
    }

    /// Width and height exchanged, as after a quarter turn.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What one request may cost. Exceeding one is the client's error (400) unless the field says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `MAX_CVT`: longest side of an export in pixels; `None` = the image's own size, at least 5000.
    pub max_export_side: Option<u32>,
    /// `MAX_LAYERS`: quality layers; 0 = half of those in the file, negative = all, positive = at most.
    pub max_quality_layers: i64,
    /// `MAX_OUTPUT_PIXELS`: pixels of any output.
    pub max_output_pixels: u64,
    /// Pixels decoded for one request.
    pub max_decoded_pixels: u64,
    /// Bytes of pixels held by one request.
    pub max_request_bytes: u64,
    /// `ALLOW_UPSCALING`: whether outputs may be larger than their source region.
    pub allow_upscaling: bool,
    /// Time from the first byte of a request to its reply; 503 when it has passed.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_export_side: Some(5000),
            max_quality_layers: 0,
            max_output_pixels: 400_000_000,
            max_decoded_pixels: 1_000_000_000,
            max_request_bytes: 4 << 30,
            allow_upscaling: true,
            request_time: Duration::from_secs(60),
        }
    }
}
