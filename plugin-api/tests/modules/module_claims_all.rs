//! A module that claims every file, in the strongest words, and opens none.

use std::sync::Arc;

use iiphost_plugin_api::*;

struct ClaimsAll;

iiphost_plugin_api::export_decoder!(ClaimsAll);

impl ImageDecoder for ClaimsAll {
    fn describe(&self) -> ModuleInfo {
        ModuleInfo {
            id: "claims-all".into(),
            name: "Everything".into(),
            version: "1".into(),
            license: "MIT".into(),
            formats: vec![FormatInfo::new("Everything", "application/octet-stream", &[])],
            capabilities: vec![],
            options: vec![],
            threading: Threading::GlobalLock,
        }
    }

    fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
        Ok(())
    }

    fn probe(&self, _head: &FileHead<'_>) -> Claim {
        Claim::new(ClaimLevel::Exact, "mine")
    }

    fn open(
        &self,
        _source: Arc<dyn ByteSource>,
        _ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        Err(DecodeError::format("not mine after all"))
    }
}
