//! The module as the host sees it.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Claim, ClaimLevel, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo,
    OpenContext, OptionKind, OptionSpec, Options, Threading, capability,
};

use crate::kept::Room;
use crate::reader::JpegReader;

/// Name of the option for the memory that open pictures share.
const MEMORY: &str = "memory";

/// MiB they share unless the operator says otherwise: eighths of 75 pictures of 36 megapixels.
const DEFAULT_MIB: u64 = 128;

/// Decoder for JPEG files.
pub struct JpegDecoder {
    room: Arc<Room>,
}

impl Default for JpegDecoder {
    fn default() -> Self {
        Self {
            room: Room::new(DEFAULT_MIB << 20),
        }
    }
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
                name: MEMORY.into(),
                kind: OptionKind::Integer,
                default: DEFAULT_MIB.to_string(),
                description:
                    "MiB for what is kept of open pictures: small levels, progressive files as one scan."
                        .into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        if let Some(text) = options.get(MEMORY) {
            let mib: Option<u64> = text.parse().ok().filter(|mib| *mib <= 1 << 20);
            let mib = mib.ok_or_else(|| {
                DecodeError::usage(format!("{MEMORY} is {text:?}, expected MiB from 0 to 1048576"))
            })?;
            self.room = Room::new(mib << 20);
        }
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
        Ok(Box::new(JpegReader::open(source, &self.room, ctx)?))
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
            JpegDecoder::default().configure(&Options::new(vec![(MEMORY.into(), value.into())]))
        };
        assert!(set("0").is_ok() && set("64").is_ok());
        for wrong in ["", "-1", "all", "99999999"] {
            assert!(set(wrong).unwrap_err().message().contains(MEMORY), "{wrong}");
        }
    }
}
