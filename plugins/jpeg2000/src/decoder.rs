//! The module as the host sees it.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Claim, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo, OpenContext,
    OptionKind, OptionSpec, Options, Threading, capability,
};

use iiphost_codestream::Store;

use crate::probe;
use crate::reader::Jpeg2000Reader;

/// Name of the option for what is kept between reads.
const KEEP_MB: &str = "keep_mb";

/// Megabytes kept without the option: the blocks of some hundred tiles.
const DEFAULT_KEEP_MB: u64 = 48;

/// Decoder for JP2, JPX, JPH and bare codestreams.
#[derive(Clone, Debug)]
pub struct Jpeg2000Decoder {
    /// Packet indexes and decoded blocks of all open images.
    store: Arc<Store>,
}

impl Default for Jpeg2000Decoder {
    fn default() -> Self {
        Self {
            store: store(DEFAULT_KEEP_MB),
        }
    }
}

fn store(megabytes: u64) -> Arc<Store> {
    Store::new(usize::try_from(megabytes << 20).unwrap_or(usize::MAX))
}

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
            options: vec![OptionSpec {
                name: KEEP_MB.into(),
                kind: OptionKind::Integer,
                default: DEFAULT_KEEP_MB.to_string(),
                description:
                    "Megabytes of packet indexes and decoded code-blocks kept between reads, for all images; \
                              0 keeps none."
                        .into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        if let Some(megabytes) = options.integer(KEEP_MB, 0..=65_536)? {
            self.store = store(megabytes);
        }
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
        Ok(Box::new(Jpeg2000Reader::open(source, &self.store, ctx)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::tests::{enumerated, jp2};
    use iiphost_codestream::test_encoder::{Recipe, encode};
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
        Kit::new(|| Ok(Box::new(Jpeg2000Decoder::default())))
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
