//! The module as the host sees it.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Claim, ClaimLevel, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo,
    OpenContext, OptionKind, OptionSpec, Options, Threading, capability,
};

use crate::reader::JpegReader;

/// Name of the option for EXIF orientation.
const ORIENTATION: &str = "orientation";

/// Decoder for JPEG files.
#[derive(Default)]
pub struct JpegDecoder {
    upright: bool,
}

impl ImageDecoder for JpegDecoder {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            id: "jpeg".into(),
            name: "JPEG".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            license: "(MIT OR Apache-2.0) AND IJG AND Zlib AND BSD-3-Clause".into(),
            formats: vec![FormatInfo::new(
                "JPEG",
                "image/jpeg",
                &["jpg", "jpeg", "jpe", "jfif"],
            )],
            capabilities: vec![capability::REGIONS],
            options: vec![OptionSpec {
                name: ORIENTATION.into(),
                kind: OptionKind::Text,
                default: "ignore".into(),
                description: "apply turns pictures upright as their EXIF says, ignore serves them as stored."
                    .into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        self.upright = match options.get(ORIENTATION) {
            None | Some("ignore") => false,
            Some("apply") => true,
            Some(other) => {
                return Err(DecodeError::usage(format!(
                    "{ORIENTATION} is {other:?}, expected ignore or apply"
                )));
            }
        };
        Ok(())
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        // Start of image and the first byte of the next marker (T.81 B.2.1).
        match head.bytes {
            [0xff, 0xd8, 0xff, ..] => Claim::new(ClaimLevel::Exact, "JPEG start of image"),
            _ => Claim::none("no JPEG start of image"),
        }
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        Ok(Box::new(JpegReader::open(source, self.upright, ctx)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_start_of_image_is_claimed() {
        let level = |bytes: &[u8]| {
            let head = FileHead {
                bytes,
                file_len: 100,
                extension: "jpg",
            };
            JpegDecoder::default().probe(&head).level
        };
        assert_eq!(level(b"\xff\xd8\xff\xe0"), ClaimLevel::Exact);
        for other in [
            &b""[..],
            b"\xff\xd8",
            b"II\x2a\0",
            b"\xff\x4f\xff\x51",
            b"\xff\xd8\0",
        ] {
            assert_eq!(level(other), ClaimLevel::None);
        }
    }

    #[test]
    fn a_wrong_option_is_refused_by_name() {
        let set = |value: &str| {
            JpegDecoder::default().configure(&Options::new(vec![(ORIENTATION.into(), value.into())]))
        };
        assert!(set("apply").is_ok() && set("ignore").is_ok());
        assert!(set("turn").unwrap_err().message().contains("orientation"));
    }
}
