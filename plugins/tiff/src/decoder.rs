//! The module as the host sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iiphost_plugin_api::{
    ByteSource, Claim, DecodeError, FileHead, FormatInfo, ImageDecoder, ImageReader, ModuleInfo, OpenContext,
    OptionKind, OptionSpec, Options, Threading, capability,
};

use crate::probe;
use crate::reader::TiffReader;
use crate::strip_cache::StripCache;

/// Name of the option for the cache of strips.
const STRIP_CACHE: &str = "strip_cache_mb";

/// Default of [`STRIP_CACHE`].
const DEFAULT_STRIP_CACHE_MB: usize = 64;

/// Most megabytes an option takes: a terabyte.
const MAX_MEGABYTES: u64 = 1 << 20;

/// Decoder for TIFF and BigTIFF.
pub struct TiffDecoder {
    strips: Arc<StripCache>,
    readers: AtomicU64,
}

impl Default for TiffDecoder {
    fn default() -> Self {
        Self {
            strips: Arc::new(StripCache::new(DEFAULT_STRIP_CACHE_MB << 20)),
            readers: AtomicU64::new(0),
        }
    }
}

impl ImageDecoder for TiffDecoder {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tiff".into(),
            name: "TIFF".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            license: "(MIT OR Apache-2.0) AND IJG AND BSD-3-Clause AND MIT".into(),
            formats: vec![
                FormatInfo::new("TIFF", "image/tiff", &["tif", "tiff", "svs", "ptif"]),
                FormatInfo::new("BigTIFF", "image/tiff", &["tif", "tiff", "btf", "tf8"]),
            ],
            capabilities: vec![capability::ENCODED_TILES, capability::REGIONS, capability::PAGES],
            options: vec![OptionSpec {
                name: STRIP_CACHE.into(),
                kind: OptionKind::Integer,
                default: DEFAULT_STRIP_CACHE_MB.to_string(),
                description: "Megabytes for decoded strips of images that are not tiled.".into(),
            }],
            threading: Threading::Reentrant,
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        if let Some(megabytes) = options.integer(STRIP_CACHE, 0..=MAX_MEGABYTES)? {
            // At most 2^20, so that the bytes fit.
            self.strips = Arc::new(StripCache::new((megabytes as usize) << 20));
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
        let reader = TiffReader::open(source, Arc::clone(&self.strips), id, ctx)?;
        Ok(Box::new(reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_option_is_refused_by_name() {
        let mut decoder = TiffDecoder::default();
        let options = |value: &str| Options::new(vec![(STRIP_CACHE.into(), value.into())]);
        assert!(decoder.configure(&options("16")).is_ok());
        for wrong in ["", "-1", "x", "99999999999999999999", "1048577"] {
            let error = decoder.configure(&options(wrong)).unwrap_err();
            assert!(error.message().contains(STRIP_CACHE), "{error}");
        }
    }
}
