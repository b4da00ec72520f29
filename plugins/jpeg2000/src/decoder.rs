//! The module as the host sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iiphost_plugin_api::{
    ByteSource, Claim, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo, OpenContext,
    OptionKind, OptionSpec, Options, Threading, capability,
};

use crate::probe;
use crate::reader::Jpeg2000Reader;
use crate::store::TileStore;

/// Name of the option for the store of decoded tiles.
const TILE_STORE: &str = "tile_store_mb";

/// Default of [`TILE_STORE`].
const DEFAULT_TILE_STORE_MB: usize = 64;

/// Most megabytes an option takes: a terabyte.
const MAX_MEGABYTES: u64 = 1 << 20;

/// Decoder for JP2, JPX, JPH and bare codestreams.
pub struct Jpeg2000Decoder {
    store: Arc<TileStore>,
    readers: AtomicU64,
}

impl Default for Jpeg2000Decoder {
    fn default() -> Self {
        Self {
            store: Arc::new(TileStore::new(DEFAULT_TILE_STORE_MB << 20)),
            readers: AtomicU64::new(0),
        }
    }
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
                name: TILE_STORE.into(),
                kind: OptionKind::Integer,
                default: DEFAULT_TILE_STORE_MB.to_string(),
                description: "Megabytes for decoded tiles of all images; 0 decodes each tile by itself."
                    .into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        if let Some(megabytes) = options.integer(TILE_STORE, 0..=MAX_MEGABYTES)? {
            // At most 2^20, so that the bytes fit.
            self.store = Arc::new(TileStore::new((megabytes as usize) << 20));
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
        let id = self.readers.fetch_add(1, Ordering::Relaxed);
        let reader = Jpeg2000Reader::open(source, Arc::clone(&self.store), id, ctx)?;
        Ok(Box::new(reader))
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

    #[test]
    fn a_wrong_option_is_refused_by_name() {
        let mut decoder = Jpeg2000Decoder::default();
        let options = |value: &str| Options::new(vec![(TILE_STORE.into(), value.into())]);
        assert!(decoder.configure(&options("0")).is_ok());
        for wrong in ["", "-1", "x", "99999999999999999999", "1048577"] {
            let error = decoder.configure(&options(wrong)).unwrap_err();
            assert!(error.message().contains(TILE_STORE), "{error}");
        }
    }
}
