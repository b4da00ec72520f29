//! How an encoder works: the server's settings joined with what the client asked for.

use crate::view::{Output, OutputFormat, TiffCompression};

/// What the operator configured. Values outside their range are clamped when they are used.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// `JPEG_QUALITY`, 1 to 100.
    pub jpeg_quality: i32,
    /// `PNG_QUALITY`, 0 to 9: deflate level.
    pub png_quality: i32,
    /// `WEBP_QUALITY`, 0 to 100, -1 is lossless.
    pub webp_quality: i32,
    /// `AVIF_QUALITY`, 0 to 100, -1 is the best the encoder has.
    pub avif_quality: i32,
    /// `TIFF_COMPRESSION`.
    pub tiff_compression: TiffCompression,
    /// `TIFF_QUALITY`: deflate 0 to 9, Zstandard 0 to 19, JPEG and WebP 0 to 100.
    pub tiff_quality: i32,
    /// `MAX_ICC`: profiles of this many bytes and more are not embedded; negative: no limit.
    pub max_icc_bytes: i64,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            jpeg_quality: 75,
            png_quality: 1,
            webp_quality: 50,
            avif_quality: 50,
            tiff_compression: TiffCompression::Deflate,
            tiff_quality: 1,
            max_icc_bytes: 65_536,
        }
    }
}

impl EncoderConfig {
    /// Whether `MAX_ICC` lets a profile of this length into pictures.
    #[must_use]
    pub fn allows_icc(&self, profile_bytes: usize) -> bool {
        self.max_icc_bytes < 0 || (profile_bytes as u64) < self.max_icc_bytes.unsigned_abs()
    }
}

/// Settings of one encoder, all within range: equal settings make equal files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settings {
    /// JPEG.
    Jpeg {
        /// 0 to 100; 0 counts as 1. Colors have full resolution from 90, half below.
        quality: u8,
    },
    /// PNG.
    Png {
        /// Deflate level 0 (stored) to 9.
        level: u8,
    },
    /// WebP.
    WebP {
        /// 0 to 100; `None` is lossless.
        quality: Option<u8>,
    },
    /// AVIF.
    Avif {
        /// 0 to 100. Colors have full resolution at 100, half below.
        quality: u8,
    },
    /// TIFF.
    Tiff {
        /// Compression of the strips.
        compression: TiffCompression,
        /// Its level or quality, within the range of the compression; `None` is lossless (WebP).
        quality: Option<u8>,
    },
}

impl Settings {
    /// Settings for an output: what the client named (`QLT`), else what the operator configured. 0 is the
    /// worst quality in every format, -1 lossless in WebP; AVIF has no lossless mode and takes -1 as 100.
    #[must_use]
    pub fn resolve(output: Output, config: &EncoderConfig) -> Self {
        let asked = output.quality;
        match output.format {
            OutputFormat::Jpeg => Self::Jpeg {
                quality: clamped(asked.unwrap_or(config.jpeg_quality.max(1)), 100),
            },
            OutputFormat::Png => Self::Png {
                level: clamped(asked.unwrap_or(config.png_quality), 9),
            },
            OutputFormat::WebP => {
                let quality = asked.unwrap_or(config.webp_quality);
                Self::WebP {
                    quality: (quality >= 0).then(|| clamped(quality, 100)),
                }
            }
            OutputFormat::Avif => {
                let quality = asked.unwrap_or(config.avif_quality);
                Self::Avif {
                    quality: if quality < 0 { 100 } else { clamped(quality, 100) },
                }
            }
            OutputFormat::Tiff => {
                let compression = output.tiff_compression.unwrap_or(config.tiff_compression);
                let max = match compression {
                    TiffCompression::Deflate => 9,
                    TiffCompression::Zstandard => 19,
                    _ => 100,
                };
                let quality = asked.unwrap_or(config.tiff_quality);
                let lossless = compression == TiffCompression::WebP && quality < 0;
                Self::Tiff {
                    compression,
                    quality: (!lossless).then(|| clamped(quality, max)),
                }
            }
        }
    }

    /// Whether the file can hold more than 8 bits a sample.
    #[must_use]
    pub const fn holds_deep_samples(&self) -> bool {
        match self {
            Self::Png { .. } | Self::Avif { .. } => true,
            Self::Tiff { compression, .. } => {
                !matches!(compression, TiffCompression::Jpeg | TiffCompression::WebP)
            }
            Self::Jpeg { .. } | Self::WebP { .. } => false,
        }
    }

