//! The module as the host sees it.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Claim, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo, OpenContext,
    Options, Threading, capability,
};

use crate::probe;
use crate::reader::Jpeg2000Reader;

/// Decoder for JP2, JPX, JPH and bare codestreams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jpeg2000Decoder;

impl ImageDecoder for Jpeg2000Decoder {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            id: "jpeg2000".into(),
            name: "JPEG 2000".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            license: "(MIT OR Apache-2.0) AND BSD-2-Clause".into(),
            formats: vec![
                FormatInfo::new("JP2", "image/jp2", &["jp2"]),
                FormatInfo::new("JPX", "image/jpx", &["jpx", "jpf"]),
                FormatInfo::new("JPH", "image/jph", &["jph"]),
                FormatInfo::new("JPEG 2000 codestream", "image/j2c", &["j2k", "j2c", "jpc"]),
                FormatInfo::new("HTJ2K codestream", "image/jphc", &["jhc"]),
            ],
            capabilities: vec![capability::REGIONS, capability::QUALITY_LAYERS],
            options: Vec::new(),
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
        Ok(())
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        probe::claim(head)
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        Ok(Box::new(Jpeg2000Reader::open(source, ctx)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::tests::{enumerated, jp2};
    use iiphost_openjpeg::test_encoder::{Recipe, encode};
    use iiphost_plugin_api::conformance::Kit;

    #[test]
    fn the_decoder_keeps_the_contract() {
        let tiled = Recipe {
            tile: Some((96, 80)),
            layers: 2,
            offset: (3, 5),
            ..Recipe::new(301, 170, 3, 8)
        };
        let lossy = Recipe {
            irreversible: true,
            ..Recipe::new(280, 60, 3, 8)
        };
        Kit::new(|| Ok(Box::new(Jpeg2000Decoder)))
            .with_sample("tiled.jp2", jp2(&[enumerated(16)], &encode(&tiled), &[]))
            .with_sample("deep.j2k", encode(&Recipe::new(70, 50, 1, 16)))
            .with_sample("lossy.j2k", encode(&lossy))
            .with_sample(
                "dot.j2k",
                encode(&Recipe {
                    decompositions: 0,
                    ..Recipe::new(1, 1, 1, 1)
                }),
            )
            .run_all()
            .assert_passed();
    }
}
