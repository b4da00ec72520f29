//! Plain enums as numbers. A number is never used again for another meaning; one that this version does
//! not know gets a safe meaning.

use crate::context::LogLevel;
use crate::error::ErrorKind;
use crate::info::{AlphaMode, ColorModel, EncodedFormat, MetadataKind, ResolutionUnit, SampleFormat};
use crate::module::{OptionKind, Threading};
use crate::probe::ClaimLevel;

/// Both directions of one enum and the list of its numbers, which the layout snapshot prints.
macro_rules! codes {
    (
        $(#[$doc:meta])*
        $name:ident, $from:ident, $list:ident: $type:ident -> $result:ty, unknown => $unknown:expr, [$wrap:ident]
        { $($number:literal = $variant:ident),+ $(,)? }
    ) => {
        $(#[$doc])*
        pub(crate) fn $name(number: u32) -> $result {
            match number {
                $($number => codes!(@$wrap $type::$variant),)+
                _ => $unknown,
            }
        }

        /// The number of a value.
        pub(crate) fn $from(value: $type) -> u32 {
            match value {
                $($type::$variant => $number,)+
            }
        }

        #[cfg(test)]
        pub(crate) const $list: &[(u32, $type)] = &[$(($number, $type::$variant)),+];
    };
    (@plain $value:expr) => { $value };
    (@some $value:expr) => { Some($value) };
}

codes! {
    /// Kind of a failure; 0 is success and never gets here. Unknown: a fault of the other side.
    error_kind, from_error_kind, ERROR_KINDS: ErrorKind -> ErrorKind, unknown => ErrorKind::Internal, [plain]
    {
        1 = Format, 2 = Unsupported, 3 = LimitExceeded, 4 = Usage, 5 = Io, 6 = DeadlineExceeded,
        7 = Cancelled, 8 = Panicked, 9 = Internal,
    }
}

codes! {
    /// Unknown: `None`, since nobody can say how many bytes such a sample has.
    sample_format, from_sample_format, SAMPLE_FORMATS:
    SampleFormat -> Option<SampleFormat>, unknown => None, [some]
    { 1 = U8, 2 = U16, 3 = U32, 4 = F32 }
}

codes! {
    /// Unknown: bands without a common meaning.
    color_model, from_color_model, COLOR_MODELS:
    ColorModel -> ColorModel, unknown => ColorModel::Multiband, [plain]
    { 1 = Grey, 2 = Rgb, 3 = CieLab, 4 = Cmyk, 5 = Multiband }
}

codes! {
    /// Unknown: no band is opacity, so nothing becomes invisible by mistake.
    alpha_mode, from_alpha_mode, ALPHA_MODES: AlphaMode -> AlphaMode, unknown => AlphaMode::None, [plain]
    { 0 = None, 1 = Unassociated, 2 = Associated }
}

codes! {
    /// 0 and unknown: not available in an encoding that could be handed on.
    encoded_format, from_encoded_format, ENCODED_FORMATS:
    EncodedFormat -> Option<EncodedFormat>, unknown => None, [some]
    { 1 = Jpeg, 2 = WebP }
}

codes! {
    /// Unknown: only the ratio counts.
    resolution_unit, from_resolution_unit, RESOLUTION_UNITS:
    ResolutionUnit -> ResolutionUnit, unknown => ResolutionUnit::None, [plain]
    { 1 = None, 2 = Inch, 3 = Centimeter }
}

codes! {
    /// Unknown: `None`, an older module has no such block.
    metadata_kind, from_metadata_kind, METADATA_KINDS:
    MetadataKind -> Option<MetadataKind>, unknown => None, [some]
    { 1 = Icc, 2 = Xmp, 3 = Exif, 4 = Iptc }
}

codes! {
    /// Unknown: no claim.
    claim_level, from_claim_level, CLAIM_LEVELS: ClaimLevel -> ClaimLevel, unknown => ClaimLevel::None, [plain]
    { 0 = None, 1 = Generic, 2 = Specific, 3 = Exact }
}

codes! {
    /// Unknown: the most careful way.
    threading, from_threading, THREADINGS: Threading -> Threading, unknown => Threading::GlobalLock, [plain]
    { 1 = Reentrant, 2 = OneCallPerReader, 3 = GlobalLock }
}

codes! {
    /// Unknown: any text; the module itself judges the value.
    option_kind, from_option_kind, OPTION_KINDS: OptionKind -> OptionKind, unknown => OptionKind::Text, [plain]
    { 1 = Text, 2 = Integer, 3 = Boolean }
}

codes! {
    /// Unknown: a warning, so that it is seen.
    log_level, from_log_level, LOG_LEVELS: LogLevel -> LogLevel, unknown => LogLevel::Warning, [plain]
    { 1 = Error, 2 = Warning, 3 = Info, 4 = Debug }
}

/// Bits of [`RawPage::flags`](super::data::RawPage); unknown ones are ignored.
pub(crate) mod page_flag {
    pub(crate) const LISTED: u32 = 1;
    pub(crate) const SIGNED: u32 = 1 << 1;
}

/// Bits of [`RawLevel::flags`](super::data::RawLevel); unknown ones are ignored.
pub(crate) mod level_flag {
    pub(crate) const COMPUTED: u32 = 1;
}

/// Time left when a call has no deadline, in nanoseconds.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_goes_there_and_back() {
        macro_rules! check {
            ($list:ident, $to:ident, $from:ident, $wrap:expr) => {
                for &(number, value) in $list {
                    assert_eq!($from(value), number);
                    assert_eq!($to(number), $wrap(value));
                }
            };
        }
        let same = |v| v;
        check!(ERROR_KINDS, error_kind, from_error_kind, same);
        check!(SAMPLE_FORMATS, sample_format, from_sample_format, Some);
        check!(COLOR_MODELS, color_model, from_color_model, |v| v);
        check!(ALPHA_MODES, alpha_mode, from_alpha_mode, |v| v);
        check!(ENCODED_FORMATS, encoded_format, from_encoded_format, Some);
        check!(RESOLUTION_UNITS, resolution_unit, from_resolution_unit, |v| v);
        check!(METADATA_KINDS, metadata_kind, from_metadata_kind, Some);
        check!(CLAIM_LEVELS, claim_level, from_claim_level, |v| v);
        check!(THREADINGS, threading, from_threading, |v| v);
        check!(OPTION_KINDS, option_kind, from_option_kind, |v| v);
        check!(LOG_LEVELS, log_level, from_log_level, |v| v);
    }

    #[test]
    fn unknown_numbers_have_a_safe_meaning() {
        const NEW: u32 = 1000;
        assert_eq!(error_kind(NEW), ErrorKind::Internal);
        assert_eq!(sample_format(NEW), None);
        assert_eq!(color_model(NEW), ColorModel::Multiband);
        assert_eq!(alpha_mode(NEW), AlphaMode::None);
        assert_eq!(encoded_format(NEW), None);
        assert_eq!(encoded_format(0), None);
        assert_eq!(resolution_unit(NEW), ResolutionUnit::None);
        assert_eq!(metadata_kind(NEW), None);
        assert_eq!(claim_level(NEW), ClaimLevel::None);
        assert_eq!(threading(NEW), Threading::GlobalLock);
        assert_eq!(option_kind(NEW), OptionKind::Text);
        assert_eq!(log_level(NEW), LogLevel::Warning);
    }
}