    /// Whether the file can hold opacity behind so many color bands. JPEG in TIFF has one, three or four bands.
    #[must_use]
    pub const fn holds_alpha(&self, color_band_count: u32) -> bool {
        match self {
            Self::Jpeg { .. } => false,
            Self::Tiff {
                compression: TiffCompression::Jpeg,
                ..
            } => color_band_count >= 3,
            _ => true,
        }
    }

    /// The format these settings are for.
    #[must_use]
    pub const fn format(&self) -> OutputFormat {
        match self {
            Self::Jpeg { .. } => OutputFormat::Jpeg,
            Self::Png { .. } => OutputFormat::Png,
            Self::WebP { .. } => OutputFormat::WebP,
            Self::Avif { .. } => OutputFormat::Avif,
            Self::Tiff { .. } => OutputFormat::Tiff,
        }
    }
}

fn clamped(value: i32, max: u8) -> u8 {
    u8::try_from(value.clamp(0, i32::from(max))).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(format: OutputFormat, quality: i32) -> Settings {
        let output = Output {
            quality: Some(quality),
            ..Output::new(format)
        };
        Settings::resolve(output, &EncoderConfig::default())
    }

    #[test]
    fn defaults_are_the_operators() {
        let config = EncoderConfig::default();
        let resolve = |format| Settings::resolve(Output::new(format), &config);
        assert_eq!(resolve(OutputFormat::Jpeg), Settings::Jpeg { quality: 75 });
        assert_eq!(resolve(OutputFormat::Png), Settings::Png { level: 1 });
        assert_eq!(resolve(OutputFormat::WebP), Settings::WebP { quality: Some(50) });
        assert_eq!(resolve(OutputFormat::Avif), Settings::Avif { quality: 50 });
        assert_eq!(
            resolve(OutputFormat::Tiff),
            Settings::Tiff {
                compression: TiffCompression::Deflate,
                quality: Some(1)
            }
        );
        let zero = EncoderConfig {
            jpeg_quality: 0,
            ..config
        };
        assert_eq!(
            Settings::resolve(Output::new(OutputFormat::Jpeg), &zero),
            Settings::Jpeg { quality: 1 }
        );
    }

    #[test]
    fn one_quality_is_clamped_for_each_encoder() {
        assert_eq!(asked(OutputFormat::Jpeg, 1000), Settings::Jpeg { quality: 100 });
        assert_eq!(asked(OutputFormat::Jpeg, -1), Settings::Jpeg { quality: 0 });
        assert_eq!(asked(OutputFormat::Png, 75), Settings::Png { level: 9 });
        assert_eq!(asked(OutputFormat::Png, -1), Settings::Png { level: 0 });
        assert_eq!(asked(OutputFormat::WebP, 0), Settings::WebP { quality: Some(0) });
        assert_eq!(asked(OutputFormat::WebP, -1), Settings::WebP { quality: None });
        assert_eq!(
            asked(OutputFormat::WebP, 101),
            Settings::WebP { quality: Some(100) }
        );
        assert_eq!(asked(OutputFormat::Avif, -1), Settings::Avif { quality: 100 });
        let zstd = Output {
            quality: Some(75),
            tiff_compression: Some(TiffCompression::Zstandard),
            ..Output::new(OutputFormat::Tiff)
        };
        assert_eq!(
            Settings::resolve(zstd, &EncoderConfig::default()),
            Settings::Tiff {
                compression: TiffCompression::Zstandard,
                quality: Some(19)
            }
        );
        let webp = Output {
            quality: Some(-1),
            tiff_compression: Some(TiffCompression::WebP),
            ..Output::new(OutputFormat::Tiff)
        };
        assert_eq!(
            Settings::resolve(webp, &EncoderConfig::default()),
            Settings::Tiff {
                compression: TiffCompression::WebP,
                quality: None
            }
        );
    }

    #[test]
    fn profiles_must_be_smaller_than_the_limit() {
        let mut config = EncoderConfig::default();
        assert!(config.allows_icc(65_535));
        assert!(!config.allows_icc(65_536));
        config.max_icc_bytes = 0;
        assert!(!config.allows_icc(0));
        config.max_icc_bytes = -1;
        assert!(config.allows_icc(usize::MAX));
    }
}
